//! Addresses that are given to others.

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use facelink::time::Instant;

use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
#[cfg(not(target_arch = "wasm32"))]
use socket2::{Domain, Protocol, Socket, Type};

/// All but the unreserved characters of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encoded as a value of a query.
fn in_query(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
}

/// The page's address, with the token in it.
pub(crate) fn page_url(address: SocketAddr, https: bool, token: Option<&str>) -> String {
    let scheme = if https { "https" } else { "http" };
    let token = token.map(|token| format!("?token={}", in_query(token))).unwrap_or_default();
    format!("{scheme}://{address}/{token}")
}

/// The address of this machine by which it would send to another one. Nothing is sent: the system is asked for the route.
fn source_for(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// This machine's address as others on its network see it: the IPv4 one, or on a network without IPv4 the IPv6 one.
/// Nothing is sent: the system is asked for the route.
pub fn outward_address() -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): any address beyond the network does.
    let v4 = Ipv4Addr::new(192, 0, 2, 1).into();
    source_for(SocketAddr::new(v4, 9)).or_else(outward_ipv6)
}

/// Binds a port. With `only_v6`, `::` hears IPv6 alone; otherwise IPv4 too, where the system can.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn bind_tcp(address: SocketAddr, only_v6: bool) -> std::io::Result<std::net::TcpListener> {
    let socket = bind(address, only_v6, Type::STREAM, Protocol::TCP)?;
    socket.listen(1024)?;
    Ok(socket.into())
}

/// The same for datagrams, with a receive buffer that survives a stalled moment.
#[cfg(feature = "phones")]
pub(crate) fn bind_udp(address: SocketAddr, only_v6: bool) -> std::io::Result<UdpSocket> {
    Ok(bind(address, only_v6, Type::DGRAM, Protocol::UDP)?.into())
}

/// The address of a peer as a socket that hears both families shows it, without the mapping.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The IPv6 counterpart of an IPv4 socket that is bound to loopback or to every address.
pub(crate) fn ipv6_counterpart(bound: SocketAddr) -> Option<SocketAddr> {
    let ip = match bound.ip() {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST,
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED,
        _ => return None,
    };
    Some(SocketAddr::new(ip.into(), bound.port()))
}

#[cfg(not(target_arch = "wasm32"))]
fn bind(address: SocketAddr, only_v6: bool, kind: Type, protocol: Protocol) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    // The systems' defaults differ: Windows hears IPv6 alone.
    if address.is_ipv6() {
        socket.set_only_v6(only_v6).or_else(|error| if only_v6 { Err(error) } else { Ok(()) })?;
    }
    if kind == Type::DGRAM {
        // As much as the system allows; a small buffer still works.
        let _ = socket.set_recv_buffer_size(1 << 20);
        // For calls to phones whose address is not known.
        let _ = socket.set_broadcast(true);
    } else {
        // As the standard library does: a port in TIME_WAIT can be bound again.
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The same on networks of IPv6; `None` where there is a link-local address alone, which no URL can carry.
pub(crate) fn outward_ipv6() -> Option<IpAddr> {
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into();
    let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    source_for(SocketAddr::new(v6, 9)).filter(|address| !link_local(address))
}

/// The network of an IPv6 address: its /64.
pub(crate) fn ipv6_network(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        IpAddr::V4(_) => None,
        IpAddr::V6(v6) => Some(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into()),
    }
}

/// The address that limits are counted by: itself, or for an IPv6 address beyond the networks of this machine its /64,
/// because one machine has any number of addresses there. A local network is one /64 with many machines in it.
pub(crate) fn limit_key(address: IpAddr) -> IpAddr {
    let address = address.to_canonical();
    ipv6_network(address).filter(|_| !address.is_loopback() && !is_on_link(address)).unwrap_or(address)
}

/// Whether a provider shares an address among its customers (RFC 6598), or a VPN such as Tailscale uses it.
#[cfg(any(feature = "phones", feature = "tls", feature = "webrtc"))]
pub(crate) fn is_shared(address: Ipv4Addr) -> bool {
    address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64
}

/// [`is_private`] of IPv4.
#[cfg(any(feature = "phones", feature = "tls", feature = "webrtc"))]
pub(crate) fn is_private_v4(address: Ipv4Addr) -> bool {
    address.is_private() || address.is_loopback() || address.is_link_local() || is_shared(address)
}

/// Whether an address means nothing beyond the network of a building or a provider. One that is mapped into IPv6 is none.
#[cfg(any(feature = "phones", feature = "webrtc"))]
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_private_v4(v4),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// Whether an IPv6 address is on a network of this machine.
pub(crate) fn is_on_link(address: IpAddr) -> bool {
    /// A machine may change networks.
    const KEPT: Duration = Duration::from_secs(30);
    const MAX_NETWORKS: usize = 64;
    static NETWORKS: Mutex<VecDeque<(IpAddr, bool, Instant)>> = Mutex::new(VecDeque::new());

    let IpAddr::V6(v6) = address.to_canonical() else { return false };
    if v6.is_unicast_link_local() || v6.is_unique_local() {
        return true;
    }
    let Some(network) = ipv6_network(address) else { return false };
    let now = Instant::now();
    let mut networks = NETWORKS.lock();
    networks.retain(|(.., since)| now.saturating_duration_since(*since) < KEPT);
    if let Some((_, on_link, _)) = networks.iter().find(|(known, ..)| *known == network) {
        return *on_link;
    }
    let own = source_for(SocketAddr::new(address, 9)).and_then(ipv6_network);
    if networks.len() >= MAX_NETWORKS {
        networks.pop_front();
    }
    networks.push_back((network, own == Some(network), now));
    own == Some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_key_is_the_prefix_beyond_the_own_networks() {
        let key = |text: &str| limit_key(text.parse().expect("an address")).to_string();
        assert_eq!(key("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(key("192.0.2.7"), "192.0.2.7");
        assert_eq!(key("2001:db8:1:2:3::4"), "2001:db8:1:2::");
        for on_link in ["fe80::1:2", "fd00::1:2", "::1"] {
            assert_eq!(key(on_link), on_link, "machines of one local network are counted one by one");
        }
    }

    #[test]
    fn page_url_escapes_the_token() {
        assert_eq!(in_query("abc-23"), "abc-23");
        assert_eq!(in_query("open sesame & ü"), "open%20sesame%20%26%20%C3%BC");
    }
}
