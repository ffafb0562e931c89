//! Live faces for the Bevy engine: a face from an iPhone, a browser or any tracker drives a glTF avatar.
//!
//! # Getting started
//!
//! Add [`FaceLinkPlugin`], and put [`FaceAvatar`] on the entity of a glTF scene with morph targets:
//!
//! ```no_run
//! use bevy::{prelude::*, world_serialization::WorldAssetRoot};
//! use bevy_facelink::prelude::*;
//!
//! fn main() {
//!     App::new().add_plugins((DefaultPlugins, FaceLinkPlugin::default())).add_systems(Startup, set_up).run();
//! }
//!
//! fn set_up(mut commands: Commands, assets: Res<AssetServer>) {
//!     commands.spawn((
//!         WorldAssetRoot(assets.load("avatars/aria.glb#Scene0")),
//!         FaceAvatar::default(), // the first face that arrives; `FaceAvatar::of("Ann")` for one by name
//!         FaceIdle::default(),   // blinks and glances until then
//!     ));
//! }
//! ```
//!
//! Start the game, open <http://127.0.0.1:8765> in a browser and press *Use this camera*. For phones,
//! [`FaceLinkPlugin::with_phones`] and [`FaceLinkPlugin::lan`] open the ports of the apps to the network.
//!
//! # Concepts
//!
//! | Concept | Entity with | Meaning |
//! |---|---|---|
//! | subject | [`FaceSubject`], [`FacePose`], [`LinkQuality`] | one face that arrives, with the pose to show now; listed by name in [`FaceSubjects`] |
//! | avatar | [`FaceAvatar`], [`BindReport`], [`DrivenBy`] | a model that shows the face of a subject |
//! | source | [`FaceSource`], [`SourceQuality`] | a connection: one that was accepted, or one that [`FaceSource::connect`] dials |
//!
//! Frames arrive on a background runtime and cross a bounded channel; the network never waits for a rendered frame, nor a
//! rendered frame for the network. Several avatars may show one subject, and each avatar has one subject at a time.
//!
//! # Reading a face
//!
//! [`FacePose`] on a subject is the face at the presentation time of the rendered frame. A game reads it like any component.
//! The same code works in tests without sockets, where [`FaceInput`] takes the place of the network:
//!
//! ```
//! use bevy::prelude::*;
//! use bevy_facelink::prelude::*;
//!
//! #[derive(Resource, Default)]
//! struct Mouth(f32);
//!
//! fn watch_mouth(faces: Query<(&FaceSubject, &FacePose)>, mut mouth: ResMut<Mouth>) {
//!     for (_, pose) in faces.iter().filter(|(subject, _)| subject.name == "Ann") {
//!         mouth.0 = pose.weights[Blendshape::JawOpen.index()];
//!     }
//! }
//!
//! let mut app = App::new();
//! app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets()))
//!     .init_resource::<Mouth>()
//!     .add_systems(Update, watch_mouth);
//!
//! let mut frame = FaceFrame::neutral();
//! frame.set(Blendshape::JawOpen, 0.8);
//! // A face that appears eases in from neutral.
//! let start = std::time::Instant::now();
//! while app.world().resource::<Mouth>().0 < 0.79 {
//!     app.world().resource::<FaceInput>().send("Ann", frame.clone()).expect("finite numbers");
//!     app.update();
//!     assert!(start.elapsed().as_secs() < 10, "the face arrives");
//! }
//! ```
//!
//! # Events
//!
//! What happens to a subject or an avatar is an entity event, for observers: [`SubjectAppeared`], [`SubjectLost`],
//! [`FaceTracked`], [`FaceUntracked`], [`AvatarBound`]; with [`FaceGestures`] also [`FaceGesture`], a wink, a kiss or a nod.
//!
//! ```
//! use bevy::prelude::*;
//! use bevy_facelink::prelude::*;
//!
//! fn greet(appeared: On<SubjectAppeared>, subjects: Query<&FaceSubject>) {
//!     if let Ok(subject) = subjects.get(appeared.entity) {
//!         info!("{} is here", subject.name);
//!     }
//! }
//!
//! let mut app = App::new();
//! app.add_plugins((MinimalPlugins, AssetPlugin::default(), FaceLinkPlugin::without_sockets())).add_observer(greet);
//! app.update();
//! ```
//!
//! # System sets
//!
//! | Set | Schedule | Systems |
//! |---|---|---|
//! | [`FaceLinkSystems::Receive`] | `PreUpdate` | frames and events become subjects |
//! | [`FaceLinkSystems::Evaluate`] | `PreUpdate`, after `Receive` | poses at the presentation time, easing and layers of subjects: ready for `Update` |
//! | [`FaceLinkSystems::Drive`] | `PostUpdate`, after `AnimationSystems`, before `TransformSystems::Propagate` | which subject drives which avatar; layers of avatars; `MorphWeights`, head, neck, eye and jaw bones |
//!
//! Systems in `Update` read the poses of the same rendered frame. Received faces use `Time<Real>`; expressions, speech and
//! idle movement use `Time<Virtual>`, so that a paused game pauses them.
//!
//! A body animation keeps running: the face writes its own morph targets and turns bones on top of the animation.
//!
//! # Settings
//!
//! A resource is the default, a component of the same type on one entity overrides it.
//!
//! | Type | On | Sets |
//! |---|---|---|
//! | [`FaceSettings`] | resource | hold, easing, blending between subjects, the default playout |
//! | [`FacePlayout`] | subject | delay mode, filter, extrapolation |
//! | [`AdaptiveFps`], [`SubjectAdaptiveFps`], [`RequestedFps`] | resource, subject | the rate that senders are asked for |
//! | [`FaceBudget`], [`FaceDetail`] | resource, avatar | how often faces are evaluated |
//! | [`AvatarMapping`] | avatar | which channels move which morph targets and bones |
//! | [`FaceGestures`], [`SubjectGestures`] | resource, subject | the gestures that are recognised; none by default |
//! | [`FaceExpressions`], [`FaceSpeech`], [`FaceIdle`] | avatar or subject | layers over the face |
//! | [`VirtualSubject`] | entity of its own | one face from several subjects |
//! | [`TakePlayer`] | entity of its own | plays a [`FaceTake`], a recording, as if it were live |
//! | `FaceRecorder` | parameter of systems | records takes |
//! | [`SendFace`] | avatar or subject | sends the face to subscribers and dialled endpoints |
//! | [`FaceSession`] | resource | all of it from one file: [`FaceLinkPlugin::session`] |
//!
//! # Features
//!
//! | Feature | Default | Adds |
//! |---|---|---|
//! | `net` | yes | the network: endpoint, connections, phones, sending; without it faces come by [`FaceInput`] alone |
//! | `takes` | yes | recordings as assets, and playing them |
//! | `animation` | no | takes as Bevy animations, by `animation::FaceBaker` |
//! | `aria` | no | `ARIA`, an avatar inside the library, for a first face and for tests; 7.4 MB in the program |
//! | `panel` | no | `FaceLinkPanelPlugin`: an egui panel with sources, statistics, the mapping and the 52 values |
//! | `remote` | no | methods `facelink.*` of the Bevy Remote Protocol: `remote` |
//! | `vrm` | no | VRM 1.0 avatars drawn by `bevy_vrm1`: put [`FaceAvatar`] on the entity with its `VrmHandle`; `.vrm` files open without it ([`FaceModel`]) |
//!
//! # Questions
//!
//! **Nothing moves.** The log and [`BindReport`] list the shapes that matched. If no subject appears, the network is the
//! cause: `facelink doctor`, or the panel's *Doctor*, reports what arrives at which port.
//!
//! **Some shapes are missing.** The naming dialect is detected from the morph targets. Write a mapping file for the rest, and
//! load it as [`AvatarMapping`]; it reloads while the game runs.
//!
//! **The head does not turn.** Some apps send head rotation only when it is switched on, and some models have no bone that is
//! recognised; [`BindReport::bones`] lists those that were found, and a mapping can name others.
//!
//! **The face is late.** [`PlayoutQuality`] has the delay. [`FacePlayout::latest`] shows each frame as it arrives, with the
//! unevenness of the network.
//!
//! **Several players on one machine.** Each phone is a subject with its name. `FaceAvatar::of("Ann")` binds an avatar to one of
//! them.
//!
//! **Frames from my own tracker.** In this process: [`FaceInput`], with or without a network. From another process: JSON over UDP or a
//! WebSocket, or the `Client` of `facelink-net`.
//!
//! **How much does it cost?** A thousand avatars take about 0.4 ms more than none; no frame allocates between the channel and
//! the weights. [`FaceLoad`] is the measured cost in a running game.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "animation")]
pub mod animation;
#[cfg(feature = "aria")]
mod aria;
pub mod avatar;
mod binding;
pub mod bones;
pub mod detail;
#[cfg(feature = "net")]
pub mod diagnostics;
mod drive;
#[cfg(feature = "net")]
pub mod endpoint;
mod eyes;
mod files;
pub mod gestures;
pub mod head;
pub mod input;
pub mod layers;
mod lifecycle;
pub mod lod;
pub mod mapping;
pub mod model;
#[cfg(feature = "panel")]
pub mod panel;
#[cfg(feature = "net")]
pub mod performers;
#[cfg(feature = "net")]
pub mod phones;
pub mod playout;
pub mod plugin;
pub mod pose;
#[cfg(feature = "net")]
pub mod rates;
#[cfg(sockets)]
mod recording;
#[cfg(all(feature = "remote", sockets))]
pub mod remote;
pub mod report;
#[cfg(feature = "net")]
pub mod send;
pub mod session;
pub mod sets;
pub mod settings;
#[cfg(feature = "net")]
pub mod sources;
pub mod subjects;
#[cfg(feature = "takes")]
pub mod takes;
pub mod virtual_subject;
#[cfg(feature = "vrm")]
mod vrm;

pub use facelink;
#[cfg(feature = "net")]
pub use facelink_net as net;

#[cfg(feature = "aria")]
pub use aria::ARIA;
pub use avatar::{DrivenBy, Drives, FaceAvatar, ShapePreview};
pub use detail::{FaceBudget, FaceDetail, FaceLoad};
#[cfg(feature = "net")]
pub use endpoint::{EndpointCommandsExt, EndpointSettings, EndpointState, FaceLinkEndpoint};
pub use gestures::{FaceGesture, FaceGestures, SubjectGestures};
pub use head::HeadFrame;
#[doc(hidden)]
pub use input::{FaceInbox, FaceInjector};
pub use input::{FaceInput, InputStats};
pub use layers::{FaceExpressionLibrary, FaceExpressions, FaceIdle, FaceSpeech, IdleWhen, RefusedExpressions};
pub use lod::{LodGroup, LodSettings};
pub use mapping::{AvatarMapping, FaceMapping, FacePresets};
pub use model::FaceModel;
#[cfg(feature = "net")]
pub use performers::{FacePerformer, FacePerformers};
#[cfg(sockets)]
pub use phones::FacePhones;
#[cfg(feature = "net")]
pub use phones::{
    BeginRangeOfMotion, CaptureNeutral, ClearCalibration, EndRangeOfMotion, RecentreHead, SaveCalibration,
};
pub use playout::{FaceTimecode, PlayoutQuality};
pub use plugin::FaceLinkPlugin;
pub use pose::FacePose;
#[cfg(feature = "net")]
pub use rates::{AdaptiveFps, FpsLaw, RequestedFps, SubjectAdaptiveFps};
#[cfg(sockets)]
pub use recording::{FaceRecordError, FaceRecorder};
pub use report::{AvatarBound, BindReport};
#[cfg(feature = "net")]
pub use send::{SendFace, SendFaceState};
pub use session::{FaceSession, FaceSessionFile, OpenSession, SaveSession, SessionEntity};
pub use sets::FaceLinkSystems;
pub use settings::{FacePlayout, FaceSettings, PlayoutFilter, PlayoutMode};
#[cfg(feature = "net")]
pub use sources::{FaceDial, FaceSource, SourceQuality, SourceState};
pub use subjects::{FaceSubject, FaceSubjects, FaceTracked, FaceUntracked, LinkQuality, SubjectAppeared, SubjectLost};
#[cfg(feature = "takes")]
pub use takes::{FaceTake, TakeClock, TakeMark, TakePlayback, TakePlayer, TakeState};
pub use virtual_subject::{FacePart, VirtualSubject};

/// What most games need.
pub mod prelude {
    #[cfg(feature = "aria")]
    pub use crate::ARIA;
    #[cfg(sockets)]
    pub use crate::FaceRecorder;
    #[cfg(feature = "panel")]
    pub use crate::panel::FaceLinkPanelPlugin;
    pub use crate::{
        AvatarBound, AvatarMapping, BindReport, DrivenBy, FaceAvatar, FaceExpressions, FaceGesture, FaceGestures,
        FaceIdle, FaceInput, FaceLinkPlugin, FaceLinkSystems, FaceMapping, FaceModel, FacePlayout, FacePose,
        FaceSettings, FaceSpeech, FaceSubject, FaceSubjects, FaceTracked, FaceUntracked, LinkQuality, SubjectAppeared,
        SubjectLost, VirtualSubject,
    };
    #[cfg(feature = "net")]
    pub use crate::{EndpointCommandsExt, EndpointSettings, EndpointState, FaceLinkEndpoint, FaceSource, SendFace};
    #[cfg(feature = "takes")]
    pub use crate::{FaceTake, TakePlayback, TakePlayer};
    pub use facelink::{Blendshape, FaceFrame};
}
