//! The JSON messages of the wire, version 1.
//!
//! [`Decoder::decode`] reads one message. Keys are read in place, channel names are interned once per connection, and a
//! frame is decoded without allocation. A message with a bad field is refused whole, with an error that names the field;
//! unknown types and fields are ignored and counted.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::name_table::{NameTable, Resolved};
use crate::{
    frame::{Channel, FaceFrame, HeadPose, clamp_weight},
    names::Blendshape,
    wire::viseme::Viseme,
};

/// Largest message that is read, bytes.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Deepest nesting of objects and arrays that is read.
pub const MAX_DEPTH: usize = 32;
/// Most updates in one `batch_update`.
pub const MAX_BATCH: usize = 128;
/// Longest subject, client or channel name, bytes.
pub const MAX_NAME: usize = 128;
/// Most different channel names that one connection may use.
pub const MAX_NAMES: usize = 512;

/// A message that was refused. Nothing of it was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("message of {0} bytes is larger than the {MAX_MESSAGE} that are read")]
    TooLarge(usize),
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("objects and arrays are nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Syntax(String),
    /// A field is missing, of the wrong type or out of its range.
    #[error("{kind}: {message}")]
    Field {
        /// The message's `type`, or `message` when it has none.
        kind: String,
        /// What was wrong with which field.
        message: String,
    },
}

impl JsonError {
    /// The `code` of the `error` message that answers.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "too_large",
            Self::TooDeep => "too_deep",
            Self::Syntax(_) => "bad_json",
            Self::Field { .. } => "bad_field",
        }
    }
}

/// A message from a client.
#[derive(Debug)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "faces are nearly all messages, and a box would cost an allocation each")]
pub enum Message<'a> {
    /// `arkit_data`, `blendshape_update`, `viseme_data`, or an object without a type that holds such fields.
    Face(FaceMessage<'a>),
    /// `batch_update`: messages, oldest first, each to be decoded by itself.
    Batch(SmallVec<[&'a RawValue; 16]>),
    /// `hello`.
    Hello(Hello<'a>),
    /// `schema`: the channel order of the binary frames that follow.
    Schema(Vec<Cow<'a, str>>),
    /// `offer`.
    Offer(Description<'a>),
    /// `answer`.
    Answer(Description<'a>),
    /// `ice_candidate`.
    IceCandidate(Trickle<'a>),
    /// `set_emotion`: what a subject is to show over its face.
    SetEmotion(EmotionMessage<'a>),
    /// `request_offer`: the client would rather answer than offer.
    RequestOffer,
    /// `join`: the room in which others are met; the name of it.
    Join(Cow<'a, str>),
    /// `leave`: out of the room again.
    Leave,
    /// `peers`, as a client receives it: who is in the room already.
    Peers(Vec<Cow<'a, str>>),
    /// `peer_joined`, as a client receives it: its connection id.
    PeerJoined(Cow<'a, str>),
    /// `peer_left`, as a client receives it: its connection id.
    PeerLeft(Cow<'a, str>),
    /// `ping`, with the sender's clock as it was written.
    Ping(Option<&'a RawValue>),
    /// `pong`.
    Pong(Pong),
    /// `get_stats`.
    GetStats,
    /// `subscribe`.
    Subscribe(Subscribe<'a>),
    /// `unsubscribe`.
    Unsubscribe(Option<Cow<'a, str>>),
    /// `welcome`, as a client receives it.
    Welcome(Welcome),
    /// `set_rate`, as a client receives it: frames a second.
    SetRate(f32),
    /// `report`, as a client receives it.
    Report(Report<'a>),
    /// `error`, as a client receives it.
    Error(ErrorMessage),
    /// `subject_lost`, as a client receives it: a face has gone.
    SubjectLost(Cow<'a, str>),
    /// A type that this version does not know.
    Unknown(Cow<'a, str>),
}

/// A face, a viseme, or both.
#[derive(Debug, Default)]
pub struct FaceMessage<'a> {
    /// Whose face, where the message says so.
    pub subject: Option<Cow<'a, str>>,
    /// The face; [empty](FaceFrame::is_empty) when only a viseme came.
    pub frame: FaceFrame,
    /// Whether the message carried a face at all: `blendshapes`, `data`, `head` or `tracked`.
    pub has_face: bool,
    /// The sender's wall clock, Unix milliseconds.
    pub unix_ms: Option<f64>,
    /// The viseme that holds from now on.
    pub viseme: Option<VisemeMessage>,
}

/// One `viseme_data`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisemeMessage {
    /// Which mouth.
    pub viseme: Viseme,
    /// How strongly, `0..=1`.
    pub weight: f32,
    /// How long; without one, until the next viseme.
    pub duration: Option<Duration>,
}

/// One `set_emotion`.
#[derive(Clone, Debug, PartialEq)]
pub struct EmotionMessage<'a> {
    /// Whose face, where the message says so.
    pub subject: Option<Cow<'a, str>>,
    /// Which emotion.
    pub emotion: Cow<'a, str>,
    /// How strongly, `0..=1`; 1 without one.
    pub intensity: f32,
    /// How long it takes to come; the engine's own time without one.
    pub fade: Option<Duration>,
    /// How long it stays; without one, until the next.
    pub duration: Option<Duration>,
}

/// `hello`.
#[derive(Debug, Default)]
pub struct Hello<'a> {
    /// Name of the face that this connection sends.
    pub subject: Option<Cow<'a, str>>,
    /// Pairing token.
    pub token: Option<Cow<'a, str>>,
    /// Format of the binary frames.
    pub binary: Option<Cow<'a, str>>,
    /// What the client calls itself.
    pub client: Option<Cow<'a, str>>,
    /// Connection id that this client had before its WebSocket was lost.
    pub resume: Option<Cow<'a, str>>,
    /// Whether it wants [`Report`]s.
    pub reports: bool,
    /// Whether it means to send deltas.
    pub delta: bool,
}

/// `report`: what to send from now on. What the frames went through comes with it, for people to read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report<'a> {
    /// The face that it is about, where that is not the connection's own.
    pub subject: Option<Cow<'a, str>>,
    /// Frames a second.
    pub fps: f32,
    /// How many earlier frames each packet should repeat.
    pub redundancy: u8,
    /// Number of the newest frame that arrived (its low 32 bits).
    pub ack: Option<u32>,
}

/// `offer` or `answer`.
#[derive(Debug)]
pub struct Description<'a> {
    /// The session description.
    pub sdp: Cow<'a, str>,
    /// Connection id of the room mate that it is for (`to`) or that it is of (`from`); the endpoint itself without one.
    pub peer: Option<Cow<'a, str>>,
}

/// `ice_candidate`.
#[derive(Debug)]
pub struct Trickle<'a> {
    /// The candidate; `None` at the end.
    pub candidate: Option<IceCandidate>,
    /// Connection id of the room mate, as in [`Description::peer`].
    pub peer: Option<Cow<'a, str>>,
}

/// An ICE candidate as browsers write it (`RTCIceCandidateInit`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceCandidate {
    /// The candidate line.
    pub candidate: String,
    /// Media stream identification.
    #[serde(default)]
    pub sdp_mid: Option<String>,
    /// Index of the media description.
    #[serde(default, rename = "sdpMLineIndex")]
    pub sdp_mline_index: Option<u16>,
}

/// `pong`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pong {
    /// The clock of the `ping`, echoed.
    pub t: Option<f64>,
    /// The server's wall clock, Unix milliseconds.
    pub server_time: Option<f64>,
    /// The client's wall clock, Unix milliseconds; ours send it.
    pub client_time: Option<f64>,
}

/// `subscribe`.
#[derive(Debug, Default)]
pub struct Subscribe<'a> {
    /// Whose frames; all without one.
    pub subject: Option<Cow<'a, str>>,
    /// Highest rate wanted, frames a second.
    pub max_fps: Option<f32>,
    /// Format of the frames: JSON without one.
    pub binary: Option<Cow<'a, str>>,
    /// Whether the connection's own faces come back to it; they do by default.
    pub own: Option<bool>,
    /// Whether only faces of room mates are wanted.
    pub room: Option<bool>,
}

/// `welcome`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// This connection's id.
    pub connection_id: String,
    /// Version of the server.
    #[serde(default)]
    pub version: String,
    /// ICE servers to use, in the form of `RTCConfiguration.iceServers`.
    #[serde(default)]
    pub ice_servers: Vec<IceServer>,
    /// The name under which this connection's face is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Whether this is the connection that `hello` asked to resume.
    #[serde(default)]
    pub resumed: bool,
    /// Whether the endpoint reads deltas.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delta: bool,
    /// Format of binary frames that the endpoint will read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
}

/// One STUN or TURN server, in the form of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Addresses such as `stun:host:port` or `turn:host:port?transport=udp`.
    #[serde(deserialize_with = "one_or_several")]
    pub urls: Vec<String>,
    /// TURN user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrSeveral {
        One(String),
        Several(Vec<String>),
    }
    Ok(match OneOrSeveral::deserialize(deserializer)? {
        OneOrSeveral::One(url) => vec![url],
        OneOrSeveral::Several(urls) => urls,
    })
}

/// `error`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorMessage {
    /// Short machine-readable code.
    pub code: String,
    /// What was wrong with which field.
    pub message: String,
}

/// Reads the messages of one connection.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    ignored: u64,
}

impl Decoder {
    /// Unknown types and fields that were ignored so far.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Whether no new channel name would be taken any more.
    pub fn is_full(&self) -> bool {
        self.names.is_full()
    }

    /// Reads one message.
    ///
    /// # Errors
    /// [`JsonError`] when the message is refused; it then has changed nothing but the counters.
    pub fn decode<'a>(&mut self, text: &'a str) -> Result<Message<'a>, JsonError> {
        if text.len() > MAX_MESSAGE {
            return Err(JsonError::TooLarge(text.len()));
        }
        check_depth(text)?;
        let kind = read_kind(text)?;
        let label = kind.as_deref().unwrap_or("message");
        let mut fields = Fields::new(Kind::from_name(kind.as_deref()));
        if fields.kind == Kind::Unknown {
            self.ignored += 1;
            return Ok(Message::Unknown(kind.unwrap_or_default()));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json
            .deserialize_map(FieldsVisitor { fields: &mut fields, names: &mut self.names })
            .and_then(|()| json.end());
        read.map_err(|error| field_error(label, &error))?;
        self.ignored += u64::from(fields.ignored);
        fields.into_message().map_err(|message| JsonError::Field { kind: label.to_owned(), message })
    }
}

fn field_error(kind: &str, error: &serde_json::Error) -> JsonError {
    if error.is_data() {
        JsonError::Field { kind: shorten(kind), message: error.to_string() }
    } else {
        JsonError::Syntax(error.to_string())
    }
}

/// Keeps what is echoed to a log or a peer short.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// Refuses nesting bombs before anything recursive sees them.
fn check_depth(text: &str) -> Result<(), JsonError> {
    // Nearly every message: fewer brackets than would be too deep, however they nest.
    if text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The `type` where it comes first and holds no escapes, as most senders write it.
fn leading_kind(text: &str) -> Option<&str> {
    let rest = text.trim_ascii_start().strip_prefix('{')?.trim_ascii_start().strip_prefix("\"type\"")?;
    let rest = rest.trim_ascii_start().strip_prefix(':')?.trim_ascii_start().strip_prefix('"')?;
    let (kind, _) = rest.split_once('"')?;
    kind.bytes().all(|byte| byte != b'\\' && byte >= 0x20).then_some(kind)
}

/// The `type` decides how the other fields are read, and may come last: so it is looked for first.
fn read_kind(text: &str) -> Result<Option<Cow<'_, str>>, JsonError> {
    if let Some(kind) = leading_kind(text) {
        return Ok(Some(Cow::Borrowed(kind)));
    }
    struct Probe;
    impl<'de> Visitor<'de> for Probe {
        type Value = Option<Cow<'de, str>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut kind = None;
            while let Some(Text(key)) = map.next_key()? {
                if key == "type" {
                    let Text(name) = map.next_value().map_err(|error| at("type", &error))?;
                    kind = Some(name);
                } else {
                    map.next_value::<Skip>()?;
                }
            }
            Ok(kind)
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Probe).map_err(|error| {
        if error.is_data() && text.trim_start().starts_with('{') {
            field_error("message", &error)
        } else {
            JsonError::Syntax(error.to_string())
        }
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ArkitData,
    BlendshapeUpdate,
    VisemeData,
    SetEmotion,
    /// No `type`: the old senders' objects.
    Untyped,
    BatchUpdate,
    Hello,
    Schema,
    Offer,
    Answer,
    IceCandidate,
    Ping,
    Pong,
    GetStats,
    Subscribe,
    Unsubscribe,
    Welcome,
    SetRate,
    Report,
    Error,
    RequestOffer,
    Join,
    Leave,
    Peers,
    PeerJoined,
    PeerLeft,
    SubjectLost,
    Unknown,
}

impl Kind {
    fn from_name(name: Option<&str>) -> Self {
        match name {
            None => Self::Untyped,
            Some("arkit_data") => Self::ArkitData,
            Some("blendshape_update") => Self::BlendshapeUpdate,
            Some("viseme_data") => Self::VisemeData,
            Some("set_emotion") => Self::SetEmotion,
            Some("batch_update") => Self::BatchUpdate,
            Some("hello") => Self::Hello,
            Some("schema") => Self::Schema,
            Some("offer") => Self::Offer,
            Some("answer") => Self::Answer,
            Some("ice_candidate") => Self::IceCandidate,
            Some("ping") => Self::Ping,
            Some("pong") => Self::Pong,
            Some("get_stats") => Self::GetStats,
            Some("subscribe") => Self::Subscribe,
            Some("unsubscribe") => Self::Unsubscribe,
            Some("welcome") => Self::Welcome,
            Some("set_rate") => Self::SetRate,
            Some("report") => Self::Report,
            Some("error") => Self::Error,
            Some("request_offer") => Self::RequestOffer,
            Some("join") => Self::Join,
            Some("leave") => Self::Leave,
            Some("peers") => Self::Peers,
            Some("peer_joined") => Self::PeerJoined,
            Some("peer_left") => Self::PeerLeft,
            Some("subject_lost") => Self::SubjectLost,
            Some(_) => Self::Unknown,
        }
    }

    const fn is_face(self) -> bool {
        matches!(self, Self::ArkitData | Self::BlendshapeUpdate | Self::VisemeData | Self::Untyped)
    }
}

/// The fields of any message, as far as they came.
struct Fields<'a> {
    kind: Kind,
    ignored: u32,
    face: FaceMessage<'a>,
    viseme: Option<Viseme>,
    weight: Option<f32>,
    duration: Option<Duration>,
    emotion: Option<Cow<'a, str>>,
    intensity: Option<f32>,
    fade: Option<Duration>,
    hello: Hello<'a>,
    updates: Option<SmallVec<[&'a RawValue; 16]>>,
    names: Option<Vec<Cow<'a, str>>>,
    sdp: Option<Cow<'a, str>>,
    candidate: Option<Option<IceCandidate>>,
    raw_t: Option<&'a RawValue>,
    pong: Pong,
    max_fps: Option<f32>,
    welcome: Welcome,
    fps: Option<f32>,
    report: Report<'a>,
    error: ErrorMessage,
    has_shapes: bool,
    peer: Option<Cow<'a, str>>,
    room: Option<Cow<'a, str>>,
    binary: Option<Cow<'a, str>>,
    own: Option<bool>,
    room_mates: Option<bool>,
}

impl<'a> Fields<'a> {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            ignored: 0,
            face: FaceMessage::default(),
            viseme: None,
            weight: None,
            duration: None,
            emotion: None,
            intensity: None,
            fade: None,
            hello: Hello::default(),
            updates: None,
            names: None,
            sdp: None,
            candidate: None,
            raw_t: None,
            pong: Pong::default(),
            max_fps: None,
            welcome: Welcome::default(),
            fps: None,
            report: Report::default(),
            error: ErrorMessage::default(),
            has_shapes: false,
            peer: None,
            room: None,
            binary: None,
            own: None,
            room_mates: None,
        }
    }

    fn into_message(mut self) -> Result<Message<'a>, String> {
        let missing = |field: &str| format!("field `{field}` is missing");
        Ok(match self.kind {
            Kind::ArkitData | Kind::BlendshapeUpdate | Kind::VisemeData | Kind::Untyped => {
                if let Some(viseme) = self.viseme {
                    self.face.viseme =
                        Some(VisemeMessage { viseme, weight: self.weight.unwrap_or(1.0), duration: self.duration });
                }
                match self.kind {
                    Kind::ArkitData if !self.face.has_face => return Err(missing("blendshapes")),
                    Kind::BlendshapeUpdate if !self.has_shapes => return Err(missing("data")),
                    Kind::VisemeData if self.face.viseme.is_none() => return Err(missing("viseme")),
                    Kind::Untyped if !self.face.has_face && self.face.viseme.is_none() => {
                        return Err("has neither a `type` nor `blendshapes` nor a `viseme`".to_owned());
                    }
                    _ => Message::Face(self.face),
                }
            }
            Kind::BatchUpdate => Message::Batch(self.updates.ok_or_else(|| missing("updates"))?),
            Kind::Hello => Message::Hello(Hello { subject: self.face.subject, binary: self.binary, ..self.hello }),
            Kind::Schema => Message::Schema(self.names.ok_or_else(|| missing("names"))?),
            Kind::Offer => {
                Message::Offer(Description { sdp: self.sdp.ok_or_else(|| missing("sdp"))?, peer: self.peer })
            }
            Kind::Answer => {
                Message::Answer(Description { sdp: self.sdp.ok_or_else(|| missing("sdp"))?, peer: self.peer })
            }
            Kind::IceCandidate => {
                let candidate = self.candidate.ok_or_else(|| missing("candidate"))?;
                Message::IceCandidate(Trickle { candidate, peer: self.peer })
            }
            Kind::Ping => Message::Ping(self.raw_t),
            Kind::Pong => Message::Pong(self.pong),
            Kind::GetStats => Message::GetStats,
            Kind::Subscribe => Message::Subscribe(Subscribe {
                subject: self.face.subject,
                max_fps: self.max_fps,
                binary: self.binary,
                own: self.own,
                room: self.room_mates,
            }),
            Kind::Unsubscribe => Message::Unsubscribe(self.face.subject),
            Kind::Welcome => Message::Welcome(Welcome { binary: self.binary.map(Cow::into_owned), ..self.welcome }),
            Kind::SetEmotion => Message::SetEmotion(EmotionMessage {
                subject: self.face.subject,
                emotion: self.emotion.ok_or_else(|| missing("emotion"))?,
                intensity: self.intensity.unwrap_or(1.0),
                fade: self.fade,
                duration: self.duration,
            }),
            Kind::RequestOffer => Message::RequestOffer,
            Kind::Join => Message::Join(self.room.ok_or_else(|| missing("room"))?),
            Kind::Leave => Message::Leave,
            Kind::Peers => Message::Peers(self.names.ok_or_else(|| missing("peers"))?),
            Kind::PeerJoined => Message::PeerJoined(self.peer.ok_or_else(|| missing("peer"))?),
            Kind::SubjectLost => Message::SubjectLost(self.face.subject.ok_or_else(|| missing("subject"))?),
            Kind::PeerLeft => Message::PeerLeft(self.peer.ok_or_else(|| missing("peer"))?),
            Kind::SetRate => Message::SetRate(self.fps.ok_or_else(|| missing("fps"))?),
            Kind::Report => Message::Report(Report {
                subject: self.face.subject,
                fps: self.fps.ok_or_else(|| missing("fps"))?,
                ..self.report
            }),
            Kind::Error => Message::Error(self.error),
            Kind::Unknown => Message::Unknown(Cow::Borrowed("")),
        })
    }
}

pub(super) fn at<E: de::Error>(field: &str, error: &impl fmt::Display) -> E {
    // serde_json appends its own place in the text; a second one would only repeat it.
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    if text.starts_with("field `") { E::custom(text) } else { E::custom(format_args!("field `{field}`: {text}")) }
}

struct FieldsVisitor<'f, 'a> {
    fields: &'f mut Fields<'a>,
    names: &'f mut NameTable,
}

impl<'de> Visitor<'de> for FieldsVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { fields, names } = self;
        while let Some(Text(key)) = map.next_key()? {
            let key = key.as_ref();
            let kind = fields.kind;
            let read = match key {
                "type" => map.next_value::<IgnoredAny>().map(drop),
                "subject"
                    if kind.is_face()
                        || matches!(
                            kind,
                            Kind::Hello
                                | Kind::Subscribe
                                | Kind::Unsubscribe
                                | Kind::Welcome
                                | Kind::SubjectLost
                                | Kind::SetEmotion
                        ) =>
                {
                    map.next_value::<Option<Name>>().map(|name| {
                        let name = name.map(|Name(name)| name);
                        if kind == Kind::Welcome {
                            fields.welcome.subject = name.map(Cow::into_owned);
                        } else {
                            fields.face.subject = name;
                        }
                    })
                }
                "blendshapes" if matches!(kind, Kind::ArkitData | Kind::Untyped) => {
                    fields.has_shapes = true;
                    fields.face.has_face = true;
                    map.next_value_seed(Shapes { frame: &mut fields.face.frame, names, field: "blendshapes" })
                }
                "data" if kind == Kind::BlendshapeUpdate => {
                    fields.has_shapes = true;
                    fields.face.has_face = true;
                    map.next_value_seed(Shapes { frame: &mut fields.face.frame, names, field: "data" })
                }
                "head" if kind.is_face() => map.next_value::<Option<Head>>().map(|head| {
                    fields.face.has_face |= head.is_some();
                    fields.face.frame.head = head.map(|Head(pose)| pose);
                }),
                "tracked" if kind.is_face() => map.next_value().map(|tracked| {
                    fields.face.has_face = true;
                    fields.face.frame.tracked = tracked;
                }),
                "frame" if kind.is_face() => {
                    map.next_value::<Option<u64>>().map(|frame| fields.face.frame.sequence = frame)
                }
                "timestamp" if kind.is_face() => map.next_value::<Option<Timestamp>>().map(|time| {
                    fields.face.unix_ms = time.map(|Timestamp(ms)| ms);
                }),
                "viseme" if matches!(kind, Kind::VisemeData | Kind::Untyped) => {
                    map.next_value::<Option<VisemeName>>().map(|viseme| fields.viseme = viseme.map(|VisemeName(v)| v))
                }
                "weight" if matches!(kind, Kind::VisemeData | Kind::Untyped) => {
                    map.next_value().map(|Number(weight)| fields.weight = Some((weight as f32).clamp(0.0, 1.0)))
                }
                "duration_ms" if matches!(kind, Kind::VisemeData | Kind::Untyped) => {
                    map.next_value().map(|duration| fields.duration = milliseconds(duration, 60_000.0))
                }
                "duration_ms" if kind == Kind::SetEmotion => {
                    map.next_value().map(|duration| fields.duration = milliseconds(duration, 3_600_000.0))
                }
                "fade_ms" if kind == Kind::SetEmotion => {
                    map.next_value().map(|fade| fields.fade = milliseconds(fade, 60_000.0))
                }
                "emotion" if kind == Kind::SetEmotion => {
                    map.next_value().map(|Name(emotion)| fields.emotion = Some(emotion))
                }
                "intensity" if kind == Kind::SetEmotion => map.next_value::<Option<Number>>().map(|intensity| {
                    fields.intensity = intensity.map(|Number(intensity)| (intensity as f32).clamp(0.0, 1.0));
                }),
                "updates" if kind == Kind::BatchUpdate => {
                    map.next_value().map(|Updates(updates)| fields.updates = Some(updates))
                }
                "timestamp" if kind == Kind::BatchUpdate => map.next_value::<IgnoredAny>().map(drop),
                "token" if kind == Kind::Hello => {
                    map.next_value::<Option<Text>>().map(|t| fields.hello.token = t.map(|Text(t)| t))
                }
                "binary" if matches!(kind, Kind::Hello | Kind::Welcome | Kind::Subscribe) => {
                    map.next_value::<Option<Text>>().map(|t| fields.binary = t.map(|Text(t)| t))
                }
                "room" if kind == Kind::Subscribe => map.next_value().map(|room| fields.room_mates = room),
                "own" if kind == Kind::Subscribe => map.next_value().map(|own| fields.own = own),
                "resume" if kind == Kind::Hello => {
                    map.next_value::<Option<Name>>().map(|t| fields.hello.resume = t.map(|Name(t)| t))
                }
                "resumed" if kind == Kind::Welcome => map.next_value().map(|r| fields.welcome.resumed = r),
                "room" if kind == Kind::Join => map.next_value().map(|Name(room)| fields.room = Some(room)),
                "peers" if kind == Kind::Peers => map.next_value().map(|Names(names)| fields.names = Some(names)),
                "peer" if matches!(kind, Kind::PeerJoined | Kind::PeerLeft) => {
                    map.next_value().map(|Name(peer)| fields.peer = Some(peer))
                }
                "to" | "from" if matches!(kind, Kind::Offer | Kind::Answer | Kind::IceCandidate) => {
                    map.next_value::<Option<Name>>().map(|peer| fields.peer = peer.map(|Name(peer)| peer))
                }
                "client" if kind == Kind::Hello => {
                    map.next_value::<Option<Name>>().map(|t| fields.hello.client = t.map(|Name(t)| t))
                }
                "names" if kind == Kind::Schema => map.next_value().map(|Names(names)| fields.names = Some(names)),
                "sdp" if matches!(kind, Kind::Offer | Kind::Answer) => {
                    map.next_value().map(|Text(sdp)| fields.sdp = Some(sdp))
                }
                "candidate" if kind == Kind::IceCandidate => {
                    map.next_value().map(|candidate| fields.candidate = Some(candidate))
                }
                "t" if kind == Kind::Ping => map.next_value().map(|t| fields.raw_t = Some(t)),
                "t" if kind == Kind::Pong => {
                    map.next_value::<Option<Number>>().map(|t| fields.pong.t = t.map(|Number(t)| t))
                }
                "server_time" if kind == Kind::Pong => {
                    map.next_value::<Option<Number>>().map(|t| fields.pong.server_time = t.map(|Number(t)| t))
                }
                "client_time" if kind == Kind::Pong => {
                    map.next_value::<Option<Number>>().map(|t| fields.pong.client_time = t.map(|Number(t)| t))
                }
                "max_fps" if kind == Kind::Subscribe => map.next_value::<Option<Number>>().and_then(|fps| match fps {
                    Some(Number(fps)) if fps <= 0.0 => Err(de::Error::custom("must be above 0")),
                    fps => {
                        fields.max_fps = fps.map(|Number(fps)| fps as f32);
                        Ok(())
                    }
                }),
                "connection_id" if kind == Kind::Welcome => {
                    map.next_value().map(|id| fields.welcome.connection_id = id)
                }
                "version" if kind == Kind::Welcome => map.next_value().map(|v| fields.welcome.version = v),
                "ice_servers" if kind == Kind::Welcome => map.next_value().map(|s| fields.welcome.ice_servers = s),
                "fps" if matches!(kind, Kind::SetRate | Kind::Report) => {
                    map.next_value().map(|Number(fps)| fields.fps = Some(fps as f32))
                }
                "redundancy" if kind == Kind::Report => {
                    map.next_value().map(|Number(frames)| fields.report.redundancy = frames.clamp(0.0, 255.0) as u8)
                }
                "ack" if kind == Kind::Report => map.next_value::<Option<Number>>().map(|ack| {
                    fields.report.ack = ack.map(|Number(ack)| ack.clamp(0.0, f64::from(u32::MAX)) as u32);
                }),
                "delta" if kind == Kind::Hello => map.next_value().map(|delta| fields.hello.delta = delta),
                "delta" if kind == Kind::Welcome => map.next_value().map(|delta| fields.welcome.delta = delta),
                "reports" if kind == Kind::Hello => map.next_value().map(|reports| fields.hello.reports = reports),
                "code" if kind == Kind::Error => map.next_value().map(|code| fields.error.code = code),
                "message" if kind == Kind::Error => map.next_value().map(|text| fields.error.message = text),
                _ => {
                    fields.ignored += 1;
                    map.next_value::<IgnoredAny>().map(drop)
                }
            };
            read.map_err(|error| at(&shorten(key), &error))?;
        }
        Ok(())
    }
}

fn milliseconds(ms: Option<Number>, most: f64) -> Option<Duration> {
    ms.map(|Number(ms)| Duration::from_secs_f64(ms.clamp(0.0, most) / 1000.0))
}

/// Any value, passed over. Unlike [`IgnoredAny`] it does not make `serde_json` allocate for nested values; it recurses
/// instead, which [`check_depth`] has bounded.
pub(super) struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SkipVisitor;
        impl<'de> Visitor<'de> for SkipVisitor {
            type Value = Skip;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_unit<E>(self) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skip, A::Error> {
                while seq.next_element::<Skip>()?.is_some() {}
                Ok(Skip)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skip, A::Error> {
                while map.next_entry::<Text<'de>, Skip>()?.is_some() {}
                Ok(Skip)
            }
        }
        deserializer.deserialize_any(SkipVisitor)
    }
}

/// A string, borrowed where it holds no escapes.
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

/// A name: a string that is neither empty nor longer than [`MAX_NAME`], without control characters.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        check_name(&name).map_err(de::Error::custom)?;
        Ok(Self(name))
    }
}

/// Whether a subject or channel may be called so.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a name must not be empty".to_owned())
    } else if name.len() > MAX_NAME {
        Err(format!("a name of {} bytes is longer than {MAX_NAME}", name.len()))
    } else if name.chars().any(char::is_control) {
        Err("a name must not hold control characters".to_owned())
    } else {
        Ok(())
    }
}

/// A finite number.
pub(super) struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
                if value.is_finite() { Ok(value) } else { Err(E::custom("must be a finite number")) }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }
        }
        deserializer.deserialize_any(NumberVisitor).map(Number)
    }
}

/// Largest number that can be meant as a weight; more is a broken sender, not an eager one.
pub(super) const ABSURD: f64 = 1e6;

/// `{name: weight}`.
struct Shapes<'f> {
    frame: &'f mut FaceFrame,
    names: &'f mut NameTable,
    field: &'static str,
}

impl<'de> DeserializeSeed<'de> for Shapes<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Shapes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and weights")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let name = || format!("{}.{}", self.field, shorten(&key));
            let Number(value) = map.next_value().map_err(|error| at(&name(), &error))?;
            if value.abs() > ABSURD {
                return Err(at(&name(), &format_args!("{value} is no weight")));
            }
            let value = clamp_weight(value as f32);
            match self.names.resolve(&key).map_err(|error| at(&name(), &error))? {
                Resolved::Shape(shape) => self.frame.set(*shape, value),
                Resolved::Channel(name) => {
                    match self.frame.channels.iter_mut().find(|channel| Arc::ptr_eq(&channel.name, name)) {
                        Some(channel) => channel.value = value,
                        None => self.frame.channels.push(Channel { name: name.clone(), value }),
                    }
                }
            }
        }
        Ok(())
    }
}

struct Head(HeadPose);

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            rotation: Option<[f32; 4]>,
            position: Option<[f32; 3]>,
        }
        let Raw { rotation, position } = Raw::deserialize(deserializer)?;
        let rotation = match rotation {
            Some(rotation) => unit_quaternion(rotation)
                .ok_or_else(|| de::Error::custom("`rotation` must be a quaternion [x, y, z, w] of length 1"))?,
            None => [0.0, 0.0, 0.0, 1.0],
        };
        if position.is_some_and(|position| position.iter().any(|value| !value.is_finite())) {
            return Err(de::Error::custom("`position` must be finite"));
        }
        Ok(Self(HeadPose { rotation, position }))
    }
}

/// Normalises a quaternion that is meant to be a rotation.
pub(crate) fn unit_quaternion(rotation: [f32; 4]) -> Option<[f32; 4]> {
    let length = rotation.iter().map(|value| value * value).sum::<f32>().sqrt();
    (length.is_finite() && (0.5..=2.0).contains(&length)).then(|| rotation.map(|value| value / length))
}

struct VisemeName(Viseme);

impl<'de> Deserialize<'de> for VisemeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        Viseme::from_name(&name)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("`{}` is no viseme", shorten(&name))))
    }
}

/// Unix milliseconds.
struct Timestamp(f64);

/// Below this a number is seconds, from here on milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimestampVisitor;
        impl Visitor<'_> for TimestampVisitor {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Unix seconds or milliseconds, or an ISO 8601 string")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
                if !value.is_finite() {
                    return Err(E::custom("must be a finite number"));
                }
                Ok(if value.abs() < MILLISECONDS_FROM { value * 1000.0 } else { value })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
                self.visit_f64(value as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
                parse_iso_8601(text).ok_or_else(|| E::custom(format_args!("`{}` is no ISO 8601 time", shorten(text))))
            }
        }
        deserializer.deserialize_any(TimestampVisitor).map(Timestamp)
    }
}

/// Unix milliseconds of an ISO 8601 time. Python's `datetime.now().isoformat()` writes no offset: such a time is read as
/// UTC.
fn parse_iso_8601(text: &str) -> Option<f64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_nanosecond() as f64 / 1e6);
    }
    let time = text.parse::<jiff::civil::DateTime>().ok()?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(time.as_nanosecond() as f64 / 1e6)
}

struct Updates<'a>(SmallVec<[&'a RawValue; 16]>);

impl<'de> Deserialize<'de> for Updates<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bounded_seq(deserializer, MAX_BATCH, "an array of messages").map(Self)
    }
}

struct Names<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Names<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: SmallVec<[Name<'de>; 64]> = bounded_seq(deserializer, MAX_NAMES, "an array of names")?;
        Ok(Self(names.into_iter().map(|Name(name)| name).collect()))
    }
}

fn bounded_seq<'de, D, A>(deserializer: D, most: usize, what: &'static str) -> Result<SmallVec<A>, D::Error>
where
    D: Deserializer<'de>,
    A: smallvec::Array,
    A::Item: Deserialize<'de>,
{
    struct SeqVisitor<A>(usize, &'static str, std::marker::PhantomData<fn() -> A>);
    impl<'de, A: smallvec::Array> Visitor<'de> for SeqVisitor<A>
    where
        A::Item: Deserialize<'de>,
    {
        type Value = SmallVec<A>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
            let mut items = SmallVec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() >= self.0 {
                    return Err(de::Error::custom(format_args!("more than {} items", self.0)));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(SeqVisitor(most, what, std::marker::PhantomData))
}

/// Writes an `arkit_data` message into `out`, which is cleared first.
///
/// Weights are rounded to four decimals (a tenth of what an 8-bit channel resolves). Shapes that the frame does not give
/// are left out.
pub fn write_arkit_data(out: &mut String, frame: &FaceFrame, subject: Option<&str>, unix_ms: Option<f64>) {
    out.clear();
    out.push_str(r#"{"type":"arkit_data","#);
    write_face(out, frame, subject, unix_ms);
    out.push('}');
}

/// Writes what the old system's senders write into `out`, which is cleared first: an object without a type, with
/// `blendshapes`, with `viseme` and `weight`, or with both.
pub fn write_untyped(
    out: &mut String,
    frame: Option<&FaceFrame>,
    viseme: Option<(Viseme, f32)>,
    subject: Option<&str>,
    unix_ms: Option<f64>,
) {
    use fmt::Write;
    out.clear();
    out.push('{');
    if let Some((viseme, weight)) = viseme {
        // Writing to a String cannot fail.
        let _ = write!(out, r#""viseme":"{}","weight":{}"#, viseme.name(), round4(weight));
    }
    match frame {
        Some(frame) => {
            out.push_str(if viseme.is_some() { "," } else { "" });
            write_face(out, frame, subject, unix_ms);
        }
        None => write_sender(out, if viseme.is_some() { "," } else { "" }, subject, unix_ms),
    }
    out.push('}');
}

/// The fields of a face, without the braces.
fn write_face(out: &mut String, frame: &FaceFrame, subject: Option<&str>, unix_ms: Option<f64>) {
    use fmt::Write;
    out.push_str(r#""blendshapes":{"#);
    let mut separator = "";
    // Writing to a String cannot fail.
    for shape in Blendshape::ALL {
        if let Some(weight) = frame.get(shape) {
            let _ = write!(out, r#"{separator}"{}":{}"#, shape.name(), round4(weight));
            separator = ",";
        }
    }
    for channel in &frame.channels {
        let name = serde_json::to_string(&*channel.name).unwrap_or_default();
        let _ = write!(out, "{separator}{name}:{}", round4(channel.value));
        separator = ",";
    }
    out.push('}');
    if let Some(head) = frame.head {
        let [x, y, z, w] = head.rotation;
        let _ = write!(out, r#","head":{{"rotation":[{x},{y},{z},{w}]"#);
        if let Some([x, y, z]) = head.position {
            let _ = write!(out, r#","position":[{x},{y},{z}]"#);
        }
        out.push('}');
    }
    if !frame.tracked {
        out.push_str(r#","tracked":false"#);
    }
    if let Some(frame) = frame.sequence {
        let _ = write!(out, r#","frame":{frame}"#);
    }
    write_sender(out, ",", subject, unix_ms);
}

fn write_sender(out: &mut String, mut separator: &str, subject: Option<&str>, unix_ms: Option<f64>) {
    use fmt::Write;
    if let Some(subject) = subject {
        let _ = write!(out, r#"{separator}"subject":{}"#, serde_json::to_string(subject).unwrap_or_default());
        separator = ",";
    }
    if let Some(ms) = unix_ms {
        let _ = write!(out, r#"{separator}"timestamp":{ms:.3}"#);
    }
}

fn round4(value: f32) -> f32 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn face(text: &str) -> FaceMessage<'_> {
        match Decoder::default().decode(text) {
            Ok(Message::Face(face)) => face,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refused(text: &str) -> JsonError {
        match Decoder::default().decode(text) {
            Err(error) => error,
            Ok(message) => panic!("{text} was read as {message:?}"),
        }
    }

    #[test]
    fn arkit_data() {
        let face = face(
            r#"{"blendshapes":{"jawOpen":0.5,"eyeBlink_L":1,"tail":0.25},"subject":"Ann","frame":7,
               "head":{"rotation":[0,0,0,1],"position":[0,0,0.4]},"timestamp":1700000000,"type":"arkit_data"}"#,
        );
        assert_eq!(face.subject.as_deref(), Some("Ann"));
        assert_eq!(face.frame.get(Blendshape::JawOpen), Some(0.5));
        assert_eq!(face.frame.get(Blendshape::EyeBlinkLeft), Some(1.0));
        assert_eq!(face.frame.get(Blendshape::EyeBlinkRight), None);
        assert_eq!(face.frame.channels.len(), 1);
        assert_eq!(&*face.frame.channels[0].name, "tail");
        assert_eq!(face.frame.sequence, Some(7));
        assert_eq!(face.frame.head.and_then(|head| head.position), Some([0.0, 0.0, 0.4]));
        assert_eq!(face.unix_ms, Some(1_700_000_000_000.0));
        assert!(face.frame.tracked);
    }

    #[test]
    fn timestamps() {
        for (text, ms) in [
            ("1700000000.5", 1_700_000_000_500.0),
            ("1700000000500", 1_700_000_000_500.0),
            (r#""2023-11-14T22:13:20.5Z""#, 1_700_000_000_500.0),
            (r#""2023-11-14T23:13:20.500000+01:00""#, 1_700_000_000_500.0),
            (r#""2023-11-14T22:13:20.500000""#, 1_700_000_000_500.0),
        ] {
            let text = format!(r#"{{"blendshapes":{{}},"timestamp":{text}}}"#);
            assert_eq!(face(&text).unix_ms, Some(ms), "{text}");
        }
    }

    #[test]
    fn the_old_systems_untyped_objects() {
        let both = face(r#"{"blendshapes":{"jawOpen":0.3},"viseme":"AA","weight":0.8}"#);
        assert!(both.has_face);
        assert_eq!(both.viseme, Some(VisemeMessage { viseme: Viseme::Aa, weight: 0.8, duration: None }));
        let viseme = face(r#"{"viseme":"PP"}"#);
        assert!(!viseme.has_face);
        assert_eq!(viseme.viseme.map(|v| v.weight), Some(1.0));
    }

    #[test]
    fn clamps_and_refuses() {
        assert_eq!(face(r#"{"blendshapes":{"jawOpen":7,"jawLeft":-3}}"#).frame.get(Blendshape::JawOpen), Some(2.0));
        for (text, field) in [
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":"wide"}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":null}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":{"jawOpen":1e300}}"#, "blendshapes.jawOpen"),
            (r#"{"type":"arkit_data","blendshapes":[1,2]}"#, "blendshapes"),
            (r#"{"type":"arkit_data"}"#, "blendshapes"),
            (r#"{"type":"arkit_data","blendshapes":{},"head":{"rotation":[0,0,0,0]}}"#, "head"),
            (r#"{"type":"arkit_data","blendshapes":{},"head":{"rotation":[0,0,0]}}"#, "head"),
            (r#"{"type":"arkit_data","blendshapes":{},"timestamp":"yesterday"}"#, "timestamp"),
            (r#"{"type":"arkit_data","blendshapes":{},"tracked":"yes"}"#, "tracked"),
            (r#"{"type":"arkit_data","blendshapes":{},"subject":""}"#, "subject"),
            (r#"{"type":"viseme_data","viseme":"quux"}"#, "viseme"),
            (r#"{"type":"viseme_data","weight":1}"#, "viseme"),
            (r#"{"type":"blendshape_update"}"#, "data"),
            (r#"{"type":"set_emotion"}"#, "emotion"),
            (r#"{"type":"set_emotion","emotion":"happy","intensity":"very"}"#, "intensity"),
            (r#"{"type":"batch_update","updates":{}}"#, "updates"),
            (r#"{"type":"offer"}"#, "sdp"),
            (r#"{"type":"subscribe","max_fps":0}"#, "max_fps"),
            (r#"{"type":5}"#, "type"),
        ] {
            let error = refused(text);
            assert_eq!(error.code(), "bad_field", "{text}: {error}");
            assert!(error.to_string().contains(&format!("`{field}`")), "{text}: {error}");
        }
        for text in ["", "[]", "7", "\"hi\"", "{", r#"{"blendshapes":{"jawOpen":NaN}}"#] {
            assert_eq!(refused(text).code(), "bad_json", "{text}");
        }
        assert!(refused(r#"{"blendshapes":{"jawOpen":1e999}}"#).to_string().contains("out of range"));
        let bomb = format!(r#"{{"x":{}"#, "[".repeat(1000));
        assert_eq!(refused(&bomb), JsonError::TooDeep);
        let large = format!(r#"{{"type":"arkit_data","blendshapes":{{}},"pad":"{}"}}"#, "x".repeat(MAX_MESSAGE));
        assert_eq!(refused(&large).code(), "too_large");
    }

    #[test]
    fn unknown_types_and_fields_are_counted() {
        let mut decoder = Decoder::default();
        assert!(
            matches!(decoder.decode(r#"{"type":"dance","data":5}"#), Ok(Message::Unknown(kind)) if kind == "dance")
        );
        assert!(matches!(decoder.decode(r#"{"type":"get_stats","why":[1,{"a":2}]}"#), Ok(Message::GetStats)));
        assert_eq!(decoder.ignored(), 2);
    }

    #[test]
    fn one_connection_has_a_bounded_number_of_names() {
        let mut decoder = Decoder::default();
        for i in 0..MAX_NAMES {
            assert!(decoder.decode(&format!(r#"{{"blendshapes":{{"name{i}":1}}}}"#)).is_ok());
        }
        assert!(decoder.decode(r#"{"blendshapes":{"one too many":1}}"#).is_err());
        assert!(decoder.decode(r#"{"blendshapes":{"name3":1}}"#).is_ok());
    }

    #[test]
    fn what_we_write_we_read() {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, 0.123_456);
        frame.sequence = Some(9);
        frame.tracked = false;
        let mut text = String::new();
        write_arkit_data(&mut text, &frame, Some("A \"b\""), Some(1_700_000_000_123.5));
        let read = face(&text);
        assert_eq!(read.subject.as_deref(), Some("A \"b\""));
        assert_eq!(read.frame.get(Blendshape::JawOpen), Some(0.1235));
        assert!(read.frame.is_complete() && !read.frame.tracked);
        assert_eq!(read.unix_ms, Some(1_700_000_000_123.5));
    }

    #[test]
    fn what_the_old_senders_write() {
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::JawOpen, 0.5);
        let written = |frame: Option<&FaceFrame>, viseme| {
            let mut text = String::new();
            write_untyped(&mut text, frame, viseme, None, None);
            text
        };
        assert_eq!(written(Some(&frame), None), r#"{"blendshapes":{"jawOpen":0.5}}"#);
        assert_eq!(written(None, Some((Viseme::Pp, 0.75))), r#"{"viseme":"PP","weight":0.75}"#);
        let both = written(Some(&frame), Some((Viseme::Aa, 1.0)));
        assert_eq!(both, r#"{"viseme":"aa","weight":1,"blendshapes":{"jawOpen":0.5}}"#);
        let mut named = String::new();
        write_untyped(&mut named, None, Some((Viseme::Oh, 0.25)), Some("Ann"), Some(5e11));
        let face = face(&named);
        assert_eq!((face.subject.as_deref(), face.unix_ms), (Some("Ann"), Some(5e11)));
        assert_eq!(face.viseme, Some(VisemeMessage { viseme: Viseme::Oh, weight: 0.25, duration: None }));
        assert!(!face.has_face);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(text) = std::str::from_utf8(&bytes) {
                let _ = Decoder::default().decode(text);
            }
        }

        #[test]
        fn never_panics_on_broken_messages(
            cut in 0_usize..400,
            at in 0_usize..400,
            byte in any::<u8>(),
        ) {
            let mut frame = FaceFrame::neutral();
            frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: None });
            let mut text = String::new();
            write_arkit_data(&mut text, &frame, Some("Ann"), Some(5.0));
            let mut bytes = text.into_bytes();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - cut % len);
            if let Ok(text) = std::str::from_utf8(&bytes)
                && let Ok(Message::Face(face)) = Decoder::default().decode(text)
            {
                prop_assert!(face.frame.weights.iter().all(|w| (-1.0..=2.0).contains(w)));
            }
        }
    }
}
