//! Statistics of subjects, connections and endpoints.

use std::{net::SocketAddr, sync::Arc};

use serde::Serialize;

use crate::seal::SealStats;
use facelink::{
    event::SubjectId,
    mesh::MeshStats,
    relay::{RelayStats, ViewerStats},
    source::SourceKind,
    take::FrameRate,
    timing::Disbelieved,
};

/// Stats of one subject. Times are averages over about the last second.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SubjectStats {
    /// Which subject.
    pub id: SubjectId,
    /// What it is called here.
    pub name: Arc<str>,
    /// The name by which its source sends it.
    pub source_name: Arc<str>,
    /// Whether it is shown. The frames of a disabled one are counted, and go nowhere.
    pub enabled: bool,
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
    /// What of the source's own frame numbers and clock is not believed, because they do not follow the frames: these are
    /// shown as they arrive. `None` for nearly every source.
    pub disbelieved: Option<Disbelieved>,
    /// Standing queue: how much longer the quickest frame of the last moments took than the quickest of the
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
    /// No packet arrived for two seconds.
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

/// Stats of one connection, by the names of the migration guide. Times are averages over about the last second.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Its id, as in `welcome`.
    pub connection_id: Arc<str>,
    /// Whether it answers.
    pub state: ConnectionState,
    /// What carries its frames now.
    pub transport: SourceKind,
    /// `in` for a client or a phone, `out` for an endpoint that we dialled, `peer` for a room peer.
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
    /// The route of its WebRTC packets, such as `udp host-prflx` or `udp relay-host`.
    pub route: Option<String>,
    /// Bytes received.
    pub bytes_received: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Messages refused.
    pub refused: u64,
    /// Messages and frames outwards that found no room.
    pub dropped: u64,
    /// Frames that came as what changed since an earlier one: the second stream of a face, for a thin uplink.
    pub deltas: u64,
    /// What it is sent as a viewer, if it has subscribed to something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub viewing: Option<ViewerStats>,
}

/// What the connection to OBS is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObsState {
    /// It is being opened, for the first time or again.
    #[default]
    Connecting,
    /// OBS answers.
    Connected,
    /// OBS does not want this client: a wrong password, or another version of the protocol. It is tried again every ten
    /// seconds.
    Refused,
}

/// OBS, by its WebSocket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ObsStatus {
    /// Its address.
    pub url: String,
    /// What the connection is doing.
    pub state: ObsState,
    /// Version of its WebSocket server.
    pub version: Option<String>,
    /// Whether it records.
    pub recording: bool,
    /// The scene that is on air.
    pub scene: Option<String>,
    /// Shortest round trip, milliseconds.
    pub rtt_ms: Option<f32>,
    /// The file that it records to, or the last one.
    pub file: Option<String>,
    /// How often it was connected.
    pub connects: u64,
    /// Connections and commands that failed.
    pub failures: u64,
    /// Messages that were not understood.
    pub ignored: u64,
    /// Why it is not connected, or what it did not do; until that goes well.
    pub error: Option<String>,
}

/// The timecode that faces are put on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TimecodeStatus {
    /// As of now, `10:00:00:12`, or `10:00:00;12` where frames are dropped.
    pub timecode: String,
    /// Frames a second.
    pub rate: FrameRate,
    /// Whether subjects with a clock of their own are on it too.
    pub all: bool,
}

/// A take that is being recorded, or was.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct TakeStatus {
    /// Whether it is being recorded.
    pub recording: bool,
    /// Its file.
    pub file: String,
    /// Slate.
    pub slate: String,
    /// Number of the take.
    pub take: u32,
    /// Its length so far, seconds.
    pub seconds: f64,
    /// Frames so far.
    pub frames: u64,
    /// Bytes in the file.
    pub bytes: u64,
    /// Frames and events that were not recorded, because writing was too slow.
    pub dropped: u64,
    /// Phones that were asked to record in step.
    pub phones: usize,
    /// Why the recording stopped by itself, such as a disk that is full. What was written before is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Stats of a whole endpoint.
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
    /// End-to-end encrypted packets.
    pub sealed: SealStats,
    /// What leaves for connections that have subscribed.
    pub relay: RelayStats,
    /// The mesh of relays, where this is one of several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshStats>,
    /// OBS, where one is controlled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obs: Option<ObsStatus>,
    /// The timecode that faces are put on, where it is not their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timecode: Option<TimecodeStatus>,
    /// Every live subject, by name, disabled ones among them.
    pub subjects: Vec<SubjectStats>,
}
