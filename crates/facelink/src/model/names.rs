//! Names of morph targets.
//!
//! glTF has no field for them. Most exporters write `mesh.extras.targetNames`; some VRM exporters write
//! `primitive.extras.targetNames`; others name the accessors of the targets, which is what glTF viewers fall back to.

use serde_json::Value;

/// Longest name, bytes; a longer one is cut.
const MAX_NAME: usize = 256;

/// `targetNames` of an `extras` object, as JSON. What is not a name is `None`: a `null`, a number, an empty text.
pub fn names_in_extras(extras: &str) -> Option<Vec<Option<String>>> {
    names_in(&serde_json::from_str(extras).ok()?)
}

/// The same of an object that was read.
pub(super) fn names_in(extras: &Value) -> Option<Vec<Option<String>>> {
    let names = extras.get("targetNames")?.as_array()?;
    Some(names.iter().map(|name| name.as_str().and_then(usable).map(str::to_owned)).collect())
}

fn usable(name: &str) -> Option<&str> {
    let name = name.trim();
    let end = (0..=name.len().min(MAX_NAME)).rev().find(|end| name.is_char_boundary(*end))?;
    (end > 0).then(|| &name[..end])
}

/// The names of a mesh's targets, each from the first place that has one: `lists`, which are what [`names_in_extras`] found
/// on the mesh and on its primitives, then the name of its accessor. A target without any name is called `target N`, from 0.
/// `None` when no target has a name.
///
/// A list that is longer than the targets is not used: it belongs to other targets.
pub fn target_names(lists: &[Vec<Option<String>>], accessors: &[Option<&str>]) -> Option<Vec<String>> {
    let count = accessors.len();
    let mut any = false;
    let names = (0..count).map(|target| {
        let listed = lists.iter().filter(|list| list.len() <= count).find_map(|list| list.get(target)?.as_deref());
        let name = listed.or_else(|| accessors.get(target).copied().flatten().and_then(usable));
        any |= name.is_some();
        name.map_or_else(|| format!("target {target}"), str::to_owned)
    });
    let names = names.collect();
    any.then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn target_names_come_from_the_first_place_that_has_them() {
        let of = |text: &str| names_in_extras(text).unwrap();
        let mesh = of(r#"{"targetNames": ["jawOpen", null, "", 7]}"#);
        let primitive = of(r#"{"targetNames": ["other", "eyeBlinkLeft"], "more": true}"#);
        let accessors = [Some("a"), Some("b"), Some("mouthPucker"), None];
        assert_eq!(
            target_names(&[mesh.clone(), primitive], &accessors).unwrap(),
            ["jawOpen", "eyeBlinkLeft", "mouthPucker", "target 3"]
        );
        assert_eq!(target_names(&[], &accessors).unwrap(), ["a", "b", "mouthPucker", "target 3"]);
        assert_eq!(target_names(&[mesh], &[None]), None, "a list for four targets says nothing about one");
        assert_eq!(target_names(&[], &[None, Some(" ")]), None);
        assert_eq!(names_in_extras("{}"), None);
        assert_eq!(names_in_extras(r#"{"targetNames": "jawOpen"}"#), None);
    }
}
