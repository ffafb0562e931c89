//! HTTP and WebSocket on one port: the page, the API, and the sockets of clients.
//!
//! `server` puts the routes together; the handlers know the shared [`state`], and not each other.

mod admission;
#[cfg(feature = "http")]
mod api;
#[cfg(feature = "http")]
mod body;
#[cfg(feature = "http")]
mod calibrate;
#[cfg(all(feature = "http", feature = "tls"))]
mod certificate;
#[cfg(feature = "http")]
mod models;
#[cfg(feature = "http")]
mod offer;
#[cfg(feature = "http")]
mod page;
#[cfg(all(feature = "http", feature = "phones"))]
mod phones;
#[cfg(all(feature = "http", feature = "webrtc"))]
mod pictures;
mod server;
mod stall;
mod state;
#[cfg(feature = "http")]
mod subjects;
#[cfg(feature = "http")]
mod takes;
#[cfg(feature = "http")]
mod tokens;
#[cfg(feature = "http")]
mod view;
mod websocket;

pub(crate) use server::serve;
pub(crate) use state::{Acceptor, Server};
