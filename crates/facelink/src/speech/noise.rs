//! The noise floor, what is heard without speech: the minimum of each band over the last seconds (minimum statistics).

use super::spectrum::{BANDS, Sound};

/// Parts of the time that is looked back at.
const PARTS: usize = 5;
/// Hops of a part: 0.5 s, so that a change of the background counts after 2.5 s.
const PART: f32 = 50.0;
/// What a voiced hop counts: a vowel that is held is no background for five times as long.
const VOICED: f32 = 0.2;
/// Above this it is no noise that looks like one.
const SURE_VOICE: f32 = 0.75;
/// Hops without a voice after which a stream that began with one is at its background.
const SURE: u32 = 15;
/// Above this a window is a voice.
pub(super) const VOICE: f32 = 0.55;
/// Of each band's smoothing, a hop.
const SMOOTHING: f32 = 0.75;
/// From the minimum of the smoothed power to its mean, for noise.
const BIAS: f32 = 1.8;
/// No background is taken to be quieter than this in any band: about -85 dB below full scale.
const QUIETEST: f32 = 3e-13;

/// Follows the background.
#[derive(Clone, Debug)]
pub(super) struct NoiseFloor {
    smooth: Option<[f32; BANDS]>,
    minima: [[f32; BANDS]; PARTS],
    part: usize,
    counted: f32,
    begins_voiced: bool,
    unvoiced: u32,
}

impl Default for NoiseFloor {
    fn default() -> Self {
        Self {
            smooth: None,
            minima: [[f32::INFINITY; BANDS]; PARTS],
            part: 0,
            counted: 0.0,
            begins_voiced: false,
            unvoiced: 0,
        }
    }
}

impl NoiseFloor {
    /// Hears one window.
    pub fn hear(&mut self, sound: &Sound) {
        let voiced = sound.voicing > VOICE;
        // A stream may begin within a word, which is no background, nor are its consonants.
        self.begins_voiced |= self.smooth.is_none() && sound.voicing > SURE_VOICE;
        self.unvoiced = if voiced { 0 } else { self.unvoiced.saturating_add(1) };
        if self.smooth.is_none() && self.begins_voiced && self.unvoiced < SURE {
            return;
        }
        let smooth = self.smooth.get_or_insert(sound.bands);
        for ((smooth, now), least) in smooth.iter_mut().zip(&sound.bands).zip(&mut self.minima[self.part]) {
            *smooth = *now + SMOOTHING * (*smooth - *now);
            *least = least.min(*smooth);
        }
        self.counted += if voiced { VOICED } else { 1.0 };
        if self.counted >= PART {
            self.counted = 0.0;
            self.part = (self.part + 1) % PARTS;
            self.minima[self.part] = *smooth;
        }
    }

    /// Mean power of each band of the background.
    pub fn bands(&self) -> [f32; BANDS] {
        std::array::from_fn(|band| {
            let least = self.minima.iter().map(|part| part[band]).fold(f32::INFINITY, f32::min);
            if least.is_finite() { (least * BIAS).max(QUIETEST) } else { QUIETEST }
        })
    }
}
