//! One WebSocket that we opened.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, Message as WsMessage,
        client::IntoClientRequest,
        handshake::client::Response,
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};
use tokio_util::sync::CancellationToken;

use super::{
    config::{ClientConfig, ClientError},
    websocket::{WsEvent, websocket_url},
};
use crate::outbox::{Next, OutQueue, Outbox, Outgoing, outbox};

/// A TCP connection that is not open by then is retried: the system's own next try would come seconds later.
const TCP_LIMIT: Duration = Duration::from_millis(1500);
/// Bytes that are read at a time: the crate fills all of it with zeros before each read.
const READ_BUFFER: usize = 4096;

/// Our pings are frames of the WebSocket.
pub(crate) const HAS_PINGS: bool = true;

/// Where to dial.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    request: tungstenite::http::Request<()>,
    host: String,
    port: u16,
    tls: Option<Tls>,
    /// The endpoint is on this machine.
    pub local: bool,
}

/// The WebSocket address of an endpoint.
pub(crate) fn parse_url(config: &ClientConfig) -> Result<Dial, ClientError> {
    let url = websocket_url(&config.url, "ws");
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
        Some("wss") => Some(tls_of(config).map_err(bad)?),
        _ => None,
    };
    Ok(Dial { request, host, port, tls, local })
}

/// An open socket. Dropping it closes it without a word.
#[derive(Debug)]
pub(crate) struct Ws {
    pub out: Outbox,
    pub events: mpsc::Receiver<WsEvent>,
    pub remote: Option<SocketAddr>,
    cancel: CancellationToken,
}

impl Drop for Ws {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// Starts connecting; the outcome comes by the channel.
pub(crate) fn dial(config: &ClientConfig, dial: &Dial) -> mpsc::Receiver<Result<Ws, ClientError>> {
    let (outcome, receiver) = mpsc::channel(1);
    let (url, dial) = (config.url.clone(), dial.clone());
    tokio::spawn(async move {
        let connected = tokio::select! {
            () = outcome.closed() => return,
            connected = connect(&url, dial) => connected,
        };
        let _ = outcome.send(connected).await;
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
    let (socket, _) = match upgrade(dial.request, stream, dial.tls).await {
        Err(tungstenite::Error::Http(response)) if response.status() == tungstenite::http::StatusCode::UNAUTHORIZED => {
            return Err(ClientError::Unauthorised { url: url.to_owned() });
        }
        Err(error) => return Err(failed(error.to_string())),
        Ok(connected) => connected,
    };
    let (out, queue) = outbox();
    let (events, receiver) = mpsc::channel(256);
    let (sink, stream) = socket.split();
    let cancel = CancellationToken::new();
    tokio::spawn(cancel.clone().run_until_cancelled_owned(read(stream, events)));
    tokio::spawn(cancel.clone().run_until_cancelled_owned(write(sink, queue, cancel.clone())));
    Ok(Ws { out, events: receiver, remote, cancel })
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;
type Upgraded = Result<(Socket, Response), tungstenite::Error>;

#[cfg(feature = "tls")]
type Tls = std::sync::Arc<rustls::ClientConfig>;
#[cfg(not(feature = "tls"))]
type Tls = std::convert::Infallible;

#[cfg(feature = "tls")]
fn tls_of(config: &ClientConfig) -> Result<Tls, String> {
    config.trust.config().map_err(|error| error.to_string())
}

#[cfg(not(feature = "tls"))]
fn tls_of(_: &ClientConfig) -> Result<Tls, String> {
    Err("this build has no TLS; see the feature `tls`".to_owned())
}

fn websocket_config() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(READ_BUFFER)
}

#[cfg(feature = "tls")]
async fn upgrade(request: tungstenite::http::Request<()>, stream: TcpStream, tls: Option<Tls>) -> Upgraded {
    use tokio_tungstenite::{Connector, client_async_tls_with_config};

    let connector = tls.map_or(Connector::Plain, Connector::Rustls);
    client_async_tls_with_config(request, stream, Some(websocket_config()), Some(connector)).await
}

#[cfg(not(feature = "tls"))]
async fn upgrade(request: tungstenite::http::Request<()>, stream: TcpStream, _: Option<Tls>) -> Upgraded {
    let config = Some(websocket_config());
    tokio_tungstenite::client_async_with_config(request, MaybeTlsStream::Plain(stream), config).await
}

async fn read(mut stream: futures_util::stream::SplitStream<Socket>, events: mpsc::Sender<WsEvent>) {
    loop {
        let event = match stream.next().await {
            Some(Ok(WsMessage::Text(text))) => WsEvent::Text(text.as_str().to_owned()),
            Some(Ok(WsMessage::Binary(bytes))) => WsEvent::Binary(bytes),
            Some(Ok(WsMessage::Pong(payload))) => {
                let Ok(clock) = <[u8; 8]>::try_from(payload.as_ref()) else { continue };
                WsEvent::Pong(u64::from_le_bytes(clock))
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
    cancel: CancellationToken,
) {
    loop {
        let message = match queue.next().await {
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
        match sink.send(message).await {
            // The reader reports the endpoint's answer.
            Ok(()) if last => return,
            Ok(()) => {}
            Err(_) => break,
        }
    }
    let _ = sink.close().await;
    cancel.cancel();
}
