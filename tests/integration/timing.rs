//! Playout and the adaptive-FPS system in real Apps.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bevy::prelude::*;
use bevy_facelink::{
    AdaptiveFps, FaceAvatar, FaceBudget, FaceDetail, FaceLinkEndpoint, FaceLinkPlugin, FaceLoad, FacePlayout, FacePose,
    FaceSubject, FaceSubjects, FaceTimecode, LinkQuality, PlayoutQuality, facelink::Blendshape,
};

use crate::support::{FRAME, LIMIT, Sender, app_with, fed_app, frame, run, spawn_node, update_until, weights};

fn live() -> App {
    app_with(std::path::Path::new("assets"), FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None))
}

fn unix() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64()
}

/// A face that opens and closes its mouth each second, captured `ago` seconds before it is sent.
fn send(sender: &Sender, subject: &str, ago: f64) {
    let at = unix() - ago;
    let jaw = 0.5 - 0.5 * (at * std::f64::consts::TAU).cos();
    sender.send(&format!(
        r#"{{"type":"arkit_data","subject":"{subject}","timestamp":{at},"blendshapes":{{"jawOpen":{jaw}}}}}"#
    ));
}

fn subject(app: &App, name: &str) -> Option<Entity> {
    app.world().resource::<FaceSubjects>().get(name)
}

/// Sends about 60 times a second while the App runs, until `done`.
fn stream(app: &mut App, what: &str, mut send: impl FnMut(), mut done: impl FnMut(&mut App) -> bool) {
    let end = Instant::now() + LIMIT;
    let mut next = Instant::now();
    while !done(app) {
        assert!(Instant::now() < end, "no {what} in time");
        if Instant::now() >= next {
            next += Duration::from_micros(16_667);
            send();
        }
        app.update();
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
fn playout_modes_show_the_face_of_their_time() {
    let mut app = live();
    let sender = Sender::connect(&app);
    stream(&mut app, "subject", || send(&sender, "Ann", 0.0), |app| subject(app, "Ann").is_some());
    let ann = subject(&app, "Ann").expect("is there");
    for (playout, min_ms, max_ms) in [
        (FacePlayout::fixed(0.3), 299.0, 301.0),
        (FacePlayout::fixed(0.1), 99.0, 101.0),
        // A core that does something else makes frames late, and then the delay grows.
        (FacePlayout::default(), 5.0, 149.0),
    ] {
        app.world_mut().entity_mut(ann).insert(playout);
        let mut settled = 0;
        stream(
            &mut app,
            &format!("delay of {min_ms} to {max_ms} ms"),
            || send(&sender, "Ann", 0.0),
            |app| {
                let quality = *app.world().get::<PlayoutQuality>(ann).expect("playout statistics");
                let near = (quality.delay_ms - quality.target_ms).abs() < 5.0
                    && (min_ms..=max_ms).contains(&quality.target_ms);
                settled = if near { settled + 1 } else { 0 };
                settled > 30
            },
        );
        // What is shown is what was true then.
        let pose = app.world().get::<FacePose>(ann).expect("a pose");
        let at = pose.captured.expect("it has a place in time").as_secs_f64();
        let truth = 0.5 - 0.5 * (at * std::f64::consts::TAU).cos();
        let shown = f64::from(pose.weight(Blendshape::JawOpen));
        assert!((shown - truth).abs() < 0.1, "{shown} at {at}, which was {truth}");
    }
    app.world_mut().entity_mut(ann).insert(FacePlayout::latest());
    stream(
        &mut app,
        "newest frame",
        || send(&sender, "Ann", 0.0),
        |app| app.world().get::<PlayoutQuality>(ann).expect("playout statistics").target_ms == 0.0,
    );
    app.world_mut().entity_mut(ann).remove::<FacePlayout>();
    let quality = app.world().get::<PlayoutQuality>(ann).expect("playout statistics");
    assert!(quality.shown_fps > 5.0, "{quality:?}");
}

#[test]
fn timecoded_subjects_share_one_presentation_time() {
    let mut app = live();
    let sender = Sender::connect(&app);
    // Bob's network delay is 120 ms longer; their clocks agree.
    let both = || {
        send(&sender, "Ann", 0.0);
        send(&sender, "Bob", 0.12);
    };
    stream(&mut app, "subjects", both, |app| subject(app, "Ann").is_some() && subject(app, "Bob").is_some());
    let pair = ["Ann", "Bob"].map(|name| subject(&app, name).expect("is there"));
    for entity in pair {
        app.world_mut().entity_mut(entity).insert(FacePlayout::timecode());
    }
    let apart = |app: &App| {
        let [ann, bob] = pair.map(|entity| app.world().get::<FacePose>(entity).expect("a pose").captured);
        Some(ann?.as_secs_f64() - bob?.as_secs_f64())
    };
    let mut together = 0;
    stream(&mut app, "two faces in step", both, |app| {
        let near = apart(app).is_some_and(|apart| apart.abs() < 0.004);
        together = if near { together + 1 } else { 0 };
        together > 30
    });
    let presentation_time =
        app.world().resource::<FaceTimecode>().presentation_time.expect("both send timecode").as_secs_f64();
    // Late enough for Bob.
    assert!((0.12..5.0).contains(&(unix() - presentation_time)), "{}", unix() - presentation_time);

    // The game's own clock leads, a second behind.
    let mut together = 0;
    stream(&mut app, "faces at the game's moment", both, |app| {
        let moment = Duration::from_secs_f64(unix() - 0.4);
        app.world_mut().resource_mut::<FaceTimecode>().reference = Some(moment);
        let captured = pair.map(|entity| app.world().get::<FacePose>(entity).expect("a pose").captured);
        let near =
            captured.iter().all(|at| at.is_some_and(|at| (at.as_secs_f64() - moment.as_secs_f64()).abs() < 0.03));
        together = if near { together + 1 } else { 0 };
        together > 20
    });
}

fn camera(app: &mut App) {
    let projection = Projection::Perspective(PerspectiveProjection { fov: 0.8, aspect_ratio: 1.0, ..default() });
    let eye = GlobalTransform::from(Transform::from_xyz(0.0, 0.0, 0.0));
    // Looks along -Z. What the camera plugin of a game keeps up to date.
    let frustum = projection.compute_frustum(&eye);
    app.world_mut().spawn((Camera::default(), eye, frustum, projection));
}

fn avatar_at(app: &mut App, name: &str, place: Vec3) -> (Entity, Entity) {
    let node = spawn_node(app.world_mut(), "Head", &["jawOpen"]);
    let root = app.world_mut().spawn(Transform::from_translation(place)).id();
    app.world_mut().entity_mut(root).add_child(node);
    app.world_mut().entity_mut(root).insert(FaceAvatar::of(name));
    (root, node)
}

#[test]
fn small_faces_are_evaluated_less_often_and_move_evenly() {
    let (mut app, faces) = fed_app();
    camera(&mut app);
    let (near, near_node) = avatar_at(&mut app, "Ann", Vec3::new(0.0, 0.0, -1.0));
    let (far, far_node) = avatar_at(&mut app, "Ann", Vec3::new(0.0, 0.0, -25.0));
    let (behind, behind_node) = avatar_at(&mut app, "Ann", Vec3::new(0.0, 0.0, 5.0));
    let mut jaw = 0.0;
    let mut feed = || {
        // Half a second up.
        jaw = (jaw + 1.0_f32 / 30.0).min(1.0);
        faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, jaw)]));
    };
    run(&mut app, FRAME * 10, &mut feed);
    let detail = |app: &App, avatar: Entity| *app.world().get::<FaceDetail>(avatar).expect("has it");
    assert_eq!((detail(&app, near).every, detail(&app, near).on_screen), (1, true));
    assert!(detail(&app, far).every >= 3 && detail(&app, far).on_screen, "{:?}", detail(&app, far));
    assert!(!detail(&app, behind).on_screen);
    let load = *app.world().resource::<FaceLoad>();
    assert_eq!((load.avatars, load.full, load.off_screen), (3, 1, 1));

    let mut last = weights(&app, far_node)[0];
    let mut steps = Vec::new();
    for _ in 0..16 {
        run(&mut app, FRAME, &mut feed);
        let now = weights(&app, far_node)[0];
        steps.push(now - last);
        last = now;
    }
    assert!(
        steps.iter().all(|step| (0.02..0.08).contains(step)),
        "a face far away moves in every rendered frame: {steps:?}"
    );
    run(&mut app, FRAME * 60, &mut feed);
    for node in [near_node, far_node, behind_node] {
        assert!((weights(&app, node)[0] - 1.0).abs() < 1e-3, "{:?}", weights(&app, node));
    }

    // By hand, and without a budget.
    app.world_mut().get_mut::<FaceDetail>(far).expect("has it").fixed = Some(1);
    run(&mut app, FRAME, &mut feed);
    assert_eq!(detail(&app, far).every, 1);
    app.world_mut().resource_mut::<FaceBudget>().enabled = false;
    run(&mut app, FRAME, &mut feed);
    assert_eq!(detail(&app, behind).every, 1);
}

#[test]
fn exceeded_budget_spares_the_nearest() {
    let (mut app, faces) = fed_app();
    camera(&mut app);
    // Nothing fits into this.
    *app.world_mut().resource_mut::<FaceBudget>() = FaceBudget { ms: 1e-6, nearest: 2, ..default() };
    let avatars: Vec<_> =
        (0..6).map(|i| avatar_at(&mut app, "Ann", Vec3::new(0.0, 0.0, -0.7 - 0.2 * i as f32)).0).collect();
    run(&mut app, Duration::from_secs(3), || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.5)])));
    let every: Vec<_> =
        avatars.iter().map(|avatar| app.world().get::<FaceDetail>(*avatar).expect("has it").every).collect();
    assert_eq!(every[..2], [1, 1], "{every:?}");
    assert!(every[2..].iter().all(|every| *every > 3), "{every:?}");
    app.world_mut().resource_mut::<FaceBudget>().ms = 100.0;
    run(&mut app, Duration::from_secs(20), || faces.send(1, "Ann", frame(&[(Blendshape::JawOpen, 0.5)])));
    assert!(avatars.iter().all(|avatar| app.world().get::<FaceDetail>(*avatar).expect("has it").every == 1));
}

#[test]
fn senders_of_unseen_faces_are_asked_for_less() {
    let mut app = live();
    camera(&mut app);
    let (avatar, _) = avatar_at(&mut app, "Ann", Vec3::new(0.0, 0.0, 5.0));
    let sender = Sender::connect(&app);
    let both = || {
        send(&sender, "Ann", 0.0);
        send(&sender, "Bob", 0.0);
    };
    let asked = |app: &App, name: &str| {
        let entity = subject(app, name)?;
        let id = app.world().get::<FaceSubject>(entity)?.id()?;
        let stats = app.world().resource::<FaceLinkEndpoint>().stats();
        stats.subjects.iter().find(|subject| subject.id == id).map(|subject| subject.target_fps)
    };
    stream(&mut app, "low rates", both, |app| asked(app, "Ann") == Some(10.0) && asked(app, "Bob") == Some(10.0));
    // It comes into sight.
    app.world_mut().get_mut::<Transform>(avatar).expect("has one").translation.z = -1.0;
    stream(&mut app, "a full rate", both, |app| asked(app, "Ann").is_some_and(|fps| fps > 10.0));
    assert_eq!(asked(&app, "Bob"), Some(10.0));
    // By hand.
    app.world_mut().resource_mut::<AdaptiveFps>().engine = false;
    stream(&mut app, "what the network gives", both, |app| asked(app, "Bob").is_some_and(|fps| fps > 10.0));
    let bob = subject(&app, "Bob").expect("is there");
    update_until(&mut app, "link statistics", |app| {
        app.world().get::<LinkQuality>(bob).is_some_and(|link| link.fps > 0.0)
    });
}
