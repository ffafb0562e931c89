//! What a message costs the endpoint, and how many senders one core of it takes, next to other stacks.
//!
//! What receives runs in a process of its own on one core, and what sends in another one on another core.

mod receiver;
mod rtc_sender;
mod sender;
mod soak;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use serde_json::Value;

pub use self::{
    receiver::Args as ReceiverArgs,
    receiver::run as receive,
    rtc_sender::{Peer, Signalling, pong},
    sender::Args as SenderArgs,
    sender::run as send,
    soak::Args as SoakArgs,
    soak::run as soak,
};
use super::{
    common::{Res, load},
    proc::Proc,
    table::{Table, figure},
};

const LIMIT: Duration = Duration::from_secs(120);
const PEER: &str = include_str!("../../py/receiver.py");
/// What a 99th percentile may reach, milliseconds.
const AGE_LIMIT_MS: f64 = 5.0;
/// Share of frames that may be missing: some are under way when the count ends.
const LOSS: f64 = 0.001;
/// Steps of the ladder while it holds, as a factor, and the one at which it is good enough.
const GROWTH: f64 = 1.35;
const STEP: f64 = 1.1;
const WARM_UP: f64 = 0.5;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Carrier {
    /// Live Link Face's datagrams.
    Udp,
    Websocket,
    Webrtc,
}

impl Carrier {
    const ALL: [Self; 3] = [Self::Udp, Self::Websocket, Self::Webrtc];

    pub const fn title(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Websocket => "WebSocket",
            Self::Webrtc => "WebRTC",
        }
    }

    pub const fn argument(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Websocket => "websocket",
            Self::Webrtc => "webrtc",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stack {
    Facelink,
    /// The crates below it: `tokio`'s sockets, `tokio-tungstenite`, `webrtc`.
    Bare,
    /// asyncio, aiohttp, aiortc.
    Python,
}

impl Stack {
    const fn title(self, carrier: Carrier) -> &'static str {
        match (self, carrier) {
            (Self::Facelink, _) => "FaceLink",
            (Self::Bare, Carrier::Udp) => "a tokio socket",
            (Self::Bare, Carrier::Websocket) => "tungstenite",
            (Self::Bare, Carrier::Webrtc) => "webrtc",
            (Self::Python, Carrier::Udp) => "asyncio",
            (Self::Python, Carrier::Websocket) => "aiohttp",
            (Self::Python, Carrier::Webrtc) => "aiortc",
        }
    }
}

#[derive(clap::Args)]
pub struct Args {
    /// A Python with aiortc and aiohttp; without one the rows of Python are left out.
    #[arg(long)]
    python: Option<PathBuf>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Carrier::ALL)]
    carriers: Vec<Carrier>,
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Stack::Facelink, Stack::Bare, Stack::Python])]
    stacks: Vec<Stack>,
    /// Senders at a time for the cost of a message; none leaves it out.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 20, 100])]
    senders: Vec<usize>,
    /// Of each measurement.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Most senders that the ladder tries; 0 leaves it out.
    #[arg(long, default_value_t = 8000)]
    max: usize,
    #[command(flatten)]
    setup: Setup,
}

/// How the processes run.
#[derive(clap::Args)]
struct Setup {
    /// Senders take reports, as our own client does.
    #[arg(long)]
    reports: bool,
    /// Leaves the processes where the system puts them.
    #[arg(long)]
    unpinned: bool,
    /// Milliseconds between two frames of the game that reads the faces; 0 wakes it for each face.
    #[arg(long, default_value_t = 16)]
    frame_ms: u64,
}

/// Runs this process on one core alone.
pub fn pin(core: Option<usize>) -> Res<()> {
    if let Some(core) = core {
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
    }
    Ok(())
}

/// As many sockets as the system allows.
pub fn open_many_files() -> Res<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Two cores of those that this process may use: for what receives, and for what sends.
pub fn cores() -> Res<(usize, usize)> {
    let set = sched_getaffinity(None)?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    match (cores.next(), cores.next()) {
        (Some(receiver), Some(sender)) => Ok((receiver, sender)),
        _ => Err("it takes two cores; see `--unpinned`".into()),
    }
}

/// One measurement.
#[derive(Clone, Debug, Default)]
struct Row {
    senders: usize,
    sent: f64,
    received: f64,
    /// Frames that the senders would have sent with time.
    wanted: f64,
    seconds: f64,
    median_ms: Option<f64>,
    p99_ms: Option<f64>,
    cpu_us: f64,
}

impl Row {
    fn lost(&self) -> f64 {
        (1.0 - self.received / self.sent.max(1.0)).max(0.0)
    }

    /// The receiver keeps up.
    fn holds(&self) -> bool {
        self.lost() <= LOSS && self.p99_ms.is_some_and(|p99| p99 <= AGE_LIMIT_MS)
    }

    /// The senders kept up.
    fn was_sent(&self) -> bool {
        self.sent >= self.wanted * 0.98 && self.seconds <= self.wanted / (self.senders as f64 * 60.0) * 1.03 + 0.05
    }

    fn each_us(&self) -> f64 {
        self.cpu_us / self.received.max(1.0)
    }
}

/// A receiver and its senders.
struct Bench {
    /// Dropped first: what sends to a receiver that has gone complains.
    senders: Proc,
    receiver: Proc,
    stack: Stack,
    /// Address of the receiver.
    to: String,
    /// Senders that are open.
    open: usize,
}

impl Bench {
    fn start(args: &Setup, python: Option<(&Path, &Path)>, stack: Stack, carrier: Carrier) -> Res<Self> {
        let (mut receiving, mut sending): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        let cores = if args.unpinned { None } else { Some(cores()?) };
        if let Some((receiver, sender)) = cores {
            receiving.extend(["--core".to_owned(), receiver.to_string()]);
            sending.extend(["--core".to_owned(), sender.to_string()]);
        }
        let name = carrier.argument();
        let receiver = match (stack, python) {
            (Stack::Python, Some((python, script))) => {
                let script = script.to_string_lossy();
                let receiver = Proc::start_program(None, python.to_owned(), &[&*script, "--carrier", name])?;
                if let Some((core, _)) = cores {
                    let mut set = CpuSet::new();
                    set.set(core);
                    sched_setaffinity(rustix::process::Pid::from_raw(receiver.pid() as i32), &set)?;
                }
                receiver
            }
            (Stack::Python, None) => return Err("no Python was given".into()),
            (Stack::Facelink | Stack::Bare, _) => {
                let who = if stack == Stack::Facelink { "facelink" } else { "bare" };
                let frame = args.frame_ms.to_string();
                let mut all = vec!["receiver", "--who", who, "--carrier", name, "--frame-ms", &frame];
                all.extend(receiving.iter().map(String::as_str));
                Proc::start(None, &all)?
            }
        };
        let to = receiver.wait("listening", LIMIT)?.as_str().ok_or("no address")?.to_owned();
        let mut all = vec!["senders", "--carrier", name, "--to", &to];
        if args.reports {
            all.push("--reports");
        }
        all.extend(sending.iter().map(String::as_str));
        let senders = Proc::start(None, &all)?;
        senders.wait("ready", LIMIT)?;
        Ok(Self { senders, receiver, stack, to, open: 0 })
    }

    /// Processor time of what receives. The first thread of ours is the game that looks for faces, or waits.
    fn cpu_us(&self) -> f64 {
        if self.stack == Stack::Python { self.receiver.cpu_us() } else { self.receiver.background_cpu_us() }
    }

    fn run(&mut self, count: usize, seconds: f64) -> Res<Row> {
        self.senders.command(&format!("open {count}"))?;
        self.senders.wait("open", LIMIT)?;
        self.open = count;
        self.senders.command(&format!("run {WARM_UP}"))?;
        self.senders.wait("ran", LIMIT)?;
        thread::sleep(Duration::from_millis(50));
        self.receiver.command("begin")?;
        self.receiver.wait("begun", LIMIT)?;
        let before = self.cpu_us();
        self.senders.command(&format!("run {seconds}"))?;
        let ran = self.senders.wait("ran", LIMIT)?;
        let cpu_us = self.cpu_us() - before;
        thread::sleep(Duration::from_millis(50));
        self.receiver.command("end")?;
        let ages = self.receiver.wait("ages", LIMIT)?;
        let number = |value: &Value| value.as_f64().ok_or("a figure is missing");
        Ok(Row {
            senders: count,
            sent: number(&ran["sent"])?,
            received: number(&ages["count"])?,
            wanted: number(&ran["wanted"])?,
            seconds: number(&ran["seconds"])?,
            median_ms: ages["median_ms"].as_f64(),
            p99_ms: ages["p99_ms"].as_f64(),
            cpu_us,
        })
    }
}

/// What the ladder found.
struct Found {
    /// The most senders that were taken in time.
    best: Option<Row>,
    /// Why there were no more.
    end: &'static str,
}

/// Finds the most senders that are taken in time, beginning at `from`.
fn ladder(start: impl Fn() -> Res<Bench>, args: &Args, mut bench: Bench, from: usize) -> Res<Found> {
    let (mut best, mut broke): (Option<Row>, Option<usize>) = (None, None);
    let (mut count, mut end) = (from.clamp(1, args.max), "the greatest number tried");
    loop {
        if count < bench.open {
            // Those that are open would idle on.
            drop(bench);
            bench = start()?;
        }
        let mut row = bench.run(count, args.seconds)?;
        if !row.holds() {
            // Something else of the machine may have been in between.
            row = bench.run(count, args.seconds)?;
        }
        if row.holds() && row.was_sent() {
            best = Some(row);
        } else {
            end = match () {
                () if !row.was_sent() => "the senders' core",
                () if row.lost() > LOSS => "lost frames",
                () => "age",
            };
            broke = Some(count);
        }
        let held = best.as_ref().map(|row| row.senders);
        count = match (held, broke) {
            (Some(held), None) if held >= args.max => break,
            (Some(held), None) => ((held as f64 * GROWTH).ceil() as usize).min(args.max),
            (None, Some(broke)) if broke > 1 => broke / 2,
            (Some(held), Some(broke)) if broke as f64 > held as f64 * STEP => ((held * broke) as f64).sqrt() as usize,
            _ => break,
        };
        if Some(count) == held || Some(count) == broke {
            break;
        }
    }
    Ok(Found { best, end })
}

pub fn run(args: &Args) -> Res<()> {
    let script = std::env::temp_dir().join(format!("facelink-lab-receiver-{}.py", std::process::id()));
    std::fs::write(&script, PEER)?;
    let measured = measure(args, &script);
    let _ = std::fs::remove_file(&script);
    measured
}

fn measure(args: &Args, script: &Path) -> Res<()> {
    let python = args.python.as_deref().map(|python| (python, script));
    let stacks: Vec<Stack> =
        args.stacks.iter().copied().filter(|stack| *stack != Stack::Python || python.is_some()).collect();
    let place = if args.setup.unpinned { "anywhere" } else { "on one core" };
    println!("Senders at 60 Hz, {} s each, the receiver {place}; {}\n", args.seconds, load());
    let mut costs =
        Table::new(["carrier", "senders", "who", "received / sent", "median ms", "p99 ms", "µs per message", "ratio"]);
    let mut most =
        Table::new(["carrier", "who", "senders", "median ms", "p99 ms", "µs per message", "core %", "ended by"]);
    for carrier in args.carriers.iter().copied() {
        let mut ours = Vec::new();
        for stack in stacks.iter().copied() {
            let start = || Bench::start(&args.setup, python, stack, carrier);
            let mut bench = start()?;
            let mut last = None;
            for count in args.senders.iter().copied() {
                let row = bench.run(count, args.seconds)?;
                if stack == Stack::Facelink {
                    ours.push(row.each_us());
                }
                let own = args.senders.iter().position(|other| *other == count).and_then(|place| ours.get(place));
                let ratio = own.filter(|_| stack != Stack::Facelink).map(|own| own / row.each_us());
                costs.row([
                    carrier.title().to_owned(),
                    count.to_string(),
                    stack.title(carrier).to_owned(),
                    format!("{} / {}", row.received, row.sent),
                    figure(row.median_ms, 2),
                    figure(row.p99_ms, 2),
                    figure(Some(row.each_us()), 1),
                    ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2} x")),
                ]);
                last = Some(row);
            }
            if args.max == 0 {
                continue;
            }
            // Half of what the cost allows holds, as far as anything does.
            let from = last.filter(Row::holds).map_or(8, |row| {
                let most = 1e6 / (row.each_us() * 60.0);
                row.senders.max((most * 0.5) as usize)
            });
            let Found { best, end } = ladder(start, args, bench, from)?;
            let of = |value: fn(&Row) -> Option<f64>, digits| figure(best.as_ref().and_then(value), digits);
            most.row([
                carrier.title().to_owned(),
                stack.title(carrier).to_owned(),
                best.as_ref().map_or(0, |best| best.senders).to_string(),
                of(|best| best.median_ms, 2),
                of(|best| best.p99_ms, 2),
                of(|best| Some(best.each_us()), 1),
                of(|best| Some(best.cpu_us / best.seconds / 1e4), 0),
                end.to_owned(),
            ]);
        }
    }
    if !args.senders.is_empty() {
        println!("Processor time of the receiver for a message; `ratio`: FaceLink's to it.\n");
        costs.print();
    }
    if args.max > 0 {
        println!("\nMost senders until the 99th percentile of the age leaves {AGE_LIMIT_MS} ms or frames are lost.\n");
        most.print();
    }
    println!("\nAfter it: {}", load());
    Ok(())
}
