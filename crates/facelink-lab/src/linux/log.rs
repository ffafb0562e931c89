//! What both ends reported, and what a viewer saw.

use std::{
    collections::HashMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{
    common::{Res, now_us},
    proc::Proc,
};

/// A frame as the engine got it; times in Unix microseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub number: u64,
    pub at: i64,
    pub webrtc: bool,
}

/// Everything that was reported so far.
#[derive(Debug, Default)]
pub struct Log {
    pub sends: HashMap<u64, i64>,
    pub arrivals: Vec<Arrival>,
    pub states: Vec<(i64, String)>,
    /// When the WebSocket came back.
    pub reconnects: Vec<i64>,
    pub listening: Vec<i64>,
}

/// What a viewer saw in a span of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub sent: usize,
    /// Frames sent in the span that never came.
    pub lost: usize,
    /// Frames that were no newer than the newest.
    pub backwards: usize,
    /// Greatest age of the newest frame, milliseconds.
    pub worst_age_ms: f64,
    /// Greatest time between two frames at the sender, milliseconds: no transport can do better than that.
    pub sender_gap_ms: f64,
}

impl Log {
    pub fn take(&mut self, line: &Value) {
        let time = line["t"].as_i64().unwrap_or_default();
        if let Some(frame) = line["f"].as_array() {
            let number = frame.first().and_then(Value::as_u64).unwrap_or_default();
            let at = frame.get(1).and_then(Value::as_i64).unwrap_or_default();
            self.arrivals.push(Arrival { number, at, webrtc: frame.get(2).is_some_and(|kind| kind == "webrtc") });
        } else if let (Some(number), Some(at)) = (line["s"][0].as_u64(), line["s"][1].as_i64()) {
            self.sends.insert(number, at);
        } else if let Some(state) = line["state"].as_str() {
            self.states.push((time, state.to_owned()));
        } else if line["reconnects"].is_u64() {
            self.reconnects.push(time);
        } else if line["listening"].is_string() {
            self.listening.push(time);
        }
    }

    pub fn state(&self) -> &str {
        self.states.last().map_or("", |(_, state)| state)
    }

    /// The first arrival of a frame that was sent at `since` or later and that `wanted` accepts.
    pub fn first(&self, since: i64, wanted: impl Fn(&Arrival) -> bool) -> Option<&Arrival> {
        self.arrivals.iter().find(|arrival| self.sends.get(&arrival.number) >= Some(&since) && wanted(arrival))
    }

    pub fn seen(&self, from: i64, to: i64) -> Seen {
        let mut seen = Seen::default();
        let arrived: std::collections::HashSet<u64> = self.arrivals.iter().map(|arrival| arrival.number).collect();
        let mut sends: Vec<(u64, i64)> = self.sends.iter().map(|(number, at)| (*number, *at)).collect();
        sends.sort_unstable();
        for (number, at) in &sends {
            if (from..to).contains(at) {
                seen.sent += 1;
                seen.lost += usize::from(!arrived.contains(number));
            }
        }
        for pair in sends.windows(2) {
            if (from..to).contains(&pair[1].1) {
                seen.sender_gap_ms = seen.sender_gap_ms.max((pair[1].1 - pair[0].1) as f64 / 1000.0);
            }
        }
        let mut newest: Option<(u64, i64)> = None;
        for arrival in &self.arrivals {
            if newest.is_some_and(|(number, _)| arrival.number <= number) {
                seen.backwards += usize::from((from..to).contains(&arrival.at));
                continue;
            }
            if let Some((_, sent)) = newest
                && (from..to).contains(&arrival.at)
            {
                seen.worst_age_ms = seen.worst_age_ms.max((arrival.at - sent) as f64 / 1000.0);
            }
            if let Some(sent) = self.sends.get(&arrival.number) {
                newest = Some((arrival.number, *sent));
            }
        }
        seen
    }
}

/// A client, an endpoint and what they report.
pub struct Rig {
    pub server: Proc,
    pub client: Proc,
    pub log: Log,
}

impl Rig {
    pub fn pump(&mut self) {
        for line in self.client.lines().try_iter().chain(self.server.lines().try_iter()) {
            self.log.take(&line);
        }
    }

    /// Goes on until `done`; `false` when the time is up before.
    pub fn until(&mut self, limit: Duration, mut done: impl FnMut(&Log) -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            self.pump();
            if done(&self.log) {
                return true;
            }
            if Instant::now() > end {
                return false;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Goes on until `done`, or fails.
    pub fn wait(&mut self, what: &str, limit: Duration, done: impl FnMut(&Log) -> bool) -> Res<()> {
        if self.until(limit, done) {
            return Ok(());
        }
        Err(format!("not in {} s: {what} (the client is `{}`)", limit.as_secs(), self.log.state()).into())
    }

    pub fn run_for(&mut self, time: Duration) {
        self.until(time, |_| false);
    }

    /// Waits for a state of the client that lasts for a while.
    pub fn settle(&mut self, state: &str, lasting: Duration, limit: Duration) -> Res<()> {
        let lasting_us = lasting.as_micros() as i64;
        self.wait(&format!("a steady `{state}`"), limit, |log| {
            log.state() == state && log.states.last().is_some_and(|(since, _)| now_us() - since > lasting_us)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_sees_loss_doubles_and_age() {
        let mut log = Log::default();
        for number in 1..=6 {
            log.sends.insert(number, 10_000 * number as i64);
        }
        for (number, at) in [(1, 11_000), (2, 21_000), (2, 22_000), (4, 71_000), (5, 72_000), (6, 73_000)] {
            log.arrivals.push(Arrival { number, at, webrtc: false });
        }
        let seen = log.seen(0, 100_000);
        assert_eq!((seen.sent, seen.lost, seen.backwards), (6, 1, 1));
        assert_eq!((seen.worst_age_ms, seen.sender_gap_ms), (51.0, 10.0));
        assert_eq!(log.first(45_000, |_| true).map(|arrival| arrival.number), Some(5));
    }
}
