//! A profile for one voice, from its vowels.

use super::{
    analyzer::{SpeechAnalyzer, SpeechError, SpeechFrame},
    features::{COEFFICIENTS, FEATURES},
    noise::VOICE,
    profile::{VOWELS, VoiceProfile},
    spectrum::HOP,
};
use crate::wire::viseme::Viseme;

/// Hops of a vowel that are needed: a fifth of a second.
const LEAST: usize = 20;
/// Hops of a vowel that are kept, at most: a minute.
const MAX_KEPT: usize = 6_000;
/// Share of the difference from usual voices that is taken over.
const SHARE: f32 = 0.5;
/// dB below the loudest of the vowel: what is quieter is its beginning or end.
const STEADY: f32 = 12.0;
/// Hops that means count for to stay as they are.
const FIXED: f32 = 1e6;
/// Hops that means of a calibrated voice count for.
const CALIBRATED: f32 = 150.0;
/// Hops of quiet that part two vowels.
const PAUSE: usize = 12;

/// Why a voice was not calibrated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// The sound is refused.
    #[error(transparent)]
    Sound(#[from] SpeechError),
    /// Only vowels are calibrated.
    #[error("`viseme` is {0}, expected one of aa, E, ih, oh, ou")]
    NoVowel(&'static str),
    /// Less than a fifth of a second of voice.
    #[error("`samples` has {0} ms of voice, expected 200 at least")]
    TooShort(u64),
    /// One recording of all vowels has another number of them.
    #[error("`samples` has {0} sounds with pauses between them, expected 5: aa, E, ih, oh, ou")]
    NotFive(usize),
    /// No vowel was added.
    #[error("no vowel was added")]
    Empty,
}

/// Fits a profile to a voice that holds vowels: five seconds of speech are enough.
#[derive(Clone, Debug)]
pub struct Calibration {
    base: VoiceProfile,
    /// The same, without getting used to the voice: a vowel that is held would be taken for it.
    fixed: VoiceProfile,
    kept: [Vec<[f32; FEATURES]>; VOWELS.len()],
}

impl Calibration {
    /// Starts from this profile, usually [`VoiceProfile::builtin`] for the rate of the microphone.
    pub fn new(base: VoiceProfile) -> Self {
        let mut fixed = base.clone();
        fixed.inertia = FIXED;
        Self { base, fixed, kept: Default::default() }
    }

    fn frames(&self, rate: u32, channels: u16, samples: &[f32]) -> Result<Vec<SpeechFrame>, SpeechError> {
        let mut analyzer = SpeechAnalyzer::new(rate, channels, &self.fixed)?;
        let mut frames = Vec::new();
        analyzer.push(samples, |frame| frames.push(*frame))?;
        Ok(frames)
    }

    /// Adds a recording of one vowel, held or repeated; the rest of the recording has to be quiet. Returns the milliseconds of
    /// voice in it.
    pub fn add(&mut self, vowel: Viseme, rate: u32, channels: u16, samples: &[f32]) -> Result<u64, CalibrationError> {
        let place = VOWELS.iter().position(|known| *known == vowel).ok_or(CalibrationError::NoVowel(vowel.name()))?;
        let frames = self.frames(rate, channels, samples)?;
        self.keep(place, &frames)
    }

    /// Adds a recording of all [`VOWELS`] in their order, with pauses of a fifth of a second or more between them.
    pub fn add_in_order(&mut self, rate: u32, channels: u16, samples: &[f32]) -> Result<(), CalibrationError> {
        let frames = self.frames(rate, channels, samples)?;
        let mut parts: Vec<&[SpeechFrame]> = Vec::new();
        let (mut start, mut voiced, mut quiet) = (0, 0, 0);
        for (place, frame) in frames.iter().enumerate() {
            if is_voice(frame) {
                if voiced == 0 {
                    start = place;
                }
                voiced += 1;
                quiet = 0;
            } else {
                quiet += 1;
            }
            if voiced > 0 && (quiet >= PAUSE || place + 1 == frames.len()) {
                // A click is no vowel.
                if voiced >= LEAST / 2 {
                    parts.push(&frames[start..=place]);
                }
                voiced = 0;
            }
        }
        if parts.len() != VOWELS.len() {
            return Err(CalibrationError::NotFive(parts.len()));
        }
        let before = self.kept.clone();
        for (place, part) in parts.into_iter().enumerate() {
            if let Err(error) = self.keep(place, part) {
                self.kept = before;
                return Err(error);
            }
        }
        Ok(())
    }

    fn keep(&mut self, place: usize, frames: &[SpeechFrame]) -> Result<u64, CalibrationError> {
        let loudest = frames.iter().filter(|frame| is_voice(frame)).map(|frame| frame.level).fold(-200.0, f32::max);
        let steady = frames.iter().filter(|frame| is_voice(frame) && frame.level > loudest - STEADY);
        let found: Vec<_> = steady.map(|frame| frame.features).collect();
        let milliseconds = (found.len() as u128 * HOP.as_millis()) as u64;
        if found.len() < LEAST {
            return Err(CalibrationError::TooShort(milliseconds));
        }
        let kept = &mut self.kept[place];
        let room = MAX_KEPT.saturating_sub(kept.len());
        kept.extend(found.into_iter().take(room));
        Ok(milliseconds)
    }

    /// Which of [`VOWELS`] have been added.
    pub fn has(&self) -> [bool; VOWELS.len()] {
        std::array::from_fn(|place| !self.kept[place].is_empty())
    }

    /// The profile of the voice. Vowels that were not added move with those that were.
    pub fn finish(self) -> Result<VoiceProfile, CalibrationError> {
        let mut profile = self.base;
        let count = self.kept.iter().filter(|kept| !kept.is_empty()).count() as f32;
        if count == 0.0 {
            return Err(CalibrationError::Empty);
        }
        let mean = |kept: &[[f32; FEATURES]]| -> [f32; FEATURES] {
            std::array::from_fn(|i| kept.iter().map(|features| features[i]).sum::<f32>() / kept.len() as f32)
        };
        let means: Vec<Option<[f32; FEATURES]>> =
            self.kept.iter().map(|kept| (!kept.is_empty()).then(|| mean(kept))).collect();
        // First what all vowels have in common: the microphone, and much of the throat.
        let known = || means.iter().zip(&profile.held).filter_map(|(mean, held)| Some((mean.as_ref()?, held)));
        let mut common = [0.0; FEATURES];
        for (i, common) in common.iter_mut().enumerate().take(COEFFICIENTS).skip(1) {
            *common = known().map(|(mean, held)| mean[i] - held[i]).sum::<f32>() / count;
        }
        // Then what is left of each.
        let dimensions = profile.dimensions();
        let mut own = vec![vec![0.0; dimensions]; VOWELS.len()];
        for ((own, mean), held) in own.iter_mut().zip(&means).zip(&profile.held) {
            let Some(mean) = mean else { continue };
            let (mut here, mut there) = ([0.0; FEATURES], [0.0; FEATURES]);
            profile.project(&std::array::from_fn(|i| mean[i] - common[i]), &mut here);
            profile.project(held, &mut there);
            own.iter_mut().zip(here.iter().zip(there)).for_each(|(own, (here, there))| *own = SHARE * (here - there));
        }
        for template in &mut profile.templates {
            let Some(place) = VOWELS.iter().position(|vowel| *vowel == template.viseme) else { continue };
            template.mean.iter_mut().zip(&own[place]).for_each(|(mean, own)| *mean += own);
        }
        for (held, mean) in profile.held.iter_mut().zip(&means) {
            if let Some(mean) = mean {
                *held = std::array::from_fn(|i| mean[i] - common[i]);
            }
        }
        profile.usual.iter_mut().zip(common).for_each(|(usual, common)| *usual += common);
        profile.inertia = CALIBRATED;
        Ok(profile)
    }
}

fn is_voice(frame: &SpeechFrame) -> bool {
    frame.viseme != Viseme::Sil && frame.voicing > VOICE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_refuses_what_is_no_vowel() {
        let base = VoiceProfile::builtin(16_000);
        let mut calibration = Calibration::new(base.clone());
        let quiet = vec![0.0; 16_000];
        assert_eq!(calibration.add(Viseme::Pp, 16_000, 1, &quiet), Err(CalibrationError::NoVowel("PP")));
        assert_eq!(calibration.add(Viseme::Aa, 16_000, 1, &quiet), Err(CalibrationError::TooShort(0)));
        assert_eq!(calibration.add_in_order(16_000, 1, &quiet), Err(CalibrationError::NotFive(0)));
        assert_eq!(calibration.add(Viseme::Aa, 0, 1, &quiet), Err(CalibrationError::Sound(SpeechError::Rate(0))));
        assert_eq!(calibration.has(), [false; 5]);
        assert_eq!(calibration.finish(), Err(CalibrationError::Empty));
    }
}
