//! A face that is published: its newest frame in each layer.

use std::{sync::Arc, time::Duration};

use super::{
    layers::{Layer, Layered, Layers},
    mouth::Mouth,
};
use crate::{
    frame::FaceFrame,
    time::Instant,
    timing::{Cadence, RateMeter},
    wire::{
        facelink1::{
            Clock,
            bundle::FaceBytes,
            delta::compact::{Body, CompactBundle, CompactFace, TIME_STEP},
        },
        sealed,
    },
};

/// Bodies of one frame that are kept, by what they build upon.
const MAX_BODIES: usize = 16;
const RATE_INTERVAL: Duration = Duration::from_millis(250);

/// What a frame is to a relay.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "frames are nearly all, and a box would cost an allocation each")]
pub(super) enum Content {
    Frame(FaceFrame),
    /// A sealed packet, which only viewers can read.
    Sealed(Arc<[u8]>),
}

/// The newest frame of one layer.
#[derive(Debug)]
pub(super) struct Newest {
    /// Counts the frames of the face.
    pub index: u64,
    pub content: Content,
    /// How far a shape was changed to keep its peak.
    pub added: f32,
    /// When it was captured, as far as is known.
    captured: Instant,
    /// Once it was wanted; `None` inside when it does not fit the format.
    written: Option<Option<Arc<FaceBytes>>>,
    /// The same for compact bundles, with the bodies that were written: whole, or by the [key](Self::key) of the frame that
    /// they build upon.
    compact: Option<Option<Arc<CompactFace>>>,
    bodies: Vec<(Option<u64>, Option<Body>)>,
}

impl Newest {
    fn new(index: u64, content: Content, added: f32, captured: Instant) -> Self {
        Self { index, content, added, captured, written: None, compact: None, bodies: Vec::new() }
    }

    /// What a frame of a face and layer is known by.
    pub fn key(&self, layer: Layer) -> u64 {
        self.index * Layer::EVERY.len() as u64 + layer as u64
    }

    /// The time of day at which it was captured; `unix` is that of now.
    pub fn unix(&self, unix: Duration, now: Instant) -> Duration {
        unix.saturating_sub(now.saturating_duration_since(self.captured))
    }

    /// As `facelink1`, with [that time](Self::unix).
    pub fn bytes(&mut self, name: &str, unix: Duration, now: Instant) -> Option<Arc<FaceBytes>> {
        let (captured, content) = (self.unix(unix, now), &mut self.content);
        let written = self.written.get_or_insert_with(|| {
            let Content::Frame(frame) = content else { return None };
            frame.capture_time = Some(captured);
            match FaceBytes::new(name, frame, Clock::Unix) {
                Ok(bytes) => Some(Arc::new(bytes)),
                Err(error) => {
                    tracing::debug!(%error, name, "not sent as facelink1");
                    None
                }
            }
        });
        written.clone()
    }

    /// For compact bundles, with [that time](Self::unix).
    pub fn compact(&mut self, name: &str, unix: Duration, now: Instant) -> Option<Arc<CompactFace>> {
        let captured = self.unix(unix, now);
        let compact = self.compact.get_or_insert_with(|| {
            let Content::Frame(frame) = &self.content else { return None };
            match CompactFace::new(frame, captured) {
                Ok(face) => Some(Arc::new(face)),
                Err(error) => {
                    tracing::debug!(%error, name, "not sent in a compact bundle");
                    None
                }
            }
        });
        compact.clone()
    }

    /// Its body: whole, or as what changed since another frame, whose key is given; `None` where that cannot be said.
    pub fn body(
        &mut self,
        face: &CompactFace,
        since: Option<(u64, &CompactFace)>,
        bundle: &mut CompactBundle,
    ) -> Option<Body> {
        let key = since.map(|(key, _)| key);
        if let Some((_, body)) = self.bodies.iter().find(|(known, _)| *known == key) {
            return body.clone();
        }
        let body = match since {
            Some((_, since)) => bundle.changes(face, since),
            None => Some(bundle.whole(face)),
        };
        if self.bodies.len() < MAX_BODIES {
            self.bodies.push((key, body.clone()));
        }
        body
    }
}

#[derive(Debug)]
pub(super) struct Face {
    pub name: Arc<str>,
    /// The connection that publishes it, and its room.
    pub publisher: u64,
    pub room: Option<Arc<str>>,
    /// Viewers that are sent it.
    pub viewers: Vec<u64>,
    pub published: Instant,
    index: u64,
    captured: Option<Instant>,
    layers: Layers,
    newest: [Option<Newest>; Layer::EVERY.len()],
    mouth: Mouth,
    /// Which sealed frames of the lowest layer are in the one below it.
    sparse: Cadence,
    rate: RateMeter,
    fps: (f32, Option<Instant>),
}

impl Face {
    pub fn new(name: Arc<str>, publisher: u64, room: Option<Arc<str>>, now: Instant) -> Self {
        Self {
            name,
            publisher,
            room,
            viewers: Vec::new(),
            published: now,
            index: 0,
            captured: None,
            layers: Layers::default(),
            newest: Default::default(),
            mouth: Mouth::default(),
            sparse: Cadence::default(),
            rate: RateMeter::default(),
            fps: (60.0, None),
        }
    }

    /// Takes a frame that was captured at a time.
    pub fn publish(&mut self, frame: &FaceFrame, captured: Instant, now: Instant) {
        let captured = self.begin(captured, now);
        let (index, newest) = (self.index, &mut self.newest);
        self.layers.offer(frame, now, |Layered { layer, frame, added }| {
            let content = Content::Frame(frame);
            newest[layer as usize] = Some(Newest::new(index, content, added, captured));
        });
        self.mouth.record(frame, now);
    }

    /// Takes a sealed frame of a layer. Its sender keeps the peaks in the lower ones.
    pub fn publish_sealed(&mut self, packet: &[u8], layer: sealed::Layer, now: Instant) {
        let captured = self.begin(now, now);
        let mut lowest = match layer {
            sealed::Layer::Base => Layer::Low,
            sealed::Layer::Middle => Layer::Middle,
            sealed::Layer::Top => Layer::High,
        };
        if lowest == Layer::Low {
            self.sparse.arrive(now);
            if self.sparse.take(Layer::Sparse.period(), now) {
                lowest = Layer::Sparse;
            }
        }
        let packet: Arc<[u8]> = packet.into();
        for layer in Layer::EVERY.into_iter().filter(|layer| *layer >= lowest) {
            let content = Content::Sealed(packet.clone());
            self.newest[layer as usize] = Some(Newest::new(self.index, content, 0.0, captured));
        }
    }

    /// Counts a frame, and gives the time that it was captured at.
    fn begin(&mut self, captured: Instant, now: Instant) -> Instant {
        // Viewers take what is not later for a repetition.
        let captured = self.captured.map_or(captured, |last| captured.max(last + Duration::from_micros(TIME_STEP)));
        self.captured = Some(captured);
        self.published = now;
        self.index += 1;
        self.rate.record(now);
        if self.fps.1.is_none_or(|at| now.saturating_duration_since(at) >= RATE_INTERVAL) {
            // Of a few frames the rate is not known.
            let fps = if self.index < 10 { 60.0 } else { self.rate.fps(now) };
            self.fps = (fps, Some(now));
        }
        captured
    }

    /// The newest frame of a layer; the first frame is in each.
    pub fn newest(&mut self, layer: Layer) -> Option<&mut Newest> {
        self.newest[layer as usize].as_mut()
    }

    /// Whether its newest frame is sealed.
    pub fn is_sealed(&self) -> bool {
        let newest = self.newest[Layer::All as usize].as_ref();
        newest.is_some_and(|newest| matches!(newest.content, Content::Sealed(_)))
    }

    /// The number of the newest frame of a layer.
    pub fn index_of(&self, layer: Layer) -> u64 {
        self.newest[layer as usize].as_ref().map_or(0, |newest| newest.index)
    }

    /// Frames a second that a layer has.
    pub fn fps_of(&self, layer: Layer) -> f32 {
        layer.fps().min(self.fps.0)
    }

    pub fn speaks(&self, now: Instant) -> bool {
        self.mouth.speaks(now)
    }
}
