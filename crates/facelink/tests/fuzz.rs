//! Hostile input for every decoder: none may panic, abort or allocate beyond a small bound, and what is refused must leave a
//! decoder as it was.
//!
//! The inputs are nearly valid ones, made by `targets/`, which the targets of libFuzzer in `fuzz/` share. They are seeded, so
//! that a failure comes again. `FACELINK_FUZZ_INPUTS` sets the number of inputs for each decoder and `FACELINK_FUZZ_SEED` the
//! seed:
//!
//! ```text
//! FACELINK_FUZZ_INPUTS=10000000 cargo test --release -p facelink --test fuzz -- --nocapture
//! ```

#![expect(clippy::panic, reason = "a test fails by panicking")]

mod targets;

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::{Duration, Instant},
};

use targets::{Source, Target};

/// A decoder's state is thrown away after this many inputs, so that some of them meet it fresh.
const FRESH: u64 = 4096;
/// Half of what a thread of a server or a test has: whatever recurses must do so within that.
const STACK: usize = 1 << 20;

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Runs a decoder over its inputs; `times` is what it may allocate for each byte of one.
fn fuzz<T: Target>(times: u64) {
    let thread =
        std::thread::Builder::new().name(T::NAME.to_owned()).stack_size(STACK).spawn(move || inputs::<T>(times));
    let thread = thread.unwrap_or_else(|error| panic!("no thread: {error}"));
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

fn inputs<T: Target>(times: u64) {
    let name = T::NAME;
    let inputs = setting("FACELINK_FUZZ_INPUTS", 20_000) / T::ONE_OF;
    let seed = setting("FACELINK_FUZZ_SEED", 1);
    let mut source = Source::random(seed);
    let mut target = T::fresh();
    let mut input = Vec::new();
    let (mut good, mut largest, mut slowest) = (0, 0, Duration::ZERO);
    let start = Instant::now();
    for number in 0..inputs {
        if number % FRESH == 0 {
            target = T::fresh();
        }
        targets::generate(&mut target, &mut source, &mut input);
        let begun = Instant::now();
        let mut taken = Ok(false);
        let counted = allocation_counter::measure(|| {
            taken = catch_unwind(AssertUnwindSafe(|| target.decode(&input)));
        });
        slowest = slowest.max(begun.elapsed());
        if matches!(taken, Ok(false)) {
            taken = catch_unwind(AssertUnwindSafe(|| target.check_state())).map(|()| false);
        }
        let Ok(taken) = taken else {
            panic!("{name}: input {number} of seed {seed}: {}", input.escape_ascii());
        };
        good += u64::from(taken);
        largest = largest.max(counted.bytes_max);
        let bound = T::KEPT + times * input.len() as u64;
        assert!(
            counted.bytes_max <= bound,
            "{name}: input {number} of seed {seed} took {} bytes: {}",
            counted.bytes_max,
            input.escape_ascii()
        );
    }
    println!(
        "{name:16} {inputs:>10} inputs in {:>8.1?}, {good:>9} accepted, at most {largest:>7} bytes at a time, slowest {slowest:.1?}",
        start.elapsed()
    );
    assert!(good > inputs / 50 && good < inputs, "the inputs are nearly valid: {good} of {inputs} were accepted");
}

#[test]
fn fuzz_osc() {
    fuzz::<targets::Osc>(4);
}

#[test]
fn fuzz_json() {
    fuzz::<targets::Json>(12);
}

#[test]
fn fuzz_live_link_face() {
    fuzz::<targets::LiveLinkFace>(4);
}

#[test]
fn fuzz_mocap_text() {
    fuzz::<targets::MocapText>(4);
}

#[test]
fn fuzz_vtube_studio() {
    fuzz::<targets::VTubeStudio>(4);
}

#[test]
fn fuzz_fmv3() {
    fuzz::<targets::Fmv3>(16);
}

#[test]
fn fuzz_facelink1() {
    fuzz::<targets::Facelink1>(4);
}

#[cfg(feature = "seal")]
#[test]
fn fuzz_sealed() {
    fuzz::<targets::Sealed>(16);
}

#[test]
fn fuzz_delta() {
    fuzz::<targets::Deltas>(4);
}

#[test]
fn fuzz_compact_bundles() {
    fuzz::<targets::CompactBundles>(4);
}

#[test]
fn fuzz_float32() {
    fuzz::<targets::Float32>(16);
}

#[test]
fn fuzz_imports() {
    fuzz::<targets::Imports>(4096);
}

#[test]
fn fuzz_take() {
    fuzz::<targets::Takes>(32);
}

#[test]
fn fuzz_take_file() {
    fuzz::<targets::TakeFiles>(64);
}

#[test]
fn fuzz_model() {
    fuzz::<targets::Models>(64);
}

#[test]
fn fuzz_mapping() {
    fuzz::<targets::Mappings>(32);
}

#[test]
fn fuzz_sniff() {
    fuzz::<targets::Sniff>(1);
}
