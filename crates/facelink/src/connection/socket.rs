//! The WebSocket of a connection.

use std::time::Duration;

use crate::time::Instant;

use super::{link::Link, types::SocketId};

/// An endpoint that has not sent `welcome` by then is none.
const WELCOME_LIMIT: Duration = Duration::from_secs(5);

/// A WebSocket that is open.
#[derive(Debug)]
pub(super) struct Socket {
    pub id: SocketId,
    pub opened: Instant,
    /// Frames may leave by it: the endpoint has answered, or a client is there.
    pub ready: bool,
    pub link: Link,
}

impl Socket {
    pub fn new(id: SocketId, ready: bool, now: Instant) -> Self {
        Self { id, opened: now, ready, link: Link::default() }
    }

    pub fn welcome_by(&self) -> Option<Instant> {
        (!self.ready).then(|| self.opened + WELCOME_LIMIT)
    }

    /// Whether it takes a frame: a stream that has fallen silent must not swallow many.
    pub fn takes_frames(&self, now: Instant) -> bool {
        self.ready && self.link.beat.takes_frames(now)
    }
}
