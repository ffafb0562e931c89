//! A face on an avatar, live.
//!
//! ```text
//! cargo run --example avatar                             a window; a built-in performer talks until you connect
//! cargo run --example avatar -- --lan                    open to the network, with a QR code for the phone
//! cargo run --example avatar -- --phones                  every phone app, on the ports that they send to
//! cargo run --example avatar -- path/to/model.glb        another model
//! cargo run --example avatar -- --headless --screenshot out.png          no display needed
//! cargo run --example avatar -- --transparent             nothing behind her, for OBS; --green for a chroma key
//! cargo run --example avatar -- --contact-sheet out.png  every shape of the model on one image
//! cargo run --example avatar -- --animation folder --frames 60     numbered images of the performance
//! ```
//!
//! With a face on the avatar, N takes it for the neutral face, R takes the head for straight ahead, C clears both.
//!
//! The performer is no short cut: it streams over a WebRTC connection on loopback into the same server that a phone
//! uses. It stops when a real source connects, and starts again when the last one has left.

mod animation;
mod casting;
mod cli;
mod contact_sheet;
mod guard;
mod keys;
mod lan;
#[allow(dead_code, reason = "not every example needs all of it")]
mod performer;
mod screen;
mod screenshot;
mod stage;

use std::process::ExitCode;

use bevy::prelude::*;
use bevy_facelink::{EndpointState, FaceLinkEndpoint, panel::FaceLinkPanelPlugin, prelude::*};
use clap::Parser;

fn main() -> ExitCode {
    let args = cli::Args::parse();
    let model = match args.model() {
        Ok(model) => model,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let sheets = args.contact_sheet.is_some() || args.animation.is_some();
    let windowed = !sheets && guard::windowed(args.headless);
    guard::watch_start(windowed);

    let mut app = App::new();
    // A screenshot waits for all assets; a window opens at once.
    let complete = !windowed || args.screenshot.is_some();
    let ground = args.ground();
    let transparent = ground == stage::Ground::Transparent;
    screen::Screen { title: "FaceLink: avatar", size: args.size, windowed, complete, transparent, ..default() }
        .open(&mut app);
    let size = match (&args.contact_sheet, &args.animation) {
        (Some(_), _) => contact_sheet::CANVAS,
        (None, Some(_)) => animation::FACE,
        (None, None) => args.size,
    };
    // Nothing but the picture, where it is to be put over something else.
    let panel = windowed && !args.no_panel && ground == stage::Ground::Studio;
    app.add_plugins(stage::StagePlugin {
        roles: vec![stage::Role { model, ..default() }],
        size,
        windowed,
        panel,
        close: sheets,
        quality: args.quality,
        draw: windowed || sheets,
        ground,
    });
    app.add_systems(Update, guard::started);

    if let Some(path) = args.contact_sheet {
        app.add_plugins((FaceLinkPlugin::without_sockets(), contact_sheet::ContactSheetPlugin { path }));
        return exit_code(app.run());
    }
    if let Some(folder) = args.animation {
        let frames = args.frames;
        app.add_plugins((FaceLinkPlugin::without_sockets(), animation::AnimationPlugin { folder, frames }));
        return exit_code(app.run());
    }
    let plugin = args.plugin();
    app.add_plugins(plugin);
    if let Some(error) = app.world().get_resource::<EndpointState>().and_then(EndpointState::error) {
        eprintln!("{error}");
        return ExitCode::from(1);
    }
    if let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>() {
        let addresses = endpoint.addresses();
        println!("send a face from a browser:   http://127.0.0.1:{}", addresses.http.port());
        if let Some(invitation) = lan::invite(endpoint) {
            app.insert_resource(invitation);
        }
    }
    if windowed {
        app.add_plugins((FaceLinkPanelPlugin { open: panel, ..default() }, keys::KeysPlugin, lan::LanPlugin));
    }
    if !args.no_performer {
        app.add_plugins(casting::CastingPlugin);
    }
    if !windowed || args.screenshot.is_some() {
        app.add_plugins(screenshot::ScreenshotPlugin {
            frames: args.frames,
            path: args.screenshot.unwrap_or_else(screenshot::default_path),
            windowed,
            face: !args.no_performer,
            alpha: transparent,
        });
    }
    exit_code(app.run())
}

fn exit_code(exit: AppExit) -> ExitCode {
    match exit {
        AppExit::Success => ExitCode::SUCCESS,
        AppExit::Error(code) => ExitCode::from(code.get()),
    }
}
