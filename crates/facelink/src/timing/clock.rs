//! The source's clock on ours, and how long a frame was delayed.
//!
//! A frame's one-way delay cannot be known without comparing clocks, and need not be: what matters is how much longer than
//! the quickest one it took. That minimum delay is looked for in a window of half a minute, corrected for the drift of
//! the two clocks against each other (skew). The idea is that of LEDBAT's base delay (RFC 6817) and of Moon, Skelly &
//! Towsley (INFOCOM 1999).

use std::time::Duration;

use crate::time::Instant;

use smallvec::SmallVec;

/// Seconds of the window in which the least delay is looked for; one bucket each.
const WINDOW: usize = 30;
const BUCKET_US: i64 = 1_000_000;
/// Two clocks drift apart by no more than this; what looks like more is the network.
const MAX_SKEW: f64 = 300e-6;
/// Spans after which clocks begin again: a day (timecode), and 32 bits of microseconds, of milliseconds and of ten
/// microseconds.
const WRAPS_US: [i64; 4] = [86_400_000_000, 1 << 32, (1 << 32) * 1000, (1 << 32) * 10];
/// A frame that is this far from where it was expected may have wrapped, or its clock was set.
const FAR_US: i64 = 1_000_000;
/// So much earlier than ever before is accepted only when it is repeated.
const EARLY_US: i64 = 25_000;
const EARLY_TIMES: usize = 5;
/// Frames in a row that have to agree on a clock that was set, and for how long.
const SET_TIMES: usize = 12;
const SET_TIME_US: i64 = 200_000;
/// They agree when no two differ by more than this.
const SET_SPREAD_US: i64 = 100_000;
/// A delay that grows by so much from one frame to the next and stays is another path, or a small set of the clock.
const JUMP_US: i64 = 40_000;
const JUMP_TIME_US: i64 = 2_000_000;
/// The first frame of a new count that is further off than this came by a clock that was set.
const ANEW_US: i64 = 40_000;
/// A pause, not a slow frame.
const PAUSE_US: i64 = 500_000;
/// After so many longer steps in a row the pace has changed.
const PACE_CHANGED: u8 = 2;

/// When a frame was captured and how long it was delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// When it was captured: microseconds on the source's clock, with wraps undone; where the source has none, on ours.
    pub capture_us: i64,
    /// The least that has to be added to `capture_us` to come to an arrival on our clock, microseconds: clock offset and
    /// least delay.
    pub base_us: i64,
    /// How much longer than that this frame took, microseconds. Below 0 for one that arrived earlier than estimated so far: its
    /// stamp may be wrong.
    pub queue_us: i64,
    /// Counts how often the source's clock was set: `capture_us` of different epochs cannot be compared.
    pub epoch: u32,
    /// Time between two frames, microseconds.
    pub interval_us: i64,
}

impl Stamp {
    /// When it arrived, microseconds on our clock.
    pub const fn arrival_us(&self) -> i64 {
        self.capture_us + self.base_us + self.queue_us
    }
}

/// Microseconds from `origin` to `now`, negative before it.
pub fn micros(now: Instant, origin: Instant) -> i64 {
    let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    match now.checked_duration_since(origin) {
        Some(after) => us(after),
        None => -us(origin.saturating_duration_since(now)),
    }
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    number: i64,
    /// Least offset of the second, and when.
    offset_us: i64,
    at_us: i64,
}

/// A delay that has grown at once, and whether it stays.
#[derive(Clone, Copy, Debug)]
struct Jump {
    since_us: i64,
    before_us: i64,
    after_us: i64,
    least: Bucket,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    capture_us: i64,
    arrival_us: i64,
    offset_us: i64,
}

/// Maps the capture times of one source to our clock.
#[derive(Clone, Debug)]
pub struct SourceClock {
    origin: Instant,
    epoch: u32,
    wrapped_us: i64,
    last: Option<Last>,
    buckets: [Option<Bucket>; WINDOW],
    skew: f64,
    fitted: i64,
    early: SmallVec<[(i64, i64); EARLY_TIMES]>,
    set: Option<(usize, i64, i64, i64)>,
    jump: Option<Jump>,
    interval_us: f64,
    /// Steps in a row that were longer by a frame or more.
    longer: u8,
    stamped: bool,
}

impl SourceClock {
    /// A clock that counts arrivals from `origin`. Clocks of one origin can be compared.
    pub fn new(origin: Instant) -> Self {
        Self {
            origin,
            epoch: 0,
            wrapped_us: 0,
            last: None,
            buckets: [None; WINDOW],
            skew: 0.0,
            fitted: 0,
            early: SmallVec::new(),
            set: None,
            jump: None,
            interval_us: 0.0,
            longer: 0,
            stamped: false,
        }
    }

    /// Forgets the source's clock, for another sender has taken its place.
    pub fn restart(&mut self) {
        *self = Self { epoch: self.epoch + 1, interval_us: self.interval_us, ..Self::new(self.origin) };
    }

    /// What arrivals are counted from.
    pub const fn origin(&self) -> Instant {
        self.origin
    }

    /// Drift of the source's clock against ours, parts per million; positive when ours is quicker.
    pub fn skew_ppm(&self) -> f32 {
        (self.skew * 1e6) as f32
    }

    /// Notes a frame that arrived now, in whatever order. Without a capture time an even pace is assumed.
    pub fn record(&mut self, capture: Option<Duration>, now: Instant) -> Stamp {
        let arrival_us = micros(now, self.origin);
        let stamped = capture.is_some();
        if self.last.is_some() && stamped != self.stamped {
            self.restart();
        }
        self.stamped = stamped;
        let capture_us = match capture {
            Some(capture) => self.unwrap(i64::try_from(capture.as_micros()).unwrap_or(i64::MAX / 4), arrival_us),
            None => self.paced(arrival_us),
        };
        let offset_us = arrival_us - capture_us;
        self.pace(capture_us, arrival_us);
        self.watch(offset_us, capture_us, arrival_us);
        let base_us = self.base(arrival_us).unwrap_or(offset_us);
        if self.last.is_none_or(|last| capture_us > last.capture_us) {
            self.last = Some(Last { capture_us, arrival_us, offset_us });
        }
        Stamp {
            capture_us,
            base_us,
            queue_us: offset_us - base_us,
            epoch: self.epoch,
            interval_us: self.interval_us as i64,
        }
    }

    /// Notes the first frame of a count or a clock that began anew: if it is not where it was expected, its clock was set.
    pub fn record_anew(&mut self, capture: Option<Duration>, now: Instant) -> Stamp {
        let mut probe = self.clone();
        let stamp = probe.record(capture, now);
        if stamp.queue_us.abs() <= ANEW_US {
            *self = probe;
            return stamp;
        }
        self.restart();
        self.record(capture, now)
    }

    /// Undoes a clock that began again.
    fn unwrap(&mut self, raw_us: i64, arrival_us: i64) -> i64 {
        let capture_us = raw_us.saturating_add(self.wrapped_us);
        let Some(last) = self.last else { return capture_us };
        let expected_us = last.capture_us + (arrival_us - last.arrival_us);
        if (capture_us - expected_us).abs() <= FAR_US {
            return capture_us;
        }
        let wraps = WRAPS_US.iter().flat_map(|span| [*span, -*span]);
        // Nearer than two seconds: a frame before midnight may come after one behind it.
        match wraps.min_by_key(|wrap| (capture_us + wrap - expected_us).abs()) {
            Some(wrap) if (capture_us + wrap - expected_us).abs() < 2 * FAR_US => {
                if wrap > 0 {
                    self.wrapped_us += wrap;
                }
                capture_us + wrap
            }
            _ => capture_us,
        }
    }

    /// An even pace through arrivals: a frame cannot have been captured after it came, so that the quick ones count and
    /// the slow ones hardly do.
    fn paced(&mut self, arrival_us: i64) -> i64 {
        let Some(last) = self.last else { return arrival_us };
        let ahead_us = arrival_us - last.arrival_us;
        let expected_us = last.capture_us + self.interval_us as i64;
        let late_us = arrival_us - expected_us;
        if self.interval_us == 0.0 || ahead_us > PAUSE_US || late_us as f64 > 2.5 * self.interval_us {
            return arrival_us;
        }
        if late_us <= 0 { arrival_us.max(last.capture_us + 1) } else { expected_us + late_us / 16 }
    }

    fn pace(&mut self, capture_us: i64, arrival_us: i64) {
        let Some(last) = self.last else { return };
        let step_us = if self.stamped { capture_us - last.capture_us } else { arrival_us - last.arrival_us } as f64;
        if !(1000.0..PAUSE_US as f64).contains(&step_us) {
            return;
        }
        let longer = self.stamped && step_us > 1.6 * self.interval_us;
        self.longer = if longer { self.longer.saturating_add(1) } else { 0 };
        if self.interval_us == 0.0 {
            self.interval_us = step_us;
        } else if self.longer >= PACE_CHANGED {
            // Not one frame in between any more: the source, or a relay, sends fewer.
            self.interval_us += (step_us - self.interval_us) / 2.0;
        } else if longer && step_us < 3.5 * self.interval_us {
            // Likely a lost frame.
            self.interval_us += (step_us - self.interval_us) / 32.0;
        } else {
            self.interval_us += (step_us - self.interval_us) / 8.0;
        }
    }

    /// Least offset as of now: the least of the window, each with the drift since then.
    fn base(&self, arrival_us: i64) -> Option<i64> {
        let drifted = |bucket: &Bucket| bucket.offset_us + (self.skew * (arrival_us - bucket.at_us) as f64) as i64;
        self.buckets.iter().flatten().map(drifted).min()
    }

    fn note(&mut self, offset_us: i64, at_us: i64) {
        let number = at_us.div_euclid(BUCKET_US);
        let new = Bucket { number, offset_us, at_us };
        let place = &mut self.buckets[number.rem_euclid(WINDOW as i64) as usize];
        match place {
            Some(bucket) if bucket.number == number => {
                if offset_us <= bucket.offset_us {
                    *bucket = new;
                }
            }
            _ => {
                *place = Some(new);
                for bucket in &mut self.buckets {
                    if bucket.is_some_and(|bucket| bucket.number <= number - WINDOW as i64) {
                        *bucket = None;
                    }
                }
                self.fit(number);
            }
        }
    }

    /// Drift: the slope between the lower ends of the older and the newer half of the window.
    fn fit(&mut self, newest: i64) {
        // The second that has just begun has no minimum yet.
        let closed = || self.buckets.iter().flatten().filter(|bucket| bucket.number < newest);
        let (Some(first), Some(last)) = (closed().map(|b| b.number).min(), closed().map(|b| b.number).max()) else {
            return;
        };
        if last - first < 9 || self.fitted == newest {
            return;
        }
        self.fitted = newest;
        let middle = i64::midpoint(first, last);
        // Against a first guess of the slope, so that the least is not always the end that the drift makes low.
        let level = |b: &&Bucket| b.offset_us - (self.skew * b.at_us as f64) as i64;
        let older = closed().filter(|b| b.number <= middle).min_by_key(level);
        let newer = closed().filter(|b| b.number > middle).min_by_key(level);
        if let (Some(older), Some(newer)) = (older, newer)
            && newer.at_us - older.at_us > 4 * BUCKET_US
        {
            let slope = (newer.offset_us - older.offset_us) as f64 / (newer.at_us - older.at_us) as f64;
            self.skew += (slope.clamp(-MAX_SKEW, MAX_SKEW) - self.skew) * 0.25;
        }
    }

    fn rebase(&mut self, offset_us: i64, at_us: i64, another_epoch: bool) {
        self.buckets = [None; WINDOW];
        self.early.clear();
        self.set = None;
        self.jump = None;
        if another_epoch {
            self.epoch += 1;
            self.last = None;
        }
        self.note(offset_us, at_us);
    }

    fn watch(&mut self, offset_us: i64, capture_us: i64, arrival_us: i64) {
        let Some(base_us) = self.base(arrival_us) else {
            self.note(offset_us, arrival_us);
            return;
        };
        let queue_us = offset_us - base_us;
        if queue_us.abs() > FAR_US {
            // Unless the clock was set, these are frames that waited: they come faster than they were captured, and the
            // next ones agree with the frames before.
            let (times, since_us, low, high) = self.set.map_or((0, arrival_us, offset_us, offset_us), |s| s);
            let (low, high) = (low.min(offset_us), high.max(offset_us));
            self.set = Some(if high - low > SET_SPREAD_US {
                (1, arrival_us, offset_us, offset_us)
            } else {
                (times + 1, since_us, low, high)
            });
            if times + 1 >= SET_TIMES && arrival_us - since_us >= SET_TIME_US && high - low <= SET_SPREAD_US {
                self.rebase(low, arrival_us, true);
            }
            return;
        }
        self.set = None;
        if queue_us < -EARLY_US {
            self.early.retain(|(at, _)| arrival_us - *at < BUCKET_US);
            if self.early.len() + 1 < EARLY_TIMES {
                self.early.push((arrival_us, offset_us));
            } else {
                // Not the earliest, which may be a single wrong stamp, but what all of them reach.
                let offset = self.early.iter().map(|(_, offset)| *offset).max().unwrap_or(offset_us).max(offset_us);
                self.early.clear();
                self.note(offset, arrival_us);
            }
            return;
        }
        self.note(offset_us, arrival_us);
        self.watch_jump(offset_us, capture_us, arrival_us);
    }

    fn watch_jump(&mut self, offset_us: i64, capture_us: i64, arrival_us: i64) {
        let new = Bucket { number: 0, offset_us, at_us: arrival_us };
        if let Some(jump) = &mut self.jump {
            if offset_us < jump.before_us + (jump.after_us - jump.before_us) * 3 / 5 {
                self.jump = None;
                return;
            }
            if offset_us < jump.least.offset_us {
                jump.least = new;
            }
            if arrival_us - jump.since_us > JUMP_TIME_US {
                let least = jump.least;
                self.rebase(least.offset_us, least.at_us, false);
            }
            return;
        }
        if let Some(last) = self.last
            && offset_us - last.offset_us > JUMP_US
            && capture_us > last.capture_us
            && capture_us - last.capture_us < PAUSE_US
        {
            self.jump = Some(Jump { since_us: arrival_us, before_us: last.offset_us, after_us: offset_us, least: new });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: i64 = 16_667;

    struct Run {
        clock: SourceClock,
        start: Instant,
        /// A cheap generator of chance.
        chance: u64,
    }

    impl Run {
        fn new() -> Self {
            let start = Instant::now();
            Self { clock: SourceClock::new(start), start, chance: 7 }
        }

        fn chance(&mut self) -> i64 {
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.chance >> 33) as i64
        }

        fn at(&mut self, capture_us: i64, arrival_us: i64) -> Stamp {
            let capture = Duration::from_micros(u64::try_from(capture_us).expect("positive"));
            self.clock.record(Some(capture), self.start + Duration::from_micros(arrival_us as u64))
        }
    }

    #[test]
    fn clock_queueing_is_separated_from_base_delay() {
        let mut run = Run::new();
        for i in 0..600 {
            let jitter = run.chance() % 20_000;
            let stamp = run.at(5_000_000 + i * FRAME_US, i * FRAME_US + 30_000 + jitter);
            if i > 200 {
                assert!((stamp.queue_us - jitter).abs() < 1500, "{stamp:?} {jitter}");
            }
        }
        assert!((run.clock.interval_us - FRAME_US as f64).abs() < 50.0);
    }

    #[test]
    fn clock_drift_of_200_ppm_is_not_queueing() {
        for ppm in [-200_i64, 200] {
            let mut run = Run::new();
            for i in 0..60 * 120 {
                let capture = i * FRAME_US;
                let jitter = run.chance() % 4000;
                let stamp = run.at(capture, 30_000 + capture + capture * ppm / 1_000_000 + jitter);
                if i > 60 * 40 {
                    assert!(stamp.queue_us < 6500, "{ppm} ppm: {stamp:?}");
                }
            }
            assert!((run.clock.skew_ppm() - ppm as f32).abs() < 60.0, "{ppm}: {}", run.clock.skew_ppm());
        }
    }

    #[test]
    fn clock_wrap_at_midnight_and_32_bits_is_no_step() {
        for wrap in WRAPS_US {
            let mut run = Run::new();
            let mut last: Option<Stamp> = None;
            for i in 0..240_i64 {
                let capture = (wrap - 120 * FRAME_US + i * FRAME_US).rem_euclid(wrap);
                let stamp = run.at(capture, 30_000 + i * FRAME_US);
                assert_eq!((stamp.epoch, stamp.queue_us), (0, 0), "{i}: {stamp:?}");
                if let Some(last) = last {
                    assert_eq!(stamp.capture_us - last.capture_us, FRAME_US);
                }
                last = Some(stamp);
            }
        }
    }

    #[test]
    fn clock_step_begins_epoch_and_stall_does_not() {
        for step in [-3_600_000_000_i64, 7_200_000_000] {
            let mut run = Run::new();
            let mut epochs = 0;
            for i in 0..300 {
                let set = if i >= 150 { step } else { 0 };
                let stamp = run.at(10_000_000_000 + i * FRAME_US + set, 30_000 + i * FRAME_US);
                epochs = stamp.epoch;
                if i > 200 {
                    assert_eq!((stamp.epoch, stamp.queue_us), (1, 0), "{i}");
                }
            }
            assert_eq!(epochs, 1);
        }
        // Three seconds of silence, then everything at once.
        let mut run = Run::new();
        for i in 0..600 {
            let sent = 30_000 + i * FRAME_US;
            let arrival = if (200..380).contains(&i) { 30_000 + 380 * FRAME_US + (i - 200) * 50 } else { sent };
            let stamp = run.at(i * FRAME_US, arrival);
            assert_eq!(stamp.epoch, 0);
            if i >= 380 {
                assert!(stamp.queue_us < 10_000);
            }
        }
    }

    #[test]
    fn clock_single_wrong_stamp_changes_nothing() {
        let mut run = Run::new();
        for i in 0..300 {
            let wrong = if i == 150 { 400_000 } else { 0 };
            let stamp = run.at(i * FRAME_US + wrong, 30_000 + i * FRAME_US);
            if i > 150 {
                assert!(stamp.queue_us < 1000, "{i}: {stamp:?}");
            }
        }
    }

    #[test]
    fn clock_longer_path_is_accepted_after_two_seconds() {
        let mut run = Run::new();
        let mut queued = 0;
        for i in 0..360 {
            let delay = if i < 120 { 10_000 } else { 110_000 };
            let jitter = run.chance() % 5000;
            let stamp = run.at(i * FRAME_US, i * FRAME_US + delay + jitter);
            queued += usize::from(stamp.queue_us > 50_000);
        }
        assert!((100..140).contains(&queued), "{queued}");
        // A queue that builds up is not a step of the clock, however long it stands.
        let mut run = Run::new();
        for i in 0..1200_i64 {
            let queue = (i - 120).clamp(0, 30) * 5000;
            let stamp = run.at(i * FRAME_US, i * FRAME_US + 10_000 + queue);
            if i > 160 {
                assert!(stamp.queue_us > 140_000, "{i}: {stamp:?}");
            }
        }
    }

    #[test]
    fn clock_missing_stamps_assume_even_pace() {
        let mut run = Run::new();
        let mut worst = 0;
        for i in 0..400 {
            let arrival = i * FRAME_US + run.chance() % 8000;
            let stamp = run.clock.record(None, run.start + Duration::from_micros(arrival as u64));
            if i > 100 {
                worst = worst.max((stamp.capture_us + stamp.base_us - i * FRAME_US).abs());
            }
        }
        assert!(worst < 8000, "{worst}");
    }
}
