//! The network's endpoint in the engine.

use std::ops::Deref;

use bevy::prelude::*;
use facelink_net::{Endpoint, EndpointConfig};

use crate::input::FaceInbox;

/// Starts the endpoint, if there is to be one.
pub(crate) struct EndpointPlugin {
    pub config: Option<EndpointConfig>,
}

impl Plugin for EndpointPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FaceLinkFailure>().add_systems(Last, stop);
        if let Some(config) = &self.config {
            start(app, config.clone());
        }
    }
}

/// The running endpoint. Removing it, an [`AppExit`], or dropping the `App` frees every port.
#[derive(Resource, Debug)]
pub struct FaceLinkEndpoint(Endpoint);

impl Deref for FaceLinkEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        &self.0
    }
}

/// Why nothing listens, in words for the user. Present instead of [`FaceLinkEndpoint`] when starting it failed.
#[derive(Resource, Reflect, Clone, Debug, PartialEq, Eq)]
#[reflect(Resource)]
pub struct FaceLinkFailure(pub String);

/// Not every runner drops its `App` when the game ends.
fn stop(mut commands: Commands, mut exits: MessageReader<AppExit>) {
    if exits.read().count() > 0 {
        commands.remove_resource::<FaceLinkEndpoint>();
    }
}

fn start(app: &mut App, config: EndpointConfig) {
    match Endpoint::start(config) {
        Ok(endpoint) => {
            let addresses = endpoint.addresses();
            info!("FaceLink listens on http://{} (open it in a browser to send a face)", addresses.http);
            let ports: Vec<_> =
                endpoint.phone_ports().iter().map(|(port, address)| format!("{port} {}", address.port())).collect();
            if !ports.is_empty() {
                info!("FaceLink listens for phones: {}", ports.join(", "));
            }
            let inbox = FaceInbox { frames: endpoint.frames().clone(), events: endpoint.events().clone() };
            app.insert_resource(inbox).insert_resource(FaceLinkEndpoint(endpoint));
        }
        Err(failure) => {
            error!("FaceLink receives nothing: {failure}");
            app.insert_resource(FaceLinkFailure(failure.to_string()));
        }
    }
}
