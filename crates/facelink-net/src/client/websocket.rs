//! What tokio's WebSocket and the browser's share.

use bytes::Bytes;

/// What happens on the socket.
#[derive(Debug)]
pub(crate) enum WsEvent {
    Text(String),
    Binary(Bytes),
    /// One of our pings came back, with the clock that it carried.
    #[cfg_attr(target_family = "wasm", expect(dead_code, reason = "pages send no pings; see `HAS_PINGS`"))]
    Pong(u64),
    Closed {
        code: Option<u16>,
        reason: String,
    },
}

/// The WebSocket address of an endpoint; `scheme` is what an address without one has.
pub(crate) fn websocket_url(url: &str, scheme: &str) -> String {
    match url.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        Some(_) => url.to_owned(),
        None => format!("{scheme}://{url}"),
    }
}
