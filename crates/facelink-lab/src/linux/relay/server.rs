//! The relay.

use std::time::Duration;

use facelink::relay::RelaySettings;
use facelink_net::{Endpoint, EndpointConfig};
use serde_json::json;

use crate::linux::{
    capacity::{open_many_files, pin},
    common::Res,
    role::{commands, say},
};

#[derive(clap::Args)]
pub struct Args {
    /// Milliseconds that a frame waits for others.
    #[arg(long)]
    gather: Option<f64>,
    /// Packets a second of all viewers together.
    #[arg(long)]
    max_packets: Option<f32>,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
}

pub fn run(args: &Args) -> Res<()> {
    pin(args.core)?;
    open_many_files()?;
    let commands = commands();
    let many = 16_384;
    let mut relay = RelaySettings::default();
    if let Some(gather) = args.gather {
        relay.gather = Duration::try_from_secs_f64(gather / 1000.0)?;
    }
    relay.max_packets_per_second = args.max_packets.unwrap_or(relay.max_packets_per_second);
    let endpoint = Endpoint::start(EndpointConfig {
        port: 0,
        relay,
        max_connections: many,
        max_pending_connections: many,
        max_subjects_per_connection: 1024,
        max_messages_per_second: 1e6,
        ..EndpointConfig::default()
    })?;
    say(&json!({"listening": endpoint.addresses().http.to_string()}));
    // Until its parent has gone.
    for _ in commands {}
    Ok(())
}
