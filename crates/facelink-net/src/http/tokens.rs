//! Tokens with roles: made, listed, withdrawn.

use std::time::{Duration, Instant};

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    body::{BadField, Body, bad, bad_field, read},
    state::Server,
};
use crate::{
    error::TokenError,
    roles::{Roles, TokenId, TokenOptions},
};

#[derive(Serialize, Deserialize)]
struct Make {
    roles: Roles,
    token: Option<String>,
    name: Option<String>,
    expires_in_seconds: Option<f64>,
}

pub(super) async fn list(State(server): State<Server>) -> Response {
    Json(json!({"tokens": server.hub.tokens(Instant::now())})).into_response()
}

pub(super) async fn make(State(server): State<Server>, headers: HeaderMap, body: Body) -> Response {
    let hub = &server.hub;
    let Make { roles, token, name, expires_in_seconds } = match read(hub, &headers, body) {
        Ok(make) => make,
        Err(response) => return *response,
    };
    let expires_in = match expires_in_seconds.map(Duration::try_from_secs_f64) {
        None => None,
        Some(Ok(time)) if !time.is_zero() => Some(time),
        Some(_) => {
            return bad_field(hub, &BadField::new("expires_in_seconds", "must be a number of seconds above 0"));
        }
    };
    match hub.auth.add_token(TokenOptions { roles, token, name, expires_in }, Instant::now()) {
        Ok(issued) => (StatusCode::CREATED, Json(issued)).into_response(),
        Err(error @ (TokenError::Taken | TokenError::TooMany)) => {
            bad(hub, StatusCode::CONFLICT, "refused", &error.to_string())
        }
        Err(error) => bad(hub, StatusCode::BAD_REQUEST, "bad_field", &error.to_string()),
    }
}

pub(super) async fn withdraw(State(server): State<Server>, Path(id): Path<u64>) -> Response {
    if server.hub.withdraw_token(TokenId(id), Instant::now()) {
        StatusCode::NO_CONTENT.into_response()
    } else {
        bad(&server.hub, StatusCode::NOT_FOUND, "unknown_token", "no token of this id holds")
    }
}
