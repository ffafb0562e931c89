//! Makes Aria, FaceLink's own avatar, and writes her as binary glTF.

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
mod sculpt;
mod targets;
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
