//! The data channel to the endpoint.

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
use std::sync::Arc;

#[cfg(not(target_arch = "wasm32"))]
use bytes::Bytes;
use tokio::sync::mpsc;
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
use webrtc::data_channel::{DataChannel, DataChannelEvent};

#[cfg(target_arch = "wasm32")]
pub(super) use crate::rtc::Heard;

use crate::{
    ice::PeerConfig,
    rtc::{FrameSender, PeerEvent, RtcError, RtcPeer},
};

/// What a data channel's reader reports.
#[cfg(not(target_arch = "wasm32"))]
pub(super) enum Heard {
    Open,
    Text(String),
    Binary(Bytes),
    Closed,
}

/// A peer connection to the endpoint.
pub(super) struct Rtc {
    pub peer: RtcPeer,
    pub frames: FrameSender,
    pub events: mpsc::UnboundedReceiver<PeerEvent>,
    pub heard: mpsc::Receiver<Heard>,
}

impl Rtc {
    /// A new one, and its offer.
    #[cfg(target_arch = "wasm32")]
    pub async fn open(config: &PeerConfig) -> Result<(Self, String), RtcError> {
        let (peer, events, heard) = RtcPeer::open(&config.ice)?;
        let offer = peer.offer().await?;
        Ok((Self { frames: FrameSender::new(peer.channel.clone()), peer, events, heard }, offer))
    }

    /// A new one, and its offer.
    #[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
    pub async fn open(config: &PeerConfig) -> Result<(Self, String), RtcError> {
        let (peer, events) = RtcPeer::roaming(config.bind, &config.ice).await?;
        let offer = peer.offer().await?;
        let (sender, heard) = mpsc::channel(256);
        tokio::spawn(read(peer.channel.clone(), sender));
        Ok((Self { frames: FrameSender::new(peer.channel.clone()), peer, events, heard }, offer))
    }

    #[cfg(not(any(feature = "webrtc", target_arch = "wasm32")))]
    pub async fn open(_: &PeerConfig) -> Result<(Self, String), RtcError> {
        Err(RtcError)
    }
}

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
async fn read(channel: Arc<dyn DataChannel>, heard: mpsc::Sender<Heard>) {
    loop {
        let event = tokio::select! {
            () = heard.closed() => return,
            event = channel.poll() => event,
        };
        let message = match event {
            Some(DataChannelEvent::OnOpen) => Heard::Open,
            Some(DataChannelEvent::OnMessage(message)) if message.is_string => {
                Heard::Text(String::from_utf8_lossy(&message.data).into_owned())
            }
            Some(DataChannelEvent::OnMessage(message)) => Heard::Binary(message.data.freeze()),
            Some(DataChannelEvent::OnClose) | None => {
                let _ = heard.send(Heard::Closed).await;
                return;
            }
            Some(_) => continue,
        };
        // What does not fit is not worth stalling the connection for.
        let _ = heard.try_send(message);
    }
}
