//! The jitter buffer of a face: which pose is shown at a presentation time?
//!
//! Frames arrive unevenly, and some not at all. Shown on arrival, a face trembles with the network and jumps after each
//! loss. So it is shown a little behind: a *cursor* runs evenly along the source's own time, and the face between two
//! frames is interpolated. How far behind follows from how late frames are (a quantile of their delay, as in WebRTC's
//! audio), and changes by running a little faster or slower, never by a jump. Missing frames are concealed: by
//! interpolation when the next frame is there, else by going on for a moment, slower and slower, then by holding. What
//! turns out differently when frames come again is blended away.

mod blend;
mod blink;

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

use self::{
    blend::{Residual, Span},
    blink::Blinks,
};
use super::{DelayMeter, Stamp, clock::micros, one_euro::FaceFilter};
use crate::{frame::FaceFrame, wire::viseme::Viseme};

/// Frames that are kept; more than half a second of the quickest source.
const MOST: usize = 64;
/// Of those, so much before the cursor: what curves and late frames need.
const PAST_US: i64 = 250_000;
/// The cursor runs at most this much faster or slower.
const MAX_SPEED: f64 = 0.1;
/// And approaches its target with this time constant, seconds.
const APPROACH: f64 = 0.25;
/// Further off than this it jumps, and the face blends.
const JUMP_US: i64 = 250_000;
/// Between frames this far apart the face holds, and moves only just before the later one.
const BRIDGE_US: i64 = 300_000;
const BRIDGE_END_US: i64 = 100_000;
/// An extrapolated motion is blended back over this time.
const BACK_US: i64 = 120_000;
/// After so much silence nothing is left to blend with.
const FORGOTTEN_US: i64 = 1_000_000;
/// Share of missing frames that is none, and that is loss.
const CLEAN: f32 = 0.005;
const LOSSY: f32 = 0.02;
/// A frame this much too early is no jitter.
const EARLY_US: i64 = 25_000;
/// Slower sources than this are not waited for by their interval.
const SLOWEST_US: i64 = 120_000;

/// How a stream of frames becomes a face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
pub enum PlayoutMode {
    /// The newest frame, as soon as it is there: no delay, and every unevenness of the network.
    Latest,
    /// As little behind as the network allows, the default: three quarters of a frame on a good one.
    #[default]
    Smooth,
    /// Behind the quickest frame by this time, whatever the network does.
    Fixed(Duration),
    /// At the moment that [`Playout::set_reference`] gives: several faces, and sound, in step.
    Timecode,
}

/// Settings of a [`Playout`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
pub struct PlayoutSettings {
    /// How frames become a face; [`PlayoutMode::Smooth`] by default.
    pub mode: PlayoutMode,
    /// In [`PlayoutMode::Smooth`] and [`PlayoutMode::Timecode`], the share of frames that arrive before their playout
    /// deadline, `0..=1`; 0.95 by default.
    pub quantile: f32,
    /// And how much of the time between two frames to wait on top: at 1 the next frame is always there before it is
    /// needed, at 0.75, the default, three times of four.
    pub margin: f32,
    /// The same where frames get lost: then the one after the next is needed; 1.35 by default.
    pub lossy_margin: f32,
    /// Least delay of [`PlayoutMode::Smooth`] and [`PlayoutMode::Timecode`]; none by default.
    pub least: Duration,
    /// And the most; 150 ms by default.
    pub most: Duration,
    /// How long a face is extrapolated when no frame arrives, slower and slower; 50 ms by default.
    pub extrapolate: Duration,
    /// Whether a blink that would fall between two rendered frames, or arrives too late, is shown all the same; it is by
    /// default.
    pub keep_blinks: bool,
}

impl Default for PlayoutSettings {
    fn default() -> Self {
        Self {
            mode: PlayoutMode::default(),
            quantile: 0.95,
            margin: 0.75,
            lossy_margin: 1.35,
            least: Duration::ZERO,
            most: Duration::from_millis(150),
            extrapolate: Duration::from_millis(50),
            keep_blinks: true,
        }
    }
}

impl PlayoutSettings {
    /// How far behind its quickest frame a face is to be shown, microseconds: by how late frames are, the time between two
    /// of them, and the share of them that is missing, `0..=1`.
    pub fn delay_us(&self, meter: &DelayMeter, interval_us: i64, missing: f32) -> i64 {
        let us = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4);
        match self.mode {
            PlayoutMode::Latest => 0,
            PlayoutMode::Fixed(delay) => us(delay),
            PlayoutMode::Smooth | PlayoutMode::Timecode => {
                // Where frames get lost, the one after the next has to be waited for.
                let lossy = ((missing - CLEAN) / (LOSSY - CLEAN)).clamp(0.0, 1.0);
                let margin = self.margin + (self.lossy_margin - self.margin).max(0.0) * lossy;
                let margin_us = (interval_us.min(SLOWEST_US) as f32 * margin) as i64;
                (meter.quantile_us(self.quantile) + margin_us).clamp(us(self.least), us(self.most).max(us(self.least)))
            }
        }
    }
}

/// How a shown pose was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concealed {
    /// Frames that came.
    #[default]
    No,
    /// The frames around one that did not.
    Interpolated,
    /// The last frames: the next one is late.
    Extrapolated,
    /// The last frame: none has arrived for longer.
    Held,
}

/// The pose at a presentation time.
#[derive(Debug)]
pub struct Shown<'a> {
    /// The face.
    pub frame: &'a FaceFrame,
    /// Its viseme.
    pub saying: Option<(Viseme, f32)>,
    /// How it was made.
    pub concealed: Concealed,
    /// When it was captured, microseconds on the source's clock; `None` for a face without a time stamp.
    pub capture_us: Option<i64>,
}

/// Statistics of a [`Playout`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PlayoutStats {
    /// How far behind the quickest frame the face is shown, milliseconds.
    pub delay_ms: f32,
    /// And how far it is meant to be.
    pub target_ms: f32,
    /// Delay of the filter, milliseconds.
    pub filter_lag_ms: f32,
    /// Poses shown since the start.
    pub shown: u64,
    /// Poses in which a missing frame was interpolated.
    pub interpolated: u64,
    /// Poses that were extrapolated.
    pub extrapolated: u64,
    /// Poses that were held.
    pub held: u64,
    /// Frames that came after their moment.
    pub late: u64,
    /// Times that the cursor jumped.
    pub jumps: u64,
    /// Blinks that were made up for.
    pub blinks: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    capture_us: i64,
    frame: FaceFrame,
    saying: Option<(Viseme, f32)>,
}

/// The jitter buffer of one subject. `now` is passed in, and nothing is allocated once it has run for a while.
#[derive(Clone, Debug)]
pub struct Playout {
    settings: PlayoutSettings,
    /// Applied to frames as they come; off unless set.
    pub filter: FaceFilter,
    /// Oldest first.
    frames: VecDeque<Entry>,
    origin: Option<Instant>,
    epoch: u32,
    base_us: i64,
    interval_us: i64,
    /// How much earlier than estimated the newest frame arrived.
    ahead_us: i64,
    meter: DelayMeter,
    /// Share of frames that did not arrive in their own packets lately.
    missing: f32,
    last_own_us: Option<i64>,
    reference_us: Option<i64>,
    cursor_us: Option<i64>,
    last_now_us: i64,
    /// The last pose went beyond the newest frame.
    beyond: bool,
    /// The shown pose would jump.
    broken: bool,
    /// A face without a time stamp is shown.
    put: bool,
    out: FaceFrame,
    saying: Option<(Viseme, f32)>,
    scratch: FaceFrame,
    residual: Residual,
    blinks: Blinks,
    stats: PlayoutStats,
}

impl Default for Playout {
    fn default() -> Self {
        Self::new(PlayoutSettings::default())
    }
}

impl Playout {
    /// An empty buffer.
    pub fn new(settings: PlayoutSettings) -> Self {
        Self {
            settings,
            filter: FaceFilter::off(),
            frames: VecDeque::with_capacity(MOST + 1),
            origin: None,
            epoch: 0,
            base_us: 0,
            interval_us: 0,
            ahead_us: 0,
            meter: DelayMeter::default(),
            missing: 0.0,
            last_own_us: None,
            reference_us: None,
            cursor_us: None,
            last_now_us: 0,
            beyond: false,
            broken: false,
            put: false,
            out: FaceFrame::default(),
            saying: None,
            scratch: FaceFrame::default(),
            residual: Residual::default(),
            blinks: Blinks::default(),
            stats: PlayoutStats::default(),
        }
    }

    /// The settings in force.
    pub const fn settings(&self) -> &PlayoutSettings {
        &self.settings
    }

    /// Changes the settings; the face blends.
    pub fn set(&mut self, settings: PlayoutSettings) {
        self.broken |= settings.mode != self.settings.mode;
        self.settings = settings;
    }

    /// In [`PlayoutMode::Timecode`]: the moment to show, microseconds on the source's clock.
    pub const fn set_reference(&mut self, capture_us: Option<i64>) {
        self.reference_us = capture_us;
    }

    /// How far a source's clock has to be set back so that its frames arrive before their playout deadline, microseconds: our time (since
    /// the clock's origin) less this is the moment to show. `None` before the first frame.
    pub fn lead_us(&self) -> Option<i64> {
        self.origin.map(|_| self.base_us + self.target_us())
    }

    /// A moment on our clock, as [`lead_us`](Self::lead_us) counts. `None` before the first frame.
    pub fn now_us(&self, now: Instant) -> Option<i64> {
        self.origin.map(|origin| micros(now, origin))
    }

    /// Statistics since the start.
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats {
            target_ms: self.target_us() as f32 / 1000.0,
            filter_lag_ms: self.filter.lag_ms(),
            blinks: self.blinks.made_up(),
            ..self.stats
        }
    }

    /// Captured when, of the newest frame; microseconds on the source's clock.
    pub fn newest_us(&self) -> Option<i64> {
        self.frames.back().map(|entry| entry.capture_us)
    }

    fn target_us(&self) -> i64 {
        self.settings.delay_us(&self.meter, self.interval_us, self.missing)
    }

    /// Takes a frame that arrived at `received`, in any order. `repeated`: it came again in a later packet.
    pub fn push(
        &mut self,
        mut frame: FaceFrame,
        saying: Option<(Viseme, f32)>,
        stamp: &Stamp,
        received: Instant,
        repeated: bool,
    ) {
        let arrival = u64::try_from(stamp.arrival_us()).unwrap_or(0);
        self.origin = self.origin.or_else(|| received.checked_sub(Duration::from_micros(arrival)));
        if stamp.epoch != self.epoch {
            // The source's clock was set: the buffered frames move along with it.
            let shift = self.base_us - stamp.base_us;
            // What came before is older, whatever its stamp said.
            let (mut latest_us, apart_us) = (stamp.capture_us, (self.interval_us * 3 / 4).max(1));
            for entry in self.frames.iter_mut().rev() {
                latest_us = (entry.capture_us + shift).min(latest_us - apart_us);
                entry.capture_us = latest_us;
            }
            let cursor_us = self.cursor_us.map(|cursor| cursor + shift);
            self.broken |= cursor_us.is_some_and(|cursor| cursor > stamp.capture_us);
            self.cursor_us = cursor_us.map(|cursor| cursor.min(stamp.capture_us));
            self.epoch = stamp.epoch;
        }
        self.base_us = stamp.base_us;
        self.interval_us = stamp.interval_us;
        // A frame that is there already is shown, whatever its stamp.
        if stamp.queue_us < -EARLY_US {
            self.ahead_us = -stamp.queue_us;
        } else if !repeated {
            self.ahead_us = 0;
        }
        if !repeated {
            self.meter.record(stamp);
            self.count_missing(stamp);
        }
        if !frame.tracked
            && let Some(last) = self.frames.back()
        {
            // Many trackers send zeros once they have lost the face.
            let lost = frame;
            frame = FaceFrame { tracked: false, sequence: lost.sequence, ..last.frame.clone() };
        }
        let capture_us = stamp.capture_us;
        if self.frames.back().is_none_or(|last| capture_us > last.capture_us) {
            self.filter.apply(&mut frame, capture_us);
        }
        if self.cursor_us.is_some_and(|cursor| capture_us <= cursor) {
            self.stats.late += 1;
            if self.settings.keep_blinks && self.settings.mode != PlayoutMode::Latest {
                self.blinks.late(&frame, self.cursor_us.unwrap_or(capture_us) - capture_us);
            }
        }
        let place = self.frames.iter().rposition(|entry| entry.capture_us <= capture_us);
        match place {
            Some(place) if self.frames[place].capture_us == capture_us => {
                self.frames[place].frame = frame;
                self.frames[place].saying = saying;
            }
            place => {
                let place = place.map_or(0, |place| place + 1);
                // A frame from long ago would only push out a useful one.
                if place > 0 || self.frames.len() < MOST {
                    self.frames.insert(place, Entry { capture_us, frame, saying });
                }
            }
        }
        if self.frames.len() > MOST {
            self.frames.pop_front();
        }
        self.broken |= self.beyond;
        self.put = false;
    }

    fn count_missing(&mut self, stamp: &Stamp) {
        let last = self.last_own_us.replace(stamp.capture_us);
        let Some(step) = last.map(|last| stamp.capture_us - last).filter(|step| *step > 0) else { return };
        if self.interval_us > 0 && step < BRIDGE_US {
            let missing = ((step + self.interval_us / 2) / self.interval_us - 1).clamp(0, 4) as f32;
            self.missing += (missing / (1.0 + missing) - self.missing) * ((1.0 + missing) / 300.0);
        }
    }

    /// Its viseme from now on, where that does not arrive with a frame: it is not delayed.
    pub fn say(&mut self, saying: Option<(Viseme, f32)>) {
        self.saying = saying;
        self.frames.iter_mut().for_each(|entry| entry.saying = saying);
    }

    /// Shows a face without a time stamp at once, until one with a stamp arrives.
    pub fn put(&mut self, frame: FaceFrame, saying: Option<(Viseme, f32)>) {
        if frame.tracked {
            self.out = frame;
        } else {
            (self.out.tracked, self.out.sequence) = (false, frame.sequence);
        }
        self.saying = saying;
        self.frames.clear();
        self.cursor_us = None;
        self.put = true;
    }

    /// The face at this moment; `None` before the first frame.
    pub fn advance(&mut self, now: Instant) -> Option<Shown<'_>> {
        if self.put {
            self.stats.shown += 1;
            let (frame, saying) = (&self.out, self.saying);
            return Some(Shown { frame, saying, concealed: Concealed::No, capture_us: None });
        }
        let now_us = micros(now, self.origin?);
        let newest_us = self.frames.back()?.capture_us;
        let dt_us = (now_us - self.last_now_us).max(0);
        let before_us = self.cursor_us;
        let cursor_us = self.run(now_us, dt_us, newest_us);
        self.cursor_us = Some(cursor_us);
        self.last_now_us = now_us;
        self.stats.delay_ms = (now_us - self.base_us - cursor_us) as f32 / 1000.0;

        let dt = dt_us as f32 / 1e6;
        if std::mem::take(&mut self.broken)
            && let Some(before) = before_us
            && before - newest_us < FORGOTTEN_US
            && cursor_us - before < FORGOTTEN_US
            && dt_us < FORGOTTEN_US
        {
            // Where the face would be had it always been known; what is shown differs by the residual.
            self.sample(cursor_us - dt_us, true);
            self.residual.set(&self.out, &self.scratch);
        } else if before_us.is_none() {
            self.residual.clear();
        }
        let concealed = self.sample(cursor_us, false);
        self.beyond = cursor_us > newest_us;
        self.residual.apply(&mut self.out, dt);
        if self.settings.keep_blinks {
            let passed = before_us.map_or(cursor_us, |before| before.min(cursor_us));
            let peaks = self
                .frames
                .iter()
                .filter(|entry| entry.capture_us > passed && entry.capture_us <= cursor_us)
                .map(|entry| &entry.frame);
            self.blinks.apply(&mut self.out, peaks, dt);
        }
        self.stats.shown += 1;
        match concealed {
            Concealed::No => {}
            Concealed::Interpolated => self.stats.interpolated += 1,
            Concealed::Extrapolated => self.stats.extrapolated += 1,
            Concealed::Held => self.stats.held += 1,
        }
        while self.frames.len() > 4 && self.frames[2].capture_us < cursor_us - PAST_US {
            self.frames.pop_front();
        }
        Some(Shown { frame: &self.out, saying: self.saying, concealed, capture_us: Some(cursor_us) })
    }

    /// Moves the cursor.
    fn run(&mut self, now_us: i64, dt_us: i64, newest_us: i64) -> i64 {
        let wanted_us = match (self.settings.mode, self.reference_us) {
            (PlayoutMode::Latest, _) => return newest_us,
            (PlayoutMode::Timecode, Some(reference)) => reference,
            _ => now_us - self.base_us - self.target_us() + self.ahead_us,
        };
        let Some(cursor) = self.cursor_us else { return wanted_us };
        let natural = cursor + dt_us;
        let off = wanted_us - natural;
        if off.abs() > JUMP_US {
            self.stats.jumps += 1;
            self.broken = true;
            return wanted_us;
        }
        let most = dt_us as f64 * MAX_SPEED;
        let step = off as f64 * (1.0 - (-(dt_us as f64) / 1e6 / APPROACH).exp());
        natural + step.clamp(-most, most) as i64
    }

    /// The face at a moment of the source's time, by the frames that are there.
    fn sample(&mut self, at_us: i64, into_scratch: bool) -> Concealed {
        let out = if into_scratch { &mut self.scratch } else { &mut self.out };
        let frames = &self.frames;
        let Some(after) = frames.iter().position(|entry| entry.capture_us > at_us) else {
            return self.beyond_newest(at_us, into_scratch);
        };
        let next = &frames[after];
        let Some(before) = after.checked_sub(1) else {
            blend::copy(out, &next.frame);
            return Concealed::No;
        };
        let last = &frames[before];
        if !into_scratch {
            self.saying = last.saying;
        }
        let gap = next.capture_us - last.capture_us;
        let into = if gap > BRIDGE_US { BRIDGE_END_US - (next.capture_us - at_us) } else { at_us - last.capture_us };
        let share = into.max(0) as f32 / gap.min(if gap > BRIDGE_US { BRIDGE_END_US } else { gap }).max(1) as f32;
        let near = |entry: &&Entry, other: &Entry| (entry.capture_us - other.capture_us).abs() < BRIDGE_US;
        let span = Span {
            earlier: before
                .checked_sub(1)
                .and_then(|i| frames.get(i))
                .filter(|entry| near(entry, last))
                .map(|entry| (&entry.frame, (last.capture_us - entry.capture_us) as f32 / gap as f32)),
            last: &last.frame,
            next: &next.frame,
            later: frames
                .get(after + 1)
                .filter(|entry| near(entry, next))
                .map(|entry| (&entry.frame, (entry.capture_us - next.capture_us) as f32 / gap as f32)),
        };
        blend::between(out, &span, share);
        let missing = self.interval_us > 0 && gap * 10 > self.interval_us * 16;
        if missing { Concealed::Interpolated } else { Concealed::No }
    }

    fn beyond_newest(&mut self, at_us: i64, into_scratch: bool) -> Concealed {
        let out = if into_scratch { &mut self.scratch } else { &mut self.out };
        let Some(last) = self.frames.back() else { return Concealed::Held };
        if !into_scratch {
            self.saying = last.saying;
        }
        let over_us = at_us - last.capture_us;
        let most_us = i64::try_from(self.settings.extrapolate.as_micros()).unwrap_or(0);
        let earlier = self.frames.len().checked_sub(2).and_then(|i| self.frames.get(i));
        let earlier = earlier.filter(|entry| last.capture_us - entry.capture_us < SLOWEST_US && last.frame.tracked);
        match earlier {
            Some(earlier) if most_us > 0 => {
                let step_us = (last.capture_us - earlier.capture_us).max(1);
                // After that it blends back to the last frame: what is held is a received pose.
                let back = 1.0 - ((over_us - most_us) as f32 / BACK_US as f32).clamp(0.0, 1.0);
                let over = over_us.min(most_us) as f32 / 1e6;
                blend::beyond(out, &earlier.frame, &last.frame, over, step_us as f32 / 1e6, back);
            }
            _ => blend::copy(out, &last.frame),
        }
        if over_us > most_us.max(self.interval_us * 5 / 4) {
            Concealed::Held
        } else if over_us * 4 > self.interval_us * 3 {
            Concealed::Extrapolated
        } else {
            Concealed::No
        }
    }
}
