//! The 52 ARKit names in canonical order, and how they pair up.

/// Number of ARKit face blendshapes.
pub const COUNT: usize = 52;

/// The names in the order of `EARFaceBlendShape`, as the `facelink` crate has them.
pub const ALL: [&str; COUNT] = [
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
];

/// The shape that is the mirror image of shape `index`: the other side's, or itself where it is symmetric.
pub fn mirror(index: usize) -> usize {
    let name = ALL[index];
    let other = name
        .strip_suffix("Left")
        .map(|stem| format!("{stem}Right"))
        .or_else(|| name.strip_suffix("Right").map(|stem| format!("{stem}Left")));
    other.and_then(|other| ALL.iter().position(|candidate| *candidate == other)).unwrap_or(index)
}
