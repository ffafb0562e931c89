//! Frames on a data channel, and whether one more may go out.

use std::{collections::VecDeque, time::Duration};

use facelink::time::Instant;

/// Bytes of a channel that may be in flight or waiting, whatever their age.
const MAX_BYTES: u64 = 32 * 1024;
/// A frame that is this much older than one and a half round trips and still not acknowledged waits somewhere. A receiver
/// may hold its acknowledgement back by 200 ms (RFC 9260, 6.2), which slow senders see.
const PATIENCE: Duration = Duration::from_millis(250);
/// The round trip that is assumed until one is measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(100);
/// Longest round trip that is believed.
const MAX_RTT: Duration = Duration::from_secs(2);

/// One frame as it goes out.
pub(crate) enum FrameData<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sent {
    /// `false` when it was dropped.
    pub sent: bool,
    /// Bytes of the channel that were in flight or waiting before it.
    pub waiting_bytes: u64,
    /// Age of the oldest message in flight, milliseconds.
    pub oldest_ms: f32,
}

/// Holds frames back while the oldest one in flight has waited for longer than the path explains. What is merely in
/// flight on a long path does not count.
///
/// What the transport has released (acknowledged or abandoned) is known as a sum alone, so frames count as released in
/// the order in which they were sent.
#[derive(Debug, Default)]
pub(crate) struct FrameGate {
    /// Bytes handed to the transport so far.
    handed: u64,
    /// When they were: the value of `handed` after each message, oldest first.
    under_way: VecDeque<(u64, Instant)>,
}

/// What the gate sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    /// Whether a frame may go.
    pub open: bool,
    /// Age of the oldest message that is still in flight.
    pub oldest: Duration,
}

impl FrameGate {
    /// A message was handed to the transport.
    pub fn handed(&mut self, bytes: usize, now: Instant) {
        self.handed += bytes as u64;
        self.under_way.push_back((self.handed, now));
    }

    /// Whether a frame may follow, with so many bytes not yet released by the transport. Bytes that went past the gate
    /// (control messages) make it cautious until they are released.
    pub fn passage(&mut self, outstanding: u64, rtt_ms: Option<f32>, now: Instant) -> Passage {
        let let_go = self.handed.saturating_sub(outstanding);
        while self.under_way.front().is_some_and(|(end, _)| *end <= let_go) {
            self.under_way.pop_front();
        }
        let oldest = self.under_way.front().map_or(Duration::ZERO, |(_, at)| now.saturating_duration_since(*at));
        let rtt = rtt_ms.filter(|rtt| *rtt >= 0.0).map_or(UNKNOWN_RTT, |rtt| {
            Duration::try_from_secs_f32(rtt / 1000.0).map_or(MAX_RTT, |rtt| rtt.min(MAX_RTT))
        });
        let open = oldest <= rtt.mul_f32(1.5) + PATIENCE && outstanding < MAX_BYTES;
        Passage { open, oldest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: usize = 250;

    /// A path in virtual time: what is sent is released after `delay`, unless it is stalled.
    struct Path {
        gate: FrameGate,
        start: Instant,
        under_way: VecDeque<(u64, usize)>,
    }

    impl Path {
        fn new() -> Self {
            Self { gate: FrameGate::default(), start: Instant::now(), under_way: VecDeque::new() }
        }

        /// One frame at this millisecond; what was sent before `ms - delay` has been released.
        fn frame(&mut self, ms: u64, delay: u64, rtt: Option<f32>) -> Passage {
            self.under_way.retain(|(sent, _)| sent + delay > ms);
            let outstanding = self.under_way.iter().map(|(_, bytes)| *bytes as u64).sum();
            let now = self.start + Duration::from_millis(ms);
            let passage = self.gate.passage(outstanding, rtt, now);
            if passage.open {
                self.gate.handed(FRAME, now);
                self.under_way.push_back((ms, FRAME));
            }
            passage
        }
    }

    #[test]
    fn gate_long_path_stays_open() {
        for (fps, rtt) in [(60, 1), (60, 200), (60, 600), (120, 300), (5, 1), (15, 150)] {
            let mut path = Path::new();
            for i in 0..600 {
                // Delayed acknowledgements come on top of the round trip.
                let passage = path.frame(i * 1000 / fps, rtt + 200, Some(rtt as f32));
                assert!(passage.open, "{fps} fps, {rtt} ms: {passage:?}");
            }
        }
    }

    #[test]
    fn gate_stall_closes_and_bounds_the_bytes() {
        let mut path = Path::new();
        let mut last = 0;
        for i in 0..600 {
            let ms = i * 1000 / 60;
            if path.frame(ms, u64::MAX / 2, Some(20.0)).open {
                last = ms;
            }
        }
        assert!((200..=280).contains(&last), "{last}");
        assert!(path.gate.under_way.len() < 20);
    }

    #[test]
    fn gate_reopens_when_the_path_drains() {
        let mut path = Path::new();
        for ms in (0..5000).step_by(16) {
            path.frame(ms, u64::MAX / 2, Some(20.0));
        }
        assert!(!path.frame(5000, u64::MAX / 2, Some(20.0)).open);
        assert_eq!(path.frame(5016, 20, Some(20.0)), Passage { open: true, oldest: Duration::ZERO });
    }

    #[test]
    fn gate_bytes_are_bounded_at_any_age() {
        let mut gate = FrameGate::default();
        let now = Instant::now();
        gate.handed(MAX_BYTES as usize, now);
        assert!(!gate.passage(MAX_BYTES, None, now).open);
        assert!(gate.passage(MAX_BYTES - 1, None, now).open);
    }

    #[test]
    fn gate_odd_round_trips() {
        let mut gate = FrameGate::default();
        let now = Instant::now();
        gate.handed(FRAME, now);
        for rtt in [f32::NAN, f32::INFINITY, -1.0, f32::MAX] {
            assert!(gate.passage(250, Some(rtt), now + Duration::from_millis(399)).open);
            assert!(!gate.passage(250, Some(rtt), now + Duration::from_secs(4)).open, "{rtt}");
        }
        // Bytes that were never handed over here.
        assert!(gate.passage(10_000, None, now).open);
    }

    #[test]
    fn gate_single_stuck_frame_stays_open() {
        let mut gate = FrameGate::default();
        let start = Instant::now();
        for i in 0..600_u64 {
            let now = start + Duration::from_millis(i * 16);
            // The first frame never gets through; the others need 50 ms.
            let outstanding = FRAME as u64 * (1 + i.min(3));
            assert!(gate.passage(if i == 0 { 0 } else { outstanding }, Some(50.0), now).open);
            gate.handed(FRAME, now);
        }
    }
}
