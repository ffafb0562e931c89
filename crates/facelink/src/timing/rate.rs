//! How fast a sender should send.

use std::time::Duration;

use crate::time::Instant;

use super::DelayReport;

/// The state of a link for a rate decision.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct LinkReport {
    /// Average latency, milliseconds; `None` when it cannot be known.
    pub latency_ms: Option<f32>,
    /// Share of frames lost, `0..=1`; `None` when frames are not numbered.
    pub loss: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    pub jitter_ms: f32,
    /// The standing queue, by the frames of the last moments.
    pub delay: DelayReport,
}

impl LinkReport {
    /// A report of a latency alone.
    pub fn of_latency(latency_ms: f32) -> Self {
        Self { latency_ms: Some(latency_ms), ..Self::default() }
    }

    /// A report of a queue alone.
    pub fn of_delay(delay: DelayReport) -> Self {
        Self { loss: delay.loss, delay, ..Self::default() }
    }
}

/// The rate decision: what a sender is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateDecision {
    /// Frames a second.
    pub fps: f32,
    /// How many earlier frames each packet should repeat.
    pub redundancy: u8,
}

/// Decides the rate of one sender.
pub trait RateController: Send + std::fmt::Debug {
    /// Takes the newest report, every tenth to quarter of a second, and gives what to ask for from now on.
    fn update(&mut self, report: &LinkReport, now: Instant) -> RateDecision;

    /// The present decision.
    fn decision(&self) -> RateDecision;
}

/// Which law decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
#[serde(rename_all = "snake_case")]
pub enum RateLaw {
    /// By the standing queue, the default: down the ladder 60, 30, 20, 15, 10 when frames queue, up again when they do not
    /// ([`NetworkLaw`]). Loss alone is answered by repeating frames.
    #[default]
    Network,
    /// By the latency, as the migration guide has it: 5 fewer above 50 ms, 5 more below 10 ms, once a second, and never
    /// below 15 ([`GuideLaw`]).
    Guide,
}

/// How the frame rate of senders follows their links.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateSettings {
    /// Off: senders keep their rate. On by default.
    pub enabled: bool,
    /// Which law decides; [`RateLaw::Network`] by default.
    pub law: RateLaw,
    /// Lowest rate that a sender is asked for, frames a second; 10 by default.
    pub min_fps: f32,
    /// Highest rate that a sender is asked for, frames a second; 60 by default.
    pub max_fps: f32,
}

impl Default for RateSettings {
    fn default() -> Self {
        Self { enabled: true, law: RateLaw::default(), min_fps: 10.0, max_fps: 60.0 }
    }
}

impl RateSettings {
    /// A controller by these settings, at the highest rate.
    pub fn controller(self) -> Box<dyn RateController> {
        self.law.controller(self.min_fps, self.max_fps)
    }
}

impl RateLaw {
    /// A controller of this law, between two rates in frames a second.
    pub fn controller(self, min_fps: f32, max_fps: f32) -> Box<dyn RateController> {
        match self {
            Self::Network => Box::new(NetworkLaw::new(min_fps, max_fps)),
            // As the guide has it: not below 15, whatever the ladder's last step is.
            Self::Guide => Box::new(GuideLaw::new(min_fps.max(15.0), max_fps)),
        }
    }
}

/// The migration guide's law: five frames a second less when the average latency is above 50 ms, five more when it is
/// below 10 ms, between 15 and 60; once a second.
///
/// It is the baseline. Latency is not congestion: on a link of 200 ms it sends 15 frames a second for ever.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuideLaw {
    min_fps: f32,
    max_fps: f32,
    fps: f32,
    last: Option<Instant>,
}

impl GuideLaw {
    /// Latency above which the rate falls, milliseconds.
    pub const HIGH_MS: f32 = 50.0;
    /// Latency below which the rate rises, milliseconds.
    pub const LOW_MS: f32 = 10.0;
    /// Size of a step, frames a second.
    pub const STEP_FPS: f32 = 5.0;
    /// Time between two steps.
    pub const INTERVAL: Duration = Duration::from_secs(1);

    /// Starts at the highest rate. Bounds are in frames a second; a lower bound above the upper one is lowered to it.
    pub fn new(min_fps: f32, max_fps: f32) -> Self {
        let (min_fps, max_fps) = bounds(min_fps, max_fps);
        Self { min_fps, max_fps, fps: max_fps, last: None }
    }
}

fn bounds(min_fps: f32, max_fps: f32) -> (f32, f32) {
    let max_fps = max_fps.clamp(1.0, 1000.0);
    (min_fps.clamp(1.0, max_fps), max_fps)
}

impl Default for GuideLaw {
    fn default() -> Self {
        Self::new(15.0, 60.0)
    }
}

impl RateController for GuideLaw {
    fn update(&mut self, report: &LinkReport, now: Instant) -> RateDecision {
        // Slightly less, for reports are not on time to the microsecond.
        let early = Self::INTERVAL.mul_f32(0.95);
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < early) {
            return self.decision();
        }
        self.last = Some(now);
        if let Some(latency) = report.latency_ms {
            if latency > Self::HIGH_MS {
                self.fps = (self.fps - Self::STEP_FPS).max(self.min_fps);
            } else if latency < Self::LOW_MS {
                self.fps = (self.fps + Self::STEP_FPS).min(self.max_fps);
            }
        }
        self.decision()
    }

    fn decision(&self) -> RateDecision {
        RateDecision { fps: self.fps, redundancy: 0 }
    }
}

/// Steps of the ladder: divisors of the highest rate, which keep the cadence of a source: 60, 30, 20, 15, 10.
const DIVISORS: [f32; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];

/// By the standing queue, and not by the latency of the path.
///
/// The load on a network is in packets, for the header of one is larger than the face in it: so the frame rate is what
/// changes. It steps down the ladder when frames queue and the queue does not shrink; up again when the queue has been
/// empty for a while, and more hesitantly after a step that had to be taken back. Loss without a queue is no
/// congestion: then packets repeat earlier frames, at the same rate.
#[derive(Clone, Debug)]
pub struct NetworkLaw {
    rungs: [f32; DIVISORS.len()],
    count: usize,
    rung: usize,
    redundancy: u8,
    /// When the queue began to be high, to be empty, and loss to be random.
    high: Option<Instant>,
    calm: Option<Instant>,
    lossy: Option<Instant>,
    clean: Option<Instant>,
    changed: Option<Instant>,
    climbed: Option<Instant>,
    /// When the queue was high last, while reports may remember what it lost.
    queued: Option<Instant>,
    settle: Duration,
    wait: Duration,
}

impl NetworkLaw {
    /// A standing queue above this is too much, milliseconds.
    pub const HIGH_MS: f32 = 30.0;
    /// Below this there is none, milliseconds.
    pub const LOW_MS: f32 = 10.0;
    /// Nor does it show below this: on a thin path packets of different sizes take different times, without any queue.
    const CALM_MS: f32 = 16.0;
    /// The queue has to be high for so long before the rate falls.
    pub const PATIENCE: Duration = Duration::from_millis(100);
    /// And empty for so long before it rises.
    pub const WAIT: Duration = Duration::from_secs(3);
    /// The longest that this grows to, after steps that had to be taken back.
    pub const LONGEST_WAIT: Duration = Duration::from_secs(60);
    /// A step that is taken back within this time was wrong.
    const TAKEN_BACK: Duration = Duration::from_secs(5);
    /// Time for a step to show in the queue.
    const SETTLE: Duration = Duration::from_millis(300);
    /// A queue that grows or shrinks, milliseconds a second.
    const GROWING: f32 = 20.0;
    /// Loss above which packets repeat one earlier frame, and two.
    pub const LOSSY: f32 = 0.02;
    const VERY_LOSSY: f32 = 0.12;
    /// Below this they stop.
    const CLEAN: f32 = 0.008;
    /// Loss together with a queue that is worth two steps.
    const HEAVY: f32 = 0.10;
    /// What a queue lost by overflowing is in the reports until the loss is below [`CLEAN`](Self::CLEAN), or for so long.
    const OVERFLOWED: Duration = Duration::from_secs(30);

    /// Starts at the highest rate. Bounds are in frames a second; a lower bound above the upper one is lowered to it.
    pub fn new(min_fps: f32, max_fps: f32) -> Self {
        let (min_fps, max_fps) = bounds(min_fps, max_fps);
        let mut rungs = [max_fps; DIVISORS.len()];
        let mut count = 0;
        for divisor in DIVISORS {
            let fps = max_fps / divisor;
            if count == 0 || fps >= min_fps * 0.999 {
                rungs[count] = fps;
                count += 1;
            }
        }
        Self {
            rungs,
            count,
            rung: 0,
            redundancy: 0,
            high: None,
            calm: None,
            lossy: None,
            clean: None,
            changed: None,
            climbed: None,
            queued: None,
            settle: Self::SETTLE,
            wait: Self::WAIT,
        }
    }

    fn down(&mut self, report: &DelayReport, now: Instant) {
        let before = self.rung;
        let heavy = report.loss.is_some_and(|loss| loss > Self::HEAVY);
        // What came through while the queue grew is all that fits: the rate above will not do until something changes.
        let full = report.fps > 1.0 && report.fps < self.rungs[before] * 0.95;
        let mut rung = self.rung + if heavy && !full { 2 } else { 1 };
        // And a step that the source would not notice is none. A climb returns to where it came from.
        let probation = self.on_probation(now);
        while !probation && rung + 1 < self.count && report.fps > 1.0 && self.rungs[rung] > report.fps * 0.97 {
            rung += 1;
        }
        self.rung = rung.min(self.count - 1);
        if self.rung == before {
            return;
        }
        if probation {
            self.wait = (self.wait * if full { 4 } else { 2 }).min(Self::LONGEST_WAIT);
        } else if full {
            self.wait = self.wait.max(Self::WAIT * 4);
        }
        self.climbed = None;
        self.changed = Some(now);
        // The standing queue has to drain before the step shows.
        self.settle = Self::SETTLE + Duration::from_secs_f32((report.standing_ms * 1.5).clamp(0.0, 1500.0) / 1000.0);
        self.high = None;
        self.calm = None;
    }

    fn on_probation(&self, now: Instant) -> bool {
        self.climbed.is_some_and(|at| now.saturating_duration_since(at) < Self::TAKEN_BACK)
    }

    fn up(&mut self, now: Instant) {
        if self.rung == 0 {
            // All is well for longer than a step takes: the past is forgotten.
            if self.climbed.is_some_and(|at| now.saturating_duration_since(at) > Self::LONGEST_WAIT) {
                self.wait = Self::WAIT;
                self.climbed = None;
            }
            return;
        }
        self.rung -= 1;
        self.climbed = Some(now);
        self.changed = Some(now);
        self.settle = Self::SETTLE / 3;
        self.calm = None;
    }

    fn repeat(&mut self, report: &DelayReport, now: Instant) {
        let Some(loss) = report.loss else { return };
        // A queue that overflows is cured by sending less, not more.
        if report.standing_ms > Self::HIGH_MS {
            self.queued = Some(now);
        } else if loss < Self::CLEAN {
            self.queued = None;
        }
        let overflowed = self.queued.is_some_and(|at| now.saturating_duration_since(at) < Self::OVERFLOWED);
        let random = loss > Self::LOSSY && report.standing_ms < Self::LOW_MS && !overflowed;
        self.lossy = random.then(|| self.lossy.unwrap_or(now));
        self.clean = (loss < Self::CLEAN).then(|| self.clean.unwrap_or(now));
        let since = |at: Option<Instant>| at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        if since(self.lossy) >= Duration::from_millis(200) {
            self.redundancy = if loss > Self::VERY_LOSSY { 2 } else { self.redundancy.max(1) };
        } else if report.standing_ms > Self::HIGH_MS || since(self.clean) >= Duration::from_secs(10) {
            self.redundancy = 0;
        }
    }
}

impl Default for NetworkLaw {
    fn default() -> Self {
        Self::new(10.0, 60.0)
    }
}

impl RateController for NetworkLaw {
    fn update(&mut self, report: &LinkReport, now: Instant) -> RateDecision {
        let delay = &report.delay;
        self.repeat(delay, now);
        let since = |at: Option<Instant>| at.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        // A rate on probation is left at the first sign of a queue.
        let growing =
            delay.median_ms > 1.2 * Self::LOW_MS && delay.slope > 4.0 * Self::GROWING && self.on_probation(now);
        let high = delay.standing_ms > Self::HIGH_MS && delay.slope >= -Self::GROWING || growing;
        self.high = high.then(|| self.high.unwrap_or(now));
        let calm = delay.standing_ms < Self::CALM_MS;
        self.calm = calm.then(|| self.calm.unwrap_or(now));
        if since(self.changed) < self.settle {
            return self.decision();
        }
        if self.high.is_some() && since(self.high) >= Self::PATIENCE {
            self.down(delay, now);
        } else if self.calm.is_some() && since(self.calm) >= self.wait {
            self.up(now);
        }
        self.decision()
    }

    fn decision(&self) -> RateDecision {
        RateDecision { fps: self.rungs[self.rung], redundancy: self.redundancy }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_guide_law_steps_match_guide() {
        let start = Instant::now();
        let mut law = GuideLaw::default();
        let mut second = 0;
        let mut update = |report: LinkReport| {
            second += 1;
            law.update(&report, start + Duration::from_secs(second)).fps
        };
        assert_eq!(update(LinkReport::of_latency(51.0)), 55.0);
        assert_eq!(update(LinkReport::of_latency(30.0)), 55.0);
        assert_eq!(update(LinkReport::default()), 55.0);
        for _ in 0..20 {
            update(LinkReport::of_latency(200.0));
        }
        assert_eq!(update(LinkReport::of_latency(200.0)), 15.0);
        for _ in 0..20 {
            update(LinkReport::of_latency(3.0));
        }
        assert_eq!(update(LinkReport::of_latency(3.0)), 60.0);
        let mut quick = GuideLaw::default();
        for i in 0..10 {
            quick.update(&LinkReport::of_latency(99.0), start + Duration::from_millis(50 * i));
        }
        assert_eq!(quick.decision().fps, 55.0, "once a second");
    }

    #[test]
    fn rate_bounds_in_wrong_order_do_not_panic() {
        let now = Instant::now();
        assert_eq!(GuideLaw::new(90.0, 30.0).update(&LinkReport::of_latency(99.0), now).fps, 30.0);
        assert_eq!(NetworkLaw::new(90.0, 30.0).decision().fps, 30.0);
        let law = NetworkLaw::new(15.0, 60.0);
        assert_eq!(&law.rungs[..law.count], [60.0, 30.0, 20.0, 15.0]);
    }

    /// Feeds a law for some seconds, ten reports each, and counts the changes.
    fn run(law: &mut NetworkLaw, at: &mut Instant, seconds: u32, report: DelayReport) -> usize {
        let mut changes = 0;
        for _ in 0..seconds * 10 {
            *at += Duration::from_millis(100);
            let before = law.decision();
            changes += usize::from(law.update(&LinkReport::of_delay(report), *at) != before);
        }
        changes
    }

    #[test]
    fn rate_loss_without_queue_adds_redundancy() {
        let (mut law, mut at) = (NetworkLaw::default(), Instant::now());
        let report = DelayReport { loss: Some(0.1), fps: 54.0, ..DelayReport::default() };
        run(&mut law, &mut at, 60, report);
        assert_eq!(law.decision(), RateDecision { fps: 60.0, redundancy: 1 });
        run(&mut law, &mut at, 30, DelayReport { loss: Some(0.0), fps: 60.0, ..DelayReport::default() });
        assert_eq!(law.decision(), RateDecision { fps: 60.0, redundancy: 0 });
    }

    #[test]
    fn rate_queue_steps_down_and_probing_backs_off() {
        let (mut law, mut at) = (NetworkLaw::default(), Instant::now());
        let full = DelayReport { standing_ms: 60.0, slope: 100.0, fps: 50.0, ..DelayReport::default() };
        let calm = DelayReport { fps: 30.0, ..DelayReport::default() };
        let mut changes = 0;
        for _ in 0..600 {
            // Above 30 frames a second the queue grows.
            let report = if law.decision().fps > 30.0 { full } else { calm };
            let before = law.decision().fps;
            at += Duration::from_millis(100);
            changes += usize::from(law.update(&LinkReport::of_delay(report), at).fps != before);
        }
        assert_eq!(law.decision().fps, 30.0);
        assert!(changes <= 5, "{changes} changes in a minute");
        changes = 0;
        for _ in 0..3000 {
            let report = if law.decision().fps > 30.0 { full } else { calm };
            let before = law.decision().fps;
            at += Duration::from_millis(100);
            changes += usize::from(law.update(&LinkReport::of_delay(report), at).fps != before);
        }
        assert!(changes <= 10, "{changes} changes in five minutes");
        run(&mut law, &mut at, 200, DelayReport { fps: 60.0, ..DelayReport::default() });
        assert_eq!(law.decision().fps, 60.0, "the path is free again");
    }

    #[test]
    fn rate_source_of_30_fps_steps_to_15_at_once() {
        let (mut law, mut at) = (NetworkLaw::default(), Instant::now());
        let full = DelayReport { standing_ms: 60.0, slope: 100.0, fps: 29.5, ..DelayReport::default() };
        run(&mut law, &mut at, 1, full);
        assert!(law.decision().fps <= 20.0, "{:?}", law.decision());
    }
}
