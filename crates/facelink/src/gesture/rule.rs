//! Gestures as data.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

use crate::mapping::{
    Combine, Format, Input, MappingError,
    read::{self, maybe_finite},
    rule::{has_side, inputs, is_sum, on_side, write_inputs},
};

/// Gestures of one set at most, both sides of a rule counted.
pub const MAX_GESTURES: usize = 64;
/// Conditions of one gesture, and channels of one condition, at most.
const MAX_CONDITIONS: usize = 16;
/// Longest name of a gesture, bytes.
const MAX_NAME: usize = 64;
/// Longest hold, release and cooldown time, and longest time that swings are counted in, seconds.
const MAX_SECONDS: f32 = 60.0;
/// Swings that one gesture may ask for.
pub(super) const MAX_SWINGS: usize = 8;

/// The built-in gestures, in RON.
const BUILT_IN: &str = include_str!("../../presets/built_in.gestures.ron");

/// Rules by which gestures are recognised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "FaceGestures")]
pub struct GestureSet {
    /// Whether it starts from the built-in gestures: `wink_left`, `wink_right`, `kiss`, `tongue_out`, `surprise`, `smile`,
    /// `nod`, `shake`. On by default. A gesture of this set takes the place of the built-in one of its name.
    pub built_in: bool,
    /// Built-in gestures to leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
    /// The rules. In one frame, a gesture that stands first starts first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gestures: Vec<Gesture>,
}

impl Default for GestureSet {
    fn default() -> Self {
        Self { built_in: true, without: Vec::new(), gestures: Vec::new() }
    }
}

/// One rule.
///
/// It starts when every condition holds for the hold time, and ends when one of them fails for the release time. Names may
/// hold a side in braces, as those of a [mapping](crate::mapping::Rule): `wink_{left}` is then two gestures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gesture {
    /// Its name: letters, digits, `_` and `-`, at most 64, so that it is also a part of an OSC address.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// What has to hold, all of it at once.
    #[serde(deserialize_with = "conditions", skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Condition>,
    /// A head that swings, in addition to the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swings: Option<Swings>,
    /// How long it has to hold before it starts, seconds; 0.1 by default.
    #[serde(deserialize_with = "seconds")]
    pub hold: f32,
    /// How long it has to fail before it ends, seconds; 0.1 by default.
    #[serde(deserialize_with = "seconds")]
    pub release: f32,
    /// How long after its end it does not start again, seconds; 0 by default.
    #[serde(deserialize_with = "seconds", skip_serializing_if = "is_zero")]
    pub cooldown: f32,
    /// Gestures of the set during which this one does not start.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_with: Vec<String>,
}

impl Default for Gesture {
    fn default() -> Self {
        Self {
            name: String::new(),
            when: Vec::new(),
            swings: None,
            hold: 0.1,
            release: 0.1,
            cooldown: 0.0,
            not_with: Vec::new(),
        }
    }
}

/// A value of a face, and the range in which it has to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Condition {
    /// The channels, as a mapping reads them: `"jawOpen"`, `["eyeBlinkLeft", ("eyeBlinkRight", -1.0)]`.
    #[serde(deserialize_with = "inputs", serialize_with = "write_inputs")]
    pub from: Vec<Input>,
    /// How several become one value: `Min` is both sides, `Max` either.
    #[serde(skip_serializing_if = "is_sum")]
    pub combine: Combine,
    /// It holds from this value on.
    #[serde(deserialize_with = "maybe_finite", skip_serializing_if = "Option::is_none")]
    pub above: Option<f32>,
    /// It holds up to this value.
    #[serde(deserialize_with = "maybe_finite", skip_serializing_if = "Option::is_none")]
    pub below: Option<f32>,
    /// How far the value may go back before it holds no longer, so that noise at a threshold does not switch it; 0.1 by
    /// default.
    #[serde(deserialize_with = "hysteresis")]
    pub hysteresis: f32,
}

impl Default for Condition {
    fn default() -> Self {
        Self { from: Vec::new(), combine: Combine::Sum, above: None, below: None, hysteresis: 0.1 }
    }
}

/// A head that turns to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swings {
    /// About which axis. A movement that is mostly about another one does not count.
    pub axis: HeadAxis,
    /// Least angle of one swing, from one turning point to the next, degrees.
    #[serde(deserialize_with = "degrees")]
    pub degrees: f32,
    /// How many swings, 1 to 8: a nod down and up again is 2.
    #[serde(deserialize_with = "swing_count")]
    pub count: usize,
    /// Within how many seconds.
    #[serde(deserialize_with = "window")]
    pub within: f32,
}

/// An axis of the head's rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadAxis {
    /// To the left and right: a shake.
    Yaw,
    /// Up and down: a nod.
    Pitch,
    /// Towards the shoulders.
    Roll,
}

/// A set of gestures cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GestureError {
    /// Its text cannot be read.
    #[error(transparent)]
    Text(#[from] MappingError),
    /// A rule is not usable.
    #[error("field `{field}`: {message}")]
    Rule {
        /// Which, such as `gestures[2].not_with`.
        field: String,
        /// The reason.
        message: String,
    },
}

impl GestureError {
    fn rule(field: String, message: impl fmt::Display) -> Self {
        Self::Rule { field, message: message.to_string() }
    }
}

impl GestureSet {
    /// Reads a set, and checks that it can be used.
    ///
    /// # Errors
    /// Names line, column and field.
    pub fn read(text: &str, format: Format) -> Result<Self, GestureError> {
        let set: Self = read::read(text, format)?;
        set.rules()?;
        Ok(set)
    }

    /// Writes it as [`read`](Self::read) takes it.
    pub fn write(&self, format: Format) -> String {
        read::write(self, format)
    }

    /// The built-in gestures as rules of their own, to begin a file with.
    pub fn built_in() -> Self {
        let gestures = read::read::<Self>(BUILT_IN, Format::Ron).map(|set| set.gestures).unwrap_or_default();
        Self { built_in: false, without: Vec::new(), gestures }
    }

    /// The names of its gestures, in their order.
    ///
    /// # Errors
    /// Names the field that is not usable.
    pub fn names(&self) -> Result<Vec<String>, GestureError> {
        Ok(self.rules()?.into_iter().map(|gesture| gesture.name).collect())
    }

    /// Its rules, each side of its own and the built-in ones included, checked.
    pub(super) fn rules(&self) -> Result<Vec<Gesture>, GestureError> {
        let mut rules: Vec<(Gesture, String)> = Vec::new();
        for (place, gesture) in self.gestures.iter().enumerate() {
            let field = format!("gestures[{place}]");
            gesture.check(&field)?;
            for gesture in gesture.on_sides() {
                if rules.iter().any(|(other, _)| other.name == gesture.name) {
                    let message = format!("there are two gestures \"{}\"", gesture.name);
                    return Err(GestureError::rule(format!("{field}.name"), message));
                }
                rules.push((gesture, field.clone()));
            }
        }
        let built_in = if self.built_in { Self::built_in().gestures } else { Vec::new() };
        let built_in: Vec<Gesture> = built_in.iter().flat_map(Gesture::on_sides).collect();
        if let Some(unknown) = self.without.iter().find(|name| built_in.iter().all(|gesture| gesture.name != **name)) {
            return Err(GestureError::rule(
                "without".to_owned(),
                format!("there is no built-in gesture \"{unknown}\""),
            ));
        }
        for mut gesture in built_in {
            let is_replaced = rules.iter().any(|(other, _)| other.name == gesture.name);
            if !is_replaced && !self.without.contains(&gesture.name) {
                // What they exclude may be left out.
                gesture.not_with.retain(|name| !self.without.contains(name));
                rules.push((gesture, "built_in".to_owned()));
            }
        }
        if rules.len() > MAX_GESTURES {
            let message = format!("{} gestures; at most {MAX_GESTURES} are recognised", rules.len());
            return Err(GestureError::rule("gestures".to_owned(), message));
        }
        for (gesture, field) in &rules {
            let unknown = |name: &&String| rules.iter().all(|(other, _)| other.name != **name);
            if let Some(name) = gesture.not_with.iter().find(unknown) {
                let message = format!("there is no gesture \"{name}\"");
                return Err(GestureError::rule(format!("{field}.not_with"), message));
            }
        }
        Ok(rules.into_iter().map(|(gesture, _)| gesture).collect())
    }
}

impl FromStr for GestureSet {
    type Err = GestureError;

    /// Reads RON.
    fn from_str(text: &str) -> Result<Self, GestureError> {
        Self::read(text, Format::Ron)
    }
}

impl Gesture {
    /// Both sides of a rule whose name holds one; itself otherwise.
    fn on_sides(&self) -> Vec<Self> {
        if !has_side(&self.name) {
            return vec![self.clone()];
        }
        let side = |second: bool| {
            let input = |input: &Input| Input { channel: on_side(&input.channel, second), ..input.clone() };
            let condition = |one: &Condition| Condition { from: one.from.iter().map(input).collect(), ..one.clone() };
            Self {
                name: on_side(&self.name, second),
                when: self.when.iter().map(condition).collect(),
                not_with: self.not_with.iter().map(|name| on_side(name, second)).collect(),
                ..self.clone()
            }
        };
        [false, true].map(side).into()
    }

    /// What serde has checked in a file holds for a rule that a program made too.
    fn check(&self, field: &str) -> Result<(), GestureError> {
        let error = |name: &str, message: &dyn fmt::Display| GestureError::rule(format!("{field}.{name}"), message);
        check_name(&self.name).map_err(|message| error("name", &message))?;
        if self.when.is_empty() && self.swings.is_none() {
            return Err(error("when", &"a gesture needs a condition, or swings"));
        }
        if self.when.len() > MAX_CONDITIONS {
            return Err(error("when", &format_args!("more than {MAX_CONDITIONS} conditions")));
        }
        let times = [("hold", self.hold), ("release", self.release), ("cooldown", self.cooldown)];
        for (name, value) in times {
            check_seconds(value).map_err(|message| error(name, &message))?;
        }
        for (place, condition) in self.when.iter().enumerate() {
            condition.check().map_err(|(name, message)| error(&format!("when[{place}].{name}"), &message))?;
            let sided = condition.from.iter().find(|input| has_side(&input.channel));
            if let Some(input) = sided.filter(|_| !has_side(&self.name)) {
                let message = format!("`{}` holds a side, and the gesture's name does not", input.channel);
                return Err(error(&format!("when[{place}].from"), &message));
            }
        }
        if let Some(swings) = &self.swings {
            check_degrees(swings.degrees).map_err(|message| error("swings.degrees", &message))?;
            check_count(swings.count).map_err(|message| error("swings.count", &message))?;
            check_window(swings.within).map_err(|message| error("swings.within", &message))?;
        }
        Ok(())
    }
}

impl Condition {
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.from.is_empty() {
            return Err(("from", "a channel is missing".to_owned()));
        }
        if self.from.len() > MAX_CONDITIONS {
            return Err(("from", format!("more than {MAX_CONDITIONS} channels")));
        }
        if self.from.iter().any(|input| !input.gain.is_finite() || !input.offset.is_finite()) {
            return Err(("from", "gain and offset must be finite numbers".to_owned()));
        }
        for (name, value) in [("above", self.above), ("below", self.below)] {
            if value.is_some_and(|value| !value.is_finite()) {
                return Err((name, "must be a finite number".to_owned()));
            }
        }
        match (self.above, self.below) {
            (None, None) => return Err(("above", "a condition needs `above`, `below` or both".to_owned())),
            (Some(above), Some(below)) if above > below => {
                return Err(("below", format!("nothing is above {above} and below {below}")));
            }
            _ => {}
        }
        check_hysteresis(self.hysteresis).map_err(|message| ("hysteresis", message))
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = on_side(name, false);
    if plain.is_empty() || plain.len() > MAX_NAME {
        return Err(format!("a name has 1 to {MAX_NAME} letters"));
    }
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if plain.bytes().all(is_letter) {
        Ok(())
    } else {
        Err(format!("`{}`: a name has letters, digits, `_` and `-`", name.escape_debug()))
    }
}

fn check_seconds(value: f32) -> Result<(), String> {
    let fits = (0.0..=MAX_SECONDS).contains(&value);
    if fits { Ok(()) } else { Err(format!("must be 0 to {MAX_SECONDS} seconds")) }
}

fn check_window(value: f32) -> Result<(), String> {
    let fits = (0.1..=MAX_SECONDS).contains(&value);
    if fits { Ok(()) } else { Err(format!("must be 0.1 to {MAX_SECONDS} seconds")) }
}

fn check_degrees(value: f32) -> Result<(), String> {
    if (0.5..=180.0).contains(&value) { Ok(()) } else { Err("must be 0.5 to 180 degrees".to_owned()) }
}

fn check_count(value: usize) -> Result<(), String> {
    if (1..=MAX_SWINGS).contains(&value) { Ok(()) } else { Err(format!("must be 1 to {MAX_SWINGS}")) }
}

fn check_hysteresis(value: f32) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err("must be a number, 0 or more".to_owned()) }
}

/// Reads a value, and checks it while the reader knows its field.
fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de> + Copy>(
    from: D,
    check: fn(T) -> Result<(), String>,
) -> Result<T, D::Error> {
    let value = T::deserialize(from)?;
    check(value).map_err(D::Error::custom)?;
    Ok(value)
}

fn seconds<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    checked(from, check_seconds)
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    checked(from, check_window)
}

fn degrees<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    checked(from, check_degrees)
}

fn swing_count<'de, D: Deserializer<'de>>(from: D) -> Result<usize, D::Error> {
    checked(from, check_count)
}

fn hysteresis<'de, D: Deserializer<'de>>(from: D) -> Result<f32, D::Error> {
    checked(from, check_hysteresis)
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    check_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

fn conditions<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Condition>, D::Error> {
    /// Checked one by one, so that the error has its place.
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Checked(#[serde(deserialize_with = "condition")] Condition);

    fn condition<'de, D: Deserializer<'de>>(from: D) -> Result<Condition, D::Error> {
        let condition = Condition::deserialize(from)?;
        condition.check().map_err(|(field, message)| D::Error::custom(format_args!("field `{field}`: {message}")))?;
        Ok(condition)
    }

    Ok(Vec::<Checked>::deserialize(from)?.into_iter().map(|Checked(condition)| condition).collect())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &f32) -> bool {
    *value == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        text.parse::<GestureSet>().expect_err(text).to_string()
    }

    #[test]
    fn gestures_built_in_are_read_and_written() {
        let names = GestureSet::default().names().unwrap();
        let all = ["wink_left", "wink_right", "kiss", "tongue_out", "surprise", "smile", "nod", "shake"];
        assert_eq!(names, all);
        let own = GestureSet::built_in();
        assert_eq!(own.names().unwrap(), all);
        for format in [Format::Ron, Format::Json] {
            assert_eq!(GestureSet::read(&own.write(format), format).unwrap(), own, "{}", own.write(format));
        }
    }

    #[test]
    fn gestures_of_a_file_replace_add_and_leave_out() {
        let set: GestureSet = r#"(
            without: ["smile", "shake"],
            gestures: [
                (name: "kiss", when: [(from: "mouthPucker", above: 0.8)]),
                (name: "cheek_{left}", when: [(from: "cheekSquint{Left}", above: 0.5)], not_with: ["kiss", "cheek_{right}"]),
            ],
        )"#
        .parse()
        .unwrap();
        let rules = set.rules().unwrap();
        let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(
            names,
            ["kiss", "cheek_left", "cheek_right", "wink_left", "wink_right", "tongue_out", "surprise", "nod"]
        );
        assert_eq!(rules[0].when[0].above, Some(0.8));
        assert_eq!(rules[2].when[0].from[0].channel, "cheekSquintRight");
        assert_eq!(rules[2].not_with, ["kiss", "cheek_left"]);
        assert_eq!(rules[7].not_with, [""; 0], "a gesture that is left out excludes nothing");
    }

    #[test]
    fn gesture_errors_name_the_field() {
        let one = |rest: &str| format!("(gestures: [(name: \"a\", when: [(from: \"jawOpen\", above: 0.5)], {rest})])");
        for (text, field, reason) in [
            (one("hold: -1"), "gestures[0].hold", "0 to 60 seconds"),
            (one("release: NaN"), "gestures[0].release", "0 to 60 seconds"),
            (one("hold: \"long\""), "gestures[0].hold", "Expected float"),
            (one("speed: 1"), "gestures[0].speed", "Unexpected field"),
            (one("not_with: [\"b\"]"), "gestures[0].not_with", "no gesture \"b\""),
            (one("swings: (axis: Tilt, degrees: 5, count: 2, within: 1)"), "gestures[0].swings.axis", "Tilt"),
            (one("swings: (axis: Yaw, degrees: 0, count: 2, within: 1)"), "gestures[0].swings.degrees", "0.5 to 180"),
            (one("swings: (axis: Yaw, degrees: 5, count: 9, within: 1)"), "gestures[0].swings.count", "1 to 8"),
            (one("swings: (axis: Yaw, degrees: 5, count: 2)"), "gestures[0].swings", "within"),
            ("(gestures: [(name: \"a b\")])".to_owned(), "gestures[0].name", "letters, digits"),
            ("(gestures: [(name: \"a\")])".to_owned(), "gestures[0].when", "needs a condition"),
            ("(gestures: [(name: \"a\", when: [(from: \"jawOpen\")])])".to_owned(), "gestures[0].when[0]", "`above`"),
            (
                "(gestures: [(name: \"a\", when: [(from: \"x\", above: inf)])])".to_owned(),
                "gestures[0].when[0].above",
                "finite",
            ),
            (
                "(gestures: [(name: \"a\", when: [(from: \"x\", above: 0.5, below: 0.1)])])".to_owned(),
                "gestures[0].when[0]",
                "nothing is above 0.5 and below 0.1",
            ),
            (
                "(gestures: [(name: \"a\", when: [(from: \"eyeBlink{Left}\", above: 0.5)])])".to_owned(),
                "gestures[0].when[0].from",
                "holds a side",
            ),
            ("(without: [\"frown\"])".to_owned(), "without", "no built-in gesture \"frown\""),
            ("(gesture: [])".to_owned(), "gesture", "Unexpected field"),
        ] {
            let error = error(&text);
            assert!(error.contains(&format!("field `{field}`")), "{error} does not name {field}");
            assert!(error.contains(reason), "{error} has no {reason}");
        }
        let twice = "(gestures: [(name: \"a\", when: [(from: \"x\", above: 1)]), (name: \"a\", when: [(from: \"x\", above: 1)])])";
        assert_eq!(error(twice), "field `gestures[1].name`: there are two gestures \"a\"");
    }

    #[test]
    fn gestures_of_a_program_are_checked_too() {
        let bad = Gesture { name: "a".into(), hold: f32::NAN, ..GestureSet::built_in().gestures[1].clone() };
        let set = GestureSet { gestures: vec![bad], ..GestureSet::default() };
        assert_eq!(set.names().unwrap_err().to_string(), "field `gestures[0].hold`: must be 0 to 60 seconds");
        let many = (0..=MAX_GESTURES)
            .map(|n| Gesture { name: format!("a{n}"), ..GestureSet::built_in().gestures[1].clone() })
            .collect();
        let set = GestureSet { gestures: many, built_in: false, ..GestureSet::default() };
        assert!(set.names().unwrap_err().to_string().contains("at most 64"));
    }
}
