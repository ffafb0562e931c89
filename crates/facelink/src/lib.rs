//! The engine-free core of [FaceLink](https://github.com/facelink/facelink): live faces over the network.
//!
//! A frame goes one way through these rooms:
//!
//! - [`link`]: sockets on a tokio runtime of their own: WebRTC data channel, WebSocket, UDP of the phone apps
//! - [`wire`]: pure decoding, bytes to [`FaceFrame`]; no sockets, no clock, no panics
//! - [`subject`]: one face over time: merging partial messages, visemes, lost and silent
//! - [`simulate`]: the phone side of the apps, for games without a phone
//! - [`take`]: recorded faces
//! - [`timing`]: rate, latency and loss, with `now` passed in
//!
//! Nothing here knows of a game engine: `bevy_facelink` is the plugin for Bevy, and the `facelink` command uses this
//! crate alone.

pub mod calibration;
pub mod frame;
pub mod layers;
pub mod link;
pub mod mapping;
pub mod names;
pub mod performer;
pub mod simulate;
pub mod subject;
pub mod take;
pub mod timing;
pub mod wire;

pub use frame::{Channel, Channels, EyeGaze, FaceFrame, Gaze, HeadPose, MAX_WEIGHT, MIN_WEIGHT};
pub use names::{BLENDSHAPE_COUNT, Blendshape};
