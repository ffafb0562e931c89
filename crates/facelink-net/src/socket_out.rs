//! One WebSocket that we opened.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config,
    tungstenite::{
        self, Message as WsMessage,
        client::IntoClientRequest,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    ClientConfig, ClientError,
    out::{Next, OutQueue, Outbox, Outgoing, outbox},
};
use facelink::timing::Heartbeat;

const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// A TCP connection that is not open by then is tried anew: the system's own next try would come seconds later.
const TCP_LIMIT: Duration = Duration::from_millis(1500);
/// Time that the other side gets to take our goodbye.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// Where to dial.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    request: tungstenite::http::Request<()>,
    host: String,
    port: u16,
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The endpoint is on this machine.
    pub local: bool,
}

/// The WebSocket address of an endpoint.
pub(super) fn parse_url(config: &ClientConfig) -> Result<Dial, ClientError> {
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
    let port = match (request.uri().port_u16(), request.uri().scheme_str()) {
        (Some(port), _) => port,
        (None, Some("wss")) => 443,
        (None, _) => 80,
    };
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let tls = match request.uri().scheme_str() {
        Some("wss") => Some(config.trust.config().map_err(|error| bad(error.to_string()))?),
        _ => None,
    };
    Ok(Dial { request, host, port, tls, local })
}

/// What happens on the socket.
#[derive(Debug)]
pub(super) enum WsEvent {
    Text(String),
    Binary(Bytes),
    /// The round trip of one of our pings.
    Pong(Duration),
    Closed {
        code: Option<u16>,
        reason: String,
    },
}

/// An open socket. Dropping it closes it without a word.
#[derive(Debug)]
pub(super) struct Ws {
    pub out: Outbox,
    pub events: mpsc::Receiver<WsEvent>,
    /// Shared with the writer, which holds frames back from a socket that has fallen silent.
    pub beat: Arc<Mutex<Heartbeat>>,
    pub welcomed: bool,
    pub opened: Instant,
    pub remote: Option<SocketAddr>,
    pub last_frame: Option<Instant>,
    cancel: CancellationToken,
    polite: bool,
}

impl Ws {
    /// Nanoseconds since the socket was opened, for pings.
    pub fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.opened).as_nanos() as u64
    }

    /// Closes it with a word.
    pub fn say_goodbye(mut self) {
        self.polite = true;
        self.out.control(Outgoing::Close(1000, ""));
        let cancel = self.cancel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(GOODBYE_LIMIT).await;
            cancel.cancel();
        });
    }
}

impl Drop for Ws {
    fn drop(&mut self) {
        if !self.polite {
            self.cancel.cancel();
        }
    }
}

/// Starts connecting; the outcome comes by the channel.
pub(super) fn dial(config: &ClientConfig, dial: &Dial) -> mpsc::Receiver<Result<Ws, ClientError>> {
    let (outcome, receiver) = mpsc::channel(1);
    let (url, dial) = (config.url.clone(), dial.clone());
    tokio::spawn(async move {
        let connected = tokio::select! {
            () = outcome.closed() => return,
            connected = tokio::time::timeout(CONNECT_LIMIT, connect(&url, dial)) => connected,
        };
        let timed_out = || Err(ClientError::Connect { url: url.clone(), reason: "no answer in time".to_owned() });
        let _ = outcome.send(connected.unwrap_or_else(|_| timed_out())).await;
    });
    receiver
}

async fn connect(url: &str, dial: Dial) -> Result<Ws, ClientError> {
    let failed = |reason: String| ClientError::Connect { url: url.to_owned(), reason };
    let opening = tokio::time::timeout(TCP_LIMIT, TcpStream::connect((dial.host.as_str(), dial.port)));
    let opened = opening.await.map_err(|_| failed("no answer in time".to_owned()))?;
    let stream = opened.map_err(|error| failed(error.to_string()))?;
    let _ = stream.set_nodelay(true);
    let remote = stream.peer_addr().ok();
    let connector = dial.tls.map_or(Connector::Plain, Connector::Rustls);
    let (socket, _) = match client_async_tls_with_config(dial.request, stream, None, Some(connector)).await {
        Err(tungstenite::Error::Http(response)) if response.status() == tungstenite::http::StatusCode::UNAUTHORIZED => {
            return Err(ClientError::Unauthorised { url: url.to_owned() });
        }
        Err(error) => return Err(failed(error.to_string())),
        Ok(connected) => connected,
    };
    let (out, queue) = outbox();
    let (events, receiver) = mpsc::channel(256);
    let (sink, stream) = socket.split();
    let (beat, cancel, opened) = (Arc::<Mutex<Heartbeat>>::default(), CancellationToken::new(), Instant::now());
    tokio::spawn(cancel.clone().run_until_cancelled_owned(read(stream, events, opened)));
    let writer_cancel = cancel.clone();
    let gate = beat.clone();
    tokio::spawn(async move {
        let _ = writer_cancel.run_until_cancelled(write(sink, queue, gate)).await;
        writer_cancel.cancel();
    });
    Ok(Ws { out, events: receiver, beat, welcomed: false, opened, remote, last_frame: None, cancel, polite: false })
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn read(mut stream: futures_util::stream::SplitStream<Socket>, events: mpsc::Sender<WsEvent>, opened: Instant) {
    loop {
        let event = match stream.next().await {
            Some(Ok(WsMessage::Text(text))) => WsEvent::Text(text.as_str().to_owned()),
            Some(Ok(WsMessage::Binary(bytes))) => WsEvent::Binary(bytes),
            Some(Ok(WsMessage::Pong(payload))) => {
                let Ok(sent) = <[u8; 8]>::try_from(payload.as_ref()) else { continue };
                let sent = Duration::from_nanos(u64::from_le_bytes(sent));
                let Some(rtt) = opened.elapsed().checked_sub(sent) else { continue };
                WsEvent::Pong(rtt)
            }
            Some(Ok(WsMessage::Close(frame))) => WsEvent::Closed {
                code: frame.as_ref().map(|frame| frame.code.into()),
                reason: frame.map_or_else(|| "closed by the endpoint".to_owned(), |frame| frame.reason.to_string()),
            },
            Some(Ok(_)) => continue,
            Some(Err(error)) => WsEvent::Closed { code: None, reason: error.to_string() },
            None => WsEvent::Closed { code: None, reason: "the connection ended".to_owned() },
        };
        let last = matches!(event, WsEvent::Closed { .. });
        if events.send(event).await.is_err() || last {
            return;
        }
    }
}

async fn write(
    mut sink: futures_util::stream::SplitSink<Socket, WsMessage>,
    mut queue: OutQueue,
    beat: Arc<Mutex<Heartbeat>>,
) {
    loop {
        let message = match queue.next().await {
            Next::Frame(_) if !beat.lock().takes_frames(Instant::now()) => continue,
            Next::Control(message) | Next::Frame(message) => message,
            Next::End => break,
        };
        let last = matches!(message, Outgoing::Close(..));
        let message = match message {
            Outgoing::Text(text) => WsMessage::text(text),
            Outgoing::Binary(bytes) => WsMessage::Binary(bytes),
            Outgoing::Ping(sent) => WsMessage::Ping(sent.to_le_bytes().to_vec().into()),
            Outgoing::Close(code, reason) => {
                WsMessage::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
            }
        };
        if sink.send(message).await.is_err() || last {
            break;
        }
    }
    let _ = sink.close().await;
}
