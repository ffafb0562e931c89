//! What reads a session's binary frames.

use std::{borrow::Cow, sync::Arc};

use facelink::{
    frame::FaceFrame,
    wire::{
        facelink1::{self, delta::DeltaDecoder},
        float32::{self, Float32Error},
    },
};
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Facelink1 {
    plain: facelink1::Decoder,
    /// For a client that announced them.
    deltas: Option<Box<DeltaDecoder>>,
}

/// What reads a connection's binary frames.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    schema: Mutex<Option<Arc<float32::Schema>>>,
    /// Locked before the hub's table.
    facelink1: Mutex<Facelink1>,
}

impl FrameReader {
    /// The channel order of the `float32` frames that follow.
    pub fn set_schema(&self, names: &[Cow<'_, str>]) -> Result<(), String> {
        let schema = float32::Schema::new(names.iter().map(|name| &**name)).map_err(|error| error.to_string())?;
        self.facelink1.lock().plain.set_schema(names).map_err(|error| error.to_string())?;
        *self.schema.lock() = Some(Arc::new(schema));
        Ok(())
    }

    /// The client means to send deltas.
    pub fn take_deltas(&self) {
        self.facelink1.lock().deltas.get_or_insert_default();
    }

    /// What is no packet but as long as ARKit's 52 or 61 floats, as these; `None` for any other length.
    pub fn arkit_floats(bytes: &[u8]) -> Option<Result<FaceFrame, String>> {
        match float32::decode(bytes, None) {
            Err(Float32Error::NotFloats { .. } | Float32Error::UnknownLength { .. }) => None,
            read => Some(read.map_err(|error| error.to_string())),
        }
    }

    pub fn float32(&self, bytes: &[u8]) -> Result<FaceFrame, String> {
        let schema = self.schema.lock().clone();
        float32::decode(bytes, schema.as_deref()).map_err(|error| error.to_string())
    }

    pub fn facelink1(&self, bytes: &[u8], mut each: impl FnMut(&facelink1::Face<'_>)) -> Result<(), String> {
        let Facelink1 { plain, deltas } = &mut *self.facelink1.lock();
        match deltas {
            Some(deltas) if DeltaDecoder::is_delta(bytes) => deltas.decode(bytes).map(|face| each(&face)),
            Some(deltas) => plain.decode(bytes, |face| {
                deltas.note(&face);
                each(&face);
            }),
            None => plain.decode(bytes, |face| each(&face)),
        }
        .map_err(|error| error.to_string())
    }
}
