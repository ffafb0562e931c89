//! [`FaceMapping`]: which channels move which targets, as an asset; the presets that come with us; and hot reload.

use std::{
    io,
    sync::{Arc, LazyLock},
};

use bevy::{
    asset::{AssetLoader, AssetPath, LoadContext, io::Reader},
    prelude::*,
    reflect::TypePath,
};
use facelink::mapping::{AUTO, Format, Mapping, MappingError, Preset, ResolveError, Resolved};

use crate::{
    files::{FileWatch, Watched, add_asset},
    lifecycle,
    sets::FaceLinkSystems,
};

pub(crate) struct MappingPlugin;

impl Plugin for MappingPlugin {
    fn build(&self, app: &mut App) {
        add_asset::<FaceMapping, MappingLoader>(app);
        app.register_type::<AvatarMapping>().init_resource::<FacePresets>().add_systems(
            PreUpdate,
            watch_files.after(FaceLinkSystems::Receive).run_if(resource_exists::<Assets<FaceMapping>>),
        );
    }

    fn finish(&self, app: &mut App) {
        add_asset::<FaceMapping, MappingLoader>(app);
    }
}

/// Which channels of a face move which targets and bones of an avatar: a file that ends in `.face.ron` or `.face.json`.
///
/// Put [`AvatarMapping`] with its handle on an avatar. When the file changes on disk, or the asset in
/// `Assets<FaceMapping>`, every avatar with it shows the change in the next frame. Its fields are those of
/// [`facelink::mapping::Mapping`]; `include` names presets ([`FacePresets`]) and files relative to this one.
#[derive(Asset, TypePath, Clone, Debug, Default, PartialEq)]
pub struct FaceMapping {
    /// What the file says.
    pub mapping: Mapping,
    /// The files that it includes, by the name under which they are included.
    pub included: Vec<(String, Mapping)>,
}

impl From<Mapping> for FaceMapping {
    fn from(mapping: Mapping) -> Self {
        Self { mapping, included: Vec::new() }
    }
}

impl FaceMapping {
    /// With everything that it includes. `auto` is the preset that was found for the rig.
    pub(crate) fn resolve(&self, presets: &FacePresets, auto: Option<&str>) -> Result<Resolved, ResolveError> {
        self.mapping.resolve(|name| {
            let name = if name == AUTO {
                auto.ok_or("no preset shows anything of this rig, so rules of its own are needed")?
            } else {
                name
            };
            if let Some((_, mapping)) = self.included.iter().find(|(other, _)| other == name) {
                return Ok(mapping.clone());
            }
            presets.mapping(name).cloned().ok_or_else(|| {
                format!("there is no preset of this name; there are {}", presets.ids().collect::<Vec<_>>().join(", "))
            })
        })
    }
}

/// The mapping of an avatar. Without one, the preset that shows most of its rig is taken.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[component(on_insert = lifecycle::inserted::<Self>, on_remove = lifecycle::removed::<Self>)]
#[reflect(Component)]
pub struct AvatarMapping(pub Handle<FaceMapping>);

/// The mappings that rigs are compared with, and that files can include by name.
#[derive(Resource, Clone, Debug)]
pub struct FacePresets {
    presets: Arc<Vec<Preset>>,
    mappings: Arc<Vec<Mapping>>,
}

static PRESETS: LazyLock<FacePresets> = LazyLock::new(|| {
    let mut all = FacePresets { presets: Arc::default(), mappings: Arc::default() };
    for (id, text) in facelink::mapping::PRESETS {
        let added = Mapping::read(text, Format::Ron)
            .map_err(|error| error.in_file(id).to_string())
            .and_then(|mapping| all.add(id, mapping).map_err(|error| error.to_string()));
        if let Err(error) = added {
            error!("a preset of ours is broken: {error}");
        }
    }
    all
});

impl Default for FacePresets {
    /// [`facelink::mapping::PRESETS`].
    fn default() -> Self {
        PRESETS.clone()
    }
}

impl FacePresets {
    /// Adds a dialect of yours, or takes the place of the one of this id. What it includes has to be there already.
    ///
    /// # Errors
    /// When it includes what is not there.
    pub fn add(&mut self, id: impl Into<String>, mapping: Mapping) -> Result<(), ResolveError> {
        let id = id.into();
        let resolved = FaceMapping::from(mapping.clone()).resolve(self, None)?;
        let (presets, mappings) = (Arc::make_mut(&mut self.presets), Arc::make_mut(&mut self.mappings));
        if let Some(index) = presets.iter().position(|preset| preset.id == id) {
            presets[index].mapping = resolved;
            mappings[index] = mapping;
        } else {
            presets.push(Preset { id, mapping: resolved });
            mappings.push(mapping);
        }
        Ok(())
    }

    /// Short names, by which they are included.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.presets.iter().map(|preset| preset.id.as_str())
    }

    /// The mapping of this id, as its file has it.
    pub fn mapping(&self, id: &str) -> Option<&Mapping> {
        let index = self.presets.iter().position(|preset| preset.id == id)?;
        self.mappings.get(index)
    }

    /// All of them, as [`facelink::mapping::detect`] takes them.
    pub fn presets(&self) -> &[Preset] {
        &self.presets
    }
}

/// Reads [`FaceMapping`]s.
#[derive(Default, TypePath)]
pub(crate) struct MappingLoader;

/// The file of a mapping, a session or a performer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MappingLoadError {
    /// The file itself.
    #[error("{path}: {error}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is no text.
    #[error("{0}: is not UTF-8 text")]
    Text(String),
    /// What it says.
    #[error(transparent)]
    Content(#[from] MappingError),
    /// What it includes.
    #[error("{by}: field `include`: \"{include}\": {reason}")]
    Include {
        /// The file that includes it.
        by: String,
        /// What it includes.
        include: String,
        /// Why it cannot.
        reason: String,
    },
}

fn parse(bytes: Vec<u8>, path: &str) -> Result<Mapping, MappingLoadError> {
    let text = String::from_utf8(bytes).map_err(|_| MappingLoadError::Text(path.to_owned()))?;
    Ok(Mapping::read(&text, Format::of_path(path)).map_err(|error| error.in_file(path))?)
}

/// Whether an include names a file rather than a preset.
fn is_file(include: &str) -> bool {
    include.ends_with(".ron") || include.ends_with(".json")
}

impl AssetLoader for MappingLoader {
    type Asset = FaceMapping;
    type Settings = ();
    type Error = MappingLoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _settings: &(),
        load_context: &mut LoadContext<'_>,
    ) -> Result<FaceMapping, MappingLoadError> {
        let path = load_context.path().clone_owned();
        let mut bytes = Vec::new();
        reader
            .read_to_end(&mut bytes)
            .await
            .map_err(|error| MappingLoadError::Read { path: path.to_string(), error })?;
        let mut loaded = FaceMapping::from(parse(bytes, &path.to_string())?);
        // Names are as the files write them; each is looked for next to the including file.
        let mut wanted = loaded.mapping.include.clone();
        while let Some(include) = wanted.pop() {
            if !is_file(&include) || loaded.included.iter().any(|(name, _)| *name == include) {
                continue;
            }
            let error =
                |reason: String| MappingLoadError::Include { by: path.to_string(), include: include.clone(), reason };
            let included = path.resolve_embed_str(&include).map_err(|problem| error(problem.to_string()))?;
            let bytes =
                load_context.read_asset_bytes(included.clone()).await.map_err(|problem| error(problem.to_string()))?;
            let mapping = parse(bytes, &included.to_string())?;
            wanted.extend(mapping.include.iter().cloned());
            loaded.included.push((include, mapping));
        }
        Ok(loaded)
    }

    fn extensions(&self) -> &[&str] {
        &["face.ron", "face.json"]
    }
}

/// The files of the mappings in use.
fn watch_files(
    watch: Option<ResMut<FileWatch>>,
    server: Option<Res<AssetServer>>,
    mappings: Res<Assets<FaceMapping>>,
    wanted: Query<&AvatarMapping>,
    newly_wanted: Query<(), Changed<AvatarMapping>>,
    mut changed: MessageReader<AssetEvent<FaceMapping>>,
) {
    let (Some(mut watch), Some(server)) = (watch, server) else { return };
    if changed.read().count() == 0 && newly_wanted.is_empty() {
        return;
    }
    let mut watched = Vec::new();
    let mut add = |asset: AssetPath<'static>, file: &AssetPath<'_>| {
        watched.push(Watched { file: watch.root().join(file.path()), asset });
    };
    for (id, mapping) in mappings.iter() {
        let Some(path) = server.get_path(id).map(AssetPath::into_owned) else { continue };
        add(path.clone(), &path);
        for file in mapping.included.iter().filter_map(|(include, _)| path.resolve_embed_str(include).ok()) {
            add(path.clone(), &file);
        }
    }
    // A file that could not be read is watched too: it may be corrected.
    for mapping in &wanted {
        if let Some(path) = mapping.0.path().filter(|_| !mappings.contains(&mapping.0)) {
            add(path.clone(), path);
        }
    }
    watch.watch::<FaceMapping>(watched);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_presets_can_be_read() {
        let presets = FacePresets::default();
        assert_eq!(presets.ids().count(), facelink::mapping::PRESETS.len());
        for (id, text) in facelink::mapping::PRESETS {
            let mapping = Mapping::read(text, Format::Ron).unwrap();
            assert!(!mapping.name.is_empty() && !mapping.about.is_empty(), "{id}");
            assert_eq!(presets.mapping(id), Some(&mapping));
        }
    }
}
