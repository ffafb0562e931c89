//! The data channel of a connection.

use super::{link::Link, types::PeerId};
use crate::time::Instant;

/// A peer connection and its data channel.
#[derive(Debug)]
pub(super) struct Channel {
    pub id: PeerId,
    pub started: Instant,
    pub open: bool,
    /// A channel from this side to the peer is known.
    pub writable: bool,
    pub link: Link,
    /// When anything arrived on its path last, if the application reports that.
    pub path_heard: Option<Instant>,
    /// ICE itself reports that the path is broken, since then.
    pub broken: Option<Instant>,
    /// When the ICE restart in progress began.
    pub restarting: Option<Instant>,
    /// The network that its sockets are on.
    pub network: u32,
    /// The application has got the event that it is silent.
    pub suspected: bool,
}

impl Channel {
    pub fn new(id: PeerId, network: u32, now: Instant) -> Self {
        Self {
            id,
            started: now,
            open: false,
            writable: false,
            link: Link::default(),
            path_heard: None,
            broken: None,
            restarting: None,
            network,
            suspected: false,
        }
    }

    /// Whether frames may leave by it.
    pub fn is_usable(&self, must_answer: bool) -> bool {
        self.open && if must_answer { self.link.beat.has_answered() } else { self.writable }
    }

    /// Whether it may have stopped carrying what is sent. A peer that never answers pings is assumed to receive.
    pub fn is_doubtful(&self, now: Instant) -> bool {
        self.broken.is_some() || self.link.beat.has_answered() && self.link.beat.is_suspect(now)
    }
}
