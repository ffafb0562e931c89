//! What one connection sends, sealed.

use crate::{
    frame::FaceFrame,
    time::Instant,
    wire::{
        facelink1::{Clock, EncodeError, Encoder, MAX_SUBJECTS},
        sealed::{Kind, MAX_CLEAR, MAX_SEALED, StreamId, TAG_LEN, put_clear},
    },
};

use super::{
    crypto::{CryptoError, SealKey},
    layering::Layering,
    source::{Epoch, KeySource},
};

/// Longest message, bytes.
pub const MAX_MESSAGE: usize = MAX_SEALED - MAX_CLEAR - TAG_LEN;
/// A source's own number that steps further than this counts anew.
const MAX_STEP: u64 = 1024;

/// Why something was not sealed. Nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The face cannot be written.
    #[error(transparent)]
    Face(#[from] EncodeError),
    /// A message that is empty or longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes cannot be sealed, 1 to {MAX_MESSAGE} can")]
    Message(usize),
    /// The stream has counted to its end.
    #[error("the stream has no number left")]
    Exhausted,
    /// The cipher refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// One subject's stream.
#[derive(Debug)]
struct Stream {
    name: Box<str>,
    id: StreamId,
    /// The number of the last packet.
    counter: Option<u64>,
    /// The source's own number of the last frame.
    sequence: Option<u64>,
    key: Option<(u64, u8, SealKey)>,
    layering: Layering,
    last_used: u64,
}

impl Stream {
    /// The number of the next packet: it follows the source's own where that grows, so that what was lost before shows as a
    /// gap, and is never used twice.
    fn next_counter(&mut self, sequence: Option<u64>) -> Result<u64, SealError> {
        let before = self.sequence;
        self.sequence = sequence.or(before);
        let step = match (before, sequence) {
            (Some(before), Some(sequence)) => {
                sequence.checked_sub(before).filter(|step| (1..=MAX_STEP).contains(step)).unwrap_or(1)
            }
            _ => 1,
        };
        let next = self.counter.map_or(Some(0), |last| last.checked_add(step)).ok_or(SealError::Exhausted)?;
        self.counter = Some(next);
        Ok(next)
    }

    fn key(&mut self, epoch: &Epoch) -> Result<(u8, &SealKey), CryptoError> {
        if self.key.as_ref().is_none_or(|(id, ..)| *id != epoch.id) {
            let key_id = crate::wire::sealed::KeyId::new(self.id, epoch.hint);
            self.key = Some((epoch.id, epoch.hint, SealKey::derive(&*epoch.base_key, key_id)?));
        }
        self.key.as_ref().map(|(_, hint, key)| (*hint, key)).ok_or(CryptoError)
    }
}

/// Seals the faces of one connection, each subject as a stream of its own.
///
/// A stream's id is random and its packets are counted from 0, so that no key is ever used twice with the same number: not
/// after a restart, and not by another member. The id of two streams of one key is the same with a probability of n²/2⁴⁸ for n
/// streams: 4·10⁻⁹ for a thousand.
#[derive(Debug)]
pub struct Sealer {
    entropy: fn() -> u64,
    encoder: Encoder,
    streams: Vec<Stream>,
    used: u64,
    sealed: u64,
}

impl Sealer {
    /// `entropy` gives 64 random bits of the operating system's source at each call: one for each stream.
    pub fn new(entropy: fn() -> u64) -> Self {
        Self { entropy, encoder: Encoder::new(), streams: Vec::new(), used: 0, sealed: 0 }
    }

    /// How many earlier frames each face repeats, as of [`Encoder::set_redundancy`].
    pub fn set_redundancy(&mut self, frames: u8) {
        self.encoder.set_redundancy(frames);
    }

    /// Packets sealed so far.
    pub const fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Appends a face as one packet. An empty subject is the connection's own.
    ///
    /// # Errors
    /// [`SealError`]; nothing was appended.
    pub fn seal(
        &mut self,
        keys: &dyn KeySource,
        subject: &str,
        frame: &FaceFrame,
        clock: Clock,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let start = out.len();
        let Self { encoder, streams, used, entropy, .. } = self;
        *used += 1;
        let stream = stream(streams, subject, *used, *entropy);
        let sealed = (|| {
            let counter = stream.next_counter(frame.sequence)?;
            let (layer, peak) = stream.layering.next(frame, now);
            let body = |out: &mut Vec<u8>| encoder.encode_body(subject, frame, (counter as u32, peak), clock, out);
            seal(stream, keys, Kind::Face(layer), counter, body, out)
        })();
        self.finish(sealed, start, out)
    }

    /// Appends a message about a subject as one packet, such as a viseme in JSON.
    ///
    /// # Errors
    /// [`SealError`]; nothing was appended.
    pub fn seal_message(
        &mut self,
        keys: &dyn KeySource,
        subject: &str,
        message: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        if message.is_empty() || message.len() > MAX_MESSAGE {
            return Err(SealError::Message(message.len()));
        }
        let start = out.len();
        self.used += 1;
        let stream = stream(&mut self.streams, subject, self.used, self.entropy);
        let body = |out: &mut Vec<u8>| {
            out.extend_from_slice(message.as_bytes());
            Ok(())
        };
        let sealed =
            stream.next_counter(None).and_then(|counter| seal(stream, keys, Kind::Message, counter, body, out));
        self.finish(sealed, start, out)
    }

    fn finish(&mut self, sealed: Result<(), SealError>, start: usize, out: &mut Vec<u8>) -> Result<(), SealError> {
        match &sealed {
            Ok(()) => self.sealed += 1,
            Err(_) => out.truncate(start),
        }
        sealed
    }
}

fn seal(
    stream: &mut Stream,
    keys: &dyn KeySource,
    kind: Kind,
    counter: u64,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    out: &mut Vec<u8>,
) -> Result<(), SealError> {
    let (start, id) = (out.len(), stream.id);
    let (hint, key) = stream.key(keys.current())?;
    put_clear(kind, crate::wire::sealed::KeyId::new(id, hint), counter, out);
    let clear = out.len();
    body(out)?;
    if out.len() - start + TAG_LEN > MAX_SEALED {
        return Err(EncodeError::TooLarge(out.len() - start + TAG_LEN).into());
    }
    Ok(key.seal(out, start, clear, counter)?)
}

fn stream<'a>(streams: &'a mut Vec<Stream>, name: &str, used: u64, entropy: fn() -> u64) -> &'a mut Stream {
    let place = match streams.iter().position(|stream| *stream.name == *name) {
        Some(place) => place,
        None => {
            if streams.len() >= MAX_SUBJECTS
                && let Some((silent, _)) = streams.iter().enumerate().min_by_key(|(_, stream)| stream.last_used)
            {
                streams.swap_remove(silent);
            }
            streams.push(Stream {
                name: name.into(),
                id: StreamId::from_random(entropy()),
                counter: None,
                sequence: None,
                key: None,
                layering: Layering::default(),
                last_used: used,
            });
            streams.len() - 1
        }
    };
    let stream = &mut streams[place];
    stream.last_used = used;
    stream
}
