//! Sets `cfg(bevy_0_20)` by the version of Bevy that the manifest asks for: one source serves two of them
//! (CONTRIBUTING.md, "Two Bevies"). Sets `cfg(sockets)` where the network can listen: with the feature `net`, outside browsers.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rustc-check-cfg=cfg(bevy_0_20)");
    println!("cargo::rustc-check-cfg=cfg(sockets)");
    println!("cargo::rerun-if-changed=Cargo.toml");
    if env::var_os("CARGO_FEATURE_NET").is_some() && env::var("CARGO_CFG_TARGET_ARCH")? != "wasm32" {
        println!("cargo::rustc-cfg=sockets");
    }
    let manifest = fs::read_to_string(Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("Cargo.toml"))?;
    match bevy(&manifest).ok_or("no version of Bevy in Cargo.toml")? {
        "0.19" => {}
        "0.20" => println!("cargo::rustc-cfg=bevy_0_20"),
        other => return Err(format!("bevy_facelink does not know Bevy {other}").into()),
    }
    Ok(())
}

/// Major and minor version, as the workspace states it or the manifest that Cargo writes into a package.
fn bevy(manifest: &str) -> Option<&str> {
    let from = ["\nbevy = { version = \"", "\n[dependencies.bevy]\nversion = \""]
        .iter()
        .find_map(|before| manifest.split_once(before))?;
    let version = from.1.split('"').next()?;
    version.match_indices('.').nth(1).map_or(Some(version), |(end, _)| version.get(..end))
}
