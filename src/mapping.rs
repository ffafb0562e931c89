//! [`FaceMapping`]: which channels move which targets, as an asset; the presets that come with us; and hot reload.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use crate::performers::FacePerformer;
use bevy::{
    asset::{AssetLoader, AssetPath, LoadContext, io::Reader},
    prelude::*,
    reflect::TypePath,
};
use crossbeam_channel::{Receiver, Sender};
use facelink::mapping::{AUTO, Format, Mapping, MappingError, Preset, ResolveError, Resolved};

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

/// A mapping's file cannot be read.
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
        // Names are as the files write them; each is looked for beside the file that we are.
        let mut wanted = loaded.mapping.include.clone();
        while let Some(include) = wanted.pop() {
            if !is_file(&include) || loaded.included.iter().any(|(name, _)| *name == include) {
                continue;
            }
            let error =
                |reason: String| MappingLoadError::Include { by: path.to_string(), include: include.clone(), reason };
            let beside = path.resolve_embed_str(&include).map_err(|problem| error(problem.to_string()))?;
            let bytes =
                load_context.read_asset_bytes(beside.clone()).await.map_err(|problem| error(problem.to_string()))?;
            let mapping = parse(bytes, &beside.to_string())?;
            wanted.extend(mapping.include.iter().cloned());
            loaded.included.push((include, mapping));
        }
        Ok(loaded)
    }

    fn extensions(&self) -> &[&str] {
        &["face.ron", "face.json"]
    }
}

/// How often the files of mappings are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A file of ours that was loaded.
#[derive(Clone, Debug, PartialEq)]
struct Watched {
    file: PathBuf,
    /// What to load again when it changes.
    asset: AssetPath<'static>,
}

/// Looks at the files of the mappings and performers in use, whether Bevy watches its assets or not, and loads again what
/// has changed.
#[derive(Resource, Debug)]
pub(crate) struct FileWatch {
    /// Folder of the assets.
    root: PathBuf,
    watched: Vec<Watched>,
    files: Sender<Vec<Watched>>,
    changed: Receiver<AssetPath<'static>>,
}

impl FileWatch {
    pub(crate) fn new(root: PathBuf) -> Self {
        let (files, new_files) = crossbeam_channel::unbounded::<Vec<Watched>>();
        let (changes, changed) = crossbeam_channel::unbounded();
        // A thread, because a slow disk must not hold up a frame. It ends when we do.
        let watch = move || {
            let mut files: Vec<(Watched, Option<SystemTime>)> = Vec::new();
            loop {
                let news = if files.is_empty() {
                    new_files.recv().map_err(|_| crossbeam_channel::RecvTimeoutError::Disconnected)
                } else {
                    new_files.recv_timeout(LOOK)
                };
                match news {
                    Ok(watched) => {
                        let known = std::mem::take(&mut files);
                        files.extend(watched.into_iter().map(|watched| {
                            let seen = known.iter().find(|(other, _)| *other == watched).map(|(_, seen)| *seen);
                            let seen = seen.unwrap_or_else(|| modified(&watched.file));
                            (watched, seen)
                        }));
                    }
                    Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                    Err(crossbeam_channel::RecvTimeoutError::Disconnected) => return,
                }
                for (watched, seen) in &mut files {
                    let now = modified(&watched.file);
                    // An editor may take the file away for a moment.
                    if now.is_some() && now != *seen {
                        *seen = now;
                        if changes.send(watched.asset.clone()).is_err() {
                            return;
                        }
                    }
                }
            }
        };
        if let Err(error) = std::thread::Builder::new().name("facelink-mappings".to_owned()).spawn(watch) {
            warn!("mappings are not loaded again when their files change: {error}");
        }
        Self { root, watched: Vec::new(), files, changed }
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

pub(crate) fn watch_files(
    watch: Option<ResMut<FileWatch>>,
    server: Option<Res<AssetServer>>,
    mappings: Option<Res<Assets<FaceMapping>>>,
    performers: Option<Res<Assets<FacePerformer>>>,
    wanted: Query<&AvatarMapping>,
    newly_wanted: Query<(), Changed<AvatarMapping>>,
    mut mappings_changed: MessageReader<AssetEvent<FaceMapping>>,
    mut performers_changed: MessageReader<AssetEvent<FacePerformer>>,
) {
    let (Some(mut watch), Some(server)) = (watch, server) else { return };
    let changes = mappings_changed.read().count() + performers_changed.read().count();
    if changes > 0 || !newly_wanted.is_empty() {
        let mut watched = Vec::new();
        let root = watch.root.clone();
        let mut add = |asset: AssetPath<'static>, file: &AssetPath<'_>| {
            watched.push(Watched { file: root.join(file.path()), asset });
        };
        for (id, mapping) in mappings.iter().flat_map(|mappings| mappings.iter()) {
            let Some(path) = server.get_path(id).map(AssetPath::into_owned) else { continue };
            add(path.clone(), &path);
            for file in mapping.included.iter().filter_map(|(include, _)| path.resolve_embed_str(include).ok()) {
                add(path.clone(), &file);
            }
        }
        // A file that could not be read is looked at too: somebody is about to mend it.
        for mapping in &wanted {
            if let Some(path) =
                mapping.0.path().filter(|_| mappings.as_ref().is_none_or(|all| !all.contains(&mapping.0)))
            {
                add(path.clone(), path);
            }
        }
        for (id, _) in performers.iter().flat_map(|performers| performers.iter()) {
            let Some(path) = server.get_path(id).map(AssetPath::into_owned) else { continue };
            add(path.clone(), &path);
        }
        if watched != watch.watched {
            watch.watched.clone_from(&watched);
            let _ = watch.files.send(watched);
        }
    }
    for asset in watch.changed.try_iter() {
        info!("{asset} has changed");
        server.reload(asset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_of_ours_can_be_read() {
        let presets = FacePresets::default();
        assert_eq!(presets.ids().count(), facelink::mapping::PRESETS.len());
        for (id, text) in facelink::mapping::PRESETS {
            let mapping = Mapping::read(text, Format::Ron).unwrap();
            assert!(!mapping.name.is_empty() && !mapping.about.is_empty(), "{id}");
            assert_eq!(presets.mapping(id), Some(&mapping));
        }
    }
}
