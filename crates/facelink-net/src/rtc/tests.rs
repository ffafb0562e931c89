//! One peer against another: every trap of the crate has its test here.

mod relay;
mod turn;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use relay::UdpRelay;
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::RTCPeerConnectionState,
};

use super::{
    FrameData, FrameSender, Handler, Kind, PeerEvent, PeerStats, RtcError, RtcPeer, candidates, channel_init, connect,
};
use crate::ice::{IceConfig, IcePolicy};
use facelink::wire::json::{IceCandidate, IceServer};

/// Longer than anything takes on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(40);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// What a channel has said.
struct Reader {
    open: watch::Receiver<bool>,
    closed: watch::Receiver<bool>,
    messages: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Reader {
    fn new(channel: Arc<dyn DataChannel>) -> Self {
        let (opened, open) = watch::channel(false);
        let (ended, closed) = watch::channel(false);
        let (sender, messages) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                match channel.poll().await {
                    Some(DataChannelEvent::OnOpen) => drop(opened.send(true)),
                    Some(DataChannelEvent::OnMessage(message)) => drop(sender.send(message.data.to_vec())),
                    Some(DataChannelEvent::OnClose) | None => {
                        let _ = ended.send(true);
                        return;
                    }
                    Some(_) => {}
                }
            }
        });
        Self { open, closed, messages }
    }

    async fn message(&mut self) -> Vec<u8> {
        timeout(LIMIT, self.messages.recv()).await.expect("a message in time").expect("an open channel")
    }

    async fn closed(&mut self) {
        timeout(LIMIT, self.closed.wait_for(|closed| *closed)).await.expect("closed in time").expect("a reader");
    }
}

/// One side of a connection.
struct End {
    peer: RtcPeer,
    events: mpsc::UnboundedReceiver<PeerEvent>,
    reader: Reader,
    state: Option<RTCPeerConnectionState>,
    /// Channels that the other side opened in-band.
    channels: Vec<Arc<dyn DataChannel>>,
    sent: Vec<String>,
}

impl End {
    async fn new(bind: impl Into<IpAddr>, ice: &IceConfig) -> Self {
        Self::with(RtcPeer::new(bind.into(), ice).await.expect("a peer"))
    }

    async fn roaming(bind: IpAddr) -> Self {
        Self::with(RtcPeer::roaming(bind, &IceConfig::default()).await.expect("a peer"))
    }

    fn with((peer, events): (RtcPeer, mpsc::UnboundedReceiver<PeerEvent>)) -> Self {
        let reader = Reader::new(peer.channel.clone());
        Self { peer, events, reader, state: None, channels: Vec::new(), sent: Vec::new() }
    }

    /// Takes an event, and passes a candidate on.
    async fn on_event(&mut self, event: Option<PeerEvent>, to: Option<&mut Self>, route: Route<'_>, first: bool) {
        match event.expect("a living driver") {
            PeerEvent::Candidate(candidate) => {
                self.sent.push(candidate.candidate.clone());
                if let (Some(to), Some(candidate)) = (to, route(first, candidate)) {
                    to.peer.add_candidate(candidate).await;
                }
            }
            PeerEvent::State(state) => self.state = Some(state),
            PeerEvent::Channel(channel) => self.channels.push(channel),
            PeerEvent::Gathered | PeerEvent::Track(_) | PeerEvent::Ended => {}
        }
    }

    async fn state(&mut self, wanted: RTCPeerConnectionState) {
        let reached = async {
            while self.state != Some(wanted) {
                let event = self.events.recv().await;
                self.on_event(event, None, &|_, _| None, true).await;
            }
        };
        timeout(LIMIT, reached).await.unwrap_or_else(|_| unreachable!("never {wanted}"));
    }

    fn is_open(&self) -> bool {
        *self.reader.open.borrow()
    }

    async fn send(&self, text: &str) {
        self.peer.channel.try_send_text(text).await.expect("sent");
    }

    /// Stats once a pair is selected and measured.
    async fn stats(&self) -> PeerStats {
        let measured = async {
            loop {
                let stats = self.peer.stats().await;
                if stats.rtt_ms.is_some() && stats.local.is_some() {
                    return stats;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, measured).await.expect("stats in time")
    }
}

/// What becomes of a candidate of the first or of the second side in transit to the other.
type Route<'a> = &'a (dyn Fn(bool, IceCandidate) -> Option<IceCandidate> + Sync);

fn all(_: bool, candidate: IceCandidate) -> Option<IceCandidate> {
    Some(candidate)
}

/// The first offers; returns when both channels are open.
async fn establish(a: &mut End, b: &mut End, route: Route<'_>) -> Duration {
    let start = Instant::now();
    let offer = a.peer.offer().await.expect("an offer");
    let answer = b.peer.answer(offer).await.expect("an answer");
    a.peer.set_answer(answer).await.expect("an answer that fits");
    pump(a, b, route, |a, b| a.is_open() && b.is_open()).await;
    start.elapsed()
}

/// Signals until something holds.
async fn pump(a: &mut End, b: &mut End, route: Route<'_>, until: impl Fn(&End, &End) -> bool) {
    let pumping = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        while !until(a, b) {
            tokio::select! {
                event = a.events.recv() => a.on_event(event, Some(&mut *b), route, true).await,
                event = b.events.recv() => b.on_event(event, Some(&mut *a), route, false).await,
                _ = ticks.tick() => {}
            }
        }
    };
    timeout(LIMIT, pumping).await.expect("connected in time");
}

async fn echo(a: &mut End, b: &mut End) {
    a.send("there").await;
    assert_eq!(b.reader.message().await, b"there");
    b.send("and back").await;
    assert_eq!(a.reader.message().await, b"and back");
}

fn percentile(values: &mut [f32], percent: usize) -> f32 {
    values.sort_by(f32::total_cmp);
    values[(values.len() - 1) * percent / 100]
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_connect_over_ipv4() {
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    assert_eq!(a.peer.stats().await, PeerStats::default());
    establish(&mut a, &mut b, &all).await;
    echo(&mut a, &mut b).await;
    let stats = a.stats().await;
    assert_eq!((stats.local, stats.protocol, stats.relayed), (Some("host"), Some("udp"), false));
    assert!(stats.rtt_ms.is_some_and(|rtt| rtt > 0.0 && rtt < 5000.0), "{stats:?}");
    assert!(a.sent.iter().all(|candidate| candidate.contains(" udp ")), "{:?}", a.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_connect_over_ipv6() {
    let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if UdpSocket::bind((v6, 0)).is_err() {
        eprintln!("this machine has no IPv6");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"));
        return;
    }
    let (mut a, mut b) = (End::new(v6, &IceConfig::default()).await, End::new(v6, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    echo(&mut a, &mut b).await;
    assert!(a.sent.iter().all(|candidate| candidate.contains(" ::1 ")), "{:?}", a.sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn wildcard_bind_is_reached_by_loopback() {
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(Ipv4Addr::UNSPECIFIED, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    echo(&mut a, &mut b).await;
    assert!(b.sent.iter().any(|candidate| candidate.contains(" 127.0.0.1 ")), "{:?}", b.sent);
    assert!(
        !b.sent.iter().any(|candidate| candidate.contains(" 0.0.0.0 ") || candidate.contains(" fe80")),
        "{:?}",
        b.sent
    );
}

/// A NAT with port forwarding: 127.0.0.3 passes on to 127.0.0.2, which no peer is sent.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn advertised_address_is_the_host_candidate() {
    let (inside, outside) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let ice = IceConfig { advertised: vec![outside.into()], ..IceConfig::default() };
    let mut a = End::new(LOOPBACK, &IceConfig::default()).await;
    let mut b = End::new(inside, &ice).await;
    let forwarded = parking_lot::Mutex::new(Vec::new());
    let route = |first: bool, candidate: IceCandidate| {
        // The endpoint learns nothing from the client: only the advertised candidate can do it.
        (!first).then(|| {
            let address = relay::address_of(&candidate);
            assert_eq!(address.ip(), IpAddr::from(outside));
            let to = SocketAddr::from((inside, address.port()));
            forwarded.lock().push(relay::forward(address, to));
            candidate
        })
    };
    establish(&mut a, &mut b, &route).await;
    echo(&mut a, &mut b).await;
    assert!(!b.sent.iter().any(|candidate| candidate.contains("127.0.0.2")), "{:?}", b.sent);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn advertised_address_in_complete_description() {
    let ice = IceConfig { advertised: vec![[203, 0, 113, 9].into()], ..IceConfig::default() };
    let a = End::new(LOOPBACK, &IceConfig::default()).await;
    let mut b = End::new(LOOPBACK, &ice).await;
    b.peer.answer(a.peer.offer().await.expect("an offer")).await.expect("an answer");
    let sdp = b.peer.complete_description(&mut b.events, LIMIT).await.expect("a description");
    let candidates: Vec<_> = sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
    assert!(!candidates.is_empty() && candidates.iter().all(|line| line.contains(" 203.0.113.9 ")), "{sdp}");
}

/// A complete description is enough for the other side too.
#[tokio::test(flavor = "multi_thread")]
async fn peers_connect_without_trickle() {
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    a.peer.offer().await.expect("an offer");
    let offer = a.peer.complete_description(&mut a.events, LIMIT).await.expect("a description");
    b.peer.answer(offer).await.expect("an answer");
    let answer = b.peer.complete_description(&mut b.events, LIMIT).await.expect("a description");
    a.peer.set_answer(answer).await.expect("an answer that fits");
    pump(&mut a, &mut b, &|_, _| None, |a, b| a.is_open() && b.is_open()).await;
    echo(&mut a, &mut b).await;
}

/// A browser that was not allowed the camera names no address of its own.
#[tokio::test(flavor = "multi_thread")]
async fn candidates_with_mdns_names_do_not_keep_peers_apart() {
    let (mut browser, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    let hide = |first: bool, candidate: IceCandidate| {
        let candidate = if first {
            let hidden = candidate.candidate.replace(" 127.0.0.1 ", " 5c1b0f4e-1b1a-4b3e-8f43-4c5e8a2e9a11.local ");
            assert_ne!(hidden, candidate.candidate);
            IceCandidate { candidate: hidden, ..candidate }
        } else {
            candidate
        };
        Some(candidate)
    };
    let offer = browser.peer.offer().await.expect("an offer");
    let line = "a=candidate:1 1 udp 2113937151 5c1b0f4e-1b1a-4b3e-8f43-4c5e8a2e9a11.local 50000 typ host\r\n";
    let answer = b.peer.answer(format!("{offer}{line}")).await.expect("an answer");
    browser.peer.set_answer(answer).await.expect("an answer that fits");
    pump(&mut browser, &mut b, &hide, |a, b| a.is_open() && b.is_open()).await;
    echo(&mut browser, &mut b).await;
    // Found on loopback, or known by its packets: whichever came first.
    let remote = b.stats().await.remote;
    assert!(matches!(remote, Some("host" | "prflx")), "{remote:?}");
}

fn tcp() -> IceConfig {
    IceConfig { tcp_loopback: true, ..IceConfig::default() }
}

fn only_tcp(_: bool, candidate: IceCandidate) -> Option<IceCandidate> {
    candidate.candidate.contains(" tcp ").then_some(candidate)
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_connects_where_udp_is_blocked() {
    let (mut a, mut b) = (End::new(LOOPBACK, &tcp()).await, End::new(LOOPBACK, &tcp()).await);
    establish(&mut a, &mut b, &only_tcp).await;
    for _ in 0..20 {
        echo(&mut a, &mut b).await;
    }
    assert_eq!(a.stats().await.protocol, Some("tcp"));
    assert_eq!(b.stats().await.protocol, Some("tcp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_is_used_after_udp() {
    for _ in 0..3 {
        let (mut a, mut b) = (End::new(LOOPBACK, &tcp()).await, End::new(LOOPBACK, &tcp()).await);
        // Candidates for TCP come first.
        let mut held = parking_lot::Mutex::new(Vec::new());
        let route = |first: bool, candidate: IceCandidate| {
            if candidate.candidate.contains(" udp ") && held.lock().len() < 2 {
                held.lock().push((first, candidate));
                return None;
            }
            Some(candidate)
        };
        let offer = a.peer.offer().await.expect("an offer");
        let answer = b.peer.answer(offer).await.expect("an answer");
        a.peer.set_answer(answer).await.expect("an answer that fits");
        pump(&mut a, &mut b, &route, |_, _| held.lock().len() == 2).await;
        for (first, candidate) in std::mem::take(&mut held).into_inner() {
            let to = if first { &mut b } else { &mut a };
            to.peer.add_candidate(candidate).await;
        }
        pump(&mut a, &mut b, &all, |a, b| a.is_open() && b.is_open()).await;
        echo(&mut a, &mut b).await;
        assert_eq!(a.stats().await.protocol, Some("udp"));
        assert_eq!(b.stats().await.protocol, Some("udp"));
    }
}

/// A peer may name any address for TCP; without TCP of our own no connection is made.
#[tokio::test(flavor = "multi_thread")]
async fn tcp_off_connects_no_peer() {
    let listener = std::net::TcpListener::bind((LOOPBACK, 0)).expect("a port");
    listener.set_nonblocking(true).expect("a setting");
    let port = listener.local_addr().expect("an address").port();
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    let named = format!("candidate:1 1 tcp 1 127.0.0.1 {port} typ host tcptype passive");
    let offer = a.peer.offer().await.expect("an offer");
    let answer = b.peer.answer(format!("{offer}a={named}\r\n")).await.expect("an answer");
    b.peer.add_candidate(IceCandidate { candidate: named, sdp_mid: None, sdp_mline_index: None }).await;
    a.peer.set_answer(answer).await.expect("an answer that fits");
    pump(&mut a, &mut b, &all, |a, b| a.is_open() && b.is_open()).await;
    echo(&mut a, &mut b).await;
    assert!(listener.accept().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn port_range_exhausted_is_an_error_and_ports_return() {
    // One free port, so that a range of it serves one peer.
    let port = UdpSocket::bind((LOOPBACK, 0)).and_then(|socket| socket.local_addr()).expect("a port").port();
    let ice = IceConfig { udp_ports: Some(port..=port), ..IceConfig::default() };
    let mut a = End::new(LOOPBACK, &ice).await;
    let error = RtcPeer::new(LOOPBACK, &ice).await.err().map(|error| error.to_string());
    let wanted = format!(
        "cannot open a WebRTC connection: every UDP port from {port} to {port} on 127.0.0.1 is in use; widen `udp_ports`, or \
         close connections"
    );
    assert_eq!(error, Some(wanted));
    let mut b = End::new(LOOPBACK, &IceConfig::default()).await;
    establish(&mut a, &mut b, &all).await;
    assert!(a.sent.iter().all(|candidate| candidate.contains(&format!(" {port} "))), "{:?}", a.sent);
    a.peer.close().await;
    assert!(RtcPeer::new(LOOPBACK, &ice).await.is_ok());
}

/// A connection that is dropped and not closed frees its sockets too.
#[tokio::test(flavor = "multi_thread")]
async fn peer_drop_frees_its_port_and_closes_the_other() {
    let port = UdpSocket::bind((LOOPBACK, 0)).and_then(|socket| socket.local_addr()).expect("a port").port();
    let ice = IceConfig { udp_ports: Some(port..=port), ..IceConfig::default() };
    let (mut a, mut b) = (End::new(LOOPBACK, &ice).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    // Outside of the runtime, as a game engine would.
    std::thread::spawn(move || drop(a.peer)).join().expect("no panic");
    b.reader.closed().await;
    let freed = async {
        while UdpSocket::bind((LOOPBACK, port)).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, freed).await.expect("a free port in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_death_without_goodbye_is_noticed() {
    let relay = UdpRelay::start(0.0, Duration::ZERO).await;
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &relay.route()).await;
    echo(&mut a, &mut b).await;
    relay.cut(true);
    let start = Instant::now();
    b.state(RTCPeerConnectionState::Disconnected).await;
    eprintln!("noticed after {:?}", start.elapsed());
    relay.cut(false);
    b.state(RTCPeerConnectionState::Connected).await;
    a.state(RTCPeerConnectionState::Connected).await;
    a.send("still there").await;
    assert_eq!(b.reader.message().await, b"still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_path_memory_is_bounded() {
    let relay = UdpRelay::start(0.0, Duration::ZERO).await;
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &relay.route()).await;
    relay.cut(true);
    let text = "x".repeat(1000);
    let mut refused = 0;
    for _ in 0..500 {
        refused += usize::from(a.peer.channel.try_send_text(&text).await.is_err());
    }
    let waiting = a.peer.stats().await.waiting_bytes;
    assert!(refused > 400 && waiting <= 64 * 1024, "{refused} refused, {waiting} bytes wait");
    // Frames stop earlier.
    let relay = UdpRelay::start(0.0, Duration::ZERO).await;
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &relay.route()).await;
    relay.cut(true);
    let mut sender = FrameSender::new(a.peer.channel.clone());
    let (mut sent, mut last) = (0, None);
    let start = Instant::now();
    for i in 0..300 {
        // Sixty a second, in a clock of their own.
        let passed =
            sender.send(FrameData::Text(&text[..250]), Some(1.0), start + i * Duration::from_micros(16_667)).await;
        sent += usize::from(passed.sent);
        last = Some(passed);
    }
    assert!((10..=17).contains(&sent), "{sent} frames, {last:?}");
    assert!(
        last.is_some_and(|last| !last.sent && last.waiting_bytes <= 17 * 250 && last.oldest_ms > 4000.0),
        "{last:?}"
    );
}

/// How frames fare that were sent at 60 Hz: the share that was dropped at the gate, the share that arrived, and the
/// ages of those, milliseconds.
struct Fared {
    dropped: f32,
    arrived: f32,
    ages: Vec<f32>,
    max_waiting: u64,
    oldest_ms: f32,
}

async fn stream(
    from: Arc<dyn DataChannel>,
    to: &mut Reader,
    size: usize,
    frames: u32,
    rtt_ms: f32,
    gated: bool,
) -> Fared {
    let epoch = Instant::now();
    let sending = async {
        let mut sender = FrameSender::new(from.clone());
        let mut ticks = tokio::time::interval(Duration::from_micros(16_667));
        let (mut dropped, mut max_waiting, mut oldest_ms) = (0, 0, 0.0_f32);
        for _ in 0..frames {
            ticks.tick().await;
            let mut frame = vec![0; size];
            frame[..8].copy_from_slice(&(epoch.elapsed().as_micros() as u64).to_le_bytes());
            if gated {
                let sent = sender.send(FrameData::Binary(&frame), Some(rtt_ms), Instant::now()).await;
                dropped += u32::from(!sent.sent);
                max_waiting = max_waiting.max(sent.waiting_bytes);
                oldest_ms = oldest_ms.max(sent.oldest_ms);
            } else {
                dropped += u32::from(from.try_send(bytes::BytesMut::from(&frame[..])).await.is_err());
            }
        }
        (dropped, max_waiting, oldest_ms)
    };
    let mut ages = Vec::new();
    tokio::pin!(sending);
    let (dropped, max_waiting, oldest_ms) = loop {
        tokio::select! {
            done = &mut sending => break done,
            Some(message) = to.messages.recv() => {
                let sent = message.first_chunk().copied().map_or(0, u64::from_le_bytes);
                ages.push((epoch.elapsed().as_micros() as u64 - sent) as f32 / 1000.0);
            }
        }
    };
    Fared {
        dropped: dropped as f32 / frames as f32,
        arrived: ages.len() as f32 / frames as f32,
        ages,
        max_waiting,
        oldest_ms,
    }
}

/// Frames that are lost are given up and acknowledged as such in time: what is lost in transit drops nothing here.
#[tokio::test(flavor = "multi_thread")]
async fn lossy_path_drops_no_frames_at_the_sender() {
    let relay = UdpRelay::start(0.05, Duration::from_millis(20)).await;
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &relay.route()).await;
    let mut fared = stream(a.peer.channel.clone(), &mut b.reader, 250, 600, 40.0, true).await;
    let (p50, p99) = (percentile(&mut fared.ages, 50), percentile(&mut fared.ages, 99));
    eprintln!(
        "5 % loss, 40 ms: {:.1} % dropped, {:.1} % arrived, ages {p50:.1}/{p99:.1} ms, at most {} bytes, oldest {:.0} ms",
        fared.dropped * 100.0,
        fared.arrived * 100.0,
        fared.max_waiting,
        fared.oldest_ms
    );
    // A busy machine stalls too.
    assert!(fared.dropped < 0.25, "{}", fared.dropped);
    assert!(fared.arrived > 0.6, "{}", fared.arrived);
}

/// The bytes in flight on a long path are no reason to drop frames.
#[tokio::test(flavor = "multi_thread")]
async fn long_path_drops_no_frames_at_the_sender() {
    let relay = UdpRelay::start(0.0, Duration::from_millis(100)).await;
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &relay.route()).await;
    let fared = stream(a.peer.channel.clone(), &mut b.reader, 250, 180, 200.0, true).await;
    eprintln!("200 ms: at most {} bytes in flight, oldest {:.0} ms", fared.max_waiting, fared.oldest_ms);
    assert!(fared.max_waiting > 2048, "{}", fared.max_waiting);
    assert!(fared.dropped < 0.25, "{}", fared.dropped);
}

/// A page that opens its channel in-band: on that one the crate would answer in order and with repetitions.
#[tokio::test(flavor = "multi_thread")]
async fn in_band_channel_frames_stay_fresh() {
    let run = |own_channel: bool| async move {
        let relay = UdpRelay::start(0.0, Duration::from_millis(20)).await;
        let ice = Arc::new(IceConfig::default());
        let (events, mut page_events) = mpsc::unbounded_channel();
        let handler = Handler { events, outgoing: Arc::default(), sent_candidates: Arc::default() };
        let connected = connect(LOOPBACK, &ice, &[], Kind::default(), Arc::new(handler)).await.expect("a page");
        let page = connected.connection;
        // The id 0 would be that of the negotiated one.
        let _first = page.create_data_channel("unused", Some(channel_init(Some(0)))).await.expect("a channel");
        let channel = page.create_data_channel("animation-data", Some(channel_init(None))).await.expect("a channel");
        let page_reader = Reader::new(channel.clone());
        let mut b = End::new(LOOPBACK, &IceConfig::default()).await;
        let offer = page.create_offer(None).await.expect("an offer");
        page.set_local_description(offer.clone()).await.expect("its own offer");
        let answer = b.peer.answer(offer.sdp).await.expect("an answer");
        let answer = webrtc::peer_connection::RTCSessionDescription::answer(answer).expect("an answer");
        page.set_remote_description(answer).await.expect("an answer that fits");
        let mut theirs = None;
        let opening = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            while b.channels.is_empty() || (own_channel && theirs.is_none()) || !*page_reader.open.borrow() {
                tokio::select! {
                    event = b.events.recv() => match event.expect("a living driver") {
                        PeerEvent::Candidate(candidate) => {
                            if let Some(candidate) = relay.route()(false, candidate) {
                                super::add(&page, candidate).await;
                            }
                        }
                        PeerEvent::Channel(channel) => b.channels.push(channel),
                        _ => {}
                    },
                    event = page_events.recv() => if let PeerEvent::Channel(channel) = event.expect("a living driver") {
                        theirs = Some(channel);
                    },
                    _ = ticks.tick() => {
                        let _ = channel.set_buffered_amount_high_threshold(u32::MAX).await;
                        if own_channel && b.reader.messages.is_empty() && !b.channels.is_empty() && b.sent.is_empty() {
                            b.sent.push("opened".to_owned());
                            b.channels.push(b.peer.open_channel("animation-out").await.expect("a channel"));
                        }
                    }
                }
            }
        };
        timeout(LIMIT, opening).await.expect("open in time");
        // A channel may be announced before it is open for what we send.
        let from = if own_channel { b.channels[1].clone() } else { b.channels[0].clone() };
        let open = async {
            while from.ready_state().await.ok() != Some(webrtc::data_channel::RTCDataChannelState::Open) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, open).await.expect("open in time");
        relay.lose(0.2);
        let mut reader = match theirs {
            Some(channel) => Reader::new(channel),
            None => page_reader,
        };
        let mut fared = stream(from, &mut reader, 250, 480, 40.0, own_channel).await;
        b.peer.close().await;
        let _ = page.close().await;
        let (p50, p99) = (percentile(&mut fared.ages, 50), percentile(&mut fared.ages, 99));
        eprintln!(
            "20 % loss, 40 ms, {}: {:.1} % dropped, {:.1} % arrived, ages {p50:.1}/{p99:.1} ms",
            if own_channel { "our channel" } else { "their channel" },
            fared.dropped * 100.0,
            fared.arrived * 100.0,
        );
        (fared.arrived, p50)
    };
    let ((arrived, ours), (_, theirs)) = tokio::join!(run(true), run(false));
    // With such losses the gate closes now and then, and SCTP may back off for seconds on either channel: what counts is
    // that what usually arrives is fresh, where a reliable channel is ever further behind.
    assert!(arrived > 0.1, "{arrived}");
    assert!(ours * 2.0 < theirs, "ours {ours} ms, theirs {theirs} ms");
}

/// Such a message may come before the crate has made our end of the channel, and spoil it.
#[tokio::test(flavor = "multi_thread")]
async fn peer_first_message_is_not_lost() {
    for _ in 0..20 {
        let (mut a, mut b) =
            (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
        let channel = a.peer.channel.clone();
        let mut open = a.reader.open.clone();
        let speaking = tokio::spawn(async move {
            let _ = open.wait_for(|open| *open).await;
            channel.try_send_text("first").await.expect("sent");
        });
        establish(&mut a, &mut b, &all).await;
        speaking.await.expect("no panic");
        assert_eq!(b.reader.message().await, b"first");
        a.peer.close().await;
        b.peer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn peer_close_is_reported_at_once() {
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    a.peer.close().await;
    b.reader.closed().await;
}

/// What ICE calls this side in a description.
fn ufrag(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).expect("a name")
}

async fn restart(a: &mut End, b: &mut End) {
    let before = a.peer.connection.local_description().await.expect("a description").sdp;
    let offer = a.peer.restart().await.expect("an offer");
    assert_ne!(ufrag(&before), ufrag(&offer));
    a.sent.clear();
    // What is known already comes in the descriptions.
    let answer = b.peer.answer(offer).await.expect("an answer");
    a.peer.set_answer(answer).await.expect("an answer that fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_restart_takes_new_sockets_when_roaming() {
    let (mut a, mut b) = (End::roaming(LOOPBACK).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    let before = a.sent.clone();
    restart(&mut a, &mut b).await;
    pump(&mut a, &mut b, &all, |a, _| !a.sent.is_empty()).await;
    delivered(&mut a, &mut b).await;
    // The crate may report one twice, when it has gathered and when it has restarted.
    a.sent.dedup();
    assert_eq!(a.sent.len(), 1, "{:?}", a.sent);
    let sent = &a.sent[0];
    assert!(!before.contains(sent), "{before:?} {sent}");
    let pair = super::selected_pair(&b.peer.connection).await.expect("a pair");
    assert!(sent.contains(&format!(" {} ", pair.remote().port)), "{sent} {pair}");
}

/// Sends until something arrives: right after a restart the first may be lost.
async fn delivered(a: &mut End, b: &mut End) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let both = async {
        while b.reader.messages.is_empty() || a.reader.messages.is_empty() {
            tokio::select! {
                event = a.events.recv() => a.on_event(event, Some(&mut *b), &all, true).await,
                event = b.events.recv() => b.on_event(event, Some(&mut *a), &all, false).await,
                _ = ticks.tick() => {
                    a.send("there").await;
                    b.send("and back").await;
                }
            }
        }
    };
    timeout(LIMIT, both).await.expect("delivered in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn ice_servers_are_replaced_in_place() {
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    let server = IceServer { urls: vec!["stun:127.0.0.1:9".to_owned()], ..IceServer::default() };
    a.peer.set_ice_servers(&[server]).await.expect("new servers");
    echo(&mut a, &mut b).await;
    restart(&mut a, &mut b).await;
    delivered(&mut a, &mut b).await;
}

/// A peer whose offer waits for this side to open DTLS, and one that leaves the choice.
#[tokio::test(flavor = "multi_thread")]
async fn dtls_role_follows_the_offer() {
    for (setup, answered) in [("actpass", "passive"), ("passive", "active"), ("active", "passive")] {
        let (mut a, mut b) =
            (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
        let offer = a.peer.offer().await.expect("an offer").replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let answer = b.peer.answer(offer).await.expect("an answer");
        assert!(answer.contains(&format!("a=setup:{answered}\r\n")), "{setup}: {answer}");
        a.peer.set_answer(answer).await.expect("an answer that fits");
        pump(&mut a, &mut b, &all, |a, b| a.is_open() && b.is_open()).await;
        echo(&mut a, &mut b).await;
    }
}

/// The crate counts with wrapping numbers that a debug build would take for a mistake, were it not for its profile here.
#[tokio::test(flavor = "multi_thread")]
async fn driver_end_is_reported() {
    let (events, mut reported) = mpsc::unbounded_channel();
    let runtime = super::PeerRuntime::new(true, super::PACE, events);
    let drivers: [Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>; 2] =
        [Box::new(|| Box::pin(async {})), Box::new(|| Box::pin(async { panic!("as the crate does") }))];
    for driver in drivers {
        let _handle = webrtc::runtime::Runtime::spawn_reactor(&runtime, 1, driver());
        let event = timeout(LIMIT, reported.recv()).await.expect("reported in time");
        assert!(matches!(event, Some(PeerEvent::Ended)));
    }
}

#[tokio::test]
async fn relay_only_without_a_relay_is_refused() {
    let server = IceServer { urls: vec!["turns:a.example".to_owned()], ..turn::credentials("u", "p") };
    let ice = IceConfig { policy: IcePolicy::Relay, servers: vec![server], ..IceConfig::default() };
    let error = RtcPeer::new(LOOPBACK, &ice).await.err();
    assert!(matches!(&error, Some(RtcError::Configuration(_))), "{error:?}");
}

#[tokio::test]
async fn candidates_of_a_hostile_peer_are_bounded() {
    let (a, mut b) = (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    let named = |port: u32| IceCandidate {
        candidate: format!("candidate:{port} 1 udp 1 127.0.0.9 {port} typ host"),
        sdp_mid: None,
        sdp_mline_index: None,
    };
    for port in 1..1000 {
        b.peer.add_candidate(named(port)).await;
    }
    assert_eq!(b.peer.pending.len(), candidates::MAX_CANDIDATES);
    b.peer.answer(a.peer.offer().await.expect("an offer")).await.expect("an answer");
    for port in 1000..2000 {
        b.peer.add_candidate(named(port)).await;
    }
    let report = b.peer.connection.get_stats(Instant::now(), super::StatsSelector::None).await;
    let remote = report.iter().filter(|entry| matches!(entry, super::RTCStatsReportEntry::RemoteCandidate(_))).count();
    assert!(remote <= candidates::MAX_CANDIDATES, "{remote}");
    assert!(candidates::incoming(&named(70_000), true).is_none());
}

/// `cargo test -p facelink-net --lib rtc::tests::measure -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_loss_by_size() {
    for (loss, delay) in [(0.1, 0), (0.1, 20), (0.2, 0), (0.2, 20)] {
        for size in [250, 600, 1100, 1300] {
            for gated in [true, false] {
                let relay = UdpRelay::start(0.0, Duration::from_millis(delay)).await;
                let (mut a, mut b) =
                    (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
                establish(&mut a, &mut b, &relay.route()).await;
                relay.lose(loss);
                let rtt = 2.0 * delay as f32;
                let mut fared = stream(a.peer.channel.clone(), &mut b.reader, size, 480, rtt, gated).await;
                a.peer.close().await;
                b.peer.close().await;
                let (p50, p99) = (percentile(&mut fared.ages, 50), percentile(&mut fared.ages, 99));
                eprintln!(
                    "{:.0} % loss, {} ms, {size} bytes, gated {gated}: {:.1} % dropped, {:.1} % arrived, ages {p50:.1}/{p99:.1} ms",
                    loss * 100.0,
                    2 * delay,
                    fared.dropped * 100.0,
                    fared.arrived * 100.0,
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_connection_setup() {
    for (name, ice) in [("loopback", IceConfig::default()), ("loopback, TCP next to UDP", tcp())] {
        let mut times = Vec::new();
        for _ in 0..20 {
            let (mut a, mut b) = (End::new(LOOPBACK, &ice).await, End::new(LOOPBACK, &ice).await);
            times.push(establish(&mut a, &mut b, &all).await.as_secs_f32() * 1000.0);
            a.peer.close().await;
            b.peer.close().await;
        }
        let (median, worst) = (percentile(&mut times, 50), percentile(&mut times, 100));
        eprintln!("opens on {name}: median {median:.0} ms, worst {worst:.0} ms");
    }
    let (mut a, mut b) =
        (End::new(LOOPBACK, &IceConfig::default()).await, End::new(LOOPBACK, &IceConfig::default()).await);
    establish(&mut a, &mut b, &all).await;
    let start = Instant::now();
    for _ in 0..100 {
        a.peer.stats().await;
    }
    eprintln!("stats(): {:?} each", start.elapsed() / 100);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn measure_tcp_fallback() {
    for no_delay in [true, false] {
        let open = || async {
            End::with(RtcPeer::open(LOOPBACK, &tcp(), Kind { no_delay, ..Kind::default() }).await.expect("a peer"))
        };
        let (mut a, mut b) = (open().await, open().await);
        establish(&mut a, &mut b, &only_tcp).await;
        let mut times = Vec::new();
        let mut ticks = tokio::time::interval(Duration::from_micros(16_667));
        for _ in 0..300 {
            ticks.tick().await;
            let start = Instant::now();
            echo(&mut a, &mut b).await;
            times.push(start.elapsed().as_secs_f32() * 1000.0);
        }
        let (median, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        eprintln!("TCP, no delay {no_delay}: echo at 60 Hz median {median:.2} ms, p99 {p99:.2} ms");
    }
}
