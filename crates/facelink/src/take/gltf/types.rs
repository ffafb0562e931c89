//! Settings, report and errors of the exports as glTF.

use std::io;

use serde_json::{Value, json};

use super::super::keys::MAX_KEY_ERROR;
use crate::model::ModelError;

/// Why a take cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The model cannot be read, or has a field that is not as glTF defines it.
    #[error("the model: {0}")]
    Model(#[from] ModelError),
    /// Nothing of the take moves anything of the model.
    #[error(
        "the model has nothing that the take moves: neither morph targets under known names nor a bone of head or eyes"
    )]
    NothingToMove,
    /// More than a binary glTF file can hold.
    #[error("larger than the 4 GiB that a binary glTF file can hold")]
    TooLarge,
    /// The output cannot be written.
    #[error("cannot write: {0}")]
    Write(#[from] io::Error),
}

/// How a take is written.
#[derive(Clone, Debug)]
pub struct GltfSettings<'a> {
    /// Name of the animation.
    pub name: &'a str,
    /// Keys are left out while no value is off by more than this.
    pub max_error: f32,
}

impl Default for GltfSettings<'_> {
    fn default() -> Self {
        Self { name: "FaceLink", max_error: MAX_KEY_ERROR }
    }
}

/// What of the model moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GltfReport {
    /// Id of the preset that knows the model's names, one of [`PRESETS`](crate::mapping::PRESETS).
    pub preset: Option<String>,
    /// Shapes that move a target.
    pub shapes: usize,
    /// Names of the nodes whose targets move.
    pub meshes: Vec<String>,
    /// Names of the bones that turn.
    pub bones: Vec<String>,
}

/// The `asset` of a file of our own.
pub(in super::super) fn asset() -> Value {
    json!({ "version": "2.0", "generator": concat!("FaceLink ", env!("CARGO_PKG_VERSION")) })
}
