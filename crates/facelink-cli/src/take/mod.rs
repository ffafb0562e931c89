//! `facelink take`: look into takes, cut and compare them.

mod cut;
mod diff;
mod file;
mod info;

pub use file::{open, read_error, seconds, time};

use crate::error::Error;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Info(info::Args),
    Cut(cut::Args),
    Diff(diff::Args),
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Info(args) => info::run(&args),
        Command::Cut(args) => cut::run(&args),
        Command::Diff(args) => diff::run(&args),
    }
}
