//! Fewer frames a second without losing what happens between them.

use std::time::Duration;

use crate::time::Instant;

use crate::{frame::FaceFrame, names::BLENDSHAPE_COUNT};

/// A value that went so far and came back is a peak.
const PEAK: f32 = 0.05;
/// Frames further apart than this do not belong together.
const PAUSE: Duration = Duration::from_millis(500);

/// Thins a stream of frames to a rate, keeping its peaks: a shape that went up or down between two frames that are sent, and
/// came back, is sent with the value where it turned, so that a blink between them is not lost.
#[derive(Clone, Debug, Default)]
pub struct Decimator {
    cadence: Cadence,
    peaks: Peaks,
    thinned: u64,
}

/// When the next frame of a thinned stream is due.
#[derive(Clone, Debug)]
pub(crate) struct Cadence {
    due: Option<Instant>,
    last: Option<Instant>,
    interval: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Self { due: None, last: None, interval: Duration::from_micros(16_667) }
    }
}

impl Cadence {
    /// Notes that a frame has come; `false` when the ones before do not belong to it.
    pub fn arrive(&mut self, now: Instant) -> bool {
        let mut follows = true;
        if let Some(gap) = self.last.map(|last| now.saturating_duration_since(last)) {
            if gap > PAUSE {
                self.due = None;
                follows = false;
            } else if !gap.is_zero() {
                self.interval = self.interval.mul_f32(0.9) + gap.mul_f32(0.1);
            }
        }
        self.last = Some(now);
        follows
    }

    /// Whether the frame that has come is kept, at one a `period`. The cadence holds while the source keeps up with it.
    pub fn take(&mut self, period: Duration, now: Instant) -> bool {
        let slack = self.interval.min(period) / 2;
        if self.due.is_some_and(|due| now + slack < due) {
            return false;
        }
        self.due = Some(self.due.filter(|due| *due + period > now).unwrap_or(now) + period);
        true
    }

    /// Keeps the frame that has come, whenever it was due.
    pub fn force(&mut self, period: Duration, now: Instant) {
        self.due = Some(now + period);
    }
}

/// How far each shape went since the last frame that is kept.
#[derive(Clone, Debug)]
pub(crate) struct Peaks {
    kept: [f32; BLENDSHAPE_COUNT],
    low: [f32; BLENDSHAPE_COUNT],
    high: [f32; BLENDSHAPE_COUNT],
    waiting: bool,
}

impl Default for Peaks {
    fn default() -> Self {
        let zero = [0.0; BLENDSHAPE_COUNT];
        Self { kept: zero, low: zero, high: zero, waiting: false }
    }
}

impl Peaks {
    /// Takes in a frame, which may be left out.
    pub fn gather(&mut self, frame: &FaceFrame) {
        for (i, value) in frame.weights.into_iter().enumerate() {
            if self.waiting {
                self.low[i] = self.low[i].min(value);
                self.high[i] = self.high[i].max(value);
            } else {
                (self.low[i], self.high[i]) = (value, value);
            }
        }
        self.waiting = true;
    }

    /// Forgets what was gathered since the last frame that is kept.
    pub fn forget(&mut self) {
        self.waiting = false;
    }

    /// Gives a frame that is kept the peaks since the one before.
    pub fn keep(&mut self, frame: &mut FaceFrame) {
        for (i, weight) in frame.weights.iter_mut().enumerate().filter(|_| self.waiting) {
            let (kept, newest) = (self.kept[i], *weight);
            let above = self.high[i] - kept.max(newest);
            let below = kept.min(newest) - self.low[i];
            if above.max(below) > PEAK {
                *weight = if above >= below { self.high[i] } else { self.low[i] };
            }
        }
        self.kept = frame.weights;
        self.waiting = false;
    }
}

impl Decimator {
    /// Takes a frame of the source; `true` when it is to be sent, with the peaks since the last one in it. At most `fps`
    /// frames a second are.
    pub fn offer(&mut self, frame: &mut FaceFrame, fps: f32, now: Instant) -> bool {
        let period = Duration::from_secs_f32(1.0 / fps.clamp(1.0, 1000.0));
        if !self.cadence.arrive(now) {
            self.peaks.forget();
        }
        // A lost face has no peaks to keep, and must not be delayed.
        if !frame.tracked {
            self.peaks.forget();
            self.cadence.force(period, now);
            return true;
        }
        self.peaks.gather(frame);
        if !self.cadence.take(period, now) {
            self.thinned += 1;
            return false;
        }
        self.peaks.keep(frame);
        true
    }

    /// Frames that were left out, their peaks kept.
    pub fn thinned(&self) -> u64 {
        self.thinned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Blendshape;

    #[test]
    fn decimate_blink_survives_ten_frames_a_second() {
        let start = Instant::now();
        for phase in 0..12 {
            let mut decimator = Decimator::default();
            let (mut sent, mut most) = (0, 0.0_f32);
            for i in 0..300_u64 {
                let mut frame = FaceFrame::neutral();
                let into = i as f32 - 120.0 - phase as f32;
                frame.set(Blendshape::EyeBlinkLeft, (1.0 - into.abs() / 4.0).max(0.0));
                if decimator.offer(&mut frame, 10.0, start + Duration::from_micros(16_667 * i)) {
                    sent += 1;
                    most = most.max(frame.weights[Blendshape::EyeBlinkLeft.index()]);
                }
            }
            assert!((49..=52).contains(&sent), "{sent}");
            assert!(most > 0.95, "{phase}: {most}");
            assert_eq!(decimator.thinned() + sent, 300);
        }
    }

    #[test]
    fn decimate_source_at_rate_loses_nothing() {
        let start = Instant::now();
        let mut decimator = Decimator::default();
        let sent = (0..600_u64).filter(|i| {
            let at = start + Duration::from_micros(16_667 * i + (i * 7919) % 6000);
            decimator.offer(&mut FaceFrame::neutral(), 60.0, at)
        });
        assert!(sent.count() >= 598);
        // And one that is a little quicker is thinned to the rate.
        let mut decimator = Decimator::default();
        let sent = (0..1200_u64)
            .filter(|i| decimator.offer(&mut FaceFrame::neutral(), 60.0, start + Duration::from_micros(8_333 * i)))
            .count();
        assert!((590..=610).contains(&sent), "{sent}");
    }
}
