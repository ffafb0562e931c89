//! Recording takes in a game, and what they hold of it: its avatars and their mappings, also when HTTP or OSC begins the take.

use bevy::{asset::AssetPath, ecs::system::SystemParam, prelude::*};
use facelink::mapping::{Format, Mapping};
use facelink_net::{TakeFileContent, TakeOptions, TakeRecordError, TakeStatus};
use serde::Serialize;

use crate::{
    avatar::FaceAvatar,
    endpoint::FaceLinkEndpoint,
    mapping::{AvatarMapping, FaceMapping},
    report::BindReport,
    sets::FaceLinkSystems,
};

/// Records takes: a parameter of systems, whether or not the endpoint runs that writes them.
///
/// ```
/// use bevy::prelude::*;
/// use bevy_facelink::{net::TakeOptions, prelude::*};
///
/// fn record(keys: Res<ButtonInput<KeyCode>>, recorder: FaceRecorder) {
///     if keys.just_pressed(KeyCode::KeyR) {
///         let options = TakeOptions { slate: Some("scene 7".into()), ..default() };
///         let done = if recorder.is_recording() { recorder.stop() } else { recorder.start(options).map(drop) };
///         if let Err(error) = done {
///             warn!("{error}");
///         }
///     }
/// }
/// # bevy::ecs::system::assert_is_system(record);
/// ```
#[derive(SystemParam)]
pub struct FaceRecorder<'w> {
    endpoint: Option<Res<'w, FaceLinkEndpoint>>,
}

/// Why a take does not begin, or end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaceRecordError {
    /// No endpoint runs. One that listens nowhere records too: `EndpointConfig::dial_only`.
    #[error("the network's endpoint does not run, which has to do this")]
    NoEndpoint,
    /// What the endpoint says.
    #[error(transparent)]
    Take(#[from] TakeRecordError),
}

impl FaceRecorder<'_> {
    fn endpoint(&self) -> Result<&FaceLinkEndpoint, FaceRecordError> {
        self.endpoint.as_deref().ok_or(FaceRecordError::NoEndpoint)
    }

    /// Whether an endpoint runs that can record.
    pub fn is_available(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Begins a take of all faces, of the network and of the game's own sources.
    ///
    /// # Errors
    /// [`FaceRecordError`], when one is being recorded already, its file cannot be made, or no endpoint runs.
    pub fn start(&self, options: TakeOptions) -> Result<TakeStatus, FaceRecordError> {
        Ok(self.endpoint()?.start_take(options)?)
    }

    /// Ends it, without waiting for its file to be whole: [`status`](Self::status) has what came of it.
    ///
    /// # Errors
    /// [`FaceRecordError`], when none is being recorded, or no endpoint runs.
    pub fn stop(&self) -> Result<(), FaceRecordError> {
        let endpoint = self.endpoint()?;
        if !self.is_recording() {
            return Err(TakeRecordError::NotRecording.into());
        }
        endpoint.end_take();
        Ok(())
    }

    /// Puts a mark into it.
    ///
    /// # Errors
    /// [`FaceRecordError`], when none is being recorded, or the text is empty or too long.
    pub fn mark(&self, text: impl Into<String>) -> Result<(), FaceRecordError> {
        Ok(self.endpoint()?.mark_take(text)?)
    }

    /// The take that is being recorded, or the last one.
    pub fn status(&self) -> Option<TakeStatus> {
        self.endpoint().ok()?.take_status()
    }

    /// Whether one is being recorded.
    pub fn is_recording(&self) -> bool {
        self.status().is_some_and(|take| take.recording)
    }
}

/// An avatar, in the attachment `avatars.json`.
#[derive(Serialize)]
struct AvatarAbout<'a> {
    avatar: String,
    subject: Option<&'a str>,
    dialect: &'a str,
    preset: &'a str,
    /// The attachment with its mapping; without one, the preset is all that it has.
    mapping: Option<String>,
    matched: &'a [String],
    missing: &'a [String],
}

pub(crate) struct RecordingPlugin;

impl Plugin for RecordingPlugin {
    fn build(&self, app: &mut App) {
        app.add_systems(
            PostUpdate,
            describe.after(FaceLinkSystems::Drive).run_if(resource_exists::<Assets<FaceMapping>>),
        );
    }
}

type AvatarParts<'a> = (Entity, &'a FaceAvatar, &'a BindReport, Option<&'a AvatarMapping>, Option<&'a Name>);
type AvatarChanged = Or<(Changed<FaceAvatar>, Changed<BindReport>, Changed<AvatarMapping>)>;

/// Longest time for which changes in every frame, such as of a slider that is dragged, are not written down, seconds.
const SETTLES_WITHIN: f32 = 1.0;

/// Gives the endpoint what has changed, for the takes to come: once nothing changes any more, for writing down a crowd takes time.
fn describe(
    time: Res<Time<Real>>,
    mut unwritten: Local<Option<f32>>,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    avatars: Query<AvatarParts>,
    changed: Query<(), AvatarChanged>,
    gone: (RemovedComponents<FaceAvatar>, RemovedComponents<AvatarMapping>),
    mappings: Res<Assets<FaceMapping>>,
    mut edited: MessageReader<AssetEvent<FaceMapping>>,
) {
    let Some(endpoint) = endpoint else { return };
    let (mut avatars_gone, mut mappings_gone) = gone;
    let lost = avatars_gone.read().count() + mappings_gone.read().count() + edited.read().count();
    let changes = lost > 0 || !changed.is_empty() || endpoint.is_added();
    let since = match (*unwritten, changes) {
        (None, false) => return,
        (None, true) => 0.0,
        (Some(since), _) => since + time.delta_secs(),
    };
    *unwritten = (changes && since < SETTLES_WITHIN).then_some(since);
    if unwritten.is_some() {
        return;
    }
    let mut files: Vec<TakeFileContent> = Vec::new();
    let mut all = Vec::new();
    for (entity, avatar, report, mapping, name) in &avatars {
        let own = mapping.and_then(|own| Some((own, mappings.get(&own.0)?)));
        all.push(AvatarAbout {
            avatar: name.map_or_else(|| entity.to_string(), |name| name.as_str().to_owned()),
            subject: avatar.subject.as_deref(),
            dialect: &report.dialect,
            preset: &report.preset,
            mapping: own.map(|(own, mapping)| attach(&mut files, entity, own, mapping)),
            matched: &report.matched,
            missing: &report.missing,
        });
    }
    match serde_json::to_vec_pretty(&all) {
        Ok(_) if all.is_empty() => {}
        Ok(json) => files.push(("avatars.json".to_owned(), "application/json".to_owned(), json)),
        Err(error) => warn!("takes will not have the avatars: {error}"),
    }
    endpoint.set_take_attachments(files);
}

/// Puts a mapping and what it includes among the files, each once. Returns its name there. Files keep their places to each other, so
/// that what was included is found.
fn attach(files: &mut Vec<TakeFileContent>, entity: Entity, own: &AvatarMapping, mapping: &FaceMapping) -> String {
    let mut put = |path: &str, mapping: &Mapping| {
        let name = format!("mappings/{path}");
        if !files.iter().any(|(known, ..)| *known == name) {
            files.push((name.clone(), "text/plain".to_owned(), mapping.write(Format::of_path(path)).into_bytes()));
        }
        name
    };
    let Some(path) = own.0.path() else { return put(&format!("{entity}.face.ron"), &mapping.mapping) };
    for (include, included) in &mapping.included {
        if let Ok(file) = path.resolve_embed_str(include) {
            put(&path_of(&file), included);
        }
    }
    put(&path_of(path), &mapping.mapping)
}

fn path_of(path: &AssetPath) -> String {
    path.path().to_string_lossy().replace('\\', "/")
}
