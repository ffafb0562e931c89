//! What recording costs: 256 faces of 60 Hz, a second of them at a time, and opening and jumping in an hour of one.
//!
//! A second that takes 50 ms is 5 % of one core.

#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    io::Cursor,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use facelink::{
    event::{SubjectFrame, SubjectId},
    performer::Performance,
    source::SourceKind,
    take::{TakeAbout, TakeReader, TakeWriter},
    timing::SourceClock,
    wire::facelink1::{Clock, Decoder, Encoder},
};

const FACES: u64 = 256;
const RATE: u32 = 60;

/// A second of faces as the compact wire carries them.
fn second(start: Instant, faces: u64) -> Vec<SubjectFrame> {
    let mut performers: Vec<_> = (0..faces)
        .map(|face| {
            let name: Arc<str> = format!("face-{face}").into();
            (name, Performance::new(face), SourceClock::new(start))
        })
        .collect();
    let (mut encoder, mut decoder, mut packet) = (Encoder::new(), Decoder::new(), Vec::new());
    let mut frames = Vec::new();
    for number in 0..RATE {
        let captured = Duration::from_micros(16_667) * number;
        for (id, (name, performance, clock)) in (1..).zip(&mut performers) {
            let received = start + captured + Duration::from_nanos(fastrand::u64(0..2_000_000));
            let mut frame = performance.frame_at(captured);
            (frame.sequence, frame.capture_time) = (Some(number.into()), Some(captured));
            packet.clear();
            encoder.encode("", &frame, Clock::Unix, &mut packet).unwrap();
            decoder.decode(&packet, |face| frame = face.frame).unwrap();
            let stamp = clock.record(Some(captured), received);
            frames.push(SubjectFrame {
                id: SubjectId(id),
                name: name.clone(),
                source: SourceKind::WebRtc,
                frame,
                speech: None,
                received,
                stamp: Some(stamp),
                late: false,
                repeated: false,
            });
        }
    }
    frames
}

fn about() -> TakeAbout {
    TakeAbout::new("bench", 1, Duration::from_secs(1_790_000_000))
}

fn record(criterion: &mut Criterion) {
    let start = Instant::now();
    let frames = second(start, FACES);
    let mut bytes = 0;
    criterion.bench_function("record a second of 256 faces of 60 Hz", |bencher| {
        bencher.iter_batched_ref(
            || TakeWriter::new(Vec::new(), &about(), start).unwrap(),
            |writer| {
                for frame in &frames {
                    writer.frame(frame).unwrap();
                }
                writer.flush().unwrap();
                bytes = writer.bytes();
            },
            criterion::BatchSize::LargeInput,
        );
    });
    eprintln!("{:.1} MB an hour and face", bytes as f64 * 3600.0 / FACES as f64 / 1e6);
}

fn jump(criterion: &mut Criterion) {
    let start = Instant::now();
    let frames = second(start, 1);
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    for second in 0..3600 {
        for frame in &frames {
            let received = frame.received + Duration::from_secs(second);
            writer.frame(&SubjectFrame { received, ..frame.clone() }).unwrap();
        }
    }
    let hour = writer.finish(start + Duration::from_secs(3600)).unwrap();
    eprintln!("an hour of one face: {:.1} MB", hour.len() as f64 / 1e6);
    criterion.bench_function("open an hour of one face", |bencher| {
        bencher.iter(|| TakeReader::open(Cursor::new(black_box(&hour))).unwrap());
    });
    let mut reader = TakeReader::open(Cursor::new(&hour)).unwrap();
    criterion.bench_function("jump within an hour of one face", |bencher| {
        bencher.iter(|| {
            let to = Duration::from_millis(fastrand::u64(0..3_600_000));
            reader.seek(to).unwrap();
            black_box(reader.next_entry().unwrap())
        });
    });
    criterion.bench_function("faces at a moment of an hour", |bencher| {
        bencher.iter(|| black_box(reader.faces_at(Duration::from_millis(fastrand::u64(0..3_600_000))).unwrap()));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = record, jump
}
criterion_main!(benches);
