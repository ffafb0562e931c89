//! Hair: a cap on the skull and clumps of hair swept over it from a side parting.

use std::f64::consts::TAU;

use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt;
use crate::vec3::{Vec3, curve, lerp, smoothstep, v3};

/// Centre from which the hair's directions are measured.
const CENTRE: Vec3 = v3(0.0, 30.0, -8.0);

/// Direction for an azimuth (degrees from ahead, positive to the character's left) and an elevation.
fn direction(azimuth: f64, elevation: f64) -> Vec3 {
    let (a, e) = (azimuth.to_radians(), elevation.to_radians());
    v3(a.sin() * e.cos(), e.sin(), a.cos() * e.cos())
}

fn on_hair(direction: Vec3, lift: f64) -> Vec3 {
    sculpt::cast(sculpt::hair_body, CENTRE, direction) + direction.normalized() * lift
}

/// Elevation of the hairline by azimuth.
fn hairline(azimuth: f64) -> f64 {
    curve(
        &[
            (0.0, 29.0),
            (30.0, 27.0),
            (52.0, 19.0),
            (68.0, 2.0),
            (80.0, -12.0),
            (88.0, -9.0),
            (100.0, -2.0),
            (112.0, -20.0),
            (125.0, -42.0),
            (180.0, -47.0),
        ],
        azimuth.abs(),
    )
}

fn cap() -> Part {
    const ROWS: usize = 14;
    const COLUMNS: usize = 60;
    let mut part = Part::default();
    part.points.push(on_hair(v3(0.0, 1.0, 0.0), 5.0));
    part.colours.push(palette::opaque(palette::HAIR_ROOT));
    for r in 1..=ROWS {
        let t = r as f64 / ROWS as f64;
        for c in 0..COLUMNS {
            let azimuth = 360.0 * c as f64 / COLUMNS as f64;
            let azimuth = if azimuth > 180.0 { azimuth - 360.0 } else { azimuth };
            let elevation = lerp(90.0, hairline(azimuth), t);
            let lift = lerp(5.0, 3.0, t) - 9.0 * smoothstep(0.86, 1.0, t);
            part.points.push(on_hair(direction(azimuth, elevation), lift));
            part.colours.push(palette::opaque(mix(palette::HAIR_ROOT, palette::HAIR, 0.3)));
        }
    }
    for c in 0..COLUMNS {
        part.faces.push(vec![0, 1 + c, 1 + (c + 1) % COLUMNS]);
    }
    part.faces.extend(mesh::lattice(1, ROWS, COLUMNS, true));
    part
}

/// One clump of hair along three places (azimuth, elevation), lifted off the head along its way.
struct Lock {
    way: [(f64, f64); 3],
    lift: [f64; 3],
    width: f64,
    thick: f64,
    /// How far the tip turns away from the head.
    flick: f64,
    tone: f64,
}

impl Lock {
    fn build(&self) -> Part {
        const STEPS: usize = 18;
        const AROUND: usize = 10;
        let ends = self.way.map(|(a, e)| on_hair(direction(a, e), 0.0) - CENTRE);
        // Middle handle such that the curve passes through the middle place.
        let handle = ends[1] * 2.0 - (ends[0] + ends[2]) * 0.5;
        let centre_line = |t: f64| {
            let d = ends[0] * ((1.0 - t) * (1.0 - t)) + handle * (2.0 * t * (1.0 - t)) + ends[2] * (t * t);
            let lift = curve(&[(0.0, self.lift[0]), (0.5, self.lift[1]), (1.0, self.lift[2])], t);
            on_hair(d, lift + self.flick * smoothstep(0.7, 1.0, t))
        };
        let mut part = Part::default();
        for i in 0..STEPS {
            let t = i as f64 / (STEPS - 1) as f64;
            let p = centre_line(t);
            let along = (centre_line((t + 0.02).min(1.0)) - centre_line((t - 0.02).max(0.0))).normalized();
            let out = sculpt::gradient(sculpt::hair_body, p);
            let side = along.cross(out).normalized();
            let out = side.cross(along).normalized();
            let shape = curve(&[(0.0, 0.45), (0.2, 0.85), (0.5, 1.0), (0.8, 0.72), (0.94, 0.34), (1.0, 0.03)], t);
            let (width, thick) = (self.width * shape, self.thick * shape.powf(0.7));
            for k in 0..AROUND {
                let (sin, cos) = (TAU * k as f64 / AROUND as f64).sin_cos();
                // A soft ridge on the outside, flat within.
                let height = if sin > 0.0 { sin * thick } else { sin * thick * 0.5 };
                part.points.push(p + side * (cos * width) + out * height);
                let base = mix(palette::HAIR_ROOT, palette::HAIR, smoothstep(-0.1, 0.35, t));
                let c = mix(base, palette::HAIR_TIP, 0.75 * smoothstep(0.45, 1.05, t));
                let c = mix(c, palette::HAIR_ROOT, 0.45 * (-sin).max(0.0) + 0.22 * cos.abs());
                let c = mix(c, palette::HAIR_TIP, self.tone.max(0.0));
                part.colours.push(palette::opaque(mix(c, palette::HAIR_ROOT, (-self.tone).max(0.0))));
            }
        }
        for face in mesh::lattice(0, STEPS, AROUND, true) {
            part.faces.push(face);
        }
        part.faces.push((0..AROUND).collect());
        part.faces.push((0..AROUND).rev().map(|k| (STEPS - 1) * AROUND + k).collect());
        if volume(&part) < 0.0 {
            for face in &mut part.faces {
                face.reverse();
            }
        }
        part
    }
}

fn volume(part: &Part) -> f64 {
    let origin = part.points[0];
    let mut sum = 0.0;
    for face in &part.faces {
        for k in 1..face.len() - 1 {
            let (a, b, c) =
                (part.points[face[0]] - origin, part.points[face[k]] - origin, part.points[face[k + 1]] - origin);
            sum += a.dot(b.cross(c));
        }
    }
    sum
}

fn lock(way: [(f64, f64); 3], lift: [f64; 3], width: f64, thick: f64, flick: f64, tone: f64) -> Lock {
    Lock { way, lift, width, thick, flick, tone }
}

/// The clumps in front, by hand: the fringe falls from a parting on the character's left.
fn front_locks() -> Vec<Lock> {
    vec![
        // Fringe, swept to the character's right.
        lock([(20.0, 45.0), (-8.0, 27.0), (-50.0, 6.0)], [5.0, 9.0, 3.0], 15.0, 7.0, 3.0, 0.06),
        lock([(22.0, 52.0), (-16.0, 36.0), (-62.0, -4.0)], [5.0, 10.0, 4.0], 17.0, 8.0, 2.0, 0.0),
        lock([(25.0, 60.0), (-26.0, 45.0), (-72.0, -20.0)], [5.0, 10.0, 4.0], 18.0, 8.0, 3.0, 0.05),
        lock([(30.0, 68.0), (-45.0, 54.0), (-88.0, 2.0)], [5.0, 9.0, 6.0], 19.0, 8.0, 0.0, -0.04),
        lock([(24.0, 48.0), (4.0, 32.0), (-26.0, 15.0)], [6.0, 11.0, 5.0], 10.0, 5.0, 4.0, 0.1),
        // The short side.
        lock([(22.0, 45.0), (42.0, 30.0), (64.0, 2.0)], [5.0, 9.0, 4.0], 14.0, 7.0, 2.0, 0.05),
        lock([(24.0, 53.0), (52.0, 40.0), (76.0, -22.0)], [5.0, 9.0, 4.0], 15.0, 7.5, 3.0, 0.0),
        lock([(28.0, 62.0), (68.0, 46.0), (98.0, 4.0)], [5.0, 9.0, 6.0], 17.0, 8.0, 0.0, 0.04),
        // Thin strands before the ears.
        lock([(64.0, 20.0), (72.0, -12.0), (66.0, -44.0)], [2.0, 3.0, 0.0], 6.5, 4.0, -2.0, 0.05),
        lock([(-62.0, 20.0), (-72.0, -12.0), (-66.0, -46.0)], [2.0, 3.0, 0.0], 7.5, 4.0, -2.0, 0.02),
    ]
}

/// The clumps at the sides and the back: two layers of a short bob, swept back behind the ears.
fn back_locks() -> Vec<Lock> {
    const COUNT: usize = 13;
    let mut locks = Vec::new();
    for layer in 0..2 {
        for i in 0..COUNT {
            let u = (i as f64 + 0.5 * layer as f64) / (COUNT - 1) as f64;
            if u > 1.0 {
                continue;
            }
            let azimuth = lerp(110.0, 250.0, u);
            let edge = (2.0 * u - 1.0).abs();
            let root = lerp(azimuth, 180.0, 0.25);
            // Tips turn towards the neck and rise at the sides.
            let tip = lerp(-53.0, -49.0, edge) + if layer == 1 { 5.0 } else { 0.0 };
            let inwards = lerp(azimuth, 180.0, 0.08);
            let tone = if (i + layer) % 2 == 0 { 0.05 } else { -0.05 };
            locks.push(lock(
                [(root, 74.0), (azimuth, 12.0), (inwards, tip)],
                [5.0, 9.0 + 2.0 * layer as f64, 4.0 + 3.0 * layer as f64],
                19.0,
                8.0,
                if layer == 1 { 5.0 } else { -4.0 },
                tone,
            ));
        }
    }
    // Over the ears, back from the temples.
    for side in [1.0, -1.0] {
        locks.push(lock(
            [(side * 50.0, 58.0), (side * 88.0, 26.0), (side * 122.0, -20.0)],
            [6.0, 8.0, 9.0],
            17.0,
            8.0,
            0.0,
            0.03,
        ));
        locks.push(lock(
            [(side * 60.0, 34.0), (side * 84.0, 14.0), (side * 116.0, -12.0)],
            [4.0, 6.0, 8.0],
            13.0,
            7.0,
            0.0,
            -0.03,
        ));
        locks.push(lock(
            [(side * 70.0, 72.0), (side * 108.0, 42.0), (side * 128.0, -10.0)],
            [6.0, 9.0, 10.0],
            19.0,
            8.0,
            0.0,
            0.0,
        ));
    }
    // Crown.
    for (a, b) in [(60.0, 150.0), (100.0, 175.0), (20.0, -170.0), (-30.0, -150.0)] {
        locks.push(lock([(a, 80.0), (b, 62.0), (b, 20.0)], [6.0, 9.0, 9.0], 20.0, 8.0, 0.0, 0.0));
    }
    locks
}

/// All hair.
pub fn build() -> Part {
    let mut part = cap();
    for lock in front_locks().iter().chain(&back_locks()) {
        part.append(lock.build());
    }
    part
}
