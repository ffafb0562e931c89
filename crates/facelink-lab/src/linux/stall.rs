//! Peers that stop reading.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::{
    common::{Res, load, now_us},
    proc::Proc,
    table::{Table, figure},
};

const LIMIT: Duration = Duration::from_secs(20);
const AFTER: Duration = Duration::from_secs(6);

#[derive(clap::Args)]
pub struct Args {
    /// How long the peer stands still.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Faces at 60 Hz.
    #[arg(long, default_value_t = 10)]
    faces: usize,
}

pub fn run(args: &Args) -> Res<()> {
    println!("A peer that stands still for {} s, {} faces at 60 Hz; {}\n", args.seconds, args.faces, load());
    let mut table = Table::new([
        "who stands still",
        "sender's RSS KiB before",
        "highest meanwhile",
        "after",
        "frames left out",
        "frames older than 0.5 s that came out, and over how many ms they were sent",
        "oldest ms",
        "first fresh frame ms after it goes on",
    ]);
    for websocket in [true, false] {
        subscriber(args, websocket, &mut table)?;
    }
    for websocket in [true, false] {
        endpoint(args, websocket, &mut table)?;
    }
    table.print();
    Ok(())
}

fn title(what: &str, websocket: bool) -> String {
    format!("{what}, {}", if websocket { "WebSocket" } else { "WebRTC" })
}

fn start_client(args: &Args, url: &str, websocket: bool) -> Res<Proc> {
    let faces = args.faces.to_string();
    let mut arguments = vec!["client", "--url", url, "--faces", &faces, "--bulk"];
    if websocket {
        arguments.push("--websocket");
    }
    Proc::start(None, &arguments)
}

/// Highest resident memory of `sender` while `peer` stands still.
fn stand_still(args: &Args, peer: &Proc, sender: &Proc) -> Res<u64> {
    peer.signal(Signal::STOP)?;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut highest = 0;
    while Instant::now() < end {
        highest = highest.max(sender.rss_kib());
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(highest)
}

fn dropped(stats: &Value) -> u64 {
    let connections = stats["connections"].as_array();
    connections.into_iter().flatten().filter_map(|connection| connection["dropped"].as_u64()).sum()
}

/// Age of frames by their own stamps.
#[derive(Debug, Default)]
struct Stale {
    count: usize,
    first: Option<i64>,
    last: i64,
    oldest_ms: f64,
    fresh_ms: Option<f64>,
}

impl Stale {
    fn take(&mut self, frame: &Value, since: i64) {
        let (Some(at), Some(stamp)) = (frame[1].as_i64(), frame[4].as_i64()) else { return };
        if at < since {
            return;
        }
        let age_ms = (at - stamp) as f64 / 1000.0;
        self.oldest_ms = self.oldest_ms.max(age_ms);
        if age_ms > 500.0 {
            self.count += 1;
            self.first.get_or_insert(stamp);
            self.last = self.last.max(stamp);
        } else if stamp >= since {
            self.fresh_ms.get_or_insert((at - since) as f64 / 1000.0);
        }
    }

    fn told(&self) -> String {
        match self.first {
            Some(first) => format!("{} over {}", self.count, (self.last - first) / 1000),
            None => "0".to_owned(),
        }
    }
}

fn subscriber(args: &Args, websocket: bool, table: &mut Table) -> Res<()> {
    let mut server = Proc::start(None, &["endpoint", "--bulk"])?;
    let url = format!("ws://{}", server.wait("listening", LIMIT)?.as_str().ok_or("no address")?);
    let client = start_client(args, &url, false)?;
    let mut arguments = vec!["endpoint", "--connect", &url, "--bulk"];
    if websocket {
        arguments.push("--websocket");
    }
    let mut viewer = Proc::start(None, &arguments)?;
    let wanted = if websocket { "websocket" } else { "webrtc" };
    let end = Instant::now() + LIMIT;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        viewer.command("dump")?;
        let frames = viewer.wait("frames", LIMIT)?;
        if frames.as_array().is_some_and(|frames| frames.iter().any(|frame| frame[2] == wanted)) {
            break;
        }
        if Instant::now() > end {
            return Err("the subscriber hears nothing".into());
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    viewer.command("dump")?;
    viewer.wait("frames", LIMIT)?;
    server.command("stats")?;
    let (rss, before) = (server.rss_kib(), dropped(&server.wait("stats", LIMIT)?));
    let mut highest = 0;
    // The endpoint forgets a connection with its statistics, so they are read while it is open.
    viewer.signal(Signal::STOP)?;
    let mut left_out = 0;
    let end = Instant::now() + Duration::from_secs(args.seconds);
    while Instant::now() < end {
        highest = highest.max(server.rss_kib());
        server.command("stats")?;
        left_out = left_out.max(dropped(&server.wait("stats", LIMIT)?).saturating_sub(before));
        // What the server keeps for us is no part of the measurement.
        server.command("dump")?;
        server.wait("frames", LIMIT)?;
        std::thread::sleep(Duration::from_millis(200));
    }
    let since = now_us();
    viewer.signal(Signal::CONT)?;
    std::thread::sleep(AFTER);
    viewer.command("dump")?;
    let mut stale = Stale::default();
    for frame in viewer.wait("frames", LIMIT)?.as_array().into_iter().flatten() {
        stale.take(frame, since);
    }
    table.row([
        title("subscriber", websocket),
        rss.to_string(),
        highest.to_string(),
        server.rss_kib().to_string(),
        left_out.to_string(),
        stale.told(),
        figure(Some(stale.oldest_ms), 0),
        figure(stale.fresh_ms, 0),
    ]);
    drop(client);
    Ok(())
}

fn endpoint(args: &Args, websocket: bool, table: &mut Table) -> Res<()> {
    let mut server = Proc::start(None, &["endpoint", "--bulk"])?;
    let url = format!("ws://{}", server.wait("listening", LIMIT)?.as_str().ok_or("no address")?);
    let mut client = start_client(args, &url, websocket)?;
    let wanted = if websocket { "websocket" } else { "webrtc" };
    let end = Instant::now() + LIMIT;
    while client.wait("state", LIMIT)? != wanted {
        if Instant::now() > end {
            return Err("the client does not connect".into());
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    server.command("dump")?;
    server.wait("frames", LIMIT)?;
    client.command("stats")?;
    let (rss, before) = (client.rss_kib(), client.wait("stats", LIMIT)?["dropped"].as_u64().unwrap_or(0));
    let highest = stand_still(args, &server, &client)?;
    client.command("stats")?;
    let left_out = client.wait("stats", LIMIT)?["dropped"].as_u64().unwrap_or(0).saturating_sub(before);
    let since = now_us();
    server.signal(Signal::CONT)?;
    std::thread::sleep(AFTER);
    server.command("dump")?;
    let mut stale = Stale::default();
    for frame in server.wait("frames", LIMIT)?.as_array().into_iter().flatten() {
        stale.take(frame, since);
    }
    table.row([
        title("endpoint", websocket),
        rss.to_string(),
        highest.to_string(),
        client.rss_kib().to_string(),
        left_out.to_string(),
        stale.told(),
        figure(Some(stale.oldest_ms), 0),
        figure(stale.fresh_ms, 0),
    ]);
    Ok(())
}
