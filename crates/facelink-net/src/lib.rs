//! Sockets, on a background tokio runtime: HTTP and WebSocket on one port, WebRTC, and the phone apps' UDP.
//!
//! [`Endpoint`] receives; [`Client`] sends. An endpoint owns a small runtime of its own, so that a game engine, a command
//! or a test starts and stops it like any other object.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod auth;
mod client;
mod clock;
mod config;
pub mod doctor;
mod endpoint;
mod error;
mod http;
mod hub;
mod ice;
mod outbox;
mod peer;
mod peer_handle;
mod pending;
mod phones;
mod rate_limit;
mod rtc;
mod session;
mod simulator;
mod stats;
mod subscribe;
mod tls;
mod token;
mod trust;

pub use address::outward_address;
pub use client::{Client, ClientConfig, ClientError, ClientState, ClientStats};
pub use config::{DEFAULT_PORT, EndpointConfig, MODELS_FOLDER};
pub use endpoint::{Addresses, Endpoint};
pub use error::{LinkError, PublishError};
pub use ice::{GOOGLE_STUN, IceCheck, IceConfig, IcePolicy, IceServerProvider, IceWarning, TurnSecret};
pub use phones::{
    PhoneCall, PhoneCommand, PhoneCommandError, PhonePort, PhonePorts, PhoneState, PhoneStatus, PortStats, SenderStats,
    SourceProfiles, Unavailable, VmcOut, remembered_phones,
};
pub use simulator::{SimulateError, Simulator};
pub use stats::*;
pub use tls::{TlsConfig, TlsError};
pub use token::new_token;
pub use trust::ServerTrust;

pub use facelink::{
    event::*,
    source::*,
    wire::{json::IceServer, profile::SourceProfile},
};
<<<<<<< HEAD

/// Port of HTTP, WebSocket and signalling.
pub const DEFAULT_PORT: u16 = 8765;

/// Where the face tracker's files for the page are looked for; see [`EndpointConfig::models`].
pub const MODELS_FOLDER: &str = "assets/web/models";

/// What to listen on, and whom to let in.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Address to bind; loopback by default.
    pub bind: IpAddr,
    /// Port of HTTP and WebSocket; 0 picks a free one.
    pub port: u16,
    /// Port of Live Link Face; `None` does not listen, 0 picks a free one.
    pub live_link_face: Option<u16>,
    /// Port of the old UDP JSON; `None` does not listen, 0 picks a free one.
    pub udp_json: Option<u16>,
    /// Ports of the other phone apps; none by default.
    pub phones: PhonePorts,
    /// Phones to call: apps that send when they are asked to.
    pub call: Vec<PhoneCall>,
    /// Call phones whose address is not known, by broadcast, where their app answers that. Nothing goes out while this
    /// endpoint is bound to loopback.
    pub find_phones: bool,
    /// File in which phones that were found, or added by [`Endpoint::call_phone`], are remembered; see
    /// [`remembered_phones`].
    pub remember_phones: Option<PathBuf>,
    /// Faces that go out by VMC protocol.
    pub vmc_out: Vec<VmcOut>,
    /// What each app's numbers mean: axis signs, order, units, sides. As the apps are known to be, by default.
    pub profiles: SourceProfiles,
    /// Pairing token that peers beyond loopback must show. Without one, an endpoint that is open to a network makes one
    /// up; see [`Endpoint::token`].
    pub token: Option<String>,
    /// Pages of these origins may connect, beside our own and those of this machine, such as `https://show.example`.
    pub allowed_origins: Vec<String>,
    /// How WebRTC connections are made: STUN and TURN servers, ports, interfaces.
    pub ice: IceConfig,
    /// HTTPS and `wss://` on the same port, beside plain HTTP; off by default. Phones open cameras and sensors on secure
    /// pages alone.
    pub tls: TlsConfig,
    /// Folder whose files are served at `/models/`, to those who are let in: the face tracker that the page loads for
    /// "Use this camera", where phones cannot reach the Internet. `docs/sources/browser-camera.md` names the files. The
    /// default is `assets/web/models` under the current directory; a folder that is not there is no error.
    pub models: Option<PathBuf>,
    /// A UDP source that is silent for this long is gone, and its subject with it.
    pub subject_timeout: Duration,
    /// Whether senders are asked for fewer frames when their link is full.
    pub adaptive_fps: bool,
    /// By which law.
    pub rate_law: RateLaw,
    /// Lowest rate that a sender is asked for, frames a second.
    pub min_fps: f32,
    /// Highest rate that a sender is asked for, frames a second.
    pub max_fps: f32,
    /// A face whose connection broke off is kept this long, for its client to come back; it then goes on as the same
    /// subject. One whose client said goodbye leaves after a second.
    pub reconnect_grace: Duration,
    /// Whether clients may meet in rooms here, to connect to each other directly.
    pub signalling: bool,
    /// Most clients in one room.
    pub max_room_peers: usize,
    /// Most connections and UDP sources at a time.
    pub max_connections: usize,
    /// Most connections of one address (IPv6: of one network, /64) at a time, and as many sockets again that ask by HTTP;
    /// this machine's own do not count.
    pub max_connections_per_address: usize,
    /// Most sockets at a time that have not asked for anything yet. When one too many comes, the oldest goes of the address
    /// that has most of them. Each has five seconds for its TLS handshake, and as long for its request.
    pub max_pending_connections: usize,
    /// HTTP requests a second from one address, WebSocket openings among them; twice as many in a burst. This machine's
    /// own do not count.
    pub max_requests_per_second: f32,
    /// Most subjects at a time.
    pub max_subjects: usize,
    /// Most subjects of one connection.
    pub max_subjects_per_connection: usize,
    /// Messages a second that one connection may send, or faces a second that one phone may; twice as many in a burst.
    pub max_messages_per_second: f32,
    /// Datagrams a second that one address may send to one port, and half of what all may; more are dropped unread.
    pub max_datagrams_per_second: f32,
}

impl EndpointConfig {
    /// The same, with a token where a network can reach it.
    fn guarded(mut self) -> Self {
        if !self.bind.is_loopback() {
            self.token.get_or_insert_with(new_token);
        }
        self
    }

    /// Whether a peer beyond loopback may come in with this token. Compared in constant time.
    pub(crate) fn accepts_token(&self, token: Option<&str>) -> bool {
        let Some(wanted) = &self.token else { return true };
        let token = token.unwrap_or_default();
        let differing = wanted.bytes().zip(token.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
        wanted.len() == token.len() && differing == 0
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: DEFAULT_PORT,
            live_link_face: None,
            udp_json: None,
            phones: PhonePorts::NONE,
            call: Vec::new(),
            find_phones: false,
            remember_phones: None,
            vmc_out: Vec::new(),
            profiles: SourceProfiles::default(),
            token: None,
            allowed_origins: Vec::new(),
            ice: IceConfig::default(),
            tls: TlsConfig::Off,
            models: Some(PathBuf::from(MODELS_FOLDER)),
            subject_timeout: Duration::from_secs(5),
            adaptive_fps: true,
            rate_law: RateLaw::default(),
            min_fps: 10.0,
            max_fps: 60.0,
            reconnect_grace: Duration::from_secs(5),
            signalling: true,
            max_room_peers: 16,
            max_connections: 256,
            max_connections_per_address: 64,
            max_pending_connections: 128,
            max_requests_per_second: 100.0,
            max_subjects: 256,
            max_subjects_per_connection: 32,
            max_messages_per_second: 1000.0,
            max_datagrams_per_second: 10_000.0,
        }
    }
}

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A port is taken or an address is not ours.
    #[error("cannot listen for {what} on {address}: {source}; set {setting} to another port")]
    Bind {
        /// What would have listened.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that changes it.
        setting: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// HTTPS cannot be set up as it is configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Something in [`EndpointConfig::ice`] cannot work for anybody.
    #[error("ICE settings: {0}")]
    Ice(#[source] IceWarning),
    /// The background runtime did not start.
    #[error("cannot start the background runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Why a face of this game does not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot send the face `{name}`: {reason}")]
pub struct PublishError {
    /// Name of the face.
    pub name: String,
    /// What stands against it.
    pub reason: String,
}

/// Where an endpoint listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTP, WebSocket and signalling.
    pub http: SocketAddr,
    /// Live Link Face.
    pub live_link_face: Option<SocketAddr>,
    /// UDP JSON.
    pub udp_json: Option<SocketAddr>,
}

/// A pairing token to read from one screen and type into another: 50 random bits, without letters that look alike.
pub fn new_token() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    // The low 62 bits of a version 4 UUID are all random.
    let bits = uuid::Uuid::new_v4().as_u128();
    (0..10).map(|place| char::from(LETTERS[(bits >> (5 * place)) as usize % LETTERS.len()])).collect()
}

/// As a value in an address: percent-encoded, but for what stands for itself.
fn in_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The page's address, with the token in it.
fn page(address: SocketAddr, https: bool, token: Option<&str>) -> String {
    let scheme = if https { "https" } else { "http" };
    let token = token.map(|token| format!("?token={}", in_query(token))).unwrap_or_default();
    format!("{scheme}://{address}/{token}")
}

/// This machine's address as others on its network see it. Nothing is sent: the system is asked which way it would go.
pub fn outward_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// A port that an endpoint could do without, and had to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What would have listened there.
    pub source: SourceKind,
    /// What the port is for.
    pub port: PhonePort,
    /// Where.
    pub address: SocketAddr,
    /// The system's reason.
    pub reason: String,
    /// One line: the port, the reason, and the setting that changes it.
    pub message: String,
}

const TICK: Duration = Duration::from_millis(50);
/// Time that connections get to say goodbye when an endpoint stops.
const STOP_LIMIT: Duration = Duration::from_millis(400);

/// A running endpoint: receivers on a runtime of its own. Dropping it frees every port.
pub struct Endpoint {
    hub: Arc<hub::Hub>,
    facts: Arc<doctor::Facts>,
    addresses: Addresses,
    fingerprint: Option<String>,
    cancel: CancellationToken,
    /// Tasks of the ports for phones, which say goodbye to those that would go on sending.
    ports: Vec<JoinHandle<()>>,
    /// Tasks of the clients, which say goodbye to their endpoints.
    clients: Mutex<Vec<JoinHandle<()>>>,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Binds every port and starts listening; returns when all are bound.
    ///
    /// A phone's port that another program holds is no error: it is reported by [`unavailable`](Self::unavailable), and
    /// the rest works.
    ///
    /// # Errors
    /// [`LinkError::Bind`] when the HTTP port is taken or the address is not this machine's, [`LinkError::Tls`] when the
    /// user's certificate or key cannot be used, [`LinkError::Ice`] when a STUN or TURN server or another ICE setting makes
    /// no sense, [`LinkError::Runtime`] when the system gives no threads.
    pub fn start(config: EndpointConfig) -> Result<Self, LinkError> {
        let config = config.guarded();
        for warning in config.ice.check().warnings {
            if warning.is_error() {
                return Err(LinkError::Ice(warning));
            }
            tracing::warn!("{warning}");
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("facelink")
            .enable_all()
            .build()
            .map_err(LinkError::Runtime)?;
        let identity = match (tls::identity(&config.tls), &config.tls) {
            (Ok(identity), _) => identity,
            // What the user gave has to work; what we would make for them can be done without.
            (Err(error), TlsConfig::SelfSigned(_)) => {
                tracing::warn!("no HTTPS: {error}");
                None
            }
            (Err(error), _) => return Err(error.into()),
        };
        let hub = Arc::new(hub::Hub::new(config, Instant::now()));
        let config = &hub.config;
        let cancel = CancellationToken::new();

        let address = SocketAddr::new(config.bind, config.port);
        let http_error = |source| LinkError::Bind { what: "HTTP and WebSocket", address, setting: "`port`", source };
        let listener = std::net::TcpListener::bind(address).map_err(http_error)?;
        listener.set_nonblocking(true).map_err(http_error)?;
        let http = listener.local_addr().map_err(http_error)?;

        let mut unavailable = Vec::new();
        let mut sockets = Vec::new();
        let mut streams = Vec::new();
        for port in PhonePort::ALL {
            let number = match port {
                PhonePort::LiveLinkFace => config.live_link_face,
                PhonePort::UdpJson => config.udp_json,
                other => config.phones.get(other),
            };
            let Some(number) = number else { continue };
            let address = SocketAddr::new(config.bind, number);
            let bound = if port.is_tcp() {
                std::net::TcpListener::bind(address).and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    let figures = PortFigures::new(port, listener.local_addr()?);
                    streams.push((listener, Arc::new(figures)));
                    Ok(())
                })
            } else {
                phones::bind(address).and_then(|socket| {
                    let figures = PortFigures::new(port, socket.local_addr()?);
                    sockets.push((socket, Arc::new(figures)));
                    Ok(())
                })
            };
            if let Err(error) = bound {
                let setting = port.setting();
                let message = format!(
                    "cannot listen for {port} on {address}: {error}; close the program that holds the port, or set \
                     `{setting}` to another one"
                );
                tracing::warn!("{message}");
                let reason = error.to_string();
                unavailable.push(Unavailable { source: port.app(), port, address, reason, message });
            }
        }
        let open = sockets.iter().map(|(_, figures)| figures).chain(streams.iter().map(|(_, figures)| figures));
        *hub.ports.lock() = open.cloned().collect();
        let bound = |port| hub.ports.lock().iter().find(|open| open.port == port).map(|open| open.address);
        let addresses =
            Addresses { http, live_link_face: bound(PhonePort::LiveLinkFace), udp_json: bound(PhonePort::UdpJson) };

        let mut ports = Vec::new();
        {
            let _runtime = runtime.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(http_error)?;
            let acceptor = identity.as_ref().map(|identity| identity.acceptor.clone());
            runtime.spawn(server::serve(hub.clone(), listener, acceptor, cancel.clone()));
            for (socket, figures) in sockets {
                let socket = tokio::net::UdpSocket::from_std(socket).map_err(LinkError::Runtime)?;
                ports.push(runtime.spawn(phones::serve(hub.clone(), socket, figures, cancel.clone())));
            }
            for (listener, figures) in streams {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(LinkError::Runtime)?;
                ports.push(runtime.spawn(phones::serve_streams(hub.clone(), listener, figures, cancel.clone())));
            }
            for out in &hub.config.vmc_out {
                runtime.spawn(phones::send_vmc(hub.clone(), out.clone(), cancel.clone()));
            }
            let (tick_hub, tick_cancel) = (hub.clone(), cancel.clone());
            runtime.spawn(async move {
                let mut ticks = tokio::time::interval(TICK);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        () = tick_cancel.cancelled() => return,
                        _ = ticks.tick() => tick_hub.tick(Instant::now()),
                    }
                }
            });
        }
        tracing::info!(%http, live_link_face = ?addresses.live_link_face, udp_json = ?addresses.udp_json, "listening");
        let fingerprint = identity.map(|identity| identity.fingerprint);
        let facts = doctor::Facts { http, https: fingerprint.is_some(), unavailable };
        let facts = hub.facts.get_or_init(|| Arc::new(facts)).clone();
        Ok(Self {
            hub,
            facts,
            addresses,
            fingerprint,
            cancel,
            ports,
            clients: Mutex::default(),
            runtime: Some(runtime),
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Ports that were asked for and could not be had, each with a line that says why.
    pub fn unavailable(&self) -> &[Unavailable] {
        &self.facts.unavailable
    }

    /// The pairing token that peers beyond this machine must show; `None` on loopback without one.
    pub fn token(&self) -> Option<&str> {
        self.hub.config.token.as_deref()
    }

    /// SHA-256 of the certificate that it shows over TLS, in hexadecimal with colons; `None` without TLS. A client can be
    /// told to take this one and no other, see [`ServerTrust::Fingerprint`].
    pub fn certificate_fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The page's address for somebody on the same network, with the token in it, as a QR code carries it.
    pub fn invitation(&self) -> String {
        let bound = self.addresses.http;
        let host = match bound.ip() {
            ip if ip.is_unspecified() => outward_address().unwrap_or(Ipv4Addr::LOCALHOST.into()),
            ip => ip,
        };
        page(SocketAddr::new(host, bound.port()), self.fingerprint.is_some(), self.token())
    }

    /// How it was configured.
    pub fn config(&self) -> &EndpointConfig {
        &self.hub.config
    }

    /// Frames in the order in which they came; bounded: when the reader is slow, the oldest are dropped. Whoever wants the
    /// newest face alone leaves out those that are [`late`](SubjectFrame::late); a
    /// [`Playout`](facelink::timing::Playout) makes use of them.
    pub fn frames(&self) -> &Receiver<SubjectFrame> {
        self.hub.frames()
    }

    /// Lifecycle events, oldest first.
    pub fn events(&self) -> &Receiver<LinkEvent> {
        self.hub.events()
    }

    /// Figures of now.
    pub fn stats(&self) -> EndpointStats {
        self.hub.stats(Instant::now())
    }

    /// Figures of every connection, oldest first.
    pub fn connections(&self) -> Vec<ConnectionStats> {
        self.hub.connections(Instant::now())
    }

    /// Asks a subject's sender for this frame rate from now on, whatever the adaptive rate says; `None` hands it back.
    pub fn set_rate(&self, subject: SubjectId, fps: Option<f32>) {
        self.hub.set_rate(subject, fps);
    }

    /// Changes the adaptive rate: whether it is on, between which rates it moves, frames a second, and by which law.
    pub fn set_adaptive_fps(&self, enabled: bool, min_fps: f32, max_fps: f32, law: RateLaw) {
        self.hub.set_adaptive(hub::Adaptive { enabled, min_fps, max_fps, law });
    }

    /// The same for one subject alone; `None` hands it back to the endpoint's settings.
    pub fn set_adaptive_fps_of(&self, subject: SubjectId, settings: Option<(bool, f32, f32, RateLaw)>) {
        let adaptive =
            settings.map(|(enabled, min_fps, max_fps, law)| hub::Adaptive { enabled, min_fps, max_fps, law });
        self.hub.set_adaptive_of(subject, adaptive);
    }

    /// How many frames a second of a subject this side can make use of, such as few of one that nobody looks at: its
    /// sender is asked for no more. `None`: as many as there are.
    pub fn set_demand(&self, subject: SubjectId, fps: Option<f32>) {
        self.hub.set_demand(subject, fps);
    }

    /// Changes the STUN and TURN servers, such as their credentials, for connections to come and those that stand.
    pub fn set_ice_servers(&self, servers: Vec<IceServer>) {
        self.hub.set_ice_servers(servers);
    }

    /// Where it listens for phones: every port that could be had.
    pub fn phone_ports(&self) -> Vec<(PhonePort, SocketAddr)> {
        self.hub.ports.lock().iter().map(|open| (open.port, open.address)).collect()
    }

    /// Where it listens for one purpose.
    pub fn phone_port(&self, port: PhonePort) -> Option<SocketAddr> {
        self.hub.ports.lock().iter().find(|open| open.port == port).map(|open| open.address)
    }

    /// What arrives on each port for phones right now.
    pub fn arrivals(&self) -> Vec<PortStats> {
        let now = Instant::now();
        self.hub.ports.lock().iter().map(|open| open.stats(now)).collect()
    }

    /// What listens, what arrives, what a phone is to be given and what may stand in the way, in words. Cheap enough for
    /// once a second.
    pub fn diagnose(&self) -> Option<doctor::Report> {
        Some(doctor::diagnose(&self.hub, &self.facts, self.runtime(), Instant::now()))
    }

    /// Calls a phone from now on, until it sends; it is remembered if [`EndpointConfig::remember_phones`] says where.
    pub fn call_phone(&self, call: PhoneCall) {
        self.hub.roster.add(call);
    }

    /// Calls a phone no longer. `false` when it was not called.
    pub fn forget_phone(&self, address: IpAddr) -> bool {
        self.hub.roster.forget(address)
    }

    /// Every phone that is called, and what is known of it.
    pub fn phones(&self) -> Vec<PhoneStatus> {
        self.hub.roster.status(Instant::now())
    }

    /// Tells a phone that runs Live Link Face what to do, by the app's OSC remote control.
    ///
    /// # Errors
    /// [`PhoneCommandError`] when nobody there is called, its app has no remote control, or it does not answer.
    pub fn command_phone(&self, address: IpAddr, command: PhoneCommand) -> Result<(), PhoneCommandError> {
        self.hub.roster.command(address, command)
    }

    /// What the numbers of an app mean, for subjects without a profile of their own.
    pub fn profile(&self, kind: SourceKind) -> SourceProfile {
        self.hub.profiles.kind(kind)
    }

    /// Changes what the numbers of an app mean, from the next frame on.
    pub fn set_profile(&self, kind: SourceKind, profile: SourceProfile) {
        self.hub.profiles.set_kind(kind, profile);
    }

    /// The profile of one subject, if it has one of its own.
    pub fn subject_profile(&self, subject: &str) -> Option<SourceProfile> {
        self.hub.profiles.subject(subject)
    }

    /// Gives one subject a profile of its own, or takes it away.
    pub fn set_subject_profile(&self, subject: &str, profile: Option<SourceProfile>) {
        self.hub.profiles.set_subject(subject, profile);
    }

    /// Takes the face of now for a subject's neutral one. `false` when there is no such subject.
    pub fn calibrate_neutral(&self, subject: &str) -> bool {
        self.hub.calibrate(subject, Calibration::set_neutral).is_some()
    }

    /// Takes the head of now for looking straight ahead. `false` when there is no such subject, or it has no head.
    pub fn recentre_head(&self, subject: &str) -> bool {
        self.hub.calibrate(subject, Calibration::recentre).unwrap_or(false)
    }

    /// Begins to follow a subject that makes every face as far as it goes. `false` when there is no such subject.
    pub fn begin_range_of_motion(&self, subject: &str) -> bool {
        self.hub.with_range(subject, |range| *range = Some(Box::default())).is_some()
    }

    /// What a range of motion that has begun has seen so far.
    pub fn range_of_motion(&self, subject: &str) -> Option<RangeCapture> {
        self.hub.with_range(subject, |range| range.as_deref().cloned()).flatten()
    }

    /// Ends a range of motion; what each shape reached counts as 1 from now on. Without `keep` nothing changes. `None` when
    /// none had begun.
    pub fn end_range_of_motion(&self, subject: &str, keep: bool) -> Option<RangeCapture> {
        let capture = self.hub.with_range(subject, Option::take).flatten()?;
        if keep {
            let range = capture.range();
            self.hub.calibrate(subject, |calibration, _| calibration.range = Some(range));
        }
        Some(*capture)
    }

    /// What is taken off a subject's frames.
    pub fn calibration(&self, subject: &str) -> Option<Calibration> {
        self.hub.calibrate(subject, |calibration, _| *calibration)
    }

    /// Sets what is taken off a subject's frames; nothing by [`Calibration::default`]. `false` when there is no such
    /// subject.
    pub fn set_calibration(&self, subject: &str, calibration: Calibration) -> bool {
        self.hub.calibrate(subject, |now, _| *now = calibration).is_some()
    }

    /// Sends a face of this game to all who have subscribed to it: pages, and games that dialled in. Our own engine does
    /// not hear of it. Never blocks. A face that is not sent for [`EndpointConfig::subject_timeout`] leaves.
    ///
    /// # Errors
    /// [`PublishError`] when another source sends a subject of this name, or there are too many.
    pub fn publish(&self, name: &str, frame: &FaceFrame) -> Result<(), PublishError> {
        self.hub
            .publish(name, frame, Instant::now())
            .map_err(|refused| PublishError { name: name.to_owned(), reason: refused.to_string() })
    }

    /// Dials out: faces of the endpoint at `config.url` come in here like those of any other source, and frames that the
    /// client is given go there. The connection keeps itself alive until the client is dropped.
    pub fn connect(&self, config: ClientConfig) -> Option<Client> {
        let (runtime, cancel) = (self.runtime()?, self.cancel.child_token());
        let (client, task) = Client::spawn(config, runtime, Some(self.hub.clone()), cancel);
        let mut clients = self.clients.lock();
        clients.retain(|client| !client.is_finished());
        clients.extend(task);
        Some(client)
    }

    /// Handle of the runtime, for a [`Client`] in the same process.
    pub fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }

    /// Stops: says goodbye to every connection and frees every port. The same as dropping it.
    pub fn stop(self) {}
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.hub.stop();
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not wait inside another one.
            if Handle::try_current().is_ok() {
                runtime.shutdown_background();
            } else {
                // A runtime that is shut down does not poll its tasks once more.
                let ports = std::mem::take(&mut self.ports);
                let tasks = futures_util::future::join_all(ports.into_iter().chain(self.clients.get_mut().drain(..)));
                let _ = runtime.block_on(async { tokio::time::timeout(STOP_LIMIT, tasks).await });
                runtime.shutdown_timeout(STOP_LIMIT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_typed_easily() {
        let tokens: std::collections::HashSet<String> = (0..100).map(|_| new_token()).collect();
        assert_eq!(tokens.len(), 100);
        assert!(tokens.iter().all(|token| token.len() == 10 && token.bytes().all(|b| b.is_ascii_alphanumeric())));
    }

    #[test]
    fn ice_settings_that_cannot_work_are_refused_at_the_start() {
        let servers = vec![IceServer { urls: vec!["turn:turn.example".to_owned()], ..IceServer::default() }];
        let config =
            EndpointConfig { port: 0, ice: IceConfig { servers, ..IceConfig::default() }, ..EndpointConfig::default() };
        let error = Endpoint::start(config).err().map(|error| error.to_string());
        let wanted = "ICE settings: field `ice_servers[0].username`: missing or empty, and turn:turn.example needs it";
        assert_eq!(error.as_deref(), Some(wanted));
    }

    #[test]
    fn tokens_of_the_users_own_stand_in_an_address() {
        assert_eq!(in_query("abc-23"), "abc-23");
        assert_eq!(in_query("open sesame & ü"), "open%20sesame%20%26%20%C3%BC");
        let config = EndpointConfig {
            port: 0,
            token: Some("open sesame".to_owned()),
            signalling: false,
            ..EndpointConfig::default()
        };
        let endpoint = Endpoint::start(config).expect("an endpoint");
        let port = endpoint.addresses().http.port();
        assert_eq!(endpoint.invitation(), format!("http://127.0.0.1:{port}/?token=open%20sesame"));
    }

    #[test]
    fn an_endpoint_that_is_open_to_a_network_has_a_token() {
        assert!(EndpointConfig::default().accepts_token(None));
        let guarded = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        assert!(guarded.accepts_token(Some("secret")));
        assert!(!guarded.accepts_token(None) && !guarded.accepts_token(Some("secre")));
        assert_eq!(EndpointConfig::default().guarded().token, None);
        let open = EndpointConfig { bind: [0, 0, 0, 0].into(), ..EndpointConfig::default() };
        assert_eq!(open.guarded().token.map(|token| token.len()), Some(10));
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
=======
