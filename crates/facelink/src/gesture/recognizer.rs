//! Follows one face by the rules of a set.

use std::{sync::Arc, time::Duration};

use crate::{
    frame::FaceFrame,
    mapping::{
        Combine, Face,
        inputs::{Inputs, Operand},
    },
    wire::profile::head_angles,
};

use super::{
    rule::{Condition, GestureError, GestureSet},
    swings::SwingMeter,
};

/// Without a frame for this long, what was about to start begins again, and the head's movement too.
const MAX_GAP: Duration = Duration::from_millis(500);
/// A time that is this much before the last one is another clock, or a take that plays from its start again.
const MAX_STEP_BACK: Duration = Duration::from_secs(1);

/// A gesture started or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GestureEvent {
    /// Its name.
    pub name: Arc<str>,
    /// `true` when it started, `false` when it ended.
    pub active: bool,
    /// When, on the clock of the times that were given.
    pub at: Duration,
    /// For how long it was active; zero when it starts.
    pub lasted: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// It does not hold. `Some`: it ended then.
    Idle { ended: Option<Duration> },
    /// It holds since then, and not for long enough. The end before counts for the cooldown.
    Pending { since: Duration, ended: Option<Duration> },
    /// It started then, and fails since `failing`.
    Active { since: Duration, failing: Option<Duration> },
}

#[derive(Clone, Debug)]
struct Test {
    operands: Vec<Operand>,
    combine: Combine,
    above: f32,
    below: f32,
    hysteresis: f32,
}

impl Test {
    /// `loose`: it holds already, and ends only beyond the hysteresis.
    fn holds(&self, inputs: &[f32], loose: bool) -> bool {
        let value = self.combine.of(&self.operands, inputs);
        let slack = if loose { self.hysteresis } else { 0.0 };
        value >= self.above - slack && value <= self.below + slack
    }
}

#[derive(Clone, Debug)]
struct Rule {
    name: Arc<str>,
    tests: Vec<Test>,
    swings: Option<SwingMeter>,
    hold: Duration,
    release: Duration,
    cooldown: Duration,
    /// Places of those during which it does not start.
    not_with: Vec<usize>,
    state: State,
}

/// Recognises the gestures of one face.
///
/// Allocates nothing per frame once it has seen one. Its memory is bounded by its rules.
#[derive(Clone, Debug)]
pub struct GestureRecognizer {
    rules: Vec<Rule>,
    inputs: Inputs,
    values: Vec<f32>,
    last: Option<Duration>,
}

impl GestureRecognizer {
    /// For a face of which nothing is known yet.
    ///
    /// # Errors
    /// Names the field of the set that is not usable.
    pub fn new(set: &GestureSet) -> Result<Self, GestureError> {
        let gestures = set.rules()?;
        let mut inputs = Inputs::default();
        let place = |name: &String| gestures.iter().position(|gesture| gesture.name == *name);
        let rules = gestures.iter().map(|gesture| Rule {
            name: gesture.name.as_str().into(),
            tests: gesture.when.iter().map(|condition| test(condition, &mut inputs)).collect(),
            swings: gesture.swings.map(SwingMeter::new),
            hold: seconds(gesture.hold),
            release: seconds(gesture.release),
            cooldown: seconds(gesture.cooldown),
            not_with: gesture.not_with.iter().filter_map(place).collect(),
            state: State::Idle { ended: None },
        });
        Ok(Self { rules: rules.collect(), inputs, values: Vec::new(), last: None })
    }

    /// Takes the face of `now`, a time on any one clock, and reports what starts and ends. Times that step back by a second or
    /// more begin anew, smaller steps count as no time.
    pub fn update(&mut self, face: &Face<'_>, now: Duration, mut report: impl FnMut(GestureEvent)) {
        let now = self.advance(now, &mut report);
        self.inputs.read(face, false, &mut self.values);
        for rule in &mut self.rules {
            if let Some(swings) = &mut rule.swings {
                swings.record(face.head, now);
            }
        }
        self.step(now, true, &mut report);
    }

    /// The same for a frame as it arrives. A face that its tracker has lost holds no condition.
    pub fn update_frame(&mut self, frame: &FaceFrame, now: Duration, mut report: impl FnMut(GestureEvent)) {
        if !frame.tracked {
            return self.update_lost(now, report);
        }
        let face = Face { weights: &frame.weights, channels: &frame.channels, head: head_angles(frame) };
        self.update(&face, now, &mut report);
    }

    /// The same for a face that is not tracked: what is active ends after its release time.
    pub fn update_lost(&mut self, now: Duration, mut report: impl FnMut(GestureEvent)) {
        let now = self.advance(now, &mut report);
        self.forget_movement();
        self.step(now, false, &mut report);
    }

    /// Ends what is active: no frame will follow, or those of another performer.
    pub fn end(&mut self, now: Duration, mut report: impl FnMut(GestureEvent)) {
        let now = self.last.map_or(now, |last| now.max(last));
        self.end_at(now, &mut report);
        self.last = None;
    }

    /// The names of the gestures that are active.
    pub fn active(&self) -> impl Iterator<Item = &Arc<str>> {
        self.rules.iter().filter(|rule| matches!(rule.state, State::Active { .. })).map(|rule| &rule.name)
    }

    fn end_at(&mut self, now: Duration, report: &mut impl FnMut(GestureEvent)) {
        for rule in &mut self.rules {
            if let State::Active { since, .. } = rule.state {
                report(rule.event(false, now, now.saturating_sub(since)));
            }
            rule.state = State::Idle { ended: None };
        }
        self.forget_movement();
    }

    fn forget_movement(&mut self) {
        self.rules.iter_mut().filter_map(|rule| rule.swings.as_mut()).for_each(SwingMeter::reset);
    }

    /// The time to go on with.
    fn advance(&mut self, now: Duration, report: &mut impl FnMut(GestureEvent)) -> Duration {
        let last = self.last.unwrap_or(now);
        let mut now = now;
        if now < last {
            if last - now >= MAX_STEP_BACK {
                self.end_at(last, report);
            } else {
                now = last;
            }
        } else if now - last > MAX_GAP {
            self.forget_movement();
            for rule in &mut self.rules {
                if let State::Pending { ended, .. } = rule.state {
                    rule.state = State::Idle { ended };
                }
            }
        }
        self.last = Some(now);
        now
    }

    fn step(&mut self, now: Duration, tracked: bool, report: &mut impl FnMut(GestureEvent)) {
        for place in 0..self.rules.len() {
            let rule = &self.rules[place];
            let next = match rule.state {
                State::Active { since, .. } if tracked && rule.holds(&self.values, true, now) => {
                    State::Active { since, failing: None }
                }
                State::Active { since, failing } => {
                    let failing = failing.unwrap_or_else(|| rule.failing_since(now));
                    if now.saturating_sub(failing) >= rule.release {
                        report(rule.event(false, now, now.saturating_sub(since)));
                        State::Idle { ended: Some(now) }
                    } else {
                        State::Active { since, failing: Some(failing) }
                    }
                }
                State::Idle { ended } | State::Pending { ended, .. } => {
                    let pending = match rule.state {
                        State::Pending { since, .. } => Some(since),
                        _ => None,
                    };
                    let holds = tracked && rule.holds(&self.values, pending.is_some(), now);
                    let since = pending.unwrap_or(now);
                    let rests = ended.is_some_and(|ended| now.saturating_sub(ended) < rule.cooldown);
                    let is_excluded =
                        || rule.not_with.iter().any(|other| matches!(self.rules[*other].state, State::Active { .. }));
                    if !holds || rests {
                        State::Idle { ended }
                    } else if now.saturating_sub(since) >= rule.hold && !is_excluded() {
                        report(rule.event(true, now, Duration::ZERO));
                        State::Active { since: now, failing: None }
                    } else {
                        State::Pending { since, ended }
                    }
                }
            };
            let rule = &mut self.rules[place];
            if let (State::Active { .. }, State::Idle { .. }, Some(swings)) = (rule.state, next, &mut rule.swings) {
                // The next one takes swings of its own.
                swings.reset();
            }
            rule.state = next;
        }
    }
}

impl Rule {
    fn holds(&self, inputs: &[f32], loose: bool, now: Duration) -> bool {
        let swings = match (&self.swings, self.state) {
            (None, _) => true,
            // It goes on for as long as swings follow each other.
            (Some(swings), State::Active { .. }) => swings.newest() == Some(now),
            (Some(swings), _) => swings.holds(now),
        };
        swings && self.tests.iter().all(|test| test.holds(inputs, loose))
    }

    /// When it began to fail, if it did between the last frame and this one.
    fn failing_since(&self, now: Duration) -> Duration {
        self.swings.as_ref().and_then(SwingMeter::newest).unwrap_or(now)
    }

    fn event(&self, active: bool, at: Duration, lasted: Duration) -> GestureEvent {
        GestureEvent { name: self.name.clone(), active, at, lasted }
    }
}

/// A time that was checked, to the microsecond: 0.1 as an `f32` is a little more than a tenth of a second.
fn seconds(seconds: f32) -> Duration {
    Duration::from_micros((f64::from(seconds) * 1e6).round() as u64)
}

fn test(condition: &Condition, inputs: &mut Inputs) -> Test {
    Test {
        operands: condition.from.iter().map(|input| inputs.operand(input)).collect(),
        combine: condition.combine,
        above: condition.above.unwrap_or(f32::NEG_INFINITY),
        below: condition.below.unwrap_or(f32::INFINITY),
        hysteresis: condition.hysteresis,
    }
}
