//! What one frame costs from bytes to [`facelink::FaceFrame`], by format, beside `serde_json` reading the same JSON.

use criterion::{Criterion, criterion_group, criterion_main};
use facelink::{
    performer::Performance,
    wire::{
        float32,
        json::{Decoder, write_arkit_data},
        llf,
    },
};

fn decode(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(std::time::Duration::from_secs(3));
    let mut json = String::new();
    write_arkit_data(&mut json, &frame, Some("Ann"), Some(1_700_000_000_000.0));
    let mut floats = Vec::new();
    float32::encode_61(&frame, &mut floats);
    let profile = llf::LlfProfile::default();
    let mut packet = Vec::new();
    if let Err(error) = llf::encode(&llf::LlfPacket::new("device", "iPhone", 9, frame), &profile, &mut packet) {
        eprintln!("no Live Link Face packet: {error}");
    }

    let mut group = c.benchmark_group("decode");
    group.bench_function("live_link_face", |b| b.iter(|| llf::decode(std::hint::black_box(&packet), &profile).is_ok()));
    group.bench_function("float32_61", |b| b.iter(|| float32::decode(std::hint::black_box(&floats), None).is_ok()));
    let mut decoder = Decoder::default();
    group.bench_function("json", |b| b.iter(|| decoder.decode(std::hint::black_box(&json)).is_ok()));
    group.bench_function("json_by_serde_value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(std::hint::black_box(&json)).is_ok());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = decode
}
criterion_main!(benches);
