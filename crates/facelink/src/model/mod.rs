//! What a model's glTF file declares about its face, and what has to be changed in a file before a strict loader takes it.
//!
//! Bytes and JSON in, data out: no file is opened here. [`Vrm`] is what a VRM avatar declares: expressions, humanoid bones,
//! ranges of the eyes and the direction it faces. [`mend`] rewrites what glTF allows and the `gltf` crate refuses.
//! [`target_names`] collects the names of morph targets from all places where exporters put them. [`FaceRig`] is how a face moves
//! a model, for viewers with another engine.

pub(crate) mod glb;
mod lod;
mod mend;
mod names;
mod rig;
mod vrm;

pub use lod::{EXTENSION as LOD_EXTENSION, MAX_LOWER_LEVELS, default_coverage, screen_coverage};
pub use mend::{Mended, advice, mend};
pub use names::{names_in_extras, target_names};
pub use rig::{FaceRig, MAX_NODES, MAX_TARGETS, RigMesh};
pub use vrm::{Expression, ExpressionKind, LookAt, MorphBind, Override, Overrides, Vrm, VrmBones, VrmVersion};

/// A model's file, or a part of it, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// Neither JSON nor a binary glTF file.
    #[error("this is neither a glTF JSON file nor a binary glTF file")]
    NotGltf,
    /// A binary file of another version of glTF.
    #[error("glTF version {0} is not supported, only 2")]
    Version(u32),
    /// A binary file ends before its content.
    #[error("the file is cut off: {part} should have {wanted} bytes and has {there}")]
    CutOff {
        /// Which part.
        part: &'static str,
        /// Bytes that its header states.
        wanted: usize,
        /// Bytes that there are.
        there: usize,
    },
    /// The JSON part is not JSON.
    #[error("its JSON cannot be read: {0}")]
    Json(String),
    /// A field has another type or value than the format defines.
    #[error("field `{field}`: {message}")]
    Field {
        /// Such as `extensions.VRM.humanoid.humanBones[3].node`.
        field: String,
        /// The reason.
        message: String,
    },
}
