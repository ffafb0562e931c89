//! VTube Studio's raw tracking data from a phone, and MeowFace, which sends the same: one JSON object a datagram, on
//! request.
//!
//! # Request
//! A program asks by UDP at port 21412 of the phone for frames during the next seconds, and repeats that as long as it
//! wants them:
//!
//! ```json
//! {"messageType": "iOSTrackingDataRequest", "time": 5.0, "sentBy": "FaceLink", "ports": [11125]}
//! ```
//!
//! `time` is 0.5 to 10 seconds. The phone sends to the address that asked, at each of the ports.
//!
//! # Frame
//! | field | what |
//! |---|---|
//! | `Timestamp` | Unix time, milliseconds |
//! | `Hotkey` | 1 to 8 while a hot key is shown on the phone, else -1 |
//! | `FaceFound` | `false` while the face is lost; the rest may then be stale or empty |
//! | `Rotation` | of the head, degrees: x is yaw, y pitch, z roll |
//! | `Position` | of the head, about 0.1 m a unit |
//! | `EyeLeft`, `EyeRight` | degrees: x is positive down, y to the performer's left |
//! | `BlendShapes` | `[{"k": name, "v": weight}, ...]` in any order |
//!
//! Names are `EyeBlinkLeft` on iOS, `eyeBlink_L` and mixtures on Android, `eyeBlinkLeft` from MeowFace.
//!
//! # Signs
//! The official example turns a head in Unity by the Euler angles (-y, -x, z) and puts it at (-x, y, z). Unity is
//! left-handed with +X to the right of a head that looks along +Z, so our axes are its own with X mirrored, and a rotation
//! of (a, b, c) there is one of (a, -b, -c) here: about x by -y, about y by x, about z by -z. A positive y therefore looks
//! up, a positive x turns to the performer's left (a recorded head that is turned right has x = -11), a positive z lowers
//! the left side. The position is (x, y, z).
//!
//! Source: the app's own
//! [example](https://github.com/DenchiSoft/VTubeStudioBlendshapeUDPReceiverTest); see `docs/sources/vtube-studio.md`.

use std::{borrow::Cow, fmt, fmt::Write as _, time::Duration};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{
    name_table::{NameTable, Resolved},
    profile::{AngleUnit, AxisFlip, EulerOrder, RotationProfile, SourceFace, SourceProfile, SourceRotation},
};
use crate::{
    frame::{Channel, FaceFrame, clamp_weight},
    names::Blendshape,
    subject::MAX_CHANNELS,
};

/// Port on which the app waits for requests.
pub const REQUEST_PORT: u16 = 21412;
/// Most ports in a request.
pub const MAX_PORTS: usize = 32;
/// Longest name of a program that asks, bytes.
pub const MAX_SENT_BY_LEN: usize = 64;
/// Shortest and longest time that can be asked for, seconds.
pub const LEASE: (f32, f32) = (0.5, 10.0);
/// Largest number that an angle, a position or a weight may be.
const LIMIT: f32 = 10_000.0;

/// What the app means by its numbers.
pub const PROFILE: SourceProfile = SourceProfile {
    head: RotationProfile {
        flip: AxisFlip { yaw: false, pitch: false, roll: true },
        swap_yaw_pitch: true,
        order: EulerOrder::Yxz,
        unit: AngleUnit::Degrees,
        gain: 1.0,
    },
    eyes: RotationProfile {
        flip: AxisFlip { yaw: false, pitch: true, roll: false },
        swap_yaw_pitch: false,
        order: EulerOrder::Yxz,
        unit: AngleUnit::Degrees,
        gain: 1.0,
    },
    metres_per_unit: 0.1,
    ..SourceProfile::PLAIN
};

/// Why a datagram was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VtsError {
    /// Not JSON, or a field of another type.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A field is missing without which it is no frame.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field of a request is out of range.
    #[error("field `{field}`: {reason}")]
    Range {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A request for frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Always `iOSTrackingDataRequest`.
    pub message_type: Cow<'static, str>,
    /// For how long, seconds.
    pub time: f32,
    /// Who asks.
    pub sent_by: Cow<'static, str>,
    /// Ports of the asking address to send to.
    pub ports: Vec<u16>,
}

impl Request {
    /// Asks for frames at a port for this many seconds.
    pub fn new(port: u16, seconds: f32) -> Self {
        Self {
            message_type: "iOSTrackingDataRequest".into(),
            time: seconds.clamp(LEASE.0, LEASE.1),
            sent_by: "FaceLink".into(),
            ports: vec![port],
        }
    }

    /// The datagram.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a datagram, as the app does.
    ///
    /// # Errors
    /// [`VtsError`] names the field.
    pub fn decode(datagram: &[u8]) -> Result<Self, VtsError> {
        let request: Self = serde_json::from_slice(datagram)?;
        let out_of_range = |field, reason: String| Err(VtsError::Range { field, reason });
        if request.message_type != "iOSTrackingDataRequest" {
            return out_of_range("messageType", format!("{:?}", request.message_type));
        }
        if !(LEASE.0..=LEASE.1).contains(&request.time) {
            return out_of_range("time", format!("{} is not {} to {} seconds", request.time, LEASE.0, LEASE.1));
        }
        if !(1..=MAX_SENT_BY_LEN).contains(&request.sent_by.len()) {
            return out_of_range("sentBy", format!("{} bytes, not 1 to {MAX_SENT_BY_LEN}", request.sent_by.len()));
        }
        if !(1..=MAX_PORTS).contains(&request.ports.len()) {
            return out_of_range("ports", format!("{} of them, not 1 to {MAX_PORTS}", request.ports.len()));
        }
        Ok(request)
    }
}

/// One frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VtsFrame {
    /// Numbers as they were sent.
    pub face: SourceFace,
    /// When it was sent, Unix milliseconds.
    pub unix_ms: Option<f64>,
    /// The hot key that is held, 1 to 8.
    pub hotkey: Option<u8>,
}

/// Reads the frames of one sender: the names of its shapes are resolved once.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
}

impl Decoder {
    /// A decoder that knows no names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one datagram.
    ///
    /// # Errors
    /// [`VtsError`] names the field. Nothing of a refused datagram is kept, nor are its names.
    pub fn decode(&mut self, datagram: &[u8]) -> Result<VtsFrame, VtsError> {
        let known = self.names.len();
        let result = self.read(datagram);
        if result.is_err() {
            self.names.truncate(known);
        }
        result
    }

    fn read(&mut self, datagram: &[u8]) -> Result<VtsFrame, VtsError> {
        let mut json = serde_json::Deserializer::from_slice(datagram);
        let raw = Object(&mut self.names).deserialize(&mut json)?;
        json.end()?;
        let found = raw.found.ok_or(VtsError::Missing("FaceFound"))?;
        let mut frame = VtsFrame { unix_ms: raw.timestamp, hotkey: raw.hotkey, face: raw.face };
        if !found {
            // What comes with it is stale or empty.
            frame.face = SourceFace::default();
        }
        frame.face.frame.tracked = found;
        Ok(frame)
    }
}

#[derive(Default)]
struct Raw {
    found: Option<bool>,
    timestamp: Option<f64>,
    hotkey: Option<u8>,
    face: SourceFace,
}

/// `{"x", "y", "z"}`.
#[derive(Deserialize)]
struct Vector {
    x: f32,
    y: f32,
    z: f32,
}

impl Vector {
    fn checked<E: serde::de::Error>(self, field: &str) -> Result<[f32; 3], E> {
        let vector = [self.x, self.y, self.z];
        match vector.iter().find(|part| !(part.abs() <= LIMIT)) {
            Some(part) => Err(E::custom(format_args!("field `{field}`: {part} is out of range"))),
            None => Ok(vector),
        }
    }
}

struct Object<'n>(&'n mut NameTable);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Raw;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_map(self)
    }
}

/// Which field a name is; those that are not known are left out.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Field {
    Timestamp,
    Hotkey,
    FaceFound,
    Rotation,
    Position,
    EyeLeft,
    EyeRight,
    BlendShapes,
    #[serde(other)]
    Other,
}

fn named<E: serde::de::Error, T>(field: &str, value: Result<T, E>) -> Result<T, E> {
    value.map_err(|error| E::custom(format_args!("field `{field}`: {error}")))
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame of VTube Studio")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut raw = Raw::default();
        let mut eyes = [None, None];
        while let Some(field) = map.next_key()? {
            let vector = |map: &mut A, name: &str| named(name, map.next_value::<Vector>())?.checked(name);
            match field {
                Field::Timestamp => {
                    let time = named("Timestamp", map.next_value::<f64>())?;
                    raw.timestamp = Some(time).filter(|time| time.is_finite() && *time > 0.0);
                }
                Field::Hotkey => {
                    let key = named("Hotkey", map.next_value::<i64>())?;
                    raw.hotkey = u8::try_from(key).ok().filter(|key| (1..=8).contains(key));
                }
                Field::FaceFound => raw.found = Some(named("FaceFound", map.next_value())?),
                Field::Rotation => raw.face.head = Some(SourceRotation::Angles(vector(&mut map, "Rotation")?)),
                Field::Position => raw.face.position = Some(vector(&mut map, "Position")?),
                Field::EyeLeft => eyes[0] = Some(vector(&mut map, "EyeLeft")?),
                Field::EyeRight => eyes[1] = Some(vector(&mut map, "EyeRight")?),
                Field::BlendShapes => {
                    named("BlendShapes", map.next_value_seed(Shapes(self.0, &mut raw.face.frame)))?;
                }
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if let [Some(left), Some(right)] = eyes {
            raw.face.eyes = Some([left, right].map(SourceRotation::Angles));
        }
        Ok(raw)
    }
}

struct Shapes<'n, 'f>(&'n mut NameTable, &'f mut FaceFrame);

impl<'de> DeserializeSeed<'de> for Shapes<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Shapes<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of shapes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Shape<'a> {
            #[serde(borrow)]
            k: Cow<'a, str>,
            v: f32,
        }
        let error = |text: String| serde::de::Error::custom(text);
        while let Some(Shape { k, v }) = list.next_element()? {
            if !(v.abs() <= LIMIT) {
                return Err(error(format!("{k:?} is {v}, which is no weight")));
            }
            match self.0.resolve(&k).map_err(error)? {
                Resolved::Shape(shape) => self.1.set(*shape, v),
                Resolved::Channel(name) if self.1.channels.len() < MAX_CHANNELS => {
                    self.1.channels.push(Channel { name: name.clone(), value: clamp_weight(v) });
                }
                Resolved::Channel(_) => {}
            }
        }
        Ok(())
    }
}

/// Writes a frame as the app on an iPhone does, over what was in `out`. A frame that is not tracked goes out with stale
/// values and `FaceFound` false.
pub fn encode(frame: &FaceFrame, unix_ms: u64, profile: &SourceProfile, out: &mut String) {
    let source = profile.unapply(frame);
    let angles = |rotation: Option<SourceRotation>| match rotation {
        Some(SourceRotation::Angles(angles)) => angles,
        _ => [0.0; 3],
    };
    let eyes = source.eyes.map_or([None; 2], |eyes| eyes.map(Some));
    out.clear();
    // Writing to a string cannot fail.
    let _ = write!(out, r#"{{"Timestamp":{unix_ms},"Hotkey":-1,"FaceFound":{}"#, frame.tracked);
    for (name, [x, y, z]) in [
        ("Rotation", angles(source.head)),
        ("Position", source.position.unwrap_or_default()),
        ("EyeLeft", angles(eyes[0])),
        ("EyeRight", angles(eyes[1])),
    ] {
        let _ = write!(out, r#","{name}":{{"x":{x},"y":{y},"z":{z}}}"#);
    }
    out.push_str(r#","BlendShapes":["#);
    for (index, shape) in Blendshape::ALL.into_iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let (first, rest) = shape.name().split_at(1);
        let first = first.to_ascii_uppercase();
        let weight = source.frame.get(shape).unwrap_or(0.0);
        let _ = write!(out, r#"{comma}{{"k":"{first}{rest}","v":{weight}}}"#);
    }
    out.push_str("]}");
}

/// For how long a request asks.
pub fn lease(request: &Request) -> Duration {
    Duration::from_secs_f32(request.time.clamp(LEASE.0, LEASE.1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        wire::profile::{rotation_from_euler, turned},
    };

    const FRAME: &str = r#"{"Timestamp":1700000000123,"Hotkey":3,"FaceFound":true,
        "Rotation":{"x":-11.09,"y":9.42,"z":3.16},"Position":{"x":0.5,"y":-0.25,"z":-4.73},
        "EyeLeft":{"x":5.0,"y":9.1,"z":0.2},"EyeRight":{"x":5.5,"y":12.9,"z":0.1},"VNyanPos":{"a":[1,{"b":null}]},
        "BlendShapes":[{"k":"EyeBlinkLeft","v":0.25},{"k":"eyeBlink_R","v":0.5},{"k":"mouthLeft","v":0.75},
        {"k":"JawOpen","v":1.02},{"k":"TongueOut","v":0},{"k":"SomethingNew","v":0.5,"extra":true}]}"#;

    #[test]
    fn a_frame_of_a_phone() {
        let mut decoder = Decoder::new();
        let frame = decoder.decode(FRAME.as_bytes()).unwrap();
        assert_eq!((frame.unix_ms, frame.hotkey), (Some(1_700_000_000_123.0), Some(3)));
        let face = PROFILE.apply(frame.face);
        assert_eq!(face.get(Blendshape::EyeBlinkLeft), Some(0.25));
        assert_eq!(face.get(Blendshape::EyeBlinkRight), Some(0.5));
        assert_eq!(face.get(Blendshape::MouthLeft), Some(0.75));
        assert_eq!(face.get(Blendshape::JawOpen), Some(1.02));
        assert_eq!(face.get(Blendshape::CheekPuff), None);
        assert_eq!(face.channels[0].name.as_ref(), "SomethingNew");
        let head = face.head.unwrap();
        let nose = turned(head.rotation, [0.0, 0.0, 1.0]);
        assert!(nose[0] < -0.1 && nose[1] > 0.1, "right and up: {nose:?}");
        let ear = turned(head.rotation, [1.0, 0.0, 0.0]);
        assert!(ear[1] < -0.02, "the left side goes down: {ear:?}");
        let position = head.position.unwrap();
        assert!((position[0] - 0.05).abs() < 1e-6 && (position[2] + 0.473).abs() < 1e-6);
        let gaze = face.gaze.unwrap();
        assert!((gaze.left.yaw.to_degrees() - 9.1).abs() < 1e-4 && (gaze.left.pitch.to_degrees() + 5.0).abs() < 1e-4);
        assert!((gaze.right.yaw.to_degrees() - 12.9).abs() < 1e-4);
    }

    #[test]
    fn a_lost_face_brings_nothing_stale() {
        let text = FRAME.replace("true,\n", "false,\n");
        let frame = Decoder::new().decode(text.as_bytes()).unwrap();
        assert!(!frame.face.frame.tracked && frame.face.frame.is_empty() && frame.face.head.is_none());
        let empty = br#"{"Timestamp":1,"Hotkey":-1,"FaceFound":false,"BlendShapes":[]}"#;
        assert!(!Decoder::new().decode(empty).unwrap().face.frame.tracked);
    }

    #[test]
    fn errors_name_the_field() {
        let mut decoder = Decoder::new();
        for (text, field) in [
            ("", "EOF"),
            (r#"{"Timestamp":1}"#, "FaceFound"),
            (r#"{"FaceFound":"yes"}"#, "FaceFound"),
            (r#"{"FaceFound":true,"Rotation":{"x":1,"y":2}}"#, "Rotation"),
            (r#"{"FaceFound":true,"EyeLeft":{"x":1e30,"y":2,"z":0}}"#, "EyeLeft"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"A"}]}"#, "BlendShapes"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"A","v":1e30}]}"#, "BlendShapes"),
            (r#"{"FaceFound":true,"Hotkey":"x"}"#, "Hotkey"),
            (r#"{"FaceFound":true}{}"#, "trailing"),
        ] {
            let error = decoder.decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
        assert_eq!(decoder.names.len(), 0, "nothing of a refused datagram is kept");
    }

    #[test]
    fn requests() {
        let request = Request::new(11125, 60.0);
        assert_eq!(request.time, 10.0);
        let text = String::from_utf8(Request::new(11125, 5.0).encode()).unwrap();
        let wanted = r#"{"messageType":"iOSTrackingDataRequest","time":5.0,"sentBy":"FaceLink","ports":[11125]}"#;
        assert_eq!(text, wanted);
        assert_eq!(Request::decode(text.as_bytes()).unwrap(), Request::new(11125, 5.0));
        for (from, to, field) in [
            ("5.0", "0.1", "time"),
            ("FaceLink", "", "sentBy"),
            ("11125", "", "ports"),
            ("iOSTrackingDataRequest", "Else", "messageType"),
        ] {
            let error = Request::decode(text.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_frame_costs_no_allocation_once_its_names_are_known() {
        let mut frame = FaceFrame::neutral();
        frame.head = Some(HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: None });
        let mut text = String::new();
        encode(&frame, 1, &PROFILE, &mut text);
        let mut decoder = Decoder::new();
        decoder.decode(text.as_bytes()).unwrap();
        let counted = allocation_counter::measure(|| {
            for _ in 0..10 {
                decoder.decode(text.as_bytes()).unwrap();
            }
        });
        assert_eq!(counted.count_total, 0);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(
            yaw in -1.0_f32..1.0, pitch in -1.0_f32..1.0, roll in -0.5_f32..0.5,
            weights in proptest::collection::vec(0.0_f32..=1.0, 52), tracked: bool,
        ) {
            let mut frame = FaceFrame { tracked, ..FaceFrame::neutral() };
            frame.weights.copy_from_slice(&weights);
            frame.head = Some(HeadPose { rotation: rotation_from_euler(yaw, pitch, roll), position: Some([0.1, 0.2, -0.4]) });
            frame.gaze = Some(Gaze { left: EyeGaze { yaw, pitch }, right: EyeGaze { yaw: pitch, pitch: yaw } });
            let mut text = String::new();
            encode(&frame, 7, &PROFILE, &mut text);
            let back = PROFILE.apply(Decoder::new().decode(text.as_bytes()).unwrap().face);
            prop_assert_eq!(back.tracked, tracked);
            if tracked {
                prop_assert_eq!(back.weights, frame.weights);
                let (a, b) = (back.head.unwrap(), frame.head.unwrap());
                let dot: f32 = a.rotation.iter().zip(&b.rotation).map(|(a, b)| a * b).sum();
                prop_assert!(dot.abs() > 0.9999, "{:?} {:?}", a, b);
                prop_assert!((back.gaze.unwrap().left.yaw - yaw).abs() < 1e-4);
            }
        }
    }
}
