//! Peers that are not our client, and a man in the middle of the signalling.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::performer::Performance;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{broadcast, mpsc},
};
use tokio_tungstenite::tungstenite::Message;
use webrtc::{
    data_channel::{DataChannelEvent, RTCDataChannelInit},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceGatheringState, RTCSessionDescription,
    },
};

use super::{
    common::{Res, now_us},
    format::{Format, Payload, Writer},
    role::{commands, say},
};

const LIMIT: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_micros(16_667);

#[derive(clap::Args)]
pub struct Args {
    /// The endpoint, such as `127.0.0.1:8765`.
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    subject: String,
    #[arg(long)]
    token: Option<String>,
    /// Address of this side.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How many earlier frames each one repeats.
    #[arg(long, default_value_t = 0)]
    redundancy: u8,
    /// Over a WebSocket in place of a data channel.
    #[arg(long)]
    websocket: bool,
}

#[derive(clap::Args)]
pub struct UdpArgs {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    subject: String,
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Sends a frame at 60 Hz, reports how many on `stats`, and ends with the standard input.
fn until_told(mut writer: Writer, seed: u64, mut send: impl FnMut(Payload<'_>) -> Res<()>) -> Res<()> {
    let commands = commands();
    let (performance, start, mut sent) = (Performance::new(seed), Instant::now(), 0_u64);
    let mut due = start;
    loop {
        let mut frame = performance.frame_at(start.elapsed());
        frame.capture_time = u64::try_from(now_us()).ok().map(Duration::from_micros);
        send(writer.write(&frame)?)?;
        sent += 1;
        due += FRAME;
        loop {
            match commands.recv_deadline(due) {
                Ok(command) if command == "stats" => say(&json!({"stats": {"t": now_us(), "sent": sent}})),
                Ok(_) => {}
                Err(error) if error.is_timeout() => break,
                Err(_) => return Ok(()),
            }
        }
    }
}

pub fn udp(args: &UdpArgs) -> Res<()> {
    let socket = UdpSocket::bind((args.bind, 0))?;
    say(&json!({"state": "udp", "t": now_us()}));
    until_told(Writer::new(args.format, 0, &args.subject), 3, |payload| {
        socket.send_to(payload.bytes(), args.to)?;
        Ok(())
    })
}

pub fn run(args: &Args) -> Res<()> {
    let writer = Writer::new(args.format, args.redundancy, &args.subject);
    let mut hello = json!({"type": "hello", "subject": args.subject});
    if args.format == Format::Facelink1 {
        hello["binary"] = "facelink1".into();
    }
    if let Some(token) = &args.token {
        hello["token"] = token.as_str().into();
    }
    if args.websocket { websocket(args, writer, &hello) } else { webrtc(args, writer, &hello) }
}

fn websocket(args: &Args, writer: Writer, hello: &Value) -> Res<()> {
    let runtime = Runtime::new()?;
    let url = format!("ws://{}/", args.to);
    let connecting = tokio_tungstenite::connect_async_with_config(url, None, true);
    let (mut sink, mut stream) = runtime.block_on(connecting)?.0.split();
    // It answers pings too.
    runtime.spawn(async move { while stream.next().await.is_some() {} });
    runtime.block_on(sink.send(Message::text(hello.to_string())))?;
    say(&json!({"state": "websocket", "t": now_us()}));
    until_told(writer, 4, |payload| {
        let message = match payload {
            Payload::Text(text) => Message::text(text),
            Payload::Binary(bytes) => Message::binary(bytes.to_vec()),
        };
        Ok(runtime.block_on(sink.send(message))?)
    })?;
    Ok(runtime.block_on(sink.close())?)
}

/// Sends when all candidates are gathered.
pub(super) struct Handler(pub(super) mpsc::UnboundedSender<()>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(());
        }
    }
}

fn webrtc(args: &Args, writer: Writer, hello: &Value) -> Res<()> {
    let runtime = Runtime::new()?;
    let (gathered, mut complete) = mpsc::unbounded_channel();
    let connection: Arc<dyn PeerConnection> = Arc::new(
        runtime.block_on(
            PeerConnectionBuilder::new()
                .with_configuration(RTCConfigurationBuilder::new().build())
                .with_handler(Arc::new(Handler(gathered)))
                .with_udp_addrs(vec![SocketAddr::new(args.bind, 0).to_string()])
                .build(),
        )?,
    );
    let init = RTCDataChannelInit { ordered: false, max_retransmits: Some(0), ..RTCDataChannelInit::default() };
    let channel = runtime.block_on(connection.create_data_channel("animation", Some(init)))?;
    let sdp = runtime.block_on(async {
        let offer = connection.create_offer(None).await?;
        connection.set_local_description(offer).await?;
        let _ = tokio::time::timeout(LIMIT, complete.recv()).await;
        let description = connection.local_description().await.ok_or("no description")?;
        Res::Ok(description.sdp)
    })?;
    let token = args.token.as_ref().map(|token| format!("?token={token}")).unwrap_or_default();
    let url = format!("http://{}/api/v1/rtc/offer{token}", args.to);
    let answer: Value = ureq::post(&url).send_json(json!({"type": "offer", "sdp": sdp}))?.body_mut().read_json()?;
    let answer = answer["sdp"].as_str().ok_or("no answer")?.to_owned();
    runtime.block_on(async {
        connection.set_remote_description(RTCSessionDescription::answer(answer)?).await?;
        let opened = async {
            loop {
                tokio::select! {
                    event = channel.poll() => match event {
                        Some(DataChannelEvent::OnOpen) => return Res::Ok(()),
                        None => return Err("the connection ended".into()),
                        Some(_) => {}
                    },
                    // The crate's driver wants to be woken while it connects.
                    () = tokio::time::sleep(Duration::from_millis(10)) => {
                        channel.set_buffered_amount_high_threshold(u32::MAX).await?;
                    }
                }
            }
        };
        tokio::time::timeout(LIMIT, opened).await?
    })?;
    runtime.block_on(channel.send_text(&hello.to_string()))?;
    say(&json!({"state": "webrtc", "t": now_us()}));
    let reader = channel.clone();
    runtime.spawn(async move { while reader.poll().await.is_some() {} });
    until_told(writer, 4, |payload| {
        // A frame that finds no room is a lost one.
        let _ = match payload {
            Payload::Text(text) => runtime.block_on(channel.try_send_text(text)),
            Payload::Binary(bytes) => runtime.block_on(channel.try_send(bytes.into())),
        };
        Ok(())
    })?;
    drop(channel);
    runtime.block_on(connection.close())?;
    Ok(())
}

/// A WebSocket proxy that can make the endpoint close its data channel: it repeats the client's offer under another
/// session, as a client would that starts anew, and keeps the answer to itself.
pub struct Proxy {
    address: SocketAddr,
    close: broadcast::Sender<()>,
    _runtime: Runtime,
}

impl Proxy {
    pub fn start(target: &str) -> Res<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let (close, _) = broadcast::channel(4);
        let (target, told) = (format!("ws://{target}/"), close.clone());
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (target, told) = (target.clone(), told.subscribe());
                tokio::spawn(async move {
                    if let Err(error) = pass(stream, &target, told).await {
                        eprintln!("proxy: {error}");
                    }
                });
            }
        });
        Ok(Self { address, close, _runtime: runtime })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn close_channel(&self) -> Res<()> {
        self.close.send(())?;
        Ok(())
    }
}

fn parsed(message: &Message) -> Value {
    match message {
        Message::Text(text) => serde_json::from_str(text.as_str()).unwrap_or_default(),
        _ => Value::Null,
    }
}

async fn pass(near: TcpStream, target: &str, mut told: broadcast::Receiver<()>) -> Res<()> {
    near.set_nodelay(true)?;
    let mut near = tokio_tungstenite::accept_async(near).await?;
    let (mut far, _) = tokio_tungstenite::connect_async_with_config(target, None, true).await?;
    let (mut offer, mut swallow, mut count) = (Value::Null, false, 0_u64);
    loop {
        tokio::select! {
            message = near.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let value = parsed(&message);
                if value["type"] == "offer" {
                    (offer, swallow) = (value, false);
                }
                far.send(message).await?;
            }
            message = far.next() => {
                let Some(message) = message.transpose()? else { return Ok(()) };
                let kind = parsed(&message)["type"].take();
                if !(swallow && (kind == "answer" || kind == "ice_candidate")) {
                    near.send(message).await?;
                }
            }
            _ = told.recv() => {
                let Some(sdp) = offer["sdp"].as_str() else { continue };
                count += 1;
                let lines: Vec<String> = sdp
                    .lines()
                    .map(|line| if line.starts_with("o=") { format!("o=- {count} 1 IN IP4 0.0.0.0") } else { line.to_owned() })
                    .collect();
                swallow = true;
                let other = json!({"type": "offer", "sdp": lines.join("\r\n") + "\r\n"});
                far.send(Message::text(other.to_string())).await?;
            }
        }
    }
}
