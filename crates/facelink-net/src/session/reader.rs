//! What reads a session's binary frames.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use facelink::{
    frame::FaceFrame,
    time::Instant,
    wire::{
        facelink1::{
            self,
            delta::{
                DeltaDecoder,
                compact::{Acks, CompactDecoder},
            },
        },
        float32::{self, Float32Error},
    },
};
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Facelink1 {
    plain: facelink1::Decoder,
    /// For a client that announced them.
    deltas: Option<Box<DeltaDecoder>>,
    /// For an endpoint that was asked for them.
    compact: Option<Box<(CompactDecoder, Acks)>>,
}

/// What reads a connection's binary frames.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    schema: Mutex<Option<Arc<float32::Schema>>>,
    /// Locked before the hub's table.
    facelink1: Mutex<Facelink1>,
    /// Frames that came as deltas; read with the hub's table locked.
    deltas: AtomicU64,
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

    /// Frames that came as deltas.
    pub fn deltas(&self) -> u64 {
        self.deltas.load(Ordering::Relaxed)
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

    /// The endpoint that was dialled was asked for compact bundles.
    pub fn take_compact(&self) {
        self.facelink1.lock().compact.get_or_insert_default();
    }

    /// Reads a packet; gives the numbers of those that are to be acknowledged now.
    pub fn facelink1(
        &self,
        bytes: &[u8],
        now: Instant,
        mut each: impl FnMut(&facelink1::Face<'_>),
    ) -> Result<Option<Vec<u16>>, String> {
        let Facelink1 { plain, deltas, compact } = &mut *self.facelink1.lock();
        if let Some((decoder, acks)) = compact.as_deref_mut().filter(|_| CompactDecoder::is_compact(bytes)) {
            let received = decoder.decode(bytes, plain, |face| each(&face)).map_err(|error| error.to_string())?;
            return Ok(acks.note(received, now));
        }
        match deltas {
            Some(deltas) if DeltaDecoder::is_delta(bytes) => deltas.decode(bytes).map(|face| {
                self.deltas.fetch_add(1, Ordering::Relaxed);
                each(&face);
            }),
            Some(deltas) => plain.decode(bytes, |face| {
                deltas.note(&face);
                each(&face);
            }),
            None => plain.decode(bytes, |face| each(&face)),
        }
        .map_or_else(|error| Err(error.to_string()), |()| Ok(None))
    }
}
