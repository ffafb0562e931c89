//! VTube Studio on a phone, and MeowFace and others with the same protocol: JSON over UDP, on request.
//!
//! # Bytes
//! The receiver asks, to port [`PORT`] of the phone, and again before the time is over:
//!
//! ```json
//! {"messageType":"iOSTrackingDataRequest","time":5.0,"sentBy":"FaceLink","ports":[11125]}
//! ```
//!
//! Some receivers write `sendForSeconds` in place of `time`.
//!
//! The phone then sends one JSON object a frame to each of the ports, at the address that asked:
//!
//! | field | value |
//! |---|---|
//! | `Timestamp` | Unix milliseconds |
//! | `Hotkey` | button on the phone's screen that is pressed, 1 to 8; -1 for none |
//! | `FaceFound` | whether the app sees a face; while not, the rest is old or empty, and counts for nothing |
//! | `Rotation`, `Position` | of the head, `{"x":…,"y":…,"z":…}` |
//! | `EyeLeft`, `EyeRight` | rotation of the performer's eyes, likewise |
//! | `BlendShapes` | `[{"k":name,"v":weight},…]` in any order |
//!
//! Other fields are ignored. Names are `EyeBlinkLeft` from an iPhone, `eyeBlinkLeft` from MeowFace, and in part
//! `eyeLookOut_L` from Android; what is no ARKit name is a channel. An object of 3 to 4 kB comes in several IP fragments.
//!
//! # Values
//! Weights are 0 to 1, angles degrees. **For the head, x is yaw, y is pitch and z is roll.** The maker's own example (Unity)
//! turns a head by `Euler(-y, -x, z)` and puts it at `(-x, y, z)`, and that head has its eyes and mouth on its **-Z**
//! side, towards a camera that looks along +Z. In Unity's left-handed axes, such a face has its left at +X, up at +Y and
//! *into* the head at +Z: to come to the axes of [`HeadPose`](crate::HeadPose), Z is mirrored. That negates angles about
//! x and y and keeps those about z, so that the rotation is `Ry(x) · Rx(y) · Rz(z)` (Unity's order) in our axes: ARKit's own
//! angles, under exchanged names. Positive x turns to the performer's left, positive y nods *down*, positive z lifts the
//! performer's left side; a position is `(-x, y, -z)`.
//!
//! A frame of a real phone agrees: the face is seen 1.3 units above the camera at a distance of 4.7, so that a look at
//! the phone is a look 15° down; the head has y = 9.4, and the eyes look 3.5° down. The unit, about a decimetre, is
//! inferred from that distance. For the eyes, +x is down and +y to the performer's left: 9.1° at `EyeLookOutLeft` 0.26,
//! and 12.9° at `EyeLookInRight` 0.37, are the 35° at 1 of every ARKit source.
//!
//! Sources are listed in `docs/sources/vtube-studio.md`.

use std::{fmt, io::Write, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};

use super::{
    json::MAX_MESSAGE,
    name_table::{MAX_NAMES, NameTable, Resolved},
    profile::{AngleUnit, AxisFlip, EulerOrder, RotationProfile, SourceFace, SourceProfile, SourceRotation},
    sniff::trim_text,
    value::{MAX_WEIGHT_READ, Number, Skip, Text, at, shorten},
};
use crate::{
    frame::{Channel, FaceFrame, clamp_weight},
    names::Blendshape,
};

/// Port of the app on the phone.
pub const PORT: u16 = 21412;
/// Buttons on the phone's screen.
pub const HOTKEYS: usize = 8;
/// Shortest and longest time that the app sends for on one request.
pub const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(10);
/// Most ports in a request; the app's first versions took 16.
pub const MAX_PORTS: usize = 32;
/// Longest `sentBy` of a request, bytes; the app's first versions took 32.
pub const MAX_SENT_BY: usize = 64;

/// `messageType` of a request.
const REQUEST: &str = "iOSTrackingDataRequest";

/// The conventions of the app; see the [module](self) for the origin of each sign.
pub const PROFILE: SourceProfile = SourceProfile {
    head: RotationProfile {
        flip: AxisFlip { yaw: false, pitch: true, roll: false },
        swap_yaw_pitch: true,
        order: EulerOrder::Yxz,
        unit: AngleUnit::Degrees,
        ..RotationProfile::DEFAULT
    },
    eyes: RotationProfile {
        flip: AxisFlip { yaw: false, pitch: true, roll: false },
        unit: AngleUnit::Degrees,
        ..RotationProfile::DEFAULT
    },
    metres_per_unit: 0.1,
    flip_position: [true, false, true],
    ..SourceProfile::PLAIN
};

/// Why a datagram was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VtsError {
    /// More than [`MAX_MESSAGE`] bytes.
    #[error("datagram of {0} bytes is larger than the {MAX_MESSAGE} that are read")]
    TooLarge(usize),
    /// Not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Syntax(String),
    /// A field is of the wrong type or out of its range; the text names it.
    #[error("{0}")]
    Field(String),
    /// A field that must be there is not.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
}

impl From<serde_json::Error> for VtsError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::Field(error.to_string()) } else { Self::Syntax(error.to_string()) }
    }
}

/// One frame of the phone.
#[derive(Clone, Debug, PartialEq)]
pub struct VtsFrame {
    /// The face, as sent. While the app has lost it: not tracked, and no shape given.
    pub face: SourceFace,
    /// The phone's wall clock, Unix milliseconds.
    pub unix_ms: Option<f64>,
    /// Button that is pressed, 1 to 8.
    pub hotkey: Option<u8>,
}

/// Reads what phones send to one port.
///
/// Names are resolved once, so that a frame costs no allocation. A button that was pressed once is a channel from then on,
/// `hotkey_1` to `hotkey_8`: 1 while it is pressed, else 0.
#[derive(Debug, Default)]
pub struct Decoder {
    names: NameTable,
    hotkeys: [Option<Arc<str>>; HOTKEYS],
}

impl Decoder {
    /// Reads one datagram to numbers as they were sent, for [`SourceProfile::apply`].
    ///
    /// # Errors
    /// [`VtsError`] names the field. Nothing of a refused datagram is kept.
    pub fn decode(&mut self, datagram: &[u8]) -> Result<VtsFrame, VtsError> {
        if datagram.len() > MAX_MESSAGE {
            return Err(VtsError::TooLarge(datagram.len()));
        }
        // Any sender may send here, under ever new names: the table must not stay full.
        if self.names.is_full() {
            self.names = NameTable::default();
        }
        let known = self.names.len();
        let (fields, found) = self.fields(datagram).inspect_err(|_| self.names.truncate(known))?;
        let mut face = SourceFace::default();
        if found {
            face.frame = fields.frame;
            face.head = fields.rotation.map(SourceRotation::Angles);
            face.position = fields.position;
            face.eyes = fields.left.zip(fields.right).map(|(l, r)| [l, r].map(SourceRotation::Angles));
        }
        face.frame.tracked = found;
        face.frame.capture_time = fields.unix_ms.filter(|ms| (0.0..1e15).contains(ms)).map(|ms| {
            // Whole milliseconds, which seconds in floating point are not.
            Duration::from_micros((ms * 1000.0).round() as u64)
        });
        let hotkey = u8::try_from(fields.hotkey).ok().filter(|key| (1..=HOTKEYS).contains(&usize::from(*key)));
        self.add_hotkeys(hotkey, &mut face.frame);
        Ok(VtsFrame { face, unix_ms: fields.unix_ms, hotkey })
    }

    /// The fields of a datagram, and whether the app sees a face.
    fn fields(&mut self, datagram: &[u8]) -> Result<(Fields, bool), VtsError> {
        let mut fields = Fields::default();
        let mut json = serde_json::Deserializer::from_slice(trim_text(datagram));
        json.deserialize_map(FieldsVisitor { fields: &mut fields, names: &mut self.names })?;
        json.end()?;
        match (fields.found, fields.has_shapes) {
            (Some(found), _) => Ok((fields, found)),
            (None, true) => Ok((fields, true)),
            (None, false) => Err(VtsError::Missing("FaceFound")),
        }
    }

    fn add_hotkeys(&mut self, pressed: Option<u8>, frame: &mut FaceFrame) {
        for (place, name) in self.hotkeys.iter_mut().enumerate() {
            let pressed = pressed.is_some_and(|key| usize::from(key) == place + 1);
            if pressed && name.is_none() {
                *name = Some(hotkey_channel(place + 1).into());
            }
            if let Some(name) = name {
                frame.channels.push(Channel { name: name.clone(), value: f32::from(u8::from(pressed)) });
            }
        }
    }
}

fn hotkey_channel(key: usize) -> String {
    format!("hotkey_{key}")
}

/// The button that is pressed by a frame's channels.
fn hotkey_of(frame: &FaceFrame) -> Option<usize> {
    let pressed = frame.channels.iter().filter(|channel| channel.value >= 0.5);
    let key = |name: &str| name.strip_prefix("hotkey_")?.parse().ok().filter(|key| (1..=HOTKEYS).contains(key));
    pressed.filter_map(|channel| key(&channel.name)).next()
}

/// The fields of a frame, as far as they came.
#[derive(Default)]
struct Fields {
    frame: FaceFrame,
    has_shapes: bool,
    found: Option<bool>,
    hotkey: i64,
    unix_ms: Option<f64>,
    rotation: Option<[f32; 3]>,
    position: Option<[f32; 3]>,
    left: Option<[f32; 3]>,
    right: Option<[f32; 3]>,
}

struct FieldsVisitor<'f> {
    fields: &'f mut Fields,
    names: &'f mut NameTable,
}

impl<'de> Visitor<'de> for FieldsVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { fields, names } = self;
        while let Some(Text(key)) = map.next_key()? {
            let vector = |map: &mut A| map.next_value::<Option<Vector>>().map(|v| v.map(|Vector(v)| v));
            let read = match key.as_ref() {
                "Timestamp" => map.next_value::<Option<Number>>().map(|ms| fields.unix_ms = ms.map(|Number(ms)| ms)),
                "Hotkey" => map
                    .next_value::<Option<Number>>()
                    .map(|key| fields.hotkey = key.map_or(-1, |Number(key)| key as i64)),
                "FaceFound" => map.next_value().map(|found| fields.found = Some(found)),
                "Rotation" => vector(&mut map).map(|v| fields.rotation = v),
                "Position" => vector(&mut map).map(|v| fields.position = v),
                "EyeLeft" => vector(&mut map).map(|v| fields.left = v),
                "EyeRight" => vector(&mut map).map(|v| fields.right = v),
                "BlendShapes" => map
                    .next_value_seed(Shapes { frame: &mut fields.frame, names })
                    .map(|given| fields.has_shapes |= given),
                _ => map.next_value::<Skip>().map(drop),
            };
            read.map_err(|error| at(&shorten(&key), &error))?;
        }
        Ok(())
    }
}

/// `{"x":…,"y":…,"z":…}`, all three of them.
struct Vector([f32; 3]);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VectorVisitor;
        impl<'de> Visitor<'de> for VectorVisitor {
            type Value = [f32; 3];

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of x, y and z")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parts = [None; 3];
                while let Some(Text(key)) = map.next_key()? {
                    let place = match key.as_ref() {
                        "x" => 0,
                        "y" => 1,
                        "z" => 2,
                        _ => {
                            map.next_value::<Skip>()?;
                            continue;
                        }
                    };
                    let Number(value) = map.next_value()?;
                    if value.abs() > MAX_WEIGHT_READ {
                        return Err(de::Error::custom(format_args!("`{key}` of {value} is out of range")));
                    }
                    parts[place] = Some(value as f32);
                }
                match parts {
                    [Some(x), Some(y), Some(z)] => Ok([x, y, z]),
                    _ => Err(de::Error::custom("needs `x`, `y` and `z`")),
                }
            }
        }
        deserializer.deserialize_map(VectorVisitor).map(Self)
    }
}

/// `[{"k":name,"v":weight},…]`; `null` is none, and whether there were any is given back.
struct Shapes<'f> {
    frame: &'f mut FaceFrame,
    names: &'f mut NameTable,
}

impl<'de> DeserializeSeed<'de> for Shapes<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Shapes<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of names and weights")
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        let Self { frame, names } = self;
        let mut count = 0;
        while seq.next_element_seed(Shape { frame: &mut *frame, names: &mut *names })?.is_some() {
            count += 1;
            if count > MAX_NAMES {
                return Err(de::Error::custom(format_args!("more than {MAX_NAMES} shapes")));
            }
        }
        Ok(count > 0)
    }
}

/// `{"k":name,"v":weight}`.
struct Shape<'f> {
    frame: &'f mut FaceFrame,
    names: &'f mut NameTable,
}

impl<'de> DeserializeSeed<'de> for Shape<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Shape<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of `k` and `v`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut name, mut weight) = (None, None);
        while let Some(Text(key)) = map.next_key()? {
            match key.as_ref() {
                "k" => name = Some(map.next_value::<Text<'de>>()?.0),
                // The name comes first as the apps write it, and makes the better error.
                "v" => match (map.next_value(), &name) {
                    (Ok(Number(value)), _) => weight = Some(value),
                    (Err(error), Some(name)) => return Err(at(&format!("BlendShapes.{}", shorten(name)), &error)),
                    (Err(error), None) => return Err(at("BlendShapes.v", &error)),
                },
                _ => {
                    map.next_value::<Skip>()?;
                }
            }
        }
        let name = name.ok_or_else(|| de::Error::custom("an entry without `k`"))?;
        let field = || format!("BlendShapes.{}", shorten(&name));
        let weight = weight.ok_or_else(|| at::<A::Error>(&field(), &"has no `v`"))?;
        if weight.abs() > MAX_WEIGHT_READ {
            return Err(at(&field(), &format_args!("{weight} is no weight")));
        }
        let value = clamp_weight(weight as f32);
        match self.names.resolve(&name).map_err(|error| at::<A::Error>(&field(), &error))? {
            Resolved::Shape(shape) => self.frame.set(*shape, value),
            Resolved::Channel(name) => {
                match self.frame.channels.iter_mut().find(|channel| Arc::ptr_eq(&channel.name, name)) {
                    Some(channel) => channel.value = value,
                    None => self.frame.channels.push(Channel { name: name.clone(), value }),
                }
            }
        }
        Ok(())
    }
}

/// A request to a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How long to send; within [`LEASE`].
    pub lease: Duration,
    /// The receiver's name.
    pub sent_by: String,
    /// Ports to send to, at the address that asks.
    pub ports: Vec<u16>,
}

impl Request {
    /// Reads a request, as the app does.
    ///
    /// # Errors
    /// [`VtsError`] names the field that the app would not take.
    pub fn decode(datagram: &[u8]) -> Result<Self, VtsError> {
        if datagram.len() > MAX_MESSAGE {
            return Err(VtsError::TooLarge(datagram.len()));
        }
        #[derive(Deserialize)]
        struct Raw<'a> {
            #[serde(borrow, rename = "messageType")]
            kind: std::borrow::Cow<'a, str>,
            time: Option<f64>,
            #[serde(rename = "sendForSeconds")]
            send_for_seconds: Option<f64>,
            #[serde(rename = "sentBy")]
            sent_by: String,
            ports: Vec<u16>,
        }
        let raw: Raw<'_> = serde_json::from_slice(trim_text(datagram))?;
        if raw.kind != REQUEST {
            return Err(VtsError::Field(format!("field `messageType`: `{}` is not known", shorten(&raw.kind))));
        }
        let bad = |field: &str, range: &dyn fmt::Display| VtsError::Field(format!("field `{field}`: expected {range}"));
        let time = raw.time.or(raw.send_for_seconds).ok_or(VtsError::Missing("time"))?;
        let lease = Duration::try_from_secs_f64(time).ok().filter(|lease| LEASE.contains(lease));
        let lease = lease.ok_or_else(|| bad("time", &"0.5 to 10 seconds"))?;
        if !(1..=MAX_SENT_BY).contains(&raw.sent_by.len()) {
            return Err(bad("sentBy", &format_args!("1 to {MAX_SENT_BY} letters")));
        }
        if !(1..=MAX_PORTS).contains(&raw.ports.len()) || raw.ports.contains(&0) {
            return Err(bad("ports", &format_args!("1 to {MAX_PORTS} ports")));
        }
        Ok(Self { lease, sent_by: raw.sent_by, ports: raw.ports })
    }

    /// Appends the request to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let sent_by = serde_json::to_string(&self.sent_by).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = write!(
            out,
            r#"{{"messageType":"{REQUEST}","time":{:?},"sentBy":{sent_by},"ports":{:?}}}"#,
            self.lease.as_secs_f64(),
            self.ports
        );
    }
}

/// Appends a frame to `out` as the app writes it: what is written with a profile decodes to the same frame with it.
///
/// Shapes that are not given are written as 0. A frame that is not tracked is marked, and its numbers are written
/// nevertheless, as they do in the app. Channels have no place in the format, but for `hotkey_1` to `hotkey_8`.
///
/// # Errors
/// [`VtsError::Field`] when a number is not finite; `out` is then unchanged.
pub fn encode(frame: &FaceFrame, unix_ms: f64, profile: &SourceProfile, out: &mut Vec<u8>) -> Result<(), VtsError> {
    let source = profile.unapply(frame);
    let angles = |rotation: Option<SourceRotation>| match rotation {
        Some(SourceRotation::Angles(angles)) => angles,
        _ => [0.0; 3],
    };
    let [left, right] = source.eyes.map_or([None; 2], |eyes| eyes.map(Some));
    let vectors = [
        ("Rotation", angles(source.head)),
        ("Position", source.position.unwrap_or_default()),
        ("EyeLeft", angles(left)),
        ("EyeRight", angles(right)),
    ];
    let refused = |name: &str| VtsError::Field(format!("field `{name}` is not finite"));
    if let Some((name, _)) = vectors.iter().find(|(_, vector)| vector.iter().any(|part| !part.is_finite())) {
        return Err(refused(name));
    }
    if let Some(shape) = Blendshape::ALL.into_iter().find(|shape| !source.frame.weights[shape.index()].is_finite()) {
        return Err(refused(shape.name()));
    }
    let hotkey = hotkey_of(frame).map_or(-1, |key| key as i64);
    // Writing to a Vec cannot fail.
    let _ = write!(out, r#"{{"Timestamp":{unix_ms:.0},"Hotkey":{hotkey},"FaceFound":{}"#, frame.tracked);
    for (name, [x, y, z]) in vectors {
        let _ = write!(out, r#","{name}":{{"x":{x},"y":{y},"z":{z}}}"#);
    }
    out.extend_from_slice(br#","BlendShapes":["#);
    for shape in Blendshape::ALL {
        let separator = if shape.index() == 0 { "" } else { "," };
        let (first, rest) = shape.name().split_at(1);
        let weight = source.frame.get(shape).unwrap_or(0.0);
        let _ = write!(out, r#"{separator}{{"k":"{}{rest}","v":{weight}}}"#, first.to_ascii_uppercase());
    }
    out.extend_from_slice(b"]}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{EyeGaze, Gaze, HeadPose},
        performer::Performance,
        wire::profile::turned,
    };
    use proptest::prelude::*;

    fn read(text: &str) -> VtsFrame {
        Decoder::default().decode(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        match Decoder::default().decode(text.as_bytes()) {
            Err(error) => error.to_string(),
            Ok(frame) => panic!("{text} was read as {frame:?}"),
        }
    }

    fn head(rotation: &str) -> [f32; 4] {
        let frame = read(&format!(r#"{{"FaceFound":true,"Rotation":{rotation},"BlendShapes":[]}}"#));
        PROFILE.apply(frame.face).head.unwrap().rotation
    }

    const NOSE: [f32; 3] = [0.0, 0.0, 1.0];
    const LEFT: [f32; 3] = [1.0, 0.0, 0.0];

    #[test]
    fn vtube_studio_iphone_frame_is_read() {
        let text = r#"{"Timestamp":1700000000123,"Hotkey":-1,"FaceFound":true,
            "Rotation":{"x":-11.0,"y":9.5,"z":3.25},"Position":{"x":0.5,"y":1.25,"z":4.75},
            "EyeLeft":{"x":3.5,"y":9.0,"z":0.5},"EyeRight":{"x":3.5,"y":13.0,"z":0.75},
            "BlendShapes":[{"k":"EyeLookOutLeft","v":0.26},{"k":"JawOpen","v":0.125},{"k":"TongueOut","v":5.0e-11},
            {"k":"Purr","v":0.5}],"Version":2,"More":{"a":[1,{"b":null}]}}"#;
        let VtsFrame { face, unix_ms, hotkey } = read(text);
        assert_eq!((unix_ms, hotkey), (Some(1_700_000_000_123.0), None));
        assert_eq!(face.head, Some(SourceRotation::Angles([-11.0, 9.5, 3.25])));
        let frame = PROFILE.apply(face);
        assert!(frame.tracked);
        assert_eq!(frame.capture_time, Some(Duration::from_millis(1_700_000_000_123)));
        assert_eq!(frame.get(Blendshape::EyeLookOutLeft), Some(0.26));
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.125));
        assert_eq!(frame.get(Blendshape::JawLeft), None);
        assert_eq!((&*frame.channels[0].name, frame.channels[0].value), ("Purr", 0.5));
        let pose = frame.head.unwrap();
        let nose = turned(pose.rotation, NOSE);
        assert!(nose[0] < -0.15, "to the performer's right");
        assert!(nose[1] < -0.1, "down, at the phone");
        let [x, y, z] = pose.position.unwrap();
        assert!((x + 0.05).abs() < 1e-6 && (y - 0.125).abs() < 1e-6 && (z + 0.475).abs() < 1e-6);
        let gaze = frame.gaze.unwrap();
        assert!((gaze.left.yaw - 9.0_f32.to_radians()).abs() < 1e-6, "to the left, against the head");
        assert!((gaze.left.pitch + 3.5_f32.to_radians()).abs() < 1e-6);
        assert!((gaze.right.yaw - 13.0_f32.to_radians()).abs() < 1e-6);
    }

    /// The vendor's example, worked out by hand: the face of its head is at -Z of left-handed axes, with its
    /// left at +X, and is turned about y, then about x, then about z of the result, by (-y, -x, z) of the wire.
    #[test]
    fn vtube_studio_head_turns_as_in_vendor_example() {
        fn unity(x: f32, y: f32, z: f32, [a, b, c]: [f32; 3]) -> [f32; 3] {
            let (rx, ry, rz) = ((-y).to_radians(), (-x).to_radians(), z.to_radians());
            // The same formulas as in right-handed axes: only their image is mirrored.
            let (a, b) = (a * rz.cos() - b * rz.sin(), a * rz.sin() + b * rz.cos());
            let (b, c) = (b * rx.cos() - c * rx.sin(), b * rx.sin() + c * rx.cos());
            let (a, c) = (a * ry.cos() + c * ry.sin(), -a * ry.sin() + c * ry.cos());
            [a, b, c]
        }
        for (x, y, z) in [(20.0, 0.0, 0.0), (0.0, 20.0, 0.0), (0.0, 0.0, 20.0), (-31.0, 17.0, 12.0)] {
            let ours = head(&format!(r#"{{"x":{x},"y":{y},"z":{z}}}"#));
            for of_the_face in [NOSE, LEFT] {
                let [a, b, c] = of_the_face;
                let [a, b, c] = unity(x, y, z, [a, b, -c]);
                let wanted = [a, b, -c];
                let got = turned(ours, of_the_face);
                assert!(wanted.iter().zip(got).all(|(a, b)| (a - b).abs() < 1e-5), "{x} {y} {z}: {got:?} {wanted:?}");
            }
        }
        assert!(turned(head(r#"{"x":-20,"y":0,"z":0}"#), NOSE)[0] < -0.3, "negative x turns to the performer's right");
        assert!(turned(head(r#"{"x":0,"y":20,"z":0}"#), NOSE)[1] < -0.3, "positive y nods");
        assert!(turned(head(r#"{"x":0,"y":0,"z":20}"#), LEFT)[1] > 0.3, "positive z lifts the left side");
    }

    #[test]
    fn vtube_studio_spellings_of_apps_are_accepted() {
        for name in ["EyeBlinkLeft", "eyeBlinkLeft", "eyeBlink_L", "EyeBlink_L"] {
            let frame = read(&format!(r#"{{"FaceFound":true,"BlendShapes":[{{"v":0.75,"k":"{name}"}}]}}"#));
            assert_eq!(frame.face.frame.get(Blendshape::EyeBlinkLeft), Some(0.75), "{name}");
            assert!(frame.face.frame.channels.is_empty() && frame.face.head.is_none() && frame.face.eyes.is_none());
        }
    }

    #[test]
    fn vtube_studio_lost_face_is_reported_and_its_values_are_stale() {
        for text in [
            r#"{"FaceFound":false,"Rotation":{"x":1,"y":2,"z":3},"BlendShapes":[{"k":"JawOpen","v":0.5}]}"#,
            r#"{"Rotation":{"x":1,"y":2,"z":3},"BlendShapes":[{"k":"JawOpen","v":0.5}],"FaceFound":false}"#,
            r#"{"FaceFound":false,"Rotation":null,"BlendShapes":null}"#,
            r#"{"FaceFound":false}"#,
        ] {
            let frame = PROFILE.apply(read(text).face);
            assert!(!frame.tracked && frame.is_empty(), "{text}");
        }
        assert!(read(r#"{"BlendShapes":[{"k":"JawOpen","v":0.5}]}"#).face.frame.tracked);
    }

    #[test]
    fn vtube_studio_buttons_are_channels_once_pressed() {
        let mut decoder = Decoder::default();
        let mut channels = |hotkey: i64| {
            let text = format!(r#"{{"FaceFound":true,"Hotkey":{hotkey},"BlendShapes":[]}}"#);
            let frame = decoder.decode(text.as_bytes()).unwrap();
            let channels = frame.face.frame.channels.iter().map(|c| (c.name.to_string(), c.value));
            (frame.hotkey, channels.collect::<Vec<_>>())
        };
        let named = |key: &str, value| (key.to_owned(), value);
        assert_eq!(channels(-1), (None, vec![]));
        assert_eq!(channels(3), (Some(3), vec![named("hotkey_3", 1.0)]));
        assert_eq!(channels(-1), (None, vec![named("hotkey_3", 0.0)]));
        assert_eq!(channels(8), (Some(8), vec![named("hotkey_3", 0.0), named("hotkey_8", 1.0)]));
        assert_eq!(channels(9), (None, vec![named("hotkey_3", 0.0), named("hotkey_8", 0.0)]));
    }

    #[test]
    fn vtube_studio_error_names_field() {
        for (text, field) in [
            (r#"{"FaceFound":"yes"}"#, "`FaceFound`"),
            (r#"{"FaceFound":null}"#, "`FaceFound`"),
            (r#"{"Hotkey":1}"#, "`FaceFound` is missing"),
            (r#"{"FaceFound":true,"Timestamp":"now"}"#, "`Timestamp`"),
            (r#"{"FaceFound":true,"Hotkey":[1]}"#, "`Hotkey`"),
            (r#"{"FaceFound":true,"Rotation":[1,2,3]}"#, "`Rotation`"),
            (r#"{"FaceFound":true,"Rotation":{"x":1,"y":2}}"#, "`Rotation`"),
            (r#"{"FaceFound":true,"Position":{"x":1,"y":2,"z":"3"}}"#, "`Position`"),
            (r#"{"FaceFound":true,"EyeLeft":{"x":1e30,"y":2,"z":3}}"#, "`EyeLeft`"),
            (r#"{"FaceFound":true,"EyeRight":5}"#, "`EyeRight`"),
            (r#"{"FaceFound":true,"BlendShapes":{"JawOpen":1}}"#, "`BlendShapes`"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"JawOpen"}]}"#, "`BlendShapes.JawOpen`"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"JawOpen","v":null}]}"#, "`BlendShapes.JawOpen`"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"JawOpen","v":1e9}]}"#, "`BlendShapes.JawOpen`"),
            (r#"{"FaceFound":true,"BlendShapes":[{"v":1}]}"#, "`BlendShapes`"),
            (r#"{"FaceFound":true,"BlendShapes":[{"k":"","v":1}]}"#, "`BlendShapes.`"),
            (r#"{"FaceFound":true,"BlendShapes":[7]}"#, "`BlendShapes`"),
        ] {
            let error = refused(text);
            assert!(error.contains(field), "{text}: {error}");
        }
        for text in ["", "[]", "7", "{", r#"{"FaceFound":true}x"#, r#"{"FaceFound":true,"Rotation":{"x":1e999}}"#] {
            let error = Decoder::default().decode(text.as_bytes()).unwrap_err();
            assert!(matches!(error, VtsError::Syntax(_) | VtsError::Field(_)), "{text}: {error}");
        }
        let large = format!(r#"{{"FaceFound":true,"pad":"{}"}}"#, "x".repeat(MAX_MESSAGE));
        assert!(matches!(Decoder::default().decode(large.as_bytes()), Err(VtsError::TooLarge(_))));
        let bomb = format!(r#"{{"x":{}"#, "[".repeat(10_000));
        assert!(refused(&bomb).contains("recursion limit"));
        let many = vec![r#"{"k":"a","v":1}"#; MAX_NAMES + 1].join(",");
        assert!(refused(&format!(r#"{{"FaceFound":true,"BlendShapes":[{many}]}}"#)).contains("more than 512"));
    }

    #[test]
    fn vtube_studio_name_table_recovers_when_full() {
        let mut decoder = Decoder::default();
        for number in 0..3 * MAX_NAMES {
            let text = format!(r#"{{"FaceFound":true,"BlendShapes":[{{"k":"name {number}","v":1}}]}}"#);
            assert_eq!(decoder.decode(text.as_bytes()).unwrap().face.frame.channels.len(), 1);
        }
    }

    #[test]
    fn vtube_studio_frame_round_trips() {
        let mut frame = Performance::new(5).frame_at(Duration::from_secs(7));
        frame.head = frame.head.map(|head| HeadPose { position: Some([0.05, -0.02, -0.45]), ..head });
        frame.channels.push(Channel { name: "hotkey_5".into(), value: 1.0 });
        for tracked in [true, false] {
            frame.tracked = tracked;
            let mut bytes = Vec::new();
            encode(&frame, 1_700_000_000_123.4, &PROFILE, &mut bytes).unwrap();
            assert!((2000..4500).contains(&bytes.len()), "{}", bytes.len());
            let read = Decoder::default().decode(&bytes).unwrap();
            assert_eq!((read.unix_ms, read.hotkey), (Some(1_700_000_000_123.0), Some(5)));
            let back = PROFILE.apply(read.face);
            assert_eq!(back.tracked, tracked);
            if tracked {
                assert_eq!((back.weights, back.present), (frame.weights, frame.present));
                let (was, is) = (frame.head.unwrap(), back.head.unwrap());
                let same: f32 = was.rotation.iter().zip(is.rotation).map(|(a, b)| a * b).sum();
                assert!(same.abs() > 1.0 - 1e-5);
                let (was, is) = (was.position.unwrap(), is.position.unwrap());
                assert!(was.iter().zip(is).all(|(a, b)| (a - b).abs() < 1e-6));
                let (was, is) = (frame.gaze.unwrap(), back.gaze.unwrap());
                assert!((was.left.yaw - is.left.yaw).abs() < 1e-6 && (was.right.pitch - is.right.pitch).abs() < 1e-6);
            } else {
                assert_eq!((back.present, back.head, back.gaze), (0, None, None));
            }
        }
        let mut out = vec![1];
        frame.weights[3] = f32::NAN;
        assert_eq!(
            encode(&frame, 0.0, &PROFILE, &mut out).unwrap_err().to_string(),
            "field `eyeLookOutLeft` is not finite"
        );
        frame.weights[3] = 0.0;
        let eye = EyeGaze { yaw: f32::NAN, pitch: 0.0 };
        frame.gaze = Some(Gaze { left: EyeGaze::default(), right: eye });
        assert!(encode(&frame, 0.0, &PROFILE, &mut out).is_err());
        assert_eq!(out, [1]);
    }

    #[test]
    fn vtube_studio_requests_are_read() {
        let request = Request { lease: Duration::from_secs(5), sent_by: "FaceLink".to_owned(), ports: vec![11125] };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let wanted = r#"{"messageType":"iOSTrackingDataRequest","time":5.0,"sentBy":"FaceLink","ports":[11125]}"#;
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), wanted);
        assert_eq!(Request::decode(&bytes).unwrap(), request);
        // Other receivers write it so.
        let other = "\u{feff}{\"messageType\":\"iOSTrackingDataRequest\",\"sendForSeconds\":5,\"sentBy\":\"FaceLink\",\
                     \"ports\":[11125],\"more\":1}\0";
        assert_eq!(Request::decode(other.as_bytes()).unwrap(), request);
        for (text, field) in [
            (r#"{"messageType":"iOSTrackingDataRequest","sentBy":"a","ports":[1]}"#, "`time`"),
            (r#"{"messageType":"iOSTrackingDataRequest","sendForSeconds":60,"sentBy":"a","ports":[1]}"#, "`time`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":11,"sentBy":"a","ports":[1]}"#, "`time`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":-1,"sentBy":"a","ports":[1]}"#, "`time`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":1,"sentBy":"","ports":[1]}"#, "`sentBy`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":1,"sentBy":"a","ports":[]}"#, "`ports`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":1,"sentBy":"a","ports":[0]}"#, "`ports`"),
            (r#"{"messageType":"iOSTrackingDataRequest","time":1,"sentBy":"a"}"#, "`ports`"),
            (r#"{"messageType":"dance","time":1,"sentBy":"a","ports":[1]}"#, "`messageType`"),
        ] {
            let error = Request::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn vtube_studio_frame_allocates_nothing() {
        let frame = Performance::new(5).frame_at(Duration::from_secs(7));
        let mut bytes = Vec::new();
        encode(&frame, 1_700_000_000_123.0, &PROFILE, &mut bytes).unwrap();
        let mut decoder = Decoder::default();
        decoder.decode(&bytes).unwrap();
        let info = allocation_counter::measure(|| {
            let frame = decoder.decode(&bytes).unwrap();
            assert!(PROFILE.apply(frame.face).is_complete());
        });
        assert_eq!(info.count_total, 0);
    }

    #[test]
    fn vtube_studio_memory_is_bounded_by_datagram() {
        let entries: Vec<_> = (0..MAX_NAMES).map(|i| format!(r#"{{"k":"{i:0>100}","v":1}}"#)).collect();
        let text = format!(r#"{{"FaceFound":true,"BlendShapes":[{}]}}"#, entries.join(","));
        let mut decoder = Decoder::default();
        let info = allocation_counter::measure(|| assert!(decoder.decode(text.as_bytes()).is_ok()));
        assert!(info.bytes_max < 4 * text.len() as u64, "{} of {}", info.bytes_max, text.len());
        let ports = vec!["1"; 30_000].join(",");
        let text = format!(r#"{{"messageType":"iOSTrackingDataRequest","time":1,"sentBy":"a","ports":[{ports}]}}"#);
        let info = allocation_counter::measure(|| assert!(Request::decode(text.as_bytes()).is_err()));
        assert!(info.bytes_max < 4 * text.len() as u64, "{} of {}", info.bytes_max, text.len());
    }

    proptest! {
        #[test]
        fn vtube_studio_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Decoder::default().decode(&bytes);
            let _ = Request::decode(&bytes);
        }

        #[test]
        fn vtube_studio_broken_frame_never_panics(cut in 0_usize..4000, at in 0_usize..4000, byte in any::<u8>()) {
            let frame = Performance::new(5).frame_at(Duration::from_secs(2));
            let mut bytes = Vec::new();
            encode(&frame, 1.0, &PROFILE, &mut bytes).unwrap();
            let len = bytes.len();
            bytes[at % len] = byte;
            bytes.truncate(len - if cut % 2 == 0 { 0 } else { cut % len });
            if let Ok(read) = Decoder::default().decode(&bytes) {
                let frame = PROFILE.apply(read.face);
                prop_assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
                if let Some(head) = frame.head {
                    let length: f32 = head.rotation.iter().map(|part| part * part).sum();
                    prop_assert!((length - 1.0).abs() < 1e-4);
                }
            }
        }
    }
}
