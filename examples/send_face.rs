//! The face of this game's character, sent to another game.
//!
//! ```text
//! cargo run --example avatar -- --no-performer           the other game, in one terminal
//! cargo run --example send_face                          this one, in another
//! ```
//!
//! No performer here: the character plays idle motion and changes its mood. Keys 1 to 7 choose one, 0 none.

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

use std::{process::ExitCode, time::Duration};

use bevy::prelude::*;
use bevy_facelink::{FaceDial, SourceState, prelude::*};
use clap::Parser;

/// The moods, by their keys.
const MOODS: [(KeyCode, &str); 7] = [
    (KeyCode::Digit1, "happy"),
    (KeyCode::Digit2, "sad"),
    (KeyCode::Digit3, "angry"),
    (KeyCode::Digit4, "surprised"),
    (KeyCode::Digit5, "afraid"),
    (KeyCode::Digit6, "disgusted"),
    (KeyCode::Digit7, "contempt"),
];
/// Fade time of a mood.
const FADE: Duration = Duration::from_millis(400);

/// The face of this game's character, sent to another game.
#[derive(Parser, Debug)]
#[command(name = "send_face")]
struct Args {
    /// The other game.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:8765")]
    to: String,
    /// Name of the face over there.
    #[arg(long, default_value = "Guest")]
    name: String,
    /// Its pairing token.
    #[arg(long)]
    token: Option<String>,
    /// Fingerprint of its certificate, for a `wss://` address.
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    #[command(flatten)]
    show: show::Show,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // All that it takes: `SendFace` on the character, and a connection to the other game.
    let role = stage::Role {
        name: "Guest",
        avatar: FaceAvatar::of("none"),
        send: Some(SendFace::new(&args.name)),
        ..default()
    };
    let mut app = match args.show.open("FaceLink: send_face", vec![role], false) {
        Ok(app) => app,
        Err(code) => return code,
    };
    let mut dial = FaceSource::connect(&args.to);
    (dial.token, dial.fingerprint) = (args.token, args.fingerprint);
    app.world_mut().spawn(dial.subject(&args.name));
    app.add_systems(Update, (live, choose_mood, print_state));
    show::run(app)
}

fn live(mut commands: Commands, avatars: Query<Entity, Added<FaceAvatar>>) {
    for avatar in &avatars {
        commands.entity(avatar).insert((FaceIdle::default(), FaceExpressions::default()));
    }
}

/// By the keys, or another one every few seconds.
fn choose_mood(
    time: Res<Time>,
    keys: Option<Res<ButtonInput<KeyCode>>>,
    mut faces: Query<&mut FaceExpressions, With<FaceAvatar>>,
    mut next: Local<usize>,
    mut at: Local<f32>,
) {
    let Ok(mut face) = faces.single_mut() else { return };
    let pressed = |key| keys.as_ref().is_some_and(|keys| keys.just_pressed(key));
    if let Some((_, mood)) = MOODS.iter().find(|(key, _)| pressed(*key)) {
        face.set_emotion(*mood, 0.9, FADE, None);
        *at = f32::INFINITY;
    } else if pressed(KeyCode::Digit0) {
        face.clear_all(FADE);
        *at = f32::INFINITY;
    } else if time.elapsed_secs() >= *at {
        face.set_emotion(MOODS[*next % MOODS.len()].1, 0.9, FADE, Some(Duration::from_secs(2)));
        *next += 1;
        *at = time.elapsed_secs() + 4.0;
    }
}

/// Prints the state of the connection to the other game whenever it changes.
fn print_state(
    sources: Query<&FaceSource, (With<FaceDial>, Changed<FaceSource>)>,
    mut printed: Local<Option<SourceState>>,
) {
    for source in &sources {
        if printed.as_ref() != Some(&source.state) {
            println!("{}: {:?}", source.address.as_deref().unwrap_or_default(), source.state);
            *printed = Some(source.state.clone());
        }
    }
}
