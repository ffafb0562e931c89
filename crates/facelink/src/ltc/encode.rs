//! Samples out of timecode.

use super::{BITS, SYNC, Timecode};
use crate::take::FrameRate;

/// Level of what is written, of full scale.
const LEVEL: f32 = 0.5;

/// The bits of a frame, the first one as the least significant. The bit that keeps the level at the beginning of every frame
/// the same is set.
pub(super) fn bits(timecode: Timecode, fps: u32) -> u128 {
    let mut bits = SYNC << 64;
    let mut put = |place: u32, value: u8| bits |= u128::from(value) << place;
    for (units, tens, value) in
        [(0, 8, timecode.frames), (16, 24, timecode.seconds), (32, 40, timecode.minutes), (48, 56, timecode.hours)]
    {
        put(units, value % 10);
        put(tens, value / 10);
    }
    put(10, timecode.drop_frame.into());
    // As many 0s as 1s are changes of level in all: an even number of 0s leaves it as it was.
    if bits.count_ones() % 2 == 1 {
        bits |= 1 << if fps == 25 { 59 } else { 27 };
    }
    bits
}

/// Writes timecode as sound: for tests, and for devices that follow it.
#[derive(Clone, Debug)]
pub struct LtcEncoder {
    rate: FrameRate,
    sample_rate: f64,
    /// Samples of a frame.
    length: f64,
    /// Samples written, and where the next frame begins.
    written: u64,
    position: f64,
    level: f32,
    /// What a change of level leaves for the sample behind it.
    carried: f32,
}

impl LtcEncoder {
    /// So many frames a second, and samples.
    pub fn new(rate: FrameRate, sample_rate: f64) -> Self {
        let length = sample_rate / rate.as_f64();
        Self { rate, sample_rate, length, written: 0, position: 0.0, level: -LEVEL, carried: 0.0 }
    }

    /// The same at another speed of the tape: 0.5 is half, which is an octave below.
    #[must_use]
    pub fn speed(mut self, speed: f64) -> Self {
        self.length = self.sample_rate / self.rate.as_f64() / speed.clamp(0.01, 100.0);
        self
    }

    /// Adds the samples of a frame.
    pub fn encode(&mut self, timecode: Timecode, samples: &mut Vec<f32>) {
        let bits = bits(timecode, self.rate.nominal());
        self.write((0..BITS).map(|bit| bits >> bit & 1 == 1), samples);
    }

    /// Adds the samples of a frame that is played backwards.
    pub fn encode_reversed(&mut self, timecode: Timecode, samples: &mut Vec<f32>) {
        let bits = bits(timecode, self.rate.nominal());
        self.write((0..BITS).rev().map(|bit| bits >> bit & 1 == 1), samples);
    }

    fn write(&mut self, bits: impl Iterator<Item = bool>, samples: &mut Vec<f32>) {
        let bit = self.length / BITS as f64;
        for (index, is_one) in bits.enumerate() {
            let start = self.position + index as f64 * bit;
            self.change(start, samples);
            if is_one {
                self.change(start + bit / 2.0, samples);
            }
        }
        self.position += self.length;
    }

    /// The level until a change, and the change: each sample is the mean of its time, so that none is at a whole sample.
    fn change(&mut self, at: f64, samples: &mut Vec<f32>) {
        while ((self.written + 1) as f64) <= at {
            samples.push(self.level + self.carried);
            self.carried = 0.0;
            self.written += 1;
        }
        let rest = (((self.written + 1) as f64) - at) as f32;
        self.level = -self.level;
        // The sample in which it happens is of both levels.
        self.carried += -2.0 * self.level * (1.0 - rest);
    }
}
