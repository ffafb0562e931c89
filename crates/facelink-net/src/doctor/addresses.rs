//! Addresses of this machine, the likeliest for a phone first.

use std::{
    net::{IpAddr, Ipv6Addr},
    path::Path,
};

use if_addrs::{IfAddr, IfOperStatus};
use serde::{Deserialize, Serialize};

use crate::address::{is_private_v4, is_shared, outward_address, outward_ipv6};

/// What an interface is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Medium {
    /// Wi-Fi.
    #[serde(rename = "wifi")]
    WiFi,
    /// A cable.
    Ethernet,
    /// A tunnel.
    Vpn,
    /// Of containers or virtual machines.
    Virtual,
}

impl Medium {
    /// In words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::WiFi => "Wi-Fi",
            Self::Ethernet => "Ethernet",
            Self::Vpn => "VPN",
            Self::Virtual => "virtual",
        }
    }
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface that has it.
    pub interface: String,
    /// What the interface is, where its name or the system reports it.
    pub medium: Option<Medium>,
    /// The network that it is in, such as `192.168.1.0/24`.
    pub network: String,
    /// The default route leads over it.
    pub default_route: bool,
    /// Whether a phone in the same room is likely to reach it.
    pub likely: bool,
    /// Why it is not, or what else is to be said of it.
    pub note: Option<String>,
}

/// An address as the system lists it.
#[derive(Clone, Debug)]
struct Listed {
    address: IpAddr,
    prefix: u8,
    interface: String,
    point_to_point: bool,
    /// The system says that it is Wi-Fi.
    wireless: bool,
}

const VIRTUAL: [&str; 23] = [
    "docker",
    "br-",
    "veth",
    "virbr",
    "vnet",
    "vmnet",
    "vboxnet",
    "lxcbr",
    "lxdbr",
    "incusbr",
    "podman",
    "cni",
    "flannel",
    "cali",
    "kube",
    "vethernet",
    "hyper-v",
    "virtualbox",
    "vmware",
    "bridge",
    "awdl",
    "llw",
    "anpi",
];
const VPN: [&str; 17] = [
    "tun",
    "tap",
    "wg",
    "utun",
    "ppp",
    "tailscale",
    "zt",
    "zerotier",
    "ipsec",
    "nordlynx",
    "proton",
    "mullvad",
    "wireguard",
    "openvpn",
    "cscotun",
    "gpd",
    "hamachi",
];

/// What an interface is, by its name.
fn medium(listed: &Listed) -> Option<Medium> {
    let name = listed.interface.to_ascii_lowercase();
    let is = |parts: &[&str]| parts.iter().any(|part| name.starts_with(part) || name.contains(&format!(" {part}")));
    if is(&VIRTUAL) {
        return Some(Medium::Virtual);
    }
    if is(&VPN) || name.contains("vpn") {
        return Some(Medium::Vpn);
    }
    if listed.wireless || name.starts_with("wl") || name.contains("wi-fi") || name.contains("wifi") {
        return Some(Medium::WiFi);
    }
    // `en0` of macOS may be either.
    let systemd = ["eno", "enp", "ens", "enx"].iter().any(|prefix| name.starts_with(prefix));
    if systemd || name.starts_with("eth") || name.contains("ethernet") {
        return Some(Medium::Ethernet);
    }
    listed.point_to_point.then_some(Medium::Vpn)
}

/// Whether it is routed on the Internet. For IPv6 the router's firewall decides whether it is reachable.
pub(super) fn is_public(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(ip) if !is_private_v4(ip) && !ip.is_documentation())
}

/// How unlikely it is that a phone in the same room reaches an address, from 0, and what is to be said of it.
fn rank(address: IpAddr, medium: Option<Medium>) -> (u8, Option<&'static str>) {
    match (medium, address) {
        (Some(Medium::Virtual), _) => (6, Some("of containers or virtual machines")),
        (_, IpAddr::V4(ip)) if ip.is_link_local() => (7, Some("the network gave no address (no DHCP)")),
        (Some(Medium::Vpn), _) => (5, Some("a phone reaches it through the same VPN alone")),
        (_, IpAddr::V4(ip)) if is_shared(ip) => (5, Some("shared by a provider, or of a VPN such as Tailscale")),
        (_, IpAddr::V4(_)) if is_public(address) => (2, Some("public: open to the Internet")),
        (_, IpAddr::V4(_)) => (0, None),
        (_, IpAddr::V6(_)) => (4, Some("IPv6: few apps take it")),
    }
}

/// Whether there is a network of IPv4 behind it: link-local addresses are taken where no network gives any.
fn of_ipv4_network(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_unspecified() && !v4.is_link_local())
}

fn network(address: IpAddr, prefix: u8) -> String {
    let network: IpAddr = match address {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    };
    format!("{network}/{prefix}")
}

/// Those that an endpoint bound to `bind` has, ranked; bound to this machine alone, those that it would have.
fn ranked(bind: IpAddr, listed: Vec<Listed>, outward: &[IpAddr]) -> Vec<OwnAddress> {
    let wanted = |address: IpAddr| match bind {
        _ if address.is_loopback() || address.is_unspecified() => false,
        // It would have to be typed with the phone's own name of the interface.
        _ if matches!(address, IpAddr::V6(ip) if ip.is_unicast_link_local()) => false,
        bind if bind.is_loopback() => address.is_ipv4(),
        IpAddr::V4(ip) if ip.is_unspecified() => address.is_ipv4(),
        IpAddr::V6(ip) if ip.is_unspecified() => true,
        bind => bind == address,
    };
    let mut addresses: Vec<(u8, OwnAddress)> = listed
        .into_iter()
        .filter(|listed| wanted(listed.address))
        .map(|listed| {
            let medium = medium(&listed);
            let (rank, note) = rank(listed.address, medium);
            let default_route = outward.contains(&listed.address);
            let likely = rank <= 2;
            let address = OwnAddress {
                address: listed.address,
                network: network(listed.address, listed.prefix),
                interface: listed.interface,
                medium,
                default_route,
                likely,
                note: note.map(str::to_owned),
            };
            (2 * rank + u8::from(!default_route), address)
        })
        .collect();
    addresses.sort_by(|(a, x), (b, y)| (a, &x.interface, x.address).cmp(&(b, &y.interface, y.address)));
    addresses.dedup_by(|(_, a), (_, b)| a.address == b.address);
    addresses.into_iter().map(|(_, address)| address).collect()
}

/// The addresses of now. Those of IPv6 count where the endpoint hears both families and there are no others.
pub(crate) fn read(bind: IpAddr, dual_stack: bool) -> Vec<OwnAddress> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!("cannot list the network interfaces: {error}");
        Vec::new()
    });
    let gone = |status: &IfOperStatus| {
        matches!(status, IfOperStatus::Down | IfOperStatus::NotPresent | IfOperStatus::LowerLayerDown)
    };
    let listed: Vec<Listed> = interfaces
        .into_iter()
        .filter(|interface| !gone(&interface.oper_status))
        .map(|interface| Listed {
            address: interface.ip(),
            prefix: match &interface.addr {
                IfAddr::V4(v4) => v4.prefixlen,
                IfAddr::V6(v6) => v6.prefixlen,
            },
            point_to_point: interface.is_p2p,
            wireless: Path::new("/sys/class/net").join(&interface.name).join("phy80211").exists(),
            interface: interface.name,
        })
        .collect();
    let outward: Vec<IpAddr> = outward_address().into_iter().chain(outward_ipv6()).collect();
    if dual_stack && bind.is_unspecified() && !listed.iter().any(|listed| of_ipv4_network(listed.address)) {
        return ranked(Ipv6Addr::UNSPECIFIED.into(), listed, &outward);
    }
    ranked(bind, listed, &outward)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(interface: &str, address: &str, prefix: u8) -> Listed {
        Listed {
            address: address.parse().unwrap(),
            prefix,
            interface: interface.to_owned(),
            point_to_point: false,
            wireless: false,
        }
    }

    fn machine() -> Vec<Listed> {
        vec![
            listed("lo", "127.0.0.1", 8),
            listed("lo", "::1", 128),
            listed("docker0", "172.17.0.1", 16),
            listed("tailscale0", "100.101.102.103", 32),
            listed("tun0", "10.8.0.2", 24),
            listed("eth1", "169.254.3.4", 16),
            listed("eth2", "93.184.215.14", 24),
            listed("enp3s0", "192.168.7.5", 24),
            listed("wlp2s0", "192.168.1.20", 24),
            listed("wlp2s0", "2001:db8::20", 64),
            listed("wlp2s0", "fe80::20", 64),
        ]
    }

    fn order(bind: &str, outward: &str) -> Vec<String> {
        let outward = [outward.parse().unwrap()];
        let addresses = ranked(bind.parse().unwrap(), machine(), &outward);
        addresses.iter().map(|own| own.address.to_string()).collect()
    }

    #[test]
    fn address_rank_by_reachability_from_a_phone() {
        let v4 = [
            "192.168.1.20",
            "192.168.7.5",
            "93.184.215.14",
            "100.101.102.103",
            "10.8.0.2",
            "172.17.0.1",
            "169.254.3.4",
        ];
        assert_eq!(order("0.0.0.0", "192.168.1.20"), v4, "the default route first");
        assert_eq!(
            order("0.0.0.0", "10.8.0.2")[..2],
            ["192.168.7.5", "192.168.1.20"],
            "a VPN is not what a phone needs"
        );
        assert_eq!(order("127.0.0.1", "192.168.1.20"), v4, "what there would be");
        assert_eq!(order("192.168.7.5", "192.168.1.20"), ["192.168.7.5"], "bound to one address alone");
        let both = order("::", "192.168.1.20");
        assert!(both.contains(&"2001:db8::20".to_owned()) && !both.contains(&"fe80::20".to_owned()), "{both:?}");
    }

    #[test]
    fn address_interface_kind_by_name() {
        for (name, wanted) in [
            ("wlan0", Some(Medium::WiFi)),
            ("Wi-Fi 2", Some(Medium::WiFi)),
            ("enp3s0", Some(Medium::Ethernet)),
            ("Ethernet", Some(Medium::Ethernet)),
            ("en0", None),
            ("vEthernet (WSL)", Some(Medium::Virtual)),
            ("VMware Network Adapter VMnet8", Some(Medium::Virtual)),
            ("br-0a1b2c", Some(Medium::Virtual)),
            ("utun4", Some(Medium::Vpn)),
            ("Acme VPN", Some(Medium::Vpn)),
            ("bond0", None),
        ] {
            assert_eq!(medium(&listed(name, "192.168.1.2", 24)), wanted, "{name}");
        }
        let radio = Listed { wireless: true, ..listed("net1", "192.168.1.2", 24) };
        assert_eq!(medium(&radio), Some(Medium::WiFi));
        let tunnel = Listed { point_to_point: true, ..listed("net1", "192.168.1.2", 32) };
        assert_eq!(medium(&tunnel), Some(Medium::Vpn));
    }

    #[test]
    fn address_unreachable_says_why() {
        let addresses = ranked([0, 0, 0, 0].into(), machine(), &[]);
        for own in &addresses {
            assert_eq!(
                own.likely,
                own.interface.starts_with("wl") || own.interface.starts_with("enp") || own.interface == "eth2",
                "{own:?}"
            );
            assert!(own.likely || own.note.is_some(), "{own:?}");
        }
        assert_eq!(addresses[0].network, "192.168.7.0/24");
    }

    #[test]
    fn address_network_of_any_prefix_length() {
        let of = |address: &str, prefix| network(address.parse().unwrap(), prefix);
        assert_eq!(of("192.168.1.20", 22), "192.168.0.0/22");
        assert_eq!((of("192.168.1.20", 0).as_str(), of("192.168.1.20", 32).as_str()), ("0.0.0.0/0", "192.168.1.20/32"));
        assert_eq!((of("2001:db8:1:2::5", 64).as_str(), of("2001:db8::5", 0).as_str()), ("2001:db8:1:2::/64", "::/0"));
        assert_eq!(of("192.168.1.20", 200), "192.168.1.20/200", "no panic on nonsense");
    }
}
