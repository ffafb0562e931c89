//! The runtime that the crate runs on: tokio's, with what it lacks for TCP and for slow name servers.

use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    net::{SocketAddr, TcpListener, UdpSocket},
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use super::{PeerEvent, log::quiet};
use parking_lot::Mutex;
use tokio::{
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
};
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, RecvMeta, Runtime, TokioRuntime,
    Transmit,
};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A name server gets this long: the crate's driver stands still meanwhile, and sends no candidate.
const RESOLVE_LIMIT: Duration = Duration::from_secs(1);
/// How long a resolved name is remembered.
const RESOLVED_FOR: Duration = Duration::from_secs(300);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The driver stands still while a TCP stream takes nothing: one that takes longer is closed.
const WRITE_LIMIT: Duration = Duration::from_millis(500);
/// Streams that a connection holds open at a time. Any host may connect to its TCP port; further streams are refused.
const MAX_STREAMS: usize = 16;
/// DTLS datagrams after which a connection counts as open: the handshakes of DTLS and SCTP, and some repetitions.
const OPENING_DATAGRAMS: u32 = 24;
/// Passes of the driver that a datagram needs until everything that follows from it is done.
const PASSES: u64 = 3;
/// How much faster the crate's clock runs than ours.
///
/// Its SCTP waits at least a second (RFC 9260's minimum, which it has no setting for) before it gives up a message that is lost
/// with no three others behind it, and so a fifth of that: as TCP on Linux does. At 60 messages a second a second would be an
/// age, in which the congestion window stays full of what is lost.
pub(super) const PACE: u32 = 5;
/// Bytes that a stream's socket holds back for a slow peer: two seconds of frames at most.
const SEND_BUFFER: usize = 32 * 1024;

static RESOLVED: LazyLock<Mutex<HashMap<String, (Instant, Vec<SocketAddr>)>>> = LazyLock::new(Mutex::default);

/// Makes the crate's driver finish what a datagram has set off before it gets the next one, while a connection opens.
///
/// Without a wake-up it sleeps with packets to send, until its next timer. Worse, when the peer's first message comes
/// before our end of the negotiated channel has its stream, that message is lost and the channel is ordered and reliable
/// from then on.
#[derive(Debug)]
struct Opening {
    /// Datagrams that are still watched over.
    left: AtomicU32,
    /// Passes of the driver so far: it sleeps once in each.
    passes: AtomicU64,
    /// The pass from which on it gets the next datagram.
    busy_until: AtomicU64,
    held: Mutex<Vec<Waker>>,
}

impl Opening {
    fn is_over(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    fn is_busy(&self) -> bool {
        self.passes.load(Ordering::Relaxed) < self.busy_until.load(Ordering::Relaxed)
    }

    fn delivered(&self) {
        self.left.store(self.left.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
        self.busy_until.store(self.passes.load(Ordering::Relaxed) + PASSES, Ordering::Relaxed);
    }

    /// The driver goes to sleep. Whether it has to make another pass first.
    fn pass(&self) -> bool {
        self.passes.fetch_add(1, Ordering::Relaxed);
        let busy = self.is_busy();
        if !busy {
            self.held.lock().drain(..).for_each(Waker::wake);
        }
        busy
    }
}

/// Whether a datagram carries DTLS, by itself or as the data of a relay's channel (RFC 7983; RFC 8656, 12.4). STUN sets
/// nothing off that cannot wait.
fn is_dtls(datagram: &[u8]) -> bool {
    let first = match datagram.first() {
        Some(64..=79) => datagram.get(4),
        first => first,
    };
    matches!(first, Some(20..=63))
}

/// Whether a datagram could not be sent because its destination is unreachable.
fn is_unreachable(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::InvalidInput
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::AddrNotAvailable
            | Kind::NetworkDown
    )
}

/// A UDP socket with [`Opening`] in front.
#[derive(Debug)]
struct Socket {
    socket: Arc<dyn AsyncUdpSocket>,
    opening: Arc<Opening>,
    traffic: Arc<AtomicU64>,
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn poll_send(&self, context: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        match self.socket.poll_send(context, transmit) {
            // ICE pairs each of our addresses with each of theirs, and there is no route between most of them, such as
            // from loopback to another machine. The crate would log an error for every attempt; to ICE it is a datagram
            // that was lost.
            Poll::Ready(Err(error)) if is_unreachable(&error) => Poll::Ready(Ok(transmit.contents.len())),
            sent => sent,
        }
    }

    fn poll_recv(
        &self,
        context: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if self.opening.is_busy() {
            self.opening.held.lock().push(context.waker().clone());
            return Poll::Pending;
        }
        let received = self.socket.poll_recv(context, buffers, meta);
        if let Poll::Ready(Ok(1..)) = received {
            self.traffic.fetch_add(1, Ordering::Relaxed);
        }
        if !self.opening.is_over()
            && let Poll::Ready(Ok(1..)) = received
            && buffers.first().is_some_and(|buffer| is_dtls(buffer))
        {
            self.opening.delivered();
        }
        received
    }

    fn max_gso_segments(&self) -> usize {
        self.socket.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.socket.max_gro_segments()
    }
}

/// The runtime of one connection.
#[derive(Debug)]
pub(super) struct PeerRuntime {
    opening: Arc<Opening>,
    tokio: TokioRuntime,
    no_delay: bool,
    streams: Arc<AtomicUsize>,
    bound: Mutex<Vec<SocketAddr>>,
    traffic: Arc<AtomicU64>,
    events: mpsc::UnboundedSender<PeerEvent>,
    start: Instant,
    /// How much faster the crate's clock runs than ours.
    pace: u32,
}

/// Reports the end of the driver, by whatever way: a panic of it ends its task alone.
struct Driver(mpsc::UnboundedSender<PeerEvent>);

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.0.send(PeerEvent::Ended);
    }
}

impl PeerRuntime {
    /// `no_delay`: small packets on TCP go out at once, which only a measurement does without. `pace`: [`PACE`] for data
    /// channels; 1 for pictures, since their senders judge the path by the times that are reported of it.
    pub fn new(no_delay: bool, pace: u32, events: mpsc::UnboundedSender<PeerEvent>) -> Self {
        let opening = Opening {
            left: AtomicU32::new(OPENING_DATAGRAMS),
            passes: AtomicU64::default(),
            busy_until: AtomicU64::default(),
            held: Mutex::default(),
        };
        let opening = Arc::new(opening);
        Self {
            opening,
            tokio: TokioRuntime,
            no_delay,
            streams: Arc::default(),
            bound: Mutex::default(),
            traffic: Arc::default(),
            events,
            start: Instant::now(),
            pace,
        }
    }

    /// Counts datagrams, and reads from streams.
    pub fn traffic(&self) -> Arc<AtomicU64> {
        self.traffic.clone()
    }

    /// Whether a socket on each of these was bound; the crate passes over those that were not. Port 0 stands for any.
    pub fn has_bound(&self, addresses: &[SocketAddr]) -> bool {
        let bound = self.bound.lock();
        addresses.iter().all(|wanted| {
            bound.iter().any(|bound| bound.ip() == wanted.ip() && [0, bound.port()].contains(&wanted.port()))
        })
    }
}

impl Runtime for PeerRuntime {
    fn spawn(&self, future: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        self.tokio.spawn(Box::pin(quiet(future)))
    }

    fn spawn_reactor(&self, _: usize, driver: Boxed<'static, ()>) -> Box<dyn JoinHandle> {
        let end = Driver(self.events.clone());
        self.spawn(Box::pin(async move {
            let _end = end;
            driver.await;
        }))
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        let address = socket.local_addr()?;
        self.bound.lock().push(address);
        Ok(Arc::new(Socket {
            socket: self.tokio.wrap_udp_socket(socket)?,
            opening: self.opening.clone(),
            traffic: self.traffic.clone(),
        }))
    }

    fn wrap_tcp_listener(&self, listener: TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        listener.set_nonblocking(true)?;
        Ok(Arc::new(Listener {
            listener: tokio::net::TcpListener::from_std(listener)?,
            no_delay: self.no_delay,
            streams: self.streams.clone(),
            traffic: self.traffic.clone(),
        }))
    }

    fn connect_tcp<'a>(&'a self, address: SocketAddr) -> Boxed<'a, io::Result<Arc<dyn AsyncTcpStream>>> {
        Box::pin(async move {
            let slot = Slot::take(&self.streams).ok_or_else(|| io::Error::other("too many streams"))?;
            let stream = tokio::time::timeout(CONNECT_LIMIT, tokio::net::TcpStream::connect(address)).await??;
            Stream::wrap(stream, self.no_delay, slot, self.traffic.clone())
        })
    }

    fn resolve_host<'a>(&'a self, host: &'a str) -> Boxed<'a, io::Result<Vec<SocketAddr>>> {
        Box::pin(resolve(host))
    }

    fn now(&self) -> Instant {
        self.start + self.start.elapsed() * self.pace
    }

    fn sleep(&self, duration: Duration) -> Boxed<'static, ()> {
        if self.opening.pass() { Box::pin(std::future::ready(())) } else { self.tokio.sleep(duration / self.pace) }
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        self.tokio.interval(period / self.pace)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.tokio.block_on(future);
    }

    fn yield_now(&self) -> Boxed<'static, ()> {
        self.tokio.yield_now()
    }

    fn name(&self) -> &'static str {
        "facelink"
    }
}

/// `host:port` to addresses. The crate forgets the brackets of an IPv6 address of a TURN server.
async fn resolve(host: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    if let Some((address, port)) = host.rsplit_once(':')
        && let (Ok(address), Ok(port)) = (address.parse::<std::net::Ipv6Addr>(), port.parse::<u16>())
    {
        return Ok(vec![SocketAddr::from((address, port))]);
    }
    let now = Instant::now();
    if let Some((at, addresses)) = RESOLVED.lock().get(host)
        && now.saturating_duration_since(*at) < RESOLVED_FOR
    {
        return Ok(addresses.clone());
    }
    let name = host.to_owned();
    // It continues after the limit, so that the next connection finds what it needs.
    let lookup = tokio::spawn(async move {
        let addresses: Vec<_> = tokio::net::lookup_host(&name).await?.collect();
        let mut resolved = RESOLVED.lock();
        resolved.retain(|_, (at, _)| now.saturating_duration_since(*at) < RESOLVED_FOR);
        if !addresses.is_empty() && resolved.len() < 64 {
            resolved.insert(name, (now, addresses.clone()));
        }
        io::Result::Ok(addresses)
    });
    tokio::time::timeout(RESOLVE_LIMIT, lookup).await?.map_err(io::Error::other)?
}

/// One of a connection's streams.
#[derive(Debug)]
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(streams: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(streams.clone());
        (streams.fetch_add(1, Ordering::Relaxed) < MAX_STREAMS).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Listener {
    listener: tokio::net::TcpListener,
    no_delay: bool,
    streams: Arc<AtomicUsize>,
    traffic: Arc<AtomicU64>,
}

impl AsyncTcpListener for Listener {
    fn accept<'a>(&'a self) -> Boxed<'a, io::Result<(Arc<dyn AsyncTcpStream>, SocketAddr)>> {
        Box::pin(async move {
            loop {
                let (stream, address) = self.listener.accept().await?;
                let Some(slot) = Slot::take(&self.streams) else {
                    tracing::debug!(%address, "too many TCP streams on one connection");
                    continue;
                };
                return Ok((Stream::wrap(stream, self.no_delay, slot, self.traffic.clone())?, address));
            }
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[derive(Debug)]
struct Stream {
    read: OwnedReadHalf,
    write: tokio::sync::Mutex<OwnedWriteHalf>,
    dead: AtomicBool,
    local: SocketAddr,
    peer: SocketAddr,
    traffic: Arc<AtomicU64>,
    _slot: Slot,
}

impl Stream {
    fn wrap(
        stream: tokio::net::TcpStream,
        no_delay: bool,
        slot: Slot,
        traffic: Arc<AtomicU64>,
    ) -> io::Result<Arc<dyn AsyncTcpStream>> {
        stream.set_nodelay(no_delay)?;
        // A large buffer would keep old frames for a stalled peer.
        socket2::SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER)?;
        let (local, peer) = (stream.local_addr()?, stream.peer_addr()?);
        let (read, write) = stream.into_split();
        let write = tokio::sync::Mutex::new(write);
        Ok(Arc::new(Self { read, write, dead: AtomicBool::new(false), local, peer, traffic, _slot: slot }))
    }
}

impl AsyncTcpStream for Stream {
    fn read<'a, 'b>(&'a self, buffer: &'b mut [u8]) -> Boxed<'b, io::Result<usize>>
    where
        'a: 'b,
    {
        Box::pin(async move {
            loop {
                self.read.readable().await?;
                match self.read.try_read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => {
                        self.traffic.fetch_add(1, Ordering::Relaxed);
                        return other;
                    }
                }
            }
        })
    }

    fn write_all<'a, 'b>(&'a self, buffer: &'b [u8]) -> Boxed<'b, io::Result<()>>
    where
        'a: 'b,
    {
        use tokio::io::AsyncWriteExt;
        Box::pin(async move {
            if self.dead.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let mut write = self.write.lock().await;
            let result = match tokio::time::timeout(WRITE_LIMIT, write.write_all(buffer)).await {
                Ok(result) => result,
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            if result.is_err() {
                // What was cut off in the middle cannot be taken up again.
                self.dead.store(true, Ordering::Relaxed);
            }
            result
        })
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn resolve_literal_address_without_dns() {
        assert_eq!(resolve("127.0.0.1:3478").await.unwrap(), [SocketAddr::from(([127, 0, 0, 1], 3478))]);
        let v6: SocketAddr = "[2001:db8::2]:3478".parse().unwrap();
        assert_eq!(resolve("[2001:db8::2]:3478").await.unwrap(), [v6]);
        assert_eq!(resolve("2001:db8::2:3478").await.unwrap(), [v6]);
    }

    #[test]
    fn dtls_is_distinguished_from_stun() {
        for (datagram, dtls) in [
            (&[22, 254, 253][..], true),
            (&[23], true),
            (&[0, 1, 0, 0, 33], false),
            (&[1, 1], false),
            (&[64, 1, 0, 9, 22], true),
            (&[64, 1, 0, 9, 1], false),
            (&[64, 1], false),
            (&[], false),
            (&[128, 1], false),
        ] {
            assert_eq!(is_dtls(datagram), dtls, "{datagram:?}");
        }
    }

    #[tokio::test]
    async fn resolve_name_is_cached() {
        let addresses = resolve("localhost:3478").await.unwrap();
        assert!(addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 3478), "{addresses:?}");
        assert!(RESOLVED.lock().contains_key("localhost:3478"));
        assert_eq!(resolve("localhost:3478").await.unwrap(), addresses);
    }

    #[tokio::test]
    async fn tcp_streams_are_limited() {
        let runtime = PeerRuntime::new(true, PACE, mpsc::unbounded_channel().0);
        let listener = runtime.wrap_tcp_listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(Mutex::new(Vec::new()));
        let all = accepted.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                all.lock().push(stream);
            }
        });
        let mut clients = Vec::new();
        for _ in 0..MAX_STREAMS + 5 {
            clients.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        // The first come are served; the others find their streams closed.
        for client in &mut clients[MAX_STREAMS..] {
            use tokio::io::AsyncReadExt;
            let read = tokio::time::timeout(Duration::from_secs(20), client.read(&mut [0; 1])).await.unwrap();
            assert!(matches!(read, Ok(0) | Err(_)));
        }
        assert_eq!(accepted.lock().len(), MAX_STREAMS);
        accepted.lock().clear();
        accepting.abort();
        assert_eq!(runtime.streams.load(Ordering::Relaxed), 0);
    }

    /// A peer that takes nothing more stalls the driver once, and not for long.
    #[tokio::test]
    async fn tcp_stream_that_reads_nothing_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = PeerRuntime::new(true, PACE, mpsc::unbounded_channel().0)
            .connect_tcp(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (_silent, _) = listener.accept().unwrap();
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 64 * 1024]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(stream.write_all(&[0; 1]).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
