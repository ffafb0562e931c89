//! Real takes of Live Link Face, where they are at hand.

#![allow(clippy::unwrap_used)]

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use facelink::{
    Blendshape, FaceFrame,
    take::{Take, llf_csv},
};

/// A recording that is not part of the repository, where `FACELINK_CAPTURES` names the folder that holds it.
fn recording(name: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("FACELINK_CAPTURES") else {
        eprintln!("skipped: FACELINK_CAPTURES names no folder of recordings");
        return None;
    };
    Some(Path::new(&folder).join(name))
}

/// Pearson's correlation of two values over the frames of a take.
fn correlation(frames: &[FaceFrame], a: impl Fn(&FaceFrame) -> f32, b: impl Fn(&FaceFrame) -> f32) -> f32 {
    let mean = |value: &dyn Fn(&FaceFrame) -> f32| frames.iter().map(value).sum::<f32>() / frames.len() as f32;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for frame in frames {
        let (a, b) = (a(frame) - mean_a, b(frame) - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}

fn less(a: Blendshape, b: Blendshape) -> impl Fn(&FaceFrame) -> f32 {
    move |frame| frame.weights[a.index()] - frame.weights[b.index()]
}

/// The file, byte for byte.
fn assert_written_again(take: &Take, file: &Path) {
    let mut written = Vec::new();
    llf_csv::encode(take, llf_csv::CountName::AsRead, &mut written).unwrap();
    let bytes = std::fs::read(file).unwrap();
    let line = written.split(|byte| *byte == b'\n').zip(bytes.split(|byte| *byte == b'\n')).position(|(a, b)| a != b);
    assert!(written == bytes, "other from line {:?} on", line.map(|line| line + 1));
}

/// Gaze against the shapes.
fn assert_signs(frames: &[FaceFrame]) {
    use Blendshape::*;
    let yaw = correlation(frames, |f| f.gaze.map_or(0.0, |g| g.left.yaw), less(EyeLookOutLeft, EyeLookInLeft));
    assert!(yaw > 0.95, "yaw is positive to the performer's left: {yaw}");
    let pitch = correlation(frames, |f| f.gaze.map_or(0.0, |g| g.left.pitch), less(EyeLookUpLeft, EyeLookDownLeft));
    assert!(pitch > 0.95, "pitch is positive up: {pitch}");
}

#[test]
fn take_recorded_at_60_fps_is_read() {
    let Some(file) = recording("live-link-face-60fps.csv") else { return };
    let take = llf_csv::read(&file).unwrap();
    assert_eq!(take.frames().len(), 328);
    assert_written_again(&take, &file);
    assert!((take.fps() - 60.0 / 1.001).abs() < 0.1, "{}", take.fps());
    // From 00:32:09:07.867 to 00:32:14:35.066.
    let length = take.frames().last().unwrap().time.as_secs_f64();
    assert!((length - (5.0 + 27.199 / 60.0)).abs() < 1e-4, "{length}");
    let frames: Vec<_> = take.frames().iter().map(|frame| frame.frame.clone()).collect();
    assert!(frames.iter().all(|frame| frame.is_complete() && frame.tracked && frame.channels.is_empty()));
    let first = &frames[0];
    assert_eq!(first.get(Blendshape::EyeBlinkLeft), Some(0.049_109_16));
    assert_eq!(first.get(Blendshape::JawRight), Some(0.0));
    assert_eq!(first.get(Blendshape::JawLeft), Some(0.054_999_907));
    assert_eq!(first.get(Blendshape::MouthLeft), Some(0.100_343_1));
    assert!(frames.iter().all(|frame| frame.gaze.is_some()), "eyes are always recorded");
    assert_signs(&frames);
    // Halfway between two frames, as a slower or faster player asks.
    let (a, b) = (&take.frames()[10], &take.frames()[11]);
    let half = take.frame_at((a.time + b.time) / 2);
    let jaw = Blendshape::JawOpen.index();
    let wanted = (a.frame.weights[jaw] + b.frame.weights[jaw]) / 2.0;
    assert!((half.weights[jaw] - wanted).abs() < 1e-4);
}

#[test]
fn take_range_of_motion_at_30_fps_is_read() {
    let Some(file) = recording("live-link-face-rom.csv") else { return };
    let take = llf_csv::read(&file).unwrap();
    assert_eq!(take.frames().len(), 4030);
    assert_written_again(&take, &file);
    assert!((take.fps() - 30.0).abs() < 0.1, "{}", take.fps());
    // From 13:13:04:31.652 to 13:15:18:54.561, frames counted at 60.
    let length = take.frames().last().unwrap().time;
    assert!((length.as_secs_f64() - (134.0 + 22.909 / 60.0)).abs() < 1e-4, "{length:?}");
    assert!(take.frames().windows(2).all(|pair| pair[1].time > pair[0].time));
    let frames: Vec<_> = take.frames().iter().map(|frame| frame.frame.clone()).collect();
    assert!(frames.iter().all(|frame| frame.head.is_none()), "recorded with head rotation off");
    assert_signs(&frames);
    use Blendshape::{EyeBlinkLeft, JawLeft, JawOpen, JawRight, MouthLeft, MouthRight, TongueOut};
    let mouth = correlation(&frames, less(MouthLeft, MouthRight), less(JawLeft, JawRight));
    assert!(mouth > 0.4, "the mouth goes with the jaw, unlike on the wire: {mouth}");
    for shape in [JawOpen, TongueOut, EyeBlinkLeft] {
        let most = frames.iter().map(|frame| frame.weights[shape.index()]).fold(0.0, f32::max);
        assert!(most > 0.5, "{shape} moves: {most}");
    }
    let again = take.frame_at(take.looped(take.duration() + Duration::from_secs(7)));
    assert_eq!(again.weights, take.frame_at(Duration::from_secs(7)).weights);
}
