//! The accepting side: takes a client's sockets and peer connections, and detects that it has gone.

use std::time::Duration;

use crate::time::Instant;

use crate::subject::GOODBYE_GRACE;

use super::{
    channel::Channel,
    shared::{Core, earliest},
    socket::Socket,
    types::{
        Action, CLOSE_RECONNECTING, CLOSE_RESUMED, CLOSE_UNAUTHORISED, Cause, Close, Event, Lane, PeerId, SocketId,
    },
};

/// Pings of a WebSocket that carries frames, and of one on standby.
const SOCKET_BUSY: Duration = Duration::from_millis(250);
/// The same of a data channel.
const CHANNEL_BUSY: Duration = Duration::from_millis(100);
const PING_IDLE: Duration = Duration::from_secs(1);
/// A client that has not shown its token by then is sent away.
const TOKEN_LIMIT: Duration = Duration::from_secs(5);
/// A WebSocket by which nothing arrives for this long is gone.
const SOCKET_DEAD: Duration = Duration::from_secs(6);
/// A peer connection that has opened no channel by then is given up.
const OPEN_LIMIT: Duration = Duration::from_secs(20);
/// A data channel by which nothing arrives for this long is gone, and so is one on whose path nothing does: a client that is
/// not pinged may have nothing to say. An ICE restart of the client may bring it back before.
const CHANNEL_DEAD: Duration = Duration::from_secs(8);
/// After a goodbye by the WebSocket, a data channel by which nothing arrives for this long belongs to it.
const GOODBYE_SILENCE: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Accepting {
    pub authorised: bool,
    /// The client has said `hello`.
    pub introduced: bool,
    token_by: Instant,
    /// When the client closed its WebSocket with a goodbye.
    goodbye: Option<Instant>,
}

impl Accepting {
    pub fn new(authorised: bool, now: Instant) -> Self {
        Self { authorised, introduced: false, token_by: now + TOKEN_LIMIT, goodbye: None }
    }

    pub fn on_socket_opened(&mut self, core: &mut Core, socket: SocketId, now: Instant) {
        self.goodbye = None;
        let mut socket = Socket::new(socket, true, now);
        socket.link.heard(now);
        if let Some(old) = core.socket.replace(socket) {
            let reason = "the client has come back by another socket";
            core.act(Action::CloseSocket(old.id, Close::Frame(CLOSE_RESUMED, reason)));
        }
        core.ping(Lane::WebSocket, now);
    }

    pub fn on_socket_closed(&mut self, core: &mut Core, socket: SocketId, cause: Cause, now: Instant) {
        if core.socket(socket).is_some() {
            self.lose_socket(core, cause, now);
        }
    }

    fn lose_socket(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let Some(socket) = core.socket.take() else { return };
        core.act(Action::CloseSocket(socket.id, Close::Drop));
        core.emit(Event::Lost(Lane::WebSocket, cause.clone()));
        let goodbye =
            matches!(cause, Cause::Closed(code) if code != Some(CLOSE_RECONNECTING)) || cause == Cause::NoToken;
        if core.channel.as_ref().is_some_and(|channel| channel.open) {
            // It stays open, unless its client has left altogether.
            self.goodbye = goodbye.then_some(now);
            return;
        }
        self.end(core, cause, goodbye, now);
    }

    pub fn lose_channel(&mut self, core: &mut Core, cause: Cause, now: Instant) {
        let Some(channel) = core.channel.take() else { return };
        core.act(Action::ClosePeer(channel.id));
        core.emit(Event::Lost(Lane::DataChannel, cause.clone()));
        if core.socket.is_none() {
            let goodbye = self.goodbye.is_some() || matches!(cause, Cause::Closed(_) | Cause::Local(_));
            self.end(core, cause, goodbye, now);
        }
    }

    fn end(&mut self, core: &mut Core, cause: Cause, goodbye: bool, now: Instant) {
        if let Some(channel) = core.channel.take() {
            core.act(Action::ClosePeer(channel.id));
        }
        let keep_faces = if goodbye {
            let said = self.goodbye.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            GOODBYE_GRACE.saturating_sub(said)
        } else {
            core.config.reconnect_grace.max(GOODBYE_GRACE)
        };
        core.end();
        core.emit(Event::Disconnected { cause, goodbye, keep_faces });
    }

    pub fn on_peer_opened(&mut self, core: &mut Core, peer: PeerId, now: Instant) {
        if let Some(old) = core.channel.replace(Channel::new(peer, 0, now)) {
            core.act(Action::ClosePeer(old.id));
        }
    }

    /// ICE receives nothing any more. A client with a WebSocket may restart it.
    pub fn on_path_lost(&mut self, core: &mut Core, failed: bool, now: Instant) {
        let open = core.channel.as_ref().is_some_and(|channel| channel.open);
        if failed && !(open && core.socket.is_some()) {
            self.lose_channel(core, Cause::Failed, now);
        }
    }

    pub fn on_timeout(&mut self, core: &mut Core, now: Instant) {
        if !self.authorised && now >= self.token_by {
            if let Some(socket) = &core.socket {
                core.act(Action::CloseSocket(socket.id, Close::Frame(CLOSE_UNAUTHORISED, "no token in time")));
            }
            core.socket = None;
            self.end(core, Cause::NoToken, true, now);
            return;
        }
        if let Some(socket) = &core.socket {
            if now >= socket_dead(socket) {
                self.lose_socket(core, Cause::Silent, now);
            } else if now >= socket_ping(socket, now) {
                core.ping(Lane::WebSocket, now);
            }
        }
        let Some(channel) = &core.channel else { return };
        if self.goodbye_at(channel).is_some_and(|at| now >= at) {
            self.lose_channel(core, Cause::Closed(None), now);
        } else if channel_dead(channel).is_some_and(|at| now >= at) {
            let cause = match (channel.open, channel.broken) {
                (false, _) => Cause::NotOpened,
                (true, Some(_)) => Cause::Failed,
                (true, None) => Cause::Silent,
            };
            self.lose_channel(core, cause, now);
        } else if self.channel_ping(channel, now).is_some_and(|at| now >= at) {
            core.ping(Lane::DataChannel, now);
        }
    }

    pub fn deadline(&self, core: &Core) -> Option<Instant> {
        let now = core.seen();
        let (socket, channel) = (core.socket.as_ref(), core.channel.as_ref());
        earliest([
            (!self.authorised).then_some(self.token_by),
            socket.map(socket_dead),
            socket.map(|socket| socket_ping(socket, now)),
            channel.and_then(channel_dead),
            channel.and_then(|channel| self.channel_ping(channel, now)),
            channel.and_then(|channel| self.goodbye_at(channel)),
        ])
    }

    /// A client that never answers pings may have closed its WebSocket to continue by the channel alone.
    fn goodbye_at(&self, channel: &Channel) -> Option<Instant> {
        let said = self.goodbye.filter(|_| channel.link.beat.has_answered())?;
        Some(channel.link.last_heard().map_or(said, |heard| heard.max(said)) + GOODBYE_SILENCE)
    }

    /// Pings only a client of this version of the wire; others may take pings for something else.
    fn channel_ping(&self, channel: &Channel, now: Instant) -> Option<Instant> {
        let hears = self.introduced && channel.open && channel.writable;
        let interval = if channel.link.is_busy(now) || self.goodbye.is_some() { CHANNEL_BUSY } else { PING_IDLE };
        hears.then(|| channel.link.beat.due(interval).unwrap_or(channel.started))
    }
}

fn socket_dead(socket: &Socket) -> Instant {
    socket.link.last_heard().unwrap_or(socket.opened) + SOCKET_DEAD
}

fn socket_ping(socket: &Socket, now: Instant) -> Instant {
    let interval = if socket.link.is_busy(now) { SOCKET_BUSY } else { PING_IDLE };
    socket.link.beat.due(interval).unwrap_or(socket.opened)
}

fn channel_dead(channel: &Channel) -> Option<Instant> {
    if !channel.open {
        return Some(channel.started + OPEN_LIMIT);
    }
    earliest([
        channel.link.silent_at(CHANNEL_DEAD),
        channel.broken.map(|since| since + CHANNEL_DEAD),
        channel.path_heard.map(|heard| heard + CHANNEL_DEAD),
    ])
}
