//! Avatars: binding a scene's morph targets and bones to a face, and saying what matched.

use std::{
    collections::{HashSet, VecDeque},
    fmt::Write,
    sync::Arc,
};

use crate::{
    bones::{self, Bone, Bones, Skeleton},
    eyes::{self, LookMesh},
    head::{HeadFrame, Shapes},
    input::LinkMessage,
    lifecycle::{self, ComponentAdded, ComponentInserted, ComponentRemoved},
    mapping::{AvatarMapping, FaceMapping, FacePresets},
    model::{self, DeclaredExpressions, FaceModel, Models},
    pose::FacePose,
    sets::{FaceLinkSystems, Step},
    settings::FaceSettings,
    subjects::FaceSubjects,
};
use bevy::{
    asset::{AssetEventSystems, LoadState},
    camera::{primitives::Aabb, visibility::NoFrustumCulling},
    ecs::system::SystemParam,
    gltf::{Gltf, GltfExtras, GltfMeshExtras},
    math::Affine3A,
    mesh::{
        MeshAccessError, VertexAttributeValues,
        morph::{MAX_MORPH_WEIGHTS, MeshMorphWeights, MorphWeights},
        skinning::SkinnedMesh,
    },
    prelude::*,
    world_serialization::{WorldAssetRoot, WorldInstanceReady},
};
use facelink::{
    BLENDSHAPE_COUNT, Blendshape,
    event::LinkEvent,
    layers::ChannelGroup,
    mapping::{BoneMap, Compiled, EyeDrive, GazeRange, MatchReport, Scratch, detect, detect_either},
    model::{Expression, names_in_extras},
};

pub(crate) struct AvatarPlugin;

impl Plugin for AvatarPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceAvatar>()
            .register_type::<ShapePreview>()
            .register_type::<BindReport>()
            .register_type::<DrivenBy>()
            .register_type::<Drives>()
            .register_type::<HeadFrame>()
            .add_observer(on_scene_ready)
            .add_observer(on_bindable_added)
            .add_observer(on_mapping_inserted)
            .add_observer(on_mapping_removed)
            .add_systems(
                PreUpdate,
                (
                    bones::turn_back.in_set(FaceLinkSystems::Receive),
                    report_failed_scenes.after(FaceLinkSystems::Receive),
                ),
            )
            .add_systems(
                PostUpdate,
                (
                    choose_subjects.in_set(Step::Choose),
                    warn_of_near_names
                        .after(Step::Choose)
                        .run_if(resource_changed::<FaceSubjects>.or_else(any_avatar_changed)),
                    // A mapping that has changed is shown in this very frame.
                    (remap.run_if(resource_exists::<Assets<FaceMapping>>), look_again, bind)
                        .chain()
                        .after(AssetEventSystems)
                        .in_set(Step::Bind),
                ),
            );
    }
}

/// Makes an entity an avatar: everything below it whose morph targets have names that a mapping knows is driven by a
/// face. The naming dialect is detected; [`AvatarMapping`] sets a mapping of your own.
///
/// Put it on the entity with the scene (`WorldAssetRoot`), on a parent of it, or on an entity that has morph weights
/// itself: `MorphWeights`, or `MeshMorphWeights::Value` for a mesh made by code, whose targets have to be named
/// (`Mesh::with_morph_target_names`). Binding happens when the scene is ready, again after a hot reload, and again when
/// morph weights are added below it later.
///
/// Its shapes are the face's alone while there is one. Head and eyes turn on top of whatever an animation or the game
/// does with the bones; see [`bones`].
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[reflect(Component, Default)]
#[require(Shown, Bindable)]
pub struct FaceAvatar {
    /// Whose face, by its exact name; without a name, the live subject that appeared first.
    pub subject: Option<String>,
    /// Whether the head (and neck) bones follow the head.
    pub drive_head: bool,
    /// Whether the eye bones follow the gaze. They do so only where the `eyeLook*` targets do not turn the eyeballs
    /// already, which is read from the meshes, or said by a mapping: see [`EyeDrive`] and [`BindReport::eyes`].
    pub drive_eyes: bool,
    /// Share of the head's rotation that the neck takes, `0..=1`, where both bones are there.
    pub neck_share: f32,
    /// Largest turn of the head, radians.
    pub head_limit: f32,
    /// Largest turn of an eye in yaw and in pitch, radians.
    pub eye_limit: f32,
    /// Factor on every weight.
    pub gain: f32,
}

impl Default for FaceAvatar {
    fn default() -> Self {
        Self {
            subject: None,
            drive_head: true,
            drive_eyes: true,
            neck_share: 0.35,
            head_limit: 1.2,
            eye_limit: 0.7,
            gain: 1.0,
        }
    }
}

impl FaceAvatar {
    /// An avatar for the face of this name.
    pub fn of(subject: impl Into<String>) -> Self {
        Self::default().subject(subject)
    }

    /// The same avatar for the face of this name.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Holds one shape of an avatar, on an otherwise neutral face, to see what it moves. Whatever drives the avatar waits until
/// it is removed.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component)]
pub struct ShapePreview {
    /// The shape's [`Blendshape::index`].
    pub shape: usize,
    /// Its weight.
    pub weight: f32,
}

/// The subject that drives this avatar.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq, Eq)]
#[reflect(Component)]
#[relationship(relationship_target = Drives)]
pub struct DrivenBy(pub Entity);

/// The avatars that this subject drives.
#[derive(Component, Reflect, Debug, Default)]
#[reflect(Component)]
#[relationship_target(relationship = DrivenBy)]
pub struct Drives(Vec<Entity>);

impl Drives {
    /// The avatars.
    pub fn avatars(&self) -> &[Entity] {
        &self.0
    }
}

/// What an avatar shows now, after the change from one subject to another was smoothed.
#[derive(Component, Debug, Default)]
pub(crate) struct Shown {
    /// With the avatar's own layers.
    pub pose: FacePose,
    /// Without them.
    pub face: FacePose,
    pub from: FacePose,
    pub subject: Option<Entity>,
    /// 0 at the change of a subject, 1 when it is complete.
    pub blend: f32,
    /// The avatar's own layers do something.
    pub layered: bool,
    /// Nothing is shown and neutral has been written: the rig is left to others.
    pub idle: bool,
    /// The face was not evaluated in this frame: the written weights move on towards the last evaluation.
    pub skipped: bool,
    /// Share of the remaining distance to the last evaluation that this frame covers.
    pub step: f32,
    /// Rendered frames and seconds since the last evaluation.
    pub since: u8,
    pub elapsed: f32,
    /// The same on the game's clock.
    pub game_elapsed: f32,
    /// Head and gaze at the last evaluation, and when it began.
    pub turn_to: (Quat, [Vec2; 2]),
    pub turn_from: (Quat, [Vec2; 2]),
}

/// What of a face an avatar can show. On every bound avatar.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Component, Default)]
pub struct BindReport {
    /// The dialect of the rig, or the mapping that it was given, as people call it.
    pub dialect: String,
    /// Id of the preset that shows most of the rig; empty when none shows anything.
    pub preset: String,
    /// ARKit names of the shapes that at least one target shows.
    pub matched: Vec<String>,
    /// ARKit names of the shapes that nothing shows.
    pub missing: Vec<String>,
    /// Targets that the mapping does not know; a channel of exactly this name drives them.
    pub unused: Vec<String>,
    /// Targets that the mapping knows and leaves alone, such as vowels next to the shapes that make them up; a channel of
    /// exactly this name drives them.
    pub aside: Vec<String>,
    /// Targets that the avatar's own mapping writes and the rig does not have.
    pub absent: Vec<String>,
    /// Targets that the mapping writes and that move no vertex.
    pub empty: Vec<String>,
    /// Why the avatar's own mapping is not used, or its scene cannot be loaded, if so.
    pub problem: Option<String>,
    /// Its scene cannot be loaded; [`problem`](Self::problem) says why.
    pub failed: bool,
    /// Nodes with morph weights that are driven.
    pub meshes: usize,
    /// Names of the bones found: head, neck, left eye, right eye and jaw of each skeleton.
    pub bones: Vec<String>,
    /// The head is to turn and cannot: no bone of it was found.
    pub no_head: bool,
    /// What turns the eyeballs: `"bones"`, `"targets"`, or nothing where there are neither.
    pub eyes: String,
    /// Meshes that were left alone, each with the reason.
    pub refused: Vec<String>,
}

impl BindReport {
    /// One line: `ARKit, 52 of 52 matched`, or `VRoid Studio, 50 of 52 matched, missing: cheekPuff, tongueOut`.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if !self.dialect.is_empty() {
            let _ = write!(text, "{}, ", self.dialect);
        }
        let _ = write!(text, "{} of {BLENDSHAPE_COUNT} matched", self.matched.len());
        if !self.missing.is_empty() {
            let _ = write!(text, ", missing: {}", self.missing.join(", "));
        }
        text
    }
}

impl BindReport {
    /// What the log says, one thing a line, and whether all is well. `own` is whether the avatar has a mapping of its own.
    fn message(&self, own: bool) -> (String, bool) {
        let targets = self.matched.len() + self.unused.len() + self.aside.len() + self.refused.len();
        let mut text = if targets == 0 {
            "it has no morph targets; only bones follow a face".to_owned()
        } else if self.matched.is_empty() && self.refused.is_empty() {
            "no morph target has a name that a preset knows, so nothing of a face is shown; give it a mapping of its own \
             (AvatarMapping)"
                .to_owned()
        } else if self.matched.is_empty() {
            "nothing of a face is shown".to_owned()
        } else {
            self.summary()
        };
        let mut good = !self.matched.is_empty() && self.refused.is_empty();
        let mut line = |what: &str, list: &[String]| {
            if !list.is_empty() {
                let _ = write!(text, "\n  {what}: {}", listed(list));
            }
        };
        line("not used", &self.unused);
        line("empty, so that nothing moves", &self.empty);
        if own && !self.absent.is_empty() {
            line("its mapping writes what it does not have", &self.absent);
            good = false;
        }
        for refusal in &self.refused {
            let _ = write!(text, "\n  not driven: {refusal}");
        }
        if self.no_head {
            let _ = write!(text, "\n  {NO_HEAD}");
            good = false;
        }
        (text, good)
    }
}

/// An avatar was bound, or bound again.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct AvatarBound {
    /// The avatar.
    pub entity: Entity,
    /// What matched.
    pub report: BindReport,
}

/// Where the weights of one node go.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BoundMesh {
    pub node: Option<Entity>,
    /// Targets that a channel of the same name drives.
    pub channels: Vec<BoundChannel>,
    /// Targets that expressions of the model move.
    pub expressed: Vec<Expressed>,
}

/// A target that expressions of the model move.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Expressed {
    pub target: u16,
    /// Index of the expression, and the target's weight at its full level.
    terms: Vec<(usize, f32)>,
}

impl Expressed {
    /// Its weight at these levels of the expressions.
    pub fn weight(&self, levels: &[f32]) -> f32 {
        let sum: f32 = self.terms.iter().filter_map(|(of, weight)| Some(levels.get(*of)? * weight)).sum();
        sum.clamp(0.0, 1.0)
    }
}

/// The expressions that a model's file declares, where the mapping drives them.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExpressionTable {
    /// Their place among the mapping's meshes.
    pub mesh: usize,
    pub list: Vec<Expression>,
    /// Level of each in the last evaluation.
    pub levels: Vec<f32>,
}

/// A target other than the 52 shapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BoundChannel {
    pub target: u16,
    pub name: Arc<str>,
    /// The mapping writes it too; the larger one is shown.
    pub mapped: bool,
    /// A channel has driven it, so it goes back to 0 when no frame has that channel any more.
    pub driven: bool,
}

/// What an avatar's frames are written to.
#[derive(Component, Debug, Default)]
pub(crate) struct FaceBinding {
    /// In the order of the mapping's meshes.
    pub meshes: Vec<BoundMesh>,
    /// Shared by all avatars of one rig and mapping, so that a crowd of them stays in the cache.
    pub compiled: Arc<Compiled>,
    pub scratch: Scratch,
    /// Every entity with morph weights that was found, also those that are refused.
    pub seen: Vec<Entity>,
    /// The targets that another plugin drives, as the last mesh of the mapping.
    pub named: Option<(usize, Vec<(String, Entity)>)>,
    pub expressions: Option<ExpressionTable>,
    pub bones: Bones,
    pub map: BoneMap,
    /// How far the eyes turn: by the avatar's own mapping, else by its file, else by its dialect.
    pub range: Option<GazeRange>,
    /// What turns the eyeballs, never [`EyeDrive::Auto`] where there are eye bones.
    pub eyes: EyeDrive,
}

/// Its morph targets and bones are to be found: to drive them, or to send what they show.
#[derive(Component, Debug, Default)]
#[component(on_add = lifecycle::added::<Self>)]
pub(crate) struct Bindable;

/// The avatar has to be bound; `ready` once its scene is there.
#[derive(Component, Debug, Default)]
pub(crate) struct NeedsBinding {
    ready: bool,
    /// Only if there are morph weights that it was not bound to.
    if_new: bool,
    /// Seconds that it has waited for meshes to load.
    waited: f32,
}

impl NeedsBinding {
    /// Whether it has waited for too long: once.
    fn loses_patience(&mut self, seconds: f32) -> bool {
        let waited = self.waited;
        self.waited += seconds;
        waited < PATIENCE && self.waited >= PATIENCE
    }
}

/// Morph weights, whichever component holds them.
#[derive(SystemParam)]
pub(crate) struct Morphs<'w, 's> {
    nodes: Query<'w, 's, &'static mut MorphWeights>,
    meshes: Query<'w, 's, &'static mut MeshMorphWeights>,
}

impl Morphs<'_, '_> {
    pub fn get(&self, entity: Entity) -> Option<&[f32]> {
        match (self.nodes.get(entity), self.meshes.get(entity)) {
            (Ok(node), _) => Some(node.weights()),
            (_, Ok(MeshMorphWeights::Value { weights })) => Some(weights),
            _ => None,
        }
    }

    pub fn get_mut(&mut self, entity: Entity) -> Option<&mut [f32]> {
        if self.nodes.contains(entity) {
            return self.nodes.get_mut(entity).ok().map(|node| node.into_inner().weights_mut());
        }
        match self.meshes.get_mut(entity).ok()?.into_inner() {
            MeshMorphWeights::Value { weights } => Some(weights),
            MeshMorphWeights::Reference(_) => None,
        }
    }

    fn first_mesh(&self, entity: Entity) -> Option<&Handle<Mesh>> {
        self.nodes.get(entity).ok().and_then(MorphWeights::first_mesh)
    }

    /// The entity whose weights move this mesh.
    fn of_mesh(&self, entity: Entity) -> Option<Entity> {
        match self.meshes.get(entity).ok()? {
            MeshMorphWeights::Value { .. } => Some(entity),
            MeshMorphWeights::Reference(node) => Some(*node),
        }
    }
}

/// An avatar without meshes after this many seconds is reported, once.
const PATIENCE: f32 = 10.0;

fn on_bindable_added(added: On<ComponentAdded<Bindable>>, mut commands: Commands) {
    commands.entity(added.entity).try_insert(NeedsBinding::default());
}

/// The avatar has another mapping.
fn on_mapping_inserted(
    inserted: On<ComponentInserted<AvatarMapping>>,
    mut commands: Commands,
    avatars: Query<(), With<Bindable>>,
) {
    if avatars.contains(inserted.entity) {
        commands.entity(inserted.entity).try_insert(NeedsBinding::default());
    }
}

/// The avatar has no mapping of its own any more.
fn on_mapping_removed(
    removed: On<ComponentRemoved<AvatarMapping>>,
    mut commands: Commands,
    bound: Query<(), With<FaceBinding>>,
) {
    if bound.contains(removed.entity) {
        commands.entity(removed.entity).try_insert(NeedsBinding::default());
    }
}

/// Binds the avatars again whose mapping has changed.
fn remap(
    mut commands: Commands,
    mut events: MessageReader<AssetEvent<FaceMapping>>,
    avatars: Query<(Entity, &AvatarMapping), With<FaceBinding>>,
) {
    for event in events.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event {
            for (avatar, _) in avatars.iter().filter(|(_, mapping)| mapping.0.id() == *id) {
                commands.entity(avatar).try_insert(NeedsBinding::default());
            }
        }
    }
}

fn on_scene_ready(
    ready: On<WorldInstanceReady>,
    mut commands: Commands,
    avatars: Query<(), With<Bindable>>,
    parents: Query<&ChildOf>,
) {
    let line = std::iter::once(ready.entity).chain(parents.iter_ancestors(ready.entity));
    for avatar in line.filter(|entity| avatars.contains(*entity)) {
        commands.entity(avatar).try_insert(NeedsBinding { ready: true, ..NeedsBinding::default() });
    }
}

/// Looks again at the avatars that have new morph weights on them or below them, or to which entities were attached that
/// may have some.
fn look_again(
    mut commands: Commands,
    new: Query<Entity, Or<(Added<MorphWeights>, Added<MeshMorphWeights>, Changed<ChildOf>)>>,
    avatars: Query<(), With<Bindable>>,
    parents: Query<&ChildOf>,
) {
    if avatars.is_empty() {
        return;
    }
    for entity in &new {
        for avatar in std::iter::once(entity).chain(parents.iter_ancestors(entity)) {
            if avatars.contains(avatar) {
                let needs = NeedsBinding { if_new: true, ..NeedsBinding::default() };
                commands.entity(avatar).try_insert_if_new(needs);
            }
        }
    }
}

/// Reports why the scene of an avatar cannot be loaded, and what to do.
fn report_failed_scenes(
    mut commands: Commands,
    server: Option<Res<AssetServer>>,
    files: Option<Res<Assets<Gltf>>>,
    // Also those that were bound: a scene may be exchanged, or fail when it is loaded again.
    avatars: Query<(Entity, Option<&FaceModel>, Option<&WorldAssetRoot>, Option<&BindReport>), With<FaceAvatar>>,
) {
    let Some(server) = server else { return };
    for (avatar, model, scene, report) in &avatars {
        if report.is_some_and(|report| report.problem.is_some()) {
            continue;
        }
        let Some(problem) = model::failure(&server, files.as_deref(), model, scene) else { continue };
        let problem = format!("its model cannot be loaded: {problem}");
        let path = model.and_then(|model| model.0.path()).or(scene.and_then(|scene| scene.0.path()));
        error!("avatar {}: {problem}", path.map_or_else(|| avatar.to_string(), ToString::to_string));
        let report = BindReport { problem: Some(problem), failed: true, ..report.cloned().unwrap_or_default() };
        commands.entity(avatar).try_insert(report);
    }
}

/// Why a mesh cannot be bound.
enum Unbound {
    /// Its asset is still loading.
    Loading,
    /// It never can.
    Refused(String),
}

/// What the mapping of an avatar comes to.
#[derive(Debug)]
struct Mapped {
    dialect: String,
    /// Id of the preset that shows most.
    preset: String,
    compiled: Arc<Compiled>,
    report: MatchReport,
    map: BoneMap,
    problem: Option<String>,
}

/// The mappings of the rigs that were bound last: a hundred instances of a scene are looked into once.
#[derive(Default)]
pub(crate) struct MapCache(VecDeque<Known>);

/// Different rigs and mappings that are remembered.
const MAX_KNOWN: usize = 16;

struct Known {
    names: Vec<Vec<String>>,
    table: bool,
    own: Option<Result<FaceMapping, String>>,
    mapped: Arc<Mapped>,
}

impl MapCache {
    fn map(
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
            let (compiled, report) = facelink::mapping::Resolved::default().compile(names);
            let (dialect, compiled) = (String::new(), Arc::new(compiled));
            Mapped { dialect, preset: id, compiled, report, map: BoneMap::default(), problem }
        }
    }
}

pub(crate) fn bind(
    mut commands: Commands,
    time: Res<Time<Real>>,
    mut waiting: Query<(
        Entity,
        &mut NeedsBinding,
        Option<&WorldAssetRoot>,
        Option<&Name>,
        Option<&AvatarMapping>,
        Option<&FaceBinding>,
        Option<&FaceAvatar>,
    )>,
    (children, parents): (Query<&Children>, Query<&ChildOf>),
    (names, transforms): (Query<&Name>, Query<&Transform>),
    skins: Query<&SkinnedMesh>,
    mut morphs: Morphs,
    (primitives, scenes): (Query<&Mesh3d>, Query<(), Or<(With<WorldAssetRoot>, With<FaceModel>)>>),
    (models, shapes): (Models, Shapes),
    (mesh_extras, extras): (Query<&GltfMeshExtras>, Query<&GltfExtras>),
    meshes: Option<Res<Assets<Mesh>>>,
    (mappings, server): (Option<Res<Assets<FaceMapping>>>, Option<Res<AssetServer>>),
    presets: Res<FacePresets>,
    mut cache: Local<MapCache>,
    mut shown: Query<&mut Shown>,
) {
    let Some(meshes) = meshes else { return };
    if presets.is_changed() {
        cache.0.clear();
    }
    'avatars: for (avatar, mut needs, root, name, mapping, before, settings) in &mut waiting {
        let title = || {
            root.and_then(|root| root.0.path().map(ToString::to_string))
                .or_else(|| name.map(|name| name.as_str().to_owned()))
                .unwrap_or_else(|| avatar.to_string())
        };
        let own_mapping = mapping.and_then(|mapping| mappings.as_ref()?.get(&mapping.0));
        let own = match mapping {
            None => None,
            Some(AvatarMapping(handle)) => match mappings.as_ref().and_then(|mappings| mappings.get(handle)) {
                Some(mapping) => Some(Ok(mapping)),
                None => match server.as_ref().map(|server| server.load_state(handle)) {
                    Some(LoadState::Failed(error)) => Some(Err(error.to_string())),
                    _ => {
                        if needs.loses_patience(time.delta_secs()) {
                            warn!("avatar {}: still waits for its mapping to load", title());
                        }
                        continue;
                    }
                },
            },
        };
        let mut report = BindReport::default();
        let within = || std::iter::once(avatar).chain(children.iter_descendants(avatar));
        let nodes = nodes_with_morphs(within(), &children, &primitives, &morphs);
        if needs.if_new
            && let Some(before) = before
            && nodes.iter().all(|(node, _)| before.seen.contains(node))
        {
            commands.entity(avatar).try_remove::<NeedsBinding>();
            continue;
        }
        if nodes.is_empty() && !needs.ready {
            if within().any(|entity| scenes.contains(entity)) {
                // Its scene is still loading, and there is an event when it is ready.
                commands.entity(avatar).try_remove::<NeedsBinding>();
                continue;
            }
            // More may be put below it by code.
            if !needs.loses_patience(time.delta_secs()) {
                continue;
            }
        }
        let label = |node: Entity| names.get(node).map_or_else(|_| node.to_string(), |name| name.as_str().to_owned());
        let seen = nodes.iter().map(|(node, _)| *node).collect();
        let mut found: Vec<(Entity, Vec<Entity>)> = Vec::new();
        let mut target_lists: Vec<Vec<String>> = Vec::new();
        let declared = models.below(avatar);
        for (node, parts) in nodes {
            // Expressions have targets by their numbers.
            let numbered = declared.expressions.is_some();
            match target_names(node, &morphs, &parts, &primitives, &models, &mesh_extras, &extras, &meshes, numbered) {
                Ok(target_names) => {
                    found.push((node, parts));
                    target_lists.push(target_names);
                }
                Err(Unbound::Loading) => {
                    if needs.loses_patience(time.delta_secs()) {
                        warn!("avatar {}: still waits for mesh \"{}\" to load", title(), label(node));
                    }
                    continue 'avatars;
                }
                Err(Unbound::Refused(reason)) => {
                    report.refused.push(format!("mesh \"{}\": {reason}", label(node)));
                }
            }
        }
        for entity in within().filter(|entity| morphs.get(*entity).is_none() && morphs.of_mesh(*entity).is_none()) {
            let mesh = primitives.get(entity).ok().and_then(|mesh| meshes.get(&mesh.0));
            if mesh.is_some_and(|mesh| mesh.try_morph_targets().is_ok_and(|targets| !targets.is_empty())) {
                report.refused.push(format!(
                    "mesh \"{}\": it has morph targets and no weights; add `MeshMorphWeights::Value`, or a reference to an \
                     entity with `MorphWeights`",
                    label(entity)
                ));
            }
        }
        let named = declared.named.as_ref();
        let table = declared.expressions.as_ref();
        target_lists.extend(named.map(|named| named.0.iter().map(|(name, _)| name.clone()).collect()));
        target_lists.extend(table.map(|table| table.list.iter().map(|it| it.name.clone()).collect()));
        let mapped = cache.map(&target_lists, named.is_some() || table.is_some(), own, &presets);
        let (compiled, map) = (mapped.compiled.clone(), mapped.map.clone());
        let mut binding = FaceBinding { compiled, map, seen, ..FaceBinding::default() };
        for (index, ((node, parts), target_names)) in found.iter().zip(&target_lists).enumerate() {
            let expressed = table.map_or_else(Vec::new, |table| {
                express(*node, index, target_names.len(), table, found.len(), &binding.compiled)
            });
            let bound = bind_node(*node, index, target_names, expressed, &binding.compiled);
            let written = bound.targets(index, &binding.compiled).next().is_some();
            report.meshes += usize::from(written || !bound.channels.is_empty());
            if written {
                // Culling knows nothing of morphs: an opened jaw must not vanish at the edge of the screen.
                for part in parts {
                    commands.entity(*part).try_insert(NoFrustumCulling);
                }
            }
            binding.meshes.push(bound);
        }
        binding.named = named.map(|named| (found.len(), named.0.clone()));
        binding.expressions =
            table.filter(|_| binding.meshes.iter().any(|mesh| !mesh.expressed.is_empty())).map(|table| {
                ExpressionTable { mesh: found.len(), list: table.list.clone(), levels: vec![0.0; table.list.len()] }
            });
        if let Some(before) = before {
            let_go(before, &binding, &mut morphs);
        }
        let known = declared.known.as_ref();
        binding.bones = bones::find(
            avatar,
            &children,
            &parents,
            &names,
            &transforms,
            &skins,
            |entity| morphs.get(entity).is_some(),
            &binding.map,
            known,
        );
        for skeleton in &mut binding.bones.skeletons {
            let Skeleton { head, eyes, .. } = skeleton;
            let bones = [(head, false)].into_iter().chain(eyes.iter_mut().map(|eye| (eye, true)));
            for (bone, is_eye) in bones.filter_map(|(bone, is_eye)| Some((bone.as_mut()?, is_eye))) {
                bone.pivot = pivot(bone, is_eye, &children, &transforms, &skins, &primitives, &meshes);
            }
        }
        // The direction of a model that neither its file nor its eyes say is that of its face.
        let skeletons = &binding.bones.skeletons;
        let by_eyes = skeletons.iter().find(|it| it.head.is_some() && it.eyes.iter().all(Option::is_some));
        let facing = binding.map.facing.or(known.and_then(|known| known.facing)).or(by_eyes.map(|it| it.facing));
        let driven = found.iter().zip(&binding.meshes).enumerate().flat_map(|(index, ((_, parts), mesh))| {
            let targets: Vec<usize> = mesh.targets(index, &binding.compiled).collect();
            parts.iter().map(move |part| (*part, targets.clone()))
        });
        let driven = driven.collect();
        let turn = facing.map(|facing| Quat::from_rotation_y(facing.angle()));
        let frame = shapes.head(avatar, within(), &driven, &binding.bones, turn);
        if let (None, Some(frame)) = (facing, &frame) {
            for skeleton in &mut binding.bones.skeletons {
                skeleton.facing = bones::nearest(frame.forward);
            }
        }
        match frame {
            Some(frame) => commands.entity(avatar).try_insert(frame),
            None => commands.entity(avatar).try_remove::<HeadFrame>(),
        };
        report.empty = empty_targets(&found, &target_lists, &binding, &primitives, &meshes);
        for bone in binding.bones.skeletons.iter().flat_map(Skeleton::bones) {
            commands.entity(bone.entity).try_insert_if_new(bones::Turned::default());
            report.bones.extend(names.get(bone.entity).map(|name| name.as_str().to_owned()));
        }
        let turns = settings.is_none_or(|settings| settings.drive_head);
        report.no_head = turns && binding.bones.skeletons.iter().all(|it| it.head.is_none() && it.neck.is_none());
        let file_range = known.and_then(|known| known.range);
        let own_range = own_mapping.and_then(|own| own.mapping.bones.eyes.as_ref()?.range);
        binding.range = own_range.or(file_range).or(binding.map.eyes.as_ref().and_then(|eyes| eyes.range));
        let mut looks = Vec::new();
        for (index, (_, parts)) in found.iter().enumerate() {
            let targets: Vec<usize> = binding.compiled.targets_of(index, is_eye_look).collect();
            looks.extend(parts.iter().filter(|_| !targets.is_empty()).map(|part| (*part, targets.clone())));
        }
        let named_looks = (named.is_some() || table.is_some())
            && binding.compiled.targets_of(found.len(), is_eye_look).next().is_some();
        let by_file = known.map_or(EyeDrive::Auto, |known| known.eyes_by);
        binding.eyes =
            eye_drive(&binding, by_file, &looks, named_looks, &children, &skins, &primitives, &meshes, label);
        report.eyes = match binding.eyes {
            EyeDrive::Bones => "bones",
            EyeDrive::Targets => "targets",
            _ => "",
        }
        .to_owned();
        let shapes = |list: &[Blendshape]| list.iter().map(|shape| shape.name().to_owned()).collect();
        report.dialect.clone_from(&mapped.dialect);
        report.preset.clone_from(&mapped.preset);
        report.matched = shapes(&mapped.report.shown);
        report.missing = shapes(&mapped.report.missing);
        report.unused.clone_from(&mapped.report.unused);
        // What an expression moves is not unused.
        for (mesh, names) in binding.meshes.iter().zip(&target_lists) {
            let expressed =
                |name: &String| mesh.expressed.iter().any(|of| names.get(usize::from(of.target)) == Some(name));
            report.unused.retain(|name| !expressed(name));
        }
        report.aside.clone_from(&mapped.report.aside);
        report.absent.clone_from(&mapped.report.absent);
        report.problem.clone_from(&mapped.problem);
        let title = title();
        if let Some(problem) = &report.problem {
            error!("avatar {title}: its mapping is not used: {problem}");
        }
        let (text, is_good) = report.message(mapping.is_some());
        if is_good {
            info!("avatar {title}: {text}");
        } else {
            warn!("avatar {title}: {text}");
        }
        if let Ok(mut shown) = shown.get_mut(avatar) {
            shown.idle = false;
        }
        commands.entity(avatar).try_remove::<NeedsBinding>().try_insert((binding, report.clone()));
        commands.trigger(AvatarBound { entity: avatar, report });
    }
}

/// Said in the log and in the panel.
pub(crate) const NO_HEAD: &str = "no bone has a name of a head or neck, so the head does not turn; name it in a mapping: \
     bones: (head: (bones: [\"...\"]))";

/// The first of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let mut text = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        let _ = write!(text, " and {} more", names.len() - MOST);
    }
    text
}

impl BoundMesh {
    /// Its targets that are written; it is the mapping's mesh of this index.
    fn targets<'a>(&'a self, index: usize, compiled: &'a Compiled) -> impl Iterator<Item = usize> + 'a {
        compiled.targets(index).chain(self.expressed.iter().map(|of| usize::from(of.target)))
    }
}

/// Puts the targets back to 0 that the avatar's last mapping wrote and the new one does not.
fn let_go(before: &FaceBinding, now: &FaceBinding, morphs: &mut Morphs) {
    for (index, mesh) in before.meshes.iter().enumerate() {
        let Some(weights) = mesh.node.and_then(|node| morphs.get_mut(node)) else { continue };
        let same = now.meshes.iter().position(|other| other.node == mesh.node);
        for target in mesh.targets(index, &before.compiled) {
            let writes = |same: usize| now.meshes[same].targets(same, &now.compiled).any(|other| other == target);
            if same.is_some_and(writes) {
                continue;
            }
            if let Some(weight) = weights.get_mut(target) {
                *weight = 0.0;
            }
        }
    }
}

/// The targets of a node that the driven expressions of a model move. What the mapping writes itself is not moved twice.
fn express(
    node: Entity,
    index: usize,
    count: usize,
    table: &DeclaredExpressions,
    place: usize,
    compiled: &Compiled,
) -> Vec<Expressed> {
    let mut expressed: Vec<Expressed> = Vec::new();
    for expression in compiled.targets(place) {
        for (on, target, weight) in table.binds.get(expression).into_iter().flatten() {
            let Ok(number) = u16::try_from(*target) else { continue };
            if *on != node || *target >= count || compiled.targets(index).any(|written| written == *target) {
                continue;
            }
            match expressed.iter_mut().find(|of| of.target == number) {
                Some(of) => of.terms.push((expression, *weight)),
                None => expressed.push(Expressed { target: number, terms: vec![(expression, *weight)] }),
            }
        }
    }
    expressed
}

/// Names of the targets that are written and move no vertex of any mesh.
fn empty_targets(
    found: &[(Entity, Vec<Entity>)],
    names: &[Vec<String>],
    binding: &FaceBinding,
    primitives: &Query<&Mesh3d>,
    meshes: &Assets<Mesh>,
) -> Vec<String> {
    let mut known: Vec<(&str, bool)> = Vec::new();
    for (index, (((_, parts), names), mesh)) in found.iter().zip(names).zip(&binding.meshes).enumerate() {
        for target in mesh.targets(index, &binding.compiled) {
            let Some(name) = names.get(target) else { continue };
            let slot = known.iter().position(|(other, _)| *other == name.as_str()).unwrap_or_else(|| {
                known.push((name.as_str(), true));
                known.len() - 1
            });
            if !known[slot].1 {
                continue;
            }
            let moves = |part: &Entity| {
                let mesh = primitives.get(*part).ok().and_then(|mesh| meshes.get(&mesh.0));
                // A mesh that cannot be looked into may move.
                let Some(Ok(deltas)) = mesh.map(Mesh::try_morph_targets) else { return true };
                let count = deltas.len() / names.len().max(1);
                let deltas = deltas.get(target * count..(target + 1) * count).unwrap_or_default();
                deltas.iter().any(|delta| delta.position != Vec3::ZERO || delta.normal != Vec3::ZERO)
            };
            known[slot].1 = !parts.iter().any(moves);
        }
    }
    known.into_iter().filter(|(_, empty)| *empty).map(|(name, _)| name.to_owned()).collect()
}

/// The point that a head or an eye turns about, where it is a node with meshes and no joint.
fn pivot(
    bone: &Bone,
    is_eye: bool,
    children: &Query<&Children>,
    transforms: &Query<&Transform>,
    skins: &Query<&SkinnedMesh>,
    primitives: &Query<&Mesh3d>,
    meshes: &Assets<Mesh>,
) -> Vec3 {
    if skins.iter().any(|skin| skin.joints.contains(&bone.entity)) {
        return Vec3::ZERO;
    }
    let (mut low, mut high) = (Vec3::INFINITY, Vec3::NEG_INFINITY);
    let mut nodes = vec![(bone.entity, Affine3A::IDENTITY)];
    while let Some((entity, place)) = nodes.pop() {
        let mesh = primitives.get(entity).ok().filter(|_| !skins.contains(entity)).and_then(|mesh| meshes.get(&mesh.0));
        if let Some(aabb) = mesh.and_then(aabb) {
            let (center, half) = (Vec3::from(aabb.center), Vec3::from(aabb.half_extents));
            for corner in 0..8 {
                let side = Vec3::new(
                    if corner & 1 == 0 { -1.0 } else { 1.0 },
                    if corner & 2 == 0 { -1.0 } else { 1.0 },
                    if corner & 4 == 0 { -1.0 } else { 1.0 },
                );
                let point = place.transform_point3(center + side * half);
                (low, high) = (low.min(point), high.max(point));
            }
        }
        for child in children.get(entity).into_iter().flat_map(|children| children.iter()) {
            let local = transforms.get(child).map_or(Affine3A::IDENTITY, Transform::compute_affine);
            nodes.push((child, place * local));
        }
    }
    if low.x > high.x {
        return Vec3::ZERO;
    }
    let rest = transforms.get(bone.entity).map_or(Quat::IDENTITY, |transform| transform.rotation);
    bones::pivot(low, high, is_eye, (bone.parent * rest).inverse() * Vec3::Y)
}

/// As Bevy's `MeshAabb`, whose method has another name in 0.20.
fn aabb(mesh: &Mesh) -> Option<Aabb> {
    if let Some(aabb) = mesh.final_aabb {
        return Some(aabb.into());
    }
    match mesh.try_attribute(Mesh::ATTRIBUTE_POSITION) {
        Ok(VertexAttributeValues::Float32x3(positions)) => {
            Aabb::enclosing(positions.iter().map(|position| Vec3::from_array(*position)))
        }
        _ => None,
    }
}

/// The entities that hold morph weights, in the order of the hierarchy, each with the meshes that they move.
fn nodes_with_morphs(
    within: impl Iterator<Item = Entity>,
    children: &Query<&Children>,
    primitives: &Query<&Mesh3d>,
    morphs: &Morphs,
) -> Vec<(Entity, Vec<Entity>)> {
    let mut nodes: Vec<(Entity, Vec<Entity>)> = Vec::new();
    for entity in within {
        if morphs.get(entity).is_some() && !nodes.iter().any(|(node, _)| *node == entity) {
            let below = children.get(entity).into_iter().flat_map(|children| children.iter());
            let is_part = |part: &Entity| {
                primitives.contains(*part)
                    && (*part == entity || morphs.of_mesh(*part).is_none_or(|node| node == entity))
            };
            nodes.push((entity, std::iter::once(entity).chain(below).filter(is_part).collect()));
        }
        // A mesh may be moved by an entity that is elsewhere.
        if let Some(node) = morphs.of_mesh(entity).filter(|node| morphs.get(*node).is_some())
            && primitives.contains(entity)
        {
            match nodes.iter_mut().find(|(known, _)| *known == node) {
                Some((_, parts)) if parts.contains(&entity) => {}
                Some((_, parts)) => parts.push(entity),
                None => nodes.push((node, vec![entity])),
            }
        }
    }
    nodes
}

/// The names of a node's targets, after checking that they are what they seem.
fn target_names(
    node: Entity,
    morphs: &Morphs,
    parts: &[Entity],
    primitives: &Query<&Mesh3d>,
    models: &Models,
    mesh_extras: &Query<&GltfMeshExtras>,
    extras: &Query<&GltfExtras>,
    meshes: &Assets<Mesh>,
    numbered: bool,
) -> Result<Vec<String>, Unbound> {
    let count = morphs.get(node).map_or(0, <[f32]>::len);
    if count > MAX_MORPH_WEIGHTS {
        return Err(Unbound::Refused(format!(
            "{count} morph targets are more than the {MAX_MORPH_WEIGHTS} that Bevy draws; split the mesh or export fewer"
        )));
    }
    let mut found = parts.iter().find_map(|part| models.target_names(*part)).map(<[String]>::to_vec);
    let handles = parts.iter().filter_map(|part| primitives.get(*part).ok()).map(|mesh| &mesh.0);
    for handle in handles.chain(morphs.first_mesh(node)) {
        let Some(mesh) = meshes.get(handle) else { return Err(Unbound::Loading) };
        // A mesh that lives on the GPU alone cannot be looked into; its names may be elsewhere.
        match mesh.try_morph_targets() {
            Ok(targets) => {
                let vertices = mesh.count_vertices();
                if vertices == 0 || targets.len() != vertices * count {
                    return Err(Unbound::Refused(format!(
                        "{} deltas are not {count} targets of {vertices} vertices, so the targets would be mixed up; \
                         export it with normals, without empty targets, and with all primitives alike",
                        targets.len()
                    )));
                }
            }
            Err(MeshAccessError::ExtractedToRenderWorld | MeshAccessError::NotFound) => {}
        }
        if let Ok(Some(names)) = mesh.try_morph_target_names() {
            found.get_or_insert_with(|| names.to_vec());
        }
    }
    let mut carriers = std::iter::once(node).chain(parts.iter().copied());
    let found = found.or_else(|| {
        carriers
            .find_map(|entity| {
                let mesh = mesh_extras.get(entity).ok().and_then(|extras| names_in_extras(&extras.value));
                mesh.or_else(|| extras.get(entity).ok().and_then(|extras| names_in_extras(&extras.value)))
            })
            .map(|names| {
                let name = |(target, name): (usize, Option<String>)| name.unwrap_or_else(|| format!("target {target}"));
                names.into_iter().enumerate().map(name).collect()
            })
    });
    match found.or_else(|| numbered.then(|| (0..count).map(|target| format!("target {target}")).collect())) {
        Some(names) if names.len() == count => Ok(names),
        Some(names) => Err(Unbound::Refused(format!("it has {} target names for {count} weights", names.len()))),
        None => Err(Unbound::Refused(
            "its morph targets have no names (mesh.extras.targetNames in glTF, Mesh::with_morph_target_names in code)"
                .to_owned(),
        )),
    }
}

fn is_eye_look(shape: Blendshape) -> bool {
    ChannelGroup::of(shape) == ChannelGroup::Gaze
}

/// What turns the eyeballs: what the mapping says, else the targets where they move what the eye bones move.
fn eye_drive(
    binding: &FaceBinding,
    by_file: EyeDrive,
    // Meshes with targets that `eyeLook*` shapes move, and those targets.
    looks: &[(Entity, Vec<usize>)],
    // Whether they move expressions of the model.
    named_looks: bool,
    children: &Query<&Children>,
    skins: &Query<&SkinnedMesh>,
    primitives: &Query<&Mesh3d>,
    meshes: &Assets<Mesh>,
    label: impl Fn(Entity) -> String,
) -> EyeDrive {
    let eyes = binding.bones.skeletons.iter().flat_map(|skeleton| skeleton.eyes).flatten();
    let eyes: Vec<Vec<Entity>> =
        eyes.map(|bone| std::iter::once(bone.entity).chain(children.iter_descendants(bone.entity)).collect()).collect();
    let by_mapping = binding.map.eyes.as_ref().map_or(EyeDrive::Auto, |eyes| eyes.by);
    let by_targets = match if by_mapping.is_auto() { by_file } else { by_mapping } {
        EyeDrive::Bones => false,
        EyeDrive::Targets => true,
        _ => {
            let mesh = |entity| primitives.get(entity).ok().and_then(|mesh| meshes.get(&mesh.0));
            let parts: Vec<LookMesh<'_>> = looks
                .iter()
                .filter_map(|(entity, looks)| {
                    let (mesh, skin) = (mesh(*entity)?, skins.get(*entity).ok());
                    Some(LookMesh { mesh, skin, entity: *entity, looks: looks.clone() })
                })
                .collect();
            eyes::moved_by_targets(&parts, &eyes).unwrap_or_else(|| {
                // A mesh that lives on the GPU alone says but its name.
                let unread = |entity: Entity| {
                    mesh(entity).is_none_or(|mesh| {
                        matches!(mesh.try_morph_targets(), Err(MeshAccessError::ExtractedToRenderWorld))
                    })
                };
                looks.iter().any(|(entity, _)| unread(*entity) && eyes::is_eyeball(&label(*entity)))
            })
        }
    };
    match (by_targets && (named_looks || !looks.is_empty()), eyes.is_empty()) {
        (true, _) => EyeDrive::Targets,
        (false, false) => EyeDrive::Bones,
        (false, true) => EyeDrive::Auto,
    }
}

fn bind_node(
    node: Entity,
    index: usize,
    target_names: &[String],
    expressed: Vec<Expressed>,
    compiled: &Compiled,
) -> BoundMesh {
    let mut bound = BoundMesh { node: Some(node), expressed, ..BoundMesh::default() };
    for (target, name) in target_names.iter().enumerate() {
        // What is sent under the name of a shape comes as that shape.
        if Blendshape::from_any_name(name).is_some() {
            continue;
        }
        let mapped = bound.targets(index, compiled).any(|other| other == target);
        let Ok(target) = u16::try_from(target) else { break };
        bound.channels.push(BoundChannel { target, name: name.as_str().into(), mapped, driven: false });
    }
    bound
}

/// Relates every avatar to its subject.
pub(crate) fn choose_subjects(
    mut commands: Commands,
    mut messages: MessageReader<LinkMessage>,
    subjects: Res<FaceSubjects>,
    settings: Res<FaceSettings>,
    mut avatars: Query<(Entity, &FaceAvatar, Option<&DrivenBy>, &mut Shown)>,
) {
    let cut = messages.read().filter_map(|LinkMessage(event)| match event {
        LinkEvent::Cut { name, .. } => subjects.get(name),
        _ => None,
    });
    let cut = cut.last();
    for (entity, avatar, driven, mut shown) in &mut avatars {
        let current = driven.map(|driven| driven.0);
        let chosen = match &avatar.subject {
            Some(name) => subjects.get(name),
            // The one that a controller cut to; the one it has, while it lives; then the next; then the one that is just leaving.
            None => cut
                .or(current)
                .filter(|subject| subjects.is_live(*subject))
                .or_else(|| subjects.first())
                .or_else(|| subjects.iter().next().map(|(_, subject)| subject)),
        };
        if chosen != current {
            match chosen {
                Some(subject) => commands.entity(entity).try_insert(DrivenBy(subject)),
                None => commands.entity(entity).try_remove::<DrivenBy>(),
            };
        }
        if shown.subject != chosen {
            // What is seen now blends into the other face.
            let shown = &mut *shown;
            shown.from.clone_from(&shown.face);
            shown.blend = if settings.switch > 0.0 { 0.0 } else { 1.0 };
            shown.subject = chosen;
        }
    }
}

fn any_avatar_changed(avatars: Query<(), Changed<FaceAvatar>>) -> bool {
    !avatars.is_empty()
}

/// Names of subjects are compared exactly, so "ann" is another subject than "Ann": where one was meant for the other, the log says so.
fn warn_of_near_names(
    subjects: Res<FaceSubjects>,
    avatars: Query<Ref<FaceAvatar>>,
    mut warned: Local<HashSet<String>>,
) {
    for avatar in &avatars {
        let Some(wanted) = &avatar.subject else { continue };
        if let Some(near) = near_name(wanted, subjects.iter().map(|(name, _)| name))
            && warned.insert(wanted.clone())
        {
            warn!(
                "an avatar shows the face of {wanted:?}, which is not there, but {near:?} is: names are compared exactly, \
                 upper and lower case included"
            );
        }
    }
}

/// The first of these names that differs from the wanted one in upper and lower case or outer spaces alone, if none is the
/// wanted one itself.
fn near_name<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let folded = |name: &str| name.trim().to_lowercase();
    if names.clone().any(|name| name == wanted) {
        return None;
    }
    names.clone().find(|name| folded(name) == folded(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_name_ignores_case_and_outer_spaces() {
        let near = |wanted, names: &'static [&'static str]| near_name(wanted, names.iter().copied());
        assert_eq!(near("ann", &["Bo", "Ann"]), Some("Ann"));
        assert_eq!(near("Ann ", &["Ann"]), Some("Ann"));
        assert_eq!(near("ann", &["Ann", "ann"]), None, "the wanted one is there");
        assert_eq!(near("ann", &["Anna"]), None);
    }

    #[test]
    fn bind_message_says_each_thing_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let good = BindReport {
            dialect: "ARKit".to_owned(),
            matched: vec![String::new(); 52],
            unused: names(&["tail", "ear"]),
            empty: names(&["tongueOut"]),
            ..BindReport::default()
        };
        let (text, is_good) = good.message(false);
        assert!(is_good);
        assert_eq!(text, "ARKit, 52 of 52 matched\n  not used: tail, ear\n  empty, so that nothing moves: tongueOut");
        // What cannot help is not advised: another mapping does not mend a mesh.
        let refused = BindReport { refused: names(&["mesh \"Head\": it has no normals"]), ..BindReport::default() };
        let (text, is_good) = refused.message(false);
        assert!(!is_good && text.contains("not driven: mesh \"Head\"") && !text.contains("mapping"), "{text}");
        let unknown = BindReport { unused: names(&["a", "b"]), ..BindReport::default() };
        let (text, is_good) = unknown.message(false);
        assert!(!is_good && text.contains("AvatarMapping") && text.ends_with("not used: a, b"), "{text}");
        let (text, _) = BindReport::default().message(false);
        assert_eq!(text, "it has no morph targets; only bones follow a face");
    }

    #[test]
    fn bind_summary_names_missing_shapes() {
        let report = BindReport {
            matched: vec![String::new(); 51],
            missing: vec!["tongueOut".to_owned()],
            ..BindReport::default()
        };
        assert_eq!(report.summary(), "51 of 52 matched, missing: tongueOut");
        let report = BindReport { dialect: "ARKit".to_owned(), missing: Vec::new(), ..report };
        assert_eq!(report.summary(), "ARKit, 51 of 52 matched");
    }
}
