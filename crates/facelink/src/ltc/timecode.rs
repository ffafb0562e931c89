//! Hours, minutes, seconds, frames.

use std::{fmt, str::FromStr, time::Duration};

use crate::take::FrameRate;

/// Numbers that are left out at the beginning of a minute of drop-frame timecode, every tenth apart.
const DROPPED: u32 = 2;
/// Frames of a minute that drops, and of ten.
const MINUTE: u32 = 60 * 30 - DROPPED;
const TEN_MINUTES: u32 = 10 * MINUTE + DROPPED;

/// A timecode: a frame's place in the day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timecode {
    /// 0 to 23.
    pub hours: u8,
    /// 0 to 59.
    pub minutes: u8,
    /// 0 to 59.
    pub seconds: u8,
    /// From 0 to one less than the frames of a second.
    pub frames: u8,
    /// Whether numbers are left out, so that 29.97 frames a second keep up with the time of day.
    pub drop_frame: bool,
}

/// A text that is no timecode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a timecode: HH:MM:SS:FF, or HH:MM:SS;FF with dropped frames")]
pub struct TimecodeError;

impl Timecode {
    /// A timecode of these numbers.
    pub const fn new(hours: u8, minutes: u8, seconds: u8, frames: u8, drop_frame: bool) -> Self {
        Self { hours, minutes, seconds, frames, drop_frame }
    }

    /// Its frame, counted from midnight, at so many frames a second (30 for 29.97).
    pub fn count(self, fps: u32) -> u32 {
        let minutes = u32::from(self.hours) * 60 + u32::from(self.minutes);
        let count = (minutes * 60 + u32::from(self.seconds)) * fps + u32::from(self.frames);
        if self.drop_frame { count.saturating_sub(DROPPED * (minutes - minutes / 10)) } else { count }
    }

    /// The timecode of a frame, counted from a midnight. Dropped frames are of 30 a second alone.
    pub fn of_count(count: u64, fps: u32, drop_frame: bool) -> Self {
        let fps = fps.clamp(1, 255);
        let drop_frame = drop_frame && fps == 30;
        let day = if drop_frame { 144 * TEN_MINUTES } else { 86_400 * fps };
        let mut count = (count % u64::from(day)) as u32;
        if drop_frame {
            let (tens, rest) = (count / TEN_MINUTES, count % TEN_MINUTES);
            // The first of ten minutes drops nothing.
            let minutes = rest.saturating_sub(DROPPED) / MINUTE;
            count += DROPPED * (9 * tens + minutes);
        }
        let (seconds, frames) = (count / fps, count % fps);
        let [hours, minutes, seconds] = [seconds / 3600, seconds / 60 % 60, seconds % 60].map(|part| part as u8);
        Self::new(hours, minutes, seconds, frames as u8, drop_frame)
    }

    /// The one of the next frame.
    #[must_use]
    pub fn next(self, fps: u32) -> Self {
        Self::of_count(u64::from(self.count(fps)) + 1, fps, self.drop_frame)
    }

    /// When its frame begins, since midnight, at the exact rate: at 29.97 without dropped frames a timecode of an hour is
    /// 3.6 s late.
    pub fn time(self, rate: FrameRate) -> Duration {
        rate.time_of(u64::from(self.count(rate.nominal())))
    }

    /// The timecode of the frame that is on at a time since midnight.
    pub fn at(time: Duration, rate: FrameRate, drop_frame: bool) -> Self {
        // A frame begins at a time that is rounded to a nanosecond.
        let nanos = time.as_nanos() + 1;
        let count = nanos * u128::from(rate.numerator()) / (u128::from(rate.denominator()) * 1_000_000_000);
        Self::of_count(u64::try_from(count).unwrap_or(0), rate.nominal(), drop_frame)
    }
}

impl fmt::Display for Timecode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hours, minutes, seconds, frames, drop_frame } = self;
        let mark = if *drop_frame { ';' } else { ':' };
        write!(f, "{hours:02}:{minutes:02}:{seconds:02}{mark}{frames:02}")
    }
}

impl FromStr for Timecode {
    type Err = TimecodeError;

    fn from_str(text: &str) -> Result<Self, TimecodeError> {
        let drop_frame = text.contains(';');
        let mut parts = text.split([':', ';']).map(|part| match part.len() {
            1 | 2 if part.bytes().all(|byte| byte.is_ascii_digit()) => part.parse::<u8>().map_err(|_| TimecodeError),
            _ => Err(TimecodeError),
        });
        let mut next = || parts.next().unwrap_or(Err(TimecodeError));
        let timecode = Self::new(next()?, next()?, next()?, next()?, drop_frame);
        let is_time = timecode.hours < 24 && timecode.minutes < 60 && timecode.seconds < 60;
        if is_time && parts.next().is_none() { Ok(timecode) } else { Err(TimecodeError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timecode_counts_every_frame_of_a_day_once() {
        for (fps, drop_frame) in [(24, false), (25, false), (30, false), (30, true)] {
            let day = if drop_frame { 2_589_408 } else { 86_400 * fps };
            let mut timecode = Timecode { drop_frame, ..Timecode::default() };
            for count in 0..day {
                assert_eq!(timecode.count(fps), count, "{timecode}");
                assert!(
                    !drop_frame || timecode.frames > 1 || timecode.seconds > 0 || timecode.minutes.is_multiple_of(10)
                );
                timecode = timecode.next(fps);
            }
            assert_eq!(timecode, Timecode { drop_frame, ..Timecode::default() }, "midnight");
        }
    }

    #[test]
    fn timecode_drop_frame_keeps_up_with_the_day() {
        let rate = FrameRate::STANDARD[3];
        let hour = Timecode::new(1, 0, 0, 0, true).time(rate);
        assert!(hour.abs_diff(Duration::from_secs(3600)) < Duration::from_millis(4), "{hour:?}");
        assert_eq!(Timecode::new(1, 0, 0, 0, false).time(rate), Duration::from_millis(3_603_600));
        assert_eq!(Timecode::new(0, 0, 59, 29, true).next(30), Timecode::new(0, 1, 0, 2, true));
        assert_eq!(Timecode::new(0, 9, 59, 29, true).next(30), Timecode::new(0, 10, 0, 0, true));
        for rate in FrameRate::STANDARD {
            for count in [0, 1, 29, 30, 1799, 1800, 17_982, 107_892, 2_000_000] {
                let timecode = Timecode::of_count(count, rate.nominal(), false);
                assert_eq!(Timecode::at(timecode.time(rate), rate, false), timecode, "{rate}");
            }
        }
    }

    #[test]
    fn timecode_text_round_trips() {
        for text in ["00:00:00:00", "23:59:59:29", "10:00:00;02"] {
            assert_eq!(text.parse::<Timecode>().map(|timecode| timecode.to_string()).as_deref(), Ok(text));
        }
        for text in
            ["", "10:00:00", "24:00:00:00", "1:2:3:4:5", "aa:00:00:00", "00:60:00:00", "-1:00:00:00", "00:00:00:000"]
        {
            assert_eq!(text.parse::<Timecode>(), Err(TimecodeError), "{text}");
        }
    }
}
