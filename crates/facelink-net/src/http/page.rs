//! The web page and its files.

use std::{
    borrow::Cow,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::OnceLock,
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use facelink::voices;
use flate2::{Compression, write::GzEncoder};

/// A file of the page.
struct File {
    path: &'static str,
    kind: &'static str,
    text: fn() -> Cow<'static, str>,
    served: OnceLock<Served>,
}

/// A file as it is sent, made at the first request.
struct Served {
    plain: Bytes,
    gzip: Bytes,
    /// Changes with the text.
    etag: HeaderValue,
}

macro_rules! file {
    ($path:literal, $kind:literal, $name:literal) => {
        file!($path, $kind, || include_str!(concat!("../../web/", $name)).into())
    };
    ($path:literal, $kind:literal, $text:expr) => {
        File { path: $path, kind: $kind, text: $text, served: OnceLock::new() }
    };
}

static INDEX: File = file!("/", "text/html", "index.html");

static FILES: [File; 24] = [
    file!("/facelink.js", "text/javascript", "facelink.js"),
    file!("/facelink.classic.js", "text/javascript", classic),
    // The migration guide's name of it.
    file!("/facial_animation_webrtc_client.js", "text/javascript", classic),
    file!("/app.js", "text/javascript", "app.js"),
    file!("/camera.js", "text/javascript", "camera.js"),
    file!("/camera-panel.js", "text/javascript", "camera-panel.js"),
    file!("/speech.js", "text/javascript", "speech.js"),
    file!("/speech-panel.js", "text/javascript", "speech-panel.js"),
    file!("/speech-worklet.js", "text/javascript", "speech-worklet.js"),
    file!("/voice-wide.json", "application/json", || voices::WIDE.into()),
    file!("/voice-narrow.json", "application/json", || voices::NARROW.into()),
    file!("/picture.js", "text/javascript", "picture.js"),
    file!("/picture-panel.js", "text/javascript", "picture-panel.js"),
    file!("/quaternion.js", "text/javascript", "quaternion.js"),
    file!("/delta.js", "text/javascript", "delta.js"),
    file!("/seal.js", "text/javascript", "seal.js"),
    file!("/tracker.js", "text/javascript", "tracker.js"),
    file!("/style.css", "text/css", "style.css"),
    file!("/view.css", "text/css", "view.css"),
    file!("/view.js", "text/javascript", "view.js"),
    file!("/avatar.js", "text/javascript", "avatar.js"),
    file!("/model.js", "text/javascript", "model.js"),
    file!("/mapping.js", "text/javascript", "mapping.js"),
    file!("/playout.js", "text/javascript", "playout.js"),
];

/// `facelink.js` for `<script src>` without `type="module"`: what the module exports is in `FaceLink`, and the class is
/// global too.
fn classic() -> Cow<'static, str> {
    let (mut body, mut names) = (String::new(), Vec::new());
    for line in include_str!("../../web/facelink.js").split_inclusive('\n') {
        let Some(exported) = line.strip_prefix("export ") else {
            body.push_str(line);
            continue;
        };
        if exported.starts_with("default ") {
            continue;
        }
        let name = exported.split(|c: char| !(c.is_alphanumeric() || c == '_')).nth(1);
        names.extend(name);
        body.push_str(exported);
    }
    let names = names.join(", ");
    format!(
        "(() => {{\n{body}\nglobalThis.FaceLink = {{ {names} }};\nObject.assign(globalThis, {{ \
         FacialAnimationWebRTCClient }});\n}})();\n"
    )
    .into()
}

impl Served {
    fn new(text: &str) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        // A vector takes all that is written.
        let gzip = gzip.write_all(text.as_bytes()).and_then(|()| gzip.finish()).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let etag = HeaderValue::try_from(format!("W/\"{:016x}\"", hasher.finish()));
        Self {
            plain: Bytes::copy_from_slice(text.as_bytes()),
            gzip: gzip.into(),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("W/\"0\"")),
        }
    }
}

impl File {
    fn answer(&self, request: &HeaderMap) -> Response {
        let served = self.served.get_or_init(|| Served::new(&(self.text)()));
        let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|tags| {
            let tag = served.etag.to_str().unwrap_or_default();
            tags.split(',').map(str::trim).any(|other| other == "*" || other.trim_start_matches("W/") == &tag[2..])
        });
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else if takes_gzip(request) && !served.gzip.is_empty() {
            ([(header::CONTENT_ENCODING, "gzip")], served.gzip.clone()).into_response()
        } else {
            served.plain.clone().into_response()
        };
        describe(&mut response, self.kind);
        response.headers_mut().insert(header::ETAG, served.etag.clone());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        response
    }
}

/// RFC 9110, 12.5.3.
fn takes_gzip(request: &HeaderMap) -> bool {
    let given = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_it = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        let weight = parts.find_map(|part| part.strip_prefix("q=")).and_then(|weight| weight.parse::<f32>().ok());
        is_it && weight != Some(0.0)
    })
}

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
        routes.route(file.path, get(move |headers: HeaderMap| async move { file.answer(&headers) }))
    })
}

/// The page itself.
pub(super) fn index(request: &HeaderMap) -> Response {
    INDEX.answer(request)
}

/// A page that belongs to it.
#[cfg(feature = "tls")]
pub(super) fn html(text: String) -> Response {
    let mut response = text.into_response();
    describe(&mut response, "text/html");
    response
}

fn describe(response: &mut Response, kind: &str) {
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::try_from(format!("{kind}; charset=utf-8")) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::try_from(*value).expect("a value"))).collect()
    }

    #[test]
    fn page_files_are_compressed_and_known_by_their_tag() {
        for file in FILES.iter().chain([&INDEX]) {
            let text = (file.text)();
            for (coding, packed) in
                [("gzip, deflate, br", true), ("br;q=1.0, GZIP;q=0.5", true), ("*", true), ("gzip;q=0, br", false)]
            {
                let response = file.answer(&headers(&[(header::ACCEPT_ENCODING, coding)]));
                assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), packed, "{coding}");
            }
            let served = file.served.get().expect("served");
            let mut read = String::new();
            flate2::read::GzDecoder::new(&served.gzip[..]).read_to_string(&mut read).expect("gzip");
            assert_eq!((read.as_str(), &served.plain[..]), (&*text, text.as_bytes()));
            let tag = file.answer(&HeaderMap::new()).headers()[header::ETAG].to_str().expect("text").to_owned();
            for (asked, status) in [
                (tag.as_str(), StatusCode::NOT_MODIFIED),
                (&format!("\"a\", {}", &tag[2..]), StatusCode::NOT_MODIFIED),
                ("W/\"0123\"", StatusCode::OK),
            ] {
                assert_eq!(file.answer(&headers(&[(header::IF_NONE_MATCH, asked)])).status(), status, "{asked}");
            }
        }
    }

    #[test]
    fn page_classic_script_exports_nothing() {
        let script = classic();
        assert!(!script.lines().any(|line| line.starts_with("export ") || line.starts_with("import ")));
        let last = "globalThis.FaceLink = { ARKIT_NAMES, headAngles, headQuaternion, FacialAnimationWebRTCClient, \
                    FACELINK1_MAGIC, encodeFacelink1, decodeFacelink1, samplePerformance };";
        assert!(script.contains(last), "{}", &script[script.len() - 400..]);
    }
}
