//! Frames and events into the engine: from the network, and from sources of the game's own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bevy::prelude::*;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use facelink::{
    FaceFrame, FrameError,
    event::{Emotion, LinkEvent, LostReason, Speech, SubjectFrame, SubjectId},
    source::SourceKind,
    time::Instant,
    timing::Stamp,
    wire::viseme::Viseme,
};

use crate::sets::Step;

/// Frames and events taken from the channels in one go; what is left waits for the next frame.
const MAX_PER_FRAME: usize = 4096;
/// Frames of the game's own sources that wait for the engine; the oldest go.
const CAPACITY: usize = 1024;
/// Subjects of the game's own sources have ids from here on: an endpoint counts from 1.
const FIRST_OWN_ID: u64 = 1 << 63;

/// Where a game puts faces in that come from a source of its own: a tracker, a file, a test. It is there always, with or
/// without the network, whose faces arrive next to these. A face of one's own takes the place of one of the network of the
/// same name.
///
/// Frames are checked as they enter ([`FaceFrame::check`]): one with a number that is not finite is refused, weights outside
/// -1 to 2 are clamped; [`stats`](Self::stats) counts both. Clones share one queue, so that a thread can fill it.
///
/// ```
/// # use bevy::prelude::*;
/// use bevy_facelink::{FaceInput, facelink::{Blendshape, FaceFrame}};
/// fn track(input: Res<FaceInput>) {
///     let mut frame = FaceFrame::neutral();
///     frame.set(Blendshape::JawOpen, 0.4);
///     if let Err(error) = input.send("Ann", frame) {
///         warn!("{error}");
///     }
/// }
/// # let mut app = App::new();
/// # app.add_plugins((MinimalPlugins, bevy_facelink::FaceLinkPlugin::without_sockets())).add_systems(PreUpdate, track);
/// # app.update();
/// # app.update();
/// # assert!(app.world().resource::<bevy_facelink::FaceSubjects>().get("Ann").is_some());
/// ```
#[derive(Resource, Clone, Debug)]
pub struct FaceInput {
    inbox: FaceInbox,
    injector: FaceInjector,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The subjects that there are.
    subjects: HashMap<Arc<str>, u64>,
    /// Ids given so far.
    given: u64,
    stats: InputStats,
}

/// What became of the frames of a [`FaceInput`] since the start.
#[derive(Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputStats {
    /// Frames taken.
    pub frames: u64,
    /// Of those, frames with a weight or channel that was clamped.
    pub clamped: u64,
    /// Frames refused.
    pub refused: u64,
    /// Why the last one was refused.
    pub last_error: Option<String>,
}

impl Default for FaceInput {
    fn default() -> Self {
        let (inbox, injector) = FaceInbox::bounded(CAPACITY);
        Self { inbox, injector, state: Arc::default() }
    }
}

impl FaceInput {
    /// Shows a complete frame of the subject of this name, at once and until the next. The subject appears with its first
    /// frame. Without frames its face eases to neutral ([`FaceSettings::hold`](crate::FaceSettings::hold)); it stays until
    /// [`lose`](Self::lose).
    ///
    /// # Errors
    /// [`FrameError`] names the field that is not finite.
    pub fn send(&self, name: &str, frame: FaceFrame) -> Result<(), FrameError> {
        self.put(name, frame, |_| {})
    }

    /// The same for a frame with a place in time, from a [`SourceClock`](facelink::timing::SourceClock): it goes through the
    /// jitter buffer, as frames of the network do.
    ///
    /// # Errors
    /// [`FrameError`] names the field that is not finite.
    pub fn send_stamped(&self, name: &str, frame: FaceFrame, stamp: Stamp) -> Result<(), FrameError> {
        self.put(name, frame, |new| new.stamp = Some(stamp))
    }

    /// The same for a face that says a viseme of this weight, `0..=1`, over `frame`.
    ///
    /// # Errors
    /// [`FrameError`] names the field that is not finite.
    pub fn say(&self, name: &str, frame: FaceFrame, viseme: Viseme, weight: f32) -> Result<(), FrameError> {
        let weight = if weight.is_finite() { weight.clamp(0.0, 1.0) } else { 0.0 };
        self.put(name, frame, |new| new.speech = Some(Speech { viseme, weight, weights: new.frame.weights }))
    }

    /// A frame of a recording, with everything that it came with.
    #[cfg(feature = "takes")]
    pub(crate) fn replay(&self, recorded: SubjectFrame) {
        let SubjectFrame { id: _, name, source, frame, speech, received, stamp, late, repeated } = recorded;
        let put = self.put(&name, frame, |new| {
            *new = SubjectFrame {
                id: new.id,
                name: new.name.clone(),
                frame: std::mem::take(&mut new.frame),
                source,
                speech,
                received,
                stamp,
                late,
                repeated,
            };
        });
        if let Err(error) = put {
            debug!("a recorded frame of \"{name}\": {error}");
        }
    }

    /// Has a subject show an emotion over whatever its face does.
    pub fn emotion(&self, name: &str, emotion: Emotion) {
        let (name, id) = self.subject(name);
        self.injector.event(LinkEvent::Emotion { id, name, emotion });
    }

    /// Cuts to a subject: avatars without a subject of their own show this one, while it lives.
    pub fn cut_to(&self, name: &str) {
        let (name, id) = self.subject(name);
        self.injector.event(LinkEvent::Cut { id, name });
    }

    /// The source is gone: the face eases to neutral, and then its subject goes. A later frame brings it back.
    pub fn lose(&self, name: &str) {
        let known = self.state().subjects.remove_entry(name);
        if let Some((name, id)) = known {
            self.injector.event(LinkEvent::SubjectLost { id: SubjectId(id), name, reason: LostReason::Disconnected });
        }
    }

    /// What became of the frames so far.
    pub fn stats(&self) -> InputStats {
        self.state().stats.clone()
    }

    fn put(&self, name: &str, mut frame: FaceFrame, change: impl FnOnce(&mut SubjectFrame)) -> Result<(), FrameError> {
        let checked = frame.check();
        let mut state = self.state();
        match &checked {
            Ok(clamped) => {
                state.stats.frames += 1;
                state.stats.clamped += u64::from(*clamped);
            }
            Err(error) => {
                state.stats.refused += 1;
                state.stats.last_error = Some(error.to_string());
            }
        }
        drop(state);
        checked?;
        let (name, id) = self.subject(name);
        let mut new = injected(id, name, frame);
        change(&mut new);
        self.injector.frame(new);
        Ok(())
    }

    fn subject(&self, name: &str) -> (Arc<str>, SubjectId) {
        let mut state = self.state();
        if let Some((name, id)) = state.subjects.get_key_value(name) {
            return (name.clone(), SubjectId(*id));
        }
        let (name, id): (Arc<str>, u64) = (name.into(), FIRST_OWN_ID + state.given);
        state.given += 1;
        state.subjects.insert(name.clone(), id);
        (name, SubjectId(id))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this is a subject of a source of the game's own.
pub(crate) fn is_own(id: SubjectId) -> bool {
    id.0 >= FIRST_OWN_ID
}

/// Whether a frame of `new` may change a subject whose frames had the id `known`: ids of one origin grow and none is used
/// twice, so a late frame of a subject that has ended, or of its predecessor, cannot bring it back. A source of the game's
/// own goes before the network's.
pub(crate) fn continues(known: Option<SubjectId>, leaving: bool, new: SubjectId) -> bool {
    let Some(known) = known else { return true };
    match (is_own(known), is_own(new)) {
        (true, false) => leaving,
        (false, true) => true,
        _ => known < new || (known == new && !leaving),
    }
}

/// Frames and events of one origin. A game uses [`FaceInput`]; this one, inserted as a resource, is drained as well.
#[doc(hidden)]
#[derive(Resource, Clone, Debug)]
pub struct FaceInbox {
    pub(crate) frames: Receiver<SubjectFrame>,
    pub(crate) events: Receiver<LinkEvent>,
}

/// The sending end of a [`FaceInbox`], with ids chosen by the caller.
#[doc(hidden)]
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
    /// A full inbox loses its oldest frame.
    fn frame(&self, frame: SubjectFrame) {
        if let Err(TrySendError::Full(frame)) = self.frames.try_send(frame) {
            let _ = self.oldest.try_recv();
            let _ = self.frames.try_send(frame);
        }
    }

    fn event(&self, event: LinkEvent) {
        let _ = self.events.try_send(event);
    }

    /// Puts a complete frame of a subject in; one that is not finite is left out.
    pub fn send(&self, id: u64, name: &str, frame: FaceFrame) {
        self.checked(injected(SubjectId(id), name.into(), frame));
    }

    /// Puts a frame in that goes through the jitter buffer.
    pub fn send_stamped(&self, id: u64, name: &str, frame: FaceFrame, stamp: Stamp) {
        self.checked(SubjectFrame { stamp: Some(stamp), ..injected(SubjectId(id), name.into(), frame) });
    }

    /// Puts a face in that says a viseme of this weight, `0..=1`, over `frame`.
    pub fn say(&self, id: u64, name: &str, frame: FaceFrame, viseme: Viseme, weight: f32) {
        let mut said = injected(SubjectId(id), name.into(), frame);
        said.speech = Some(Speech { viseme, weight, weights: said.frame.weights });
        self.checked(said);
    }

    fn checked(&self, mut new: SubjectFrame) {
        match new.frame.check() {
            Ok(_) => self.frame(new),
            Err(error) => warn!("a frame of \"{}\" is refused: {error}", new.name),
        }
    }

    /// Has a subject show an emotion.
    pub fn emotion(&self, id: u64, name: &str, emotion: Emotion) {
        self.event(LinkEvent::Emotion { id: SubjectId(id), name: name.into(), emotion });
    }

    /// A subject has gone. If it comes back, it has a higher id.
    pub fn lose(&self, id: u64, name: &str) {
        let reason = LostReason::Disconnected;
        self.event(LinkEvent::SubjectLost { id: SubjectId(id), name: name.into(), reason });
    }

    /// A connection has ended.
    pub fn disconnect(&self, id: &str) {
        self.event(LinkEvent::Disconnected { connection_id: id.into(), reason: "injected".to_owned() });
    }

    /// A connection was made.
    pub fn connect(&self, id: &str, source: SourceKind) {
        self.event(LinkEvent::Connected { connection_id: id.into(), source, address: None });
    }
}

fn injected(id: SubjectId, name: Arc<str>, frame: FaceFrame) -> SubjectFrame {
    SubjectFrame {
        id,
        name,
        source: SourceKind::Custom,
        frame,
        speech: None,
        received: Instant::now(),
        stamp: None,
        late: false,
        repeated: false,
    }
}

/// The network's frames and events, while there is an endpoint.
#[cfg(feature = "net")]
#[derive(Resource, Debug)]
pub(crate) struct LinkInbox {
    pub inbox: FaceInbox,
    /// Records the frames of the game's own sources too.
    pub endpoint: std::sync::Weak<facelink_net::Endpoint>,
}

/// Every origin of frames and events.
#[derive(bevy::ecs::system::SystemParam)]
pub(crate) struct Inboxes<'w> {
    own: Option<Res<'w, FaceInput>>,
    #[cfg(feature = "net")]
    link: Option<Res<'w, LinkInbox>>,
    injected: Option<Res<'w, FaceInbox>>,
}

impl Inboxes<'_> {
    pub fn frames(&self) -> impl Iterator<Item = SubjectFrame> {
        self.drain(
            |inbox| &inbox.frames,
            #[cfg(feature = "net")]
            facelink_net::EndpointControl::record_frame,
        )
    }

    fn events(&self) -> impl Iterator<Item = LinkEvent> {
        self.drain(
            |inbox| &inbox.events,
            #[cfg(feature = "net")]
            facelink_net::EndpointControl::record_event,
        )
    }

    /// What waits in one channel of every origin. What is the game's own is recorded where the endpoint records.
    fn drain<T: 'static>(
        &self,
        channel: fn(&FaceInbox) -> &Receiver<T>,
        #[cfg(feature = "net")] record: fn(&facelink_net::EndpointControl, &T),
    ) -> impl Iterator<Item = T> {
        let own = self.own.iter().flat_map(move |own| channel(&own.inbox).try_iter().take(MAX_PER_FRAME));
        #[cfg(feature = "net")]
        let link = self.link.as_deref();
        #[cfg(feature = "net")]
        let endpoint = link.and_then(|link| link.endpoint.upgrade());
        #[cfg(feature = "net")]
        let own = own.inspect(move |new| {
            if let Some(endpoint) = &endpoint {
                record(endpoint, new);
            }
        });
        #[cfg(feature = "net")]
        let link = link.map(|link| &link.inbox);
        #[cfg(not(feature = "net"))]
        let link = None;
        let others = link.into_iter().chain(self.injected.as_deref());
        own.chain(others.flat_map(move |inbox| channel(inbox).try_iter().take(MAX_PER_FRAME)))
    }
}

/// What happened on the link, for the plugins that act on it.
#[derive(Message, Clone, Debug)]
pub(crate) struct LinkMessage(pub LinkEvent);

pub(crate) struct InputPlugin;

impl Plugin for InputPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<FaceInput>()
            .register_type::<InputStats>()
            .add_message::<LinkMessage>()
            .add_systems(PreUpdate, take_events.in_set(Step::Events));
    }
}

/// After the frames: a subject whose first frame and whose end wait in the channels together has to appear before it can
/// leave.
pub(crate) fn take_events(inboxes: Inboxes, mut messages: MessageWriter<LinkMessage>) {
    for event in inboxes.events() {
        messages.write(LinkMessage(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_id_of_an_own_source_goes_before_the_network() {
        let id = |id| Some(SubjectId(id));
        let own = FIRST_OWN_ID;
        for (known, leaving, new, expected) in [
            (None, false, 1, true),
            (id(1), false, 1, true),
            (id(2), false, 1, false),
            (id(1), true, 1, false),
            (id(1), true, 2, true),
            (id(1), false, own, true),
            (id(own), false, 2, false),
            (id(own), true, 2, true),
            (id(own), true, own, false),
            (id(own), true, own + 1, true),
        ] {
            assert_eq!(continues(known, leaving, SubjectId(new)), expected, "{known:?} {leaving} {new}");
        }
    }

    #[test]
    fn input_counts_what_it_clamps_and_refuses() {
        let input = FaceInput::default();
        let with = |weight: f32| FaceFrame { weights: [weight; facelink::BLENDSHAPE_COUNT], ..FaceFrame::neutral() };
        assert_eq!(input.send("Ann", with(0.5)), Ok(()));
        assert_eq!(input.send("Ann", with(50.0)), Ok(()));
        assert!(input.send("Ann", with(f32::NAN)).is_err());
        let stats = input.stats();
        assert_eq!((stats.frames, stats.clamped, stats.refused), (2, 1, 1));
        let error = "field `weights.eyeBlinkLeft`: NaN is not a finite number";
        assert_eq!(stats.last_error.as_deref(), Some(error));
        let taken: Vec<_> = input.inbox.frames.try_iter().collect();
        assert_eq!(taken.iter().map(|frame| frame.frame.weights[0]).collect::<Vec<_>>(), [0.5, facelink::MAX_WEIGHT]);
        assert!(taken.iter().all(|frame| frame.source == SourceKind::Custom && frame.id.0 >= FIRST_OWN_ID));
        input.lose("Ann");
        let _ = input.send("Ann", with(0.5));
        let back = input.inbox.frames.try_recv().map(|frame| frame.id);
        assert_eq!(back.ok(), taken.first().map(|frame| SubjectId(frame.id.0 + 1)));
    }
}
