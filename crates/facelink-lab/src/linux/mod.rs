//! The commands.

mod age;
mod attack;
mod browser;
mod bytes;
mod capacity;
mod common;
mod cycles;
mod flood;
mod format;
mod latency;
mod log;
mod loss;
mod moves;
mod net;
mod path;
mod proc;
mod raw;
mod reconnect;
mod relay;
mod role;
mod sender;
mod stall;
mod storm;
mod table;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures FaceLink's link over real sockets, processes and network namespaces. Prints Markdown tables.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Frames lost and aged while they move between the WebSocket and WebRTC.
    Moves(moves::Args),
    /// Time from the return of a network to the first fresh frame.
    Reconnect(reconnect::Args),
    /// What connections leave behind. Fails when something stays.
    Cycles(cycles::Args),
    /// One-way latency and cost compared with aiortc and aiohttp.
    Latency(latency::Args),
    /// A peer that stops reading.
    Stall(stall::Args),
    /// A face on one port while another is flooded.
    Flood(flood::Args),
    /// A face of a client with the token, while others without one do what they can.
    Attack(attack::Args),
    /// How fresh a face is over a network that loses, delays and throttles.
    Loss(loss::Args),
    /// What a face costs on the wire, by format and transport.
    Bytes(bytes::Args),
    /// Many WebRTC connections at once on a busy machine.
    Storm(storm::Args),
    /// What a message costs, and how many senders one core takes, next to other stacks.
    Capacity(capacity::Args),
    /// Memory, tasks and ages over hours of senders, while viewers come and go. Fails when something stays.
    Soak(capacity::SoakArgs),
    /// Many viewers of many faces through one relay on one core.
    Relay(relay::Args),
    /// A process of the lab: a relay.
    #[command(hide = true)]
    RelayServer(relay::ServerArgs),
    /// A process of the lab: publishers and viewers.
    #[command(hide = true)]
    RelayLoad(relay::LoadArgs),
    /// A process of the lab: receives.
    #[command(hide = true)]
    Endpoint(role::EndpointArgs),
    /// A process of the lab: sends.
    #[command(hide = true)]
    Client(role::ClientArgs),
    /// A process of the lab: a WebRTC peer without our client, that offers over HTTP.
    #[command(hide = true)]
    Raw(raw::Args),
    /// A process of the lab: sends from Chromium.
    #[command(hide = true)]
    Browser(browser::Args),
    /// A process of the lab: datagrams.
    #[command(hide = true)]
    Udp(raw::UdpArgs),
    /// A process of the lab: takes faces and reports their ages.
    #[command(hide = true)]
    Receiver(capacity::ReceiverArgs),
    /// A process of the lab: many senders.
    #[command(hide = true)]
    Senders(capacity::SenderArgs),
}

pub fn main() -> ExitCode {
    // The lab's processes speak on their standard output.
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Moves(args) => moves::run(&args),
        Command::Reconnect(args) => reconnect::run(&args),
        Command::Cycles(args) => cycles::run(&args),
        Command::Latency(args) => latency::run(&args),
        Command::Stall(args) => stall::run(&args),
        Command::Flood(args) => flood::run(&args),
        Command::Attack(args) => attack::run(&args),
        Command::Loss(args) => loss::run(&args),
        Command::Bytes(args) => bytes::run(&args),
        Command::Storm(args) => storm::run(&args),
        Command::Capacity(args) => capacity::run(&args),
        Command::Soak(args) => capacity::soak(&args),
        Command::Relay(args) => relay::run(&args),
        Command::RelayServer(args) => relay::serve(&args),
        Command::RelayLoad(args) => relay::load_viewers(&args),
        Command::Endpoint(args) => role::endpoint(&args),
        Command::Client(args) => role::client(&args),
        Command::Raw(args) => raw::run(&args),
        Command::Browser(args) => browser::run(&args),
        Command::Udp(args) => raw::udp(&args),
        Command::Receiver(args) => capacity::receive(&args),
        Command::Senders(args) => capacity::send(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facelink-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
