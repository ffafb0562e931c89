//! Schemas, and the frames that they describe.

use std::{borrow::Cow, collections::HashSet, fmt, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use super::message::*;
use crate::{
    frame::{Channel, FaceFrame, MAX_CHANNELS, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::{
        mocap_text,
        name_table::Resolved,
        profile::{SourceFace, SourceProfile, SourceRotation},
    },
};

/// The conventions: the same as in the apps' text.
pub const PROFILE: SourceProfile = mocap_text::PROFILE;
const MAX_NAME_LEN: usize = 255;
/// Longest app or profile name that is kept, in characters.
const MAX_TITLE: usize = 64;
/// An angle further from zero than this, in degrees, is none: ten turns.
const DEGREES_LIMIT: f32 = 3600.0;
/// No head is further from the camera than this, in metres, whatever the app's own scaling.
const METRES_LIMIT: f32 = 1000.0;
const POSE_NAMES: [&str; 12] = [
    "head rotation x",
    "head rotation y",
    "head rotation z",
    "head position x",
    "head position y",
    "head position z",
    "right eye x",
    "right eye y",
    "right eye z",
    "left eye x",
    "left eye y",
    "left eye z",
];

/// How a blendshape's value is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Two bytes.
    #[default]
    I16,
    /// Four bytes.
    I32,
}

impl Encoding {
    /// Bytes of a value.
    pub const fn size(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::I32 => 4,
        }
    }
}

/// The terms of a session, as the phone sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The nonce of the HELLO that this answers; 0 when the phone began without one.
    pub nonce: u64,
    /// Most frames a second.
    pub fps: u16,
    /// Largest datagram of a frame, in bytes.
    pub max_datagram: u16,
    /// The phone ends the session when it receives nothing for this long.
    pub lease: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self { nonce: 0, fps: 60, max_datagram: MAX_DATAGRAM, lease: Duration::from_secs(10) }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Slot {
    Is(Resolved),
    /// More channels than a subject may have.
    Ignored,
}

/// Names and encoding of the frames of a session.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// Its number, from 1; frames refer to it.
    pub id: u32,
    /// The terms of the session.
    pub terms: Terms,
    /// The app's name, shortened if need be.
    pub app: String,
    /// The app's name for this output, shortened if need be.
    pub profile: String,
    /// How values are written.
    pub encoding: Encoding,
    slots: Vec<Slot>,
}

/// The keys of a schema's JSON, in the order in which the apps write it.
#[derive(Serialize)]
struct SchemaJson<'a> {
    schema_version: u32,
    app: &'a str,
    profile: &'a str,
    blend_names: Vec<&'a str>,
    blend_encoding: Encoding,
    blend_unit: &'static str,
    pose_layout: &'static str,
    rotation_unit: &'static str,
    position_unit: &'static str,
}

const PERCENT: &str = "percent";
const LAYOUT: &str = "head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz";
const DEGREE: &str = "degree";
const METER: &str = "meter";

impl Schema {
    /// What an app would send for these names.
    ///
    /// # Errors
    /// [`Fmv3Error::Name`] when there are too many, or one is none or comes twice.
    pub fn new<'a>(
        id: u32,
        terms: Terms,
        app: &str,
        encoding: Encoding,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, Fmv3Error> {
        let names: Vec<_> = names.into_iter().map(Cow::Borrowed).collect();
        let profile = format!("{}-stream", app.to_ascii_lowercase());
        Ok(Self { id, terms, app: title(app), profile: title(&profile), encoding, slots: slots(&names)? })
    }

    /// Reads the whole body of SCHEMA.
    ///
    /// # Errors
    /// [`Fmv3Error`] names the field or the key.
    pub fn read(id: u32, body: &[u8]) -> Result<Self, Fmv3Error> {
        if !(START_LEN..=MAX_SCHEMA_LEN).contains(&body.len()) {
            let (kind, least, most) = (Kind::Schema.name(), START_LEN, MAX_SCHEMA_LEN);
            return Err(Fmv3Error::Length { kind, found: body.len(), least, most });
        }
        let (start, json) = body.split_at(START_LEN);
        let mut fields = Fields(start);
        let nonce = u64::from_le_bytes(fields.take());
        let fps = u16::from_le_bytes(fields.take());
        let max_datagram = u16::from_le_bytes(fields.take());
        let lease_ms = u32::from_le_bytes(fields.take());
        let revision = u32::from_le_bytes(fields.take());
        if revision != REVISION {
            let (field, wanted) = ("contract revision", "only 5 is understood");
            return Err(Fmv3Error::Field { field, found: revision.into(), wanted });
        }
        check_terms(fps, max_datagram)?;
        if !(5000..=60_000).contains(&lease_ms) {
            let (field, wanted) = ("lease", "expected 5000 to 60000 milliseconds");
            return Err(Fmv3Error::Field { field, found: lease_ms.into(), wanted });
        }
        let terms = Terms { nonce, fps, max_datagram, lease: Duration::from_millis(lease_ms.into()) };

        let read: ReadJson<'_> = serde_json::from_slice(json).map_err(|error| Fmv3Error::Json(error.to_string()))?;
        let setting = |key, is: bool, wanted| if is { Ok(()) } else { Err(Fmv3Error::Setting { key, wanted }) };
        setting("schema_version", read.schema_version == Some(1), "1")?;
        setting("blend_unit", read.blend_unit.as_deref() == Some(PERCENT), "\"percent\"")?;
        let layout = "\"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz\"";
        setting("pose_layout", read.pose_layout.as_deref() == Some(LAYOUT), layout)?;
        setting("rotation_unit", read.rotation_unit.as_deref() == Some(DEGREE), "\"degree\"")?;
        setting("position_unit", read.position_unit.as_deref() == Some(METER), "\"meter\"")?;
        let encoding = match read.blend_encoding.as_deref() {
            Some("i16") => Encoding::I16,
            Some("i32") => Encoding::I32,
            _ => return Err(Fmv3Error::Setting { key: "blend_encoding", wanted: "\"i16\" or \"i32\"" }),
        };
        let names = read.blend_names.ok_or(Fmv3Error::Setting { key: "blend_names", wanted: "a list of names" })?;
        Ok(Self {
            id,
            terms,
            app: title(read.app.as_deref().unwrap_or_default()),
            profile: title(read.profile.as_deref().unwrap_or_default()),
            encoding,
            slots: slots(&names)?,
        })
    }

    /// The whole body of SCHEMA.
    ///
    /// # Errors
    /// [`Fmv3Error`] when names beyond what a subject may have would have to be written.
    pub fn body(&self) -> Result<Vec<u8>, Fmv3Error> {
        let mut body = Vec::new();
        let Terms { nonce, fps, max_datagram, lease } = self.terms;
        body.extend_from_slice(&nonce.to_le_bytes());
        body.extend_from_slice(&fps.to_le_bytes());
        body.extend_from_slice(&max_datagram.to_le_bytes());
        body.extend_from_slice(&u32::try_from(lease.as_millis()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&REVISION.to_le_bytes());
        let names = self.slots.iter().enumerate().map(|(index, slot)| match slot {
            Slot::Is(Resolved::Shape(shape)) => Ok(shape.name()),
            Slot::Is(Resolved::Channel(name)) => Ok(&**name),
            Slot::Ignored => Err(Fmv3Error::Name { index, reason: "is one too many to be kept" }),
        });
        let json = SchemaJson {
            schema_version: 1,
            app: &self.app,
            profile: &self.profile,
            blend_names: names.collect::<Result<_, _>>()?,
            blend_encoding: self.encoding,
            blend_unit: PERCENT,
            pose_layout: LAYOUT,
            rotation_unit: DEGREE,
            position_unit: METER,
        };
        serde_json::to_writer(&mut body, &json).map_err(|error| Fmv3Error::Json(error.to_string()))?;
        Ok(body)
    }

    /// Number of names.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Without any name.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of the body of a frame.
    pub fn frame_len(&self) -> usize {
        self.slots.len() * self.encoding.size() + POSE_LEN
    }

    /// Reads the whole body of a FRAME. Its sequence is that of the header; see [`Count`](super::Count).
    ///
    /// # Errors
    /// [`Fmv3Error`] when it is of another schema, of the wrong length, or a number is out of range.
    pub fn decode(&self, header: &Header, body: &[u8]) -> Result<SourceFace, Fmv3Error> {
        if header.schema != self.id {
            return Err(Fmv3Error::OtherSchema { found: header.schema, known: self.id });
        }
        let wanted = self.frame_len();
        if body.len() != wanted {
            let kind = Kind::Frame.name();
            return Err(Fmv3Error::Length { kind, found: body.len(), least: wanted, most: wanted });
        }
        let (values, pose) = body.split_at(wanted - POSE_LEN);
        let mut face = SourceFace::default();
        let frame = &mut face.frame;
        for (slot, bytes) in self.slots.iter().zip(values.chunks_exact(self.encoding.size())) {
            let percent = match *bytes {
                [a, b] => f32::from(i16::from_le_bytes([a, b])),
                [a, b, c, d] => i32::from_le_bytes([a, b, c, d]) as f32,
                _ => 0.0,
            };
            match slot {
                Slot::Is(Resolved::Shape(shape)) => frame.set(*shape, percent / 100.0),
                Slot::Is(Resolved::Channel(name)) => {
                    frame.channels.push(Channel { name: name.clone(), value: clamp_weight(percent / 100.0) });
                }
                Slot::Ignored => {}
            }
        }
        let mut numbers = [0.0; 12];
        for ((place, number), bytes) in numbers.iter_mut().enumerate().zip(pose.as_chunks::<4>().0) {
            *number = f32::from_le_bytes(*bytes);
            let limit = if (3..6).contains(&place) { METRES_LIMIT } else { DEGREES_LIMIT };
            if number.is_nan() || number.abs() > limit {
                return Err(Fmv3Error::Value { field: POSE_NAMES[place], value: *number });
            }
        }
        let [hx, hy, hz, px, py, pz, rx, ry, rz, lx, ly, lz] = numbers;
        frame.tracked = header.flags & FLAG_TRACKED != 0;
        frame.sequence = Some(header.sequence.into());
        face.head = Some(SourceRotation::Angles([hx, hy, hz]));
        face.position = Some([px, py, pz]);
        face.eyes = Some([[lx, ly, lz], [rx, ry, rz]].map(SourceRotation::Angles));
        Ok(face)
    }

    /// Appends the body of a FRAME to `out`. What the frame does not give is written as 0, and what has no name is left
    /// out; tracking and sequence go into the header.
    ///
    /// # Errors
    /// [`Fmv3Error::Value`] when a number is not finite; `out` may then hold a part of the body.
    pub fn encode(&self, frame: &FaceFrame, profile: &SourceProfile, out: &mut Vec<u8>) -> Result<(), Fmv3Error> {
        let source = profile.unapply(frame);
        for slot in &self.slots {
            let (field, weight) = match slot {
                Slot::Is(Resolved::Shape(shape)) => (shape.name(), source.frame.weights[shape.index()]),
                Slot::Is(Resolved::Channel(name)) => {
                    let channel = source.frame.channels.iter().find(|channel| channel.name == *name);
                    ("a channel", channel.map_or(0.0, |channel| channel.value))
                }
                Slot::Ignored => ("", 0.0),
            };
            if !weight.is_finite() {
                return Err(Fmv3Error::Value { field, value: weight });
            }
            let percent = (weight * 100.0).round();
            match self.encoding {
                Encoding::I16 => out.extend_from_slice(&(percent as i16).to_le_bytes()),
                Encoding::I32 => out.extend_from_slice(&(percent as i32).to_le_bytes()),
            }
        }
        let angles = |rotation: Option<SourceRotation>| match rotation {
            Some(SourceRotation::Angles(angles)) => angles,
            _ => [0.0; 3],
        };
        let [left, right] = source.eyes.map_or([None; 2], |eyes| eyes.map(Some));
        let pose = [angles(source.head), source.position.unwrap_or_default(), angles(right), angles(left)];
        for (number, field) in pose.into_iter().flatten().zip(POSE_NAMES) {
            if !number.is_finite() {
                return Err(Fmv3Error::Value { field, value: number });
            }
            out.extend_from_slice(&number.to_le_bytes());
        }
        Ok(())
    }
}

fn title(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(MAX_TITLE).collect()
}

fn slots<'n>(names: &'n [Cow<'_, str>]) -> Result<Vec<Slot>, Fmv3Error> {
    if names.len() > MAX_NAMES {
        return Err(Fmv3Error::Name { index: MAX_NAMES, reason: "is one too many" });
    }
    let mut seen: HashSet<&str> = HashSet::with_capacity(names.len());
    let (mut shapes, mut channels) = ([false; BLENDSHAPE_COUNT], 0);
    let slot = |(index, name): (usize, &'n Cow<'_, str>)| {
        let refuse = |reason| Err(Fmv3Error::Name { index, reason });
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            return refuse("is not 1 to 255 bytes long");
        }
        if name.chars().any(char::is_control) {
            return refuse("holds a control character");
        }
        if !seen.insert(name) {
            return refuse("came before");
        }
        let shape = Blendshape::from_sender_name(name).filter(|shape| !shapes[shape.index()]);
        Ok(match shape {
            Some(shape) => {
                shapes[shape.index()] = true;
                Slot::Is(Resolved::Shape(shape))
            }
            None if channels < MAX_CHANNELS => {
                channels += 1;
                Slot::Is(Resolved::Channel(Arc::from(&**name)))
            }
            None => Slot::Ignored,
        })
    };
    names.iter().enumerate().map(slot).collect()
}

/// The known keys of a schema. No key may come twice, not even one that is not understood.
#[derive(Default)]
struct ReadJson<'a> {
    schema_version: Option<u64>,
    app: Option<Cow<'a, str>>,
    profile: Option<Cow<'a, str>>,
    blend_names: Option<Vec<Cow<'a, str>>>,
    blend_encoding: Option<Cow<'a, str>>,
    blend_unit: Option<Cow<'a, str>>,
    pose_layout: Option<Cow<'a, str>>,
    rotation_unit: Option<Cow<'a, str>>,
    position_unit: Option<Cow<'a, str>>,
}

impl<'de> Deserialize<'de> for ReadJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = ReadJson<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut read = ReadJson::default();
                let mut seen = HashSet::new();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    let mut text = |place: &mut Option<Cow<'de, str>>| -> Result<(), A::Error> {
                        let Text(value) = map.next_value()?;
                        *place = Some(value);
                        Ok(())
                    };
                    match &*key {
                        "schema_version" => read.schema_version = Some(map.next_value()?),
                        "blend_names" => read.blend_names = Some(map.next_value_seed(Names)?),
                        "app" => text(&mut read.app)?,
                        "profile" => text(&mut read.profile)?,
                        "blend_encoding" => text(&mut read.blend_encoding)?,
                        "blend_unit" => text(&mut read.blend_unit)?,
                        "pose_layout" => text(&mut read.pose_layout)?,
                        "rotation_unit" => text(&mut read.rotation_unit)?,
                        "position_unit" => text(&mut read.position_unit)?,
                        _ => {
                            map.next_value::<Unique>()?;
                        }
                    }
                    if let Some(twice) = seen.replace(key) {
                        return Err(A::Error::custom(format_args!("key `{}` comes twice", title(&twice))));
                    }
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Up to [`MAX_NAMES`] names.
struct Names;

impl<'de> DeserializeSeed<'de> for Names {
    type Value = Vec<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Names {
    type Value = Vec<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(Text(name)) = seq.next_element::<Text<'de>>()? {
            if names.len() == MAX_NAMES {
                return Err(A::Error::custom(format_args!("more than {MAX_NAMES} names in `blend_names`")));
            }
            names.push(name);
        }
        Ok(names)
    }
}

/// Any value, of which nothing is kept, without a key that comes twice.
struct Unique;

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Unique, A::Error> {
                while seq.next_element::<Unique>()?.is_some() {}
                Ok(Unique)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut seen = HashSet::new();
                while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
                    map.next_value::<Unique>()?;
                    if let Some(twice) = seen.replace(key) {
                        return Err(A::Error::custom(format_args!("key `{}` comes twice", title(&twice))));
                    }
                }
                Ok(Unique)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
