//! Rules: channels in, targets out.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Error, MapAccess, SeqAccess, Visitor},
};

use super::{curve::Curve, is_false, read};

/// How the channels of a rule become one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Combine {
    /// All of them added.
    #[default]
    Sum,
    /// Their product: a corrective that shows only where all of them do.
    Multiply,
    /// The least of them.
    Min,
    /// The largest of them.
    Max,
    /// Their mean.
    Average,
}

/// One channel of a rule.
///
/// The name is an ARKit shape, any other channel that a source sends, or `headYaw`, `headPitch` and `headRoll`: the
/// head's turn in radians, positive to the face's own left, up, and towards its own left shoulder.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// Its name.
    pub channel: String,
    /// Factor.
    pub gain: f32,
    /// Added after the factor.
    pub offset: f32,
}

/// One target of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name on the rig, or a spelling of it.
    pub target: String,
    /// Factor.
    pub gain: f32,
}

/// The change of a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tuning {
    /// Applied first.
    #[serde(skip_serializing_if = "Curve::is_linear")]
    pub curve: Curve,
    /// Factor on the curve's output.
    #[serde(deserialize_with = "read::finite", skip_serializing_if = "is_one")]
    pub gain: f32,
    /// Added to that.
    #[serde(deserialize_with = "read::finite", skip_serializing_if = "is_zero")]
    pub offset: f32,
    /// Lower limit of the output.
    #[serde(deserialize_with = "read::maybe_finite", skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Upper limit of the output.
    #[serde(deserialize_with = "read::maybe_finite", skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { curve: Curve::Linear, gain: 1.0, offset: 0.0, min: None, max: None }
    }
}

impl Tuning {
    /// A factor alone.
    pub fn gain(gain: f32) -> Self {
        Self { gain, ..Self::default() }
    }

    /// Whether it changes nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The value after it.
    pub fn at(&self, value: f32) -> f32 {
        let value = self.curve.at(value) * self.gain + self.offset;
        // Not `clamp`, which panics when a file has them in the wrong order.
        value.max(self.min.unwrap_or(f32::NEG_INFINITY)).min(self.max.unwrap_or(f32::INFINITY))
    }
}

/// Channels to targets: `combine` of the channels, then `curve`, `gain`, `offset`, `min` and `max`, then each target's own
/// gain. A target that several rules write gets the sum.
///
/// A name may hold a side in braces, and the rule is then two, one a side: `{Left}` (`{left}`, `{L}`, `{l}`) is `Left` in
/// the first and `Right` in the second, and `{Right}` (`{right}`, `{R}`, `{r}`) is the other one each time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// The channels; none at all is a constant 0.
    #[serde(deserialize_with = "inputs", serialize_with = "write_inputs")]
    pub from: Vec<Input>,
    /// How several channels become one value.
    #[serde(skip_serializing_if = "is_sum")]
    pub combine: Combine,
    /// Applied to that value first.
    #[serde(skip_serializing_if = "Curve::is_linear")]
    pub curve: Curve,
    /// Factor on the curve's output.
    #[serde(deserialize_with = "read::finite", skip_serializing_if = "is_one")]
    pub gain: f32,
    /// Added to that.
    #[serde(deserialize_with = "read::finite", skip_serializing_if = "is_zero")]
    pub offset: f32,
    /// Lower limit of the output.
    #[serde(deserialize_with = "read::maybe_finite", skip_serializing_if = "Option::is_none")]
    pub min: Option<f32>,
    /// Upper limit of the output.
    #[serde(deserialize_with = "read::maybe_finite", skip_serializing_if = "Option::is_none")]
    pub max: Option<f32>,
    /// The targets.
    #[serde(deserialize_with = "outputs", serialize_with = "write_outputs")]
    pub to: Vec<Output>,
    /// Used only where no other rule shows these channels on this rig.
    #[serde(skip_serializing_if = "is_false")]
    pub fallback: bool,
}

impl Default for Rule {
    fn default() -> Self {
        let Tuning { curve, gain, offset, min, max } = Tuning::default();
        Self { from: Vec::new(), combine: Combine::Sum, curve, gain, offset, min, max, to: Vec::new(), fallback: false }
    }
}

impl Rule {
    /// One channel to one target.
    pub fn one(channel: impl Into<String>, target: impl Into<String>) -> Self {
        Self {
            from: vec![Input { channel: channel.into(), gain: 1.0, offset: 0.0 }],
            to: vec![Output { target: target.into(), gain: 1.0 }],
            ..Self::default()
        }
    }

    /// The change of the value.
    pub fn tuning(&self) -> Tuning {
        let Self { curve, gain, offset, min, max, .. } = self;
        Tuning { curve: curve.clone(), gain: *gain, offset: *offset, min: *min, max: *max }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
pub(crate) fn is_sum(combine: &Combine) -> bool {
    *combine == Combine::Sum
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_one(value: &f32) -> bool {
    *value == 1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

/// One end of a rule, as files write it: `"name"`, `("name", 0.5)` or `(channel: "name", gain: 0.5, offset: 1.0)`.
#[derive(Clone, Debug)]
struct End {
    name: String,
    gain: f32,
    offset: f32,
}

impl End {
    fn new<E: Error>(name: &str, gain: f32, offset: f32) -> Result<Self, E> {
        check_name(name).map_err(E::custom)?;
        if !gain.is_finite() || !offset.is_finite() {
            return Err(E::custom(format_args!("`{name}`: gain and offset must be finite numbers")));
        }
        Ok(Self { name: name.to_owned(), gain, offset })
    }
}

/// Sides that a name may hold in braces, first side and second.
const SIDES: [(&str, &str, &str); 8] = [
    ("{Left}", "Left", "Right"),
    ("{left}", "left", "right"),
    ("{L}", "L", "R"),
    ("{l}", "l", "r"),
    ("{Right}", "Right", "Left"),
    ("{right}", "right", "left"),
    ("{R}", "R", "L"),
    ("{r}", "r", "l"),
];

/// Whether a name holds a side in braces.
pub(crate) fn has_side(name: &str) -> bool {
    name.contains('{')
}

/// The name with what its braces stand for on the first side or the second.
pub(crate) fn on_side(name: &str, second: bool) -> String {
    SIDES.iter().fold(name.to_owned(), |name, (sign, first_side, second_side)| {
        name.replace(sign, if second { second_side } else { first_side })
    })
}

fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("a name is empty".to_owned());
    }
    let mut rest = name.to_owned();
    for (sign, _, _) in SIDES {
        rest = rest.replace(sign, "");
    }
    if rest.contains(['{', '}']) {
        return Err(format!("`{name}`: braces may hold Left, left, L, l, Right, right, R or r"));
    }
    Ok(())
}

/// One end of a rule.
enum Item {
    End(End),
    Number(f32),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, or a name with a gain")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Item, E> {
        End::new(name, 1.0, 0.0).map(Item::End)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Item, E> {
        Ok(Item::Number(number as f32))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Item, E> {
        Ok(Item::Number(number as f32))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Item, E> {
        Ok(Item::Number(number as f32))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Item, A::Error> {
        let name: String = seq.next_element()?.ok_or_else(|| A::Error::custom("a name is missing"))?;
        let gain: f32 = seq.next_element()?.unwrap_or(1.0);
        if seq.next_element::<de::IgnoredAny>()?.is_some() {
            return Err(A::Error::custom(format_args!("`{name}`: more than a name and a gain")));
        }
        End::new(&name, gain, 0.0).map(Item::End)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let (mut name, mut gain, mut offset) = (None::<String>, 1.0, 0.0);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "channel" | "target" | "name" => name = Some(map.next_value()?),
                "gain" => gain = map.next_value()?,
                "offset" => offset = map.next_value()?,
                _ => return Err(A::Error::unknown_field(&field, &["channel", "target", "gain", "offset"])),
            }
        }
        let name = name.ok_or_else(|| A::Error::custom("a name is missing"))?;
        End::new(&name, gain, offset).map(Item::End)
    }
}

/// One end, or a list of them.
struct EndsVisitor;

impl<'de> Visitor<'de> for EndsVisitor {
    type Value = Vec<End>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name, a name with a gain, or a list of these")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Vec<End>, E> {
        Ok(vec![End::new(name, 1.0, 0.0)?])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<End>, A::Error> {
        let mut ends: Vec<End> = Vec::new();
        while let Some(item) = seq.next_element()? {
            match item {
                Item::End(end) => ends.push(end),
                // ("name", 0.5) without a list around it.
                Item::Number(gain) => match ends.as_mut_slice() {
                    [only] => {
                        *only = End::new(&only.name, gain, 0.0)?;
                        return match seq.next_element::<de::IgnoredAny>()? {
                            None => Ok(ends),
                            Some(_) => Err(A::Error::custom("more than a name and a gain; write a list of such pairs")),
                        };
                    }
                    _ => return Err(A::Error::custom("a number where a name belongs")),
                },
            }
        }
        Ok(ends)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<End>, A::Error> {
        match ItemVisitor.visit_map(map)? {
            Item::End(end) => Ok(vec![end]),
            Item::Number(_) => Ok(Vec::new()),
        }
    }
}

pub(crate) fn inputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Input>, D::Error> {
    let ends = from.deserialize_any(EndsVisitor)?;
    Ok(ends.into_iter().map(|end| Input { channel: end.name, gain: end.gain, offset: end.offset }).collect())
}

fn outputs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Output>, D::Error> {
    let ends = from.deserialize_any(EndsVisitor)?;
    if let Some(end) = ends.iter().find(|end| end.offset != 0.0) {
        return Err(D::Error::custom(format_args!("`{}`: a target has no offset; the rule has", end.name)));
    }
    Ok(ends.into_iter().map(|end| Output { target: end.name, gain: end.gain }).collect())
}

/// Written in the shortest form that reads back the same.
#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Name(&'a str),
    Gain(&'a str, f32),
    Offset { channel: &'a str, gain: f32, offset: f32 },
}

fn write_ends<S: Serializer>(mut ends: Vec<Written<'_>>, to: S) -> Result<S::Ok, S::Error> {
    match ends.as_slice() {
        [Written::Name(_)] => ends.remove(0).serialize(to),
        _ => ends.serialize(to),
    }
}

pub(crate) fn write_inputs<S: Serializer>(inputs: &[Input], to: S) -> Result<S::Ok, S::Error> {
    let written = inputs.iter().map(|input| match (input.gain, input.offset) {
        (1.0, 0.0) => Written::Name(&input.channel),
        (gain, 0.0) => Written::Gain(&input.channel, gain),
        (gain, offset) => Written::Offset { channel: &input.channel, gain, offset },
    });
    write_ends(written.collect(), to)
}

fn write_outputs<S: Serializer>(outputs: &[Output], to: S) -> Result<S::Ok, S::Error> {
    let written = outputs.iter().map(|output| match output.gain {
        1.0 => Written::Name(&output.target),
        gain => Written::Gain(&output.target, gain),
    });
    write_ends(written.collect(), to)
}
