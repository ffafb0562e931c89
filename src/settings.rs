//! How faces come and go, and how frames become a face.

use std::time::Duration;

use bevy::prelude::*;
use facelink::timing::PlayoutSettings;

/// How faces come and go.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceSettings {
    /// A silent face holds its pose for this long, seconds.
    pub hold: f32,
    /// Then it eases to neutral over this time, seconds. A face that its tracker has lost eases at once.
    pub ease_out: f32,
    /// A face that returns eases in over this time, seconds, from whatever is shown when it does.
    pub ease_in: f32,
    /// An avatar that changes to another subject blends over this time, seconds.
    pub switch: f32,
    /// How frames become a face. A subject with a [`FacePlayout`] of its own goes by that.
    pub playout: FacePlayout,
}

impl Default for FaceSettings {
    fn default() -> Self {
        Self { hold: 0.25, ease_out: 0.75, ease_in: 0.15, switch: 0.25, playout: FacePlayout::default() }
    }
}

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
