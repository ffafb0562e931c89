//! When something was captured, by the clock of its source.

use std::time::Duration;

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// The RTP timestamps of a stream on the clock of its source, by the sender's reports (RFC 3550, 6.4.1).
///
/// A report names one moment on both: as Unix time of the source's clock, and as RTP timestamp. A page takes both the times
/// of its faces and those of its reports from the clock of its machine, so that a picture and a face that were captured together have the
/// same time, whatever the network did to either.
#[derive(Clone, Copy, Debug)]
pub struct MediaClock {
    rate: u32,
    /// Unix time and RTP timestamp of one moment.
    report: Option<(Duration, u32)>,
}

impl MediaClock {
    /// For timestamps at this rate, Hz, such as [`PICTURE_CLOCK`](super::PICTURE_CLOCK).
    pub const fn new(rate: u32) -> Self {
        Self { rate, report: None }
    }

    /// Takes a report: its NTP timestamp (seconds since 1900 in 32.32 bits) and its RTP timestamp. One whose time is before
    /// 1970 is ignored, as of a sender without a clock.
    pub fn report(&mut self, ntp: u64, timestamp: u32) {
        let Some(seconds) = (ntp >> 32).checked_sub(NTP_TO_UNIX) else { return };
        let nanos = ((ntp & 0xffff_ffff) * 1_000_000_000) >> 32;
        self.report = Some((Duration::new(seconds, nanos as u32), timestamp));
    }

    /// Unix time of a timestamp by the source's clock; `None` before the first report. Right within half a turn of the
    /// timestamps: six hours of a picture, twelve of sound.
    pub fn time(&self, timestamp: u32) -> Option<Duration> {
        let (at, reported) = self.report?;
        let steps = timestamp.wrapping_sub(reported).cast_signed();
        let nanos = u64::from(steps.unsigned_abs()) * 1_000_000_000 / u64::from(self.rate.max(1));
        let distance = Duration::from_nanos(nanos);
        if steps < 0 { at.checked_sub(distance) } else { at.checked_add(distance) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_clock_maps_timestamps_by_reports() {
        let mut clock = MediaClock::new(90_000);
        assert_eq!(clock.time(1), None);
        clock.report(5, 0);
        assert_eq!(clock.time(1), None, "a time before 1970 is none");
        let unix = 1_800_000_000;
        clock.report((unix + NTP_TO_UNIX) << 32 | 1 << 31, 10);
        let at = |millis: u64| Some(Duration::from_millis(unix * 1000 + millis));
        assert_eq!(clock.time(10), at(500));
        assert_eq!(clock.time(10 + 45_000), at(1000));
        assert_eq!(clock.time(10_u32.wrapping_sub(45_000)), at(0), "across the turn of the timestamps");
    }
}
