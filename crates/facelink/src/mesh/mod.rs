//! Several relays as one: what one relay gives to the others and takes from them.
//!
//! A state machine, as [`relay`](crate::relay) is: frames of this relay's faces, tokens of presence and packets of others go in
//! with `now`; packets and [`Action`]s come out. What carries them is the caller's: a network on which keys are published,
//! subscribed to and queried, with tokens of presence (liveliness), such as Zenoh.
//!
//! - Each relay announces its own faces, those that sources send to it, and never one that came by the mesh.
//! - A face of another relay is watched while a viewer here wants it; otherwise none of its frames come here. One whose relay
//!   is not reached any more is kept for a while, for another way.
//! - Of one name, a relay shows the face of a source of its own. Where it has none, that of the relay which announced it
//!   first, until that has been silent for a second: then it yields to the others.
//! - A frame is one `facelink1` packet with one face, readable by itself, or a sealed packet as it came. Each is taken once,
//!   by whichever ways and however often it comes.
//! - What others send is bounded: [`MeshSettings`]; what is refused is counted by its reason ([`MeshRefused`]).
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//! use facelink::{FaceFrame, event::SubjectId, mesh::{Action, Mesh, MeshSettings, Presence, Received, RelayId}, relay::Source};
//!
//! let (now, unix) = (Instant::now(), Duration::from_secs(1_700_000_000));
//! let [mut london, mut paris] = [1, 2].map(|id| Mesh::new(RelayId(id), MeshSettings::default()));
//! let (id, name) = (SubjectId(7), Arc::from("Ann"));
//! let ann = Source { id, name: &name, publisher: 1, room: None };
//! let (key, packet) = london.publish(&ann, &FaceFrame::neutral(), unix, (unix, now)).expect("a packet");
//! let Some(Action::Announce(face)) = london.poll(now, |_, _| true) else { panic!("a new face is announced") };
//!
//! paris.appeared(&Presence::Face(face.clone()).to_string(), now)?;
//! let wanted = |name: &str, _: Option<&Arc<str>>| name == "Ann";
//! assert_eq!(paris.poll(now, wanted), Some(Action::Watch(face.clone())), "subscribe to its frames");
//! assert_eq!(paris.poll(now, wanted), Some(Action::Ask(face)), "and ask for the newest");
//! assert_eq!(london.newest(&key).as_ref(), Some(&packet));
//! assert!(matches!(paris.receive(london.id(), "Ann", &packet, now)?, Received::Face(_)));
//! assert!(paris.receive(london.id(), "Ann", &packet, now).is_err(), "it was here before");
//! # Ok::<(), facelink::mesh::Refusal>(())
//! ```

mod key;
mod machine;
mod stats;
#[cfg(test)]
mod tests;

pub use key::{Announced, KeyError, PREFIX, Presence, RelayId, RelayIdError, frames_key, frames_keys, presence_keys};
pub use machine::{Action, Cause, Mesh, MeshSettings, Received};
pub use stats::{MeshRefused, MeshStats, Refusal};
