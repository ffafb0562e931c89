//! Inputs and outputs of a [`Connection`](super::Connection).

use std::{fmt, sync::Arc, time::Duration};

use crate::subject::RECONNECT_GRACE;

/// WebSocket close code of an ordinary goodbye.
pub const CLOSE_GOODBYE: u16 = 1000;
/// WebSocket close code of an endpoint that stops.
pub const CLOSE_STOPPING: u16 = 1001;
/// WebSocket close code of a client that returns by another socket: no goodbye.
pub const CLOSE_RECONNECTING: u16 = 4000;
/// WebSocket close code for a missing or wrong token.
pub const CLOSE_UNAUTHORISED: u16 = 4401;
/// WebSocket close code for a socket whose client has returned by another one.
pub const CLOSE_RESUMED: u16 = 4409;
/// WebSocket close code for a connection that broke the limits.
pub const CLOSE_LIMITS: u16 = 4429;

/// One of the two transports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The WebSocket: reliable and ordered, so that a lost packet delays what follows.
    WebSocket,
    /// The WebRTC data channel: unordered, nothing is sent twice.
    DataChannel,
}

/// A WebSocket of a connection, or an attempt to open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(pub u64);

/// A WebRTC peer connection of a connection, with its data channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// State of a peer connection, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerState {
    /// ICE has a working path.
    Connected,
    /// ICE has received nothing for a while; the path may recover without a restart.
    Disconnected,
    /// ICE has given up; only a restart helps.
    Failed,
    /// The peer connection was closed.
    Closed,
}

/// The settings of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Dialling side: whether to open a data channel. Default `true`.
    pub webrtc: bool,
    /// Accepting side: whether the client has already shown what it must. Otherwise it has 5 s to do so. Default `true`.
    pub authorised: bool,
    /// Accepting side: how long the faces of a connection that was cut wait for it. Default 5 s.
    pub reconnect_grace: Duration,
    /// Seed of the jitter of reconnection delays. Two clients should not share one.
    pub seed: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { webrtc: true, authorised: true, reconnect_grace: RECONNECT_GRACE, seed: 0 }
    }
}

/// How to close a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// With a close frame of this code and reason, after what is queued.
    Frame(u16, &'static str),
    /// Without waiting for anything: the socket is broken.
    Drop,
}

/// An action for the driver.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Open a WebSocket to the endpoint. Its outcome is `on_socket_opened` or `on_socket_failed`.
    Dial(SocketId),
    /// Send `hello` on a socket that has opened, resuming the connection of this id. The answer is `on_welcome`.
    Hello(SocketId, Option<Arc<str>>),
    /// Close a WebSocket, or give up an attempt to open one.
    CloseSocket(SocketId, Close),
    /// Make a peer connection and send its offer by the WebSocket.
    Offer(PeerId),
    /// Restart ICE on a peer connection and send the offer by the WebSocket.
    RestartIce(PeerId),
    /// Close a peer connection.
    ClosePeer(PeerId),
    /// Send a ping with this clock by one lane. The answer is `on_pong` with the same clock.
    Ping(Lane, u64),
}

/// An event for the application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// Dialling side: the endpoint has answered `hello`. `resumed` if it still knew the connection, `returned` if it had
    /// answered before.
    Welcomed {
        /// The endpoint kept the connection with its subscriptions.
        resumed: bool,
        /// It is not the first time.
        returned: bool,
    },
    /// Frames leave by another lane from now on.
    Moved {
        /// The last lane that carried them; `None` at first.
        from: Option<Lane>,
        /// The one that carries them now.
        to: Lane,
    },
    /// The data channel has fallen silent.
    Suspected,
    /// The data channel answers again.
    Trusted,
    /// An ICE restart brought the data channel back.
    Restarted,
    /// A transport was given up. The dialling side opens another one.
    Lost(Lane, Cause),
    /// Both transports are gone. The dialling side keeps reconnecting; on the accepting side the connection is over,
    /// and its faces wait for `keep_faces`.
    Disconnected {
        /// Why the last one went.
        cause: Cause,
        /// Whether either side said so.
        goodbye: bool,
        /// How long the faces of the connection should wait for its return.
        keep_faces: Duration,
    },
    /// Dialling side: the endpoint refuses the token; nothing more is tried.
    Refused,
    /// The peer asks for this many frames a second.
    Rate(f32),
    /// The peer asks for packets that repeat this many earlier frames.
    Redundancy(u8),
    /// The goodbye has been sent, or has taken as long as it may. Nothing follows.
    Closed,
}

/// Why a transport or a connection was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The peer closed it, with this WebSocket code where there was one.
    Closed(Option<u16>),
    /// It broke, or could not be opened.
    Broken,
    /// The peer answers nothing.
    Silent,
    /// The peer does not read what is sent.
    Stalled,
    /// No `welcome` arrived in time.
    NoWelcome,
    /// No token arrived in time.
    NoToken,
    /// The data channel did not open in time.
    NotOpened,
    /// ICE gave up.
    Failed,
    /// An ICE restart did not restore the path.
    RestartFailed,
    /// This machine is on another network.
    NetworkChanged,
    /// The endpoint no longer has the connection that the channel belonged to.
    Forgotten,
    /// The WebSocket that carried the channel's signalling was lost.
    SignallingLost,
    /// The endpoint makes the offer itself.
    OfferedByPeer,
    /// Another one took its place.
    Replaced,
    /// This side closed it, for this reason.
    Local(&'static str),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed(Some(code)) => return write!(f, "closed by the peer (code {code})"),
            Self::Closed(None) => "closed by the peer",
            Self::Broken => "the connection broke",
            Self::Silent => "the peer does not answer",
            Self::Stalled => "the peer does not read",
            Self::NoWelcome => "no welcome in time: is this a FaceLink endpoint?",
            Self::NoToken => "no token in time",
            Self::NotOpened => "the data channel did not open in time",
            Self::Failed => "the WebRTC connection failed",
            Self::RestartFailed => "the ICE restart failed",
            Self::NetworkChanged => "this machine has changed networks",
            Self::Forgotten => "the endpoint has forgotten the connection",
            Self::SignallingLost => "the WebSocket was lost before the data channel opened",
            Self::OfferedByPeer => "the endpoint makes the offer",
            Self::Replaced => "the client has come back by another socket",
            Self::Local(reason) => reason,
        })
    }
}

/// By which lanes a frame leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// By the WebSocket.
    pub websocket: bool,
    /// By the data channel.
    pub channel: bool,
    /// By the WebSocket if the data channel does not take it.
    pub fallback: bool,
}

impl Route {
    /// Whether nothing carries the frame.
    pub const fn is_none(self) -> bool {
        !self.websocket && !self.channel
    }

    /// Whether the frame leaves by both lanes.
    pub const fn is_both(self) -> bool {
        self.websocket && self.channel
    }
}
