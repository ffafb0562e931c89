//! Timecode out of samples.

use super::{BITS, SYNC, Timecode};

/// How fast the measured extremes of the signal forget, seconds.
const FORGETS: f64 = 0.05;
/// A change of level counts when it is this share of the extremes' distance beyond their middle: noise does not get there.
const HYSTERESIS: f32 = 0.15;
/// Signals whose extremes are nearer to each other than this are silence.
const SILENCE: f32 = 0.004;
/// Half a bit at least, and at most, samples: fast winding at 44,100 samples a second, a tenth of the speed at 192,000.
const SHORTEST: f64 = 2.2;
const LONGEST: f64 = 600.0;
/// Distances of changes from which the length of a bit is found. A frame has at least 24 short ones in its sync word.
const WINDOW: usize = 96;
/// Share of them that has to fit.
const FITTING: usize = WINDOW * 9 / 10;
/// What of a new length of half a bit counts.
const FOLLOWS: f64 = 0.05;

/// A frame of timecode in the sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LtcFrame {
    /// Its timecode.
    pub timecode: Timecode,
    /// Where its first bit begins, samples since the first one; between two samples.
    pub start: f64,
    /// How long it was, samples.
    pub length: f64,
    /// The tape runs backwards: the frame was on until `start`.
    pub reversed: bool,
}

/// Reads timecode as it comes, at any level and polarity, forwards or backwards, from a tenth to some times of its speed.
/// Frames are given once two in a row fit together.
#[derive(Clone, Debug)]
pub struct LtcDecoder {
    sample_rate: f64,
    samples: u64,
    // The level.
    high: f32,
    low: f32,
    before: f32,
    is_high: bool,
    /// Where the middle was crossed last.
    crossed: f64,
    // The bits.
    last_change: Option<f64>,
    /// Length of half a bit, samples; 0 while it is not known.
    half: f64,
    /// Where the bit began whose first half is there.
    first_half: Option<f64>,
    recent: [f64; WINDOW],
    changes: usize,
    /// Changes since the last sync word.
    since_sync: usize,
    // The frames.
    register: u128,
    valid: usize,
    /// Where each of the last bits began.
    starts: [f64; BITS],
    bit: usize,
    last: Option<LtcFrame>,
    in_a_row: u32,
    /// Frames of the last second that was seen to end.
    frames_of_second: Option<u8>,
}

impl LtcDecoder {
    /// For so many samples a second.
    pub fn new(sample_rate: f64) -> Self {
        Self {
            sample_rate: if sample_rate.is_finite() { sample_rate.clamp(1000.0, 1e7) } else { 48_000.0 },
            samples: 0,
            high: 0.0,
            low: 0.0,
            before: 0.0,
            is_high: false,
            crossed: 0.0,
            last_change: None,
            half: 0.0,
            first_half: None,
            recent: [0.0; WINDOW],
            changes: 0,
            since_sync: 0,
            register: 0,
            valid: 0,
            starts: [0.0; BITS],
            bit: 0,
            last: None,
            in_a_row: 0,
            frames_of_second: None,
        }
    }

    /// Samples a second.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// Samples so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Frames that the timecode counts in a second, once one was seen to end.
    pub fn frames_of_second(&self) -> Option<u8> {
        self.frames_of_second
    }

    /// Reads samples of one channel, and gives each frame that ends in them. What is not finite is silence.
    pub fn push(&mut self, samples: &[f32], mut found: impl FnMut(LtcFrame)) {
        let forget = (1.0 / (FORGETS * self.sample_rate)) as f32;
        for &sample in samples {
            let sample = if sample.is_finite() { sample.clamp(-8.0, 8.0) } else { 0.0 };
            let span = self.high - self.low;
            self.high = sample.max(self.high - forget * span);
            self.low = sample.min(self.low + forget * span);
            let (span, middle) = (self.high - self.low, f32::midpoint(self.high, self.low));
            if span >= SILENCE {
                if (self.before < middle) != (sample < middle) {
                    let part = (middle - self.before) / (sample - self.before);
                    self.crossed = self.samples as f64 - 1.0 + f64::from(part.clamp(0.0, 1.0));
                }
                let beyond = if self.is_high { middle - sample } else { sample - middle };
                if beyond > HYSTERESIS * span {
                    self.is_high = !self.is_high;
                    // The middle of a sample is its time.
                    self.change(self.crossed + 0.5, &mut found);
                }
            }
            self.before = sample;
            self.samples += 1;
        }
    }

    /// The level has changed.
    fn change(&mut self, at: f64, found: &mut impl FnMut(LtcFrame)) {
        let Some(last) = self.last_change.replace(at) else { return };
        let distance = at - last;
        self.recent[self.changes % WINDOW] = distance;
        self.changes = self.changes.wrapping_add(1);
        self.since_sync = self.since_sync.saturating_add(1);
        // Two frames without a sync word: another speed, or none of it is timecode.
        if self.since_sync >= 4 * BITS && self.changes.is_multiple_of(WINDOW / 4) {
            self.half = self.measure().unwrap_or(0.0);
            self.since_sync = 0;
            self.begin_anew();
        } else if self.half == 0.0 && self.changes >= WINDOW && self.changes.is_multiple_of(8) {
            self.half = self.measure().unwrap_or(0.0);
        }
        if self.half == 0.0 {
            return;
        }
        match (distance / self.half, self.first_half.take()) {
            (share, Some(start)) if (0.4..1.5).contains(&share) => {
                self.follow((at - start) / 2.0);
                self.take_bit(true, start, at, found);
            }
            (share, None) if (0.4..1.5).contains(&share) => self.first_half = Some(last),
            (share, before) if (1.5..2.7).contains(&share) => {
                // The half before this belonged to the bit before it.
                if before.is_some() {
                    self.valid = 0;
                }
                self.follow(distance / 2.0);
                self.take_bit(false, last, at, found);
            }
            _ => self.begin_anew(),
        }
    }

    fn begin_anew(&mut self) {
        self.first_half = None;
        self.valid = 0;
    }

    fn follow(&mut self, half: f64) {
        self.half = (self.half + FOLLOWS * (half - self.half)).clamp(SHORTEST, LONGEST);
    }

    /// Half a bit by the last changes, which are of two lengths.
    fn measure(&self) -> Option<f64> {
        let mut sorted = self.recent;
        sorted.sort_by(f64::total_cmp);
        let shortest = sorted[WINDOW / 10];
        let short = sorted.iter().filter(|distance| (0.6..1.4).contains(&(**distance / shortest)));
        let (count, sum) = short.fold((0, 0.0), |(count, sum), distance| (count + 1, sum + distance));
        let half = sum / f64::from(count.max(1));
        let fits = |distance: &&f64| matches!(**distance / half, share if (0.6..1.4).contains(&share) || (1.6..2.5).contains(&share));
        let fitting = sorted.iter().filter(fits).count();
        (fitting >= FITTING && (SHORTEST..LONGEST).contains(&half)).then_some(half)
    }

    fn take_bit(&mut self, bit: bool, start: f64, end: f64, found: &mut impl FnMut(LtcFrame)) {
        self.register = (self.register >> 1) | (u128::from(bit) << (BITS - 1));
        self.starts[self.bit % BITS] = start;
        self.bit = self.bit.wrapping_add(1);
        self.valid = (self.valid + 1).min(BITS);
        if self.valid < BITS {
            return;
        }
        let first = self.starts[self.bit % BITS];
        let backwards = self.register.reverse_bits() >> (128 - BITS);
        let (bits, start, reversed) = if self.register >> 64 == SYNC {
            (self.register, first, false)
        } else if backwards >> 64 == SYNC {
            (backwards, end, true)
        } else {
            return;
        };
        self.since_sync = 0;
        match read(bits) {
            Some(timecode) => self.take_frame(LtcFrame { timecode, start, length: end - first, reversed }, found),
            None => self.in_a_row = 0,
        }
    }

    /// Gives frames that follow each other.
    fn take_frame(&mut self, frame: LtcFrame, found: &mut impl FnMut(LtcFrame)) {
        let fits = self.last.is_some_and(|last| {
            let [first, second] = if frame.reversed { [frame, last] } else { [last, frame] };
            last.reversed == frame.reversed && follows(first.timecode, second.timecode)
        });
        self.in_a_row = if fits { self.in_a_row.saturating_add(1) } else { 0 };
        let before = self.last.replace(frame).filter(|_| fits);
        if let Some(before) = before {
            let [first, second] = if frame.reversed { [frame, before] } else { [before, frame] };
            if second.timecode.frames < first.timecode.frames {
                self.frames_of_second = Some(first.timecode.frames + 1);
            }
        } else {
            self.frames_of_second = None;
        }
        if self.in_a_row > 0 {
            found(frame);
        }
    }
}

/// Whether a frame is the next one.
fn follows(before: Timecode, next: Timecode) -> bool {
    let second = |timecode: Timecode| {
        (u32::from(timecode.hours) * 60 + u32::from(timecode.minutes)) * 60 + u32::from(timecode.seconds)
    };
    if before.drop_frame != next.drop_frame {
        return false;
    }
    if second(before) == second(next) {
        return next.frames == before.frames + 1;
    }
    let skips = next.drop_frame && next.seconds == 0 && !next.minutes.is_multiple_of(10);
    (second(before) + 1) % 86_400 == second(next) && next.frames == if skips { 2 } else { 0 } && before.frames >= 23
}

/// The timecode of a frame's bits; `None` when they are none.
fn read(bits: u128) -> Option<Timecode> {
    let number = |units: u32, tens: u32, tens_mask: u128, limit: u8| {
        let (units, tens) = ((bits >> units & 0xF) as u8, (bits >> tens & tens_mask) as u8);
        let value = tens * 10 + units;
        (units < 10 && value < limit).then_some(value)
    };
    let frames = number(0, 8, 3, 30)?;
    let [seconds, minutes] = [number(16, 24, 7, 60)?, number(32, 40, 7, 60)?];
    let hours = number(48, 56, 3, 24)?;
    Some(Timecode::new(hours, minutes, seconds, frames, bits >> 10 & 1 == 1))
}
