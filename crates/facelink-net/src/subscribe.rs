//! Frames outwards: what a connection has subscribed to.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::broadcast::error::RecvError;

use crate::{
    clock::unix_ms,
    hub::{Origin, Published},
    outbox::Outgoing,
    seal::FrameSealer,
    session::{Binary, Session, Subscription},
};
use facelink::{
    event::SubjectFrame,
    frame::FaceFrame,
    wire::{
        facelink1,
        json::UpdateWriter,
        message::{ServerMessage, SubjectLost},
    },
};

/// Subjects that a subscription remembers things of; beyond them it forgets all, and begins anew.
const MAX_SUBJECTS: usize = 1024;

/// Starts sending, if it is not running yet and something is subscribed to. Ends with the connection or the last
/// subscription.
pub(crate) fn start(session: &Arc<Session>) {
    if session.subscriptions.is_empty() || !session.subscriptions.begin_publishing() {
        return;
    }
    let ended = session.ended.clone();
    let mut frames = session.hub.queues.subscribe();
    let mut publisher = Publisher {
        session: session.clone(),
        paced: HashMap::new(),
        updates: HashMap::new(),
        encoder: facelink1::Encoder::new(),
        sealer: FrameSealer::default(),
        bytes: Vec::new(),
    };
    // What is there already comes at once: a face that holds still is not waited for.
    for (frame, owner) in session.hub.newest() {
        publisher.publish(&frame, &owner);
    }
    tokio::spawn(async move {
        while !publisher.session.subscriptions.is_empty() {
            let published = tokio::select! {
                () = ended.cancelled() => break,
                published = frames.recv() => published,
            };
            match published {
                Ok(Published::Frame(frame, from)) => publisher.publish(&frame, &from),
                Ok(Published::Lost(name)) => publisher.lost(&name),
                // A slow connection sees fewer frames, never older ones.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        publisher.session.subscriptions.end_publishing();
    });
}

struct Publisher {
    session: Arc<Session>,
    paced: HashMap<u64, Paced>,
    updates: HashMap<u64, UpdateWriter>,
    encoder: facelink1::Encoder,
    sealer: FrameSealer,
    bytes: Vec<u8>,
}

/// A subject of which fewer frames are wanted than there are.
struct Paced {
    last: Instant,
    /// Frames that no subscriber asked for. What goes out is counted without them, or they would look lost.
    left_out: u64,
}

impl Publisher {
    fn publish(&mut self, frame: &SubjectFrame, from: &Origin) {
        let Some(Subscription { max_fps, binary, not_own, room_only }) = self.session.subscriptions.of(&frame.name)
        else {
            return;
        };
        if not_own && from.key == self.session.key {
            return;
        }
        if room_only && (from.room.is_none() || from.room != self.session.hub.connections().room_of(self.session.key)) {
            return;
        }
        if let Some(max_fps) = max_fps {
            // A tenth of slack, so that a 60 fps stream at max_fps 60 is not halved by its own jitter.
            let interval = Duration::from_secs_f32(0.9 / max_fps.clamp(0.1, 1000.0));
            if self.paced.len() > MAX_SUBJECTS {
                self.paced.clear();
            }
            match self.paced.entry(frame.id.0) {
                Entry::Occupied(mut paced) => {
                    let paced = paced.get_mut();
                    if frame.received.saturating_duration_since(paced.last) < interval {
                        paced.left_out += 1;
                        return;
                    }
                    paced.last = frame.received;
                }
                Entry::Vacant(place) => drop(place.insert(Paced { last: frame.received, left_out: 0 })),
            }
        }
        let renumbered;
        let frame = match (self.paced.get_mut(&frame.id.0), frame.frame.sequence) {
            (Some(paced), Some(number)) if paced.left_out > 0 => {
                if number < paced.left_out {
                    // Its sender restarts the count.
                    paced.left_out = 0;
                }
                let sequence = Some(number - paced.left_out);
                renumbered = SubjectFrame { frame: FaceFrame { sequence, ..frame.frame.clone() }, ..frame.clone() };
                &renumbered
            }
            _ => frame,
        };
        let age = Instant::now().saturating_duration_since(frame.received);
        let name = frame.name.clone();
        let message = match binary {
            Binary::Sealed => {
                let frame = stamped(&frame.frame, age);
                match self.sealer.face(&self.session.hub.sealing, &name, &frame) {
                    Some(bytes) => Outgoing::Binary(bytes),
                    None => return,
                }
            }
            // Who has no key gets nothing from an endpoint with one.
            _ if self.session.hub.sealing.has_key() => return,
            Binary::Float32 => Outgoing::Text(self.update_json(frame)),
            Binary::Facelink1 => {
                match encode(&mut self.encoder, &mut self.bytes, &frame.name, stamped(&frame.frame, age)) {
                    Some(bytes) => Outgoing::Binary(bytes),
                    None => Outgoing::Text(self.update_json(frame)),
                }
            }
        };
        self.session.send_frame(frame.id.0, message);
    }

    /// `blendshape_update` as it goes out to subscribers.
    fn update_json(&mut self, subject: &SubjectFrame) -> String {
        if self.updates.len() > MAX_SUBJECTS {
            self.updates.clear();
        }
        let mut message = String::new();
        let writer = self.updates.entry(subject.id.0).or_default();
        writer.write(&mut message, &subject.name, &subject.frame, unix_ms());
        message
    }

    fn lost(&mut self, name: &str) {
        if let Some(Subscription { binary, .. }) = self.session.subscriptions.of(name) {
            let sealing = &self.session.hub.sealing;
            if binary != Binary::Sealed && sealing.has_key() {
                return;
            }
            let opaque = sealing.opaque_name(name).filter(|_| binary == Binary::Sealed);
            let lost = SubjectLost { subject: opaque.map_or_else(|| name.into(), Into::into) };
            self.session.send_control(&ServerMessage::SubjectLost(lost).to_json());
        }
    }
}

/// The frame as of the time of day here, `age` ago, by which the receiver measures the latency: the source's own clock may count
/// from anywhere.
pub(crate) fn stamped(frame: &FaceFrame, age: Duration) -> FaceFrame {
    let now = Duration::try_from_secs_f64(unix_ms() / 1000.0).ok();
    FaceFrame { capture_time: now.map(|now| now.saturating_sub(age)), ..frame.clone() }
}

/// One face as a packet of its own; `None` when it does not fit the format.
pub(crate) fn encode(
    encoder: &mut facelink1::Encoder,
    bytes: &mut Vec<u8>,
    name: &str,
    frame: FaceFrame,
) -> Option<Bytes> {
    bytes.clear();
    match encoder.encode(name, &frame, facelink1::Clock::Unix, bytes) {
        Ok(()) => Some(Bytes::copy_from_slice(bytes)),
        Err(error) => {
            tracing::debug!(%error, name, "not sent as facelink1");
            None
        }
    }
}
