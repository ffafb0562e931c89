//! The face tracker's files at `/models/`: what is served, to whom, and that nothing outside the folder is.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use facelink_net::{Endpoint, EndpointConfig, outward_address};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(20);

fn start(models: Option<&Path>) -> Endpoint {
    let models = models.map(Path::to_owned);
    Endpoint::start(EndpointConfig { port: 0, models, ..EndpointConfig::default() }).expect("an endpoint")
}

/// The files as a developer would place them, and one next to the folder that must not be served.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("models");
    fs::create_dir_all(models.join("wasm")).expect("made");
    fs::create_dir_all(models.join(".git")).expect("made");
    let large: Vec<u8> = (0..12_000_000_u32).flat_map(|i| u8::try_from(i % 251)).collect();
    for (name, content) in [
        ("vision_bundle.mjs", b"export const FaceLandmarker = 1;".as_slice()),
        ("wasm/vision_wasm_internal.js", b"var ModuleFactory;"),
        ("wasm/vision_wasm_internal.wasm", &large),
        ("face_landmarker.task", b"PK\x03\x04 a model"),
        (".git/config", b"secret"),
        (".env", b"secret"),
        ("../secret.txt", b"secret"),
    ] {
        fs::write(models.join(name), content).expect("written");
    }
    folder
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Asks in just these words: clients tidy a path up before they send it.
fn ask(address: SocketAddr, method: &str, path: &str, extra: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{extra}\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: answer.split_off(end + 4) }
}

#[test]
fn models_files_have_content_type_and_length() {
    let folder = folder();
    let models = folder.path().join("models");
    let endpoint = start(Some(&models));
    let address = endpoint.addresses().http;
    for (name, kind) in [
        ("vision_bundle.mjs", "/javascript"),
        ("wasm/vision_wasm_internal.js", "/javascript"),
        ("wasm/vision_wasm_internal.wasm", "application/wasm"),
        ("face_landmarker.task", "application/octet-stream"),
    ] {
        let path = format!("/models/{name}");
        let whole = fs::read(models.join(name)).expect("there");
        let answer = ask(address, "GET", &path, "");
        assert_eq!(answer.status, 200, "{name}: {}", answer.head);
        assert!(answer.header("content-type").is_some_and(|found| found.ends_with(kind)), "{name}: {}", answer.head);
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{name}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{name}");
        assert!(answer.body == whole, "{name} has {} bytes of {}", answer.body.len(), whole.len());

        let head = ask(address, "HEAD", &path, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{name}");
        assert_eq!(head.header("content-length"), Some(whole.len().to_string().as_str()), "{name}");

        let since = format!("If-Modified-Since: {}\r\n", answer.header("last-modified").expect("a time"));
        let again = ask(address, "GET", &path, &since);
        assert_eq!((again.status, again.body.len()), (304, 0), "{name} is known already");
    }
    assert_eq!(ask(address, "GET", "/models/vision_bundle.mjs?token=any", "").status, 200, "this machine needs none");
    assert_eq!(ask(address, "POST", "/models/vision_bundle.mjs", "Content-Length: 0\r\n").status, 405);
}

#[test]
fn models_outside_the_folder_and_hidden_are_refused() {
    let folder = folder();
    let endpoint = start(Some(&folder.path().join("models")));
    let address = endpoint.addresses().http;
    for path in [
        "/models/../secret.txt",
        "/models/%2e%2e/secret.txt",
        "/models/..%2fsecret.txt",
        "/models/..%2Fsecret.txt",
        "/models/%2E%2E%2fsecret.txt",
        "/models/..%5csecret.txt",
        "/models/..\\secret.txt",
        "/models/wasm/../../secret.txt",
        "/models/wasm/..%2f..%2fsecret.txt",
        "/models//etc/passwd",
        "/models/%2fetc%2fpasswd",
        "/models/vision_bundle.mjs%00.js",
        "/models/%ff",
        "/models/.env",
        "/models/%2eenv",
        "/models/.git/config",
        "/models/wasm%2f..%2f.git%2fconfig",
        "/models/",
        "/models/wasm",
        "/models/wasm/",
        "/models/absent.task",
    ] {
        let answer = ask(address, "GET", path, "");
        assert!(matches!(answer.status, 307 | 400 | 404), "{path}: {}", answer.head);
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"), "{path}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:"), "{path}");
    }
}

#[test]
fn models_without_a_folder() {
    let nowhere = Path::new("/nowhere/that/is/there");
    for models in [None, Some(nowhere)] {
        let endpoint = start(models);
        let answer = ask(endpoint.addresses().http, "GET", "/models/vision_bundle.mjs", "");
        assert_eq!(answer.status, 404, "{}", answer.head);
    }
    // Files that are placed while the endpoint runs are found.
    let folder = tempfile::tempdir().expect("a folder");
    let models = folder.path().join("later");
    let endpoint = start(Some(&models));
    let address = endpoint.addresses().http;
    assert_eq!(ask(address, "GET", "/models/face_landmarker.task", "").status, 404);
    fs::create_dir(&models).expect("made");
    fs::write(models.join("face_landmarker.task"), "PK").expect("written");
    assert_eq!(ask(address, "GET", "/models/face_landmarker.task", "").body, b"PK");
}

#[test]
fn models_require_token_of_remote_peers() {
    let Some(outward) = outward_address() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine has no address of its own");
        eprintln!("skipped: this machine has no address of its own");
        return;
    };
    let folder = folder();
    let config = EndpointConfig {
        bind: [0, 0, 0, 0].into(),
        port: 0,
        token: Some("right".to_owned()),
        models: Some(folder.path().join("models")),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let address = SocketAddr::new(outward, endpoint.addresses().http.port());
    let status = |path: &str, extra: &str| ask(address, "GET", path, extra).status;
    assert_eq!(status("/models/face_landmarker.task", ""), 401);
    assert_eq!(status("/models/face_landmarker.task?token=wrong", ""), 401);
    assert_eq!(status("/models/absent", ""), 401, "nor do they learn what is there");
    assert_eq!(status("/models/face_landmarker.task?token=right", ""), 200);
    assert_eq!(status("/models/face_landmarker.task", "Authorization: Bearer right\r\n"), 200);
    // The page and its own modules need no token.
    for path in [
        "/",
        "/app.js",
        "/camera.js",
        "/camera-panel.js",
        "/speech-worklet.js",
        "/tracker.js",
        "/facelink.js",
        "/style.css",
        "/voice-wide.json",
    ] {
        assert_eq!(status(path, ""), 200, "{path}");
    }
}

#[test]
fn models_foreign_page_is_refused() {
    let folder = folder();
    let endpoint = start(Some(&folder.path().join("models")));
    let address = endpoint.addresses().http;
    let evil = ask(address, "GET", "/models/face_landmarker.task", "Origin: https://evil.example\r\n");
    assert_eq!(evil.header("access-control-allow-origin"), None, "{}", evil.head);
    // A name of theirs that points to this machine.
    let mut stream = TcpStream::connect(address).expect("accepted");
    stream.set_read_timeout(Some(LIMIT)).expect("set");
    let head = "GET /models/face_landmarker.task HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

#[test]
fn models_content_security_policy_of_the_page() {
    let endpoint = start(None);
    let page = ask(endpoint.addresses().http, "GET", "/", "");
    let policy = page.header("content-security-policy").expect("a policy");
    let part = |name: &str| policy.split(';').map(str::trim).find(|part| part.starts_with(name)).expect("there");
    assert_eq!(
        part("script-src"),
        "script-src 'self' 'wasm-unsafe-eval' https://cdn.jsdelivr.net/npm/@mediapipe/tasks-vision@0.10.35/"
    );
    for address in ["'self'", "ws:", "wss:", "https://storage.googleapis.com/mediapipe-models/face_landmarker/"] {
        assert!(part("connect-src").split(' ').any(|source| source == address), "{policy}");
    }
    // The page asks for the very version that the policy lets in.
    let tracker = ask(endpoint.addresses().http, "GET", "/tracker.js", "");
    assert!(String::from_utf8_lossy(&tracker.body).contains("'0.10.35'"), "the same version in tracker.js");
}
