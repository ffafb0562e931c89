//! What a face costs on the wire: whole IP packets, both directions, with everything that keeps the connection up.

use std::{thread, time::Duration};

use super::{
    browser,
    common::{Res, load},
    path::Shape,
    sender::{Pair, Role},
    table::{Table, figure},
};

const SETTLE: Duration = Duration::from_secs(5);
const DELAY: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each row.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Only rows whose sender or format contains this.
    #[arg(long)]
    only: Vec<String>,
}

/// Sender, format, process, its arguments.
type Case = (&'static str, &'static str, Role, &'static [&'static str]);

const CASES: [Case; 17] = [
    ("bare peer", "JSON", Role::Raw, &["--format", "json"]),
    ("bare peer", "float32", Role::Raw, &["--format", "float32"]),
    ("bare peer", "facelink1", Role::Raw, &["--format", "facelink1"]),
    ("bare peer", "facelink1, 1 repeat", Role::Raw, &["--format", "facelink1", "--redundancy", "1"]),
    ("facelink.js", "JSON", Role::Chromium, &["--format", "json"]),
    ("facelink.js", "float32", Role::Chromium, &["--format", "float32"]),
    ("facelink.js", "facelink1", Role::Chromium, &[]),
    ("Rust client", "facelink1", Role::Rust, &[]),
    ("Rust client", "deltas", Role::Rust, &["--delta"]),
    ("bare peer", "JSON", Role::Raw, &["--websocket", "--format", "json"]),
    ("bare peer", "float32", Role::Raw, &["--websocket", "--format", "float32"]),
    ("bare peer", "facelink1", Role::Raw, &["--websocket", "--format", "facelink1"]),
    ("bare peer", "facelink1, 1 repeat", Role::Raw, &["--websocket", "--format", "facelink1", "--redundancy", "1"]),
    ("facelink.js", "facelink1", Role::Chromium, &["--websocket"]),
    ("Rust client", "facelink1", Role::Rust, &["--websocket"]),
    ("Rust client", "deltas", Role::Rust, &["--websocket", "--delta"]),
    ("as the app", "Live Link Face", Role::Udp, &["--format", "live-link-face"]),
];

pub fn run(args: &Args) -> Res<()> {
    println!("Bytes of a face at 60 Hz, {} s each, 20 ms each way, nothing lost; {}", args.seconds, load());
    println!(
        "Whole IP packets, WebSockets without TLS. 52 shapes and the head; all but facelink.js send the gaze too."
    );
    println!("A bare peer sends frames alone; our clients' rows have their pings and reports too.\n");
    let chromium = browser::exists();
    if !chromium {
        println!("Skipped: chromium and chromedriver are not both here\n");
    }
    let mut table = Table::new([
        "over",
        "sender",
        "format",
        "frames",
        "bytes up per frame",
        "bytes down per frame",
        "packets per frame up / down",
        "KB/s up / down",
    ]);
    for (sender, format, role, arguments) in CASES {
        let transport = match role {
            Role::Udp => "udp",
            _ if arguments.contains(&"--websocket") => "websocket",
            _ => "webrtc",
        };
        let wanted = |only: &String| [sender, format, transport].iter().any(|text| text.contains(only.as_str()));
        if (role == Role::Chromium && !chromium) || !(args.only.is_empty() || args.only.iter().any(wanted)) {
            continue;
        }
        table.push(row(args, (sender, format, role, arguments), transport)?);
    }
    table.print();
    println!("\nAfter it: {}", load());
    Ok(())
}

fn row(args: &Args, (sender, format, role, arguments): Case, transport: &str) -> Res<Vec<String>> {
    let path = Shape { delay: DELAY, ..Shape::default() };
    let mut pair = Pair::start(role, arguments, transport, path, path)?;
    thread::sleep(SETTLE);
    pair.taken()?;
    let (from, up, down) = (pair.stats()?, pair.net.up.counts(), pair.net.down.counts());
    thread::sleep(Duration::from_secs(args.seconds));
    let (to, up, down) = (pair.stats()?, pair.net.up.counts() - up, pair.net.down.counts() - down);
    let (frames, taken) = (to.sent - from.sent, pair.taken()?);
    let seconds = (to.t - from.t) as f64 / 1e6;
    // Frames in flight, and the time that a query takes.
    if taken + 20 < frames as usize || frames == 0 {
        return Err(format!("{sender}, {format}: {taken} of {frames} frames were taken").into());
    }
    let per_frame = |number: u64, digits| figure(Some(number as f64 / frames as f64), digits);
    let rate = |bytes: u64| figure(Some(bytes as f64 / 1000.0 / seconds), 2);
    let over = match transport {
        "webrtc" => "WebRTC",
        "websocket" => "WebSocket",
        _ => "UDP",
    };
    Ok(vec![
        over.to_owned(),
        sender.to_owned(),
        format.to_owned(),
        frames.to_string(),
        per_frame(up.bytes, 0),
        per_frame(down.bytes, 0),
        format!("{} / {}", per_frame(up.packets, 2), per_frame(down.packets, 2)),
        format!("{} / {}", rate(up.bytes), rate(down.bytes)),
    ])
}
