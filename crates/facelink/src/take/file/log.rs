//! What is in a take besides frames, as JSON: events of the link, marks, statistics.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    event::{Emotion, LinkEvent, LostReason, SubjectId},
    source::SourceKind,
};

/// What a phone reported that records on its own while a take is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PhoneRecording {
    /// The phone.
    pub address: IpAddr,
    /// Whether it began to record, or ended.
    pub recording: bool,
    /// Its timecode then, as it wrote it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub timecode: String,
    /// The files that it made, on the phone; known when it has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

impl PhoneRecording {
    /// A phone began to record, or ended, at a timecode of its own.
    pub fn new(address: IpAddr, recording: bool, timecode: impl Into<String>) -> Self {
        Self { address, recording, timecode: timecode.into(), files: Vec::new() }
    }
}

/// What OBS reported that records while a take is recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ObsRecording {
    /// Whether it records, or has ended.
    pub recording: bool,
    /// When its video begins, nanoseconds after the start of the take by the take's clock; negative where OBS recorded before
    /// the take did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset_ns: Option<i64>,
    /// By how much `offset_ns` may be off because of the way from OBS to here, nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ns: Option<u64>,
    /// The files that it made, where OBS is; known when it has ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What was not as it was asked for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ObsRecording {
    /// OBS records, or has ended.
    pub fn new(recording: bool) -> Self {
        Self { recording, ..Self::default() }
    }
}

/// What a message of the channel `/events` is.
#[derive(Debug)]
pub(super) enum Logged {
    Link(LinkEvent),
    Phone(PhoneRecording),
    Obs(ObsRecording),
    /// The recording was ended here.
    Stopped,
}

/// A message of the channel `/events`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    SubjectAppeared {
        id: u64,
        name: Arc<str>,
        source: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    SubjectLost {
        id: u64,
        name: Arc<str>,
        reason: String,
    },
    Emotion {
        id: u64,
        name: Arc<str>,
        emotion: Arc<str>,
        intensity: f32,
        #[serde(skip_serializing_if = "Option::is_none")]
        fade_ns: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ns: Option<u64>,
    },
    Gesture {
        id: u64,
        name: Arc<str>,
        gesture: Arc<str>,
        active: bool,
        #[serde(default)]
        lasted_ns: u64,
    },
    Cut {
        id: u64,
        name: Arc<str>,
    },
    Connected {
        connection_id: Arc<str>,
        source: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<String>,
    },
    Disconnected {
        connection_id: Arc<str>,
        reason: String,
    },
    PhoneRecording(PhoneRecording),
    ObsRecording(ObsRecording),
    Stopped,
}

/// A mark as a message of the channel `/marks`.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    text: String,
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // Strings and finite numbers: nothing here can fail.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(super) fn stopped() -> Vec<u8> {
    json(&Event::Stopped)
}

pub(super) fn phone(recording: &PhoneRecording) -> Vec<u8> {
    json(&Event::PhoneRecording(recording.clone()))
}

pub(super) fn obs(recording: &ObsRecording) -> Vec<u8> {
    json(&Event::ObsRecording(recording.clone()))
}

pub(super) fn mark(text: &str) -> Vec<u8> {
    json(&Mark { text: text.to_owned() })
}

pub(super) fn read_mark(data: &[u8]) -> Result<String, serde_json::Error> {
    serde_json::from_slice::<Mark>(data).map(|mark| mark.text)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn event(event: &LinkEvent) -> Vec<u8> {
    json(&match event {
        LinkEvent::SubjectAppeared { id, name, source, address } => Event::SubjectAppeared {
            id: id.0,
            name: name.clone(),
            source: source.as_str().to_owned(),
            address: address.map(|address| address.to_string()),
        },
        LinkEvent::SubjectLost { id, name, reason } => {
            Event::SubjectLost { id: id.0, name: name.clone(), reason: reason.as_str().to_owned() }
        }
        LinkEvent::Emotion { id, name, emotion } => Event::Emotion {
            id: id.0,
            name: name.clone(),
            emotion: emotion.name.clone(),
            intensity: emotion.intensity,
            fade_ns: emotion.fade.map(nanos),
            duration_ns: emotion.duration.map(nanos),
        },
        LinkEvent::Gesture { id, name, gesture, active, lasted } => Event::Gesture {
            id: id.0,
            name: name.clone(),
            gesture: gesture.clone(),
            active: *active,
            lasted_ns: nanos(*lasted),
        },
        LinkEvent::Cut { id, name } => Event::Cut { id: id.0, name: name.clone() },
        LinkEvent::Connected { connection_id, source, address } => Event::Connected {
            connection_id: connection_id.clone(),
            source: source.as_str().to_owned(),
            address: address.map(|address| address.to_string()),
        },
        LinkEvent::Disconnected { connection_id, reason } => {
            Event::Disconnected { connection_id: connection_id.clone(), reason: reason.clone() }
        }
    })
}

pub(super) fn read_event(data: &[u8]) -> Result<Logged, serde_json::Error> {
    let source = |name: &str| SourceKind::from_name(name).unwrap_or(SourceKind::Custom);
    let address = |text: Option<String>| text.and_then(|text| text.parse().ok());
    Ok(Logged::Link(match serde_json::from_slice(data)? {
        Event::SubjectAppeared { id, name, source: from, address: at } => {
            LinkEvent::SubjectAppeared { id: SubjectId(id), name, source: source(&from), address: address(at) }
        }
        Event::SubjectLost { id, name, reason } => LinkEvent::SubjectLost {
            id: SubjectId(id),
            name,
            reason: LostReason::from_name(&reason).unwrap_or(LostReason::Disconnected),
        },
        Event::Emotion { id, name, emotion, intensity, fade_ns, duration_ns } => LinkEvent::Emotion {
            id: SubjectId(id),
            name,
            emotion: Emotion {
                name: emotion,
                intensity: if intensity.is_finite() { intensity } else { 0.0 },
                fade: fade_ns.map(Duration::from_nanos),
                duration: duration_ns.map(Duration::from_nanos),
            },
        },
        Event::Gesture { id, name, gesture, active, lasted_ns } => {
            LinkEvent::Gesture { id: SubjectId(id), name, gesture, active, lasted: Duration::from_nanos(lasted_ns) }
        }
        Event::Cut { id, name } => LinkEvent::Cut { id: SubjectId(id), name },
        Event::Connected { connection_id, source: from, address: at } => {
            LinkEvent::Connected { connection_id, source: source(&from), address: address(at) }
        }
        Event::Disconnected { connection_id, reason } => LinkEvent::Disconnected { connection_id, reason },
        Event::PhoneRecording(recording) => return Ok(Logged::Phone(recording)),
        Event::ObsRecording(recording) => return Ok(Logged::Obs(recording)),
        Event::Stopped => return Ok(Logged::Stopped),
    }))
}
