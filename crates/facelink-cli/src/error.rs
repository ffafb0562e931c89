//! Why the command fails.

use std::io;

use facelink_net::LinkError;

/// Why the command failed, in words for the person who ran it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("cannot write the output: {0}")]
    Output(io::Error),
    #[error("cannot watch for Ctrl-C: {0}")]
    Signals(io::Error),
    #[error("cannot start the background runtime: {0}")]
    Runtime(io::Error),
    #[error("the takes differ")]
    Different,
    /// What is compared cannot be: not the same as a difference.
    #[error("{0}")]
    Incomparable(String),
    #[error("{0}")]
    Plain(String),
}
