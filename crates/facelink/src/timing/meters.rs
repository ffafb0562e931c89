//! Statistics of a stream, over about the last second.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

/// Frames a second, counted over the last second.
#[derive(Clone, Debug, Default)]
pub struct RateMeter {
    arrivals: VecDeque<Instant>,
}

impl RateMeter {
    const WINDOW: Duration = Duration::from_secs(1);
    /// More than any face sends; keeps a flood from growing the window.
    const MOST: usize = 2048;

    /// Notes an arrival.
    pub fn record(&mut self, now: Instant) {
        self.forget(now);
        if self.arrivals.len() == Self::MOST {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
    }

    /// Frames a second up to `now`; 0 when nothing came for a second.
    pub fn fps(&self, now: Instant) -> f32 {
        let live = self.arrivals.iter().filter(|at| now.saturating_duration_since(**at) < Self::WINDOW);
        let (count, first) = live.fold((0_u32, None), |(count, first), at| (count + 1, first.or(Some(*at))));
        match first {
            Some(first) if count > 1 => {
                // A stream that has just begun has not filled the window yet.
                let span = now.saturating_duration_since(first).max(Duration::from_millis(100));
                (count - 1) as f32 / span.as_secs_f32()
            }
            _ => count as f32,
        }
    }

    fn forget(&mut self, now: Instant) {
        while self.arrivals.front().is_some_and(|at| now.saturating_duration_since(*at) >= Self::WINDOW) {
            self.arrivals.pop_front();
        }
    }
}

/// Interarrival jitter by RFC 3550, section 6.4.1: the smoothed difference of transit times.
#[derive(Clone, Copy, Debug, Default)]
pub struct JitterMeter {
    last: Option<(Instant, Option<Duration>)>,
    interval_ms: f32,
    jitter_ms: f32,
}

impl JitterMeter {
    /// Notes an arrival; `sent` is the sender's own clock, where it gives one. Without it, the distance from the mean
    /// interval stands in.
    pub fn record(&mut self, now: Instant, sent: Option<Duration>) {
        if let Some((last, last_sent)) = self.last {
            let arrived_ms = now.saturating_duration_since(last).as_secs_f32() * 1000.0;
            // A pause is no jitter.
            if arrived_ms < 1000.0 {
                let expected_ms = match (sent, last_sent) {
                    (Some(sent), Some(last_sent)) => (sent.as_secs_f64() - last_sent.as_secs_f64()) as f32 * 1000.0,
                    _ if self.interval_ms > 0.0 => self.interval_ms,
                    _ => arrived_ms,
                };
                if expected_ms.abs() < 1000.0 {
                    self.jitter_ms += ((arrived_ms - expected_ms).abs() - self.jitter_ms) / 16.0;
                }
                let pull = if self.interval_ms > 0.0 { 1.0 / 16.0 } else { 1.0 };
                self.interval_ms += (arrived_ms - self.interval_ms) * pull;
            }
        }
        self.last = Some((now, sent));
    }

    /// Milliseconds.
    pub fn jitter_ms(&self) -> f32 {
        self.jitter_ms
    }
}

/// Share of numbered frames that did not come, over the last few hundred frames.
#[derive(Clone, Copy, Debug, Default)]
pub struct LossMeter {
    newest: Option<u64>,
    step: u64,
    expected: f32,
    received: f32,
    /// Stale frames since the last newer one.
    stale: u32,
}

/// What a frame number means for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Newer than all before, or the first of a new count.
    Newer,
    /// Came after a newer one: late, or twice.
    Stale,
}

impl LossMeter {
    /// A step back further than this is a new count (a restart, or midnight), not a late frame.
    const LATE: u64 = 256;
    /// A step ahead further than this is a new count, not a gap.
    const GAP: u64 = 1024;
    const MEMORY: f32 = 300.0;
    /// After so many stale frames in a row it is the count that cannot be trusted: a sender that always says the same
    /// number, or one that started anew just below its old count.
    const MAX_STALE: u32 = 30;

    /// Notes a numbered frame.
    ///
    /// Live Link Face numbers by its timecode's rate, so that a 30 fps stream counts in twos: a step that keeps coming is
    /// taken as the count's own.
    pub fn record(&mut self, number: u64) -> Order {
        let Some(newest) = self.newest else {
            self.newest = Some(number);
            return Order::Newer;
        };
        if number <= newest && newest - number < Self::LATE && self.stale < Self::MAX_STALE {
            self.stale += 1;
            return Order::Stale;
        }
        if number == newest {
            return Order::Newer;
        }
        self.stale = 0;
        let gap = number.wrapping_sub(newest);
        self.newest = Some(number);
        if number < newest || gap > Self::GAP {
            self.step = 0;
            return Order::Newer;
        }
        // The smallest step seen is the count's own; it may shrink at once and grows only when a stream restarts.
        if self.step == 0 || gap < self.step {
            self.step = gap;
        }
        let frames = (gap / self.step.max(1)) as f32;
        let keep = (1.0 - frames / Self::MEMORY).max(0.0);
        self.expected = self.expected * keep + frames;
        self.received = self.received * keep + 1.0;
        Order::Newer
    }

    /// Notes a frame that was counted as lost and has come all the same.
    pub fn record_late(&mut self) {
        self.received = (self.received + 1.0).min(self.expected);
    }

    /// The count begins anew; what was lost so far still counts.
    pub fn restart_count(&mut self) {
        (self.newest, self.step, self.stale) = (None, 0, 0);
    }

    /// `0..=1`; `None` before the first sample.
    pub fn loss(&self) -> Option<f32> {
        (self.expected > 0.0).then(|| (1.0 - self.received / self.expected).clamp(0.0, 1.0))
    }
}

/// Exponential average that starts at its first sample.
#[derive(Clone, Copy, Debug, Default)]
pub struct Average(Option<f32>);

impl Average {
    /// Adds a sample with a weight of 1/16, for samples that arrive with every frame; anything that is not finite is
    /// ignored.
    pub fn record(&mut self, sample: f32) {
        self.record_weighted(sample, 1.0 / 16.0);
    }

    /// Adds a sample with a weight of its own, `0..=1`.
    pub fn record_weighted(&mut self, sample: f32, weight: f32) {
        if sample.is_finite() {
            self.0 = Some(self.0.map_or(sample, |mean| mean + (sample - mean) * weight));
        }
    }

    /// The average, once there is a sample.
    pub fn get(&self) -> Option<f32> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn meters_rate_of_steady_stream_and_of_silence() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        for i in 0..120 {
            meter.record(start + Duration::from_micros(16_667 * i));
        }
        let end = start + Duration::from_micros(16_667 * 119);
        assert!((meter.fps(end) - 60.0).abs() < 1.5, "{}", meter.fps(end));
        assert_eq!(meter.fps(end + ms(1001)), 0.0);
    }

    #[test]
    fn meters_jitter_of_steady_and_of_shaky_stream() {
        let start = Instant::now();
        let (mut steady, mut shaky) = (JitterMeter::default(), JitterMeter::default());
        for i in 0..400_u64 {
            let sent = ms(20 * i);
            steady.record(start + sent + ms(7), Some(sent));
            shaky.record(start + sent + ms(7 + 10 * (i % 2)), Some(sent));
        }
        assert!(steady.jitter_ms() < 0.01);
        assert!((shaky.jitter_ms() - 10.0).abs() < 0.5, "{}", shaky.jitter_ms());
    }

    #[test]
    fn meters_loss_late_frames_and_restarted_counts() {
        let mut meter = LossMeter::default();
        for number in (0..1000).filter(|number| number % 10 != 3) {
            assert_eq!(meter.record(number), Order::Newer);
        }
        assert!((meter.loss().unwrap_or_default() - 0.1).abs() < 0.02, "{:?}", meter.loss());
        assert_eq!(meter.record(998), Order::Stale);
        assert_eq!(meter.record(999), Order::Stale);
        assert_eq!(meter.record(5), Order::Newer, "a restarted sender counts from the start");
        assert_eq!(meter.record(6), Order::Newer);
    }

    #[test]
    fn meters_constant_count_does_not_freeze_face() {
        let mut meter = LossMeter::default();
        let taken = (0..200).filter(|_| meter.record(7) == Order::Newer).count();
        assert!(taken > 150, "{taken}");
        let mut restarted = LossMeter::default();
        restarted.record(100);
        let taken = (0..100).filter(|number| restarted.record(*number) == Order::Newer).count();
        assert_eq!(taken, 70);
    }

    #[test]
    fn meters_count_in_twos_is_no_loss() {
        let mut meter = LossMeter::default();
        for number in 0..500 {
            meter.record(1000 + number * 2);
        }
        assert_eq!(meter.loss(), Some(0.0));
    }
}
