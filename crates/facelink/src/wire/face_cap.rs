//! Face Cap by Bannaflak: OSC over UDP, unidirectional, in single messages or in bundles.
//!
//! | address | arguments | what |
//! |---|---|---|
//! | `/HT` | 3 floats | position of the head |
//! | `/HR` | 3 floats | rotation of the head about x, y, z, degrees |
//! | `/HRQ` | 4 floats | the same as a quaternion x, y, z, w |
//! | `/ELR`, `/ERR` | 2 floats | rotation of the left and of the right eye about x and y, degrees |
//! | `/W` | integer (or a whole float), float | number of a shape (see [`shape`]) and its weight, `0..=1` |
//!
//! The app sends neither time nor tracking. A frame ends with its bundle, with the last shape, or where a shape or the
//! head is repeated.
//!
//! That the rotations are ARKit's own (right-handed, positive x looks down, positive y turns to the performer's left) and
//! that the first angle of an eye is about x is inferred: see `docs/sources/face-cap.md`.

use rosc::{OscMessage, OscPacket, OscType};

use super::{
    osc::{message, number, numbers},
    profile::{AngleUnit, AxisFlip, EulerOrder, RotationProfile, SourceFace, SourceProfile, SourceRotation},
};
use crate::{
    frame::FaceFrame,
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// Largest number that an angle, a position or a weight may be.
const LIMIT: f32 = 10_000.0;

const ROTATION: RotationProfile = RotationProfile {
    flip: AxisFlip { yaw: false, pitch: true, roll: false },
    swap_yaw_pitch: false,
    order: EulerOrder::Yxz,
    unit: AngleUnit::Degrees,
    gain: 1.0,
};

/// The conventions of the app.
pub const PROFILE: SourceProfile = SourceProfile { head: ROTATION, eyes: ROTATION, ..SourceProfile::PLAIN };

use Blendshape as B;

const ORDER: [Blendshape; BLENDSHAPE_COUNT] = [
    B::BrowInnerUp,
    B::BrowDownLeft,
    B::BrowDownRight,
    B::BrowOuterUpLeft,
    B::BrowOuterUpRight,
    B::EyeLookUpLeft,
    B::EyeLookUpRight,
    B::EyeLookDownLeft,
    B::EyeLookDownRight,
    B::EyeLookInLeft,
    B::EyeLookInRight,
    B::EyeLookOutLeft,
    B::EyeLookOutRight,
    B::EyeBlinkLeft,
    B::EyeBlinkRight,
    B::EyeSquintLeft,
    B::EyeSquintRight,
    B::EyeWideLeft,
    B::EyeWideRight,
    B::CheekPuff,
    B::CheekSquintLeft,
    B::CheekSquintRight,
    B::NoseSneerLeft,
    B::NoseSneerRight,
    B::JawOpen,
    B::JawForward,
    B::JawLeft,
    B::JawRight,
    B::MouthFunnel,
    B::MouthPucker,
    B::MouthLeft,
    B::MouthRight,
    B::MouthRollUpper,
    B::MouthRollLower,
    B::MouthShrugUpper,
    B::MouthShrugLower,
    B::MouthClose,
    B::MouthSmileLeft,
    B::MouthSmileRight,
    B::MouthFrownLeft,
    B::MouthFrownRight,
    B::MouthDimpleLeft,
    B::MouthDimpleRight,
    B::MouthUpperUpLeft,
    B::MouthUpperUpRight,
    B::MouthLowerDownLeft,
    B::MouthLowerDownRight,
    B::MouthPressLeft,
    B::MouthPressRight,
    B::MouthStretchLeft,
    B::MouthStretchRight,
    B::TongueOut,
];

/// The shape of a number of the app's, `0..52`.
pub fn shape(number: usize) -> Option<Blendshape> {
    ORDER.get(number).copied()
}

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaceCapError {
    /// Too few arguments, or of other types, or numbers that cannot be.
    #[error("{address}: expected {expected}")]
    Arguments {
        /// The message.
        address: &'static str,
        /// The expected arguments.
        expected: &'static str,
    },
}

/// Whether a message is one of the app's.
pub fn is_one(address: &str) -> bool {
    matches!(address, "/HT" | "/HR" | "/HRQ" | "/ELR" | "/ERR" | "/W")
}

/// Puts the messages of one sender together.
#[derive(Debug, Default)]
pub struct Decoder {
    frame: FaceFrame,
    head: Option<SourceRotation>,
    position: Option<[f32; 3]>,
    eyes: [Option<SourceRotation>; 2],
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a message; gives the frame before it, if it begins another one, or the frame that it ends.
    ///
    /// # Errors
    /// [`FaceCapError`] names the message, which then changes nothing.
    pub fn take(&mut self, message: &OscMessage) -> Result<Option<SourceFace>, FaceCapError> {
        let args = &message.args;
        let error = |address, expected| FaceCapError::Arguments { address, expected };
        let within = |values: &[f32]| values.iter().all(|value| value.abs() <= LIMIT);
        match message.addr.as_str() {
            "/HT" => {
                let position = numbers::<3>(args, 0).filter(|p| within(p)).ok_or(error("/HT", "3 numbers"))?;
                let done = if self.position.is_some() { self.flush() } else { None };
                self.position = Some(position);
                Ok(done)
            }
            "/HR" => {
                let angles = numbers::<3>(args, 0).filter(|a| within(a)).ok_or(error("/HR", "3 angles"))?;
                // Both come in one frame; the quaternion is the better one.
                if matches!(self.head, Some(SourceRotation::Quaternion(_))) {
                    return Ok(None);
                }
                let done = if self.head.is_some() { self.flush() } else { None };
                self.head = Some(SourceRotation::Angles(angles));
                Ok(done)
            }
            "/HRQ" => {
                let turn = numbers::<4>(args, 0).filter(|q| within(q)).ok_or(error("/HRQ", "4 numbers"))?;
                let again = matches!(self.head, Some(SourceRotation::Quaternion(_)));
                let done = if again { self.flush() } else { None };
                self.head = Some(SourceRotation::Quaternion(turn));
                Ok(done)
            }
            "/ELR" | "/ERR" => {
                let (eye, address) = if message.addr == "/ELR" { (0, "/ELR") } else { (1, "/ERR") };
                let [x, y] = numbers::<2>(args, 0).filter(|a| within(a)).ok_or(error(address, "2 angles"))?;
                let done = if self.eyes[eye].is_some() { self.flush() } else { None };
                self.eyes[eye] = Some(SourceRotation::Angles([x, y, 0.0]));
                Ok(done)
            }
            "/W" => {
                let expected = error("/W", "the number of a shape, 0 to 51, and its weight");
                let (Some(index), Some(weight)) = (args.first().and_then(index), number(args.get(1))) else {
                    return Err(expected);
                };
                let Some(shape) = shape(index).filter(|_| weight.abs() <= LIMIT) else { return Err(expected) };
                let before = if self.frame.has(shape) { self.flush() } else { None };
                self.frame.set(shape, weight);
                // The last one ends the frame; what is still missing of it arrives with the next.
                let last = index == BLENDSHAPE_COUNT - 1 && before.is_none();
                Ok(if last { self.flush() } else { before })
            }
            _ => Ok(None),
        }
    }

    /// Whether a frame has begun.
    pub fn is_pending(&self) -> bool {
        !self.frame.is_empty()
            || self.head.is_some()
            || self.position.is_some()
            || self.eyes.iter().any(Option::is_some)
    }

    /// The frame as far as it came: where a bundle ends, or nothing more comes.
    pub fn flush(&mut self) -> Option<SourceFace> {
        let Self { frame, head, position, eyes } = std::mem::take(self);
        let eyes = match eyes {
            [Some(left), Some(right)] => Some([left, right]),
            _ => None,
        };
        let face = SourceFace { frame, head, position, eyes };
        (!face.frame.is_empty() || face.head.is_some() || face.eyes.is_some()).then_some(face)
    }
}

fn index(arg: &OscType) -> Option<usize> {
    match arg {
        OscType::Int(index) => usize::try_from(*index).ok(),
        OscType::Long(index) => usize::try_from(*index).ok(),
        // Some tools know floats alone.
        _ => {
            let index = number(Some(arg)).filter(|index| index.fract() == 0.0 && (0.0..=LIMIT).contains(index))?;
            Some(index as usize)
        }
    }
}

/// The messages of one frame, as the app sends them. The app sends nothing while it has lost the face.
pub fn messages(frame: &FaceFrame, profile: &SourceProfile) -> Vec<OscPacket> {
    if !frame.tracked {
        return Vec::new();
    }
    let source = profile.unapply(frame);
    let floats = |values: &[f32]| values.iter().map(|value| OscType::Float(*value)).collect();
    let mut packets = Vec::with_capacity(57);
    if let Some(SourceRotation::Angles(angles)) = source.head {
        packets.push(message("/HT", floats(&source.position.unwrap_or_default())));
        packets.push(message("/HR", floats(&angles)));
        let turn = frame.head.map_or([0.0, 0.0, 0.0, 1.0], |head| profile.head.quaternion(head.rotation));
        packets.push(message("/HRQ", floats(&turn)));
    }
    if let Some([SourceRotation::Angles(left), SourceRotation::Angles(right)]) = source.eyes {
        packets.push(message("/ELR", floats(&left[..2])));
        packets.push(message("/ERR", floats(&right[..2])));
    }
    for (index, shape) in (0_i32..).zip(ORDER) {
        let weight = source.frame.get(shape).unwrap_or(0.0);
        packets.push(message("/W", vec![OscType::Int(index), OscType::Float(weight)]));
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        wire::{osc, profile::rotation_from_euler},
    };

    fn hex(text: &str) -> Vec<u8> {
        text.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn take(decoder: &mut Decoder, datagram: &[u8]) -> Vec<SourceFace> {
        let mut faces = Vec::new();
        let reading = osc::read(datagram, |message| faces.extend(decoder.take(message).unwrap()));
        assert_eq!(reading.error, None);
        faces
    }

    #[test]
    fn face_cap_messages_of_other_implementations_are_read() {
        let mut decoder = Decoder::new();
        for message in [
            "2f4854002c66666600000000000000003e800000bf000000",
            "2f4852002c6666660000000041200000c1a0000040a00000",
            "2f485251000000002c666666660000000000000000000000000000003f800000",
            "2f454c52000000002c6666003f800000c0000000",
            "2f455252000000002c6666003f800000c0000000",
            "2f5700002c696600000000183f000000",
        ] {
            assert!(take(&mut decoder, &hex(message)).is_empty(), "{message}");
        }
        let face = decoder.flush().unwrap();
        assert_eq!(face.position, Some([0.0, 0.25, -0.5]));
        assert_eq!(
            face.head,
            Some(SourceRotation::Quaternion([0.0, 0.0, 0.0, 1.0])),
            "the quaternion is the better one"
        );
        assert_eq!(face.eyes.unwrap()[0], SourceRotation::Angles([1.0, -2.0, 0.0]));
        let frame = PROFILE.apply(face);
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.5));
        assert_eq!(frame.present.count_ones(), 1);
        let gaze = frame.gaze.unwrap();
        assert!(gaze.left.pitch < 0.0 && gaze.left.yaw < 0.0, "down and to the right: {gaze:?}");
        assert!(decoder.flush().is_none());
    }

    #[test]
    fn face_cap_frame_ends_where_next_begins() {
        let weight = |index, weight| OscMessage {
            addr: "/W".to_owned(),
            args: vec![OscType::Int(index), OscType::Float(weight)],
        };
        let mut decoder = Decoder::new();
        assert_eq!(decoder.take(&weight(0, 0.1)), Ok(None));
        assert_eq!(decoder.take(&weight(24, 0.2)), Ok(None));
        let first = decoder.take(&weight(0, 0.3)).unwrap().unwrap();
        assert_eq!(first.frame.get(Blendshape::JawOpen), Some(0.2));
        assert_eq!(first.frame.get(Blendshape::BrowInnerUp), Some(0.1));
        let second = decoder.take(&weight(51, 0.4)).unwrap().unwrap();
        assert_eq!(second.frame.get(Blendshape::BrowInnerUp), Some(0.3));
        assert_eq!(second.frame.get(Blendshape::TongueOut), Some(0.4));
        let float =
            |index| OscMessage { addr: "/W".to_owned(), args: vec![OscType::Float(index), OscType::Float(0.25)] };
        assert_eq!(decoder.take(&float(24.0)), Ok(None));
        assert_eq!(decoder.flush().unwrap().frame.get(Blendshape::JawOpen), Some(0.25), "a number is a number");
        for wrong in [24.5, -1.0, 52.0, f32::NAN, 1e9] {
            assert!(decoder.take(&float(wrong)).is_err(), "{wrong}");
        }
        for wrong in [weight(52, 0.1), weight(-1, 0.1), weight(0, f32::NAN), weight(0, 1e9)] {
            assert!(decoder.take(&wrong).unwrap_err().to_string().contains("/W"));
        }
    }

    #[test]
    fn face_cap_round_trips() {
        let mut frame = FaceFrame::neutral();
        for (index, shape) in Blendshape::ALL.into_iter().enumerate() {
            frame.set(shape, index as f32 / 64.0);
        }
        let rotation = rotation_from_euler(0.4, -0.2, 0.1);
        frame.head = Some(HeadPose { rotation, position: Some([0.1, 0.2, -0.4]) });
        frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.1, pitch: 0.2 }, right: EyeGaze { yaw: -0.1, pitch: 0.2 } });
        let mut decoder = Decoder::new();
        let mut faces = Vec::new();
        osc::write_bundles(messages(&frame, &PROFILE), 1400, |datagram| faces.extend(take(&mut decoder, datagram)));
        assert_eq!(faces.len(), 1);
        let back = PROFILE.apply(faces.remove(0));
        assert_eq!(back.weights, frame.weights);
        let dot: f32 = back.head.unwrap().rotation.iter().zip(&rotation).map(|(a, b)| a * b).sum();
        assert!(dot.abs() > 0.99999);
        assert!((back.gaze.unwrap().right.yaw + 0.1).abs() < 1e-5);
        assert!(messages(&FaceFrame { tracked: false, ..frame }, &PROFILE).is_empty());
    }
}
