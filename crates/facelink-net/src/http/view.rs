//! The viewer: its page, the avatar that it shows where its address names none, and how faces move a model.

use std::path::Path;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use facelink::{mapping::built_in, model::FaceRig};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use super::{
    body::{Body, bad, read},
    state::{Server, refuse},
};

/// Largest description of a model.
const MAX_RIG: usize = 1 << 20;

/// Models are looked into one at a time: it is work for the processor, and any viewer can ask for it.
static LOOKING: Semaphore = Semaphore::const_new(1);

/// Other origins from which a page loads models.
const MAX_ORIGINS: usize = 8;

/// A package of npm's that draws avatars, at the version that the viewer is written for.
struct Package {
    /// Its name at npm, with the version.
    npm: &'static str,
    /// Its folder in that of [`EndpointConfig::models`](crate::EndpointConfig::models).
    folder: &'static str,
    /// File in the package, by what it is imported as, and its SHA-384 as base64.
    files: &'static [(&'static str, &'static str, &'static str)],
}

/// three.js and three-vrm. A file without a name of its own is imported by another one.
static PACKAGES: [Package; 2] = [
    Package {
        npm: "three@0.187.0",
        folder: "three",
        files: &[
            ("three", "build/three.module.js", "T/E3B9AvPtLn5PKD7aTSFqizQcA4kHDfU0lub7u0fvM4w9BMGcSb3yI7r5LqMAMn"),
            ("", "build/three.core.js", "drH6BueSlcvoXCwAqWkNJvXwu2Ax3mnGOmZnIXaomedIw+uXSP9Bf/XIUINgLUW+"),
            (
                "three/addons/loaders/GLTFLoader.js",
                "examples/jsm/loaders/GLTFLoader.js",
                "WH6tljjFikpYMGa2JMqlbJlM1lEMkd/Y6Sqnuog1rX87eShphltUQI5NKByEo4CP",
            ),
            (
                "",
                "examples/jsm/utils/BufferGeometryUtils.js",
                "NArny884Zj3HwjLRjeY1kbfLZnAHIElzho3N71FW0eMGxxBT+QuLEiSnSgpSaBXh",
            ),
            (
                "",
                "examples/jsm/utils/SkeletonUtils.js",
                "Pozn8j5+YFr3ak8Pm90ayqDrGYn/DV7vVs/YIIqzJhzeJT0LQksoS1fZQ5lfsYlw",
            ),
        ],
    },
    Package {
        npm: "@pixiv/three-vrm@3.5.5",
        folder: "three-vrm",
        files: &[(
            "@pixiv/three-vrm",
            "lib/three-vrm.module.min.js",
            "0eKYXVEzMZHC65jBi4pvegRrAJUf4hlPDrPJfp8j6Ra0wadM3lHq4eWmHi/u+y2f",
        )],
    },
];

pub(super) fn routes() -> Router<Server> {
    Router::new()
        .route("/view", get(page))
        .route("/view/avatar.glb", get(avatar))
        .route("/api/v1/rig", post(rig).layer(DefaultBodyLimit::max(MAX_RIG)))
}

/// The import map of a page: the packages in the folder where they are there, with the token that it is served by, else at
/// jsDelivr with their hashes.
fn import_map(local: bool, token: Option<&str>) -> Value {
    let token = token.map(|token| format!("?token={}", utf8_percent_encode(token, NON_ALPHANUMERIC)));
    let (mut imports, mut integrity) = (Map::new(), Map::new());
    for Package { npm, folder, files } in &PACKAGES {
        for (name, file, hash) in *files {
            if local {
                let path = format!("./models/{folder}/{file}");
                let url = format!("{path}{}", token.as_deref().unwrap_or_default());
                let name = if name.is_empty() { path } else { (*name).to_owned() };
                imports.insert(name, url.into());
            } else {
                let url = format!("https://cdn.jsdelivr.net/npm/{npm}/{file}");
                integrity.insert(url.clone(), format!("sha384-{hash}").into());
                if !name.is_empty() {
                    imports.insert((*name).to_owned(), url.into());
                }
            }
        }
    }
    json!({"imports": imports, "integrity": integrity})
}

/// The origin of a model that is elsewhere, in the form of a source of a content security policy.
fn origin_of(model: &str) -> Option<&str> {
    let after = model.find("://")? + 3;
    let end = model[after..].find(['/', '?', '#']).map_or(model.len(), |end| after + end);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    let plain = !model[after..end].is_empty() && model[after..end].bytes().all(is_host);
    (plain && matches!(&model[..after], "http://" | "https://")).then(|| &model[..end])
}

/// What the viewer may load: our own files, the packages, and the models that its address names.
fn policy(nonce: &str, local: bool, origins: &[&str]) -> String {
    let mut scripts = format!("'self' 'nonce-{nonce}'");
    for Package { npm, .. } in PACKAGES.iter().filter(|_| !local) {
        scripts.push_str(&format!(" https://cdn.jsdelivr.net/npm/{npm}/"));
    }
    let models: String = origins.iter().map(|origin| format!(" {origin}")).collect();
    // Textures inside a model are loaded by `blob:` and `data:`.
    format!(
        "default-src 'none'; script-src {scripts}; connect-src 'self' ws: wss: blob: data:{models}; \
         img-src 'self' data: blob:{models}; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )
}

/// Whether the packages are in the folder.
fn has_packages(folder: &Path) -> bool {
    let mut files = PACKAGES.iter().flat_map(|package| package.files.iter().map(|(_, file, _)| (package.folder, file)));
    files.all(|(package, file)| folder.join(package).join(file).is_file())
}

async fn page(State(server): State<Server>, query: Result<Query<Vec<(String, String)>>, QueryRejection>) -> Response {
    let query = query.map_or_else(|_| Vec::new(), |Query(query)| query);
    let of = |name: &'static str| query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str());
    let folder = server.hub.config.models.clone();
    let look = move || folder.is_some_and(|folder| has_packages(&folder));
    let local = tokio::task::spawn_blocking(look).await.unwrap_or(false);
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let mut origins: Vec<&str> = of("model").flat_map(|models| models.split(',')).filter_map(origin_of).collect();
    origins.truncate(MAX_ORIGINS);
    // Alphanumeric but for what JSON escapes: it cannot end the script.
    let map = import_map(local, of("token").next()).to_string();
    let script = format!("<script type=\"importmap\" nonce=\"{nonce}\">{map}</script>");
    let html = include_str!("../../web/view.html").replace("<!-- import map -->", &script);
    let mut response = html.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Ok(policy) = HeaderValue::try_from(policy(&nonce, local, &origins)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

async fn avatar(State(server): State<Server>) -> Response {
    let Some(avatar) = &server.hub.config.avatar else {
        let message = "this endpoint has no avatar of its own: name one in the address, `model=`";
        return refuse(StatusCode::NOT_FOUND, "not_found", message);
    };
    let headers = [(header::CONTENT_TYPE, "model/gltf-binary"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, avatar.bytes()).into_response()
}

async fn rig(State(server): State<Server>, headers: HeaderMap, body: Body) -> Response {
    let document: Value = match read(&server.hub, &headers, body) {
        Ok(document) => document,
        Err(response) => return *response,
    };
    let stopping = || refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping", "this endpoint stops");
    let Ok(permit) = LOOKING.acquire().await else { return stopping() };
    let look = move || {
        let rig = FaceRig::read(&document, built_in());
        drop(permit);
        rig
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(rig)) => Json(rig).into_response(),
        Ok(Err(error)) => bad(&server.hub, StatusCode::BAD_REQUEST, "bad_model", &error.to_string()),
        Err(_) => stopping(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn view_policy_has_origins_of_models_and_nothing_else() {
        for (model, origin) in [
            ("https://show.example/a.vrm", Some("https://show.example")),
            ("http://192.0.2.7:8080", Some("http://192.0.2.7:8080")),
            ("https://[::1]:9/a.glb?b#c", Some("https://[::1]:9")),
            ("aria.glb", None),
            ("ftp://show.example/a.vrm", None),
            ("https:///a.vrm", None),
            ("https://*/a.vrm", None),
            ("https://a.example; script-src *", None),
            ("https://a.example 'unsafe-eval'/", None),
            ("https://user@a.example/", None),
        ] {
            assert_eq!(origin_of(model), origin, "{model}");
        }
        let policy = policy("n", true, &["https://show.example"]);
        assert!(policy.contains("connect-src 'self' ws: wss: blob: data: https://show.example;"), "{policy}");
        assert!(!policy.contains("jsdelivr"), "{policy}");
    }

    #[test]
    fn view_import_map_cannot_end_its_script() {
        let map = import_map(true, Some("</script><script>alert(1)")).to_string();
        assert!(!map.contains('<') && map.contains("three.core.js?token=%3C%2Fscript"), "{map}");
        let far = import_map(false, Some("secret")).to_string();
        assert!(!far.contains("secret") && far.contains("three@0.187.0/build/three.module.js"), "{far}");
    }
}
