//! The end of a game frees the ports.

use bevy::prelude::*;
use bevy_facelink::FaceLinkEndpoint;

use crate::live::live_app;

#[test]
fn an_exit_frees_the_ports_though_the_app_is_still_there() {
    let (mut app, addresses) = live_app();
    app.update();
    app.world_mut().write_message(AppExit::Success);
    app.update();
    assert!(app.world().get_resource::<FaceLinkEndpoint>().is_none());
    assert!(std::net::TcpListener::bind(addresses.http).is_ok());
    // A runner that goes on for a frame or two does no harm.
    app.update();
}
