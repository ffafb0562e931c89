//! OSC: Face Cap, VMC protocol and face trackers of VR headsets in, the remote control of Live Link Face, and remote control of
//! this endpoint.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use rosc::OscMessage;
use smallvec::SmallVec;

use super::{
    control::{self, Control},
    intake::{Arrived, NotTaken, Sender},
    protocol::{Io, Protocol},
    remote::Remote,
};
use crate::hub::Counters;
use facelink::{
    source::{PhonePort, SourceKind},
    wire::{face_cap, osc, profile::SourceFace, trackers, vmc},
};

/// Senders whose messages are put together at a time.
const MAX_SENDERS: usize = 64;
/// A frame of Face Cap that its sender has not ended is taken as it is after this long.
const UNENDED: Duration = Duration::from_millis(50);
/// What a sender said last is forgotten when it was silent for this long. VMC's values last, so that it is longer than a
/// subject lives.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// Characters that are shown of an address.
const SHOWN: usize = 64;
/// Longest datagram in which commands of a controller are looked for.
const MAX_CONTROL: usize = 1024;
/// A bundle of this size may continue in the next datagram.
const NEARLY_FULL: usize = 1000;

#[derive(Debug)]
struct Speaker {
    address: SocketAddr,
    face_cap: face_cap::Decoder,
    /// When what it began of a frame of Face Cap is taken as it is.
    face_cap_deadline: Option<Instant>,
    vmc: vmc::Decoder,
    last: Instant,
}

impl Speaker {
    fn deadline(&self) -> Option<Instant> {
        [self.face_cap_deadline, self.vmc.deadline()].into_iter().flatten().min()
    }
}

pub(super) struct Osc {
    speakers: Vec<Speaker>,
    /// Face trackers of each machine: one program tracks the mouth, another the eyes of one face.
    trackers: Vec<(IpAddr, trackers::Decoder)>,
    remote: Option<Remote>,
    control: Control,
}

impl Osc {
    pub fn new(port: PhonePort) -> Self {
        let remote = (port == PhonePort::LiveLinkFaceOsc).then(Remote::default);
        Self { speakers: Vec::new(), trackers: Vec::new(), remote, control: Control::default() }
    }

    /// Does what a controller asks for, wherever it sends from; `true` when there is nothing else in the datagram.
    fn take_control(&mut self, io: &Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) -> bool {
        if datagram.len() > MAX_CONTROL || datagram.starts_with(b"/VMC/") {
            return false;
        }
        let mut words: SmallVec<[OscMessage; 1]> = SmallVec::new();
        let read = osc::read(datagram, |message| {
            if control::is_word(&message.addr) {
                words.push(message.clone());
            }
        });
        words.iter().for_each(|message| self.control.on_message(io, from, message, now));
        !words.is_empty() && words.len() == read.messages + read.refused
    }

    /// The face that the trackers of a machine make up.
    fn tracker(
        trackers: &mut Vec<(IpAddr, trackers::Decoder)>,
        ip: IpAddr,
        now: Instant,
    ) -> Option<&mut trackers::Decoder> {
        let place = trackers.iter().position(|(known, _)| *known == ip).unwrap_or_else(|| {
            let is_heard = |decoder: &trackers::Decoder| {
                decoder.last_heard().is_some_and(|last| now.saturating_duration_since(last) < FORGOTTEN)
            };
            trackers.retain(|(_, decoder)| is_heard(decoder));
            if trackers.len() >= MAX_SENDERS {
                let oldest = trackers.iter().enumerate().min_by_key(|(_, (_, decoder))| decoder.last_heard());
                trackers.swap_remove(oldest.map_or(0, |(place, _)| place));
            }
            trackers.push((ip, trackers::Decoder::new()));
            trackers.len() - 1
        });
        trackers.get_mut(place).map(|(_, decoder)| decoder)
    }

    fn speaker(speakers: &mut Vec<Speaker>, address: SocketAddr, now: Instant) -> Option<&mut Speaker> {
        let place = speakers.iter().position(|speaker| speaker.address == address).unwrap_or_else(|| {
            speakers.retain(|speaker| now.saturating_duration_since(speaker.last) < FORGOTTEN);
            if speakers.len() >= MAX_SENDERS {
                let oldest = speakers.iter().enumerate().min_by_key(|(_, speaker)| speaker.last);
                speakers.swap_remove(oldest.map_or(0, |(place, _)| place));
            }
            let (face_cap, vmc) = (face_cap::Decoder::new(), vmc::Decoder::new());
            speakers.push(Speaker { address, face_cap, face_cap_deadline: None, vmc, last: now });
            speakers.len() - 1
        });
        speakers.get_mut(place)
    }
}

/// OSC that no app sends which is known here.
struct Unknown<'a>(&'a str);

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: String = self.0.chars().take(SHOWN).map(|c| if c.is_control() { '.' } else { c }).collect();
        write!(
            f,
            "OSC, but no face: `{shown}`; a face is `/VMC/Ext/...` of VMC protocol, `/W` of Face Cap, or `/avatar/parameters/v2/JawOpen` or `/jawOpen` of a face tracker"
        )
    }
}

/// Whether a message of a face tracker is in a datagram.
fn is_tracker(datagram: &[u8]) -> bool {
    let mut found = false;
    let _ =
        osc::read(datagram, |message| found |= trackers::is_one(&message.addr) && !message.addr.starts_with("/VMC/"));
    found
}

fn take(io: &mut Io<'_>, kind: SourceKind, from: SocketAddr, face: SourceFace, bytes: usize, now: Instant) {
    // Several trackers on one machine are one face.
    let of = if kind == SourceKind::Trackers { SocketAddr::new(from.ip(), 0) } else { from };
    let sender = Sender::of_port(kind, of, Some(kind.title()));
    let arrived = Arrived { face: Some(face), bytes, ..Arrived::default() };
    if bytes > 0 {
        return io.take(&sender, from, arrived, now);
    }
    // No datagram of its own: it is counted already.
    if let Err(error) = io.intake.take(&sender, arrived, now)
        && error != NotTaken::Unclear
    {
        io.refuse(Some(kind), from, &error, now);
    }
}

impl Protocol for Osc {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        if self.take_control(io, from, datagram, now) {
            return;
        }
        // Of a tracker it counts little which program it is: all of a machine are one face.
        let program = io.program_of(io.counters.port.app(), from, now);
        let Some(from) = program.or_else(|| is_tracker(datagram).then_some(from)) else { return };
        let Self { speakers, trackers, remote, .. } = self;
        let Some(speaker) = Self::speaker(speakers, from, now) else { return };
        speaker.last = now;
        let mut faces: SmallVec<[(SourceKind, SourceFace); 2]> = SmallVec::new();
        let mut kind = None;
        let (mut refused, mut error) = (0_u64, None);
        let mut other: SmallVec<[OscMessage; 1]> = SmallVec::new();
        let read = osc::read(datagram, |message| {
            let (app, taken) = if message.addr.starts_with("/VMC/") {
                (SourceKind::Vmc, speaker.vmc.take(message, now).map_err(|error| error.to_string()))
            } else if face_cap::is_one(&message.addr) {
                (SourceKind::FaceCap, speaker.face_cap.take(message).map_err(|error| error.to_string()))
            } else if trackers::is_one(&message.addr) {
                let Some(decoder) = Self::tracker(trackers, from.ip(), now) else { return };
                match decoder.take(message, from, now) {
                    Ok(true) => (SourceKind::Trackers, Ok(None)),
                    Ok(false) => {
                        other.push(message.clone());
                        return;
                    }
                    Err(error) => (SourceKind::Trackers, Err(error.to_string())),
                }
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
        speaker.face_cap_deadline = speaker.face_cap.is_pending().then(|| now + UNENDED);
        let mut bytes = datagram.len();
        let is_good = read.messages as u64 + read.refused as u64 > refused;
        if let (Some(kind), true, true) = (kind, is_good, faces.is_empty()) {
            io.taken(kind, from, now);
        }
        for (kind, face) in faces {
            take(io, kind, from, face, std::mem::take(&mut bytes), now);
        }
        match (error, kind) {
            (Some(error), Some(kind)) if is_good => {
                Counters::add(&io.hub().refused, refused);
                io.counters.record_part(from, kind, &error);
            }
            (Some(error), _) => {
                io.refuse(kind, from, &error, now);
                Counters::add(&io.hub().refused, refused.saturating_sub(1));
            }
            (None, _) => {}
        }
        let mut unknown = None;
        for message in &other {
            let known = remote.as_mut().is_some_and(|remote| remote.on_message(io, from, message, now));
            if !known && !control::is_word(&message.addr) {
                Counters::add(&io.hub().ignored, 1);
                unknown.get_or_insert(message);
            }
        }
        // Something arrives, and the diagnosis says what.
        if let (None, None, Some(message)) = (kind, remote, unknown) {
            io.counters.record(from, None, Some(&Unknown(&message.addr)), now);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let trackers = self.trackers.iter().filter_map(|(_, decoder)| decoder.deadline());
        self.speakers.iter().filter_map(Speaker::deadline).chain(trackers).chain(self.control.deadline()).min()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>, now: Instant) {
        self.control.on_timeout(io, now);
        for (ip, decoder) in &mut self.trackers {
            if let Some(face) = decoder.on_timeout(now) {
                take(io, SourceKind::Trackers, SocketAddr::new(*ip, 0), face, 0, now);
            }
        }
        for speaker in &mut self.speakers {
            if speaker.face_cap_deadline.is_some_and(|deadline| deadline <= now) {
                speaker.face_cap_deadline = None;
                if let Some(face) = speaker.face_cap.flush() {
                    take(io, SourceKind::FaceCap, speaker.address, face, 0, now);
                }
            }
            if speaker.vmc.deadline().is_some_and(|deadline| deadline <= now)
                && let Some(face) = speaker.vmc.on_timeout(now)
            {
                take(io, SourceKind::Vmc, speaker.address, face, 0, now);
            }
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
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
