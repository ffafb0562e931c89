//! FaceLink among real parts: Chromium, aiortc, other WebRTC stacks, OSC libraries and our own client as senders, coturn
//! between, and networks without UDP.

#[cfg(target_os = "linux")]
mod blocked;
mod exports;
mod guide;
mod harness;
mod matrix;
mod osc;
mod senders;
mod stacks;
