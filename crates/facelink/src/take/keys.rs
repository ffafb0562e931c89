//! Curves of a take as animation keys: as few as keep a bound on the error.

use std::time::Duration;

use super::frames::{LONGEST_STEP, Take, TakeFrame};
use crate::{
    frame::{FaceFrame, Gaze, MAX_CHANNELS},
    names::Blendshape,
};

/// The bound on the error that exports use unless they are given one: half of a step of 8 bits in 0..2, so that with all
/// that a reader rounds no value is off by more than 1/510.
pub const MAX_KEY_ERROR: f32 = 1.0 / 1024.0;
/// And on the parts of a quaternion: less than a tenth of a degree.
const MAX_TURN_ERROR: f32 = 1.0 / 4096.0;
/// No two keys are nearer than 32-bit seconds distinguish in the first hour.
const MIN_STEP: Duration = Duration::from_micros(250);

/// Keys of a curve: rows of values at times, the first at 0, in a straight line in between.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// Since the start of the take, each later than the one before.
    pub times: Vec<Duration>,
    /// The values of each key, one key after another.
    pub values: Vec<f32>,
    /// Values of one key.
    pub width: usize,
}

impl Keys {
    /// Times in seconds, as animation formats have them.
    pub fn seconds(&self) -> impl Iterator<Item = f32> + '_ {
        self.times.iter().map(Duration::as_secs_f32)
    }

    /// The values of each key.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> + '_ {
        self.values.chunks_exact(self.width.max(1))
    }

    /// The values at a time.
    pub fn at(&self, time: Duration) -> Vec<f32> {
        let row = |place: usize| self.values.get(place * self.width..(place + 1) * self.width).unwrap_or_default();
        let after = self.times.partition_point(|key| *key <= time);
        let before = after.saturating_sub(1);
        let (Some(start), Some(end)) = (self.times.get(before), self.times.get(after)) else {
            return row(before).to_vec();
        };
        let share = time.saturating_sub(*start).as_secs_f32() / (*end - *start).as_secs_f32();
        row(before).iter().zip(row(after)).map(|(a, b)| a + (b - a) * share).collect()
    }
}

/// A take as curves without gaps, from which keys are made.
#[derive(Clone, Debug)]
pub struct Curves {
    frames: Vec<TakeFrame>,
    max_error: f32,
    has_looks: bool,
}

impl Take {
    /// Its curves, for animation formats, which know no gaps: what a frame does not give, and a face that is lost, stays
    /// as it was last, and starts as it is given first. Where frames are further apart than [`LONGEST_STEP`], the earlier
    /// one holds until right before the later one.
    ///
    /// Keys are left out as long as no value of any frame is off by more than `max_error`; 0 keeps those that do not lie
    /// on a straight line. [`MAX_KEY_ERROR`] cannot be seen.
    pub fn curves(&self, max_error: f32) -> Curves {
        let held = held(self);
        let looks = looks();
        let has_looks = held.iter().any(|frame| frame.frame.present & looks != 0);
        Curves { frames: held, max_error: if max_error >= 0.0 { max_error } else { 0.0 }, has_looks }
    }
}

impl Curves {
    /// Keys of anything that is worked out from a face: `values` appends as many for each frame.
    pub fn keys(&self, values: impl FnMut(&FaceFrame, &mut Vec<f32>)) -> Keys {
        self.keys_within(self.max_error, values)
    }

    fn keys_within(&self, max_error: f32, mut values: impl FnMut(&FaceFrame, &mut Vec<f32>)) -> Keys {
        let mut all = Vec::new();
        for frame in &self.frames {
            values(&frame.frame, &mut all);
        }
        let width = all.len() / self.frames.len().max(1);
        reduced(&self.frames, &all, width, f64::from(max_error))
    }

    /// The shapes that the take gives.
    pub fn shapes(&self) -> impl Iterator<Item = Blendshape> + '_ {
        let present = self.frames.first().map_or(0, |frame| frame.frame.present);
        Blendshape::ALL.into_iter().filter(move |shape| present & 1 << shape.index() != 0)
    }

    /// The channels that the take gives.
    pub fn channels(&self) -> impl Iterator<Item = &str> + '_ {
        self.frames.first().into_iter().flat_map(|frame| &frame.frame.channels).map(|channel| &*channel.name)
    }

    /// Keys of one shape.
    pub fn shape(&self, shape: Blendshape) -> Keys {
        self.keys(|frame, out| out.push(frame.weights[shape.index()]))
    }

    /// Keys of one channel.
    pub fn channel(&self, name: &str) -> Keys {
        self.keys(|frame, out| {
            let channel = frame.channels.iter().find(|channel| *channel.name == *name);
            out.push(channel.map_or(0.0, |channel| channel.value));
        })
    }

    /// Whether the take gives the head.
    pub fn has_head(&self) -> bool {
        self.frames.first().is_some_and(|frame| frame.frame.head.is_some())
    }

    /// Whether the take gives where the eyes look, by a gaze or by `eyeLook*` shapes.
    pub fn has_gaze(&self) -> bool {
        self.has_looks || self.frames.first().is_some_and(|frame| frame.frame.gaze.is_some())
    }

    /// Keys of a quaternion `[x, y, z, w]` that is worked out from a face; the shorter way between two of them.
    pub fn turns(&self, mut turn: impl FnMut(&FaceFrame) -> [f32; 4]) -> Keys {
        let mut before: Option<[f32; 4]> = None;
        self.turn_rows(|frame, out| {
            let mut now = turn(frame);
            let dot: f32 = before.map_or(1.0, |before| before.iter().zip(now).map(|(a, b)| a * b).sum());
            if dot < 0.0 {
                now = now.map(|part| -part);
            }
            before = Some(now);
            out.extend(now);
        })
    }

    /// Keys of parts of quaternions, which are more exact.
    pub(super) fn turn_rows(&self, values: impl FnMut(&FaceFrame, &mut Vec<f32>)) -> Keys {
        self.keys_within(self.max_error.min(MAX_TURN_ERROR), values)
    }

    /// Keys of the head's rotation, `[x, y, z, w]`; `None` without a head.
    pub fn head(&self) -> Option<Keys> {
        let rotation = |frame: &FaceFrame| frame.head.map_or([0.0, 0.0, 0.0, 1.0], |head| head.rotation);
        self.has_head().then(|| self.turns(rotation))
    }

    /// When the take ends, and its animation.
    pub fn end(&self) -> Duration {
        self.frames.last().map_or(Duration::ZERO, |frame| frame.time)
    }
}

/// Where a frame looks: its gaze, else what its `eyeLook*` shapes show.
pub(super) fn gaze(frame: &FaceFrame) -> Gaze {
    frame.gaze.unwrap_or_else(|| Gaze::from_weights(&frame.weights))
}

/// The `eyeLook*` shapes.
fn looks() -> u64 {
    let is_look = |shape: &&Blendshape| shape.name().starts_with("eyeLook");
    Blendshape::ALL.iter().filter(is_look).fold(0, |looks, shape| looks | 1 << shape.index())
}

/// Leaves out every key that the straight line between its neighbours that stay gives to within `max_error`.
///
/// From the last key that stays, each further frame narrows the slopes that a line may have to pass all frames so far closely
/// enough; the first one that lies outside makes the frame before it a key.
fn reduced(frames: &[TakeFrame], all: &[f32], width: usize, max_error: f64) -> Keys {
    let mut keys = Keys { times: Vec::new(), values: Vec::new(), width };
    let row = |place: usize| all.get(place * width..(place + 1) * width).unwrap_or_default();
    let mut keep = |place: usize| {
        if let Some(frame) = frames.get(place) {
            keys.times.push(frame.time);
            keys.values.extend_from_slice(row(place));
        }
    };
    keep(0);
    let mut slopes = vec![(f64::NEG_INFINITY, f64::INFINITY); width];
    let mut anchor = 0;
    let mut place = 1;
    while place < frames.len() {
        let apart = (frames[place].time - frames[anchor].time).as_secs_f64();
        let differences = || row(anchor).iter().zip(row(place)).map(|(a, b)| f64::from(*b) - f64::from(*a));
        let fits =
            differences().zip(&slopes).all(|(difference, (low, high))| (*low..=*high).contains(&(difference / apart)));
        if fits {
            for (difference, (low, high)) in differences().zip(&mut slopes) {
                *low = low.max((difference - max_error) / apart);
                *high = high.min((difference + max_error) / apart);
            }
            place += 1;
        } else {
            anchor = place - 1;
            keep(anchor);
            slopes.fill((f64::NEG_INFINITY, f64::INFINITY));
        }
    }
    if frames.len() > 1 {
        keep(frames.len() - 1);
    }
    keys
}

/// Every frame complete, for formats that know no gaps: what a frame does not give, or a face that is lost, stays as
/// it was last; what was never given before is as it is given first, and else 0. Of frames at one
/// time the last counts. Where more than [`LONGEST_STEP`] lies between two frames, one is added right before the later one.
fn held(take: &Take) -> Vec<TakeFrame> {
    let mut frames: Vec<TakeFrame> = Vec::with_capacity(take.frames().len());
    let mut held = first_values(take);
    let usual = Duration::from_secs_f64(1.0 / take.fps()).min(LONGEST_STEP / 2);
    let mut last: Option<Duration> = None;
    for TakeFrame { time, frame } in take.frames() {
        if last.is_some_and(|last| *time - last > LONGEST_STEP) {
            frames.push(TakeFrame { time: *time - usual, frame: held.clone() });
        }
        if last.is_some_and(|last| *time - last < MIN_STEP) {
            frames.pop();
        }
        last = Some(*time);
        if frame.tracked {
            for (index, weight) in frame.weights.iter().enumerate() {
                if frame.present & (1 << index) != 0 {
                    held.weights[index] = *weight;
                }
            }
            for channel in &mut held.channels {
                if let Some(now) = frame.channels.iter().find(|now| now.name == channel.name) {
                    channel.value = now.value;
                }
            }
            if let Some(mut head) = frame.head {
                // The same turn by the nearer of its two quaternions, so that nothing turns the long way round.
                if let Some(before) = held.head {
                    let dot: f32 = before.rotation.iter().zip(head.rotation).map(|(a, b)| a * b).sum();
                    if dot < 0.0 {
                        head.rotation = head.rotation.map(|part| -part);
                    }
                    head.position = head.position.or(before.position);
                }
                held.head = Some(head);
            }
            held.gaze = frame.gaze.or(held.gaze);
        }
        held.sequence = frame.sequence;
        held.capture_time = frame.capture_time;
        frames.push(TakeFrame { time: *time, frame: held.clone() });
    }
    frames
}

/// The first value that the take gives of everything that it ever gives.
fn first_values(take: &Take) -> FaceFrame {
    let mut first = FaceFrame::default();
    for frame in take.frames().iter().map(|frame| &frame.frame).filter(|frame| frame.tracked) {
        for (index, weight) in frame.weights.iter().enumerate() {
            if frame.present & !first.present & (1 << index) != 0 {
                first.weights[index] = *weight;
            }
        }
        first.present |= frame.present;
        for channel in &frame.channels {
            let known = first.channels.iter().any(|known| known.name == channel.name);
            if !known && first.channels.len() < MAX_CHANNELS {
                first.channels.push(channel.clone());
            }
        }
        first.head = first.head.or(frame.head);
        if let (Some(first), Some(head)) = (&mut first.head, frame.head) {
            first.position = first.position.or(head.position);
        }
        first.gaze = first.gaze.or(frame.gaze);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Channel, names::BLENDSHAPE_COUNT, performer::Performance, take::FrameRate};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn keys_held_frames_have_no_gaps() {
        let mut frames: Vec<TakeFrame> = Vec::new();
        for (time, weight) in [(0, None), (20, Some(0.5)), (40, None), (1000, Some(1.0))] {
            let mut frame = FaceFrame { tracked: weight.is_some() || time == 0, ..FaceFrame::default() };
            if let Some(weight) = weight {
                frame.set(Blendshape::JawOpen, weight);
                frame.channels.push(Channel { name: "tail".into(), value: weight });
            }
            frames.push(TakeFrame { time: ms(time), frame });
        }
        let held = held(&Take::new(frames).unwrap());
        let jaw: Vec<_> = held
            .iter()
            .map(|frame| (frame.time.as_millis(), frame.frame.get(Blendshape::JawOpen), frame.frame.channels[0].value))
            .collect();
        assert_eq!(
            jaw,
            [
                (0, Some(0.5), 0.5),
                (20, Some(0.5), 0.5),
                (40, Some(0.5), 0.5),
                (980, Some(0.5), 0.5),
                (1000, Some(1.0), 1.0)
            ]
        );
    }

    fn take() -> Take {
        let performance = Performance::new(11);
        let frame = |i| TakeFrame {
            time: FrameRate::SIXTY.time_of(i),
            frame: performance.frame_at(FrameRate::SIXTY.time_of(i)),
        };
        Take::new((0..1200).map(frame).collect()).unwrap()
    }

    #[test]
    fn keys_are_few_and_within_the_bound() {
        let take = take();
        for max_error in [0.0, MAX_KEY_ERROR, 0.01] {
            let curves = take.curves(max_error);
            let mut count = 0;
            for shape in curves.shapes() {
                let keys = curves.shape(shape);
                count += keys.times.len();
                assert!(keys.times.windows(2).all(|pair| pair[0] < pair[1]));
                assert_eq!((keys.times[0], keys.times.last()), (Duration::ZERO, Some(&curves.end())));
                for frame in take.frames() {
                    let off = (keys.at(frame.time)[0] - frame.frame.weights[shape.index()]).abs();
                    assert!(off <= max_error + 1e-6, "{shape} at {:?}: {off}", frame.time);
                }
            }
            let all = 1200 * curves.shapes().count();
            assert!(max_error == 0.0 || count * 2 < all, "{max_error}: {count} of {all} keys");
        }
    }

    #[test]
    fn keys_of_the_head_turn_within_a_tenth_of_a_degree() {
        let take = take();
        let keys = take.curves(MAX_KEY_ERROR).head().unwrap();
        assert!(keys.times.len() < 1000, "{}", keys.times.len());
        for frame in take.frames() {
            let is = keys.at(frame.time);
            let length = is.iter().map(|part| part * part).sum::<f32>().sqrt();
            let dot: f32 = frame.frame.head.unwrap().rotation.iter().zip(&is).map(|(a, b)| a * b / length).sum();
            let angle = 2.0 * dot.abs().min(1.0).acos();
            assert!(angle.to_degrees() < 0.12, "{:?}: {}", frame.time, angle.to_degrees());
        }
    }

    #[test]
    fn keys_of_a_whole_mesh_are_rows() {
        let curves = take().curves(MAX_KEY_ERROR);
        let keys = curves.keys(|frame, out| out.extend(frame.weights));
        assert_eq!((keys.width, keys.values.len()), (BLENDSHAPE_COUNT, BLENDSHAPE_COUNT * keys.times.len()));
        let single = Take::new(vec![TakeFrame { time: Duration::ZERO, frame: FaceFrame::neutral() }]).unwrap();
        let keys = single.curves(0.0).shape(Blendshape::JawOpen);
        assert_eq!((keys.times, keys.values), (vec![Duration::ZERO], vec![0.0]));
    }
}
