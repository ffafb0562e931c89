//! The mapping of a rig: the avatar's own, or the preset that shows most.

use std::{collections::VecDeque, sync::Arc};

use facelink::mapping::{BoneMap, Compiled, MatchReport, Resolved, detect, detect_either};

use crate::mapping::{FaceMapping, FacePresets};

/// What the mapping of an avatar comes to.
#[derive(Debug)]
pub(super) struct Mapped {
    pub dialect: String,
    /// Id of the preset that shows most.
    pub preset: String,
    pub compiled: Arc<Compiled>,
    pub report: MatchReport,
    pub map: BoneMap,
    pub problem: Option<String>,
}

/// The mappings of the rigs that were bound last: a hundred instances of a scene are looked into once.
#[derive(Default)]
pub(super) struct MapCache(VecDeque<Known>);

/// Different rigs and mappings that are remembered.
const MAX_KNOWN: usize = 16;

struct Known {
    names: Vec<Vec<String>>,
    table: bool,
    own: Option<Result<FaceMapping, String>>,
    mapped: Arc<Mapped>,
}

impl MapCache {
    /// The presets are others.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn map(
        &mut self,
        names: &[Vec<String>],
        table: bool,
        own: Option<Result<&FaceMapping, String>>,
        presets: &FacePresets,
    ) -> Arc<Mapped> {
        let same = |known: &&Known| {
            known.table == table
                && known.names == names
                && match (&known.own, &own) {
                    (None, None) => true,
                    (Some(Ok(known)), Some(Ok(own))) => known == *own,
                    (Some(Err(known)), Some(Err(own))) => known == own,
                    _ => false,
                }
        };
        if let Some(known) = self.0.iter().find(same) {
            return known.mapped.clone();
        }
        let kept = own.as_ref().map(|own| own.clone().cloned());
        let mapped = Arc::new(map(names, table, own, presets));
        if self.0.len() >= MAX_KNOWN {
            self.0.pop_front();
        }
        self.0.push_back(Known { names: names.to_vec(), table, own: kept, mapped: mapped.clone() });
        mapped
    }
}

/// Chooses and compiles an avatar's mapping: its own where that can be used, else the preset that shows most.
fn map(names: &[Vec<String>], table: bool, own: Option<Result<&FaceMapping, String>>, presets: &FacePresets) -> Mapped {
    let detect = if table { detect_either } else { detect };
    let found = detect(presets.presets(), names);
    let preset = found.as_ref().map(|found| &presets.presets()[found.preset]);
    let id = preset.map_or(String::new(), |preset| preset.id.clone());
    let own = own.map(|own| {
        own.and_then(|own| own.resolve(presets, preset.map(|preset| &*preset.id)).map_err(|error| error.to_string()))
    });
    let problem = match own {
        Some(Ok(resolved)) => {
            let (compiled, report) = resolved.compile(names);
            let (compiled, map) = (Arc::new(compiled), resolved.bones);
            return Mapped { dialect: resolved.name, preset: id, compiled, report, map, problem: None };
        }
        Some(Err(problem)) => Some(problem),
        None => None,
    };
    match (found, preset) {
        (Some(found), Some(preset)) => Mapped {
            dialect: preset.mapping.name.clone(),
            preset: id,
            compiled: Arc::new(found.compiled),
            // A rig may lack targets of its dialect: that is no error.
            report: MatchReport { absent: Vec::new(), ..found.report },
            map: preset.mapping.bones.clone(),
            problem,
        },
        _ => {
            let (compiled, report) = Resolved::default().compile(names);
            let (dialect, compiled) = (String::new(), Arc::new(compiled));
            Mapped { dialect, preset: id, compiled, report, map: BoneMap::default(), problem }
        }
    }
}
