//! The plugin: what it listens on, and in which order its systems run.

use std::{net::IpAddr, ops::Deref};

use bevy::{
    app::{AnimationSystems, App, AppExit, Last, Plugin, PostUpdate, PreUpdate},
    asset::{AssetEventSystems, io::file::FileAssetReader},
    prelude::*,
    transform::TransformSystems,
};
use crossbeam_channel::{Receiver, Sender};
use facelink::{FaceFrame, timing::Stamp, wire::viseme::Viseme};
use facelink_net::{
    DEFAULT_PORT, Emotion, Endpoint, EndpointConfig, IceConfig, LIVE_LINK_FACE_PORT, LinkEvent, PhoneCall, PhonePorts,
    SourceKind, SourceProfile, Speech, SubjectFrame, SubjectId, TlsConfig, UDP_JSON_PORT, VmcOut, remembered_phones,
};

use crate::{
    avatar, bones, detail, diagnostics, drive, layers, mapping, performers, phones, playout, pose::FaceSettings, send,
    sources, subjects,
};

/// The order of FaceLink's systems.
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaceLinkSystems {
    /// `PreUpdate`: frames and events come in from the link.
    Receive,
    /// `PostUpdate`, before [`Drive`](Self::Drive): the pose on stage now, and who drives whom.
    Evaluate,
    /// `PostUpdate`, after `AnimationSystems` and before `TransformSystems::Propagate`: morph weights and bones.
    Drive,
}

/// Receives faces and drives avatars with them.
///
/// By default it listens on this machine alone: HTTP, WebSocket and WebRTC signalling on port 8765, Live Link Face on
/// 11111, the old system's UDP JSON on 5005. [`lan`](Self::lan) opens it to the network.
#[derive(Clone, Debug)]
pub struct FaceLinkPlugin {
    /// What to listen on; `None` opens no socket at all, and faces come from a [`FaceInbox`] of yours.
    pub endpoint: Option<EndpointConfig>,
    /// How faces come and go.
    pub settings: FaceSettings,
}

impl Default for FaceLinkPlugin {
    fn default() -> Self {
        Self {
            endpoint: Some(EndpointConfig {
                port: DEFAULT_PORT,
                live_link_face: Some(LIVE_LINK_FACE_PORT),
                udp_json: Some(UDP_JSON_PORT),
                ..EndpointConfig::default()
            }),
            settings: FaceSettings::default(),
        }
    }
}

impl FaceLinkPlugin {
    /// Opens no socket: for tests, and for games that bring frames by other ways. See [`FaceInbox`].
    pub fn without_sockets() -> Self {
        Self { endpoint: None, ..Self::default() }
    }

    /// Listens as `config` says.
    pub fn with_endpoint(config: EndpointConfig) -> Self {
        Self { endpoint: Some(config), ..Self::default() }
    }

    fn configure(mut self, change: impl FnOnce(&mut EndpointConfig)) -> Self {
        change(self.endpoint.get_or_insert_default());
        self
    }

    /// Opens it to the local network, with HTTPS beside HTTP. Peers beyond this machine must show `token`, which the
    /// phone gets by QR code or is typed in.
    #[must_use]
    pub fn lan(self, token: impl Into<String>) -> Self {
        self.configure(|config| {
            config.bind = IpAddr::from([0, 0, 0, 0]);
            config.token = Some(token.into());
            config.tls = TlsConfig::self_signed();
        })
    }

    /// HTTPS and `wss://` on the port of HTTP: with a certificate that is made and kept, with one of yours, or not at
    /// all.
    #[must_use]
    pub fn https(self, tls: TlsConfig) -> Self {
        self.configure(|config| config.tls = tls)
    }

    /// How WebRTC connections are made: STUN and TURN servers, ports, interfaces.
    #[must_use]
    pub fn ice(self, ice: IceConfig) -> Self {
        self.configure(|config| config.ice = ice)
    }

    /// Port of HTTP, WebSocket and signalling; 0 picks a free one.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.configure(|config| config.port = port)
    }

    /// Port of Live Link Face; `None` does not listen, 0 picks a free one.
    #[must_use]
    pub fn live_link_face(self, port: Option<u16>) -> Self {
        self.configure(|config| config.live_link_face = port)
    }

    /// Port of the old system's UDP JSON; `None` does not listen, 0 picks a free one.
    #[must_use]
    pub fn udp_json(self, port: Option<u16>) -> Self {
        self.configure(|config| config.udp_json = port)
    }

    /// Listens for every phone app on the ports that they send to by default, and finds and remembers phones that have to
    /// be called. For phones on the network, [`lan`](Self::lan) too.
    #[must_use]
    pub fn with_phones(self) -> Self {
        self.configure(|config| {
            config.phones = PhonePorts::usual();
            config.find_phones = true;
            config.remember_phones = remembered_phones();
        })
    }

    /// Ports of the phone apps beside Live Link Face and UDP JSON.
    #[must_use]
    pub fn phones(self, ports: PhonePorts) -> Self {
        self.configure(|config| config.phones = ports)
    }

    /// Calls a phone whose app sends when it is asked to.
    #[must_use]
    pub fn call(self, call: PhoneCall) -> Self {
        self.configure(|config| config.call.push(call))
    }

    /// Sends a face out by VMC protocol, to VSeeFace, VMagicMirror, Warudo and others.
    #[must_use]
    pub fn vmc_out(self, out: VmcOut) -> Self {
        self.configure(|config| config.vmc_out.push(out))
    }

    /// What an app's numbers mean: axis signs, order, units, sides. To change it while the game runs, use
    /// [`FaceLinkEndpoint`].
    #[must_use]
    pub fn profile(self, kind: SourceKind, profile: SourceProfile) -> Self {
        self.configure(|config| config.profiles.set(kind, profile))
    }
}

/// The running endpoint. Removing it, an [`AppExit`], or dropping the `App` frees every port.
#[derive(Resource, Debug)]
pub struct FaceLinkEndpoint(Endpoint);

impl Deref for FaceLinkEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

/// Why nothing listens, in words for the user. Present instead of [`FaceLinkEndpoint`] when starting it failed.
#[derive(Resource, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(Resource)]
pub struct FaceLinkFailure(pub String);

/// Where frames and events come from.
#[derive(Resource, Clone, Debug)]
pub struct FaceInbox {
    pub(crate) frames: Receiver<SubjectFrame>,
    pub(crate) events: Receiver<LinkEvent>,
}

/// The sending end of a [`FaceInbox`] without sockets.
#[derive(Resource, Clone, Debug)]
pub struct FaceInjector {
    frames: Sender<SubjectFrame>,
    oldest: Receiver<SubjectFrame>,
    events: Sender<LinkEvent>,
}

impl FaceInbox {
    /// An inbox that holds at most `capacity` frames, and the end to fill it by.
    pub fn bounded(capacity: usize) -> (Self, FaceInjector) {
        let (frames, inbox_frames) = crossbeam_channel::bounded(capacity.max(1));
        let (events, inbox_events) = crossbeam_channel::bounded(capacity.max(1));
        let injector = FaceInjector { frames, oldest: inbox_frames.clone(), events };
        (Self { frames: inbox_frames, events: inbox_events }, injector)
    }
}

impl FaceInjector {
    /// Puts a complete frame of a subject in. A full inbox loses its oldest frame.
    pub fn send(&self, id: u64, name: &str, frame: FaceFrame) {
        if let Err(full) = self.frames.try_send(subjects::injected(id, name, frame)) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Puts a frame in that has a place in time, from a [`SourceClock`](facelink::timing::SourceClock): it goes through the
    /// jitter buffer, as frames of the network do.
    pub fn send_stamped(&self, id: u64, name: &str, frame: FaceFrame, stamp: Stamp) {
        let stamped = SubjectFrame { stamp: Some(stamp), ..subjects::injected(id, name, frame) };
        if let Err(full) = self.frames.try_send(stamped) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Puts a face in that says a viseme of this weight, `0..=1`, on top of `frame`.
    pub fn say(&self, id: u64, name: &str, frame: FaceFrame, viseme: Viseme, weight: f32) {
        let mut said = subjects::injected(id, name, frame);
        said.speech = Some(Speech { viseme, weight, weights: said.frame.weights });
        if let Err(full) = self.frames.try_send(said) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Tells a subject to show an emotion.
    pub fn emotion(&self, id: u64, name: &str, emotion: Emotion) {
        let _ = self.events.try_send(LinkEvent::Emotion { id: SubjectId(id), name: name.into(), emotion });
    }

    /// Tells that a subject has gone. If it comes back, it has a higher id.
    pub fn lose(&self, id: u64, name: &str) {
        let _ = self.events.try_send(LinkEvent::SubjectLost {
            id: SubjectId(id),
            name: name.into(),
            reason: facelink_net::LostReason::Disconnected,
        });
    }

    /// Tells that a connection has ended.
    pub fn disconnect(&self, id: &str) {
        let _ =
            self.events.try_send(LinkEvent::Disconnected { connection_id: id.into(), reason: "injected".to_owned() });
    }

    /// Tells that a connection came.
    pub fn connect(&self, id: &str, source: SourceKind) {
        let _ = self.events.try_send(LinkEvent::Connected { connection_id: id.into(), source, address: None });
    }
}

impl Plugin for FaceLinkPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceSettings>()
            .register_type::<subjects::FaceSubject>()
            .register_type::<subjects::LinkQuality>()
            .register_type::<sources::FaceSource>()
            .register_type::<sources::SourceQuality>()
            .register_type::<sources::FaceDial>()
            .register_type::<send::SendFace>()
            .register_type::<send::SendFaceState>()
            .register_type::<subjects::AdaptiveFps>()
            .register_type::<subjects::RequestedFps>()
            .register_type::<subjects::SubjectAdaptiveFps>()
            .register_type::<playout::FacePlayout>()
            .register_type::<playout::FaceTimecode>()
            .register_type::<playout::PlayoutQuality>()
            .init_resource::<playout::FaceTimecode>()
            .init_resource::<playout::Stage>()
            .register_type::<detail::FaceBudget>()
            .register_type::<detail::FaceDetail>()
            .register_type::<detail::FaceLoad>()
            .init_resource::<detail::FaceBudget>()
            .init_resource::<detail::FaceLoad>()
            .init_resource::<detail::Work>()
            .register_type::<subjects::FaceSubjects>()
            .register_type::<crate::FacePose>()
            .register_type::<avatar::FaceAvatar>()
            .register_type::<avatar::ShapePreview>()
            .register_type::<mapping::AvatarMapping>()
            .register_type::<layers::RefusedExpressions>()
            .register_type::<layers::FaceExpressions>()
            .register_type::<layers::FaceSpeech>()
            .register_type::<layers::FaceIdle>()
            .register_type::<layers::VirtualSubject>()
            .init_resource::<layers::FaceExpressionLibrary>()
            .init_resource::<layers::RefusedExpressions>()
            .add_observer(layers::on_virtual_added)
            .init_resource::<mapping::FacePresets>()
            .register_type::<avatar::BindReport>()
            .register_type::<avatar::DrivenBy>()
            .register_type::<avatar::Drives>()
            .register_type::<FaceLinkFailure>()
            .insert_resource(self.settings)
            .init_resource::<subjects::FaceSubjects>()
            .init_resource::<diagnostics::LinkFigures>()
            .add_observer(avatar::on_scene_ready)
            .add_observer(avatar::on_avatar_added)
            .add_observer(avatar::on_sender_added)
            .add_observer(avatar::on_mapping_inserted)
            .add_observer(avatar::on_mapping_removed)
            .add_observer(sources::on_dial_removed)
            .add_observer(send::on_sender_removed)
            .add_observer(subjects::on_subject_removed)
            .init_resource::<phones::FacePhones>()
            .add_observer(phones::on_neutral)
            .add_observer(phones::on_recentre)
            .add_observer(phones::on_clear)
            .add_observer(performers::on_appeared)
            .add_observer(performers::on_save)
            .add_observer(performers::on_begin_range)
            .add_observer(performers::on_end_range)
            .configure_sets(PreUpdate, FaceLinkSystems::Receive)
            .configure_sets(
                PostUpdate,
                (FaceLinkSystems::Evaluate, FaceLinkSystems::Drive)
                    .chain()
                    .after(AnimationSystems)
                    .before(TransformSystems::Propagate),
            )
            .add_systems(
                PreUpdate,
                (bones::turn_back, (subjects::receive, subjects::receive_events).chain())
                    .in_set(FaceLinkSystems::Receive),
            )
            .add_systems(
                PostUpdate,
                (
                    (
                        playout::set_stage,
                        subjects::evaluate,
                        layers::merge,
                        subjects::add_layers,
                        avatar::choose_subjects,
                    )
                        .chain()
                        .in_set(FaceLinkSystems::Evaluate),
                    (
                        avatar::remap,
                        avatar::bind,
                        detail::plan,
                        drive::show,
                        drive::evaluate_mappings,
                        drive::write_weights,
                        drive::turn_bones,
                        detail::settle,
                    )
                        .chain()
                        // A mapping that has changed is shown in this very frame.
                        .after(AssetEventSystems)
                        .in_set(FaceLinkSystems::Drive),
                ),
            )
            .add_systems(
                PreUpdate,
                (
                    (subjects::read_figures, sources::read_sources).chain(),
                    subjects::apply_rates,
                    detail::ask,
                    phones::read_phones,
                    avatar::report_failed_scenes,
                    (sources::dial, sources::watch_dials).chain(),
                )
                    .after(FaceLinkSystems::Receive),
            )
            .add_systems(PostUpdate, send::send_faces.after(FaceLinkSystems::Drive));
        app.add_systems(Last, stop);
        if app.world().contains_resource::<AssetServer>() {
            app.init_asset::<mapping::FaceMapping>()
                .init_asset_loader::<mapping::MappingLoader>()
                .init_asset::<performers::FacePerformer>()
                .init_asset_loader::<performers::PerformerLoader>();
            if let Some(assets) = app.get_added_plugins::<AssetPlugin>().first() {
                let root = FileAssetReader::get_base_path().join(&assets.file_path);
                app.insert_resource(mapping::FileWatch::new(root.clone()))
                    .insert_resource(performers::FacePerformers::new(root))
                    .add_systems(PreUpdate, (mapping::watch_files, performers::apply));
            }
        }
        diagnostics::register(app);
        #[cfg(feature = "aria")]
        app.add_plugins(crate::aria::AriaPlugin);
        #[cfg(feature = "vrm")]
        crate::vrm::build(app);
        if let Some(config) = &self.endpoint {
            app.insert_resource(subjects::AdaptiveFps {
                enabled: config.adaptive_fps,
                min_fps: config.min_fps,
                max_fps: config.max_fps,
                law: config.rate_law.into(),
                ..subjects::AdaptiveFps::default()
            });
            start(app, config.clone());
        } else {
            app.init_resource::<subjects::AdaptiveFps>();
        }
    }
}

/// Not every runner drops its `App` when the game ends.
fn stop(mut commands: Commands, mut exits: MessageReader<AppExit>) {
    if exits.read().count() > 0 {
        commands.remove_resource::<FaceLinkEndpoint>();
    }
}

fn start(app: &mut App, config: EndpointConfig) {
    match Endpoint::start(config) {
        Ok(endpoint) => {
            let addresses = endpoint.addresses();
            info!("FaceLink listens on http://{} (open it in a browser to send a face)", addresses.http);
            let ports: Vec<_> =
                endpoint.phone_ports().iter().map(|(port, address)| format!("{port} {}", address.port())).collect();
            if !ports.is_empty() {
                info!("FaceLink listens for phones: {}", ports.join(", "));
            }
            let inbox = FaceInbox { frames: endpoint.frames().clone(), events: endpoint.events().clone() };
            app.insert_resource(inbox).insert_resource(FaceLinkEndpoint(endpoint));
        }
        Err(failure) => {
            error!("FaceLink receives nothing: {failure}");
            app.insert_resource(FaceLinkFailure(failure.to_string()));
        }
    }
}
