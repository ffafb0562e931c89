//! Binding: which morph targets, bones and eyes of an avatar's scene a face moves.

mod bound;
mod map;
mod rig;

use bevy::{
    asset::{AssetEventSystems, LoadState},
    camera::visibility::NoFrustumCulling,
    gltf::Gltf,
    mesh::morph::{MeshMorphWeights, MorphWeights},
    prelude::*,
    world_serialization::{WorldAssetRoot, WorldInstanceReady},
};
use facelink::{
    Blendshape,
    layers::ChannelGroup,
    mapping::{Compiled, EyeDrive},
};

use crate::{
    avatar::{Bindable, FaceAvatar, Shown},
    bones::{self, Skeleton},
    head::HeadFrame,
    lifecycle::{ComponentAdded, ComponentInserted, ComponentRemoved},
    mapping::{AvatarMapping, FaceMapping, FacePresets},
    model::{self, Declared, DeclaredExpressions, FaceModel},
    report::{AvatarBound, BindReport},
    sets::{FaceLinkSystems, Step},
};
pub(crate) use bound::{BoundChannel, BoundMesh, Expressed, ExpressionTable, FaceBinding, Morphs};
use map::{MapCache, Mapped};
use rig::{MorphNode, Rig, Unbound};

pub(crate) struct BindingPlugin;

impl Plugin for BindingPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<BindReport>()
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
                // A mapping that has changed is shown in this very frame.
                (
                    remap.run_if(resource_exists::<Assets<FaceMapping>>),
                    look_again,
                    bind.run_if(resource_exists::<Assets<Mesh>>),
                )
                    .chain()
                    .after(AssetEventSystems)
                    .in_set(Step::Bind),
            );
    }
}

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

/// The avatar's own mapping, and why it cannot be used; an error while it loads.
fn own_mapping<'a>(
    own: Option<&AvatarMapping>,
    mappings: Option<&'a Assets<FaceMapping>>,
    server: Option<&AssetServer>,
) -> Result<Option<Result<&'a FaceMapping, String>>, StillLoading> {
    let Some(AvatarMapping(handle)) = own else { return Ok(None) };
    match mappings.and_then(|mappings| mappings.get(handle)) {
        Some(mapping) => Ok(Some(Ok(mapping))),
        None => match server.map(|server| server.load_state(handle)) {
            Some(LoadState::Failed(error)) => Ok(Some(Err(error.to_string()))),
            _ => Err(StillLoading("its mapping".to_owned())),
        },
    }
}

/// What an avatar waits for.
struct StillLoading(String);

/// The nodes of an avatar whose targets have names.
#[derive(Default)]
struct Targets {
    /// Every entity with morph weights, also those that are refused.
    seen: Vec<Entity>,
    nodes: Vec<MorphNode>,
    /// Of each of the nodes; behind them those of the targets that another plugin drives, and the model's expressions.
    names: Vec<Vec<String>>,
    /// Meshes that are left alone, with the reason.
    refused: Vec<String>,
}

impl Targets {
    fn of(nodes: Vec<MorphNode>, rig: &Rig, morphs: &Morphs, declared: &Declared) -> Result<Self, StillLoading> {
        let mut targets = Self { seen: nodes.iter().map(|of| of.node).collect(), ..Self::default() };
        for of in nodes {
            // Expressions have targets by their numbers.
            match rig.target_names(&of, morphs, declared.expressions.is_some()) {
                Ok(names) => {
                    targets.nodes.push(of);
                    targets.names.push(names);
                }
                Err(Unbound::Loading) => return Err(StillLoading(format!("mesh \"{}\"", rig.label(of.node)))),
                Err(Unbound::Refused(reason)) => {
                    targets.refused.push(format!("mesh \"{}\": {reason}", rig.label(of.node)));
                }
            }
        }
        let named = declared.named.as_ref();
        let table = declared.expressions.as_ref();
        targets.names.extend(named.map(|named| named.0.iter().map(|(name, _)| name.clone()).collect()));
        targets.names.extend(table.map(|table| table.list.iter().map(|it| it.name.clone()).collect()));
        Ok(targets)
    }
}

impl FaceBinding {
    /// Without bones and eyes.
    fn new(targets: &Targets, declared: &Declared, mapped: &Mapped) -> Self {
        let (compiled, map, seen) = (mapped.compiled.clone(), mapped.map.clone(), targets.seen.clone());
        let mut binding = Self { compiled, map, seen, ..Self::default() };
        let place = targets.nodes.len();
        let table = declared.expressions.as_ref();
        for (index, (of, names)) in targets.nodes.iter().zip(&targets.names).enumerate() {
            let expressed = table
                .map_or_else(Vec::new, |table| express(of.node, index, names.len(), table, place, &binding.compiled));
            binding.meshes.push(bind_node(of.node, index, names, expressed, &binding.compiled));
        }
        binding.named = declared.named.as_ref().map(|named| (place, named.0.clone()));
        let table = table.filter(|_| binding.meshes.iter().any(|mesh| !mesh.expressed.is_empty()));
        binding.expressions = table.map(|table| ExpressionTable {
            mesh: place,
            list: table.list.clone(),
            levels: vec![0.0; table.list.len()],
        });
        binding
    }

    /// Whether the mapping or an expression writes a target of the mesh of this index.
    fn writes(&self, index: usize) -> bool {
        self.meshes[index].targets(index, &self.compiled).next().is_some()
    }

    /// Chooses what turns the eyes, and how far.
    fn bind_eyes(&mut self, rig: &Rig, nodes: &[MorphNode], declared: &Declared, own: Option<&FaceMapping>) {
        let known = declared.known.as_ref();
        let file_range = known.and_then(|known| known.range);
        let own_range = own.and_then(|own| own.mapping.bones.eyes.as_ref()?.range);
        self.range = own_range.or(file_range).or(self.map.eyes.as_ref().and_then(|eyes| eyes.range));
        let mut looks = Vec::new();
        for (index, of) in nodes.iter().enumerate() {
            let targets: Vec<usize> = self.compiled.targets_of(index, is_eye_look).collect();
            looks.extend(of.parts.iter().filter(|_| !targets.is_empty()).map(|part| (*part, targets.clone())));
        }
        let named_looks = declared.has_table() && self.compiled.targets_of(nodes.len(), is_eye_look).next().is_some();
        let by_file = known.map_or(EyeDrive::Auto, |known| known.eyes_by);
        self.eyes = rig.eye_drive(self, by_file, &looks, named_looks);
    }
}

/// What of a face the binding shows.
fn report(binding: &FaceBinding, targets: Targets, mapped: &Mapped, rig: &Rig, turns_head: bool) -> BindReport {
    let driven = |index: &usize| !binding.meshes[*index].channels.is_empty() || binding.writes(*index);
    // Lower levels of detail stand in for others.
    let is_full = |index: &usize| binding.meshes[*index].lod.is_none_or(|(_, level)| level == 0);
    let skeletons = &binding.bones.skeletons;
    let shapes = |list: &[Blendshape]| list.iter().map(|shape| shape.name().to_owned()).collect();
    // What an expression moves is not unused.
    let expressed = |name: &String| {
        binding
            .meshes
            .iter()
            .zip(&targets.names)
            .any(|(mesh, names)| mesh.expressed.iter().any(|of| names.get(usize::from(of.target)) == Some(name)))
    };
    let eyes = match binding.eyes {
        EyeDrive::Bones => "bones",
        EyeDrive::Targets => "targets",
        _ => "",
    };
    BindReport {
        dialect: mapped.dialect.clone(),
        preset: mapped.preset.clone(),
        matched: shapes(&mapped.report.shown),
        missing: shapes(&mapped.report.missing),
        unused: mapped.report.unused.iter().filter(|name| !expressed(name)).cloned().collect(),
        aside: mapped.report.aside.clone(),
        absent: mapped.report.absent.clone(),
        empty: rig.empty_targets(&targets.nodes, &targets.names, binding),
        problem: mapped.problem.clone(),
        failed: false,
        meshes: (0..binding.meshes.len()).filter(driven).filter(is_full).count(),
        bones: skeletons
            .iter()
            .flat_map(Skeleton::bones)
            .filter_map(|bone| rig.name(bone.entity))
            .map(str::to_owned)
            .collect(),
        no_head: turns_head && skeletons.iter().all(|it| it.head.is_none() && it.neck.is_none()),
        eyes: eyes.to_owned(),
        refused: targets.refused,
    }
}

/// An avatar that waits.
type Waiting = (
    Entity,
    &'static mut NeedsBinding,
    Option<&'static WorldAssetRoot>,
    Option<&'static Name>,
    Option<&'static AvatarMapping>,
    Option<&'static FaceBinding>,
    Option<&'static FaceAvatar>,
);

fn bind(
    mut commands: Commands,
    time: Res<Time<Real>>,
    mut waiting: Query<Waiting>,
    rig: Rig,
    mut morphs: Morphs,
    (mappings, server): (Option<Res<Assets<FaceMapping>>>, Option<Res<AssetServer>>),
    presets: Res<FacePresets>,
    mut cache: Local<MapCache>,
    mut shown: Query<&mut Shown>,
) {
    if presets.is_changed() {
        cache.clear();
    }
    for (avatar, mut needs, root, name, mapping, before, settings) in &mut waiting {
        let title = || {
            root.and_then(|root| root.0.path().map(ToString::to_string))
                .or_else(|| name.map(|name| name.as_str().to_owned()))
                .unwrap_or_else(|| avatar.to_string())
        };
        let wait = |needs: &mut NeedsBinding, StillLoading(what): StillLoading| {
            if needs.loses_patience(time.delta_secs()) {
                warn!("avatar {}: still waits for {what} to load", title());
            }
        };
        let own = match own_mapping(mapping, mappings.as_deref(), server.as_deref()) {
            Ok(own) => own,
            Err(loading) => {
                wait(&mut needs, loading);
                continue;
            }
        };
        let nodes = rig.morph_nodes(avatar, &morphs);
        if needs.if_new
            && let Some(before) = before
            && nodes.iter().all(|of| before.seen.contains(&of.node))
        {
            commands.entity(avatar).try_remove::<NeedsBinding>();
            continue;
        }
        if nodes.is_empty() && !needs.ready {
            if rig.has_scene(avatar) {
                // Its scene is still loading, and there is an event when it is ready.
                commands.entity(avatar).try_remove::<NeedsBinding>();
                continue;
            }
            // More may be put below it by code.
            if !needs.loses_patience(time.delta_secs()) {
                continue;
            }
        }
        let declared = rig.declared(avatar);
        let mut targets = match Targets::of(nodes, &rig, &morphs, &declared) {
            Ok(targets) => targets,
            Err(loading) => {
                wait(&mut needs, loading);
                continue;
            }
        };
        targets.refused.extend(rig.without_weights(avatar, &morphs));
        let own_used = own.as_ref().and_then(|own| own.as_ref().ok()).copied();
        let mapped = cache.map(&targets.names, declared.has_table(), own, &presets);
        let mut binding = FaceBinding::new(&targets, &declared, &mapped);
        for (mesh, lod) in binding.meshes.iter_mut().zip(rig.lods(avatar, &targets.nodes)) {
            mesh.lod = lod;
        }
        for (_, of) in targets.nodes.iter().enumerate().filter(|(index, _)| binding.writes(*index)) {
            // Culling knows nothing of morphs: an opened jaw must not vanish at the edge of the screen.
            for part in &of.parts {
                commands.entity(*part).try_insert(NoFrustumCulling);
            }
        }
        if let Some(before) = before {
            let_go(before, &binding, &mut morphs);
        }
        let known = declared.known.as_ref();
        binding.bones = rig.bones(avatar, &morphs, &binding.map, known);
        match rig.head_frame(avatar, &targets.nodes, &mut binding, known) {
            Some(frame) => commands.entity(avatar).try_insert(frame),
            None => commands.entity(avatar).try_remove::<HeadFrame>(),
        };
        for bone in binding.bones.skeletons.iter().flat_map(Skeleton::bones) {
            commands.entity(bone.entity).try_insert_if_new(bones::Turned::default());
        }
        binding.bind_eyes(&rig, &targets.nodes, &declared, own_used);
        let report = report(&binding, targets, &mapped, &rig, settings.is_none_or(|settings| settings.drive_head));
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

fn is_eye_look(shape: Blendshape) -> bool {
    ChannelGroup::of(shape) == ChannelGroup::Gaze
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
