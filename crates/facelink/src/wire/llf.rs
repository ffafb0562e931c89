//! Epic's Live Link Face app in its *Live Link (ARKit)* mode: one UDP datagram a frame, packet version 6.
//!
//! # Bytes
//! Everything is big-endian and unpadded.
//!
//! | field | type |
//! |---|---|
//! | packet version | `u8`, always 6 |
//! | device id | `u32` length, then that many bytes of UTF-8 |
//! | subject name | `u32` length, then that many bytes of UTF-8 |
//! | frame number | `i32`, counted since midnight at the frame rate |
//! | sub-frame | `f32`, `0.0..1.0` |
//! | frame rate | `i32` numerator, `i32` denominator |
//! | curve count | `u8`, 61; *only while the app sees a face* |
//! | curves | `f32` each, in the order of [`curve_name`]; *only while the app sees a face* |
//!
//! A datagram that ends after the frame rate means that the app has lost the face.
//!
//! # Values
//! The 52 shapes are weights, nominally `0..=1`. The nine head and eye curves are radians. For the head, positive yaw
//! turns to the performer's left and positive pitch looks up; for the eyes, positive yaw looks to the performer's
//! *right* and positive pitch looks *down*. The head's rotation is `Rz(roll) · Ry(yaw) · Rx(-pitch)` in the axes of
//! [`HeadPose`](crate::HeadPose). The eyes' roll is an artefact of the decomposition rather than torsion, so it is ignored.
//!
//! The app exchanges `mouthLeft` and `mouthRight` on the wire (and only those two); [`PROFILE`] puts them right. Programs that
//! imitate the app do not; [`AuthorDetector`] distinguishes them.
//! "Stream Head Rotation" is a switch in the app: while it is off, all three head curves are exactly 0, and the frame
//! has no head. Other senders leave the six eye curves at exactly 0 likewise, and the frame then has no gaze.
//!
//! Sources are listed in `docs/sources/live-link-face.md`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::profile::{ANGLE_LIMIT, AxisFlip, EulerOrder, RotationProfile, SourceFace, SourceProfile, SourceRotation};
use crate::{
    frame::FaceFrame,
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// The packet version that is understood, and the only one that the app sends today.
pub const VERSION: u8 = 6;
/// Number of curves in a packet: 52 shapes, three head and six eye angles.
pub const CURVE_COUNT: usize = 61;
/// Longest device id and longest subject name, in bytes; the same bound as Unreal Engine's.
pub const MAX_TEXT_LEN: usize = 256;
/// Largest datagram that [`encode`] writes.
pub const MAX_DATAGRAM_LEN: usize = 1 + 2 * (4 + MAX_TEXT_LEN) + 16 + 1 + 4 * CURVE_COUNT;

/// A weight further from zero than this cannot be a weight: the datagram is something else.
const WEIGHT_LIMIT: f32 = 10.0;
/// Frame rate that is assumed when the sender's makes no sense.
const DEFAULT_RATE: (u32, u32) = (60, 1);

/// Names of the curves that follow the 52 shapes.
const ANGLE_NAMES: [&str; CURVE_COUNT - BLENDSHAPE_COUNT] = [
    "headYaw",
    "headPitch",
    "headRoll",
    "leftEyeYaw",
    "leftEyePitch",
    "leftEyeRoll",
    "rightEyeYaw",
    "rightEyePitch",
    "rightEyeRoll",
];

/// The name of a curve by its place on the wire, `0..61`: the 52 shapes in [`Blendshape`] order, then `headYaw`,
/// `headPitch`, `headRoll`, `leftEyeYaw`, `leftEyePitch`, `leftEyeRoll`, `rightEyeYaw`, `rightEyePitch` and
/// `rightEyeRoll`.
pub fn curve_name(index: usize) -> Option<&'static str> {
    match Blendshape::from_index(index) {
        Some(shape) => Some(shape.name()),
        None => ANGLE_NAMES.get(index.checked_sub(BLENDSHAPE_COUNT)?).copied(),
    }
}

/// Why a datagram was refused, or a packet could not be written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LlfError {
    /// The first byte is no version that is understood.
    #[error("packet version is {found}, only {VERSION} is understood")]
    Version {
        /// The byte that was there.
        found: u8,
    },
    /// The datagram ends inside a field.
    #[error("{field}: the datagram ends after {available} of {needed} bytes")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that were left.
        available: usize,
    },
    /// A text is longer than [`MAX_TEXT_LEN`].
    #[error("{field} is {len} bytes long, at most {MAX_TEXT_LEN} are allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length as stated.
        len: u64,
    },
    /// A text is no UTF-8.
    #[error("{field} is no UTF-8")]
    Utf8 {
        /// The field.
        field: &'static str,
    },
    /// A text holds a control character.
    #[error("{field} holds a control character")]
    ControlCharacter {
        /// The field.
        field: &'static str,
    },
    /// The number of curves is neither 0 nor at least 52.
    #[error("curve count is {found}, expected {CURVE_COUNT}")]
    CurveCount {
        /// The count that was there.
        found: u8,
    },
    /// A number is not finite, or out of the range of its field.
    #[error("{field} is {value}, which is out of range")]
    Value {
        /// The field; for curves as in [`curve_name`].
        field: &'static str,
        /// The value received.
        value: f32,
    },
}

/// The conventions of the app, on a phone held upright. In landscape it is known to have yaw and pitch of the head
/// inverted: see [`SourceProfile::landscape`].
pub const PROFILE: SourceProfile = SourceProfile { swap_mouth_left_right: true, ..PLAIN_PROFILE };

/// The same, where `mouthLeft` and `mouthRight` mean what their names say.
pub const PLAIN_PROFILE: SourceProfile = SourceProfile {
    head: RotationProfile { order: EulerOrder::Zyx, ..RotationProfile::DEFAULT },
    eyes: RotationProfile {
        flip: AxisFlip { yaw: true, pitch: true, roll: false },
        order: EulerOrder::Zyx,
        ..RotationProfile::DEFAULT
    },
    ..SourceProfile::PLAIN
};

/// One packet.
#[derive(Clone, Debug, PartialEq)]
pub struct LlfPacket<'a, F = FaceFrame> {
    /// The sender's device id; the app sends an upper-case UUID.
    pub device_id: &'a str,
    /// The subject's name as set in the app.
    pub subject: &'a str,
    /// Frames since midnight at [`rate`](Self::rate); it advances by 60 a second even when the app sends 30.
    pub frame_number: i32,
    /// Part of a frame in addition to [`frame_number`](Self::frame_number), `0.0..1.0`.
    pub sub_frame: f32,
    /// Frames a second as numerator and denominator, as sent. Either may be 0: see [`time_of_day`](Self::time_of_day).
    pub rate: (i32, i32),
    /// The face. While the app has lost it: not tracked, and no shape given.
    pub frame: F,
}

impl<'a, F> LlfPacket<'a, F> {
    /// A packet at 60 frames a second.
    pub fn new(device_id: &'a str, subject: &'a str, frame_number: i32, frame: F) -> Self {
        Self { device_id, subject, frame_number, sub_frame: 0.0, rate: (60, 1), frame }
    }

    /// When the frame was captured, on the sender's clock: time since midnight. It wraps at midnight.
    ///
    /// `None` before midnight (a negative frame number). A rate that makes no sense counts as 60: some senders state a
    /// denominator of 0.
    pub fn time_of_day(&self) -> Option<Duration> {
        let frames = f64::from(u32::try_from(self.frame_number).ok()?);
        let (numerator, denominator) = sane_rate(self.rate);
        let frames = frames + f64::from(self.sub_frame.clamp(0.0, 1.0));
        Duration::try_from_secs_f64(frames * f64::from(denominator) / f64::from(numerator)).ok()
    }
}

/// The rate as sent if it lies between 1 and 1000 frames a second, with a denominator of 0 read as 1; else 60.
fn sane_rate((numerator, denominator): (i32, i32)) -> (u32, u32) {
    let (Ok(numerator), Ok(denominator)) = (u32::try_from(numerator), u32::try_from(denominator)) else {
        return DEFAULT_RATE;
    };
    let denominator = denominator.max(1);
    if numerator < denominator || u64::from(numerator) > 1000 * u64::from(denominator) {
        return DEFAULT_RATE;
    }
    (numerator, denominator)
}

/// Decodes one datagram. Bytes after the last curve are ignored.
///
/// Weights are clamped to [`MIN_WEIGHT`](crate::MIN_WEIGHT)`..=`[`MAX_WEIGHT`](crate::MAX_WEIGHT); the frame's sequence
/// is the frame number, and its capture time is [`LlfPacket::time_of_day`].
///
/// # Errors
/// [`LlfError`] names the field. Nothing of a refused datagram is kept.
pub fn decode<'a>(datagram: &'a [u8], profile: &SourceProfile) -> Result<LlfPacket<'a>, LlfError> {
    let LlfPacket { device_id, subject, frame_number, sub_frame, rate, frame } = decode_source(datagram)?;
    Ok(LlfPacket { device_id, subject, frame_number, sub_frame, rate, frame: profile.apply(frame) })
}

/// Decodes one datagram to numbers as they were sent, for a profile that depends on the sender.
///
/// # Errors
/// As [`decode`].
pub fn decode_source(datagram: &[u8]) -> Result<LlfPacket<'_, SourceFace>, LlfError> {
    let mut reader = Reader { rest: datagram };
    let version = reader.u8("packet version")?;
    if version != VERSION {
        return Err(LlfError::Version { found: version });
    }
    let device_id = reader.text("device id")?;
    let subject = reader.text("subject name")?;
    let frame_number = reader.i32("frame number")?;
    let sub_frame = reader.f32("sub-frame")?;
    if !sub_frame.is_finite() {
        return Err(LlfError::Value { field: "sub-frame", value: sub_frame });
    }
    let rate = (reader.i32("frame rate numerator")?, reader.i32("frame rate denominator")?);
    let frame = match reader.curves()? {
        Some(curves) => source_from_curves(&curves),
        None => SourceFace { frame: FaceFrame { tracked: false, ..FaceFrame::default() }, ..SourceFace::default() },
    };
    let mut packet = LlfPacket { device_id, subject, frame_number, sub_frame, rate, frame };
    packet.frame.frame.sequence = u64::try_from(frame_number).ok();
    packet.frame.frame.capture_time = packet.time_of_day();
    Ok(packet)
}

/// Appends a packet to `out`, by the same conventions as [`decode`]: what is encoded with a profile decodes to the same
/// frame with it.
///
/// A frame that is not tracked is written as the app does when it has lost the face, whatever else it holds. Shapes that
/// are not given are written as 0; channels besides the 52 shapes, the head's position and the frame's own sequence and
/// capture time have no place in the format.
///
/// # Errors
/// [`LlfError::TooLong`] when a text exceeds [`MAX_TEXT_LEN`], [`LlfError::ControlCharacter`] when it holds one,
/// [`LlfError::Value`] when a number is not finite; `out` is
/// then unchanged.
pub fn encode(packet: &LlfPacket<'_>, profile: &SourceProfile, out: &mut Vec<u8>) -> Result<(), LlfError> {
    for (field, text) in [("device id", packet.device_id), ("subject name", packet.subject)] {
        if text.chars().any(char::is_control) {
            return Err(LlfError::ControlCharacter { field });
        }
        if text.len() > MAX_TEXT_LEN {
            return Err(LlfError::TooLong { field, len: text.len() as u64 });
        }
    }
    if !packet.sub_frame.is_finite() {
        return Err(LlfError::Value { field: "sub-frame", value: packet.sub_frame });
    }
    let curves = packet.frame.tracked.then(|| curves_from_frame(&packet.frame, profile));
    if let Some(curves) = &curves {
        check_curves(curves)?;
    }
    out.push(VERSION);
    for text in [packet.device_id, packet.subject] {
        // Bounded by `MAX_TEXT_LEN` above.
        out.extend_from_slice(&(text.len() as u32).to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(&packet.frame_number.to_be_bytes());
    out.extend_from_slice(&packet.sub_frame.to_be_bytes());
    out.extend_from_slice(&packet.rate.0.to_be_bytes());
    out.extend_from_slice(&packet.rate.1.to_be_bytes());
    if let Some(curves) = curves {
        out.push(CURVE_COUNT as u8);
        for curve in curves {
            out.extend_from_slice(&curve.to_be_bytes());
        }
    }
    Ok(())
}

/// Steps of the sub-frame in a row that are the same in no packets of the app; two are, at most.
const EVEN_STEPS: u32 = 8;
/// Steps that differ by no more than this are the same: rounding of a number below 1.
const SAME_STEP: f32 = 2e-6;
/// The sub-frame of PyLiveLinkFace and of what is built on it, as bits.
const PY_SUB_FRAME: u32 = 1_056_060_032;

/// Who writes the packets of one sender: the app, or a program that imitates it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Author {
    /// The app, as far as is known.
    #[default]
    App,
    /// Perhaps another program: the sub-frame stays at a round number, such as 0.
    Unclear,
    /// Another program.
    Imitation,
}

/// Distinguishes the app from programs that imitate it, for one sender.
///
/// The app measures the sub-frame, which therefore advances a little differently with every frame; programs leave it alone,
/// or compute it. And the app's device id is in upper case.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuthorDetector {
    last: Option<(i32, f32)>,
    step: f32,
    even: u32,
    author: Author,
}

impl AuthorDetector {
    /// Looks at a packet; whose it is, as far as is known now.
    pub fn observe<F>(&mut self, packet: &LlfPacket<'_, F>) -> Author {
        let (number, sub_frame) = (packet.frame_number, packet.sub_frame);
        if self.author == Author::Imitation || self.last.is_some_and(|(last, _)| last == number) {
            return self.author;
        }
        if let Some((_, last)) = self.last {
            let step = (sub_frame - last).rem_euclid(1.0);
            self.even = if (step - self.step).abs() <= SAME_STEP { self.even + 1 } else { 0 };
            self.step = step;
        }
        self.last = Some((number, sub_frame));
        let is_round = sub_frame.to_bits().trailing_zeros() >= 15;
        self.author = match self.even >= EVEN_STEPS {
            _ if sub_frame.to_bits() == PY_SUB_FRAME || is_lower_case_uuid(packet.device_id) => Author::Imitation,
            true if self.step <= SAME_STEP && is_round => Author::Unclear,
            true => Author::Imitation,
            false => Author::App,
        };
        self.author
    }
}

fn is_lower_case_uuid(id: &str) -> bool {
    let is_uuid = id.len() == 36
        && id.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid && id.bytes().any(|byte| byte.is_ascii_lowercase())
}

/// Reads a datagram from its front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], LlfError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(needed) else {
            return Err(LlfError::Truncated { field, needed, available: self.rest.len() });
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], LlfError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(LlfError::Truncated { field, needed: N, available: self.rest.len() });
        };
        self.rest = rest;
        Ok(*bytes)
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, LlfError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    fn i32(&mut self, field: &'static str) -> Result<i32, LlfError> {
        self.array(field).map(i32::from_be_bytes)
    }

    fn f32(&mut self, field: &'static str) -> Result<f32, LlfError> {
        self.array(field).map(f32::from_be_bytes)
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, LlfError> {
        let len = u32::from_be_bytes(self.array(field)?);
        match usize::try_from(len) {
            Ok(len) if len <= MAX_TEXT_LEN => {
                let text = std::str::from_utf8(self.bytes(field, len)?).map_err(|_| LlfError::Utf8 { field })?;
                // Zeros and line ends around it are no part of a name.
                let text = text.trim_matches(char::is_control);
                if text.chars().any(char::is_control) { Err(LlfError::ControlCharacter { field }) } else { Ok(text) }
            }
            _ => Err(LlfError::TooLong { field, len: len.into() }),
        }
    }

    /// The curves, or `None` when the face is lost. Senders without head and eyes may stop after the shapes; what they
    /// do not send stays 0.
    fn curves(&mut self) -> Result<Option<[f32; CURVE_COUNT]>, LlfError> {
        let Ok(count) = self.u8("curve count") else {
            return Ok(None);
        };
        if count == 0 {
            return Ok(None);
        }
        if usize::from(count) < BLENDSHAPE_COUNT {
            return Err(LlfError::CurveCount { found: count });
        }
        let bytes = self.bytes("curves", 4 * usize::from(count))?;
        let mut curves = [0.0; CURVE_COUNT];
        for (curve, bytes) in curves.iter_mut().zip(bytes.as_chunks::<4>().0) {
            *curve = f32::from_be_bytes(*bytes);
        }
        check_curves(&curves)?;
        Ok(Some(curves))
    }
}

/// Refuses what can be no face: the datagram was misread or is something else.
pub(crate) fn check_curves(curves: &[f32; CURVE_COUNT]) -> Result<(), LlfError> {
    for (index, &value) in curves.iter().enumerate() {
        let limit = if index < BLENDSHAPE_COUNT { WEIGHT_LIMIT } else { ANGLE_LIMIT };
        if value.is_nan() || value.abs() > limit {
            return Err(LlfError::Value { field: curve_name(index).unwrap_or("curve"), value });
        }
    }
    Ok(())
}

/// What 61 finite curves mean: the one place that defines where the angles are, shared with [`float32`](super::float32).
pub(crate) fn frame_from_curves(curves: &[f32; CURVE_COUNT], profile: &SourceProfile) -> FaceFrame {
    profile.apply(source_from_curves(curves))
}

fn source_from_curves(curves: &[f32; CURVE_COUNT]) -> SourceFace {
    let mut frame = FaceFrame::default();
    for (shape, &weight) in Blendshape::ALL.into_iter().zip(curves) {
        frame.set(shape, weight);
    }
    let angles = |first: usize| {
        // Yaw, pitch and roll on the wire.
        let [yaw, pitch, roll] = [curves[first], curves[first + 1], curves[first + 2]];
        SourceRotation::Angles([pitch, yaw, roll])
    };
    let given = |first: usize, last: usize| curves[first..last].iter().any(|curve| *curve != 0.0);
    let (head, left, right) = (BLENDSHAPE_COUNT, BLENDSHAPE_COUNT + 3, BLENDSHAPE_COUNT + 6);
    SourceFace {
        frame,
        head: given(head, left).then(|| angles(head)),
        position: None,
        eyes: given(left, CURVE_COUNT).then(|| [angles(left), angles(right)]),
    }
}

/// The inverse of [`frame_from_curves`]. Shapes that are not given, and a head or gaze that is not known, are 0.
pub(crate) fn curves_from_frame(frame: &FaceFrame, profile: &SourceProfile) -> [f32; CURVE_COUNT] {
    let source = profile.unapply(frame);
    let mut curves = [0.0; CURVE_COUNT];
    for (curve, shape) in curves.iter_mut().zip(Blendshape::ALL) {
        *curve = source.frame.get(shape).unwrap_or(0.0);
    }
    let [left, right] = source.eyes.map_or([None; 2], |eyes| eyes.map(Some));
    for (place, rotation) in [source.head, left, right].into_iter().enumerate() {
        if let Some(SourceRotation::Angles([pitch, yaw, roll])) = rotation {
            let first = BLENDSHAPE_COUNT + 3 * place;
            curves[first..first + 3].copy_from_slice(&[yaw, pitch, roll]);
        }
    }
    curves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        wire::profile::rotation_from_euler,
    };
    use proptest::prelude::*;

    /// A packet whose curve `i` is `i / 64`, and one without a face, as other implementations write them.
    const FULL: &str = concat!(
        "060000002430303030303030302d303030302d303030302d303030302d3030303030303030303030310000000954657374",
        "50686f6e650010b89b3e8000000000003c000000013d",
    );
    const NO_FACE: &str = concat!(
        "060000002430303030303030302d303030302d303030302d303030302d3030303030303030303030310000000954657374",
        "50686f6e650010b89c3f0000000000003c00000001",
    );

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn full() -> Vec<u8> {
        let mut bytes = hex(FULL);
        for index in 0..CURVE_COUNT {
            bytes.extend_from_slice(&(index as f32 / 64.0).to_be_bytes());
        }
        bytes
    }

    fn with_curve(index: usize, value: f32) -> Vec<u8> {
        let mut bytes = full();
        let at = hex(FULL).len() + 4 * index;
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        bytes
    }

    #[test]
    fn llf_full_packet_is_read() {
        let bytes = full();
        assert_eq!(bytes.len(), 306 + "TestPhone".len());
        let packet = decode(&bytes, &PROFILE).unwrap();
        assert_eq!(packet.device_id, "00000000-0000-0000-0000-000000000001");
        assert_eq!(packet.subject, "TestPhone");
        assert_eq!(packet.frame_number, 1_095_835);
        assert_eq!(packet.sub_frame, 0.25);
        assert_eq!(packet.rate, (60, 1));
        let frame = &packet.frame;
        assert!(frame.tracked && frame.is_complete());
        assert_eq!(frame.sequence, Some(1_095_835));
        let time = frame.capture_time.unwrap().as_secs_f64();
        assert!((time - 1_095_835.25 / 60.0).abs() < 1e-6);
        assert_eq!(frame.get(Blendshape::JawOpen), Some(17.0 / 64.0));
        assert_eq!(frame.get(Blendshape::TongueOut), Some(51.0 / 64.0));
        assert_eq!(frame.get(Blendshape::MouthLeft), Some(22.0 / 64.0), "exchanged on the wire");
        assert_eq!(frame.get(Blendshape::MouthRight), Some(21.0 / 64.0), "exchanged on the wire");
        assert_eq!(frame.get(Blendshape::JawLeft), Some(15.0 / 64.0), "the jaw is not");
        let gaze = frame.gaze.unwrap();
        assert_eq!(gaze.left, EyeGaze { yaw: -55.0 / 64.0, pitch: -56.0 / 64.0 });
        assert_eq!(gaze.right, EyeGaze { yaw: -58.0 / 64.0, pitch: -59.0 / 64.0 });

        let plain = decode(&bytes, &PLAIN_PROFILE).unwrap();
        assert_eq!(plain.frame.get(Blendshape::MouthLeft), Some(21.0 / 64.0));
    }

    #[test]
    fn llf_written_bytes_match_app() {
        let mut frame = decode(&full(), &PLAIN_PROFILE).unwrap().frame;
        let mut packet = LlfPacket::new("00000000-0000-0000-0000-000000000001", "TestPhone", 1_095_835, frame.clone());
        packet.sub_frame = 0.25;
        let mut out = Vec::new();
        encode(&packet, &PLAIN_PROFILE, &mut out).unwrap();
        // The eyes' roll is not kept, and the head's angles go through a quaternion: the rest is exact.
        let head = hex(FULL).len() + 4 * BLENDSHAPE_COUNT;
        assert_eq!(out[..head], full()[..head]);
        assert_eq!(out.len(), full().len());
        for index in [52, 53, 54] {
            let at = hex(FULL).len() + 4 * index;
            let value = f32::from_be_bytes(out[at..at + 4].try_into().unwrap());
            assert!((value - index as f32 / 64.0).abs() < 1e-5, "{}: {value}", curve_name(index).unwrap());
        }
        for index in [55, 56, 58, 59] {
            let at = hex(FULL).len() + 4 * index;
            assert_eq!(out[at..at + 4], full()[at..at + 4], "{}", curve_name(index).unwrap());
        }

        frame.tracked = false;
        let mut packet = LlfPacket::new("00000000-0000-0000-0000-000000000001", "TestPhone", 1_095_836, frame);
        packet.sub_frame = 0.5;
        out.clear();
        encode(&packet, &PROFILE, &mut out).unwrap();
        assert_eq!(out, hex(NO_FACE));
    }

    #[test]
    fn llf_short_packet_is_lost_face() {
        let bytes = hex(NO_FACE);
        assert_eq!(bytes.len(), 61 + "TestPhone".len());
        let packet = decode(&bytes, &PROFILE).unwrap();
        assert!(!packet.frame.tracked);
        assert!(packet.frame.is_empty());
        assert_eq!(packet.frame.sequence, Some(1_095_836));
        let zero_curves = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode(&zero_curves, &PROFILE).unwrap(), packet);
    }

    #[test]
    fn llf_head_axes_match_face() {
        let turned = |curve: usize, value: f32, axis: [f32; 3]| {
            let mut curves = [0.0; CURVE_COUNT];
            curves[curve] = value;
            let head = frame_from_curves(&curves, &PROFILE).head.unwrap();
            rotate(head.rotation, axis)
        };
        let (out_of_the_face, left) = ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0]);
        assert!(turned(52, 0.4, out_of_the_face)[0] > 0.3, "positive yaw turns to the performer's left (+X)");
        assert!(turned(53, 0.4, out_of_the_face)[1] > 0.3, "positive pitch looks up (+Y)");
        assert!(turned(54, 0.4, left)[1] > 0.3, "positive roll lifts the performer's left side");
    }

    fn rotate([x, y, z, w]: [f32; 4], [a, b, c]: [f32; 3]) -> [f32; 3] {
        let (tx, ty, tz) = (2.0 * (y * c - z * b), 2.0 * (z * a - x * c), 2.0 * (x * b - y * a));
        [a + w * tx + y * tz - z * ty, b + w * ty + z * tx - x * tz, c + w * tz + x * ty - y * tx]
    }

    #[test]
    fn llf_flips_invert_angles() {
        let mut curves = [0.0; CURVE_COUNT];
        curves[52] = 0.3;
        curves[56] = 0.2;
        let mut flipped = PROFILE;
        flipped.head.flip.yaw = true;
        flipped.eyes.flip.pitch = false;
        let frame = frame_from_curves(&curves, &flipped);
        assert!(frame.head.unwrap().rotation[1] < 0.0);
        assert_eq!(frame.gaze.unwrap().left.pitch, 0.2);
        let back = curves_from_frame(&frame, &flipped);
        assert!((back[52] - 0.3).abs() < 1e-6 && back[56] == 0.2);
    }

    #[test]
    fn llf_head_or_gaze_of_exact_zeros_is_none() {
        let frame = frame_from_curves(&[0.0; CURVE_COUNT], &PROFILE);
        assert_eq!((frame.head, frame.gaze), (None, None));
        assert!(frame.is_complete());
    }

    #[test]
    fn llf_truncated_packet_is_refused_or_lost_face() {
        let bytes = full();
        let header = hex(FULL).len() - 1;
        for len in 0..bytes.len() {
            match decode(&bytes[..len], &PROFILE) {
                Ok(packet) => assert!(len == header && !packet.frame.tracked, "{len}"),
                Err(error) => assert!(matches!(error, LlfError::Truncated { .. }), "{len}: {error}"),
            }
        }
        let error = decode(&bytes[..50], &PROFILE).unwrap_err();
        assert_eq!(error.to_string(), "subject name: the datagram ends after 5 of 9 bytes");
    }

    #[test]
    fn llf_error_names_field() {
        let refused = |bytes: &[u8]| decode(bytes, &PROFILE).unwrap_err().to_string();
        assert_eq!(refused(&[5, 0, 0]), "packet version is 5, only 6 is understood");
        assert_eq!(
            refused(&[6, 0xff, 0xff, 0xff, 0xff, 1]),
            "device id is 4294967295 bytes long, at most 256 are allowed"
        );
        assert_eq!(refused(&[6, 0, 0, 0, 2, 0xc3, 0x28]), "device id is no UTF-8");
        assert_eq!(refused(&with_curve(17, f32::NAN)), "jawOpen is NaN, which is out of range");
        assert_eq!(refused(&with_curve(0, -9.8e5)), "eyeBlinkLeft is -980000, which is out of range");
        assert_eq!(refused(&with_curve(52, f32::INFINITY)), "headYaw is inf, which is out of range");
        assert_eq!(refused(&with_curve(57, 7.0)), "leftEyeRoll is 7, which is out of range");
        let mut few = full();
        few[hex(FULL).len() - 1] = 51;
        assert_eq!(refused(&few), "curve count is 51, expected 61");
        let mut sub_frame = full();
        sub_frame[58..62].copy_from_slice(&f32::NAN.to_be_bytes());
        assert_eq!(refused(&sub_frame), "sub-frame is NaN, which is out of range");
    }

    #[test]
    fn llf_weights_are_clamped_and_trailing_bytes_ignored() {
        let mut bytes = with_curve(17, 3.5);
        bytes.extend_from_slice(b"trailing");
        let packet = decode(&bytes, &PROFILE).unwrap();
        assert_eq!(packet.frame.get(Blendshape::JawOpen), Some(2.0));
        let packet = decode(&with_curve(17, -3.5), &PROFILE).map(|packet| packet.frame.weights[17]);
        assert_eq!(packet, Ok(-1.0));
    }

    #[test]
    fn llf_packet_without_angles_is_accepted() {
        let mut bytes = full();
        bytes[hex(FULL).len() - 1] = 52;
        bytes.truncate(hex(FULL).len() + 4 * 52);
        let frame = decode(&bytes, &PROFILE).unwrap().frame;
        assert!(frame.is_complete());
        assert_eq!((frame.head, frame.gaze), (None, None));
    }

    #[test]
    fn llf_time_at_odd_frame_rates() {
        let time = |number, rate| {
            let packet = LlfPacket { rate, ..LlfPacket::new("id", "name", number, FaceFrame::default()) };
            packet.time_of_day().map(|time| time.as_secs_f64())
        };
        assert_eq!(time(120, (60, 1)), Some(2.0));
        assert_eq!(time(60, (30, 1)), Some(2.0));
        assert_eq!(time(60, (30, 0)), Some(2.0), "PyLiveLinkFace states 30/0");
        assert_eq!(time(120, (0, 0)), Some(2.0));
        assert_eq!(time(120, (-60, 1)), Some(2.0));
        assert_eq!(time(120, (i32::MAX, 1)), Some(2.0));
        assert_eq!(time(-1, (60, 1)), None);
        let ntsc = time(2997, (30_000, 1001)).unwrap();
        assert!((ntsc - 99.9999).abs() < 1e-3);
    }

    #[test]
    fn llf_encode_out_of_range_is_refused() {
        let long = "x".repeat(MAX_TEXT_LEN + 1);
        let mut out = vec![1, 2, 3];
        let packet = LlfPacket::new("id", &long, 0, FaceFrame::neutral());
        assert!(matches!(encode(&packet, &PROFILE, &mut out), Err(LlfError::TooLong { .. })));
        let mut frame = FaceFrame::neutral();
        frame.weights[3] = f32::NAN;
        let packet = LlfPacket::new("id", "name", 0, frame);
        assert!(encode(&packet, &PROFILE, &mut out).is_err());
        assert_eq!(out, [1, 2, 3]);
        let longest = "x".repeat(MAX_TEXT_LEN);
        out.clear();
        let packet = LlfPacket::new(&longest, &longest, 0, FaceFrame::neutral());
        encode(&packet, &PROFILE, &mut out).unwrap();
        assert_eq!(out.len(), MAX_DATAGRAM_LEN);
        assert!(decode(&out, &PROFILE).is_ok());
    }

    #[test]
    fn llf_control_characters_in_names_are_refused() {
        let packet = |subject: &str| {
            let (mut out, letters) = (Vec::new(), "x".repeat(subject.len()));
            encode(&LlfPacket::new("device", &letters, 1, FaceFrame::neutral()), &PROFILE, &mut out).unwrap();
            let at = 1 + 4 + "device".len() + 4;
            out[at..at + subject.len()].copy_from_slice(subject.as_bytes());
            out
        };
        for subject in ["a\u{1}b", "a\nb", "a\u{85}b"] {
            let error = decode(&packet(subject), &PROFILE).unwrap_err();
            assert_eq!(error, LlfError::ControlCharacter { field: "subject name" }, "{subject:?}");
            let written = encode(&LlfPacket::new("", subject, 1, FaceFrame::neutral()), &PROFILE, &mut Vec::new());
            assert_eq!(written, Err(error));
        }
        assert_eq!(decode(&packet("iPhone\0\0"), &PROFILE).unwrap().subject, "iPhone");
        assert_eq!(decode(&packet("\0"), &PROFILE).unwrap().subject, "");
    }

    proptest! {
        #[test]
        fn llf_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = decode(&bytes, &PROFILE);
        }

        #[test]
        fn llf_broken_packet_never_panics(at in 0usize..315, value in any::<u8>()) {
            let mut bytes = full();
            bytes[at] = value;
            if let Ok(packet) = decode(&bytes, &PROFILE) {
                prop_assert!(packet.frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
                if let Some(head) = packet.frame.head {
                    let length: f32 = head.rotation.iter().map(|part| part * part).sum();
                    prop_assert!((length - 1.0).abs() < 1e-4);
                }
            }
        }

        #[test]
        fn llf_round_trips(
            weights in proptest::array::uniform32(-1.0f32..=2.0),
            angles in proptest::array::uniform3(-1.5f32..1.5),
            eyes in proptest::array::uniform4(-1.0f32..1.0),
            number in 0..i32::MAX,
            id in "\\PC{0,40}",
            subject in "\\PC{0,40}",
            swap in any::<bool>(),
        ) {
            let mut frame = FaceFrame::neutral();
            for (weight, value) in frame.weights.iter_mut().zip(weights.into_iter().cycle()) {
                *weight = value;
            }
            let [yaw, pitch, roll] = angles;
            frame.head = Some(HeadPose { rotation: rotation_from_euler(yaw, pitch, roll), position: None });
            let [a, b, c, d] = eyes;
            frame.gaze = Some(Gaze {
                left: EyeGaze { yaw: a, pitch: b },
                right: EyeGaze { yaw: c, pitch: d },
            });
            let profile = SourceProfile { swap_mouth_left_right: swap, ..PROFILE };
            let packet = LlfPacket::new(&id, &subject, number, frame);
            let mut bytes = Vec::new();
            encode(&packet, &profile, &mut bytes).unwrap();
            let back = decode(&bytes, &profile).unwrap();
            prop_assert_eq!(back.device_id, packet.device_id);
            prop_assert_eq!(back.subject, packet.subject);
            prop_assert_eq!(back.frame_number, number);
            prop_assert_eq!(back.frame.weights, packet.frame.weights);
            prop_assert_eq!(back.frame.gaze, packet.frame.gaze);
            let (was, is) = (packet.frame.head.unwrap().rotation, back.frame.head.unwrap().rotation);
            let same: f32 = was.iter().zip(is).map(|(a, b)| a * b).sum();
            prop_assert!(same.abs() > 1.0 - 1e-4, "{was:?} {is:?}");
        }
    }
}
