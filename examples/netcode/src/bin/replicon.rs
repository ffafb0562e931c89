//! Faces with bevy_replicon, over UDP by bevy_replicon_renet: `cargo run --bin replicon -- --rate 20 --loss 0.05`.
//!
//! Replicon brings the player's entity to the clients, and its messages the face: unreliably, since a payload that is lost costs
//! nothing but itself. As a component the face would be sent again until it arrives, when a newer one is long there.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::ExitCode,
    time::SystemTime,
};

use bevy::{ecs::entity::MapEntities, prelude::*, state::app::StatesPlugin};
use bevy_replicon::prelude::*;
use bevy_replicon_renet::{
    RenetChannelsExt, RenetClient, RenetServer, RepliconRenetPlugins,
    netcode::{
        ClientAuthentication, NetcodeClientTransport, NetcodeServerTransport, ServerAuthentication, ServerConfig,
    },
    renet::ConnectionConfig,
};
use facelink_netcode::{FacesTo, Floats, Joined, Performer, Sends, ShownFace, replicate_floats, take_floats};
use serde::{Deserialize, Serialize};

/// A player, who has a face.
#[derive(Component, Serialize, Deserialize)]
struct Player;

/// A face, to one client. Replicon maps the entity to the client's own.
#[derive(Message, Serialize, Deserialize, MapEntities)]
struct FaceUpdate {
    #[entities]
    of: Entity,
    payload: Vec<u8>,
}

/// The client has a payload; those that follow are what changed since.
#[derive(Message, Clone, Serialize, Deserialize, MapEntities)]
struct FaceArrived {
    #[entities]
    of: Entity,
    number: u32,
}

fn protocol(app: &mut App) {
    app.replicate::<Player>()
        .add_mapped_server_message::<FaceUpdate>(Channel::Unreliable)
        .add_mapped_client_message::<FaceArrived>(Channel::Unreliable)
        .replicate::<Floats>();
}

/// On the server, with every frame: a payload for each client, by an encoder of its own for each.
fn send_faces(
    mut performer: ResMut<Performer>,
    player: Single<Entity, With<Player>>,
    mut clients: Query<(Entity, &mut FacesTo<Entity>)>,
    mut updates: MessageWriter<ToClients<FaceUpdate>>,
) {
    let Some((face, captured)) = performer.due() else { return };
    let of = *player;
    for (client, mut faces) in &mut clients {
        let mut payload = Vec::new();
        if faces.entry(of).or_default().encode(&face, captured, &mut payload).is_ok() {
            let targets = SendTargets::Single(client.into());
            updates.write(ToClients { targets, message: FaceUpdate { of, payload } });
        }
    }
}

fn acknowledge(mut arrived: MessageReader<FromClient<FaceArrived>>, mut clients: Query<&mut FacesTo<Entity>>) {
    for FromClient { client_id, message } in arrived.read() {
        let Some(Ok(mut faces)) = client_id.entity().map(|client| clients.get_mut(client)) else { continue };
        if let Some(encoder) = faces.get_mut(&message.of) {
            encoder.acknowledge(message.number);
        }
    }
}

/// On a client: what `take` returns goes back.
fn take_faces(
    mut updates: MessageReader<FaceUpdate>,
    mut faces: Query<&mut ShownFace>,
    mut arrived: MessageWriter<FaceArrived>,
) {
    for FaceUpdate { of, payload } in updates.read() {
        if let Ok(mut face) = faces.get_mut(*of)
            && let Some(number) = face.take(payload)
        {
            arrived.write(FaceArrived { of: *of, number });
        }
    }
}

const PROTOCOL: u64 = 1;

fn game() -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, StatesPlugin, RepliconPlugins, RepliconRenetPlugins));
    protocol(&mut app);
    app
}

fn connection(channels: &RepliconChannels) -> ConnectionConfig {
    ConnectionConfig {
        server_channels_config: channels.server_configs(),
        client_channels_config: channels.client_configs(),
        ..default()
    }
}

fn server(sends: Sends) -> Result<(App, SocketAddr)> {
    let mut app = game();
    // Before that a client would throw away what names an entity.
    app.register_required_components::<AuthorizedClient, FacesTo<Entity>>();
    match sends {
        Sends::Payloads => app.add_systems(Update, (acknowledge, send_faces)),
        Sends::Floats => app.add_systems(Update, replicate_floats::<Player>),
    };
    app.world_mut().spawn((Player, Replicated));

    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    let config = ServerConfig {
        current_time: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?,
        max_clients: 2,
        protocol_id: PROTOCOL,
        public_addresses: vec![address],
        authentication: ServerAuthentication::Unsecure,
    };
    let server = RenetServer::new(connection(app.world().resource()));
    app.insert_resource(server).insert_resource(NetcodeServerTransport::new(config, socket)?);
    Ok((app, address))
}

fn client(server: SocketAddr, number: u64) -> Result<App> {
    let mut app = game();
    app.register_required_components::<Player, ShownFace>();
    app.add_systems(Update, (take_faces, take_floats))
        .add_systems(OnEnter(ClientState::Connected), |mut commands: Commands| commands.insert_resource(Joined::now()));

    let authentication = ClientAuthentication::Unsecure {
        client_id: number,
        protocol_id: PROTOCOL,
        server_addr: server,
        user_data: None,
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let client = RenetClient::new(connection(app.world().resource()));
    app.insert_resource(client).insert_resource(NetcodeClientTransport::new(now, authentication, socket)?);
    Ok(app)
}

fn main() -> Result<ExitCode> {
    facelink_netcode::run("bevy_replicon", server, |_, address, number| client(address, number))
}
