//! Levels of detail of a glTF file (`MSFT_lod`): which nodes stand in for which, and where they belong in the scene.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

/// The extension: [MSFT_lod](https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Vendor/MSFT_lod). Its levels of
/// materials are not read.
pub const EXTENSION: &str = "MSFT_lod";
/// Most levels below the full one.
pub const MAX_LOWER_LEVELS: usize = 8;
/// Most nodes above one with levels.
const MAX_DEPTH: usize = 256;

/// A field `MSFT_lod` of a node as far as it can be used.
struct Group {
    node: usize,
    lower: Vec<usize>,
}

/// The sizes on screen at which the levels of a node change, by its `extras`: level `i` is shown from the value `i` on, as a
/// share of the viewport's height, and nothing below the last one. By default 0.25, half as much for each further level, and 0
/// for the last.
///
/// # Errors
/// When `MSFT_screencoverage` is there and is no list of falling numbers, one for each level.
pub fn screen_coverage(extras: Option<&Value>, lower: usize) -> Result<Vec<f32>, String> {
    let Some(list) = extras.and_then(|extras| extras.get("MSFT_screencoverage")) else {
        return Ok(default_coverage(lower));
    };
    let numbers: Option<Vec<f32>> = list.as_array().and_then(|list| {
        let number = |value: &Value| value.as_f64().map(|number| number as f32);
        list.iter().take(MAX_LOWER_LEVELS + 2).map(number).collect()
    });
    numbers
        .filter(|list| list.len() == lower + 1 && list.iter().all(|number| number.is_finite() && *number >= 0.0))
        .filter(|list| list.is_sorted_by(|larger, smaller| larger >= smaller))
        .ok_or_else(|| format!("MSFT_screencoverage is not {} falling numbers", lower + 1))
}

/// As [`screen_coverage`] without a field.
pub fn default_coverage(lower: usize) -> Vec<f32> {
    (0..lower).map(|level| 0.25 * 0.5_f32.powi(level as i32)).chain([0.0]).collect()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn index(value: &Value, count: usize) -> Option<usize> {
    value.as_u64().and_then(|index| usize::try_from(index).ok()).filter(|index| *index < count)
}

/// Where a node is: below another, or a root of scenes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Below(usize),
    In(Vec<usize>),
}

/// Puts lower levels next to the node that they stand in for, so that a loader that knows nothing of the extension makes entities
/// of them: whether anything was changed. Where a node's levels cannot be used, it loses the extension, with a note.
pub(super) fn place(root: &mut Map<String, Value>, notes: &mut Vec<String>) -> bool {
    let (groups, refused) = groups(root, notes);
    let mut changed = !refused.is_empty();
    let places = places(root);
    let Some(nodes) = root.get_mut("nodes").and_then(Value::as_array_mut) else { return false };
    for node in refused {
        if let Some(extensions) = nodes[node].get_mut("extensions").and_then(Value::as_object_mut) {
            extensions.remove(EXTENSION);
        }
    }
    let mut roots = Vec::new();
    for Group { node, lower } in groups {
        for level in lower.into_iter().filter(|level| places[*level].is_none()) {
            changed = true;
            match &places[node] {
                Some(Place::Below(parent)) => {
                    if let Some(children) = nodes[*parent].get_mut("children").and_then(Value::as_array_mut) {
                        children.push(json!(level));
                    }
                }
                Some(Place::In(scenes)) => roots.extend(scenes.iter().map(|scene| (*scene, level))),
                None => {}
            }
        }
    }
    if let Some(scenes) = root.get_mut("scenes").and_then(Value::as_array_mut) {
        for (scene, level) in roots {
            if let Some(nodes) = scenes[scene].get_mut("nodes").and_then(Value::as_array_mut) {
                nodes.push(json!(level));
            }
        }
    }
    changed
}

/// Place of each node; `None` for one that nothing refers to.
fn places(root: &Map<String, Value>) -> Vec<Option<Place>> {
    let nodes = root.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut places = vec![None; nodes.len()];
    let scenes = root.get("scenes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for (scene, value) in scenes.iter().enumerate() {
        for node in list(value, "nodes").iter().filter_map(|node| index(node, nodes.len())) {
            match &mut places[node] {
                Some(Place::In(scenes)) => scenes.push(scene),
                free => *free = Some(Place::In(vec![scene])),
            }
        }
    }
    for (parent, node) in nodes.iter().enumerate() {
        for child in list(node, "children").iter().filter_map(|child| index(child, nodes.len())) {
            places[child] = Some(Place::Below(parent));
        }
    }
    places
}

/// The nodes whose levels can be used, and those whose levels cannot.
fn groups(root: &Map<String, Value>, notes: &mut Vec<String>) -> (Vec<Group>, Vec<usize>) {
    let nodes = root.get("nodes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let places = places(root);
    let extended = |node: &Value| node.get("extensions").and_then(|extensions| extensions.get(EXTENSION)).cloned();
    let (mut found, mut refused) = (Vec::new(), Vec::new());
    let mut taken = HashSet::new();
    for (node, value) in nodes.iter().enumerate() {
        let Some(extension) = extended(value) else { continue };
        // What no scene shows has nothing to stand in for.
        if places[node].is_none() {
            continue;
        }
        // Its ancestors; children may form a circle.
        let mut above = HashSet::new();
        let mut next = node;
        while let Some(Place::Below(parent)) = places[next]
            && above.len() <= MAX_DEPTH
            && above.insert(parent)
        {
            next = parent;
        }
        let read = |id: &Value| -> Result<usize, &str> {
            let level = index(id, nodes.len()).ok_or("names a node that is not there")?;
            if level == node || above.contains(&level) {
                return Err("names the node itself or one above it");
            }
            if places[level].is_some() && places[level] != places[node] {
                return Err("names a node that is elsewhere in the scene");
            }
            if extended(&nodes[level]).is_some() {
                return Err("names a node that has levels of its own");
            }
            Ok(level)
        };
        let ids = list(&extension, "ids");
        let lower = if above.len() > MAX_DEPTH {
            Err("is on a node below more than 256 others")
        } else if ids.is_empty() {
            Err("has no list of nodes")
        } else if ids.len() > MAX_LOWER_LEVELS {
            Err("has more than 8 lower levels")
        } else {
            ids.iter().map(read).collect::<Result<Vec<usize>, &str>>()
        };
        let lower = lower.and_then(|lower| {
            let mut own = HashSet::new();
            let free = lower.iter().all(|level| own.insert(*level) && !taken.contains(level));
            if free { Ok(lower) } else { Err("names a node that is a level already") }
        });
        match lower {
            Ok(lower) => {
                if let Err(problem) = screen_coverage(value.get("extras"), lower.len()) {
                    notes.push(format!("nodes[{node}].extras: {problem}; the default is used"));
                }
                taken.extend(lower.iter().copied());
                found.push(Group { node, lower });
            }
            Err(problem) => {
                notes.push(format!("shown at its full level alone: nodes[{node}].extensions.MSFT_lod.ids {problem}"));
                refused.push(node);
            }
        }
    }
    // A file with thousands of them is one fault.
    const MAX_NOTES: usize = 8;
    if notes.len() > MAX_NOTES {
        let more = notes.len() - MAX_NOTES;
        notes.truncate(MAX_NOTES);
        notes.push(format!("and {more} more of this kind"));
    }
    (found, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(mut document: Value) -> (Value, Vec<String>, bool) {
        let mut notes = Vec::new();
        let changed = place(document.as_object_mut().unwrap(), &mut notes);
        (document, notes, changed)
    }

    /// Node 0 with child 1; 1 has the levels `ids`. 2, 3 and 4 are in no scene, and 4 is above 3.
    fn document(ids: Value) -> Value {
        json!({
            "scenes": [{"nodes": [0]}],
            "nodes": [
                {"name": "Root", "children": [1]},
                {"name": "Hair", "mesh": 0, "extensions": {"MSFT_lod": {"ids": ids}}},
                {"mesh": 1}, {"mesh": 2}, {"children": [3]},
            ],
        })
    }

    #[test]
    fn lower_levels_become_siblings_once() {
        let (after, notes, changed) = placed(document(json!([2, 4])));
        assert_eq!((after["nodes"][0]["children"].clone(), notes.len(), changed), (json!([1, 2, 4]), 0, true));
        let (again, notes, changed) = placed(after.clone());
        assert_eq!((again, notes.len(), changed), (after, 0, false), "nothing is left to do");
    }

    #[test]
    fn levels_of_a_root_join_its_scenes() {
        let (after, _, changed) = placed(json!({
            "scenes": [{"nodes": [0]}, {"nodes": []}, {"nodes": [2, 0]}],
            "nodes": [{"extensions": {"MSFT_lod": {"ids": [1]}}}, {}, {}],
        }));
        assert!(changed);
        assert_eq!(after["scenes"], json!([{"nodes": [0, 1]}, {"nodes": []}, {"nodes": [2, 0, 1]}]));
    }

    #[test]
    fn bad_levels_leave_the_full_model_and_a_note() {
        let many: Vec<usize> = (0..5000).map(|id| id % 5).collect();
        for ids in [
            json!([1]),
            json!([0]),
            json!([2, 2]),
            json!([99]),
            json!([-1]),
            json!([2.5]),
            json!(["2"]),
            json!([3]),
            json!([]),
            json!(7),
            Value::Null,
            json!(many),
        ] {
            let (after, notes, changed) = placed(document(ids.clone()));
            assert_eq!(after["nodes"][0]["children"], json!([1]), "{ids}");
            assert!(changed && after["nodes"][1]["extensions"].get(EXTENSION).is_none(), "{ids}");
            assert_eq!(notes.len(), 1, "{ids}");
            assert!(notes[0].contains("nodes[1].extensions.MSFT_lod.ids"), "{}", notes[0]);
        }
    }

    #[test]
    fn circles_and_nested_levels_end() {
        let lod = |id: usize| json!({"MSFT_lod": {"ids": [id]}});
        // Two nodes that are children of each other, one of which has the other's parent as its level.
        let (_, notes, _) = placed(json!({
            "scenes": [{"nodes": []}],
            "nodes": [{"children": [1], "extensions": lod(2)}, {"children": [0]}, {"children": [2]}],
        }));
        assert_eq!(notes.len(), 1, "{notes:?}");
        // A level of a level.
        let (after, notes, _) = placed(json!({
            "scenes": [{"nodes": [0]}],
            "nodes": [{"extensions": lod(1)}, {"extensions": lod(2)}, {}],
        }));
        assert_eq!((after["scenes"][0]["nodes"].clone(), notes.len()), (json!([0]), 1), "{notes:?}");
        // One level of two nodes.
        let (after, notes, _) = placed(json!({
            "scenes": [{"nodes": [0, 1]}],
            "nodes": [{"extensions": lod(2)}, {"extensions": lod(2)}, {}],
        }));
        assert_eq!((after["scenes"][0]["nodes"].clone(), notes.len()), (json!([0, 1, 2]), 1), "{notes:?}");
    }

    #[test]
    fn thousands_of_bad_levels_are_a_few_notes() {
        let nodes: Vec<Value> = (0..3000).map(|_| json!({"extensions": {"MSFT_lod": {"ids": [9999]}}})).collect();
        let roots: Vec<usize> = (0..3000).collect();
        let (_, notes, _) = placed(json!({"scenes": [{"nodes": roots}], "nodes": nodes}));
        assert_eq!(notes.len(), 9);
        assert!(notes[8].contains("2992"), "{}", notes[8]);
    }

    #[test]
    fn coverage_has_a_falling_number_for_each_level() {
        let read = |list: Value, lower| screen_coverage(Some(&json!({"MSFT_screencoverage": list})), lower);
        assert_eq!(read(json!([0.5, 0.2, 0.01]), 2), Ok(vec![0.5, 0.2, 0.01]));
        assert_eq!(screen_coverage(None, 2), Ok(vec![0.25, 0.125, 0.0]));
        for bad in
            [json!([0.5]), json!([0.2, 0.5]), json!([0.5, -1.0]), json!([0.5, null]), json!("0.5"), json!([1e99, 0])]
        {
            assert!(read(bad.clone(), 1).is_err(), "{bad}");
        }
    }
}
