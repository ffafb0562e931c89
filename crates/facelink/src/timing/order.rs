//! The order of one sender's frames: what its numbers and its clock say, held against when the frames arrive.
//!
//! A network may reorder packets, and a sender may count wrongly; both look alike for one frame. A number behind the newest is
//! believed where a network could have caused it: it was skipped a moment ago, and came within the time that a jitter
//! buffer waits. Anything else is a fault of the sender: the count begins again there, and when that happens repeatedly,
//! frames are taken as they arrive until the numbers have been right for a while.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

use super::{LossMeter, clock::micros};

/// A frame that is later than this is not shown in its place, so that its number is no reason to wait for it:
/// [`PlayoutSettings::most`](super::PlayoutSettings::most) by default.
const REORDERED_US: i64 = 150_000;
/// A frame that arrives earlier than the quickest so far, by its clock, by more than this: the clock was set.
const EARLY_US: i64 = 100_000;
/// A frame that is older than this, or by so many numbers, was not held back by a network.
const NEVER: (i64, i64) = (2_000_000, 256);
/// The same where two witnesses say so: a clock next to the number, or a format of our own, which may use a second path
/// while the first one stalls.
const NEVER_OF_TWO: (i64, i64) = (10_000_000, 1024);
/// Old frames that keep coming at the pace of new ones are a new count; where a clock next to the number says too that they are
/// old, after so long, and of a format of our own after so long.
const AGREED: Duration = Duration::from_millis(150);
const EXACT: Duration = Duration::from_millis(500);
/// Late frames in a row, each older than the one before, that a network may deliver.
const MAX_DESCENDING: u32 = 3;
/// Sooner than this, the same frame again is a copy that the network made.
const COPY_US: i64 = 4_000;
/// Faults within [`FAULTS_WITHIN`] after which numbers are not believed.
const MAX_FAULTS: usize = 3;
const FAULTS_WITHIN: Duration = Duration::from_secs(3);
/// Numbers that have been right for so long, and so often, are believed again.
const BELIEVED_AFTER: Duration = Duration::from_secs(5);
const BELIEVED_FRAMES: u32 = 50;
/// Frames that are remembered.
const RECENT: usize = 64;
/// A pause, not a frame interval.
const PAUSE_US: i64 = 500_000;

/// Window of the pace of a clock, in which the least delay counts, and windows over which it is compared.
const WINDOW_US: i64 = 250_000;
const LAGS: [usize; 3] = [4, 16, 64];
/// A clock that drifts from the arrivals by so much over one of these, evenly, does not run at the pace of time.
const DRIFT_US: i64 = 80_000;
/// And one that has drifted by less than this over the second of them does.
const STEADY_US: i64 = 25_000;

/// What a sender states about one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stated {
    /// Its number.
    pub number: Option<u64>,
    /// When it was captured or sent, microseconds on the sender's clock.
    pub clock_us: Option<i64>,
    /// The clock is not derived from the number: the two are independent witnesses.
    pub independent: bool,
    /// The format is our own: numbers are right, and a number that comes twice is the same frame.
    pub exact: bool,
    /// Equal for equal faces.
    pub face: u64,
    /// Numbers before this one that were left out on purpose: they are not lost.
    pub left_out: u64,
}

/// What a frame is in the order of its sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The newest.
    Newest,
    /// The newest, and the sender's count or clock has begun anew with it.
    Anew,
    /// It was missing, and a newer one arrived before it.
    Late,
    /// It was there before, or is too old.
    Stale,
}

/// What of a sender's statements is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
#[serde(rename_all = "snake_case")]
pub enum Disbelieved {
    /// Its frame numbers, or the times that stand for them: they repeat, wander or step back while frames arrive in order.
    Numbers,
    /// The pace of its clock: it does not run with time.
    Pace,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    key: i64,
    face: u64,
    at: Instant,
}

/// Frames that continue from one that is too old: a count that began anew, if they keep the pace.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    first: Seen,
    key: i64,
}

/// Puts the frames of one sender in order.
#[derive(Clone, Debug, Default)]
pub struct FrameOrder {
    newest: Option<Seen>,
    clock_us: Option<i64>,
    /// What is below was never awaited.
    begun: i64,
    /// The last late frame since the newest, and how many each were older than the one before.
    descending: Option<(i64, u32)>,
    recent: VecDeque<Seen>,
    /// No key in `recent` is greater: what is need not be looked for.
    highest: Option<i64>,
    candidate: Option<Candidate>,
    faults: smallvec::SmallVec<[Instant; MAX_FAULTS]>,
    /// Since when numbers are not believed, as they have been right, and how often.
    disbelieved: Option<(Instant, u32)>,
    /// Arrivals are counted from here.
    origin: Option<Instant>,
    /// The least delay of a frame since the count began, by the sender's clock: arrival less clock, microseconds.
    least_us: Option<i64>,
    /// Microseconds of arrival for each step of the count.
    step_us: f64,
    /// The last arrival, how long after the one before it came, and the usual time between two.
    heard: Option<Instant>,
    gap_us: i64,
    interval_us: f64,
    pace: Pace,
    loss: LossMeter,
}

impl FrameOrder {
    /// Notes a frame that arrived now.
    pub fn record(&mut self, stated: &Stated, now: Instant) -> Place {
        let place = match stated.number.map(|number| i64::try_from(number).unwrap_or(i64::MAX)).or(stated.clock_us) {
            Some(key) => self.place(key, stated, now),
            None => Place::Newest,
        };
        match (place, stated.number.filter(|_| self.disbelieved.is_none())) {
            (Place::Newest | Place::Anew, Some(number)) => {
                if place == Place::Anew {
                    self.loss.restart_count();
                }
                self.loss.record(number.saturating_sub(stated.left_out));
            }
            (Place::Late, Some(_)) => self.loss.record_late(),
            _ => {}
        }
        match (place, stated.clock_us) {
            (Place::Newest, Some(clock_us)) if !stated.exact => self.pace.record(clock_us, now),
            (Place::Anew, _) => self.pace.restart(),
            _ => {}
        }
        place
    }

    /// What is not believed now.
    pub fn disbelieved(&self) -> Option<Disbelieved> {
        match self.disbelieved {
            Some(_) => Some(Disbelieved::Numbers),
            None => self.pace.wrong.then_some(Disbelieved::Pace),
        }
    }

    /// Share of frames lost, `0..=1`, where they are numbered and the numbers are believed.
    pub fn loss(&self) -> Option<f32> {
        if self.disbelieved.is_some() { None } else { self.loss.loss() }
    }

    fn place(&mut self, key: i64, stated: &Stated, now: Instant) -> Place {
        let seen = Seen { key, face: stated.face, at: now };
        let Some(newest) = self.newest else {
            self.accept(seen, stated);
            // What came before the first frame may have been overtaken by it.
            self.begun = i64::MIN;
            self.heard = Some(now);
            return Place::Newest;
        };
        let waited_us = micros(now, newest.at);
        let again = if self.highest.is_none_or(|highest| key > highest) {
            None
        } else {
            self.recent.iter().rev().find(|other| other.key == key).copied()
        };
        if let Some(again) = again {
            let copy = again.face == seen.face && micros(now, again.at) < REORDERED_US;
            // A face that stands still is no copy.
            let still = seen.face == newest.face && waited_us >= COPY_US.max(self.interval_us as i64 / 2);
            let exact_copy = stated.exact && micros(now, again.at) < NEVER.0;
            if exact_copy || (copy && !still) {
                return Place::Stale;
            }
        }
        self.pace_of(now);
        if let Some((since, right)) = self.disbelieved {
            let is_right = key > newest.key && !self.jumps_ahead(stated, now);
            let (since, right) = if is_right { (since, right + 1) } else { (now, 0) };
            let believed = right >= BELIEVED_FRAMES && now.saturating_duration_since(since) >= BELIEVED_AFTER;
            self.disbelieved = (!believed).then_some((since, right));
            if !is_right {
                self.least_us = None;
            }
            self.accept(seen, stated);
            self.begun = key;
            return if believed { Place::Anew } else { Place::Newest };
        }
        if key > newest.key {
            if !stated.exact && self.jumps_ahead(stated, now) {
                return self.begin_anew(seen, stated, now);
            }
            self.learn(key.saturating_sub(newest.key), waited_us);
            self.accept(seen, stated);
            return Place::Newest;
        }
        if again.is_some() {
            // Another face under the same number.
            return self.begin_anew(seen, stated, now);
        }
        let behind_us = self.behind_us(newest, key, stated);
        let two_witnesses = stated.exact || stated.independent;
        let clock_goes_on = stated.independent && stated.clock_us > self.clock_us;
        let (never_us, never_numbers) = if two_witnesses { NEVER_OF_TWO } else { NEVER };
        let never = behind_us.map_or(newest.key.saturating_sub(key) > never_numbers, |behind| behind >= never_us);
        if clock_goes_on || never {
            return self.begin_anew(seen, stated, now);
        }
        self.older(seen, stated, behind_us.unwrap_or(0).saturating_add(waited_us), now)
    }

    /// A frame that was not there before and is older than the newest, by less than a network could never cause.
    fn older(&mut self, seen: Seen, stated: &Stated, late_us: i64, now: Instant) -> Place {
        let key = seen.key;
        let missing = key > self.begun && self.has_room(key, stated);
        let descending = match self.descending {
            Some((last, times)) if key < last => times + 1,
            _ => 1,
        };
        self.descending = Some((key, descending));
        if missing {
            self.remember(seen);
        }
        let place = if missing { Place::Late } else { Place::Stale };
        if missing && late_us <= REORDERED_US && descending <= MAX_DESCENDING {
            return place;
        }
        match self.candidate.filter(|candidate| key > candidate.key) {
            Some(Candidate { first, .. }) => {
                self.candidate = Some(Candidate { first, key });
                let run = now.saturating_duration_since(first.at);
                let step_us = if stated.number.is_some() { self.step_us } else { 1.0 };
                let advance_us = key.saturating_sub(first.key) as f64 * step_us;
                // What a network held back comes all at once.
                let keeps_pace = !run.is_zero() && run.as_secs_f64() * 1e6 >= advance_us / 2.0;
                let agreed = match (stated.exact, stated.independent) {
                    (true, _) => EXACT,
                    (false, true) => AGREED,
                    (false, false) => Duration::ZERO,
                };
                if keeps_pace && run >= agreed {
                    self.accept_anew(seen, stated);
                    return Place::Anew;
                }
            }
            None => self.candidate = Some(Candidate { first: seen, key }),
        }
        // Where the clock agrees, only when nothing newer comes any more while old frames keep the pace.
        let waited_us = self.newest.map_or(0, |newest| micros(now, newest.at));
        let keeps_pace = self.gap_us >= COPY_US.max(self.interval_us as i64 / 2);
        let is_fault = !stated.independent || (waited_us > REORDERED_US && keeps_pace);
        if is_fault && self.fault(stated, now) { self.take_as_it_comes(seen, stated, now) } else { place }
    }

    /// Arrival less clock.
    fn offset_us(&self, stated: &Stated, now: Instant) -> Option<i64> {
        Some(micros(now, self.origin?).saturating_sub(stated.clock_us?))
    }

    /// Whether the clock is further ahead of the arrivals than a network could cause.
    fn jumps_ahead(&self, stated: &Stated, now: Instant) -> bool {
        let earlier =
            self.least_us.zip(self.offset_us(stated, now)).map(|(least, offset)| least.saturating_sub(offset));
        earlier.is_some_and(|earlier| earlier > EARLY_US)
    }

    /// By how much a frame is older than the newest, by the sender's own account; `None` while that is not known.
    fn behind_us(&self, newest: Seen, key: i64, stated: &Stated) -> Option<i64> {
        let by_clock = self.clock_us.zip(stated.clock_us).map(|(newest, clock)| newest.saturating_sub(clock));
        let by_number =
            || (self.step_us > 0.0).then(|| ((newest.key.saturating_sub(key)) as f64 * self.step_us) as i64);
        by_clock.filter(|behind| *behind >= 0).or_else(by_number)
    }

    /// Whether a frame fits between its neighbours: sorted, frames are evenly apart. Numbers always are.
    fn has_room(&self, key: i64, stated: &Stated) -> bool {
        let apart = (self.interval_us * 0.7) as i64;
        stated.number.is_some()
            || self.recent.iter().all(|other| other.key.saturating_sub(key).saturating_abs() >= apart)
    }

    fn learn(&mut self, step: i64, waited_us: i64) {
        if step <= 0 || !(1..PAUSE_US).contains(&waited_us) {
            return;
        }
        self.step_us = averaged(self.step_us, waited_us as f64 / step as f64);
    }

    /// Learns the time between two arrivals, in whatever order.
    fn pace_of(&mut self, now: Instant) {
        self.gap_us = self.heard.replace(now).map_or(0, |heard| micros(now, heard));
        if (1..PAUSE_US).contains(&self.gap_us) {
            self.interval_us = averaged(self.interval_us, self.gap_us as f64);
        }
    }

    fn remember(&mut self, seen: Seen) {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(seen);
        self.highest = self.highest.max(Some(seen.key));
    }

    fn accept(&mut self, seen: Seen, stated: &Stated) {
        self.remember(seen);
        self.newest = Some(seen);
        self.clock_us = stated.clock_us.or(self.clock_us);
        self.origin.get_or_insert(seen.at);
        let offset_us = self.offset_us(stated, seen.at);
        self.least_us =
            self.least_us.map_or(offset_us, |least| Some(offset_us.map_or(least, |offset| offset.min(least))));
        (self.candidate, self.descending) = (None, None);
    }

    /// Notes a fault; `true` when there have been too many.
    fn fault(&mut self, stated: &Stated, now: Instant) -> bool {
        if stated.exact {
            return false;
        }
        self.faults.retain(|at| now.saturating_duration_since(*at) < FAULTS_WITHIN);
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(now);
        }
        self.faults.len() >= MAX_FAULTS
    }

    fn begin_anew(&mut self, seen: Seen, stated: &Stated, now: Instant) -> Place {
        if self.fault(stated, now) {
            return self.take_as_it_comes(seen, stated, now);
        }
        self.accept_anew(seen, stated);
        Place::Anew
    }

    fn accept_anew(&mut self, seen: Seen, stated: &Stated) {
        self.recent.clear();
        self.highest = None;
        self.least_us = None;
        self.accept(seen, stated);
        self.begun = seen.key;
    }

    fn take_as_it_comes(&mut self, seen: Seen, stated: &Stated, now: Instant) -> Place {
        self.disbelieved = Some((now, 0));
        self.faults.clear();
        self.accept(seen, stated);
        Place::Anew
    }
}

fn averaged(value: f64, new: f64) -> f64 {
    if value == 0.0 { new } else { value + (new - value) / 16.0 }
}

/// Whether a sender's clock runs at the pace of time, by the least delay of each quarter of a second.
#[derive(Clone, Debug)]
struct Pace {
    origin: Option<Instant>,
    /// The window that is not over, and the least offset in it.
    open: Option<(i64, i64)>,
    /// One for each window that is over and in which frames arrived, oldest first.
    closed: VecDeque<i64>,
    wrong: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self { origin: None, open: None, closed: VecDeque::with_capacity(LAGS[2] + 2), wrong: false }
    }
}

impl Pace {
    fn record(&mut self, clock_us: i64, now: Instant) {
        let arrival_us = micros(now, *self.origin.get_or_insert(now));
        let (window, offset_us) = (arrival_us.div_euclid(WINDOW_US), arrival_us.saturating_sub(clock_us));
        let Some((open, least_us)) = self.open else {
            self.open = Some((window, offset_us));
            return;
        };
        if window == open {
            self.open = Some((window, least_us.min(offset_us)));
            return;
        }
        if window - open > 2 {
            // After a pause the clock may have been set.
            self.closed.clear();
        }
        if self.closed.len() > LAGS[2] {
            self.closed.pop_front();
        }
        self.closed.push_back(least_us);
        self.open = Some((window, offset_us));
        self.judge();
    }

    fn judge(&mut self) {
        let at =
            |back: usize| self.closed.len().checked_sub(1 + back).and_then(|place| self.closed.get(place)).copied();
        if self.wrong {
            let spread = |lag: usize| Some(at(0)?.saturating_sub(at(lag)?).saturating_abs());
            self.wrong = spread(LAGS[1]).is_none_or(|spread| spread >= STEADY_US);
            return;
        }
        // Even, in quarters: a path that became longer at once is none.
        let drifts = |lag: usize| -> Option<bool> {
            let total = at(0)?.saturating_sub(at(lag)?);
            let least = total.saturating_abs() / 8;
            let mut even = true;
            for quarter in 0..4 {
                let step = at(quarter * lag / 4)?.saturating_sub(at((quarter + 1) * lag / 4)?);
                even &= step.signum() == total.signum() && step.saturating_abs() >= least;
            }
            Some(even && total.saturating_abs() > DRIFT_US)
        };
        self.wrong = LAGS.into_iter().any(|lag| drifts(lag) == Some(true));
    }

    fn restart(&mut self) {
        self.closed.clear();
        (self.origin, self.open) = (None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_US: i64 = 16_667;

    struct Run {
        order: FrameOrder,
        start: Instant,
        places: Vec<Place>,
    }

    impl Run {
        fn new() -> Self {
            Self { order: FrameOrder::default(), start: Instant::now(), places: Vec::new() }
        }

        fn at(&mut self, us: i64, stated: Stated) {
            let now = self.start + Duration::from_micros(us as u64);
            self.places.push(self.order.record(&stated, now));
        }

        /// Frames at an even pace, each another face, with these numbers.
        fn numbers(numbers: impl Iterator<Item = i64>) -> Self {
            let mut run = Self::new();
            for (i, number) in numbers.enumerate() {
                let i = i as i64;
                run.at(i * FRAME_US, Stated { number: Some(number as u64), face: i as u64, ..Stated::default() });
            }
            run
        }

        /// The same of a timecode, which number and clock are both made of.
        fn timecode(numbers: impl Iterator<Item = i64>) -> Self {
            let mut run = Self::new();
            for (i, number) in numbers.enumerate() {
                let (i, clock_us) = (i as i64, Some(number * FRAME_US));
                let stated = Stated { number: Some(number as u64), clock_us, face: i as u64, ..Stated::default() };
                run.at(i * FRAME_US, stated);
            }
            run
        }

        /// The same of a number, and of a clock of its own that agrees with it.
        fn both(numbers: impl Iterator<Item = i64>) -> Self {
            let mut run = Self::new();
            for (i, number) in numbers.enumerate() {
                let (i, clock_us) = (i as i64, Some(number * FRAME_US));
                let number = Some(number as u64);
                run.at(
                    i * FRAME_US,
                    Stated { number, clock_us, independent: true, face: i as u64, ..Stated::default() },
                );
            }
            run
        }

        fn shown(&self) -> usize {
            self.places.iter().filter(|place| matches!(place, Place::Newest | Place::Anew)).count()
        }

        fn longest_freeze(&self) -> usize {
            let shown = |place: &Place| matches!(place, Place::Newest | Place::Anew);
            self.places.split(shown).map(<[Place]>::len).max().unwrap_or(0)
        }
    }

    #[test]
    fn order_wandering_numbers_freeze_nothing() {
        let wander: [(&str, fn(i64) -> i64); 7] = [
            ("downwards", |i| 4_000_000 + (-5 * i).rem_euclid(97)),
            ("by a few", |i| 1000 + i + (i * 7919) % 5 - 2),
            ("by a hundred", |i| 100_000 + (i * 7919) % 101),
            ("both ways", |i| 100_000 + i + (i * 7919) % 71),
            ("constant", |_| 7),
            ("every second one", |i| 1000 + i / 2),
            ("a short loop", |i| 1000 + i % 40),
        ];
        for (name, number) in wander {
            // With a clock of its own that wanders likewise, it takes longer to tell.
            let both = Run::both((0..600).map(number));
            assert!(both.longest_freeze() <= 13 && both.shown() >= 550, "{name}: {}", both.longest_freeze());
            for run in [Run::numbers((0..600).map(number)), Run::timecode((0..600).map(number))] {
                assert!(run.longest_freeze() <= 7, "{name}: {}", run.longest_freeze());
                assert!(run.shown() >= 570, "{name}: {}", run.shown());
                assert_eq!(run.order.disbelieved(), Some(Disbelieved::Numbers), "{name}");
                assert_eq!(run.order.loss(), None, "{name}");
            }
        }
    }

    #[test]
    fn order_step_back_is_a_new_count() {
        for back in [1, 5, 20, 60, 120, 255, 5000] {
            let numbers = || (0..600).map(|i| 10_000 + i - if i >= 300 { back } else { 0 });
            for run in [Run::numbers(numbers()), Run::timecode(numbers())] {
                assert!(run.shown() >= 599, "{back}: {}", run.shown());
                assert!(run.places.contains(&Place::Anew), "{back}");
                assert_eq!(run.order.disbelieved(), None, "{back}");
            }
        }
    }

    #[test]
    fn order_reordered_packets_are_late_not_newest() {
        let arrivals: [(&str, fn(i64) -> i64); 3] = [
            ("pairs", |i| i ^ 1),
            ("threes backwards", |i| i / 3 * 3 + 2 - i % 3),
            ("one overtakes five", |i| if i % 6 == 0 { i + 5 } else { i - 1 }),
        ];
        for (name, number) in arrivals {
            for run in [Run::numbers((0..600).map(number)), Run::timecode((0..600).map(number))] {
                let mut newest = -1;
                for (place, number) in run.places.iter().zip((0..600).map(number)) {
                    match place {
                        Place::Newest => assert!(number > std::mem::replace(&mut newest, number), "{name}"),
                        Place::Anew => panic!("{name}: {number}"),
                        Place::Late | Place::Stale => assert!(number < newest, "{name}"),
                    }
                }
                assert_eq!(run.order.disbelieved(), None, "{name}");
                assert!(run.order.loss().is_some_and(|loss| loss < 0.02), "{name}: {:?}", run.order.loss());
            }
        }
    }

    #[test]
    fn order_copies_are_dropped_and_still_faces_are_not() {
        let mut run = Run::new();
        for i in 0..300_i64 {
            let stated = Stated { number: Some(i as u64), face: i as u64, ..Stated::default() };
            run.at(i * FRAME_US, stated);
            run.at(i * FRAME_US + 900, stated);
        }
        assert_eq!((run.shown(), run.order.disbelieved()), (300, None));
        // The same face under the same number, over and over: it is alive.
        let mut run = Run::new();
        (0..300).for_each(|i| run.at(i * FRAME_US, Stated { number: Some(7), ..Stated::default() }));
        assert_eq!(run.shown(), 300);
    }

    #[test]
    fn order_numbers_that_are_right_again_are_believed() {
        let run = Run::numbers((0..1200).map(|i| if i < 300 { 7 } else { 1000 + i }));
        assert_eq!(run.order.disbelieved(), None);
        assert_eq!(run.shown(), 1200);
    }

    #[test]
    fn order_clock_without_numbers() {
        let clock = |clock: fn(i64) -> i64| {
            let mut run = Run::new();
            for i in 0..600 {
                run.at(i * FRAME_US, Stated { clock_us: Some(clock(i)), face: i as u64, ..Stated::default() });
            }
            run
        };
        let set_back = clock(|i| 1_700_000_000_000_000 + i * FRAME_US - if i >= 300 { 1_000_000 } else { 0 });
        assert!(set_back.shown() >= 599 && set_back.order.disbelieved().is_none());
        let seconds = clock(|i| i * FRAME_US / 1_000_000 * 1_000_000);
        assert!(seconds.shown() >= 599 && seconds.order.disbelieved().is_some());
        let rough = clock(|i| i * FRAME_US + (i * 7919) % 40_000);
        assert!(rough.longest_freeze() <= 3 && rough.shown() > 570, "{}", rough.shown());
        for (pace, wrong) in [(1.0, false), (0.999, false), (0.95, true), (0.5, true), (1.2, true), (2.0, true)] {
            let mut run = Run::new();
            for i in 0..900 {
                let clock_us = Some((i as f64 * FRAME_US as f64 * pace) as i64);
                run.at(i * FRAME_US, Stated { clock_us, face: i as u64, ..Stated::default() });
            }
            assert_eq!(run.order.disbelieved(), wrong.then_some(Disbelieved::Pace), "{pace}");
            assert_eq!(run.shown(), 900);
        }
    }

    #[test]
    fn order_backlog_of_our_own_format_is_no_new_count() {
        let mut run = Run::new();
        let stated = |number: i64| Stated { number: Some(number as u64), exact: true, ..Stated::default() };
        (0..500).for_each(|i| run.at(i * FRAME_US, stated(1000 + i)));
        // A second path delivers what the first one held back, between the new ones and all at once.
        for i in 0..200 {
            run.at((500 + i) * FRAME_US, stated(1500 + i));
            run.at((500 + i) * FRAME_US + 500, stated(1400 + i));
        }
        (0..100).for_each(|i| run.at(701 * FRAME_US + i * 50, stated(1300 + i)));
        assert_eq!(run.shown(), 700);
        assert_eq!(run.order.disbelieved(), None);
    }
}
