//! The endpoint: everything that listens, on a runtime of its own.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Deref,
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "seal")]
use crate::seal::{RandomError, new_room_key};
use crossbeam_channel::Receiver;
#[cfg(feature = "seal")]
use facelink::seal::RoomKey;
use facelink::{
    calibration::{CalibrateError, Calibration, CalibrationStep, RangeCapture},
    event::{LinkEvent, SubjectFrame, SubjectId},
    frame::FaceFrame,
    gesture::{GestureError, GestureRecognizer, GestureSet},
    subject::{SubjectError, SubjectRules},
    time::Instant,
    timing::RateSettings,
};
#[cfg(not(target_arch = "wasm32"))]
use parking_lot::Mutex;
#[cfg(not(target_arch = "wasm32"))]
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

#[cfg(feature = "tls")]
use crate::authority::CertificateAuthority;
#[cfg(feature = "webrtc")]
use crate::ice::{IceConfig, IceError};
#[cfg(all(feature = "http", feature = "webrtc", not(target_arch = "wasm32")))]
use crate::pictures::Pictures;
#[cfg(not(target_arch = "wasm32"))]
use crate::{address::bind_tcp, http};
use crate::{
    address::{outward_address, page_url},
    auth::{Authentication, check_token},
    client::{Client, ClientConfig},
    clock::{ticks, yield_now},
    config::EndpointConfig,
    error::{LinkError, PublishError, TokenError},
    hub::Hub,
    roles::{IssuedToken, TokenId, TokenOptions, TokenStatus},
    stats::{ConnectionStats, EndpointStats, TakeStatus},
    takes::{TakeFile, TakeFileContent, TakeOptions, TakeRecordError, Takes},
    tap::Tapped,
    timecode_input::TimecodeInput,
    token::new_token,
};
#[cfg(feature = "obs")]
use crate::{client::ClientError, obs, obs_config::ObsConfig, takes::Companion};
#[cfg(feature = "phones")]
use crate::{
    doctor::{Doctor, Facts, Report, own_addresses},
    phone_config::PhoneCall,
    phones::{Listening, PhoneCommand, PhoneCommandError, PhoneStatus, Phones, PortStats, Unavailable},
};
#[cfg(feature = "phones")]
use facelink::{
    source::{PhonePort, SourceKind},
    vrchat::VrchatWriter,
    wire::profile::SourceProfile,
};

/// Where an endpoint listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// HTTP, WebSocket and signalling. Its port is 0 while [`EndpointConfig::listen`] is off: see [`EndpointControl::http`].
    pub http: SocketAddr,
    #[cfg(feature = "phones")]
    /// Live Link Face.
    pub live_link_face: Option<SocketAddr>,
    #[cfg(feature = "phones")]
    /// UDP JSON.
    pub udp_json: Option<SocketAddr>,
}

const TICK: Duration = Duration::from_millis(50);
/// Subjects or connections whose periodic work is done before frames have their turn.
const AT_ONCE: usize = 64;
/// Time that connections get to say goodbye when an endpoint stops.
#[cfg(not(target_arch = "wasm32"))]
const STOP_LIMIT: Duration = Duration::from_millis(400);

/// A running endpoint: receivers on a runtime of its own. Dropping it frees every port.
///
/// What can be asked of it and changed while it runs is [`EndpointControl`], to which it dereferences; frames and events
/// are read here alone.
#[derive(Debug)]
pub struct Endpoint(EndpointControl);

/// A running endpoint without its frames and events: what code may use that must not take frames from the reader, such as
/// a game whose engine reads them. Every frame goes to one reader.
pub struct EndpointControl {
    hub: Arc<Hub>,
    #[cfg(feature = "phones")]
    phones: Arc<Phones>,
    #[cfg(feature = "phones")]
    doctor: Arc<Doctor>,
    takes: Arc<Takes>,
    addresses: Addresses,
    fingerprint: Option<String>,
    #[cfg(feature = "tls")]
    authority: Option<Arc<CertificateAuthority>>,
    cancel: CancellationToken,
    #[cfg(feature = "phones")]
    /// Tasks of the ports for phones, which send a goodbye to phones that would keep sending.
    ports: Vec<JoinHandle<()>>,
    /// Tasks of the clients and of the mesh, which say goodbye to their endpoints and to other relays.
    #[cfg(not(target_arch = "wasm32"))]
    tasks: Mutex<Vec<JoinHandle<()>>>,
    #[cfg(not(target_arch = "wasm32"))]
    runtime: Option<Runtime>,
}

impl fmt::Debug for EndpointControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Binds every port and starts listening; returns when all are bound.
    ///
    /// A phone's port that another program holds is no error: it is reported by `unavailable`, and the rest works.
    ///
    /// # Errors
    /// [`LinkError::Bind`] when the HTTP port is taken or the address is not this machine's, `LinkError::Tls` when the
    /// user's certificate or key cannot be used, `LinkError::Ice` when a STUN or TURN server or another ICE setting makes
    /// no sense, [`LinkError::Token`] when the token is empty, [`LinkError::Runtime`] when the system gives no threads.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn start(config: EndpointConfig) -> Result<Self, LinkError> {
        let (config, gestures) = checked(config)?;
        #[cfg(feature = "obs")]
        let obs = match &config.obs {
            Some(obs) => Some((obs.clone(), obs::address(obs).map_err(|error| obs_error(obs, error))?)),
            None => None,
        };
        #[cfg(feature = "zenoh")]
        let mesh = config.mesh.clone().map(|mesh| crate::mesh::config(&mesh).map(|zenoh| (mesh, zenoh))).transpose()?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(config.threads.max(1))
            .thread_name("facelink")
            .enable_all()
            .build()
            .map_err(LinkError::Runtime)?;
        let secured = if config.listen { secured(&config)? } else { Secured::default() };
        let hub = Arc::new(Hub::new(config, Instant::now()));
        hub.set_gestures(gestures, Instant::now());
        let config = &hub.config;
        let cancel = CancellationToken::new();
        let takes = Arc::new(Takes::new(hub.clone()));
        let tasks = Mutex::<Vec<JoinHandle<()>>>::default();

        let address = SocketAddr::new(config.bind, config.port);
        let http_error = |source| LinkError::Bind { what: "HTTP and WebSocket", address, setting: "`port`", source };
        let (listener, http) = if config.listen {
            let listener = bind_tcp(address, false).map_err(http_error)?;
            let http = listener.local_addr().map_err(http_error)?;
            let second = config.second(http).and_then(|second| match bind_tcp(second, true) {
                Ok(listener) => Some(listener),
                Err(error) => {
                    tracing::debug!("not on {second}: {error}");
                    None
                }
            });
            (Some((listener, second)), http)
        } else {
            (None, SocketAddr::new(config.bind, 0))
        };

        #[cfg(feature = "phones")]
        let mut listening = Listening::open(config);
        #[cfg(feature = "phones")]
        let phones = Arc::new(Phones::new(hub.clone(), takes.clone(), listening.counters()));
        #[cfg(feature = "phones")]
        {
            let companion = Arc::downgrade(&phones);
            takes.set_phones(companion);
        }
        #[cfg(feature = "phones")]
        let doctor = {
            let unavailable = std::mem::take(&mut listening.unavailable);
            Doctor::new(
                phones.clone(),
                Facts { http: config.listen.then_some(http), https: secured.acceptor.is_some(), unavailable },
            )
        };
        let addresses = Addresses {
            http,
            #[cfg(feature = "phones")]
            live_link_face: phones.port(PhonePort::LiveLinkFace).map(|open| open.address),
            #[cfg(feature = "phones")]
            udp_json: phones.port(PhonePort::UdpJson).map(|open| open.address),
        };

        #[cfg(feature = "phones")]
        let ports;
        {
            let _runtime = runtime.enter();
            let server = http::Server {
                hub: hub.clone(),
                #[cfg(all(feature = "http", feature = "phones"))]
                phones: phones.clone(),
                #[cfg(all(feature = "http", feature = "phones"))]
                doctor: doctor.clone(),
                #[cfg(feature = "http")]
                takes: takes.clone(),
                #[cfg(all(feature = "http", feature = "webrtc"))]
                pictures: Pictures::new(hub.clone(), cancel.child_token()),
                cancel: cancel.clone(),
                #[cfg(feature = "http")]
                https: secured.acceptor.is_some(),
                #[cfg(all(feature = "http", feature = "tls"))]
                authority: secured.authority.clone(),
            };
            if let Some((listener, second)) = listener {
                let listener = tokio::net::TcpListener::from_std(listener).map_err(http_error)?;
                let second = second.map(tokio::net::TcpListener::from_std).transpose().map_err(http_error)?;
                runtime.spawn(http::serve(server, listener, second, secured.acceptor));
            }
            #[cfg(feature = "phones")]
            {
                ports = listening.serve(&phones, &cancel).map_err(LinkError::Runtime)?;
            }
            #[cfg(feature = "obs")]
            if let Some((config, address)) = obs {
                let obs = obs::Obs::new(&config);
                let companion: Arc<dyn Companion> = obs.clone();
                takes.set_obs(Arc::downgrade(&companion));
                runtime.spawn(obs.run(config, address, hub.clone(), Arc::downgrade(&takes), cancel.clone()));
            }
            #[cfg(feature = "zenoh")]
            if let Some((mesh, zenoh)) = mesh {
                let (sender, opened) = std::sync::mpsc::sync_channel(1);
                let task = crate::mesh::run(mesh, zenoh, hub.clone(), cancel.clone(), sender);
                tasks.lock().push(runtime.spawn(task));
                opened.recv().map_err(|_| LinkError::Runtime(std::io::ErrorKind::BrokenPipe.into()))??;
            }
            let (relay_hub, relay_cancel) = (hub.clone(), cancel.clone());
            runtime.spawn(async move { relay_hub.queues.viewers.run(relay_cancel).await });
            runtime.spawn(keep_time(hub.clone(), cancel.clone()));
        }
        tracing::info!(?addresses, "listening");
        Ok(Self(EndpointControl {
            hub,
            #[cfg(feature = "phones")]
            phones,
            #[cfg(feature = "phones")]
            doctor,
            takes,
            addresses,
            fingerprint: secured.fingerprint,
            #[cfg(feature = "tls")]
            authority: secured.authority,
            cancel,
            #[cfg(feature = "phones")]
            ports,
            tasks,
            runtime: Some(runtime),
        }))
    }

    /// Starts on the page's own thread. A browser lets no page listen, so that faces come from the endpoints that it
    /// [dials](EndpointControl::connect) alone; a warning says so where it is [to listen](EndpointConfig::listen).
    ///
    /// # Errors
    /// `LinkError::Ice` when a STUN or TURN server or another ICE setting makes no sense, [`LinkError::Token`] when the token is
    /// empty, [`LinkError::Gestures`] when a gesture cannot be recognised.
    #[cfg(target_arch = "wasm32")]
    pub fn start(config: EndpointConfig) -> Result<Self, LinkError> {
        use crate::clock::spawn;

        let (mut config, gestures) = checked(config)?;
        if std::mem::take(&mut config.listen) {
            tracing::warn!("a browser lets no page listen: faces come from the endpoints that this one dials alone");
        }
        let addresses = Addresses { http: SocketAddr::new(config.bind, 0) };
        let hub = Arc::new(Hub::new(config, Instant::now()));
        hub.set_gestures(gestures, Instant::now());
        let cancel = CancellationToken::new();
        let takes = Arc::new(Takes::new(hub.clone()));
        let (relay_hub, relay_cancel) = (hub.clone(), cancel.clone());
        spawn(async move { relay_hub.queues.viewers.run(relay_cancel).await });
        spawn(keep_time(hub.clone(), cancel.clone()));
        Ok(Self(EndpointControl { hub, takes, addresses, fingerprint: None, cancel }))
    }

    /// Frames in the order in which they came; bounded: when the reader is slow, the oldest are dropped. To show the
    /// newest face alone, skip frames that are [`late`](SubjectFrame::late); a [`Playout`](facelink::timing::Playout)
    /// makes use of them.
    pub fn frames(&self) -> &Receiver<SubjectFrame> {
        self.0.hub.queues.frames()
    }

    /// Lifecycle events, oldest first.
    pub fn events(&self) -> &Receiver<LinkEvent> {
        self.0.hub.queues.events()
    }

    /// Stops: says goodbye to every connection and frees every port. The same as dropping it.
    pub fn stop(self) {}
}

impl Deref for Endpoint {
    type Target = EndpointControl;

    fn deref(&self) -> &EndpointControl {
        &self.0
    }
}

impl EndpointControl {
    /// Where it listens for HTTP, WebSocket and signalling; `None` while [`EndpointConfig::listen`] is off.
    pub fn http(&self) -> Option<SocketAddr> {
        self.hub.config.listen.then_some(self.addresses.http)
    }

    /// Where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The pairing token that peers beyond this machine must show; `None` on loopback without one.
    pub fn token(&self) -> Option<String> {
        self.hub.auth.token()
    }

    /// Changes the pairing token, for peers to come; open connections stay. Without one, an endpoint that is open to a
    /// network makes one up, as it does at the start: see [`token`](Self::token).
    ///
    /// # Errors
    /// [`TokenError`] when no client could show it, or every client would be authenticated; the previous token stays.
    pub fn set_token(&self, token: Option<String>) -> Result<(), TokenError> {
        token.as_deref().map_or(Ok(()), check_token)?;
        let open = !self.hub.config.bind.is_loopback();
        self.hub.auth.set_token(token.or_else(|| open.then(new_token)));
        Ok(())
    }

    /// The key for end-to-end encrypted faces; `None` while faces are taken and sent in the clear.
    #[cfg(feature = "seal")]
    pub fn key(&self) -> Option<RoomKey> {
        self.hub.sealing.key()
    }

    /// Another key from now on, or none; for clients of this endpoint too that have none of their own. What is sealed with
    /// the key before is opened for two seconds more: what was under way. It is part of the [invitation](Self::invitation)
    /// from now on.
    #[cfg(feature = "seal")]
    pub fn set_key(&self, key: Option<RoomKey>) {
        self.hub.sealing.set_key(key);
    }

    /// Makes a new key and seals with it from now on. Who has left the room reads nothing any more, nor does anyone who is
    /// not given the new [invitation](Self::invitation).
    ///
    /// # Errors
    /// [`RandomError`] when the system has no random source; the key stays.
    #[cfg(feature = "seal")]
    pub fn new_key(&self) -> Result<RoomKey, RandomError> {
        let key = new_room_key()?;
        self.set_key(Some(key.clone()));
        Ok(key)
    }

    /// Moves the key one step of its ratchet on; the other members follow by themselves. Who is invited from now on cannot
    /// read what was sealed before.
    #[cfg(feature = "seal")]
    pub fn ratchet_key(&self) {
        self.hub.sealing.ratchet();
    }

    /// Makes a token with roles, in addition to the pairing token, which has every role.
    ///
    /// # Errors
    /// [`TokenError`] when no client could show it, it is there already, it has no role, or there are 1024.
    pub fn add_token(&self, options: TokenOptions) -> Result<IssuedToken, TokenError> {
        self.hub.auth.add_token(options, Instant::now())
    }

    /// Withdraws a token with roles: its connections are closed, and it lets no other in. `false` when there is none of this id.
    pub fn withdraw_token(&self, id: TokenId) -> bool {
        self.hub.withdraw_token(id, Instant::now())
    }

    /// The tokens with roles.
    pub fn tokens(&self) -> Vec<TokenStatus> {
        self.hub.tokens(Instant::now())
    }

    /// SHA-256 of the certificate that it shows over TLS, in hexadecimal with colons; `None` without TLS. A client can
    /// pin this one, see `ServerTrust::Fingerprint`.
    pub fn certificate_fingerprint(&self) -> Option<&str> {
        self.fingerprint.as_deref()
    }

    /// The authority that vouches for the certificate, where the endpoint made both: [`TlsConfig::SelfSigned`](crate::TlsConfig).
    #[cfg(feature = "tls")]
    pub fn certificate_authority(&self) -> Option<&CertificateAuthority> {
        self.authority.as_deref()
    }

    /// The page's address for peers on the same network, with the token in it, as a QR code carries it. With a
    /// [key](Self::key) it is in the fragment, `#k=`, which browsers send to no server: who has the invitation reads the
    /// faces.
    pub fn invitation(&self) -> String {
        let bound = self.addresses.http;
        let host = match bound.ip() {
            IpAddr::V6(ip) if ip.is_unspecified() => self.own_address(true).unwrap_or(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(ip) if ip.is_unspecified() => {
                self.own_address(self.hub.config.dual_stack).unwrap_or(Ipv4Addr::LOCALHOST.into())
            }
            ip => ip,
        };
        let url = page_url(SocketAddr::new(host, bound.port()), self.fingerprint.is_some(), self.token().as_deref());
        #[cfg(feature = "seal")]
        let url = self.key().map_or(url.clone(), |key| format!("{url}#k={}", *key.reveal()));
        url
    }

    /// The address of this machine that others use.
    fn own_address(&self, ipv6: bool) -> Option<IpAddr> {
        let routed = outward_address().filter(|address| address.is_ipv4() || ipv6);
        // A network without a router: a switch between a few machines, or one whose router does not route.
        #[cfg(feature = "phones")]
        let routed = routed.or_else(|| own_addresses(self.hub.config.bind, ipv6).first().map(|own| own.address));
        routed
    }

    /// How it was started. What was changed since, such as the [token](Self::token), is not in it.
    pub fn config(&self) -> &EndpointConfig {
        &self.hub.config
    }

    /// Current stats.
    pub fn stats(&self) -> EndpointStats {
        self.hub.stats(Instant::now())
    }

    /// Begins to record a take: everything that leaves for the engine, written by a thread of its own. What it is too slow
    /// for is left out and counted; the faces never wait for it. It ends by [`stop_take`](Self::stop_take), with the
    /// endpoint, or when the disk is full; see [`TakeStatus::error`].
    ///
    /// # Errors
    /// [`TakeRecordError`], when one is being recorded already, or the file cannot be made.
    pub fn start_take(&self, options: TakeOptions) -> Result<TakeStatus, TakeRecordError> {
        self.takes.start(options)
    }

    /// Records a frame that did not come by this endpoint: of a face that a game makes itself. It stands in the take as those
    /// of the network do, under its subject's name, at the time at which it was `received`. Costs nothing while no take is
    /// recorded, and never waits: what finds no room in the queue is counted in the take.
    ///
    /// A subject that appears or is lost is reported by [`record_event`](Self::record_event); names and ids must be none of the
    /// endpoint's own subjects.
    pub fn record_frame(&self, frame: &SubjectFrame) {
        self.hub.queues.tap(|tap| tap.push(|| Tapped::Frame(frame.clone())));
    }

    /// Records an event that did not come by this endpoint, as of now; see [`record_frame`](Self::record_frame).
    pub fn record_event(&self, event: &LinkEvent) {
        self.hub.queues.tap(|tap| tap.push(|| Tapped::Event(event.clone(), Instant::now())));
    }

    /// Ends the take as [`stop_take`](Self::stop_take) does, without waiting, for a thread that must not wait, such as that of
    /// a game. [`take_status`](Self::take_status) has what came of it.
    pub fn end_take(&self) {
        let takes = self.takes.clone();
        let ended = std::thread::Builder::new().name("facelink take".to_owned()).spawn(move || match takes.stop() {
            Ok(_) | Err(TakeRecordError::NotRecording) => {}
            Err(error) => tracing::warn!("{error}"),
        });
        if let Err(error) = ended {
            tracing::warn!("no thread to end the take: {error}");
        }
    }

    /// Ends the take, and returns when its file is whole. Where phones record in step, it waits up to two seconds for them to
    /// report their files.
    ///
    /// # Errors
    /// [`TakeRecordError`], when none is being recorded, or it was cut: what was written before the error is kept.
    pub fn stop_take(&self) -> Result<TakeStatus, TakeRecordError> {
        self.takes.stop()
    }

    /// Puts faces on a timecode: for a thread that follows one. `all` says whether those with a clock of their own are put
    /// on it too. It ends with the endpoint.
    pub fn timecode_input(&self, all: bool) -> TimecodeInput {
        TimecodeInput::new(self.hub.clone(), all)
    }

    /// Puts a mark into the take, in words.
    ///
    /// # Errors
    /// [`TakeRecordError`], when none is being recorded, or the text is empty or too long.
    pub fn mark_take(&self, text: impl Into<String>) -> Result<(), TakeRecordError> {
        self.takes.mark(text.into())
    }

    /// Files to put into every take from the next one on, also those begun by HTTP or OSC: what a program knows that the endpoint does not, such as
    /// the mappings of its avatars. They take the place of those that were set before.
    pub fn set_take_attachments(&self, attachments: Vec<TakeFileContent>) {
        self.takes.set_attachments(attachments);
    }

    /// The take that is being recorded, or the last one.
    pub fn take_status(&self) -> Option<TakeStatus> {
        self.takes.status()
    }

    /// The files in [`EndpointConfig::takes`], by name.
    pub fn take_files(&self) -> Vec<TakeFile> {
        self.takes.files()
    }

    /// Stats of every connection, oldest first.
    pub fn connections(&self) -> Vec<ConnectionStats> {
        self.hub.connection_stats(Instant::now())
    }

    /// Asks a subject's sender for this frame rate from now on, in place of the adaptive rate; `None` returns to it.
    pub fn set_rate(&self, subject: SubjectId, fps: Option<f32>) {
        self.hub.subjects().set_rate(subject, fps);
    }

    /// Disables a subject, or enables it again. The frames of a disabled one go nowhere: not to the engine, takes, outputs,
    /// subscribers or relays. They are counted, and it stays in the [statistics](Self::stats). It holds for this name for as long
    /// as the endpoint lives, also when its sender comes again. It leaves with [`LostReason::Disabled`], and appears as a new one.
    ///
    /// [`LostReason::Disabled`]: crate::LostReason::Disabled
    ///
    /// # Errors
    /// [`SubjectError::Unknown`] when there is no subject of this name and no rule for one, [`SubjectError::TooMany`].
    pub fn enable_subject(&self, subject: &str, enabled: bool) -> Result<(), SubjectError> {
        self.hub.enable_subject(subject, enabled, Instant::now())
    }

    /// Calls a subject by another name, here and for everyone beyond; without one, by that of its source again. Its source goes on
    /// to send its own name, and the rule is kept for that for as long as the endpoint lives, also when its sender comes again. It
    /// leaves with [`LostReason::Renamed`], and appears under the new name with its next frame; its calibration goes with it.
    ///
    /// [`LostReason::Renamed`]: crate::LostReason::Renamed
    ///
    /// # Errors
    /// [`SubjectError`] when there is no such subject, another one is called so, none may be called so, or there are as many rules
    /// as are kept. Nothing changes then.
    pub fn rename_subject(&self, subject: &str, name: Option<&str>) -> Result<(), SubjectError> {
        self.hub.rename_subject(subject, name, Instant::now())
    }

    /// As [`rename_subject`](Self::rename_subject), for a name that another subject may have: two phones are then one character. As
    /// for sources of one name, the one that connected last shows; it is silent for a second, and the other one does.
    ///
    /// # Errors
    /// The same, but for [`SubjectError::Taken`].
    pub fn alias_subject(&self, subject: &str, name: &str) -> Result<(), SubjectError> {
        self.hub.alias_subject(subject, name, Instant::now())
    }

    /// What subjects are called, and which are disabled.
    pub fn subject_rules(&self) -> SubjectRules {
        self.hub.subjects().rules().clone()
    }

    /// Replaces all of that, such as by the rules of a session's file: also for subjects that are not there yet.
    pub fn set_subject_rules(&self, rules: SubjectRules) {
        self.hub.set_subject_rules(rules, Instant::now());
    }

    /// Cuts to a subject, as a controller does by OSC: outputs, and avatars of a game, without a subject of their own show this
    /// one. `false` when there is no such subject.
    pub fn cut_to(&self, subject: &str) -> bool {
        self.hub.cut_to(subject)
    }

    /// Changes the gestures that are recognised on every subject; `None` recognises none. What is active ends.
    ///
    /// # Errors
    /// Names the field of the set that cannot be used; nothing changes then.
    pub fn set_gestures(&self, set: Option<&GestureSet>) -> Result<(), GestureError> {
        let recognizer = set.map(GestureRecognizer::new).transpose()?;
        self.hub.set_gestures(recognizer, Instant::now());
        Ok(())
    }

    /// Changes the adaptive rate; every sender starts again at the highest rate.
    pub fn set_adaptive_fps(&self, settings: RateSettings) {
        self.hub.subjects().set_adaptive(settings);
    }

    /// The same for one subject alone; `None` returns to the endpoint's settings.
    pub fn set_adaptive_fps_of(&self, subject: SubjectId, settings: Option<RateSettings>) {
        self.hub.subjects().set_adaptive_of(subject, settings);
    }

    /// How many frames a second of a subject this side can make use of, such as few of one that is not visible: its
    /// sender is asked for no more. `None`: as many as there are.
    pub fn set_demand(&self, subject: SubjectId, fps: Option<f32>) {
        self.hub.subjects().set_demand(subject, fps);
    }

    #[cfg(feature = "webrtc")]
    /// Changes the STUN and TURN servers, such as their credentials, for connections to come and open ones.
    ///
    /// # Errors
    /// The first [`IceError`] that is found; the servers before stay then.
    pub fn set_ice_servers(&self, servers: Vec<facelink::wire::message::IceServer>) -> Result<(), IceError> {
        check_ice(&IceConfig { servers: servers.clone(), ..self.hub.config.ice.clone() })?;
        self.hub.set_ice_servers(servers);
        Ok(())
    }

    /// Does one step of a subject's calibration, as HTTP, OSC and the Bevy Remote Protocol do.
    ///
    /// # Errors
    /// [`CalibrateError`], when there is no such subject, or it has not what the step needs; nothing changes then.
    pub fn calibrate(&self, subject: &str, step: CalibrationStep) -> Result<(), CalibrateError> {
        self.hub.subjects().calibrate_by(subject, step)
    }

    /// Takes the face of now for a subject's neutral one. `false` when there is no such subject.
    pub fn calibrate_neutral(&self, subject: &str) -> bool {
        self.calibrate(subject, CalibrationStep::Neutral).is_ok()
    }

    /// Takes the head of now for looking straight ahead. `false` when there is no such subject, or it has no head.
    pub fn recentre_head(&self, subject: &str) -> bool {
        self.calibrate(subject, CalibrationStep::Head).is_ok()
    }

    /// Begins to follow a subject that makes every face as far as it goes. `false` when there is no such subject.
    pub fn begin_range_of_motion(&self, subject: &str) -> bool {
        self.calibrate(subject, CalibrationStep::RangeBegin).is_ok()
    }

    /// What a range of motion that has begun has seen so far.
    pub fn range_of_motion(&self, subject: &str) -> Option<RangeCapture> {
        self.hub.subjects().range(subject)
    }

    /// Ends a range of motion; what each shape reached counts as 1 from now on. Without `keep` nothing changes. `None` when
    /// none had begun.
    pub fn end_range_of_motion(&self, subject: &str, keep: bool) -> Option<RangeCapture> {
        self.hub.subjects().end_range(subject, keep).flatten().map(|capture| *capture)
    }

    /// What is taken off a subject's frames.
    pub fn calibration(&self, subject: &str) -> Option<Calibration> {
        self.hub.subjects().calibrate(subject, |calibration, _| *calibration)
    }

    /// Sets what is taken off a subject's frames; nothing by [`Calibration::default`]. `false` when there is no such
    /// subject.
    pub fn set_calibration(&self, subject: &str, calibration: Calibration) -> bool {
        self.hub.subjects().calibrate(subject, |now, _| *now = calibration).is_some()
    }

    /// Sends a face of this game to all who have subscribed to it: pages, and games that dialled in. Our own engine does
    /// not hear of it. Never blocks. A face that is not sent for [`EndpointConfig::subject_timeout`] leaves.
    ///
    /// # Errors
    /// [`PublishError`] when another source sends a subject of this name, there are too many, or a frame with a later number was
    /// published before.
    pub fn publish(&self, name: &str, frame: &FaceFrame) -> Result<(), PublishError> {
        self.hub
            .publish(name, frame, Instant::now())
            .map_err(|refused| PublishError { name: name.to_owned(), reason: refused.to_string() })
    }

    /// Dials out: faces of the endpoint at `config.url` come in here like those of any other source, and frames that the
    /// client is given go there. The connection keeps itself alive until the client is dropped.
    #[cfg(target_arch = "wasm32")]
    pub fn connect(&self, config: ClientConfig) -> Option<Client> {
        let (client, task) = Client::new(config, Some(self.hub.clone()), self.cancel.child_token());
        if let Some(task) = task {
            crate::clock::spawn(task);
        }
        Some(client)
    }

    /// Dials out: faces of the endpoint at `config.url` come in here like those of any other source, and frames that the
    /// client is given go there. The connection keeps itself alive until the client is dropped.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn connect(&self, config: ClientConfig) -> Option<Client> {
        let runtime = self.runtime()?;
        let (client, task) = Client::new(config, Some(self.hub.clone()), self.cancel.child_token());
        let task = task.map(|task| runtime.spawn(task));
        let mut tasks = self.tasks.lock();
        tasks.retain(|task| !task.is_finished());
        tasks.extend(task);
        Some(client)
    }

    /// Handle of the runtime, for a [`Client`] in the same process.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn runtime(&self) -> Option<&Handle> {
        self.runtime.as_ref().map(Runtime::handle)
    }
}

/// Phones.
#[cfg(feature = "phones")]
impl EndpointControl {
    /// Ports that were asked for and could not be had, each with a line that says why.
    pub fn unavailable(&self) -> &[Unavailable] {
        &self.doctor.facts.unavailable
    }

    /// Where it listens for phones: every open port.
    pub fn phone_ports(&self) -> Vec<(PhonePort, SocketAddr)> {
        self.phones.ports().iter().map(|open| (open.port, open.address)).collect()
    }

    /// Where it listens for one purpose.
    pub fn phone_port(&self, port: PhonePort) -> Option<SocketAddr> {
        self.phones.port(port).map(|open| open.address)
    }

    /// What arrives on each port for phones right now.
    pub fn arrivals(&self) -> Vec<PortStats> {
        let now = Instant::now();
        self.phones.ports().iter().map(|open| open.stats(now)).collect()
    }

    /// What listens, what arrives, what a phone is to be given and what is misconfigured, in words. Cheap enough for once
    /// a second.
    pub fn diagnose(&self) -> Option<Report> {
        Some(self.doctor.diagnose(self.runtime(), Instant::now()))
    }

    #[cfg(test)]
    pub(crate) fn doctor(&self) -> &Arc<Doctor> {
        &self.doctor
    }

    /// Calls a phone from now on, until it sends; it is remembered if [`EndpointConfig::remember_phones`] says where.
    /// `false` when 64 others are called already.
    pub fn call_phone(&self, call: PhoneCall) -> bool {
        self.phones.roster.add(call)
    }

    /// Calls a phone no longer. `false` when it was not called.
    pub fn forget_phone(&self, address: IpAddr) -> bool {
        self.phones.roster.forget(address)
    }

    /// Every phone that is called, and what is known of it.
    pub fn phones(&self) -> Vec<PhoneStatus> {
        self.phones.roster.status(Instant::now())
    }

    /// Sends a command to a phone that runs Live Link Face, by the app's OSC remote control.
    ///
    /// # Errors
    /// [`PhoneCommandError`] when no phone there is called, its app has no remote control, or it does not answer.
    pub fn command_phone(&self, address: IpAddr, command: PhoneCommand) -> Result<(), PhoneCommandError> {
        self.phones.roster.command(address, command)
    }

    /// What the numbers of an app mean, for subjects without a profile of their own.
    pub fn profile(&self, kind: SourceKind) -> SourceProfile {
        self.phones.profiles.kind(kind)
    }

    /// Changes what the numbers of an app mean, from the next frame on.
    pub fn set_profile(&self, kind: SourceKind, profile: SourceProfile) {
        self.phones.profiles.set_kind(kind, profile);
    }

    /// The profile of one subject, if it has one of its own.
    pub fn subject_profile(&self, subject: &str) -> Option<SourceProfile> {
        self.phones.profiles.subject(&self.source_name(subject))
    }

    /// Gives one subject a profile of its own, or takes it away. It is kept for the source that sends the subject now.
    pub fn set_subject_profile(&self, subject: &str, profile: Option<SourceProfile>) {
        self.phones.profiles.set_subject(&self.source_name(subject), profile);
    }

    /// The name by which a subject is sent, as far as it is known.
    fn source_name(&self, subject: &str) -> Arc<str> {
        let source = self.hub.subjects().source_of(subject);
        source.ok().flatten().unwrap_or_else(|| subject.into())
    }
}

#[cfg(feature = "obs")]
fn obs_error(config: &ObsConfig, error: ClientError) -> LinkError {
    match error {
        ClientError::Url { url, reason } => LinkError::Obs { url, reason },
        error => LinkError::Obs { url: config.url.clone(), reason: error.to_string() },
    }
}

/// The settings, complete and without what cannot work.
fn checked(config: EndpointConfig) -> Result<(EndpointConfig, Option<GestureRecognizer>), LinkError> {
    let config = config.with_default_token();
    #[cfg(feature = "webrtc")]
    check_ice(&config.ice)?;
    config.token.as_deref().map_or(Ok(()), check_token)?;
    Authentication::check_tokens(&config)?;
    #[cfg(feature = "phones")]
    for out in &config.vrchat_out {
        VrchatWriter::new(&out.prefix, out.mapping.as_ref())?;
    }
    let gestures = config.gestures.as_ref().map(GestureRecognizer::new).transpose()?;
    Ok((config, gestures))
}

/// What is due by time, until it is cancelled.
async fn keep_time(hub: Arc<Hub>, cancel: CancellationToken) {
    let mut ticks = ticks(TICK);
    // Connections are looked at every second time.
    let mut turn = false;
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            _ = ticks.tick() => {}
        }
        turn = !turn;
        if turn {
            for links in hub.links().chunks(AT_ONCE) {
                links.iter().for_each(|link| link.on_time(Instant::now()));
                yield_now().await;
            }
        }
        for subjects in hub.subject_ids().chunks(AT_ONCE) {
            hub.tick_subjects(subjects, Instant::now());
            yield_now().await;
        }
        hub.expire_connections(Instant::now());
        hub.expire_tokens(Instant::now());
    }
}

/// What TLS is served with, when it is on.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Default)]
struct Secured {
    acceptor: Option<http::Acceptor>,
    fingerprint: Option<String>,
    #[cfg(feature = "tls")]
    authority: Option<Arc<CertificateAuthority>>,
}

#[cfg(feature = "tls")]
fn secured(config: &EndpointConfig) -> Result<Secured, LinkError> {
    Ok(crate::tls::start(&config.tls)?.map_or_else(Secured::default, |identity| Secured {
        acceptor: Some(identity.acceptor),
        fingerprint: Some(identity.fingerprint),
        authority: identity.authority.map(Arc::new),
    }))
}

#[cfg(not(any(feature = "tls", target_arch = "wasm32")))]
fn secured(_: &EndpointConfig) -> Result<Secured, LinkError> {
    Ok(Secured::default())
}

#[cfg(feature = "webrtc")]
/// Refuses what cannot work, and logs what this side does not use.
fn check_ice(ice: &IceConfig) -> Result<(), IceError> {
    let check = ice.check();
    if let Some(error) = check.errors.into_iter().next() {
        return Err(error);
    }
    for warning in check.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Waits for the tasks that say goodbye: a runtime that is shut down does not poll its tasks once more.
#[cfg(not(target_arch = "wasm32"))]
fn stop(runtime: Runtime, tasks: Vec<JoinHandle<()>>) {
    let tasks = futures_util::future::join_all(tasks);
    let _ = runtime.block_on(async { tokio::time::timeout(STOP_LIMIT, tasks).await });
    runtime.shutdown_timeout(STOP_LIMIT);
}

/// The same on a thread of its own: Zenoh's session, which waits when it is dropped, must have ended before its runtime does.
#[cfg(not(target_arch = "wasm32"))]
fn stop_elsewhere(runtime: Runtime, tasks: Vec<JoinHandle<()>>) {
    let (sender, given) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("facelink stop".to_owned());
    match thread.spawn(move || given.recv().map(|(runtime, tasks)| stop(runtime, tasks))) {
        Ok(_) => drop(sender.send((runtime, tasks))),
        Err(_) => runtime.shutdown_background(),
    }
}

impl Drop for EndpointControl {
    fn drop(&mut self) {
        // The file is whole before the program may end; phones are stopped while their ports are open.
        if let Err(error @ TakeRecordError::Write { .. }) = self.takes.stop() {
            tracing::error!(%error, "the take was cut");
        }
        self.cancel.cancel();
        self.hub.stop();
        #[cfg(not(target_arch = "wasm32"))]
        if let Some(runtime) = self.runtime.take() {
            // A runtime may not wait inside another one.
            let inside = Handle::try_current().is_ok();
            #[cfg(feature = "zenoh")]
            let has_mesh = self.hub.config.mesh.is_some();
            #[cfg(not(feature = "zenoh"))]
            let has_mesh = false;
            if inside && !has_mesh {
                return runtime.shutdown_background();
            }
            #[cfg(feature = "phones")]
            let mut tasks = std::mem::take(&mut self.ports);
            #[cfg(not(feature = "phones"))]
            let mut tasks = Vec::new();
            tasks.append(self.tasks.get_mut());
            if inside {
                stop_elsewhere(runtime, tasks);
            } else {
                stop(runtime, tasks);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientState;

    #[cfg(feature = "webrtc")]
    #[test]
    fn start_refuses_ice_servers_without_credentials() {
        use facelink::wire::message::IceServer;

        let servers = vec![IceServer { urls: vec!["turn:turn.example".to_owned()], ..IceServer::default() }];
        let config =
            EndpointConfig { port: 0, ice: IceConfig { servers, ..IceConfig::default() }, ..EndpointConfig::default() };
        let error = Endpoint::start(config).err().map(|error| error.to_string());
        let wanted = "ICE settings: field `ice_servers[0].username`: missing or empty, and turn:turn.example needs it";
        assert_eq!(error.as_deref(), Some(wanted));
    }

    #[cfg(feature = "webrtc")]
    #[test]
    fn ice_servers_and_token_are_checked_when_they_change() {
        use facelink::wire::message::IceServer;

        let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
        let stun = IceServer { urls: vec!["stun:stun.example".to_owned()], ..IceServer::default() };
        assert_eq!(endpoint.set_ice_servers(vec![stun.clone()]), Ok(()));
        let wrong = IceServer { urls: vec!["turn:turn.example".to_owned()], ..IceServer::default() };
        let refused = endpoint.set_ice_servers(vec![stun.clone(), wrong]);
        assert!(matches!(refused, Err(IceError::NoCredentials { field, .. }) if field == "ice_servers[1].username"));
        assert_eq!(endpoint.hub.peer_config().ice.servers, [stun]);

        assert_eq!(endpoint.set_token(Some(String::new())), Err(TokenError::Empty));
        assert_eq!((endpoint.token(), endpoint.set_token(Some("a".to_owned()))), (None, Ok(())));
        assert!(endpoint.invitation().ends_with("?token=a"));
        assert_eq!((endpoint.set_token(None), endpoint.token()), (Ok(()), None));
        let empty = EndpointConfig { port: 0, token: Some(String::new()), ..EndpointConfig::default() };
        assert!(matches!(Endpoint::start(empty), Err(LinkError::Token(TokenError::Empty))));
    }

    #[test]
    fn endpoint_without_a_listener_dials_out() {
        let dialler = Endpoint::start(EndpointConfig::dial_only()).expect("an endpoint");
        assert_eq!(dialler.http(), None);
        let host = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
        let client = dialler.connect(ClientConfig::new(format!("ws://{}", host.addresses().http))).expect("it runs");
        let connected = client.wait_for(|state| matches!(state, ClientState::Connected(_)));
        let limit = Duration::from_secs(20);
        let connected =
            dialler.runtime().expect("it runs").block_on(async { tokio::time::timeout(limit, connected).await });
        assert!(connected.is_ok(), "{:?}", client.state());
    }

    #[test]
    fn invitation_escapes_the_token() {
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
}
