//! Takes as Bevy animations: what plays by `AnimationPlayer` looks as the live face does.

use std::{path::Path, time::Duration};

use bevy::{
    ecs::system::SystemState, mesh::morph::MorphWeights, prelude::*, time::TimeUpdateStrategy,
    world_serialization::WorldAssetRoot,
};
use bevy_facelink::{
    BindReport, FaceAvatar, FacePlayout, FaceSettings,
    animation::{BakeError, BakedFace, FaceBaker},
    facelink::{
        Blendshape, EyeGaze, FaceFrame, Gaze, HeadPose,
        performer::Performance,
        take::{MAX_KEY_ERROR, Take, TakeFrame},
    },
};

use crate::{
    gltf,
    support::{FRAME, fed_app_with, frame, run, spawn_node, update_until, weights},
};

fn take(frames: impl IntoIterator<Item = (Duration, FaceFrame)>) -> Take {
    let frames = frames.into_iter().map(|(time, frame)| TakeFrame { time, frame });
    Take::new(frames.collect()).expect("frames in order")
}

fn bake(app: &mut App, avatar: Entity, take: &Take, max_error: f32) -> Result<BakedFace, BakeError> {
    let mut state = SystemState::<FaceBaker>::new(app.world_mut());
    let baked = state.get_mut(app.world_mut()).expect("its parts are there").bake(avatar, take, max_error);
    state.apply(app.world_mut());
    baked
}

fn play(app: &mut App, baked: BakedFace) -> (Entity, AnimationNodeIndex) {
    let clip = app.world_mut().resource_mut::<Assets<AnimationClip>>().add(baked.clip);
    let (graph, node) = AnimationGraph::from_clip(clip);
    let graph = app.world_mut().resource_mut::<Assets<AnimationGraph>>().add(graph);
    let mut player = AnimationPlayer::default();
    player.play(node);
    app.world_mut().entity_mut(baked.player).insert((AnimationGraphHandle(graph), player));
    (baked.player, node)
}

#[test]
fn baked_take_moves_targets_as_its_frames_do() {
    let (mut app, _faces) = fed_app_with(|app| {
        app.add_plugins(AnimationPlugin);
    });
    // With all of them, none has to stand in for another.
    let shapes = Blendshape::ALL;
    let avatar = spawn_node(app.world_mut(), "face", &shapes.map(|shape| shape.name()));
    app.world_mut().entity_mut(avatar).insert(FaceAvatar::of("nobody"));
    run(&mut app, FRAME * 3, || ());
    assert_eq!(
        bake(&mut app, Entity::PLACEHOLDER, &take([(Duration::ZERO, frame(&[]))]), 0.0).err(),
        Some(BakeError::NotBound(Entity::PLACEHOLDER))
    );
    let neutral = bake(&mut app, avatar, &take([(Duration::ZERO, frame(&[]))]), 0.0);
    assert_eq!(neutral.err(), Some(BakeError::NothingToMove(avatar)));

    let performance = Performance::new(3);
    let times = (0..240).map(|i| FRAME * i);
    let take = take(times.map(|time| (time, performance.frame_at(time))));
    let every = bake(&mut app, avatar, &take, 0.0).expect("is baked");
    let baked = bake(&mut app, avatar, &take, MAX_KEY_ERROR).expect("is baked");
    assert_eq!((baked.player, baked.nodes), (avatar, 1));
    assert!((baked.clip.duration() - take.curves(0.0).end().as_secs_f32()).abs() < 1e-3, "{}", baked.clip.duration());
    assert_eq!(every.clip.duration(), baked.clip.duration());
    let (player, node) = play(&mut app, baked);
    // The graph is an asset: Bevy plays it some frames after it is there.
    update_until(&mut app, "animation", |app| weights(app, avatar).iter().any(|weight| *weight != 0.0));
    let curves = shapes.map(|shape| take.curves(0.0).shape(shape));
    let (mut compared, mut largest, mut moved) = (0, 0.0_f32, 0.0_f32);
    for _ in 0..180 {
        app.update();
        let seek = app.world().get::<AnimationPlayer>(player).and_then(|player| player.animation(node));
        let at = Duration::from_secs_f32(seek.expect("plays").seek_time());
        for (keys, shown) in curves.iter().zip(weights(&app, avatar)) {
            let error = (keys.at(at)[0] - shown).abs();
            largest = largest.max(error);
            moved = moved.max(shown);
            compared += 1;
        }
    }
    // Keys within the bound of the frames, and what is nearly 0 is 0.
    assert!(largest < 2.0 * MAX_KEY_ERROR, "{largest}");
    assert!(moved > 0.3 && compared == 180 * 52, "{moved}, {compared}");
}

/// Every morph weight and every node's place of an avatar, in the order of its tree.
fn looks(app: &mut App, avatar: Entity) -> (Vec<f32>, Vec<Transform>) {
    let (mut weights, mut places) = (Vec::new(), Vec::new());
    let mut nodes = vec![avatar];
    while let Some(node) = nodes.pop() {
        let entity = app.world().entity(node);
        if node != avatar {
            // A level of detail that is not shown is not written by a live face.
            let shown = entity.get::<Visibility>().is_none_or(|visibility| *visibility != Visibility::Hidden);
            let morph = entity.get::<MorphWeights>().filter(|_| shown);
            weights.extend(morph.iter().flat_map(|morph| morph.weights()));
            places.extend(entity.get::<Transform>());
        }
        nodes.extend(entity.get::<Children>().into_iter().flatten());
    }
    (weights, places)
}

#[test]
fn baked_take_turns_bones_as_the_live_face_does() {
    let (mut app, faces) = gltf::app(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets"));
    app.insert_resource(TimeUpdateStrategy::ManualDuration(FRAME));
    app.world_mut().resource_mut::<FaceSettings>().playout = FacePlayout::latest();
    let [live, still] = ["Ann", "nobody"].map(|subject| {
        let scene = app.world().resource::<AssetServer>().load("avatars/aria.glb#Scene0");
        app.world_mut().spawn((WorldAssetRoot(scene), FaceAvatar::of(subject))).id()
    });
    update_until(&mut app, "bound avatars", |app| {
        [live, still].iter().all(|avatar| app.world().get::<BindReport>(*avatar).is_some())
    });
    app.update();
    let at_rest = looks(&mut app, still);

    let mut face =
        frame(&[(Blendshape::JawOpen, 0.5), (Blendshape::MouthSmileLeft, 0.25), (Blendshape::EyeBlinkLeft, 1.0)]);
    face.head = Some(HeadPose { rotation: Quat::from_euler(EulerRot::YXZ, 0.4, -0.2, 0.1).to_array(), position: None });
    face.gaze = Some(Gaze { left: EyeGaze { yaw: 0.2, pitch: 0.1 }, right: EyeGaze { yaw: 0.15, pitch: 0.1 } });
    let take = take((0..60).map(|i| (FRAME * i, face.clone())));
    let baked = bake(&mut app, still, &take, MAX_KEY_ERROR).expect("is baked");
    assert!(baked.nodes >= 5, "a mesh, head, neck and two eyes: {}", baked.nodes);
    let (player, node) = play(&mut app, baked);
    run(&mut app, FRAME * 50, || {
        faces.send(1, "Ann", face.clone());
    });
    assert!(app.world().get::<AnimationPlayer>(player).is_some_and(|player| player.animation(node).is_some()));
    let (shown, expected) = (looks(&mut app, still), looks(&mut app, live));
    assert_eq!((shown.0.len(), shown.1.len()), (expected.0.len(), expected.1.len()));
    for (a, b) in shown.0.iter().zip(&expected.0) {
        assert!((a - b).abs() < 2.0 * MAX_KEY_ERROR, "{a} instead of {b}");
    }
    for (a, b) in shown.1.iter().zip(&expected.1) {
        assert!(a.rotation.angle_between(b.rotation) < 2e-3, "{a:?} instead of {b:?}");
        assert!(a.translation.distance(b.translation) < 1e-4, "{a:?} instead of {b:?}");
    }
    let turned = shown.1.iter().zip(&at_rest.1).filter(|(a, b)| a.rotation.angle_between(b.rotation) > 0.02).count();
    assert!(turned >= 4 && shown.0.iter().any(|weight| *weight > 0.9), "{turned}");
}
