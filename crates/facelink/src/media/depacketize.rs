//! Payloads of RTP packets: which part of a frame each has.

use std::borrow::Cow;

use super::codec::{MediaError, PictureCodec};

const START_CODE: &[u8] = &[0, 0, 0, 1];
const IDR: u8 = 5;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// What a packet adds to its frame.
#[derive(Debug, Default)]
pub(super) struct Part<'a> {
    /// The frame can be decoded alone.
    pub key: bool,
    pub pieces: Vec<Cow<'a, [u8]>>,
}

#[derive(Debug)]
pub(super) struct Depacketizer {
    codec: PictureCodec,
    /// Within a NAL unit in several packets.
    in_unit: bool,
}

impl Depacketizer {
    pub fn new(codec: PictureCodec) -> Self {
        Self { codec, in_unit: false }
    }

    /// What was begun is incomplete.
    pub fn reset(&mut self) {
        self.in_unit = false;
    }

    pub fn part<'a>(&mut self, payload: &'a [u8]) -> Result<Part<'a>, MediaError> {
        match self.codec {
            PictureCodec::H264 => self.h264(payload),
            PictureCodec::Vp9 => vp9(payload),
        }
    }

    /// RFC 6184, 5.6 to 5.8, in the non-interleaved mode.
    fn h264<'a>(&mut self, payload: &'a [u8]) -> Result<Part<'a>, MediaError> {
        let (&header, rest) = payload.split_first().ok_or(MediaError::Truncated("nal_unit_type"))?;
        let mut part = Part::default();
        match header & 0x1f {
            kind @ 1..=23 => {
                part.key = kind == IDR;
                part.pieces = vec![START_CODE.into(), payload.into()];
            }
            STAP_A => {
                let mut rest = rest;
                while !rest.is_empty() {
                    let (size, behind) = rest.split_first_chunk::<2>().ok_or(MediaError::Truncated("size"))?;
                    let size = usize::from(u16::from_be_bytes(*size));
                    let (unit, behind) = behind.split_at_checked(size).ok_or(MediaError::Truncated("size"))?;
                    rest = behind;
                    if let Some(&header) = unit.first() {
                        part.key |= header & 0x1f == IDR;
                        part.pieces.extend([START_CODE.into(), unit.into()]);
                    }
                }
            }
            FU_A => {
                let (&fragment, data) = rest.split_first().ok_or(MediaError::Truncated("fu_header"))?;
                let kind = fragment & 0x1f;
                if fragment & 0x80 != 0 {
                    self.in_unit = true;
                    part.key = kind == IDR;
                    part.pieces = vec![START_CODE.into(), Cow::Owned(vec![header & 0xe0 | kind])];
                } else if !self.in_unit {
                    return Err(MediaError::Truncated("fu_header"));
                }
                part.pieces.push(data.into());
                self.in_unit &= fragment & 0x40 == 0;
            }
            kind => return Err(MediaError::Kind(kind)),
        }
        Ok(part)
    }
}

/// Whether no other frame refers to that of this packet: `nal_ref_idc` is 0 of a slice.
pub(super) fn h264_is_disposable(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x60 == 0 && matches!(header & 0x1f, 1..=IDR | FU_A))
}

/// What stands before a part of a frame (RFC 9628, 4.2).
struct Vp9Descriptor<'a> {
    key: bool,
    layer: u8,
    data: &'a [u8],
}

fn vp9_descriptor(payload: &[u8]) -> Result<Vp9Descriptor<'_>, MediaError> {
    let mut rest = payload;
    let mut byte = |field| {
        let (&first, behind) = rest.split_first().ok_or(MediaError::Truncated(field))?;
        rest = behind;
        Ok(first)
    };
    let flags = byte("flags")?;
    let has = |bit: u8| flags & bit != 0;
    let (predicted, flexible) = (has(0x40), has(0x10));
    if has(0x80) && byte("picture_id")? & 0x80 != 0 {
        byte("picture_id")?;
    }
    let mut layers = 0;
    if has(0x20) {
        layers = byte("tid")?;
        if !flexible {
            byte("tl0picidx")?;
        }
    }
    if flexible && predicted {
        // At most three references.
        for _ in 0..3 {
            if byte("p_diff")? & 1 == 0 {
                break;
            }
        }
    }
    if has(0x02) {
        let structure = byte("ss")?;
        if structure & 0x10 != 0 {
            for _ in 0..4 * (usize::from(structure >> 5) + 1) {
                byte("ss.size")?;
            }
        }
        if structure & 0x08 != 0 {
            for _ in 0..byte("ss.n_g")? {
                for _ in 0..(byte("ss.picture")? >> 2) & 3 {
                    byte("ss.p_diff")?;
                }
            }
        }
    }
    let spatial = layers >> 1 & 7;
    Ok(Vp9Descriptor { key: !predicted && has(0x08) && spatial == 0, layer: layers >> 5, data: rest })
}

fn vp9(payload: &[u8]) -> Result<Part<'_>, MediaError> {
    let Vp9Descriptor { key, data, .. } = vp9_descriptor(payload)?;
    Ok(Part { key, pieces: vec![data.into()] })
}

/// The temporal layer, 0 where there is only one.
pub(super) fn vp9_layer(payload: &[u8]) -> u8 {
    vp9_descriptor(payload).map_or(0, |descriptor| descriptor.layer)
}
