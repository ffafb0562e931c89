//! How the jaw moves.

use crate::vec3::{Vec3, v3};

/// Axle of the jaw, behind the ear discs.
pub const HINGE: Vec3 = v3(0.0, -20.0, -8.0);
/// How far `JawOpen` turns it, in degrees.
const ANGLE: f64 = 13.0;
/// It also drops a little, as on a slotted joint.
const DROP: Vec3 = v3(0.0, -5.0, 0.5);
/// Reach of `JawForward`.
const FORWARD: Vec3 = v3(0.0, 0.0, 8.0);
/// `JawLeft` shifts the jaw, and turns it about the upright through its hinge, in degrees.
const SIDE: f64 = 3.6;
const YAW: f64 = 3.4;

/// Where `JawOpen` takes a point that is wholly the jaw's.
pub fn open(p: Vec3) -> Vec3 {
    p.pitched(HINGE, ANGLE.to_radians()) - p + DROP
}

/// The move of a point that is wholly the jaw's.
pub fn carry(stem: &str, p: Vec3) -> Vec3 {
    match stem {
        "JawOpen" => open(p),
        "JawForward" => FORWARD,
        "Jaw" => {
            let d = p - HINGE;
            let (sin, cos) = YAW.to_radians().sin_cos();
            v3(d.x * cos + d.z * sin - d.x + SIDE, 0.0, d.z * cos - d.x * sin - d.z)
        }
        // The chin plate pushes up a little.
        "MouthRaiserLower" => v3(0.0, 1.6, 1.2),
        _ => Vec3::ZERO,
    }
}
