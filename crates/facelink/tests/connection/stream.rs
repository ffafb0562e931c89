//! An emulated WebSocket: messages in order, repeated until they arrive, over a network that loses packets.

use std::collections::{BTreeMap, VecDeque};

use super::world::Message;

/// One direction of a stream.
#[derive(Debug, Default)]
pub struct Direction {
    sent: Vec<Option<Message>>,
    arrived: BTreeMap<usize, Message>,
    delivered: usize,
    /// The sender has closed its end: nothing follows.
    pub closed: bool,
}

impl Direction {
    /// Queues a message; gives its place in the stream.
    pub fn push(&mut self, message: Message) -> Option<usize> {
        if self.closed {
            return None;
        }
        self.closed = matches!(message, Message::Close(_));
        self.sent.push(Some(message));
        Some(self.sent.len() - 1)
    }

    /// A segment has arrived: what can be read now, in order.
    pub fn arrive(&mut self, place: usize) -> VecDeque<Message> {
        if let Some(message) = self.sent[place].take() {
            self.arrived.insert(place, message);
        }
        let mut ready = VecDeque::new();
        while let Some(message) = self.arrived.remove(&self.delivered) {
            self.delivered += 1;
            ready.push_back(message);
        }
        ready
    }
}

/// A TCP connection with a WebSocket on it.
#[derive(Debug)]
pub struct Stream {
    pub up: Direction,
    pub down: Direction,
    /// The network on which the client opened it.
    pub network: u32,
    /// The run of the endpoint that it leads to.
    pub endpoint: u32,
    /// Swallows everything.
    pub silent: bool,
    /// The client's end is open, and the endpoint's.
    pub client: bool,
    pub server: bool,
    pub opened: bool,
    /// The endpoint's connection that it belongs to.
    pub connection: Option<usize>,
}

impl Stream {
    pub fn new(network: u32, endpoint: u32) -> Self {
        Self {
            up: Direction::default(),
            down: Direction::default(),
            network,
            endpoint,
            silent: false,
            client: true,
            server: false,
            opened: false,
            connection: None,
        }
    }

    pub fn direction(&mut self, up: bool) -> &mut Direction {
        if up { &mut self.up } else { &mut self.down }
    }

    pub fn is_open(&self) -> bool {
        self.opened && self.client && self.server
    }
}
