//! What one WebSocket or WebRTC connection has said so far, and how its messages are answered.
//!
//! A session is shared by the tasks of its transports. Each part has a lock of its own, held for no call into another
//! part or the hub.

mod budget;
mod identity;
mod lanes;
mod latency;
mod messages;
mod reader;
mod receive;
mod state;
mod streams;

pub(crate) use self::{
    lanes::{Mirror, kind_of},
    state::{Action, Session, subscribe_json},
};
// What the sockets of an endpoint that listens need.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::{lanes::Socket, state::Actions};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use facelink::connection::Lane;
