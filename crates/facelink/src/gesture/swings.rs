//! Turning points of a head's angle.

use std::{collections::VecDeque, time::Duration};

use super::rule::{HeadAxis, MAX_SWINGS, Swings};

/// How many times as large the movement about the axis has to be as that about each other one.
const DOMINANCE: f32 = 1.5;

/// One movement from a turning point to the next.
#[derive(Clone, Copy, Debug)]
struct Swing {
    /// When it was found.
    at: Duration,
    /// Degrees about the axis, and about the two others together.
    size: f32,
    other: f32,
}

/// Where the head turned back last, or where it has come furthest since.
#[derive(Clone, Copy, Debug)]
struct Extreme {
    angles: [f32; 3],
    at: Duration,
}

/// What the head does now.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It does not swing: the least and the largest angle of late.
    Rest { low: Extreme, high: Extreme },
    /// It swings: the furthest that it came, and whether that is towards larger angles.
    Swings { furthest: Extreme, up: bool },
}

/// Follows one axis of a head.
#[derive(Clone, Debug)]
pub(super) struct SwingMeter {
    rule: Swings,
    phase: Option<Phase>,
    /// The newest, at most [`MAX_SWINGS`].
    swings: VecDeque<Swing>,
}

impl SwingMeter {
    pub fn new(rule: Swings) -> Self {
        Self { rule, phase: None, swings: VecDeque::with_capacity(MAX_SWINGS) }
    }

    pub fn reset(&mut self) {
        self.phase = None;
        self.swings.clear();
    }

    fn axis(&self) -> usize {
        match self.rule.axis {
            HeadAxis::Yaw => 0,
            HeadAxis::Pitch => 1,
            HeadAxis::Roll => 2,
        }
    }

    /// Takes the head's yaw, pitch and roll, radians.
    pub fn record(&mut self, head: [f32; 3], now: Duration) {
        let here = Extreme { angles: head.map(f32::to_degrees), at: now };
        let (axis, least) = (self.axis(), self.rule.degrees);
        let value = here.angles[axis];
        let is_old = |extreme: &Extreme| now.saturating_sub(extreme.at) > Duration::from_secs_f32(self.rule.within);
        let (phase, begun) = match self.phase {
            None => (Phase::Rest { low: here, high: here }, None),
            Some(Phase::Rest { low, high }) => {
                let low = if value <= low.angles[axis] || is_old(&low) { here } else { low };
                let high = if value >= high.angles[axis] || is_old(&high) { here } else { high };
                if value - low.angles[axis] >= least {
                    (Phase::Swings { furthest: here, up: true }, Some(low))
                } else if high.angles[axis] - value >= least {
                    (Phase::Swings { furthest: here, up: false }, Some(high))
                } else {
                    (Phase::Rest { low, high }, None)
                }
            }
            Some(Phase::Swings { furthest, up }) => {
                let back = if up { furthest.angles[axis] - value } else { value - furthest.angles[axis] };
                if back <= 0.0 {
                    (Phase::Swings { furthest: here, up }, None)
                } else if back >= least {
                    (Phase::Swings { furthest: here, up: !up }, Some(furthest))
                } else if is_old(&furthest) {
                    (Phase::Rest { low: here, high: here }, None)
                } else {
                    (Phase::Swings { furthest, up }, None)
                }
            }
        };
        self.phase = Some(phase);
        if let Some(from) = begun {
            self.add(from, here);
        }
    }

    fn window(&self) -> Duration {
        Duration::from_secs_f32(self.rule.within)
    }

    fn add(&mut self, from: Extreme, to: Extreme) {
        let axis = self.axis();
        let part = |axis: usize| (to.angles[axis] - from.angles[axis]).abs();
        let other = (0..3).filter(|other| *other != axis).map(part).fold(0.0, f32::max);
        if self.swings.len() >= MAX_SWINGS {
            self.swings.pop_front();
        }
        self.swings.push_back(Swing { at: to.at, size: part(axis), other });
    }

    /// Whether enough swings lie within the time, and are about this axis.
    pub fn holds(&self, now: Duration) -> bool {
        let count = self.rule.count;
        let window = self.window();
        let newest = self.swings.iter().rev().take(count).take_while(|swing| now.saturating_sub(swing.at) <= window);
        let (mut found, mut size, mut other) = (0, 0.0, 0.0);
        for swing in newest {
            found += 1;
            size += swing.size;
            other += swing.other;
        }
        found == count && size >= DOMINANCE * other
    }

    /// When the newest swing was found.
    pub fn newest(&self) -> Option<Duration> {
        self.swings.back().map(|swing| swing.at)
    }
}
