//! How many bits a face takes: `cargo bench -p facelink --bench bits`. Tables learnt from the other recordings, so that none
//! is measured with what it taught. `FACELINK_CAPTURES` names their folder.

use std::{collections::HashMap, io::Read, path::PathBuf, time::Duration};

use facelink::{
    FaceFrame,
    performer::Performance,
    take,
    wire::{
        facelink1::{
            Clock, Decoder, Encoder,
            delta::{DeltaDecoder, DeltaEncoder, Trainer},
        },
        float32,
        json::write_arkit_data,
        llf,
    },
};

struct Recording {
    name: &'static str,
    fps: f32,
    frames: Vec<FaceFrame>,
}

fn tape(bytes: &[u8]) -> Option<Vec<FaceFrame>> {
    let mut tape = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut tape).ok()?;
    let number = |at: usize| Some(u32::from_be_bytes(tape.get(at..at + 4)?.try_into().ok()?) as usize);
    let (mut at, mut frames) = (5, Vec::new());
    for _ in 0..number(1)? {
        let length = number(at)?;
        frames.push(llf::decode(tape.get(at + 4..at + 4 + length)?, &llf::PROFILE).ok()?.frame.clone());
        at += 4 + length;
    }
    Some(frames)
}

fn recordings() -> Vec<Recording> {
    let mut all = Vec::new();
    if let Some(folder) = std::env::var_os("FACELINK_CAPTURES").map(PathBuf::from) {
        for (name, fps) in [("live-link-face-60fps.csv", 60.0), ("live-link-face-rom.csv", 30.0)] {
            match take::llf_csv::read(&folder.join(name)) {
                Ok(take) => {
                    let frames = take.frames().iter().map(|frame| frame.frame.clone()).collect();
                    all.push(Recording { name, fps, frames });
                }
                Err(error) => eprintln!("skipped: {name}: {error}"),
            }
        }
        let name = "live-link-face-udp.gesichter";
        match std::fs::read(folder.join(name)).ok().and_then(|bytes| tape(&bytes)) {
            Some(frames) => all.push(Recording { name, fps: 60.0, frames }),
            None => eprintln!("skipped: {name}"),
        }
    }
    let performance = Performance::new(5);
    let frames = (0..3600).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect();
    all.push(Recording { name: "synthetic performer", fps: 60.0, frames });
    for recording in &mut all {
        for (i, frame) in recording.frames.iter_mut().enumerate() {
            frame.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
            frame.present = (1 << facelink::BLENDSHAPE_COUNT) - 1;
            frame.channels.clear();
            frame.tracked = true;
            frame.sequence = Some(i as u64);
            frame.capture_time = Some(Duration::from_secs_f32(i as f32 / recording.fps));
        }
    }
    all
}

/// Entropy of each shape's own symbols, summed, bits a frame.
fn entropy(frames: &[FaceFrame], symbol: impl Fn(usize, usize) -> i32) -> f32 {
    let mut bits = 0.0;
    for shape in 0..facelink::BLENDSHAPE_COUNT {
        let mut counts: HashMap<i32, u32> = HashMap::new();
        for i in 1..frames.len() {
            *counts.entry(symbol(i, shape)).or_default() += 1;
        }
        let total = (frames.len() - 1) as f32;
        bits -= counts.values().map(|count| *count as f32 / total).map(|share| share * share.log2()).sum::<f32>();
    }
    bits
}

fn step(frame: &FaceFrame, shape: usize) -> i32 {
    (f64::from(frame.weights[shape]) * 255.0 + 0.5) as i32
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len().max(1) as f32
}

fn shapes_only(frames: &[FaceFrame]) -> Vec<FaceFrame> {
    frames.iter().map(|frame| FaceFrame { head: None, gaze: None, ..frame.clone() }).collect()
}

fn main() {
    let all = recordings();
    println!("Bits a frame, the 52 shapes alone (error at most 1/510):\n");
    println!(
        "| recording | frames a second | raw | entropy of values | of deltas | delta, 1 back | 2 | 4 | 8 | 12 | 24 back | with head and gaze, 1 / 4 back |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for (i, recording) in all.iter().enumerate() {
        let mut trainer = Trainer::default();
        for (k, other) in all.iter().enumerate() {
            if k != i {
                trainer.learn(&other.frames);
            }
        }
        let frames = &recording.frames;
        let shapes = shapes_only(frames);
        let lags: Vec<f32> = [1, 2, 4, 8, 12, 24].map(|lag| mean(&trainer.bits(&shapes, lag))).to_vec();
        println!(
            "| {} | {:.0} | 416 | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} / {:.0} |",
            recording.name,
            recording.fps,
            entropy(frames, |i, shape| step(&frames[i], shape)),
            entropy(frames, |i, shape| step(&frames[i], shape) - step(&frames[i - 1], shape)),
            lags[0],
            lags[1],
            lags[2],
            lags[3],
            lags[4],
            lags[5],
            mean(&trainer.bits(frames, 1)),
            mean(&trainer.bits(frames, 4)),
        );
    }

    println!("\nBytes of a packet, with sequence, capture time, head and gaze where there are; the table in use:\n");
    println!("| recording | JSON | float32 | facelink1 | repeating 1 | delta, 4 back: mean, 95 % | 12 back |");
    println!("|---|---|---|---|---|---|---|");
    for recording in &all {
        let (mut json, mut floats) = (String::new(), Vec::new());
        let mut sizes = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for frame in &recording.frames {
            write_arkit_data(&mut json, frame, None, Some(1_700_000_000_000.0));
            sizes[0].push(json.len() as f32);
            floats.clear();
            float32::encode_61(frame, &mut floats);
            sizes[1].push(floats.len() as f32);
        }
        for (redundancy, place) in [(0, 2), (1, 3)] {
            let mut encoder = Encoder::new();
            encoder.set_redundancy(redundancy);
            for frame in &recording.frames {
                let mut packet = Vec::new();
                if encoder.encode("", frame, Clock::Unix, &mut packet).is_ok() {
                    sizes[place].push(packet.len() as f32);
                }
            }
        }
        let deltas = |lag: u32| {
            let mut encoder = DeltaEncoder::new();
            let mut sizes = Vec::new();
            for (i, frame) in (0_u32..).zip(&recording.frames) {
                let mut packet = Vec::new();
                if encoder.encode("", frame, Clock::Unix, &mut packet).is_ok_and(|delta| delta || i > lag) {
                    sizes.push(packet.len() as f32);
                }
                if let Some(arrived) = (i + 1).checked_sub(lag) {
                    encoder.acknowledge("", arrived);
                }
            }
            sizes.sort_by(f32::total_cmp);
            (mean(&sizes), sizes.get(sizes.len() * 95 / 100).copied().unwrap_or_default())
        };
        let (near, far) = (deltas(4), deltas(12));
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0}, {:.0} | {:.0}, {:.0} |",
            recording.name,
            mean(&sizes[0]),
            mean(&sizes[1]),
            mean(&sizes[2]),
            mean(&sizes[3]),
            near.0,
            near.1,
            far.0,
            far.1
        );
    }
    cost(&all);
}

/// Median of a thousand runs over a recording.
fn cost(all: &[Recording]) {
    let Some(recording) = all.first() else { return };
    let frames = &recording.frames;
    let time = |mut each: Box<dyn FnMut(&FaceFrame)>| {
        let mut times: Vec<f32> = Vec::new();
        for _ in 0..20 {
            for frame in frames {
                let begun = std::time::Instant::now();
                each(frame);
                times.push(begun.elapsed().as_secs_f32() * 1e9);
            }
        }
        times.sort_by(f32::total_cmp);
        times[times.len() / 2]
    };
    let mut packet = Vec::new();
    let mut plain = Encoder::new();
    let encode = time(Box::new(move |frame| {
        packet.clear();
        let _ = std::hint::black_box(plain.encode("", frame, Clock::Unix, &mut packet));
    }));
    let (mut packet, mut deltas, mut number) = (Vec::new(), DeltaEncoder::new(), 0_u64);
    let encode_delta = time(Box::new(move |frame| {
        packet.clear();
        number += 1;
        let frame = FaceFrame { sequence: Some(number), capture_time: None, ..frame.clone() };
        let _ = std::hint::black_box(deltas.encode("", &frame, Clock::Unix, &mut packet));
        deltas.acknowledge("", (number as u32).saturating_sub(4));
    }));
    let mut plain = Encoder::new();
    let mut packets: Vec<Vec<u8>> = Vec::new();
    let mut deltas = DeltaEncoder::new();
    let mut coded: Vec<Vec<u8>> = Vec::new();
    for (i, frame) in (0_u32..).zip(frames) {
        let mut packet = Vec::new();
        let _ = plain.encode("", frame, Clock::Unix, &mut packet);
        packets.push(packet);
        let mut packet = Vec::new();
        let _ = deltas.encode("", frame, Clock::Unix, &mut packet);
        deltas.acknowledge("", i.saturating_sub(4));
        coded.push(packet);
    }
    let mut decoder = Decoder::new();
    let mut times = Vec::new();
    for packet in packets.iter().cycle().take(6000) {
        let begun = std::time::Instant::now();
        let _ = decoder.decode(packet, |face| drop(std::hint::black_box(face)));
        times.push(begun.elapsed().as_secs_f32() * 1e9);
    }
    times.sort_by(f32::total_cmp);
    let decode = times[times.len() / 2];
    let mut times = Vec::new();
    for _ in 0..20 {
        let mut deltas = DeltaDecoder::new();
        for packet in &coded {
            if DeltaDecoder::is_delta(packet) {
                let begun = std::time::Instant::now();
                let _ = std::hint::black_box(deltas.decode(packet));
                times.push(begun.elapsed().as_secs_f32() * 1e9);
            } else {
                let _ = decoder.decode(packet, |face| deltas.note(&face));
            }
        }
    }
    times.sort_by(f32::total_cmp);
    let decode_delta = times.get(times.len() / 2).copied().unwrap_or(f32::NAN);
    println!(
        "\nMedian time a frame ({}): facelink1 {encode:.0} ns to write, {decode:.0} ns to read; delta {encode_delta:.0} ns to write, {decode_delta:.0} ns to read.",
        recording.name
    );
}
