//! Detects the dialect of a rig by the names of its targets.

use super::{Compiled, MatchReport, Resolved, compile::Rig};

/// A mapping for a naming dialect.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Short name, by which others include it.
    pub id: String,
    /// The mapping.
    pub mapping: Resolved,
}

/// The preset that shows most of a rig.
#[derive(Clone, Debug)]
pub struct Detection {
    /// Its place in the list.
    pub preset: usize,
    /// What it shows.
    pub report: MatchReport,
    /// It, bound to the rig.
    pub compiled: Compiled,
}

/// The preset that shows most by the targets of the meshes, or by the expressions of a model, which are the last list:
/// whichever shows more, since both together would move what an expression moves twice.
pub fn detect_either(presets: &[Preset], names: &[Vec<String>]) -> Option<Detection> {
    let (expressions, targets) = names.split_last()?;
    let mut only = targets.to_vec();
    only.push(Vec::new());
    let by_targets = detect(presets, &only);
    only.iter_mut().for_each(Vec::clear);
    only[targets.len()].clone_from(expressions);
    let by_expressions = detect(presets, &only);
    let shows = |found: &Option<Detection>| {
        found.as_ref().map_or(0, |found| found.report.shown.len().min(found.report.written))
    };
    if shows(&by_expressions) > shows(&by_targets) { by_expressions } else { by_targets }
}

/// Finds the preset that shows most of the 52 shapes on a rig, each by a target of its own; among equals the one that knows
/// more of its targets, then the one that shows more shapes, then the earlier one. `None` when none shows anything.
pub fn detect<S: AsRef<str>>(presets: &[Preset], meshes: &[Vec<S>]) -> Option<Detection> {
    let rig = Rig::new(meshes);
    let mut best: Option<((usize, usize, usize), Detection)> = None;
    for (preset, Preset { mapping, .. }) in presets.iter().enumerate() {
        let (compiled, report) = mapping.compile_for(&rig, meshes);
        // One target that two shapes share, in a dialect that has other words for all the rest, is a chance hit.
        let own = report.shown.len().min(report.written);
        let score = (own, report.written + report.aside.len(), if own > 2 { report.shown.len() } else { 0 });
        if own > 0 && best.as_ref().is_none_or(|(other, _)| score > *other) {
            best = Some((score, Detection { preset, report, compiled }));
        }
    }
    best.map(|(_, detection)| detection)
}
