//! `facelink send`: the synthetic performance, over any of the wires.

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use facelink::{
    FaceFrame,
    link::{Client, ClientConfig, ClientState, DEFAULT_PORT, LIVE_LINK_FACE_PORT, ServerTrust, UDP_JSON_PORT},
    performer::Performance,
    wire::{
        json::write_arkit_data,
        llf::{self, LlfPacket},
    },
};
use tokio::runtime::{Builder, Runtime};

use crate::{Error, ice::IceArgs, stop::stop_signal};

/// Time that a connection gets to stand.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time for the last frame to leave.
const LINGER: Duration = Duration::from_millis(100);
/// As the app's: what an iPhone would call itself.
const DEVICE_ID: &str = "FACE1111-0000-4000-8000-5EEDFACE0001";

/// Send a synthetic face that talks, blinks and looks about.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What carries the frames.
    #[arg(long, value_enum, default_value_t = Via::Webrtc)]
    via: Via,
    /// Where to: HOST:PORT or a ws:// address [default: this machine, at the usual port].
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    /// Frames a second; fewer when the receiver asks for fewer.
    #[arg(long, default_value_t = 60.0, value_parser = fps)]
    fps: f64,
    /// How long to send; until Ctrl-C if not given.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Name of the face.
    #[arg(long, value_name = "NAME", default_value = "facelink", value_parser = subject)]
    subject: String,
    /// Pairing token of the receiver (webrtc and websocket).
    #[arg(long)]
    token: Option<String>,
    /// Take the receiver's certificate with this SHA-256 fingerprint and no other (wss://).
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    /// Another seed is another performance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    ice: IceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// A WebSocket at once, and a WebRTC data channel as soon as it opens
    Webrtc,
    /// A WebSocket
    Websocket,
    /// JSON datagrams
    UdpJson,
    /// Datagrams like those of the Live Link Face app
    LiveLinkFace,
}

fn fps(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fps) if (1.0..=240.0).contains(&fps) => Ok(fps),
        _ => Err("expected a number from 1 to 240".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(seconds),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

fn subject(text: &str) -> Result<String, String> {
    match text.len() {
        1..=128 => Ok(text.to_owned()),
        _ => Err("expected a name of 1 to 128 bytes".to_owned()),
    }
}

pub fn run(args: Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let mut sender: Box<dyn Sender> = match args.via {
        Via::Webrtc | Via::Websocket => match Link::connect(&args, &stop)? {
            Some(link) => Box::new(link),
            None => return Ok(()),
        },
        Via::UdpJson => Box::new(Datagrams::new(&args, UDP_JSON_PORT, Format::Json)?),
        Via::LiveLinkFace => Box::new(Datagrams::new(&args, LIVE_LINK_FACE_PORT, Format::LiveLinkFace)?),
    };
    eprintln!("Sending {} to {}. Ctrl-C ends.", args.subject, sender.describe());

    let performance = Performance::new(args.seed);
    let start = Instant::now();
    let end = args.seconds.map(Duration::from_secs_f64);
    let mut due = start;
    let mut count: u64 = 0;
    // Waits for the next frame, or for the signal to end.
    while let Err(RecvTimeoutError::Timeout) = stop.recv_deadline(due) {
        let time = due.duration_since(start);
        if end.is_some_and(|end| time >= end) {
            break;
        }
        let mut frame = performance.frame_at(time);
        frame.sequence = Some(count);
        sender.send(frame)?;
        count += 1;
        let rate = sender.wanted_fps().map_or(args.fps, |wanted| args.fps.min(wanted.max(1.0)));
        due += Duration::from_secs_f64(1.0 / rate);
        // After a stall (a laptop's lid), goes on from now instead of catching up.
        let now = Instant::now();
        if now > due + Duration::from_millis(250) {
            due = now;
        }
    }
    let took = start.elapsed().as_secs_f64();
    sender.finish();
    writeln!(io::stdout(), "Sent {count} frames in {took:.1} s.").map_err(Error::Output)
}

/// Takes frames to where they go.
trait Sender {
    fn describe(&self) -> String;
    fn send(&mut self, frame: FaceFrame) -> Result<(), Error>;
    /// The rate that the receiver asked for.
    fn wanted_fps(&self) -> Option<f64> {
        None
    }
    fn finish(&mut self) {}
}

/// A WebSocket or a data channel.
struct Link {
    client: Client,
    /// Keeps the client going.
    _runtime: Runtime,
    url: String,
    state: ClientState,
}

impl Link {
    /// Connects, or gives `None` when asked to stop before that.
    fn connect(args: &Args, stop: &Receiver<()>) -> Result<Option<Self>, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().map_err(Error::Runtime)?;
        let url = args.to.clone().unwrap_or_else(|| format!("ws://127.0.0.1:{DEFAULT_PORT}"));
        let config = ClientConfig {
            token: args.token.clone(),
            webrtc: args.via == Via::Webrtc,
            trust: args.fingerprint.clone().map_or(ServerTrust::Public, ServerTrust::Fingerprint),
            ice: args.ice.config()?,
            ..ClientConfig::new(&url).subject(&args.subject)
        };
        let client = Client::start(config, runtime.handle());
        let mut link = Self { client, _runtime: runtime, url, state: ClientState::Connecting };
        let connected = link.wait(stop, CONNECT_LIMIT, |state| matches!(state, ClientState::Connected(_)));
        match connected {
            Waited::Stopped => return Ok(None),
            Waited::Reached => {}
            Waited::TimedOut => {
                return Err(Error::Plain(match link.client.state() {
                    ClientState::Waiting(error) | ClientState::Refused(error) => error.to_string(),
                    _ => format!("cannot connect to {}: no answer in time", link.url),
                }));
            }
        }
        link.state = link.client.state();
        Ok(Some(link))
    }

    /// Waits for a state; being refused counts as out of time.
    fn wait(&self, stop: &Receiver<()>, limit: Duration, wanted: impl Fn(&ClientState) -> bool) -> Waited {
        let end = Instant::now() + limit;
        loop {
            let state = self.client.state();
            if wanted(&state) {
                return Waited::Reached;
            }
            if matches!(state, ClientState::Refused(_)) || Instant::now() >= end {
                return Waited::TimedOut;
            }
            match stop.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Waited::Stopped,
            }
        }
    }
}

enum Waited {
    Reached,
    TimedOut,
    Stopped,
}

impl Sender for Link {
    fn describe(&self) -> String {
        match &self.state {
            ClientState::Connected(kind) => format!("{} over {kind}", self.url),
            _ => self.url.clone(),
        }
    }

    fn send(&mut self, frame: FaceFrame) -> Result<(), Error> {
        self.client.send(frame);
        let state = self.client.state();
        if state != self.state {
            match &state {
                ClientState::Connected(kind) => eprintln!("facelink: connected over {kind}"),
                ClientState::Waiting(error) => eprintln!("facelink: {error}; trying again"),
                ClientState::Refused(error) => return Err(Error::Plain(error.to_string())),
                _ => {}
            }
            self.state = state;
        }
        Ok(())
    }

    fn wanted_fps(&self) -> Option<f64> {
        Some(f64::from(self.client.target_fps()))
    }

    fn finish(&mut self) {
        std::thread::sleep(LINGER);
    }
}

enum Format {
    Json,
    LiveLinkFace,
}

/// Datagrams.
struct Datagrams {
    socket: UdpSocket,
    to: SocketAddr,
    format: Format,
    subject: String,
    text: String,
    bytes: Vec<u8>,
    /// Live Link Face: the frame number of the first frame, and frames a second.
    first: i32,
    rate: i32,
    nobody: bool,
}

impl Datagrams {
    fn new(args: &Args, port: u16, format: Format) -> Result<Self, Error> {
        let to = resolve(args.to.as_deref(), port)?;
        let any: SocketAddr =
            if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        // Connected, so that the system reports a port on which nobody listens.
        let socket = UdpSocket::bind(any)
            .and_then(|socket| socket.connect(to).map(|()| socket))
            .map_err(|error| Error::Plain(format!("cannot send to {to}: {error}")))?;
        let rate = args.fps.round() as i32;
        let since_midnight = unix_time().as_secs_f64() % 86_400.0;
        let first = (since_midnight * f64::from(rate)) as i32;
        Ok(Self {
            socket,
            to,
            format,
            subject: args.subject.clone(),
            text: String::new(),
            bytes: Vec::new(),
            first,
            rate,
            nobody: false,
        })
    }
}

impl Sender for Datagrams {
    fn describe(&self) -> String {
        let format = match self.format {
            Format::Json => "JSON datagrams",
            Format::LiveLinkFace => "Live Link Face datagrams",
        };
        format!("{} as {format}", self.to)
    }

    fn send(&mut self, frame: FaceFrame) -> Result<(), Error> {
        let datagram = match self.format {
            Format::Json => {
                let now = unix_time().as_secs_f64() * 1000.0;
                write_arkit_data(&mut self.text, &frame, Some(&self.subject), Some(now));
                self.text.as_bytes()
            }
            Format::LiveLinkFace => {
                let count = frame.sequence.unwrap_or(0);
                let day = i64::from(self.rate) * 86_400;
                let number = (i64::from(self.first) + count as i64) % day;
                let packet = LlfPacket {
                    rate: (self.rate, 1),
                    ..LlfPacket::new(DEVICE_ID, &self.subject, number as i32, frame)
                };
                self.bytes.clear();
                llf::encode(&packet, &llf::PROFILE, &mut self.bytes)
                    .map_err(|error| Error::Plain(error.to_string()))?;
                &self.bytes
            }
        };
        match self.socket.send(datagram) {
            Ok(_) => Ok(()),
            // The answer to an earlier datagram. The receiver may yet start.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if !self.nobody {
                    eprintln!("facelink: nobody listens at {} yet", self.to);
                }
                self.nobody = true;
                Ok(())
            }
            // A full queue on the way out is a lost frame, as on any network.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(Error::Plain(format!("cannot send to {}: {error}", self.to))),
        }
    }
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `HOST:PORT`, or `HOST` and the usual port.
fn resolve(to: Option<&str>, port: u16) -> Result<SocketAddr, Error> {
    let Some(to) = to else {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    };
    let bad = |reason: &dyn std::fmt::Display| Error::Plain(format!("`{to}` is no HOST:PORT to send to: {reason}"));
    let bare = to.strip_prefix("udp://").unwrap_or(to);
    if bare.contains("://") {
        return Err(bad(&"this wire has no such addresses"));
    }
    let unbracketed = bare.trim_start_matches('[').trim_end_matches(']');
    let found = if let Ok(ip) = unbracketed.parse() {
        return Ok(SocketAddr::new(ip, port));
    } else if bare.contains(':') {
        bare.to_socket_addrs()
    } else {
        (bare, port).to_socket_addrs()
    };
    let mut found: Vec<SocketAddr> = found.map_err(|error| bad(&error))?.collect();
    // Receivers listen on IPv4 unless told otherwise.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| bad(&"no such host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let resolved =
            |to| resolve(Some(to), 5005).map(|address| address.to_string()).map_err(|error| error.to_string());
        assert_eq!(resolve(None, 11111).unwrap().to_string(), "127.0.0.1:11111");
        assert_eq!(resolved("192.0.2.7").unwrap(), "192.0.2.7:5005");
        assert_eq!(resolved("192.0.2.7:9").unwrap(), "192.0.2.7:9");
        assert_eq!(resolved("[::1]:9").unwrap(), "[::1]:9");
        assert_eq!(resolved("::1").unwrap(), "[::1]:5005");
        assert_eq!(resolved("udp://192.0.2.7").unwrap(), "192.0.2.7:5005");
        assert!(resolved("ws://192.0.2.7").is_err());
        assert!(resolved("192.0.2.7:x").is_err());
    }
}
