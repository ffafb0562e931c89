//! Kinds of sources: one row for each app, and one for each port.
//!
//! A new app is a row of `apps!` here, a decoder in [`wire`](crate::wire), and a protocol of the network crate.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

use crate::wire::{
    face_cap, fmv3, llf, mocap_text, profile::SourceProfile, sniff::Format, trackers, vmc, vtube_studio,
};

/// The properties of an app.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct App {
    /// The name as its makers write it.
    pub title: &'static str,
    /// The name in commands, such as `live-link-face`: that of the wire, with dashes.
    pub slug: &'static str,
    /// The app and how it begins to send, in one line.
    pub summary: &'static str,
    /// What its numbers mean: signs, order, units, sides.
    pub profile: SourceProfile,
    /// The port that it sends to by default.
    pub port: PhonePort,
    /// The local port from which the app is called; `None` for apps that cannot be called.
    pub called_from: Option<PhonePort>,
    /// It sends when it is called; for others the user or remote control sets the address.
    pub waits_for_call: bool,
    /// It can send over TCP.
    pub streams: bool,
}

macro_rules! apps {
    (
        apps { $( $(#[doc = $doc:literal])+ $app:ident = $name:literal, $row:expr; )+ }
        others { $( $(#[doc = $other_doc:literal])+ $other:ident = $other_name:literal, $other_title:literal; )+ }
    ) => {
        /// How a source reaches us.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
        #[non_exhaustive]
        pub enum SourceKind {
            $( $(#[doc = $doc])+ #[serde(rename = $name)] $app, )+
            $( $(#[doc = $other_doc])+ #[serde(rename = $other_name)] $other, )+
        }

        impl SourceKind {
            /// Every app: what sends datagrams or streams of its own format, and has a [`SourceProfile`].
            pub const PHONES: [Self; [$($name),+].len()] = [$(Self::$app),+];

            /// The name on the wire, such as `live_link_face`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$app => $name, )+
                    $( Self::$other => $other_name, )+
                }
            }

            /// The kind of a name on the wire.
            pub fn from_name(name: &str) -> Option<Self> {
                match name {
                    $( $name => Some(Self::$app), )+
                    $( $other_name => Some(Self::$other), )+
                    _ => None,
                }
            }

            /// The name as its makers write it.
            pub const fn title(self) -> &'static str {
                match self {
                    $( Self::$app => { const ROW: App = $row; ROW.title } )+
                    $( Self::$other => $other_title, )+
                }
            }

            /// The properties of the app; `None` for kinds that are no app.
            pub const fn app(self) -> Option<App> {
                match self {
                    $( Self::$app => { const ROW: App = $row; Some(ROW) } )+
                    $( Self::$other => None, )+
                }
            }
        }
    };
}

apps! {
    apps {
        /// Epic's Live Link Face app, ARKit mode, over UDP.
        LiveLinkFace = "live_link_face", App {
            title: "Live Link Face",
            slug: "live-link-face",
            summary: "Live Link Face (iPhone): sends to the address typed into it",
            profile: llf::PROFILE,
            port: PhonePort::LiveLinkFace,
            called_from: Some(PhonePort::LiveLinkFaceOsc),
            waits_for_call: false,
            streams: false,
        };
        /// iFacialMocap, v1 or v2: text over UDP or TCP.
        IFacialMocap = "ifacialmocap", App {
            title: "iFacialMocap",
            slug: "ifacialmocap",
            summary: "iFacialMocap, v1 and v2 text: waits to be called, or sends to an address",
            profile: mocap_text::PROFILE,
            port: PhonePort::IFacialMocap,
            called_from: Some(PhonePort::IFacialMocap),
            waits_for_call: true,
            streams: true,
        };
        /// iFacialMocap or Facemotion3d, v3: the binary `FMV3` over UDP or TCP.
        IFacialMocapV3 = "ifacialmocap_v3", App {
            title: "iFacialMocap v3",
            slug: "ifacialmocap-v3",
            summary: "iFacialMocap and Facemotion3d, v3 binary: waits to be called, or sends to an address",
            profile: fmv3::PROFILE,
            port: PhonePort::IFacialMocap,
            called_from: Some(PhonePort::IFacialMocap),
            waits_for_call: true,
            streams: true,
        };
        /// Facemotion3d: text over UDP.
        Facemotion3d = "facemotion3d", App {
            title: "Facemotion3d",
            slug: "facemotion3d",
            summary: "Facemotion3d, text: waits to be called, or sends to an address",
            profile: mocap_text::PROFILE,
            port: PhonePort::IFacialMocap,
            called_from: Some(PhonePort::IFacialMocap),
            waits_for_call: true,
            streams: true,
        };
        /// Face Cap, OSC over UDP.
        FaceCap = "face_cap", App {
            title: "Face Cap",
            slug: "face-cap",
            summary: "Face Cap, OSC: sends to the address typed into it",
            profile: face_cap::PROFILE,
            port: PhonePort::FaceCap,
            called_from: None,
            waits_for_call: false,
            streams: false,
        };
        /// VMC protocol, OSC over UDP: VSeeFace, VMagicMirror, Warudo, Waidayo and others.
        Vmc = "vmc", App {
            title: "VMC protocol",
            slug: "vmc",
            summary: "VMC protocol, as VSeeFace, VMagicMirror, Warudo and others send it",
            profile: vmc::PROFILE,
            port: PhonePort::Vmc,
            called_from: None,
            waits_for_call: false,
            streams: false,
        };
        /// Face trackers of VR headsets, OSC over UDP: VRCFaceTracking, Project Babble, Baballonia, EyeTrackVR.
        Trackers = "trackers", App {
            title: "VR face trackers",
            slug: "trackers",
            summary: "VRCFaceTracking, Project Babble, Baballonia and EyeTrackVR, OSC: send to the address typed into them",
            profile: trackers::PROFILE,
            port: PhonePort::Trackers,
            called_from: None,
            waits_for_call: false,
            streams: false,
        };
        /// VTube Studio on a phone, or MeowFace: JSON over UDP on request.
        VTubeStudio = "vtube_studio", App {
            title: "VTube Studio",
            slug: "vtube-studio",
            summary: "VTube Studio on a phone, or MeowFace: waits to be called",
            profile: vtube_studio::PROFILE,
            port: PhonePort::VTubeStudio,
            called_from: Some(PhonePort::VTubeStudio),
            waits_for_call: true,
            streams: false,
        };
        /// The old system's JSON datagrams.
        UdpJson = "udp_json", App {
            title: "UDP JSON",
            slug: "udp-json",
            summary: "JSON datagrams, as older senders write them",
            profile: SourceProfile::PLAIN,
            port: PhonePort::UdpJson,
            called_from: None,
            waits_for_call: false,
            streams: false,
        };
    }
    others {
        /// A WebSocket client.
        WebSocket = "websocket", "WebSocket";
        /// A WebRTC data channel.
        WebRtc = "webrtc", "WebRTC";
        /// This very game: a face that it sends to others.
        Game = "game", "this game";
        /// Another relay of the mesh.
        Mesh = "mesh", "mesh of relays";
        /// A source of the game's own: a tracker, a file, a test that hands frames to the engine itself.
        Custom = "custom", "own source";
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The purpose of a port.
#[derive(Clone, Copy, Debug)]
struct Port {
    number: u16,
    title: &'static str,
    setting: &'static str,
    /// Apps that are expected there, the one that it is for first.
    apps: &'static [SourceKind],
    tcp: bool,
    /// The format that bytes of no known format are taken for.
    format: Format,
}

macro_rules! ports {
    (
        settings { $( $(#[doc = $doc:literal])+ $port:ident = $name:literal, $row:expr; )+ }
        phones { $( $(#[doc = $phone_doc:literal])+ $phone:ident, $field:ident = $phone_name:literal, $phone_row:expr; )+ }
    ) => {
        /// The purpose of a port for phone apps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum PhonePort {
            $( $(#[doc = $doc])+ #[serde(rename = $name)] $port, )+
            $( $(#[doc = $phone_doc])+ #[serde(rename = $phone_name)] $phone, )+
        }

        impl PhonePort {
            /// Every port there is.
            pub const ALL: [Self; [$($name,)+ $($phone_name),+].len()] = [$(Self::$port,)+ $(Self::$phone),+];

            const fn row(self) -> Port {
                match self {
                    $( Self::$port => $row, )+
                    $( Self::$phone => $phone_row, )+
                }
            }
        }

        /// Ports for phone apps, other than those of Live Link Face and UDP JSON; `None` does not listen, 0 picks a free
        /// one. None by default.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct PhonePorts {
            $( $(#[doc = $phone_doc])+ pub $field: Option<u16>, )+
        }

        impl PhonePorts {
            /// None of them.
            pub const NONE: Self = Self { $( $field: None, )+ };

            fn each(number: impl Fn(PhonePort) -> u16) -> Self {
                Self { $( $field: Some(number(PhonePort::$phone)), )+ }
            }

            /// Changes the port for this purpose; `false` for the two that are not here.
            pub fn set(&mut self, port: PhonePort, number: Option<u16>) -> bool {
                match port {
                    $( PhonePort::$port => return false, )+
                    $( PhonePort::$phone => self.$field = number, )+
                }
                true
            }

            /// The port for this purpose; `None` also for the two that are not here.
            pub fn get(&self, port: PhonePort) -> Option<u16> {
                match port {
                    $( PhonePort::$port => None, )+
                    $( PhonePort::$phone => self.$field, )+
                }
            }
        }
    };
}

ports! {
    settings {
        /// Live Link Face; 11111 by default.
        LiveLinkFace = "live_link_face", Port {
            number: LIVE_LINK_FACE_PORT,
            title: "Live Link Face",
            setting: "live_link_face",
            apps: &[SourceKind::LiveLinkFace],
            tcp: false,
            format: Format::LiveLinkFace,
        };
        /// The old system's UDP JSON; 5005 by default.
        UdpJson = "udp_json", Port {
            number: UDP_JSON_PORT,
            title: "UDP JSON",
            setting: "udp_json",
            apps: &[SourceKind::UdpJson],
            tcp: false,
            format: Format::Json,
        };
    }
    phones {
        /// iFacialMocap v1, v2 and v3, and what Facemotion3d sends by default; usually 49983, and the apps support no
        /// other.
        IFacialMocap, ifacialmocap = "ifacialmocap", Port {
            number: mocap_text::IFACIALMOCAP_PORT,
            title: "iFacialMocap",
            setting: "phones.ifacialmocap",
            apps: &[SourceKind::IFacialMocap, SourceKind::IFacialMocapV3, SourceKind::Facemotion3d],
            tcp: false,
            format: Format::Mocap,
        };
        /// iFacialMocap v1 and v2 over TCP: the phone connects to us; usually 49986, and the app supports no other.
        IFacialMocapTcp, ifacialmocap_tcp = "ifacialmocap_tcp", Port {
            number: mocap_text::TCP_PORT,
            title: "iFacialMocap over TCP",
            setting: "phones.ifacialmocap_tcp",
            apps: &[SourceKind::IFacialMocap, SourceKind::IFacialMocapV3, SourceKind::Facemotion3d],
            tcp: true,
            format: Format::Mocap,
        };
        /// iFacialMocap and Facemotion3d v3 over TCP, begun on the phone; usually 49984.
        IFacialMocapV3Tcp, ifacialmocap_v3_tcp = "ifacialmocap_v3_tcp", Port {
            number: fmv3::TCP_PORT,
            title: "iFacialMocap v3 over TCP",
            setting: "phones.ifacialmocap_v3_tcp",
            apps: &[SourceKind::IFacialMocapV3, SourceKind::IFacialMocap, SourceKind::Facemotion3d],
            tcp: true,
            format: Format::Mocap,
        };
        /// Facemotion3d, the builds that send to its own port; usually 49993.
        Facemotion3d, facemotion3d = "facemotion3d", Port {
            number: mocap_text::FACEMOTION3D_PORT,
            title: "Facemotion3d",
            setting: "phones.facemotion3d",
            apps: &[SourceKind::Facemotion3d, SourceKind::IFacialMocap, SourceKind::IFacialMocapV3],
            tcp: false,
            format: Format::Mocap,
        };
        /// Face Cap; usually 8080.
        FaceCap, face_cap = "face_cap", Port {
            number: 8080,
            title: "Face Cap",
            setting: "phones.face_cap",
            apps: &[SourceKind::FaceCap],
            tcp: false,
            format: Format::Osc,
        };
        /// OSC of any of the apps, Face Cap's other usual port; usually 9000.
        Osc, osc = "osc", Port {
            number: 9000,
            title: "OSC",
            setting: "phones.osc",
            apps: &[SourceKind::FaceCap, SourceKind::Trackers, SourceKind::Vmc],
            tcp: false,
            format: Format::Osc,
        };
        /// Project Babble's own port, and any other face tracker of VR headsets; usually 8888. VRCFaceTracking and EyeTrackVR send
        /// to 9000 by default.
        Trackers, trackers = "trackers", Port {
            number: trackers::BABBLE_PORT,
            title: "VR face trackers",
            setting: "phones.trackers",
            apps: &[SourceKind::Trackers],
            tcp: false,
            format: Format::Osc,
        };
        /// VMC protocol, as a Marionette (renderer); usually 39539.
        Vmc, vmc = "vmc", Port {
            number: vmc::MARIONETTE_PORT,
            title: "VMC protocol",
            setting: "phones.vmc",
            apps: &[SourceKind::Vmc],
            tcp: false,
            format: Format::Osc,
        };
        /// VMC protocol, as a Performer that assistants send to; usually 39540.
        VmcAssistant, vmc_assistant = "vmc_assistant", Port {
            number: vmc::PERFORMER_PORT,
            title: "VMC protocol assistants",
            setting: "phones.vmc_assistant",
            apps: &[SourceKind::Vmc],
            tcp: false,
            format: Format::Osc,
        };
        /// Where VTube Studio is asked to send to; any number will do, 11125 by default.
        VTubeStudio, vtube_studio = "vtube_studio", Port {
            number: 11125,
            title: "VTube Studio",
            setting: "phones.vtube_studio",
            apps: &[SourceKind::VTubeStudio],
            tcp: false,
            format: Format::VTubeStudio,
        };
        /// Where Live Link Face answers its remote control; any number will do, 8000 by default.
        LiveLinkFaceOsc, live_link_face_osc = "live_link_face_osc", Port {
            number: LIVE_LINK_FACE_OSC_PORT,
            title: "Live Link Face remote control",
            setting: "phones.live_link_face_osc",
            apps: &[SourceKind::LiveLinkFace],
            tcp: false,
            format: Format::Osc,
        };
    }
}

/// Port of the Live Link Face app.
pub const LIVE_LINK_FACE_PORT: u16 = 11111;
/// Port on which the Live Link Face app listens for its remote control, as its users usually set it.
pub const LIVE_LINK_FACE_OSC_PORT: u16 = 8000;
/// Port of the old system's UDP JSON.
pub const UDP_JSON_PORT: u16 = 5005;

impl PhonePort {
    /// The port that the apps send to by default.
    pub const fn usual(self) -> u16 {
        self.row().number
    }

    /// Its purpose, for people to read.
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The setting of an endpoint that changes it, such as `phones.vmc`.
    pub const fn setting(self) -> &'static str {
        self.row().setting
    }

    /// The app that it is for.
    pub const fn app(self) -> SourceKind {
        self.row().apps[0]
    }

    /// Whether this app is expected there. One that sends where it was asked to is expected everywhere.
    pub fn expects(self, app: SourceKind) -> bool {
        app == SourceKind::VTubeStudio || self.row().apps.contains(&app)
    }

    /// TCP rather than UDP.
    pub const fn is_tcp(self) -> bool {
        self.row().tcp
    }

    /// The format that bytes of no known format are taken for: its decoder returns the error.
    pub const fn format(self) -> Format {
        self.row().format
    }
}

impl fmt::Display for PhonePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

impl PhonePorts {
    /// All of them, where the apps send to by default.
    pub fn usual() -> Self {
        Self::each(PhonePort::usual)
    }

    /// All of them, each on a free port.
    pub fn free() -> Self {
        Self::each(|_| 0)
    }
}

/// How a phone is asked to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PhoneTransport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream, for networks that lose datagrams; iFacialMocap alone.
    Tcp,
}

/// A phone to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PhoneCall {
    /// Its address.
    pub address: IpAddr,
    /// The port that its app listens on; `None` for the app's usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The app that runs on it; `None` tries all that can be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<SourceKind>,
    /// How it shall send.
    #[serde(default)]
    pub transport: PhoneTransport,
}

impl PhoneCall {
    /// Tries every app that can be called.
    pub fn any(address: IpAddr) -> Self {
        Self { address, port: None, app: None, transport: PhoneTransport::Udp }
    }

    /// Calls one app.
    pub fn app(address: IpAddr, app: SourceKind) -> Self {
        Self { app: Some(app), ..Self::any(address) }
    }

    /// Where its app listens, if it is `usual` there.
    pub fn to(&self, usual: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(usual))
    }

    /// Whether this app is meant, or any.
    pub fn is_for(&self, app: SourceKind) -> bool {
        self.app.is_none_or(|wanted| wanted == app)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn source_app_rows_match_their_ports() {
        for kind in SourceKind::PHONES {
            let app = kind.app().expect("a row");
            assert!(app.port.expects(kind), "{kind} is not expected on {}", app.port);
            assert!(!app.port.is_tcp(), "{kind}");
            assert!(!app.waits_for_call || app.called_from.is_some(), "{kind} waits for a call that never comes");
            assert_eq!((app.title, app.slug), (kind.title(), &*kind.as_str().replace('_', "-")));
            assert_eq!(serde_json::to_value(kind).expect("serializes"), kind.as_str());
        }
        for kind in [SourceKind::WebSocket, SourceKind::WebRtc, SourceKind::Game] {
            assert_eq!(kind.app(), None);
        }
    }

    #[test]
    fn source_port_rows_name_their_settings() {
        let mut ports = PhonePorts::NONE;
        for (number, port) in (1_u16..).zip(PhonePort::ALL) {
            let name = serde_json::to_value(port).expect("serializes");
            let field = port.setting().rsplit('.').next().map(Into::into);
            assert_eq!(field, Some(name), "{port}");
            let is_field = port.setting().starts_with("phones.");
            assert_eq!(ports.set(port, Some(number)), is_field, "{port}");
            assert_eq!(ports.get(port), is_field.then_some(number), "{port}");
        }
        assert_eq!(PhonePorts::usual().vmc, Some(39539));
        assert_eq!(PhonePorts::free().osc, Some(0));
    }
}
