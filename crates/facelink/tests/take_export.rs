//! Takes to glTF and VRM animations and back, and onto the avatars of the repository.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use facelink::{
    Blendshape, FaceFrame,
    performer::Performance,
    take::{
        FrameRate, Take, TakeFrame,
        gltf::{self, GltfSettings},
        gltf_animation, import, vrma,
    },
};

/// What no value may be off by.
const BAR: f32 = 1.0 / 510.0;

/// Ten seconds and a bit, unevenly timed as a network leaves them, with a face that is lost for a while.
fn take() -> Take {
    let performance = Performance::new(9);
    let frames = (0..612_u64).map(|i| {
        let time = FrameRate::SIXTY.time_of(i) + Duration::from_micros(i * 7919 % 4000) * u32::from(i > 0);
        let mut frame = performance.frame_at(time);
        if (300..320).contains(&i) {
            frame = FaceFrame { tracked: false, ..FaceFrame::default() };
        }
        TakeFrame { time, frame }
    });
    Take::new(frames.collect()).unwrap()
}

fn rates() -> impl Iterator<Item = Option<FrameRate>> {
    std::iter::once(None).chain(FrameRate::STANDARD.map(Some))
}

fn at_rate(take: &Take, rate: Option<FrameRate>) -> Take {
    rate.map_or_else(|| take.clone(), |rate| take.resampled_to_end(rate))
}

fn end(take: &Take) -> Duration {
    take.frames().last().unwrap().time
}

/// The tracked frames of a take against what was read back.
fn assert_same(take: &Take, back: &Take, what: &str) {
    assert!(end(back).abs_diff(end(take)) < Duration::from_millis(1), "{what}: {:?} for {:?}", end(back), end(take));
    for TakeFrame { time, frame } in take.frames().iter().filter(|frame| frame.frame.tracked) {
        let read = back.frame_at(*time);
        for shape in Blendshape::ALL {
            let off = (read.weights[shape.index()] - frame.weights[shape.index()]).abs();
            assert!(off <= BAR, "{what}: {shape} at {time:?} is off by {off}");
        }
        let turns = frame.head.zip(read.head).unwrap();
        let dot: f32 = turns.0.rotation.iter().zip(turns.1.rotation).map(|(a, b)| a * b).sum();
        assert!(2.0 * dot.abs().min(1.0).acos() < 0.005, "{what}: the head at {time:?}");
    }
}

#[test]
fn export_is_read_back_at_every_rate() {
    let take = take();
    let settings = GltfSettings::default();
    for rate in rates() {
        let take = at_rate(&take, rate);
        let what = rate.map_or_else(|| "as recorded".to_owned(), |rate| rate.to_string());
        let (mut glb, mut vrma) = (Vec::new(), Vec::new());
        let report = gltf::glb(&take, None, &settings, &mut glb).unwrap();
        assert_eq!((report.shapes, report.bones.len()), (52, 3), "{report:?}");
        vrma::encode(&take, vrma::Expressions::All, &settings, &mut vrma).unwrap();
        for (file, kind) in [(glb, "glb"), (vrma, "vrma")] {
            assert_eq!(import::kind(&file), import::Kind::Gltf);
            let back = gltf_animation::decode(&file).unwrap();
            assert_same(&take, &back, &format!("{kind} {what}"));
            let (a, b) = (take.frames()[100].frame.gaze.unwrap(), back.frame_at(take.frames()[100].time).gaze.unwrap());
            let mean = |gaze: facelink::Gaze| (gaze.left.yaw + gaze.right.yaw) / 2.0;
            assert!((mean(a) - mean(b)).abs() < 0.01, "{kind} {what}: {a:?} {b:?}");
        }
    }
}

#[test]
fn export_keeps_what_the_model_has() {
    let take = take();
    for (file, preset, bones) in [("aria.glb", "arkit", 3), ("rivet.glb", "unified_expressions", 3)] {
        let path = format!("{}/../../assets/avatars/{file}", env!("CARGO_MANIFEST_DIR"));
        let Ok(model) = std::fs::read(&path) else {
            assert!(std::env::var_os("CI").is_none(), "{path} is not there");
            eprintln!("skipped: {path} is not there");
            return;
        };
        let mut out = Vec::new();
        let report = gltf::glb(&take, Some(&model), &GltfSettings::default(), &mut out).unwrap();
        assert_eq!((report.preset.as_deref(), report.bones.len()), (Some(preset), bones), "{report:?}");
        assert!(report.shapes >= 46, "{report:?}");
        let json = |bytes: &[u8]| -> serde_json::Value {
            let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
            serde_json::from_slice(&bytes[20..20 + length]).unwrap()
        };
        let (before, after) = (json(&model), json(&out));
        for part in ["nodes", "meshes", "materials", "scenes", "skins"] {
            assert_eq!(before[part], after[part], "{file}: {part}");
        }
        let (views, now) = (before["bufferViews"].as_array().unwrap(), after["bufferViews"].as_array().unwrap());
        assert_eq!(views[..], now[..views.len()]);
        let data = |bytes: &[u8]| {
            let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
            bytes[20 + length + 8..].to_vec()
        };
        assert!(data(&out).starts_with(&data(&model)), "{file}: its data");
        let length = u32::from_le_bytes(out[8..12].try_into().unwrap()) as usize;
        assert_eq!(length, out.len());
        if file == "aria.glb" {
            assert_same(&take, &gltf_animation::decode(&out).unwrap(), file);
        }
        // An animated model is a model: animated again, it has two.
        let mut again = Vec::new();
        gltf::glb(&take, Some(&out), &GltfSettings::default(), &mut again).unwrap();
        assert_eq!(json(&again)["animations"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn export_onto_what_has_no_face_says_so() {
    let take = take();
    let refused = |model: &[u8]| {
        gltf::glb(&take, Some(model), &GltfSettings::default(), &mut Vec::new()).unwrap_err().to_string()
    };
    for (model, wanted) in [
        (&b"{\"asset\":{\"version\":\"2.0\"}}"[..], "the model has nothing that the take moves"),
        (b"hello", "the model: this is neither a glTF JSON file nor a binary glTF file"),
        (b"{\"nodes\":[{\"children\":[0]}]}", "the model: field `nodes`: a node is below itself"),
        (b"{\"nodes\":[{\"name\":\"Head\"}],\"bufferViews\":3}", "the model: field `bufferViews`: must be an array"),
    ] {
        assert!(refused(model).starts_with(wanted), "{}", refused(model));
    }
    // A model as text, whose data is in it as text too.
    let model = br#"{"asset":{"version":"2.0"},"nodes":[{"name":"Head"}],"buffers":[{"byteLength":4,"uri":"data:;base64,AAAAAA=="}]}"#;
    let mut out = Vec::new();
    gltf::glb(&take, Some(model), &GltfSettings::default(), &mut out).unwrap();
    let back = gltf_animation::decode(&out).unwrap();
    assert!(end(&back).abs_diff(end(&take)) < Duration::from_millis(1) && back.frames()[0].frame.head.is_some());
}

#[test]
fn export_moves_a_vrm_file_by_its_expressions() {
    // Targets under names that no preset knows, which the file's own expressions move; one that nothing moves keeps its weight.
    let expression = |target: usize, weight: f32| {
        format!(r#"{{"morphTargetBinds":[{{"node":1,"index":{target},"weight":{weight}}}]}}"#)
    };
    let model = format!(
        r#"{{"asset":{{"version":"2.0"}},"nodes":[{{"name":"Armature"}},{{"name":"Body","mesh":0}},{{"name":"thing"}}],"meshes":[{{"primitives":[{{"targets":[{{}},{{}},{{}}]}}],"weights":[0,0,0.25],"extras":{{"targetNames":["q1","q2","q3"]}}}}],"extensionsUsed":["VRMC_vrm"],"extensions":{{"VRMC_vrm":{{"specVersion":"1.0","humanoid":{{"humanBones":{{"head":{{"node":2}}}}}},"expressions":{{"preset":{{"blinkLeft":{},"aa":{}}}}}}}}}}}"#,
        expression(0, 1.0),
        expression(1, 0.5),
    );
    let frames = (0..60_u64).map(|i| {
        let mut frame = Performance::new(1).frame_at(Duration::ZERO);
        frame.weights = [0.0; 52];
        frame.set(Blendshape::EyeBlinkLeft, i as f32 / 59.0);
        frame.set(Blendshape::JawOpen, 0.5);
        TakeFrame { time: FrameRate::SIXTY.time_of(i), frame }
    });
    let take = Take::new(frames.collect()).unwrap();
    let mut out = Vec::new();
    let report = gltf::glb(&take, Some(model.as_bytes()), &GltfSettings::default(), &mut out).unwrap();
    assert_eq!(
        (report.preset.as_deref(), &report.meshes[..], &report.bones[..]),
        (Some("vrm1"), &["Body".to_owned()][..], &["thing".to_owned()][..])
    );
    let back = gltf_animation::decode(&out).unwrap();
    let last = &back.frames().last().unwrap().frame;
    let channel = |name: &str| last.channels.iter().find(|channel| &*channel.name == name).unwrap().value;
    assert!((channel("q1") - 1.0).abs() < 0.01, "the lid is shut: {}", channel("q1"));
    assert!((channel("q2") - 0.3).abs() < 0.02, "half of `aa` at 1.2 times half the jaw: {}", channel("q2"));
    assert_eq!(channel("q3"), 0.25);
}

#[test]
fn import_of_steps_and_curves() {
    // One target, keys at 0 and 1 second: held, and by a curve that overshoots.
    for (interpolation, values, half) in
        [("STEP", vec![0.0_f32, 1.0], 0.0), ("CUBICSPLINE", vec![0.0, 0.0, 2.0, 0.0, 1.0, 0.0], 0.75)]
    {
        let mut data: Vec<u8> = [0.0_f32, 1.0].iter().flat_map(|time| time.to_le_bytes()).collect();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        let base64 = base64_of(&data);
        let json = format!(
            r#"{{"asset":{{"version":"2.0"}},"nodes":[{{"mesh":0}}],"meshes":[{{"primitives":[{{"targets":[{{}}]}}],"extras":{{"targetNames":["jawOpen"]}}}}],"buffers":[{{"byteLength":{},"uri":"data:application/octet-stream;base64,{base64}"}}],"bufferViews":[{{"buffer":0,"byteLength":8}},{{"buffer":0,"byteOffset":8,"byteLength":{}}}],"accessors":[{{"bufferView":0,"componentType":5126,"count":2,"type":"SCALAR"}},{{"bufferView":1,"componentType":5126,"count":{},"type":"SCALAR"}}],"animations":[{{"samplers":[{{"input":0,"output":1,"interpolation":"{interpolation}"}}],"channels":[{{"sampler":0,"target":{{"node":0,"path":"weights"}}}}]}}]}}"#,
            data.len(),
            data.len() - 8,
            values.len(),
        );
        let take = import::read(json.as_bytes()).unwrap();
        let jaw = take.frame_at(Duration::from_millis(500)).get(Blendshape::JawOpen).unwrap();
        assert!((jaw - half).abs() < 0.01, "{interpolation}: {jaw}");
        assert!((end(&take).as_secs_f32() - 1.0).abs() < 1e-6);
        let cut = json.replace("\"count\":2", "\"count\":3");
        let error = import::read(cut.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("field `"), "{error}");
    }
}

fn base64_of(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= three.len() { letter } else { '=' });
        }
    }
    text
}
