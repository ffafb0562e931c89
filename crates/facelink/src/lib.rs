//! The engine-free core of [FaceLink](https://github.com/facelink/facelink): live faces as data, without sockets,
//! threads, files or clocks.
//!
//! Data flow, from bytes to weights:
//!
//! - [`wire`]: pure decoding, bytes to [`FaceFrame`]
//! - [`subject`]: one face over time: merging of partial messages, visemes, lost and silent
//! - [`calibration`], [`layers`], [`mapping`]: neutral faces, expressions and speech, morph targets of a rig
//! - [`timing`]: source clocks, jitter buffer, rate, latency and loss
//! - [`connection`]: both sides of a connection as a state machine, without I/O
//! - [`event`], [`source`]: what a source hands to an engine
//! - [`take`], [`performer`], [`simulate`]: recorded faces, a synthetic performer, the phone side of the apps
//!
//! Time is an argument: every function that needs it takes `now`. Sockets are in `facelink-net`, the plugin for Bevy is
//! `bevy_facelink`.

pub mod calibration;
pub mod connection;
pub mod event;
pub mod frame;
pub mod layers;
pub mod mapping;
pub mod names;
pub mod performer;
pub mod simulate;
pub mod source;
pub mod subject;
pub mod take;
pub mod timing;
pub mod wire;

pub use frame::{Channel, Channels, EyeGaze, FaceFrame, Gaze, HeadPose, MAX_WEIGHT, MIN_WEIGHT};
pub use names::{BLENDSHAPE_COUNT, Blendshape};
