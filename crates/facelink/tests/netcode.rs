//! A face in a game's own packets, in virtual time: bytes and error at the rates of netcode with loss, next to 52 floats.
//! `cargo test -p facelink --test netcode -- --nocapture` prints the table of `docs/netcode.md`.

#![expect(clippy::expect_used, reason = "helpers of tests")]

#[path = "../benches/trial/mod.rs"]
mod trial;

use std::time::{Duration, Instant};

use facelink::{
    BLENDSHAPE_COUNT, FaceFrame,
    netcode::{FaceDecoder, FaceEncoder},
    simulate::network::{Network, NetworkSettings},
    timing::{Decimator, Playout, PresentClock, SourceClock},
};
use trial::{Outcome, Signal, judge};

const SOURCE_US: i64 = 16_667;
const DISPLAY_US: i64 = 16_683;
const WARM_UP_US: i64 = 3_000_000;
const SECONDS: i64 = 60;
/// The clock of the sender at the start.
const SESSION_US: i64 = 3_600_000_000;
const PATH: NetworkSettings = NetworkSettings {
    delay_us: 40_000,
    jitter_us: 8_000,
    loss: 0.05,
    burst: 1,
    reorder: 0.0,
    reorder_us: 0,
    duplicates: 0.0,
    rate_bps: None,
    queue_us: 200_000,
    stalls_per_s: 0.0,
    stall_us: (30_000, 120_000),
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// The newest 52 floats, shown as they arrive.
    Floats,
    /// The same with their capture time, played out.
    PlayedFloats,
    /// By this crate.
    Ours,
}

/// Sends a face at a rate over a path with loss, and shows it at 60 Hz.
fn show(signal: &Signal, fps: f32, how: How) -> Outcome {
    let start = Instant::now();
    let instant = |us: i64| start + Duration::from_micros(us.max(0) as u64);
    let (mut there, mut back) = (Network::new(PATH, 5), Network::new(PATH, 6));
    let (mut decimator, mut encoder, mut decoder) = (Decimator::default(), FaceEncoder::new(), FaceDecoder::new());
    let (mut clock, mut playout, mut present) = (SourceClock::new(start), Playout::default(), PresentClock::default());
    let mut arriving: Vec<(i64, i64, Vec<u8>)> = Vec::new();
    let mut acks: Vec<(i64, u32)> = Vec::new();
    let mut held: Option<(i64, [f32; BLENDSHAPE_COUNT])> = None;
    let (mut frames, mut next_update, mut next_render, mut bytes) = (0, 0.0_f64, 5_000, 0);
    let (mut shown, mut queue) = (Vec::new(), Vec::new());
    for now in (0..SECONDS * 1_000_000).step_by(1000) {
        while frames * SOURCE_US <= now {
            let at = frames * SOURCE_US;
            frames += 1;
            let mut frame = signal.frame_at(at);
            let due = match how {
                How::Ours => decimator.offer(&mut frame, fps, instant(at)),
                How::Floats | How::PlayedFloats => at as f64 >= next_update,
            };
            if !due {
                continue;
            }
            next_update += 1e6 / f64::from(fps);
            let mut payload = Vec::new();
            match how {
                How::Ours => {
                    let captured = Duration::from_micros((SESSION_US + at) as u64);
                    encoder.encode(&frame, captured, &mut payload).expect("a finite face");
                }
                How::Floats | How::PlayedFloats => {
                    payload.extend(frame.weights.iter().flat_map(|weight| weight.to_le_bytes()));
                }
            }
            bytes += payload.len();
            arriving.extend(there.send(now, payload.len()).into_iter().map(|arrival| (arrival, at, payload.clone())));
        }
        acks.retain(|(arrival, number)| {
            let is_here = *arrival <= now;
            if is_here {
                encoder.acknowledge(*number);
            }
            !is_here
        });
        arriving.sort_by_key(|(arrival, ..)| *arrival);
        while arriving.first().is_some_and(|(arrival, ..)| *arrival <= now) {
            let (arrival, at, payload) = arriving.remove(0);
            queue.push((arrival, (arrival - at - PATH.delay_us) as f32 / 1000.0));
            let face = match how {
                How::Ours => {
                    let face = decoder.decode(&payload).expect("a payload");
                    let number = decoder.newest().expect("one was read");
                    acks.extend(back.send(now, 4).into_iter().map(|arrival| (arrival, number)));
                    face
                }
                How::Floats | How::PlayedFloats => {
                    let mut face = FaceFrame::neutral();
                    for (weight, bytes) in face.weights.iter_mut().zip(payload.as_chunks::<4>().0) {
                        *weight = f32::from_le_bytes(*bytes);
                    }
                    face.capture_time = Some(Duration::from_micros((SESSION_US + at) as u64));
                    face
                }
            };
            if how == How::Floats {
                held = Some((at, face.weights)).filter(|_| held.is_none_or(|(before, _)| at > before)).or(held);
            } else {
                let stamp = clock.record(face.capture_time, instant(arrival));
                playout.push(face, None, &stamp, instant(arrival), false);
            }
        }
        while next_render <= now {
            let at = next_render;
            next_render += DISPLAY_US;
            let pose = match how {
                How::Floats => held,
                How::PlayedFloats | How::Ours => playout
                    .advance(present.tick(instant(at)))
                    .map(|pose| (pose.capture_us.unwrap_or_default() - SESSION_US, pose.frame.weights)),
            };
            if let Some((of, weights)) = pose.filter(|_| at > WARM_UP_US) {
                shown.push((at, of, weights));
            }
        }
    }
    judge(signal, &shown, &queue, Outcome { bytes_per_s: bytes as f32 / SECONDS as f32, ..Outcome::default() })
}

#[test]
fn netcode_bytes_and_error_next_to_floats() {
    let signal = Signal::performer();
    println!("updates/s  how           bytes/s  bytes each  rms     worst   age ms  pops/min  blinks");
    for fps in [10.0, 20.0, 30.0] {
        let outcomes = [How::Floats, How::PlayedFloats, How::Ours].map(|how| (how, show(&signal, fps, how)));
        for (how, outcome) in &outcomes {
            println!(
                "{fps:<9}  {:<12}  {:>7.0}  {:>10.1}  {:.4}  {:.3}   {:>6.0}  {:>8.0}  {}/{}",
                format!("{how:?}"),
                outcome.bytes_per_s,
                outcome.bytes_per_s / fps,
                outcome.rms,
                outcome.worst,
                outcome.age_ms.0,
                outcome.pops,
                outcome.blinks.0,
                outcome.blinks.1
            );
        }
        let [(_, floats), (_, played), (_, ours)] = &outcomes;
        assert!(ours.bytes_per_s < floats.bytes_per_s / 5.0, "{fps}: {} {}", ours.bytes_per_s, floats.bytes_per_s);
        assert!(ours.rms < 0.8 * floats.rms, "{fps}: {} {}", ours.rms, floats.rms);
        assert!(ours.rms < 1.1 * played.rms, "{fps}: steps of 1/255 do not show: {} {}", ours.rms, played.rms);
        assert!(ours.pops < floats.pops / 2.0, "{fps}: {} {}", ours.pops, floats.pops);
        assert!(ours.blinks.0 >= floats.blinks.0 && ours.blinks.1 > 3, "{fps}: {:?} {:?}", ours.blinks, floats.blinks);
    }
}
