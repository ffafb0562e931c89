//! One WebRTC peer, the browser's own `RTCPeerConnection`, and the data channel on it.

use bytes::Bytes;
use js_sys::{Array, ArrayBuffer, Reflect, Uint8Array};
use tokio::sync::mpsc;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelInit, RtcDataChannelState,
    RtcDataChannelType, RtcIceCandidateInit, RtcIceGatheringState, RtcIceServer, RtcIceTransportPolicy,
    RtcOfferOptions, RtcPeerConnection, RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType,
    RtcSessionDescriptionInit,
};

pub(crate) use crate::frame_gate::{FrameData, Sent};
use crate::{
    frame_gate::FrameGate,
    ice::{CHANNEL_LABEL, CHANNEL_PROTOCOL, IceConfig, IcePolicy},
    page::reason,
};
use facelink::{
    connection::PeerState,
    time::Instant,
    wire::json::{IceCandidate, IceServer},
};

/// Bytes that may wait in the channel before a control message is dropped.
const SEND_LIMIT: u32 = 64 * 1024;
/// What a channel may have received that was not read yet; further messages are dropped.
const HEARD_QUEUE: usize = 256;

/// Why a WebRTC connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RtcError {
    #[error("the browser opens no WebRTC connection: {0}")]
    Open(String),
    #[error("field `sdp`: {0}")]
    Description(String),
    #[error("connections between the members of a room are not made by a game in a browser")]
    NoPeers,
}

impl RtcError {
    pub const NO_PEERS: Self = Self::NoPeers;
}

/// What a state means to a [`Connection`](facelink::connection::Connection), if it means anything.
pub(crate) const fn peer_state(state: RtcPeerConnectionState) -> Option<PeerState> {
    match state {
        RtcPeerConnectionState::Connected => Some(PeerState::Connected),
        RtcPeerConnectionState::Disconnected => Some(PeerState::Disconnected),
        RtcPeerConnectionState::Failed => Some(PeerState::Failed),
        RtcPeerConnectionState::Closed => Some(PeerState::Closed),
        _ => None,
    }
}

/// What happens on a peer.
pub(crate) enum PeerEvent {
    /// Our own candidate.
    Candidate(IceCandidate),
    Gathered,
    State(RtcPeerConnectionState),
    /// The peer opened a channel in-band.
    Channel(RtcDataChannel),
    /// Nothing moves any more; a browser's connection says so by its state.
    #[expect(dead_code, reason = "of the other peers")]
    Ended,
}

/// What becomes of a channel that the peer opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It was closed.
    Refused,
    /// It is never too many: a browser keeps no record of closed channels.
    TooMany,
}

/// What a data channel's reader reports.
pub(crate) enum Heard {
    Open,
    Text(String),
    Binary(Bytes),
    Closed,
}

/// One peer connection with our channel on it.
pub(crate) struct RtcPeer {
    connection: RtcPeerConnection,
    /// Negotiated by both sides with id 0.
    pub channel: RtcDataChannel,
    described: bool,
    /// Those that came before the description.
    pending: Vec<IceCandidate>,
    _callbacks: Callbacks,
}

/// Kept for as long as the browser may call them.
struct Callbacks {
    candidate: Closure<dyn FnMut(RtcPeerConnectionIceEvent)>,
    gathering: Closure<dyn FnMut()>,
    state: Closure<dyn FnMut()>,
    channel: Closure<dyn FnMut(RtcDataChannelEvent)>,
    opened: Closure<dyn FnMut()>,
    closed: Closure<dyn FnMut()>,
    message: Closure<dyn FnMut(MessageEvent)>,
}

/// Candidates of a peer that wait for its description.
const MAX_PENDING: usize = 64;

fn configuration(ice: &IceConfig) -> RtcConfiguration {
    let servers = Array::new();
    // What browsers accept: TURN over TCP and TLS among it.
    for IceServer { urls, username, credential } in ice.for_clients() {
        let server = RtcIceServer::new();
        server.set_urls(&urls.iter().map(|url| JsValue::from_str(url)).collect::<Array>());
        if let Some(username) = username {
            server.set_username(&username);
        }
        if let Some(credential) = credential {
            server.set_credential(&credential);
        }
        servers.push(&server);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers);
    configuration.set_ice_transport_policy(match ice.policy {
        IcePolicy::All => RtcIceTransportPolicy::All,
        IcePolicy::Relay => RtcIceTransportPolicy::Relay,
    });
    configuration
}

fn channel_init() -> RtcDataChannelInit {
    let init = RtcDataChannelInit::new();
    init.set_ordered(false);
    init.set_max_retransmits(0);
    init.set_protocol(CHANNEL_PROTOCOL);
    init.set_negotiated(true);
    init.set_id(0);
    init
}

/// The text of a description that the browser has made.
fn sdp_of(description: &JsValue) -> Option<String> {
    Reflect::get(description, &JsValue::from_str("sdp")).ok()?.as_string()
}

impl RtcPeer {
    /// A new one, what happens on it, and what its channel hears.
    pub fn open(
        ice: &IceConfig,
    ) -> Result<(Self, mpsc::UnboundedReceiver<PeerEvent>, mpsc::Receiver<Heard>), RtcError> {
        let failed = |error: JsValue| RtcError::Open(reason(&error));
        let connection = RtcPeerConnection::new_with_configuration(&configuration(ice)).map_err(failed)?;
        let channel = connection.create_data_channel_with_data_channel_dict(CHANNEL_LABEL, &channel_init());
        channel.set_binary_type(RtcDataChannelType::Arraybuffer);
        // Candidates, states and channels of one connection: the browser limits them.
        let (events, receiver) = mpsc::unbounded_channel();
        let (heard, hears) = mpsc::channel(HEARD_QUEUE);

        let candidate = Closure::new({
            let events = events.clone();
            move |event: RtcPeerConnectionIceEvent| {
                if let Some(candidate) = event.candidate().filter(|candidate| !candidate.candidate().is_empty()) {
                    let _ = events.send(PeerEvent::Candidate(IceCandidate {
                        candidate: candidate.candidate(),
                        sdp_mid: candidate.sdp_mid(),
                        sdp_mline_index: candidate.sdp_m_line_index(),
                    }));
                }
            }
        });
        let gathering = Closure::new({
            let (events, connection) = (events.clone(), connection.clone());
            move || {
                if connection.ice_gathering_state() == RtcIceGatheringState::Complete {
                    let _ = events.send(PeerEvent::Gathered);
                }
            }
        });
        let state = Closure::new({
            let (events, connection) = (events.clone(), connection.clone());
            move || drop(events.send(PeerEvent::State(connection.connection_state())))
        });
        let opened_channel = Closure::new(move |event: RtcDataChannelEvent| {
            let _ = events.send(PeerEvent::Channel(event.channel()));
        });
        // What does not fit is not worth stalling the connection for.
        let opened = Closure::new({
            let heard = heard.clone();
            move || drop(heard.try_send(Heard::Open))
        });
        let closed = Closure::new({
            let heard = heard.clone();
            move || drop(heard.try_send(Heard::Closed))
        });
        let message = Closure::new(move |event: MessageEvent| {
            let data = event.data();
            let message = match data.dyn_into::<ArrayBuffer>() {
                Ok(buffer) => Heard::Binary(Uint8Array::new(&buffer).to_vec().into()),
                Err(other) => match other.as_string() {
                    Some(text) => Heard::Text(text),
                    None => return,
                },
            };
            let _ = heard.try_send(message);
        });
        let callbacks = Callbacks { candidate, gathering, state, channel: opened_channel, opened, closed, message };
        callbacks.set(&connection, &channel);
        let peer = Self { connection, channel, described: false, pending: Vec::new(), _callbacks: callbacks };
        Ok((peer, receiver, hears))
    }

    /// Makes an offer; candidates follow as events.
    pub async fn offer(&self) -> Result<String, RtcError> {
        self.offer_with(&RtcOfferOptions::new()).await
    }

    async fn offer_with(&self, options: &RtcOfferOptions) -> Result<String, RtcError> {
        let failed = |error: JsValue| RtcError::Open(reason(&error));
        let offer = self.connection.create_offer_with_rtc_offer_options(options);
        let offer = JsFuture::from(offer).await.map_err(failed)?;
        let sdp = sdp_of(&offer).ok_or_else(|| RtcError::Open("its offer has no text".to_owned()))?;
        let offer = RtcSessionDescriptionInit::new(RtcSdpType::Offer);
        offer.set_sdp(&sdp);
        JsFuture::from(self.connection.set_local_description(&offer)).await.map_err(failed)?;
        Ok(sdp)
    }

    /// Makes an offer that restarts ICE on the same connection.
    pub async fn restart(&mut self) -> Result<String, RtcError> {
        let options = RtcOfferOptions::new();
        options.set_ice_restart(true);
        self.described = false;
        self.offer_with(&options).await
    }

    /// Takes the answer to our offer.
    pub async fn set_answer(&mut self, answer: String) -> Result<(), RtcError> {
        let description = RtcSessionDescriptionInit::new(RtcSdpType::Answer);
        description.set_sdp(&answer);
        JsFuture::from(self.connection.set_remote_description(&description))
            .await
            .map_err(|error| RtcError::Description(reason(&error)))?;
        self.described = true;
        for candidate in std::mem::take(&mut self.pending) {
            self.take_candidate(candidate).await;
        }
        Ok(())
    }

    /// Takes a candidate of the peer, before or after its description.
    pub async fn add_candidate(&mut self, candidate: IceCandidate) {
        if self.described {
            self.take_candidate(candidate).await;
        } else if self.pending.len() < MAX_PENDING {
            self.pending.push(candidate);
        }
    }

    async fn take_candidate(&self, candidate: IceCandidate) {
        let init = RtcIceCandidateInit::new(&candidate.candidate);
        init.set_sdp_mid(candidate.sdp_mid.as_deref());
        init.set_sdp_m_line_index(candidate.sdp_mline_index);
        let added = self.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
        if let Err(error) = JsFuture::from(added).await {
            tracing::debug!(error = reason(&error), "candidate ignored");
        }
    }

    /// Closes a channel that the peer has opened.
    pub async fn refuse(&mut self, channel: &RtcDataChannel) -> Admission {
        channel.close();
        Admission::Refused
    }

    pub async fn close(self) {}
}

impl Drop for RtcPeer {
    fn drop(&mut self) {
        Callbacks::unset(&self.connection, &self.channel);
        self.channel.close();
        self.connection.close();
    }
}

impl Callbacks {
    fn set(&self, connection: &RtcPeerConnection, channel: &RtcDataChannel) {
        connection.set_onicecandidate(Some(self.candidate.as_ref().unchecked_ref()));
        connection.set_onicegatheringstatechange(Some(self.gathering.as_ref().unchecked_ref()));
        connection.set_onconnectionstatechange(Some(self.state.as_ref().unchecked_ref()));
        connection.set_ondatachannel(Some(self.channel.as_ref().unchecked_ref()));
        channel.set_onopen(Some(self.opened.as_ref().unchecked_ref()));
        channel.set_onclose(Some(self.closed.as_ref().unchecked_ref()));
        channel.set_onmessage(Some(self.message.as_ref().unchecked_ref()));
    }

    fn unset(connection: &RtcPeerConnection, channel: &RtcDataChannel) {
        connection.set_onicecandidate(None);
        connection.set_onicegatheringstatechange(None);
        connection.set_onconnectionstatechange(None);
        connection.set_ondatachannel(None);
        channel.set_onopen(None);
        channel.set_onclose(None);
        channel.set_onmessage(None);
    }
}

/// Sends frames on one channel, and drops them rather than let them wait; see [`FrameGate`].
pub(crate) struct FrameSender {
    channel: RtcDataChannel,
    gate: FrameGate,
}

impl FrameSender {
    pub fn new(channel: RtcDataChannel) -> Self {
        Self { channel, gate: FrameGate::default() }
    }

    /// Sends a frame unless older ones wait. `rtt_ms` is the last round trip that was measured, by any means.
    pub async fn send(&mut self, data: FrameData<'_>, rtt_ms: Option<f32>, now: Instant) -> Sent {
        let waiting_bytes = u64::from(self.channel.buffered_amount());
        let passage = self.gate.passage(waiting_bytes, rtt_ms, now);
        let sent = passage.open && self.hand(data, now);
        Sent { sent, waiting_bytes, oldest_ms: passage.oldest.as_secs_f32() * 1000.0 }
    }

    /// Sends a message that must not be dropped lightly. `false` when even that was not possible.
    pub async fn send_control(&mut self, text: &str, now: Instant) -> bool {
        self.channel.buffered_amount() <= SEND_LIMIT && self.hand(FrameData::Text(text), now)
    }

    fn hand(&mut self, data: FrameData<'_>, now: Instant) -> bool {
        if self.channel.ready_state() != RtcDataChannelState::Open {
            return false;
        }
        let (length, sent) = match data {
            FrameData::Text(text) => (text.len(), self.channel.send_with_str(text)),
            FrameData::Binary(bytes) => (bytes.len(), self.channel.send_with_u8_array(bytes)),
        };
        if sent.is_ok() {
            self.gate.handed(length, now);
        }
        sent.is_ok()
    }
}
