//! Mappings as text: RON and JSON, with errors that name the place.

use std::{fmt, str::FromStr};

use ron::extensions::Extensions;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, Error},
};

use super::Mapping;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// [Rusty Object Notation](https://github.com/ron-rs/ron).
    Ron,
    /// JSON.
    Json,
}

impl Format {
    /// By how a file's name ends; RON where it does not end in `json`.
    pub fn of_path(path: &str) -> Self {
        if path.to_ascii_lowercase().ends_with("json") { Self::Json } else { Self::Ron }
    }
}

/// A file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct MappingError {
    /// Its name, where it has one.
    pub file: Option<String>,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// Which field, such as `rules[3].gain`; `.` is the whole file.
    pub field: String,
    /// The reason.
    pub message: String,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "line {}, column {}", self.line, self.column)?;
        if self.field != "." {
            write!(f, ", field `{}`", self.field)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl MappingError {
    /// The same error in this file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }
}

/// `Some` need not be written.
fn options() -> ron::Options {
    ron::Options::default().with_default_extension(Extensions::IMPLICIT_SOME)
}

/// Reads any of our files.
pub(crate) fn read<T: DeserializeOwned>(text: &str, format: Format) -> Result<T, MappingError> {
    match format {
        Format::Ron => Ok(read_reporting_unknown(text)?.0),
        Format::Json => {
            let error = |error: &serde_json::Error, field: String| {
                let text = error.to_string();
                // Its own words end in the place, which we separate.
                let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
                MappingError { file: None, line: error.line().max(1), column: error.column().max(1), field, message }
            };
            let mut from = serde_json::Deserializer::from_str(text);
            let value = serde_path_to_error::deserialize(&mut from)
                .map_err(|problem| error(problem.inner(), problem.path().to_string()))?;
            from.end().map_err(|problem| error(&problem, ".".to_owned()))?;
            Ok(value)
        }
    }
}

/// As in errors: `rules[3].gain`.
fn field(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field(parent)),
        Path::Map { parent, key } => match field(parent) {
            above if above.is_empty() => key.clone(),
            above => format!("{above}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => field(parent),
    }
}

/// Reads a file of RON, and the fields in it that it does not know.
pub(crate) fn read_reporting_unknown<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<String>), MappingError> {
    let error = |error: ron::error::SpannedError, field: String| MappingError {
        file: None,
        line: error.span.start.line,
        column: error.span.start.col,
        field,
        message: error.code.to_string(),
    };
    let mut from =
        ron::Deserializer::from_str_with_options(text, &options()).map_err(|problem| error(problem, ".".to_owned()))?;
    let mut unknown = Vec::new();
    let mut ignore = |path: serde_ignored::Path<'_>| unknown.push(field(&path));
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut from, &mut track);
    let value = T::deserialize(serde_ignored::Deserializer::new(tracked, &mut ignore));
    let value = value.map_err(|problem| error(from.span_error(problem), track.path().to_string()))?;
    from.end().map_err(|problem| error(from.span_error(problem), ".".to_owned()))?;
    Ok((value, unknown))
}

/// Writes any of our files.
pub(crate) fn write<T: Serialize>(value: &T, format: Format) -> String {
    match format {
        Format::Ron => {
            let pretty = ron::ser::PrettyConfig::new()
                .extensions(Extensions::IMPLICIT_SOME)
                .depth_limit(3)
                .new_line("\n")
                .indentor("    ");
            ron::Options::default().to_string_pretty(value, pretty).map(|text| text + "\n").unwrap_or_default()
        }
        Format::Json => serde_json::to_string_pretty(value).map(|text| text + "\n").unwrap_or_default(),
    }
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// Names line, column and field.
    pub fn read(text: &str, format: Format) -> Result<Self, MappingError> {
        read(text, format)
    }

    /// Writes it as [`read`](Self::read) takes it, without fields at their defaults.
    pub fn write(&self, format: Format) -> String {
        write(self, format)
    }
}

impl FromStr for Mapping {
    type Err = MappingError;

    /// Reads RON.
    fn from_str(text: &str) -> Result<Self, MappingError> {
        Self::read(text, Format::Ron)
    }
}

pub(crate) fn finite<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    let value = f32::deserialize(from)?;
    if value.is_finite() { Ok(value) } else { Err(D::Error::custom("must be a finite number")) }
}

pub(crate) fn maybe_finite<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f32>, D::Error> {
    let value = Option::<f32>::deserialize(from)?;
    if value.is_none_or(f32::is_finite) { Ok(value) } else { Err(D::Error::custom("must be a finite number")) }
}

pub(super) fn limits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<(f32, f32)>, D::Error> {
    let limits = Option::<(f32, f32)>::deserialize(from)?;
    match limits {
        Some((low, high)) if !(low.is_finite() && high.is_finite() && low <= high) => {
            Err(D::Error::custom("must be two numbers, the lower one first"))
        }
        _ => Ok(limits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Combine, Curve, Input, Output, Rule};

    const ALL_OF_IT: &str = r#"(
        name: "Test",
        include: ["arkit"],
        mirror: true,
        limits: (0.0, 1.0),
        channels: { "mouthSmileLeft": (gain: 1.2, curve: Power(1.5)) },
        rules: [
            (from: "jawOpen", to: "Jaw"),
            (from: ["jawOpen", ("mouthClose", -0.5)], combine: Min, curve: Points([(0, 0), (1.0, 0.5)]), to: ["A", ("B", 0.25)]),
            (from: ("cheekPuff", 2), min: 0.0, max: 0.7, gain: -1, offset: 1.0, to: ("C", 0.5)),
            (from: (channel: "jawLeft", gain: -1.0, offset: 1.0), to: (target: "D", gain: 2.0), fallback: true),
        ],
        aside: ["viseme_*"],
        bones: (
            neck: (share: 0.5),
            jaw: (open: 20),
            eyes: (by: Targets, range: (inner: (35, 8), outer: (35, 12), down: (35, 10), up: (35, 10))),
        ),
    )"#;

    #[test]
    fn mapping_fields_round_trip() {
        let mapping: Mapping = ALL_OF_IT.parse().unwrap();
        assert_eq!(mapping.rules[0], Rule::one("jawOpen", "Jaw"));
        let second = &mapping.rules[1];
        assert_eq!(second.from[1], Input { channel: "mouthClose".to_owned(), gain: -0.5, offset: 0.0 });
        assert_eq!((second.combine, &second.to[1]), (Combine::Min, &Output { target: "B".to_owned(), gain: 0.25 }));
        assert_eq!(second.curve, Curve::Points(vec![(0.0, 0.0), (1.0, 0.5)]));
        assert_eq!(mapping.rules[2].from[0].gain, 2.0);
        assert_eq!(mapping.rules[3].from[0].offset, 1.0);
        assert!(mapping.rules[3].fallback);
        assert_eq!(mapping.limits, Some((0.0, 1.0)));
        for format in [Format::Ron, Format::Json] {
            let text = mapping.write(format);
            assert_eq!(Mapping::read(&text, format).unwrap(), mapping, "{text}");
        }
    }

    #[test]
    fn mapping_error_names_line_and_field() {
        for (text, line, field, words) in [
            ("(\n rules: [\n  (from: \"jawOpen\", gain: \"much\", to: \"A\"),\n ],\n)", 3, "rules[0].gain", ""),
            ("(\n rules: [\n  (from: \"jawOpen\", gian: 2.0, to: \"A\"),\n ],\n)", 3, "rules[0]", "gian"),
            ("(\n rules: [\n  (from: 7, to: \"A\"),\n ],\n)", 3, "rules[0].from", "name"),
            ("(\n rules: [\n  (from: \"eye{Side}\", to: \"A\"),\n ],\n)", 3, "rules[0].from", "braces"),
            ("(\n limits: (1.0, 0.0),\n)", 2, "limits", "lower one first"),
            ("(\n channels: {\"jawOpen\": (gain: NaN)},\n)", 2, "channels.jawOpen.gain", "finite"),
            ("(\n rules: [(from: \"a\", curve: Points([(1,0),(0,1)]), to: \"b\")],\n)", 2, "rules[0].curve", "rising"),
            ("(\n bones: (eyes: (range: (inner: (NaN, 8.0)))),\n)", 2, "bones.eyes.range.inner", "degrees"),
            ("(\n bones: (eyes: (by: Both)),\n)", 2, "bones.eyes.by", "Both"),
            ("(\n name: \"never ends", 2, "name", ""),
        ] {
            let error = Mapping::read(text, Format::Ron).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(error.field.starts_with(field), "{text}: {error}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let error = Mapping::read("{\n \"rules\": [{\"from\": \"a\", \"gain\": \"b\", \"to\": \"c\"}]}", Format::Json);
        let error = error.unwrap_err().in_file("robot.face.json");
        assert_eq!((error.line, error.field.as_str()), (2, "rules[0].gain"));
        assert!(error.to_string().starts_with("robot.face.json: line 2, "), "{error}");
    }
}
