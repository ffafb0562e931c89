//! Takes: begin, end, mark, list.

use axum::{
    Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    body::{BadField, Body, bad, bad_field, read},
    state::{Server, refuse},
};
use crate::{
    hub::Hub,
    takes::{TakeOptions, TakeRecordError},
};

#[derive(Default, Serialize, Deserialize)]
struct Start {
    slate: Option<String>,
    take: Option<u32>,
    #[serde(default)]
    packets: bool,
    phones: Option<bool>,
    obs: Option<bool>,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    text: String,
}

fn refused(hub: &Hub, error: &TakeRecordError) -> Response {
    let message = error.to_string();
    match error {
        TakeRecordError::AlreadyRecording(_) => bad(hub, StatusCode::CONFLICT, "already_recording", &message),
        TakeRecordError::NotRecording => bad(hub, StatusCode::CONFLICT, "not_recording", &message),
        TakeRecordError::Field { field, reason } => bad_field(hub, &BadField::new(*field, reason.clone())),
        TakeRecordError::Create { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            bad(hub, StatusCode::CONFLICT, "take_exists", &message)
        }
        TakeRecordError::Create { .. } | TakeRecordError::Write { .. } | TakeRecordError::Thread(_) => {
            refuse(StatusCode::INSUFFICIENT_STORAGE, "cannot_record", &message)
        }
    }
}

/// Runs what waits for the disk apart from the connections.
async fn on_disk<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce(&Server) -> Result<T, TakeRecordError> + Send + 'static,
) -> Result<T, Response> {
    let shared = server.clone();
    match tokio::task::spawn_blocking(move || work(&shared)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(refused(&server.hub, &error)),
        Err(_) => Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops")),
    }
}

pub(super) async fn start(State(server): State<Server>, headers: HeaderMap, body: Body) -> Response {
    // Without a body: the next take of the usual slate. A foreign page is refused by its origin.
    let start = match body {
        Ok(bytes) if bytes.is_empty() => Ok(Start::default()),
        body => read(&server.hub, &headers, body),
    };
    let Start { slate, take, packets, phones, obs } = match start {
        Ok(start) => start,
        Err(response) => return *response,
    };
    let options = TakeOptions { slate, take, packets, phones, obs, ..TakeOptions::default() };
    let begun = on_disk(&server, move |server| server.takes.start(options));
    begun.await.map_or_else(|response| response, |status| Json(status).into_response())
}

pub(super) async fn stop(State(server): State<Server>) -> Response {
    let ended = on_disk(&server, |server| server.takes.stop());
    ended.await.map_or_else(|response| response, |status| Json(status).into_response())
}

pub(super) async fn mark(State(server): State<Server>, headers: HeaderMap, body: Body) -> Response {
    let Mark { text } = match read(&server.hub, &headers, body) {
        Ok(mark) => mark,
        Err(response) => return *response,
    };
    match server.takes.mark(text) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&server.hub, &error),
    }
}

#[derive(Deserialize)]
pub(super) struct Of {
    slate: Option<String>,
}

pub(super) async fn list(State(server): State<Server>, Query(Of { slate }): Query<Of>) -> Response {
    let listed = on_disk(&server, move |server| {
        let takes = &server.takes;
        Ok(json!({
            "take": takes.status(),
            "next": takes.next_number(slate.as_deref()),
            "phones": takes.recorders(),
            "files": takes.files(),
        }))
    });
    listed.await.map_or_else(|response| response, |listed| Json(listed).into_response())
}
