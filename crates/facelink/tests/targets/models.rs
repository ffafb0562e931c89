//! Model files: glTF as JSON and in its binary container, with the declarations of VRM.

use facelink::model::{Expression, Vrm, advice, mend, names_in_extras, target_names};

use super::{Source, Target, json::value, name};

pub struct Models;

/// A field, now and then of any type or of a wrong name.
fn field(source: &mut Source<'_>, out: &mut String, key: &str, write: impl FnOnce(&mut Source<'_>, &mut String)) {
    let key = if source.one_in(200) { name(source) } else { key.to_owned() };
    out.push_str(&serde_json::to_string(&key).unwrap_or_default());
    out.push(':');
    if source.one_in(60) { value(source, out, 2) } else { write(source, out) }
}

fn list(source: &mut Source<'_>, out: &mut String, most: usize, write: impl Fn(&mut Source<'_>, &mut String)) {
    out.push('[');
    for i in 0..source.below(most + 1) {
        out.push_str(if i > 0 { "," } else { "" });
        if source.one_in(60) { value(source, out, 2) } else { write(source, out) }
    }
    out.push(']');
}

fn object(source: &mut Source<'_>, out: &mut String, fields: &[(&str, &dyn Fn(&mut Source<'_>, &mut String))]) {
    out.push('{');
    let mut any = false;
    for (key, write) in fields {
        if source.one_in(12) {
            continue;
        }
        out.push_str(if any { "," } else { "" });
        any = true;
        field(source, out, key, |source, out| write(source, out));
    }
    out.push('}');
}

fn index(source: &mut Source<'_>, out: &mut String) {
    match source.below(24) {
        0 => out.push_str("-1"),
        1 => out.push_str("4294967296"),
        2 => out.push_str("1.5"),
        3 => out.push_str("2.0"),
        _ => out.push_str(&source.below(6).to_string()),
    }
}

fn number(source: &mut Source<'_>, out: &mut String) {
    out.push_str(&source.good_digits());
}

fn text(source: &mut Source<'_>, out: &mut String) {
    let name = name(source);
    out.push_str(&serde_json::to_string(&name).unwrap_or_default());
}

fn any_of(source: &mut Source<'_>, out: &mut String, from: &[&str]) {
    let text = source.pick(from);
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn bind(source: &mut Source<'_>, out: &mut String) {
    object(source, out, &[("mesh", &index), ("node", &index), ("index", &index), ("weight", &number)]);
}

fn binds(source: &mut Source<'_>, out: &mut String) {
    list(source, out, 4, bind);
}

fn range(source: &mut Source<'_>, out: &mut String) {
    let fields: [(&str, &dyn Fn(&mut Source<'_>, &mut String)); 4] =
        [("xRange", &number), ("yRange", &number), ("inputMaxValue", &number), ("outputScale", &number)];
    object(source, out, &fields);
}

fn vrm0(source: &mut Source<'_>, out: &mut String) {
    let bone = |source: &mut Source<'_>, out: &mut String| {
        let name = |source: &mut Source<'_>, out: &mut String| any_of(source, out, &["head", "neck", "leftEye", "jaw"]);
        object(source, out, &[("bone", &name), ("node", &index)]);
    };
    let bones = |source: &mut Source<'_>, out: &mut String| list(source, out, 5, bone);
    let humanoid = |source: &mut Source<'_>, out: &mut String| object(source, out, &[("humanBones", &bones)]);
    let look = |source: &mut Source<'_>, out: &mut String| {
        let kind = |source: &mut Source<'_>, out: &mut String| any_of(source, out, &["Bone", "BlendShape"]);
        let side = ("lookAtHorizontalInner", &range as &dyn Fn(&mut Source<'_>, &mut String));
        object(source, out, &[("lookAtTypeName", &kind), side, ("lookAtVerticalUp", &range)]);
    };
    let group = |source: &mut Source<'_>, out: &mut String| {
        let preset =
            |source: &mut Source<'_>, out: &mut String| any_of(source, out, &["a", "blink_l", "unknown", "lookup"]);
        let binary = |source: &mut Source<'_>, out: &mut String| out.push_str(source.pick(&["true", "false", "1"]));
        object(source, out, &[("name", &text), ("presetName", &preset), ("binds", &binds), ("isBinary", &binary)]);
    };
    let groups = |source: &mut Source<'_>, out: &mut String| list(source, out, 6, group);
    let master = |source: &mut Source<'_>, out: &mut String| object(source, out, &[("blendShapeGroups", &groups)]);
    object(source, out, &[("humanoid", &humanoid), ("firstPerson", &look), ("blendShapeMaster", &master)]);
}

fn vrm1(source: &mut Source<'_>, out: &mut String) {
    let bone = |source: &mut Source<'_>, out: &mut String| object(source, out, &[("node", &index)]);
    let bones = |source: &mut Source<'_>, out: &mut String| {
        object(source, out, &[("head", &bone), ("leftEye", &bone), ("rightEye", &bone), ("jaw", &bone)]);
    };
    let humanoid = |source: &mut Source<'_>, out: &mut String| object(source, out, &[("humanBones", &bones)]);
    let look = |source: &mut Source<'_>, out: &mut String| {
        let kind = |source: &mut Source<'_>, out: &mut String| any_of(source, out, &["bone", "expression"]);
        object(source, out, &[("type", &kind), ("rangeMapHorizontalOuter", &range), ("rangeMapVerticalDown", &range)]);
    };
    let expression = |source: &mut Source<'_>, out: &mut String| {
        let weakens = |source: &mut Source<'_>, out: &mut String| any_of(source, out, &["none", "block", "blend"]);
        let binary = |source: &mut Source<'_>, out: &mut String| out.push_str(source.pick(&["true", "false", "0"]));
        let mouth = ("overrideMouth", &weakens as &dyn Fn(&mut Source<'_>, &mut String));
        object(source, out, &[("morphTargetBinds", &binds), ("isBinary", &binary), mouth, ("overrideBlink", &weakens)]);
    };
    let table = |source: &mut Source<'_>, out: &mut String| {
        let own = name(source);
        object(
            source,
            out,
            &[("aa", &expression), ("blinkLeft", &expression), ("happy", &expression), (&own, &expression)],
        );
    };
    let tables =
        |source: &mut Source<'_>, out: &mut String| object(source, out, &[("preset", &table), ("custom", &table)]);
    object(source, out, &[("humanoid", &humanoid), ("lookAt", &look), ("expressions", &tables)]);
}

fn document(source: &mut Source<'_>, out: &mut String) {
    let accessor = |source: &mut Source<'_>, out: &mut String| {
        object(source, out, &[("bufferView", &index), ("count", &index), ("name", &text)]);
    };
    let accessors = |source: &mut Source<'_>, out: &mut String| list(source, out, 6, accessor);
    let attributes = |source: &mut Source<'_>, out: &mut String| {
        object(source, out, &[("POSITION", &index), ("NORMAL", &index)]);
    };
    let primitive = |source: &mut Source<'_>, out: &mut String| {
        let targets = |source: &mut Source<'_>, out: &mut String| list(source, out, 4, attributes);
        object(source, out, &[("attributes", &attributes), ("targets", &targets)]);
    };
    let mesh = |source: &mut Source<'_>, out: &mut String| {
        let primitives = |source: &mut Source<'_>, out: &mut String| list(source, out, 3, primitive);
        let names = |source: &mut Source<'_>, out: &mut String| list(source, out, 5, text);
        let extras = |source: &mut Source<'_>, out: &mut String| object(source, out, &[("targetNames", &names)]);
        object(source, out, &[("name", &text), ("primitives", &primitives), ("extras", &extras)]);
    };
    let meshes = |source: &mut Source<'_>, out: &mut String| list(source, out, 3, mesh);
    let required = |source: &mut Source<'_>, out: &mut String| {
        list(source, out, 3, |source, out| {
            any_of(source, out, &["VRM", "KHR_materials_unlit", "KHR_materials_sheen", "KHR_draco_mesh_compression"]);
        });
    };
    let second = source.one_in(2);
    let extensions = |source: &mut Source<'_>, out: &mut String| {
        if second { object(source, out, &[("VRMC_vrm", &vrm1)]) } else { object(source, out, &[("VRM", &vrm0)]) }
    };
    let fields: [(&str, &dyn Fn(&mut Source<'_>, &mut String)); 4] = [
        ("accessors", &accessors),
        ("meshes", &meshes),
        ("extensionsRequired", &required),
        ("extensions", &extensions),
    ];
    object(source, out, &fields);
}

impl Target for Models {
    const NAME: &'static str = "models";

    fn fresh() -> Self {
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let mut json = String::new();
        document(source, &mut json);
        if source.one_in(2) {
            out.extend_from_slice(json.as_bytes());
            return;
        }
        let stated = if source.one_in(12) { source.number() } else { json.len() as u32 };
        out.extend_from_slice(b"glTF");
        out.extend_from_slice(&if source.one_in(32) { source.number() } else { 2 }.to_le_bytes());
        out.extend_from_slice(&source.number().to_le_bytes());
        out.extend_from_slice(&stated.to_le_bytes());
        out.extend_from_slice(b"JSON");
        out.extend_from_slice(json.as_bytes());
        out.extend((0..source.below(40)).map(|_| source.byte()));
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let _ = advice(input);
        if let Ok(Some(mended)) = mend(input) {
            // What was changed is a file again, and nothing is changed twice.
            let again = mend(&mended.bytes).map(|again| again.map(|again| again.bytes.len()));
            assert!(again.is_ok_and(|length| length.is_none_or(|length| length <= mended.bytes.len())), "{mended:?}");
        }
        if let Ok(text) = std::str::from_utf8(input)
            && let Some(names) = names_in_extras(text)
        {
            let accessors = vec![Some("a"); names.len()];
            assert_eq!(target_names(&[names], &accessors).map_or(0, |names| names.len()), accessors.len());
        }
        let Ok(Some(vrm)) = Vrm::read(input) else { return false };
        let mut levels: Vec<f32> = (0..vrm.expressions.len()).map(|number| number as f32 - 0.5).collect();
        Expression::settle(&vrm.expressions, &mut levels);
        assert!(levels.iter().all(|level| (0.0..=1.0).contains(level)), "{levels:?}");
        for expression in &vrm.expressions {
            assert!((1..=256).contains(&expression.name.len()) && !expression.binds.is_empty());
            assert!(expression.binds.iter().all(|bind| bind.weight > 0.0 && bind.weight <= 1.0), "{expression:?}");
        }
        if let Some(look) = vrm.look_at {
            let (yaw, pitch) = look.range.turn(true, 0.5, -0.5);
            assert!(yaw.is_finite() && pitch.is_finite(), "{look:?}");
        }
        assert!(vrm.problems.len() <= 17);
        true
    }
}
