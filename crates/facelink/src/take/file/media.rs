//! A performer's picture and sound: Foxglove's messages `CompressedVideo` and `CompressedAudio`.

use std::{sync::Arc, time::Duration};

use super::{
    face::FaceError,
    proto::{self, Fields},
};
use crate::media::PictureCodec;

/// A frame of a performer's picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPicture {
    /// Whose it is: the name of the face.
    pub subject: Arc<str>,
    /// How it is encoded.
    pub codec: PictureCodec,
    /// The whole frame.
    pub data: Vec<u8>,
    /// Unix time of its capture by the source's clock, where that is known.
    pub time: Option<Duration>,
}

/// A packet of a performer's sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSound {
    /// Whose it is: the name of the face.
    pub subject: Arc<str>,
    /// The packet, which is Opus (RFC 6716).
    pub data: Vec<u8>,
    /// Unix time of its first sample by the source's clock, where that is known.
    pub time: Option<Duration>,
}

fn timestamp(out: &mut Vec<u8>, time: Duration) {
    proto::message(out, 1, |out| {
        proto::uint(out, 1, time.as_secs());
        proto::uint(out, 2, u64::from(time.subsec_nanos()));
    });
}

/// `arrived` stands for the time of the source's clock before that is known.
pub(super) fn picture(out: &mut Vec<u8>, picture: &RecordedPicture, arrived: Duration) {
    timestamp(out, picture.time.unwrap_or(arrived));
    proto::text(out, 2, &picture.subject);
    proto::bytes(out, 3, &picture.data);
    proto::text(out, 4, picture.codec.as_str());
}

pub(super) fn sound(out: &mut Vec<u8>, sound: &RecordedSound, arrived: Duration) {
    timestamp(out, sound.time.unwrap_or(arrived));
    proto::bytes(out, 2, &sound.data);
    proto::text(out, 3, "opus");
}

fn time(data: &[u8]) -> Result<Duration, FaceError> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields(data) {
        match field? {
            (1, value) => seconds = value.uint().ok_or(FaceError::Field("seconds"))?,
            (2, value) => nanos = value.uint().ok_or(FaceError::Field("nanos"))?,
            _ => {}
        }
    }
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    Ok(Duration::new(seconds, nanos.ok_or(FaceError::Field("nanos"))?))
}

/// What both messages have.
#[derive(Default)]
struct Read {
    time: Duration,
    data: Vec<u8>,
    format: String,
}

/// Reads a message whose data and format are the fields of these numbers.
fn read(message: &[u8], [data, format]: [u32; 2]) -> Result<Read, FaceError> {
    let mut read = Read::default();
    for field in Fields(message) {
        let (number, value) = field?;
        if number == 1 {
            read.time = time(value.bytes().ok_or(FaceError::Field("timestamp"))?)?;
        } else if number == data {
            read.data = value.bytes().ok_or(FaceError::Field("data"))?.to_vec();
        } else if number == format {
            read.format = value.text().ok_or(FaceError::Field("format"))?.to_owned();
        }
    }
    Ok(read)
}

pub(super) fn read_picture(message: &[u8], subject: Arc<str>) -> Result<RecordedPicture, FaceError> {
    let Read { time, data, format } = read(message, [3, 4])?;
    let codec = PictureCodec::from_name(&format).ok_or(FaceError::Field("format"))?;
    Ok(RecordedPicture { subject, codec, data, time: Some(time) })
}

pub(super) fn read_sound(message: &[u8], subject: Arc<str>) -> Result<RecordedSound, FaceError> {
    let Read { time, data, format } = read(message, [2, 3])?;
    if format != "opus" {
        return Err(FaceError::Field("format"));
    }
    Ok(RecordedSound { subject, data, time: Some(time) })
}
