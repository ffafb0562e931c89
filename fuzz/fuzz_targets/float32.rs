#![no_main]

use facelink_fuzz::targets::{Float32, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| run::<Float32>(data));
