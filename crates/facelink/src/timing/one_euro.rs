//! A low-pass filter for sources that tremble.
//!
//! The 1€ filter of Casiez, Roussel and Vogel (CHI 2012): an exponential filter whose cutoff rises with the speed of the
//! signal, so that a face at rest is still and a quick one has little lag. ARKit's shapes are smooth already; those of a
//! webcam are not.

use std::f32::consts::TAU;

use crate::{
    frame::FaceFrame,
    groups::ChannelGroup,
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// Settings of one group of channels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneEuro {
    /// Cutoff at rest, hertz; lower is calmer and slower.
    pub min_cutoff: f32,
    /// How much the cutoff rises with speed: hertz for each unit a second.
    pub beta: f32,
}

impl OneEuro {
    /// Cutoff of the filter of the speed itself, hertz, as the paper has it.
    const SPEED_CUTOFF: f32 = 1.0;

    fn share(cutoff: f32, dt: f32) -> f32 {
        // As published: 1 / (1 + tau / dt), with tau = 1 / (2 pi cutoff).
        let tau = 1.0 / (TAU * cutoff.max(0.01));
        1.0 / (1.0 + tau / dt)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Channel {
    value: f32,
    speed: f32,
}

impl Channel {
    /// Gives the new value and the lag, seconds.
    fn step(&mut self, target: f32, dt: f32, settings: OneEuro) -> (f32, f32) {
        let speed = (target - self.value) / dt;
        self.speed += (speed - self.speed) * OneEuro::share(OneEuro::SPEED_CUTOFF, dt);
        let cutoff = settings.min_cutoff + settings.beta * self.speed.abs();
        self.value += (target - self.value) * OneEuro::share(cutoff, dt);
        (self.value, 1.0 / (TAU * cutoff.max(0.01)))
    }
}

/// The filter for a face: each group of channels with settings of its own, or none.
#[derive(Clone, Debug)]
pub struct FaceFilter {
    /// By [`ChannelGroup`], in the order of [`ChannelGroup::ALL`]; `None` lets a group through as it is.
    pub groups: [Option<OneEuro>; ChannelGroup::ALL.len()],
    shapes: [Channel; BLENDSHAPE_COUNT],
    head: Option<[Channel; 4]>,
    gaze: [Channel; 4],
    last_us: Option<i64>,
    lag: f32,
}

impl Default for FaceFilter {
    fn default() -> Self {
        Self::off()
    }
}

impl FaceFilter {
    /// Lets everything through.
    pub const fn off() -> Self {
        Self {
            groups: [None; ChannelGroup::ALL.len()],
            shapes: [Channel { value: 0.0, speed: 0.0 }; BLENDSHAPE_COUNT],
            head: None,
            gaze: [Channel { value: 0.0, speed: 0.0 }; 4],
            last_us: None,
            lag: 0.0,
        }
    }

    /// For a face out of a webcam (MediaPipe and the like): eyelids quick, for a blink is over in a tenth of a second; the
    /// rest calm.
    pub fn webcam() -> Self {
        let mut filter = Self::off();
        for group in ChannelGroup::ALL {
            filter.set(
                group,
                Some(match group {
                    ChannelGroup::Eyelids => OneEuro { min_cutoff: 6.0, beta: 6.0 },
                    ChannelGroup::Jaw | ChannelGroup::Mouth | ChannelGroup::Tongue => {
                        OneEuro { min_cutoff: 3.0, beta: 4.0 }
                    }
                    ChannelGroup::Gaze => OneEuro { min_cutoff: 2.5, beta: 3.0 },
                    ChannelGroup::Head => OneEuro { min_cutoff: 1.5, beta: 4.0 },
                    ChannelGroup::Brows | ChannelGroup::Cheeks => OneEuro { min_cutoff: 1.5, beta: 2.0 },
                }),
            );
        }
        filter
    }

    /// Sets one group.
    pub fn set(&mut self, group: ChannelGroup, settings: Option<OneEuro>) {
        if let Some(place) = ChannelGroup::ALL.iter().position(|known| *known == group) {
            self.groups[place] = settings;
        }
    }

    /// Settings of one group.
    pub fn get(&self, group: ChannelGroup) -> Option<OneEuro> {
        ChannelGroup::ALL.iter().position(|known| *known == group).and_then(|place| self.groups[place])
    }

    /// Whether nothing is filtered.
    pub fn is_off(&self) -> bool {
        self.groups.iter().all(Option::is_none)
    }

    /// How far the face lags behind by the filter now, milliseconds: the mean over the channels that are filtered.
    pub fn lag_ms(&self) -> f32 {
        self.lag * 1000.0
    }

    /// Filters a frame that was captured at `capture_us` (microseconds). Frames have to come in order; one after a pause
    /// begins anew.
    pub fn apply(&mut self, frame: &mut FaceFrame, capture_us: i64) {
        if self.is_off() {
            self.lag = 0.0;
            self.last_us = None;
            return;
        }
        let dt = self.last_us.map(|last| (capture_us - last) as f32 / 1e6);
        let Some(dt) = dt.filter(|dt| *dt < 0.5) else {
            self.begin(frame, capture_us);
            return;
        };
        if dt <= 0.0 {
            return;
        }
        self.last_us = Some(capture_us);
        let (mut lag, mut count) = (0.0, 0.0);
        let groups = self.groups;
        let of = |group: ChannelGroup| groups[group as usize];
        for shape in Blendshape::ALL {
            let channel = &mut self.shapes[shape.index()];
            let weight = &mut frame.weights[shape.index()];
            if let Some(settings) = of(ChannelGroup::of(shape)) {
                let (value, late) = channel.step(*weight, dt, settings);
                *weight = value;
                lag += late;
                count += 1.0;
            } else {
                channel.value = *weight;
            }
        }
        if let (Some(head), Some(settings)) = (&mut frame.head, of(ChannelGroup::Head)) {
            let known = self.head.get_or_insert(head.rotation.map(|value| Channel { value, speed: 0.0 }));
            // A turn and its negative are the same: the near one.
            let same: f32 = known.iter().zip(&head.rotation).map(|(channel, part)| channel.value * part).sum();
            let sign = if same < 0.0 { -1.0 } else { 1.0 };
            let mut length = 0.0;
            for (channel, part) in known.iter_mut().zip(&mut head.rotation) {
                *part = channel.step(*part * sign, dt, settings).0;
                length += *part * *part;
            }
            let length = length.sqrt();
            if length > 0.1 {
                head.rotation.iter_mut().for_each(|part| *part /= length);
            }
        }
        if let (Some(gaze), Some(settings)) = (&mut frame.gaze, of(ChannelGroup::Gaze)) {
            let angles = [&mut gaze.left.yaw, &mut gaze.left.pitch, &mut gaze.right.yaw, &mut gaze.right.pitch];
            for (channel, angle) in self.gaze.iter_mut().zip(angles) {
                *angle = channel.step(*angle, dt, settings).0;
            }
        }
        if count > 0.0 {
            self.lag += (lag / count - self.lag) / 16.0;
        }
    }

    fn begin(&mut self, frame: &FaceFrame, capture_us: i64) {
        self.last_us = Some(capture_us);
        self.shapes = frame.weights.map(|value| Channel { value, speed: 0.0 });
        self.head = frame.head.map(|head| head.rotation.map(|value| Channel { value, speed: 0.0 }));
        if let Some(gaze) = frame.gaze {
            self.gaze = [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch]
                .map(|value| Channel { value, speed: 0.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_euro_removes_noise_and_keeps_blink() {
        let mut filter = FaceFilter::webcam();
        let mut chance = 1_u32;
        let (mut before, mut after, mut closed) = (0.0_f32, 0.0_f32, 0.0_f32);
        let (mut last_in, mut last_out) = (0.3_f32, 0.3_f32);
        for i in 0..300_i64 {
            chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (chance >> 16) as f32 / 65_536.0 * 0.04 - 0.02;
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::BrowInnerUp, 0.3 + noise);
            let lid = if (200..204).contains(&i) { 1.0 } else { 0.0 };
            frame.set(Blendshape::EyeBlinkLeft, lid);
            filter.apply(&mut frame, i * 33_333);
            let shown = frame.weights[Blendshape::BrowInnerUp.index()];
            if i > 30 {
                before += (0.3 + noise - last_in).abs();
                after += (shown - last_out).abs();
            }
            (last_in, last_out) = (0.3 + noise, shown);
            closed = closed.max(frame.weights[Blendshape::EyeBlinkLeft.index()]);
        }
        assert!(after < before * 0.4, "{after} of {before}");
        assert!(closed > 0.9, "{closed}");
        assert!(filter.lag_ms() > 10.0 && filter.lag_ms() < 120.0, "{}", filter.lag_ms());
    }

    #[test]
    fn one_euro_off_changes_nothing_and_has_no_lag() {
        let mut filter = FaceFilter::off();
        for i in 0..10 {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::JawOpen, i as f32 / 10.0);
            let before = frame.clone();
            filter.apply(&mut frame, i * 16_667);
            assert_eq!(frame, before);
        }
        assert_eq!(filter.lag_ms(), 0.0);
    }
}
