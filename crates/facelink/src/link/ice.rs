//! How WebRTC finds its way: STUN and TURN servers, and which addresses and ports are used.

use std::{fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

use crate::wire::json::IceServer;

/// Which ways WebRTC may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IcePolicy {
    /// Directly where possible, else through a relay.
    #[default]
    All,
    /// Through a TURN relay alone: addresses stay hidden.
    Relay,
}

/// Gives the STUN and TURN servers of the next connection, such as ones with time-limited credentials. Called once a
/// connection.
#[derive(Clone)]
pub struct IceServerProvider(pub Arc<dyn Fn() -> Vec<IceServer> + Send + Sync>);

impl fmt::Debug for IceServerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceServerProvider")
    }
}

/// How WebRTC connections are made.
#[derive(Clone, Debug)]
pub struct IceConfig {
    /// STUN and TURN servers, for us and for the clients that ask; none by default.
    pub servers: Vec<IceServer>,
    /// Asked for more servers whenever a connection is made; see [`IceServerProvider`].
    pub provider: Option<IceServerProvider>,
    /// Whether anything but a relay may be used.
    pub policy: IcePolicy,
    /// UDP ports to use; any by default.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Addresses by which others reach this machine, where a NAT with port forwarding stands before it: our candidates
    /// carry them instead of our own.
    pub advertised: Vec<IpAddr>,
    /// Names (`wlan0`) or addresses of the network interfaces to use; all by default.
    pub interfaces: Vec<String>,
    /// Whether IPv6 addresses are used.
    pub ipv6: bool,
    /// Whether TCP is tried where UDP is blocked (RFC 6544).
    pub tcp: bool,
}

impl Default for IceConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            provider: None,
            policy: IcePolicy::All,
            udp_ports: None,
            advertised: Vec::new(),
            interfaces: Vec::new(),
            ipv6: true,
            tcp: true,
        }
    }
}
