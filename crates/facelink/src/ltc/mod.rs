//! Linear timecode (LTC) as sound: frames with their timecode out of samples, samples out of frames, and a clock that follows
//! them.
//!
//! The format is that of SMPTE ST 12-1: 80 bits a frame, the least significant bit of each number first, written as biphase
//! mark: every bit begins with a change of level, and a 1 has another in its middle. The last 16 bits of a frame are the sync
//! word `0011 1111 1111 1101`. Timecode is of the moment at which the first bit of its frame begins. User bits are not read.
//!
//! ```
//! use facelink::{ltc::{LtcDecoder, LtcEncoder, Timecode}, take::FrameRate};
//!
//! let rate: FrameRate = "25".parse()?;
//! let mut encoder = LtcEncoder::new(rate, 48_000.0);
//! let mut timecode = Timecode::new(10, 0, 0, 0, false);
//! let mut samples = Vec::new();
//! for _ in 0..10 {
//!     encoder.encode(timecode, &mut samples);
//!     timecode = timecode.next(25);
//! }
//! let mut found = Vec::new();
//! LtcDecoder::new(48_000.0).push(&samples, |frame| found.push(frame.timecode.to_string()));
//! assert_eq!(found.last().map(String::as_str), Some("10:00:00:08"), "the last one has no end yet");
//! # Ok::<(), facelink::take::FrameRateError>(())
//! ```

mod chase;
mod decode;
mod encode;
mod timecode;

pub use chase::{LtcChase, LtcState, Timebase};
pub use decode::{LtcDecoder, LtcFrame};
pub use encode::LtcEncoder;
pub use timecode::{Timecode, TimecodeError};

#[cfg(test)]
mod tests;

/// Bits of a frame.
const BITS: usize = 80;
/// The sync word, as the last 16 bits of a frame whose first bit is the least significant one.
const SYNC: u128 = 0xBFFC;
