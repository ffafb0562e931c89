//! Kinds of sources, their usual ports and transports.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Port of the Live Link Face app.
pub const LIVE_LINK_FACE_PORT: u16 = 11111;
/// Port on which the Live Link Face app listens for its remote control, as its users usually set it.
pub const LIVE_LINK_FACE_OSC_PORT: u16 = 8000;
/// Port of the old system's UDP JSON.
pub const UDP_JSON_PORT: u16 = 5005;

/// How a source reaches us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SourceKind {
    /// Epic's Live Link Face app, ARKit mode, over UDP.
    LiveLinkFace,
    /// The old system's JSON datagrams.
    UdpJson,
    /// iFacialMocap, v1 or v2: text over UDP or TCP.
    #[serde(rename = "ifacialmocap")]
    IFacialMocap,
    /// iFacialMocap or Facemotion3d, v3: the binary `FMV3` over UDP or TCP.
    #[serde(rename = "ifacialmocap_v3")]
    IFacialMocapV3,
    /// Facemotion3d: text over UDP.
    Facemotion3d,
    /// Face Cap, OSC over UDP.
    FaceCap,
    /// VMC protocol, OSC over UDP: VSeeFace, VMagicMirror, Warudo, Waidayo and others.
    Vmc,
    /// VTube Studio on a phone, or MeowFace: JSON over UDP on request.
    #[serde(rename = "vtube_studio")]
    VTubeStudio,
    /// A WebSocket client.
    #[serde(rename = "websocket")]
    WebSocket,
    /// A WebRTC data channel.
    #[serde(rename = "webrtc")]
    WebRtc,
    /// This very game: a face that it sends to others.
    Game,
}

impl SourceKind {
    /// The name on the wire, such as `live_link_face`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "live_link_face",
            Self::UdpJson => "udp_json",
            Self::IFacialMocap => "ifacialmocap",
            Self::IFacialMocapV3 => "ifacialmocap_v3",
            Self::Facemotion3d => "facemotion3d",
            Self::FaceCap => "face_cap",
            Self::Vmc => "vmc",
            Self::VTubeStudio => "vtube_studio",
            Self::WebSocket => "websocket",
            Self::WebRtc => "webrtc",
            Self::Game => "game",
        }
    }
}

impl SourceKind {
    /// Every kind that sends datagrams, and has a [`SourceProfile`](crate::wire::profile::SourceProfile).
    pub const PHONES: [Self; 8] = [
        Self::LiveLinkFace,
        Self::IFacialMocap,
        Self::IFacialMocapV3,
        Self::Facemotion3d,
        Self::FaceCap,
        Self::Vmc,
        Self::VTubeStudio,
        Self::UdpJson,
    ];

    /// The name as its makers write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::LiveLinkFace => "Live Link Face",
            Self::IFacialMocap => "iFacialMocap",
            Self::IFacialMocapV3 => "iFacialMocap v3",
            Self::Facemotion3d => "Facemotion3d",
            Self::FaceCap => "Face Cap",
            Self::Vmc => "VMC protocol",
            Self::VTubeStudio => "VTube Studio",
            Self::UdpJson => "UDP JSON",
            Self::WebSocket => "WebSocket",
            Self::WebRtc => "WebRTC",
            Self::Game => "this game",
        }
    }
}

impl fmt::Display for SourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
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
