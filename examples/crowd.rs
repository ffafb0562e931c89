//! A hundred faces: instances of two scenes, some streamed, the others with idle motion.
//!
//! ```text
//! cargo run --release --example crowd                     100 avatars, 12 streams
//! cargo run --release --example crowd -- --count 400 --streams 40
//! cargo run --release --example crowd -- --headless --count 1000      what an update costs, without drawing
//! ```
//!
//! The endpoint asks senders for fewer frames while their latency rises (adaptive rate); the panel shows what each sends.

#[path = "avatar/guard.rs"]
mod guard;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/performer.rs"]
mod performer;
#[path = "avatar/screen.rs"]
mod screen;

use std::{path::PathBuf, process::ExitCode, time::Instant};

use bevy::{
    camera::{ImageRenderTarget, RenderTarget},
    diagnostic::{DiagnosticsStore, FrameTimeDiagnosticsPlugin},
    prelude::*,
    render::{
        render_resource::{TextureFormat, TextureUsages},
        view::screenshot::{Screenshot, ScreenshotCaptured},
    },
    world_serialization::WorldAssetRoot,
};
use bevy_facelink::{
    BindReport, EndpointState, FaceLinkEndpoint, FaceLoad, facelink::performer::Performance, net::TakeOptions,
    panel::FaceLinkPanelPlugin, prelude::*,
};
use clap::Parser;

const MODELS: [&str; 2] = ["avatars/aria.glb#Scene0", "avatars/rivet.glb#Scene0"];
/// Metres from one character to the next, and from one row to the next.
const APART: (f32, f32) = (0.42, 0.55);
/// Metres by which a row stands higher than the one before it.
const STEP: f32 = 0.2;

/// A hundred faces.
#[derive(Parser, Debug)]
#[command(name = "crowd")]
struct Args {
    /// How many characters.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    count: u32,
    /// How many of them are streamed; the others play idle motion.
    #[arg(long, default_value_t = 12)]
    streams: u32,
    /// Port of HTTP, WebSocket and signalling; 0 picks a free one.
    #[arg(long, default_value_t = 8765)]
    port: u16,
    /// Open no window and draw nothing: play `--frames` frames, print what an update costs, and end. With `--screenshot`
    /// the last one is drawn.
    #[arg(long)]
    headless: bool,
    /// Frames to play before the end, counted once all stand there.
    #[arg(long, default_value_t = 60)]
    frames: u32,
    /// Record every streamed face to this take meanwhile.
    #[arg(long, value_name = "MCAP")]
    record: Option<PathBuf>,
    /// Save a screenshot as PNG, and end.
    #[arg(long, value_name = "PNG")]
    screenshot: Option<PathBuf>,
    /// Size of the window, pixels.
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = screen::size)]
    size: (u32, u32),
    /// Open the window with the panel; F1 brings it.
    #[arg(long)]
    panel: bool,
}

#[derive(Resource)]
struct Crowd {
    count: u32,
    streams: u32,
    frames: u32,
    screenshot: Option<PathBuf>,
    /// What is drawn to without a window.
    canvas: Option<Handle<Image>>,
}

/// What an update of the world took, without drawing; milliseconds.
#[derive(Resource, Default)]
struct Updates {
    began: Option<Instant>,
    ms: Vec<f32>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !args.headless
        && let Err(missing) = guard::display()
    {
        eprintln!("{missing}\nWithout one, --headless measures an update.");
        return ExitCode::from(2);
    }
    guard::watch_start(false);
    let mut app = App::new();
    let complete = args.screenshot.is_some();
    let windowed = !args.headless;
    screen::Screen { title: "FaceLink: crowd", size: args.size, windowed, complete, ..default() }.open(&mut app);
    app.add_plugins((
        FaceLinkPlugin::default().port(args.port).live_link_face(Some(0)).udp_json(Some(0)),
        FrameTimeDiagnosticsPlugin::default(),
    ));
    let canvas = (!windowed).then(|| {
        let (width, height) = args.size;
        let mut image = Image::new_target_texture(width, height, TextureFormat::Rgba8UnormSrgb, None);
        image.texture_descriptor.usage |= TextureUsages::COPY_SRC;
        app.world_mut().resource_mut::<Assets<Image>>().add(image)
    });
    if windowed {
        app.add_plugins(FaceLinkPanelPlugin { open: args.panel, ..default() });
    }
    if let Some(error) = app.world().get_resource::<EndpointState>().and_then(EndpointState::error) {
        eprintln!("{error}");
        return ExitCode::from(1);
    }
    let streams = args.streams.min(args.count);
    if let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>() {
        for seed in 0..streams {
            let performance = Performance::new(u64::from(seed));
            performer::stream(endpoint, format!("Face {seed}"), move |at| performance.frame_at(at));
        }
        if args.record.is_some()
            && let Err(error) = endpoint.start_take(TakeOptions { file: args.record, ..default() })
        {
            eprintln!("{error}");
            return ExitCode::from(1);
        }
    }
    app.insert_resource(Crowd { count: args.count, streams, frames: args.frames, screenshot: args.screenshot, canvas })
        .insert_resource(ClearColor(Color::srgb(0.20, 0.23, 0.28)))
        .init_resource::<Updates>()
        .add_systems(Startup, set_up)
        .add_systems(First, |mut updates: ResMut<Updates>| updates.began = Some(Instant::now()))
        .add_systems(Last, |mut updates: ResMut<Updates>| {
            if let Some(began) = updates.began.take() {
                updates.ms.push(began.elapsed().as_secs_f32() * 1000.0);
            }
        })
        .add_systems(Update, (guard::started, print_stats, finish));
    match app.run() {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}

fn set_up(mut commands: Commands, crowd: Res<Crowd>, assets: Res<AssetServer>) {
    let columns = (crowd.count as f32 * 1.2).sqrt().ceil() as u32;
    let rows = crowd.count.div_ceil(columns);
    for i in 0..crowd.count {
        let (row, column) = (i / columns, i % columns);
        // Every other row stands in the gaps of the one before it, and the last one in the middle.
        let in_row = columns.min(crowd.count - row * columns);
        let aside = if (row + columns - in_row).is_multiple_of(2) { 0.0 } else { 0.5 };
        let x = (column as f32 - (in_row - 1) as f32 / 2.0 + aside) * APART.0;
        let at = Vec3::new(x, row as f32 * STEP, -(row as f32) * APART.1);
        let model = MODELS[((row + column) % 2) as usize];
        // Streams are spread over the crowd.
        let streamed = (i + 1) * crowd.streams / crowd.count > i * crowd.streams / crowd.count;
        let subject = if streamed { format!("Face {}", i * crowd.streams / crowd.count) } else { "none".to_owned() };
        let mut avatar = commands.spawn((
            WorldAssetRoot(assets.load(model)),
            FaceAvatar::of(subject),
            FaceIdle::seeded(u64::from(i)),
            Transform::from_translation(at),
            Name::new(format!("Character {i}")),
        ));
        let moods = ["happy", "surprised", "sad", "contempt", "neutral"];
        if !streamed {
            let mut expressions = FaceExpressions::default();
            expressions.set(moods[i as usize % moods.len()], 0.5);
            avatar.insert(expressions);
        }
    }
    let depth = rows as f32 * APART.1;
    let middle = Vec3::new(0.0, 0.24 + (rows - 1) as f32 * STEP * 0.36, -depth / 2.0);
    let away = (columns as f32 * APART.0).max(0.6) * 1.2 + depth / 2.0;
    let mut camera = commands.spawn((
        Camera3d::default(),
        Projection::from(PerspectiveProjection { fov: 0.5, ..default() }),
        Transform::from_translation(middle + Vec3::new(0.0, 0.16 * away, away)).looking_at(middle, Vec3::Y),
    ));
    if let Some(handle) = crowd.canvas.clone() {
        let target = RenderTarget::Image(ImageRenderTarget { handle, scale_factor: 1.0 });
        camera.insert((target, Camera { is_active: false, ..default() }));
    }
    let light = |at: Vec3, color, illuminance| {
        (
            DirectionalLight { color, illuminance, ..default() },
            Transform::from_translation(at).looking_at(Vec3::ZERO, Vec3::Y),
        )
    };
    commands.spawn(light(Vec3::new(-0.8, 1.0, 1.2), Color::srgb(1.0, 0.93, 0.85), 7000.0));
    commands.spawn(light(Vec3::new(1.3, 0.3, 1.0), Color::srgb(0.8, 0.88, 1.0), 2500.0));
}

/// Prints frame rates every few seconds.
fn print_stats(
    time: Res<Time<Real>>,
    mut next: Local<f32>,
    diagnostics: Res<DiagnosticsStore>,
    avatars: Query<(), With<BindReport>>,
    subjects: Query<&LinkQuality, With<FaceSubject>>,
) {
    if time.elapsed_secs() < *next {
        return;
    }
    *next = time.elapsed_secs() + 3.0;
    let fps = diagnostics.get(&FrameTimeDiagnosticsPlugin::FPS).and_then(|fps| fps.smoothed()).unwrap_or_default();
    let (sent, asked) =
        subjects.iter().fold((0.0, 0.0), |(sent, asked), quality| (sent + quality.fps, asked + quality.target_fps));
    println!(
        "{} characters at {fps:.0} frames a second; {} streams send {sent:.0} of {asked:.0} frames a second asked for",
        avatars.iter().count(),
        subjects.iter().count(),
    );
}

fn finish(
    mut commands: Commands,
    crowd: Res<Crowd>,
    load: Res<FaceLoad>,
    mut updates: ResMut<Updates>,
    avatars: Query<(), With<BindReport>>,
    meshes: Res<Assets<Mesh>>,
    mut cameras: Query<&mut Camera>,
    mut played: Local<u32>,
    mut exit: MessageWriter<AppExit>,
) {
    let headless = crowd.canvas.is_some();
    if (!headless && crowd.screenshot.is_none()) || avatars.iter().count() < crowd.count as usize {
        return;
    }
    *played += 1;
    if *played == 1 {
        updates.ms.clear();
    }
    if *played != crowd.frames.max(2) {
        return;
    }
    updates.ms.sort_by(f32::total_cmp);
    let percentile = |percent: usize| updates.ms.get(updates.ms.len() * percent / 100).copied().unwrap_or_default();
    println!(
        "{} characters of {} meshes: an update takes {:.2} ms (p99 {:.2}), {:.2} ms of it for their faces",
        crowd.count,
        meshes.len(),
        percentile(50),
        percentile(99),
        load.ms
    );
    let Some(path) = crowd.screenshot.clone() else {
        exit.write(AppExit::Success);
        return;
    };
    for mut camera in &mut cameras {
        camera.is_active = true;
    }
    let screenshot = crowd.canvas.clone().map_or_else(Screenshot::primary_window, Screenshot::image);
    commands.spawn(screenshot).observe(move |captured: On<ScreenshotCaptured>, mut exit: MessageWriter<AppExit>| {
        let saved = captured.image.clone().try_into_dynamic().map_err(|error| error.to_string());
        match saved.and_then(|image| image.to_rgb8().save(&path).map_err(|error| error.to_string())) {
            Ok(()) => {
                println!("wrote {}", path.display());
                exit.write(AppExit::Success);
            }
            Err(error) => {
                eprintln!("cannot write {}: {error}", path.display());
                exit.write(AppExit::error());
            }
        }
    });
}
