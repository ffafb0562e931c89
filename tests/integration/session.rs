//! A session's file: what it sets up, its changes, and writing it.

use std::{fs, path::Path};

use bevy::{gltf::Gltf, prelude::*};
use bevy_facelink::{
    AvatarMapping, EndpointSettings, EndpointState, FaceAvatar, FaceBudget, FaceGestures, FaceLinkEndpoint,
    FaceLinkPlugin, FacePlayout, FacePose, FaceSession, FaceSettings, FaceSubjects, OpenSession, PlayoutMode,
    SaveSession, SessionEntity, TakePlayer, VirtualSubject,
    facelink::{
        Blendshape,
        session_file::{SessionFile, changes},
        subject::SubjectRules,
    },
};

use crate::support::{app_with, update_until};

const SHOW: &str = r#"(
    name: "Show",
    network: (
        port: 0, live_link_face: 0, udp_json: 0,
        vmc_out: [(to: "127.0.0.1:9", subject: "Hero")], vrchat_out: [(to: "127.0.0.1:9", prefix: "FT/")],
    ),
    gestures: Rules((without: ["smile"])),
    simulated_phones: [(app: live_link_face, subject: "Ann", seed: 1), (app: udp_json, subject: "Bob", seed: 2)],
    virtual_subjects: [(name: "Hero", parts: [(subject: "Ann"), (subject: "Bob", groups: ["jaw"], priority: 1)])],
    avatars: [
        (name: "left", subject: "Hero", mapping: "m.face.ron", gain: 0.5),
        (name: "right", model: "absent.glb", subject: "Bob", position: (1, 0, 0), yaw: 90, scale: 2),
    ],
    takes: [(file: "a.mcap", looped: true, speed: 0.5)],
    playout: (mode: Fixed(80)),
    subjects: { "Ann": (playout: (mode: Latest)) },
    budget: (ms: 2),
)"#;

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("show.facelink.ron"), text).unwrap();
}

/// An app with this session's file, and an avatar called "left".
fn app(folder: &Path) -> (App, Entity) {
    let mut app = app_with(folder, FaceLinkPlugin::default().session("show.facelink.ron"));
    app.init_asset::<Gltf>();
    let left = app.world_mut().spawn((Name::new("left"), FaceAvatar::default())).id();
    (app, left)
}

fn applied(app: &App) -> SessionFile {
    app.world().resource::<FaceSession>().applied().cloned().unwrap_or_default()
}

fn named(app: &mut App, place: &str) -> Option<Entity> {
    let mut spawned = app.world_mut().query::<(Entity, &SessionEntity)>();
    spawned.iter(app.world()).find(|(_, entity)| entity.0 == place).map(|(entity, _)| entity)
}

#[test]
fn session_file_sets_everything_up() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), SHOW);
    let (mut app, left) = app(folder.path());
    assert!(!app.world().contains_resource::<FaceLinkEndpoint>(), "the endpoint waits for the file");
    let jaw = |app: &App, name: &str| {
        let subjects = app.world().resource::<FaceSubjects>();
        let pose = subjects.get(name).and_then(|entity| app.world().get::<FacePose>(entity));
        pose.map_or(0.0, |pose| pose.weights[Blendshape::JawOpen.index()])
    };
    update_until(&mut app, "faces of the simulated phones, merged", |app| {
        jaw(app, "Ann") > 0.05 && jaw(app, "Bob") > 0.05 && jaw(app, "Hero") > 0.05
    });

    let world = app.world();
    let settings = &world.resource::<EndpointSettings>().0;
    assert_eq!((settings.vmc_out.len(), settings.vrchat_out.len()), (1, 1));
    assert_eq!(world.resource::<FaceGestures>().set().unwrap().without, ["smile"]);
    assert!(
        matches!(world.resource::<FaceSettings>().playout.mode, PlayoutMode::Fixed(delay) if delay.as_millis() == 80)
    );
    assert_eq!(world.resource::<FaceBudget>().ms, 2.0);
    let ann = world.resource::<FaceSubjects>().get("Ann").unwrap();
    assert_eq!(world.get::<FacePlayout>(ann).unwrap().mode, PlayoutMode::Latest);
    let bob = world.resource::<FaceSubjects>().get("Bob").unwrap();
    assert!(world.get::<FacePlayout>(bob).is_none());
    let avatar = world.get::<FaceAvatar>(left).unwrap();
    assert_eq!((avatar.subject.as_deref(), avatar.gain), (Some("Hero"), 0.5));
    assert!(world.get::<AvatarMapping>(left).is_some());

    let right = named(&mut app, "avatars[right]").unwrap();
    let transform = app.world().get::<Transform>(right).unwrap();
    assert_eq!((transform.translation, transform.scale), (Vec3::X, Vec3::splat(2.0)));
    assert!((transform.rotation * Vec3::Z).abs_diff_eq(Vec3::X, 1e-6), "a quarter to its left");
    let take = named(&mut app, "takes[a.mcap]").unwrap();
    let player = app.world().get::<TakePlayer>(take).unwrap();
    assert!(player.looped && player.speed == 0.5);
}

#[test]
fn session_file_that_changes_changes_the_game() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), SHOW);
    let (mut app, left) = app(folder.path());
    update_until(&mut app, "session", |app| app.world().contains_resource::<FaceLinkEndpoint>());
    let (right, http) = (named(&mut app, "avatars[right]").unwrap(), app.world().resource::<FaceLinkEndpoint>().http());

    write(folder.path(), "(avatars: [(name: \"left\", gain: ");
    update_until(&mut app, "problem", |app| app.world().resource::<FaceSession>().problem().is_some());
    let problem = app.world().resource::<FaceSession>().problem().unwrap().to_owned();
    assert!(problem.contains("show.facelink.ron") && problem.contains("line 1"), "{problem}");
    assert_eq!(named(&mut app, "avatars[right]"), Some(right), "a file that cannot be read changes nothing");

    let after = SHOW.replace("gain: 0.5", "gain: 0.75, head: false").replace("yaw: 90", "yaw: 0");
    let after = after.replace("name: \"Hero\", parts: [(subject: \"Ann\"), ", "name: \"Hero\", parts: [");
    let after = after.replace("subjects: { ", "subjects: { \"Bob\": (as: \"Bobby\"), \"Cleo\": (enabled: false), ");
    write(folder.path(), &after.replace("(file: \"a.mcap\", looped: true, speed: 0.5)", ""));
    update_until(&mut app, "change", |app| applied(app).takes.is_empty());
    assert_eq!(app.world().resource::<FaceSession>().problem(), None);
    let avatar = app.world().get::<FaceAvatar>(left).unwrap();
    assert!(avatar.gain == 0.75 && !avatar.drive_head);
    assert_eq!(named(&mut app, "avatars[right]"), Some(right), "it stays");
    assert_eq!(app.world().get::<Transform>(right).unwrap().rotation, Quat::IDENTITY);
    assert_eq!(named(&mut app, "takes[a.mcap]"), None);
    let hero = named(&mut app, "virtual_subjects[Hero]").unwrap();
    assert_eq!(app.world().get::<VirtualSubject>(hero).unwrap().parts().len(), 1);
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    assert_eq!(endpoint.http(), http, "the endpoint was not started anew");
    assert_eq!(endpoint.subject_rules(), applied(&app).subject_rules());
    update_until(&mut app, "new name", |app| app.world().resource::<FaceSubjects>().get("Bobby").is_some());

    write(folder.path(), "(network: (port: 0, live_link_face: None, udp_json: None))");
    update_until(&mut app, "another endpoint", |app| {
        app.world().get_resource::<FaceLinkEndpoint>().is_some_and(|endpoint| endpoint.phone_ports().is_empty())
    });
    assert_eq!(named(&mut app, "avatars[right]"), None);
    assert!(app.world().get::<FaceAvatar>(left).is_some(), "the game's own avatar stays");
}

#[test]
fn session_that_was_changed_is_written() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), SHOW);
    let (mut app, left) = app(folder.path());
    update_until(&mut app, "session", |app| app.world().contains_resource::<FaceLinkEndpoint>());
    let world = app.world_mut();
    let now = world.resource::<FaceSession>().changes(world);
    assert_eq!(now, Vec::<String>::new());

    world.get_mut::<FaceAvatar>(left).unwrap().gain = 1.25;
    world.resource_mut::<FaceBudget>().nearest = 9;
    let mut rules = SubjectRules::default();
    rules.call("Ann", "Anna").unwrap();
    rules.set_enabled("Cleo", false).unwrap();
    world.resource::<FaceLinkEndpoint>().set_subject_rules(rules);
    world.spawn((Name::new("third"), FaceAvatar::of("Cleo")));
    let now = world.resource::<FaceSession>().changes(world);
    assert_eq!(
        now,
        [
            "avatars[left].gain: 0.5 -> 1.25",
            "avatars[third]: added",
            "budget.nearest: 4 -> 9",
            "subjects.Ann.as: default -> \"Anna\"",
            "subjects.Cleo: default -> {\"enabled\":false}",
        ]
    );

    world.trigger(SaveSession::default());
    world.flush();
    let text = fs::read_to_string(folder.path().join("show.facelink.ron")).unwrap();
    let written = SessionFile::read(&text).unwrap().file;
    assert_eq!((written.avatars[0].gain, written.budget.unwrap().nearest), (1.25, 9));
    let before = SessionFile::read(SHOW).unwrap().file;
    assert_eq!(changes(&before, &written).len(), 5, "all else is as it was: {text}");

    app.world_mut().trigger(SaveSession { path: Some("copy.facelink.ron".to_owned()) });
    app.world_mut().flush();
    assert_eq!(app.world().resource::<FaceSession>().path(), Some("copy.facelink.ron"));
    assert!(folder.path().join("copy.facelink.ron").is_file());
}

#[test]
fn session_without_its_file_or_secret_listens_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(None).session("absent.facelink.ron");
    let mut app = app_with(folder.path(), plugin);
    update_until(&mut app, "endpoint", |app| app.world().resource::<EndpointState>().is_running());
    assert!(app.world().resource::<FaceSession>().problem().is_some());

    // Nor is there a loader for models here.
    let network = r#"network: (port: 0, live_link_face: None, udp_json: None, token: File("absent"))"#;
    write(folder.path(), &format!(r#"({network}, avatars: [(name: "a", model: "a.glb")])"#));
    app.world_mut().trigger(OpenSession { path: "show.facelink.ron".to_owned() });
    update_until(&mut app, "problem with the token", |app| {
        app.world().resource::<FaceSession>().problem().is_some_and(|problem| problem.contains("network.token"))
    });
    assert!(app.world().resource::<EndpointState>().is_running());
    assert_eq!(named(&mut app, "avatars[a]"), None);
}
