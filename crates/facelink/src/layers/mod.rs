//! Layers over a live face: expressions, idle animation, speech. Pure: time is passed in, and a frame allocates nothing.
//!
//! A layer moves some of the 52 shapes. How it is combined with the face below is a [`BlendRule`], one for each
//! [`ChannelGroup`].

mod blend;
mod expression;
mod idle;
mod speech;
mod track;

pub use crate::groups::{ChannelGroup, GroupSet};
pub use blend::{BlendRule, BlendRules};
pub use expression::{Expression, ExpressionError, ExpressionMix, USUAL_FADE};
pub use idle::{IdleLife, IdlePose, IdleSettings};
pub use speech::LiveSpeech;
pub use track::{TrackError, VisemeTrack};

/// Slow at both ends: `3x² - 2x³`.
fn smooth(x: f32) -> f32 {
    let x = x.clamp(0.0, 1.0);
    x * x * (3.0 - 2.0 * x)
}
