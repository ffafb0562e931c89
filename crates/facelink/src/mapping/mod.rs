//! From the channels of a face to the morph targets and bones of a rig, whatever names it has.
//!
//! A [`Mapping`] is data, read from RON or JSON: rules that lead channels to targets, and what bones do. A preset for each
//! naming dialect is such a file too; [`detect`] finds the one that shows most of a rig. A mapping is put to use in three
//! steps: [`Mapping::resolve`] takes in what it includes, [`Resolved::compile`] binds it to the target names of one rig
//! and says what matched, and [`Compiled::evaluate`] gives the weights of a frame, without allocation.
//!
//! ```
//! use facelink::{Blendshape, mapping::{Face, Mapping, Scratch}};
//!
//! let mapping: Mapping = r#"(
//!     name: "A robot",
//!     rules: [
//!         (from: "eyeBlink{Left}", to: "shutter_{L}"),
//!         (from: ["jawOpen", "mouthClose"], combine: Multiply, gain: 0.5, to: "lips_sealed"),
//!     ],
//! )"#.parse()?;
//! let rig = [vec!["shutter_L", "shutter_R"]];
//! let (compiled, report) = mapping.resolve(|name| Err(name.into()))?.compile(&rig);
//! assert_eq!(report.shown.len(), 2);
//!
//! let mut weights = [0.0; 52];
//! weights[Blendshape::EyeBlinkLeft.index()] = 1.0;
//! let mut scratch = Scratch::default();
//! compiled.evaluate(&Face { weights: &weights, ..Face::default() }, &mut scratch);
//! assert_eq!(compiled.mesh(0, &scratch).collect::<Vec<_>>(), [(0, 1.0), (1, 0.0)]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bones;
mod compile;
mod curve;
mod detect;
pub(crate) mod inputs;
mod key;
mod presets;
pub(crate) mod read;
mod resolve;
pub(crate) mod rule;
mod skeleton;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use bones::{BoneMap, EyeBones, EyeDrive, Facing, GazeRange, HeadBone, JawBone, NeckBone, RangeMap};
pub use compile::{Compiled, MatchReport, Scratch};
pub use curve::Curve;
pub use detect::{Detection, Preset, detect, detect_either};
pub use inputs::Face;
pub use presets::{PRESETS, built_in};
pub use read::{Format, MappingError};
pub use resolve::{ResolveError, Resolved};
pub use rule::{Combine, Input, Output, Rule, Tuning};
pub use skeleton::{BoneKind, RigNode, SkeletonNodes, bone_kind, find_bones};

/// Which channels of a face move which morph targets and bones of a rig.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename = "FaceMapping")]
pub struct Mapping {
    /// What people call it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The origin of the names, and the shapes that cannot be shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Mappings to start from, by preset id or by path; `"auto"` is the preset that was found for the rig. A rule of this
    /// file that writes a target takes the place of what they do to that target. A mapping with neither rules nor
    /// includes starts from `"auto"`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Exchanges left and right, as in a looking-glass.
    #[serde(skip_serializing_if = "is_false")]
    pub mirror: bool,
    /// Changes to a channel before any rule reads it, by its name. The place to tune one shape.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Tuning>,
    /// Channels to targets.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Targets that are known and left alone: emotions and vowels next to the shapes that make them up. `*` stands for
    /// anything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aside: Vec<String>,
    /// Least and most that a target gets in the end.
    #[serde(deserialize_with = "read::limits", skip_serializing_if = "Option::is_none")]
    pub limits: Option<(f32, f32)>,
    /// Head, neck, eyes and jaw, where they are bones.
    #[serde(skip_serializing_if = "BoneMap::is_default")]
    pub bones: BoneMap,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl Mapping {
    /// A mapping that starts from these others.
    pub fn including<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self { include: ids.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Whether it is based on the preset found for the rig.
    pub fn wants_auto(&self) -> bool {
        (self.rules.is_empty() && self.include.is_empty()) || self.include.iter().any(|id| id == AUTO)
    }
}

/// The include that stands for the preset found for the rig.
pub const AUTO: &str = "auto";
