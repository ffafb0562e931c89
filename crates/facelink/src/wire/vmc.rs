//! VMC protocol ([specification](https://protocol.vmc.info/english)), OSC over UDP: faces and heads of VTubing programs.
//!
//! Of the protocol's many messages these are read:
//!
//! | address `/VMC/Ext/...` | arguments | what |
//! |---|---|---|
//! | `OK` | loaded, calibration state, mode, tracking status | the last one 0 while the face is lost |
//! | `T` | time | begins a frame, for senders that never commit one |
//! | `Blend/Val` | name, weight | a blendshape; also as `Blend/Val/<name>` with the weight alone |
//! | `Blend/Apply` | | commits the blendshapes |
//! | `Bone/Pos` | name, position, quaternion x y z w | `Head`, `Neck`, `LeftEye` and `RightEye` are used, their rotations alone: many senders leave the positions at 0 |
//! | `Set/Eye` | enabled, x, y, z | where the eyes look, from the head; used where no eye bones come |
//!
//! A head's rotation is that of the neck and the head together. Names of blendshapes are matched whatever their case:
//! Perfect Sync (`EyeBlinkLeft`) and other spellings of ARKit's; from senders without those, the presets of VRM 0 and VRM 1
//! (`A`, `aa`, `Blink_L`, `Joy`, `happy`) move the shapes that come closest. Every name that is no ARKit shape is a channel of
//! its own, too.
//!
//! # Axes
//! Unity's: left-handed, +Y up, +Z forward, so +X is to the right of a head that looks along +Z. Mirroring X gives ours: a
//! quaternion (x, y, z, w) is (x, -y, -z, w) here.

use rosc::{OscMessage, OscType};

use super::{
    name_table::{NameTable, Resolved},
    osc::{message, number, numbers, text, write_bundles},
    profile::{AxisFlip, IDENTITY, RotationProfile, SourceFace, SourceProfile, SourceRotation, normalized, product},
    viseme::Viseme,
};
use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS, clamp_weight},
    names::Blendshape,
};

/// Port of a renderer (Marionette).
pub const MARIONETTE_PORT: u16 = 39539;
/// Port of a performer that takes assistants.
pub const PERFORMER_PORT: u16 = 39540;
/// Largest datagram that is written, so that none is sent in pieces.
pub const MAX_DATAGRAM_LEN: usize = 1400;
/// Largest number that a position or a weight may be.
const LIMIT: f32 = 10_000.0;
/// A sender that names this many ARKit shapes has Perfect Sync, and its presets are for others.
const PERFECT_SYNC: u32 = 8;

const ROTATION: RotationProfile =
    RotationProfile { flip: AxisFlip { yaw: true, pitch: true, roll: true }, ..RotationProfile::DEFAULT };

/// The conventions of the protocol.
pub const PROFILE: SourceProfile = SourceProfile { head: ROTATION, eyes: ROTATION, ..SourceProfile::PLAIN };

/// Why a message was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmcError {
    /// Too few arguments, or of other types, or numbers that cannot be.
    #[error("{address}: expected {expected}")]
    Arguments {
        /// The message.
        address: &'static str,
        /// The expected arguments.
        expected: &'static str,
    },
    /// A name that is none, or one too many.
    #[error("/VMC/Ext/Blend/Val: name: {0}")]
    Name(String),
}

use Blendshape as B;

/// The shapes closest to a preset of VRM. Names in lower case without separators.
const PRESETS: [(&str, &[(Blendshape, f32)]); 18] = [
    ("blink", &[(B::EyeBlinkLeft, 1.0), (B::EyeBlinkRight, 1.0)]),
    ("blinkl", &[(B::EyeBlinkLeft, 1.0)]),
    ("blinkleft", &[(B::EyeBlinkLeft, 1.0)]),
    ("blinkr", &[(B::EyeBlinkRight, 1.0)]),
    ("blinkright", &[(B::EyeBlinkRight, 1.0)]),
    ("lookup", &[(B::EyeLookUpLeft, 1.0), (B::EyeLookUpRight, 1.0)]),
    ("lookdown", &[(B::EyeLookDownLeft, 1.0), (B::EyeLookDownRight, 1.0)]),
    ("lookleft", &[(B::EyeLookOutLeft, 1.0), (B::EyeLookInRight, 1.0)]),
    ("lookright", &[(B::EyeLookInLeft, 1.0), (B::EyeLookOutRight, 1.0)]),
    ("joy", JOY),
    ("happy", JOY),
    ("angry", &[(B::BrowDownLeft, 0.9), (B::BrowDownRight, 0.9), (B::NoseSneerLeft, 0.3), (B::NoseSneerRight, 0.3)]),
    ("sorrow", SORROW),
    ("sad", SORROW),
    ("fun", FUN),
    ("relaxed", FUN),
    (
        "surprised",
        &[
            (B::EyeWideLeft, 0.8),
            (B::EyeWideRight, 0.8),
            (B::BrowInnerUp, 0.7),
            (B::BrowOuterUpLeft, 0.6),
            (B::BrowOuterUpRight, 0.6),
        ],
    ),
    ("neutral", &[]),
];
const JOY: &[(Blendshape, f32)] =
    &[(B::MouthSmileLeft, 0.9), (B::MouthSmileRight, 0.9), (B::CheekSquintLeft, 0.5), (B::CheekSquintRight, 0.5)];
const SORROW: &[(Blendshape, f32)] = &[(B::MouthFrownLeft, 0.7), (B::MouthFrownRight, 0.7), (B::BrowInnerUp, 0.8)];
const FUN: &[(Blendshape, f32)] = &[(B::MouthSmileLeft, 0.5), (B::MouthSmileRight, 0.5)];

/// The shapes that come closest to a preset of VRM 0 or VRM 1.
fn preset(name: &str) -> Option<&'static [(Blendshape, f32)]> {
    let mut letters = [0_u8; 12];
    let mut len = 0;
    for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ')) {
        *letters.get_mut(len)? = byte.to_ascii_lowercase();
        len += 1;
    }
    let viseme = match &letters[..len] {
        b"a" | b"aa" => Some(Viseme::Aa),
        b"i" | b"ih" => Some(Viseme::Ih),
        b"u" | b"ou" => Some(Viseme::Ou),
        b"e" | b"ee" => Some(Viseme::E),
        b"o" | b"oh" => Some(Viseme::Oh),
        _ => None,
    };
    let preset = PRESETS.iter().find(|(preset, _)| preset.as_bytes() == &letters[..len]);
    viseme.map(Viseme::shapes).or(preset.map(|(_, shapes)| *shapes))
}

/// Puts the messages of one sender together.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    /// Weights since the last commit.
    frame: FaceFrame,
    /// Presets since then.
    presets: FaceFrame,
    /// ARKit shapes that this sender ever named.
    arkit: u64,
    head: Option<[f32; 4]>,
    neck: Option<[f32; 4]>,
    eyes: [Option<[f32; 4]>; 2],
    look: Option<[f32; 3]>,
    lost: bool,
    commits: bool,
    pending: bool,
    moved: bool,
}

impl Decoder {
    /// A decoder that has seen nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether values are pending until a commit. Where none comes for 50 ms, [`flush`](Self::flush) it.
    pub fn is_pending(&self) -> bool {
        self.pending || self.moved
    }

    /// Whether this sender commits its frames.
    pub fn commits(&self) -> bool {
        self.commits
    }

    /// Takes a message; gives a frame where it ends one. Messages that are not known are left out.
    ///
    /// # Errors
    /// [`VmcError`] names the message, which then changes nothing.
    pub fn take(&mut self, message: &OscMessage) -> Result<Option<SourceFace>, VmcError> {
        let args = &message.args;
        let error = |address, expected| VmcError::Arguments { address, expected };
        let Some(address) = message.addr.strip_prefix("/VMC/Ext/") else { return Ok(None) };
        match address {
            "OK" => {
                let loaded = number(args.first()).ok_or(error("/VMC/Ext/OK", "whether it is loaded"))?;
                let tracked = number(args.get(3)).is_none_or(|status| status != 0.0);
                let before = if self.pending && !self.commits { self.flush() } else { None };
                let was_lost = std::mem::replace(&mut self.lost, loaded == 0.0 || !tracked);
                // Without blendshapes to commit, only the lost face is reported.
                Ok(before.or_else(|| (self.lost && !was_lost).then(|| self.face())))
            }
            "T" => Ok(if self.pending && !self.commits { self.flush() } else { None }),
            "Blend/Apply" => {
                self.commits = true;
                Ok(if self.pending || self.lost { self.flush() } else { None })
            }
            "Blend/Val" => {
                let expected = error("/VMC/Ext/Blend/Val", "a name and a weight");
                let (Some(name), Some(weight)) = (text(args.first()), number(args.get(1))) else {
                    return Err(expected);
                };
                self.weight(name, weight).map(|()| None)
            }
            "Bone/Pos" => {
                let expected = error("/VMC/Ext/Bone/Pos", "a name, a position and a quaternion");
                let Some(name) = text(args.first()) else { return Err(expected) };
                let slot = match name {
                    _ if name.eq_ignore_ascii_case("Head") => &mut self.head,
                    _ if name.eq_ignore_ascii_case("Neck") => &mut self.neck,
                    _ if name.eq_ignore_ascii_case("LeftEye") => &mut self.eyes[0],
                    _ if name.eq_ignore_ascii_case("RightEye") => &mut self.eyes[1],
                    _ => return Ok(None),
                };
                let turn = numbers::<4>(args, 4).filter(|turn| turn.iter().all(|part| part.abs() <= LIMIT));
                *slot = Some(turn.and_then(normalized).ok_or(expected)?);
                self.moved = true;
                Ok(None)
            }
            "Set/Eye" => {
                let expected = error("/VMC/Ext/Set/Eye", "whether it is on, and a point");
                let on = number(args.first()).ok_or(expected.clone())?;
                let point = numbers::<3>(args, 1).filter(|point| point.iter().all(|part| part.abs() <= LIMIT));
                self.look = if on == 0.0 { None } else { Some(point.ok_or(expected)?) };
                self.moved = true;
                Ok(None)
            }
            _ => match address.strip_prefix("Blend/Val/") {
                Some(name) => {
                    let weight = number(args.first()).ok_or(error("/VMC/Ext/Blend/Val/<name>", "a weight"))?;
                    self.weight(name, weight).map(|()| None)
                }
                None => Ok(None),
            },
        }
    }

    fn weight(&mut self, name: &str, weight: f32) -> Result<(), VmcError> {
        if weight.abs() > LIMIT {
            return Err(VmcError::Arguments { address: "/VMC/Ext/Blend/Val", expected: "a name and a weight" });
        }
        let resolved = self.names.resolve(name).map_err(VmcError::Name)?;
        self.pending = true;
        match resolved {
            Resolved::Shape(shape) => {
                self.frame.set(*shape, weight);
                self.arkit |= 1 << shape.index();
            }
            Resolved::Channel(name) => {
                let known = self.frame.channels.iter().position(|channel| channel.name == *name);
                let value = clamp_weight(weight);
                if let Some(channel) = known.and_then(|place| self.frame.channels.get_mut(place)) {
                    channel.value = value;
                } else if self.frame.channels.len() < MAX_CHANNELS {
                    self.frame.channels.push(Channel { name: name.clone(), value });
                }
                for (shape, share) in preset(name).unwrap_or_default() {
                    let sum = self.presets.get(*shape).unwrap_or(0.0) + share * weight;
                    self.presets.set(*shape, sum.clamp(0.0, 1.0));
                }
            }
        }
        Ok(())
    }

    /// The frame as far as it came.
    pub fn flush(&mut self) -> Option<SourceFace> {
        (self.pending || self.moved || self.lost).then(|| self.face())
    }

    fn face(&mut self) -> SourceFace {
        (self.pending, self.moved) = (false, false);
        let mut frame = std::mem::take(&mut self.frame);
        let presets = std::mem::take(&mut self.presets);
        if self.lost {
            return SourceFace { frame: FaceFrame { tracked: false, ..FaceFrame::default() }, ..SourceFace::default() };
        }
        if self.arkit.count_ones() < PERFECT_SYNC {
            for shape in Blendshape::ALL {
                if let (Some(weight), false) = (presets.get(shape), frame.has(shape)) {
                    frame.set(shape, weight);
                }
            }
        }
        let head = match (self.neck, self.head) {
            (None, None) => None,
            (neck, head) => Some(product(neck.unwrap_or(IDENTITY), head.unwrap_or(IDENTITY))),
        };
        let eyes = match (self.eyes, self.look) {
            ([Some(left), Some(right)], _) => Some([left, right]),
            (_, Some(point)) => towards(point).map(|eye| [eye, eye]),
            _ => None,
        };
        SourceFace {
            frame,
            head: head.map(SourceRotation::Quaternion),
            position: None,
            eyes: eyes.map(|eyes| eyes.map(SourceRotation::Quaternion)),
        }
    }
}

/// The rotation, in Unity's axes, of an eye that looks at a point from the head.
fn towards([x, y, z]: [f32; 3]) -> Option<[f32; 4]> {
    let across = x.hypot(z);
    let far_enough = across.hypot(y) > 1e-4;
    if !far_enough {
        return None;
    }
    let (yaw, pitch) = (x.atan2(z), -y.atan2(across));
    let ((sy, cy), (sx, cx)) = ((0.5 * yaw).sin_cos(), (0.5 * pitch).sin_cos());
    normalized(product([0.0, sy, 0.0, cy], [sx, 0.0, 0.0, cx]))
}

/// Hands on the datagrams of a frame, as a performer sends it: `OK`, `T`, the bones `Neck`, `Head`, `LeftEye` and
/// `RightEye`, the 52 shapes by their Perfect Sync names, further channels under their own, and `Blend/Apply`. `time` is in
/// seconds.
pub fn encode(frame: &FaceFrame, time: f32, profile: &SourceProfile, next: impl FnMut(&[u8])) {
    let int = OscType::Int;
    let mut packets = Vec::with_capacity(64 + frame.channels.len());
    packets.push(message("/VMC/Ext/OK", vec![int(1), int(3), int(0), int(i32::from(frame.tracked))]));
    packets.push(message("/VMC/Ext/T", vec![OscType::Float(time)]));
    let mut mirrored = frame.clone();
    if profile.mirror {
        super::profile::mirror(&mut mirrored);
    }
    let mut bone = |name: &str, [x, y, z, w]: [f32; 4]| {
        let mut args = vec![OscType::String(name.to_owned())];
        args.extend([0.0, 0.0, 0.0, x, y, z, w].map(OscType::Float));
        packets.push(message("/VMC/Ext/Bone/Pos", args));
    };
    if let Some(head) = mirrored.head {
        bone("Neck", IDENTITY);
        bone("Head", profile.head.quaternion(head.rotation));
    }
    if let Some(gaze) = mirrored.gaze {
        for (name, eye) in [("LeftEye", gaze.left), ("RightEye", gaze.right)] {
            let turn = super::profile::from_angles([-eye.pitch, eye.yaw, 0.0], super::profile::EulerOrder::Yxz);
            bone(name, profile.eyes.quaternion(turn));
        }
    }
    if frame.tracked {
        for shape in Blendshape::ALL {
            let (first, rest) = shape.name().split_at(1);
            let name = OscType::String(first.to_ascii_uppercase() + rest);
            let weight = mirrored.get(shape).unwrap_or(0.0);
            packets.push(message("/VMC/Ext/Blend/Val", vec![name, OscType::Float(weight)]));
        }
        for channel in &mirrored.channels {
            let name = OscType::String(channel.name.to_string());
            packets.push(message("/VMC/Ext/Blend/Val", vec![name, OscType::Float(channel.value)]));
        }
    }
    packets.push(message("/VMC/Ext/Blend/Apply", Vec::new()));
    write_bundles(packets, MAX_DATAGRAM_LEN, next);
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

    fn val(name: &str, weight: f32) -> OscMessage {
        let args = vec![OscType::String(name.to_owned()), OscType::Float(weight)];
        OscMessage { addr: "/VMC/Ext/Blend/Val".to_owned(), args }
    }

    fn plain(address: &str, args: Vec<OscType>) -> OscMessage {
        OscMessage { addr: address.to_owned(), args }
    }

    #[test]
    fn vmc_messages_of_other_implementations_are_read() {
        let mut decoder = Decoder::new();
        let ok = "2f564d432f4578742f4f4b002c69000000000001";
        let jaw = "2f564d432f4578742f426c656e642f56616c00002c7366004a61774f70656e003f000000";
        let apply = "2f564d432f4578742f426c656e642f4170706c79000000002c000000";
        assert!(take(&mut decoder, &hex(ok)).is_empty() && take(&mut decoder, &hex(jaw)).is_empty());
        let mut faces = take(&mut decoder, &hex(apply));
        assert_eq!(faces.len(), 1);
        let frame = PROFILE.apply(faces.remove(0));
        assert!(frame.tracked && frame.head.is_none());
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.5));
        assert!(take(&mut decoder, &hex(apply)).is_empty(), "there is nothing to commit");
    }

    #[test]
    fn vmc_sender_without_commit_is_flushed_by_next_frame() {
        let mut decoder = Decoder::new();
        let begin = plain("/VMC/Ext/T", vec![OscType::Float(1.0)]);
        assert_eq!(decoder.take(&begin), Ok(None));
        assert_eq!(decoder.take(&val("jawopen", 0.25)), Ok(None));
        assert!(decoder.is_pending() && !decoder.commits());
        let face = decoder.take(&begin).unwrap().unwrap();
        assert_eq!(face.frame.get(Blendshape::JawOpen), Some(0.25), "whatever the case");
        let in_address = plain("/VMC/Ext/Blend/Val/mouthSmile_L", vec![OscType::Float(0.5)]);
        assert_eq!(decoder.take(&in_address), Ok(None));
        assert_eq!(decoder.flush().unwrap().frame.get(Blendshape::MouthSmileLeft), Some(0.5));
    }

    #[test]
    fn vmc_presets_move_closest_shapes_without_perfect_sync() {
        let mut decoder = Decoder::new();
        for (name, weight) in [("Blink_L", 0.5), ("A", 1.0), ("Joy", 1.0), ("Custom", 0.3)] {
            decoder.take(&val(name, weight)).unwrap();
        }
        let face = decoder.flush().unwrap().frame;
        assert_eq!(face.get(Blendshape::EyeBlinkLeft), Some(0.5));
        assert_eq!(face.get(Blendshape::EyeBlinkRight), None);
        assert!(face.get(Blendshape::JawOpen).unwrap() > 0.4 && face.get(Blendshape::MouthSmileRight).unwrap() > 0.5);
        let names: Vec<&str> = face.channels.iter().map(|channel| &*channel.name).collect();
        assert_eq!(names, ["Blink_L", "A", "Joy", "Custom"]);

        for shape in Blendshape::ALL {
            decoder.take(&val(shape.name(), 0.125)).unwrap();
        }
        decoder.take(&val("Blink", 1.0)).unwrap();
        let face = decoder.flush().unwrap().frame;
        assert!(Blendshape::ALL.into_iter().all(|shape| face.get(shape) == Some(0.125)));
    }

    #[test]
    fn vmc_lost_face_is_reported_and_returns() {
        let ok = |tracked| plain("/VMC/Ext/OK", [1, 3, 0, tracked].map(OscType::Int).to_vec());
        let apply = plain("/VMC/Ext/Blend/Apply", Vec::new());
        let mut decoder = Decoder::new();
        assert_eq!(decoder.take(&ok(1)), Ok(None));
        let lost = decoder.take(&ok(0)).unwrap().unwrap();
        assert!(!lost.frame.tracked && lost.frame.is_empty());
        assert!(!decoder.take(&apply).unwrap().unwrap().frame.tracked);
        decoder.take(&ok(1)).unwrap();
        decoder.take(&val("JawOpen", 0.5)).unwrap();
        assert!(decoder.take(&apply).unwrap().unwrap().frame.tracked);
    }

    #[test]
    fn vmc_look_at_point_is_a_gaze() {
        let mut decoder = Decoder::new();
        // A metre ahead, to the right of the head and above it.
        let args = [0.5, 0.3, 1.0].map(OscType::Float);
        let look = plain("/VMC/Ext/Set/Eye", [vec![OscType::Int(1)], args.to_vec()].concat());
        decoder.take(&look).unwrap();
        let gaze = PROFILE.apply(decoder.flush().unwrap()).gaze.unwrap();
        assert!((gaze.left.yaw + 0.5_f32.atan2(1.0)).abs() < 1e-4, "{gaze:?}");
        assert!((gaze.right.pitch - 0.3_f32.atan2(1.0_f32.hypot(0.5))).abs() < 1e-4, "{gaze:?}");
    }

    #[test]
    fn vmc_error_names_message() {
        let mut decoder = Decoder::new();
        let nan = plain(
            "/VMC/Ext/Bone/Pos",
            [vec![OscType::String("Head".to_owned())], [f32::NAN; 7].map(OscType::Float).to_vec()].concat(),
        );
        for (wrong, part) in [
            (plain("/VMC/Ext/Blend/Val", vec![OscType::Float(1.0)]), "Blend/Val"),
            (val("JawOpen", 1e9), "Blend/Val"),
            (val("", 0.5), "name"),
            (plain("/VMC/Ext/OK", Vec::new()), "OK"),
            (nan, "Bone/Pos"),
            (plain("/VMC/Ext/Set/Eye", vec![OscType::Int(1)]), "Set/Eye"),
        ] {
            let error = decoder.take(&wrong).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        assert_eq!(decoder.take(&plain("/VMC/Ext/Cam", Vec::new())), Ok(None));
        assert!(!decoder.is_pending());
    }

    #[test]
    fn vmc_round_trips() {
        let mut frame = FaceFrame::neutral();
        for (index, shape) in Blendshape::ALL.into_iter().enumerate() {
            frame.set(shape, index as f32 / 64.0);
        }
        frame.channels.push(Channel { name: "viseme_aa".into(), value: 0.5 });
        let rotation = rotation_from_euler(0.4, -0.2, 0.1);
        frame.head = Some(HeadPose { rotation, position: None });
        frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.1, pitch: 0.2 }, right: EyeGaze { yaw: -0.1, pitch: 0.2 } });
        let (mut decoder, mut faces, mut datagrams) = (Decoder::new(), Vec::new(), 0);
        encode(&frame, 1.5, &PROFILE, |datagram| {
            assert!(datagram.len() <= MAX_DATAGRAM_LEN);
            datagrams += 1;
            faces.extend(take(&mut decoder, datagram));
        });
        assert_eq!((faces.len(), datagrams), (1, 3));
        let back = PROFILE.apply(faces.remove(0));
        assert_eq!((back.weights, &back.channels), (frame.weights, &frame.channels));
        let dot: f32 = back.head.unwrap().rotation.iter().zip(&rotation).map(|(a, b)| a * b).sum();
        assert!(dot.abs() > 0.99999);
        let gaze = back.gaze.unwrap();
        assert!((gaze.left.yaw - 0.1).abs() < 1e-4 && (gaze.right.pitch - 0.2).abs() < 1e-4, "{gaze:?}");
    }
}
