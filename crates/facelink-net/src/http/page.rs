//! The web page and its files.

use axum::{
    Router,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: &'static str,
}

const INDEX: &str = include_str!("../../web/index.html");

static FILES: [File; 6] = [
    File { path: "/facelink.js", kind: "text/javascript", text: include_str!("../../web/facelink.js") },
    File { path: "/app.js", kind: "text/javascript", text: include_str!("../../web/app.js") },
    File { path: "/camera.js", kind: "text/javascript", text: include_str!("../../web/camera.js") },
    File { path: "/camera-panel.js", kind: "text/javascript", text: include_str!("../../web/camera-panel.js") },
    File { path: "/tracker.js", kind: "text/javascript", text: include_str!("../../web/tracker.js") },
    File { path: "/style.css", kind: "text/css", text: include_str!("../../web/style.css") },
];

/// What the page may load and request. Besides our own files: one version of the face tracker, by which `tracker.js` turns a
/// camera frame into a face, and its model. The tracker is WebAssembly.
const POLICY: &str = "default-src 'self'; \
    script-src 'self' 'wasm-unsafe-eval' https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.35/; \
    connect-src 'self' ws: wss: https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.35/ \
    https://storage.googleapis.com/mediapipe-models/face_landmarker/; \
    img-src 'self' data:; style-src 'self'; base-uri 'none'; frame-ancestors 'self'";

/// Paths of the page's files, which need no token.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|file| file.path)
}

/// Serves the page's files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().fold(Router::new(), |routes, file| {
        routes.route(file.path, get(move || async move { answer(file.kind, file.text) }))
    })
}

/// The page itself.
pub(super) fn index() -> Response {
    answer("text/html", INDEX)
}

fn answer(kind: &'static str, text: &'static str) -> Response {
    (
        [
            (header::CONTENT_TYPE, format!("{kind}; charset=utf-8")),
            (header::CACHE_CONTROL, "no-cache".to_owned()),
            (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        ],
        text,
    )
        .into_response()
}
