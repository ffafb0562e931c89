//! Neck bellows, collar, shoulders.

use std::f64::consts::TAU;

use super::paint;
use super::solid::{Frame, both, join, knot, rivet, turned};
use crate::mesh;
use crate::palette::{mix, opaque};
use crate::part::Part;
use crate::vec3::{Vec3, curve, lerp, smoothstep, v3};

/// Lowest point of the bust.
pub const FLOOR: f64 = -256.0;
/// How much higher the shoulders stand than they were drawn: a short neck.
const RAISE: f64 = 19.0;
/// Ends of the neck.
const NECK_TOP: Vec3 = v3(0.0, -80.0, -16.0);
const NECK_BOTTOM: Vec3 = v3(0.0, -140.0, -20.0);

/// The bellows, and for each vertex how far down the neck it is (0 at the head, 1 at the chest).
pub fn neck() -> (Part, Vec<f64>) {
    const FOLDS: usize = 5;
    const PER_FOLD: usize = 5;
    const AROUND: usize = 28;
    let rows = FOLDS * PER_FOLD + 1;
    let mut part = Part::default();
    let mut down = Vec::new();
    for r in 0..rows {
        let t = r as f64 / (rows - 1) as f64;
        let wave = (TAU * t * FOLDS as f64).cos();
        // Round ridges, sharp valleys.
        let radius = 37.0 + 5.5 * (1.0 - ((1.0 - wave) * 0.5).powf(1.6));
        let at = NECK_TOP.lerp(NECK_BOTTOM, t);
        for k in 0..AROUND {
            let (sin, cos) = (TAU * k as f64 / AROUND as f64).sin_cos();
            part.points.push(at + v3(sin, 0.0, cos) * radius);
            part.colours.push(opaque(mix(paint::DARK, paint::RUBBER, smoothstep(-0.8, 0.6, wave))));
            down.push(t);
        }
    }
    part.faces = mesh::lattice(0, rows, AROUND, true);
    part.normals = mesh::normals(&part.points, &part.faces);
    (part, down)
}

/// The bust's surface: `around` from the front over the left, at a height.
fn bust(around: f64, y: f64, out: f64) -> Vec3 {
    let wide = curve(
        &[
            (-256.0, 112.0),
            (-235.0, 114.0),
            (-212.0, 112.0),
            (-192.0, 104.0),
            (-176.0, 88.0),
            (-164.0, 68.0),
            (-156.0, 52.0),
        ],
        y - RAISE,
    );
    let deep = curve(
        &[
            (-256.0, 74.0),
            (-235.0, 76.0),
            (-212.0, 74.0),
            (-192.0, 68.0),
            (-176.0, 60.0),
            (-164.0, 52.0),
            (-156.0, 46.0),
        ],
        y - RAISE,
    );
    let (sin, cos) = around.sin_cos();
    let bend = |v: f64| v.abs().powf(0.86).copysign(v);
    v3((wide + out) * bend(sin), y, -24.0 + (deep + out) * bend(cos))
}

/// Shoulders, collar, pauldrons and badge.
pub fn shoulders() -> Part {
    const ROWS: usize = 12;
    const AROUND: usize = 44;
    let mut part = Part::default();
    let mut torso = Part::default();
    for r in 0..ROWS {
        let t = r as f64 / (ROWS - 1) as f64;
        let y = lerp(-156.0 + RAISE, FLOOR, t);
        for k in 0..AROUND {
            let around = TAU * k as f64 / AROUND as f64;
            torso.points.push(bust(around, y, 0.0));
            let shade = smoothstep(-200.0, FLOOR, y) * 0.5 + 0.5 * smoothstep(-150.0, -138.0, y);
            torso.colours.push(opaque(mix(paint::TEAL, paint::DEEP_TEAL, shade)));
        }
    }
    torso.faces = mesh::lattice(0, ROWS, AROUND, true);
    join(&mut part, torso);

    // The breast plate.
    const COLUMNS: usize = 21;
    const HIGH: usize = 10;
    let mut plate = Part::default();
    for r in 0..HIGH {
        for c in 0..COLUMNS {
            let (s, t) = (2.0 * c as f64 / (COLUMNS - 1) as f64 - 1.0, r as f64 / (HIGH - 1) as f64);
            let rim = [0, HIGH - 1].contains(&r) || [0, COLUMNS - 1].contains(&c);
            let y = lerp(-176.0 + RAISE, FLOOR, t.powf(0.9));
            let reach = lerp(0.72, 0.46, t);
            let p = bust(reach * s, y, if rim { -2.0 } else { 3.2 });
            plate.points.push(p);
            plate.colours.push(opaque(if rim {
                paint::DARK
            } else {
                mix(paint::CREAM, [206.0, 186.0, 150.0], 0.7 * t)
            }));
        }
    }
    plate.faces = mesh::lattice(0, HIGH, COLUMNS, false);
    join(&mut part, plate);

    // Collar.
    let collar = Frame { at: v3(0.0, -160.0 + RAISE, -21.0), axis: v3(0.0, 1.0, 0.05).normalized() };
    let profile = [
        knot(58.0, -6.0, 0.0, paint::AMBER),
        knot(58.0, 5.0, 3.0, paint::YELLOW),
        knot(52.0, 13.0, 2.4, paint::YELLOW),
        knot(44.0, 13.0, 2.4, paint::YELLOW),
        knot(42.0, 4.0, 1.0, paint::DARK),
        knot(34.0, 0.0, 0.0, paint::DARK),
    ];
    join(&mut part, turned(&collar, &profile, 32));

    // Pauldrons.
    let cap = Frame { at: v3(109.0, -188.0, -22.0), axis: v3(0.76, 0.65, 0.06).normalized() };
    let profile = [
        knot(40.0, -16.0, 0.0, paint::DARK),
        knot(46.0, -8.0, 0.0, paint::AMBER),
        knot(45.0, 0.0, 1.8, paint::YELLOW),
        knot(41.0, 1.6, 0.0, paint::DARK),
        knot(40.0, 0.8, 0.0, paint::YELLOW),
        knot(36.0, 9.5, 0.0, paint::YELLOW),
        knot(26.5, 17.0, 0.0, paint::YELLOW),
        knot(14.0, 21.6, 0.0, paint::YELLOW),
        knot(0.0, 23.0, 0.0, paint::YELLOW),
    ];
    let mut left = turned(&cap, &profile, 26);
    let forward = v3(0.0, 0.0, 1.0);
    let upward = forward.cross(cap.axis).normalized();
    for k in 0..5 {
        let (sin, cos) = (-64.0 + 32.0 * f64::from(k)).to_radians().sin_cos();
        let out = (upward * cos + forward * sin).normalized();
        let n = (out * 0.8 + cap.axis * 0.6).normalized();
        join(&mut left, rivet(cap.at + out * 33.4 + cap.axis * 11.8, n, 2.8, paint::STEEL));
    }
    for x in [14.0, 30.0] {
        let p = bust((x / 60.0_f64).asin() * 0.6, -181.0 + RAISE, 3.2);
        join(&mut left, rivet(p, v3(0.0, 0.35, 0.93).normalized(), 2.2, paint::STEEL));
    }
    join(&mut part, both(left));

    // The badge's ring.
    let frame = badge_frame();
    let ring = [
        knot(15.0, -4.0, 0.0, paint::IRON),
        knot(15.0, 2.4, 1.0, paint::STEEL),
        knot(11.6, 3.4, 0.8, paint::STEEL),
        knot(10.6, 0.6, 0.5, paint::DARK),
        knot(0.0, 0.6, 0.0, paint::DARK),
    ];
    join(&mut part, turned(&frame, &ring, 24));
    part
}

fn badge_frame() -> Frame {
    let p = bust(0.0, -200.0, 3.2);
    Frame { at: p, axis: v3(0.0, 0.08, 1.0).normalized() }
}

/// The lamp in the badge.
pub fn badge() -> Part {
    let frame = badge_frame();
    let c = [120.0, 240.0, 232.0];
    turned(
        &frame,
        &[knot(9.6, 0.4, 0.0, c), knot(8.4, 2.2, 0.8, c), knot(4.0, 3.4, 0.6, c), knot(0.0, 3.7, 0.0, c)],
        24,
    )
}
