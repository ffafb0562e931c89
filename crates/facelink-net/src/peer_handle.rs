//! A WebRTC peer as its session's transports see it.

use std::sync::{Arc, atomic::AtomicU64};

use facelink::wire::message::{IceCandidate, IceServer};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::outbox::Outbox;

/// What the signalling side asks of a peer.
pub(crate) enum PeerCommand {
    Candidate(Option<IceCandidate>),
    /// Renegotiation of the same session, such as an ICE restart.
    Offer(String),
    /// The answer to our offer.
    Answer(String),
    /// Other STUN and TURN servers from now on.
    IceServers(Vec<IceServer>),
}

/// How a peer's descriptions and candidates reach the other side.
#[derive(Debug)]
pub(crate) enum Signal {
    /// By HTTP, with everything in the answer; what comes later by the session's WebSocket, once it has one.
    None,
    /// By the session's WebSocket.
    Session,
    /// By an endpoint that both know, addressed to this connection id; to the endpoint itself without one.
    Relay(Outbox, Option<Arc<str>>),
}

/// A peer as its session's transports see it.
#[derive(Debug)]
pub(crate) struct PeerHandle {
    pub number: u64,
    pub commands: mpsc::Sender<PeerCommand>,
    pub cancel: CancellationToken,
    /// The offer was ours.
    pub offered: bool,
    pub origin: Option<String>,
    pub route: Arc<Mutex<Option<String>>>,
    /// Counts what arrives on its path.
    pub traffic: Arc<AtomicU64>,
}

impl PeerHandle {
    /// Whether an offer belongs to the connection that this peer already has.
    pub fn continues(&self, offer: &str) -> bool {
        !self.commands.is_closed() && self.origin.is_some() && self.origin == session_of(offer)
    }

    /// The route of its packets, such as `udp host-prflx` or `udp relay-host`.
    pub fn route(&self) -> Option<String> {
        self.route.lock().clone()
    }
}

/// The SDP's session id (`o=` line), which renegotiation keeps.
pub(crate) fn session_of(sdp: &str) -> Option<String> {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o="))?;
    origin.split_whitespace().nth(1).map(str::to_owned)
}
