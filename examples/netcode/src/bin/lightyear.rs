//! Faces with lightyear, over UDP: `cargo run --bin lightyear -- --rate 20 --loss 0.05`.
//!
//! lightyear brings the player's entity to the clients, and its messages the face, on an unreliable channel: a payload that is lost
//! costs nothing but itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use bevy::{ecs::entity::MapEntities, prelude::*, state::app::StatesPlugin};
use facelink_netcode::{FacesTo, Floats, Joined, Performer, Sends, ShownFace, replicate_floats, take_floats};
use lightyear::{
    netcode::{NetcodeClient, NetcodeServer},
    prelude::{client::*, server::*, *},
};
use serde::{Deserialize, Serialize};

/// A player, who has a face.
#[derive(Component, Serialize, Deserialize)]
struct Player;

struct Faces;

/// A face, to one client. lightyear maps the entity to the client's own.
#[derive(Clone, Serialize, Deserialize, MapEntities)]
struct FaceUpdate {
    #[entities]
    of: Entity,
    payload: Vec<u8>,
}

/// The client has a payload; those that follow are what changed since.
#[derive(Clone, Serialize, Deserialize, MapEntities)]
struct FaceArrived {
    #[entities]
    of: Entity,
    number: u32,
}

fn protocol(app: &mut App) {
    app.add_channel::<Faces>(ChannelSettings { mode: ChannelMode::UnorderedUnreliable, ..default() })
        .add_direction(NetworkDirection::Bidirectional);
    app.register_message::<FaceUpdate>().add_map_entities().add_direction(NetworkDirection::ServerToClient);
    app.register_message::<FaceArrived>().add_map_entities().add_direction(NetworkDirection::ClientToServer);
    app.component::<Player>().replicate();
    app.component::<Floats>().replicate();
}

/// On the server, with every frame: a payload for each client, by an encoder of its own for each.
fn send_faces(
    mut performer: ResMut<Performer>,
    player: Single<Entity, With<Player>>,
    mut clients: Query<(&mut MessageSender<FaceUpdate>, &mut FacesTo<Entity>), With<Connected>>,
) {
    let Some((face, captured)) = performer.due() else { return };
    let of = *player;
    for (mut updates, mut faces) in &mut clients {
        let mut payload = Vec::new();
        if faces.entry(of).or_default().encode(&face, captured, &mut payload).is_ok() {
            updates.send::<Faces>(FaceUpdate { of, payload });
        }
    }
}

fn acknowledge(mut clients: Query<(&mut MessageReceiver<FaceArrived>, &mut FacesTo<Entity>)>) {
    for (mut arrived, mut faces) in &mut clients {
        for FaceArrived { of, number } in arrived.receive() {
            if let Some(encoder) = faces.get_mut(&of) {
                encoder.acknowledge(number);
            }
        }
    }
}

/// On a client: what `take` returns goes back. A payload that comes before its player does is one more that is lost.
fn take_faces(
    mut server: Query<(&mut MessageReceiver<FaceUpdate>, &mut MessageSender<FaceArrived>)>,
    mut faces: Query<&mut ShownFace>,
) {
    for (mut updates, mut arrived) in &mut server {
        for FaceUpdate { of, payload } in updates.receive() {
            if let Ok(mut face) = faces.get_mut(of)
                && let Some(number) = face.take(&payload)
            {
                arrived.send::<Faces>(FaceArrived { of, number });
            }
        }
    }
}

const PROTOCOL: u64 = 1;
/// A game has a secret one, and gives its players tokens.
const KEY: [u8; 32] = [0; 32];

fn server(sends: Sends) -> Result<(App, SocketAddr)> {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, StatesPlugin, ServerPlugins::default()));
    protocol(&mut app);
    app.register_required_components::<ClientOf, FacesTo<Entity>>();
    app.add_observer(|added: On<Add, LinkOf>, mut commands: Commands| {
        commands.entity(added.entity).insert(ReplicationSender);
    });
    match sends {
        Sends::Payloads => app.add_systems(Update, (acknowledge, send_faces)),
        Sends::Floats => app.add_systems(Update, replicate_floats::<Player>),
    };
    app.world_mut().spawn((Player, Replicate::to_clients(NetworkTarget::All)));

    let netcode = NetcodeServer::new(lightyear::netcode::server_plugin::NetcodeConfig {
        protocol_id: PROTOCOL,
        private_key: KEY,
        // Clients come by another address, that of the path with loss.
        server_addr_check: false,
        ..default()
    });
    let any_port = LocalAddr((Ipv4Addr::LOCALHOST, 0).into());
    let entity = app.world_mut().spawn((netcode, any_port, ServerUdpIo::default())).id();
    app.world_mut().trigger(Start { entity });
    app.world_mut().flush();
    let address = app.world().get::<LocalAddr>(entity).ok_or("no socket")?.0;
    Ok((app, address))
}

fn client(server: SocketAddr, number: u64) -> Result<App> {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, StatesPlugin, ClientPlugins::default()));
    protocol(&mut app);
    app.register_required_components::<Player, ShownFace>();
    app.add_systems(Update, (take_faces, take_floats))
        .add_observer(|_: On<Add, Connected>, mut commands: Commands| commands.insert_resource(Joined::now()));

    let authentication =
        Authentication::Manual { server_addr: server, client_id: number, private_key: KEY, protocol_id: PROTOCOL };
    let netcode = NetcodeClient::new(authentication, lightyear::netcode::client_plugin::NetcodeConfig::default())?;
    let any_port = LocalAddr((Ipv4Addr::LOCALHOST, 0).into());
    let entity = app.world_mut().spawn((Client, netcode, any_port, UdpIo::default(), ReplicationReceiver)).id();
    app.world_mut().trigger(Connect { entity });
    app.world_mut().flush();
    Ok(app)
}

fn main() -> Result<ExitCode> {
    facelink_netcode::run("lightyear", server, |_, address, number| client(address, number))
}
