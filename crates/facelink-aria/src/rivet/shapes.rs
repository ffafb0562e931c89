//! The names of the shapes in both dialects, and how a symmetric move becomes left and right ones.
//!
//! The parts are moved by the finer names, VRChat's Unified Expressions; an ARKit shape is the sum of its parts there.

use crate::part::Part;
use crate::vec3::{Vec3, smoothstep, v3};

/// Number of Unified names.
pub const COUNT: usize = 68;

/// The Unified Expressions that Rivet has.
pub const UNIFIED: [&str; COUNT] = [
    "EyeClosedLeft",
    "EyeClosedRight",
    "EyeSquintLeft",
    "EyeSquintRight",
    "EyeWideLeft",
    "EyeWideRight",
    "EyeLookUpLeft",
    "EyeLookUpRight",
    "EyeLookDownLeft",
    "EyeLookDownRight",
    "EyeLookInLeft",
    "EyeLookInRight",
    "EyeLookOutLeft",
    "EyeLookOutRight",
    "BrowPinchLeft",
    "BrowPinchRight",
    "BrowLowererLeft",
    "BrowLowererRight",
    "BrowInnerUpLeft",
    "BrowInnerUpRight",
    "BrowOuterUpLeft",
    "BrowOuterUpRight",
    "NoseSneerLeft",
    "NoseSneerRight",
    "CheekSquintLeft",
    "CheekSquintRight",
    "CheekPuffLeft",
    "CheekPuffRight",
    "JawOpen",
    "JawLeft",
    "JawRight",
    "JawForward",
    "MouthClosed",
    "LipSuckUpperLeft",
    "LipSuckUpperRight",
    "LipSuckLowerLeft",
    "LipSuckLowerRight",
    "LipFunnelUpperLeft",
    "LipFunnelUpperRight",
    "LipFunnelLowerLeft",
    "LipFunnelLowerRight",
    "LipPuckerUpperLeft",
    "LipPuckerUpperRight",
    "LipPuckerLowerLeft",
    "LipPuckerLowerRight",
    "MouthUpperUpLeft",
    "MouthUpperUpRight",
    "MouthLowerDownLeft",
    "MouthLowerDownRight",
    "MouthUpperLeft",
    "MouthUpperRight",
    "MouthLowerLeft",
    "MouthLowerRight",
    "MouthCornerPullLeft",
    "MouthCornerPullRight",
    "MouthCornerSlantLeft",
    "MouthCornerSlantRight",
    "MouthFrownLeft",
    "MouthFrownRight",
    "MouthStretchLeft",
    "MouthStretchRight",
    "MouthDimpleLeft",
    "MouthDimpleRight",
    "MouthRaiserUpper",
    "MouthRaiserLower",
    "MouthPressLeft",
    "MouthPressRight",
    "TongueOut",
];

/// How a Unified shape comes from a stem.
enum Kind {
    /// One side of a paired shape: the stem, and +1 for left.
    Side(&'static str, f64),
    /// A shift to one side: the stem, and +1 for left.
    Shift(&'static str, f64),
    /// Both sides at once.
    Whole,
}

fn kind(name: &'static str) -> Kind {
    let (stem, side) = match (name.strip_suffix("Left"), name.strip_suffix("Right")) {
        (Some(stem), _) => (stem, 1.0),
        (_, Some(stem)) => (stem, -1.0),
        _ => return Kind::Whole,
    };
    if ["Jaw", "MouthUpper", "MouthLower"].contains(&stem) { Kind::Shift(stem, side) } else { Kind::Side(stem, side) }
}

/// The moves of `points` under every Unified shape that moves any.
///
/// `of` gives the symmetric move of a stem for a point of the left half, or the leftward one for `Jaw`, `MouthUpper` and
/// `MouthLower`, for any point. Left and right overlap by `split` on both sides of the middle and sum to the whole.
pub fn moves(points: &[Vec3], split: f64, of: impl Fn(&str, usize, Vec3) -> Vec3) -> Vec<(&'static str, Vec<Vec3>)> {
    let symmetric = |stem: &str, v: usize, p: Vec3| {
        let d = of(stem, v, v3(p.x.abs(), p.y, p.z));
        if p.x < 0.0 {
            d.mirrored()
        } else if p.x == 0.0 {
            v3(0.0, d.y, d.z)
        } else {
            d
        }
    };
    let share = |x: f64| {
        if split > 0.0 { smoothstep(-split, split, x) } else { f64::from(u8::from(x > 0.0)) }
    };
    UNIFIED
        .iter()
        .map(|name| {
            let each = |(v, p): (usize, &Vec3)| match kind(name) {
                Kind::Side(stem, side) => match share(p.x * side) {
                    0.0 => Vec3::ZERO,
                    k => symmetric(stem, v, *p) * k,
                },
                Kind::Shift(stem, 1.0) => of(stem, v, *p),
                Kind::Shift(stem, _) => of(stem, v, p.mirrored()).mirrored(),
                Kind::Whole => symmetric(name, v, *p),
            };
            (*name, points.iter().enumerate().map(each).collect::<Vec<_>>())
        })
        .filter(|(_, deltas)| deltas.iter().any(|d| d.length() > 1e-6))
        .collect()
}

/// The Unified shapes that sum to an ARKit shape.
pub fn parts_of(arkit: &str) -> Vec<&'static str> {
    let (stem, sides): (&str, &[&str]) = if let Some(stem) = arkit.strip_suffix("Left") {
        (stem, &["Left"])
    } else if let Some(stem) = arkit.strip_suffix("Right") {
        (stem, &["Right"])
    } else {
        (arkit, &["", "Left", "Right"])
    };
    let stems: &[&str] = match stem {
        "eyeBlink" => &["EyeClosed"],
        "mouthClose" => &["MouthClosed"],
        "mouthFunnel" => &["LipFunnelUpper", "LipFunnelLower"],
        "mouthPucker" => &["LipPuckerUpper", "LipPuckerLower"],
        // Only the sideways shapes are named by the mouth alone.
        "mouth" => &["MouthUpper", "MouthLower"],
        "mouthSmile" => &["MouthCornerPull", "MouthCornerSlant"],
        "mouthRollLower" => &["LipSuckLower"],
        "mouthRollUpper" => &["LipSuckUpper"],
        "mouthShrugLower" => &["MouthRaiserLower"],
        "mouthShrugUpper" => &["MouthRaiserUpper"],
        "browDown" => &["BrowLowerer", "BrowPinch"],
        _ => &[],
    };
    let same = |name: &str, stem: &str, side: &str| name.strip_suffix(side).is_some_and(|s| s == stem);
    UNIFIED
        .iter()
        .copied()
        .filter(|name| {
            sides.iter().any(|side| {
                if stems.is_empty() {
                    same(&name.to_lowercase(), &stem.to_lowercase(), &side.to_lowercase())
                } else {
                    stems.iter().any(|stem| same(name, stem, side))
                }
            })
        })
        .collect()
}

/// Turns a part's Unified moves into sums under the ARKit names.
pub fn to_arkit(part: &mut Part) {
    let count = part.points.len();
    part.deltas = crate::names::ALL
        .iter()
        .filter_map(|name| {
            let parts = parts_of(name);
            let mut sum = vec![Vec3::ZERO; count];
            let mut any = false;
            for (_, deltas) in part.deltas.iter().filter(|(n, _)| parts.contains(n)) {
                any = true;
                for (s, d) in sum.iter_mut().zip(deltas) {
                    *s += *d;
                }
            }
            any.then_some((*name, sum))
        })
        .collect();
}
