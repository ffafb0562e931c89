//! The 52 ARKit blendshapes: their names, order and spellings.

use std::fmt;

/// Number of ARKit face blendshapes.
pub const BLENDSHAPE_COUNT: usize = 52;

macro_rules! blendshapes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// One of the 52 face blendshapes of Apple's ARKit
        /// ([`ARFaceAnchor.BlendShapeLocation`](https://developer.apple.com/documentation/arkit/arfaceanchor/blendshapelocation)).
        ///
        /// The discriminant is the shape's place in the order that Live Link Face and Unreal Engine use
        /// (`EARFaceBlendShape`), which is also the order of a 52-value `float32` frame. *Left* and *right* are the
        /// performer's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Blendshape {
            $($(#[$doc])* $variant,)*
        }

        impl Blendshape {
            /// Every shape, in order.
            pub const ALL: [Blendshape; BLENDSHAPE_COUNT] = [$(Blendshape::$variant,)*];

            /// The ARKit name in camel case, such as `eyeBlinkLeft`.
            pub const fn name(self) -> &'static str {
                match self { $(Blendshape::$variant => $name,)* }
            }

            /// The shape with exactly this ARKit name (camel case, case-sensitive).
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Blendshape::$variant),)* _ => None }
            }
        }
    };
}

blendshapes! {
    /// Lids shut, left side.
    EyeBlinkLeft = "eyeBlinkLeft",
    /// Gaze down, and the lid motion that accompanies it, left side.
    EyeLookDownLeft = "eyeLookDownLeft",
    /// Gaze towards the nose, left side.
    EyeLookInLeft = "eyeLookInLeft",
    /// Gaze away from the nose, left side.
    EyeLookOutLeft = "eyeLookOutLeft",
    /// Gaze up, and the lid motion that accompanies it, left side.
    EyeLookUpLeft = "eyeLookUpLeft",
    /// Lower lid and cheek push up, left side.
    EyeSquintLeft = "eyeSquintLeft",
    /// Upper lid lifts, left side.
    EyeWideLeft = "eyeWideLeft",
    /// Lids shut, right side.
    EyeBlinkRight = "eyeBlinkRight",
    /// Gaze down, and the lid motion that accompanies it, right side.
    EyeLookDownRight = "eyeLookDownRight",
    /// Gaze towards the nose, right side.
    EyeLookInRight = "eyeLookInRight",
    /// Gaze away from the nose, right side.
    EyeLookOutRight = "eyeLookOutRight",
    /// Gaze up, and the lid motion that accompanies it, right side.
    EyeLookUpRight = "eyeLookUpRight",
    /// Lower lid and cheek push up, right side.
    EyeSquintRight = "eyeSquintRight",
    /// Upper lid lifts, right side.
    EyeWideRight = "eyeWideRight",
    /// Mandible forward.
    JawForward = "jawForward",
    /// Mandible to the performer's left.
    JawLeft = "jawLeft",
    /// Mandible to the performer's right.
    JawRight = "jawRight",
    /// Mandible down.
    JawOpen = "jawOpen",
    /// Lips meet, whatever the jaw does.
    MouthClose = "mouthClose",
    /// Lips open round.
    MouthFunnel = "mouthFunnel",
    /// Lips together and forward.
    MouthPucker = "mouthPucker",
    /// Both lips to the performer's left.
    MouthLeft = "mouthLeft",
    /// Both lips to the performer's right.
    MouthRight = "mouthRight",
    /// Mouth corner up and out, left side.
    MouthSmileLeft = "mouthSmileLeft",
    /// Mouth corner up and out, right side.
    MouthSmileRight = "mouthSmileRight",
    /// Mouth corner down, left side.
    MouthFrownLeft = "mouthFrownLeft",
    /// Mouth corner down, right side.
    MouthFrownRight = "mouthFrownRight",
    /// Mouth corner back, left side.
    MouthDimpleLeft = "mouthDimpleLeft",
    /// Mouth corner back, right side.
    MouthDimpleRight = "mouthDimpleRight",
    /// Mouth corner sideways, left side.
    MouthStretchLeft = "mouthStretchLeft",
    /// Mouth corner sideways, right side.
    MouthStretchRight = "mouthStretchRight",
    /// Lower lip curls over the teeth.
    MouthRollLower = "mouthRollLower",
    /// Upper lip curls over the teeth.
    MouthRollUpper = "mouthRollUpper",
    /// Chin pushes the lower lip up.
    MouthShrugLower = "mouthShrugLower",
    /// Upper lip lifts as a whole.
    MouthShrugUpper = "mouthShrugUpper",
    /// Corner region of the lips presses together, left side.
    MouthPressLeft = "mouthPressLeft",
    /// Corner region of the lips presses together, right side.
    MouthPressRight = "mouthPressRight",
    /// Lower lip moves down, left side.
    MouthLowerDownLeft = "mouthLowerDownLeft",
    /// Lower lip moves down, right side.
    MouthLowerDownRight = "mouthLowerDownRight",
    /// Upper lip moves up, left side.
    MouthUpperUpLeft = "mouthUpperUpLeft",
    /// Upper lip moves up, right side.
    MouthUpperUpRight = "mouthUpperUpRight",
    /// Brow down, left side.
    BrowDownLeft = "browDownLeft",
    /// Brow down, right side.
    BrowDownRight = "browDownRight",
    /// Both inner brows up.
    BrowInnerUp = "browInnerUp",
    /// Outer brow up, left side.
    BrowOuterUpLeft = "browOuterUpLeft",
    /// Outer brow up, right side.
    BrowOuterUpRight = "browOuterUpRight",
    /// Both cheeks out.
    CheekPuff = "cheekPuff",
    /// Cheek up under the eye, left side.
    CheekSquintLeft = "cheekSquintLeft",
    /// Cheek up under the eye, right side.
    CheekSquintRight = "cheekSquintRight",
    /// Nostril side up, left side.
    NoseSneerLeft = "noseSneerLeft",
    /// Nostril side up, right side.
    NoseSneerRight = "noseSneerRight",
    /// Tongue past the lips.
    TongueOut = "tongueOut",
}

impl Blendshape {
    /// Place in the canonical order, `0..52`.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The shape at `index` of the canonical order.
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// The shape on the other side of the face; shapes without sides are their own mirror.
    pub fn mirrored(self) -> Self {
        let name = self.name();
        let other = if let Some(stem) = name.strip_suffix("Left") {
            Self::from_stem(stem, "Right")
        } else if let Some(stem) = name.strip_suffix("Right") {
            Self::from_stem(stem, "Left")
        } else {
            None
        };
        other.unwrap_or(self)
    }

    fn from_stem(stem: &str, side: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shape| shape.name().strip_suffix(side) == Some(stem))
    }

    /// The shape under any of the spellings that trackers and rigs commonly use for the ARKit set.
    ///
    /// Besides the ARKit name this accepts Pascal case (`EyeBlinkLeft`), the constants' raw values (`eyeBlink_L`), other
    /// cases and separators (`eye_blink_left`, `Eye Blink L`) and a mesh or deformer prefix that ends in a dot
    /// (`blendShape1.eyeBlink_L`). It never allocates.
    pub fn from_any_name(name: &str) -> Option<Self> {
        if let Some(shape) = Self::from_name(name) {
            return Some(shape);
        }
        let name = name.rsplit_once('.').map_or(name, |(_, last)| last);
        let mut letters = [0_u8; 24];
        let mut len = 0;
        for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')) {
            *letters.get_mut(len)? = byte.to_ascii_lowercase();
            len += 1;
        }
        let letters = &letters[..len];
        Self::ALL.into_iter().find(|shape| {
            let full = shape.name().as_bytes();
            if letters.eq_ignore_ascii_case(full) {
                return true;
            }
            if !shape.is_paired() {
                return false;
            }
            let (stem, side) = match full.strip_suffix(b"Left") {
                Some(stem) => (stem, b'l'),
                None => (full.strip_suffix(b"Right").unwrap_or(full), b'r'),
            };
            letters.split_last().is_some_and(|(last, rest)| *last == side && rest.eq_ignore_ascii_case(stem))
        })
    }

    /// The shape that a sender means: any spelling of [`from_any_name`](Self::from_any_name), and `jaw_L`, `jaw_R`,
    /// `mouth_L` and `mouth_R` for the directions `jawLeft`, `jawRight`, `mouthLeft` and `mouthRight`. Some apps shorten
    /// every side so; in a rig, such a name may be something else. It never allocates.
    pub fn from_sender_name(name: &str) -> Option<Self> {
        Self::from_any_name(name).or_else(|| Self::from_short_direction(name))
    }

    /// The shape whose direction is shortened to a letter: `jaw_L`, `MouthR`.
    pub fn from_short_direction(name: &str) -> Option<Self> {
        let name = name.rsplit_once('.').map_or(name, |(_, last)| last);
        let is = |short: &str| {
            let letters = name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' '));
            letters.map(|byte| byte.to_ascii_lowercase()).eq(short.bytes())
        };
        let shapes = [
            ("jawl", Self::JawLeft),
            ("jawr", Self::JawRight),
            ("mouthl", Self::MouthLeft),
            ("mouthr", Self::MouthRight),
        ];
        shapes.into_iter().find(|(short, _)| is(short)).map(|(_, shape)| shape)
    }

    /// Whether the shape is one half of a left/right pair of the same movement (`jawLeft` and `mouthLeft` are not: they
    /// name a direction).
    pub fn is_paired(self) -> bool {
        use Blendshape::{JawLeft, JawRight, MouthLeft, MouthRight};
        let sided = self.name().ends_with("Left") || self.name().ends_with("Right");
        sided && !matches!(self, JawLeft | JawRight | MouthLeft | MouthRight)
    }
}

impl fmt::Display for Blendshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_order_is_that_of_unreal() {
        assert_eq!(Blendshape::EyeBlinkLeft.index(), 0);
        assert_eq!(Blendshape::JawOpen.index(), 17);
        assert_eq!(Blendshape::MouthLeft.index(), 21);
        assert_eq!(Blendshape::TongueOut.index(), 51);
        for (index, shape) in Blendshape::ALL.into_iter().enumerate() {
            assert_eq!(shape.index(), index);
            assert_eq!(Blendshape::from_name(shape.name()), Some(shape));
        }
    }

    #[test]
    fn shape_spellings_of_trackers_and_rigs_are_accepted() {
        for (spelling, shape) in [
            ("EyeBlinkLeft", Some(Blendshape::EyeBlinkLeft)),
            ("eyeBlink_L", Some(Blendshape::EyeBlinkLeft)),
            ("mouthSmile_R", Some(Blendshape::MouthSmileRight)),
            ("blendShape1.browDown_R", Some(Blendshape::BrowDownRight)),
            ("mouth_left", Some(Blendshape::MouthLeft)),
            ("jaw_L", None),
            ("mouthSmile", None),
            ("eyeBlink_C", None),
            ("viseme_aa", None),
            ("", None),
        ] {
            assert_eq!(Blendshape::from_any_name(spelling), shape, "{spelling}");
        }
    }

    #[test]
    fn shape_directions_of_senders_are_shortened_to_a_letter() {
        for (spelling, shape) in [
            ("jaw_L", Some(Blendshape::JawLeft)),
            ("jaw_R", Some(Blendshape::JawRight)),
            ("mouth_L", Some(Blendshape::MouthLeft)),
            ("MouthR", Some(Blendshape::MouthRight)),
            ("head.Mouth R", Some(Blendshape::MouthRight)),
            ("eyeBlink_L", Some(Blendshape::EyeBlinkLeft)),
            ("mouthLeft", Some(Blendshape::MouthLeft)),
            ("jaw", None),
            ("jaw_C", None),
            ("mouth_LL", None),
            ("L", None),
        ] {
            assert_eq!(Blendshape::from_sender_name(spelling), shape, "{spelling}");
        }
    }

    #[test]
    fn shape_mirror_is_an_involution_that_keeps_single_shapes() {
        for shape in Blendshape::ALL {
            assert_eq!(shape.mirrored().mirrored(), shape);
        }
        assert_eq!(Blendshape::MouthLeft.mirrored(), Blendshape::MouthRight);
        assert_eq!(Blendshape::JawOpen.mirrored(), Blendshape::JawOpen);
    }
}
