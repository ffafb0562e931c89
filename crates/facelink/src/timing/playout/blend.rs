//! Interpolation between frames, extrapolation beyond them, and the blend back.

use std::sync::Arc;

use crate::{
    frame::{Channels, EyeGaze, FaceFrame, Gaze, HeadPose},
    names::BLENDSHAPE_COUNT,
};

/// Time constant with which an extrapolated motion comes to rest, seconds.
const DAMPING: f32 = 0.03;
/// Time constant with which a difference is blended away, seconds, and how fast at most, units a second: about as quick as
/// a face itself moves.
const FADE: f32 = 0.04;
const FASTEST: f32 = 8.0;

/// Faster than any face, units a second (blinks reach 11).
const NO_MOTION: f32 = 13.0;

type Quaternion = [f32; 4];

/// Two frames, and those around them with their distance in gaps.
pub(super) struct Span<'a> {
    pub earlier: Option<(&'a FaceFrame, f32)>,
    pub last: &'a FaceFrame,
    pub next: &'a FaceFrame,
    pub later: Option<(&'a FaceFrame, f32)>,
}

fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// Normalised, along the shorter arc: for the small turns between two frames the same as a slerp.
pub(super) fn turn(a: Quaternion, b: Quaternion, t: f32) -> Quaternion {
    let dot: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    let sign = if dot < 0.0 { -1.0 } else { 1.0 };
    let mut out = [0.0; 4];
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(&b)) {
        *out = lerp(*a, b * sign, t);
    }
    normalised(out)
}

fn normalised(q: Quaternion) -> Quaternion {
    let length = q.iter().map(|part| part * part).sum::<f32>().sqrt();
    if length > 1e-6 { q.map(|part| part / length) } else { [0.0, 0.0, 0.0, 1.0] }
}

fn multiply([ax, ay, az, aw]: Quaternion, [bx, by, bz, bw]: Quaternion) -> Quaternion {
    [
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    ]
}

fn inverse([x, y, z, w]: Quaternion) -> Quaternion {
    [-x, -y, -z, w]
}

/// Copies a face; allocates nothing while the channels stay the same.
pub(super) fn copy(out: &mut FaceFrame, from: &FaceFrame) {
    out.weights = from.weights;
    head_over(out, from);
    same_channels(&mut out.channels, &from.channels);
    for (channel, from) in out.channels.iter_mut().zip(&from.channels) {
        channel.value = from.value;
    }
}

fn head_over(out: &mut FaceFrame, from: &FaceFrame) {
    out.present = from.present;
    out.head = from.head;
    out.gaze = from.gaze;
    out.tracked = from.tracked;
    out.capture_time = from.capture_time;
    out.sequence = from.sequence;
}

fn same_channels(out: &mut Channels, from: &Channels) {
    let same = out.len() == from.len() && out.iter().zip(from).all(|(a, b)| Arc::ptr_eq(&a.name, &b.name));
    if !same {
        out.clone_from(from);
    }
}

/// The slope at a point of a curve that does not overshoot: the harmonic mean of the slopes to either side, 0 at a peak
/// (Fritsch and Butland, SIAM J. Sci. Stat. Comput. 1984).
fn slope(before: f32, after: f32, before_length: f32, after_length: f32) -> f32 {
    if before * after <= 0.0 {
        return 0.0;
    }
    let (w1, w2) = (2.0 * after_length + before_length, after_length + 2.0 * before_length);
    (w1 + w2) / (w1 / before + w2 / after)
}

/// The face at `t`, `0..=1`, between the last frame and the next. Weights follow a curve through the frames around.
pub(super) fn between(out: &mut FaceFrame, span: &Span<'_>, t: f32) {
    let (a, b) = (span.last, span.next);
    let t = t.clamp(0.0, 1.0);
    head_over(out, a);
    let (t2, t3) = (t * t, t * t * t);
    let (h10, h01, h11) = (t3 - 2.0 * t2 + t, 3.0 * t2 - 2.0 * t3, t3 - t2);
    for i in 0..BLENDSHAPE_COUNT {
        let (from, to) = (a.weights[i], b.weights[i]);
        let step = to - from;
        if step == 0.0 {
            out.weights[i] = from;
            continue;
        }
        let start = span
            .earlier
            .map_or(step, |(earlier, length)| slope((from - earlier.weights[i]) / length, step, length, 1.0));
        let end = span.later.map_or(step, |(later, length)| slope(step, (later.weights[i] - to) / length, 1.0, length));
        out.weights[i] = from + h01 * step + h10 * start + h11 * end;
    }
    same_channels(&mut out.channels, &a.channels);
    for (i, channel) in out.channels.iter_mut().enumerate() {
        let from = a.channels[i].value;
        let same = b.channels.get(i).filter(|other| Arc::ptr_eq(&other.name, &channel.name));
        let to = same.or_else(|| b.channels.iter().find(|other| other.name == channel.name));
        channel.value = to.map_or(from, |to| lerp(from, to.value, t));
    }
    if let (Some(from), Some(to)) = (a.head, b.head) {
        let position = match (from.position, to.position) {
            (Some(from), Some(to)) => Some([0, 1, 2].map(|i| lerp(from[i], to[i], t))),
            (from, _) => from,
        };
        out.head = Some(HeadPose { rotation: turn(from.rotation, to.rotation, t), position });
    }
    if let (Some(from), Some(to)) = (a.gaze, b.gaze) {
        let eye = |a: EyeGaze, b: EyeGaze| EyeGaze { yaw: lerp(a.yaw, b.yaw, t), pitch: lerp(a.pitch, b.pitch, t) };
        out.gaze = Some(Gaze { left: eye(from.left, to.left), right: eye(from.right, to.right) });
    }
}

/// The face `over` seconds after the last frame: it continues as from the frame before, `step` seconds earlier, slower
/// and slower. Of that, the share `back` is left.
pub(super) fn beyond(out: &mut FaceFrame, earlier: &FaceFrame, last: &FaceFrame, over: f32, step: f32, back: f32) {
    copy(out, last);
    let share = DAMPING * (1.0 - (-over.max(0.0) / DAMPING).exp()) / step * back;
    if share <= 0.0 {
        return;
    }
    for (i, weight) in out.weights.iter_mut().enumerate() {
        let (from, to) = (earlier.weights[i], last.weights[i]);
        // A jump is no motion.
        if (to - from).abs() > NO_MOTION * step {
            continue;
        }
        let on = to + (to - from) * share;
        *weight = on.clamp(to.min(0.0), to.max(1.0));
    }
    if let (Some(from), Some(to)) = (earlier.head, last.head) {
        let rotation = turn(from.rotation, to.rotation, 1.0 + share);
        let position = match (from.position, to.position) {
            (Some(from), Some(to)) => Some([0, 1, 2].map(|i| lerp(from[i], to[i], 1.0 + share))),
            (_, to) => to,
        };
        out.head = Some(HeadPose { rotation, position });
    }
}

/// The shown pose minus the right one; it fades.
#[derive(Clone, Debug)]
pub(super) struct Residual {
    weights: [f32; BLENDSHAPE_COUNT],
    head: Quaternion,
    gaze: [f32; 4],
    any: bool,
}

impl Default for Residual {
    fn default() -> Self {
        Self { weights: [0.0; BLENDSHAPE_COUNT], head: [0.0, 0.0, 0.0, 1.0], gaze: [0.0; 4], any: false }
    }
}

fn angles(gaze: Gaze) -> [f32; 4] {
    [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch]
}

impl Residual {
    pub fn set(&mut self, shown: &FaceFrame, meant: &FaceFrame) {
        for (residual, (shown, meant)) in self.weights.iter_mut().zip(shown.weights.iter().zip(&meant.weights)) {
            *residual = shown - meant;
        }
        self.head = match (shown.head, meant.head) {
            (Some(shown), Some(meant)) => multiply(shown.rotation, inverse(meant.rotation)),
            _ => [0.0, 0.0, 0.0, 1.0],
        };
        self.gaze = [0.0; 4];
        if let (Some(shown), Some(meant)) = (shown.gaze, meant.gaze) {
            let (shown, meant) = (angles(shown), angles(meant));
            self.gaze = [0, 1, 2, 3].map(|i| shown[i] - meant[i]);
        }
        self.any = true;
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Lets `dt` seconds pass and adds the rest of it to a face.
    pub fn apply(&mut self, out: &mut FaceFrame, dt: f32) {
        if !self.any {
            return;
        }
        let keep = (-dt / FADE).exp();
        let most = FASTEST * dt;
        let fade = |value: &mut f32| {
            *value -= (*value * (1.0 - keep)).clamp(-most, most);
            value.abs() > 1e-4
        };
        let mut any = false;
        for (residual, weight) in self.weights.iter_mut().zip(&mut out.weights) {
            if *residual != 0.0 {
                any |= fade(residual);
                *weight += *residual;
            }
        }
        self.head = turn([0.0, 0.0, 0.0, 1.0], self.head, keep);
        any |= self.head[3] < 1.0 - 1e-6;
        if let Some(head) = &mut out.head {
            head.rotation = normalised(multiply(self.head, head.rotation));
        }
        if let Some(gaze) = &mut out.gaze {
            let eyes = [&mut gaze.left.yaw, &mut gaze.left.pitch, &mut gaze.right.yaw, &mut gaze.right.pitch];
            for (residual, angle) in self.gaze.iter_mut().zip(eyes) {
                any |= fade(residual);
                *angle += *residual;
            }
        }
        self.any = any;
        if !any {
            self.clear();
        }
    }
}
