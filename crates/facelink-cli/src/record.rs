//! `facelink record`: `listen`, with everything written to a take.

use std::{path::PathBuf, time::Duration};

use facelink_net::TakeOptions;

use crate::{
    error::Error,
    listen::{self, Recording},
    take::seconds,
};

/// Receive faces, show them, and record everything to a take (MCAP), until Ctrl-C or for some seconds.
#[derive(Debug, clap::Args)]
#[group(id = "record")]
pub struct Args {
    /// File to record to; it is overwritten [default: takes/SLATE_TAKE.mcap, a new one].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How long to record; until Ctrl-C if not given.
    #[arg(long, value_parser = seconds)]
    seconds: Option<Duration>,
    /// Slate: name of the scene or line.
    #[arg(long, value_name = "NAME")]
    slate: Option<String>,
    /// Number of the take [default: the next one of the slate].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    take: Option<u32>,
    /// Record the datagrams of phones too, as they arrive: what a bug report needs.
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    listen: listen::Args,
}

pub fn run(args: Args) -> Result<(), Error> {
    let options = TakeOptions {
        slate: args.slate,
        take: args.take,
        file: args.out,
        packets: args.raw,
        // Asked for, and therefore an error without a phone.
        phones: args.listen.with_phone.then_some(true),
        ..TakeOptions::default()
    };
    listen::receive(args.listen, Some(Recording { options, seconds: args.seconds }))
}
