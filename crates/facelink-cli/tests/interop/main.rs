//! FaceLink among real parts: Chromium, aiortc, other WebRTC stacks, OSC libraries and our own client as senders, coturn
//! between, and networks without UDP or IPv4.

#[cfg(target_os = "linux")]
mod blocked;
mod exports;
mod guide;
mod harness;
#[cfg(target_os = "linux")]
mod ipv6;
mod ltc;
mod matrix;
#[cfg(all(feature = "zenoh", target_os = "linux"))]
mod mesh;
mod obs;
mod osc;
mod senders;
mod stacks;
mod take_file;
