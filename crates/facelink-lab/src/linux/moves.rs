//! Moves between the transports under a 60 Hz stream.

use std::{sync::atomic::Ordering, time::Duration};

use super::{
    common::{Res, load, now_us},
    log::{Log, Rig, Seen},
    net::{Net, SERVER},
    proc::Proc,
    raw::Proxy,
    table::{Table, figure, quantile},
};

/// Far more than anything takes.
const LIMIT: Duration = Duration::from_secs(60);
const LEAD_US: i64 = 100_000;
const TAIL_US: i64 = 1_000_000;
/// Nothing counts as lost before it had this time to come.
const TRAIL: Duration = Duration::from_millis(1500);
/// A connection that stood for this long starts the delays afresh.
const STABLE: Duration = Duration::from_millis(5500);

#[derive(clap::Args)]
pub struct Args {
    /// Moves of each kind.
    #[arg(long, default_value_t = 20)]
    tries: usize,
    /// Only `close` (the far side closes the channel) or `silence` (UDP is dropped).
    #[arg(long)]
    only: Option<String>,
    /// One line for every move.
    #[arg(long)]
    verbose: bool,
}

pub fn run(args: &Args) -> Res<()> {
    println!("Moves under a 60 Hz stream, {} of each; {}\n", args.tries, load());
    let mut table = Table::new([
        "move",
        "moves",
        "sent",
        "lost (all / worst)",
        "doubles, steps back",
        "age ms median / p90 / worst",
        "worst sender gap ms",
    ]);
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| only == name);
    if wanted("close") {
        closed(args, &mut table)?;
    }
    if wanted("silence") {
        silent(args, &mut table)?;
    }
    table.print();
    Ok(())
}

fn report(args: &Args, table: &mut Table, name: &str, moves: &[Seen]) {
    let ages: Vec<f64> = moves.iter().map(|seen| seen.worst_age_ms).collect();
    let gap = moves.iter().map(|seen| seen.sender_gap_ms).fold(0.0, f64::max);
    if args.verbose {
        for seen in moves {
            println!("{name}: {seen:?}");
        }
    }
    let spread = [0.5, 0.9, 1.0].map(|share| figure(quantile(&ages, share), 1)).join(" / ");
    table.row([
        name.to_owned(),
        moves.len().to_string(),
        moves.iter().map(|seen| seen.sent).sum::<usize>().to_string(),
        format!(
            "{} / {}",
            moves.iter().map(|seen| seen.lost).sum::<usize>(),
            moves.iter().map(|seen| seen.lost).max().unwrap_or(0)
        ),
        moves.iter().map(|seen| seen.backwards).sum::<usize>().to_string(),
        spread,
        figure(Some(gap), 1),
    ]);
}

/// When the client last came to `state` at or after `since`.
fn came_to(log: &Log, state: &str, since: i64) -> Option<i64> {
    log.states.iter().find(|(at, now)| *at >= since && now == state).map(|(at, _)| *at)
}

fn closed(args: &Args, table: &mut Table) -> Res<()> {
    let server = Proc::start(None, &["endpoint"])?;
    let address = server.wait("listening", LIMIT)?;
    let proxy = Proxy::start(address.as_str().ok_or("no address")?)?;
    let url = format!("ws://{}", proxy.address());
    let client = Proc::start(None, &["client", "--url", &url])?;
    let mut rig = Rig { server, client, log: Log::default() };
    rig.settle("webrtc", STABLE, LIMIT)?;
    let (mut down, mut up, mut still) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.tries {
        let quiet = now_us() - TAIL_US - 1_500_000;
        still.push(rig.log.seen(quiet, quiet + TAIL_US));
        let closed = now_us();
        proxy.close_channel()?;
        rig.wait("the WebSocket after the channel was closed", LIMIT, |log| {
            came_to(log, "websocket", closed).is_some()
        })?;
        rig.wait("WebRTC again", LIMIT, |log| came_to(log, "webrtc", closed).is_some())?;
        let back = came_to(&rig.log, "webrtc", closed).ok_or("no time")?;
        rig.settle("webrtc", STABLE, LIMIT)?;
        down.push(rig.log.seen(closed - LEAD_US, back - LEAD_US));
        up.push(rig.log.seen(back - LEAD_US, back + TAIL_US));
    }
    report(args, table, "none: 1 s of WebRTC", &still);
    report(args, table, "WebRTC to WebSocket, channel closed by the far side", &down);
    report(args, table, "WebSocket to WebRTC", &up);
    Ok(())
}

fn silent(args: &Args, table: &mut Table) -> Res<()> {
    let net = Net::new()?;
    let server =
        Proc::start(Some(&net.server), &["endpoint", "--bind", "0.0.0.0", "--port", "8765", "--token", "lab"])?;
    server.wait("listening", LIMIT)?;
    let url = format!("ws://{SERVER}:8765");
    let client = Proc::start(Some(&net.client), &["client", "--url", &url, "--token", "lab"])?;
    let mut rig = Rig { server, client, log: Log::default() };
    rig.settle("webrtc", STABLE, LIMIT)?;
    let (mut down, mut up) = (Vec::new(), Vec::new());
    for _ in 0..args.tries {
        let broken = now_us();
        net.gates.udp.store(true, Ordering::Relaxed);
        rig.wait("the WebSocket while UDP is dropped", LIMIT, |log| came_to(log, "websocket", broken).is_some())?;
        rig.run_for(Duration::from_secs(4));
        let mended = now_us();
        net.gates.udp.store(false, Ordering::Relaxed);
        rig.wait("WebRTC again", LIMIT * 2, |log| came_to(log, "webrtc", mended).is_some())?;
        let back = came_to(&rig.log, "webrtc", mended).ok_or("no time")?;
        rig.settle("webrtc", STABLE, LIMIT * 2)?;
        rig.run_for(TRAIL);
        down.push(rig.log.seen(broken - LEAD_US, broken + 4_000_000));
        up.push(rig.log.seen(back - LEAD_US, back + TAIL_US));
    }
    report(args, table, "WebRTC to WebSocket, UDP silently dropped", &down);
    report(args, table, "WebSocket to WebRTC, UDP back", &up);
    Ok(())
}
