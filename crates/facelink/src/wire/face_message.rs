//! Faces and visemes in JSON: `arkit_data`, `blendshape_update`, `viseme_data`, and the objects without a type that older
//! senders write. Keys are read in place and names are interned by connection, so that a frame is read and written without
//! allocation.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap,
};

use super::{
    name_table::{NameTable, Resolved},
    value::{MAX_WEIGHT_READ, Name, Number, Text, Timestamp, Written, at, milliseconds, shorten},
    viseme::Viseme,
};
use crate::{
    frame::{Channel, FaceFrame, HeadPose, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// Longest time that a viseme holds, milliseconds.
const MAX_VISEME_MS: f64 = 60_000.0;

/// The message that carries a face.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaceKind {
    /// `arkit_data`: ARKit shapes, under `blendshapes`.
    #[default]
    ArkitData,
    /// `blendshape_update`: any shapes, under `data`.
    BlendshapeUpdate,
    /// `viseme_data`.
    VisemeData,
    /// An object without a type: `blendshapes`, a `viseme`, or both.
    Untyped,
}

impl FaceKind {
    /// The message's `type`; `None` for [`Untyped`](Self::Untyped).
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::ArkitData => Some("arkit_data"),
            Self::BlendshapeUpdate => Some("blendshape_update"),
            Self::VisemeData => Some("viseme_data"),
            Self::Untyped => None,
        }
    }

    /// The kind of this `type`, if it is that of a face.
    pub fn from_name(name: Option<&str>) -> Option<Self> {
        [Self::ArkitData, Self::BlendshapeUpdate, Self::VisemeData, Self::Untyped]
            .into_iter()
            .find(|kind| kind.name() == name)
    }

    /// The field that holds the weights.
    const fn weights(self) -> Option<&'static str> {
        match self {
            Self::ArkitData | Self::Untyped => Some("blendshapes"),
            Self::BlendshapeUpdate => Some("data"),
            Self::VisemeData => None,
        }
    }

    const fn has_viseme(self) -> bool {
        matches!(self, Self::VisemeData | Self::Untyped)
    }
}

/// A face, a viseme, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaceMessage<'a> {
    /// Which message it is.
    pub kind: FaceKind,
    /// The subject, where the message names it.
    pub subject: Option<Cow<'a, str>>,
    /// The face; [empty](FaceFrame::is_empty) when only a viseme came.
    pub frame: FaceFrame,
    /// Whether the message carries a face at all: `blendshapes`, `data`, `head` or `tracked`.
    pub has_face: bool,
    /// The sender's wall clock, Unix milliseconds.
    pub unix_ms: Option<f64>,
    /// The viseme that holds from now on.
    pub viseme: Option<VisemeMessage>,
}

/// One `viseme_data`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VisemeMessage {
    /// Which mouth.
    pub viseme: Viseme,
    /// How strongly, `0..=1`.
    pub weight: f32,
    /// How long, up to a minute; without one, until the next viseme.
    pub duration: Option<Duration>,
}

impl Serialize for FaceMessage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FaceFields {
            kind: self.kind,
            // A viseme without a face has a number too.
            frame: (self.has_face || self.kind == FaceKind::VisemeData).then_some(&self.frame),
            viseme: self.viseme,
            subject: self.subject.as_deref(),
            unix_ms: self.unix_ms,
        }
        .serialize(serializer)
    }
}

/// The contents of a face message to write.
struct FaceFields<'a> {
    kind: FaceKind,
    frame: Option<&'a FaceFrame>,
    viseme: Option<VisemeMessage>,
    subject: Option<&'a str>,
    unix_ms: Option<f64>,
}

impl Serialize for FaceFields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(name) = self.kind.name() {
            map.serialize_entry("type", name)?;
        }
        if let (true, Some(VisemeMessage { viseme, weight, duration })) = (self.kind.has_viseme(), self.viseme) {
            map.serialize_entry("viseme", viseme.name())?;
            map.serialize_entry("weight", &Written::rounded(weight, WEIGHT_DECIMALS))?;
            if let Some(duration) = duration {
                map.serialize_entry("duration_ms", &Written(duration.as_secs_f64() * 1000.0))?;
            }
        }
        if let Some(frame) = self.frame {
            if let Some(field) = self.kind.weights() {
                map.serialize_entry(field, &Weights { frame, shapes: Shown::Given, decimals: WEIGHT_DECIMALS })?;
            }
            if let Some(head) = &frame.head {
                map.serialize_entry("head", &WrittenHead { head, decimals: HEAD_DECIMALS })?;
            }
            if !frame.tracked {
                map.serialize_entry("tracked", &false)?;
            }
            if let Some(number) = frame.sequence {
                map.serialize_entry("frame", &number)?;
            }
        }
        if let Some(subject) = self.subject {
            map.serialize_entry("subject", subject)?;
        }
        if let Some(ms) = self.unix_ms {
            map.serialize_entry("timestamp", &Written::rounded(ms, 3))?;
        }
        map.end()
    }
}

/// Decimals of a weight that is sent: a tenth of what an 8-bit channel resolves.
const WEIGHT_DECIMALS: i32 = 4;
/// Decimals of a head that is sent: far below a ten-thousandth of a degree, and of a millimetre.
const HEAD_DECIMALS: i32 = 7;
/// Decimals of the weights that an endpoint lists.
const OUT_DECIMALS: i32 = 5;
/// Decimals of the weights in an update that is to fit a packet. With the last, a step is not visible in motion.
const SHORT_DECIMALS: [i32; 2] = [3, 2];
/// Decimals of a head in an update: a hundredth of a degree, and a tenth of a millimetre.
const UPDATE_HEAD_DECIMALS: i32 = 4;
/// Updates for which a shape that has become 0 is still written, and the interval at which it is written after that: a receiver
/// may keep what it was sent last, and lose some updates.
const SETTLED: u8 = 6;
const REFRESH: u8 = 16;
/// Bytes that one packet of a data channel carries of a message: IPv6's smallest packet (1280) without the headers of IP, UDP,
/// a relay's channel, DTLS and SCTP.
pub const PACKET_SIZE: usize = 1160;

/// The weights of a frame by name, as an object.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    frame: &'a FaceFrame,
    shapes: Shown<'a>,
    decimals: i32,
}

/// Which shapes of a frame are written.
#[derive(Clone, Copy, Debug)]
enum Shown<'a> {
    /// All 52, 0 where the frame gives none.
    Every,
    /// Those that the frame gives.
    Given,
    /// All but those at rest.
    Moving(&'a UpdateWriter),
}

impl<'a> Weights<'a> {
    /// All 52 shapes, 0 where the frame gives none, and its further channels; five decimals.
    pub const fn of(frame: &'a FaceFrame) -> Self {
        Self { frame, shapes: Shown::Every, decimals: OUT_DECIMALS }
    }
}

impl Serialize for Weights<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for shape in Blendshape::ALL {
            let shown = match self.shapes {
                Shown::Every => true,
                Shown::Given => self.frame.has(shape),
                Shown::Moving(writer) => writer.shows(shape),
            };
            if shown {
                let weight = self.frame.weights[shape.index()];
                map.serialize_entry(shape.name(), &Written::rounded(weight, self.decimals))?;
            }
        }
        for channel in &self.frame.channels {
            map.serialize_entry(&*channel.name, &Written::rounded(channel.value, self.decimals))?;
        }
        map.end()
    }
}

/// A head as messages have it: `{"rotation":[x,y,z,w],"position":[x,y,z]}`.
#[derive(Clone, Copy, Debug)]
pub struct WrittenHead<'a> {
    head: &'a HeadPose,
    decimals: i32,
}

impl<'a> WrittenHead<'a> {
    /// With five decimals.
    pub const fn of(head: &'a HeadPose) -> Self {
        Self { head, decimals: OUT_DECIMALS }
    }
}

impl Serialize for WrittenHead<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = |value: f32| Written::rounded(value, self.decimals);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("rotation", &self.head.rotation.map(number))?;
        if let Some(position) = self.head.position {
            map.serialize_entry("position", &position.map(number))?;
        }
        map.end()
    }
}

/// `blendshape_update` as an endpoint sends it to its subscribers.
struct Update<'a> {
    subject: &'a str,
    weights: Weights<'a>,
    unix_ms: f64,
}

impl Serialize for Update<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { subject, weights, unix_ms } = *self;
        let frame = weights.frame;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "blendshape_update")?;
        map.serialize_entry("subject", subject)?;
        // Mapping to an avatar's own names happens at the avatar, so there is no `arkit` that would differ.
        map.serialize_entry("data", &weights)?;
        map.serialize_entry("frame", &frame.sequence)?;
        map.serialize_entry("tracked", &frame.tracked)?;
        map.serialize_entry("timestamp", &Written::rounded(unix_ms, 0))?;
        if let Some(head) = &frame.head {
            map.serialize_entry("head", &WrittenHead { head, decimals: UPDATE_HEAD_DECIMALS })?;
        }
        map.end()
    }
}

/// Writes a message into `out`, which is cleared first and keeps its room.
pub(super) fn write(out: &mut String, message: &impl Serialize) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.clear();
    // Fails for keys that are no strings and for a writer that fails; there are neither.
    if let Err(error) = serde_json::to_writer(&mut bytes, message) {
        tracing::error!(%error, "a message was not written");
        bytes.clear();
    }
    *out = String::from_utf8(bytes).unwrap_or_default();
}

/// Writes an `arkit_data` message into `out`, which is cleared first.
///
/// Weights are rounded to four decimals. Shapes that the frame does not give are left out.
pub fn write_arkit_data(out: &mut String, frame: &FaceFrame, subject: Option<&str>, unix_ms: Option<f64>) {
    write(out, &FaceFields { kind: FaceKind::ArkitData, frame: Some(frame), viseme: None, subject, unix_ms });
}

/// Writes what the old system's senders write into `out`, which is cleared first: an object without a type, with
/// `blendshapes`, with `viseme` and `weight`, or with both.
pub fn write_untyped(
    out: &mut String,
    frame: Option<&FaceFrame>,
    viseme: Option<(Viseme, f32)>,
    subject: Option<&str>,
    unix_ms: Option<f64>,
) {
    let viseme = viseme.map(|(viseme, weight)| VisemeMessage { viseme, weight, duration: None });
    write(out, &FaceFields { kind: FaceKind::Untyped, frame, viseme, subject, unix_ms });
}

/// Writes `blendshape_update` as it is sent to a subscriber of one subject: all 52 shapes, 0 where the frame gives none, and its
/// further channels, with four decimals.
///
/// An update that would exceed [`PACKET_SIZE`] has three decimals or two, and is without most of the shapes at rest: of those that
/// have been 0 for a while, each is in every sixteenth update. A receiver takes a missing shape for 0, or keeps the 0 that it was
/// sent last. An update still exceeds a packet where some 45 shapes are not 0, and where the frame has many further channels.
#[derive(Clone, Debug)]
pub struct UpdateWriter {
    /// For how many updates each shape has been 0.
    still: [u8; BLENDSHAPE_COUNT],
    /// Counts the updates, up to [`REFRESH`].
    turn: u8,
}

impl Default for UpdateWriter {
    fn default() -> Self {
        Self { still: [0; BLENDSHAPE_COUNT], turn: 0 }
    }
}

impl UpdateWriter {
    /// Writes the next update into `out`, which is cleared first.
    pub fn write(&mut self, out: &mut String, subject: &str, frame: &FaceFrame, unix_ms: f64) {
        let [_, coarse] = SHORT_DECIMALS;
        for (still, weight) in self.still.iter_mut().zip(frame.weights) {
            let zero = Written::rounded(weight, coarse).0 == 0.0;
            *still = if zero { still.saturating_add(1) } else { 0 };
        }
        self.turn = (self.turn + 1) % REFRESH;
        let weights = Weights { frame, shapes: Shown::Every, decimals: WEIGHT_DECIMALS };
        write(out, &Update { subject, weights, unix_ms });
        for decimals in SHORT_DECIMALS {
            if out.len() > PACKET_SIZE {
                let weights = Weights { frame, shapes: Shown::Moving(self), decimals };
                write(out, &Update { subject, weights, unix_ms });
            }
        }
    }

    fn shows(&self, shape: Blendshape) -> bool {
        let index = shape.index();
        self.still[index] <= SETTLED || index % usize::from(REFRESH) == usize::from(self.turn)
    }
}

/// Reads a face message of this kind from the object that `deserializer` has; gives it and the number of fields that were
/// not known.
pub(super) struct FaceReader<'n> {
    pub kind: FaceKind,
    pub names: &'n mut NameTable,
}

impl<'de> DeserializeSeed<'de> for FaceReader<'_> {
    type Value = (FaceMessage<'de>, u64);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FaceReader<'_> {
    type Value = (FaceMessage<'de>, u64);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { kind, names } = self;
        let mut face = FaceMessage { kind, ..FaceMessage::default() };
        let (mut viseme, mut weight, mut duration) = (None, None, None);
        let (mut has_weights, mut ignored) = (false, 0);
        while let Some(Text(key)) = map.next_key()? {
            let key = key.as_ref();
            let read = match key {
                "type" => map.next_value::<IgnoredAny>().map(drop),
                "subject" => map.next_value::<Option<Name>>().map(|name| face.subject = name.map(|Name(name)| name)),
                "head" => map.next_value::<Option<Head>>().map(|head| {
                    face.has_face |= head.is_some();
                    face.frame.head = head.map(|Head(pose)| pose);
                }),
                "tracked" => map.next_value().map(|tracked| {
                    face.has_face = true;
                    face.frame.tracked = tracked;
                }),
                "frame" => map.next_value().map(|frame| face.frame.sequence = frame),
                "timestamp" => {
                    map.next_value::<Option<Timestamp>>().map(|time| face.unix_ms = time.map(|Timestamp(ms)| ms))
                }
                "viseme" if kind.has_viseme() => {
                    map.next_value::<Option<VisemeName>>().map(|name| viseme = name.map(|VisemeName(name)| name))
                }
                "weight" if kind.has_viseme() => {
                    map.next_value().map(|Number(number)| weight = Some((number as f32).clamp(0.0, 1.0)))
                }
                "duration_ms" if kind.has_viseme() => map
                    .next_value::<Option<Number>>()
                    .map(|ms| duration = ms.map(|Number(ms)| milliseconds(ms, MAX_VISEME_MS))),
                _ => match kind.weights().filter(|field| *field == key) {
                    Some(field) => {
                        (has_weights, face.has_face) = (true, true);
                        map.next_value_seed(Shapes { frame: &mut face.frame, names, field })
                    }
                    None => {
                        ignored += 1;
                        map.next_value::<IgnoredAny>().map(drop)
                    }
                },
            };
            read.map_err(|error| at(&shorten(key), &error))?;
        }
        face.viseme = viseme.map(|viseme| VisemeMessage { viseme, weight: weight.unwrap_or(1.0), duration });
        let missing = |field| Err(de::Error::custom(format_args!("field `{field}` is missing")));
        match kind {
            FaceKind::ArkitData if !face.has_face => missing("blendshapes"),
            FaceKind::BlendshapeUpdate if !has_weights => missing("data"),
            FaceKind::VisemeData if face.viseme.is_none() => missing("viseme"),
            FaceKind::Untyped if !face.has_face && face.viseme.is_none() => {
                Err(de::Error::custom("has neither a `type` nor `blendshapes` nor a `viseme`"))
            }
            _ => Ok((face, ignored)),
        }
    }
}

/// `{name: weight}`.
struct Shapes<'f> {
    frame: &'f mut FaceFrame,
    names: &'f mut NameTable,
    field: &'static str,
}

impl<'de> DeserializeSeed<'de> for Shapes<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Shapes<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of names and weights")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            let name = || format!("{}.{}", self.field, shorten(&key));
            let Number(value) = map.next_value().map_err(|error| at(&name(), &error))?;
            if value.abs() > MAX_WEIGHT_READ {
                return Err(at(&name(), &format_args!("{value} is no weight")));
            }
            let value = clamp_weight(value as f32);
            match self.names.resolve(&key).map_err(|error| at(&name(), &error))? {
                Resolved::Shape(shape) => self.frame.set(*shape, value),
                Resolved::Channel(name) => {
                    match self.frame.channels.iter_mut().find(|channel| Arc::ptr_eq(&channel.name, name)) {
                        Some(channel) => channel.value = value,
                        None => self.frame.channels.push(Channel { name: name.clone(), value }),
                    }
                }
            }
        }
        Ok(())
    }
}

struct Head(HeadPose);

impl<'de> Deserialize<'de> for Head {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Raw {
            rotation: Option<[f32; 4]>,
            position: Option<[f32; 3]>,
        }
        let Raw { rotation, position } = Raw::deserialize(deserializer)?;
        let rotation = match rotation {
            Some(rotation) => unit_quaternion(rotation)
                .ok_or_else(|| de::Error::custom("`rotation` must be a quaternion [x, y, z, w] of length 1"))?,
            None => [0.0, 0.0, 0.0, 1.0],
        };
        if position.is_some_and(|position| position.iter().any(|value| !value.is_finite())) {
            return Err(de::Error::custom("`position` must be finite"));
        }
        Ok(Self(HeadPose { rotation, position }))
    }
}

/// Normalises a quaternion that is meant to be a rotation.
pub(crate) fn unit_quaternion(rotation: [f32; 4]) -> Option<[f32; 4]> {
    let length = rotation.iter().map(|value| value * value).sum::<f32>().sqrt();
    (length.is_finite() && (0.5..=2.0).contains(&length)).then(|| rotation.map(|value| value / length))
}

struct VisemeName(Viseme);

impl<'de> Deserialize<'de> for VisemeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        Viseme::from_name(&name)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("`{}` is no viseme", shorten(&name))))
    }
}
