//! What one frame costs from bytes to [`facelink::FaceFrame`] and back, by format, beside `serde_json` with the same JSON.

use criterion::{Criterion, criterion_group, criterion_main};
use facelink::{
    Blendshape, FaceFrame,
    performer::Performance,
    wire::{
        facelink1, float32,
        fmv3::{self, FLAG_TRACKED, Kind, Message, Part, Schema},
        json::{Decoder, write_arkit_data},
        llf,
        mocap_text::{self, Dialect, Writer},
    },
};

fn decode(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(std::time::Duration::from_secs(3));
    let mut json = String::new();
    write_arkit_data(&mut json, &frame, Some("Ann"), Some(1_700_000_000_000.0));
    let mut floats = Vec::new();
    float32::encode_61(&frame, &mut floats);
    // Head and gaze too; the second time it repeats the frame before.
    let mut compact = [Vec::new(), Vec::new()];
    let mut encoder = facelink1::Encoder::new();
    encoder.set_redundancy(1);
    for packet in &mut compact {
        if let Err(error) = encoder.encode("", &frame, facelink1::Clock::Unix, packet) {
            eprintln!("no facelink1 packet: {error}");
        }
    }
    let profile = llf::PROFILE;
    let mut packet = Vec::new();
    if let Err(error) = llf::encode(&llf::LlfPacket::new("device", "iPhone", 9, frame.clone()), &profile, &mut packet) {
        eprintln!("no Live Link Face packet: {error}");
    }

    let mut group = c.benchmark_group("decode");
    group.bench_function("live_link_face", |b| b.iter(|| llf::decode(std::hint::black_box(&packet), &profile).is_ok()));
    group.bench_function("float32_61", |b| b.iter(|| float32::decode(std::hint::black_box(&floats), None).is_ok()));
    for (name, dialect) in
        [("ifacialmocap_v1", Dialect::V1), ("ifacialmocap_v2", Dialect::V2), ("facemotion3d", Dialect::Facemotion3d)]
    {
        let mut text = Vec::new();
        if let Err(error) = Writer::new(dialect).shuffled(7).write(&frame, &mocap_text::PROFILE, &mut text) {
            eprintln!("no text: {error}");
        }
        let mut decoder = mocap_text::Decoder::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                decoder.decode(std::hint::black_box(&text)).map(|read| mocap_text::PROFILE.apply(read.face)).is_ok()
            });
        });
    }
    if let Some((schema, message)) = fmv3_frame(&frame) {
        group.bench_function("fmv3", |b| {
            b.iter(|| {
                let part = Part::read(std::hint::black_box(&message)).ok()?;
                Some(fmv3::PROFILE.apply(schema.decode(&part.header, part.chunk).ok()?))
            });
        });
    }
    let mut faces = facelink1::Decoder::new();
    for (name, packet) in ["facelink1", "facelink1_with_a_repeated_frame"].into_iter().zip(&compact) {
        group.bench_function(name, |b| {
            b.iter(|| {
                faces.decode(std::hint::black_box(packet), |face| {
                    std::hint::black_box(&face);
                })
            });
        });
    }
    let mut decoder = Decoder::default();
    group.bench_function("json", |b| b.iter(|| decoder.decode(std::hint::black_box(&json)).is_ok()));
    group.bench_function("json_by_serde_value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(std::hint::black_box(&json)).is_ok());
    });
    group.finish();
}

/// A frame of `FMV3`, and the schema to read it by.
fn fmv3_frame(frame: &FaceFrame) -> Option<(Schema, Vec<u8>)> {
    let names = Blendshape::ALL.map(Blendshape::name);
    let schema = Schema::new(1, fmv3::Terms::default(), "iFacialMocap", fmv3::Encoding::I16, names).ok()?;
    let mut body = Vec::new();
    schema.encode(frame, &fmv3::PROFILE, &mut body).ok()?;
    let mut bytes = Vec::new();
    Message { flags: FLAG_TRACKED, ..Message::new(Kind::Frame, 7).with_schema(1).with_body(&body) }.write(&mut bytes);
    Some((schema, bytes))
}

fn encode(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(std::time::Duration::from_secs(3));
    let mut group = c.benchmark_group("encode");
    let mut out = Vec::new();
    for (name, repeated) in [("facelink1", 0), ("facelink1_with_a_repeated_frame", 1)] {
        let mut encoder = facelink1::Encoder::new();
        encoder.set_redundancy(repeated);
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                encoder.encode("", std::hint::black_box(&frame), facelink1::Clock::Unix, &mut out)
            });
        });
    }
    group.bench_function("float32_61", |b| {
        b.iter(|| {
            out.clear();
            float32::encode_61(std::hint::black_box(&frame), &mut out);
        });
    });
    let mut json = String::new();
    group.bench_function("json", |b| {
        b.iter(|| {
            json.clear();
            write_arkit_data(&mut json, std::hint::black_box(&frame), None, Some(1_700_000_000_000.0));
        });
    });
    let mut json = String::new();
    write_arkit_data(&mut json, &frame, None, Some(1_700_000_000_000.0));
    let value = serde_json::from_str::<serde_json::Value>(&json).unwrap_or_default();
    let mut bytes = Vec::new();
    group.bench_function("json_by_serde_value", |b| {
        b.iter(|| {
            bytes.clear();
            serde_json::to_writer(&mut bytes, std::hint::black_box(&value)).is_ok()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(50);
    targets = decode, encode
}
criterion_main!(benches);
