//! The generators and checks that the seeded tests of `facelink` use, for libFuzzer.

#[path = "../../crates/facelink/tests/targets/mod.rs"]
pub mod targets;
