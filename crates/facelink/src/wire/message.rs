//! The JSON messages of the wire, version 1, one enum a direction: [`ClientMessage`] from a client to an endpoint and
//! [`ServerMessage`] back. Both sides use the same types; they are written here and read by [`json::Decoder`].
//!
//! Room peers send each other both, over direct connections: [`PeerMessage`].
//!
//! [`json::Decoder`]: super::json::Decoder

use std::{borrow::Cow, fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use serde_json::{Map, Value, value::RawValue};
use smallvec::SmallVec;

use super::{
    face_message::{FaceMessage, write},
    facelink1::delta::compact::MAX_ACKS,
    name_table::{MAX_NAMES, check_name},
    value::{Name, Number, Text, bounded_seq, milliseconds},
};

/// Most updates in one `batch_update`.
pub const MAX_BATCH: usize = 128;
/// Longest clock of a `ping` that is echoed, bytes.
pub const MAX_CLOCK: usize = 64;
/// Longest time that an emotion takes to come, milliseconds.
const MAX_FADE_MS: f64 = 60_000.0;
/// Longest time that an emotion stays, milliseconds.
const MAX_EMOTION_MS: f64 = 3_600_000.0;

/// A message from a client to an endpoint.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "faces are nearly all messages, and a box would cost an allocation each")]
pub enum ClientMessage<'a> {
    /// The first message: the client's identity, and what it sends.
    Hello(Hello<'a>),
    /// Messages with faces, oldest first, each to be decoded on its own.
    BatchUpdate(Batch<'a>),
    /// The channel order of the `float32` frames that follow.
    Schema(Schema<'a>),
    /// The expression or speech of a subject over its face.
    SetEmotion(SetEmotion<'a>),
    /// A session description to be answered.
    Offer(Description<'a>),
    /// The answer to an offer.
    Answer(Description<'a>),
    /// An ICE candidate, or the end of them.
    IceCandidate(Trickle<'a>),
    /// The client would rather answer than offer.
    RequestOffer,
    /// Into a room, in which others are met.
    Join(Join<'a>),
    /// Out of the room again.
    Leave,
    /// Asks for a [`Pong`].
    Ping(Ping<'a>),
    /// Answers a [`Ping`].
    Pong(Pong<'a>),
    /// Asks for [`ServerMessage::Stats`].
    GetStats,
    /// Asks for frames.
    Subscribe(Subscribe<'a>),
    /// What the frames that it subscribed to went through, by which their number follows its path.
    Report(ViewerReport),
    /// What it has read of compact bundles.
    Ack(Ack),
    /// Ends a subscription.
    Unsubscribe(Unsubscribe<'a>),
    /// `arkit_data`, `blendshape_update`, `viseme_data`, or an object without a type that holds such fields.
    #[serde(untagged)]
    Face(FaceMessage<'a>),
}

/// A message from an endpoint to a client.
#[derive(Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "faces are nearly all messages, and a box would cost an allocation each")]
pub enum ServerMessage<'a> {
    /// Answers `hello`.
    Welcome(Welcome),
    /// Messages with faces, oldest first, each to be decoded on its own.
    BatchUpdate(Batch<'a>),
    /// A session description to be answered.
    Offer(Description<'a>),
    /// The answer to an offer.
    Answer(Description<'a>),
    /// An ICE candidate, or the end of them.
    IceCandidate(Trickle<'a>),
    /// Asks for a [`Pong`].
    Ping(Ping<'a>),
    /// Answers a [`Ping`].
    Pong(Pong<'a>),
    /// Answers `get_stats`: the fields of the connection's stats.
    Stats(Map<String, Value>),
    /// The rate to send at from now on.
    SetRate(SetRate),
    /// The rate and redundancy to send at from now on, and statistics of the link.
    Report(Report<'a>),
    /// Who is in the room already; answers `join`.
    Peers(Peers<'a>),
    /// A peer has joined the room.
    PeerJoined(Peer<'a>),
    /// A peer has left the room.
    PeerLeft(Peer<'a>),
    /// A subject has gone.
    SubjectLost(SubjectLost<'a>),
    /// A message was refused.
    Error(ErrorMessage<'a>),
    /// A face: `blendshape_update`.
    #[serde(untagged)]
    Face(FaceMessage<'a>),
}

/// A message between room peers. Those of both directions are [`Client`](Self::Client)'s.
#[derive(Debug, PartialEq)]
pub enum PeerMessage<'a> {
    /// One that a client would send.
    Client(ClientMessage<'a>),
    /// One that an endpoint would send.
    Server(ServerMessage<'a>),
}

macro_rules! written {
    ($($message:ident),*) => {$(
        impl $message<'_> {
            /// The message as JSON.
            pub fn to_json(&self) -> String {
                let mut out = String::new();
                self.write(&mut out);
                out
            }

            /// Writes the message as JSON into `out`, which is cleared first.
            pub fn write(&self, out: &mut String) {
                write(out, self);
            }
        }
    )*};
}
written!(ClientMessage, ServerMessage);

impl<'a> ServerMessage<'a> {
    /// An `error`.
    pub fn error(code: &'a str, message: &'a str) -> Self {
        Self::Error(ErrorMessage { code: code.into(), message: message.into() })
    }
}

/// `hello`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello<'a> {
    /// Name of the face that this connection sends.
    #[serde(borrow, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// Pairing token.
    #[serde(borrow, deserialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub token: Option<Cow<'a, str>>,
    /// Format of the binary frames that it sends: `float32` without one, or `facelink1`.
    #[serde(borrow, deserialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub binary: Option<Cow<'a, str>>,
    /// The client's name.
    #[serde(borrow, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub client: Option<Cow<'a, str>>,
    /// What names the session that this client had before its WebSocket was lost.
    #[serde(borrow, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub resume: Option<Cow<'a, str>>,
    /// Whether it takes [`Report`]s.
    #[serde(skip_serializing_if = "is_false")]
    pub reports: bool,
    /// Whether it means to send deltas.
    #[serde(skip_serializing_if = "is_false")]
    pub delta: bool,
}

/// `welcome`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Welcome {
    /// This connection's id.
    pub connection_id: String,
    /// Version of the endpoint's program.
    pub version: String,
    /// Version of this protocol: 1.
    pub protocol: u32,
    /// ICE servers to use, in the form of `RTCConfiguration.iceServers`.
    pub ice_servers: Vec<IceServer>,
    /// The name under which this connection's face is known.
    pub subject: Option<String>,
    /// Format of the binary frames that the endpoint reads on this connection.
    pub binary: Option<String>,
    /// Whether the endpoint reads deltas.
    pub delta: bool,
    /// Whether it takes the [`ViewerReport`]s of those that subscribe.
    #[serde(skip_serializing_if = "is_false")]
    pub reports: bool,
    /// Whether this is the connection that `hello` asked to resume.
    pub resumed: bool,
    /// The secret that resumes this session, where the endpoint gives one: [`Hello::resume`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume_token: Option<String>,
}

/// One STUN or TURN server, in the form of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Addresses such as `stun:host:port` or `turn:host:port?transport=udp`; read from one string or several.
    #[serde(deserialize_with = "one_or_several")]
    pub urls: Vec<String>,
    /// TURN user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// `batch_update`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Batch<'a> {
    /// The messages, at most [`MAX_BATCH`].
    #[serde(borrow, deserialize_with = "updates", serialize_with = "write_updates")]
    pub updates: SmallVec<[&'a RawValue; 16]>,
    /// When they were sent, as it was written; each update has a time of its own.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<&'a RawValue>,
}

impl PartialEq for Batch<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.updates.iter().map(|update| update.get()).eq(other.updates.iter().map(|update| update.get()))
    }
}

/// `schema`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Schema<'a> {
    /// Names of the channels, in the order of the floats.
    #[serde(borrow, deserialize_with = "names")]
    pub names: Vec<Cow<'a, str>>,
}

/// `set_emotion`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetEmotion<'a> {
    /// The subject; the connection's own without one.
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// Which emotion.
    #[serde(borrow, deserialize_with = "name")]
    pub emotion: Cow<'a, str>,
    /// How strongly, `0..=1`; 1 without one.
    #[serde(default = "full", deserialize_with = "share")]
    pub intensity: f32,
    /// How long it takes to come, up to a minute; the engine's own time without one.
    #[serde(
        rename = "fade_ms",
        default,
        deserialize_with = "fade",
        serialize_with = "write_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub fade: Option<Duration>,
    /// How long it stays, up to an hour; without one, until the next.
    #[serde(
        rename = "duration_ms",
        default,
        deserialize_with = "stay",
        serialize_with = "write_ms",
        skip_serializing_if = "Option::is_none"
    )]
    pub duration: Option<Duration>,
}

/// `offer` or `answer`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Description<'a> {
    /// The session description.
    #[serde(borrow, deserialize_with = "text")]
    pub sdp: Cow<'a, str>,
    /// Connection id of the room peer that it is for; the endpoint itself without one.
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub to: Option<Cow<'a, str>>,
    /// Connection id of the room peer that it is of; the endpoint itself without one.
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'a, str>>,
}

impl<'a> Description<'a> {
    /// Between a client and its endpoint.
    pub fn new(sdp: impl Into<Cow<'a, str>>) -> Self {
        Self { sdp: sdp.into(), to: None, from: None }
    }

    /// Connection id of the room peer on the far side, if it is one.
    pub fn peer(&self) -> Option<&str> {
        self.to.as_deref().or(self.from.as_deref())
    }
}

/// `ice_candidate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trickle<'a> {
    /// The candidate; `None` at the end.
    #[serde(deserialize_with = "Option::deserialize")]
    pub candidate: Option<IceCandidate>,
    /// Connection id of the room peer that it is for, as in [`Description::to`].
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub to: Option<Cow<'a, str>>,
    /// Connection id of the room peer that it is of, as in [`Description::from`].
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub from: Option<Cow<'a, str>>,
}

impl Trickle<'_> {
    /// Connection id of the room peer on the far side, if it is one.
    pub fn peer(&self) -> Option<&str> {
        self.to.as_deref().or(self.from.as_deref())
    }
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

impl IceCandidate {
    /// Whether it is for ICE over TCP (RFC 6544).
    pub fn is_tcp(&self) -> bool {
        self.candidate.split_ascii_whitespace().nth(2).is_some_and(|protocol| protocol.eq_ignore_ascii_case("tcp"))
    }
}

/// `join`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Join<'a> {
    /// Name of the room.
    #[serde(borrow, deserialize_with = "name")]
    pub room: Cow<'a, str>,
}

/// `peers`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peers<'a> {
    /// Name of the room.
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub room: Option<Cow<'a, str>>,
    /// Connection ids of the peers that joined before.
    #[serde(borrow, deserialize_with = "names")]
    pub peers: Vec<Cow<'a, str>>,
}

/// `peer_joined` or `peer_left`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Peer<'a> {
    /// Its connection id.
    #[serde(borrow, deserialize_with = "name")]
    pub peer: Cow<'a, str>,
}

/// The clock of a `ping`'s sender, a JSON value that is echoed as it was written.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Clock<'a>(Cow<'a, RawValue>);

impl Clock<'_> {
    /// A clock in milliseconds; `None` where it is no number.
    pub fn new(ms: f64) -> Option<Self> {
        serde_json::value::to_raw_value(&ms).ok().filter(|_| ms.is_finite()).map(|raw| Self(Cow::Owned(raw)))
    }

    /// The value as written, as JSON.
    pub fn as_json(&self) -> &str {
        self.0.get()
    }

    /// Milliseconds, where a number was written.
    pub fn ms(&self) -> Option<f64> {
        serde_json::from_str(self.0.get()).ok()
    }
}

impl PartialEq for Clock<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Clock<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Cow::Borrowed(raw)))
    }
}

/// `ping`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ping<'a> {
    /// The sender's clock.
    #[serde(borrow, default)]
    pub t: Option<Clock<'a>>,
}

impl Ping<'_> {
    /// With the sender's clock in milliseconds.
    pub fn new(t_ms: f64) -> Self {
        Self { t: Clock::new(t_ms) }
    }
}

/// `pong`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pong<'a> {
    /// The clock of the `ping`, echoed.
    #[serde(borrow, default)]
    pub t: Option<Clock<'a>>,
    /// Wall clock of the endpoint, Unix milliseconds; a client that answers fills in its own.
    #[serde(default, deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub server_time: Option<f64>,
    /// Wall clock of the client, Unix milliseconds; ours send it.
    #[serde(default, deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub client_time: Option<f64>,
}

impl<'a> Pong<'a> {
    /// The endpoint's answer. A clock longer than [`MAX_CLOCK`] is not echoed.
    pub fn from_server(ping: Ping<'a>, unix_ms: f64) -> Self {
        let t = ping.t.filter(|t| t.as_json().len() <= MAX_CLOCK);
        Self { t, server_time: Some(unix_ms), client_time: None }
    }

    /// The client's answer, as [`from_server`](Self::from_server).
    pub fn from_client(ping: Ping<'a>, unix_ms: f64) -> Self {
        Self { client_time: Some(unix_ms), ..Self::from_server(ping, unix_ms) }
    }
}

/// `subscribe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscribe<'a> {
    /// The subject whose frames are meant; all without one.
    #[serde(borrow, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// Highest rate wanted, frames a second, above 0.
    #[serde(deserialize_with = "positive", skip_serializing_if = "Option::is_none")]
    pub max_fps: Option<f32>,
    /// Format of the frames: JSON without one, or `facelink1`.
    #[serde(borrow, deserialize_with = "optional_text", skip_serializing_if = "Option::is_none")]
    pub binary: Option<Cow<'a, str>>,
    /// Whether the connection receives its own faces; it does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own: Option<bool>,
    /// The faces of which room are wanted; of every one without it.
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    pub room: Option<Room<'a>>,
    /// Which faces go first where not all of them fit, -10 to 10; see [`Subscription::priority`](crate::relay::Subscription).
    #[serde(deserialize_with = "priority", skip_serializing_if = "Option::is_none")]
    pub priority: Option<f32>,
    /// Whether it reads [compact bundles](crate::wire::facelink1::delta::compact), and acknowledges them; with `facelink1`.
    #[serde(skip_serializing_if = "is_false")]
    pub delta: bool,
}

/// The room of a [`Subscribe`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Room<'a> {
    /// The one that the connection is in; `false` is the same as none.
    Own(bool),
    /// The one of this name.
    Named(Cow<'a, str>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Room<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RoomVisitor;
        impl<'de> Visitor<'de> for RoomVisitor {
            type Value = Room<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or the name of a room")
            }

            fn visit_bool<E>(self, own: bool) -> Result<Self::Value, E> {
                Ok(Room::Own(own))
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                check_name(name).map(|()| Room::Named(name.into())).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                check_name(name).map(|()| Room::Named(name.to_owned().into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(RoomVisitor)
    }
}

/// `unsubscribe`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsubscribe<'a> {
    /// The subject whose subscription ends; all without one.
    #[serde(borrow, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
}

/// `set_rate`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SetRate {
    /// Frames a second.
    #[serde(deserialize_with = "number")]
    pub fps: f32,
}

/// `report`: the rate and redundancy from now on, with statistics of the link for people to read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// The face that it is about, where that is not the connection's own.
    #[serde(borrow, default, deserialize_with = "optional_name", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Cow<'a, str>>,
    /// Frames a second.
    #[serde(deserialize_with = "number")]
    pub fps: f32,
    /// How many earlier frames each packet should repeat.
    #[serde(default, deserialize_with = "repeats")]
    pub redundancy: u8,
    /// Number of the newest frame that arrived (its low 32 bits).
    #[serde(default, deserialize_with = "ack")]
    pub ack: Option<u32>,
    /// Delay of the standing queue on the path, milliseconds.
    #[serde(default, deserialize_with = "optional_number")]
    pub queue_ms: Option<f64>,
    /// The highest delay of late, above the path's shortest, milliseconds.
    #[serde(default, deserialize_with = "optional_number")]
    pub queue_high_ms: Option<f64>,
    /// How fast the delay grows, milliseconds a second.
    #[serde(default, deserialize_with = "optional_number")]
    pub slope: Option<f64>,
    /// Share of frames that were lost, `0..=1`.
    #[serde(default, deserialize_with = "optional_number")]
    pub loss: Option<f64>,
    /// Share of frames that came after the playout deadline, `0..=1`.
    #[serde(default, deserialize_with = "optional_number")]
    pub late: Option<f64>,
}

/// `report` of a viewer, two to ten times a second: what the frames that it subscribed to went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ViewerReport {
    /// Delay of the standing queue on the path, milliseconds: the smallest of the last quarter of a second, compared with the
    /// smallest of all.
    #[serde(deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub queue_ms: Option<f64>,
    /// The highest delay of late, milliseconds.
    #[serde(deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub queue_high_ms: Option<f64>,
    /// How fast the delay grows, milliseconds a second.
    #[serde(deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub slope: Option<f64>,
    /// Share of frames that were lost, `0..=1`.
    #[serde(deserialize_with = "optional_number", skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
}

/// `ack` of a viewer: packets of compact bundles in which it could read every face.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// Their numbers, at most [`MAX_ACKS`].
    #[serde(deserialize_with = "packets")]
    pub packets: Vec<u16>,
}

/// `subject_lost`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SubjectLost<'a> {
    /// Its name.
    #[serde(borrow, deserialize_with = "name")]
    pub subject: Cow<'a, str>,
}

/// `error`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorMessage<'a> {
    /// Short machine-readable code.
    #[serde(borrow, deserialize_with = "text")]
    pub code: Cow<'a, str>,
    /// The field and the reason.
    #[serde(borrow, deserialize_with = "text")]
    pub message: Cow<'a, str>,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

const fn full() -> f32 {
    1.0
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    Text::deserialize(deserializer).map(|Text(text)| text)
}

fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Option::<Text>::deserialize(deserializer).map(|text| text.map(|Text(text)| text))
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    Name::deserialize(deserializer).map(|Name(name)| name)
}

fn optional_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    Option::<Name>::deserialize(deserializer).map(|name| name.map(|Name(name)| name))
}

fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Cow<'de, str>>, D::Error> {
    let names: SmallVec<[Name<'de>; 64]> = bounded_seq(deserializer, MAX_NAMES, "an array of names")?;
    Ok(names.into_iter().map(|Name(name)| name).collect())
}

fn updates<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<SmallVec<[&'a RawValue; 16]>, D::Error> {
    bounded_seq(deserializer, MAX_BATCH, "an array of messages")
}

fn write_updates<S: Serializer>(updates: &SmallVec<[&RawValue; 16]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(updates)
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let Number(number) = Number::deserialize(deserializer)?;
    let number = number as f32;
    if number.is_finite() { Ok(number) } else { Err(serde::de::Error::custom("is out of range")) }
}

fn optional_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::<Number>::deserialize(deserializer).map(|number| number.map(|Number(number)| number))
}

fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    optional_number(deserializer).map(|share| share.map_or(1.0, |share| (share as f32).clamp(0.0, 1.0)))
}

fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    match optional_number(deserializer)?.map(|number| number as f32) {
        Some(number) if number <= 0.0 || !number.is_finite() => Err(serde::de::Error::custom("must be above 0")),
        number => Ok(number),
    }
}

fn packets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let packets: SmallVec<[u16; MAX_ACKS]> =
        bounded_seq(deserializer, MAX_ACKS, "an array of at most 32 packet numbers")?;
    Ok(packets.into_vec())
}

fn priority<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    match optional_number(deserializer)? {
        Some(number) if !(-10.0..=10.0).contains(&number) => {
            Err(serde::de::Error::custom("must be a number from -10 to 10"))
        }
        number => Ok(number.map(|number| number as f32)),
    }
}

fn repeats<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    Number::deserialize(deserializer).map(|Number(frames)| frames.clamp(0.0, 255.0) as u8)
}

fn ack<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    optional_number(deserializer).map(|ack| ack.map(|ack| ack.clamp(0.0, f64::from(u32::MAX)) as u32))
}

fn fade<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    optional_number(deserializer).map(|ms| ms.map(|ms| milliseconds(ms, MAX_FADE_MS)))
}

fn stay<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    optional_number(deserializer).map(|ms| ms.map(|ms| milliseconds(ms, MAX_EMOTION_MS)))
}

fn write_ms<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64() * 1000.0).serialize(serializer)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Channel, FaceFrame, HeadPose},
        names::Blendshape,
        wire::{
            face_message::{FaceKind, PACKET_SIZE, UpdateWriter, VisemeMessage},
            json::Decoder,
            viseme::Viseme,
        },
    };

    fn candidate() -> IceCandidate {
        IceCandidate { candidate: "candidate:1".to_owned(), sdp_mid: Some("0".to_owned()), sdp_mline_index: Some(0) }
    }

    fn face(kind: FaceKind) -> FaceMessage<'static> {
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::JawOpen, 0.5);
        frame.set(Blendshape::MouthClose, 1.0);
        frame.channels.push(Channel { name: "tail \"x\"".into(), value: -0.25 });
        frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: Some([0.0, 0.125, -0.5]) });
        frame.sequence = Some(9);
        frame.tracked = false;
        FaceMessage {
            kind,
            subject: Some("Ann".into()),
            frame,
            has_face: true,
            unix_ms: Some(1_700_000_000_123.5),
            viseme: None,
        }
    }

    #[test]
    fn message_client_bytes_match_and_round_trip() {
        use ClientMessage as C;
        let (ann, sdp) = (Some("Ann".into()), "v=0\r\n");
        let updates = [r#"{"viseme":"aa"}"#, r#"{"viseme":"PP"}"#].map(|text| serde_json::from_str(text).unwrap());
        let viseme = VisemeMessage { viseme: Viseme::Aa, weight: 0.25, duration: Some(Duration::from_millis(120)) };
        let spoken = FaceMessage { viseme: Some(viseme), ..FaceMessage::default() };
        for (message, text) in [
            (C::Hello(Hello::default()), r#"{"type":"hello"}"#),
            (
                C::Hello(Hello {
                    subject: ann.clone(),
                    token: Some("t\"t".into()),
                    binary: Some("facelink1".into()),
                    client: Some("c".into()),
                    resume: Some("r".into()),
                    reports: true,
                    delta: true,
                }),
                r#"{"type":"hello","subject":"Ann","token":"t\"t","binary":"facelink1","client":"c","resume":"r","reports":true,"delta":true}"#,
            ),
            (
                C::BatchUpdate(Batch { updates: updates.into_iter().collect(), timestamp: None }),
                r#"{"type":"batch_update","updates":[{"viseme":"aa"},{"viseme":"PP"}]}"#,
            ),
            (
                C::Schema(Schema { names: vec!["jawOpen".into(), "tail".into()] }),
                r#"{"type":"schema","names":["jawOpen","tail"]}"#,
            ),
            (
                C::SetEmotion(SetEmotion {
                    subject: ann.clone(),
                    emotion: "happy".into(),
                    intensity: 0.5,
                    fade: Some(Duration::from_millis(250)),
                    duration: None,
                }),
                r#"{"type":"set_emotion","subject":"Ann","emotion":"happy","intensity":0.5,"fade_ms":250.0}"#,
            ),
            (C::Offer(Description::new(sdp)), r#"{"type":"offer","sdp":"v=0\r\n"}"#),
            (
                C::Answer(Description { to: Some("b".into()), ..Description::new(sdp) }),
                r#"{"type":"answer","sdp":"v=0\r\n","to":"b"}"#,
            ),
            (
                C::IceCandidate(Trickle { candidate: Some(candidate()), ..Trickle::default() }),
                r#"{"type":"ice_candidate","candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0}}"#,
            ),
            (C::IceCandidate(Trickle::default()), r#"{"type":"ice_candidate","candidate":null}"#),
            (C::RequestOffer, r#"{"type":"request_offer"}"#),
            (C::Join(Join { room: "stage".into() }), r#"{"type":"join","room":"stage"}"#),
            (C::Leave, r#"{"type":"leave"}"#),
            (C::Ping(Ping::new(1_700_000_000_123.5)), r#"{"type":"ping","t":1700000000123.5}"#),
            (C::Ping(Ping::default()), r#"{"type":"ping","t":null}"#),
            (
                C::Pong(Pong::from_client(Ping::new(1.5), 1_700_000_000_000.5)),
                r#"{"type":"pong","t":1.5,"server_time":1700000000000.5,"client_time":1700000000000.5}"#,
            ),
            (C::GetStats, r#"{"type":"get_stats"}"#),
            (C::Subscribe(Subscribe::default()), r#"{"type":"subscribe"}"#),
            (
                C::Subscribe(Subscribe {
                    subject: ann.clone(),
                    max_fps: Some(59.94),
                    binary: Some("facelink1".into()),
                    own: Some(false),
                    room: Some(Room::Named("stage".into())),
                    priority: Some(2.5),
                    delta: true,
                }),
                r#"{"type":"subscribe","subject":"Ann","max_fps":59.94,"binary":"facelink1","own":false,"room":"stage","priority":2.5,"delta":true}"#,
            ),
            (
                C::Subscribe(Subscribe { room: Some(Room::Own(true)), ..Subscribe::default() }),
                r#"{"type":"subscribe","room":true}"#,
            ),
            (C::Ack(Ack { packets: vec![0, 65_535] }), r#"{"type":"ack","packets":[0,65535]}"#),
            (
                C::Report(ViewerReport { queue_ms: Some(12.5), loss: Some(0.01), ..ViewerReport::default() }),
                r#"{"type":"report","queue_ms":12.5,"loss":0.01}"#,
            ),
            (C::Unsubscribe(Unsubscribe { subject: ann }), r#"{"type":"unsubscribe","subject":"Ann"}"#),
            (
                C::Face(face(FaceKind::ArkitData)),
                r#"{"type":"arkit_data","blendshapes":{"jawOpen":0.5,"mouthClose":1,"tail \"x\"":-0.25},"head":{"rotation":[0,0,0,1],"position":[0,0.125,-0.5]},"tracked":false,"frame":9,"subject":"Ann","timestamp":1700000000123.5}"#,
            ),
            (
                C::Face(face(FaceKind::BlendshapeUpdate)),
                r#"{"type":"blendshape_update","data":{"jawOpen":0.5,"mouthClose":1,"tail \"x\"":-0.25},"head":{"rotation":[0,0,0,1],"position":[0,0.125,-0.5]},"tracked":false,"frame":9,"subject":"Ann","timestamp":1700000000123.5}"#,
            ),
            (
                C::Face(FaceMessage { kind: FaceKind::VisemeData, ..spoken.clone() }),
                r#"{"type":"viseme_data","viseme":"aa","weight":0.25,"duration_ms":120}"#,
            ),
            (
                C::Face(FaceMessage { kind: FaceKind::Untyped, ..spoken }),
                r#"{"viseme":"aa","weight":0.25,"duration_ms":120}"#,
            ),
        ] {
            assert_eq!(message.to_json(), text);
            let mut decoder = Decoder::default();
            assert_eq!(decoder.client(text), Ok(Some(message)), "{text}");
            assert_eq!(decoder.ignored(), 0, "{text}");
        }
    }

    #[test]
    fn message_subscribe_errors_name_the_field() {
        for (field, value) in
            [("room", "7"), ("room", "\"\""), ("priority", "11"), ("priority", "\"near\""), ("max_fps", "0")]
        {
            let text = format!(r#"{{"type":"subscribe","{field}":{value}}}"#);
            let error = Decoder::default().client(&text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
        // Between room peers, a report is a receiver's.
        let report = Decoder::default().peer(r#"{"type":"report","fps":30}"#).unwrap();
        assert!(matches!(report, Some(PeerMessage::Server(ServerMessage::Report(_)))), "{report:?}");
    }

    #[test]
    fn message_server_bytes_match_and_round_trip() {
        use ServerMessage as S;
        let (ann, sdp) = (Some("Ann".into()), "v=0\r\n");
        let stats = serde_json::from_str(r#"{"connection_id":"a","message_count":5}"#).unwrap();
        let server = IceServer { urls: vec!["stun:s:1".to_owned()], ..IceServer::default() };
        for (message, text) in [
            (
                S::Welcome(Welcome {
                    connection_id: "a".to_owned(),
                    version: "0.1.0".to_owned(),
                    protocol: 1,
                    ice_servers: vec![server],
                    binary: Some("float32".to_owned()),
                    ..Welcome::default()
                }),
                r#"{"type":"welcome","connection_id":"a","version":"0.1.0","protocol":1,"ice_servers":[{"urls":["stun:s:1"]}],"subject":null,"binary":"float32","delta":false,"resumed":false}"#,
            ),
            (S::Offer(Description::new(sdp)), r#"{"type":"offer","sdp":"v=0\r\n"}"#),
            (
                S::Answer(Description { from: Some("b".into()), ..Description::new(sdp) }),
                r#"{"type":"answer","sdp":"v=0\r\n","from":"b"}"#,
            ),
            (
                S::IceCandidate(Trickle { candidate: Some(candidate()), from: Some("b".into()), to: None }),
                r#"{"type":"ice_candidate","candidate":{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0},"from":"b"}"#,
            ),
            (S::Ping(Ping::new(5.0)), r#"{"type":"ping","t":5.0}"#),
            (S::Pong(Pong::from_server(Ping::new(5.0), 7.5)), r#"{"type":"pong","t":5.0,"server_time":7.5}"#),
            (S::Stats(stats), r#"{"type":"stats","connection_id":"a","message_count":5}"#),
            (S::SetRate(SetRate { fps: 29.97 }), r#"{"type":"set_rate","fps":29.97}"#),
            (
                S::Report(Report {
                    subject: ann.clone(),
                    fps: 60.0,
                    redundancy: 1,
                    ack: Some(77),
                    queue_ms: Some(1.5),
                    queue_high_ms: Some(2.0),
                    slope: Some(-0.5),
                    loss: None,
                    late: Some(0.0),
                }),
                r#"{"type":"report","subject":"Ann","fps":60.0,"redundancy":1,"ack":77,"queue_ms":1.5,"queue_high_ms":2.0,"slope":-0.5,"loss":null,"late":0.0}"#,
            ),
            (
                S::Peers(Peers { room: Some("stage".into()), peers: vec!["a".into(), "b".into()] }),
                r#"{"type":"peers","room":"stage","peers":["a","b"]}"#,
            ),
            (S::PeerJoined(Peer { peer: "b".into() }), r#"{"type":"peer_joined","peer":"b"}"#),
            (S::PeerLeft(Peer { peer: "b".into() }), r#"{"type":"peer_left","peer":"b"}"#),
            (S::SubjectLost(SubjectLost { subject: "Ann".into() }), r#"{"type":"subject_lost","subject":"Ann"}"#),
            (
                S::error("bad_field", "field `x`: no"),
                r#"{"type":"error","code":"bad_field","message":"field `x`: no"}"#,
            ),
        ] {
            assert_eq!(message.to_json(), text);
            let mut decoder = Decoder::default();
            assert_eq!(decoder.server(text), Ok(Some(message)), "{text}");
            assert_eq!(decoder.ignored(), 0, "{text}");
        }
    }

    #[test]
    fn message_blendshape_update_has_every_shape() {
        let mut text = String::new();
        let frame = face(FaceKind::BlendshapeUpdate).frame;
        let mut writer = UpdateWriter::default();
        writer.write(&mut text, "Ann", &frame, 1_700_000_000_123.5);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["data"].as_object().unwrap().len(), 53);
        assert_eq!((value.get("arkit"), &value["timestamp"]), (None, &1_700_000_000_124_i64.into()));
        assert_eq!(value["data"]["jawOpen"], 0.5);
        assert_eq!((&value["frame"], &value["tracked"]), (&9.into(), &false.into()));
        let Ok(Some(ServerMessage::Face(read))) = Decoder::default().server(&text) else { panic!("{text}") };
        assert_eq!(read.frame.channels, frame.channels);
        assert_eq!(read.frame.head, frame.head);
        assert!(read.frame.is_complete());
        let room = text.capacity();
        let written = allocation_counter::measure(|| writer.write(&mut text, "Ann", &frame, 1.5));
        assert_eq!((written.count_total, text.capacity()), (0, room));
    }

    #[test]
    fn message_blendshape_update_fits_one_packet() {
        let update = |writer: &mut UpdateWriter, frame: &FaceFrame| {
            let mut text = String::new();
            writer.write(&mut text, "A name of usual length", frame, 1_700_000_000_123.5);
            let value: Value = serde_json::from_str(&text).unwrap();
            (text.len(), value["data"].as_object().unwrap().clone())
        };
        // Of a usual face some shapes are at rest.
        for moving in [0, 3, 20, 30, 40, 44] {
            let mut writer = UpdateWriter::default();
            let mut frame = face(FaceKind::BlendshapeUpdate).frame;
            (frame.sequence, frame.channels) = (Some(123_456), Default::default());
            for (i, shape) in Blendshape::ALL.into_iter().enumerate() {
                frame.set(shape, if i < moving { 0.123_456 + i as f32 / 100.0 } else { 0.0 });
            }
            let mut seen = [0; 52];
            for i in 0..64 {
                let (length, data) = update(&mut writer, &frame);
                assert!(data.len() == 52 || i >= 6, "a shape at rest is written for a while: {i}, {}", data.len());
                assert!(length <= PACKET_SIZE || i < 6, "{moving} shapes: {length} bytes");
                for (name, value) in &data {
                    let index = Blendshape::from_name(name).unwrap().index();
                    assert!((value.as_f64().unwrap() - f64::from(frame.weights[index])).abs() < 0.005_1);
                    seen[index] += 1;
                }
            }
            let (moved, rested) = seen.split_at(moving);
            assert!(moved.iter().all(|count| *count == 64) && rested.iter().all(|count| *count >= 9), "{seen:?}");
            // What comes to rest is written as 0, so that no receiver keeps what it was before.
            frame.set(Blendshape::ALL[0], 0.0);
            for _ in 0..6 {
                assert_eq!(update(&mut writer, &frame).1[Blendshape::ALL[0].name()], 0);
            }
        }
    }

    #[test]
    fn message_performance_fits_one_packet() {
        let (mut writer, mut text) = (UpdateWriter::default(), String::new());
        let performance = crate::performer::Performance::new(1);
        let mut larger = 0;
        for i in 0..3600 {
            let mut frame = performance.frame_at(Duration::from_micros(16_667 * i));
            frame.sequence = Some(i);
            writer.write(&mut text, "Ann", &frame, 1_700_000_000_123.5);
            larger += usize::from(text.len() > PACKET_SIZE);
        }
        assert!(larger < 72, "{larger} of 3600 exceed a packet");
    }

    #[test]
    fn message_clock_is_echoed_verbatim() {
        for (t, echoed) in [
            ("12345678901234567890.125", "12345678901234567890.125"),
            (r#""mine""#, r#""mine""#),
            ("null", "null"),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (&format!("\"{}\"", "x".repeat(MAX_CLOCK)), "null"),
        ] {
            let text = format!(r#"{{"t":{t},"type":"ping"}}"#);
            let Ok(Some(ClientMessage::Ping(ping))) = Decoder::default().client(&text) else { panic!("{text}") };
            let pong = ServerMessage::Pong(Pong::from_server(ping, 0.5)).to_json();
            assert_eq!(pong, format!(r#"{{"type":"pong","t":{echoed},"server_time":0.5}}"#));
        }
        assert_eq!(Ping::new(f64::NAN).t, None);
    }

    #[test]
    fn message_browser_fields_and_unidirectional_types() {
        let mut decoder = Decoder::default();
        // What browsers add, and a single URL.
        let trickle = r#"{"type":"ice_candidate","candidate":{"candidate":"c","sdpMid":null,"usernameFragment":"u"}}"#;
        assert!(matches!(decoder.client(trickle), Ok(Some(ClientMessage::IceCandidate(_)))));
        let welcome = r#"{"type":"welcome","ice_servers":[{"urls":"stun:s:1"}]}"#;
        let Ok(Some(ServerMessage::Welcome(welcome))) = decoder.server(welcome) else { panic!("{welcome}") };
        assert_eq!(welcome.ice_servers[0].urls, ["stun:s:1"]);
        assert_eq!(decoder.ignored(), 0);
        // Of the other direction.
        assert_eq!(decoder.client(r#"{"type":"welcome"}"#), Ok(None));
        assert_eq!(decoder.server(r#"{"type":"hello"}"#), Ok(None));
        assert_eq!(decoder.ignored(), 2);
        let peer = |text| Decoder::default().peer(text);
        assert!(matches!(peer(r#"{"type":"subscribe"}"#), Ok(Some(PeerMessage::Client(_)))));
        assert!(matches!(peer(r#"{"type":"set_rate","fps":30}"#), Ok(Some(PeerMessage::Server(_)))));
        assert_eq!(peer(r#"{"type":"dance"}"#), Ok(None));
    }
}
