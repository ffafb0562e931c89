//! The conventions that differ between sources: axis signs, Euler order, units, sides.
//!
//! A decoder gives a [`SourceFace`]: numbers as they were sent. A [`SourceProfile`] turns it into a
//! [`FaceFrame`], in the axes of [`HeadPose`]. Decoders read a format's bytes and nothing else; every convention that
//! may be doubted, or that differs between versions of an app, is a field of the profile, so that a user can put it
//! right while the face runs.

use std::f32::consts::PI;

use serde::{Deserialize, Serialize};

use crate::{
    frame::{EyeGaze, FaceFrame, Gaze, HeadPose, ROTATION_LENGTHS},
    names::Blendshape,
};

/// An angle further from zero than this, in radians, cannot be an angle of a head or an eye in radians.
pub(crate) const ANGLE_LIMIT: f32 = std::f32::consts::TAU;

/// A rotation as a source sends it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SourceRotation {
    /// About the x, y and z axis, in the profile's [`AngleUnit`].
    Angles([f32; 3]),
    /// Quaternion `[x, y, z, w]`.
    Quaternion([f32; 4]),
}

/// One frame as a source sends it, before its conventions are applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFace {
    /// Weights, extra channels, tracking, capture time and sequence. Its head and gaze count for nothing.
    pub frame: FaceFrame,
    /// Rotation of the head.
    pub head: Option<SourceRotation>,
    /// Position of the head, in the profile's unit.
    pub position: Option<[f32; 3]>,
    /// Rotation of the performer's left and right eye relative to the head.
    pub eyes: Option<[SourceRotation; 2]>,
}

impl From<FaceFrame> for SourceFace {
    /// The numbers that a source with [`SourceProfile::PLAIN`] sends for a frame.
    fn from(mut frame: FaceFrame) -> Self {
        let (head, gaze) = (frame.head.take(), frame.gaze.take());
        let plain = RotationProfile::DEFAULT;
        Self {
            frame,
            head: head.map(|head| SourceRotation::Quaternion(plain.quaternion(head.rotation))),
            position: head.and_then(|head| head.position),
            eyes: gaze.map(|gaze| [gaze.left, gaze.right].map(|eye| SourceRotation::Angles(plain.gaze_angles(eye)))),
        }
    }
}

/// What angles are counted in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AngleUnit {
    /// A full turn is 2π.
    #[default]
    Radians,
    /// A full turn is 360.
    Degrees,
}

impl AngleUnit {
    /// One of the unit, in radians.
    pub const fn in_radians(self) -> f32 {
        match self {
            Self::Radians => 1.0,
            Self::Degrees => PI / 180.0,
        }
    }
}

/// In which order the three angles make a rotation. `Zyx` is `Rz · Ry · Rx`: the last letter turns first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EulerOrder {
    /// `Rx · Ry · Rz`
    Xyz,
    /// `Rx · Rz · Ry`
    Xzy,
    /// `Ry · Rx · Rz`; Unity's and SceneKit's.
    #[default]
    Yxz,
    /// `Ry · Rz · Rx`
    Yzx,
    /// `Rz · Rx · Ry`
    Zxy,
    /// `Rz · Ry · Rx`
    Zyx,
}

impl EulerOrder {
    /// Every order there is.
    pub const ALL: [Self; 6] = [Self::Xyz, Self::Xzy, Self::Yxz, Self::Yzx, Self::Zxy, Self::Zyx];

    /// Axes from the left of the product to its right, and whether they are an even permutation of x, y, z.
    const fn axes(self) -> ([usize; 3], bool) {
        match self {
            Self::Xyz => ([0, 1, 2], true),
            Self::Xzy => ([0, 2, 1], false),
            Self::Yxz => ([1, 0, 2], false),
            Self::Yzx => ([1, 2, 0], true),
            Self::Zxy => ([2, 0, 1], true),
            Self::Zyx => ([2, 1, 0], false),
        }
    }
}

/// Which of the three angles of a rotation a source has inverted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct AxisFlip {
    /// Negate yaw (about y). Unflipped, positive turns to the performer's left.
    pub yaw: bool,
    /// Negate pitch (about x). Unflipped, positive is *up*.
    pub pitch: bool,
    /// Negate roll (about z). Unflipped, positive lifts the performer's left side: the head tilts to their right.
    pub roll: bool,
}

/// How a source sends one kind of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RotationProfile {
    /// Angles to negate. The axes of a quaternion are negated likewise.
    pub flip: AxisFlip,
    /// The source's x is yaw and its y is pitch.
    pub swap_yaw_pitch: bool,
    /// How angles make a rotation.
    pub order: EulerOrder,
    /// What angles are counted in.
    pub unit: AngleUnit,
    /// Angles are multiplied by this; 1 by default.
    pub gain: f32,
}

impl Default for RotationProfile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl RotationProfile {
    /// Radians with the signs of [`AxisFlip`].
    pub const DEFAULT: Self = Self {
        flip: AxisFlip { yaw: false, pitch: false, roll: false },
        swap_yaw_pitch: false,
        order: EulerOrder::Yxz,
        unit: AngleUnit::Radians,
        gain: 1.0,
    };

    /// Signs of the rotation about x, y and z: our pitch is positive up, which is a negative turn about x.
    fn signs(&self) -> [f32; 3] {
        let sign = |negative| if negative { -1.0 } else { 1.0 };
        [sign(!self.flip.pitch), sign(self.flip.yaw), sign(self.flip.roll)]
    }

    fn swapped(&self, [x, y, z]: [f32; 3]) -> [f32; 3] {
        if self.swap_yaw_pitch { [y, x, z] } else { [x, y, z] }
    }

    /// A unit quaternion `[x, y, z, w]` in face axes; `None` if it is no rotation.
    pub fn rotation(&self, source: SourceRotation) -> Option<[f32; 4]> {
        let signs = self.signs();
        match source {
            SourceRotation::Angles(angles) => {
                let scale = self.unit.in_radians() * self.gain;
                let angles = self.swapped(angles);
                let turned: [f32; 3] = std::array::from_fn(|axis| angles[axis] * scale * signs[axis]);
                turned.iter().all(|angle| angle.is_finite()).then(|| from_angles(turned, self.order))
            }
            SourceRotation::Quaternion([x, y, z, w]) => {
                let [x, y, z] = self.swapped([x, y, z]);
                let unit = normalized([x * signs[0], y * signs[1], z * signs[2], w])?;
                Some(if self.gain == 1.0 { unit } else { powered(unit, self.gain) })
            }
        }
    }

    /// The angles that a source with this profile sends for a rotation in face axes: the inverse of
    /// [`rotation`](Self::rotation).
    pub fn angles(&self, rotation: [f32; 4]) -> [f32; 3] {
        let signs = self.signs();
        let scale = self.unit.in_radians() * self.gain;
        let turned = to_angles(rotation, self.order);
        self.swapped(std::array::from_fn(|axis| turned[axis] * signs[axis] / scale))
    }

    /// The quaternion that a source with this profile sends for a rotation in face axes.
    pub fn quaternion(&self, rotation: [f32; 4]) -> [f32; 4] {
        let signs = self.signs();
        let [x, y, z, w] = normalized(rotation).unwrap_or(IDENTITY);
        let sent = [x * signs[0], y * signs[1], z * signs[2], w];
        let [x, y, z, w] = if self.gain == 1.0 { sent } else { powered(sent, 1.0 / self.gain) };
        let [x, y, z] = self.swapped([x, y, z]);
        [x, y, z, w]
    }

    /// Where an eye looks that is turned like this.
    fn gaze(&self, source: SourceRotation) -> Option<EyeGaze> {
        // For angles, yaw and pitch as they were sent: the roll is an artefact of the decomposition.
        let (yaw, pitch) = match source {
            SourceRotation::Angles(angles) => {
                let scale = self.unit.in_radians() * self.gain;
                let signs = self.signs();
                let [x, y, _] = self.swapped(angles);
                (y * scale * signs[1], -x * scale * signs[0])
            }
            SourceRotation::Quaternion(_) => {
                let [x, y, _] = to_angles(self.rotation(source)?, EulerOrder::Yxz);
                (y, -x)
            }
        };
        (yaw.is_finite() && pitch.is_finite()).then(|| EyeGaze { yaw: yaw.clamp(-PI, PI), pitch: pitch.clamp(-PI, PI) })
    }

    fn gaze_angles(&self, gaze: EyeGaze) -> [f32; 3] {
        let scale = self.unit.in_radians() * self.gain;
        let signs = self.signs();
        self.swapped([-gaze.pitch * signs[0] / scale, gaze.yaw * signs[1] / scale, 0.0])
    }
}

/// The conventions of a source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceProfile {
    /// Rotation of the head.
    pub head: RotationProfile,
    /// Rotation of the eyes.
    pub eyes: RotationProfile,
    /// One of the source's unit of length, in metres.
    pub metres_per_unit: f32,
    /// Axes of the head's position to negate, x to the performer's left, y up, z out of the face.
    pub flip_position: [bool; 3],
    /// Exchange `mouthLeft` and `mouthRight`.
    pub swap_mouth_left_right: bool,
    /// The phone lies on its side: the head's yaw and pitch are inverted.
    pub landscape: bool,
    /// Show the face as in a mirror: left and right exchanged throughout.
    pub mirror: bool,
}

impl Default for SourceProfile {
    fn default() -> Self {
        Self::PLAIN
    }
}

impl SourceProfile {
    /// Radians and metres in the axes of [`HeadPose`]; nothing is exchanged.
    pub const PLAIN: Self = Self {
        head: RotationProfile::DEFAULT,
        eyes: RotationProfile::DEFAULT,
        metres_per_unit: 1.0,
        flip_position: [false; 3],
        swap_mouth_left_right: false,
        landscape: false,
        mirror: false,
    };

    /// The frame that a source's numbers denote.
    pub fn apply(&self, source: SourceFace) -> FaceFrame {
        let mut frame = source.frame;
        if self.swap_mouth_left_right {
            swap(&mut frame, Blendshape::MouthLeft, Blendshape::MouthRight);
        }
        frame.head = source.head.and_then(|head| self.head_profile().rotation(head)).map(|rotation| HeadPose {
            rotation,
            position: source
                .position
                .map(|position| self.position(position))
                .filter(|p| p.iter().all(|p| p.is_finite())),
        });
        frame.gaze = source
            .eyes
            .and_then(|[left, right]| Some(Gaze { left: self.eyes.gaze(left)?, right: self.eyes.gaze(right)? }));
        if self.mirror {
            mirror(&mut frame);
        }
        frame
    }

    /// The numbers that a source of this profile sends for a frame, with rotations as angles: the inverse of
    /// [`apply`](Self::apply).
    pub fn unapply(&self, frame: &FaceFrame) -> SourceFace {
        let mut frame = frame.clone();
        if self.mirror {
            mirror(&mut frame);
        }
        let head = frame.head.map(|head| SourceRotation::Angles(self.head_profile().angles(head.rotation)));
        let position = frame.head.and_then(|head| head.position).map(|position| {
            std::array::from_fn(|axis| sign(self.flip_position[axis]) * position[axis] / self.metres_per_unit)
        });
        let eyes = frame
            .gaze
            .map(|gaze| [gaze.left, gaze.right].map(|eye| SourceRotation::Angles(self.eyes.gaze_angles(eye))));
        if self.swap_mouth_left_right {
            swap(&mut frame, Blendshape::MouthLeft, Blendshape::MouthRight);
        }
        (frame.head, frame.gaze) = (None, None);
        SourceFace { frame, head, position, eyes }
    }

    fn head_profile(&self) -> RotationProfile {
        let mut head = self.head;
        if self.landscape {
            head.flip.yaw = !head.flip.yaw;
            head.flip.pitch = !head.flip.pitch;
        }
        head
    }

    fn position(&self, position: [f32; 3]) -> [f32; 3] {
        std::array::from_fn(|axis| sign(self.flip_position[axis]) * position[axis] * self.metres_per_unit)
    }
}

fn sign(negative: bool) -> f32 {
    if negative { -1.0 } else { 1.0 }
}

fn swap(frame: &mut FaceFrame, a: Blendshape, b: Blendshape) {
    let (a, b) = (a.index(), b.index());
    frame.weights.swap(a, b);
    let bits = (frame.present >> a ^ frame.present >> b) & 1;
    frame.present ^= bits << a | bits << b;
}

/// Exchanges the performer's left and right: shapes, head and gaze.
pub fn mirror(frame: &mut FaceFrame) {
    for shape in Blendshape::ALL {
        let other = shape.mirrored();
        if shape.index() < other.index() {
            swap(frame, shape, other);
        }
    }
    if let Some(head) = &mut frame.head {
        let [x, y, z, w] = head.rotation;
        head.rotation = [x, -y, -z, w];
        if let Some(position) = &mut head.position {
            position[0] = -position[0];
        }
    }
    if let Some(gaze) = &mut frame.gaze {
        std::mem::swap(&mut gaze.left, &mut gaze.right);
        gaze.left.yaw = -gaze.left.yaw;
        gaze.right.yaw = -gaze.right.yaw;
    }
}

/// No turn at all.
pub(crate) const IDENTITY: [f32; 4] = [0.0, 0.0, 0.0, 1.0];

/// The quaternion of length 1 in the same direction; `None` if it is no rotation.
pub(crate) fn normalized(q: [f32; 4]) -> Option<[f32; 4]> {
    let length = q.iter().map(|part| part * part).sum::<f32>().sqrt();
    ROTATION_LENGTHS.contains(&length).then(|| q.map(|part| part / length))
}

/// `a · b`: turns by `b`, then by `a`.
pub(crate) fn product([ax, ay, az, aw]: [f32; 4], [bx, by, bz, bw]: [f32; 4]) -> [f32; 4] {
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

/// The inverse of a unit quaternion.
pub(crate) fn inverse([x, y, z, w]: [f32; 4]) -> [f32; 4] {
    [-x, -y, -z, w]
}

/// A vector turned by a unit quaternion.
pub(crate) fn turned(rotation: [f32; 4], [x, y, z]: [f32; 3]) -> [f32; 3] {
    let [x, y, z, _] = product(product(rotation, [x, y, z, 0.0]), inverse(rotation));
    [x, y, z]
}

/// The same turn, `gain` times as far.
fn powered(q: [f32; 4], gain: f32) -> [f32; 4] {
    // The shorter arc.
    let q = if q[3] < 0.0 { q.map(|part| -part) } else { q };
    let [x, y, z, w] = q;
    let sine = (x * x + y * y + z * z).sqrt();
    if sine < 1e-6 {
        return q;
    }
    let half = sine.atan2(w) * gain;
    let (s, c) = half.sin_cos();
    [x / sine * s, y / sine * s, z / sine * s, c]
}

/// The rotation of three angles about x, y and z, radians.
pub(crate) fn from_angles(angles: [f32; 3], order: EulerOrder) -> [f32; 4] {
    let axis = |axis: usize| {
        let (s, c) = (0.5 * angles[axis]).sin_cos();
        let mut q = [0.0, 0.0, 0.0, c];
        q[axis] = s;
        q
    };
    let ([a, b, c], _) = order.axes();
    product(product(axis(a), axis(b)), axis(c))
}

/// `Rz(roll) · Ry(yaw) · Rx(-pitch)`; radians, yaw positive to the performer's left, pitch positive up.
pub(crate) fn rotation_from_euler(yaw: f32, pitch: f32, roll: f32) -> [f32; 4] {
    from_angles([-pitch, yaw, roll], EulerOrder::Zyx)
}

/// The head's yaw (positive to its own left), pitch (positive up) and roll (positive to its own left shoulder), radians, as
/// mappings read them; zeros without a head.
pub(crate) fn head_angles(frame: &FaceFrame) -> [f32; 3] {
    let [down, yaw, roll] = frame.head.map_or([0.0; 3], |head| to_angles(head.rotation, EulerOrder::Yxz));
    [yaw, -down, -roll]
}

/// The angles about x, y and z of a rotation, radians; the middle one of the order lies within a quarter turn. What is no
/// rotation gives zeros.
pub(crate) fn to_angles(rotation: [f32; 4], order: EulerOrder) -> [f32; 3] {
    let Some(q) = normalized(rotation) else { return [0.0; 3] };
    let ([a, b, c], even) = order.axes();
    // An odd order is the even one in mirrored axes.
    let parity = if even { 1.0 } else { -1.0 };
    let (qa, qb, qc, w) = (q[a], q[b], q[c] * parity, q[3]);
    let sine = (2.0 * (w * qb + qa * qc)).clamp(-1.0, 1.0);
    let mut angles = [0.0; 3];
    angles[b] = sine.asin();
    if sine.abs() > 0.999_999 {
        // Looking along the first axis: the two others turn about the same one.
        angles[a] = 2.0 * qa.atan2(w);
    } else {
        angles[a] = (2.0 * (w * qa - qb * qc)).atan2(1.0 - 2.0 * (qa * qa + qb * qb));
        angles[c] = parity * (2.0 * (w * qc - qa * qb)).atan2(1.0 - 2.0 * (qb * qb + qc * qc));
    }
    angles
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: [f32; 4], b: [f32; 4]) -> bool {
        let dot: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
        dot.abs() > 0.999_99
    }

    proptest! {
        #[test]
        fn profile_angles_and_rotations_are_inverse_in_every_order(
            x in -1.4_f32..1.4, y in -1.4_f32..1.4, z in -1.4_f32..1.4
        ) {
            for order in EulerOrder::ALL {
                let q = from_angles([x, y, z], order);
                let back = to_angles(q, order);
                for (axis, angle) in [x, y, z].into_iter().enumerate() {
                    prop_assert!((back[axis] - angle).abs() < 1e-3, "{order:?}: {back:?}");
                }
            }
        }

        #[test]
        fn profile_has_an_inverse(
            flips in 0_u32..64, order in 0_usize..6, degrees: bool, gain in 0.5_f32..2.0,
            x in -0.5_f32..0.5, y in -0.5_f32..0.5, z in -0.5_f32..0.5, mirror: bool, landscape: bool, swap: bool,
        ) {
            let bit = |place: u32| flips >> place & 1 != 0;
            let rotation = RotationProfile {
                flip: AxisFlip { yaw: bit(0), pitch: bit(1), roll: bit(2) },
                swap_yaw_pitch: bit(3),
                order: EulerOrder::ALL[order],
                unit: if degrees { AngleUnit::Degrees } else { AngleUnit::Radians },
                gain,
            };
            let profile = SourceProfile {
                head: rotation,
                eyes: rotation,
                metres_per_unit: 0.1,
                flip_position: [bit(4), bit(5), bit(0)],
                swap_mouth_left_right: swap,
                landscape,
                mirror,
            };
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::MouthLeft, 0.3);
            frame.set(Blendshape::EyeBlinkRight, 0.7);
            let head = from_angles([x, y, z], EulerOrder::Yxz);
            frame.head = Some(HeadPose { rotation: head, position: Some([x, y, z]) });
            frame.gaze = Some(Gaze { left: EyeGaze { yaw: x, pitch: y }, right: EyeGaze { yaw: y, pitch: z } });
            let back = profile.apply(profile.unapply(&frame));
            prop_assert_eq!(back.weights, frame.weights);
            prop_assert!(close(back.head.unwrap().rotation, head), "{:?}", back.head);
            let (a, b) = (back.gaze.unwrap(), frame.gaze.unwrap());
            for (a, b) in [(a.left, b.left), (a.right, b.right)] {
                prop_assert!((a.yaw - b.yaw).abs() < 1e-4 && (a.pitch - b.pitch).abs() < 1e-4);
            }
            let sent = profile.head_profile().quaternion(head);
            let got = profile.head_profile().rotation(SourceRotation::Quaternion(sent)).unwrap();
            prop_assert!(close(got, head), "as a quaternion: {:?}", got);
        }
    }

    /// Where the tip of the nose moves.
    fn nose(rotation: [f32; 4]) -> [f32; 3] {
        turned(rotation, [0.0, 0.0, 1.0])
    }

    #[test]
    fn profile_refuses_quaternions_without_a_direction() {
        let rotation = |q| RotationProfile::DEFAULT.rotation(SourceRotation::Quaternion(q));
        // A square below the normal range of an f32 is coarse: the length of this one was found to be 1.1 times too long.
        for none in [[0.0; 4], [0.0, 0.0, 0.0, -3e-23], [1e-20, 0.0, 0.0, 1e-20], [1e20, 0.0, 0.0, 0.0], [f32::NAN; 4]]
        {
            assert_eq!(rotation(none), None, "{none:?}");
        }
        assert_eq!(rotation([0.0, 0.0, 0.0, 0.01]), Some(IDENTITY));
    }

    #[test]
    fn profile_signs_match_axes() {
        let plain = RotationProfile::DEFAULT;
        let turn = |angles| plain.rotation(SourceRotation::Angles(angles)).unwrap();
        assert!(nose(turn([0.3, 0.0, 0.0]))[1] > 0.2, "pitch is up");
        assert!(nose(turn([0.0, 0.3, 0.0]))[0] > 0.2, "yaw is to the performer's left, +X");
        assert!(turned(turn([0.0, 0.0, 0.3]), [1.0, 0.0, 0.0])[1] > 0.2, "roll lifts the left side");
        let eye = plain.gaze(SourceRotation::Angles([0.2, 0.1, 0.0])).unwrap();
        assert!(eye.pitch > 0.0 && eye.yaw > 0.0);
        let q = plain.gaze(SourceRotation::Quaternion(plain.quaternion(turn([0.2, 0.1, 0.0])))).unwrap();
        assert!((q.pitch - 0.2).abs() < 1e-5 && (q.yaw - 0.1).abs() < 1e-5, "{q:?}");
    }

    #[test]
    fn profile_mirror_exchanges_sides_alone() {
        let mut frame = FaceFrame::default();
        frame.set(Blendshape::MouthSmileLeft, 0.8);
        frame.set(Blendshape::JawLeft, 0.4);
        frame.set(Blendshape::JawOpen, 0.2);
        let rotation = from_angles([0.1, 0.2, 0.3], EulerOrder::Yxz);
        frame.head = Some(HeadPose { rotation, position: Some([0.1, 0.2, 0.3]) });
        let before = frame.clone();
        mirror(&mut frame);
        assert_eq!(frame.get(Blendshape::MouthSmileRight), Some(0.8));
        assert_eq!(frame.get(Blendshape::MouthSmileLeft), None);
        assert_eq!(frame.get(Blendshape::JawRight), Some(0.4));
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.2));
        assert_eq!(frame.head.unwrap().position, Some([-0.1, 0.2, 0.3]));
        assert!(close(frame.head.unwrap().rotation, from_angles([0.1, -0.2, -0.3], EulerOrder::Yxz)));
        mirror(&mut frame);
        assert_eq!(frame, before);
    }

    #[test]
    fn profile_invalid_rotation_is_left_out() {
        let profile = SourceProfile::PLAIN;
        for head in [SourceRotation::Quaternion([0.0; 4]), SourceRotation::Angles([f32::NAN, 0.0, 0.0])] {
            let source = SourceFace { head: Some(head), ..SourceFace::default() };
            assert_eq!(profile.apply(source).head, None);
        }
    }
}
