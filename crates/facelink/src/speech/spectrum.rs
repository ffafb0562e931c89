//! From samples to mel bands: windows of 25 ms, every 10 ms.

use std::{sync::Arc, time::Duration};

use realfft::{ComplexToReal, RealFftPlanner, RealToComplex, num_complex::Complex};

/// Between two frames.
pub const HOP: Duration = Duration::from_millis(10);
/// Sound that one frame looks at.
pub const WINDOW: Duration = Duration::from_millis(25);
/// Samples a second, at least.
pub const MIN_RATE: u32 = 8_000;
/// Samples a second, at most.
pub const MAX_RATE: u32 = 192_000;
/// Interleaved channels, at most; they are mixed to one.
pub const MAX_CHANNELS: u16 = 32;

pub(super) const BANDS: usize = 24;
const HOPS_A_SECOND: u64 = 100;
const LOWEST_HZ: f32 = 100.0;
/// Pitch is looked for between these.
const LOWEST_PITCH_HZ: f32 = 75.0;
const HIGHEST_PITCH_HZ: f32 = 400.0;
/// Long lags compare little of the window: noise would seem periodic by chance.
const LEAST_OVERLAP: f32 = 0.35;
/// Added to every band: below all that a sound card records.
const QUIETEST: f32 = 1e-14;

fn mel(hz: f32) -> f32 {
    1127.0 * (hz / 700.0).ln_1p()
}

fn hz(mel: f32) -> f32 {
    700.0 * (mel / 1127.0).exp_m1()
}

/// Bins of one band, from `first` on, with their shares.
struct Band {
    first: usize,
    shares: Vec<f32>,
}

/// What one window has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sound {
    /// Power of each band, a Hz, times the square of its frequency in kHz: speech falls by that slope.
    pub bands: [f32; BANDS],
    /// dB below full scale.
    pub level: f32,
    /// How periodic it is, as a voice: 0 to 1.
    pub voicing: f32,
}

/// Cuts samples into windows and transforms them.
pub(super) struct Spectrum {
    rate: u32,
    forward: Arc<dyn RealToComplex<f32>>,
    backward: Arc<dyn ComplexToReal<f32>>,
    shape: Vec<f32>,
    /// Of the window with itself, by lag: what a periodic sound could reach at most.
    overlap: Vec<f32>,
    bands: Vec<Band>,
    /// Samples from the start of the next window on, windows and samples so far.
    buffer: Vec<f32>,
    hops: u64,
    taken: u64,
    time: Vec<f32>,
    bins: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
    scale: f32,
}

impl Spectrum {
    /// For a rate from [`MIN_RATE`] to [`MAX_RATE`], with bands up to `high_hz`, or to half the rate where that is less.
    pub fn new(rate: u32, high_hz: f32) -> Self {
        let window = (u64::from(rate) * WINDOW.as_millis() as u64 / 1000) as usize;
        let longest = (rate as f32 / LOWEST_PITCH_HZ) as usize;
        let size = (window + longest + 1).next_power_of_two();
        let mut planner = RealFftPlanner::new();
        let (forward, backward) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let turn = std::f32::consts::TAU / window as f32;
        let shape: Vec<f32> = (0..window).map(|i| 0.5 - 0.5 * (turn * (i as f32 + 0.5)).cos()).collect();
        let energy: f32 = shape.iter().map(|w| w * w).sum();
        let overlap = (0..=longest)
            .map(|lag| shape.iter().zip(&shape[lag.min(window)..]).map(|(a, b)| a * b).sum::<f32>() / energy)
            .collect();
        let bin_hz = rate as f32 / size as f32;
        let high = mel(high_hz.min(rate as f32 * 0.475));
        let low = mel(LOWEST_HZ);
        let edge = |i: usize| hz(low + (high - low) * i as f32 / (BANDS + 1) as f32);
        let bands = (0..BANDS)
            .map(|i| {
                let (start, middle, end) = (edge(i), edge(i + 1), edge(i + 2));
                let first = (start / bin_hz).ceil() as usize;
                let last = ((end / bin_hz).floor() as usize).min(size / 2);
                let slope = (middle / 1000.0).powi(2);
                let shares: Vec<f32> = (first..=last.max(first))
                    .map(|bin| {
                        let f = bin as f32 * bin_hz;
                        ((f - start) / (middle - start)).min((end - f) / (end - middle)).max(1e-3)
                    })
                    .collect();
                let sum: f32 = shares.iter().sum();
                Band { first, shares: shares.into_iter().map(|share| share / sum * slope).collect() }
            })
            .collect();
        let scratch = vec![Complex::default(); forward.get_scratch_len().max(backward.get_scratch_len())];
        Self {
            rate,
            time: forward.make_input_vec(),
            bins: forward.make_output_vec(),
            scratch,
            forward,
            backward,
            shape,
            overlap,
            bands,
            buffer: Vec::with_capacity(2 * size),
            hops: 0,
            taken: 0,
            scale: 1.0 / (energy * rate as f32),
        }
    }

    /// Forgets the samples so far.
    pub fn reset(&mut self) {
        self.buffer.clear();
        (self.hops, self.taken) = (0, 0);
    }

    /// Samples so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes one sample; `true` when a window is full. Then [`Self::sound`] has to be called.
    pub fn push(&mut self, sample: f32) -> bool {
        self.taken += 1;
        self.buffer.push(sample);
        self.buffer.len() >= self.shape.len()
    }

    /// The window that is full; the next one starts a hop later.
    pub fn sound(&mut self) -> Sound {
        let window = &self.buffer[..self.shape.len()];
        let mean = window.iter().sum::<f32>() / window.len() as f32;
        let power = window.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / window.len() as f32;
        for ((out, x), shape) in self.time.iter_mut().zip(window).zip(&self.shape) {
            *out = (x - mean) * shape;
        }
        self.time[self.shape.len()..].fill(0.0);
        let mut sound = Sound { level: 10.0 * (power + 1e-12).log10(), ..Sound::default() };
        // The lengths are those of the plans.
        if self.forward.process_with_scratch(&mut self.time, &mut self.bins, &mut self.scratch).is_ok() {
            for bin in &mut self.bins {
                *bin = Complex::new(bin.norm_sqr(), 0.0);
            }
            for (out, band) in sound.bands.iter_mut().zip(&self.bands) {
                let bins = self.bins[band.first..].iter().zip(&band.shares);
                *out = bins.map(|(bin, share)| bin.re * share).sum::<f32>() * self.scale + QUIETEST;
            }
            // A voice has little above 1.5 kHz that repeats cleanly, and rumble below is none.
            let bin_hz = self.rate as f32 / self.time.len() as f32;
            let (low, high) = ((60.0 / bin_hz) as usize, (1500.0 / bin_hz) as usize);
            self.bins[..low].fill(Complex::default());
            if let Some(rest) = self.bins.get_mut(high..) {
                rest.fill(Complex::default());
            }
            if self.backward.process_with_scratch(&mut self.bins, &mut self.time, &mut self.scratch).is_ok() {
                sound.voicing = self.voicing();
            }
        }
        let start = self.hops * u64::from(self.rate) / HOPS_A_SECOND;
        self.hops += 1;
        let next = self.hops * u64::from(self.rate) / HOPS_A_SECOND;
        self.buffer.drain(..(next - start) as usize);
        sound
    }

    /// The highest peak of the autocorrelation, which is in `time`, over the lags of a pitch.
    fn voicing(&self) -> f32 {
        let zero = self.time[0];
        if zero <= 0.0 {
            return 0.0;
        }
        let shortest = ((self.rate as f32 / HIGHEST_PITCH_HZ) as usize).max(1);
        let around = self.time[shortest - 1..].windows(3);
        let peaks = around.zip(&self.overlap[shortest..]).filter(|(at, _)| at[1] >= at[0] && at[1] >= at[2]);
        peaks.map(|(at, most)| at[1] / zero / most.max(LEAST_OVERLAP)).fold(0.0, f32::max).min(1.0)
    }
}

impl std::fmt::Debug for Spectrum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spectrum").field("rate", &self.rate).field("taken", &self.taken).finish_non_exhaustive()
    }
}
