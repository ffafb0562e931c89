//! Peer connections of a build without the feature `webrtc`: there are none, and the types say so.

pub(crate) use crate::frame_gate::{FrameData, Sent};
use facelink::{connection::PeerState, time::Instant, wire::message::IceCandidate};

/// Why a WebRTC connection could not be made.
#[derive(Debug, thiserror::Error)]
#[error("this build has no WebRTC; see the feature `webrtc`")]
pub(crate) struct RtcError;

impl RtcError {
    pub const NO_PEERS: Self = Self;
}

/// What there is none of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Never {}

pub(crate) const fn peer_state(state: Never) -> Option<PeerState> {
    match state {}
}

pub(crate) enum PeerEvent {
    Candidate(IceCandidate),
    Gathered,
    State(Never),
    Channel(Never),
    Ended,
}

#[derive(PartialEq, Eq)]
pub(crate) enum Admission {
    TooMany,
}

pub(crate) struct RtcPeer(Never);

impl RtcPeer {
    pub async fn restart(&mut self) -> Result<String, RtcError> {
        match self.0 {}
    }

    pub async fn set_answer(&mut self, _: String) -> Result<(), RtcError> {
        match self.0 {}
    }

    pub async fn add_candidate(&mut self, _: IceCandidate) {
        match self.0 {}
    }

    pub async fn refuse(&mut self, channel: &Never) -> Admission {
        match *channel {}
    }

    pub async fn close(self) {
        match self.0 {}
    }
}

pub(crate) struct FrameSender(Never);

impl Drop for FrameSender {
    fn drop(&mut self) {
        match self.0 {}
    }
}

impl FrameSender {
    pub async fn send(&mut self, _: FrameData<'_>, _: Option<f32>, _: Instant) -> Sent {
        match self.0 {}
    }

    pub async fn send_control(&mut self, _: &str, _: Instant) -> bool {
        match self.0 {}
    }
}
