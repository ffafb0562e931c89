//! One frame of a face, as it arrived: weights, extra channels, head, gaze and the sender's clock.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::names::{BLENDSHAPE_COUNT, Blendshape};

/// Smallest weight that is accepted; lower values are clamped.
pub const MIN_WEIGHT: f32 = -1.0;
/// Largest weight that is accepted; higher values are clamped.
pub const MAX_WEIGHT: f32 = 2.0;
/// Channels besides the 52 shapes that one face may have at most.
pub const MAX_CHANNELS: usize = 256;

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

    /// Whether the frame gives any value at all.
    pub fn is_empty(&self) -> bool {
        self.present == 0 && self.channels.is_empty() && self.head.is_none() && self.gaze.is_none()
    }
}

/// Clamps a finite weight to the range that is accepted.
pub(crate) fn clamp_weight(weight: f32) -> f32 {
    weight.clamp(MIN_WEIGHT, MAX_WEIGHT)
}
