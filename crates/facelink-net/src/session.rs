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
mod subscriptions;

pub(crate) use self::{
    identity::Binary,
    lanes::{Mirror, Socket, kind_of},
    state::{Action, Actions, Session, subscribe_json},
    subscriptions::Subscription,
};
pub(crate) use facelink::connection::Lane;
