//! The side that opens a connection: dials, offers, restarts, tries again.

use std::{sync::Arc, time::Duration};

use crate::time::Instant;

use super::{
    channel::Channel,
    shared::{Core, DEAD_AFTER, earliest},
    socket::Socket,
    types::{Action, CLOSE_UNAUTHORISED, Cause, Close, Event, Lane, PeerId, SocketId},
};
use crate::timing::Backoff;

/// Pings of a lane that carries frames, and of one on standby.
const PING_BUSY: Duration = Duration::from_millis(100);
const PING_IDLE: Duration = Duration::from_millis(500);
/// An attempt to open a WebSocket takes no longer.
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// A data channel that is not open by then is given up.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// An ICE restart that has not restored the path by then is given up for a new peer connection.
const RESTART_LIMIT: Duration = Duration::from_millis(700);
/// A silent channel is given up after this time when there is no WebSocket to restart ICE by.
const SILENT_ALONE: Duration = Duration::from_secs(10);
/// A transport that stood for this long makes the next delay the first one again.
const STABLE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Dialling {
    /// The endpoint's id of the connection.
    pub id: Option<Arc<str>>,
    /// An attempt to open a WebSocket, and since when.
    attempt: Option<(SocketId, Instant)>,
    redial: Backoff,
    reoffer: Backoff,
    /// The endpoint offers; so this side does not.
    offered: bool,
    /// The endpoint has answered since both transports were lost.
    connected: bool,
    /// Counts the networks that this machine was on.
    network: u32,
    numbers: u64,
}

impl Dialling {
    pub fn new(seed: u64, now: Instant) -> Self {
        let mut redial = Backoff::new(Duration::from_millis(250), Duration::from_secs(5), seed);
        redial.reset(now);
        Self {
            id: None,
            attempt: None,
            redial,
            reoffer: Backoff::new(Duration::from_secs(1), Duration::from_secs(60), !seed),
            offered: false,
            connected: false,
            network: 0,
            numbers: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn on_socket_opened(&mut self, core: &mut Core, socket: SocketId, now: Instant) {
        if self.attempt.take_if(|(id, _)| *id == socket).is_none() {
            core.act(Action::CloseSocket(socket, Close::Drop));
            return;
        }
        core.socket = Some(Socket::new(socket, false, now));
        core.act(Action::Hello(socket, self.id.clone()));
        core.ping(Lane::WebSocket, now);
    }

    pub fn on_socket_failed(&mut self, core: &mut Core, socket: SocketId, refused: bool, now: Instant) {
        if self.attempt.take_if(|(id, _)| *id == socket).is_none() {
            return;
        }
        if refused {
            self.refuse(core);
        } else {
            core.emit(Event::Lost(Lane::WebSocket, Cause::Broken));
            self.redial.failed(now);
        }
    }

    pub fn on_socket_closed(&mut self, core: &mut Core, socket: SocketId, cause: Cause, now: Instant) {
        if core.socket(socket).is_none() {
            return;
        }
        if cause == Cause::Closed(Some(CLOSE_UNAUTHORISED)) {
            self.refuse(core);
        } else {
            self.lose_socket(core, cause, now);
        }
    }

    fn refuse(&mut self, core: &mut Core) {
        self.abandon(core);
        if let Some(socket) = core.socket.take() {
            core.act(Action::CloseSocket(socket.id, Close::Drop));
        }
        if let Some(channel) = core.channel.take() {
            core.act(Action::ClosePeer(channel.id));
        }
        core.end();
        core.emit(Event::Refused);
    }

    /// Stops an attempt to open a WebSocket.
    pub fn abandon(&mut self, core: &mut Core) {
        if let Some((socket, _)) = self.attempt.take() {
            core.act(Action::CloseSocket(socket, Close::Drop));
        }
    }

    fn lose_socket(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let Some(socket) = core.socket.take() else { return };
        core.act(Action::CloseSocket(socket.id, Close::Drop));
        core.emit(Event::Lost(Lane::WebSocket, cause.clone()));
        if now.saturating_duration_since(socket.opened) > STABLE {
            self.redial.stable();
        }
        self.redial.failed(now);
        if core.channel.as_ref().is_some_and(|channel| !channel.open) {
            self.lose_channel(core, Cause::SignallingLost, now);
        }
        self.disconnect_if_alone(core, cause);
    }

    pub fn lose_channel(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let Some(channel) = core.channel.take() else { return };
        core.act(Action::ClosePeer(channel.id));
        core.emit(Event::Lost(Lane::DataChannel, cause.clone()));
        if channel.link.beat.has_answered() && now.saturating_duration_since(channel.started) > STABLE {
            self.reoffer.stable();
        }
        self.reoffer.failed(now);
        self.disconnect_if_alone(core, cause);
    }

    fn disconnect_if_alone(&mut self, core: &mut Core, cause: Cause) {
        if core.socket.is_none() && core.channel.is_none() && std::mem::take(&mut self.connected) {
            let keep_faces = core.config.reconnect_grace;
            core.emit(Event::Disconnected { cause, goodbye: false, keep_faces });
        }
    }

    pub fn on_welcome(&mut self, core: &mut Core, id: Option<Arc<str>>, resumed: bool, now: Instant) {
        let Some(socket) = &mut core.socket else { return };
        socket.ready = true;
        self.offered = false;
        self.connected = true;
        let returned = std::mem::replace(&mut self.id, id).is_some();
        core.emit(Event::Welcomed { resumed, returned });
        if !resumed {
            self.lose_channel(core, Cause::Forgotten, now);
        }
        if !core.config.webrtc {
            return;
        }
        match &core.channel {
            None => {
                self.reoffer.reset(now);
                self.offer_if_due(core, now);
            }
            Some(channel) if channel.is_doubtful(now) => self.mend(core, Cause::Silent, now),
            Some(_) => {}
        }
    }

    pub fn on_offered(&mut self, core: &mut Core, now: Instant) {
        self.offered = true;
        self.lose_channel(core, Cause::OfferedByPeer, now);
    }

    /// The path is broken: ICE looks for another one, if its offer can be sent. On another network the sockets are useless
    /// too, and a new peer connection is quicker.
    pub fn mend(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let ready = core.is_ready();
        let Some(channel) = core.channel.as_mut().filter(|channel| channel.restarting.is_none() && ready) else {
            return;
        };
        if channel.network != self.network {
            self.lose_channel(core, Cause::NetworkChanged, now);
        } else if !channel.open {
            self.lose_channel(core, cause, now);
        } else {
            channel.restarting = Some(now);
            let id = channel.id;
            core.act(Action::RestartIce(id));
        }
    }

    pub fn on_network_changed(&mut self, core: &mut Core, now: Instant) {
        self.network += 1;
        if let Some(channel) = &mut core.channel {
            channel.broken.get_or_insert(now);
        }
        self.lose_socket(core, Cause::NetworkChanged, now);
        self.retry_now(core, now);
    }

    pub fn retry_now(&mut self, core: &mut Core, now: Instant) {
        if core.socket.is_none() {
            self.abandon(core);
            self.redial.reset(now);
            self.dial_if_due(core, now);
        }
    }

    fn dial_if_due(&mut self, core: &mut Core, now: Instant) {
        if core.socket.is_none() && self.attempt.is_none() && self.redial.take_due(now) {
            let socket = SocketId(self.number());
            self.attempt = Some((socket, now));
            core.act(Action::Dial(socket));
        }
    }

    fn offers(&self, core: &Core) -> bool {
        core.config.webrtc && !self.offered && core.channel.is_none() && core.is_ready()
    }

    fn offer_if_due(&mut self, core: &mut Core, now: Instant) {
        if self.offers(core) && self.reoffer.take_due(now) {
            let peer = PeerId(self.number());
            core.channel = Some(Channel::new(peer, self.network, now));
            core.act(Action::Offer(peer));
        }
    }

    pub fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if self.attempt.is_some_and(|(_, since)| now >= since + DIAL_LIMIT) {
            self.abandon(core);
            core.emit(Event::Lost(Lane::WebSocket, Cause::Silent));
            self.redial.failed(now);
        }
        self.watch_socket(core, now);
        self.dial_if_due(core, now);
        self.watch_channel(core, now);
        self.offer_if_due(core, now);
    }

    fn watch_socket(&mut self, core: &mut Core, now: Instant) {
        let Some(socket) = &core.socket else { return };
        if reached(socket.welcome_by(), now) {
            self.lose_socket(core, Cause::NoWelcome, now);
        } else if reached(socket_dead(socket), now) {
            self.lose_socket(core, Cause::Silent, now);
        } else if reached(Some(socket_ping(socket, now)), now) {
            core.ping(Lane::WebSocket, now);
        }
    }

    fn watch_channel(&mut self, core: &mut Core, now: Instant) {
        let ready = core.is_ready();
        let Some(channel) = &core.channel else { return };
        if !channel.open {
            if now >= channel.started + OPEN_LIMIT {
                self.lose_channel(core, Cause::NotOpened, now);
            }
        } else if reached(channel.restarting.map(|since| since + RESTART_LIMIT), now) {
            self.lose_channel(core, Cause::RestartFailed, now);
        } else if reached(channel_dead(channel, ready), now) {
            if ready {
                self.mend(core, Cause::Silent, now);
            } else {
                self.lose_channel(core, Cause::Silent, now);
            }
        } else if reached(Some(channel_ping(channel, now)), now) {
            core.ping(Lane::DataChannel, now);
        }
    }

    pub fn deadline(&self, core: &Core) -> Option<Instant> {
        let now = core.seen();
        let ready = core.is_ready();
        let socket = core.socket.as_ref();
        let channel = core.channel.as_ref();
        let redial = self.redial.at().filter(|_| socket.is_none() && self.attempt.is_none());
        earliest([
            self.attempt.map(|(_, since)| since + DIAL_LIMIT),
            redial,
            self.reoffer.at().filter(|_| self.offers(core)),
            socket.and_then(Socket::welcome_by),
            socket.and_then(socket_dead),
            socket.map(|socket| socket_ping(socket, now)),
            channel.filter(|channel| !channel.open).map(|channel| channel.started + OPEN_LIMIT),
            channel.and_then(|channel| channel.restarting).map(|since| since + RESTART_LIMIT),
            channel.and_then(|channel| channel_dead(channel, ready)),
            channel.filter(|channel| channel.open).map(|channel| channel_ping(channel, now)),
        ])
    }
}

fn reached(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|deadline| now >= deadline)
}

fn socket_dead(socket: &Socket) -> Option<Instant> {
    socket.link.beat.silent_since().map(|since| since + DEAD_AFTER)
}

fn socket_ping(socket: &Socket, now: Instant) -> Instant {
    let interval = if socket.link.is_busy(now) { PING_BUSY } else { PING_IDLE };
    socket.link.beat.due(interval).unwrap_or(socket.opened)
}

fn channel_dead(channel: &Channel, ready: bool) -> Option<Instant> {
    let limit = if ready { DEAD_AFTER } else { SILENT_ALONE };
    let restarting = ready && channel.restarting.is_some();
    channel.link.beat.silent_since().filter(|_| channel.open && !restarting).map(|since| since + limit)
}

fn channel_ping(channel: &Channel, now: Instant) -> Instant {
    let beat = &channel.link.beat;
    let unsettled = beat.silent_since().is_some() || !beat.has_answered();
    let interval = if channel.link.is_busy(now) || unsettled { PING_BUSY } else { PING_IDLE };
    beat.due(interval).unwrap_or(channel.started)
}
