//! Edits of takes. None of them changes a take: each makes a new one.

use std::time::Duration;

use super::{
    frames::{Take, TakeError, TakeFrame},
    rate::FrameRate,
    rows::LlfRows,
};
use crate::{
    calibration::Calibration,
    timing::{FaceFilter, Peaks},
    wire::profile::mirror,
};

/// Two clocks of one day: takes of devices whose capture times are further apart than this are on either side of midnight.
const HALF_DAY: Duration = Duration::from_secs(12 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why takes cannot be aligned by their timecodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AlignError {
    /// The first frame of a take has no capture time.
    #[error("take {0}: field `capture_time`: its first frame has none")]
    NoTimecode(usize),
    /// There is no moment that all takes have.
    #[error("the takes have no moment in common: one ends at {ends:?} of the day, before another starts at {starts:?}")]
    Apart {
        /// When the first of them ends.
        ends: Duration,
        /// When the last of them starts.
        starts: Duration,
    },
}

impl Take {
    /// The frames from `from` to `until`, both included. The first of them is at time 0.
    ///
    /// # Errors
    /// [`TakeError::Empty`] when there is no frame in between.
    pub fn cut(&self, from: Duration, until: Duration) -> Result<Self, TakeError> {
        let first = self.frames().partition_point(|frame| frame.time < from);
        let end = self.frames().partition_point(|frame| frame.time <= until).max(first);
        let kept = self.frames().get(first..end).unwrap_or_default();
        let start = kept.first().ok_or(TakeError::Empty)?.time;
        let moved = |frame: &TakeFrame| TakeFrame { time: frame.time - start, frame: frame.frame.clone() };
        let take = Self::new(kept.iter().map(moved).collect())?;
        // The rows of the app's own file stay what they are.
        let rows = self.rows().and_then(|LlfRows { count_name, rows }| {
            Some(LlfRows { count_name: count_name.clone(), rows: rows.get(first..end)?.to_vec() })
        });
        Ok(take.read_from(Vec::new(), rows))
    }

    /// One frame every `1 / rate` seconds from 0 to the last frame, each as the face is at that time
    /// ([`frame_at`](Self::frame_at)). The last one is at most one step before the end of the take, which
    /// [`resampled_to_end`](Self::resampled_to_end) adds.
    pub fn resampled(&self, rate: FrameRate) -> Self {
        self.at_rate(rate, false)
    }

    /// The same, and where the take does not end on a frame of that rate the last frame at its own time, so that the
    /// duration stays what it was.
    pub fn resampled_to_end(&self, rate: FrameRate) -> Self {
        self.at_rate(rate, true)
    }

    fn at_rate(&self, rate: FrameRate, to_end: bool) -> Self {
        let last = self.frames().last().map_or(Duration::ZERO, |frame| frame.time);
        let mut times: Vec<Duration> =
            (0..rate.frames_until(last)).map(|frame| rate.time_of(frame).min(last)).collect();
        if to_end && times.last().is_some_and(|time| last.saturating_sub(*time) > Duration::from_micros(500)) {
            times.push(last);
        }
        // As regular as the rate, however unevenly the frames came.
        let captured = self.frames().first().and_then(|first| first.frame.capture_time);
        let frames = times.into_iter().enumerate().map(|(place, time)| {
            let mut frame = self.frame_at(time);
            frame.sequence = Some(place as u64);
            frame.capture_time = captured.map(|captured| captured.saturating_add(time));
            TakeFrame { time, frame }
        });
        self.remade(frames.collect())
    }

    /// At another rate with the peaks kept: a shape that went up or down between two frames and came back has the value
    /// where it turned, so that a blink does not fall between two frames of a low rate. For the exact values at those times
    /// see [`resampled`](Self::resampled).
    pub fn at_rate_with_peaks(&self, rate: FrameRate) -> Self {
        let mut resampled = self.resampled(rate);
        let mut peaks = Peaks::default();
        let mut rest = self.frames();
        let mut frames: Vec<TakeFrame> = resampled.frames().to_vec();
        for frame in &mut frames {
            let passed = rest.partition_point(|source| source.time <= frame.time);
            for source in &rest[..passed] {
                if source.frame.tracked { peaks.gather(&source.frame) } else { peaks.forget() }
            }
            rest = &rest[passed..];
            if frame.frame.tracked {
                peaks.keep(&mut frame.frame);
            } else {
                peaks.forget();
            }
        }
        resampled = resampled.remade(frames);
        resampled
    }

    /// Filtered by the 1€ filter: `strength` is 0 for none, 1 for what a webcam's face gets
    /// ([`FaceFilter::webcam`]), more for calmer and later.
    pub fn smoothed(&self, strength: f32) -> Self {
        let strength = if strength.is_finite() { strength.clamp(0.0, 100.0) } else { 0.0 };
        if strength == 0.0 {
            return self.clone();
        }
        let mut filter = FaceFilter::webcam();
        for settings in filter.groups.iter_mut().flatten() {
            settings.min_cutoff /= strength;
            settings.beta /= strength;
        }
        self.filtered(filter)
    }

    /// Filtered by a filter of one's own, which has seen no frame yet.
    pub fn filtered(&self, mut filter: FaceFilter) -> Self {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        self.changed(|frame| {
            if frame.frame.tracked {
                filter.apply(&mut frame.frame, micros(frame.time));
            }
        })
    }

    /// With left and right exchanged.
    pub fn mirrored(&self) -> Self {
        self.changed(|frame| mirror(&mut frame.frame))
    }

    /// With a performer's rest, range and pose at rest taken off.
    pub fn calibrated(&self, calibration: &Calibration) -> Self {
        self.changed(|frame| calibration.apply(&mut frame.frame))
    }

    /// With the face at `time` taken off as the neutral one, shapes and gaze, for takes without a calibration. The head
    /// stays.
    pub fn without_neutral(&self, time: Duration) -> Self {
        let mut calibration = Calibration::default();
        calibration.set_neutral(&self.frame_at(time));
        self.calibrated(&calibration)
    }

    /// This take, and `next` one usual step after its last frame.
    pub fn joined(&self, next: &Self) -> Self {
        let start = self.duration();
        let later =
            |frame: &TakeFrame| TakeFrame { time: start.saturating_add(frame.time), frame: frame.frame.clone() };
        let mut frames = self.frames().to_vec();
        frames.extend(next.frames().iter().map(later));
        let mut take = self.remade(frames);
        take = take.read_from(self.remarks().iter().chain(next.remarks()).cloned().collect(), None);
        take
    }

    /// This take after its first face has stood still for a while: what begins later in a recording than something else does
    /// then begins with it.
    pub fn after(&self, wait: Duration) -> Self {
        if wait.is_zero() {
            return self.clone();
        }
        let mut frames = Vec::with_capacity(self.frames().len() + 1);
        frames.extend(self.frames().first().map(|first| {
            let mut frame = first.frame.clone();
            frame.capture_time = frame.capture_time.and_then(|time| time.checked_sub(wait));
            frame.sequence = None;
            TakeFrame { time: Duration::ZERO, frame }
        }));
        let later = |frame: &TakeFrame| TakeFrame { time: frame.time.saturating_add(wait), frame: frame.frame.clone() };
        frames.extend(self.frames().iter().map(later));
        self.remade(frames)
    }

    fn changed(&self, mut change: impl FnMut(&mut TakeFrame)) -> Self {
        let mut frames = self.frames().to_vec();
        frames.iter_mut().for_each(&mut change);
        self.remade(frames)
    }

    /// A take of these frames, which are in order and at least one.
    fn remade(&self, frames: Vec<TakeFrame>) -> Self {
        Self::new(frames).unwrap_or_else(|_| self.clone())
    }
}

/// Cuts several takes to the time that all of them have, by the capture times of their frames, so that one time means the same
/// moment in each. The clocks are those of the sources: timecode of a day, which may pass midnight. Where a take has no frame at the
/// common start, it gets one as the face was then.
///
/// # Errors
/// [`AlignError`] names the take that has no timecode, or says that they have no moment in common.
pub fn align(takes: &[Take]) -> Result<Vec<Take>, AlignError> {
    let mut starts = Vec::with_capacity(takes.len());
    for (place, take) in takes.iter().enumerate() {
        let start = take.frames().first().and_then(|frame| frame.frame.capture_time);
        starts.push(start.ok_or(AlignError::NoTimecode(place))?);
    }
    let Some(reference) = starts.first().copied() else { return Ok(Vec::new()) };
    // A day is added to all, so that a take from before midnight stays above 0.
    let starts: Vec<Duration> = starts
        .into_iter()
        .map(|start| {
            if start + HALF_DAY < reference {
                start + DAY + DAY
            } else if start > reference + HALF_DAY && start < reference + DAY {
                start
            } else {
                start + DAY
            }
        })
        .collect();
    let ends = starts
        .iter()
        .zip(takes)
        .map(|(start, take)| *start + take.frames().last().map_or(Duration::ZERO, |last| last.time));
    let (start, end) = (starts.iter().copied().max().unwrap_or_default(), ends.min().unwrap_or_default());
    let of_day = |time: Duration| Duration::from_secs(time.as_secs() % DAY.as_secs());
    let apart = || AlignError::Apart { ends: of_day(end), starts: of_day(start) };
    if end < start {
        return Err(apart());
    }
    let aligned = takes.iter().zip(starts).map(|(take, own)| {
        let (from, until) = (start - own, end - own);
        let mut frames: Vec<TakeFrame> =
            take.frames().iter().filter(|frame| (from..=until).contains(&frame.time)).cloned().collect();
        if frames.first().is_none_or(|first| first.time > from) {
            let before = take.frame_before(from);
            let mut frame = take.frame_at(from);
            frame.capture_time = before.frame.capture_time.map(|captured| captured + (from - before.time.min(from)));
            frames.insert(0, TakeFrame { time: from, frame });
        }
        for frame in &mut frames {
            frame.time -= from;
        }
        Take::new(frames).map_err(|_| apart())
    });
    aligned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::FaceFrame, names::Blendshape, performer::Performance};

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Frames of a performance, counted at 60, captured from a time of day on.
    fn take(seed: u64, count: u64, of_day: Duration) -> Take {
        let performance = Performance::new(seed);
        let frames = (0..count).map(|i| {
            let time = FrameRate::SIXTY.time_of(i);
            let frame =
                FaceFrame { capture_time: Some(of_day + time), sequence: Some(i), ..performance.frame_at(time) };
            TakeFrame { time, frame }
        });
        Take::new(frames.collect()).unwrap()
    }

    #[test]
    fn edit_cut_starts_at_zero_and_ends_with_the_out_point() {
        let whole = take(1, 600, Duration::ZERO);
        let cut = whole.cut(ms(1000), ms(2000)).unwrap();
        assert_eq!((cut.frames().len(), cut.frames()[0].time), (61, Duration::ZERO));
        assert_eq!(cut.frames()[0].frame, whole.frames()[60].frame);
        assert_eq!(cut.frames()[60].time, ms(1000));
        assert_eq!(whole.cut(Duration::ZERO, Duration::MAX).unwrap().frames(), whole.frames());
        assert_eq!(whole.cut(ms(2000), ms(1000)), Err(TakeError::Empty));
        assert_eq!(whole.cut(Duration::MAX, Duration::MAX), Err(TakeError::Empty));
    }

    #[test]
    fn edit_rate_keeps_times_values_and_duration() {
        let whole = take(2, 601, ms(1000));
        for rate in FrameRate::STANDARD {
            let to_end = whole.resampled_to_end(rate);
            assert_eq!(to_end.frames().last().unwrap().time, ms(10_000), "{rate}");
            let resampled = whole.resampled(rate);
            for (place, frame) in resampled.frames().iter().enumerate() {
                let time = rate.time_of(place as u64);
                assert!(frame.time.abs_diff(time) < Duration::from_micros(501), "{rate}");
                let wanted = whole.frame_at(time);
                assert!(frame.frame.weights.iter().zip(wanted.weights).all(|(a, b)| (a - b).abs() < 1e-5));
                assert!(frame.frame.capture_time.unwrap().abs_diff(ms(1000) + time) < ms(1));
            }
            let missing = ms(10_000) - resampled.frames().last().unwrap().time;
            assert!(missing < rate.time_of(1), "{rate}: {missing:?}");
        }
    }

    #[test]
    fn edit_rate_has_regular_capture_times() {
        let mut frames = take(2, 60, ms(5000)).frames().to_vec();
        for (place, frame) in frames.iter_mut().enumerate() {
            let late = ms((place as u64 * 7) % 11);
            frame.frame.capture_time = frame.frame.capture_time.map(|captured| captured + late);
        }
        let even = Take::new(frames).unwrap().resampled(FrameRate::STANDARD[3]);
        for (place, frame) in even.frames().iter().enumerate() {
            let wanted = ms(5000) + FrameRate::STANDARD[3].time_of(place as u64);
            assert!(frame.frame.capture_time.unwrap().abs_diff(wanted) < ms(1));
        }
    }

    #[test]
    fn edit_rate_with_peaks_keeps_a_blink_between_two_frames() {
        let frames = (0..300_u64).map(|i| {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::EyeBlinkLeft, (1.0 - (i as f32 - 123.0).abs() / 3.0).max(0.0));
            TakeFrame { time: FrameRate::SIXTY.time_of(i), frame }
        });
        let whole = Take::new(frames.collect()).unwrap();
        let rate = FrameRate::new(10, 1).unwrap();
        let highest = |take: &Take| take.frames().iter().map(|frame| frame.frame.weights[0]).fold(0.0, f32::max);
        assert!(highest(&whole.resampled(rate)) < 0.5);
        assert_eq!(highest(&whole.at_rate_with_peaks(rate)), 1.0);
        assert_eq!(whole.at_rate_with_peaks(rate).frames().len(), whole.resampled(rate).frames().len());
    }

    #[test]
    fn edit_smooth_by_strength() {
        let frames = (0..300_u64).map(|i| {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::BrowInnerUp, 0.3 + if i % 2 == 0 { 0.05 } else { -0.05 });
            TakeFrame { time: FrameRate::SIXTY.time_of(i), frame }
        });
        let whole = Take::new(frames.collect()).unwrap();
        let trembles = |take: &Take| {
            let value = |frame: &TakeFrame| frame.frame.weights[Blendshape::BrowInnerUp.index()];
            take.frames()[60..].windows(2).map(|pair| (value(&pair[1]) - value(&pair[0])).abs()).sum::<f32>()
        };
        assert_eq!(whole.smoothed(0.0), whole);
        let (some, more) = (trembles(&whole.smoothed(1.0)), trembles(&whole.smoothed(4.0)));
        assert!(some < 0.5 * trembles(&whole) && more < 0.5 * some, "{some} {more} of {}", trembles(&whole));
        assert_eq!(whole.smoothed(f32::NAN), whole);
    }

    #[test]
    fn edit_mirror_twice_and_neutral_off() {
        let whole = take(3, 120, Duration::ZERO);
        assert_eq!(whole.mirrored().mirrored().frames(), whole.frames());
        let shape = Blendshape::MouthSmileLeft;
        let (a, b) = (&whole.frames()[70].frame, &whole.mirrored().frames()[70].frame.clone());
        assert_eq!(a.get(shape), b.get(shape.mirrored()));
        let rest = whole.without_neutral(ms(500));
        let at = rest.frame_at(ms(500));
        assert!(at.weights.iter().all(|weight| weight.abs() < 0.05), "{:?}", at.weights);
        assert_eq!(at.head.is_some(), whole.frames()[0].frame.head.is_some());
    }

    #[test]
    fn edit_join_goes_on_one_step_later() {
        let (a, b) = (take(4, 60, Duration::ZERO), take(5, 30, ms(9000)));
        let joined = a.joined(&b);
        assert_eq!(joined.frames().len(), 90);
        assert_eq!(joined.frames()[60].time, a.duration());
        assert_eq!(joined.duration(), a.duration() + b.duration());
        assert_eq!(joined.frames()[60].frame, b.frames()[0].frame);
    }

    #[test]
    fn edit_align_by_timecode_also_past_midnight() {
        let day = DAY;
        for (first, second) in [(ms(5_000), ms(6_000)), (day - ms(500), ms(500)), (ms(500), day - ms(500))] {
            let takes = [take(6, 600, first), take(6, 600, second)];
            let aligned = align(&takes).unwrap();
            assert_eq!(aligned[0].frames()[0].time, Duration::ZERO);
            let seconds = |take: &Take, place: usize| {
                take.frames()[place].frame.capture_time.unwrap().as_secs_f64() % day.as_secs_f64()
            };
            for place in [0, 100] {
                let apart = (seconds(&aligned[0], place) - seconds(&aligned[1], place)).abs();
                assert!(apart < 1e-6, "{apart} s apart at {place}");
            }
            let lengths: Vec<_> = aligned.iter().map(|take| take.frames().last().unwrap().time).collect();
            assert!(lengths[0].abs_diff(lengths[1]) < ms(17), "{lengths:?}");
            assert!(lengths[0] > ms(8_900));
        }
        assert!(matches!(align(&[take(1, 60, ms(0)), take(1, 60, ms(60_000))]), Err(AlignError::Apart { .. })));
        let bare = Take::new(vec![TakeFrame { time: Duration::ZERO, frame: FaceFrame::default() }]).unwrap();
        assert_eq!(align(&[take(1, 60, ms(0)), bare]), Err(AlignError::NoTimecode(1)));
    }
}
