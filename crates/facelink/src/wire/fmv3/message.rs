//! Headers, parts and messages.

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
/// Most parts of a message.
pub const MAX_PARTS: u16 = 512;

/// Most names of a schema.
pub const MAX_NAMES: usize = 4096;
/// Longest body of a schema, in bytes.
pub const MAX_SCHEMA_LEN: usize = 256 * 1024;
/// Longest body of a frame: 4096 values of four bytes and twelve floats.
pub const MAX_FRAME_LEN: usize = 4 * MAX_NAMES + POSE_LEN;
pub(super) const POSE_LEN: usize = 12 * 4;
pub(super) const START_LEN: usize = 20;
const MAX_ERROR_LEN: usize = 512;

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
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
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

pub(super) fn check_terms(fps: u16, max_datagram: u16) -> Result<(), Fmv3Error> {
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
