//! How many messages a session may send, and how many errors it is sent.

use std::time::Duration;

use facelink::time::Instant;

use parking_lot::Mutex;

/// `error` messages a second that one connection gets; the rest are counted.
const ERRORS_PER_SECOND: u32 = 20;

#[derive(Debug, Default)]
struct State {
    bucket: Option<(Instant, f32)>,
    overflowed: u32,
    errors: Option<(Instant, u32)>,
}

/// Whether messages are within the rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spent {
    Within,
    Beyond,
    /// For ten seconds' worth of messages without a pause: the connection breaks the limits.
    FarBeyond,
}

#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<State>);

impl Budget {
    /// Takes `messages` out of a bucket that fills with `limit` a second and holds twice as many.
    pub fn spend(&self, messages: u32, limit: f32, now: Instant) -> Spent {
        let mut state = self.0.lock();
        let (last, tokens) = state.bucket.unwrap_or((now, limit * 2.0));
        let refilled = tokens + now.saturating_duration_since(last).as_secs_f32() * limit;
        let tokens = refilled.min(limit * 2.0) - messages as f32;
        if tokens >= 0.0 {
            state.bucket = Some((now, tokens));
            if tokens > limit {
                state.overflowed = 0;
            }
            return Spent::Within;
        }
        state.bucket = Some((now, tokens + messages as f32));
        state.overflowed = state.overflowed.saturating_add(messages);
        if state.overflowed as f32 > limit * 10.0 { Spent::FarBeyond } else { Spent::Beyond }
    }

    /// Whether another error may be sent.
    pub fn may_complain(&self, now: Instant) -> bool {
        let mut state = self.0.lock();
        let (since, count) = match state.errors {
            Some((since, count)) if now.saturating_duration_since(since) < Duration::from_secs(1) => (since, count),
            _ => (now, 0),
        };
        state.errors = Some((since, count + 1));
        count < ERRORS_PER_SECOND
    }
}
