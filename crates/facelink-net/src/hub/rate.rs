//! Rate decisions: the frame rate and the redundancy that each sender is asked for.

use std::time::Duration;

use facelink::time::Instant;

use facelink::timing::{LinkReport, RateController, RateSettings};

/// Time between two reports to a sender.
const REPORT_INTERVAL: Duration = Duration::from_millis(190);
/// Range of the rates that are set by hand or by demand, frames a second.
const RATES: std::ops::RangeInclusive<f32> = 1.0..=1000.0;

fn in_range(fps: Option<f32>) -> Option<f32> {
    fps.filter(|fps| fps.is_finite()).map(|fps| fps.clamp(*RATES.start(), *RATES.end()))
}

/// The rate of one subject's sender.
#[derive(Debug)]
pub(crate) struct Pacing {
    controller: Box<dyn RateController>,
    /// Settings of its own, in place of the endpoint's.
    own: Option<RateSettings>,
    demand_fps: Option<f32>,
    manual_fps: Option<f32>,
    requested_fps: f32,
    reported: Option<Instant>,
}

impl Pacing {
    pub fn new(endpoint: RateSettings) -> Self {
        let controller = endpoint.controller();
        let requested_fps = controller.decision().fps;
        Self { controller, own: None, demand_fps: None, manual_fps: None, requested_fps, reported: None }
    }

    /// A rate set by hand comes first; otherwise the link decides, up to the demand.
    pub fn target_fps(&self) -> f32 {
        let decided = self.controller.decision().fps;
        self.manual_fps.unwrap_or_else(|| self.demand_fps.map_or(decided, |demand| decided.min(demand)))
    }

    pub fn redundancy(&self) -> u8 {
        self.controller.decision().redundancy
    }

    /// Whether the rate follows the link.
    pub fn is_adaptive(&self, endpoint: RateSettings) -> bool {
        self.own.unwrap_or(endpoint).enabled
    }

    pub fn update(&mut self, report: &LinkReport, now: Instant) {
        self.controller.update(report, now);
    }

    /// A new sender has to be asked in any case.
    pub fn restart(&mut self) {
        self.requested_fps = f32::NAN;
    }

    /// The rate to ask for, when it is not the one that was asked for last.
    pub fn take_request(&mut self) -> Option<f32> {
        let target = self.target_fps();
        // NaN differs from everything.
        let changed = target != self.requested_fps;
        self.requested_fps = target;
        changed.then_some(target)
    }

    /// Whether a report is due now; notes that it is sent.
    pub fn take_report(&mut self, now: Instant) -> bool {
        let due = self.reported.is_none_or(|at| now.saturating_duration_since(at) >= REPORT_INTERVAL);
        if due {
            self.reported = Some(now);
        }
        due
    }

    /// The endpoint's settings have changed: starts again at the highest rate, unless there are settings of its own.
    pub fn set_endpoint(&mut self, endpoint: RateSettings) {
        if self.own.is_none() {
            self.controller = endpoint.controller();
        }
    }

    /// Settings of its own; `None` returns to the endpoint's.
    pub fn set_own(&mut self, own: Option<RateSettings>, endpoint: RateSettings) {
        if self.own != own {
            self.own = own;
            self.controller = own.unwrap_or(endpoint).controller();
        }
    }

    /// Frames a second that the engine can use at most.
    pub fn set_demand(&mut self, fps: Option<f32>) {
        self.demand_fps = in_range(fps);
    }

    /// A rate set by hand, in place of all others.
    pub fn set_manual(&mut self, fps: Option<f32>) {
        self.manual_fps = in_range(fps);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pacing_manual_rate_precedes_demand_and_link() {
        let endpoint = RateSettings::default();
        let mut pacing = Pacing::new(endpoint);
        assert_eq!((pacing.target_fps(), pacing.take_request()), (60.0, None));
        pacing.set_demand(Some(15.0));
        assert_eq!((pacing.take_request(), pacing.take_request()), (Some(15.0), None));
        pacing.set_manual(Some(f32::INFINITY));
        assert_eq!(pacing.target_fps(), 15.0);
        pacing.set_manual(Some(1e6));
        assert_eq!(pacing.take_request(), Some(1000.0));
        pacing.restart();
        assert_eq!(pacing.take_request(), Some(1000.0), "a new sender is asked");
        pacing.set_manual(None);
        pacing.set_demand(None);
        pacing.set_own(Some(RateSettings { max_fps: 30.0, ..endpoint }), endpoint);
        pacing.set_endpoint(RateSettings { max_fps: 24.0, ..endpoint });
        assert_eq!(pacing.take_request(), Some(30.0));
        pacing.set_own(None, RateSettings { max_fps: 24.0, ..endpoint });
        assert_eq!(pacing.take_request(), Some(24.0));
    }

    #[test]
    fn pacing_reports_at_the_interval() {
        let mut pacing = Pacing::new(RateSettings::default());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let sent = (0..1000).step_by(10).filter(|ms| pacing.take_report(at(*ms))).count();
        assert_eq!(sent, 6);
    }
}
