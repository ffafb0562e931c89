//! What a relay gives to the mesh and takes from it.

use serde::Serialize;

/// Why something of the mesh is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A key that is none of ours, or a packet that is no face of its subject.
    #[error("malformed")]
    Malformed,
    /// A packet that is longer than any face.
    #[error("too large")]
    TooLarge,
    /// More frames a second than [`MeshSettings::max_fps`](super::MeshSettings::max_fps).
    #[error("too many a second")]
    TooFast,
    /// More relays or faces than [`MeshSettings`](super::MeshSettings) has room for.
    #[error("too many")]
    TooMany,
    /// A frame of a face that is not watched, or no longer.
    #[error("not watched")]
    Unwatched,
    /// A frame that was here before: by two ways, or asked for and sent.
    #[error("a duplicate")]
    Duplicate,
    /// A frame in the clear, where faces have to be sealed.
    #[error("not sealed")]
    NotSealed,
    /// A source of this relay's own sends a face of this name.
    #[error("the name is taken here")]
    Contested,
}

/// What was refused, by the reason. Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MeshRefused {
    /// [`Refusal::Malformed`].
    pub malformed: u64,
    /// [`Refusal::TooLarge`].
    pub too_large: u64,
    /// [`Refusal::TooFast`].
    pub too_fast: u64,
    /// [`Refusal::TooMany`].
    pub too_many: u64,
    /// [`Refusal::Unwatched`].
    pub unwatched: u64,
    /// [`Refusal::NotSealed`].
    pub not_sealed: u64,
    /// [`Refusal::Contested`].
    pub contested: u64,
}

impl MeshRefused {
    /// Each reason and its count.
    pub fn each(&self) -> [(&'static str, u64); 7] {
        let Self { malformed, too_large, too_fast, too_many, unwatched, not_sealed, contested } = *self;
        [
            ("malformed", malformed),
            ("too_large", too_large),
            ("too_fast", too_fast),
            ("too_many", too_many),
            ("unwatched", unwatched),
            ("not_sealed", not_sealed),
            ("contested", contested),
        ]
    }
}

/// A relay's part of a mesh. Counts are since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MeshStats {
    /// Its id there.
    pub id: String,
    /// Relays that it has a link to.
    pub links: usize,
    /// Other relays that are reached, by whichever way.
    pub relays: usize,
    /// Faces that it publishes there.
    pub faces_out: usize,
    /// Faces of others that it watches.
    pub faces_in: usize,
    /// Faces of others that there are, each name once.
    pub faces: usize,
    /// Frames published, whether or not another relay watches them.
    pub frames_out: u64,
    /// Bytes in them, without headers.
    pub bytes_out: u64,
    /// Frames received, without those refused.
    pub frames_in: u64,
    /// Bytes in them, without headers.
    pub bytes_in: u64,
    /// Frames that were not published, because a newer one was there first.
    pub dropped: u64,
    /// Frames that others published and that did not come, by their numbers.
    pub missing: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// What was not taken.
    pub refused: MeshRefused,
}

impl MeshStats {
    /// Counts a refusal.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let refused = &mut self.refused;
        *match refusal {
            Refusal::Malformed => &mut refused.malformed,
            Refusal::TooLarge => &mut refused.too_large,
            Refusal::TooFast => &mut refused.too_fast,
            Refusal::TooMany => &mut refused.too_many,
            Refusal::Unwatched => &mut refused.unwatched,
            Refusal::NotSealed => &mut refused.not_sealed,
            Refusal::Contested => &mut refused.contested,
            Refusal::Duplicate => &mut self.duplicates,
        } += 1;
    }
}
