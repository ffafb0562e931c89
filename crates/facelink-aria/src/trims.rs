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
        let x = lerp(12.0, 58.5, t);
        let y = curve(&[(0.0, 24.5), (0.3, 28.6), (0.62, 32.0), (0.82, 30.6), (1.0, 25.2)], t);
        let half = curve(&[(0.0, 1.6), (0.08, 3.0), (0.35, 3.7), (0.7, 2.8), (1.0, 0.35)], t);
        let on = sculpt::cast(sculpt::head, v3(x * 0.6, y, 20.0), v3(x * 0.4, 0.0, 50.0));
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
    orient(&mut left, v3(35.0, 28.0, 60.0));
    let mut both = Part::default();
    let right = left.mirrored();
    both.append(left);
    both.append(right);
    ride(&mut both, face);
    both
}

/// Turns all faces around if the part, which is closed about some inner point, was built inside out.
fn orient(part: &mut Part, _near: Vec3) {
    // The signed volume tells.
    let mut volume = 0.0;
    for face in &part.faces {
        for k in 1..face.len() - 1 {
            let (a, b, c) = (part.points[face[0]], part.points[face[k]], part.points[face[k + 1]]);
            volume += a.dot(b.cross(c));
        }
    }
    if volume < 0.0 {
        for face in &mut part.faces {
            face.reverse();
        }
    }
}

/// The lash line of one lid margin, built from the margin's points so that it turns with the lid.
fn lash_line(margin: &[Vec3], upper: bool) -> Vec<Vec3> {
    let last = margin.len() - 1;
    let mut out = Vec::new();
    for (i, &b) in margin.iter().enumerate() {
        let tau = i as f64 / last as f64;
        let away = (b - EYE).normalized();
        // Up along the ball's meridian, and along the margin towards the outer corner.
        let side = v3(0.0, 1.0, 0.0).cross(away).normalized();
        let up = away.cross(side).normalized();
        let up = if upper { up } else { -up };
        let length = if upper {
            curve(&[(0.0, 0.3), (0.15, 1.3), (0.45, 2.7), (0.75, 4.2), (0.92, 5.4), (1.0, 6.0)], tau)
        } else {
            curve(&[(0.0, 0.1), (0.4, 0.3), (0.75, 1.0), (0.95, 1.5), (1.0, 1.0)], tau)
        };
        let sweep = length * if upper { 1.0 * smoothstep(0.35, 1.0, tau) } else { 0.5 * smoothstep(0.4, 1.0, tau) };
        let body = if upper { curve(&[(0.0, 0.4), (0.3, 0.9), (0.7, 1.25), (1.0, 1.0)], tau) } else { 0.25 };
        out.push(b - up * (body * 0.55) - away * 0.25);
        out.push(b + away * (length * 0.62 + 0.3) + up * (length * 0.42) + side * sweep);
        out.push(b + up * body + away * 0.12);
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
        let rows = points.len() / 3 / 2;
        for chain in 0..2 {
            let base = part.points.len() + chain * rows * 3;
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
        part.colours.extend(points.iter().map(|_| palette::opaque(palette::LASH)));
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
    let centre = v3(5.6, -46.6, 92.5);
    let on = sculpt::project(sculpt::head, centre);
    let out = sculpt::gradient(sculpt::head, on);
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
            let q = sculpt::project(sculpt::head, p);
            left.points.push(q + out * (0.22 * (PI * 0.5 * r).cos() + 0.05 - 0.25 * r.powi(6)));
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
