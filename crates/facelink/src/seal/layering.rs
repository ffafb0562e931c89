//! Which temporal layer a frame is of, and which frame between two of a layer it has to repeat.

use std::time::Duration;

use crate::time::Instant;

use crate::{frame::FaceFrame, names::BLENDSHAPE_COUNT, wire::sealed::Layer};

/// A value that went so far beyond both frames around it is a peak.
const PEAK: f32 = 0.1;
/// Frames further apart than this do not belong together.
const PAUSE: Duration = Duration::from_millis(500);
/// Frames that an encoder can repeat.
const RECENT: usize = 3;

/// When the next frame of a layer is due.
#[derive(Clone, Copy, Debug, Default)]
struct Cadence(Option<Instant>);

impl Cadence {
    fn is_due(&self, slack: Duration, now: Instant) -> bool {
        self.0.is_none_or(|due| now + slack >= due)
    }

    fn next(&mut self, period: Duration, now: Instant) {
        // The cadence is kept while the source keeps up with it.
        self.0 = Some(self.0.filter(|due| *due + period > now).unwrap_or(now) + period);
    }
}

type Weights = [f32; BLENDSHAPE_COUNT];

/// The layers of one stream.
#[derive(Clone, Debug)]
pub(super) struct Layering {
    base: Cadence,
    middle: Cadence,
    last: Option<Instant>,
    interval: Duration,
    tracked: bool,
    /// The last frames, newest first; `None` where there was none, or a pause lies between.
    recent: [Option<Weights>; RECENT],
    /// How many frames ago, and with which weights, the last frame was of the lowest layer, and of the two lower ones.
    since_base: Option<(usize, Weights)>,
    since_middle: Option<(usize, Weights)>,
}

impl Default for Layering {
    fn default() -> Self {
        Self {
            base: Cadence::default(),
            middle: Cadence::default(),
            last: None,
            interval: Duration::from_micros(16_667),
            tracked: false,
            recent: [None; RECENT],
            since_base: None,
            since_middle: None,
        }
    }
}

impl Layering {
    /// The layer of the next frame, and which of the last three (1: the last one) it has to repeat, so that a receiver of
    /// its layer alone sees the peak between: a blink that began and ended since the last frame of the layer.
    pub fn next(&mut self, frame: &FaceFrame, now: Instant) -> (Layer, Option<usize>) {
        let period = |layer: Layer| Duration::from_secs_f32(1.0 / layer.max_fps());
        match self.last.map(|last| now.saturating_duration_since(last)) {
            Some(gap) if gap > PAUSE => self.forget(),
            Some(gap) if !gap.is_zero() => self.interval = self.interval.mul_f32(0.9) + gap.mul_f32(0.1),
            _ => {}
        }
        self.last = Some(now);
        let slack = self.interval.min(period(Layer::Middle)) / 2;
        let found_or_lost = std::mem::replace(&mut self.tracked, frame.tracked) != frame.tracked;
        let layer = if found_or_lost || self.base.is_due(slack, now) {
            self.base.next(period(Layer::Base), now);
            // Nested: every second frame of the two lower layers is of the lowest.
            self.middle = Cadence(Some(now + period(Layer::Middle)));
            Layer::Base
        } else if self.middle.is_due(slack, now) {
            self.middle.next(period(Layer::Middle), now);
            Layer::Middle
        } else {
            Layer::Top
        };
        let since = match layer {
            Layer::Base => self.since_base,
            Layer::Middle => self.since_middle,
            Layer::Top => None,
        };
        let peak = since.and_then(|(ago, kept)| self.peak(ago, &kept, &frame.weights));
        self.note(layer, &frame.weights);
        (layer, peak)
    }

    fn forget(&mut self) {
        self.recent = [None; RECENT];
        (self.since_base, self.since_middle) = (None, None);
    }

    fn note(&mut self, layer: Layer, weights: &Weights) {
        self.recent.rotate_right(1);
        self.recent[0] = Some(*weights);
        for since in [&mut self.since_base, &mut self.since_middle].into_iter().flatten() {
            since.0 += 1;
        }
        if layer == Layer::Base {
            self.since_base = Some((1, *weights));
        }
        if layer <= Layer::Middle {
            self.since_middle = Some((1, *weights));
        }
    }

    /// Of the frames after the one `ago`, that in which a shape went furthest beyond its values then and now.
    fn peak(&self, ago: usize, kept: &Weights, newest: &Weights) -> Option<usize> {
        let between = self.recent.iter().take(ago.saturating_sub(1)).enumerate();
        let height = |weights: &Weights| {
            let beyond = weights
                .iter()
                .zip(kept.iter().zip(newest))
                .map(|(value, (then, now))| (value - then.max(*now)).max(then.min(*now) - value));
            beyond.fold(0.0, f32::max)
        };
        let heights = between.filter_map(|(back, weights)| Some((back + 1, height(weights.as_ref()?))));
        let (back, highest) = heights.max_by(|a, b| a.1.total_cmp(&b.1))?;
        (highest > PEAK).then_some(back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Blendshape;

    fn layers(fps: u64, jitter_us: u64, count: u64) -> Vec<Layer> {
        let (start, mut layering) = (Instant::now(), Layering::default());
        let at = |i: u64| start + Duration::from_micros(1_000_000 * i / fps + (i * 7919) % (jitter_us + 1));
        (0..count).map(|i| layering.next(&FaceFrame::neutral(), at(i)).0).collect()
    }

    fn share(layers: &[Layer], up_to: Layer) -> f32 {
        layers.iter().filter(|layer| **layer <= up_to).count() as f32 / layers.len() as f32
    }

    #[test]
    fn layers_are_nested_fifteen_thirty_and_all() {
        for jitter_us in [0, 2_000, 5_000] {
            let of = layers(60, jitter_us, 1200);
            assert!((share(&of, Layer::Base) - 0.25).abs() < 0.01, "{jitter_us}: {}", share(&of, Layer::Base));
            assert!((share(&of, Layer::Middle) - 0.5).abs() < 0.02, "{jitter_us}: {}", share(&of, Layer::Middle));
        }
        assert_eq!(
            layers(60, 0, 8),
            [Layer::Base, Layer::Top, Layer::Middle, Layer::Top, Layer::Base, Layer::Top, Layer::Middle, Layer::Top]
        );
        assert_eq!(layers(30, 0, 4), [Layer::Base, Layer::Middle, Layer::Base, Layer::Middle]);
        assert!(layers(15, 0, 60).iter().all(|layer| *layer == Layer::Base));
        assert!((share(&layers(120, 0, 1200), Layer::Base) - 0.125).abs() < 0.01);
    }

    #[test]
    fn layer_of_a_face_lost_or_found_is_the_lowest() {
        let (start, mut layering) = (Instant::now(), Layering::default());
        let of: Vec<_> = (0..12_u64)
            .map(|i| {
                let frame = FaceFrame { tracked: !(5..8).contains(&i), ..FaceFrame::neutral() };
                layering.next(&frame, start + Duration::from_micros(16_667 * i)).0
            })
            .collect();
        assert_eq!((of[5], of[8]), (Layer::Base, Layer::Base), "{of:?}");
        assert!(of.contains(&Layer::Top));
    }

    #[test]
    fn layer_repeats_the_peak_between_two_of_its_frames() {
        let start = Instant::now();
        for phase in 0..16_u64 {
            let (mut layering, mut frames) = (Layering::default(), Vec::new());
            let mut most = [0.0_f32; 2];
            let mut repeats = 0;
            for i in 0..120_u64 {
                let mut frame = FaceFrame::neutral();
                let into = i as f32 - 60.0 - phase as f32 / 4.0;
                frame.set(Blendshape::EyeBlinkLeft, (1.0 - into.abs() / 2.5).max(0.0));
                let (layer, peak) = layering.next(&frame, start + Duration::from_micros(16_667 * i));
                frames.push(frame.weights[Blendshape::EyeBlinkLeft.index()]);
                repeats += usize::from(peak.is_some());
                for (most, up_to) in most.iter_mut().zip([Layer::Base, Layer::Middle]) {
                    if layer <= up_to {
                        let repeated = peak.map_or(0.0, |back| frames[frames.len() - 1 - back]);
                        *most = most.max(frames[frames.len() - 1]).max(repeated);
                    }
                }
            }
            let highest = frames.iter().copied().fold(0.0, f32::max);
            assert!(most.iter().all(|most| *most > highest - 0.11), "{phase}: {most:?} of {highest}");
            assert!(repeats <= 3, "{phase}: {repeats}");
        }
    }
}
