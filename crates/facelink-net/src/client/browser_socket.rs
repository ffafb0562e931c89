//! One WebSocket that we opened, by the browser.

use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};

use js_sys::{ArrayBuffer, Uint8Array};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasm_bindgen::{JsCast, closure::Closure};
use web_sys::{BinaryType, CloseEvent, MessageEvent, Url, WebSocket};

use super::{
    config::{ClientConfig, ClientError},
    websocket::{WsEvent, websocket_url},
};
use crate::{
    clock,
    outbox::{Next, OutQueue, Outbox, Outgoing, outbox},
    page::{is_secure, reason},
};

/// Pages can send no ping frames, so that messages take their place.
pub(crate) const HAS_PINGS: bool = false;
/// Messages of the endpoint that were not read yet; what comes then is dropped. The task that reads runs after each of them.
const EVENT_QUEUE: usize = 256;
/// Bytes that the socket may hold back before the next frame waits, where a newer one replaces it.
const MAX_BUFFERED: u32 = 16 * 1024;
/// How often a socket that holds back that much is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A socket that is not open by then is retried.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// Where to dial.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    url: String,
    /// The endpoint is on this machine.
    pub local: bool,
}

/// The WebSocket address of an endpoint. Its token goes with the `hello`: pages choose no headers.
pub(crate) fn parse_url(config: &ClientConfig) -> Result<Dial, ClientError> {
    let url = websocket_url(&config.url, if is_secure() { "wss" } else { "ws" });
    let bad = |reason: String| ClientError::Url { url: config.url.clone(), reason };
    let parsed = Url::new(&url).map_err(|error| bad(reason(&error)))?;
    if !matches!(parsed.protocol().as_str(), "ws:" | "wss:") {
        return Err(bad(format!("`{}` is no scheme of a WebSocket", parsed.protocol())));
    }
    let host = parsed.hostname();
    let local = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    Ok(Dial { url, local })
}

/// An open socket. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Ws {
    pub out: Outbox,
    pub events: mpsc::Receiver<WsEvent>,
    /// A page does not learn it.
    pub remote: Option<SocketAddr>,
    cancel: CancellationToken,
    _socket: Socket,
}

impl Drop for Ws {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// The browser's socket, with what it calls.
#[derive(Debug)]
struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn FnMut()>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _closed: Closure<dyn FnMut(CloseEvent)>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
        let _ = self.socket.close();
    }
}

/// Starts connecting; the outcome comes by the channel.
pub(crate) fn dial(config: &ClientConfig, dial: &Dial) -> mpsc::Receiver<Result<Ws, ClientError>> {
    let (outcome, receiver) = mpsc::channel(1);
    let (url, dial) = (config.url.clone(), dial.clone());
    clock::spawn(async move {
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
    let socket = WebSocket::new(&dial.url).map_err(|error| failed(reason(&error)))?;
    socket.set_binary_type(BinaryType::Arraybuffer);
    let (events, mut receiver) = mpsc::channel(EVENT_QUEUE);
    // The queue ends with the socket, also where it is too full for the reason.
    let events = Rc::new(RefCell::new(Some(events)));
    let (open, opens) = oneshot::channel();
    let mut open = Some(open);
    let opened = Closure::new(move || {
        if let Some(open) = open.take() {
            let _ = open.send(());
        }
    });
    let message = Closure::new({
        let events = events.clone();
        move |event: MessageEvent| {
            let event = match event.data().dyn_into::<ArrayBuffer>() {
                Ok(buffer) => WsEvent::Binary(Uint8Array::new(&buffer).to_vec().into()),
                Err(other) => match other.as_string() {
                    Some(text) => WsEvent::Text(text),
                    None => return,
                },
            };
            if let Some(events) = &*events.borrow() {
                let _ = events.try_send(event);
            }
        }
    });
    let closed = Closure::new(move |event: CloseEvent| {
        // 1006 is the browser's own, for a connection that ended without a close frame.
        let code = Some(event.code()).filter(|code| *code != 1006);
        let reason = match (event.reason(), code) {
            (reason, _) if !reason.is_empty() => reason,
            (_, Some(code)) => format!("closed by the endpoint ({code})"),
            (_, None) => "the connection ended; what the browser knows of it is in its console".to_owned(),
        };
        if let Some(events) = events.borrow_mut().take() {
            let _ = events.try_send(WsEvent::Closed { code, reason });
        }
    });
    socket.set_onopen(Some(opened.as_ref().unchecked_ref()));
    socket.set_onmessage(Some(message.as_ref().unchecked_ref()));
    socket.set_onclose(Some(closed.as_ref().unchecked_ref()));
    let socket = Socket { socket, _opened: opened, _message: message, _closed: closed };
    tokio::select! {
        biased;
        opened = opens => opened.map_err(|_| failed("the socket is gone".to_owned()))?,
        event = receiver.recv() => {
            return Err(failed(match event {
                Some(WsEvent::Closed { reason, .. }) => reason,
                _ => "the connection ended".to_owned(),
            }));
        }
        () = clock::sleep(OPEN_LIMIT) => return Err(failed("no answer in time".to_owned())),
    }
    let (out, queue) = outbox();
    let cancel = CancellationToken::new();
    let writing = write(socket.socket.clone(), queue);
    clock::spawn({
        let cancel = cancel.clone();
        async move {
            let _ = cancel.run_until_cancelled_owned(writing).await;
        }
    });
    Ok(Ws { out, events: receiver, remote: None, cancel, _socket: socket })
}

async fn write(socket: WebSocket, mut queue: OutQueue) {
    loop {
        while socket.buffered_amount() > MAX_BUFFERED && socket.ready_state() == WebSocket::OPEN {
            clock::sleep(LOOK).await;
        }
        let message = match queue.next().await {
            Next::Control(message) | Next::Frame(message) => message,
            Next::End => return drop(socket.close()),
        };
        let sent = match message {
            Outgoing::Text(text) => socket.send_with_str(&text),
            Outgoing::Binary(bytes) => socket.send_with_u8_array(&bytes),
            Outgoing::Ping(_) => continue,
            // The end is reported. Pages may close with 1000 and with the codes of programs alone.
            Outgoing::Close(code, reason) => {
                let code = if code == 1000 || (3000..5000).contains(&code) { code } else { 1000 };
                return drop(socket.close_with_code_and_reason(code, reason));
            }
        };
        if let Err(error) = sent {
            tracing::debug!(error = reason(&error), "not sent");
        }
    }
}
