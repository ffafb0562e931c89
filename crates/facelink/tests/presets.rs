//! What each preset makes of a rig of its dialect: found by its names, all of it shown that can be, left kept left.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod rigs;

use std::{collections::HashMap, fs, path::Path};

use facelink::{
    Blendshape, Channel,
    mapping::{Compiled, Face, Mapping, Preset, Scratch, detect},
};
use serde_json::json;

/// A rig, the preset that is for it, and how many shapes it must show.
struct Rig {
    label: &'static str,
    preset: &'static str,
    targets: [Vec<String>; 1],
    shown: usize,
}

fn every_rig() -> Vec<Rig> {
    let own = rigs::all().into_iter().map(|(preset, targets)| Rig {
        label: preset,
        preset,
        targets: [targets.iter().map(|target| (*target).to_owned()).collect()],
        shown: rigs::expected(preset),
    });
    let variants = rigs::variants().into_iter();
    own.chain(variants.map(|(label, preset, targets, shown)| Rig { label, preset, targets: [targets], shown }))
        .collect()
}

fn presets() -> Vec<Preset> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    let mut mappings = HashMap::new();
    for entry in fs::read_dir(folder).expect("the folder of the presets is there") {
        let path = entry.expect("its entries can be read").path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some(id) = file.strip_suffix(".face.ron") {
            let text = fs::read_to_string(&path).expect("a preset can be read");
            let mapping: Mapping = text.parse().map_err(|error| format!("{file}: {error}")).expect("a preset parses");
            assert!(!mapping.name.is_empty() && mapping.about.contains("https://"), "{file} says whose names it has");
            mappings.insert(id.to_owned(), mapping);
        }
    }
    let lookup = |id: &str| mappings.get(id).cloned().ok_or_else(|| "no such preset".to_owned());
    let presets: Vec<_> = rigs::all()
        .into_iter()
        .map(|(id, _)| Preset {
            id: id.to_owned(),
            mapping: lookup(id).and_then(|it| it.resolve(lookup).map_err(|error| error.to_string())).expect(id),
        })
        .collect();
    assert_eq!(presets.len(), mappings.len(), "every preset has a rig");
    presets
}

fn preset<'a>(presets: &'a [Preset], id: &str) -> &'a Preset {
    presets.iter().find(|preset| preset.id == id).expect("a rig names a preset")
}

/// What the targets get when these shapes are at their values and all others at 0.
fn weights<'a>(compiled: &Compiled, rig: &'a Rig, shapes: &[(Blendshape, f32)]) -> HashMap<&'a str, f32> {
    let mut values = [0.0; 52];
    for (shape, value) in shapes {
        values[shape.index()] = *value;
    }
    let mut scratch = Scratch::default();
    compiled.evaluate(&Face { weights: &values, ..Face::default() }, &mut scratch);
    compiled.mesh(0, &scratch).map(|(target, weight)| (rig.targets[0][target].as_str(), weight)).collect()
}

#[test]
fn preset_of_each_dialect_is_detected_and_complete() {
    let presets = presets();
    for rig in every_rig() {
        let found = detect(&presets, &rig.targets).expect("something is found");
        let missing: Vec<_> = found.report.missing.iter().map(|shape| shape.name()).collect();
        assert_eq!(presets[found.preset].id, rig.preset, "{}", rig.label);
        assert_eq!(found.report.shown.len(), rig.shown, "{}: missing {missing:?}", rig.label);
        assert!(found.report.unused.is_empty(), "{}: unknown {:?}", rig.label, found.report.unused);
    }
}

#[test]
fn preset_sides_are_kept_and_nothing_moves_twice() {
    let presets = presets();
    for rig in every_rig().into_iter().filter(|rig| rig.label == rig.preset) {
        let (compiled, _) = preset(&presets, rig.preset).mapping.compile(&rig.targets);
        let checks = rigs::checks(rig.preset);
        assert!(checks.len() >= 12, "{}", rig.label);
        for (shape, moves, stays) in checks {
            let place = format!("{}: {shape}", rig.label);
            for target in [moves, stays] {
                assert!(rig.targets[0].iter().any(|name| name == target), "{place}: no target {target}");
            }
            let shape = Blendshape::from_name(shape).expect("a check names a shape");
            let weights = weights(&compiled, &rig, &[(shape, 1.0)]);
            let of = |target: &str| weights.get(target).copied().unwrap_or(0.0);
            assert!(of(moves) > 0.02, "{place}: {moves} is at {}", of(moves));
            assert!(of(stays).abs() < 1e-6, "{place}: {stays} is at {}", of(stays));
        }
    }
}

#[test]
fn preset_shapes_move_targets_within_range() {
    let presets = presets();
    for rig in every_rig() {
        let (compiled, report) = preset(&presets, rig.preset).mapping.compile(&rig.targets);
        // Dials that go both ways have a range of their own.
        let (low, high) = preset(&presets, rig.preset).mapping.limits.unwrap_or((0.0, 1.0));
        let ranged = |weights: &HashMap<&str, f32>| weights.values().all(|weight| (low..=high).contains(weight));
        for shape in &report.shown {
            let alone = weights(&compiled, &rig, &[(*shape, 1.0)]);
            assert!(ranged(&alone), "{}: {shape}: {alone:?}", rig.label);
            // Where vowels are the mouth, closing it only takes back what the jaw has opened.
            let jaw = weights(&compiled, &rig, &[(Blendshape::JawOpen, 1.0)]);
            let closed = weights(&compiled, &rig, &[(Blendshape::JawOpen, 1.0), (Blendshape::MouthClose, 0.5)]);
            let moves = alone.values().any(|weight| weight.abs() > 0.02);
            assert!(moves || (*shape == Blendshape::MouthClose && closed != jaw), "{}: {shape}", rig.label);
        }
        let all: Vec<_> = Blendshape::ALL.into_iter().map(|shape| (shape, 1.0)).collect();
        assert!(ranged(&weights(&compiled, &rig, &all)), "{}", rig.label);
    }
}

/// The targets that a full shape moves, on a rig of several meshes.
fn moved(presets: &[Preset], meshes: &[Vec<String>], shape: Blendshape) -> (String, Vec<String>) {
    let found = detect(presets, meshes).expect("something is found");
    let mut values = [0.0; 52];
    values[shape.index()] = 1.0;
    let mut scratch = Scratch::default();
    found.compiled.evaluate(&Face { weights: &values, ..Face::default() }, &mut scratch);
    let mut names = Vec::new();
    for (index, targets) in meshes.iter().enumerate() {
        let moved = found.compiled.mesh(index, &scratch).filter(|(_, weight)| *weight > 0.0);
        names.extend(moved.map(|(target, _)| targets[target].clone()));
    }
    (presets[found.preset].id.clone(), names)
}

#[test]
fn affix_of_a_part_of_the_head_is_taken_off_next_to_others() {
    let presets = presets();
    let head = rigs::metahuman_channels("head_lod0_mesh__");
    let teeth: Vec<String> = rigs::metahuman_channels("teeth_lod0_mesh__").into_iter().take(60).collect();
    let jaw = ["head_lod0_mesh__jaw_open", "teeth_lod0_mesh__jaw_open"].map(str::to_owned);
    let teeth: Vec<String> = teeth.into_iter().chain([jaw[1].clone()]).collect();
    let one = vec![head.iter().chain(&teeth).cloned().collect()];
    for meshes in [one, vec![head, teeth]] {
        let (preset, moves) = moved(&presets, &meshes, Blendshape::JawOpen);
        assert_eq!((preset.as_str(), &moves[..]), ("metahuman", &jaw[..]));
    }
    // A mesh with one target, named by what it is part of.
    let arkit: Vec<String> = rigs::ARKIT.iter().map(|name| (*name).to_owned()).collect();
    let meshes = vec![arkit.clone(), vec!["teeth_jawOpen".to_owned()]];
    assert_eq!(moved(&presets, &meshes, Blendshape::JawOpen).1, ["jawOpen", "teeth_jawOpen"]);
    // A second set behind a prefix is no part of the first.
    let more = ["old_jawOpen", "old_jawLeft", "old_jawRight", "old_jawForward"].map(str::to_owned);
    let meshes = vec![arkit.into_iter().chain(more).collect()];
    assert_eq!(moved(&presets, &meshes, Blendshape::JawOpen).1, ["jawOpen"]);
}

#[test]
fn names_that_end_like_shapes_by_chance_are_not_driven() {
    let presets = presets();
    let props = ["tail_A", "hat_O", "cape_up", "Wind_L", "belt_joy", "ring_U"].map(str::to_owned).to_vec();
    assert!(detect(&presets, &[props]).is_none());
}

#[test]
fn one_of_two_sets_of_the_same_names_is_driven() {
    let presets = presets();
    let both = |a: &[&str], b: &[&str]| vec![a.iter().chain(b).map(|name| (*name).to_owned()).collect::<Vec<_>>()];
    for (meshes, moves) in
        [(both(rigs::ARKIT, rigs::SRANIPAL), "jawOpen"), (both(rigs::SRANIPAL, rigs::UNIFIED_EXPRESSIONS), "JawOpen")]
    {
        assert_eq!(moved(&presets, &meshes, Blendshape::JawOpen).1, [moves]);
    }
}

#[test]
fn eye_bones_of_vrm_dialects_turn_as_far_as_such_files_say() {
    let presets = presets();
    for id in ["vroid", "perfect_sync", "vrm0", "vrm1"] {
        let eyes = preset(&presets, id).mapping.bones.eyes.clone().expect(id);
        let range = eyes.range.expect(id);
        for side in [-1.0, 1.0] {
            let (yaw, pitch) = range.turn(true, side * facelink::EYE_LOOK_RANGE, side * facelink::EYE_LOOK_RANGE);
            for turned in [yaw, pitch].map(|angle| side * angle.to_degrees()) {
                assert!((5.0..=10.01).contains(&turned), "{id}: {turned}");
            }
        }
    }
}

/// What `mapping.js` of the web client is held to: every rig, and a mapping with everything that rules can say.
fn javascript_vectors() -> serde_json::Value {
    let presets = presets();
    let faces: Vec<[f32; 52]> = (0..3_usize)
        .map(|face| std::array::from_fn(|i| ((i * 37 + face * 29) % 101) as f32 * 0.0125 - 0.125))
        .collect();
    let channels = [Channel { name: "ear".into(), value: 0.5 }, Channel { name: "tail".into(), value: -0.25 }];
    let head = [0.3, -0.2, 0.1];
    let shown = |compiled: &Compiled| -> Vec<Vec<(usize, f32)>> {
        let mut scratch = Scratch::default();
        let shown = faces.iter().map(|weights| {
            compiled.evaluate(&Face { weights, channels: &channels, head }, &mut scratch);
            compiled.mesh(0, &scratch).collect()
        });
        shown.collect()
    };
    let rigs: Vec<_> = every_rig()
        .iter()
        .map(|rig| {
            let found = detect(&presets, &rig.targets).expect("a dialect");
            json!({
                "label": rig.label,
                "preset": presets[found.preset].id,
                "targets": rig.targets[0],
                "weights": shown(&found.compiled),
            })
        })
        .collect();
    let text = r#"(mirror: true, limits: (-0.5, 1.5), channels: {"jawOpen": (gain: 2.0, max: 0.8), "ear": (curve: Smooth)}, rules: [
        (from: "jawOpen", to: "a"),
        (from: ["jawOpen", "mouthClose"], combine: Multiply, to: ("b", 0.5)),
        (from: [("jawOpen", -1.0), (channel: "mouthClose", offset: 0.1)], to: "c"),
        (from: "mouthClose", gain: 3.0, to: ["d", "b"]),
        (from: "ear", curve: Power(2.0), to: "e"),
        (from: "headYaw", to: "f"),
        (from: [], offset: 0.25, to: "g"),
        (from: ["mouthSmileLeft", "mouthSmileRight", "cheekPuff"], combine: Average, curve: Smooth, to: "h"),
        (from: ["mouthSmileLeft", ("headPitch", 2.0)], combine: Min, min: -0.1, to: "i"),
        (from: ["eyeBlinkLeft", "eyeBlinkRight", "headRoll"], combine: Max, curve: Points([(0.0, 0.1), (0.4, 0.9), (1.0, -0.3)]), to: "j"),
        (from: "tail", curve: Power(0.5), max: 0.0, to: "k"),
    ])"#;
    let mapping: Mapping = text.parse().expect("a mapping");
    let resolved = mapping.resolve(|_| Err("no includes here".to_owned())).expect("resolved");
    let targets: Vec<String> = ('a'..='k').map(String::from).collect();
    let (compiled, _) = resolved.compile(&[targets]);
    json!({
        "faces": faces.iter().map(|weights| weights.to_vec()).collect::<Vec<_>>(),
        "channels": channels.iter().map(|it| (it.name.to_string(), it.value.into())).collect::<serde_json::Map<_, _>>(),
        "head": head,
        "rigs": rigs,
        "rules": {"mapping": compiled, "weights": shown(&compiled)},
    })
}

#[test]
fn javascript_vectors_are_what_the_presets_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/web/mapping_vectors.json");
    let made = serde_json::to_string(&javascript_vectors()).expect("JSON") + "\n";
    if std::env::var_os("FACELINK_WRITE_VECTORS").is_some() {
        fs::write(&path, &made).expect("written");
    }
    let there = fs::read_to_string(&path).expect("the vectors are there");
    // Numbers are compared by what they say: a power may differ in its last bit from machine to machine.
    let (there, made): (serde_json::Value, serde_json::Value) =
        (serde_json::from_str(&there).expect("JSON"), serde_json::from_str(&made).expect("JSON"));
    assert!(
        is_same(&there, &made),
        "run this test with FACELINK_WRITE_VECTORS=1, and then `node tests/web/view.mjs mapping`"
    );
}

fn is_same(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-7),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, value)| b.get(name).is_some_and(|other| is_same(value, other)))
        }
        _ => a == b,
    }
}
