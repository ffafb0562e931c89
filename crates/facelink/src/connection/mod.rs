//! One connection between a client and an endpoint, without I/O.
//!
//! A [`Connection`] decides which transport carries frames and what has to be opened, closed, pinged or repeated. It is
//! the same type on both sides: the dialling side opens a WebSocket at once and a WebRTC data channel next to it, the
//! accepting side answers. Neither reads a clock, opens a socket or spawns a task. The driver
//!
//! 1. reports what happened on its transports by the `on_*` methods, each with the time `now`,
//! 2. drains [`poll_action`](Connection::poll_action) (what to do) and [`poll_event`](Connection::poll_event) (what the
//!    application has to handle),
//! 3. calls [`on_timeout`](Connection::on_timeout) at the time that [`poll_timeout`](Connection::poll_timeout) gives,
//! 4. asks [`route`](Connection::route) for each frame.
//!
//! Sockets and peer connections are numbered. Reports of one that was replaced have no effect, so a driver need
//! not wait for a transport to end before the next one begins.
//!
//! # Transports
//!
//! Frames leave by the WebSocket from the first moment. They move to the data channel when it has answered a ping. While
//! the channel is suspect (nothing has answered for 200 ms, or for three round trips and 100 ms), numbered frames leave by
//! both and the receiver takes each number once; frames without a number leave by the WebSocket. When the channel answers
//! again, frames leave by it alone.
//!
//! | State of the data channel | Numbered frames | Frames without a number |
//! |---|---|---|
//! | none, or not proven | WebSocket | WebSocket |
//! | proven | channel | channel |
//! | suspect, WebSocket ready | both | WebSocket |
//! | suspect, no WebSocket | channel | channel |
//!
//! # Recovery
//!
//! | What fails | The dialling side | The accepting side |
//! |---|---|---|
//! | WebSocket closed or reset | dials again with backoff and resumes | keeps the connection while the channel is open |
//! | WebSocket silent | dials again after 2 s | gives it up after 6 s |
//! | channel closed | WebSocket at once; another channel after the backoff | WebSocket |
//! | channel silent | ICE restart after 2 s, a new peer connection 0.7 s later | gives it up after 8 s |
//! | network changed | both anew at once | is resumed |
//! | goodbye heard | - | ends at once; the face leaves within a second |

mod accept;
mod channel;
mod dial;
mod link;
mod machine;
mod shared;
mod socket;
mod types;

pub use machine::Connection;
pub use types::{
    Action, CLOSE_GOODBYE, CLOSE_LIMITS, CLOSE_RECONNECTING, CLOSE_RESUMED, CLOSE_STOPPING, CLOSE_UNAUTHORISED, Cause,
    Close, Config, Event, Lane, PeerId, PeerState, Route, SocketId,
};
