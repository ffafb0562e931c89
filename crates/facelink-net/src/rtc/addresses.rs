//! Which addresses and ports a connection binds.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket},
    ops::RangeInclusive,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use parking_lot::Mutex;

use crate::ice::IceConfig;

/// Sockets cost memory and checks; a machine with more addresses than this has mostly virtual ones.
const MAX_ADDRESSES: usize = 16;

/// Why nothing can be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error(
        "every {protocol} port from {start} to {end} on {address} is in use; widen `udp_ports`, or close connections"
    )]
    UsedUp { protocol: &'static str, start: u16, end: u16, address: IpAddr },
    #[error("no network interface has one of these names or addresses: {0}; see `interfaces`")]
    NoInterface(String),
    #[error("cannot list the network interfaces: {0}")]
    Listing(String),
    #[error("cannot bind {address}: {reason}")]
    Bind { address: IpAddr, reason: String },
}

/// One address of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    address: IpAddr,
}

fn interfaces() -> Result<Vec<Interface>, AddressError> {
    let listed = if_addrs::get_if_addrs().map_err(|error| AddressError::Listing(error.to_string()))?;
    Ok(listed.into_iter().map(|listed| Interface { address: listed.ip(), name: listed.name }).collect())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// The addresses to bind where the endpoint is bound to `bind`, of those that the machine has.
fn choose(bind: IpAddr, ice: &IceConfig, interfaces: &[Interface]) -> Result<Vec<IpAddr>, AddressError> {
    if !bind.is_unspecified() {
        return Ok(vec![bind]);
    }
    // `::` alone asks for IPv6 in any case.
    let v6 = ice.ipv6 || bind.is_ipv6();
    let wanted = |interface: &Interface| {
        ice.interfaces.is_empty()
            || ice.interfaces.iter().any(|wanted| {
                *wanted == interface.name || wanted.parse().is_ok_and(|wanted: IpAddr| wanted == interface.address)
            })
    };
    if !ice.interfaces.is_empty() && !interfaces.iter().any(wanted) {
        return Err(AddressError::NoInterface(ice.interfaces.join(", ")));
    }
    let mut chosen = Vec::new();
    let outward = interfaces.iter().filter(|interface| wanted(interface)).map(|interface| interface.address);
    let outward =
        outward.filter(|address| !address.is_loopback() && !address.is_unspecified() && !is_link_local(*address));
    // Pages on this machine come by loopback, whichever other interfaces are used.
    let loopback_v6 = v6 && interfaces.iter().any(|interface| interface.address == Ipv6Addr::LOCALHOST);
    let loopback = [Some(IpAddr::from(Ipv4Addr::LOCALHOST)), loopback_v6.then(|| Ipv6Addr::LOCALHOST.into())];
    for address in loopback.into_iter().flatten().chain(outward) {
        if (address.is_ipv4() || v6) && !chosen.contains(&address) {
            chosen.push(address);
        }
    }
    chosen.truncate(MAX_ADDRESSES);
    Ok(chosen)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    fn try_bind(self, address: SocketAddr) -> io::Result<()> {
        match self {
            Self::Udp => UdpSocket::bind(address).map(drop),
            Self::Tcp => TcpListener::bind(address).map(drop),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// Ports of ranges that connections of this process hold. Asking the system alone would not do: between the question and
/// the binding another connection may ask.
static HELD: LazyLock<Mutex<HashSet<(Protocol, SocketAddr)>>> = LazyLock::new(Mutex::default);
/// Where the search begins, so that a port that was just given back rests.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of a range, held until it is dropped.
#[derive(Debug)]
struct Lease(Protocol, SocketAddr);

impl Lease {
    fn take(protocol: Protocol, address: IpAddr, range: &RangeInclusive<u16>) -> Result<Self, AddressError> {
        let (start, end) = (*range.start(), *range.end());
        let count = usize::from(end.saturating_sub(start)) + usize::from(end >= start);
        let first = usize::from(NEXT.fetch_add(1, Ordering::Relaxed)) % count.max(1);
        for port in range.clone().cycle_from(first, count) {
            let address = SocketAddr::new(address, port);
            if !HELD.lock().insert((protocol, address)) {
                continue;
            }
            let lease = Self(protocol, address);
            match protocol.try_bind(address) {
                Ok(()) => return Ok(lease),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(AddressError::Bind { address: address.ip(), reason: error.to_string() }),
            }
        }
        Err(AddressError::UsedUp { protocol: protocol.name(), start, end, address })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        HELD.lock().remove(&(self.0, self.1));
    }
}

trait CycleFrom {
    /// All of the range, from its `first` element on and around.
    fn cycle_from(self, first: usize, count: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for RangeInclusive<u16> {
    fn cycle_from(self, first: usize, count: usize) -> impl Iterator<Item = u16> {
        self.cycle().skip(first).take(count)
    }
}

#[derive(Debug, Default)]
struct Chosen {
    addresses: Vec<SocketAddr>,
    leases: Vec<Lease>,
    error: Option<AddressError>,
}

/// The addresses of one connection, chosen again whenever the crate binds: at the start, and after a network change.
/// Its ports are free again when the last clone is gone, the crate's among them.
#[derive(Clone, Debug)]
pub(super) struct Addresses {
    protocol: Protocol,
    bind: IpAddr,
    ice: Arc<IceConfig>,
    chosen: Arc<Mutex<Chosen>>,
}

impl Addresses {
    pub fn new(protocol: Protocol, bind: IpAddr, ice: &Arc<IceConfig>) -> Self {
        Self { protocol, bind, ice: ice.clone(), chosen: Arc::default() }
    }

    /// What was chosen last.
    pub fn chosen(&self) -> Vec<SocketAddr> {
        self.chosen.lock().addresses.clone()
    }

    /// Why nothing was chosen.
    pub fn error(&self) -> Option<AddressError> {
        self.chosen.lock().error.clone()
    }

    fn choose(&self) -> Result<Vec<SocketAddr>, AddressError> {
        let interfaces = if self.bind.is_unspecified() { interfaces()? } else { Vec::new() };
        let addresses = choose(self.bind, &self.ice, &interfaces)?.into_iter();
        let addresses: Vec<_> = match self.protocol {
            Protocol::Udp => addresses.collect(),
            Protocol::Tcp if !self.ice.tcp => Vec::new(),
            Protocol::Tcp => addresses.filter(|address| self.ice.tcp_loopback || !address.is_loopback()).collect(),
        };
        let mut chosen = self.chosen.lock();
        chosen.leases.clear();
        let Some(range) = &self.ice.udp_ports else {
            return Ok(addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect());
        };
        let mut failure = None;
        for address in addresses {
            match Lease::take(self.protocol, address, range) {
                Ok(lease) => chosen.leases.push(lease),
                // An address that has just gone takes nothing with it.
                Err(error @ AddressError::Bind { .. }) => drop(failure.get_or_insert(error)),
                Err(error) => return Err(error),
            }
        }
        match failure {
            Some(error) if chosen.leases.is_empty() => Err(error),
            _ => Ok(chosen.leases.iter().map(|lease| lease.1).collect()),
        }
    }
}

impl ToSocketAddrs for Addresses {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let result = self.choose();
        let mut chosen = self.chosen.lock();
        match result {
            Ok(addresses) => {
                chosen.addresses.clone_from(&addresses);
                chosen.error = None;
                Ok(addresses.into_iter())
            }
            Err(error) => {
                chosen.addresses.clear();
                chosen.leases.clear();
                chosen.error = Some(error.clone());
                Err(io::Error::other(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Vec<Interface> {
        [
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("eth0", "192.168.1.5"),
            ("eth0", "2001:db8::5"),
            ("eth0", "fe80::5"),
            ("wlan0", "10.0.0.5"),
            ("wlan0", "169.254.3.4"),
        ]
        .map(|(name, address)| Interface { name: name.to_owned(), address: address.parse().unwrap() })
        .to_vec()
    }

    fn chosen(bind: &str, ice: IceConfig) -> Vec<String> {
        let addresses = choose(bind.parse().unwrap(), &ice, &machine()).unwrap();
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn wildcard_bind_uses_every_useful_address() {
        let all = ["127.0.0.1", "::1", "192.168.1.5", "2001:db8::5", "10.0.0.5"];
        assert_eq!(chosen("0.0.0.0", IceConfig::default()), all);
        assert_eq!(chosen("::", IceConfig::default()), all);
        let v4 = IceConfig { ipv6: false, ..IceConfig::default() };
        assert_eq!(chosen("0.0.0.0", v4), ["127.0.0.1", "192.168.1.5", "10.0.0.5"]);
        for bind in ["127.0.0.1", "::1", "192.168.1.5", "2001:db8::5"] {
            assert_eq!(chosen(bind, IceConfig::default()), [bind]);
        }
    }

    #[test]
    fn interface_filter_by_name_and_address() {
        let only = |name: &str| IceConfig { interfaces: vec![name.to_owned()], ..IceConfig::default() };
        assert_eq!(chosen("0.0.0.0", only("wlan0")), ["127.0.0.1", "::1", "10.0.0.5"]);
        assert_eq!(chosen("0.0.0.0", only("2001:db8::5")), ["127.0.0.1", "::1", "2001:db8::5"]);
        let error = choose([0, 0, 0, 0].into(), &only("wlan7"), &machine()).unwrap_err();
        assert_eq!(error, AddressError::NoInterface("wlan7".to_owned()));
    }

    #[test]
    fn tcp_listens_on_loopback_only_on_request() {
        let tcp = |bind: [u8; 4], ice: IceConfig| Addresses::new(Protocol::Tcp, bind.into(), &Arc::new(ice)).choose();
        assert_eq!(tcp([127, 0, 0, 1], IceConfig::default()), Ok(vec![]));
        let asked = IceConfig { tcp_loopback: true, ..IceConfig::default() };
        assert_eq!(tcp([127, 0, 0, 1], asked.clone()), Ok(vec![([127, 0, 0, 1], 0).into()]));
        assert_eq!(tcp([127, 0, 0, 1], IceConfig { tcp: false, ..asked }), Ok(vec![]));
        assert!(tcp([0, 0, 0, 0], IceConfig::default()).unwrap().iter().all(|address| !address.ip().is_loopback()));
    }

    #[test]
    fn port_range_is_allocated_and_returned() {
        // A range of two: one that another program holds, and its neighbour, which must be free.
        let (taken, port) = std::iter::repeat_with(|| UdpSocket::bind(("127.0.0.1", 0)).unwrap())
            .map(|taken| (taken.local_addr().unwrap().port(), taken))
            .find(|(port, _)| *port < u16::MAX && UdpSocket::bind(("127.0.0.1", port + 1)).is_ok())
            .map(|(port, taken)| (taken, port))
            .unwrap();
        let ice = Arc::new(IceConfig { udp_ports: Some(port..=port + 1), ..IceConfig::default() });
        let addresses = || Addresses::new(Protocol::Udp, [127, 0, 0, 1].into(), &ice);
        let first = addresses();
        let ports = first.to_socket_addrs().unwrap();
        assert_eq!(ports.map(|address| address.port()).collect::<Vec<_>>(), [port + 1]);
        let second = addresses();
        let error = second.to_socket_addrs().unwrap_err().to_string();
        assert!(
            error.contains(&format!("every UDP port from {port} to {} on 127.0.0.1 is in use", port + 1)),
            "{error}"
        );
        assert!(matches!(second.error(), Some(AddressError::UsedUp { .. })));
        // Binding again gives the old ones back first.
        assert!(first.to_socket_addrs().is_ok());
        drop(first);
        assert_eq!(second.to_socket_addrs().unwrap().count(), 1);
        assert_eq!(second.error(), None);
        drop(taken);
    }
}
