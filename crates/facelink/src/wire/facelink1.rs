//! `facelink1` frames: small, and resilient to loss. One packet a datagram, and every packet decodes on its own.
//!
//! A packet holds 1 to [`MAX_FACES`] faces; each has a sequence number, may have a capture time, and may repeat up to
//! [`MAX_REDUNDANCY`] frames that went before it, so that a lost packet costs nothing. `docs/wire-facelink1.md`
//! describes it byte by byte, with an example; `facelink.js` of `facelink-net` has the same in JavaScript.
//!
//! The integers are written by `bincode` with fixed widths, little-endian: where a field lies depends on the flags
//! alone, every value has one spelling only, and a reader in another language needs no varint beyond the one for
//! channels. With bincode's own varints a quantised value above 250 would take three bytes instead of two, and times
//! nine instead of eight. Nothing outside this module uses `bincode`.

pub mod bundle;
pub mod delta;

use std::{collections::HashMap, fmt, ops::Range, sync::Arc, time::Duration};

use bincode::{
    Decode, Encode,
    config::{self, Configuration, Fixint, LittleEndian, NoLimit},
    de::{BorrowDecoder, Decoder as BincodeDecoder, DecoderImpl, read::BorrowReader, read::SliceReader},
    enc::{Encoder as BincodeEncoder, EncoderImpl, write::Writer},
    error::{DecodeError, EncodeError as BincodeError},
};

use crate::{
    frame::{Channel, EyeGaze, FaceFrame, Gaze, HeadPose, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::{
        float32::{Schema, SchemaError},
        name_table::{NameTable, Resolved},
    },
};

/// First byte of every packet: kind and version. No JSON text begins with it.
pub const MAGIC: u8 = 0xF1;
/// Largest packet, bytes. What is to stay one datagram on the network should stay below about 1150.
pub const MAX_PACKET: usize = 64 * 1024;
/// Most faces in a packet, not counting repeated frames.
pub const MAX_FACES: usize = 32;
/// Most earlier frames that a face repeats.
pub const MAX_REDUNDANCY: u8 = 3;
/// Most channels besides the 52 shapes in a frame.
pub const MAX_CHANNELS: usize = 256;
/// Longest name of a subject or channel, bytes.
pub const MAX_NAME: usize = 128;
/// Most different channel names that one [`Decoder`] takes inline, from one connection.
pub const MAX_NAMES: usize = 512;
/// Most subjects whose sequence and last frames an [`Encoder`] remembers; beyond, the one that was silent longest is
/// dropped.
pub const MAX_SUBJECTS: usize = 256;

/// The epoch of a [`FaceFrame::capture_time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The Unix epoch.
    Unix,
    /// A zero point of the sender's own, such as the start of its session.
    Own,
}

// Flags of a frame.
const TRACKED: u16 = 1 << 0;
const HEAD: u16 = 1 << 1;
const POSITION: u16 = 1 << 2;
const GAZE: u16 = 1 << 3;
const WIDE: u16 = 1 << 4;
const PARTIAL: u16 = 1 << 5;
const TIME: u16 = 1 << 6;
const LARGEST_SHIFT: u16 = 7;
const LARGEST: u16 = 3 << LARGEST_SHIFT;
// Flags of a face alone, not of a repeated frame.
const OWN_CLOCK: u16 = 1 << 9;
const REPEATED_SHIFT: u16 = 10;
const REPEATED: u16 = 3 << REPEATED_SHIFT;
const SUBJECT: u16 = 1 << 12;
const CHANNELS: u16 = 1 << 13;
const SCHEMA: u16 = 1 << 14;
const RESERVED: u16 = 1 << 15;
/// The fields that a repeated frame may have.
const FRAME_FLAGS: u16 = TRACKED | HEAD | POSITION | GAZE | WIDE | PARTIAL | TIME | LARGEST;

const ALL_PRESENT: u64 = (1 << BLENDSHAPE_COUNT) - 1;
const MASK_LEN: usize = BLENDSHAPE_COUNT.div_ceil(8);
/// Longest body of a frame: mask, wide weights, rotation, position and gaze.
const MAX_BODY: usize = MASK_LEN + 2 * BLENDSHAPE_COUNT + 6 + 6 + 8;
/// Longest face without channels: flags, name, sequence, time, body, and the same again for each repeated frame.
const MAX_FACE: usize = 2 + 1 + MAX_NAME + 4 + 8 + MAX_BODY + MAX_REDUNDANCY as usize * (2 + 1 + 4 + MAX_BODY);

/// Steps a unit of a narrow weight.
const NARROW: f32 = 255.0;
/// Steps a unit of a wide value: 65535 / 3, so that -1, 0, 1 and 2 are all exact.
const WIDE_UNIT: u16 = 21845;
/// The three small parts of a unit quaternion lie within ±√½.
const PART_STEPS: f64 = 32767.0 * std::f64::consts::SQRT_2;
/// Farthest head position on each axis, millimetres.
const FARTHEST_MM: f64 = 32_000.0;
/// Steps of a position, a metre.
pub(crate) const POSITION_STEPS: f32 = 1000.0;
/// Steps of a gaze angle, a radian.
pub(crate) const GAZE_STEPS: f32 = 8192.0;

type Wire = Configuration<LittleEndian, Fixint, NoLimit>;
const WIRE: Wire = config::standard().with_fixed_int_encoding();

/// Where in a packet something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The index of the face, where it is in one.
    pub face: Option<u8>,
    /// The index of the repeated frame, where it is in one.
    pub repeated: Option<u8>,
    /// Name of the field, as `docs/wire-facelink1.md` has it.
    pub field: &'static str,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(face) = self.face {
            write!(f, "faces[{face}].")?;
        }
        if let Some(repeated) = self.repeated {
            write!(f, "repeated[{repeated}].")?;
        }
        f.write_str(self.field)
    }
}

/// Why a packet was refused. Nothing of it was used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Facelink1Error {
    /// More than [`MAX_PACKET`] bytes.
    #[error("packet of {0} bytes is larger than the {MAX_PACKET} that are read")]
    TooLarge(usize),
    /// Another first byte than [`MAGIC`].
    #[error("magic is {0:#04x}, expected {MAGIC:#04x}")]
    Magic(u8),
    /// No face, or more than [`MAX_FACES`].
    #[error("count is {0}, expected 1 to {MAX_FACES} faces")]
    Count(u8),
    /// The packet ends within a field.
    #[error("the packet ends within {0}")]
    Truncated(Place),
    /// There are bytes after the last face.
    #[error("the packet goes on after the last face")]
    Trailing,
    /// A value that the format does not define.
    #[error("{place} {reason}")]
    Field {
        /// Which field.
        place: Place,
        /// The reason.
        reason: &'static str,
    },
    /// A channel by a place in a schema that this connection has not sent, or not yet.
    #[error("{0} is of another schema than this connection has sent")]
    Schema(Place),
    /// A delta that builds upon a frame that is not here.
    #[error("{0} names a frame that is not here")]
    Reference(Place),
    /// More than [`MAX_NAMES`] different inline channel names from one connection.
    #[error("{0}: more than {MAX_NAMES} different names on one connection")]
    TooManyNames(Place),
}

/// Why a packet was not written. Nothing was appended, and the encoder is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// No face, or more than [`MAX_FACES`].
    #[error("{0} faces, 1 to {MAX_FACES} go into a packet")]
    Count(usize),
    /// A name that cannot be sent.
    #[error("{field} {reason}")]
    Name {
        /// `subject` or `channel`.
        field: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// NaN or infinity.
    #[error("{0} is not a finite number")]
    NotFinite(Arc<str>),
    /// A head rotation that is no unit quaternion.
    #[error("head.rotation must be a quaternion [x, y, z, w] of length 1")]
    Rotation,
    /// A capture time that is no 64-bit number of microseconds.
    #[error("capture_time is beyond 2^64 microseconds")]
    CaptureTime,
    /// More than [`MAX_CHANNELS`] channels.
    #[error("{0} channels, at most {MAX_CHANNELS} go into a frame")]
    TooManyChannels(usize),
    /// A packet that might become larger than [`MAX_PACKET`].
    #[error("the faces may need {0} bytes, a packet holds {MAX_PACKET}")]
    TooLarge(usize),
    /// The serialiser refused; it does not while it writes to memory.
    #[error("serialiser: {0}")]
    Serialiser(String),
}

impl From<BincodeError> for EncodeError {
    fn from(error: BincodeError) -> Self {
        Self::Serialiser(error.to_string())
    }
}

/// A list's number or a place in a list: seven bits a byte, the low ones first, at most two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Varint(u16);

impl Encode for Varint {
    fn encode<E: BincodeEncoder>(&self, encoder: &mut E) -> Result<(), BincodeError> {
        let [low, high] = [(self.0 & 0x7f) as u8, (self.0 >> 7) as u8];
        if high == 0 {
            return low.encode(encoder);
        }
        (low | 0x80).encode(encoder)?;
        high.encode(encoder)
    }
}

impl<C> Decode<C> for Varint {
    fn decode<D: BincodeDecoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let low = u8::decode(decoder)?;
        if low < 0x80 {
            return Ok(Self(low.into()));
        }
        match u8::decode(decoder)? {
            high @ 1..0x80 => Ok(Self(u16::from(low & 0x7f) | u16::from(high) << 7)),
            _ => Err(DecodeError::Other("is not written in the shortest way, in at most two bytes")),
        }
    }
}

/// The checksum of a schema: 32-bit FNV-1a over the names, each with a zero byte after it, folded to 16 bits.
fn schema_sum<'a>(names: impl Iterator<Item = &'a str>) -> u16 {
    let mut hash = 0x811c_9dc5_u32;
    for name in names {
        for byte in name.bytes().chain([0]) {
            hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        }
    }
    (hash ^ (hash >> 16)) as u16
}

fn name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is an empty name")
    } else if name.len() > MAX_NAME {
        Some("is a name longer than 128 bytes")
    } else if name.chars().any(char::is_control) {
        Some("is a name with control characters")
    } else {
        None
    }
}

/// To the nearest whole number, halves up, within ±32767. In `f64` and without a library call, so that the JavaScript
/// side comes to the same bits.
fn round(value: f64) -> i16 {
    ((value.clamp(-32767.0, 32767.0) + 32768.5) as u32 as i32 - 32768) as i16
}

/// A value of -1 to 2 in steps of 1/[`WIDE_UNIT`].
fn to_wide(value: f32) -> u16 {
    ((f64::from(clamp_weight(value)) + 1.0) * f64::from(WIDE_UNIT) + 0.5) as u16
}

fn from_wide(steps: u16) -> f32 {
    (f32::from(steps) - f32::from(WIDE_UNIT)) / f32::from(WIDE_UNIT)
}

/// Which part of a unit quaternion is the largest, and the others in order. A turn and its negative are the same turn:
/// the largest part is positive.
pub(crate) fn pack_rotation(rotation: [f32; 4]) -> Option<(u16, [i16; 3])> {
    let [x, y, z, w] = rotation.map(f64::from);
    let length = (x * x + y * y + z * z + w * w).sqrt();
    if !(0.5..=2.0).contains(&length) {
        return None;
    }
    let mut largest = 0_u16;
    let (mut most, mut others) = (x, [y, z, w]);
    for (index, part, rest) in [(1, y, [x, z, w]), (2, z, [x, y, w]), (3, w, [x, y, z])] {
        if part.abs() > most.abs() {
            (largest, most, others) = (index, part, rest);
        }
    }
    let scale = if most < 0.0 { -PART_STEPS } else { PART_STEPS } / length;
    Some((largest, others.map(|part| round(part * scale))))
}

pub(crate) fn unpack_rotation(largest: u16, parts: [i16; 3]) -> [f32; 4] {
    let [a, b, c] = parts.map(|part| f64::from(part) / PART_STEPS);
    let most = (1.0 - a * a - b * b - c * c).max(0.0).sqrt();
    let rotation = match largest {
        0 => [most, a, b, c],
        1 => [a, most, b, c],
        2 => [a, b, most, c],
        _ => [a, b, c, most],
    };
    rotation.map(|part| part as f32)
}

/// Whether the squares of the three parts leave something for the fourth.
pub(crate) fn is_rotation(parts: [i16; 3]) -> bool {
    let sum: i64 = parts.iter().map(|part| i64::from(*part) * i64::from(*part)).sum();
    sum <= 2 * 32767 * 32767
}

// ---- encoding ----------------------------------------------------------------

/// Writes to a vector without ever failing.
struct Out<'a>(&'a mut Vec<u8>);

impl Writer for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn put<T: Encode>(value: T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(value.encode(&mut EncoderImpl::new(Out(out), WIRE))?)
}

/// A frame that was sent, ready to be repeated.
#[derive(Clone, Debug)]
struct Sent {
    flags: u16,
    sequence: u32,
    time: Option<(u64, Clock)>,
    len: usize,
    body: [u8; MAX_BODY],
}

impl Sent {
    const NONE: Self = Self { flags: 0, sequence: 0, time: None, len: 0, body: [0; MAX_BODY] };
}

#[derive(Debug)]
struct Subject {
    name: Box<str>,
    next_sequence: u32,
    /// Newest first; the first `sent` of them hold frames.
    history: [Sent; MAX_REDUNDANCY as usize],
    sent: usize,
    last_used: u64,
}

/// The indices by which packets name the entries of a schema.
#[derive(Debug)]
struct Keys {
    sum: u16,
    places: HashMap<Box<str>, u16>,
}

/// Writes the packets of one sender.
#[derive(Debug, Default)]
pub struct Encoder {
    redundancy: u8,
    subjects: Vec<Subject>,
    keys: Option<Keys>,
    used: u64,
}

impl Encoder {
    /// An encoder that repeats nothing and writes channels by name.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many earlier frames of its subject each face repeats, `0..=3`; more is taken as 3. Channels besides the 52
    /// shapes are not repeated.
    pub fn set_redundancy(&mut self, frames: u8) {
        self.redundancy = frames.min(MAX_REDUNDANCY);
    }

    /// Writes channels with these names by their place in the list from now on, which is shorter. To be called once the
    /// other side is known to have the same `schema` message; an empty list returns to names.
    ///
    /// # Errors
    /// [`SchemaError`], as the other side would refuse the list.
    pub fn set_schema<S: AsRef<str>>(&mut self, names: &[S]) -> Result<(), SchemaError> {
        if names.is_empty() {
            self.keys = None;
            return Ok(());
        }
        Schema::new(names)?;
        let places = names.iter().zip(1_u16..).map(|(name, place)| (name.as_ref().into(), place)).collect();
        self.keys = Some(Keys { sum: schema_sum(names.iter().map(AsRef::as_ref)), places });
        Ok(())
    }

    /// Forgets the sequence and the last frames of a subject that has left.
    pub fn forget(&mut self, subject: &str) {
        self.subjects.retain(|known| *known.name != *subject);
    }

    /// Appends one packet with one face. An empty subject is the connection's own. A frame without a sequence number
    /// gets the one after the last of its subject; of a longer one the low 32 bits are sent. Weights and channels are
    /// clamped to [`MIN_WEIGHT`](crate::MIN_WEIGHT)`..=`[`MAX_WEIGHT`](crate::MAX_WEIGHT), positions to ±32 m, gaze to
    /// ±3.99 rad.
    ///
    /// # Errors
    /// [`EncodeError`] for what cannot be written; `out` and the encoder are then as they were.
    pub fn encode(
        &mut self,
        subject: &str,
        frame: &FaceFrame,
        clock: Clock,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.encode_many(&[(subject, frame)], clock, out)
    }

    /// Appends one packet with several faces, 1 to [`MAX_FACES`]. See [`Encoder::encode`].
    ///
    /// # Errors
    /// [`EncodeError`] for what cannot be written; `out` and the encoder are then as they were.
    pub fn encode_many(
        &mut self,
        faces: &[(&str, &FaceFrame)],
        clock: Clock,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let count = match u8::try_from(faces.len()) {
            Ok(count @ 1..) if faces.len() <= MAX_FACES => count,
            _ => return Err(EncodeError::Count(faces.len())),
        };
        let mut room = 2;
        for (subject, frame) in faces {
            room += check(subject, frame)?;
        }
        if room > MAX_PACKET {
            return Err(EncodeError::TooLarge(room));
        }
        let start = out.len();
        let written = put([MAGIC, count], out)
            .and_then(|()| faces.iter().try_for_each(|(subject, frame)| self.face(subject, frame, clock, None, out)));
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// Appends one face as it is sealed: without what is in the clear, and with its subject's name. The last three frames
    /// are remembered whatever the redundancy; `also` of them, 1 for the last one, is repeated too.
    #[cfg(feature = "seal")]
    pub(crate) fn encode_body(
        &mut self,
        subject: &str,
        frame: &FaceFrame,
        (sequence, also): (u32, Option<usize>),
        clock: Clock,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let room = check(subject, frame)?;
        if room > crate::wire::sealed::MAX_SEALED {
            return Err(EncodeError::TooLarge(room));
        }
        let start = out.len();
        let written = self.face(subject, frame, clock, Some((sequence, also)), out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    fn face(
        &mut self,
        name: &str,
        frame: &FaceFrame,
        clock: Clock,
        sealed: Option<(u32, Option<usize>)>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let Self { redundancy, subjects, keys, used } = self;
        *used += 1;
        let subject = remembered(subjects, name, *used);
        let sequence = match sealed {
            Some((sequence, _)) => sequence,
            None => frame.sequence.map_or(subject.next_sequence, |sequence| sequence as u32),
        };
        let also = sealed.and_then(|(_, also)| also);
        // `check` has seen that it fits.
        let time = frame.capture_time.and_then(|time| u64::try_from(time.as_micros()).ok());
        let stamped = time.map(|time| (time, clock));
        // Newest first, as in the history; what cannot be written is left out.
        let mut repeats = [None; MAX_REDUNDANCY as usize];
        let mut farthest = 0;
        for (back, (repeat, past)) in (1..).zip(repeats.iter_mut().zip(&subject.history[..subject.sent])) {
            if back <= usize::from(*redundancy) || also == Some(back) {
                *repeat = backwards(sequence, stamped, past).filter(|(distance, _)| *distance > farthest);
                farthest = repeat.map_or(farthest, |(distance, _)| distance);
            }
        }

        let repeated = (repeats.iter().flatten().count() as u16) << REPEATED_SHIFT;
        let numbered = sealed.is_none().then_some(sequence);
        let Written { own, body, .. } = put_face(name, (numbered, stamped), repeated, frame, keys.as_ref(), out)?;
        for (past, repeat) in subject.history.iter().zip(&repeats).rev() {
            if let Some((distance, delta)) = *repeat {
                put(if delta.is_some() { past.flags } else { past.flags & !TIME }, out)?;
                put(distance, out)?;
                if let Some(delta) = delta {
                    put(delta, out)?;
                }
                out.extend_from_slice(&past.body[..past.len]);
            }
        }

        subject.next_sequence = sequence.wrapping_add(1);
        if *redundancy > 0 || sealed.is_some() {
            subject.history.rotate_right(1);
            let newest = &mut subject.history[0];
            (newest.flags, newest.sequence, newest.time, newest.len) = (own, sequence, stamped, body.len());
            newest.body[..body.len()].copy_from_slice(&out[body]);
            subject.sent = (subject.sent + 1).min(subject.history.len());
        } else {
            // They would no longer be the last ones when repeating is switched on again.
            subject.sent = 0;
        }
        Ok(())
    }
}

/// Where in the output the parts of a face are.
struct Written {
    /// The flags that go with its body wherever it is written.
    own: u16,
    sequence_at: usize,
    body: Range<usize>,
}

/// Appends a face up to its repeated frames, whose number is in `repeated`. A sealed one has its sequence number outside.
fn put_face(
    name: &str,
    (sequence, time): (Option<u32>, Option<(u64, Clock)>),
    repeated: u16,
    frame: &FaceFrame,
    keys: Option<&Keys>,
    out: &mut Vec<u8>,
) -> Result<Written, EncodeError> {
    let own = frame_flags(frame);
    let mut flags = repeated | own;
    if time.is_some_and(|(_, clock)| clock == Clock::Own) {
        flags |= OWN_CLOCK;
    }
    if !name.is_empty() {
        flags |= SUBJECT;
    }
    if !frame.channels.is_empty() {
        flags |= CHANNELS;
        if let Some(keys) = keys
            && frame.channels.iter().any(|channel| keys.places.contains_key(&*channel.name))
        {
            flags |= SCHEMA;
        }
    }
    put(flags, out)?;
    if !name.is_empty() {
        put_name(name, out)?;
    }
    let sequence_at = out.len();
    if let Some(sequence) = sequence {
        put(sequence, out)?;
    }
    if let Some((time, _)) = time {
        put(time, out)?;
    }
    let start = out.len();
    put_body(own, frame, out)?;
    let body = start..out.len();
    if flags & CHANNELS != 0 {
        put_channels(frame, keys.filter(|_| flags & SCHEMA != 0), out)?;
    }
    Ok(Written { own, sequence_at, body })
}

/// The state of a subject, made if need be. A list, since there are few: mostly one.
fn remembered<'a>(subjects: &'a mut Vec<Subject>, name: &str, used: u64) -> &'a mut Subject {
    let place = match subjects.iter().position(|subject| *subject.name == *name) {
        Some(place) => place,
        None => {
            if subjects.len() >= MAX_SUBJECTS
                && let Some((silent, _)) = subjects.iter().enumerate().min_by_key(|(_, subject)| subject.last_used)
            {
                subjects.swap_remove(silent);
            }
            let history = [const { Sent::NONE }; MAX_REDUNDANCY as usize];
            subjects.push(Subject { name: name.into(), next_sequence: 0, history, sent: 0, last_used: used });
            subjects.len() - 1
        }
    };
    let subject = &mut subjects[place];
    subject.last_used = used;
    subject
}

/// How far back a frame lies, where that can be written: sequence 1 to 255, time 0 to 2^32 - 1 µs of the same clock.
fn backwards(sequence: u32, time: Option<(u64, Clock)>, past: &Sent) -> Option<(u8, Option<u32>)> {
    let distance = u8::try_from(sequence.wrapping_sub(past.sequence)).ok().filter(|distance| *distance > 0)?;
    let delta = match (time, past.time) {
        (_, None) => None,
        (Some((now, clock)), Some((then, same))) if clock == same => Some(u32::try_from(now.checked_sub(then)?).ok()?),
        _ => return None,
    };
    Some((distance, delta))
}

/// Refuses what cannot be written; gives an upper bound for its size.
fn check(subject: &str, frame: &FaceFrame) -> Result<usize, EncodeError> {
    if !subject.is_empty()
        && let Some(reason) = name_fault(subject)
    {
        return Err(EncodeError::Name { field: "subject", reason });
    }
    let given = |index: usize| frame.present & (1 << index) != 0;
    // The sum is NaN when a weight is NaN or infinite: times zero, finite ones vanish.
    if frame.weights.iter().map(|weight| weight * 0.0).sum::<f32>() != 0.0
        && let Some(shape) =
            Blendshape::ALL.into_iter().find(|s| given(s.index()) && !frame.weights[s.index()].is_finite())
    {
        return Err(EncodeError::NotFinite(shape.name().into()));
    }
    if let Some(head) = &frame.head {
        if head.rotation.iter().any(|part| !part.is_finite()) {
            return Err(EncodeError::NotFinite("head.rotation".into()));
        }
        if pack_rotation(head.rotation).is_none() {
            return Err(EncodeError::Rotation);
        }
        if head.position.is_some_and(|position| position.iter().any(|metres| !metres.is_finite())) {
            return Err(EncodeError::NotFinite("head.position".into()));
        }
    }
    if let Some(Gaze { left, right }) = &frame.gaze
        && [left.yaw, left.pitch, right.yaw, right.pitch].iter().any(|angle| !angle.is_finite())
    {
        return Err(EncodeError::NotFinite("gaze".into()));
    }
    if frame.capture_time.is_some_and(|time| u64::try_from(time.as_micros()).is_err()) {
        return Err(EncodeError::CaptureTime);
    }
    if frame.channels.len() > MAX_CHANNELS {
        return Err(EncodeError::TooManyChannels(frame.channels.len()));
    }
    let mut room = MAX_FACE;
    for channel in &frame.channels {
        if let Some(reason) = name_fault(&channel.name) {
            return Err(EncodeError::Name { field: "channel", reason });
        }
        if !channel.value.is_finite() {
            return Err(EncodeError::NotFinite(channel.name.clone()));
        }
        // Key, length, name, value; once for all: count and schema sum.
        room += 1 + 1 + channel.name.len() + 2;
    }
    Ok(room + 4)
}

/// The flags that go with a frame's body wherever it is written.
fn frame_flags(frame: &FaceFrame) -> u16 {
    let mut flags = 0;
    if frame.tracked {
        flags |= TRACKED;
    }
    if frame.capture_time.is_some() {
        flags |= TIME;
    }
    if frame.present & ALL_PRESENT != ALL_PRESENT {
        flags |= PARTIAL;
        if given(frame).any(|weight| !(0.0..=1.0).contains(&weight)) {
            flags |= WIDE;
        }
    } else if frame.weights.iter().fold(false, |wide, weight| wide | !(0.0..=1.0).contains(weight)) {
        flags |= WIDE;
    }
    if let Some(head) = &frame.head
        && let Some((largest, _)) = pack_rotation(head.rotation)
    {
        flags |= HEAD | largest << LARGEST_SHIFT;
        if head.position.is_some() {
            flags |= POSITION;
        }
    }
    if frame.gaze.is_some() {
        flags |= GAZE;
    }
    flags
}

/// The weights that a frame gives, in order.
fn given(frame: &FaceFrame) -> impl Iterator<Item = f32> {
    let present = frame.present;
    frame.weights.iter().enumerate().filter(move |(index, _)| present & (1 << index) != 0).map(|(_, weight)| *weight)
}

fn put_name(name: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // `check` has seen that it is no longer than 128 bytes.
    put(name.len() as u8, out)?;
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn put_body(flags: u16, frame: &FaceFrame, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let narrow = |weight: f32| (f64::from(weight) * f64::from(NARROW) + 0.5) as u8;
    match (flags & PARTIAL != 0, flags & WIDE != 0) {
        (false, false) => put(frame.weights.map(narrow), out)?,
        (false, true) => put(frame.weights.map(to_wide), out)?,
        (true, wide) => {
            let [mask @ .., _] = (frame.present & ALL_PRESENT).to_le_bytes();
            put::<[u8; MASK_LEN]>(mask, out)?;
            for weight in given(frame) {
                if wide {
                    put(to_wide(weight), out)?;
                } else {
                    put(narrow(weight), out)?;
                }
            }
        }
    }
    if let Some(head) = &frame.head {
        if let Some((_, parts)) = pack_rotation(head.rotation) {
            put(parts, out)?;
        }
        if let Some(position) = head.position {
            put(position.map(|metres| round((f64::from(metres) * 1000.0).clamp(-FARTHEST_MM, FARTHEST_MM))), out)?;
        }
    }
    if let Some(Gaze { left, right }) = &frame.gaze {
        let angles = [left.yaw, left.pitch, right.yaw, right.pitch];
        put(angles.map(|angle| round(f64::from(angle) * f64::from(GAZE_STEPS))), out)?;
    }
    Ok(())
}

fn put_channels(frame: &FaceFrame, keys: Option<&Keys>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    put(Varint(frame.channels.len() as u16), out)?;
    if let Some(keys) = keys {
        put(keys.sum, out)?;
    }
    for channel in &frame.channels {
        match keys.and_then(|keys| keys.places.get(&*channel.name)) {
            Some(place) => put(Varint(*place), out)?,
            None => {
                put(Varint(0), out)?;
                put_name(&channel.name, out)?;
            }
        }
        put(to_wide(channel.value), out)?;
    }
    Ok(())
}

// ---- decoding ----------------------------------------------------------------

/// A face out of a packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Face<'a> {
    /// The subject; empty for the connection's own.
    pub subject: &'a str,
    /// The face, with its sequence number and, where it was sent, its capture time.
    pub frame: FaceFrame,
    /// The epoch of the capture time, where there is one.
    pub clock: Option<Clock>,
    /// Whether this is an earlier frame that came again, and may be here already. It has no channels.
    pub repeated: bool,
}

/// The names of the connection's `schema` message, resolved once.
#[derive(Debug)]
struct Slots {
    sum: u16,
    slots: Vec<Resolved>,
}

/// Reads the packets of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    schema: Option<Slots>,
}

impl Decoder {
    /// A decoder without a schema.
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of the connection's `schema` message, in order, for channels that are sent by their index in it. An
    /// empty list takes the schema away.
    ///
    /// # Errors
    /// [`SchemaError`], as for `float32` frames; the schema that was there before stays.
    pub fn set_schema<S: AsRef<str>>(&mut self, names: &[S]) -> Result<(), SchemaError> {
        if names.is_empty() {
            self.schema = None;
            return Ok(());
        }
        Schema::new(names)?;
        self.schema = Some(Slots {
            sum: schema_sum(names.iter().map(AsRef::as_ref)),
            slots: names.iter().map(|name| Resolved::of(name.as_ref())).collect(),
        });
        Ok(())
    }

    /// Whether no new inline channel name would be taken any more.
    pub fn is_full(&self) -> bool {
        self.names.is_full()
    }

    /// Reads one packet and calls `each` for its faces in order; the earlier frames that a face repeats come just before
    /// it, oldest first. The whole packet is looked at before the first call.
    ///
    /// # Errors
    /// [`Facelink1Error`] names the field; `each` was then not called, and nothing is kept.
    pub fn decode<'a>(&mut self, bytes: &'a [u8], mut each: impl FnMut(Face<'a>)) -> Result<(), Facelink1Error> {
        if bytes.len() > MAX_PACKET {
            return Err(Facelink1Error::TooLarge(bytes.len()));
        }
        let known = self.names.len();
        let checked = self.packet(bytes, &mut None::<&mut dyn FnMut(Face<'a>)>);
        if checked.is_err() {
            self.names.truncate(known);
            return checked;
        }
        self.packet(bytes, &mut Some(&mut each))
    }

    /// Reads one face whose number is elsewhere, as of a sealed one. As [`Decoder::decode`] otherwise.
    pub(crate) fn decode_body<'a>(
        &mut self,
        bytes: &'a [u8],
        sequence: u32,
        mut each: impl FnMut(Face<'a>),
    ) -> Result<(), Facelink1Error> {
        let known = self.names.len();
        let checked = self.body(bytes, sequence, &mut None::<&mut dyn FnMut(Face<'a>)>);
        if checked.is_err() {
            self.names.truncate(known);
            return checked;
        }
        self.body(bytes, sequence, &mut Some(&mut each))
    }

    fn body<'a, F: FnMut(Face<'a>) + ?Sized>(
        &mut self,
        bytes: &'a [u8],
        sequence: u32,
        each: &mut Option<&mut F>,
    ) -> Result<(), Facelink1Error> {
        let mut input = Input::new(bytes);
        self.face(&mut input, Some(sequence), each)?;
        input.end()
    }

    fn packet<'a, F: FnMut(Face<'a>) + ?Sized>(
        &mut self,
        bytes: &'a [u8],
        each: &mut Option<&mut F>,
    ) -> Result<(), Facelink1Error> {
        let mut input = Input::new(bytes);
        let magic: u8 = input.take("magic")?;
        if magic != MAGIC {
            return Err(Facelink1Error::Magic(magic));
        }
        let count: u8 = input.take("count")?;
        if count == 0 || usize::from(count) > MAX_FACES {
            return Err(Facelink1Error::Count(count));
        }
        for face in 0..count {
            input.face = Some(face);
            self.face(&mut input, None, each)?;
        }
        input.end()
    }

    fn face<'a, F: FnMut(Face<'a>) + ?Sized>(
        &mut self,
        input: &mut Input<'a>,
        sequence: Option<u32>,
        each: &mut Option<&mut F>,
    ) -> Result<(), Facelink1Error> {
        let flags: u16 = input.take("flags")?;
        if flags & RESERVED != 0
            || flags & SCHEMA != 0 && flags & CHANNELS == 0
            || flags & OWN_CLOCK != 0 && flags & TIME == 0
        {
            return Err(input.fault("flags", "hold a bit that this version does not know"));
        }
        let subject = if flags & SUBJECT != 0 { input.name("subject")? } else { "" };
        let sequence = match sequence {
            Some(sequence) => sequence,
            None => input.take("sequence")?,
        };
        let time: Option<u64> = if flags & TIME != 0 { Some(input.take("time")?) } else { None };
        let body = Body::read(flags, input)?;
        let mut newest = each.is_some().then(|| body.frame(sequence, time));
        if flags & CHANNELS != 0 {
            self.channels(flags & SCHEMA != 0, input, newest.as_mut())?;
        }
        let clock = |time: Option<u64>| time.map(|_| if flags & OWN_CLOCK != 0 { Clock::Own } else { Clock::Unix });
        let mut nearest = None;
        for repeated in 0..(flags & REPEATED) >> REPEATED_SHIFT {
            input.repeated = Some(repeated as u8);
            let flags: u16 = input.take("flags")?;
            if flags & !FRAME_FLAGS != 0 {
                return Err(input.fault("flags", "hold a bit that a repeated frame does not have"));
            }
            let distance: u8 = input.take("distance")?;
            if distance == 0 || nearest.is_some_and(|nearest| distance >= nearest) {
                return Err(input.fault("distance", "must fall from one repeated frame to the next, and is never 0"));
            }
            nearest = Some(distance);
            let time = if flags & TIME != 0 {
                let delta: u32 = input.take("delta")?;
                let Some(then) = time.and_then(|time| time.checked_sub(delta.into())) else {
                    return Err(
                        input.fault("delta", "reaches back beyond the zero of the clock, or the face has no time")
                    );
                };
                Some(then)
            } else {
                None
            };
            let body = Body::read(flags, input)?;
            if let Some(each) = each {
                let frame = body.frame(sequence.wrapping_sub(distance.into()), time);
                each(Face { subject, frame, clock: clock(time), repeated: true });
            }
        }
        input.repeated = None;
        if let (Some(each), Some(frame)) = (each, newest.take()) {
            each(Face { subject, frame, clock: clock(time), repeated: false });
        }
        Ok(())
    }

    fn channels(
        &mut self,
        by_schema: bool,
        input: &mut Input<'_>,
        mut frame: Option<&mut FaceFrame>,
    ) -> Result<(), Facelink1Error> {
        let Varint(count) = input.take("channels.count")?;
        if count == 0 || usize::from(count) > MAX_CHANNELS {
            return Err(input.fault("channels.count", "is not 1 to 256"));
        }
        let schema = if by_schema {
            let sum: u16 = input.take("channels.schema")?;
            match &self.schema {
                Some(schema) if schema.sum == sum => Some(schema),
                _ => return Err(Facelink1Error::Schema(input.place("channels.schema"))),
            }
        } else {
            None
        };
        for _ in 0..count {
            let Varint(key) = input.take("channels.key")?;
            let resolved = match usize::from(key).checked_sub(1) {
                None => {
                    let name = input.name("channels.name")?;
                    let resolved = self.names.resolve(name).ok();
                    resolved.ok_or(Facelink1Error::TooManyNames(input.place("channels.name")))?
                }
                Some(place) => match schema.and_then(|schema| schema.slots.get(place)) {
                    Some(resolved) => resolved,
                    None => return Err(input.fault("channels.key", "is beyond the schema's names")),
                },
            };
            let value = from_wide(input.take("channels.value")?);
            if let Some(frame) = &mut frame {
                match resolved {
                    Resolved::Shape(shape) => frame.set(*shape, value),
                    Resolved::Channel(name) => match frame.channels.iter_mut().find(|channel| channel.name == *name) {
                        Some(channel) => channel.value = value,
                        None => frame.channels.push(Channel { name: name.clone(), value }),
                    },
                }
            }
        }
        Ok(())
    }
}

/// The bytes that are left, and where in the packet they begin.
struct Input<'a> {
    bytes: DecoderImpl<SliceReader<'a>, Wire, ()>,
    face: Option<u8>,
    repeated: Option<u8>,
}

impl<'a> Input<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: DecoderImpl::new(SliceReader::new(bytes), WIRE, ()), face: None, repeated: None }
    }

    fn end(&mut self) -> Result<(), Facelink1Error> {
        match u8::decode(&mut self.bytes) {
            Ok(_) => Err(Facelink1Error::Trailing),
            Err(_) => Ok(()),
        }
    }

    fn place(&self, field: &'static str) -> Place {
        Place { face: self.face, repeated: self.repeated, field }
    }

    fn fault(&self, field: &'static str, reason: &'static str) -> Facelink1Error {
        Facelink1Error::Field { place: self.place(field), reason }
    }

    fn failed(&self, field: &'static str, error: &DecodeError) -> Facelink1Error {
        match error {
            DecodeError::Other(reason) => self.fault(field, reason),
            _ => Facelink1Error::Truncated(self.place(field)),
        }
    }

    #[inline]
    fn take<T: Decode<()>>(&mut self, field: &'static str) -> Result<T, Facelink1Error> {
        T::decode(&mut self.bytes).map_err(|error| self.failed(field, &error))
    }

    #[inline]
    fn slice(&mut self, len: usize, field: &'static str) -> Result<&'a [u8], Facelink1Error> {
        self.bytes.borrow_reader().take_bytes(len).map_err(|error| self.failed(field, &error))
    }

    fn name(&mut self, field: &'static str) -> Result<&'a str, Facelink1Error> {
        let len: u8 = self.take(field)?;
        let bytes = self.slice(len.into(), field)?;
        let name = str::from_utf8(bytes).map_err(|_| self.fault(field, "is not UTF-8"))?;
        match name_fault(name) {
            Some(reason) => Err(self.fault(field, reason)),
            None => Ok(name),
        }
    }
}

/// A frame as it lies in the packet: looked at, but not yet turned into numbers.
struct Body<'a> {
    flags: u16,
    mask: u64,
    weights: &'a [u8],
    rotation: [i16; 3],
    position: [i16; 3],
    gaze: [i16; 4],
}

impl<'a> Body<'a> {
    fn read(flags: u16, input: &mut Input<'a>) -> Result<Self, Facelink1Error> {
        if flags & HEAD == 0 && flags & (POSITION | LARGEST) != 0 {
            return Err(input.fault("flags", "speak of a head that is not there"));
        }
        let mut mask = ALL_PRESENT;
        if flags & PARTIAL != 0 {
            let mut bytes = [0; 8];
            bytes[..MASK_LEN].copy_from_slice(&input.take::<[u8; MASK_LEN]>("mask")?);
            mask = u64::from_le_bytes(bytes);
            if mask & !ALL_PRESENT != 0 {
                return Err(input.fault("mask", "names a shape beyond the 52"));
            }
        }
        let size = if flags & WIDE != 0 { 2 } else { 1 };
        let weights = input.slice(mask.count_ones() as usize * size, "weights")?;
        let (mut rotation, mut position, mut gaze) = ([0; 3], [0; 3], [0; 4]);
        if flags & HEAD != 0 {
            rotation = input.take("head.rotation")?;
            if !is_rotation(rotation) {
                return Err(input.fault("head.rotation", "is no unit quaternion"));
            }
            if flags & POSITION != 0 {
                position = input.take("head.position")?;
            }
        }
        if flags & GAZE != 0 {
            gaze = input.take("gaze")?;
        }
        Ok(Self { flags, mask, weights, rotation, position, gaze })
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn frame(&self, sequence: u32, time: Option<u64>) -> FaceFrame {
        let mut frame = FaceFrame {
            present: self.mask,
            tracked: self.has(TRACKED),
            capture_time: time.map(Duration::from_micros),
            sequence: Some(sequence.into()),
            ..FaceFrame::default()
        };
        let narrow = |steps: &u8| f32::from(*steps) / NARROW;
        let wide = |steps: &[u8; 2]| from_wide(u16::from_le_bytes(*steps));
        let (pairs, _) = self.weights.as_chunks::<2>();
        if self.mask == ALL_PRESENT {
            if self.has(WIDE) {
                frame.weights.iter_mut().zip(pairs).for_each(|(weight, steps)| *weight = wide(steps));
            } else {
                frame.weights.iter_mut().zip(self.weights).for_each(|(weight, steps)| *weight = narrow(steps));
            }
        } else {
            let mask = self.mask;
            let given = frame.weights.iter_mut().enumerate().filter(|(index, _)| mask & (1 << index) != 0);
            let given = given.map(|(_, weight)| weight);
            if self.has(WIDE) {
                given.zip(pairs).for_each(|(weight, steps)| *weight = wide(steps));
            } else {
                given.zip(self.weights).for_each(|(weight, steps)| *weight = narrow(steps));
            }
        }
        if self.has(HEAD) {
            frame.head = Some(HeadPose {
                rotation: unpack_rotation((self.flags & LARGEST) >> LARGEST_SHIFT, self.rotation),
                position: self.has(POSITION).then(|| self.position.map(|mm| f32::from(mm) / POSITION_STEPS)),
            });
        }
        if self.has(GAZE) {
            let [left_yaw, left_pitch, right_yaw, right_pitch] = self.gaze.map(|steps| f32::from(steps) / GAZE_STEPS);
            frame.gaze = Some(Gaze {
                left: EyeGaze { yaw: left_yaw, pitch: left_pitch },
                right: EyeGaze { yaw: right_yaw, pitch: right_pitch },
            });
        }
        frame
    }
}
