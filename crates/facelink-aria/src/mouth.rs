//! Teeth and tongue.

use std::f64::consts::{PI, TAU};

use crate::mesh;
use crate::palette::{self, mix};
use crate::part::Part;
use crate::targets::{self, JAW_FORWARD, JAW_SIDE};
use crate::vec3::{Vec3, bell, curve, lerp, smoothstep, v3};

/// Teeth in an arch.
const TEETH: usize = 12;
/// Columns of vertices for each tooth.
const PER_TOOTH: usize = 4;

/// One arch of teeth with its gum. `edge` is the height of the biting edge, `gum` that of the gum line.
fn arch(edge: f64, gum: f64, root: f64, half_width: f64, front: f64, depth: f64) -> Part {
    let columns = TEETH * PER_TOOTH + 1;
    let mut part = Part::default();
    for c in 0..columns {
        let a = lerp(-1.0, 1.0, c as f64 / (columns - 1) as f64);
        let angle = a * 82.0_f64.to_radians();
        let within = (c % PER_TOOTH) as f64 / PER_TOOTH as f64;
        // 0 between two teeth, 1 on a tooth's middle.
        let crown = (PI * within).sin().powf(0.5);
        let bend = v3(angle.sin(), 0.0, angle.cos());
        let at = |out: f64, y: f64| v3(bend.x * (half_width + out), y, front - depth + bend.z * depth + bend.z * out);
        let toward = (edge - gum).signum();
        // Side teeth are shorter, gaps show as notches.
        let tip = edge - toward * (1.2 * a * a + 0.55 * (1.0 - crown));
        let rows = [
            (at(0.6, root), palette::GUM),
            (at(0.6, gum + toward * 0.4 * (1.0 - crown)), palette::GUM),
            (at(0.15 + 0.5 * crown, gum + toward * 0.5), palette::TOOTH),
            (at(-0.1 + 0.9 * crown, lerp(gum, tip, 0.5)), palette::TOOTH),
            (at(-0.35 + 0.7 * crown, tip), palette::TOOTH),
            (at(-1.9, tip), palette::TOOTH),
            (at(-4.0, gum), palette::GUM),
            (at(-4.5, root), palette::GUM),
        ];
        for (p, colour) in rows {
            let shade = smoothstep(0.35, 1.0, a.abs());
            part.points.push(p);
            part.colours.push(palette::opaque(mix(colour, palette::MOUTH, 0.3 * shade)));
        }
    }
    part.faces = mesh::lattice(0, columns, 8, false);
    if edge > gum {
        for face in &mut part.faces {
            face.reverse();
        }
    }
    part
}

/// Upper teeth: they belong to the skull and never move.
pub fn upper_teeth() -> Part {
    arch(-69.8, -60.4, -54.0, 23.6, 79.8, 29.0)
}

/// How the jaw's shapes move something that is all jaw.
fn jaw_moves(points: &[Vec3], share: impl Fn(Vec3) -> f64) -> Vec<(&'static str, Vec<Vec3>)> {
    let moves = |of: &dyn Fn(Vec3) -> Vec3| points.iter().map(|p| of(*p) * share(*p)).collect::<Vec<_>>();
    vec![
        ("jawForward", moves(&|_| JAW_FORWARD)),
        ("jawLeft", moves(&|_| v3(JAW_SIDE, 0.0, 0.0))),
        ("jawRight", moves(&|_| v3(-JAW_SIDE, 0.0, 0.0))),
        ("jawOpen", moves(&targets::jaw_open)),
    ]
}

/// Lower teeth, carried by the jaw.
pub fn lower_teeth() -> Part {
    let mut part = arch(-69.2, -76.4, -82.5, 22.5, 76.6, 28.0);
    part.deltas = jaw_moves(&part.points, |_| 1.0);
    part
}

/// Samples along and around the tongue.
const TONGUE_STEPS: usize = 16;
const TONGUE_AROUND: usize = 16;

/// A point of the tongue; `out` from 0 (at rest behind the teeth) to 1 (out).
fn tongue_point(t: f64, around: f64, out: f64) -> Vec3 {
    let rest = (lerp(36.0, 75.0, t), curve(&[(0.0, -80.0), (0.4, -75.0), (0.8, -74.8), (1.0, -75.8)], t));
    let stretched = (
        curve(&[(0.0, 36.0), (0.45, 72.0), (0.75, 98.0), (0.9, 108.5), (1.0, 112.0)], t),
        curve(&[(0.0, -78.0), (0.3, -71.0), (0.5, -69.3), (0.68, -70.0), (0.85, -75.5), (1.0, -83.0)], t),
    );
    let (z, y) = (lerp(rest.0, stretched.0, out), lerp(rest.1, stretched.1, out));
    let tip = (1.0 - smoothstep(0.72, 1.02, t).powf(1.6)).max(0.02).sqrt();
    let width = lerp(15.0, 13.0, out) * tip;
    let thick = lerp(4.6, lerp(4.6, 3.0, smoothstep(0.2, 0.6, t)), out) * tip;
    let (sin, cos) = around.sin_cos();
    // A groove along the middle of the upper side.
    let groove = if sin > 0.0 { -1.1 * bell(cos / 0.3) * tip } else { 0.0 };
    // Out, the tip bends down, so its cross-section leans.
    let lean = out * smoothstep(0.6, 1.0, t) * 0.75;
    v3(width * cos, y + (thick * sin + groove) * (1.0 - 0.3 * lean), z + (thick * sin + groove) * lean)
}

/// The tongue.
pub fn tongue() -> Part {
    let mut part = Part::default();
    let mut stretched = Vec::new();
    for i in 0..TONGUE_STEPS {
        let t = i as f64 / (TONGUE_STEPS - 1) as f64;
        for k in 0..TONGUE_AROUND {
            let around = TAU * k as f64 / TONGUE_AROUND as f64;
            part.points.push(tongue_point(t, around, 0.0));
            stretched.push(tongue_point(t, around, 1.0));
            let middle = if around.sin() > 0.3 { bell(around.cos() / 0.25) } else { 0.0 };
            let c = mix(palette::TONGUE, palette::TONGUE_GROOVE, 0.6 * middle);
            part.colours.push(palette::opaque(mix(palette::MOUTH, c, smoothstep(0.0, 0.6, t))));
        }
    }
    part.faces = mesh::lattice(0, TONGUE_STEPS, TONGUE_AROUND, true);
    let last = (TONGUE_STEPS - 1) * TONGUE_AROUND;
    part.faces.push((0..TONGUE_AROUND).map(|k| last + k).rev().collect());
    let n = mesh::normals(&part.points, &part.faces);
    if n[TONGUE_AROUND * 8 + TONGUE_AROUND / 4].y < 0.0 {
        for face in &mut part.faces {
            face.reverse();
        }
    }
    part.deltas = jaw_moves(&part.points, |p| smoothstep(20.0, 62.0, p.z) * 0.25 + 0.7);
    let out = stretched.iter().zip(&part.points).map(|(s, p)| *s - *p).collect();
    part.deltas.push(("tongueOut", out));
    part
}
