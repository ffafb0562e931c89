//! A WebRTC peer as its session's transports see it.

use std::sync::Arc;

use facelink::wire::message::{IceCandidate, IceServer};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

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
