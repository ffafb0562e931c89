//! HTTPS beside HTTP: a self-signed certificate that is kept, or the user's own.

use std::path::PathBuf;

/// Whether the HTTP port speaks TLS too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsConfig {
    /// Plain HTTP alone.
    #[default]
    Off,
    /// A certificate of our own making, kept in this folder across runs.
    SelfSigned(PathBuf),
    /// The user's certificate chain and key, PEM files.
    Files {
        /// Certificate chain.
        certificate: PathBuf,
        /// Private key.
        key: PathBuf,
    },
}
