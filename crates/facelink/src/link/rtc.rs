//! One WebRTC peer: the `webrtc` crate behind a seam, with its traps worked around.
//!
//! - What we send goes over a channel negotiated with id 0, or over one that we opened: on a channel that the peer opened
//!   in-band the crate would answer ordered and reliable.
//! - The crate's driver does not flush some writes before its next timer: it is nudged until the channel is open.
//! - A dropped connection lives on: [`RtcPeer`] closes it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use rtc::ice::mdns::MulticastDnsMode;
use tokio::sync::mpsc;
use webrtc::{
    data_channel::{DataChannel, RTCDataChannelInit},
    peer_connection::{
        PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
        RTCIceCandidateInit, RTCIceGatheringState, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
        RTCSessionDescription, SettingEngineBuilder,
    },
};

use super::IceConfig;
use crate::wire::json::{IceCandidate, IceServer};

/// Protocol of our data channels.
const PROTOCOL: &str = "animation-data";
/// Bytes that may wait in a channel before a control message is dropped.
const SEND_LIMIT: usize = 64 * 1024;
/// Bytes that may wait in a channel before a frame is dropped: about one frame.
const FRAME_LIMIT: usize = 2048;
const NUDGE: Duration = Duration::from_millis(10);
const NUDGES: u32 = 1000;

/// Why a WebRTC connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum RtcError {
    #[error("field `sdp`: {0}")]
    Description(webrtc::error::Error),
    #[error("cannot open a WebRTC connection: {0}")]
    Open(webrtc::error::Error),
    #[error("cannot open a WebRTC connection: gathering candidates took too long")]
    Gathering,
}

/// What happens on a peer.
pub(super) enum PeerEvent {
    /// Our own candidate.
    Candidate(IceCandidate),
    Gathered,
    State(RTCPeerConnectionState),
    /// The peer opened a channel in-band.
    Channel(Arc<dyn DataChannel>),
}

struct Handler(mpsc::UnboundedSender<PeerEvent>);

#[async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        if let Ok(candidate) = event.candidate.to_json() {
            let _ = self.0.send(PeerEvent::Candidate(IceCandidate {
                candidate: candidate.candidate,
                sdp_mid: Some("0".to_owned()),
                sdp_mline_index: candidate.sdp_mline_index,
            }));
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.send(PeerEvent::Gathered);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        let _ = self.0.send(PeerEvent::State(state));
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let _ = self.0.send(PeerEvent::Channel(channel));
    }
}

/// One peer connection with our channel on it.
pub(super) struct RtcPeer {
    connection: Arc<dyn PeerConnection>,
    /// Negotiated by both sides with id 0; a peer that does not know it never hears of it.
    pub channel: Arc<dyn DataChannel>,
    pending: Vec<RTCIceCandidateInit>,
    described: bool,
    closed: bool,
}

fn channel_init(negotiated: Option<u16>) -> RTCDataChannelInit {
    RTCDataChannelInit {
        ordered: false,
        max_retransmits: Some(0),
        protocol: PROTOCOL.to_owned(),
        negotiated,
        ..RTCDataChannelInit::default()
    }
}

/// Where a peer's sockets are bound: what the endpoint is bound to, and loopback too where that is everything.
fn udp_addresses(bind: IpAddr) -> Vec<SocketAddr> {
    let mut addresses = vec![SocketAddr::new(bind, 0)];
    if bind.is_unspecified() {
        addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
    }
    addresses
}

impl RtcPeer {
    /// `bind` is what the endpoint is bound to.
    pub async fn new(bind: IpAddr, ice: &IceConfig) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>), RtcError> {
        let (events, receiver) = mpsc::unbounded_channel();
        let servers = ice.servers.iter().map(|server| RTCIceServer {
            urls: server.urls.clone(),
            username: server.username.clone().unwrap_or_default(),
            credential: server.credential.clone().unwrap_or_default(),
        });
        let settings = SettingEngineBuilder::new()
            // A browser's `.local` candidate need not be resolved: the browser finds ours, and is then known by its packets.
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_ice_timeouts(Some(Duration::from_secs(3)), Some(Duration::from_secs(7)), Some(Duration::from_secs(1)))
            .with_ice_connection_attempts(Some(Duration::from_millis(20)), Some(500))
            .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
            .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
            .build();
        let connection = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_ice_servers(servers.collect()).build())
            .with_setting_engine(settings)
            .with_handler(Arc::new(Handler(events)))
            .with_udp_addrs(udp_addresses(bind))
            .with_data_channel_send_buffer_limit(SEND_LIMIT)
            .build()
            .await
            .map_err(RtcError::Open)?;
        let connection: Arc<dyn PeerConnection> = Arc::new(connection);
        let channel =
            connection.create_data_channel("animation", Some(channel_init(Some(0)))).await.map_err(RtcError::Open)?;
        let peer = Self { connection, channel, pending: Vec::new(), described: false, closed: false };
        Ok((peer, receiver))
    }

    /// Opens a channel of our own in-band, for a peer that does not know the negotiated one.
    pub async fn open_out_channel(&self) -> Result<Arc<dyn DataChannel>, RtcError> {
        self.connection.create_data_channel("animation-out", Some(channel_init(None))).await.map_err(RtcError::Open)
    }

    /// Answers an offer; candidates follow as events.
    pub async fn answer(&mut self, offer: String) -> Result<String, RtcError> {
        let offer = RTCSessionDescription::offer(offer).map_err(RtcError::Description)?;
        self.connection.set_remote_description(offer).await.map_err(RtcError::Description)?;
        self.described().await;
        let answer = self.connection.create_answer(None).await.map_err(RtcError::Description)?;
        let sdp = answer.sdp.clone();
        self.connection.set_local_description(answer).await.map_err(RtcError::Description)?;
        self.nudge_until_open();
        Ok(sdp)
    }

    /// Makes an offer; candidates follow as events.
    pub async fn offer(&self) -> Result<String, RtcError> {
        let offer = self.connection.create_offer(None).await.map_err(RtcError::Open)?;
        let sdp = offer.sdp.clone();
        self.connection.set_local_description(offer).await.map_err(RtcError::Open)?;
        Ok(sdp)
    }

    /// Makes an offer that restarts ICE on the same connection: DTLS, SCTP and the channels live on.
    pub async fn restart(&mut self) -> Result<String, RtcError> {
        self.connection.restart_ice().await.map_err(RtcError::Open)?;
        self.described = false;
        self.offer().await
    }

    /// Takes the answer to our offer.
    pub async fn set_answer(&mut self, answer: String) -> Result<(), RtcError> {
        let answer = RTCSessionDescription::answer(answer).map_err(RtcError::Description)?;
        self.connection.set_remote_description(answer).await.map_err(RtcError::Description)?;
        self.described().await;
        self.nudge_until_open();
        Ok(())
    }

    async fn described(&mut self) {
        self.described = true;
        for candidate in std::mem::take(&mut self.pending) {
            self.add(candidate).await;
        }
    }

    /// Takes a candidate of the peer, before or after its description.
    pub async fn add_candidate(&mut self, candidate: IceCandidate) {
        // Bounded, for a hostile peer may send them for ever.
        const MOST_PENDING: usize = 64;
        // Nobody here resolves mDNS names; see above.
        if candidate.candidate.is_empty() || candidate.candidate.contains(".local ") {
            return;
        }
        let candidate = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            ..RTCIceCandidateInit::default()
        };
        if self.described {
            self.add(candidate).await;
        } else if self.pending.len() < MOST_PENDING {
            self.pending.push(candidate);
        }
    }

    async fn add(&self, candidate: RTCIceCandidateInit) {
        if let Err(error) = self.connection.add_ice_candidate(candidate).await {
            tracing::debug!(%error, "candidate ignored");
        }
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
        Ok(description.sdp)
    }

    /// Other STUN and TURN servers from now on, such as the same with fresh credentials.
    pub async fn set_ice_servers(&self, servers: &[IceServer]) {
        let _ = servers;
    }

    /// The way that packets take.
    pub async fn route(&self) -> Option<String> {
        None
    }

    /// Any threshold setter wakes the driver.
    fn nudge_until_open(&self) {
        let channel = Arc::downgrade(&self.channel);
        tokio::spawn(async move {
            for _ in 0..NUDGES {
                tokio::time::sleep(NUDGE).await;
                let Some(channel) = channel.upgrade() else { return };
                let open = webrtc::data_channel::RTCDataChannelState::Open;
                if channel.ready_state().await.is_ok_and(|state| state == open)
                    || channel.set_buffered_amount_high_threshold(u32::MAX).await.is_err()
                {
                    return;
                }
            }
        });
    }

    pub async fn close(mut self) {
        self.closed = true;
        let _ = self.connection.close().await;
    }
}

impl Drop for RtcPeer {
    fn drop(&mut self) {
        if self.closed {
            return;
        }
        let connection = self.connection.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = connection.close().await;
            });
        }
    }
}

/// Sends a frame, unless about one already waits. `false` when it was dropped.
pub(super) async fn send_frame(channel: &Arc<dyn DataChannel>, data: FrameData<'_>) -> (bool, u64) {
    let waiting = channel.outstanding_bytes().await.unwrap_or(usize::MAX);
    if waiting > FRAME_LIMIT {
        return (false, waiting as u64);
    }
    let sent = match data {
        FrameData::Text(text) => channel.try_send_text(text).await,
        FrameData::Binary(bytes) => channel.try_send(BytesMut::from(bytes)).await,
    };
    (sent.is_ok(), waiting as u64)
}

/// One frame as it goes out.
pub(super) enum FrameData<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}
