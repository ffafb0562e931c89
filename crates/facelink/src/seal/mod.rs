//! End-to-end encrypted faces: SFrame (RFC 9605) over [`wire::sealed`](crate::wire::sealed) packets.
//!
//! Members of a room share a [`RoomKey`]. A [`Sealer`] writes what one connection sends, an [`Opener`] reads what arrives;
//! both take their keys from a [`KeySource`], of which [`RoomKeys`] is the one for a shared key. A relay between them sees
//! kind, layer, stream and number of each packet, its size and its time, and nothing else. `docs/sealing.md` says what this
//! protects from, and what not.
//!
//! ```
//! use std::time::Instant;
//! use facelink::{Blendshape, FaceFrame, seal::{Opened, Opener, RoomKey, RoomKeys, Sealer}, wire::facelink1::Clock};
//!
//! let key: RoomKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8".parse()?;
//! let (mut ann, mut bob) = (RoomKeys::new(key.clone()), RoomKeys::new(key));
//! // 64 random bits for each stream; a program asks the operating system for them.
//! let mut sealer = Sealer::new(|| 0x5EED_0123_4567_89AB);
//! let mut opener = Opener::new();
//!
//! let mut frame = FaceFrame::neutral();
//! frame.set(Blendshape::JawOpen, 1.0);
//! let (mut packet, now) = (Vec::new(), Instant::now());
//! sealer.seal(&ann, "Ann", &frame, Clock::Unix, now, &mut packet)?;
//!
//! let mut jaw = None;
//! opener.open(&packet, &mut bob, now, |opened| {
//!     if let Opened::Face { face, .. } = opened {
//!         jaw = face.frame.get(Blendshape::JawOpen);
//!     }
//! })?;
//! assert_eq!(jaw, Some(1.0));
//! // The same packet again is refused.
//! assert!(opener.open(&packet, &mut bob, now, |_| ()).is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod crypto;
mod key;
mod layering;
mod opener;
mod sealer;
mod source;

pub use crate::wire::window::WINDOW;
pub use crypto::CryptoError;
pub use key::{KeyError, RoomKey};
pub use opener::{MAX_STREAMS, OpenError, OpenStats, Opened, Opener};
pub use sealer::{MAX_MESSAGE, SealError, Sealer};
pub use source::{AHEAD, Epoch, GRACE, KeySource, RoomKeys};
