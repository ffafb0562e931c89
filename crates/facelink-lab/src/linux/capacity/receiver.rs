//! What takes the faces: the endpoint, or the bare crates below it.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape,
    wire::{
        facelink1::{self, Clock},
        llf,
    },
};
use facelink_net::{Endpoint, EndpointConfig, PhonePorts, SubjectFrame};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit},
    peer_connection::{PeerConnection, PeerConnectionBuilder, RTCConfigurationBuilder, RTCSessionDescription},
};

use super::{Carrier, open_many_files, pin};
use crate::linux::{
    common::{Res, now_us},
    raw::Handler,
    role::{commands, say},
    table::quantile,
    usage::Usage,
};

const LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    Facelink,
    /// `webrtc`, `tungstenite`, a socket.
    Bare,
}

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, value_enum)]
    who: Who,
    #[arg(long, value_enum)]
    carrier: Carrier,
    /// Core to run on.
    #[arg(long)]
    core: Option<usize>,
    /// Milliseconds between two looks at the queue, as a game takes at the begin of each of its frames; 0 wakes up for each face.
    #[arg(long, default_value_t = 16)]
    frame_ms: u64,
}

/// Ages of frames, milliseconds.
#[derive(Clone, Default)]
struct Ages(Arc<Mutex<Vec<f64>>>);

impl Ages {
    fn record_us(&self, age: i64) {
        self.0.lock().push(age.max(0) as f64 / 1000.0);
    }

    fn command(&self, command: &str) {
        match command {
            "begin" => {
                self.0.lock().clear();
                say(&json!({"begun": true}));
            }
            "end" => {
                let ages = std::mem::take(&mut *self.0.lock());
                say(&json!({"ages": {
                    "count": ages.len(),
                    "median_ms": quantile(&ages, 0.5),
                    "p99_ms": quantile(&ages, 0.99),
                }}));
            }
            _ => {}
        }
    }
}

pub fn run(args: &Args) -> Res<()> {
    pin(args.core)?;
    open_many_files()?;
    match args.who {
        Who::Facelink => endpoint(args),
        Who::Bare => bare(args.carrier),
    }
}

/// Since the fraction of a second at which a frame was sent, microseconds; less than half a second.
fn since_fraction(sent: f32, now_us: i64) -> i64 {
    (now_us - (f64::from(sent) * 1e6) as i64 + 500_000).rem_euclid(1_000_000) - 500_000
}

/// Age when it arrived, before the queue.
fn age_of(frame: &SubjectFrame, now: (Instant, i64), carrier: Carrier) -> Option<i64> {
    let arrived = now.1 - now.0.saturating_duration_since(frame.received).as_micros() as i64;
    if carrier == Carrier::Udp {
        return Some(since_fraction(frame.frame.get(Blendshape::TongueOut)?, arrived));
    }
    Some(arrived - i64::try_from(frame.frame.capture_time?.as_micros()).ok()?)
}

fn endpoint(args: &Args) -> Res<()> {
    let commands = commands();
    let many = 16_384;
    let endpoint = Endpoint::start(EndpointConfig {
        port: 0,
        live_link_face: Some(0),
        udp_json: Some(0),
        phones: PhonePorts::free(),
        max_connections: many,
        max_open_sources: many,
        max_subjects: many,
        max_pending_connections: many,
        // From one address come as many as from a thousand.
        max_datagrams_per_second: 1e7,
        ..EndpointConfig::default()
    })?;
    let addresses = endpoint.addresses();
    let to = if args.carrier == Carrier::Udp { addresses.live_link_face } else { Some(addresses.http) };
    say(&json!({"listening": to}));
    let ages = Ages::default();
    let take = |frame: &SubjectFrame, now| {
        if let Some(age) = age_of(frame, now, args.carrier) {
            ages.record_us(age);
        }
    };
    loop {
        if args.frame_ms == 0 {
            if let Ok(frame) = endpoint.frames().recv_timeout(Duration::from_millis(100)) {
                take(&frame, (Instant::now(), now_us()));
            }
        } else {
            thread::sleep(Duration::from_millis(args.frame_ms));
        }
        let now = (Instant::now(), now_us());
        endpoint.frames().try_iter().for_each(|frame| take(&frame, now));
        endpoint.events().try_iter().for_each(drop);
        match commands.try_recv() {
            Ok(command) if command == "state" => {
                let stats = endpoint.stats();
                say(&json!({"state": {
                    "subjects": stats.subjects.len(), "refused": stats.refused, "overrun": stats.overrun,
                    "queue": endpoint.frames().len(), "ports": endpoint.arrivals(),
                }}));
            }
            Ok(command) if command == "usage" => say(&json!({"usage": Usage::of(&endpoint).to_json()})),
            Ok(command) => ages.command(&command),
            Err(error) if error.is_empty() => {}
            Err(_) => return Ok(()),
        }
    }
}

fn bare(carrier: Carrier) -> Res<()> {
    let commands = commands();
    let runtime = tokio::runtime::Runtime::new()?;
    let ages = Ages::default();
    let to: SocketAddr = match carrier {
        Carrier::Udp => {
            let socket = runtime.block_on(UdpSocket::bind("127.0.0.1:0"))?;
            let address = socket.local_addr()?;
            runtime.spawn(datagrams(socket, ages.clone()));
            address
        }
        Carrier::Websocket | Carrier::Webrtc => {
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
            let (address, ages) = (listener.local_addr()?, ages.clone());
            runtime.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let ages = ages.clone();
                    tokio::spawn(async move {
                        let _ = stream.set_nodelay(true);
                        let served = match carrier {
                            Carrier::Websocket => websocket(stream, ages).await,
                            _ => signal(stream, ages).await,
                        };
                        // How it ends when its senders are killed says nothing.
                        drop(served);
                    });
                }
            });
            address
        }
    };
    say(&json!({"listening": to}));
    for command in commands {
        ages.command(&command);
    }
    Ok(())
}

async fn datagrams(socket: UdpSocket, ages: Ages) {
    let mut buffer = vec![0; 2048];
    while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
        if let Ok(packet) = llf::decode(buffer.get(..length).unwrap_or_default(), &llf::PROFILE)
            && let Some(sent) = packet.frame.get(Blendshape::TongueOut)
        {
            ages.record_us(since_fraction(sent, now_us()));
        }
    }
}

/// Takes a packet of ours.
fn packet(decoder: &mut facelink1::Decoder, bytes: &[u8], ages: &Ages) {
    let _ = decoder.decode(bytes, |face| {
        if let (Some(Clock::Unix), Some(sent)) = (face.clock, face.frame.capture_time) {
            ages.record_us(now_us() - sent.as_micros() as i64);
        }
    });
}

async fn websocket(stream: TcpStream, ages: Ages) -> Res<()> {
    let mut stream = tokio_tungstenite::accept_async(stream).await?;
    let mut decoder = facelink1::Decoder::default();
    while let Some(message) = stream.next().await.transpose()? {
        if let Message::Binary(bytes) = message {
            packet(&mut decoder, &bytes, &ages);
        }
    }
    Ok(())
}

/// One HTTP request with an offer.
async fn signal(mut stream: TcpStream, ages: Ages) -> Res<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("no request".into());
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let lower = text.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        break (end + 4, length.ok_or("no length")?);
    };
    while bytes.len() < head + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err("cut off".into());
        }
    }
    let offer: Value = serde_json::from_slice(bytes.get(head..).unwrap_or_default())?;
    let (gathered, mut complete) = mpsc::unbounded_channel();
    let connection: Arc<dyn PeerConnection> = Arc::new(
        PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_handler(Arc::new(Handler(gathered)))
            .with_udp_addrs(vec!["127.0.0.1:0".to_owned()])
            .build()
            .await?,
    );
    let init = RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        protocol: "animation-data".to_owned(),
        negotiated: Some(0),
        ..RTCDataChannelInit::default()
    };
    let channel = connection.create_data_channel("animation", Some(init)).await?;
    let sdp = offer["sdp"].as_str().ok_or("no offer")?.to_owned();
    connection.set_remote_description(RTCSessionDescription::offer(sdp)?).await?;
    let answer = connection.create_answer(None).await?;
    connection.set_local_description(answer).await?;
    let _ = tokio::time::timeout(LIMIT, complete.recv()).await;
    let sdp = connection.local_description().await.ok_or("no description")?.sdp;
    let body = json!({"type": "answer", "sdp": sdp}).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    stream.write_all(format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    drop(stream);
    take(&channel, &ages).await?;
    connection.close().await?;
    Ok(())
}

async fn take(channel: &Arc<dyn DataChannel>, ages: &Ages) -> Res<()> {
    let mut decoder = facelink1::Decoder::default();
    let mut open = false;
    loop {
        let event = tokio::select! {
            event = channel.poll() => event,
            // The crate's driver wants to be woken while it connects.
            () = tokio::time::sleep(Duration::from_millis(10)), if !open => {
                channel.set_buffered_amount_high_threshold(u32::MAX).await?;
                continue;
            }
        };
        match event {
            Some(DataChannelEvent::OnOpen) => open = true,
            Some(DataChannelEvent::OnMessage(message)) if !message.is_string => {
                packet(&mut decoder, &message.data, ages);
            }
            Some(DataChannelEvent::OnClose) | None => return Ok(()),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::capacity::sender::fraction;

    #[test]
    fn age_by_the_fraction_of_the_second() {
        for sent in [0, 1_700_000_000_999_990, 1_700_000_000_000_003] {
            for age in [-40, 0, 7, 250_000] {
                let measured = since_fraction(fraction(sent), sent + age);
                assert!((measured - age).abs() <= 1, "{sent}, {age}: {measured}");
            }
        }
    }
}
