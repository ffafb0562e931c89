//! A face over an emulated network, in virtual time: the shown face, compared with the true one.
//!
//! Used by the bench that prints the table and by the tests that hold us to it.

#![allow(dead_code, reason = "each of the two uses its part")]

use std::{
    collections::VecDeque,
    path::PathBuf,
    time::{Duration, Instant},
};

use facelink::{
    BLENDSHAPE_COUNT, Blendshape, FaceFrame,
    performer::Performance,
    simulate::network::{Network, NetworkSettings},
    take,
    timing::{
        Average, Decimator, DelayMeter, LinkReport, LoadMeter, NetworkLaw, Playout, PlayoutSettings, PresentClock,
        RateDecision, RateLaw, SourceClock,
    },
    wire::facelink1::{Clock, delta::DeltaEncoder},
};

/// Bytes of a packet besides its payload on a data channel: IP, UDP, DTLS, SCTP and its chunk.
const HEADERS: usize = 93;
/// Payload of a face with head and gaze, and of each one that it repeats.
const FACE: usize = 82;
const REPEATED: usize = 73;
const SOURCE_US: i64 = 16_667;
/// A display whose clock is not the source's.
const DISPLAY_US: i64 = 16_683;
const WARM_UP_US: i64 = 3_000_000;

/// A face as it really was.
pub struct Signal {
    pub name: String,
    frames: Vec<FaceFrame>,
}

impl Signal {
    /// The recordings that are at hand, and the synthetic performer.
    pub fn all() -> Vec<Self> {
        let folder = std::env::var_os("FACELINK_CAPTURES").map(PathBuf::from);
        let mut signals = Vec::new();
        for file in ["live-link-face-60fps.csv", "live-link-face-rom.csv"] {
            let Some(folder) = &folder else { break };
            match take::llf_csv::read(&folder.join(file)) {
                Ok(take) => {
                    let count = (take.duration().as_micros() as i64 / SOURCE_US).min(60 * 60);
                    let at = |i: i64| take.frame_at(Duration::from_micros((i * SOURCE_US) as u64));
                    signals.push(Self { name: file.to_owned(), frames: (0..count).map(at).collect() });
                }
                Err(error) => eprintln!("skipped: {file}: {error}"),
            }
        }
        signals.push(Self::performer());
        signals
    }

    pub fn performer() -> Self {
        let performance = Performance::new(11);
        let at = |i: i64| performance.frame_at(Duration::from_micros((i * SOURCE_US) as u64));
        Self { name: "synthetic performer".to_owned(), frames: (0..60 * 60).map(at).collect() }
    }

    /// There and back, so that no seam jumps.
    fn frame(&self, i: i64) -> &FaceFrame {
        let last = self.frames.len() as i64 - 1;
        let around = i.rem_euclid(2 * last);
        &self.frames[around.min(2 * last - around) as usize]
    }

    /// The face at a time, as a source would send it.
    pub fn frame_at(&self, at_us: i64) -> FaceFrame {
        let present = (1 << BLENDSHAPE_COUNT) - 1;
        FaceFrame { present, weights: self.weights(at_us), ..self.frame(at_us / SOURCE_US).clone() }
    }

    fn weights(&self, at_us: i64) -> [f32; BLENDSHAPE_COUNT] {
        let (i, into) = (at_us.div_euclid(SOURCE_US), at_us.rem_euclid(SOURCE_US) as f32 / SOURCE_US as f32);
        let (a, b) = (self.frame(i), self.frame(i + 1));
        std::array::from_fn(|k| a.weights[k] + (b.weights[k] - a.weights[k]) * into)
    }
}

/// How a face is received and shown.
#[derive(Clone, Copy, Debug)]
pub enum Method {
    /// As we do it.
    Ours(PlayoutSettings),
    /// The same with the second stream of a face, for thin paths.
    Simulcast(PlayoutSettings),
    /// The newest frame, whenever it came; the sender never changes its rate.
    Hold,
    /// The same with the migration guide's law at the sender.
    Guide,
}

/// The result.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub age_ms: (f32, f32),
    pub rms: f32,
    pub worst: f32,
    pub blinks: (usize, usize),
    /// A minute.
    pub pops: f32,
    /// The most that a shape changed in one rendered frame beyond what the true face did around it.
    pub jump: f32,
    pub freeze_ms: f32,
    /// Rate at the end, changes a minute and share of time at the end rate.
    pub fps: f32,
    pub changes: f32,
    /// Queue in the network: worst after three seconds, and median, milliseconds.
    pub queue_ms: (f32, f32),
    /// When it was below 50 ms for good (but for probes that last less than half a second), seconds.
    pub settled_s: f32,
    pub redundancy: u8,
    pub bytes_per_s: f32,
    pub rates: Vec<(i64, f32)>,
}

struct Receiver {
    clock: SourceClock,
    delay: DelayMeter,
    load: LoadMeter,
    playout: Playout,
    latency: Average,
    newest: Option<i64>,
    seen: VecDeque<i64>,
}

/// Drift and jumps of the sender's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    pub ppm: f64,
    pub step_at_us: i64,
    pub step_us: i64,
}

/// Runs `seconds` of a signal through a network.
pub fn run(
    signal: &Signal,
    network: NetworkSettings,
    clocks: Clocks,
    method: Method,
    seconds: i64,
    seed: u64,
) -> Outcome {
    let start = Instant::now();
    let instant = |us: i64| start + Duration::from_micros(us.max(0) as u64);
    let settings = match method {
        Method::Ours(settings) | Method::Simulcast(settings) => settings,
        _ => PlayoutSettings::default(),
    };
    let mut there = Network::new(network, seed);
    let back = NetworkSettings { rate_bps: None, stalls_per_s: 0.0, ..network };
    let mut back = Network::new(back, seed + 1);
    let mut law = match method {
        Method::Guide => RateLaw::Guide.controller(15.0, 60.0),
        _ => RateLaw::Network.controller(10.0, 60.0),
    };
    let mut decimator = Decimator::default();
    let mut receiver = Receiver {
        clock: SourceClock::new(start),
        delay: DelayMeter::default(),
        load: LoadMeter::default(),
        playout: Playout::new(settings),
        latency: Average::default(),
        newest: None,
        seen: VecDeque::new(),
    };
    let ours = matches!(method, Method::Ours(_) | Method::Simulcast(_));
    let mut streams = matches!(method, Method::Simulcast(_)).then(DeltaEncoder::simulcast);
    let mut packet = Vec::new();
    let mut advice = RateDecision { fps: 60.0, redundancy: 0 };
    // Arrival, place in the signal, number, repeated.
    let mut arriving: Vec<(i64, i64, u64, FaceFrame, bool)> = Vec::new();
    // With the standing queue, and the newest frame's number.
    let mut reports: Vec<(i64, RateDecision, f32, Option<u64>)> = Vec::new();
    let mut sent: VecDeque<(i64, u64, FaceFrame)> = VecDeque::new();
    let (mut frame_number, mut number, mut bytes) = (0_i64, 0_u64, 0_usize);
    let (mut next_render, mut next_tick) = (5_000_i64, 100_000_i64);
    let mut shown: Vec<(i64, i64, [f32; BLENDSHAPE_COUNT])> = Vec::new();
    let mut held: Option<(i64, FaceFrame)> = None;
    let mut outcome = Outcome::default();
    let mut queue: Vec<(i64, f32)> = Vec::new();
    let mut present = PresentClock::default();
    let end = seconds * 1_000_000;
    loop {
        let capture = frame_number * SOURCE_US;
        let arrival = arriving.iter().map(|packet| packet.0).min().unwrap_or(i64::MAX);
        let report = reports.iter().map(|report| report.0).min().unwrap_or(i64::MAX);
        let now = capture.min(arrival).min(report).min(next_render).min(next_tick);
        if now > end {
            break;
        }
        if now == arrival {
            let place = arriving.iter().position(|packet| packet.0 == arrival).unwrap_or(0);
            let (_, at, number, frame, repeated) = arriving.swap_remove(place);
            if receiver.seen.contains(&(number as i64)) {
                continue;
            }
            receiver.seen.push_back(number as i64);
            if receiver.seen.len() > 64 {
                receiver.seen.pop_front();
            }
            let step = if clocks.step_us != 0 && at >= clocks.step_at_us { clocks.step_us } else { 0 };
            let theirs = 3_600_000_000 + at + (at as f64 * clocks.ppm / 1e6) as i64 + step;
            let stamp = receiver.clock.record(Some(Duration::from_micros(theirs as u64)), instant(now));
            if !repeated {
                receiver.delay.record(&stamp);
                receiver.latency.record((now - at) as f32 / 1000.0);
                queue.push((now, (now - at - network.delay_us) as f32 / 1000.0));
            }
            let target = receiver.delay.quantile_us(0.95) + stamp.interval_us / 2;
            receiver.load.record(&stamp, Some(number), repeated, target);
            if receiver.newest.is_none_or(|newest| at > newest) {
                receiver.newest = Some(at);
                held = Some((at, frame.clone()));
            }
            receiver.playout.push(frame, None, &stamp, instant(now), repeated);
        } else if now == report {
            let place = reports.iter().position(|known| known.0 == report).unwrap_or(0);
            let (_, new, queue_ms, ack) = reports.swap_remove(place);
            if let Some(streams) = &mut streams {
                streams.plain().set_redundancy(new.redundancy);
                if queue_ms > NetworkLaw::HIGH_MS {
                    streams.set_thin();
                }
                if let Some(ack) = ack {
                    streams.acknowledge("", ack as u32);
                }
            }
            if new.fps != advice.fps {
                outcome.rates.push((now, new.fps));
            }
            advice = new;
        } else if now == capture {
            let mut frame = FaceFrame { present: (1 << BLENDSHAPE_COUNT) - 1, ..signal.frame(frame_number).clone() };
            let at = capture;
            frame_number += 1;
            let fps = if matches!(method, Method::Hold) { 60.0 } else { advice.fps };
            let leaves = match method {
                Method::Ours(_) | Method::Simulcast(_) => decimator.offer(&mut frame, fps, instant(now)),
                _ => fps >= 59.0 || (frame_number as f32 * fps / 60.0).fract() < fps / 60.0,
            };
            if !leaves {
                continue;
            }
            let repeats = if ours { usize::from(advice.redundancy) } else { 0 };
            let mut size = HEADERS + FACE + REPEATED * repeats.min(sent.len());
            if let Some(streams) = &mut streams {
                packet.clear();
                let time = Duration::from_micros((3_600_000_000 + at) as u64);
                let written = FaceFrame { sequence: Some(number), capture_time: Some(time), ..frame.clone() };
                let written = streams.encode("", &written, Clock::Unix, &mut packet);
                size = HEADERS + if written == Ok(true) { packet.len() } else { size - HEADERS };
            }
            bytes += size;
            for arrival in there.send(now, size) {
                for (past_at, past_number, past) in sent.iter().take(repeats).rev() {
                    arriving.push((arrival, *past_at, *past_number, past.clone(), true));
                }
                arriving.push((arrival, at, number, frame.clone(), false));
            }
            sent.push_front((at, number, frame));
            sent.truncate(3);
            number += 1;
        } else if now == next_tick {
            next_tick += 100_000;
            let mut report = LinkReport::of_delay(receiver.load.report(now));
            report.latency_ms = receiver.latency.get();
            let new = law.update(&report, instant(now));
            if next_tick / 100_000 % 2 == 0 && !matches!(method, Method::Hold) && now > 500_000 {
                let newest = receiver.seen.iter().max().map(|newest| *newest as u64);
                let arrivals = back.send(now, HEADERS + 120).into_iter();
                reports.extend(arrivals.map(|arrival| (arrival, new, report.delay.standing_ms, newest)));
            }
        } else {
            next_render += DISPLAY_US;
            let shown_pose = match method {
                Method::Ours(_) | Method::Simulcast(_) => {
                    let now_shown = present.tick(instant(now));
                    receiver.playout.advance(now_shown).map(|shown_pose| {
                        let theirs = shown_pose.capture_us.unwrap_or_default() - 3_600_000_000;
                        let step =
                            if clocks.step_us != 0 && theirs > clocks.step_at_us.max(1) + clocks.step_us.abs() / 2 {
                                clocks.step_us
                            } else {
                                0
                            };
                        ((theirs - step) as f64 / (1.0 + clocks.ppm / 1e6), shown_pose.frame.weights)
                    })
                }
                _ => held.as_ref().map(|(at, frame)| (*at as f64, frame.weights)),
            };
            if let Some((at, weights)) = shown_pose.filter(|_| now > WARM_UP_US) {
                shown.push((now, at as i64, weights));
            }
        }
    }
    outcome.fps = advice.fps;
    outcome.redundancy = advice.redundancy;
    outcome.bytes_per_s = bytes as f32 / seconds as f32;
    outcome.changes = outcome.rates.len() as f32 / (seconds as f32 / 60.0);
    judge(signal, &shown, &queue, outcome)
}

fn quantile(values: &mut [f32], share: f32) -> f32 {
    values.sort_by(f32::total_cmp);
    values
        .get(((values.len() as f32 * share) as usize).min(values.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f32::NAN)
}

fn lid(weights: &[f32; BLENDSHAPE_COUNT]) -> f32 {
    weights[Blendshape::EyeBlinkLeft.index()].max(weights[Blendshape::EyeBlinkRight.index()])
}

/// Compares what was shown with the truth.
pub fn judge(
    signal: &Signal,
    shown: &[(i64, i64, [f32; BLENDSHAPE_COUNT])],
    queue: &[(i64, f32)],
    mut outcome: Outcome,
) -> Outcome {
    let mut ages: Vec<f32> = shown.iter().map(|(now, at, _)| (now - at) as f32 / 1000.0).collect();
    outcome.age_ms = (quantile(&mut ages, 0.5), quantile(&mut ages, 0.99));
    let lag = (outcome.age_ms.0 * 1000.0) as i64;
    let (mut squares, mut worst) = (0.0_f64, Vec::new());
    let (mut pops, mut frozen_since) = (0, None::<(i64, i64)>);
    // The lag that it has at the time: the median of a second around.
    let lags: Vec<i64> = (0..shown.len())
        .map(|i| {
            let around = &shown[i.saturating_sub(30)..(i + 30).min(shown.len())];
            let mut ages: Vec<i64> = around.iter().map(|(now, at, _)| now - at).collect();
            let middle = ages.len() / 2;
            *ages.select_nth_unstable(middle).1
        })
        .collect();
    for (i, (now, at, weights)) in shown.iter().enumerate() {
        let lag = lags[i];
        let truth = signal.weights(now - lag);
        let mut most = 0.0_f32;
        for (shown, truth) in weights.iter().zip(&truth) {
            squares += f64::from(shown - truth).powi(2);
            most = most.max((shown - truth).abs());
        }
        worst.push(most);
        if let Some((before, _, last)) = i.checked_sub(1).map(|i| &shown[i]) {
            let dt = now - before;
            // The largest change of the true face in as much time, around this moment.
            let mut allowed = [0.0_f32; BLENDSHAPE_COUNT];
            let mut from = signal.weights(now - lag - 100_000 - dt);
            for k in -6..=6 {
                let to = signal.weights(now - lag + k * dt);
                for (allowed, (from, to)) in allowed.iter_mut().zip(from.iter().zip(&to)) {
                    *allowed = allowed.max((to - from).abs());
                }
                from = to;
            }
            let beyond = weights.iter().zip(last).zip(&allowed).map(|((w, l), a)| (w - l).abs() - a);
            let jump = beyond.fold(0.0, f32::max);
            pops += usize::from(jump > 0.03);
            outcome.jump = outcome.jump.max(jump);
        }
        match frozen_since {
            Some((_, same)) if same == *at => {}
            _ => frozen_since = Some((*now, *at)),
        }
        let frozen = frozen_since.map_or(0, |(since, _)| now - since);
        outcome.freeze_ms = outcome.freeze_ms.max(frozen as f32 / 1000.0);
    }
    outcome.rms = (squares / (shown.len() * BLENDSHAPE_COUNT).max(1) as f64).sqrt() as f32;
    outcome.worst = quantile(&mut worst, 0.99);
    let minutes = shown.last().map_or(1.0, |last| (last.0 - shown[0].0) as f32 / 60e6);
    outcome.pops = pops as f32 / minutes;

    let (mut all, mut kept) = (0, 0);
    let (first, last) = (shown.first().map_or(0, |s| s.0) - lag, shown.last().map_or(0, |s| s.0) - lag);
    let lids: Vec<f32> = (first / SOURCE_US..last / SOURCE_US).map(|i| lid(&signal.frame(i).weights)).collect();
    for (i, value) in lids.iter().enumerate().skip(20).take(lids.len().saturating_sub(60)) {
        let around = &lids[i - 15..i + 16];
        let peak = *value >= 0.5
            && lids[i - 1] < *value
            && around.iter().all(|other| other <= value)
            && around[..15].iter().fold(f32::MAX, |a, b| a.min(*b)) < value - 0.3;
        if peak {
            all += 1;
            let at = (first / SOURCE_US + i as i64) * SOURCE_US + lag;
            let most = shown
                .iter()
                .filter(|(now, ..)| (at - 120_000..at + 500_000).contains(now))
                .map(|(_, _, weights)| lid(weights))
                .fold(0.0, f32::max);
            kept += usize::from(most >= 0.7 * value);
        }
    }
    outcome.blinks = (kept, all);

    let mut after: Vec<f32> = queue.iter().filter(|(at, _)| *at > WARM_UP_US).map(|(_, q)| *q).collect();
    outcome.queue_ms = (after.iter().copied().fold(0.0, f32::max), quantile(&mut after, 0.5));
    outcome.settled_s = queue
        .iter()
        .find(|(at, _)| {
            let next: Vec<f32> =
                queue.iter().filter(|(t, _)| t >= at && *t < at + 1_000_000).map(|(_, q)| *q).collect();
            next.iter().all(|q| *q < 50.0)
        })
        .map_or(f32::NAN, |(at, _)| *at as f32 / 1e6);
    // The settling counts from the last time that it was high before the middle of the run.
    let last_high = queue.iter().filter(|(at, q)| *q > 50.0 && *at < 10_000_000).map(|(at, _)| *at).max().unwrap_or(0);
    outcome.settled_s = outcome.settled_s.max(last_high as f32 / 1e6);
    outcome
}

/// The networks of the table.
pub fn networks() -> Vec<(&'static str, NetworkSettings)> {
    let plain = NetworkSettings::default();
    let lossy = |loss, burst| NetworkSettings { loss, burst, jitter_us: 2000, ..plain };
    vec![
        ("clean", plain),
        ("jitter of 20 ms", NetworkSettings { jitter_us: 20_000, ..plain }),
        ("1 % loss", lossy(0.01, 1)),
        ("5 % loss", lossy(0.05, 1)),
        ("10 % loss", lossy(0.10, 1)),
        ("5 % in bursts of 3", lossy(0.05, 3)),
        ("5 % overtaken", NetworkSettings { reorder: 0.05, jitter_us: 2000, ..plain }),
        ("64 kbit/s", NetworkSettings { rate_bps: Some(64_000.0), ..plain }),
        ("constant 200 ms", NetworkSettings { delay_us: 200_000, jitter_us: 2000, ..plain }),
        ("Wi-Fi", NetworkSettings { delay_us: 5000, jitter_us: 4000, loss: 0.01, stalls_per_s: 1.0, ..plain }),
    ]
}
