//! A character that speaks a line of dialogue, with an emotion, and plays idle motion in between.
//!
//! ```text
//! cargo run --example speech                              a line that is built in, again and again
//! cargo run --example speech -- --line line.txt           phonemes: lines of start, end and ARPAbet phoneme, seconds
//! cargo run --example speech -- --rhubarb line.json       what Rhubarb Lip Sync made of a recording
//! ```
//!
//! While it runs, others may let it speak, too: `{"type":"viseme_data","subject":"Speaker","viseme":"aa","weight":1}` and
//! `{"type":"set_emotion","subject":"Speaker","emotion":"happy"}` over the WebSocket.

#[path = "avatar/guard.rs"]
mod guard;
#[path = "avatar/screen.rs"]
mod screen;
#[path = "avatar/screenshot.rs"]
mod screenshot;
#[path = "avatar/show.rs"]
mod show;
#[path = "avatar/stage.rs"]
mod stage;

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use bevy::prelude::*;
use bevy_facelink::{facelink::layers::VisemeTrack, prelude::*};
use clap::Parser;

/// "Hello, my name is Aria. I am happy to meet you."
const LINE: &str = "
0.00 0.08 HH
0.08 0.15 AH0
0.15 0.24 L
0.24 0.48 OW1
0.62 0.72 M
0.72 0.90 AY1
0.90 0.98 N
0.98 1.14 EY1
1.14 1.22 M
1.22 1.30 IH1
1.30 1.40 Z
1.40 1.58 AA1
1.58 1.66 R
1.66 1.74 IY0
1.74 1.98 AH0
2.40 2.58 AY1
2.58 2.68 AE1
2.68 2.76 M
2.80 2.88 HH
2.88 3.04 AE1
3.04 3.12 P
3.12 3.24 IY0
3.24 3.30 T
3.30 3.38 UW1
3.38 3.48 M
3.48 3.60 IY1
3.60 3.66 T
3.66 3.74 Y
3.74 4.02 UW1
";
/// Seconds between two times.
const PAUSE: f32 = 1.5;

/// A character that speaks.
#[derive(Parser, Debug)]
#[command(name = "speech")]
struct Args {
    /// Phonemes to say: lines of start, end and ARPAbet phoneme.
    #[arg(long, value_name = "FILE")]
    line: Option<PathBuf>,
    /// What `rhubarb -f json` made of a recording.
    #[arg(long, value_name = "JSON", conflicts_with = "line")]
    rhubarb: Option<PathBuf>,
    /// How it feels about it.
    #[arg(long, default_value = "happy")]
    emotion: String,
    /// Model that speaks.
    #[arg(long, default_value = "avatars/aria.glb")]
    model: String,
    #[command(flatten)]
    show: show::Show,
}

/// What is said.
#[derive(Resource)]
struct Line {
    track: Arc<VisemeTrack>,
    again: Timer,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let text = |path: &PathBuf| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let track = match (&args.rhubarb, &args.line) {
        (Some(path), _) => text(path).and_then(|text| {
            VisemeTrack::from_rhubarb_json(&text).map_err(|error| format!("{}: {error}", path.display()))
        }),
        (_, Some(path)) => text(path)
            .and_then(|text| VisemeTrack::from_phonemes(&text).map_err(|error| format!("{}: {error}", path.display()))),
        _ => VisemeTrack::from_phonemes(LINE).map_err(|error| error.to_string()),
    };
    let track = match track {
        Ok(track) => Arc::new(track),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let role = stage::Role { model: args.model, name: "Speaker", avatar: FaceAvatar::of("Speaker"), ..default() };
    let mut app = match args.show.open("FaceLink: speech", vec![role], false) {
        Ok(app) => app,
        Err(code) => return code,
    };
    let pause = track.duration() as f32 + PAUSE;
    let mut expressions = FaceExpressions::default();
    expressions.fade_to(args.emotion, 0.6, Duration::from_secs(1));
    // All that it takes: a mouth, a feeling, and a little life, on the avatar.
    let mut layers = Some((FaceSpeech::default(), expressions, FaceIdle::default()));
    let mut again = Timer::from_seconds(pause, TimerMode::Repeating);
    // The first time at once.
    again.set_elapsed(again.duration());
    app.insert_resource(Line { track, again })
        .add_systems(Update, move |mut commands: Commands, avatars: Query<Entity, Added<FaceAvatar>>| {
            if let (Some(avatar), true) = (avatars.iter().next(), layers.is_some())
                && let Some(layers) = layers.take()
            {
                commands.entity(avatar).insert(layers);
            }
        })
        .add_systems(Update, speak);
    show::run(app)
}

fn speak(time: Res<Time>, mut line: ResMut<Line>, mut mouths: Query<&mut FaceSpeech, With<FaceAvatar>>) {
    // A mouth that is not there yet is waited for.
    let Ok(mut mouth) = mouths.single_mut() else { return };
    if line.again.tick(time.delta()).just_finished() {
        mouth.play(line.track.clone());
    }
}
