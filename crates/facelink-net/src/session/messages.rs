//! What the messages of a session do.

use std::{any::Any, sync::Arc, time::Duration};

use facelink::{
    connection::{CLOSE_LIMITS, CLOSE_UNAUTHORISED, Lane},
    relay::{Format, RoomFilter, Subscription},
    time::Instant,
    timing::{DelayReport, LinkReport},
    wire::{
        json::Decoder,
        message::{
            ClientMessage, Clock, Description, Hello, PeerMessage, Peers, Pong, Room, ServerMessage, Subscribe,
            Trickle, ViewerReport, Welcome,
        },
    },
};
use serde_json::Value;

use super::state::{Action, Actions, Session};
use crate::{
    auth::Denied,
    clock::unix_ms,
    hub::{Counters, Hub, Link, Resumed, Role},
    roles::TokenRole,
};

/// Longest `hello` of a peer that has not shown its token, bytes.
const MAX_HELLO: usize = 4096;
/// Messages that an offer counts for.
const OFFER_COST: u32 = 50;

impl Session {
    /// A text message.
    pub fn on_text(self: &Arc<Self>, decoder: &mut Decoder, lane: Lane, text: &str, now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.count(text.len());
        self.lanes.heard(lane, now);
        if !self.spend(1, now, &mut actions) {
            return actions;
        }
        // Of a peer without a token nothing but a `hello` is decoded.
        let authorised = self.is_authorised();
        if !authorised && (text.len() > MAX_HELLO || !text.contains("\"hello\"")) {
            self.refuse_unauthorised(now, &mut actions);
            return actions;
        }
        let ignored = decoder.ignored();
        let read = match self.role {
            Role::Inbound => decoder.client(text).map(|message| message.map(PeerMessage::Client)),
            Role::Outbound => decoder.server(text).map(|message| message.map(PeerMessage::Server)),
            Role::Peer => decoder.peer(text),
        };
        match read {
            Ok(message) => {
                Counters::add(&self.hub.ignored, decoder.ignored().saturating_sub(ignored));
                let is_hello = matches!(message, Some(PeerMessage::Client(ClientMessage::Hello(_))));
                if !is_hello && !authorised {
                    self.refuse_unauthorised(now, &mut actions);
                } else if let Some(message) = message {
                    self.on_message(decoder, lane, message, now, &mut actions);
                }
            }
            Err(error) => self.refuse(error.code(), &error.to_string(), now, &mut actions),
        }
        actions
    }

    /// A message of an endpoint that was decoded already.
    pub fn on_decoded(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ServerMessage<'_>,
        now: Instant,
    ) -> Actions {
        let mut actions = Actions::new();
        self.count(0);
        self.lanes.heard(lane, now);
        if self.spend(1, now, &mut actions) {
            self.on_message(decoder, lane, PeerMessage::Server(message), now, &mut actions);
        }
        actions
    }

    fn on_message(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: PeerMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let is_face = match &message {
            PeerMessage::Client(message) => {
                matches!(message, ClientMessage::Face(_) | ClientMessage::BatchUpdate(_) | ClientMessage::SetEmotion(_))
            }
            PeerMessage::Server(message) => matches!(message, ServerMessage::Face(_) | ServerMessage::BatchUpdate(_)),
        };
        if is_face && !self.takes_clear() {
            self.refuse_clear(now, actions);
            return;
        }
        match message {
            PeerMessage::Client(message) => self.on_client(decoder, lane, message, now, actions),
            PeerMessage::Server(message) => self.on_server(decoder, lane, message, now, actions),
        }
    }

    fn on_client(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ClientMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        // Each of these makes a connection with sockets of its own.
        let costly = match &message {
            ClientMessage::RequestOffer => true,
            ClientMessage::Offer(offer) => offer.peer().is_none(),
            _ => false,
        };
        if costly && !self.spend(OFFER_COST - 1, now, actions) {
            return;
        }
        match message {
            ClientMessage::Face(_) | ClientMessage::BatchUpdate(_) | ClientMessage::SetEmotion(_)
                if !self.may(TokenRole::Publish, now, actions) => {}
            ClientMessage::Subscribe(_) if !self.may(TokenRole::View, now, actions) => {}
            ClientMessage::Face(face) => self.on_face(lane, &face, now, actions),
            ClientMessage::BatchUpdate(batch) => self.on_batch(decoder, lane, &batch, now, actions),
            ClientMessage::Hello(hello) => self.on_hello(&hello, now, actions),
            ClientMessage::Schema(schema) => {
                if let Err(error) = self.frames.set_schema(&schema.names) {
                    self.refuse("bad_field", &error, now, actions);
                }
            }
            ClientMessage::Offer(offer) => match offer.peer() {
                Some(peer) => self.relay("offer", peer, ServerMessage::Offer(self.relayed(&offer.sdp)), now, actions),
                None => actions.push(Action::Offer(offer.sdp.into_owned())),
            },
            ClientMessage::Answer(answer) => match answer.peer() {
                Some(peer) => {
                    self.relay("answer", peer, ServerMessage::Answer(self.relayed(&answer.sdp)), now, actions)
                }
                None => actions.push(Action::Answer(answer.sdp.into_owned())),
            },
            ClientMessage::IceCandidate(trickle) => match trickle.peer() {
                Some(peer) => {
                    let (candidate, from) = (trickle.candidate.clone(), Some((&*self.id).into()));
                    let trickle = Trickle { candidate, to: None, from };
                    self.relay("ice_candidate", peer, ServerMessage::IceCandidate(trickle), now, actions);
                }
                None => actions.push(Action::Candidate(trickle.candidate)),
            },
            ClientMessage::SetEmotion(message) => {
                self.on_emotion(lane, message.subject.as_deref(), &message, now, actions);
            }
            ClientMessage::RequestOffer => actions.push(Action::MakeOffer),
            ClientMessage::Join(join) => match self.hub.join(self.key, &join.room) {
                Ok(peers) => {
                    let peers = peers.iter().map(|peer| (&**peer).into()).collect();
                    let peers = Peers { room: Some(join.room), peers };
                    actions.push(Action::Reply(ServerMessage::Peers(peers).to_json()));
                }
                Err(error) => self.refuse("refused", &error.to_string(), now, actions),
            },
            ClientMessage::Leave => self.hub.leave(self.key),
            ClientMessage::Ping(ping) => {
                let pong = Pong::from_server(ping, unix_ms());
                actions.push(Action::Reply(ServerMessage::Pong(pong).to_json()));
            }
            ClientMessage::Pong(pong) => self.on_pong(lane, &pong, now),
            ClientMessage::GetStats => {
                let subject = self.hub.subjects().newest_stats_of(self.key, now);
                let mut stats = self.stats(subject.as_ref());
                // To its client, a face is called as it calls it.
                let own = subject.map(|subject| subject.source_name).or(stats.subject);
                stats.subject = own.map(|name| self.public_name(&name));
                if let Ok(Value::Object(stats)) = serde_json::to_value(stats) {
                    actions.push(Action::Reply(ServerMessage::Stats(stats).to_json()));
                }
            }
            ClientMessage::Report(report) => self.on_viewer_report(&report),
            ClientMessage::Ack(ack) => self.hub.queues.viewers.acknowledge(self.key, &ack.packets),
            ClientMessage::Subscribe(subscribe) => self.on_subscribe(subscribe, now, actions),
            ClientMessage::Unsubscribe(unsubscribe) => {
                self.hub.queues.viewers.unsubscribe(self.key, unsubscribe.subject.as_deref());
            }
        }
    }

    fn on_server(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        message: ServerMessage<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        match message {
            ServerMessage::Face(face) => self.on_face(lane, &face, now, actions),
            ServerMessage::BatchUpdate(batch) => self.on_batch(decoder, lane, &batch, now, actions),
            ServerMessage::SubjectLost(lost) => self.on_lost(&lost.subject, now),
            ServerMessage::SetRate(rate) => self.lanes.asked(rate.fps, None),
            ServerMessage::Report(report) => self.lanes.asked(report.fps, Some(report.redundancy)),
            ServerMessage::Pong(pong) => self.on_pong(lane, &pong, now),
            _ => Counters::add(&self.hub.ignored, 1),
        }
    }

    fn on_lost(&self, name: &str, now: Instant) {
        let sealed = name.starts_with('~') && self.sealing().has_key();
        let named = sealed
            .then(|| self.hub.source_name_of(self.key, |own| self.sealing().opaque_name(own).as_deref() == Some(name)));
        let named = named.flatten().or_else(|| self.streams.named(name).filter(|_| sealed));
        self.hub.release(self.key, named.as_deref().unwrap_or(name), now);
    }

    fn on_pong(&self, lane: Lane, pong: &Pong<'_>, now: Instant) {
        let rtt = pong.t.as_ref().and_then(Clock::ms).and_then(|t| self.lanes.pong(lane, t, now));
        if let (Some(rtt), Some(theirs)) = (rtt, pong.client_time.or(pong.server_time)) {
            self.latency.compare(theirs, rtt);
        }
    }

    /// A ping of the client of this side was answered.
    pub fn on_own_pong(&self, pong: &Pong<'_>, rtt: Duration) {
        if let Some(theirs) = pong.client_time.or(pong.server_time) {
            self.latency.compare(theirs, rtt);
        }
    }

    fn on_hello(self: &Arc<Self>, hello: &Hello<'_>, now: Instant, actions: &mut Actions) {
        if !self.is_authorised() && !self.authenticate(hello.token.as_deref(), now, actions) {
            return;
        }
        let resumed = hello.resume.as_deref().filter(|token| **token != *self.resume_token);
        let (live, subject) = resumed.map_or((None, None), |token| Self::resumed(&self.hub, token));
        let session = live.as_ref().unwrap_or(self);
        let greeted = session.identity.greet(hello, subject);
        session.lanes.introduced();
        if hello.delta {
            session.frames.take_deltas();
        }
        if let Some(old) = &greeted.renamed {
            self.hub.release(session.key, old, now);
        }
        if !greeted.known {
            let message = "field `binary`: this version reads \"float32\", \"facelink1\" and \"sealed\"";
            self.refuse("unsupported", message, now, actions);
        }
        let welcome = ServerMessage::Welcome(Welcome {
            connection_id: session.id.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: 1,
            ice_servers: self.hub.peer_config().ice.for_clients(),
            subject: greeted.subject.as_deref().map(str::to_owned),
            binary: Some(greeted.binary.as_str().to_owned()),
            delta: hello.delta,
            reports: true,
            resumed: live.is_some(),
            resume_token: Some(session.resume_token.to_string()),
        })
        .to_json();
        actions.push(match live {
            Some(session) => Action::Resume(session, welcome),
            None => Action::Reply(welcome),
        });
    }

    /// The connection that a client resumes, while it is there, or the name of its face.
    pub fn resumed(hub: &Hub, resume_token: &str) -> (Option<Arc<Self>>, Option<Arc<str>>) {
        match hub.connections().resume(resume_token) {
            // Every link of an inbound connection is a session.
            Some(Resumed::Live(link)) => ((link as Arc<dyn Any + Send + Sync>).downcast::<Self>().ok(), None),
            Some(Resumed::Ended(subject)) => (None, Some(subject)),
            None => (None, None),
        }
    }

    /// The connection that this secret resumes, while it is there.
    #[cfg(all(feature = "http", feature = "webrtc", not(target_arch = "wasm32")))]
    pub fn resumable(hub: &Hub, resume_token: &str) -> Option<Arc<Self>> {
        let link = hub.connections().live(resume_token)?;
        (link as Arc<dyn Any + Send + Sync>).downcast::<Self>().ok()
    }

    /// Whether the token of a `hello` lets the client in; closes the connection otherwise.
    fn authenticate(&self, token: Option<&str>, now: Instant, actions: &mut Actions) -> bool {
        // A connection without an address was not accepted from a socket.
        let Some(address) = self.address() else { return false };
        match self.hub.auth.check(address.ip(), token, now) {
            Ok(grant) if self.hub.admit(self.key, grant) => {
                self.identity.authorise(grant.roles);
                self.lanes.authorised();
            }
            Ok(_) => {
                self.refuse("too_many_connections", "too many connections", now, actions);
                actions.push(Action::Close(CLOSE_LIMITS, "too many connections"));
            }
            Err(Denied::Wait(wait)) => {
                let message = format!("too many wrong tokens: try again in {} s", wait.seconds());
                self.refuse("rate_limited", &message, now, actions);
                actions.push(Action::Close(CLOSE_LIMITS, "too many wrong tokens"));
            }
            Err(Denied::Token) => {
                self.refuse("unauthorized", "field `token`: missing or wrong", now, actions);
                actions.push(Action::Close(CLOSE_UNAUTHORISED, "missing or wrong token"));
            }
        }
        self.is_authorised()
    }

    fn on_subscribe(self: &Arc<Self>, subscribe: Subscribe<'_>, now: Instant, actions: &mut Actions) {
        let format = match subscribe.binary.as_deref() {
            None | Some("json") => Format::Json,
            Some("facelink1") if subscribe.delta => Format::Compact,
            Some("facelink1") => Format::Facelink1,
            Some("sealed") => Format::Sealed,
            Some(_) => {
                self.refuse("bad_field", "field `binary`: must be \"facelink1\", \"sealed\" or left out", now, actions);
                return;
            }
        };
        let subscription = Subscription {
            max_fps: subscribe.max_fps,
            format,
            own: subscribe.own != Some(false),
            room: match subscribe.room {
                None | Some(Room::Own(false)) => RoomFilter::Any,
                Some(Room::Own(true)) => RoomFilter::Own,
                Some(Room::Named(room)) => RoomFilter::Named(room.into()),
            },
            priority: subscribe.priority.unwrap_or_default(),
        };
        let room = self.hub.connections().origin_of(self.key).room;
        let viewer = (self.key, self.clone() as Arc<dyn Link>, room);
        let subscribed =
            self.hub.queues.viewers.subscribe(viewer, subscribe.subject.as_deref(), subscription, || self.hub.newest());
        if let Err(error) = subscribed {
            self.refuse("refused", &error.to_string(), now, actions);
        }
    }

    /// What this connection, as a viewer, says of its path.
    fn on_viewer_report(&self, report: &ViewerReport) {
        let ms = |value: Option<f64>| value.unwrap_or_default().clamp(0.0, 60_000.0) as f32;
        let mut delay = DelayReport::default();
        delay.standing_ms = ms(report.queue_ms);
        delay.high_ms = ms(report.queue_high_ms).max(delay.standing_ms);
        delay.median_ms = delay.standing_ms;
        delay.slope = report.slope.unwrap_or_default().clamp(-1e6, 1e6) as f32;
        delay.loss = report.loss.map(|loss| loss.clamp(0.0, 1.0) as f32);
        self.hub.queues.viewers.report(self.key, LinkReport::of_delay(delay));
    }

    /// A description of this connection, for a room peer.
    fn relayed<'a>(&'a self, sdp: &'a str) -> Description<'a> {
        Description { sdp: sdp.into(), to: None, from: Some((&*self.id).into()) }
    }

    /// Hands signalling on to a room peer.
    fn relay(&self, kind: &str, to: &str, message: ServerMessage<'_>, now: Instant, actions: &mut Actions) {
        let peer = self.hub.connections().room_peer(self.key, to);
        match peer {
            Some(peer) => peer.send_signal(message.to_json()),
            None => {
                let message = format!("field `to`: no peer of that id is in the room (`{kind}`)");
                self.refuse("no_such_peer", &message, now, actions);
            }
        }
    }
}
