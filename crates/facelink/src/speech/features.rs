//! From bands to features: cepstral coefficients relative to the speaker's level, how they change, and voicing.

use std::{array, f32::consts::PI, time::Duration};

use super::{
    noise::{NoiseFloor, VOICE},
    spectrum::{BANDS, HOP, Sound, WINDOW},
};

pub(super) const COEFFICIENTS: usize = 13;
/// Numbers that describe a hop: 13 coefficients, all but the first relative to their means for this voice and microphone; their
/// change over 30 ms; and voicing.
pub const FEATURES: usize = 2 * COEFFICIENTS + 1;
/// From a sound to its viseme, at most: the window, the hop that is being filled, and the hop after it, by which the
/// change is known. What a device keeps back comes on top.
pub const LATENCY: Duration = Duration::from_millis(WINDOW.as_millis() as u64 + 2 * HOP.as_millis() as u64);

/// dB: what lies further below the loudest band of a window says nothing.
const RANGE: f32 = 40.0;
/// dB: nor what lies further below the speaker's level.
const DEPTH: f32 = 50.0;
/// dB a hop by which the level of the speaker is forgotten.
const FORGET: f32 = 0.05;
/// dB: a speaker is at least this much above the background.
const LEAST_ABOVE: f32 = 25.0;
/// Hops of voice after which an earlier one is forgotten: 4 s.
const MEMORY: f32 = 400.0;
/// Change of the coefficients at which a hop counts in full: a vowel that is held says nothing of the voice.
const MOVING: f32 = 25.0;
/// dB above the background from which a hop says something of the voice.
const CLEAR: f32 = 4.0;
/// Share of a band that is left when the background is subtracted.
const LEAST_LEFT: f32 = 0.02;

fn db(power: f32) -> f32 {
    10.0 * power.log10()
}

/// One hop, described.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    pub features: [f32; FEATURES],
    /// dB relative to the speaker's level; about 0 in loud vowels.
    pub loudness: f32,
    /// dB by which the bands exceed the background, in the mean.
    pub excess: f32,
    /// dB below full scale.
    pub level: f32,
    pub voicing: f32,
}

#[derive(Clone, Copy, Debug)]
struct Past {
    cepstrum: [f32; COEFFICIENTS],
    loudness: f32,
    excess: f32,
    level: f32,
    voicing: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Features {
    noise: NoiseFloor,
    cosines: [[f32; BANDS]; COEFFICIENTS],
    speaker: f32,
    /// Mean of the coefficients while there is a voice, of which the first is not used: microphone and throat. And how many
    /// hops it stands for.
    usual: [f32; COEFFICIENTS],
    weight: f32,
    /// The newest first.
    past: [Option<Past>; 4],
}

impl Features {
    /// Starts from the means of a profile, which count as much as `inertia` hops of voice.
    pub fn new(usual: [f32; COEFFICIENTS], inertia: f32) -> Self {
        let scale = (2.0 / BANDS as f32).sqrt();
        Self {
            noise: NoiseFloor::default(),
            cosines: array::from_fn(|i| {
                let half = if i == 0 { 0.5 } else { 1.0 };
                array::from_fn(|band| half * scale * (PI * i as f32 * (band as f32 + 0.5) / BANDS as f32).cos())
            }),
            speaker: f32::NEG_INFINITY,
            usual,
            weight: inertia,
            past: [None; 4],
        }
    }

    /// Describes the window before this one, which is known now together with what came after it.
    pub fn hear(&mut self, sound: &Sound) -> Option<Heard> {
        self.noise.hear(sound);
        let noise = self.noise.bands();
        let total = db(sound.bands.iter().sum());
        let background = db(noise.iter().sum());
        self.speaker = total.max(self.speaker - FORGET).max(background + LEAST_ABOVE);
        let mut excess = 0.0;
        let mut logs = [0.0; BANDS];
        for ((log, power), noise) in logs.iter_mut().zip(sound.bands).zip(noise) {
            *log = db((power - noise).max(LEAST_LEFT * power));
            excess += db(power / noise).clamp(0.0, 40.0) / BANDS as f32;
        }
        let loudest = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let floor = (loudest - RANGE).max(self.speaker - DEPTH);
        let mut cepstrum = [0.0; COEFFICIENTS];
        for (out, cosines) in cepstrum.iter_mut().zip(&self.cosines) {
            *out = logs.iter().zip(cosines).map(|(log, cosine)| (log.max(floor) - self.speaker) * cosine).sum();
        }
        self.past.rotate_right(1);
        self.past[0] =
            Some(Past { cepstrum, loudness: total - self.speaker, excess, level: sound.level, voicing: sound.voicing });
        let (newest, now) = (self.past[0]?, self.past[1]?);
        let oldest = self.past[3].or(self.past[2]).unwrap_or(now);
        let mut features = [0.0; FEATURES];
        let changes = newest.cepstrum.iter().zip(oldest.cepstrum).map(|(newest, oldest)| newest - oldest);
        features[COEFFICIENTS..].iter_mut().zip(changes).for_each(|(out, change)| *out = change);
        if now.voicing > VOICE && now.excess > CLEAR {
            let change = features[COEFFICIENTS + 1..2 * COEFFICIENTS].iter().map(|x| x * x).sum::<f32>().sqrt();
            let share = (change / MOVING).min(1.0);
            self.weight = (self.weight + share).min(self.weight.max(MEMORY));
            let part = share / self.weight.max(1.0);
            self.usual.iter_mut().zip(now.cepstrum).for_each(|(usual, now)| *usual += part * (now - *usual));
        }
        let relative = now.cepstrum.iter().zip(self.usual).map(|(now, usual)| now - usual);
        features.iter_mut().zip(relative).for_each(|(out, relative)| *out = relative);
        // Loudness is relative to the speaker's already.
        features[0] = now.cepstrum[0];
        // In the scale of the others.
        features[2 * COEFFICIENTS] = 10.0 * now.voicing;
        Some(Heard { features, loudness: now.loudness, excess: now.excess, level: now.level, voicing: now.voicing })
    }
}
