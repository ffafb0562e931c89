//! What a link tells the engine: frames, lifecycle and figures.

use std::{
    fmt,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{frame::FaceFrame, names::BLENDSHAPE_COUNT, timing::Stamp, wire::viseme::Viseme};

/// How a source reaches us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceKind {
    /// Epic's Live Link Face app, ARKit mode, over UDP.
    LiveLinkFace,
    /// The old system's JSON datagrams.
    UdpJson,
    /// iFacialMocap, v1 or v2: text over UDP or TCP.
    #[serde(rename = "ifacialmocap")]
    IFacialMocap,
    /// iFacialMocap or Facemotion3d, v3: the binary `FMV3` over UDP or TCP.
    #[serde(rename = "ifacialmocap_v3")]
    IFacialMocapV3,
    /// Facemotion3d: text over UDP.
    Facemotion3d,
    /// Face Cap, OSC over UDP.
    FaceCap,
    /// VMC protocol, OSC over UDP: VSeeFace, VMagicMirror, Warudo, Waidayo and others.
    Vmc,
    /// VTube Studio on a phone, or MeowFace: JSON over UDP on request.
    #[serde(rename = "vtube_studio")]
    VTubeStudio,
    /// A WebSocket client.
    #[serde(rename = "websocket")]
    WebSocket,
    /// A WebRTC data channel.
    #[serde(rename = "webrtc")]
    WebRtc,
    /// This very game: a face that it sends to others.
    Game,
}

impl SourceKind {
    /// The name on the wire, such as `live_link_face`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "live_link_face",
            Self::UdpJson => "udp_json",
            Self::IFacialMocap => "ifacialmocap",
            Self::IFacialMocapV3 => "ifacialmocap_v3",
            Self::Facemotion3d => "facemotion3d",
            Self::FaceCap => "face_cap",
            Self::Vmc => "vmc",
            Self::VTubeStudio => "vtube_studio",
            Self::WebSocket => "websocket",
            Self::WebRtc => "webrtc",
            Self::Game => "game",
        }
    }
}

impl SourceKind {
    /// Every kind that sends datagrams, and has a [`SourceProfile`](crate::wire::profile::SourceProfile).
    pub const PHONES: [Self; 8] = [
        Self::LiveLinkFace,
        Self::IFacialMocap,
        Self::IFacialMocapV3,
        Self::Facemotion3d,
        Self::FaceCap,
        Self::Vmc,
        Self::VTubeStudio,
        Self::UdpJson,
    ];

    /// The name as its makers write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "Live Link Face",
            Self::IFacialMocap => "iFacialMocap",
            Self::IFacialMocapV3 => "iFacialMocap v3",
            Self::Facemotion3d => "Facemotion3d",
            Self::FaceCap => "Face Cap",
            Self::Vmc => "VMC protocol",
            Self::VTubeStudio => "VTube Studio",
            Self::UdpJson => "UDP JSON",
            Self::WebSocket => "WebSocket",
            Self::WebRtc => "WebRTC",
            Self::Game => "this game",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One subject for as long as it lives; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SubjectId(pub u64);

/// The newest state of a subject, merged by the rules of the wire: every weight counts, whether or not the last message
/// named it.
#[derive(Clone, Debug)]
pub struct SubjectFrame {
    /// Which subject.
    pub id: SubjectId,
    /// Its name.
    pub name: Arc<str>,
    /// What carried this frame.
    pub source: SourceKind,
    /// The face, with the viseme that holds on it.
    pub frame: FaceFrame,
    /// What it says, for an engine that would rather move the mouth there than set it.
    pub speech: Option<Speech>,
    /// When it arrived here.
    pub received: Instant,
    /// Its place in time; `None` for what is no frame of the source, such as a viseme alone.
    pub stamp: Option<Stamp>,
    /// A newer frame was there before: this one only fills a gap in the past.
    pub late: bool,
    /// It came again in a later packet, because its own was lost or slow.
    pub repeated: bool,
}

/// A viseme that holds, and the face below it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speech {
    /// Which mouth.
    pub viseme: Viseme,
    /// How strongly, `0..=1`.
    pub weight: f32,
    /// Weights of the face without it, by [`Blendshape::index`](crate::Blendshape::index).
    pub weights: [f32; BLENDSHAPE_COUNT],
}

/// An emotion that a subject is to show, over whatever its face does.
#[derive(Clone, Debug, PartialEq)]
pub struct Emotion {
    /// Its name: `happy`, `sad`, `angry`, `surprised`, `afraid`, `disgusted`, `contempt`, `neutral`, or one of the game's.
    pub name: Arc<str>,
    /// How strongly, `0..=1`.
    pub intensity: f32,
    /// How long it takes to come; the engine's own time without one.
    pub fade: Option<Duration>,
    /// How long it stays; without one, until the next.
    pub duration: Option<Duration>,
}

/// Why a subject left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LostReason {
    /// Its connection closed and did not come back.
    Disconnected,
    /// It sent nothing for [`EndpointConfig::subject_timeout`](super::EndpointConfig::subject_timeout).
    Silent,
    /// The endpoint was stopped.
    Stopped,
}

impl LostReason {
    /// The name on the wire, such as `disconnected`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
        }
    }
}

/// What happened on the link, beside frames.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinkEvent {
    /// A subject sent its first frame.
    SubjectAppeared {
        /// Which subject.
        id: SubjectId,
        /// Its name.
        name: Arc<str>,
        /// What carried its first frame.
        source: SourceKind,
        /// Where it came from.
        address: Option<SocketAddr>,
    },
    /// A subject is gone.
    SubjectLost {
        /// Which subject.
        id: SubjectId,
        /// Its name.
        name: Arc<str>,
        /// Why.
        reason: LostReason,
    },
    /// A subject is to show an emotion (`set_emotion`).
    Emotion {
        /// Which subject.
        id: SubjectId,
        /// Its name.
        name: Arc<str>,
        /// The emotion.
        emotion: Emotion,
    },
    /// A client connected, or a phone sent its first datagram.
    Connected {
        /// The connection's id, as in `welcome` and in the statistics.
        connection_id: Arc<str>,
        /// How.
        source: SourceKind,
        /// Where it came from.
        address: Option<SocketAddr>,
    },
    /// A connection ended.
    Disconnected {
        /// The connection's id.
        connection_id: Arc<str>,
        /// Why, in words for a log.
        reason: String,
    },
}

/// Figures of one subject. Times are averages over about the last second.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SubjectStats {
    /// Which subject.
    pub id: SubjectId,
    /// Its name.
    pub name: Arc<str>,
    /// What carries it.
    pub source: SourceKind,
    /// Connection that carries it.
    pub connection_id: Arc<str>,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// Whether the source sees a face, and frames arrive.
    pub tracked: bool,
    /// Frames a second that arrived.
    pub fps: f32,
    /// Frames a second that the sender was asked for.
    pub target_fps: f32,
    /// Capture (or send) to arrival, milliseconds, where it can be known.
    pub latency_ms: Option<f32>,
    /// Our clock at the arrival of a frame less the sender's clock when it was sent, milliseconds, where the sender stamps
    /// its frames with the time of day. Far from zero when the two clocks differ.
    pub clock_ms: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: f32,
    /// Share of frames lost, `0..=1`, where the source numbers its frames.
    pub loss: Option<f32>,
    /// Queue that stands on the way: how much longer the quickest frame of the last moments took than the quickest of the
    /// last half minute, milliseconds.
    pub queue_ms: f32,
    /// How much longer all but the slowest twentieth of frames took than the quickest, milliseconds: what a playout delay
    /// has to cover.
    pub delay_ms: f32,
    /// Drift of the source's clock against ours, parts per million.
    pub skew_ppm: f32,
    /// How many earlier frames its packets were asked to repeat.
    pub redundancy: u8,
    /// The face comes out of a webcam: its client has `webcam` or `mediapipe` in its name.
    pub webcam: bool,
    /// Frames received since the subject appeared.
    pub frames: u64,
    /// Age of the newest frame, milliseconds.
    pub age_ms: f32,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ConnectionState {
    /// No transport of it is open yet, or none any more.
    #[default]
    Connecting,
    /// It answers.
    Connected,
    /// Nothing was heard of it for two seconds.
    Stalled,
}

impl ConnectionState {
    /// The name on the wire, such as `connected`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Stalled => "stalled",
        }
    }
}

/// Figures of one connection, by the names of the migration guide. Times are averages over about the last second.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its id, as in `welcome`.
    pub connection_id: Arc<str>,
    /// Whether it answers.
    pub state: ConnectionState,
    /// What carries its frames now.
    pub transport: SourceKind,
    /// `in` for a client or a phone, `out` for an endpoint that we dialled, `peer` for a room mate.
    pub direction: &'static str,
    /// Capture (or send) to arrival, milliseconds, where it can be known.
    pub average_latency_ms: Option<f32>,
    /// Round trip, milliseconds.
    pub rtt_ms: Option<f32>,
    /// Messages and datagrams received.
    pub message_count: u64,
    /// `none`, `connecting`, `open` or `closed`.
    pub data_channel_state: &'static str,
    /// Bytes that waited in the data channel as of the last frame outwards.
    pub buffered_amount: u64,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: Option<f32>,
    /// Share of frames lost, `0..=1`, where they are numbered.
    pub loss: Option<f32>,
    /// Frames a second that arrive.
    pub fps: Option<f32>,
    /// Frames a second that it was asked for.
    pub target_fps: Option<f32>,
    /// The face that it sends.
    pub subject: Option<Arc<str>>,
    /// What it calls itself.
    pub client: Option<Arc<str>>,
    /// Where it comes from.
    pub address: Option<SocketAddr>,
    /// The way of its WebRTC packets, such as `udp host-prflx` or `udp relay-host`.
    pub route: Option<String>,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Messages refused.
    pub refused: u64,
    /// Messages and frames outwards that found no room.
    pub dropped: u64,
}

/// Figures of a whole endpoint.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Open connections and live UDP sources.
    pub connections: usize,
    /// Messages and datagrams refused since the start.
    pub refused: u64,
    /// Unknown message types and fields ignored since the start.
    pub ignored: u64,
    /// Frames that the engine did not fetch in time and newer ones replaced.
    pub overrun: u64,
    /// Every live subject, by name.
    pub subjects: Vec<SubjectStats>,
}
