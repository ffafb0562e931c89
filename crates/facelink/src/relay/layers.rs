//! Nested temporal layers of one face.

use std::{fmt, time::Duration};

use serde::{Serialize, Serializer};

use crate::{
    frame::FaceFrame,
    time::Instant,
    timing::{Cadence, Peaks},
};

/// A temporal layer: so many frames a second of a face. Layers are nested: each has the frames of those below it, and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// 7.5 a second, where not even 15 fit.
    Sparse,
    /// 15 a second: what speech can still be read from.
    Low,
    /// 30 a second.
    Middle,
    /// 60 a second.
    High,
    /// Every frame of the source.
    #[default]
    All,
}

impl Layer {
    /// Every layer, the lowest first.
    pub const EVERY: [Self; 5] = [Self::Sparse, Self::Low, Self::Middle, Self::High, Self::All];

    /// Frames a second; infinite for [`All`](Self::All).
    pub const fn fps(self) -> f32 {
        match self {
            Self::Sparse => 7.5,
            Self::Low => 15.0,
            Self::Middle => 30.0,
            Self::High => 60.0,
            Self::All => f32::INFINITY,
        }
    }

    /// The highest layer of at most so many frames a second; [`Sparse`](Self::Sparse) if every one has more.
    pub fn within(max_fps: f32) -> Self {
        // A subscriber that asks for 59.94 means every frame of 60.
        let within = Self::EVERY.into_iter().rev().find(|layer| layer.fps() <= max_fps * 1.01);
        within.unwrap_or(Self::Sparse)
    }

    /// Its name in statistics: `7.5`, `15`, `30`, `60` or `all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sparse => "7.5",
            Self::Low => "15",
            Self::Middle => "30",
            Self::High => "60",
            Self::All => "all",
        }
    }

    pub(super) fn period(self) -> Duration {
        Duration::from_secs_f32(1.0 / self.fps())
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Layer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The frame of one layer.
#[derive(Clone, Debug)]
pub struct Layered {
    /// Which layer.
    pub layer: Layer,
    /// The frame, with the peaks since the frame before of that layer: a blink between two of them is not lost.
    pub frame: FaceFrame,
    /// How far a shape was changed to keep its peak.
    pub added: f32,
}

/// Splits the frames of one face into layers.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Those below [`Layer::All`], the lowest first.
    steps: [(Cadence, Peaks); Layer::EVERY.len() - 1],
}

impl Layers {
    /// Takes a frame of the source and gives the frame of each layer that it belongs to, the highest first.
    pub fn offer(&mut self, frame: &FaceFrame, now: Instant, mut each: impl FnMut(Layered)) {
        each(Layered { layer: Layer::All, frame: frame.clone(), added: 0.0 });
        let mut belongs = true;
        for (layer, (cadence, peaks)) in Layer::EVERY.into_iter().zip(&mut self.steps).rev() {
            // Of a lower layer, the frames of the one above are the source.
            if belongs && !cadence.arrive(now) {
                peaks.forget();
            }
            // A lost face has no peaks to keep, and must not be delayed.
            if !frame.tracked {
                peaks.forget();
                cadence.force(layer.period(), now);
                each(Layered { layer, frame: frame.clone(), added: 0.0 });
                continue;
            }
            peaks.gather(frame);
            belongs = belongs && cadence.take(layer.period(), now);
            if belongs {
                let mut kept = frame.clone();
                peaks.keep(&mut kept);
                let added = kept
                    .weights
                    .iter()
                    .zip(&frame.weights)
                    .fold(0.0, |most: f32, (kept, weight)| most.max((kept - weight).abs()));
                each(Layered { layer, frame: kept, added });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blendshape, performer::Performance};

    /// How many frames each layer had, the lowest first.
    fn count(fps: f32, seconds: f32) -> [usize; 5] {
        let (start, mut layers, mut counts) = (Instant::now(), Layers::default(), [0; 5]);
        for i in 0..(fps * seconds) as u32 {
            let jitter = Duration::from_micros(u64::from(i) * 7919 % 3000);
            let at = start + Duration::from_secs_f64(f64::from(i) / f64::from(fps)) + jitter;
            let mut last = None;
            layers.offer(&FaceFrame::neutral(), at, |layered| {
                assert!(last.is_none_or(|last| layered.layer < last), "the highest first");
                last = Some(layered.layer);
                counts[layered.layer as usize] += 1;
            });
        }
        counts
    }

    #[test]
    fn layers_are_nested_and_have_their_rates() {
        for (fps, wanted) in [
            (60.0, [75, 150, 300, 600, 600]),
            (30.0, [75, 150, 300, 300, 300]),
            (120.0, [75, 150, 300, 600, 1200]),
            (50.0, [75, 150, 300, 500, 500]),
            (24.0, [75, 150, 240, 240, 240]),
            (5.0, [50, 50, 50, 50, 50]),
        ] {
            let counts = count(fps, 10.0);
            let near = counts.iter().zip(wanted).all(|(count, wanted)| count.abs_diff(wanted) <= wanted / 12 + 3);
            assert!(near, "{fps}: {counts:?}, expected {wanted:?}");
            assert!(counts.is_sorted(), "{counts:?}");
        }
    }

    #[test]
    fn layers_keep_the_peak_of_a_blink() {
        for phase in 0..16 {
            let (start, mut layers, mut most) = (Instant::now(), Layers::default(), [0.0_f32; 5]);
            for i in 0..120_u64 {
                let mut frame = FaceFrame::neutral();
                frame.set(Blendshape::EyeBlinkLeft, (1.0 - (i as f32 - 60.0 - phase as f32).abs() / 4.0).max(0.0));
                layers.offer(&frame, start + Duration::from_micros(16_667 * i), |layered| {
                    let value = layered.frame.weights[Blendshape::EyeBlinkLeft.index()];
                    most[layered.layer as usize] = most[layered.layer as usize].max(value);
                });
            }
            assert!(most.iter().all(|most| *most > 0.95), "{phase}: {most:?}");
        }
    }

    #[test]
    fn layers_face_that_is_lost_is_in_each() {
        let (start, mut layers) = (Instant::now(), Layers::default());
        let performance = Performance::new(1);
        for i in 0..30 {
            let at = Duration::from_millis(16) * i;
            let frame = FaceFrame { tracked: i % 5 != 3, ..performance.frame_at(at) };
            let mut count = 0;
            layers.offer(&frame, start + at, |layered| {
                count += 1;
                assert!(frame.tracked || layered.added == 0.0);
            });
            assert!(frame.tracked || count == 5, "{i}");
        }
    }

    #[test]
    fn layer_within_a_rate() {
        for (fps, layer) in [
            (1000.0, Layer::High),
            (60.0, Layer::High),
            (59.94, Layer::High),
            (50.0, Layer::Middle),
            (20.0, Layer::Low),
            (10.0, Layer::Sparse),
            (1.0, Layer::Sparse),
            (f32::INFINITY, Layer::All),
        ] {
            assert_eq!(Layer::within(fps), layer, "{fps}");
        }
    }
}
