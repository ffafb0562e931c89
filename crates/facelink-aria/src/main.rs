//! Makes FaceLink's own avatars from code and writes them as binary glTF. Every run writes the same bytes.
//!
//! - `facelink-aria [path.glb]` writes Aria, by default to `assets/avatars/aria.glb` in the workspace.
//! - `facelink-aria --rivet [path.glb]` writes Rivet, a robot ([`rivet`]), by default to `assets/avatars/rivet.glb`. Its
//!   shapes carry the names of VRChat's Unified Expressions. With `--arkit-names` they are summed to the 52 of ARKit, for
//!   viewers that know no others.
//!
//! Aria: a signed distance field gives the form of the head ([`sculpt`]); a hand-laid control cage with loops around
//! eyes and mouth lies on it ([`cage`]); the 52 ARKit shapes are moves of cage points ([`targets`]); one Catmull-Clark
//! step ([`mesh`]) smooths rest pose and shapes alike ([`face`]). Eyes, hair, brows, lashes, mouth and clothes are
//! made apart and hung on joints ([`aria`]). Modelling is in millimetres with the eye line at y = 0; [`proportion`]
//! shortens the lower face at the end, and [`gltf`] writes metres.
//!
//! In the file: metres, +Y up, facing +Z, the character's left is +X. The origin is on the floor of the bust under the
//! middle of the head; the eyes' centres, and the joints `EyeLeft` and `EyeRight`, are at (+-0.034, 0.256, 0.0545), the
//! crown at about 0.39. Joints: `Aria` > `Chest` > `Neck` > `Head` > `EyeLeft`, `EyeRight`, all with identity rotation.
//! `Face` is skinned to Chest, Neck and Head; everything else hangs rigidly below its joint. `eyeLook*` move the lids
//! only: the balls turn with their joints. `Nostrils` also holds the eyes' inner corners and the freckles, which ride
//! on the skin like it. `mouthClose` is made for an open jaw: alone it pushes the lips past each other.

mod aria;
mod cage;
mod clothes;
mod detail;
mod eyes;
mod face;
mod gltf;
mod hair;
mod mesh;
mod mouth;
mod names;
mod palette;
mod part;
mod proportion;
mod rivet;
mod sculpt;
mod targets;
#[cfg(test)]
mod tests;
mod trims;
mod vec3;

use std::error::Error;
use std::path::PathBuf;

use gltf::Mesh;

/// Where Aria's file goes without an argument: the workspace's assets.
const ARIA_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/avatars/aria.glb");
/// Where Rivet's file goes without a path.
const RIVET_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/avatars/rivet.glb");

fn main() -> Result<(), Box<dyn Error>> {
    let (mut rivet, mut arkit, mut path) = (false, false, None);
    for arg in std::env::args_os().skip(1) {
        match arg.to_str() {
            Some("--rivet") => rivet = true,
            Some("--arkit-names") => arkit = true,
            Some(flag) if flag.starts_with('-') => return Err(format!("unknown option {flag}").into()),
            _ => path = Some(PathBuf::from(arg)),
        }
    }
    if rivet {
        let dialect = if arkit { rivet::Dialect::ArKit } else { rivet::Dialect::Unified };
        let model = rivet::model(dialect);
        write(path.unwrap_or_else(|| PathBuf::from(RIVET_PATH)), &rivet::glb(&model)?, model.meshes())
    } else {
        let model = aria::model();
        let bytes = aria::glb(&model)?;
        write(path.unwrap_or_else(|| PathBuf::from(ARIA_PATH)), &bytes, model.meshes.iter().map(|(mesh, _)| mesh))
    }
}

/// Writes a file and says what is in it.
fn write<'a>(path: PathBuf, bytes: &[u8], meshes: impl Iterator<Item = &'a Mesh>) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, bytes)?;
    println!("{}: {} bytes", path.display(), bytes.len());
    let mut vertices = 0;
    for mesh in meshes {
        vertices += mesh.positions.len();
        println!(
            "  {:16} {:6} vertices {:6} triangles {:3} targets",
            mesh.name,
            mesh.positions.len(),
            mesh.indices.len() / 3,
            mesh.targets.len()
        );
    }
    println!("  {vertices} vertices in all");
    Ok(())
}
