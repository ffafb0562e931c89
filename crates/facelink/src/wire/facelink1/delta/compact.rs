//! Compact bundles: many faces for one reader in few bytes, each as what changed since a frame that the reader has.
//!
//! A packet has a number, which the reader acknowledges once it could read all of it. A face is written whole until the
//! reader acknowledges something, and from then on as a delta. Names are sent until they are acknowledged; an id stands for
//! them afterwards. `docs/wire-facelink1.md` describes the bytes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::time::Instant;

use super::{
    super::{
        Clock, Decoder, EncodeError, Face, Facelink1Error, MAX_NAME, MAX_PACKET, bundle::MAX_BUNDLE, check, name_fault,
        put_face,
    },
    coder::{RangeDecoder, RangeEncoder},
    model, put_varint,
    quantised::{Quantised, TIME, TRACKED, WITH_GAZE, WITH_HEAD, WITH_POSITION, can_follow},
    sizes::LAGS,
};
use crate::{frame::FaceFrame, wire::facelink1};

/// First byte of a packet: kind and version.
pub const MAGIC: u8 = 0xF3;
/// Capture times are in steps of so many microseconds.
pub const TIME_STEP: u64 = 128;
/// A delta builds upon a frame whose packet lies back by at most this.
pub const MAX_BACK: u16 = 1023;
/// A delta builds upon a frame whose number lies back by at most this.
pub const MAX_DISTANCE: u64 = 127;
/// Frames of each subject that a decoder keeps.
pub const KEPT: usize = 64;
/// Packets that one acknowledgement names at most.
pub const MAX_ACKS: usize = 32;
/// Time between two acknowledgements.
pub const ACK_INTERVAL: Duration = Duration::from_millis(50);
/// Subjects that a decoder remembers; beyond, the one that was silent longest is dropped.
const MAX_SUBJECTS: usize = 1024;
/// Ids are below this.
pub const MAX_ID: u16 = 1 << 14;
const HEADER: usize = 9;

// The first byte of an item: the length of what follows, and two flags.
const LENGTH: u8 = 63;
const IS_DELTA: u8 = 1 << 6;
const IS_TRACKED: u8 = 1 << 7;
// Flags of a whole face.
const HEAD: u8 = 1 << 0;
const POSITION: u8 = 1 << 1;
const GAZE: u8 = 1 << 2;
const LARGEST_SHIFT: u8 = 3;
const LARGEST: u8 = 3 << LARGEST_SHIFT;
const NAME: u8 = 1 << 5;
const PLAIN: u8 = 1 << 6;
const REPEATED: u8 = 1 << 7;

/// A time between two frames as the model's lag.
fn lag(steps: u64) -> usize {
    // 1.5, 2.5, 4.5, 8.5 and 16.5 frames of 60 a second.
    [195, 326, 586, 1107, 2148].into_iter().take_while(|limit| steps >= *limit).count()
}

/// A face at rest, of the shape of another: what a whole face is the delta to.
fn rest(flags: u8, largest: u8) -> Quantised {
    Quantised { flags, largest, ..Quantised::NONE }
}

#[derive(Debug)]
enum Form {
    Steps(Box<Quantised>),
    /// What the steps do not hold: as in a `facelink1` packet, without name, number and time.
    Plain(Arc<[u8]>),
}

/// One frame of a face, for many readers.
#[derive(Debug)]
pub struct CompactFace {
    time: u64,
    tracked: bool,
    form: Form,
}

/// A face as it is written: whole, or as a delta.
#[derive(Clone, Debug)]
pub struct Body {
    is_delta: bool,
    tracked: bool,
    flags: u8,
    bytes: Arc<[u8]>,
}

/// The frame that a delta builds upon: the packet in which the reader was sent it, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The packet's number.
    pub packet: u16,
    /// The frame's number.
    pub number: u64,
}

/// A face for a packet.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// What stands for the subject at this reader, below 16384.
    pub id: u16,
    /// Its name, while the reader may not know what the id stands for. Of a delta it is not written.
    pub name: Option<&'a str>,
    /// Number of the frame at this reader.
    pub number: u64,
    /// The frame, for its time.
    pub face: &'a CompactFace,
    /// The face as it is written.
    pub body: &'a Body,
    /// What a delta builds upon.
    pub reference: Option<Reference>,
    /// Whether it was sent before.
    pub repeated: bool,
}

impl CompactFace {
    /// A frame that was captured at a time since the Unix epoch.
    ///
    /// # Errors
    /// [`EncodeError`] for what cannot be written, as [`Encoder::encode`](super::super::Encoder::encode).
    pub fn new(frame: &FaceFrame, captured: Duration) -> Result<Self, EncodeError> {
        let room = check("", frame)?;
        if room > MAX_PACKET {
            return Err(EncodeError::TooLarge(room));
        }
        let us = u64::try_from(captured.as_micros()).map_err(|_| EncodeError::CaptureTime)?;
        let time = us / TIME_STEP;
        let mut frame = FaceFrame { capture_time: Some(Duration::from_micros(time * TIME_STEP)), ..frame.clone() };
        // Rounded, a turn may be none any more.
        let steps = Quantised::of(&frame, Clock::Unix, 0).filter(|steps| steps.frame().is_some());
        let form = match steps {
            Some(steps) => Form::Steps(Box::new(steps)),
            None => {
                let mut bytes = Vec::new();
                frame.capture_time = None;
                put_face("", (None, None), 0, &frame, None, &mut bytes)?;
                Form::Plain(bytes.into())
            }
        };
        Ok(Self { time, tracked: frame.tracked, form })
    }
}

/// Puts faces into packets of at most [`MAX_BUNDLE`] bytes.
#[derive(Debug, Default)]
pub struct CompactBundle {
    coder: RangeEncoder,
    packet: Vec<u8>,
    item: Vec<u8>,
    number: u16,
    now: u64,
    base: u64,
}

impl CompactBundle {
    /// A face whole.
    pub fn whole(&mut self, face: &CompactFace) -> Body {
        let (flags, bytes) = match &face.form {
            Form::Plain(bytes) => (PLAIN, bytes.clone()),
            Form::Steps(steps) => {
                let has = |field: u8, flag: u8| if steps.flags & field != 0 { flag } else { 0 };
                let flags = has(WITH_HEAD, HEAD) | has(WITH_POSITION, POSITION) | has(WITH_GAZE, GAZE);
                let bytes = self.code(&rest(steps.flags, steps.largest), steps, LAGS - 1);
                (flags | steps.largest << LARGEST_SHIFT, bytes)
            }
        };
        Body { is_delta: false, tracked: face.tracked, flags, bytes }
    }

    /// What changed since another frame; `None` where a delta cannot say it.
    pub fn changes(&mut self, face: &CompactFace, since: &CompactFace) -> Option<Body> {
        let (Form::Steps(new), Form::Steps(old)) = (&face.form, &since.form) else { return None };
        if !can_follow(old, new) {
            return None;
        }
        let bytes = self.code(old, new, lag(face.time.checked_sub(since.time)?));
        Some(Body { is_delta: true, tracked: face.tracked, flags: 0, bytes })
    }

    fn code(&mut self, old: &Quantised, new: &Quantised, lag: usize) -> Arc<[u8]> {
        self.coder.begin();
        model::write(old, new, lag, &mut self.coder);
        self.item.clear();
        self.coder.finish(&mut self.item);
        self.item.as_slice().into()
    }

    /// The packets that follow are numbered from this one, and sent at a time since the Unix epoch.
    pub fn begin(&mut self, number: u16, now: Duration) {
        self.number = number;
        self.now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX) / TIME_STEP;
        self.packet.clear();
    }

    /// The number of the next packet.
    pub const fn number(&self) -> u16 {
        self.number
    }

    /// Bytes of the face that was added last.
    pub fn item_len(&self) -> usize {
        self.item.len()
    }

    /// Adds a face, and gives the number of its packet; `None` where what it builds upon lies back too far, and nothing was
    /// added. When it does not fit into the packet that has been begun, that packet is given to `full`, and another one is
    /// begun.
    pub fn push(&mut self, item: &Item<'_>, mut full: impl FnMut(&[u8])) -> Option<u16> {
        if !self.packet.is_empty() && item.face.time > self.base {
            self.finish(&mut full);
        }
        self.write(item)?;
        if self.packet.len() + self.item.len() > MAX_BUNDLE && !self.packet.is_empty() {
            self.finish(&mut full);
            self.write(item)?;
        }
        if self.packet.is_empty() {
            self.packet.push(MAGIC);
            self.packet.extend_from_slice(&self.number.to_le_bytes());
            self.packet.extend_from_slice(&self.base.to_le_bytes()[..HEADER - 3]);
        }
        self.packet.extend_from_slice(&self.item);
        Some(self.number)
    }

    /// Writes an item for the packet that has been begun.
    fn write(&mut self, item: &Item<'_>) -> Option<()> {
        let Item { id, name, number, face, body, reference, repeated } = *item;
        if self.packet.is_empty() {
            self.base = self.now.max(face.time);
        }
        self.item.clear();
        put_varint(u64::from(id % MAX_ID), &mut self.item);
        put_varint(self.base - face.time, &mut self.item);
        if body.is_delta {
            let reference = reference?;
            let back = self.number.wrapping_sub(reference.packet);
            let distance =
                number.checked_sub(reference.number).filter(|distance| (1..=MAX_DISTANCE).contains(distance));
            if !(1..=MAX_BACK).contains(&back) {
                return None;
            }
            self.item.push(distance? as u8 | if repeated { REPEATED } else { 0 });
            put_varint(back.into(), &mut self.item);
        } else {
            let name = name.filter(|name| !name.is_empty() && name.len() <= MAX_NAME);
            let named = if name.is_some() { NAME } else { 0 };
            self.item.push(body.flags | named | if repeated { REPEATED } else { 0 });
            match name {
                Some(name) => {
                    self.item.extend_from_slice(&(number as u32).to_le_bytes());
                    self.item.push(name.len() as u8);
                    self.item.extend_from_slice(name.as_bytes());
                }
                None => self.item.extend_from_slice(&(number as u16).to_le_bytes()),
            }
        }
        self.item.extend_from_slice(&body.bytes);
        let length = self.item.len();
        let first = if body.is_delta { IS_DELTA } else { 0 } | if body.tracked { IS_TRACKED } else { 0 };
        let mut head = vec![first | length.min(usize::from(LENGTH)) as u8];
        if length >= usize::from(LENGTH) {
            put_varint(length as u64, &mut head);
        }
        self.item.splice(0..0, head);
        Some(())
    }

    /// Gives the packet that was begun, if there is one.
    pub fn finish(&mut self, mut full: impl FnMut(&[u8])) {
        if !self.packet.is_empty() {
            full(&self.packet);
            self.packet.clear();
            self.number = self.number.wrapping_add(1);
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its number.
    pub packet: u16,
    /// Faces that build upon frames that are not here. A packet with none is to be acknowledged.
    pub missing: usize,
}

#[derive(Debug)]
struct Known {
    name: Box<str>,
    newest: u32,
    /// With the packets by which they came; the last one that came first.
    kept: VecDeque<(u16, Quantised)>,
    used: u64,
}

impl Known {
    /// The number with these low bits that is nearest to the newest one.
    fn number(&self, low: u16) -> u32 {
        self.newest.wrapping_add_signed(i32::from(low.wrapping_sub(self.newest as u16) as i16))
    }
}

#[derive(Debug)]
struct ReadItem<'a> {
    id: u16,
    name: Option<&'a str>,
    number: u32,
    repeated: bool,
    frame: FaceFrame,
    steps: Option<Quantised>,
}

/// Reads the compact bundles of one sender.
#[derive(Debug, Default)]
pub struct CompactDecoder {
    subjects: HashMap<u16, Known>,
    used: u64,
}

impl CompactDecoder {
    /// A decoder that knows no face yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a packet is a compact bundle.
    pub fn is_compact(bytes: &[u8]) -> bool {
        bytes.first() == Some(&MAGIC)
    }

    /// Reads one packet and calls `each` for its faces in order; `plain` reads those that are not in steps. The whole packet
    /// is looked at before the first call. Faces that build upon frames that are not here are left out, and counted.
    ///
    /// # Errors
    /// [`Facelink1Error`] names the field; `each` was then not called, and no face is kept.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        plain: &mut Decoder,
        mut each: impl FnMut(Face<'_>),
    ) -> Result<Received, Facelink1Error> {
        if bytes.len() > MAX_PACKET {
            return Err(Facelink1Error::TooLarge(bytes.len()));
        }
        let mut input = Input { bytes, face: None };
        let magic = input.byte("magic")?;
        if magic != MAGIC {
            return Err(Facelink1Error::Magic(magic));
        }
        let packet = input.u16("packet")?;
        let mut base = [0; 8];
        base[..HEADER - 3].copy_from_slice(input.take(HEADER - 3, "time")?);
        let base = u64::from_le_bytes(base);
        let (mut items, mut missing) = (Vec::new(), 0);
        while !input.bytes.is_empty() {
            input.face = Some(items.len().saturating_add(missing).min(255) as u8);
            match self.item(&mut input, (packet, base), plain)? {
                Some(item) => items.push(item),
                None => missing += 1,
            }
        }
        if items.is_empty() && missing == 0 {
            return Err(Facelink1Error::Count(0));
        }
        for ReadItem { id, name, number, repeated, frame, steps } in items {
            let Some(known) = self.known(id, name, number) else { continue };
            let ahead = number.wrapping_sub(known.newest);
            // Far behind is a new count.
            if ahead < 1 << 31 || ahead.wrapping_neg() > 1024 {
                known.newest = number;
            }
            if let Some(steps) = steps {
                let same = known.kept.iter().position(|(_, kept)| kept.sequence == number);
                if let Some(same) = same.filter(|_| !repeated) {
                    known.kept.remove(same);
                }
                if same.is_none() || !repeated {
                    known.kept.truncate(KEPT - 1);
                    known.kept.push_front((packet, steps));
                }
            }
            each(Face { subject: &known.name, frame, clock: Some(Clock::Unix), repeated });
        }
        Ok(Received { packet, missing })
    }

    /// The subject of an id, which is new or another one if a name says so.
    fn known(&mut self, id: u16, name: Option<&str>, number: u32) -> Option<&mut Known> {
        self.used += 1;
        if let Some(name) = name
            && self.subjects.get(&id).is_none_or(|known| *known.name != *name)
        {
            if self.subjects.len() >= MAX_SUBJECTS
                && let Some(silent) = self.subjects.iter().min_by_key(|(_, known)| known.used).map(|(id, _)| *id)
            {
                self.subjects.remove(&silent);
            }
            let known = Known { name: name.into(), newest: number, kept: VecDeque::new(), used: self.used };
            self.subjects.insert(id, known);
        }
        let known = self.subjects.get_mut(&id)?;
        known.used = self.used;
        Some(known)
    }

    /// Reads one item; `None` when what it builds upon is not here.
    fn item<'a>(
        &self,
        input: &mut Input<'a>,
        (packet, base): (u16, u64),
        plain: &mut Decoder,
    ) -> Result<Option<ReadItem<'a>>, Facelink1Error> {
        let first = input.byte("length")?;
        let length = match first & LENGTH {
            LENGTH => match input.varint("length")? {
                length if length < LENGTH.into() => return Err(input.fault("length", "is not in its shortest form")),
                length => usize::try_from(length).unwrap_or(usize::MAX),
            },
            length => length.into(),
        };
        let mut input = Input { bytes: input.take(length, "item")?, face: input.face };
        let id = u16::try_from(input.varint("id")?).ok().filter(|id| *id < MAX_ID);
        let Some(id) = id else { return Err(input.fault("id", "is not below 16384")) };
        let Some(time) = base.checked_sub(input.varint("age")?) else {
            return Err(input.fault("age", "reaches back beyond 1970"));
        };
        let Some(us) = time.checked_mul(TIME_STEP) else { return Err(input.fault("time", "is too large")) };
        let known = self.subjects.get(&id);
        let tracked = if first & IS_TRACKED != 0 { TRACKED } else { 0 };
        if first & IS_DELTA != 0 {
            let distance = input.byte("distance")?;
            let back = input.varint("back")?;
            let (distance, repeated) = (distance & !REPEATED, distance & REPEATED != 0);
            let back = u16::try_from(back).ok().filter(|back| (1..=MAX_BACK).contains(back));
            let (Some(back), 1..) = (back, distance) else {
                return Err(input.fault("distance", "and back are 1 or more, and not too far"));
            };
            // Of those of a packet, the last one: the others are repeated.
            let of_packet = |(kept, _): &&(u16, Quantised)| *kept == packet.wrapping_sub(back);
            let reference = known.and_then(|known| known.kept.iter().find(of_packet));
            let Some((_, reference)) = reference else { return Ok(None) };
            let Some(gone) = reference.time.and_then(|then| (us / TIME_STEP).checked_sub(then / TIME_STEP)) else {
                return Err(input.fault("age", "is before the frame that it builds upon"));
            };
            let number = reference.sequence.wrapping_add(distance.into());
            let mut steps = Quantised {
                sequence: number,
                flags: reference.flags & !TRACKED | tracked,
                time: Some(us),
                ..*reference
            };
            return Ok(Some(input.steps(reference, &mut steps, lag(gone), (id, None, repeated))?));
        }
        let flags = input.byte("flags")?;
        let (name, number) = if flags & NAME != 0 {
            let number = input.u32("number")?;
            (Some(input.name()?), Some(number))
        } else {
            let low = input.u16("number")?;
            (None, known.map(|known| known.number(low)))
        };
        let Some(number) = number else { return Ok(None) };
        let repeated = flags & REPEATED != 0;
        let shape = flags & (HEAD | POSITION | GAZE | LARGEST);
        if flags & PLAIN != 0 && shape != 0 || flags & HEAD == 0 && flags & (POSITION | LARGEST) != 0 {
            return Err(input.fault("flags", "speak of what is not there"));
        }
        if flags & PLAIN != 0 {
            let own = input.bytes.first_chunk().map_or(0, |flags| u16::from_le_bytes(*flags));
            if own & (facelink1::SUBJECT | facelink1::TIME | facelink1::REPEATED) != 0 {
                return Err(input.fault("flags", "hold a bit that a plain item does not have"));
            }
            let mut read = None;
            plain
                .decode_body(input.bytes, number, |face| read = Some(face.frame))
                .map_err(|error| input.inner(error))?;
            let Some(mut frame) = read else { return Ok(None) };
            frame.capture_time = Some(Duration::from_micros(us));
            return Ok(Some(ReadItem { id, name, number, repeated, frame, steps: None }));
        }
        let has = |flag: u8, field: u8| if flags & flag != 0 { field } else { 0 };
        let shape = has(HEAD, WITH_HEAD) | has(POSITION, WITH_POSITION) | has(GAZE, WITH_GAZE);
        let reference = rest(shape, (flags & LARGEST) >> LARGEST_SHIFT);
        let mut steps = Quantised { sequence: number, flags: shape | TIME | tracked, time: Some(us), ..reference };
        Ok(Some(input.steps(&reference, &mut steps, LAGS - 1, (id, name, repeated))?))
    }
}

/// Which packets are to be acknowledged, and when.
#[derive(Debug, Default)]
pub struct Acks {
    packets: VecDeque<u16>,
    sent: Option<Instant>,
}

impl Acks {
    /// A packet was read; gives those that are to be acknowledged now, if it is time.
    pub fn note(&mut self, received: Received, now: Instant) -> Option<Vec<u16>> {
        if received.missing == 0 {
            if self.packets.len() >= MAX_ACKS {
                self.packets.pop_front();
            }
            self.packets.push_back(received.packet);
        }
        let due = self.sent.is_none_or(|sent| now.saturating_duration_since(sent) >= ACK_INTERVAL);
        if !due || self.packets.is_empty() {
            return None;
        }
        self.sent = Some(now);
        Some(self.packets.drain(..).collect())
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    face: Option<u8>,
}

impl<'a> Input<'a> {
    fn place(&self, field: &'static str) -> super::Place {
        super::Place { face: self.face, repeated: None, field }
    }

    fn fault(&self, field: &'static str, reason: &'static str) -> Facelink1Error {
        Facelink1Error::Field { place: self.place(field), reason }
    }

    /// An error within an item, at the item's place.
    fn inner(&self, error: Facelink1Error) -> Facelink1Error {
        match error {
            Facelink1Error::Truncated(place) => Facelink1Error::Truncated(self.place(place.field)),
            Facelink1Error::Field { place, reason } => self.fault(place.field, reason),
            error => error,
        }
    }

    fn take(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Facelink1Error> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Facelink1Error::Truncated(self.place(field)))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self, field: &'static str) -> Result<u8, Facelink1Error> {
        let (byte, rest) = self.bytes.split_first().ok_or(Facelink1Error::Truncated(self.place(field)))?;
        self.bytes = rest;
        Ok(*byte)
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, Facelink1Error> {
        Ok(u16::from_le_bytes([self.byte(field)?, self.byte(field)?]))
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, Facelink1Error> {
        Ok(u32::from(self.u16(field)?) | u32::from(self.u16(field)?) << 16)
    }

    fn varint(&mut self, field: &'static str) -> Result<u64, Facelink1Error> {
        let mut value = 0;
        for shift in (0..49).step_by(7) {
            let byte = self.byte(field)?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return match byte {
                    0 if shift > 0 => Err(self.fault(field, "is not in its shortest form")),
                    _ => Ok(value),
                };
            }
        }
        Err(self.fault(field, "has more than seven bytes"))
    }

    fn name(&mut self) -> Result<&'a str, Facelink1Error> {
        let length = usize::from(self.byte("name")?);
        let bytes = self.take(length, "name")?;
        let name = str::from_utf8(bytes).map_err(|_| self.fault("name", "is not UTF-8"))?;
        match name_fault(name) {
            Some(reason) => Err(self.fault("name", reason)),
            None => Ok(name),
        }
    }

    /// Reads the changes, which are the rest of an item.
    fn steps(
        &self,
        reference: &Quantised,
        new: &mut Quantised,
        lag: usize,
        (id, name, repeated): (u16, Option<&'a str>, bool),
    ) -> Result<ReadItem<'a>, Facelink1Error> {
        let mut coder = RangeDecoder::new(self.bytes);
        model::read(reference, new, lag, &mut coder);
        if !coder.is_at_end() {
            return Err(self.fault("changes", "go on beyond their end"));
        }
        let Some(frame) = new.frame() else { return Err(self.fault("rotation", "is no rotation")) };
        Ok(ReadItem { id, name, number: new.sequence, repeated, frame, steps: Some(*new) })
    }
}

#[cfg(test)]
mod tests;
