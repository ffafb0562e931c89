//! What all handlers share.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[cfg(all(feature = "http", feature = "tls"))]
use crate::authority::CertificateAuthority;
#[cfg(all(feature = "http", feature = "webrtc"))]
use crate::pictures::Pictures;
#[cfg(feature = "http")]
use crate::takes::Takes;
use crate::{auth::Grant, hub::Hub};
#[cfg(all(feature = "http", feature = "phones"))]
use crate::{doctor::Doctor, phones::Phones};

#[cfg(feature = "tls")]
pub(crate) use tokio_rustls::TlsAcceptor as Acceptor;
/// Without TLS there is none.
#[cfg(not(feature = "tls"))]
#[derive(Clone)]
pub(crate) enum Acceptor {}

/// The shared state.
#[derive(Clone)]
pub(crate) struct Server {
    pub hub: Arc<Hub>,
    #[cfg(all(feature = "http", feature = "phones"))]
    pub phones: Arc<Phones>,
    #[cfg(all(feature = "http", feature = "phones"))]
    pub doctor: Arc<Doctor>,
    #[cfg(feature = "http")]
    pub takes: Arc<Takes>,
    #[cfg(all(feature = "http", feature = "webrtc"))]
    pub pictures: Arc<Pictures>,
    pub cancel: CancellationToken,
    /// Whether the port speaks TLS too.
    #[cfg(feature = "http")]
    pub https: bool,
    /// Who vouches for the certificate, if that is this machine's own authority.
    #[cfg(all(feature = "http", feature = "tls"))]
    pub authority: Option<Arc<CertificateAuthority>>,
}

/// Whether a request came over TLS.
#[cfg(feature = "http")]
#[derive(Clone, Copy)]
pub(super) struct Secure(pub bool);

/// By what a peer is let in; `None` while it still has to show the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Admitted(pub Option<Grant>);

/// An error as the API answers it.
pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
