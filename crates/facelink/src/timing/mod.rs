//! Rate, latency, jitter and loss of a stream. No clock is read here: `now` is passed in.

mod meters;
mod rate;

pub use meters::{Average, JitterMeter, LossMeter, Order, RateMeter};
pub use rate::{GuideLaw, LinkReport, RateController};
