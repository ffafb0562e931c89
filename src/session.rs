//! A session's file, `*.facelink.ron`, as an asset: what it says is set up, changed when the file changes, and written again.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use bevy::{
    asset::{AssetLoader, AssetPath, LoadContext, io::Reader},
    gltf::Gltf,
    prelude::*,
    reflect::TypePath,
};
#[cfg(feature = "net")]
use facelink::subject::SubjectRules;
use facelink::{
    gesture::GestureSet,
    session_file::{self as written, SessionFile, changes},
};

#[cfg(feature = "takes")]
use crate::takes::{FaceTake, TakePlayer};
use crate::{
    avatar::FaceAvatar,
    detail::FaceBudget,
    files::{self, FileWatch, Watched, add_asset},
    gestures::FaceGestures,
    layers::FaceIdle,
    mapping::{AvatarMapping, MappingLoadError},
    model::FaceModel,
    sets::FaceLinkSystems,
    settings::{FacePlayout, FaceSettings, PlayoutFilter},
    subjects::FaceSubject,
    virtual_subject::VirtualSubject,
};
#[cfg(feature = "net")]
use crate::{
    endpoint::{EndpointCommandsExt, EndpointSettings, FaceLinkEndpoint},
    sources::{FaceDial, FaceSource},
};

/// Follows the session's file that is in use.
pub(crate) struct SessionPlugin {
    /// The file to begin with, below the assets.
    pub file: Option<String>,
}

impl Plugin for SessionPlugin {
    fn build(&self, app: &mut App) {
        add_asset::<FaceSessionFile, SessionLoader>(app);
        app.register_type::<SessionEntity>()
            .init_resource::<FaceSession>()
            .add_observer(on_open)
            .add_observer(on_save)
            .add_systems(
                PreUpdate,
                (watch_file, follow, set_subjects)
                    .chain()
                    .before(FaceLinkSystems::Receive)
                    .run_if(resource_exists::<Assets<FaceSessionFile>>.and_then(is_open)),
            );
        #[cfg(sockets)]
        app.add_systems(PreUpdate, run_phones.after(FaceLinkSystems::Receive));
        if let Some(file) = self.file.clone() {
            app.add_systems(PreStartup, move |mut commands: Commands| {
                commands.trigger(OpenSession { path: file.clone() })
            });
        }
    }

    fn finish(&self, app: &mut App) {
        add_asset::<FaceSessionFile, SessionLoader>(app);
    }
}

/// A session's file: [`facelink::session_file`] has its fields.
#[derive(Asset, TypePath, Clone, Debug, Default, PartialEq)]
pub struct FaceSessionFile {
    /// What it says.
    pub file: SessionFile,
    /// Fields that this version does not know.
    pub unknown: Vec<String>,
}

/// The session's file in use, opened by [`FaceLinkPlugin::session`](crate::FaceLinkPlugin::session) or [`OpenSession`].
#[derive(Resource, Clone, Debug, Default)]
pub struct FaceSession {
    path: Option<String>,
    handle: Option<Handle<FaceSessionFile>>,
    applied: Option<SessionFile>,
    /// The rules of what was applied.
    gestures: Option<GestureSet>,
    problem: Option<String>,
    spawned: HashMap<String, Entity>,
}

impl FaceSession {
    /// Its file below the assets.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// What was set up by it last.
    pub fn applied(&self) -> Option<&SessionFile> {
        self.applied.as_ref()
    }

    /// Why the file, or something in it, could not be followed.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

/// Opens a session's file, in place of the one before. It is followed from then on: a change on disk changes the game.
#[derive(Event, Clone, Debug)]
pub struct OpenSession {
    /// The file, below the assets, such as `show.facelink.ron`.
    pub path: String,
}

/// Writes the set-up as it is now to the session's file.
#[derive(Event, Clone, Debug, Default)]
pub struct SaveSession {
    /// Another file below the assets, which is in use from then on.
    pub path: Option<String>,
}

/// An entity that a session's file has spawned; it goes when the file does not name it any more.
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(Component)]
pub struct SessionEntity(
    /// What it is in the file, such as `avatars[left]`.
    pub String,
);

/// Reads [`FaceSessionFile`]s.
#[derive(Default, TypePath)]
pub(crate) struct SessionLoader;

impl AssetLoader for SessionLoader {
    type Asset = FaceSessionFile;
    type Settings = ();
    type Error = MappingLoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _settings: &(),
        load_context: &mut LoadContext<'_>,
    ) -> Result<FaceSessionFile, MappingLoadError> {
        let path = load_context.path().to_string();
        let text = files::read_text(reader).await;
        let text = text.map_err(|error| MappingLoadError::Read { path: path.clone(), error })?;
        let written::Read { file, unknown } = SessionFile::read(&text).map_err(|error| error.in_file(path))?;
        Ok(FaceSessionFile { file, unknown })
    }

    fn extensions(&self) -> &[&str] {
        &["facelink.ron"]
    }
}

/// A game without a session's file pays nothing for it.
fn is_open(session: Res<FaceSession>) -> bool {
    session.handle.is_some()
}

fn on_open(event: On<OpenSession>, server: Option<Res<AssetServer>>, mut session: ResMut<FaceSession>) {
    let Some(server) = server else {
        return warn!("session \"{}\": there are no assets here", event.path);
    };
    session.path = Some(event.path.clone());
    session.handle = Some(server.load(AssetPath::from(event.path.clone())));
}

/// The file in use is looked at for changes, also while it cannot be read.
fn watch_file(watch: Option<ResMut<FileWatch>>, session: Res<FaceSession>) {
    let (Some(mut watch), Some(path)) = (watch, session.path.as_ref().filter(|_| session.is_changed())) else { return };
    let watched = Watched { file: watch.root().join(path), asset: AssetPath::from(path.clone()) };
    watch.watch::<FaceSessionFile>(vec![watched]);
}

/// Sets up what a file says that was read, or has changed.
fn follow(world: &mut World, mut events: Local<bevy::ecs::message::MessageCursor<AssetEvent<FaceSessionFile>>>) {
    let Some(handle) = world.resource::<FaceSession>().handle.clone() else { return };
    let read: Vec<_> = events.read(world.resource::<Messages<AssetEvent<FaceSessionFile>>>()).copied().collect();
    let in_use = |event: &AssetEvent<FaceSessionFile>| match event {
        AssetEvent::Added { id } | AssetEvent::Modified { id } => *id == handle.id(),
        _ => false,
    };
    let is_new = read.iter().any(in_use);
    let failed = world.resource::<AssetServer>().get_load_state(&handle);
    if let Some(bevy::asset::LoadState::Failed(error)) = failed {
        let problem = error.to_string();
        if world.resource::<FaceSession>().problem.as_ref() != Some(&problem) {
            // The asset server has logged it.
            world.resource_mut::<FaceSession>().problem = Some(problem);
            #[cfg(feature = "net")]
            start_without_file(world);
        }
        return;
    }
    let Some(asset) = world.resource::<Assets<FaceSessionFile>>().get(&handle).filter(|_| is_new).cloned() else {
        return;
    };
    for field in &asset.unknown {
        warn!("session: the field `{field}` is unknown and does nothing");
    }
    world.resource_scope(|world, mut session: Mut<FaceSession>| {
        session.problem = None;
        session.apply(world, asset.file);
    });
}

/// A game whose session's file cannot be read still listens.
#[cfg(feature = "net")]
fn start_without_file(world: &mut World) {
    let applied = world.resource::<FaceSession>().applied.is_some();
    if !applied && !world.resource::<crate::endpoint::EndpointState>().is_running() {
        let config = world.resource::<EndpointSettings>().0.clone();
        world.commands().start_endpoint(config);
    }
}

impl FaceSession {
    fn apply(&mut self, world: &mut World, file: SessionFile) {
        let first = self.applied.is_none();
        // What the panel or the game has changed since is as the file says again.
        let before = if first { SessionFile::default() } else { self.capture(world) };
        if !first {
            for change in changes(&before, &file) {
                info!("session: {change}");
            }
        }
        #[cfg(feature = "net")]
        self.apply_network(world, first, &before, &file);
        if file.playout != before.playout {
            let playout = file.playout.as_ref().map(playout).unwrap_or_default();
            world.resource_mut::<FaceSettings>().playout = playout;
        }
        if file.budget != before.budget {
            let written::Budget { ms, nearest } = file.budget.unwrap_or_default();
            let mut budget = world.resource_mut::<FaceBudget>();
            (budget.ms, budget.nearest) = (ms, nearest);
        }
        if file.gestures != before.gestures {
            self.apply_gestures(world, file.gestures.as_ref());
        }
        let key = |part: &written::VirtualSubject| part.name.clone();
        self.sync(world, "virtual_subjects", &before.virtual_subjects, &file.virtual_subjects, key, |world, part| {
            let parts = part.parts.iter();
            let subject = parts.fold(VirtualSubject::new(&part.name), |subject, part| {
                subject.with(&part.subject, part.groups, part.priority)
            });
            world.spawn(subject).id()
        });
        #[cfg(feature = "takes")]
        self.sync(
            world,
            "takes",
            &before.takes,
            &file.takes,
            |take| take.file.clone(),
            |world, take| {
                let player = player(world.resource::<AssetServer>(), take);
                world.spawn((player, Name::new(take.file.clone()))).id()
            },
        );
        #[cfg(not(feature = "takes"))]
        if !file.takes.is_empty() {
            warn!("session: takes are not played by this build, which has no `takes`");
        }
        self.apply_avatars(world, &before.avatars, &file.avatars);
        self.applied = Some(file);
    }

    fn report(&mut self, problem: String) {
        error!("session: {problem}");
        self.problem = Some(problem);
    }

    fn apply_gestures(&mut self, world: &mut World, gestures: Option<&written::Gestures>) {
        let folder = self.folder(world);
        let read = |file: &str| {
            let path = folder.join(file);
            std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let rules =
            |gestures: &written::Gestures| FaceGestures::new(gestures.rules(read)?).map_err(|error| error.to_string());
        match gestures.map_or_else(|| Ok(FaceGestures::default()), rules) {
            Ok(gestures) => {
                self.gestures = gestures.set().cloned();
                world.insert_resource(gestures);
            }
            Err(problem) => self.report(format!("gestures: {problem}")),
        }
    }

    /// Spawns what is new, spawns anew what has changed, and despawns what is gone.
    fn sync<T: PartialEq>(
        &mut self,
        world: &mut World,
        list: &str,
        before: &[T],
        after: &[T],
        key: impl Fn(&T) -> String,
        spawn: impl Fn(&mut World, &T) -> Entity,
    ) {
        for old in before.iter().filter(|old| !after.contains(old)) {
            if let Some(entity) = self.spawned.remove(&format!("{list}[{}]", key(old))) {
                world.despawn(entity);
            }
        }
        for new in after.iter().filter(|new| !before.contains(new)) {
            let place = format!("{list}[{}]", key(new));
            let entity = spawn(world, new);
            world.entity_mut(entity).insert(SessionEntity(place.clone()));
            self.spawned.insert(place, entity);
        }
    }

    /// An avatar that changes stays, with its model unless that is another one.
    fn apply_avatars(&mut self, world: &mut World, before: &[written::Avatar], after: &[written::Avatar]) {
        for old in before {
            let new = after.iter().find(|new| new.name == old.name);
            let entity = place_of(old);
            if new.is_none_or(|new| new.model != old.model)
                && let Some(entity) = self.spawned.remove(&entity)
            {
                world.despawn(entity);
            }
        }
        for avatar in after.iter().filter(|avatar| !before.contains(avatar)) {
            let old = before.iter().find(|old| old.name == avatar.name);
            let entity = self.spawned.get(&place_of(avatar)).copied().or_else(|| named_avatar(world, &avatar.name));
            let entity = match (entity, &avatar.model) {
                (Some(entity), _) => entity,
                (None, Some(_)) if !world.contains_resource::<Assets<Gltf>>() => {
                    warn!("session: \"{}\" is not spawned: this app has no glTF loader", avatar.name);
                    continue;
                }
                (None, Some(model)) => {
                    let model = FaceModel(world.resource::<AssetServer>().load(AssetPath::from(model.clone())));
                    let place = place_of(avatar);
                    let entity =
                        world.spawn((Name::new(avatar.name.clone()), model, SessionEntity(place.clone()))).id();
                    self.spawned.insert(place, entity);
                    entity
                }
                (None, None) => {
                    warn!("session: there is no avatar called \"{}\", and no `model` to spawn one from", avatar.name);
                    continue;
                }
            };
            set_up_avatar(world, entity, old, avatar, self.spawned.contains_key(&place_of(avatar)));
        }
    }

    #[cfg(feature = "net")]
    fn apply_network(&mut self, world: &mut World, first: bool, before: &SessionFile, file: &SessionFile) {
        let folder = self.folder(world);
        let rules = file.subject_rules();
        let dials =
            |file: &SessionFile| file.network.as_ref().map(|network| network.connect.clone()).unwrap_or_default();
        let (old, new) = (dials(before), dials(file));
        let mut tokens = HashMap::new();
        for dial in &new {
            let token = facelink_net::ClientConfig::for_session(dial, &folder).map(|config| config.token);
            let token = token.map_err(|error| self.report(error.to_string())).unwrap_or_default();
            tokens.insert(dial.url.as_str(), token);
        }
        if first || file.network != before.network {
            let settings = world.resource::<EndpointSettings>().0.clone();
            let wanted = match &file.network {
                Some(network) => settings.with_session(network, &folder),
                None => Ok(settings),
            };
            match wanted {
                Ok(mut config) => {
                    // Rules of the program hold until the file has some.
                    if !first || rules != SubjectRules::default() {
                        config.subjects = rules;
                    }
                    world.commands().start_endpoint(config);
                }
                Err(error) => self.report(error.to_string()),
            }
        } else if rules != before.subject_rules() {
            if let Some(endpoint) = world.get_resource::<FaceLinkEndpoint>() {
                endpoint.set_subject_rules(rules.clone());
            }
            world.resource_mut::<EndpointSettings>().0.subjects = rules;
        }
        self.sync(
            world,
            "connect",
            &old,
            &new,
            |dial| dial.url.clone(),
            |world, dial| {
                let token = tokens.get(dial.url.as_str()).cloned().flatten();
                world.spawn(FaceDial { token, ..FaceSource::connect(&dial.url) }).id()
            },
        );
        #[cfg(not(sockets))]
        if !file.simulated_phones.is_empty() {
            warn!("session: simulated phones need UDP, which a browser has not");
        }
        #[cfg(sockets)]
        self.sync_phones(world, before, file);
    }

    #[cfg(sockets)]
    fn sync_phones(&mut self, world: &mut World, before: &SessionFile, file: &SessionFile) {
        let key = |phone: &written::SimulatedPhone| format!("{} {}", phone.app, phone.subject);
        self.sync(world, "simulated_phones", &before.simulated_phones, &file.simulated_phones, key, |world, phone| {
            world.spawn(SimulatedPhone { phone: phone.clone(), running: None }).id()
        });
    }

    /// Where relative paths of secrets, mappings out and gestures count from.
    fn folder(&self, world: &World) -> PathBuf {
        let root = world.get_resource::<FileWatch>().map(|watch| watch.root().to_owned()).unwrap_or_default();
        let path = self.path.as_deref().unwrap_or_default();
        root.join(Path::new(path).parent().unwrap_or(Path::new("")))
    }

    /// The set-up as it is now: the file in use, with what has changed since.
    pub fn capture(&self, world: &World) -> SessionFile {
        let mut file = self.applied.clone().unwrap_or_default();
        #[cfg(feature = "net")]
        if let Some(settings) = world.get_resource::<EndpointSettings>() {
            file.network = Some(settings.0.session_network(file.network.as_ref()));
        }
        #[cfg(feature = "net")]
        if let Some(endpoint) = world.get_resource::<FaceLinkEndpoint>() {
            file.set_subject_rules(&endpoint.subject_rules());
        }
        if let Some(settings) = world.get_resource::<FaceSettings>() {
            let now = written_playout(&settings.playout);
            let is_usual = file.playout.is_none() && now == written::Playout::default();
            file.playout = (!is_usual).then_some(now);
        }
        if let Some(budget) = world.get_resource::<FaceBudget>() {
            let now = written::Budget { ms: budget.ms, nearest: budget.nearest };
            let is_usual = file.budget.is_none() && now == written::Budget::default();
            file.budget = (!is_usual).then_some(now);
        }
        file.subjects = self.captured_subjects(world, &file);
        if let Some(gestures) = world.get_resource::<FaceGestures>().filter(|now| now.set() != self.gestures.as_ref()) {
            file.gestures = gestures.set().map(|set| match set {
                set if *set == GestureSet::default() => written::Gestures::BuiltIn,
                set => written::Gestures::Rules(set.clone()),
            });
        }
        file.virtual_subjects = captured_virtual_subjects(world);
        file.avatars = captured_avatars(world, &file.avatars);
        #[cfg(feature = "takes")]
        for take in &mut file.takes {
            let entity = self.spawned.get(&format!("takes[{}]", take.file));
            if let Some(player) = entity.and_then(|entity| world.get::<TakePlayer>(*entity)) {
                (take.playing, take.speed, take.looped) = (player.playing, player.speed, player.looped);
                take.from = player.from.as_secs_f64();
                take.until = player.until.map(|until| until.as_secs_f64());
            }
        }
        file
    }

    fn captured_subjects(&self, world: &World, file: &SessionFile) -> BTreeMap<String, written::Subject> {
        let mut subjects = file.subjects.clone();
        let Some(mut query) = world.try_query::<(&FaceSubject, Option<&FacePlayout>)>() else { return subjects };
        for (subject, own) in query.iter(world) {
            let is_called = |source: &String, of: &written::Subject| of.called(source) == subject.name;
            match own {
                Some(own) => {
                    // Of several sources of one name, the one that has it already.
                    let known = subjects.iter().filter(|(source, of)| is_called(source, of));
                    let known = known.max_by_key(|(_, of)| of.playout.is_some()).map(|(source, _)| source.clone());
                    let of = subjects.entry(known.unwrap_or_else(|| subject.name.clone())).or_default();
                    of.playout = Some(written_playout(own));
                }
                None => subjects
                    .iter_mut()
                    .filter(|(source, of)| is_called(source, of))
                    .for_each(|(_, of)| of.playout = None),
            }
        }
        subjects.retain(|_, of| *of != written::Subject::default());
        subjects
    }

    /// What differs from the file in use, field by field.
    pub fn changes(&self, world: &World) -> Vec<String> {
        self.applied.as_ref().map(|applied| changes(applied, &self.capture(world))).unwrap_or_default()
    }
}

fn place_of(avatar: &written::Avatar) -> String {
    format!("avatars[{}]", avatar.name)
}

fn named_avatar(world: &mut World, name: &str) -> Option<Entity> {
    let mut avatars = world.query_filtered::<(Entity, &Name), With<FaceAvatar>>();
    avatars.iter(world).find(|(_, other)| other.as_str() == name).map(|(entity, _)| entity)
}

fn set_up_avatar(
    world: &mut World,
    entity: Entity,
    old: Option<&written::Avatar>,
    avatar: &written::Avatar,
    spawned: bool,
) {
    let mapping =
        avatar.mapping.as_ref().map(|file| world.resource::<AssetServer>().load(AssetPath::from(file.clone())));
    let mut entity = world.entity_mut(entity);
    let known = entity.get::<FaceAvatar>().cloned().unwrap_or_default();
    entity.insert(FaceAvatar {
        subject: avatar.subject.clone(),
        gain: avatar.gain,
        drive_head: avatar.head,
        drive_eyes: avatar.eyes,
        ..known
    });
    if spawned {
        let (x, y, z) = avatar.position;
        entity.insert(Transform {
            translation: Vec3::new(x, y, z),
            rotation: Quat::from_rotation_y(avatar.yaw.to_radians()),
            scale: Vec3::splat(avatar.scale),
        });
    }
    match mapping {
        Some(mapping) => drop(entity.insert(AvatarMapping(mapping))),
        None if old.is_some_and(|old| old.mapping.is_some()) => drop(entity.remove::<AvatarMapping>()),
        None => {}
    }
    match (avatar.idle, old.is_some_and(|old| old.idle)) {
        (true, false) => drop(entity.insert(FaceIdle::default())),
        (false, true) => drop(entity.remove::<FaceIdle>()),
        _ => {}
    }
}

fn captured_virtual_subjects(world: &World) -> Vec<written::VirtualSubject> {
    let Some(mut query) = world.try_query::<&VirtualSubject>() else { return Vec::new() };
    let part = |part: &crate::virtual_subject::FacePart| written::Part {
        subject: part.subject.clone(),
        groups: part.groups,
        priority: part.priority,
    };
    let subject = |subject: &VirtualSubject| written::VirtualSubject {
        name: subject.name.clone(),
        parts: subject.parts().iter().map(part).collect(),
    };
    let mut all: Vec<_> = query.iter(world).map(subject).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Avatars with a name: those of the file, and the game's own.
fn captured_avatars(world: &World, known: &[written::Avatar]) -> Vec<written::Avatar> {
    type Parts<'a> =
        (&'a Name, &'a FaceAvatar, Option<&'a AvatarMapping>, Option<&'a Transform>, Has<FaceIdle>, Has<SessionEntity>);
    let Some(mut query) = world.try_query::<Parts<'_>>() else { return known.to_vec() };
    let mut now: Vec<written::Avatar> = Vec::new();
    for (name, avatar, mapping, transform, idle, spawned) in query.iter(world) {
        if now.iter().any(|other| other.name == name.as_str()) {
            continue;
        }
        let before = known.iter().find(|known| known.name == name.as_str()).cloned();
        let before = before.unwrap_or(written::Avatar { name: name.to_string(), ..written::Avatar::default() });
        let mut captured = written::Avatar {
            subject: avatar.subject.clone(),
            mapping: mapping.and_then(|mapping| mapping.0.path().map(ToString::to_string)),
            idle,
            gain: avatar.gain,
            head: avatar.drive_head,
            eyes: avatar.drive_eyes,
            ..before.clone()
        };
        if let Some(transform) = transform.filter(|_| spawned) {
            let turned = Quat::from_rotation_y(before.yaw.to_radians());
            let at = transform.translation;
            captured.position = (at.x, at.y, at.z);
            captured.scale = transform.scale.x;
            if !transform.rotation.abs_diff_eq(turned, 1e-4) {
                captured.yaw = transform.rotation.to_euler(EulerRot::YXZ).0.to_degrees();
            }
        }
        now.push(captured);
    }
    // In the file's order, others behind.
    let rank =
        |avatar: &written::Avatar| known.iter().position(|known| known.name == avatar.name).unwrap_or(usize::MAX);
    now.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.name.cmp(&b.name)));
    now
}

fn playout(written: &written::Playout) -> FacePlayout {
    let filter = match written.filter {
        None => PlayoutFilter::Auto,
        Some(false) => PlayoutFilter::Off,
        Some(true) => PlayoutFilter::On,
    };
    FacePlayout { settings: written.settings(), filter }
}

fn written_playout(playout: &FacePlayout) -> written::Playout {
    let filter = match playout.filter {
        PlayoutFilter::Auto => None,
        PlayoutFilter::Off => Some(false),
        PlayoutFilter::On => Some(true),
    };
    written::Playout::of(&playout.settings, filter)
}

#[cfg(feature = "takes")]
fn player(server: &AssetServer, take: &written::PlayedTake) -> TakePlayer {
    let time = |seconds: f64| std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let file: Handle<FaceTake> = server.load(AssetPath::from(take.file.clone()));
    TakePlayer {
        playing: take.playing,
        speed: take.speed,
        looped: take.looped,
        from: time(take.from),
        until: take.until.map(time),
        subjects: take.subjects.clone().into_iter().collect(),
        ..TakePlayer::new(file)
    }
}

/// Gives subjects that come, or that the file has changed, their own playout.
fn set_subjects(
    mut commands: Commands,
    session: Res<FaceSession>,
    mut last: Local<SessionFile>,
    subjects: Query<(Entity, Ref<FaceSubject>)>,
) {
    let Some(file) = session.applied.as_ref() else { return };
    let changed = session.is_changed() && last.subjects != file.subjects;
    for (entity, subject) in &subjects {
        if !changed && !subject.is_added() {
            continue;
        }
        let own = |from: &SessionFile| from.playout_of(&subject.name).map(playout);
        match (own(&last), own(file)) {
            (_, Some(own)) => drop(commands.entity(entity).try_insert(own)),
            (Some(_), None) => drop(commands.entity(entity).try_remove::<FacePlayout>()),
            (None, None) => {}
        }
    }
    if changed {
        last.subjects.clone_from(&file.subjects);
    }
}

/// A phone that the session's file simulates; it runs while there is an endpoint.
#[cfg(sockets)]
#[derive(Component, Debug)]
struct SimulatedPhone {
    phone: written::SimulatedPhone,
    running: Option<facelink_net::PerformingPhone>,
}

/// Starts simulated phones, anew with every endpoint.
#[cfg(sockets)]
fn run_phones(
    endpoint: Option<Res<FaceLinkEndpoint>>,
    mut session: ResMut<FaceSession>,
    mut phones: Query<(&mut SimulatedPhone, Ref<SessionEntity>)>,
) {
    for (mut phone, place) in &mut phones {
        let Some(endpoint) = &endpoint else {
            if phone.running.is_some() {
                phone.running = None;
            }
            continue;
        };
        if !place.is_added() && !endpoint.is_added() {
            continue;
        }
        phone.running = None;
        match endpoint.simulate(&phone.phone) {
            Ok(running) => phone.running = Some(running),
            Err(error) => {
                session.report(format!("{}: {error}", place.0));
            }
        }
    }
}

fn on_save(event: On<SaveSession>, mut commands: Commands) {
    let path = event.path.clone();
    commands.queue(move |world: &mut World| {
        let session = world.resource::<FaceSession>();
        let Some(path) = path.or_else(|| session.path.clone()) else {
            return warn!("session: there is no file to write it to");
        };
        let file = session.capture(world);
        let Some(watch) = world.get_resource::<FileWatch>() else {
            return warn!("session: there are no assets here");
        };
        let target = watch.root().join(&path);
        let written = files::write(&target, &file.write());
        let gestures = world.get_resource::<FaceGestures>().and_then(|gestures| gestures.set().cloned());
        let mut session = world.resource_mut::<FaceSession>();
        match written {
            Ok(()) => {
                info!("session written to {}", target.display());
                session.problem = None;
                (session.applied, session.gestures) = (Some(file), gestures);
                if session.path.as_ref() != Some(&path) {
                    session.path = Some(path.clone());
                    let handle = world.resource::<AssetServer>().load(AssetPath::from(path));
                    world.resource_mut::<FaceSession>().handle = Some(handle);
                }
            }
            Err(error) => {
                let problem = format!("{}: {error}", target.display());
                error!("session not written: {problem}");
                session.problem = Some(problem);
            }
        }
    });
}
