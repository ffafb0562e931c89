//! When to try again.

use std::time::Duration;

use crate::time::Instant;

/// Failures before the delays grow to the longest: whatever failed is likely to return within the first half minute.
const PATIENT: u32 = 25;

/// Exponential backoff with jitter.
///
/// The first retry follows after a quarter of the first delay. After that the delay doubles, to a fifth of the longest
/// one for the first 25 failures and to the longest one from there on. Each is multiplied by a random factor from 0.5
/// to 1.5, so that the clients of an endpoint that restarts do not return in step.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    at: Option<Instant>,
    random: fastrand::Rng,
}

impl Backoff {
    /// A backoff with nothing scheduled. `first` is the delay after the second failure; `longest` counts before jitter.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, at: None, random: fastrand::Rng::with_seed(seed) }
    }

    /// An attempt failed: schedules the next one.
    pub fn failed(&mut self, now: Instant) {
        let full = match self.failures {
            0 => self.first / 4,
            n @ 1..PATIENT => (self.first * 2_u32.saturating_pow(n.min(16) - 1)).min(self.longest / 5),
            n => (self.longest / 5 * 2_u32.saturating_pow((n - PATIENT).min(16))).min(self.longest),
        };
        self.failures = self.failures.saturating_add(1);
        self.at = Some(now + full.mul_f64(0.5 + self.random.f64()));
    }

    /// Schedules an attempt for now, and forgets the failures.
    pub fn reset(&mut self, now: Instant) {
        self.failures = 0;
        self.at = Some(now);
    }

    /// The connection had been stable: the next delay is the first one again. Leaves the schedule as it is.
    pub fn stable(&mut self) {
        self.failures = 0;
    }

    /// When the next attempt is due; `None` while none is scheduled.
    pub fn at(&self) -> Option<Instant> {
        self.at
    }

    /// Whether an attempt is due, which counts as made.
    pub fn take_due(&mut self, now: Instant) -> bool {
        let due = self.at.is_some_and(|at| at <= now);
        if due {
            self.at = None;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_delays_grow_with_jitter_to_the_longest() {
        let start = Instant::now();
        for seed in 0..50 {
            let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10), seed);
            assert!(!backoff.take_due(start), "nothing is scheduled");
            backoff.reset(start);
            assert!(backoff.take_due(start) && !backoff.take_due(start));
            let mut longest = Duration::ZERO;
            for failure in 0..40 {
                backoff.failed(start);
                let delay = backoff.at().expect("scheduled").duration_since(start);
                if failure == 0 {
                    assert!(delay <= Duration::from_millis(94), "{delay:?}");
                }
                if failure < PATIENT {
                    assert!(delay <= Duration::from_secs(3), "{failure}: {delay:?}");
                }
                longest = longest.max(delay);
            }
            assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&longest), "{longest:?}");
            backoff.stable();
            backoff.failed(start);
            assert!(backoff.at().is_some_and(|at| at <= start + Duration::from_millis(94)));
        }
    }

    #[test]
    fn backoff_seed_decides_the_jitter() {
        let start = Instant::now();
        let delays = |seed| {
            let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5), seed);
            (0..10).map(move |_| (backoff.failed(start), backoff.at()).1).collect::<Vec<_>>()
        };
        assert_eq!(delays(1), delays(1));
        assert_ne!(delays(1), delays(2));
    }
}
