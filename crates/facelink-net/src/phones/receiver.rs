//! The receiving side of `FMV3`, without sockets or clocks: one phone.
//!
//! HELLO, five times a second apart, then seldom, for as long as this phone is called; SCHEMA, acknowledged over UDP;
//! frames, with a PING every three seconds. Without a frame for three seconds the schema is asked for, three times; without
//! one for twelve the session is taken to be over. A session that the phone starts, with the nonce 0, is accepted.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use facelink::wire::{
    fmv3::{Count, Fmv3Error, Hello, Kind, Message, Part, Reassembler, Schema, Terms, error_text},
    profile::SourceFace,
};

/// Between two HELLOs of the first few.
const HELLO_EVERY: Duration = Duration::from_secs(1);
/// Between two PINGs; three in every lease that a phone may set, but for the shortest.
const PING_EVERY: Duration = Duration::from_secs(3);
/// Without a frame for this long, the schema is asked for again.
const REPAIR_AFTER: Duration = Duration::from_secs(3);
/// Between two attempts at that, and between two answers to a schema that is known.
const REPAIR_EVERY: Duration = Duration::from_secs(1);
/// Attempts at that.
const REPAIRS: u32 = 3;
/// Without a frame for this long, the session is over.
const OVER_AFTER: Duration = Duration::from_secs(12);
/// Sessions that were replaced, of which nothing is taken any more.
const MAX_GONE: usize = 32;

/// How often a phone is called that does not send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    /// HELLOs a second apart, to begin with.
    pub first: u32,
    /// Between two of those that follow.
    pub then: Duration,
}

impl Rhythm {
    /// For a phone that is known to speak `FMV3`.
    pub const KNOWN: Self = Self { first: 5, then: Duration::from_secs(5) };
    /// For one that may do so, and may speak text instead.
    pub const POSSIBLE: Self = Self { first: 3, then: Duration::from_secs(10) };
    /// For one that was heard to speak text.
    pub const UNLIKELY: Self = Self { first: 0, then: Duration::from_secs(10) };
}

/// What a message brought.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "most are faces, sixty times a second, and a box would cost an allocation"
)]
pub(super) enum Event {
    /// Nothing to report.
    Nothing,
    /// A session began: the phone will send.
    Began,
    /// A face.
    Face(SourceFace),
    /// The phone said no, or that the session is over; in its own words.
    Refused(String),
}

/// Messages to send: few and short.
pub(super) type Out = Vec<Vec<u8>>;

fn send(out: &mut Out, message: Message<'_>) {
    let mut bytes = Vec::new();
    message.write(&mut bytes);
    out.push(bytes);
}

#[derive(Debug)]
struct Session {
    id: u64,
    schema: Schema,
    /// The last frame that was newer than all before it, or the schema before the first one.
    frame_at: Instant,
    ping_at: Instant,
    ping: u32,
    repairs: u32,
    repair_at: Instant,
    acked_at: Instant,
}

/// One phone.
#[derive(Debug)]
pub(super) struct Receiver {
    is_tcp: bool,
    hello: Hello,
    /// Of the HELLO that is not answered yet; 0 for none.
    nonce: u64,
    hellos: u32,
    /// Of them, those since the phone's last packet.
    unanswered: u32,
    hello_at: Option<Instant>,
    session: Option<Session>,
    parts: Reassembler,
    count: Count,
    gone: VecDeque<u64>,
}

impl Receiver {
    pub fn new(is_tcp: bool) -> Self {
        Self {
            is_tcp,
            hello: Hello::default(),
            nonce: 0,
            hellos: 0,
            unanswered: 0,
            hello_at: None,
            session: None,
            parts: Reassembler::new(),
            count: Count::default(),
            gone: VecDeque::new(),
        }
    }

    /// Whether a session runs.
    pub fn is_running(&self) -> bool {
        self.session.is_some()
    }

    /// HELLOs that went out since anything came from the phone.
    pub fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// What the app calls itself.
    pub fn app(&self) -> Option<&str> {
        self.session.as_ref().map(|session| &*session.schema.app).filter(|app| !app.is_empty())
    }

    /// Takes a message or a part of one.
    pub fn on_part(&mut self, part: Part<'_>, now: Instant, out: &mut Out) -> Result<Event, Fmv3Error> {
        self.unanswered = 0;
        match part.header.kind {
            Kind::Frame => self.on_frame(part, now, out),
            Kind::Schema => self.on_schema(part, now, out),
            Kind::Pong => Ok(Event::Nothing),
            Kind::Error => {
                let text = error_text(part.chunk)?;
                if self.session.as_ref().is_some_and(|session| session.id == part.header.session) {
                    self.end();
                } else if self.session.is_none() && self.nonce != 0 && self.nonce == part.header.session {
                    self.nonce = 0;
                } else {
                    return Ok(Event::Nothing);
                }
                Ok(Event::Refused(text.to_owned()))
            }
            kind @ (Kind::Hello | Kind::SchemaAck | Kind::GetSchema | Kind::Ping | Kind::Stop) => {
                Err(Fmv3Error::Field {
                    field: "message type",
                    found: kind as u64,
                    wanted: "which is for the phone to read",
                })
            }
        }
    }

    fn on_frame(&mut self, part: Part<'_>, now: Instant, out: &mut Out) -> Result<Event, Fmv3Error> {
        let Some(session) = self.session.as_mut().filter(|session| session.id == part.header.session) else {
            if self.gone.contains(&part.header.session) {
                return Ok(Event::Nothing);
            }
            let wanted = "which has sent no schema";
            return Err(Fmv3Error::Field { field: "session", found: part.header.session, wanted });
        };
        if part.header.schema != session.schema.id {
            // Late ones of the schema before are left out.
            let is_newer = part.header.schema > session.schema.id;
            if is_newer && now.saturating_duration_since(session.repair_at) >= REPAIR_EVERY {
                session.repair_at = now;
                send(out, Message::new(Kind::GetSchema, session.id));
            }
            return Ok(Event::Nothing);
        }
        let Some((header, body)) = self.parts.take(part, now)? else { return Ok(Event::Nothing) };
        let mut face = session.schema.decode(&header, &body)?;
        // Late and repeated ones too: the subject decides what its sender's numbers are worth.
        let (number, _) = self.count.take(header.sequence);
        face.frame.sequence = Some(number);
        session.frame_at = now;
        session.repairs = 0;
        Ok(Event::Face(face))
    }

    fn on_schema(&mut self, part: Part<'_>, now: Instant, out: &mut Out) -> Result<Event, Fmv3Error> {
        let header = part.header;
        if let Some(session) = self.session.as_mut().filter(|session| session.id == header.session) {
            if header.schema < session.schema.id {
                return Ok(Event::Nothing);
            }
            if header.schema == session.schema.id {
                if !self.is_tcp && now.saturating_duration_since(session.acked_at) >= REPAIR_EVERY {
                    session.acked_at = now;
                    send(out, Message::new(Kind::SchemaAck, session.id).with_schema(session.schema.id));
                }
                return Ok(Event::Nothing);
            }
        } else {
            if self.gone.contains(&header.session) {
                return Ok(Event::Nothing);
            }
            // A running stream is not taken over.
            let runs = |session: &Session| now.saturating_duration_since(session.frame_at) < REPAIR_AFTER;
            if self.session.as_ref().is_some_and(runs) {
                return Ok(Event::Nothing);
            }
        }
        let Some((header, body)) = self.parts.take(part, now)? else { return Ok(Event::Nothing) };
        let schema = Schema::read(header.schema, &body)?;
        let ack = Message::new(Kind::SchemaAck, header.session).with_schema(schema.id);
        match self.session.as_mut().filter(|session| session.id == header.session) {
            Some(session) => {
                if session.schema.terms != schema.terms {
                    let wanted = "though the terms of a session do not change";
                    return Err(Fmv3Error::Field { field: "schema", found: schema.id.into(), wanted });
                }
                session.schema = schema;
                session.acked_at = now;
                if !self.is_tcp {
                    send(out, ack);
                }
                Ok(Event::Nothing)
            }
            None => {
                self.check(&schema.terms)?;
                self.end();
                self.session = Some(Session {
                    id: header.session,
                    schema,
                    frame_at: now,
                    ping_at: now,
                    ping: 0,
                    repairs: 0,
                    repair_at: now,
                    acked_at: now,
                });
                if !self.is_tcp {
                    send(out, ack);
                }
                Ok(Event::Began)
            }
        }
    }

    /// Whether a session may begin on these terms.
    fn check(&self, terms: &Terms) -> Result<(), Fmv3Error> {
        let refuse = |field, found, wanted| Err(Fmv3Error::Field { field, found, wanted });
        if terms.nonce == 0 {
            return Ok(());
        }
        if terms.nonce != self.nonce {
            return refuse("nonce", terms.nonce, "which is not that of our HELLO");
        }
        if terms.fps > self.hello.fps {
            return refuse("frame rate", terms.fps.into(), "which is more than was asked for");
        }
        if terms.max_datagram > self.hello.max_datagram {
            return refuse("largest datagram", terms.max_datagram.into(), "which is more than was asked for");
        }
        Ok(())
    }

    /// The session is over, if one runs.
    fn end(&mut self) {
        if let Some(session) = self.session.take() {
            if self.gone.len() >= MAX_GONE {
                self.gone.pop_front();
            }
            self.gone.push_back(session.id);
        }
        self.nonce = 0;
        self.hellos = 0;
        self.hello_at = None;
        self.count.restart();
    }

    /// Keeps a session going, or calls the phone if it is wanted. `true` when a session has just ended.
    pub fn on_tick(&mut self, calling: Option<Rhythm>, now: Instant, out: &mut Out) -> bool {
        let Some(session) = &mut self.session else {
            if let Some(rhythm) = calling {
                self.call(rhythm, now, out);
            }
            return false;
        };
        let silence = now.saturating_duration_since(session.frame_at);
        if silence >= OVER_AFTER {
            self.end();
            // The phone ends the session when its lease is over: it is not called before.
            self.hello_at = Some(now);
            return true;
        }
        let id = session.id;
        if now.saturating_duration_since(session.ping_at) >= PING_EVERY.min(session.schema.terms.lease / 3) {
            session.ping_at = now;
            session.ping = session.ping.wrapping_add(1);
            send(out, Message::new(Kind::Ping, id).with_sequence(session.ping));
        }
        let due = session.repairs == 0 || now.saturating_duration_since(session.repair_at) >= REPAIR_EVERY;
        if silence >= REPAIR_AFTER && session.repairs < REPAIRS && due {
            session.repairs += 1;
            session.repair_at = now;
            if !self.is_tcp {
                session.acked_at = now;
                send(out, Message::new(Kind::SchemaAck, id).with_schema(session.schema.id));
            }
            send(out, Message::new(Kind::GetSchema, id));
        }
        false
    }

    fn call(&mut self, rhythm: Rhythm, now: Instant, out: &mut Out) {
        let wait = if self.hellos < rhythm.first { HELLO_EVERY } else { rhythm.then };
        match self.hello_at {
            Some(at) if now.saturating_duration_since(at) < wait => return,
            // One that is hardly worth it waits before the first, too.
            None if rhythm.first == 0 => {
                self.hello_at = Some(now);
                return;
            }
            _ => {}
        }
        self.hello_at = Some(now);
        self.hellos = self.hellos.saturating_add(1);
        self.say_hello(out);
    }

    /// HELLO, the same for as long as it is not answered.
    pub fn say_hello(&mut self, out: &mut Out) {
        if self.nonce == 0 {
            // Never 0: the version is among these bits.
            self.nonce = (uuid::Uuid::new_v4().as_u128() >> 64) as u64;
        }
        self.unanswered = self.unanswered.saturating_add(1);
        let body = self.hello.body();
        send(out, Message::new(Kind::Hello, self.nonce).with_body(&body));
    }

    /// This phone is not wanted any more.
    pub fn on_stop(&mut self, out: &mut Out) {
        if let Some(session) = &self.session {
            send(out, Message::new(Kind::Stop, session.id));
        }
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use facelink::{
        FaceFrame,
        names::Blendshape,
        wire::fmv3::{Encoding, FLAG_TRACKED, PROFILE, SCHEMA_DATAGRAM},
    };

    fn seconds(seconds: f32) -> Duration {
        Duration::from_secs_f32(seconds)
    }

    fn kinds(out: &Out) -> Vec<Kind> {
        out.iter().map(|bytes| Part::read(bytes).unwrap().header.kind).collect()
    }

    /// The datagrams of a schema.
    fn schema(session: u64, id: u32, terms: Terms) -> Vec<Vec<u8>> {
        let names = Blendshape::ALL.map(Blendshape::name);
        let schema = Schema::new(id, terms, "iFacialMocap", Encoding::I16, names).unwrap();
        let body = schema.body().unwrap();
        let message = Message::new(Kind::Schema, session).with_schema(id).with_body(&body);
        (0..message.parts(SCHEMA_DATAGRAM))
            .map(|part| {
                let mut out = Vec::new();
                message.write_part(SCHEMA_DATAGRAM, part, &mut out);
                out
            })
            .collect()
    }

    fn frame(session: u64, id: u32, sequence: u32) -> Vec<u8> {
        let names = Blendshape::ALL.map(Blendshape::name);
        let schema = Schema::new(id, Terms::default(), "iFacialMocap", Encoding::I16, names).unwrap();
        let mut body = Vec::new();
        schema.encode(&FaceFrame::neutral(), &PROFILE, &mut body).unwrap();
        let message = Message {
            flags: FLAG_TRACKED,
            ..Message::new(Kind::Frame, session).with_schema(id).with_sequence(sequence).with_body(&body)
        };
        let mut out = Vec::new();
        message.write(&mut out);
        out
    }

    fn take(receiver: &mut Receiver, datagram: &[u8], now: Instant, out: &mut Out) -> Result<Event, Fmv3Error> {
        receiver.on_part(Part::read(datagram).unwrap(), now, out)
    }

    /// A receiver in a session with the number 7, and what was sent for it.
    fn started(now: Instant) -> Receiver {
        let mut receiver = Receiver::new(false);
        let mut out = Out::new();
        receiver.on_tick(Some(Rhythm::KNOWN), now, &mut out);
        let hello = Part::read(&out[0]).unwrap();
        let terms = Terms { nonce: hello.header.session, ..Terms::default() };
        out.clear();
        for datagram in schema(7, 1, terms) {
            take(&mut receiver, &datagram, now, &mut out).unwrap();
        }
        assert_eq!(kinds(&out), [Kind::SchemaAck]);
        assert!(receiver.is_running());
        receiver
    }

    #[test]
    fn fmv3_call_retries_then_slows() {
        let mut receiver = Receiver::new(false);
        let start = Instant::now();
        let mut hellos = Vec::new();
        for tick in 0..200 {
            let mut out = Out::new();
            receiver.on_tick(Some(Rhythm::KNOWN), start + seconds(tick as f32 / 10.0), &mut out);
            hellos.extend(out.into_iter().map(|bytes| (tick, bytes)));
        }
        let times: Vec<_> = hellos.iter().map(|(tick, _)| *tick).collect();
        assert_eq!(times, [0, 10, 20, 30, 40, 90, 140, 190]);
        assert!(hellos.iter().all(|(_, bytes)| *bytes == hellos[0].1), "the same as long as it is not answered");

        let mut out = Out::new();
        Receiver::new(false).on_tick(None, start, &mut out);
        assert!(out.is_empty(), "this phone is not wanted");
        let mut receiver = Receiver::new(false);
        receiver.on_tick(Some(Rhythm::UNLIKELY), start, &mut out);
        assert!(out.is_empty());
        receiver.on_tick(Some(Rhythm::UNLIKELY), start + seconds(10.0), &mut out);
        assert_eq!(kinds(&out), [Kind::Hello]);
    }

    #[test]
    fn fmv3_session_times_out_without_pings() {
        let start = Instant::now();
        let mut receiver = started(start);
        let mut sent = Vec::new();
        let mut ended = None;
        for tick in 1..200 {
            let now = start + seconds(tick as f32 / 10.0);
            let mut out = Out::new();
            // Frames for four seconds.
            if tick <= 40 {
                let event = take(&mut receiver, &frame(7, 1, tick), now, &mut out).unwrap();
                assert!(matches!(&event, Event::Face(face) if face.frame.sequence == Some(tick.into())));
            }
            if receiver.on_tick(Some(Rhythm::KNOWN), now, &mut out) {
                ended = Some(tick);
            }
            sent.extend(kinds(&out).into_iter().map(|kind| (tick, kind)));
        }
        let of = |wanted| sent.iter().filter(|(_, kind)| *kind == wanted).map(|(tick, _)| *tick).collect::<Vec<_>>();
        assert_eq!(of(Kind::Ping), [30, 60, 90, 120, 150]);
        assert_eq!(of(Kind::SchemaAck), [70, 80, 90], "three repairs after three seconds");
        assert_eq!(of(Kind::GetSchema), [70, 80, 90]);
        assert_eq!(ended, Some(160));
        assert_eq!(of(Kind::Hello), [170, 180, 190], "a phone that is wanted is called again");
    }

    #[test]
    fn fmv3_lost_acknowledgement_is_repeated() {
        let start = Instant::now();
        let mut receiver = started(start);
        let mut out = Out::new();
        let again = schema(7, 1, Terms::default());
        take(&mut receiver, &again[0], start + seconds(0.5), &mut out).unwrap();
        assert!(out.is_empty(), "once a second at most");
        take(&mut receiver, &again[0], start + seconds(1.0), &mut out).unwrap();
        take(&mut receiver, &again[1], start + seconds(1.1), &mut out).unwrap();
        assert_eq!(kinds(&out), [Kind::SchemaAck]);
        receiver.on_tick(None, start + seconds(3.5), &mut out);
        assert!(matches!(take(&mut receiver, &frame(7, 1, 1), start + seconds(4.0), &mut out), Ok(Event::Face(_))));
        out.clear();
        receiver.on_tick(None, start + seconds(6.4), &mut out);
        assert_eq!(kinds(&out), [], "the time without frames begins anew");
    }

    #[test]
    fn fmv3_lost_schema_part_is_recovered() {
        let start = Instant::now();
        let mut receiver = Receiver::new(false);
        let mut out = Out::new();
        receiver.say_hello(&mut out);
        let nonce = Part::read(&out[0]).unwrap().header.session;
        let datagrams = schema(7, 1, Terms { nonce, ..Terms::default() });
        out.clear();
        take(&mut receiver, &datagrams[0], start, &mut out).unwrap();
        take(&mut receiver, &datagrams[2], start, &mut out).unwrap();
        let early = take(&mut receiver, &frame(7, 1, 1), start, &mut out).unwrap_err();
        assert_eq!(early.to_string(), "session is 7, which has sent no schema");
        assert!(out.is_empty());
        // The phone sends it again.
        let mut began = 0;
        for datagram in &datagrams {
            let event = take(&mut receiver, datagram, start + seconds(1.0), &mut out).unwrap();
            began += usize::from(matches!(event, Event::Began));
        }
        assert_eq!((began, kinds(&out)), (1, vec![Kind::SchemaAck]));
    }

    #[test]
    fn fmv3_phone_starts_and_changes_schema() {
        let start = Instant::now();
        let mut receiver = Receiver::new(false);
        let mut out = Out::new();
        for datagram in schema(9, 1, Terms::default()) {
            take(&mut receiver, &datagram, start, &mut out).unwrap();
        }
        assert!(matches!(take(&mut receiver, &frame(9, 1, 10), start, &mut out), Ok(Event::Face(_))));
        // A frame of a schema that is not known yet asks for it, once a second.
        out.clear();
        let later = start + seconds(1.0);
        take(&mut receiver, &frame(9, 2, 11), later, &mut out).unwrap();
        take(&mut receiver, &frame(9, 2, 12), later, &mut out).unwrap();
        assert_eq!(kinds(&out), [Kind::GetSchema]);
        for datagram in schema(9, 2, Terms::default()) {
            take(&mut receiver, &datagram, later, &mut out).unwrap();
        }
        assert_eq!(kinds(&out), [Kind::GetSchema, Kind::SchemaAck]);
        assert!(matches!(take(&mut receiver, &frame(9, 1, 13), later, &mut out), Ok(Event::Nothing)));
        assert!(matches!(take(&mut receiver, &frame(9, 2, 14), later, &mut out), Ok(Event::Face(_))));
        let late = take(&mut receiver, &frame(9, 2, 13), later, &mut out).unwrap();
        assert!(matches!(late, Event::Face(face) if face.frame.sequence == Some(13)), "the subject puts them in order");
        for datagram in schema(9, 3, Terms { fps: 30, ..Terms::default() }) {
            if let Err(error) = take(&mut receiver, &datagram, later, &mut out) {
                assert_eq!(error.to_string(), "schema is 3, though the terms of a session do not change");
            }
        }
        assert!(matches!(take(&mut receiver, &frame(9, 2, 15), later, &mut out), Ok(Event::Face(_))));

        // A running stream is not taken over, and its successor continues the count.
        for datagram in schema(10, 1, Terms::default()) {
            assert!(matches!(take(&mut receiver, &datagram, later, &mut out), Ok(Event::Nothing)));
        }
        let silent = later + REPAIR_AFTER;
        for datagram in schema(10, 1, Terms::default()) {
            take(&mut receiver, &datagram, silent, &mut out).unwrap();
        }
        let event = take(&mut receiver, &frame(10, 1, 0), silent, &mut out).unwrap();
        assert!(matches!(event, Event::Face(face) if face.frame.sequence == Some(16)));
        assert!(
            matches!(take(&mut receiver, &frame(9, 2, 16), silent, &mut out), Ok(Event::Nothing)),
            "of the old one"
        );
    }

    #[test]
    fn fmv3_terms_must_match_the_request() {
        let start = Instant::now();
        let mut receiver = Receiver::new(false);
        let mut out = Out::new();
        receiver.say_hello(&mut out);
        let nonce = Part::read(&out[0]).unwrap().header.session;
        receiver.hello.fps = 30;
        let mut refused = |session, terms| {
            let results = schema(session, 1, terms);
            let results = results.iter().map(|datagram| take(&mut receiver, datagram, start, &mut out));
            results.filter_map(Result::err).map(|error| error.to_string()).collect::<Vec<_>>()
        };
        let other = nonce ^ 1;
        assert_eq!(
            refused(1, Terms { nonce: other, ..Terms::default() }),
            [format!("nonce is {other}, which is not that of our HELLO")]
        );
        assert_eq!(
            refused(2, Terms { nonce, ..Terms::default() }),
            ["frame rate is 60, which is more than was asked for"]
        );
        assert!(refused(3, Terms { nonce, fps: 30, ..Terms::default() }).is_empty());
    }

    #[test]
    fn fmv3_refusal_is_reported_and_next_call_is_new() {
        let start = Instant::now();
        let mut receiver = Receiver::new(false);
        let mut out = Out::new();
        receiver.on_tick(Some(Rhythm::KNOWN), start, &mut out);
        let nonce = Part::read(&out[0]).unwrap().header.session;
        let error = |session, text: &'static str| {
            let mut bytes = Vec::new();
            Message::new(Kind::Error, session).with_body(text.as_bytes()).write(&mut bytes);
            bytes
        };
        let event = take(&mut receiver, &error(nonce ^ 1, "BUSY"), start, &mut out).unwrap();
        assert!(matches!(event, Event::Nothing), "for another receiver");
        let event = take(&mut receiver, &error(nonce, "BUSY"), start, &mut out).unwrap();
        assert!(matches!(event, Event::Refused(text) if text == "BUSY"));
        out.clear();
        receiver.on_tick(Some(Rhythm::KNOWN), start + seconds(1.0), &mut out);
        assert_ne!(Part::read(&out[0]).unwrap().header.session, nonce);
        receiver.on_tick(Some(Rhythm::KNOWN), start + seconds(2.0), &mut out);
        assert_eq!(receiver.unanswered(), 2, "since it said so");

        let mut receiver = started(start);
        let event = take(&mut receiver, &error(7, "SCHEMA_ACK_TIMEOUT"), start, &mut out).unwrap();
        assert!(matches!(event, Event::Refused(_)) && !receiver.is_running());
        let mut hello = Vec::new();
        Message::new(Kind::Ping, 7).write(&mut hello);
        let error = take(&mut receiver, &hello, start, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "message type is 6, which is for the phone to read");
    }

    #[test]
    fn fmv3_tcp_sends_no_acknowledgements() {
        let start = Instant::now();
        let mut receiver = Receiver::new(true);
        let mut out = Out::new();
        for datagram in schema(9, 1, Terms::default()) {
            take(&mut receiver, &datagram, start, &mut out).unwrap();
        }
        assert!(receiver.is_running() && out.is_empty());
        receiver.on_tick(None, start + REPAIR_AFTER, &mut out);
        assert_eq!(kinds(&out), [Kind::Ping, Kind::GetSchema]);
        out.clear();
        receiver.on_stop(&mut out);
        assert_eq!(kinds(&out), [Kind::Stop]);
    }
}
