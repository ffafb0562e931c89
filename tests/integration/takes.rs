//! Takes that are played in the engine.

use std::{
    fs,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_facelink::{
    FaceAvatar, FaceInput, FaceLinkEndpoint, FaceLinkPlugin, FacePlayout, FaceSettings, FaceSubjects, FaceTake,
    TakeClock, TakeMark, TakePlayback, TakePlayer, TakeState,
    facelink::{
        Blendshape,
        event::{LinkEvent, SubjectFrame, SubjectId},
        source::SourceKind,
        take::{Take, TakeAbout, TakeContent, TakeFrame, TakeReader, TakeWriter, llf_csv},
        timing::Stamp,
    },
    net::TakeOptions,
};

use crate::live::live_app;
use crate::support::{FRAME, LIMIT, app_with, fed_app, frame, near, run, spawn_node, weights};

const JAW: Blendshape = Blendshape::JawOpen;

/// The jaw of frame `i`: no two frames within a few seconds have the same.
fn jaw(i: u32) -> f32 {
    (i * 37 % 251) as f32 / 251.0
}

/// When frame `i` arrived: between two pictures of the app, so that rounding decides nothing.
fn time(i: u32) -> Duration {
    FRAME * i + FRAME / 2
}

/// A recording of two subjects, `count` frames each; every tenth of Ann's comes after the one that follows it.
fn recording(count: u32) -> FaceTake {
    let start = Instant::now();
    let mut writer = TakeWriter::new(Vec::new(), &TakeAbout::new("scene", 3, Duration::ZERO), start).expect("begins");
    for i in 0..count {
        for (id, name, value) in [(1, "Ann", jaw(i)), (2, "Bob", 1.0 - jaw(i))] {
            let swapped =
                |i: u32| if id == 1 { i / 10 * 10 + [0, 1, 3, 2, 4, 5, 6, 7, 8, 9][i as usize % 10] } else { i };
            let (number, late) = (swapped(i), swapped(i) < i);
            let capture_us = i64::try_from(time(number).as_micros()).expect("short");
            let value = if id == 1 { jaw(number) } else { value };
            let queue_us = i64::try_from(time(i).as_micros()).expect("short") - capture_us;
            let new = SubjectFrame {
                id: SubjectId(id),
                name: name.into(),
                source: SourceKind::LiveLinkFace,
                frame: frame(&[(JAW, value)]),
                speech: None,
                received: start + time(i),
                stamp: Some(Stamp { capture_us, base_us: 0, queue_us, epoch: 0, interval_us: 16_667 }),
                late,
                repeated: false,
            };
            writer.frame(&new).expect("is written");
        }
        if i == 60 {
            writer.mark("cut here", start + time(i)).expect("is written");
        }
    }
    FaceTake::from_mcap(writer.finish(start + time(count)).expect("ends")).expect("is a take")
}

/// An app that shows frames as they arrive, with an avatar for each of these subjects.
fn app(subjects: &[&str]) -> (App, Vec<Entity>) {
    let (mut app, _faces) = fed_app();
    app.world_mut().resource_mut::<FaceSettings>().playout = FacePlayout::latest();
    let nodes = subjects.iter().map(|subject| {
        let node = spawn_node(app.world_mut(), subject, &["jawOpen"]);
        app.world_mut().entity_mut(node).insert(FaceAvatar::of(*subject));
        node
    });
    let nodes = nodes.collect();
    (app, nodes)
}

fn play(app: &mut App, take: FaceTake, change: impl FnOnce(&mut TakePlayer)) -> Entity {
    let take = app.world_mut().resource_mut::<Assets<FaceTake>>().add(take);
    let mut player = TakePlayer::new(take);
    change(&mut player);
    app.world_mut().spawn(player).id()
}

fn playback(app: &mut App, player: Entity) -> Mut<'_, TakePlayback> {
    app.world_mut().get_mut::<TakePlayback>(player).expect("it is put on every player")
}

fn set(app: &mut App, player: Entity, change: impl FnOnce(&mut TakePlayer)) {
    change(&mut app.world_mut().get_mut::<TakePlayer>(player).expect("a player"));
}

#[test]
fn take_played_twice_writes_the_same_weights() {
    let take = recording(180);
    let shown = |speed: f64| {
        let (mut app, nodes) = app(&["Ann", "Bob"]);
        play(&mut app, take.clone(), |player| player.speed = speed);
        let mut shown = Vec::new();
        for _ in 0..200 {
            app.update();
            shown.push(nodes.iter().map(|node| weights(&app, *node)[0].to_bits()).collect::<Vec<_>>());
        }
        shown
    };
    let first = shown(1.0);
    assert!(first == shown(1.0), "the second run differs from the first");
    assert!(first != shown(0.5));
    // Faded in, every picture shows the newest frame, and never one that came late.
    let newest = first[60..170].iter().map(|faces| f32::from_bits(faces[1])).collect::<Vec<_>>();
    let frames: Vec<f32> = (0..180).map(|i| 1.0 - jaw(i)).collect();
    let at = frames.iter().position(|value| near(*value, newest[0])).expect("a frame of the take");
    for (i, value) in newest.iter().enumerate() {
        assert!(near(*value, frames[at + i]), "picture {i}: {value} instead of {}", frames[at + i]);
    }
    let ann: Vec<f32> = first[60..170].iter().map(|faces| f32::from_bits(faces[0])).collect();
    let late = ann.iter().filter(|value| (0..18).any(|tens| near(**value, jaw(tens * 10 + 2)))).count();
    assert_eq!(late, 0, "frames that came late are not shown");
}

#[test]
fn take_pauses_seeks_steps_and_ends() {
    let (mut app, nodes) = app(&["Ann"]);
    let shown = |app: &App| weights(app, nodes[0])[0];
    let player = play(&mut app, recording(120), |_| {});
    #[derive(Resource, Default)]
    struct Marks(Vec<(Duration, String)>);
    app.init_resource::<Marks>().add_observer(|mark: On<TakeMark>, mut marks: ResMut<Marks>| {
        marks.0.push((mark.time, mark.text.clone()));
    });
    let second = Duration::from_secs(1);
    run(&mut app, second, || {});
    assert_eq!(*playback(&mut app, player).state(), TakeState::Playing);
    set(&mut app, player, |player| player.playing = false);
    run(&mut app, second / 2, || {});
    let held = shown(&app);
    let position = playback(&mut app, player).position();
    // Far longer than a face without frames is held.
    run(&mut app, 3 * second, || {});
    assert_eq!(*playback(&mut app, player).state(), TakeState::Paused);
    assert_eq!(playback(&mut app, player).position(), position);
    assert!(near(shown(&app), held), "{} instead of {held}", shown(&app));

    for i in [11, 91, 35] {
        playback(&mut app, player).seek(time(i) + FRAME / 4);
        run(&mut app, second, || {});
        assert!(near(shown(&app), jaw(i)), "at frame {i}: {} instead of {}", shown(&app), jaw(i));
    }
    playback(&mut app, player).step(2);
    run(&mut app, second, || {});
    assert!(near(shown(&app), jaw(37)), "two frames on: {}", shown(&app));
    playback(&mut app, player).step(-1);
    run(&mut app, second, || {});
    assert!(near(shown(&app), jaw(36)), "one back: {}", shown(&app));

    set(&mut app, player, |player| player.playing = true);
    run(&mut app, 3 * second, || {});
    assert_eq!(*playback(&mut app, player).state(), TakeState::Finished);
    assert!(app.world().resource::<FaceSubjects>().get("Ann").is_none(), "its subjects have left");
    let marks = &app.world().resource::<Marks>().0;
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!((marks[0].0.as_millis(), marks[0].1.as_str()), (time(60).as_millis(), "cut here"));
}

#[test]
fn take_is_looped_renamed_and_follows_the_game_clock() {
    let (mut app, nodes) = app(&["Double", "Bob"]);
    let player = play(&mut app, recording(60), |player| {
        player.looped = true;
        player.from = time(10);
        player.until = Some(time(40));
        player.clock = TakeClock::Game;
        player.subjects = vec![("Ann".to_owned(), "Double".to_owned())];
    });
    let mut positions = Vec::new();
    run(&mut app, Duration::from_secs(5), || {});
    for _ in 0..60 {
        app.update();
        positions.push(playback(&mut app, player).position());
    }
    let range = time(10)..=time(40);
    assert!(positions.iter().all(|position| range.contains(position)), "{positions:?}");
    assert!(positions.windows(2).any(|pair| pair[1] < pair[0]), "it begins again");
    assert_eq!(*playback(&mut app, player).state(), TakeState::Playing);
    assert!(app.world().resource::<FaceSubjects>().get("Double").is_some());
    for absent in ["Ann", "Bob"] {
        assert!(app.world().resource::<FaceSubjects>().get(absent).is_none(), "{absent} is not played");
    }

    app.world_mut().resource_mut::<Time<Virtual>>().pause();
    run(&mut app, Duration::from_millis(500), || {});
    let (held, position) = (weights(&app, nodes[0])[0], playback(&mut app, player).position());
    run(&mut app, Duration::from_secs(3), || {});
    assert_eq!(playback(&mut app, player).position(), position, "it waits with the game");
    assert!(near(weights(&app, nodes[0])[0], held), "and its face stays");

    app.world_mut().despawn(player);
    run(&mut app, Duration::from_secs(3), || {});
    assert!(
        app.world().resource::<FaceSubjects>().get("Double").is_none(),
        "a take that is gone takes its faces along"
    );
}

#[test]
fn take_files_are_assets() {
    let folder = tempfile::tempdir().expect("a folder");
    let frames = (0..60).map(|i| TakeFrame { time: FRAME * i, frame: frame(&[(JAW, jaw(i))]) }).collect();
    let take = Take::new(frames).expect("a take");
    let mut csv = Vec::new();
    llf_csv::encode(&take, llf_csv::CountName::default(), &mut csv).expect("is encoded");
    fs::write(folder.path().join("Cleo.csv"), csv).expect("is written");
    fs::write(folder.path().join("broken.mcap"), b"no take").expect("is written");
    let mut app = app_with(folder.path(), FaceLinkPlugin::without_sockets());
    let load = |app: &App, file: &str| app.world().resource::<AssetServer>().load::<FaceTake>(file.to_owned());
    let (good, broken) = (load(&app, "Cleo.csv"), load(&app, "broken.mcap"));
    let limit = Instant::now() + LIMIT;
    while app.world().resource::<Assets<FaceTake>>().get(&good).is_none()
        || !app.world().resource::<AssetServer>().load_state(&broken).is_failed()
    {
        assert!(Instant::now() < limit, "the files are not loaded");
        app.update();
    }
    let loaded = app.world().resource::<Assets<FaceTake>>().get(&good).expect("it is loaded").info().clone();
    assert_eq!(loaded.subjects.len(), 1);
    assert_eq!((&*loaded.subjects[0].name, loaded.subjects[0].frames), ("Cleo", 60));
    let player = app.world_mut().spawn(TakePlayer::new(good)).id();
    while app.world().resource::<FaceSubjects>().get("Cleo").is_none() {
        assert!(Instant::now() < limit, "the take is not played");
        app.update();
    }
    assert_eq!(*playback(&mut app, player).state(), TakeState::Playing);
}

#[test]
fn own_frames_are_recorded_with_those_of_the_network() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("own.mcap");
    let (mut app, _addresses) = live_app();
    let start = |app: &App| app.world().resource::<FaceLinkEndpoint>().start_take(options(&file)).map(|_| ());
    fn options(file: &std::path::Path) -> TakeOptions {
        TakeOptions { file: Some(file.to_owned()), ..TakeOptions::default() }
    }
    let input = app.world().resource::<FaceInput>().clone();
    let send = |app: &mut App, value: f32| {
        input.send("Ghost", frame(&[(JAW, value)])).expect("finite");
        app.update();
    };
    send(&mut app, 0.125);
    start(&app).expect("begins");
    let values = [0.25, 0.5, 0.75];
    for value in values {
        send(&mut app, value);
    }
    input.lose("Ghost");
    app.update();
    let status = app.world().resource::<FaceLinkEndpoint>().stop_take().expect("ends");
    assert_eq!(status.dropped, 0);

    let mut reader = TakeReader::open(fs::File::open(&file).expect("the file")).expect("a take");
    let (mut recorded, mut lost) = (Vec::new(), 0);
    while let Some(entry) = reader.next_entry().expect("is read") {
        match entry.content {
            TakeContent::Frame(frame) => {
                assert_eq!((&*frame.name, frame.source), ("Ghost", SourceKind::Custom));
                recorded.push(frame.frame.weights[JAW.index()]);
            }
            TakeContent::Event(LinkEvent::SubjectLost { name, .. }) => lost += u32::from(&*name == "Ghost"),
            _ => {}
        }
    }
    assert_eq!((recorded, lost), (values.to_vec(), 1), "what was sent before the take is not in it");
}
