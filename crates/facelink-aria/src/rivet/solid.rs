//! Turned and other simple solids with exact normals.

use std::f64::consts::TAU;

use crate::mesh;
use crate::palette::{Colour, opaque};
use crate::part::Part;
use crate::vec3::{Vec3, v3};

/// A frame to turn things in: `axis` is the direction of the axle.
pub struct Frame {
    /// Origin.
    pub at: Vec3,
    /// The axle.
    pub axis: Vec3,
}

impl Frame {
    fn across(&self) -> (Vec3, Vec3) {
        let side = if self.axis.y.abs() < 0.9 { v3(0.0, 1.0, 0.0) } else { v3(0.0, 0.0, -1.0) };
        let right = side.cross(self.axis).normalized();
        (right, self.axis.cross(right))
    }
}

/// One stretch of a turned profile: radius, height along the axle, colour of what follows.
#[derive(Clone, Copy)]
pub struct Knot {
    /// Distance from the axle.
    pub r: f64,
    /// Height along the axle.
    pub h: f64,
    /// Rounding of the corner here.
    pub round: f64,
    /// Colour.
    pub colour: Colour,
}

/// Short for a [`Knot`].
pub const fn knot(r: f64, h: f64, round: f64, colour: Colour) -> Knot {
    Knot { r, h, round, colour }
}

/// A solid of revolution. Seen with the axle upwards, the profile runs with its outside on the right: outwards at the
/// bottom, upwards along the outside, inwards at the top.
pub fn turned(frame: &Frame, profile: &[Knot], around: usize) -> Part {
    let (right, up) = frame.across();
    // (r, h, normal r, normal h, colour) of every ring.
    let mut rings: Vec<(f64, f64, f64, f64, Colour)> = Vec::new();
    let n = profile.len();
    let direction = |a: Knot, b: Knot| {
        let (dr, dh) = (b.r - a.r, b.h - a.h);
        let l = (dr * dr + dh * dh).sqrt().max(1e-9);
        (dr / l, dh / l)
    };
    for i in 0..n {
        let k = profile[i];
        let into = if i > 0 { direction(profile[i - 1], k) } else { direction(k, profile[1]) };
        let out = if i + 1 < n { direction(k, profile[i + 1]) } else { into };
        let back = if i > 0 { profile[i - 1].colour } else { k.colour };
        if k.round == 0.0 || i == 0 || i + 1 == n {
            // A sharp corner needs both normals; a smooth one the mean.
            let straight = into.0 * out.0 + into.1 * out.1 > 0.8;
            if straight {
                let m = ((into.0 + out.0) * 0.5, (into.1 + out.1) * 0.5);
                rings.push((k.r, k.h, m.1, -m.0, k.colour));
            } else {
                rings.push((k.r, k.h, into.1, -into.0, back));
                rings.push((k.r, k.h, out.1, -out.0, k.colour));
            }
            continue;
        }
        const STEPS: usize = 2;
        let a = (k.r - into.0 * k.round, k.h - into.1 * k.round);
        let b = (k.r + out.0 * k.round, k.h + out.1 * k.round);
        for s in 0..=STEPS {
            let t = s as f64 / STEPS as f64;
            let p = |a: f64, m: f64, b: f64| a * (1.0 - t) * (1.0 - t) + 2.0 * m * t * (1.0 - t) + b * t * t;
            let w = (into.0 * (1.0 - t) + out.0 * t, into.1 * (1.0 - t) + out.1 * t);
            let l = (w.0 * w.0 + w.1 * w.1).sqrt().max(1e-9);
            let c = if t < 0.5 { back } else { k.colour };
            rings.push((p(a.0, k.r, b.0), p(a.1, k.h, b.1), w.1 / l, -w.0 / l, c));
        }
    }
    let mut part = Part::default();
    for (r, h, nr, nh, colour) in &rings {
        for k in 0..around {
            let (sin, cos) = (TAU * k as f64 / around as f64).sin_cos();
            let out = right * cos + up * sin;
            part.points.push(frame.at + out * *r + frame.axis * *h);
            part.normals.push((out * *nr + frame.axis * *nh).normalized());
            part.colours.push(opaque(*colour));
        }
    }
    for face in mesh::lattice(0, rings.len(), around, true) {
        // Nothing between the two rings of a sharp corner, and no slivers at the axle.
        let mut face: Vec<usize> = face.into_iter().rev().collect();
        face.dedup_by(|a, b| (part.points[*a] - part.points[*b]).length() < 1e-9);
        if face.len() > 2 && (part.points[face[0]] - part.points[face[face.len() - 1]]).length() < 1e-9 {
            face.pop();
        }
        if face.len() > 2 {
            part.faces.push(face);
        }
    }
    part
}

/// A rivet's head on a surface.
pub fn rivet(at: Vec3, axis: Vec3, r: f64, colour: Colour) -> Part {
    const AROUND: usize = 8;
    let (right, up) = Frame { at, axis }.across();
    let mut part = Part::default();
    // Radius, height, turn of the normal from the side to the top, light.
    for (out, high, turn, light) in [(1.05, -0.3 / r, 5.0, 0.5), (0.78, 0.5, 48.0, 1.0), (0.0, 0.74, 90.0, 1.0)] {
        let (sin, cos) = f64::to_radians(turn).sin_cos();
        let around = if out > 0.0 { AROUND } else { 1 };
        for k in 0..around {
            let (s, c) = (TAU * k as f64 / AROUND as f64).sin_cos();
            let side = right * c + up * s;
            part.points.push(at + side * (r * out) + axis * (r * high));
            part.normals.push((side * cos + axis * sin).normalized());
            part.colours.push(opaque(colour.map(|v| v * light)));
        }
    }
    for k in 0..AROUND {
        let next = (k + 1) % AROUND;
        part.faces.push(vec![k, next, AROUND + next, AROUND + k]);
        part.faces.push(vec![AROUND + k, AROUND + next, 2 * AROUND]);
    }
    part
}

/// An ellipsoid, by rows from its top down.
pub fn ellipsoid(at: Vec3, radii: Vec3, rows: usize, around: usize, colour: impl Fn(Vec3) -> Colour) -> Part {
    let mut part = Part::default();
    for r in 0..=rows {
        let (sin, cos) = (std::f64::consts::PI * r as f64 / rows as f64).sin_cos();
        for k in 0..around {
            let (s, c) = (TAU * k as f64 / around as f64).sin_cos();
            let d = v3(sin * s, cos, sin * c);
            part.points.push(at + v3(d.x * radii.x, d.y * radii.y, d.z * radii.z));
            part.normals.push(v3(d.x / radii.x, d.y / radii.y, d.z / radii.z).normalized());
            part.colours.push(opaque(colour(d)));
        }
    }
    part.faces = mesh::lattice(0, rows + 1, around, true);
    part
}

/// Adds `other` with its normals and moves.
pub fn join(part: &mut Part, mut other: Part) {
    let (before, more) = (part.points.len(), other.points.len());
    if other.normals.is_empty() {
        other.normals = mesh::normals(&other.points, &other.faces);
    }
    part.normals.append(&mut other.normals);
    for (name, deltas) in std::mem::take(&mut other.deltas) {
        match part.deltas.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => old.extend(deltas),
            None => {
                let mut full = vec![Vec3::ZERO; before];
                full.extend(deltas);
                part.deltas.push((name, full));
            }
        }
    }
    part.append(other);
    for (_, deltas) in &mut part.deltas {
        deltas.resize(before + more, Vec3::ZERO);
    }
}

/// Both sides of a left part; moves are to be added afterwards.
pub fn both(left: Part) -> Part {
    let mut part = Part::default();
    let right = left.mirrored();
    join(&mut part, left);
    join(&mut part, right);
    part
}
