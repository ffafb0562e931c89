//! Many viewers of many faces through one relay on one core: its age and its cost, in bundles and without.
//!
//! The relay runs in a process of its own on one core; publishers and viewers in another one on another core.

mod load;
mod server;

use std::{thread, time::Duration};

use serde_json::Value;

pub use self::{load::Args as LoadArgs, load::run as load_viewers, server::Args as ServerArgs, server::run as serve};
use super::{
    capacity::{Carrier, cores},
    common::{Res, load},
    proc::Proc,
    table::{Table, figure},
};

const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of a message besides its payload: IP, UDP, DTLS, SCTP and its chunk; IP, TCP and WebSocket.
const WEBRTC_HEADERS: f64 = 93.0;
const WEBSOCKET_HEADERS: f64 = 56.0;

#[derive(clap::Args)]
pub struct Args {
    /// Viewers at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50])]
    viewers: Vec<usize>,
    #[arg(long, default_value_t = 20)]
    faces: usize,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Carrier::Websocket, Carrier::Webrtc])]
    carriers: Vec<Carrier>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Mode::Deltas, Mode::Aligned, Mode::Spread, Mode::Unbundled])]
    modes: Vec<Mode>,
    /// Of each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Milliseconds that a frame waits for others in bundles, as of `facelink relay`.
    #[arg(long)]
    gather: Option<f64>,
    /// Packets a second of all viewers together in bundles, as of `facelink relay`.
    #[arg(long)]
    max_packets: Option<f32>,
    /// Leaves the processes where the system puts them.
    #[arg(long)]
    unpinned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Compact bundles, acknowledged; the faces are captured at the same times, as those that a game sends.
    Deltas,
    /// The same, each face at its own time within a frame.
    SpreadDeltas,
    /// Bundles; the faces are captured at the same times, as those that a game sends.
    Aligned,
    /// Bundles; each face has its own time within a frame, as those of phones.
    Spread,
    /// Each face has its own time, and a packet of its own.
    Unbundled,
}

impl Mode {
    const fn title(self) -> &'static str {
        match self {
            Self::Deltas => "deltas, faces in step",
            Self::SpreadDeltas => "deltas, faces spread",
            Self::Aligned => "bundles, faces in step",
            Self::Spread => "bundles, faces spread",
            Self::Unbundled => "a packet each",
        }
    }
}

pub fn run(args: &Args) -> Res<()> {
    println!("{} faces at 60 Hz, {} s each; {}\n", args.faces, args.seconds, load());
    let mut table = Table::new([
        "carrier",
        "viewers",
        "how",
        "frames received / sent",
        "median ms",
        "p99 ms",
        "packets/s",
        "KB/s a viewer",
        "core %",
        "µs a packet",
    ]);
    for carrier in args.carriers.iter().copied() {
        for viewers in args.viewers.iter().copied() {
            for mode in args.modes.iter().copied() {
                table.row(measure(args, carrier, viewers, mode)?);
            }
        }
    }
    table.print();
    println!("\nAge: from the relay's receipt of a frame to the viewer's of its packet. After it: {}", load());
    Ok(())
}

fn measure(args: &Args, carrier: Carrier, viewers: usize, mode: Mode) -> Res<[String; 10]> {
    let mut serving = vec!["relay-server".to_owned()];
    let (count, faces, seconds) = (viewers.to_string(), args.faces.to_string(), args.seconds.to_string());
    let mut loading: Vec<String> =
        ["relay-load", "--carrier", carrier.argument(), "--viewers", &count, "--faces", &faces, "--seconds", &seconds]
            .map(str::to_owned)
            .to_vec();
    if !args.unpinned {
        let (server, viewers) = cores()?;
        serving.extend(["--core".to_owned(), server.to_string()]);
        loading.extend(["--core".to_owned(), viewers.to_string()]);
    }
    let bundled = (args.gather, args.max_packets);
    let (gather, max_packets) = if mode == Mode::Unbundled { (Some(0.0), Some(1e9)) } else { bundled };
    serving.extend(gather.into_iter().flat_map(|gather| ["--gather".to_owned(), gather.to_string()]));
    serving.extend(max_packets.into_iter().flat_map(|most| ["--max-packets".to_owned(), most.to_string()]));
    if matches!(mode, Mode::SpreadDeltas | Mode::Spread | Mode::Unbundled) {
        loading.push("--spread".to_owned());
    }
    if matches!(mode, Mode::Deltas | Mode::SpreadDeltas) {
        loading.push("--deltas".to_owned());
    }
    let server = Proc::start(None, &serving.iter().map(String::as_str).collect::<Vec<_>>())?;
    let to = server.wait("listening", LIMIT)?.as_str().ok_or("no address")?.to_owned();
    loading.extend(["--to".to_owned(), to]);
    let mut viewing = Proc::start(None, &loading.iter().map(String::as_str).collect::<Vec<_>>())?;
    viewing.wait("open", LIMIT)?;
    viewing.command("go")?;
    viewing.wait("begun", LIMIT)?;
    let before = server.cpu_us();
    let result = viewing.wait("result", LIMIT)?;
    let cpu_us = server.cpu_us() - before;
    thread::sleep(Duration::from_millis(50));
    let number = |key: &str| result[key].as_f64().ok_or_else(|| format!("no `{key}`"));
    let (packets, bytes, seconds) = (number("packets")?, number("bytes")?, number("seconds")?);
    let headers = if carrier == Carrier::Webrtc { WEBRTC_HEADERS } else { WEBSOCKET_HEADERS };
    let figures = |value: &Value, digits| figure(value.as_f64(), digits);
    Ok([
        carrier.title().to_owned(),
        viewers.to_string(),
        mode.title().to_owned(),
        format!("{} / {}", number("frames")?, number("wanted")?),
        figures(&result["median_ms"], 2),
        figures(&result["p99_ms"], 2),
        figure(Some(packets / seconds), 0),
        figure(Some((bytes + packets * headers) / seconds / 1000.0 / viewers as f64), 1),
        figure(Some(cpu_us / seconds / 1e4), 0),
        figure(Some(cpu_us / packets.max(1.0)), 1),
    ])
}
