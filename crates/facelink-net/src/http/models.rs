//! The files of a face tracker, for the page's "Use this camera".

use std::path::Path;

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::Response,
};
use tower_http::services::ServeDir;

use super::state::refuse;

/// Serves the folder's files, and lets browsers cache them with revalidation: a WebAssembly
/// module has 11 MB.
pub(super) fn service(folder: &Path) -> Router {
    // No path leads out of the folder; links inside it are followed.
    let files = ServeDir::new(folder).append_index_html_on_directories(false);
    Router::new().fallback_service(files).layer(middleware::from_fn(serve))
}

async fn serve(request: Request, next: Next) -> Response {
    // Hidden files, such as `.git`, are not served.
    if request.uri().path().to_ascii_lowercase().replace("%2e", ".").contains("/.") {
        return absent();
    }
    let mut response = next.run(request).await;
    match response.status() {
        StatusCode::NOT_FOUND => absent(),
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        _ => response,
    }
}

fn absent() -> Response {
    refuse(StatusCode::NOT_FOUND, "not_found", "no such file in the folder of `models`")
}
