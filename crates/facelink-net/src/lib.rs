//! Sockets for live faces, on a background tokio runtime: HTTP, WebSocket and WebRTC on one port, and the UDP and TCP
//! protocols of the phone apps.
//!
//! [`Endpoint`] receives faces and passes them on; [`Client`] sends them. Both build on the state machines of the
//! [`facelink`] crate, which has no I/O. Programs without a game engine use this crate directly: a relay, a recorder, a
//! sender on a small computer. Games with Bevy use `bevy_facelink`, which starts an endpoint as part of its plugin.
//!
//! # Receiving
//!
//! An endpoint owns a runtime with two threads. Any program, synchronous or not, reads frames and events from its bounded
//! channels. A slow reader loses the oldest frames; the network never waits for it.
//!
//! ```
//! use std::time::Duration;
//! use facelink_net::{Client, ClientConfig, Endpoint, EndpointConfig};
//! use facelink::{Blendshape, FaceFrame};
//!
//! // Port 0 picks a free port. The default is loopback only.
//! let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() })?;
//! let url = format!("ws://{}", endpoint.addresses().http);
//!
//! // A client of the same process may use the endpoint's runtime.
//! let runtime = endpoint.runtime().expect("the endpoint is running");
//! let client = Client::start(ClientConfig::new(url).subject("Ann"), runtime);
//!
//! let mut frame = FaceFrame::default();
//! frame.set(Blendshape::JawOpen, 1.0);
//! let received = loop {
//!     // Never blocks. A frame that has not left when the next one is given is replaced by it.
//!     client.send(frame.clone());
//!     if let Ok(received) = endpoint.frames().recv_timeout(Duration::from_millis(20)) {
//!         break received;
//!     }
//! };
//! assert_eq!(&*received.name, "Ann");
//! assert_eq!(received.frame.get(Blendshape::JawOpen), Some(1.0));
//! # Ok::<(), facelink_net::LinkError>(())
//! ```
//!
//! What else happens is a [`LinkEvent`]: subjects that appear and leave, connections that open and close.
//!
//! ```
//! use std::time::Duration;
//! use facelink_net::{Client, ClientConfig, Endpoint, EndpointConfig, LinkEvent};
//! use facelink::FaceFrame;
//!
//! let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() })?;
//! let url = format!("ws://{}", endpoint.addresses().http);
//! let client = Client::start(ClientConfig::new(url).subject("Ann"), endpoint.runtime().expect("running"));
//! let name = loop {
//!     client.send(FaceFrame::neutral());
//!     match endpoint.events().recv_timeout(Duration::from_millis(20)) {
//!         Ok(LinkEvent::SubjectAppeared { name, .. }) => break name,
//!         _ => continue,
//!     }
//! };
//! assert_eq!(&*name, "Ann");
//! assert_eq!(endpoint.stats().subjects.len(), 1);
//! # Ok::<(), facelink_net::LinkError>(())
//! ```
//!
//! # Sending
//!
//! [`Client::start`] runs on a tokio runtime of the caller and returns at once. It sends over the WebSocket first, moves to
//! a WebRTC data channel when that answers, reconnects with exponential backoff and jitter, and resumes its connection, so
//! that the subject stays the same at the endpoint. [`Client::state`] says what it is doing, [`Client::target_fps`] how
//! many frames a second the endpoint asks for, [`Client::stats`] what was sent and dropped.
//!
//! ```no_run
//! use std::time::Duration;
//! use facelink::performer::Performance;
//! use facelink_net::{Client, ClientConfig, ClientState};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), facelink_net::ClientError> {
//! let config = ClientConfig::new("ws://192.0.2.7:8765").subject("Ann");
//! let client = Client::start(config, &tokio::runtime::Handle::current());
//! let (performance, start) = (Performance::new(1), std::time::Instant::now());
//! loop {
//!     client.send(performance.frame_at(start.elapsed()));
//!     // Only a refusal is final: a wrong token, or an address that is none. All else is retried.
//!     if let ClientState::Refused(error) = client.state() {
//!         return Err(error);
//!     }
//!     tokio::time::sleep(Duration::from_secs_f32(1.0 / client.target_fps())).await;
//! }
//! # }
//! ```
//!
//! # On a network
//!
//! An endpoint on loopback needs no token. One that binds another address has a token, its own or a generated one
//! ([`EndpointControl::token`]), which peers beyond this machine have to show. TLS is on the same port as HTTP
//! ([`EndpointConfig::tls`]); phones need it before they let a page use the camera.
//!
//! ```
//! use facelink_net::{Endpoint, EndpointConfig};
//!
//! let config = EndpointConfig { port: 0, token: Some("a token".into()), ..EndpointConfig::default() };
//! let endpoint = Endpoint::start(config)?;
//! assert!(endpoint.invitation().ends_with("/?token=a%20token"), "the address for a QR code");
//! # Ok::<(), facelink_net::LinkError>(())
//! ```
//!
//! A phone port that is taken by another program is reported by [`EndpointControl::unavailable`] and does not stop the rest; a
//! taken HTTP port is [`LinkError::Bind`]. [`EndpointControl::diagnose`] reports what listens, what arrives and what to do.
//!
//! # Features
//!
//! | Feature | Default | Adds | Crates alone |
//! |---|---|---|---|
//! | `http` | yes | the web page, the HTTP API and the metrics | 4 |
//! | `obs` | yes | OBS records while takes are recorded | 2 |
//! | `phones` | yes | the phone apps over UDP and TCP, VMC protocol, simulated phones, the doctor | 2 |
//! | `seal` | yes | end-to-end encrypted faces | 18 |
//! | `tls` | yes | HTTPS and `wss://`, as an endpoint and as a client | 20 |
//! | `webrtc` | yes | data channels, STUN and TURN | 121 |
//! | `zenoh` | no | many relays as one, over Zenoh | 204 |
//! | `zstd` | yes | takes are written compressed | 3 |
//!
//! The WebSocket is always there, with 117 crates.
//!
//! # In a browser
//!
//! For `wasm32-unknown-unknown`, with `default-features = false, features = ["seal", "webrtc"]`, there is no runtime and nothing
//! listens: an [`Endpoint`] receives from the endpoints and relays that it dials, and a [`Client`] sends, over the browser's own
//! WebSocket and `RTCPeerConnection`. What decides which of them carries frames is the same. Tasks run on the page's thread, as its
//! events come.
//!
//! # Threads
//!
//! The runtime of an endpoint has two worker threads. Dropping the endpoint closes every connection in order and frees
//! every port, within a second. No lock is held across I/O, and readers of the channels hold none.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(target_arch = "wasm32", allow(dead_code, reason = "what only endpoints that listen use"))]
#![cfg_attr(
    not(all(feature = "http", feature = "webrtc")),
    allow(dead_code, reason = "what only peer connections or offers by HTTP use")
)]

#[cfg(all(
    target_arch = "wasm32",
    any(feature = "http", feature = "phones", feature = "tls", feature = "zenoh", feature = "zstd")
))]
compile_error!(
    "the features `http`, `phones`, `tls`, `zenoh` and `zstd` need sockets, files or C, which a browser has not: \
     depend on facelink-net with `default-features = false, features = [\"seal\", \"webrtc\"]` there"
);

mod address;
mod auth;
#[cfg(feature = "tls")]
mod authority;
mod client;
#[cfg(not(target_arch = "wasm32"))]
mod clock;
#[cfg(target_arch = "wasm32")]
#[path = "browser/clock.rs"]
mod clock;
mod config;
#[cfg(feature = "phones")]
pub mod doctor;
mod endpoint;
mod error;
mod frame_gate;
#[cfg(not(target_arch = "wasm32"))]
mod http;
mod hub;
mod ice;
#[cfg(feature = "zenoh")]
mod mesh;
#[cfg(feature = "zenoh")]
mod mesh_config;
#[cfg(feature = "obs")]
mod obs;
#[cfg(feature = "obs")]
mod obs_config;
mod outbox;
#[cfg(target_arch = "wasm32")]
#[path = "browser/page.rs"]
mod page;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
mod peer;
#[cfg(not(all(feature = "webrtc", not(target_arch = "wasm32"))))]
#[path = "peer_absent.rs"]
mod peer;
mod peer_handle;
#[cfg(not(target_arch = "wasm32"))]
mod pending;
#[cfg(feature = "phones")]
mod phone_config;
#[cfg(feature = "phones")]
mod phones;
#[cfg(all(feature = "http", feature = "webrtc", not(target_arch = "wasm32")))]
mod pictures;
mod rate_limit;
mod roles;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
mod rtc;
#[cfg(target_arch = "wasm32")]
#[path = "browser/rtc.rs"]
mod rtc;
#[cfg(not(any(feature = "webrtc", target_arch = "wasm32")))]
#[path = "rtc_absent.rs"]
mod rtc;
mod seal;
mod session;
mod session_file;
#[cfg(feature = "phones")]
mod simulator;
mod stats;
mod takes;
mod tap;
mod timecode_input;
#[cfg(feature = "tls")]
mod tls;
mod token;
#[cfg(feature = "tls")]
mod trust;

pub use address::outward_address;
#[cfg(feature = "tls")]
pub use authority::CertificateAuthority;
pub use client::{Client, ClientConfig, ClientError, ClientState, ClientStats};
#[cfg(feature = "http")]
pub use config::{AvatarFile, MODELS_FOLDER};
pub use config::{DEFAULT_PORT, EndpointConfig, TAKES_FOLDER};
pub use endpoint::{Addresses, Endpoint, EndpointControl};
pub use error::{LinkError, PublishError, TokenError};
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
pub use ice::TurnSecret;
#[cfg(feature = "webrtc")]
pub use ice::{GOOGLE_STUN, IceCheck, IceConfig, IceError, IcePolicy, IceServerProvider, IceWarning};
#[cfg(feature = "zenoh")]
pub use mesh_config::{MeshAddress, MeshAddressError, MeshConfig, ZENOH_PORT};
#[cfg(feature = "obs")]
pub use obs_config::{OBS_PORT, ObsConfig};
#[cfg(feature = "phones")]
pub use phone_config::{PhoneCall, SourceProfiles, VmcOut, VrchatOut, remembered_phones};
#[cfg(feature = "phones")]
pub use phones::{PhoneCommand, PhoneCommandError, PhoneState, PhoneStatus, PortStats, SenderStats, Unavailable};
pub use roles::{IssuedToken, Roles, TokenId, TokenOptions, TokenRole, TokenStatus};
pub use seal::SealStats;
#[cfg(feature = "seal")]
pub use seal::{RandomError, new_room_key};
pub use session_file::SessionFileError;
#[cfg(feature = "phones")]
pub use simulator::{PerformingPhone, SimulateError, Simulator};
pub use stats::*;
pub use takes::{TakeFile, TakeFileContent, TakeOptions, TakeRecordError};
pub use timecode_input::TimecodeInput;
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsError};
pub use token::new_token;
#[cfg(feature = "tls")]
pub use trust::ServerTrust;

#[cfg(feature = "zenoh")]
pub use facelink::mesh::MeshSettings;
#[cfg(feature = "seal")]
pub use facelink::seal::{KeyError, RoomKey};
pub use facelink::{
    calibration::{CalibrateError, CalibrationStep},
    event::*,
    mesh::{MeshRefused, MeshStats},
    source::*,
    subject::{SubjectError, SubjectRules},
    wire::{json::IceServer, profile::SourceProfile, vmc::BlendshapeNames},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
