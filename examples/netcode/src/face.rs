//! A face at both of its ends.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use facelink::{
    BLENDSHAPE_COUNT, FaceFrame,
    netcode::{FaceDecoder, FaceEncoder},
    performer::Performance,
    timing::{Decimator, Playout, PresentClock, SourceClock},
};

use crate::measure::Samples;

/// The performer; the measurement knows what the face was at any time.
pub(crate) const PERFORMANCE: Performance = Performance::new(11);

/// On the server: the face of the player. A game has it from its own source, or from `FaceInput` of `bevy_facelink`.
#[derive(Resource)]
pub struct Performer {
    start: Instant,
    rate: f32,
    decimator: Decimator,
    next_floats: Duration,
}

impl Performer {
    pub(crate) fn new(start: Instant, rate: f32) -> Self {
        Self { start, rate, decimator: Decimator::default(), next_floats: Duration::ZERO }
    }

    /// With every frame of the game: the face to be sent and when it was so on the game's clock, 10 to 30 times a second.
    pub fn due(&mut self) -> Option<(FaceFrame, Duration)> {
        let now = Instant::now();
        let captured = now - self.start;
        let mut frame = PERFORMANCE.frame_at(captured);
        // It keeps the blinks that fall between two updates.
        self.decimator.offer(&mut frame, self.rate, now).then_some((frame, captured))
    }

    /// As often, the weights alone: for comparison.
    pub fn floats_due(&mut self) -> Option<Vec<f32>> {
        let captured = self.start.elapsed();
        if captured < self.next_floats {
            return None;
        }
        let interval = Duration::from_secs_f32(1.0 / self.rate);
        self.next_floats = (self.next_floats + interval).max(captured.saturating_sub(interval));
        Some(PERFORMANCE.frame_at(captured).weights.to_vec())
    }
}

/// On the server, at each client: how far the client is with each face. It goes away with the client, and one that joins late
/// begins with whole faces. `F` is what the game knows a player by.
#[derive(Component, Deref, DerefMut)]
pub struct FacesTo<F: Send + Sync + 'static>(HashMap<F, FaceEncoder>);

impl<F: Send + Sync> Default for FacesTo<F> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

/// On a client, at each player: the face that is shown.
#[derive(Component)]
pub struct ShownFace {
    decoder: FaceDecoder,
    clock: SourceClock,
    playout: Playout,
    present: PresentClock,
    floats: Option<[f32; BLENDSHAPE_COUNT]>,
    pub(crate) samples: Samples,
}

impl Default for ShownFace {
    fn default() -> Self {
        Self {
            decoder: FaceDecoder::new(),
            clock: SourceClock::new(Instant::now()),
            playout: Playout::default(),
            present: PresentClock::default(),
            floats: None,
            samples: Samples::default(),
        }
    }
}

impl ShownFace {
    /// With every payload, in whatever order. The number that it returns goes back to the server, for
    /// `FaceEncoder::acknowledge`.
    pub fn take(&mut self, payload: &[u8]) -> Option<u32> {
        let now = Instant::now();
        self.samples.arrived(payload.len());
        // A game counts these and goes on.
        let face = self.decoder.decode(payload).inspect_err(|error| self.samples.refused(error)).ok()?;
        let stamp = self.clock.record(face.capture_time, now);
        self.playout.push(face, None, &stamp, now, false);
        self.decoder.newest()
    }

    /// For comparison: floats, shown as they come.
    pub fn take_floats(&mut self, floats: &[f32]) {
        self.samples.arrived(size_of_val(floats));
        self.floats = floats.try_into().ok().or(self.floats);
    }

    /// With every rendered frame. A game gives the pose to its avatar.
    pub(crate) fn show(&mut self, start: Instant) {
        let now = Instant::now();
        let shown = self.playout.advance(self.present.tick(now)).map(|shown| shown.frame.weights).or(self.floats);
        if let Some(weights) = shown {
            self.samples.show(now - start, weights);
        }
    }
}
