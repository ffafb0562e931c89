//! Expressions, speech, idle life and subjects that are put together, in virtual time; and `set_emotion` over a socket.

use std::{net::UdpSocket, sync::Arc, time::Duration};

use bevy::prelude::*;
use bevy_facelink::{
    DrivenBy, FaceAvatar, FaceExpressionLibrary, FaceExpressions, FaceIdle, FaceLinkEndpoint, FaceLinkPlugin, FacePose,
    FaceSpeech, FaceSubjects, RefusedExpressions, VirtualSubject,
    facelink::{
        Blendshape, FaceFrame, HeadPose,
        layers::{ChannelGroup, Expression, GroupSet, VisemeTrack},
        wire::viseme::Viseme,
    },
};
use facelink_net::{Emotion, EndpointConfig, PhonePort, PhonePorts};
use rosc::{OscMessage, OscPacket, OscType};

use crate::support::{Sender, app_with, fed_app, frame, near, run, spawn_node, update_until, weights};

const SECOND: Duration = Duration::from_secs(1);

/// Every shape in order.
fn face(app: &mut App, avatar: FaceAvatar) -> (Entity, Entity) {
    let names = Blendshape::ALL.map(Blendshape::name);
    let node = spawn_node(app.world_mut(), "Face", &names);
    let root = app.world_mut().spawn((Transform::default(), Name::new("avatar"))).id();
    app.world_mut().entity_mut(root).add_child(node).insert(avatar);
    (root, node)
}

fn shown(app: &App, node: Entity, shape: Blendshape) -> f32 {
    weights(app, node)[shape.index()]
}

/// The largest step of any shape from one frame to the next while `feed` runs.
fn largest_step(app: &mut App, node: Entity, time: Duration, mut feed: impl FnMut(&mut App)) -> f32 {
    let mut last = weights(app, node);
    let mut largest = 0.0_f32;
    let frames = (time.as_secs_f32() * 60.0) as u32;
    for _ in 0..frames {
        feed(app);
        app.update();
        let now = weights(app, node);
        for (now, last) in now.iter().zip(&last) {
            largest = largest.max((now - last).abs());
        }
        last = now;
    }
    largest
}

#[test]
fn visemes_at_10_hz_move_the_mouth_smoothly() {
    let (mut app, faces) = fed_app();
    let (_, node) = face(&mut app, FaceAvatar::default());
    let live = frame(&[(Blendshape::BrowInnerUp, 0.5), (Blendshape::MouthSmileLeft, 0.4)]);
    run(&mut app, SECOND, || faces.send(1, "Ann", live.clone()));
    let visemes = [Viseme::Aa, Viseme::Pp, Viseme::Oh, Viseme::Ss, Viseme::Ff, Viseme::E];
    let (mut i, mut widest, mut pressed) = (0, 0.0_f32, 0.0_f32);
    let largest = largest_step(&mut app, node, 3 * SECOND, |app| {
        // As the hub gives it: the viseme that holds comes with every frame.
        faces.say(1, "Ann", live.clone(), visemes[i / 6 % visemes.len()], 1.0);
        i += 1;
        widest = widest.max(shown(app, node, Blendshape::JawOpen));
        pressed = pressed.max(shown(app, node, Blendshape::MouthPressLeft));
    });
    assert!(largest < 0.2, "a step of {largest}; set at once it would be 0.6");
    assert!(widest > 0.5 && pressed > 0.38, "jaw {widest}, lips {pressed}");
    assert!(near(shown(&app, node, Blendshape::BrowInnerUp), 0.5), "the rest of the face is live");
    assert!(shown(&app, node, Blendshape::MouthSmileLeft) >= 0.4 - 1e-3);
    run(&mut app, SECOND, || faces.send(1, "Ann", live.clone()));
    assert!(near(shown(&app, node, Blendshape::JawOpen), 0.0), "silence");
}

#[test]
fn dialogue_line_plays_on_avatar_without_face() {
    let (mut app, _faces) = fed_app();
    let (root, node) = face(&mut app, FaceAvatar::default());
    let track = Arc::new(VisemeTrack::from_phonemes("0.2 0.5 AA\n0.5 0.58 M\n0.58 0.9 UW").unwrap());
    let mut speech = FaceSpeech::default();
    speech.play(track);
    app.world_mut().entity_mut(root).insert(speech);
    let mut jaws = Vec::new();
    let largest = largest_step(&mut app, node, 2 * SECOND, |app| jaws.push(shown(app, node, Blendshape::JawOpen)));
    assert!(largest < 0.25, "{largest}");
    assert!(jaws.iter().any(|jaw| *jaw > 0.5));
    assert!(app.world().get::<FaceSpeech>(root).unwrap().position().is_none(), "it has ended");
    assert_eq!(weights(&app, node), [0.0; 52]);
}

#[test]
fn expressions_ease_in_and_out_on_avatar_and_subject() {
    let (mut app, faces) = fed_app();
    let (root, node) = face(&mut app, FaceAvatar::default());
    let live = frame(&[(Blendshape::JawOpen, 0.3)]);
    run(&mut app, SECOND, || faces.send(1, "Ann", live.clone()));
    let wink = Expression::from_names("wink", [("eyeBlink_L", 1.0)]).unwrap();
    app.world_mut().resource_mut::<FaceExpressionLibrary>().add(wink);
    let mut expressions = FaceExpressions::default();
    expressions.set("joy", 1.0).set("Wink", 0.5).set("bored", 1.0);
    app.world_mut().entity_mut(root).insert(expressions);
    let largest = largest_step(&mut app, node, SECOND, |_| faces.send(1, "Ann", live.clone()));
    assert!(largest < 0.15, "{largest}");
    assert!(near(shown(&app, node, Blendshape::MouthSmileLeft), 0.75));
    assert!(near(shown(&app, node, Blendshape::EyeBlinkLeft), 0.5));
    assert!(near(shown(&app, node, Blendshape::JawOpen), 0.3), "the live mouth stays");
    let refused = app.world().resource::<RefusedExpressions>().clone();
    assert!(refused.count == 1 && refused.last.contains("bored") && refused.last.contains("wink"), "{refused:?}");

    app.world_mut().get_mut::<FaceExpressions>(root).unwrap().clear_all(Duration::from_millis(100));
    let sad = Emotion { name: "sad".into(), intensity: 1.0, fade: None, duration: Some(SECOND) };
    faces.emotion(1, "Ann", sad);
    run(&mut app, SECOND, || faces.send(1, "Ann", live.clone()));
    let subject = app.world().resource::<FaceSubjects>().get("Ann").expect("Ann");
    assert!(app.world().get::<FacePose>(subject).unwrap().weight(Blendshape::MouthFrownLeft) > 0.6);
    assert!(shown(&app, node, Blendshape::MouthFrownLeft) > 0.6 && shown(&app, node, Blendshape::EyeBlinkLeft) < 0.3);
    run(&mut app, 2 * SECOND, || faces.send(1, "Ann", live.clone()));
    assert!(near(shown(&app, node, Blendshape::MouthFrownLeft), 0.0), "its time is over");
}

#[test]
fn idle_life_plays_while_avatar_has_no_face() {
    let (mut app, faces) = fed_app();
    let (root, node) = face(&mut app, FaceAvatar::default());
    app.world_mut().entity_mut(root).insert(FaceIdle::seeded(7));
    let mut shut = 0.0_f32;
    largest_step(&mut app, node, 20 * SECOND, |app| shut = shut.max(shown(app, node, Blendshape::EyeBlinkLeft)));
    assert!(shut > 0.95, "it has blinked: {shut}");
    let live = frame(&[(Blendshape::CheekPuff, 0.5)]);
    run(&mut app, SECOND, || faces.send(1, "Ann", live.clone()));
    let shows = weights(&app, node);
    for shape in Blendshape::ALL {
        let wanted = live.get(shape).unwrap_or(0.0);
        assert!((shows[shape.index()] - wanted).abs() < 1e-3, "{shape}: {}", shows[shape.index()]);
    }
    // Silent, it eases out, and comes to life again.
    let mut shut = 0.0_f32;
    largest_step(&mut app, node, 20 * SECOND, |app| shut = shut.max(shown(app, node, Blendshape::EyeBlinkLeft)));
    assert!(shut > 0.95 && near(shown(&app, node, Blendshape::CheekPuff), 0.0), "{shut}");
}

#[test]
fn virtual_subject_falls_back_smoothly() {
    let (mut app, faces) = fed_app();
    let mouth = [ChannelGroup::Jaw, ChannelGroup::Mouth, ChannelGroup::Tongue];
    app.world_mut().spawn(VirtualSubject::new("Hero").with("Audio", mouth, 10).with("Phone", GroupSet::ALL, 0).with(
        "Headset",
        [ChannelGroup::Head],
        5,
    ));
    let (root, node) = face(&mut app, FaceAvatar::of("Hero"));
    let head = |yaw: f32, face: FaceFrame| FaceFrame {
        head: Some(HeadPose { rotation: Quat::from_rotation_y(yaw).to_array(), position: None }),
        ..face
    };
    let phone = head(
        0.1,
        frame(&[(Blendshape::JawOpen, 0.2), (Blendshape::EyeBlinkLeft, 0.6), (Blendshape::BrowInnerUp, 0.3)]),
    );
    let audio = frame(&[(Blendshape::JawOpen, 0.8), (Blendshape::EyeBlinkLeft, 0.0)]);
    let headset = head(-0.4, FaceFrame::default());
    let steps = largest_step(&mut app, node, 2 * SECOND, |_| {
        faces.send(1, "Phone", phone.clone());
        faces.send(2, "Audio", audio.clone());
        faces.send(3, "Headset", headset.clone());
    });
    let hero = app.world().resource::<FaceSubjects>().get("Hero").expect("Hero");
    assert_eq!(app.world().get::<DrivenBy>(root), Some(&DrivenBy(hero)));
    assert!(near(shown(&app, node, Blendshape::JawOpen), 0.8), "the mouth of the audio");
    assert!(near(shown(&app, node, Blendshape::EyeBlinkLeft), 0.6), "the eyes of the phone");
    let yaw = |app: &App| app.world().get::<FacePose>(hero).unwrap().head.to_euler(EulerRot::YXZ).0;
    assert!(near(yaw(&app), -0.4), "the head of the headset: {}", yaw(&app));
    assert!(steps < 0.25, "{steps}");

    // The audio and the headset fall silent: the phone drives everything.
    let steps = largest_step(&mut app, node, 3 * SECOND, |_| faces.send(1, "Phone", phone.clone()));
    assert!(near(shown(&app, node, Blendshape::JawOpen), 0.2) && near(yaw(&app), 0.1), "{}", yaw(&app));
    assert!(steps < 0.1, "{steps}");
    assert_eq!(app.world().resource::<FaceSubjects>().first(), app.world().resource::<FaceSubjects>().get("Hero"));

    // No source is left.
    largest_step(&mut app, node, 3 * SECOND, |_| {});
    assert_eq!(weights(&app, node), [0.0; 52]);
    // A source that calls itself like it changes nothing.
    run(&mut app, SECOND, || faces.send(9, "Hero", audio.clone()));
    assert_eq!(weights(&app, node), [0.0; 52]);
}

#[test]
fn virtual_subject_shows_expressions_of_its_parts() {
    let (mut app, faces) = fed_app();
    app.world_mut().spawn(VirtualSubject::new("Hero").with("Phone", GroupSet::ALL, 0).with(
        "Audio",
        [ChannelGroup::Jaw, ChannelGroup::Mouth],
        10,
    ));
    let (_, node) = face(&mut app, FaceAvatar::of("Hero"));
    let mut feed = || {
        faces.send(1, "Phone", frame(&[(Blendshape::EyeBlinkLeft, 0.6)]));
        faces.send(2, "Audio", FaceFrame::default());
    };
    run(&mut app, SECOND, &mut feed);
    let subject = |app: &App, name: &str| app.world().resource::<FaceSubjects>().get(name).expect("a subject");
    let (phone, audio) = (subject(&app, "Phone"), subject(&app, "Audio"));
    app.world_mut().get_mut::<FaceExpressions>(phone).unwrap().set("angry", 0.5);
    app.world_mut().get_mut::<FaceExpressions>(audio).unwrap().set("surprised", 0.5);
    run(&mut app, SECOND, &mut feed);
    assert!(shown(&app, node, Blendshape::BrowDownLeft) > 0.4, "the brows of the phone");
    assert!(near(shown(&app, node, Blendshape::BrowOuterUpLeft), 0.0), "not the brows of the audio");
    let jaw = |entity| app.world().get::<FacePose>(entity).unwrap().weights[Blendshape::JawOpen.index()];
    assert!(jaw(audio) > 0.1 && near(shown(&app, node, Blendshape::JawOpen), jaw(audio)), "the jaw of the audio");
}

#[test]
fn cut_by_osc_moves_avatars_without_subject() {
    let folder = tempfile::tempdir().unwrap();
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(None).udp_json(Some(0)).phones(PhonePorts::free());
    let mut app = app_with(folder.path(), plugin);
    let (open, _) = face(&mut app, FaceAvatar::default());
    let (own, _) = face(&mut app, FaceAvatar::of("Ann"));
    let endpoint = app.world().resource::<FaceLinkEndpoint>();
    let port = |port| endpoint.phone_port(port).expect("a port");
    let (json, vmc) = (port(PhonePort::UdpJson), port(PhonePort::Vmc));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let feed = |socket: &UdpSocket| {
        for name in ["Ann", "Bob"] {
            let frame = format!(r#"{{"subject":"{name}","blendshapes":{{"jawOpen":0.5}}}}"#);
            socket.send_to(frame.as_bytes(), json).unwrap();
        }
    };
    let drives = |app: &App, root: Entity, name: &str| {
        let subject = app.world().resource::<FaceSubjects>().get(name);
        subject.is_some() && app.world().get::<DrivenBy>(root).map(|driven| driven.0) == subject
    };
    update_until(&mut app, "both faces", |app| {
        feed(&socket);
        ["Ann", "Bob"].iter().all(|name| app.world().resource::<FaceSubjects>().get(name).is_some())
            && drives(app, open, "Ann") | drives(app, open, "Bob")
    });
    for name in ["Bob", "Ann", "Bob"] {
        let cut = OscMessage { addr: "/facelink/cut".to_owned(), args: vec![OscType::String(name.to_owned())] };
        socket.send_to(&rosc::encoder::encode(&OscPacket::Message(cut)).unwrap(), vmc).unwrap();
        update_until(&mut app, "the other face", |app| {
            feed(&socket);
            drives(app, open, name)
        });
        assert!(drives(&app, own, "Ann"), "an avatar with a subject of its own keeps it");
    }
}

#[test]
fn emotion_and_visemes_arrive_over_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let config = EndpointConfig { port: 0, phones: PhonePorts::default(), ..EndpointConfig::default() };
    let mut app = app_with(folder.path(), FaceLinkPlugin::with_endpoint(config));
    let (_, node) = face(&mut app, FaceAvatar::of("Npc"));
    app.world_mut().spawn(VirtualSubject::new("Hero").with("Npc", [ChannelGroup::Jaw], 0));
    let (_, hero) = face(&mut app, FaceAvatar::of("Hero"));
    let sender = Sender::connect(&app);
    sender.send(r#"{"type":"set_emotion","subject":"Npc","emotion":"angry","intensity":0.5,"fade_ms":50}"#);
    update_until(&mut app, "angry face", |app| shown(app, node, Blendshape::BrowDownLeft) > 0.44);
    sender.send(r#"{"type":"viseme_data","subject":"Npc","viseme":"aa","weight":1,"duration_ms":2000}"#);
    update_until(&mut app, "open mouth on an angry face", |app| {
        shown(app, node, Blendshape::JawOpen) > 0.55 && shown(app, node, Blendshape::BrowDownLeft) > 0.44
    });
    update_until(&mut app, "open mouth of the virtual subject", |app| shown(app, hero, Blendshape::JawOpen) > 0.55);
    assert!(near(shown(&app, hero, Blendshape::BrowDownLeft), 0.0), "its brows are not of this part");
    update_until(&mut app, "closed mouth", |app| shown(app, node, Blendshape::JawOpen) < 0.01);
    sender.send(r#"{"type":"set_emotion","subject":"Npc","emotion":"grumpy"}"#);
    update_until(&mut app, "refusal", |app| app.world().resource::<RefusedExpressions>().last.contains("grumpy"));
}
