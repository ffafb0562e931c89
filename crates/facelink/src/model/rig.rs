//! How a face moves a model, by what its glTF file declares: for viewers that have a glTF loader and none of our code.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ModelError,
    names::{names_in, target_names},
    vrm::{Expression, ExpressionKind, MorphBind, Vrm, VrmVersion},
};
use crate::{
    groups::ChannelGroup,
    mapping::{
        BoneMap, Compiled, EyeDrive, Facing, GazeRange, Preset, Resolved, RigNode, SkeletonNodes, detect,
        detect_either, find_bones,
    },
    names::Blendshape,
};

/// Most nodes of a model.
pub const MAX_NODES: usize = 4096;
/// Most morph targets of a model, those of a mesh that is on several nodes counted on each.
pub const MAX_TARGETS: usize = 4096;
/// Most joints of all skins together.
const MAX_JOINTS: usize = 65_536;

/// How a face moves a model. All indices of nodes are those of the file.
#[derive(Clone, Debug, Serialize)]
pub struct FaceRig {
    /// Id of the preset that shows most of the model; empty where none shows anything.
    pub preset: String,
    /// What people call its naming dialect.
    pub dialect: String,
    /// ARKit's names of the shapes that move something.
    pub shown: Vec<&'static str>,
    /// From a face to the weights of the targets of each of [`meshes`](Self::meshes), in their order; where the model has
    /// [`expressions`](Self::expressions), the mesh after the last one has their levels.
    pub mapping: Compiled,
    /// The nodes whose meshes have morph targets.
    pub meshes: Vec<RigMesh>,
    /// Expressions of a VRM avatar; [`Expression::settle`] makes of the levels that the mapping gives those that are shown.
    pub expressions: Vec<Expression>,
    /// Whether `eyeLook*` shapes move expressions.
    pub looks: bool,
    /// What turns the eyes; [`EyeDrive::Auto`] where only the vertices can tell.
    pub eyes: EyeDrive,
    /// How far the eyes turn, where the file or the preset limits it.
    pub range: Option<GazeRange>,
    /// The direction that it looks in, where the file or the preset says it.
    pub facing: Option<Facing>,
    /// How its bones follow.
    pub bones: BoneMap,
    /// Its bones; several where it has several heads.
    pub skeletons: Vec<SkeletonNodes>,
    /// What could not be read, each with its field.
    pub problems: Vec<String>,
}

/// A node with morph targets.
#[derive(Clone, Debug, Serialize)]
pub struct RigMesh {
    /// The node.
    pub node: usize,
    /// Targets that an `eyeLook*` shape moves.
    pub looks: Vec<usize>,
    /// Targets that expressions move, with the expressions and the weight of each at its full level. A target's weight is the
    /// sum over them, at most 1.
    pub expressed: Vec<(usize, Vec<(usize, f32)>)>,
    /// Targets that a channel of the same name moves, besides the shapes: by the channel alone, or by it where it is more than
    /// what the mapping gives.
    pub channels: Vec<(usize, String)>,
}

/// A node of the file, as far as it matters here.
#[derive(Default)]
struct Node<'a> {
    name: &'a str,
    children: Vec<usize>,
    mesh: Option<usize>,
    skin: Option<usize>,
}

fn field_error(field: impl Into<String>, message: &str) -> ModelError {
    ModelError::Field { field: field.into(), message: message.to_owned() }
}

/// A list that may be missing.
fn list<'a>(object: &'a Map<String, Value>, name: &str, path: &str) -> Result<&'a [Value], ModelError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(values)) => Ok(values),
        Some(_) => Err(field_error(format!("{path}{name}"), "must be an array")),
    }
}

fn objects<'a>(document: &'a Map<String, Value>, name: &str) -> Result<Vec<&'a Map<String, Value>>, ModelError> {
    let read = |(place, value): (usize, &'a Value)| {
        value.as_object().ok_or_else(|| field_error(format!("{name}[{place}]"), "must be an object"))
    };
    list(document, name, "")?.iter().enumerate().map(read).collect()
}

fn index(value: &Value, field: impl Fn() -> String, count: usize) -> Result<usize, ModelError> {
    let index = value.as_u64().and_then(|index| usize::try_from(index).ok());
    index.filter(|index| *index < count).ok_or_else(|| field_error(field(), "is no index of what the file has"))
}

fn indices(values: &[Value], field: &str, count: usize) -> Result<Vec<usize>, ModelError> {
    values.iter().enumerate().map(|(place, value)| index(value, || format!("{field}[{place}]"), count)).collect()
}

/// The nodes of the scene, parents first: index in the file, and the place of the parent in this list.
fn in_order(document: &Map<String, Value>, nodes: &[Node<'_>]) -> Result<Vec<(usize, Option<usize>)>, ModelError> {
    let scenes = objects(document, "scenes")?;
    let scene = match document.get("scene").filter(|scene| !scene.is_null()) {
        Some(scene) => index(scene, || "scene".to_owned(), scenes.len())?,
        None => 0,
    };
    let roots = match scenes.get(scene) {
        Some(scene) => indices(list(scene, "nodes", "scenes[].")?, "scenes[].nodes", nodes.len())?,
        None => Vec::new(),
    };
    let mut order = Vec::new();
    // A node that two others have as a child, or itself, is shown once.
    let mut seen = vec![false; nodes.len()];
    let mut next: Vec<(usize, Option<usize>)> = roots.into_iter().rev().map(|root| (root, None)).collect();
    while let Some((node, parent)) = next.pop() {
        if std::mem::replace(&mut seen[node], true) {
            continue;
        }
        let place = order.len();
        order.push((node, parent));
        next.extend(nodes[node].children.iter().rev().map(|child| (*child, Some(place))));
    }
    Ok(order)
}

/// Names of a mesh's targets; `None` where it has none.
fn targets_of(
    mesh: &Map<String, Value>,
    path: &str,
    accessors: &[&Map<String, Value>],
) -> Result<Option<Vec<String>>, ModelError> {
    let mut lists: Vec<_> = mesh.get("extras").and_then(names_in).into_iter().collect();
    let mut named: Vec<Option<&str>> = Vec::new();
    for (place, primitive) in list(mesh, "primitives", path)?.iter().enumerate() {
        let Some(primitive) = primitive.as_object() else {
            return Err(field_error(format!("{path}primitives[{place}]"), "must be an object"));
        };
        lists.extend(primitive.get("extras").and_then(names_in));
        let targets = list(primitive, "targets", path)?;
        named.resize(named.len().max(targets.len()), None);
        for (name, target) in named.iter_mut().zip(targets) {
            let accessor = target.get("POSITION").or_else(|| target.get("NORMAL")).and_then(Value::as_u64);
            let accessor = accessor.and_then(|index| accessors.get(usize::try_from(index).ok()?));
            *name = name.or(accessor.and_then(|accessor| accessor.get("name")?.as_str()));
        }
    }
    if named.is_empty() {
        return Ok(None);
    }
    if named.len() > MAX_TARGETS {
        return Err(field_error(format!("{path}primitives"), "has more morph targets than are read"));
    }
    // Expressions have targets by their numbers, and need no names.
    let numbered = || (0..named.len()).map(|target| format!("target {target}")).collect();
    Ok(Some(target_names(&lists, &named).unwrap_or_else(numbered)))
}

impl FaceRig {
    /// Reads a glTF file's JSON. Used are `scene`, `scenes`, `nodes`, `meshes` (`extras`, and of each of its `primitives` the
    /// `extras` and `targets`), the names of `accessors`, the joints of `skins`, and the extension `VRM` or `VRMC_vrm`.
    ///
    /// # Errors
    /// When a field has another type than glTF defines, an index points at nothing, or there is more than
    /// [`MAX_NODES`] or [`MAX_TARGETS`].
    pub fn read(document: &Value, presets: &[Preset]) -> Result<Self, ModelError> {
        let document = document.as_object().ok_or(ModelError::NotGltf)?;
        let none = Map::new();
        let extensions = document.get("extensions").and_then(Value::as_object).unwrap_or(&none);
        let vrm = Vrm::from_extensions(extensions)?;
        let (listed, meshes) = (objects(document, "nodes")?, objects(document, "meshes")?);
        let (skins, accessors) = (objects(document, "skins")?, objects(document, "accessors")?);
        if listed.len() > MAX_NODES {
            return Err(field_error("nodes", "are more than are read"));
        }
        let mut nodes = Vec::with_capacity(listed.len());
        for (place, node) in listed.iter().enumerate() {
            let path = format!("nodes[{place}].");
            let optional = |name: &str, count| {
                let value = node.get(name).filter(|value| !value.is_null());
                value.map(|value| index(value, || format!("{path}{name}"), count)).transpose()
            };
            nodes.push(Node {
                name: node.get("name").and_then(Value::as_str).unwrap_or_default(),
                children: indices(list(node, "children", &path)?, &format!("{path}children"), listed.len())?,
                mesh: optional("mesh", meshes.len())?,
                skin: optional("skin", skins.len())?,
            });
        }
        let order = in_order(document, &nodes)?;
        let mut names_of = Vec::with_capacity(meshes.len());
        for (place, mesh) in meshes.iter().enumerate() {
            names_of.push(targets_of(mesh, &format!("meshes[{place}]."), &accessors)?);
        }
        let mut names: Vec<Vec<String>> = Vec::new();
        let mut morphed: Vec<usize> = Vec::new();
        let mut count = 0;
        for (node, _) in &order {
            let Some(targets) = nodes[*node].mesh.and_then(|mesh| names_of[mesh].as_ref()) else { continue };
            count += targets.len();
            if count > MAX_TARGETS {
                return Err(field_error("meshes", "have more morph targets together than are read"));
            }
            names.push(targets.clone());
            morphed.push(*node);
        }
        let (expressions, binds) = vrm.as_ref().map(|vrm| declared(vrm, &nodes, &morphed)).unwrap_or_default();
        let table = !expressions.is_empty();
        if table {
            names.push(expressions.iter().map(|it| it.name.clone()).collect());
        }
        let found = if table { detect_either(presets, &names) } else { detect(presets, &names) };
        let found = found.map(|found| (&presets[found.preset], found.compiled, found.report));
        let (preset, dialect, mapping, shown, bones) = match found {
            Some((preset, compiled, report)) => {
                let Preset { id, mapping } = preset;
                let names = report.shown.into_iter().map(Blendshape::name).collect();
                (id.clone(), mapping.name.clone(), compiled, names, mapping.bones.clone())
            }
            None => {
                let (compiled, _) = Resolved::default().compile(&names);
                (String::new(), String::new(), compiled, Vec::new(), BoneMap::default())
            }
        };
        let skeletons = skeletons(&nodes, &order, &morphed, &skins, &bones, vrm.as_ref())?;
        let look_at = vrm.as_ref().and_then(|vrm| vrm.look_at);
        let by_mapping = bones.eyes.as_ref().map_or(EyeDrive::Auto, |eyes| eyes.by);
        let by_file = if look_at.is_some_and(|look| !look.by_bones) { EyeDrive::Targets } else { EyeDrive::Auto };
        let rig_meshes = morphed.iter().enumerate().map(|(mesh, node)| {
            let expressed = if table { express(mesh, &names, &binds, &mapping) } else { Vec::new() };
            let own = names[mesh].iter().enumerate();
            // What is sent under the name of a shape comes as that shape.
            let channels = own.filter(|(_, name)| Blendshape::from_any_name(name).is_none());
            RigMesh {
                node: *node,
                looks: mapping.targets_of(mesh, is_eye_look).collect(),
                channels: channels.map(|(target, name)| (target, name.clone())).collect(),
                expressed,
            }
        });
        let last = names.len().saturating_sub(1);
        Ok(Self {
            looks: table && mapping.targets_of(last, is_eye_look).next().is_some(),
            meshes: rig_meshes.collect(),
            eyes: if by_mapping.is_auto() { by_file } else { by_mapping },
            range: look_at.map(|look| look.range).or(bones.eyes.as_ref().and_then(|eyes| eyes.range)),
            facing: bones.facing.or(vrm.as_ref().map(Vrm::facing)),
            problems: vrm.map_or_else(Vec::new, |vrm| vrm.problems),
            preset,
            dialect,
            shown,
            mapping,
            expressions,
            bones,
            skeletons,
        })
    }
}

fn is_eye_look(shape: Blendshape) -> bool {
    ChannelGroup::of(shape) == ChannelGroup::Gaze
}

/// The expressions of a VRM avatar that move something, and for each the meshes (places in `morphed`), targets and weights.
fn declared(vrm: &Vrm, nodes: &[Node<'_>], morphed: &[usize]) -> (Vec<Expression>, Vec<Vec<(usize, MorphBind)>>) {
    let mut by_node: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, node) in morphed.iter().enumerate() {
        let on = match vrm.version {
            VrmVersion::V0 => nodes[*node].mesh,
            VrmVersion::V1 => Some(*node),
        };
        if let Some(on) = on {
            by_node.entry(on).or_default().push(place);
        }
    }
    // The gaze is shown once, by bones or by expressions.
    let bones = &vrm.bones;
    let by_bones = vrm.look_at.is_none_or(|look| look.by_bones) && (bones.left_eye.or(bones.right_eye)).is_some();
    let expressions = vrm.expressions.iter().filter(|it| !(by_bones && it.kind == ExpressionKind::Look));
    expressions
        .filter_map(|expression| {
            let places = |bind: &MorphBind| by_node.get(&bind.on).map_or(&[][..], Vec::as_slice);
            let binds: Vec<_> =
                expression.binds.iter().flat_map(|bind| places(bind).iter().map(|place| (*place, *bind))).collect();
            (!binds.is_empty()).then(|| (expression.clone(), binds))
        })
        .unzip()
}

/// The targets of a mesh that expressions move. What the mapping writes itself is not moved twice.
fn express(
    mesh: usize,
    names: &[Vec<String>],
    binds: &[Vec<(usize, MorphBind)>],
    mapping: &Compiled,
) -> Vec<(usize, Vec<(usize, f32)>)> {
    let mut expressed: Vec<(usize, Vec<(usize, f32)>)> = Vec::new();
    for expression in mapping.targets(names.len() - 1) {
        for (on, bind) in binds.get(expression).into_iter().flatten() {
            let absent = bind.target >= names[mesh].len();
            if *on != mesh || absent || mapping.targets(mesh).any(|written| written == bind.target) {
                continue;
            }
            let term = (expression, bind.weight);
            match expressed.iter_mut().find(|(target, _)| *target == bind.target) {
                Some((_, terms)) => terms.push(term),
                None => expressed.push((bind.target, vec![term])),
            }
        }
    }
    expressed
}

fn skeletons(
    nodes: &[Node<'_>],
    order: &[(usize, Option<usize>)],
    morphed: &[usize],
    skins: &[&Map<String, Value>],
    bones: &BoneMap,
    vrm: Option<&Vrm>,
) -> Result<Vec<SkeletonNodes>, ModelError> {
    let place_of: HashMap<usize, usize> = order.iter().enumerate().map(|(place, (node, _))| (*node, place)).collect();
    let rig: Vec<RigNode<'_>> = order
        .iter()
        .map(|(node, parent)| RigNode {
            name: nodes[*node].name,
            parent: *parent,
            is_skin: nodes[*node].skin.is_some() || morphed.contains(node),
        })
        .collect();
    let mut joints = Vec::with_capacity(skins.len());
    let mut count = 0;
    for (place, skin) in skins.iter().enumerate() {
        let path = format!("skins[{place}].");
        let list = list(skin, "joints", &path)?;
        count += list.len();
        if count > MAX_JOINTS {
            return Err(field_error("skins", "have more joints than are read"));
        }
        let list = indices(list, &format!("{path}joints"), nodes.len())?;
        joints.push(list.iter().filter_map(|joint| place_of.get(joint).copied()).collect());
    }
    let mut found = find_bones(&rig, &joints, bones);
    if let Some(vrm) = vrm {
        let place = |node: Option<usize>| node.and_then(|node| place_of.get(&node).copied());
        let of = &vrm.bones;
        let declared = SkeletonNodes {
            head: place(of.head),
            neck: place(of.neck),
            eyes: [place(of.left_eye), place(of.right_eye)],
            jaw: place(of.jaw),
        };
        found = SkeletonNodes::with_declared(found, declared, bones.jaw.is_some());
    }
    let node = |place: Option<usize>| place.and_then(|place| order.get(place)).map(|(node, _)| *node);
    let all = found.into_iter().map(|SkeletonNodes { head, neck, eyes, jaw }| SkeletonNodes {
        head: node(head),
        neck: node(neck),
        eyes: eyes.map(node),
        jaw: node(jaw),
    });
    Ok(all.filter(|skeleton| *skeleton != SkeletonNodes::default()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mapping::built_in;

    fn read(document: &Value) -> FaceRig {
        FaceRig::read(document, built_in()).expect("a model")
    }

    #[test]
    fn rig_of_named_targets_has_mapping_and_bones() {
        let names: Vec<&str> = Blendshape::ALL.iter().map(|shape| shape.name()).chain(["tail"]).collect();
        let targets: Vec<Value> = names.iter().map(|_| json!({"POSITION": 0})).collect();
        let document = json!({
            "scenes": [{"nodes": [4]}], "scene": 0,
            "nodes": [
                {"name": "Eye_L"}, {"name": "Eye_R"}, {"name": "Head", "children": [0, 1]},
                {"name": "Face", "mesh": 0, "skin": 0}, {"name": "Neck", "children": [2, 3]},
            ],
            "meshes": [{"extras": {"targetNames": names}, "primitives": [{"targets": targets}]}],
            "accessors": [{}],
            "skins": [{"joints": [4, 2, 0, 1]}],
        });
        let rig = read(&document);
        assert_eq!((rig.preset.as_str(), rig.shown.len(), rig.meshes.len()), ("arkit", 52, 1));
        assert_eq!(rig.meshes[0].channels, [(52, "tail".to_owned())]);
        assert_eq!((rig.meshes[0].node, rig.meshes[0].looks.len()), (3, 8));
        let bones = SkeletonNodes { head: Some(2), neck: Some(4), eyes: [Some(0), Some(1)], jaw: None };
        assert_eq!((rig.skeletons.as_slice(), rig.eyes, rig.facing), (&[bones][..], EyeDrive::Auto, None));
        let written = serde_json::to_value(&rig).expect("JSON");
        assert_eq!(written["mapping"]["meshes"][0].as_array().map(Vec::len), Some(52));
        assert_eq!(written["shown"][0], "eyeBlinkLeft");
    }

    #[test]
    fn rig_of_vrm_has_expressions_once() {
        let document = json!({
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [{"name": "a", "mesh": 0}, {"name": "b"}],
            "meshes": [{"primitives": [{"targets": [{}, {}, {}]}]}],
            "extensions": {"VRMC_vrm": {
                "humanoid": {"humanBones": {"head": {"node": 1}}},
                "lookAt": {"type": "expression"},
                "expressions": {"preset": {
                    "aa": {"morphTargetBinds": [{"node": 0, "index": 0, "weight": 1.0}]},
                    "blinkLeft": {"morphTargetBinds": [{"node": 0, "index": 1, "weight": 0.5}]},
                    "lookUp": {"morphTargetBinds": [{"node": 0, "index": 2, "weight": 1.0}, {"node": 7, "index": 0}]},
                }},
            }},
        });
        let rig = read(&document);
        assert_eq!((rig.preset.as_str(), rig.eyes, rig.facing), ("vrm1", EyeDrive::Targets, Some(Facing::PlusZ)));
        let names: Vec<&str> = rig.expressions.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["aa", "blinkLeft", "lookUp"]);
        assert_eq!(rig.meshes[0].expressed, [(0, vec![(0, 1.0)]), (1, vec![(1, 0.5)]), (2, vec![(2, 1.0)])]);
        assert_eq!(rig.skeletons[0].head, Some(1));
    }

    #[test]
    fn rig_of_broken_document_names_the_field() {
        let error = |document: Value| FaceRig::read(&document, built_in()).expect_err("refused").to_string();
        assert_eq!(error(json!([])), ModelError::NotGltf.to_string());
        for (document, field) in [
            (json!({"nodes": [{"children": [3]}]}), "nodes[0].children[0]"),
            (json!({"nodes": [{"mesh": 0}]}), "nodes[0].mesh"),
            (json!({"nodes": {}}), "nodes"),
            (json!({"nodes": [{}], "skins": [{"joints": [-1]}]}), "skins[0].joints[0]"),
            (json!({"meshes": [{"primitives": [1]}]}), "meshes[0].primitives[0]"),
            (json!({"scenes": [{"nodes": [0]}]}), "scenes[].nodes[0]"),
            (json!({"nodes": vec![json!({}); MAX_NODES + 1]}), "nodes"),
        ] {
            assert!(error(document).contains(&format!("field `{field}`")), "{field}");
        }
        let circle = read(&json!({"scenes": [{"nodes": [0]}], "nodes": [{"name": "Head", "children": [0]}]}));
        assert_eq!((circle.preset.as_str(), circle.skeletons.len()), ("", 1));
    }
}
