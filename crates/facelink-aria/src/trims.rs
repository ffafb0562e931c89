//! Brows, lashes and nostrils: small pieces that ride on the skin and take their moves from it.

use std::f64::consts::{PI, TAU};

use crate::cage::{self, EYE_MARGIN, EYE_POINTS};
use crate::detail::Detail;
use crate::face::Face;
use crate::mesh;
use crate::names;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt::{self, EYE, EYE_RADIUS};
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

/// A place on the brow's middle line.
struct BrowPlace {
    on: Vec3,
    out: Vec3,
    ahead: Vec3,
    up: Vec3,
    half: f64,
}

/// The left brow's middle line, `t` from its inner to its outer end.
fn brow_place(face: &Face, t: f64) -> BrowPlace {
    let x = lerp(13.0, 57.5, t);
    let y = curve(&[(0.0, 26.8), (0.25, 29.8), (0.6, 33.6), (0.82, 31.6), (1.0, 26.0)], t);
    let half = curve(&[(0.0, 2.0), (0.08, 3.0), (0.2, 3.5), (0.4, 3.6), (0.7, 2.5), (1.0, 0.5)], t);
    let from = v3(x * 1.5, y + 4.0, 130.0);
    let towards = v3(x * 0.8, y, 50.0) - from;
    let on = face.hit(from, towards).unwrap_or(v3(x, y, 84.0));
    let out = sculpt::gradient(sculpt::head, on);
    let ahead = v3(1.0, if t < 0.62 { 0.16 } else { -0.4 }, -0.5);
    let up = out.cross(ahead).cross(out).cross(out).normalized();
    let up = if up.y < 0.0 { -up } else { up };
    let ahead = (ahead - out * ahead.dot(out)).normalized();
    BrowPlace { on, out, ahead, up, half }
}

/// The brows: a thin body for the mass, and single hairs that give it grain and a soft edge.
pub fn brows(face: &Face, detail: Detail) -> Part {
    let steps = detail.of(18, 10);
    let around = detail.of(10, 6);
    let mut left = Part::default();
    for i in 0..steps {
        let t = i as f64 / (steps - 1) as f64;
        let place = brow_place(face, t);
        let half = place.half * curve(&[(0.0, 0.1), (0.1, 0.55), (0.3, 0.72), (0.8, 0.8), (1.0, 0.5)], t);
        let thick = 0.12 * half + 0.12;
        for k in 0..around {
            let (sin, cos) = (TAU * k as f64 / around as f64).sin_cos();
            left.points.push(place.on + place.up * (half * cos) + place.out * (0.05 + thick * sin));
            left.colours.push(palette::opaque(mix(palette::BROW, palette::HAIR, 0.15)));
        }
    }
    // Along the rows outwards, around from above over the front: seen from outside this runs clockwise.
    for face in mesh::lattice(0, steps, around, true) {
        left.faces.push(face.into_iter().rev().collect());
    }
    left.faces.push((0..around).collect());
    left.faces.push((0..around).rev().map(|k| (steps - 1) * around + k).collect());
    left.face_outwards();
    left.append(brow_hairs(face, detail));
    let mut both = Part::default();
    let right = left.mirrored();
    both.append(left);
    both.append(right);
    // Half the skin's normals: the hairs then take the light as one soft body with grain.
    both.normals = mesh::normals(&both.points, &both.faces)
        .into_iter()
        .zip(&both.points)
        .map(|(n, p)| {
            let out = sculpt::gradient(sculpt::head, *p);
            n.lerp(out, 0.6 * smoothstep(-0.6, 0.2, n.dot(out))).normalized()
        })
        .collect();
    ride(&mut both, face);
    both
}

/// The hairs of the left brow: upright at its inner end, laid outwards along the rest, and closing in from above and
/// below over the arch.
fn brow_hairs(face: &Face, detail: Detail) -> Part {
    const ACROSS: [f64; 4] = [-0.95, -0.5, -0.05, 0.4];
    const SIDES: usize = 3;
    let along = detail.of(34, 15);
    let rows = detail.of(4, 3);
    /// Places worked out along the brow; between them it is straight enough.
    const PLACES: usize = 40;
    let places: Vec<BrowPlace> = (0..=PLACES).map(|i| brow_place(face, i as f64 / PLACES as f64)).collect();
    let brow_place = |t: f64| {
        let x = t * PLACES as f64;
        let i = (x as usize).min(PLACES - 1);
        let (a, b, k) = (&places[i], &places[i + 1], x - i as f64);
        BrowPlace {
            on: a.on.lerp(b.on, k),
            out: a.out.lerp(b.out, k).normalized(),
            ahead: a.ahead.lerp(b.ahead, k).normalized(),
            up: a.up.lerp(b.up, k).normalized(),
            half: lerp(a.half, b.half, k),
        }
    };
    let mut part = Part::default();
    for i in 0..along {
        for (lane, across) in ACROSS.iter().enumerate() {
            let seed = (i * ACROSS.len() + lane) as u64;
            let wild = |k: u64| {
                let h = (seed * 8 + k + 3).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33;
                (h % 2001) as f64 / 1000.0 - 1.0
            };
            let t = ((i as f64 + 0.33 * lane as f64 + 0.4 * wild(0)) / along as f64).clamp(0.0, 0.97);
            let place = brow_place(t);
            let lean = curve(&[(0.0, 60.0), (0.1, 40.0), (0.35, 16.0), (0.7, 2.0), (1.0, 0.0)], t)
                - (22.0 * (across + 0.2)) * smoothstep(0.1, 0.5, t)
                + 7.0 * wild(1);
            let (sin, cos) = lean.to_radians().sin_cos();
            let direction = place.ahead * cos + place.up * sin;
            let long = curve(&[(0.0, 3.2), (0.2, 6.2), (0.6, 7.4), (1.0, 4.6)], t) * (1.0 + 0.2 * wild(2));
            let root = place.on + place.up * (place.half * across);
            let girth = detail.of(1.0, 1.9) * (0.62 + 0.12 * wild(3));
            let tone = 0.4 + 0.4 * wild(4);
            let base = part.points.len();
            for row in 0..rows {
                let u = row as f64 / (rows - 1) as f64;
                let centre = root + direction * (long * u) + place.up * (-0.5 * u * u * sin);
                // Kept on the skin, a little proud of it.
                let centre =
                    centre + place.out * (0.55 + 0.25 * across + 0.6 * u * (1.0 - u) - 0.3 * u - sculpt::head(centre));
                let girth = girth * curve(&[(0.0, 0.7), (0.3, 1.0), (1.0, 0.1)], u);
                let side = direction.cross(place.out).normalized();
                for k in 0..SIDES {
                    let (s, c) = (TAU * (k as f64 / SIDES as f64 + 0.25)).sin_cos();
                    part.points.push(centre + side * (girth * c) + place.out * (girth * 0.8 * s));
                    part.colours.push(palette::opaque(mix(palette::BROW, palette::HAIR, tone * u.max(0.3))));
                }
            }
            let mut faces = mesh::lattice(base, rows, SIDES, true);
            // In whichever order the corners run, the top corner's normal points out of the skin.
            let quad = &faces[0];
            let n = (part.points[quad[1]] - part.points[quad[0]]).cross(part.points[quad[3]] - part.points[quad[0]]);
            let outwards = (part.points[quad[0]] + part.points[quad[3]]) * 0.5
                - (part.points[base] + part.points[base + 1] + part.points[base + 2]) * (1.0 / 3.0);
            if n.dot(outwards) < 0.0 {
                faces.iter_mut().for_each(|quad| quad.reverse());
            }
            part.faces.extend(faces);
        }
    }
    part
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

/// Sections of a single lash, and corners of each.
const HAIR_ROWS: usize = 5;
const HAIR_SIDES: usize = 3;

/// Single lashes along a lid margin: where each grows (0 inner, 1 outer corner), how long it is, and how far it leans
/// outwards.
fn single_lashes(upper: bool) -> Vec<(f64, f64, f64)> {
    let count = if upper { 9 } else { 4 };
    (0..count)
        .map(|k| {
            let u = k as f64 / (count - 1) as f64;
            if upper {
                let tau = lerp(0.32, 0.87, u);
                let long = curve(&[(0.0, 2.6), (0.4, 4.4), (0.8, 6.6), (1.0, 6.4)], u);
                (tau, long * if k % 2 == 0 { 1.0 } else { 0.82 }, lerp(0.05, 0.85, u))
            } else {
                let tau = lerp(0.66, 0.93, u);
                (tau, curve(&[(0.0, 0.9), (0.6, 1.6), (1.0, 2.0)], u), lerp(0.1, 0.9, u))
            }
        })
        .collect()
}

/// The points of a lid's single lashes, on its (smoothed) margin.
fn lash_hairs(margin: &[Vec3], upper: bool) -> Vec<Vec3> {
    let last = (margin.len() - 1) as f64;
    let mut out = Vec::new();
    for (tau, long, lean) in single_lashes(upper) {
        let x = tau * last;
        let i = (x as usize).min(margin.len() - 2);
        let root = margin[i].lerp(margin[i + 1], x - i as f64);
        let away = (root - EYE).normalized();
        let side = v3(0.0, 1.0, 0.0).cross(away).normalized();
        let up = away.cross(side).normalized() * if upper { 1.0 } else { -1.0 };
        let thick = if upper { 0.95 } else { 0.3 };
        for row in 0..HAIR_ROWS {
            let t = row as f64 / (HAIR_ROWS - 1) as f64;
            // Out from the ball first, then curling back.
            let direction = away * (0.15 + 0.72 * t - 0.2 * t * t)
                + up * (0.12 * t + 0.62 * t * t)
                + side * (lean * t * (0.5 + 0.5 * t));
            let centre = root + direction * long;
            let girth = thick * (1.0 - t).powf(0.8) + 0.02;
            for k in 0..HAIR_SIDES {
                let (sin, cos) = (TAU * k as f64 / HAIR_SIDES as f64).sin_cos();
                out.push(centre + side * (girth * cos) + up * (girth * sin));
            }
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
        let (mut points, mut hairs) = (Vec::new(), Vec::new());
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
            hairs.extend(lash_hairs(&smooth, *upper));
        }
        points.extend(hairs);
        if mirrored { points.into_iter().map(Vec3::mirrored).collect() } else { points }
    };
    // Both chains have the margin's rows; the upper one, first, has the wing's too.
    let lower_rows = 2 * half + 1;
    let upper_rows = lower_rows - LEAVE + WING;
    let hair_count = single_lashes(true).len() + single_lashes(false).len();
    let mut part = Part::default();
    for mirrored in [false, true] {
        let points = build(None, mirrored);
        let mut quads = Vec::new();
        let start = part.points.len();
        for chain in 0..2 {
            let base = start + chain * upper_rows * 3;
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
        let hairs = start + (upper_rows + lower_rows) * 3;
        for hair in 0..hair_count {
            quads.extend(mesh::lattice(hairs + hair * HAIR_ROWS * HAIR_SIDES, HAIR_ROWS, HAIR_SIDES, true));
        }
        if mirrored {
            quads.iter_mut().for_each(|quad| quad.reverse());
        }
        part.faces.extend(quads);
        part.colours.extend((0..points.len()).map(|i| {
            let lower = if (upper_rows * 3..(upper_rows + lower_rows) * 3).contains(&i) { 0.45 } else { 0.0 };
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

/// Freckles of the left half: small flat marks on the skin, dense on cheek and nose, each with its binding.
fn freckles(face: &Face) -> (Part, Vec<Vec<(usize, f64)>>) {
    const COUNT: u64 = 46;
    const EDGE: usize = 6;
    let mut part = Part::default();
    let mut bindings = Vec::new();
    for i in 0..COUNT {
        let wild = |k: u64| {
            let mut h = (i * 8 + k + 11).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h = (h ^ (h >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            ((h >> 33) % 2001) as f64 / 1000.0 - 1.0
        };
        // The sum of two throws crowds them along the middle of the band from nose to cheekbone.
        let x = 4.0 + 44.0 * (0.5 + 0.5 * wild(0));
        let y = lerp(-17.0, -24.0, smoothstep(4.0, 30.0, x)) + 6.5 * (wild(1) + wild(2)) - 2.0;
        let radius = 0.42 + 0.2 * (wild(3) + wild(4)).abs();
        let fade = 0.30 + 0.22 * wild(5).abs() - 0.2 * smoothstep(28.0, 48.0, x);
        let mut ring = Vec::new();
        for k in 0..=EDGE {
            let (sin, cos) = (TAU * k as f64 / EDGE as f64).sin_cos();
            let r = if k == EDGE { 0.0 } else { radius * (1.0 + 0.25 * wild(6 + (k as u64 % 2))) };
            if let Some(place) = face.hit_place(v3(x + r * cos, y + r * sin, 150.0), v3(0.0, 0.0, -1.0)) {
                ring.push(place);
            }
        }
        if ring.len() <= EDGE {
            continue;
        }
        let base = part.points.len();
        for (k, place) in ring.iter().enumerate() {
            let (mut p, mut n, mut under) = (Vec3::ZERO, Vec3::ZERO, [0.0; 4]);
            for &(v, w) in place {
                p += face.points[v] * w;
                n += face.normals[v] * w;
                for (sum, c) in under.iter_mut().zip(face.colours[v]) {
                    *sum += f64::from(c) * w;
                }
            }
            let mark = palette::to_linear(palette::FRECKLE);
            let share = if k == EDGE { fade * 1.5 } else { fade * 0.5 };
            part.points.push(p + n.normalized() * 0.07);
            part.normals.push(n.normalized());
            let [r, g, b] = [0, 1, 2].map(|c| lerp(under[c], mark[c], share) as f32);
            part.colours.push([r, g, b, 1.0]);
            bindings.push(place.to_vec());
        }
        for k in 0..EDGE {
            part.faces.push(vec![base + EDGE, base + k, base + (k + 1) % EDGE]);
        }
    }
    (part, bindings)
}

/// Nostrils: dark lenses set into the underside of the nose; with them the red inner corners of the eyes and the
/// freckles, which are skin too and ride on it.
pub fn nostrils(face: &Face) -> Part {
    const AROUND: usize = 14;
    const RINGS: usize = 4;
    let mut left = Part::default();
    let centre = v3(5.6, -42.4, 92.0);
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
            let p = on + side * (3.3 * r * cos) + up * ((1.9 + 0.4 * cos) * r * sin);
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
    left.append(caruncle());
    let mut both = Part::default();
    let right = left.mirrored();
    both.append(left);
    both.append(right);
    both.normals = mesh::normals(&both.points, &both.faces);
    ride(&mut both, face);
    let (marks, bindings) = freckles(face);
    let right = marks.mirrored();
    let twin = |binding: &[(usize, f64)]| binding.iter().map(|&(v, w)| (face.mirror[v], w)).collect::<Vec<_>>();
    let bindings: Vec<_> = bindings.iter().cloned().chain(bindings.iter().map(|b| twin(b))).collect();
    for marks in [marks, right] {
        both.normals.extend(&marks.normals);
        both.append(marks);
    }
    for (shape, (_, deltas)) in both.deltas.iter_mut().enumerate() {
        deltas.extend(bindings.iter().map(|b| face.carry(b, shape)));
    }
    both
}

/// The red body in the inner corner of the left eye.
fn caruncle() -> Part {
    const RINGS: usize = 6;
    const AROUND: usize = 10;
    let away = cage::eye_direction((-41.5_f64).to_radians(), (-5.5_f64).to_radians());
    let centre = EYE + away * (EYE_RADIUS + 0.1);
    let side = v3(0.0, 1.0, 0.0).cross(away).normalized();
    let up = away.cross(side);
    let mut part = Part::default();
    for r in 0..=RINGS {
        let (sin, cos) = (PI * (r as f64 + 0.02) / (RINGS as f64 + 0.04)).sin_cos();
        for k in 0..AROUND {
            let (s, c) = (TAU * k as f64 / AROUND as f64).sin_cos();
            part.points.push(centre + side * (2.6 * cos) + up * (1.7 * sin * s) + away * (1.1 * sin * c));
            part.colours.push(palette::opaque(palette::CARUNCLE));
        }
    }
    part.faces = mesh::lattice(0, RINGS + 1, AROUND, true);
    part.face_outwards();
    part
}
