//! Recorded faces: frames at times, to be played at any rate, edited, and handed on to other tools.
//!
//! A [`Take`] is the frames of one face, in memory. A recording of everything that an endpoint gives is a file in the
//! format MCAP: [`TakeWriter`] writes it, [`TakeReader`] opens it, and [`TakePlayer`] plays it as if it were live, bit for bit.
//!
//! ```
//! use std::{io::Cursor, time::{Duration, Instant}};
//! use facelink::{FaceFrame, event::{SubjectFrame, SubjectId}, source::SourceKind};
//! use facelink::take::{Played, TakeAbout, TakePlayer, TakeReader, TakeWriter};
//!
//! let start = Instant::now();
//! let mut writer = TakeWriter::new(Vec::new(), &TakeAbout::new("scene 7", 1, Duration::ZERO), start)?;
//! writer.frame(&SubjectFrame {
//!     id: SubjectId(1),
//!     name: "Ann".into(),
//!     source: SourceKind::Custom,
//!     frame: FaceFrame::neutral(),
//!     speech: None,
//!     received: start + Duration::from_millis(20),
//!     stamp: None,
//!     late: false,
//!     repeated: false,
//! })?;
//! let file = writer.finish(start + Duration::from_secs(1))?;
//!
//! let mut reader = TakeReader::open(Cursor::new(file))?;
//! let info = reader.info()?;
//! assert_eq!((info.about.slate.as_str(), info.complete, info.subjects[0].frames), ("scene 7", true, 1));
//!
//! // An hour later, by the clock of the player.
//! let now = start + Duration::from_secs(3600);
//! let mut player = TakePlayer::new(reader, now);
//! assert!(player.poll(now)?.is_none(), "nothing is due yet");
//! let due = player.next_at()?.expect("a frame");
//! assert_eq!(due - now, Duration::from_millis(20));
//! assert!(matches!(player.poll(due)?, Some(Played::Event(_))), "Ann appears");
//! assert!(matches!(player.poll(due)?, Some(Played::Frame(frame)) if frame.frame == FaceFrame::neutral()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod a2f;
mod dialect;
mod edit;
#[cfg(feature = "takes")]
mod file;
mod frames;
pub mod gltf;
pub mod gltf_animation;
pub mod import;
pub mod jsonl;
mod keys;
pub mod llf_csv;
mod rate;
mod rows;
pub mod usda;
pub mod vrma;

pub use edit::{AlignError, align};
#[cfg(feature = "takes")]
pub use file::{
    FLUSH_AFTER, FaceError, MAX_SUBJECTS, ObsRecording, PhoneRecording, Played, ProtoError, RecordedFrame,
    RecordedPacket, RecordedPicture, RecordedSound, RecordedSubject, SPEEDS, TakeAbout, TakeAttachment, TakeContent,
    TakeEntry, TakeInfo, TakeLane, TakePart, TakePlayer, TakeReadError, TakeReader, TakeTimeline, TakeWriteError,
    TakeWriter,
};
pub use frames::{LONGEST_STEP, Take, TakeError, TakeFrame};
pub use keys::{Curves, Keys, MAX_KEY_ERROR};
pub use rate::{FrameRate, FrameRateError};
