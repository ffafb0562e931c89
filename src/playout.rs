//! How frames become a face: the jitter buffer of each subject.

use std::time::{Duration, Instant};

use bevy::prelude::*;
use facelink::timing::{FaceFilter, PlayoutSettings, PlayoutStats, PresentClock};

use crate::subjects::{FaceSubject, Incoming};

/// How a stream of frames becomes a face.
#[derive(Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Default)]
pub enum PlayoutMode {
    /// The newest frame as soon as it is there, with every unevenness of the network.
    Latest,
    /// As little behind as the network allows: three quarters of a frame on a good one.
    #[default]
    Smooth,
    /// Behind the quickest frame by this many seconds, whatever the network does.
    Fixed(f32),
    /// Several faces, and sound, in step by the sources' own clocks: see [`FaceTimecode`].
    Timecode,
}

/// Whether a source's trembling is filtered (1€ filter).
#[derive(Reflect, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[reflect(Default)]
pub enum PlayoutFilter {
    /// For faces out of a webcam, by what the client calls itself. ARKit's are smooth already.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Always.
    On,
}

/// How a subject's frames become its face. In [`FaceSettings`](crate::FaceSettings) for all subjects; as a component on one
/// for that one alone.
#[derive(Component, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Component, Default)]
pub struct FacePlayout {
    /// How frames become a face.
    pub mode: PlayoutMode,
    /// In `Smooth` and `Timecode`, the share of frames that come in time, `0..=1`.
    pub quantile: f32,
    /// And how much of the time between two frames is waited on top, and how much where frames get lost.
    pub margin: f32,
    /// See [`margin`](Self::margin).
    pub lossy_margin: f32,
    /// Least and most delay of `Smooth` and `Timecode`, seconds.
    pub least: f32,
    /// See [`least`](Self::least).
    pub most: f32,
    /// How long a face goes on by itself when nothing comes, seconds.
    pub extrapolate: f32,
    /// Whether a blink that would fall between two pictures, or comes too late, is shown all the same.
    pub keep_blinks: bool,
    /// Whether the source's trembling is filtered.
    pub filter: PlayoutFilter,
}

impl Default for FacePlayout {
    fn default() -> Self {
        let settings = PlayoutSettings::default();
        Self {
            mode: PlayoutMode::Smooth,
            quantile: settings.quantile,
            margin: settings.margin,
            lossy_margin: settings.lossy_margin,
            least: settings.least.as_secs_f32(),
            most: settings.most.as_secs_f32(),
            extrapolate: settings.extrapolate.as_secs_f32(),
            keep_blinks: settings.keep_blinks,
            filter: PlayoutFilter::Auto,
        }
    }
}

impl FacePlayout {
    /// The newest frame, at once.
    pub fn latest() -> Self {
        Self { mode: PlayoutMode::Latest, ..Self::default() }
    }

    /// Always behind by `delay` seconds.
    pub fn fixed(delay: f32) -> Self {
        Self { mode: PlayoutMode::Fixed(delay), ..Self::default() }
    }

    /// In step with other subjects, and with sound.
    pub fn timecode() -> Self {
        Self { mode: PlayoutMode::Timecode, ..Self::default() }
    }

    pub(crate) fn settings(&self) -> PlayoutSettings {
        let time = |seconds: f32| Duration::try_from_secs_f32(seconds.clamp(0.0, 10.0)).unwrap_or_default();
        PlayoutSettings {
            mode: match self.mode {
                PlayoutMode::Latest => facelink::timing::PlayoutMode::Latest,
                PlayoutMode::Smooth => facelink::timing::PlayoutMode::Smooth,
                PlayoutMode::Fixed(delay) => facelink::timing::PlayoutMode::Fixed(time(delay)),
                PlayoutMode::Timecode => facelink::timing::PlayoutMode::Timecode,
            },
            quantile: self.quantile,
            margin: self.margin,
            lossy_margin: self.lossy_margin,
            least: time(self.least),
            most: time(self.most),
            extrapolate: time(self.extrapolate),
            keep_blinks: self.keep_blinks,
        }
    }
}

/// The moment at which subjects in [`PlayoutMode::Timecode`] are.
///
/// Their clocks have to agree: timecode of one generator, or clocks set by NTP. By default all of them are shown at the
/// latest moment for which the slowest of them is there; [`on_stage`](Self::on_stage) tells it, for sound to be played to it.
/// A game that plays sound sets [`reference`](Self::reference) each frame, and the faces follow.
#[derive(Resource, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceTimecode {
    /// The moment to show, on the sources' clocks; `None` leaves it to the plugin.
    pub reference: Option<Duration>,
    /// The moment on stage in this picture.
    pub on_stage: Option<Duration>,
}

/// How the frames of a subject become its face, in figures; a quarter of a second old at most.
#[derive(Component, Reflect, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct PlayoutQuality {
    /// How far behind the quickest frame the face is shown, milliseconds.
    pub delay_ms: f32,
    /// And how far it is meant to be.
    pub target_ms: f32,
    /// What the filter adds, milliseconds.
    pub filter_lag_ms: f32,
    /// Pictures a second that show a face.
    pub shown_fps: f32,
    /// Share of pictures of the last quarter of a second that were made up: interpolated over a lost frame, gone on by
    /// itself, or held; `0..=1`.
    pub concealed: f32,
    /// Frames since the start that came after their moment.
    pub late: u64,
    /// Blinks since the start that were made up for.
    pub blinks: u64,
    #[reflect(ignore)]
    last: PlayoutStats,
}

impl PlayoutQuality {
    pub(crate) fn take(&mut self, figures: PlayoutStats, seconds: f32) {
        let made_up = |figures: &PlayoutStats| figures.interpolated + figures.extrapolated + figures.held;
        let shown = figures.shown.saturating_sub(self.last.shown);
        let concealed = made_up(&figures).saturating_sub(made_up(&self.last));
        *self = Self {
            delay_ms: figures.delay_ms,
            target_ms: figures.target_ms,
            filter_lag_ms: figures.filter_lag_ms,
            shown_fps: if seconds > 0.0 { shown as f32 / seconds } else { 0.0 },
            concealed: if shown > 0 { concealed as f32 / shown as f32 } else { 0.0 },
            late: figures.late,
            blinks: figures.blinks,
            last: figures,
        };
    }
}

/// The moment for which faces are evaluated: when the picture that is being made will be seen, up to a constant.
#[derive(Resource, Debug, Default)]
pub(crate) struct Stage {
    clock: PresentClock,
    pub now: Option<Instant>,
}

/// A clock this far from ours is a test's, or a replay's.
const OTHER_CLOCK: Duration = Duration::from_millis(500);

/// Sets the moment, and the subjects' settings.
pub(crate) fn set_stage(
    time: Res<Time<Real>>,
    mut stage: ResMut<Stage>,
    settings: Res<crate::FaceSettings>,
    mut timecode: ResMut<FaceTimecode>,
    mut subjects: Query<(&FaceSubject, Option<&FacePlayout>, Option<&crate::LinkQuality>, &mut Incoming)>,
) {
    let now = Instant::now();
    let begun = time.last_update().unwrap_or(now);
    let far = now.saturating_duration_since(begun).max(begun.saturating_duration_since(now)) > OTHER_CLOCK;
    let now = stage.clock.tick(if far { now } else { begun });
    stage.now = Some(now);

    let mut lead: Option<i64> = None;
    for (subject, own, quality, mut incoming) in &mut subjects {
        let playout = own.unwrap_or(&settings.playout);
        let filtered = match playout.filter {
            PlayoutFilter::Auto => quality.is_some_and(|quality| quality.webcam),
            PlayoutFilter::Off => false,
            PlayoutFilter::On => true,
        };
        let buffer = incoming.buffer();
        let wanted = playout.settings();
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
    let mut on_stage = None;
    if reference.is_some() || lead.is_some() {
        for (_, own, _, mut incoming) in &mut subjects {
            if own.unwrap_or(&settings.playout).mode != PlayoutMode::Timecode {
                continue;
            }
            let buffer = incoming.buffer();
            let moment = reference.or_else(|| Some(buffer.now_us(now)? - lead?));
            let near = moment
                .zip(buffer.newest_us())
                .map(|(moment, newest)| moment + (newest - moment + DAY_US / 2).div_euclid(DAY_US) * DAY_US);
            buffer.set_reference(near);
            on_stage = on_stage.or(near);
        }
    }
    let on_stage = on_stage.and_then(|us| u64::try_from(us).ok()).map(Duration::from_micros);
    if timecode.on_stage != on_stage {
        timecode.on_stage = on_stage;
    }
}

const DAY_US: i64 = 86_400_000_000;
