//! The error of a shown face over bad networks, in virtual time: the limits that the README states.

#![expect(clippy::expect_used, reason = "helpers of tests")]

#[path = "../benches/trial/mod.rs"]
mod trial;

use std::time::Duration;

use facelink::{
    simulate::network::NetworkSettings,
    timing::{PlayoutMode, PlayoutSettings},
};
use trial::{Clocks, Method, Outcome, Signal, networks, run};

const FRAME_MS: f32 = 1000.0 / 60.0;

fn network(name: &str) -> NetworkSettings {
    networks().into_iter().find(|(known, _)| *known == name).expect("is in the table").1
}

fn outcome(signal: &Signal, name: &str, method: Method) -> Outcome {
    run(signal, network(name), Clocks::default(), method, 60, 42)
}

fn ours() -> Method {
    Method::Ours(PlayoutSettings::default())
}

#[test]
fn playout_five_percent_loss_has_a_third_of_the_error_of_holding() {
    for signal in Signal::all() {
        let (hold, smooth) = (outcome(&signal, "5 % loss", Method::Hold), outcome(&signal, "5 % loss", ours()));
        let name = &signal.name;
        assert!(smooth.worst <= hold.worst / 3.0, "{name}: {} of {}", smooth.worst, hold.worst);
        assert!(smooth.age_ms.0 <= hold.age_ms.0 + FRAME_MS, "{name}: {:?} {:?}", smooth.age_ms, hold.age_ms);
        assert!(smooth.pops < hold.pops / 3.0, "{name}: {} {}", smooth.pops, hold.pops);
        assert_eq!(smooth.blinks.0, smooth.blinks.1, "{name}");
        assert!(smooth.blinks.1 > 3, "{name}: the test has blinks to keep");
        assert_eq!((smooth.fps, smooth.redundancy), (60.0, 1), "{name}");
    }
}

#[test]
fn rate_is_kept_under_loss_alone() {
    let signal = Signal::performer();
    for name in ["1 % loss", "10 % loss", "5 % in bursts of 3", "5 % overtaken", "Wi-Fi"] {
        let smooth = outcome(&signal, name, ours());
        assert_eq!((smooth.fps, smooth.changes), (60.0, 0.0), "{name}");
        assert_eq!(smooth.blinks.0, smooth.blinks.1, "{name}");
        assert!(smooth.freeze_ms < 100.0, "{name}: {}", smooth.freeze_ms);
    }
}

#[test]
fn rate_is_kept_on_high_latency_path() {
    let signal = Signal::performer();
    let (guide, smooth) =
        (outcome(&signal, "constant 200 ms", Method::Guide), outcome(&signal, "constant 200 ms", ours()));
    assert_eq!((guide.fps, smooth.fps, smooth.changes), (15.0, 60.0, 0.0));
    assert!(smooth.age_ms.1 < 218.0, "{:?}", smooth.age_ms);
}

#[test]
fn rate_fills_bottleneck_without_standing_queue() {
    let signal = Signal::performer();
    for seed in [42, 7, 1001] {
        let narrow = run(&signal, network("64 kbit/s"), Clocks::default(), ours(), 120, seed);
        assert_eq!(narrow.fps, 30.0, "{:?}", narrow.rates);
        assert!(narrow.settled_s < 3.0, "{}", narrow.settled_s);
        assert!(narrow.queue_ms.1 < 50.0, "{:?}", narrow.queue_ms);
        assert!(narrow.changes <= 4.0, "{:?}", narrow.rates);
        assert_eq!(narrow.blinks.0, narrow.blinks.1);
    }
}

#[test]
fn playout_modes_keep_blinks_and_fixed_delay_is_fixed() {
    let signal = Signal::performer();
    let modes = [
        PlayoutMode::Latest,
        PlayoutMode::Smooth,
        PlayoutMode::Fixed(Duration::from_millis(100)),
        // Without a reference it follows the network like `Smooth`.
        PlayoutMode::Timecode,
    ];
    for mode in modes {
        let method = Method::Ours(PlayoutSettings { mode, ..PlayoutSettings::default() });
        for name in ["5 % in bursts of 3", "64 kbit/s", "Wi-Fi"] {
            let shown = outcome(&signal, name, method);
            assert_eq!(shown.blinks.0, shown.blinks.1, "{mode:?}, {name}");
        }
    }
    let fixed = Method::Ours(PlayoutSettings {
        mode: PlayoutMode::Fixed(Duration::from_millis(100)),
        ..PlayoutSettings::default()
    });
    let shown = outcome(&signal, "jitter of 20 ms", fixed);
    assert!((119.0..122.0).contains(&shown.age_ms.0) && shown.age_ms.1 < 122.0, "{:?}", shown.age_ms);
}

#[test]
fn playout_clock_drift_or_step_does_no_harm() {
    let signal = Signal::performer();
    let quiet = run(&signal, network("jitter of 20 ms"), Clocks::default(), ours(), 120, 3);
    for ppm in [-200.0, 200.0] {
        let clocks = Clocks { ppm, ..Clocks::default() };
        let drifting = run(&signal, network("jitter of 20 ms"), clocks, ours(), 120, 3);
        assert!(drifting.age_ms.0 < quiet.age_ms.0 + 8.0, "{ppm}: {:?} {:?}", drifting.age_ms, quiet.age_ms);
        assert!(drifting.worst < quiet.worst + 0.03, "{ppm}: {} {}", drifting.worst, quiet.worst);
        assert_eq!(drifting.fps, 60.0);
    }
    let clocks = Clocks { step_at_us: 20_000_000, step_us: 7_200_000_000, ..Clocks::default() };
    let set = run(&signal, network("5 % loss"), clocks, ours(), 60, 3);
    assert!(set.freeze_ms < 400.0, "{}", set.freeze_ms);
    assert_eq!((set.fps, set.blinks.0), (60.0, set.blinks.1));
}

/// A face with head and gaze at 60 a second over 24 kbit/s, of which 93 bytes of headers for each packet leave little.
#[test]
fn simulcast_keeps_a_face_live_on_a_thin_uplink() {
    let simulcast = Method::Simulcast(PlayoutSettings::default());
    for signal in &Signal::all() {
        let thin = NetworkSettings { rate_bps: Some(24_000.0), ..network("clean") };
        let of = |network, method| run(signal, network, Clocks::default(), method, 60, 42);
        let (one, two) = (of(thin, ours()), of(thin, simulcast));
        for (name, outcome) in [("one stream", &one), ("simulcast", &two)] {
            println!(
                "{}: {name}: age {:?} ms, rms {:.4}, worst {:.3}, pops {:.0}, queue {:?} ms, {:.0} B/s, rates {:?}",
                signal.name,
                outcome.age_ms,
                outcome.rms,
                outcome.worst,
                outcome.pops,
                outcome.queue_ms,
                outcome.bytes_per_s,
                outcome.rates
            );
        }
        assert!(two.age_ms.0 < one.age_ms.0 && two.rms < one.rms, "{}", signal.name);
        assert_eq!(two.blinks.0, two.blinks.1, "{}", signal.name);
        // A path that is wide, or loses packets, is sent the same as ever.
        for name in ["clean", "5 % loss", "constant 200 ms"] {
            let (one, two) = (of(network(name), ours()), of(network(name), simulcast));
            assert_eq!((one.age_ms, one.rms, one.bytes_per_s), (two.age_ms, two.rms, two.bytes_per_s), "{name}");
        }
    }
}
