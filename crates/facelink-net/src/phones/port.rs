//! Ports for phone apps: what each is for, its default number, and its setting.

use std::{fmt, net::SocketAddr};

use facelink::source::SourceKind;
use serde::{Deserialize, Serialize};

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhonePort {
    /// Live Link Face.
    LiveLinkFace,
    /// The old system's UDP JSON.
    UdpJson,
    /// iFacialMocap v1, v2 and v3, and what Facemotion3d sends by default.
    #[serde(rename = "ifacialmocap")]
    IFacialMocap,
    /// iFacialMocap v1 and v2 over TCP: the phone connects to us.
    #[serde(rename = "ifacialmocap_tcp")]
    IFacialMocapTcp,
    /// iFacialMocap and Facemotion3d v3 over TCP, begun on the phone.
    #[serde(rename = "ifacialmocap_v3_tcp")]
    IFacialMocapV3Tcp,
    /// Facemotion3d, the builds that send to its own port.
    Facemotion3d,
    /// Face Cap.
    FaceCap,
    /// OSC of any of the apps, Face Cap's other usual port.
    Osc,
    /// VMC protocol, as a Marionette (renderer).
    Vmc,
    /// VMC protocol, as a Performer that assistants send to.
    VmcAssistant,
    /// What VTube Studio is asked to send to.
    #[serde(rename = "vtube_studio")]
    VTubeStudio,
    /// Answers of Live Link Face's OSC remote control.
    LiveLinkFaceOsc,
}

impl PhonePort {
    /// Every port there is.
    pub const ALL: [Self; 12] = [
        Self::LiveLinkFace,
        Self::UdpJson,
        Self::IFacialMocap,
        Self::IFacialMocapTcp,
        Self::IFacialMocapV3Tcp,
        Self::Facemotion3d,
        Self::FaceCap,
        Self::Osc,
        Self::Vmc,
        Self::VmcAssistant,
        Self::VTubeStudio,
        Self::LiveLinkFaceOsc,
    ];

    /// The port that the apps send to by default.
    pub const fn usual(self) -> u16 {
        match self {
            Self::LiveLinkFace => 11111,
            Self::UdpJson => 5005,
            Self::IFacialMocap => 49983,
            Self::IFacialMocapTcp => 49986,
            Self::IFacialMocapV3Tcp => 49984,
            Self::Facemotion3d => 49993,
            Self::FaceCap => 8080,
            Self::Osc => 9000,
            Self::Vmc => 39539,
            Self::VmcAssistant => 39540,
            Self::VTubeStudio => 11125,
            Self::LiveLinkFaceOsc => 8000,
        }
    }

    /// What it is for, in words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "Live Link Face",
            Self::UdpJson => "UDP JSON",
            Self::IFacialMocap => "iFacialMocap",
            Self::IFacialMocapTcp => "iFacialMocap over TCP",
            Self::IFacialMocapV3Tcp => "iFacialMocap v3 over TCP",
            Self::Facemotion3d => "Facemotion3d",
            Self::FaceCap => "Face Cap",
            Self::Osc => "OSC",
            Self::Vmc => "VMC protocol",
            Self::VmcAssistant => "VMC protocol assistants",
            Self::VTubeStudio => "VTube Studio",
            Self::LiveLinkFaceOsc => "Live Link Face remote control",
        }
    }

    /// The field of [`EndpointConfig`](crate::EndpointConfig) or [`PhonePorts`] that changes it.
    pub const fn setting(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "live_link_face",
            Self::UdpJson => "udp_json",
            Self::IFacialMocap => "phones.ifacialmocap",
            Self::IFacialMocapTcp => "phones.ifacialmocap_tcp",
            Self::IFacialMocapV3Tcp => "phones.ifacialmocap_v3_tcp",
            Self::Facemotion3d => "phones.facemotion3d",
            Self::FaceCap => "phones.face_cap",
            Self::Osc => "phones.osc",
            Self::Vmc => "phones.vmc",
            Self::VmcAssistant => "phones.vmc_assistant",
            Self::VTubeStudio => "phones.vtube_studio",
            Self::LiveLinkFaceOsc => "phones.live_link_face_osc",
        }
    }

    /// The app that it is for.
    pub const fn app(self) -> SourceKind {
        match self {
            Self::LiveLinkFace | Self::LiveLinkFaceOsc => SourceKind::LiveLinkFace,
            Self::UdpJson => SourceKind::UdpJson,
            Self::IFacialMocap | Self::IFacialMocapTcp => SourceKind::IFacialMocap,
            Self::IFacialMocapV3Tcp => SourceKind::IFacialMocapV3,
            Self::Facemotion3d => SourceKind::Facemotion3d,
            Self::FaceCap | Self::Osc => SourceKind::FaceCap,
            Self::Vmc | Self::VmcAssistant => SourceKind::Vmc,
            Self::VTubeStudio => SourceKind::VTubeStudio,
        }
    }

    /// TCP rather than UDP.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::IFacialMocapTcp | Self::IFacialMocapV3Tcp)
    }
}

impl fmt::Display for PhonePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

/// Ports for phone apps beside Live Link Face and UDP JSON; `None` does not listen, 0 picks a free one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhonePorts {
    /// iFacialMocap (v1, v2, v3) and Facemotion3d over UDP; usually 49983, and the apps know no other.
    pub ifacialmocap: Option<u16>,
    /// iFacialMocap over TCP; usually 49986, and the app knows no other.
    pub ifacialmocap_tcp: Option<u16>,
    /// iFacialMocap and Facemotion3d v3 over TCP, begun on the phone; usually 49984.
    pub ifacialmocap_v3_tcp: Option<u16>,
    /// Facemotion3d's other port; usually 49993.
    pub facemotion3d: Option<u16>,
    /// Face Cap; usually 8080.
    pub face_cap: Option<u16>,
    /// OSC of any of the apps; usually 9000.
    pub osc: Option<u16>,
    /// VMC protocol, as a renderer; usually 39539.
    pub vmc: Option<u16>,
    /// VMC protocol, as a performer; usually 39540.
    pub vmc_assistant: Option<u16>,
    /// Where VTube Studio is asked to send to; any will do, 11125 by default.
    pub vtube_studio: Option<u16>,
    /// Where Live Link Face answers its remote control; any will do, 8000 by default.
    pub live_link_face_osc: Option<u16>,
}

impl PhonePorts {
    /// None of them.
    pub const NONE: Self = Self {
        ifacialmocap: None,
        ifacialmocap_tcp: None,
        ifacialmocap_v3_tcp: None,
        facemotion3d: None,
        face_cap: None,
        osc: None,
        vmc: None,
        vmc_assistant: None,
        vtube_studio: None,
        live_link_face_osc: None,
    };

    /// All of them, where the apps send to by default.
    pub fn usual() -> Self {
        Self::each(PhonePort::usual)
    }

    /// All of them, each on a free port.
    pub fn free() -> Self {
        Self::each(|_| 0)
    }

    fn each(port: impl Fn(PhonePort) -> u16) -> Self {
        Self {
            ifacialmocap: Some(port(PhonePort::IFacialMocap)),
            ifacialmocap_tcp: Some(port(PhonePort::IFacialMocapTcp)),
            ifacialmocap_v3_tcp: Some(port(PhonePort::IFacialMocapV3Tcp)),
            facemotion3d: Some(port(PhonePort::Facemotion3d)),
            face_cap: Some(port(PhonePort::FaceCap)),
            osc: Some(port(PhonePort::Osc)),
            vmc: Some(port(PhonePort::Vmc)),
            vmc_assistant: Some(port(PhonePort::VmcAssistant)),
            vtube_studio: Some(port(PhonePort::VTubeStudio)),
            live_link_face_osc: Some(port(PhonePort::LiveLinkFaceOsc)),
        }
    }

    /// Changes the port for this purpose; `false` for the two that are not here.
    pub fn set(&mut self, port: PhonePort, number: Option<u16>) -> bool {
        let place = match port {
            PhonePort::LiveLinkFace | PhonePort::UdpJson => return false,
            PhonePort::IFacialMocap => &mut self.ifacialmocap,
            PhonePort::IFacialMocapTcp => &mut self.ifacialmocap_tcp,
            PhonePort::IFacialMocapV3Tcp => &mut self.ifacialmocap_v3_tcp,
            PhonePort::Facemotion3d => &mut self.facemotion3d,
            PhonePort::FaceCap => &mut self.face_cap,
            PhonePort::Osc => &mut self.osc,
            PhonePort::Vmc => &mut self.vmc,
            PhonePort::VmcAssistant => &mut self.vmc_assistant,
            PhonePort::VTubeStudio => &mut self.vtube_studio,
            PhonePort::LiveLinkFaceOsc => &mut self.live_link_face_osc,
        };
        *place = number;
        true
    }

    /// The port for this purpose; `None` also for the two that are not here.
    pub fn get(&self, port: PhonePort) -> Option<u16> {
        match port {
            PhonePort::LiveLinkFace | PhonePort::UdpJson => None,
            PhonePort::IFacialMocap => self.ifacialmocap,
            PhonePort::IFacialMocapTcp => self.ifacialmocap_tcp,
            PhonePort::IFacialMocapV3Tcp => self.ifacialmocap_v3_tcp,
            PhonePort::Facemotion3d => self.facemotion3d,
            PhonePort::FaceCap => self.face_cap,
            PhonePort::Osc => self.osc,
            PhonePort::Vmc => self.vmc,
            PhonePort::VmcAssistant => self.vmc_assistant,
            PhonePort::VTubeStudio => self.vtube_studio,
            PhonePort::LiveLinkFaceOsc => self.live_link_face_osc,
        }
    }
}

/// A port that could not be opened, and that an endpoint works without.
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

/// Faces that go out by VMC protocol, for VSeeFace, VMagicMirror, Warudo and others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmcOut {
    /// Where to: port 39539 of a renderer, 39540 of a performer that takes assistants.
    pub to: SocketAddr,
    /// Name of the subject that goes out; without one, the subject that appeared first.
    pub subject: Option<String>,
}
