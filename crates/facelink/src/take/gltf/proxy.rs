//! A plain head of our own, made by a few formulas: an egg with a nose, lips and brows, two eyeballs, and the 52 shapes as
//! moves of the places where they are on a face.

use serde_json::{Value, json};

use super::types::asset;
use crate::{model::glb, names::Blendshape};

/// Rows and columns of the head's grid.
const ROWS: usize = 28;
const COLUMNS: usize = 36;
/// And of an eyeball's.
const EYE_ROWS: usize = 8;
const EYE_COLUMNS: usize = 12;
/// Half of the head's width, height and depth, metres.
const HALF: [f32; 3] = [0.075, 0.115, 0.095];
const EYE_RADIUS: f32 = 0.013;
const EYES: [f32; 3] = [0.032, 0.02, 0.078];
const MOUTH: [f32; 2] = [0.0, -0.055];

type Point = [f32; 3];

/// One bump of a shape: where on the front of the face, how wide, and which way.
struct Bump {
    at: [f32; 2],
    size: [f32; 2],
    by: Point,
}

fn bump(x: f32, y: f32, size: [f32; 2], by: Point) -> Bump {
    Bump { at: [x, y], size, by }
}

/// The moves of a shape for the left side or the middle of the face, in metres; `side` is 1 for the character's left, which
/// is +X.
fn bumps(shape: Blendshape, side: f32) -> Vec<Bump> {
    use Blendshape::*;
    let [eye_x, eye_y, _] = EYES;
    let eye = side * eye_x;
    let corner = side * 0.027;
    let [_, mouth] = MOUTH;
    let (lid, lip, wide) = ([0.016, 0.008], [0.016, 0.009], [0.03, 0.02]);
    let x = |by: f32| side * by;
    match shape {
        EyeBlinkLeft | EyeBlinkRight => vec![
            bump(eye, eye_y + 0.011, lid, [0.0, -0.016, 0.006]),
            bump(eye, eye_y - 0.010, lid, [0.0, 0.003, 0.003]),
        ],
        EyeLookDownLeft | EyeLookDownRight => vec![bump(eye, eye_y + 0.011, lid, [0.0, -0.005, 0.002])],
        EyeLookUpLeft | EyeLookUpRight => vec![bump(eye, eye_y + 0.011, lid, [0.0, 0.004, 0.0])],
        EyeLookInLeft | EyeLookInRight => vec![bump(eye, eye_y, lid, [x(-0.002), 0.0, 0.001])],
        EyeLookOutLeft | EyeLookOutRight => vec![bump(eye, eye_y, lid, [x(0.002), 0.0, 0.001])],
        EyeSquintLeft | EyeSquintRight => vec![bump(eye, eye_y - 0.012, lid, [0.0, 0.006, 0.003])],
        EyeWideLeft | EyeWideRight => vec![bump(eye, eye_y + 0.011, lid, [0.0, 0.007, 0.0])],
        JawForward => vec![bump(0.0, -0.09, [0.05, 0.035], [0.0, 0.0, 0.012])],
        JawLeft => vec![bump(0.0, -0.09, [0.05, 0.035], [0.014, 0.0, 0.0])],
        JawRight => vec![bump(0.0, -0.09, [0.05, 0.035], [-0.014, 0.0, 0.0])],
        JawOpen => vec![bump(0.0, -0.095, [0.055, 0.036], [0.0, -0.034, -0.008])],
        MouthClose => vec![bump(0.0, mouth - 0.008, lip, [0.0, 0.018, 0.0])],
        MouthFunnel => vec![bump(0.0, mouth, [0.022, 0.018], [0.0, 0.0, 0.013])],
        MouthPucker => vec![
            bump(0.0, mouth, [0.014, 0.012], [0.0, 0.0, 0.014]),
            bump(0.027, mouth, lip, [-0.013, 0.0, 0.004]),
            bump(-0.027, mouth, lip, [0.013, 0.0, 0.004]),
        ],
        MouthLeft => vec![bump(0.0, mouth, wide, [0.014, 0.0, 0.0])],
        MouthRight => vec![bump(0.0, mouth, wide, [-0.014, 0.0, 0.0])],
        MouthSmileLeft | MouthSmileRight => vec![bump(corner, mouth, lip, [x(0.010), 0.014, -0.003])],
        MouthFrownLeft | MouthFrownRight => vec![bump(corner, mouth, lip, [x(0.002), -0.012, 0.0])],
        MouthDimpleLeft | MouthDimpleRight => vec![bump(corner, mouth, lip, [x(0.004), 0.0, -0.006])],
        MouthStretchLeft | MouthStretchRight => vec![bump(corner, mouth, lip, [x(0.012), -0.004, -0.003])],
        MouthRollLower => vec![bump(0.0, mouth - 0.010, lip, [0.0, 0.003, -0.007])],
        MouthRollUpper => vec![bump(0.0, mouth + 0.010, lip, [0.0, -0.003, -0.007])],
        MouthShrugLower => vec![bump(0.0, mouth - 0.014, [0.024, 0.012], [0.0, 0.008, 0.004])],
        MouthShrugUpper => vec![bump(0.0, mouth + 0.010, [0.024, 0.012], [0.0, 0.006, 0.003])],
        MouthPressLeft | MouthPressRight => vec![bump(corner * 0.7, mouth, lip, [0.0, 0.003, -0.004])],
        MouthLowerDownLeft | MouthLowerDownRight => vec![bump(corner * 0.5, mouth - 0.010, lip, [0.0, -0.009, 0.002])],
        MouthUpperUpLeft | MouthUpperUpRight => vec![bump(corner * 0.5, mouth + 0.010, lip, [0.0, 0.009, 0.002])],
        BrowDownLeft | BrowDownRight => vec![bump(eye * 0.8, 0.045, [0.022, 0.010], [x(-0.003), -0.010, 0.002])],
        BrowInnerUp => vec![bump(0.0, 0.047, [0.020, 0.011], [0.0, 0.012, 0.002])],
        BrowOuterUpLeft | BrowOuterUpRight => vec![bump(side * 0.045, 0.047, [0.018, 0.011], [0.0, 0.012, 0.0])],
        CheekPuff => vec![
            bump(0.045, -0.04, [0.02, 0.022], [0.012, 0.0, 0.008]),
            bump(-0.045, -0.04, [0.02, 0.022], [-0.012, 0.0, 0.008]),
        ],
        CheekSquintLeft | CheekSquintRight => vec![bump(side * 0.038, -0.008, [0.018, 0.012], [0.0, 0.008, 0.003])],
        NoseSneerLeft | NoseSneerRight => vec![bump(side * 0.014, -0.018, [0.010, 0.010], [0.0, 0.008, 0.001])],
        TongueOut => vec![bump(0.0, mouth - 0.002, [0.011, 0.006], [0.0, -0.008, 0.022])],
    }
}

/// The point of the head at a grid's place, at rest.
fn rest(row: usize, column: usize) -> Point {
    let down = std::f32::consts::PI * row as f32 / (ROWS - 1) as f32;
    // The seam is at the back.
    let around = std::f32::consts::TAU * (column as f32 / COLUMNS as f32) + std::f32::consts::PI;
    let (y, ring) = (down.cos(), down.sin());
    let narrow = 1.0 - 0.22 * (-y).max(0.0);
    let mut point = [ring * around.sin() * HALF[0] * narrow, y * HALF[1], ring * around.cos() * HALF[2] * narrow];
    if point[2] > 0.0 {
        let dent = |x: f32, y: f32, width: f32, height: f32| {
            (-((point[0] - x) / width).powi(2) - ((point[1] - y) / height).powi(2)).exp()
        };
        let [eye_x, eye_y, _] = EYES;
        let [mouth_x, mouth_y] = MOUTH;
        let forward = 0.022 * dent(0.0, -0.014, 0.010, 0.022)
            - 0.010 * (dent(eye_x, eye_y, 0.017, 0.012) + dent(-eye_x, eye_y, 0.017, 0.012))
            + 0.007 * (dent(mouth_x, mouth_y + 0.009, 0.02, 0.006) + dent(mouth_x, mouth_y - 0.009, 0.02, 0.006))
            - 0.006 * dent(mouth_x, mouth_y, 0.024, 0.003)
            + 0.005 * (dent(0.03, 0.045, 0.02, 0.008) + dent(-0.03, 0.045, 0.02, 0.008));
        point[2] += forward;
    }
    point
}

fn moved(shape: Blendshape, point: Point) -> Point {
    let side = if shape.name().ends_with("Right") { -1.0 } else { 1.0 };
    let mut by = [0.0; 3];
    if point[2] <= 0.0 {
        return by;
    }
    for Bump { at, size, by: full } in bumps(shape, side) {
        let near = (-((point[0] - at[0]) / size[0]).powi(2) - ((point[1] - at[1]) / size[1]).powi(2)).exp();
        // What is hardly moved stays.
        let near = if near < 0.02 { 0.0 } else { near };
        for (part, full) in by.iter_mut().zip(full) {
            *part += near * full;
        }
    }
    by
}

/// A closed grid: its triangles, whose front is outside.
fn triangles(rows: usize, columns: usize) -> Vec<u16> {
    let at = |row: usize, column: usize| (row * columns + column % columns) as u16;
    let mut all = Vec::new();
    for row in 0..rows - 1 {
        for column in 0..columns {
            let corners = [at(row, column), at(row + 1, column), at(row, column + 1), at(row + 1, column + 1)];
            if row > 0 {
                all.extend([corners[0], corners[1], corners[2]]);
            }
            if row < rows - 2 {
                all.extend([corners[2], corners[1], corners[3]]);
            }
        }
    }
    all
}

fn normals(points: &[Point], triangles: &[u16]) -> Vec<Point> {
    let mut normals = vec![[0.0_f32; 3]; points.len()];
    for corners in triangles.chunks_exact(3) {
        let [a, b, c] = [0, 1, 2].map(|corner| points[usize::from(corners[corner])]);
        let (u, v): (Point, Point) = (std::array::from_fn(|k| b[k] - a[k]), std::array::from_fn(|k| c[k] - a[k]));
        let cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        for corner in corners {
            for (part, add) in normals[usize::from(*corner)].iter_mut().zip(cross) {
                *part += add;
            }
        }
    }
    for (normal, point) in normals.iter_mut().zip(points) {
        let length = normal.iter().map(|part| part * part).sum::<f32>().sqrt();
        let fallback = [0.0, point[1].signum(), 0.0];
        *normal = if length > 0.0 { normal.map(|part| part / length) } else { fallback };
    }
    normals
}

/// Views, accessors and bytes of meshes.
#[derive(Default)]
struct Data {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
}

impl Data {
    fn add(&mut self, bytes: Vec<u8>, accessor: Value) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.views.push(json!({ "buffer": 0, "byteOffset": self.bytes.len(), "byteLength": bytes.len() }));
        self.bytes.extend(bytes);
        let mut accessor = accessor;
        accessor["bufferView"] = json!(self.views.len() - 1);
        self.accessors.push(accessor);
        self.accessors.len() - 1
    }

    fn points(&mut self, points: &[Point]) -> usize {
        let bound = |start: f32, pick: fn(f32, f32) -> f32| -> Point {
            points.iter().fold([start; 3], |bound, point| std::array::from_fn(|axis| pick(bound[axis], point[axis])))
        };
        let bytes = points.iter().flatten().flat_map(|part| part.to_le_bytes()).collect();
        let (low, high) = (bound(f32::MAX, f32::min), bound(f32::MIN, f32::max));
        let accessor = json!({ "componentType": 5126, "count": points.len(), "type": "VEC3", "min": low, "max": high });
        self.add(bytes, accessor)
    }

    fn corners(&mut self, corners: &[u16]) -> usize {
        let bytes = corners.iter().flat_map(|corner| corner.to_le_bytes()).collect();
        self.add(bytes, json!({ "componentType": 5123, "count": corners.len(), "type": "SCALAR" }))
    }
}

/// A binary glTF file with the head: nodes `Head` above `Face`, `EyeLeft` and `EyeRight`; metres, +Y up, looking along +Z.
pub fn head() -> Vec<u8> {
    let mut data = Data::default();
    let grid =
        |rows: usize, columns: usize| (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    let points: Vec<Point> = grid(ROWS, COLUMNS).map(|(row, column)| rest(row, column)).collect();
    let corners = triangles(ROWS, COLUMNS);
    let normal = normals(&points, &corners);
    let (position, normal, indices) = (data.points(&points), data.points(&normal), data.corners(&corners));
    let targets: Vec<Value> = Blendshape::ALL
        .iter()
        .map(|shape| {
            let moves: Vec<Point> = points.iter().map(|point| moved(*shape, *point)).collect();
            json!({ "POSITION": data.points(&moves) })
        })
        .collect();
    let eye: Vec<Point> = grid(EYE_ROWS, EYE_COLUMNS)
        .map(|(row, column)| {
            let down = std::f32::consts::PI * row as f32 / (EYE_ROWS - 1) as f32;
            let around = std::f32::consts::TAU * column as f32 / EYE_COLUMNS as f32;
            // The pole looks along +Z, so that the pupil is round.
            [down.sin() * around.cos(), down.sin() * around.sin(), down.cos()].map(|part| part * EYE_RADIUS)
        })
        .collect();
    let eye_corners = triangles(EYE_ROWS, EYE_COLUMNS);
    let pupil: Vec<u16> = eye_corners
        .chunks_exact(3)
        .filter(|of| of.iter().all(|at| usize::from(*at) < 2 * EYE_COLUMNS))
        .flatten()
        .copied()
        .collect();
    let white: Vec<u16> = eye_corners
        .chunks_exact(3)
        .filter(|of| of.iter().any(|at| usize::from(*at) >= 2 * EYE_COLUMNS))
        .flatten()
        .copied()
        .collect();
    let eye_normal = normals(&eye, &eye_corners);
    let (eye_position, eye_normal) = (data.points(&eye), data.points(&eye_normal));
    let (white, pupil) = (data.corners(&white), data.corners(&pupil));
    let part = |indices: usize, material: usize| json!({ "attributes": { "POSITION": eye_position, "NORMAL": eye_normal }, "indices": indices, "material": material });
    let material = |name: &str, colour: [f32; 3], roughness: f32| {
        let [r, g, b] = colour;
        let surface = json!({ "baseColorFactor": [r, g, b, 1.0], "metallicFactor": 0.0, "roughnessFactor": roughness });
        json!({ "name": name, "pbrMetallicRoughness": surface })
    };
    let [x, y, z] = EYES;
    let node = |name: &str, side: f32| json!({ "name": name, "mesh": 1, "translation": [side * x, y, z] });
    let names: Vec<&str> = Blendshape::ALL.iter().map(|shape| shape.name()).collect();
    let document = json!({
        "asset": asset(),
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": [
            { "name": "Head", "children": [1, 2, 3] },
            { "name": "Face", "mesh": 0 },
            node("EyeLeft", 1.0),
            node("EyeRight", -1.0),
        ],
        "meshes": [
            {
                "name": "Face",
                "primitives": [{
                    "attributes": { "POSITION": position, "NORMAL": normal },
                    "indices": indices,
                    "material": 0,
                    "targets": targets,
                }],
                "weights": vec![0.0; names.len()],
                "extras": { "targetNames": names },
            },
            { "name": "Eye", "primitives": [part(white, 1), part(pupil, 2)] },
        ],
        "materials": [
            material("Skin", [0.72, 0.6, 0.54], 0.7),
            material("White", [0.9, 0.9, 0.88], 0.3),
            material("Pupil", [0.03, 0.05, 0.08], 0.2),
        ],
        "buffers": [{ "byteLength": data.bytes.len() }],
        "bufferViews": data.views,
        "accessors": data.accessors,
    });
    // Numbers and texts of our own cannot fail.
    let json = serde_json::to_vec(&document).unwrap_or_default();
    glb::join(json, Some(&glb::binary_chunk(data.bytes)))
}
