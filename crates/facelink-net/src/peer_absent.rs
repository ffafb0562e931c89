//! What the endpoint answers to offers in a build without the feature `webrtc`, and a room's peers get in a browser.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{ice::PeerConfig, peer_handle::Signal, rtc::RtcError, session::Session};

pub(crate) async fn accept(
    _: &Arc<Session>,
    _: String,
    _: Signal,
    _: CancellationToken,
    _: &PeerConfig,
) -> Result<String, RtcError> {
    Err(RtcError::NO_PEERS)
}

pub(crate) async fn offer(
    _: &Arc<Session>,
    _: Signal,
    _: CancellationToken,
    _: &PeerConfig,
) -> Result<String, RtcError> {
    Err(RtcError::NO_PEERS)
}
