//! Frames a second as exact fractions.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// Most frames a second.
const MAX_RATE: u32 = 1000;
/// Decimals of a rate that are read.
const DECIMALS: u32 = 6;

/// Frames a second, as an exact fraction: 23.976 is 24000/1001.
///
/// ```
/// use facelink::take::FrameRate;
/// let rate: FrameRate = "23.976".parse()?;
/// assert_eq!((rate.numerator(), rate.denominator()), (24000, 1001));
/// assert_eq!(rate.time_of(24000).as_secs(), 1001);
/// # Ok::<(), facelink::take::FrameRateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    numerator: u32,
    denominator: u32,
}

/// Why something is no frame rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no frame rate: a number from 1 to {MAX_RATE} (23.976, 24, 25, 29.97, 30, 50, 59.94, 60), or a fraction such as 30000/1001"
)]
pub struct FrameRateError(String);

impl FrameRate {
    /// The rates of film and television: 23.976, 24, 25, 29.97, 30, 50, 59.94 and 60.
    pub const STANDARD: [Self; 8] = [
        Self { numerator: 24_000, denominator: 1001 },
        Self { numerator: 24, denominator: 1 },
        Self { numerator: 25, denominator: 1 },
        Self { numerator: 30_000, denominator: 1001 },
        Self { numerator: 30, denominator: 1 },
        Self { numerator: 50, denominator: 1 },
        Self { numerator: 60_000, denominator: 1001 },
        Self { numerator: 60, denominator: 1 },
    ];

    /// 60 frames a second, at which Live Link Face counts.
    pub const SIXTY: Self = Self { numerator: 60, denominator: 1 };

    /// `numerator / denominator` frames a second; `None` unless that is from 1 to 1000.
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        let sane = denominator > 0
            && numerator >= denominator
            && u64::from(numerator) <= u64::from(MAX_RATE) * u64::from(denominator);
        let divisor = gcd(numerator, denominator).max(1);
        sane.then_some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// Frames that timecode counts in a second: 30 for 29.97.
    pub const fn nominal(self) -> u32 {
        self.numerator.div_ceil(self.denominator)
    }

    /// The one of [`STANDARD`](Self::STANDARD) that is nearest to a rate.
    pub fn nearest(fps: f64) -> Self {
        let off = |rate: &Self| (rate.as_f64() - fps).abs();
        Self::STANDARD.into_iter().min_by(|a, b| off(a).total_cmp(&off(b))).unwrap_or(Self::SIXTY)
    }

    /// Above the line.
    pub fn numerator(self) -> u32 {
        self.numerator
    }

    /// Below the line.
    pub fn denominator(self) -> u32 {
        self.denominator
    }

    /// As a number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// When a frame starts, counted from 0, to the nearest nanosecond. Nothing adds up over a long take.
    pub fn time_of(self, frame: u64) -> Duration {
        let (numerator, denominator) = (u128::from(self.numerator), u128::from(self.denominator));
        let nanos = (u128::from(frame) * denominator * 1_000_000_000 + numerator / 2) / numerator;
        Duration::new(u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX), (nanos % 1_000_000_000) as u32)
    }

    /// Frames that start up to a time, which counts as reached when it is at most half a millisecond away.
    pub fn frames_until(self, time: Duration) -> u64 {
        let nanos = time.as_nanos() + 500_000;
        let frames = nanos * u128::from(self.numerator) / (u128::from(self.denominator) * 1_000_000_000);
        u64::try_from(frames).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl FromStr for FrameRate {
    type Err = FrameRateError;

    /// A fraction, or a number. A number with decimals that is one of television's, or near it (23.98), is that:
    /// thousands over 1001.
    fn from_str(text: &str) -> Result<Self, FrameRateError> {
        let bad = || FrameRateError(text.chars().take(40).collect());
        let whole = |text: &str| text.trim().parse::<u32>().ok();
        if let Some((numerator, denominator)) = text.split_once('/') {
            let parts = whole(numerator).zip(whole(denominator));
            return parts.and_then(|(numerator, denominator)| Self::new(numerator, denominator)).ok_or_else(bad);
        }
        let number = text.trim().parse::<f64>().ok().filter(|number| (1.0..=f64::from(MAX_RATE)).contains(number));
        let number = number.ok_or_else(bad)?;
        if number.fract() == 0.0 {
            return Self::new(number as u32, 1).ok_or_else(bad);
        }
        let near = [24, 30, 48, 60, 72, 90, 96, 120, 240]
            .into_iter()
            .map(|rate| Self { numerator: rate * 1000, denominator: 1001 });
        if let Some(rate) = near.into_iter().find(|rate| (rate.as_f64() - number).abs() < 0.006) {
            return Ok(rate);
        }
        let scale = 10_u32.pow(DECIMALS);
        Self::new((number * f64::from(scale)).round() as u32, scale).ok_or_else(bad)
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => write!(f, "{}", self.numerator),
            1001 => write!(f, "{:.3}", self.as_f64()),
            denominator => write!(f, "{}/{denominator}", self.numerator),
        }
    }
}

/// As a text, such as `29.970`.
impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rate_is_an_exact_fraction() {
        let texts = ["23.976", "24", "25", "29.97", "30", "50", "59.94", "60"];
        for (text, rate) in texts.into_iter().zip(FrameRate::STANDARD) {
            assert_eq!(text.parse(), Ok(rate), "{text}");
            assert_eq!(rate.to_string().parse(), Ok(rate));
            // Eight hours later the frame is where it should be.
            let frame = 8 * 3600 * 60;
            let exact = frame as f64 * f64::from(rate.denominator) / f64::from(rate.numerator);
            assert!((rate.time_of(frame).as_secs_f64() - exact).abs() < 1e-9, "{text}");
            assert_eq!(rate.frames_until(rate.time_of(frame)), frame + 1);
            assert_eq!(rate.frames_until(rate.time_of(frame) - Duration::from_millis(2)), frame);
        }
        assert_eq!("23.98".parse(), "24000/1001".parse::<FrameRate>());
        assert_eq!("60/2".parse(), "30".parse::<FrameRate>());
        assert_eq!("12.5".parse(), Ok(FrameRate { numerator: 25, denominator: 2 }));
        for bad in ["", "0", "0.5", "-24", "1001", "nan", "24/0", "4000000000/1", "1/2", "24fps"] {
            assert!(bad.parse::<FrameRate>().is_err(), "{bad}");
        }
        assert_eq!(FrameRate::nearest(59.9), FrameRate::STANDARD[6]);
    }
}
