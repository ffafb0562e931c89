//! Who speaks: whether a mouth moves.

use std::time::Duration;

use crate::{
    frame::FaceFrame,
    groups::ChannelGroup,
    names::{BLENDSHAPE_COUNT, Blendshape},
    time::Instant,
};

/// Frames are compared over this time, so that a tracker's noise from frame to frame is not taken for speech.
const WINDOW: Duration = Duration::from_millis(100);
/// A jaw, mouth or tongue shape that changes by so much within it moves.
const MOVES: f32 = 0.08;
/// A pause between two words is not the end of speech.
const HOLD: Duration = Duration::from_millis(1000);

/// Notes whether the mouth of one face moves.
#[derive(Clone, Debug)]
pub(super) struct Mouth {
    reference: [f32; BLENDSHAPE_COUNT],
    taken: Option<Instant>,
    speaks_until: Option<Instant>,
}

impl Default for Mouth {
    fn default() -> Self {
        Self { reference: [0.0; BLENDSHAPE_COUNT], taken: None, speaks_until: None }
    }
}

impl Mouth {
    pub fn record(&mut self, frame: &FaceFrame, now: Instant) {
        let since = self.taken.map(|at| now.saturating_duration_since(at));
        if since.is_some_and(|since| since <= WINDOW * 2) && moved(&self.reference, &frame.weights) > MOVES {
            self.speaks_until = Some(now + HOLD);
        }
        if since.is_none_or(|since| since >= WINDOW) {
            (self.reference, self.taken) = (frame.weights, Some(now));
        }
    }

    /// Whether it has moved lately.
    pub fn speaks(&self, now: Instant) -> bool {
        self.speaks_until.is_some_and(|until| now < until)
    }
}

/// The largest change of a shape of the mouth.
fn moved(from: &[f32; BLENDSHAPE_COUNT], to: &[f32; BLENDSHAPE_COUNT]) -> f32 {
    let of_mouth = |shape: Blendshape| {
        matches!(ChannelGroup::of(shape), ChannelGroup::Jaw | ChannelGroup::Mouth | ChannelGroup::Tongue)
    };
    let shapes = Blendshape::ALL.into_iter().filter(|shape| of_mouth(*shape));
    shapes.fold(0.0, |most, shape| most.max((from[shape.index()] - to[shape.index()]).abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mouth_speaks_by_its_movement_alone() {
        let start = Instant::now();
        let speaks = |shape: Blendshape, size: f32| {
            let mut mouth = Mouth::default();
            let mut share = 0;
            for i in 0..120_u32 {
                let at = Duration::from_micros(16_667 * u64::from(i));
                let mut frame = FaceFrame::neutral();
                frame.set(shape, 0.3 + size * (at.as_secs_f32() * 25.0).sin());
                mouth.record(&frame, start + at);
                share += i32::from(mouth.speaks(start + at));
            }
            (share > 100, mouth.speaks(start + Duration::from_secs(4)))
        };
        assert_eq!(speaks(Blendshape::JawOpen, 0.2), (true, false), "and stops");
        assert_eq!(speaks(Blendshape::MouthPucker, 0.2), (true, false));
        assert_eq!(speaks(Blendshape::EyeBlinkLeft, 0.5), (false, false));
        assert_eq!(speaks(Blendshape::JawOpen, 0.01), (false, false), "noise");
    }
}
