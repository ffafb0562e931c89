//! A whole set-up from one file: two simulated phones, a virtual subject, two avatars, a mapping, a take in a loop, and a face
//! that goes out by VMC protocol.
//!
//! ```text
//! cargo run --example session                                  assets/sessions/show.facelink.ron
//! cargo run --example session -- sessions/mine.facelink.ron    another file below assets/
//! ```
//!
//! Edit the file while it runs: what changes in it changes on the stage. What is changed in the panel is listed there, and
//! written to the file by its button.

#[path = "avatar/guard.rs"]
mod guard;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/screenshot.rs"]
mod screenshot;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/show.rs"]
mod show;
#[path = "avatar/stage.rs"]
mod stage;

use std::process::ExitCode;

use bevy_facelink::prelude::*;
use clap::Parser;

/// A whole set-up from one file.
#[derive(Parser, Debug)]
#[command(name = "session")]
struct Args {
    /// The session's file, below `assets/`.
    #[arg(default_value = "sessions/show.facelink.ron")]
    file: String,
    #[command(flatten)]
    show: show::Show,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let plugin = FaceLinkPlugin::default().session(args.file);
    match args.show.open_with("FaceLink: session", Vec::new(), true, plugin) {
        Ok(app) => show::run(app),
        Err(code) => code,
    }
}
