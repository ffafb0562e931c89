//! Remote control by HTTP: phones, profiles, calibration, and the doctor's view.

use std::{net::IpAddr, time::Instant};

use axum::{
    Json,
    extract::{Path, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    PhoneCall, PhoneCommand, PhoneCommandError, SourceKind,
    admit::refuse,
    doctor,
    hub::{Counters, Hub},
    server::Server,
};
use crate::{calibration::Calibration, wire::profile::SourceProfile};

fn bad(hub: &Hub, status: StatusCode, code: &str, message: &str) -> Response {
    Counters::add(&hub.refused, 1);
    refuse(status, code, message)
}

fn body<T>(hub: &Hub, body: Result<Json<T>, JsonRejection>) -> Result<T, Box<Response>> {
    body.map(|Json(body)| body).map_err(|error| {
        let (status, code) = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_type"),
            _ => (StatusCode::BAD_REQUEST, "bad_json"),
        };
        Box::new(bad(hub, status, code, &error.body_text()))
    })
}

fn address(hub: &Hub, text: &str) -> Result<IpAddr, Box<Response>> {
    text.parse()
        .map_err(|_| Box::new(bad(hub, StatusCode::BAD_REQUEST, "bad_field", "field `address`: must be an IP address")))
}

pub(super) async fn doctor(State(server): State<Server>) -> Response {
    match doctor::diagnose(&server.hub, Instant::now()) {
        Some(report) => Json(report).into_response(),
        None => refuse(StatusCode::SERVICE_UNAVAILABLE, "starting", "this endpoint is just starting"),
    }
}

pub(super) async fn phones(State(server): State<Server>) -> Response {
    Json(json!({"phones": server.hub.roster.status(Instant::now())})).into_response()
}

pub(super) async fn call_phone(State(server): State<Server>, call: Result<Json<PhoneCall>, JsonRejection>) -> Response {
    match body(&server.hub, call) {
        Ok(call) => {
            server.hub.roster.add(call);
            phones(State(server)).await
        }
        Err(response) => *response,
    }
}

pub(super) async fn forget_phone(State(server): State<Server>, Path(text): Path<String>) -> Response {
    match address(&server.hub, &text) {
        Ok(address) if server.hub.roster.forget(address) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => bad(&server.hub, StatusCode::NOT_FOUND, "unknown_phone", "no phone of this address is called"),
        Err(response) => *response,
    }
}

pub(super) async fn command_phone(
    State(server): State<Server>,
    Path(text): Path<String>,
    command: Result<Json<PhoneCommand>, JsonRejection>,
) -> Response {
    let (address, command) = match (address(&server.hub, &text), body(&server.hub, command)) {
        (Ok(address), Ok(command)) => (address, command),
        (Err(response), _) | (_, Err(response)) => return *response,
    };
    match server.hub.roster.command(address, command) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error @ PhoneCommandError::Unknown(_)) => {
            bad(&server.hub, StatusCode::NOT_FOUND, "unknown_phone", &error.to_string())
        }
        Err(error) => bad(&server.hub, StatusCode::CONFLICT, "no_remote", &error.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Neutral,
    Head,
    Reset,
}

#[derive(Deserialize)]
pub(super) struct Calibrate {
    what: What,
}

pub(super) async fn calibrate(
    State(server): State<Server>,
    Path(name): Path<String>,
    wanted: Result<Json<Calibrate>, JsonRejection>,
) -> Response {
    let wanted = match body(&server.hub, wanted) {
        Ok(wanted) => wanted.what,
        Err(response) => return *response,
    };
    let done = server.hub.calibrate(&name, |calibration, frame| match wanted {
        What::Neutral => {
            calibration.set_neutral(frame);
            true
        }
        What::Head => calibration.recentre(frame),
        What::Reset => {
            *calibration = Calibration::default();
            true
        }
    });
    match done {
        Some(true) => StatusCode::NO_CONTENT.into_response(),
        Some(false) => bad(&server.hub, StatusCode::CONFLICT, "no_head", "this subject has no head"),
        None => bad(&server.hub, StatusCode::NOT_FOUND, "unknown_subject", "no subject of this name is live"),
    }
}

fn kind(hub: &Hub, text: &str) -> Result<SourceKind, Box<Response>> {
    SourceKind::PHONES.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = SourceKind::PHONES.iter().map(|kind| kind.as_str()).collect();
        let message = format!("field `app`: must be one of {}", names.join(", "));
        Box::new(bad(hub, StatusCode::NOT_FOUND, "unknown_app", &message))
    })
}

pub(super) async fn profile(State(server): State<Server>, Path(app): Path<String>) -> Response {
    match kind(&server.hub, &app) {
        Ok(kind) => Json(server.hub.profiles.kind(kind)).into_response(),
        Err(response) => *response,
    }
}

pub(super) async fn set_profile(
    State(server): State<Server>,
    Path(app): Path<String>,
    profile: Result<Json<SourceProfile>, JsonRejection>,
) -> Response {
    match (kind(&server.hub, &app), body(&server.hub, profile)) {
        (Ok(kind), Ok(profile)) => {
            server.hub.profiles.set_kind(kind, profile);
            Json(profile).into_response()
        }
        (Err(response), _) | (_, Err(response)) => *response,
    }
}
