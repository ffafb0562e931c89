//! How long frames take, by the clocks of both sides.

use std::time::Duration;

use facelink::timing::Average;
use parking_lot::Mutex;

use crate::clock::unix_ms;

/// A sender's clock further off than this is not set to the time of day.
const PLAUSIBLE_LATENCY_MS: f64 = 5000.0;

#[derive(Debug, Default)]
struct State {
    /// The peer's clock minus ours, and the round trip that it was measured by, milliseconds.
    clock: Option<(f64, f64)>,
    average: Average,
}

#[derive(Debug, Default)]
pub(super) struct Latency(Mutex<State>);

impl Latency {
    /// The peer's time of day was `theirs` within a round trip that ends now.
    pub fn compare(&self, theirs: f64, rtt: Duration) {
        let rtt = rtt.as_secs_f64() * 1000.0;
        let mut state = self.0.lock();
        // The shortest round trip gives the best clock offset. Old samples age slowly, because clocks drift.
        let best = state.clock.map_or(f64::INFINITY, |(_, best)| best * 1.02 + 0.05);
        if rtt <= best {
            state.clock = Some((theirs - (unix_ms() - rtt / 2.0), rtt));
        } else if let Some((_, rtt)) = &mut state.clock {
            *rtt = best;
        }
    }

    /// Frames arrive by another transport. The samples so far do not apply to it.
    pub fn reset(&self) {
        self.0.lock().average = Average::default();
    }

    /// Send to arrival, milliseconds. Exact for a peer whose clock was compared with ours; by the time of day for one whose
    /// clock is set; half the round trip for the rest.
    pub fn of(&self, sent_unix_ms: Option<f64>, half_trip_ms: Option<f32>) -> Option<f32> {
        let now = unix_ms();
        let mut state = self.0.lock();
        let latency = match (sent_unix_ms, state.clock) {
            (Some(sent), Some((offset, _))) => Some((now + offset - sent).clamp(0.0, 60_000.0) as f32),
            (Some(sent), None) if (0.0..PLAUSIBLE_LATENCY_MS).contains(&(now - sent)) => Some((now - sent) as f32),
            _ => half_trip_ms,
        };
        if let Some(latency) = latency {
            state.average.record(latency);
        }
        latency
    }

    pub fn average_ms(&self) -> Option<f32> {
        self.0.lock().average.get()
    }
}
