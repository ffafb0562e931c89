//! JSON values as the wire has them: strings read in place, names, finite numbers, times.

use std::{borrow::Cow, fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use smallvec::SmallVec;

use super::name_table::check_name;

/// Largest number that can be meant as a weight; more is a broken sender, not an eager one.
pub(super) const MAX_WEIGHT_READ: f64 = 1e6;
/// Below this a number is seconds, from here on milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

/// Shortens text that is echoed to a log or a peer.
pub(super) fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

/// An error that names its field.
pub(super) fn at<E: de::Error>(field: &str, error: &impl fmt::Display) -> E {
    let text = error.to_string();
    let text = without_place(&text);
    if text.starts_with("field `") { E::custom(text) } else { E::custom(format_args!("field `{field}`: {text}")) }
}

/// `serde_json` appends the place in the text to each error; where it is wrapped, once is enough.
pub(super) fn without_place(text: &str) -> &str {
    text.rsplit_once(" at line ").map_or(text, |(message, _)| message)
}

/// Any value, passed over. Unlike [`de::IgnoredAny`] it does not make `serde_json` allocate for nested values; it recurses
/// instead, to a depth that the caller has bounded.
pub(super) struct Skip;

impl<'de> Deserialize<'de> for Skip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SkipVisitor;
        impl<'de> Visitor<'de> for SkipVisitor {
            type Value = Skip;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_bool<E>(self, _: bool) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_str<E>(self, _: &str) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_unit<E>(self) -> Result<Skip, E> {
                Ok(Skip)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Skip, A::Error> {
                while seq.next_element::<Skip>()?.is_some() {}
                Ok(Skip)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Skip, A::Error> {
                while map.next_entry::<Text<'de>, Skip>()?.is_some() {}
                Ok(Skip)
            }
        }
        deserializer.deserialize_any(SkipVisitor)
    }
}

/// A string, borrowed where it holds no escapes.
pub(super) struct Text<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

/// A subject, channel or other name, as [`check_name`] allows.
pub(super) struct Name<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(name) = Text::deserialize(deserializer)?;
        check_name(&name).map_err(de::Error::custom)?;
        Ok(Self(name))
    }
}

/// A finite number.
pub(super) struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
                if value.is_finite() { Ok(value) } else { Err(E::custom("must be a finite number")) }
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
                Ok(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
                Ok(value as f64)
            }
        }
        deserializer.deserialize_any(NumberVisitor).map(Number)
    }
}

/// A time: Unix milliseconds, from Unix seconds, milliseconds, or an ISO 8601 string.
pub(super) struct Timestamp(pub f64);

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimestampVisitor;
        impl Visitor<'_> for TimestampVisitor {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Unix seconds or milliseconds, or an ISO 8601 string")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
                if !value.is_finite() {
                    return Err(E::custom("must be a finite number"));
                }
                Ok(if value.abs() < MILLISECONDS_FROM { value * 1000.0 } else { value })
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
                self.visit_f64(value as f64)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<f64, E> {
                self.visit_f64(value as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<f64, E> {
                parse_iso_8601(text).ok_or_else(|| E::custom(format_args!("`{}` is no ISO 8601 time", shorten(text))))
            }
        }
        deserializer.deserialize_any(TimestampVisitor).map(Timestamp)
    }
}

/// Unix milliseconds of an ISO 8601 time. Python's `datetime.now().isoformat()` writes no offset: such a time is read as
/// UTC.
fn parse_iso_8601(text: &str) -> Option<f64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_nanosecond() as f64 / 1e6);
    }
    let time = text.parse::<jiff::civil::DateTime>().ok()?;
    let time = jiff::tz::TimeZone::UTC.to_timestamp(time).ok()?;
    Some(time.as_nanosecond() as f64 / 1e6)
}

/// An array of at most `max` items.
pub(super) fn bounded_seq<'de, D, A>(deserializer: D, max: usize, what: &'static str) -> Result<SmallVec<A>, D::Error>
where
    D: Deserializer<'de>,
    A: smallvec::Array,
    A::Item: Deserialize<'de>,
{
    struct SeqVisitor<A>(usize, &'static str, PhantomData<fn() -> A>);
    impl<'de, A: smallvec::Array> Visitor<'de> for SeqVisitor<A>
    where
        A::Item: Deserialize<'de>,
    {
        type Value = SmallVec<A>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.1)
        }

        fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
            let mut items = SmallVec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() >= self.0 {
                    return Err(de::Error::custom(format_args!("more than {} items", self.0)));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(SeqVisitor(max, what, PhantomData))
}

/// A duration of so many milliseconds, bounded to `0..=max`.
pub(super) fn milliseconds(ms: f64, max: f64) -> Duration {
    Duration::from_secs_f64(ms.clamp(0.0, max) / 1000.0)
}

/// Writes a number, a whole one without a decimal point.
pub(super) struct Written(pub f64);

impl Written {
    /// Rounded to so many decimals; a value too large to have any stays as it is.
    pub fn rounded(value: impl Into<f64>, decimals: i32) -> Self {
        let (value, scale) = (value.into(), 10_f64.powi(decimals));
        let scaled = value * scale;
        Self(if scaled.is_finite() { scaled.round() / scale } else { value })
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < 1e15 {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}
