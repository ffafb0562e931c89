//! Faces under the names of another dialect, read back as ARKit's 52.

use std::sync::{Arc, LazyLock};

use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS, clamp_weight},
    mapping::{Format, Mapping, PRESETS, Preset, detect},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::json::check_name,
};

/// Where fewer of the names are ARKit's, they may be those of another face.
const MIN_SHAPES: usize = 26;

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

/// What the values of a list of names are: shapes in the spellings of senders or of another face, and channels.
#[derive(Clone, Debug)]
pub(super) struct Names {
    shapes: Vec<(usize, Blendshape)>,
    dialect: Option<Dialect>,
    channels: Vec<(usize, Arc<str>)>,
}

impl Names {
    /// # Errors
    /// The place of a name that is none, or that is there twice, and why.
    pub fn of(names: &[&str]) -> Result<Self, (usize, String)> {
        let shapes: Vec<(usize, Blendshape)> =
            names.iter().enumerate().filter_map(|(at, name)| Some((at, Blendshape::from_sender_name(name)?))).collect();
        let dialect = if shapes.len() < MIN_SHAPES { Dialect::of(names) } else { None };
        // The better of the two.
        let dialect = dialect.filter(|dialect| dialect.present().count_ones() as usize > shapes.len());
        let mut all = Self { shapes, dialect, channels: Vec::new() };
        for (at, name) in names.iter().enumerate() {
            let known = match &all.dialect {
                Some(dialect) => dialect.direct.iter().any(|(target, ..)| *target == at),
                None => all.shapes.iter().any(|(place, _)| *place == at),
            };
            if known {
                continue;
            }
            check_name(name).map_err(|message| (at, message))?;
            if all.channels.iter().any(|(_, other)| **other == **name) {
                return Err((at, format!("there is more than one `{name}`")));
            }
            if all.channels.len() < MAX_CHANNELS {
                all.channels.push((at, (*name).into()));
            }
        }
        let mut seen = 0_u64;
        for (at, shape) in all.shapes.iter().filter(|_| all.dialect.is_none()) {
            if seen & 1 << shape.index() != 0 {
                return Err((*at, format!("there is more than one `{shape}`")));
            }
            seen |= 1 << shape.index();
        }
        Ok(all)
    }

    /// Whether any shape is among them.
    pub fn has_shapes(&self) -> bool {
        !self.shapes.is_empty() || self.dialect.is_some()
    }

    /// Sets the shapes and channels of a frame by the values under the names.
    pub fn read(&self, values: &[f32], frame: &mut FaceFrame) {
        let value = |at: usize| values.get(at).copied().unwrap_or_default();
        match &self.dialect {
            Some(dialect) => dialect.read(values, frame),
            None => self.shapes.iter().for_each(|(at, shape)| frame.set(*shape, value(*at))),
        }
        let channels =
            self.channels.iter().map(|(at, name)| Channel { name: name.clone(), value: clamp_weight(value(*at)) });
        frame.channels.extend(channels);
    }
}
