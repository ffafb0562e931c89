//! Makes tables like those of `wire/facelink1/delta/tables.rs` from the synthetic performer, and from the Live Link Face
//! takes (`*.csv`) in the folder that `FACELINK_CAPTURES` names:
//! `cargo run --release -p facelink --example train_delta > tables.rs`
//!
//! Both ends of a connection need the same tables: other tables are another format, with a name of its own.

use std::time::Duration;

use facelink::{FaceFrame, performer::Performance, take, wire::facelink1::delta::Trainer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut trainer = Trainer::default();
    let mut files = Vec::new();
    if let Some(folder) = std::env::var_os("FACELINK_CAPTURES") {
        for entry in std::fs::read_dir(folder)? {
            files.push(entry?.path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "csv"));
    files.sort();
    for file in files {
        let take = take::llf_csv::read(&file)?;
        let frames: Vec<FaceFrame> = take.frames().iter().map(|frame| frame.frame.clone()).collect();
        trainer.learn(&frames);
    }
    let performance = Performance::new(5);
    let frames: Vec<FaceFrame> = (0..3600).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect();
    trainer.learn(&frames);
    print!("{}", trainer.source());
    Ok(())
}
