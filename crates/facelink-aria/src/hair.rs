//! Hair: a cap on the skull and clumps of hair swept over it from a side parting.

use std::f64::consts::TAU;

use crate::detail::Detail;
use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::sculpt;
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

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

/// Azimuth at which the parting meets the hairline.
const PARTING: f64 = 21.0;

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

/// How far a place on the skin is in the hair's own shade: it deepens towards the hairline.
pub fn shade(p: Vec3) -> f64 {
    let d = p - CENTRE;
    let azimuth = d.x.abs().atan2(d.z).to_degrees();
    let elevation = d.y.atan2(d.x.hypot(d.z)).to_degrees();
    smoothstep(-9.0, 1.0, elevation - hairline(azimuth)) * smoothstep(-20.0, 0.0, elevation)
}

fn cap(detail: Detail) -> Part {
    let rows = detail.of(14, 7);
    let columns = detail.of(60, 30);
    let mut part = Part::default();
    part.points.push(on_hair(v3(0.0, 1.0, 0.0), 5.0));
    part.colours.push(palette::opaque(palette::HAIR_ROOT));
    for r in 1..=rows {
        let t = r as f64 / rows as f64;
        for c in 0..columns {
            let azimuth = 360.0 * c as f64 / columns as f64;
            let azimuth = if azimuth > 180.0 { azimuth - 360.0 } else { azimuth };
            let elevation = lerp(90.0, hairline(azimuth), t);
            let lift = lerp(5.0, 3.0, t) - 9.0 * smoothstep(0.86, 1.0, t);
            part.points.push(on_hair(direction(azimuth, elevation), lift));
            part.colours.push(palette::opaque(mix(palette::HAIR_ROOT, palette::HAIR, 0.75)));
        }
    }
    for c in 0..columns {
        part.faces.push(vec![0, 1 + c, 1 + (c + 1) % columns]);
    }
    part.faces.extend(mesh::lattice(1, rows, columns, true));
    part
}

/// A number in 0..1 that belongs to `seed`, always the same.
fn chance(seed: u64) -> f64 {
    let mut h = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    h = (h ^ (h >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((h ^ (h >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The same, spread over -1..1.
fn swing(seed: u64) -> f64 {
    2.0 * chance(seed) - 1.0
}

/// One clump of hair along three places (azimuth, elevation), lifted off the head along its length.
struct Lock {
    path: [(f64, f64); 3],
    lift: [f64; 3],
    width: f64,
    thick: f64,
    /// How far the tip turns away from the head.
    flick: f64,
    tone: f64,
    /// Whether the tip is broad, as cut straight.
    blunt: bool,
}

/// A place along a clump: its middle, and across and out of the head there.
#[derive(Clone, Copy)]
struct Station {
    at: Vec3,
    side: Vec3,
    out: Vec3,
}

/// Places along a clump at which its path is evaluated.
const STATIONS: usize = 25;

impl Lock {
    fn stations(&self) -> Vec<Station> {
        let ends = self.path.map(|(a, e)| on_hair(direction(a, e), 0.0) - CENTRE);
        // Middle handle such that the curve passes through the middle place.
        let handle = ends[1] * 2.0 - (ends[0] + ends[2]) * 0.5;
        let centre_line = |t: f64| {
            let d = ends[0] * ((1.0 - t) * (1.0 - t)) + handle * (2.0 * t * (1.0 - t)) + ends[2] * (t * t);
            let lift = curve(&[(0.0, self.lift[0]), (0.5, self.lift[1]), (1.0, self.lift[2])], t);
            on_hair(d, lift + self.flick * smoothstep(0.7, 1.0, t))
        };
        (0..STATIONS)
            .map(|i| {
                let t = i as f64 / (STATIONS - 1) as f64;
                let at = centre_line(t);
                let along = (centre_line((t + 0.02).min(1.0)) - centre_line((t - 0.02).max(0.0))).normalized();
                let out = sculpt::gradient(sculpt::hair_body, at);
                let side = along.cross(out).normalized();
                Station { at, side, out: side.cross(along).normalized() }
            })
            .collect()
    }

    /// Half width and height of the clump as shares of its own.
    fn girth(&self, t: f64) -> (f64, f64) {
        let shape = if self.blunt {
            curve(&[(0.0, 0.12), (0.25, 0.7), (0.5, 1.0), (0.82, 0.95), (0.93, 0.78), (0.98, 0.6), (1.0, 0.4)], t)
        } else {
            curve(&[(0.0, 0.40), (0.2, 0.85), (0.5, 1.0), (0.8, 0.72), (0.94, 0.36), (1.0, 0.08)], t)
        };
        // It rises softly out of the parting.
        (shape, shape.powf(0.7) * curve(&[(0.0, 0.12), (0.12, 0.55), (0.32, 1.0), (1.0, 1.0)], t))
    }

    /// Hair colour at `t` along a clump, 0 at the root; `tone` lightens or darkens.
    fn colour(t: f64, tone: f64, shine: f64) -> palette::Colour {
        let base = mix(palette::HAIR_ROOT, palette::HAIR, smoothstep(-0.12, 0.3, t));
        let c = mix(base, palette::HAIR_TIP, 0.7 * smoothstep(0.4, 1.05, t));
        let c = mix(c, palette::HAIR_SHINE, shine);
        if tone > 0.0 { mix(c, palette::HAIR_TIP, tone) } else { mix(c, palette::HAIR_ROOT, -tone) }
    }

    /// The body of the clump: the dark depth between the strands.
    fn body(&self, stations: &[Station], detail: Detail) -> Part {
        let steps = detail.of(9, 7);
        let around = detail.of(8, 6);
        let mut part = Part::default();
        for i in 0..steps {
            let t = i as f64 / (steps - 1) as f64;
            let here = stations[i * (STATIONS - 1) / (steps - 1)];
            let (wide, high) = self.girth(t);
            // It ends within the strands, so that no blunt end shows.
            let (wide, high) = (wide * smoothstep(1.03, 0.86, t), high * smoothstep(1.03, 0.8, t));
            for k in 0..around {
                let (sin, cos) = (TAU * k as f64 / around as f64).sin_cos();
                // A soft ridge on the outside, flat within.
                let height = if sin > 0.0 { sin } else { sin * 0.5 } * self.thick * high;
                part.points.push(here.at + here.side * (cos * self.width * wide * 0.94) + here.out * (height - 0.5));
                part.colours.push(palette::opaque(Self::colour(t, self.tone - detail.of(0.4, 0.12), 0.0)));
            }
        }
        part.faces.extend(mesh::lattice(0, steps, around, true));
        part.faces.push((0..around).collect());
        part.faces.push((0..around).rev().map(|k| (steps - 1) * around + k).collect());
        part.face_outwards();
        part
    }

    /// The strands that lie over the clump and show its flow.
    fn strands(&self, stations: &[Station], seed: u64, detail: Detail) -> Part {
        // Millimetres between the middles of two strands.
        let spacing = detail.of(4.4, 8.8);
        let mut part = Part::default();
        let count = ((2.0 * self.width + self.thick) / spacing).round().max(detail.of(3.0, 2.0)) as usize;
        for n in 0..count {
            let seed = seed * 1000 + n as u64 * 16;
            let place = (n as f64 + 0.5 + 0.22 * swing(seed)) / count as f64;
            let strand = Strand {
                angle: lerp(172.0, 8.0, place).to_radians(),
                wander: 0.035 * swing(seed + 1),
                phase: TAU * chance(seed + 2),
                from: 0.05 * chance(seed + 3).powi(2),
                to: 1.0 - 0.16 * chance(seed + 4).powi(2),
                lift: 0.45 + 0.15 * chance(seed + 5),
                width: spacing * (detail.of(0.66, 0.8) + 0.2 * chance(seed + 6)),
                thick: detail.of(1.2, 1.5) + 0.4 * chance(seed + 7),
                tone: self.tone + 0.15 * swing(seed + 8),
                shine: 0.35 + 0.08 * swing(seed + 9),
            };
            part.append(strand.build(self, stations, detail));
        }
        // A few hairs that do not keep to it, too thin to be seen from afar.
        for n in 0..detail.of(2, 0) {
            let seed = seed * 1000 + 900 + n * 16;
            let strand = Strand {
                angle: lerp(150.0, 30.0, chance(seed)).to_radians(),
                wander: 0.45 * swing(seed + 1),
                phase: TAU * chance(seed + 2),
                from: 0.15 + 0.2 * chance(seed + 3),
                to: 1.0,
                lift: 1.2 + 2.4 * chance(seed + 5),
                width: 0.42,
                thick: 0.42,
                tone: self.tone + 0.1 * swing(seed + 8),
                shine: 0.35,
            };
            part.append(strand.build(self, stations, detail));
        }
        part
    }
}

/// How far a strand leans over to one side: the tangent.
const SHINGLE: f64 = 0.24;

/// A tapered strand on a clump.
struct Strand {
    /// Where it lies across the clump: the angle in its section.
    angle: f64,
    /// How far it strays from there, and where along its length.
    wander: f64,
    phase: f64,
    /// Where along the clump it begins and ends.
    from: f64,
    to: f64,
    lift: f64,
    width: f64,
    thick: f64,
    tone: f64,
    /// Where the light lies on it.
    shine: f64,
}

impl Strand {
    fn build(&self, lock: &Lock, stations: &[Station], detail: Detail) -> Part {
        let steps = detail.of(10, 7);
        let around = 4;
        let at = |t: f64| {
            let t = t.clamp(0.0, 1.0);
            let x = t * (STATIONS - 1) as f64;
            let i = (x as usize).min(STATIONS - 2);
            let (a, b, k) = (stations[i], stations[i + 1], x - i as f64);
            let (here, side, out) = (a.at.lerp(b.at, k), a.side.lerp(b.side, k), a.out.lerp(b.out, k));
            let (wide, high) = lock.girth(t);
            // Tips do not all run into one point.
            let wide = wide.max(0.34 * smoothstep(0.5, 1.0, t)) * lock.width;
            let high = high * lock.thick;
            let angle = self.angle + self.wander * (self.phase + 4.0 * t).sin() * smoothstep(0.0, 0.3, t);
            let (sin, cos) = angle.sin_cos();
            let normal = (side * (cos / wide.max(0.5)) + out * (sin / high.max(0.5))).normalized();
            let lift = self.lift * smoothstep(0.0, 0.35, t);
            (here + side * (cos * wide) + out * (sin * high) + normal * lift, normal)
        };
        let mut part = Part::default();
        for i in 0..steps {
            let u = i as f64 / (steps - 1) as f64;
            let t = lerp(self.from, self.to, u);
            let (here, normal) = at(t);
            let along = (at((t + 0.02).min(1.0)).0 - at((t - 0.02).max(0.0)).0).normalized();
            // Like shingles: each dips under its neighbour on one side, so that no two cut through each other.
            let normal = (normal + along.cross(normal) * SHINGLE).normalized();
            let side = along.cross(normal).normalized();
            let out = side.cross(along).normalized();
            let girth = curve(&[(0.0, 0.2), (0.12, 0.7), (0.35, 1.0), (0.65, 0.92), (0.88, 0.5), (1.0, 0.03)], u);
            let shine = 0.42 * bell((t - self.shine) / 0.13);
            for k in 0..around {
                // One edge on top, one at each side, one beneath.
                let (sin, cos) = (TAU * (k as f64 / around as f64 + 0.25)).sin_cos();
                let height = if sin > 0.0 { sin } else { 0.4 * sin };
                let p = here + side * (cos * self.width * girth) + out * (height * self.thick * girth.sqrt());
                part.points.push(p);
                // Darker towards its edges and beneath.
                let edge = if sin > 0.5 { 0.0 } else { detail.of(0.2, 0.14) };
                part.colours.push(palette::opaque(Lock::colour(t, self.tone - edge, shine)));
            }
        }
        part.faces.extend(mesh::lattice(0, steps, around, true));
        part.faces.push((0..around).collect());
        part.faces.push((0..around).rev().map(|k| (steps - 1) * around + k).collect());
        part.face_outwards();
        part
    }
}

fn lock(path: [(f64, f64); 3], lift: [f64; 3], width: f64, thick: f64, flick: f64, tone: f64) -> Lock {
    Lock { path, lift, width, thick, flick, tone, blunt: false }
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
        // At the front end of the parting, down to the hairline.
        lock([(20.6, 33.5), (7.0, 24.5), (-17.0, 9.0)], [0.5, 7.0, 4.0], 9.0, 4.5, 2.0, -0.02),
        lock([(21.4, 33.5), (31.0, 22.0), (44.0, 6.0)], [0.5, 7.0, 4.0], 8.5, 4.5, 2.0, 0.02),
        // Loose ones: out of the fringe, next to the cheek, off the crown.
        lock([(-14.0, 36.0), (-37.0, 22.0), (-49.0, -7.0)], [9.0, 13.5, 6.0], 2.6, 2.2, 4.0, 0.10),
        lock([(4.0, 40.0), (-22.0, 22.0), (-38.0, 2.0)], [9.0, 12.5, 6.0], 2.2, 2.0, 3.0, 0.06),
        lock([(36.0, 42.0), (58.0, 18.0), (63.0, -26.0)], [8.0, 11.0, 3.0], 2.4, 2.0, 4.0, 0.08),
        lock([(-58.0, 30.0), (-70.0, -4.0), (-62.0, -38.0)], [4.0, 6.0, 1.5], 2.6, 2.2, 4.0, 0.08),
        lock([(30.0, 70.0), (64.0, 66.0), (100.0, 50.0)], [4.0, 12.0, 15.0], 2.0, 1.8, 3.0, 0.05),
        lock([(28.0, 64.0), (-52.0, 72.0), (-96.0, 50.0)], [4.0, 12.5, 15.0], 2.0, 1.8, 3.0, 0.05),
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

/// Short fine hairs that grow over the hairline, so that it does not end in an edge.
fn first_hairs(detail: Detail) -> Part {
    const AROUND: usize = 3;
    let count: u64 = detail.of(130, 52);
    let steps = detail.of(6, 3);
    let mut part = Part::default();
    for i in 0..count {
        let seed = 500_000 + i * 16;
        let azimuth = lerp(-74.0, 78.0, (i as f64 + 0.5 * chance(seed)) / count as f64);
        let foot = hairline(azimuth) - 3.0 + 2.6 * swing(seed + 1);
        // Away from the parting, and back.
        let sweep = if azimuth > PARTING { 1.0 } else { -1.0 } * (7.0 + 7.0 * chance(seed + 2));
        let rise = 8.0 + 5.0 * chance(seed + 3);
        let (wide, tone) = (detail.of(1.0, 2.0) * (0.42 + 0.3 * chance(seed + 4)), 0.1 * swing(seed + 5) - 0.1);
        let at = |t: f64| {
            let d = direction(azimuth + sweep * t * t, foot + rise * t * (1.0 - 0.3 * t));
            let skin = sculpt::cast(sculpt::head, CENTRE, d);
            let hair = on_hair(d, 5.0);
            skin.lerp(hair, smoothstep(0.1, 0.9, t)) + d.normalized() * 0.1
        };
        let base = part.points.len();
        for step in 0..steps {
            let t = step as f64 / (steps - 1) as f64;
            let p = at(t);
            let along = (at(t + 0.02) - at(t - 0.02)).normalized();
            let side = along.cross(p - CENTRE).normalized();
            let out = side.cross(along).normalized();
            let girth = wide * curve(&[(0.0, 0.08), (0.5, 0.9), (1.0, 1.0)], t);
            for k in 0..AROUND {
                let (sin, cos) = (TAU * (k as f64 / AROUND as f64 + 0.25)).sin_cos();
                part.points.push(p + side * (girth * cos) + out * (0.6 * girth * sin));
                let c = Lock::colour(0.12 + 0.15 * t, tone, 0.0);
                // Its foot is nearly skin.
                part.colours.push(palette::opaque(mix(palette::SHADE, c, smoothstep(0.0, 0.45, t))));
            }
        }
        let mut strand = Part { points: part.points[base..].to_vec(), ..Part::default() };
        strand.faces = mesh::lattice(0, steps, AROUND, true);
        strand.faces.push((0..AROUND).collect());
        strand.faces.push((0..AROUND).rev().map(|k| (steps - 1) * AROUND + k).collect());
        strand.face_outwards();
        part.faces.extend(strand.faces.into_iter().map(|face| face.into_iter().map(|v| v + base).collect()));
    }
    part
}

/// Softens the normals towards the whole head of hair's: light then lies over it as one form.
fn blend_normals(part: &mut Part, detail: Detail) {
    // Wide strands show their sides.
    let (share, inwards) = detail.of((0.68, -0.3..0.3), (0.8, -0.7..-0.1));
    part.normals = mesh::normals(&part.points, &part.faces)
        .into_iter()
        .zip(&part.points)
        .map(|(n, p)| {
            let whole = sculpt::gradient(sculpt::hair_body, *p);
            // What looks inwards keeps its own.
            n.lerp(whole, share * smoothstep(inwards.start, inwards.end, n.dot(whole))).normalized()
        })
        .collect();
}

/// All hair.
pub fn build(detail: Detail) -> Part {
    let mut part = cap(detail);
    part.append(first_hairs(detail));
    for (seed, lock) in front_locks().iter().chain(&back_locks()).enumerate() {
        let stations = lock.stations();
        part.append(lock.body(&stations, detail));
        part.append(lock.strands(&stations, seed as u64, detail));
    }
    blend_normals(&mut part, detail);
    let mut studs = Part::default();
    for side in [1.0, -1.0] {
        studs.append(stud(v3(side * 82.0, -29.5, -11.5)));
    }
    part.normals.extend(mesh::normals(&studs.points, &studs.faces));
    part.append(studs);
    part
}
