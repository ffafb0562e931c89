//! Eyes: balls with a deep iris, a glowing ring and a catch-light; lids as nested shutters; bezels; brows.

use std::f64::consts::{PI, TAU};

use super::form::{self, EYE, EYE_RADIUS};
use super::paint;
use super::shapes;
use super::solid::{Frame, both, join, knot, rivet, turned};
use crate::mesh;
use crate::palette::{Colour, mix, opaque};
use crate::part::Part;
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

const SEGMENTS: usize = 36;
/// The iris is drawn for a ball of 23 mm.
const DRAWN: f64 = EYE_RADIUS / 23.0;

/// The ball's profile: distance from the line of sight, depth along it, colour. The iris is a bowl in the ball.
fn ball_profile() -> Vec<(f64, f64, Colour)> {
    let on = |angle: f64| {
        let (sin, cos) = angle.to_radians().sin_cos();
        (EYE_RADIUS / DRAWN * sin, EYE_RADIUS / DRAWN * cos)
    };
    let white = [250.0, 250.0, 246.0];
    let limbus = [12.0, 22.0, 34.0];
    let edge = on(34.0);
    let bowl = |r: f64, z: f64, c: Colour| (r, z, c);
    let mut rings = vec![
        bowl(0.0, 13.0, [4.0, 6.0, 10.0]),
        bowl(4.4, 13.2, [6.0, 8.0, 14.0]),
        bowl(5.2, 15.0, [8.0, 14.0, 24.0]),
        bowl(5.5, 15.6, [10.0, 70.0, 86.0]),
        bowl(7.4, 16.2, [24.0, 166.0, 176.0]),
        bowl(9.2, 16.9, [18.0, 128.0, 150.0]),
        bowl(10.8, 17.7, [10.0, 72.0, 100.0]),
        bowl(11.6, 18.3, limbus),
        bowl(12.2, 19.1, limbus),
        (edge.0, edge.1, limbus),
    ];
    for (angle, c) in [
        (36.2, [16.0, 26.0, 38.0]),
        (37.4, [150.0, 158.0, 166.0]),
        (39.0, white),
        (48.0, white),
        (60.0, [244.0, 240.0, 236.0]),
        (76.0, [222.0, 212.0, 204.0]),
        (95.0, [178.0, 166.0, 160.0]),
        (120.0, [90.0, 84.0, 84.0]),
        (150.0, [60.0, 56.0, 58.0]),
    ] {
        let (r, z) = on(angle);
        rings.push((r, z, c));
    }
    rings
}

/// The eyeball, about the origin, looking along +Z.
pub fn ball() -> Part {
    let mut part = Part::default();
    let profile = ball_profile();
    for (r, z, c) in profile.iter().map(|(r, z, c)| (r * DRAWN, z * DRAWN, c)) {
        for k in 0..SEGMENTS {
            let (sin, cos) = (TAU * k as f64 / SEGMENTS as f64).sin_cos();
            part.points.push(v3(r * cos, r * sin, z));
            // Lit from above, a bowl is bright below.
            let shade = if r < 13.5 && r > 5.4 { 0.72 - 0.34 * sin } else { 1.0 };
            let spoke = if r < 12.0 && r > 5.9 && k % 4 == 0 { 0.8 } else { 1.0 };
            part.colours.push(opaque(c.map(|v| (v * shade * spoke).min(255.0))));
        }
    }
    part.faces = mesh::lattice(0, profile.len(), SEGMENTS, true);
    part.faces.retain(|f| (part.points[f[0]] - part.points[f[3]]).length() > 1e-9 || f[0] >= SEGMENTS);
    part.normals = mesh::normals(&part.points, &part.faces);
    for v in 0..SEGMENTS {
        part.normals[v] = v3(0.0, 0.0, 1.0);
    }
    part
}

/// The ring that glows in the iris.
pub fn glow() -> Part {
    let mut part = Part::default();
    let rings = [(5.7, 16.0, 0.35), (6.4, 16.35, 1.0), (7.4, 16.65, 0.8), (8.6, 17.05, 0.1)];
    for (r, z, k) in rings {
        for s in 0..SEGMENTS {
            let (sin, cos) = (TAU * s as f64 / SEGMENTS as f64).sin_cos();
            part.points.push(v3(r * cos, r * sin, z) * DRAWN);
            let c = [70.0 * k, 236.0 * k, 232.0 * k];
            part.colours.push(opaque(c));
        }
    }
    part.faces = mesh::lattice(0, rings.len(), SEGMENTS, true);
    part.normals = vec![v3(0.0, 0.0, 1.0); part.points.len()];
    part
}

/// The catch-lights: a large one above, a small one across.
pub fn lights() -> Part {
    const LIGHTS: [(f64, f64, f64); 2] = [(4.8, 5.0, 3.0), (-5.4, -5.2, 1.4)];
    const EDGE: usize = 18;
    let mut part = Part::default();
    for (x, y, radius) in LIGHTS {
        let base = part.points.len();
        let on_ball = |x: f64, y: f64| {
            let r = EYE_RADIUS + 0.1;
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

/// Radii of the lower and the upper lid, inside and outside: the upper slides over the lower.
const LOWER: (f64, f64) = (26.2, 28.3);
const UPPER: (f64, f64) = (28.5, 30.4);
/// Columns from the inner to the outer corner.
const LID_COLUMNS: usize = 22;
/// Half the longitude that a lid spans, in degrees.
const SPAN: f64 = 104.0;
/// The lid's section: position between the margin (0) and the pole (1), share of the thickness (0 inside), and how far
/// beyond the margin in degrees.
const SECTION: [(f64, f64, f64); 13] = [
    (1.0, 1.0, 0.0),
    (0.86, 1.0, 0.0),
    (0.66, 1.0, 0.0),
    (0.42, 1.0, 0.0),
    (0.2, 1.0, 0.0),
    (0.05, 1.0, 0.0),
    (0.0, 1.0, 0.4),
    (0.0, 0.86, 1.6),
    (0.0, 0.5, 2.4),
    (0.0, 0.14, 1.4),
    (0.0, 0.0, 0.0),
    (0.13, 0.0, 0.0),
    (0.27, 0.0, 0.0),
];
/// Clearance between a lid and the ball while one shape moves it.
const CLEARANCE: f64 = 0.7;
/// The same for a closing lid, which other shapes may push back.
const CLOSING: f64 = 2.1;

/// Latitude of a lid's margin under a stem, in degrees; `around` is the longitude, positive to the outside.
fn margin(upper: bool, around: f64, stem: &str) -> f64 {
    let (sin, cos) = around.to_radians().sin_cos();
    let c = cos.max(0.0).powf(0.75);
    let (inner, outer) = (0.5 - 0.5 * sin, 0.5 + 0.5 * sin);
    let rest = if upper { 1.0 + 41.0 * c } else { -1.0 - 51.0 * c };
    let turn = match (stem, upper) {
        ("EyeClosed", true) => -4.0 - 45.0 * c,
        ("EyeClosed", false) => -1.0 + 48.0 * c,
        ("EyeWide", true) => 2.0 + 20.0 * c,
        ("EyeWide", false) => -1.0 - 7.0 * c,
        ("EyeSquint", true) => -9.0 * c,
        ("EyeSquint", false) => 2.0 + 18.0 * c,
        ("CheekSquint", false) => 1.0 + 11.0 * c,
        ("MouthCornerPull", false) => 4.0 * c,
        ("MouthCornerSlant", false) => 3.0 * c,
        ("EyeLookUp", true) => 8.0 * c,
        ("EyeLookUp", false) => 5.0 * c,
        ("EyeLookDown", true) => -15.0 * c,
        ("EyeLookDown", false) => -4.0 * c,
        ("EyeLookIn", true) => 7.0 * c * (inner - outer),
        ("EyeLookIn", false) => -5.0 * c * (inner - outer),
        ("EyeLookOut", true) => 7.0 * c * (outer - inner),
        ("EyeLookOut", false) => -5.0 * c * (outer - inner),
        ("BrowLowerer", true) => -5.0 * c - 5.0 * inner * c,
        ("BrowPinch", true) => -9.0 * inner * c + 2.0 * outer * c,
        ("BrowInnerUp", true) => 5.0 * inner * c - 3.0 * outer * c,
        ("BrowOuterUp", true) => 4.0 * outer * c,
        ("NoseSneer", false) => 7.0 * inner * c,
        _ => 0.0,
    };
    rest + turn
}

fn lid_point(upper: bool, column: usize, section: usize, stem: &str) -> Vec3 {
    let around = lerp(-SPAN, SPAN, column as f64 / LID_COLUMNS as f64);
    let (share, thick, beyond) = SECTION[section];
    let (low, high) = if upper { UPPER } else { LOWER };
    let pole = if upper { 88.0 } else { -88.0 };
    let sign = if upper { -1.0 } else { 1.0 };
    let latitude = lerp(margin(upper, around, stem) + sign * beyond, pole, share);
    // Towards the corners the shutters thin out and hug the ball.
    let corner = smoothstep(55.0, 92.0, around.abs());
    let foot = if upper { low - 1.5 * corner } else { low };
    let r = lerp(foot, lerp(high, foot + 0.5, corner), thick);
    let (sl, cl) = latitude.to_radians().sin_cos();
    let (sa, ca) = around.to_radians().sin_cos();
    EYE + v3(cl * sa, sl, cl * ca) * r
}

/// Pushes a delta outwards until the straight path clears the ball.
fn clear(p: Vec3, delta: Vec3, room: f64) -> Vec3 {
    const STEPS: usize = 16;
    let mut delta = delta;
    for _ in 0..60 {
        let (mut worst, mut at) = (0.0_f64, 0.5);
        for k in 1..=STEPS {
            let w = k as f64 / STEPS as f64;
            let short = (EYE_RADIUS + room - (p + delta * w - EYE).length()) / w;
            if short > worst {
                (worst, at) = (short, w);
            }
        }
        if worst < 1e-7 {
            break;
        }
        delta += (p + delta * at - EYE).normalized() * (worst * 1.02);
    }
    delta
}

/// All four lids, with their moves.
pub fn lids() -> Part {
    let mut left = Part::default();
    let mut places = Vec::new();
    for upper in [true, false] {
        let mut lid = Part::default();
        for (section, &(share, thick, _)) in SECTION.iter().enumerate() {
            for column in 0..=LID_COLUMNS {
                lid.points.push(lid_point(upper, column, section, ""));
                let base = if upper { paint::LID } else { mix(paint::LID, [255.0, 236.0, 170.0], 0.4) };
                let liner = [92.0, 44.0, 18.0];
                let c = if share == 0.0 && thick > 0.0 {
                    mix(liner, base, if upper { 0.0 } else { 0.35 })
                } else if thick > 0.9 {
                    mix(base, paint::SHADE, if upper { 0.7 } else { 0.0 } * smoothstep(0.25, 0.8, share))
                } else {
                    mix(paint::SHADE, [74.0, 50.0, 36.0], 1.0 - thick)
                };
                lid.colours.push(opaque(c));
                places.push((upper, column, section));
            }
        }
        lid.faces = mesh::lattice(0, SECTION.len(), LID_COLUMNS + 1, false);
        if !upper {
            for face in &mut lid.faces {
                face.reverse();
            }
        }
        join(&mut left, lid);
    }
    let count = left.points.len();
    let mut part = both(left);
    part.deltas = shapes::moves(&part.points, 0.0, |stem, v, p| {
        let (upper, column, section) = places[v % count];
        let rest = lid_point(upper, column, section, "");
        let d = lid_point(upper, column, section, stem) - rest;
        if d.length() < 1e-9 { Vec3::ZERO } else { clear(p, d, if stem == "EyeClosed" { CLOSING } else { CLEARANCE }) }
    });
    part
}

/// The rings around the sockets.
pub fn bezels() -> Part {
    let frame = Frame { at: v3(EYE.x, 0.0, form::socket_z(EYE.x)), axis: form::socket_normal() };
    let profile = [
        knot(28.9, -16.0, 0.0, [60.0, 32.0, 10.0]),
        knot(30.8, -2.0, 0.0, [150.0, 84.0, 14.0]),
        knot(30.8, 2.4, 0.0, paint::STEEL),
        knot(33.4, 4.2, 1.2, paint::STEEL),
        knot(35.8, 2.4, 0.0, paint::STEEL),
        knot(36.4, -3.0, 0.0, paint::IRON),
    ];
    // The profile runs from the outside over the rim into the socket.
    let outside_in: Vec<_> = profile.iter().rev().copied().collect();
    let mut left = turned(&frame, &outside_in, 32);
    for k in 0..4 {
        let (sin, cos) = (TAU * (k as f64 + 0.5) / 4.0).sin_cos();
        let (right, up) = (v3(1.0, 0.0, form::socket_z(1.0) - form::socket_z(0.0)).normalized(), v3(0.0, 1.0, 0.0));
        let at = frame.at + (right * cos + up * sin) * 33.6 + frame.axis * 3.6;
        join(&mut left, rivet(at, frame.axis, 1.3, paint::IRON));
    }
    both(left)
}

const BROW_STEPS: usize = 15;
const BROW_AROUND: usize = 12;

/// Depth of what lies under a brow at a place of the front view: forehead, bezel, lid.
fn ground(x: f64, y: f64) -> f64 {
    let q = ((x - EYE.x).powi(2) + y * y).sqrt();
    let dome = if q < 31.4 { EYE.z + (31.4_f64.powi(2) - q * q).sqrt() } else { 0.0 };
    let ring = form::socket_z(x) + 4.6 * smoothstep(39.5, 36.5, q);
    form::face(x, y).z.max(dome).max(ring)
}

/// Middle line of the left brow under a stem; `t` from the nose outwards.
fn brow_line(t: f64, stem: &str) -> (f64, f64) {
    let (dx, dy) = match stem {
        "BrowInnerUp" => (0.6 * (1.0 - t), 15.0 * (1.0 - t).powf(1.15) + 1.0),
        "BrowOuterUp" => (0.0, 14.0 * t.powf(1.2) + 0.8),
        "BrowLowerer" => (-0.8, -8.0 + 2.0 * t),
        "BrowPinch" => (-4.6 * (1.0 - 0.5 * t), -8.5 * (1.0 - t) + 3.5 * t),
        "EyeWide" => (0.0, 2.6),
        "EyeSquint" => (0.0, -1.6),
        "NoseSneer" => (-0.8, -3.0 * (1.0 - t)),
        _ => (0.0, 0.0),
    };
    (lerp(10.0, 66.0, t) + dx, curve(&[(0.0, 43.0), (0.3, 46.4), (0.65, 47.0), (1.0, 41.0)], t) + dy)
}

fn brow_points(stem: &str) -> Vec<Vec3> {
    let at = |t: f64| {
        let (x, y) = brow_line(t.clamp(0.0, 1.0), stem);
        // Over all that the bar covers.
        let z = (-2..=2).map(|k| ground(x, y + 2.4 * f64::from(k))).fold(0.0, f64::max);
        (x, y, z)
    };
    // Evened out along the bar, so that it stays a stiff thing.
    let depth = |t: f64| {
        let (mut sum, mut weight) = (0.0, 0.0);
        for k in -4..=4 {
            let u = t + 0.06 * f64::from(k);
            let w = bell(f64::from(k) / 2.5);
            let base = at(u).2 - 12.0 * (u.clamp(0.0, 1.0) - u).abs();
            sum += w * base;
            weight += w;
        }
        sum / weight
    };
    let centre = |t: f64| {
        let (x, y, z) = at(t);
        v3(x, y, depth(t).max(z - 1.0) + 3.4)
    };
    let mut out = Vec::new();
    for i in 0..BROW_STEPS {
        // Close together at the rounded ends.
        let t = 0.5 - 0.5 * (PI * i as f64 / (BROW_STEPS - 1) as f64).cos();
        let along = (centre((t + 0.03).min(1.0)) - centre((t - 0.03).max(0.0))).normalized();
        let up = v3(0.0, 1.0, 0.12);
        let up = (up - along * along.dot(up)).normalized();
        let front = along.cross(up);
        let middle = centre(t);
        let end = (1.0 - (2.0 * t - 1.0).abs().powi(9)).max(0.0).sqrt().max(0.05);
        let half = lerp(6.4, 4.4, t) * end;
        let thick = lerp(4.0, 3.2, t) * end;
        for k in 0..BROW_AROUND {
            let (sin, cos) = (TAU * k as f64 / BROW_AROUND as f64).sin_cos();
            let bend = |v: f64| v.abs().powf(0.62).copysign(v);
            out.push(middle + up * (half * bend(cos)) + front * (thick * bend(sin)));
        }
    }
    out
}

/// The brows: chunky bars, with their moves.
pub fn brows() -> Part {
    let mut left = Part { points: brow_points(""), ..Part::default() };
    for i in 0..BROW_STEPS {
        for k in 0..BROW_AROUND {
            let (sin, cos) = (TAU * k as f64 / BROW_AROUND as f64).sin_cos();
            let ends = if i == 0 || i + 1 == BROW_STEPS { 0.4 } else { 0.0 };
            let c = mix(
                paint::TEAL,
                paint::DEEP_TEAL,
                ends + 0.8 * smoothstep(0.2, -0.9, cos) + 0.6 * smoothstep(0.0, -0.6, sin),
            );
            left.colours.push(opaque(c));
        }
    }
    left.faces = mesh::lattice(0, BROW_STEPS, BROW_AROUND, true);
    left.faces.push((0..BROW_AROUND).collect());
    left.faces.push((0..BROW_AROUND).rev().map(|k| (BROW_STEPS - 1) * BROW_AROUND + k).collect());
    left.face_outwards();
    let count = left.points.len();
    let rest = left.points.clone();
    let mut part = both(left);
    let mut cache: Vec<(String, Vec<Vec3>)> = Vec::new();
    for stem in ["BrowInnerUp", "BrowOuterUp", "BrowLowerer", "BrowPinch", "EyeWide", "EyeSquint", "NoseSneer"] {
        cache.push((stem.to_owned(), brow_points(stem)));
    }
    part.deltas = shapes::moves(&part.points, 0.0, |stem, v, _| {
        cache.iter().find(|(s, _)| s == stem).map_or(Vec3::ZERO, |(_, moved)| moved[v % count] - rest[v % count])
    });
    part
}
