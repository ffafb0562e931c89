//! `FMV3` on sockets: phones over UDP, and streams over TCP in either direction.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    intake::{Arrived, Intake, Sender},
    port_stats::PortCounters,
    protocol::{self, Io, Protocol},
    receiver::{Event, Out, Receiver, Rhythm},
    roster::PhoneState,
};
use crate::{clock::ticks, phone_config::PhoneCall};
use facelink::source::{PhonePort, PhoneTransport, SourceKind};
use facelink::wire::fmv3::{self, HEADER_LEN, Header, Part};

const KIND: SourceKind = SourceKind::IFacialMocapV3;
/// Phones on one port that started a session themselves; more than any user has.
const MAX_PHONES: usize = 32;
/// HELLOs without an answer after which a phone that refused counts as gone.
const GONE_AFTER: u32 = 3;
/// A connection that brings no schema for this long is closed.
const SCHEMA_WITHIN: Duration = Duration::from_secs(5);
/// For a connection to a phone to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Between two attempts to connect, of the first few.
const CONNECT_EVERY: Duration = Duration::from_secs(1);
/// Between two of those that follow.
const CONNECT_THEN: Duration = Duration::from_secs(5);
/// Attempts in quick succession.
const FIRST_ATTEMPTS: u32 = 5;
/// A phone that reads nothing for this long is gone.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// Between two looks at a stream's session.
const TICK: Duration = Duration::from_millis(100);

struct Phone {
    address: SocketAddr,
    receiver: Receiver,
    heard: Instant,
    /// It was called, so that a STOP is sent when the call ends.
    is_called: bool,
}

/// A connection that is made to a phone for as long as it is called.
struct Dial {
    call: PhoneCall,
    cancel: CancellationToken,
}

impl Drop for Dial {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

pub(super) struct Fmv3 {
    port: PhonePort,
    phones: Vec<Phone>,
    dials: Vec<Dial>,
    /// Phones that were last heard to speak text.
    speak_text: Vec<IpAddr>,
}

impl Fmv3 {
    pub fn new(port: PhonePort) -> Self {
        Self { port, phones: Vec::new(), dials: Vec::new(), speak_text: Vec::new() }
    }

    /// The place of a phone, which is made if need be. Those that are called are bounded by the roster.
    fn phone(&mut self, address: SocketAddr, is_called: bool, now: Instant) -> usize {
        if let Some(place) = self.phones.iter().position(|phone| phone.address == address) {
            return place;
        }
        let uncalled = || self.phones.iter().enumerate().filter(|(_, phone)| !phone.is_called);
        if !is_called && uncalled().count() >= MAX_PHONES {
            // A phone in a session has precedence over the newest address.
            let least = uncalled().min_by_key(|(_, phone)| (phone.receiver.is_running(), phone.heard));
            if let Some((place, _)) = least {
                self.phones.swap_remove(place);
            }
        }
        self.phones.push(Phone { address, receiver: Receiver::new(false), heard: now, is_called });
        self.phones.len() - 1
    }

    /// Connections to the phones that shall send over TCP.
    fn dial(&mut self, io: &Io<'_>, now: Instant) {
        let calls: Vec<_> = io.phones().roster.calls(KIND, now).into_iter().map(|(call, _)| call).collect();
        let wanted = |call: &PhoneCall| call.app == Some(KIND) && call.transport == PhoneTransport::Tcp;
        self.dials.retain(|dial| calls.contains(&dial.call));
        for call in calls.into_iter().filter(wanted) {
            if self.dials.iter().any(|dial| dial.call == call) {
                continue;
            }
            let Some(counters) = io.phones().port(self.port) else { continue };
            let cancel = CancellationToken::new();
            tokio::spawn(dial(io.phones().clone(), counters, call, cancel.clone()));
            self.dials.push(Dial { call, cancel });
        }
    }
}

fn send_all(io: &Io<'_>, to: SocketAddr, out: &mut Out) {
    for datagram in out.drain(..) {
        io.send(to, &datagram);
    }
}

impl Protocol for Fmv3 {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        let part = match Part::read(datagram) {
            Ok(part) => part,
            Err(error) => return io.refuse(Some(KIND), from, &error, now),
        };
        let known = self.phones.iter().any(|phone| phone.address == from);
        if !known && part.header.kind != fmv3::Kind::Schema {
            let error = "a session begins with a schema";
            return io.refuse(Some(KIND), from, &error, now);
        }
        let place = self.phone(from, false, now);
        let Some(phone) = self.phones.get_mut(place) else { return };
        let mut out = Out::new();
        let event = phone.receiver.on_part(part, now, &mut out);
        let program = io.intake.program_of(from, now);
        phone.heard = now;
        send_all(io, from, &mut out);
        match event {
            Ok(Event::Face(face)) => {
                let Some(program) = program else { return };
                let sender = sender(program, phone.receiver.app());
                let arrived = Arrived { face: Some(face), bytes: datagram.len(), ..Arrived::default() };
                io.take(&sender, from, arrived, now);
            }
            Ok(event) => {
                io.noted(KIND, from, now);
                if matches!(event, Event::Began) {
                    // The phone sent text until now, and continues as the same subject.
                    for kind in [SourceKind::IFacialMocap, SourceKind::Facemotion3d] {
                        io.intake.leave(kind, program.unwrap_or(from), "goes on as FMV3", false, now);
                    }
                }
                note(io.phones(), from.ip(), &event);
            }
            Err(error) => io.refuse(Some(KIND), from, &error, now),
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        let phones = io.phones().clone();
        let roster = &phones.roster;
        let mut calls = roster.calls(KIND, now);
        calls.extend(roster.calls(SourceKind::IFacialMocap, now).into_iter().filter(|(call, _)| call.app.is_some()));
        calls.retain(|(call, _)| call.transport == PhoneTransport::Udp);
        self.speak_text.retain(|address| calls.iter().any(|(call, _)| call.address == *address));

        let mut out = Out::new();
        let mut wanted = Vec::with_capacity(calls.len());
        for (call, heard) in &calls {
            let to = call.to(fmv3::PORT);
            wanted.push(to);
            match heard {
                Some(KIND) => self.speak_text.retain(|address| *address != call.address),
                Some(SourceKind::IFacialMocap | SourceKind::Facemotion3d)
                    if !self.speak_text.contains(&call.address) =>
                {
                    self.speak_text.push(call.address);
                }
                _ => {}
            }
            let place = self.phone(to, true, now);
            let rhythm = match (call.app, heard) {
                // It sends, by whichever protocol.
                (_, Some(_)) => None,
                (Some(KIND), None) => Some(Rhythm::KNOWN),
                (_, None) if self.speak_text.contains(&call.address) => Some(Rhythm::UNLIKELY),
                (_, None) => Some(Rhythm::POSSIBLE),
            };
            let Some(phone) = self.phones.get_mut(place) else { continue };
            phone.is_called = true;
            phone.receiver.on_tick(rhythm, now, &mut out);
            if !out.is_empty() && phone.receiver.unanswered() == GONE_AFTER {
                roster.note(call.address, |status| {
                    if matches!(status.state, PhoneState::Refused(_)) {
                        status.state = PhoneState::Calling;
                    }
                });
            }
            send_all(io, to, &mut out);
        }
        let timeout = io.hub().config.subject_timeout;
        self.phones.retain_mut(|phone| {
            if wanted.contains(&phone.address) {
                return true;
            }
            if phone.is_called {
                phone.receiver.on_stop(&mut out);
                send_all(io, phone.address, &mut out);
                return false;
            }
            phone.receiver.on_tick(None, now, &mut out);
            send_all(io, phone.address, &mut out);
            phone.receiver.is_running() || now.saturating_duration_since(phone.heard) < timeout
        });
        self.dial(io, now);
    }

    fn on_stop(&mut self, io: &mut Io<'_>, _now: Instant) {
        let mut out = Out::new();
        for phone in &mut self.phones {
            phone.receiver.on_stop(&mut out);
            send_all(io, phone.address, &mut out);
        }
        self.dials.clear();
    }
}

fn sender(from: SocketAddr, app: Option<&str>) -> Sender<'_> {
    let name = app.unwrap_or("iFacialMocap");
    Sender::of_port(KIND, from, Some(name))
}

/// What the phone said is shown to those who call it.
fn note(phones: &Phones, address: IpAddr, event: &Event) {
    let state = match event {
        Event::Began => PhoneState::Answered,
        Event::Refused(text) => {
            tracing::info!(%address, text, "the phone refuses");
            PhoneState::Refused(text.clone())
        }
        Event::Nothing | Event::Face(_) => return,
    };
    phones.roster.note(address, |status| status.state = state);
}

/// Connects to a phone, again and again, until it is not wanted any more.
async fn dial(phones: Arc<Phones>, counters: Arc<PortCounters>, call: PhoneCall, cancel: CancellationToken) {
    let to = call.to(fmv3::TCP_PORT);
    let mut attempts = 0;
    loop {
        let heard = phones.roster.calls(KIND, Instant::now()).into_iter().find(|(other, _)| *other == call);
        let sends_otherwise = heard.is_some_and(|(_, heard)| heard.is_some());
        if !sends_otherwise {
            attempts += 1;
            let connected = tokio::select! {
                () = cancel.cancelled() => return,
                connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(to)) => connected,
            };
            match connected {
                Ok(Ok(stream)) => {
                    if serve_connection(&phones, stream, &counters, to, true, &[], &cancel).await {
                        attempts = 0;
                    }
                }
                Ok(Err(error)) => tracing::debug!(%to, %error, "no connection"),
                Err(_) => tracing::debug!(%to, "no connection in time"),
            }
        }
        let wait = if attempts < FIRST_ATTEMPTS { CONNECT_EVERY } else { CONNECT_THEN };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Receives over one connection until it ends, beginning with what was `read` of it. `true` when there was a session.
pub(super) async fn serve_connection(
    phones: &Arc<Phones>,
    mut stream: TcpStream,
    counters: &PortCounters,
    from: SocketAddr,
    says_hello: bool,
    read: &[u8],
    cancel: &CancellationToken,
) -> bool {
    let _ = stream.set_nodelay(true);
    let mut intake = Intake::new(phones.clone());
    let mut connection =
        Connection { receiver: Receiver::new(true), buffer: Vec::new(), began: false, opened: Instant::now(), from };
    let mut out = Out::new();
    if says_hello {
        connection.receiver.say_hello(&mut out);
    }
    let mut ticks = ticks(TICK);
    let mut piece = vec![0; 16 * 1024];
    let mut waiting = Some(read).filter(|read| !read.is_empty());
    let (reason, goodbye) = loop {
        if !write_all(&mut stream, &mut out).await {
            break ("the phone does not read".to_owned(), false);
        }
        let received = match waiting.take() {
            Some(read) => Some(Ok(read)),
            None => tokio::select! {
                () = cancel.cancelled() => break ("not wanted any more".to_owned(), true),
                _ = ticks.tick() => None,
                received = stream.read(&mut piece) => Some(received.map(|len| piece.get(..len).unwrap_or_default())),
            },
        };
        let now = Instant::now();
        match received {
            Some(Ok([])) => break ("closed by the phone".to_owned(), false),
            Some(Err(error)) => break (error.to_string(), false),
            Some(Ok(bytes)) => {
                if let Err(error) = connection.on_bytes(bytes, &mut intake, counters, now, &mut out) {
                    protocol::refuse(&intake, counters, Some(KIND), from, &error, now);
                    break (error.to_string(), false);
                }
            }
            None => {
                if connection.receiver.on_tick(None, now, &mut out) {
                    break ("silent".to_owned(), false);
                }
                if !connection.receiver.is_running()
                    && now.saturating_duration_since(connection.opened) >= SCHEMA_WITHIN
                {
                    break ("no schema came".to_owned(), false);
                }
            }
        }
    };
    connection.receiver.on_stop(&mut out);
    write_all(&mut stream, &mut out).await;
    let now = Instant::now();
    intake.leave(KIND, from, &reason, goodbye, now);
    tracing::debug!(%from, reason, "an FMV3 connection has ended");
    connection.began
}

async fn write_all(stream: &mut TcpStream, out: &mut Out) -> bool {
    for bytes in out.drain(..) {
        match tokio::time::timeout(WRITE_WITHIN, stream.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            _ => return false,
        }
    }
    true
}

struct Connection {
    receiver: Receiver,
    buffer: Vec<u8>,
    began: bool,
    opened: Instant,
    from: SocketAddr,
}

impl Connection {
    /// Takes the messages that are whole. What follows a message that is none cannot be read either.
    fn on_bytes(
        &mut self,
        bytes: &[u8],
        intake: &mut Intake,
        counters: &PortCounters,
        now: Instant,
        out: &mut Out,
    ) -> Result<(), fmv3::Fmv3Error> {
        self.buffer.extend_from_slice(bytes);
        let mut used = 0;
        while let Some((header, rest)) = self.buffer.get(used..).and_then(|rest| rest.split_first_chunk::<HEADER_LEN>())
        {
            let header = Header::read(header)?;
            if header.parts != 1 {
                let wanted = "though over TCP nothing is cut";
                return Err(fmv3::Fmv3Error::Field { field: "parts", found: header.parts.into(), wanted });
            }
            // Bounded by the longest body of its kind.
            let Some(chunk) = rest.get(..header.chunk as usize) else { break };
            counters.datagrams.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            match self.receiver.on_part(Part { header, chunk }, now, out)? {
                Event::Face(face) => {
                    let sender = sender(self.from, self.receiver.app());
                    let arrived = Arrived { face: Some(face), bytes: HEADER_LEN + chunk.len(), ..Arrived::default() };
                    protocol::take(intake, counters, &sender, self.from, arrived, now);
                }
                event => {
                    self.began |= matches!(event, Event::Began);
                    counters.record(self.from, Some(KIND), None, now);
                    note(&intake.phones, self.from.ip(), &event);
                }
            }
            used += HEADER_LEN + chunk.len();
        }
        self.buffer.drain(..used);
        Ok(())
    }
}
