//! `faults.json` as types. Unknown fields are errors, so that no misspelt outcome goes unjudged.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub name: String,
    #[serde(default = "Row::run_ms")]
    pub run_ms: i64,
    #[serde(default)]
    pub link: Link,
    #[serde(default = "yes")]
    pub webrtc: bool,
    #[serde(default = "yes")]
    pub numbered: bool,
    #[serde(default)]
    pub token: Token,
    #[serde(default)]
    pub answer_delay_ms: i64,
    #[serde(default)]
    pub faults: Vec<Fault>,
    pub outcome: Outcome,
}

impl Row {
    const fn run_ms() -> i64 {
        20_000
    }
}

const fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    pub delay_ms: i64,
    pub jitter_ms: i64,
    pub loss: f64,
    pub burst: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { delay_ms: 10, jitter_ms: 0, loss: 0.0, burst: 1 }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    #[default]
    Right,
    Wrong,
    WrongInHello,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub at_ms: i64,
    pub kind: Kind,
    pub for_ms: Option<i64>,
    #[serde(default)]
    pub by_ms: i64,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    UdpDropped,
    ChannelHalfDeadUp,
    ChannelHalfDeadDown,
    TcpDropped,
    BothLost,
    WebsocketReset,
    WebsocketSilent,
    EndpointRestarted,
    EndpointStops,
    ClientKilled,
    NetworkChanged,
    ChannelClosed,
    PeerFailed,
    Sleep,
    ClockStep,
    Goodbye,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outcome {
    pub up: Stream,
    pub down: Stream,
    pub first_frame_ms_max: i64,
    pub transport: String,
    pub connection: String,
    pub faces: usize,
    pub moves_max: Option<usize>,
    pub face_gone_ms_max: Option<i64>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self {
            up: Stream::default(),
            down: Stream::default(),
            first_frame_ms_max: 200,
            transport: "webrtc".into(),
            connection: "same".into(),
            faces: 1,
            moves_max: None,
            face_gone_ms_max: None,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stream {
    pub lost_max: Option<usize>,
    pub gap_ms_max: Option<i64>,
    pub return_ms_max: Option<i64>,
}
