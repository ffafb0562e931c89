//! Calibration of a subject.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use facelink::calibration::Calibration;
use serde::{Deserialize, Serialize};

use super::{
    body::{Body, bad, read},
    state::Server,
};

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
        What::RangeBegin => Some(server.hub.subjects().begin_range(&name).then_some(true)),
        What::RangeEnd | What::RangeCancel => {
            let keep = matches!(wanted, What::RangeEnd);
            Some(server.hub.subjects().end_range(&name, keep).map(|capture| capture.is_some()))
        }
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
