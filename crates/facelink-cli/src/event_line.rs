//! Lines of `--json` for what happens on the link.

use std::{io::Write, net::SocketAddr};

use facelink_net::{LinkEvent, LostReason, SourceKind};
use serde::Serialize;

use crate::error::Error;

/// One event.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventLine<'a> {
    Connected { connection_id: &'a str, source: SourceKind, address: Option<SocketAddr> },
    SubjectAppeared { subject: &'a str, source: SourceKind, address: Option<SocketAddr> },
    SubjectLost { subject: &'a str, reason: LostReason },
    Cut { subject: &'a str },
    Gesture { subject: &'a str, gesture: &'a str, active: bool, seconds: f64 },
    Disconnected { connection_id: &'a str, reason: &'a str },
}

impl<'a> EventLine<'a> {
    /// `None` for events that `--json` does not report.
    pub fn new(event: &'a LinkEvent) -> Option<Self> {
        match event {
            LinkEvent::Connected { connection_id, source, address } => {
                Some(Self::Connected { connection_id, source: *source, address: *address })
            }
            LinkEvent::SubjectAppeared { name, source, address, .. } => {
                Some(Self::SubjectAppeared { subject: name, source: *source, address: *address })
            }
            LinkEvent::SubjectLost { name, reason, .. } => Some(Self::SubjectLost { subject: name, reason: *reason }),
            LinkEvent::Cut { name, .. } => Some(Self::Cut { subject: name }),
            LinkEvent::Gesture { name, gesture, active, lasted, .. } => {
                let seconds = (lasted.as_secs_f64() * 1000.0).round() / 1000.0;
                Some(Self::Gesture { subject: name, gesture, active: *active, seconds })
            }
            LinkEvent::Disconnected { connection_id, reason } => Some(Self::Disconnected { connection_id, reason }),
            _ => None,
        }
    }
}

/// Writes one JSON object and the end of its line.
pub fn write_line(out: &mut impl Write, line: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec(line).map_err(|error| Error::Output(error.into()))?;
    text.push(b'\n');
    out.write_all(&text).and_then(|()| out.flush()).map_err(Error::Output)
}
