//! HTTPS and `wss://` on the port of HTTP, certificates, and addresses that knock too often.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use facelink::link::{
    Client, ClientConfig, ClientError, ClientState, Endpoint, EndpointConfig, ServerTrust, SourceKind, TlsConfig,
    outward_address,
};
use serde_json::{Value, json};
use ureq::tls::{Certificate, RootCerts, TlsConfig as AgentTls};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(20);

fn start(folder: &std::path::Path) -> Endpoint {
    let config = EndpointConfig { port: 0, tls: TlsConfig::SelfSigned(folder.into()), ..EndpointConfig::default() };
    Endpoint::start(config).expect("an endpoint")
}

/// Asks by HTTPS, trusting this certificate alone.
fn agent(folder: &std::path::Path) -> ureq::Agent {
    let pem = std::fs::read(folder.join("certificate.pem")).expect("made");
    let certificate = Certificate::from_pem(&pem).expect("PEM");
    let tls = AgentTls::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build();
    ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).timeout_global(Some(LIMIT)).build().into()
}

fn wait(endpoint: &Endpoint, client: &Client, wanted: impl Fn(&ClientState) -> bool) -> ClientState {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, client.wait_for(wanted)).await.expect("in time") })
}

#[test]
fn one_port_speaks_both() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let address = endpoint.addresses().http;
    let secure: Value = agent(folder.path())
        .get(format!("https://{address}/api/v1/health"))
        .call()
        .expect("answers")
        .body_mut()
        .read_json()
        .expect("JSON");
    assert_eq!((&secure["https"], &secure["secure"]), (&json!(true), &json!(true)), "{secure}");
    let plain: Value = ureq::get(format!("http://{address}/api/v1/health"))
        .call()
        .expect("answers")
        .body_mut()
        .read_json()
        .expect("JSON");
    assert_eq!((&plain["https"], &plain["secure"]), (&json!(true), &json!(false)), "{plain}");
    assert!(endpoint.invitation().starts_with("https://127.0.0.1:"), "{}", endpoint.invitation());

    // Our own client, by either, up to the data channel.
    let fingerprint = endpoint.certificate_fingerprint().expect("TLS").to_owned();
    for (url, trust) in [
        (format!("wss://{address}"), ServerTrust::Fingerprint(fingerprint.clone())),
        (format!("https://{address}"), ServerTrust::Authority(folder.path().join("certificate.pem"))),
        (format!("ws://{address}"), ServerTrust::Public),
    ] {
        let config = ClientConfig { trust, ..ClientConfig::new(url) };
        let client = Client::start(config, endpoint.runtime().expect("runs"));
        wait(&endpoint, &client, |state| *state == ClientState::Connected(SourceKind::WebRtc));
    }
    // And not a stranger's certificate.
    for trust in [ServerTrust::Public, ServerTrust::Fingerprint("00".repeat(32))] {
        let config = ClientConfig { trust, ..ClientConfig::new(format!("wss://{address}")) };
        let client = Client::start(config, endpoint.runtime().expect("runs"));
        let state = wait(&endpoint, &client, |state| matches!(state, ClientState::Waiting(_)));
        let ClientState::Waiting(ClientError::Connect { reason, .. }) = state else {
            return assert_eq!(format!("{state:?}"), "");
        };
        assert!(reason.contains("certificate"), "{reason}");
    }
}

#[test]
fn the_certificate_is_kept_across_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = start(folder.path()).certificate_fingerprint().map(str::to_owned);
    let second = start(folder.path()).certificate_fingerprint().map(str::to_owned);
    assert!(first.is_some());
    assert_eq!(first, second);
    let plain = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
    assert_eq!(plain.certificate_fingerprint(), None);
    let missing = TlsConfig::Files { certificate: folder.path().join("no.pem"), key: folder.path().join("no.pem") };
    let error = Endpoint::start(EndpointConfig { port: 0, tls: missing, ..EndpointConfig::default() });
    let error = error.expect_err("refused").to_string();
    assert!(error.contains("no.pem") && error.contains("`tls`"), "{error}");
}

#[test]
fn half_a_handshake_disturbs_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let address = endpoint.addresses().http;
    let silent: Vec<TcpStream> = (0..200)
        .map(|i| {
            let mut stream = TcpStream::connect(address).expect("accepted");
            if i % 2 == 0 {
                stream.write_all(&[0x16, 3, 1]).expect("sent");
            }
            stream
        })
        .collect();
    let response = agent(folder.path()).get(format!("https://{address}/api/v1/health")).call().expect("answers");
    assert_eq!(response.status(), 200);
    // The oldest of them have been sent away already.
    let mut first = silent.into_iter().next().expect("one");
    first.set_read_timeout(Some(LIMIT)).expect("set");
    assert!(matches!(first.read(&mut [0; 16]), Ok(0) | Err(_)));
}

#[test]
fn wrong_tokens_slow_a_stranger_down() {
    let Some(outward) = outward_address() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine has no address of its own");
        eprintln!("skipped: this machine has no address of its own");
        return;
    };
    let config = EndpointConfig {
        bind: [0, 0, 0, 0].into(),
        port: 0,
        token: Some("right".to_owned()),
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let address = SocketAddr::new(outward, endpoint.addresses().http.port());
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let ask = |token: &str| {
        let response = agent.get(format!("http://{address}/api/v1/stats?token={token}")).call().expect("answers");
        let wait = response.headers().get("retry-after").map(|wait| wait.to_str().expect("digits").to_owned());
        (response.status().as_u16(), wait)
    };
    assert_eq!(ask("right").0, 200);
    for _ in 0..3 {
        assert_eq!(ask("wrong").0, 401);
    }
    let (status, wait) = ask("right");
    assert_eq!((status, wait.as_deref()), (429, Some("1")), "even the right one waits now");
    // What needs no token goes on.
    assert_eq!(agent.get(format!("http://{address}/api/v1/health")).call().expect("answers").status(), 200);
    // By and by it may try again, and is forgiven.
    let end = std::time::Instant::now() + LIMIT;
    while ask("right").0 != 200 {
        assert!(std::time::Instant::now() < end, "never forgiven");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(ask("wrong").0, 401);
    assert_eq!(ask("right").0, 200);
}

#[test]
fn one_stranger_may_not_take_all_connections() {
    let Some(outward) = outward_address() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine has no address of its own");
        eprintln!("skipped: this machine has no address of its own");
        return;
    };
    let config = EndpointConfig {
        bind: [0, 0, 0, 0].into(),
        port: 0,
        token: Some("right".to_owned()),
        max_connections_per_address: 2,
        max_requests_per_second: 10.0,
        ..EndpointConfig::default()
    };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let port = endpoint.addresses().http.port();
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async {
        let url = format!("ws://{}/?token=right", SocketAddr::new(outward, port));
        let (_first, _) = tokio_tungstenite::connect_async(&url).await.expect("let in");
        let (_second, _) = tokio_tungstenite::connect_async(&url).await.expect("let in");
        let third = tokio_tungstenite::connect_async(&url).await.expect_err("one too many");
        assert!(third.to_string().contains("503"), "{third}");
        // This machine's own are not counted.
        tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/")).await.expect("let in");
    });
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/api/v1/health", SocketAddr::new(outward, port));
    let codes: Vec<u16> = (0..60).map(|_| agent.get(&url).call().expect("answers").status().as_u16()).collect();
    assert!(codes.contains(&200) && codes.contains(&429), "{codes:?}");
}

#[test]
fn metrics_are_prometheus_text() {
    let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
    let url = format!("ws://{}", endpoint.addresses().http);
    let client =
        Client::start(ClientConfig::new(url).subject("A \"quoted\" \\ name"), endpoint.runtime().expect("runs"));
    wait(&endpoint, &client, |state| *state == ClientState::Connected(SourceKind::WebRtc));
    client.send(facelink::FaceFrame::neutral());
    endpoint.frames().recv_timeout(LIMIT).expect("the frame");
    let text = ureq::get(format!("http://{}/metrics", endpoint.addresses().http))
        .call()
        .expect("answers")
        .body_mut()
        .read_to_string()
        .expect("text");
    let mut typed = std::collections::HashSet::new();
    let mut samples = 0;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(4, ' ').collect();
            assert!(matches!(words[0], "HELP" | "TYPE"), "{line}");
            if words[0] == "TYPE" {
                assert!(matches!(words[2], "gauge" | "counter"), "{line}");
                assert!(typed.insert(words[1].to_owned()), "typed twice: {line}");
            }
            continue;
        }
        samples += 1;
        let name_end = line.find(['{', ' ']).expect("a name");
        let (name, rest) = line.split_at(name_end);
        assert!(typed.contains(name), "no type: {line}");
        let value = if let Some(labels) = rest.strip_prefix('{') {
            // Walks over the labels, quotes and escapes included.
            let (mut inside, mut escaped, mut end) = (false, false, None);
            for (i, c) in labels.char_indices() {
                match c {
                    _ if escaped => escaped = false,
                    '\\' if inside => escaped = true,
                    '"' => inside = !inside,
                    '}' if !inside => {
                        end = Some(i);
                        break;
                    }
                    _ => {}
                }
            }
            &labels[end.expect("closed") + 1..]
        } else {
            rest
        };
        let value = value.strip_prefix(' ').expect("one space");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(samples > 12, "{text}");
    for name in ["latency_seconds", "messages_total", "data_channel_open", "buffered_bytes", "up"] {
        assert!(text.contains(&format!("facelink_connection_{name}{{connection=\"")), "{name}: {text}");
    }
    assert!(text.contains(r#"subject="A \"quoted\" \\ name""#), "{text}");
}
