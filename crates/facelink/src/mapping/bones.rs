//! The motion of a head's bones.

use serde::{Deserialize, Serialize};

use crate::frame::EYE_LOOK_RANGE;

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
    /// How far an eye turns for how far the performer looks, in each direction. Without it, as far as the performer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<GazeRange>,
    /// Most that an eye turns to each side, and up and down, degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<(f32, f32)>,
    /// What turns the eyeballs.
    #[serde(skip_serializing_if = "EyeDrive::is_auto")]
    pub by: EyeDrive,
}

impl Default for EyeBones {
    fn default() -> Self {
        Self {
            left: Vec::new(),
            right: Vec::new(),
            yaw: 1.0,
            pitch: 1.0,
            range: None,
            limits: None,
            by: EyeDrive::Auto,
        }
    }
}

impl EyeBones {
    /// The fields of `base`, overridden by those that are not at their defaults here.
    fn over(self, base: Self) -> Self {
        let plain = Self::default();
        let names = |own: Vec<String>, base| if own.is_empty() { base } else { own };
        Self {
            left: names(self.left, base.left),
            right: names(self.right, base.right),
            yaw: if self.yaw == plain.yaw { base.yaw } else { self.yaw },
            pitch: if self.pitch == plain.pitch { base.pitch } else { self.pitch },
            range: self.range.or(base.range),
            limits: self.limits.or(base.limits),
            by: if self.by.is_auto() { base.by } else { self.by },
        }
    }
}

/// What turns the eyeballs of a rig that has eye bones. Both together would turn them twice as far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EyeDrive {
    /// The `eyeLook*` targets where they move what the eye bones move, else the bones.
    #[default]
    Auto,
    /// The bones.
    Bones,
    /// The `eyeLook*` targets; the bones stay where an animation or the game has them.
    Targets,
}

impl EyeDrive {
    /// Whether it is to be found out.
    pub fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

/// How far an eye turns in one direction for how far the performer looks, degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(f32, f32)", into = "(f32, f32)")]
pub struct RangeMap {
    /// The performer's angle at which the eye stops; more turns it no further.
    pub input: f32,
    /// The eye's angle there; in between it turns in proportion.
    pub output: f32,
}

impl TryFrom<(f32, f32)> for RangeMap {
    type Error = &'static str;

    fn try_from((input, output): (f32, f32)) -> Result<Self, Self::Error> {
        if input.is_finite() && output.is_finite() && input >= 0.0 {
            Ok(Self { input, output })
        } else {
            Err("must be two finite numbers of degrees, the first 0 or more")
        }
    }
}

impl From<RangeMap> for (f32, f32) {
    fn from(map: RangeMap) -> Self {
        (map.input, map.output)
    }
}

impl RangeMap {
    /// A range of VRM's look-at of type `bone`: `inputMaxValue` and `outputScale` in VRM 1.0, `xRange` and `yRange` in
    /// VRM 0.x, degrees. VRM's input is the direction of what is looked at, up to 90 degrees and more; a performer's eye
    /// turns by [`EYE_LOOK_RANGE`] at most, which therefore goes with the whole output, unless the output is wider than
    /// that: an eye of a range that changes nothing turns as far as the performer's.
    pub fn look_at(input_max: f32, output: f32) -> Self {
        let look = EYE_LOOK_RANGE.to_degrees();
        let slope = if input_max > 0.0 { output / input_max } else { 1.0 };
        Self { input: input_max.min(look), output: output.min(look * slope.max(1.0)) }
    }

    /// The eye's angle, in the unit of `angle` (0 or more): degrees in, degrees out; `full` is one degree in it.
    fn at(self, angle: f32, full: f32) -> f32 {
        let (input, output) = (self.input * full, self.output * full);
        let share = if input > 0.0 { angle / input } else { 1.0 };
        let turned = share.min(1.0) * output;
        if turned.is_finite() && angle > 0.0 { turned } else { 0.0 }
    }
}

/// How far an eye turns in each direction. In a file: `(inner: (35, 8), outer: (35, 12), down: (35, 10), up: (35, 10))`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GazeRange {
    /// Towards the nose.
    pub inner: RangeMap,
    /// Away from the nose.
    pub outer: RangeMap,
    /// Down.
    pub down: RangeMap,
    /// Up.
    pub up: RangeMap,
}

impl GazeRange {
    /// Yaw (positive to the face's own left) and pitch (positive up) of the left or the right eye, radians, for the
    /// performer's.
    pub fn turn(&self, left_eye: bool, yaw: f32, pitch: f32) -> (f32, f32) {
        let degree = std::f32::consts::PI / 180.0;
        let side = if (yaw > 0.0) == left_eye { self.outer } else { self.inner };
        let height = if pitch > 0.0 { self.up } else { self.down };
        (side.at(yaw.abs(), degree).copysign(yaw), height.at(pitch.abs(), degree).copysign(pitch))
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
            eyes: match (self.eyes, base.eyes) {
                (Some(own), Some(base)) => Some(own.over(base)),
                (own, base) => own.or(base),
            },
            jaw: self.jaw.or(base.jaw),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaze_range_scales_each_direction_of_each_eye() {
        let range = GazeRange {
            inner: RangeMap { input: 30.0, output: 6.0 },
            outer: RangeMap { input: 30.0, output: 12.0 },
            down: RangeMap { input: 20.0, output: 10.0 },
            up: RangeMap { input: 0.0, output: 5.0 },
        };
        for (left_eye, yaw, pitch, turned) in [
            (true, 15.0, 0.0, (6.0, 0.0)),
            (true, -15.0, 0.0, (-3.0, 0.0)),
            (false, 15.0, 0.0, (3.0, 0.0)),
            (false, -90.0, 0.0, (-12.0, 0.0)),
            (true, 0.0, -10.0, (0.0, -5.0)),
            (true, 0.0, 1.0, (0.0, 5.0)),
        ] {
            let (x, y) = range.turn(left_eye, f32::to_radians(yaw), f32::to_radians(pitch));
            let near = |a: f32, b: f32| (a.to_degrees() - b).abs() < 1e-4;
            assert!(near(x, turned.0) && near(y, turned.1), "{left_eye} {yaw} {pitch}: {} {}", x.to_degrees(), y);
        }
        let (x, _) = GazeRange { outer: RangeMap { input: f32::NAN, output: 3.0 }, ..range }.turn(true, 0.3, 0.0);
        assert!(x.is_finite());
    }

    #[test]
    fn look_at_of_a_vrm_file_reaches_its_output_at_a_full_look() {
        let wide = RangeMap::look_at(90.0, 10.0);
        assert!((wide.at(35.0, 1.0) - 10.0).abs() < 1e-4);
        assert_eq!(RangeMap::look_at(20.0, 10.0), RangeMap { input: 20.0, output: 10.0 });
        assert!((RangeMap::look_at(90.0, 90.0).at(35.0, 1.0) - 35.0).abs() < 1e-4, "it changes nothing");
    }

    #[test]
    fn eye_fields_left_out_stay_as_in_the_base() {
        let base = EyeBones { left: vec!["E".to_owned()], by: EyeDrive::Targets, ..EyeBones::default() };
        let own = EyeBones { limits: Some((10.0, 5.0)), ..EyeBones::default() };
        let both =
            BoneMap { eyes: Some(own), ..BoneMap::default() }.over(BoneMap { eyes: Some(base), ..BoneMap::default() });
        let eyes = both.eyes.unwrap_or_default();
        assert_eq!((eyes.left.len(), eyes.by, eyes.limits), (1, EyeDrive::Targets, Some((10.0, 5.0))));
    }
}
