//! Publishers and viewers, in one thread that wastes little.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use facelink::{
    FaceFrame,
    performer::Performance,
    wire::facelink1::{
        Clock, Decoder, Encoder,
        delta::compact::{Acks, CompactDecoder},
    },
};
use rustix::event::epoll;
use serde_json::json;
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest};

use crate::linux::{
    capacity::{Carrier, Peer, Signalling, open_many_files, pin, pong},
    common::{Res, now_us},
    role::{commands, say},
    table::quantile,
};

const FRAME: Duration = Duration::from_micros(16_667);
const OPEN_LIMIT: Duration = Duration::from_secs(90);
/// WebRTC peers that connect at a time.
const OPENING: usize = 8;
const TIMERS: Duration = Duration::from_millis(2);
const WARM_UP: Duration = Duration::from_millis(1000);
/// Frames that are under way at the end.
const DRAIN: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum)]
    carrier: Carrier,
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    viewers: usize,
    #[arg(long)]
    faces: usize,
    #[arg(long)]
    seconds: f64,
    /// Each face has its own time within a frame.
    #[arg(long)]
    spread: bool,
    /// Compact bundles, which are acknowledged.
    #[arg(long)]
    deltas: bool,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
}

enum Transport {
    WebSocket(Box<WebSocket<TcpStream>>),
    WebRtc(Box<Peer>),
}

struct Viewer {
    transport: Transport,
    compact: CompactDecoder,
    acks: Acks,
}

/// What viewers received.
#[derive(Default)]
struct Received {
    packets: u64,
    bytes: u64,
    frames: u64,
    /// That build upon frames that were not received.
    missing: u64,
    ages: Vec<f64>,
}

impl Received {
    /// Reads a packet that came then, Unix microseconds; gives an `ack` if one is due.
    fn take(&mut self, packet: &[u8], now: i64, compact: &mut CompactDecoder, acks: &mut Acks) -> Res<Option<String>> {
        (self.packets, self.bytes) = (self.packets + 1, self.bytes + packet.len() as u64);
        let each = |face: facelink::wire::facelink1::Face<'_>| {
            self.frames += u64::from(!face.repeated);
            if let Some(sent) = face.frame.capture_time.filter(|_| !face.repeated) {
                self.ages.push((now - sent.as_micros() as i64) as f64 / 1000.0);
            }
        };
        if !CompactDecoder::is_compact(packet) {
            Decoder::new().decode(packet, each)?;
            return Ok(None);
        }
        let received = compact.decode(packet, &mut Decoder::new(), each)?;
        self.missing += received.missing as u64;
        let packets = acks.note(received, Instant::now());
        Ok(packets.map(|packets| json!({"type": "ack", "packets": packets}).to_string()))
    }
}

fn websocket(to: SocketAddr) -> Res<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    let request = format!("ws://{to}/").into_client_request()?;
    Ok(tungstenite::client(request, stream).map_err(|error| error.to_string())?.0)
}

fn subscribe(deltas: bool) -> String {
    json!({"type": "subscribe", "binary": "facelink1", "delta": deltas}).to_string()
}

struct Load {
    viewers: Vec<Viewer>,
    poll: std::os::fd::OwnedFd,
    signalling: Option<Signalling>,
    timers: Instant,
    deltas: bool,
    received: Received,
}

impl Load {
    /// Takes what has come, for all viewers.
    fn serve(&mut self, now: Instant) -> Res<()> {
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 128];
        let ready = match epoll::wait(&self.poll, &mut events, Some(&zero)) {
            Ok(count) => events.get(..count).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            let index = event.data.u64() as usize;
            let Some(Viewer { transport, compact, acks }) = self.viewers.get_mut(index) else { continue };
            match transport {
                Transport::WebSocket(socket) => loop {
                    match socket.read() {
                        Ok(Message::Binary(packet)) => {
                            if let Some(ack) = self.received.take(&packet, now_us(), compact, acks)? {
                                socket.send(Message::text(ack))?;
                            }
                        }
                        Ok(Message::Text(text)) => {
                            if let Some(pong) = pong(text.as_str()) {
                                socket.send(Message::text(pong))?;
                            }
                        }
                        Ok(_) => {}
                        Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(error) => return Err(error.into()),
                    }
                },
                Transport::WebRtc(peer) => {
                    peer.read(now)?;
                    for packet in peer.take_received() {
                        let ack = self.received.take(&packet.data, packet.arrived_us, compact, acks)?;
                        if let Some(ack) = ack {
                            peer.send_text(&ack, now)?;
                        }
                    }
                }
            }
        }
        if let Some(signalling) = &self.signalling {
            while let Ok((index, answer)) = signalling.answers.try_recv() {
                if let Some(Viewer { transport: Transport::WebRtc(peer), .. }) = self.viewers.get_mut(index) {
                    peer.answered(&answer?, now)?;
                }
            }
        }
        if now >= self.timers {
            self.timers = now + TIMERS;
            for viewer in &mut self.viewers {
                let Transport::WebRtc(peer) = &mut viewer.transport else { continue };
                peer.on_time(now)?;
                if peer.take_opened() {
                    peer.send_text(&subscribe(self.deltas), now)?;
                }
            }
        }
        Ok(())
    }

    fn open(&mut self, args: &Args) -> Res<()> {
        let end = Instant::now() + OPEN_LIMIT;
        for index in 0..args.viewers {
            let data = epoll::EventData::new_u64(index as u64);
            let transport = match args.carrier {
                Carrier::Webrtc => {
                    let signalling = self.signalling.get_or_insert_with(|| Signalling::start(args.to));
                    let peer = Peer::new(index, signalling)?;
                    epoll::add(&self.poll, peer.socket(), data, epoll::EventFlags::IN)?;
                    Transport::WebRtc(Box::new(peer))
                }
                _ => {
                    let mut socket = websocket(args.to)?;
                    socket.send(Message::text(subscribe(self.deltas)))?;
                    socket.get_ref().set_nonblocking(true)?;
                    epoll::add(&self.poll, socket.get_ref(), data, epoll::EventFlags::IN)?;
                    Transport::WebSocket(Box::new(socket))
                }
            };
            self.viewers.push(Viewer { transport, compact: CompactDecoder::new(), acks: Acks::default() });
            let most = if index + 1 == args.viewers { 0 } else { OPENING };
            while self.opening() > most {
                if Instant::now() > end {
                    return Err("WebRTC connections do not open".into());
                }
                self.serve(Instant::now())?;
                thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(())
    }

    fn opening(&self) -> usize {
        let is_opening = |viewer: &&Viewer| matches!(&viewer.transport, Transport::WebRtc(peer) if !peer.is_open());
        self.viewers.iter().filter(is_opening).count()
    }
}

pub fn run(args: &Args) -> Res<()> {
    pin(args.core)?;
    open_many_files()?;
    let commands = commands();
    let mut load = Load {
        viewers: Vec::new(),
        poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        signalling: None,
        timers: Instant::now(),
        deltas: args.deltas,
        received: Received::default(),
    };
    load.open(args)?;
    // Publishers are on a few connections, so that the relay's core serves viewers.
    let mut publishers = Vec::new();
    for index in 0..args.faces.div_ceil(16) {
        let mut socket = websocket(args.to)?;
        let hello = json!({"type": "hello", "subject": format!("publisher-{index}"), "binary": "facelink1"});
        socket.send(Message::text(hello.to_string()))?;
        socket.get_ref().set_nonblocking(true)?;
        publishers.push(socket);
    }
    say(&json!({"open": load.viewers.len()}));
    commands.recv()?;
    let performances: Vec<Performance> = (0..args.faces as u64).map(Performance::new).collect();
    let mut encoders: Vec<Encoder> = performances.iter().map(|_| Encoder::new()).collect();
    let start = Instant::now();
    let offset =
        |face: usize| if args.spread { FRAME.mul_f64(face as f64 / args.faces as f64) } else { Duration::ZERO };
    let mut next: Vec<Instant> = (0..args.faces).map(|face| start + offset(face)).collect();
    let (mut written, mut begun) = (Vec::new(), None);
    let mut frames = 0_u64;
    let length = Duration::from_secs_f64(args.seconds);
    loop {
        let now = Instant::now();
        if begun.is_none() && now >= start + WARM_UP {
            (load.received, frames, begun) = (Received::default(), 0, Some(now));
            say(&json!({"begun": true}));
        }
        if begun.is_some_and(|begun| now >= begun + length) {
            break;
        }
        for (face, due) in next.iter_mut().enumerate() {
            if now < *due {
                continue;
            }
            *due += FRAME;
            frames += 1;
            let (Some(performance), Some(encoder)) = (performances.get(face), encoders.get_mut(face)) else { continue };
            let mut frame: FaceFrame = performance.frame_at(now - start);
            frame.capture_time = Some(Duration::from_micros(now_us().unsigned_abs()));
            let mut bytes = Vec::new();
            encoder.encode(&format!("face-{face:02}"), &frame, Clock::Unix, &mut bytes)?;
            written.push((face, bytes));
        }
        // All of a tick one after the other, as a game sends them.
        for (face, bytes) in written.drain(..) {
            let publisher = publishers.get_mut(face / 16).ok_or("no publisher")?;
            publisher.send(Message::binary(bytes))?;
            // Answers are of no account.
            while publisher.read().is_ok() {}
        }
        load.serve(now)?;
        let due = next.iter().min().copied().unwrap_or(now);
        let rest = due.saturating_duration_since(Instant::now());
        if rest > Duration::from_micros(100) {
            thread::sleep(Duration::from_micros(50));
        }
    }
    let end = Instant::now() + DRAIN;
    while Instant::now() < end {
        load.serve(Instant::now())?;
    }
    let Received { packets, bytes, frames: got, missing, ages } = load.received;
    say(&json!({"result": {
        "packets": packets,
        "bytes": bytes,
        "frames": got,
        "missing": missing,
        "wanted": frames * args.viewers as u64,
        "seconds": args.seconds,
        "median_ms": quantile(&ages, 0.5),
        "p99_ms": quantile(&ages, 0.99),
    }}));
    Ok(())
}
