//! What sounds are like: means in a space in which the sounds of one kind spread equally in all directions.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::features::{COEFFICIENTS, FEATURES};
use crate::wire::viseme::Viseme;

/// The visemes of vowels, in the order in which a calibration asks for them: car, bed, see, law, food.
pub const VOWELS: [Viseme; 5] = [Viseme::Aa, Viseme::E, Viseme::Ih, Viseme::Oh, Viseme::Ou];

/// Dimensions and templates of a profile, at most.
const MAX_DIMENSIONS: usize = FEATURES;
const MAX_TEMPLATES: usize = 256;
/// Sizes of numbers in a profile, at most.
const MAX_NUMBER: f32 = 1e6;
/// Below this rate the profile for narrow-band sound is better.
const WIDE_RATE: u32 = 14_500;

/// Why a voice profile is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The text is no JSON, or has another structure.
    #[error("not a voice profile: {0}")]
    Json(String),
    /// A field has a value that it cannot have.
    #[error("voice profile: `{field}` {reason}")]
    Field {
        /// The field, with its place.
        field: String,
        /// What is wrong.
        reason: &'static str,
    },
}

fn refused(field: impl Into<String>, reason: &'static str) -> ProfileError {
    ProfileError::Field { field: field.into(), reason }
}

/// One sound: the viseme that shows it, and its mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    pub viseme: Viseme,
    /// As written in the International Phonetic Alphabet, for people.
    sound: String,
    /// Natural logarithm of how often it is.
    pub prior: f32,
    pub mean: Vec<f32>,
}

/// What the sounds of a voice are like: a serde type, some KB of JSON.
///
/// [`Self::builtin`] fits no voice in particular; [`Calibration`](super::Calibration) makes one that fits its speaker.
/// A profile is checked when it is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "File", into = "File")]
pub struct VoiceProfile {
    name: String,
    pub(super) high_hz: f32,
    /// Means of the coefficients while there is a voice, and for how many hops of voice they count before those of the
    /// stream replace them.
    pub(super) usual: [f32; COEFFICIENTS],
    pub(super) inertia: f32,
    centre: Vec<f32>,
    /// A row for each dimension: features become distances in standard deviations within a sound.
    projection: Vec<Vec<f32>>,
    pub(super) templates: Vec<Template>,
    /// Sounds just before the lips, the tongue tip or the back of the tongue close, or before silence.
    pub(super) closing: Vec<Template>,
    /// Features of each of [`VOWELS`] when it is held.
    pub(super) held: [[f32; FEATURES]; VOWELS.len()],
}

/// As it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct File {
    format: String,
    version: u32,
    name: String,
    high_hz: f32,
    usual: Vec<f32>,
    inertia: f32,
    centre: Vec<f32>,
    projection: Vec<Vec<f32>>,
    templates: Vec<Row>,
    closing: Vec<Row>,
    held: Vec<Row>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    viseme: String,
    #[serde(default)]
    sound: String,
    #[serde(default)]
    prior: f32,
    mean: Vec<f32>,
}

const FORMAT: &str = "facelink-voice";
const VERSION: u32 = 1;

impl From<VoiceProfile> for File {
    fn from(profile: VoiceProfile) -> Self {
        let rows = |templates: Vec<Template>| {
            let row =
                |Template { viseme, sound, prior, mean }| Row { viseme: viseme.name().into(), sound, prior, mean };
            templates.into_iter().map(row).collect()
        };
        let held = profile.held.into_iter().zip(VOWELS);
        Self {
            format: FORMAT.into(),
            version: VERSION,
            name: profile.name,
            high_hz: profile.high_hz,
            usual: profile.usual.to_vec(),
            inertia: profile.inertia,
            centre: profile.centre,
            projection: profile.projection,
            templates: rows(profile.templates),
            closing: rows(profile.closing),
            held: held
                .map(|(mean, viseme)| Row {
                    viseme: viseme.name().into(),
                    sound: String::new(),
                    prior: 0.0,
                    mean: mean.to_vec(),
                })
                .collect(),
        }
    }
}

fn numbers(field: &str, found: &[f32], wanted: usize) -> Result<(), ProfileError> {
    if found.len() != wanted {
        return Err(refused(field, "has another number of values than it needs"));
    }
    if found.iter().all(|x| x.abs() <= MAX_NUMBER) { Ok(()) } else { Err(refused(field, "has a value out of range")) }
}

fn templates(field: &str, rows: Vec<Row>, dimensions: usize) -> Result<Vec<Template>, ProfileError> {
    if rows.len() > MAX_TEMPLATES {
        return Err(refused(field, "has more than 256 sounds"));
    }
    rows.into_iter()
        .enumerate()
        .map(|(index, row)| {
            let field = format!("{field}[{index}]");
            let viseme = Viseme::ALL
                .into_iter()
                .find(|viseme| viseme.name() == row.viseme)
                .ok_or_else(|| refused(format!("{field}.viseme"), "is no viseme of the Oculus set"))?;
            numbers(&format!("{field}.mean"), &row.mean, dimensions)?;
            numbers(&format!("{field}.prior"), &[row.prior], 1)?;
            Ok(Template { viseme, sound: row.sound, prior: row.prior, mean: row.mean })
        })
        .collect()
}

impl TryFrom<File> for VoiceProfile {
    type Error = ProfileError;

    fn try_from(file: File) -> Result<Self, ProfileError> {
        if file.format != FORMAT {
            return Err(refused("format", "is not facelink-voice"));
        }
        if file.version != VERSION {
            return Err(refused("version", "is not 1"));
        }
        if file.name.len() > 128 {
            return Err(refused("name", "is longer than 128 bytes"));
        }
        if !(1_000.0..=24_000.0).contains(&file.high_hz) {
            return Err(refused("high_hz", "is not between 1000 and 24000"));
        }
        numbers("usual", &file.usual, COEFFICIENTS)?;
        let usual = std::array::from_fn(|i| file.usual.get(i).copied().unwrap_or_default());
        if !(1.0..=MAX_NUMBER).contains(&file.inertia) {
            return Err(refused("inertia", "is not between 1 and 1000000"));
        }
        numbers("centre", &file.centre, FEATURES)?;
        let dimensions = file.projection.len();
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(refused("projection", "has no row, or more rows than features"));
        }
        for (index, row) in file.projection.iter().enumerate() {
            numbers(&format!("projection[{index}]"), row, FEATURES)?;
        }
        let rows = templates("held", file.held, FEATURES)?;
        let mut held = [[0.0; FEATURES]; VOWELS.len()];
        for (held, vowel) in held.iter_mut().zip(VOWELS) {
            let row = rows.iter().find(|row| row.viseme == vowel);
            let row = row.ok_or_else(|| refused("held", "lacks one of aa, E, ih, oh, ou"))?;
            held.copy_from_slice(&row.mean);
        }
        let sounds = templates("templates", file.templates, dimensions)?;
        if sounds.is_empty() {
            return Err(refused("templates", "is empty"));
        }
        Ok(Self {
            name: file.name,
            high_hz: file.high_hz,
            usual,
            inertia: file.inertia,
            centre: file.centre,
            projection: file.projection,
            templates: sounds,
            closing: templates("closing", file.closing, dimensions)?,
            held,
        })
    }
}

impl VoiceProfile {
    /// The profile for voices that were not calibrated, for sound of this many samples a second: below 14.5 kHz the one
    /// for narrow-band sound. Made from synthetic voices by `.ci/speech-profile`.
    pub fn builtin(rate: u32) -> Self {
        static WIDE: LazyLock<VoiceProfile> = LazyLock::new(|| committed(crate::voices::WIDE));
        static NARROW: LazyLock<VoiceProfile> = LazyLock::new(|| committed(crate::voices::NARROW));
        if rate < WIDE_RATE { NARROW.clone() } else { WIDE.clone() }
    }

    /// Reads JSON.
    pub fn from_json(text: &str) -> Result<Self, ProfileError> {
        // The structure and the values are errors of different kinds.
        let file: File = serde_json::from_str(text).map_err(|error| ProfileError::Json(error.to_string()))?;
        file.try_into()
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with another name, of which the first 128 bytes are kept.
    pub fn named(mut self, name: &str) -> Self {
        self.name = name[..name.floor_char_boundary(128)].to_owned();
        self
    }

    /// Sounds that it knows, in the International Phonetic Alphabet, with their visemes.
    pub fn sounds(&self) -> impl Iterator<Item = (&str, Viseme)> {
        self.templates.iter().map(|template| (&*template.sound, template.viseme))
    }

    /// Dimensions of the space.
    pub(super) fn dimensions(&self) -> usize {
        self.projection.len()
    }

    /// Where features are in the space of the profile.
    pub(super) fn project(&self, features: &[f32; FEATURES], out: &mut [f32; FEATURES]) {
        for (out, row) in out.iter_mut().zip(&self.projection) {
            *out = row.iter().zip(features).zip(&self.centre).map(|((r, f), c)| r * (f - c)).sum();
        }
    }
}

/// A profile of the source tree, which the tests of this module read.
#[expect(clippy::expect_used, reason = "a file of the source tree")]
fn committed(text: &str) -> VoiceProfile {
    VoiceProfile::from_json(text).expect("a profile")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn value() -> Value {
        serde_json::to_value(VoiceProfile::builtin(48_000)).unwrap()
    }

    #[test]
    fn voice_profile_builtin_is_written_and_read() {
        for rate in [8_000, 48_000] {
            let profile = VoiceProfile::builtin(rate);
            let text = serde_json::to_string(&profile).unwrap();
            assert_eq!(VoiceProfile::from_json(&text).unwrap(), profile);
            let visemes: std::collections::BTreeSet<_> = profile.sounds().map(|(_, viseme)| viseme as u8).collect();
            assert_eq!(visemes.len(), 14, "all but silence");
        }
        assert_ne!(VoiceProfile::builtin(8_000), VoiceProfile::builtin(16_000));
        assert_eq!(VoiceProfile::builtin(8_000).named(&"ä".repeat(100)).name().len(), 128);
    }

    #[test]
    fn voice_profile_refused_with_field() {
        let many: Vec<Value> = vec![value()["templates"][0].clone(); 257];
        for (path, bad, error) in [
            ("/format", json!("voice"), "`format`"),
            ("/version", json!(2), "`version`"),
            ("/name", json!("x".repeat(129)), "`name`"),
            ("/high_hz", json!(0.0), "`high_hz`"),
            ("/usual", json!([1.0]), "`usual`"),
            ("/inertia", json!(0.0), "`inertia`"),
            ("/inertia", json!(1e300), "`inertia`"),
            ("/centre", json!([]), "`centre`"),
            ("/projection", json!([]), "`projection`"),
            ("/projection/3", json!([1.0, 2.0]), "`projection[3]`"),
            ("/templates", json!([]), "`templates`"),
            ("/templates", json!(many), "`templates`"),
            ("/templates/2/viseme", json!("Q"), "`templates[2].viseme`"),
            ("/templates/2/mean", json!([0.0]), "`templates[2].mean`"),
            ("/templates/2/mean/0", json!(1e30), "`templates[2].mean`"),
            ("/templates/2/prior", json!(-1e30), "`templates[2].prior`"),
            ("/closing/0/mean", json!([]), "`closing[0].mean`"),
            ("/held/0/viseme", json!("E"), "`held`"),
            ("/high_hz", json!("wide"), "not a voice profile"),
        ] {
            let mut value = value();
            *value.pointer_mut(path).unwrap() = bad;
            let refused = VoiceProfile::from_json(&value.to_string()).unwrap_err().to_string();
            assert!(refused.contains(error), "{path}: {refused}");
        }
        for text in ["", "[]", "{}", "null", "{\"format\":"] {
            assert!(matches!(VoiceProfile::from_json(text), Err(ProfileError::Json(_))), "{text}");
        }
    }
}
