//! Makes the tables of `wire/facelink1/delta/tables.rs` from recordings and the synthetic performer:
//! `cargo run --release -p facelink --example train_delta > crates/facelink/src/wire/facelink1/delta/tables.rs`

use std::{path::PathBuf, time::Duration};

use facelink::{FaceFrame, performer::Performance, take, wire::facelink1::delta::Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::var_os("FACELINK_CAPTURES")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/captures")), PathBuf::from);
    let mut trainer = Trainer::default();
    for file in ["live-link-face-60fps.csv", "live-link-face-rom.csv"] {
        let take = take::llf_csv::read(&folder.join(file))?;
        let frames: Vec<FaceFrame> = take.frames().iter().map(|frame| frame.frame.clone()).collect();
        trainer.learn(&frames);
    }
    let performance = Performance::new(5);
    let frames: Vec<FaceFrame> = (0..3600).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect();
    trainer.learn(&frames);
    print!("{}", trainer.source());
    Ok(())
}
