//! A clock that follows timecode.

use std::time::Duration;

use super::{LtcDecoder, LtcFrame, Timecode};
use crate::{
    take::FrameRate,
    time::Instant,
    timing::{SourceClock, Stamp},
};

/// Without a frame for this long, time goes on by itself.
const MISSING: Duration = Duration::from_millis(150);
/// And no longer than this.
const FLYWHEEL: Duration = Duration::from_secs(10);
/// Frames over which the rate is measured, at least.
const MEASURED: u32 = 24;
/// A speed that is off by more than this is no playback: the clock does not follow.
const MAX_SPEED_ERROR: f64 = 0.02;
/// Half of the difference between a whole rate and the one of television below it.
const HALFWAY: f64 = 0.5 / 1001.0;

/// What the clock does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LtcState {
    /// No timecode, or none that plays at its speed.
    #[default]
    Unlocked,
    /// Timecode comes.
    Locked,
    /// It came until a moment ago, and is continued.
    Flywheel,
}

/// A time of day that runs with our clock: timecode that is followed, or the system's.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Timebase {
    /// Our time.
    at: Instant,
    /// Microseconds of its own then.
    time_us: i64,
    /// By how much it is quicker than our clock.
    skew: f64,
    /// Counts how often it was set: times of different epochs cannot be compared.
    pub epoch: u32,
    /// Frames a second of its timecode.
    pub rate: FrameRate,
    /// Whether its timecode drops frames.
    pub drop_frame: bool,
}

impl Timebase {
    /// A clock that shows `time` since midnight at `at` and keeps pace with ours.
    pub fn new(at: Instant, time: Duration, rate: FrameRate) -> Self {
        let time_us = i64::try_from(time.as_micros()).unwrap_or(0);
        let drop_frame = rate == FrameRate::STANDARD[3];
        Self { at, time_us, skew: 0.0, epoch: 0, rate, drop_frame }
    }

    /// Its time at a time of ours, microseconds since midnight; beyond a day where midnight has passed.
    pub fn time_us(&self, at: Instant) -> i64 {
        let since = crate::timing::micros(at, self.at);
        self.time_us + since + (since as f64 * self.skew) as i64
    }

    /// Its timecode at a time of ours.
    pub fn timecode(&self, at: Instant) -> Timecode {
        let time = Duration::from_micros(u64::try_from(self.time_us(at)).unwrap_or(0));
        Timecode::at(time, self.rate, self.drop_frame)
    }

    /// A stamp of another clock on this one: when the frame was captured by the timecode. Arrivals of the stamp count from
    /// `origin`.
    #[must_use]
    pub fn stamp(&self, stamp: Stamp, origin: Instant) -> Stamp {
        let captured_us = stamp.capture_us + stamp.base_us;
        let captured = if captured_us >= 0 {
            origin + Duration::from_micros(captured_us.unsigned_abs())
        } else {
            origin.checked_sub(Duration::from_micros(captured_us.unsigned_abs())).unwrap_or(origin)
        };
        let capture_us = self.time_us(captured);
        let base_us = captured_us - capture_us;
        Stamp { capture_us, base_us, epoch: stamp.epoch.wrapping_add(self.epoch.wrapping_add(1) << 16), ..stamp }
    }
}

/// Follows timecode in sound: gives the timecode of any time of our clock, whatever the drift between the two. Sound comes in
/// pieces, each with the time at which its last sample was there; the quickest of them count.
#[derive(Clone, Debug)]
pub struct LtcChase {
    decoder: LtcDecoder,
    clock: SourceClock,
    state: LtcState,
    rate: Option<FrameRate>,
    /// The same, where it was chosen.
    chosen: Option<FrameRate>,
    /// Lengths of the last frames, samples.
    length: f64,
    measured: u32,
    last: Option<(LtcFrame, Instant)>,
    base: Option<Timebase>,
    frames: u64,
}

impl LtcChase {
    /// For so many samples a second. The rate is measured where none is given; a sound device that is off by more than 250 ppm
    /// needs it, to tell 30 from 29.97.
    pub fn new(sample_rate: f64, rate: Option<FrameRate>, origin: Instant) -> Self {
        Self {
            decoder: LtcDecoder::new(sample_rate),
            clock: SourceClock::new(origin),
            state: LtcState::Unlocked,
            rate,
            chosen: rate,
            length: 0.0,
            measured: 0,
            last: None,
            base: None,
            frames: 0,
        }
    }

    /// Takes samples of one channel, of which the last one was there at `now`.
    pub fn push(&mut self, samples: &[f32], now: Instant) {
        let mut found: smallvec::SmallVec<[LtcFrame; 4]> = smallvec::SmallVec::new();
        self.decoder.push(samples, |frame| found.push(frame));
        let (end, rate) = (self.decoder.samples() as f64, self.decoder.sample_rate());
        for frame in found {
            let ago = Duration::try_from_secs_f64((end - frame.start).max(0.0) / rate).unwrap_or_default();
            self.take(frame, now.checked_sub(ago).unwrap_or(now));
        }
        self.tick(now);
    }

    /// Takes a frame that began at a time.
    pub(super) fn take(&mut self, frame: LtcFrame, began: Instant) {
        self.frames += 1;
        let before = self.last.replace((frame, began));
        let is_new = before.is_none_or(|(last, _)| last.reversed != frame.reversed);
        let share = if self.measured < 200 { 1.0 / f64::from(self.measured + 1) } else { 0.005 };
        if is_new || (frame.length / self.length - 1.0).abs() > MAX_SPEED_ERROR {
            (self.length, self.measured) = (frame.length, 1);
        } else {
            self.length += share * (frame.length - self.length);
            self.measured = self.measured.saturating_add(1);
        }
        if self.chosen.is_none() && self.measured >= MEASURED {
            self.rate = self.measure(frame.timecode.drop_frame).or(self.rate);
        }
        let Some(rate) = self.rate else { return };
        let speed = self.playback(rate);
        if frame.reversed || (speed - 1.0).abs() > MAX_SPEED_ERROR {
            // Wound, or played at another speed: no time of day.
            self.unlock();
            return;
        }
        let stamp = self.clock.record(Some(frame.timecode.time(rate)), began);
        self.state = LtcState::Locked;
        self.base = Some(Timebase {
            at: began,
            time_us: stamp.arrival_us() - stamp.base_us,
            skew: -f64::from(self.clock.skew_ppm()) * 1e-6,
            epoch: stamp.epoch,
            rate,
            drop_frame: frame.timecode.drop_frame,
        });
    }

    /// The speed at which frames of this rate are played, whichever way.
    fn playback(&self, rate: FrameRate) -> f64 {
        self.decoder.sample_rate() / rate.as_f64() / self.length
    }

    /// The rate by the length of frames, and by their numbers.
    fn measure(&self, drop_frame: bool) -> Option<FrameRate> {
        let fps = self.decoder.sample_rate() / self.length;
        let counted = self.decoder.frames_of_second().map(f64::from);
        let plays = |whole: &f64| (fps / whole - 1.0).abs() < MAX_SPEED_ERROR;
        // What is counted holds: 25 frames of a second may be played as fast as 24.
        let whole =
            [24.0, 25.0, 30.0].into_iter().find(|whole| counted.map_or(plays(whole), |counted| counted == *whole))?;
        let numerator = whole as u32;
        let is_exact = !plays(&whole) || fps / whole > 1.0 - HALFWAY;
        let of_television = drop_frame || (!is_exact && whole != 25.0);
        if of_television { FrameRate::new(numerator * 1000, 1001) } else { FrameRate::new(numerator, 1) }
    }

    /// Looks whether timecode still comes.
    pub fn tick(&mut self, now: Instant) {
        let Some((_, last)) = self.last else { return };
        let silence = now.saturating_duration_since(last);
        match self.state {
            LtcState::Locked if silence > MISSING => self.state = LtcState::Flywheel,
            LtcState::Flywheel if silence > FLYWHEEL => self.unlock(),
            _ => {}
        }
    }

    fn unlock(&mut self) {
        if self.state != LtcState::Unlocked {
            self.state = LtcState::Unlocked;
            self.base = None;
            self.clock.restart();
        }
    }

    /// What it does.
    pub fn state(&self) -> LtcState {
        self.state
    }

    /// Frames a second, once they are known.
    pub fn rate(&self) -> Option<FrameRate> {
        self.rate
    }

    /// Speed of what comes, 1 for playback, below 0 backwards; `None` before the rate is known.
    pub fn speed(&self) -> Option<f64> {
        let ((frame, _), rate) = (self.last?, self.rate?);
        let speed = self.playback(rate);
        Some(if frame.reversed { -speed } else { speed })
    }

    /// Frames of timecode so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Drift of the timecode against our clock, parts per million; positive when ours is quicker.
    pub fn skew_ppm(&self) -> f32 {
        self.clock.skew_ppm()
    }

    /// The time of day that the timecode gives; `None` while it is not locked, and has not been a moment ago.
    pub fn timebase(&self) -> Option<Timebase> {
        self.base
    }

    /// The timecode at a time of our clock.
    pub fn timecode(&self, at: Instant) -> Option<Timecode> {
        self.base.map(|base| base.timecode(at))
    }
}
