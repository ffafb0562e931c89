//! What is put over a face: expressions, speech, idle life.
//!
//! [`FaceExpressions`] and [`FaceSpeech`] work on an avatar and on a subject: on a subject every avatar with it shows them.
//! [`FaceIdle`] is an avatar's own. `set_emotion` and `viseme_data` on the wire move those of the subject.
//!
//! Layers go by the game's time, `Time<Virtual>`: a paused game pauses expressions, lines of dialogue and idle life, and a
//! slow one slows them down. Faces that are received go by real time, paused or not, and so do the visemes that come with
//! them.

use std::{sync::Arc, time::Duration};

use bevy::{ecs::query::QueryFilter, platform::collections::HashMap, prelude::*};
use facelink::{
    BLENDSHAPE_COUNT, Blendshape,
    event::{Emotion, LinkEvent},
    layers::{
        BlendRules, ChannelGroup, Expression, ExpressionError, ExpressionMix, IdleLife, IdleSettings, LiveSpeech,
        USUAL_FADE, VisemeTrack,
    },
    wire::viseme::Viseme,
};

use crate::{
    input::LinkMessage,
    pose::{FacePose, smooth},
    sets::Step,
    subjects::{FaceSubject, FaceSubjects},
    virtual_subject::VirtualSubject,
};

/// Emotions that wait for their subject, and for how many updates.
const MAX_EARLY: usize = 64;
const EARLY_UPDATES: u8 = 10;

pub(crate) struct LayersPlugin;

impl Plugin for LayersPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<RefusedExpressions>()
            .register_type::<FaceExpressions>()
            .register_type::<FaceSpeech>()
            .register_type::<FaceIdle>()
            .init_resource::<FaceExpressionLibrary>()
            .init_resource::<RefusedExpressions>()
            .register_required_components::<FaceSubject, FaceExpressions>()
            .register_required_components::<FaceSubject, FaceSpeech>()
            .add_systems(
                PreUpdate,
                (
                    take_emotions.in_set(Step::React),
                    add_layers::<Without<VirtualSubject>>.in_set(Step::Layers),
                    add_layers::<With<VirtualSubject>>.in_set(Step::MergedLayers),
                ),
            );
    }
}

/// The expressions that there are: happy, sad, angry, surprised, afraid, disgusted, contempt, neutral, and those that the
/// game adds.
#[derive(Resource, Clone, Debug)]
pub struct FaceExpressionLibrary(HashMap<String, Arc<Expression>>);

impl Default for FaceExpressionLibrary {
    fn default() -> Self {
        let mut library = Self(HashMap::default());
        for expression in Expression::built_in() {
            library.add(expression);
        }
        library
    }
}

impl FaceExpressionLibrary {
    /// Adds an expression, or takes the place of the one of this name.
    pub fn add(&mut self, expression: Expression) {
        self.0.insert(expression.name.to_lowercase(), Arc::new(expression));
    }

    /// The names that there are, in alphabetical order, without the one that does nothing.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.values().filter(|it| it.shapes().count() > 0).map(|it| &*it.name).collect();
        names.sort_unstable();
        names
    }

    /// The expression of this name, or of another word for it: `joy` is `happy`.
    ///
    /// # Errors
    /// Names those that there are.
    pub fn get(&self, name: &str) -> Result<&Arc<Expression>, ExpressionError> {
        let own = self.0.get(&name.trim().to_lowercase());
        own.or_else(|| self.0.get(&Expression::usual_name(name))).ok_or_else(|| {
            let mut known: Vec<_> = self.0.keys().map(String::as_str).collect();
            known.sort_unstable();
            ExpressionError::Unknown { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

#[derive(Clone, Debug)]
enum Request {
    Set { name: String, intensity: f32, fade: Duration },
    Emotion { name: String, intensity: f32, fade: Duration, hold: Option<Duration> },
    Clear { name: String, fade: Duration },
    ClearAll { fade: Duration },
}

/// Requests that wait; more than anybody makes in a frame.
const MAX_REQUESTS: usize = 64;

/// Expressions over a face, each at its own intensity. On an avatar or on a subject.
///
/// ```
/// # use bevy_facelink::FaceExpressions;
/// let mut expressions = FaceExpressions::default();
/// expressions.set("happy", 0.7);
/// ```
#[derive(Component, Reflect, Debug, Default)]
#[reflect(Component, Default)]
pub struct FaceExpressions {
    #[reflect(ignore)]
    mix: ExpressionMix,
    #[reflect(ignore)]
    requests: Vec<Request>,
}

impl FaceExpressions {
    fn request(&mut self, request: Request) {
        if self.requests.len() < MAX_REQUESTS {
            self.requests.push(request);
        }
    }

    /// Brings an expression of the [library](FaceExpressionLibrary) to an intensity, `0..=1`, in a quarter of a second;
    /// others stay.
    pub fn set(&mut self, name: impl Into<String>, intensity: f32) -> &mut Self {
        self.fade_to(name, intensity, USUAL_FADE)
    }

    /// Brings an expression to an intensity within a time.
    pub fn fade_to(&mut self, name: impl Into<String>, intensity: f32, fade: Duration) -> &mut Self {
        self.request(Request::Set { name: name.into(), intensity, fade });
        self
    }

    /// This emotion, and all others out. With `hold` it fades out after that time.
    pub fn set_emotion(
        &mut self,
        name: impl Into<String>,
        intensity: f32,
        fade: Duration,
        hold: Option<Duration>,
    ) -> &mut Self {
        self.request(Request::Emotion { name: name.into(), intensity, fade, hold });
        self
    }

    /// Takes an expression off within a time.
    pub fn clear(&mut self, name: impl Into<String>, fade: Duration) -> &mut Self {
        self.request(Request::Clear { name: name.into(), fade });
        self
    }

    /// Takes all of them off within a time.
    pub fn clear_all(&mut self, fade: Duration) -> &mut Self {
        self.request(Request::ClearAll { fade });
        self
    }

    /// Names and the intensities of now.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.mix.iter()
    }

    pub(crate) fn take(&mut self, emotion: Emotion) {
        self.request(Request::Emotion {
            name: emotion.name.to_string(),
            intensity: emotion.intensity,
            fade: emotion.fade.unwrap_or(USUAL_FADE),
            hold: emotion.duration,
        });
    }

    fn step(&mut self, dt: f32, library: &FaceExpressionLibrary, refused: &mut RefusedExpressions) {
        for request in self.requests.drain(..) {
            let done = match &request {
                Request::Set { name, intensity, fade } => {
                    library.get(name).and_then(|expression| self.mix.set(expression, *intensity, *fade))
                }
                Request::Emotion { name, intensity, fade, hold } => {
                    library.get(name).and_then(|expression| self.mix.set_emotion(expression, *intensity, *fade, *hold))
                }
                Request::Clear { name, fade } => {
                    library.get(name).map(|expression| self.mix.clear(&expression.name, *fade))
                }
                Request::ClearAll { fade } => {
                    self.mix.clear_all(*fade);
                    Ok(())
                }
            };
            if let Err(error) = done {
                refused.count += 1;
                // The network may ask for the same thing a hundred times a second.
                let text = error.to_string();
                if refused.last != text {
                    warn!("{text}");
                    refused.last = text;
                }
            }
        }
        self.mix.step(dt);
    }
}

/// Expressions that were asked for and do not exist.
#[derive(Resource, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Resource, Default)]
pub struct RefusedExpressions {
    /// How many.
    pub count: u64,
    /// What was wrong with the last.
    pub last: String,
}

/// A mouth that speaks, on an avatar or on a subject: from visemes as they come, or from a line of dialogue that is known
/// beforehand.
#[derive(Component, Reflect, Debug)]
#[reflect(Component, Default)]
pub struct FaceSpeech {
    /// How the mouth meets the face below.
    #[reflect(ignore)]
    pub rules: BlendRules,
    /// How much of it is seen, `0..=1`.
    pub intensity: f32,
    #[reflect(ignore)]
    live: LiveSpeech,
    #[reflect(ignore)]
    track: Option<Playing>,
    /// What the track says now.
    sampled: [f32; BLENDSHAPE_COUNT],
}

#[derive(Debug)]
struct Playing {
    track: Arc<VisemeTrack>,
    at: f64,
    speed: f64,
}

impl Default for FaceSpeech {
    fn default() -> Self {
        Self {
            rules: BlendRules::SPEECH,
            intensity: 1.0,
            live: LiveSpeech::default(),
            track: None,
            sampled: [0.0; BLENDSHAPE_COUNT],
        }
    }
}

impl FaceSpeech {
    /// Goes to a viseme of this weight, `0..=1`, and holds it until the next.
    pub fn say(&mut self, viseme: Viseme, weight: f32) {
        self.live.say(viseme, weight);
    }

    /// Ends what [`say`](Self::say) began.
    pub fn silence(&mut self) {
        self.live.silence();
    }

    /// Plays a line from its start. To keep it with its sound, [`seek`](Self::seek) to where the sound is.
    pub fn play(&mut self, track: Arc<VisemeTrack>) {
        self.track = Some(Playing { track, at: 0.0, speed: 1.0 });
    }

    /// Goes to a moment of the line that plays, seconds from its start.
    pub fn seek(&mut self, at: f64) {
        if let Some(playing) = self.track.as_mut().filter(|_| at.is_finite()) {
            playing.at = at;
        }
    }

    /// Speed of the line that plays; 1 is its own.
    pub fn set_speed(&mut self, speed: f64) {
        if let Some(playing) = self.track.as_mut().filter(|_| speed.is_finite()) {
            playing.speed = speed;
        }
    }

    /// Stops the line that plays.
    pub fn stop(&mut self) {
        self.track = None;
    }

    /// Seconds into the line that plays.
    pub fn position(&self) -> Option<f64> {
        self.track.as_ref().map(|playing| playing.at)
    }

    fn step(&mut self, dt: LayerTime) {
        self.live.step(dt.visemes);
        let Some(playing) = &mut self.track else { return };
        playing.at += f64::from(dt.game) * playing.speed;
        // The mouth still closes after the last sound.
        if playing.at > playing.track.duration() + 0.5 {
            self.track = None;
            return;
        }
        playing.track.sample(playing.at, &mut self.sampled);
    }

    fn apply(&self, weights: &mut [f32; BLENDSHAPE_COUNT]) {
        self.live.apply(weights, &self.rules, self.intensity);
        if self.track.is_some() {
            self.rules.apply(weights, &self.sampled, self.intensity);
        }
    }

    /// Whether a viseme holds.
    pub fn speaks(&self) -> bool {
        self.live.saying().is_some()
    }

    fn is_idle(&self) -> bool {
        self.live.is_idle() && self.track.is_none()
    }
}

/// When an avatar plays idle motion.
#[derive(Reflect, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IdleWhen {
    /// While it has no face; a live face takes over smoothly.
    #[default]
    WithoutFace,
    /// Always: breath and small movements stay below a live face, which has its own blinks and eyes.
    Always,
}

/// Idle motion of an avatar without a live face: blinks, glances, breath.
#[derive(Component, Reflect, Debug)]
#[reflect(Component, Default)]
pub struct FaceIdle {
    /// When.
    pub when: IdleWhen,
    #[reflect(ignore)]
    life: IdleLife,
}

impl Default for FaceIdle {
    fn default() -> Self {
        Self::new(IdleSettings::default())
    }
}

impl FaceIdle {
    /// A life of these settings. Give every avatar a seed of its own.
    pub fn new(settings: IdleSettings) -> Self {
        Self { when: IdleWhen::default(), life: IdleLife::new(settings) }
    }

    /// A natural life of this seed.
    pub fn seeded(seed: u64) -> Self {
        Self::new(IdleSettings { seed, ..IdleSettings::default() })
    }

    /// How lively; may change at any time.
    pub fn settings_mut(&mut self) -> &mut IdleSettings {
        &mut self.life.settings
    }

    fn apply(&mut self, pose: &mut FacePose, dt: f32) {
        let idle = self.life.step(dt);
        let absent = 1.0 - smooth(pose.presence);
        let body = if self.when == IdleWhen::Always { 1.0 } else { absent };
        for (index, (weight, idle)) in pose.weights.iter_mut().zip(&idle.weights).enumerate() {
            let group = ChannelGroup::of(Blendshape::ALL[index]);
            // A live face has eyes of its own.
            let share = if matches!(group, ChannelGroup::Eyelids | ChannelGroup::Gaze) { absent } else { body };
            *weight = (*weight + idle * share * (1.0 - *weight).clamp(0.0, 1.0)).max(*weight);
        }
        for (eye, idle) in pose.gaze.iter_mut().zip(idle.gaze) {
            *eye += Vec2::new(idle.yaw, idle.pitch) * absent;
        }
        pose.head *= Quat::IDENTITY.slerp(Quat::from_array(idle.head), body);
    }
}

/// Time that passed for layers, seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerTime {
    /// On the game's clock.
    pub game: f32,
    /// On the clock of visemes that are said one by one: of a live subject they are live too.
    pub visemes: f32,
}

/// What lies over a face.
#[derive(bevy::ecs::query::QueryData)]
#[query_data(mutable)]
pub(crate) struct Layers {
    expressions: Option<&'static mut FaceExpressions>,
    speech: Option<&'static mut FaceSpeech>,
    idle: Option<&'static mut FaceIdle>,
}

impl LayersItem<'_, '_> {
    /// Puts them on a pose; whether they did anything.
    pub fn apply(
        &mut self,
        pose: &mut FacePose,
        dt: LayerTime,
        library: &FaceExpressionLibrary,
        refused: &mut RefusedExpressions,
    ) -> bool {
        let mut any = false;
        if let Some(idle) = &mut self.idle {
            idle.apply(pose, dt.game);
            any = true;
        }
        // Looked at without a change, so that nothing counts as changed that is not.
        if let Some(expressions) = &mut self.expressions
            && !(expressions.requests.is_empty() && expressions.mix.is_idle())
        {
            expressions.step(dt.game, library, refused);
            expressions.mix.apply(&mut pose.weights);
            any = true;
        }
        if let Some(speech) = &mut self.speech
            && !speech.is_idle()
        {
            speech.step(dt);
            speech.apply(&mut pose.weights);
            any = true;
        }
        any
    }
}

/// Emotions that were asked for on the link.
pub(crate) fn take_emotions(
    mut messages: MessageReader<LinkMessage>,
    subjects: Res<FaceSubjects>,
    mut expressions: Query<&mut FaceExpressions>,
    mut early: Local<Vec<(Arc<str>, Emotion, u8)>>,
) {
    early.retain_mut(|(name, emotion, left)| {
        let subject = subjects.get(name).and_then(|entity| expressions.get_mut(entity).ok());
        if let Some(mut expressions) = subject {
            expressions.take(emotion.clone());
            return false;
        }
        *left -= 1;
        *left > 0
    });
    for LinkMessage(event) in messages.read() {
        let LinkEvent::Emotion { name, emotion, .. } = event else { continue };
        let subject = subjects.get(name).and_then(|entity| expressions.get_mut(entity).ok());
        match subject {
            Some(mut expressions) => expressions.take(emotion.clone()),
            // The frame that makes it appear came after the frames of this update were taken.
            None if early.len() < MAX_EARLY => early.push((name.clone(), emotion.clone(), EARLY_UPDATES)),
            None => {}
        }
    }
}

/// What lies over the subjects' faces.
pub(crate) fn add_layers<Which: QueryFilter>(
    game_time: Res<Time<Virtual>>,
    real_time: Res<Time<Real>>,
    library: Res<FaceExpressionLibrary>,
    mut refused: ResMut<RefusedExpressions>,
    mut faces: Query<(&mut FacePose, Layers), (With<FaceSubject>, Which)>,
) {
    let refused = refused.bypass_change_detection();
    for (mut pose, mut layers) in &mut faces {
        // Its visemes came with its frames, and go on like them.
        let dt = LayerTime { game: game_time.delta_secs(), visemes: real_time.delta_secs() };
        layers.apply(&mut pose, dt, &library, refused);
    }
}
