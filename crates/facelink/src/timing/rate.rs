//! How fast a sender should send.

/// What is known of a link when its rate is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LinkReport {
    /// Average latency, milliseconds; `None` when it cannot be known.
    pub latency_ms: Option<f32>,
    /// Share of frames lost, `0..=1`; `None` when frames are not numbered.
    pub loss: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: f32,
}

impl LinkReport {
    /// A report of a latency alone.
    pub fn of_latency(latency_ms: f32) -> Self {
        Self { latency_ms: Some(latency_ms), ..Self::default() }
    }
}

/// Decides the rate of one sender. Asked once a second.
pub trait RateController: Send + std::fmt::Debug {
    /// Takes the newest report and gives the rate from now on, frames a second.
    fn update(&mut self, report: &LinkReport) -> f32;

    /// The rate in force, frames a second.
    fn target_fps(&self) -> f32;
}

/// The migration guide's law: five frames a second less when the average latency is above 50 ms, five more when it is
/// below 10 ms, between 15 and 60.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuideLaw {
    min_fps: f32,
    max_fps: f32,
    fps: f32,
}

impl GuideLaw {
    /// Latency above which the rate falls, milliseconds.
    pub const HIGH_MS: f32 = 50.0;
    /// Latency below which the rate rises, milliseconds.
    pub const LOW_MS: f32 = 10.0;
    /// Size of a step, frames a second.
    pub const STEP_FPS: f32 = 5.0;

    /// Starts at the highest rate. Bounds are in frames a second; a lower bound above the upper one is lowered to it.
    pub fn new(min_fps: f32, max_fps: f32) -> Self {
        let max_fps = max_fps.clamp(1.0, 1000.0);
        Self { min_fps: min_fps.clamp(1.0, max_fps), max_fps, fps: max_fps }
    }
}

impl Default for GuideLaw {
    fn default() -> Self {
        Self::new(15.0, 60.0)
    }
}

impl RateController for GuideLaw {
    fn update(&mut self, report: &LinkReport) -> f32 {
        if let Some(latency) = report.latency_ms {
            if latency > Self::HIGH_MS {
                self.fps = (self.fps - Self::STEP_FPS).max(self.min_fps);
            } else if latency < Self::LOW_MS {
                self.fps = (self.fps + Self::STEP_FPS).min(self.max_fps);
            }
        }
        self.fps
    }

    fn target_fps(&self) -> f32 {
        self.fps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guides_steps() {
        let mut law = GuideLaw::default();
        assert_eq!(law.target_fps(), 60.0);
        assert_eq!(law.update(&LinkReport::of_latency(51.0)), 55.0);
        assert_eq!(law.update(&LinkReport::of_latency(30.0)), 55.0);
        assert_eq!(law.update(&LinkReport::default()), 55.0);
        for _ in 0..20 {
            law.update(&LinkReport::of_latency(200.0));
        }
        assert_eq!(law.target_fps(), 15.0);
        for _ in 0..20 {
            law.update(&LinkReport::of_latency(3.0));
        }
        assert_eq!(law.target_fps(), 60.0);
    }

    #[test]
    fn bounds_in_the_wrong_order_do_not_panic() {
        assert_eq!(GuideLaw::new(90.0, 30.0).update(&LinkReport::of_latency(99.0)), 30.0);
    }
}
