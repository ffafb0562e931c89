//! `facelink take`: look into takes, cut, edit and compare them, hand them on to other tools.

mod cut;
mod diff;
mod edit;
mod export;
mod file;
mod info;
mod input;

pub use file::{named, open, read_error, seconds, time};

use crate::error::Error;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Info(info::Args),
    Cut(cut::Args),
    Diff(diff::Args),
    Export(export::Args),
    Edit(edit::Args),
    Align(edit::AlignArgs),
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Info(args) => info::run(&args),
        Command::Cut(args) => cut::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Edit(args) => edit::run(&args),
        Command::Align(args) => edit::align(&args),
    }
}
