//! FaceLink's measurements; see `benches/`:
//!
//! - `cargo bench -p facelink --bench decode`: bytes to frame, by format
//! - `cargo bench -p facelink-bench --bench drive`: frame to morph weights, by number of avatars
//! - `cargo bench -p facelink-bench --bench age`: age of a frame from the sender's `send` to the written weights
