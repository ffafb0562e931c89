//! What arrives, opened.

use std::collections::HashMap;

use crate::time::Instant;

use crate::wire::{
    facelink1::{Decoder, Face, Facelink1Error},
    sealed::{KeyId, Kind, Layer, Packet, SealedError, StreamId, packets},
    window::{Refused, Window},
};

use super::{crypto::OpenKey, source::KeySource};

/// Streams that are remembered; beyond, the one that was silent longest is forgotten.
pub const MAX_STREAMS: usize = 1024;

/// What was in a packet.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Opened<'a> {
    /// A face. The frames that it repeats come before it, as from [`Decoder::decode`].
    Face {
        /// The face, with its subject.
        face: &'a Face<'a>,
        /// Its temporal layer.
        layer: Layer,
        /// The stream that it is of.
        stream: StreamId,
        /// Frames of the stream that a relay has left out for this receiver so far: no losses.
        left_out: u64,
    },
    /// A message, such as a viseme in JSON.
    Message {
        /// The text.
        text: &'a str,
        /// The stream that it is of.
        stream: StreamId,
    },
}

/// Why a packet was refused. Nothing of it was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is no sealed packet.
    #[error(transparent)]
    Packet(#[from] SealedError),
    /// It is sealed by a key that is not here, or no longer accepted.
    #[error("sealed by another key (its fingerprint begins with {0:02x})")]
    OtherKey(u8),
    /// Its authentication fails: it was changed in transit, or is by no member.
    #[error("the authentication of the packet fails")]
    Forged,
    /// It was read before.
    #[error("packet {0} of the stream was read before")]
    Replayed(u64),
    /// It is too far behind the newest of its stream to know whether it was read before.
    #[error("packet {0} of the stream is too old")]
    Old(u64),
    /// A member sealed what is no face.
    #[error("sealed face: {0}")]
    Face(#[from] Facelink1Error),
    /// A member sealed a message that is no UTF-8.
    #[error("sealed message is not UTF-8")]
    Message,
}

/// What became of packets so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct OpenStats {
    /// Packets opened.
    pub opened: u64,
    /// Refused: sealed by a key that is not here.
    pub other_key: u64,
    /// Refused: changed in transit, or by no member.
    pub forged: u64,
    /// Refused: read before. Also the copies that a sender in doubt sends by a second transport.
    pub replayed: u64,
    /// Refused: too far behind.
    pub old: u64,
    /// Refused: not in the form of a sealed packet, or what was in it is no face.
    pub malformed: u64,
}

#[derive(Debug)]
struct Stream {
    epoch: u64,
    key: OpenKey,
    window: Window,
    decoder: Decoder,
    left_out: u64,
    last_used: u64,
}

/// Opens what arrives, by whichever connection. It remembers what it has read of each stream, and reads nothing twice.
#[derive(Debug, Default)]
pub struct Opener {
    streams: HashMap<KeyId, Stream>,
    used: u64,
    plain: Vec<u8>,
    stats: OpenStats,
}

impl Opener {
    /// One that has read nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What became of packets so far.
    pub const fn stats(&self) -> OpenStats {
        self.stats
    }

    /// Opens a message, which may be a bundle: calls `each` for what is in each of its packets, in order.
    ///
    /// # Errors
    /// The first [`OpenError`]; the other packets of a bundle were read all the same, unless its form is broken.
    pub fn open(
        &mut self,
        bytes: &[u8],
        keys: &mut dyn KeySource,
        now: Instant,
        mut each: impl FnMut(Opened<'_>),
    ) -> Result<(), OpenError> {
        let mut first = Ok(());
        for packet in packets(bytes) {
            let opened = match packet {
                Ok(packet) => self.packet(&packet, keys, now, &mut each),
                Err(error) => Err(error.into()),
            };
            let stats = &mut self.stats;
            *match &opened {
                Ok(()) => &mut stats.opened,
                Err(OpenError::OtherKey(_)) => &mut stats.other_key,
                Err(OpenError::Forged) => &mut stats.forged,
                Err(OpenError::Replayed(_)) => &mut stats.replayed,
                Err(OpenError::Old(_)) => &mut stats.old,
                Err(OpenError::Packet(_) | OpenError::Face(_) | OpenError::Message) => &mut stats.malformed,
            } += 1;
            if first.is_ok() {
                first = opened;
            }
        }
        first
    }

    fn packet(
        &mut self,
        packet: &Packet<'_>,
        keys: &mut dyn KeySource,
        now: Instant,
        each: &mut impl FnMut(Opened<'_>),
    ) -> Result<(), OpenError> {
        let Packet { key_id, counter, .. } = *packet;
        self.used += 1;
        let mut opened = false;
        let known = self.streams.get(&key_id).filter(|stream| keys.accepts(stream.epoch, now));
        if let Some(stream) = known {
            stream.window.check(counter).map_err(|refused| match refused {
                Refused::Replayed => OpenError::Replayed(counter),
                Refused::Old => OpenError::Old(counter),
            })?;
            self.plain.clear();
            self.plain.extend_from_slice(packet.ciphertext());
            opened = stream.key.open(packet.clear(), counter, &mut self.plain).is_ok();
        }
        if !opened {
            // Two keys in a row may have the same hint.
            let (epoch, key) = self.first(packet, keys, now)?;
            keys.authenticated(epoch, now);
            self.make_room();
            self.streams.insert(
                key_id,
                Stream {
                    epoch,
                    key,
                    window: Window::starting_with(counter),
                    decoder: Decoder::new(),
                    left_out: packet.left_out.into(),
                    last_used: self.used,
                },
            );
        }
        let Some(stream) = self.streams.get_mut(&key_id) else { return Err(OpenError::Forged) };
        stream.window.record(counter);
        stream.last_used = self.used;
        if counter == stream.window.newest() {
            let step = packet.left_out.wrapping_sub(stream.left_out as u16) as i16;
            stream.left_out = stream.left_out.saturating_add_signed(step.into());
        }
        let (left_out, id) = (stream.left_out, packet.stream());
        match packet.kind {
            Kind::Face(layer) => Ok(stream.decoder.decode_body(&self.plain, counter as u32, |face| {
                each(Opened::Face { face: &face, layer, stream: id, left_out });
            })?),
            Kind::Message => {
                let text = str::from_utf8(&self.plain).map_err(|_| OpenError::Message)?;
                each(Opened::Message { text, stream: id });
                Ok(())
            }
        }
    }

    /// Finds the key of a stream's first packet. What is opened is in `plain`.
    fn first(&mut self, packet: &Packet<'_>, keys: &dyn KeySource, now: Instant) -> Result<(u64, OpenKey), OpenError> {
        let hint = packet.key_id.hint();
        let (mut tried, mut found) = (false, None);
        keys.find(hint, now, &mut |epoch| {
            tried = true;
            let Ok(key) = OpenKey::derive(&*epoch.base_key, packet.key_id) else { return false };
            self.plain.clear();
            self.plain.extend_from_slice(packet.ciphertext());
            let opened = key.open(packet.clear(), packet.counter, &mut self.plain).is_ok();
            if opened {
                found = Some((epoch.id, key));
            }
            opened
        });
        found.ok_or(if tried { OpenError::Forged } else { OpenError::OtherKey(hint) })
    }

    fn make_room(&mut self) {
        if self.streams.len() < MAX_STREAMS {
            return;
        }
        let silent = self.streams.iter().min_by_key(|(_, stream)| stream.last_used).map(|(key_id, _)| *key_id);
        if let Some(silent) = silent {
            self.streams.remove(&silent);
        }
    }
}
