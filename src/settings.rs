//! Hold and easing times of faces, and playout settings.

use std::time::Duration;

use bevy::prelude::*;
use facelink::timing::PlayoutSettings;

pub use facelink::timing::PlayoutMode;

/// Hold and easing times of faces. Inserted before [`FaceLinkPlugin`](crate::FaceLinkPlugin) it is kept; later changes count at once.
///
/// One face that is lost, by default: after 50 ms without a frame its motion stops
/// ([`PlayoutSettings::extrapolate`]), after 0.25 s it eases ([`hold`](Self::hold)), after 1 s it is neutral
/// ([`ease_out`](Self::ease_out)); after [`SUBJECT_TIMEOUT`](facelink::subject::SUBJECT_TIMEOUT) its subject is lost.
#[derive(Resource, Reflect, Clone, Copy, Debug, PartialEq)]
#[reflect(Resource, Default)]
pub struct FaceSettings {
    /// A silent face holds its pose for this long, seconds; 0.25 by default.
    pub hold: f32,
    /// Then it eases to neutral over this time, seconds; 0.75 by default. A face that its tracker has lost eases at once.
    pub ease_out: f32,
    /// A face that returns eases in over this time, seconds, from whatever is shown when it does; 0.15 by default.
    pub ease_in: f32,
    /// An avatar that changes to another subject blends over this time, seconds; 0.25 by default.
    pub switch: f32,
    /// How frames become a face. A subject with a [`FacePlayout`] of its own goes by that.
    pub playout: FacePlayout,
}

impl Default for FaceSettings {
    fn default() -> Self {
        Self {
            hold: facelink::subject::FACE_HOLD.as_secs_f32(),
            ease_out: 0.75,
            ease_in: 0.15,
            switch: 0.25,
            playout: FacePlayout::default(),
        }
    }
}

/// Whether a source's noise is filtered (1€ filter).
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

/// How a subject's frames become its face. In [`FaceSettings`] for all subjects; as a component on one for that one alone.
///
/// ```
/// use std::time::Duration;
/// use bevy_facelink::{FacePlayout, FaceSettings, PlayoutMode};
/// let mut playout = FacePlayout::default();
/// assert_eq!(playout.mode, PlayoutMode::Smooth);
/// playout.most = Duration::from_millis(80);
/// let settings = FaceSettings { playout, ..FaceSettings::default() };
/// # assert_eq!(settings.playout.most.as_millis(), 80);
/// ```
#[derive(Component, Reflect, Deref, DerefMut, Clone, Copy, Debug, Default, PartialEq)]
#[reflect(Component, Default)]
pub struct FacePlayout {
    /// Of the jitter buffer.
    #[deref]
    pub settings: PlayoutSettings,
    /// Whether the source's noise is filtered; [`PlayoutFilter::Auto`] by default.
    pub filter: PlayoutFilter,
}

impl From<PlayoutMode> for FacePlayout {
    fn from(mode: PlayoutMode) -> Self {
        Self { settings: PlayoutSettings { mode, ..PlayoutSettings::default() }, ..Self::default() }
    }
}

impl FacePlayout {
    /// The newest frame, at once.
    pub fn latest() -> Self {
        PlayoutMode::Latest.into()
    }

    /// Always behind by `delay` seconds, 0 to 10.
    pub fn fixed(delay: f32) -> Self {
        PlayoutMode::Fixed(Duration::try_from_secs_f32(delay.clamp(0.0, 10.0)).unwrap_or_default()).into()
    }

    /// In step with other subjects, and with sound.
    pub fn timecode() -> Self {
        PlayoutMode::Timecode.into()
    }

    /// The same with this filter.
    #[must_use]
    pub fn filter(mut self, filter: PlayoutFilter) -> Self {
        self.filter = filter;
        self
    }
}
