//! The task of a client: does what its [`Connection`] asks for, and reports to it what happens.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use facelink::{
    connection::{Action, Cause, Close, Config, Connection, Event, Lane, PeerId, PeerState, SocketId},
    source::SourceKind,
    time::Instant,
    timing::NetworkLaw,
    wire::{
        json::Decoder,
        message::{ClientMessage, Clock, Hello, Join, Peer, Pong, ServerMessage, Trickle, Welcome},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    channel::Heard,
    config::{ClientConfig, ClientError, ClientState},
    network::{ADDRESS_INTERVAL, AddressWatch, Change},
    room::{Room, outgoing_session},
    send::FrameSender,
    shared::Shared,
    socket::Dial,
    transports::{TransportEvent, Transports},
    websocket::WsEvent,
};
use crate::{
    clock::{sleep_until, ticks, unix_ms},
    hub::{Hub, Role},
    peer_handle::PeerCommand,
    rtc::{Admission, PeerEvent, peer_state},
    seal::Sealing,
    session::{self, Mirror, Session, kind_of, subscribe_json},
};

/// A deadline of the connection waits for what has arrived for no longer than this.
const MAX_LATE: Duration = Duration::from_millis(50);

/// A client at work.
pub(super) struct Driver {
    config: ClientConfig,
    shared: Arc<Shared>,
    hub: Option<Arc<Hub>>,
    cancel: CancellationToken,
    connection: Connection,
    transports: Transports,
    /// What was received lands here.
    session: Option<Arc<Session>>,
    room: Room,
    sealing: Arc<Sealing>,
    /// Changes of the key that the endpoint knows of.
    key_changes: u64,
    sender: FrameSender,
    decoders: [Decoder; 2],
    address: Option<AddressWatch>,
    /// The secret that resumes the session; an endpoint of an earlier version gives none and takes the connection's id.
    resume_token: Option<Arc<str>>,
    /// Why the last attempt failed, in more words than the connection has.
    detail: Option<ClientError>,
    error: Option<ClientError>,
}

impl Driver {
    pub fn new(
        config: ClientConfig,
        dial: Dial,
        shared: Arc<Shared>,
        (hub, sealing): (Option<Arc<Hub>>, Arc<Sealing>),
        cancel: CancellationToken,
    ) -> Self {
        let now = Instant::now();
        let mut settings = Config::default();
        // In a room, frames go to the peers directly; the endpoint only stands in.
        settings.webrtc = config.uses_webrtc() && config.room.is_none();
        settings.seed = uuid::Uuid::new_v4().as_u64_pair().0;
        Self {
            connection: Connection::dial(settings, now),
            address: (!dial.local).then(|| AddressWatch::new(now)),
            transports: Transports::new(config.clone(), dial),
            session: None,
            room: Room::new(&config, hub.clone(), sealing.clone(), cancel.clone()),
            sender: FrameSender::new(config.subject.clone().unwrap_or_default(), sealing.clone(), !config.delta),
            key_changes: sealing.changes(),
            sealing,
            decoders: <_>::default(),
            resume_token: None,
            detail: None,
            error: None,
            config,
            shared,
            hub,
            cancel,
        }
    }

    pub async fn run(mut self) {
        let mut tick = ticks(ADDRESS_INTERVAL);
        let mut closing = false;
        loop {
            self.act().await;
            if self.connection.is_over() {
                break;
            }
            self.publish_state();
            let can_send = !closing && (self.connection.takes_frames(Instant::now()) || self.room.directs() > 0);
            let deadline = self.connection.poll_timeout();
            // Answers that have arrived are read before their absence counts as a timeout.
            tokio::select! {
                biased;
                () = self.cancel.cancelled(), if !closing => {
                    closing = true;
                    self.close(Instant::now()).await;
                }
                () = self.shared.wake.notified(), if can_send => self.flush(Instant::now()).await,
                event = self.transports.next() => {
                    self.on_transport_event(event, Instant::now()).await;
                    self.catch_up();
                }
                () = sleep_until(deadline) => self.connection.on_timeout(Instant::now()),
                _ = tick.tick(), if !closing => self.on_tick(Instant::now()).await,
            }
        }
        self.end(Instant::now());
    }

    /// However much arrives, the connection's own deadlines are not put off for long.
    fn catch_up(&mut self) {
        let now = Instant::now();
        if self.connection.poll_timeout().is_some_and(|at| now > at + MAX_LATE) {
            self.connection.on_timeout(now);
        }
    }

    async fn flush(&mut self, now: Instant) {
        let Self { sender, shared, connection, transports, room, .. } = self;
        sender.flush(shared, connection, transports, room, now).await;
    }

    async fn close(&mut self, now: Instant) {
        // A frame that was handed over just before is not held back.
        if self.connection.takes_frames(now) || self.room.directs() > 0 {
            self.flush(now).await;
        }
        self.connection.close(now);
        self.end(now);
    }

    fn end(&mut self, now: Instant) {
        self.room.close(now);
        if let Some(session) = self.session.take() {
            session.hub.disconnect(session.key, "closed by this side", true, now);
        }
    }

    // ---- what the connection asks for -----------------------------------------------------------------------------

    async fn act(&mut self) {
        while let Some(action) = self.connection.poll_action() {
            let transports = &mut self.transports;
            let made = match action {
                Action::Dial(id) => {
                    transports.dial(id);
                    continue;
                }
                Action::Hello(_, resume) => {
                    let token = self.resume_token.clone();
                    self.hello(resume.map(|id| token.unwrap_or(id)).as_deref());
                    continue;
                }
                Action::CloseSocket(id, how) => {
                    transports.close_socket(id, how);
                    continue;
                }
                Action::ClosePeer(id) => {
                    transports.close_peer(id);
                    continue;
                }
                Action::Ping(lane, clock) => {
                    transports.ping(lane, clock).await;
                    continue;
                }
                Action::Offer(id) => (id, transports.offer(id).await),
                Action::RestartIce(id) => (id, transports.restart_ice(id).await),
                action => {
                    tracing::debug!(?action, "not known");
                    continue;
                }
            };
            if let (id, Err(error)) = made {
                tracing::debug!(%error, "no WebRTC");
                self.connection.on_peer_failed(id, Instant::now());
            }
        }
        while let Some(event) = self.connection.poll_event() {
            self.on_event(event, Instant::now());
        }
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        let url = &self.config.url;
        match event {
            Event::Welcomed { returned, .. } => {
                self.error = None;
                let mut stats = self.shared.stats.lock();
                stats.connection_id = self.connection.id().cloned();
                stats.reconnects += u64::from(returned);
            }
            Event::Moved { from, to } => {
                tracing::info!(url, transport = %kind_of(to), "frames move");
                self.shared.stats.lock().moves += u64::from(from.is_some());
            }
            Event::Suspected => tracing::debug!(url, "the data channel is silent"),
            Event::Trusted => tracing::debug!(url, "the data channel answers"),
            Event::Restarted => tracing::info!(url, "the ICE restart brought the data channel back"),
            Event::Lost(Lane::WebSocket, cause) => {
                let reason = || ClientError::Connect { url: url.clone(), reason: cause.to_string() };
                let error = self.detail.take().unwrap_or_else(reason);
                tracing::info!(url, %error, "the WebSocket is lost");
                self.error = Some(error);
            }
            Event::Lost(Lane::DataChannel, cause) => tracing::info!(url, %cause, "the data channel is lost"),
            Event::Disconnected { cause, goodbye, .. } => {
                // What was received from the endpoint waits for it no longer than any source that broke off.
                if let Some(session) = self.session.take() {
                    session.hub.disconnect(session.key, &cause.to_string(), goodbye, now);
                }
            }
            Event::Refused => {
                self.shared.set_state(ClientState::Refused(ClientError::Unauthorised { url: url.clone() }));
            }
            Event::Rate(fps) => self.shared.set_endpoint_rate(fps),
            Event::Redundancy(_) | Event::Closed => {}
            event => tracing::debug!(?event, "not known"),
        }
    }

    fn hello(&self, resume: Option<&str>) {
        let seals = self.sender.writer.seals();
        // The endpoint may be a relay, which is not to know the name.
        let opaque = self.sealing.opaque_name(self.sender.subject());
        self.transports.signal(&ClientMessage::Hello(Hello {
            subject: opaque.map(Into::into).or_else(|| self.config.subject.as_deref().map(Into::into)),
            token: self.config.token.as_deref().map(Into::into),
            binary: Some(if seals { "sealed" } else { "facelink1" }.into()),
            client: Some(self.config.client.as_str().into()),
            resume: resume.map(Into::into),
            reports: true,
            delta: (self.config.delta || self.config.simulcast) && !seals,
        }));
    }

    fn subscribe(&self) {
        if let Some(out) = self.transports.out() {
            out.text(subscribe_json(None, None, self.config.room.is_some(), self.sender.writer.seals()));
        }
    }

    fn publish_state(&self) {
        let channel_state = match (self.connection.peer(), self.connection.is_channel_open()) {
            (Some(_), true) => "open",
            (Some(_), false) => "connecting",
            (None, _) => "none",
        };
        if let Some(session) = &self.session {
            session.mirror(Mirror {
                ws: self.transports.out(),
                address: self.transports.ws().and_then(|ws| ws.remote),
                channel_state,
                rtt_ms: [Lane::WebSocket, Lane::DataChannel].map(|lane| self.connection.rtt_ms(lane)),
            });
        }
        let lane = self.connection.lane();
        let mut stats = self.shared.stats.lock();
        if stats.link_id.as_deref() != self.session.as_ref().map(|session| &*session.id) {
            stats.link_id = self.session.as_ref().map(|session| session.id.clone());
        }
        stats.rtt_ms = self.connection.rtt_ms(lane.unwrap_or(Lane::WebSocket));
        (stats.room_peers, stats.direct) = (self.room.len(), self.room.directs());
        drop(stats);
        if let Some(fps) = self.room.asked_fps() {
            self.shared.set_peer_rate(fps);
        }
        let writer = &self.sender.writer;
        self.shared.set_state(match (lane, &self.error) {
            (Some(_), _) if writer.seals() && !writer.takes_sealed() && self.key_changes == self.sealing.changes() => {
                ClientState::Refused(ClientError::NotSealed { url: self.config.url.clone() })
            }
            (Some(lane), _) => ClientState::Connected(kind_of(lane)),
            (None, Some(error)) if !self.transports.has_socket() => ClientState::Waiting(error.clone()),
            _ => ClientState::Connecting,
        });
    }

    // ---- transport events ------------------------------------------------------------------------------------------

    async fn on_transport_event(&mut self, event: TransportEvent, now: Instant) {
        match event {
            TransportEvent::Dialled(id, Ok(())) => self.connection.on_socket_opened(id, now),
            TransportEvent::Dialled(id, Err(error)) => {
                tracing::debug!(%error, "not connected");
                let refused = matches!(error, ClientError::Unauthorised { .. });
                self.detail = Some(error);
                self.connection.on_socket_failed(id, refused, now);
            }
            TransportEvent::Ws(id, event) => self.on_ws(id, event, now).await,
            TransportEvent::Rtc(id, event) => self.on_rtc(id, event, now).await,
            TransportEvent::Heard(id, Heard::Open) => self.connection.on_channel_opened(id, true, now),
            TransportEvent::Heard(_, Heard::Text(text)) => self.on_text(Lane::DataChannel, &text, now).await,
            TransportEvent::Heard(_, Heard::Binary(bytes)) => self.on_binary(Lane::DataChannel, &bytes, now),
            TransportEvent::Heard(id, Heard::Closed) => self.connection.on_channel_closed(id, now),
            TransportEvent::PeerClosed(id) => self.connection.on_peer_state(id, PeerState::Closed, now),
        }
    }

    async fn on_ws(&mut self, id: SocketId, event: WsEvent, now: Instant) {
        match event {
            WsEvent::Text(text) => self.on_text(Lane::WebSocket, &text, now).await,
            WsEvent::Binary(bytes) => self.on_binary(Lane::WebSocket, &bytes, now),
            WsEvent::Pong(clock) => {
                self.connection.on_pong(Lane::WebSocket, clock, now);
            }
            WsEvent::Closed { code, reason } => {
                self.transports.close_socket(id, Close::Drop);
                self.detail = Some(ClientError::Connect { url: self.config.url.clone(), reason });
                let cause = code.map_or(Cause::Broken, |code| Cause::Closed(Some(code)));
                self.connection.on_socket_closed(id, cause, now);
            }
        }
    }

    async fn on_rtc(&mut self, id: PeerId, event: Option<PeerEvent>, now: Instant) {
        match event {
            Some(PeerEvent::Candidate(candidate)) => {
                let trickle = Trickle { candidate: Some(candidate), ..Trickle::default() };
                self.transports.signal(&ClientMessage::IceCandidate(trickle));
            }
            Some(PeerEvent::Gathered) => self.transports.signal(&ClientMessage::IceCandidate(Trickle::default())),
            Some(PeerEvent::State(state)) => {
                tracing::debug!(?state, "WebRTC");
                if let Some(state) = peer_state(state) {
                    self.connection.on_peer_state(id, state, now);
                }
            }
            #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
            Some(PeerEvent::Track(_)) => {}
            // The endpoint speaks on the negotiated channel.
            Some(PeerEvent::Channel(channel)) => {
                if let Some((_, rtc)) = self.transports.rtc()
                    && rtc.peer.refuse(&channel).await == Admission::TooMany
                {
                    self.connection.on_peer_failed(id, now);
                }
            }
            Some(PeerEvent::Ended) | None => {
                tracing::debug!("the driver of the WebRTC connection ended");
                self.connection.on_peer_failed(id, now);
            }
        }
    }

    async fn on_tick(&mut self, now: Instant) {
        if self.connection.is_socket_ready() && self.key_changes != self.sealing.changes() {
            self.key_changes = self.sealing.changes();
            self.hello(None);
            if self.session.is_some() && self.config.receive {
                self.subscribe();
            }
        }
        match self.address.as_mut().and_then(|address| address.look(now)) {
            Some(Change::Changed) => self.connection.on_network_changed(now),
            Some(Change::Returned) => self.connection.on_network_returned(now),
            None => {}
        }
        if self.room.len() > 0 {
            let ready = self.connection.is_socket_ready();
            let out = self.transports.out().filter(|_| ready);
            self.room.watch(out.as_ref(), &self.transports.peer_config, now).await;
        }
    }

    // ---- messages -------------------------------------------------------------------------------------------------

    async fn on_text(&mut self, lane: Lane, text: &str, now: Instant) {
        self.connection.on_heard(lane, now);
        let place = usize::from(lane == Lane::DataChannel);
        let mut decoder = std::mem::take(&mut self.decoders[place]);
        match decoder.server(text) {
            Ok(Some(message)) => self.on_message(&mut decoder, lane, message, now).await,
            Ok(None) => tracing::debug!("message of the endpoint ignored: its type is not known"),
            Err(error) => tracing::debug!(%error, "message of the endpoint ignored"),
        }
        self.decoders[place] = decoder;
    }

    async fn on_message(&mut self, decoder: &mut Decoder, lane: Lane, message: ServerMessage<'_>, now: Instant) {
        // A signalling server of another make sends no `welcome`: that it speaks is one.
        if matches!(message, ServerMessage::Offer(_) | ServerMessage::Face(_))
            && self.transports.ws().is_some()
            && !self.connection.is_socket_ready()
        {
            self.on_welcome(Welcome::default(), now);
        }
        match message {
            ServerMessage::Welcome(welcome) => self.on_welcome(welcome, now),
            ServerMessage::Answer(_) | ServerMessage::IceCandidate(_) | ServerMessage::Offer(_) => {
                self.on_signal(message, now).await;
            }
            ServerMessage::Peers(peers) => {
                self.room.on_peers(peers.peers.iter().map(|peer| (&**peer).into()).collect(), now);
            }
            ServerMessage::PeerJoined(Peer { peer }) => self.room.on_joined(&peer),
            ServerMessage::PeerLeft(Peer { peer }) => self.room.on_left(&peer, now),
            ServerMessage::Ping(ping) => {
                let pong = Pong::from_client(ping, unix_ms());
                self.transports.send(lane, ClientMessage::Pong(pong).to_json()).await;
            }
            ServerMessage::SetRate(rate) => self.connection.on_rate(rate.fps),
            ServerMessage::Report(report) => {
                self.connection.on_rate(report.fps);
                self.connection.on_redundancy(report.redundancy);
                if report.queue_ms.is_some_and(|queue| queue > f64::from(NetworkLaw::HIGH_MS)) {
                    self.sender.writer.set_thin();
                }
                if let Some(ack) = report.ack {
                    self.sender.writer.acknowledge(report.subject.as_deref().unwrap_or_default(), ack);
                }
            }
            ServerMessage::Error(error) => {
                tracing::warn!(code = &*error.code, message = &*error.message, "the endpoint refused a message");
            }
            ServerMessage::Pong(pong) => {
                let clock = pong.t.as_ref().and_then(Clock::ms).and_then(|ms| self.transports.clock_of(ms));
                let rtt = clock.and_then(|clock| self.connection.on_pong(lane, clock, now));
                if let (Some(rtt), Some(session)) = (rtt, &self.session) {
                    session.on_own_pong(&pong, rtt);
                }
            }
            message => {
                let Some(session) = self.session.clone() else { return };
                for action in session.on_decoded(decoder, lane, message, now) {
                    if let session::Action::Reply(text) = action {
                        self.transports.send(lane, text).await;
                    }
                }
            }
        }
    }

    /// Signalling, of the endpoint or handed on by it.
    async fn on_signal(&mut self, message: ServerMessage<'_>, now: Instant) {
        match message {
            ServerMessage::Answer(answer) => {
                if let Some(peer) = answer.peer() {
                    self.room.command(peer, PeerCommand::Answer(answer.sdp.to_string()));
                } else if let Some((id, rtc)) = self.transports.rtc()
                    && let Err(error) = rtc.peer.set_answer(answer.sdp.into_owned()).await
                {
                    tracing::debug!(%error, "answer refused");
                    self.connection.on_peer_failed(id, now);
                }
            }
            ServerMessage::IceCandidate(trickle) => match (trickle.peer(), trickle.candidate.clone()) {
                (Some(peer), candidate) => self.room.command(peer, PeerCommand::Candidate(candidate)),
                (None, candidate) if self.room.answering => {
                    self.room.command("", PeerCommand::Candidate(candidate));
                }
                (None, Some(candidate)) => {
                    if let Some((_, rtc)) = self.transports.rtc() {
                        rtc.peer.add_candidate(candidate).await;
                    }
                }
                (None, None) => {}
            },
            ServerMessage::Offer(offer) => {
                let peer = offer.peer().unwrap_or_default().to_owned();
                if peer.is_empty() {
                    self.room.answering = true;
                    self.connection.on_offered(now);
                }
                if let Some(out) = self.transports.out() {
                    let config = self.transports.peer_config.clone();
                    self.room.on_offer(&peer, offer.sdp.into_owned(), &out, &config, now).await;
                }
            }
            _ => {}
        }
    }

    fn on_binary(&mut self, lane: Lane, bytes: &[u8], now: Instant) {
        self.connection.on_heard(lane, now);
        if let Some(session) = &self.session {
            // A complaint about a frame is for the stats alone: the endpoint could do nothing with it.
            drop(session.on_binary(lane, bytes, now));
        }
    }

    fn on_welcome(&mut self, welcome: Welcome, now: Instant) {
        let Some(ws) = self.transports.ws() else { return };
        let (out, remote) = (ws.out.clone(), ws.remote);
        self.room.answering = false;
        self.sender.writer.renew(welcome.binary.as_deref(), welcome.delta);
        let config = &mut self.transports.peer_config;
        config.ice.servers = self.config.peer_config(config.bind).ice.servers;
        config.ice.servers.extend(welcome.ice_servers);
        let id = (!welcome.connection_id.is_empty()).then(|| welcome.connection_id.into());
        self.resume_token = welcome.resume_token.map(Into::into);
        self.connection.on_welcome(id, welcome.resumed, now);
        if let Some(hub) = &self.hub {
            if self.session.is_none() {
                self.session = outgoing_session(hub, &self.sealing, SourceKind::WebSocket, Role::Outbound, remote, now);
            }
            if let Some(session) = &self.session {
                session.in_room.store(self.config.room.is_some(), Ordering::Relaxed);
                session.viewer_reports.store(welcome.reports, Ordering::Relaxed);
                if let Some(room) = &self.config.room {
                    out.text(ClientMessage::Join(Join { room: room.into() }).to_json());
                }
                if self.config.receive {
                    self.subscribe();
                }
            }
        }
    }
}
