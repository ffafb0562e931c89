//! The relay: faces of publishers in, packets for viewers out.
//!
//! A state machine, as [`connection`](crate::connection) is: `now`, frames, subscriptions and what viewers say of their paths go
//! in; packets and the time of the next ones come out. Sockets, and the time of day, are the caller's.
//!
//! - A viewer subscribes to a subject, to those of a pattern with `*`, to those of a room, or to all, with a highest rate.
//!   A late one is sent the newest frame of every face at once.
//! - What is due for one viewer at a time shares packets ([`facelink1`](crate::wire::facelink1), at most
//!   [`MAX_BUNDLE`](crate::wire::facelink1::bundle::MAX_BUNDLE) bytes).
//! - Each face has nested temporal layers ([`Layer`]). Which one a viewer is sent is decided by what it asked for, by what fits
//!   its path, by who speaks, and by what it put first. Layers change where the shown face does not jump.
//! - Newest wins: what has not left is replaced, and nothing queues. Every number that others decide is bounded.
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//! use facelink::{FaceFrame, event::SubjectId, relay::{Format, Output, Relay, RelaySettings, Source, Subscription}};
//!
//! let (start, unix) = (Instant::now(), Duration::from_secs(1_700_000_000));
//! let mut relay = Relay::new(RelaySettings::default());
//! let facelink1 = Subscription { format: Format::Facelink1, ..Subscription::default() };
//! relay.subscribe(7, Some("A*"), facelink1, start)?;
//! for (id, name) in [(1, "Ann"), (2, "Al"), (3, "Bob")] {
//!     let source = Source { id: SubjectId(id), name: &Arc::from(name), publisher: 1, room: None };
//!     relay.publish(&source, &FaceFrame::neutral(), start, start);
//! }
//! let due = relay.timeout().expect("there is something to send");
//! let mut packets = 0;
//! relay.poll(due, unix, |_viewer| true, |viewer, output| {
//!     assert!(viewer == 7 && matches!(output, Output::Packet(packet) if packet[1] == 2), "Ann and Al, together");
//!     packets += 1;
//! });
//! assert_eq!(packets, 1);
//! # Ok::<(), facelink::relay::SubscribeError>(())
//! ```

mod budget;
mod face;
mod layers;
mod machine;
mod mouth;
mod output;
mod stats;
mod subscription;
#[cfg(test)]
mod tests;
mod viewer;

pub use layers::{Layer, Layered, Layers};
pub use machine::{Relay, RelaySettings, Source};
pub use output::Output;
pub use stats::{RelayStats, Sent, Thinned, ViewerStats};
pub use subscription::{Format, MAX_PATTERNS, MAX_SUBSCRIPTIONS, RoomFilter, SubscribeError, Subscription};
