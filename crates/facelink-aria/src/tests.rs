//! Checks of the whole model and of the file that is written.

use std::collections::HashSet;
use std::error::Error;
use std::sync::LazyLock;

use serde_json::Value;

use crate::aria::{self, Lower, Model};
use crate::cage::{EYE_POINTS, EYE_RINGS, LIP_SEAM, MOUTH_CORNER, MOUTH_POINTS, lid_place};
use crate::gltf::Target;
use crate::names;
use crate::sculpt::{EYE, EYE_RADIUS};
use crate::vec3::Vec3;

type Outcome = Result<(), Box<dyn Error>>;

fn shape(name: &str) -> usize {
    names::ALL.iter().position(|n| *n == name).unwrap_or(usize::MAX)
}

/// The JSON and the binary chunk of a glb.
fn parse(glb: &[u8]) -> Result<(Value, &[u8]), Box<dyn Error>> {
    let word = |at: usize| -> Result<usize, Box<dyn Error>> {
        let bytes = glb.get(at..at + 4).ok_or("too short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
    };
    assert_eq!(&glb[..4], b"glTF");
    assert_eq!(word(4)?, 2);
    assert_eq!(word(8)?, glb.len());
    let json_len = word(12)?;
    let json = serde_json::from_slice(&glb[20..20 + json_len])?;
    let bin_len = word(20 + json_len)?;
    let bin = &glb[28 + json_len..];
    assert_eq!(bin.len(), bin_len);
    Ok((json, bin))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn index(value: &Value) -> Result<usize, Box<dyn Error>> {
    Ok(usize::try_from(value.as_u64().ok_or("not an index")?)?)
}

fn face_targets(model: &Model) -> &[Target] {
    &model.meshes[0].0.targets
}

/// The model, built once for all tests that only look at it.
fn model() -> &'static Model {
    static MODEL: LazyLock<Model> = LazyLock::new(aria::model);
    &MODEL
}

#[test]
fn aria_builds_are_byte_identical() -> Outcome {
    assert_eq!(aria::glb(&aria::model())?, aria::glb(&aria::model())?);
    Ok(())
}

#[test]
fn aria_shape_names_match_facelink_crate() {
    let source = include_str!("../../facelink/src/names.rs");
    let theirs: Vec<&str> = source
        .lines()
        .filter_map(|line| line.trim().split_once(" = \"")?.1.strip_suffix("\","))
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(theirs, names::ALL);
}

#[test]
fn aria_glb_is_well_formed() -> Outcome {
    let model = model();
    let glb = aria::glb(model)?;
    assert!(glb.len() < 8 * 1024 * 1024, "{} bytes", glb.len());
    let (json, bin) = parse(&glb)?;

    let views = list(&json, "bufferViews");
    let view_fits = |view: usize, bytes: usize| -> Outcome {
        let view = views.get(view).ok_or("no such view")?;
        assert!(bytes <= index(&view["byteLength"])?);
        assert!(index(&view["byteOffset"])? + index(&view["byteLength"])? <= bin.len());
        assert_eq!(index(&view["byteOffset"])? % 4, 0);
        Ok(())
    };
    let accessors = list(&json, "accessors");
    for accessor in accessors {
        let count = index(&accessor["count"])?;
        assert!(count > 0);
        let parts = match accessor["type"].as_str() {
            Some("SCALAR") => 1,
            Some("VEC3") => 3,
            Some("VEC4") => 4,
            Some("MAT4") => 16,
            other => return Err(format!("type {other:?}").into()),
        };
        let size = match index(&accessor["componentType"])? {
            5121 => 1,
            5123 => 2,
            _ => 4,
        };
        match (&accessor["bufferView"], &accessor["sparse"]) {
            (Value::Null, sparse) => {
                let some = index(&sparse["count"])?;
                assert!(some > 0 && some <= count);
                let wide = if index(&sparse["indices"]["componentType"])? == 5123 { 2 } else { 4 };
                view_fits(index(&sparse["indices"]["bufferView"])?, some * wide)?;
                view_fits(index(&sparse["values"]["bufferView"])?, some * parts * size)?;
            }
            (view, _) => view_fits(index(view)?, count * parts * size)?,
        }
    }

    for mesh in list(&json, "meshes") {
        let primitive = &mesh["primitives"][0];
        let vertices = index(&accessors[index(&primitive["attributes"]["POSITION"])?]["count"])?;
        for attribute in ["NORMAL", "COLOR_0"] {
            assert_eq!(index(&accessors[index(&primitive["attributes"][attribute])?]["count"])?, vertices);
        }
        let targets = list(primitive, "targets");
        assert_eq!(targets.len(), list(&mesh["extras"], "targetNames").len());
        assert_eq!(targets.len(), list(mesh, "weights").len());
        for target in targets {
            for attribute in ["POSITION", "NORMAL"] {
                assert_eq!(index(&accessors[index(&target[attribute])?]["count"])?, vertices);
            }
        }
    }
    let face = &json["meshes"][0]["extras"]["targetNames"];
    assert_eq!(*face, serde_json::json!(names::ALL.to_vec()));
    for name in ["Aria", "Chest", "Neck", "Head", "EyeLeft", "EyeRight"] {
        assert!(list(&json, "nodes").iter().any(|node| node["name"] == name), "{name}");
    }
    Ok(())
}

#[test]
fn aria_lower_levels_are_out_of_the_scene_and_have_the_shapes() -> Outcome {
    let (json, _) = {
        let glb = aria::glb(model())?;
        let (json, bin) = parse(&glb)?;
        (json, bin.len())
    };
    assert_eq!(json["extensionsUsed"], serde_json::json!(["MSFT_lod"]));
    assert!(json["extensionsRequired"].is_null(), "other programs show level 0");
    let (nodes, meshes, accessors) = (list(&json, "nodes"), list(&json, "meshes"), list(&json, "accessors"));
    let in_scene: HashSet<u64> = nodes
        .iter()
        .flat_map(|node| list(node, "children"))
        .chain(list(&json["scenes"][0], "nodes"))
        .filter_map(Value::as_u64)
        .collect();
    let attribute = |mesh: &Value, of: &str| -> Result<Value, Box<dyn Error>> {
        Ok(accessors[index(&mesh["primitives"][0]["attributes"][of])?].clone())
    };
    let (mut full, mut low) = (0, 0);
    let mut distances = Vec::new();
    for node in nodes.iter().filter(|node| node["mesh"].is_u64()) {
        let mesh = &meshes[index(&node["mesh"])?];
        let position = attribute(mesh, "POSITION")?;
        if in_scene.contains(&nodes.iter().position(|other| other == node).map_or(0, |place| place as u64)) {
            full += index(&position["count"])?;
        }
        let Some(lower) = node["extensions"]["MSFT_lod"]["ids"].as_array() else {
            let of_scene = in_scene.iter().any(|place| nodes[*place as usize]["name"] == node["name"]);
            low += if of_scene { index(&position["count"])? } else { 0 };
            continue;
        };
        assert_eq!(lower.len(), 1);
        let id = lower[0].as_u64().ok_or("no index")?;
        assert!(!in_scene.contains(&id));
        let lower = &nodes[id as usize];
        assert_eq!((&lower["skin"], &lower["translation"]), (&node["skin"], &node["translation"]));
        let lower = &meshes[index(&lower["mesh"])?];
        low += index(&attribute(lower, "POSITION")?["count"])?;
        assert_eq!(lower["extras"], mesh["extras"], "the same targets");
        assert_eq!(lower["primitives"][0]["material"], mesh["primitives"][0]["material"]);
        // All switch at one distance: coverage is as large as the part.
        let size = (0..3)
            .map(|axis| {
                let side = |end: &str| position[end][axis].as_f64().unwrap_or(f64::NAN);
                (side("max") - side("min")).powi(2)
            })
            .sum::<f64>()
            .sqrt();
        let coverage = list(&node["extras"], "MSFT_screencoverage");
        assert_eq!((coverage.len(), coverage[1].as_f64()), (2, Some(0.0)), "it never vanishes");
        distances.push(size / coverage[0].as_f64().ok_or("no number")?);
    }
    assert!(low * 5 < full * 2, "{low} of {full} vertices");
    assert!(distances.len() == 6 && distances.iter().all(|d| (d / distances[0] - 1.0).abs() < 1e-3), "{distances:?}");
    // The face's lower level reads the bytes of the full one.
    let [face, cage] = ["Face", "Face_LOD1"].map(|name| meshes.iter().find(|mesh| mesh["name"] == name));
    let (face, cage) = (face.ok_or("no face")?, cage.ok_or("no lower face")?);
    for of in ["POSITION", "NORMAL", "COLOR_0", "JOINTS_0", "WEIGHTS_0"] {
        assert_eq!(attribute(face, of)?["bufferView"], attribute(cage, of)?["bufferView"]);
    }
    Ok(())
}

#[test]
fn aria_lower_face_has_the_shapes_of_the_full_one() -> Outcome {
    let model = model();
    let (face, _) = &model.meshes[0];
    let Some((_, Lower::First(cage))) = model.lower.iter().find(|(of, _)| *of == face.name) else {
        return Err("no lower face".into());
    };
    assert!(cage.vertices * 3 < face.positions.len() && cage.indices.iter().all(|i| (*i as usize) < cage.vertices));
    for target in &face.targets {
        let far = |moves: &[Vec3]| moves.iter().map(|d| d.length()).fold(0.0, f64::max);
        let (all, some) = (far(&target.positions), far(&target.positions[..cage.vertices]));
        assert!(some > 0.8 * all, "{}: {some} of {all} mm", target.name);
    }
    Ok(())
}

#[test]
fn aria_numbers_are_finite_and_indices_in_range() {
    let lower = model().lower.iter().filter_map(|(_, lower)| match lower {
        Lower::Mesh(mesh) => Some(mesh),
        Lower::First(_) => None,
    });
    for mesh in model().meshes.iter().map(|(mesh, _)| mesh).chain(lower) {
        let count = mesh.positions.len();
        assert_eq!(mesh.normals.len(), count);
        assert_eq!(mesh.colours.len(), count);
        assert!(mesh.positions.iter().chain(&mesh.normals).all(|v| v.is_finite()), "{}", mesh.name);
        assert!(mesh.normals.iter().all(|n| (n.length() - 1.0).abs() < 1e-6), "{}", mesh.name);
        assert!(mesh.indices.iter().all(|i| (*i as usize) < count), "{}", mesh.name);
        for weights in mesh.weights.iter().flatten() {
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5 && weights.iter().all(|w| *w >= 0.0));
        }
        for target in &mesh.targets {
            assert_eq!(target.positions.len(), count);
            assert_eq!(target.normals.len(), count);
            assert!(target.positions.iter().chain(&target.normals).all(|v| v.is_finite()));
            assert!(names::ALL.contains(&target.name));
        }
    }
}

#[test]
fn aria_shape_moves_skin_visibly() {
    /// Millimetres that some vertex must move.
    const VISIBLE: f64 = 1.2;
    let model = model();
    let targets = face_targets(model);
    assert_eq!(targets.iter().map(|t| t.name).collect::<Vec<_>>(), names::ALL);
    assert_eq!(targets.iter().map(|t| t.name).collect::<HashSet<_>>().len(), names::COUNT);
    for target in targets {
        let far = target.positions.iter().map(|d| d.length()).fold(0.0, f64::max);
        assert!(far > VISIBLE, "{} moves {far} mm", target.name);
        let moved = target.positions.iter().filter(|d| d.length() > 0.2).count();
        assert!(moved > 30, "{} moves {moved} vertices", target.name);
    }
}

#[test]
fn aria_sides_are_exact_mirror_images() {
    let model = model();
    let face = &model.face;
    for (v, &m) in face.mirror.iter().enumerate() {
        assert_eq!(face.mirror[m], v);
        assert_eq!(face.points[v], face.points[m].mirrored());
    }
    let targets = face_targets(model);
    for (shape, target) in targets.iter().enumerate() {
        let other = &targets[names::mirror(shape)];
        for (v, &m) in face.mirror.iter().enumerate() {
            assert_eq!(target.positions[v], other.positions[m].mirrored(), "{}", target.name);
            assert_eq!(target.normals[v], other.normals[m].mirrored(), "{}", target.name);
        }
    }
}

#[test]
fn aria_paired_shapes_stay_on_their_side() {
    let model = model();
    for (shape, name) in names::ALL.iter().enumerate() {
        if name.ends_with("Left") && !["jawLeft", "mouthLeft"].contains(name) {
            for (p, d) in model.face.points.iter().zip(&model.face.deltas[shape]) {
                assert!(p.x > -24.0 || d.length() < 1e-9, "{name} moves {p:?}");
            }
        }
    }
}

#[test]
fn aria_lids_clear_eyeballs() {
    let model = model();
    let face = &model.face;
    let lids: Vec<usize> = (0..face.points.len()).filter(|&v| face.lid[v] > 0.0).collect();
    assert!(lids.len() > 400);
    for name in [
        "eyeBlinkLeft",
        "eyeLookDownLeft",
        "eyeLookUpLeft",
        "eyeLookInLeft",
        "eyeLookOutLeft",
        "eyeSquintLeft",
        "eyeWideLeft",
    ] {
        let deltas = &face.deltas[shape(name)];
        for weight in [0.0, 0.25, 0.5, 0.75, 1.0] {
            for &v in lids.iter().filter(|&&v| face.points[v].x > 0.0) {
                let r = (face.points[v] + deltas[v] * weight - EYE).length();
                assert!(r > EYE_RADIUS + 0.2, "{name} at {weight}: vertex {v} at {r}");
            }
        }
    }
}

#[test]
fn aria_blink_shuts_eye() {
    let face = &model().face;
    let deltas = &face.deltas[shape("eyeBlinkLeft")];
    for ring in [5, EYE_RINGS - 2] {
        for j in 3..EYE_POINTS / 2 - 2 {
            let at = |j: usize| {
                let v = face.cage.eye_id(ring, j);
                face.points[v] + deltas[v]
            };
            let (upper, lower) = (at(j), at(EYE_POINTS - j));
            assert_eq!(lid_place(j).0, lid_place(EYE_POINTS - j).0);
            assert!(upper.y <= lower.y + 0.15, "gap of {} mm at {j}", upper.y - lower.y);
        }
    }
}

#[test]
fn aria_mouth_close_seals_open_jaw() {
    /// Millimetres between the lips that count as sealed.
    const SEALED: f64 = 0.8;
    let face = &model().face;
    let (open, close) = (&face.deltas[shape("jawOpen")], &face.deltas[shape("mouthClose")]);
    let gap = |j: usize, close_weight: f64| {
        let at = |j: usize| {
            let v = face.cage.mouth_id(LIP_SEAM, j);
            face.points[v] + open[v] + close[v] * close_weight
        };
        (at(j) - at(MOUTH_POINTS - 1 - j)).length()
    };
    assert!(gap(0, 0.0) > 15.0, "jawOpen opens the mouth by {} mm", gap(0, 0.0));
    for j in 0..MOUTH_CORNER {
        assert!(gap(j, 1.0) < SEALED, "{} mm at {j}", gap(j, 1.0));
    }
}

#[test]
fn aria_lips_are_shut_at_rest() {
    let face = &model().face;
    for j in 0..MOUTH_CORNER {
        let at = |j: usize| face.points[face.cage.mouth_id(LIP_SEAM, j)];
        let gap = (at(j) - at(MOUTH_POINTS - 1 - j)).length();
        assert!(gap < 0.6, "{gap} mm at {j}");
    }
}

#[test]
fn aria_tongue_reaches_past_lower_lip() -> Outcome {
    let model = model();
    let lip = model.face.points[model.face.cage.mouth_id(LIP_SEAM, MOUTH_POINTS - 1)];
    let (tongue, _) = model.meshes.iter().find(|(mesh, _)| mesh.name == "Tongue").ok_or("no tongue")?;
    let out = tongue.targets.iter().find(|t| t.name == "tongueOut").ok_or("no tongueOut")?;
    let front = |with: f64| {
        tongue.positions.iter().zip(&out.positions).map(|(p, d)| (*p + *d * with).z).fold(f64::MIN, f64::max)
    };
    let head_z = aria::HEAD.z;
    assert!(front(0.0) + head_z < lip.z - 5.0);
    assert!(front(1.0) + head_z > lip.z + 10.0);
    Ok(())
}

#[test]
fn aria_attached_parts_move_with_skin() -> Outcome {
    let model = model();
    for (name, shapes) in [
        ("Brows", ["browInnerUp", "browDownLeft"]),
        ("Lashes", ["eyeBlinkLeft", "eyeLookDownRight"]),
        ("Nostrils", ["noseSneerLeft", "mouthUpperUpLeft"]),
    ] {
        let (mesh, _) = model.meshes.iter().find(|(mesh, _)| mesh.name == name).ok_or(name)?;
        for shape in shapes {
            let target = mesh.targets.iter().find(|t| t.name == shape).ok_or(shape)?;
            assert!(target.positions.iter().any(|d: &Vec3| d.length() > 0.3), "{name} {shape}");
        }
    }
    Ok(())
}
