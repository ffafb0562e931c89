//! Two games meet and show each other's faces, directly.
//!
//! The first one is the meeting point as well, any further one is told where that is:
//!
//! ```sh
//! cargo run --example peers -- --name Ann
//! cargo run --example peers -- --name Bob --via ws://127.0.0.1:8765     # or another machine's wss:// address
//! ```
//!
//! Each one sends a face of its own, the built-in performer's, and shows the first one that comes from somebody else. Frames go over a WebRTC data channel from game to game; where none can be
//! opened, the meeting point hands them on.

#[path = "../avatar/picture.rs"]
mod picture;
#[path = "../avatar/stage.rs"]
mod stage;

mod performer {
    //! A face of our own.

    use std::time::Instant;

    use bevy::prelude::*;
    use bevy_facelink::{FaceLinkEndpoint, core::link::Client, core::link::ClientConfig, core::performer::Performance};

    /// Our own face among the subjects. The others know it under another name.
    pub const MIRROR: &str = "mirror";

    /// The performer is on stage.
    #[derive(Resource)]
    pub struct OnStage {
        client: Client,
        performance: Performance,
        start: Instant,
    }

    /// Sends the performance to our own endpoint, as a phone would.
    pub fn enter(endpoint: &FaceLinkEndpoint, seed: u64) -> Option<OnStage> {
        let url = format!("ws://127.0.0.1:{}", endpoint.addresses().http.port());
        let client = Client::start(ClientConfig::new(url).subject(MIRROR), endpoint.runtime()?);
        Some(OnStage { client, performance: Performance::new(seed), start: Instant::now() })
    }

    pub fn act(stage: Option<Res<OnStage>>) {
        if let Some(stage) = stage {
            stage.client.send(stage.performance.frame_at(stage.start.elapsed()));
        }
    }
}

use std::{path::PathBuf, process::ExitCode, time::Duration};

use bevy::{
    app::ScheduleRunnerPlugin,
    log::LogPlugin,
    prelude::*,
    render::RenderPlugin,
    window::{ExitCondition, WindowResolution},
    winit::WinitPlugin,
};
use bevy_egui::{EguiContexts, EguiPlugin, EguiPrimaryContextPass, egui};
use bevy_facelink::{
    FaceLinkEndpoint, FaceLinkFailure, SourceQuality, SourceState,
    core::link::{TlsConfig, new_token},
    prelude::*,
};
use clap::Parser;

/// Show another game's face, and send it ours.
#[derive(Parser, Debug)]
#[command(name = "peers")]
struct Args {
    /// What we are called.
    #[arg(long)]
    name: String,
    /// Address of the meeting point; without one, this game is it.
    #[arg(long, value_name = "URL")]
    via: Option<String>,
    /// Room in which to meet.
    #[arg(long, default_value = "stage")]
    room: String,
    /// Pairing token of the meeting point.
    #[arg(long)]
    token: Option<String>,
    /// Fingerprint of the meeting point's certificate, for wss://.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Open the meeting point to the network.
    #[arg(long, conflicts_with = "via")]
    lan: bool,
    /// Port of HTTP, WebSocket and signalling [default: 8765 for the meeting point, a free one for the others].
    #[arg(long)]
    port: Option<u16>,
    /// Another seed is another performance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Draw without a window, for `--frames` frames.
    #[arg(long)]
    headless: bool,
    /// Frames to draw before the screenshot.
    #[arg(long, default_value_t = 60)]
    frames: u32,
    /// Save a picture as PNG, and end.
    #[arg(long, value_name = "PNG")]
    screenshot: Option<PathBuf>,
    /// Size of the picture, pixels.
    #[arg(long, default_value_t = 960)]
    width: u32,
    /// Size of the picture, pixels.
    #[arg(long, default_value_t = 720)]
    height: u32,
}

/// What we are called.
#[derive(Resource)]
struct Me(String);

/// How we are connected to the others, in one line.
#[derive(Resource, Default)]
struct Line(String);

fn main() -> ExitCode {
    let args = Args::parse();
    let windowed = !args.headless;
    let window = windowed.then(|| Window {
        title: format!("FaceLink: {}", args.name),
        resolution: WindowResolution::new(args.width, args.height),
        ..default()
    });
    let plugins = DefaultPlugins
        .set(LogPlugin {
            filter: format!("{},rtc=error,rtc_ice=error,rtc_dtls=error,webrtc=error", bevy::log::DEFAULT_FILTER),
            ..default()
        })
        // A picture is to be complete, so it waits for the shaders; a window rather opens at once.
        .set(RenderPlugin { synchronous_pipeline_compilation: !windowed || args.screenshot.is_some(), ..default() })
        .set(WindowPlugin {
            primary_window: window,
            exit_condition: if windowed { ExitCondition::OnPrimaryClosed } else { ExitCondition::DontExit },
            ..default()
        });
    let mut app = App::new();
    if windowed {
        app.add_plugins((plugins, EguiPlugin::default())).add_systems(EguiPrimaryContextPass, show_line);
    } else {
        let pace = ScheduleRunnerPlugin::run_loop(Duration::from_secs_f64(1.0 / 60.0));
        app.add_plugins((plugins.disable::<WinitPlugin>(), pace));
    }
    app.add_plugins(stage::StagePlugin {
        model: "avatars/aria.glb".to_owned(),
        size: (args.width, args.height),
        windowed,
        panel: false,
        close: false,
    });

    let port = args.port.unwrap_or(if args.via.is_some() { 0 } else { 8765 });
    let mut plugin = FaceLinkPlugin::default().port(port).live_link_face(None).udp_json(None);
    if args.lan {
        plugin = plugin.lan(args.token.clone().unwrap_or_else(new_token)).https(TlsConfig::self_signed());
    }
    app.add_plugins(plugin);
    if let Some(failure) = app.world().get_resource::<FaceLinkFailure>() {
        eprintln!("{}", failure.0);
        return ExitCode::FAILURE;
    }
    let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>() else { return ExitCode::FAILURE };
    let here = format!("ws://127.0.0.1:{}", endpoint.addresses().http.port());
    match &args.via {
        Some(via) => println!("meeting at {via}"),
        None => {
            println!("the others come by: --via {}", if args.lan { endpoint.invitation() } else { here.clone() });
            if let (Some(token), Some(fingerprint)) = (endpoint.token(), endpoint.certificate_fingerprint()) {
                println!("                    --token {token} --fingerprint {fingerprint}");
            }
        }
    }
    if let Some(performer) = performer::enter(endpoint, args.seed) {
        app.insert_resource(performer);
    }
    let mut dial = FaceSource::connect(args.via.unwrap_or(here)).subject(&args.name).room(&args.room);
    (dial.token, dial.fingerprint) = (args.token, args.fingerprint);
    app.world_mut().spawn(dial);
    app.insert_resource(Me(args.name)).init_resource::<Line>().add_observer(send_ours);
    app.add_systems(Update, (performer::act, look_at_the_other, tell));
    if args.headless || args.screenshot.is_some() {
        app.add_plugins(picture::PicturePlugin { frames: args.frames, path: args.screenshot, windowed });
    }
    match app.run() {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}

/// Our own face goes out to the others.
fn send_ours(appeared: On<SubjectAppeared>, mut commands: Commands, me: Res<Me>) {
    if appeared.name == performer::MIRROR {
        commands.entity(appeared.entity).insert(SendFace::new(&me.0).to_subscribers(false));
    }
}

/// The avatar is the other's; while nobody is there, it is a mirror.
fn look_at_the_other(me: Res<Me>, subjects: Res<FaceSubjects>, mut avatars: Query<&mut FaceAvatar>) {
    let other = subjects.iter().map(|(name, _)| name).find(|name| is_other(name, &me)).unwrap_or(performer::MIRROR);
    for mut avatar in &mut avatars {
        if avatar.subject.as_deref() != Some(other) {
            avatar.subject = Some(other.to_owned());
        }
    }
}

fn is_other(name: &str, me: &Me) -> bool {
    // A meeting point may hear our own face come back, where it hands faces on.
    name != performer::MIRROR && name != me.0
}

fn tell(
    me: Res<Me>,
    mut line: ResMut<Line>,
    subjects: Query<(&FaceSubject, &LinkQuality)>,
    sources: Query<(&FaceSource, &SourceQuality, Has<bevy_facelink::FaceDial>)>,
) {
    // Until its figures are there, nothing can be said of a face.
    let mut others = subjects.iter().filter(|(_, quality)| !quality.transport.is_empty());
    let text = match others.find(|(subject, _)| is_other(&subject.name, &me)) {
        Some((subject, quality)) => {
            // What comes over WebRTC comes from the other game itself: the meeting point is on the WebSocket.
            let way = if quality.transport == "webrtc" { "directly" } else { "by the meeting point" };
            format!("{}, {way} ({})", subject.name, quality.transport)
        }
        None => match sources.iter().find(|(_, _, ours)| *ours).map(|(source, ..)| &source.state) {
            Some(SourceState::Connected) => "nobody else is here yet".to_owned(),
            Some(SourceState::Waiting { reason } | SourceState::Refused { reason }) => reason.clone(),
            _ => "connecting".to_owned(),
        },
    };
    if line.0 != text {
        println!("{text}");
        line.0 = text;
    }
}

fn show_line(mut contexts: EguiContexts, line: Res<Line>, me: Res<Me>, subjects: Query<(&FaceSubject, &LinkQuality)>) {
    let Ok(context) = contexts.ctx_mut() else { return };
    let figures =
        subjects.iter().find(|(subject, _)| is_other(&subject.name, &me)).map_or_else(String::new, |(_, quality)| {
            let latency = quality.latency_ms.map_or_else(String::new, |ms| format!(", {ms:.1} ms"));
            format!("{:.0} fps{latency}", quality.fps)
        });
    egui::Area::new("line".into()).anchor(egui::Align2::LEFT_BOTTOM, [16.0, -16.0]).show(context, |ui| {
        egui::Frame::popup(ui.style()).show(ui, |ui| {
            ui.label(egui::RichText::new(&line.0).strong());
            ui.weak(if figures.is_empty() { "the avatar is a mirror" } else { &figures });
        });
    });
}
