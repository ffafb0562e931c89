//! The error of a shown face over bad networks, in virtual time: ours compared with holding the last frame, and with
//! that with the migration guide's law.
//!
//! `cargo bench -p facelink --bench smooth`; `FACELINK_CAPTURES` names the folder of the recordings.

mod trial;

use std::time::{Duration, Instant};

use facelink::{
    performer::Performance,
    timing::{Playout, PlayoutMode, PlayoutSettings, SourceClock},
};
use trial::{Clocks, Method, Signal};

/// Cost of taking a frame and of evaluating a pose, nanoseconds: medians.
fn cost() {
    let performance = Performance::new(3);
    let frames: Vec<_> = (0..600).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect();
    let start = Instant::now();
    let (mut clock, mut playout) = (SourceClock::new(start), Playout::default());
    let (mut push, mut advance) = (Vec::new(), Vec::new());
    for (i, frame) in (0_u64..).zip(frames.iter().cycle().take(20_000)) {
        let now = start + Duration::from_micros(16_667 * i + (i * 7919) % 8000);
        let frame = frame.clone();
        let begun = Instant::now();
        let stamp = clock.record(Some(Duration::from_micros(16_667 * i)), now);
        if i % 20 != 7 {
            playout.push(frame, None, &stamp, now, false);
        }
        push.push(begun.elapsed().as_nanos() as u32);
        let begun = Instant::now();
        std::hint::black_box(playout.advance(now + Duration::from_micros(4000)));
        advance.push(begun.elapsed().as_nanos() as u32);
    }
    push.sort_unstable();
    advance.sort_unstable();
    println!(
        "\nA frame taken (clock and buffer): {} ns; a pose evaluated: {} ns (medians of {}).",
        push[push.len() / 2],
        advance[advance.len() / 2],
        push.len()
    );
}

fn main() {
    cost();
    let margin = std::env::var("MARGIN").ok().and_then(|margin| margin.parse().ok());
    let seconds = 60;
    for signal in Signal::all() {
        println!("\n### {}\n", signal.name);
        println!(
            "| network | shown by | age ms, median / p99 | error, RMS / p99 of the worst channel | blinks | pops a minute | longest freeze ms | rate at the end (changes a minute) | queue ms, median / worst |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for (name, network) in trial::networks() {
            let mut ours = PlayoutSettings::default();
            if let Some(margin) = margin {
                ours.margin = margin;
            }
            let latest = PlayoutSettings { mode: PlayoutMode::Latest, ..ours };
            let methods = [
                ("hold", Method::Hold),
                ("hold, guide's law", Method::Guide),
                ("Latest", Method::Ours(latest)),
                ("Smooth", Method::Ours(ours)),
            ];
            for (by, method) in methods {
                let o = trial::run(&signal, network, Clocks::default(), method, seconds, 42);
                if std::env::var_os("RATES").is_some() && name.contains("64") {
                    println!("{by} {:?} settled {}", o.rates, o.settled_s);
                }
                println!(
                    "| {name} | {by} | {:.0} / {:.0} | {:.4} / {:.3} | {}/{} | {:.0} | {:.0} | {:.0} ({:.0}){} | {:.0} / {:.0} |",
                    o.age_ms.0,
                    o.age_ms.1,
                    o.rms,
                    o.worst,
                    o.blinks.0,
                    o.blinks.1,
                    o.pops,
                    o.freeze_ms,
                    o.fps,
                    o.changes,
                    if o.redundancy > 0 { format!(", repeats {}", o.redundancy) } else { String::new() },
                    o.queue_ms.1,
                    o.queue_ms.0,
                );
            }
        }
    }
}
