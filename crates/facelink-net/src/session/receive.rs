//! The frames of a session, from bytes to the hub.

use std::{sync::Arc, time::Instant};

use facelink::{
    connection::Lane,
    event::Emotion,
    frame::FaceFrame,
    wire::{
        facelink1::{self, delta::DeltaDecoder},
        float32,
        json::{Decoder, FaceMessage, VisemeMessage},
        message::Batch,
    },
};
use parking_lot::Mutex;

use super::{Actions, Binary, Session, kind_of};
use crate::hub::{Counters, Refused, Role, Update};

#[derive(Debug, Default)]
struct Facelink1 {
    plain: facelink1::Decoder,
    /// For a client that announced them.
    deltas: Option<Box<DeltaDecoder>>,
}

/// What reads a connection's binary frames.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    schema: Mutex<Option<Arc<float32::Schema>>>,
    /// Locked before the hub's table.
    facelink1: Mutex<Facelink1>,
}

impl FrameReader {
    /// The channel order of the `float32` frames that follow.
    pub fn set_schema(&self, names: &[std::borrow::Cow<'_, str>]) -> Result<(), String> {
        let schema = float32::Schema::new(names.iter().map(|name| &**name)).map_err(|error| error.to_string())?;
        self.facelink1.lock().plain.set_schema(names).map_err(|error| error.to_string())?;
        *self.schema.lock() = Some(Arc::new(schema));
        Ok(())
    }

    /// The client means to send deltas.
    pub fn take_deltas(&self) {
        self.facelink1.lock().deltas.get_or_insert_default();
    }

    fn float32(&self, bytes: &[u8]) -> Result<FaceFrame, String> {
        let schema = self.schema.lock().clone();
        float32::decode(bytes, schema.as_deref()).map_err(|error| error.to_string())
    }

    fn facelink1(&self, bytes: &[u8], mut each: impl FnMut(&facelink1::Face<'_>)) -> Result<(), String> {
        let Facelink1 { plain, deltas } = &mut *self.facelink1.lock();
        match deltas {
            Some(deltas) if DeltaDecoder::is_delta(bytes) => deltas.decode(bytes).map(|face| each(&face)),
            Some(deltas) => plain.decode(bytes, |face| {
                deltas.note(&face);
                each(&face);
            }),
            None => plain.decode(bytes, |face| each(&face)),
        }
        .map_err(|error| error.to_string())
    }
}

impl Session {
    /// A binary message.
    pub fn on_binary(self: &Arc<Self>, lane: Lane, bytes: &[u8], now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.count(bytes.len());
        self.lanes.heard(lane, now);
        if !self.spend(1, now, &mut actions) {
            return actions;
        }
        if !self.is_authorised() {
            self.refuse("unauthorized", "say `hello` with the pairing token first", now, &mut actions);
            return actions;
        }
        let read = match self.identity.binary() {
            Binary::Facelink1 => self.frames.facelink1(bytes, |face| {
                let subject = (!face.subject.is_empty()).then_some(face.subject);
                let unix_ms = match (face.clock, face.frame.capture_time) {
                    (Some(facelink1::Clock::Unix), Some(time)) => Some(time.as_secs_f64() * 1000.0),
                    _ => None,
                };
                self.ingest(lane, subject, Some(&face.frame), unix_ms, None, face.repeated, now, &mut actions);
            }),
            Binary::Float32 => self.frames.float32(bytes).map(|frame| {
                self.ingest(lane, None, Some(&frame), None, None, false, now, &mut actions);
            }),
        };
        if let Err(error) = read {
            self.refuse("bad_frame", &error, now, &mut actions);
        }
        actions
    }

    pub(super) fn count(&self, bytes: usize) {
        Counters::add(&self.counters.messages, 1);
        Counters::add(&self.counters.bytes_in, bytes as u64);
    }

    pub(super) fn on_batch(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        batch: &Batch<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let more = u32::try_from(batch.updates.len()).unwrap_or(u32::MAX).saturating_sub(1);
        if more > 0 && !self.spend(more, now, actions) {
            return;
        }
        for (i, update) in batch.updates.iter().enumerate() {
            match decoder.face(update.get()) {
                Ok(Some(face)) => self.on_face(lane, &face, now, actions),
                Ok(None) => self.refuse("bad_field", &format!("field `updates[{i}]`: not a frame"), now, actions),
                Err(error) => self.refuse(error.code(), &format!("field `updates[{i}]`: {error}"), now, actions),
            }
        }
    }

    pub(super) fn on_face(self: &Arc<Self>, lane: Lane, face: &FaceMessage<'_>, now: Instant, actions: &mut Actions) {
        let frame = face.has_face.then_some(&face.frame);
        self.ingest(lane, face.subject.as_deref(), frame, face.unix_ms, face.viseme, false, now, actions);
    }

    fn ingest(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        frame: Option<&FaceFrame>,
        sent_unix_ms: Option<f64>,
        viseme: Option<VisemeMessage>,
        repeated: bool,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        // One that came again says nothing of the way.
        let latency_ms = if repeated { None } else { self.latency_ms(lane, sent_unix_ms, now) };
        let update = Update {
            key: self.key,
            kind: kind_of(lane),
            subject,
            frame,
            unix_ms: sent_unix_ms,
            latency_ms,
            viseme,
            repeated,
        };
        match self.hub.ingest(&update, now) {
            Ok(_) | Err(Refused::Stale) => {}
            // An endpoint that passes on what we have from the source itself is not to blame.
            Err(Refused::Contested) if self.role == Role::Outbound => {}
            Err(refused) => self.refuse("refused", &refused.to_string(), now, actions),
        }
    }

    /// How long a frame took. The other transport's figures say nothing of this one.
    fn latency_ms(&self, lane: Lane, sent_unix_ms: Option<f64>, now: Instant) -> Option<f32> {
        if self.lanes.frame(lane, now) {
            self.latency.reset();
            self.hub.connections().set_kind(self.key, kind_of(lane));
        }
        self.latency.of(sent_unix_ms, self.lanes.half_trip_ms(lane))
    }

    pub(super) fn on_emotion(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        emotion: Emotion,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        let update = Update {
            key: self.key,
            kind: kind_of(lane),
            subject,
            frame: None,
            unix_ms: None,
            latency_ms: None,
            viseme: None,
            repeated: false,
        };
        if let Err(refused) = self.hub.ingest_emotion(&update, emotion, now) {
            self.refuse("refused", &refused.to_string(), now, actions);
        }
    }
}
