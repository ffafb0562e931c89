//! Saved calibration of performers: an asset each, loaded again when they return.

use std::path::{Path, PathBuf};

use bevy::{
    asset::{AssetLoader, AssetPath, LoadContext, io::Reader},
    platform::collections::HashMap,
    prelude::*,
    reflect::TypePath,
};
use facelink::{calibration::Performer, mapping::Format};

use crate::{
    endpoint::FaceLinkEndpoint,
    files::{self, FileWatch, Watched},
    mapping::MappingLoadError,
    phones::{BeginRangeOfMotion, EndRangeOfMotion, SaveCalibration},
    sets::FaceLinkSystems,
    subjects::{FaceSubject, SubjectAppeared},
};

pub(crate) struct PerformersPlugin;

impl Plugin for PerformersPlugin {
    fn build(&self, app: &mut App) {
        add_assets(app);
        app.add_observer(on_appeared)
            .add_observer(on_save)
            .add_observer(on_begin_range)
            .add_observer(on_end_range)
            .add_systems(
                PreUpdate,
                (watch_files, apply).after(FaceLinkSystems::Receive).run_if(resource_exists::<Assets<FacePerformer>>),
            );
    }

    fn finish(&self, app: &mut App) {
        add_assets(app);
    }
}

/// `AssetPlugin` may be added after ours.
fn add_assets(app: &mut App) {
    files::add_asset::<FacePerformer, PerformerLoader>(app);
    let world = app.world();
    if let Some(watch) = world.get_resource::<FileWatch>()
        && !world.contains_resource::<FacePerformers>()
    {
        let performers = FacePerformers::new(watch.root().to_owned());
        app.insert_resource(performers);
    }
}

/// The files of the performers in use.
fn watch_files(
    watch: Option<ResMut<FileWatch>>,
    server: Option<Res<AssetServer>>,
    performers: Res<Assets<FacePerformer>>,
    mut changed: MessageReader<AssetEvent<FacePerformer>>,
) {
    let (Some(mut watch), Some(server)) = (watch, server) else { return };
    if changed.read().count() == 0 {
        return;
    }
    let paths = performers.iter().filter_map(|(id, _)| server.get_path(id).map(AssetPath::into_owned));
    let files = paths.map(|path| Watched { file: watch.root().join(path.path()), asset: path }).collect();
    watch.watch::<FacePerformer>(files);
}

/// A performer's calibration: a file that ends in `.performer.ron` or `.performer.json`.
#[derive(Asset, TypePath, Clone, Debug, Default, PartialEq)]
pub struct FacePerformer(pub Performer);

/// Where performers are kept, and which are in use.
#[derive(Resource, Clone, Debug)]
pub struct FacePerformers {
    /// Folder below the assets; `None` saves and loads no performer.
    pub folder: Option<String>,
    /// Folder of the assets on disk.
    root: PathBuf,
    loaded: HashMap<String, Handle<FacePerformer>>,
}

impl FacePerformers {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { folder: Some("performers".to_owned()), root, loaded: HashMap::default() }
    }

    /// Folder of the assets on disk.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a performer's file below the assets. Names come from the network: what is no letter, digit, `-` or `_` is
    /// written as its number.
    pub fn path(&self, name: &str) -> Option<String> {
        use std::fmt::Write;
        let mut file = String::new();
        for c in name.chars() {
            if c.is_alphanumeric() || matches!(c, '-' | '_') {
                file.push(c);
            } else {
                let _ = write!(file, "%{:02x}", u32::from(c));
            }
        }
        self.folder.as_ref().map(|folder| format!("{folder}/{file}.performer.ron"))
    }
}

/// Reads [`FacePerformer`]s.
#[derive(Default, TypePath)]
pub(crate) struct PerformerLoader;

impl AssetLoader for PerformerLoader {
    type Asset = FacePerformer;
    type Settings = ();
    type Error = MappingLoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _settings: &(),
        load_context: &mut LoadContext<'_>,
    ) -> Result<FacePerformer, MappingLoadError> {
        let path = load_context.path().to_string();
        let text = files::read_text(reader).await;
        let text = text.map_err(|error| MappingLoadError::Read { path: path.clone(), error })?;
        Ok(FacePerformer(Performer::read(&text, Format::of_path(&path)).map_err(|error| error.in_file(path))?))
    }

    fn extensions(&self) -> &[&str] {
        &["performer.ron", "performer.json"]
    }
}

/// Loads the saved calibration of a performer that returns.
fn on_appeared(
    appeared: On<SubjectAppeared>,
    performers: Option<ResMut<FacePerformers>>,
    server: Option<Res<AssetServer>>,
    known: Option<Res<Assets<FacePerformer>>>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
) {
    let (Some(mut performers), Some(server), Some(known)) = (performers, server, known) else { return };
    let name = &appeared.name;
    if let Some(performer) = performers.loaded.get(name).and_then(|handle| known.get(handle)) {
        // The endpoint may have been started anew.
        if let Some(endpoint) = endpoint {
            endpoint.set_calibration(name, performer.0.calibration);
        }
        return;
    }
    let Some(path) = performers.path(name).filter(|path| performers.root.join(path).is_file()) else { return };
    performers.loaded.insert(name.clone(), server.load(AssetPath::from(path)));
}

/// Hands calibrations that were read, or have changed on disk, on to the endpoint.
fn apply(
    mut events: MessageReader<AssetEvent<FacePerformer>>,
    performers: Option<Res<FacePerformers>>,
    known: Option<Res<Assets<FacePerformer>>>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
) {
    let (Some(performers), Some(known), Some(endpoint)) = (performers, known, endpoint) else { return };
    for event in events.read() {
        let (AssetEvent::Added { id } | AssetEvent::Modified { id }) = event else { continue };
        let Some((name, _)) = performers.loaded.iter().find(|(_, handle)| handle.id() == *id) else { continue };
        if let Some(performer) = known.get(*id)
            && endpoint.set_calibration(name, performer.0.calibration)
        {
            info!("calibration of \"{name}\" loaded");
        }
    }
}

fn on_save(
    event: On<SaveCalibration>,
    performers: Option<ResMut<FacePerformers>>,
    server: Option<Res<AssetServer>>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    subjects: Query<&FaceSubject>,
) {
    let Ok(subject) = subjects.get(event.entity) else { return warn!("calibration: {} is no subject", event.entity) };
    let name = &subject.name;
    let (Some(mut performers), Some(endpoint)) = (performers, endpoint) else {
        return warn!("calibration of \"{name}\" is not kept: there are neither assets nor sockets");
    };
    let (Some(path), Some(calibration)) = (performers.path(name), endpoint.calibration(name)) else {
        return warn!("calibration of \"{name}\" is not kept: it has none, or `FacePerformers::folder` is not set");
    };
    let text = Performer { name: name.clone(), calibration }.write(Format::Ron);
    let file = performers.root.join(&path);
    match files::write(&file, &text) {
        Ok(()) => {
            info!("calibration of \"{name}\" kept in {}", file.display());
            if let Some(server) = server {
                performers.loaded.insert(name.clone(), server.load(AssetPath::from(path)));
            }
        }
        Err(error) => error!("calibration of \"{name}\" is not kept: {}: {error}", file.display()),
    }
}

fn on_begin_range(
    event: On<BeginRangeOfMotion>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    subjects: Query<&FaceSubject>,
) {
    let Ok(subject) = subjects.get(event.entity) else {
        return warn!("range of motion: {} is no subject", event.entity);
    };
    if endpoint.is_some_and(|endpoint| endpoint.begin_range_of_motion(&subject.name)) {
        info!("range of motion: \"{}\", make every face as far as it goes", subject.name);
    } else {
        warn!("range of motion: \"{}\" sends nothing to take it from", subject.name);
    }
}

fn on_end_range(event: On<EndRangeOfMotion>, endpoint: Option<Res<FaceLinkEndpoint>>, subjects: Query<&FaceSubject>) {
    let Ok(subject) = subjects.get(event.entity) else {
        return warn!("range of motion: {} is no subject", event.entity);
    };
    match endpoint.and_then(|endpoint| endpoint.end_range_of_motion(&subject.name, event.keep)) {
        Some(capture) if event.keep => {
            let made: Vec<_> = capture.reached().map(|(shape, max)| format!("{shape} {max:.2}")).collect();
            info!("range of motion: \"{}\": {}", subject.name, made.join(", "));
        }
        Some(_) => {}
        None => warn!("range of motion: \"{}\" has begun none", subject.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn performer_name_from_network_stays_in_folder() {
        let performers = FacePerformers::new(PathBuf::from("assets"));
        for (name, path) in [
            ("Ann", "performers/Ann.performer.ron"),
            ("../../etc/passwd", "performers/%2e%2e%2f%2e%2e%2fetc%2fpasswd.performer.ron"),
            ("Zoë 2", "performers/Zoë%202.performer.ron"),
            ("a\\b:c", "performers/a%5cb%3ac.performer.ron"),
        ] {
            assert_eq!(performers.path(name).as_deref(), Some(path));
        }
    }
}
