//! A performer's picture and sound next to the face: RTP packets to whole frames, and their times by the source's clock.
//!
//! Nothing is decoded: what is recorded and passed on is what the sender has encoded. Pictures are H.264 (RFC 6184) or VP9
//! (RFC 9628), sound is Opus (RFC 7587), of which each packet is whole.

mod assembler;
mod clock;
mod codec;
mod depacketize;

pub use assembler::{PictureAssembler, PictureFrame};
pub use clock::MediaClock;
pub use codec::{MAX_PICTURE, MediaError, PictureCodec};

/// Clock of the RTP timestamps of pictures, Hz (RFC 6184, 8.2.1; RFC 9628, 7).
pub const PICTURE_CLOCK: u32 = 90_000;
/// Clock of the RTP timestamps of Opus, Hz, whatever rate it is encoded at (RFC 7587, 4.1).
pub const SOUND_CLOCK: u32 = 48_000;
