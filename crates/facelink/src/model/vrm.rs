//! What a VRM avatar declares about its face.
//!
//! Source: the VRM specification (<https://github.com/vrm-c/vrm-specification>), 0.0 (extension `VRM`) and 1.0 (extension
//! `VRMC_vrm`). Indices are those of the glTF file; they may point at nothing.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{ModelError, glb};
use crate::mapping::{Facing, GazeRange, RangeMap};

/// Expressions of a model that are read; each further one is left out.
const MAX_EXPRESSIONS: usize = 1024;
/// Longest name, bytes.
const MAX_NAME: usize = 256;
/// Problems that are kept.
const MAX_PROBLEMS: usize = 16;

/// Version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VrmVersion {
    /// 0.x: the model looks along -Z.
    V0,
    /// 1.0: the model looks along +Z.
    V1,
}

/// The face of a VRM avatar.
#[derive(Clone, Debug, PartialEq)]
pub struct Vrm {
    /// Version of the format.
    pub version: VrmVersion,
    /// Humanoid bones, by node.
    pub bones: VrmBones,
    /// Expressions that move morph targets, in the order of the file; those that move none are left out. A preset has its
    /// usual name: `blinkLeft` in 1.0, `Blink_L` in 0.x.
    pub expressions: Vec<Expression>,
    /// How the eyes follow the gaze; `None` where the file does not say.
    pub look_at: Option<LookAt>,
    /// What was left out because it could not be read, each with the name of its field.
    pub problems: Vec<String>,
}

/// Nodes of the bones that a face moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VrmBones {
    /// The head.
    pub head: Option<usize>,
    /// The neck.
    pub neck: Option<usize>,
    /// The character's left eye.
    pub left_eye: Option<usize>,
    /// The character's right eye.
    pub right_eye: Option<usize>,
    /// The jaw.
    pub jaw: Option<usize>,
}

/// An expression: one level from 0 to 1 for several morph targets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expression {
    /// Its name.
    pub name: String,
    /// Which of the groups it belongs to that other expressions may weaken.
    pub kind: ExpressionKind,
    /// Whether it is on (above 0.5) or off, and nothing in between.
    pub binary: bool,
    /// What it weakens.
    pub overrides: Overrides,
    /// What it moves.
    pub binds: Vec<MorphBind>,
}

/// Groups of expressions that are procedural: made by blinking, gaze or speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ExpressionKind {
    /// `blink`, `blinkLeft`, `blinkRight`.
    Blink,
    /// `lookUp`, `lookDown`, `lookLeft`, `lookRight`.
    Look,
    /// `aa`, `ih`, `ou`, `ee`, `oh`.
    Mouth,
    /// All others.
    Other,
}

/// How an expression weakens others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Override {
    /// Not at all.
    #[default]
    None,
    /// They are off while it is on.
    Block,
    /// By its own level.
    Blend,
}

/// What an expression weakens. VRM 0.x has none of this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Overrides {
    /// Expressions of [`ExpressionKind::Blink`].
    pub blink: Override,
    /// Expressions of [`ExpressionKind::Look`].
    pub look: Override,
    /// Expressions of [`ExpressionKind::Mouth`].
    pub mouth: Override,
}

/// A morph target that an expression moves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MorphBind {
    /// Index of a node (1.0) or of a mesh, on whatever nodes it is (0.x).
    pub on: usize,
    /// Index of the target.
    pub target: usize,
    /// Weight of the target at the full level, `0..=1`.
    pub weight: f32,
}

/// How the eyes follow the gaze.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookAt {
    /// Whether eye bones turn; otherwise the `look` expressions show the gaze.
    pub by_bones: bool,
    /// How far eye bones turn.
    pub range: GazeRange,
}

/// Why a value cannot be read, with the field below the caller's.
struct Problem {
    field: String,
    message: String,
}

type Read<T> = Result<T, Problem>;

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self { field: String::new(), message: message.into() }
    }

    fn within(mut self, field: impl std::fmt::Display) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') { "" } else { "." };
        self.field = format!("{field}{dot}{}", self.field);
        self
    }
}

impl From<Problem> for ModelError {
    fn from(problem: Problem) -> Self {
        Self::Field { field: problem.field, message: problem.message }
    }
}

/// A field that is there and not `null`.
fn field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A field that may be missing, read by `read`.
fn optional<'a, T>(
    object: &'a Map<String, Value>,
    name: &str,
    read: impl FnOnce(&'a Value) -> Read<T>,
) -> Read<Option<T>> {
    field(object, name).map(read).transpose().map_err(|problem| problem.within(name))
}

fn object(value: &Value) -> Read<&Map<String, Value>> {
    value.as_object().ok_or_else(|| Problem::new("must be an object"))
}

fn array(value: &Value) -> Read<&[Value]> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| Problem::new("must be an array"))
}

fn text(value: &Value) -> Read<&str> {
    value.as_str().ok_or_else(|| Problem::new("must be a text"))
}

fn number(value: &Value) -> Read<f32> {
    match value.as_f64() {
        Some(number) if number.abs() <= f64::from(f32::MAX) => Ok(number as f32),
        _ => Err(Problem::new("must be a number")),
    }
}

/// Some exporters write `0` and `1`.
fn flag(value: &Value) -> Read<bool> {
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Number(number) => Ok(number.as_f64() != Some(0.0)),
        _ => Err(Problem::new("must be true or false")),
    }
}

/// An index, also as `3.0`; `None` for -1, by which exporters say that there is nothing.
fn index(value: &Value) -> Read<Option<usize>> {
    let number = value.as_f64().ok_or_else(|| Problem::new("must be an index"))?;
    if number == -1.0 {
        return Ok(None);
    }
    if number < 0.0 || number.fract() != 0.0 || number > f64::from(u32::MAX) {
        return Err(Problem::new(format!("must be an index, and is {number}")));
    }
    Ok(Some(number as usize))
}

/// Names of the presets of 0.x, as files write them and as UniVRM shows them.
const PRESETS_0: [(&str, &str, ExpressionKind); 17] = [
    ("neutral", "Neutral", ExpressionKind::Other),
    ("a", "A", ExpressionKind::Mouth),
    ("i", "I", ExpressionKind::Mouth),
    ("u", "U", ExpressionKind::Mouth),
    ("e", "E", ExpressionKind::Mouth),
    ("o", "O", ExpressionKind::Mouth),
    ("blink", "Blink", ExpressionKind::Blink),
    ("blink_l", "Blink_L", ExpressionKind::Blink),
    ("blink_r", "Blink_R", ExpressionKind::Blink),
    ("joy", "Joy", ExpressionKind::Other),
    ("angry", "Angry", ExpressionKind::Other),
    ("sorrow", "Sorrow", ExpressionKind::Other),
    ("fun", "Fun", ExpressionKind::Other),
    ("lookup", "LookUp", ExpressionKind::Look),
    ("lookdown", "LookDown", ExpressionKind::Look),
    ("lookleft", "LookLeft", ExpressionKind::Look),
    ("lookright", "LookRight", ExpressionKind::Look),
];

fn kind_1(preset: &str) -> ExpressionKind {
    match preset {
        "blink" | "blinkLeft" | "blinkRight" => ExpressionKind::Blink,
        "lookUp" | "lookDown" | "lookLeft" | "lookRight" => ExpressionKind::Look,
        "aa" | "ih" | "ou" | "ee" | "oh" => ExpressionKind::Mouth,
        _ => ExpressionKind::Other,
    }
}

impl Vrm {
    /// Reads what a glTF file declares, binary or JSON; `None` where it is no VRM avatar.
    ///
    /// Parts that cannot be read, such as one expression, are left out and listed in [`problems`](Self::problems).
    ///
    /// # Errors
    /// When the file is no glTF file, or the extension is not an object.
    pub fn read(file: &[u8]) -> Result<Option<Self>, ModelError> {
        let document = glb::document(&glb::split(file)?)?;
        document.get("extensions").and_then(Value::as_object).map_or(Ok(None), Self::from_extensions)
    }

    /// Reads the `extensions` of the glTF file's root. A file with both versions is read as 1.0.
    ///
    /// # Errors
    /// When the extension is not an object.
    pub fn from_extensions(extensions: &Map<String, Value>) -> Result<Option<Self>, ModelError> {
        let (name, version, extension) = match (field(extensions, "VRMC_vrm"), field(extensions, "VRM")) {
            (Some(extension), _) => ("VRMC_vrm", VrmVersion::V1, extension),
            (None, Some(extension)) => ("VRM", VrmVersion::V0, extension),
            (None, None) => return Ok(None),
        };
        let within = |problem: Problem| problem.within(name).within("extensions");
        let extension = object(extension).map_err(within)?;
        let mut vrm =
            Self { version, bones: VrmBones::default(), expressions: Vec::new(), look_at: None, problems: Vec::new() };
        let mut problems = Vec::new();
        let parts = match version {
            VrmVersion::V0 => [
                vrm.humanoid_0(extension, &mut problems),
                vrm.look_at_0(extension),
                vrm.table_0(extension, &mut problems),
            ],
            VrmVersion::V1 => [
                vrm.humanoid_1(extension, &mut problems),
                vrm.look_at_1(extension),
                vrm.table_1(extension, &mut problems),
            ],
        };
        problems.extend(parts.into_iter().filter_map(Result::err));
        let left = problems.len().saturating_sub(MAX_PROBLEMS);
        vrm.problems = problems
            .into_iter()
            .take(MAX_PROBLEMS)
            .map(|problem| ModelError::from(within(problem)).to_string())
            .chain((left > 0).then(|| format!("and {left} more fields")))
            .collect();
        Ok(Some(vrm))
    }

    /// The direction that the model looks in.
    pub fn facing(&self) -> Facing {
        match self.version {
            VrmVersion::V0 => Facing::MinusZ,
            VrmVersion::V1 => Facing::PlusZ,
        }
    }

    fn bone(&mut self, name: &str, node: Option<usize>) {
        let slot = match name {
            "head" => &mut self.bones.head,
            "neck" => &mut self.bones.neck,
            "leftEye" => &mut self.bones.left_eye,
            "rightEye" => &mut self.bones.right_eye,
            "jaw" => &mut self.bones.jaw,
            _ => return,
        };
        *slot = slot.or(node);
    }

    fn humanoid_0(&mut self, extension: &Map<String, Value>, problems: &mut Vec<Problem>) -> Read<()> {
        let Some(humanoid) = optional(extension, "humanoid", object)? else { return Ok(()) };
        let bones = optional(humanoid, "humanBones", array).map_err(|problem| problem.within("humanoid"))?;
        for (place, bone) in bones.unwrap_or_default().iter().enumerate() {
            let read = object(bone).and_then(|bone| {
                Ok((optional(bone, "bone", text)?.unwrap_or_default(), optional(bone, "node", index)?.flatten()))
            });
            match read {
                Ok((name, node)) => self.bone(name, node),
                Err(problem) => problems.push(problem.within(format!("humanoid.humanBones[{place}]"))),
            }
        }
        Ok(())
    }

    fn humanoid_1(&mut self, extension: &Map<String, Value>, problems: &mut Vec<Problem>) -> Read<()> {
        let Some(humanoid) = optional(extension, "humanoid", object)? else { return Ok(()) };
        let bones = optional(humanoid, "humanBones", object).map_err(|problem| problem.within("humanoid"))?;
        for (name, bone) in bones.into_iter().flatten().filter(|(_, bone)| !bone.is_null()) {
            match object(bone).and_then(|bone| optional(bone, "node", index)) {
                Ok(node) => self.bone(name, node.flatten()),
                Err(problem) => problems.push(problem.within(name).within("humanoid.humanBones")),
            }
        }
        Ok(())
    }

    fn look_at_0(&mut self, extension: &Map<String, Value>) -> Read<()> {
        let Some(person) = optional(extension, "firstPerson", object)? else { return Ok(()) };
        let read = || -> Read<LookAt> {
            let range = |name| {
                optional(person, name, |map| {
                    let map = object(map)?;
                    let input = optional(map, "xRange", number)?.unwrap_or(90.0);
                    Ok(RangeMap::look_at(input, optional(map, "yRange", number)?.unwrap_or(10.0)))
                })
                .map(|range| range.unwrap_or(RangeMap::look_at(90.0, 10.0)))
            };
            let kind = optional(person, "lookAtTypeName", text)?.unwrap_or("Bone");
            Ok(LookAt {
                by_bones: !kind.eq_ignore_ascii_case("BlendShape"),
                range: GazeRange {
                    inner: range("lookAtHorizontalInner")?,
                    outer: range("lookAtHorizontalOuter")?,
                    down: range("lookAtVerticalDown")?,
                    up: range("lookAtVerticalUp")?,
                },
            })
        };
        self.look_at = Some(read().map_err(|problem| problem.within("firstPerson"))?);
        Ok(())
    }

    fn look_at_1(&mut self, extension: &Map<String, Value>) -> Read<()> {
        let Some(look_at) = optional(extension, "lookAt", object)? else { return Ok(()) };
        let read = || -> Read<LookAt> {
            let range = |name| {
                optional(look_at, name, |map| {
                    let map = object(map)?;
                    let input = optional(map, "inputMaxValue", number)?.unwrap_or(90.0);
                    Ok(RangeMap::look_at(input, optional(map, "outputScale", number)?.unwrap_or(10.0)))
                })
                .map(|range| range.unwrap_or(RangeMap::look_at(90.0, 10.0)))
            };
            Ok(LookAt {
                by_bones: optional(look_at, "type", text)? != Some("expression"),
                range: GazeRange {
                    inner: range("rangeMapHorizontalInner")?,
                    outer: range("rangeMapHorizontalOuter")?,
                    down: range("rangeMapVerticalDown")?,
                    up: range("rangeMapVerticalUp")?,
                },
            })
        };
        self.look_at = Some(read().map_err(|problem| problem.within("lookAt"))?);
        Ok(())
    }

    fn add(&mut self, expression: Expression) -> Read<()> {
        if expression.binds.is_empty() {
            return Ok(());
        }
        if expression.name.is_empty() || expression.name.len() > MAX_NAME {
            return Err(Problem::new(format!("its name must have 1 to {MAX_NAME} bytes")));
        }
        if self.expressions.len() >= MAX_EXPRESSIONS {
            return Err(Problem::new(format!("more than {MAX_EXPRESSIONS} expressions")));
        }
        // Of two of one name the first one counts.
        if self.expressions.iter().all(|other| other.name != expression.name) {
            self.expressions.push(expression);
        }
        Ok(())
    }

    fn table_0(&mut self, extension: &Map<String, Value>, problems: &mut Vec<Problem>) -> Read<()> {
        let Some(master) = optional(extension, "blendShapeMaster", object)? else { return Ok(()) };
        let groups =
            optional(master, "blendShapeGroups", array).map_err(|problem| problem.within("blendShapeMaster"))?;
        for (place, group) in groups.unwrap_or_default().iter().enumerate() {
            if let Err(problem) = group_0(group).and_then(|group| self.add(group)) {
                problems.push(problem.within(format!("blendShapeMaster.blendShapeGroups[{place}]")));
            }
        }
        Ok(())
    }

    fn table_1(&mut self, extension: &Map<String, Value>, problems: &mut Vec<Problem>) -> Read<()> {
        let Some(tables) = optional(extension, "expressions", object)? else { return Ok(()) };
        for table in ["preset", "custom"] {
            let entries = match optional(tables, table, object) {
                Ok(entries) => entries,
                Err(problem) => {
                    problems.push(problem.within("expressions"));
                    continue;
                }
            };
            for (name, expression) in entries.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                let kind = if table == "preset" { kind_1(name) } else { ExpressionKind::Other };
                if let Err(problem) = expression_1(name, kind, expression).and_then(|expression| self.add(expression)) {
                    problems.push(problem.within(name).within(table).within("expressions"));
                }
            }
        }
        Ok(())
    }
}

/// The binds of an expression, each an object that `read` reads; one that points at nothing is left out.
fn binds(
    list: Option<&[Value]>,
    read: impl Fn(&Map<String, Value>) -> Read<Option<MorphBind>>,
) -> Read<Vec<MorphBind>> {
    let mut binds = Vec::new();
    for (place, bind) in list.unwrap_or_default().iter().enumerate() {
        let bind = object(bind).and_then(&read).map_err(|problem| problem.within(format_args!("[{place}]")))?;
        binds.extend(bind.filter(|bind| bind.weight != 0.0));
    }
    Ok(binds)
}

fn group_0(group: &Value) -> Read<Expression> {
    let group = object(group)?;
    let name = optional(group, "name", text)?.unwrap_or_default().trim();
    let preset = optional(group, "presetName", text)?.unwrap_or_default();
    let preset = PRESETS_0.iter().find(|(id, ..)| id.eq_ignore_ascii_case(preset));
    let list = optional(group, "binds", array)?;
    let binds = binds(list, |bind| {
        let (on, target) = (optional(bind, "mesh", index)?.flatten(), optional(bind, "index", index)?.flatten());
        let weight = optional(bind, "weight", number)?.unwrap_or(100.0) / 100.0;
        Ok(on.zip(target).map(|(on, target)| MorphBind { on, target, weight: weight.clamp(0.0, 1.0) }))
    });
    Ok(Expression {
        name: preset.map_or(name, |(_, name, _)| name).to_owned(),
        kind: preset.map_or(ExpressionKind::Other, |(.., kind)| *kind),
        binary: optional(group, "isBinary", flag)?.unwrap_or(false),
        overrides: Overrides::default(),
        binds: binds.map_err(|problem| problem.within("binds"))?,
    })
}

fn expression_1(name: &str, kind: ExpressionKind, expression: &Value) -> Read<Expression> {
    let expression = object(expression)?;
    let list = optional(expression, "morphTargetBinds", array)?;
    let binds = binds(list, |bind| {
        let (on, target) = (optional(bind, "node", index)?.flatten(), optional(bind, "index", index)?.flatten());
        let weight = optional(bind, "weight", number)?.unwrap_or(1.0);
        Ok(on.zip(target).map(|(on, target)| MorphBind { on, target, weight: weight.clamp(0.0, 1.0) }))
    });
    let weakens = |name| {
        optional(expression, name, |value| match text(value)? {
            "none" => Ok(Override::None),
            "block" => Ok(Override::Block),
            "blend" => Ok(Override::Blend),
            other => Err(Problem::new(format!("must be none, block or blend, and is {other:.32}"))),
        })
        .map(Option::unwrap_or_default)
    };
    Ok(Expression {
        name: name.to_owned(),
        kind,
        binary: optional(expression, "isBinary", flag)?.unwrap_or(false),
        overrides: Overrides {
            blink: weakens("overrideBlink")?,
            look: weakens("overrideLookAt")?,
            mouth: weakens("overrideMouth")?,
        },
        binds: binds.map_err(|problem| problem.within("morphTargetBinds"))?,
    })
}

impl Expression {
    /// Turns the levels that a mapping wants, in the order of `expressions`, into the levels that are shown: within `0..=1`,
    /// on or off where an expression is binary, and weakened by each other's [`Overrides`].
    ///
    /// [`Override::Block`] weakens by the level too, instead of at once: a live face smiles a little most of the time, and
    /// its mouth would stand still.
    pub fn settle(expressions: &[Self], levels: &mut [f32]) {
        let mut weakened = [0.0_f32; 3];
        for (expression, level) in expressions.iter().zip(&mut *levels) {
            let wanted = if level.is_nan() { 0.0 } else { level.clamp(0.0, 1.0) };
            *level = if expression.binary { f32::from(u8::from(wanted > 0.5)) } else { wanted };
            let Overrides { blink, look, mouth } = expression.overrides;
            let groups = [(ExpressionKind::Blink, blink), (ExpressionKind::Look, look), (ExpressionKind::Mouth, mouth)];
            for (sum, (kind, weakens)) in weakened.iter_mut().zip(groups) {
                if weakens != Override::None && kind != expression.kind {
                    *sum += *level;
                }
            }
        }
        for (expression, level) in expressions.iter().zip(levels) {
            let by = match expression.kind {
                ExpressionKind::Blink => weakened[0],
                ExpressionKind::Look => weakened[1],
                ExpressionKind::Mouth => weakened[2],
                ExpressionKind::Other => continue,
            };
            let kept = 1.0 - by.min(1.0);
            *level = if expression.binary && kept < 1.0 { 0.0 } else { *level * kept };
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(extensions: &Value) -> Vrm {
        let file = json!({"asset": {"version": "2.0"}, "extensions": extensions});
        Vrm::read(&serde_json::to_vec(&file).unwrap()).unwrap().expect("a VRM avatar")
    }

    #[test]
    fn vrm0_tables_are_read() {
        let vrm = read(&json!({"VRM": {
            "humanoid": {"humanBones": [
                {"bone": "head", "node": 5, "useDefaultValues": true}, {"bone": "leftEye", "node": 6.0},
                {"bone": "rightEye", "node": -1}, {"bone": "hips", "node": 0}, {"bone": "neck", "node": 4},
            ]},
            "firstPerson": {
                "lookAtTypeName": "Bone",
                "lookAtHorizontalInner": {"curve": [0, 0, 0, 1, 1, 1, 1, 0], "xRange": 90, "yRange": 8},
                "lookAtHorizontalOuter": {"xRange": 90, "yRange": 12},
                "lookAtVerticalDown": {"xRange": 90, "yRange": 90},
                "lookAtVerticalUp": {"xRange": 10, "yRange": 30},
            },
            "blendShapeMaster": {"blendShapeGroups": [
                {"name": "MTH_A", "presetName": "a", "binds": [{"mesh": 2, "index": 7, "weight": 100}], "isBinary": false},
                {"name": "Blink_L", "presetName": "blink_l", "binds": [{"mesh": 2, "index": 1, "weight": 50}]},
                {"name": "LookUp", "presetName": "lookup", "binds": []},
                {"name": "JawOpen", "presetName": "unknown", "binds": [{"mesh": 2, "index": 3, "weight": 100}]},
            ]},
        }}));
        assert_eq!((vrm.version, vrm.facing()), (VrmVersion::V0, Facing::MinusZ));
        let bones = VrmBones { head: Some(5), neck: Some(4), left_eye: Some(6), right_eye: None, jaw: None };
        assert_eq!(vrm.bones, bones);
        let look = vrm.look_at.unwrap();
        assert!(look.by_bones);
        let full = std::f32::consts::FRAC_PI_2;
        for (yaw, pitch, turned) in [(-full, 0.0, -8.0), (full, 0.0, 12.0), (0.0, full, 30.0), (0.0, -full, -35.0)] {
            let (x, y) = look.range.turn(true, yaw, pitch);
            assert!(((x + y).to_degrees() - turned).abs() < 1e-3, "{yaw} {pitch}: {x} {y}");
        }
        let names: Vec<_> = vrm.expressions.iter().map(|expression| expression.name.as_str()).collect();
        assert_eq!(names, ["A", "Blink_L", "JawOpen"]);
        assert_eq!(vrm.expressions[1].binds, [MorphBind { on: 2, target: 1, weight: 0.5 }]);
        assert_eq!(vrm.problems, Vec::<String>::new());
    }

    #[test]
    fn vrm1_tables_are_read() {
        let vrm = read(&json!({"VRM": {}, "VRMC_vrm": {
            "specVersion": "1.0",
            "humanoid": {"humanBones": {"head": {"node": 5}, "jaw": {"node": 9}, "leftEye": null}},
            "lookAt": {
                "type": "expression",
                "rangeMapHorizontalInner": {"inputMaxValue": 90, "outputScale": 1},
            },
            "expressions": {
                "preset": {
                    "aa": {"morphTargetBinds": [{"node": 3, "index": 0, "weight": 1.0}]},
                    "happy": {"isBinary": true, "overrideMouth": "block", "overrideBlink": "blend",
                              "morphTargetBinds": [{"node": 3, "index": 1, "weight": 0.25}]},
                    "lookUp": {"materialColorBinds": []},
                },
                "custom": {"jawOpen": {"morphTargetBinds": [{"node": 3, "index": 2}]}},
            },
        }}));
        assert_eq!((vrm.version, vrm.facing()), (VrmVersion::V1, Facing::PlusZ));
        assert_eq!((vrm.bones.head, vrm.bones.jaw, vrm.bones.left_eye), (Some(5), Some(9), None));
        assert!(!vrm.look_at.unwrap().by_bones);
        let names: Vec<_> = vrm.expressions.iter().map(|expression| expression.name.as_str()).collect();
        assert_eq!(names, ["aa", "happy", "jawOpen"]);
        let happy = &vrm.expressions[1];
        assert!(happy.binary);
        let overrides = Overrides { blink: Override::Blend, look: Override::None, mouth: Override::Block };
        assert_eq!(happy.overrides, overrides);
        assert_eq!(vrm.expressions[2].binds, [MorphBind { on: 3, target: 2, weight: 1.0 }]);
    }

    #[test]
    fn unreadable_part_is_left_out_and_named() {
        let vrm = read(&json!({"VRMC_vrm": {
            "humanoid": {"humanBones": {"head": {"node": "five"}, "neck": {"node": 4}}},
            "lookAt": {"rangeMapVerticalUp": {"outputScale": "wide"}},
            "expressions": {"preset": {
                "aa": {"morphTargetBinds": [{"node": 3, "index": 0}, {"node": 3, "index": 1.5}]},
                "ih": {"overrideBlink": "sometimes"},
                "ou": {"morphTargetBinds": [{"node": 3, "index": 2}]},
            }, "custom": []},
        }}));
        assert_eq!(vrm.bones.neck, Some(4));
        assert_eq!(vrm.expressions.len(), 1);
        let wanted = [
            "humanoid.humanBones.head.node`: must be an index",
            "expressions.preset.aa.morphTargetBinds[1].index`: must be an index, and is 1.5",
            "expressions.preset.ih.overrideBlink`: must be none",
            "expressions.custom`: must be an object",
            "lookAt.rangeMapVerticalUp.outputScale`: must be a number",
        ];
        assert_eq!(vrm.problems.len(), wanted.len(), "{:#?}", vrm.problems);
        for words in wanted {
            let words = format!("field `extensions.VRMC_vrm.{words}");
            assert!(vrm.problems.iter().any(|problem| problem.starts_with(&words)), "{words}: {:#?}", vrm.problems);
        }
        let file = br#"{"extensions": {"VRM": 7}}"#;
        let error = Vrm::read(file).unwrap_err();
        assert_eq!(error.to_string(), "field `extensions.VRM`: must be an object");
        assert_eq!(Vrm::read(b"{}"), Ok(None));
    }

    #[test]
    fn expression_levels_settle() {
        let of = |name: &str, kind, binary, overrides| Expression {
            name: name.to_owned(),
            kind,
            binary,
            overrides,
            binds: Vec::new(),
        };
        let weakens = Overrides { blink: Override::Block, mouth: Override::Blend, look: Override::None };
        let expressions = [
            of("happy", ExpressionKind::Other, false, weakens),
            of("aa", ExpressionKind::Mouth, false, Overrides::default()),
            of("blink", ExpressionKind::Blink, true, Overrides::default()),
            of("lookUp", ExpressionKind::Look, false, Overrides::default()),
        ];
        let mut levels = [0.25, 0.8, 0.7, 1.5];
        Expression::settle(&expressions, &mut levels);
        assert_eq!(levels, [0.25, 0.8 * 0.75, 0.0, 1.0]);
        let mut levels = [0.0, 0.8, 0.4, f32::NAN];
        Expression::settle(&expressions, &mut levels);
        assert_eq!(levels, [0.0, 0.8, 0.0, 0.0]);
    }
}
