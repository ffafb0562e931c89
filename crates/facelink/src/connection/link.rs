//! The state of one lane.

use std::time::Duration;

use crate::time::Instant;

use crate::timing::Heartbeat;

/// A lane carries frames if one left by it within this time.
const BUSY: Duration = Duration::from_secs(1);
/// An answer to an older ping is ignored.
const MAX_RTT: Duration = Duration::from_secs(60);

/// Pings and frames of one lane.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub beat: Heartbeat,
    last_frame: Option<Instant>,
    heard: Option<Instant>,
}

impl Link {
    pub fn frame(&mut self, now: Instant) {
        self.last_frame = Some(now);
    }

    pub fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// Forgets pings and answers from before a sleep.
    pub fn forgive(&mut self, now: Instant) {
        self.beat.forgive();
        self.heard = Some(now);
    }

    /// When anything arrived last.
    pub fn last_heard(&self) -> Option<Instant> {
        self.heard
    }

    pub fn is_busy(&self, now: Instant) -> bool {
        self.last_frame.is_some_and(|last| now.saturating_duration_since(last) < BUSY)
    }

    /// The round trip of a ping that left at `sent` and is answered now, if it is believable.
    pub fn pong(&mut self, sent: Instant, now: Instant) -> Option<Duration> {
        let rtt = now.checked_duration_since(sent).filter(|rtt| *rtt < MAX_RTT)?;
        self.beat.answered(rtt, now);
        self.heard = Some(now);
        Some(rtt)
    }

    /// When it will have been silent for `limit`: neither has a ping been answered nor anything else arrived. A peer may
    /// send and never answer.
    pub fn silent_at(&self, limit: Duration) -> Option<Instant> {
        let since = self.beat.silent_since()?;
        Some(self.heard.map_or(since, |heard| heard.max(since)) + limit)
    }
}
