//! Networks that break and come back.

use std::{sync::atomic::Ordering, time::Duration};

use clap::ValueEnum;
use rustix::process::Signal;

use super::{
    common::{Res, load, now_us},
    log::{Log, Rig},
    net::{Net, SERVER},
    proc::Proc,
    table::{Table, spread},
};

const LIMIT: Duration = Duration::from_secs(60);
const STABLE: Duration = Duration::from_millis(5500);
/// A phone between two networks.
const BETWEEN: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// The client's address changes
    Network,
    /// The endpoint is killed and started again
    Restart,
    /// The client's process stands still
    Sleep,
    /// Nothing passes, and neither end is notified
    HalfDead,
    /// Only UDP does not pass
    Udp,
    /// Only TCP does not pass
    Tcp,
    /// The WebSocket is reset, the channel lives
    Reset,
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::Network => "Wi-Fi to cellular (another address, 0.5 s between)",
            Self::Restart => "endpoint killed and started again",
            Self::Sleep => "phone asleep (SIGSTOP)",
            Self::HalfDead => "half-dead: all packets dropped",
            Self::Udp => "UDP dropped",
            Self::Tcp => "TCP dropped",
            Self::Reset => "WebSocket reset, channel lives",
        }
    }
}

impl Kind {
    /// Whether it lasts longer than a silent WebSocket is borne with.
    fn loses_websocket(self) -> bool {
        matches!(self, Self::Network | Self::Restart | Self::HalfDead | Self::Tcp | Self::Reset)
    }
}

#[derive(clap::Args)]
pub struct Args {
    /// Tries of each kind.
    #[arg(long, default_value_t = 20)]
    tries: usize,
    /// Kinds of break; all by default.
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    /// One line for every try.
    #[arg(long)]
    verbose: bool,
    /// Without WebRTC.
    #[arg(long)]
    websocket: bool,
    /// How long packets are dropped, or the phone sleeps.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How long the endpoint is away.
    #[arg(long, default_value_t = 3)]
    away: u64,
}

#[derive(Debug, Default)]
struct Times {
    fresh: Vec<f64>,
    noticed: Vec<f64>,
    webrtc: Vec<f64>,
    websocket: Vec<f64>,
    stale: Vec<f64>,
}

pub fn run(args: &Args) -> Res<()> {
    let (tries, seconds, away) = (args.tries, args.seconds, args.away);
    println!("Breaks of the network of {seconds} s (endpoint away for {away} s), {tries} tries of each; {}", load());
    println!("Times in ms, median / p90 / worst. Fresh: from the return of the network to a frame sent after it.\n");
    let kinds = if args.only.is_empty() { Kind::value_variants() } else { &args.only };
    let mut table = Table::new([
        "break",
        "tries",
        "fresh frame after the return",
        "noticed after the break",
        "WebRTC carries again after the return",
        "WebSocket back after the return",
        "oldest face on the screen",
    ]);
    let mut bad = None;
    for kind in kinds {
        let mut times = Times::default();
        let done = measure(args, *kind, &mut times);
        if let Err(error) = done {
            println!("{kind:?}: ended early: {error}");
            bad = Some(error);
        }
        table.row([
            kind.title().to_owned(),
            times.fresh.len().to_string(),
            spread(&times.fresh, 0),
            spread(&times.noticed, 0),
            spread(&times.webrtc, 0),
            spread(&times.websocket, 0),
            spread(&times.stale, 0),
        ]);
    }
    table.print();
    bad.map_or(Ok(()), Err)
}

fn start_server(net: &Net) -> Res<Proc> {
    Proc::start(Some(&net.server), &["endpoint", "--bind", "0.0.0.0", "--port", "8765", "--token", "lab"])
}

fn measure(args: &Args, kind: Kind, times: &mut Times) -> Res<()> {
    let mut net = Net::new()?;
    let server = start_server(&net)?;
    server.wait("listening", LIMIT)?;
    let url = format!("ws://{SERVER}:8765");
    let mut arguments = vec!["client", "--url", &url, "--token", "lab"];
    if args.websocket {
        arguments.push("--websocket");
    }
    let client = Proc::start(Some(&net.client), &arguments)?;
    let mut rig = Rig { server, client, log: Log::default() };
    let best = if args.websocket { "websocket" } else { "webrtc" };
    for _ in 0..args.tries {
        // A state that comes and goes between two looks is not seen, so time passes in any case.
        rig.run_for(STABLE);
        rig.settle(best, STABLE, LIMIT * 3)?;
        let steady = |log: &Log| log.reconnects.last().is_none_or(|at| now_us() - at > STABLE.as_micros() as i64);
        rig.wait("a steady WebSocket", LIMIT, steady)?;
        let known = rig.log.reconnects.len();
        let broken = now_us();
        let mended = break_and_mend(args, kind, &mut net, &mut rig)?;
        rig.wait("a fresh frame", LIMIT, |log| log.first(mended, |_| true).is_some())?;
        rig.wait("WebRTC again", LIMIT * 2, |log| args.websocket || log.first(mended, |a| a.webrtc).is_some())?;
        if kind.loses_websocket() {
            rig.wait("the WebSocket again", LIMIT, |log| log.reconnects.len() > known)?;
        }
        rig.settle(best, Duration::from_millis(1500), LIMIT)?;
        let log = &rig.log;
        let after = |at: i64, since: i64| (at - since) as f64 / 1000.0;
        let fresh = log.first(mended, |_| true).ok_or("no frame")?.at;
        times.fresh.push(after(fresh, mended));
        times.stale.push(log.seen(broken - 100_000, fresh + 500_000).worst_age_ms);
        let noticed = log.states.iter().find(|(at, state)| *at > broken && state != best).map(|(at, _)| *at);
        times.noticed.extend(noticed.map(|at| after(at, broken)));
        // Where it never left WebRTC, there is nothing to come back.
        let left = noticed.is_some() && !args.websocket;
        let webrtc = log.first(mended, |arrival| arrival.webrtc).map(|arrival| arrival.at);
        times.webrtc.extend(webrtc.filter(|_| left).map(|at| after(at, mended)));
        let websocket = log.reconnects.get(known).copied();
        times.websocket.extend(websocket.map(|at| after(at, mended)));
        if args.verbose {
            let states: Vec<String> = log
                .states
                .iter()
                .filter(|(at, _)| *at > broken)
                .map(|(at, state)| format!("{:.0} {state}", after(*at, broken)))
                .collect();
            println!(
                "{kind:?}: fresh {:.0}, WebRTC {:?}, WebSocket {:?}, states since the break [{}]",
                after(fresh, mended),
                webrtc.map(|at| after(at, mended)),
                websocket.map(|at| after(at, mended)),
                states.join(", ")
            );
        }
    }
    Ok(())
}

/// Breaks it, mends it, and says when it was whole again.
fn break_and_mend(args: &Args, kind: Kind, net: &mut Net, rig: &mut Rig) -> Res<i64> {
    let gates = net.gates.clone();
    match kind {
        Kind::Network => {
            net.lose()?;
            rig.run_for(BETWEEN);
            return net.join_other();
        }
        Kind::Restart => {
            rig.server.kill();
            rig.run_for(Duration::from_secs(args.away));
            let known = rig.log.listening.len();
            rig.server = start_server(net)?;
            rig.wait("the endpoint", LIMIT, |log| log.listening.len() > known)?;
            return rig.log.listening.last().copied().ok_or_else(|| "no time".into());
        }
        Kind::Sleep => {
            rig.client.signal(Signal::STOP)?;
            rig.run_for(Duration::from_secs(args.seconds));
            let mended = now_us();
            rig.client.signal(Signal::CONT)?;
            return Ok(mended);
        }
        Kind::HalfDead | Kind::Udp | Kind::Tcp => {
            let gate = match kind {
                Kind::HalfDead => &gates.all,
                Kind::Udp => &gates.udp,
                _ => &gates.tcp,
            };
            gate.store(true, Ordering::Relaxed);
            rig.run_for(Duration::from_secs(args.seconds));
            gate.store(false, Ordering::Relaxed);
        }
        Kind::Reset => {
            gates.reset.store(true, Ordering::Relaxed);
            let known = rig.log.reconnects.len();
            let done = now_us();
            rig.wait("the WebSocket after its reset", LIMIT, |log| log.reconnects.len() > known)?;
            return Ok(done);
        }
    }
    Ok(now_us())
}
