//! Brows, lashes and nostrils: small pieces that ride on the skin and take their moves from it.

use std::f64::consts::{PI, TAU};

use crate::cage::{EYE_MARGIN, EYE_POINTS};
use crate::face::Face;
use crate::mesh;
use crate::names;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt::{self, EYE};
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// Gives a part that lies on the skin the skin's moves.
fn ride(part: &mut Part, face: &Face) {
    let bindings: Vec<_> = part.points.iter().map(|p| face.bind(*p)).collect();
    part.deltas = names::ALL
        .iter()
        .enumerate()
        .map(|(shape, name)| (*name, bindings.iter().map(|b| face.carry(b, shape)).collect()))
        .collect();
}

/// The brows: soft tapered bodies.
pub fn brows(face: &Face) -> Part {
    const STEPS: usize = 18;
    const AROUND: usize = 10;
    let mut left = Part::default();
    for i in 0..STEPS {
        let t = i as f64 / (STEPS - 1) as f64;
        let x = lerp(12.5, 57.5, t);
        let y = curve(&[(0.0, 27.6), (0.25, 30.0), (0.58, 32.6), (0.82, 30.4), (1.0, 25.4)], t);
        let half = curve(&[(0.0, 0.6), (0.06, 2.4), (0.16, 3.3), (0.35, 3.7), (0.7, 2.8), (1.0, 0.35)], t);
        let from = v3(x * 1.5, y + 4.0, 130.0);
        let towards = v3(x * 0.8, y, 50.0) - from;
        let on = face.hit(from, towards).unwrap_or(v3(x, y, 84.0));
        let out = sculpt::gradient(sculpt::head, on);
        let ahead = v3(1.0, if t < 0.62 { 0.16 } else { -0.4 }, -0.5);
        let up = out.cross(ahead).cross(out).cross(out).normalized();
        let up = if up.y < 0.0 { -up } else { up };
        let thick = 0.55 * half + 0.35;
        for k in 0..AROUND {
            let (sin, cos) = (TAU * k as f64 / AROUND as f64).sin_cos();
            left.points.push(on + up * (half * cos) + out * (0.35 + thick * sin));
            left.colours.push(palette::opaque(mix(palette::BROW, palette::HAIR, 0.35 * (1.0 - t))));
        }
    }
    // Along the rows outwards, around from above over the front: seen from outside this runs clockwise.
    for face in mesh::lattice(0, STEPS, AROUND, true) {
        left.faces.push(face.into_iter().rev().collect());
    }
    left.faces.push((0..AROUND).collect());
    left.faces.push((0..AROUND).rev().map(|k| (STEPS - 1) * AROUND + k).collect());
    left.face_outwards();
    let mut both = Part::default();
    let right = left.mirrored();
    both.append(left);
    both.append(right);
    ride(&mut both, face);
    both
}

/// Rows of the wing that carries the upper lash line on past the outer corner.
const WING: usize = 5;
/// Rows before the outer corner at which the upper line leaves the margin for the wing.
const LEAVE: usize = 3;
/// Length of the wing.
const WING_LENGTH: f64 = 8.0;

/// The lash line of one lid margin, built from the margin's points so that it turns with the lid. Three points a row:
/// foot, tip, top.
fn lash_line(margin: &[Vec3], upper: bool) -> Vec<Vec3> {
    let last = margin.len() - 1;
    let frame = |b: Vec3| {
        let away = (b - EYE).normalized();
        // Along the margin towards the outer corner, and up along the ball's meridian.
        let side = v3(0.0, 1.0, 0.0).cross(away).normalized();
        (away, side, away.cross(side).normalized())
    };
    let mut out = Vec::new();
    let leave = if upper { last - LEAVE } else { last };
    for (i, &b) in margin.iter().enumerate().take(leave + 1) {
        let tau = i as f64 / last as f64;
        let (away, side, up) = frame(b);
        if upper {
            let height = curve(&[(0.0, 0.3), (0.2, 1.5), (0.5, 3.3), (0.8, 4.6), (1.0, 4.0)], tau);
            out.push(b - up * (0.16 * height) - away * 0.3);
            out.push(b + up * (0.62 * height) + away * (0.25 + 0.46 * height) + side * (0.35 * height * tau));
            out.push(b + up * (0.42 * height) + away * (0.1 + 0.12 * height));
        } else {
            // Only the outer part of the lower line shows.
            let height = 0.75 * smoothstep(0.35, 0.95, tau);
            let lift = -0.3 + 0.4 * smoothstep(0.3, 0.7, tau);
            out.push(b + up * (0.2 * height) - away * 0.3);
            out.push(b - up * (0.5 * height) + away * (lift + 0.5 * height));
            out.push(b - up * height + away * lift);
        }
    }
    if upper {
        let (away, side, up) = frame(margin[leave]);
        for k in 1..=WING {
            let t = k as f64 / WING as f64;
            let reach = side * (WING_LENGTH * t) + up * (WING_LENGTH * (0.34 * t * t - 0.12 * t));
            // The wing keeps to the ball's curve, a little off the skin.
            let b = EYE + (margin[leave] + reach - EYE).normalized() * ((margin[leave] - EYE).length() + 0.5 * t);
            let height = 4.3 * (1.0 - t).powf(0.8) + 0.1;
            out.push(b - up * (0.16 * height) - away * 0.3);
            out.push(b + up * (0.62 * height) + away * (0.25 + 0.46 * height) + side * (0.33 * height));
            out.push(b + up * (0.42 * height) + away * (0.1 + 0.12 * height));
        }
    }
    out
}

/// The lashes of both eyes.
pub fn lashes(face: &Face) -> Part {
    let half = EYE_POINTS / 2;
    let chains: [(Vec<usize>, bool); 2] = [
        ((0..=half).map(|j| face.cage.eye_id(EYE_MARGIN, j)).collect(), true),
        ((half..=EYE_POINTS).rev().map(|j| face.cage.eye_id(EYE_MARGIN, j)).collect(), false),
    ];
    // Subdivision keeps the cage's points first, so cage ids name skin vertices too.
    let build = |shape: Option<usize>, mirrored: bool| -> Vec<Vec3> {
        let mut points = Vec::new();
        for (ids, upper) in &chains {
            let at: Vec<Vec3> = ids
                .iter()
                .map(|&v| {
                    let v = if mirrored { face.cage.mirror[v] } else { v };
                    let p = face.points[v] + shape.map_or(Vec3::ZERO, |s| face.deltas[s][v]);
                    if mirrored { p.mirrored() } else { p }
                })
                .collect();
            let smooth = refine(&at);
            points.extend(lash_line(&smooth, *upper));
        }
        if mirrored { points.into_iter().map(Vec3::mirrored).collect() } else { points }
    };
    let mut part = Part::default();
    for mirrored in [false, true] {
        let points = build(None, mirrored);
        // Both chains have the margin's rows; the upper one, first, has the wing's too.
        let lower_rows = (points.len() / 3 + LEAVE - WING) / 2;
        for chain in 0..2 {
            let upper_rows = lower_rows - LEAVE + WING;
            let base = part.points.len() + chain * upper_rows * 3;
            let rows = if chain == 0 { upper_rows } else { lower_rows };
            // Caps at both ends.
            let last = base + (rows - 1) * 3;
            part.faces.push(vec![base, base + 1, base + 2]);
            part.faces.push(vec![last, last + 2, last + 1]);
            for r in 0..rows - 1 {
                for c in 0..3 {
                    let d = (c + 1) % 3;
                    let mut quad =
                        vec![base + r * 3 + c, base + r * 3 + d, base + (r + 1) * 3 + d, base + (r + 1) * 3 + c];
                    if mirrored != (chain == 1) {
                        quad.reverse();
                    }
                    part.faces.push(quad);
                }
            }
        }
        part.colours.extend((0..points.len()).map(|i| {
            let lower = if i < (lower_rows - LEAVE + WING) * 3 { 0.0 } else { 0.45 };
            palette::opaque(mix(palette::LASH, palette::LID, lower))
        }));
        part.points.extend(points);
    }
    let rest = part.points.clone();
    part.deltas = names::ALL
        .iter()
        .enumerate()
        .map(|(shape, name)| {
            let mut moved = build(Some(shape), false);
            moved.extend(build(Some(shape), true));
            (*name, moved.iter().zip(&rest).map(|(m, r)| *m - *r).collect())
        })
        .collect();
    part
}

/// Doubles a chain of points with smooth midpoints.
fn refine(points: &[Vec3]) -> Vec<Vec3> {
    let last = points.len() - 1;
    let mut out = Vec::new();
    for i in 0..last {
        let (a, b) = (points[i], points[i + 1]);
        let (p, n) = (points[i.saturating_sub(1)], points[(i + 2).min(last)]);
        out.push(a);
        out.push((a + b) * 0.5625 - (p + n) * 0.0625);
    }
    out.push(points[last]);
    out
}

/// Nostrils: dark lenses set into the underside of the nose.
pub fn nostrils(face: &Face) -> Part {
    const AROUND: usize = 14;
    const RINGS: usize = 4;
    let mut left = Part::default();
    let centre = v3(5.1, -41.8, 93.0);
    let out = v3(0.22, -0.72, 0.66).normalized();
    let on = face.hit(centre + out * 15.0, -out).unwrap_or(centre);
    let side = v3(0.94, 0.0, -0.34);
    let side = (side - out * side.dot(out)).normalized();
    let up = out.cross(side).normalized();
    left.points.push(on + out * 0.25);
    left.colours.push(palette::opaque(palette::NOSTRIL));
    for ring in 1..=RINGS {
        let r = ring as f64 / RINGS as f64;
        for k in 0..AROUND {
            let (sin, cos) = (TAU * k as f64 / AROUND as f64).sin_cos();
            let p = on + side * (3.1 * r * cos) + up * ((1.55 + 0.35 * cos) * r * sin);
            let q = face.hit(p + out * 15.0, -out).unwrap_or(p);
            left.points.push(q + out * (0.22 * (PI * 0.5 * r).cos() + 0.06 - 0.16 * r.powi(6)));
            left.colours.push(palette::opaque(mix(palette::NOSTRIL, palette::SHADE, bell((1.0 - r) / 0.3) * 0.6)));
        }
    }
    for k in 0..AROUND {
        left.faces.push(vec![0, 1 + k, 1 + (k + 1) % AROUND]);
    }
    left.faces.extend(mesh::lattice(1, RINGS, AROUND, true));
    let n = mesh::normals(&left.points, &left.faces);
    if n[0].dot(out) < 0.0 {
        for face in &mut left.faces {
            face.reverse();
        }
    }
    let mut both = Part::default();
    let right = left.mirrored();
    both.append(left);
    both.append(right);
    ride(&mut both, face);
    both
}
