//! Takes as VRM animations (`.vrma`).
//!
//! A glTF file with the extension `VRMC_vrm_animation` 1.0, which any VRM 1.0 avatar plays: the 52 shapes as custom
//! expressions under ARKit's names, as avatars with Perfect Sync have them, and the preset expressions for those without
//! (`blinkLeft`, `aa`, `relaxed`, ..., made by the preset `vrm1`); the weight of an expression is the x of its node's
//! translation. The gaze is the rotation of the `lookAt` node, yaw to the character's left and pitch up, the mean of both eyes. The head
//! is the bone `head` of a humanoid at rest in a T-pose, which has all bones that the format requires and moves no other.
//!
//! An avatar that has both kinds of expressions would move its face twice: [`Expressions`] leaves one kind out.
//!
//! Source: the VRM specification, `VRMC_vrm_animation-1.0` (<https://github.com/vrm-c/vrm-specification>).

use std::io::Write;

use serde_json::{Map, Value, json};

use super::{
    dialect::presets,
    frames::Take,
    gltf::{Animation, ExportError, GltfSettings, asset, write},
    keys::{Curves, Keys, gaze},
};
use crate::{
    mapping::{Face, Scratch},
    wire::profile::{EulerOrder, from_angles},
};

/// Expressions that VRM 1.0 defines and that an animation may move; the four looks are shown by `lookAt`.
pub(super) const PRESETS: [&str; 14] = [
    "happy",
    "angry",
    "sad",
    "relaxed",
    "surprised",
    "aa",
    "ih",
    "ou",
    "ee",
    "oh",
    "blink",
    "blinkLeft",
    "blinkRight",
    "neutral",
];

/// Which expressions are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expressions {
    /// The 52 and the presets.
    #[default]
    All,
    /// The 52 alone: for avatars with Perfect Sync.
    Custom,
    /// The presets alone: for avatars without it.
    Presets,
}

/// The humanoid: bone, parent, and where it is from its parent, metres. Those that the format requires, and the neck.
const BONES: [(&str, Option<usize>, [f32; 3]); 17] = [
    ("hips", None, [0.0, 0.95, 0.0]),
    ("spine", Some(0), [0.0, 0.1, 0.0]),
    ("chest", Some(1), [0.0, 0.15, 0.0]),
    ("neck", Some(2), [0.0, 0.25, 0.0]),
    ("head", Some(3), [0.0, 0.1, 0.0]),
    ("leftUpperArm", Some(2), [0.18, 0.2, 0.0]),
    ("leftLowerArm", Some(5), [0.27, 0.0, 0.0]),
    ("leftHand", Some(6), [0.25, 0.0, 0.0]),
    ("rightUpperArm", Some(2), [-0.18, 0.2, 0.0]),
    ("rightLowerArm", Some(8), [-0.27, 0.0, 0.0]),
    ("rightHand", Some(9), [-0.25, 0.0, 0.0]),
    ("leftUpperLeg", Some(0), [0.09, -0.05, 0.0]),
    ("leftLowerLeg", Some(11), [0.0, -0.42, 0.0]),
    ("leftFoot", Some(12), [0.0, -0.4, 0.0]),
    ("rightUpperLeg", Some(0), [-0.09, -0.05, 0.0]),
    ("rightLowerLeg", Some(14), [0.0, -0.42, 0.0]),
    ("rightFoot", Some(15), [0.0, -0.4, 0.0]),
];
const HEAD: usize = 4;

/// Writes a take.
///
/// # Errors
/// When `out` fails, or the take is too long for a file.
pub fn encode(
    take: &Take,
    expressions: Expressions,
    settings: &GltfSettings<'_>,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let curves = take.curves(settings.max_error);
    let mut nodes: Vec<Value> = BONES.iter().map(|(name, _, at)| json!({ "name": name, "translation": at })).collect();
    for (bone, node) in nodes.iter_mut().enumerate() {
        let children: Vec<usize> = (0..BONES.len()).filter(|child| BONES[*child].1 == Some(bone)).collect();
        if !children.is_empty() {
            node["children"] = json!(children);
        }
    }
    let mut scene = vec![0];
    let mut animation = Animation::behind(&json!({}), 0, false)?;
    let mut custom = Map::new();
    let mut preset = Map::new();
    let mut express = |name: &str, keys: &Keys, into: &mut Map<String, Value>, animation: &mut Animation| {
        // The weight is x of a place.
        let values = keys.values.iter().flat_map(|weight| [*weight, 0.0, 0.0]).collect();
        let keys = Keys { times: keys.times.clone(), values, width: 3 };
        let sampler = animation.sampler(&keys, "VEC3", 3);
        animation.channel(sampler, nodes.len(), "translation");
        into.insert(name.to_owned(), json!({ "node": nodes.len() }));
        scene.push(nodes.len());
        nodes.push(json!({ "name": name }));
    };
    if expressions != Expressions::Presets {
        for shape in curves.shapes() {
            express(shape.name(), &curves.shape(shape), &mut custom, &mut animation);
        }
    }
    let is_preset = |name: &str| PRESETS.contains(&name) || name.starts_with("look");
    for channel in curves.channels().filter(|name| !is_preset(name)) {
        express(channel, &curves.channel(channel), &mut custom, &mut animation);
    }
    if expressions != Expressions::Custom {
        for (name, keys) in presets_of(&curves) {
            express(name, &keys, &mut preset, &mut animation);
        }
    }
    let mut extension = json!({
        "specVersion": "1.0",
        "humanoid": { "humanBones": BONES.iter().enumerate().map(|(node, (name, ..))| ((*name).to_owned(), json!({ "node": node }))).collect::<Map<_, _>>() },
        "expressions": { "preset": preset, "custom": custom },
    });
    if let Some(keys) = curves.head() {
        let sampler = animation.sampler(&keys, "VEC4", 4);
        animation.channel(sampler, HEAD, "rotation");
    }
    if curves.has_gaze() {
        let keys = curves.turns(|frame| {
            let gaze = gaze(frame);
            let (yaw, pitch) = ((gaze.left.yaw + gaze.right.yaw) / 2.0, (gaze.left.pitch + gaze.right.pitch) / 2.0);
            from_angles([-pitch, yaw, 0.0], EulerOrder::Yxz)
        });
        let sampler = animation.sampler(&keys, "VEC4", 4);
        animation.channel(sampler, nodes.len(), "rotation");
        extension["lookAt"] = json!({ "node": nodes.len(), "offsetFromHeadBone": [0.0, 0.06, 0.0] });
        scene.push(nodes.len());
        nodes.push(json!({ "name": "lookAt" }));
    }
    let mut document = json!({
        "asset": asset(),
        "scene": 0,
        "scenes": [{ "nodes": scene }],
        "nodes": nodes,
        "extensionsUsed": ["VRMC_vrm_animation"],
        "extensions": { "VRMC_vrm_animation": extension },
    });
    let data = animation.write_into(&mut document, settings.name)?;
    write(&document, None, data, out)
}

/// The preset expressions, as an avatar that has nothing else shows them.
fn presets_of(curves: &Curves) -> Vec<(&'static str, Keys)> {
    let Some(mapping) = presets().iter().find(|preset| preset.id == "vrm1").map(|preset| &preset.mapping) else {
        return Vec::new();
    };
    let (compiled, _) = mapping.compile(&[PRESETS.to_vec()]);
    let mut scratch = Scratch::default();
    let written = compiled.targets(0).collect::<Vec<_>>();
    let keys = written.into_iter().filter_map(|target| {
        let keys = curves.keys(|frame, out| {
            compiled
                .evaluate(&Face { weights: &frame.weights, channels: &frame.channels, head: [0.0; 3] }, &mut scratch);
            out.push(compiled.mesh(0, &scratch).find(|(of, _)| *of == target).map_or(0.0, |(_, weight)| weight));
        });
        Some((*PRESETS.get(target)?, keys))
    });
    keys.collect()
}
