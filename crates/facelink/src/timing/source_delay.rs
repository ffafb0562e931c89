//! Delay that is the source's own, and not the network's.
//!
//! A frame's time counts from its capture, and a tracker that becomes slower sends later. Seen from the receiver, the delay of all
//! frames has grown, as if they queued. The difference is how it grew: a queue fills packet by packet, because it is fed
//! faster than it empties; a source, a path or a clock changes between two frames, and then stays.

use std::collections::VecDeque;

/// A smaller step is not worth telling from jitter, microseconds.
const LEAST_US: i64 = 12_000;
/// Frames on either side of a step by which it is known.
const FEWEST: usize = 4;
/// The frames next to a step, which have to show all of it.
const NEXT: usize = 3;
/// Frames before it that are looked at.
const BEFORE: usize = 8;
/// So long the delay has to stay, microseconds; or for [`SOON`] frames.
const STAYS_US: i64 = 150_000;
const SOON: usize = 8;
/// Between two steps, microseconds. What rises again and again is a queue after all.
const APART_US: i64 = 1_000_000;

/// The part of a stream's delay that came in steps.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceDelay {
    delay_us: i64,
    last_us: i64,
    stepped_us: Option<i64>,
}

impl SourceDelay {
    /// The source's own delay above the least one, microseconds.
    pub const fn us(&self) -> i64 {
        self.delay_us
    }

    /// Notes the newest of these frames: arrival, and delay above the least one.
    pub fn record(&mut self, frames: &VecDeque<(i64, i64)>) {
        let Some(&(now_us, newest_us)) = frames.back() else { return };
        // Two frames in a row that came sooner; a single one may have a wrong stamp.
        self.delay_us = self.delay_us.min(newest_us.max(self.last_us));
        self.last_us = newest_us;
        let waits = self.stepped_us.is_some_and(|at| now_us - at < APART_US);
        if waits || least(frames, frames.len().saturating_sub(FEWEST), frames.len()) < self.delay_us + LEAST_US {
            return;
        }
        if let Some(step_us) = step(frames) {
            self.delay_us += step_us;
            self.stepped_us = Some(now_us);
        }
    }
}

fn least(frames: &VecDeque<(i64, i64)>, from: usize, to: usize) -> i64 {
    frames.range(from..to).map(|(_, delay)| *delay).min().unwrap_or(0)
}

/// The height of the step in the newest frames.
fn step(frames: &VecDeque<(i64, i64)>) -> Option<i64> {
    let count = frames.len();
    let (now_us, _) = *frames.back()?;
    let height = |at: usize| least(frames, at, at + NEXT) - least(frames, at - NEXT, at);
    let at = (FEWEST..(count + 1).saturating_sub(FEWEST)).max_by_key(|at| height(*at))?;
    let height = height(at);
    let stays = count - at >= SOON || now_us - frames.get(at)?.0 >= STAYS_US;
    if height < LEAST_US || !stays {
        return None;
    }
    // Level on both sides: a queue has risen before, and rises or falls after.
    let level = |from: usize, to: usize| {
        let middle = usize::midpoint(from, to);
        (least(frames, from, middle) - least(frames, middle, to)).abs() <= height / 2
    };
    let first = at.saturating_sub(BEFORE);
    (level(first, at) && level(at, count)).then(|| least(frames, at, count) - least(frames, first, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: i64 = 33_333;

    /// The source's share of the delay after each frame.
    fn shares(delays: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut source = SourceDelay::default();
        let mut frames = VecDeque::new();
        delays
            .into_iter()
            .enumerate()
            .map(|(i, delay_us)| {
                frames.push_back((i as i64 * FRAME_US + delay_us, delay_us));
                if frames.len() > 64 {
                    frames.pop_front();
                }
                source.record(&frames);
                source.us()
            })
            .collect()
    }

    #[test]
    fn source_delay_step_is_the_sources() {
        let shares = shares((0..90).map(|i| if i < 30 { 1_000 } else { 41_000 } + i * 37 % 5 * 700));
        assert_eq!(shares[29], 0);
        // Known before a quarter of a second is full of it.
        assert!((35_000..=42_000).contains(&shares[36]), "{shares:?}");
        assert!(shares[36..].iter().all(|us| (35_000..=42_000).contains(us)), "{shares:?}");
    }

    #[test]
    fn source_delay_gone_is_forgotten() {
        let shares = shares((0..90).map(|i| if (30..60).contains(&i) { 60_000 } else { 0 }));
        assert_eq!((shares[45], shares[59], shares[61]), (60_000, 60_000, 0), "{shares:?}");
        // One frame that came sooner than the others says nothing.
        let once = self::shares((0..90).map(|i| if i < 30 || i == 50 { 0 } else { 60_000 }));
        assert_eq!(once[89], 60_000);
    }

    #[test]
    fn source_delay_queue_is_not_the_sources() {
        for per_frame in [300, 1_000, 2_000, 5_000, 10_000] {
            let queue = shares((0..120).map(|i| (i - 30).clamp(0, 60) * per_frame));
            assert_eq!(queue.iter().max(), Some(&0), "{per_frame} µs a frame");
        }
        // A stall: what waited comes at once, each later frame less late.
        let stall = shares((0..120).map(|i| if i % 30 < 5 { 150_000 - i % 30 * FRAME_US } else { 0 }));
        assert_eq!(stall.iter().max(), Some(&0), "a stall");
    }

    #[test]
    fn source_delay_jitter_leaves_no_share() {
        let mut chance = 7_u64;
        let jitter = (0..3000).map(|_| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) as i64 % 30_000
        });
        let shares = shares(jitter);
        let sum: i64 = shares.iter().sum();
        assert!(sum / (shares.len() as i64) < 2_000, "{} µs on average", sum / shares.len() as i64);
    }
}
