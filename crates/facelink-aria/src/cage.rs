//! The control cage of the skin: a lattice over head and neck, with ring fans set into it around the eyes and the mouth,
//! and two ears. Built for the left half (x >= 0) and mirrored.

use std::collections::HashMap;
use std::f64::consts::{PI, TAU};

use crate::mesh::lattice;
use crate::sculpt::{self, EYE, EYE_RADIUS};
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// Where a cage point sits on the face; targets are written in these terms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tag {
    /// Lattice point. Rows run from crown to chest, columns from the front's middle to the back's.
    Grid {
        /// Row, 0 at the crown.
        row: usize,
        /// Column, 0 at the front.
        col: usize,
    },
    /// Point of the lids.
    Eye {
        /// Ring, counted inwards from the brow and cheek; [`EYE_MARGIN`] is the lid's front edge.
        ring: usize,
        /// Place around the ring, 0 at the inner corner, the first half on the upper lid.
        j: usize,
    },
    /// Point of the lips or of the mouth's inside.
    Mouth {
        /// Ring, counted inwards; [`LIP_BORDER`], [`LIP_BODY`] and [`LIP_SEAM`] are the lips.
        ring: usize,
        /// Place along the half ring, 0 at the middle of the upper lip, [`MOUTH_CORNER`] at the corner.
        j: usize,
    },
    /// The back wall of the mouth.
    MouthEnd,
    /// Point of an ear.
    Ear {
        /// Ring, counted outwards from the bowl and back inwards behind the rim.
        ring: usize,
    },
}

/// Points around each eye.
pub const EYE_POINTS: usize = 28;
/// Ring of the lids' front edge.
pub const EYE_MARGIN: usize = 5;
/// Rings of the lids, the lattice's border being ring 0.
pub const EYE_RINGS: usize = 8;
/// Position of each ring between lattice border (0) and lid margin (1).
const EYE_RING_SHARE: [f64; EYE_RINGS] = [0.0, 0.30, 0.56, 0.76, 0.90, 1.0, 1.02, 1.10];

/// Points along half the mouth, from the middle of the upper lip to that of the lower.
pub const MOUTH_POINTS: usize = 19;
/// The point at the mouth's corner.
pub const MOUTH_CORNER: usize = 9;
/// Ring of the vermilion border.
pub const LIP_BORDER: usize = 4;
/// Ring on the lips' fullest line.
pub const LIP_BODY: usize = 5;
/// Ring where the lips touch.
pub const LIP_SEAM: usize = 6;
/// Rings of the mouth.
pub const MOUTH_RINGS: usize = 11;
const MOUTH_RING_SHARE: [f64; 5] = [0.0, 0.32, 0.58, 0.80, 1.0];

/// Height of the mouth's line at the middle.
pub const MOUTH_Y: f64 = -67.0;
/// How far the cage's lips lap over the seam.
const SEAM_LAP: f64 = 0.62;
/// Half the width of the mouth.
pub const MOUTH_HALF_WIDTH: f64 = 21.5;

/// Azimuths of the lattice's columns, degrees from straight ahead.
const COLUMNS: [f64; 21] = [
    0.0, 2.5, 4.9, 7.4, 11.0, 15.3, 19.6, 24.0, 28.2, 32.6, 37.6, 43.5, 50.0, 57.0, 66.0, 77.0, 91.0, 108.0, 130.0,
    155.0, 180.0,
];

/// Lattice rows: start of the ray (y at front, side and back; z) and its elevation (front, side, back).
struct Row {
    y: [f64; 3],
    z: f64,
    elevation: [f64; 3],
}

const fn fan(elevation: f64) -> Row {
    Row { y: [46.0; 3], z: -5.0, elevation: [elevation; 3] }
}

const fn level(front: f64, side: f64, back: f64) -> Row {
    Row { y: [front, side, back], z: 0.0, elevation: [0.0; 3] }
}

const fn slope(front: f64, side: f64, back: f64, z: f64, elevation: [f64; 3]) -> Row {
    Row { y: [front, side, back], z, elevation }
}

/// Row of the eye block's top, bottom and of the mouth block's top, bottom.
const EYE_TOP: usize = 7;
const EYE_BOTTOM: usize = 13;
const MOUTH_TOP: usize = 18;
const MOUTH_BOTTOM: usize = 22;
const EYE_FIRST_COL: usize = 3;
const EYE_LAST_COL: usize = 11;
const MOUTH_LAST_COL: usize = 7;

/// Row 0 is the crown's single point.
const ROWS: [Row; 32] = [
    fan(90.0),
    fan(62.0),
    fan(38.0),
    fan(20.0),
    fan(6.0),
    level(43.0, 40.0, 38.0),
    level(34.0, 31.0, 26.0),
    level(26.0, 23.0, 15.0),
    level(17.0, 15.0, 5.0),
    level(8.5, 7.0, -4.0),
    level(0.0, -1.0, -13.0),
    level(-8.5, -9.0, -21.0),
    level(-17.0, -17.0, -28.0),
    level(-25.0, -24.0, -34.0),
    level(-31.0, -30.0, -39.0),
    level(-36.5, -35.0, -43.0),
    level(-41.5, -39.0, -46.5),
    level(-46.0, -42.5, -49.5),
    level(-51.0, -45.5, -52.0),
    level(-59.0, -50.5, -55.5),
    level(-67.0, -55.5, -59.0),
    level(-75.5, -60.5, -62.5),
    level(-84.0, -65.0, -66.0),
    level(-91.5, -69.0, -70.0),
    level(-98.5, -73.0, -74.0),
    slope(-70.0, -77.0, -78.0, 14.0, [-35.0, -6.0, 0.0]),
    slope(-76.0, -84.0, -84.0, 2.0, [-46.0, -8.0, 0.0]),
    slope(-92.0, -98.0, -94.0, -14.0, [-34.0, -6.0, 0.0]),
    slope(-122.0, -116.0, -110.0, -28.0, [0.0; 3]),
    slope(-140.0, -136.0, -130.0, -31.0, [0.0; 3]),
    slope(-157.0, -153.0, -150.0, -33.0, [0.0; 3]),
    slope(-168.0, -166.0, -164.0, -34.0, [-10.0; 3]),
];

/// The cage of the whole skin.
pub struct Cage {
    /// Points at rest.
    pub points: Vec<Vec3>,
    /// Faces, counter-clockwise from outside.
    pub faces: Vec<Vec<usize>>,
    /// What each point is.
    pub tags: Vec<Tag>,
    /// Each point's mirror image; points in the middle are their own.
    pub mirror: Vec<usize>,
    eye_ids: HashMap<(usize, usize), usize>,
    mouth_ids: HashMap<(usize, usize), usize>,
}

impl Cage {
    /// Left-side point of a lid ring.
    pub fn eye_id(&self, ring: usize, j: usize) -> usize {
        self.eye_ids[&(ring, j % EYE_POINTS)]
    }

    /// Left-side point of a mouth ring.
    pub fn mouth_id(&self, ring: usize, j: usize) -> usize {
        self.mouth_ids[&(ring, j)]
    }
}

/// Position along a lid, 0 at the inner and 1 at the outer corner, and whether it is the upper lid.
pub fn lid_place(j: usize) -> (f64, bool) {
    let half = EYE_POINTS / 2;
    let upper = j <= half;
    let u = if upper { j } else { EYE_POINTS - j } as f64 / half as f64;
    // Points crowd a little towards the corners, where the opening turns.
    (lerp(u, 0.5 - 0.5 * (PI * u).cos(), 0.35), upper)
}

/// Azimuth and elevation (radians, about the eye's centre) of the open lid margins at `tau` along the lid.
pub fn lid_margin(tau: f64, upper: bool) -> (f64, f64) {
    let azimuth = lerp(-44.0, 47.0, tau);
    let corners = lerp(-5.0, 2.5, tau);
    let lift = if upper {
        26.8 * (1.0 - (2.0 * tau.powf(0.92) - 1.0).powi(2)).max(0.0).powf(0.62)
    } else {
        -20.0 * (1.0 - (2.0 * tau.powf(1.12) - 1.0).powi(2)).max(0.0).powf(0.72)
    };
    (azimuth.to_radians(), (corners + lift).to_radians())
}

/// Elevation of the line on which closed lids meet.
pub fn lid_seam(tau: f64) -> f64 {
    let (_, up) = lid_margin(tau, true);
    let (_, low) = lid_margin(tau, false);
    lerp(low, up, 0.2)
}

/// Direction from the eye's centre.
pub fn eye_direction(azimuth: f64, elevation: f64) -> Vec3 {
    v3(azimuth.sin() * elevation.cos(), elevation.sin(), azimuth.cos() * elevation.cos())
}

/// Azimuth, elevation and distance of a point about the left eye's centre.
pub fn eye_angles(p: Vec3) -> (f64, f64, f64) {
    let d = p - EYE;
    let r = d.length().max(1e-9);
    (d.x.atan2(d.z), (d.y / r).clamp(-1.0, 1.0).asin(), r)
}

/// Place along the lips for half-ring point `j`: +1 in the middle above, 0 at the corner, -1 in the middle below.
pub fn lip_place(j: usize) -> f64 {
    1.0 - j as f64 / MOUTH_CORNER as f64
}

/// Height of the lips' seam at a share `s` (0 middle, 1 corner) of the half width.
pub fn seam_height(s: f64) -> f64 {
    // A shallow bow, with corners a little up: a friendly mouth at rest.
    MOUTH_Y + curve(&[(0.0, -0.5), (0.3, 0.1), (0.6, 0.7), (1.0, 4.9)], s)
}

fn lip_height(s: f64, upper: bool) -> f64 {
    if upper {
        curve(&[(0.0, 6.2), (0.24, 7.7), (0.55, 5.9), (0.82, 3.0), (1.0, 0.2)], s)
    } else {
        -curve(&[(0.0, 9.2), (0.3, 8.7), (0.6, 6.6), (0.85, 3.1), (1.0, 0.2)], s)
    }
}

struct Builder {
    points: Vec<Vec3>,
    tags: Vec<Tag>,
    faces: Vec<Vec<usize>>,
    fixed: Vec<bool>,
}

impl Builder {
    fn add(&mut self, p: Vec3, tag: Tag, fixed: bool) -> usize {
        self.points.push(p);
        self.tags.push(tag);
        self.fixed.push(fixed);
        self.points.len() - 1
    }
}

/// Value between front, side and back for an azimuth in degrees.
fn around(values: [f64; 3], azimuth: f64) -> f64 {
    if azimuth < 90.0 {
        lerp(values[0], values[1], smoothstep(10.0, 85.0, azimuth))
    } else {
        lerp(values[1], values[2], smoothstep(95.0, 170.0, azimuth))
    }
}

/// The nose keeps the spacing of the rays: evening out would pull points off its tip.
fn on_nose(row: usize, col: usize) -> bool {
    (EYE_BOTTOM + 1..MOUTH_TOP).contains(&row) && col <= 5
}

fn in_block(row: usize, col: usize) -> bool {
    let eye = (EYE_TOP..EYE_BOTTOM).contains(&row) && (EYE_FIRST_COL..EYE_LAST_COL).contains(&col);
    let mouth = (MOUTH_TOP..MOUTH_BOTTOM).contains(&row) && col < MOUTH_LAST_COL;
    eye || mouth
}

fn build_lattice(b: &mut Builder) -> Vec<Vec<usize>> {
    let mut ids = Vec::new();
    let last = ROWS.len() - 1;
    for (r, row) in ROWS.iter().enumerate() {
        let mut line = Vec::new();
        for (c, &azimuth) in COLUMNS.iter().enumerate() {
            let inside_eye = r > EYE_TOP && r < EYE_BOTTOM && c > EYE_FIRST_COL && c < EYE_LAST_COL;
            let inside_mouth = r > MOUTH_TOP && r < MOUTH_BOTTOM && c < MOUTH_LAST_COL;
            if inside_eye || inside_mouth || (r == 0 && c > 0) {
                line.push(if r == 0 { ids.first().map_or(0, |l: &Vec<usize>| l[0]) } else { usize::MAX });
                continue;
            }
            let elevation = around(row.elevation, azimuth).to_radians();
            let origin = v3(0.0, around(row.y, azimuth), row.z);
            let a = azimuth.to_radians();
            let direction = v3(a.sin() * elevation.cos(), elevation.sin(), a.cos() * elevation.cos());
            let mut p = sculpt::cast(sculpt::head, origin, direction);
            if c == 0 || c == COLUMNS.len() - 1 || r == 0 {
                p.x = 0.0;
            }
            line.push(b.add(p, Tag::Grid { row: r, col: c }, r == 0 || r == last || on_nose(r, c)));
        }
        ids.push(line);
    }
    // The crown is one point.
    let pole = ids[0][0];
    for c in 0..COLUMNS.len() - 1 {
        b.faces.push(vec![pole, ids[1][c], ids[1][c + 1]]);
    }
    for r in 1..last {
        for c in 0..COLUMNS.len() - 1 {
            if !in_block(r, c) {
                b.faces.push(vec![ids[r][c], ids[r + 1][c], ids[r + 1][c + 1], ids[r][c + 1]]);
            }
        }
    }
    ids
}

/// Lattice places around the eye's opening, clockwise from the middle of the side by the nose.
fn eye_border() -> Vec<(usize, usize)> {
    let mid = (EYE_TOP + EYE_BOTTOM) / 2;
    let mut places: Vec<(usize, usize)> = (EYE_TOP..=mid).rev().map(|r| (r, EYE_FIRST_COL)).collect();
    places.extend((EYE_FIRST_COL + 1..=EYE_LAST_COL).map(|c| (EYE_TOP, c)));
    places.extend((EYE_TOP + 1..=EYE_BOTTOM).map(|r| (r, EYE_LAST_COL)));
    places.extend((EYE_FIRST_COL..EYE_LAST_COL).rev().map(|c| (EYE_BOTTOM, c)));
    places.extend((mid + 1..EYE_BOTTOM).rev().map(|r| (r, EYE_FIRST_COL)));
    places
}

/// Lattice places around half the mouth's opening, from the middle above to the middle below.
fn mouth_border() -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize)> = (0..=MOUTH_LAST_COL).map(|c| (MOUTH_TOP, c)).collect();
    places.extend((MOUTH_TOP + 1..=MOUTH_BOTTOM).map(|r| (r, MOUTH_LAST_COL)));
    places.extend((0..MOUTH_LAST_COL).rev().map(|c| (MOUTH_BOTTOM, c)));
    places
}

fn build_eye(b: &mut Builder, grid: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let border: Vec<usize> = eye_border().into_iter().map(|(r, c)| grid[r][c]).collect();
    let mut rings = vec![border.clone()];
    for (ring, &share) in EYE_RING_SHARE.iter().enumerate().skip(1) {
        let mut line = Vec::new();
        for (j, &at_border) in border.iter().enumerate() {
            let (tau, upper) = lid_place(j);
            let (azimuth, elevation) = lid_margin(tau, upper);
            let outer = b.points[at_border];
            let (border_az, border_el, _) = eye_angles(outer);
            let (az, el) = (lerp(border_az, azimuth, share), lerp(border_el, elevation, share));
            let direction = eye_direction(az, el);
            let p = match ring {
                1..=4 => {
                    // Straight across and onto the sculpt: rays from the eye would fold over next to the nose.
                    let margin = EYE + eye_direction(azimuth, elevation) * (EYE_RADIUS + 1.9);
                    let hit = sculpt::project(sculpt::head, outer.lerp(margin, share));
                    let direction = (hit - EYE).normalized();
                    let hit = EYE + direction * (hit - EYE).length().max(EYE_RADIUS + 2.0);
                    // The fold of the upper lid.
                    let middle = (PI * tau).sin().max(0.0);
                    let fold = match (ring, upper) {
                        (3, true) => -2.9 * middle,
                        (4, true) => 0.7 * middle,
                        (3, false) => 0.5 * middle,
                        _ => 0.0,
                    };
                    hit + direction * fold
                }
                5 => EYE + direction * (EYE_RADIUS + 1.9),
                6 => EYE + direction * (EYE_RADIUS + 0.5),
                _ => EYE + direction * (EYE_RADIUS + 0.4),
            };
            line.push(b.add(p, Tag::Eye { ring, j }, ring > 2));
        }
        rings.push(line);
    }
    for k in 0..EYE_RINGS - 1 {
        for j in 0..EYE_POINTS {
            let n = (j + 1) % EYE_POINTS;
            b.faces.push(vec![rings[k][j], rings[k + 1][j], rings[k + 1][n], rings[k][n]]);
        }
    }
    rings
}

fn build_mouth(b: &mut Builder, grid: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let border: Vec<usize> = mouth_border().into_iter().map(|(r, c)| grid[r][c]).collect();
    let mut rings = vec![border.clone()];
    // The skin's own depth, smoothed over the lips so that they sit on a clean barrel.
    let depth = |x: f64, y: f64| sculpt::cast(sculpt::head, v3(x, y, 30.0), v3(0.0, 0.0, 1.0)).z;
    for ring in 1..MOUTH_RINGS {
        let share = MOUTH_RING_SHARE.get(ring).copied().unwrap_or(1.0);
        let mut line = Vec::new();
        for (j, &at_border) in border.iter().enumerate() {
            let t = lip_place(j);
            let upper = j <= MOUTH_CORNER;
            let s = {
                let u = 1.0 - t.abs();
                lerp(u, (u * PI / 2.0).sin(), 0.25)
            };
            let sign = if j < MOUTH_CORNER {
                1.0
            } else if j > MOUTH_CORNER {
                -1.0
            } else {
                0.0
            };
            let seam = seam_height(s);
            let height = if sign == 0.0 { 0.0 } else { lip_height(s, upper) };
            let full = (1.0 - s * s).max(0.0).sqrt();
            let seam_x = MOUTH_HALF_WIDTH * s;
            let seam_z = depth(seam_x, seam) + 0.6 - 1.6 * s.powi(4);
            let p = match ring {
                1..=4 => {
                    let outer = b.points[at_border];
                    let x = seam_x + 1.8 * s.powi(3);
                    let (x, y) = (lerp(outer.x, x, share), lerp(outer.y, seam + height, share));
                    let lift = match (ring, upper) {
                        // The border of the upper lip is a fine ridge; under the lower lip lies a hollow.
                        (4, true) => 1.7 * full,
                        (4, false) => 0.5 * full,
                        (3, true) => 0.3 * full,
                        (3, false) => -1.5 * full,
                        _ => 0.0,
                    };
                    // The groove under the nose.
                    let groove =
                        if upper && ring <= 3 { -1.7 * bell(x / 3.0) + 0.5 * bell((x - 5.5) / 2.4) } else { 0.0 };
                    v3(x, y, depth(x, y) + lift + groove)
                }
                LIP_BODY => {
                    let out = if upper { 3.0 } else { 4.3 };
                    v3(seam_x + 0.5 * s.powi(3), seam + height * 0.5, seam_z + out * full)
                }
                // Subdivision rounds the lips' edges apart, so the cage laps them.
                LIP_SEAM => v3(seam_x, seam - SEAM_LAP * sign * full, seam_z + 0.6 * full),
                7 => v3(seam_x * 0.99, seam - 0.25 * sign * full, seam_z - 3.2),
                8 => v3(seam_x * 1.30, seam + sign * (3.5 + 8.5 * full), seam_z - 7.0 - 4.0 * s),
                9 => v3(seam_x * 1.40, seam + sign * (4.0 + 15.0 * full), 58.0 - 8.0 * s),
                _ => v3(seam_x * 0.8, seam + sign * (1.0 + 10.0 * full), 28.0),
            };
            let p = if j == 0 || j == MOUTH_POINTS - 1 { v3(0.0, p.y, p.z) } else { p };
            line.push(b.add(p, Tag::Mouth { ring, j }, ring > 2));
        }
        rings.push(line);
    }
    for k in 0..MOUTH_RINGS - 1 {
        for j in 0..MOUTH_POINTS - 1 {
            b.faces.push(vec![rings[k][j], rings[k + 1][j], rings[k + 1][j + 1], rings[k][j + 1]]);
        }
    }
    let end = b.add(v3(0.0, MOUTH_Y, 20.0), Tag::MouthEnd, true);
    for j in 0..MOUTH_POINTS - 1 {
        b.faces.push(vec![rings[MOUTH_RINGS - 1][j], end, rings[MOUTH_RINGS - 1][j + 1]]);
    }
    rings
}

/// Points around an ear.
const EAR_POINTS: usize = 12;
/// Rings of an ear: share of the outline, and how far it stands out.
const EAR_RINGS: [(f64, f64); 9] = [
    (0.12, -3.5),
    (0.34, -3.5),
    (0.52, -0.8),
    (0.66, 2.6),
    (0.80, 1.6),
    (0.93, 4.8),
    (1.02, 3.6),
    (0.96, -0.2),
    (0.55, -9.0),
];

fn build_ear(b: &mut Builder) {
    // The ear leans back and stands off the head.
    let centre = v3(75.5, -8.0, -12.0);
    let (tilt, flare) = (12.0_f64.to_radians(), 28.0_f64.to_radians());
    let up = v3(0.0, tilt.cos(), -tilt.sin());
    let back = v3(flare.sin(), -tilt.sin() * flare.cos(), -tilt.cos() * flare.cos());
    let out = up.cross(back).normalized();
    let out = if out.x < 0.0 { -out } else { out };
    let base = b.points.len();
    for (ring, &(share, height)) in EAR_RINGS.iter().enumerate() {
        for k in 0..EAR_POINTS {
            let angle = TAU * k as f64 / EAR_POINTS as f64;
            let (sin, cos) = angle.sin_cos();
            // Outline: round above, drawn in towards a small lobe; cos points to the back.
            let v = if sin > 0.0 { 27.0 * sin } else { 24.0 * sin };
            let width = 15.5 - 5.5 * smoothstep(0.1, -1.0, sin);
            let u = cos * width - 2.0 * smoothstep(0.0, -1.0, sin);
            // The front edge lies on the head, the lobe is plain, the bowl deep in the middle.
            let attached = smoothstep(0.1, -0.8, cos);
            let lobe = smoothstep(-0.35, -0.85, sin);
            let mut h = height * (1.0 - 0.55 * lobe);
            if ring <= 6 {
                h -= 4.5 * attached * share;
            }
            let p = centre + back * (u * share) + up * (v * share) + out * h;
            b.add(p, Tag::Ear { ring }, true);
        }
    }
    // k runs from the back upwards to the front: clockwise as seen from outside the left ear's far side.
    for face in lattice(base, EAR_RINGS.len(), EAR_POINTS, true) {
        b.faces.push(face);
    }
    b.faces.push((0..EAR_POINTS).map(|k| base + k).collect());
}

/// Evens out the spacing: slides free points towards their neighbours' mean, and back onto the sculpt.
fn relax(b: &mut Builder, rounds: usize) {
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); b.points.len()];
    for face in &b.faces {
        for k in 0..face.len() {
            let (u, v) = (face[k], face[(k + 1) % face.len()]);
            if !neighbours[u].contains(&v) {
                neighbours[u].push(v);
            }
            if !neighbours[v].contains(&u) {
                neighbours[v].push(u);
            }
        }
    }
    for _ in 0..rounds {
        let old = b.points.clone();
        for (v, around) in neighbours.iter().enumerate() {
            if b.fixed[v] || around.is_empty() {
                continue;
            }
            let mut sum = Vec3::ZERO;
            for &n in around {
                sum += old[n];
            }
            let in_middle = old[v].x.abs() < 1e-9;
            if in_middle {
                // The other half's neighbours weigh in mirrored.
                for &n in around {
                    if old[n].x.abs() > 1e-9 {
                        sum += old[n].mirrored();
                    }
                }
            }
            let side = around.iter().filter(|&&n| old[n].x.abs() > 1e-9).count();
            let count = around.len() + if in_middle { side } else { 0 };
            let mut p = old[v].lerp(sum * (1.0 / count as f64), 0.45);
            p = sculpt::project(sculpt::head, p);
            if in_middle {
                p.x = 0.0;
            }
            b.points[v] = p;
        }
    }
}

/// Builds the cage.
pub fn build() -> Cage {
    let mut b = Builder { points: Vec::new(), tags: Vec::new(), faces: Vec::new(), fixed: Vec::new() };
    let grid = build_lattice(&mut b);
    let eye = build_eye(&mut b, &grid);
    let mouth = build_mouth(&mut b, &grid);
    relax(&mut b, 5);
    build_ear(&mut b);

    // Mirror: every point off the middle gets a twin.
    let half = b.points.len();
    let mut twin: Vec<usize> = (0..half).collect();
    let mut mirror: Vec<usize> = (0..half).collect();
    for v in 0..half {
        if b.points[v].x.abs() > 1e-9 {
            let id = b.add(b.points[v].mirrored(), b.tags[v], b.fixed[v]);
            twin[v] = id;
            mirror[v] = id;
            mirror.push(v);
        }
    }
    let mirrored: Vec<Vec<usize>> = b.faces.iter().map(|face| face.iter().rev().map(|&v| twin[v]).collect()).collect();
    b.faces.extend(mirrored);

    let ids = |rings: &[Vec<usize>]| {
        rings
            .iter()
            .enumerate()
            .flat_map(|(k, line)| line.iter().enumerate().map(move |(j, &id)| ((k, j), id)))
            .collect()
    };
    Cage { eye_ids: ids(&eye), mouth_ids: ids(&mouth), points: b.points, faces: b.faces, tags: b.tags, mirror }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cage_edges_have_at_most_two_faces_in_opposite_sense() {
        let cage = build();
        let mut seen = HashMap::new();
        for face in &cage.faces {
            for k in 0..face.len() {
                *seen.entry((face[k], face[(k + 1) % face.len()])).or_insert(0) += 1;
            }
        }
        assert!(seen.values().all(|&count| count == 1));
    }

    #[test]
    fn cage_mirror_is_exact() {
        let cage = build();
        for (v, &m) in cage.mirror.iter().enumerate() {
            assert_eq!(cage.points[v], cage.points[m].mirrored());
            assert_eq!(cage.mirror[m], v);
        }
    }
}
