//! What is wrong, in words: what listens, what a phone is to be given, what arrives, and what may stand in the way.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{
    PhonePort, SourceKind, TlsConfig, Unavailable,
    hub::Hub,
    phones::{PhoneState, PortStats},
};

/// How bad a piece of advice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// All is well.
    Ok,
    /// Good to know.
    Hint,
    /// Something works only by half.
    Warning,
    /// Something does not work.
    Error,
}

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// How bad it is.
    pub severity: Severity,
    /// In words.
    pub text: String,
}

/// A port, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listening {
    /// What it is for.
    pub purpose: String,
    /// `UDP` or `TCP`.
    pub protocol: String,
    /// Where.
    pub address: SocketAddr,
    /// Why it is not open; `None` when it is.
    pub problem: Option<String>,
}

/// An address of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAddress {
    /// The address.
    pub address: IpAddr,
    /// The interface that has it.
    pub interface: String,
    /// Whether a phone in the same room is likely to reach it.
    pub likely: bool,
    /// What it looks like, if it is nothing plain: `virtual`, `VPN`, ...
    pub note: Option<String>,
}

/// What to type into an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The app.
    pub app: String,
    /// What to do there.
    pub what: String,
}

/// A sender, on one port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arriving {
    /// What it sends; `unknown` for bytes that no app sends.
    pub what: String,
    /// Where from.
    pub from: SocketAddr,
    /// The port's purpose.
    pub port: String,
    /// Datagrams a second.
    pub rate: f32,
    /// Since the last one, milliseconds.
    pub age_ms: f32,
    /// Why the last one was refused.
    pub error: Option<String>,
}

/// This machine's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Whether a time service keeps it; `None` where that cannot be told.
    pub synchronised: Option<bool>,
    /// In words.
    pub note: String,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The page's address, and the token if one is needed.
    pub page: String,
    /// Every port, HTTP first.
    pub listening: Vec<Listening>,
    /// Addresses that a phone may be given, the likeliest first.
    pub addresses: Vec<OwnAddress>,
    /// What to type into each app.
    pub settings: Vec<Setting>,
    /// Who sends right now, by port.
    pub arriving: Vec<Arriving>,
    /// Phones that are called, a line each.
    pub phones: Vec<String>,
    /// What the firewall may need to be told.
    pub firewall: Vec<String>,
    /// The clock.
    pub clock: Clock,
    /// What to do, the worst first.
    pub advice: Vec<Advice>,
}

/// The slow parts of a report, kept for a while.
#[derive(Debug, Default)]
pub(super) struct Slow {
    kept: Mutex<Option<(Instant, Vec<OwnAddress>, Vec<Option<String>>, Vec<String>, Clock)>>,
}

/// How long they are kept.
const KEPT_FOR: Duration = Duration::from_secs(10);
/// A sender below this rate makes a face that jerks.
const SLOW_RATE: f32 = 20.0;

/// What does not change while an endpoint runs.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub http: SocketAddr,
    pub page: String,
    pub unavailable: Vec<Unavailable>,
}

/// Makes the report.
pub(super) fn diagnose(hub: &Hub, now: Instant) -> Option<Report> {
    let facts = hub.facts.get()?;
    let ports: Vec<PortStats> = hub.ports.lock().iter().map(|port| port.stats(now)).collect();
    let mut numbers = vec![(facts.http.port(), "tcp")];
    numbers.extend(ports.iter().map(|port| (port.address.port(), if port.port.is_tcp() { "tcp" } else { "udp" })));
    let (addresses, holders, firewall, clock) = {
        let mut kept = hub.slow.kept.lock();
        let fresh = kept.as_ref().is_some_and(|(at, ..)| now.saturating_duration_since(*at) < KEPT_FOR);
        if !fresh {
            let holders = facts.unavailable.iter().map(|port| holder(port.address.port(), port.port.is_tcp()));
            *kept = Some((now, own_addresses(), holders.collect(), firewall(&numbers), clock()));
        }
        kept.as_ref().map(|(_, a, h, f, c)| (a.clone(), h.clone(), f.clone(), c.clone()))?
    };

    let mut listening = vec![Listening {
        purpose: "page, WebSocket and WebRTC".to_owned(),
        protocol: "TCP".to_owned(),
        address: facts.http,
        problem: None,
    }];
    let protocol = |port: PhonePort| if port.is_tcp() { "TCP" } else { "UDP" }.to_owned();
    listening.extend(ports.iter().map(|port| Listening {
        purpose: port.port.title().to_owned(),
        protocol: protocol(port.port),
        address: port.address,
        problem: None,
    }));
    for (port, holder) in facts.unavailable.iter().zip(holders) {
        let holder = holder.map(|holder| format!("held by {holder}; ")).unwrap_or_default();
        listening.push(Listening {
            purpose: port.port.title().to_owned(),
            protocol: protocol(port.port),
            address: port.address,
            problem: Some(format!("{holder}close that program, or set `{}` to another port", port.port.setting())),
        });
    }
    let mut arriving = Vec::new();
    for port in &ports {
        arriving.extend(port.senders.iter().map(|sender| Arriving {
            what: sender.app.map_or("unknown", SourceKind::title).to_owned(),
            from: sender.address,
            port: format!("{} ({})", port.port.title(), port.address.port()),
            rate: sender.rate,
            age_ms: sender.age_ms,
            error: sender.error.clone(),
        }));
    }
    let reachable = !hub.config.bind.is_loopback();
    let shown = addresses.iter().find(|own| own.likely).or(addresses.first()).map(|own| own.address);
    let settings = if reachable { settings(shown, &ports) } else { Vec::new() };
    let phones = hub.roster.status(now);
    let mut advice = Vec::new();
    advise(hub, facts, &ports, &addresses, now, &mut advice);
    for phone in &phones {
        let app = phone.call.app.map_or("any app", SourceKind::title);
        let address = phone.call.address;
        match &phone.state {
            PhoneState::Refused(reason) => {
                advice.push(Advice { severity: Severity::Error, text: format!("{app} at {address} refuses: {reason}") })
            }
            PhoneState::Calling if phone.heard_ms.is_none() => advice.push(Advice {
                severity: Severity::Warning,
                text: format!(
                    "{app} at {address} does not answer: is the app open, in the foreground, and on this network?"
                ),
            }),
            _ => {}
        }
    }
    if advice.is_empty() {
        advice.push(Advice { severity: Severity::Ok, text: "nothing stands in the way".to_owned() });
    }
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.severity));
    let phones = phones.iter().map(|phone| {
        let mut line = format!("{} ({})", phone.call.address, phone.call.app.map_or("any app", SourceKind::title));
        let state = match &phone.state {
            PhoneState::Calling => "called, no answer",
            PhoneState::Answered => "answers",
            PhoneState::Streaming => "sends",
            PhoneState::Refused(_) => "refuses",
        };
        let _ = write!(line, ": {state}");
        if let Some(battery) = phone.battery {
            let _ = write!(line, ", battery {:.0} %", 100.0 * battery);
        }
        line
    });
    Some(Report {
        page: facts.page.clone(),
        listening,
        addresses,
        settings,
        arriving,
        phones: phones.collect(),
        firewall: if reachable { firewall } else { Vec::new() },
        clock,
        advice,
    })
}

fn advise(
    hub: &Hub,
    facts: &Facts,
    ports: &[PortStats],
    addresses: &[OwnAddress],
    now: Instant,
    advice: &mut Vec<Advice>,
) {
    let mut say = |severity, text: String| advice.push(Advice { severity, text });
    if hub.config.bind.is_loopback() {
        let text = "only programs on this machine can reach it: for a phone, start with --lan (in a game: .lan(token))";
        say(Severity::Hint, text.to_owned());
    } else if !addresses.iter().any(|own| own.likely) {
        say(
            Severity::Error,
            "this machine has no address on a local network: connect it to the phone's Wi-Fi".to_owned(),
        );
    }
    for port in &facts.unavailable {
        say(Severity::Error, port.message.clone());
    }
    if !hub.config.bind.is_loopback() && matches!(hub.config.tls, TlsConfig::Off) {
        let text = "no HTTPS: phones let no page use their camera; leave --no-tls out";
        say(Severity::Hint, text.to_owned());
    }
    let mut anything = false;
    for port in ports {
        let number = port.address.port();
        for sender in &port.senders {
            let from = sender.address.ip();
            match (sender.app, &sender.error) {
                (_, Some(error)) if sender.app.is_none() => {
                    say(
                        Severity::Warning,
                        format!("what {from} sends to port {number} is of no app that is known: {error}"),
                    );
                }
                (Some(app), Some(error)) => {
                    say(Severity::Warning, format!("{} from {from} at port {number} is refused: {error}", app.title()));
                }
                (Some(app), None) => {
                    anything = true;
                    let usual = PhonePort::ALL.into_iter().find(|usual| usual.app() == app);
                    let at_home = port.port.app() == app
                        || (app == SourceKind::IFacialMocapV3 && port.port.app() == SourceKind::IFacialMocap)
                        || (app == SourceKind::Facemotion3d && port.port.app() == SourceKind::IFacialMocap);
                    if let (Some(usual), false) = (usual, at_home) {
                        let (app, purpose, usual) = (app.title(), port.port.title(), usual.usual());
                        let text = format!(
                            "{app} arrives from {from} at port {number}, which is for {purpose}; that works, its usual \
                             port is {usual}"
                        );
                        say(Severity::Hint, text);
                    }
                }
                (None, None) => {}
                (None, Some(_)) => {}
            }
        }
        if port.flooded > 0 {
            let text = format!("{} datagrams to port {number} were dropped unread: somebody floods it", port.flooded);
            say(Severity::Warning, text);
        }
    }
    let stats = hub.stats(now);
    for subject in &stats.subjects {
        anything = true;
        let name = &subject.name;
        if !subject.tracked {
            let text = format!("{} sends \"{name}\" and sees no face", subject.source.title());
            say(Severity::Warning, text);
        } else if subject.fps > 0.0 && subject.fps < SLOW_RATE && subject.frames > 60 {
            let text =
                format!("\"{name}\" arrives at {:.0} frames a second: a hot phone or a weak network", subject.fps);
            say(Severity::Warning, text);
        }
        if subject.loss.is_some_and(|loss| loss > 0.05) {
            let loss = 100.0 * subject.loss.unwrap_or_default();
            say(Severity::Warning, format!("{loss:.0} % of the frames of \"{name}\" are lost on the way"));
        }
    }
    if !anything && !hub.config.bind.is_loopback() {
        for text in [
            "nothing arrives yet. Live Link Face: the capture mode has to be Live Link (ARKit); in MetaHuman Animator mode it \
             sends nothing here",
            "phone and computer have to be on the same network: a guest Wi-Fi, \"client isolation\" of the access point, a \
             VPN on either side and mobile data keep them apart",
            "a firewall on this machine may drop what arrives; see below",
        ] {
            say(Severity::Hint, text.to_owned());
        }
    }
}

fn settings(address: Option<IpAddr>, ports: &[PortStats]) -> Vec<Setting> {
    let Some(address) = address else { return Vec::new() };
    let number = |wanted: PhonePort| ports.iter().find(|port| port.port == wanted).map(|port| port.address.port());
    let mut settings = Vec::new();
    let mut add = |app: &str, port: PhonePort, what: &dyn Fn(u16) -> String| {
        if let Some(port) = number(port) {
            settings.push(Setting { app: app.to_owned(), what: what(port) });
        }
    };
    add("Live Link Face", PhonePort::LiveLinkFace, &|port| {
        format!("Settings > Live Link > Add Target: {address}, port {port}; Streaming > Stream Head Rotation on")
    });
    add("iFacialMocap", PhonePort::IFacialMocap, &|_| {
        format!("open it; it is found, or type {address} as destination IP")
    });
    add("Facemotion3d", PhonePort::Facemotion3d, &|_| {
        format!("open it; it is found, or type {address} as destination IP")
    });
    add("Face Cap", PhonePort::FaceCap, &|port| format!("Live mode: {address}, port {port}"));
    add("VTube Studio, MeowFace", PhonePort::VTubeStudio, &|_| {
        "3rd Party PC Clients on; type the phone's address here: --call ADDRESS".to_owned()
    });
    add("Waidayo and other VMC", PhonePort::Vmc, &|port| format!("send VMC to {address}, port {port}"));
    add("JSON by UDP", PhonePort::UdpJson, &|port| format!("{address}, port {port}"));
    settings
}

/// Every address of this machine beyond loopback, the likeliest for a phone first.
fn own_addresses() -> Vec<OwnAddress> {
    let outward = super::outward_address();
    let found = if_addrs::get_if_addrs().unwrap_or_default();
    let mut addresses: Vec<(u8, OwnAddress)> = found
        .into_iter()
        .filter(|interface| !interface.is_loopback())
        .map(|interface| {
            let address = interface.ip();
            let (rank, note) = rank(&interface.name, address);
            let rank = if rank == 0 && Some(address) != outward { 1 } else { rank };
            let (likely, note) = (rank <= 1, note.map(str::to_owned));
            (rank, OwnAddress { address, interface: interface.name, likely, note })
        })
        .collect();
    addresses.sort_by(|(a, x), (b, y)| (a, &x.interface, x.address).cmp(&(b, &y.interface, y.address)));
    addresses.into_iter().map(|(_, address)| address).collect()
}

/// How unlikely it is that a phone in the same room reaches an address, from 0, and why.
fn rank(interface: &str, address: IpAddr) -> (u8, Option<&'static str>) {
    let name = interface.to_ascii_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| name.starts_with(part) || name.contains(&format!(" {part}")));
    if has(&[
        "docker",
        "br-",
        "veth",
        "virbr",
        "vmnet",
        "vboxnet",
        "lxc",
        "podman",
        "cni",
        "vethernet",
        "hyper-v",
        "bridge",
    ]) {
        return (4, Some("virtual: containers or virtual machines"));
    }
    if has(&["tun", "tap", "wg", "utun", "ppp", "tailscale", "zt", "ipsec", "nordlynx", "vpn"]) {
        return (3, Some("VPN: a phone reaches it only through the same VPN"));
    }
    match address {
        IpAddr::V4(ip) if ip.is_link_local() => (5, Some("no address was given by the network")),
        IpAddr::V4(ip) if ip.is_private() => (0, None),
        IpAddr::V4(ip) if ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1]) => {
            (3, Some("shared by a provider or a VPN"))
        }
        IpAddr::V4(_) => (2, Some("public: open to the Internet")),
        IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80 => {
            (6, Some("IPv6, of this link alone: few apps take it"))
        }
        IpAddr::V6(_) => (2, Some("IPv6: few apps take it")),
    }
}

/// The program that holds a port, where the system tells.
fn holder(port: u16, tcp: bool) -> Option<String> {
    let tables: &[&str] = if tcp { &["tcp", "tcp6"] } else { &["udp", "udp6"] };
    let inodes: Vec<u64> = tables
        .iter()
        .filter_map(|table| std::fs::read_to_string(format!("/proc/net/{table}")).ok())
        .flat_map(|text| inodes(&text, port, tcp))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        // Not `self` and the like.
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let path = process.path();
        let Ok(files) = std::fs::read_dir(path.join("fd")) else { continue };
        for file in files.flatten() {
            let Ok(link) = std::fs::read_link(file.path()) else { continue };
            let link = link.to_string_lossy();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode: u64| inodes.contains(&inode)) {
                let name = std::fs::read_to_string(path.join("comm")).ok()?;
                return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
            }
        }
    }
    Some("a program of another user".to_owned())
}

/// Sockets bound to a port, in a table of `/proc/net`.
fn inodes(table: &str, port: u16, tcp: bool) -> Vec<u64> {
    let lines = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let bound = lines.filter(|columns| {
        let local = columns.get(1).and_then(|local| local.rsplit_once(':'));
        let number = local.and_then(|(_, number)| u16::from_str_radix(number, 16).ok());
        // 0A is listening.
        number == Some(port) && (!tcp || columns.get(3) == Some(&"0A"))
    });
    bound.filter_map(|columns| columns.get(9)?.parse().ok()).collect()
}

/// What the firewall of this system may need to be told about these ports.
fn firewall(ports: &[(u16, &str)]) -> Vec<String> {
    if cfg!(target_os = "windows") {
        return windows_firewall(ports);
    }
    if cfg!(target_os = "macos") {
        return vec![
            "System Settings > Network > Firewall: allow incoming connections for this program; macOS asks once, and again \
             after every rebuild"
                .to_owned(),
        ];
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let exists = |path: &str| std::path::Path::new(path).exists();
    linux_firewall(
        ports,
        read("/etc/ufw/ufw.conf").lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes")),
        exists("/run/firewalld") || exists("/var/run/firewalld.pid"),
    )
}

fn windows_firewall(ports: &[(u16, &str)]) -> Vec<String> {
    let mut lines = vec![
        "Windows asks once whether this program may be reached: allow it on private networks, and see to it that the Wi-Fi is \
         one (Settings > Network > Properties > Private)"
            .to_owned(),
    ];
    for protocol in ["tcp", "udp"] {
        let list = list(ports, protocol, ",");
        if !list.is_empty() {
            let protocol = protocol.to_uppercase();
            lines.push(format!(
                "or, as administrator: netsh advfirewall firewall add rule name=FaceLink-{protocol} dir=in action=allow \
                 protocol={protocol} localport={list} profile=private"
            ));
        }
    }
    lines
}

fn list(ports: &[(u16, &str)], protocol: &str, between: &str) -> String {
    let mut numbers: Vec<u16> = ports.iter().filter(|(_, p)| *p == protocol).map(|(port, _)| *port).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.iter().map(u16::to_string).collect::<Vec<_>>().join(between)
}

fn linux_firewall(ports: &[(u16, &str)], ufw: bool, firewalld: bool) -> Vec<String> {
    let (tcp, udp) = (list(ports, "tcp", ","), list(ports, "udp", ","));
    let rules = [("tcp", tcp), ("udp", udp)];
    let rules = rules.iter().filter(|(_, list)| !list.is_empty());
    if ufw {
        return rules.map(|(protocol, list)| format!("ufw is on: sudo ufw allow {list}/{protocol}")).collect();
    }
    if firewalld {
        let ports: Vec<String> = ports.iter().map(|(port, protocol)| format!("--add-port={port}/{protocol}")).collect();
        return vec![format!("firewalld is on: sudo firewall-cmd {}", ports.join(" "))];
    }
    let rules = rules.map(|(protocol, list)| format!("{protocol} dport {{ {} }} accept", list.replace(',', ", ")));
    vec![format!(
        "neither ufw nor firewalld is on. If `sudo nft list ruleset` shows rules that drop what comes in, allow: {}",
        rules.collect::<Vec<_>>().join("; ")
    )]
}

fn clock() -> Clock {
    let exists = |path: &str| std::path::Path::new(path).exists();
    let year = jiff::Timestamp::now().to_string();
    if year.get(..4).is_some_and(|year| year < "2025") {
        let note = format!("it says {year}: certificates and the phones' times will not fit");
        return Clock { synchronised: Some(false), note };
    }
    if !cfg!(target_os = "linux") {
        return Clock { synchronised: None, note: "whether a time service keeps it is not known here".to_owned() };
    }
    if exists("/run/systemd/timesync/synchronized") {
        return Clock { synchronised: Some(true), note: "kept by systemd-timesyncd".to_owned() };
    }
    for (path, name) in [("/run/chrony", "chrony"), ("/var/run/ntpd.pid", "ntpd"), ("/run/ntpsec", "ntpsec")] {
        if exists(path) {
            return Clock { synchronised: Some(true), note: format!("kept by {name}") };
        }
    }
    let note = "no time service was found; latencies of senders that stamp their frames may be off, nothing else is";
    Clock { synchronised: None, note: note.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Endpoint, EndpointConfig, PhonePorts};

    #[test]
    fn addresses_are_ranked_by_what_a_phone_can_reach() {
        let of = |name: &str, address: &str| rank(name, address.parse().unwrap()).0;
        assert!(of("wlan0", "192.168.1.20") < of("eth0", "203.0.113.7"));
        assert!(of("eth0", "203.0.113.7") < of("tun0", "10.8.0.2"));
        assert!(of("wg0", "10.8.0.2") < of("docker0", "172.17.0.1"));
        assert!(of("docker0", "172.17.0.1") < of("eth0", "169.254.3.4"));
        assert_eq!(of("tailscale0", "100.101.102.103"), 3);
        assert_eq!(of("vEthernet (WSL)", "172.20.0.1"), 4);
        assert!(of("eth0", "fe80::1") > of("eth0", "2001:db8::1"));
    }

    #[test]
    fn the_holder_of_a_port_is_found_in_the_tables() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             \u{20}  7: 00000000:2B67 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31337 2 0 0\n\
             \u{20}  8: 0100007F:2B68 00000000:0000 07 00000000:00000000 00:00000000 00000000  1000        0 31338 2 0 0\n";
        assert_eq!(inodes(table, 11111, false), [31337]);
        assert_eq!(inodes(table, 11112, false), [31338]);
        assert!(inodes(table, 11111, true).is_empty(), "not listening");
        assert!(inodes("", 1, false).is_empty() && inodes("x\ny z\n", 1, false).is_empty());
    }

    #[test]
    fn firewalls_are_told_our_ports() {
        let ports = [(8765, "tcp"), (11111, "udp"), (49983, "udp"), (11111, "udp")];
        let ufw = linux_firewall(&ports, true, false);
        assert_eq!(ufw, ["ufw is on: sudo ufw allow 8765/tcp", "ufw is on: sudo ufw allow 11111,49983/udp"]);
        assert!(linux_firewall(&ports, false, true)[0].contains("--add-port=49983/udp"));
        assert!(linux_firewall(&ports, false, false)[0].contains("udp dport { 11111, 49983 } accept"));
        assert!(windows_firewall(&ports)[2].contains("protocol=UDP localport=11111,49983"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_port_that_is_held_is_named_with_its_holder() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let phones = PhonePorts { vmc: Some(port), ..PhonePorts::NONE };
        let endpoint = Endpoint::start(EndpointConfig { port: 0, phones, ..EndpointConfig::default() }).unwrap();
        let report = endpoint.diagnose().unwrap();
        let line = report.listening.iter().find(|line| line.address.port() == port).unwrap();
        let problem = line.problem.as_deref().unwrap();
        assert!(problem.contains(&std::process::id().to_string()), "{problem}");
        assert!(problem.contains("phones.vmc"), "{problem}");
        assert_eq!(report.advice[0].severity, Severity::Error);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
