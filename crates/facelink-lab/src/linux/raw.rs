//! Peers that are not our client, and a man in the middle of the signalling.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use facelink::{performer::Performance, wire::json::write_arkit_data};
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

use super::{Res, now_us};

const LIMIT: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_micros(16_667);

#[derive(clap::Args)]
pub struct Args {
    /// The endpoint, such as `127.0.0.1:8765`.
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    subject: String,
}

#[derive(clap::Args)]
pub struct UdpArgs {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    subject: String,
}

/// Ends with the standard input.
fn until_told(mut each: impl FnMut() -> Res<()>) -> Res<()> {
    let (sender, ended) = crossbeam_channel::bounded::<()>(0);
    thread::spawn(move || {
        for _ in std::io::stdin().lines() {}
        drop(sender);
    });
    let mut due = Instant::now();
    loop {
        each()?;
        due += FRAME;
        match ended.recv_deadline(due) {
            Err(error) if error.is_timeout() => {}
            _ => return Ok(()),
        }
    }
}

pub fn udp(args: &UdpArgs) -> Res<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (performance, start, mut text) = (Performance::new(3), Instant::now(), String::new());
    println!("{}", json!({"state": "udp", "t": now_us()}));
    until_told(|| {
        write_arkit_data(&mut text, &performance.frame_at(start.elapsed()), Some(&args.subject), None);
        socket.send_to(text.as_bytes(), args.to)?;
        Ok(())
    })
}

struct Handler(mpsc::UnboundedSender<()>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(());
        }
    }
}

pub fn run(args: &Args) -> Res<()> {
    let runtime = Runtime::new()?;
    let (gathered, mut complete) = mpsc::unbounded_channel();
    let connection: Arc<dyn PeerConnection> = Arc::new(
        runtime.block_on(
            PeerConnectionBuilder::new()
                .with_configuration(RTCConfigurationBuilder::new().build())
                .with_handler(Arc::new(Handler(gathered)))
                .with_udp_addrs(vec!["127.0.0.1:0"])
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
    let url = format!("http://{}/api/v1/rtc/offer", args.to);
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
    println!("{}", json!({"state": "webrtc", "t": now_us()}));
    let reader = channel.clone();
    runtime.spawn(async move { while reader.poll().await.is_some() {} });
    let (performance, start, mut text) = (Performance::new(4), Instant::now(), String::new());
    until_told(|| {
        write_arkit_data(&mut text, &performance.frame_at(start.elapsed()), Some(&args.subject), None);
        // A frame that finds no room is a lost one.
        let _ = runtime.block_on(channel.try_send_text(&text));
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
