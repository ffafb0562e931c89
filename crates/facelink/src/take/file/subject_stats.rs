//! Counts of one subject in a take.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::source::SourceKind;

/// Frame numbers that jump further than this begin another count.
const MAX_GAP: u64 = 10_000;

/// What a take has of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RecordedSubject {
    /// Its name.
    pub name: Arc<str>,
    /// What carried its first frame.
    pub source: SourceKind,
    /// Frames, late ones included.
    pub frames: u64,
    /// Numbers of frames that never came, where its source numbers them.
    pub lost: u64,
    /// Frames that arrived after a newer one.
    pub late: u64,
    /// Frames a second, from the first to the last.
    pub fps: f64,
    /// Time of its first frame since the start of the take, seconds.
    pub first_s: f64,
    /// Time of its last frame, seconds.
    pub last_s: f64,
}

/// Counts as frames come.
#[derive(Clone, Debug, Default)]
pub(super) struct Counting {
    frames: u64,
    late: u64,
    lost: u64,
    first: Option<Duration>,
    last: Duration,
    newest: Option<u64>,
}

impl Counting {
    pub fn frames(&self) -> u64 {
        self.frames
    }

    pub fn lost(&self) -> u64 {
        self.lost
    }

    pub fn record(&mut self, time: Duration, sequence: Option<u64>, late: bool) {
        self.first.get_or_insert(time);
        self.last = time;
        self.frames += 1;
        if late {
            self.late += 1;
            // It fills a gap that was counted when the newer one came.
            self.lost = self.lost.saturating_sub(u64::from(sequence.is_some()));
            return;
        }
        let Some(sequence) = sequence else { return };
        if let Some(gap) = self.newest.and_then(|newest| sequence.checked_sub(newest)).filter(|gap| *gap <= MAX_GAP) {
            self.lost += gap.saturating_sub(1);
        }
        self.newest = Some(sequence);
    }

    pub fn summary(&self, name: Arc<str>, source: SourceKind) -> RecordedSubject {
        let first = self.first.unwrap_or_default();
        let span = self.last.saturating_sub(first).as_secs_f64();
        RecordedSubject {
            name,
            source,
            frames: self.frames,
            lost: self.lost,
            late: self.late,
            fps: if span > 0.0 { (self.frames - 1) as f64 / span } else { 0.0 },
            first_s: first.as_secs_f64(),
            last_s: self.last.as_secs_f64(),
        }
    }
}
