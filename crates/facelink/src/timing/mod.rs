//! Clocks, delay, playout and rate of a stream. No clock is read here: `now` is passed in.

mod backoff;
mod clock;
mod decimate;
mod delay;
mod heartbeat;
mod meters;
mod one_euro;
mod order;
mod playout;
mod present;
mod rate;
mod source_delay;

pub use backoff::Backoff;
pub use clock::{SourceClock, Stamp, micros};
pub use decimate::Decimator;
pub(crate) use decimate::{Cadence, Peaks};
pub use delay::{DelayMeter, DelayReport, LoadMeter};
pub use heartbeat::Heartbeat;
pub use meters::{Average, JitterMeter, LossMeter, Order, RateMeter};
pub use one_euro::{FaceFilter, OneEuro};
pub use order::{Disbelieved, FrameOrder, Place, Stated};
pub use playout::{Concealed, Playout, PlayoutMode, PlayoutSettings, PlayoutStats, Shown};
pub use present::PresentClock;
pub use rate::{GuideLaw, LinkReport, NetworkLaw, RateController, RateDecision, RateLaw, RateSettings};
