//! A model's nodes, meshes, bones and expressions, as far as a face moves them.

use serde_json::{Value, json};

use super::{
    super::{dialect::presets, frames::Take, keys::gaze},
    buffer::Animation,
    types::{ExportError, GltfReport, GltfSettings},
};
use crate::{
    frame::{EyeGaze, FaceFrame},
    mapping::{BoneMap, EyeDrive, Face, Facing, GazeRange, RigNode, Scratch, SkeletonNodes, detect_either, find_bones},
    model::{Expression, ModelError, Vrm, VrmVersion, names_in_extras, target_names},
    wire::profile::{EulerOrder, IDENTITY, from_angles, head_angles, inverse, normalized, product},
};

/// Most nodes, meshes and targets of a model that are looked at.
const MAX_PARTS: usize = 65_536;

/// Columns of a 4x4 matrix without its last row.
type Matrix = [[f64; 3]; 4];

/// The nodes of a document, parents before their children.
pub(in super::super) struct Nodes {
    /// Index in the document, and place of the parent in this list.
    pub order: Vec<(usize, Option<usize>)>,
    names: Vec<String>,
    /// Of each node of the document: its place.
    places: Vec<usize>,
    /// Of each place: its own rotation, and that of its parent in the model.
    pub rest: Vec<([f32; 4], [f32; 4])>,
    /// Of each place: where it is in the model.
    positions: Vec<[f64; 3]>,
}

fn bad(field: String, message: &str) -> ModelError {
    ModelError::Field { field, message: message.to_owned() }
}

/// An array of the document's root, empty where it is missing.
fn array<'a>(document: &'a Value, name: &str) -> &'a [Value] {
    document.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn index(value: &Value, name: &str) -> Option<usize> {
    value.get(name)?.as_u64().and_then(|index| usize::try_from(index).ok())
}

fn numbers<const N: usize>(value: &Value, name: &str) -> Option<[f64; N]> {
    let list = value.get(name)?.as_array()?;
    let numbers: Vec<f64> = list.iter().map_while(Value::as_f64).filter(|number| number.is_finite()).collect();
    numbers.try_into().ok()
}

fn matrix(node: &Value) -> (Matrix, [f32; 4]) {
    if let Some(m) = numbers::<16>(node, "matrix") {
        let columns: Matrix = std::array::from_fn(|column| std::array::from_fn(|row| m[column * 4 + row]));
        return (columns, rotation_of(&columns));
    }
    let rotation = numbers::<4>(node, "rotation").map(|q| q.map(|part| part as f32)).and_then(normalized);
    let rotation = rotation.unwrap_or(IDENTITY);
    let scale = numbers::<3>(node, "scale").unwrap_or([1.0; 3]);
    let translation = numbers::<3>(node, "translation").unwrap_or_default();
    let [x, y, z, w] = rotation.map(f64::from);
    let columns = [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + w * z), 2.0 * (x * z - w * y)],
        [2.0 * (x * y - w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + w * x)],
        [2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y)],
    ];
    let scaled = |axis: usize| columns[axis].map(|part| part * scale[axis]);
    ([scaled(0), scaled(1), scaled(2), translation], rotation)
}

/// The rotation of a matrix without shear; what is none is no turn.
fn rotation_of(m: &Matrix) -> [f32; 4] {
    let length = |axis: usize| m[axis].iter().map(|part| part * part).sum::<f64>().sqrt();
    let mut c: [[f64; 3]; 3] = std::array::from_fn(|axis| m[axis].map(|part| part / length(axis)));
    let cross = [
        c[0][1] * c[1][2] - c[0][2] * c[1][1],
        c[0][2] * c[1][0] - c[0][0] * c[1][2],
        c[0][0] * c[1][1] - c[0][1] * c[1][0],
    ];
    if cross.iter().zip(c[2]).map(|(a, b)| a * b).sum::<f64>() < 0.0 {
        c[0] = c[0].map(|part| -part);
    }
    let trace = c[0][0] + c[1][1] + c[2][2];
    let q = if trace > 0.0 {
        let s = (trace + 1.0).sqrt() * 2.0;
        [(c[1][2] - c[2][1]) / s, (c[2][0] - c[0][2]) / s, (c[0][1] - c[1][0]) / s, 0.25 * s]
    } else if c[0][0] > c[1][1] && c[0][0] > c[2][2] {
        let s = (1.0 + c[0][0] - c[1][1] - c[2][2]).max(0.0).sqrt() * 2.0;
        [0.25 * s, (c[0][1] + c[1][0]) / s, (c[2][0] + c[0][2]) / s, (c[1][2] - c[2][1]) / s]
    } else if c[1][1] > c[2][2] {
        let s = (1.0 + c[1][1] - c[0][0] - c[2][2]).max(0.0).sqrt() * 2.0;
        [(c[0][1] + c[1][0]) / s, 0.25 * s, (c[1][2] + c[2][1]) / s, (c[2][0] - c[0][2]) / s]
    } else {
        let s = (1.0 + c[2][2] - c[0][0] - c[1][1]).max(0.0).sqrt() * 2.0;
        [(c[2][0] + c[0][2]) / s, (c[1][2] + c[2][1]) / s, 0.25 * s, (c[0][1] - c[1][0]) / s]
    };
    let q = q.map(|part| part as f32);
    if q.iter().all(|part| part.is_finite()) { normalized(q).unwrap_or(IDENTITY) } else { IDENTITY }
}

fn times(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|column| {
        std::array::from_fn(|row| {
            let own = if column == 3 { a[3][row] } else { 0.0 };
            own + (0..3).map(|k| a[k][row] * b[column][k]).sum::<f64>()
        })
    })
}

const UNIT: Matrix = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0; 3]];

impl Nodes {
    /// # Errors
    /// When there are too many, or a node is its own ancestor or has two parents.
    pub fn of(document: &Value) -> Result<Self, ModelError> {
        let nodes = array(document, "nodes");
        if nodes.len() > MAX_PARTS {
            return Err(bad("nodes".to_owned(), "there are more than 65536"));
        }
        let mut parent: Vec<Option<usize>> = vec![None; nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            for child in array(node, "children").iter().filter_map(Value::as_u64) {
                let slot = usize::try_from(child).ok().and_then(|child| parent.get_mut(child));
                if slot.is_none_or(|slot| slot.replace(at).is_some()) {
                    return Err(bad(format!("nodes[{at}].children"), "must be nodes that are in no other node"));
                }
            }
        }
        let places = vec![usize::MAX; nodes.len()];
        let mut all = Self { order: Vec::new(), names: Vec::new(), places, rest: Vec::new(), positions: Vec::new() };
        let mut matrices: Vec<(Matrix, [f32; 4])> = Vec::new();
        let mut next: Vec<(usize, Option<usize>)> = Vec::new();
        next.extend((0..nodes.len()).rev().filter(|node| parent[*node].is_none()).map(|node| (node, None)));
        while let Some((at, above)) = next.pop() {
            let node = &nodes[at];
            let (own, rotation) = matrix(node);
            let (over, turned) = above.map_or((UNIT, IDENTITY), |above| matrices[above]);
            let place = all.order.len();
            let whole = times(&over, &own);
            all.positions.push(whole[3]);
            all.rest.push((rotation, turned));
            matrices.push((whole, normalized(product(turned, rotation)).unwrap_or(IDENTITY)));
            all.names.push(node.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
            all.order.push((at, above));
            all.places[at] = place;
            let children = array(node, "children").iter().rev().filter_map(Value::as_u64);
            next.extend(children.filter_map(|child| usize::try_from(child).ok()).map(|child| (child, Some(place))));
        }
        if all.order.len() < nodes.len() {
            return Err(bad("nodes".to_owned(), "a node is below itself"));
        }
        Ok(all)
    }

    /// The place of a node of the document.
    pub fn place(&self, node: usize) -> Option<usize> {
        self.places.get(node).copied().filter(|place| *place < self.order.len())
    }

    /// Its name, or its number.
    pub fn name(&self, place: usize) -> String {
        let name = self.names.get(place).map(String::as_str).unwrap_or_default();
        if name.is_empty() { format!("node {}", self.order[place].0) } else { name.to_owned() }
    }

    /// The bones of a face: those that a VRM file declares, and those that have the usual names.
    pub fn skeletons(&self, document: &Value, map: &BoneMap, vrm: Option<&Vrm>) -> Vec<SkeletonNodes> {
        let (nodes, meshes) = (array(document, "nodes"), array(document, "meshes"));
        let is_moved = |node: &Value| {
            let has_targets =
                |mesh: &Value| array(mesh, "primitives").iter().any(|part| !array(part, "targets").is_empty());
            node.get("skin").is_some() || index(node, "mesh").and_then(|mesh| meshes.get(mesh)).is_some_and(has_targets)
        };
        let rig: Vec<RigNode<'_>> = self
            .order
            .iter()
            .zip(&self.names)
            .map(|((node, parent), name)| RigNode { name, parent: *parent, is_skin: is_moved(&nodes[*node]) })
            .collect();
        let joints = |skin: &Value| -> Vec<usize> {
            let joints = array(skin, "joints").iter().filter_map(Value::as_u64);
            joints.filter_map(|joint| self.place(usize::try_from(joint).ok()?)).collect()
        };
        let skins: Vec<Vec<usize>> = array(document, "skins").iter().take(MAX_PARTS).map(joints).collect();
        let mut found = find_bones(&rig, &skins, map);
        if let Some(bones) = vrm.map(|vrm| vrm.bones) {
            let place = |node: Option<usize>| node.and_then(|node| self.place(node));
            let head = place(bones.head);
            if head.is_some() {
                // Other heads are parts of what it wears.
                found.retain(|skeleton| skeleton.head == head);
            }
            if found.is_empty() {
                found.push(SkeletonNodes::default());
            }
            if let Some(first) = found.first_mut() {
                first.head = head.or(first.head);
                first.eyes = [place(bones.left_eye).or(first.eyes[0]), place(bones.right_eye).or(first.eyes[1])];
            }
        }
        found
    }

    /// The direction that a skeleton faces, by where its eyes are on its head.
    fn facing(&self, skeleton: &SkeletonNodes) -> Facing {
        let (Some(head), [Some(left), Some(right)]) = (skeleton.head, skeleton.eyes) else { return Facing::PlusZ };
        let [x, y, z] = std::array::from_fn(|axis| {
            (self.positions[left][axis] + self.positions[right][axis]) / 2.0 - self.positions[head][axis]
        });
        let length = (x * x + y * y + z * z).sqrt();
        match (x.abs().max(z.abs()) < 0.1 * length, x.abs() > z.abs()) {
            (true, _) => Facing::PlusZ,
            (_, true) if x > 0.0 => Facing::PlusX,
            (_, true) => Facing::MinusX,
            _ if z < 0.0 => Facing::MinusZ,
            _ => Facing::PlusZ,
        }
    }
}

/// The names of the targets of every mesh; empty for one without targets.
pub(in super::super) fn names_of_targets(document: &Value) -> Result<Vec<Vec<String>>, ModelError> {
    let accessors = array(document, "accessors");
    let extras = |value: &Value| value.get("extras").and_then(|extras| names_in_extras(&extras.to_string()));
    let mut all = Vec::new();
    let mut total = 0;
    for (at, mesh) in array(document, "meshes").iter().enumerate() {
        let primitives = array(mesh, "primitives");
        let Some(first) = primitives.first() else {
            all.push(Vec::new());
            continue;
        };
        let targets = array(first, "targets");
        total += targets.len();
        if primitives.iter().any(|other| array(other, "targets").len() != targets.len()) || total > MAX_PARTS {
            return Err(bad(
                format!("meshes[{at}].primitives"),
                "must have the same number of targets, and not too many",
            ));
        }
        let accessor_names = targets.iter().map(|target| {
            let accessor = target.as_object()?.values().next()?.as_u64()?;
            accessors.get(usize::try_from(accessor).ok()?)?.get("name")?.as_str()
        });
        let accessor_names: Vec<Option<&str>> = accessor_names.collect();
        let lists: Vec<_> = extras(mesh).into_iter().chain(primitives.iter().filter_map(extras)).collect();
        let names = target_names(&lists, &accessor_names);
        all.push(names.unwrap_or_else(|| (0..targets.len()).map(|target| format!("target {target}")).collect()));
    }
    Ok(all)
}

/// Yaw, pitch and roll of a head as mappings have them: positive to its own left, up, and to its own left shoulder.
/// Adds the channels of a take to an animation of a document.
pub(super) fn animate(
    take: &Take,
    document: &mut Value,
    animation: &mut Animation,
    settings: &GltfSettings<'_>,
) -> Result<GltfReport, ExportError> {
    let nodes = Nodes::of(document)?;
    let names = names_of_targets(document)?;
    let vrm = match document.get("extensions").and_then(Value::as_object) {
        Some(extensions) => Vrm::from_extensions(extensions)?,
        None => None,
    };
    let expressions: &[Expression] = vrm.as_ref().map_or(&[], |vrm| &vrm.expressions);
    let expression_names: Vec<String> = expressions.iter().map(|expression| expression.name.clone()).collect();
    let lists = [names.as_slice(), std::slice::from_ref(&expression_names)].concat();
    let found = detect_either(presets(), &lists);
    let curves = take.curves(settings.max_error);
    let mut report = GltfReport::default();
    if let Some(found) = &found {
        report.preset = presets().get(found.preset).map(|preset| preset.id.clone());
        report.shapes = found.report.shown.len();
    }
    let compiled = found.as_ref().map(|found| &found.compiled);
    let by_node = vrm.as_ref().is_none_or(|vrm| vrm.version == VrmVersion::V1);
    let mut scratch = Scratch::default();
    // Behind the meshes.
    let table = names.len();
    let driven: Vec<usize> = compiled.map_or_else(Vec::new, |compiled| compiled.targets(table).collect());
    for (place, (at, _)) in nodes.order.iter().enumerate() {
        let node = &array(document, "nodes")[*at];
        let Some(mesh) = index(node, "mesh").filter(|mesh| names.get(*mesh).is_some_and(|names| !names.is_empty()))
        else {
            continue;
        };
        let names = &names[mesh];
        let written: Vec<usize> = compiled.map_or_else(Vec::new, |compiled| compiled.targets(mesh).collect());
        // Expression, target and weight at the full level.
        let binds: Vec<(usize, usize, f32)> = expressions
            .iter()
            .enumerate()
            .filter(|(expression, _)| driven.contains(expression))
            .flat_map(|(expression, declared)| declared.binds.iter().map(move |bind| (expression, bind)))
            .filter(|(_, bind)| bind.on == if by_node { *at } else { mesh })
            .filter(|(_, bind)| bind.target < names.len() && !written.contains(&bind.target))
            .map(|(expression, bind)| (expression, bind.target, bind.weight))
            .collect();
        let own: Vec<(usize, String)> = curves
            .channels()
            .filter_map(|channel| Some((names.iter().position(|name| name == channel)?, channel.to_owned())))
            .collect();
        if written.is_empty() && binds.is_empty() && own.is_empty() {
            continue;
        }
        let rest = node.get("weights").or_else(|| array(document, "meshes").get(mesh)?.get("weights"));
        let rest: Vec<f32> = rest.and_then(Value::as_array).map_or_else(Vec::new, |rest| {
            rest.iter().map(|weight| weight.as_f64().unwrap_or_default() as f32).collect()
        });
        let mut levels = Vec::new();
        let mut row = Vec::new();
        let keys = curves.keys(|frame, out| {
            row.clear();
            row.extend((0..names.len()).map(|target| rest.get(target).copied().unwrap_or_default()));
            if let Some(compiled) = compiled {
                let face = Face { weights: &frame.weights, channels: &frame.channels, head: head_angles(frame) };
                compiled.evaluate(&face, &mut scratch);
                for (target, weight) in compiled.mesh(mesh, &scratch) {
                    row[target] = weight;
                }
                if !binds.is_empty() {
                    levels.clear();
                    levels.resize(expressions.len(), 0.0);
                    for (expression, level) in compiled.mesh(table, &scratch) {
                        levels[expression] = level;
                    }
                    Expression::settle(expressions, &mut levels);
                    for (_, target, _) in &binds {
                        row[*target] = 0.0;
                    }
                    for (expression, target, weight) in &binds {
                        row[*target] = (row[*target] + levels[*expression] * weight).clamp(0.0, 1.0);
                    }
                }
            }
            for (target, name) in &own {
                let channel = frame.channels.iter().find(|channel| *channel.name == **name);
                let value = channel.map_or(0.0, |channel| channel.value);
                row[*target] = if written.contains(target) { row[*target].max(value) } else { value };
            }
            out.extend_from_slice(&row);
        });
        let sampler = animation.sampler(&keys, "SCALAR", 1);
        animation.channel(sampler, *at, "weights");
        report.meshes.push(nodes.name(place));
    }
    let preset = report.preset.as_ref().and_then(|id| presets().iter().find(|preset| preset.id == *id));
    let map = preset.map_or_else(BoneMap::default, |preset| preset.mapping.bones.clone());
    let eyes = map.eyes.clone().unwrap_or_default();
    let look = vrm.as_ref().and_then(|vrm| vrm.look_at);
    let range = look.map(|look| look.range).or(eyes.range);
    let by_bones = eyes.by != EyeDrive::Targets && look.is_none_or(|look| look.by_bones);
    let mut turned: Vec<(usize, usize)> = Vec::new();
    for skeleton in nodes.skeletons(document, &map, vrm.as_ref()) {
        let facing = map.facing.or_else(|| vrm.as_ref().map(Vrm::facing)).unwrap_or_else(|| nodes.facing(&skeleton));
        let facing = from_angles([0.0, facing.angle(), 0.0], EulerOrder::Yxz);
        let mut turn = |place: usize, keys: &dyn Fn(&FaceFrame) -> [f32; 4]| {
            let (rest, parent) = nodes.rest[place];
            let keys = curves.turns(|frame| {
                let turn = product(product(facing, keys(frame)), inverse(facing));
                let local = product(product(product(inverse(parent), turn), parent), rest);
                normalized(local).unwrap_or(rest)
            });
            let sampler = animation.sampler(&keys, "VEC4", 4);
            animation.channel(sampler, nodes.order[place].0, "rotation");
            turned.push((place, nodes.order[place].0));
        };
        if let Some(head) = skeleton.head.filter(|_| curves.has_head()) {
            turn(head, &|frame| frame.head.map_or(IDENTITY, |head| head.rotation));
        }
        for (eye, left) in skeleton.eyes.into_iter().zip([true, false]) {
            if let Some(eye) = eye.filter(|_| by_bones && curves.has_gaze()) {
                turn(eye, &|frame| eye_turn(frame, left, range));
            }
        }
    }
    for (place, node) in turned {
        report.bones.push(nodes.name(place));
        unpack_matrix(&mut document["nodes"][node]);
    }
    Ok(report)
}

/// The turn of an eye in a model that looks along +Z.
fn eye_turn(frame: &FaceFrame, left: bool, range: Option<GazeRange>) -> [f32; 4] {
    let gaze = gaze(frame);
    let EyeGaze { yaw, pitch } = if left { gaze.left } else { gaze.right };
    let (yaw, pitch) = range.map_or((yaw, pitch), |range| range.turn(left, yaw, pitch));
    from_angles([-pitch, yaw, 0.0], EulerOrder::Yxz)
}

/// A node that is animated must have its parts apart.
fn unpack_matrix(node: &mut Value) {
    if !node.get("matrix").is_some_and(Value::is_array) {
        return;
    }
    let (columns, rotation) = matrix(node);
    let scale: [f64; 3] = std::array::from_fn(|axis| columns[axis].iter().map(|part| part * part).sum::<f64>().sqrt());
    if let Some(node) = node.as_object_mut() {
        node.remove("matrix");
        node.insert("translation".to_owned(), json!(columns[3]));
        node.insert("rotation".to_owned(), json!(rotation));
        node.insert("scale".to_owned(), json!(scale));
    }
}
