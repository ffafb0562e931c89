//! Frames as they go to the endpoint: one small datagram each, or several faces in one.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use facelink::{
    frame::FaceFrame,
    wire::{
        facelink1::{self, delta::DeltaEncoder},
        float32,
        json::write_arkit_data,
    },
};
use smallvec::SmallVec;

use super::shared::Waiting;
use crate::{
    clock::unix_ms,
    outbox::Outgoing,
    seal::{FrameSealer, Sealing},
};

/// Faces that go into one packet while it repeats nothing, and how long their names may be together, bytes: what fits one
/// datagram on any path.
const MAX_BUNDLED: usize = 11;
const MAX_NAMES: usize = 160;

/// Writes frames in the format that the endpoint reads.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    /// The endpoint reads `facelink1`, whose frames are numbered.
    compact: bool,
    /// While the endpoint takes deltas.
    deltas: Option<Box<DeltaEncoder>>,
    /// They are for a thin path alone.
    simulcast: bool,
    encoder: facelink1::Encoder,
    redundancy: u8,
    sealing: Arc<Sealing>,
    sealer: FrameSealer,
    /// The endpoint takes sealed faces.
    takes_sealed: bool,
    text: String,
    bytes: Vec<u8>,
}

impl FrameWriter {
    /// Seals with this key, while there is one. `simulcast`: deltas are for a thin path alone.
    pub fn new(sealing: Arc<Sealing>, simulcast: bool) -> Self {
        Self { sealing, simulcast, ..Self::default() }
    }

    /// Whether frames are sealed, and never leave otherwise.
    pub fn seals(&self) -> bool {
        self.sealing.has_key()
    }

    /// Whether the endpoint takes sealed frames.
    pub const fn takes_sealed(&self) -> bool {
        self.takes_sealed
    }

    /// The endpoint has said what it reads. It may have lost all state.
    pub fn renew(&mut self, binary: Option<&str>, deltas: bool) {
        let compact = binary == Some("facelink1");
        self.takes_sealed = binary == Some("sealed");
        self.compact = compact;
        let encoder = if self.simulcast { DeltaEncoder::simulcast } else { DeltaEncoder::new };
        self.deltas = (compact && deltas).then(|| Box::new(encoder()));
    }

    /// Whether frames carry numbers, by which a receiver recognises duplicates.
    pub fn is_numbered(&self) -> bool {
        self.compact || self.seals()
    }

    /// How many earlier frames each packet repeats from now on.
    pub fn set_redundancy(&mut self, redundancy: u8) {
        self.redundancy = redundancy;
        self.encoder.set_redundancy(redundancy);
        self.sealer.set_redundancy(redundancy);
        if let Some(deltas) = &mut self.deltas {
            deltas.plain().set_redundancy(redundancy);
        }
    }

    /// Frames wait in a queue on the path.
    pub fn set_thin(&mut self) {
        if let Some(deltas) = &mut self.deltas {
            deltas.set_thin();
        }
    }

    /// The endpoint has this frame.
    pub fn acknowledge(&mut self, subject: &str, number: u32) {
        if let Some(deltas) = &mut self.deltas {
            deltas.acknowledge(subject, number);
        }
    }

    /// Faces that fit one datagram, however much each of them repeats.
    pub fn max_bundled(&self) -> usize {
        (MAX_BUNDLED / (1 + usize::from(self.redundancy))).max(1)
    }

    /// Several faces in one packet, where the endpoint takes that.
    pub fn bundle(&mut self, faces: &[Waiting]) -> Option<Outgoing> {
        let names: usize = faces.iter().map(|(name, _)| name.as_deref().map_or(0, str::len)).sum();
        let plain = faces.iter().all(|(_, frame)| frame.channels.is_empty());
        let deltas = self.deltas.is_some() && !self.simulcast;
        if !self.compact || self.seals() || deltas || faces.len() < 2 || !plain || names > MAX_NAMES {
            return None;
        }
        self.bytes.clear();
        let packet: SmallVec<[(&str, &FaceFrame); 16]> =
            faces.iter().map(|(name, frame)| (name.as_deref().unwrap_or_default(), frame)).collect();
        // Frames are numbered by one of the two.
        let encoder = self.deltas.as_deref_mut().map_or(&mut self.encoder, DeltaEncoder::plain);
        let written = encoder.encode_many(&packet, facelink1::Clock::Unix, &mut self.bytes);
        written.is_ok().then(|| Outgoing::Binary(Bytes::copy_from_slice(&self.bytes)))
    }

    /// One frame as a room peer reads it; `None` when it does not fit the format.
    pub fn encode_for_peers(&mut self, name: &str, frame: &FaceFrame) -> Option<Bytes> {
        if self.seals() {
            return self.sealer.face(&self.sealing, name, frame);
        }
        self.bytes.clear();
        match self.encoder.encode(name, frame, facelink1::Clock::Unix, &mut self.bytes) {
            Ok(()) => Some(Bytes::copy_from_slice(&self.bytes)),
            Err(error) => {
                tracing::debug!(%error, name, "not sent as facelink1");
                None
            }
        }
    }

    /// A message about a face, sealed; `None` when it cannot be.
    pub fn seal_message(&mut self, name: &str, text: &str) -> Option<Outgoing> {
        self.sealer.message(&self.sealing, name, text).filter(|_| self.takes_sealed).map(Outgoing::Binary)
    }

    /// One frame as the endpoint reads it; `own` is the name of the connection's own face. `None` for what cannot be sealed
    /// and would have to leave in the clear.
    pub fn encode(&mut self, name: Option<&str>, own: &str, frame: &FaceFrame) -> Option<Outgoing> {
        if self.seals() {
            return self
                .encode_for_peers(name.unwrap_or(own), frame)
                .filter(|_| self.takes_sealed)
                .map(Outgoing::Binary);
        }
        Some(self.encode_plain(name, frame))
    }

    fn encode_plain(&mut self, name: Option<&str>, frame: &FaceFrame) -> Outgoing {
        if self.compact
            && let Some(deltas) = &mut self.deltas
        {
            self.bytes.clear();
            let subject = name.unwrap_or_default();
            if deltas.encode(subject, frame, facelink1::Clock::Unix, &mut self.bytes).is_ok() {
                return Outgoing::Binary(Bytes::copy_from_slice(&self.bytes));
            }
        }
        if self.compact
            && let Some(bytes) = self.encode_for_peers(name.unwrap_or_default(), frame)
        {
            return Outgoing::Binary(bytes);
        }
        if name.is_none() && frame.tracked && frame.is_complete() && frame.channels.is_empty() && !self.compact {
            self.bytes.clear();
            float32::encode_61(frame, &mut self.bytes);
            return Outgoing::Binary(Bytes::copy_from_slice(&self.bytes));
        }
        write_arkit_data(&mut self.text, frame, name, Some(unix_ms()));
        Outgoing::Text(self.text.clone())
    }
}

/// Distinguishes the faces of one connection in its outbox.
pub(super) fn face_key(name: &str) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use facelink::{
        performer::Performance,
        wire::facelink1::delta::{DeltaDecoder, MAGIC},
    };

    use super::*;

    #[test]
    fn simulcast_begins_when_thin_and_numbers_go_on() {
        let mut writer = FrameWriter::new(Arc::default(), true);
        writer.renew(Some("facelink1"), true);
        let (mut plain, mut deltas) = (facelink1::Decoder::new(), DeltaDecoder::new());
        let (performance, mut numbers, mut streams) = (Performance::new(1), Vec::new(), Vec::new());
        let mut read = |bytes: &[u8]| {
            if DeltaDecoder::is_delta(bytes) {
                numbers.push(deltas.decode(bytes).unwrap().frame.sequence);
            } else {
                let note = |face: facelink1::Face<'_>| {
                    deltas.note(&face);
                    numbers.extend((face.subject == "Ann" && !face.repeated).then_some(face.frame.sequence));
                };
                plain.decode(bytes, note).unwrap();
            }
            streams.push(bytes[0]);
        };
        for step in 0..7_u32 {
            let frame = performance.frame_at(std::time::Duration::from_millis(16) * step);
            match step {
                // Nothing is thin; then it is; then packets repeat, and then not.
                2 => writer.set_thin(),
                4 => writer.set_redundancy(1),
                5 => writer.set_redundancy(0),
                _ => {}
            }
            let sent = if step == 6 {
                let faces = [(Some("Ann".into()), frame.clone()), (Some("Bea".into()), frame)];
                writer.bundle(&faces).expect("several faces share a packet")
            } else {
                writer.encode(Some("Ann"), "", &frame).expect("is written")
            };
            let Outgoing::Binary(bytes) = sent else { panic!("no text") };
            read(&bytes);
            writer.acknowledge("Ann", step);
        }
        assert_eq!(
            streams,
            [facelink1::MAGIC, facelink1::MAGIC, MAGIC, MAGIC, facelink1::MAGIC, MAGIC, facelink1::MAGIC]
        );
        assert_eq!(numbers, (0..7).map(Some).collect::<Vec<_>>());
        // A connection that is made anew may have another path.
        writer.renew(Some("facelink1"), true);
        assert!(!writer.deltas.is_some_and(|deltas| deltas.is_thin()));
    }
}
