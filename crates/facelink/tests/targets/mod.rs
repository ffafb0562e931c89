//! Nearly valid inputs for every decoder, and the invariants of every output.
//!
//! One set of generators for two runners: the seeded tests of `tests/fuzz.rs` and the libFuzzer targets of `fuzz/`. A
//! generator draws from a [`Source`], which is a random number generator in the one and the fuzzer's bytes in the other.

mod compact;
mod files;
mod json;
mod models;
mod osc;
mod phones;
#[cfg(feature = "seal")]
mod sealed;
mod source;
mod takes;

use facelink::{Channel, EyeGaze, FaceFrame, Gaze, HeadPose, MAX_WEIGHT, MIN_WEIGHT};

#[cfg(feature = "seal")]
pub use self::sealed::Sealed;
pub use self::{
    compact::{CompactBundles, Deltas, Facelink1, Float32},
    files::{Imports, Mappings, Takes},
    json::Json,
    models::Models,
    osc::Osc,
    phones::{Fmv3, LiveLinkFace, MocapText, Sniff, VTubeStudio},
    source::Source,
    takes::TakeFiles,
};

/// One decoder and a generator of inputs for it.
pub trait Target {
    /// As test output and fuzz targets name it.
    const NAME: &'static str;

    /// What a decoder may keep, bytes, in addition to a multiple of its input.
    const KEPT: u64 = 512 * 1024;

    /// One of so many inputs is made, where making one is slow.
    const ONE_OF: u64 = 1;

    /// A decoder in its first state.
    fn fresh() -> Self;

    /// Makes the next input into `out`, which is empty.
    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>);

    /// Decodes an input, checks what came out, and returns whether it was accepted. Panics where something is wrong.
    fn decode(&mut self, input: &[u8]) -> bool;

    /// Called after a refused input: panics unless what is good is read as before it.
    fn check_state(&mut self) {}
}

/// Makes an input: what the target generates, changed in a few places in one of two, or plain bytes in one of 32.
pub fn generate<T: Target>(target: &mut T, source: &mut Source<'_>, out: &mut Vec<u8>) {
    out.clear();
    if source.one_in(32) {
        let len = source.below(600);
        out.extend((0..len).map(|_| source.byte()));
        return;
    }
    target.generate(source, out);
    if source.one_in(2) {
        mutate(source, out);
    }
    out.truncate(65_507);
}

/// One step with the fuzzer's bytes.
#[allow(dead_code, reason = "for the targets of libFuzzer")]
pub fn run<T: Target>(data: &[u8]) {
    let mut source = Source::bytes(data);
    let mut target = T::fresh();
    let mut input = Vec::new();
    // Several, for decoders that remember.
    for _ in 0..4 {
        generate(&mut target, &mut source, &mut input);
        if !target.decode(&input) {
            target.check_state();
        }
        if source.is_empty() {
            break;
        }
    }
}

const NUMBERS: [u32; 10] = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fc0_0000];
const WORDS: [&[u8]; 24] = [
    b"-",
    b"&",
    b"|",
    b"#",
    b"=",
    b",",
    b"nan",
    b"inf",
    b"1e999",
    b"-0",
    b"null",
    b"true",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\xff\xfe",
    b"\0\0\0\0",
    b"#bundle\0",
    b"/VMC/Ext/Blend/Val",
    b"FMV3",
    b"99999999999999999999",
];

/// Changes an input in up to four places.
fn mutate(source: &mut Source<'_>, input: &mut Vec<u8>) {
    for _ in 0..source.below(5) {
        let at = source.below(input.len());
        match source.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << source.below(8),
            1 if !input.is_empty() => input[at] = source.byte(),
            2 => input.truncate(at),
            3 => {
                let end = (at + source.below(16)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let word = source.pick(&WORDS);
                input.splice(at..at, word.iter().copied());
            }
            5 if input.len() >= at + 4 => {
                let number = source.pick(&NUMBERS);
                let bytes = if source.one_in(2) { number.to_be_bytes() } else { number.to_le_bytes() };
                input[at..at + 4].copy_from_slice(&bytes);
            }
            6 => {
                // A part again, at another offset.
                let end = (at + source.below(64)).min(input.len());
                let part = input[at..end].to_vec();
                let to = source.below(input.len());
                input.splice(to..to, part);
            }
            _ => {
                if let Some(digit) = input.iter_mut().skip(at).find(|byte| byte.is_ascii_digit()) {
                    *digit = b'0' + source.below(10) as u8;
                }
            }
        }
    }
}

/// Names of shapes in many spellings, of other channels, and such as are refused.
pub fn name(source: &mut Source<'_>) -> String {
    const BAD: [&str; 4] = ["", "\u{1}", "\"\\\u{85}", "a|b-c&d#e=f,g"];
    const NAMES: [&str; 21] = [
        "jaw_L",
        "mouth_R",
        "aa",
        "jawOpen",
        "JawOpen",
        "eyeBlink_L",
        "eyeBlinkLeft",
        "mouthSmile_R",
        "MouthSmileRight",
        "tongueOut",
        "browInnerUp",
        "cheekPuff",
        "tail",
        "Fcl_MTH_A",
        "A",
        "Blink_L",
        "hotkey_1",
        "FM_x",
        "Fröhlich",
        "a b",
        "trackingStatus",
    ];
    match source.below(48) {
        0 => "n".repeat(source.below(300)),
        1 => source.pick(&BAD).to_owned(),
        2..8 => format!("channel{}", source.below(600)),
        8..24 => facelink::Blendshape::ALL[source.below(facelink::BLENDSHAPE_COUNT)].name().to_owned(),
        _ => source.pick(&NAMES).to_owned(),
    }
}

/// A frame with anything that a frame may hold.
pub fn face(source: &mut Source<'_>) -> FaceFrame {
    let mut frame = FaceFrame::default();
    for shape in facelink::Blendshape::ALL {
        if !source.one_in(8) {
            frame.set(shape, source.weight());
        }
    }
    for _ in 0..if source.one_in(4) { source.below(12) } else { 0 } {
        let value = source.weight();
        let name: std::sync::Arc<str> = name(source).into();
        let known = frame.channels.iter().any(|channel| channel.name == name);
        if !known && facelink::wire::json::check_name(&name).is_ok() {
            frame.channels.push(Channel { name, value });
        }
    }
    if source.one_in(2) {
        let rotation = [source.weight(), source.weight(), source.weight(), 1.0_f32];
        let length = rotation.iter().map(|part| part * part).sum::<f32>().sqrt();
        let position = source.one_in(2).then(|| [source.weight(), source.weight(), source.weight()]);
        frame.head = Some(HeadPose { rotation: rotation.map(|part| part / length), position });
    }
    if source.one_in(2) {
        let mut eye = || EyeGaze { yaw: 0.5 * source.weight(), pitch: 0.5 * source.weight() };
        frame.gaze = Some(Gaze { left: eye(), right: eye() });
    }
    frame.tracked = !source.one_in(8);
    frame.sequence = (!source.one_in(4)).then(|| u64::from(source.number()));
    frame.capture_time = source.one_in(2).then(|| std::time::Duration::from_millis(source.number().into()));
    frame
}

/// What holds of every frame that a decoder lets in.
pub fn check_face(frame: &FaceFrame) {
    let within = |weight: f32| (MIN_WEIGHT..=MAX_WEIGHT).contains(&weight);
    assert!(frame.weights.iter().all(|weight| within(*weight)), "weights: {frame:?}");
    assert!(frame.present >> facelink::BLENDSHAPE_COUNT == 0, "present: {frame:?}");
    for channel in &frame.channels {
        assert!(within(channel.value), "a channel: {channel:?}");
        assert!(!channel.name.is_empty() && channel.name.len() <= 255, "a channel's name: {channel:?}");
        assert!(!channel.name.chars().any(char::is_control), "a channel's name: {channel:?}");
    }
    if let Some(head) = &frame.head {
        let length = head.rotation.iter().map(|part| part * part).sum::<f32>();
        assert!((length - 1.0).abs() < 1e-3, "head: {head:?}");
        assert!(head.position.is_none_or(|position| position.iter().all(|part| part.is_finite())), "head: {head:?}");
    }
    if let Some(gaze) = &frame.gaze {
        let angles = [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch];
        assert!(angles.iter().all(|angle| angle.is_finite()), "gaze: {gaze:?}");
    }
}
