//! `float32` frames: little-endian 32-bit floats without a header, in an order agreed beforehand.
//!
//! - 52 values: the weights of the ARKit shapes in [`Blendshape`] order.
//! - 61 values: the same, then head yaw, pitch and roll and yaw, pitch and roll of the left and of the right eye in
//!   radians, by the conventions of [`llf`]: head yaw positive to the performer's left and pitch positive up,
//!   eye yaw positive to the performer's *right* and pitch positive *down*. `mouthLeft` and `mouthRight` are where
//!   their names say: the exchange of the Live Link Face app is that app's own.
//! - Any other length needs a [`Schema`], which the sender names first, in a `schema` message; a connection that has one
//!   sends exactly that many values.
//!
//! Weights outside [`MIN_WEIGHT`](crate::MIN_WEIGHT)`..=`[`MAX_WEIGHT`](crate::MAX_WEIGHT) are clamped; NaN and infinity
//! are refused.

use std::sync::Arc;

use crate::{
    frame::{Channel, FaceFrame, clamp_weight},
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::llf::{self, CURVE_COUNT},
};

/// Most names in a schema.
pub const MAX_SCHEMA_NAMES: usize = 512;
/// Longest name in a schema, in bytes.
pub const MAX_NAME_LEN: usize = 128;

/// Why a schema was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// No names at all.
    #[error("names: the list is empty")]
    Empty,
    /// More than [`MAX_SCHEMA_NAMES`].
    #[error("names: more than {MAX_SCHEMA_NAMES}")]
    TooMany,
    /// An empty name.
    #[error("names[{index}] is empty")]
    EmptyName {
        /// Place in the list.
        index: usize,
    },
    /// A name longer than [`MAX_NAME_LEN`].
    #[error("names[{index}] is {len} bytes long, at most {MAX_NAME_LEN} are allowed")]
    NameTooLong {
        /// Place in the list.
        index: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// A name with a control character.
    #[error("names[{index}] holds a control character")]
    ControlCharacter {
        /// Place in the list.
        index: usize,
    },
    /// A name that means the same channel as an earlier one.
    #[error("names[{index}] `{name}` names the same channel as names[{earlier}]")]
    Duplicate {
        /// Place in the list.
        index: usize,
        /// Place of the earlier one.
        earlier: usize,
        /// The name.
        name: String,
    },
}

/// Why a frame was refused, or not written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Float32Error {
    /// The length is no whole number of floats.
    #[error("{len} bytes are no whole number of 4-byte floats")]
    NotFloats {
        /// Length in bytes.
        len: usize,
    },
    /// Neither 52 nor 61 values, and no schema that names them.
    #[error(
        "{found} values, expected {BLENDSHAPE_COUNT} or {CURVE_COUNT}; send a `schema` message first for any other order"
    )]
    UnknownLength {
        /// Values in the frame.
        found: usize,
    },
    /// Not as many values as the schema has names.
    #[error("{found} values, but this connection's schema has {expected} names")]
    SchemaLength {
        /// Values in the frame.
        found: usize,
        /// Names in the schema.
        expected: usize,
    },
    /// NaN or infinity.
    #[error("{channel} is {value}, not a finite number")]
    NotFinite {
        /// Name of the channel.
        channel: Arc<str>,
        /// The value received.
        value: f32,
    },
}

/// The destination of a value of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot {
    Shape(Blendshape),
    Channel(Arc<str>),
}

/// The order of the channels in the frames that follow on a connection. Names are resolved once, here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    slots: Vec<Slot>,
}

impl Schema {
    /// Resolves names: any spelling that [`Blendshape::from_any_name`] accepts is a shape, every other name a channel of
    /// its own.
    ///
    /// # Errors
    /// [`SchemaError`] names the offending entry. At most one name beyond [`MAX_SCHEMA_NAMES`] is read.
    pub fn new<I>(names: I) -> Result<Self, SchemaError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut slots: Vec<Slot> = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let name = name.as_ref();
            if index == MAX_SCHEMA_NAMES {
                return Err(SchemaError::TooMany);
            }
            if name.is_empty() {
                return Err(SchemaError::EmptyName { index });
            }
            if name.len() > MAX_NAME_LEN {
                return Err(SchemaError::NameTooLong { index, len: name.len() });
            }
            if name.chars().any(char::is_control) {
                return Err(SchemaError::ControlCharacter { index });
            }
            let slot = match Blendshape::from_any_name(name) {
                Some(shape) => Slot::Shape(shape),
                None => Slot::Channel(name.into()),
            };
            // At most 512² comparisons, once a connection: a set would not be faster.
            if let Some(earlier) = slots.iter().position(|other| *other == slot) {
                return Err(SchemaError::Duplicate { index, earlier, name: name.to_owned() });
            }
            slots.push(slot);
        }
        if slots.is_empty() {
            return Err(SchemaError::Empty);
        }
        Ok(Self { slots })
    }

    /// Number of values in a frame.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Always `false`: a schema has at least one name.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Name of the channel at `index`; a shape's ARKit name, whatever spelling it came with.
    pub fn name(&self, index: usize) -> Option<&str> {
        self.slots.get(index).map(|slot| match slot {
            Slot::Shape(shape) => shape.name(),
            Slot::Channel(name) => name,
        })
    }
}

/// Decodes a frame. With a schema, shapes that it does not name are not given.
///
/// # Errors
/// [`Float32Error`]; nothing of a refused frame is kept.
pub fn decode(bytes: &[u8], schema: Option<&Schema>) -> Result<FaceFrame, Float32Error> {
    let (values, []) = bytes.as_chunks::<4>() else {
        return Err(Float32Error::NotFloats { len: bytes.len() });
    };
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let found = values.len();
    let Some(schema) = schema else {
        if found != BLENDSHAPE_COUNT && found != CURVE_COUNT {
            return Err(Float32Error::UnknownLength { found });
        }
        let mut curves = [0.0; CURVE_COUNT];
        for (index, (curve, value)) in curves.iter_mut().zip(values).enumerate() {
            if !value.is_finite() {
                let channel = llf::curve_name(index).unwrap_or_default().into();
                return Err(Float32Error::NotFinite { channel, value });
            }
            *curve = value;
        }
        return Ok(llf::frame_from_curves(&curves, &llf::PLAIN_PROFILE));
    };
    if found != schema.len() {
        return Err(Float32Error::SchemaLength { found, expected: schema.len() });
    }
    let mut frame = FaceFrame::default();
    for (slot, value) in schema.slots.iter().zip(values) {
        match slot {
            Slot::Shape(shape) if value.is_finite() => frame.set(*shape, value),
            Slot::Channel(name) if value.is_finite() => {
                frame.channels.push(Channel { name: name.clone(), value: clamp_weight(value) });
            }
            Slot::Shape(shape) => {
                return Err(Float32Error::NotFinite { channel: shape.name().into(), value });
            }
            Slot::Channel(name) => {
                return Err(Float32Error::NotFinite { channel: name.clone(), value });
            }
        }
    }
    Ok(frame)
}

/// Appends the 52 weights of a frame; shapes that are not given are 0.
pub fn encode_52(frame: &FaceFrame, out: &mut Vec<u8>) {
    for shape in Blendshape::ALL {
        out.extend_from_slice(&frame.get(shape).unwrap_or(0.0).to_le_bytes());
    }
}

/// Appends the 52 weights of a frame and the nine angles of head and eyes; those that are not given are 0.
pub fn encode_61(frame: &FaceFrame, out: &mut Vec<u8>) {
    for curve in llf::curves_from_frame(frame, &llf::PLAIN_PROFILE) {
        out.extend_from_slice(&curve.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn float32_52_values_are_shapes_in_order() {
        let values: Vec<f32> = (0..52).map(|index| index as f32 / 64.0).collect();
        let frame = decode(&bytes(&values), None).unwrap();
        assert!(frame.is_complete() && frame.tracked);
        assert_eq!(frame.weights.as_slice(), values);
        assert_eq!(frame.get(Blendshape::MouthLeft), Some(21.0 / 64.0), "no exchange");
        assert_eq!((frame.head, frame.gaze, frame.sequence, frame.capture_time), (None, None, None, None));
    }

    #[test]
    fn float32_61_values_add_head_and_eyes() {
        let mut values = [0.0; 61];
        values[52] = 0.3;
        values[55] = 0.25;
        values[56] = 0.125;
        let frame = decode(&bytes(&values), None).unwrap();
        let [x, y, z, w] = frame.head.unwrap().rotation;
        assert!(x.abs() < 1e-6 && z.abs() < 1e-6 && y > 0.0 && w > 0.9, "yaw turns to the performer's left");
        let gaze = frame.gaze.unwrap();
        assert_eq!((gaze.left.yaw, gaze.left.pitch), (-0.25, -0.125));
        let mut out = Vec::new();
        encode_61(&frame, &mut out);
        assert_eq!(out.len(), 61 * 4);
        assert_eq!(decode(&out, None).unwrap().gaze, frame.gaze);
    }

    #[test]
    fn float32_schema_gives_order() {
        let schema = Schema::new(["JawOpen", "eyeBlink_L", "viseme_aa", "tongueUp"]).unwrap();
        assert_eq!(schema.name(0), Some("jawOpen"));
        assert_eq!(schema.name(2), Some("viseme_aa"));
        let frame = decode(&bytes(&[0.5, 1.0, 0.25, 7.0]), Some(&schema)).unwrap();
        assert_eq!(frame.get(Blendshape::JawOpen), Some(0.5));
        assert_eq!(frame.get(Blendshape::EyeBlinkLeft), Some(1.0));
        assert_eq!(frame.get(Blendshape::EyeBlinkRight), None);
        let channels: Vec<_> = frame.channels.iter().map(|channel| (&*channel.name, channel.value)).collect();
        assert_eq!(channels, [("viseme_aa", 0.25), ("tongueUp", 2.0)]);
    }

    #[test]
    fn float32_refused_schema_names_entry() {
        let refused = |names: &[&str]| Schema::new(names).unwrap_err().to_string();
        assert_eq!(refused(&[]), "names: the list is empty");
        assert_eq!(refused(&["jawOpen", ""]), "names[1] is empty");
        assert_eq!(refused(&["jawOpen", "a", "jaw_open"]), "names[2] `jaw_open` names the same channel as names[0]");
        assert_eq!(refused(&["a", "a"]), "names[1] `a` names the same channel as names[0]");
        let long = "x".repeat(129);
        assert_eq!(refused(&[&long]), "names[0] is 129 bytes long, at most 128 are allowed");
        assert!(Schema::new((0..512).map(|index| index.to_string())).is_ok());
        assert_eq!(
            Schema::new((0..).map(|index: u64| index.to_string())),
            Err(SchemaError::TooMany),
            "does not read on"
        );
    }

    #[test]
    fn float32_refused_frame_has_reason() {
        let refused = |bytes: &[u8], schema| decode(bytes, schema).unwrap_err().to_string();
        assert_eq!(refused(&[0; 7], None), "7 bytes are no whole number of 4-byte floats");
        for values in [0, 1, 51, 53, 60, 62] {
            let found = refused(&bytes(&vec![0.0; values]), None);
            assert_eq!(
                found,
                format!("{values} values, expected 52 or 61; send a `schema` message first for any other order")
            );
        }
        let mut values = [0.0; 61];
        values[17] = f32::NAN;
        assert_eq!(refused(&bytes(&values), None), "jawOpen is NaN, not a finite number");
        values[17] = 0.0;
        values[60] = f32::NEG_INFINITY;
        assert_eq!(refused(&bytes(&values), None), "rightEyeRoll is -inf, not a finite number");
        let schema = Schema::new(["jawOpen", "grin"]).unwrap();
        assert_eq!(refused(&bytes(&[0.0; 52]), Some(&schema)), "52 values, but this connection's schema has 2 names");
        assert_eq!(refused(&bytes(&[0.0, f32::INFINITY]), Some(&schema)), "grin is inf, not a finite number");
    }

    #[test]
    fn float32_values_out_of_range_are_clamped() {
        let mut values = [0.0; 61];
        values[0] = 1e30;
        values[1] = -5.0;
        values[52] = f32::MAX;
        values[55] = f32::MAX;
        let frame = decode(&bytes(&values), None).unwrap();
        assert_eq!((frame.weights[0], frame.weights[1]), (2.0, -1.0));
        assert!(frame.head.unwrap().rotation.iter().all(|part| part.is_finite()));
        assert_eq!(frame.gaze.unwrap().left.yaw, -std::f32::consts::PI);
    }

    proptest! {
        #[test]
        fn float32_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), with_schema in any::<bool>()) {
            let schema = Schema::new(["jawOpen", "x", "y"]).unwrap();
            let _ = decode(&bytes, with_schema.then_some(&schema));
        }

        #[test]
        fn float32_61_random_floats_give_sane_frame(values in proptest::collection::vec(any::<f32>(), 61)) {
            if let Ok(frame) = decode(&bytes(&values), None) {
                prop_assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
            }
        }

        #[test]
        fn float32_round_trips(weights in proptest::collection::vec(-1.0f32..=2.0, 52)) {
            let mut frame = FaceFrame::neutral();
            frame.weights.copy_from_slice(&weights);
            let mut out = Vec::new();
            encode_52(&frame, &mut out);
            prop_assert_eq!(decode(&out, None).unwrap(), frame.clone());
            out.clear();
            encode_61(&frame, &mut out);
            prop_assert_eq!(decode(&out, None).unwrap(), frame);
        }
    }
}
