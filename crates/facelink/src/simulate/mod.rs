//! The phone side of every app, for testing a game without a phone: handshakes, leases, lost faces, the app's own bytes.
//!
//! A [`Simulator`] is given frames and sends them as the app would: to an address that it was given, as if typed into the
//! app, or to whoever calls it, as the app does.

mod face_cap;
mod fmv3;
mod llf;
mod mocap;
pub mod network;
mod udp_json;
mod vmc;
mod vtube_studio;

use std::{
    fmt, io,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    FaceFrame,
    link::{PhoneTransport, SourceKind},
};

/// Largest datagram there is.
const DATAGRAM: usize = 64 * 1024;
/// Between two looks at leases, and at whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// For a connection of the phone's to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A caller that does not read for this long has broken off.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// Most streams of one phone.
const MAX_STREAMS: u32 = 16;

/// Which app to play, and where.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The app.
    pub app: SourceKind,
    /// Where to send to, as if typed into the app; `None` waits to be called, where the app can be.
    pub to: Option<SocketAddr>,
    /// Name of the subject, where the app has one.
    pub subject: String,
    /// How to send to `to`; over TCP the app connects to it. Where the app is called, the caller says how.
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

/// Why an app cannot be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// It is no app that sends datagrams.
    #[error("{} cannot be played", .0.title())]
    NoApp(SourceKind),
    /// The app cannot be called, so it needs an address to send to.
    #[error("{} sends of its own accord: it needs an address to send to", .0.title())]
    NeedsAddress(SourceKind),
    /// No socket.
    #[error("cannot open port {port} as {}: {source}", .app.title())]
    Bind {
        /// The app.
        app: SourceKind,
        /// The port that it would listen on.
        port: u16,
        /// The system's reason.
        source: io::Error,
    },
    /// The frame has no place in the format, in words.
    #[error("{0}")]
    Frame(String),
}

/// One of a phone's streams, for as long as it is open.
pub(crate) type StreamId = u32;

/// What happened to a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent<'a> {
    /// It is open: somebody connected to the phone, or the phone connected as it wanted to.
    Opened,
    /// Bytes came, cut wherever the network cut them.
    Bytes(&'a [u8]),
    /// It is closed, or never opened.
    Closed,
}

/// What is on its way out, reused from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
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

    /// Connects to somebody; what comes of it is told by [`Phone::on_stream`].
    pub fn connect(&mut self, to: SocketAddr) -> StreamId {
        let id = self.new_stream();
        self.connect.push((id, to));
        id
    }

    /// Bytes to add to what goes out over a stream.
    pub fn stream(&mut self, id: StreamId) -> &mut Vec<u8> {
        let place = self.bytes.iter().position(|(stream, _)| *stream == id).unwrap_or_else(|| {
            self.bytes.push((id, Vec::new()));
            self.bytes.len() - 1
        });
        &mut self.bytes[place].1
    }

    /// Closes a stream, once what was written has gone out.
    pub fn hang_up(&mut self, id: StreamId) {
        self.hang_up.push(id);
    }

    fn new_stream(&mut self) -> StreamId {
        self.next_stream = self.next_stream.wrapping_add(1);
        self.next_stream
    }

    fn flush(&mut self, shared: &Arc<Shared>) -> Result<u64, io::Error> {
        let mut result = Ok(0);
        for (to, bytes) in &self.datagrams[..self.used] {
            match (shared.socket.send_to(bytes, to), &mut result) {
                (Ok(_), Ok(sent)) => *sent += 1,
                // A full queue is a lost frame, and a refusal is the answer to an earlier one: as on any network.
                (Err(error), _)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {}
                (Err(error), result) => *result = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
        self.used = 0;
        for (id, to) in self.connect.drain(..) {
            let connecting = shared.clone();
            spawn(shared, move || match TcpStream::connect_timeout(&to, CONNECT_WITHIN) {
                Ok(stream) => converse(&connecting, id, stream),
                Err(_) => connecting.on_stream(id, &StreamEvent::Closed),
            });
        }
        let mut streams = shared.streams.lock();
        for (id, bytes) in &mut self.bytes {
            let stream = streams.iter_mut().find(|(stream, _)| stream == id);
            // One that has broken is told by whoever reads it.
            if let (Some((_, stream)), Ok(sent)) = (stream, &mut result)
                && !bytes.is_empty()
                && stream.write_all(bytes).is_ok()
            {
                *sent += 1;
            }
            bytes.clear();
        }
        for id in self.hang_up.drain(..) {
            if let Some((_, stream)) = streams.iter().find(|(stream, _)| *stream == id) {
                let _ = stream.shutdown(std::net::Shutdown::Both);
            }
        }
        self.bytes.retain(|(id, _)| streams.iter().any(|(stream, _)| stream == id));
        result
    }
}

/// The phone side of one app, without sockets or clocks.
pub(crate) trait Phone: Send {
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

    /// Somebody calls.
    fn on_datagram(&mut self, _from: SocketAddr, _datagram: &[u8], _now: Instant, _out: &mut Outbox) {}

    /// Something happened to a stream.
    fn on_stream(&mut self, _id: StreamId, _event: &StreamEvent<'_>, _now: Instant, _out: &mut Outbox) {}

    /// About twenty times a second: leases.
    fn on_tick(&mut self, _now: Instant, _out: &mut Outbox) {}

    /// A frame; one that is not tracked is told as the app does.
    ///
    /// # Errors
    /// In words, when the frame has no place in the format.
    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String>;

    /// Whether frames go anywhere just now.
    fn is_streaming(&self, now: Instant) -> bool;

    /// The app is closed: what it says then, if anything.
    fn on_stop(&mut self, _now: Instant, _out: &mut Outbox) {}
}

fn phone(config: &SimulatorConfig) -> Result<Box<dyn Phone>, SimulateError> {
    let to = || config.to.ok_or(SimulateError::NeedsAddress(config.app));
    Ok(match config.app {
        SourceKind::LiveLinkFace => Box::new(llf::LiveLinkFace::new(config)),
        SourceKind::FaceCap => Box::new(face_cap::FaceCap { to: to()? }),
        SourceKind::Vmc => Box::new(vmc::Vmc::new(to()?)),
        SourceKind::VTubeStudio => Box::new(vtube_studio::VTubeStudio::new(config)),
        SourceKind::UdpJson => Box::new(udp_json::UdpJson::new(config, to()?)),
        SourceKind::IFacialMocap | SourceKind::Facemotion3d => Box::new(mocap::Mocap::new(config)),
        SourceKind::IFacialMocapV3 => Box::new(fmv3::Fmv3::new(config)),
        other => return Err(SimulateError::NoApp(other)),
    })
}

struct Shared {
    phone: Mutex<(Box<dyn Phone>, Outbox)>,
    socket: UdpSocket,
    streams: Mutex<Vec<(StreamId, TcpStream)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Threads that have streams, among them.
    talking: AtomicU32,
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn on_stream(self: &Arc<Self>, id: StreamId, event: &StreamEvent<'_>) {
        let mut guard = self.phone.lock();
        let (phone, out) = &mut *guard;
        phone.on_stream(id, event, Instant::now(), out);
        let _ = out.flush(self);
    }
}

/// Runs something beside the listening, and waits for it when the app is closed.
fn spawn(shared: &Arc<Shared>, run: impl FnOnce() + Send + 'static) {
    let mut threads = shared.threads.lock();
    threads.retain(|thread| !thread.is_finished());
    let thread = std::thread::Builder::new().name("facelink-phone".to_owned()).spawn(run);
    threads.extend(thread.ok());
}

/// An app that runs.
pub struct Simulator {
    shared: Arc<Shared>,
    app: SourceKind,
    stream_address: Option<SocketAddr>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Simulator {
    /// Opens the app.
    ///
    /// # Errors
    /// [`SimulateError`] when there is no such app, it needs an address, or its port is taken.
    pub fn start(config: &SimulatorConfig) -> Result<Self, SimulateError> {
        let phone = phone(config)?;
        let port = config.port.or(phone.port()).unwrap_or(0);
        let any = match config.to {
            Some(to) if to.is_ipv6() => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let bind = SocketAddr::new(config.bind.unwrap_or(any), port);
        let refused = |port| move |source| SimulateError::Bind { app: config.app, port, source };
        let socket = UdpSocket::bind(bind)
            .and_then(|socket| socket.set_read_timeout(Some(TICK)).map(|()| socket))
            .map_err(refused(port))?;
        let listener = match phone.stream_port() {
            Some(usual) => {
                let port = config.stream_port.unwrap_or(usual);
                let listener = TcpListener::bind(SocketAddr::new(bind.ip(), port));
                let listener = listener.and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
                Some(listener.map_err(refused(port))?)
            }
            None => None,
        };
        let stream_address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let shared = Arc::new(Shared {
            phone: Mutex::new((phone, Outbox::default())),
            socket,
            streams: Mutex::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
            talking: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let listening = shared.clone();
        let thread = std::thread::Builder::new()
            .name("facelink-phone".to_owned())
            .spawn(move || listen(&listening))
            .map_err(refused(port))?;
        if let Some(listener) = listener {
            let accepting = shared.clone();
            spawn(&shared, move || accept(&accepting, &listener));
        }
        {
            let mut guard = shared.phone.lock();
            let (phone, out) = &mut *guard;
            phone.on_start(Instant::now(), out);
            let _ = out.flush(&shared);
        }
        Ok(Self { shared, app: config.app, stream_address, thread: Some(thread) })
    }

    /// Where the app listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.socket.local_addr().ok()
    }

    /// Where the app listens for streams, if it does.
    pub fn stream_address(&self) -> Option<SocketAddr> {
        self.stream_address
    }

    /// Sends a frame, if anybody is there to send it to. One that is not tracked is told as the app does when it loses
    /// the face.
    ///
    /// # Errors
    /// [`SimulateError::Frame`] when the frame has no place in the app's format, or the network is gone.
    pub fn send(&self, frame: &FaceFrame) -> Result<(), SimulateError> {
        let mut guard = self.shared.phone.lock();
        let (phone, out) = &mut *guard;
        phone.on_frame(frame, Instant::now(), out).map_err(SimulateError::Frame)?;
        let sent = out.flush(&self.shared).map_err(|error| SimulateError::Frame(error.to_string()))?;
        self.shared.sent.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }

    /// Datagrams with faces sent so far, and pieces of streams.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Whether frames go anywhere just now: it was given an address, or somebody has called.
    pub fn is_streaming(&self) -> bool {
        self.shared.phone.lock().0.is_streaming(Instant::now())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let mut guard = self.shared.phone.lock();
        let (phone, out) = &mut *guard;
        phone.on_stop(Instant::now(), out);
        let _ = out.flush(&self.shared);
        drop(guard);
        for (_, stream) in self.shared.streams.lock().iter() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        loop {
            let Some(thread) = self.shared.threads.lock().pop() else { break };
            let _ = thread.join();
        }
    }
}

fn listen(shared: &Arc<Shared>) {
    let mut buffer = vec![0; DATAGRAM];
    let mut ticked = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        let received = shared.socket.recv_from(&mut buffer);
        let now = Instant::now();
        let mut guard = shared.phone.lock();
        let (phone, out) = &mut *guard;
        if let Ok((len, from)) = received
            && let Some(datagram) = buffer.get(..len)
        {
            phone.on_datagram(from, datagram, now, out);
        }
        if now.saturating_duration_since(ticked) >= TICK {
            ticked = now;
            phone.on_tick(now, out);
        }
        let _ = out.flush(shared);
    }
}

/// Takes callers that connect to the phone.
fn accept(shared: &Arc<Shared>, listener: &TcpListener) {
    while !shared.stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) if shared.talking.load(Ordering::Relaxed) < MAX_STREAMS => {
                let id = shared.phone.lock().1.new_stream();
                let talking = shared.clone();
                spawn(shared, move || converse(&talking, id, stream));
            }
            Ok(_) => {}
            Err(_) => std::thread::sleep(TICK),
        }
    }
}

/// Reads a stream until it ends.
fn converse(shared: &Arc<Shared>, id: StreamId, mut stream: TcpStream) {
    shared.talking.fetch_add(1, Ordering::Relaxed);
    let set_up = stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_nodelay(true))
        .and_then(|()| stream.set_read_timeout(Some(TICK)))
        .and_then(|()| stream.set_write_timeout(Some(WRITE_WITHIN)))
        .and_then(|()| stream.try_clone());
    if let Ok(write) = set_up {
        shared.streams.lock().push((id, write));
        shared.on_stream(id, &StreamEvent::Opened);
        let mut buffer = [0; 4096];
        while !shared.stop.load(Ordering::Relaxed) {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => shared.on_stream(id, &StreamEvent::Bytes(buffer.get(..len).unwrap_or_default())),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(_) => break,
            }
        }
    }
    shared.streams.lock().retain(|(stream, _)| *stream != id);
    shared.talking.fetch_sub(1, Ordering::Relaxed);
    shared.on_stream(id, &StreamEvent::Closed);
}
