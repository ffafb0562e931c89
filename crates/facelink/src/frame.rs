//! One frame of a face, as it arrived: weights, extra channels, head, gaze and the sender's clock.

use std::{ops::RangeInclusive, sync::Arc, time::Duration};

use serde::{Serialize, Serializer, ser::SerializeMap};
use smallvec::SmallVec;

use crate::names::{BLENDSHAPE_COUNT, Blendshape};

/// Smallest weight that is accepted; lower values are clamped.
pub const MIN_WEIGHT: f32 = -1.0;
/// Largest weight that is accepted; higher values are clamped.
pub const MAX_WEIGHT: f32 = 2.0;
/// Channels besides the 52 shapes that one face may have at most.
pub const MAX_CHANNELS: usize = 256;

/// Without a frame for this long, an engine eases a face to neutral. A face that its tracker has lost eases at once.
pub const FACE_HOLD: Duration = Duration::from_millis(250);

/// Lengths of a quaternion that are a rotation: beyond them the squares in an `f32` are too coarse to find the length by.
pub(crate) const ROTATION_LENGTHS: RangeInclusive<f32> = 1e-3..=1e15;

/// Radians that an eye turns at full `eyeLook*`: 35 degrees, about what ARKit reports.
pub const EYE_LOOK_RANGE: f32 = 35.0 * std::f32::consts::PI / 180.0;

/// All 52 shapes present.
const ALL_PRESENT: u64 = (1 << BLENDSHAPE_COUNT) - 1;

/// Head pose in ARKit's face-anchor axes, which are also those of a glTF model: right-handed, +X the face's own left,
/// +Y up, +Z out of the face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadPose {
    /// Unit quaternion `[x, y, z, w]`; identity looks straight at the camera.
    pub rotation: [f32; 4],
    /// Metres, where the source gives it.
    pub position: Option<[f32; 3]>,
}

/// Direction of one eye relative to the head, in radians.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EyeGaze {
    /// Positive to the performer's left.
    pub yaw: f32,
    /// Positive up.
    pub pitch: f32,
}

/// Direction of both eyes relative to the head.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gaze {
    /// The performer's left eye.
    pub left: EyeGaze,
    /// The performer's right eye.
    pub right: EyeGaze,
}

impl Gaze {
    /// What the `eyeLook*` shapes show: [`EYE_LOOK_RANGE`] at full shape.
    pub fn from_weights(weights: &[f32; BLENDSHAPE_COUNT]) -> Self {
        use Blendshape::*;
        let of = |shape: Blendshape| weights[shape.index()];
        let eye = |left: f32, right: f32, up: f32, down: f32| EyeGaze {
            yaw: (left - right) * EYE_LOOK_RANGE,
            pitch: (up - down) * EYE_LOOK_RANGE,
        };
        // "Out" is to the left for the left eye and to the right for the right one.
        Self {
            left: eye(of(EyeLookOutLeft), of(EyeLookInLeft), of(EyeLookUpLeft), of(EyeLookDownLeft)),
            right: eye(of(EyeLookInRight), of(EyeLookOutRight), of(EyeLookUpRight), of(EyeLookDownRight)),
        }
    }
}

/// A channel besides the 52 shapes, under the name it came with.
#[derive(Clone, Debug, PartialEq)]
pub struct Channel {
    /// Shared between the frames of a connection, so that a frame costs no allocation.
    pub name: Arc<str>,
    /// Weight, clamped to [`MIN_WEIGHT`]`..=`[`MAX_WEIGHT`].
    pub value: f32,
}

/// Extra channels of a frame; up to eight are stored inline.
pub type Channels = SmallVec<[Channel; 8]>;

/// One frame of one face.
#[derive(Clone, Debug, PartialEq)]
pub struct FaceFrame {
    /// Weights by [`Blendshape::index`]; 0 is neutral, 1 the full shape.
    pub weights: [f32; BLENDSHAPE_COUNT],
    /// Bit `i` is set when the sender gave shape `i`.
    pub present: u64,
    /// Channels that are no ARKit shape.
    pub channels: Channels,
    /// Head pose, if the source tracks it.
    pub head: Option<HeadPose>,
    /// Gaze, if the source tracks it apart from the `eyeLook*` shapes.
    pub gaze: Option<Gaze>,
    /// `false` when the source reports that it has lost the face.
    pub tracked: bool,
    /// When the face was captured, on the source's own clock (zero point as the source has it: Unix time, midnight,
    /// start of the session).
    pub capture_time: Option<Duration>,
    /// Frame number of the source, if it counts them.
    pub sequence: Option<u64>,
}

/// Why a frame is refused whole.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A number is NaN or infinite.
    #[error("field `{field}`: {value} is not a finite number")]
    NotFinite {
        /// Which, such as `weights.jawOpen` or `head.rotation`.
        field: String,
        /// Its value.
        value: f32,
    },
    /// A quaternion near `[0, 0, 0, 0]`, or one whose square is infinite, is no rotation.
    #[error("field `head.rotation`: a quaternion of length {length} is no rotation")]
    NoRotation {
        /// Its length; [`FaceFrame::check`] normalises what is longer than 1e-3.
        length: f32,
    },
}

/// The shapes that a frame has and its channels, serialised as a map of weights by name.
#[derive(Clone, Copy, Debug)]
pub struct WeightsByName<'a>(pub &'a FaceFrame);

impl Serialize for WeightsByName<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(None)?;
        for shape in Blendshape::ALL {
            if let Some(weight) = self.0.get(shape) {
                map.serialize_entry(shape.name(), &weight)?;
            }
        }
        for channel in &self.0.channels {
            map.serialize_entry(&*channel.name, &channel.value)?;
        }
        map.end()
    }
}

impl Default for FaceFrame {
    fn default() -> Self {
        Self {
            weights: [0.0; BLENDSHAPE_COUNT],
            present: 0,
            channels: SmallVec::new(),
            head: None,
            gaze: None,
            tracked: true,
            capture_time: None,
            sequence: None,
        }
    }
}

impl FaceFrame {
    /// A neutral, tracked face with all 52 shapes given as 0.
    pub fn neutral() -> Self {
        Self { present: ALL_PRESENT, ..Self::default() }
    }

    /// Sets a shape, clamped to the range that is accepted, and marks it as given.
    pub fn set(&mut self, shape: Blendshape, weight: f32) {
        self.weights[shape.index()] = clamp_weight(weight);
        self.present |= 1 << shape.index();
    }

    /// The weight of a shape, if the sender gave it.
    pub fn get(&self, shape: Blendshape) -> Option<f32> {
        self.has(shape).then(|| self.weights[shape.index()])
    }

    /// Whether the sender gave this shape.
    pub fn has(&self, shape: Blendshape) -> bool {
        self.present & (1 << shape.index()) != 0
    }

    /// Whether all 52 shapes were given.
    pub fn is_complete(&self) -> bool {
        self.present == ALL_PRESENT
    }

    /// Checks a frame where it enters, from any source: weights and channels are clamped to
    /// [`MIN_WEIGHT`]`..=`[`MAX_WEIGHT`], and the head's rotation is normalised. Returns whether a weight or channel was
    /// clamped. Allocates nothing unless it fails.
    ///
    /// ```
    /// use facelink::{Blendshape, FaceFrame};
    /// let mut frame = FaceFrame::neutral();
    /// frame.weights[Blendshape::JawOpen.index()] = 50.0;
    /// assert_eq!(frame.check(), Ok(true));
    /// assert_eq!(frame.get(Blendshape::JawOpen), Some(facelink::MAX_WEIGHT));
    /// frame.weights[0] = f32::NAN;
    /// assert!(frame.check().is_err());
    /// ```
    ///
    /// # Errors
    /// [`FrameError`], when a number is NaN or infinite, or the rotation is none. The frame is then left as it is, but for
    /// weights that were clamped.
    pub fn check(&mut self) -> Result<bool, FrameError> {
        let finite = |value: f32, field: &dyn Fn() -> String| {
            if value.is_finite() { Ok(()) } else { Err(FrameError::NotFinite { field: field(), value }) }
        };
        let mut clamped = false;
        let mut clamp = |weight: &mut f32| {
            let inside = clamp_weight(*weight);
            clamped |= inside != *weight;
            *weight = inside;
        };
        for (shape, weight) in Blendshape::ALL.iter().zip(&mut self.weights) {
            finite(*weight, &|| format!("weights.{}", shape.name()))?;
            clamp(weight);
        }
        for channel in &mut self.channels {
            finite(channel.value, &|| format!("channels.{}", channel.name))?;
            clamp(&mut channel.value);
        }
        if let Some(head) = &mut self.head {
            for value in head.rotation {
                finite(value, &|| "head.rotation".to_owned())?;
            }
            for value in head.position.into_iter().flatten() {
                finite(value, &|| "head.position".to_owned())?;
            }
            let length = head.rotation.iter().map(|value| value * value).sum::<f32>().sqrt();
            if !ROTATION_LENGTHS.contains(&length) {
                return Err(FrameError::NoRotation { length });
            }
            if (length - 1.0).abs() > 1e-4 {
                head.rotation = head.rotation.map(|value| value / length);
            }
        }
        if let Some(gaze) = &self.gaze {
            for value in [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch] {
                finite(value, &|| "gaze".to_owned())?;
            }
        }
        Ok(clamped)
    }

    /// Whether the frame gives any value at all.
    pub fn is_empty(&self) -> bool {
        self.present == 0 && self.channels.is_empty() && self.head.is_none() && self.gaze.is_none()
    }
}

/// Clamps a finite weight to the range that is accepted.
pub(crate) fn clamp_weight(weight: f32) -> f32 {
    weight.clamp(MIN_WEIGHT, MAX_WEIGHT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_check_names_what_is_not_finite() {
        let with = |change: &dyn Fn(&mut FaceFrame)| {
            let mut frame = FaceFrame::neutral();
            frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: Some([0.0; 3]) });
            frame.gaze = Some(Gaze::default());
            frame.channels.push(Channel { name: "tail".into(), value: 0.0 });
            change(&mut frame);
            frame.check().map_err(|error| error.to_string())
        };
        let bad = |field: &str| Err(format!("field `{field}`: NaN is not a finite number"));
        assert_eq!(with(&|_| {}), Ok(false));
        assert_eq!(with(&|frame| frame.weights[Blendshape::JawOpen.index()] = f32::NAN), bad("weights.jawOpen"));
        assert_eq!(with(&|frame| frame.channels[0].value = f32::NAN), bad("channels.tail"));
        let head = |change: &dyn Fn(&mut HeadPose)| with(&|frame| frame.head.iter_mut().for_each(change));
        assert_eq!(head(&|head| head.rotation[2] = f32::NAN), bad("head.rotation"));
        assert_eq!(head(&|head| head.position = Some([0.0, f32::NAN, 0.0])), bad("head.position"));
        assert_eq!(
            with(&|frame| frame.gaze = Some(Gaze { left: EyeGaze { yaw: f32::NAN, pitch: 0.0 }, ..Gaze::default() })),
            bad("gaze")
        );
        let none = "field `head.rotation`: a quaternion of length 0 is no rotation";
        assert_eq!(head(&|head| head.rotation = [0.0; 4]), Err(none.to_owned()));
    }

    #[test]
    fn frame_check_clamps_weights_and_normalises_the_head() {
        let mut frame = FaceFrame::neutral();
        (frame.weights[0], frame.weights[1]) = (50.0, -50.0);
        frame.channels.push(Channel { name: "tail".into(), value: 9.0 });
        frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 2.0], position: None });
        assert_eq!(frame.check(), Ok(true));
        assert_eq!(frame.weights[..3], [MAX_WEIGHT, MIN_WEIGHT, 0.0]);
        assert_eq!(frame.channels[0].value, MAX_WEIGHT);
        assert_eq!(frame.head.map(|head| head.rotation), Some([0.0, 0.0, 0.0, 1.0]));
        assert_eq!(frame.check(), Ok(false));
    }
}
