//! Errors of an endpoint.

use std::net::SocketAddr;

use facelink::gesture::GestureError;

#[cfg(feature = "webrtc")]
use crate::ice::IceError;
#[cfg(feature = "tls")]
use crate::tls::TlsError;

/// Why an endpoint did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// A port is taken or an address is not ours.
    #[error("cannot listen for {what} on {address}: {source}; set {setting} to another port")]
    Bind {
        /// What would have listened.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The setting that changes it.
        setting: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// HTTPS cannot be set up as it is configured.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[cfg(feature = "webrtc")]
    /// Something in [`EndpointConfig::ice`](crate::EndpointConfig::ice) cannot work.
    #[error("ICE settings: {0}")]
    Ice(#[from] IceError),
    /// [`EndpointConfig::token`](crate::EndpointConfig::token) is none that can be shown.
    #[error(transparent)]
    Token(#[from] TokenError),
    #[cfg(feature = "obs")]
    /// [`EndpointConfig::obs`](crate::EndpointConfig::obs) has an address that is none.
    #[error("field `obs.url`: `{url}`: {reason}")]
    Obs {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    #[cfg(feature = "zenoh")]
    /// [`EndpointConfig::mesh`](crate::EndpointConfig::mesh) cannot be used.
    #[error("field `mesh.{field}`: {reason}")]
    Mesh {
        /// Which of [`MeshConfig`](crate::MeshConfig)'s.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// [`EndpointConfig::gestures`](crate::EndpointConfig::gestures) cannot be used.
    #[error("gestures: {0}")]
    Gestures(#[from] GestureError),
    #[cfg(feature = "phones")]
    /// [`EndpointConfig::vrchat_out`](crate::EndpointConfig::vrchat_out) cannot be used.
    #[error("vrchat_out: {0}")]
    Vrchat(#[from] facelink::vrchat::VrchatError),
    /// The background runtime did not start.
    #[error("cannot start the background runtime: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Why a pairing token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// An empty token would let every peer in.
    #[error("field `token`: it is empty")]
    Empty,
    /// No client can show it.
    #[error("field `token`: it holds a control character")]
    Control,
    /// The pairing token, or another one with roles.
    #[error("field `token`: there is another token of this text")]
    Taken,
    /// A token without a role.
    #[error("field `roles`: must name a role")]
    NoRole,
    /// As many tokens with roles as an endpoint keeps.
    #[error("there are as many tokens as this endpoint keeps")]
    TooMany,
}

/// Why a face of this game does not go out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot send the face `{name}`: {reason}")]
pub struct PublishError {
    /// Name of the face.
    pub name: String,
    /// What stands against it.
    pub reason: String,
}
