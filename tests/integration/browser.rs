//! A real Chromium drives avatars through its own `RTCPeerConnection`.
//!
//! Chromium is controlled through the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>); four requests are enough.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bevy::{mesh::morph::MorphWeights, prelude::*};
use bevy_facelink::{
    FaceLinkEndpoint, FaceSubjects, LinkQuality, RequestedFps,
    net::{Addresses, SourceKind},
};
use serde_json::{Value, json};

use crate::{
    live::{get, live_app, live_avatar},
    support::{near, update_until},
};

/// A Chromium and the driver that controls it.
struct Browser {
    driver: Child,
    base: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// `None`, with a printed reason, on a laptop without the programs; a failure where CI has to have them.
    fn open(url: &str) -> Option<Self> {
        let found =
            |program: &str| Command::new(program).arg("--version").output().is_ok_and(|out| out.status.success());
        if !found("chromium") || !found("chromedriver") {
            let message = "chromium and chromedriver are not installed (apt-get install chromium chromium-driver)";
            assert!(std::env::var("CI").as_deref() != Ok("true"), "{message}");
            eprintln!("skipped: {message}");
            return None;
        }
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok())
            .expect("chromedriver prints its port");
        // Read on, so that it never blocks on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let profile = tempfile::tempdir().expect("a folder");
        let mut browser = Self { driver, base: format!("http://127.0.0.1:{port}/session"), _profile: profile };
        let capabilities = browser.capabilities();
        let session = browser.post("", &capabilities);
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        browser.base = format!("{}/{id}", browser.base);
        browser.post("/timeouts", &json!({"script": 30_000}));
        browser.post("/url", &json!({"url": url}));
        Some(browser)
    }

    fn capabilities(&self) -> Value {
        let profile: &Path = self._profile.path();
        json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", format!("--user-data-dir={}", profile.display()),
        ]}}}})
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(90)))
            .build()
            .into();
        let mut response = agent.post(format!("{}{path}", self.base)).send_json(body).expect("chromedriver answers");
        let answer: Value = response.body_mut().read_json().expect("JSON");
        assert!(answer["value"].get("error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// Runs the body of an async function in the page and gives what it returns.
    fn run(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1];
             (async () => {{ {body} }})().then(value => done({{value}}), error => done({{failure: String(error)}}));"
        );
        let outcome = self.post("/execute/async", &json!({"script": script, "args": []}));
        assert!(outcome.get("failure").is_none(), "in the page: {outcome}");
        outcome["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.base).call();
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn jaw(app: &App, node: Entity) -> f32 {
    app.world().get::<MorphWeights>(node).expect("weights").weights()[0]
}

fn transport(app: &App, subject: &str) -> Option<SourceKind> {
    let subject = app.world().resource::<FaceSubjects>().get(subject)?;
    app.world().get::<LinkQuality>(subject)?.transport
}

#[test]
fn chromium_with_two_streams_drives_two_avatars() {
    let (mut app, addresses) = live_app();
    let Some(browser) = Browser::open(&format!("http://{}/", addresses.http)) else { return };
    let ann = live_avatar(&mut app, "Ann", &["jawOpen", "eyeBlinkLeft", "tail"]);
    let bob = live_avatar(&mut app, "Bob", &["jawOpen"]);
    // The guide's own code, twice, at 60 frames a second.
    browser.run(&format!(
        "const {{ FacialAnimationWebRTCClient }} = await import('/facelink.js');
         window.clients = {{}};
         for (const [subject, jawOpen] of [['Ann', 0.25], ['Bob', 0.75]]) {{
             const client = new FacialAnimationWebRTCClient('ws://{}', {{ subject }});
             await client.connect();
             setInterval(() => client.sendARKitData({{ jawOpen, eyeBlinkLeft: 1.0, tail: 0.5 }}), 16);
             window.clients[subject] = client;
         }}",
        addresses.http
    ));
    update_until(&mut app, "both faces over WebRTC", |app| {
        near(jaw(app, ann), 0.25)
            && near(jaw(app, bob), 0.75)
            && transport(app, "Ann") == Some(SourceKind::WebRtc)
            && transport(app, "Bob") == Some(SourceKind::WebRtc)
    });
    let weights = app.world().get::<MorphWeights>(ann).expect("weights").weights();
    assert!(weights.iter().zip([0.25, 1.0, 0.5]).all(|(weight, sent)| near(*weight, sent)), "{weights:?}");
    let page = browser.run(
        "const client = window.clients.Ann;
         const stats = [...(await client.pc.getStats()).values()];
         const server = await client.requestStats();
         const channel = client.dataChannel;
         return { ice: client.pc.iceConnectionState, channel: channel.readyState, ordered: channel.ordered,
                  retransmits: channel.maxRetransmits, protocol: channel.protocol, stats: client.getStats(), server,
                  pairs: stats.filter(s => s.type === 'candidate-pair' && s.nominated).length };",
    );
    assert_eq!(page["channel"], "open", "{page}");
    assert_eq!((&page["ordered"], &page["retransmits"]), (&json!(false), &json!(0)), "{page}");
    assert_eq!(page["protocol"], "animation-data");
    assert!(page["pairs"].as_u64() >= Some(1), "{page}");
    assert_eq!(page["stats"]["transport"], "webrtc");
    assert_eq!(page["server"]["data_channel_state"], "open");
    assert_eq!(get(&addresses, "/api/v1/subjects")["subjects"].as_array().map(Vec::len), Some(2));

    // The page follows the rate that the engine asks for.
    let subject = app.world().resource::<FaceSubjects>().get("Ann").expect("there");
    app.world_mut().entity_mut(subject).insert(RequestedFps(20.0));
    update_until(&mut app, "a slower stream", |app| {
        let quality = app.world().get::<LinkQuality>(subject).expect("link statistics");
        quality.target_fps == 20.0 && (10.0..24.0).contains(&quality.fps)
    });
}

#[test]
fn browser_page_without_hello_is_accepted() {
    let (mut app, addresses) = live_app();
    let Some(browser) = Browser::open(&format!("http://{}/", addresses.http)) else { return };
    let node = live_avatar(&mut app, "Old", &["jawOpen"]);
    // A channel opened in-band, an offer by HTTP with every candidate in it, JSON on the channel.
    let heard = browser.run(
        "const pc = new RTCPeerConnection();
         const channel = pc.createDataChannel('animation', { ordered: false, maxRetransmits: 0 });
         const heard = [];
         channel.onmessage = event => heard.push(JSON.parse(event.data));
         let theirs = null;
         pc.ondatachannel = event => { theirs = event.channel; };
         await pc.setLocalDescription(await pc.createOffer());
         await new Promise(done => {
             if (pc.iceGatheringState === 'complete') done();
             else pc.onicegatheringstatechange = () => pc.iceGatheringState === 'complete' && done();
         });
         const answer = await fetch('/api/v1/rtc/offer', {
             method: 'POST', headers: { 'content-type': 'application/json' },
             body: JSON.stringify({ sdp: pc.localDescription.sdp, type: 'offer' }),
         });
         const { sdp, type, session_id } = await answer.json();
         await pc.setRemoteDescription({ sdp, type });
         await new Promise(done => { channel.onopen = done; if (channel.readyState === 'open') done(); });
         setInterval(() => channel.send(JSON.stringify(
             { type: 'arkit_data', subject: 'Old', blendshapes: { jawOpen: 0.5 }, timestamp: new Date().toISOString() })), 16);
         // The channel is unreliable: what is asked once may be lost.
         const kinds = () => [...new Set(heard.map(message => message.type))].sort();
         while (kinds().length < 2 || !theirs) {
             channel.send(JSON.stringify({ type: 'ping', t: 7 }));
             channel.send(JSON.stringify({ type: 'get_stats' }));
             await new Promise(done => setTimeout(done, 100));
         }
         window.pc = pc;
         return { kinds: kinds(), session_id,
                  theirs: theirs.label, ordered: theirs.ordered, retransmits: theirs.maxRetransmits };",
    );
    assert_eq!(heard["kinds"], json!(["pong", "stats"]), "small replies come on its own channel: {heard}");
    assert_eq!(heard["theirs"], "animation-out");
    assert_eq!((&heard["ordered"], &heard["retransmits"]), (&json!(false), &json!(0)), "ours is unreliable: {heard}");
    update_until(&mut app, "the face", |app| near(jaw(app, node), 0.5) && transport(app, "Old").is_some());
    let stats = get(&addresses, "/api/v1/stats");
    // The page itself has a connection of its own.
    let connections = stats["connections"].as_array().expect("a list");
    let ours = connections.iter().find(|connection| connection["connection_id"] == heard["session_id"]);
    let ours = ours.expect("the offer's session");
    assert_eq!(ours["transport"], "webrtc");
    assert!(ours["average_latency_ms"].is_number(), "{stats}");

    browser.run("window.pc.close(); return null;");
    update_until(&mut app, "the end of the subject", |app| app.world().resource::<FaceSubjects>().is_empty());
}

#[test]
fn browser_page_without_webrtc_falls_back_to_websocket() {
    let (mut app, addresses) = live_app();
    let url = format!("http://{}/?perform=1&subject=Page&webrtc=0", addresses.http);
    let Some(_browser) = Browser::open(&url) else { return };
    let node = live_avatar(&mut app, "Page", &["jawOpen"]);
    let mut widest = 0.0_f32;
    update_until(&mut app, "a talking face over WebSocket", |app| {
        widest = widest.max(jaw(app, node));
        widest > 0.1 && transport(app, "Page") == Some(SourceKind::WebSocket)
    });
    assert!(app.world().resource::<FaceLinkEndpoint>().stats().refused == 0);
}

#[test]
fn webrtc_channels_open_for_either_offerer() {
    let (mut app, addresses) = live_app();
    let Some(browser) = Browser::open(&format!("http://{}/", addresses.http)) else { return };
    for role in ["offers", "answers"] {
        let node = live_avatar(&mut app, role, &["jawOpen"]);
        let times = open_channels(&browser, &addresses, role);
        println!("a channel opens in Chromium, which {role}, after {times} ms");
        update_until(&mut app, role, |app| {
            near(jaw(app, node), 0.5) && transport(app, role) == Some(SourceKind::WebRtc)
        });
    }
}

/// Ten connections one after the other; the last one stays and sends. Gives the times until their channels were open.
fn open_channels(browser: &Browser, addresses: &Addresses, role: &str) -> Value {
    browser.run(&format!(
        "const times = [];
         for (let round = 0; round < 10; round += 1) {{
             const ws = new WebSocket('ws://{}');
             await new Promise(done => {{ ws.onopen = done; }});
             const pc = new RTCPeerConnection();
             const options = {{ negotiated: true, id: 0, ordered: false, maxRetransmits: 0, protocol: 'animation-data' }};
             const channel = pc.createDataChannel('animation', options);
             pc.onicecandidate = event => ws.send(JSON.stringify({{ type: 'ice_candidate', candidate: event.candidate }}));
             ws.onmessage = async event => {{
                 const message = JSON.parse(event.data);
                 if (message.type === 'offer') {{
                     await pc.setRemoteDescription({{ type: 'offer', sdp: message.sdp }});
                     await pc.setLocalDescription(await pc.createAnswer());
                     ws.send(JSON.stringify({{ type: 'answer', sdp: pc.localDescription.sdp }}));
                 }} else if (message.type === 'answer') {{
                     await pc.setRemoteDescription({{ type: 'answer', sdp: message.sdp }});
                 }} else if (message.type === 'ice_candidate' && message.candidate) {{
                     await pc.addIceCandidate(message.candidate);
                 }}
             }};
             const start = performance.now();
             if ('{role}' === 'answers') {{
                 ws.send(JSON.stringify({{ type: 'request_offer' }}));
             }} else {{
                 await pc.setLocalDescription(await pc.createOffer());
                 ws.send(JSON.stringify({{ type: 'offer', sdp: pc.localDescription.sdp }}));
             }}
             await new Promise(done => {{ channel.onopen = done; }});
             times.push(Math.round(performance.now() - start));
             window.kept = {{ ws, pc, channel }};
             if (round < 9) {{ pc.close(); ws.close(); }}
         }}
         setInterval(() => window.kept.channel.send(JSON.stringify(
             {{ type: 'arkit_data', subject: '{role}', blendshapes: {{ jawOpen: 0.5 }} }})), 16);
         return times.sort((a, b) => a - b);",
        addresses.http
    ))
}
