//! FaceLink among real parts: Chromium, aiortc and our own client as senders, coturn between, and networks without UDP.

#[cfg(target_os = "linux")]
mod blocked;
mod guide;
mod harness;
mod matrix;
mod senders;
