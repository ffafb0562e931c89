//! Enabling, renaming and alias names of subjects.

use std::time::Instant;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use facelink::subject::SubjectError;
use serde::{Deserialize, Serialize};

use super::{
    body::{Body, bad, read},
    state::Server,
};

#[derive(Serialize, Deserialize)]
struct Enable {
    enabled: bool,
}

#[derive(Serialize, Deserialize)]
struct Rename {
    /// Without one, that of its source again.
    name: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Alias {
    name: String,
}

pub(super) async fn enable(
    State(server): State<Server>,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match read::<Enable>(&server.hub, &headers, body) {
        Ok(wanted) => answer(&server, server.hub.enable_subject(&subject, wanted.enabled, Instant::now())),
        Err(response) => *response,
    }
}

pub(super) async fn rename(
    State(server): State<Server>,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match read::<Rename>(&server.hub, &headers, body) {
        Ok(wanted) => answer(&server, server.hub.rename_subject(&subject, wanted.name.as_deref(), Instant::now())),
        Err(response) => *response,
    }
}

pub(super) async fn alias(
    State(server): State<Server>,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match read::<Alias>(&server.hub, &headers, body) {
        Ok(wanted) => answer(&server, server.hub.alias_subject(&subject, &wanted.name, Instant::now())),
        Err(response) => *response,
    }
}

fn answer(server: &Server, done: Result<(), SubjectError>) -> Response {
    let Err(error) = done else { return StatusCode::NO_CONTENT.into_response() };
    let (status, code) = match error {
        SubjectError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_subject"),
        SubjectError::Taken(_) => (StatusCode::CONFLICT, "name_taken"),
        SubjectError::Name(_) => (StatusCode::BAD_REQUEST, "bad_field"),
        _ => (StatusCode::CONFLICT, "too_many"),
    };
    bad(&server.hub, status, code, &error.to_string())
}
