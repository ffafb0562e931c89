//! The stage: model, light, backdrop, and a camera that finds the face.

use bevy::{
    camera::{Exposure, ImageRenderTarget, RenderTarget, primitives::Aabb},
    core_pipeline::tonemapping::Tonemapping,
    input::mouse::{AccumulatedMouseMotion, AccumulatedMouseScroll},
    light::{CascadeShadowConfigBuilder, GlobalAmbientLight},
    mesh::morph::MorphWeights,
    prelude::*,
    render::render_resource::TextureFormat,
    world_serialization::WorldAssetRoot,
};
use bevy_facelink::prelude::*;

/// Vertical field of view: a portrait lens.
const FIELD_OF_VIEW: f32 = 24.0 * std::f32::consts::PI / 180.0;

/// Sets everything up for one model.
pub struct StagePlugin {
    /// Asset path of the model.
    pub model: String,
    /// Size of the picture, pixels.
    pub size: (u32, u32),
    /// Whether there is a window to draw to.
    pub windowed: bool,
}

#[derive(Resource, Clone)]
struct Setup {
    model: String,
    size: (u32, u32),
    windowed: bool,
}

/// What is drawn to without a window.
#[derive(Resource, Clone)]
pub struct Canvas(pub Handle<Image>);

/// Where the camera looks from.
#[derive(Resource, Clone, Copy)]
pub struct Orbit {
    target: Vec3,
    distance: f32,
    yaw: f32,
    pitch: f32,
    /// Share of the picture's width by which the face stands left of the middle, beside the panel.
    shift: f32,
}

/// The avatar stands and the camera looks at it.
#[derive(Resource)]
pub struct Ready;

impl Plugin for StagePlugin {
    fn build(&self, app: &mut App) {
        app.insert_resource(Setup { model: self.model.clone(), size: self.size, windowed: self.windowed })
            .insert_resource(ClearColor(Color::srgb(0.105, 0.125, 0.16)))
            .insert_resource(GlobalAmbientLight { color: Color::srgb(0.75, 0.82, 1.0), brightness: 150.0, ..default() })
            .insert_resource(Orbit { target: Vec3::Y * 0.25, distance: 1.0, yaw: 0.0, pitch: 0.0, shift: 0.0 })
            .add_systems(Startup, set_up)
            .add_systems(Update, (frame_face, fail_on_missing_model))
            .add_systems(PostUpdate, place_camera.before(TransformSystems::Propagate));
        if self.windowed {
            app.add_systems(Update, orbit_by_mouse);
        }
    }
}

fn set_up(mut commands: Commands, setup: Res<Setup>, assets: Res<AssetServer>, mut images: ResMut<Assets<Image>>) {
    commands.spawn((
        WorldAssetRoot(assets.load(format!("{}#Scene0", setup.model))),
        FaceAvatar::default(),
        Name::new("Avatar"),
    ));

    let mut camera = commands.spawn((
        Camera3d::default(),
        Projection::from(PerspectiveProjection { fov: FIELD_OF_VIEW, near: 0.01, ..default() }),
        Tonemapping::TonyMcMapface,
        Exposure::from_physical_camera(default()),
        Msaa::Sample4,
    ));
    if !setup.windowed {
        let (width, height) = setup.size;
        let mut image = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
        image.texture_descriptor.usage |= bevy::render::render_resource::TextureUsages::COPY_SRC;
        let canvas = images.add(image);
        camera.insert(RenderTarget::Image(ImageRenderTarget { handle: canvas.clone(), scale_factor: 1.0 }));
        commands.insert_resource(Canvas(canvas));
    }

    // A warm key from the upper left, as seen by the camera, whose shadows model the face.
    commands.spawn((
        DirectionalLight {
            color: Color::srgb(1.0, 0.93, 0.84),
            illuminance: 2300.0,
            shadow_maps_enabled: true,
            ..default()
        },
        CascadeShadowConfigBuilder { num_cascades: 1, maximum_distance: 6.0, ..default() }.build(),
        Transform::from_xyz(-0.8, 1.1, 1.3).looking_at(Vec3::ZERO, Vec3::Y),
    ));
    // A low, soft fill on the other side, and a cool rim from behind that cuts the hair out of the dark.
    commands.spawn((
        DirectionalLight { color: Color::srgb(0.80, 0.88, 1.0), illuminance: 600.0, ..default() },
        Transform::from_xyz(1.4, 0.1, 1.0).looking_at(Vec3::ZERO, Vec3::Y),
    ));
    commands.spawn((
        DirectionalLight { color: Color::srgb(0.55, 0.75, 1.0), illuminance: 3000.0, ..default() },
        Transform::from_xyz(1.1, 0.9, -1.5).looking_at(Vec3::ZERO, Vec3::Y),
    ));
}

/// Finds the face once the avatar is bound, and frames it.
fn frame_face(
    mut commands: Commands,
    ready: Option<Res<Ready>>,
    setup: Res<Setup>,
    mut orbit: ResMut<Orbit>,
    avatar: Query<(Entity, &BindReport), With<FaceAvatar>>,
    children: Query<&Children>,
    morphs: Query<(), With<MorphWeights>>,
    boxes: Query<(&Aabb, &GlobalTransform)>,
    names: Query<(&Name, &GlobalTransform)>,
) {
    if ready.is_some() {
        return;
    }
    let Ok((avatar, report)) = avatar.single() else { return };
    // The largest mesh that has a face is the head, or head and body in one.
    let mut face: Option<(Vec3, Vec3)> = None;
    for node in children.iter_descendants(avatar).filter(|node| morphs.contains(*node)) {
        for part in std::iter::once(node).chain(children.iter_descendants(node)) {
            let Ok((aabb, transform)) = boxes.get(part) else { continue };
            let corners =
                [-1.0, 1.0].map(|side| transform.transform_point(Vec3::from(aabb.center + aabb.half_extents * side)));
            let (low, high) = (corners[0].min(corners[1]), corners[0].max(corners[1]));
            face = Some(face.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        }
    }
    let Some((low, mut high)) = face else { return };
    // Hair stands above the skin.
    for (aabb, transform) in children.iter_descendants(avatar).filter_map(|part| boxes.get(part).ok()) {
        high.y = high.y.max(transform.transform_point(Vec3::from(aabb.center + aabb.half_extents)).y);
    }
    let bone = report.bones.iter().find_map(|bone| {
        let at = names.iter().find(|(name, _)| name.as_str() == bone)?.1.translation();
        (at.y > low.y && at.y < high.y).then_some(at)
    });
    // From the joint of the head, which is at the top of the neck, the rest is head; without one, a bust is two parts head.
    let head = bone.map_or((high.y - low.y) * 0.6, |at| (high.y - at.y).max(0.12));
    *orbit = Orbit {
        target: Vec3::new((low.x + high.x) / 2.0, high.y - head * 0.66, (low.z + high.z) / 2.0),
        distance: head * 1.02 / (FIELD_OF_VIEW / 2.0).tan(),
        yaw: 0.16,
        pitch: 0.03,
        shift: if setup.windowed { 0.12 } else { 0.0 },
    };
    commands.insert_resource(Ready);
}

fn place_camera(orbit: Res<Orbit>, mut camera: Query<(&mut Transform, &Projection), With<Camera3d>>) {
    for (mut transform, projection) in &mut camera {
        let turn = Quat::from_rotation_y(orbit.yaw) * Quat::from_rotation_x(-orbit.pitch);
        *transform = Transform::from_translation(orbit.target + turn * Vec3::Z * orbit.distance)
            .looking_at(orbit.target, Vec3::Y);
        let aspect = if let Projection::Perspective(lens) = projection { lens.aspect_ratio } else { 1.0 };
        let width = 2.0 * orbit.distance * (FIELD_OF_VIEW / 2.0).tan() * aspect;
        let aside = transform.right() * (orbit.shift * width);
        transform.translation += aside;
    }
}

fn orbit_by_mouse(
    mut orbit: ResMut<Orbit>,
    buttons: Res<ButtonInput<MouseButton>>,
    motion: Res<AccumulatedMouseMotion>,
    scroll: Res<AccumulatedMouseScroll>,
    mut contexts: bevy_egui::EguiContexts,
) {
    // What happens on the panel stays on the panel.
    if contexts.ctx_mut().is_ok_and(|context| context.egui_wants_pointer_input()) {
        return;
    }
    if buttons.pressed(MouseButton::Left) {
        orbit.yaw -= motion.delta.x * 0.006;
        orbit.pitch = (orbit.pitch + motion.delta.y * 0.006).clamp(-1.2, 1.2);
    }
    if scroll.delta.y != 0.0 {
        orbit.distance *= (1.0 - scroll.delta.y.clamp(-3.0, 3.0) * 0.06).clamp(0.5, 2.0);
    }
}

/// A model that cannot be loaded ends the example with a line, rather than an empty stage.
fn fail_on_missing_model(
    setup: Res<Setup>,
    assets: Res<AssetServer>,
    avatar: Query<&WorldAssetRoot>,
    mut exit: MessageWriter<AppExit>,
) {
    for root in &avatar {
        if let bevy::asset::LoadState::Failed(error) = assets.load_state(&root.0) {
            eprintln!("cannot load {}: {error}", setup.model);
            exit.write(AppExit::from_code(2));
        }
    }
}
