//! Settings of the mesh of relays.

use std::{fmt, path::PathBuf, str::FromStr};

use facelink::mesh::MeshSettings;

/// Port of Zenoh, where an address names none.
pub const ZENOH_PORT: u16 = 7447;

/// Protocols of this build.
const PROTOCOLS: [&str; 4] = ["tcp", "tls", "quic", "udp"];

/// How this endpoint is one of several relays, over Zenoh: see `docs/relays.md`.
///
/// Without a listening address and without a peer it is alone. It is not found by others, nor finds them, by multicast
/// unless it is [asked to](Self::scouting).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MeshConfig {
    /// Relays to connect to; a connection that breaks is made again. None by default.
    pub connect: Vec<MeshAddress>,
    /// Where to listen for other relays. Nowhere by default. There is no token: who reaches it takes part, unless
    /// [`config`](Self::config) has TLS with certificates of both sides, or access control.
    pub listen: Vec<MeshAddress>,
    /// A configuration of Zenoh, JSON5: TLS, access control, transports. What it leaves at Zenoh's defaults is set for
    /// relays: mode `router`, no multicast, a lease of 1 s. None by default.
    pub config: Option<PathBuf>,
    /// Whether relays of the same network find each other by multicast. Off by default.
    pub scouting: bool,
    /// Whether the faces of all other relays come here although no viewer wants them: for an endpoint whose engine shows
    /// them. Off by default.
    pub watch_all: bool,
    /// Limits of what is taken from others.
    pub settings: MeshSettings,
}

impl MeshConfig {
    /// Connects to a relay too.
    #[must_use]
    pub fn connect(mut self, address: MeshAddress) -> Self {
        self.connect.push(address);
        self
    }

    /// Listens there too.
    #[must_use]
    pub fn listen(mut self, address: MeshAddress) -> Self {
        self.listen.push(address);
        self
    }
}

/// Where a relay is reached, or listens: `HOST`, `HOST:PORT` or `PROTOCOL/HOST:PORT`, and what Zenoh takes behind that, such
/// as `#iface=eth0`. Protocols are `tcp`, the default, `tls`, `quic` and `udp`; the port is 7447 by default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshAddress(String);

/// What is no address of a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MeshAddressError {
    /// Not `PROTOCOL/HOST:PORT`.
    #[error("`{0}` is no address: expected HOST, HOST:PORT or PROTOCOL/HOST:PORT, such as tcp/192.0.2.7:7447")]
    Form(String),
    /// A protocol that this build does not have.
    #[error("protocol `{0}`: expected tcp, tls, quic or udp")]
    Protocol(String),
    /// No port.
    #[error("port `{0}`: expected 0 to 65535")]
    Port(String),
}

impl FromStr for MeshAddress {
    type Err = MeshAddressError;

    fn from_str(text: &str) -> Result<Self, MeshAddressError> {
        let form = || MeshAddressError::Form(text.to_owned());
        let (protocol, rest) = text.split_once('/').unwrap_or(("tcp", text));
        if !PROTOCOLS.contains(&protocol) {
            return Err(MeshAddressError::Protocol(protocol.to_owned()));
        }
        let (address, more) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        // The last colon of an address in brackets may be within them; without brackets several are no port.
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.starts_with('[')) => {
                (host, port.parse().map_err(|_| MeshAddressError::Port(port.to_owned()))?)
            }
            _ => (address, ZENOH_PORT),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
        let bracketed = host.starts_with('[') && host.ends_with(']');
        if host.is_empty() || !host.bytes().all(plain) || (host.contains(':') && !bracketed) || more.contains('"') {
            return Err(form());
        }
        Ok(Self(format!("{protocol}/{host}:{port}{more}")))
    }
}

impl fmt::Display for MeshAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_addresses_are_complete() {
        for (given, full) in [
            ("192.0.2.7", "tcp/192.0.2.7:7447"),
            ("relay.example:9", "tcp/relay.example:9"),
            ("udp/[::]:0", "udp/[::]:0"),
            ("[2001:db8::1]", "tcp/[2001:db8::1]:7447"),
            ("tls/relay.example", "tls/relay.example:7447"),
            ("tcp/192.0.2.7:7447#iface=eth0", "tcp/192.0.2.7:7447#iface=eth0"),
        ] {
            assert_eq!(given.parse().map(|address: MeshAddress| address.to_string()), Ok(full.to_owned()));
        }
    }

    #[test]
    fn mesh_addresses_name_what_is_wrong() {
        for (given, wrong) in [
            ("", "`` is no address"),
            ("tcp/", "`tcp/` is no address"),
            ("ws/192.0.2.7:1", "protocol `ws`"),
            ("tcp/192.0.2.7:99999", "port `99999`"),
            ("2001:db8::1", "`2001:db8::1` is no address"),
            ("relay example", "`relay example` is no address"),
            ("relay#a=\"", "is no address"),
        ] {
            let error = given.parse::<MeshAddress>().expect_err(given).to_string();
            assert!(error.contains(wrong), "{given}: {error}");
        }
    }
}
