//! Faces as what changed since one that the other side is known to have: for thin uplinks and for recordings.
//!
//! Packets get lost, so nothing here learns from packet to packet: the probabilities are a table in this crate, and the
//! frame that a packet builds upon is one that the receiver has acknowledged. Without such a frame, and for faces that this
//! form does not hold (partial ones, weights outside 0..1, channels besides the shapes), a plain `facelink1` packet is
//! sent, which decodes on its own. `docs/wire-facelink1.md` describes the bytes.

mod coder;
pub mod compact;
mod model;
mod quantised;
mod sizes;
mod tables;

use self::{
    coder::{RangeDecoder, RangeEncoder},
    quantised::{OWN_CLOCK, Quantised, RESERVED, SHAPE, SUBJECT, TIME, WITH_HEAD, WITH_POSITION, can_follow},
};
use super::{Clock, EncodeError, Encoder, Face, Facelink1Error, MAX_NAME, MAX_SUBJECTS, Place, name_fault, remembered};
use crate::frame::FaceFrame;

#[doc(hidden)]
pub use model::Trainer;

/// First byte of a delta packet: kind and version.
pub const MAGIC: u8 = 0xF2;
/// Frames that an encoder remembers, and a decoder twice as many.
const REMEMBERED: usize = 64;
/// Subjects of one connection whose frames are kept; beyond, the one that was silent longest is dropped.
const MAX_RECEIVED: usize = 32;

#[derive(Debug)]
struct Sender {
    name: Box<str>,
    /// A ring; the next one is written at `next`.
    sent: [Quantised; REMEMBERED],
    next: usize,
    count: usize,
    acknowledged: Option<u32>,
}

/// Writes one sender's faces as deltas where it can.
#[derive(Debug, Default)]
pub struct DeltaEncoder {
    plain: Encoder,
    senders: Vec<Sender>,
    coder: RangeEncoder,
    /// Plain packets while the path is wide.
    second: bool,
    thin: bool,
}

impl DeltaEncoder {
    /// An encoder that writes deltas as soon as something is acknowledged.
    pub fn new() -> Self {
        Self::default()
    }

    /// An encoder whose deltas are the second stream of a face, for a path that [is thin](Self::set_thin): until then, and while
    /// packets have to repeat earlier frames, it writes plain packets.
    pub fn simulcast() -> Self {
        Self { second: true, ..Self::default() }
    }

    /// The path is thin from now on. It stays so: when the queue of deltas has gone, that says nothing about plain packets, which
    /// are more than twice as large.
    pub const fn set_thin(&mut self) {
        self.thin = true;
    }

    /// Whether the path was thin.
    pub const fn is_thin(&self) -> bool {
        self.thin
    }

    /// The encoder of the plain packets, for its settings.
    pub const fn plain(&mut self) -> &mut Encoder {
        &mut self.plain
    }

    /// The other side has the frame of this number (low 32 bits), as its `report` gives in `ack`. Numbers that were not
    /// sent, or too long ago, are passed over.
    pub fn acknowledge(&mut self, subject: &str, sequence: u32) {
        let Some(sender) = self.senders.iter_mut().find(|sender| *sender.name == *subject) else { return };
        let known = sender.sent[..sender.count].iter().any(|frame| frame.sequence == sequence);
        let newer = sender.acknowledged.is_none_or(|before| sequence.wrapping_sub(before) < 1 << 31);
        if known && newer {
            sender.acknowledged = Some(sequence);
        }
    }

    /// The other side may have forgotten everything: plain packets until something is acknowledged anew.
    pub fn restart(&mut self) {
        for sender in &mut self.senders {
            sender.acknowledged = None;
            (sender.next, sender.count) = (0, 0);
        }
    }

    /// Appends a packet with one face, as [`Encoder::encode`] does; `true` when it is a delta.
    ///
    /// # Errors
    /// [`EncodeError`], as [`Encoder::encode`]; nothing was appended then.
    pub fn encode(
        &mut self,
        subject: &str,
        frame: &FaceFrame,
        clock: Clock,
        out: &mut Vec<u8>,
    ) -> Result<bool, EncodeError> {
        let start = out.len();
        self.plain.used += 1;
        let used = self.plain.used;
        let next = remembered(&mut self.plain.subjects, subject, used).next_sequence;
        let sequence = frame.sequence.map_or(next, |sequence| sequence as u32);
        // Whatever cannot be written as it should be is refused there.
        self.plain.encode(subject, &FaceFrame { sequence: Some(sequence.into()), ..frame.clone() }, clock, out)?;
        let place = match self.senders.iter().position(|sender| *sender.name == *subject) {
            Some(place) => place,
            None => {
                if self.senders.len() >= MAX_SUBJECTS {
                    self.senders.remove(0);
                }
                let sent = [Quantised::NONE; REMEMBERED];
                self.senders.push(Sender { name: subject.into(), sent, next: 0, count: 0, acknowledged: None });
                self.senders.len() - 1
            }
        };
        let Some(new) = Quantised::of(frame, clock, sequence) else { return Ok(false) };
        let sender = &mut self.senders[place];
        let reference = sender.acknowledged.and_then(|acknowledged| {
            let distance = sequence.wrapping_sub(acknowledged);
            let reference = sender.sent[..sender.count].iter().find(|sent| sent.sequence == acknowledged)?;
            ((1..=255).contains(&distance)).then_some(*reference)
        });
        sender.sent[sender.next] = new;
        sender.next = (sender.next + 1) % REMEMBERED;
        sender.count = (sender.count + 1).min(REMEMBERED);

        if self.second && (!self.thin || self.plain.redundancy > 0) {
            return Ok(false);
        }
        // Rounded, a turn may be none any more.
        let follows = |reference: &Quantised| can_follow(reference, &new) && new.frame().is_some();
        let Some(reference) = reference.filter(follows) else { return Ok(false) };
        let plain = out.len() - start;
        out.truncate(start);
        out.push(MAGIC);
        out.push(new.flags | if subject.is_empty() { 0 } else { SUBJECT });
        if !subject.is_empty() {
            // `Encoder::encode` has seen that it is no longer than 128 bytes.
            out.push(subject.len() as u8);
            out.extend_from_slice(subject.as_bytes());
        }
        out.extend_from_slice(&(sequence as u16).to_le_bytes());
        out.push(sequence.wrapping_sub(reference.sequence) as u8);
        if let (Some(now), Some(then)) = (new.time, reference.time) {
            put_varint(now - then, out);
        }
        self.coder.begin();
        model::write(
            &reference,
            &new,
            model::lag(new.sequence.wrapping_sub(reference.sequence) as u8),
            &mut self.coder,
        );
        self.coder.finish(out);
        if out.len() - start >= plain {
            out.truncate(start);
            self.plain.encode(subject, &FaceFrame { sequence: Some(sequence.into()), ..frame.clone() }, clock, out)?;
            return Ok(false);
        }
        Ok(true)
    }
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[derive(Debug)]
struct Receiver {
    name: Box<str>,
    /// A ring; the next one is written at `next`.
    known: [Quantised; 2 * REMEMBERED],
    next: usize,
    count: usize,
    newest: u32,
    used: u64,
}

/// Keeps the frames of one connection that deltas may build upon, and reads deltas.
#[derive(Debug, Default)]
pub struct DeltaDecoder {
    receivers: Vec<Receiver>,
    used: u64,
}

impl DeltaDecoder {
    /// A decoder that holds no frame yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A face of a plain packet, which a delta may build upon later.
    pub fn note(&mut self, face: &Face<'_>) {
        let sequence = face.frame.sequence.unwrap_or_default() as u32;
        if let Some(frame) = Quantised::of(&face.frame, face.clock.unwrap_or(Clock::Unix), sequence) {
            self.keep(face.subject, frame);
        }
    }

    /// Whether a packet is a delta.
    pub fn is_delta(bytes: &[u8]) -> bool {
        bytes.first() == Some(&MAGIC)
    }

    /// Reads one delta packet.
    ///
    /// # Errors
    /// [`Facelink1Error`] names the field; [`Facelink1Error::Reference`] when the frame that it builds upon is not here,
    /// which a sender that waits for `ack` does not cause. Nothing is kept then.
    pub fn decode<'a>(&mut self, bytes: &'a [u8]) -> Result<Face<'a>, Facelink1Error> {
        let mut input = Input { bytes, at: 0 };
        let magic = input.byte("magic")?;
        if magic != MAGIC {
            return Err(Facelink1Error::Magic(magic));
        }
        let flags = input.byte("flags")?;
        if flags & RESERVED != 0
            || flags & WITH_POSITION != 0 && flags & WITH_HEAD == 0
            || flags & OWN_CLOCK != 0 && flags & TIME == 0
        {
            return Err(fault("flags", "hold a bit that this version does not know"));
        }
        let subject = if flags & SUBJECT != 0 { input.name()? } else { "" };
        let low = u16::from_le_bytes([input.byte("sequence")?, input.byte("sequence")?]);
        let distance = input.byte("distance")?;
        if distance == 0 {
            return Err(fault("distance", "is never 0"));
        }
        self.used += 1;
        let used = self.used;
        let receiver = self.receivers.iter_mut().find(|receiver| *receiver.name == *subject);
        let Some(receiver) = receiver else { return Err(Facelink1Error::Reference(place("distance"))) };
        receiver.used = used;
        // The number with these low bits that is nearest to the newest one.
        let ahead = i32::from(low.wrapping_sub(receiver.newest as u16) as i16);
        let sequence = receiver.newest.wrapping_add_signed(ahead);
        let wanted = sequence.wrapping_sub(distance.into());
        let reference = receiver.known[..receiver.count].iter().find(|frame| frame.sequence == wanted).copied();
        let Some(reference) = reference else { return Err(Facelink1Error::Reference(place("distance"))) };
        if (reference.flags ^ flags) & SHAPE != 0 {
            return Err(fault("flags", "do not fit the frame that it builds upon"));
        }
        let mut new = Quantised { sequence, flags: flags & !SUBJECT, time: None, ..reference };
        if flags & TIME != 0 {
            let gone = input.varint("time")?;
            let Some(now) = reference.time.and_then(|then| then.checked_add(gone)) else {
                return Err(fault("time", "builds upon a frame without one"));
            };
            new.time = Some(now);
        }
        let mut coder = RangeDecoder::new(&bytes[input.at..]);
        model::read(&reference, &mut new, model::lag(distance), &mut coder);
        if !coder.is_at_end() {
            return Err(Facelink1Error::Trailing);
        }
        let Some(frame) = new.frame() else { return Err(fault("rotation", "is no rotation")) };
        let clock = new.time.map(|_| if flags & OWN_CLOCK != 0 { Clock::Own } else { Clock::Unix });
        self.keep(subject, new);
        Ok(Face { subject, frame, clock, repeated: false })
    }

    fn keep(&mut self, subject: &str, frame: Quantised) {
        self.used += 1;
        let used = self.used;
        let place = match self.receivers.iter().position(|receiver| *receiver.name == *subject) {
            Some(place) => place,
            None => {
                if self.receivers.len() >= MAX_RECEIVED
                    && let Some((silent, _)) = self.receivers.iter().enumerate().min_by_key(|(_, known)| known.used)
                {
                    self.receivers.swap_remove(silent);
                }
                let known = [Quantised::NONE; 2 * REMEMBERED];
                let newest = frame.sequence;
                self.receivers.push(Receiver { name: subject.into(), known, next: 0, count: 0, newest, used });
                self.receivers.len() - 1
            }
        };
        let receiver = &mut self.receivers[place];
        receiver.used = used;
        if receiver.known[..receiver.count].iter().any(|known| known.sequence == frame.sequence) {
            return;
        }
        let ahead = frame.sequence.wrapping_sub(receiver.newest);
        // Far behind is a new count.
        if ahead < 1 << 31 || ahead.wrapping_neg() > 1024 {
            receiver.newest = frame.sequence;
        }
        receiver.known[receiver.next] = frame;
        receiver.next = (receiver.next + 1) % receiver.known.len();
        receiver.count = (receiver.count + 1).min(receiver.known.len());
    }
}

fn place(field: &'static str) -> Place {
    Place { face: None, repeated: None, field }
}

fn fault(field: &'static str, reason: &'static str) -> Facelink1Error {
    Facelink1Error::Field { place: place(field), reason }
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn byte(&mut self, field: &'static str) -> Result<u8, Facelink1Error> {
        let byte = self.bytes.get(self.at).copied().ok_or(Facelink1Error::Truncated(place(field)))?;
        self.at += 1;
        Ok(byte)
    }

    fn name(&mut self) -> Result<&'a str, Facelink1Error> {
        let length = usize::from(self.byte("subject")?);
        let bytes = self.bytes.get(self.at..self.at + length).ok_or(Facelink1Error::Truncated(place("subject")))?;
        self.at += length;
        let name = std::str::from_utf8(bytes).map_err(|_| fault("subject", "is not UTF-8"))?;
        match name_fault(name) {
            Some(reason) => Err(fault("subject", reason)),
            None if length > MAX_NAME => Err(fault("subject", "is too long")),
            None => Ok(name),
        }
    }

    fn varint(&mut self, field: &'static str) -> Result<u64, Facelink1Error> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return if byte == 0 && shift > 0 {
                    Err(fault(field, "is not in its shortest form"))
                } else {
                    Ok(value)
                };
            }
        }
        Err(fault(field, "has more than five bytes"))
    }
}

#[cfg(test)]
mod tests;
