//! Senders of faces at 60 Hz, as many as wanted, in one thread that wastes little: it shall not be what gives way first.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use facelink::{Blendshape, FaceFrame, performer::Performance};
use rustix::event::epoll;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket, client::IntoClientRequest};

use super::{
    Carrier, open_many_files, pin,
    rtc_sender::{Peer, Signalling, pong},
};
use crate::linux::{
    common::{Res, now_us},
    format::{Format, Writer},
    role::{commands, say},
    table::quantile,
};

/// Frames a second of each sender.
pub const RATE: u64 = 60;
/// Faces that the senders take turns with.
const FACES: u64 = 240;
const OPEN_LIMIT: Duration = Duration::from_secs(60);
/// WebRTC peers that connect at a time.
const OPENING: usize = 8;
/// Between two looks at the timers of WebRTC.
const TIMERS: Duration = Duration::from_millis(2);
/// Before what is due sooner, the thread does not sleep.
const SPIN: Duration = Duration::from_micros(60);
const NAP: Duration = Duration::from_micros(500);

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum)]
    carrier: Carrier,
    #[arg(long)]
    to: SocketAddr,
    /// Takes reports, as our own client does.
    #[arg(long)]
    reports: bool,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
}

enum Transport {
    Udp(UdpSocket),
    WebSocket(Box<WebSocket<TcpStream>>),
    WebRtc(Box<Peer>),
}

struct Sender {
    writer: Writer,
    transport: Transport,
}

pub struct Senders {
    carrier: Carrier,
    to: SocketAddr,
    reports: bool,
    senders: Vec<Sender>,
    faces: Vec<FaceFrame>,
    poll: rustix::fd::OwnedFd,
    timers: Instant,
    signalling: Option<Signalling>,
    dropped: u64,
}

fn subject(index: usize) -> String {
    format!("sender {index}")
}

fn hello(index: usize, reports: bool) -> String {
    json!({"type": "hello", "subject": subject(index), "binary": "facelink1", "client": "lab", "reports": reports})
        .to_string()
}

/// The fraction of the second, for formats without a time of day.
pub fn fraction(unix_us: i64) -> f32 {
    unix_us.rem_euclid(1_000_000) as f32 / 1e6
}

impl Senders {
    fn new(args: &Args) -> Res<Self> {
        let performance = Performance::new(1);
        Ok(Self {
            carrier: args.carrier,
            to: args.to,
            reports: args.reports,
            senders: Vec::new(),
            faces: (0..FACES).map(|face| performance.frame_at(Duration::from_millis(face * 1000 / RATE))).collect(),
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timers: Instant::now(),
            signalling: None,
            dropped: 0,
        })
    }

    /// Opens more, until there are `count`.
    fn open(&mut self, count: usize) -> Res<()> {
        let end = Instant::now() + OPEN_LIMIT.max(Duration::from_millis(100) * count as u32);
        while self.senders.len() < count {
            let index = self.senders.len();
            let format = if self.carrier == Carrier::Udp { Format::LiveLinkFace } else { Format::Facelink1 };
            let data = epoll::EventData::new_u64(index as u64);
            let transport = match self.carrier {
                Carrier::Udp => {
                    let socket = UdpSocket::bind("127.0.0.1:0")?;
                    socket.connect(self.to)?;
                    socket.set_nonblocking(true)?;
                    Transport::Udp(socket)
                }
                Carrier::Websocket => {
                    let socket = self.websocket(index)?;
                    epoll::add(&self.poll, socket.get_ref(), data, epoll::EventFlags::IN)?;
                    Transport::WebSocket(Box::new(socket))
                }
                Carrier::Webrtc => {
                    let signalling = match &mut self.signalling {
                        Some(signalling) => signalling,
                        None => self.signalling.insert(Signalling::start(self.to)),
                    };
                    let peer = Peer::new(index, signalling)?;
                    epoll::add(&self.poll, peer.socket(), data, epoll::EventFlags::IN)?;
                    Transport::WebRtc(Box::new(peer))
                }
            };
            self.senders.push(Sender { writer: Writer::new(format, 0, &subject(index)), transport });
            self.await_open(OPENING, end)?;
        }
        self.await_open(0, end)
    }

    fn websocket(&self, index: usize) -> Res<WebSocket<TcpStream>> {
        let stream = TcpStream::connect(self.to)?;
        stream.set_nodelay(true)?;
        let request = format!("ws://{}/", self.to).into_client_request()?;
        let (mut socket, _) = tungstenite::client(request, stream).map_err(|error| error.to_string())?;
        socket.send(Message::text(hello(index, self.reports)))?;
        socket.get_ref().set_nonblocking(true)?;
        Ok(socket)
    }

    /// Waits until at most `opening` peers are not open yet.
    fn await_open(&mut self, opening: usize, end: Instant) -> Res<()> {
        loop {
            let peers = self.senders.iter().filter_map(|sender| match &sender.transport {
                Transport::WebRtc(peer) => Some(peer),
                _ => None,
            });
            if peers.filter(|peer| !peer.is_open()).count() <= opening {
                return Ok(());
            }
            if Instant::now() > end {
                return Err("WebRTC connections do not open".into());
            }
            self.serve(Instant::now())?;
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Reads what came in, answers pings, and keeps WebRTC going.
    fn serve(&mut self, now: Instant) -> Res<()> {
        let mut events = [epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) }; 64];
        let zero = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let (ready, _) = match epoll::wait(&self.poll, &mut events, Some(&zero)) {
            Ok(count) => events.split_at(count),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            let index = event.data.u64() as usize;
            let Some(sender) = self.senders.get_mut(index) else { continue };
            match &mut sender.transport {
                Transport::Udp(_) => {}
                Transport::WebSocket(socket) => read_websocket(socket)?,
                Transport::WebRtc(peer) => peer.read(now)?,
            }
        }
        if let Some(signalling) = &self.signalling {
            while let Ok((index, answer)) = signalling.answers.try_recv() {
                if let Some(Sender { transport: Transport::WebRtc(peer), .. }) = self.senders.get_mut(index) {
                    peer.answered(&answer?, now)?;
                }
            }
        }
        if self.carrier == Carrier::Webrtc && now >= self.timers {
            self.timers = now + TIMERS;
            for (index, sender) in self.senders.iter_mut().enumerate() {
                if let Transport::WebRtc(peer) = &mut sender.transport {
                    peer.on_time(now)?;
                    if peer.take_opened() {
                        peer.send_text(&hello(index, self.reports), now)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize, number: u64) -> Res<()> {
        let Some(sender) = self.senders.get_mut(index) else { return Ok(()) };
        let face = (number + index as u64 * 7) % FACES;
        let Some(frame) = self.faces.get_mut(face as usize) else { return Ok(()) };
        let now = now_us();
        frame.capture_time = u64::try_from(now).ok().map(Duration::from_micros);
        if self.carrier == Carrier::Udp {
            frame.set(Blendshape::TongueOut, fraction(now));
        }
        let payload = sender.writer.write(frame)?;
        let sent = match &mut sender.transport {
            Transport::Udp(socket) => match socket.send(payload.bytes()) {
                Ok(_) => true,
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) => return Err(error.into()),
            },
            Transport::WebSocket(socket) => match socket.send(Message::binary(payload.bytes().to_vec())) {
                Ok(()) => true,
                // It stays in the crate's buffer, and leaves with the next one.
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => true,
                Err(error) => return Err(error.into()),
            },
            Transport::WebRtc(peer) => peer.send(payload.bytes(), Instant::now())?,
        };
        self.dropped += u64::from(!sent);
        Ok(())
    }

    /// Every sender sends for so long, spread evenly over the time between two frames.
    fn run(&mut self, time: Duration) -> Res<Value> {
        let senders = self.senders.len() as u64;
        let total = (time.as_secs_f64() * (RATE * senders) as f64) as u64;
        let interval = Duration::from_secs(1).div_f64((RATE * senders) as f64);
        let (start, dropped) = (Instant::now(), self.dropped);
        let mut late = Vec::with_capacity(total as usize);
        let mut sent = 0;
        while sent < total {
            let now = Instant::now();
            let due = start + interval.mul_f64(sent as f64);
            if now < due {
                self.serve(now)?;
                let left = due.saturating_duration_since(Instant::now());
                if left > SPIN {
                    thread::sleep((left - SPIN / 2).min(NAP));
                }
                continue;
            }
            late.push(now.saturating_duration_since(due).as_secs_f64() * 1000.0);
            self.send((sent % senders) as usize, sent / senders)?;
            sent += 1;
            if sent % 64 == 0 {
                self.serve(now)?;
            }
            // Behind by a second: the rest is not to be had.
            if now.saturating_duration_since(due) > Duration::from_secs(1) {
                break;
            }
        }
        Ok(json!({
            "sent": sent - (self.dropped - dropped),
            "wanted": total,
            "seconds": start.elapsed().as_secs_f64(),
            "late_ms": quantile(&late, 0.99),
        }))
    }
}

fn read_websocket(socket: &mut WebSocket<TcpStream>) -> Res<()> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                if let Some(pong) = pong(text.as_str()) {
                    socket.write(Message::text(pong))?;
                }
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    match socket.flush() {
        Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
        flushed => Ok(flushed?),
    }
}

/// A command that has come, if one has.
fn next(commands: &Receiver<String>, wait: Duration) -> Result<Option<String>, ()> {
    match commands.recv_timeout(wait) {
        Ok(command) => Ok(Some(command)),
        Err(error) if error.is_timeout() => Ok(None),
        Err(_) => Err(()),
    }
}

pub fn run(args: &Args) -> Res<()> {
    pin(args.core)?;
    open_many_files()?;
    let commands = commands();
    let mut senders = Senders::new(args)?;
    say(&json!({"ready": true}));
    while let Ok(command) = next(&commands, Duration::from_millis(1)) {
        match command.as_deref().and_then(|command| command.split_once(' ')) {
            Some(("open", count)) => {
                senders.open(count.parse()?)?;
                say(&json!({"open": senders.senders.len()}));
            }
            Some(("run", seconds)) => {
                let ran = senders.run(Duration::from_secs_f64(seconds.parse()?))?;
                say(&json!({"ran": ran}));
            }
            _ => senders.serve(Instant::now())?,
        }
    }
    Ok(())
}
