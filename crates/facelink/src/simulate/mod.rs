//! The phone side of every app, for testing a game without a phone: handshakes, leases, lost faces, the app's own bytes.
//!
//! A [`Simulator`] is given frames and sends them as the app would: to an address that it was given, as if typed into the
//! app, or to whoever calls it, as the app does.

mod llf;
mod udp_json;
mod vtube_studio;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{FaceFrame, link::SourceKind};

/// Largest datagram there is.
const DATAGRAM: usize = 64 * 1024;
/// Between two looks at leases, and at whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// Which app to play, and where.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The app.
    pub app: SourceKind,
    /// Where to send to, as if typed into the app; `None` waits to be called, where the app can be.
    pub to: Option<SocketAddr>,
    /// Name of the subject, where the app has one.
    pub subject: String,
    /// The phone's own address; the unspecified one by default.
    pub bind: Option<IpAddr>,
    /// The port that the app listens on on the phone; `None` for its usual one, 0 for a free one.
    pub port: Option<u16>,
    /// Frames a second that it will be given.
    pub fps: f32,
}

impl SimulatorConfig {
    /// An app that is given `to`, or waits to be called without it.
    pub fn new(app: SourceKind, to: Option<SocketAddr>) -> Self {
        Self { app, to, subject: "facelink".to_owned(), bind: None, port: None, fps: 60.0 }
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

/// Datagrams on their way out, reused from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    datagrams: Vec<(SocketAddr, Vec<u8>)>,
    used: usize,
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

    fn flush(&mut self, socket: &UdpSocket) -> Result<u64, io::Error> {
        let mut result = Ok(0);
        for (to, bytes) in &self.datagrams[..self.used] {
            match (socket.send_to(bytes, to), &mut result) {
                (Ok(_), Ok(sent)) => *sent += 1,
                // A full queue is a lost frame, and a refusal is the answer to an earlier one: as on any network.
                (Err(error), _)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => {}
                (Err(error), result) => *result = Err(error),
                (Ok(_), Err(_)) => {}
            }
        }
        self.used = 0;
        result
    }
}

/// The phone side of one app, without sockets or clocks.
pub(crate) trait Phone: Send {
    /// The port that the app listens on on the phone; `None` for apps that only send.
    fn port(&self) -> Option<u16> {
        None
    }

    /// Somebody calls.
    fn on_datagram(&mut self, _from: SocketAddr, _datagram: &[u8], _now: Instant, _out: &mut Outbox) {}

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
        SourceKind::LiveLinkFace => Box::new(llf::LiveLinkFace::new(config, to()?)),
        SourceKind::UdpJson => Box::new(udp_json::UdpJson::new(config, to()?)),
        SourceKind::VTubeStudio => Box::new(vtube_studio::VTubeStudio::new(config)),
        other => return Err(SimulateError::NoApp(other)),
    })
}

struct Shared {
    phone: Mutex<(Box<dyn Phone>, Outbox)>,
    socket: UdpSocket,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// An app that runs.
pub struct Simulator {
    shared: Arc<Shared>,
    app: SourceKind,
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
        let socket = UdpSocket::bind(bind)
            .and_then(|socket| socket.set_read_timeout(Some(TICK)).map(|()| socket))
            .map_err(|source| SimulateError::Bind { app: config.app, port, source })?;
        let shared = Arc::new(Shared {
            phone: Mutex::new((phone, Outbox::default())),
            socket,
            sent: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let listening = shared.clone();
        let thread = std::thread::Builder::new()
            .name("facelink-phone".to_owned())
            .spawn(move || listen(&listening))
            .map_err(|source| SimulateError::Bind { app: config.app, port, source })?;
        Ok(Self { shared, app: config.app, thread: Some(thread) })
    }

    /// Where the app listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.shared.socket.local_addr().ok()
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
        let sent = out.flush(&self.shared.socket).map_err(|error| SimulateError::Frame(error.to_string()))?;
        self.shared.sent.fetch_add(sent, Ordering::Relaxed);
        Ok(())
    }

    /// Datagrams with faces sent so far.
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
        let _ = out.flush(&self.shared.socket);
    }
}

fn listen(shared: &Shared) {
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
        let _ = out.flush(&shared.socket);
    }
}
