//! `FMV3`, contract revision 5: iFacialMocap and Facemotion3d in binary, over UDP and TCP.
//!
//! A message is a [`Header`] of 40 bytes and a body, everything little-endian and unpadded:
//!
//! | offset | field | type |
//! |---|---|---|
//! | 0 | `FMV3` | 4 bytes |
//! | 4 | message type, [`Kind`] | `u8` |
//! | 5 | flags, of a frame alone: bit 0 tracked, bit 1 played back | `u8` |
//! | 6 | header size, always 40 | `u16` |
//! | 8 | session; in HELLO the nonce of the caller | `u64` |
//! | 16 | schema | `u32` |
//! | 20 | sequence of a frame, PING or PONG | `u32` |
//! | 24 | source token, of a frame alone | `u32` |
//! | 28 | length of the whole body | `u32` |
//! | 32 | part, from 0 | `u16` |
//! | 34 | parts | `u16` |
//! | 36 | length of this part | `u32` |
//!
//! The phone sends a [`Schema`] first: names, encoding and the terms of the session. Frames are numbers in its order and
//! twelve `f32`: head rotation and position, right eye, left eye. Over UDP a schema comes in parts of 576 bytes and has to
//! be acknowledged before frames follow; over TCP messages are whole and nothing is acknowledged.
//!
//! Values are percent, degrees and metres, in the axes of [`PROFILE`]. The face is lost while bit 0 of the flags is 0.
//!
//! Source: the makers' own document, see `docs/sources/ifacialmocap.md`.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use super::{
    name_table::Resolved,
    profile::{SourceFace, SourceProfile, SourceRotation},
};
use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// The bytes that every message begins with.
pub const MAGIC: [u8; 4] = *b"FMV3";
/// Bytes of a header.
pub const HEADER_LEN: usize = 40;
/// The protocol revision of this implementation.
pub const REVISION: u32 = 5;
/// The UDP port on both sides.
pub const PORT: u16 = 49983;
/// The TCP port on both sides.
pub const TCP_PORT: u16 = 49984;
/// Largest datagram of a schema, header included.
pub const SCHEMA_DATAGRAM: usize = 576;
/// Largest datagram of a frame that may be asked for, header included.
pub const MAX_DATAGRAM: u16 = 1200;
/// Most names of a schema.
pub const MAX_NAMES: usize = 4096;
/// Longest body of a schema, in bytes.
pub const MAX_SCHEMA_LEN: usize = 256 * 1024;
/// Longest body of a frame: 4096 values of four bytes and twelve floats.
pub const MAX_FRAME_LEN: usize = 4 * MAX_NAMES + POSE_LEN;
/// Most parts of a message.
pub const MAX_PARTS: u16 = 512;
/// Most incomplete messages that are kept.
pub const MAX_SETS: usize = 8;
/// Most bytes of incomplete messages that are kept.
pub const MAX_HELD: usize = 512 * 1024;
/// Parts of a frame are dropped after this time if the rest has not arrived.
pub const FRAME_EXPIRES: Duration = Duration::from_millis(250);
/// Parts of a schema are dropped after this time if the rest has not arrived.
pub const SCHEMA_EXPIRES: Duration = Duration::from_secs(3);

/// The conventions: the same as in the apps' text.
pub const PROFILE: SourceProfile = super::mocap_text::PROFILE;

const START_LEN: usize = 20;
const POSE_LEN: usize = 12 * 4;
const MAX_ERROR_LEN: usize = 512;
const MAX_NAME_LEN: usize = 255;
/// Longest app or profile name that is kept, in characters.
const MAX_TITLE: usize = 64;
/// An angle further from zero than this, in degrees, is none: ten turns.
const DEGREES_LIMIT: f32 = 3600.0;
/// No head is further from the camera than this, in metres, whatever the app's own scaling.
const METRES_LIMIT: f32 = 1000.0;
const POSE_NAMES: [&str; 12] = [
    "head rotation x",
    "head rotation y",
    "head rotation z",
    "head position x",
    "head position y",
    "head position z",
    "right eye x",
    "right eye y",
    "right eye z",
    "left eye x",
    "left eye y",
    "left eye z",
];

/// Bit 0 of the flags: the app sees the face.
pub const FLAG_TRACKED: u8 = 1;
/// Bit 1 of the flags: a recording is played back.
pub const FLAG_PLAYBACK: u8 = 2;

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// To the phone: send to me.
    Hello = 1,
    /// From the phone: names, encoding, terms.
    Schema = 2,
    /// To the phone: the schema is here, begin. UDP alone.
    SchemaAck = 3,
    /// From the phone: a face.
    Frame = 4,
    /// To the phone: the schema once more.
    GetSchema = 5,
    /// To the phone: still here.
    Ping = 6,
    /// From the phone: so am I.
    Pong = 7,
    /// To the phone: enough.
    Stop = 8,
    /// From the phone: why not, in words.
    Error = 9,
}

impl Kind {
    /// Every kind there is, by its number less one.
    pub const ALL: [Self; 9] = [
        Self::Hello,
        Self::Schema,
        Self::SchemaAck,
        Self::Frame,
        Self::GetSchema,
        Self::Ping,
        Self::Pong,
        Self::Stop,
        Self::Error,
    ];

    /// As the document has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Schema => "SCHEMA",
            Self::SchemaAck => "SCHEMA_ACK",
            Self::Frame => "FRAME",
            Self::GetSchema => "GET_SCHEMA",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Stop => "STOP",
            Self::Error => "ERROR",
        }
    }

    /// Shortest and longest body.
    const fn body(self) -> (usize, usize) {
        match self {
            Self::Hello => (8, 8),
            Self::Schema => (START_LEN, MAX_SCHEMA_LEN),
            Self::Frame => (POSE_LEN, MAX_FRAME_LEN),
            Self::Error => (1, MAX_ERROR_LEN),
            Self::SchemaAck | Self::GetSchema | Self::Ping | Self::Pong | Self::Stop => (0, 0),
        }
    }
}

/// Why a message was refused, or could not be written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Fmv3Error {
    /// The message ends inside a field.
    #[error("{field}: the message ends after {available} of {needed} bytes")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that were there.
        available: usize,
    },
    /// The first four bytes are not `FMV3`.
    #[error("the message does not begin with FMV3")]
    Magic,
    /// A field of the header or of the terms has an invalid value.
    #[error("{field} is {found}, {wanted}")]
    Field {
        /// The field.
        field: &'static str,
        /// The value received.
        found: u64,
        /// The value expected.
        wanted: &'static str,
    },
    /// A body is too short or too long for its kind.
    #[error("the body of {kind} is {found} bytes long, expected {least} to {most}")]
    Length {
        /// The kind of message that has the body.
        kind: &'static str,
        /// Its length.
        found: usize,
        /// Shortest that is accepted.
        least: usize,
        /// Longest that is accepted.
        most: usize,
    },
    /// Parts of one message contradict each other.
    #[error("parts of one {kind} contradict each other: {field}")]
    Contradiction {
        /// The kind of the message.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// The JSON of a schema cannot be read.
    #[error("schema JSON: {0}")]
    Json(String),
    /// A key of a schema has a wrong type or value.
    #[error("schema `{key}` must be {wanted}")]
    Setting {
        /// The key.
        key: &'static str,
        /// The type or value expected.
        wanted: &'static str,
    },
    /// A name of a schema is none.
    #[error("schema `blend_names[{index}]` {reason}")]
    Name {
        /// Its place.
        index: usize,
        /// Why not.
        reason: &'static str,
    },
    /// A number is not finite, or out of the range of its field.
    #[error("{field} is {value}, which is out of range")]
    Value {
        /// The field.
        field: &'static str,
        /// The value received.
        value: f32,
    },
    /// A frame is of another schema.
    #[error("the frame is of schema {found}, not {known}")]
    OtherSchema {
        /// Which it is of.
        found: u32,
        /// Which is known.
        known: u32,
    },
    /// The text of an ERROR is no UTF-8.
    #[error("the text of ERROR is no UTF-8")]
    Utf8,
}

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The kind of the message.
    pub kind: Kind,
    /// See [`FLAG_TRACKED`] and [`FLAG_PLAYBACK`].
    pub flags: u8,
    /// Which session, or the nonce in a HELLO and in its refusal; never 0.
    pub session: u64,
    /// Which schema; 0 where none is meant, and for the newest in GET_SCHEMA.
    pub schema: u32,
    /// Count of a frame, or what pairs PING and PONG.
    pub sequence: u32,
    /// The app's own.
    pub source_token: u32,
    /// Bytes of the whole body.
    pub total: u32,
    /// Which part this is, from 0.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// Bytes of this part.
    pub chunk: u32,
}

impl Header {
    /// Reads and checks a header.
    ///
    /// # Errors
    /// [`Fmv3Error`] names the field.
    pub fn read(bytes: &[u8; HEADER_LEN]) -> Result<Self, Fmv3Error> {
        let mut fields = Fields(bytes);
        if fields.take::<4>() != MAGIC {
            return Err(Fmv3Error::Magic);
        }
        let [number] = fields.take();
        let kind = Kind::ALL.get(usize::from(number).wrapping_sub(1)).copied();
        let wanted = "only 1 to 9 are known; beta apps of revision 4 have other numbers";
        let kind = kind.ok_or(Fmv3Error::Field { field: "message type", found: number.into(), wanted })?;
        let [flags] = fields.take();
        let size = u16::from_le_bytes(fields.take());
        let header = Self {
            kind,
            flags,
            session: u64::from_le_bytes(fields.take()),
            schema: u32::from_le_bytes(fields.take()),
            sequence: u32::from_le_bytes(fields.take()),
            source_token: u32::from_le_bytes(fields.take()),
            total: u32::from_le_bytes(fields.take()),
            part: u16::from_le_bytes(fields.take()),
            parts: u16::from_le_bytes(fields.take()),
            chunk: u32::from_le_bytes(fields.take()),
        };
        let refuse = |field, found, wanted| Err(Fmv3Error::Field { field, found, wanted });
        if usize::from(size) != HEADER_LEN {
            return refuse("header size", size.into(), "expected 40");
        }
        if header.session == 0 {
            return refuse("session", 0, "which is none");
        }
        if header.schema == 0 && matches!(kind, Kind::Schema | Kind::SchemaAck | Kind::Frame) {
            return refuse("schema", 0, "which is none");
        }
        let (least, most) = kind.body();
        let total = usize::try_from(header.total).unwrap_or(usize::MAX);
        if total < least || total > most {
            return Err(Fmv3Error::Length { kind: kind.name(), found: total, least, most });
        }
        let in_parts = matches!(kind, Kind::Schema | Kind::Frame);
        if header.parts == 0 || header.parts > if in_parts { MAX_PARTS } else { 1 } {
            return refuse("parts", header.parts.into(), "expected 1, or up to 512 for SCHEMA and FRAME");
        }
        if header.part >= header.parts {
            return refuse("part", header.part.into(), "which is beyond the last");
        }
        let whole = header.parts == 1;
        if header.chunk > header.total || (whole && header.chunk != header.total) || (!whole && header.chunk == 0) {
            return refuse("length of the part", header.chunk.into(), "which does not fit the whole");
        }
        Ok(header)
    }

    /// Appends the header to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.push(self.kind as u8);
        out.push(self.flags);
        out.extend_from_slice(&(HEADER_LEN as u16).to_le_bytes());
        out.extend_from_slice(&self.session.to_le_bytes());
        for field in [self.schema, self.sequence, self.source_token, self.total] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.part.to_le_bytes());
        out.extend_from_slice(&self.parts.to_le_bytes());
        out.extend_from_slice(&self.chunk.to_le_bytes());
    }
}

/// Reads fixed fields from the front of bytes that are long enough; those that are missing are 0.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.0 = rest;
                *bytes
            }
            None => [0; N],
        }
    }
}

/// A message or a part of one, as it came in one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Its header.
    pub header: Header,
    /// Its piece of the body.
    pub chunk: &'a [u8],
}

impl<'a> Part<'a> {
    /// Reads one datagram, which has to end with the part.
    ///
    /// # Errors
    /// [`Fmv3Error`] names the field.
    pub fn read(datagram: &'a [u8]) -> Result<Self, Fmv3Error> {
        let Some((header, chunk)) = datagram.split_first_chunk::<HEADER_LEN>() else {
            return Err(Fmv3Error::Truncated { field: "header", needed: HEADER_LEN, available: datagram.len() });
        };
        let header = Header::read(header)?;
        let needed = usize::try_from(header.chunk).unwrap_or(usize::MAX);
        if chunk.len() < needed {
            return Err(Fmv3Error::Truncated { field: "body", needed, available: chunk.len() });
        }
        if chunk.len() > needed {
            let wanted = "but the datagram is longer";
            return Err(Fmv3Error::Field { field: "length of the part", found: header.chunk.into(), wanted });
        }
        Ok(Self { header, chunk })
    }
}

/// One message to write.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Its kind.
    pub kind: Kind,
    /// See [`FLAG_TRACKED`] and [`FLAG_PLAYBACK`].
    pub flags: u8,
    /// Which session, or the nonce in a HELLO and in its refusal.
    pub session: u64,
    /// Which schema.
    pub schema: u32,
    /// Count of a frame, or what pairs PING and PONG.
    pub sequence: u32,
    /// The body; `&[]` for kinds without one.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// A message without flags, schema, sequence and body.
    pub const fn new(kind: Kind, session: u64) -> Self {
        Self { kind, flags: 0, session, schema: 0, sequence: 0, body: &[] }
    }

    /// The same about a schema.
    #[must_use]
    pub const fn with_schema(self, schema: u32) -> Self {
        Self { schema, ..self }
    }

    /// The same with a sequence.
    #[must_use]
    pub const fn with_sequence(self, sequence: u32) -> Self {
        Self { sequence, ..self }
    }

    /// The same with a body.
    #[must_use]
    pub const fn with_body(self, body: &'a [u8]) -> Self {
        Self { body, ..self }
    }

    /// Datagrams of at most `datagram` bytes that it takes.
    pub fn parts(&self, datagram: usize) -> u16 {
        let capacity = datagram.saturating_sub(HEADER_LEN).max(1);
        u16::try_from(self.body.len().div_ceil(capacity).max(1)).unwrap_or(u16::MAX)
    }

    /// Appends one of its datagrams to `out`.
    pub fn write_part(&self, datagram: usize, part: u16, out: &mut Vec<u8>) {
        let capacity = datagram.saturating_sub(HEADER_LEN).max(1);
        let chunk = self.body.chunks(capacity).nth(part.into()).unwrap_or_default();
        self.write_chunk(part, self.parts(datagram), chunk, out);
    }

    /// Appends all of it to `out`, in one piece.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_chunk(0, 1, self.body, out);
    }

    fn write_chunk(&self, part: u16, parts: u16, chunk: &[u8], out: &mut Vec<u8>) {
        let header = Header {
            kind: self.kind,
            flags: self.flags,
            session: self.session,
            schema: self.schema,
            sequence: self.sequence,
            source_token: 0,
            total: self.body.len() as u32,
            part,
            parts,
            chunk: chunk.len() as u32,
        };
        header.write(out);
        out.extend_from_slice(chunk);
    }
}

/// The request of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Frames a second, `1..=60`.
    pub fps: u16,
    /// Largest datagram of a frame, `576..=1200` bytes.
    pub max_datagram: u16,
    /// The protocol revision of the caller; see [`REVISION`].
    pub revision: u32,
}

impl Default for Hello {
    fn default() -> Self {
        Self { fps: 60, max_datagram: MAX_DATAGRAM, revision: REVISION }
    }
}

impl Hello {
    /// The body of HELLO.
    pub fn body(&self) -> [u8; 8] {
        let mut body = [0; 8];
        let (fps, rest) = body.split_at_mut(2);
        fps.copy_from_slice(&self.fps.to_le_bytes());
        let (size, revision) = rest.split_at_mut(2);
        size.copy_from_slice(&self.max_datagram.to_le_bytes());
        revision.copy_from_slice(&self.revision.to_le_bytes());
        body
    }

    /// Reads the body of HELLO. The reader checks the revision: a phone answers another one with an error text.
    ///
    /// # Errors
    /// [`Fmv3Error`] names the field.
    pub fn read(body: &[u8]) -> Result<Self, Fmv3Error> {
        if body.len() != 8 {
            return Err(Fmv3Error::Length { kind: Kind::Hello.name(), found: body.len(), least: 8, most: 8 });
        }
        let mut fields = Fields(body);
        let hello = Self {
            fps: u16::from_le_bytes(fields.take()),
            max_datagram: u16::from_le_bytes(fields.take()),
            revision: u32::from_le_bytes(fields.take()),
        };
        check_terms(hello.fps, hello.max_datagram)?;
        Ok(hello)
    }
}

fn check_terms(fps: u16, max_datagram: u16) -> Result<(), Fmv3Error> {
    if !(1..=60).contains(&fps) {
        return Err(Fmv3Error::Field { field: "frame rate", found: fps.into(), wanted: "expected 1 to 60" });
    }
    if !(SCHEMA_DATAGRAM as u16..=MAX_DATAGRAM).contains(&max_datagram) {
        let wanted = "expected 576 to 1200";
        return Err(Fmv3Error::Field { field: "largest datagram", found: max_datagram.into(), wanted });
    }
    Ok(())
}

/// The text of an ERROR.
///
/// # Errors
/// [`Fmv3Error`] when it is empty, too long or no UTF-8.
pub fn error_text(body: &[u8]) -> Result<&str, Fmv3Error> {
    if !(1..=MAX_ERROR_LEN).contains(&body.len()) {
        let (kind, most) = (Kind::Error.name(), MAX_ERROR_LEN);
        return Err(Fmv3Error::Length { kind, found: body.len(), least: 1, most });
    }
    std::str::from_utf8(body).map_err(|_| Fmv3Error::Utf8)
}

/// How a blendshape's value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two bytes.
    #[default]
    I16,
    /// Four bytes.
    I32,
}

impl Encoding {
    /// Bytes of a value.
    pub const fn size(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::I32 => 4,
        }
    }
}

/// The terms of a session, as the phone sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The nonce of the HELLO that this answers; 0 when the phone began without one.
    pub nonce: u64,
    /// Most frames a second.
    pub fps: u16,
    /// Largest datagram of a frame, in bytes.
    pub max_datagram: u16,
    /// The phone ends the session when it receives nothing for this long.
    pub lease: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { nonce: 0, fps: 60, max_datagram: MAX_DATAGRAM, lease: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Is(Resolved),
    /// More channels than a subject may have.
    Ignored,
}

/// Names and encoding of the frames of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Its number, from 1; frames refer to it.
    pub id: u32,
    /// The terms of the session.
    pub terms: Terms,
    /// The app's name, shortened if need be.
    pub app: String,
    /// The app's name for this output, shortened if need be.
    pub profile: String,
    /// How values are written.
    pub encoding: Encoding,
    slots: Vec<Slot>,
}

/// The keys of a schema's JSON, in the order in which the apps write it.
#[derive(Serialize)]
struct SchemaJson<'a> {
    schema_version: u32,
    app: &'a str,
    profile: &'a str,
    blend_names: Vec<&'a str>,
    blend_encoding: Encoding,
    blend_unit: &'static str,
    pose_layout: &'static str,
    rotation_unit: &'static str,
    position_unit: &'static str,
}

const PERCENT: &str = "percent";
const LAYOUT: &str = "head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz";
const DEGREE: &str = "degree";
const METER: &str = "meter";

impl Schema {
    /// What an app would send for these names.
    ///
    /// # Errors
    /// [`Fmv3Error::Name`] when there are too many, or one is none or comes twice.
    pub fn new<'a>(
        id: u32,
        terms: Terms,
        app: &str,
        encoding: Encoding,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Fmv3Error> {
        let names: Vec<_> = names.into_iter().map(Cow::Borrowed).collect();
        let profile = format!("{}-stream", app.to_ascii_lowercase());
        Ok(Self { id, terms, app: title(app), profile: title(&profile), encoding, slots: slots(&names)? })
    }

    /// Reads the whole body of SCHEMA.
    ///
    /// # Errors
    /// [`Fmv3Error`] names the field or the key.
    pub fn read(id: u32, body: &[u8]) -> Result<Self, Fmv3Error> {
        if !(START_LEN..=MAX_SCHEMA_LEN).contains(&body.len()) {
            let (kind, least, most) = (Kind::Schema.name(), START_LEN, MAX_SCHEMA_LEN);
            return Err(Fmv3Error::Length { kind, found: body.len(), least, most });
        }
        let (start, json) = body.split_at(START_LEN);
        let mut fields = Fields(start);
        let nonce = u64::from_le_bytes(fields.take());
        let fps = u16::from_le_bytes(fields.take());
        let max_datagram = u16::from_le_bytes(fields.take());
        let lease_ms = u32::from_le_bytes(fields.take());
        let revision = u32::from_le_bytes(fields.take());
        if revision != REVISION {
            let (field, wanted) = ("contract revision", "only 5 is understood");
            return Err(Fmv3Error::Field { field, found: revision.into(), wanted });
        }
        check_terms(fps, max_datagram)?;
        if !(5000..=60_000).contains(&lease_ms) {
            let (field, wanted) = ("lease", "expected 5000 to 60000 milliseconds");
            return Err(Fmv3Error::Field { field, found: lease_ms.into(), wanted });
        }
        let terms = Terms { nonce, fps, max_datagram, lease: Duration::from_millis(lease_ms.into()) };

        let read: ReadJson<'_> = serde_json::from_slice(json).map_err(|error| Fmv3Error::Json(error.to_string()))?;
        let setting = |key, is: bool, wanted| if is { Ok(()) } else { Err(Fmv3Error::Setting { key, wanted }) };
        setting("schema_version", read.schema_version == Some(1), "1")?;
        setting("blend_unit", read.blend_unit.as_deref() == Some(PERCENT), "\"percent\"")?;
        let layout = "\"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz\"";
        setting("pose_layout", read.pose_layout.as_deref() == Some(LAYOUT), layout)?;
        setting("rotation_unit", read.rotation_unit.as_deref() == Some(DEGREE), "\"degree\"")?;
        setting("position_unit", read.position_unit.as_deref() == Some(METER), "\"meter\"")?;
        let encoding = match read.blend_encoding.as_deref() {
            Some("i16") => Encoding::I16,
            Some("i32") => Encoding::I32,
            _ => return Err(Fmv3Error::Setting { key: "blend_encoding", wanted: "\"i16\" or \"i32\"" }),
        };
        let names = read.blend_names.ok_or(Fmv3Error::Setting { key: "blend_names", wanted: "a list of names" })?;
        Ok(Self {
            id,
            terms,
            app: title(read.app.as_deref().unwrap_or_default()),
            profile: title(read.profile.as_deref().unwrap_or_default()),
            encoding,
            slots: slots(&names)?,
        })
    }

    /// The whole body of SCHEMA.
    ///
    /// # Errors
    /// [`Fmv3Error`] when names beyond what a subject may have would have to be written.
    pub fn body(&self) -> Result<Vec<u8>, Fmv3Error> {
        let mut body = Vec::new();
        let Terms { nonce, fps, max_datagram, lease } = self.terms;
        body.extend_from_slice(&nonce.to_le_bytes());
        body.extend_from_slice(&fps.to_le_bytes());
        body.extend_from_slice(&max_datagram.to_le_bytes());
        body.extend_from_slice(&u32::try_from(lease.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&REVISION.to_le_bytes());
        let names = self.slots.iter().enumerate().map(|(index, slot)| match slot {
            Slot::Is(Resolved::Shape(shape)) => Ok(shape.name()),
            Slot::Is(Resolved::Channel(name)) => Ok(&**name),
            Slot::Ignored => Err(Fmv3Error::Name { index, reason: "is one too many to be kept" }),
        });
        let json = SchemaJson {
            schema_version: 1,
            app: &self.app,
            profile: &self.profile,
            blend_names: names.collect::<Result<_, _>>()?,
            blend_encoding: self.encoding,
            blend_unit: PERCENT,
            pose_layout: LAYOUT,
            rotation_unit: DEGREE,
            position_unit: METER,
        };
        serde_json::to_writer(&mut body, &json).map_err(|error| Fmv3Error::Json(error.to_string()))?;
        Ok(body)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Without any name.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the body of a frame.
    pub fn frame_len(&self) -> usize {
        self.slots.len() * self.encoding.size() + POSE_LEN
    }

    /// Reads the whole body of a FRAME. Its sequence is that of the header; see [`Count`].
    ///
    /// # Errors
    /// [`Fmv3Error`] when it is of another schema, of the wrong length, or a number is out of range.
    pub fn decode(&self, header: &Header, body: &[u8]) -> Result<SourceFace, Fmv3Error> {
        if header.schema != self.id {
            return Err(Fmv3Error::OtherSchema { found: header.schema, known: self.id });
        }
        let wanted = self.frame_len();
        if body.len() != wanted {
            let kind = Kind::Frame.name();
            return Err(Fmv3Error::Length { kind, found: body.len(), least: wanted, most: wanted });
        }
        let (values, pose) = body.split_at(wanted - POSE_LEN);
        let mut face = SourceFace::default();
        let frame = &mut face.frame;
        for (slot, bytes) in self.slots.iter().zip(values.chunks_exact(self.encoding.size())) {
            let percent = match *bytes {
                [a, b] => f32::from(i16::from_le_bytes([a, b])),
                [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as f32,
                _ => 0.0,
            };
            match slot {
                Slot::Is(Resolved::Shape(shape)) => frame.set(*shape, percent / 100.0),
                Slot::Is(Resolved::Channel(name)) => {
                    frame.channels.push(Channel { name: name.clone(), value: clamp_weight(percent / 100.0) });
                }
                Slot::Ignored => {}
            }
        }
        let mut numbers = [0.0; 12];
        for ((place, number), bytes) in numbers.iter_mut().enumerate().zip(pose.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
            let limit = if (3..6).contains(&place) { METRES_LIMIT } else { DEGREES_LIMIT };
            if number.is_nan() || number.abs() > limit {
                return Err(Fmv3Error::Value { field: POSE_NAMES[place], value: *number });
            }
        }
        let [hx, hy, hz, px, py, pz, rx, ry, rz, lx, ly, lz] = numbers;
        frame.tracked = header.flags & FLAG_TRACKED != 0;
        frame.sequence = Some(header.sequence.into());
        face.head = Some(SourceRotation::Angles([hx, hy, hz]));
        face.position = Some([px, py, pz]);
        face.eyes = Some([[lx, ly, lz], [rx, ry, rz]].map(SourceRotation::Angles));
        Ok(face)
    }

    /// Appends the body of a FRAME to `out`. What the frame does not give is written as 0, and what has no name is left
    /// out; tracking and sequence go into the header.
    ///
    /// # Errors
    /// [`Fmv3Error::Value`] when a number is not finite; `out` may then hold a part of the body.
    pub fn encode(&self, frame: &FaceFrame, profile: &SourceProfile, out: &mut Vec<u8>) -> Result<(), Fmv3Error> {
        let source = profile.unapply(frame);
        for slot in &self.slots {
            let (field, weight) = match slot {
                Slot::Is(Resolved::Shape(shape)) => (shape.name(), source.frame.weights[shape.index()]),
                Slot::Is(Resolved::Channel(name)) => {
                    let channel = source.frame.channels.iter().find(|channel| channel.name == *name);
                    ("a channel", channel.map_or(0.0, |channel| channel.value))
                }
                Slot::Ignored => ("", 0.0),
            };
            if !weight.is_finite() {
                return Err(Fmv3Error::Value { field, value: weight });
            }
            let percent = (weight * 100.0).round();
            match self.encoding {
                Encoding::I16 => out.extend_from_slice(&(percent as i16).to_le_bytes()),
                Encoding::I32 => out.extend_from_slice(&(percent as i32).to_le_bytes()),
            }
        }
        let angles = |rotation: Option<SourceRotation>| match rotation {
            Some(SourceRotation::Angles(angles)) => angles,
            _ => [0.0; 3],
        };
        let [left, right] = source.eyes.map_or([None; 2], |eyes| eyes.map(Some));
        let pose = [angles(source.head), source.position.unwrap_or_default(), angles(right), angles(left)];
        for (number, field) in pose.into_iter().flatten().zip(POSE_NAMES) {
            if !number.is_finite() {
                return Err(Fmv3Error::Value { field, value: number });
            }
            out.extend_from_slice(&number.to_le_bytes());
        }
        Ok(())
    }
}

fn title(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TITLE).collect()
}

fn slots<'n>(names: &'n [Cow<'_, str>]) -> Result<Vec<Slot>, Fmv3Error> {
    if names.len() > MAX_NAMES {
        return Err(Fmv3Error::Name { index: MAX_NAMES, reason: "is one too many" });
    }
    let mut seen: HashSet<&str> = HashSet::with_capacity(names.len());
    let (mut shapes, mut channels) = ([false; BLENDSHAPE_COUNT], 0);
    let slot = |(index, name): (usize, &'n Cow<'_, str>)| {
        let refuse = |reason| Err(Fmv3Error::Name { index, reason });
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return refuse("is not 1 to 255 bytes long");
        }
        if name.chars().any(char::is_control) {
            return refuse("holds a control character");
        }
        if !seen.insert(name) {
            return refuse("came before");
        }
        let shape = Blendshape::from_any_name(name).filter(|shape| !shapes[shape.index()]);
        Ok(match shape {
            Some(shape) => {
                shapes[shape.index()] = true;
                Slot::Is(Resolved::Shape(shape))
            }
            None if channels < MAX_CHANNELS => {
                channels += 1;
                Slot::Is(Resolved::Channel(Arc::from(&**name)))
            }
            None => Slot::Ignored,
        })
    };
    names.iter().enumerate().map(slot).collect()
}

/// The known keys of a schema. No key may come twice, not even one that is not understood.
#[derive(Default)]
struct ReadJson<'a> {
    schema_version: Option<u64>,
    app: Option<Cow<'a, str>>,
    profile: Option<Cow<'a, str>>,
    blend_names: Option<Vec<Cow<'a, str>>>,
    blend_encoding: Option<Cow<'a, str>>,
    blend_unit: Option<Cow<'a, str>>,
    pose_layout: Option<Cow<'a, str>>,
    rotation_unit: Option<Cow<'a, str>>,
    position_unit: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for ReadJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ReadJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = ReadJson::default();
                let mut seen = HashSet::new();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    let mut text = |place: &mut Option<Cow<'de, str>>| -> Result<(), A::Error> {
                        let Text(value) = map.next_value()?;
                        *place = Some(value);
                        Ok(())
                    };
                    match &*key {
                        "schema_version" => read.schema_version = Some(map.next_value()?),
                        "blend_names" => read.blend_names = Some(map.next_value_seed(Names)?),
                        "app" => text(&mut read.app)?,
                        "profile" => text(&mut read.profile)?,
                        "blend_encoding" => text(&mut read.blend_encoding)?,
                        "blend_unit" => text(&mut read.blend_unit)?,
                        "pose_layout" => text(&mut read.pose_layout)?,
                        "rotation_unit" => text(&mut read.rotation_unit)?,
                        "position_unit" => text(&mut read.position_unit)?,
                        _ => {
                            map.next_value::<Unique>()?;
                        }
                    }
                    if let Some(twice) = seen.replace(key) {
                        return Err(A::Error::custom(format_args!("key `{}` comes twice", title(&twice))));
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Up to [`MAX_NAMES`] names.
struct Names;

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Vec<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(Text(name)) = seq.next_element::<Text<'de>>()? {
            if names.len() == MAX_NAMES {
                return Err(A::Error::custom(format_args!("more than {MAX_NAMES} names in `blend_names`")));
            }
            names.push(name);
        }
        Ok(names)
    }
}

/// Any value, of which nothing is kept, without a key that comes twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
                while seq.next_element::<Unique>()?.is_some() {}
                Ok(Unique)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut seen = HashSet::new();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    map.next_value::<Unique>()?;
                    if let Some(twice) = seen.replace(key) {
                        return Err(A::Error::custom(format_args!("key `{}` comes twice", title(&twice))));
                    }
                }
                Ok(Unique)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Puts the parts of messages together.
#[derive(Debug, Default)]
pub struct Reassembler {
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    /// As of its first part.
    header: Header,
    pieces: Vec<(u16, Box<[u8]>)>,
    bytes: usize,
    since: Instant,
}

impl Set {
    fn is_of(&self, header: &Header) -> bool {
        let key = |header: &Header| (header.kind, header.session, header.schema, header.sequence);
        key(&self.header) == key(header)
    }

    /// The field in which a part differs from the others.
    fn differs(&self, part: &Part<'_>) -> Option<&'static str> {
        let (a, b) = (&self.header, &part.header);
        if a.flags != b.flags {
            return Some("flags");
        }
        if a.source_token != b.source_token {
            return Some("source token");
        }
        if (a.total, a.parts) != (b.total, b.parts) {
            return Some("length");
        }
        let known = self.pieces.iter().find(|(place, _)| *place == part.header.part);
        match known {
            Some((_, piece)) if **piece != *part.chunk => Some("bytes"),
            None if self.bytes + part.chunk.len() > a.total as usize => Some("length"),
            _ => None,
        }
    }
}

impl Reassembler {
    /// Nothing kept yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Incomplete messages that are kept.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether no incomplete message is kept.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Takes a part; gives back the message once it is whole, with its header. A message of one part is handed through.
    ///
    /// # Errors
    /// [`Fmv3Error::Contradiction`] when it does not fit what came before; the message is then given up.
    pub fn take<'a>(&mut self, part: Part<'a>, now: Instant) -> Result<Option<(Header, Cow<'a, [u8]>)>, Fmv3Error> {
        let header = part.header;
        if header.parts == 1 {
            return Ok(Some((header, Cow::Borrowed(part.chunk))));
        }
        self.expire(now);
        let place = match self.sets.iter().position(|set| set.is_of(&header)) {
            Some(place) => place,
            None => {
                self.make_room(part.chunk.len());
                self.sets.push(Set { header, pieces: Vec::new(), bytes: 0, since: now });
                self.sets.len() - 1
            }
        };
        let Some(set) = self.sets.get_mut(place) else { return Ok(None) };
        if let Some(field) = set.differs(&part) {
            self.sets.remove(place);
            return Err(Fmv3Error::Contradiction { kind: header.kind.name(), field });
        }
        let Err(slot) = set.pieces.binary_search_by_key(&header.part, |(place, _)| *place) else {
            return Ok(None);
        };
        set.pieces.insert(slot, (header.part, part.chunk.into()));
        set.bytes += part.chunk.len();
        if set.pieces.len() < usize::from(header.parts) {
            self.make_room(0);
            return Ok(None);
        }
        let set = self.sets.remove(place);
        if set.bytes != header.total as usize {
            return Err(Fmv3Error::Contradiction { kind: header.kind.name(), field: "length" });
        }
        let mut body = Vec::with_capacity(set.bytes);
        for (_, piece) in &set.pieces {
            body.extend_from_slice(piece);
        }
        Ok(Some((Header { part: 0, ..set.header }, Cow::Owned(body))))
    }

    fn expire(&mut self, now: Instant) {
        self.sets.retain(|set| {
            let expires = if set.header.kind == Kind::Frame { FRAME_EXPIRES } else { SCHEMA_EXPIRES };
            now.saturating_duration_since(set.since) < expires
        });
    }

    /// The oldest go, so that so many bytes, and one message more, have room.
    fn make_room(&mut self, bytes: usize) {
        let most = if bytes > 0 { MAX_SETS - 1 } else { MAX_SETS };
        while self.sets.len() > most || self.sets.iter().map(|set| set.bytes).sum::<usize>() + bytes > MAX_HELD {
            if self.sets.is_empty() {
                return;
            }
            self.sets.remove(0);
        }
    }
}

/// The count of a phone's frames, which wraps at 32 bits on the wire and begins anew with every session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    newest: Option<u64>,
    /// The newest as it was sent; `None` before the first of a session.
    sent: Option<u32>,
}

impl Count {
    /// The number of a frame, and whether it is newer than all before it: by less than half the range of 32 bits.
    pub fn take(&mut self, sequence: u32) -> (u64, bool) {
        let (number, is_newer) = match (self.newest, self.sent) {
            (Some(newest), Some(sent)) => {
                let step = sequence.wrapping_sub(sent) as i32;
                (newest.saturating_add_signed(step.into()), step > 0)
            }
            (Some(newest), None) => (newest.saturating_add(1), true),
            (None, _) => (sequence.into(), true),
        };
        if is_newer {
            (self.newest, self.sent) = (Some(number), Some(sequence));
        }
        (number, is_newer)
    }

    /// A new session begins: whatever the number of its first frame, it follows those of the last one.
    pub fn restart(&mut self) {
        self.sent = None;
    }
}

/// Reads the contents of a datagram, as far as it can be read without knowing what came before it.
///
/// # Errors
/// [`Fmv3Error`] names the field.
pub fn inspect(datagram: &[u8]) -> Result<Kind, Fmv3Error> {
    let part = Part::read(datagram)?;
    if part.header.parts == 1 {
        match part.header.kind {
            Kind::Hello => drop(Hello::read(part.chunk)?),
            Kind::Schema => drop(Schema::read(part.header.schema, part.chunk)?),
            Kind::Error => drop(error_text(part.chunk)?),
            _ => {}
        }
    }
    Ok(part.header.kind)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::performer::Performance;

    const SESSION: u64 = 0x0102_0304_0506_0708;
    const NONCE: u64 = 0x8877_6655_4433_2211;

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn written(message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        message.write(&mut out);
        out
    }

    fn three() -> Schema {
        let names = ["eyeBlinkLeft", "eyeBlinkRight", "jawOpen"];
        let terms = Terms { nonce: NONCE, ..Terms::default() };
        Schema::new(1, terms, "iFacialMocap", Encoding::I16, names).unwrap()
    }

    fn fifty_two() -> Schema {
        let names = Blendshape::ALL.map(Blendshape::name);
        Schema::new(1, Terms::default(), "iFacialMocap", Encoding::I16, names).unwrap()
    }

    /// Values 25, -25 and 150 percent, then 1, 2, 3, 0.1, 0.2, -0.5, 4, 5, 6, 7, 8, 9.
    const FRAME: &str = "464d5633040128000807060504030201010000002a000000000000003600000000000100360000001900e7ff9600000080\
                         3f0000004000004040cdcccc3dcdcc4c3e000000bf000080400000a0400000c0400000e0400000004100001041";

    #[test]
    fn fmv3_messages_match_document() {
        let body = Hello::default().body();
        let hello = "464d56330100280011223344556677880000000000000000000000000800000000000100080000003c00b00405000000";
        assert_eq!(written(Message::new(Kind::Hello, NONCE).with_body(&body)), hex(hello));
        assert_eq!(Hello::read(&body), Ok(Hello { fps: 60, max_datagram: 1200, revision: 5 }));
        for (message, bytes) in [
            (
                Message::new(Kind::SchemaAck, SESSION).with_schema(1),
                "464d5633030028000807060504030201010000000000000000000000000000000000010000000000",
            ),
            (
                Message::new(Kind::GetSchema, SESSION),
                "464d5633050028000807060504030201000000000000000000000000000000000000010000000000",
            ),
            (
                Message::new(Kind::Ping, SESSION).with_sequence(7),
                "464d5633060028000807060504030201000000000700000000000000000000000000010000000000",
            ),
            (
                Message::new(Kind::Pong, SESSION).with_sequence(7),
                "464d5633070028000807060504030201000000000700000000000000000000000000010000000000",
            ),
            (
                Message::new(Kind::Stop, SESSION),
                "464d5633080028000807060504030201000000000000000000000000000000000000010000000000",
            ),
            (
                Message::new(Kind::Error, NONCE).with_body(b"BUSY"),
                "464d563309002800112233445566778800000000000000000000000004000000000001000400000042555359",
            ),
        ] {
            assert_eq!(written(message), hex(bytes), "{:?}", message.kind);
            let part = hex(bytes);
            let part = Part::read(&part).unwrap();
            assert_eq!((part.header.kind, part.header.session), (message.kind, message.session));
            assert_eq!(part.header.sequence, message.sequence);
            assert_eq!(part.chunk, message.body);
        }
        assert_eq!(error_text(b"BUSY"), Ok("BUSY"));
    }

    #[test]
    fn fmv3_schema_matches_document() {
        let json = r#"{"schema_version":1,"app":"iFacialMocap","profile":"ifacialmocap-stream","blend_names":["eyeBlinkLeft","eyeBlinkRight","jawOpen"],"blend_encoding":"i16","blend_unit":"percent","pose_layout":"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz","rotation_unit":"degree","position_unit":"meter"}"#;
        let mut body = hex("11223344556677883c00b0041027000005000000");
        body.extend_from_slice(json.as_bytes());
        let schema = three();
        assert_eq!(schema.body().unwrap(), body);
        assert_eq!(Schema::read(1, &body), Ok(schema));
    }

    #[test]
    fn fmv3_frame_is_read_and_written() {
        let bytes = hex(FRAME);
        let part = Part::read(&bytes).unwrap();
        assert_eq!((part.header.schema, part.header.sequence, part.header.flags), (1, 42, FLAG_TRACKED));
        let face = three().decode(&part.header, part.chunk).unwrap();
        assert_eq!(face.frame.get(Blendshape::EyeBlinkLeft), Some(0.25));
        assert_eq!(face.frame.get(Blendshape::EyeBlinkRight), Some(-0.25));
        assert_eq!(face.frame.get(Blendshape::JawOpen), Some(1.5));
        assert_eq!(face.frame.get(Blendshape::TongueOut), None);
        assert!(face.frame.tracked);
        assert_eq!(face.frame.sequence, Some(42));
        assert_eq!(face.head, Some(SourceRotation::Angles([1.0, 2.0, 3.0])));
        assert_eq!(face.position, Some([0.1, 0.2, -0.5]));
        let eyes = [[7.0, 8.0, 9.0], [4.0, 5.0, 6.0]].map(SourceRotation::Angles);
        assert_eq!(face.eyes, Some(eyes), "the right eye comes first on the wire");

        let mut body = Vec::new();
        three().encode(&PROFILE.apply(face), &PROFILE, &mut body).unwrap();
        // The eyes' roll is not kept, and the head's angles go through a quaternion.
        assert_eq!(body[..6], part.chunk[..6]);
        assert_eq!(body[18..38], part.chunk[18..38]);
        assert_eq!(body.len(), part.chunk.len());

        let lost = Header { flags: 0, ..part.header };
        assert!(!three().decode(&lost, part.chunk).unwrap().frame.tracked);
    }

    #[test]
    fn fmv3_four_byte_values_and_custom_names() {
        let names = ["jawOpen", "独自の笑顔", "myCustomSmile", "eyeBlink_L", "eyeBlinkLeft"];
        let schema = Schema::new(2, Terms::default(), "Facemotion3d", Encoding::I32, names).unwrap();
        assert_eq!((schema.len(), schema.frame_len()), (5, 5 * 4 + 48));
        let three =
            Schema::new(2, Terms::default(), "Facemotion3d", Encoding::I32, names[..3].iter().copied()).unwrap();
        assert_eq!(Schema::read(2, &three.body().unwrap()), Ok(three));
        let mut body = Vec::new();
        for value in [40_000_i32, -7, 12, 30, 90] {
            body.extend_from_slice(&value.to_le_bytes());
        }
        body.extend_from_slice(&[0; 48]);
        let bytes = written(Message::new(Kind::Frame, SESSION).with_schema(2).with_body(&body));
        let part = Part::read(&bytes).unwrap();
        let frame = schema.decode(&part.header, part.chunk).unwrap().frame;
        assert_eq!(frame.get(Blendshape::JawOpen), Some(2.0), "clamped");
        assert_eq!(frame.get(Blendshape::EyeBlinkLeft), Some(0.3));
        let channels: Vec<_> = frame.channels.iter().map(|channel| (&*channel.name, channel.value)).collect();
        // The second spelling of a shape is a channel.
        assert_eq!(channels, [("独自の笑顔", -0.07), ("myCustomSmile", 0.12), ("eyeBlinkLeft", 0.9)]);
    }

    #[test]
    fn fmv3_frame_allocates_nothing() {
        let schema = fifty_two();
        let mut body = Vec::new();
        schema.encode(&Performance::new(1).frame_at(Duration::from_secs(1)), &PROFILE, &mut body).unwrap();
        let bytes = written(Message::new(Kind::Frame, SESSION).with_schema(1).with_body(&body));
        assert_eq!(bytes.len(), 192);
        let mut parts = Reassembler::new();
        let now = Instant::now();
        let allocations = allocation_counter::measure(|| {
            let (header, body) = parts.take(Part::read(&bytes).unwrap(), now).unwrap().unwrap();
            assert!(schema.decode(&header, &body).unwrap().frame.is_complete());
        });
        assert_eq!(allocations.count_total, 0);
    }

    #[test]
    fn fmv3_error_names_field() {
        let header = hex("464d5633030028000807060504030201010000000000000000000000000000000000010000000000");
        let refused = |at: usize, bytes: &[u8]| {
            let mut header = header.clone();
            header[at..at + bytes.len()].copy_from_slice(bytes);
            Part::read(&header).unwrap_err().to_string()
        };
        assert_eq!(refused(0, b"FMV4"), "the message does not begin with FMV3");
        let beta = "message type is 10, only 1 to 9 are known; beta apps of revision 4 have other numbers";
        assert_eq!(refused(4, &[10]), beta);
        assert_eq!(refused(6, &[41]), "header size is 41, expected 40");
        assert_eq!(refused(8, &[0; 8]), "session is 0, which is none");
        assert_eq!(refused(16, &[0]), "schema is 0, which is none");
        assert_eq!(refused(28, &[1]), "the body of SCHEMA_ACK is 1 bytes long, expected 0 to 0");
        assert_eq!(refused(34, &[0]), "parts is 0, expected 1, or up to 512 for SCHEMA and FRAME");
        assert_eq!(refused(34, &[2]), "parts is 2, expected 1, or up to 512 for SCHEMA and FRAME");
        assert_eq!(refused(32, &[1]), "part is 1, which is beyond the last");
        assert_eq!(refused(36, &[1]), "length of the part is 1, which does not fit the whole");
        let short = Part::read(&header[..39]).unwrap_err().to_string();
        assert_eq!(short, "header: the message ends after 39 of 40 bytes");
        let long = [header.as_slice(), b"!"].concat();
        let long = Part::read(&long).unwrap_err().to_string();
        assert_eq!(long, "length of the part is 0, but the datagram is longer");
        assert_eq!(error_text(&[0xc3]).unwrap_err().to_string(), "the text of ERROR is no UTF-8");

        let mut frame = hex(FRAME);
        frame.truncate(90);
        assert_eq!(Part::read(&frame).unwrap_err().to_string(), "body: the message ends after 50 of 54 bytes");
        let mut frame = hex(FRAME);
        frame[46..50].copy_from_slice(&f32::NAN.to_le_bytes());
        let part = Part::read(&frame).unwrap();
        let error = three().decode(&part.header, part.chunk).unwrap_err().to_string();
        assert_eq!(error, "head rotation x is NaN, which is out of range");
        let error = fifty_two().decode(&part.header, part.chunk).unwrap_err().to_string();
        assert_eq!(error, "the body of FRAME is 54 bytes long, expected 152 to 152");
        let other = Header { schema: 9, ..part.header };
        let error = three().decode(&other, part.chunk).unwrap_err().to_string();
        assert_eq!(error, "the frame is of schema 9, not 1");
    }

    #[test]
    fn fmv3_schema_error_names_key() {
        let body = three().body().unwrap();
        let text = String::from_utf8(body[START_LEN..].to_vec()).unwrap();
        let refused = |json: String| {
            let body = [&body[..START_LEN], json.as_bytes()].concat();
            Schema::read(1, &body).unwrap_err().to_string()
        };
        let unit = refused(text.replace("percent", "permille"));
        assert_eq!(unit, "schema `blend_unit` must be \"percent\"");
        assert_eq!(refused(text.replace("i16", "f32")), "schema `blend_encoding` must be \"i16\" or \"i32\"");
        assert_eq!(refused("{}".to_owned()), "schema `schema_version` must be 1");
        assert_eq!(refused(text.replace("jawOpen", "")), "schema `blend_names[2]` is not 1 to 255 bytes long");
        assert_eq!(refused(text.replace("jawOpen", "jaw\\u0007")), "schema `blend_names[2]` holds a control character");
        assert_eq!(refused(text.replace("jawOpen", "eyeBlinkLeft")), "schema `blend_names[2]` came before");
        for (twice, key) in [
            (text.replace("\"app\"", "\"profile\":\"\",\"app\""), "profile"),
            (text.replace("\"app\"", "\"new\":1,\"new\":2,\"app\""), "new"),
            (text.replace("\"app\"", "\"new\":{\"a\":[{\"b\":1,\"b\":2}]},\"app\""), "b"),
        ] {
            let error = refused(twice);
            assert!(error.contains(&format!("key `{key}` comes twice")), "{error}");
        }
        assert!(refused(text.replace("1,\"app", "NaN,\"app")).starts_with("schema JSON: "));
        let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert!(refused(text.replace("\"app\"", &format!("\"new\":{nested},\"app\""))).contains("recursion limit"));
        let known = text.replace("\"app\"", "\"new\":{\"a\":[1.5,null,true,-1,\"x\"]},\"app\"");
        assert!(
            Schema::read(1, &[&body[..START_LEN], known.as_bytes()].concat()).is_ok(),
            "later revisions may add keys"
        );

        let with = |at: usize, bytes: &[u8]| {
            let mut body = body.clone();
            body[at..at + bytes.len()].copy_from_slice(bytes);
            Schema::read(1, &body).unwrap_err().to_string()
        };
        assert_eq!(with(16, &[4]), "contract revision is 4, only 5 is understood");
        assert_eq!(with(8, &[61]), "frame rate is 61, expected 1 to 60");
        assert_eq!(with(10, &[0, 2]), "largest datagram is 512, expected 576 to 1200");
        assert_eq!(with(12, &[0; 4]), "lease is 0, expected 5000 to 60000 milliseconds");
        assert!(Schema::new(1, Terms::default(), "", Encoding::I16, ["a"; 2]).is_err());
        let names: Vec<_> = (0..=MAX_NAMES).map(|name| format!("custom_{name:04}")).collect();
        let schema = |count: usize| {
            let names = names[..count].iter().map(String::as_str);
            Schema::new(1, Terms::default(), "app", Encoding::I16, names)
        };
        assert_eq!(schema(MAX_NAMES + 1), Err(Fmv3Error::Name { index: MAX_NAMES, reason: "is one too many" }));
        // More than a subject may have are read past.
        let many = schema(MAX_NAMES).unwrap();
        assert_eq!(many.frame_len(), 2 * MAX_NAMES + 48);
        let body = vec![0; many.frame_len()];
        let message = written(Message::new(Kind::Frame, SESSION).with_schema(1).with_body(&body));
        let part = Part::read(&message).unwrap();
        assert_eq!(many.decode(&part.header, part.chunk).unwrap().frame.channels.len(), MAX_CHANNELS);
    }

    fn parts_of(schema: &Schema) -> Vec<Vec<u8>> {
        let body = schema.body().unwrap();
        let message = Message::new(Kind::Schema, SESSION).with_schema(schema.id).with_body(&body);
        (0..message.parts(SCHEMA_DATAGRAM))
            .map(|part| {
                let mut out = Vec::new();
                message.write_part(SCHEMA_DATAGRAM, part, &mut out);
                assert!(out.len() <= SCHEMA_DATAGRAM);
                out
            })
            .collect()
    }

    #[test]
    fn fmv3_schema_parts_are_joined_in_any_order() {
        let schema = fifty_two();
        let datagrams = parts_of(&schema);
        assert_eq!(datagrams.len(), 3);
        let now = Instant::now();
        for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
            let mut parts = Reassembler::new();
            for (count, index) in order.into_iter().enumerate() {
                for _ in 0..2 {
                    if count == 2 {
                        break;
                    }
                    assert_eq!(parts.take(Part::read(&datagrams[index]).unwrap(), now), Ok(None), "twice is fine");
                }
            }
            let (header, body) = parts.take(Part::read(&datagrams[order[2]]).unwrap(), now).unwrap().unwrap();
            assert_eq!(Schema::read(header.schema, &body), Ok(schema.clone()));
            assert!(parts.is_empty());
        }
    }

    #[test]
    fn fmv3_contradicting_or_late_parts_are_dropped() {
        let datagrams = parts_of(&fifty_two());
        let now = Instant::now();
        let mut parts = Reassembler::new();
        parts.take(Part::read(&datagrams[0]).unwrap(), now).unwrap();
        let mut other = datagrams[0].clone();
        other[50] ^= 1;
        let error = parts.take(Part::read(&other).unwrap(), now).unwrap_err().to_string();
        assert_eq!(error, "parts of one SCHEMA contradict each other: bytes");
        assert!(parts.is_empty());
        parts.take(Part::read(&datagrams[0]).unwrap(), now).unwrap();
        let mut longer = datagrams[1].clone();
        longer[28] ^= 1;
        let error = parts.take(Part::read(&longer).unwrap(), now).unwrap_err().to_string();
        assert_eq!(error, "parts of one SCHEMA contradict each other: length");

        for (at, datagram) in [(0, &datagrams[0]), (1, &datagrams[1])] {
            parts.take(Part::read(datagram).unwrap(), now + Duration::from_millis(at)).unwrap();
        }
        let late = now + SCHEMA_EXPIRES;
        assert_eq!(parts.take(Part::read(&datagrams[2]).unwrap(), late), Ok(None), "the first two have expired");
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn fmv3_kept_parts_are_bounded() {
        let now = Instant::now();
        let mut parts = Reassembler::new();
        let piece = vec![0; 60_000];
        for session in 1..100_u64 {
            for part in 0..4 {
                let header = Header {
                    kind: Kind::Schema,
                    flags: 0,
                    session,
                    schema: 1,
                    sequence: 0,
                    source_token: 0,
                    total: 250_000,
                    part,
                    parts: 5,
                    chunk: 60_000,
                };
                assert_eq!(parts.take(Part { header, chunk: &piece }, now), Ok(None));
                assert!(parts.len() <= MAX_SETS);
                assert!(parts.sets.iter().map(|set| set.bytes).sum::<usize>() <= MAX_HELD);
            }
        }
    }

    #[test]
    fn fmv3_frame_count_wraps() {
        let mut count = Count::default();
        let (first, newer) = count.take(u32::MAX - 1);
        assert!(newer);
        assert_eq!(count.take(u32::MAX), (first + 1, true));
        assert_eq!(count.take(u32::MAX), (first + 1, false), "twice");
        assert_eq!(count.take(0), (first + 2, true));
        assert_eq!(count.take(u32::MAX), (first + 1, false), "late");
        assert_eq!(count.take(0x7fff_ffff), (first + 2 + 0x7fff_ffff, true), "half the range ahead is newer");
        assert!(!count.take(0xffff_ffff).1, "more is older");
        let (newest, _) = count.take(0x8000_0000);
        count.restart();
        assert_eq!(count.take(3), (newest + 1, true), "a new session goes on");
        assert_eq!(count.take(4), (newest + 2, true));
        assert!(!count.take(2).1);
        let mut count = Count::default();
        assert_eq!(count.take(42), (42, true));
    }

    proptest! {
        #[test]
        fn fmv3_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = inspect(&bytes);
            let _ = Schema::read(1, &bytes);
            let _ = Hello::read(&bytes);
        }

        #[test]
        fn fmv3_broken_message_never_panics(kind in 1_u8..10, at in 0_usize..700, value in any::<u8>()) {
            let schema = three();
            let mut bytes = match kind {
                2 => written(Message::new(Kind::Schema, SESSION).with_schema(1).with_body(&schema.body().unwrap())),
                _ => hex(FRAME),
            };
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = inspect(&bytes);
            if let Ok(part) = Part::read(&bytes) {
                let _ = Reassembler::new().take(part, Instant::now());
                if let Ok(face) = schema.decode(&part.header, part.chunk) {
                    let frame = PROFILE.apply(face);
                    prop_assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
                    let length: f32 = frame.head.unwrap().rotation.iter().map(|part| part * part).sum();
                    prop_assert!((length - 1.0).abs() < 1e-4);
                }
            }
        }

        #[test]
        fn fmv3_round_trips(
            seed in any::<u64>(),
            second in 0.0_f32..60.0,
            wide in any::<bool>(),
            size in 41_usize..1200,
            sequence in any::<u32>(),
        ) {
            let frame = Performance::new(seed).frame_at(Duration::from_secs_f32(second));
            let schema = Schema { encoding: if wide { Encoding::I32 } else { Encoding::I16 }, ..fifty_two() };
            let mut body = Vec::new();
            schema.encode(&frame, &PROFILE, &mut body).unwrap();
            let message = Message {
                flags: FLAG_TRACKED,
                ..Message::new(Kind::Frame, SESSION).with_schema(1).with_sequence(sequence).with_body(&body)
            };
            let mut parts = Reassembler::new();
            let now = Instant::now();
            let mut whole = None;
            for part in 0..message.parts(size) {
                prop_assert!(whole.is_none());
                let mut bytes = Vec::new();
                message.write_part(size, part, &mut bytes);
                prop_assert!(bytes.len() <= size);
                whole = parts
                    .take(Part::read(&bytes).unwrap(), now)
                    .unwrap()
                    .map(|(header, body)| (header, body.into_owned()));
            }
            let (header, read) = whole.unwrap();
            prop_assert_eq!(&read, &body);
            let back = schema.decode(&header, &read).unwrap();
            prop_assert_eq!(back.frame.sequence, Some(sequence.into()));
            let back = PROFILE.apply(back);
            prop_assert!(back.tracked && back.is_complete());
            for (was, is) in frame.weights.iter().zip(back.weights) {
                prop_assert!((was - is).abs() < 0.0051);
            }
            let (was, is) = (frame.head.unwrap().rotation, back.head.unwrap().rotation);
            prop_assert!(was.iter().zip(is).map(|(a, b)| a * b).sum::<f32>().abs() > 1.0 - 1e-4);
            prop_assert!((frame.gaze.unwrap().left.yaw - back.gaze.unwrap().left.yaw).abs() < 1e-4);
        }
    }
}
