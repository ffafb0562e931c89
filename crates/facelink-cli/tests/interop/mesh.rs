//! Three relays, each in a network of its own, with a link between each two of them: a link is cut and a relay is killed
//! under load.
//!
//! `FACELINK_MESH_VIEWERS`: viewers of each relay, 5 by default. The times are printed; what is asserted is that frames come
//! again, and that none comes twice.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelink::{Blendshape, FaceFrame, wire::facelink1};
use facelink_net::{Client, ClientConfig};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{
    blocked::ip,
    harness::{LIMIT, Process, missing, quiet},
};

const TOKEN: &str = "let-me-in";
const RELAYS: usize = 3;
/// The links between relays.
const LINKS: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 0)];

/// Three namespaces, a cable between each two of them, and one from each to this machine.
struct Network {
    names: [String; RELAYS],
    block: u32,
}

impl Network {
    /// `None` where this user may not make one.
    fn new() -> Option<Self> {
        let id = uuid::Uuid::new_v4().as_u128();
        let name = format!("{:08x}", id as u32);
        // 32 addresses of 10.192.0.0/10 by chance.
        let block = 0x0ac0_0000 | ((id >> 32) as u32 & 0x0001_ffff) << 5;
        let network = Self { names: ["a", "b", "c"].map(|of| format!("fl{of}{name}")), block };
        let mut steps: Vec<String> = network.names.iter().map(|name| format!("netns add {name}")).collect();
        for (link, (a, b)) in LINKS.into_iter().enumerate() {
            let [near, far] = [&network.names[a], &network.names[b]];
            steps.push(format!("-n {near} link add to{b} type veth peer name to{a} netns {far}"));
            for (machine, device, side) in [(near, b, 1), (far, a, 2)] {
                steps.push(format!("-n {machine} addr add {}/30 dev to{device}", network.address(link, side)));
                steps.push(format!("-n {machine} link set to{device} up"));
            }
        }
        for (place, machine) in network.names.iter().enumerate() {
            let outside = format!("fl{place}{name}");
            steps.extend([
                format!("link add {outside} type veth peer name eth0 netns {machine}"),
                format!("addr add {}/30 dev {outside}", network.address(RELAYS + place, 1)),
                format!("link set {outside} up"),
                format!("-n {machine} addr add {}/30 dev eth0", network.address(RELAYS + place, 2)),
                format!("-n {machine} link set eth0 up"),
                format!("-n {machine} link set lo up"),
            ]);
        }
        for step in &steps {
            if let Err(error) = ip(step) {
                missing(&format!("no network namespaces (they need root and iproute2): {error}"));
                return None;
            }
        }
        Some(network)
    }

    /// The address of one side of a link; those after the links of relays lead here.
    fn address(&self, link: usize, side: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.block + 4 * link as u32 + side)
    }

    /// A relay, connected to those before it.
    fn relay(&self, place: usize) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[place], env!("CARGO_BIN_EXE_facelink")]);
        command.args(["relay", "--json", "--bind", "0.0.0.0", "--token", TOKEN, "--port", "8765"]);
        command.args(["--zenoh-listen", "0.0.0.0"]);
        for (link, (a, b)) in LINKS.into_iter().enumerate() {
            // The later one of the two connects.
            let (near, far, side) = if a < b { (b, a, 1) } else { (a, b, 2) };
            if near == place {
                command.args(["--zenoh", &self.address(link, side).to_string()]);
                assert!(far < place);
            }
        }
        Process::start(command, &format!("relay {place}"))
    }

    fn url(&self, place: usize) -> String {
        format!("ws://{}:8765", self.address(RELAYS + place, 2))
    }

    /// Statistics of a relay's mesh, at most a quarter of a second old.
    fn stats(&self, place: usize) -> Value {
        let url = format!("http://{}:8765/api/v1/stats", self.address(RELAYS + place, 2));
        let answer = ureq::get(&url).header("Authorization", format!("Bearer {TOKEN}")).call();
        answer.expect("statistics").body_mut().read_json::<Value>().expect("JSON")["mesh"].take()
    }

    /// Bytes that one relay has sent to another on their link, headers and all.
    fn bytes(&self, from: usize, to: usize) -> u64 {
        let mut command = Command::new("ip");
        let file = format!("/sys/class/net/to{to}/statistics/tx_bytes");
        // Namespaces entered by `ip netns exec` have a /sys of their own.
        let out = command.args(["netns", "exec", &self.names[from], "cat", &file]).output().expect("ip");
        String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

/// What a viewer has seen of one face.
#[derive(Clone, Copy, Default)]
struct Seen {
    frames: u32,
    newest: u32,
    sequence: Option<u64>,
    /// Frames that came when they, or later ones, had been there.
    twice: u32,
}

type Viewer = Arc<Mutex<BTreeMap<String, Seen>>>;

const DIGITS: [Blendshape; 3] = [Blendshape::JawOpen, Blendshape::MouthPucker, Blendshape::CheekPuff];

/// A frame with a number in its weights: relays number frames anew.
fn face(number: u32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    for (place, shape) in (0..).zip(DIGITS) {
        frame.set(shape, (number / 100_u32.pow(place) % 100) as f32 / 100.0);
    }
    frame
}

fn number(frame: &FaceFrame) -> u32 {
    let digit = |shape| (frame.get(shape).expect("a weight") * 100.0).round() as u32;
    (0..).zip(DIGITS).map(|(place, shape)| 100_u32.pow(place) * digit(shape)).sum()
}

/// Watches all faces of a relay, and connects again when the connection ends.
async fn view(url: String, viewer: Viewer) {
    loop {
        let _ = watch(&url, &viewer).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn watch(url: &str, viewer: &Viewer) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    let (mut socket, _) = connect_async(format!("{url}/ws?token={TOKEN}")).await?;
    let subscribe = json!({"type": "subscribe", "binary": "facelink1"});
    socket.send(Message::text(subscribe.to_string())).await?;
    let mut decoder = facelink1::Decoder::new();
    // The newest face comes again with a new connection.
    viewer.lock().expect("no panic").values_mut().for_each(|seen| seen.newest = 0);
    while let Some(message) = socket.next().await {
        let Message::Binary(bytes) = message? else { continue };
        let mut viewer = viewer.lock().expect("no panic");
        decoder
            .decode(&bytes, |face| {
                let seen = viewer.entry(face.subject.to_owned()).or_default();
                let number = number(&face.frame);
                seen.frames += 1;
                // A relay sends the last frame of a face that falls silent again, under its number.
                let is_last = face.frame.sequence.is_some() && face.frame.sequence == seen.sequence;
                seen.twice += u32::from(number <= seen.newest && !is_last);
                seen.newest = seen.newest.max(number);
                seen.sequence = face.frame.sequence;
            })
            .expect("a packet");
    }
    Ok(())
}

/// The relays under load.
struct Load<'a> {
    network: &'a Network,
    viewers: Vec<Vec<Viewer>>,
    /// The number of the frames that are sent now.
    now: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    sender: Option<thread::JoinHandle<()>>,
    _runtime: tokio::runtime::Runtime,
}

impl<'a> Load<'a> {
    /// A face for each relay, at 60 frames a second, and so many viewers at each.
    fn new(network: &'a Network, count: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let clients: Vec<Client> = (0..RELAYS)
            .map(|place| {
                let config = ClientConfig::new(network.url(place)).subject(name(place));
                let token = Some(TOKEN.to_owned());
                Client::start(ClientConfig { token, webrtc: false, ..config }, runtime.handle())
            })
            .collect();
        let viewers = (0..RELAYS)
            .map(|place| {
                (0..count)
                    .map(|_| {
                        let viewer = Viewer::default();
                        runtime.spawn(view(network.url(place), viewer.clone()));
                        viewer
                    })
                    .collect()
            })
            .collect();
        let (now, stop) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicBool::new(false)));
        let (next, stops) = (now.clone(), stop.clone());
        let sender = thread::spawn(move || {
            while !stops.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                clients.iter().for_each(|client| client.send(face(number)));
                thread::sleep(Duration::from_micros(16_667));
            }
        });
        Self { network, viewers, now, stop, sender: Some(sender), _runtime: runtime }
    }

    /// Waits until the viewers of these relays have seen frames of all these faces that are sent from now on; the time.
    fn seen_again(&self, what: &str, relays: &[usize], faces: &[usize]) -> Duration {
        let (from, started) = (self.now.load(Ordering::Relaxed), Instant::now());
        let is_there = |viewer: &Viewer| {
            let seen = viewer.lock().expect("no panic");
            faces.iter().all(|face| seen.get(&name(*face)).is_some_and(|seen| seen.newest >= from))
        };
        while !relays.iter().flat_map(|relay| &self.viewers[*relay]).all(is_there) {
            if started.elapsed() > LIMIT {
                let stats: Vec<Value> = relays.iter().map(|relay| self.network.stats(*relay)).collect();
                panic!("{what}: frames do not come: {stats:#?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        let time = started.elapsed();
        eprintln!("mesh: {what}: frames at every viewer after {time:?}, {} twice so far", self.total().1);
        time
    }

    /// What the viewers have seen in all.
    fn total(&self) -> (u64, u64) {
        let seen = self
            .viewers
            .iter()
            .flatten()
            .flat_map(|viewer| viewer.lock().expect("no panic").values().copied().collect::<Vec<_>>());
        seen.fold((0, 0), |(frames, twice), seen| (frames + u64::from(seen.frames), twice + u64::from(seen.twice)))
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sender) = self.sender.take() {
            let _ = sender.join();
        }
    }
}

fn name(place: usize) -> String {
    format!("face {place}")
}

/// The next statistics of a relay's mesh for which `wanted` holds.
fn mesh(relay: &Process, wanted: impl Fn(&Value) -> bool) -> Value {
    relay.find(|line| {
        let event: Value = serde_json::from_str(line).ok()?;
        (event["event"] == "mesh" && wanted(&event)).then_some(event)
    })
}

#[test]
fn mesh_of_three_relays_survives_a_cut_link_and_a_killed_relay() {
    let _quiet = quiet();
    let Some(network) = Network::new() else { return };
    let count = std::env::var("FACELINK_MESH_VIEWERS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let mut relays: Vec<Process> = (0..RELAYS).map(|place| network.relay(place)).collect();
    let is_whole = |stats: &Value| stats["relays"] == 2 && stats["links"] == 2;
    relays.iter().for_each(|relay| drop(mesh(relay, is_whole)));
    let idle = (network.bytes(0, 1), Instant::now());
    thread::sleep(Duration::from_secs(2));
    let idle = (network.bytes(0, 1) - idle.0) as f64 / idle.1.elapsed().as_secs_f64();

    let load = Load::new(&network, count);
    let every = [0, 1, 2];
    load.seen_again(&format!("3 x {count} viewers of 3 faces: the start"), &every, &every);
    load.seen_again("undisturbed", &every, &every);
    let figures = || {
        let stats = network.stats(1);
        (stats["frames_in"].as_f64().expect("a number"), stats["bytes_in"].as_f64().expect("a number"))
    };
    let (before, bytes, at) = (figures(), network.bytes(0, 1), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let (after, bytes, time) = (figures(), network.bytes(0, 1) - bytes, at.elapsed().as_secs_f64());
    eprintln!(
        "mesh: a link with one face each way: {:.0} B/s with headers, {idle:.0} B/s of it without faces; {:.1} frames/s a face, \
         {:.0} bytes each",
        bytes as f64 / time,
        (after.0 - before.0) / 2.0 / time,
        (after.1 - before.1) / (after.0 - before.0),
    );

    // The link between the first two: frames go by the third.
    ip(&format!("-n {} link set to1 down", network.names[0])).expect("cut");
    load.seen_again("a link is cut", &every, &every);
    thread::sleep(Duration::from_secs(1));
    ip(&format!("-n {} link set to1 up", network.names[0])).expect("mended");
    load.seen_again("it is mended", &every, &every);
    relays[..2].iter().for_each(|relay| drop(mesh(relay, is_whole)));

    // Its viewers and its face are gone; the others go on.
    relays.pop();
    load.seen_again("the third relay is killed", &[0, 1], &[0, 1]);
    relays.push(network.relay(2));
    load.seen_again("it is started again", &every, &every);
    relays.iter().for_each(|relay| drop(mesh(relay, is_whole)));

    // Where the only way goes by a relay that is killed, and a link is mended.
    ip(&format!("-n {} link set to1 down", network.names[0])).expect("cut");
    load.seen_again("the link is cut again", &every, &every);
    relays.pop();
    ip(&format!("-n {} link set to1 up", network.names[0])).expect("mended");
    load.seen_again("the relay in between is killed, and the link mended", &[0, 1], &[0, 1]);

    let (frames, twice) = load.total();
    for place in 0..relays.len() {
        let stats = network.stats(place);
        eprintln!(
            "mesh: {} duplicates taken off, {} missing, {} dropped",
            stats["duplicates"], stats["missing"], stats["dropped"]
        );
    }
    eprintln!("mesh: {frames} frames at viewers, {twice} of them twice");
    assert_eq!(twice, 0);
}
