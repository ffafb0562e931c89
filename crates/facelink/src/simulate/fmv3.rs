//! iFacialMocap and Facemotion3d v3: answers HELLO, waits for the acknowledgement, and sends for as long as its lease is
//! kept.

use std::{net::SocketAddr, time::Duration};

use super::phone::{Outbox, Phone, SimulatorConfig, Start, StreamEvent, StreamId};
use crate::{
    Blendshape, FaceFrame,
    source::PhoneTransport,
    time::Instant,
    wire::{
        fmv3::{
            self, Encoding, FLAG_TRACKED, HEADER_LEN, Header, Hello, Kind, MAX_DATAGRAM, Message, Part, REVISION,
            SCHEMA_DATAGRAM, Schema, Terms,
        },
        mocap_text,
    },
};

/// A schema that is not acknowledged is sent again this often, and one that is asked for no more often.
const SCHEMA_EVERY: Duration = Duration::from_secs(1);
/// A schema that was not acknowledged for this long is dropped, with the session.
const ACK_WITHIN: Duration = Duration::from_secs(10);
/// Between two attempts to reach an address that was typed in.
const START_EVERY: Duration = Duration::from_secs(1);

/// Whom it sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Udp(SocketAddr),
    Tcp(StreamId),
}

struct Session {
    peer: Peer,
    id: u64,
    hello: Option<Hello>,
    schema: Schema,
    body: Vec<u8>,
    is_acked: bool,
    began: Instant,
    schema_at: Instant,
    heard: Instant,
    sequence: u32,
}

pub(super) struct Fmv3 {
    to: Option<(SocketAddr, PhoneTransport)>,
    fps: u16,
    names: Vec<&'static str>,
    session: Option<Session>,
    /// Incomplete messages from streams.
    read: Vec<(StreamId, Vec<u8>)>,
    /// The stream to the address that was typed in.
    dialled: Option<StreamId>,
    started: Option<Instant>,
    /// The face that it sends while it tracks none: the last one.
    last: FaceFrame,
    body: Vec<u8>,
    /// Of the next session.
    next_id: u64,
}

impl Fmv3 {
    pub fn new(config: &SimulatorConfig, start: Start) -> Self {
        Self {
            to: config.to.map(|to| (to, config.transport)),
            fps: config.fps.round().clamp(1.0, 60.0) as u16,
            names: mocap_text::shuffled(start.seed).map(Blendshape::name).to_vec(),
            session: None,
            read: Vec::new(),
            dialled: None,
            started: None,
            last: FaceFrame::neutral(),
            body: Vec::new(),
            next_id: start.seed,
        }
    }

    fn begin(&mut self, peer: Peer, nonce: u64, hello: Option<Hello>, now: Instant, out: &mut Outbox) {
        let terms = Terms {
            nonce,
            fps: hello.map_or(60, |hello| hello.fps).min(self.fps),
            max_datagram: hello.map_or(MAX_DATAGRAM, |hello| hello.max_datagram),
            ..Terms::default()
        };
        let schema = Schema::new(1, terms, "iFacialMocap", Encoding::I16, self.names.iter().copied());
        let Ok((schema, body)) = schema.and_then(|schema| schema.body().map(|body| (schema, body))) else { return };
        // A linear congruential step: another number for each session. Never 0, for the version is among these bits.
        self.next_id = self.next_id.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let session = Session {
            peer,
            id: self.next_id.max(1),
            hello,
            schema,
            body,
            is_acked: matches!(peer, Peer::Tcp(_)),
            began: now,
            schema_at: now,
            heard: now,
            sequence: 0,
        };
        session.send_schema(out);
        self.session = Some(session);
    }

    /// Reaches out to the address that was typed in.
    fn start(&mut self, now: Instant, out: &mut Outbox) {
        self.started = Some(now);
        match self.to {
            Some((to, PhoneTransport::Udp)) => self.begin(Peer::Udp(to), 0, None, now, out),
            Some((to, PhoneTransport::Tcp)) => self.dialled = Some(out.connect(to)),
            None => {}
        }
    }

    fn on_message(&mut self, peer: Peer, part: Part<'_>, now: Instant, out: &mut Outbox) {
        let header = part.header;
        if header.kind == Kind::Hello {
            return self.on_hello(peer, part, now, out);
        }
        let Some(session) = self.session.as_mut().filter(|s| s.peer == peer && s.id == header.session) else { return };
        match header.kind {
            // Another acknowledgement than that of the schema does not keep the session alive either.
            Kind::SchemaAck if header.schema != session.schema.id => return,
            Kind::SchemaAck => session.is_acked = true,
            Kind::GetSchema => session.repeat_schema(now, out),
            Kind::Ping => send(peer, Message::new(Kind::Pong, session.id).with_sequence(header.sequence), out),
            Kind::Stop => {
                self.session = None;
                if let Peer::Tcp(id) = peer {
                    out.hang_up(id);
                }
                return;
            }
            Kind::Hello | Kind::Schema | Kind::Frame | Kind::Pong | Kind::Error => return,
        }
        session.heard = now;
    }

    fn on_hello(&mut self, peer: Peer, part: Part<'_>, now: Instant, out: &mut Outbox) {
        let nonce = part.header.session;
        let refuse = |text: &str, out: &mut Outbox| {
            send(peer, Message::new(Kind::Error, nonce).with_body(text.as_bytes()), out);
            if let Peer::Tcp(id) = peer {
                out.hang_up(id);
            }
        };
        let hello = match Hello::read(part.chunk) {
            Ok(hello) if hello.revision == REVISION => hello,
            Ok(_) => return refuse("UNSUPPORTED_CONTRACT: requires 5", out),
            Err(_) => return refuse("INVALID_HELLO", out),
        };
        match &mut self.session {
            // Sending to an address that was typed in counts as well.
            None if self.to.is_some() => refuse("BUSY", out),
            None => self.begin(peer, nonce, Some(hello), now, out),
            Some(session) if session.peer == peer && session.schema.terms.nonce == nonce => {
                if session.hello == Some(hello) {
                    session.heard = now;
                    session.repeat_schema(now, out);
                } else {
                    refuse("HELLO_SETTINGS_CHANGED", out);
                }
            }
            Some(_) => refuse("BUSY", out),
        }
    }

    /// Takes the messages that are whole; `false` when there is one that is none.
    fn on_bytes(&mut self, id: StreamId, bytes: &[u8], now: Instant, out: &mut Outbox) -> bool {
        let Some(place) = self.read.iter().position(|(stream, _)| *stream == id) else { return false };
        let mut read = std::mem::take(&mut self.read[place].1);
        read.extend_from_slice(bytes);
        let mut used = 0;
        while let Some((header, rest)) = read.get(used..).and_then(|rest| rest.split_first_chunk::<HEADER_LEN>()) {
            let Ok(header) = Header::read(header) else { return false };
            let Some(chunk) = rest.get(..header.chunk as usize) else { break };
            self.on_message(Peer::Tcp(id), Part { header, chunk }, now, out);
            used += HEADER_LEN + chunk.len();
        }
        read.drain(..used);
        self.read[place].1 = read;
        true
    }
}

fn send(peer: Peer, message: Message<'_>, out: &mut Outbox) {
    match peer {
        Peer::Udp(to) => message.write(out.datagram(to)),
        Peer::Tcp(id) => message.write(out.stream(id)),
    }
}

fn send_in_parts(peer: Peer, message: Message<'_>, size: usize, out: &mut Outbox) {
    match peer {
        Peer::Udp(to) => {
            for part in 0..message.parts(size) {
                message.write_part(size, part, out.datagram(to));
            }
        }
        Peer::Tcp(id) => message.write(out.stream(id)),
    }
}

impl Session {
    fn send_schema(&self, out: &mut Outbox) {
        let message = Message::new(Kind::Schema, self.id).with_schema(self.schema.id).with_body(&self.body);
        send_in_parts(self.peer, message, SCHEMA_DATAGRAM, out);
    }

    fn repeat_schema(&mut self, now: Instant, out: &mut Outbox) {
        let is_udp = matches!(self.peer, Peer::Udp(_));
        if !is_udp || now.saturating_duration_since(self.schema_at) >= SCHEMA_EVERY {
            self.schema_at = now;
            self.send_schema(out);
        }
    }
}

impl Phone for Fmv3 {
    fn port(&self) -> Option<u16> {
        Some(fmv3::PORT)
    }

    fn stream_port(&self) -> Option<u16> {
        self.to.is_none().then_some(fmv3::TCP_PORT)
    }

    fn on_start(&mut self, now: Instant, out: &mut Outbox) {
        self.start(now, out);
    }

    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outbox) {
        if let Ok(part) = Part::read(datagram) {
            self.on_message(Peer::Udp(from), part, now, out);
        }
    }

    fn on_stream(&mut self, id: StreamId, event: &StreamEvent<'_>, now: Instant, out: &mut Outbox) {
        match event {
            StreamEvent::Opened => {
                self.read.push((id, Vec::new()));
                if self.dialled == Some(id) {
                    self.begin(Peer::Tcp(id), 0, None, now, out);
                }
            }
            StreamEvent::Bytes(bytes) => {
                if !self.on_bytes(id, bytes, now, out) {
                    out.hang_up(id);
                }
            }
            StreamEvent::Closed => {
                self.read.retain(|(stream, _)| *stream != id);
                self.dialled = self.dialled.filter(|dialled| *dialled != id);
                self.session = self.session.take().filter(|session| session.peer != Peer::Tcp(id));
            }
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut Outbox) {
        if let Some(session) = &mut self.session {
            let (peer, id) = (session.peer, session.id);
            if !session.is_acked {
                if now.saturating_duration_since(session.began) >= ACK_WITHIN {
                    send(peer, Message::new(Kind::Error, id).with_body(b"SCHEMA_ACK_TIMEOUT"), out);
                    self.session = None;
                } else {
                    session.repeat_schema(now, out);
                }
            } else if now.saturating_duration_since(session.heard) >= session.schema.terms.lease {
                self.session = None;
                if let Peer::Tcp(id) = peer {
                    out.hang_up(id);
                }
            }
            return;
        }
        let due = self.started.is_none_or(|started| now.saturating_duration_since(started) >= START_EVERY);
        if self.to.is_some() && self.dialled.is_none() && due {
            self.start(now, out);
        }
    }

    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        if frame.tracked {
            self.last.clone_from(frame);
        }
        let Some(session) = self.session.as_mut().filter(|session| session.is_acked) else { return Ok(()) };
        self.body.clear();
        session.schema.encode(&self.last, &fmv3::PROFILE, &mut self.body).map_err(|error| error.to_string())?;
        session.sequence = session.sequence.wrapping_add(1);
        let message = Message {
            flags: if frame.tracked { FLAG_TRACKED } else { 0 },
            ..Message::new(Kind::Frame, session.id)
                .with_schema(session.schema.id)
                .with_sequence(session.sequence)
                .with_body(&self.body)
        };
        send_in_parts(session.peer, message, session.schema.terms.max_datagram.into(), out);
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_acked)
    }

    fn on_stop(&mut self, _now: Instant, out: &mut Outbox) {
        // Over UDP the app just falls silent.
        if let Some(Session { peer: Peer::Tcp(id), .. }) = self.session.take() {
            out.hang_up(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 5);

    fn phone(to: Option<SocketAddr>) -> Fmv3 {
        let start = Start { now: Instant::now(), unix: Duration::ZERO, seed: 7 };
        Fmv3::new(&SimulatorConfig::new(crate::source::SourceKind::IFacialMocapV3, to), start)
    }

    /// Messages sent since the last call, by kind.
    fn sent(out: &mut Outbox) -> Vec<(Kind, u64, Vec<u8>)> {
        let read = out.take_datagrams().map(|(_, bytes)| Part::read(bytes).unwrap());
        read.map(|part| (part.header.kind, part.header.session, part.chunk.to_vec())).collect()
    }

    fn kinds(out: &mut Outbox) -> Vec<Kind> {
        sent(out).into_iter().map(|(kind, ..)| kind).collect()
    }

    fn deliver(phone: &mut Fmv3, from: SocketAddr, message: Message<'_>, now: Instant, out: &mut Outbox) {
        let mut bytes = Vec::new();
        message.write(&mut bytes);
        phone.on_datagram(from, &bytes, now, out);
    }

    #[test]
    fn fmv3_phone_sends_only_between_acknowledgement_and_lease_end() {
        let start = Instant::now();
        let at = |seconds: f32| start + Duration::from_secs_f32(seconds);
        let (mut phone, mut out) = (phone(None), Outbox::default());
        let face = FaceFrame::neutral();
        let hello = Hello::default().body();
        let hello = Message::new(Kind::Hello, 77).with_body(&hello);
        phone.on_frame(&face, start, &mut out).unwrap();
        assert!(kinds(&mut out).is_empty() && !phone.is_streaming(start));
        deliver(&mut phone, CALLER, hello, start, &mut out);
        let schema = sent(&mut out);
        assert_eq!(schema.len(), 3, "cut at 576 bytes");
        assert!(schema.iter().all(|(kind, ..)| *kind == Kind::Schema));
        let session = schema[0].1;
        phone.on_frame(&face, start, &mut out).unwrap();
        deliver(&mut phone, CALLER, hello, at(0.5), &mut out);
        assert!(kinds(&mut out).is_empty(), "no frame, and no schema within a second");
        phone.on_tick(at(1.0), &mut out);
        assert_eq!(kinds(&mut out), [Kind::Schema; 3]);

        deliver(&mut phone, CALLER, Message::new(Kind::SchemaAck, session).with_schema(1), at(1.0), &mut out);
        phone.on_frame(&face, at(1.0), &mut out).unwrap();
        assert_eq!(kinds(&mut out), [Kind::Frame]);
        deliver(&mut phone, CALLER, Message::new(Kind::Ping, session).with_sequence(4), at(9.0), &mut out);
        assert_eq!(kinds(&mut out), [Kind::Pong]);
        let mut other = CALLER;
        other.set_port(6);
        deliver(&mut phone, other, Message { session: 78, ..hello }, at(10.0), &mut out);
        assert_eq!(sent(&mut out), [(Kind::Error, 78, b"BUSY".to_vec())]);
        phone.on_tick(at(18.9), &mut out);
        assert!(phone.is_streaming(start));
        phone.on_tick(at(19.0), &mut out);
        assert!(!phone.is_streaming(start));
    }

    #[test]
    fn fmv3_phone_refuses_with_a_reason() {
        let start = Instant::now();
        let (mut phone, mut out) = (phone(None), Outbox::default());
        let body = Hello { revision: 4, ..Hello::default() }.body();
        deliver(&mut phone, CALLER, Message::new(Kind::Hello, 1).with_body(&body), start, &mut out);
        assert_eq!(sent(&mut out), [(Kind::Error, 1, b"UNSUPPORTED_CONTRACT: requires 5".to_vec())]);
        let body = Hello { fps: 0, ..Hello::default() }.body();
        deliver(&mut phone, CALLER, Message::new(Kind::Hello, 1).with_body(&body), start, &mut out);
        assert_eq!(sent(&mut out), [(Kind::Error, 1, b"INVALID_HELLO".to_vec())]);
        let body = Hello::default().body();
        deliver(&mut phone, CALLER, Message::new(Kind::Hello, 1).with_body(&body), start, &mut out);
        kinds(&mut out);
        for second in 1..10 {
            phone.on_tick(start + Duration::from_secs(second), &mut out);
            assert_eq!(kinds(&mut out), [Kind::Schema; 3]);
        }
        phone.on_tick(start + ACK_WITHIN, &mut out);
        let (kind, _, text) = sent(&mut out).remove(0);
        assert_eq!((kind, text), (Kind::Error, b"SCHEMA_ACK_TIMEOUT".to_vec()));
    }

    #[test]
    fn fmv3_phone_with_address_begins_without_hello() {
        let start = Instant::now();
        let (mut phone, mut out) = (phone(Some(CALLER)), Outbox::default());
        phone.on_start(start, &mut out);
        let schema = sent(&mut out);
        assert_eq!(schema[0].2[..8], [0; 8], "no caller yet");
        let body = Hello::default().body();
        let mut other = CALLER;
        other.set_port(6);
        deliver(&mut phone, other, Message::new(Kind::Hello, 1).with_body(&body), start, &mut out);
        assert_eq!(sent(&mut out), [(Kind::Error, 1, b"BUSY".to_vec())]);
        deliver(&mut phone, CALLER, Message::new(Kind::Stop, schema[0].1), start, &mut out);
        phone.on_tick(start + START_EVERY, &mut out);
        assert_eq!(kinds(&mut out), [Kind::Schema; 3], "and again");
    }
}
