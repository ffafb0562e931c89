//! A sender in Rust: frames to a FaceLink endpoint, over WebRTC where it opens and over the WebSocket until then.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio_tungstenite::tungstenite::{self, Message as WsMessage, client::IntoClientRequest};
use tokio_util::sync::CancellationToken;
use webrtc::{
    data_channel::{DataChannel, DataChannelEvent},
    peer_connection::RTCPeerConnectionState,
};

use super::{
    IceConfig, SourceKind,
    rtc::{FrameData, PeerEvent, RtcPeer, send_frame},
    session::{CLOSE_UNAUTHORISED, unix_ms},
};
use crate::{
    frame::FaceFrame,
    wire::{
        float32,
        json::{Decoder, Message, Welcome, write_arkit_data},
    },
};

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
const FIRST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// After a data channel ended, a new one is tried no sooner than this.
const CHANNEL_DELAY: Duration = Duration::from_secs(2);
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Where to send, and as whom.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address of the endpoint, such as `ws://127.0.0.1:8765`. `http://` is taken for `ws://`.
    pub url: String,
    /// Name of the face; without one the endpoint chooses.
    pub subject: Option<String>,
    /// Pairing token.
    pub token: Option<String>,
    /// Whether to move to a WebRTC data channel once it opens.
    pub webrtc: bool,
    /// What the client calls itself.
    pub client: String,
}

impl ClientConfig {
    /// Sends to `url` by every means, under a name that the endpoint chooses.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            subject: None,
            token: None,
            webrtc: true,
            client: concat!("facelink-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Sends as this subject.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The address cannot be read.
    #[error("`{url}` is no address of an endpoint: {reason}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing answers there, or not as an endpoint does.
    #[error("cannot connect to {url}: {reason}")]
    Connect {
        /// The address.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// The token is missing or wrong.
    #[error("{url} wants its pairing token")]
    Unauthorised {
        /// The address.
        url: String,
    },
}

/// What a client is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// On the way to the endpoint, for the first time or again.
    Connecting,
    /// Frames flow, by this transport.
    Connected(SourceKind),
    /// Given up: the endpoint will not have us.
    Refused(ClientError),
    /// The last attempt failed; the next one follows by itself.
    Waiting(ClientError),
}

#[derive(Debug)]
struct Shared {
    slot: Mutex<Option<FaceFrame>>,
    wake: Notify,
    state: Mutex<ClientState>,
    changed: Notify,
    target_fps: Mutex<f32>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Shared {
    fn set_state(&self, state: ClientState) {
        let mut now = self.state.lock();
        if *now != state {
            tracing::debug!(?state, "client");
            *now = state;
            drop(now);
            self.changed.notify_waiters();
        }
    }
}

/// A connection to an endpoint that keeps itself alive. Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    cancel: CancellationToken,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Client {
    /// Starts connecting on a tokio runtime and returns at once. Lost connections are made again.
    pub fn start(config: ClientConfig, runtime: &tokio::runtime::Handle) -> Self {
        let shared = Arc::new(Shared {
            slot: Mutex::new(None),
            wake: Notify::new(),
            state: Mutex::new(ClientState::Connecting),
            changed: Notify::new(),
            target_fps: Mutex::new(60.0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        });
        let cancel = CancellationToken::new();
        let (task_shared, task_cancel) = (shared.clone(), cancel.clone());
        runtime.spawn(async move {
            tokio::select! {
                () = task_cancel.cancelled() => {}
                () = keep_connected(&config, &task_shared) => {}
            }
        });
        Self { shared, cancel }
    }

    /// Hands over a frame to send. Never blocks: a frame that was not sent yet is replaced.
    pub fn send(&self, frame: FaceFrame) {
        if self.shared.slot.lock().replace(frame).is_some() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.wake.notify_one();
    }

    /// What the client is doing.
    pub fn state(&self) -> ClientState {
        self.shared.state.lock().clone()
    }

    /// Waits until the state is one that `wanted` accepts, and gives it.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&ClientState) -> bool) -> ClientState {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            changed.await;
        }
    }

    /// Frames a second that the endpoint asked for last; 60 until it asks.
    pub fn target_fps(&self) -> f32 {
        *self.shared.target_fps.lock()
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Frames replaced or left out because the connection was not ready for them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

async fn keep_connected(config: &ClientConfig, shared: &Arc<Shared>) {
    let mut delay = FIRST_DELAY;
    loop {
        let connected_before = shared.sent.load(Ordering::Relaxed);
        let error = match run_once(config, shared).await {
            Ok(()) => ClientError::Connect { url: config.url.clone(), reason: "the connection ended".to_owned() },
            Err(error @ (ClientError::Unauthorised { .. } | ClientError::Url { .. })) => {
                shared.set_state(ClientState::Refused(error));
                return;
            }
            Err(error) => error,
        };
        shared.set_state(ClientState::Waiting(error));
        if shared.sent.load(Ordering::Relaxed) != connected_before {
            delay = FIRST_DELAY;
        }
        // Many clients of a server that restarts must not come back in step.
        let share = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        tokio::time::sleep(delay.mul_f64(0.5 + share)).await;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
}

/// The WebSocket address of an endpoint, and whether it is on this machine.
fn parse_url(config: &ClientConfig) -> Result<(tungstenite::http::Request<()>, bool), ClientError> {
    let url = match config.url.split_once("://") {
        Some(("http", rest)) => format!("ws://{rest}"),
        Some(("https", rest)) => format!("wss://{rest}"),
        Some(_) => config.url.clone(),
        None => format!("ws://{}", config.url),
    };
    let bad = |reason: String| ClientError::Url { url: config.url.clone(), reason };
    let mut request = url.into_client_request().map_err(|error| bad(error.to_string()))?;
    if let Some(token) = &config.token {
        let value = format!("Bearer {token}").parse().map_err(|_| bad("the token is not printable".to_owned()))?;
        request.headers_mut().insert(tungstenite::http::header::AUTHORIZATION, value);
    }
    let host = request.uri().host().unwrap_or_default().trim_matches(|c| matches!(c, '[' | ']')).to_owned();
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    Ok((request, local))
}

/// What a data channel's reader reports.
enum Heard {
    Open,
    Text(String),
    Closed,
}

struct Rtc {
    peer: RtcPeer,
    events: mpsc::UnboundedReceiver<PeerEvent>,
    heard: mpsc::Receiver<Heard>,
    open: bool,
}

async fn run_once(config: &ClientConfig, shared: &Arc<Shared>) -> Result<(), ClientError> {
    let failed = |reason: String| ClientError::Connect { url: config.url.clone(), reason };
    let (request, local) = parse_url(config)?;
    shared.set_state(ClientState::Connecting);
    let connecting =
        tokio::time::timeout(CONNECT_LIMIT, tokio_tungstenite::connect_async_with_config(request, None, true));
    let (socket, _) = match connecting.await {
        Err(_) => return Err(failed("no answer in time".to_owned())),
        Ok(Err(tungstenite::Error::Http(response)))
            if response.status() == tungstenite::http::StatusCode::UNAUTHORIZED =>
        {
            return Err(ClientError::Unauthorised { url: config.url.clone() });
        }
        Ok(Err(error)) => return Err(failed(error.to_string())),
        Ok(Ok(connected)) => connected,
    };
    let (mut sink, mut stream) = socket.split();
    let hello = json!({
        "type": "hello",
        "subject": config.subject,
        "token": config.token,
        "binary": "float32",
        "client": config.client,
    });
    sink.send(WsMessage::text(hello.to_string())).await.map_err(|error| failed(error.to_string()))?;

    let mut decoder = Decoder::default();
    let mut text = String::new();
    let mut bytes = Vec::new();
    let mut rtc: Option<Rtc> = None;
    let mut try_rtc_at: Option<tokio::time::Instant> = None;
    let mut ice_servers = Vec::new();
    let bind: IpAddr = if local { [127, 0, 0, 1].into() } else { [0, 0, 0, 0].into() };
    let mut welcome = false;
    let welcome_by = tokio::time::Instant::now() + CONNECT_LIMIT;
    let mut dead_at = tokio::time::Instant::now() + DEAD_AFTER;
    let (heard_sender, mut never_heard) = mpsc::channel::<Heard>(1);
    loop {
        let no_rtc = rtc.is_none();
        let (events, heard) = match &mut rtc {
            Some(rtc) => (Some(&mut rtc.events), &mut rtc.heard),
            None => (None, &mut never_heard),
        };
        let mut lost_channel = false;
        tokio::select! {
            () = tokio::time::sleep_until(welcome_by), if !welcome => {
                return Err(failed("no welcome in time: is this a FaceLink endpoint?".to_owned()));
            }
            () = tokio::time::sleep_until(dead_at) => return Err(failed("the endpoint does not answer".to_owned())),
            message = stream.next() => {
                dead_at = tokio::time::Instant::now() + DEAD_AFTER;
                let reply = match message {
                    Some(Ok(WsMessage::Text(message))) => match decoder.decode(message.as_str()) {
                        Ok(Message::Welcome(Welcome { ice_servers: servers, .. })) => {
                            welcome = true;
                            ice_servers = servers;
                            shared.set_state(ClientState::Connected(SourceKind::WebSocket));
                            // A frame may have been waiting for this.
                            shared.wake.notify_one();
                            try_rtc_at = config.webrtc.then(tokio::time::Instant::now);
                            None
                        }
                        Ok(Message::Answer(sdp)) => {
                            if let Some(rtc) = &mut rtc
                                && let Err(error) = rtc.peer.set_answer(sdp.into_owned()).await
                            {
                                tracing::debug!(%error, "answer refused");
                                lost_channel = true;
                            }
                            None
                        }
                        Ok(Message::IceCandidate(Some(candidate))) => {
                            if let Some(rtc) = &mut rtc {
                                rtc.peer.add_candidate(candidate).await;
                            }
                            None
                        }
                        Ok(message) => on_common(shared, &message),
                        Err(error) => {
                            tracing::debug!(%error, "message of the endpoint ignored");
                            None
                        }
                    },
                    Some(Ok(WsMessage::Close(frame))) => {
                        let unauthorised = frame.as_ref().is_some_and(|frame| u16::from(frame.code) == CLOSE_UNAUTHORISED);
                        return if unauthorised {
                            Err(ClientError::Unauthorised { url: config.url.clone() })
                        } else {
                            Err(failed(frame.map_or_else(|| "closed".to_owned(), |frame| frame.reason.to_string())))
                        };
                    }
                    Some(Ok(_)) => None,
                    Some(Err(error)) => return Err(failed(error.to_string())),
                    None => return Ok(()),
                };
                if let Some(reply) = reply {
                    sink.send(WsMessage::text(reply)).await.map_err(|error| failed(error.to_string()))?;
                }
            }
            Some(event) = next_event(events) => match event {
                PeerEvent::Candidate(candidate) => {
                    let message = json!({"type": "ice_candidate", "candidate": candidate}).to_string();
                    sink.send(WsMessage::text(message)).await.map_err(|error| failed(error.to_string()))?;
                }
                PeerEvent::Gathered => {
                    let message = json!({"type": "ice_candidate", "candidate": null}).to_string();
                    sink.send(WsMessage::text(message)).await.map_err(|error| failed(error.to_string()))?;
                }
                PeerEvent::State(RTCPeerConnectionState::Disconnected | RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed) => lost_channel = true,
                PeerEvent::State(_) | PeerEvent::Channel(_) => {}
            },
            Some(heard) = heard.recv() => match heard {
                Heard::Open => {
                    if let Some(rtc) = &mut rtc {
                        rtc.open = true;
                        shared.set_state(ClientState::Connected(SourceKind::WebRtc));
                    }
                }
                Heard::Text(message) => {
                    if let Ok(message) = decoder.decode(&message)
                        && let Some(reply) = on_common(shared, &message)
                        && let Some(rtc) = &rtc
                    {
                        let _ = rtc.peer.channel.try_send_text(&reply).await;
                    }
                }
                Heard::Closed => lost_channel = true,
            },
            () = until(try_rtc_at), if no_rtc => {
                try_rtc_at = None;
                match open_rtc(bind, &ice_servers).await {
                    Ok((opened, offer)) => {
                        rtc = Some(opened);
                        let message = json!({"type": "offer", "sdp": offer}).to_string();
                        sink.send(WsMessage::text(message)).await.map_err(|error| failed(error.to_string()))?;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "no WebRTC");
                        try_rtc_at = Some(tokio::time::Instant::now() + CHANNEL_DELAY);
                    }
                }
            }
            () = shared.wake.notified(), if welcome => {
                let Some(frame) = shared.slot.lock().take() else { continue };
                // Everything that the 61 floats can hold goes in one small datagram.
                let compact = frame.tracked && frame.is_complete() && frame.channels.is_empty();
                if compact {
                    bytes.clear();
                    float32::encode_61(&frame, &mut bytes);
                } else {
                    write_arkit_data(&mut text, &frame, None, Some(unix_ms()));
                }
                let sent = match rtc.as_ref().filter(|rtc| rtc.open) {
                    Some(rtc) => {
                        let data = if compact { FrameData::Binary(&bytes) } else { FrameData::Text(&text) };
                        send_frame(&rtc.peer.channel, data).await.0
                    }
                    None => {
                        let message = if compact { WsMessage::binary(bytes.clone()) } else { WsMessage::text(text.as_str()) };
                        sink.send(message).await.map_err(|error| failed(error.to_string()))?;
                        true
                    }
                };
                if sent { &shared.sent } else { &shared.dropped }.fetch_add(1, Ordering::Relaxed);
            }
        }
        if lost_channel && let Some(lost) = rtc.take() {
            lost.peer.close().await;
            shared.set_state(ClientState::Connected(SourceKind::WebSocket));
            try_rtc_at = Some(tokio::time::Instant::now() + CHANNEL_DELAY);
        }
        // Held so that the placeholder's receiver stays quiet.
        let _ = &heard_sender;
    }
}

async fn next_event(events: Option<&mut mpsc::UnboundedReceiver<PeerEvent>>) -> Option<PeerEvent> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn open_rtc(
    bind: IpAddr,
    ice_servers: &[crate::wire::json::IceServer],
) -> Result<(Rtc, String), super::rtc::RtcError> {
    let (peer, events) =
        RtcPeer::new(bind, &IceConfig { servers: ice_servers.to_vec(), ..IceConfig::default() }).await?;
    let offer = peer.offer().await?;
    let (sender, heard) = mpsc::channel(64);
    let channel = peer.channel.clone();
    tokio::spawn(read_channel(channel, sender));
    Ok((Rtc { peer, events, heard, open: false }, offer))
}

async fn read_channel(channel: Arc<dyn DataChannel>, heard: mpsc::Sender<Heard>) {
    loop {
        let event = tokio::select! {
            () = heard.closed() => return,
            event = channel.poll() => event,
        };
        let message = match event {
            Some(DataChannelEvent::OnOpen) => Heard::Open,
            Some(DataChannelEvent::OnMessage(message)) if message.is_string => {
                let data: BytesMut = message.data;
                Heard::Text(String::from_utf8_lossy(&data).into_owned())
            }
            Some(DataChannelEvent::OnClose) | None => {
                let _ = heard.send(Heard::Closed).await;
                return;
            }
            Some(_) => continue,
        };
        // Small control messages; what does not fit is not worth stalling the connection for.
        let _ = heard.try_send(message);
    }
}

/// What both transports carry, and the answer to it.
fn on_common(shared: &Shared, message: &Message<'_>) -> Option<String> {
    match message {
        Message::Ping(t) => {
            let t = t.map_or("null", |t| t.get());
            let now = unix_ms();
            Some(format!(r#"{{"type":"pong","t":{t},"server_time":{now},"client_time":{now}}}"#))
        }
        Message::SetRate(fps) if fps.is_finite() && *fps > 0.0 => {
            *shared.target_fps.lock() = *fps;
            None
        }
        Message::Error(error) => {
            tracing::warn!(code = error.code, message = error.message, "the endpoint refused a message");
            None
        }
        _ => None,
    }
}
