//! What end-to-end encryption adds to a face: sealing and opening one, next to the same face as it is otherwise.

#![allow(clippy::unwrap_used)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use facelink::{
    performer::Performance,
    seal::{Opener, RoomKey, RoomKeys, Sealer},
    wire::facelink1::{Clock, Decoder, Encoder},
};

fn seal(c: &mut Criterion) {
    let mut group = c.benchmark_group("seal");
    let performance = Performance::new(7);
    let start = Instant::now();
    let frames: Vec<_> = (0..600).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect();
    let at = |i: usize| start + Duration::from_micros(16_667 * i as u64);
    let key = || RoomKeys::new(RoomKey::from_bytes([7; 32]));

    let (mut encoder, mut out, mut i) = (Encoder::new(), Vec::new(), 0);
    group.bench_function("encode", |b| {
        b.iter(|| {
            out.clear();
            i += 1;
            encoder.encode("Ann", &frames[i % 600], Clock::Unix, &mut out).unwrap();
            black_box(out.len())
        });
    });
    let keys = key();
    let (mut sealer, mut i) = (Sealer::new(|| fastrand::u64(..)), 0);
    group.bench_function("seal", |b| {
        b.iter(|| {
            out.clear();
            i += 1;
            sealer.seal(&keys, "Ann", &frames[i % 600], Clock::Unix, at(i), &mut out).unwrap();
            black_box(out.len())
        });
    });

    let mut plain = Vec::new();
    encoder.encode("Ann", &frames[0], Clock::Unix, &mut plain).unwrap();
    let mut decoder = Decoder::new();
    group.bench_function("decode", |b| {
        b.iter(|| {
            decoder
                .decode(black_box(&plain), |face| {
                    black_box(&face);
                })
                .unwrap()
        });
    });
    let (mut opener, mut theirs, mut i) = (Opener::new(), key(), 0);
    group.bench_function("open", |b| {
        b.iter_batched_ref(
            || {
                i += 1;
                let mut packet = Vec::with_capacity(256);
                sealer.seal(&keys, "Ann", &frames[i % 600], Clock::Unix, at(i), &mut packet).unwrap();
                packet
            },
            |packet| {
                opener
                    .open(packet, &mut theirs, start, |opened| {
                        black_box(&opened);
                    })
                    .unwrap()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, seal);
criterion_main!(benches);
