//! Bodies of requests.

use axum::{
    body::Bytes,
    extract::rejection::BytesRejection,
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::state::refuse;
use crate::hub::{Counters, Hub};

pub(super) fn bad(hub: &Hub, status: StatusCode, code: &str, message: &str) -> Response {
    Counters::add(&hub.refused, 1);
    refuse(status, code, message)
}

/// A field that will not do, and why.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub(super) struct BadField {
    pub field: String,
    problem: String,
}

impl BadField {
    pub fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A request's body, before it is read.
pub(super) type Body = Result<Bytes, BytesRejection>;

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

/// Reads a body. An unknown field is refused too: it is most likely a misspelt one.
pub(super) fn read<T: Serialize + DeserializeOwned>(
    hub: &Hub,
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Box<Response>> {
    let body = body.map_err(|error| {
        let too_large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let code = if too_large { "too_large" } else { "bad_body" };
        Box::new(bad(hub, error.status(), code, &error.body_text()))
    })?;
    // A foreign page may send other types without a preflight request.
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

pub(super) fn bad_field(hub: &Hub, error: &BadField) -> Response {
    bad(hub, StatusCode::BAD_REQUEST, "bad_field", &error.to_string())
}

#[cfg(test)]
mod tests {
    use facelink::wire::profile::SourceProfile;
    use serde_json::json;

    use super::*;

    #[test]
    fn body_misspelt_field_is_named() {
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
}
