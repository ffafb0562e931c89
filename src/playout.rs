//! How frames become a face: the jitter buffer of each subject.

use std::{collections::HashSet, sync::Arc, time::Duration};

use facelink::time::Instant;

use bevy::prelude::*;
use facelink::timing::{FaceFilter, PlayoutStats, PresentClock};

use crate::{
    layers::FaceSpeech,
    pose::{FacePose, smooth},
    sets::{FaceLinkSystems, Step},
    settings::{FacePlayout, FaceSettings, PlayoutFilter, PlayoutMode},
    subjects::{FaceSubject, FaceSubjects, FaceTracked, FaceUntracked, Incoming, LinkQuality},
};

/// Seconds between two reads of the statistics.
const STATS_INTERVAL: f32 = 0.25;

pub(crate) struct PlayoutPlugin;

impl Plugin for PlayoutPlugin {
    fn build(&self, app: &mut App) {
        app.register_type::<FacePlayout>()
            .register_type::<FaceTimecode>()
            .register_type::<PlayoutQuality>()
            .register_required_components::<FaceSubject, PlayoutQuality>()
            .init_resource::<FaceTimecode>()
            .init_resource::<PresentationTime>()
            .add_systems(PreUpdate, measure.after(FaceLinkSystems::Receive))
            .add_systems(PreUpdate, (set_presentation_time, evaluate).chain().in_set(Step::Playout));
    }
}

/// The moment at which subjects in [`PlayoutMode::Timecode`] are.
///
/// Their clocks have to agree: timecode of one generator, or clocks set by NTP. By default all of them are shown at the
/// latest moment for which the slowest of them is there; [`presentation_time`](Self::presentation_time) is that moment, so
/// that sound plays in step. A game that plays sound sets [`reference`](Self::reference) each frame, before
/// [`FaceLinkSystems::Evaluate`] in `PreUpdate`, and the faces follow.
#[derive(Resource, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceTimecode {
    /// The moment to show, on the sources' clocks; `None` leaves it to the plugin.
    pub reference: Option<Duration>,
    /// Presentation time of this frame, on the sources' clocks.
    pub presentation_time: Option<Duration>,
}

/// Statistics of a subject's playout; at most a quarter of a second old.
#[derive(Component, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct PlayoutQuality {
    /// How far behind the quickest frame the face is shown, milliseconds.
    pub delay_ms: f32,
    /// And how far it is meant to be.
    pub target_ms: f32,
    /// What the filter adds, milliseconds.
    pub filter_lag_ms: f32,
    /// Rendered frames a second that show a face.
    pub shown_fps: f32,
    /// Share of rendered frames of the last quarter of a second that were concealed: interpolated over a lost frame,
    /// extrapolated, or held; `0..=1`.
    pub concealed: f32,
    /// Frames since the start that arrived after their playout deadline.
    pub late: u64,
    /// Blinks since the start that were made up for.
    pub blinks: u64,
    #[reflect(ignore)]
    last: PlayoutStats,
}

impl PlayoutQuality {
    pub(crate) fn take(&mut self, stats: PlayoutStats, seconds: f32) {
        let made_up = |stats: &PlayoutStats| stats.interpolated + stats.extrapolated + stats.held;
        let shown = stats.shown.saturating_sub(self.last.shown);
        let concealed = made_up(&stats).saturating_sub(made_up(&self.last));
        *self = Self {
            delay_ms: stats.delay_ms,
            target_ms: stats.target_ms,
            filter_lag_ms: stats.filter_lag_ms,
            shown_fps: if seconds > 0.0 { shown as f32 / seconds } else { 0.0 },
            concealed: if shown > 0 { concealed as f32 / shown as f32 } else { 0.0 },
            late: stats.late,
            blinks: stats.blinks,
            last: stats,
        };
    }
}

/// The moment for which faces are evaluated: the presentation time of the next rendered frame, up to a constant.
#[derive(Resource, Debug, Default)]
pub(crate) struct PresentationTime {
    /// By the system's clock, and by the engine's, which a test or an offline rendering drives by hand.
    system: (PresentClock, Option<Instant>),
    engine: (PresentClock, Option<Instant>),
    /// Subjects whose frames have times of the engine's clock: those of takes. The same pictures come of them, however fast the
    /// engine is driven.
    pub by_engine: HashSet<Arc<str>>,
}

impl PresentationTime {
    fn tick(&mut self, time: &Time<Real>) {
        for ((clock, now), begun) in [(&mut self.system, begun(time)), (&mut self.engine, engine_time(time))] {
            *now = Some(clock.tick(begun));
        }
    }

    /// The moment for this subject.
    fn of(&self, subject: &str) -> Instant {
        let by_engine = !self.by_engine.is_empty() && self.by_engine.contains(subject);
        let (_, now) = if by_engine { &self.engine } else { &self.system };
        now.unwrap_or_else(Instant::now)
    }
}

/// When this frame of the engine began, by the engine's clock.
pub(crate) fn engine_time(time: &Time<Real>) -> Instant {
    time.last_update().unwrap_or_else(|| time.startup())
}

/// A clock this far from ours is a test's, or a replay's.
const OTHER_CLOCK: Duration = Duration::from_millis(500);

/// When this frame of the engine began, by the system's clock; now, where the engine is driven by another one.
fn begun(time: &Time<Real>) -> Instant {
    let now = Instant::now();
    let begun = engine_time(time);
    let far = now.saturating_duration_since(begun).max(begun.saturating_duration_since(now)) > OTHER_CLOCK;
    if far { now } else { begun }
}

/// Sets the moment, and the subjects' settings.
pub(crate) fn set_presentation_time(
    time: Res<Time<Real>>,
    mut presentation: ResMut<PresentationTime>,
    settings: Res<FaceSettings>,
    mut timecode: ResMut<FaceTimecode>,
    mut subjects: Query<(&FaceSubject, Option<&FacePlayout>, Option<&LinkQuality>, &mut Incoming)>,
) {
    presentation.tick(&time);
    let mut lead: Option<i64> = None;
    for (subject, own, quality, mut incoming) in &mut subjects {
        let playout = own.unwrap_or(&settings.playout);
        let filtered = match playout.filter {
            PlayoutFilter::Auto => quality.is_some_and(|quality| quality.webcam),
            PlayoutFilter::Off => false,
            PlayoutFilter::On => true,
        };
        let buffer = incoming.buffer();
        let wanted = playout.settings;
        if *buffer.settings() != wanted {
            buffer.set(wanted);
        }
        if buffer.filter.is_off() == filtered {
            buffer.filter = if filtered { FaceFilter::webcam() } else { FaceFilter::off() };
        }
        if playout.mode == PlayoutMode::Timecode
            && !subject.leaving
            && let Some(own) = buffer.lead_us()
        {
            // One that began before midnight counts on; the others do not.
            lead = Some(lead.map_or(own, |lead| {
                let days = (own - lead + DAY_US / 2).div_euclid(DAY_US);
                lead.max(own - days * DAY_US)
            }));
        }
    }
    let reference = timecode.reference.map(|reference| i64::try_from(reference.as_micros()).unwrap_or(i64::MAX));
    let mut presentation_time = None;
    if reference.is_some() || lead.is_some() {
        for (subject, own, _, mut incoming) in &mut subjects {
            if own.unwrap_or(&settings.playout).mode != PlayoutMode::Timecode {
                continue;
            }
            let buffer = incoming.buffer();
            let moment = reference.or_else(|| Some(buffer.now_us(presentation.of(&subject.name))? - lead?));
            let near = moment
                .zip(buffer.newest_us())
                .map(|(moment, newest)| moment + (newest - moment + DAY_US / 2).div_euclid(DAY_US) * DAY_US);
            buffer.set_reference(near);
            presentation_time = presentation_time.or(near);
        }
    }
    let presentation_time = presentation_time.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
    if timecode.presentation_time != presentation_time {
        timecode.presentation_time = presentation_time;
    }
}

const DAY_US: i64 = 86_400_000_000;

/// The pose at the presentation time.
pub(crate) fn evaluate(
    mut commands: Commands,
    time: Res<Time<Real>>,
    presentation: Res<PresentationTime>,
    settings: Res<FaceSettings>,
    mut subjects: ResMut<FaceSubjects>,
    mut faces: Query<(Entity, &FaceSubject, &mut Incoming, &mut FacePose, &mut FaceSpeech)>,
) {
    let dt = time.delta_secs();
    for (entity, subject, mut incoming, mut pose, mut speech) in &mut faces {
        let incoming = &mut *incoming;
        let Incoming { playout, tracked, presence, from, fresh } = incoming;
        let Some(shown) = playout.advance(presentation.of(&subject.name)) else { continue };
        match shown.saying.filter(|_| !subject.leaving) {
            Some((viseme, weight)) => speech.say(viseme, weight),
            // Looked at first, so that a mouth at rest does not count as changed.
            None if speech.speaks() => speech.silence(),
            None => {}
        }
        if std::mem::take(fresh) {
            presence.frame();
        }
        let tracked = *tracked && !subject.leaving;
        if presence.step(dt, tracked, &settings) {
            from.clone_from(&pose);
        }
        let was_tracked = pose.tracked;
        let (fresh, returned) = (presence.is_fresh(&settings), presence.returned());
        let presence = presence.value();
        pose.set_from(shown.frame, presence);
        pose.captured = shown.capture_us.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
        if returned < 1.0 {
            pose.blend_to(from, 1.0 - smooth(returned));
            pose.presence = presence;
        }
        pose.tracked = tracked && fresh;
        match (was_tracked, pose.tracked) {
            (false, true) => commands.trigger(FaceTracked { entity }),
            (true, false) => commands.trigger(FaceUntracked { entity }),
            _ => {}
        }
        if subject.leaving && presence == 0.0 {
            subjects.forget(entity);
            commands.entity(entity).try_despawn();
        }
    }
}

/// Copies the statistics of the jitter buffers, four times a second.
fn measure(time: Res<Time<Real>>, mut since: Local<f32>, mut faces: Query<(&mut PlayoutQuality, &mut Incoming)>) {
    *since += time.delta_secs();
    if *since < STATS_INTERVAL {
        return;
    }
    let seconds = std::mem::take(&mut *since);
    for (mut quality, mut incoming) in &mut faces {
        quality.take(incoming.buffer().stats(), seconds);
    }
}
