//! OSC: Face Cap and VMC protocol in, and the remote control of Live Link Face.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rosc::OscMessage;
use smallvec::SmallVec;

use super::{
    intake::{Arrived, Sender},
    protocol::{Io, Protocol},
    remote::Remote,
};
use crate::hub::Counters;
use facelink::{
    source::{PhonePort, SourceKind},
    wire::{face_cap, osc, profile::SourceFace, vmc},
};

/// Senders whose messages are put together at a time.
const MAX_SENDERS: usize = 64;
/// What was not ended by its sender is taken as it is after this long.
const UNENDED: Duration = Duration::from_millis(50);
/// A bundle of this size may continue in the next datagram.
const NEARLY_FULL: usize = 1000;

#[derive(Debug)]
struct Speaker {
    address: SocketAddr,
    face_cap: face_cap::Decoder,
    vmc: vmc::Decoder,
    last: Instant,
}

pub(super) struct Osc {
    speakers: Vec<Speaker>,
    remote: Option<Remote>,
}

impl Osc {
    pub fn new(port: PhonePort) -> Self {
        Self { speakers: Vec::new(), remote: (port == PhonePort::LiveLinkFaceOsc).then(Remote::default) }
    }

    fn speaker(&mut self, address: SocketAddr, now: Instant) -> Option<&mut Speaker> {
        let place = self.speakers.iter().position(|speaker| speaker.address == address).unwrap_or_else(|| {
            if self.speakers.len() >= MAX_SENDERS {
                self.speakers.remove(0);
            }
            let (face_cap, vmc) = (face_cap::Decoder::new(), vmc::Decoder::new());
            self.speakers.push(Speaker { address, face_cap, vmc, last: now });
            self.speakers.len() - 1
        });
        self.speakers.get_mut(place)
    }
}

fn take(io: &mut Io<'_>, kind: SourceKind, from: SocketAddr, face: SourceFace, bytes: usize, now: Instant) {
    let sender = Sender::of_port(kind, from, Some(kind.title()));
    io.take(&sender, from, Arrived { face: Some(face), bytes, ..Arrived::default() }, now);
}

impl Protocol for Osc {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        let Some(from) = io.program_of(io.counters.port.app(), from, now) else { return };
        let Some(speaker) = self.speaker(from, now) else { return };
        speaker.last = now;
        let mut faces: SmallVec<[(SourceKind, SourceFace); 2]> = SmallVec::new();
        let mut kind = None;
        let (mut refused, mut error) = (0_u64, None);
        let mut other: SmallVec<[OscMessage; 1]> = SmallVec::new();
        let read = osc::read(datagram, |message| {
            let (app, taken) = if message.addr.starts_with("/VMC/") {
                (SourceKind::Vmc, speaker.vmc.take(message).map_err(|error| error.to_string()))
            } else if face_cap::is_one(&message.addr) {
                (SourceKind::FaceCap, speaker.face_cap.take(message).map_err(|error| error.to_string()))
            } else {
                other.push(message.clone());
                return;
            };
            kind = Some(app);
            match taken {
                Ok(face) => faces.extend(face.map(|face| (app, face))),
                Err(reason) => {
                    refused += 1;
                    error.get_or_insert(reason);
                }
            }
        });
        refused += read.refused as u64;
        let error = read.error.map(|error| error.to_string()).or(error);
        if kind == Some(SourceKind::FaceCap) && datagram.starts_with(b"#") && datagram.len() < NEARLY_FULL {
            faces.extend(speaker.face_cap.flush().map(|face| (SourceKind::FaceCap, face)));
        }
        let mut bytes = datagram.len();
        match (error, kind) {
            // What was good of it counts all the same.
            (Some(error), _) => {
                io.refuse(kind, from, &error, now);
                Counters::add(&io.hub().refused, refused.saturating_sub(1));
            }
            (None, Some(kind)) if faces.is_empty() => {
                io.taken(kind, from, now);
            }
            _ => {}
        }
        for (kind, face) in faces {
            take(io, kind, from, face, std::mem::take(&mut bytes), now);
        }
        for message in other {
            if !self.remote.as_mut().is_some_and(|remote| remote.on_message(io, from, &message, now)) {
                Counters::add(&io.hub().ignored, 1);
            }
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        for speaker in &mut self.speakers {
            if now.saturating_duration_since(speaker.last) < UNENDED {
                continue;
            }
            if let Some(face) = speaker.face_cap.flush() {
                take(io, SourceKind::FaceCap, speaker.address, face, 0, now);
            }
            if speaker.vmc.is_pending()
                && let Some(face) = speaker.vmc.flush()
            {
                take(io, SourceKind::Vmc, speaker.address, face, 0, now);
            }
        }
        let timeout = io.hub().config.subject_timeout;
        self.speakers.retain(|speaker| now.saturating_duration_since(speaker.last) < timeout);
        if let Some(remote) = &mut self.remote {
            remote.on_tick(io, now);
        }
    }

    fn on_stop(&mut self, io: &mut Io<'_>, _now: Instant) {
        if let Some(remote) = &mut self.remote {
            remote.on_stop(io);
        }
    }
}
