//! The presets of the naming dialects, as files that ship with this crate.

use std::sync::LazyLock;

use super::{Mapping, Preset};

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

/// [`PRESETS`], read and resolved, in their order; for [`detect`](super::detect).
pub fn built_in() -> &'static [Preset] {
    static READ: LazyLock<Vec<Preset>> = LazyLock::new(|| {
        let lookup = |id: &str| {
            let text = PRESETS.iter().find(|(other, _)| *other == id).map(|(_, text)| *text).ok_or("no such preset")?;
            text.parse::<Mapping>().map_err(|error| error.to_string())
        };
        let read = |id: &str| {
            let mapping = lookup(id)?.resolve(lookup).map_err(|error| error.to_string())?;
            Ok::<_, String>(Preset { id: id.to_owned(), mapping })
        };
        // Tests hold that all of them can be read.
        PRESETS.iter().filter_map(|(id, _)| read(id).ok()).collect()
    });
    &READ
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_presets_are_all_read_in_their_order() {
        let ids: Vec<&str> = built_in().iter().map(|preset| preset.id.as_str()).collect();
        assert_eq!(ids, PRESETS.map(|(id, _)| id));
    }
}
