//! Datagrams: Live Link Face, and the old system's JSON.

use std::{
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

use super::{
    SourceKind,
    hub::{ConnectionKey, Counters, Hub, Refused, Update},
    session::unix_ms,
};
use crate::wire::{
    json::{Decoder, FaceMessage, Message},
    llf,
};

/// Largest datagram there is.
const DATAGRAM: usize = 64 * 1024;
/// Senders remembered per port; more than anyone has phones.
const MOST_SENDERS: usize = 256;

/// Opens a socket with a receive buffer that survives a stalled moment.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<StdUdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // As much as the system allows; a small buffer still works.
    let _ = socket.set_recv_buffer_size(1 << 20);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[derive(Debug)]
struct Sender {
    address: SocketAddr,
    /// Tells two senders on one address apart.
    identity: Box<str>,
    key: ConnectionKey,
    counters: Arc<Counters>,
    subject: Arc<str>,
}

/// One port and who sends to it.
struct Port {
    hub: Arc<Hub>,
    kind: SourceKind,
    senders: Vec<Sender>,
}

impl Port {
    fn new(hub: Arc<Hub>, kind: SourceKind) -> Self {
        Self { hub, kind, senders: Vec::new() }
    }

    fn refuse(&self, from: SocketAddr, error: &dyn std::fmt::Display) {
        Counters::add(&self.hub.refused, 1);
        tracing::debug!(%from, source = %self.kind, %error, "datagram refused");
    }

    /// The place of a sender, which is made when its first good datagram comes. `subject` is the name that it would like
    /// to have. `None` when there are too many connections.
    fn sender(&mut self, from: SocketAddr, identity: &str, subject: Option<&str>, now: Instant) -> Option<usize> {
        let known = self.senders.iter().position(|s| s.address == from && *s.identity == *identity);
        if known.is_some() {
            return known;
        }
        if self.senders.len() >= MOST_SENDERS {
            self.senders.remove(0);
        }
        let counters = Arc::new(Counters::default());
        let id: Arc<str> = format!("{}-{from}", self.kind).into();
        let key = self.hub.connect(self.kind, id, Some(from), counters.clone(), now)?;
        let subject = match subject {
            Some(subject) => self.hub.unique_name(subject, key),
            None => self.hub.free_name(),
        };
        self.senders.push(Sender { address: from, identity: identity.into(), key, counters, subject });
        Some(self.senders.len() - 1)
    }

    fn ingest(&mut self, from: SocketAddr, identity: &str, update: &Partial<'_>, bytes: usize, now: Instant) {
        // A second time for a sender that was silent for so long that the hub forgot it.
        for _ in 0..2 {
            let Some(place) = self.sender(from, identity, update.subject, now) else {
                return self.refuse(from, &"too many connections");
            };
            let sender = &self.senders[place];
            let whole = Update {
                key: sender.key,
                kind: self.kind,
                subject: update.named.unwrap_or(&sender.subject),
                frame: update.face.has_face.then_some(&update.face.frame),
                unix_ms: update.face.unix_ms,
                latency_ms: update.latency_ms,
                viseme: update.face.viseme,
            };
            match self.hub.ingest(&whole, now) {
                Ok(_) | Err(Refused::Stale) => {
                    Counters::add(&sender.counters.messages, 1);
                    Counters::add(&sender.counters.bytes_in, bytes as u64);
                    return;
                }
                Err(Refused::Disconnected) => drop(self.senders.remove(place)),
                Err(error) => return self.refuse(from, &error),
            }
        }
    }
}

struct Partial<'a> {
    face: &'a FaceMessage<'a>,
    /// The name that the sender would like to have.
    subject: Option<&'a str>,
    /// The subject that this message names.
    named: Option<&'a str>,
    latency_ms: Option<f32>,
}

/// Receives Live Link Face.
pub(super) async fn live_link_face(hub: Arc<Hub>, socket: UdpSocket, cancel: CancellationToken) {
    let profile = hub.config.live_link_face_profile;
    let mut port = Port::new(hub, SourceKind::LiveLinkFace);
    let mut buffer = vec![0; DATAGRAM];
    while let Some((len, from)) = receive(&socket, &mut buffer, &cancel, &port.hub.refused).await {
        let now = Instant::now();
        match llf::decode(&buffer[..len], &profile) {
            Ok(packet) => {
                let face = FaceMessage { frame: packet.frame, has_face: true, ..FaceMessage::default() };
                let partial = Partial { face: &face, subject: Some(packet.subject), named: None, latency_ms: None };
                // The phone's port may change between two packets of one stream; its device id does not.
                let host = SocketAddr::new(from.ip(), 0);
                let identity = Identity::new(packet.device_id, packet.subject);
                port.ingest(host, identity.as_str(), &partial, len, now);
            }
            Err(error) => port.refuse(from, &error),
        }
    }
}

/// Device id and subject as one key, without allocating for the usual lengths.
struct Identity(smallvec::SmallVec<[u8; 128]>);

impl Identity {
    fn new(device: &str, subject: &str) -> Self {
        let mut bytes = smallvec::SmallVec::new();
        bytes.extend_from_slice(device.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(subject.as_bytes());
        Self(bytes)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Receives the old system's JSON datagrams.
pub(super) async fn udp_json(hub: Arc<Hub>, socket: UdpSocket, cancel: CancellationToken) {
    let mut port = Port::new(hub, SourceKind::UdpJson);
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; DATAGRAM];
    while let Some((len, from)) = receive(&socket, &mut buffer, &cancel, &port.hub.refused).await {
        let now = Instant::now();
        let ignored = decoder.ignored();
        let Ok(text) = std::str::from_utf8(&buffer[..len]) else {
            port.refuse(from, &"not UTF-8");
            continue;
        };
        match decoder.decode(text) {
            Ok(message) => {
                on_json(&mut port, &mut decoder, from, message, len, now);
                let more = decoder.ignored() - ignored;
                Counters::add(&port.hub.ignored, more);
            }
            Err(error) => port.refuse(from, &error),
        }
        // Anybody may send here, under ever new names: the table must not fill up for good.
        if decoder.is_full() {
            decoder = Decoder::default();
        }
    }
}

fn on_json(port: &mut Port, decoder: &mut Decoder, from: SocketAddr, message: Message<'_>, len: usize, now: Instant) {
    match message {
        Message::Face(face) => {
            let latency_ms = face.unix_ms.map(|sent| unix_ms() - sent).filter(|ms| (0.0..5000.0).contains(ms));
            let named = face.subject.as_deref();
            let partial = Partial { face: &face, subject: named, named, latency_ms: latency_ms.map(|ms| ms as f32) };
            port.ingest(from, "", &partial, len, now);
        }
        Message::Batch(updates) => {
            for update in &updates {
                match decoder.decode(update.get()) {
                    Ok(message @ Message::Face(_)) => on_json(port, decoder, from, message, 0, now),
                    Ok(_) => port.refuse(from, &"field `updates`: not a frame"),
                    Err(error) => port.refuse(from, &error),
                }
            }
        }
        _ => Counters::add(&port.hub.ignored, 1),
    }
}

/// The next datagram, or `None` once cancelled.
async fn receive(
    socket: &UdpSocket,
    buffer: &mut [u8],
    cancel: &CancellationToken,
    refused: &AtomicU64,
) -> Option<(usize, SocketAddr)> {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return None,
            received = socket.recv_from(buffer) => match received {
                Ok(datagram) => return Some(datagram),
                // On some systems the answer of an unreachable peer surfaces here. The socket is still good.
                Err(error) => {
                    Counters::add(refused, 1);
                    tracing::debug!(%error, "receive");
                    tokio::task::yield_now().await;
                }
            },
        }
    }
}
