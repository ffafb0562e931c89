//! Pure decoding: bytes to frames. No sockets, no clocks, no panics.
//!
//! Every decoder takes a byte slice from outside and gives back a [`FaceFrame`](crate::FaceFrame) or a typed error that
//! names the field. Nothing here reads a clock, and nothing allocates by a length that came over the wire.

pub mod face_cap;
mod face_message;
pub mod facelink1;
pub mod float32;
pub mod fmv3;
pub mod json;
pub mod llf;
pub mod message;
pub mod mocap_text;
mod name_table;
pub mod osc;
pub mod profile;
pub mod sealed;
pub mod sniff;
pub mod trackers;
mod value;
pub mod viseme;
pub mod vmc;
pub mod vtube_studio;
pub(crate) mod window;
