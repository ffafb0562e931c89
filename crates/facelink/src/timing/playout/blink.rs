//! Blinks that would be lost.

use crate::{frame::FaceFrame, names::Blendshape};

const LIDS: [usize; 2] = [Blendshape::EyeBlinkLeft as usize, Blendshape::EyeBlinkRight as usize];
/// A lid that came so much further than is shown, between two rendered frames, is shown where it was.
const PEAK: f32 = 0.1;
/// A lid that is closed by so much blinks.
const CLOSED: f32 = 0.5;
/// And was not shown if it was open by so much more.
const MISSED: f32 = 0.3;
/// Shown poses are remembered for this time, seconds.
const MEMORY: f32 = 0.3;
/// Older blinks are not made up for, microseconds.
const TOO_LATE_US: i64 = 400_000;
/// Times of a blink that is made up for, seconds: about those of a natural one.
const CLOSE: f32 = 0.06;
const REST: f32 = 0.03;
const OPEN: f32 = 0.12;

/// Shows each blink once.
#[derive(Clone, Debug, Default)]
pub(super) struct Blinks {
    /// How far each lid was closed lately.
    shown: [f32; 2],
    wanted: Option<[f32; 2]>,
    running: Option<([f32; 2], f32)>,
    made_up: u64,
}

impl Blinks {
    pub const fn made_up(&self) -> u64 {
        self.made_up
    }

    /// A frame that came after its moment.
    pub fn late(&mut self, frame: &FaceFrame, late_us: i64) {
        if late_us > TOO_LATE_US || self.running.is_some() {
            return;
        }
        let lids = LIDS.map(|lid| frame.weights[lid]);
        let missed = lids.iter().zip(&self.shown).any(|(lid, shown)| *lid > CLOSED && lid - shown > MISSED);
        if missed {
            let wanted = self.wanted.get_or_insert([0.0; 2]);
            for (wanted, lid) in wanted.iter_mut().zip(lids) {
                *wanted = wanted.max(lid);
            }
        }
    }

    /// Puts on a face what `passed`, the frames between the last presentation time and this one, would not show.
    pub fn apply<'a>(&mut self, out: &mut FaceFrame, passed: impl Iterator<Item = &'a FaceFrame>, dt: f32) {
        let mut peaks = [0.0_f32; 2];
        for frame in passed {
            for (peak, lid) in peaks.iter_mut().zip(LIDS) {
                *peak = peak.max(frame.weights[lid]);
            }
        }
        for (i, lid) in LIDS.into_iter().enumerate() {
            let weight = &mut out.weights[lid];
            if peaks[i] > *weight + PEAK && peaks[i] > self.shown[i] + PEAK {
                *weight = peaks[i];
            }
        }
        if let Some(wanted) = self.wanted.take()
            // Frames behind the late ones may show it after all.
            && LIDS.iter().zip(&wanted).any(|(lid, wanted)| out.weights[*lid] + MISSED < *wanted)
        {
            self.running = Some((wanted, 0.0));
            self.made_up += 1;
        }
        if let Some((lids, since)) = &mut self.running {
            *since += dt;
            let share = if *since < CLOSE {
                *since / CLOSE
            } else if *since < CLOSE + REST {
                1.0
            } else {
                1.0 - (*since - CLOSE - REST) / OPEN
            };
            for (lid, peak) in LIDS.into_iter().zip(*lids) {
                out.weights[lid] = out.weights[lid].max(peak * share.max(0.0));
            }
            if share <= 0.0 {
                self.running = None;
            }
        }
        for (shown, lid) in self.shown.iter_mut().zip(LIDS) {
            *shown = (*shown - dt / MEMORY).max(out.weights[lid]);
        }
    }
}
