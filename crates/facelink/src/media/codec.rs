//! Codecs, and why a packet is of no use.

/// Largest frame of a picture, bytes: a key frame of 1080p has some hundred thousand.
pub const MAX_PICTURE: usize = 2 << 20;

/// How a picture is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PictureCodec {
    /// H.264, as Annex B: start codes before each NAL unit, parameter sets before each key frame.
    H264,
    /// VP9, a frame as it is.
    Vp9,
}

impl PictureCodec {
    /// Every one, the preferred first.
    pub const ALL: [Self; 2] = [Self::H264, Self::Vp9];

    /// `h264` or `vp9`, as Foxglove's `CompressedVideo` names them.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::H264 => "h264",
            Self::Vp9 => "vp9",
        }
    }

    /// The one of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.as_str() == name)
    }
}

/// Why a packet is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// It ends within its header.
    #[error("field `{0}`: the packet ends within it")]
    Truncated(&'static str),
    /// A kind of packet that this codec has, and that no peer was told to send.
    #[error("field `nal_unit_type`: {0} is not read here")]
    Kind(u8),
    /// The frame would be larger than [`MAX_PICTURE`].
    #[error("the frame has more than {MAX_PICTURE} bytes")]
    TooLarge,
}
