//! How far behind a stream has to be shown, and what its queue does.

use std::collections::VecDeque;

use super::{LossMeter, Order, Stamp, source_delay::SourceDelay};

/// Width of a step of the histogram, microseconds, and how many there are: half a second in all.
const STEP_US: i64 = 2_000;
const STEPS: usize = 256;
/// Steps whose weights are also kept as a sum, so that a quantile is found without looking at each.
const BLOCK: usize = 16;
/// A new frame weighs this much when all weights are scaled back to it weighing 1.
const MAX_WEIGHT: f32 = 1e4;
/// What weighs less by then is forgotten: ever smaller numbers would become slow ones.
const NOTHING: f32 = 1e-6;
/// A frame weighs 1/e of a new one after this time.
const MEMORY_US: f64 = 8_000_000.0;
/// And after this time when it was slow and none has been nearly as slow for a while: a queue that has gone.
const SHORT_MEMORY_US: f64 = 1_500_000.0;
const CALM_US: i64 = 1_500_000;
const NEARLY: f32 = 0.4;
/// Delays below this are no matter of forgetting, microseconds.
const SMALL_US: i64 = 20_000;

/// How late frames come, as a histogram that forgets, and the playout delay that covers most of them.
///
/// As NetEQ (WebRTC's audio jitter buffer) does: a high quantile of the delay above the least one, forgotten
/// exponentially.
#[derive(Clone, Debug)]
pub struct DelayMeter {
    /// Weights of the steps. They stay as they are while that of a new frame grows, so that nothing is done for each.
    steps: [f32; STEPS],
    blocks: [f32; STEPS / BLOCK],
    total: f32,
    /// What a new frame weighs.
    weight: f32,
    last_us: Option<i64>,
    slow_us: i64,
    high_us: i64,
    count: u32,
}

impl Default for DelayMeter {
    fn default() -> Self {
        Self {
            steps: [0.0; STEPS],
            blocks: [0.0; STEPS / BLOCK],
            total: 0.0,
            weight: 1.0,
            last_us: None,
            slow_us: 0,
            high_us: 0,
            count: 0,
        }
    }
}

impl DelayMeter {
    /// Notes a frame that arrived in its own packet; a repeat in a later packet does not measure the network delay.
    pub fn record(&mut self, stamp: &Stamp) {
        let arrival_us = stamp.arrival_us();
        if let Some(last) = self.last_us {
            let calm = self.high_us > SMALL_US && arrival_us - self.slow_us > CALM_US;
            let memory = if calm { SHORT_MEMORY_US } else { MEMORY_US };
            let keep = (-((arrival_us - last).max(0) as f64) / memory).exp() as f32;
            self.forget(keep);
        }
        self.last_us = Some(self.last_us.map_or(arrival_us, |last| last.max(arrival_us)));
        let step = usize::try_from(stamp.queue_us / STEP_US).unwrap_or(0).min(STEPS - 1);
        self.steps[step] += self.weight;
        self.blocks[step / BLOCK] += self.weight;
        self.total += self.weight;
        self.count = self.count.wrapping_add(1);
        if self.count % 8 == 1 {
            self.high_us = self.quantile_us(0.95);
        }
        if stamp.queue_us as f32 > NEARLY * self.high_us as f32 {
            self.slow_us = arrival_us;
        }
    }

    /// The delay that the share `quantile` of frames keep to, microseconds above the least.
    pub fn quantile_us(&self, quantile: f32) -> i64 {
        let mut left = self.total * (1.0 - quantile.clamp(0.0, 1.0));
        for (block, sum) in self.blocks.iter().enumerate().rev() {
            if left >= *sum {
                left -= sum;
                continue;
            }
            let first = block * BLOCK;
            for (step, weight) in self.steps.iter().enumerate().skip(first).take(BLOCK).rev() {
                left -= weight;
                // The sum may be greater by a rounding.
                if left < 0.0 || step == first {
                    // Within a step, as if its frames were spread evenly.
                    let into = if *weight > 0.0 { (1.0 + left / weight).clamp(0.0, 1.0) } else { 0.0 };
                    return step as i64 * STEP_US + ((1.0 - into) * STEP_US as f32) as i64;
                }
            }
        }
        0
    }

    /// What was recorded so far counts for this share of what it did, in proportion to what follows.
    fn forget(&mut self, keep: f32) {
        self.weight /= keep.clamp(1.0 / MAX_WEIGHT, 1.0);
        if self.weight < MAX_WEIGHT {
            return;
        }
        for (steps, sum) in self.steps.chunks_mut(BLOCK).zip(&mut self.blocks) {
            for step in steps.iter_mut() {
                *step /= self.weight;
                if *step < NOTHING {
                    *step = 0.0;
                }
            }
            *sum = steps.iter().sum();
        }
        self.total = self.blocks.iter().sum();
        self.weight = 1.0;
    }

    /// Share of frames that were slower than this, `0..=1`.
    pub fn slower_than(&self, delay_us: i64) -> f32 {
        if self.total <= 0.0 {
            return 0.0;
        }
        let from = usize::try_from(delay_us / STEP_US + 1).unwrap_or(0).min(STEPS);
        self.steps[from..].iter().sum::<f32>() / self.total
    }

    /// Forgets everything.
    pub fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The receiver's report on the delay of a stream's frames, over the last quarter of a second or so.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct DelayReport {
    /// The smallest delay of a frame above the smallest of all, milliseconds: the standing queue. Without what came in one step
    /// and stayed: that is the source's, which has become slower, and not the network's.
    pub standing_ms: f32,
    /// Median of it, milliseconds.
    pub median_ms: f32,
    /// 95th percentile of it, milliseconds.
    pub high_ms: f32,
    /// How fast it grows, milliseconds a second.
    pub slope: f32,
    /// Share of frames of the last few seconds that did not arrive in their own packets, `0..=1`; `None` when they are
    /// not numbered.
    pub loss: Option<f32>,
    /// Share of frames that came after their moment, `0..=1`.
    pub late: f32,
    /// Frames a second that came.
    pub fps: f32,
}

/// Window of a [`DelayReport`].
const WINDOW_US: i64 = 260_000;
/// At slow rates at least so many frames.
const FEWEST: usize = 4;
const MOST: usize = 64;
/// The rate is counted over this time.
const RATE_US: i64 = 1_000_000;

/// Makes the reports by which a sender's rate is decided.
#[derive(Clone, Debug, Default)]
pub struct LoadMeter {
    /// Arrival and queue, microseconds.
    recent: VecDeque<(i64, i64)>,
    source: SourceDelay,
    loss: LossMeter,
    numbered: bool,
    late: f32,
}

impl LoadMeter {
    /// Notes a frame. `repeated`: it came again in a later packet, because its own was lost or slow. `target_us` is the
    /// delay after which it is late.
    pub fn record(&mut self, stamp: &Stamp, sequence: Option<u64>, repeated: bool, target_us: i64) {
        if repeated {
            return;
        }
        let late = if stamp.queue_us > target_us { 1.0 } else { 0.0 };
        self.late += (late - self.late) / 64.0;
        if let Some(sequence) = sequence {
            self.numbered = true;
            if self.loss.record(sequence) == Order::Stale {
                return;
            }
        }
        if self.recent.len() == MOST {
            self.recent.pop_front();
        }
        self.recent.push_back((stamp.arrival_us(), stamp.queue_us.max(0)));
        self.source.record(&self.recent);
    }

    /// The state of the network path at a time, microseconds on our clock.
    pub fn report(&self, now_us: i64) -> DelayReport {
        let mut report =
            DelayReport { late: self.late, loss: self.loss.loss().filter(|_| self.numbered), ..DelayReport::default() };
        let since = now_us - WINDOW_US;
        let enough = self.recent.len().saturating_sub(FEWEST);
        let first = self.recent.iter().position(|(at, _)| *at >= since).unwrap_or(self.recent.len()).min(enough);
        let mut queues = [0_i64; MOST];
        let mut count = 0;
        for (place, (_, queue)) in queues.iter_mut().zip(self.recent.range(first..)) {
            *place = (*queue - self.source.us()).max(0);
            count += 1;
        }
        let Some(queues) = queues.get_mut(..count).filter(|queues| !queues.is_empty()) else { return report };
        queues.sort_unstable();
        let ms = |us: i64| us as f32 / 1000.0;
        report.standing_ms = ms(queues[0]);
        report.median_ms = ms(queues[count / 2]);
        report.high_ms = ms(queues[(count * 19 / 20).min(count - 1)]);
        report.slope = self.slope(first);
        let counted = self.recent.iter().filter(|(at, _)| *at > now_us - RATE_US);
        let (frames, oldest) = counted.fold((0, now_us), |(frames, oldest), (at, _)| (frames + 1, oldest.min(*at)));
        // A window that is full of a quick stream spans less than a second.
        report.fps = if frames > 1 {
            (frames - 1) as f32 / ((now_us - oldest).max(RATE_US / 4) as f32 / 1e6)
        } else {
            frames as f32
        };
        report
    }

    /// Forgets everything, for another sender.
    pub fn restart(&mut self) {
        *self = Self::default();
    }

    /// Least squares through arrival and queue: milliseconds a second.
    fn slope(&self, first: usize) -> f32 {
        let points = || self.recent.range(first..);
        let count = points().count() as f64;
        let Some((zero, _)) = points().next() else { return 0.0 };
        let (mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0);
        for (at, queue) in points() {
            let (x, y) = ((at - zero) as f64 / 1e6, *queue as f64 / 1e3);
            sx += x;
            sy += y;
            sxx += x * x;
            sxy += x * y;
        }
        let spread = count * sxx - sx * sx;
        if spread <= 1e-9 { 0.0 } else { ((count * sxy - sx * sy) / spread) as f32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(arrival_us: i64, queue_us: i64) -> Stamp {
        Stamp { capture_us: arrival_us - queue_us, queue_us, ..Stamp::default() }
    }

    #[test]
    fn delay_weights_scaled_back_change_no_quantile() {
        // As plain as it gets: every step is scaled with every frame.
        let mut plain = [0.0_f64; STEPS];
        let mut meter = DelayMeter::default();
        let (mut at, mut chance) = (0_i64, 1_u64);
        for i in 0..20_000_i64 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let gap = if i % 4000 == 3999 { 1_200_000 } else { 16_667 };
            at += gap;
            let queue = (chance >> 40) as i64 % 30_000 + if chance % 50 == 0 { 200_000 } else { 0 };
            // Frames in order of arrival.
            meter.record(&stamp(at, queue));
            let keep = (-(gap as f64) / MEMORY_US).exp();
            if i > 0 {
                plain.iter_mut().for_each(|step| *step *= keep);
            }
            plain[(queue / STEP_US) as usize] += 1.0;
            let (mut left, mut expected) = (plain.iter().sum::<f64>() * 0.05, 0);
            for (step, weight) in plain.iter().enumerate().rev() {
                left -= weight;
                if left < 0.0 {
                    expected = step as i64 * STEP_US;
                    break;
                }
            }
            let quantile = meter.quantile_us(0.95);
            assert!((quantile - expected).abs() <= 2 * STEP_US, "{i}: {quantile} and {expected}");
        }
        assert!(meter.weight >= 1.0 && meter.total.is_finite());
    }

    #[test]
    fn delay_quantile_follows_and_forgets() {
        let mut meter = DelayMeter::default();
        for i in 0..1200 {
            meter.record(&stamp(i * 16_667, i % 20 * 1000));
        }
        let high = meter.quantile_us(0.95);
        assert!((17_000..20_500).contains(&high), "{high}");
        assert!((meter.slower_than(9_999) - 0.5).abs() < 0.08, "{}", meter.slower_than(9_999));
        for i in 1200..3000 {
            meter.record(&stamp(i * 16_667, 0));
        }
        assert!(meter.quantile_us(0.95) < 4000);
    }

    #[test]
    fn delay_growing_queue_has_slope_and_standing_queue_none() {
        let mut load = LoadMeter::default();
        for i in 0..60 {
            load.record(&stamp(i * 16_667, i * 2000), Some(i as u64), false, 25_000);
        }
        let report = load.report(59 * 16_667);
        assert!((report.slope - 120.0).abs() < 5.0 && report.standing_ms > 80.0, "{report:?}");
        for i in 60..120 {
            load.record(&stamp(i * 16_667, 100_000), Some(i as u64), false, 25_000);
        }
        let report = load.report(119 * 16_667);
        assert!(report.slope.abs() < 1.0 && report.standing_ms == 100.0, "{report:?}");
        assert!((report.fps - 60.0).abs() < 3.0 && report.late > 0.6, "{report:?}");
        assert_eq!(report.loss, Some(0.0));
    }

    #[test]
    fn delay_repeated_frame_counts_as_lost() {
        let mut load = LoadMeter::default();
        for i in 0..600_u64 {
            load.record(&stamp(i as i64 * 16_667, 0), Some(i), i % 10 == 3, 25_000);
        }
        let loss = load.report(600 * 16_667).loss.unwrap_or_default();
        assert!((loss - 0.1).abs() < 0.03, "{loss}");
    }
}
