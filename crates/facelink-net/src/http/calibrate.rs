//! Calibration of a subject.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use facelink::calibration::{CalibrateError, CalibrationStep};
use serde::{Deserialize, Serialize};

use super::{
    body::{Body, bad, read},
    state::Server,
};

#[derive(Serialize, Deserialize)]
struct Calibrate {
    what: CalibrationStep,
}

pub(super) async fn calibrate(
    State(server): State<Server>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Calibrate { what } = match read(&server.hub, &headers, body) {
        Ok(calibrate) => calibrate,
        Err(response) => return *response,
    };
    let Err(error) = server.hub.subjects().calibrate_by(&name, what) else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let (status, code) = match error {
        CalibrateError::NoHead(_) => (StatusCode::CONFLICT, "no_head"),
        CalibrateError::NoRange(_) => (StatusCode::CONFLICT, "no_range"),
        _ => (StatusCode::NOT_FOUND, "unknown_subject"),
    };
    bad(&server.hub, status, code, &error.to_string())
}
