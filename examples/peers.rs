//! Two games that see each other's faces, peer to peer.
//!
//! ```text
//! cargo run --example peers -- --host --name Ann                            the meeting point, and a peer
//! cargo run --example peers -- --via ws://127.0.0.1:8765 --name Bob         the other peer, on the same machine
//! ```
//!
//! On two machines the host takes `--lan`, and prints the command for the other one. Each shows its own face on the left
//! and the other's on the right. The endpoint only introduces them: faces go directly from game to game over WebRTC, and
//! by the endpoint where that is not possible. A built-in performer plays each face until a browser or a phone sends one to
//! the address that is printed.

#[path = "avatar/guard.rs"]
mod guard;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/performer.rs"]
mod performer;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/screenshot.rs"]
mod screenshot;
#[path = "avatar/stage.rs"]
mod stage;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use bevy::{prelude::*, time::common_conditions::once_after_real_delay};
use bevy_egui::{EguiContexts, EguiPrimaryContextPass, egui};
use bevy_facelink::{
    DrivenBy, EndpointState, FaceDial, FaceLinkEndpoint, SourceState,
    diagnostics::LinkStats,
    net::{ConnectionStats, Endpoint, EndpointConfig, SourceKind, TlsConfig, outward_address},
    panel::{FaceLinkPanel, FaceLinkPanelPlugin},
    prelude::*,
};
use clap::Parser;

/// Two games that see each other's faces, peer to peer.
#[derive(Parser, Debug)]
#[command(name = "peers")]
struct Args {
    /// Endpoint at which to meet.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8765")]
    via: String,
    /// Room in which to meet there.
    #[arg(long, default_value = "stage")]
    room: String,
    /// Your name; the other one needs another.
    #[arg(long)]
    name: String,
    /// Pairing token of the endpoint.
    #[arg(long)]
    token: Option<String>,
    /// Fingerprint of its certificate, for a `wss://` address.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Be the endpoint at which to meet, too.
    #[arg(long, conflicts_with = "via")]
    host: bool,
    /// With --host: the port to meet at.
    #[arg(long, default_value_t = 8765)]
    port: u16,
    /// With --host: for other machines, too, over TLS. Makes a token up unless one is given.
    #[arg(long, requires = "host")]
    lan: bool,
    /// Open the window with the panel; F1 closes it.
    #[arg(long)]
    panel: bool,
    /// Open no window: draw `--frames` frames, save the last one, and end. The default without a display.
    #[arg(long)]
    headless: bool,
    /// Frames to draw before the screenshot, counted once the other one is seen.
    #[arg(long, default_value_t = 60)]
    frames: u32,
    /// Save a screenshot as PNG, and end.
    #[arg(long, value_name = "PNG")]
    screenshot: Option<PathBuf>,
    /// Size of the rendered frame, pixels.
    #[arg(long, value_name = "WxH", default_value = "960x600", value_parser = screen::size)]
    size: (u32, u32),
}

/// This peer.
#[derive(Resource)]
struct Me {
    name: String,
    room: String,
}

/// Shows our own face.
const OWN: &str = "Own face";
/// Shows the other's face.
const OTHER: &str = "The other";
/// How long a screenshot waits for the other peer.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let args = Args::parse();
    let windowed = guard::windowed(args.headless);
    // A separate endpoint, if we host it: our game connects to it like any other.
    let (_meeting, dial) = match meet(&args) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(1);
        }
    };
    guard::watch_start(false);

    let mut app = App::new();
    let title = format!("FaceLink: {}", args.name);
    let size = args.size;
    let complete = !windowed || args.screenshot.is_some();
    screen::Screen { title: &title, size, windowed, complete, ..default() }.open(&mut app);
    // All that it takes: `SendFace` on our avatar, and a connection to the meeting point.
    let role = |name, send, aside| stage::Role { name, avatar: FaceAvatar::of(""), send, aside, ..default() };
    app.world_mut().spawn(dial.room(&args.room).subject(&args.name));
    app.add_plugins(stage::StagePlugin {
        roles: vec![role(OWN, Some(SendFace::new(&args.name)), -0.17), role(OTHER, None, 0.17)],
        size,
        windowed,
        panel: windowed && args.panel,
        close: false,
        quality: stage::quality::QualityArg::Auto,
        // The captions come from egui, which is not ready in the first frame that is drawn.
        draw: true,
        ground: stage::Ground::Studio,
    });
    // Any free port will do: only a page on this machine connects to it.
    app.add_plugins(FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None));
    if let Some(error) = app.world().get_resource::<EndpointState>().and_then(EndpointState::error) {
        eprintln!("{error}");
        return ExitCode::from(1);
    }
    if let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>() {
        println!("send your face from a browser:   http://127.0.0.1:{}", endpoint.addresses().http.port());
    }
    app.add_plugins(FaceLinkPanelPlugin { open: args.panel, ..default() });

    app.insert_resource(Me { name: args.name, room: args.room })
        .insert_resource(screenshot::Hold)
        .add_systems(Update, (cast, guard::started, print_status))
        .add_systems(
            Update,
            (|mut commands: Commands| commands.remove_resource::<screenshot::Hold>())
                .run_if(once_after_real_delay(PATIENCE)),
        )
        .add_systems(EguiPrimaryContextPass, caption);
    if !windowed || args.screenshot.is_some() {
        app.add_plugins(screenshot::ScreenshotPlugin {
            frames: args.frames,
            path: args.screenshot.unwrap_or_else(screenshot::default_path),
            windowed,
            face: true,
            alpha: false,
        });
    }
    match app.run() {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}

/// The meeting point, if we host it, and the connection to it.
fn meet(args: &Args) -> Result<(Option<Endpoint>, FaceDial), String> {
    if !args.host {
        let mut dial = FaceSource::connect(&args.via);
        (dial.token, dial.fingerprint) = (args.token.clone(), args.fingerprint.clone());
        return Ok((None, dial));
    }
    let mut config = EndpointConfig { port: args.port, token: args.token.clone(), ..EndpointConfig::default() };
    if args.lan {
        // It makes a token up if there is none.
        (config.bind, config.tls) = (Ipv4Addr::UNSPECIFIED.into(), TlsConfig::self_signed());
    }
    let meeting = Endpoint::start(config).map_err(|error| error.to_string())?;
    let port = meeting.addresses().http.port();
    let (scheme, host) = match outward_address().filter(|_| args.lan) {
        Some(host) => ("wss", host),
        None => ("ws", Ipv4Addr::LOCALHOST.into()),
    };
    let at = SocketAddr::new(host, port);
    println!("the other one:   cargo run --example peers -- --name Bob --room {} --via {scheme}://{at}", args.room);
    for (option, value) in [("token", meeting.token().as_deref()), ("fingerprint", meeting.certificate_fingerprint())] {
        if let Some(value) = value {
            println!("                 --{option} {value}");
        }
    }
    // Connections from this machine need no token.
    Ok((Some(meeting), FaceSource::connect(format!("ws://127.0.0.1:{port}"))))
}

/// The connection that carries the other's face: the direct one, if there is.
fn other_peer(stats: &LinkStats) -> Option<&ConnectionStats> {
    let others = || stats.connections.iter().filter(|c| c.direction != "in" && c.subject.is_some());
    others().find(|c| c.direction == "peer").or_else(|| others().next())
}

/// Chooses the subject of each avatar.
fn cast(
    mut commands: Commands,
    endpoint: Option<Res<FaceLinkEndpoint>>,
    me: Res<Me>,
    performer: Option<Res<performer::PerformerStream>>,
    stats: Res<LinkStats>,
    hold: Option<Res<screenshot::Hold>>,
    mut avatars: Query<(&mut FaceAvatar, &Name, Option<&DrivenBy>)>,
    poses: Query<&FacePose>,
) {
    let Some(endpoint) = endpoint else { return };
    let age = |subject: &str| stats.endpoint.subjects.iter().find(|s| &*s.name == subject).map(|s| s.age_ms);
    // A browser or a phone that sends to this very game is us.
    let ours = stats.others().filter(|c| c.direction == "in");
    let real = ours
        .filter_map(|c| c.subject.as_deref())
        .find(|subject| *subject != performer::NAME && age(subject).is_some_and(|age| age < performer::SILENT_MS));
    let other = other_peer(&stats).and_then(|c| c.subject.as_deref());
    for (mut avatar, name, driven) in &mut avatars {
        let wanted = if name.as_str() == OWN { Some(real.unwrap_or(performer::NAME)) } else { other };
        if let Some(wanted) = wanted.filter(|wanted| avatar.subject.as_deref() != Some(wanted)) {
            avatar.subject = Some(wanted.to_owned());
        }
        let seen = driven.and_then(|driven| poses.get(driven.0).ok()).is_some_and(|pose| pose.presence == 1.0);
        if hold.is_some() && name.as_str() == OTHER && seen {
            commands.remove_resource::<screenshot::Hold>();
        }
    }
    match (real, performer) {
        (Some(_), Some(_)) => commands.remove_resource::<performer::PerformerStream>(),
        (None, None) => {
            // A different performance for each name.
            let mut hasher = DefaultHasher::new();
            me.name.hash(&mut hasher);
            if let Some(performer) = performer::PerformerStream::start(&endpoint, hasher.finish()) {
                commands.insert_resource(performer);
            }
        }
        _ => {}
    }
}

/// One line on the other peer, and on the transport of its face.
fn status(me: &Me, stats: &LinkStats, source: Option<&FaceSource>) -> String {
    let Some(peer) = other_peer(stats) else {
        let place = source.and_then(|source| source.address.as_deref()).unwrap_or_default();
        return match source.map(|source| &source.state) {
            Some(SourceState::Waiting { reason } | SourceState::Refused { reason }) => reason.clone(),
            Some(SourceState::Connected) => format!("waiting for a peer in room {} of {place}", me.room),
            _ => format!("connecting to {place}"),
        };
    };
    let route = match (peer.direction, &peer.route) {
        ("peer", Some(route)) if route.contains("relay") => format!("through a relay ({route})"),
        ("peer", Some(route)) => format!("directly ({route})"),
        ("peer", None) => "directly".to_owned(),
        _ => "by the endpoint".to_owned(),
    };
    let transport = if peer.transport == SourceKind::WebRtc { "WebRTC" } else { "WebSocket" };
    let latency = peer.average_latency_ms.map_or(String::new(), |ms| format!(", {ms:.0} ms"));
    format!("{transport}, {route}{latency}")
}

/// Prints the line whenever its words change.
fn print_status(
    me: Res<Me>,
    stats: Res<LinkStats>,
    sources: Query<&FaceSource, With<FaceDial>>,
    mut printed: Local<String>,
) {
    let status = status(&me, &stats, sources.iter().next());
    let words = status.rsplit_once(", ").filter(|(_, last)| last.ends_with(" ms")).map_or(&*status, |(words, _)| words);
    if *printed != words {
        println!("{status}");
        words.clone_into(&mut printed);
    }
}

/// The names under the faces, and the line.
fn caption(
    mut contexts: EguiContexts,
    me: Res<Me>,
    stats: Res<LinkStats>,
    panel: Res<FaceLinkPanel>,
    sources: Query<&FaceSource, With<FaceDial>>,
) {
    let Ok(context) = contexts.ctx_mut() else { return };
    let mut screen = context.viewport_rect();
    if panel.open {
        screen.set_width(screen.width() - stage::PANEL);
    }
    let painter = context.layer_painter(egui::LayerId::background());
    let strip = screen.with_min_y(screen.bottom() - 44.0);
    painter.rect_filled(strip, 0.0, egui::Color32::from_black_alpha(150));
    let text = |x: f32, y: f32, words: &str, size: f32, color: egui::Color32| {
        let at = egui::pos2(screen.left() + x * screen.width(), strip.top() + y);
        painter.text(at, egui::Align2::CENTER_CENTER, words, egui::FontId::proportional(size), color);
    };
    let bright = egui::Color32::from_rgb(232, 236, 242);
    let other = other_peer(&stats).and_then(|peer| peer.subject.as_deref());
    text(0.24, 14.0, &format!("{} (here)", me.name), 15.0, bright);
    text(0.76, 14.0, other.unwrap_or("no peer yet"), 15.0, bright);
    let status = status(&me, &stats, sources.iter().next());
    text(0.5, 33.0, &status, 11.5, egui::Color32::from_rgb(150, 215, 205));
}
