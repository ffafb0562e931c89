//! A synthetic performance: a face that talks, blinks, looks about and nods, for senders, examples and tests.
//!
//! [`Performance::frame_at`] is a pure function of the seed and the time: no state, no clock, no randomness beyond the
//! seed. Any time can be asked for in any order, at any rate, and two machines with the same seed see the same face.
//!
//! Times below are in seconds and angles in radians unless stated otherwise.

use std::time::Duration;

use crate::{
    frame::{EYE_LOOK_RANGE, EyeGaze, FaceFrame, Gaze, HeadPose},
    names::Blendshape,
    wire::profile::rotation_from_euler,
};

const DEGREE: f32 = std::f32::consts::PI / 180.0;

/// Mean length of a syllable: about five a second.
const SYLLABLE: f64 = 0.2;
/// Mean length of a phrase with the pause that follows it.
const PHRASE: f64 = 3.6;
/// Mean time from one fixation of the eyes to the next.
const FIXATION: f64 = 1.15;
/// Mean time from one unprompted blink to the next.
const BLINK: f64 = 3.9;
/// Half width of the window in which neighbouring mouth targets blend (co-articulation).
const BLEND: f64 = 0.15;

/// A stream of random numbers of its own for each thing that moves.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Stream {
    Syllable = 1,
    Sound,
    Stress,
    Phrase,
    Fixation,
    Blink,
    Mood,
    Thought,
    Brow,
    Nose,
    Puff,
    Jaw,
    Mouth,
    HeadYaw,
    HeadPitch,
    HeadRoll,
    Sway,
    Nod,
    DriftYaw,
    DriftPitch,
    Side,
}

/// A mouth target: the shapes that speech moves. Left and right move together here.
#[derive(Clone, Copy)]
struct Mouth([f32; MOUTH_SHAPES]);

const MOUTH_SHAPES: usize = 16;
const JAW_OPEN: usize = 0;
const CLOSE: usize = 1;
const FUNNEL: usize = 2;
const PUCKER: usize = 3;
const SMILE: usize = 4;
const STRETCH: usize = 5;
const DIMPLE: usize = 6;
const ROLL_LOWER: usize = 7;
const ROLL_UPPER: usize = 8;
const SHRUG_LOWER: usize = 9;
const SHRUG_UPPER: usize = 10;
const PRESS: usize = 11;
const LOWER_DOWN: usize = 12;
const UPPER_UP: usize = 13;
const JAW_FORWARD: usize = 14;
const TONGUE: usize = 15;

impl Mouth {
    const REST: Self = Self([0.0; MOUTH_SHAPES]);

    const fn of(shapes: &[(usize, f32)]) -> Self {
        let mut mouth = [0.0; MOUTH_SHAPES];
        let mut index = 0;
        while index < shapes.len() {
            mouth[shapes[index].0] = shapes[index].1;
            index += 1;
        }
        Self(mouth)
    }
}

/// Vowels: ah, eh, ee, oh, oo, uh.
const VOWELS: [Mouth; 6] = [
    Mouth::of(&[(JAW_OPEN, 0.55), (LOWER_DOWN, 0.22), (UPPER_UP, 0.14), (STRETCH, 0.08)]),
    Mouth::of(&[(JAW_OPEN, 0.34), (STRETCH, 0.26), (SMILE, 0.14), (LOWER_DOWN, 0.26), (UPPER_UP, 0.14)]),
    Mouth::of(&[
        (JAW_OPEN, 0.17),
        (STRETCH, 0.36),
        (SMILE, 0.26),
        (DIMPLE, 0.16),
        (LOWER_DOWN, 0.22),
        (UPPER_UP, 0.12),
    ]),
    Mouth::of(&[(JAW_OPEN, 0.36), (FUNNEL, 0.46), (PUCKER, 0.26), (JAW_FORWARD, 0.06)]),
    Mouth::of(&[(JAW_OPEN, 0.15), (FUNNEL, 0.30), (PUCKER, 0.62), (JAW_FORWARD, 0.08)]),
    Mouth::of(&[(JAW_OPEN, 0.28), (LOWER_DOWN, 0.16), (UPPER_UP, 0.08)]),
];

/// Consonants: p/b/m, f/v, th, t/d/n, s/z, sh/ch, l, r, k/g, w.
const CONSONANTS: [Mouth; 10] = [
    Mouth::of(&[(JAW_OPEN, 0.10), (CLOSE, 0.12), (PRESS, 0.40), (ROLL_LOWER, 0.26), (ROLL_UPPER, 0.20)]),
    Mouth::of(&[(JAW_OPEN, 0.08), (ROLL_LOWER, 0.46), (UPPER_UP, 0.26), (SHRUG_LOWER, 0.18)]),
    Mouth::of(&[(JAW_OPEN, 0.18), (TONGUE, 0.34), (UPPER_UP, 0.14), (LOWER_DOWN, 0.16)]),
    Mouth::of(&[(JAW_OPEN, 0.14), (LOWER_DOWN, 0.22), (UPPER_UP, 0.12), (STRETCH, 0.10)]),
    Mouth::of(&[(JAW_OPEN, 0.06), (STRETCH, 0.24), (LOWER_DOWN, 0.28), (UPPER_UP, 0.16), (DIMPLE, 0.12)]),
    Mouth::of(&[(JAW_OPEN, 0.12), (FUNNEL, 0.52), (PUCKER, 0.22), (SHRUG_UPPER, 0.12), (UPPER_UP, 0.10)]),
    Mouth::of(&[(JAW_OPEN, 0.22), (TONGUE, 0.12), (LOWER_DOWN, 0.16), (UPPER_UP, 0.10)]),
    Mouth::of(&[(JAW_OPEN, 0.14), (FUNNEL, 0.30), (PUCKER, 0.24)]),
    Mouth::of(&[(JAW_OPEN, 0.20), (LOWER_DOWN, 0.14), (UPPER_UP, 0.10), (SHRUG_LOWER, 0.08)]),
    Mouth::of(&[(JAW_OPEN, 0.08), (PUCKER, 0.66), (FUNNEL, 0.18)]),
];

/// How often each consonant occurs, as in everyday English: the tongue is rarely seen.
const CONSONANT_ODDS: [f32; 10] = [0.15, 0.08, 0.05, 0.24, 0.14, 0.06, 0.06, 0.08, 0.09, 0.05];

/// A synthetic performance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Performance {
    seed: u64,
}

impl Performance {
    /// A performance of its own for each seed.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The face at a time since the start of the performance.
    ///
    /// All 52 shapes are given, in `0..=1`, with head rotation and gaze; the capture time is `time`. No shape moves
    /// faster than 12 a second.
    pub fn frame_at(&self, time: Duration) -> FaceFrame {
        // Long times repeat after 136 years, so that the numbers below cannot overflow.
        let t = (time.as_secs() % (1 << 32)) as f64 + f64::from(time.subsec_nanos()) * 1e-9;
        let mut frame = FaceFrame { capture_time: Some(time), ..FaceFrame::neutral() };

        let speech = self.speech(t);
        let (stress, nod) = self.accents(t, speech);
        let mood = Mood::at(self, t);
        self.put_mouth(&mut frame, t, speech, &mood);

        let [yaw, pitch, roll] = self.head(t, speech, stress, nod);
        frame.head = Some(HeadPose { rotation: rotation_from_euler(yaw, pitch, roll), position: None });
        let gaze = self.gaze(t, yaw, pitch);
        frame.gaze = Some(gaze);
        self.put_eyes(&mut frame, t, &gaze, &mood);
        self.put_brows(&mut frame, t, stress, &mood);
        frame
    }

    /// How much the face is speaking, `0..=1`: phrases with pauses between them, and now and then a whole phrase spent
    /// listening.
    fn speech(&self, t: f64) -> f32 {
        self.cells(Stream::Phrase, PHRASE, t, 1)
            .map(|phrase| {
                if self.random(Stream::Phrase, phrase.index, 1) < 0.1 {
                    return 0.0;
                }
                let pause = 0.35 + 0.75 * f64::from(self.random(Stream::Phrase, phrase.index, 2));
                let end = phrase.end - pause;
                rise(t, phrase.start, 0.16) * (1.0 - rise(t, end - 0.22, 0.22))
            })
            .fold(0.0, f32::max)
    }

    /// What the brows and the head make of stressed syllables, `0..=1` each.
    fn accents(&self, t: f64, speech: f32) -> (f32, f32) {
        let (mut brow, mut nod) = (0.0, 0.0);
        for syllable in self.cells(Stream::Syllable, SYLLABLE, t, 3) {
            let stress = self.stress(syllable.index);
            let middle = 0.5 * (syllable.start + syllable.end);
            brow += stress * bump((t - middle) / 0.34);
            // The nod follows a little after the stress.
            nod += stress * bump((t - middle - 0.07) / 0.4);
        }
        (speech * brow.min(1.0), speech * nod.min(1.0))
    }

    /// Stress of a syllable, `0..=1`: about one in four has any.
    fn stress(&self, syllable: i64) -> f32 {
        let stress = self.random(Stream::Stress, syllable, 0);
        let before = self.random(Stream::Stress, syllable.wrapping_sub(1), 0);
        if stress > 0.72 && before <= 0.72 { 0.4 + 0.6 * self.random(Stream::Stress, syllable, 1) } else { 0.0 }
    }

    /// The mouth: consonant and vowel targets blended over a window, so that each sound colours its neighbours.
    fn mouth(&self, t: f64) -> Mouth {
        let mut sum = [0.0; MOUTH_SHAPES];
        let mut total = 0.0;
        for syllable in self.cells(Stream::Syllable, SYLLABLE, t, 2) {
            let length = syllable.end - syllable.start;
            let strength =
                0.72 + 0.28 * self.random(Stream::Sound, syllable.index, 0) + 0.3 * self.stress(syllable.index);
            let vowel = (self.random(Stream::Sound, syllable.index, 1) * VOWELS.len() as f32) as usize;
            let sounds = [
                (syllable.start, self.consonant(syllable.index), 1.0),
                (syllable.start + 0.5 * length, VOWELS.get(vowel).unwrap_or(&Mouth::REST), strength),
            ];
            for (at, Mouth(target), strength) in sounds {
                let distance = ((t - at) / BLEND) as f32;
                let weight = (1.0 - distance * distance).max(0.0).powi(3);
                for (sum, target) in sum.iter_mut().zip(target) {
                    *sum += weight * strength * target;
                }
                total += weight;
            }
        }
        Mouth(sum.map(|value| value / total.max(1e-3)))
    }

    fn consonant(&self, syllable: i64) -> &'static Mouth {
        let mut chance = self.random(Stream::Sound, syllable, 2);
        for (odds, mouth) in CONSONANT_ODDS.iter().zip(&CONSONANTS) {
            chance -= odds;
            if chance < 0.0 {
                return mouth;
            }
        }
        &CONSONANTS[3]
    }

    fn put_mouth(&self, frame: &mut FaceFrame, t: f64, speech: f32, mood: &Mood) {
        use Blendshape::*;
        let mouth = self.mouth(t).0.map(|value| value * speech);
        // What a smile pulls wide cannot purse as much.
        let round = 1.0 - 0.55 * mood.smile;
        let idle = 1.0 - speech;

        let mut single = |shape, value: f32| frame.set(shape, value.clamp(0.0, 1.0));
        single(JawOpen, mouth[JAW_OPEN] + 0.012 * idle);
        single(MouthClose, mouth[CLOSE].min(mouth[JAW_OPEN] + 0.02));
        single(MouthFunnel, mouth[FUNNEL] * round);
        single(MouthPucker, mouth[PUCKER] * round + 0.22 * mood.thought * idle);
        single(MouthRollLower, mouth[ROLL_LOWER] + 0.06 * idle);
        single(MouthRollUpper, mouth[ROLL_UPPER] + 0.04 * idle);
        single(MouthShrugLower, mouth[SHRUG_LOWER] + 0.12 * mood.thought + 0.03);
        single(MouthShrugUpper, mouth[SHRUG_UPPER] + 0.05 * mood.thought + 0.02);
        single(JawForward, mouth[JAW_FORWARD] + 0.01);
        single(TongueOut, mouth[TONGUE]);
        single(CheekPuff, 0.28 * idle * above(self.noise(Stream::Puff, t, 2.3), 0.72));
        let jaw = 0.05 * self.noise(Stream::Jaw, t, 0.9) * (0.3 + speech);
        single(JawLeft, jaw.max(0.0));
        single(JawRight, (-jaw).max(0.0));
        let shift = 0.09 * self.noise(Stream::Mouth, t, 1.7) + 0.2 * mood.thought * idle * self.lean();
        single(MouthLeft, shift.max(0.0));
        single(MouthRight, (-shift).max(0.0));

        let smile = mood.smile;
        for (left, right, value) in [
            (MouthSmileLeft, MouthSmileRight, mouth[SMILE] + 0.62 * smile + 0.04),
            (MouthStretchLeft, MouthStretchRight, mouth[STRETCH] + 0.06 * smile),
            (MouthDimpleLeft, MouthDimpleRight, mouth[DIMPLE] + 0.16 * smile),
            (MouthPressLeft, MouthPressRight, mouth[PRESS] + 0.10 * idle + 0.12 * mood.thought * idle),
            (MouthLowerDownLeft, MouthLowerDownRight, mouth[LOWER_DOWN] + 0.10 * smile * speech),
            (MouthUpperUpLeft, MouthUpperUpRight, mouth[UPPER_UP] + 0.14 * smile * speech),
            (MouthFrownLeft, MouthFrownRight, 0.02 + 0.18 * mood.thought),
            (CheekSquintLeft, CheekSquintRight, 0.05 + 0.5 * smile),
            (
                NoseSneerLeft,
                NoseSneerRight,
                0.04 + 0.16 * above(self.noise(Stream::Nose, t, 1.9), 0.4) + 0.08 * smile + 0.1 * mouth[UPPER_UP],
            ),
        ] {
            self.put_pair(frame, t, left, right, value);
        }
    }

    fn put_brows(&self, frame: &mut FaceFrame, t: f64, stress: f32, mood: &Mood) {
        use Blendshape::*;
        let drift = self.noise(Stream::Brow, t, 2.1);
        let inner = 0.06 + 0.05 * drift + 0.36 * stress + 0.12 * mood.smile;
        frame.set(BrowInnerUp, inner.clamp(0.0, 1.0));
        let outer = 0.04 + 0.04 * drift + 0.26 * stress + 0.08 * mood.smile;
        self.put_pair(frame, t, BrowOuterUpLeft, BrowOuterUpRight, outer);
        self.put_pair(frame, t, BrowDownLeft, BrowDownRight, (0.04 + 0.34 * mood.thought) * (1.0 - 0.7 * stress));
    }

    fn put_eyes(&self, frame: &mut FaceFrame, t: f64, gaze: &Gaze, mood: &Mood) {
        use Blendshape::*;
        let look = |angle: f32| (angle / EYE_LOOK_RANGE).clamp(0.0, 1.0);
        frame.set(EyeLookOutLeft, look(gaze.left.yaw));
        frame.set(EyeLookInLeft, look(-gaze.left.yaw));
        frame.set(EyeLookInRight, look(gaze.right.yaw));
        frame.set(EyeLookOutRight, look(-gaze.right.yaw));
        frame.set(EyeLookUpLeft, look(gaze.left.pitch));
        frame.set(EyeLookDownLeft, look(-gaze.left.pitch));
        frame.set(EyeLookUpRight, look(gaze.right.pitch));
        frame.set(EyeLookDownRight, look(-gaze.right.pitch));

        let blink = self.blink(t);
        // Lids rest a little lower when the eyes look down or the cheeks push up.
        let rest = 0.03 + 0.14 * look(-gaze.left.pitch) + 0.10 * mood.smile;
        let left = (rest + (1.0 - rest) * blink).clamp(0.0, 1.0);
        frame.set(EyeBlinkLeft, left);
        frame.set(EyeBlinkRight, left * 0.985);
        let open = 1.0 - blink;
        self.put_pair(frame, t, EyeWideLeft, EyeWideRight, open * (0.03 + 0.22 * look(gaze.left.pitch)));
        self.put_pair(
            frame,
            t,
            EyeSquintLeft,
            EyeSquintRight,
            0.04 + 0.30 * mood.smile + 0.16 * mood.thought + 0.12 * blink,
        );
    }

    /// Sets both sides of a pair, a few per cent apart as on any face.
    fn put_pair(&self, frame: &mut FaceFrame, t: f64, left: Blendshape, right: Blendshape, value: f32) {
        let own = self.random(Stream::Side, left.index() as i64, 0) - 0.5;
        let side = 0.08 * own + 0.05 * self.noise(Stream::Side, t + left.index() as f64 * 31.7, 3.1);
        frame.set(left, (value * (1.0 + side)).clamp(0.0, 1.0));
        frame.set(right, (value * (1.0 - side)).clamp(0.0, 1.0));
    }

    /// To which side this face pulls its mouth when it thinks: 1 left, -1 right.
    fn lean(&self) -> f32 {
        if self.random(Stream::Side, -1, 0) < 0.5 { 1.0 } else { -1.0 }
    }

    /// How far the lids are shut, `0..=1`.
    fn blink(&self, t: f64) -> f32 {
        let own = self.cells(Stream::Blink, BLINK, t, 1).map(|cell| {
            let depth = 0.93 + 0.07 * self.random(Stream::Blink, cell.index, 1);
            let twice = self.random(Stream::Blink, cell.index, 2) < 0.12;
            let second = if twice { depth * blink_curve(t - cell.start - 0.46) } else { 0.0 };
            (depth * blink_curve(t - cell.start)).max(second)
        });
        // Large shifts of the gaze often take a blink along.
        let shifts = self.cells(Stream::Fixation, FIXATION, t, 1).map(|cell| {
            let (from, to) = (self.target(cell.index.wrapping_sub(1)), self.target(cell.index));
            let large = (to.yaw - from.yaw).hypot(to.pitch - from.pitch) > 11.0 * DEGREE;
            let blinks = large && self.random(Stream::Fixation, cell.index, 5) < 0.6;
            if blinks { 0.95 * blink_curve(t - cell.start + 0.03) } else { 0.0 }
        });
        own.chain(shifts).fold(0.0, f32::max)
    }

    /// What the eyes fix on during a fixation, relative to the body: mostly the camera, sometimes away.
    fn target(&self, fixation: i64) -> EyeGaze {
        let random = |index| 2.0 * self.random(Stream::Fixation, fixation, index) - 1.0;
        let (yaw, pitch) = if self.random(Stream::Fixation, fixation, 1) < 0.72 {
            // From one eye of the listener to the other, to the mouth and back.
            (3.2 * random(2), 2.2 * random(3))
        } else {
            (19.0 * random(2), 8.0 * random(3) - 2.0)
        };
        EyeGaze { yaw: yaw * DEGREE, pitch: pitch * DEGREE }
    }

    /// Where the eyes look relative to the head: they hold their target while the head moves, and jump to the next.
    fn gaze(&self, t: f64, head_yaw: f32, head_pitch: f32) -> Gaze {
        let mut at = EyeGaze::default();
        for cell in self.cells(Stream::Fixation, FIXATION, t, 0) {
            let (from, to) = (self.target(cell.index.wrapping_sub(1)), self.target(cell.index));
            let size = (to.yaw - from.yaw).hypot(to.pitch - from.pitch);
            // The main sequence of saccades: longer jumps take longer, 20° about 90 ms.
            let done = rise(t, cell.start, 0.032 + 0.003 * f64::from(size / DEGREE));
            at.yaw = from.yaw + (to.yaw - from.yaw) * done;
            at.pitch = from.pitch + (to.pitch - from.pitch) * done;
        }
        let drift = 0.25 * DEGREE;
        let yaw = at.yaw - 0.85 * head_yaw + drift * self.noise(Stream::DriftYaw, t, 0.31);
        let pitch = at.pitch - 0.85 * head_pitch + drift * self.noise(Stream::DriftPitch, t, 0.37);
        let vergence = 1.2 * DEGREE;
        let limit = EYE_LOOK_RANGE;
        Gaze {
            left: EyeGaze { yaw: (yaw - vergence).clamp(-limit, limit), pitch: pitch.clamp(-limit, limit) },
            right: EyeGaze { yaw: (yaw + vergence).clamp(-limit, limit), pitch: pitch.clamp(-limit, limit) },
        }
    }

    /// Yaw to the performer's left, pitch up and roll to the performer's right shoulder.
    fn head(&self, t: f64, speech: f32, stress: f32, nod: f32) -> [f32; 3] {
        // The head follows where the eyes go, later and less.
        let mut follow = EyeGaze::default();
        for cell in self.cells(Stream::Fixation, FIXATION, t, 1) {
            let target = self.target(cell.index);
            let share = rise(t, cell.start - 0.1, 0.55) - rise(t, cell.end - 0.1, 0.55);
            follow.yaw += share * target.yaw;
            follow.pitch += share * target.pitch;
        }
        let sway = 0.35 + 0.65 * speech;
        let yaw = 6.0 * self.noise(Stream::HeadYaw, t, 2.9) + 2.2 * sway * self.noise(Stream::Sway, t, 0.8);
        let pitch = 2.4 * self.noise(Stream::HeadPitch, t, 2.3) + 1.2 * sway * self.noise(Stream::Nod, t, 0.7)
            - 3.6 * nod
            + 0.8 * stress;
        let roll = 2.6 * self.noise(Stream::HeadRoll, t, 2.6) - 0.25 * yaw;
        [yaw * DEGREE + 0.4 * follow.yaw, pitch * DEGREE + 0.3 * follow.pitch, roll * DEGREE]
    }

    /// Time divided into cells of irregular length around `period`: the cell that holds `t`, with `around` neighbours
    /// on both sides.
    fn cells(&self, stream: Stream, period: f64, t: f64, around: i64) -> impl Iterator<Item = Cell> {
        let this = *self;
        let edge = move |index: i64| {
            let jitter = 0.46 * (f64::from(this.random(stream, index, 0)) - 0.5);
            period * (index as f64 + jitter)
        };
        let mut middle = (t / period).floor() as i64;
        if t < edge(middle) {
            middle -= 1;
        } else if t >= edge(middle + 1) {
            middle += 1;
        }
        (middle - around..=middle + around).map(move |index| Cell { index, start: edge(index), end: edge(index + 1) })
    }

    /// Smooth noise in `-1..=1` that changes about once in `period`.
    fn noise(&self, stream: Stream, t: f64, period: f64) -> f32 {
        let at = t / period;
        let index = at.floor();
        let (from, to) = (self.random(stream, index as i64, 9), self.random(stream, index as i64 + 1, 9));
        2.0 * (from + (to - from) * ease((at - index) as f32)) - 1.0
    }

    /// A number in `0..1` that depends on the seed and the arguments alone.
    fn random(&self, stream: Stream, index: i64, part: u64) -> f32 {
        let mut bits = self.seed;
        for word in [stream as u64, index as u64, part] {
            // The finaliser of SplitMix64.
            bits = bits.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^= bits >> 31;
        }
        (bits >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A stretch of time.
struct Cell {
    index: i64,
    start: f64,
    end: f64,
}

/// The emotions of the face, `0..=1` each.
struct Mood {
    smile: f32,
    thought: f32,
}

impl Mood {
    fn at(performance: &Performance, t: f64) -> Self {
        let smile = above(performance.noise(Stream::Mood, t, 2.7), 0.15);
        let thought = above(performance.noise(Stream::Thought, t, 2.2), 0.3) * (1.0 - smile);
        Self { smile, thought }
    }
}

/// 0 below `threshold`, rising smoothly to 1 at 1.
fn above(value: f32, threshold: f32) -> f32 {
    ease(((value - threshold) / (1.0 - threshold)).clamp(0.0, 1.0))
}

/// From 0 to 1 without a jump in speed or acceleration.
fn ease(x: f32) -> f32 {
    x * x * x * (x * (6.0 * x - 15.0) + 10.0)
}

/// Eases from 0 to 1 in `duration` from `start` on.
fn rise(t: f64, start: f64, duration: f64) -> f32 {
    ease((((t - start) / duration) as f32).clamp(0.0, 1.0))
}

/// 1 at 0, falling smoothly to 0 at -1 and 1.
fn bump(x: f64) -> f32 {
    let x = x as f32;
    (1.0 - x * x).max(0.0).powi(2)
}

/// A blink from its onset on: shuts in 130 ms, stays shut for 25 ms, opens in 210 ms.
fn blink_curve(since: f64) -> f32 {
    let smooth = |x: f64| {
        let x = x.clamp(0.0, 1.0) as f32;
        x * x * (3.0 - 2.0 * x)
    };
    smooth(since / 0.13) * (1.0 - smooth((since - 0.155) / 0.21))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FPS: u32 = 60;

    fn frames(seed: u64, seconds: u32) -> impl Iterator<Item = FaceFrame> {
        let performance = Performance::new(seed);
        (0..seconds * FPS).map(move |frame| performance.frame_at(at(frame)))
    }

    fn at(frame: u32) -> Duration {
        Duration::from_secs(100) + Duration::from_secs(1) * frame / FPS
    }

    #[test]
    fn performer_shapes_are_given_and_in_range() {
        for seed in 0..8 {
            for frame in frames(seed, 60) {
                assert!(frame.is_complete() && frame.tracked);
                for shape in Blendshape::ALL {
                    let weight = frame.weights[shape.index()];
                    assert!((0.0..=1.0).contains(&weight), "{shape} {weight}");
                }
                let length: f32 = frame.head.unwrap().rotation.iter().map(|part| part * part).sum();
                assert!((length - 1.0).abs() < 1e-5);
                assert!(frame.channels.is_empty());
            }
        }
    }

    #[test]
    fn performer_shapes_move_without_jumps() {
        let mut range = [(1.0_f32, 0.0_f32); 52];
        for seed in 0..6 {
            let mut last: Option<FaceFrame> = None;
            for frame in frames(seed, 120) {
                for (index, weight) in frame.weights.into_iter().enumerate() {
                    range[index] = (range[index].0.min(weight), range[index].1.max(weight));
                    if let Some(last) = &last {
                        let speed = (weight - last.weights[index]).abs() * FPS as f32;
                        let shape = Blendshape::from_index(index).unwrap();
                        assert!(speed <= 12.0, "{shape} moves at {speed} a second");
                    }
                }
                if let Some(last) = &last {
                    let (a, b) = (frame.head.unwrap().rotation, last.head.unwrap().rotation);
                    let same: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                    let degrees = 2.0 * same.abs().min(1.0).acos() / DEGREE;
                    assert!(degrees * (FPS as f32) < 130.0, "the head turns at {degrees} a frame");
                }
                last = Some(frame);
            }
        }
        for shape in Blendshape::ALL {
            let (low, high) = range[shape.index()];
            assert!(high - low > 0.01, "{shape} stays within {low}..{high}");
        }
        let reach = |shape: Blendshape| range[shape.index()].1;
        assert!(reach(Blendshape::JawOpen) > 0.35);
        assert!(reach(Blendshape::EyeBlinkLeft) > 0.9);
        assert!(reach(Blendshape::MouthSmileLeft) > 0.5);
        assert!(reach(Blendshape::BrowInnerUp) > 0.3);
        assert!(reach(Blendshape::TongueOut) > 0.1);
    }

    #[test]
    fn performer_same_seed_and_time_give_same_face() {
        let (a, b) = (Performance::new(7), Performance::new(7));
        let backwards: Vec<_> = (0..300).rev().map(|frame| b.frame_at(at(frame))).collect();
        for (frame, other) in (0..300).zip(backwards.into_iter().rev()) {
            assert_eq!(a.frame_at(at(frame)), other);
        }
        let other = Performance::new(8);
        assert!((0..300).any(|frame| a.frame_at(at(frame)).weights != other.frame_at(at(frame)).weights));
    }

    #[test]
    fn performer_any_time_is_in_range() {
        for time in [Duration::ZERO, Duration::MAX, Duration::from_secs(u64::MAX / 2), Duration::from_secs(1 << 32)] {
            let frame = Performance::new(u64::MAX).frame_at(time);
            assert!(frame.weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
            assert_eq!(frame.capture_time, Some(time));
        }
    }

    #[test]
    fn performer_blink_rate_is_natural() {
        for seed in 0..8 {
            let (mut blinks, mut shut) = (0, false);
            for frame in frames(seed, 180) {
                let left = frame.weights[Blendshape::EyeBlinkLeft.index()];
                let right = frame.weights[Blendshape::EyeBlinkRight.index()];
                assert!((left - right).abs() < 0.05);
                if !shut && left > 0.7 {
                    blinks += 1;
                }
                shut = if shut { left > 0.4 } else { left > 0.7 };
            }
            let per_minute = blinks as f32 / 3.0;
            assert!((8.0..=30.0).contains(&per_minute), "{per_minute} blinks a minute");
        }
    }

    #[test]
    fn performer_talks_with_pauses() {
        for seed in 0..8 {
            let mut jaw: Vec<f32> = Vec::new();
            let mut quiet: u32 = 0;
            let mut longest = 0;
            for frame in frames(seed, 120) {
                jaw.push(frame.weights[Blendshape::JawOpen.index()]);
                quiet = if jaw.last().is_some_and(|jaw| *jaw < 0.02) { quiet + 1 } else { 0 };
                longest = longest.max(quiet);
            }
            let active = jaw.iter().filter(|jaw| **jaw > 0.05).count() as f32 / jaw.len() as f32;
            assert!((0.4..0.95).contains(&active), "active for {active}");
            assert!(longest > FPS / 4, "pauses for at most {longest} frames");
            // Local maxima of the jaw while it speaks: one a syllable, though not every syllable shows.
            let peaks = jaw.windows(3).filter(|jaw| jaw[1] > 0.08 && jaw[0] < jaw[1] && jaw[1] >= jaw[2]).count();
            let rate = peaks as f32 / (active * 120.0);
            assert!((2.5..6.5).contains(&rate), "{rate} syllables a second");
        }
    }

    #[test]
    fn performer_gaze_agrees_with_look_shapes() {
        let mut away = 0;
        for frame in frames(3, 120) {
            let weight = |shape: Blendshape| frame.weights[shape.index()];
            let gaze = frame.gaze.unwrap();
            for (eye, out, inwards, up, down) in [
                (
                    gaze.left,
                    weight(Blendshape::EyeLookOutLeft),
                    weight(Blendshape::EyeLookInLeft),
                    weight(Blendshape::EyeLookUpLeft),
                    weight(Blendshape::EyeLookDownLeft),
                ),
                (
                    EyeGaze { yaw: -gaze.right.yaw, ..gaze.right },
                    weight(Blendshape::EyeLookOutRight),
                    weight(Blendshape::EyeLookInRight),
                    weight(Blendshape::EyeLookUpRight),
                    weight(Blendshape::EyeLookDownRight),
                ),
            ] {
                assert!((eye.yaw - EYE_LOOK_RANGE * (out - inwards)).abs() < 1e-5);
                assert!((eye.pitch - EYE_LOOK_RANGE * (up - down)).abs() < 1e-5);
            }
            away += u32::from(gaze.left.yaw.abs() > 8.0 * DEGREE);
        }
        assert!((100..3600).contains(&away), "looks away in {away} of 7200 frames");
    }
}
