//! One WebRTC peer: the `webrtc` crate behind a seam, with its traps worked around.
//!
//! - What we send goes over a channel negotiated with id 0, or over one that we opened: on a channel that the peer opened
//!   in-band the crate would answer ordered and reliable.
//! - The crate's driver does not flush some writes before its next timer: it is nudged until the channel is open.
//! - A dropped connection lives on: [`RtcPeer`] closes it.
//! - Its driver may panic, and nothing more is reported then: [`runtime`] notices.
//! - As the DTLS client it refuses an association that the peer starts (RFC 8841, 9.3), and it knows no SCTP port but 5000. As
//!   the server it takes both as they come, so it is the server where the peer leaves the choice. Then the peer's first in-band
//!   channel has the id 0 too (RFC 8832, 6), and only the acknowledgement that the crate sends shows it: [`IN_BAND`]. Some peers
//!   go by the ICE role instead and take the ids that are ours (aiortc, werift): [`RtcPeer::may_collide`].
//! - A channel that is not read keeps what arrives: [`RtcPeer::admit`] limits channels.
//! - The crate binds the given addresses, knows neither port ranges nor addresses behind a NAT, prefers TCP to some pairs
//!   over UDP, and lets a slow TCP peer or name server stop everything: see [`addresses`], [`candidates`] and [`runtime`].

mod addresses;
mod candidates;
mod log;
mod media;
mod runtime;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    net::IpAddr,
    sync::{Arc, Weak, atomic::AtomicU64},
    time::{Duration, Instant},
};

use addresses::{AddressError, Addresses, Protocol};
use async_trait::async_trait;
use bytes::BytesMut;
use candidates::Outgoing;
use log::quiet;
#[cfg(feature = "http")]
pub(crate) use media::{picture_codec, sound_codec};
use parking_lot::Mutex;
use rtc::{
    ice::mdns::MulticastDnsMode,
    peer_connection::transport::{RTCDtlsRole, RTCIceCandidatePair},
};
use runtime::{PACE, PeerRuntime};
use tokio::{runtime::Handle, sync::mpsc};
#[cfg(test)]
use webrtc::peer_connection::{RTCStatsReportEntry, StatsSelector};
use webrtc::{
    data_channel::{DataChannel, RTCDataChannelInit, RTCDataChannelState},
    media_stream::{track_local::TrackLocal, track_remote::TrackRemote},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfiguration, RTCConfigurationBuilder,
        RTCIceCandidateInit, RTCIceCandidateType, RTCIceGatheringState, RTCIceProtocol, RTCIceServer,
        RTCIceTransportPolicy, RTCPeerConnectionIceEvent, RTCPeerConnectionState, RTCSessionDescription,
        SettingEngineBuilder,
    },
};

pub(crate) use crate::frame_gate::{FrameData, Sent};
use crate::{
    frame_gate::FrameGate,
    ice::{CHANNEL_LABEL, CHANNEL_PROTOCOL, IceConfig, IceError, IcePolicy, has_relay},
};
use facelink::{
    connection::PeerState,
    media::PictureCodec,
    wire::json::{IceCandidate, IceServer},
};

/// Threshold of the buffered bytes of the negotiated channel until the peer speaks on it: what exceeds it before is the crate's
/// acknowledgement of an in-band `DATA_CHANNEL_OPEN` on the same stream.
const IN_BAND: u32 = 1;
/// Bytes that may wait in a channel before a control message is dropped.
const SEND_LIMIT: usize = 64 * 1024;
const NUDGE: Duration = Duration::from_millis(10);
const NUDGES: u32 = 1000;
/// How long pairs without a relay are tried first.
const RELAY_WAIT: Duration = Duration::from_secs(1);
/// How long pairs over UDP are tried first, relays among them.
const TCP_WAIT: Duration = Duration::from_millis(1500);
/// Without a packet of the peer for this long it counts as disconnected.
const DISCONNECTED: Duration = Duration::from_secs(2);
/// Disconnected for this long, it has failed.
const FAILED: Duration = Duration::from_secs(7);
/// How often a pair is checked until one works.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How often the pair in use is checked, which measures the round trip.
const KEEPALIVE: Duration = Duration::from_millis(500);
/// How often a port that another process took in between is replaced.
const BIND_ATTEMPTS: u32 = 4;
/// In-band channels of the peer that are read at a time: one for frames and one for control messages.
pub(crate) const MAX_CHANNELS: usize = 2;
/// Longest label or protocol of a channel that is read, bytes.
const MAX_LABEL: usize = 256;
/// Channels of a peer that are closed before the connection is: the crate keeps a record of each.
const MAX_REFUSED_CHANNELS: u32 = 16;
/// Channels that a peer may open in the life of a connection.
const MAX_OPENED_CHANNELS: u32 = 1000;

/// Why a WebRTC connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RtcError {
    #[error("field `sdp`: {0}")]
    Description(webrtc::error::Error),
    #[error("cannot open a WebRTC connection: {0}")]
    Open(webrtc::error::Error),
    #[error("cannot open a WebRTC connection: {0}")]
    Address(#[from] AddressError),
    #[error("cannot open a WebRTC connection: {0}")]
    Configuration(IceError),
    #[error("cannot open a WebRTC connection: gathering candidates took too long")]
    Gathering,
}

/// What a state means to a [`Connection`](facelink::connection::Connection), if it means anything.
pub(crate) const fn peer_state(state: RTCPeerConnectionState) -> Option<PeerState> {
    match state {
        RTCPeerConnectionState::Connected => Some(PeerState::Connected),
        RTCPeerConnectionState::Disconnected => Some(PeerState::Disconnected),
        RTCPeerConnectionState::Failed => Some(PeerState::Failed),
        RTCPeerConnectionState::Closed => Some(PeerState::Closed),
        _ => None,
    }
}

/// What happens on a peer.
pub(crate) enum PeerEvent {
    /// Our own candidate.
    Candidate(IceCandidate),
    Gathered,
    State(RTCPeerConnectionState),
    /// The peer opened a channel in-band.
    Channel(Arc<dyn DataChannel>),
    /// A picture or a sound of the peer.
    Track(Arc<dyn TrackRemote>),
    /// The crate's driver has ended: nothing moves any more.
    Ended,
}

/// What becomes of a channel that the peer opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is to be read.
    Read,
    /// It was closed.
    Refused,
    /// The peer has closed it already.
    Ended,
    /// The peer has opened too many: the connection is to be closed.
    TooMany,
}

/// Candidates of ours that were sent since our last description.
type SentCandidates = Arc<Mutex<HashSet<String>>>;

struct Handler {
    events: mpsc::UnboundedSender<PeerEvent>,
    outgoing: Arc<Outgoing>,
    sent_candidates: SentCandidates,
}

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let (text, place) = self.outgoing.candidate(&candidate.candidate);
            if self.sent_candidates.lock().insert(place) {
                let _ = self.events.send(PeerEvent::Candidate(IceCandidate {
                    candidate: text,
                    sdp_mid: Some("0".to_owned()),
                    sdp_mline_index: candidate.sdp_mline_index,
                }));
            }
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.events.send(PeerEvent::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = self.events.send(PeerEvent::State(state));
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.events.send(PeerEvent::Channel(channel));
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let _ = self.events.send(PeerEvent::Track(track));
    }
}

/// What a connection is for.
#[derive(Clone, Copy)]
struct Kind {
    /// It takes new sockets at a restart.
    roaming: bool,
    /// Small packets on TCP go out at once.
    no_delay: bool,
    /// It carries pictures in these codecs, and sounds; otherwise messages alone.
    media: Option<&'static [PictureCodec]>,
}

impl Default for Kind {
    fn default() -> Self {
        Self { roaming: false, no_delay: true, media: None }
    }
}

/// The selected candidate pair of a connection, and its stats.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct PeerStats {
    /// Round trip of the last check, milliseconds, where it was asked for.
    pub rtt_ms: Option<f32>,
    /// Whether the pair goes through a TURN server on either side.
    pub relayed: bool,
    /// `host`, `srflx`, `prflx` or `relay`; `None` before a pair is selected.
    pub local: Option<&'static str>,
    /// The same of the peer.
    pub remote: Option<&'static str>,
    /// `udp` or `tcp`.
    pub protocol: Option<&'static str>,
    /// Bytes of our channel that are in flight or waiting.
    pub waiting_bytes: u64,
}

impl PeerStats {
    /// In words, such as `udp host-prflx`; `None` before a pair is selected.
    pub fn route(&self) -> Option<String> {
        Some(format!("{} {}-{}", self.protocol.unwrap_or("udp"), self.local?, self.remote?))
    }
}

/// One peer connection with our channel on it.
pub(crate) struct RtcPeer {
    connection: Arc<dyn PeerConnection>,
    /// Negotiated by both sides with id 0; a peer that does not know it never sees it.
    pub channel: Arc<dyn DataChannel>,
    outgoing: Arc<Outgoing>,
    /// The peer's offer leaves this side no choice but to open DTLS.
    active: bool,
    /// Datagrams of the peer, and reads from its streams, so far.
    traffic: Arc<AtomicU64>,
    /// Channels that the peer opened, and those of them that were closed at once.
    opened: u32,
    refused: u32,
    sent_candidates: SentCandidates,
    policy: IcePolicy,
    bind: IpAddr,
    tcp: bool,
    /// Those that came before the description, and whether they are for TCP.
    pending: Vec<(IceCandidate, bool)>,
    taken: candidates::Taken,
    described: Option<tokio::time::Instant>,
    closed: bool,
    tasks: Handle,
}

fn channel_init(negotiated: Option<u16>) -> RTCDataChannelInit {
    RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        protocol: CHANNEL_PROTOCOL.to_owned(),
        negotiated,
        ..RTCDataChannelInit::default()
    }
}

fn configuration(policy: IcePolicy, servers: &[IceServer]) -> RTCConfiguration {
    let servers = servers.iter().map(|server| RTCIceServer {
        urls: server.urls.clone(),
        username: server.username.clone().unwrap_or_default(),
        credential: server.credential.clone().unwrap_or_default(),
    });
    RTCConfigurationBuilder::new()
        .with_ice_servers(servers.collect())
        .with_ice_transport_policy(match policy {
            IcePolicy::All => RTCIceTransportPolicy::All,
            IcePolicy::Relay => RTCIceTransportPolicy::Relay,
        })
        .build()
}

const fn kind(kind: RTCIceCandidateType) -> Option<&'static str> {
    match kind {
        RTCIceCandidateType::Host => Some("host"),
        RTCIceCandidateType::Srflx => Some("srflx"),
        RTCIceCandidateType::Prflx => Some("prflx"),
        RTCIceCandidateType::Relay => Some("relay"),
        _ => None,
    }
}

/// Adds a candidate that passed [`candidates::incoming`].
async fn add(connection: &Arc<dyn PeerConnection>, candidate: IceCandidate) {
    let candidate = RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.sdp_mid,
        sdp_mline_index: candidate.sdp_mline_index,
        ..RTCIceCandidateInit::default()
    };
    if let Err(error) = quiet(connection.add_ice_candidate(candidate)).await {
        tracing::debug!(%error, "candidate ignored");
    }
}

/// Wakes the driver, as any setter of a threshold does.
async fn wake(channel: &Arc<dyn DataChannel>) -> Result<(), webrtc::error::Error> {
    channel.set_buffered_amount_low_threshold(0).await
}

/// The pair of candidates in use.
async fn selected_pair(connection: &Arc<dyn PeerConnection>) -> Option<RTCIceCandidatePair> {
    connection.sctp().await?.transport().ice_transport().get_selected_candidate_pair().await.ok()?
}

impl RtcPeer {
    /// `bind` is what the endpoint is bound to. Its sockets stay for as long as it lives, unless it uses relays: then a
    /// restart of either side takes new ones.
    pub async fn new(bind: IpAddr, ice: &IceConfig) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), RtcError> {
        Self::open(bind, ice, Kind::default()).await
    }

    /// The same on a machine that changes networks: [`restart`](Self::restart) takes new sockets, on the interfaces that
    /// there are by then. So does a restart by the peer.
    pub async fn roaming(
        bind: IpAddr,
        ice: &IceConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), RtcError> {
        Self::open(bind, ice, Kind { roaming: true, ..Kind::default() }).await
    }

    /// One that carries pictures in these codecs and sounds, and no messages.
    pub async fn media(
        bind: IpAddr,
        ice: &IceConfig,
        codecs: &'static [PictureCodec],
    ) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), RtcError> {
        Self::open(bind, ice, Kind { media: Some(codecs), ..Kind::default() }).await
    }

    /// Sends a picture or a sound from the next description on.
    pub async fn add_track(&self, track: Arc<dyn TrackLocal>) -> Result<(), RtcError> {
        self.connection.add_track(track).await.map(|_| ()).map_err(RtcError::Open)
    }

    async fn open(
        bind: IpAddr,
        ice: &IceConfig,
        kind: Kind,
    ) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), RtcError> {
        let servers = ice.current().own;
        if ice.policy == IcePolicy::Relay && !has_relay(&servers) {
            return Err(RtcError::Configuration(IceError::NoRelay));
        }
        // With the sockets the crate would keep the relays, and sign for them with whatever credentials come later. To a
        // TURN server a relay is its first user's alone (RFC 8656, 5).
        let kind = Kind { roaming: kind.roaming || has_relay(&servers), ..kind };
        let ice = Arc::new(ice.clone());
        let outgoing = Arc::new(Outgoing::new(bind, &ice));
        let (events, receiver) = mpsc::unbounded_channel();
        let sent_candidates = SentCandidates::default();
        let handler = Handler { events, outgoing: outgoing.clone(), sent_candidates: sent_candidates.clone() };
        let Connected { connection, tcp, traffic } = connect(bind, &ice, &servers, kind, Arc::new(handler)).await?;
        let channel = connection.create_data_channel(CHANNEL_LABEL, Some(channel_init(Some(0)))).await;
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => {
                let _ = quiet(connection.close()).await;
                return Err(RtcError::Open(error));
            }
        };
        let peer = Self {
            connection,
            channel,
            outgoing,
            active: false,
            traffic,
            opened: 0,
            refused: 0,
            sent_candidates,
            policy: ice.policy,
            bind,
            tcp,
            pending: Vec::new(),
            taken: candidates::Taken::default(),
            described: None,
            closed: false,
            tasks: Handle::current(),
        };
        Ok((peer, receiver))
    }

    /// Opens a channel of our own in-band, for a peer that does not know the negotiated one.
    pub async fn open_channel(&self, label: &str) -> Result<Arc<dyn DataChannel>, RtcError> {
        self.connection.create_data_channel(label, Some(channel_init(None))).await.map_err(RtcError::Open)
    }

    /// Whether the peer may be about to open a channel with the id that the next one of this side gets: it should take even ids,
    /// being the DTLS client, and does not if it goes by the ICE role. Two channels of one id become one, and aiortc stops
    /// reading. What a peer opens as soon as it is connected arrives at once, so a while later the next id is free.
    pub fn may_collide(&self) -> bool {
        !self.active
    }

    /// What becomes of a channel that the peer has opened, where `read` others of its are read.
    pub async fn admit(&mut self, channel: &Arc<dyn DataChannel>, read: usize) -> Admission {
        self.opened += 1;
        let length = async { Some(channel.label().await.ok()?.len().max(channel.protocol().await.ok()?.len())) };
        if self.opened > MAX_OPENED_CHANNELS {
            return Admission::TooMany;
        }
        match length.await {
            None => Admission::Ended,
            Some(length) if read < MAX_CHANNELS && length <= MAX_LABEL => Admission::Read,
            Some(_) => self.refuse(channel).await,
        }
    }

    /// Closes a channel that the peer has opened.
    pub async fn refuse(&mut self, channel: &Arc<dyn DataChannel>) -> Admission {
        let _ = quiet(channel.close()).await;
        self.refused += 1;
        if self.refused > MAX_REFUSED_CHANNELS { Admission::TooMany } else { Admission::Refused }
    }

    /// Counts what arrives on the wire, whatever it is. It stands still on a dead path and with a dead driver.
    pub fn traffic(&self) -> Arc<AtomicU64> {
        self.traffic.clone()
    }

    /// Answers an offer; candidates follow as events.
    pub async fn answer(&mut self, offer: String) -> Result<String, RtcError> {
        let (offer, candidates) = candidates::split(&offer);
        if self.described.is_none() {
            let _ = self.channel.set_buffered_amount_high_threshold(IN_BAND).await;
        }
        self.active = offer.lines().any(|line| line.trim_end() == "a=setup:passive");
        let offer = RTCSessionDescription::offer(offer).map_err(RtcError::Description)?;
        quiet(self.connection.set_remote_description(offer)).await.map_err(RtcError::Description)?;
        self.described(candidates).await;
        let answer = self.connection.create_answer(None).await.map_err(RtcError::Description)?;
        let sdp = self.description(&answer.sdp);
        self.sent_candidates.lock().clear();
        quiet(self.connection.set_local_description(answer)).await.map_err(RtcError::Description)?;
        self.nudge_until_open();
        Ok(sdp)
    }

    /// The peer speaks on the negotiated channel, by which this side may speak from now on too.
    pub async fn spoken_on(channel: &Arc<dyn DataChannel>) {
        let _ = channel.set_buffered_amount_high_threshold(u32::MAX).await;
    }

    /// Makes an offer to a peer of any make; candidates follow as events. Some that answer wait for this side to start the SCTP
    /// association (aiortc), which the crate does as the DTLS client.
    pub async fn offer_active(&self) -> Result<String, RtcError> {
        Ok(self.offer().await?.replace("a=setup:actpass\r\n", "a=setup:active\r\n"))
    }

    /// Makes an offer; candidates follow as events.
    pub async fn offer(&self) -> Result<String, RtcError> {
        let offer = self.connection.create_offer(None).await.map_err(RtcError::Open)?;
        let sdp = self.outgoing.description(&offer.sdp);
        self.sent_candidates.lock().clear();
        quiet(self.connection.set_local_description(offer)).await.map_err(RtcError::Open)?;
        Ok(sdp)
    }

    /// Makes an offer that restarts ICE on the same connection: DTLS, SCTP and the channels live on.
    pub async fn restart(&mut self) -> Result<String, RtcError> {
        quiet(self.connection.restart_ice()).await.map_err(RtcError::Open)?;
        self.described = None;
        self.offer().await
    }

    /// Takes the answer to our offer.
    pub async fn set_answer(&mut self, answer: String) -> Result<(), RtcError> {
        let (answer, candidates) = candidates::split(&answer);
        let answer = RTCSessionDescription::answer(answer).map_err(RtcError::Description)?;
        quiet(self.connection.set_remote_description(answer)).await.map_err(RtcError::Description)?;
        self.described(candidates).await;
        self.nudge_until_open();
        Ok(())
    }

    async fn described(&mut self, candidates: Vec<IceCandidate>) {
        self.described = Some(tokio::time::Instant::now());
        self.taken = candidates::Taken::default();
        for candidate in candidates {
            self.add_candidate(candidate).await;
        }
        for (candidate, tcp) in std::mem::take(&mut self.pending) {
            self.take_candidate(candidate, tcp).await;
        }
    }

    /// Takes a candidate of the peer, before or after its description.
    pub async fn add_candidate(&mut self, candidate: IceCandidate) {
        let on_loopback = candidates::on_loopback(&candidate, self.bind);
        for candidate in on_loopback.into_iter().chain([candidate]) {
            let Some((candidate, tcp)) = candidates::incoming(&candidate, self.tcp) else { continue };
            if self.described.is_some() {
                self.take_candidate(candidate, tcp).await;
            } else if self.pending.len() < candidates::MAX_CANDIDATES {
                self.pending.push((candidate, tcp));
            }
        }
    }

    async fn take_candidate(&mut self, candidate: IceCandidate, tcp: bool) {
        let Some(described) = self.described else { return };
        if !self.taken.take(&candidate) {
            return;
        }
        if !tcp {
            add(&self.connection, candidate).await;
            // Taking it does not wake the driver.
            let _ = wake(&self.channel).await;
            return;
        }
        // The crate keeps to the first pair that works, so TCP comes later.
        let connection = Arc::downgrade(&self.connection);
        tokio::spawn(async move {
            tokio::time::sleep_until(described + TCP_WAIT).await;
            if let Some(connection) = Weak::upgrade(&connection)
                && selected_pair(&connection).await.is_none()
            {
                add(&connection, candidate).await;
            }
        });
    }

    /// Exchanges the STUN and TURN servers, such as for fresh credentials, without an interruption. They count
    /// from the next restart by either side on; until then, relays that are open live on with what opened them.
    pub async fn set_ice_servers(&self, servers: &[IceServer]) -> Result<(), RtcError> {
        let servers = IceConfig { servers: servers.to_vec(), ..IceConfig::default() }.current().own;
        if self.policy == IcePolicy::Relay && !has_relay(&servers) {
            return Err(RtcError::Configuration(IceError::NoRelay));
        }
        quiet(self.connection.set_configuration(configuration(self.policy, &servers))).await.map_err(RtcError::Open)
    }

    /// How the connection fares now, but for the round trip.
    pub async fn path(&self) -> PeerStats {
        let mut stats = PeerStats {
            waiting_bytes: self.channel.outstanding_bytes().await.unwrap_or_default() as u64,
            ..PeerStats::default()
        };
        let Some(pair) = selected_pair(&self.connection).await else { return stats };
        stats.local = kind(pair.local().typ);
        stats.remote = kind(pair.remote().typ);
        stats.relayed = [stats.local, stats.remote].contains(&Some("relay"));
        stats.protocol = match pair.local().protocol {
            RTCIceProtocol::Udp => Some("udp"),
            RTCIceProtocol::Tcp => Some("tcp"),
            _ => None,
        };
        stats
    }

    /// The same with the round trip, for which the crate makes a report of everything.
    #[cfg(test)]
    pub async fn stats(&self) -> PeerStats {
        let mut stats = self.path().await;
        if stats.local.is_none() {
            return stats;
        }
        // Of several pairs that were nominated in turn, the transport knows the one in use.
        let report = self.connection.get_stats(Instant::now(), StatsSelector::None).await;
        if let Some(transport) = report.transport()
            && let Some(RTCStatsReportEntry::IceCandidatePair(pair)) = report.get(&transport.selected_candidate_pair_id)
            && pair.responses_received > 0
        {
            stats.rtt_ms = Some((pair.current_round_trip_time * 1000.0) as f32 / PACE as f32);
        }
        stats
    }

    /// Our description with every candidate in it, once they are gathered.
    pub async fn complete_description(
        &self,
        events: &mut mpsc::UnboundedReceiver<PeerEvent>,
        limit: Duration,
    ) -> Result<String, RtcError> {
        let gathered = async {
            while let Some(event) = events.recv().await {
                if matches!(event, PeerEvent::Gathered) {
                    return;
                }
            }
        };
        // With a STUN server that does not answer, what was gathered so far is as good as it gets.
        let _ = tokio::time::timeout(limit, gathered).await;
        let description = self.connection.local_description().await.ok_or(RtcError::Gathering)?;
        Ok(self.description(&description.sdp))
    }

    /// A description as others get it. The crate opens DTLS where a peer waits for it, but its answer says otherwise.
    fn description(&self, sdp: &str) -> String {
        let sdp = self.outgoing.description(sdp);
        if self.active { sdp.replace("a=setup:passive\r\n", "a=setup:active\r\n") } else { sdp }
    }

    fn nudge_until_open(&self) {
        let channel = Arc::downgrade(&self.channel);
        tokio::spawn(async move {
            for _ in 0..NUDGES {
                tokio::time::sleep(NUDGE).await;
                let Some(channel) = channel.upgrade() else { return };
                if channel.ready_state().await.is_ok_and(|state| state == RTCDataChannelState::Open)
                    || wake(&channel).await.is_err()
                {
                    return;
                }
            }
        });
    }

    pub async fn close(mut self) {
        self.closed = true;
        let _ = quiet(self.connection.close()).await;
    }
}

impl Drop for RtcPeer {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let connection = self.connection.clone();
        self.tasks.spawn(async move {
            let _ = quiet(connection.close()).await;
        });
    }
}

/// A connection that was built.
struct Connected {
    connection: Arc<dyn PeerConnection>,
    /// Whether it has TCP sockets.
    tcp: bool,
    traffic: Arc<AtomicU64>,
}

/// Builds the connection. With a port range it takes other ports when another process was faster.
async fn connect(
    bind: IpAddr,
    ice: &Arc<IceConfig>,
    servers: &[IceServer],
    kind: Kind,
    handler: Arc<Handler>,
) -> Result<Connected, RtcError> {
    let pace = if kind.media.is_some() { 1 } else { PACE };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (udp, tcp) = (Addresses::new(Protocol::Udp, bind, ice), Addresses::new(Protocol::Tcp, bind, ice));
        let runtime = Arc::new(PeerRuntime::new(kind.no_delay, pace, handler.events.clone()));
        let relay_wait = match ice.policy {
            IcePolicy::All => RELAY_WAIT,
            IcePolicy::Relay => Duration::ZERO,
        };
        let settings = SettingEngineBuilder::new()
            // A browser's `.local` candidate need not be resolved: the browser finds ours, and is then known by its packets.
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_ice_timeouts(Some(DISCONNECTED * pace), Some(FAILED * pace), Some(KEEPALIVE * pace))
            .with_ice_connection_attempts(Some(CHECK_INTERVAL * pace), Some(500))
            .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
            .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
            .with_relay_acceptance_min_wait(Some(relay_wait * pace))
            .with_discard_local_candidates_during_ice_restart(kind.roaming)
            .with_answering_dtls_role(RTCDtlsRole::Server)
            .build();
        let mut builder = PeerConnectionBuilder::new();
        if let Some(codecs) = kind.media {
            let (engine, interceptors) = media::engine(codecs).map_err(RtcError::Open)?;
            builder = builder.with_media_engine(engine).with_interceptor_registry(interceptors);
        }
        let building = builder
            .with_configuration(configuration(ice.policy, servers))
            .with_setting_engine(settings)
            .with_handler(handler.clone())
            .with_runtime(runtime.clone())
            // With a pool the driver comes to the runtime by a call of its own.
            .with_dedicated_reactor_pool_size(1)
            .with_udp_addrs(vec![udp.clone()])
            .with_tcp_addrs(vec![tcp.clone()])
            .with_data_channel_send_buffer_limit(SEND_LIMIT)
            .build();
        let connection: Arc<dyn PeerConnection> = match quiet(building).await {
            Ok(connection) => Arc::new(connection),
            Err(error) => {
                if let Some(error) = udp.error().or_else(|| tcp.error()) {
                    return Err(error.into());
                }
                if ice.udp_ports.is_some() && attempt < BIND_ATTEMPTS {
                    continue;
                }
                return Err(RtcError::Open(error));
            }
        };
        if ice.udp_ports.is_some() && !runtime.has_bound(&udp.chosen()) && attempt < BIND_ATTEMPTS {
            let _ = quiet(connection.close()).await;
            continue;
        }
        return Ok(Connected { connection, tcp: !tcp.chosen().is_empty(), traffic: runtime.traffic() });
    }
}

/// Sends frames on one channel, and drops them rather than let them wait; see [`FrameGate`].
pub(crate) struct FrameSender {
    channel: Arc<dyn DataChannel>,
    gate: FrameGate,
}

impl FrameSender {
    pub fn new(channel: Arc<dyn DataChannel>) -> Self {
        Self { channel, gate: FrameGate::default() }
    }

    /// Sends a frame unless older ones wait. `rtt_ms` is the last round trip that was measured, by any means.
    pub async fn send(&mut self, data: FrameData<'_>, rtt_ms: Option<f32>, now: Instant) -> Sent {
        let Ok(waiting) = self.channel.outstanding_bytes().await else {
            return Sent { sent: false, waiting_bytes: 0, oldest_ms: 0.0 };
        };
        let waiting_bytes = waiting as u64;
        let passage = self.gate.passage(waiting_bytes, rtt_ms, now);
        let sent = passage.open && self.hand(data, now).await;
        Sent { sent, waiting_bytes, oldest_ms: passage.oldest.as_secs_f32() * 1000.0 }
    }

    /// Sends a message that must not be dropped lightly. `false` when even that was not possible.
    pub async fn send_control(&mut self, text: &str, now: Instant) -> bool {
        self.hand(FrameData::Text(text), now).await
    }

    async fn hand(&mut self, data: FrameData<'_>, now: Instant) -> bool {
        let (length, sent) = match data {
            FrameData::Text(text) => (text.len(), self.channel.try_send_text(text).await),
            FrameData::Binary(bytes) => (bytes.len(), self.channel.try_send(BytesMut::from(bytes)).await),
        };
        if sent.is_ok() {
            self.gate.handed(length, now);
        }
        sent.is_ok()
    }
}
