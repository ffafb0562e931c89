//! From sounds to mouth shapes: what is said, with the past taken into account and the future not waited for.

use super::{
    features::{FEATURES, Heard},
    noise::VOICE,
    profile::{Template, VoiceProfile},
};
use crate::wire::viseme::Viseme;

const VISEMES: usize = Viseme::ALL.len();
/// Neighbouring windows overlap, and are no independent evidence: their share in the decision.
const EVIDENCE: f32 = 0.5;
/// Share of the prior: how often a sound is says little about this one.
const PRIOR: f32 = 0.5;
/// Chance that a mouth shape lasts for another hop.
const STAYS: f32 = 0.85;
/// dB above the background, in the mean of all bands, at which speech begins and ends.
const BEGINS: f32 = 4.0;
const ENDS: f32 = 2.5;
/// dB: and no more than this below the speaker's level.
const DEEPEST: f32 = -42.0;
/// dB: below full scale, nothing is speech.
const LEAST_LEVEL: f32 = -68.0;
/// Hops that lips or tongue stay closed when the voice stops; a longer pause is silence.
const CLOSED: u32 = 14;
/// Hops for which silence has to last before a mouth that was not closing rests.
const RESTS: u32 = 6;
/// Share of a closure's chance above which the lips meet.
const LIPS: f32 = 0.4;
/// dB of loudness from a weight of 0.3 to 1.
const SWING: f32 = 30.0;

#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub viseme: Viseme,
    pub weight: f32,
    pub scores: [f32; VISEMES],
}

#[derive(Clone, Debug)]
pub(super) struct Decider {
    chances: [f32; VISEMES],
    speaking: bool,
    /// Hops since the voice stopped.
    quiet: u32,
    /// What the mouth does when the voice stops.
    closing: [f32; VISEMES],
    last: Viseme,
}

impl Default for Decider {
    fn default() -> Self {
        Self {
            chances: [1.0 / VISEMES as f32; VISEMES],
            speaking: false,
            quiet: u32::MAX,
            closing: [0.0; VISEMES],
            last: Viseme::Sil,
        }
    }
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The chance of each viseme by its templates.
fn chances(templates: &[Template], place: &[f32]) -> [f32; VISEMES] {
    let mut logs = [f32::NEG_INFINITY; VISEMES];
    for template in templates {
        let log = PRIOR * template.prior - 0.5 * distance(&template.mean, place);
        let of = &mut logs[template.viseme as usize];
        let (high, low) = (of.max(log), of.min(log));
        *of = high + (low - high).exp().ln_1p();
    }
    let best = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if best == f32::NEG_INFINITY {
        return [0.0; VISEMES];
    }
    logs.map(|log| (EVIDENCE * (log - best)).exp())
}

fn normalise(chances: &mut [f32; VISEMES]) {
    let sum: f32 = chances.iter().sum();
    if sum > 0.0 {
        chances.iter_mut().for_each(|chance| *chance /= sum);
    }
}

impl Decider {
    pub fn decide(&mut self, heard: &Heard, profile: &VoiceProfile) -> Decision {
        let limit = if self.speaking { ENDS } else { BEGINS };
        self.speaking = heard.excess > limit && heard.loudness > DEEPEST && heard.level > LEAST_LEVEL;
        let mut place = [0.0; FEATURES];
        profile.project(&heard.features, &mut place);
        let place = &place[..profile.dimensions()];
        if self.speaking {
            self.quiet = 0;
            let evidence = chances(&profile.templates, place);
            let moves = (1.0 - STAYS) / (VISEMES - 1) as f32;
            for (chance, evidence) in self.chances.iter_mut().zip(evidence) {
                *chance = (STAYS * *chance + moves * (1.0 - *chance)) * evidence;
            }
            normalise(&mut self.chances);
            if heard.voicing > VOICE || heard.loudness > -20.0 {
                // The last hops before the voice stops say it together.
                for (closing, now) in self.closing.iter_mut().zip(chances(&profile.closing, place)) {
                    *closing = (*closing).max(1e-4).sqrt() * now;
                }
                normalise(&mut self.closing);
            }
        } else {
            self.quiet = self.quiet.saturating_add(1);
            self.chances = [1.0 / VISEMES as f32; VISEMES];
        }
        self.show(heard.loudness)
    }

    fn show(&mut self, loudness: f32) -> Decision {
        let lips = self.closing[Viseme::Pp as usize];
        let only = |viseme: Viseme| std::array::from_fn(|i| f32::from(u8::from(i == viseme as usize)));
        let mut scores = self.chances;
        let viseme = if self.speaking {
            let (mut best, mut most) = (self.last, scores[self.last as usize] * 1.1);
            for viseme in Viseme::ALL {
                if scores[viseme as usize] > most {
                    (best, most) = (viseme, scores[viseme as usize]);
                }
            }
            best
        } else if self.quiet <= CLOSED && (lips > LIPS || (self.last == Viseme::Pp && self.quiet <= RESTS)) {
            scores = only(Viseme::Pp);
            Viseme::Pp
        } else if self.quiet <= RESTS {
            scores = only(self.last);
            self.last
        } else {
            scores = only(Viseme::Sil);
            Viseme::Sil
        };
        self.last = viseme;
        let weight = match viseme {
            Viseme::Sil => 0.0,
            Viseme::Pp => 1.0,
            _ if self.speaking => (1.0 + loudness * 0.7 / SWING).clamp(0.3, 1.0),
            _ => 0.3,
        };
        Decision { viseme, weight, scores }
    }
}
