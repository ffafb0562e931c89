//! HTTP and WebSocket on one port: the page, the API, and the sockets of clients.
//!
//! `server` puts the routes together; the handlers know the shared [`state`], and not each other.

mod admission;
mod api;
mod models;
mod page;
mod remote;
mod server;
mod state;
mod websocket;

pub(crate) use server::serve;
pub(crate) use state::Server;
