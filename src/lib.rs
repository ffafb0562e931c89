//! Live faces for Bevy: a face from an iPhone, a browser or any tracker drives a glTF avatar.
//!
//! ```no_run
//! use bevy::{prelude::*, world_serialization::WorldAssetRoot};
//! use bevy_facelink::prelude::*;
//!
//! # fn main() {
//! App::new()
//!     .add_plugins((
//!         // `DefaultPlugins` in a game
//!         MinimalPlugins,
//!         AssetPlugin::default(),
//!         FaceLinkPlugin::default(),
//!     ))
//!     .add_systems(Startup, |mut commands: Commands, assets: Res<AssetServer>| {
//!         commands.spawn((
//!             WorldAssetRoot(assets.load("avatars/aria.glb#Scene0")),
//!             FaceAvatar::default(), // the first subject that appears; `FaceAvatar::of("Ann")` for one by name
//!         ));
//!     })
//!     .run();
//! # }
//! ```
//!
//! # How it goes
//! Frames arrive on a background runtime (the [`facelink`](core) crate) and cross a bounded channel. A **subject** is one
//! face: an entity with [`FaceSubject`], [`FacePose`] and [`LinkQuality`], listed in [`FaceSubjects`]. An **avatar**
//! carries [`FaceAvatar`] and is related to its subject by [`DrivenBy`]. Systems run in three sets:
//!
//! | set | schedule | what |
//! |---|---|---|
//! | [`FaceLinkSystems::Receive`] | `PreUpdate` | drains the channel into subjects |
//! | [`FaceLinkSystems::Evaluate`] | `PostUpdate` | the pose on stage now; easing; which subject drives which avatar |
//! | [`FaceLinkSystems::Drive`] | `PostUpdate`, after `AnimationSystems`, before `TransformSystems::Propagate` | writes `MorphWeights`, head and eye bones |
//!
//! Faces go out too: [`SendFace`] on an avatar or a subject sends it to those who subscribe, and to the endpoints that
//! [`FaceSource::connect`] dials.
//!
//! To see what happens: [`SubjectAppeared`], [`SubjectLost`], [`FaceTracked`], [`FaceUntracked`] and [`AvatarBound`] are
//! entity events; [`BindReport`] on an avatar says which shapes it matched.
//!
//! Phone apps are heard with [`FaceLinkPlugin::with_phones`]; [`CaptureNeutral`] and [`RecentreHead`] set a performer's rest.
//!
//! # Features
//! | feature | default | what |
//! |---|---|---|
//! | `aria` | no | `ARIA`, an avatar inside the library, for a first face and for tests: 6.5 MB in the program |
//! | `panel` | no | `FaceLinkPanelPlugin`: an egui panel with sources, figures, the mapping and the 52 values |
//! | `vrm` | no | VRM 1.0 avatars by `bevy_vrm1`: put [`FaceAvatar`] beside its `VrmHandle` |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "aria")]
mod aria;
pub mod avatar;
pub mod bones;
pub mod detail;
pub mod diagnostics;
mod drive;
pub mod endpoint;
mod files;
pub mod input;
pub mod layers;
pub mod mapping;
#[cfg(feature = "panel")]
pub mod panel;
pub mod performers;
pub mod phones;
pub mod playout;
pub mod plugin;
pub mod pose;
pub mod rates;
pub mod send;
pub mod sets;
pub mod settings;
pub mod sources;
pub mod subjects;
pub mod virtual_subject;
#[cfg(feature = "vrm")]
mod vrm;

pub use facelink as core;
pub use facelink_net as net;

#[cfg(feature = "aria")]
pub use aria::ARIA;
pub use avatar::{AvatarBound, BindReport, DrivenBy, Drives, FaceAvatar, ShapePreview};
pub use detail::{FaceBudget, FaceDetail, FaceLoad};
pub use endpoint::{FaceLinkEndpoint, FaceLinkFailure};
pub use input::{FaceInbox, FaceInjector};
pub use layers::{FaceExpressionLibrary, FaceExpressions, FaceIdle, FaceSpeech, IdleWhen, RefusedExpressions};
pub use mapping::{AvatarMapping, FaceMapping, FacePresets};
pub use performers::{FacePerformer, FacePerformers};
pub use phones::{
    BeginRangeOfMotion, CaptureNeutral, ClearCalibration, EndRangeOfMotion, FacePhones, RecentreHead, SaveCalibration,
};
pub use playout::{FaceTimecode, PlayoutQuality};
pub use plugin::FaceLinkPlugin;
pub use pose::FacePose;
pub use rates::{AdaptiveFps, FpsLaw, RequestedFps, SubjectAdaptiveFps};
pub use send::{SendFace, SendFaceState};
pub use sets::FaceLinkSystems;
pub use settings::{FacePlayout, FaceSettings, PlayoutFilter, PlayoutMode};
pub use sources::{FaceDial, FaceSource, SourceQuality, SourceState};
pub use subjects::{FaceSubject, FaceSubjects, FaceTracked, FaceUntracked, LinkQuality, SubjectAppeared, SubjectLost};
pub use virtual_subject::{FacePart, VirtualSubject};

/// What most games need.
pub mod prelude {
    #[cfg(feature = "aria")]
    pub use crate::ARIA;
    #[cfg(feature = "panel")]
    pub use crate::panel::FaceLinkPanelPlugin;
    pub use crate::{
        AvatarBound, AvatarMapping, BindReport, FaceAvatar, FaceExpressions, FaceIdle, FaceLinkPlugin, FaceLinkSystems,
        FaceMapping, FacePose, FaceSource, FaceSpeech, FaceSubject, FaceSubjects, LinkQuality, SendFace,
        SubjectAppeared, SubjectLost, VirtualSubject,
    };
}
