//! The end of a game: ports are free, and those it dialled hear a goodbye.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_facelink::{FaceLinkEndpoint, FaceSource, FaceSubjects, SendFace, SourceState, facelink::source::SourceKind};

use crate::{
    live::live_app,
    support::{spawn_node, update_until},
};

#[test]
fn app_exit_frees_the_ports_before_drop() {
    let (mut app, addresses) = live_app();
    app.update();
    app.world_mut().write_message(AppExit::Success);
    app.update();
    assert!(app.world().get_resource::<FaceLinkEndpoint>().is_none());
    assert!(std::net::TcpListener::bind(addresses.http).is_ok());
    // A runner that goes on for a frame or two does no harm.
    app.update();
}

/// A guest that has dialled a host and sends a face over WebRTC, with the entity of the dial.
fn dialled_pair() -> (App, App) {
    let ((mut host, addresses), (mut guest, _)) = (live_app(), live_app());
    let node = spawn_node(guest.world_mut(), "Actor", &["jawOpen"]);
    guest.world_mut().entity_mut(node).insert(SendFace::new("Guest"));
    let source = guest.world_mut().spawn(FaceSource::connect(format!("ws://{}", addresses.http))).id();
    update_until(&mut host, "the guest's face over WebRTC", |host| {
        guest.update();
        let source = guest.world().get::<FaceSource>(source).expect("a source");
        source.state == SourceState::Connected
            && source.kind == Some(SourceKind::WebRtc)
            && host.world().resource::<FaceSubjects>().get("Guest").is_some()
    });
    (host, guest)
}

/// Waits until the host has seen the guest go, and returns how long both took: the end of the connection, and of the face.
fn time_of_leaving(host: &mut App, since: Instant) -> (Duration, Duration) {
    let mut ended = None;
    update_until(host, "the end of the guest's connection and face", |host| {
        if host.world_mut().query::<&FaceSource>().iter(host.world()).count() == 0 {
            ended.get_or_insert_with(|| since.elapsed());
        }
        let faces = host.world().resource::<FaceSubjects>();
        let live = faces.get("Guest").is_some_and(|guest| faces.is_live(guest));
        ended.is_some() && !live
    });
    (ended.unwrap_or_default(), since.elapsed())
}

#[test]
fn dialling_app_sends_goodbye_when_dropped() {
    let (mut host, guest) = dialled_pair();
    let begun = Instant::now();
    drop(guest);
    let dropped = begun.elapsed();
    let (ended, left) = time_of_leaving(&mut host, begun);
    println!("dropped after {dropped:?}, its connection ended after {ended:?}, its face left after {left:?}");
    // Not measurements: without a goodbye it takes ten times as long.
    assert!(dropped < Duration::from_secs(3), "dropping the App took {dropped:?}");
    assert!(left < Duration::from_secs(4), "seen as gone after {left:?}");
}

#[test]
fn dialling_app_sends_goodbye_on_exit() {
    let (mut host, mut guest) = dialled_pair();
    guest.world_mut().write_message(AppExit::Success);
    let begun = Instant::now();
    guest.update();
    let updated = begun.elapsed();
    let (ended, left) = time_of_leaving(&mut host, begun);
    println!("updated after {updated:?}, its connection ended after {ended:?}, its face left after {left:?}");
    assert!(left < Duration::from_secs(4), "seen as gone after {left:?}");
    drop(guest);
}
