//! The stage: model, light, backdrop, and a camera that finds the face.

#[path = "quality.rs"]
pub mod quality;
#[path = "simple.rs"]
mod simple;

use std::{f32::consts::TAU, num::NonZero};

use bevy::{
    asset::{RenderAssetUsages, UntypedAssetLoadFailedEvent},
    camera::{Exposure, ImageRenderTarget, RenderTarget, visibility::NoFrustumCulling},
    core_pipeline::tonemapping::{DebandDither, Tonemapping},
    input::mouse::{AccumulatedMouseMotion, AccumulatedMouseScroll},
    light::{
        CascadeShadowConfig, CascadeShadowConfigBuilder, EnvironmentMapLight, GlobalAmbientLight, NotShadowCaster,
        NotShadowReceiver,
    },
    mesh::{Indices, PrimitiveTopology},
    prelude::*,
    render::{
        render_resource::{TextureFormat, TextureUsages},
        renderer::RenderAdapterInfo,
    },
    window::PresentMode,
};
use bevy_facelink::{FaceModel, HeadFrame, LodSettings, prelude::*};
use quality::{Quality, QualityArg};

/// Vertical field of view: a portrait lens.
const FIELD_OF_VIEW: f32 = 26.0 * TAU / 360.0;
/// Metres from the camera to the backdrop: behind any model.
const BACKDROP: f32 = 60.0;
/// Of the camera.
const EXPOSURE: Exposure = Exposure::BLENDER;
/// A studio's walls, linear: cool from above, around, warm from below. They fill the shadows and give the eyes something
/// to mirror.
const STUDIO: [[f32; 3]; 3] = [[0.72, 0.84, 1.0], [0.46, 0.47, 0.50], [0.30, 0.23, 0.19]];
/// Their luminance, candela per square metre.
const STUDIO_INTENSITY: f32 = 330.0;
/// The lamps.
const LAMPS: [Lamp; 3] = [
    // A warm key from the upper left, as seen by the camera, whose shadows model the face.
    Lamp { at: Vec3::new(-0.85, 1.0, 1.25), color: Color::srgb(1.0, 0.92, 0.82), illuminance: 5000.0, shadows: true },
    // A low fill from the other side.
    Lamp { at: Vec3::new(1.4, 0.0, 1.1), color: Color::srgb(0.86, 0.90, 1.0), illuminance: 550.0, shadows: false },
    // A cool rim from behind that cuts hair and shoulder out of the dark. Without shadows it would shine through the
    // head into the open mouth.
    Lamp { at: Vec3::new(0.75, 0.95, -1.5), color: Color::srgb(0.50, 0.74, 1.0), illuminance: 7000.0, shadows: true },
];

/// A light from far away.
#[derive(Clone, Copy)]
struct Lamp {
    /// Where it comes from.
    at: Vec3,
    color: Color,
    /// Lux.
    illuminance: f32,
    shadows: bool,
}

/// One avatar on the stage.
#[derive(Clone, Debug)]
pub struct Role {
    /// Asset path of its model.
    pub model: String,
    /// What it is called in the panel.
    pub name: &'static str,
    /// Whose face it shows.
    pub avatar: FaceAvatar,
    /// How its face goes to others, if it does.
    pub send: Option<SendFace>,
    /// Metres to the right of the middle, as seen by the camera.
    pub aside: f32,
}

impl Default for Role {
    fn default() -> Self {
        Self {
            model: "avatars/aria.glb".to_owned(),
            name: "Avatar",
            avatar: FaceAvatar::default(),
            send: None,
            aside: 0.0,
        }
    }
}

/// What is behind the avatars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(dead_code, reason = "not every example needs all of it")]
pub enum Ground {
    /// A dark studio.
    #[default]
    Studio,
    /// One green, to be keyed out.
    Green,
    /// Nothing: its alpha is 0, and colours are multiplied by their alpha.
    Transparent,
}

/// The green of chroma keys.
const GREEN: Color = Color::srgb(0.0, 177.0 / 255.0, 64.0 / 255.0);

/// Width of the panel, pixels.
pub const PANEL: f32 = 320.0;

/// Sets everything up for these models.
pub struct StagePlugin {
    /// Who stands there.
    pub roles: Vec<Role>,
    /// Size of the rendered frame, pixels.
    pub size: (u32, u32),
    /// Whether there is a window to draw to.
    pub windowed: bool,
    /// Whether the panel takes the right-hand side of the window.
    pub panel: bool,
    /// Whether to come close, so that little but the face is seen.
    pub close: bool,
    /// How finely it is drawn.
    pub quality: QualityArg,
    /// Whether all frames are drawn. Otherwise the camera has to be switched on for those that are.
    pub draw: bool,
    /// What is behind the avatars.
    pub ground: Ground,
}

#[derive(Resource, Clone)]
struct Setup {
    roles: Vec<Role>,
    size: (u32, u32),
    windowed: bool,
    panel: bool,
    close: bool,
    quality: QualityArg,
    draw: bool,
    ground: Ground,
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
    /// Share of the frame's width by which the face stands left of the middle, next to the panel.
    shift: f32,
}

/// The avatar stands and the camera looks at it.
#[derive(Resource)]
pub struct Ready;

impl Plugin for StagePlugin {
    fn build(&self, app: &mut App) {
        let Self { size, windowed, panel, close, quality, draw, ground, .. } = *self;
        app.insert_resource(Setup { roles: self.roles.clone(), size, windowed, panel, close, quality, draw, ground })
            .insert_resource(ClearColor(match ground {
                Ground::Studio => Color::srgb(0.07, 0.085, 0.11),
                Ground::Green => GREEN,
                Ground::Transparent => Color::NONE,
            }))
            // The environment of the camera is the ambient light.
            .insert_resource(GlobalAmbientLight::NONE)
            .insert_resource(Orbit { target: Vec3::Y * 0.25, distance: 1.0, yaw: 0.0, pitch: 0.0, shift: 0.0 })
            .add_plugins(simple::SimplePlugin)
            .add_systems(Startup, set_up)
            .add_systems(Update, (place_heads, fail_on_missing_model, report_failed_files))
            .add_systems(PostUpdate, place_camera.before(TransformSystems::Propagate));
        if self.windowed {
            app.add_systems(Update, orbit_by_mouse);
        }
    }
}

fn set_up(
    mut commands: Commands,
    setup: Res<Setup>,
    assets: Res<AssetServer>,
    mut images: ResMut<Assets<Image>>,
    mut meshes: ResMut<Assets<Mesh>>,
    mut materials: ResMut<Assets<StandardMaterial>>,
    adapter: Res<RenderAdapterInfo>,
    mut windows: Query<&mut Window>,
) {
    let software = quality::is_software(
        // Bevy does not export its type.
        &format!("{:?}", adapter.device_type),
        &[&adapter.name, &adapter.driver, &adapter.driver_info],
    );
    let quality = setup.quality.resolve(software, setup.windowed);
    if software {
        println!(
            "{} draws on the processor{}",
            adapter.name,
            match (quality, setup.windowed || setup.draw) {
                (Quality::Low, true) =>
                    ": no multisampling, no shadows, simple materials, less detail; --quality high draws everything",
                (Quality::Low, false) =>
                    ": no multisampling, no shadows, simple materials, less detail, and only the last frame is drawn",
                (Quality::High, true) => ", which takes seconds for each frame; --quality low is quicker",
                (Quality::High, false) =>
                    ": only the last frame is drawn; --quality low draws it without shadows and multisampling",
            }
        );
    }
    for role in &setup.roles {
        let mut avatar = commands.spawn((
            FaceModel(assets.load(role.model.clone())),
            role.avatar.clone(),
            Name::new(role.name),
            Transform::default(),
            Aside(role.aside),
        ));
        // Idle motion plays until a face arrives; on a sheet each shape has to be pure.
        if !setup.close {
            avatar.insert(FaceIdle::default());
        }
        if let Some(send) = &role.send {
            avatar.insert(send.clone());
        }
    }

    let mut camera = commands.spawn((
        Camera3d::default(),
        Camera { is_active: setup.draw, ..default() },
        Projection::from(PerspectiveProjection { fov: FIELD_OF_VIEW, near: 0.01, ..default() }),
        EXPOSURE,
    ));
    match quality {
        Quality::High => {
            let [above, around, below] = STUDIO.map(|[red, green, blue]| Color::linear_rgb(red, green, blue));
            let mut studio = EnvironmentMapLight::hemispherical_gradient(&mut images, above, around, below);
            studio.intensity = STUDIO_INTENSITY;
            camera.insert((Tonemapping::TonyMcMapface, Msaa::Sample4, studio));
        }
        // The materials know the light, and turn it into colors of the screen.
        Quality::Low => {
            camera.insert((Tonemapping::None, DebandDither::Disabled, Msaa::Off));
        }
    }
    if setup.ground == Ground::Studio {
        // It hangs from the camera, so that it looks the same from everywhere.
        camera.with_child((
            Mesh3d(meshes.add(backdrop())),
            MeshMaterial3d(materials.add(StandardMaterial { unlit: true, ..default() })),
            Transform::from_xyz(0.0, 0.0, -BACKDROP),
            NotShadowCaster,
            NotShadowReceiver,
            NoFrustumCulling,
        ));
    }
    if !setup.windowed {
        let (width, height) = setup.size;
        let mut image = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
        image.texture_descriptor.usage |= TextureUsages::COPY_SRC;
        let canvas = images.add(image);
        camera.insert(RenderTarget::Image(ImageRenderTarget { handle: canvas.clone(), scale_factor: 1.0 }));
        commands.insert_resource(Canvas(canvas));
    }

    if quality == Quality::Low {
        commands.insert_resource(simple::Simple);
        commands.insert_resource(LodSettings { finest: 1, ..default() });
        // The next frame is begun while one is drawn and another shown: a processor draws to no screen that has to be waited for.
        for mut window in &mut windows {
            window.present_mode = PresentMode::AutoNoVsync;
            window.desired_maximum_frame_latency = NonZero::new(3);
        }
        return;
    }
    for Lamp { at, color, illuminance, shadows } in LAMPS {
        commands.spawn((
            DirectionalLight { color, illuminance, shadow_maps_enabled: shadows, ..default() },
            Transform::from_translation(at).looking_at(Vec3::ZERO, Vec3::Y),
        ));
    }
}

/// A disc with a glow in the middle that falls off to the edges.
fn backdrop() -> Mesh {
    const RINGS: u32 = 32;
    const SPOKES: u32 = 64;
    let (glow, dark) = (LinearRgba::rgb(0.118, 0.150, 0.172), LinearRgba::rgb(0.0065, 0.0090, 0.0135));
    // Reaches beyond the corners of a frame three times as wide as high.
    let radius = 3.5 * BACKDROP * (FIELD_OF_VIEW / 2.0).tan();
    // Behind the shadow side of the face, so that both its edges stand out.
    let middle = Vec2::new(0.045, 0.0) * radius;
    let mut positions = Vec::new();
    let mut colors = Vec::new();
    let mut indices = Vec::new();
    for ring in 0..=RINGS {
        // The rings are denser where the glow changes.
        let out = (ring as f32 / RINGS as f32).powi(2);
        let color = glow.mix(&dark, 1.0 - (-(out * 3.6).powi(2)).exp());
        for spoke in 0..SPOKES {
            let at = middle + Vec2::from_angle(TAU * spoke as f32 / SPOKES as f32) * radius * out;
            positions.push([at.x, at.y, 0.0]);
            colors.push(color.to_f32_array());
            if ring < RINGS {
                let (here, next) = (ring * SPOKES + spoke, ring * SPOKES + (spoke + 1) % SPOKES);
                indices.extend([here, here + SPOKES, next + SPOKES, here, next + SPOKES, next]);
            }
        }
    }
    Mesh::new(PrimitiveTopology::TriangleList, RenderAssetUsages::RENDER_WORLD)
        .with_inserted_attribute(Mesh::ATTRIBUTE_NORMAL, vec![[0.0, 0.0, 1.0]; positions.len()])
        .with_inserted_attribute(Mesh::ATTRIBUTE_POSITION, positions)
        .with_inserted_attribute(Mesh::ATTRIBUTE_COLOR, colors)
        .with_inserted_indices(Indices::U32(indices))
}

/// Metres to the right of the middle.
#[derive(Component)]
struct Aside(f32);

/// Height of a head that is plausible in metres; others are in another unit, and are scaled.
const PLAUSIBLE: std::ops::Range<f32> = 0.12..0.7;
/// Height of a head that was scaled, metres.
const HEAD: f32 = 0.25;
/// Where the middle of a head is above the floor, metres.
const EYE_LEVEL: f32 = 0.25;

/// Turns the heads to the camera once the avatars are bound, each in its place and of a plausible size, and frames them.
fn place_heads(
    mut commands: Commands,
    ready: Option<Res<Ready>>,
    setup: Res<Setup>,
    mut orbit: ResMut<Orbit>,
    mut avatars: Query<(Entity, &mut Transform, Option<&Aside>, Option<&HeadFrame>, Has<BindReport>), With<FaceAvatar>>,
    mut shadows: Query<&mut CascadeShadowConfig>,
) {
    if ready.is_some() || avatars.is_empty() || avatars.iter().any(|(.., bound)| !bound) {
        return;
    }
    let mut head = 0.0_f32;
    let (mut left, mut right) = (f32::MAX, f32::MIN);
    for (entity, mut transform, role, frame, ..) in &mut avatars {
        let aside = role.map_or(transform.translation.x, |aside| aside.0);
        (left, right) = (left.min(aside), right.max(aside));
        // Nothing to see is drawn too.
        let unknown = HeadFrame { center: Vec3::Y * EYE_LEVEL, height: HEAD, forward: Vec3::Z };
        let frame = frame.copied().unwrap_or(unknown);
        let scale = if PLAUSIBLE.contains(&frame.height) { 1.0 } else { HEAD / frame.height };
        let rotation = Quat::from_rotation_y(-frame.forward.x.atan2(frame.forward.z));
        let place = Vec3::new(aside, EYE_LEVEL, 0.0) - rotation * frame.center * scale;
        let placed = Transform { translation: place, rotation, scale: Vec3::splat(scale) };
        if role.is_some() {
            *transform = placed;
        } else {
            // One that is not of the stage keeps its own place, below one of ours.
            let below = Transform::from_matrix(placed.to_matrix() * transform.to_matrix().inverse());
            commands.spawn((below, Visibility::default())).add_child(entity);
        }
        head = head.max(frame.height * scale);
    }
    // Half the height of the frame and the distance of its middle from the top of the head, in heads.
    let (half, middle, yaw) = match (setup.close, avatars.iter().len()) {
        (true, _) => (0.72, 0.64, 0.08),
        (false, 0 | 1) => (0.94, 0.62, 0.1),
        // Straight on, so that all are of one size.
        (false, _) => (0.94, 0.62, 0.0),
    };
    // All of them fit next to each other.
    let (frame, panel) = (Vec2::new(setup.size.0 as f32, setup.size.1 as f32), if setup.panel { PANEL } else { 0.0 });
    let aspect = (frame.x - panel).max(1.0) / frame.y;
    let half = f32::max(half, (0.5 * (right - left) / head + 0.62) / aspect);
    let distance = head * half / (FIELD_OF_VIEW / 2.0).tan();
    *orbit = Orbit {
        target: Vec3::new((left + right) / 2.0, EYE_LEVEL + head * (0.5 - middle), 0.0),
        distance,
        yaw,
        pitch: 0.03,
        shift: 0.5 * panel / frame.x,
    };
    // One shadow map a light, all of it around the model.
    for mut shadows in &mut shadows {
        *shadows = CascadeShadowConfigBuilder {
            num_cascades: 1,
            minimum_distance: distance * 0.3,
            maximum_distance: distance * 2.0,
            ..default()
        }
        .build();
    }
    commands.insert_resource(Ready);
}

fn place_camera(orbit: Res<Orbit>, mut camera: Query<(&mut Transform, &Projection), With<Camera3d>>) {
    for (mut transform, projection) in &mut camera {
        let turn = Quat::from_rotation_y(orbit.yaw) * Quat::from_rotation_x(-orbit.pitch);
        *transform = Transform::from_translation(orbit.target + turn * Vec3::Z * orbit.distance)
            .looking_at(orbit.target, Vec3::Y);
        let aspect = if let Projection::Perspective(lens) = projection { lens.aspect_ratio } else { 1.0 };
        // Turned rather than moved, so that the face is seen from the same side.
        let aside = orbit.shift * 2.0 * (FIELD_OF_VIEW / 2.0).tan() * aspect;
        transform.rotate_local_y(-aside.atan());
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

/// A model that cannot be loaded ends the example, rather than an empty stage. The plugin has logged the reason.
fn fail_on_missing_model(avatars: Query<&BindReport, Changed<BindReport>>, mut exit: MessageWriter<AppExit>) {
    if avatars.iter().any(|report| report.failed) {
        exit.write(AppExit::from_code(2));
    }
}

/// Files other than the model that cannot be loaded, such as its textures: the asset server's own messages are off, because
/// they repeat what the plugin says of the model.
fn report_failed_files(mut failed: MessageReader<UntypedAssetLoadFailedEvent>, models: Query<&FaceModel>) {
    for event in failed.read() {
        if models.iter().all(|model| model.0.path().is_none_or(|path| path.path() != event.path.path())) {
            let error = event.error.to_string();
            warn!("cannot load {}: {}", event.path, error.lines().next().unwrap_or_default());
        }
    }
}
