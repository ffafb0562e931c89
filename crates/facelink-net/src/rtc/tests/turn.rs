//! Through a real TURN server: coturn.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{net::UdpSocket, time::timeout};

use super::{End, LIMIT, LOOPBACK, all, echo, establish, pump};
use crate::ice::{IceConfig, IcePolicy, TurnSecret};
use facelink::wire::json::{IceCandidate, IceServer};

const SECRET: &str = "north";

pub(super) fn credentials(username: &str, credential: &str) -> IceServer {
    IceServer { urls: Vec::new(), username: Some(username.to_owned()), credential: Some(credential.to_owned()) }
}

struct Coturn {
    process: Child,
    address: SocketAddr,
    directory: std::path::PathBuf,
}

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Coturn {
    /// `None` where there is no coturn, which CI does not put up with.
    async fn start(arguments: &[&str]) -> Option<Self> {
        // Between our giving the port back and coturn's taking it, another process may: then another port is tried.
        for _ in 0..10 {
            let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let address = socket.local_addr().expect("an address");
            drop(socket);
            let directory = std::env::temp_dir().join(format!("facelink-coturn-{}", uuid::Uuid::new_v4()));
            std::fs::create_dir_all(&directory).expect("a directory");
            let process = Command::new("turnserver")
                .args(["-n", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--no-cli", "-v", "--realm", "r"])
                .args(["-L", "127.0.0.1", "--relay-ip", "127.0.0.1", "--log-file", "stdout"])
                .args(["--listening-port", &address.port().to_string()])
                .arg("--pidfile")
                .arg(directory.join("pid"))
                .arg("--userdb")
                .arg(directory.join("db"))
                .args(arguments)
                .current_dir(&directory)
                .stdin(Stdio::null())
                .stdout(std::fs::File::create(directory.join("log")).expect("a file"))
                .stderr(Stdio::null())
                .spawn();
            let process = match process {
                Ok(process) => process,
                Err(error) => {
                    eprintln!("no coturn here (`turnserver`): {error}");
                    assert_ne!(std::env::var("CI").as_deref(), Ok("true"));
                    return None;
                }
            };
            let mut coturn = Self { process, address, directory };
            if coturn.answers().await {
                return Some(coturn);
            }
        }
        unreachable!("coturn does not start");
    }

    /// Whether it answers a STUN binding request before it ends.
    async fn answers(&mut self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let mut request = [0; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
        request[8..].copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..12]);
        for _ in 0..200 {
            if self.process.try_wait().is_ok_and(|ended| ended.is_some()) {
                return false;
            }
            let _ = socket.send_to(&request, self.address).await;
            let mut answer = [0; 256];
            let received = timeout(Duration::from_millis(100), socket.recv_from(&mut answer)).await;
            if matches!(received, Ok(Ok((length, from))) if length >= 20 && from == self.address)
                && answer[..2] == [1, 1]
                && answer[8..20] == request[8..]
            {
                return true;
            }
        }
        false
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).expect("a log")
    }

    fn url(&self) -> String {
        format!("turn:{}", self.address)
    }

    fn relayed(&self, server: IceServer) -> IceConfig {
        let server = IceServer { urls: vec![self.url()], ..server };
        IceConfig { policy: IcePolicy::Relay, servers: vec![server], ..IceConfig::default() }
    }
}

const USERS: [&str; 3] = ["--lt-cred-mech", "--user", "u:p"];

#[tokio::test(flavor = "multi_thread")]
async fn relay_only_on_one_side() {
    let Some(coturn) = Coturn::start(&USERS).await else { return };
    let ice = coturn.relayed(credentials("u", "p"));
    for ours_offers in [false, true] {
        let mut ours = End::new(LOOPBACK, &ice).await;
        let mut theirs = End::new(LOOPBACK, &IceConfig::default()).await;
        let took = if ours_offers {
            establish(&mut ours, &mut theirs, &all).await
        } else {
            establish(&mut theirs, &mut ours, &all).await
        };
        eprintln!("through a relay, ours offers {ours_offers}: open in {took:?}");
        echo(&mut ours, &mut theirs).await;
        let stats = ours.stats().await;
        assert_eq!((stats.local, stats.relayed, stats.protocol), (Some("relay"), true, Some("udp")));
        // Nothing reveals the address behind the relay.
        assert!(!ours.sent.is_empty());
        assert!(ours.sent.iter().all(|sent| sent.contains(" typ relay raddr 0.0.0.0 rport 0")), "{:?}", ours.sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn relay_only_on_both_sides() {
    let Some(coturn) = Coturn::start(&USERS).await else { return };
    let ice = coturn.relayed(credentials("u", "p"));
    let (mut a, mut b) = (End::new(LOOPBACK, &ice).await, End::new(LOOPBACK, &ice).await);
    establish(&mut a, &mut b, &all).await;
    echo(&mut a, &mut b).await;
    assert_eq!(a.stats().await.local, Some("relay"));
    assert_eq!(b.stats().await.local, Some("relay"));
}

/// A relay is the last resort over UDP.
#[tokio::test(flavor = "multi_thread")]
async fn relay_is_unused_when_a_direct_path_exists() {
    let Some(coturn) = Coturn::start(&USERS).await else { return };
    let ice = IceConfig { policy: IcePolicy::All, ..coturn.relayed(credentials("u", "p")) };
    let (mut ours, mut theirs) = (End::new(LOOPBACK, &ice).await, End::new(LOOPBACK, &ice).await);
    // Relayed candidates come first.
    let mut held = parking_lot::Mutex::new(Vec::new());
    let route = |first: bool, candidate: IceCandidate| {
        if candidate.candidate.contains("typ relay") {
            return Some(candidate);
        }
        held.lock().push((first, candidate));
        None
    };
    let offer = ours.peer.offer().await.expect("an offer");
    let answer = theirs.peer.answer(offer).await.expect("an answer");
    ours.peer.set_answer(answer).await.expect("an answer that fits");
    let relayed = |end: &End| end.sent.iter().any(|sent| sent.contains("typ relay"));
    pump(&mut ours, &mut theirs, &route, |ours, theirs| relayed(ours) && relayed(theirs)).await;
    for (first, candidate) in std::mem::take(&mut held).into_inner() {
        let to = if first { &mut theirs } else { &mut ours };
        to.peer.add_candidate(candidate).await;
    }
    pump(&mut ours, &mut theirs, &all, |ours, theirs| ours.is_open() && theirs.is_open()).await;
    echo(&mut ours, &mut theirs).await;
    assert!(!ours.stats().await.relayed && !theirs.stats().await.relayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_credentials_from_a_shared_secret() {
    let Some(coturn) = Coturn::start(&["--use-auth-secret", "--static-auth-secret", SECRET]).await else { return };
    for user in [None, Some("alice".to_owned())] {
        let secret = TurnSecret { user, ..TurnSecret::new(coturn.url(), SECRET) };
        let ice = IceConfig { policy: IcePolicy::Relay, provider: Some(secret.provider()), ..IceConfig::default() };
        let (mut ours, mut theirs) = (End::new(LOOPBACK, &ice).await, End::new(LOOPBACK, &IceConfig::default()).await);
        establish(&mut theirs, &mut ours, &all).await;
        echo(&mut ours, &mut theirs).await;
        assert_eq!(ours.stats().await.local, Some("relay"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_wrong_credentials_end_gathering() {
    let Some(coturn) = Coturn::start(&USERS).await else { return };
    let mut ours = End::new(LOOPBACK, &coturn.relayed(credentials("u", "wrong"))).await;
    let theirs = End::new(LOOPBACK, &IceConfig::default()).await;
    ours.peer.answer(theirs.peer.offer().await.expect("an offer")).await.expect("an answer");
    let sdp = ours.peer.complete_description(&mut ours.events, LIMIT).await.expect("a description");
    assert!(!sdp.contains("a=candidate:"), "{sdp}");
    // With other routes allowed they are used at once.
    let ice = IceConfig { policy: IcePolicy::All, ..coturn.relayed(credentials("u", "wrong")) };
    let (mut ours, mut theirs) = (End::new(LOOPBACK, &ice).await, theirs);
    theirs.peer.close().await;
    theirs = End::new(LOOPBACK, &IceConfig::default()).await;
    establish(&mut theirs, &mut ours, &all).await;
    echo(&mut ours, &mut theirs).await;
}

/// Fresh credentials for the same server, of another user as time-limited ones always are: a restart takes a relay of
/// that user, and nothing signs for the old relay with the new name.
#[tokio::test(flavor = "multi_thread")]
async fn turn_credentials_rotate_in_place() {
    let Some(coturn) = Coturn::start(&["--lt-cred-mech", "--user", "u:p", "--user", "v:q"]).await else { return };
    let mut ours = End::new(LOOPBACK, &coturn.relayed(credentials("u", "p"))).await;
    let mut theirs = End::new(LOOPBACK, &IceConfig::default()).await;
    establish(&mut ours, &mut theirs, &all).await;
    let fresh = IceServer { urls: vec![coturn.url()], ..credentials("v", "q") };
    ours.peer.set_ice_servers(&[fresh]).await.expect("new servers");
    echo(&mut ours, &mut theirs).await;
    assert!(coturn.log().contains("username=<u>") && !coturn.log().contains("username=<v>"));
    for offers in [true, false] {
        ours.sent.clear();
        if offers {
            super::restart(&mut ours, &mut theirs).await;
        } else {
            super::restart(&mut theirs, &mut ours).await;
        }
        pump(&mut ours, &mut theirs, &all, |ours, _| !ours.sent.is_empty()).await;
        super::delivered(&mut ours, &mut theirs).await;
        while ours.reader.messages.try_recv().is_ok() || theirs.reader.messages.try_recv().is_ok() {}
        assert_eq!(ours.stats().await.local, Some("relay"));
    }
    assert!(coturn.log().contains("username=<v>"), "{}", coturn.log());
    assert!(!coturn.log().contains("error 441"), "{}", coturn.log());
}
