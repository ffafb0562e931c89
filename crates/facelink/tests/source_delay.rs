//! A source that takes longer from capture to sending is not a network that queues: its rate is kept. In virtual time.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::time::{Duration, Instant};

use facelink::{
    simulate::network::{Network, NetworkSettings},
    timing::{LinkReport, LoadMeter, NetworkLaw, RateController, SourceClock, micros},
};

/// Bytes of a face on a data channel, with all headers.
const PACKET: usize = 175;
const TICK: Duration = Duration::from_millis(100);

/// From capture to sending: pictures of the camera come 30 times a second, and one is looked at when the last is done.
#[derive(Clone, Copy, Debug)]
struct Tracker {
    from: Duration,
    ms: i64,
    /// Evenly from 0 to this on top.
    jitter_ms: i64,
}

struct Outcome {
    /// Rates that were asked for, each with the second.
    rates: Vec<(f32, f32)>,
    queue_ms: f32,
}

/// Runs a camera at `fps` with trackers that change over time, through a network, for some seconds.
fn run(fps: i64, trackers: &[Tracker], network: NetworkSettings, seconds: u64) -> Outcome {
    let start = Instant::now();
    let end_us = seconds as i64 * 1_000_000;
    let mut network = Network::new(network, 42);
    let mut chance = 7_u64;
    let mut arrivals = Vec::new();
    let (mut picture, mut free_us) = (0_i64, 0_i64);
    while picture * 1_000_000 / fps < end_us {
        let capture_us = picture * 1_000_000 / fps;
        picture += 1;
        if capture_us + 1_000_000 / fps <= free_us {
            continue; // a newer one is there when the tracker is done
        }
        let began_us = free_us.max(capture_us);
        let now = Duration::from_micros(began_us as u64);
        let tracker = trackers.iter().rev().find(|tracker| now >= tracker.from).expect("one from the start");
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jitter_us = (chance >> 33) as i64 % (tracker.jitter_ms * 1000 + 1);
        free_us = began_us + tracker.ms * 1000 + jitter_us;
        for arrival_us in network.send(free_us, PACKET) {
            arrivals.push((arrival_us, capture_us, arrivals.len() as u64));
        }
    }
    arrivals.sort_unstable();
    let mut clock = SourceClock::new(start);
    let mut load = LoadMeter::default();
    let mut law = NetworkLaw::default();
    let mut rates = Vec::new();
    let mut arrivals = arrivals.into_iter().peekable();
    let mut now = start + Duration::from_secs(1);
    while micros(now, start) < end_us {
        while let Some((arrival_us, capture_us, number)) = arrivals.next_if(|(at, ..)| *at <= micros(now, start)) {
            let capture = Duration::from_micros(1_700_000_000_000_000 + capture_us as u64);
            let stamp = clock.record(Some(capture), start + Duration::from_micros(arrival_us as u64));
            load.record(&stamp, Some(number), false, 50_000);
        }
        let before = law.decision().fps;
        let fps = law.update(&LinkReport::of_delay(load.report(micros(now, start))), now).fps;
        if fps != before {
            rates.push(((now - start).as_secs_f32(), fps));
        }
        now += TICK;
    }
    Outcome { rates, queue_ms: load.report(end_us).standing_ms }
}

const fn tracker(from_s: u64, ms: i64, jitter_ms: i64) -> Tracker {
    Tracker { from: Duration::from_secs(from_s), ms, jitter_ms }
}

#[test]
fn rate_kept_when_tracker_becomes_slower() {
    let clean = NetworkSettings::default();
    let wifi = NetworkSettings { jitter_us: 8_000, ..clean };
    let mut wrong = Vec::new();
    for (name, fps, trackers, network) in [
        ("20 to 60 ms at 30 fps", 30, vec![tracker(0, 20, 0), tracker(5, 60, 0)], clean),
        ("20 to 60 ms at 60 fps", 60, vec![tracker(0, 12, 0), tracker(5, 60, 0)], clean),
        ("20 to 60 ms, uneven", 30, vec![tracker(0, 20, 3), tracker(5, 60, 6)], clean),
        ("20 to 60 ms at 24 fps", 24, vec![tracker(0, 20, 2), tracker(5, 60, 4)], clean),
        ("20 to 60 ms, jitter of the network", 30, vec![tracker(0, 20, 3), tracker(5, 60, 3)], wifi),
        ("20 to 150 ms", 30, vec![tracker(0, 20, 3), tracker(5, 150, 5)], clean),
        (
            "back and forth",
            30,
            vec![tracker(0, 20, 2), tracker(5, 60, 2), tracker(10, 20, 2), tracker(15, 60, 2)],
            clean,
        ),
        (
            "slower and slower",
            30,
            vec![tracker(0, 15, 2), tracker(5, 35, 2), tracker(8, 55, 2), tracker(11, 75, 2)],
            clean,
        ),
    ] {
        let outcome = run(fps, &trackers, network, 30);
        if !outcome.rates.is_empty() || outcome.queue_ms >= NetworkLaw::HIGH_MS {
            wrong.push(format!("{name}: {:?}, at the end {} ms", outcome.rates, outcome.queue_ms));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn rate_lowered_by_narrow_network_behind_slow_tracker() {
    // 30 packets a second do not fit, whatever the tracker does.
    let narrow = NetworkSettings { rate_bps: Some(30_000.0), ..NetworkSettings::default() };
    for trackers in [vec![tracker(0, 20, 2)], vec![tracker(0, 20, 2), tracker(3, 30, 2)]] {
        let outcome = run(30, &trackers, narrow, 10);
        assert!(outcome.rates.first().is_some_and(|(at, fps)| *at < 3.0 && *fps <= 20.0), "{:?}", outcome.rates);
    }
}
