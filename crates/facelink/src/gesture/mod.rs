//! Expressions and head gestures that are recognised: rules over a face that yield events when they start and end.
//!
//! A [`GestureSet`] is data, read from RON or JSON. A [`GestureRecognizer`] follows one face by such a set: it gets each frame
//! with its time, and reports what started and ended.
//!
//! ```
//! use std::time::Duration;
//! use facelink::{Blendshape, gesture::{GestureRecognizer, GestureSet}, mapping::Face};
//!
//! let set: GestureSet = r#"(
//!     built_in: false,
//!     gestures: [(name: "jaw_dropped", when: [(from: "jawOpen", above: 0.6)], hold: 0.2)],
//! )"#.parse()?;
//! let mut recognizer = GestureRecognizer::new(&set)?;
//!
//! let mut weights = [0.0; 52];
//! weights[Blendshape::JawOpen.index()] = 0.9;
//! let mut seen = Vec::new();
//! for frame in 0..20 {
//!     let now = Duration::from_millis(16 * frame);
//!     recognizer.update(&Face { weights: &weights, ..Face::default() }, now, |event| seen.push(event));
//! }
//! assert_eq!((&*seen[0].name, seen[0].active), ("jaw_dropped", true));
//! assert_eq!(seen[0].at, Duration::from_millis(208), "the first frame after the hold time");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod recognizer;
mod rule;
mod swings;
#[cfg(test)]
mod tests;

pub use recognizer::{GestureEvent, GestureRecognizer};
pub use rule::{Condition, Gesture, GestureError, GestureSet, HeadAxis, MAX_GESTURES, Swings};
