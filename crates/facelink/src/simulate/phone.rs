//! The phone side of one app, without sockets or clocks: its inputs and outputs.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    FaceFrame,
    source::{PhoneTransport, SourceKind},
    time::Instant,
};

/// Which app to play, and where.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The app.
    pub app: SourceKind,
    /// The address to send to, as if typed into the app; `None` waits to be called, where the app can be.
    pub to: Option<SocketAddr>,
    /// Name of the subject, where the app has one.
    pub subject: String,
    /// How to send to `to`; over TCP the app connects to it. Where the app is called, the caller chooses.
    pub transport: PhoneTransport,
    /// The caller's port that an app sends or connects to which does not answer where it is called from; `None` for its
    /// usual one.
    pub data_port: Option<u16>,
    /// The phone's own address; the unspecified one by default.
    pub bind: Option<IpAddr>,
    /// The port that the app listens on on the phone; `None` for its usual one, 0 for a free one.
    pub port: Option<u16>,
    /// The TCP port that the app listens on on the phone, if it does; `None` for its usual one, 0 for a free one.
    pub stream_port: Option<u16>,
    /// Frames a second that it will be given.
    pub fps: f32,
}

impl SimulatorConfig {
    /// An app that is given `to`, or waits to be called without it.
    pub fn new(app: SourceKind, to: Option<SocketAddr>) -> Self {
        Self {
            app,
            to,
            subject: "facelink".to_owned(),
            transport: PhoneTransport::Udp,
            data_port: None,
            bind: None,
            port: None,
            stream_port: None,
            fps: 60.0,
        }
    }
}

/// Why an app cannot be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneError {
    /// It is not an app that sends datagrams.
    #[error("{} cannot be simulated", .0.title())]
    NotAnApp(SourceKind),
    /// The app cannot be called, so it needs an address to send to.
    #[error("{} sends of its own accord: it needs an address to send to", .0.title())]
    NeedsAddress(SourceKind),
}

/// The time and the random seed that a simulated phone starts with. The time of day is in some formats.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Monotonic time.
    pub now: Instant,
    /// Time since the Unix epoch at `now`.
    pub unix: Duration,
    /// Random bits, for session numbers and the order of shapes.
    pub seed: u64,
}

impl Start {
    /// Time since the Unix epoch at `now`.
    pub fn unix(&self, now: Instant) -> Duration {
        self.unix + now.saturating_duration_since(self.now)
    }
}

/// One of a phone's streams, for as long as it is open.
pub type StreamId = u32;

/// What happened to a stream.
#[derive(Debug)]
pub enum StreamEvent<'a> {
    /// It is open: a caller connected to the phone, or the phone's own connection is established.
    Opened,
    /// Bytes came, cut wherever the network cut them.
    Bytes(&'a [u8]),
    /// It is closed, or never opened.
    Closed,
}

/// What is to be sent, reused from frame to frame.
#[derive(Debug, Default)]
pub struct Outbox {
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    used: usize,
    connect: Vec<(StreamId, SocketAddr)>,
    bytes: Vec<(StreamId, Vec<u8>)>,
    hang_up: Vec<StreamId>,
    next_stream: StreamId,
}

impl Outbox {
    /// A datagram to fill.
    pub fn datagram(&mut self, to: SocketAddr) -> &mut Vec<u8> {
        if self.used == self.datagrams.len() {
            self.datagrams.push((to, Vec::new()));
        }
        let place = self.used;
        self.used += 1;
        let (address, bytes) = &mut self.datagrams[place];
        *address = to;
        bytes.clear();
        bytes
    }

    /// Opens a stream to a peer; the result is reported to [`Phone::on_stream`].
    pub fn connect(&mut self, to: SocketAddr) -> StreamId {
        let id = self.new_stream();
        self.connect.push((id, to));
        id
    }

    /// Bytes to append to a stream's output.
    pub fn stream(&mut self, id: StreamId) -> &mut Vec<u8> {
        let place = self.bytes.iter().position(|(stream, _)| *stream == id).unwrap_or_else(|| {
            self.bytes.push((id, Vec::new()));
            self.bytes.len() - 1
        });
        &mut self.bytes[place].1
    }

    /// Closes a stream, once its output is sent.
    pub fn hang_up(&mut self, id: StreamId) {
        self.hang_up.push(id);
    }

    /// Number of a stream that a caller opened.
    pub fn new_stream(&mut self) -> StreamId {
        self.next_stream = self.next_stream.wrapping_add(1);
        self.next_stream
    }

    /// Datagrams to send, with the address of each.
    pub fn take_datagrams(&mut self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let used = std::mem::take(&mut self.used);
        self.datagrams[..used].iter().map(|(to, bytes)| (*to, bytes.as_slice()))
    }

    /// Streams to open.
    pub fn take_connects(&mut self) -> std::vec::Drain<'_, (StreamId, SocketAddr)> {
        self.connect.drain(..)
    }

    /// Hands on the bytes of each stream. A stream for which `write` returns `false` is closed: its bytes are dropped.
    pub fn take_streams(&mut self, mut write: impl FnMut(StreamId, &[u8]) -> bool) {
        self.bytes.retain_mut(|(id, bytes)| {
            let open = write(*id, bytes);
            bytes.clear();
            open
        });
    }

    /// Streams to close, after their output is sent.
    pub fn take_closed(&mut self) -> std::vec::Drain<'_, StreamId> {
        self.hang_up.drain(..)
    }
}

/// The phone side of one app, without sockets or clocks.
pub trait Phone: Send {
    /// The port that the app listens on on the phone; `None` for apps that only send.
    fn port(&self) -> Option<u16> {
        None
    }

    /// The TCP port that the app listens on on the phone.
    fn stream_port(&self) -> Option<u16> {
        None
    }

    /// The app is opened.
    fn on_start(&mut self, _now: Instant, _out: &mut Outbox) {}

    /// A datagram of a caller.
    fn on_datagram(&mut self, _from: SocketAddr, _datagram: &[u8], _now: Instant, _out: &mut Outbox) {}

    /// Something happened to a stream.
    fn on_stream(&mut self, _id: StreamId, _event: &StreamEvent<'_>, _now: Instant, _out: &mut Outbox) {}

    /// About twenty times a second: leases.
    fn on_tick(&mut self, _now: Instant, _out: &mut Outbox) {}

    /// A frame; one that is not tracked is reported as the app does.
    ///
    /// # Errors
    /// In words, when the frame has no place in the format.
    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String>;

    /// Whether frames go anywhere just now.
    fn is_streaming(&self, now: Instant) -> bool;

    /// The app is closed: the message that it sends then, if any.
    fn on_stop(&mut self, _now: Instant, _out: &mut Outbox) {}
}
