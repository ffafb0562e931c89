//! The endpoint in a running App: started, stopped and changed from a menu.

use std::{net::TcpListener, time::Instant};

use bevy::prelude::*;
use bevy_facelink::{
    EndpointCommandsExt, EndpointSettings, EndpointState, FaceLinkEndpoint, FaceLinkPlugin, FaceSource, FaceSubjects,
};
use facelink_net::{Addresses, EndpointConfig, IceServer, LinkError, TlsConfig};
use serde_json::json;

use crate::{
    live::{live_app, live_avatar},
    support::{Sender, near, update_until, weights},
};

fn config() -> EndpointConfig {
    EndpointConfig { port: 0, ..EndpointConfig::default() }
}

/// An App in real time without an endpoint.
fn offline_app() -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), TransformPlugin, FaceLinkPlugin::without_sockets()));
    app.init_asset::<Mesh>();
    app.finish();
    app.cleanup();
    app
}

fn state(app: &App) -> &EndpointState {
    app.world().resource::<EndpointState>()
}

/// As a menu does it.
fn start(app: &mut App, config: EndpointConfig) {
    app.world_mut().commands().start_endpoint(config);
    app.world_mut().flush();
}

fn stop(app: &mut App) {
    app.world_mut().commands().stop_endpoint();
    app.world_mut().flush();
}

fn running(app: &mut App) -> Addresses {
    update_until(app, "a running endpoint", |app| state(app).is_running());
    app.world().resource::<FaceLinkEndpoint>().addresses()
}

fn face(subject: &str, jaw: f32) -> String {
    json!({"type": "arkit_data", "subject": subject, "blendshapes": {"jawOpen": jaw}}).to_string()
}

fn show(app: &mut App, node: Entity, sender: &Sender, jaw: f32) {
    update_until(app, "the face on the avatar", |app| {
        sender.send(&face("Ann", jaw));
        near(weights(app, node)[0], jaw)
    });
}

#[test]
fn endpoint_in_running_app_starts_moves_and_stops() {
    let mut app = offline_app();
    app.update();
    assert!(matches!(state(&app), EndpointState::Stopped));
    let node = live_avatar(&mut app, "Ann", &["jawOpen"]);
    start(&mut app, config());
    assert!(matches!(state(&app), EndpointState::Starting), "no frame waits for it: {}", state(&app));
    let first = running(&mut app);
    let sender = Sender::connect(&app);
    show(&mut app, node, &sender, 0.5);
    assert_eq!(app.world_mut().query::<&FaceSource>().iter(app.world()).count(), 1);

    // Another port and a token.
    start(&mut app, EndpointConfig { token: Some("open sesame".to_owned()), ..config() });
    let second = running(&mut app);
    assert_ne!(first.http, second.http);
    assert!(TcpListener::bind(first.http).is_ok(), "the port before is free");
    let faces = app.world().resource::<FaceSubjects>();
    assert!(faces.get("Ann").is_none_or(|ann| !faces.is_live(ann)), "a sender to the old port is gone");
    update_until(&mut app, "the end of its source", |app| {
        app.world_mut().query::<&FaceSource>().iter(app.world()).count() == 0
    });
    let settings = app.world().resource::<EndpointSettings>();
    assert_eq!(settings.0.token.as_deref(), Some("open sesame"));
    // The same face by the new one, though ids might begin anew.
    let sender = Sender::connect(&app);
    show(&mut app, node, &sender, 0.75);

    stop(&mut app);
    assert!(app.world().get_resource::<FaceLinkEndpoint>().is_none());
    assert!(matches!(state(&app), EndpointState::Stopping));
    update_until(&mut app, "the stop", |app| matches!(state(app), EndpointState::Stopped));
    assert!(TcpListener::bind(second.http).is_ok());
    update_until(&mut app, "the end of the face", |app| app.world().resource::<FaceSubjects>().is_empty());
}

#[test]
fn taken_port_is_a_typed_error_and_is_retried() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound");
    let plugin = FaceLinkPlugin::default().port(address.port()).live_link_face(None).udp_json(None);
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.update();
    let error = state(&app).error().expect("the port is taken");
    assert!(matches!(error, LinkError::Bind { address: at, .. } if *at == address), "{error}");

    let again = |app: &mut App| {
        let config = app.world().resource::<EndpointSettings>().0.clone();
        start(app, config);
    };
    again(&mut app);
    update_until(&mut app, "the same error", |app| state(app).error().is_some());
    drop(taken);
    again(&mut app);
    assert_eq!(running(&mut app).http, address);
}

#[test]
fn app_without_a_listener_dials_out() {
    let (mut host, addresses) = live_app();
    let mut guest = offline_app();
    start(&mut guest, EndpointConfig::dial_only());
    running(&mut guest);
    assert_eq!(guest.world().resource::<FaceLinkEndpoint>().http(), None);
    let node = live_avatar(&mut guest, "Ann", &["jawOpen"]);
    guest.world_mut().spawn(FaceSource::connect(format!("ws://{}", addresses.http)));
    let sender = Sender::connect(&host);
    update_until(&mut guest, "the host's face", |guest| {
        host.update();
        sender.send(&face("Ann", 0.5));
        near(weights(guest, node)[0], 0.5)
    });
}

#[test]
fn invalid_settings_are_typed_errors() {
    let mut app = offline_app();
    let mut wrong = config();
    wrong.ice.servers = vec![IceServer { urls: vec!["turn:turn.example".to_owned()], ..IceServer::default() }];
    start(&mut app, wrong);
    update_until(&mut app, "an error", |app| state(app).error().is_some());
    assert!(matches!(state(&app).error(), Some(LinkError::Ice(_))), "{}", state(&app));
}

#[test]
fn several_endpoint_requests_last_one_counts() {
    let mut app = offline_app();
    for _ in 0..3 {
        start(&mut app, config());
        stop(&mut app);
    }
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    start(&mut app, EndpointConfig { port, ..config() });
    assert_eq!(running(&mut app).http.port(), port);
    start(&mut app, config());
    stop(&mut app);
    update_until(&mut app, "the stop", |app| matches!(state(app), EndpointState::Stopped));
    assert!(app.world().get_resource::<FaceLinkEndpoint>().is_none());
}

#[test]
fn app_dropped_while_starting_frees_its_port() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    let certificates = tempfile::tempdir().expect("a folder");
    for exits in [false, true] {
        let mut app = offline_app();
        start(&mut app, EndpointConfig { port, tls: TlsConfig::SelfSigned(certificates.path().into()), ..config() });
        if exits {
            app.world_mut().write_message(AppExit::Success);
            app.update();
        } else {
            drop(app);
        }
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
    }
}

#[test]
fn removed_endpoint_counts_as_stopped() {
    let (mut app, _) = live_app();
    app.update();
    assert!(state(&app).is_running());
    app.world_mut().remove_resource::<FaceLinkEndpoint>();
    app.update();
    assert!(matches!(state(&app), EndpointState::Stopped));
}

/// Prints the longest frame meanwhile.
#[test]
fn endpoint_restarts_while_frames_run() {
    let mut app = offline_app();
    let mut longest = std::time::Duration::ZERO;
    for _ in 0..3 {
        let certificates = tempfile::tempdir().expect("a folder");
        start(&mut app, EndpointConfig { tls: TlsConfig::SelfSigned(certificates.path().into()), ..config() });
        update_until(&mut app, "a running endpoint", |app| {
            let begun = Instant::now();
            app.update();
            longest = longest.max(begun.elapsed());
            state(app).is_running()
        });
        stop(&mut app);
        update_until(&mut app, "the stop", |app| {
            let begun = Instant::now();
            app.update();
            longest = longest.max(begun.elapsed());
            matches!(state(app), EndpointState::Stopped)
        });
    }
    println!("longest frame while starting and stopping: {longest:?}");
}
