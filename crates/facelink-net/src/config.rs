//! Settings of an endpoint.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use facelink::{
    gesture::GestureSet,
    relay::RelaySettings,
    subject::{RECONNECT_GRACE, SUBJECT_TIMEOUT, SubjectRules},
    timing::RateSettings,
};

#[cfg(feature = "obs")]
use crate::obs_config::ObsConfig;
#[cfg(feature = "phones")]
use crate::phone_config::{PhoneCall, SourceProfiles, VmcOut, VrchatOut};
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{address::ipv6_counterpart, ice::IceConfig, roles::TokenOptions, token::new_token};
#[cfg(feature = "phones")]
use facelink::source::{PhonePort, PhonePorts};

/// Port of HTTP, WebSocket and signalling.
pub const DEFAULT_PORT: u16 = 8765;

#[cfg(feature = "http")]
/// Where avatars, and the files that the pages load besides their own, are looked for; see [`EndpointConfig::models`].
pub const MODELS_FOLDER: &str = "assets/web/models";

/// Where takes are recorded; see [`EndpointConfig::takes`].
pub const TAKES_FOLDER: &str = "takes";

/// A model's file in memory: binary glTF, which may be a VRM avatar.
#[cfg(feature = "http")]
#[derive(Clone, PartialEq, Eq)]
pub struct AvatarFile(bytes::Bytes);

#[cfg(feature = "http")]
impl AvatarFile {
    pub(crate) fn bytes(&self) -> bytes::Bytes {
        self.0.clone()
    }
}

#[cfg(feature = "http")]
impl From<&'static [u8]> for AvatarFile {
    fn from(file: &'static [u8]) -> Self {
        Self(bytes::Bytes::from_static(file))
    }
}

#[cfg(feature = "http")]
impl From<Vec<u8>> for AvatarFile {
    fn from(file: Vec<u8>) -> Self {
        Self(file.into())
    }
}

#[cfg(feature = "http")]
impl std::fmt::Debug for AvatarFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AvatarFile({} bytes)", self.0.len())
    }
}

/// What to listen on, and which peers to authenticate.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Address to bind; loopback by default. At `127.0.0.1`, the same ports are opened at `::1`, as far as they are to be had.
    pub bind: IpAddr,
    /// Whether an endpoint that binds `0.0.0.0` listens at `::` too, on the same ports: for networks with IPv6 alone. Off
    /// by default; a system without IPv6 is no error. One that binds `127.0.0.1` listens at `::1` in any case.
    pub dual_stack: bool,
    /// Port of HTTP and WebSocket; 0 picks a free one.
    pub port: u16,
    /// Whether to listen on [`port`](Self::port) at all; on by default. An endpoint that does not only dials out, by
    /// [`Endpoint::connect`](crate::EndpointControl::connect), and receives phones if ports for them are set.
    pub listen: bool,
    #[cfg(feature = "phones")]
    /// Port of Live Link Face; `None` does not listen, 0 picks a free one.
    pub live_link_face: Option<u16>,
    #[cfg(feature = "phones")]
    /// Port of the old UDP JSON; `None` does not listen, 0 picks a free one.
    pub udp_json: Option<u16>,
    #[cfg(feature = "phones")]
    /// Ports of the other phone apps; none by default.
    pub phones: PhonePorts,
    #[cfg(feature = "phones")]
    /// Phones to call: apps that send when they are asked to.
    pub call: Vec<PhoneCall>,
    #[cfg(feature = "phones")]
    /// Call phones whose address is not known, by broadcast, where their app answers that. Nothing goes out while this
    /// endpoint is bound to loopback.
    pub find_phones: bool,
    #[cfg(feature = "phones")]
    /// File in which phones that were found, or added by [`Endpoint::call_phone`](crate::EndpointControl::call_phone), are remembered; see
    /// [`remembered_phones`](crate::remembered_phones).
    pub remember_phones: Option<PathBuf>,
    #[cfg(feature = "phones")]
    /// Faces that go out by VMC protocol.
    pub vmc_out: Vec<VmcOut>,
    #[cfg(feature = "phones")]
    /// Faces that go out to VRChat.
    pub vrchat_out: Vec<VrchatOut>,
    #[cfg(feature = "phones")]
    /// Programs that are sent what happens here by OSC: gestures, cuts, subjects that come and go. Others ask for it by
    /// `/facelink/subscribe`. See `docs/osc.md`.
    pub osc_out: Vec<SocketAddr>,
    #[cfg(feature = "phones")]
    /// What each app's numbers mean: axis signs, order, units, sides. As the apps are known to be, by default.
    pub profiles: SourceProfiles,
    /// Pairing token that peers beyond loopback must show. Without one, an endpoint that is open to a network makes one
    /// up; see [`Endpoint::token`](crate::EndpointControl::token).
    pub token: Option<String>,
    /// Further tokens, with roles; more are made at run time, by [`Endpoint::add_token`](crate::EndpointControl::add_token).
    pub tokens: Vec<TokenOptions>,
    /// Whether peers on loopback must show the token too: for a proxy or a tunnel in front of the endpoint, by which
    /// every peer comes from loopback. Off by default. Without a token, one is made up then.
    pub token_on_loopback: bool,
    /// Key for end-to-end encrypted faces. With one, what clients seal with it is opened, and what goes to subscribers is
    /// sealed; who has no key gets nothing from here. It is part of the [invitation](crate::EndpointControl::invitation).
    /// None by default. See `docs/sealing.md`.
    #[cfg(feature = "seal")]
    pub key: Option<facelink::seal::RoomKey>,
    /// Pages of these origins may connect, in addition to our own and those of this machine, such as `https://show.example`.
    /// `null` is the origin of files and of sandboxed frames, which any page can make: those need the token unless it is
    /// listed.
    pub allowed_origins: Vec<String>,
    #[cfg(feature = "webrtc")]
    /// How WebRTC connections are made: STUN and TURN servers, ports, interfaces.
    pub ice: IceConfig,
    #[cfg(feature = "tls")]
    /// HTTPS and `wss://` on the same port, next to plain HTTP; off by default. Phones open cameras and sensors on secure
    /// pages alone.
    pub tls: TlsConfig,
    #[cfg(feature = "http")]
    /// Folder whose files are served at `/models/`, to authenticated peers: avatars and three.js for the viewer
    /// (`docs/viewer.md`), and the face tracker that the page loads for "Use this camera", where phones cannot reach the
    /// Internet (`docs/sources/browser-camera.md`). The default is `assets/web/models` under the current directory; a
    /// folder that is not there is no error.
    pub models: Option<PathBuf>,
    #[cfg(feature = "http")]
    /// The avatar that the viewer, `/view`, shows where its address names none. None by default.
    pub avatar: Option<AvatarFile>,
    /// Whether performers may send their picture and sound, which the take that is being recorded has and viewers get who ask
    /// for them. On by default: a performer switches them on in the page. None are taken where faces are end-to-end encrypted. See
    /// `docs/picture.md`.
    #[cfg(all(feature = "http", feature = "webrtc"))]
    pub pictures: bool,
    /// Folder of takes that are recorded without a file of their own; relative to where the program runs, and made when
    /// it is needed. Default: `takes`.
    pub takes: PathBuf,
    /// Whether phones record too while a take is recorded: see [`TakeOptions::phones`](crate::TakeOptions::phones). Off by
    /// default.
    pub takes_with_phones: bool,
    #[cfg(feature = "obs")]
    /// OBS that records while takes are recorded; see `docs/obs.md`. None by default.
    pub obs: Option<ObsConfig>,
    #[cfg(feature = "phones")]
    /// Whether other machines may control this endpoint by OSC, at any UDP port for phones: takes, calibration, emotions, cuts. Off
    /// by default, for OSC has no authentication: only this machine may.
    pub osc_control: bool,
    /// Gestures to recognise on every subject: each that starts and ends is a
    /// [`LinkEvent::Gesture`](crate::LinkEvent::Gesture). None by default; `Some(GestureSet::default())` has the built-in ones.
    pub gestures: Option<GestureSet>,
    /// What subjects are called here, and which are disabled, from the start: see
    /// [`Endpoint::rename_subject`](crate::EndpointControl::rename_subject). No rules by default.
    pub subjects: SubjectRules,
    /// A UDP source that is silent for this long is gone, and its subject with it.
    pub subject_timeout: Duration,
    /// Whether senders are asked for fewer frames when their link is full, by which law and between which rates.
    pub adaptive_fps: RateSettings,
    /// How frames are sent to connections that have subscribed: how long they wait for each other, and how many packets may
    /// leave.
    pub relay: RelaySettings,
    /// Other relays, over Zenoh, whose viewers see the faces of this one, and the other way round. None by default.
    #[cfg(feature = "zenoh")]
    pub mesh: Option<crate::mesh_config::MeshConfig>,
    /// A face whose connection broke off is kept this long, for its client to reconnect; it then continues as the same
    /// subject. One whose client said goodbye leaves after a second.
    pub reconnect_grace: Duration,
    /// Whether clients may meet in rooms here, to connect to each other directly.
    pub signalling: bool,
    /// Most clients in one room.
    pub max_room_peers: usize,
    /// Most connections at a time of peers that were let in.
    pub max_connections: usize,
    /// Most sources at a time that can show no token, which are the phones and other senders over UDP and TCP, and most
    /// faces of theirs. They have this limit for themselves and take no room of others.
    pub max_open_sources: usize,
    /// Most connections of one address (IPv6 from beyond the local network: of one /64) at a time, and as many sockets again
    /// that ask by HTTP; this machine's own do not count.
    pub max_connections_per_address: usize,
    /// Most sockets at a time that have asked for nothing yet, or opened a WebSocket without showing a token that they
    /// need; and as many again that ask by HTTP. When one too many comes, the oldest goes of the address that has most of
    /// them. Each has five seconds for its TLS handshake, as long for its request, and as long for the token.
    pub max_pending_connections: usize,
    /// HTTP requests a second from one address, WebSocket openings among them; twice as many in a burst. This machine's
    /// own do not count.
    pub max_requests_per_second: f32,
    /// Most subjects at a time, those of [`max_open_sources`](Self::max_open_sources) apart.
    pub max_subjects: usize,
    /// Most subjects of one connection.
    pub max_subjects_per_connection: usize,
    /// Messages a second that one connection may send, or faces a second that one phone may; twice as many in a burst.
    pub max_messages_per_second: f32,
    /// Threads of the endpoint's own. One serves some hundreds of WebRTC peers or thousands of phones; with more, each face costs
    /// more, for they wake each other.
    pub threads: usize,
    #[cfg(feature = "phones")]
    /// Datagrams a second that one address may send to one port, and half of what all may; more are dropped unread.
    pub max_datagrams_per_second: f32,
}

impl EndpointConfig {
    /// An endpoint that listens nowhere and dials out, by [`Endpoint::connect`](crate::EndpointControl::connect).
    pub fn dial_only() -> Self {
        Self { listen: false, ..Self::default() }
    }

    /// The port for phones of one purpose, if it is to listen there.
    #[cfg(feature = "phones")]
    pub(crate) fn phone_port(&self, port: PhonePort) -> Option<u16> {
        match port {
            PhonePort::LiveLinkFace => self.live_link_face,
            PhonePort::UdpJson => self.udp_json,
            other => self.phones.get(other),
        }
    }

    /// The IPv6 counterpart of a bound socket, if it is to have one.
    pub(crate) fn second(&self, bound: SocketAddr) -> Option<SocketAddr> {
        // On many machines `localhost` is `::1`.
        ipv6_counterpart(bound).filter(|_| self.dual_stack || bound.ip().is_loopback())
    }

    /// How WebRTC connections are made, in a build that has them.
    pub(crate) fn ice_config(&self) -> IceConfig {
        #[cfg(feature = "webrtc")]
        return self.ice.clone();
        #[cfg(not(feature = "webrtc"))]
        return IceConfig::default();
    }

    /// The same, with a token where it is bound to a network.
    pub(crate) fn with_default_token(mut self) -> Self {
        if !self.bind.is_loopback() || self.token_on_loopback {
            self.token.get_or_insert_with(new_token);
        }
        self
    }
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            dual_stack: false,
            port: DEFAULT_PORT,
            listen: true,
            #[cfg(feature = "phones")]
            live_link_face: None,
            #[cfg(feature = "phones")]
            udp_json: None,
            #[cfg(feature = "phones")]
            phones: PhonePorts::NONE,
            #[cfg(feature = "phones")]
            call: Vec::new(),
            #[cfg(feature = "phones")]
            find_phones: false,
            #[cfg(feature = "phones")]
            remember_phones: None,
            #[cfg(feature = "phones")]
            vmc_out: Vec::new(),
            #[cfg(feature = "phones")]
            vrchat_out: Vec::new(),
            #[cfg(feature = "phones")]
            osc_out: Vec::new(),
            #[cfg(feature = "phones")]
            profiles: SourceProfiles::default(),
            token: None,
            tokens: Vec::new(),
            token_on_loopback: false,
            #[cfg(feature = "seal")]
            key: None,
            allowed_origins: Vec::new(),
            #[cfg(feature = "webrtc")]
            ice: IceConfig::default(),
            #[cfg(feature = "tls")]
            tls: TlsConfig::Off,
            #[cfg(feature = "http")]
            models: Some(PathBuf::from(MODELS_FOLDER)),
            #[cfg(feature = "http")]
            avatar: None,
            #[cfg(all(feature = "http", feature = "webrtc"))]
            pictures: true,
            takes: PathBuf::from(TAKES_FOLDER),
            takes_with_phones: false,
            #[cfg(feature = "obs")]
            obs: None,
            #[cfg(feature = "phones")]
            osc_control: false,
            gestures: None,
            subjects: SubjectRules::default(),
            subject_timeout: SUBJECT_TIMEOUT,
            adaptive_fps: RateSettings::default(),
            relay: RelaySettings::default(),
            #[cfg(feature = "zenoh")]
            mesh: None,
            reconnect_grace: RECONNECT_GRACE,
            signalling: true,
            max_room_peers: 16,
            max_connections: 256,
            max_open_sources: 128,
            max_connections_per_address: 64,
            max_pending_connections: 128,
            max_requests_per_second: 100.0,
            max_subjects: 256,
            max_subjects_per_connection: 32,
            max_messages_per_second: 1000.0,
            threads: 1,
            #[cfg(feature = "phones")]
            max_datagrams_per_second: 10_000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_bound_to_a_network_has_a_token() {
        assert_eq!(EndpointConfig::default().with_default_token().token, None);
        let open = EndpointConfig { bind: [0, 0, 0, 0].into(), ..EndpointConfig::default() };
        assert_eq!(open.with_default_token().token.map(|token| token.len()), Some(10));
    }
}
