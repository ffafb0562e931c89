//! The WebSocket and the peer connection to an endpoint: opened, closed and written to as a
//! [`Connection`](facelink::connection::Connection) wants it.

use std::net::{IpAddr, Ipv4Addr};

use facelink::{
    connection::{Close, Lane, PeerId, Route, SocketId},
    time::Instant,
    wire::message::{ClientMessage, Description, Ping},
};
use tokio::sync::mpsc;

use super::{
    channel::{Heard, Rtc},
    config::{ClientConfig, ClientError},
    socket::{self, Dial, Ws},
    websocket::WsEvent,
};
use crate::{
    clock::{spawn, unix_ms},
    ice::PeerConfig,
    outbox::{Outbox, Outgoing},
    rtc::{FrameData, PeerEvent, RtcError},
};

/// What happens on the transports.
pub(super) enum TransportEvent {
    /// The attempt to open a WebSocket has ended.
    Dialled(SocketId, Result<(), ClientError>),
    Ws(SocketId, WsEvent),
    Rtc(PeerId, Option<PeerEvent>),
    Heard(PeerId, Heard),
    /// A peer connection that was to be closed is closed.
    PeerClosed(PeerId),
}

pub(super) struct Transports {
    config: ClientConfig,
    dial: Dial,
    attempt: Option<(SocketId, mpsc::Receiver<Result<Ws, ClientError>>)>,
    ws: Option<(SocketId, Ws)>,
    rtc: Option<(PeerId, Rtc)>,
    closed_peers: (mpsc::UnboundedSender<PeerId>, mpsc::UnboundedReceiver<PeerId>),
    /// Unix milliseconds at which the connection's clock began.
    epoch_ms: f64,
    /// How WebRTC connections are made now: by the client's own STUN and TURN servers, and those of the endpoint.
    pub peer_config: PeerConfig,
}

type Dialled = Result<Ws, ClientError>;

async fn dialled(attempt: &mut Option<(SocketId, mpsc::Receiver<Dialled>)>) -> (SocketId, Dialled) {
    if let Some((id, outcome)) = attempt
        && let Some(dialled) = outcome.recv().await
    {
        return (*id, dialled);
    }
    std::future::pending().await
}

async fn ws_event(ws: &mut Option<(SocketId, Ws)>) -> TransportEvent {
    let Some((id, ws)) = ws else { return std::future::pending().await };
    let event = ws.events.recv().await;
    // A writer that fails ends the reader too, which then says nothing any more.
    let broke = || WsEvent::Closed { code: None, reason: "the connection broke".to_owned() };
    TransportEvent::Ws(*id, event.unwrap_or_else(broke))
}

async fn rtc_event(rtc: &mut Option<(PeerId, Rtc)>) -> TransportEvent {
    let Some((id, Rtc { events, heard, .. })) = rtc else { return std::future::pending().await };
    tokio::select! {
        event = events.recv() => TransportEvent::Rtc(*id, event),
        Some(heard) = heard.recv() => TransportEvent::Heard(*id, heard),
    }
}

impl Transports {
    pub fn new(config: ClientConfig, dial: Dial) -> Self {
        Self {
            peer_config: config.peer_config(IpAddr::V4(if dial.local {
                Ipv4Addr::LOCALHOST
            } else {
                Ipv4Addr::UNSPECIFIED
            })),
            config,
            dial,
            attempt: None,
            ws: None,
            rtc: None,
            closed_peers: mpsc::unbounded_channel(),
            epoch_ms: unix_ms(),
        }
    }

    /// The next thing that happens. Cancel-safe.
    pub async fn next(&mut self) -> TransportEvent {
        let Self { attempt, ws, rtc, closed_peers, .. } = self;
        tokio::select! {
            (id, dialled) = dialled(attempt) => {
                *attempt = None;
                TransportEvent::Dialled(id, dialled.map(|open| *ws = Some((id, open))))
            }
            event = ws_event(ws) => event,
            event = rtc_event(rtc) => event,
            Some(peer) = closed_peers.1.recv() => TransportEvent::PeerClosed(peer),
        }
    }

    /// Whether a WebSocket is open or being opened.
    pub const fn has_socket(&self) -> bool {
        self.attempt.is_some() || self.ws.is_some()
    }

    /// The WebSocket that is open.
    pub fn ws(&self) -> Option<&Ws> {
        self.ws.as_ref().map(|(_, ws)| ws)
    }

    /// Where messages for the WebSocket are put.
    pub fn out(&self) -> Option<Outbox> {
        self.ws().map(|ws| ws.out.clone())
    }

    /// The peer connection that serves.
    pub fn rtc(&mut self) -> Option<(PeerId, &mut Rtc)> {
        self.rtc.as_mut().map(|(id, rtc)| (*id, rtc))
    }

    /// Starts to open a WebSocket.
    pub fn dial(&mut self, id: SocketId) {
        self.attempt = Some((id, socket::dial(&self.config, &self.dial)));
    }

    /// Closes a WebSocket or cancels an attempt. After a close frame its end is still reported.
    pub fn close_socket(&mut self, id: SocketId, how: Close) {
        self.attempt.take_if(|(attempt, _)| *attempt == id);
        match (self.ws.as_ref().filter(|(open, _)| *open == id), how) {
            (Some((_, ws)), Close::Frame(code, reason)) => drop(ws.out.control(Outgoing::Close(code, reason))),
            (Some(_), Close::Drop) => self.ws = None,
            (None, _) => {}
        }
    }

    /// Makes a peer connection and sends its offer.
    pub async fn offer(&mut self, id: PeerId) -> Result<(), RtcError> {
        let (rtc, offer) = Rtc::open(&self.peer_config).await?;
        self.rtc = Some((id, rtc));
        self.signal(&ClientMessage::Offer(Description::new(offer)));
        Ok(())
    }

    /// Restarts ICE and sends the offer.
    pub async fn restart_ice(&mut self, id: PeerId) -> Result<(), RtcError> {
        if let Some((_, rtc)) = self.rtc.as_mut().filter(|(open, _)| *open == id) {
            let offer = rtc.peer.restart().await?;
            self.signal(&ClientMessage::Offer(Description::new(offer)));
        }
        Ok(())
    }

    /// Closes a peer connection; its end is reported.
    pub fn close_peer(&mut self, id: PeerId) {
        if let Some((_, rtc)) = self.rtc.take_if(|(open, _)| *open == id) {
            let Rtc { peer, frames, .. } = rtc;
            drop(frames);
            // Closing waits for the crate's driver, and frames do not wait for that.
            let closed = self.closed_peers.0.clone();
            spawn(async move {
                peer.close().await;
                let _ = closed.send(id);
            });
        }
    }

    /// Pings with the connection's clock, microseconds.
    pub async fn ping(&mut self, lane: Lane, clock: u64) {
        match lane {
            Lane::WebSocket if socket::HAS_PINGS => {
                if let Some(ws) = self.ws() {
                    ws.out.control(Outgoing::Ping(clock));
                }
            }
            Lane::WebSocket | Lane::DataChannel => {
                let ping = Ping::new(self.epoch_ms + clock as f64 / 1000.0);
                self.send(lane, ClientMessage::Ping(ping).to_json()).await;
            }
        }
    }

    /// The clock of a ping that was answered with this time.
    pub fn clock_of(&self, ms: f64) -> Option<u64> {
        Some(ms - self.epoch_ms).filter(|ms| *ms >= 0.0).map(|ms| (ms * 1000.0).round() as u64)
    }

    /// Sends a message by one lane.
    pub async fn send(&mut self, lane: Lane, text: String) {
        match lane {
            Lane::WebSocket => {
                if let Some(ws) = self.ws() {
                    ws.out.text(text);
                }
            }
            Lane::DataChannel => {
                if let Some((_, rtc)) = &mut self.rtc {
                    rtc.frames.send_control(&text, Instant::now()).await;
                }
            }
        }
    }

    /// Sends a message by the WebSocket.
    pub fn signal(&self, message: &ClientMessage<'_>) {
        if let Some(ws) = self.ws() {
            ws.out.text(message.to_json());
        }
    }

    /// Puts a frame of a face out by the lanes of a route: whether it left, and whether by both.
    pub async fn frame(
        &mut self,
        route: Route,
        face: u64,
        data: Outgoing,
        rtt_ms: Option<f32>,
        now: Instant,
    ) -> (bool, bool) {
        let (mut sent, mut by_ws) = (false, route.websocket);
        let rtc = self.rtc.as_mut().filter(|_| route.channel);
        let by_channel = rtc.is_some();
        if let Some((_, rtc)) = rtc {
            let bytes = match &data {
                Outgoing::Text(text) => FrameData::Text(text),
                Outgoing::Binary(bytes) => FrameData::Binary(bytes),
                Outgoing::Ping(_) | Outgoing::Close(..) => return (false, false),
            };
            sent = rtc.frames.send(bytes, rtt_ms, now).await.sent;
            by_ws |= route.fallback && !sent;
        }
        if let Some(ws) = self.ws().filter(|_| by_ws) {
            sent |= ws.out.frame(face, data);
        }
        (sent, by_channel && by_ws)
    }
}
