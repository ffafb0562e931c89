//! A take: frames of one face at times.

use std::time::Duration;

use super::rows::LlfRows;
use crate::{
    frame::{Channel, EyeGaze, FaceFrame, Gaze, HeadPose},
    names::BLENDSHAPE_COUNT,
    wire::profile::normalized,
};

/// Between frames further apart than this, the earlier one holds: what happened between them is unknown.
pub const LONGEST_STEP: Duration = Duration::from_millis(250);

/// Why frames are no take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TakeError {
    /// There are none.
    #[error("a take has at least one frame")]
    Empty,
    /// A frame is earlier than the one before it.
    #[error("frame {0} is earlier than the one before it")]
    GoesBack(usize),
    /// It does not start at time 0.
    #[error("the first frame is at {0:?}, and not at the start")]
    StartsLate(Duration),
}

/// One frame of a take.
#[derive(Clone, Debug, PartialEq)]
pub struct TakeFrame {
    /// Since the start of the take.
    pub time: Duration,
    /// The face.
    pub frame: FaceFrame,
}

/// A performance that was recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Take {
    frames: Vec<TakeFrame>,
    step: Duration,
    remarks: Vec<String>,
    rows: Option<LlfRows>,
}

impl Take {
    /// A take of frames in their order, the first at time 0.
    ///
    /// # Errors
    /// [`TakeError`] when there are no frames, or their times are out of order.
    pub fn new(frames: Vec<TakeFrame>) -> Result<Self, TakeError> {
        let first = frames.first().ok_or(TakeError::Empty)?;
        if first.time > Duration::ZERO {
            return Err(TakeError::StartsLate(first.time));
        }
        if let Some(place) = frames.windows(2).position(|pair| pair[1].time < pair[0].time) {
            return Err(TakeError::GoesBack(place + 1));
        }
        let step = usual_step(&frames);
        Ok(Self { frames, step, remarks: Vec::new(), rows: None })
    }

    /// The same with remarks, and with what a file of Live Link Face has besides the frames, a row for each.
    pub(super) fn read_from(self, remarks: Vec<String>, rows: Option<LlfRows>) -> Self {
        let rows = rows.filter(|rows| rows.len() == self.frames.len());
        Self { remarks, rows, ..self }
    }

    /// What the file of Live Link Face that this take was read from has besides the frames.
    pub(super) fn rows(&self) -> Option<&LlfRows> {
        self.rows.as_ref()
    }

    /// Its frames, oldest first; at least one.
    pub fn frames(&self) -> &[TakeFrame] {
        &self.frames
    }

    /// What was unusual about the file that it was read from, a sentence each: a row that was left out, a timecode that
    /// stepped back.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// Frames a second, as most of them follow each other; 60 for a take of a single frame.
    pub fn fps(&self) -> f64 {
        1.0 / self.step.as_secs_f64()
    }

    /// How long it takes to play, the last frame included: a take that is played again and again starts anew after this.
    pub fn duration(&self) -> Duration {
        self.frames.last().map_or(Duration::ZERO, |last| last.time) + self.step
    }

    /// The time within the take when it is played again and again.
    pub fn looped(&self, time: Duration) -> Duration {
        // Never 0: one step is more than nothing.
        let duration = self.duration().as_nanos();
        let nanos = time.as_nanos() % duration;
        Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32)
    }

    /// The newest frame that is not later than a time; the first one before that.
    pub fn frame_before(&self, time: Duration) -> &TakeFrame {
        &self.frames[self.place(time)]
    }

    /// The face at a time, between two frames if it falls there; the last frame after the end.
    ///
    /// Its number and capture time are those of the frame before.
    pub fn frame_at(&self, time: Duration) -> FaceFrame {
        let place = self.place(time);
        let before = &self.frames[place];
        let Some(after) = self.frames.get(place + 1) else { return before.frame.clone() };
        let step = after.time.saturating_sub(before.time);
        if step.is_zero() || step > LONGEST_STEP || !before.frame.tracked || !after.frame.tracked {
            return before.frame.clone();
        }
        let part = time.saturating_sub(before.time).as_secs_f32() / step.as_secs_f32();
        between(&before.frame, &after.frame, part)
    }

    fn place(&self, time: Duration) -> usize {
        self.frames.partition_point(|frame| frame.time <= time).saturating_sub(1)
    }
}

/// The time from one frame to the next that is most in the middle of all.
fn usual_step(frames: &[TakeFrame]) -> Duration {
    let mut steps: Vec<_> =
        frames.windows(2).map(|pair| pair[1].time - pair[0].time).filter(|s| !s.is_zero()).collect();
    let middle = steps.len() / 2;
    if steps.is_empty() { Duration::from_secs(1) / 60 } else { *steps.select_nth_unstable(middle).1 }
}

pub(super) fn between(before: &FaceFrame, after: &FaceFrame, part: f32) -> FaceFrame {
    let mix = |a: f32, b: f32| a + (b - a) * part;
    let mut frame = before.clone();
    for index in 0..BLENDSHAPE_COUNT {
        // A shape that one of the two does not give has nowhere to go.
        if before.present & after.present & (1 << index) != 0 {
            frame.weights[index] = mix(before.weights[index], after.weights[index]);
        }
    }
    for (place, channel) in frame.channels.iter_mut().enumerate() {
        // Nearly always in the same place: a take has one order.
        let same = |other: &&Channel| other.name == channel.name;
        let other = after.channels.get(place).filter(same).or_else(|| after.channels.iter().find(same));
        if let Some(other) = other {
            channel.value = mix(channel.value, other.value);
        }
    }
    if let (Some(a), Some(b)) = (before.head, after.head) {
        frame.head = Some(HeadPose {
            rotation: turned_between(a.rotation, b.rotation, part),
            position: a.position.zip(b.position).map(|(a, b)| std::array::from_fn(|axis| mix(a[axis], b[axis]))),
        });
    }
    if let (Some(a), Some(b)) = (before.gaze, after.gaze) {
        let eye = |a: EyeGaze, b: EyeGaze| EyeGaze { yaw: mix(a.yaw, b.yaw), pitch: mix(a.pitch, b.pitch) };
        frame.gaze = Some(Gaze { left: eye(a.left, b.left), right: eye(a.right, b.right) });
    }
    frame
}

/// Along the chord: between two frames of a take, the difference from the arc is not visible.
fn turned_between(a: [f32; 4], b: [f32; 4], part: f32) -> [f32; 4] {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let sign = if dot < 0.0 { -1.0 } else { 1.0 };
    let mixed = std::array::from_fn(|i| a[i] * (1.0 - part) + sign * b[i] * part);
    normalized(mixed).unwrap_or(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blendshape, performer::Performance};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn take(frames: &[(u64, f32, bool)]) -> Take {
        let frames = frames.iter().map(|(time, jaw, tracked)| {
            let mut frame = FaceFrame { tracked: *tracked, ..FaceFrame::neutral() };
            frame.set(Blendshape::JawOpen, *jaw);
            TakeFrame { time: ms(*time), frame }
        });
        Take::new(frames.collect()).unwrap()
    }

    fn jaw(take: &Take, time: u64) -> f32 {
        take.frame_at(ms(time)).get(Blendshape::JawOpen).unwrap()
    }

    #[test]
    fn take_frame_at_any_time() {
        let take = take(&[(0, 0.0, true), (20, 0.2, true), (40, 0.4, true), (500, 0.9, true), (520, 0.5, false)]);
        assert_eq!(jaw(&take, 0), 0.0);
        assert!((jaw(&take, 10) - 0.1).abs() < 1e-6);
        assert!((jaw(&take, 35) - 0.35).abs() < 1e-6);
        assert_eq!(jaw(&take, 450), 0.4, "held over a gap");
        assert_eq!(jaw(&take, 510), 0.9, "nothing lies between a face and none");
        assert!(take.frame_at(ms(510)).tracked && !take.frame_at(ms(520)).tracked);
        assert_eq!(jaw(&take, 9999), 0.5);
        assert_eq!(take.frame_before(ms(39)).time, ms(20));
        assert_eq!((take.duration(), take.fps()), (ms(540), 50.0));
        assert_eq!(take.looped(ms(539)), ms(539));
        assert_eq!(take.looped(ms(540 * 3 + 7)), ms(7));
    }

    #[test]
    fn take_interpolates_head_gaze_and_channels() {
        let performance = Performance::new(3);
        let frame = |time: u64| {
            let mut frame = performance.frame_at(ms(time));
            frame.channels.push(Channel { name: "tail".into(), value: time as f32 / 1000.0 });
            frame.head = frame.head.map(|head| HeadPose { position: Some([0.0, 0.0, time as f32]), ..head });
            TakeFrame { time: ms(time), frame }
        };
        let take = Take::new((0..100).map(|i| frame(i * 10)).collect()).unwrap();
        for time in (0..980).step_by(7) {
            let (is, was) = (take.frame_at(ms(time)), frame(time).frame);
            let (a, b) = (is.head.unwrap(), was.head.unwrap());
            let dot: f32 = a.rotation.iter().zip(b.rotation).map(|(a, b)| a * b).sum();
            let length: f32 = a.rotation.iter().map(|part| part * part).sum();
            assert!(dot.abs() > 0.9999 && (length - 1.0).abs() < 1e-5, "{time}: {a:?} {b:?}");
            assert!((a.position.unwrap()[2] - time as f32).abs() < 1e-3);
            assert!((is.channels[0].value - time as f32 / 1000.0).abs() < 1e-6);
            assert!((is.gaze.unwrap().left.yaw - was.gaze.unwrap().left.yaw).abs() < 0.08, "{time}");
            assert!(is.weights.iter().zip(was.weights).all(|(a, b)| (a - b).abs() < 0.1), "{time}");
        }
    }

    #[test]
    fn take_empty_or_unordered_is_refused() {
        assert_eq!(Take::new(Vec::new()), Err(TakeError::Empty));
        let at = |time| TakeFrame { time: ms(time), frame: FaceFrame::default() };
        assert_eq!(Take::new(vec![at(1)]), Err(TakeError::StartsLate(ms(1))));
        assert_eq!(Take::new(vec![at(0), at(9), at(8)]), Err(TakeError::GoesBack(2)));
        let single = Take::new(vec![at(0), at(0)]).unwrap();
        assert!(single.duration() > Duration::ZERO && single.looped(ms(1000)) < single.duration());
        assert!((single.fps() - 60.0).abs() < 1e-3);
    }
}
