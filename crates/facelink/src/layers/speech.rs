//! Mouth motion from visemes as they arrive.

use super::BlendRules;
use crate::{
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::viseme::Viseme,
};

/// What moves as one when people speak; each at its own pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Articulator {
    Jaw,
    /// Lips that press, roll or lift: they meet and part fast.
    Lips,
    /// Lips that move forward and round: slow, and begun before the sound.
    Rounding,
    /// Corners that pull to the sides.
    Spreading,
    Tongue,
}

pub(super) const ARTICULATORS: usize = 5;

pub(super) const fn articulator(shape: Blendshape) -> Articulator {
    use Blendshape as B;
    match shape {
        B::JawOpen | B::JawForward | B::JawLeft | B::JawRight => Articulator::Jaw,
        B::MouthFunnel | B::MouthPucker => Articulator::Rounding,
        B::MouthStretchLeft
        | B::MouthStretchRight
        | B::MouthSmileLeft
        | B::MouthSmileRight
        | B::MouthDimpleLeft
        | B::MouthDimpleRight => Articulator::Spreading,
        B::TongueOut => Articulator::Tongue,
        _ => Articulator::Lips,
    }
}

/// Seconds: the time constant of each articulator, chosen so that at ten visemes a second the mouth never rests
/// and lips still reach their closure.
const TIME: [f32; ARTICULATORS] = [0.036, 0.024, 0.045, 0.038, 0.028];
/// The same for a sound that is made by closing the mouth: all other articulators yield.
const CLOSING: f32 = 0.022;

/// How much a viseme needs the lips to touch.
pub(super) const fn closure(viseme: Viseme) -> f32 {
    match viseme {
        Viseme::Pp => 1.0,
        Viseme::Ff => 0.5,
        _ => 0.0,
    }
}

/// A value that approaches a goal: critically damped, so that it neither jumps nor overshoots, and the same at every frame
/// rate.
#[derive(Clone, Copy, Debug, Default)]
struct Damped {
    value: f32,
    speed: f32,
}

impl Damped {
    fn step(&mut self, goal: f32, time: f32, dt: f32) {
        let rate = 1.0 / time;
        let away = self.value - goal;
        let push = self.speed + rate * away;
        let decay = (-rate * dt).exp();
        self.value = goal + (away + push * dt) * decay;
        self.speed = (self.speed - rate * push * dt) * decay;
        if (self.value - goal).abs() < 1e-5 && self.speed.abs() < 1e-3 {
            *self = Self { value: goal, speed: 0.0 };
        }
    }
}

/// A mouth that moves from viseme to viseme as they arrive, one at a time, each holding until the next. Jaw, lips,
/// rounding, corners and tongue go each at their own pace, so that a sound colours its neighbours (co-articulation),
/// and the lips meet for p, b and m however wide the jaw still is.
#[derive(Clone, Debug)]
pub struct LiveSpeech {
    goal: [f32; BLENDSHAPE_COUNT],
    damped: [Damped; BLENDSHAPE_COUNT],
    closure_goal: f32,
    closure: Damped,
    shapes: [f32; BLENDSHAPE_COUNT],
    saying: Option<(Viseme, f32)>,
    idle: bool,
}

impl Default for LiveSpeech {
    fn default() -> Self {
        Self {
            goal: [0.0; BLENDSHAPE_COUNT],
            damped: [Damped::default(); BLENDSHAPE_COUNT],
            closure_goal: 0.0,
            closure: Damped::default(),
            shapes: [0.0; BLENDSHAPE_COUNT],
            saying: None,
            idle: true,
        }
    }
}

impl LiveSpeech {
    /// Moves to a viseme of this weight, `0..=1`, and holds it. The viseme that is held already changes nothing.
    pub fn say(&mut self, viseme: Viseme, weight: f32) {
        let weight = if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 };
        if self.saying == Some((viseme, weight)) {
            return;
        }
        self.saying = Some((viseme, weight));
        self.goal = [0.0; BLENDSHAPE_COUNT];
        for (shape, share) in viseme.shapes() {
            self.goal[shape.index()] = share * weight;
        }
        self.closure_goal = closure(viseme) * weight;
        self.idle = false;
    }

    /// Goes back to rest.
    pub fn silence(&mut self) {
        if self.saying.is_some() {
            self.say(Viseme::Sil, 0.0);
            self.saying = None;
        }
    }

    /// The viseme that is held now.
    pub fn saying(&self) -> Option<(Viseme, f32)> {
        self.saying
    }

    /// Whether the mouth is at rest.
    pub fn is_idle(&self) -> bool {
        self.idle
    }

    /// Lets `dt` seconds pass.
    pub fn step(&mut self, dt: f32) {
        if self.idle || dt.is_nan() || dt <= 0.0 {
            return;
        }
        let closing = self.closure_goal > 0.0;
        let mut moving = self.saying.is_some();
        for (index, damped) in self.damped.iter_mut().enumerate() {
            let goal = self.goal[index];
            // Most shapes are no mouth and never move.
            if goal == 0.0 && damped.value == 0.0 && damped.speed == 0.0 {
                self.shapes[index] = 0.0;
                continue;
            }
            let time = if closing { CLOSING } else { TIME[articulator(Blendshape::ALL[index]) as usize] };
            damped.step(goal, time, dt);
            self.shapes[index] = damped.value.max(0.0);
            moving |= damped.value != 0.0;
        }
        self.closure.step(self.closure_goal, CLOSING, dt);
        // Lips meet over a jaw that still closes.
        let jaw = self.shapes[Blendshape::JawOpen.index()];
        let close = &mut self.shapes[Blendshape::MouthClose.index()];
        *close = close.max(jaw * self.closure.value.clamp(0.0, 1.0));
        self.idle = !moving;
    }

    /// The shapes of now, by [`Blendshape::index`].
    pub fn shapes(&self) -> &[f32; BLENDSHAPE_COUNT] {
        &self.shapes
    }

    /// Puts the mouth on a face.
    pub fn apply(&self, weights: &mut [f32; BLENDSHAPE_COUNT], rules: &BlendRules, intensity: f32) {
        if !self.idle {
            rules.apply(weights, &self.shapes, intensity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAW: usize = Blendshape::JawOpen.index();
    const PRESS: usize = Blendshape::MouthPressLeft.index();
    const CLOSE: usize = Blendshape::MouthClose.index();

    /// Says ten visemes a second and gives the shapes of every frame.
    fn speak(visemes: &[Viseme], rate: f32) -> Vec<[f32; BLENDSHAPE_COUNT]> {
        let mut speech = LiveSpeech::default();
        let mut frames = Vec::new();
        for viseme in visemes {
            speech.say(*viseme, 1.0);
            for _ in 0..(rate / 10.0) as u32 {
                speech.step(1.0 / rate);
                frames.push(*speech.shapes());
            }
        }
        frames
    }

    #[test]
    fn speech_lips_close_for_every_p_at_ten_visemes_a_second() {
        let frames = speak(&[Viseme::Aa, Viseme::Pp, Viseme::Aa, Viseme::Pp, Viseme::Ou, Viseme::Pp], 60.0);
        for end in [12, 24, 36] {
            let reached = frames[end - 6..end].iter().map(|shapes| shapes[PRESS]).fold(0.0, f32::max);
            assert!(reached >= 0.85 * 0.45, "{reached}");
            let last = frames[end - 1];
            assert!(last[JAW] - last[CLOSE] < 0.03, "open by {}", last[JAW] - last[CLOSE]);
        }
    }

    #[test]
    fn speech_moves_without_jumps_or_overshoot() {
        let visemes: Vec<_> = Viseme::ALL.into_iter().cycle().take(60).collect();
        let mut last = [0.0; BLENDSHAPE_COUNT];
        let mut last_step = [0.0; BLENDSHAPE_COUNT];
        let (mut step, mut bend) = (0.0_f32, 0.0_f32);
        for shapes in speak(&visemes, 240.0) {
            for i in 0..BLENDSHAPE_COUNT {
                assert!((0.0..=0.72).contains(&shapes[i]), "{} {}", Blendshape::ALL[i], shapes[i]);
                let now = shapes[i] - last[i];
                step = step.max(now.abs());
                bend = bend.max((now - last_step[i]).abs());
                (last_step[i], last[i]) = (now, shapes[i]);
            }
        }
        // Stepping there at once would be 0.6 in a frame.
        assert!(step < 0.06, "{step} in 4 ms");
        assert!(bend < 0.03, "{bend}");
    }

    #[test]
    fn speech_rounding_carries_into_next_sound() {
        let round = Blendshape::MouthPucker.index();
        let frames = speak(&[Viseme::Ou, Viseme::Ss], 100.0);
        assert!(frames[13][round] > 0.2, "{} after 40 ms", frames[13][round]);
        assert!(frames[19][round] < 0.45 * frames[9][round]);
    }

    #[test]
    fn speech_is_independent_of_frame_rate() {
        let visemes = [Viseme::Aa, Viseme::Pp, Viseme::Oh, Viseme::Ss, Viseme::Ff, Viseme::E];
        let (slow, fast) = (speak(&visemes, 30.0), speak(&visemes, 240.0));
        for (i, slow) in slow.iter().enumerate() {
            let fast = &fast[i * 8 + 7];
            for shape in 0..BLENDSHAPE_COUNT {
                assert!((slow[shape] - fast[shape]).abs() < 2e-3, "{}", Blendshape::ALL[shape]);
            }
        }
    }

    #[test]
    fn speech_silence_rests_and_shows_live_face() {
        let mut speech = LiveSpeech::default();
        speech.say(Viseme::Aa, 1.0);
        speech.step(0.3);
        let mut face = [0.0; BLENDSHAPE_COUNT];
        face[Blendshape::BrowInnerUp.index()] = 0.4;
        face[JAW] = 0.9;
        speech.apply(&mut face, &BlendRules::SPEECH, 1.0);
        assert_eq!((face[JAW], face[Blendshape::BrowInnerUp.index()]), (0.9, 0.4));
        speech.silence();
        for _ in 0..60 {
            speech.step(1.0 / 60.0);
        }
        assert!(speech.is_idle());
        assert_eq!(speech.shapes(), &[0.0; BLENDSHAPE_COUNT]);
    }
}
