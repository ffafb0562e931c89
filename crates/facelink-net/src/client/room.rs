//! Direct connections to room peers, and the one that an endpoint offers by itself.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use facelink::{
    source::SourceKind,
    time::Instant,
    wire::message::{ClientMessage, Description},
};
use tokio_util::sync::CancellationToken;

use super::{config::ClientConfig, encode::face_key};
use crate::{
    auth::AuthLevel,
    hub::{Counters, Hub, Role},
    ice::PeerConfig,
    outbox::{Outbox, Outgoing},
    peer,
    peer_handle::{PeerCommand, Signal},
    seal::Sealing,
    session::Session,
};

/// A direct connection to a room peer that failed is tried again after this time.
const RETRY_DELAY: Duration = Duration::from_secs(3);
/// Room peers at most, whatever an endpoint says; ours allows 16. Each has a connection with sockets of its own.
const MAX_PEERS: usize = 64;

/// One room peer, by its connection id.
#[derive(Debug, Default)]
struct RoomPeer {
    session: Option<Arc<Session>>,
    /// This side came into the room after it, so the offer is its to make.
    offering: bool,
    retry: Option<Instant>,
}

impl RoomPeer {
    fn is_direct(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_channel_open())
    }
}

/// All peers that frames go to directly. An endpoint that offers by itself is a peer without a name.
#[derive(Debug)]
pub(super) struct Room {
    hub: Option<Arc<Hub>>,
    sealing: Arc<Sealing>,
    cancel: CancellationToken,
    /// The client has joined a room.
    joined: bool,
    webrtc: bool,
    peers: HashMap<Arc<str>, RoomPeer>,
    /// The endpoint offers, and this side answers.
    pub answering: bool,
}

impl Room {
    pub fn new(config: &ClientConfig, hub: Option<Arc<Hub>>, sealing: Arc<Sealing>, cancel: CancellationToken) -> Self {
        let (joined, webrtc) = (config.room.is_some(), config.uses_webrtc());
        Self { hub, sealing, cancel, joined, webrtc, peers: HashMap::new(), answering: false }
    }

    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Peers with a direct connection.
    pub fn directs(&self) -> usize {
        self.peers.values().filter(|peer| peer.is_direct()).count()
    }

    /// Whether every frame reaches its receivers directly, so that the endpoint needs none.
    pub fn is_complete(&self) -> bool {
        (self.joined || self.answering) && !self.peers.is_empty() && self.directs() == self.peers.len()
    }

    fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.peers.values().filter_map(|peer| peer.session.as_ref())
    }

    /// The lowest rate that a peer asks for.
    pub fn asked_fps(&self) -> Option<f32> {
        self.sessions().filter_map(|session| session.asked_fps()).reduce(f32::min)
    }

    /// The highest redundancy that a peer asks for.
    pub fn asked_redundancy(&self) -> u8 {
        self.sessions().map(|session| session.asked_redundancy()).max().unwrap_or(0)
    }

    /// The endpoint itself, as a peer that frames go to.
    pub fn endpoint(&self) -> Option<&Arc<Session>> {
        let peer = self.peers.get("").filter(|peer| self.answering && peer.is_direct())?;
        peer.session.as_ref()
    }

    /// Hands a frame to everyone with a direct connection; `false` if there is none.
    pub fn send(&self, name: &str, bytes: &Bytes) -> bool {
        let named = self.peers.iter().filter(|(id, peer)| !id.is_empty() && peer.is_direct());
        let sessions = named.filter_map(|(_, peer)| peer.session.as_ref());
        sessions.map(|session| session.send_frame(face_key(name), Outgoing::Binary(bytes.clone()))).count() > 0
    }

    /// Whether frames may go to room peers at all.
    pub fn has_peers(&self) -> bool {
        self.joined && !self.peers.is_empty()
    }

    pub fn command(&self, id: &str, command: PeerCommand) {
        if let Some(session) = self.peers.get(id).and_then(|peer| peer.session.as_ref()) {
            session.peer_command(command);
        }
    }

    /// Who was in the room before; they are offered a connection.
    pub fn on_peers(&mut self, present: Vec<Arc<str>>, now: Instant) {
        self.peers.retain(|id, peer| present.contains(id) || peer.session.is_some());
        for id in present {
            if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&id) {
                continue;
            }
            let peer = self.peers.entry(id).or_default();
            if peer.session.is_none() {
                (peer.offering, peer.retry) = (true, Some(now));
            }
        }
    }

    /// A peer has joined; it will offer.
    pub fn on_joined(&mut self, id: &str) {
        if self.peers.len() < MAX_PEERS {
            self.peers.entry(id.into()).or_default();
        }
    }

    /// A peer has left. A direct connection that still stands ends by itself.
    pub fn on_left(&mut self, id: &str, now: Instant) {
        if self.peers.get(id).is_some_and(|peer| !peer.is_direct()) {
            self.remove(id, now);
        }
    }

    fn remove(&mut self, id: &str, now: Instant) {
        if let Some(session) = self.peers.remove(id).and_then(|peer| peer.session) {
            session.hub.disconnect(session.key, "it left the room", true, now);
        }
    }

    fn session(&self, now: Instant) -> Option<(Arc<Session>, Arc<Hub>)> {
        let hub = self.hub.clone()?;
        Some((outgoing_session(&hub, &self.sealing, SourceKind::WebRtc, Role::Peer, None, now)?, hub))
    }

    /// Answers the offer of a peer.
    pub async fn on_offer(&mut self, id: &str, offer: String, out: &Outbox, config: &PeerConfig, now: Instant) {
        if !self.joined && !id.is_empty() || !self.webrtc {
            return;
        }
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(id) {
            tracing::debug!(peer = id, "offer refused: too many room peers");
            return;
        }
        self.remove(id, now);
        let Some((session, hub)) = self.session(now) else { return };
        let to: Option<Arc<str>> = (!id.is_empty()).then(|| id.into());
        let signal = Signal::Relay(out.clone(), to.clone());
        let mut peer = RoomPeer::default();
        match peer::accept(&session, offer, signal, self.cancel.child_token(), config).await {
            Ok(answer) => {
                let to = to.as_deref().map(Into::into);
                out.text(ClientMessage::Answer(Description { to, ..Description::new(answer) }).to_json());
                peer.session = Some(session);
            }
            Err(error) => {
                tracing::debug!(%error, peer = id, "offer refused");
                hub.disconnect(session.key, "its offer was refused", true, now);
            }
        }
        self.peers.insert(id.into(), peer);
    }

    /// Offers to those whose connection has ended or is due.
    pub async fn watch(&mut self, out: Option<&Outbox>, config: &PeerConfig, now: Instant) {
        let mut due = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.session.as_ref().is_some_and(|session| session.ended.is_cancelled()) {
                peer.session = None;
                peer.retry = peer.offering.then(|| now + RETRY_DELAY);
            }
            if peer.session.is_none() && peer.retry.is_some_and(|retry| retry <= now) {
                peer.retry = None;
                due.push(id.clone());
            }
        }
        let Some(out) = out.filter(|_| self.webrtc) else { return };
        for id in due {
            let Some((session, hub)) = self.session(now) else { return };
            let signal = Signal::Relay(out.clone(), Some(id.clone()));
            let offered = peer::offer(&session, signal, self.cancel.child_token(), config).await;
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            match offered {
                Ok(offer) => {
                    let to = Some((&*id).into());
                    out.text(ClientMessage::Offer(Description { to, ..Description::new(offer) }).to_json());
                    (peer.session, peer.offering) = (Some(session), true);
                }
                Err(error) => {
                    tracing::debug!(%error, "no direct connection");
                    hub.disconnect(session.key, "no connection could be made", true, now);
                    peer.retry = Some(now + RETRY_DELAY);
                }
            }
        }
    }

    /// Says goodbye to everyone.
    pub fn close(&mut self, now: Instant) {
        for session in self.peers.drain().filter_map(|(_, peer)| peer.session) {
            session.hub.disconnect(session.key, "closed by this side", true, now);
        }
    }
}

/// A connection of the hub for what an endpoint or a room peer sends to this side.
pub(super) fn outgoing_session(
    hub: &Arc<Hub>,
    sealing: &Arc<Sealing>,
    kind: SourceKind,
    role: Role,
    address: Option<SocketAddr>,
    now: Instant,
) -> Option<Arc<Session>> {
    let id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let counters = Arc::new(Counters::default());
    let key = match role {
        Role::Outbound => hub.connect_quietly(kind, id.clone(), counters.clone(), now)?,
        _ => hub.connect(kind, id.clone(), address, counters.clone(), AuthLevel::Exempt, now)?,
    };
    let session = Session::new(hub, key, id, address, counters, role, Some(AuthLevel::Exempt.into()));
    session.set_sealing(sealing.clone());
    Some(session)
}
