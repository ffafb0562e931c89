//! Recorded faces: frames at times, to be played at any rate, edited, and handed on to other tools.

mod dialect;
mod edit;
mod frames;
pub mod jsonl;
mod keys;
pub mod llf_csv;
mod rate;
mod rows;

pub use edit::{AlignError, align};
pub use frames::{LONGEST_STEP, Take, TakeError, TakeFrame};
pub use keys::{Curves, Keys, MAX_KEY_ERROR};
pub use rate::{FrameRate, FrameRateError};
