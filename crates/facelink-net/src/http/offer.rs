//! WebRTC offers by HTTP.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{
    Json,
    extract::{Extension, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use facelink::source::SourceKind;
use serde::Deserialize;
use serde_json::json;

use super::state::{Admitted, Server, refuse};
use crate::{
    hub::{Counters, Role},
    peer,
    peer_handle::Signal,
    session::Session,
};

#[derive(Deserialize)]
pub(super) struct OfferBody {
    sdp: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    session_id: Option<String>,
    /// The secret by which the client resumes a connection: the peer connection becomes that one's.
    resume: Option<String>,
}

pub(super) async fn rtc_offer(
    State(server): State<Server>,
    Extension(peer_address): Extension<SocketAddr>,
    Extension(Admitted(admitted)): Extension<Admitted>,
    body: Result<Json<OfferBody>, axum::extract::rejection::JsonRejection>,
) -> Response {
    let Json(offer) = match body {
        Ok(body) => body,
        Err(error) => {
            Counters::add(&server.hub.refused, 1);
            let (status, code) = match error.status() {
                StatusCode::PAYLOAD_TOO_LARGE => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
                _ => (StatusCode::BAD_REQUEST, "bad_json"),
            };
            return refuse(status, code, &error.body_text());
        }
    };
    if offer.kind.as_deref().is_some_and(|kind| kind != "offer") {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::BAD_REQUEST, "bad_field", "field `type`: must be \"offer\"");
    }
    if offer.session_id.as_deref().is_some_and(|id| facelink::wire::json::check_name(id).is_err()) {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::BAD_REQUEST, "bad_field", "field `session_id`: must be 1 to 128 printable bytes");
    }
    let Some(grant) = admitted else {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the pairing token is missing or wrong");
    };
    let now = Instant::now();
    let (live, subject) = offer.resume.as_deref().map_or((None, None), |id| Session::resumed(&server.hub, id));
    if let Some(session) = live {
        server.hub.set_address(session.key, Some(peer_address));
        return answered(server, session, offer.sdp, true).await;
    }
    let counters = Arc::new(Counters::default());
    let named = offer.session_id.iter().map(|id| Arc::from(id.as_str()));
    let mut ids = named.chain(std::iter::once_with(|| uuid::Uuid::new_v4().to_string().into()));
    // An id alone resumes nothing, for others may see it. The table takes it only if no connection has it; the new
    // session has another one then.
    let connected = ids.find_map(|id: Arc<str>| {
        let (kind, address) = (SourceKind::WebRtc, Some(peer_address));
        let key = server.hub.connect(kind, id.clone(), address, counters.clone(), grant, now)?;
        Some((id, key))
    });
    let Some((id, key)) = connected else {
        Counters::add(&server.hub.refused, 1);
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", "too many connections");
    };
    // The offer itself came with the token where one is needed.
    let session = Session::new(&server.hub, key, id, Some(peer_address), counters, Role::Inbound, Some(grant));
    if let Some(subject) = subject {
        session.continue_subject(subject);
    }
    answered(server, session, offer.sdp, false).await
}

/// Serves the peer of an offer for this session. In a task of its own, which completes whether or not the client waits for
/// the answer: the request's own is dropped when the client hangs up, and would leave the connection behind.
async fn answered(server: Server, session: Arc<Session>, offer: String, resumed: bool) -> Response {
    let answered = tokio::spawn(async move {
        let config = server.hub.peer_config();
        match peer::accept(&session, offer, Signal::None, server.cancel.child_token(), &config).await {
            Ok(sdp) => Json(json!({
                "sdp": sdp,
                "type": "answer",
                "session_id": &*session.id,
                "resume_token": &*session.resume_token,
                "resumed": resumed,
                "ice_servers": config.ice.for_clients(),
            }))
            .into_response(),
            Err(error) => {
                if !resumed {
                    server.hub.disconnect(session.key, "bad offer", true, Instant::now());
                }
                Counters::add(&server.hub.refused, 1);
                refuse(StatusCode::BAD_REQUEST, "bad_field", &error.to_string())
            }
        }
    });
    match answered.await {
        Ok(response) => response,
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops"),
    }
}
