//! Faces with aeronet, over WebTransport: `cargo run --bin aeronet -- --rate 20 --loss 0.05`.
//!
//! A face is a message of an unreliable lane of `aeronet_transport`. aeronet maps no entities, so that the game's own number of the
//! player goes first; with `aeronet_replicon` the game is one with bevy_replicon (`src/bin/replicon.rs`), and only its plugins differ.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    time::Instant,
};

use aeronet_io::Session;
use aeronet_transport::{
    AeronetTransportPlugin, Transport,
    lane::{LaneIndex, LaneKind},
};
use aeronet_webtransport::{
    client::{ClientConfig, WebTransportClient, WebTransportClientPlugin},
    server::{ServerConfig, SessionRequest, SessionResponse, WebTransportServer, WebTransportServerPlugin},
};
use bevy::{ecs::system::EntityCommand, prelude::*};
use facelink_netcode::{FacesTo, Joined, Performer, Sends, ShownFace};
use wtransport::{Identity, tls::Sha256Digest};

/// A player, who has a face, by the number that the game gives to each.
#[derive(Component)]
struct Player(u8);

/// A lane for faces, next to the game's others: to a client the number of a player and a payload, and back that number and
/// the payload's, four bytes.
const FACES: LaneIndex = LaneIndex::new(0);
const LANES: [LaneKind; 1] = [LaneKind::UnreliableUnordered];

/// On the server, with every frame: a payload for each client, by an encoder of its own for each.
fn send_faces(
    mut performer: ResMut<Performer>,
    player: Single<&Player>,
    mut clients: Query<(&mut Transport, &mut FacesTo<u8>)>,
) {
    let Some((face, captured)) = performer.due() else { return };
    for (mut transport, mut faces) in &mut clients {
        let mut message = vec![player.0];
        if faces.entry(player.0).or_default().encode(&face, captured, &mut message).is_ok() {
            // aeronet disconnects by itself where this fails.
            let _ = transport.send.push(FACES, message.into(), Instant::now());
        }
    }
}

fn acknowledge(mut clients: Query<(&mut Transport, &mut FacesTo<u8>)>) {
    for (mut transport, mut faces) in &mut clients {
        for message in transport.recv.msgs.drain() {
            if let [player, number @ ..] = &*message.payload
                && let Ok(number) = <[u8; 4]>::try_from(number)
                && let Some(encoder) = faces.get_mut(player)
            {
                encoder.acknowledge(u32::from_le_bytes(number));
            }
        }
        // They come for reliable lanes alone.
        transport.recv.acks.drain().for_each(drop);
    }
}

/// On a client: what `take` returns goes back.
fn take_faces(mut server: Query<&mut Transport>, mut faces: Query<(&Player, &mut ShownFace)>) {
    for mut transport in &mut server {
        let transport = &mut *transport;
        for message in transport.recv.msgs.drain() {
            if let [number, payload @ ..] = &*message.payload
                && let Some((_, mut face)) = faces.iter_mut().find(|(player, _)| player.0 == *number)
                && let Some(arrived) = face.take(payload)
            {
                let answer = [&[*number][..], &arrived.to_le_bytes()].concat();
                let _ = transport.send.push(FACES, answer.into(), Instant::now());
            }
        }
        transport.recv.acks.drain().for_each(drop);
    }
}

/// The face as 52 floats, for comparison.
fn send_floats(mut performer: ResMut<Performer>, player: Single<&Player>, mut clients: Query<&mut Transport>) {
    let Some(floats) = performer.floats_due() else { return };
    for mut transport in &mut clients {
        let message: Vec<u8> =
            std::iter::once(player.0).chain(floats.iter().flat_map(|float| float.to_le_bytes())).collect();
        let _ = transport.send.push(FACES, message.into(), Instant::now());
    }
}

fn take_floats(mut server: Query<&mut Transport>, mut face: Single<&mut ShownFace>) {
    for mut transport in &mut server {
        for message in transport.recv.msgs.drain() {
            if let [_, floats @ ..] = &*message.payload {
                let floats = floats.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                face.take_floats(&floats.collect::<Vec<_>>());
            }
        }
        transport.recv.acks.drain().for_each(drop);
    }
}

fn on_session(added: On<Add, Session>, sessions: Query<&Session>, mut commands: Commands) -> Result {
    let transport = Transport::new(sessions.get(added.entity)?, LANES, LANES, Instant::now())?;
    commands.entity(added.entity).insert(transport);
    Ok(())
}

fn server(sends: Sends, identity: Identity) -> Result<(App, SocketAddr)> {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, WebTransportServerPlugin, AeronetTransportPlugin))
        .add_observer(on_session)
        .add_observer(|mut request: On<SessionRequest>| request.respond(SessionResponse::Accepted));
    app.register_required_components::<Session, FacesTo<u8>>();
    match sends {
        Sends::Payloads => app.add_systems(Update, (acknowledge, send_faces)),
        Sends::Floats => app.add_systems(Update, (acknowledge, send_floats)),
    };
    app.world_mut().spawn(Player(1));

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    let config = ServerConfig::builder().with_bind_socket(socket).with_identity(identity).build();
    WebTransportServer::open(config).apply(app.world_mut().spawn_empty());
    Ok((app, address))
}

fn client(sends: Sends, server: SocketAddr, certificate: Sha256Digest) -> Result<App> {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, WebTransportClientPlugin, AeronetTransportPlugin))
        .add_observer(on_session)
        .add_observer(|_: On<Add, Session>, mut commands: Commands| commands.insert_resource(Joined::now()));
    match sends {
        Sends::Payloads => app.add_systems(Update, take_faces),
        Sends::Floats => app.add_systems(Update, take_floats),
    };
    // A game makes its players known by a reliable lane.
    app.world_mut().spawn((Player(1), ShownFace::default()));

    let config = ClientConfig::builder()
        .with_bind_address((Ipv4Addr::LOCALHOST, 0).into())
        .with_server_certificate_hashes([certificate])
        .build();
    WebTransportClient::connect(config, format!("https://{server}")).apply(app.world_mut().spawn_empty());
    Ok(app)
}

fn main() -> Result<ExitCode> {
    let identity = Identity::self_signed(["127.0.0.1"])?;
    let certificate = identity.certificate_chain().as_slice()[0].hash();
    facelink_netcode::run(
        "aeronet",
        |sends| server(sends, identity.clone_identity()),
        |sends, address, _| client(sends, address, certificate.clone()),
    )
}
