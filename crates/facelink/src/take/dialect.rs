//! Faces under the names of another dialect, read back as ARKit's 52.

use std::sync::LazyLock;

use crate::{
    frame::{FaceFrame, clamp_weight},
    mapping::{Format, Mapping, PRESETS, Preset, detect},
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// The presets, as they ship with this crate.
pub(super) fn presets() -> &'static [Preset] {
    static ALL: LazyLock<Vec<Preset>> = LazyLock::new(|| {
        let mappings: Vec<(&str, Mapping)> = PRESETS
            .into_iter()
            .filter_map(|(id, text)| Mapping::read(text, Format::Ron).ok().map(|mapping| (id, mapping)))
            .collect();
        let lookup = |name: &str| {
            let found = mappings.iter().find(|(id, _)| *id == name);
            found.map(|(_, mapping)| mapping.clone()).ok_or_else(|| "no such preset".to_owned())
        };
        let resolved = mappings
            .iter()
            .filter_map(|(id, mapping)| Some(Preset { id: (*id).to_owned(), mapping: mapping.resolve(lookup).ok()? }));
        resolved.collect()
    });
    &ALL
}

/// Which targets show which shape.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    /// Target, shape, and the target's weight at the full shape.
    direct: Vec<(usize, Blendshape, f32)>,
}

impl Dialect {
    /// The dialect that knows most of these names; `None` when none knows any.
    pub fn of<S: AsRef<str>>(names: &[S]) -> Option<Self> {
        let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        let found = detect(presets(), &[names])?;
        let direct: Vec<_> = found.compiled.direct(0).collect();
        (!direct.is_empty()).then_some(Self { direct })
    }

    /// Shapes that the names show.
    pub fn present(&self) -> u64 {
        self.direct.iter().fold(0, |present, (_, shape, _)| present | 1 << shape.index())
    }

    /// Sets the shapes that these weights of the targets show; one that several targets share is their mean.
    pub fn read(&self, weights: &[f32], frame: &mut FaceFrame) {
        let mut sums = [(0.0_f32, 0_u32); BLENDSHAPE_COUNT];
        for (target, shape, full) in &self.direct {
            if let Some(weight) = weights.get(*target) {
                let (sum, count) = &mut sums[shape.index()];
                *sum += weight / full;
                *count += 1;
            }
        }
        for (shape, (sum, count)) in Blendshape::ALL.into_iter().zip(sums) {
            if count > 0 {
                frame.set(shape, clamp_weight(sum / count as f32));
            }
        }
    }
}
