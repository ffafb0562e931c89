//! The soft mouth: a rubber muzzle between face plate and jaw, lips with volume, the bag behind them, teeth, tongue.
//!
//! The mouth is a lattice of rings around the lips by columns along them. Every shape is written for the left half as a
//! move of a place in that lattice.

use std::f64::consts::{FRAC_PI_2, PI, TAU};

use super::solid::join;
use super::{form, jaw, paint, panel, shapes};
use crate::mesh;
use crate::palette::{Colour, mix, opaque};
use crate::part::Part;
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// Height of the mouth.
const LEVEL: f64 = -60.0;
/// Half the length of the seam between the lips.
const HALF: f64 = 27.0;
/// How far the corners stand over the middle: a friendly mouth.
const SMILE: f64 = 5.4;
/// Columns of the left half, from the middle below to the middle above; the corner is the middle one.
const COLUMNS: usize = 28;

/// Rings, from under the plates to the back of the mouth.
mod ring {
    /// Last ring of the muzzle.
    pub const RIM: usize = 4;
    /// Outer edge of the lips.
    pub const EDGE: usize = 5;
    /// Swell of the lips.
    pub const SWELL: usize = 6;
    /// Foremost ring.
    pub const CREST: usize = 7;
    /// Just before the seam.
    pub const FRONT: usize = 8;
    /// Where the lips touch.
    pub const SEAM: usize = 9;
    /// Behind the seam.
    pub const INNER: usize = 10;
    /// Number of rings.
    pub const COUNT: usize = 14;
}

/// How far each ring follows the lips.
const FOLLOW: [f64; ring::COUNT] = [0.0, 0.06, 0.30, 0.66, 0.96, 1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.5, 0.2, 0.0];
/// Where the muzzle's rings lie between the plates and the lips.
const MUZZLE: [f64; 5] = [-0.08, 0.1, 0.36, 0.68, 0.95];
/// Where between the lips of an open jaw `MouthClosed` brings them together: 0 at the upper, 1 at the lower.
const MEET: f64 = 0.42;

/// The opening for the muzzle at an angle: 0 at the left corner, a quarter turn above.
pub fn muzzle(angle: f64) -> (f64, f64) {
    let (sin, cos) = angle.sin_cos();
    let high = if sin > 0.0 { 18.5 } else { 23.5 };
    let bend = |v: f64| v.abs().powf(0.8).copysign(v);
    (48.0 * bend(cos), LEVEL + high * bend(sin))
}

/// Depth of the soft surface at a place of the front view.
fn depth(x: f64, y: f64) -> f64 {
    let d2 = (x / 47.0).powi(2) + ((y - LEVEL) / 24.0).powi(2);
    form::face(x, y).z + 6.5 * (1.0 - d2).max(0.0)
}

/// Height of the seam.
fn seam_y(x: f64) -> f64 {
    LEVEL + SMILE * (x / HALF).powi(2)
}

/// Direction from the seam to the lip's edge, in the front view.
fn outwards(angle: f64) -> (f64, f64) {
    let (sin, cos) = angle.sin_cos();
    let (x, y) = (cos * 7.0, sin * 27.0);
    let l = (x * x + y * y).sqrt();
    (x / l, y / l)
}

/// Height of a lip.
fn lip_height(angle: f64) -> f64 {
    let sin = angle.sin();
    3.3 + if sin > 0.0 { 3.2 } else { 4.6 } * sin.abs().powf(0.9)
}

/// A place in the lattice.
#[derive(Clone, Copy)]
struct Place {
    ring: usize,
    angle: f64,
}

impl Place {
    fn rest(self) -> Vec3 {
        let (sin, cos) = self.angle.sin_cos();
        let h = lip_height(self.angle);
        let (ox, oy) = outwards(self.angle);
        let x = HALF * cos;
        let y = seam_y(x);
        let full = 0.5 + 0.5 * sin.abs().powf(0.7);
        let seam_z = depth(x, y) + 0.6;
        let lip = |out: f64, z: f64| {
            let (px, py) = (x + ox * h * out, y + oy * h * out);
            v3(px, py, lerp(depth(px, py), seam_z, 1.0 - out) + z * full)
        };
        match self.ring {
            r @ 0..=ring::RIM => {
                let (bx, by) = muzzle(self.angle);
                let t = MUZZLE[r];
                let (px, py) = (lerp(bx, x + ox * h, t), lerp(by, y + oy * h, t));
                let under = if r == 0 { -4.5 } else { 0.0 };
                v3(px, py, depth(px, py) + under - 0.5 * bell((t - 0.1) / 0.1))
            }
            ring::EDGE => lip(0.98, 0.9),
            ring::SWELL => lip(0.78, 3.2),
            ring::CREST => lip(0.44, 4.6),
            ring::FRONT => lip(0.13, 2.9),
            ring::SEAM => lip(0.0, 0.0),
            ring::INNER => v3(x * 0.98 + ox, y + oy * 1.2, seam_z - 4.5),
            11 => v3(x * 0.96 + 3.0 * ox, y + oy * 10.0, seam_z - 9.0),
            12 => v3(x * 0.86, LEVEL + 13.5 * sin, 44.0),
            _ => v3(x * 0.02, LEVEL + 0.3 * sin, 30.0),
        }
    }

    fn colour(self) -> Colour {
        match self.ring {
            0 => paint::DARK,
            1 => mix(paint::MUZZLE, paint::DARK, 0.28),
            2..=3 => paint::MUZZLE,
            ring::RIM => mix(paint::MUZZLE, paint::LIP, 0.12),
            ring::EDGE => mix(paint::LIP, paint::LIP_DEEP, 0.25),
            ring::SWELL => paint::LIP,
            ring::CREST => mix(paint::LIP, [236.0, 130.0, 136.0], 0.3),
            ring::FRONT => paint::LIP,
            ring::SEAM => paint::LIP_DEEP,
            ring::INNER => mix(paint::LIP_DEEP, paint::MOUTH, 0.6),
            _ => paint::MOUTH,
        }
    }

    /// Share of the jaw.
    fn jaw(self) -> f64 {
        let sin = self.angle.sin();
        let lip = smoothstep(0.85, -0.9, sin);
        let border = if sin.abs() < 0.02 { 0.5 } else { f64::from(u8::from(sin < 0.0)) };
        match self.ring {
            r if r < ring::EDGE => lerp(border, lip, FOLLOW[r]),
            12 => 0.9 * lip,
            13 => 0.5 * lip,
            _ => lip,
        }
    }

    /// The other lip's place of the same column.
    fn twin(self) -> Self {
        Self { angle: -self.angle, ..self }
    }

    fn jaw_opened(self, p: Vec3) -> Vec3 {
        let corner = smoothstep(0.2, 1.0, self.angle.cos()) * FOLLOW[self.ring];
        let arch = self.angle.sin().max(0.0) * FOLLOW[self.ring];
        jaw::open(p) * self.jaw() + v3(-3.4, 0.0, 0.8) * corner + v3(0.0, 1.6, 0.0) * arch
    }

    /// Brings the lips of an open jaw together.
    fn closed(self) -> Vec3 {
        let (upper, lower) = if self.angle > 0.0 { (self, self.twin()) } else { (self.twin(), self) };
        let at = |place: Self| {
            let seam = Self { ring: ring::SEAM, ..place };
            let p = seam.rest();
            p + seam.jaw_opened(p)
        };
        let gap = at(lower) - at(upper);
        let share = if self.angle > 0.0 { MEET } else { MEET - 1.0 };
        gap * (share * FOLLOW[self.ring])
    }

    /// The move under a stem, for a point of the left half, or for any point where the stem is a shift.
    fn moved(self, stem: &str, p: Vec3) -> Vec3 {
        let (sin, cos) = self.angle.sin_cos();
        // `cos` is the distance from the middle as a share of the half length.
        let upper = smoothstep(-0.28, 0.28, sin);
        let lower = 1.0 - upper;
        let follow = FOLLOW[self.ring];
        let corner = cos.max(0.0).powf(1.8) * follow;
        let across = (p.x.abs() / HALF).min(1.4);
        let middle = (1.0 - cos * cos) * follow;
        let (ox, oy) = outwards(self.angle);
        let out = v3(ox, oy, 0.0) * lip_height(self.angle);
        // Only the lips' own rings, most at their edge.
        let flesh = match self.ring {
            3 => 0.35,
            ring::RIM => 0.9,
            ring::EDGE => 1.0,
            ring::SWELL => 0.8,
            ring::CREST => 0.45,
            ring::FRONT => 0.15,
            _ => 0.0,
        };
        let tip = match self.ring {
            ring::CREST => 0.8,
            ring::FRONT | ring::SEAM => 1.0,
            ring::INNER => 0.6,
            _ => 0.0,
        };
        let roll = |share: f64, towards: f64| {
            let (y, z) = match self.ring {
                2 => (0.9, 0.0),
                3 => (2.4, -0.3),
                ring::RIM => (4.6, -1.6),
                ring::EDGE => (5.4, -3.4),
                ring::SWELL => (4.2, -5.8),
                ring::CREST => (1.8, -7.0),
                ring::FRONT => (0.0, -6.4),
                ring::SEAM => (-0.6, -4.8),
                ring::INNER => (-1.2, -2.6),
                _ => (0.0, 0.0),
            };
            v3(0.0, y * towards, z) * share
        };
        match stem {
            "JawOpen" => self.jaw_opened(p),
            "JawForward" => jaw::carry(stem, p) * (self.jaw() + 0.1 * upper * follow),
            "Jaw" => jaw::carry(stem, p) * (self.jaw() + 0.12 * upper * follow),
            "MouthClosed" => self.closed(),
            "LipFunnelUpper" | "LipFunnelLower" => {
                let top = stem == "LipFunnelUpper";
                let share = if top { upper } else { lower };
                let open = (1.0 - across.powi(4)).max(0.0) * sin.abs().powf(0.5);
                let mut d = v3(-0.22 * p.x, -2.0 * corner, 8.0 - 1.0 * across) * follow;
                d += v3(0.0, if top { 5.0 } else { -6.4 } * open, 2.4 * tip * open) * follow;
                d += out * (0.12 * flesh);
                d * share
            }
            "LipPuckerUpper" | "LipPuckerLower" => {
                let share = if stem == "LipPuckerUpper" { upper } else { lower };
                let mut d = v3(-0.46 * p.x, -2.8 * corner, 9.5) * follow;
                d += out * (0.16 * flesh) + v3(0.0, 0.0, 2.2 * flesh * sin.abs());
                d * share
            }
            "LipSuckUpper" => roll(smoothstep(-0.02, 0.45, sin), -1.0),
            "LipSuckLower" => roll(smoothstep(0.02, -0.45, sin), 1.0),
            "MouthUpperUp" => {
                let side = bell((cos * cos - 0.25) / 0.6) * sin.abs().powf(1.2);
                v3(0.3, 9.0, 1.2) * (side * upper * follow) + v3(0.0, 1.2, 0.8) * (side * upper * flesh)
            }
            "MouthLowerDown" => {
                let side = bell((cos * cos - 0.25) / 0.6) * sin.abs().powf(1.2);
                v3(0.4, -9.8, 0.8) * (side * lower * follow)
            }
            "MouthUpper" | "MouthLower" => {
                let share = if stem == "MouthUpper" { upper } else { lower };
                v3(9.5, 0.06 * p.x, -0.13 * p.x.clamp(-HALF, HALF)) * (share * follow)
            }
            "MouthCornerPull" => {
                let mut d = v3(8.6 * across.min(1.0) * follow, 3.0 * corner, -3.0 * corner - 1.0 * middle);
                d += v3(0.0, -1.6 * middle, 0.0);
                d - out * (0.16 * flesh * sin.abs())
            }
            "MouthCornerSlant" => v3(0.6 * corner, 6.4 * corner - 0.8 * middle, 0.9 * corner),
            "MouthFrown" => v3(1.0, -10.0, -1.6) * corner + v3(0.0, 2.6, 0.8) * middle,
            "MouthStretch" => {
                let mut d = v3(8.0 * across.min(1.0) * follow, -3.4 * corner, -3.4 * corner - 1.4 * middle);
                d += v3(0.0, (0.8 * upper - 2.2 * lower) * sin.abs() * follow, 0.0);
                d - out * (0.2 * flesh * sin.abs())
            }
            "MouthDimple" => v3(6.6, 2.2, -5.4) * corner - out * (0.2 * flesh * cos),
            "MouthRaiserLower" => {
                let mut d = v3(0.0, 5.4, 2.4) * (lower * (0.5 + 0.5 * sin.abs()) * follow);
                d += v3(0.0, 3.2, 0.6) * (upper * (0.4 + 0.6 * sin.abs()) * follow);
                d += v3(0.0, -1.0, 2.0) * (lower * flesh * sin.abs());
                // The chin bunches up.
                d + v3(0.0, 1.6, 1.2) * (lower * (1.0 - follow) * smoothstep(0.0, -0.3, sin))
            }
            "MouthRaiserUpper" => {
                v3(0.0, 5.6, 2.0) * (upper * (0.4 + 0.6 * sin.abs()) * follow)
                    + v3(0.0, 1.0, 1.6) * (upper * flesh)
                    + v3(0.0, 1.2, 0.0) * (lower * middle)
            }
            "MouthPress" => {
                let side = bell((cos * cos - 0.4) / 0.4);
                v3(1.6, 0.8, -2.8) * corner - out * (0.42 * flesh * side) + v3(0.0, 0.0, -2.4) * (side * tip)
            }
            "TongueOut" => v3(0.0, 2.4 * upper - 8.0 * lower, 1.0) * (sin.abs().powf(0.6) * follow),
            "NoseSneer" => {
                let side = bell((cos * cos - 0.3) / 0.32) * sin.abs().powf(1.2);
                let fold = if (2..=3).contains(&self.ring) { 1.0 } else { 0.0 };
                v3(0.2, 5.0, 1.0) * (side * upper * follow) + v3(0.0, 1.0, 2.4) * (side * upper * fold)
            }
            "CheekSquint" => v3(0.4, 1.6, 0.6) * (upper * corner),
            "CheekPuff" => {
                let bulge = match self.ring {
                    1 => 0.35,
                    2 => 0.95,
                    3 => 1.0,
                    ring::RIM => 0.62,
                    ring::EDGE => 0.5,
                    ring::SWELL | ring::CREST => 0.36,
                    ring::FRONT | ring::SEAM => 0.3,
                    _ => 0.0,
                };
                let side = lerp(0.35, 1.0, smoothstep(0.1, 0.9, cos));
                v3(2.4 * cos, 1.2 * sin, 9.5) * (bulge * side) - out * (0.1 * flesh)
            }
            _ => Vec3::ZERO,
        }
    }
}

/// The lattice's places in the order of the left half's vertices.
fn places() -> Vec<Place> {
    let mut out = Vec::new();
    for ring in 0..ring::COUNT {
        for c in 0..=COLUMNS {
            let angle = -FRAC_PI_2 + PI * c as f64 / COLUMNS as f64;
            out.push(Place { ring, angle: if c == COLUMNS / 2 { 0.0 } else { angle } });
        }
    }
    out
}

/// Muzzle, lips and mouth bag.
pub fn soft() -> Part {
    let mut places = places();
    let mut left = Part::default();
    for (v, place) in places.iter().enumerate() {
        let mut p = place.rest();
        let column = v % (COLUMNS + 1);
        if column == 0 || column == COLUMNS {
            p.x = 0.0;
        }
        left.points.push(p);
        left.colours.push(opaque(place.colour()));
    }
    // Rings run inwards, columns counter-clockwise in the front view.
    left.faces =
        mesh::lattice(0, ring::COUNT, COLUMNS + 1, false).into_iter().map(|f| f.into_iter().rev().collect()).collect();
    let twins: Vec<Place> = places.iter().zip(&left.points).filter(|(_, p)| p.x != 0.0).map(|(m, _)| *m).collect();
    places.extend(twins);
    let mut part = panel::welded(left);
    part.normals = mesh::normals(&part.points, &part.faces);
    part.deltas = shapes::moves(&part.points, 12.0, |stem, v, p| places[v].moved(stem, p));
    part
}

/// Where lips meet: the vertices of the upper and the lower seam, for the tests.
#[cfg(test)]
pub fn seam_pairs() -> Vec<(usize, usize)> {
    let base = ring::SEAM * (COLUMNS + 1);
    (0..COLUMNS / 2).map(|c| (base + COLUMNS - c, base + c)).collect()
}

/// One row of teeth, as rounded plates.
fn teeth(top: f64, bottom: f64, half_width: f64, back: f64) -> Part {
    const COUNT: usize = 8;
    const ROWS: usize = 5;
    const AROUND: usize = 8;
    let mut left = Part::default();
    for k in 0..COUNT / 2 {
        let wide = half_width / (COUNT / 2) as f64;
        let x = (k as f64 + 0.5) * wide;
        let z = depth(x, LEVEL) - back - 0.004 * x * x;
        let turn = (x * 0.022).atan();
        let small = 1.0 - 0.009 * x;
        let (cy, hy) = (0.5 * (top + bottom), 0.5 * (top - bottom) * small);
        let cy = if top > LEVEL { top - hy } else { bottom + hy }.mul_add(0.6, cy * 0.4);
        let mut tooth = Part::default();
        let bend = |v: f64, e: f64| v.abs().powf(e).copysign(v);
        for r in 0..=ROWS {
            let (sin, cos) = (PI * r as f64 / ROWS as f64).sin_cos();
            for j in 0..AROUND {
                let (s, c) = (TAU * j as f64 / AROUND as f64).sin_cos();
                let (lx, ly, lz) = (
                    0.5 * wide * 0.985 * bend(sin, 0.25) * bend(s, 0.35),
                    hy * bend(cos, 0.4),
                    2.4 * bend(sin, 0.25) * bend(c, 0.5),
                );
                tooth.points.push(v3(
                    x + lx * turn.cos() + lz * turn.sin(),
                    cy + ly,
                    z - lx * turn.sin() + lz * turn.cos(),
                ));
                let shade = smoothstep(12.0, 26.0, x);
                tooth.colours.push(opaque(mix(paint::TOOTH, [170.0, 150.0, 140.0], 0.6 * shade)));
            }
        }
        tooth.faces = mesh::lattice(0, ROWS + 1, AROUND, true);
        join(&mut left, tooth);
    }
    super::solid::both(left)
}

/// Upper teeth: they never move.
pub fn upper_teeth() -> Part {
    teeth(-49.0, -64.0, 23.0, 6.0)
}

/// Lower teeth, carried by the jaw.
pub fn lower_teeth() -> Part {
    let mut part = teeth(-61.5, -73.5, 19.0, 9.5);
    part.deltas = shapes::moves(&part.points, 0.0, |stem, _, p| match stem {
        "JawOpen" | "JawForward" | "Jaw" => jaw::carry(stem, p),
        _ => Vec3::ZERO,
    });
    part
}

const TONGUE_ROWS: usize = 13;
const TONGUE_AROUND: usize = 14;

/// A point of the tongue, at rest or out.
fn tongue_point(t: f64, around: f64, out: bool) -> Vec3 {
    let (z, y) = if out {
        (
            curve(&[(0.0, 40.0), (0.4, 72.0), (0.7, 92.0), (0.88, 101.0), (1.0, 104.0)], t),
            curve(&[(0.0, -71.0), (0.3, -65.6), (0.5, -64.6), (0.7, -66.0), (0.88, -72.0), (1.0, -79.0)], t),
        )
    } else {
        (lerp(38.0, 66.0, t), curve(&[(0.0, -74.0), (0.4, -68.6), (0.8, -68.0), (1.0, -69.5)], t))
    };
    let tip = (1.0 - ((t - 0.6).max(0.0) / 0.402).powi(3)).max(0.01).sqrt();
    let (wide, thick) = (if out { 11.5 } else { 14.0 } * tip, if out { 3.2 } else { 4.4 } * tip);
    let (sin, cos) = around.sin_cos();
    let groove = if sin > 0.0 { -1.1 * bell(cos / 0.3) * tip } else { 0.0 };
    let lean = if out { smoothstep(0.6, 1.0, t) * 0.8 } else { 0.0 };
    v3(wide * cos, y + (thick * sin + groove) * (1.0 - 0.3 * lean), z + (thick * sin + groove) * lean)
}

/// The tongue.
pub fn tongue() -> Part {
    let mut part = Part::default();
    let mut out = Vec::new();
    for i in 0..TONGUE_ROWS {
        let t = i as f64 / (TONGUE_ROWS - 1) as f64;
        for k in 0..TONGUE_AROUND {
            // From the top around; mirrored index by index, so that both halves are the same to the bit.
            let around = TAU * k as f64 / TONGUE_AROUND as f64 + FRAC_PI_2;
            part.points.push(tongue_point(t, around, false));
            out.push(tongue_point(t, around, true));
            part.colours.push(opaque(mix(paint::MOUTH, paint::TONGUE, smoothstep(0.0, 0.5, t))));
        }
    }
    part.faces = mesh::lattice(0, TONGUE_ROWS, TONGUE_AROUND, true);
    part.faces.push((0..TONGUE_AROUND).map(|k| (TONGUE_ROWS - 1) * TONGUE_AROUND + k).rev().collect());
    for row in part.points.chunks_mut(TONGUE_AROUND).chain(out.chunks_mut(TONGUE_AROUND)) {
        row[0].x = 0.0;
        row[TONGUE_AROUND / 2].x = 0.0;
        for k in 1..TONGUE_AROUND / 2 {
            row[TONGUE_AROUND - k] = row[k].mirrored();
        }
    }
    part.face_outwards();
    part.normals = mesh::normals(&part.points, &part.faces);
    let rest = part.points.clone();
    part.deltas = shapes::moves(&part.points, 0.0, |stem, v, p| match stem {
        "JawOpen" | "JawForward" | "Jaw" => jaw::carry(stem, p) * (0.7 + 0.25 * smoothstep(20.0, 60.0, p.z)),
        "TongueOut" => {
            let d = out[v] - rest[v];
            if rest[v].x < 0.0 { d.mirrored() } else { d }
        }
        _ => Vec3::ZERO,
    });
    part
}
