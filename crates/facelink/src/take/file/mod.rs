//! Recordings of everything that an endpoint gives, as files in the format MCAP.

mod face;
mod log;
mod media;
mod packet;
mod play;
mod proto;
mod read;
mod records;
mod schema;
mod subject_stats;
mod timeline;
mod write;

pub use face::{FaceError, RecordedFrame};
pub use log::{ObsRecording, PhoneRecording};
pub use media::{RecordedPicture, RecordedSound};
pub use packet::RecordedPacket;
pub use play::{Played, SPEEDS, TakePlayer};
pub use proto::ProtoError;
pub use read::{TakeAttachment, TakeContent, TakeEntry, TakeInfo, TakeReadError, TakeReader};
pub use subject_stats::RecordedSubject;
pub use timeline::{TakeLane, TakePart, TakeTimeline};
pub use write::{FLUSH_AFTER, MAX_SUBJECTS, TakeAbout, TakeWriteError, TakeWriter};
