//! Samples in, visemes out.

use std::time::Duration;

use super::{
    decide::Decider,
    features::{FEATURES, Features},
    profile::VoiceProfile,
    spectrum::{HOP, MAX_CHANNELS, MAX_RATE, MIN_RATE, Spectrum, WINDOW},
};
use crate::wire::viseme::Viseme;

/// Samples of one call of [`SpeechAnalyzer::push`], at most, all channels together: 87 seconds of stereo at 48 kHz.
pub const MAX_SAMPLES: usize = 1 << 23;
/// Samples are taken to be in this range; louder ones are clipped to it. Full scale is 1.
const LOUDEST: f32 = 4.0;

/// Why sound is refused. A call that is refused changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpeechError {
    /// The rate is not one of sound.
    #[error("`rate` is {0} samples a second, expected {MIN_RATE} to {MAX_RATE}")]
    Rate(u32),
    /// No channel, or too many.
    #[error("`channels` is {0}, expected 1 to {MAX_CHANNELS}")]
    Channels(u16),
    /// The last sample of some channel is missing.
    #[error("`samples` has {samples} values, which is no multiple of {channels} channels")]
    Uneven {
        /// Values that were passed.
        samples: usize,
        /// Channels of the analyzer.
        channels: u16,
    },
    /// More at once than [`MAX_SAMPLES`].
    #[error("`samples` has {0} values, expected at most {MAX_SAMPLES} in one call")]
    TooMany(usize),
    /// Not a number, or infinite.
    #[error("`samples[{0}]` is not finite")]
    NotFinite(usize),
}

/// What a mouth does in one hop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeechFrame {
    /// Middle of the window that it describes, since the first sample.
    pub at: Duration,
    /// End of the sound that had to be heard for it, since the first sample. Their difference is constant but for half a
    /// sample.
    pub known: Duration,
    /// What is said; [`Viseme::Sil`] in silence.
    pub viseme: Viseme,
    /// How far the mouth goes, 0 to 1, by loudness; 0 in silence.
    pub weight: f32,
    /// How likely each viseme is, in the order of [`Viseme::ALL`], with the sum 1.
    pub scores: [f32; 15],
    /// dB below full scale.
    pub level: f32,
    /// dB above the background, in the mean of the bands.
    pub excess: f32,
    /// How periodic the sound is: 0 to 1. Vowels are above 0.6.
    pub voicing: f32,
    /// What the decision was made from, for profiles of your own.
    pub features: [f32; FEATURES],
}

/// Turns sound into visemes: a [`SpeechFrame`] every [`HOP`]. Allocates nothing after it was made.
#[derive(Debug)]
pub struct SpeechAnalyzer {
    rate: u32,
    channels: u16,
    spectrum: Spectrum,
    features: Features,
    decider: Decider,
    profile: VoiceProfile,
}

impl SpeechAnalyzer {
    /// For interleaved samples of `channels` channels, `rate` of each a second.
    pub fn new(rate: u32, channels: u16, profile: &VoiceProfile) -> Result<Self, SpeechError> {
        if !(MIN_RATE..=MAX_RATE).contains(&rate) {
            return Err(SpeechError::Rate(rate));
        }
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(SpeechError::Channels(channels));
        }
        Ok(Self {
            rate,
            channels,
            spectrum: Spectrum::new(rate, profile.high_hz),
            features: Features::new(profile.usual, profile.inertia),
            decider: Decider::default(),
            profile: profile.clone(),
        })
    }

    /// Takes samples, -1 to 1, as many as there are, and calls `each` for every hop that they complete.
    pub fn push(&mut self, samples: &[f32], mut each: impl FnMut(&SpeechFrame)) -> Result<(), SpeechError> {
        let channels = usize::from(self.channels);
        if samples.len() > MAX_SAMPLES {
            return Err(SpeechError::TooMany(samples.len()));
        }
        if !samples.len().is_multiple_of(channels) {
            return Err(SpeechError::Uneven { samples: samples.len(), channels: self.channels });
        }
        if let Some(place) = samples.iter().position(|sample| !sample.is_finite()) {
            return Err(SpeechError::NotFinite(place));
        }
        for frame in samples.chunks_exact(channels) {
            let sum: f32 = frame.iter().map(|sample| sample.clamp(-LOUDEST, LOUDEST)).sum();
            if self.spectrum.push(sum / channels as f32)
                && let Some(frame) = self.hop()
            {
                each(&frame);
            }
        }
        Ok(())
    }

    fn hop(&mut self) -> Option<SpeechFrame> {
        let known = self.spectrum.taken();
        let sound = self.spectrum.sound();
        let heard = self.features.hear(&sound)?;
        let decision = self.decider.decide(&heard, &self.profile);
        let known = Duration::from_nanos(known.saturating_mul(1_000_000_000) / u64::from(self.rate));
        Some(SpeechFrame {
            at: known.saturating_sub(WINDOW / 2 + HOP),
            known,
            viseme: decision.viseme,
            weight: decision.weight,
            scores: decision.scores,
            level: heard.level,
            excess: heard.excess,
            voicing: heard.voicing,
            features: heard.features,
        })
    }

    /// Continues as with a new stream, such as after the microphone was away: the background and the voice's level are
    /// learnt again.
    pub fn reset(&mut self) {
        self.spectrum.reset();
        self.features = Features::new(self.profile.usual, self.profile.inertia);
        self.decider = Decider::default();
    }

    /// Samples a second of each channel.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// Interleaved channels.
    pub fn channels(&self) -> u16 {
        self.channels
    }
}
