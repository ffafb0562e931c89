//! Model files: the loader for `.vrm`, `.glb` and `.gltf`, and what a file declares about its face.
//!
//! The loader is Bevy's own behind [`facelink::model::mend`], so that a file is loaded that glTF allows and Bevy's loader
//! refuses. What a VRM file declares, and levels of detail, are put on the entities of its scene, whichever loader reads it.

use std::{fmt, io, sync::Arc};

use bevy::{
    asset::{AssetLoadError, AssetLoader, LoadContext, LoadState, io::Reader},
    ecs::system::SystemParam,
    gltf::{
        Gltf, GltfError, GltfLoader, GltfLoaderSettings, GltfPlugin,
        extensions::{ErasedGltfExtensionHandler, GltfExtensionHandler, GltfExtensionHandlers},
        gltf,
    },
    image::{CompressedImageFormatSupport, CompressedImageFormats},
    mesh::morph::MAX_MORPH_WEIGHTS,
    platform::collections::HashMap,
    prelude::*,
    reflect::TypePath,
    world_serialization::WorldAssetRoot,
};
use facelink::{
    mapping::EyeDrive,
    model::{self, Expression, ExpressionKind, Vrm, VrmVersion},
};

use crate::{
    bones::{KnownBones, nearest},
    lod,
};

pub(crate) struct ModelPlugin;

impl Plugin for ModelPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<TargetNames>().register_type::<ModelNode>().register_type::<VrmModel>();
        app.register_type::<FaceModel>().add_systems(PreUpdate, open_models);
        // Bevy's loader takes the handlers over when it is made, after all plugins were built.
        app.init_resource::<GltfExtensionHandlers>();
        let handlers = app.world().resource::<GltfExtensionHandlers>().0.clone();
        #[cfg(not(target_arch = "wasm32"))]
        handlers.write_blocking().push(Box::new(Declarations::default()));
        // A page's one thread cannot wait, and no one else is there to hold them.
        #[cfg(target_arch = "wasm32")]
        match handlers.try_write() {
            Some(mut handlers) => handlers.push(Box::new(Declarations::default())),
            None => error!("what models declare is not read: the handlers of glTF extensions are in use"),
        }
        // What is loaded before the app runs waits for the loader.
        if is_ready(app) {
            quietly(|| app.preregister_asset_loader::<ModelLoader>(EXTENSIONS));
        }
    }

    fn finish(&self, app: &mut App) {
        if !is_ready(app) {
            return;
        }
        let world = app.world();
        let (Some(plugin), Some(sampler)) = (
            app.get_added_plugins::<GltfPlugin>().pop(),
            world.get_resource::<bevy::gltf::DefaultGltfImageSampler>().map(|sampler| sampler.get_internal()),
        ) else {
            return;
        };
        let loader = GltfLoader {
            supported_compressed_formats: world
                .get_resource::<CompressedImageFormatSupport>()
                .map_or(CompressedImageFormats::NONE, |support| support.0),
            custom_vertex_attributes: plugin.custom_vertex_attributes.clone(),
            default_sampler: sampler,
            default_convert_coordinates: plugin.convert_coordinates,
            extensions: world.resource::<GltfExtensionHandlers>().0.clone(),
            default_skinned_mesh_bounds_policy: plugin.skinned_mesh_bounds_policy,
            #[cfg(bevy_0_20)]
            default_mesh_compression: plugin.mesh_compression.clone(),
        };
        quietly(|| app.register_asset_loader(ModelLoader(loader)));
    }
}

/// The model of an avatar: the default scene of a glTF or VRM file, or its first one where none is the default. Its
/// `WorldAssetRoot` is inserted once the file is loaded.
///
/// ```
/// # use bevy::prelude::*;
/// use bevy_facelink::prelude::*;
/// fn set_up(mut commands: Commands, assets: Res<AssetServer>) {
///     commands.spawn((FaceModel(assets.load("avatars/model.vrm")), FaceAvatar::default()));
/// }
/// ```
#[derive(Component, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(Component)]
#[require(Transform, Visibility)]
pub struct FaceModel(pub Handle<Gltf>);

/// Shows the scenes of files that are loaded.
fn open_models(
    mut commands: Commands,
    files: Option<Res<Assets<Gltf>>>,
    models: Query<(Entity, &FaceModel, Option<&WorldAssetRoot>)>,
) {
    let Some(files) = files else { return };
    for (avatar, model, shown) in &models {
        let Some(file) = files.get(&model.0) else { continue };
        let Some(scene) = file.default_scene.as_ref().or(file.scenes.first()) else { continue };
        if shown.is_none_or(|shown| shown.0 != *scene) {
            commands.entity(avatar).try_insert(WorldAssetRoot(scene.clone()));
        }
    }
}

/// Why the model of an avatar cannot be shown, if so.
pub(crate) fn failure(
    server: &AssetServer,
    files: Option<&Assets<Gltf>>,
    model: Option<&FaceModel>,
    scene: Option<&WorldAssetRoot>,
) -> Option<String> {
    let model = model.map(|model| model.0.clone().untyped());
    for handle in model.iter().chain(&scene.map(|scene| scene.0.clone().untyped())) {
        if let Some(LoadState::Failed(error)) = server.get_load_state(handle) {
            return Some(load_problem(&error));
        }
    }
    let file = files.zip(model).and_then(|(files, model)| files.get(&model.typed::<Gltf>()))?;
    file.scenes.is_empty().then(|| "its file has no scene, so there is nothing to show".to_owned())
}

const EXTENSIONS: &[&str] = &["vrm", "glb", "gltf"];

/// Bevy loads glTF files in this app, and has registered its loader: ours comes later, and is taken.
fn is_ready(app: &App) -> bool {
    app.world().contains_resource::<AssetServer>() && app.is_plugin_added::<GltfPlugin>()
}

/// Runs without the warning that there are two loaders of one type, which is what we want.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), run)
}

/// Bevy's glTF loader, with files mended first.
#[derive(TypePath)]
pub(crate) struct ModelLoader(GltfLoader);

/// A model cannot be loaded.
#[derive(Debug)]
pub(crate) enum ModelLoadError {
    Read(io::Error),
    Gltf { error: Box<GltfError>, advice: Option<String> },
}

impl fmt::Display for ModelLoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Gltf { error, advice: None } => error.fmt(f),
            Self::Gltf { error, advice: Some(advice) } => write!(f, "{error}; {advice}"),
        }
    }
}

impl std::error::Error for ModelLoadError {}

impl AssetLoader for ModelLoader {
    type Asset = Gltf;
    type Settings = GltfLoaderSettings;
    type Error = ModelLoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        settings: &GltfLoaderSettings,
        load_context: &mut LoadContext<'_>,
    ) -> Result<Gltf, ModelLoadError> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.map_err(ModelLoadError::Read)?;
        // A file that cannot be read is reported by the loader, with our advice.
        if let Ok(Some(mended)) = model::mend(&bytes) {
            for note in mended.notes {
                warn!("{}: {note}", load_context.path());
            }
            bytes = mended.bytes;
        }
        GltfLoader::load_gltf(&self.0, &bytes, load_context, settings).await.map_err(|error| ModelLoadError::Gltf {
            advice: model::advice(&bytes).or_else(|| hint(&error.to_string())),
            error: Box::new(error),
        })
    }

    fn extensions(&self) -> &[&str] {
        EXTENSIONS
    }
}

/// What to do about an error of Bevy's loader that does not say so itself.
fn hint(error: &str) -> Option<String> {
    let text = error.to_lowercase();
    if text.contains("morph") {
        return Some(format!(
            "Bevy draws at most {MAX_MORPH_WEIGHTS} morph targets a mesh: split the mesh, or export only the targets that a \
             face needs"
        ));
    }
    if text.contains("draco") || text.contains("meshopt") || text.contains("quantization") {
        return Some("Bevy reads neither compressed nor quantised meshes: export it without".to_owned());
    }
    if text.contains("feature for the file format") {
        return Some("or export the model with PNG textures".to_owned());
    }
    None
}

/// An error of the asset server as one line that says what to do.
pub(crate) fn load_problem(error: &AssetLoadError) -> String {
    if let AssetLoadError::AssetLoaderError(error) = error {
        if let Some(error) = error.error().downcast_ref::<ModelLoadError>() {
            return error.to_string();
        }
        if let Some(error) = error.error().downcast_ref::<GltfError>() {
            let text = error.to_string();
            return hint(&text).map_or_else(|| text.clone(), |hint| format!("{text}; {hint}"));
        }
    }
    // A backtrace follows on further lines.
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Names of a mesh's morph targets that Bevy's loader does not find; on its primitives.
#[derive(Component, Reflect, Clone, Debug, Default)]
#[reflect(Component, Clone, Default)]
pub(crate) struct TargetNames(pub Vec<String>);

/// Where a node is in its file; on the nodes of VRM models.
#[derive(Component, Reflect, Clone, Copy, Debug, Default)]
#[reflect(Component, Clone, Default)]
pub(crate) struct ModelNode {
    node: usize,
    mesh: Option<usize>,
}

/// What its file declares; on the root of a VRM model's scene.
#[derive(Component, Reflect, Clone, Debug)]
#[reflect(opaque)]
#[reflect(Component, Clone, Debug)]
pub(crate) struct VrmModel(Arc<Vrm>);

/// Puts the declarations of a file on the entities of its scenes.
#[derive(Clone, Default)]
struct Declarations {
    vrm: Option<Arc<Vrm>>,
}

impl GltfExtensionHandler for Declarations {
    fn dyn_clone(&self) -> Box<dyn ErasedGltfExtensionHandler> {
        Box::new(self.clone())
    }

    fn on_root(&mut self, load_context: &mut LoadContext<'_>, gltf: &gltf::Gltf, _: &GltfLoaderSettings) {
        let path = load_context.path();
        self.vrm = match gltf.extensions().map_or(Ok(None), Vrm::from_extensions) {
            Ok(vrm) => vrm.map(Arc::new),
            Err(error) => {
                warn!("{path}: it is shown as plain glTF: {error}");
                None
            }
        };
        for problem in self.vrm.iter().flat_map(|vrm| &vrm.problems) {
            warn!("{path}: left out: {problem}");
        }
    }

    fn on_spawn_mesh_and_material(
        &mut self,
        _: &mut LoadContext<'_>,
        primitive: &gltf::Primitive<'_>,
        mesh: &gltf::Mesh<'_>,
        _: &gltf::Material<'_>,
        entity: &mut EntityWorldMut<'_>,
        _: &str,
    ) {
        let targets = primitive.morph_targets();
        if targets.len() == 0 {
            return;
        }
        let listed = mesh.extras().as_ref().and_then(|extras| model::names_in_extras(extras.get()));
        // Bevy has found these itself.
        if listed.as_ref().is_some_and(|names| names.len() == targets.len() && names.iter().all(Option::is_some)) {
            return;
        }
        let own = primitive.extras().as_ref().and_then(|extras| model::names_in_extras(extras.get()));
        let lists: Vec<_> = listed.into_iter().chain(own).collect();
        let accessors: Vec<_> =
            targets.map(|target| target.positions().or_else(|| target.normals())).map(|of| of?.name()).collect();
        if let Some(names) = model::target_names(&lists, &accessors) {
            entity.insert(TargetNames(names));
        }
    }

    fn on_scene_completed(
        &mut self,
        _: &mut LoadContext<'_>,
        scene: &gltf::Scene<'_>,
        root: Entity,
        world: &mut World,
    ) {
        // A node's children are its primitives and lights, and then the nodes below it in the order of the file.
        let below = |world: &World, entity: Entity, count: usize| -> Vec<Entity> {
            let children = world.get::<Children>(entity).map_or(&[][..], |children| children);
            children[children.len().saturating_sub(count)..].to_vec()
        };
        let mut entities = HashMap::default();
        let mut nodes: Vec<_> = scene.nodes().zip(below(world, root, scene.nodes().len())).collect();
        while let Some((node, entity)) = nodes.pop() {
            let name = node.name().map_or_else(|| format!("GltfNode{}", node.index()), str::to_owned);
            if world.get::<Name>(entity).is_none_or(|other| other.as_str() != name) {
                continue;
            }
            let mesh = node.mesh().map(|mesh| mesh.index());
            if self.vrm.is_some() {
                world.entity_mut(entity).insert(ModelNode { node: node.index(), mesh });
            }
            entities.insert(node.index(), entity);
            nodes.extend(node.children().zip(below(world, entity, node.children().len())));
        }
        lod::add_groups(scene, &entities, world);
        if let Some(vrm) = &self.vrm {
            world.entity_mut(root).insert(VrmModel(vrm.clone()));
        }
    }
}

/// Targets that are no morph weights, such as the expressions of a model that another plugin drives: their names, and the
/// entities that hold their weights; on the model.
#[derive(Component, Clone, Debug, Default)]
pub(crate) struct NamedTargets(pub Vec<(String, Entity)>);

/// What the models below an avatar declare.
#[derive(SystemParam)]
pub(crate) struct Models<'w, 's> {
    named: Query<'w, 's, &'static NamedTargets>,
    known: Query<'w, 's, &'static KnownBones>,
    vrms: Query<'w, 's, &'static VrmModel>,
    nodes: Query<'w, 's, &'static ModelNode>,
    names: Query<'w, 's, &'static TargetNames>,
    children: Query<'w, 's, &'static Children>,
    parents: Query<'w, 's, &'static ChildOf>,
    transforms: Query<'w, 's, &'static Transform>,
}

/// What the model of one avatar declares.
#[derive(Default)]
pub(crate) struct Declared {
    /// Its bones, with their ranges and the direction that they face.
    pub known: Option<KnownBones>,
    /// Its expressions, unless another plugin drives them.
    pub expressions: Option<DeclaredExpressions>,
    /// Expressions that another plugin drives.
    pub named: Option<NamedTargets>,
}

impl Declared {
    /// Whether the mapping may move expressions instead of targets.
    pub fn has_table(&self) -> bool {
        self.named.is_some() || self.expressions.is_some()
    }
}

/// Expressions, and what each moves.
pub(crate) struct DeclaredExpressions {
    pub list: Vec<Expression>,
    /// For each: node with the mesh, target, weight.
    pub binds: Vec<Vec<(Entity, usize, f32)>>,
}

impl Models<'_, '_> {
    /// Names of the targets of a primitive that Bevy did not find.
    pub fn target_names(&self, primitive: Entity) -> Option<&[String]> {
        self.names.get(primitive).ok().map(|names| names.0.as_slice())
    }

    /// Of the avatar and the entities below it.
    pub fn below(&self, avatar: Entity) -> Declared {
        let within = || std::iter::once(avatar).chain(self.children.iter_descendants(avatar));
        let named = within().find_map(|entity| self.named.get(entity).ok()).cloned();
        let known = within().find_map(|entity| self.known.get(entity).ok()).copied();
        let Some((root, VrmModel(vrm))) = within().find_map(|entity| Some((entity, self.vrms.get(entity).ok()?)))
        else {
            return Declared { known, named, expressions: None };
        };
        let mut by_node: HashMap<usize, Entity> = HashMap::default();
        let mut by_mesh: HashMap<usize, Vec<Entity>> = HashMap::default();
        for entity in self.children.iter_descendants(root) {
            let Ok(place) = self.nodes.get(entity) else { continue };
            by_node.insert(place.node, entity);
            if let Some(mesh) = place.mesh {
                by_mesh.entry(mesh).or_default().push(entity);
            }
        }
        let node = |index: Option<usize>| index.and_then(|index| by_node.get(&index).copied());
        let bones = &vrm.bones;
        // The file's axes may be turned between its scene and the avatar.
        let forward = Quat::from_rotation_y(vrm.facing().angle()) * Vec3::Z;
        let forward = self.rotation(root, avatar) * forward;
        let known = known.unwrap_or_default();
        let known = KnownBones {
            head: known.head.or(node(bones.head)),
            neck: known.neck.or(node(bones.neck)),
            eyes: [known.eyes[0].or(node(bones.left_eye)), known.eyes[1].or(node(bones.right_eye))],
            jaw: known.jaw.or(node(bones.jaw)),
            range: known.range.or(vrm.look_at.map(|look| look.range)),
            facing: Some(nearest(forward)),
            eyes_by: match vrm.look_at {
                Some(look) if !look.by_bones => EyeDrive::Targets,
                _ => known.eyes_by,
            },
        };
        let expressions = named.is_none().then(|| {
            let by_bones = vrm.look_at.is_none_or(|look| look.by_bones) && known.eyes.iter().any(Option::is_some);
            let mut declared = DeclaredExpressions { list: Vec::new(), binds: Vec::new() };
            for expression in &vrm.expressions {
                // The gaze is shown once, by bones or by expressions.
                if expression.kind == ExpressionKind::Look && by_bones {
                    continue;
                }
                let mut binds = Vec::new();
                for bind in &expression.binds {
                    let nodes = match vrm.version {
                        VrmVersion::V0 => by_mesh.get(&bind.on).map_or(&[][..], Vec::as_slice),
                        VrmVersion::V1 => by_node.get(&bind.on).map_or(&[][..], std::slice::from_ref),
                    };
                    binds.extend(nodes.iter().map(|node| (*node, bind.target, bind.weight)));
                }
                if !binds.is_empty() {
                    declared.list.push(expression.clone());
                    declared.binds.push(binds);
                }
            }
            declared
        });
        Declared { known: Some(known), named, expressions: expressions.filter(|declared| !declared.list.is_empty()) }
    }

    /// The rotation of an entity relative to an avatar above it.
    fn rotation(&self, entity: Entity, avatar: Entity) -> Quat {
        let up = std::iter::once(entity).chain(self.parents.iter_ancestors(entity)).take_while(|it| *it != avatar);
        up.fold(Quat::IDENTITY, |rotation, entity| {
            self.transforms.get(entity).map_or(rotation, |transform| transform.rotation * rotation)
        })
    }
}
