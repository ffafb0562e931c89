//! Pictures and sounds by HTTP: WHIP (RFC 9725) for performers, and WHEP for viewers.

use axum::{
    Json, Router,
    extract::{Extension, Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use facelink::wire::json::check_name;
use serde::Deserialize;
use serde_json::json;

use super::{
    body::{BadField, Body, bad, bad_field},
    state::{Admitted, Server},
};
use crate::{
    hub::Hub,
    pictures::{Offer, PictureError},
};

const SDP: &str = "application/sdp";
pub(super) const PUBLISH: &str = "/api/v1/whip";
pub(super) const VIEW: &str = "/api/v1/whep";

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route(PUBLISH, post(publish))
        .route("/api/v1/whip/{id}", delete(end))
        .route(VIEW, post(view))
        .route("/api/v1/pictures", get(list))
}

#[derive(Deserialize)]
struct Whose {
    subject: Option<String>,
    /// The secret by which the client of the face resumes its connection: the picture is that face's.
    resume: Option<String>,
    /// A viewer that wants the lowest temporal layer alone.
    #[serde(default)]
    thin: bool,
}

/// The offer of a request.
fn offer(
    hub: &Hub,
    Whose { subject, resume, thin }: Whose,
    Admitted(grant): Admitted,
    headers: &HeaderMap,
    body: Body,
) -> Result<Offer, Box<Response>> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(SDP) {
        let message = "`Content-Type` must be application/sdp";
        return Err(Box::new(bad(hub, StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_type", message)));
    }
    let body = body.map_err(|error| Box::new(bad(hub, error.status(), "bad_body", &error.body_text())))?;
    let field = |name: &str, problem: &str| Box::new(bad_field(hub, &BadField::new(name, problem)));
    let sdp = String::from_utf8(body.to_vec()).map_err(|_| field("sdp", "must be UTF-8"))?;
    if subject.as_deref().is_some_and(|name| check_name(name).is_err()) {
        return Err(field("subject", "must be 1 to 128 printable bytes"));
    }
    let token = grant.and_then(|grant| grant.token);
    Ok(Offer { sdp, subject: subject.map(Into::into), resume, thin, token })
}

fn refused(hub: &Hub, error: &PictureError) -> Response {
    let (status, code) = match error {
        PictureError::Off => (StatusCode::FORBIDDEN, "no_pictures"),
        PictureError::Sealed => (StatusCode::FORBIDDEN, "sealed"),
        PictureError::NoSubject | PictureError::Rtc(_) => (StatusCode::BAD_REQUEST, "bad_field"),
        PictureError::Taken(_) => (StatusCode::CONFLICT, "taken"),
        PictureError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_subject"),
        PictureError::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "too_many_pictures"),
    };
    bad(hub, status, code, &error.to_string())
}

async fn publish(
    State(server): State<Server>,
    Query(whose): Query<Whose>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let hub = &server.hub;
    let offer = match offer(hub, whose, admitted, &headers, body) {
        Ok(offer) => offer,
        Err(response) => return *response,
    };
    // A task of its own completes when the client hangs up, too: see `answered` in `offer`.
    let pictures = server.pictures.clone();
    match tokio::spawn(async move { pictures.publish(offer).await }).await {
        Ok(Ok((id, answer))) => {
            let location = format!("{PUBLISH}/{id}");
            (StatusCode::CREATED, [(header::CONTENT_TYPE, SDP.to_owned()), (header::LOCATION, location)], answer)
                .into_response()
        }
        Ok(Err(error)) => refused(hub, &error),
        Err(_) => bad(hub, StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops"),
    }
}

async fn end(State(server): State<Server>, Path(id): Path<String>) -> Response {
    if server.pictures.end(&id) {
        StatusCode::OK.into_response()
    } else {
        bad(&server.hub, StatusCode::NOT_FOUND, "unknown_picture", "no picture of this address is there")
    }
}

async fn view(
    State(server): State<Server>,
    Query(whose): Query<Whose>,
    Extension(admitted): Extension<Admitted>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let hub = &server.hub;
    let offer = match offer(hub, whose, admitted, &headers, body) {
        Ok(offer) => offer,
        Err(response) => return *response,
    };
    let pictures = server.pictures.clone();
    match tokio::spawn(async move { pictures.view(offer).await }).await {
        Ok(Ok(answer)) => (StatusCode::CREATED, [(header::CONTENT_TYPE, SDP)], answer).into_response(),
        Ok(Err(error)) => refused(hub, &error),
        Err(_) => bad(hub, StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops"),
    }
}

async fn list(State(server): State<Server>) -> Response {
    Json(json!({ "subjects": server.pictures.subjects() })).into_response()
}
