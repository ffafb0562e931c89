//! What arrives on each port right now.

use std::{
    fmt::Write,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Serialize;
use smallvec::SmallVec;

use facelink::{
    source::{PhonePort, SourceKind},
    timing::RateMeter,
};

/// Senders shown for a port; more than any user has phones.
const MAX_SENDERS: usize = 16;
/// Bytes that are shown of an unknown datagram.
const SHOWN_BYTES: usize = 16;
/// A sender that was silent for this long gives its place to another one.
const QUIET: Duration = Duration::from_secs(1);
/// A sender that was silent for this long is not shown any more.
const SHOWN_FOR: Duration = Duration::from_secs(10);

/// Who sends to a port.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct SenderStats {
    /// Where from.
    pub address: SocketAddr,
    /// What it sends; `None` for an unknown format.
    pub app: Option<SourceKind>,
    /// Datagrams a second.
    pub rate: f32,
    /// Since the last one, milliseconds.
    pub age_ms: f32,
    /// Why the last one was refused; `None` when it was taken.
    pub error: Option<String>,
    /// How the last one begins, when its format is unknown: `68 65 6c 6c 6f "hello"`.
    pub first_bytes: Option<String>,
}

/// Stats of one port.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PortStats {
    /// What it is for.
    pub port: PhonePort,
    /// Where it listens.
    pub address: SocketAddr,
    /// Datagrams since the start.
    pub datagrams: u64,
    /// Datagrams that were refused.
    pub refused: u64,
    /// Datagrams that were dropped unread, because their sender or all together sent too many.
    pub flooded: u64,
    /// Who sends, newest first.
    pub senders: Vec<SenderStats>,
}

#[derive(Debug)]
struct Seen {
    address: SocketAddr,
    app: Option<SourceKind>,
    rate: RateMeter,
    last: Instant,
    /// Something of it was taken.
    good: bool,
    error: Option<String>,
    first_bytes: SmallVec<[u8; SHOWN_BYTES]>,
}

/// Bytes for people, in hexadecimal and as text.
fn in_words(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x} ");
    }
    text.push('"');
    text.extend(bytes.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }));
    text.push('"');
    text
}

/// Stats of one port, written by its task.
#[derive(Debug)]
pub(crate) struct PortCounters {
    pub port: PhonePort,
    pub address: SocketAddr,
    pub datagrams: AtomicU64,
    pub refused: AtomicU64,
    pub flooded: AtomicU64,
    seen: Mutex<Vec<Seen>>,
}

impl PortCounters {
    pub fn new(port: PhonePort, address: SocketAddr) -> Self {
        Self {
            port,
            address,
            datagrams: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            flooded: AtomicU64::new(0),
            seen: Mutex::new(Vec::new()),
        }
    }

    /// A datagram was taken, or refused for this reason.
    pub fn record(
        &self,
        address: SocketAddr,
        app: Option<SourceKind>,
        error: Option<&dyn std::fmt::Display>,
        now: Instant,
    ) {
        if error.is_some() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        let mut seen = self.seen.lock();
        let place = seen.iter().position(|seen| seen.address == address && (seen.app == app || error.is_some()));
        if place.is_none() && seen.len() >= MAX_SENDERS {
            let silent = |seen: &Seen| now.saturating_duration_since(seen.last);
            seen.retain(|seen| silent(seen) < SHOWN_FOR);
            // Among many that send well, one more is not worth the place of another.
            let oldest = seen.iter().enumerate().max_by_key(|(_, seen)| silent(seen));
            match oldest.filter(|_| seen.len() >= MAX_SENDERS) {
                Some((_, oldest)) if error.is_none() && silent(oldest) < QUIET => return,
                Some((oldest, _)) => drop(seen.remove(oldest)),
                None => {}
            }
        }
        let place = place.unwrap_or_else(|| {
            let first_bytes = SmallVec::new();
            seen.push(Seen {
                address,
                app,
                rate: RateMeter::default(),
                last: now,
                good: false,
                error: None,
                first_bytes,
            });
            seen.len() - 1
        });
        let Some(sender) = seen.get_mut(place) else { return };
        sender.rate.record(now);
        sender.last = now;
        match error {
            // Written once: a flood of bad datagrams is not worth a line each.
            Some(error) if sender.error.is_none() => sender.error = Some(error.to_string()),
            Some(_) => {}
            None => {
                (sender.good, sender.error) = (true, None);
                sender.first_bytes.clear();
            }
        }
    }

    /// The datagram that was just taken is good but for a part.
    pub fn record_part(&self, address: SocketAddr, app: SourceKind, error: &dyn std::fmt::Display) {
        let mut seen = self.seen.lock();
        if let Some(sender) = seen.iter_mut().find(|seen| seen.address == address && seen.app == Some(app)) {
            // A good datagram clears it.
            sender.error.get_or_insert_with(|| format!("a part of what it sends: {error}"));
        }
    }

    /// The datagram that was just refused is of an unknown format.
    pub fn record_unknown(&self, address: SocketAddr, datagram: &[u8]) {
        let mut seen = self.seen.lock();
        let refused = seen.iter_mut().filter(|seen| seen.address == address && seen.error.is_some());
        if let Some(sender) = refused.max_by_key(|seen| seen.last) {
            if !sender.good {
                sender.app = None;
            }
            sender.first_bytes.clear();
            sender.first_bytes.extend_from_slice(&datagram[..datagram.len().min(SHOWN_BYTES)]);
        }
    }

    pub fn stats(&self, now: Instant) -> PortStats {
        let mut seen = self.seen.lock();
        seen.retain(|seen| now.saturating_duration_since(seen.last) < SHOWN_FOR);
        let mut senders: Vec<_> = seen
            .iter()
            .map(|seen| SenderStats {
                address: seen.address,
                app: seen.app,
                rate: seen.rate.fps(now),
                age_ms: now.saturating_duration_since(seen.last).as_secs_f32() * 1000.0,
                error: seen.error.clone(),
                first_bytes: (!seen.first_bytes.is_empty()).then(|| in_words(&seen.first_bytes)),
            })
            .collect();
        drop(seen);
        senders.sort_by(|a, b| a.age_ms.total_cmp(&b.age_ms));
        PortStats {
            port: self.port,
            address: self.address,
            datagrams: self.datagrams.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            flooded: self.flooded.load(Ordering::Relaxed),
            senders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_stats_unknown_datagram_shows_its_first_bytes() {
        let counters = PortCounters::new(PhonePort::LiveLinkFace, SocketAddr::from(([127, 0, 0, 1], 11111)));
        let from = |last| SocketAddr::from(([192, 0, 2, last], 9));
        let now = Instant::now();
        let llf = Some(SourceKind::LiveLinkFace);
        counters.record(from(1), llf, Some(&"version 104"), now);
        counters.record_unknown(from(1), b"hello\x1b[2J, and more than is shown");
        // One that was good before stays what it was.
        counters.record(from(2), llf, None, now);
        counters.record(from(2), llf, Some(&"too short"), now);
        counters.record_unknown(from(2), &[6, 0]);
        counters.record_unknown(from(3), b"never seen");
        let find = |last| counters.stats(now).senders.into_iter().find(|sender| sender.address == from(last));
        let (first, second) = (find(1).unwrap(), find(2).unwrap());
        assert_eq!((first.app, first.error.as_deref()), (None, Some("version 104")));
        let shown = "68 65 6c 6c 6f 1b 5b 32 4a 2c 20 61 6e 64 20 6d \"hello.[2J, and m\"";
        assert_eq!(first.first_bytes.as_deref(), Some(shown));
        assert_eq!((second.app, second.first_bytes.as_deref()), (llf, Some("06 00 \"..\"")));
        assert!(find(3).is_none());

        counters.record(from(2), llf, None, now);
        counters.record_part(from(2), SourceKind::LiveLinkFace, &"a curve");
        counters.record_part(from(3), SourceKind::LiveLinkFace, &"a curve");
        assert_eq!(find(2).unwrap().error.as_deref(), Some("a part of what it sends: a curve"));
        counters.record(from(2), llf, None, now);
        let second = find(2).unwrap();
        assert_eq!((second.error, second.first_bytes), (None, None), "it is good again");
        counters.record(from(1), llf, Some(&"version 105"), now);
        assert_eq!(counters.stats(now).senders.len(), 2, "bad bytes of one sender are one row");
        assert_eq!(counters.stats(now).refused, 3);
    }
}
