//! Timecode through sound and back.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    take::FrameRate,
    timing::{SourceClock, micros},
};

/// 24, 25, 29.97 with dropped frames, 29.97 without, 30 and 23.976.
const RATES: [(&str, bool); 6] =
    [("24", false), ("25", false), ("29.97", true), ("29.97", false), ("30", false), ("23.976", false)];

/// Timecode from `first` on.
struct Generator {
    encoder: LtcEncoder,
    next: Timecode,
    fps: u32,
}

impl Generator {
    fn new(rate: &str, drop_frame: bool, sample_rate: f64, first: &str) -> Self {
        let rate: FrameRate = rate.parse().expect("a rate");
        let first: Timecode = first.parse().expect("a timecode");
        Self {
            encoder: LtcEncoder::new(rate, sample_rate),
            next: Timecode { drop_frame, ..first },
            fps: rate.nominal(),
        }
    }

    fn frames(&mut self, count: usize) -> Vec<f32> {
        let mut samples = Vec::new();
        for _ in 0..count {
            self.encoder.encode(self.next, &mut samples);
            self.next = self.next.next(self.fps);
        }
        samples
    }
}

fn decode(samples: &[f32], sample_rate: f64) -> Vec<LtcFrame> {
    let mut found = Vec::new();
    let mut decoder = LtcDecoder::new(sample_rate);
    for piece in samples.chunks(441) {
        decoder.push(piece, |frame| found.push(frame));
    }
    found
}

/// White noise of a root mean square.
struct Noise(fastrand::Rng);

impl Noise {
    fn add(&mut self, samples: &mut [f32], rms: f32) {
        for sample in samples {
            // The sum of twelve is near enough to a normal distribution.
            let normal: f32 = (0..12).map(|_| self.0.f32()).sum::<f32>() - 6.0;
            *sample += rms * normal;
        }
    }
}

/// Every frame is there but for those of the first half second, each at its place.
fn check(name: &str, found: &[LtcFrame], first: Timecode, frames: usize, length: f64, fps: u32, within: f64) {
    assert!(found.len() + 15 >= frames, "{name}: {} of {frames}", found.len());
    for frame in found {
        let day = if first.drop_frame { 2_589_408 } else { 86_400 * fps };
        let number = (frame.timecode.count(fps) + day - first.count(fps)) % day;
        let off = frame.start - f64::from(number) * length;
        assert!(
            off.abs() < within && (frame.length - length).abs() < 2.0 * within,
            "{name}: {frame:?} is off by {off}"
        );
        assert!(!frame.reversed, "{name}");
    }
}

#[test]
fn ltc_round_trips_at_every_rate() {
    for (rate, drop_frame) in RATES {
        for sample_rate in [44_100.0, 48_000.0] {
            // The sound device's clock is off by 145 ppm, which changes the samples of a frame by as much.
            for drift in [0.0, 145e-6, -145e-6] {
                let name = format!("{rate} at {sample_rate}, {drift}");
                let mut generator = Generator::new(rate, drop_frame, sample_rate * (1.0 + drift), "23:59:58:00");
                let first = generator.next;
                let length = sample_rate * (1.0 + drift) / rate.parse::<FrameRate>().expect("a rate").as_f64();
                let samples = generator.frames(60);
                check(&name, &decode(&samples, sample_rate), first, 60, length, generator.fps, 0.3);
                let inverted: Vec<f32> = samples.iter().map(|sample| -sample).collect();
                check(&name, &decode(&inverted, sample_rate), first, 60, length, generator.fps, 0.3);
            }
        }
    }
}

#[test]
fn ltc_survives_noise_levels_and_offsets() {
    let mut noise = Noise(fastrand::Rng::with_seed(1));
    for (rate, drop_frame) in RATES {
        for (decibels, gain, offset) in [(20.0, 1.0, 0.0), (20.0, 0.02, 0.0), (14.0, 1.0, 0.0), (30.0, 0.5, 0.4)] {
            let name = format!("{rate}, {decibels} dB, {gain}");
            let mut generator = Generator::new(rate, drop_frame, 48_000.0, "10:00:00:02");
            let first = generator.next;
            let mut samples = generator.frames(60);
            let rms = (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt();
            noise.add(&mut samples, rms * 10.0_f32.powf(-decibels / 20.0));
            samples.iter_mut().for_each(|sample| *sample = gain * *sample + offset);
            let length = 48_000.0 / rate.parse::<FrameRate>().expect("a rate").as_f64();
            check(&name, &decode(&samples, 48_000.0), first, 60, length, generator.fps, 1.0);
        }
    }
    // What is no timecode gives none.
    let mut hiss = vec![0.0; 240_000];
    noise.add(&mut hiss, 0.2);
    let hum: Vec<f32> = (0..240_000).map(|n| (n as f32 * 0.05).sin()).collect();
    let wrong = [f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX, 0.0, -1.0];
    let wild: Vec<f32> = (0..240_000).map(|_| wrong[noise.0.usize(..wrong.len())]).collect();
    for (name, samples) in [("hiss", hiss), ("hum", hum), ("silence", vec![0.0; 48_000]), ("wild", wild)] {
        assert_eq!(decode(&samples, 48_000.0), [], "{name}");
    }
    for rate in [f64::NAN, 0.0, -1.0, f64::INFINITY] {
        decode(&[0.5; 1000], rate);
    }
}

#[test]
fn ltc_is_read_at_other_speeds_and_backwards() {
    for speed in [0.25, 0.5, 0.8, 1.5, 2.0, 3.0] {
        let mut encoder = LtcEncoder::new(FrameRate::STANDARD[2], 48_000.0).speed(speed);
        let mut samples = Vec::new();
        for count in 0..60 {
            encoder.encode(Timecode::of_count(90_000 + count, 25, false), &mut samples);
        }
        check("faster", &decode(&samples, 48_000.0), Timecode::new(1, 0, 0, 0, false), 60, 1920.0 / speed, 25, 0.5);
        let forward = 60.0 * 1920.0 / speed;
        for count in (0..60).rev() {
            encoder.encode_reversed(Timecode::of_count(90_000 + count, 25, false), &mut samples);
        }
        let found = decode(&samples, 48_000.0);
        let back: Vec<_> = found.iter().filter(|frame| frame.reversed).collect();
        assert!(back.len() > 50, "{speed}: {}", back.len());
        for frame in back {
            // The first bit of the frame comes last.
            let place = forward + (90_060.0 - f64::from(frame.timecode.count(25))) * 1920.0 / speed;
            assert!((frame.start - place).abs() < 2.0, "{speed}: {frame:?}, not {place}");
        }
    }
}

/// Sound in pieces of 10 ms, which come up to some milliseconds late, and whose clock is off.
struct Device {
    chase: LtcChase,
    start: Instant,
    sample_rate: f64,
    /// Samples of a second of ours.
    true_rate: f64,
    given: usize,
    random: fastrand::Rng,
}

impl Device {
    fn new(sample_rate: f64, drift: f64, rate: Option<FrameRate>) -> Self {
        let start = Instant::now();
        let chase = LtcChase::new(sample_rate, rate, start);
        let true_rate = sample_rate * (1.0 + drift);
        Self { chase, start, sample_rate, true_rate, given: 0, random: fastrand::Rng::with_seed(3) }
    }

    /// Our time of a sample.
    fn time(&self, sample: f64) -> Instant {
        self.start + Duration::from_secs_f64(sample / self.true_rate)
    }

    fn play(&mut self, samples: &[f32]) {
        for piece in samples.chunks((self.sample_rate / 100.0) as usize) {
            self.given += piece.len();
            let late = Duration::from_secs_f64(0.004 * self.random.f64());
            self.chase.push(piece, self.time(self.given as f64) + late);
        }
    }

    /// How far the clock is off at the newest sample, milliseconds, if the timecode began at `first`.
    fn error_ms(&self, first: Duration) -> Option<f64> {
        let base = self.chase.timebase()?;
        let wanted = first.as_secs_f64() + self.given as f64 / self.sample_rate;
        Some((base.time_us(self.time(self.given as f64)) as f64 / 1e6 - wanted) * 1000.0)
    }
}

#[test]
fn ltc_chase_measures_rate_and_locks() {
    for (rate, drop_frame) in RATES {
        for drift in [0.0, 145e-6, -145e-6] {
            let wanted: FrameRate = rate.parse().expect("a rate");
            let mut device = Device::new(48_000.0, drift, None);
            // The generator is a device of its own, whose clock is off the other way.
            let mut generator = Generator::new(rate, drop_frame, 48_000.0 * (1.0 - drift), "01:00:00:00");
            let samples = generator.frames(120);
            device.play(&samples[..4000]);
            assert_eq!(device.chase.state(), LtcState::Unlocked);
            device.play(&samples[4000..]);
            assert_eq!((device.chase.state(), device.chase.rate()), (LtcState::Locked, Some(wanted)), "{rate} {drift}");
            let base = device.chase.timebase().expect("locked");
            assert_eq!((base.rate, base.drop_frame), (wanted, drop_frame));
            let now = device.chase.timecode(device.time(device.given as f64)).expect("locked");
            let off = i64::from(now.count(generator.fps)) - i64::from(generator.next.count(generator.fps));
            assert!((-1..=0).contains(&off), "{rate}: {now}, and next comes {}", generator.next);
        }
    }
}

#[test]
fn ltc_chase_flies_over_dropouts_and_refuses_winding() {
    let mut device = Device::new(48_000.0, 145e-6, None);
    let mut generator = Generator::new("25", false, 48_000.0, "01:00:00:00");
    let first = generator.next.time(FrameRate::STANDARD[2]);
    let mut samples = generator.frames(500);
    device.play(&samples);
    assert_eq!(device.chase.state(), LtcState::Locked);
    // Half a second is lost, in the middle of a frame.
    samples = generator.frames(50);
    samples[1000..25_000].fill(0.0);
    device.play(&samples[..25_000]);
    assert_eq!(device.chase.state(), LtcState::Flywheel);
    assert!(device.error_ms(first).is_some_and(|off| off.abs() < 6.0), "{:?}", device.error_ms(first));
    device.play(&samples[25_000..]);
    assert_eq!(device.chase.state(), LtcState::Locked);
    assert!(device.error_ms(first).is_some_and(|off| off.abs() < 6.0), "{:?}", device.error_ms(first));
    // Played at half the speed: no time of day, but it is seen.
    let mut slow = LtcEncoder::new(FrameRate::STANDARD[2], 48_000.0).speed(0.5);
    samples.clear();
    for count in 0..50 {
        slow.encode(Timecode::of_count(200_000 + count, 25, false), &mut samples);
    }
    device.play(&samples);
    assert_eq!((device.chase.state(), device.chase.timebase()), (LtcState::Unlocked, None));
    assert!(device.chase.speed().is_some_and(|speed| (speed - 0.5).abs() < 0.01), "{:?}", device.chase.speed());
    // At its speed from another place: another epoch.
    let mut generator = Generator::new("25", false, 48_000.0, "05:00:00:00");
    device.play(&generator.frames(60));
    assert_eq!(device.chase.state(), LtcState::Locked);
    assert_eq!(device.chase.timecode(device.time(device.given as f64)).map(|timecode| timecode.hours), Some(5));
    let epoch = device.chase.timebase().map(|base| base.epoch);
    // And nothing for longer than it is continued.
    device.play(&vec![0.0; 48_000 * 11]);
    assert_eq!((device.chase.state(), device.chase.timebase()), (LtcState::Unlocked, None));
    device.play(&generator.frames(60));
    assert_ne!(device.chase.timebase().map(|base| base.epoch), epoch);
}

/// 44 minutes of sound whose clock is 145 ppm quick against ours, and of a phone whose clock is 80 ppm slow: both on the
/// timecode. Frames of timecode stand for the samples between them.
#[test]
fn ltc_keeps_faces_and_sound_together_for_44_minutes() {
    let (sound, phone) = (1.0 + 145e-6, 1.0 - 80e-6);
    let rate = FrameRate::STANDARD[2];
    let start = Instant::now();
    let mut random = fastrand::Rng::with_seed(9);
    let mut chase = LtcChase::new(48_000.0, Some(rate), start);
    let mut clock = SourceClock::new(start);
    let mut worst = [0.0_f64; 2];
    let free_running = 44.0 * 60.0 * 145e-6 * 1000.0;
    for count in 0..44 * 60 * 25_u32 {
        let timecode = Timecode::of_count(u64::from(count) + 3600 * 25, 25, false);
        let timecode_s = f64::from(count) / 25.0;
        let ours = timecode_s / sound;
        let began = start + Duration::from_secs_f64(ours + 0.004 * random.f64());
        chase.take(LtcFrame { timecode, start: 0.0, length: 1920.0, reversed: false }, began);
        // A face at the same moment, whose network takes 5 to 25 ms.
        let arrival = start + Duration::from_secs_f64(ours + 0.005 + 0.02 * random.f64());
        let stamp = clock.record(Some(Duration::from_secs_f64(ours * phone)), arrival);
        if count < 25 * 60 {
            continue;
        }
        let base = chase.timebase().expect("locked");
        let wanted_us = (3600.0 + timecode_s) * 1e6;
        let at = start + Duration::from_secs_f64(ours);
        worst[0] = worst[0].max((base.time_us(at) as f64 - wanted_us).abs() / 1000.0);
        let stamped = base.stamp(stamp, start);
        worst[1] = worst[1].max((stamped.capture_us as f64 - wanted_us).abs() / 1000.0);
        assert_eq!(stamped.arrival_us(), micros(arrival, start), "when it came stays");
    }
    println!(
        "after 44 minutes at 145 ppm ({free_running:.0} ms apart without): timecode off by {:.1} ms at most, faces by {:.1} ms",
        worst[0], worst[1]
    );
    assert!(worst[0] < 5.0 && worst[1] < 20.0, "{worst:?}");
}
