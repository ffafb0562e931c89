//! Eyeballs with painted irises, and the small lights that make them look alive.
//!
//! Both are built about the origin, looking along +Z, to hang below the eye joints.

use std::f64::consts::TAU;

use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt::EYE_RADIUS;
use crate::vec3::{Vec3, bell, smoothstep, v3};

const SEGMENTS: usize = 56;
/// Angles from the line of sight, in degrees, of the rings; close together where colours change.
const RINGS: [f64; 22] = [
    2.0, 6.0, 10.4, 11.4, 14.0, 17.5, 20.5, 23.0, 25.0, 26.2, 27.4, 28.8, 32.0, 37.0, 43.0, 50.0, 60.0, 74.0, 92.0,
    115.0, 140.0, 165.0,
];
const PUPIL_EDGE: f64 = 10.9;
const IRIS_EDGE: f64 = 26.8;

/// A cheap fixed noise for the iris' streaks.
fn streak(k: usize) -> f64 {
    let h = (k as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (h % 1000) as f64 / 1000.0
}

fn colour(angle: f64, around: f64, k: usize) -> [f32; 4] {
    let height = around.sin();
    if angle > IRIS_EDGE + 0.9 {
        let rim = smoothstep(28.0, 62.0, angle);
        let top = smoothstep(-0.1, 1.0, height) * smoothstep(24.0, 44.0, angle);
        return palette::opaque(mix(palette::SCLERA, palette::SCLERA_SHADE, 0.55 * rim + 0.6 * top));
    }
    if angle < PUPIL_EDGE {
        return palette::opaque(palette::PUPIL);
    }
    // Lit from above, an iris glows on the far side, below.
    let share = (angle - PUPIL_EDGE) / (IRIS_EDGE - PUPIL_EDGE);
    let mut c = mix(palette::IRIS, palette::IRIS_DARK, smoothstep(-0.25, 0.95, height) * 0.9);
    let glow = bell((share - 0.5) / 0.42) * smoothstep(0.25, -0.9, height);
    c = mix(c, palette::IRIS_LIGHT, glow);
    c = mix(c, palette::IRIS_LIGHT, 0.28 * (streak(k) - 0.3) * bell((share - 0.45) / 0.4));
    c = mix(c, palette::PUPIL, 0.75 * smoothstep(0.16, 0.0, share));
    c = mix(c, palette::LIMBUS, smoothstep(0.72, 0.97, share));
    palette::opaque(c)
}

/// The eyeball.
pub fn ball() -> Part {
    let mut part = Part::default();
    part.points.push(v3(0.0, 0.0, EYE_RADIUS));
    part.colours.push(palette::opaque(palette::PUPIL));
    for angle in RINGS {
        let (sin, cos) = angle.to_radians().sin_cos();
        for k in 0..SEGMENTS {
            let around = TAU * k as f64 / SEGMENTS as f64;
            part.points.push(v3(around.cos() * sin, around.sin() * sin, cos) * EYE_RADIUS);
            part.colours.push(colour(angle, around, k));
        }
    }
    for k in 0..SEGMENTS {
        part.faces.push(vec![0, 1 + k, 1 + (k + 1) % SEGMENTS]);
    }
    part.faces.extend(mesh::lattice(1, RINGS.len(), SEGMENTS, true));
    let last = 1 + (RINGS.len() - 1) * SEGMENTS;
    part.faces.push((0..SEGMENTS).map(|k| last + k).rev().collect());
    part.normals = part.points.iter().map(|p| p.normalized()).collect();
    part
}

/// The catch-lights: a large one above, a small one across the pupil.
pub fn lights() -> Part {
    /// Places (mm across and up from the line of sight) and radii.
    const LIGHTS: [(f64, f64, f64); 2] = [(3.9, 4.3, 2.35), (-3.8, -4.2, 1.15)];
    const EDGE: usize = 18;
    /// Height over the ball, less than the lids' clearance.
    const LIFT: f64 = 0.12;
    let mut part = Part::default();
    for (x, y, radius) in LIGHTS {
        let base = part.points.len();
        let on_ball = |x: f64, y: f64| {
            let r = EYE_RADIUS + LIFT;
            v3(x, y, (r * r - x * x - y * y).sqrt())
        };
        part.points.push(on_ball(x, y));
        for k in 0..EDGE {
            let (sin, cos) = (TAU * k as f64 / EDGE as f64).sin_cos();
            part.points.push(on_ball(x + radius * cos, y + radius * sin));
        }
        for k in 0..EDGE {
            part.faces.push(vec![base, base + 1 + k, base + 1 + (k + 1) % EDGE]);
        }
    }
    part.colours = vec![[1.0; 4]; part.points.len()];
    part.normals = part.points.iter().map(|p: &Vec3| p.normalized()).collect();
    part
}
