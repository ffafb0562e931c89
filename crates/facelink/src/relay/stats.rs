//! What a relay did.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layers::Layer;

/// Frames that were not sent to a viewer, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Thinned {
    /// The viewer asked for fewer a second.
    pub asked: u64,
    /// More did not fit its path.
    pub path: u64,
    /// A newer one was there before a packet left.
    pub replaced: u64,
}

impl Thinned {
    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.path += other.path;
        self.replaced += other.replaced;
    }
}

/// What leaves for viewers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sent {
    /// Packets, or messages in JSON.
    pub packets: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Frames in them.
    pub frames: u64,
    /// Frames that were left out.
    pub thinned: Thinned,
}

impl Sent {
    pub(super) fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.frames += other.frames;
        self.thinned.add(other.thinned);
    }
}

/// One viewer.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ViewerStats {
    /// Faces that it is sent.
    pub faces: usize,
    /// How many of them in which layer, by [`Layer::as_str`].
    pub layers: BTreeMap<Layer, usize>,
    /// What fits its path, as a share of everything that it asked for; 1 while all of it fits.
    pub share: f32,
    /// Earlier frames that each face repeats, against loss.
    pub redundancy: u8,
    /// What was sent.
    #[serde(flatten)]
    pub sent: Sent,
}

/// A relay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RelayStats {
    /// Connections that subscribed to something.
    pub viewers: usize,
    /// Connections that publish faces which viewers could be sent. Those are counted while there are viewers.
    pub publishers: usize,
    /// Such faces.
    pub faces: usize,
    /// Faces times the viewers that are sent them.
    pub subscriptions: usize,
    /// How many of those in which layer, by [`Layer::as_str`].
    pub layers: BTreeMap<Layer, usize>,
    /// Frames that came while there were viewers.
    pub frames_in: u64,
    /// What was sent since the start.
    #[serde(flatten)]
    pub sent: Sent,
}
