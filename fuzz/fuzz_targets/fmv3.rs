#![no_main]

use facelink_fuzz::targets::{Fmv3, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| run::<Fmv3>(data));
