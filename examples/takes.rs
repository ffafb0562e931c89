//! A take: recorded, scrubbed, cut to its in and out points, and played on two characters.
//!
//! ```text
//! cargo run --example takes                    two built-in performers are recorded for four seconds, then played in a loop
//! cargo run --example takes -- a.mcap          plays a take of `facelink record`, or a CSV file of Live Link Face
//! ```
//!
//! | Key | |
//! |---|---|
//! | R | records what the endpoint gives, until R again; then that is played |
//! | Space | plays and pauses; the arrows go from frame to frame |
//! | I, O | the take begins here, ends here; A plays all of it again |
//!
//! The panel has the same, with a timeline. `facelink take cut` writes what is between two points to a file.

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
    time::Duration,
};

use bevy::prelude::*;
use bevy_facelink::{FaceTake, facelink::performer::Performance, net::TakeOptions, prelude::*};
use clap::Parser;

/// Length of the take that is recorded by itself.
const RECORDED: Duration = Duration::from_secs(4);
const FACES: [&str; 2] = ["Ann", "Bob"];

/// A take: recorded, scrubbed, cut to its in and out points, and played on two characters.
#[derive(Parser, Debug)]
#[command(name = "takes")]
struct Args {
    /// The take to play: `.mcap`, or the `.csv` of Live Link Face. Without one, two performers are recorded first.
    file: Option<PathBuf>,
    #[command(flatten)]
    show: show::Show,
}

/// The take that is recorded by itself.
#[derive(Resource, PartialEq)]
enum Recording {
    /// Once both faces are there.
    Wanted,
    /// Until then, on the app's clock.
    Until(Duration),
    /// By R, until R.
    Keys,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let role = |name, model: &str, subject: &str, aside| stage::Role {
        model: model.to_owned(),
        name,
        avatar: FaceAvatar::of(subject),
        aside,
        ..default()
    };
    let roles =
        vec![role("Aria", "avatars/aria.glb", FACES[0], -0.17), role("Rivet", "avatars/rivet.glb", FACES[1], 0.17)];
    let mut app = match args.show.open("FaceLink: takes", roles, true) {
        Ok(app) => app,
        Err(code) => return code,
    };
    if let Some(file) = &args.file {
        play(app.world_mut(), file);
        app.insert_resource(Recording::Keys);
    } else {
        if let Some(endpoint) = app.world().get_resource::<FaceLinkEndpoint>() {
            for (seed, name) in (1..).zip(FACES) {
                let performance = Performance::new(seed);
                performer::stream(endpoint, name, move |at| performance.frame_at(at));
            }
        }
        app.insert_resource(Recording::Wanted);
    }
    app.add_systems(Update, (record, scrub, cast));
    show::run(app)
}

/// Plays a file in a loop, instead of what is played.
fn play(world: &mut World, file: &Path) {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let take = world.resource::<AssetServer>().load(file.display().to_string());
    let players: Vec<Entity> = world.query_filtered::<Entity, With<TakePlayer>>().iter(world).collect();
    for player in players {
        world.despawn(player);
    }
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    world.spawn((Name::new(name), TakePlayer { looped: true, ..TakePlayer::new(take) }));
}

/// Records by itself at first, and later with R.
fn record(
    mut commands: Commands,
    (keys, time): (Res<ButtonInput<KeyCode>>, Res<Time<Real>>),
    endpoint: Res<FaceLinkEndpoint>,
    subjects: Res<FaceSubjects>,
    mut recording: ResMut<Recording>,
) {
    let is_recording = endpoint.take_status().is_some_and(|take| take.recording);
    let toggled = match *recording {
        Recording::Wanted => FACES.iter().all(|name| subjects.get(name).is_some()),
        Recording::Until(end) => time.elapsed() >= end,
        Recording::Keys => keys.just_pressed(KeyCode::KeyR),
    };
    if !toggled {
        return;
    }
    *recording = match *recording {
        Recording::Wanted => Recording::Until(time.elapsed() + RECORDED),
        _ => Recording::Keys,
    };
    let done = if is_recording {
        endpoint.stop_take()
    } else {
        endpoint.start_take(TakeOptions { slate: Some("takes".into()), ..default() })
    };
    match done {
        Ok(take) if is_recording => {
            println!("recorded {}: {:.1} s", take.file, take.seconds);
            commands.queue(move |world: &mut World| play(world, Path::new(&take.file)));
        }
        Ok(take) => println!("recording {}", take.file),
        Err(error) => eprintln!("{error}"),
    }
}

fn scrub(keys: Res<ButtonInput<KeyCode>>, mut players: Query<(&mut TakePlayer, &mut TakePlayback)>) {
    for (mut player, mut playback) in &mut players {
        for key in keys.get_just_pressed() {
            match key {
                KeyCode::Space => player.playing = !player.playing,
                KeyCode::ArrowLeft | KeyCode::ArrowRight => {
                    player.playing = false;
                    playback.step(if *key == KeyCode::ArrowLeft { -1 } else { 1 });
                }
                KeyCode::KeyI => player.from = playback.position(),
                KeyCode::KeyO => player.until = Some(playback.position()),
                KeyCode::KeyA => (player.from, player.until) = (Duration::ZERO, None),
                _ => {}
            }
        }
    }
}

/// A character whose face the take does not have gets another one of it; a single face is that of both.
fn cast(
    takes: Res<Assets<FaceTake>>,
    players: Query<&TakePlayer, Changed<TakePlayback>>,
    mut avatars: Query<&mut FaceAvatar>,
) {
    let Some(take) = players.iter().find_map(|player| takes.get(&player.take)) else { return };
    let faces: Vec<&str> = take.info().subjects.iter().map(|subject| &*subject.name).collect();
    for (mut avatar, face) in avatars.iter_mut().zip(faces.iter().cycle()) {
        if !avatar.subject.as_deref().is_some_and(|subject| faces.contains(&subject)) {
            avatar.subject = Some((*face).to_owned());
        }
    }
}
