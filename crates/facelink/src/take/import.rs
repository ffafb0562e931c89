//! Faces that other tools recorded or made, recognised by their content.
//!
//! | content | is read as |
//! |---|---|
//! | binary glTF, or JSON with `asset` | an animation of morph targets, of VRM expressions (`VRMC_vrm_animation`), of head and eyes: [`gltf_animation`] |
//! | JSON with `weightMat` | blend shapes of NVIDIA's Audio2Face: [`a2f`] |
//! | JSON lines with `time` | a take of [`jsonl`] |
//! | anything else | CSV of Live Link Face or of a tool that imitates it: [`llf_csv`] |

use super::{
    a2f::{self, A2fError},
    frames::Take,
    gltf_animation::{self, GltfAnimationError},
    jsonl::{self, JsonLinesError},
    llf_csv::{self, LlfCsvError},
};

/// How a file begins that is recognised.
const LOOKED_AT: usize = 4096;

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// glTF or VRM animation.
    Gltf,
    /// JSON of Audio2Face.
    Audio2Face,
    /// JSON lines.
    JsonLines,
    /// CSV.
    Csv,
}

/// Why a file is no take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// As a glTF file.
    #[error("as glTF: {0}")]
    Gltf(#[from] GltfAnimationError),
    /// As JSON of Audio2Face.
    #[error("as Audio2Face JSON: {0}")]
    Audio2Face(#[from] A2fError),
    /// As JSON lines.
    #[error("as JSON lines: {0}")]
    JsonLines(#[from] JsonLinesError),
    /// As CSV.
    #[error("as CSV: {0}")]
    Csv(#[from] LlfCsvError),
}

/// What a file is.
pub fn kind(bytes: &[u8]) -> Kind {
    if bytes.starts_with(b"glTF") {
        return Kind::Gltf;
    }
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
    if !text.starts_with(b"{") {
        return Kind::Csv;
    }
    let start = &text[..text.len().min(LOOKED_AT)];
    let has = |all: &[u8], word: &[u8]| all.windows(word.len()).any(|part| part == word);
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or(start);
    if has(line, b"\"time\"") && has(line, b"}") && !has(line, b"\"weightMat\"") {
        Kind::JsonLines
    } else if has(text, b"\"weightMat\"") {
        Kind::Audio2Face
    } else {
        Kind::Gltf
    }
}

/// Reads a take.
///
/// # Errors
/// [`ImportError`] names what the file was read as, and the field, or line and column.
pub fn read(bytes: &[u8]) -> Result<Take, ImportError> {
    Ok(match kind(bytes) {
        Kind::Gltf => gltf_animation::decode(bytes)?,
        Kind::Audio2Face => a2f::decode(bytes)?,
        Kind::JsonLines => jsonl::decode(bytes)?,
        Kind::Csv => llf_csv::decode(bytes)?,
    })
}
