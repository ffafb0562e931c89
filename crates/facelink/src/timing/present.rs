//! The presentation time of a rendered frame, from the time at which the engine began it.

use std::time::Duration;

use crate::time::Instant;

/// A step this much longer or shorter than the last ones is a hitch, and is followed at once.
const HITCH: f64 = 0.6;
/// Rendered frames slower than this are evaluated for their start, seconds: an error of a part of one would be seen.
const SLOW: f64 = 0.05;
/// Evaluated for at most this long after or before a rendered frame begins, seconds.
const MOST: f64 = 0.008;
/// Share of an error that is corrected in one rendered frame.
const PULL: f64 = 0.1;

/// Evens out the times at which an engine begins its rendered frames.
///
/// They are shown at the pace of the display, whatever the moment at which the systems of a game get to run: a face that is
/// evaluated for the uneven moments trembles.
#[derive(Clone, Copy, Debug, Default)]
pub struct PresentClock {
    last: Option<(Instant, Instant)>,
    step: f64,
}

impl PresentClock {
    /// The presentation time of the rendered frame that begins now. Runs forward only.
    pub fn tick(&mut self, now: Instant) -> Instant {
        let Some((begun, shown)) = self.last else {
            self.last = Some((now, now));
            return now;
        };
        let step = now.saturating_duration_since(begun).as_secs_f64();
        let even = if self.step > 0.0 && self.step < SLOW && (step - self.step).abs() < HITCH * self.step {
            self.step += (step - self.step) * PULL;
            let ahead = shown + Duration::from_secs_f64(self.step);
            let late = now.saturating_duration_since(ahead).as_secs_f64();
            let early = ahead.saturating_duration_since(now).as_secs_f64();
            if late.max(early) > (HITCH * self.step).min(MOST) {
                now
            } else {
                ahead + Duration::from_secs_f64(late * PULL) - Duration::from_secs_f64(early * PULL)
            }
        } else {
            self.step = if self.step > 0.0 { self.step + (step - self.step) * 0.25 } else { step };
            now
        };
        let even = even.max(shown);
        self.last = Some((now, even));
        even
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn present_uneven_frames_are_evened_and_hitches_followed() {
        let start = Instant::now();
        let mut clock = PresentClock::default();
        let at = |us: u64| start + Duration::from_micros(us);
        let (mut last, mut worst) = (None, 0_f64);
        for i in 0..600_u64 {
            let shown = clock.tick(at(i * 16_667 + (i * 7919) % 4000));
            if let Some(last) = last
                && i > 60
            {
                worst = worst.max((shown.saturating_duration_since(last).as_secs_f64() - 0.016_667).abs());
            }
            last = Some(shown);
        }
        assert!(worst < 0.001, "{worst}");
        let hitch = at(600 * 16_667 + 300_000);
        assert_eq!(clock.tick(hitch), hitch);
        // A slide show is not foreseen.
        let mut slow = PresentClock::default();
        for i in 0..20_u64 {
            let now = at(i * 4_000_000 + (i * 7919) % 1_500_000);
            assert_eq!(slow.tick(now), now);
        }
    }
}
