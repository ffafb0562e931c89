//! Simulated phones over real sockets: `facelink::simulate` on threads of their own.

use std::{
    fmt, io,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use facelink::{
    FaceFrame,
    performer::Performance,
    simulate::{Outbox, Phone, PhoneError, SimulatorConfig, Start, StreamEvent, StreamId, phone},
    source::SourceKind,
};
use parking_lot::Mutex;

/// Largest datagram there is.
const DATAGRAM: usize = 64 * 1024;
/// Between two looks at leases, and at whether to stop.
const TICK: Duration = Duration::from_millis(50);
/// For a connection of the phone's to open.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// A caller that does not read for this long has broken off.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// Streams of one phone at most.
const MAX_STREAMS: u32 = 16;

/// Why a simulated phone does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// There is no such app, or it needs an address.
    #[error(transparent)]
    Phone(#[from] PhoneError),
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
    /// The endpoint that it is to send to has no port for its app.
    #[error("the endpoint has no port for {}", .0.title())]
    NoPort(SourceKind),
    /// The frame has no place in the format, in words.
    #[error("{0}")]
    Frame(String),
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
        let _ = flush(out, self);
    }
}

fn flush(out: &mut Outbox, shared: &Arc<Shared>) -> Result<u64, io::Error> {
    let mut result = Ok(0);
    for (to, bytes) in out.take_datagrams() {
        match (shared.socket.send_to(bytes, to), &mut result) {
            (Ok(_), Ok(sent)) => *sent += 1,
            // A full queue is a lost frame, and a refusal is the answer to an earlier one: as on any network.
            (Err(error), _) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {
            }
            (Err(error), result) => *result = Err(error),
            (Ok(_), Err(_)) => {}
        }
    }
    for (id, to) in out.take_connects() {
        let connecting = shared.clone();
        spawn(shared, move || match TcpStream::connect_timeout(&to, CONNECT_WITHIN) {
            Ok(stream) => converse(&connecting, id, stream),
            Err(_) => connecting.on_stream(id, &StreamEvent::Closed),
        });
    }
    let mut streams = shared.streams.lock();
    out.take_streams(|id, bytes| {
        let Some((_, stream)) = streams.iter_mut().find(|(stream, _)| *stream == id) else { return false };
        // One that has broken is noticed by its reader.
        if let Ok(sent) = &mut result
            && !bytes.is_empty()
            && stream.write_all(bytes).is_ok()
        {
            *sent += 1;
        }
        true
    });
    for id in out.take_closed() {
        if let Some((_, stream)) = streams.iter().find(|(stream, _)| *stream == id) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
    result
}

/// Runs something parallel to the listening, and joins it when the app is closed.
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
        let now = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let phone = phone(config, Start { now, unix, seed: uuid::Uuid::new_v4().as_u64_pair().0 })?;
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
            let _ = flush(out, &shared);
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

    /// Sends a frame, if there is a receiver. A frame that is not tracked is sent as the app does when it loses the face.
    ///
    /// # Errors
    /// [`SimulateError::Frame`] when the frame has no place in the app's format, or the network is gone.
    pub fn send(&self, frame: &FaceFrame) -> Result<(), SimulateError> {
        let mut guard = self.shared.phone.lock();
        let (phone, out) = &mut *guard;
        phone.on_frame(frame, Instant::now(), out).map_err(SimulateError::Frame)?;
        let sent = flush(out, &self.shared).map_err(|error| SimulateError::Frame(error.to_string()))?;
        self.shared.sent.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }

    /// Datagrams with faces sent so far, and pieces of streams.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Whether frames go anywhere just now: it was given an address, or a receiver has called.
    pub fn is_streaming(&self) -> bool {
        self.shared.phone.lock().0.is_streaming(Instant::now())
    }

    /// Plays a performance in a loop of its own, until what this gives is dropped.
    pub fn perform(self, performance: Performance, fps: f32) -> PerformingPhone {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let period = Duration::from_secs_f32(1.0 / fps.clamp(1.0, 240.0));
        let run = move || {
            let start = Instant::now();
            let mut frame = 0_u32;
            // What a phone cannot say in its format, or a network that is gone for now, is a frame that is lost.
            while let Err(crossbeam_channel::RecvTimeoutError::Timeout) =
                stopped.recv_deadline(start + period.saturating_mul(frame))
            {
                let mut face = performance.frame_at(start.elapsed());
                // Those that were left out count, so that timecode runs with time.
                face.sequence = Some(frame.into());
                let _ = self.send(&face);
                // After a pause it goes on with what is due, as a phone does.
                let due = start.elapsed().as_secs_f64() / period.as_secs_f64();
                frame = frame.saturating_add(1).max(due as u32);
            }
        };
        let thread = std::thread::Builder::new().name("facelink-performer".to_owned()).spawn(run);
        PerformingPhone { stop: Some(stop), thread: thread.ok() }
    }
}

/// A simulated phone with a performer. Dropping it ends both.
#[derive(Debug)]
pub struct PerformingPhone {
    stop: Option<crossbeam_channel::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for PerformingPhone {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
        let _ = flush(out, &self.shared);
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
        let _ = flush(out, shared);
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
