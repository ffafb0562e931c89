//! Two machines on a network without IPv4 and without a router.

use std::process::Command;

use crate::{
    blocked::ip,
    harness::{Listener, Process, missing, noisy},
};

const TOKEN: &str = "let-me-in";

/// Two network namespaces with a cable between them, each with one address of IPv6.
struct Network {
    machines: [String; 2],
    addresses: [String; 2],
}

impl Network {
    /// `None` where this user may not make one.
    fn new() -> Option<Self> {
        let id = uuid::Uuid::new_v4().as_u128();
        let name = format!("{:08x}", id as u32);
        // A unique local prefix by chance (RFC 4193).
        let prefix = format!("fd{:02x}:{:x}:{:x}:", id >> 32 & 0xff, id >> 40 & 0xffff, id >> 56 & 0xffff);
        let network = Self {
            machines: [format!("fla{name}"), format!("flb{name}")],
            addresses: [format!("{prefix}:1"), format!("{prefix}:2")],
        };
        let [a, b] = &network.machines;
        let mut steps = vec![
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"),
        ];
        for (machine, address) in network.machines.iter().zip(&network.addresses) {
            steps.extend([
                format!("-n {machine} link set lo up"),
                format!("-n {machine} addr flush dev lo to 127.0.0.0/8"),
                format!("-n {machine} link set eth0 up"),
                // Usable at once, without the detection of duplicates.
                format!("-n {machine} addr add {address}/64 dev eth0 nodad"),
            ]);
        }
        for step in &steps {
            if let Err(error) = ip(step) {
                missing(&format!("no network namespaces with IPv6 (they need root and iproute2): {error}"));
                return None;
            }
        }
        Some(network)
    }

    /// `facelink` on one of the machines.
    fn facelink(&self, machine: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machines[machine], env!("CARGO_BIN_EXE_facelink")]);
        command
    }

    fn start(&self, machine: usize, arguments: &[&str]) -> Process {
        let mut command = self.facelink(machine);
        command.args(arguments);
        Process::start(command, &format!("facelink {arguments:?}"))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.machines {
            let _ = ip(&format!("netns del {name}"));
        }
    }
}

#[test]
fn ipv6_only_network_carries_every_kind_of_sender() {
    let _noisy = noisy();
    let Some(network) = Network::new() else { return };
    let lan = ["--lan", "--no-tls", "--no-phones", "--no-remember", "--token", TOKEN, "--live-link-face", "0"];
    let mut command = network.facelink(0);
    command.args(["listen", "--json", "--port", "0", "--udp-json", "0"]).args(lan);
    let listener = Listener::of(Process::start(command, "facelink listen"));
    let host = format!("[{}]", network.addresses[0]);
    let http = format!("{host}:{}", listener.http.port());
    assert_eq!(listener.invitation, format!("http://{http}/?token={TOKEN}"));

    let to = |address: Option<std::net::SocketAddr>| format!("{host}:{}", address.expect("asked for").port());
    let (live_link_face, udp_json) = (to(listener.live_link_face), to(listener.udp_json));
    for (subject, source, arguments) in [
        ("socket", "websocket", &["--via", "websocket", "--to", &format!("ws://{http}"), "--token", TOKEN][..]),
        ("phone", "live_link_face", &["--as", "live-link-face", "--to", &live_link_face]),
        ("datagrams", "udp_json", &["--as", "udp-json", "--to", &udp_json]),
    ] {
        let _sender = network.start(1, &[&["send", "--subject", subject], arguments].concat());
        assert_eq!(listener.frame_of(subject).source, source);
    }
    let _sender =
        network.start(1, &["send", "--subject", "channel", "--to", &format!("ws://{http}"), "--token", TOKEN]);
    while listener.frame_of("channel").source != "webrtc" {}

    // By HTTP alone.
    let url = format!("http://{http}");
    let doctor = network.start(1, &["doctor", "--url", &url, "--token", TOKEN, "--seconds", "1"]);
    doctor.find(|line| line.contains(&network.addresses[0]).then_some(()));
    // Its own machine hears by IPv6 too.
    let _own = network.start(0, &["send", "--subject", "own", "--to", &format!("ws://[::1]:{}", listener.http.port())]);
    listener.frame_of("own");
}
