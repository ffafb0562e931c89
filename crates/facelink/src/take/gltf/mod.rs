//! Takes as glTF 2.0 animations.
//!
//! [`glb`] writes a binary glTF file: a model with an animation of its morph targets (`weights`), head and eyes. Everything
//! that the model has stays in it; animation, accessors and data are added behind.
//!
//! Which targets show what is found as for any avatar: by the names of the targets and the preset that shows most of the
//! 52 shapes, or by the expressions that a VRM file declares. Channels of the take move targets of their own name. The
//! head takes the whole turn, and the eyes theirs, where the model has such bones ([`find_bones`](crate::mapping::find_bones)). Keys are linear; times
//! are seconds since the start of the take.
//!
//! Without a model, the file holds a plain head of our own ([`proxy()`]) with the 52 targets under ARKit's names: enough to
//! see the performance, and to copy its keys to another face.
//!
//! Sources: the glTF 2.0 specification, sections 3.6 (accessors), 3.11 (animations) and 4 (binary files);
//! `mesh.extras.targetNames` is the convention of Blender's and three.js' exporters.

mod buffer;
mod proxy;
mod rig;
mod types;

use std::io::{self, Write};

use serde_json::Value;

use super::frames::Take;
use crate::model::glb;

pub(super) use buffer::Animation;
pub use proxy::head as proxy;
pub(super) use rig::{Nodes, names_of_targets};
pub(super) use types::asset;
pub use types::{ExportError, GltfReport, GltfSettings};

/// Writes a take as an animation of `model`, the bytes of a glTF file (`.glb`, `.vrm`, or `.gltf` with its data inside), or of
/// the [`proxy()`].
///
/// # Errors
/// [`ExportError`] when the model cannot be read, when nothing of it moves, or when `out` fails.
pub fn glb(
    take: &Take,
    model: Option<&[u8]>,
    settings: &GltfSettings<'_>,
    out: &mut impl Write,
) -> Result<GltfReport, ExportError> {
    let own;
    let model = match model {
        Some(model) => model,
        None => {
            own = proxy();
            &own
        }
    };
    let parts = glb::split(model)?;
    let mut document = glb::document(&parts)?;
    let binary = parts.binary()?;
    let mut animation = Animation::behind(&document, binary.map_or(0, <[u8]>::len), binary.is_some())?;
    let report = rig::animate(take, &mut document, &mut animation, settings)?;
    if report.meshes.is_empty() && report.bones.is_empty() {
        return Err(ExportError::NothingToMove);
    }
    let data = animation.write_into(&mut document, settings.name)?;
    write(&document, binary, data, out)?;
    Ok(report)
}

/// Writes a document with the data that it had and what comes behind it.
pub(super) fn write(
    document: &Value,
    binary: Option<&[u8]>,
    data: Option<Vec<u8>>,
    out: &mut impl Write,
) -> Result<(), ExportError> {
    let json = serde_json::to_vec(document).map_err(io::Error::from)?;
    let chunk = data.map(|mut data| {
        let mut bytes = binary.unwrap_or_default().to_vec();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.append(&mut data);
        glb::binary_chunk(bytes)
    });
    if json.len() + chunk.as_ref().map_or(0, Vec::len) > u32::MAX as usize - 64 {
        return Err(ExportError::TooLarge);
    }
    out.write_all(&glb::join(json, Some(chunk.as_deref().unwrap_or_default())))?;
    Ok(())
}
