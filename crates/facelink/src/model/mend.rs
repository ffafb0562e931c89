//! Files that glTF allows and the `gltf` crate refuses, or that Bevy reads with their targets mixed up or their levels of detail
//! left out.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ModelError, glb, lod, names::names_in_extras};

/// A file after [`mend`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mended {
    /// The whole file, binary or JSON as it was.
    pub bytes: Vec<u8>,
    /// What was changed that its author would want to know, in words.
    pub notes: Vec<String>,
}

/// Notes about one kind of thing; the rest is a number.
const MAX_NAMED: usize = 8;

/// 4 bytes for an index and 64 for the largest element, a matrix: all of them zero.
const ZEROS: usize = 68;
const ZEROS_URI: &str = "data:application/octet-stream;base64,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// Extensions of compressed meshes, whose accessors have no view of their own.
const COMPRESSED: [&str; 3] = ["KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression"];

/// Extensions without which a model is complete, if plainer: a file that requires them can be shown.
fn is_optional(extension: &str) -> bool {
    const LOOKS: [&str; 4] = ["KHR_materials_", "KHR_lights_", "KHR_xmp", "KHR_animation_pointer"];
    extension == "VRM"
        || extension == lod::EXTENSION
        || extension.starts_with("VRMC_")
        || LOOKS.iter().any(|start| extension.starts_with(start))
}

/// Extensions that Bevy's loader reads: requiring them is no error.
const SUPPORTED: [&str; 7] = [
    "KHR_lights_punctual",
    "KHR_materials_emissive_strength",
    "KHR_materials_ior",
    "KHR_materials_transmission",
    "KHR_materials_unlit",
    "KHR_materials_volume",
    "KHR_texture_transform",
];

/// The fields that decide whether anything has to be done; reading them alone is quick.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    accessors: Vec<AccessorOutline>,
    #[serde(default)]
    meshes: Vec<MeshOutline>,
    #[serde(default)]
    extensions_required: Vec<String>,
    #[serde(default)]
    extensions_used: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccessorOutline {
    buffer_view: Option<u64>,
    sparse: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct MeshOutline {
    #[serde(default)]
    primitives: Vec<PrimitiveOutline>,
}

#[derive(Deserialize)]
struct PrimitiveOutline {
    #[serde(default)]
    targets: Vec<TargetOutline>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct TargetOutline {
    position: Option<u64>,
    normal: Option<u64>,
    tangent: Option<u64>,
}

impl Outline {
    fn is_fine(&self) -> bool {
        let full =
            |target: &TargetOutline| target.position.is_some() || target.normal.is_some() || target.tangent.is_some();
        self.accessors.iter().all(|accessor| accessor.buffer_view.is_some() || accessor.sparse.is_some())
            && self.meshes.iter().flat_map(|mesh| &mesh.primitives).all(|part| part.targets.iter().all(full))
            && !self.extensions_used.iter().any(|name| name == lod::EXTENSION)
            && self.extensions_required.iter().all(|name| SUPPORTED.contains(&name.as_str()) || !is_optional(name))
    }
}

/// Rewrites a file that a strict loader would refuse although glTF allows it; `None` when nothing has to be done.
///
/// - An accessor without a buffer view is all zeros by the specification, and is how exporters write an empty morph target.
///   It gets a view of zeros.
/// - A morph target without any attribute, which would move all later targets up by one, becomes one that moves nothing.
/// - Lower levels of detail (`MSFT_lod`) are put next to the node that they stand in for, where a loader makes entities of them.
///   Whoever loads the file shows one of them.
/// - Required extensions that only change how a surface looks, or describe the avatar, are no longer required.
///
/// # Errors
/// When the file is no glTF file, or is cut off.
pub fn mend(bytes: &[u8]) -> Result<Option<Mended>, ModelError> {
    let parts = glb::split(bytes)?;
    // What cannot be read is the loader's to report.
    match serde_json::from_slice::<Outline>(parts.json) {
        Ok(outline) if outline.is_fine() => return Ok(None),
        Ok(_) => {}
        Err(error) if error.is_data() => return Ok(None),
        Err(error) => return Err(ModelError::Json(error.to_string())),
    }
    let mut document = glb::document(&parts)?;
    let Some(root) = document.as_object_mut() else { return Ok(None) };
    // Accessors that are added must not be what an index beyond the end then means.
    if refers_beyond_accessors(root) {
        return Ok(None);
    }
    let mut notes = Vec::new();
    let placed = lod::place(root, &mut notes);
    let relaxed = relax(root, &mut notes);
    fill_targets(root, &mut notes);
    fill_accessors(root, &mut notes);
    if notes.is_empty() && !placed && !relaxed {
        return Ok(None);
    }
    let json = serde_json::to_vec(&document).map_err(|error| ModelError::Json(error.to_string()))?;
    Ok(Some(Mended { bytes: glb::join(json, parts.chunks), notes }))
}

/// Whether a primitive names an accessor that is not there, which is the loader's to report.
fn refers_beyond_accessors(root: &Map<String, Value>) -> bool {
    let count = list(root, "accessors").len() as u64;
    let beyond = |value: &Value| value.as_u64().is_some_and(|index| index >= count);
    let any_beyond = |attributes: &Value| attributes.as_object().is_some_and(|map| map.values().any(beyond));
    list(root, "meshes")
        .iter()
        .flat_map(|mesh| mesh.get("primitives").and_then(Value::as_array).into_iter().flatten())
        .any(|primitive| {
            primitive.get("indices").is_some_and(beyond)
                || primitive.get("attributes").is_some_and(any_beyond)
                || primitive
                    .get("targets")
                    .and_then(Value::as_array)
                    .is_some_and(|targets| targets.iter().any(any_beyond))
        })
}

fn list<'a>(root: &'a Map<String, Value>, field: &str) -> &'a [Value] {
    root.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn list_mut<'a>(root: &'a mut Map<String, Value>, field: &str) -> Option<&'a mut Vec<Value>> {
    root.entry(field).or_insert_with(|| Value::Array(Vec::new())).as_array_mut()
}

fn named(names: &[String]) -> String {
    let mut text = names.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMED {
        text.push_str(&format!(" and {} more", names.len() - MAX_NAMED));
    }
    text
}

/// Whether anything was changed.
fn relax(root: &mut Map<String, Value>, notes: &mut Vec<String>) -> bool {
    let Some(required) = root.get_mut("extensionsRequired").and_then(Value::as_array_mut) else { return false };
    let before = required.len();
    let mut dropped = Vec::new();
    required.retain(|name| match name.as_str() {
        Some(name) if is_optional(name) && !SUPPORTED.contains(&name) => {
            // Levels of detail are shown.
            dropped.extend((name != lod::EXTENSION).then(|| name.to_owned()));
            false
        }
        _ => true,
    });
    let relaxed = required.len() < before;
    if required.is_empty() {
        root.remove("extensionsRequired");
    }
    if !dropped.is_empty() {
        notes.push(format!("it is shown without the extensions {}", named(&dropped)));
    }
    relaxed
}

/// Targets without attributes become targets of zeros.
fn fill_targets(root: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let count_of: Vec<Option<Value>> =
        list(root, "accessors").iter().map(|accessor| accessor.get("count").cloned()).collect();
    let Some(meshes) = root.get_mut("meshes").and_then(Value::as_array_mut) else { return };
    let mut added = Vec::new();
    let mut empty = Vec::new();
    for (index, mesh) in meshes.iter_mut().enumerate() {
        let title = title(mesh, "mesh", index);
        let names = target_names_of(mesh);
        let Some(primitives) = mesh.get_mut("primitives").and_then(Value::as_array_mut) else { continue };
        for primitive in primitives {
            let position = primitive.pointer("/attributes/POSITION").and_then(Value::as_u64);
            let count = position.and_then(|at| count_of.get(usize::try_from(at).ok()?)?.clone());
            let Some(count) = count else { continue };
            let Some(targets) = primitive.get_mut("targets").and_then(Value::as_array_mut) else { continue };
            let mut zeros = None;
            for (target, attributes) in targets.iter_mut().enumerate() {
                let is_empty = attributes.as_object().is_some_and(|attributes| {
                    !["POSITION", "NORMAL", "TANGENT"].iter().any(|name| attributes.contains_key(*name))
                });
                if !is_empty {
                    continue;
                }
                let zeros = *zeros.get_or_insert_with(|| {
                    let zeros = [0.0; 3];
                    added.push(
                        json!({"componentType": 5126, "count": count, "type": "VEC3", "min": zeros, "max": zeros}),
                    );
                    count_of.len() + added.len() - 1
                });
                attributes["POSITION"] = json!(zeros);
                push_once(&mut empty, format!("{title}: {}", name_of(&names, target)));
            }
        }
    }
    if let Some(accessors) = list_mut(root, "accessors") {
        accessors.extend(added);
    }
    if !empty.is_empty() {
        notes.push(format!("morph targets without any attribute, which move nothing: {}", named(&empty)));
    }
}

/// Accessors without a view get one of zeros.
fn fill_accessors(root: &mut Map<String, Value>, notes: &mut Vec<String>) {
    let compressed = compressed_accessors(root);
    let of_targets = empty_targets(root);
    let (buffer, view) = (list(root, "buffers").len(), list(root, "bufferViews").len());
    let Some(accessors) = root.get_mut("accessors").and_then(Value::as_array_mut) else { return };
    let mut others = Vec::new();
    let mut any = false;
    for (index, accessor) in accessors.iter_mut().enumerate() {
        let title = title(accessor, "accessor", index);
        let Some(accessor) = accessor.as_object_mut() else { continue };
        let absent = |field: &str| accessor.get(field).is_none_or(Value::is_null);
        if !absent("bufferView") || !absent("sparse") || compressed.contains(&index) {
            continue;
        }
        any = true;
        let sparse = json!({
            "count": 1,
            "indices": {"bufferView": view, "componentType": 5121},
            "values": {"bufferView": view + 1},
        });
        accessor.insert("sparse".to_owned(), sparse);
        if !of_targets.iter().any(|(accessor, _)| *accessor == index) {
            others.push(title);
        }
    }
    if !any {
        return;
    }
    if let Some(buffers) = list_mut(root, "buffers") {
        buffers.push(json!({"byteLength": ZEROS, "uri": ZEROS_URI}));
    }
    if let Some(views) = list_mut(root, "bufferViews") {
        views.push(json!({"buffer": buffer, "byteOffset": 0, "byteLength": 4}));
        views.push(json!({"buffer": buffer, "byteOffset": 4, "byteLength": ZEROS - 4}));
    }
    let mut empty = Vec::new();
    for (_, name) in of_targets {
        push_once(&mut empty, name);
    }
    if !empty.is_empty() {
        notes.push(format!("morph targets without data, which move nothing: {}", named(&empty)));
    }
    if !others.is_empty() {
        notes.push(format!("accessors without data, which are read as zeros: {}", named(&others)));
    }
}

fn push_once(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn title(object: &Value, kind: &str, index: usize) -> String {
    match object.get("name").and_then(Value::as_str) {
        Some(name) => format!("{kind} \"{name}\""),
        None => format!("{kind} {index}"),
    }
}

fn target_names_of(mesh: &Value) -> Vec<Option<String>> {
    mesh.get("extras").and_then(|extras| names_in_extras(&extras.to_string())).unwrap_or_default()
}

fn name_of(names: &[Option<String>], target: usize) -> String {
    names.get(target).cloned().flatten().unwrap_or_else(|| format!("target {target}"))
}

/// Accessors of targets that have no view, with the name of mesh and target.
fn empty_targets(root: &Map<String, Value>) -> Vec<(usize, String)> {
    let accessors = list(root, "accessors");
    let is_empty = |index: usize| {
        accessors.get(index).is_some_and(|accessor| {
            ["bufferView", "sparse"].iter().all(|field| accessor.get(*field).is_none_or(Value::is_null))
        })
    };
    let mut found = Vec::new();
    for (index, mesh) in list(root, "meshes").iter().enumerate() {
        let primitives = mesh.get("primitives").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut names = None;
        for primitive in primitives {
            let targets = primitive.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (target, attributes) in targets.iter().enumerate() {
                let Some(accessor) = attributes.get("POSITION").and_then(Value::as_u64) else { continue };
                let Ok(accessor) = usize::try_from(accessor) else { continue };
                if is_empty(accessor) {
                    let names = names.get_or_insert_with(|| target_names_of(mesh));
                    found.push((accessor, format!("{}: {}", title(mesh, "mesh", index), name_of(names, target))));
                }
            }
        }
    }
    found
}

/// Accessors of compressed primitives, whose data is elsewhere.
fn compressed_accessors(root: &Map<String, Value>) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    for primitive in list(root, "meshes").iter().filter_map(|mesh| mesh.get("primitives")?.as_array()).flatten() {
        let extensions = primitive.get("extensions").and_then(Value::as_object);
        if !extensions.is_some_and(|extensions| COMPRESSED.iter().any(|name| extensions.contains_key(*name))) {
            continue;
        }
        let attributes = primitive.get("attributes").and_then(Value::as_object);
        let all = attributes.into_iter().flat_map(Map::values).chain(primitive.get("indices"));
        found.extend(all.filter_map(|accessor| usize::try_from(accessor.as_u64()?).ok()));
    }
    found
}

/// What the user of a file can do that a loader refuses, where the file itself shows the reason.
pub fn advice(bytes: &[u8]) -> Option<String> {
    let parts = match glb::split(bytes) {
        Ok(parts) => parts,
        Err(error) => return Some(error.to_string()),
    };
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Required {
        #[serde(default)]
        extensions_required: Vec<String>,
    }
    let required = serde_json::from_slice::<Required>(parts.json).ok()?.extensions_required;
    let unsupported: Vec<String> = required.into_iter().filter(|name| !SUPPORTED.contains(&name.as_str())).collect();
    let is = |part: &str| unsupported.iter().any(|name| name.to_lowercase().contains(part));
    let what = if is("draco") || is("meshopt") {
        "its meshes are compressed, which Bevy does not read; export it without mesh compression"
    } else if is("quantization") {
        "its meshes are quantised, which Bevy does not read; export it without quantisation"
    } else if is("texture_") {
        "its textures have a format that this extension defines and Bevy does not read; export it with PNG or JPEG textures"
    } else if unsupported.is_empty() {
        return None;
    } else {
        "Bevy does not read it; export it without"
    };
    Some(format!("it requires {}: {what}", named(&unsupported)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glb(json: &Value, binary: &[u8]) -> Vec<u8> {
        let mut chunks = (binary.len() as u32).to_le_bytes().to_vec();
        chunks.extend(b"BIN\0");
        chunks.extend(binary);
        glb::join(serde_json::to_vec(json).unwrap(), Some(&chunks))
    }

    fn model() -> Value {
        json!({
            "asset": {"version": "2.0"},
            "buffers": [{"byteLength": 36}],
            "bufferViews": [{"buffer": 0, "byteLength": 36}],
            "accessors": [
                {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                {"componentType": 5126, "count": 3, "type": "VEC3"},
            ],
            "meshes": [{
                "name": "Face",
                "primitives": [{"attributes": {"POSITION": 0}, "targets": [{"POSITION": 0}, {"POSITION": 1}, {}]}],
                "extras": {"targetNames": ["jawOpen", "tongueOut", "cheekPuff"]},
            }],
        })
    }

    fn read(mended: &Mended) -> (Value, Vec<u8>) {
        let parts = glb::split(&mended.bytes).unwrap();
        (glb::document(&parts).unwrap(), parts.chunks.unwrap_or_default().to_vec())
    }

    #[test]
    fn empty_targets_become_zeros_and_are_named() {
        let before = model();
        let mended = mend(&glb(&before, &[7; 36])).unwrap().expect("it has to be mended");
        assert_eq!(mended.notes.len(), 2, "{:?}", mended.notes);
        assert!(mended.notes.iter().any(|note| note.contains("mesh \"Face\": cheekPuff")), "{:?}", mended.notes);
        assert!(mended.notes.iter().any(|note| note.contains("mesh \"Face\": tongueOut")), "{:?}", mended.notes);
        let (after, chunks) = read(&mended);
        assert!(chunks.ends_with(&[7; 36]), "the binary part stays");
        let accessors = after["accessors"].as_array().unwrap();
        assert_eq!(accessors[0], before["accessors"][0]);
        assert_eq!(accessors.len(), 3);
        for accessor in &accessors[1..] {
            assert_eq!((&accessor["sparse"]["count"], &accessor["count"]), (&json!(1), &json!(3)));
        }
        assert_eq!(after["meshes"][0]["primitives"][0]["targets"][2]["POSITION"], json!(2));
        assert_eq!(after["bufferViews"][1]["buffer"], json!(1));
        assert_eq!(after["buffers"].as_array().unwrap().len(), 2);
        assert_eq!(mend(&mended.bytes).unwrap(), None, "nothing is left to do");
    }

    #[test]
    fn compressed_primitive_is_left_alone() {
        let mut model = model();
        model["meshes"][0]["primitives"][0] =
            json!({"attributes": {"POSITION": 1}, "extensions": {"KHR_draco_mesh_compression": {"bufferView": 0}}});
        assert_eq!(mend(&serde_json::to_vec(&model).unwrap()).unwrap(), None);
    }

    #[test]
    fn required_extension_of_surfaces_is_relaxed() {
        let mut model = model();
        model["accessors"].as_array_mut().unwrap().pop();
        model["meshes"] = json!([]);
        model["extensionsRequired"] =
            json!(["KHR_materials_unlit", "KHR_materials_sheen", "VRM", "KHR_texture_basisu"]);
        let bytes = serde_json::to_vec(&model).unwrap();
        let mended = mend(&bytes).unwrap().unwrap();
        let (after, _) = read(&mended);
        assert_eq!(after["extensionsRequired"], json!(["KHR_materials_unlit", "KHR_texture_basisu"]));
        assert!(advice(&mended.bytes).unwrap().contains("PNG or JPEG"));
        model["extensionsRequired"] = json!(["KHR_draco_mesh_compression"]);
        let bytes = serde_json::to_vec(&model).unwrap();
        assert_eq!(mend(&bytes).unwrap(), None);
        assert!(advice(&bytes).unwrap().contains("without mesh compression"));
    }

    #[test]
    fn index_beyond_the_accessors_is_left_to_the_loader() {
        for (place, beyond) in
            [("/meshes/0/primitives/0/attributes/POSITION", 99), ("/meshes/0/primitives/0/targets/0", 99)]
        {
            let mut json = model();
            match json.pointer_mut(place) {
                Some(Value::Object(target)) => drop(target.insert("NORMAL".to_owned(), beyond.into())),
                Some(index) => *index = beyond.into(),
                None => panic!("the model has {place}"),
            }
            assert!(matches!(mend(&glb(&json, &[])), Ok(None)), "{place}");
        }
    }

    #[test]
    fn file_that_is_cut_off_is_refused() {
        let bytes = glb(&model(), &[0; 36]);
        assert_eq!(mend(b"<html>"), Err(ModelError::NotGltf));
        assert!(matches!(mend(&bytes[..8]), Err(ModelError::CutOff { part: "its header", .. })));
        assert!(matches!(mend(&bytes[..60]), Err(ModelError::CutOff { part: "its JSON", .. })));
        let mut old = bytes.clone();
        old[4] = 1;
        assert_eq!(mend(&old), Err(ModelError::Version(1)));
        assert!(matches!(mend(b"{\"accessors\": ["), Err(ModelError::Json(_))));
        assert_eq!(advice(b"<html>").unwrap(), ModelError::NotGltf.to_string());
    }

    #[test]
    fn zeros_are_as_long_as_they_say() {
        let (_, data) = ZEROS_URI.split_once(',').unwrap();
        let padding = data.bytes().filter(|byte| *byte == b'=').count();
        assert_eq!(data.len() / 4 * 3 - padding, ZEROS);
        assert!(data.bytes().all(|byte| matches!(byte, b'A' | b'=')));
    }
}
