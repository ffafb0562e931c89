//! Enabling, renaming and alias names of subjects.

use std::time::Instant;

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use facelink::subject::SubjectError;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    body::{Body, bad, read},
    state::Server,
};
use crate::hub::Hub;

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
    change(&server, &headers, body, |hub, Enable { enabled }| hub.enable_subject(&subject, enabled, Instant::now()))
}

pub(super) async fn rename(
    State(server): State<Server>,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let act = |hub: &Hub, Rename { name }| hub.rename_subject(&subject, name.as_deref(), Instant::now());
    change(&server, &headers, body, act)
}

pub(super) async fn alias(
    State(server): State<Server>,
    Path(subject): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    change(&server, &headers, body, |hub, Alias { name }| hub.alias_subject(&subject, &name, Instant::now()))
}

fn change<T: Serialize + DeserializeOwned>(
    server: &Server,
    headers: &HeaderMap,
    body: Body,
    act: impl FnOnce(&Hub, T) -> Result<(), SubjectError>,
) -> Response {
    let wanted = match read(&server.hub, headers, body) {
        Ok(wanted) => wanted,
        Err(response) => return *response,
    };
    let Err(error) = act(&server.hub, wanted) else { return StatusCode::NO_CONTENT.into_response() };
    let (status, code) = match error {
        SubjectError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_subject"),
        SubjectError::Taken(_) => (StatusCode::CONFLICT, "name_taken"),
        SubjectError::Name(_) => (StatusCode::BAD_REQUEST, "bad_field"),
        _ => (StatusCode::CONFLICT, "too_many"),
    };
    bad(&server.hub, status, code, &error.to_string())
}
