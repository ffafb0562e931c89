//! The plugin over real sockets: everything at once, starting twice, and letting go of its ports.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bevy::{mesh::morph::MorphWeights, prelude::*};
use bevy_facelink::{
    EndpointState, FaceAvatar, FaceLinkEndpoint, FaceLinkPlugin, FaceSubjects, LinkQuality,
    facelink::{Blendshape, FaceFrame, wire::llf},
};
use facelink_net::{Addresses, Client, ClientConfig, ClientState, SourceKind};
use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{near, spawn_node, update_until};

/// An App in real time on free ports.
pub fn live_app() -> (App, Addresses) {
    let plugin = FaceLinkPlugin::default().port(0).live_link_face(Some(0)).udp_json(Some(0));
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), TransformPlugin, plugin));
    app.init_asset::<Mesh>();
    app.finish();
    app.cleanup();
    let addresses = app.world().resource::<FaceLinkEndpoint>().addresses();
    (app, addresses)
}

/// An avatar of one node that shows `targets` of a subject.
pub fn live_avatar(app: &mut App, subject: &str, targets: &[&str]) -> Entity {
    let node = spawn_node(app.world_mut(), "Head", targets);
    let root = app.world_mut().spawn(Transform::default()).add_child(node).id();
    app.world_mut().entity_mut(root).insert(FaceAvatar::of(subject));
    node
}

pub fn get(addresses: &Addresses, path: &str) -> Value {
    let url = format!("http://{}{path}", addresses.http);
    ureq::get(&url).call().expect("answers").body_mut().read_json().expect("JSON")
}

fn jaw(weight: f32) -> FaceFrame {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::JawOpen, weight);
    frame
}

/// Packets of a Live Link Face phone: device "A", and the name of its subject.
fn phone_packets() -> (Vec<Vec<u8>>, String) {
    let profile = llf::PROFILE;
    let packets = (0..180).map(|i| {
        let mut bytes = Vec::new();
        llf::encode(&llf::LlfPacket::new("A", "iPhone", i, jaw(0.5)), &profile, &mut bytes).expect("encodes");
        bytes
    });
    (packets.collect(), "iPhone".to_owned())
}

#[test]
fn phone_webrtc_and_websocket_stream_at_once() {
    let (mut app, addresses) = live_app();
    let (packets, phone) = phone_packets();
    let nodes = [&*phone, "Rtc", "Ws"].map(|subject| live_avatar(&mut app, subject, &["jawOpen", "eyeBlinkLeft"]));
    let stop = Arc::new(AtomicBool::new(false));

    let replay = std::thread::spawn({
        let (stop, target) = (stop.clone(), addresses.live_link_face.expect("listens"));
        move || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            // The tape counts frames of the day; played again, it counts from its start like a restarted app.
            for packet in packets.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                socket.send_to(packet, target).expect("sent");
                std::thread::sleep(Duration::from_millis(16));
            }
        }
    });
    let runtime = app.world().resource::<FaceLinkEndpoint>().runtime().expect("runs").clone();
    let rtc = Arc::new(Client::start(ClientConfig::new(format!("ws://{}", addresses.http)).subject("Rtc"), &runtime));
    runtime.spawn({
        let (rtc, stop) = (rtc.clone(), stop.clone());
        async move {
            while !stop.load(Ordering::Relaxed) {
                rtc.send(jaw(0.25));
                tokio::time::sleep(Duration::from_millis(16)).await;
            }
        }
    });
    runtime.spawn({
        let stop = stop.clone();
        async move {
            let url = format!("ws://{}", addresses.http);
            let (mut socket, _) = tokio_tungstenite::connect_async(url).await.expect("a WebSocket");
            while !stop.load(Ordering::Relaxed) {
                let message = json!({"type": "arkit_data", "subject": "Ws", "blendshapes": {"jawOpen": 0.75}});
                socket.send(Message::text(message.to_string())).await.expect("sent");
                tokio::time::sleep(Duration::from_millis(16)).await;
            }
        }
    });

    let jaw_of = |app: &App, node: Entity| app.world().get::<MorphWeights>(node).expect("weights").weights()[0];
    update_until(&mut app, "three faces on three avatars", |app| {
        near(jaw_of(app, nodes[1]), 0.25)
            && near(jaw_of(app, nodes[2]), 0.75)
            && jaw_of(app, nodes[0]) != 0.0
            && rtc.state() == ClientState::Connected(SourceKind::WebRtc)
    });
    update_until(&mut app, "the transports in the statistics", |app| {
        let subjects = app.world().resource::<FaceSubjects>();
        let transport = |name: &str| {
            let subject = subjects.get(name)?;
            app.world().get::<LinkQuality>(subject)?.transport
        };
        transport(&phone) == Some(SourceKind::LiveLinkFace)
            && transport("Rtc") == Some(SourceKind::WebRtc)
            && transport("Ws") == Some(SourceKind::WebSocket)
    });
    let subjects = get(&addresses, "/api/v1/subjects");
    let subjects = subjects["subjects"].as_array().expect("a list");
    let find = |name: &str| subjects.iter().find(|subject| subject["name"] == name).expect("the subject");
    assert_eq!(find("Ws")["blendshapes"]["jawOpen"], 0.75);
    assert_eq!((&find("Rtc")["source"], &find("Rtc")["tracked"]), (&json!("webrtc"), &json!(true)));
    assert_eq!(find(&phone)["blendshapes"].as_object().expect("shapes").len(), 52);
    stop.store(true, Ordering::Relaxed);
    replay.join().expect("no panic");
}

#[test]
fn dropped_app_frees_its_ports_for_another() {
    let (mut app, addresses) = live_app();
    app.update();
    let _client = {
        let runtime = app.world().resource::<FaceLinkEndpoint>().runtime().expect("runs").clone();
        let client = Client::start(ClientConfig::new(format!("ws://{}", addresses.http)), &runtime);
        let connected = client.wait_for(|state| *state == ClientState::Connected(SourceKind::WebRtc));
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), connected).await.expect("in time") });
        client
    };
    let begun = Instant::now();
    drop(app);
    let free = std::net::TcpListener::bind(addresses.http).is_ok()
        && UdpSocket::bind(addresses.live_link_face.expect("listened")).is_ok();
    assert!(free, "every port is free as soon as the App is gone");
    // Not a measurement: the promise is a second, and what waits inside is bounded by less than half of one.
    assert!(begun.elapsed() < Duration::from_secs(5));

    let plugin = FaceLinkPlugin::default().port(addresses.http.port()).live_link_face(None).udp_json(None);
    let mut again = App::new();
    again.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    assert_eq!(get(&addresses, "/api/v1/health")["status"], "healthy");
    let taken = FaceLinkPlugin::default().port(addresses.http.port()).live_link_face(None).udp_json(None);
    let mut second = App::new();
    second.add_plugins((MinimalPlugins, AssetPlugin::default(), taken));
    second.update();
    let failure = second.world().resource::<EndpointState>().error().expect("the port is taken");
    assert!(failure.to_string().contains(&addresses.http.to_string()), "{failure}");
}
