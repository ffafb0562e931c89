//! A performer's rest: the face and the head that count as neutral.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{
    frame::{EyeGaze, FaceFrame, Gaze, HeadPose, MAX_WEIGHT},
    mapping::{Format, MappingError, read},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::profile::{IDENTITY, inverse, normalized, product, turned},
};

/// A shape that rests higher than this has no room left to move; more is not taken off.
const MAX_REST: f32 = 0.8;

/// A shape that reaches less than this was not made at all; its values are noise.
const MOVED: f32 = 0.15;
/// Most that a range of motion amplifies is 1 by this.
const MIN_RANGE: f32 = 0.25;
/// Frames that a value has to last to count as reached: one is a glitch of the tracker.
const LASTING: usize = 3;

/// What a calibration takes from the face of now. HTTP, OSC and the Bevy Remote Protocol have these words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationStep {
    /// `neutral`: the face of now is the one at rest.
    #[default]
    Neutral,
    /// `head`: the head of now looks straight ahead.
    Head,
    /// `reset`: takes every calibration off.
    Reset,
    /// `range_begin`: from here on the performer makes every face as far as it goes.
    RangeBegin,
    /// `range_end`: what each shape reached counts as 1.
    RangeEnd,
    /// `range_cancel`: ends it, and nothing changes.
    RangeCancel,
}

impl CalibrationStep {
    /// All of them, with their words.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Neutral, "neutral"),
        (Self::Head, "head"),
        (Self::Reset, "reset"),
        (Self::RangeBegin, "range_begin"),
        (Self::RangeEnd, "range_end"),
        (Self::RangeCancel, "range_cancel"),
    ];
}

impl FromStr for CalibrationStep {
    type Err = CalibrationStepError;

    fn from_str(word: &str) -> Result<Self, CalibrationStepError> {
        let found = Self::ALL.iter().find(|(_, known)| *known == word);
        found.map(|(step, _)| *step).ok_or(CalibrationStepError)
    }
}

/// What is no word of a [`CalibrationStep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `neutral`, `head`, `reset`, `range_begin`, `range_end` or `range_cancel`")]
pub struct CalibrationStepError;

/// Why a step of a calibration is not done. Nothing changes then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrateError {
    /// No subject of this name is live.
    #[error("there is no subject `{}`", .0.escape_debug())]
    UnknownSubject(String),
    /// Its source gives no head.
    #[error("`{}` has no head", .0.escape_debug())]
    NoHead(String),
    /// A range of motion is to end, and none has begun.
    #[error("no range of motion of `{}` has begun", .0.escape_debug())]
    NoRange(String),
}

/// The offsets that are subtracted from every frame of one subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Calibration {
    /// Weights of the face at rest, by [`Blendshape::index`]; each shape then runs from there (0) to full (1).
    #[serde(with = "weights", skip_serializing_if = "Option::is_none")]
    pub neutral: Option<[f32; BLENDSHAPE_COUNT]>,
    /// The largest value that this performer reaches of each shape, by [`Blendshape::index`], beyond the neutral face:
    /// it counts as 1.
    #[serde(with = "weights", skip_serializing_if = "Option::is_none")]
    pub range: Option<[f32; BLENDSHAPE_COUNT]>,
    /// Where the eyes look at rest, radians: left yaw and pitch, right yaw and pitch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gaze: Option<[f32; 4]>,
    /// The head's rotation at rest, a unit quaternion `[x, y, z, w]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation: Option<[f32; 4]>,
    /// The head's position at rest, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<[f32; 3]>,
}

impl Calibration {
    /// Whether it changes nothing.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Takes the face of a frame, as it came, for neutral: shapes and gaze.
    pub fn set_neutral(&mut self, frame: &FaceFrame) {
        let rest = |shape: Blendshape| frame.get(shape).unwrap_or(0.0).clamp(0.0, MAX_REST);
        self.neutral = Some(Blendshape::ALL.map(rest));
        self.gaze = frame.gaze.map(|gaze| [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch]);
    }

    /// Takes the head of a frame, as it came, for looking straight ahead. `false` when the frame has no head.
    pub fn recentre(&mut self, frame: &FaceFrame) -> bool {
        let Some(head) = frame.head else { return false };
        self.rotation = normalized(head.rotation);
        self.position = head.position;
        true
    }

    /// Takes the rest off a frame.
    pub fn apply(&self, frame: &mut FaceFrame) {
        if let Some(neutral) = &self.neutral {
            for (index, (weight, rest)) in frame.weights.iter_mut().zip(neutral).enumerate() {
                // A weight below 0 is the sender's own doing.
                if frame.present & (1 << index) != 0 && *rest > 0.0 && *weight >= 0.0 {
                    *weight = ((*weight - rest) / (1.0 - rest.min(MAX_REST))).max(0.0);
                }
            }
        }
        if let Some(range) = &self.range {
            for (index, (weight, most)) in frame.weights.iter_mut().zip(range).enumerate() {
                if frame.present & (1 << index) != 0 && *weight > 0.0 {
                    *weight = (*weight / most.clamp(MIN_RANGE, 1.0)).min(MAX_WEIGHT);
                }
            }
        }
        if let (Some(gaze), Some([left_yaw, left_pitch, right_yaw, right_pitch])) = (&mut frame.gaze, self.gaze) {
            let less = |eye: EyeGaze, yaw, pitch| EyeGaze { yaw: eye.yaw - yaw, pitch: eye.pitch - pitch };
            *gaze =
                Gaze { left: less(gaze.left, left_yaw, left_pitch), right: less(gaze.right, right_yaw, right_pitch) };
        }
        if let Some(HeadPose { rotation, position }) = &mut frame.head {
            // The pose of the tracker is the same for every frame: it is removed from the left.
            let back = self.rotation.and_then(normalized).map_or(IDENTITY, inverse);
            if self.rotation.is_some() {
                *rotation = normalized(product(back, *rotation)).unwrap_or(IDENTITY);
            }
            if let (Some(position), Some(rest)) = (position, self.position) {
                let offset = std::array::from_fn(|axis| position[axis] - rest[axis]);
                *position = turned(back, offset);
            }
        }
    }
}

/// A performer, as a file keeps one: `Ann.performer.ron`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Performer {
    /// The subject's name.
    pub name: String,
    /// Their rest and range.
    pub calibration: Calibration,
}

impl Performer {
    /// Reads a performer.
    ///
    /// # Errors
    /// Names line, column and field.
    pub fn read(text: &str, format: Format) -> Result<Self, MappingError> {
        read::read(text, format)
    }

    /// Writes it as [`read`](Self::read) takes it.
    pub fn write(&self, format: Format) -> String {
        read::write(self, format)
    }
}

/// Follows a performer who makes every face as far as it goes, and reports what each shape reached.
#[derive(Clone, Debug)]
pub struct RangeCapture {
    reached: [f32; BLENDSHAPE_COUNT],
    recent: [[f32; BLENDSHAPE_COUNT]; LASTING],
    frames: usize,
}

impl Default for RangeCapture {
    fn default() -> Self {
        Self { reached: [0.0; BLENDSHAPE_COUNT], recent: [[0.0; BLENDSHAPE_COUNT]; LASTING], frames: 0 }
    }
}

impl RangeCapture {
    /// Takes a frame, as it came, of a performer with this calibration.
    pub fn observe(&mut self, frame: &FaceFrame, calibration: &Calibration) {
        if !frame.tracked {
            return;
        }
        let mut frame = frame.clone();
        Calibration { range: None, ..*calibration }.apply(&mut frame);
        self.recent[self.frames % LASTING] = frame.weights;
        self.frames += 1;
        if self.frames < LASTING {
            return;
        }
        for (index, reached) in self.reached.iter_mut().enumerate() {
            let lasting = self.recent.iter().map(|weights| weights[index]).fold(f32::INFINITY, f32::min);
            *reached = reached.max(lasting);
        }
    }

    /// Frames seen.
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// The shapes that were made, and how far each went.
    pub fn reached(&self) -> impl Iterator<Item = (Blendshape, f32)> + '_ {
        Blendshape::ALL.into_iter().zip(self.reached).filter(|(_, reached)| *reached >= MOVED)
    }

    /// What each shape reached; 1 for those that were not made, which stay as they are. Pairs that went nearly alike have
    /// one range, so that a symmetrical face stays so.
    pub fn range(&self) -> [f32; BLENDSHAPE_COUNT] {
        let mut range = [1.0; BLENDSHAPE_COUNT];
        for (shape, reached) in self.reached() {
            let other = self.reached[shape.mirrored().index()];
            let alike = shape.is_paired() && (reached - other).abs() < 0.15;
            range[shape.index()] = if alike { reached.max(other) } else { reached }.clamp(MIN_RANGE, 1.0);
        }
        range
    }
}

/// Serde has arrays of up to 32.
mod weights {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::BLENDSHAPE_COUNT;

    pub fn serialize<S: Serializer>(weights: &Option<[f32; BLENDSHAPE_COUNT]>, to: S) -> Result<S::Ok, S::Error> {
        weights.as_ref().map(|weights| weights.as_slice()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[f32; BLENDSHAPE_COUNT]>, D::Error> {
        let weights = Option::<Vec<f32>>::deserialize(from)?;
        if weights.iter().flatten().any(|weight| !weight.is_finite()) {
            return Err(D::Error::custom("every weight must be a finite number"));
        }
        weights
            .map(|weights| {
                let found = weights.len();
                weights
                    .try_into()
                    .map_err(|_| D::Error::custom(format_args!("{found} weights, expected {BLENDSHAPE_COUNT}")))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::profile::rotation_from_euler;

    #[test]
    fn calibration_steps_have_one_word_each() {
        for (step, word) in CalibrationStep::ALL {
            assert_eq!(serde_json::to_value(step).unwrap(), word);
            assert_eq!(word.parse(), Ok(step));
            assert!(CalibrationStepError.to_string().contains(&format!("`{word}`")), "{word}");
        }
        assert_eq!("tail".parse::<CalibrationStep>(), Err(CalibrationStepError));
    }

    #[test]
    fn calibration_neutral_face_is_zero_and_full_shape_stays_full() {
        let mut rest = FaceFrame::neutral();
        rest.set(Blendshape::MouthFrownLeft, 0.2);
        rest.set(Blendshape::EyeSquintLeft, 0.95);
        rest.gaze = Some(Gaze { left: EyeGaze { yaw: 0.1, pitch: -0.2 }, right: EyeGaze { yaw: 0.05, pitch: -0.2 } });
        let mut calibration = Calibration::default();
        calibration.set_neutral(&rest);

        let mut frame = rest.clone();
        frame.set(Blendshape::EyeSquintLeft, MAX_REST);
        calibration.apply(&mut frame);
        assert_eq!(frame.weights, [0.0; BLENDSHAPE_COUNT]);
        assert_eq!(frame.gaze, Some(Gaze::default()));

        for (weight, wanted) in [(1.0, 1.0), (0.6, 0.5), (0.1, 0.0), (-0.3, -0.3)] {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::MouthFrownLeft, weight);
            calibration.apply(&mut frame);
            let shown = frame.weights[Blendshape::MouthFrownLeft.index()];
            assert!((shown - wanted).abs() < 1e-6, "{weight}: {shown}");
        }
    }

    #[test]
    fn calibration_recentred_head_looks_ahead_and_turns_as_before() {
        // The phone is low and to one side.
        let stand = rotation_from_euler(0.3, 0.4, 0.1);
        let seen = |turn| FaceFrame {
            head: Some(HeadPose { rotation: product(stand, turn), position: Some([0.1, 0.2, -0.4]) }),
            ..FaceFrame::default()
        };
        let mut calibration = Calibration::default();
        assert!(!calibration.recentre(&FaceFrame::default()));
        assert!(calibration.recentre(&seen(IDENTITY)));
        for turn in [IDENTITY, rotation_from_euler(0.2, 0.0, 0.0), rotation_from_euler(0.0, -0.3, 0.2)] {
            let mut frame = seen(turn);
            calibration.apply(&mut frame);
            let head = frame.head.unwrap();
            let dot: f32 = head.rotation.iter().zip(&turn).map(|(a, b)| a * b).sum();
            assert!(dot.abs() > 0.99999, "{head:?}");
            assert!(head.position.unwrap().iter().all(|part| part.abs() < 1e-6));
        }
    }

    #[test]
    fn calibration_range_scales_reached_smile_to_1() {
        use Blendshape::{JawOpen, MouthSmileLeft, MouthSmileRight};
        let mut calibration = Calibration::default();
        let mut rest = FaceFrame::neutral();
        rest.set(MouthSmileLeft, 0.1);
        calibration.set_neutral(&rest);
        let mut capture = RangeCapture::default();
        for i in 0..200 {
            let extent = (i as f32 / 199.0 * std::f32::consts::PI).sin();
            let mut frame = rest.clone();
            frame.set(MouthSmileLeft, 0.1 + 0.54 * extent);
            frame.set(MouthSmileRight, 0.62 * extent);
            // A glitch of one frame, and a shape that hardly moves.
            frame.set(JawOpen, if i == 50 { 0.9 } else { 0.05 });
            capture.observe(&frame, &calibration);
        }
        calibration.range = Some(capture.range());
        let reached: Vec<_> = capture.reached().map(|(shape, _)| shape).collect();
        assert_eq!(reached, [MouthSmileLeft, MouthSmileRight]);
        let mut full = rest.clone();
        full.set(MouthSmileLeft, 0.64);
        full.set(MouthSmileRight, 0.62);
        full.set(JawOpen, 0.3);
        calibration.apply(&mut full);
        for shape in [MouthSmileLeft, MouthSmileRight] {
            assert!((full.weights[shape.index()] - 1.0).abs() < 0.05, "{shape}: {}", full.weights[shape.index()]);
        }
        assert_eq!(full.weights[JawOpen.index()], 0.3);
        let mut still = rest.clone();
        calibration.apply(&mut still);
        assert_eq!(still.weights, [0.0; BLENDSHAPE_COUNT]);
    }

    #[test]
    fn calibration_round_trips_as_text() {
        let mut calibration = Calibration::default();
        calibration.set_neutral(&FaceFrame::neutral());
        let text = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<Calibration>(&text).unwrap(), calibration);
        calibration.range = Some([0.5; BLENDSHAPE_COUNT]);
        for format in [Format::Ron, Format::Json] {
            let text = Performer { name: "Ann".to_owned(), calibration }.write(format);
            assert_eq!(Performer::read(&text, format).unwrap().calibration, calibration, "{text}");
        }
        let error = Performer::read("(\n calibration: (neutral: [0.5]),\n)", Format::Ron).unwrap_err();
        assert_eq!((error.line, error.field.as_str()), (2, "calibration.neutral"), "{error}");
        assert!(serde_json::from_str::<Calibration>("{}").unwrap().is_none());
    }
}
