//! Rate, latency, jitter and loss of a stream. No clock is read here: `now` is passed in.

mod heartbeat;
mod meters;
mod rate;

pub use heartbeat::Heartbeat;
pub use meters::{Average, JitterMeter, LossMeter, Order, RateMeter};
pub use rate::{GuideLaw, LinkReport, RateController};
