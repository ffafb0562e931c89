//! Sizes of the tables: how many cases of each kind the model distinguishes.

use crate::layers::ChannelGroup;

/// How far back the frame lies that another builds upon: 1, 2, 3 to 4, 5 to 8, 9 to 16, more.
pub(super) const LAGS: usize = 6;
/// Shapes that move: none, up to 4, up to 12, up to 24, more.
pub(super) const ACTIVITIES: usize = 5;
/// Groups of shapes: all but the head's.
pub(super) const GROUPS: usize = ChannelGroup::ALL.len() - 1;
/// Neither the one before it nor its partner moved, one of them, both.
pub(super) const NEAR: usize = 3;
/// Bits of the step of a shape, and of another value.
pub(super) const SIZES: usize = 8;
pub(super) const OTHER_SIZES: usize = 16;
/// Rotation, position, gaze.
pub(super) const KINDS: usize = 3;
