//! Queues out of the hub: frames and events for the engine, and what subscribers receive.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError};
use facelink::{
    event::{LinkEvent, SubjectFrame, SubjectId},
    ltc::Timebase,
    relay::RelaySettings,
    time::Instant,
};
use parking_lot::RwLock;
use tokio::sync::broadcast;

use super::{connections::Origin, relay::Viewers};
use crate::{
    seal::Sealing,
    tap::{Tap, Tapped},
};

/// Frames that wait for the engine, at least; about two seconds of eight faces.
const FRAME_QUEUE: usize = 1024;
/// The same for each face that there may be: an engine at 30 frames a second finds every frame of senders at 60.
const FRAMES_OF_EACH: usize = 2;
/// At most, whatever the limits are.
const MAX_FRAME_QUEUE: usize = 32 * 1024;
const EVENT_QUEUE: usize = 4096;
/// Frames that wait for the slowest of those.
const PUBLISH_QUEUE: usize = 64;

/// What leaves this machine by other protocols.
#[derive(Clone, Debug)]
pub(crate) enum Published {
    /// A frame, and where it came from.
    Frame(Arc<SubjectFrame>, Origin),
    /// A subject has gone.
    Lost(Arc<str>),
    /// What happened besides.
    Event(LinkEvent),
}

/// Bounded; the newest wins.
#[derive(Debug)]
pub(crate) struct Queues {
    frames: (Sender<SubjectFrame>, Receiver<SubjectFrame>),
    events: (Sender<LinkEvent>, Receiver<LinkEvent>),
    /// Connections that subscribed.
    pub viewers: Viewers,
    published: broadcast::Sender<Published>,
    overrun: AtomicU64,
    /// A recorder, which hears what the engine does.
    tap: RwLock<Option<Tap>>,
    /// The clock that faces are put on.
    timecode: RwLock<Option<FaceTimecode>>,
    /// What stamps count arrivals from.
    origin: Instant,
}

/// A clock that faces are put on, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaceTimecode {
    pub base: Timebase,
    /// Those with a clock of their own too.
    pub all: bool,
}

impl Queues {
    /// For so many faces at most.
    pub fn new(faces: usize, relay: RelaySettings, sealing: Arc<Sealing>, origin: Instant) -> Self {
        Self {
            frames: crossbeam_channel::bounded(
                faces.saturating_mul(FRAMES_OF_EACH).clamp(FRAME_QUEUE, MAX_FRAME_QUEUE),
            ),
            events: crossbeam_channel::bounded(EVENT_QUEUE),
            viewers: Viewers::new(relay, sealing),
            published: broadcast::channel(PUBLISH_QUEUE).0,
            overrun: AtomicU64::new(0),
            tap: RwLock::default(),
            timecode: RwLock::default(),
            origin,
        }
    }

    pub fn frames(&self) -> &Receiver<SubjectFrame> {
        &self.frames.1
    }

    pub fn events(&self) -> &Receiver<LinkEvent> {
        &self.events.1
    }

    /// Whether so many events wait that sources which showed no token cause no more of them.
    pub fn is_crowded(&self) -> bool {
        self.events.0.len() >= EVENT_QUEUE / 2
    }

    #[cfg(feature = "phones")]
    pub fn subscribe(&self) -> broadcast::Receiver<Published> {
        self.published.subscribe()
    }

    /// Frames that the engine did not fetch before newer ones replaced them.
    pub fn overrun(&self) -> u64 {
        self.overrun.load(Ordering::Relaxed)
    }

    /// A frame for subscribers, and, unless it is `local`, for the engine. Never blocks.
    pub fn push(&self, mut frame: SubjectFrame, from: Origin, local: bool) {
        self.viewers.publish(&frame, &from);
        if self.published.receiver_count() > 0 && !frame.late {
            // Fails only when the last subscriber has just left.
            let _ = self.published.send(Published::Frame(Arc::new(frame.clone()), from));
        }
        if local {
            return;
        }
        if let (Some(timecode), Some(stamp)) = (*self.timecode.read(), &mut frame.stamp)
            && (timecode.all || frame.frame.capture_time.is_none())
        {
            *stamp = timecode.base.stamp(*stamp, self.origin);
            frame.frame.capture_time = u64::try_from(stamp.capture_us).ok().map(Duration::from_micros);
        }
        self.tap(|tap| tap.push(|| Tapped::Frame(frame.clone())));
        if let Err(TrySendError::Full(frame)) = self.frames.0.try_send(frame) {
            if self.frames.1.try_recv().is_ok() {
                self.overrun.fetch_add(1, Ordering::Relaxed);
            }
            // Another thread may have filled the place; then this frame is the one that is lost.
            if self.frames.0.try_send(frame).is_err() {
                self.overrun.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Puts faces for the engine and the recorder on a clock; `None` leaves each on its own.
    pub fn set_timecode(&self, timecode: Option<FaceTimecode>) {
        *self.timecode.write() = timecode;
    }

    /// The clock that faces are put on.
    pub fn timecode(&self) -> Option<FaceTimecode> {
        *self.timecode.read()
    }

    /// Gives what leaves for the engine to a recorder too; `None` ends the recording.
    pub fn set_tap(&self, tap: Option<Tap>) {
        *self.tap.write() = tap;
    }

    /// Whether there is a recorder.
    pub fn is_recording(&self) -> bool {
        self.tap.read().is_some()
    }

    /// Hands something to the recorder, if there is one. Never blocks for longer than that takes.
    pub fn tap(&self, hand: impl FnOnce(&Tap)) {
        if let Some(tap) = &*self.tap.read() {
            hand(tap);
        }
    }

    /// A subject has gone, for subscribers.
    pub fn publish_lost(&self, id: SubjectId, name: &Arc<str>) {
        self.viewers.lose(id);
        let _ = self.published.send(Published::Lost(name.clone()));
    }

    pub fn event(&self, event: LinkEvent) {
        tracing::debug!(?event, "link");
        self.tap(|tap| tap.push(|| Tapped::Event(event.clone(), Instant::now())));
        if self.published.receiver_count() > 0 {
            // Fails only when the last subscriber has just left.
            let _ = self.published.send(Published::Event(event.clone()));
        }
        if let Err(TrySendError::Full(event)) = self.events.0.try_send(event) {
            let _ = self.events.1.try_recv();
            let _ = self.events.0.try_send(event);
        }
    }
}
