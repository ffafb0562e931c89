//! One face over time, from a sender's partial, late or interrupted messages, and what it is called.

mod rules;

use std::{sync::Arc, time::Duration};

use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS},
    names::BLENDSHAPE_COUNT,
    time::Instant,
    timing::{Disbelieved, FrameOrder, Place, Stated},
    wire::{json::VisemeMessage, viseme::Viseme},
};

pub use crate::frame::FACE_HOLD;
pub use rules::{MAX_SUBJECT_RULES, SubjectError, SubjectRules};

// What happens to a face that stops, by default, from its last frame on:
//
// after 100 ms  [`HOLD_MISSING`]: a value that messages leave out counts as 0
// after 250 ms  [`FACE_HOLD`]: the engine eases the face to neutral, over 750 ms
// after 1 s     [`SILENT_AFTER`]: stats count it as not tracked; [`GOODBYE_GRACE`]: it is lost if its sender said goodbye
// after 5 s     [`SUBJECT_TIMEOUT`]: it is lost; [`RECONNECT_GRACE`]: its client can no longer take it up again

/// A value that a message leaves out keeps its last one for this long.
pub const HOLD_MISSING: Duration = Duration::from_millis(100);
/// Without a frame for this long, a face counts as not tracked in the stats.
pub const SILENT_AFTER: Duration = Duration::from_secs(1);
/// A face whose sender said goodbye is kept this long, for another sender to take it up.
pub const GOODBYE_GRACE: Duration = Duration::from_secs(1);
/// A face whose connection broke off is kept this long by default, for its client to come back.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(5);
/// A source that is silent for this long is gone by default, and its faces with it.
pub const SUBJECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The bits of every shape.
const ALL_SHAPES: u64 = (1 << BLENDSHAPE_COUNT) - 1;

/// The bits of the shapes that visemes move.
const SPOKEN_SHAPES: u64 = Viseme::moved_shapes();

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
    /// When a message held every shape: all were seen then.
    whole: Option<Instant>,
    channels_seen: Vec<Instant>,
    head_seen: Option<Instant>,
    gaze_seen: Option<Instant>,
    viseme: Option<ActiveViseme>,
    speaks: bool,
    viseme_names: Vec<(Viseme, Arc<str>)>,
    order: FrameOrder,
    anew: bool,
    frames: u64,
    stale: u64,
}

#[derive(Clone, Debug)]
struct ActiveViseme {
    message: VisemeMessage,
    since: Instant,
    channel: Arc<str>,
}

/// How a frame was sent, besides what is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Sent {
    /// The sender's wall clock, Unix milliseconds, where the message gives it.
    pub unix_ms: Option<f64>,
    /// It is of a format of our own, or was checked by its decoder: its number can be relied on.
    pub exact: bool,
    /// Numbers before this one that a relay has left out on purpose: they are not lost.
    pub left_out: u64,
}

impl Sent {
    /// At a time of the sender's wall clock, where it is known.
    pub const fn at(unix_ms: Option<f64>) -> Self {
        Self { unix_ms, exact: false, left_out: 0 }
    }

    /// The same with a number that can be relied on.
    #[must_use]
    pub const fn exact(self, exact: bool) -> Self {
        Self { exact, ..self }
    }

    /// The same when so many numbers before this one were left out on purpose.
    #[must_use]
    pub const fn left_out(self, left_out: u64) -> Self {
        Self { left_out, ..self }
    }
}

impl SubjectState {
    /// Takes a message. Anything but [`Taken::Newer`] changes nothing.
    pub fn apply(&mut self, frame: &FaceFrame, sent: Sent, now: Instant) -> Taken {
        let place = self.order.record(&stated(frame, sent), now);
        self.anew = place == Place::Anew;
        match place {
            Place::Newest | Place::Anew => {}
            Place::Late | Place::Stale => {
                self.stale += 1;
                return if place == Place::Late { Taken::Late } else { Taken::Stale };
            }
        }
        self.frames += 1;
        self.merged.tracked = frame.tracked;
        self.merged.sequence = Some(frame.sequence.filter(|_| self.numbers_hold()).unwrap_or(self.frames));
        self.merged.capture_time = frame.capture_time;
        if frame.tracked || !frame.is_empty() {
            self.merge(frame, now);
        }
        Taken::Newer
    }

    /// What of the sender's own account of order and time is not believed now.
    pub fn disbelieved(&self) -> Option<Disbelieved> {
        self.order.disbelieved()
    }

    /// Whether the sender's frame numbers are believed.
    pub fn numbers_hold(&self) -> bool {
        self.disbelieved() != Some(Disbelieved::Numbers)
    }

    /// Whether the sender's count or clock began anew with the last message that was taken.
    pub fn began_anew(&self) -> bool {
        self.anew
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
        if frame.present & ALL_SHAPES == ALL_SHAPES {
            self.merged.weights = frame.weights;
            self.whole = Some(now);
        } else {
            let seen = self.seen.get_or_insert([now; BLENDSHAPE_COUNT]);
            for (i, seen) in seen.iter_mut().enumerate() {
                if frame.present & (1 << i) != 0 {
                    self.merged.weights[i] = frame.weights[i];
                    *seen = now;
                } else if is_old(self.whole.map_or(*seen, |whole| whole.max(*seen)), now) {
                    self.merged.weights[i] = 0.0;
                }
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
        self.order = FrameOrder::default();
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
        self.speaks = true;
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
    /// larger value. From the first viseme on, the shapes that visemes move count as given.
    pub fn current(&self) -> FaceFrame {
        let mut frame = self.merged.clone();
        self.add_viseme(&mut frame);
        frame
    }

    /// Puts the viseme that holds on a face.
    pub fn add_viseme(&self, frame: &mut FaceFrame) {
        if self.speaks {
            frame.present |= SPOKEN_SHAPES;
        }
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

    /// Share of frames lost, where they are numbered and the numbers are believed.
    pub fn loss(&self) -> Option<f32> {
        self.order.loss()
    }
}

/// What a frame says about its place and time.
fn stated(frame: &FaceFrame, sent: Sent) -> Stated {
    let capture_us = frame.capture_time.map(|time| i64::try_from(time.as_micros()).unwrap_or(i64::MAX));
    let unix_us = sent.unix_ms.filter(|ms| ms.is_finite()).map(|ms| (ms * 1000.0) as i64);
    Stated {
        number: frame.sequence,
        clock_us: capture_us.or(unix_us),
        independent: frame.sequence.is_some() && unix_us.is_some(),
        exact: sent.exact,
        face: fingerprint(frame),
        left_out: sent.left_out,
    }
}

/// Equal for equal faces, and almost never for others.
fn fingerprint(frame: &FaceFrame) -> u64 {
    // As FxHash does it.
    let with = |hash: u64, value: u64| (hash.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    // Four side by side, for each has to wait for its own last multiplication.
    let mut lanes = [frame.present, u64::from(frame.tracked), 0, 0];
    for weights in frame.weights.chunks(lanes.len()) {
        for (lane, weight) in lanes.iter_mut().zip(weights) {
            *lane = with(*lane, u64::from(weight.to_bits()));
        }
    }
    let mut hash = lanes.into_iter().fold(0, with);
    let mut add = |value: f32| hash = with(hash, u64::from(value.to_bits()));
    frame.channels.iter().for_each(|channel| add(channel.value));
    if let Some(head) = frame.head {
        head.rotation.iter().chain(head.position.iter().flatten()).for_each(|part| add(*part));
    }
    if let Some(gaze) = frame.gaze {
        [gaze.left, gaze.right].iter().for_each(|eye| [eye.yaw, eye.pitch].into_iter().for_each(&mut add));
    }
    hash
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
        state.apply(&frame(&[(Blendshape::JawOpen, 0.5), (Blendshape::CheekPuff, 0.25)]), Sent::at(None), at(0));
        state.apply(&frame(&[(Blendshape::CheekPuff, 0.3)]), Sent::at(None), at(90));
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5);
        state.apply(&frame(&[(Blendshape::CheekPuff, 0.4)]), Sent::at(None), at(101));
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.0);
        assert_eq!(state.current().weights[Blendshape::CheekPuff.index()], 0.4);
    }

    #[test]
    fn subject_late_frame_changes_nothing() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        let numbered = |number, weight| FaceFrame { sequence: Some(number), ..frame(&[(Blendshape::JawOpen, weight)]) };
        assert_eq!(state.apply(&numbered(10, 0.1), Sent::at(None), start), Taken::Newer);
        assert_eq!(state.apply(&numbered(12, 0.3), Sent::at(None), start), Taken::Newer);
        assert_eq!(state.apply(&numbered(11, 0.2), Sent::at(None), start), Taken::Late);
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.3);
        assert_eq!(state.apply(&numbered(11, 0.2), Sent::at(None), start), Taken::Stale, "a double");
        assert_eq!((state.frames(), state.stale()), (2, 2));

        // A backlog of any length that comes out late is no new count, for number and clock agree that it is old.
        assert_eq!(state.apply(&numbered(1000, 0.5), Sent::at(Some(20_000.0)), start), Taken::Newer);
        for late in 0..200 {
            assert_ne!(
                state.apply(&numbered(800 + late, 0.9), Sent::at(Some(16_000.0 + late as f64)), start),
                Taken::Newer,
                "{late}"
            );
        }
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5);
        let anew = [(1, 20_001.0), (2, 20_002.0)]
            .map(|(number, ms)| state.apply(&numbered(number, 0.7), Sent::at(Some(ms)), start));
        assert!(anew.contains(&Taken::Newer));

        let mut by_clock = SubjectState::default();
        assert_eq!(by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.1)]), Sent::at(Some(5000.0)), start), Taken::Newer);
        let earlier = by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.9)]), Sent::at(Some(4990.0)), start);
        assert_eq!(earlier, Taken::Late, "it may have been overtaken");
        let set_back = by_clock.apply(&frame(&[(Blendshape::JawOpen, 0.2)]), Sent::at(Some(1000.0)), start);
        assert_eq!(set_back, Taken::Newer, "the clock was set back");
    }

    #[test]
    fn subject_lost_face_keeps_values_and_is_marked() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        state.apply(&frame(&[(Blendshape::JawOpen, 0.5)]), Sent::at(None), start);
        let lost = FaceFrame { tracked: false, ..FaceFrame::default() };
        state.apply(&lost, Sent::at(None), start + Duration::from_secs(3));
        assert!(!state.tracked());
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.5, "easing is the engine's part");
    }

    #[test]
    fn subject_that_only_speaks_gives_its_mouth() {
        let start = Instant::now();
        let mut state = SubjectState::default();
        let message = VisemeMessage { viseme: Viseme::Aa, weight: 1.0, duration: Some(Duration::from_millis(50)) };
        assert_eq!(state.current().present, 0);
        state.speak(message, start);
        let spoken = state.current();
        assert!(Viseme::Aa.shapes().iter().all(|(shape, share)| spoken.get(*shape) == Some(*share)));
        assert_eq!(spoken.get(Blendshape::MouthPressLeft), Some(0.0), "of another viseme");
        assert_eq!(spoken.get(Blendshape::EyeBlinkLeft), None);
        assert!(state.expire_viseme(start + Duration::from_millis(50)));
        assert_eq!(state.current().get(Blendshape::JawOpen), Some(0.0), "closed, not left out");
        assert_eq!(state.merged().present, 0, "what is said is no part of the face");
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
        state.apply(&frame(&[(Blendshape::JawOpen, 0.9)]), Sent::at(None), start);
        assert_eq!(state.current().weights[Blendshape::JawOpen.index()], 0.9);
        assert!(!state.expire_viseme(start + Duration::from_millis(199)));
        assert!(state.expire_viseme(start + Duration::from_millis(200)));
        assert!(state.current().channels.is_empty());
    }
}
