//! Live faces as data: ARKit frames, wire formats, timing, mapping and layers, without sockets, threads, files, clocks or
//! an engine.
//!
//! This is the core of [FaceLink](https://github.com/facelink/facelink). It is for programs that receive, send, record or
//! convert faces and bring their own I/O. Two crates build on it: `facelink-net` has the sockets, `bevy_facelink` the
//! plugin for the Bevy engine. A game with Bevy starts there.
//!
//! # Data flow
//!
//! | Step | Module | In | Out |
//! |---|---|---|---|
//! | decode | [`wire`] | bytes of a message or datagram | [`FaceFrame`], or an error that names the field |
//! | merge | [`subject`], [`calibration`] | partial frames | a whole face, with the performer's rest pose removed |
//! | time | [`timing`] | frames with the source's timestamps | the face at a presentation time |
//! | add | [`layers`] | expressions, speech, idle movement | the face with them applied |
//! | map | [`mapping`] | 52 weights and further channels | weights of a rig's morph targets |
//!
//! Next to them: [`netcode`], a face in a game's own packets; [`gesture`], expressions that are recognised; [`connection`], both ends of a connection as a state machine; [`take`], recorded faces, as MCAP files among others; [`performer`], a
//! synthetic face for tests and demos; [`simulate`], the phone side of every supported app and an emulated network.
//!
//! Every function that depends on time takes `now` as an argument. Tests therefore run in virtual time.
//!
//! # Conventions
//!
//! - Weights: 0 is neutral, 1 the full shape. Values from [`MIN_WEIGHT`] (-1) to [`MAX_WEIGHT`] (2) are accepted, others
//!   are clamped to that range.
//! - Left and right are the performer's.
//! - Axes are ARKit's face axes, which are also glTF's: right-handed, +X to the face's left, +Y up, +Z out of the face.
//!   Yaw is positive to the performer's left, pitch positive up. Angles are radians, distances metres.
//! - [`FaceFrame`] has a fixed size; frames are read and evaluated without allocation once buffers have grown.
//!
//! # A frame
//!
//! A frame records which of the 52 shapes the source sent. A shape that was not sent is not the same as a shape at 0.
//!
//! ```
//! use facelink::{Blendshape, FaceFrame};
//!
//! let mut frame = FaceFrame::default();
//! frame.set(Blendshape::JawOpen, 0.5);
//! frame.set(Blendshape::MouthSmileLeft, 7.0);
//!
//! assert_eq!(frame.get(Blendshape::JawOpen), Some(0.5));
//! assert_eq!(frame.get(Blendshape::MouthSmileLeft), Some(facelink::MAX_WEIGHT));
//! assert_eq!(frame.get(Blendshape::EyeBlinkLeft), None, "not sent");
//!
//! // Names are read in any common spelling.
//! assert_eq!(Blendshape::from_any_name("eye_blink_L"), Some(Blendshape::EyeBlinkLeft));
//! ```
//!
//! # Decoding
//!
//! Decoders are plain structs: bytes in, a typed message or a typed error out. They keep what a connection needs from one
//! message to the next, such as names of channels, and nothing else.
//!
//! ```
//! use facelink::{Blendshape, wire::{json::Decoder, message::ClientMessage}};
//!
//! let mut decoder = Decoder::default();
//! let text = r#"{"type": "arkit_data", "subject": "Ann", "blendshapes": {"jawOpen": 0.5}}"#;
//! let Some(ClientMessage::Face(face)) = decoder.client(text)? else { panic!("a face") };
//! assert_eq!(face.subject.as_deref(), Some("Ann"));
//! assert_eq!(face.frame.get(Blendshape::JawOpen), Some(0.5));
//!
//! // A refused message changes nothing, and the error names the field.
//! let error = decoder.client(r#"{"type": "arkit_data", "blendshapes": {"jawOpen": "wide"}}"#).unwrap_err();
//! assert!(error.to_string().contains("jawOpen"), "{error}");
//! # Ok::<(), facelink::wire::json::JsonError>(())
//! ```
//!
//! The compact binary frame `facelink1` has a sequence number and a capture time, and can repeat earlier frames so that a
//! lost packet costs nothing:
//!
//! ```
//! use facelink::{Blendshape, FaceFrame, wire::facelink1::{Clock, Decoder, Encoder}};
//!
//! let mut encoder = Encoder::new();
//! encoder.set_redundancy(1);
//! let mut packet = Vec::new();
//! for weight in [0.2, 0.4] {
//!     let mut frame = FaceFrame::neutral();
//!     frame.set(Blendshape::JawOpen, weight);
//!     packet.clear();
//!     encoder.encode("", &frame, Clock::Own, &mut packet).expect("a finite face");
//! }
//!
//! let mut frames = Vec::new();
//! Decoder::new().decode(&packet, |face| frames.push((face.frame.sequence, face.repeated)))?;
//! assert_eq!(frames, [(Some(0), true), (Some(1), false)], "the second packet carries both frames");
//! # Ok::<(), facelink::wire::facelink1::Facelink1Error>(())
//! ```
//!
//! # Mapping
//!
//! A [`Mapping`](mapping::Mapping) is data: rules from channels to morph targets, read from RON or JSON. Presets for the
//! usual naming dialects are in [`mapping::PRESETS`]; [`mapping::detect`] finds the one that fits a rig best.
//!
//! ```
//! use facelink::{Blendshape, mapping::{self, Face, Mapping, Preset, Scratch}};
//!
//! let lookup = |id: &str| {
//!     let (_, text) = mapping::PRESETS.iter().find(|(name, _)| *name == id).ok_or("no such preset")?;
//!     text.parse::<Mapping>().map_err(|error| error.to_string())
//! };
//! let presets: Vec<Preset> = mapping::PRESETS
//!     .iter()
//!     .map(|(id, _)| {
//!         let mapping = lookup(id)?.resolve(lookup).map_err(|error| error.to_string())?;
//!         Ok(Preset { id: (*id).to_owned(), mapping })
//!     })
//!     .collect::<Result<_, String>>()?;
//!
//! // One list of morph target names for each mesh of the rig.
//! let rig = [vec!["Fcl_EYE_Close_L", "Fcl_EYE_Close_R", "Fcl_MTH_A"]];
//! let found = mapping::detect(&presets, &rig).expect("a dialect");
//! assert_eq!(presets[found.preset].id, "vroid");
//!
//! let mut weights = [0.0; 52];
//! weights[Blendshape::EyeBlinkLeft.index()] = 1.0;
//! let mut scratch = Scratch::default();
//! found.compiled.evaluate(&Face { weights: &weights, ..Face::default() }, &mut scratch);
//! let (target, weight) = found.compiled.mesh(0, &scratch).next().expect("a weight");
//! assert_eq!((target, weight), (0, 1.0));
//! # Ok::<(), String>(())
//! ```
//!
//! # Playout
//!
//! Frames arrive unevenly. [`SourceClock`](timing::SourceClock) maps the source's timestamps to the local clock;
//! [`Playout`](timing::Playout) is the jitter buffer that returns the face at a presentation time, interpolated, as little
//! behind as the network allows. The test below sends 60 frames a second with 0 or 20 ms of jitter and displays them at
//! 60 Hz, in virtual time:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use facelink::{Blendshape, performer::Performance, timing::{Playout, SourceClock}};
//!
//! let performance = Performance::new(7);
//! let start = Instant::now();
//! let (mut clock, mut playout) = (SourceClock::new(start), Playout::default());
//! let mut largest_step = 0.0_f32;
//! let mut last = None;
//! for number in 0..240_u32 {
//!     let captured = Duration::from_millis(16) * number;
//!     // Every third packet is late.
//!     let arrival = start + captured + Duration::from_millis(if number % 3 == 0 { 30 } else { 10 });
//!     let stamp = clock.record(Some(captured), arrival);
//!     playout.push(performance.frame_at(captured), None, &stamp, arrival, false);
//!
//!     let shown = playout.advance(start + captured + Duration::from_millis(31)).expect("a face");
//!     let jaw = shown.frame.weights[Blendshape::JawOpen.index()];
//!     if let Some(last) = last.replace(jaw) {
//!         largest_step = largest_step.max((jaw - last).abs());
//!     }
//! }
//! // No shape of the performance moves faster than 12 a second.
//! assert!(largest_step <= 12.0 * 0.016 * 1.1, "no visible jump: {largest_step}");
//! ```
//!
//! # Layers
//!
//! Expressions, speech and idle movement are applied over a live face. Time is the `dt` of each step.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use facelink::{Blendshape, FaceFrame, layers::{Expression, ExpressionMix}};
//!
//! let happy = Arc::new(Expression::from_name("happy").expect("a built-in expression"));
//! let mut mix = ExpressionMix::default();
//! mix.set(&happy, 1.0, Duration::from_millis(250))?;
//!
//! let mut smile = Vec::new();
//! for _ in 0..5 {
//!     mix.step(0.1);
//!     let mut frame = FaceFrame::neutral();
//!     mix.apply(&mut frame.weights);
//!     smile.push(frame.weights[Blendshape::MouthSmileLeft.index()]);
//! }
//! assert!(smile[0] > 0.0 && smile[0] < smile[4], "it fades in: {smile:?}");
//! assert_eq!(smile[3], smile[4], "and stays");
//! # Ok::<(), facelink::layers::ExpressionError>(())
//! ```
//!
//! # Errors and limits
//!
//! Input from outside never panics, and no length that a message states is allocated before it is checked. Every decoder
//! has a typed error that names the field; a message that is refused is refused whole.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod calibration;
pub mod connection;
pub mod event;
pub mod frame;
pub mod gesture;
pub mod groups;
pub mod layers;
pub mod ltc;
pub mod mapping;
pub mod media;
pub mod mesh;
pub mod model;
pub mod names;
pub mod netcode;
pub mod performer;
pub mod relay;
#[cfg(feature = "seal")]
pub mod seal;
pub mod session_file;
pub mod simulate;
pub mod source;
#[cfg(feature = "speech")]
pub mod speech;
pub mod subject;
pub mod take;
pub mod time;
pub mod timing;
pub mod voices;
pub mod vrchat;
pub mod wire;

pub use frame::{
    Channel, Channels, EYE_LOOK_RANGE, EyeGaze, FaceFrame, FrameError, Gaze, HeadPose, MAX_WEIGHT, MIN_WEIGHT,
};
pub use names::{BLENDSHAPE_COUNT, Blendshape};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
