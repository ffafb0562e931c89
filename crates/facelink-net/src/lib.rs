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

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
