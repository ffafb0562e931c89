//! Remote control by the Bevy Remote Protocol: methods `facelink.*` next to those of the engine.
//!
//! They are there when the game adds `RemotePlugin`, before or after [`FaceLinkPlugin`](crate::FaceLinkPlugin):
//!
//! ```no_run
//! use bevy::{prelude::*, remote::{RemotePlugin, http::RemoteHttpPlugin}};
//! use bevy_facelink::prelude::*;
//!
//! App::new()
//!     .add_plugins((DefaultPlugins, FaceLinkPlugin::default()))
//!     .add_plugins((RemotePlugin::default(), RemoteHttpPlugin::default())) // http://127.0.0.1:15702
//!     .run();
//! ```
//!
//! | Method | Parameters | Does |
//! |---|---|---|
//! | `facelink.subjects` | | lists the subjects |
//! | `facelink.enable`, `.rename`, `.alias` | `subject`; `enabled`, `name` | [names of subjects](crate::net::EndpointControl::rename_subject) |
//! | `facelink.record` | `action`, `slate`, `take`, `text` | records takes |
//! | `facelink.play` | `take`, `player`, `playing` ... | plays takes |
//! | `facelink.calibrate` | `subject`, `what` | neutral face, head, range of motion |
//! | `facelink.mapping` | `avatar`, `file`, `preset` | what of a face each avatar shows, and by which mapping |
//! | `facelink.emotion` | `emotion`, `intensity`, `subject` ... | shows an emotion |
//! | `facelink.cut` | `subject` | avatars without a subject of their own show this one |
//! | `facelink.schema` | | the JSON schemas of the parameters and results of all of these |
//!
//! Unknown parameters are refused by name. `docs/remote.md` has every field, with examples.

use std::time::Duration;

use bevy::{
    asset::AssetPath,
    prelude::*,
    remote::{BrpError, BrpResult, RemoteInstantMethodSystemId, RemoteMethodSystemId, RemoteMethods, error_codes},
};
use facelink::{
    calibration::{CalibrateError, CalibrationStep},
    event::Emotion,
    mapping::Mapping,
    take::SPEEDS,
    wire::json::check_name,
};
use facelink_net::{SubjectError, TakeOptions, TakeRecordError};
use schemars::{JsonSchema, Schema, schema_for};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    avatar::{Drives, FaceAvatar},
    endpoint::FaceLinkEndpoint,
    input::FaceInput,
    mapping::{AvatarMapping, FaceMapping, FacePresets},
    pose::FacePose,
    recording::FaceRecordError,
    report::BindReport,
    subjects::{FaceSubjects, LinkQuality},
    takes::{FaceTake, TakePlayback, TakePlayer, TakeState},
};

/// Adds the methods, where there is something to call them.
pub(crate) struct RemoteControlPlugin;

impl Plugin for RemoteControlPlugin {
    fn build(&self, _: &mut App) {}

    fn finish(&self, app: &mut App) {
        let world = app.world_mut();
        if !world.contains_resource::<RemoteMethods>() {
            return;
        }
        let mut schemas = Vec::new();
        let mut add = |method: Method| {
            let id = (method.register)(world);
            world.resource_mut::<RemoteMethods>().insert(method.schema.method, RemoteMethodSystemId::Instant(id));
            schemas.push(method.schema);
        };
        add(method("facelink.subjects", subjects));
        add(method("facelink.enable", enable));
        add(method("facelink.rename", rename));
        add(method("facelink.alias", alias));
        add(method("facelink.record", record));
        add(method("facelink.play", play));
        add(method("facelink.calibrate", calibrate));
        add(method("facelink.mapping", mapping));
        add(method("facelink.emotion", emotion));
        add(method("facelink.cut", cut));
        add(method("facelink.schema", schema));
        world.insert_resource(Schemas(schemas));
    }
}

struct Method {
    schema: MethodSchema,
    register: Box<dyn FnOnce(&mut World) -> RemoteInstantMethodSystemId>,
}

/// A method of this name. Without parameters it gets the empty object.
fn method<P, R>(name: &'static str, act: fn(P, &mut World) -> Result<R, RemoteError>) -> Method
where
    P: DeserializeOwned + JsonSchema + 'static,
    R: Serialize + JsonSchema + 'static,
{
    let handler = move |In(params): In<Option<Value>>, world: &mut World| -> BrpResult {
        let params = params.filter(|params| !params.is_null()).unwrap_or_else(|| Value::Object(default()));
        let params = serde_path_to_error::deserialize(params).map_err(|error| match error.path().to_string() {
            path if path == "." => RemoteError::Params(error.into_inner().to_string()),
            field => RemoteError::Field { field, reason: error.into_inner().to_string() },
        })?;
        let result = act(params, world)?;
        serde_json::to_value(result).map_err(BrpError::internal)
    };
    Method {
        schema: MethodSchema { method: name, params: schema_for!(P), result: schema_for!(R) },
        register: Box::new(move |world| world.register_system(handler)),
    }
}

/// Why a method is refused. The words are those of the HTTP API and of OSC.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    #[error("{0}")]
    Params(String),
    #[error("field `{field}`: {reason}")]
    Field { field: String, reason: String },
    #[error("there is no subject")]
    NoSubjects,
    #[error("{0} is no player of a take")]
    NoPlayer(Entity),
    #[error("{0} is no avatar")]
    NoAvatar(Entity),
    #[error("there are no assets in this game")]
    NoAssets,
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Subject(#[from] SubjectError),
    #[error(transparent)]
    Record(#[from] FaceRecordError),
}

impl From<TakeRecordError> for RemoteError {
    fn from(error: TakeRecordError) -> Self {
        Self::Record(error.into())
    }
}

impl From<RemoteError> for BrpError {
    fn from(error: RemoteError) -> Self {
        let code = match &error {
            RemoteError::NoPlayer(_) | RemoteError::NoAvatar(_) => error_codes::ENTITY_NOT_FOUND,
            RemoteError::Record(FaceRecordError::NoEndpoint) | RemoteError::NoAssets => {
                error_codes::RESOURCE_NOT_PRESENT
            }
            RemoteError::Record(FaceRecordError::Take(TakeRecordError::Field { .. })) => error_codes::INVALID_PARAMS,
            RemoteError::Record(_) => error_codes::INTERNAL_ERROR,
            RemoteError::Params(_)
            | RemoteError::Field { .. }
            | RemoteError::NoSubjects
            | RemoteError::Calibrate(_)
            | RemoteError::Subject(_) => error_codes::INVALID_PARAMS,
        };
        Self { code, message: error.to_string(), data: None }
    }
}

fn field(field: &str, reason: impl Into<String>) -> RemoteError {
    RemoteError::Field { field: field.to_owned(), reason: reason.into() }
}

fn endpoint(world: &World) -> Result<&FaceLinkEndpoint, FaceRecordError> {
    world.get_resource().ok_or(FaceRecordError::NoEndpoint)
}

/// Seconds of a parameter.
fn seconds(name: &str, seconds: f64) -> Result<Duration, RemoteError> {
    Duration::try_from_secs_f64(seconds).map_err(|_| field(name, format!("{seconds} is no time, 0 and up, in seconds")))
}

/// The asset of this path. Which folders it may be in is said by the game's `AssetPlugin::unapproved_path_mode`.
fn load<A: Asset>(world: &World, name: &str, path: &str) -> Result<Handle<A>, RemoteError> {
    let path = AssetPath::try_parse(path).map_err(|error| field(name, error.to_string()))?;
    if path.path().as_os_str().is_empty() {
        return Err(field(name, "is the path of no file"));
    }
    Ok(world.get_resource::<AssetServer>().ok_or(RemoteError::NoAssets)?.load(path.into_owned()))
}

/// Takes no parameters.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The method has done it.
#[derive(Serialize, JsonSchema)]
struct Done {}

// facelink.subjects

/// The subjects, in order of appearance.
#[derive(Serialize, JsonSchema)]
struct Subjects {
    subjects: Vec<Subject>,
}

#[derive(Serialize, JsonSchema)]
struct Subject {
    name: String,
    /// Its entity, for Bevy's own methods.
    #[schemars(with = "u64")]
    entity: Entity,
    /// Its sender is there; otherwise its face eases to neutral.
    live: bool,
    /// The source sees the face.
    tracked: bool,
    /// What carries its frames, such as `webrtc`.
    source: Option<String>,
    /// Where it comes from.
    address: Option<String>,
    /// Frames a second that arrive.
    fps: f32,
    /// Frames since it appeared.
    frames: u64,
    /// Capture or send to arrival, milliseconds.
    latency_ms: Option<f32>,
    /// RFC 3550 interarrival jitter, milliseconds.
    jitter_ms: f32,
    /// Share of frames lost, 0 to 1.
    loss: Option<f32>,
    /// The avatars that it drives.
    #[schemars(with = "Vec<u64>")]
    avatars: Vec<Entity>,
}

fn subjects(_: Nothing, world: &mut World) -> Result<Subjects, RemoteError> {
    let listed = world.resource::<FaceSubjects>();
    let subjects = listed.iter().filter_map(|(name, entity)| {
        let quality = world.get::<LinkQuality>(entity)?;
        Some(Subject {
            name: name.to_owned(),
            entity,
            live: listed.is_live(entity),
            tracked: world.get::<FacePose>(entity).is_some_and(|pose| pose.tracked),
            source: quality.transport.map(|source| source.to_string()),
            address: quality.address.clone(),
            fps: quality.fps,
            frames: quality.frames,
            latency_ms: quality.latency_ms,
            jitter_ms: quality.jitter_ms,
            loss: quality.loss,
            avatars: world.get::<Drives>(entity).map_or_else(Vec::new, |drives| drives.avatars().to_vec()),
        })
    });
    Ok(Subjects { subjects: subjects.collect() })
}

// facelink.enable, .rename, .alias

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Enable {
    /// Name of the subject.
    subject: String,
    /// Whether its frames are taken; they are without it.
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

fn enable(params: Enable, world: &mut World) -> Result<Done, RemoteError> {
    endpoint(world)?.enable_subject(&params.subject, params.enabled)?;
    Ok(Done {})
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rename {
    /// Name of the subject.
    subject: String,
    /// The name that it gets; that of its source without it.
    name: Option<String>,
}

fn rename(params: Rename, world: &mut World) -> Result<Done, RemoteError> {
    endpoint(world)?.rename_subject(&params.subject, params.name.as_deref())?;
    Ok(Done {})
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Alias {
    /// Name of the subject.
    subject: String,
    /// The name that it gets, which another subject may have.
    name: String,
}

fn alias(params: Alias, world: &mut World) -> Result<Done, RemoteError> {
    endpoint(world)?.alias_subject(&params.subject, &params.name)?;
    Ok(Done {})
}

// facelink.record

#[derive(Deserialize, JsonSchema, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum RecordAction {
    /// The take that is recorded, or the last one.
    #[default]
    Status,
    /// Begins one.
    Start,
    /// Ends it. The answer does not wait for the file to be whole.
    Stop,
    /// Puts a mark into it.
    Mark,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Record {
    #[serde(default)]
    action: RecordAction,
    /// With `start`: the slate; `take` without it.
    slate: Option<String>,
    /// With `start`: number of the take; the next that is free without it.
    take: Option<u32>,
    /// With `start`: the datagrams of phones too.
    #[serde(default)]
    packets: bool,
    /// With `start`: Live Link Face on called phones records too.
    phones: Option<bool>,
    /// With `start`: whether OBS records too.
    obs: Option<bool>,
    /// With `mark`: what it says.
    text: Option<String>,
}

/// A take that is recorded, or was: the fields of the HTTP API.
#[derive(Serialize, JsonSchema)]
struct Recorded {
    /// `null` where none was recorded.
    #[schemars(with = "Option<std::collections::BTreeMap<String, Value>>")]
    take: Option<facelink_net::TakeStatus>,
}

fn record(params: Record, world: &mut World) -> Result<Recorded, RemoteError> {
    let endpoint = endpoint(world)?;
    let Record { action, slate, take, packets, phones, obs, text } = params;
    if action != RecordAction::Start {
        for (given, name) in [
            (slate.is_some(), "slate"),
            (take.is_some(), "take"),
            (packets, "packets"),
            (phones.is_some(), "phones"),
            (obs.is_some(), "obs"),
        ] {
            if given {
                return Err(field(name, "belongs to the action `start`"));
            }
        }
    }
    if text.is_some() && action != RecordAction::Mark {
        return Err(field("text", "belongs to the action `mark`"));
    }
    match action {
        RecordAction::Status => {}
        RecordAction::Start => {
            endpoint.start_take(TakeOptions { slate, take, packets, phones, obs, ..TakeOptions::default() })?;
        }
        RecordAction::Stop if endpoint.take_status().is_some_and(|take| take.recording) => endpoint.end_take(),
        RecordAction::Stop => return Err(TakeRecordError::NotRecording.into()),
        RecordAction::Mark => endpoint.mark_take(text.ok_or_else(|| field("text", "is missing"))?)?,
    }
    Ok(Recorded { take: endpoint.take_status() })
}

// facelink.play

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Play {
    /// Plays this asset, a `.mcap` or `.csv` file, in a player of its own.
    take: Option<String>,
    /// Changes this player; every one without it and without `take`.
    #[schemars(with = "Option<u64>")]
    player: Option<Entity>,
    /// Plays or pauses.
    playing: Option<bool>,
    /// Begins again at its end.
    looped: Option<bool>,
    /// Speed, 0.1 to 4.
    speed: Option<f64>,
    /// Goes there, seconds since the start of the take.
    seek_s: Option<f64>,
    /// Goes so many frames on, or back.
    step: Option<i32>,
    /// In point, seconds.
    from_s: Option<f64>,
    /// Out point, seconds.
    until_s: Option<f64>,
    /// Subjects that are played, with the name of each of them here; all of them without it.
    subjects: Option<Vec<(String, String)>>,
    /// Removes the player.
    #[serde(default)]
    remove: bool,
}

/// The players that are left.
#[derive(Serialize, JsonSchema)]
struct Players {
    players: Vec<PlayerStatus>,
}

#[derive(Serialize, JsonSchema)]
struct PlayerStatus {
    #[schemars(with = "u64")]
    player: Entity,
    /// Path of the asset.
    take: Option<String>,
    /// `loading`, `playing`, `paused`, `finished` or `failed`.
    state: &'static str,
    /// Why it failed.
    error: Option<String>,
    /// Seconds since the start of the take.
    position_s: f64,
    duration_s: f64,
}

impl Play {
    /// Refuses what is out of range before anything changes.
    fn check(&self) -> Result<(), RemoteError> {
        if let Some(speed) = self.speed
            && !SPEEDS.contains(&speed)
        {
            let reason = format!("{speed} is not between {} and {}", SPEEDS.start(), SPEEDS.end());
            return Err(field("speed", reason));
        }
        let from = self.from_s.map(|from| seconds("from_s", from)).transpose()?;
        let until = self.until_s.map(|until| seconds("until_s", until)).transpose()?;
        if let (Some(from), Some(until)) = (from, until)
            && until <= from
        {
            return Err(field("until_s", "is not after `from_s`"));
        }
        self.seek_s.map_or(Ok(()), |seek| seconds("seek_s", seek).map(drop))?;
        if self.remove && self.take.is_some() {
            return Err(field("remove", "belongs to a `player`"));
        }
        Ok(())
    }

    fn apply(&self, player: &mut TakePlayer) -> Result<(), RemoteError> {
        player.playing = self.playing.unwrap_or(player.playing);
        player.looped = self.looped.unwrap_or(player.looped);
        player.speed = self.speed.unwrap_or(player.speed);
        if let Some(from) = self.from_s {
            player.from = seconds("from_s", from)?;
        }
        if let Some(until) = self.until_s {
            player.until = Some(seconds("until_s", until)?);
        }
        if let Some(subjects) = &self.subjects {
            player.subjects.clone_from(subjects);
        }
        Ok(())
    }
}

fn play(params: Play, world: &mut World) -> Result<Players, RemoteError> {
    params.check()?;
    let mut players = world.query_filtered::<Entity, With<TakePlayer>>();
    let meant: Vec<_> = match (&params.take, params.player) {
        (Some(_), Some(_)) => {
            return Err(field("player", "belongs to a take that is played already: leave out `take`"));
        }
        (Some(take), None) => {
            let handle = load::<FaceTake>(world, "take", take)?;
            vec![world.spawn((Name::new(format!("take: {take}")), TakePlayer::new(handle))).id()]
        }
        (None, Some(player)) if players.get(world, player).is_ok() => vec![player],
        (None, Some(player)) => return Err(RemoteError::NoPlayer(player)),
        (None, None) => players.iter(world).collect(),
    };
    for entity in meant {
        if params.remove {
            world.despawn(entity);
            continue;
        }
        if let Some(mut player) = world.get_mut::<TakePlayer>(entity) {
            params.apply(&mut player)?;
        }
        if let Some(mut playback) = world.get_mut::<TakePlayback>(entity) {
            if let Some(seek) = params.seek_s {
                playback.seek(seconds("seek_s", seek)?);
            }
            if let Some(frames) = params.step {
                playback.step(frames);
            }
        }
    }
    let mut all = world.query::<(Entity, &TakePlayer, &TakePlayback)>();
    let players = all.iter(world).map(|(entity, player, playback)| {
        let (state, error) = match playback.state() {
            TakeState::Loading => ("loading", None),
            TakeState::Playing => ("playing", None),
            TakeState::Paused => ("paused", None),
            TakeState::Finished => ("finished", None),
            TakeState::Failed(error) => ("failed", Some(error.clone())),
        };
        PlayerStatus {
            player: entity,
            take: player.take.path().map(ToString::to_string),
            state,
            error,
            position_s: playback.position().as_secs_f64(),
            duration_s: playback.duration().as_secs_f64(),
        }
    });
    Ok(Players { players: players.collect() })
}

// facelink.calibrate

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Calibrate {
    /// Name of the subject; every live one without it.
    subject: Option<String>,
    /// `neutral` without it.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("enum" = CalibrationStep::ALL.map(|(_, word)| word)))]
    what: CalibrationStep,
}

/// The subjects that it was done for.
#[derive(Serialize, JsonSchema)]
struct DoneFor {
    subjects: Vec<String>,
}

/// The subject of this name, or all that are live.
fn live(name: Option<String>, world: &World) -> Result<Vec<String>, RemoteError> {
    let subjects = world.resource::<FaceSubjects>();
    let live = subjects.iter().filter(|(_, entity)| subjects.is_live(*entity));
    let live: Vec<_> =
        live.map(|(name, _)| name.to_owned()).filter(|live| name.as_ref().is_none_or(|name| name == live)).collect();
    match (live.is_empty(), name) {
        (false, _) => Ok(live),
        (true, Some(name)) => Err(CalibrateError::UnknownSubject(name).into()),
        (true, None) => Err(RemoteError::NoSubjects),
    }
}

fn calibrate(params: Calibrate, world: &mut World) -> Result<DoneFor, RemoteError> {
    let subjects = live(params.subject, world)?;
    let endpoint = endpoint(world)?;
    for name in &subjects {
        // Those of the game's own sources and takes are not the endpoint's.
        endpoint.calibrate(name, params.what)?;
    }
    Ok(DoneFor { subjects })
}

// facelink.mapping

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Map {
    /// The avatar; every one without it.
    #[schemars(with = "Option<u64>")]
    avatar: Option<Entity>,
    /// Gives it the mapping of this asset, a `.face.ron` or `.face.json` file.
    file: Option<String>,
    /// Gives it this preset, or `auto`, the one that shows most of its rig.
    preset: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Avatars {
    avatars: Vec<AvatarStatus>,
    /// Ids of the presets.
    presets: Vec<String>,
}

/// An avatar. What was changed by the same call is bound in the next frames.
#[derive(Serialize, JsonSchema)]
struct AvatarStatus {
    #[schemars(with = "u64")]
    avatar: Entity,
    /// The subject that it is to show; the first that appears without one.
    subject: Option<String>,
    /// Path of its mapping, where it has one of its own that is a file.
    file: Option<String>,
    /// Dialect of its rig, or its mapping, as people call it.
    dialect: String,
    /// The preset that shows most of its rig.
    preset: String,
    /// ARKit names of the shapes that it shows.
    matched: Vec<String>,
    /// ARKit names of those that it does not.
    missing: Vec<String>,
    /// Targets that nothing knows.
    unused: Vec<String>,
    /// Bones that turn.
    bones: Vec<String>,
    /// Why its mapping is not used, or its scene cannot be loaded.
    problem: Option<String>,
}

fn mapping(params: Map, world: &mut World) -> Result<Avatars, RemoteError> {
    let mut all = world.query_filtered::<Entity, With<FaceAvatar>>();
    let meant: Vec<_> = match params.avatar {
        Some(avatar) if all.get(world, avatar).is_ok() => vec![avatar],
        Some(avatar) => return Err(RemoteError::NoAvatar(avatar)),
        None => all.iter(world).collect(),
    };
    let own = match (params.file, params.preset) {
        (Some(_), Some(_)) => return Err(field("preset", "cannot be given beside `file`")),
        (Some(file), None) => Some(Some(load::<FaceMapping>(world, "file", &file)?)),
        (None, Some(preset)) if preset == facelink::mapping::AUTO => Some(None),
        (None, Some(preset)) => {
            if world.resource::<FacePresets>().mapping(&preset).is_none() {
                return Err(field("preset", format!("there is no preset `{}`", preset.escape_debug())));
            }
            let mut mappings = world.get_resource_mut::<Assets<FaceMapping>>().ok_or(RemoteError::NoAssets)?;
            Some(Some(mappings.add(FaceMapping::from(Mapping::including([preset])))))
        }
        (None, None) => None,
    };
    for avatar in &meant {
        match &own {
            Some(Some(handle)) => drop(world.entity_mut(*avatar).insert(AvatarMapping(handle.clone()))),
            Some(None) => drop(world.entity_mut(*avatar).remove::<AvatarMapping>()),
            None => {}
        }
    }
    let mut described = world.query::<(&FaceAvatar, Option<&AvatarMapping>, Option<&BindReport>)>();
    let avatars = meant.into_iter().filter_map(|entity| {
        let (avatar, mapping, report) = described.get(world, entity).ok()?;
        let report = report.cloned().unwrap_or_default();
        Some(AvatarStatus {
            avatar: entity,
            subject: avatar.subject.clone(),
            file: mapping.and_then(|mapping| mapping.0.path()).map(ToString::to_string),
            dialect: report.dialect,
            preset: report.preset,
            matched: report.matched,
            missing: report.missing,
            unused: report.unused,
            bones: report.bones,
            problem: report.problem,
        })
    });
    let avatars = avatars.collect();
    Ok(Avatars { avatars, presets: world.resource::<FacePresets>().ids().map(ToOwned::to_owned).collect() })
}

// facelink.emotion

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Show {
    /// Name of the expression, such as `happy`.
    emotion: String,
    /// 0 ends it; 1 without it.
    #[serde(default = "full")]
    intensity: f32,
    /// How long it takes to get there, seconds.
    fade_s: Option<f64>,
    /// How long it stays, seconds; until it is ended without it.
    duration_s: Option<f64>,
    /// Name of the subject; every live one without it.
    subject: Option<String>,
}

fn full() -> f32 {
    1.0
}

fn emotion(params: Show, world: &mut World) -> Result<DoneFor, RemoteError> {
    check_name(&params.emotion).map_err(|reason| field("emotion", reason))?;
    if !(0.0..=1.0).contains(&params.intensity) {
        return Err(field("intensity", format!("{} is not between 0 and 1", params.intensity)));
    }
    let emotion = Emotion {
        name: params.emotion.as_str().into(),
        intensity: params.intensity,
        fade: params.fade_s.map(|fade| seconds("fade_s", fade)).transpose()?,
        duration: params.duration_s.map(|duration| seconds("duration_s", duration)).transpose()?,
    };
    let subjects = live(params.subject, world)?;
    let input = world.resource::<FaceInput>();
    for name in &subjects {
        input.emotion(name, emotion.clone());
    }
    Ok(DoneFor { subjects })
}

// facelink.cut

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Cut {
    /// Name of the subject.
    subject: String,
}

fn cut(params: Cut, world: &mut World) -> Result<Done, RemoteError> {
    let [name] = &live(Some(params.subject), world)?[..] else { return Err(RemoteError::NoSubjects) };
    // The endpoint's outputs and controllers follow too, and it tells the engine. A face of the game's own is not known to it.
    if !world.get_resource::<FaceLinkEndpoint>().is_some_and(|endpoint| endpoint.cut_to(name)) {
        world.resource::<FaceInput>().cut_to(name);
    }
    Ok(Done {})
}

// facelink.schema

/// What each method takes and gives.
#[derive(Resource)]
struct Schemas(Vec<MethodSchema>);

#[derive(Serialize, JsonSchema, Clone)]
struct MethodSchema {
    method: &'static str,
    /// JSON schema (draft 2020-12) of its parameters.
    params: Schema,
    /// JSON schema of its result.
    result: Schema,
}

#[derive(Serialize, JsonSchema)]
struct Methods {
    methods: Vec<MethodSchema>,
}

fn schema(_: Nothing, world: &mut World) -> Result<Methods, RemoteError> {
    Ok(Methods { methods: world.resource::<Schemas>().0.clone() })
}
