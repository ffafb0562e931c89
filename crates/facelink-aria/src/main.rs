//! Makes Aria, FaceLink's own avatar, from code and writes her as binary glTF: `facelink-aria [path.glb]`, by default
//! `assets/avatars/aria.glb` in the workspace. Every run writes the same bytes.
//!
//! A signed distance field gives the form of the head ([`sculpt`]); a hand-laid control cage with loops around eyes and
//! mouth lies on it ([`cage`]); the 52 ARKit shapes are moves of cage points ([`targets`]); one Catmull-Clark step
//! ([`mesh`]) smooths rest pose and shapes alike ([`face`]). Eyes, hair, brows, lashes, mouth and clothes are made
//! apart and hung on joints ([`aria`]). Modelling is in millimetres with the eye line at y = 0; [`proportion`] shortens
//! the lower face at the end, and [`gltf`] writes metres.
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
mod sculpt;
mod targets;
#[cfg(test)]
mod tests;
mod trims;
mod vec3;

use std::error::Error;
use std::path::PathBuf;

/// Where the file goes without an argument: the workspace's assets.
const DEFAULT_PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/avatars/aria.glb");

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from);
    let model = aria::model();
    let bytes = aria::glb(&model)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&path, &bytes)?;
    println!("{}: {} bytes", path.display(), bytes.len());
    for (mesh, _) in &model.meshes {
        println!(
            "  {:16} {:6} vertices {:6} triangles {:3} targets",
            mesh.name,
            mesh.positions.len(),
            mesh.indices.len() / 3,
            mesh.targets.len()
        );
    }
    Ok(())
}
