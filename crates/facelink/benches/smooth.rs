//! What is seen of a face over bad networks, in virtual time: ours beside holding the last frame, and beside that with the
//! migration guide's law.
//!
//! `cargo bench -p facelink --bench smooth`; `FACELINK_CAPTURES` names the folder of the recordings.

mod trial;

use facelink::timing::{PlayoutMode, PlayoutSettings};
use trial::{Clocks, Method, Signal};

fn main() {
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
