//! Two characters of two dialects, each with a face of its own.
//!
//! ```text
//! cargo run --example duet                                two built-in performers
//! cargo run --example duet -- --take take.csv             both play a recording of Live Link Face
//! cargo run --example duet -- --left Ann --right Bob      any peers that send faces under these names
//! cargo run --example duet -- --left-model my.glb         another character
//! ```
//!
//! Aria's targets have ARKit's names, Rivet's those of VRChat's Unified Expressions: the plugin detects both.

#[path = "avatar/guard.rs"]
mod guard;
#[allow(dead_code, reason = "not every example needs all of it")]
#[path = "avatar/performer.rs"]
mod performer;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/screenshot.rs"]
mod screenshot;
#[path = "avatar/show.rs"]
mod show;
#[path = "avatar/stage.rs"]
mod stage;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use bevy::prelude::*;
use bevy_facelink::{
    FaceLinkEndpoint,
    facelink::{performer::Performance, take::llf_csv},
    prelude::*,
};
use clap::Parser;

/// Two characters of two dialects, each with a face of its own.
#[derive(Parser, Debug)]
#[command(name = "duet")]
struct Args {
    /// Name of the face on the left.
    #[arg(long, default_value = "Ann")]
    left: String,
    /// Name of the face on the right.
    #[arg(long, default_value = "Bob")]
    right: String,
    /// Model on the left: a file, or a path below `assets/`.
    #[arg(long, value_name = "MODEL", default_value = "avatars/aria.glb")]
    left_model: String,
    /// Model on the right.
    #[arg(long, value_name = "MODEL", default_value = "avatars/rivet.glb")]
    right_model: String,
    /// Both play this take, the CSV file of Live Link Face.
    #[arg(long, value_name = "CSV")]
    take: Option<PathBuf>,
    /// Seconds into the take at which to begin.
    #[arg(long, default_value_t = 0.0)]
    from: f64,
    /// Without performers: wait for faces of these names.
    #[arg(long, conflicts_with = "take")]
    no_performers: bool,
    #[command(flatten)]
    show: show::Show,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let take = match args.take.as_deref().map(llf_csv::read).transpose() {
        Ok(take) => take.map(Arc::new),
        Err(error) => {
            eprintln!("{}: {error}", args.take.unwrap_or_default().display());
            return ExitCode::from(2);
        }
    };
    // A file of yours goes before an asset of ours.
    let model =
        |model: &str| Path::new(model).canonicalize().map_or(model.to_owned(), |file| file.display().to_string());
    let role = |name, path: &str, subject: &str, aside| stage::Role {
        model: model(path),
        name,
        avatar: FaceAvatar::of(subject),
        aside,
        ..default()
    };
    let roles =
        vec![role("Left", &args.left_model, &args.left, -0.17), role("Right", &args.right_model, &args.right, 0.17)];
    let app = match args.show.open("FaceLink: duet", roles, !args.no_performers) {
        Ok(app) => app,
        Err(code) => return code,
    };
    if let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>().filter(|_| !args.no_performers) {
        let from = Duration::try_from_secs_f64(args.from).unwrap_or_default();
        for (seed, name) in [(1, &args.left), (2, &args.right)] {
            if let Some(take) = take.clone() {
                performer::stream(endpoint, name, move |at| take.frame_at(take.looped(from + at)));
            } else {
                let performance = Performance::new(seed);
                performer::stream(endpoint, name, move |at| performance.frame_at(at));
            }
        }
    }
    show::run(app)
}
