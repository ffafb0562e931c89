//! The motion of a head's bones.

use serde::{Deserialize, Serialize};

use super::read;

/// Head, neck, eyes and jaw, where they are bones. Fields that are left out stay as the avatar has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BoneMap {
    /// The direction in which the model looks; without it, where its eyes are on its head. VRM 0.x models look along -Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub facing: Option<Facing>,
    /// The head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadBone>,
    /// The neck.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neck: Option<NeckBone>,
    /// The eyes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eyes: Option<EyeBones>,
    /// The jaw; only where it is named here, because most rigs open the mouth by a target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jaw: Option<JawBone>,
}

/// The direction that a model looks in, in its own axes, with +Y up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Facing {
    /// +Z, as glTF has it.
    #[default]
    PlusZ,
    /// -Z.
    MinusZ,
    /// +X.
    PlusX,
    /// -X.
    MinusX,
}

impl Facing {
    /// The angle about +Y that turns +Z to it, radians.
    pub fn angle(self) -> f32 {
        use std::f32::consts::{FRAC_PI_2, PI};
        match self {
            Self::PlusZ => 0.0,
            Self::MinusZ => PI,
            Self::PlusX => FRAC_PI_2,
            Self::MinusX => -FRAC_PI_2,
        }
    }
}

/// How the head follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadBone {
    /// Names of the bone, the first that is there; empty looks for the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bones: Vec<String>,
    /// Factor on the turn to the side; 0 keeps it, -1 inverts it.
    #[serde(deserialize_with = "read::finite")]
    pub yaw: f32,
    /// Factor on the nod.
    #[serde(deserialize_with = "read::finite")]
    pub pitch: f32,
    /// Factor on the tilt.
    #[serde(deserialize_with = "read::finite")]
    pub roll: f32,
    /// Most that it turns to each side, nods up and down and tilts to each side, degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<(f32, f32, f32)>,
}

impl Default for HeadBone {
    fn default() -> Self {
        Self { bones: Vec::new(), yaw: 1.0, pitch: 1.0, roll: 1.0, limits: None }
    }
}

/// How the neck follows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NeckBone {
    /// Names of the bone, the first that is there; empty looks for the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bones: Vec<String>,
    /// Share of the head's turn that it takes, `0..=1`.
    #[serde(deserialize_with = "read::maybe_finite", skip_serializing_if = "Option::is_none")]
    pub share: Option<f32>,
}

/// How the eyes follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EyeBones {
    /// Names of the left eye's bone, the first that is there; empty looks for the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
    /// Names of the right eye's bone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub right: Vec<String>,
    /// Factor on the gaze to the side.
    #[serde(deserialize_with = "read::finite")]
    pub yaw: f32,
    /// Factor on the gaze up and down.
    #[serde(deserialize_with = "read::finite")]
    pub pitch: f32,
    /// Most that an eye turns to each side, and up and down, degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<(f32, f32)>,
}

impl Default for EyeBones {
    fn default() -> Self {
        Self { left: Vec::new(), right: Vec::new(), yaw: 1.0, pitch: 1.0, limits: None }
    }
}

/// How a jaw bone follows `jawOpen`, `jawLeft`, `jawRight` and `jawForward`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JawBone {
    /// Names of the bone, the first that is there; empty looks for the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bones: Vec<String>,
    /// Degrees that it drops at full `jawOpen`.
    #[serde(deserialize_with = "read::finite")]
    pub open: f32,
    /// Degrees that it turns at full `jawLeft` or `jawRight`.
    #[serde(deserialize_with = "read::finite")]
    pub side: f32,
    /// Metres that it moves forward at full `jawForward`.
    #[serde(deserialize_with = "read::finite")]
    pub forward: f32,
}

impl Default for JawBone {
    fn default() -> Self {
        Self { bones: Vec::new(), open: 22.0, side: 7.0, forward: 0.006 }
    }
}

impl BoneMap {
    /// Whether no field is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The fields of `base`, overridden by those set here.
    pub(super) fn over(self, base: Self) -> Self {
        Self {
            facing: self.facing.or(base.facing),
            head: self.head.or(base.head),
            neck: self.neck.or(base.neck),
            eyes: self.eyes.or(base.eyes),
            jaw: self.jaw.or(base.jaw),
        }
    }
}
