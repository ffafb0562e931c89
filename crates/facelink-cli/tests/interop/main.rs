//! FaceLink among real parts: Chromium, aiortc and our own client as senders, coturn between, and networks without UDP.

mod clients;
mod harness;
mod matrix;
