//! A game in the browser: the faces of an endpoint on Aria. The same code runs on the desktop.
//!
//! The endpoint is named by the page's address, `?endpoint=ws://127.0.0.1:8765`, or by the first argument of the program;
//! `docs/web-games.md` says how it is built and served.

mod page;

use bevy::{prelude::*, world_serialization::WorldAssetRoot};
use bevy_facelink::{prelude::*, sources::SourceState};

fn main() {
    App::new()
        .add_plugins((page::plugins(), FaceLinkPlugin::default()))
        .add_systems(Startup, set_up)
        .add_systems(Update, report)
        .run();
}

fn set_up(mut commands: Commands, assets: Res<AssetServer>) {
    let page::Endpoint { url, token, webrtc } = page::endpoint();
    let dial = FaceSource::connect(url).webrtc(webrtc);
    commands.spawn(match token {
        Some(token) => dial.token(token),
        None => dial,
    });
    commands.spawn((
        WorldAssetRoot(assets.load("avatars/aria.glb#Scene0")),
        FaceAvatar::default(),
        FaceIdle::default(),
    ));
    commands.spawn((
        DirectionalLight { illuminance: 3000.0, ..default() },
        Transform::from_xyz(-1.0, 1.5, 2.0).looking_at(Vec3::ZERO, Vec3::Y),
    ));
    commands.spawn((Camera3d::default(), Transform::from_xyz(0.0, 0.27, 0.9).looking_at(Vec3::Y * 0.25, Vec3::Y)));
}

/// Says what arrives.
fn report(
    time: Res<Time<Real>>,
    mut since: Local<f32>,
    mut frames: Local<u32>,
    sources: Query<&FaceSource>,
    faces: Query<(&FaceSubject, &FacePose, &LinkQuality)>,
    avatars: Query<Has<DrivenBy>, With<FaceAvatar>>,
) {
    (*since, *frames) = (*since + time.delta_secs(), *frames + 1);
    if *since < 0.2 {
        return;
    }
    let mut lines: Vec<_> = sources.iter().map(state).collect();
    for (subject, pose, quality) in &faces {
        let jaw = pose.weights[Blendshape::JawOpen.index()];
        lines.push(format!("{}: {:.0} frames/s, jaw {jaw:.2}", subject.name, quality.fps));
    }
    let driven = avatars.iter().filter(|driven| *driven).count();
    lines.push(format!("{driven} driven, {:.0} pictures/s", *frames as f32 / *since));
    page::show(&lines.join("\n"));
    (*since, *frames) = (0.0, 0);
}

fn state(source: &FaceSource) -> String {
    match (&source.state, source.kind) {
        (SourceState::Connected, Some(kind)) => format!("connected by {kind}"),
        (SourceState::Waiting { reason }, _) => format!("waiting: {reason}"),
        (SourceState::Refused { reason }, _) => format!("refused: {reason}"),
        _ => "connecting".to_owned(),
    }
}
