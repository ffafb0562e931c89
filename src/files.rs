//! Files of our assets: where they are, changes on disk, and writing them whole.

#[cfg(not(target_arch = "wasm32"))]
use std::time::{Duration, SystemTime};
use std::{
    any::TypeId,
    io,
    path::{Path, PathBuf},
};

#[cfg(not(target_arch = "wasm32"))]
use bevy::asset::io::file::FileAssetReader;
use bevy::{
    asset::{AssetLoader, AssetPath, io::Reader},
    prelude::*,
};
use crossbeam_channel::{Receiver, Sender};

pub(crate) struct FilesPlugin;

impl Plugin for FilesPlugin {
    fn build(&self, app: &mut App) {
        find_folder(app);
        app.add_systems(PreUpdate, reload.run_if(resource_exists::<FileWatch>));
    }

    fn finish(&self, app: &mut App) {
        find_folder(app);
    }
}

/// `AssetPlugin` may be added after ours.
fn find_folder(app: &mut App) {
    if app.world().contains_resource::<FileWatch>() {
        return;
    }
    if let Some(assets) = app.get_added_plugins::<AssetPlugin>().first() {
        #[cfg(not(target_arch = "wasm32"))]
        let root = FileAssetReader::get_base_path().join(&assets.file_path);
        // Assets are fetched from a server: nothing changes on a disk, and nothing is written there.
        #[cfg(target_arch = "wasm32")]
        let root = PathBuf::from(&assets.file_path);
        app.insert_resource(FileWatch::new(root));
    }
}

/// Registers a kind of asset with its loader, where there are assets and it is not there yet: `AssetPlugin` may be added before
/// our plugins or after them.
pub(crate) fn add_asset<A: Asset, L: AssetLoader + FromWorld>(app: &mut App) {
    let world = app.world();
    if world.contains_resource::<AssetServer>() && !world.contains_resource::<Assets<A>>() {
        app.init_asset::<A>().init_asset_loader::<L>();
    }
}

/// The whole of an asset's file, as text.
pub(crate) async fn read_text(reader: &mut dyn Reader) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await?;
    String::from_utf8(bytes).map_err(|error| io::Error::other(error.to_string()))
}

/// How often the files of mappings are looked at.
#[cfg(not(target_arch = "wasm32"))]
const LOOK: Duration = Duration::from_millis(20);

/// A file of ours that was loaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Watched {
    pub file: PathBuf,
    /// What to load again when it changes.
    pub asset: AssetPath<'static>,
}

/// Looks at the files of the mappings and performers in use, whether Bevy watches its assets or not, and loads again what
/// has changed.
#[derive(Resource, Debug)]
pub(crate) struct FileWatch {
    /// Folder of the assets.
    root: PathBuf,
    /// By the kind of asset.
    watched: Vec<(TypeId, Vec<Watched>)>,
    files: Sender<Vec<Watched>>,
    changed: Receiver<AssetPath<'static>>,
}

impl FileWatch {
    fn new(root: PathBuf) -> Self {
        let (files, new_files) = crossbeam_channel::unbounded::<Vec<Watched>>();
        let (changes, changed) = crossbeam_channel::unbounded();
        // A page has no thread, and its assets do not change.
        #[cfg(target_arch = "wasm32")]
        drop((new_files, changes));
        #[cfg(not(target_arch = "wasm32"))]
        watch_files(new_files, changes);
        Self { root, watched: Vec::new(), files, changed }
    }

    /// Folder of the assets on disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Looks at these files of this kind of asset from now on, in place of those before.
    pub fn watch<A: Asset>(&mut self, files: Vec<Watched>) {
        let kind = TypeId::of::<A>();
        match self.watched.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, known)) if *known == files => return,
            Some((_, known)) => *known = files,
            None => self.watched.push((kind, files)),
        }
        let all = self.watched.iter().flat_map(|(_, files)| files.iter().cloned()).collect();
        let _ = self.files.send(all);
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn watch_files(new_files: Receiver<Vec<Watched>>, changes: Sender<AssetPath<'static>>) {
    // A thread, because a slow disk must not hold up a frame. It ends when the watch does.
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
}

#[cfg(not(target_arch = "wasm32"))]
fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

/// Loads again what has changed on disk.
fn reload(watch: Res<FileWatch>, server: Option<Res<AssetServer>>) {
    let Some(server) = server else { return };
    for asset in watch.changed.try_iter() {
        info!("{asset} has changed");
        server.reload(asset);
    }
}

/// Replaces a file atomically: writes a temporary one next to it and renames it, so that no reader sees half of it.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = file.with_file_name(name);
    std::fs::write(&temporary, text)?;
    std::fs::rename(&temporary, file)
}
