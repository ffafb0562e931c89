//! The `facelink` command: receive and send live faces without a game engine.

mod address;
mod audio;
mod doctor;
mod endpoint;
mod error;
mod event_line;
mod ice;
mod listen;
mod ltc;
#[cfg(feature = "microphone")]
mod microphone;
mod output;
mod phones;
mod play;
mod record;
mod relay;
mod send;
mod session;
mod speech;
mod stop;
mod table;
mod take;
mod timecode;

use std::{io, process::ExitCode};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use error::Error;

/// Live faces on the command line: receive them, or play any app that sends them.
#[derive(Debug, Parser)]
#[command(name = "facelink", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(args_override_self = true)]
    Listen(listen::Args),
    #[command(args_override_self = true)]
    Send(send::Args),
    #[command(args_override_self = true)]
    Relay(relay::Args),
    #[command(args_override_self = true)]
    Record(record::Args),
    #[command(args_override_self = true)]
    Play(play::Args),
    /// Look into takes, cut and compare them.
    #[command(subcommand)]
    Take(take::Command),
    /// Visemes of sound, and profiles of voices.
    #[command(subcommand)]
    Speech(speech::Command),
    /// Linear timecode (LTC) in sound files.
    #[command(subcommand)]
    Ltc(ltc::Command),
    #[command(args_override_self = true)]
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    // Usage errors end here, with 2.
    let cli = Cli::parse();
    // A certificate or a list of phones that could not be kept or read is the user's business.
    let quiet = "facelink=error,facelink_net::tls=warn,facelink_net::phones::roster=warn";
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(quiet));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();
    let done = match cli.command {
        Command::Listen(args) => listen::run(args),
        Command::Send(args) => send::run(args),
        Command::Relay(args) => relay::run(args),
        Command::Record(args) => record::run(args),
        Command::Play(args) => play::run(&args),
        Command::Take(command) => take::run(command),
        Command::Speech(command) => speech::run(command),
        Command::Ltc(command) => ltc::run(command),
        Command::Doctor(args) => doctor::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed it: not an error.
        Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("facelink: {error}");
            // As of diff(1).
            if matches!(error, Error::Incomparable(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn cli_arguments_are_well_formed() {
        Cli::command().debug_assert();
    }
}
