//! Takes that are played in the engine.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::UdpSocket,
    path::Path,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use bevy_facelink::{
    AvatarMapping, BindReport, FaceAvatar, FaceInput, FaceLinkEndpoint, FaceLinkPlugin, FacePlayout, FaceRecorder,
    FaceSettings, FaceSubjects, FaceTake, TakeClock, TakeMark, TakePlayback, TakePlayer, TakeState,
    facelink::{
        Blendshape, FaceFrame,
        event::{LinkEvent, SubjectFrame, SubjectId},
        mapping::{Format, Mapping},
        performer::Performance,
        source::SourceKind,
        take::{Take, TakeAbout, TakeContent, TakeFrame, TakeReader, TakeWriter, llf_csv},
        timing::Stamp,
        wire::llf,
    },
    net::{Client, ClientConfig, TakeOptions},
};
use serde_json::json;

use crate::live::live_app;
use crate::support::{FRAME, LIMIT, Sender, app_with, fed_app, frame, near, run, spawn_node, update_until, weights};

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
    fn options(file: &Path) -> TakeOptions {
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

#[test]
fn recorder_works_from_a_system_and_without_an_endpoint() {
    #[derive(Resource, Default)]
    struct Done(Vec<Result<(), String>>);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.mcap");
    let step = move |recorder: FaceRecorder, mut done: ResMut<Done>| {
        let options = TakeOptions { file: Some(file.clone()), ..TakeOptions::default() };
        let result = match done.0.len() % 3 {
            0 => recorder.start(options).map(drop),
            1 => recorder.mark("here"),
            _ => recorder.stop(),
        };
        done.0.push(result.map_err(|error| error.to_string()));
    };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, FaceLinkPlugin::without_sockets())).init_resource::<Done>();
    app.add_systems(Update, step.clone());
    app.update();
    let refused = "the network's endpoint does not run, which has to do this".to_owned();
    assert_eq!(app.world().resource::<Done>().0, [Err(refused)]);

    let (mut app, _addresses) = live_app();
    app.init_resource::<Done>().add_systems(Update, step);
    (0..3).for_each(|_| app.update());
    assert_eq!(app.world().resource::<Done>().0, [Ok(()), Ok(()), Ok(())]);
}

#[test]
fn take_has_the_avatars_and_mappings_of_the_game() {
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in [
        ("own.face.ron", r#"(include: ["auto", "more/base.face.ron"], mirror: true)"#),
        ("more/base.face.ron", r#"(rules: [(from: "jawOpen", to: "Tail")])"#),
    ] {
        let file = folder.path().join(file);
        fs::create_dir_all(file.parent().expect("a folder")).expect("is made");
        fs::write(file, text).expect("is written");
    }
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None);
    let mut app = app_with(folder.path(), plugin);
    let node = spawn_node(app.world_mut(), "Hero", &["jawOpen", "Tail"]);
    let mapping = AvatarMapping(app.world().resource::<AssetServer>().load("own.face.ron"));
    app.world_mut().entity_mut(node).insert((FaceAvatar::of("Ann"), mapping));
    update_until(&mut app, "its own mapping", |app| {
        app.world().get::<BindReport>(node).is_some_and(|report| report.problem.is_none() && report.unused.is_empty())
    });
    app.update();

    let file = folder.path().join("a.mcap");
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    endpoint.start_take(TakeOptions { file: Some(file.clone()), ..TakeOptions::default() }).expect("begins");
    endpoint.stop_take().expect("ends");
    let mut reader = TakeReader::open(fs::File::open(&file).expect("the file")).expect("a take");
    let mut attached = |name: &str| reader.attachment(name).expect("is there");
    let avatars: serde_json::Value = serde_json::from_slice(&attached("avatars.json")).expect("JSON");
    let avatar = &avatars[0];
    assert_eq!(avatar["avatar"], "Hero");
    assert_eq!(
        (&avatar["subject"], &avatar["preset"], &avatar["mapping"]),
        (&"Ann".into(), &"arkit".into(), &"mappings/own.face.ron".into())
    );
    let mut mapping = |name: &str| {
        let text = String::from_utf8(attached(name)).expect("text");
        Mapping::read(&text, Format::Ron).expect("a mapping")
    };
    assert!(mapping("mappings/own.face.ron").mirror);
    assert_eq!(mapping("mappings/more/base.face.ron").rules.len(), 1);
}

/// Four senders of different kinds into one endpoint, over paths that lose and reorder datagrams.
fn record_four_sources(file: &Path) -> Vec<String> {
    let (mut app, addresses) = live_app();
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    endpoint.start_take(TakeOptions { file: Some(file.to_owned()), ..TakeOptions::default() }).expect("begins");
    let runtime = endpoint.runtime().expect("runs").clone();
    let rtc = Client::start(ClientConfig::new(format!("ws://{}", addresses.http)).subject("Rtc"), &runtime);
    let websocket = Sender::connect(&app);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let (phone, json) = (addresses.live_link_face.expect("listens"), addresses.udp_json.expect("listens"));
    let faces = [1, 2, 3, 4].map(Performance::new);
    let mut held: Option<Vec<u8>> = None;
    let mut number = 0;
    let names = ["iPhone", "Json", "Rtc", "Ws"];
    update_until(&mut app, "four sources in the take", |app| {
        number += 1;
        let frames = faces.each_ref().map(|face| face.frame_at(FRAME * number));
        let shapes = |frame: &FaceFrame| {
            Blendshape::ALL
                .iter()
                .map(|shape| (shape.name().to_owned(), frame.weights[shape.index()].into()))
                .collect::<serde_json::Map<_, _>>()
        };
        let mut bytes = Vec::new();
        let packet = llf::LlfPacket::new("A", names[0], number as i32, frames[0].clone());
        llf::encode(&packet, &llf::PROFILE, &mut bytes).expect("encodes");
        // Of seven datagrams one is lost, and one comes after the one that follows it.
        match number % 7 {
            2 => {}
            4 => held = Some(bytes),
            _ => {
                socket.send_to(&bytes, phone).expect("sent");
                if let Some(late) = held.take() {
                    socket.send_to(&late, phone).expect("sent");
                }
            }
        }
        if number % 5 != 3 {
            let line = json!({"subject": names[1], "blendshapes": shapes(&frames[1])}).to_string();
            socket.send_to(line.as_bytes(), json).expect("sent");
        }
        rtc.send(frames[2].clone());
        websocket.send(
            &json!({"type": "arkit_data", "subject": names[3], "frame": number, "blendshapes": shapes(&frames[3])})
                .to_string(),
        );
        std::thread::sleep(Duration::from_millis(4));
        let faces = app.world().resource::<FaceSubjects>();
        let there = names.iter().all(|name| faces.get(name).is_some());
        there && app.world().resource::<FaceLinkEndpoint>().take_status().is_some_and(|take| take.frames > 1200)
    });
    let status = app.world().resource::<FaceLinkEndpoint>().stop_take().expect("ends");
    assert_eq!((status.dropped, status.error), (0, None));
    names.map(ToOwned::to_owned).to_vec()
}

#[test]
fn take_of_four_sources_replays_bit_for_bit() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("four.mcap");
    let names = record_four_sources(&file);
    let take = FaceTake::from_mcap(fs::read(&file).expect("the file")).expect("a take");
    let info = take.info();
    assert_eq!(info.subjects.len(), 4, "{info:?}");
    let phone = info.subjects.iter().find(|subject| *subject.name == *names[0]).expect("the phone");
    assert!(phone.lost > 0 && phone.late > 0, "{phone:?}");

    let shapes: Vec<&str> = Blendshape::ALL.iter().map(|shape| shape.name()).collect();
    let pictures = (info.duration.as_nanos() / FRAME.as_nanos()) as usize + 60;
    let shown = |speed: f64| {
        let (mut app, _faces) = fed_app();
        let nodes: Vec<_> = names
            .iter()
            .map(|name| {
                let node = spawn_node(app.world_mut(), name, &shapes);
                app.world_mut().entity_mut(node).insert(FaceAvatar::of(name));
                node
            })
            .collect();
        play(&mut app, take.clone(), |player| player.speed = speed);
        let (mut hash, mut moved) = (DefaultHasher::new(), 0);
        for _ in 0..pictures {
            app.update();
            for node in &nodes {
                let weights = weights(&app, *node);
                moved += usize::from(weights.iter().any(|weight| *weight > 0.1));
                weights.iter().for_each(|weight| weight.to_bits().hash(&mut hash));
            }
        }
        assert!(moved > pictures, "the faces move: {moved} of {pictures} pictures of four avatars");
        hash.finish()
    };
    let first = shown(1.0);
    assert_eq!(first, shown(1.0), "the same weights, bit for bit");
    assert_ne!(first, shown(0.5));
}
