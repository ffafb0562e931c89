//! Aria, an avatar inside the library (feature `aria`): a game shows a face before it has a model of its own.

use std::path::{Path, PathBuf};

use bevy::{asset::io::embedded::EmbeddedAssetRegistry, prelude::*};

/// Asset path of Aria's scene, for `WorldAssetRoot(assets.load(ARIA))`.
///
/// A bust with all 52 ARKit shapes, head, neck and eye joints; metres, +Y up, facing +Z, eyes 0.256 m above the origin.
/// The file adds 7.4 MB to the program.
pub const ARIA: &str = "embedded://bevy_facelink/avatars/aria.glb#Scene0";

/// Path of the file among the embedded assets.
const PATH: &str = "bevy_facelink/avatars/aria.glb";
pub(crate) static FILE: &[u8] = include_bytes!("../assets/avatars/aria.glb");

/// Registers the file; `FaceLinkPlugin` adds it.
pub(crate) struct AriaPlugin;

impl Plugin for AriaPlugin {
    fn build(&self, _app: &mut App) {}

    // Not in `build`: `AssetPlugin` may be added after this plugin.
    fn finish(&self, app: &mut App) {
        if let Some(registry) = app.world().get_resource::<EmbeddedAssetRegistry>() {
            registry.insert_asset(PathBuf::new(), Path::new(PATH), FILE);
        }
    }
}
