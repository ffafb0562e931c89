//! The state machine: dispatches to what both sides share, and to the dialling or the accepting side.

use std::{sync::Arc, time::Duration};

use crate::time::Instant;

use super::{
    accept::Accepting,
    dial::Dialling,
    shared::{Core, Life, earliest},
    types::{
        Action, CLOSE_GOODBYE, CLOSE_STOPPING, Cause, Close, Config, Event, Lane, PeerId, PeerState, Route, SocketId,
    },
};

/// Time that the peer gets to take a goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_millis(500);
/// A gap between two inputs that only a process that did not run explains: a transport that stands is pinged at least
/// once a second.
const SLEPT: Duration = Duration::from_millis(1500);

#[derive(Debug)]
enum Side {
    Dialling(Dialling),
    Accepting(Accepting),
}

/// One connection. See the [module](super) for what it does.
#[derive(Debug)]
pub struct Connection {
    core: Core,
    side: Side,
}

impl Connection {
    /// The side that opens the connection. The first action is to dial.
    pub fn dial(config: Config, now: Instant) -> Self {
        let side = Dialling::new(config.seed, now);
        let mut connection = Self { core: Core::new(config, true, now), side: Side::Dialling(side) };
        connection.on_timeout(now);
        connection
    }

    /// A connection of the accepting side, for a client whose WebSocket or peer connection is reported next.
    pub fn accept(config: Config, now: Instant) -> Self {
        let side = Accepting::new(config.authorised, now);
        Self { core: Core::new(config, false, now), side: Side::Accepting(side) }
    }

    fn enter(&mut self, now: Instant) -> bool {
        let gap = now.saturating_duration_since(self.core.seen);
        self.core.seen = self.core.seen.max(now);
        if gap > SLEPT {
            // Pings from before the sleep prove nothing: their answers may be queued, or were never sent.
            let Core { socket, channel, .. } = &mut self.core;
            let links = [socket.as_mut().map(|s| &mut s.link), channel.as_mut().map(|c| &mut c.link)];
            links.into_iter().flatten().for_each(|link| link.forgive(now));
            if let Some(channel) = channel {
                channel.path_heard = channel.path_heard.map(|_| now);
            }
        }
        self.core.life == Life::Running
    }

    /// A WebSocket has opened: the one that was dialled, or one by which a client came or returned.
    pub fn on_socket_opened(&mut self, socket: SocketId, now: Instant) {
        if !self.enter(now) {
            self.core.act(Action::CloseSocket(socket, Close::Drop));
            return;
        }
        match &mut self.side {
            Side::Dialling(side) => side.on_socket_opened(&mut self.core, socket, now),
            Side::Accepting(side) => side.on_socket_opened(&mut self.core, socket, now),
        }
        self.core.settle(now);
    }

    /// A WebSocket that was dialled did not open. `refused` if the endpoint wants another token.
    pub fn on_socket_failed(&mut self, socket: SocketId, refused: bool, now: Instant) {
        if self.enter(now)
            && let Side::Dialling(side) = &mut self.side
        {
            side.on_socket_failed(&mut self.core, socket, refused, now);
            self.core.settle(now);
        }
    }

    /// A WebSocket has ended: by a close frame with a code, or with [`Cause::Broken`] or [`Cause::Stalled`].
    pub fn on_socket_closed(&mut self, socket: SocketId, cause: Cause, now: Instant) {
        if !self.enter(now) {
            self.core.socket.take_if(|open| open.id == socket);
            self.finish(now);
            return;
        }
        match &mut self.side {
            Side::Dialling(side) => side.on_socket_closed(&mut self.core, socket, cause, now),
            Side::Accepting(side) => side.on_socket_closed(&mut self.core, socket, cause, now),
        }
        self.core.settle(now);
    }

    /// Accepting side: an offer was answered, and this peer connection serves from now on.
    pub fn on_peer_opened(&mut self, peer: PeerId, now: Instant) {
        if !self.enter(now) {
            self.core.act(Action::ClosePeer(peer));
            return;
        }
        if let Side::Accepting(side) = &mut self.side {
            side.on_peer_opened(&mut self.core, peer, now);
            self.core.settle(now);
        }
    }

    /// A peer connection could not be made, restarted or described, or has ended on its own.
    pub fn on_peer_failed(&mut self, peer: PeerId, now: Instant) {
        self.on_peer_ended(peer, Cause::Failed, now);
    }

    /// A peer connection has changed its state.
    pub fn on_peer_state(&mut self, peer: PeerId, state: PeerState, now: Instant) {
        if state == PeerState::Closed {
            self.on_peer_ended(peer, Cause::Closed(None), now);
            return;
        }
        if !self.enter(now) {
            return;
        }
        let Some(channel) = self.core.channel(peer) else { return };
        match state {
            PeerState::Disconnected | PeerState::Failed => {
                channel.broken.get_or_insert(now);
                match &mut self.side {
                    Side::Dialling(side) => side.mend(&mut self.core, Cause::Failed, now),
                    Side::Accepting(side) => side.on_path_lost(&mut self.core, state == PeerState::Failed, now),
                }
            }
            // For the dialling side only an answer is proof.
            PeerState::Connected if matches!(self.side, Side::Accepting(_)) => channel.broken = None,
            PeerState::Connected | PeerState::Closed => {}
        }
        self.core.settle(now);
    }

    /// The data channel has opened. `writable` once a channel from this side to the peer is known; may be
    /// reported again with it.
    pub fn on_channel_opened(&mut self, peer: PeerId, writable: bool, now: Instant) {
        if !self.enter(now) {
            return;
        }
        let Some(channel) = self.core.channel(peer) else { return };
        let first = !std::mem::replace(&mut channel.open, true);
        channel.writable |= writable;
        if first && matches!(self.side, Side::Dialling(_)) {
            self.core.ping(Lane::DataChannel, now);
        }
        self.core.settle(now);
    }

    /// Anything has arrived on the path of a peer connection: a message, an acknowledgement, or a check by ICE. Once reported, a
    /// path that falls silent ends the channel on the accepting side, whether or not its client answers pings.
    pub fn on_path_heard(&mut self, peer: PeerId, now: Instant) {
        self.enter(now);
        if let Some(channel) = self.core.channel(peer) {
            channel.path_heard = Some(now);
        }
    }

    /// The peer has closed the data channel.
    pub fn on_channel_closed(&mut self, peer: PeerId, now: Instant) {
        self.on_peer_ended(peer, Cause::Closed(None), now);
    }

    /// A peer connection has ended, for this reason.
    pub fn on_peer_ended(&mut self, peer: PeerId, cause: Cause, now: Instant) {
        if !self.enter(now) {
            self.core.channel.take_if(|open| open.id == peer);
            self.finish(now);
            return;
        }
        if self.core.channel(peer).is_none() {
            return;
        }
        match &mut self.side {
            Side::Dialling(side) => side.lose_channel(&mut self.core, cause, now),
            Side::Accepting(side) => side.lose_channel(&mut self.core, cause, now),
        }
        self.core.settle(now);
    }

    /// Dialling side: the endpoint has answered `hello`. An empty `id` is that of a server of another make.
    pub fn on_welcome(&mut self, id: Option<Arc<str>>, resumed: bool, now: Instant) {
        if self.enter(now)
            && let Side::Dialling(side) = &mut self.side
        {
            side.on_welcome(&mut self.core, id, resumed, now);
            self.core.settle(now);
        }
    }

    /// Dialling side: the endpoint offers a peer connection itself, so that an own one would be one too many.
    pub fn on_offered(&mut self, now: Instant) {
        if self.enter(now)
            && let Side::Dialling(side) = &mut self.side
        {
            side.on_offered(&mut self.core, now);
            self.core.settle(now);
        }
    }

    /// Accepting side: the client has shown what it must.
    pub fn on_authorised(&mut self) {
        if let Side::Accepting(side) = &mut self.side {
            side.authorised = true;
        }
    }

    /// Accepting side: the client has said `hello`, and so answers pings on the data channel.
    pub fn on_introduced(&mut self) {
        if let Side::Accepting(side) = &mut self.side {
            side.introduced = true;
        }
    }

    /// Anything has arrived by a lane.
    pub fn on_heard(&mut self, lane: Lane, now: Instant) {
        self.enter(now);
        match lane {
            Lane::WebSocket => self.core.socket.as_mut().map(|socket| &mut socket.link),
            Lane::DataChannel => self.core.channel.as_mut().map(|channel| &mut channel.link),
        }
        .into_iter()
        .for_each(|link| link.heard(now));
    }

    /// A frame has arrived by a lane; `true` if the one before came by another.
    pub fn on_frame(&mut self, lane: Lane, now: Instant) -> bool {
        self.on_heard(lane, now);
        self.core.received_by.replace(lane) != Some(lane)
    }

    /// A ping with this clock was answered by the lane that it left by. Gives the round trip, if it can be one.
    pub fn on_pong(&mut self, lane: Lane, clock: u64, now: Instant) -> Option<Duration> {
        self.enter(now);
        let sent = self.core.epoch.checked_add(Duration::from_micros(clock))?;
        let rtt = match lane {
            Lane::WebSocket => self.core.socket.as_mut()?.link.pong(sent, now),
            Lane::DataChannel => {
                let channel = self.core.channel.as_mut()?;
                let rtt = channel.link.pong(sent, now)?;
                channel.broken = None;
                if channel.restarting.take().is_some() {
                    self.core.emit(Event::Restarted);
                }
                Some(rtt)
            }
        }?;
        self.core.settle(now);
        Some(rtt)
    }

    /// The peer asks for a rate (`set_rate`, `report`). An invalid rate has no effect.
    pub fn on_rate(&mut self, fps: f32) {
        if fps.is_finite() && fps > 0.0 && self.core.rate.replace(fps) != Some(fps) {
            self.core.emit(Event::Rate(fps));
        }
    }

    /// The peer asks for packets that repeat earlier frames (`report`).
    pub fn on_redundancy(&mut self, redundancy: u8) {
        if std::mem::replace(&mut self.core.redundancy, redundancy) != redundancy {
            self.core.emit(Event::Redundancy(redundancy));
        }
    }

    /// Dialling side: this machine has another address than before. Its sockets would only hang.
    pub fn on_network_changed(&mut self, now: Instant) {
        if self.enter(now)
            && let Side::Dialling(side) = &mut self.side
        {
            side.on_network_changed(&mut self.core, now);
            self.core.settle(now);
        }
    }

    /// Dialling side: this machine has an address again. The next attempt starts at once.
    pub fn on_network_returned(&mut self, now: Instant) {
        if self.enter(now)
            && let Side::Dialling(side) = &mut self.side
        {
            side.retry_now(&mut self.core, now);
            self.core.settle(now);
        }
    }

    /// Says goodbye. [`Event::Closed`] follows when both transports have reported their end, or after half a second.
    pub fn close(&mut self, now: Instant) {
        if !self.enter(now) {
            return;
        }
        let frame = match &mut self.side {
            Side::Dialling(side) => {
                side.abandon(&mut self.core);
                Close::Frame(CLOSE_GOODBYE, "")
            }
            Side::Accepting(_) => Close::Frame(CLOSE_STOPPING, "this side stops"),
        };
        if let Some(id) = self.core.socket.as_ref().map(|socket| socket.id) {
            self.core.act(Action::CloseSocket(id, frame));
        }
        if let Some(id) = self.core.channel.as_ref().map(|channel| channel.id) {
            self.core.act(Action::ClosePeer(id));
        }
        self.core.lane = None;
        self.core.life = Life::Closing(now + GOODBYE_LIMIT);
        self.finish(now);
    }

    fn finish(&mut self, now: Instant) {
        let Life::Closing(until) = self.core.life else { return };
        if now >= until || self.core.socket.is_none() && self.core.channel.is_none() {
            if let Some(socket) = self.core.socket.take() {
                self.core.act(Action::CloseSocket(socket.id, Close::Drop));
            }
            self.core.channel = None;
            self.core.end();
            self.core.emit(Event::Closed);
        }
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) gave has come. Earlier calls have no effect.
    pub fn on_timeout(&mut self, now: Instant) {
        if !self.enter(now) {
            self.finish(now);
            return;
        }
        match &mut self.side {
            Side::Dialling(side) => side.on_timeout(&mut self.core, now),
            Side::Accepting(side) => side.on_timeout(&mut self.core, now),
        }
        self.core.settle(now);
    }

    /// When [`on_timeout`](Self::on_timeout) has to be called next. Changes with every input and every frame.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.core.life {
            Life::Running => {
                let side = match &self.side {
                    Side::Dialling(side) => side.deadline(&self.core),
                    Side::Accepting(side) => side.deadline(&self.core),
                };
                earliest([side, self.core.settle_at(self.core.seen)])
            }
            Life::Closing(until) => Some(until),
            Life::Over => None,
        }
    }

    /// The next action for the driver.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.core.actions.pop_front()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.events.pop_front()
    }

    /// The lanes that would carry a numbered frame.
    pub fn preview(&self, now: Instant) -> Route {
        self.choose(true, now)
    }

    fn choose(&self, numbered: bool, now: Instant) -> Route {
        if self.core.life != Life::Running {
            return Route::default();
        }
        let takes = self.core.socket.as_ref().is_some_and(|socket| socket.takes_frames(now));
        match self.core.usable() {
            None => Route { websocket: takes, ..Route::default() },
            Some(channel) if !channel.is_doubtful(now) => Route { channel: true, websocket: false, fallback: takes },
            Some(_) => Route { channel: numbered || !takes, websocket: takes, fallback: false },
        }
    }

    /// The lanes that carry a frame. `numbered` if the receiver can detect duplicates. Allocates nothing.
    pub fn route(&mut self, numbered: bool, now: Instant) -> Route {
        let route = self.choose(numbered, now);
        if let Some(channel) = self.core.channel.as_mut().filter(|_| route.channel) {
            channel.link.frame(now);
        }
        if let Some(socket) = self.core.socket.as_mut().filter(|_| route.websocket) {
            socket.link.frame(now);
        }
        route
    }

    /// Whether anything would take a frame.
    pub fn takes_frames(&self, now: Instant) -> bool {
        let socket = self.core.socket.as_ref().is_some_and(|socket| socket.takes_frames(now));
        self.core.life == Life::Running && (socket || self.core.usable().is_some())
    }

    /// The lane for a message that must not be lost: the WebSocket, where there is one.
    pub fn control_lane(&self) -> Option<Lane> {
        if self.core.is_ready() { Some(Lane::WebSocket) } else { self.core.usable().map(|_| Lane::DataChannel) }
    }

    /// The lane for a report about frames that arrive: the one that they come by.
    pub fn report_lane(&self) -> Option<Lane> {
        let channel = self.core.usable().map(|_| Lane::DataChannel);
        match self.core.received_by {
            Some(Lane::DataChannel) if channel.is_some() => channel,
            _ => self.control_lane(),
        }
    }

    /// The lane that carries frames; `None` while nothing does.
    pub fn lane(&self) -> Option<Lane> {
        self.core.lane
    }

    /// The lane that the last frame came by.
    pub fn received_by(&self) -> Option<Lane> {
        self.core.received_by
    }

    /// The id that the endpoint gave this connection.
    pub fn id(&self) -> Option<&Arc<str>> {
        match &self.side {
            Side::Dialling(side) => side.id.as_ref(),
            Side::Accepting(_) => None,
        }
    }

    /// Average round trip of a lane, milliseconds; `None` until measured.
    pub fn rtt_ms(&self, lane: Lane) -> Option<f32> {
        match lane {
            Lane::WebSocket => self.core.socket.as_ref()?.link.beat.rtt_ms(),
            Lane::DataChannel => self.core.channel.as_ref()?.link.beat.rtt_ms(),
        }
    }

    /// The WebSocket that serves now, once it is open.
    pub fn socket(&self) -> Option<SocketId> {
        self.core.socket.as_ref().map(|socket| socket.id)
    }

    /// The peer connection that serves now.
    pub fn peer(&self) -> Option<PeerId> {
        self.core.channel.as_ref().map(|channel| channel.id)
    }

    /// Whether messages can be exchanged by the WebSocket: the endpoint has answered `hello`, or a client is there.
    pub fn is_socket_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Whether the data channel is open, answering or not.
    pub fn is_channel_open(&self) -> bool {
        self.core.channel.as_ref().is_some_and(|channel| channel.open)
    }

    /// Frames a second that the peer asked for last.
    pub fn rate(&self) -> Option<f32> {
        self.core.rate
    }

    /// How many earlier frames the peer wants repeated.
    pub fn redundancy(&self) -> u8 {
        self.core.redundancy
    }

    /// Whether nothing follows any more.
    pub fn is_over(&self) -> bool {
        self.core.life == Life::Over
    }
}
