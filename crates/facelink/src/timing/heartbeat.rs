//! Whether a link still answers.

use std::{collections::VecDeque, time::Duration};

use crate::time::Instant;

use super::Average;

/// Probes that are remembered at most; older ones count as lost.
const MAX_PROBES: usize = 64;
/// Weight of one answer in the average round trip.
const RTT_WEIGHT: f32 = 0.3;
/// Silence that is never suspicious: a core that sleeps, a page that is busy.
const SUSPECT_FLOOR: Duration = Duration::from_millis(200);

/// The probes (pings) of one link: when the next one is due, for how long none has been answered, and the round trip.
///
/// An answer also settles every probe that was sent before the answered one: on an unreliable link those were lost, and
/// that is not silence.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// Unanswered probes, oldest first.
    waiting: VecDeque<Instant>,
    last: Option<Instant>,
    rtt_ms: Average,
    answered: bool,
}

impl Heartbeat {
    /// Whether `interval` has passed since the last probe.
    pub fn is_due(&self, interval: Duration, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= interval)
    }

    /// When the next probe is due; `None` before the first one, which is due at once.
    pub fn due(&self, interval: Duration) -> Option<Instant> {
        self.last.map(|last| last + interval)
    }

    /// A probe leaves.
    pub fn sent(&mut self, now: Instant) {
        if self.waiting.len() == MAX_PROBES {
            // The oldest stays: the silence is counted from it.
            self.waiting.remove(1);
        }
        self.waiting.push_back(now);
        self.last = Some(now);
    }

    /// The probe that left `rtt` ago was answered.
    pub fn answered(&mut self, rtt: Duration, now: Instant) {
        self.rtt_ms.record_weighted(rtt.as_secs_f32() * 1000.0, RTT_WEIGHT);
        self.answered = true;
        // A millisecond of slack, for the peer echoes a clock of another resolution.
        let sent = now.checked_sub(rtt).unwrap_or(now) + Duration::from_millis(1);
        while self.waiting.front().is_some_and(|probe| *probe <= sent) {
            self.waiting.pop_front();
        }
    }

    /// Forgets pending probes, such as after a sleep in which no answer could come.
    pub fn forgive(&mut self) {
        self.waiting.clear();
    }

    /// Whether any probe was ever answered.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Age of the oldest probe that nothing has answered; zero when all are settled.
    pub fn silence(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |probe| now.saturating_duration_since(*probe))
    }

    /// Average round trip, milliseconds.
    pub fn rtt_ms(&self) -> Option<f32> {
        self.rtt_ms.get()
    }

    /// Average round trip; zero until measured.
    pub fn rtt(&self) -> Duration {
        Duration::from_secs_f32(self.rtt_ms.get().unwrap_or(0.0) / 1000.0)
    }

    /// When the oldest probe that nothing has answered left; `None` when all are settled.
    pub fn silent_since(&self) -> Option<Instant> {
        self.waiting.front().copied()
    }

    /// When the silence will be longer than the link's round trip explains: after 200 ms, or three round trips and
    /// 100 ms. `None` when all probes are settled.
    pub fn suspect_at(&self) -> Option<Instant> {
        let patience = (self.rtt() * 3 + Duration::from_millis(100)).max(SUSPECT_FLOOR);
        self.silent_since().map(|since| since + patience)
    }

    /// Whether the silence is longer than the link's round trip explains.
    pub fn is_suspect(&self, now: Instant) -> bool {
        self.suspect_at().is_some_and(|at| now >= at)
    }

    /// Whether frames may still be handed to a reliable stream: no longer than a short while after it fell silent, so
    /// that it never holds many of them.
    pub fn takes_frames(&self, now: Instant) -> bool {
        self.silence(now) <= self.rtt() * 2 + Duration::from_millis(250)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn heartbeat_silence_counts_from_oldest_unanswered_probe() {
        let start = Instant::now();
        let mut beat = Heartbeat::default();
        assert!(beat.is_due(MS * 100, start) && !beat.has_answered());
        for i in 0..5 {
            beat.sent(start + MS * 100 * i);
        }
        assert!(!beat.is_due(MS * 100, start + MS * 450));
        assert_eq!(beat.silence(start + MS * 450), MS * 450);
        // The third is answered after 40 ms: the two before it were lost.
        beat.answered(MS * 40, start + MS * 240);
        assert_eq!(beat.silence(start + MS * 450), MS * 150);
        assert_eq!(beat.rtt_ms(), Some(40.0));
        beat.answered(MS * 40, start + MS * 440);
        assert_eq!(beat.silence(start + MS * 450), Duration::ZERO);
    }

    #[test]
    fn heartbeat_one_lost_probe_is_not_suspicious_and_dead_link_is() {
        let start = Instant::now();
        let mut beat = Heartbeat::default();
        let mut suspected = None;
        for ms in 0..2000_u32 {
            let now = start + MS * ms;
            if beat.is_due(MS * 100, now) {
                beat.sent(now);
            }
            // 20 ms away; the probe of 500 ms is lost, and everything from 1000 ms on.
            if ms % 100 == 20 && ms != 520 && ms < 1000 {
                beat.answered(MS * 20, now);
            }
            if beat.is_suspect(now) && suspected.is_none() {
                suspected = Some(ms);
            }
        }
        assert_eq!(suspected, Some(1200), "200 ms after the first probe that nothing answered");
    }

    #[test]
    fn heartbeat_slow_link_gets_longer_timeout() {
        let start = Instant::now();
        let mut beat = Heartbeat::default();
        beat.sent(start);
        beat.answered(MS * 300, start + MS * 300);
        beat.sent(start + MS * 400);
        assert!(!beat.is_suspect(start + MS * 1300) && beat.is_suspect(start + MS * 1500));
        assert!(beat.takes_frames(start + MS * 1200) && !beat.takes_frames(start + MS * 1300));
    }

    #[test]
    fn heartbeat_probes_are_bounded() {
        let start = Instant::now();
        let mut beat = Heartbeat::default();
        for i in 0..10_000 {
            beat.sent(start + MS * i);
        }
        assert_eq!(beat.waiting.len(), MAX_PROBES);
        assert_eq!(beat.silence(start + MS * 10_000), MS * 10_000);
    }
}
