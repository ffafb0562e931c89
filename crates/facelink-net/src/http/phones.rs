//! Phones, their profiles, and the doctor's report.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    body::{BadField, Body, bad, bad_field, read},
    state::{Server, refuse},
};
use crate::{
    hub::Hub,
    phone_config::PhoneCall,
    phones::{PhoneCommand, PhoneCommandError},
};
use facelink::{
    source::{PhoneTransport, SourceKind},
    wire::{
        json::check_name,
        profile::{RotationProfile, SourceProfile},
    },
};

fn address(hub: &Hub, text: &str) -> Result<IpAddr, Box<Response>> {
    let parsed = text.parse().map_err(|_| BadField::new("address", "must be an IP address"));
    parsed.map_err(|error| Box::new(bad_field(hub, &error)))
}

pub(super) async fn doctor(State(server): State<Server>) -> Response {
    // The first look at the system takes a moment.
    let runtime = tokio::runtime::Handle::current();
    let report = move || server.doctor.diagnose(Some(&runtime), Instant::now());
    match tokio::task::spawn_blocking(report).await {
        Ok(report) => Json(report).into_response(),
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops"),
    }
}

pub(super) async fn phones(State(server): State<Server>) -> Response {
    Json(json!({"phones": server.phones.roster.status(Instant::now())})).into_response()
}

/// Whether a call is valid.
fn check_call(call: &PhoneCall) -> Result<(), BadField> {
    let address = call.address;
    if address.is_unspecified() || address.is_multicast() || address == Ipv4Addr::BROADCAST {
        return Err(BadField::new("address", "must be the address of one phone"));
    }
    if call.port == Some(0) {
        return Err(BadField::new("port", "must be from 1 to 65535"));
    }
    let can_be_called = |app: &SourceKind| app.app().is_some_and(|row| row.called_from.is_some());
    if let Some(app) = call.app.filter(|app| !can_be_called(app)) {
        let names: Vec<_> = SourceKind::PHONES.into_iter().filter(can_be_called).map(SourceKind::as_str).collect();
        return Err(BadField::new("app", format!("{app} cannot be called; {} can", names.join(", "))));
    }
    let streams = |app: SourceKind| app.app().is_some_and(|row| row.streams);
    if call.transport == PhoneTransport::Tcp && !call.app.is_none_or(streams) {
        return Err(BadField::new("transport", "this app sends by udp alone"));
    }
    Ok(())
}

pub(super) async fn call_phone(State(server): State<Server>, headers: HeaderMap, body: Body) -> Response {
    let call: PhoneCall = match read(&server.hub, &headers, body) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    if let Err(error) = check_call(&call) {
        return bad_field(&server.hub, &error);
    }
    if !server.phones.roster.add(call) {
        let message = "as many phones are called as there may be; forget one first";
        return bad(&server.hub, StatusCode::CONFLICT, "too_many_phones", message);
    }
    phones(State(server)).await
}

pub(super) async fn forget_phone(State(server): State<Server>, Path(text): Path<String>) -> Response {
    match address(&server.hub, &text) {
        Ok(address) if server.phones.roster.forget(address) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => bad(&server.hub, StatusCode::NOT_FOUND, "unknown_phone", "no phone of this address is called"),
        Err(response) => *response,
    }
}

/// Whether a command can be sent to a phone.
fn check_command(command: &PhoneCommand) -> Result<(), BadField> {
    let (field, name) = match command {
        PhoneCommand::Subject(name) => ("subject", name),
        PhoneCommand::Slate(name) => ("slate", name),
        PhoneCommand::RecordStart { slate, .. } => ("record_start.slate", slate),
        _ => return Ok(()),
    };
    check_name(name).map_err(|problem| BadField::new(field, problem))
}

pub(super) async fn command_phone(
    State(server): State<Server>,
    Path(text): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let address = match address(&server.hub, &text) {
        Ok(address) => address,
        Err(response) => return *response,
    };
    let command: PhoneCommand = match read(&server.hub, &headers, body) {
        Ok(command) => command,
        Err(response) => return *response,
    };
    if let Err(error) = check_command(&command) {
        return bad_field(&server.hub, &error);
    }
    match server.phones.roster.command(address, command) {
        Ok(()) => StatusCode::ACCEPTED.into_response(),
        Err(error @ PhoneCommandError::Unknown(_)) => {
            bad(&server.hub, StatusCode::NOT_FOUND, "unknown_phone", &error.to_string())
        }
        Err(error) => bad(&server.hub, StatusCode::CONFLICT, "no_remote", &error.to_string()),
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
        Ok(kind) => Json(server.phones.profiles.kind(kind)).into_response(),
        Err(response) => *response,
    }
}

/// Whether numbers can be read by a profile: JSON has no infinity, and yet 1e99 is one.
fn check_profile(profile: &SourceProfile) -> Result<(), BadField> {
    let gains = [("head.gain", profile.head), ("eyes.gain", profile.eyes)];
    let gains = gains.map(|(field, rotation): (&str, RotationProfile)| (field, rotation.gain));
    for (field, value) in gains.into_iter().chain([("metres_per_unit", profile.metres_per_unit)]) {
        if !value.is_normal() {
            return Err(BadField::new(field, "must be a number, and not 0"));
        }
    }
    Ok(())
}

pub(super) async fn set_profile(
    State(server): State<Server>,
    Path(app): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let kind = match kind(&server.hub, &app) {
        Ok(kind) => kind,
        Err(response) => return *response,
    };
    let profile: SourceProfile = match read(&server.hub, &headers, body) {
        Ok(profile) => profile,
        Err(response) => return *response,
    };
    if let Err(error) = check_profile(&profile) {
        return bad_field(&server.hub, &error);
    }
    server.phones.profiles.set_kind(kind, profile);
    Json(profile).into_response()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn phone_call_invalid_is_refused() {
        let call = |text: Value| check_call(&serde_json::from_value(text).unwrap()).err().map(|error| error.field);
        assert_eq!(call(json!({"address": "192.168.1.30"})), None);
        assert_eq!(call(json!({"address": "192.168.1.30", "app": "ifacialmocap", "transport": "tcp"})), None);
        for (body, field) in [
            (json!({"address": "0.0.0.0"}), "address"),
            (json!({"address": "255.255.255.255"}), "address"),
            (json!({"address": "224.0.0.1"}), "address"),
            (json!({"address": "::"}), "address"),
            (json!({"address": "192.168.1.30", "port": 0}), "port"),
            (json!({"address": "192.168.1.30", "app": "face_cap"}), "app"),
            (json!({"address": "192.168.1.30", "app": "vtube_studio", "transport": "tcp"}), "transport"),
        ] {
            assert_eq!(call(body.clone()).as_deref(), Some(field), "{body}");
        }
    }

    #[test]
    fn phone_profile_and_command_invalid_are_refused() {
        let profile =
            |text: Value| check_profile(&serde_json::from_value(text).unwrap()).err().map(|error| error.field);
        assert_eq!(profile(json!({})), None);
        assert_eq!(profile(json!({"head": {"gain": 0.0}})).as_deref(), Some("head.gain"));
        assert_eq!(profile(json!({"metres_per_unit": 1e99})).as_deref(), Some("metres_per_unit"));
        let command =
            |text: Value| check_command(&serde_json::from_value(text).unwrap()).err().map(|error| error.field);
        assert_eq!(command(json!("start")), None);
        assert_eq!(command(json!({"slate": "Duel"})), None);
        assert_eq!(command(json!({"slate": ""})).as_deref(), Some("slate"));
        assert_eq!(command(json!({"subject": "a\u{1}"})).as_deref(), Some("subject"));
        let record = json!({"record_start": {"slate": "x".repeat(200), "take": 1}});
        assert_eq!(command(record).as_deref(), Some("record_start.slate"));
    }
}
