//! Two network namespaces, joined through this process by TUN devices, so that it decides what passes.
//!
//! The server has one address. The client has a "Wi-Fi" and a "cellular" device, of which one is up at a time.

use std::{
    net::Ipv4Addr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use tun_rs::{DeviceBuilder, SyncDevice};

use super::{
    common::{Res, now_us},
    path::{Link, Shape},
};

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const CLIENT: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 78, 0, 2), Ipv4Addr::new(10, 79, 0, 2)];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// What does not pass.
#[derive(Debug, Default)]
pub struct Gates {
    pub udp: AtomicBool,
    pub tcp: AtomicBool,
    pub all: AtomicBool,
    /// The next TCP segment of the client becomes a reset for both sides.
    pub reset: AtomicBool,
}

pub struct Net {
    pub server: String,
    pub client: String,
    devices: [String; 2],
    active: usize,
    pub gates: Arc<Gates>,
    /// From the client to the server.
    pub up: Arc<Link>,
    /// From the server to the client.
    pub down: Arc<Link>,
}

fn ip(args: &[&str]) -> Res<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()).into())
}

impl Net {
    /// Needs root and `/dev/net/tun`.
    pub fn new() -> Res<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let id = format!("fl{:x}{:x}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let (server, client) = (format!("{id}s"), format!("{id}c"));
        let gates = Arc::new(Gates::default());
        let devices = [format!("{id}w"), format!("{id}m")];
        ip(&["netns", "add", &server]).map_err(|error| format!("network namespaces need root: {error}"))?;
        // From here on, dropping it deletes the namespaces.
        let net = Self { server, client, devices, active: 0, gates, up: Link::new(), down: Link::new() };
        ip(&["netns", "add", &net.client])?;
        let near = format!("{id}n");
        let server_device = Arc::new(device(&near)?);
        let client_devices = [Arc::new(device(&net.devices[0])?), Arc::new(device(&net.devices[1])?)];
        // A device keeps its file when it goes into another namespace.
        ip(&["link", "set", &near, "netns", &net.server])?;
        ip(&["-n", &net.server, "link", "set", "lo", "up"])?;
        ip(&["-n", &net.client, "link", "set", "lo", "up"])?;
        up(&net.server, &near, SERVER)?;
        for name in &net.devices {
            ip(&["link", "set", name, "netns", &net.client])?;
        }
        up(&net.client, &net.devices[0], CLIENT[0])?;

        for link in [&net.up, &net.down] {
            let link = link.clone();
            thread::spawn(move || link.deliver());
        }
        let (gates, to, link) = (net.gates.clone(), client_devices.clone(), net.down.clone());
        let from = server_device.clone();
        thread::spawn(move || {
            forward(&from, &gates, &link, |packet| {
                let destination = address(packet, 16);
                CLIENT.iter().position(|client| *client == destination).map(|index| &to[index])
            });
        });
        for (index, from) in client_devices.into_iter().enumerate() {
            let (gates, to, link) = (net.gates.clone(), server_device.clone(), net.up.clone());
            thread::spawn(move || {
                let back = from.clone();
                // A network takes no packets with the address that another one gave.
                forward(&from, &gates, &link, |packet| {
                    if address(packet, 12) != CLIENT[index] {
                        return None;
                    }
                    if protocol(packet) == TCP && gates.reset.swap(false, Ordering::Relaxed) {
                        if let Some((there, here)) = resets(packet) {
                            let _ = (to.send(&there), back.send(&here));
                        }
                        return None;
                    }
                    Some(&to)
                });
            });
        }
        Ok(net)
    }

    /// The client's on its first network.
    pub fn client_address() -> Ipv4Addr {
        CLIENT[0]
    }

    /// What the network does to packets from now on. The same chance every time.
    pub fn shape(&self, up: Shape, down: Shape) {
        self.up.shape(up, 1);
        self.down.shape(down, 2);
    }

    /// The client loses the network that it is on. It has no other one yet.
    pub fn lose(&self) -> Res<()> {
        let device = &self.devices[self.active];
        ip(&["-n", &self.client, "addr", "flush", "dev", device])?;
        ip(&["-n", &self.client, "link", "set", device, "down"])
    }

    /// The client is on its other network, with another address. Gives the time at which its route was about to stand.
    pub fn join_other(&mut self) -> Res<i64> {
        self.active = 1 - self.active;
        up(&self.client, &self.devices[self.active], CLIENT[self.active])
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.up.end();
        self.down.end();
        let _ = (ip(&["netns", "del", &self.server]), ip(&["netns", "del", &self.client]));
    }
}

fn device(name: &str) -> Res<SyncDevice> {
    let device = DeviceBuilder::new().name(name).build_sync();
    device.map_err(|error| format!("TUN devices need root and /dev/net/tun: {error}").into())
}

fn up(netns: &str, device: &str, address: Ipv4Addr) -> Res<i64> {
    let address = format!("{address}/24");
    ip(&["-n", netns, "addr", "add", &address, "dev", device])?;
    ip(&["-n", netns, "link", "set", device, "mtu", "1400", "up"])?;
    let whole = now_us();
    ip(&["-n", netns, "route", "add", "default", "dev", device])?;
    Ok(whole)
}

fn address(packet: &[u8], at: usize) -> Ipv4Addr {
    let bytes: Option<[u8; 4]> = packet.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(Ipv4Addr::UNSPECIFIED, Ipv4Addr::from)
}

fn protocol(packet: &[u8]) -> u8 {
    packet.get(9).copied().unwrap_or(0)
}

/// Passes IPv4 packets on until the device is gone.
fn forward<'a>(from: &SyncDevice, gates: &Gates, link: &Link, to: impl Fn(&[u8]) -> Option<&'a Arc<SyncDevice>>) {
    let mut buffer = vec![0; 65_536];
    loop {
        let packet = match from.recv(&mut buffer) {
            Ok(length) => &buffer[..length],
            // The device is down.
            Err(error) if error.raw_os_error() == Some(5) => {
                thread::sleep(std::time::Duration::from_millis(5));
                continue;
            }
            Err(_) => return,
        };
        let shut = match protocol(packet) {
            _ if gates.all.load(Ordering::Relaxed) => true,
            TCP => gates.tcp.load(Ordering::Relaxed),
            UDP => gates.udp.load(Ordering::Relaxed),
            _ => false,
        };
        if packet.first().is_none_or(|first| first >> 4 != 4) || shut {
            continue;
        }
        if let Some(to) = to(packet) {
            link.take(packet, to, [12, 16].into_iter().any(|at| address(packet, at) == SERVER));
        }
    }
}

/// Resets of the connection of this segment: one for its receiver, one for its sender.
fn resets(packet: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let header = usize::from(packet.first()? & 15) * 4;
    let segment = packet.get(header..)?;
    let number = |at: usize| segment.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let ports = |at: usize| segment.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let (source, destination) = (address(packet, 12), address(packet, 16));
    let (from, to) = (ports(0)?, ports(2)?);
    let (sequence, acknowledged) = (number(4)?, number(8)?);
    let payload = segment.len().checked_sub(usize::from(segment.get(12)? >> 4) * 4)? as u32;
    let there = reset((source, from), (destination, to), sequence, acknowledged);
    let here = reset((destination, to), (source, from), acknowledged, sequence.wrapping_add(payload));
    Some((there, here))
}

fn reset(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), sequence: u32, acknowledged: u32) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0];
    packet.extend(from.0.octets());
    packet.extend(to.0.octets());
    let check = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    packet.extend(from.1.to_be_bytes());
    packet.extend(to.1.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend(acknowledged.to_be_bytes());
    // Five words of header; RST and ACK.
    packet.extend([0x50, 0x14, 0, 0, 0, 0, 0, 0]);
    let pseudo = sum(&packet[12..20]) + u32::from(TCP) + 20;
    let check = checksum(&packet[20..], pseudo);
    packet[36..38].copy_from_slice(&check.to_be_bytes());
    packet
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

/// RFC 1071.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut total = sum(bytes) + start;
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_have_good_checksums_and_the_numbers_that_are_expected() {
        let segment = reset((CLIENT[0], 40_000), (SERVER, 8765), 1000, 2000);
        assert_eq!(checksum(&segment[..20], 0), 0);
        assert_eq!(checksum(&segment[20..], sum(&segment[12..20]) + 6 + 20), 0);
        let (there, here) = resets(&segment).expect("a segment");
        assert_eq!(there, segment);
        assert_eq!((address(&here, 12), address(&here, 16)), (SERVER, CLIENT[0]));
        assert_eq!(&here[24..28], 2000_u32.to_be_bytes());
    }
}
