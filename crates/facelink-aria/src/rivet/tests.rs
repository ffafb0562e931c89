//! Checks of Rivet and of the file that is written.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::OnceLock;

use serde_json::Value;

use super::form::{EYE, EYE_RADIUS};
use super::shapes::{UNIFIED, parts_of};
use super::{Dialect, HEAD, Model, glb, model, mouth};
use crate::gltf::{Mesh, Target};
use crate::names;
use crate::vec3::{Vec3, v3};

type Outcome = Result<(), Box<dyn Error>>;

/// The model, built once for all tests.
fn rivet(dialect: Dialect) -> &'static Model {
    static MODELS: [OnceLock<Model>; 2] = [OnceLock::new(), OnceLock::new()];
    MODELS[usize::from(dialect == Dialect::ArKit)].get_or_init(|| model(dialect))
}

fn mesh<'a>(model: &'a Model, name: &str) -> Result<&'a Mesh, Box<dyn Error>> {
    Ok(model.meshes().find(|mesh| mesh.name == name).ok_or_else(|| format!("no mesh {name}"))?)
}

fn target<'a>(mesh: &'a Mesh, name: &str) -> Result<&'a Target, Box<dyn Error>> {
    Ok(mesh.targets.iter().find(|t| t.name == name).ok_or_else(|| format!("no {name} in {}", mesh.name))?)
}

/// A mesh' points, relative to its joint, under some shapes.
fn posed(mesh: &Mesh, weights: &[(&str, f64)]) -> Result<Vec<Vec3>, Box<dyn Error>> {
    let mut points = mesh.positions.clone();
    for (name, weight) in weights {
        for (p, d) in points.iter_mut().zip(&target(mesh, name)?.positions) {
            *p += *d * *weight;
        }
    }
    Ok(points)
}

/// The shape that is the mirror image of `name` among `all`.
fn mirror<'a>(name: &'a str, all: &[&'a str]) -> &'a str {
    let other = match (name.strip_suffix("Left"), name.strip_suffix("Right")) {
        (Some(stem), _) => format!("{stem}Right"),
        (_, Some(stem)) => format!("{stem}Left"),
        _ => return name,
    };
    all.iter().find(|candidate| **candidate == other).copied().unwrap_or(name)
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn index(value: &Value) -> Result<usize, Box<dyn Error>> {
    Ok(usize::try_from(value.as_u64().ok_or("not an index")?)?)
}

#[test]
fn rivet_builds_are_byte_identical() -> Outcome {
    for dialect in [Dialect::Unified, Dialect::ArKit] {
        assert!(glb(&model(dialect))? == glb(rivet(dialect))?);
    }
    Ok(())
}

#[test]
fn rivet_glb_is_well_formed() -> Outcome {
    let bytes = glb(rivet(Dialect::Unified))?;
    assert!(bytes.len() < 6 * 1024 * 1024, "{} bytes", bytes.len());
    let word = |at: usize| -> Result<usize, Box<dyn Error>> {
        Ok(u32::from_le_bytes(bytes.get(at..at + 4).ok_or("too short")?.try_into()?) as usize)
    };
    assert_eq!(&bytes[..4], b"glTF");
    assert_eq!(word(8)?, bytes.len());
    let json_length = word(12)?;
    let json: Value = serde_json::from_slice(&bytes[20..20 + json_length])?;
    let bin = bytes.len() - 28 - json_length;
    assert_eq!(word(20 + json_length)?, bin);

    let views = list(&json, "bufferViews");
    let fits = |view: usize, length: usize| -> Outcome {
        let view = views.get(view).ok_or("no such view")?;
        assert!(length <= index(&view["byteLength"])?);
        assert!(index(&view["byteOffset"])? + index(&view["byteLength"])? <= bin);
        Ok(())
    };
    let accessors = list(&json, "accessors");
    for accessor in accessors {
        let count = index(&accessor["count"])?;
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
        assert!(count > 0);
        if let Ok(view) = index(&accessor["bufferView"]) {
            fits(view, count * parts * size)?;
        } else {
            let some = index(&accessor["sparse"]["count"])?;
            assert!(some > 0 && some <= count);
            fits(index(&accessor["sparse"]["values"]["bufferView"])?, some * parts * size)?;
        }
    }
    let mut named = BTreeSet::new();
    for mesh in list(&json, "meshes") {
        let primitive = &mesh["primitives"][0];
        assert!(index(&primitive["material"])? < list(&json, "materials").len());
        let vertices = index(&accessors[index(&primitive["attributes"]["POSITION"])?]["count"])?;
        let names = list(&mesh["extras"], "targetNames");
        assert_eq!(list(primitive, "targets").len(), names.len());
        for target in list(primitive, "targets") {
            for attribute in ["POSITION", "NORMAL"] {
                assert_eq!(index(&accessors[index(&target[attribute])?]["count"])?, vertices);
            }
        }
        named.extend(names.iter().filter_map(Value::as_str));
    }
    assert_eq!(named, UNIFIED.iter().copied().collect());
    for name in ["Rivet", "Chest", "Neck", "Head", "EyeLeft", "EyeRight"] {
        let node = list(&json, "nodes").iter().find(|node| node["name"] == name).ok_or(name)?;
        assert!(node["rotation"].is_null() && node["matrix"].is_null() && node["scale"].is_null());
    }
    assert_eq!(json["scenes"][0]["name"], "Rivet");
    Ok(())
}

#[test]
fn rivet_numbers_are_finite_and_indices_in_range() {
    for dialect in [Dialect::Unified, Dialect::ArKit] {
        for mesh in rivet(dialect).meshes() {
            let count = mesh.positions.len();
            assert_eq!(mesh.normals.len(), count, "{}", mesh.name);
            assert_eq!(mesh.colours.len(), count, "{}", mesh.name);
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
            }
        }
    }
}

#[test]
fn rivet_plates_have_no_holes() -> Outcome {
    // Every edge belongs to two triangles, save at the feet of walls and the like, which are not visible from outside: a
    // triangle lost inside a plate would leave open edges between points that are not dark.
    let model = rivet(Dialect::Unified);
    for name in ["Shell", "Jaw", "Cheeks", "Mouth", "Lids", "Brows"] {
        let mesh = mesh(model, name)?;
        let key = |i: u32| {
            let p = mesh.positions[i as usize] + v3(0.0, 0.0, 0.0);
            [p.x, p.y, p.z].map(|c| (c * 1e6).round() as i64)
        };
        let mut edges: BTreeMap<_, (i32, bool)> = BTreeMap::new();
        for t in mesh.indices.chunks(3) {
            for k in 0..3 {
                let (a, b) = (t[k], t[(k + 1) % 3]);
                let (ka, kb) = (key(a), key(b));
                if ka == kb {
                    continue;
                }
                let light = [a, b].iter().all(|&i| mesh.colours[i as usize][..3].iter().sum::<f32>() > 0.2);
                let sense = if ka < kb { 1 } else { -1 };
                let entry = edges.entry((ka.min(kb), ka.max(kb))).or_default();
                entry.0 += sense;
                entry.1 = light;
            }
        }
        let open = edges.values().filter(|(balance, light)| *balance != 0 && *light).count();
        // The lids' rear rims, deep in the sockets, the ears' and the nose's feet.
        let allowed = match name {
            "Lids" => 2 * 2 * (2 * 23 + 2 * 12),
            // Eight a rivet.
            "Jaw" => 8 * 8,
            "Shell" => 8 * 12 + 120,
            "Cheeks" => 20,
            _ => 0,
        };
        assert!(open <= allowed, "{name}: {open} open edges");
    }
    Ok(())
}

#[test]
fn rivet_shape_moves_vertices_visibly() {
    /// Millimetres that some vertex must move.
    const VISIBLE: f64 = 1.2;
    for (dialect, all) in [(Dialect::Unified, UNIFIED.as_slice()), (Dialect::ArKit, names::ALL.as_slice())] {
        let model = rivet(dialect);
        for name in all {
            let lengths: Vec<f64> = model
                .meshes()
                .flat_map(|mesh| mesh.targets.iter().filter(|t| t.name == *name))
                .flat_map(|t| t.positions.iter().map(|d| d.length()))
                .collect();
            let far = lengths.iter().copied().fold(0.0, f64::max);
            assert!(far > VISIBLE, "{name} moves {far} mm");
            let moved = lengths.iter().filter(|l| **l > 0.2).count();
            assert!(moved > 30, "{name} moves {moved} vertices");
        }
    }
}

#[test]
fn rivet_sides_are_exact_mirror_images() -> Outcome {
    let model = rivet(Dialect::Unified);
    let bits = |v: Vec3| [v.x + 0.0, v.y + 0.0, v.z + 0.0].map(f64::to_bits);
    for name in
        ["Mouth", "Lids", "Brows", "Cheeks", "Jaw", "Gusset", "TeethUpper", "TeethLower", "Tongue", "Shell", "Bezels"]
    {
        let mesh = mesh(model, name)?;
        let rows = |mirrored: bool| -> Vec<Vec<[u64; 3]>> {
            let turn = |v: Vec3| bits(if mirrored { v.mirrored() } else { v });
            let targets: Vec<Option<&Target>> = UNIFIED
                .iter()
                .map(|shape| {
                    let shape = if mirrored { mirror(shape, &UNIFIED) } else { shape };
                    mesh.targets.iter().find(|t| t.name == shape)
                })
                .collect();
            let mut rows: Vec<Vec<[u64; 3]>> = (0..mesh.positions.len())
                .map(|v| {
                    let mut row = vec![turn(mesh.positions[v])];
                    row.extend(targets.iter().map(|t| t.map_or([0; 3], |t| turn(t.positions[v]))));
                    row
                })
                .collect();
            rows.sort();
            rows
        };
        assert!(rows(false) == rows(true), "{name}");
    }
    Ok(())
}

#[test]
fn rivet_arkit_shapes_are_sums_of_unified_shapes() -> Outcome {
    let (unified, arkit) = (rivet(Dialect::Unified), rivet(Dialect::ArKit));
    let mut used = Vec::new();
    for name in names::ALL {
        let parts = parts_of(name);
        assert!(!parts.is_empty(), "{name}");
        used.extend(parts.iter().copied());
        for (whole, fine) in arkit.meshes().zip(unified.meshes()) {
            assert_eq!(whole.name, fine.name);
            let got = whole.targets.iter().find(|t| t.name == name);
            for v in 0..fine.positions.len() {
                let mut want = Vec3::ZERO;
                for part in fine.targets.iter().filter(|t| parts.contains(&t.name)) {
                    want += part.positions[v];
                }
                let got = got.map_or(Vec3::ZERO, |t| t.positions[v]);
                assert!((got - want).length() < 1e-9, "{name} of {}", fine.name);
            }
        }
    }
    // Each is used once.
    used.sort_unstable();
    let mut all = UNIFIED.to_vec();
    all.sort_unstable();
    assert_eq!(used, all);
    Ok(())
}

#[test]
fn rivet_arkit_names_divide_into_unified_names() {
    for (arkit, parts) in [
        ("mouthLeft", vec!["MouthUpperLeft", "MouthLowerLeft"]),
        ("mouthRight", vec!["MouthUpperRight", "MouthLowerRight"]),
        ("jawLeft", vec!["JawLeft"]),
        ("eyeBlinkLeft", vec!["EyeClosedLeft"]),
        ("browDownRight", vec!["BrowPinchRight", "BrowLowererRight"]),
        ("browInnerUp", vec!["BrowInnerUpLeft", "BrowInnerUpRight"]),
        ("mouthSmileLeft", vec!["MouthCornerPullLeft", "MouthCornerSlantLeft"]),
        ("mouthRollUpper", vec!["LipSuckUpperLeft", "LipSuckUpperRight"]),
        ("mouthUpperUpLeft", vec!["MouthUpperUpLeft"]),
        ("mouthClose", vec!["MouthClosed"]),
        ("mouthFunnel", vec!["LipFunnelUpperLeft", "LipFunnelUpperRight", "LipFunnelLowerLeft", "LipFunnelLowerRight"]),
    ] {
        assert_eq!(parts_of(arkit), parts, "{arkit}");
    }
}

#[test]
fn rivet_paired_shapes_stay_on_their_side() {
    for mesh in rivet(Dialect::Unified).meshes() {
        for target in &mesh.targets {
            let shift = ["JawLeft", "MouthUpperLeft", "MouthLowerLeft"].contains(&target.name);
            if target.name.ends_with("Left") && !shift {
                for (p, d) in mesh.positions.iter().zip(&target.positions) {
                    assert!(p.x > -12.5 || d.length() < 1e-9, "{} moves {p:?} of {}", target.name, mesh.name);
                }
            }
        }
    }
}

/// Points of the left lids and the middles of their triangles, relative to the eye, under some shapes.
fn left_lids(mesh: &Mesh, weights: &[(&str, f64)]) -> Result<Vec<Vec3>, Box<dyn Error>> {
    let points = posed(mesh, weights)?;
    let from_eye = |p: Vec3| p + HEAD - EYE;
    let mut out: Vec<Vec3> = points.iter().filter(|p| p.x > 0.0).map(|p| from_eye(*p)).collect();
    for t in mesh.indices.chunks(3) {
        let corner = |k: usize| points[t[k] as usize];
        let middle = (corner(0) + corner(1) + corner(2)) * (1.0 / 3.0);
        if middle.x > 0.0 {
            out.push(from_eye(middle));
        }
    }
    Ok(out)
}

#[test]
fn rivet_lids_clear_eyeballs() -> Outcome {
    /// Millimetres, more than the catch-lights stand out.
    const GAP: f64 = 0.12;
    let model = rivet(Dialect::Unified);
    let lids = mesh(model, "Lids")?;
    let looks = ["EyeLookUpLeft", "EyeLookDownLeft", "EyeLookInLeft", "EyeLookOutLeft"];
    let mut poses: Vec<Vec<(&str, f64)>> = vec![vec![]];
    for shape in lids.targets.iter().map(|t| t.name).filter(|name| name.ends_with("Left")) {
        for weight in [0.25, 0.5, 0.75, 1.0] {
            poses.push(vec![(shape, weight)]);
            for look in looks.iter().filter(|look| **look != shape) {
                for turned in [0.5, 1.0] {
                    poses.push(vec![(shape, weight), (*look, turned)]);
                }
            }
        }
    }
    for pose in poses {
        for p in left_lids(lids, &pose)? {
            assert!(p.length() > EYE_RADIUS + GAP, "{pose:?}: {p:?} at {}", p.length());
        }
    }
    Ok(())
}

#[test]
fn rivet_blink_covers_eye() -> Outcome {
    let model = rivet(Dialect::Unified);
    let lids = mesh(model, "Lids")?;
    let covered = |weights: &[(&str, f64)]| -> Result<usize, Box<dyn Error>> {
        let points: Vec<Vec3> = posed(lids, weights)?.into_iter().map(|p| p + HEAD - EYE).collect();
        // Look along -Z on a grid over the ball's front: some triangle must lie before it.
        let mut hits = 0;
        for gx in -9..=9 {
            for gy in -9..=9 {
                let (x, y) = (f64::from(gx) * 2.4, f64::from(gy) * 2.4);
                if x * x + y * y > 22.0 * 22.0 {
                    continue;
                }
                let hit = lids.indices.chunks(3).any(|t| {
                    let c = |k: usize| points[t[k] as usize];
                    let turn = |a: Vec3, b: Vec3| (b.x - a.x) * (y - a.y) - (b.y - a.y) * (x - a.x);
                    let (u, v, w) = (turn(c(0), c(1)), turn(c(1), c(2)), turn(c(2), c(0)));
                    let all = (u >= 0.0 && v >= 0.0 && w >= 0.0) || (u <= 0.0 && v <= 0.0 && w <= 0.0);
                    all && c(0).z > 0.0
                });
                hits += usize::from(!hit);
            }
        }
        Ok(hits)
    };
    assert!(covered(&[])? > 60, "the eye is open at rest");
    assert_eq!(covered(&[("EyeClosedLeft", 1.0)])?, 0);
    assert_eq!(covered(&[("EyeClosedLeft", 1.0), ("EyeLookDownLeft", 1.0)])?, 0);
    Ok(())
}

#[test]
fn rivet_lips_are_shut_at_rest_and_sealed_on_open_jaw() -> Outcome {
    /// Millimetres between the lips that count as sealed.
    const SEALED: f64 = 0.3;
    let model = rivet(Dialect::Unified);
    let mouth = mesh(model, "Mouth")?;
    let pairs = mouth::seam_pairs();
    let gap = |weights: &[(&str, f64)]| -> Result<f64, Box<dyn Error>> {
        let points = posed(mouth, weights)?;
        Ok(pairs.iter().map(|(u, l)| (points[*u] - points[*l]).length()).fold(0.0, f64::max))
    };
    assert!(gap(&[])? < SEALED);
    assert!(gap(&[("JawOpen", 1.0)])? > 14.0);
    assert!(gap(&[("JawOpen", 1.0), ("MouthClosed", 1.0)])? < SEALED);
    for pair in ["LipPuckerUpper", "LipPuckerLower"] {
        assert!(mouth.targets.iter().any(|t| t.name.starts_with(pair)));
    }
    let pucker: Vec<(&str, f64)> = mouth
        .targets
        .iter()
        .map(|t| t.name)
        .filter(|name| name.starts_with("LipPucker"))
        .map(|name| (name, 1.0))
        .collect();
    assert_eq!(pucker.len(), 4);
    assert!(gap(&pucker)? < 1.0);
    Ok(())
}

#[test]
fn rivet_jaw_moves_rigidly() -> Outcome {
    let model = rivet(Dialect::Unified);
    let (jaw, teeth) = (mesh(model, "Jaw")?, mesh(model, "TeethLower")?);
    for shape in ["JawOpen", "JawLeft", "JawRight", "JawForward"] {
        let (moved, moved_teeth) = (posed(jaw, &[(shape, 1.0)])?, posed(teeth, &[(shape, 1.0)])?);
        for v in (0..moved.len()).step_by(41) {
            for w in (0..moved_teeth.len()).step_by(17) {
                let before = (jaw.positions[v] - teeth.positions[w]).length();
                let after = (moved[v] - moved_teeth[w]).length();
                assert!((before - after).abs() < 1e-9, "{shape}");
            }
        }
    }
    Ok(())
}

#[test]
fn rivet_tongue_reaches_past_lower_lip() -> Outcome {
    let model = rivet(Dialect::Unified);
    let (mouth, tongue) = (mesh(model, "Mouth")?, mesh(model, "Tongue")?);
    let front = |points: &[Vec3]| points.iter().map(|p| p.z).fold(f64::MIN, f64::max);
    let lips = front(&posed(mouth, &[("TongueOut", 1.0)])?);
    assert!(front(&tongue.positions) < front(&mouth.positions) - 10.0);
    assert!(front(&posed(tongue, &[("TongueOut", 1.0)])?) > lips + 6.0);
    Ok(())
}

#[test]
fn rivet_brows_move_and_stay_before_face() -> Outcome {
    let model = rivet(Dialect::Unified);
    let brows = mesh(model, "Brows")?;
    let lids = mesh(model, "Lids")?;
    for (shape, reach) in
        [("BrowInnerUpLeft", 14.0), ("BrowOuterUpLeft", 13.0), ("BrowLowererLeft", 7.0), ("BrowPinchLeft", 8.0)]
    {
        let far = target(brows, shape)?.positions.iter().map(|d| d.length()).fold(0.0, f64::max);
        assert!(far > reach, "{shape} moves {far} mm");
    }
    // Fully down, the bar's front still lies before the lid's dome.
    let down = posed(brows, &[("BrowLowererLeft", 1.0), ("BrowPinchLeft", 1.0)])?;
    let dome = lids.positions.iter().filter(|p| p.x > 0.0).map(|p| (*p + HEAD - EYE).length()).fold(0.0, f64::max);
    let least = down
        .chunks(12)
        .filter(|ring| ring.len() == 12 && ring[0].x > 0.0)
        .map(|ring| ring.iter().map(|p| (*p + HEAD - EYE).length()).fold(0.0, f64::max))
        .fold(f64::MAX, f64::min);
    assert!(least > dome, "{least} against {dome}");
    Ok(())
}
