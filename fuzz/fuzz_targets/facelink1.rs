#![no_main]

use facelink_fuzz::targets::{Facelink1, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| run::<Facelink1>(data));
