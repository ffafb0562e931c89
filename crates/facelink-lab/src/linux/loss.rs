//! How fresh a face is over a network that loses, delays and throttles.

use std::{collections::BTreeSet, thread, time::Duration};

use super::{
    age::{Ages, Arrival},
    browser,
    common::{Res, load},
    path::{Bottleneck, Shape},
    sender::{Frame, Pair, Role, Stats},
    table::{Table, figure, quantile},
};

const MS: Duration = Duration::from_millis(1);
/// From the move to the transport until it is measured.
const SETTLE: Duration = Duration::from_secs(3);
/// The end of each row, at which a sender has found its rate.
const LAST: Duration = Duration::from_secs(5);
/// Nothing counts as lost before it had this time to come.
const TRAIL: Duration = Duration::from_secs(2);
const STALE_MS: f64 = 100.0;

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each row.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only rows whose network or sender contains this.
    #[arg(long)]
    only: Vec<String>,
    /// What the network lost too.
    #[arg(long)]
    verbose: bool,
}

const SENDERS: [(&str, Role, &[&str], &str); 3] = [
    ("facelink.js in Chromium, WebRTC", Role::Chromium, &[], "webrtc"),
    ("Rust client, WebRTC", Role::Rust, &[], "webrtc"),
    ("Rust client, WebSocket", Role::Rust, &["--websocket"], "websocket"),
];

/// Name, uplink, downlink. 40 ms round trip, but for the last.
fn networks() -> [(&'static str, Shape, Shape); 7] {
    let clean = Shape { delay: 20 * MS, jitter: 2 * MS, ..Shape::default() };
    let lossy = |loss, burst| Shape { loss, burst, ..clean };
    let slow = Shape { bottleneck: Some(Bottleneck::new(64_000.0, 200 * MS)), ..clean };
    let far = Shape { delay: 100 * MS, ..Shape::default() };
    [
        ("no loss", clean, clean),
        ("1 % lost", lossy(0.01, 1), lossy(0.01, 1)),
        ("5 % lost", lossy(0.05, 1), lossy(0.05, 1)),
        ("10 % lost", lossy(0.1, 1), lossy(0.1, 1)),
        ("5 % lost in bursts of 3", lossy(0.05, 3), lossy(0.05, 3)),
        ("64 kbit/s up, queue of 200 ms", slow, clean),
        ("100 ms each way, no jitter", far, far),
    ]
}

pub fn run(args: &Args) -> Res<()> {
    println!("A face at 60 Hz over a bad network, {} s each; {}", args.seconds, load());
    println!("20 ms in each direction and up to some 5 ms more by chance (half of a normal distribution of 2 ms).");
    println!("Age: of the newest frame that could be shown, at every millisecond.\n");
    let chromium = browser::exists();
    if !chromium {
        println!("Skipped: chromium and chromedriver are not both here\n");
    }
    let mut table = Table::new([
        "network",
        "sender",
        "sent / arrived",
        "one-way ms p50 / p99",
        "age ms p50 / p90 / p99",
        "longest freeze ms",
        "time older than 100 ms",
        "last 5 s: frames a second sent, age ms p99",
        "packets with repeats",
        "frames by WebRTC",
    ]);
    for (network, up, down) in networks() {
        for (name, role, arguments, transport) in SENDERS {
            let wanted = |only: &String| network.contains(only.as_str()) || name.contains(only.as_str());
            if !(args.only.is_empty() || args.only.iter().any(wanted)) || (role == Role::Chromium && !chromium) {
                continue;
            }
            let cells = match measure(args, role, arguments, transport, (up, down)) {
                Ok(seen) => seen.cells(),
                // The other rows are worth no less.
                Err(error) => [format!("failed: {error}")].into_iter().chain((0..7).map(|_| "-".to_owned())).collect(),
            };
            table.push([network, name].map(str::to_owned).into_iter().chain(cells).collect());
        }
    }
    table.print();
    println!("\nAfter it: {}", load());
    Ok(())
}

/// A measurement.
#[derive(Debug, PartialEq)]
struct Seen {
    sent: u64,
    arrived: usize,
    one_way_ms: Vec<f64>,
    ages: Ages,
    last_fps: f64,
    last_p99_ms: Option<f64>,
    repeats: Option<u64>,
    webrtc: usize,
}

impl Seen {
    /// From three looks at the sender and everything that arrived.
    fn of(looks: [Stats; 3], frames: &[Frame]) -> Self {
        let [from, last, to] = looks;
        let arrivals: Vec<Arrival> = frames.iter().map(|frame| frame.arrival).collect();
        let span = from.t..to.t;
        let ours: Vec<&Frame> = frames.iter().filter(|frame| span.contains(&frame.arrival.captured)).collect();
        let seconds = (to.t - last.t) as f64 / 1e6;
        Self {
            sent: to.sent - from.sent,
            arrived: ours.iter().map(|frame| frame.arrival.captured).collect::<BTreeSet<_>>().len(),
            one_way_ms: ours.iter().map(|frame| (frame.arrival.at - frame.arrival.captured) as f64 / 1e3).collect(),
            ages: Ages::of(&arrivals, from.t, to.t),
            last_fps: (to.sent - last.sent) as f64 / seconds,
            last_p99_ms: Ages::of(&arrivals, last.t, to.t).quantile(0.99),
            repeats: to.repeats.zip(from.repeats).map(|(to, from)| to - from),
            webrtc: ours.iter().filter(|frame| frame.webrtc).count(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let delays = [0.5, 0.99].map(|share| figure(quantile(&self.one_way_ms, share), 1));
        let ages = [0.5, 0.9, 0.99].map(|share| figure(self.ages.quantile(share), 1));
        let by_webrtc = 100.0 * self.webrtc as f64 / (self.one_way_ms.len() as f64).max(1.0);
        vec![
            format!("{} / {}", self.sent, self.arrived),
            delays.join(" / "),
            ages.join(" / "),
            figure(Some(self.ages.freeze_ms), 0),
            format!("{:.1} %", 100.0 * self.ages.above(STALE_MS)),
            format!("{:.1}, {}", self.last_fps, figure(self.last_p99_ms, 1)),
            self.repeats.map_or_else(|| "-".to_owned(), |repeats| repeats.to_string()),
            format!("{by_webrtc:.0} %"),
        ]
    }
}

fn measure(args: &Args, role: Role, arguments: &[&str], transport: &str, network: (Shape, Shape)) -> Res<Seen> {
    let mut pair = Pair::start(role, arguments, transport, network.0, network.1)?;
    thread::sleep(SETTLE);
    let from = pair.stats()?;
    let before = (pair.net.up.counts(), pair.net.down.counts());
    thread::sleep(Duration::from_secs(args.seconds).saturating_sub(LAST));
    let last = pair.stats()?;
    thread::sleep(LAST.min(Duration::from_secs(args.seconds)));
    let to = pair.stats()?;
    if args.verbose {
        println!("up: {:?}; down: {:?}", pair.net.up.counts() - before.0, pair.net.down.counts() - before.1);
    }
    thread::sleep(TRAIL);
    Ok(Seen::of([from, last, to], &pair.frames()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_counts_what_was_captured_in_it() {
        let look = |t, sent| Stats { t, sent, repeats: Some(sent / 10) };
        // Every tenth is lost, every twentieth comes twice.
        let frames: Vec<Frame> = (0..300)
            .filter(|number| number % 10 != 9)
            .flat_map(|number| vec![number; if number % 20 == 0 { 2 } else { 1 }])
            .map(|number| {
                let captured = number * 10_000;
                Frame { arrival: Arrival { at: captured + 20_000, captured }, webrtc: number >= 200 }
            })
            .collect();
        let seen = Seen::of([look(1_000_000, 100), look(2_500_000, 250), look(3_000_000, 300)], &frames);
        assert_eq!((seen.sent, seen.arrived, seen.repeats), (200, 180, Some(20)));
        assert_eq!((seen.one_way_ms.len(), seen.webrtc), (190, 95));
        assert_eq!((seen.last_fps, seen.ages.freeze_ms), (100.0, 20.0));
        assert_eq!(seen.last_p99_ms, Some(38.0));
    }
}
