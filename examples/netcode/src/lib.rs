//! What the three examples share, so that each shows its netcode alone: a performer, a path that loses packets, and what is
//! measured at the other end of it.
//!
//! A trial is a server with a player who has a face, and two clients that show it, one of which joins late. It runs twice at
//! once: with faces as payloads of `facelink::netcode`, and with the 52 weights as floats, shown as they come.

mod face;
mod floats;
mod measure;
mod path;
mod trial;

pub use face::{FacesTo, Performer, ShownFace};
pub use floats::{Floats, replicate_floats, take_floats};
pub use trial::{Joined, Sends, run};
