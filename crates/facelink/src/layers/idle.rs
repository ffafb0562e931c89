//! Idle animation of a face that no subject drives: blinks, glances, breath.

use std::f32::consts::TAU;

use serde::{Deserialize, Serialize};

use super::smooth;
use crate::{
    frame::{EYE_LOOK_RANGE, EyeGaze},
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// A step of more seconds than this was a stall, and is not lived through.
const LONGEST_STEP: f32 = 0.25;
/// Seconds that lids take to close, stay closed and open
/// ([VanderWerf et al., 2003](https://doi.org/10.1152/jn.00557.2002)).
const BLINK: [f32; 3] = [0.08, 0.03, 0.16];
/// Share of blinks that are followed by another at once.
const DOUBLE: f32 = 0.12;

/// How lively the idle animation is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct IdleSettings {
    /// Blinks a minute; people at rest blink about 15 times. 0 is none.
    pub blinks_per_minute: f32,
    /// How far the eyes wander, 1 being natural, 0 not at all.
    pub saccades: f32,
    /// How much the head moves with the breath, 1 being natural, 0 not at all.
    pub breathing: f32,
    /// How much head, brows and mouth stir, 1 being natural, 0 not at all.
    pub micro: f32,
    /// Different seeds give different motion; the same seed gives the same.
    pub seed: u64,
}

impl Default for IdleSettings {
    fn default() -> Self {
        Self { blinks_per_minute: 15.0, saccades: 1.0, breathing: 1.0, micro: 1.0, seed: 1 }
    }
}

/// What an idle face does now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IdlePose {
    /// Weights by [`Blendshape::index`].
    pub weights: [f32; BLENDSHAPE_COUNT],
    /// Where the left and the right eye look, radians.
    pub gaze: [EyeGaze; 2],
    /// The head's rotation in the axes of [`HeadPose`](crate::HeadPose), a unit quaternion `[x, y, z, w]`.
    pub head: [f32; 4],
    /// 0 breathed out, 1 breathed in.
    pub breath: f32,
}

impl Default for IdlePose {
    fn default() -> Self {
        Self {
            weights: [0.0; BLENDSHAPE_COUNT],
            gaze: [EyeGaze::default(); 2],
            head: [0.0, 0.0, 0.0, 1.0],
            breath: 0.0,
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and good enough for glances.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Evenly in `0..1`.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1_u64 << 24) as f32
    }

    /// Around 0 with a spread of 1.
    fn normal(&mut self) -> f32 {
        (-2.0 * self.unit().max(1e-7).ln()).sqrt() * (TAU * self.unit()).cos()
    }
}

/// The eyes between one fixation and the next.
#[derive(Clone, Copy, Debug, Default)]
struct Saccade {
    from: [f32; 2],
    to: [f32; 2],
    at: f32,
    lasts: f32,
}

impl Saccade {
    /// Yaw and pitch now.
    fn now(&self) -> [f32; 2] {
        let share = if self.at >= self.lasts { 1.0 } else { smooth(self.at / self.lasts) };
        [0, 1].map(|axis| self.from[axis] + (self.to[axis] - self.from[axis]) * share)
    }
}

/// The generator of the idle animation. The same seed and the same steps give the same motion.
#[derive(Clone, Debug)]
pub struct IdleLife {
    /// How lively; may change at any time.
    pub settings: IdleSettings,
    random: Random,
    /// Seconds since the blink of now began.
    blink: Option<f32>,
    /// How far behind the right lid is, seconds.
    lag: f32,
    until_blink: f32,
    gaze: Saccade,
    until_saccade: f32,
    /// The head's target, which follows the eyes, and its present angle.
    head: [f32; 2],
    /// Seconds lived.
    time: f32,
    /// Phases of the slow noise.
    phases: [f32; 12],
    pose: IdlePose,
}

impl Default for IdleLife {
    fn default() -> Self {
        Self::new(IdleSettings::default())
    }
}

impl IdleLife {
    /// A life of these settings.
    pub fn new(settings: IdleSettings) -> Self {
        let mut random = Random(settings.seed);
        let mut phases = [0.0; 12];
        for phase in &mut phases {
            *phase = random.unit() * TAU;
        }
        let mut life = Self {
            settings,
            random,
            blink: None,
            lag: 0.0,
            until_blink: 0.0,
            gaze: Saccade::default(),
            until_saccade: 0.0,
            head: [0.0; 2],
            time: 0.0,
            phases,
            pose: IdlePose::default(),
        };
        life.until_blink = life.pause() * life.random.unit();
        life.until_saccade = 0.5;
        life
    }

    /// The pose of now.
    pub fn pose(&self) -> &IdlePose {
        &self.pose
    }

    /// Seconds to the next blink: about log-normal, as people blink in bursts and stare in between.
    fn pause(&mut self) -> f32 {
        const SPREAD: f32 = 0.6;
        let mean = 60.0 / self.settings.blinks_per_minute.max(0.01) * (1.0 + DOUBLE);
        // The mean of a log-normal lies above its median by this factor.
        let median = mean / (SPREAD * SPREAD / 2.0).exp();
        (median * (SPREAD * self.random.normal()).exp()).max(0.4)
    }

    /// Slow noise around 0, within 1.
    fn noise(&self, channel: usize, period: f32) -> f32 {
        let phase = |i: usize| self.phases[(channel * 2 + i) % self.phases.len()];
        let turn = self.time * TAU / period;
        0.6 * (turn + phase(0)).sin() + 0.4 * (turn * 1.618 + phase(1)).sin()
    }

    /// Lets `dt` seconds pass.
    pub fn step(&mut self, dt: f32) -> &IdlePose {
        let dt = if dt.is_finite() { dt.clamp(0.0, LONGEST_STEP) } else { 0.0 };
        self.time += dt;
        self.step_gaze(dt);
        self.step_blink(dt);
        self.fill();
        &self.pose
    }

    fn step_blink(&mut self, dt: f32) {
        let lasts: f32 = BLINK.iter().sum();
        if let Some(at) = &mut self.blink {
            *at += dt;
            if *at >= lasts + self.lag {
                self.blink = None;
                self.until_blink = if self.random.unit() < DOUBLE { 0.05 } else { self.pause() };
            }
            return;
        }
        if self.settings.blinks_per_minute <= 0.0 {
            return;
        }
        self.until_blink -= dt;
        if self.until_blink <= 0.0 {
            // It began within this step, so that a slow frame rate blinks as often.
            self.begin_blink((-self.until_blink).min(dt));
        }
    }

    fn begin_blink(&mut self, at: f32) {
        if self.blink.is_none() {
            self.blink = Some(at);
            self.lag = 0.008 * self.random.unit();
        }
    }

    fn step_gaze(&mut self, dt: f32) {
        self.gaze.at += dt;
        self.until_saccade -= dt;
        if self.until_saccade <= 0.0 && self.gaze.at >= self.gaze.lasts {
            let amount = self.settings.saccades;
            // Mostly small corrections about the fixation, now and then a look elsewhere, and home again.
            let far = self.random.unit() < 0.22;
            let (yaw, pitch) = if far { (0.16, 0.07) } else { (0.025, 0.015) };
            let home = if far { [0.0; 2] } else { self.gaze.to.map(|angle| angle * 0.7) };
            let to = [
                (home[0] + amount * yaw * self.random.normal()).clamp(-0.4, 0.4),
                (home[1] + amount * pitch * self.random.normal()).clamp(-0.2, 0.2),
            ];
            let from = self.gaze.now();
            let degrees = (to[0] - from[0]).hypot(to[1] - from[1]).to_degrees();
            // The main sequence (Bahill, Clark and Stark, 1975): about 21 ms and 2.2 ms a degree.
            self.gaze = Saccade { from, to, at: 0.0, lasts: 0.021 + 0.0022 * degrees };
            self.until_saccade = if far { 0.8 + 2.2 * self.random.unit() } else { 0.3 + 1.2 * self.random.unit() };
            if degrees > 10.0 && self.settings.blinks_per_minute > 0.0 && self.random.unit() < 0.4 {
                self.begin_blink(0.0);
            }
        }
        // The head follows the eyes, by a part of the turn.
        let follow = 1.0 - (-dt / 0.35).exp();
        for axis in 0..2 {
            self.head[axis] += (0.25 * self.gaze.to[axis] - self.head[axis]) * follow;
        }
    }

    fn lid(&self, lag: f32) -> f32 {
        let Some(at) = self.blink.map(|at| at - lag) else { return 0.0 };
        let [close, shut, open] = BLINK;
        if at <= 0.0 {
            0.0
        } else if at < close {
            smooth(at / close)
        } else if at < close + shut {
            1.0
        } else {
            1.0 - smooth((at - close - shut) / open)
        }
    }

    fn fill(&mut self) {
        use Blendshape::*;
        let IdleSettings { breathing, micro, .. } = self.settings;
        let mut weights = [0.0; BLENDSHAPE_COUNT];
        let mut set = |shape: Blendshape, weight: f32| weights[shape.index()] = weight.clamp(0.0, 1.0);
        let [yaw, pitch] = self.gaze.now();
        set(EyeLookOutLeft, yaw / EYE_LOOK_RANGE);
        set(EyeLookInRight, yaw / EYE_LOOK_RANGE);
        set(EyeLookInLeft, -yaw / EYE_LOOK_RANGE);
        set(EyeLookOutRight, -yaw / EYE_LOOK_RANGE);
        for (up, down) in [(EyeLookUpLeft, EyeLookDownLeft), (EyeLookUpRight, EyeLookDownRight)] {
            set(up, pitch / EYE_LOOK_RANGE);
            set(down, -pitch / EYE_LOOK_RANGE);
        }
        set(EyeBlinkLeft, self.lid(0.0));
        set(EyeBlinkRight, self.lid(self.lag));
        let stir = |channel, period: f32, most: f32| micro * most * (0.5 + 0.5 * self.noise(channel, period));
        set(BrowInnerUp, stir(0, 7.3, 0.05));
        set(BrowOuterUpLeft, stir(1, 9.1, 0.03));
        set(BrowOuterUpRight, stir(1, 9.4, 0.03));
        set(MouthSmileLeft, stir(2, 11.7, 0.05));
        set(MouthSmileRight, stir(2, 11.9, 0.05));
        set(MouthPressLeft, stir(3, 13.0, 0.03));
        set(MouthPressRight, stir(3, 13.3, 0.03));
        // 14 breaths a minute, in a little quicker than out.
        let turn = (self.time * 14.0 / 60.0).fract();
        let breath = if turn < 0.42 { smooth(turn / 0.42) } else { 1.0 - smooth((turn - 0.42) / 0.58) };
        let noise = |channel, period| self.noise(channel, period);
        let head = [
            self.head[0] + micro * 0.02 * noise(4, 8.7),
            self.head[1] + micro * 0.012 * noise(5, 6.9) + breathing * 0.01 * (breath - 0.5),
            micro * 0.01 * noise(3, 10.3),
        ];
        let eye = EyeGaze { yaw, pitch };
        self.pose = IdlePose { weights, gaze: [eye; 2], head: rotation(head), breath };
    }
}

/// Yaw, pitch (up) and roll as a quaternion.
fn rotation([yaw, pitch, roll]: [f32; 3]) -> [f32; 4] {
    let ((sy, cy), (sx, cx), (sz, cz)) = ((yaw / 2.0).sin_cos(), (-pitch / 2.0).sin_cos(), (-roll / 2.0).sin_cos());
    [cy * sx * cz + sy * cx * sz, sy * cx * cz - cy * sx * sz, cy * cx * sz - sy * sx * cz, cy * cx * cz + sy * sx * sz]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blinks that shut the eye, and the mean length of those, over so many seconds.
    fn blinks(settings: IdleSettings, rate: f32, seconds: f32) -> (u32, f32) {
        let mut life = IdleLife::new(settings);
        let (mut count, mut shut, mut below) = (0, false, 0.0);
        for _ in 0..(seconds * rate) as u32 {
            let weight = life.step(1.0 / rate).weights[Blendshape::EyeBlinkLeft.index()];
            if weight > 0.05 {
                below += 1.0 / rate;
            }
            if weight > 0.85 && !shut {
                count += 1;
            }
            shut = if shut { weight > 0.3 } else { weight > 0.85 };
        }
        (count, below / count.max(1) as f32)
    }

    #[test]
    fn idle_blink_rate_is_independent_of_frame_rate() {
        for rate in [30.0, 60.0, 240.0] {
            let settings = IdleSettings { saccades: 0.0, ..IdleSettings::default() };
            let (count, length) = blinks(settings, rate, 1200.0);
            assert!((240..=360).contains(&count), "{count} in 20 minutes at {rate}");
            assert!((0.18..0.32).contains(&length), "{length} s at {rate}");
        }
        assert_eq!(blinks(IdleSettings { blinks_per_minute: 0.0, ..IdleSettings::default() }, 60.0, 120.0).0, 0);
    }

    #[test]
    fn idle_pose_stays_in_range_at_any_step() {
        let mut life = IdleLife::new(IdleSettings::default());
        for dt in
            [0.0, 1.0 / 240.0, 1.0 / 60.0, 0.1, 5.0, f32::NAN, f32::INFINITY, -1.0].into_iter().cycle().take(20_000)
        {
            let pose = *life.step(dt);
            assert!(pose.weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
            let length: f32 = pose.head.iter().map(|part| part * part).sum();
            assert!((length - 1.0).abs() < 1e-4 && pose.head[3] > 0.98, "{:?}", pose.head);
            assert!(pose.gaze.iter().all(|eye| eye.yaw.abs() <= 0.4 && eye.pitch.abs() <= 0.2));
            assert!((0.0..=1.0).contains(&pose.breath));
        }
    }

    #[test]
    fn idle_eyes_rest_between_quick_glances() {
        let mut life = IdleLife::new(IdleSettings { blinks_per_minute: 0.0, ..IdleSettings::default() });
        let (mut still, mut last, mut glances, mut moving) = (0, [0.0; 2], 0, false);
        for _ in 0..240 * 60 {
            let eye = life.step(1.0 / 240.0).gaze[0];
            let moved = (eye.yaw - last[0]).hypot(eye.pitch - last[1]) > 1e-6;
            glances += u32::from(moved && !moving);
            still += u32::from(!moved);
            moving = moved;
            last = [eye.yaw, eye.pitch];
        }
        assert!(still > 240 * 60 * 9 / 10, "{still}");
        assert!((25..=120).contains(&glances), "{glances} glances in a minute");
    }

    #[test]
    fn idle_same_seed_same_motion_without_allocation() {
        let mut a = IdleLife::new(IdleSettings::default());
        let mut b = IdleLife::new(IdleSettings::default());
        let mut c = IdleLife::new(IdleSettings { seed: 2, ..IdleSettings::default() });
        let mut differs = false;
        let counted = allocation_counter::measure(|| {
            for _ in 0..6000 {
                let pose = *a.step(1.0 / 60.0);
                assert_eq!(pose, *b.step(1.0 / 60.0));
                differs |= pose != *c.step(1.0 / 60.0);
            }
        });
        assert!(differs);
        assert_eq!(counted.count_total, 0);
    }

    #[test]
    fn idle_head_rotation_has_documented_axes() {
        let [x, y, z, _] = rotation([0.2, 0.0, 0.0]);
        assert!(y > 0.09 && x.abs() < 1e-6 && z.abs() < 1e-6, "yaw is about +Y, to the face's left");
        assert!(rotation([0.0, 0.2, 0.0])[0] < -0.09, "pitch up is about -X");
    }
}
