//! The presets of the naming dialects, as files that ship with this crate.

/// The files of `presets/`, by id.
macro_rules! built_in {
    ($($id:literal),* $(,)?) => {
        [$(($id, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/presets/", $id, ".face.ron")))),*]
    };
}

/// Id and RON text of each preset, in the order in which they are preferred among equals.
pub const PRESETS: [(&str, &str); 21] = built_in![
    "arkit",
    "ready_player_me",
    "perfect_sync",
    "rocketbox",
    "cc_arkit",
    "cc_standard",
    "unified_expressions",
    "metahuman",
    "vroid",
    "vrm1",
    "vrm0",
    "facescape",
    "facs",
    "meta_face",
    "sranipal",
    "daz_facs",
    "daz_genesis8",
    "fuse",
    "character_generator",
    "mmd",
    "oculus_visemes",
];
