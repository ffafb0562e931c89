//! Apps that dial others and send faces of their own, over real sockets.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use bevy::{mesh::morph::MorphWeights, prelude::*};
use bevy_facelink::{
    FaceDial, FaceLinkEndpoint, FaceLinkPlugin, FacePose, FaceSource, FaceSubjects, LinkQuality, RequestedFps,
    SendFace, SendFaceState, SourceQuality, SourceState,
    facelink::{Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose},
};
use facelink_net::{Addresses, Client, ClientConfig, SourceKind};
use serde_json::json;

use crate::{
    live::{get, live_app, live_avatar},
    support::{fed_app, near, spawn_node, update_until},
};

fn jaw(app: &App, node: Entity) -> f32 {
    app.world().get::<MorphWeights>(node).expect("weights").weights()[0]
}

fn state(app: &App, source: Entity) -> SourceState {
    app.world().get::<FaceSource>(source).expect("a source").state.clone()
}

/// A node whose weights the game itself sets, and sends.
fn actor(app: &mut App, name: &str, targets: &[&str], weights: &[f32]) -> Entity {
    let node = spawn_node(app.world_mut(), "Actor", targets);
    let mut morphs = app.world_mut().get_mut::<MorphWeights>(node).expect("weights");
    morphs.weights_mut().copy_from_slice(weights);
    app.world_mut().entity_mut(node).insert(SendFace::new(name));
    node
}

fn dial(app: &mut App, dial: FaceDial) -> Entity {
    app.world_mut().spawn(dial).id()
}

fn url(addresses: &Addresses) -> String {
    format!("ws://{}", addresses.http)
}

#[test]
fn two_games_exchange_faces() {
    let ((mut host, host_addresses), (mut guest, guest_addresses)) = (live_app(), live_app());
    let host_node = live_avatar(&mut host, "Guest", &["jawOpen", "eyeBlinkLeft"]);
    let guest_node = live_avatar(&mut guest, "Host", &["jawOpen", "tail"]);
    actor(&mut host, "Host", &["jawOpen", "tail"], &[0.25, 0.5]);
    actor(&mut guest, "Guest", &["eyeBlink_L", "JawOpen"], &[1.0, 0.75]);
    let source = dial(&mut guest, FaceSource::connect(url(&host_addresses)));
    assert_eq!(state(&guest, source), SourceState::Connecting);

    update_until(&mut guest, "both faces over WebRTC", |guest| {
        host.update();
        let source = guest.world().get::<FaceSource>(source).expect("a source");
        let tail = guest.world().get::<MorphWeights>(guest_node).expect("weights").weights()[1];
        let blink = host.world().get::<MorphWeights>(host_node).expect("weights").weights()[1];
        // A target that is no shape goes by its own name.
        near(jaw(&host, host_node), 0.75)
            && near(blink, 1.0)
            && near(jaw(guest, guest_node), 0.25)
            && near(tail, 0.5)
            && source.state == SourceState::Connected
            && source.kind == Some(SourceKind::WebRtc)
    });
    update_until(&mut guest, "the statistics", |guest| {
        host.update();
        let quality = guest.world().get::<SourceQuality>(source).expect("statistics");
        quality.message_count > 0 && quality.rtt_ms.is_some() && quality.data_channel_state == "open"
    });
    // The guest's own face does not come back to it, and the dialled endpoint is one source, not two.
    let subjects = get(&guest_addresses, "/api/v1/subjects");
    let names: Vec<_> = subjects["subjects"].as_array().expect("a list").iter().map(|s| &s["name"]).collect();
    assert_eq!(names, [&json!("Guest"), &json!("Host")], "its own, as it goes out, and the other");
    assert_eq!(guest.world().resource::<FaceSubjects>().len(), 1);
    assert_eq!(guest.world_mut().query::<&FaceSource>().iter(guest.world()).count(), 1);
    update_until(&mut host, "the move to WebRTC at the host", |host| {
        guest.update();
        let at_host = host.world_mut().query::<&FaceSource>().iter(host.world()).next().expect("the guest");
        (&at_host.state, at_host.kind) == (&SourceState::Connected, Some(SourceKind::WebRtc))
    });

    guest.world_mut().despawn(source);
    update_until(&mut host, "the guest's farewell", |host| {
        guest.update();
        host.world().resource::<FaceSubjects>().is_empty()
            && host.world_mut().query::<&FaceSource>().iter(host.world()).count() == 0
    });
}

#[test]
fn dialled_endpoint_that_starts_later_is_connected() {
    let (mut app, _) = live_app();
    let port = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let source = dial(&mut app, FaceSource::connect(format!("127.0.0.1:{port}")).subject("Early"));
    update_until(&mut app, "a reason", |app| matches!(state(app, source), SourceState::Waiting { .. }));
    let start = || {
        let mut other = App::new();
        let plugin = FaceLinkPlugin::default().port(port).live_link_face(None).udp_json(None);
        other.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
        other
    };
    for _ in 0..2 {
        let other = start();
        update_until(&mut app, "a connection", |app| state(app, source) == SourceState::Connected);
        drop(other);
        update_until(&mut app, "the loss of it", |app| state(app, source) != SourceState::Connected);
    }
    // Another address is dialled at once.
    let (other, addresses) = live_app();
    app.world_mut().get_mut::<FaceDial>(source).expect("dials").url = url(&addresses);
    update_until(&mut app, "the other one", |app| state(app, source) == SourceState::Connected);
    app.world_mut().remove_resource::<FaceLinkEndpoint>();
    update_until(
        &mut app,
        "the end of the sockets",
        |app| matches!(state(app, source), SourceState::Waiting { reason } if reason.contains("no sockets")),
    );
    drop(other);
}

#[test]
fn invalid_address_is_refused_with_a_reason() {
    let (mut app, _) = live_app();
    let source = dial(&mut app, FaceSource::connect("ws://no address"));
    update_until(
        &mut app,
        "a refusal",
        |app| matches!(state(app, source), SourceState::Refused { reason } if reason.contains("no address")),
    );
}

#[test]
fn room_peers_connect_directly_through_a_meeting_point() {
    let (meeting, addresses) = live_app();
    let ((mut ann, ann_addresses), (mut bob, _)) = (live_app(), live_app());
    let ann_node = live_avatar(&mut ann, "Bob", &["jawOpen"]);
    let bob_node = live_avatar(&mut bob, "Ann", &["jawOpen"]);
    actor(&mut ann, "Ann", &["jawOpen"], &[0.25]);
    actor(&mut bob, "Bob", &["jawOpen"], &[0.75]);
    for app in [&mut ann, &mut bob] {
        dial(app, FaceSource::connect(url(&addresses)).room("stage"));
    }
    update_until(&mut ann, "both faces, directly", |ann| {
        bob.update();
        let connections = get(&ann_addresses, "/api/v1/stats")["connections"].clone();
        let direct = connections.as_array().is_some_and(|connections| {
            connections
                .iter()
                .any(|c| c["direction"] == "peer" && c["data_channel_state"] == "open" && c["subject"] == "Bob")
        });
        direct && near(jaw(ann, ann_node), 0.75) && near(jaw(&bob, bob_node), 0.25)
    });
    drop(meeting);
}

#[test]
fn taken_subject_name_is_refused() {
    let (mut host, addresses) = live_app();
    let (mut guest, _) = live_app();
    let node = live_avatar(&mut host, "Ann", &["jawOpen"]);
    actor(&mut guest, "Ann", &["jawOpen"], &[0.75]);
    dial(&mut guest, FaceSource::connect(url(&addresses)));
    update_until(&mut guest, "the guest's Ann", |_| {
        host.update();
        near(jaw(&host, node), 0.75)
    });
    let own = actor(&mut host, "Ann", &["jawOpen"], &[0.1]);
    update_until(&mut host, "a refusal", |host| {
        guest.update();
        let state = host.world().get::<SendFaceState>(own).expect("a state");
        matches!(state, SendFaceState::Refused { reason } if reason.contains("Ann"))
    });
    assert!(near(jaw(&host, node), 0.75), "hers is still shown");
}

#[test]
fn sent_face_follows_avatar_and_thinning_is_no_loss() {
    let ((mut host, host_addresses), (mut guest, _)) = (live_app(), live_app());
    let guest_node = live_avatar(&mut guest, "Host", &["jawOpen", "tail"]);
    let host_node = live_avatar(&mut host, "Guest", &["jawOpen", "tail"]);
    let actors = [
        actor(&mut host, "Host", &["jawOpen", "tail"], &[0.25, 0.5]),
        actor(&mut guest, "Guest", &["jawOpen", "tail"], &[0.75, 0.5]),
    ];
    dial(&mut guest, FaceSource::connect(url(&host_addresses)));
    let weights = |app: &App, node| app.world().get::<MorphWeights>(node).expect("weights").weights().to_vec();
    let shown = |app: &App, node, wanted: [f32; 2]| weights(app, node).iter().zip(wanted).all(|(a, b)| near(*a, b));
    update_until(&mut guest, "both faces", |guest| {
        host.update();
        shown(guest, guest_node, [0.25, 0.5]) && shown(&host, host_node, [0.75, 0.5])
    });

    // A target of no shape goes back to rest with the others, at once.
    for (app, actor) in [(&mut host, actors[0]), (&mut guest, actors[1])] {
        let mut morphs = app.world_mut().get_mut::<MorphWeights>(actor).expect("weights");
        morphs.weights_mut().copy_from_slice(&[1.0, 0.0]);
    }
    let mut tails = Vec::new();
    update_until(&mut guest, "the new pose", |guest| {
        host.update();
        tails.push((weights(guest, guest_node), weights(&host, host_node)));
        shown(guest, guest_node, [1.0, 0.0]) && shown(&host, host_node, [1.0, 0.0])
    });
    let torn = |weights: &[f32]| near(weights[0], 1.0) && near(weights[1], 0.5);
    assert!(!tails.iter().any(|(a, b)| torn(a) || torn(b)), "one frame, one pose: {tails:?}");

    // Each asks the other for a fifth of what it makes.
    let subject = |app: &App, name: &str| app.world().resource::<FaceSubjects>().get(name).expect("the subject");
    let (at_guest, at_host) = (subject(&guest, "Host"), subject(&host, "Guest"));
    guest.world_mut().entity_mut(at_guest).insert(RequestedFps(12.0));
    host.world_mut().entity_mut(at_host).insert(RequestedFps(12.0));
    let quality = |app: &App, subject| app.world().get::<LinkQuality>(subject).expect("statistics").clone();
    let slow = |quality: &LinkQuality| quality.fps > 0.0 && quality.fps < 16.0;
    update_until(&mut guest, "the rates", |guest| {
        host.update();
        slow(&quality(guest, at_guest)) && slow(&quality(&host, at_host))
    });
    let (mut losses, begun) = (Vec::new(), quality(&guest, at_guest).frames);
    update_until(&mut guest, "two dozen more", |guest| {
        host.update();
        losses.extend([quality(guest, at_guest).loss, quality(&host, at_host).loss].into_iter().flatten());
        quality(guest, at_guest).frames > begun + 24
    });
    assert!(losses.iter().all(|loss| *loss < 0.2), "{losses:?}");

    // A sender that stops sends goodbye: the receiver does not wait for its timeout.
    host.world_mut().entity_mut(actors[0]).remove::<SendFace>();
    guest.world_mut().entity_mut(actors[1]).remove::<SendFace>();
    for (app, actor) in [(&host, actors[0]), (&guest, actors[1])] {
        // It has said goodbye: the others need not wait for its silence.
        assert_eq!(app.world().get::<SendFaceState>(actor), Some(&SendFaceState::Idle));
    }
    let tracked = |app: &App, subject| app.world().get::<FacePose>(subject).is_some_and(|pose| pose.tracked);
    update_until(&mut guest, "the ends", |guest| {
        host.update();
        !tracked(guest, at_guest) && !tracked(&host, at_host)
    });
    assert!(quality(&guest, at_guest).age_ms < 5000.0);
}

#[test]
fn subject_entity_survives_disconnect_by_the_game() {
    let ((mut host, addresses), (mut guest, _)) = (live_app(), live_app());
    let source = dial(&mut guest, FaceSource::connect(url(&addresses)));
    guest.world_mut().entity_mut(source).insert(Name::new("ours"));
    update_until(&mut guest, "an id", |guest| {
        !guest.world().get::<FaceSource>(source).expect("a source").connection_id.is_empty()
    });
    guest.world_mut().entity_mut(source).remove::<FaceDial>();
    assert!(guest.world().get::<FaceSource>(source).is_none(), "no source is left that is connected");
    update_until(&mut host, "the end of the connection", |host| {
        guest.update();
        host.world_mut().query::<&FaceSource>().iter(host.world()).count() == 0
            && guest.world().resource::<FaceLinkEndpoint>().connections().is_empty()
    });
    guest.update();
    assert!(guest.world().get::<Name>(source).is_some(), "the entity is the game's");
    guest.world_mut().entity_mut(source).insert(FaceSource::connect(url(&addresses)));
    update_until(&mut guest, "a new connection", |guest| state(guest, source) == SourceState::Connected);
}

#[test]
fn source_without_sockets_reports_it() {
    let (mut app, _) = fed_app();
    let source = dial(&mut app, FaceSource::connect("ws://127.0.0.1:1"));
    app.world_mut().spawn(SendFace::new("Offline"));
    app.update();
    assert!(matches!(state(&app, source), SourceState::Waiting { reason } if reason.contains("no sockets")));
}

/// A phone that streams one face into an App until it is dropped.
fn phone(app: &App, addresses: &Addresses, name: &str, face: FaceFrame) -> tokio::sync::oneshot::Sender<()> {
    let runtime = app.world().resource::<FaceLinkEndpoint>().runtime().expect("runs").clone();
    let client = Client::start(ClientConfig::new(url(addresses)).subject(name), &runtime);
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    runtime.spawn(async move {
        loop {
            client.send(face.clone());
            tokio::select! {
                _ = &mut stopped => return,
                () = tokio::time::sleep(Duration::from_millis(16)) => {}
            }
        }
    });
    stop
}

fn turned_face() -> FaceFrame {
    let mut face = FaceFrame::neutral();
    face.set(Blendshape::JawOpen, 0.5);
    face.head = Some(HeadPose { rotation: Quat::from_rotation_y(0.4).to_array(), position: None });
    let eye = EyeGaze { yaw: 0.2, pitch: -0.1 };
    face.gaze = Some(Gaze { left: eye, right: eye });
    face
}

fn pose<'a>(app: &'a App, name: &str) -> Option<&'a FacePose> {
    app.world().get::<FacePose>(app.world().resource::<FaceSubjects>().get(name)?)
}

#[test]
fn face_is_forwarded_by_subject_and_by_avatar() {
    let ((mut host, addresses), (mut guest, _)) = (live_app(), live_app());
    let _phone = phone(&host, &addresses, "Phone", turned_face());
    let node = live_avatar(&mut host, "Phone", &["jawOpen"]);
    let avatar = host.world().get::<ChildOf>(node).expect("an avatar").parent();
    host.world_mut().entity_mut(avatar).insert(SendFace::new("Hero"));
    update_until(&mut host, "the phone", |host| pose(host, "Phone").is_some());
    let subject = host.world().resource::<FaceSubjects>().get("Phone").expect("a subject");
    host.world_mut().entity_mut(subject).insert(SendFace::new("Relay").fps(30.0));
    dial(&mut guest, FaceSource::connect(url(&addresses)));
    for name in ["Hero", "Relay"] {
        update_until(&mut guest, name, |guest| {
            host.update();
            pose(guest, name).is_some_and(|pose| {
                near(pose.weight(Blendshape::JawOpen), 0.5)
                    && pose.head.angle_between(Quat::from_rotation_y(0.4)) < 0.02
                    && pose.gaze.iter().all(|eye| eye.distance(Vec2::new(0.2, -0.1)) < 0.02)
            })
        });
    }
    // The phone itself was heard of by the subscription, too.
    assert!(pose(&guest, "Phone").is_some());
}

#[test]
fn games_dialling_each_other_do_not_echo() {
    let ((mut ann, ann_addresses), (mut bob, bob_addresses)) = (live_app(), live_app());
    let _phone = phone(&ann, &ann_addresses, "Phone", turned_face());
    actor(&mut ann, "Ann", &["jawOpen"], &[0.25]);
    actor(&mut bob, "Bob", &["jawOpen"], &[0.75]);
    dial(&mut ann, FaceSource::connect(url(&bob_addresses)));
    dial(&mut bob, FaceSource::connect(url(&ann_addresses)));
    let fresh = |app: &App, name: &str| pose(app, name).is_some_and(|pose| pose.tracked);
    update_until(&mut ann, "every face at the other's", |ann| {
        bob.update();
        fresh(ann, "Bob") && fresh(&bob, "Ann") && fresh(&bob, "Phone")
    });
    let count = |app: &App, name: &str| {
        let subjects = app.world().resource::<FaceLinkEndpoint>().stats().subjects;
        subjects.iter().find(|subject| &*subject.name == name).map_or(0, |subject| subject.frames)
    };
    let (begun, before) = (Instant::now(), (count(&ann, "Phone"), count(&bob, "Phone")));
    let mut lost = Vec::new();
    update_until(&mut ann, "a while", |ann| {
        bob.update();
        let there = [fresh(ann, "Bob"), fresh(ann, "Phone"), fresh(&bob, "Ann"), fresh(&bob, "Phone")];
        if there.contains(&false) {
            lost.push(there);
        }
        count(ann, "Phone") > before.0 + 240
    });
    assert!(lost.is_empty(), "a subject was missing for a while: {} times, such as {:?}", lost.len(), lost[0]);
    let (at_ann, at_bob) = (count(&ann, "Phone") - before.0, count(&bob, "Phone") - before.1);
    // 62 a second leave the phone: an echo would be counted, too.
    let limit = begun.elapsed().as_secs_f64() * 62.5 * 1.2 + 30.0;
    assert!((at_ann as f64) < limit && (at_bob as f64) < limit, "{at_ann} and {at_bob} frames, limit {limit:.0}");
}
