//! The hard parts of the head: plates, jaw, cheeks, nose, ears, antenna, rivets, and the dark core under them.

use std::f64::consts::TAU;

use super::form::{self, EYE, SOCKET};
use super::paint::{self, enamel};
use super::panel::{self, Spec, smooth};
use super::solid::{self, Frame, both, join, knot, rivet, turned};
use super::{jaw, mouth, shapes};
use crate::mesh;
use crate::palette::{Colour, mix, opaque};
use crate::part::Part;
use crate::vec3::{Vec3, bell, smoothstep, v3};

/// Half the width of a seam.
const SEAM: f64 = 0.55;

/// Points of the seam between face and jaw, from the muzzle's corner to the hinge.
pub fn seam(shift: f64) -> Vec<Vec3> {
    let corner = mouth::muzzle(0.0);
    let knots = [
        form::towards(form::plain(form::front(corner.0, corner.1 + shift))),
        form::towards(form::plain(form::front(60.0, -56.0 + shift))),
        form::towards(form::plain(form::front(71.0, -49.0 + shift))),
        form::towards(v3(82.0, -37.0 + shift, 26.0)),
        form::towards(v3(89.0, -28.0 + shift, 8.0)),
        form::towards(v3(90.0, -25.0 + shift, -6.0)),
    ];
    smooth(&knots, 0.052, false)
}

/// One quarter of the muzzle's opening, from the middle to the corner.
fn muzzle_edge(upper: bool) -> Vec<Vec3> {
    const STEPS: usize = 14;
    (0..=STEPS)
        .map(|i| {
            let t = i as f64 / STEPS as f64 * TAU / 4.0;
            let angle = TAU / 4.0 - t;
            let (x, y) = mouth::muzzle(if upper { angle } else { -angle });
            form::front(if i == 0 { 0.0 } else { x }, y)
        })
        .collect()
}

/// The cream plate around the eyes.
fn face_plate() -> Part {
    let mut outline = smooth(
        &[
            form::front(0.0, 65.0),
            form::front(20.0, 65.5),
            form::front(46.0, 63.5),
            form::front(66.0, 55.0),
            form::front(75.5, 38.0),
            form::front(79.0, 12.0),
            form::front(80.0, -12.0),
            form::front(79.0, -30.0),
            form::front(78.2, -37.0),
            form::front(76.5, -41.2),
        ],
        0.052,
        false,
    );
    outline[0] = form::front(0.0, 65.0);
    let mut low: Vec<Vec3> = seam(SEAM).into_iter().take_while(|d| form::skin(*d).x < 74.0).collect();
    low.reverse();
    outline.extend(low);
    let mut top = muzzle_edge(true);
    top.reverse();
    outline.extend(top.into_iter().skip(1));
    let hole = |centre: Vec3| -> Vec<Vec3> {
        let n = 36;
        (0..n)
            .map(|k| {
                let (sin, cos) = (TAU * k as f64 / n as f64).sin_cos();
                form::front(centre.x + (SOCKET + 1.5) * cos, centre.y + (SOCKET + 1.5) * sin)
            })
            .collect()
    };
    let spec = Spec {
        axis: v3(0.0, 0.0, 1.0),
        outline,
        crosses: true,
        holes: vec![hole(EYE)],
        lift: 0.0,
        edge: 1.7,
        wall: 4.0,
        spacing: 6.0,
    };
    panel::build(&spec, |spot| {
        let p = spot.p;
        let mut c = paint::YELLOW;
        // Soft shadow around the sockets and under the brows.
        let near = ((p.x.abs() - EYE.x).powi(2) + (p.y - EYE.y).powi(2)).sqrt();
        c = mix(c, paint::AMBER, 0.6 * bell((near - 32.0).max(0.0) / 6.0));
        enamel(c, spot)
    })
}

/// The jaw, with its moves.
fn jaw_plate() -> Part {
    let mut outline = muzzle_edge(false);
    outline.extend(seam(-SEAM).into_iter().skip(1));
    let rear = smooth(
        &[
            form::towards(v3(90.0, -25.0, -6.0)),
            form::towards(v3(88.0, -40.0, -8.0)),
            form::towards(v3(81.0, -60.0, -4.0)),
            form::towards(v3(62.0, -82.0, 2.0)),
            form::towards(v3(44.0, -98.0, 8.0)),
            form::towards(v3(22.0, -101.0, 13.0)),
            form::towards(v3(0.0, -101.0, 15.0)),
        ],
        0.052,
        false,
    );
    outline.extend(rear.into_iter().skip(1));
    if let Some(last) = outline.last_mut() {
        last.x = 0.0;
    }
    let spec = Spec {
        axis: v3(0.0, -0.55, 0.83),
        outline,
        crosses: true,
        holes: Vec::new(),
        lift: 0.4,
        edge: 1.9,
        wall: 5.0,
        spacing: 8.0,
    };
    panel::build(&spec, |spot| {
        let c = mix(paint::CREAM, [196.0, 172.0, 136.0], 0.8 * smoothstep(-88.0, -104.0, spot.p.y));
        enamel(c, spot)
    })
}

/// One half of the skull.
fn skull() -> Part {
    let outline = smooth(
        &[
            form::front(13.0, 67.2),
            form::front(30.0, 66.8),
            form::front(48.0, 64.8),
            form::front(67.5, 56.0),
            form::front(77.3, 39.0),
            form::front(81.0, 12.0),
            form::front(82.0, -12.0),
            form::front(81.0, -29.0),
            form::front(80.4, -35.0),
            form::towards(v3(82.0, -36.6, 27.0)),
            form::towards(v3(84.5, -33.2, 19.0)),
            form::towards(v3(89.0, -26.6, 8.0)),
            form::towards(v3(91.0, -25.0, -8.0)),
            form::towards(v3(89.0, -41.0, -10.0)),
            form::towards(v3(82.0, -62.0, -8.0)),
            form::towards(v3(64.0, -82.0, -8.0)),
            form::towards(v3(48.0, -94.0, -18.0)),
            form::towards(v3(30.0, -96.0, -36.0)),
            form::towards(v3(13.0, -95.0, -48.0)),
            form::towards(v3(13.0, -70.0, -86.0)),
            form::towards(v3(13.0, -20.0, -98.0)),
            form::towards(v3(13.0, 40.0, -98.0)),
            form::towards(v3(13.0, 90.0, -80.0)),
            form::towards(v3(13.0, 125.0, -40.0)),
            form::towards(v3(13.0, 132.0, -6.0)),
            form::towards(v3(13.0, 125.0, 34.0)),
            form::towards(v3(13.0, 95.0, 64.0)),
        ],
        0.05,
        true,
    );
    let spec = Spec {
        axis: v3(1.0, 0.25, -0.25),
        outline,
        crosses: false,
        holes: Vec::new(),
        lift: 0.0,
        edge: 1.9,
        wall: 4.0,
        spacing: 10.0,
    };
    panel::build(&spec, |spot| {
        let c = mix(paint::YELLOW, paint::AMBER, 0.6 * smoothstep(-50.0, -96.0, spot.p.y));
        enamel(c, spot)
    })
}

/// The band over the head, from the brow to the nape.
fn crest() -> Part {
    let half = 11.4;
    let outline = smooth(
        &[
            form::front(0.0, 66.6),
            form::front(7.0, 66.8),
            form::front(half, 70.0),
            form::towards(v3(half, 95.0, 64.0)),
            form::towards(v3(half, 125.0, 34.0)),
            form::towards(v3(half, 132.0, -6.0)),
            form::towards(v3(half, 125.0, -40.0)),
            form::towards(v3(half, 90.0, -80.0)),
            form::towards(v3(half, 40.0, -98.0)),
            form::towards(v3(half, -20.0, -98.0)),
            form::towards(v3(half, -66.0, -84.0)),
            form::towards(v3(half, -88.0, -66.0)),
            form::towards(v3(7.0, -92.0, -60.0)),
            form::towards(v3(0.0, -92.5, -59.5)),
        ],
        0.05,
        false,
    );
    let spec = Spec {
        axis: v3(0.0, 1.0, -0.35),
        outline,
        crosses: true,
        holes: Vec::new(),
        lift: 1.6,
        edge: 2.0,
        wall: 4.0,
        spacing: 8.0,
    };
    panel::build(&spec, |spot| enamel(paint::TEAL, spot))
}

/// Middle of the left cheek in the front view.
const CHEEK: (f64, f64) = (64.0, -41.0);

/// The left cheek plate: a lens that lies on the face.
fn cheek_plate() -> Part {
    let n = 30;
    let lean = 24.0_f64.to_radians();
    let outline = (0..n)
        .map(|k| {
            let (sin, cos) = (TAU * k as f64 / n as f64).sin_cos();
            let (a, b) = (13.5 * cos, 9.0 * sin);
            form::front(CHEEK.0 + a * lean.cos() - b * lean.sin(), CHEEK.1 + a * lean.sin() + b * lean.cos())
        })
        .collect();
    let spec = Spec {
        axis: form::front(CHEEK.0, CHEEK.1),
        outline,
        crosses: false,
        holes: Vec::new(),
        lift: 2.2,
        edge: 2.4,
        wall: 3.0,
        spacing: 5.0,
    };
    let mut part = panel::build(&spec, |spot| {
        let c = mix([210.0, 92.0, 70.0], paint::CORAL, smoothstep(0.0, 7.0, spot.inside));
        enamel(c, spot)
    });
    // Domed like a button.
    let n = form::normal(form::front(CHEEK.0, CHEEK.1));
    let centre = form::face(CHEEK.0, CHEEK.1);
    let dome = |p: Vec3| {
        let d = p - centre;
        let flat = d - n * d.dot(n);
        2.6 * (1.0 - (flat.length() / 13.5).powi(2)).max(0.0)
    };
    for (p, normal) in part.points.iter_mut().zip(&mut part.normals) {
        let d = *p - centre;
        let flat = d - n * d.dot(n);
        *p += n * dome(*p);
        *normal = (*normal + flat * (5.2 / (13.5 * 13.5))).normalized();
    }
    part
}

/// Cheeks with their moves.
fn cheeks() -> Part {
    let mut part = both(cheek_plate());
    let n = form::normal(form::front(CHEEK.0, CHEEK.1));
    let centre = form::face(CHEEK.0, CHEEK.1);
    let slide = |dx: f64, dy: f64, out: f64| form::face(CHEEK.0 + dx, CHEEK.1 + dy) - centre + n * out;
    part.deltas = shapes::moves(&part.points, 0.0, |stem, _, p| {
        let high = smoothstep(-46.0, -30.0, p.y);
        match stem {
            "CheekSquint" => slide(-1.5, 7.5, 2.4) + v3(0.0, 0.0, 2.4 * high),
            "EyeSquint" => slide(-0.4, 2.0, 0.8),
            "MouthCornerPull" => slide(1.0, 2.4, 1.0),
            "MouthCornerSlant" => slide(0.0, 3.4, 1.4) + v3(0.0, 0.0, 1.2 * high),
            "MouthFrown" => slide(0.0, -2.0, 0.0),
            "MouthStretch" => slide(1.0, -1.6, 0.0),
            "MouthDimple" => n * 1.4,
            "NoseSneer" => slide(-1.5, 2.6, 1.2),
            "CheekPuff" => {
                let d = p - centre;
                n * 4.2 + (d - n * d.dot(n)) * 0.12
            }
            "LipPuckerUpper" => slide(-1.6, 0.0, -0.4),
            "JawOpen" => slide(0.0, -1.2, 0.0),
            _ => Vec3::ZERO,
        }
    });
    part
}

/// The nose: a large rivet, what else.
fn nose() -> Part {
    const AROUND: usize = 20;
    let at = v3(0.0, -30.5, form::face(0.0, -30.5).z - 1.5);
    let frame = Frame { at, axis: v3(0.0, 0.12, 1.0).normalized() };
    let profile = [
        knot(9.6, 0.0, 0.0, paint::IRON),
        knot(9.6, 3.6, 1.0, paint::STEEL),
        knot(7.6, 4.0, 0.0, paint::IRON),
        knot(7.1, 5.4, 0.0, paint::STEEL),
        knot(5.9, 7.6, 0.0, paint::STEEL),
        knot(3.6, 9.2, 0.0, paint::STEEL),
        knot(0.0, 9.8, 0.0, paint::STEEL),
    ];
    let mut part = turned(&frame, &profile, AROUND);
    // Exactly symmetric, whatever the sines are.
    for ring in 0..part.points.len() / AROUND {
        let row = ring * AROUND;
        for k in 0..AROUND {
            let twin = row + (AROUND / 2 + AROUND - k) % AROUND;
            if twin == row + k {
                part.points[twin].x = 0.0;
                part.normals[twin].x = 0.0;
            } else if part.points[row + k].x > 0.0 {
                part.points[twin] = part.points[row + k].mirrored();
                part.normals[twin] = part.normals[row + k].mirrored();
            }
        }
    }
    part.deltas = shapes::moves(&part.points, 30.0, |stem, _, _| match stem {
        // So wide an overlap of the sides lifts the whole rivet and tilts it.
        "NoseSneer" => v3(0.4, 4.4, 1.0),
        "MouthUpperUp" => v3(0.0, 0.7, 0.0),
        "MouthRaiserUpper" => v3(0.0, 0.9, 0.4),
        "MouthUpper" => v3(1.2, 0.0, 0.0),
        "LipFunnelUpper" | "LipPuckerUpper" => v3(0.0, -0.7, 0.5),
        "LipSuckUpper" => v3(0.0, -1.2, 0.0),
        _ => Vec3::ZERO,
    });
    part
}

/// Rivets on plates that do not move.
fn rivets() -> Part {
    let mut left = Part::default();
    let mut add = |direction: Vec3, lift: f64, r: f64, colour: Colour| {
        let n = form::normal(direction);
        join(&mut left, rivet(form::skin(direction) + n * lift, n, r, colour));
    };
    // Along the skull's front edge and the crest.
    for (x, y) in [(22.0, 73.0), (44.0, 71.0), (63.0, 64.5)] {
        add(form::front(x, y), 0.0, 2.3, paint::STEEL);
    }
    for (y, z) in [(86.0, 66.0), (112.0, 48.0), (126.0, 20.0), (126.0, -34.0), (98.0, -76.0)] {
        add(form::towards(v3(19.0, y, z)), 0.0, 2.3, paint::STEEL);
    }
    add(form::front(7.0, 59.0), 0.0, 1.7, paint::STEEL);
    add(form::front(74.0, -26.0), 0.0, 1.7, paint::STEEL);
    add(form::front(73.5, 36.0), 0.0, 1.7, paint::STEEL);
    both(left)
}

/// Rivets of the jaw, with its moves.
fn jaw_rivets() -> Part {
    let mut left = Part::default();
    for direction in [
        form::front(17.0, -91.5),
        form::front(47.0, -80.0),
        form::towards(v3(73.0, -54.0, 24.0)),
        form::towards(v3(79.0, -42.0, 8.0)),
    ] {
        let n = form::normal(direction);
        join(&mut left, rivet(form::skin(direction) + n * 0.4, n, 2.3, paint::STEEL));
    }
    both(left)
}

/// Ear discs with their hubs.
fn ears() -> Part {
    let frame = Frame { at: v3(82.0, -8.0, -8.0), axis: v3(1.0, 0.04, 0.06).normalized() };
    let profile = [
        knot(29.0, 0.0, 0.0, paint::DEEP_TEAL),
        knot(29.0, 14.0, 2.4, paint::TEAL),
        knot(23.0, 16.0, 0.0, paint::TEAL),
        knot(20.5, 13.0, 0.0, paint::DARK),
        knot(17.5, 13.0, 0.0, paint::CREAM),
        knot(15.5, 17.5, 1.2, paint::CREAM),
        knot(8.0, 19.5, 0.0, paint::CREAM),
        knot(6.8, 18.0, 0.0, paint::DARK),
        knot(5.6, 18.0, 0.0, paint::STEEL),
        knot(4.6, 21.5, 0.0, paint::STEEL),
        knot(0.0, 22.2, 0.0, paint::STEEL),
    ];
    let mut left = turned(&frame, &profile, 24);
    for k in 0..6 {
        let (sin, cos) = (TAU * (k as f64 + 0.5) / 6.0).sin_cos();
        let at = frame.at + v3(15.0, 26.0 * sin, 26.0 * cos);
        join(&mut left, rivet(at, frame.axis, 1.7, paint::STEEL));
    }
    both(left)
}

/// Foot of the antenna's lamp. It leans: a life's dent.
const LAMP: Vec3 = v3(7.0, 151.0, -14.0);

/// The antenna's frame and length.
fn rod() -> (Frame, f64) {
    let at = form::skin(form::towards(v3(0.0, 132.0, -14.0)));
    (Frame { at, axis: (LAMP - at).normalized() }, (LAMP - at).length())
}

/// The antenna shows what the brows do: it slides out of its foot and back. Each side does half of it.
fn perk(part: &mut Part) {
    let (frame, high) = rod();
    part.deltas = shapes::moves(&part.points, 1000.0, |stem, _, p| {
        let share = smoothstep(12.5, high - 3.0, (p - frame.at).dot(frame.axis));
        let reach = match stem {
            "BrowInnerUp" => 5.0,
            "BrowOuterUp" => 4.0,
            "EyeWide" => 4.0,
            "BrowLowerer" => -3.0,
            _ => 0.0,
        };
        frame.axis * (reach * share)
    });
}

/// The antenna's foot and rod.
fn antenna() -> Part {
    let (frame, high) = rod();
    let profile = [
        knot(11.0, -2.0, 0.0, paint::IRON),
        knot(11.0, 3.4, 1.4, paint::STEEL),
        knot(6.0, 6.0, 0.0, paint::STEEL),
        knot(4.4, 10.0, 0.0, paint::RUBBER),
        knot(3.2, 11.5, 0.0, paint::STEEL),
        knot(1.7, 14.0, 0.0, paint::STEEL),
        knot(1.5, high - 2.0, 0.0, paint::STEEL),
        knot(4.2, high - 1.0, 0.0, paint::IRON),
        knot(4.2, high + 2.0, 0.0, paint::IRON),
        knot(0.0, high + 2.4, 0.0, paint::IRON),
    ];
    let mut part = turned(&frame, &profile, 12);
    perk(&mut part);
    part
}

/// The lamp on the antenna.
pub fn lamp() -> Part {
    let mut part = solid::ellipsoid(LAMP + v3(2.0, 6.8, 0.0), v3(7.0, 7.4, 7.0), 9, 16, |d| {
        mix([255.0, 120.0, 40.0], [255.0, 214.0, 120.0], smoothstep(-0.6, 0.8, d.y))
    });
    perk(&mut part);
    part
}

/// The dark body under the plates, hollow at the eyes and the mouth.
pub fn core() -> Part {
    const ROWS: usize = 16;
    const AROUND: usize = 26;
    let mut part = Part::default();
    for r in 0..=ROWS {
        let (sin, cos) = (std::f64::consts::PI * r as f64 / ROWS as f64).sin_cos();
        for k in 0..AROUND {
            let (s, c) = (TAU * k as f64 / AROUND as f64).sin_cos();
            let d = v3(sin * s, cos, sin * c).normalized();
            let p = form::plain(d);
            let mut at = form::MIDDLE + (p - form::MIDDLE) * 0.93;
            let eye = ((p.x.abs() - EYE.x).powi(2) + p.y.powi(2)).sqrt();
            let mouth = ((p.x / 52.0).powi(2) + ((p.y + 63.0) / 30.0).powi(2)).sqrt();
            let hollow = smoothstep(43.0, 37.0, eye).max(smoothstep(1.15, 0.95, mouth)) * smoothstep(0.0, 30.0, p.z);
            at.z += (22.0 - at.z).min(0.0) * hollow;
            part.points.push(at);
            part.colours.push(opaque(paint::DARK));
        }
    }
    part.faces = mesh::lattice(0, ROWS + 1, AROUND, true);
    part.normals = mesh::normals(&part.points, &part.faces);
    part
}

/// The rubber behind the seam between face and jaw: pleats that spread when the jaw drops.
pub fn gusset() -> Part {
    const ROWS: usize = 7;
    let chain = seam(0.0);
    let mut left = Part::default();
    let mut share = Vec::new();
    for r in 0..ROWS {
        let t = r as f64 / (ROWS - 1) as f64;
        for d in &chain {
            let n = form::normal(*d);
            let deep = if r % 2 == 1 { 4.6 } else { 3.2 };
            left.points.push(form::skin(*d) - n * deep + v3(0.0, 3.0 * (0.5 - t), 0.0));
            left.colours.push(opaque(if r % 2 == 1 { paint::DARK } else { paint::RUBBER }));
            share.push((t, n * if r % 2 == 1 { -2.0 } else { 0.6 }));
        }
    }
    left.faces = mesh::lattice(0, ROWS, chain.len(), false);
    let count = left.points.len();
    let mut part = both(left);
    part.deltas = shapes::moves(&part.points, 0.0, |stem, v, p| {
        let (t, pleat) = share[v % count];
        let d = jaw::carry(stem, p) * t;
        if stem == "JawOpen" { d + pleat } else { d }
    });
    // The jaw also shifts to the side, of both halves alike.
    part
}

/// Plates that do not move.
pub fn fixed() -> Part {
    let mut part = Part::default();
    join(&mut part, face_plate());
    join(&mut part, both(skull()));
    join(&mut part, crest());
    join(&mut part, ears());
    part
}

/// Steel trims that do not move.
pub fn steel() -> Part {
    let mut part = Part::default();
    join(&mut part, rivets());
    join(&mut part, antenna());
    part
}

/// Jaw with its rivets, moving as one.
pub fn jaw_shell() -> Part {
    let mut part = jaw_plate();
    join(&mut part, jaw_rivets());
    part.deltas = shapes::moves(&part.points, 0.0, |stem, _, p| jaw::carry(stem, p));
    part
}

/// Cheeks and nose, with their moves.
pub fn features() -> Part {
    let mut part = cheeks();
    join(&mut part, nose());
    part
}
