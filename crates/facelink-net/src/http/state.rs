//! What all handlers share.

use std::sync::Arc;

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{doctor::Doctor, hub::Hub, phones::Phones, session::Session};

/// The shared state.
#[derive(Clone)]
pub(crate) struct Server {
    pub hub: Arc<Hub>,
    pub phones: Arc<Phones>,
    pub doctor: Arc<Doctor>,
    pub cancel: CancellationToken,
    /// Whether the port speaks TLS too.
    pub https: bool,
    /// Sessions that came by `POST /api/v1/rtc/offer`.
    pub posted: Arc<Mutex<Vec<Arc<Session>>>>,
}

/// Whether a request came over TLS.
#[derive(Clone, Copy)]
pub(super) struct Secure(pub bool);

/// Whether a peer was let in by its address or its token; otherwise it still has to show one.
#[derive(Clone, Copy)]
pub(super) struct Admitted(pub bool);

/// An error as the API answers it.
pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}
