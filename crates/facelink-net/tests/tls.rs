//! HTTPS and `wss://` on the port of HTTP, certificates, and the rate limit per address.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashSet},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use facelink_net::{
    Client, ClientConfig, ClientError, ClientState, Endpoint, EndpointConfig, LinkError, LinkEvent, ServerTrust,
    SourceKind, TlsConfig, TlsError, outward_address,
};
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use ureq::tls::{Certificate, RootCerts, TlsConfig as AgentTls};

/// Far more than anything here takes; only a failure waits this long.
const LIMIT: Duration = Duration::from_secs(20);

fn start(folder: &std::path::Path) -> Endpoint {
    let config = EndpointConfig { port: 0, tls: TlsConfig::SelfSigned(folder.into()), ..EndpointConfig::default() };
    Endpoint::start(config).expect("an endpoint")
}

/// Asks by HTTPS, trusting this certificate alone.
fn agent(folder: &std::path::Path) -> ureq::Agent {
    let pem = std::fs::read(folder.join("authority.pem")).expect("made");
    let certificate = Certificate::from_pem(&pem).expect("PEM");
    let tls = AgentTls::builder().root_certs(RootCerts::new_with_certs(&[certificate])).build();
    ureq::Agent::config_builder().tls_config(tls).http_status_as_error(false).timeout_global(Some(LIMIT)).build().into()
}

fn wait(endpoint: &Endpoint, client: &Client, wanted: impl Fn(&ClientState) -> bool) -> ClientState {
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async { tokio::time::timeout(LIMIT, client.wait_for(wanted)).await.expect("in time") })
}

#[test]
fn tls_and_http_on_one_port() {
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
    // And not another server's certificate.
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
fn tls_certificate_is_kept_across_runs() {
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
fn tls_half_handshake_leaves_others() {
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
fn rate_limit_wrong_tokens_by_http() {
    let Some((_endpoint, address)) = open_to_remote_peers(EndpointConfig::default()) else { return };
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
    // What needs no token is still served.
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
fn rate_limit_connections_per_address() {
    let config =
        EndpointConfig { max_connections_per_address: 2, max_requests_per_second: 10.0, ..EndpointConfig::default() };
    let Some((endpoint, address)) = open_to_remote_peers(config) else { return };
    let port = address.port();
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async {
        let url = format!("ws://{address}/?token=right");
        let (_first, _) = tokio_tungstenite::connect_async(&url).await.expect("accepted");
        let (_second, _) = tokio_tungstenite::connect_async(&url).await.expect("accepted");
        let third = tokio_tungstenite::connect_async(&url).await.expect_err("one too many");
        assert!(third.to_string().contains("503"), "{third}");
        // This machine's own are not counted.
        tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/")).await.expect("accepted");
    });
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{address}/api/v1/health");
    let codes: Vec<u16> = (0..60).map(|_| agent.get(&url).call().expect("answers").status().as_u16()).collect();
    assert!(codes.contains(&200) && codes.contains(&429), "{codes:?}");
}

/// One value of `/metrics`.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Reads labels up to the closing brace; gives them and what follows, or what is wrong.
fn parse_labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    while !rest.starts_with('}') {
        let (name, value) = rest.split_once("=\"").ok_or("a label has no value")?;
        let mut chars = value.char_indices();
        let mut unescaped = String::new();
        let end = loop {
            match chars.next().ok_or("a label does not end")? {
                (i, '"') => break i,
                (_, '\\') => match chars.next() {
                    Some((_, 'n')) => unescaped.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => unescaped.push(c),
                    other => return Err(format!("no such escape: {other:?}")),
                },
                (_, c) => unescaped.push(c),
            }
        };
        if !is_name(name) || labels.insert(name.to_owned(), unescaped).is_some() {
            return Err(format!("label `{name}`"));
        }
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None if rest.starts_with('}') => {}
            None => return Err(format!("after label `{name}`: {rest}")),
        }
    }
    Ok((labels, &rest[1..]))
}

/// Reads the text format (0.0.4), or OpenMetrics, more strictly than Prometheus does.
fn parse_metrics(text: &str, open_metrics: bool) -> Result<Vec<Sample>, String> {
    let text = text.strip_suffix('\n').ok_or("the last line does not end")?;
    let mut lines: Vec<&str> = text.split('\n').collect();
    if open_metrics && lines.pop() != Some("# EOF") {
        return Err("no end".to_owned());
    }
    let mut families = HashSet::new();
    let mut family: Option<(String, String)> = None;
    let mut help: Option<String> = None;
    let (mut samples, mut series) = (Vec::new(), HashSet::new());
    for line in lines {
        let bad = |why: &str| format!("{why}: {line}");
        if let Some(words) = line.strip_prefix("# HELP ") {
            let (name, _) = words.split_once(' ').ok_or_else(|| bad("no help"))?;
            help = Some(name.to_owned());
        } else if let Some(words) = line.strip_prefix("# TYPE ") {
            let (name, kind) = words.split_once(' ').ok_or_else(|| bad("no type"))?;
            if help.as_deref() != Some(name) || !is_name(name) || !families.insert(name.to_owned()) {
                return Err(bad("not announced, or twice"));
            }
            let counts = name.ends_with("_total");
            match kind {
                "counter" if counts != open_metrics => {}
                "gauge" if !counts => {}
                _ => return Err(bad("type and name do not go together")),
            }
            family = Some((name.to_owned(), kind.to_owned()));
        } else {
            let end = line.find(['{', ' ']).ok_or_else(|| bad("no value"))?;
            let (name, rest) = line.split_at(end);
            let (labels, rest) = match rest.strip_prefix('{') {
                Some(labels) => parse_labels(labels).map_err(|why| bad(&why))?,
                None => (BTreeMap::new(), rest),
            };
            let value = rest.strip_prefix(' ').and_then(|value| value.parse::<f64>().ok());
            let value = value.filter(|value| value.is_finite()).ok_or_else(|| bad("no number"))?;
            let (of, kind) = family.as_ref().ok_or_else(|| bad("no family"))?;
            let wanted = if open_metrics && kind == "counter" { format!("{of}_total") } else { of.clone() };
            if name != wanted || !series.insert((name.to_owned(), labels.clone())) {
                return Err(bad("of another family, or twice"));
            }
            if kind == "counter" && value < 0.0 {
                return Err(bad("a count below zero"));
            }
            samples.push(Sample { name: name.to_owned(), labels, value });
        }
    }
    Ok(samples)
}

#[test]
fn metrics_test_parser_is_strict() {
    let good = "# HELP a_total Of a.\n# TYPE a_total counter\na_total{x=\"1\\n\\\"\\\\\",y=\"\"} 2\na_total 1.5\n";
    let samples = parse_metrics(good, false).expect("good");
    assert_eq!((samples.len(), samples[0].labels["x"].as_str(), samples[1].value), (2, "1\n\"\\", 1.5));
    for bad in [
        "a 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1",
        "# HELP a A.\n# TYPE a gauge\na one\n",
        "# HELP a A.\n# TYPE a gauge\na  1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"1\" 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"\\t\"} 1\n",
        "# HELP a A.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"1\"} 2\n",
        "# HELP a A.\n# TYPE a gauge\nb 1\n",
        "# HELP a A.\n# TYPE a counter\na 1\n",
        "# HELP a A.\n# TYPE a gauge\na 1\n# HELP a A.\n# TYPE a gauge\na 2\n",
    ] {
        assert!(parse_metrics(bad, false).is_err(), "{bad}");
    }
    assert!(parse_metrics(good, true).is_err(), "OpenMetrics has another name and an end");
}

#[test]
fn metrics_are_prometheus_text() {
    let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
    let url = format!("ws://{}", endpoint.addresses().http);
    let name = "A \"quoted\" \\ name, {x=\"1\"}";
    let client = Client::start(ClientConfig::new(url).subject(name), endpoint.runtime().expect("runs"));
    wait(&endpoint, &client, |state| *state == ClientState::Connected(SourceKind::WebRtc));
    client.send(facelink::FaceFrame::neutral());
    endpoint.frames().recv_timeout(LIMIT).expect("the frame");
    let ask = |accept: &str| {
        let request = ureq::get(format!("http://{}/metrics", endpoint.addresses().http)).header("accept", accept);
        let mut response = request.call().expect("answers");
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        (kind, response.body_mut().read_to_string().expect("text"))
    };
    // As Prometheus asks, and as a person does.
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    for (accept, open_metrics, kind) in [
        (prometheus, true, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("*/*", false, "text/plain; version=0.0.4; charset=utf-8"),
    ] {
        let (answered, text) = ask(accept);
        assert_eq!(answered, kind);
        let samples = parse_metrics(&text, open_metrics).expect("strictly the format");
        let find = |name: &str| -> Vec<&Sample> {
            samples.iter().filter(|sample| sample.name == format!("facelink_{name}")).collect()
        };
        assert_eq!(find("connections")[0].value, 1.0);
        for figure in [
            "up",
            "messages_total",
            "data_channel_open",
            "buffered_bytes",
            "latency_seconds",
            "jitter_seconds",
            "received_bytes_total",
            "sent_bytes_total",
            "refused_total",
            "dropped_total",
        ] {
            let found = find(&format!("connection_{figure}"));
            assert_eq!(found.len(), 1, "{figure}: {text}");
            let labels = &found[0].labels;
            assert_eq!((labels["subject"].as_str(), labels["direction"].as_str()), (name, "in"), "{figure}");
            assert!(!labels["connection"].is_empty());
        }
        assert!(find("connection_messages_total")[0].value >= 1.0);
        assert_eq!(find("connection_data_channel_open")[0].value, 1.0);
        let states: BTreeMap<&str, f64> =
            find("connection_state").iter().map(|sample| (sample.labels["state"].as_str(), sample.value)).collect();
        assert_eq!(states.into_iter().collect::<Vec<_>>(), [("connected", 1.0), ("connecting", 0.0), ("stalled", 0.0)]);
        assert_eq!(find("subject_frames_total")[0].labels["subject"], name);
    }
}

/// Reads to the end of a connection, and whatever came before it.
fn to_the_end(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(LIMIT * 3)).expect("set");
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it is never let go"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn pending_idle_connections_are_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let address = endpoint.addresses().http;
    let say = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).expect("accepted");
        stream.write_all(bytes).expect("sent");
        stream
    };
    let silent = say(b"");
    let half_hello = say(&[0x16, 3, 1, 2, 0, 1]);
    let half_head = say(b"GET / HTTP/1.1\r\nHost: x\r\n");
    let no_hello = say(&[&[0x16, 3, 1, 0, 200][..], &[0xff; 200]].concat());
    let head = "POST /api/v1/rtc/offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 1000\r\nConnection: close\r\n\r\n{";
    let no_body = say(head.as_bytes());
    // Idle after an answer: the same.
    let idle = say(b"GET /api/v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for stream in [silent, half_hello, half_head] {
        assert_eq!(to_the_end(stream), "");
    }
    to_the_end(no_hello);
    assert!(to_the_end(idle).starts_with("HTTP/1.1 200"));
    let answer = to_the_end(no_body);
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""code":"timeout""#), "{answer}");
    // Too long a body is no reason to read it.
    let mut long = say(b"POST /api/v1/rtc/offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 10000000\r\nConnection: close\r\n\r\n");
    long.write_all(&[b' '; 64 * 1024 + 1]).expect("sent");
    let mut start = [0; 12];
    long.read_exact(&mut start).expect("answered");
    assert_eq!(&start, b"HTTP/1.1 413");
}

/// A `wss://` request that trusts the certificate in this folder alone.
fn connector(folder: &std::path::Path) -> tokio_tungstenite::Connector {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(folder.join("authority.pem")).expect("PEM");
    roots.add(certificate).expect("a certificate");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    tokio_tungstenite::Connector::Rustls(config.into())
}

#[test]
fn wss_refuses_foreign_origins() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let address = endpoint.addresses().http;
    let runtime = endpoint.runtime().expect("runs");
    let open = async |scheme: &str, origin: Option<&str>| {
        let mut request = format!("{scheme}://{address}/ws").into_client_request().expect("a request");
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", origin.parse().expect("a header"));
        }
        let tls = (scheme == "wss").then(|| connector(folder.path()));
        tokio_tungstenite::connect_async_tls_with_config(request, None, false, tls).await.map(|(socket, _)| socket)
    };
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, async {
            let own = format!("https://{address}");
            for (scheme, origin) in [("wss", None), ("wss", Some(own.as_str())), ("ws", None)] {
                let mut socket = open(scheme, origin).await.expect("accepted");
                let hello = json!({"type": "hello", "subject": "Ann", "client": "test"});
                socket.send(Message::text(hello.to_string())).await.expect("sent");
                let welcome = loop {
                    if let Message::Text(text) = socket.next().await.expect("open").expect("good") {
                        break serde_json::from_str::<Value>(text.as_str()).expect("JSON");
                    }
                };
                assert_eq!((&welcome["type"], &welcome["subject"]), (&json!("welcome"), &json!("Ann")));
            }
            for scheme in ["wss", "ws"] {
                for origin in ["https://evil.example", "https://evil.example:8765", "https://192.0.2.7"] {
                    let refused = open(scheme, Some(origin)).await.expect_err("refused");
                    assert!(refused.to_string().contains("403"), "{scheme} from {origin}: {refused}");
                }
            }
        })
        .await
        .expect("in time");
    });
    assert_eq!(endpoint.stats().refused, 6);
}

#[test]
fn tls_handshake_flood_leaves_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let address = endpoint.addresses().http;
    let runtime = endpoint.runtime().expect("runs");
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, async {
            let request = format!("wss://{address}/ws");
            let (mut socket, _) =
                tokio_tungstenite::connect_async_tls_with_config(&request, None, false, Some(connector(folder.path())))
                    .await
                    .expect("accepted");
            let mut held = Vec::new();
            for i in 0..600 {
                let mut stream = tokio::net::TcpStream::connect(address).await.expect("accepted");
                // Half a record, a whole one of nonsense, nothing.
                let junk: &[u8] = match i % 3 {
                    0 => &[0x16, 3, 1, 2, 0],
                    1 => &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0],
                    _ => &[],
                };
                // It may have been sent away before it could say so.
                let _ = stream.write_all(junk).await;
                held.push(stream);
                if i % 100 == 0 {
                    socket.send(Message::text(json!({"type": "ping", "t": i}).to_string())).await.expect("sent");
                    loop {
                        let message = socket.next().await.expect("open").expect("good");
                        let Message::Text(text) = message else { continue };
                        let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
                        if value["type"] == "pong" {
                            assert_eq!(value["t"], i);
                            break;
                        }
                    }
                }
            }
        })
        .await
        .expect("in time");
    });
    let response = agent(folder.path()).get(format!("https://{address}/api/v1/health")).call().expect("answers");
    assert_eq!(response.status(), 200);
    assert!(endpoint.stats().refused > 0, "those that were sent away are counted");
}

#[test]
fn tls_certificate_files_of_the_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = tempfile::tempdir().expect("a folder");
    let fingerprint = start(folder.path()).certificate_fingerprint().map(str::to_owned);
    start(other.path());
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let with = |key: &std::path::Path| {
        let tls = TlsConfig::Files { certificate: certificate.clone(), key: key.to_owned() };
        Endpoint::start(EndpointConfig { port: 0, tls, ..EndpointConfig::default() })
    };
    let endpoint = with(&key).expect("starts");
    assert_eq!(endpoint.certificate_fingerprint(), fingerprint.as_deref());
    let url = format!("https://{}/", endpoint.addresses().http);
    let mut page = agent(folder.path()).get(&url).call().expect("answers");
    let policy = page.headers()["content-security-policy"].to_str().expect("text").to_owned();
    assert!(policy.contains("connect-src 'self' ws: wss:"), "{policy}");
    assert!(page.headers().get("permissions-policy").is_none(), "the camera is the page's to ask for");
    assert!(page.body_mut().read_to_string().expect("text").to_lowercase().contains("<!doctype html"));

    let wrong = other.path().join("key.pem");
    let error = with(&wrong).expect_err("the key of another certificate");
    assert!(matches!(error, LinkError::Tls(TlsError::Unusable { .. })), "{error:?}");
    let message = error.to_string();
    for part in ["`tls`", &certificate.display().to_string(), &wrong.display().to_string()] {
        assert!(message.contains(part), "{message}");
    }
    // The user's files are never written to, whatever is in them.
    std::fs::write(&certificate, "nonsense").expect("written");
    assert!(matches!(with(&key), Err(LinkError::Tls(TlsError::Content { .. }))));
    assert_eq!(std::fs::read_to_string(&certificate).expect("there"), "nonsense");
    // A generated certificate is replaced.
    let anew = start(folder.path()).certificate_fingerprint().map(str::to_owned);
    assert!(anew.is_some() && anew != fingerprint);
}

#[test]
fn tls_and_http_read_by_curl() {
    if std::process::Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "curl is missing");
        eprintln!("skipped: curl is missing");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = start(folder.path());
    let port = endpoint.addresses().http.port();
    for (host, secure) in [("127.0.0.1", true), ("localhost", true), ("127.0.0.1", false)] {
        let scheme = if secure { "https" } else { "http" };
        let output = std::process::Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", "20", "--cacert"])
            .arg(folder.path().join("certificate.pem"))
            .arg(format!("{scheme}://{host}:{port}/api/v1/health"))
            .output()
            .expect("runs");
        assert!(output.status.success(), "{scheme}://{host}: {}", String::from_utf8_lossy(&output.stderr));
        let health: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(health["secure"], secure, "{health}");
    }
}

/// An endpoint that remote peers can reach, and its address; `None` on a machine without one.
fn open_to_remote_peers(config: EndpointConfig) -> Option<(Endpoint, SocketAddr)> {
    let Some(outward) = outward_address() else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this machine has no address of its own");
        eprintln!("skipped: this machine has no address of its own");
        return None;
    };
    let config = EndpointConfig { bind: [0, 0, 0, 0].into(), port: 0, token: Some("right".to_owned()), ..config };
    let endpoint = Endpoint::start(config).expect("an endpoint");
    let address = SocketAddr::new(outward, endpoint.addresses().http.port());
    Some((endpoint, address))
}

#[test]
fn rate_limit_wrong_tokens_in_hello() {
    let Some((endpoint, address)) = open_to_remote_peers(EndpointConfig::default()) else { return };
    let runtime = endpoint.runtime().expect("runs");
    // What the endpoint answers to a token: the type or code of its message.
    let greet = async |token: &str| {
        let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}/ws")).await.expect("accepted");
        let hello = json!({"type": "hello", "token": token, "client": "test"});
        socket.send(Message::text(hello.to_string())).await.expect("sent");
        loop {
            if let Message::Text(text) = socket.next().await.expect("open").expect("good") {
                let value: Value = serde_json::from_str(text.as_str()).expect("JSON");
                let code = if value["type"] == "error" { &value["code"] } else { &value["type"] };
                return code.as_str().expect("text").to_owned();
            }
        }
    };
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, async {
            assert_eq!(greet("right").await, "welcome");
            for _ in 0..3 {
                assert_eq!(greet("wrong").await, "unauthorized");
            }
            assert_eq!(greet("right").await, "rate_limited", "even the right one waits now");
            let refused = tokio_tungstenite::connect_async(format!("ws://{address}/ws?token=right")).await;
            let refused = refused.expect_err("one rate limit for every transport").to_string();
            assert!(refused.contains("429"), "{refused}");
            while greet("right").await != "welcome" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("forgiven in time");
    });
}

#[test]
fn rate_limit_sockets_per_address() {
    let config = EndpointConfig { max_connections_per_address: 8, ..EndpointConfig::default() };
    let Some((endpoint, address)) = open_to_remote_peers(config) else { return };
    let held: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(address).expect("accepted")).collect();
    let ended = held
        .iter()
        .skip(8)
        .map(|mut stream| {
            stream.set_read_timeout(Some(LIMIT)).expect("set");
            stream.read(&mut [0; 1]).unwrap_or(0)
        })
        .sum::<usize>();
    assert_eq!(ended, 0, "those beyond the eighth are closed without a word");
    assert!(endpoint.stats().refused >= 12, "{:?}", endpoint.stats());
    // This machine is not concerned.
    let near = format!("http://127.0.0.1:{}/api/v1/health", address.port());
    assert_eq!(ureq::get(&near).call().expect("answers").status(), 200);
    drop(held);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let end = std::time::Instant::now() + LIMIT;
    while agent.get(format!("http://{address}/api/v1/health")).call().is_err() {
        assert!(std::time::Instant::now() < end, "never let in again");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn cors_foreign_page_reads_the_refusal() {
    let config =
        EndpointConfig { allowed_origins: vec!["https://show.example".to_owned()], ..EndpointConfig::default() };
    let Some((_endpoint, address)) = open_to_remote_peers(config) else { return };
    let ask = |method: &str, path: &str, extra: &str| {
        let mut stream = TcpStream::connect(address).expect("accepted");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: https://show.example\r\n{extra}\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("sent");
        to_the_end(stream).to_lowercase()
    };
    // A browser shows no token while it asks whether it may.
    let may = ask(
        "OPTIONS",
        "/api/v1/rtc/offer",
        "Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, content-type\r\n",
    );
    assert!(may.starts_with("http/1.1 204"), "{may}");
    assert!(may.contains("access-control-allow-headers: content-type, authorization"), "{may}");
    for (code, path) in [("401", "/api/v1/stats"), ("401", "/api/v1/stats?token=wrong"), ("200", "/api/v1/health")] {
        let answer = ask("GET", path, "");
        assert!(answer.starts_with(&format!("http/1.1 {code}")), "{answer}");
        assert!(answer.contains("access-control-allow-origin: https://show.example"), "{answer}");
    }
    // A page that was opened by an old link is no guess, however often.
    for _ in 0..5 {
        assert!(ask("GET", "/?token=old", "").starts_with("http/1.1 200"));
    }
    assert!(ask("GET", "/api/v1/stats?token=right", "").starts_with("http/1.1 200"));
}

#[test]
fn dns_rebinding_is_refused() {
    let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
    let address = endpoint.addresses().http;
    for (host, code) in [("evil.example", "403"), ("localhost", "200"), ("127.0.0.1", "200")] {
        let mut stream = TcpStream::connect(address).expect("accepted");
        let port = address.port();
        let head = format!("GET /api/v1/subjects HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let answer = to_the_end(stream);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{host}: {answer}");
    }
}

#[test]
fn offer_client_hangup_frees_the_peer() {
    let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).expect("an endpoint");
    let sdp = format!(
        "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
         a=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=fingerprint:sha-256 {}\r\na=setup:actpass\r\na=mid:0\r\n\
         a=sctp-port:5000\r\n",
        ["AB"; 32].join(":")
    );
    let body = json!({"type": "offer", "sdp": sdp}).to_string();
    let offer = || {
        let mut stream = TcpStream::connect(endpoint.addresses().http).expect("accepted");
        let head = "POST /api/v1/rtc/offer HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Connection: close\r\n";
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("sent");
        stream
    };
    let answer = to_the_end(offer());
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""type":"answer""#), "{answer}");
    let (mut came, mut left) = (0, 0);
    let end = std::time::Instant::now() + LIMIT * 3;
    let mut until = |came_least: u32, all_left: bool| {
        while came < came_least || (all_left && came != left) {
            match endpoint.events().recv_deadline(end) {
                Ok(LinkEvent::Connected { .. }) => came += 1,
                Ok(LinkEvent::Disconnected { .. }) => left += 1,
                Ok(_) => {}
                Err(_) => panic!("{came} came and {left} left, of at least {came_least}"),
            }
        }
        came
    };
    until(1, false);
    for _ in 0..5 {
        // One that hangs up once it is seen; another at once, which the server may never see at all.
        let seen = offer();
        let before = until(1, false);
        until(before + 1, false);
        drop(seen);
        drop(offer());
    }
    // None of them ever opens a channel.
    until(6, true);
    assert_eq!(endpoint.stats().connections, 0);
}
