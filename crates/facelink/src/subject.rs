//! One face over time, from a sender's partial, late or interrupted messages.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS},
    names::BLENDSHAPE_COUNT,
    timing::{LossMeter, Order},
    wire::{json::VisemeMessage, viseme::Viseme},
};

// What happens to a face that stops, by default, from its last frame on:
//
// after 100 ms  [`HOLD_MISSING`]: a value that messages leave out counts as 0
// after 250 ms  [`FACE_HOLD`]: the engine eases the face to neutral, over 750 ms
// after 1 s     [`SILENT_AFTER`]: stats count it as not tracked; [`GOODBYE_GRACE`]: it is lost if its sender said goodbye
// after 5 s     [`SUBJECT_TIMEOUT`]: it is lost; [`RECONNECT_GRACE`]: its client can no longer take it up again

/// A value that a message leaves out keeps its last one for this long.
pub const HOLD_MISSING: Duration = Duration::from_millis(100);
/// Without a frame for this long, an engine eases a face to neutral. A face that its tracker has lost eases at once.
pub const FACE_HOLD: Duration = Duration::from_millis(250);
/// Without a frame for this long, a face counts as not tracked in the stats.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// A face whose sender said goodbye is kept this long, for another sender to take it up.
pub const GOODBYE_GRACE: Duration = Duration::from_secs(1);
/// A face whose connection broke off is kept this long by default, for its client to come back.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(5);
/// A source that is silent for this long is gone by default, and its faces with it.
pub const SUBJECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is the newest now.
    Newer,
    /// A newer one was there before, but this very frame was not: it changes nothing that is newer, and still reports what
    /// the face was like.
    Late,
    /// It was there before, or there is no telling.
    Stale,
}

/// The newest state of one subject, merged by the rules of the wire.
#[derive(Debug, Default)]
pub struct SubjectState {
    merged: FaceFrame,
    seen: Option<[Instant; BLENDSHAPE_COUNT]>,
    channels_seen: Vec<Instant>,
    head_seen: Option<Instant>,
    gaze_seen: Option<Instant>,
    newest_unix_ms: Option<f64>,
    viseme: Option<ActiveViseme>,
    viseme_names: Vec<(Viseme, Arc<str>)>,
    loss: LossMeter,
    seen_numbers: Numbers,
    frames: u64,
    stale: u64,
}

#[derive(Clone, Debug)]
struct ActiveViseme {
    message: VisemeMessage,
    since: Instant,
    channel: Arc<str>,
}

/// A sender's wall clock that steps back by less than this is a late frame; by more, the clock was set.
const LATE_MS: f64 = 2000.0;

impl SubjectState {
    /// Takes a message. Anything but [`Taken::Newer`] changes nothing.
    pub fn apply(&mut self, frame: &FaceFrame, unix_ms: Option<f64>, now: Instant) -> Taken {
        let order = match (frame.sequence, unix_ms, self.newest_unix_ms) {
            // Number and clock agree: however much of a backlog comes out at once, it is no new count.
            (Some(number), Some(ms), Some(newest)) if ms < newest && self.loss.is_behind(number) => Order::Stale,
            (Some(number), ..) => self.loss.record(number),
            (None, Some(ms), Some(newest)) if ms < newest && newest - ms < LATE_MS => Order::Stale,
            _ => Order::Newer,
        };
        if order == Order::Stale {
            self.stale += 1;
            let missed = frame.sequence.is_some_and(|number| self.seen_numbers.fill(number));
            return if missed { Taken::Late } else { Taken::Stale };
        }
        if let Some(number) = frame.sequence {
            self.seen_numbers.note(number);
        }
        self.newest_unix_ms = unix_ms.or(self.newest_unix_ms);
        self.frames += 1;
        self.merged.tracked = frame.tracked;
        self.merged.sequence = Some(frame.sequence.unwrap_or(self.frames));
        self.merged.capture_time = frame.capture_time;
        if frame.tracked || !frame.is_empty() {
            self.merge(frame, now);
        }
        Taken::Newer
    }

    /// A late frame as a whole face, where it is one: its missing shapes cannot be known any more.
    pub fn late_face(&self, frame: &FaceFrame) -> Option<FaceFrame> {
        let whole = frame.tracked && frame.present & self.merged.present == self.merged.present;
        whole.then(|| {
            let mut face = frame.clone();
            if face.channels.is_empty() {
                face.channels.clone_from(&self.merged.channels);
            }
            face.head = face.head.or(self.merged.head);
            face.gaze = face.gaze.or(self.merged.gaze);
            face
        })
    }

    fn merge(&mut self, frame: &FaceFrame, now: Instant) {
        let seen = self.seen.get_or_insert([now; BLENDSHAPE_COUNT]);
        for (i, seen) in seen.iter_mut().enumerate() {
            if frame.present & (1 << i) != 0 {
                self.merged.weights[i] = frame.weights[i];
                *seen = now;
            } else if is_old(*seen, now) {
                self.merged.weights[i] = 0.0;
            }
        }
        self.merged.present |= frame.present;

        for channel in &frame.channels {
            match self.merged.channels.iter().position(|known| known.name == channel.name) {
                Some(i) => {
                    self.merged.channels[i].value = channel.value;
                    self.channels_seen[i] = now;
                }
                None if self.merged.channels.len() < MAX_CHANNELS => {
                    self.merged.channels.push(channel.clone());
                    self.channels_seen.push(now);
                }
                None => {}
            }
        }
        for (channel, seen) in self.merged.channels.iter_mut().zip(&self.channels_seen) {
            if is_old(*seen, now) {
                channel.value = 0.0;
            }
        }

        match frame.head {
            Some(head) => (self.merged.head, self.head_seen) = (Some(head), Some(now)),
            None if self.head_seen.is_some_and(|seen| is_old(seen, now)) => self.merged.head = None,
            None => {}
        }
        match frame.gaze {
            Some(gaze) => (self.merged.gaze, self.gaze_seen) = (Some(gaze), Some(now)),
            None if self.gaze_seen.is_some_and(|seen| is_old(seen, now)) => self.merged.gaze = None,
            None => {}
        }
    }

    /// A new sender took over: its count and clock start anew.
    pub fn restart_count(&mut self) {
        self.loss = LossMeter::default();
        self.seen_numbers = Numbers::default();
        self.newest_unix_ms = None;
    }

    /// Counts a message that brought no face, such as a viseme alone: the subject is there.
    pub fn touch(&mut self) {
        self.frames += 1;
        self.merged.tracked = true;
        self.merged.sequence = Some(self.frames);
    }

    /// Starts a viseme; it holds until the next one or the end of its duration.
    pub fn speak(&mut self, message: VisemeMessage, now: Instant) {
        let channel = match self.viseme_names.iter().find(|(viseme, _)| *viseme == message.viseme) {
            Some((_, name)) => name.clone(),
            None => {
                let name: Arc<str> = message.viseme.channel().into();
                self.viseme_names.push((message.viseme, name.clone()));
                name
            }
        };
        self.viseme = Some(ActiveViseme { message, since: now, channel });
    }

    /// Ends a viseme whose time is over; `true` when it did.
    pub fn expire_viseme(&mut self, now: Instant) -> bool {
        let over = self.viseme.as_ref().is_some_and(|viseme| {
            viseme.message.duration.is_some_and(|duration| now.saturating_duration_since(viseme.since) >= duration)
        });
        if over {
            self.viseme = None;
        }
        over
    }

    /// The face as it is now: the merged values, and the viseme that holds on top. A shape that both move takes the
    /// larger value.
    pub fn current(&self) -> FaceFrame {
        let mut frame = self.merged.clone();
        self.add_viseme(&mut frame);
        frame
    }

    /// Puts the viseme that holds on a face.
    pub fn add_viseme(&self, frame: &mut FaceFrame) {
        let Some(viseme) = &self.viseme else { return };
        for (shape, share) in viseme.message.viseme.shapes() {
            let weight = &mut frame.weights[shape.index()];
            *weight = weight.max(share * viseme.message.weight);
        }
        frame.channels.push(Channel { name: viseme.channel.clone(), value: viseme.message.weight });
    }

    /// The viseme that holds, and its weight.
    pub fn viseme(&self) -> Option<(Viseme, f32)> {
        self.viseme.as_ref().map(|active| (active.message.viseme, active.message.weight))
    }

    /// The face without the viseme.
    pub fn merged(&self) -> &FaceFrame {
        &self.merged
    }

    /// Whether the sender reports that it tracks a face.
    pub fn tracked(&self) -> bool {
        self.merged.tracked
    }

    /// Frames taken.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Frames that came after a newer one and were left out.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// Share of frames lost, where they are numbered.
    pub fn loss(&self) -> Option<f32> {
        self.loss.loss()
    }
}

/// Which of the last 64 frame numbers came.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    newest: u64,
    mask: u64,
}

impl Numbers {
    fn note(&mut self, number: u64) {
        let ahead = number.wrapping_sub(self.newest);
        self.mask = if self.mask != 0 && ahead < 64 { self.mask << ahead } else { 0 } | 1;
        self.newest = number;
    }

    /// Notes a number behind the newest; `true` when it was missing.
    fn fill(&mut self, number: u64) -> bool {
        let behind = self.newest.wrapping_sub(number);
        let missing = self.mask != 0 && (1..64).contains(&behind) && self.mask & (1 << behind) == 0;
        if missing {
            self.mask |= 1 << behind;
        }
        missing
    }
}

fn is_old(seen: Instant, now: Instant) -> bool {
    now.saturating_duration_since(seen) > HOLD_MISSING
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Blendshape;

    fn frame(shapes: &[(Blendshape, f32)]) -> FaceFrame {
        let mut frame = FaceFrame::default();
        for (shape, weight) in shapes {
            frame.set(*shape, *weight);
        }
        frame
    }

    #[test]
    fn subject_missing_shape_holds_for_100_ms_then_is_zero() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut state = SubjectState::default();
        state.apply(&frame(&[(Blendshape::JawOpen, 0.5), (Blendshape::CheekPuff, 0.25)]), None, at(0));
        state.apply(&frame(&[(Blendshape::CheekPuff, 0.3)]), None, at(90));
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5);
        state.apply(&frame(&[(Blendshape::CheekPuff, 0.4)]), None, at(101));
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.0);
        assert_eq!(state.current().weights[Blendshape::CheekPuff.index()], 0.4);
    }

    #[test]
    fn subject_late_frame_changes_nothing() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        let numbered = |number, weight| FaceFrame { sequence: Some(number), ..frame(&[(Blendshape::JawOpen, weight)]) };
        assert_eq!(state.apply(&numbered(10, 0.1), None, start), Taken::Newer);
        assert_eq!(state.apply(&numbered(12, 0.3), None, start), Taken::Newer);
        assert_eq!(state.apply(&numbered(11, 0.2), None, start), Taken::Late);
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.3);
        assert_eq!(state.apply(&numbered(11, 0.2), None, start), Taken::Stale, "a double");
        assert_eq!((state.frames(), state.stale()), (2, 2));

        // A backlog of any length that comes out late is no new count, for number and clock agree that it is old.
        assert_eq!(state.apply(&numbered(1000, 0.5), Some(20_000.0), start), Taken::Newer);
        for late in 0..200 {
            assert_ne!(
                state.apply(&numbered(800 + late, 0.9), Some(16_000.0 + late as f64), start),
                Taken::Newer,
                "{late}"
            );
        }
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5);
        let anew =
            [(1, 20_001.0), (2, 20_002.0)].map(|(number, ms)| state.apply(&numbered(number, 0.7), Some(ms), start));
        assert!(anew.contains(&Taken::Newer));

        let mut by_clock = SubjectState::default();
        assert_eq!(by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.1)]), Some(5000.0), start), Taken::Newer);
        assert_eq!(by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.9)]), Some(4990.0), start), Taken::Stale);
        let set_back = by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.2)]), Some(1000.0), start);
        assert_eq!(set_back, Taken::Newer, "the clock was set back");
    }

    #[test]
    fn subject_lost_face_keeps_values_and_is_marked() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        state.apply(&frame(&[(Blendshape::JawOpen, 0.5)]), None, start);
        let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
        state.apply(&lost, None, start + Duration::from_secs(3));
        assert!(!state.tracked());
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5, "easing is the engine's part");
    }

    #[test]
    fn subject_viseme_holds_until_end_and_yields_to_wider_mouth() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        state.speak(
            VisemeMessage { viseme: Viseme::Aa, weight: 0.5, duration: Some(Duration::from_millis(200)) },
            start,
        );
        let face = state.current();
        assert_eq!(face.weights[Blendshape::JawOpen.index()], 0.3);
        assert_eq!(face.channels.iter().find(|c| &*c.name == "viseme_aa").map(|c| c.value), Some(0.5));
        state.apply(&frame(&[(Blendshape::JawOpen, 0.9)]), None, start);
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.9);
        assert!(!state.expire_viseme(start + Duration::from_millis(199)));
        assert!(state.expire_viseme(start + Duration::from_millis(200)));
        assert!(state.current().channels.is_empty());
    }
}
