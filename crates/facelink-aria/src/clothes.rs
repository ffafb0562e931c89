//! What Aria wears: a shirt, and an open jacket with a standing collar.

use std::f64::consts::TAU;

use crate::detail::Detail;
use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt::{self, TORSO_LIFT};
use crate::vec3::{Vec3, curve, lerp, smoothstep, v3};

/// Height of the bust's lower edge.
pub const FLOOR: f64 = -264.0;
/// Where the rays over chest and shoulders start.
const CENTRE: Vec3 = v3(0.0, -232.0 + TORSO_LIFT, -33.0);
const ROWS: usize = 24;
/// Share of the rows that fan out over the shoulders.
const LEVEL_FROM: f64 = 0.7;

/// A point of the torso: `t` runs from the neck (0) over the shoulder to the floor (1).
fn torso_point(t: f64, azimuth: f64, lift: f64) -> Vec3 {
    let (sin, cos) = azimuth.sin_cos();
    // Wide of the neck the rays fan out over the shoulders.
    let fan = (t / LEVEL_FROM).min(1.0);
    let elevation = lerp(66.0, 0.0, fan.powf(0.85)).to_radians();
    // Below the shoulders they go level, down to a clean edge.
    let down = lerp(CENTRE.y, FLOOR, ((t - LEVEL_FROM) / (1.0 - LEVEL_FROM)).max(0.0));
    let d = v3(sin * elevation.cos(), elevation.sin(), cos * elevation.cos());
    sculpt::cast(sculpt::torso, v3(0.0, down, CENTRE.z), d) + d * lift
}

fn shirt(detail: Detail) -> Part {
    let columns = detail.of(48, 24);
    let rows = detail.lines(ROWS);
    let mut part = Part::default();
    for r in &rows {
        let t = *r as f64 / (ROWS - 1) as f64;
        for c in 0..columns {
            let azimuth = TAU * c as f64 / columns as f64;
            // Only the front shows; the rest stays well under the jacket.
            let lift = lerp(1.0, -8.0, smoothstep(0.75, 0.45, azimuth.cos()));
            part.points.push(torso_point(t, azimuth, lift));
            let shade = smoothstep(0.75, 0.2, azimuth.cos());
            part.colours.push(palette::opaque(mix(palette::SHIRT, palette::SHIRT_SHADE, shade)));
        }
    }
    part.faces = mesh::lattice(0, rows.len(), columns, true);
    part.append(ring(9.5, 3.8, detail));
    part
}

/// A rolled collar of the shirt round the neck.
fn ring(width: f64, thick: f64, detail: Detail) -> Part {
    /// Ribs of the knit, each four columns wide.
    const RIBS: usize = 44;
    let around = detail.of(8, 6);
    let columns = detail.of(4 * RIBS, RIBS);
    let mut part = Part::default();
    for c in 0..columns {
        let a = TAU * c as f64 / columns as f64;
        let (sin, cos) = a.sin_cos();
        let centre = v3(sin * 37.6, -158.5 + TORSO_LIFT - 6.0 * cos, -31.5 + cos * 38.0);
        let out = v3(sin, 0.25, cos).normalized();
        let up = v3(-sin * 0.25, 1.0, -cos * 0.25).normalized();
        for k in 0..around {
            let (s, q) = (TAU * k as f64 / around as f64).sin_cos();
            // Where they are too fine to be built, their middle height.
            let rib = 0.5 + detail.of(0.5, 0.0) * (a * RIBS as f64).cos();
            part.points.push(centre + out * (thick * q + 0.7 * rib * q.max(0.0)) + up * (width * s));
            let shade = if q < 0.0 { 0.8 } else { 0.75 * (1.0 - rib) };
            part.colours.push(palette::opaque(mix(palette::SHIRT, palette::SHIRT_SHADE, shade)));
        }
    }
    for r in 0..columns {
        let n = (r + 1) % columns;
        for k in 0..around {
            let d = (k + 1) % around;
            part.faces.push(vec![r * around + k, n * around + k, n * around + d, r * around + d]);
        }
    }
    part
}

/// Azimuth at which the jacket's edge runs: a V that closes downwards.
fn opening(t: f64) -> f64 {
    curve(&[(0.0, 44.0), (0.3, 30.0), (0.6, 17.0), (1.0, 9.0)], t).to_radians()
}

fn jacket(detail: Detail) -> Part {
    const COLUMNS: usize = 61;
    /// Columns that make an edge with its trim.
    const EDGE: usize = 4;
    const LIFT: f64 = 6.0;
    let rows = detail.lines(ROWS);
    let columns = detail.lines(COLUMNS).into_iter().filter(|c| (EDGE..COLUMNS - EDGE).contains(c));
    let columns: Vec<usize> = (0..EDGE).chain(columns).chain(COLUMNS - EDGE..COLUMNS).collect();
    let mut part = Part::default();
    for r in &rows {
        let t = *r as f64 / (ROWS - 1) as f64;
        let open = opening(t);
        for c in &columns {
            let u = *c as f64 / (COLUMNS - 1) as f64;
            let azimuth = lerp(open, TAU - open, u);
            // The edges roll in.
            let edge = u.min(1.0 - u) * (COLUMNS - 1) as f64;
            let lift = LIFT - if edge < 0.5 { 6.0 } else { 0.0 } + if (0.5..2.5).contains(&edge) { 1.4 } else { 0.0 };
            part.points.push(torso_point(t, azimuth, lift));
            let trim = if edge < 2.5 { 1.0 } else { 0.0 };
            let shade = smoothstep(0.35, 0.0, t) * 0.5 + smoothstep(0.8, 1.0, t) * 0.6;
            let cloth = mix(palette::JACKET, palette::JACKET_DEEP, shade);
            part.colours.push(palette::opaque(mix(cloth, palette::TRIM, trim)));
        }
    }
    part.faces = mesh::lattice(0, rows.len(), columns.len(), false);
    part.append(zip(detail));
    part.append(collar(detail));
    part.append(base(detail));
    part
}

/// The jacket's standing collar, open in front and leaning outwards.
fn collar(detail: Detail) -> Part {
    const COLUMNS: usize = 49;
    /// Outline of the section, from the inner foot over the edge to the outer foot: outwards, upwards.
    const SECTION: [(f64, f64); 9] = [
        (-1.0, -8.0),
        (0.0, 6.0),
        (3.0, 18.0),
        (5.5, 26.0),
        (8.5, 28.0),
        (11.0, 25.0),
        (11.5, 15.0),
        (12.0, 4.0),
        (12.0, -10.0),
    ];
    let columns = detail.lines(COLUMNS);
    let mut part = Part::default();
    for c in &columns {
        let u = *c as f64 / (COLUMNS - 1) as f64;
        let a = lerp(38.0_f64.to_radians(), TAU - 38.0_f64.to_radians(), u);
        let (sin, cos) = a.sin_cos();
        let end = u.min(1.0 - u);
        // Lower towards the front ends, which taper off.
        let height = curve(&[(0.0, 0.25), (0.06, 0.7), (0.2, 0.95), (0.5, 1.0)], end);
        let body = smoothstep(0.0, 0.03, end).max(0.15);
        let foot = v3(sin * 51.0, -168.0 + TORSO_LIFT - 9.0 * cos, -35.0 + cos * 49.0);
        let out = v3(sin, 0.0, cos);
        for (k, (o, h)) in SECTION.iter().enumerate() {
            let spread = o * body + 4.0 * smoothstep(0.0, 1.0, cos + 0.2) * (h / 28.0).max(0.0);
            part.points.push(foot + out * spread + v3(0.0, h * height, 0.0));
            let colour = match k {
                3 | 4 => palette::TRIM,
                0..=2 => palette::JACKET_DEEP,
                _ => palette::JACKET,
            };
            part.colours.push(palette::opaque(colour));
        }
    }
    part.faces = mesh::lattice(0, columns.len(), SECTION.len(), false);
    let n = mesh::normals(&part.points, &part.faces);
    // The sixth point of the section's middle column faces backwards, away from the neck.
    if n[(columns.len() / 2) * SECTION.len() + 6].z > 0.0 {
        for face in &mut part.faces {
            face.reverse();
        }
    }
    part
}

/// The badge on the chest: two linked rings.
fn badge(detail: Detail) -> Part {
    let steps = detail.of(24, 12);
    let around = detail.of(8, 5);
    const RADIUS: f64 = 6.0;
    const TUBE: f64 = 1.5;
    let azimuth = 62.0_f64.to_radians();
    let centre = torso_point(0.60, azimuth, 6.8);
    let out = sculpt::gradient(sculpt::torso, centre);
    let side = v3(0.0, 1.0, 0.0).cross(out).normalized();
    let up = out.cross(side);
    let mut part = Part::default();
    for sign in [-1.0, 1.0] {
        let base = part.points.len();
        let middle = centre + side * (sign * 0.68 * RADIUS);
        for c in 0..steps {
            let (s, q) = (TAU * c as f64 / steps as f64).sin_cos();
            let radial = side * q + up * s;
            // One ring passes over the other on one side and under it on the other.
            let weave = out * (sign * 0.9 * s);
            for k in 0..around {
                let (t, r) = (TAU * k as f64 / around as f64).sin_cos();
                part.points.push(middle + radial * (RADIUS + TUBE * r) + out * (TUBE * t) + weave);
                part.colours.push(palette::opaque(if sign < 0.0 { palette::TRIM } else { palette::SHIRT }));
            }
        }
        for c in 0..steps {
            let n = (c + 1) % steps;
            for k in 0..around {
                let d = (k + 1) % around;
                part.faces.push(vec![
                    base + c * around + k,
                    base + n * around + k,
                    base + n * around + d,
                    base + c * around + d,
                ]);
            }
        }
    }
    part.face_outwards();
    part
}

/// Teeth of the jacket's open zip, along both its edges.
fn zip(detail: Detail) -> Part {
    let teeth = detail.of(44, 22);
    let long = detail.of(0.85, 1.5);
    let mut part = Part::default();
    for k in 0..teeth {
        let t = lerp(0.16, 0.97, k as f64 / (teeth - 1) as f64);
        let at = |t: f64| torso_point(t, opening(t) - 0.012, 4.4);
        let centre = at(t);
        let along = (at(t + 0.005) - at(t - 0.005)).normalized();
        let out = sculpt::gradient(sculpt::torso, centre);
        let side = along.cross(out).normalized();
        let mut tooth = Part::default();
        for corner in 0..8 {
            let sign = |bit: usize| if corner >> bit & 1 == 1 { 1.0 } else { -1.0 };
            tooth.points.push(centre + side * (1.7 * sign(0)) + along * (long * sign(1)) + out * (0.9 * sign(2)));
            tooth.colours.push(palette::opaque(palette::BRASS));
        }
        for face in [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]] {
            tooth.faces.push(face.to_vec());
        }
        tooth.face_outwards();
        part.append(tooth.mirrored());
        part.append(tooth);
    }
    part
}

/// Closes the bust below.
fn base(detail: Detail) -> Part {
    let columns = detail.of(48, 24);
    let mut part = Part::default();
    part.points.push(v3(0.0, FLOOR, CENTRE.z));
    for c in 0..columns {
        part.points.push(torso_point(1.0, TAU * c as f64 / columns as f64, 6.0));
    }
    part.colours = vec![palette::opaque(palette::JACKET_DEEP); part.points.len()];
    for c in 0..columns {
        part.faces.push(vec![0, 1 + (c + 1) % columns, 1 + c]);
    }
    part
}

/// Shirt and jacket.
pub fn build(detail: Detail) -> Part {
    let mut part = shirt(detail);
    part.append(jacket(detail));
    part.append(badge(detail));
    part
}
