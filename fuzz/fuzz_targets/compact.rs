#![no_main]

use facelink_fuzz::targets::{CompactBundles, run};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| run::<CompactBundles>(data));
