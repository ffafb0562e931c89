//! A take at a glance: what each subject does over its time, to be drawn.

use std::{
    collections::BTreeMap,
    io::{Read, Seek},
    sync::Arc,
    time::Duration,
};

use super::{
    read::{TakeContent, TakeReadError, TakeReader},
    subject_stats::Counting,
};
use crate::{names::BLENDSHAPE_COUNT, source::SourceKind};

/// Most parts of a timeline.
const MAX_PARTS: usize = 1024;
/// Most lanes.
const MAX_LANES: usize = 256;

/// Every subject of a take over its time, in parts of equal length, and its marks.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TakeTimeline {
    /// From the start to the newest entry.
    pub duration: Duration,
    /// One for each subject, by name; the first 256 that appear.
    pub lanes: Vec<TakeLane>,
    /// Marks in the order of their times since the start.
    pub marks: Vec<(Duration, String)>,
}

/// One subject of a [`TakeTimeline`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TakeLane {
    /// The subject.
    pub name: Arc<str>,
    /// What carried its first frame.
    pub source: SourceKind,
    /// As many as were asked for.
    pub parts: Vec<TakePart>,
}

/// A part of a [`TakeLane`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TakePart {
    /// Frames, late ones included.
    pub frames: u32,
    /// Frames that arrived after a newer one.
    pub late: u32,
    /// Numbers of frames that never came, where its source numbers them.
    pub lost: u32,
    /// Frames in which the source saw no face.
    pub untracked: u32,
    /// Most that the 52 weights together changed by from one frame to the next.
    pub movement: f32,
}

/// A lane while it is read.
struct Reading {
    lane: TakeLane,
    counting: Counting,
    weights: Option<[f32; BLENDSHAPE_COUNT]>,
}

impl<R: Read + Seek> TakeReader<R> {
    /// The take at a glance, each subject's time in so many parts, 1 to 1024. Reads all of it;
    /// [`next_entry`](Self::next_entry) begins at the start afterwards.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn timeline(&mut self, parts: usize) -> Result<TakeTimeline, TakeReadError> {
        let parts = parts.clamp(1, MAX_PARTS);
        let duration = self.duration();
        let place = |time: Duration| {
            let share = time.as_secs_f64() / duration.as_secs_f64().max(f64::MIN_POSITIVE);
            ((share * parts as f64) as usize).min(parts - 1)
        };
        let mut lanes: BTreeMap<Arc<str>, Reading> = BTreeMap::new();
        let mut marks = Vec::new();
        self.seek(Duration::ZERO)?;
        while let Some(entry) = self.next_entry()? {
            let frame = match entry.content {
                TakeContent::Frame(frame) => frame,
                TakeContent::Mark(text) => {
                    marks.push((entry.time, text));
                    continue;
                }
                _ => continue,
            };
            if !lanes.contains_key(&frame.name) {
                if lanes.len() >= MAX_LANES {
                    continue;
                }
                let lane = TakeLane {
                    name: frame.name.clone(),
                    source: frame.source,
                    parts: vec![TakePart::default(); parts],
                };
                lanes.insert(frame.name.clone(), Reading { lane, counting: Counting::default(), weights: None });
            }
            let Some(Reading { lane, counting, weights }) = lanes.get_mut(&frame.name) else { continue };
            let lost = counting.lost();
            counting.record(entry.time, frame.frame.sequence, frame.late);
            let part = &mut lane.parts[place(entry.time)];
            part.frames += 1;
            part.late += u32::from(frame.late);
            part.lost = part.lost.saturating_add(counting.lost().saturating_sub(lost).try_into().unwrap_or(u32::MAX));
            part.untracked += u32::from(!frame.frame.tracked);
            if frame.late {
                continue;
            }
            if let Some(before) = weights {
                let moved = before.iter().zip(&frame.frame.weights).map(|(before, now)| (now - before).abs()).sum();
                part.movement = part.movement.max(moved);
            }
            *weights = Some(frame.frame.weights);
        }
        self.seek(Duration::ZERO)?;
        Ok(TakeTimeline { duration, lanes: lanes.into_values().map(|reading| reading.lane).collect(), marks })
    }
}
