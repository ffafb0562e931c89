//! The endpoint for hours, with its senders at work and viewers that come and go.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelink_net::{Client, ClientConfig, Endpoint, EndpointConfig};

use super::{Bench, Carrier, LIMIT, Res, Setup, Stack, Table, figure, load};
use crate::linux::usage::Usage;

/// Beyond every time-out of the endpoint, for what is gone.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks whether it is over.
const LOOK: Duration = Duration::from_millis(100);
/// Longest stay of a viewer.
const STAY: Duration = Duration::from_secs(8);

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    #[arg(long, value_enum, default_value_t = Carrier::Webrtc)]
    carrier: Carrier,
    #[arg(long, default_value_t = 30)]
    senders: usize,
    /// Viewers of every face at a time, over WebRTC and WebSocket in turns; each stays up to 8 s, and another comes.
    #[arg(long, default_value_t = 1)]
    viewers: usize,
    /// Minutes between two lines.
    #[arg(long, default_value_t = 5)]
    every: u64,
    #[command(flatten)]
    setup: Setup,
}

/// What the viewers of all turns had.
#[derive(Default)]
struct Viewers {
    over: AtomicBool,
    joined: AtomicU64,
    failed: AtomicU64,
    frames: AtomicU64,
}

impl Viewers {
    /// One after another, until it is over.
    fn run(&self, url: &str) {
        let mut turn = 0_u64;
        while !self.over.load(Ordering::Relaxed) {
            turn += 1;
            match self.visit(url, turn) {
                Ok(()) => self.joined.fetch_add(1, Ordering::Relaxed),
                Err(error) => {
                    eprintln!("viewer: {error}");
                    self.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        }
    }

    fn visit(&self, url: &str, turn: u64) -> Res<()> {
        let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() })?;
        let config = ClientConfig { receive: true, webrtc: turn.is_multiple_of(2), ..ClientConfig::new(url) };
        let client: Client = endpoint.connect(config).ok_or("no runtime")?;
        let end = Instant::now() + STAY.mul_f64(fastrand::f64());
        let mut frames = 0;
        while !(self.over.load(Ordering::Relaxed) || Instant::now() >= end && frames > 0) {
            if Instant::now() >= end + LIMIT {
                return Err(format!("no face, {:?}", client.state()).into());
            }
            thread::sleep(LOOK);
            frames += endpoint.frames().try_iter().count();
            endpoint.events().try_iter().for_each(drop);
        }
        self.frames.fetch_add(frames as u64, Ordering::Relaxed);
        Ok(())
    }
}

pub fn run(args: &Args) -> Res<()> {
    println!(
        "{} minutes of {} senders at 60 Hz over {}, {} viewers at a time; {}\n",
        args.minutes,
        args.senders,
        args.carrier.title(),
        args.viewers,
        load()
    );
    let mut bench = Bench::start(&args.setup, None, Stack::Facelink, args.carrier)?;
    let started = bench.usage()?;
    let viewers = Arc::new(Viewers::default());
    let ways: Vec<_> = (0..args.viewers)
        .map(|_| {
            let (viewers, url) = (viewers.clone(), format!("ws://{}", bench.to));
            thread::spawn(move || viewers.run(&url))
        })
        .collect();

    let head = ["minute", "received / sent", "median ms", "p99 ms", "µs per message", "visits"];
    let mut table = Table::headed(head.into_iter().chain(Usage::COLUMNS));
    for minute in 0..=args.minutes {
        let row = bench.run(args.senders, if minute == 0 { 1.0 } else { 60.0 })?;
        if minute % args.every.max(1) == 0 || minute == 1 || minute == args.minutes {
            let usage = bench.usage()?;
            let line = [
                format!("{} / {}", row.received, row.sent),
                figure(row.median_ms, 2),
                figure(row.p99_ms, 2),
                figure(Some(row.each_us()), 1),
                viewers.joined.load(Ordering::Relaxed).to_string(),
            ];
            let line: Vec<_> = [minute.to_string()].into_iter().chain(line).collect();
            let line: Vec<_> = line.into_iter().chain(usage.row(String::new()).into_iter().skip(1)).collect();
            eprintln!("{}", line.join("  "));
            table.push(line);
        }
    }
    viewers.over.store(true, Ordering::Relaxed);
    for way in ways {
        way.join().map_err(|_| "a viewer has ended by a panic")?;
    }
    let after = bench.quiet(started)?;
    let mut line = vec![String::new(); head.len()];
    line[0] = "without senders".to_owned();
    line.extend(after.row(String::new()).into_iter().skip(1));
    table.push(line);
    table.print();
    let [joined, failed, frames] =
        [&viewers.joined, &viewers.failed, &viewers.frames].map(|count| count.load(Ordering::Relaxed));
    println!("\nVisits: {joined}, in vain: {failed}, faces that viewers had: {frames}. After it: {}", load());
    if failed > 0 {
        return Err("viewers came in vain".into());
    }
    if after.held() == started.held() { Ok(()) } else { Err("something stays behind".into()) }
}

impl Bench {
    fn usage(&mut self) -> Res<Usage> {
        self.receiver.command("usage")?;
        Usage::from_json(&self.receiver.wait("usage", LIMIT)?).ok_or_else(|| "a figure is missing".into())
    }

    /// Ends the senders and waits for the receiver's counts to return, for as long as anything may take.
    fn quiet(&mut self, wanted: Usage) -> Res<Usage> {
        self.senders.kill();
        let end = Instant::now() + QUIET_LIMIT;
        loop {
            let now = self.usage()?;
            if now.held() == wanted.held() || Instant::now() > end {
                return Ok(now);
            }
            thread::sleep(LOOK);
        }
    }
}
