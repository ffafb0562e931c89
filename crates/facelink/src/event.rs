//! The output of a source for the engine: frames of subjects, and events.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use crate::time::Instant;

use serde::Serialize;

use crate::{frame::FaceFrame, names::BLENDSHAPE_COUNT, source::SourceKind, timing::Stamp, wire::viseme::Viseme};

/// Identifies one subject for its lifetime; never used twice by one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
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
    /// The viseme, for an engine that moves the mouth towards it instead of setting it.
    pub speech: Option<Speech>,
    /// When it arrived here.
    pub received: Instant,
    /// Its time stamp; `None` for a face that is not a frame of the source, such as a viseme alone.
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
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LostReason {
    /// Its connection closed and did not come back.
    Disconnected,
    /// It sent nothing for the subject timeout of its endpoint (5 s by default).
    Silent,
    /// The endpoint was stopped.
    Stopped,
    /// It is called otherwise from now on, and appears under its new name with its next frame.
    Renamed,
    /// It was disabled; it appears again once it is enabled.
    Disabled,
}

impl LostReason {
    /// The name on the wire, such as `disconnected`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Silent => "silent",
            Self::Stopped => "stopped",
            Self::Renamed => "renamed",
            Self::Disabled => "disabled",
        }
    }

    /// The reason of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Disconnected, Self::Silent, Self::Stopped, Self::Renamed, Self::Disabled];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened on the link, besides frames.
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
    /// A gesture of a subject started or ended, by the endpoint's rules.
    Gesture {
        /// Which subject.
        id: SubjectId,
        /// Its name.
        name: Arc<str>,
        /// Which gesture, such as `wink_left`.
        gesture: Arc<str>,
        /// `true` when it started, `false` when it ended.
        active: bool,
        /// For how long it was active; zero when it starts.
        lasted: Duration,
    },
    /// A controller asks for this subject to be shown: on what shows one subject at a time and has none of its own.
    Cut {
        /// Which subject.
        id: SubjectId,
        /// Its name.
        name: Arc<str>,
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

/// One line for a log, such as `Ann appeared over live_link_face from 192.0.2.7`. Names are as they came.
impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |f: &mut fmt::Formatter<'_>, address: &Option<SocketAddr>| match address {
            Some(address) => write!(f, " from {}", address.ip()),
            None => Ok(()),
        };
        match self {
            Self::SubjectAppeared { name, source, address, .. } => {
                write!(f, "{name} appeared over {source}")?;
                from(f, address)
            }
            Self::SubjectLost { name, reason, .. } => write!(f, "{name} is lost: {reason}"),
            Self::Emotion { name, emotion, .. } => write!(f, "{name}: {} at {:.2}", emotion.name, emotion.intensity),
            Self::Gesture { name, gesture, active: true, .. } => write!(f, "{name}: {gesture}"),
            Self::Gesture { name, gesture, active: false, lasted, .. } => {
                write!(f, "{name}: {gesture} ended after {:.1} s", lasted.as_secs_f64())
            }
            Self::Cut { name, .. } => write!(f, "cut to {name}"),
            Self::Connected { connection_id, source, address } => {
                write!(f, "connection {connection_id} over {source}")?;
                from(f, address)
            }
            Self::Disconnected { connection_id, reason } => write!(f, "connection {connection_id} ended: {reason}"),
        }
    }
}
