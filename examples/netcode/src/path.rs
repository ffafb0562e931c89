//! A path through a bad network: UDP packets of one client to the server and back, later and not all of them.

use std::{
    collections::VecDeque,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelink::simulate::network::{Network, NetworkSettings};

/// The client takes its address for the server's. It ends with its owner.
pub(crate) struct Path {
    pub address: SocketAddr,
    to_client: Arc<AtomicU64>,
}

impl Path {
    pub fn new(server: SocketAddr, settings: NetworkSettings, seed: u64) -> io::Result<Self> {
        let (near, far) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        far.connect(server)?;
        let address = near.local_addr()?;
        let to_client = Arc::new(AtomicU64::new(0));
        let counter = to_client.clone();
        let (up, down) = (Direction::new(settings, seed), Direction::new(settings, seed + 1));
        thread::spawn(move || carry(&near, &far, up, down, &counter));
        Ok(Self { address, to_client })
    }

    /// Bytes of UDP payloads that the server has sent to the client, those that were lost among them.
    pub fn bytes_to_client(&self) -> u64 {
        self.to_client.load(Ordering::Relaxed)
    }
}

fn carry(near: &UdpSocket, far: &UdpSocket, mut up: Direction, mut down: Direction, counter: &Arc<AtomicU64>) {
    let start = Instant::now();
    let (mut client, mut buffer) = (None, vec![0; 1 << 16]);
    while Arc::strong_count(counter) > 1 {
        let now = start.elapsed().as_micros() as i64;
        while let Ok((length, from)) = near.recv_from(&mut buffer) {
            client = Some(from);
            up.enter(now, &buffer[..length]);
        }
        while let Ok(length) = far.recv(&mut buffer) {
            counter.fetch_add(length as u64, Ordering::Relaxed);
            down.enter(now, &buffer[..length]);
        }
        // What cannot be sent is one more loss.
        while let Some(packet) = up.leave(now) {
            let _ = far.send(&packet);
        }
        while let Some(packet) = down.leave(now) {
            let _ = client.map(|client| near.send_to(&packet, client));
        }
        thread::sleep(Duration::from_micros(500));
    }
}

struct Direction {
    network: Network,
    // In the order of arrival: this network overtakes nothing.
    packets: VecDeque<(i64, Vec<u8>)>,
}

impl Direction {
    fn new(settings: NetworkSettings, seed: u64) -> Self {
        Self { network: Network::new(settings, seed), packets: VecDeque::new() }
    }

    fn enter(&mut self, now: i64, packet: &[u8]) {
        for arrival in self.network.send(now, packet.len()) {
            self.packets.push_back((arrival, packet.to_vec()));
        }
    }

    fn leave(&mut self, now: i64) -> Option<Vec<u8>> {
        self.packets.pop_front_if(|(arrival, _)| *arrival <= now).map(|(_, packet)| packet)
    }
}
