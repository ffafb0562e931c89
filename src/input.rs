//! Frames and events on their way into the engine.

use std::time::Instant;

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender};
use facelink::{
    FaceFrame,
    event::{Emotion, LinkEvent, LostReason, Speech, SubjectFrame, SubjectId},
    source::SourceKind,
    timing::Stamp,
    wire::viseme::Viseme,
};

use crate::sets::Step;

/// Frames and events taken from the channels in one go; what is left waits for the next frame.
pub(crate) const MAX_PER_FRAME: usize = 4096;

/// Where frames and events come from.
#[derive(Resource, Clone, Debug)]
pub struct FaceInbox {
    pub(crate) frames: Receiver<SubjectFrame>,
    pub(crate) events: Receiver<LinkEvent>,
}

/// The sending end of a [`FaceInbox`] without sockets.
#[derive(Resource, Clone, Debug)]
pub struct FaceInjector {
    frames: Sender<SubjectFrame>,
    oldest: Receiver<SubjectFrame>,
    events: Sender<LinkEvent>,
}

impl FaceInbox {
    /// An inbox that holds at most `capacity` frames, and the end to fill it by.
    pub fn bounded(capacity: usize) -> (Self, FaceInjector) {
        let (frames, inbox_frames) = crossbeam_channel::bounded(capacity.max(1));
        let (events, inbox_events) = crossbeam_channel::bounded(capacity.max(1));
        let injector = FaceInjector { frames, oldest: inbox_frames.clone(), events };
        (Self { frames: inbox_frames, events: inbox_events }, injector)
    }
}

impl FaceInjector {
    /// Puts a complete frame of a subject in. A full inbox loses its oldest frame.
    pub fn send(&self, id: u64, name: &str, frame: FaceFrame) {
        if let Err(full) = self.frames.try_send(injected(id, name, frame)) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Puts a frame in that has a place in time, from a [`SourceClock`](facelink::timing::SourceClock): it goes through the
    /// jitter buffer, as frames of the network do.
    pub fn send_stamped(&self, id: u64, name: &str, frame: FaceFrame, stamp: Stamp) {
        let stamped = SubjectFrame { stamp: Some(stamp), ..injected(id, name, frame) };
        if let Err(full) = self.frames.try_send(stamped) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Puts a face in that says a viseme of this weight, `0..=1`, on top of `frame`.
    pub fn say(&self, id: u64, name: &str, frame: FaceFrame, viseme: Viseme, weight: f32) {
        let mut said = injected(id, name, frame);
        said.speech = Some(Speech { viseme, weight, weights: said.frame.weights });
        if let Err(full) = self.frames.try_send(said) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(full.into_inner());
        }
    }

    /// Tells a subject to show an emotion.
    pub fn emotion(&self, id: u64, name: &str, emotion: Emotion) {
        let _ = self.events.try_send(LinkEvent::Emotion { id: SubjectId(id), name: name.into(), emotion });
    }

    /// Tells that a subject has gone. If it comes back, it has a higher id.
    pub fn lose(&self, id: u64, name: &str) {
        let _ = self.events.try_send(LinkEvent::SubjectLost {
            id: SubjectId(id),
            name: name.into(),
            reason: LostReason::Disconnected,
        });
    }

    /// Tells that a connection has ended.
    pub fn disconnect(&self, id: &str) {
        let _ =
            self.events.try_send(LinkEvent::Disconnected { connection_id: id.into(), reason: "injected".to_owned() });
    }

    /// Tells that a connection came.
    pub fn connect(&self, id: &str, source: SourceKind) {
        let _ = self.events.try_send(LinkEvent::Connected { connection_id: id.into(), source, address: None });
    }
}

/// What happened on the link, for the plugins that act on it.
#[derive(Message, Clone, Debug)]
pub(crate) struct LinkMessage(pub LinkEvent);

pub(crate) struct InputPlugin;

impl Plugin for InputPlugin {
    fn build(&self, app: &mut App) {
        app.add_message::<LinkMessage>().add_systems(PreUpdate, take_events.in_set(Step::Events));
    }
}

/// After the frames: a subject whose first frame and whose end wait in the channels together has to appear before it can
/// leave.
pub(crate) fn take_events(inbox: Option<Res<FaceInbox>>, mut messages: MessageWriter<LinkMessage>) {
    let Some(inbox) = inbox else { return };
    for event in inbox.events.try_iter().take(MAX_PER_FRAME) {
        messages.write(LinkMessage(event));
    }
}

/// A frame as tests inject it.
fn injected(id: u64, name: &str, frame: FaceFrame) -> SubjectFrame {
    SubjectFrame {
        id: SubjectId(id),
        name: name.into(),
        source: SourceKind::WebSocket,
        frame,
        speech: None,
        received: Instant::now(),
        stamp: None,
        late: false,
        repeated: false,
    }
}
