//! Eyeballs with painted irises, and the small lights that make them look alive.
//!
//! Both are built about the origin, looking along +Z, to hang below the eye joints.

use std::f64::consts::TAU;

use crate::detail::Detail;
use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt::EYE_RADIUS;
use crate::vec3::{Vec3, bell, smoothstep, v3};

const SEGMENTS: usize = 72;
/// Of the lower level of detail, a divisor of the full one.
const LOW_SEGMENTS: usize = 36;
/// Angles from the line of sight, in degrees, of the rings; close together where colours change.
const RINGS: [f64; 26] = [
    2.0, 6.0, 9.4, 10.4, 11.4, 12.6, 14.2, 16.0, 18.0, 20.0, 22.0, 23.8, 25.2, 26.2, 27.2, 28.4, 30.5, 34.0, 39.0,
    45.0, 52.0, 62.0, 76.0, 94.0, 120.0, 165.0,
];
/// Of the lower level of detail.
const LOW_RINGS: [f64; 13] = [5.0, 9.8, 11.4, 15.0, 20.0, 24.4, 26.6, 28.4, 34.0, 45.0, 64.0, 94.0, 150.0];
const PUPIL_EDGE: f64 = 10.6;
const IRIS_EDGE: f64 = 26.6;

/// A cheap fixed noise for the iris' streaks.
fn streak(k: usize) -> f64 {
    let h = (k as u64 + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    (h % 1000) as f64 / 1000.0
}

fn colour(angle: f64, around: f64, k: usize) -> [f32; 4] {
    let height = around.sin();
    if angle > IRIS_EDGE + 1.2 {
        // Rosy towards the corners, grey in the shade of the upper lid.
        let rim = smoothstep(30.0, 62.0, angle);
        let top = smoothstep(-0.15, 0.9, height) * smoothstep(22.0, 40.0, angle);
        let white = mix(palette::SCLERA, palette::SCLERA_ROSE, 0.8 * rim * around.cos().abs().powi(2));
        return palette::opaque(mix(white, palette::SCLERA_SHADE, 0.45 * rim + 0.7 * top));
    }
    if angle < PUPIL_EDGE {
        return palette::opaque(palette::PUPIL);
    }
    let share = (angle - PUPIL_EDGE) / (IRIS_EDGE - PUPIL_EDGE);
    // Shaded by the lid above; light that falls into the bowl from above glows on its lower side.
    let mut c = mix(palette::IRIS, palette::IRIS_DARK, smoothstep(-0.3, 0.9, height) * 0.92);
    let glow = bell((share - 0.52) / 0.40) * smoothstep(0.35, -0.85, height);
    c = mix(c, palette::IRIS_LIGHT, glow);
    // Threads run out from a warm ring about the pupil, not all of one length.
    let core = bell((share - 0.14) / (0.14 + 0.12 * streak(k * 3 + 1)));
    c = mix(c, palette::IRIS_CORE, 0.55 * core * smoothstep(1.0, -0.6, height));
    let thread = streak(k) - 0.5 + 0.5 * (streak(k / 2 + 200) - 0.5);
    let reach = bell((share - 0.5) / 0.36);
    c = if thread > 0.0 {
        mix(c, palette::IRIS_LIGHT, 0.5 * thread * reach)
    } else {
        mix(c, palette::IRIS_DARK, -0.7 * thread * reach)
    };
    c = mix(c, palette::PUPIL, 0.85 * smoothstep(0.10, 0.0, share));
    c = mix(c, palette::LIMBUS, 0.96 * smoothstep(0.70, 0.94, share));
    // The ring's outer edge runs softly into the white.
    c = mix(c, palette::SCLERA_SHADE, 0.55 * smoothstep(1.0, 1.08, share));
    palette::opaque(c)
}

/// How deep the iris lies behind the ball's round, by the angle from the line of sight: a bowl with the pupil as its
/// bottom. The normals stay the cornea's, so that its gloss lies over the bowl.
fn depth(angle: f64) -> f64 {
    1.7 * smoothstep(IRIS_EDGE + 0.2, IRIS_EDGE - 5.0, angle)
        + 0.9 * smoothstep(PUPIL_EDGE + 0.6, PUPIL_EDGE - 1.6, angle)
}

/// The eyeball.
pub fn ball(detail: Detail) -> Part {
    let segments = detail.of(SEGMENTS, LOW_SEGMENTS);
    let rings = detail.of(&RINGS[..], &LOW_RINGS);
    let mut part = Part::default();
    let at = |angle: f64, around: f64| {
        let (sin, cos) = angle.to_radians().sin_cos();
        v3(around.cos() * sin, around.sin() * sin, cos) * EYE_RADIUS
    };
    let middle = at(0.0, 0.0);
    part.points.push(middle - v3(0.0, 0.0, depth(0.0)));
    part.normals.push(middle.normalized());
    part.colours.push(palette::opaque(palette::PUPIL));
    for &angle in rings {
        for k in 0..segments {
            let around = TAU * k as f64 / segments as f64;
            let p = at(angle, around);
            part.points.push(p - v3(0.0, 0.0, depth(angle)));
            part.normals.push(p.normalized());
            part.colours.push(colour(angle, around, k * SEGMENTS / segments));
        }
    }
    for k in 0..segments {
        part.faces.push(vec![0, 1 + k, 1 + (k + 1) % segments]);
    }
    part.faces.extend(mesh::lattice(1, rings.len(), segments, true));
    let last = 1 + (rings.len() - 1) * segments;
    part.faces.push((0..segments).map(|k| last + k).rev().collect());
    part
}

/// The catch-lights: a large one above, a small one across the pupil.
pub fn lights() -> Part {
    /// Places (mm across and up from the line of sight) and radii; the large one where a key light from the
    /// performer's upper right is mirrored.
    const LIGHTS: [(f64, f64, f64); 2] = [(-4.3, 5.0, 2.5), (4.4, -4.6, 1.05)];
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
