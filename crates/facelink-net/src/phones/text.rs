//! iFacialMocap's and Facemotion3d's text: calls over UDP, faces over UDP and TCP.
//!
//! The apps send to a port of their own choice, 49983, at the address that the call came from, so that a call has to go
//! out from a socket there. Neither app says goodbye, and in v1 and v2 over UDP neither has a stop command.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    fmv3,
    intake::{Arrived, FloodGate, Intake, Sender},
    port_stats::PortCounters,
    protocol::{self, Io, Protocol},
    roster::PhoneState,
};
use crate::{address::canonical, hub::Counters, phone_config::PhoneCall};
use facelink::source::{PhonePort, PhoneTransport, SourceKind};
use facelink::wire::{
    fmv3::MAGIC,
    mocap_text::{
        Decoder, FACEMOTION3D_PORT, FRAME_END, IFACIALMOCAP_PORT, MAX_FRAME_LEN, MocapApp, MocapError,
        START_FACEMOTION3D, START_TCP, START_V2, STOP_FACEMOTION3D, STOP_TCP,
    },
    profile::SourceFace,
};

/// Senders whose names are remembered on one port; more than any user has phones.
const MAX_SENDERS: usize = 64;
/// Between two calls to a phone that does not send.
const CALL_EVERY: Duration = Duration::from_millis(1500);
/// A phone that may speak `FMV3` is asked for that first, and for text after this long.
const FMV3_FIRST: Duration = Duration::from_secs(3);
/// Between two calls to phones whose address is not known.
const SEARCH_EVERY: Duration = Duration::from_secs(2);
/// A face whose numbers are exactly the same for this long is lost.
const FROZEN_AFTER: Duration = Duration::from_millis(700);
/// Frames that differ before that is believed of a sender: a second of them.
const LIVELY: u32 = 60;
/// A sender that was silent for this long may have spoken `FMV3` in between.
const PAUSE: Duration = Duration::from_secs(1);
/// Streams on one port, and of them from one address.
const MAX_STREAMS: usize = 32;
const MAX_STREAMS_EACH: usize = 4;

/// Distinguishes a lost face from a still one, in apps that do not report it: the phone's numbers tremble for as long as it sees
/// a face, and are sent unchanged when it does not.
///
/// Only a sender that was lively is believed to have frozen. One that says itself whether it sees a face, by
/// `trackingStatus`, is believed instead.
#[derive(Debug, Default)]
struct Frozen {
    last: Vec<u8>,
    since: Option<Instant>,
    changes: u32,
}

impl Frozen {
    /// Whether the face is lost as of this frame.
    fn is_lost(&mut self, frame: &[u8], now: Instant) -> bool {
        if self.last == frame {
            let still = self.since.is_some_and(|since| now.saturating_duration_since(since) >= FROZEN_AFTER);
            return still && self.changes >= LIVELY;
        }
        self.last.clear();
        self.last.extend_from_slice(frame);
        self.since = Some(now);
        self.changes = self.changes.saturating_add(1);
        false
    }
}

/// How calls begin.
const CALLS: [&[u8]; 2] = [b"iFacialMocap_", b"FACEMOTION3D_"];

/// What is remembered of one sender.
#[derive(Debug)]
struct Voice {
    decoder: Decoder,
    frozen: Frozen,
    app: Option<MocapApp>,
    says: bool,
}

impl Voice {
    fn new() -> Self {
        Self { decoder: Decoder::new(), frozen: Frozen::default(), app: None, says: false }
    }

    /// Reads a frame; `usual` is the app where the names do not identify it.
    fn read(&mut self, frame: &[u8], usual: MocapApp, now: Instant) -> Result<(SourceKind, SourceFace), MocapError> {
        let read = self.decoder.decode(frame)?;
        self.app = read.app.or(self.app);
        self.says |= read.tracking_status.is_some();
        let mut face = read.face;
        // Shapes are whole percents, which may well stand still: it is head and eyes that tremble.
        let trembles = face.head.is_some() || face.eyes.is_some();
        if !self.says && trembles && self.frozen.is_lost(frame, now) {
            face.frame.tracked = false;
        }
        let kind = match self.app.unwrap_or(usual) {
            MocapApp::IFacialMocap => SourceKind::IFacialMocap,
            MocapApp::Facemotion3d => SourceKind::Facemotion3d,
        };
        Ok((kind, face))
    }
}

/// What is said of a sender whose head or eyes are left out for it.
const UNCLEAR_COMMAS: &str = "the numbers of head or eyes have decimal commas, and some have none, so that it is not clear which belong \
                              together: set the phone's region to one with decimal points";

/// The same for frames of a port or a stream: reads one, counts what was left out of it, and hands it on.
struct Reader<'a> {
    intake: &'a mut Intake,
    counters: &'a PortCounters,
}

impl Reader<'_> {
    /// `true` when it was a face.
    fn take(&mut self, voice: &mut Voice, from: SocketAddr, sender: SocketAddr, frame: &[u8], now: Instant) -> bool {
        let usual = match self.counters.port.app() {
            SourceKind::Facemotion3d => MocapApp::Facemotion3d,
            _ => MocapApp::IFacialMocap,
        };
        let ignored = voice.decoder.ignored();
        let read = voice.read(frame, usual, now);
        Counters::add(&self.intake.phones.hub.ignored, voice.decoder.ignored() - ignored);
        match read {
            Ok((kind, face)) => {
                let sender = Sender::of_port(kind, sender, Some(kind.title()));
                let arrived = Arrived { face: Some(face), bytes: frame.len(), ..Arrived::default() };
                protocol::take(self.intake, self.counters, &sender, from, arrived, now);
                if voice.decoder.has_unclear_commas() {
                    self.counters.record_part(from, kind, &UNCLEAR_COMMAS);
                }
                true
            }
            Err(error) => {
                protocol::refuse(self.intake, self.counters, Some(self.counters.port.app()), from, &error, now);
                false
            }
        }
    }
}

struct Known {
    from: SocketAddr,
    voice: Voice,
    last: Instant,
}

/// A phone that is called for one app.
#[derive(Debug)]
struct Called {
    call: PhoneCall,
    app: SourceKind,
    /// Since when it does not send.
    silent: Option<Instant>,
    called: Option<Instant>,
    /// It is known to send text, and is asked for that at once.
    speaks_text: bool,
}

impl Called {
    /// Whether to call it now.
    fn is_due(&mut self, heard: Option<SourceKind>, is_busy: bool, now: Instant) -> bool {
        if let Some(heard) = heard {
            self.silent = None;
            self.speaks_text = matches!(heard, SourceKind::IFacialMocap | SourceKind::Facemotion3d);
            return false;
        }
        let silent = now.saturating_duration_since(*self.silent.get_or_insert(now));
        // A call that names the app asks for its text protocol, except for iFacialMocap, whose versions share a name; a
        // call over TCP asks for text.
        let by_name = self.call.app == Some(SourceKind::Facemotion3d) || self.call.transport == PhoneTransport::Tcp;
        let patient = !by_name && !self.speaks_text;
        let recently = self.called.is_some_and(|called| now.saturating_duration_since(called) < CALL_EVERY);
        // A handshake would take the phone from the receiver that it streams to.
        if recently || (patient && (silent < FMV3_FIRST || is_busy)) {
            return false;
        }
        self.called = Some(now);
        true
    }

    fn message(&self) -> (SocketAddr, &'static str) {
        match (self.app, self.call.transport) {
            (SourceKind::Facemotion3d, _) => (self.call.to(FACEMOTION3D_PORT), START_FACEMOTION3D),
            (_, PhoneTransport::Tcp) => (self.call.to(IFACIALMOCAP_PORT), START_TCP),
            (_, PhoneTransport::Udp) => (self.call.to(IFACIALMOCAP_PORT), START_V2),
        }
    }

    /// What ends the stream, where the app has a stop command; there may be no listener any more.
    fn goodbye(&self) -> Option<(SocketAddr, &'static str)> {
        self.called?;
        match (self.app, self.call.transport) {
            (SourceKind::Facemotion3d, _) if self.speaks_text => {
                Some((self.call.to(FACEMOTION3D_PORT), STOP_FACEMOTION3D))
            }
            (SourceKind::IFacialMocap, PhoneTransport::Tcp) => Some((self.call.to(IFACIALMOCAP_PORT), STOP_TCP)),
            _ => None,
        }
    }
}

pub(super) struct Text {
    port: PhonePort,
    senders: Vec<Known>,
    called: Vec<Called>,
    searched: Option<Instant>,
}

impl Text {
    pub fn new(port: PhonePort) -> Self {
        Self { port, senders: Vec::new(), called: Vec::new(), searched: None }
    }

    /// The apps that are called from this port.
    fn apps(&self, phones: &Phones) -> &'static [SourceKind] {
        let is_open = |port| phones.port(port).is_some();
        match self.port {
            PhonePort::IFacialMocap if is_open(PhonePort::Facemotion3d) => &[SourceKind::IFacialMocap],
            PhonePort::IFacialMocap => &[SourceKind::IFacialMocap, SourceKind::Facemotion3d],
            PhonePort::Facemotion3d => &[SourceKind::Facemotion3d],
            _ => &[],
        }
    }

    fn call(&mut self, io: &Io<'_>, now: Instant) {
        let mut wanted = Vec::new();
        for app in self.apps(io.phones()) {
            for (call, heard) in io.phones().roster.calls(*app, now) {
                // A stream is iFacialMocap's alone.
                if *app == SourceKind::IFacialMocap || call.transport == PhoneTransport::Udp {
                    wanted.push((call, *app, heard));
                }
            }
        }
        self.called.retain(|called| {
            let is_wanted = wanted.iter().any(|(call, app, _)| (*call, *app) == (called.call, called.app));
            if !is_wanted && let Some((to, message)) = called.goodbye() {
                io.send(to, message.as_bytes());
            }
            is_wanted
        });
        for (call, app, heard) in wanted {
            let is_busy = io.phones().roster.state(call.address) == Some(PhoneState::Refused("BUSY".to_owned()));
            let place = self.called.iter().position(|called| (called.call, called.app) == (call, app));
            let place = place.unwrap_or_else(|| {
                self.called.push(Called { call, app, silent: None, called: None, speaks_text: false });
                self.called.len() - 1
            });
            let Some(called) = self.called.get_mut(place) else { continue };
            if called.is_due(heard, is_busy, now) {
                let (to, message) = called.message();
                io.send(to, message.as_bytes());
            }
        }
    }

    /// Calls every phone on the network, for as long as no phone is heard.
    fn search(&mut self, io: &Io<'_>, now: Instant) {
        let config = &io.hub().config;
        let recently = self.searched.is_some_and(|searched| now.saturating_duration_since(searched) < SEARCH_EVERY);
        if !config.find_phones || config.bind.is_loopback() || recently || io.phones().roster.hears(now) {
            return;
        }
        self.searched = Some(now);
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
        let interfaces = interfaces.iter().filter_map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) => Some((v4.ip, v4.broadcast)),
            if_addrs::IfAddr::V6(_) => None,
        });
        for address in broadcasts(config.bind, interfaces) {
            for app in self.apps(io.phones()) {
                let (port, message) = match app {
                    SourceKind::Facemotion3d => (FACEMOTION3D_PORT, START_FACEMOTION3D),
                    _ => (IFACIALMOCAP_PORT, START_V2),
                };
                io.send(SocketAddr::new(address.into(), port), message.as_bytes());
            }
        }
    }
}

/// Broadcast addresses of the networks of a socket. Calls there are text, for a HELLO would
/// take phones away from others that they send to by `FMV3`.
fn broadcasts(bind: IpAddr, interfaces: impl Iterator<Item = (Ipv4Addr, Option<Ipv4Addr>)>) -> Vec<Ipv4Addr> {
    let IpAddr::V4(bind) = bind else { return Vec::new() };
    let mut addresses = Vec::new();
    if bind.is_unspecified() {
        addresses.push(Ipv4Addr::BROADCAST);
    }
    for (own, broadcast) in interfaces {
        let ours = bind.is_unspecified() || bind == own;
        if let Some(address) = broadcast.filter(|address| ours && !own.is_loopback() && !addresses.contains(address)) {
            addresses.push(address);
        }
    }
    addresses
}

impl Protocol for Text {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        // A call, our own or another program's: broadcasts come back to those who send them.
        if CALLS.iter().any(|call| datagram.starts_with(call)) {
            return Counters::add(&io.hub().ignored, 1);
        }
        let Some(sender) = io.program_of(self.port.app(), from, now) else { return };
        let known = self.senders.iter().position(|known| known.from == sender);
        let mut fresh = None;
        let (voice, pause) = match known.and_then(|place| self.senders.get_mut(place)) {
            Some(known) => {
                let pause = now.saturating_duration_since(known.last);
                known.last = now;
                (&mut known.voice, pause)
            }
            None => (fresh.insert(Voice::new()), Duration::MAX),
        };
        if pause >= PAUSE {
            // The phone continues as the same subject.
            io.intake.leave(SourceKind::IFacialMocapV3, sender, "goes on as text", false, now);
        }
        let is_face = io.reader().take(voice, sender, sender, datagram, now);
        // Invalid data is not learned from.
        if let Some(voice) = fresh.filter(|_| is_face) {
            if self.senders.len() >= MAX_SENDERS {
                let oldest = self.senders.iter().enumerate().min_by_key(|(_, known)| known.last);
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.senders.swap_remove(oldest);
            }
            self.senders.push(Known { from: sender, voice, last: now });
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        self.call(io, now);
        self.search(io, now);
    }

    fn on_stop(&mut self, io: &mut Io<'_>, _now: Instant) {
        for (to, message) in self.called.iter().filter_map(Called::goodbye) {
            io.send(to, message.as_bytes());
        }
    }
}

impl Io<'_> {
    fn reader(&mut self) -> Reader<'_> {
        Reader { intake: self.intake, counters: self.counters }
    }
}

/// Phones that connect to us: iFacialMocap over TCP, and `FMV3` that was begun on the phone.
pub(crate) async fn serve_streams(
    phones: Arc<Phones>,
    listener: TcpListener,
    counters: Arc<PortCounters>,
    cancel: CancellationToken,
) {
    let mut streams: JoinSet<SocketAddr> = JoinSet::new();
    let mut open: Vec<SocketAddr> = Vec::new();
    loop {
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Some(ended) = streams.join_next() => {
                match ended {
                    Ok(from) => open.retain(|address| *address != from),
                    // Nothing in a stream's task panics; if one did, its place would be lost, and no more.
                    Err(error) => tracing::warn!(%error, "a stream"),
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let now = Instant::now();
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, canonical(from)),
            Err(error) => {
                // Out of file handles, most likely: wait before the next attempt.
                tracing::debug!(%error, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let same = open.iter().filter(|address| address.ip() == from.ip() && !from.ip().is_loopback()).count();
        if open.len() >= MAX_STREAMS || same >= MAX_STREAMS_EACH {
            counters.record(from, None, Some(&"too many streams"), now);
            Counters::add(&phones.hub.refused, 1);
            continue;
        }
        open.push(from);
        let (phones, counters, cancel) = (phones.clone(), counters.clone(), cancel.clone());
        streams.spawn(async move {
            serve_stream(phones, stream, from, &counters, &cancel).await;
            from
        });
    }
    // They have heard it too, and say goodbye.
    while streams.join_next().await.is_some() {}
}

async fn serve_stream(
    phones: Arc<Phones>,
    mut stream: TcpStream,
    from: SocketAddr,
    counters: &PortCounters,
    cancel: &CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let mut frames = Frames::default();
    let mut piece = vec![0; 8 * 1024];
    let mut gate = FloodGate::new(phones.hub.config.max_datagrams_per_second, Instant::now());
    let mut intake = Intake::new(phones.clone());
    let mut voice = Voice::new();
    let sender = from;
    let reason = loop {
        let received = tokio::select! {
            () = cancel.cancelled() => break "this endpoint stops".to_owned(),
            received = tokio::time::timeout(phones.hub.config.subject_timeout, stream.read(&mut piece)) => received,
        };
        let len = match received {
            Ok(Ok(0)) => break "closed by the phone".to_owned(),
            Ok(Ok(len)) => len,
            Ok(Err(error)) => break error.to_string(),
            Err(_) => break "silent".to_owned(),
        };
        let now = Instant::now();
        frames.buffer.extend_from_slice(piece.get(..len).unwrap_or_default());
        if frames.buffer.starts_with(&MAGIC) {
            fmv3::serve_connection(&phones, stream, counters, from, false, &frames.buffer, cancel).await;
            return;
        }
        while let Some(frame) = frames.next() {
            counters.datagrams.fetch_add(1, Ordering::Relaxed);
            if gate.admits(from.ip(), now) {
                Reader { intake: &mut intake, counters }.take(&mut voice, from, sender, frame, now);
            } else {
                counters.flooded.fetch_add(1, Ordering::Relaxed);
                Counters::add(&phones.hub.refused, 1);
            }
        }
        if let Err(error) = frames.keep() {
            protocol::refuse(&intake, counters, Some(SourceKind::IFacialMocap), from, &error, now);
            break error.to_string();
        }
    };
    let now = Instant::now();
    for kind in [SourceKind::IFacialMocap, SourceKind::Facemotion3d] {
        intake.leave(kind, sender, &reason, false, now);
    }
    tracing::debug!(%from, reason, "a stream has ended");
}

/// Frames of a stream, however it was split.
#[derive(Debug, Default)]
struct Frames {
    buffer: Vec<u8>,
    used: usize,
    /// Up to here there is no end of a frame.
    searched: usize,
}

impl Frames {
    /// The next frame that is whole, without its end.
    fn next(&mut self) -> Option<&[u8]> {
        let end = FRAME_END.as_bytes();
        let from = self.searched.max(self.used);
        let rest = self.buffer.get(from..)?;
        let Some(found) = rest.windows(end.len()).position(|part| part == end) else {
            self.searched = self.buffer.len().saturating_sub(end.len() - 1);
            return None;
        };
        let frame = self.used..from + found;
        self.used = from + found + end.len();
        self.searched = self.used;
        self.buffer.get(frame)
    }

    /// Keeps the beginning of the frame that is not whole yet.
    fn keep(&mut self) -> Result<(), MocapError> {
        self.buffer.drain(..self.used.min(self.buffer.len()));
        self.searched = self.searched.saturating_sub(self.used);
        self.used = 0;
        if self.buffer.len() > MAX_FRAME_LEN + FRAME_END.len() {
            return Err(MocapError::TooLong(self.buffer.len()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use facelink::{
        performer::Performance,
        wire::mocap_text::{Dialect, PROFILE, Writer},
    };

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn text(second: f32, dialect: Dialect) -> Vec<u8> {
        let mut out = Vec::new();
        let frame = Performance::new(1).frame_at(Duration::from_secs_f32(second));
        Writer::new(dialect).write(&frame, &PROFILE, &mut out).unwrap();
        out
    }

    #[test]
    fn text_frozen_face_is_lost() {
        let start = Instant::now();
        let at = |frame: u32| start + Duration::from_secs(1) * frame / 60;
        let tracked = |dialect, lively: u32, frame: u32| {
            let mut voice = Voice::new();
            let mut tracked = true;
            for count in 0..=frame {
                // Moves for a while, then stands still.
                let bytes = text(count.min(lively) as f32 / 60.0, dialect);
                let (_, face) = voice.read(&bytes, MocapApp::IFacialMocap, at(count)).unwrap();
                tracked = face.frame.tracked;
            }
            tracked
        };
        assert!(tracked(Dialect::Facemotion3d, 90, 131), "not yet");
        assert!(!tracked(Dialect::Facemotion3d, 90, 132));
        assert!(tracked(Dialect::Facemotion3d, 30, 300), "one that hardly ever moved may be a test");
        assert!(tracked(Dialect::V2, 90, 300), "the app says that it sees a face");

        let mut voice = Voice::new();
        for count in 0..=200 {
            let bytes = text(count.min(90) as f32 / 60.0, Dialect::Facemotion3d);
            voice.read(&bytes, MocapApp::IFacialMocap, at(count)).unwrap();
        }
        let (kind, face) = voice.read(&text(9.0, Dialect::Facemotion3d), MocapApp::IFacialMocap, at(201)).unwrap();
        assert!(face.frame.tracked, "and back at once");
        assert_eq!(kind, SourceKind::Facemotion3d);
        // Only percents, which may stand still.
        let mut voice = Voice::new();
        for count in 0..300_u32 {
            let bytes = format!("jawOpen-{}|eyeBlink_L-0|", count.min(90));
            let (kind, face) = voice.read(bytes.as_bytes(), MocapApp::Facemotion3d, at(count)).unwrap();
            assert!(face.frame.tracked);
            assert_eq!(kind, SourceKind::IFacialMocap);
        }
    }

    #[test]
    fn text_fmv3_is_requested_first() {
        let start = Instant::now();
        let at = |seconds: f32| start + Duration::from_secs_f32(seconds);
        let called = |call, app| Called { call, app, silent: None, called: None, speaks_text: false };
        let mut any = called(PhoneCall::any(ip(1)), SourceKind::IFacialMocap);
        assert_eq!(any.message(), (SocketAddr::new(ip(1), 49983), START_V2));
        let due: Vec<_> = (0..=60).filter(|tick| any.is_due(None, false, at(*tick as f32 / 10.0))).collect();
        assert_eq!(due, [30, 45, 60]);
        assert!(!any.is_due(Some(SourceKind::VTubeStudio), false, at(8.0)), "another app runs there");
        assert!(!any.is_due(None, false, at(8.1)));
        assert!(!any.is_due(None, true, at(20.0)), "busy with another receiver");
        assert!(any.is_due(None, false, at(20.0)));
        assert!(any.goodbye().is_none(), "v2 over UDP has no stop command");
        // Once it was heard to speak text, it is asked for text.
        assert!(!any.is_due(Some(SourceKind::IFacialMocap), false, at(21.0)));
        assert!(any.is_due(None, false, at(23.0)));

        let mut facemotion = called(PhoneCall::app(ip(1), SourceKind::Facemotion3d), SourceKind::Facemotion3d);
        assert!(facemotion.goodbye().is_none(), "never called");
        assert!(facemotion.is_due(None, false, start));
        assert_eq!(facemotion.message(), (SocketAddr::new(ip(1), 49993), START_FACEMOTION3D));
        assert!(!facemotion.is_due(Some(SourceKind::Facemotion3d), false, start));
        assert_eq!(facemotion.goodbye(), Some((SocketAddr::new(ip(1), 49993), STOP_FACEMOTION3D)));

        let tcp = PhoneCall { transport: PhoneTransport::Tcp, port: Some(5), ..PhoneCall::any(ip(1)) };
        let mut tcp = called(tcp, SourceKind::IFacialMocap);
        assert!(tcp.is_due(None, false, start));
        assert_eq!(tcp.message(), (SocketAddr::new(ip(1), 5), START_TCP));
        assert_eq!(tcp.goodbye(), Some((SocketAddr::new(ip(1), 5), STOP_TCP)));
    }

    #[test]
    fn text_broadcast_reaches_every_network() {
        let interfaces = [
            (Ipv4Addr::LOCALHOST, Some(Ipv4Addr::new(127, 255, 255, 255))),
            (Ipv4Addr::new(192, 0, 2, 7), Some(Ipv4Addr::new(192, 0, 2, 255))),
            (Ipv4Addr::new(198, 51, 100, 7), Some(Ipv4Addr::new(198, 51, 100, 255))),
            (Ipv4Addr::new(203, 0, 113, 7), None),
        ];
        let of = |bind: IpAddr| broadcasts(bind, interfaces.into_iter());
        let all = [Ipv4Addr::BROADCAST, Ipv4Addr::new(192, 0, 2, 255), Ipv4Addr::new(198, 51, 100, 255)];
        assert_eq!(of(Ipv4Addr::UNSPECIFIED.into()), all);
        assert_eq!(of([192, 0, 2, 7].into()), [Ipv4Addr::new(192, 0, 2, 255)]);
        assert!(of(std::net::Ipv6Addr::UNSPECIFIED.into()).is_empty());
    }

    #[test]
    fn text_frame_without_end_is_dropped() {
        let mut frames = Frames { buffer: vec![b'a'; MAX_FRAME_LEN], ..Frames::default() };
        assert_eq!(frames.next(), None);
        assert_eq!(frames.keep(), Ok(()));
        frames.buffer.extend_from_slice(&[b'a'; 100]);
        assert_eq!(frames.next(), None);
        assert_eq!(frames.keep(), Err(MocapError::TooLong(MAX_FRAME_LEN + 100)));
    }

    proptest! {
        #[test]
        fn text_stream_split_at_any_byte(
            texts in proptest::collection::vec("[a-z_|&0-9]{0,40}", 0..8),
            cuts in proptest::collection::vec(1_usize..30, 1..20),
        ) {
            let stream: String = texts.iter().map(|text| format!("{text}___iFacialMocap")).collect();
            let mut stream = stream.as_bytes();
            let mut cuts = cuts.into_iter().cycle();
            let mut frames = Frames::default();
            let mut read = Vec::new();
            while !stream.is_empty() {
                let (piece, rest) = stream.split_at(cuts.next().unwrap_or(1).min(stream.len()));
                stream = rest;
                frames.buffer.extend_from_slice(piece);
                while let Some(frame) = frames.next() {
                    read.push(String::from_utf8(frame.to_vec()).unwrap());
                }
                frames.keep().unwrap();
            }
            prop_assert!(frames.buffer.is_empty());
            // Underscores at the end of a name are read as a part of the frame end.
            prop_assert_eq!(read.concat().len(), texts.concat().len());
            prop_assert_eq!(read.len(), texts.len());
        }
    }
}
