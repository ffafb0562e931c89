//! The plugin: what it listens on, and the plugins that it is made of.

#[cfg(sockets)]
use std::net::Ipv4Addr;

use bevy::prelude::*;
#[cfg(feature = "net")]
use facelink_net::{EndpointConfig, IceConfig, PhonePorts};
#[cfg(sockets)]
use facelink_net::{
    LIVE_LINK_FACE_PORT, PhoneCall, SourceKind, SourceProfile, TlsConfig, UDP_JSON_PORT, VmcOut, VrchatOut,
    remembered_phones,
};

use crate::{
    avatar::AvatarPlugin, binding::BindingPlugin, detail::DetailPlugin, drive::DrivePlugin, files::FilesPlugin,
    gestures::GesturesPlugin, input::InputPlugin, layers::LayersPlugin, lod::LodPlugin, mapping::MappingPlugin,
    model::ModelPlugin, playout::PlayoutPlugin, session::SessionPlugin, sets::SchedulePlugin, settings::FaceSettings,
    subjects::SubjectsPlugin, virtual_subject::VirtualSubjectPlugin,
};
#[cfg(feature = "net")]
use crate::{
    diagnostics::DiagnosticsPlugin, endpoint::EndpointPlugin, performers::PerformersPlugin, phones::PhonesPlugin,
    rates::RatesPlugin, send::SendPlugin, sources::SourcesPlugin,
};

/// Receives faces and drives avatars with them.
///
/// By default it listens on this machine alone: HTTP, WebSocket and WebRTC signalling on port 8765, Live Link Face on
/// 11111, the old system's UDP JSON on 5005. [`lan`](Self::lan) opens it to the network. In a browser nothing can listen, and
/// faces come from the endpoints that the game dials: [`FaceSource::connect`](crate::FaceSource::connect).
///
/// Resources that were inserted before it are kept: [`FaceSettings`], `AdaptiveFps`, [`FaceBudget`](crate::FaceBudget),
/// [`FacePresets`](crate::FacePresets). It may be added before or after `AssetPlugin`, and without it.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "net"), derive(Default))]
pub struct FaceLinkPlugin {
    /// What to listen on; `None` opens no socket at all, and faces come by [`FaceInput`](crate::FaceInput).
    #[cfg(feature = "net")]
    pub endpoint: Option<EndpointConfig>,
    /// How faces come and go, unless the game has inserted [`FaceSettings`] itself.
    pub settings: FaceSettings,
    /// A session's file to begin with; see [`session`](Self::session).
    pub session: Option<String>,
}

#[cfg(feature = "net")]
impl Default for FaceLinkPlugin {
    fn default() -> Self {
        Self {
            endpoint: Some(EndpointConfig {
                #[cfg(sockets)]
                live_link_face: Some(LIVE_LINK_FACE_PORT),
                #[cfg(sockets)]
                udp_json: Some(UDP_JSON_PORT),
                // A page cannot.
                listen: cfg!(sockets),
                ..EndpointConfig::default()
            }),
            settings: FaceSettings::default(),
            session: None,
        }
    }
}

impl FaceLinkPlugin {
    /// Opens no socket: for tests, and for games that bring frames by other means. See [`FaceInput`](crate::FaceInput).
    pub fn without_sockets() -> Self {
        Self {
            #[cfg(feature = "net")]
            endpoint: None,
            settings: FaceSettings::default(),
            session: None,
        }
    }

    /// Sets up what a session's file says, and follows its changes: the network, avatars, virtual subjects, takes, playout. The file
    /// is below the assets and ends in `.facelink.ron`; [`facelink::session_file`] has its fields. What it does not know is as in
    /// this plugin. The endpoint is started once the file is read.
    #[must_use]
    pub fn session(mut self, path: impl Into<String>) -> Self {
        self.session = Some(path.into());
        self
    }
}

#[cfg(feature = "net")]
impl FaceLinkPlugin {
    /// Listens as `config` says.
    pub fn with_endpoint(config: EndpointConfig) -> Self {
        Self { endpoint: Some(config), ..Self::default() }
    }

    fn configure(mut self, change: impl FnOnce(&mut EndpointConfig)) -> Self {
        change(self.endpoint.get_or_insert_default());
        self
    }

    /// How WebRTC connections are made: STUN and TURN servers, ports, interfaces.
    #[must_use]
    pub fn ice(self, ice: IceConfig) -> Self {
        self.configure(|config| config.ice = ice)
    }
}

#[cfg(sockets)]
impl FaceLinkPlugin {
    /// Opens it to the local network, with HTTPS and HTTP. Peers beyond this machine must show `token`, which the
    /// phone gets by QR code or is typed in.
    #[must_use]
    pub fn lan(self, token: impl Into<String>) -> Self {
        self.configure(|config| {
            config.bind = Ipv4Addr::UNSPECIFIED.into();
            config.dual_stack = true;
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

    /// Ports of the phone apps other than Live Link Face and UDP JSON.
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

    /// Sends a face out to VRChat, as parameters of its avatar.
    #[must_use]
    pub fn vrchat_out(self, out: VrchatOut) -> Self {
        self.configure(|config| config.vrchat_out.push(out))
    }

    /// What an app's numbers mean: axis signs, order, units, sides. To change it while the game runs, use
    /// [`FaceLinkEndpoint`](crate::FaceLinkEndpoint).
    #[must_use]
    pub fn profile(self, kind: SourceKind, profile: SourceProfile) -> Self {
        self.configure(|config| config.profiles.set(kind, profile))
    }
}

/// What a page cannot do, for games that are built for both: a warning says so when the game starts, and the game goes on.
#[cfg(all(feature = "net", not(sockets)))]
impl FaceLinkPlugin {
    fn asked_to_listen(self) -> Self {
        self.configure(|config| config.listen = true)
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn lan(self, _token: impl Into<String>) -> Self {
        self.asked_to_listen()
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn port(self, _port: u16) -> Self {
        self.asked_to_listen()
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn live_link_face(self, _port: Option<u16>) -> Self {
        self.asked_to_listen()
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn udp_json(self, _port: Option<u16>) -> Self {
        self.asked_to_listen()
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn with_phones(self) -> Self {
        self.asked_to_listen()
    }

    /// Does nothing in a browser but a warning.
    #[must_use]
    pub fn phones(self, _ports: PhonePorts) -> Self {
        self.asked_to_listen()
    }
}

impl Plugin for FaceLinkPlugin {
    fn build(&self, app: &mut App) {
        if !app.world().contains_resource::<FaceSettings>() {
            app.insert_resource(self.settings);
        }
        app.register_type::<FaceSettings>()
            .add_plugins((SchedulePlugin, FilesPlugin, InputPlugin, SubjectsPlugin, LayersPlugin, VirtualSubjectPlugin))
            .add_plugins((
                PlayoutPlugin,
                GesturesPlugin,
                MappingPlugin,
                ModelPlugin,
                AvatarPlugin,
                BindingPlugin,
                DetailPlugin,
                LodPlugin,
                DrivePlugin,
            ))
            .add_plugins(SessionPlugin { file: self.session.clone() });
        #[cfg(feature = "takes")]
        app.add_plugins(crate::takes::TakesPlugin);
        #[cfg(feature = "aria")]
        app.add_plugins(crate::aria::AriaPlugin);
        #[cfg(feature = "vrm")]
        app.add_plugins(crate::vrm::VrmPlugin);
        #[cfg(feature = "net")]
        self.build_network(app);
        #[cfg(sockets)]
        app.add_plugins(crate::recording::RecordingPlugin);
        #[cfg(all(feature = "remote", sockets))]
        app.add_plugins(crate::remote::RemoteControlPlugin);
    }
}

#[cfg(feature = "net")]
impl FaceLinkPlugin {
    fn build_network(&self, app: &mut App) {
        let defaults = self.endpoint.as_ref().map(|config| config.adaptive_fps.into()).unwrap_or_default();
        app.add_plugins((DiagnosticsPlugin, SourcesPlugin, SendPlugin, PhonesPlugin, PerformersPlugin)).add_plugins((
            RatesPlugin { defaults },
            EndpointPlugin { config: self.endpoint.clone(), wait: self.session.is_some() },
        ));
    }
}
