//! Paths between two peers: with losses and delay, cut, or through a port that is forwarded.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{net::UdpSocket, task::JoinHandle};

use facelink::wire::json::IceCandidate;

/// Address of a candidate.
pub(super) fn address_of(candidate: &IceCandidate) -> SocketAddr {
    let words: Vec<_> = candidate.candidate.split(' ').collect();
    let address = words[4].parse().expect("an address");
    SocketAddr::new(address, words[5].parse().expect("a port"))
}

/// Ends a task when it is dropped.
pub(super) struct Stop(JoinHandle<()>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A port that is forwarded, as by a router: what comes to `outside` goes to `inside`, and the answers back.
pub(super) fn forward(outside: SocketAddr, inside: SocketAddr) -> Stop {
    let bind = |address: SocketAddr| {
        let socket = std::net::UdpSocket::bind(address).expect("a port");
        socket.set_nonblocking(true).expect("a setting");
        UdpSocket::from_std(socket).expect("a socket")
    };
    let (outer, inner) = (bind(outside), bind((outside.ip(), 0).into()));
    Stop(tokio::spawn(async move {
        let (mut from_out, mut from_in) = ([0; 2048], [0; 2048]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = outer.recv_from(&mut from_out) => {
                    client = Some(from);
                    let _ = inner.send_to(&from_out[..length], inside).await;
                }
                Ok((length, _)) = inner.recv_from(&mut from_in) => if let Some(client) = client {
                    let _ = outer.send_to(&from_in[..length], client).await;
                },
            }
        }
    }))
}

struct Path {
    /// Share of the packets that are lost, in each direction, in millionths.
    loss: AtomicU32,
    cut: AtomicBool,
    delay: Duration,
    random: AtomicU64,
    first: Mutex<Option<SocketAddr>>,
    second: Mutex<Option<SocketAddr>>,
}

impl Path {
    fn loses(&self) -> bool {
        // Knuth's generator: the same losses in each run.
        let step = |state: u64| state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let state = self.random.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |state| Some(step(state)));
        let draw = (step(state.unwrap_or_default()) >> 33) % 1_000_000;
        self.cut.load(Ordering::Relaxed) || draw < u64::from(self.loss.load(Ordering::Relaxed))
    }
}

/// The only path between two peers.
pub(super) struct UdpRelay {
    path: Arc<Path>,
    /// What the first peer takes for the second.
    facing_first: SocketAddr,
    _tasks: [Stop; 2],
}

impl UdpRelay {
    /// Loses this share of the packets and delays the others, in each direction.
    pub async fn start(loss: f32, delay: Duration) -> Self {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (to_first, to_second) = (Arc::new(bind().await.expect("a port")), Arc::new(bind().await.expect("a port")));
        let facing_first = to_first.local_addr().expect("an address");
        let path = Arc::new(Path {
            loss: AtomicU32::default(),
            cut: AtomicBool::default(),
            delay,
            random: AtomicU64::new(7),
            first: Mutex::default(),
            second: Mutex::default(),
        });
        let pass = |from: Arc<UdpSocket>, to: Arc<UdpSocket>, forth: bool| {
            let path = path.clone();
            Stop(tokio::spawn(async move {
                let mut buffer = [0; 2048];
                loop {
                    let Ok((length, address)) = from.recv_from(&mut buffer).await else { continue };
                    let target = if forth {
                        *path.first.lock() = Some(address);
                        *path.second.lock()
                    } else {
                        *path.first.lock()
                    };
                    let Some(target) = target.filter(|_| !path.loses()) else { continue };
                    if path.delay.is_zero() {
                        let _ = to.send_to(&buffer[..length], target).await;
                        continue;
                    }
                    let (packet, to, delay) = (buffer[..length].to_vec(), to.clone(), path.delay);
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = to.send_to(&packet, target).await;
                    });
                }
            }))
        };
        let tasks = [pass(to_first.clone(), to_second.clone(), true), pass(to_second.clone(), to_first.clone(), false)];
        let relay = Self { path, facing_first, _tasks: tasks };
        relay.lose(loss);
        relay
    }

    pub fn lose(&self, share: f32) {
        self.path.loss.store((share * 1e6) as u32, Ordering::Relaxed);
    }

    /// Nothing passes while it is cut.
    pub fn cut(&self, cut: bool) {
        self.path.cut.store(cut, Ordering::Relaxed);
    }

    /// Leads both peers through here: the first takes this for the second, which learns of it from the packets.
    pub fn route(&self) -> impl Fn(bool, IceCandidate) -> Option<IceCandidate> + Sync + '_ {
        move |first, candidate| {
            if first || !candidate.candidate.contains(" udp ") {
                return None;
            }
            *self.path.second.lock() = Some(address_of(&candidate));
            let mut words: Vec<_> = candidate.candidate.split(' ').map(str::to_owned).collect();
            words[4] = self.facing_first.ip().to_string();
            words[5] = self.facing_first.port().to_string();
            Some(IceCandidate { candidate: words.join(" "), ..candidate })
        }
    }
}
