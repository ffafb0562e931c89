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
#[cfg(feature = "phones")]
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
#[cfg(feature = "phones")]
mod phone_config;
#[cfg(feature = "phones")]
mod phones;
mod rate_limit;
mod rtc;
mod session;
#[cfg(feature = "phones")]
mod simulator;
mod stats;
mod subscribe;
#[cfg(feature = "tls")]
mod tls;
mod token;
#[cfg(feature = "tls")]
mod trust;

pub use address::outward_address;
pub use client::{Client, ClientConfig, ClientError, ClientState, ClientStats};
#[cfg(feature = "http")]
pub use config::MODELS_FOLDER;
pub use config::{DEFAULT_PORT, EndpointConfig};
pub use endpoint::{Addresses, Endpoint};
pub use error::{LinkError, PublishError, TokenError};
pub use ice::{GOOGLE_STUN, IceCheck, IceConfig, IceError, IcePolicy, IceServerProvider, IceWarning, TurnSecret};
#[cfg(feature = "phones")]
pub use phone_config::{PhoneCall, SourceProfiles, VmcOut, remembered_phones};
#[cfg(feature = "phones")]
pub use phones::{PhoneCommand, PhoneCommandError, PhoneState, PhoneStatus, PortStats, SenderStats, Unavailable};
#[cfg(feature = "phones")]
pub use simulator::{SimulateError, Simulator};
pub use stats::*;
#[cfg(feature = "tls")]
pub use tls::{TlsConfig, TlsError};
pub use token::new_token;
#[cfg(feature = "tls")]
pub use trust::ServerTrust;

pub use facelink::{
    event::*,
    source::*,
    wire::{json::IceServer, profile::SourceProfile},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
