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
            (0.0, 31.0),
            (30.0, 30.0),
            (52.0, 18.0),
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
            part.colours.push(palette::opaque(mix(palette::HAIR_ROOT, palette::HAIR, 0.75)));
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
    /// Whether the tip is broad, as cut straight.
    blunt: bool,
}

impl Lock {
    fn build(&self) -> Part {
        const STEPS: usize = 15;
        const AROUND: usize = 16;
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
            let shape = if self.blunt {
                curve(&[(0.0, 0.12), (0.25, 0.7), (0.5, 1.0), (0.82, 0.95), (0.93, 0.72), (0.98, 0.4), (1.0, 0.08)], t)
            } else {
                curve(&[(0.0, 0.45), (0.2, 0.85), (0.5, 1.0), (0.8, 0.72), (0.94, 0.34), (1.0, 0.03)], t)
            };
            let (width, thick) = (self.width * shape, self.thick * shape.powf(0.7));
            for k in 0..AROUND {
                let (sin, cos) = (TAU * k as f64 / AROUND as f64).sin_cos();
                // A soft ridge on the outside, flat within.
                let height = if sin > 0.0 { sin * thick } else { sin * thick * 0.5 };
                // Strands: shallow grooves that run along the clump.
                let groove = 1.0 + 0.10 * (5.0 * TAU * k as f64 / AROUND as f64).cos() * smoothstep(0.0, 0.15, t);
                part.points.push(p + side * (cos * width) + out * (height * groove));
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
        part.face_outwards();
        part
    }
}

fn lock(way: [(f64, f64); 3], lift: [f64; 3], width: f64, thick: f64, flick: f64, tone: f64) -> Lock {
    Lock { way, lift, width, thick, flick, tone, blunt: false }
}

/// The clumps in front, by hand: the fringe falls from a parting on the character's left.
fn front_locks() -> Vec<Lock> {
    vec![
        // Fringe, swept to the character's right.
        lock([(20.0, 45.0), (-8.0, 22.0), (-51.0, 1.0)], [5.0, 9.0, 3.0], 16.0, 7.0, 3.0, 0.06),
        lock([(22.0, 52.0), (-16.0, 36.0), (-62.0, -4.0)], [5.0, 10.0, 4.0], 17.0, 8.0, 2.0, 0.0),
        lock([(25.0, 60.0), (-26.0, 45.0), (-72.0, -20.0)], [5.0, 10.0, 4.0], 18.0, 8.0, 3.0, 0.05),
        lock([(30.0, 68.0), (-45.0, 54.0), (-88.0, 2.0)], [5.0, 9.0, 6.0], 19.0, 8.0, 0.0, -0.04),
        lock([(24.0, 48.0), (2.0, 26.0), (-24.0, 6.0)], [6.0, 11.0, 5.0], 11.0, 5.0, 3.0, 0.03),
        lock([(36.0, 76.0), (-66.0, 62.0), (-108.0, 6.0)], [4.0, 9.0, 8.0], 20.0, 8.0, 0.0, 0.03),
        // The short side.
        lock([(34.0, 74.0), (88.0, 54.0), (112.0, 4.0)], [4.0, 9.0, 8.0], 18.0, 8.0, 0.0, -0.03),
        lock([(22.0, 45.0), (43.0, 25.0), (61.0, -6.0)], [5.0, 9.0, 4.0], 15.0, 7.0, 2.0, 0.05),
        lock([(24.0, 53.0), (52.0, 40.0), (76.0, -22.0)], [5.0, 9.0, 4.0], 15.0, 7.5, 3.0, 0.0),
        lock([(28.0, 62.0), (68.0, 46.0), (98.0, 4.0)], [5.0, 9.0, 6.0], 17.0, 8.0, 0.0, 0.04),
        lock([(21.0, 46.0), (30.0, 29.0), (47.0, 13.0)], [6.0, 10.0, 4.0], 9.0, 5.0, 3.0, 0.03),
        // Thin strands before the ears.
        lock([(64.0, 20.0), (72.0, -12.0), (66.0, -44.0)], [2.0, 3.0, 0.0], 6.5, 4.0, -2.0, 0.05),
        lock([(-62.0, 20.0), (-72.0, -12.0), (-66.0, -46.0)], [2.0, 3.0, 0.0], 7.5, 4.0, -2.0, 0.02),
    ]
}

/// The clumps at the sides and the back: two layers of a short bob, swept back behind the ears.
fn back_locks() -> Vec<Lock> {
    const COUNT: usize = 13;
    /// Uneven lengths, so that the bob is not a comb.
    const TIPS: [f64; 7] = [0.0, 2.2, -1.2, 1.4, -2.0, 0.6, -0.8];
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
            let tip =
                lerp(-53.0, -49.0, edge) + if layer == 1 { 5.0 } else { 0.0 } + TIPS[(i * 2 + layer) % TIPS.len()];
            let inwards = lerp(azimuth, 180.0, 0.08);
            let tone = if (i + layer) % 2 == 0 { 0.05 } else { -0.05 };
            let strand = lock(
                [(root, 83.0), (azimuth, 16.0), (inwards, tip)],
                [4.0, 9.0 + 2.0 * layer as f64, 6.0 + 3.0 * layer as f64],
                21.5,
                8.0,
                if layer == 1 { 2.0 } else { -6.0 },
                tone,
            );
            locks.push(Lock { blunt: true, ..strand });
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
            [(side * 57.0, 27.0), (side * 78.0, 7.0), (side * 108.0, -3.0)],
            [2.0, 4.0, 7.0],
            9.0,
            6.0,
            0.0,
            0.0,
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
            [(side * 75.0, 80.0), (side * 104.0, 42.0), (side * 128.0, -10.0)],
            [6.0, 9.0, 10.0],
            19.0,
            8.0,
            0.0,
            0.0,
        ));
    }
    locks
}

/// A small ear stud.
fn stud(at: Vec3) -> Part {
    const RINGS: usize = 6;
    const AROUND: usize = 10;
    const RADIUS: f64 = 3.0;
    let mut part = Part::default();
    for r in 0..=RINGS {
        let (sin, cos) = (std::f64::consts::PI * (r as f64 + 0.02) / (RINGS as f64 + 0.04)).sin_cos();
        for k in 0..AROUND {
            let (s, c) = (TAU * k as f64 / AROUND as f64).sin_cos();
            part.points.push(at + v3(s * sin, cos, c * sin) * RADIUS);
            part.colours.push(palette::opaque(palette::TRIM));
        }
    }
    part.faces = mesh::lattice(0, RINGS + 1, AROUND, true);
    part
}

/// All hair.
pub fn build() -> Part {
    let mut part = cap();
    for side in [1.0, -1.0] {
        part.append(stud(v3(side * 82.0, -29.5, -11.5)));
    }
    for lock in front_locks().iter().chain(&back_locks()) {
        part.append(lock.build());
    }
    part
}
