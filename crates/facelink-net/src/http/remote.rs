//! Remote control by HTTP: phones, profiles, calibration, and the doctor's view.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Instant,
};

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::state::{Server, refuse};
use crate::{
    hub::{Counters, Hub},
    phones::{PhoneCall, PhoneCommand, PhoneCommandError},
};
use facelink::{
    calibration::Calibration,
    source::{PhoneTransport, SourceKind},
    wire::{
        json::check_name,
        profile::{RotationProfile, SourceProfile},
    },
};

fn bad(hub: &Hub, status: StatusCode, code: &str, message: &str) -> Response {
    Counters::add(&hub.refused, 1);
    refuse(status, code, message)
}

/// A field that will not do, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
struct BadField {
    field: String,
    problem: String,
}

impl BadField {
    fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A request's body, before it is read.
type Body = Result<Bytes, BytesRejection>;

/// The first field of `given` that was left out of what was understood of it.
fn unknown_field(given: &Value, understood: &Value) -> Option<String> {
    let inner = |name: String, rest: Option<String>| rest.map(|rest| format!("{name}.{rest}"));
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(name, value)| {
            match understood.get(name) {
                Some(known) => inner(name.clone(), unknown_field(value, known)),
                // What is not there may well be said not to be.
                None => (!value.is_null()).then(|| name.clone()),
            }
        }),
        (Value::Array(given), Value::Array(understood)) => {
            let mut pairs = given.iter().zip(understood).enumerate();
            pairs.find_map(|(place, (given, known))| inner(place.to_string(), unknown_field(given, known)))
        }
        _ => None,
    }
}

/// Reads a body. A field that is not known is refused too: whoever misspells one wants to hear of it.
fn read<T: Serialize + DeserializeOwned>(hub: &Hub, headers: &HeaderMap, body: Body) -> Result<T, Box<Response>> {
    let body = body.map_err(|error| {
        let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if too_large { "too_large" } else { "bad_body" };
        Box::new(bad(hub, error.status(), code, &error.body_text()))
    })?;
    // A page of a stranger may send other types without asking first.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        let message = "`Content-Type` must be application/json";
        return Err(Box::new(bad(hub, StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_type", message)));
    }
    let bad_json = |message: &str| Box::new(bad(hub, StatusCode::BAD_REQUEST, "bad_json", message));
    let given: Value = serde_json::from_slice(&body).map_err(|error| bad_json(&error.to_string()))?;
    let read: T = serde_path_to_error::deserialize(&given).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.inner());
        match path.as_str() {
            "." => bad_json(&error.to_string()),
            path => Box::new(bad_field(hub, &BadField::new(path, error.to_string()))),
        }
    })?;
    match serde_json::to_value(&read).ok().and_then(|understood| unknown_field(&given, &understood)) {
        Some(field) => Err(Box::new(bad_field(hub, &BadField::new(field, "there is no such field")))),
        None => Ok(read),
    }
}

fn bad_field(hub: &Hub, error: &BadField) -> Response {
    bad(hub, StatusCode::BAD_REQUEST, "bad_field", &error.to_string())
}

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

/// Whether a phone can be called like this.
fn check_call(call: &PhoneCall) -> Result<(), BadField> {
    use SourceKind::{Facemotion3d, IFacialMocap, IFacialMocapV3, LiveLinkFace, VTubeStudio};
    let address = call.address;
    if address.is_unspecified() || address.is_multicast() || address == Ipv4Addr::BROADCAST {
        return Err(BadField::new("address", "must be the address of one phone"));
    }
    if call.port == Some(0) {
        return Err(BadField::new("port", "must be from 1 to 65535"));
    }
    let called = [LiveLinkFace, IFacialMocap, IFacialMocapV3, Facemotion3d, VTubeStudio];
    if let Some(app) = call.app.filter(|app| !called.contains(app)) {
        let names = called.map(SourceKind::as_str).join(", ");
        return Err(BadField::new("app", format!("{app} cannot be called; {names} can")));
    }
    if call.transport == PhoneTransport::Tcp && matches!(call.app, Some(LiveLinkFace | VTubeStudio)) {
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
    server.phones.roster.add(call);
    phones(State(server)).await
}

pub(super) async fn forget_phone(State(server): State<Server>, Path(text): Path<String>) -> Response {
    match address(&server.hub, &text) {
        Ok(address) if server.phones.roster.forget(address) => StatusCode::NO_CONTENT.into_response(),
        Ok(_) => bad(&server.hub, StatusCode::NOT_FOUND, "unknown_phone", "no phone of this address is called"),
        Err(response) => *response,
    }
}

/// Whether a phone can be told so.
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Neutral,
    Head,
    Reset,
    RangeBegin,
    RangeEnd,
    RangeCancel,
}

#[derive(Serialize, Deserialize)]
struct Calibrate {
    what: What,
}

pub(super) async fn calibrate(
    State(server): State<Server>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let wanted = match read::<Calibrate>(&server.hub, &headers, body) {
        Ok(wanted) => wanted.what,
        Err(response) => return *response,
    };
    let range = match wanted {
        What::RangeBegin => Some(server.hub.subjects().with_range(&name, |range| {
            *range = Some(Box::default());
            true
        })),
        What::RangeEnd | What::RangeCancel => Some(match server.hub.subjects().with_range(&name, Option::take) {
            Some(Some(capture)) => {
                if matches!(wanted, What::RangeEnd) {
                    server.hub.subjects().calibrate(&name, |calibration, _| calibration.range = Some(capture.range()));
                }
                Some(true)
            }
            Some(None) => Some(false),
            None => None,
        }),
        What::Neutral | What::Head | What::Reset => None,
    };
    match range {
        Some(Some(true)) => return StatusCode::NO_CONTENT.into_response(),
        Some(Some(false)) => return bad(&server.hub, StatusCode::CONFLICT, "no_range", "no range of motion has begun"),
        Some(None) => {
            return bad(&server.hub, StatusCode::NOT_FOUND, "unknown_subject", "no subject of this name is live");
        }
        None => {}
    }
    let done = server.hub.subjects().calibrate(&name, |calibration, frame| match wanted {
        What::Neutral => {
            calibration.set_neutral(frame);
            true
        }
        What::Head => calibration.recentre(frame),
        What::RangeBegin | What::RangeEnd | What::RangeCancel => true,
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
    use super::*;

    #[test]
    fn a_misspelt_field_is_found() {
        let unknown = |given: Value| {
            let read: SourceProfile = serde_json::from_value(given.clone()).unwrap();
            unknown_field(&given, &serde_json::to_value(read).unwrap())
        };
        assert_eq!(
            unknown(json!({"mirror": true, "head": {"flip": {"yaw": true}}, "flip_position": [true, false, false]})),
            None
        );
        assert_eq!(unknown(json!({"mirrow": true})).as_deref(), Some("mirrow"));
        assert_eq!(unknown(json!({"head": {"flip": {"jaw": true}}})).as_deref(), Some("head.flip.jaw"));
        assert_eq!(unknown_field(&json!([[{"a": 1}]]), &json!([[{}]])).as_deref(), Some("0.0.a"));
        assert_eq!(unknown_field(&json!({"port": null}), &json!({})), None);
    }

    #[test]
    fn calls_that_cannot_be_are_refused() {
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
    fn profiles_and_commands_that_cannot_be_are_refused() {
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
