//! The clock's type: the standard library's `Instant`, and in a browser one with the same methods that has a clock behind
//! it, where the other panics. Nothing in this crate reads it.

#[cfg(not(target_arch = "wasm32"))]
pub use std::time::Instant;

#[cfg(target_arch = "wasm32")]
pub use web_time::Instant;
