//! Firewall rules that the open ports here may need.

use std::fs;

use super::port_owner;

/// The ports in question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub tcp: Vec<u16>,
    pub udp: Vec<u16>,
}

impl Ports {
    /// Protocols that have any, with their ports.
    fn each(&self) -> impl Iterator<Item = (&'static str, &[u16])> {
        [("tcp", &self.tcp[..]), ("udp", &self.udp[..])].into_iter().filter(|(_, ports)| !ports.is_empty())
    }
}

fn list(ports: &[u16], between: &str) -> String {
    let ports: std::collections::BTreeSet<_> = ports.iter().collect();
    ports.into_iter().map(u16::to_string).collect::<Vec<_>>().join(between)
}

/// Firewalls of Linux that can be recognised without being root. Their rules cannot be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Found {
    ufw: bool,
    firewalld: bool,
    nftables: bool,
    iptables: bool,
}

impl Found {
    fn look() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let running = port_owner::running();
        let runs = |name: &str| running.iter().any(|program| program == name);
        Self {
            ufw: ufw_is_on(&read("/etc/ufw/ufw.conf")),
            firewalld: runs("firewalld"),
            nftables: has_module(&read("/proc/modules"), "nf_tables"),
            iptables: has_module(&read("/proc/modules"), "iptable_filter"),
        }
    }
}

fn ufw_is_on(config: &str) -> bool {
    config.lines().any(|line| line.trim().eq_ignore_ascii_case("ENABLED=yes"))
}

/// Whether a module is loaded and used, by `/proc/modules`.
fn has_module(modules: &str, wanted: &str) -> bool {
    modules.lines().any(|line| {
        let mut columns = line.split_whitespace();
        columns.next() == Some(wanted) && columns.nth(1).is_some_and(|used| used != "0")
    })
}

/// Lines for this system; those that are commands are indented. `network` is the one that the phone is in.
pub(super) fn lines(ports: &Ports, network: Option<&str>) -> Vec<String> {
    if cfg!(target_os = "windows") {
        windows(ports)
    } else if cfg!(target_os = "macos") {
        let program = std::env::current_exe().ok();
        macos(program.as_ref().and_then(|program| program.to_str()))
    } else {
        linux(Found::look(), ports, network)
    }
}

fn linux(found: Found, ports: &Ports, network: Option<&str>) -> Vec<String> {
    let mut lines = Vec::new();
    if found.ufw {
        lines.push("ufw is on. To let phones in:".to_owned());
        for (protocol, ports) in ports.each() {
            let (from, ports) = (network.unwrap_or("any"), list(ports, ","));
            lines.push(format!("    sudo ufw allow from {from} to any port {ports} proto {protocol}"));
        }
    }
    if found.firewalld {
        lines.push("firewalld runs. To let phones in, until the next start (then again with --permanent):".to_owned());
        for (protocol, ports) in ports.each() {
            let ports = ports.iter().map(|port| format!(" --add-port={port}/{protocol}")).collect::<String>();
            lines.push(format!("    sudo firewall-cmd{ports}"));
        }
    }
    if lines.is_empty() && found.nftables {
        lines.push(
            "nftables is in use, be it by containers alone; `sudo nft list ruleset` lists its rules. If it drops:"
                .to_owned(),
        );
        for (protocol, ports) in ports.each() {
            let ports = list(ports, ", ");
            lines.push(format!("    sudo nft insert rule inet filter input {protocol} dport '{{ {ports} }}' accept"));
        }
    }
    if lines.is_empty() && found.iptables {
        lines.push("iptables is in use; `sudo iptables -L INPUT` lists its rules. If it drops:".to_owned());
        for (protocol, ports) in ports.each() {
            let ports = list(ports, ",");
            lines.push(format!("    sudo iptables -I INPUT -p {protocol} -m multiport --dports {ports} -j ACCEPT"));
        }
    }
    if lines.is_empty() {
        lines.push("no firewall is seen here (ufw, firewalld, nftables, iptables)".to_owned());
    }
    lines
}

fn windows(ports: &Ports) -> Vec<String> {
    let mut lines = vec![
        "Windows asks once whether this program may be reached: allow it on private networks. The network must be one: \
         Settings > Network & internet > its properties > Private."
            .to_owned(),
        "Or, as administrator, in PowerShell:".to_owned(),
    ];
    for (protocol, ports) in ports.each() {
        let (protocol, ports) = (protocol.to_uppercase(), list(ports, ","));
        lines.push(format!(
            "    New-NetFirewallRule -DisplayName \"FaceLink {protocol}\" -Direction Inbound -Action Allow -Profile Private \
             -Protocol {protocol} -LocalPort {ports}"
        ));
    }
    lines.push("The same in a command prompt:".to_owned());
    for (protocol, ports) in ports.each() {
        let (protocol, ports) = (protocol.to_uppercase(), list(ports, ","));
        lines.push(format!(
            "    netsh advfirewall firewall add rule name=\"FaceLink {protocol}\" dir=in action=allow profile=private \
             protocol={protocol} localport={ports}"
        ));
    }
    lines
}

fn macos(program: Option<&str>) -> Vec<String> {
    let mut lines = vec![
        "System Settings > Network > Firewall: where it is on, allow incoming connections for this program. macOS asks \
         once, and again after every rebuild."
            .to_owned(),
    ];
    if let Some(program) = program {
        let tool = "sudo /usr/libexec/ApplicationFirewall/socketfilterfw";
        lines.push(format!("    {tool} --add \"{program}\" --unblockapp \"{program}\""));
    }
    lines.push(
        "System Settings > Privacy & Security > Local Network: the terminal or game has to be on, to call phones."
            .to_owned(),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports() -> Ports {
        Ports { tcp: vec![8765], udp: vec![49983, 11111, 11111] }
    }

    #[test]
    fn firewall_commands_on_linux() {
        let of = |found| linux(found, &ports(), Some("192.168.1.0/24")).join("\n");
        let none = Found::default();
        let ufw = of(Found { ufw: true, nftables: true, ..none });
        assert!(ufw.contains("sudo ufw allow from 192.168.1.0/24 to any port 11111,49983 proto udp"), "{ufw}");
        assert!(ufw.contains("port 8765 proto tcp") && !ufw.contains("nft"), "{ufw}");
        let firewalld = of(Found { firewalld: true, ..none });
        assert!(firewalld.contains("sudo firewall-cmd --add-port=49983/udp --add-port=11111/udp"), "{firewalld}");
        let nft = of(Found { nftables: true, ..none });
        assert!(nft.contains("udp dport '{ 11111, 49983 }' accept"), "{nft}");
        let iptables = of(Found { iptables: true, ..none });
        assert!(iptables.contains("-p udp -m multiport --dports 11111,49983 -j ACCEPT"), "{iptables}");
        assert_eq!(linux(none, &ports(), None).len(), 1);
        let any = linux(Found { ufw: true, ..none }, &Ports { udp: vec![1], tcp: vec![] }, None);
        assert_eq!(any[1..], ["    sudo ufw allow from any to any port 1 proto udp"]);
    }

    #[test]
    fn firewall_commands_on_windows_and_macos() {
        let lines = windows(&ports()).join("\n");
        assert!(lines.contains("-Profile Private -Protocol UDP -LocalPort 11111,49983"), "{lines}");
        assert!(lines.contains("protocol=TCP localport=8765"), "{lines}");
        let lines = macos(Some("/Applications/My Game")).join("\n");
        assert!(lines.contains("--add \"/Applications/My Game\""), "{lines}");
    }

    #[test]
    fn firewall_is_recognised() {
        assert!(ufw_is_on("# comment\nENABLED=yes\nLOGLEVEL=low\n") && !ufw_is_on("ENABLED=no\n") && !ufw_is_on(""));
        let modules = "nf_tables 372736 511 nft_compat,nft_chain_nat, Live 0x0\niptable_filter 12288 0 - Live 0x0\n";
        assert!(has_module(modules, "nf_tables") && !has_module(modules, "iptable_filter"));
        assert!(!has_module("nf_tables", "nf_tables") && !has_module("", "x"));
    }
}
