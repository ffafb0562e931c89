//! The plugin in real Apps. One binary, because linking Bevy takes long; one module a feature.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod animation;
mod browser;
mod ecs;
mod endpoint;
mod exit;
mod game;
mod gltf;
mod layers;
mod live;
mod lod;
mod mapping;
mod models;
mod outward;
mod phones;
mod quality;
#[cfg(feature = "remote")]
mod remote;
mod rigs;
mod session;
mod support;
mod takes;
mod timing;
mod vrm;
