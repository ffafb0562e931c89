//! The cost of one frame from bytes to [`facelink::FaceFrame`] and back, by format, compared with `serde_json` with the
//! same JSON.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use facelink::{
    performer::Performance,
    vrchat::VrchatWriter,
    wire::{
        face_cap, facelink1, float32, fmv3,
        json::{Decoder, write_arkit_data},
        llf, mocap_text, osc, trackers, vmc, vtube_studio,
    },
};

fn decode(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(Duration::from_secs(3));
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
    if let Err(error) = llf::encode(&llf::LlfPacket::new("device", "iPhone", 9, frame), &profile, &mut packet) {
        eprintln!("no Live Link Face packet: {error}");
    }

    let mut group = c.benchmark_group("decode");
    group.bench_function("live_link_face", |b| b.iter(|| llf::decode(std::hint::black_box(&packet), &profile).is_ok()));
    group.bench_function("float32_61", |b| b.iter(|| float32::decode(std::hint::black_box(&floats), None).is_ok()));
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
    group.bench_function("json", |b| b.iter(|| decoder.client(std::hint::black_box(&json)).is_ok()));
    group.bench_function("json_by_serde_value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(std::hint::black_box(&json)).is_ok());
    });
    group.finish();
}

type Failure = Box<dyn std::error::Error>;

/// The phone apps, each from its datagrams to a frame with its profile applied.
fn phones(c: &mut Criterion) {
    if let Err(error) = try_phones(c) {
        eprintln!("not every app is measured: {error}");
    }
}

fn try_phones(c: &mut Criterion) -> Result<(), Failure> {
    let frame = Performance::new(7).frame_at(Duration::from_secs(3));
    let mut group = c.benchmark_group("decode_app");
    for (name, dialect) in [
        ("ifacialmocap_v1", mocap_text::Dialect::V1),
        ("ifacialmocap_v2", mocap_text::Dialect::V2),
        ("facemotion3d", mocap_text::Dialect::Facemotion3d),
    ] {
        let mut bytes = Vec::new();
        mocap_text::Writer::new(dialect).write(&frame, &mocap_text::PROFILE, &mut bytes)?;
        let mut decoder = mocap_text::Decoder::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                decoder.decode(std::hint::black_box(&bytes)).map(|read| mocap_text::PROFILE.apply(read.face)).is_ok()
            });
        });
    }

    let names = facelink::Blendshape::ALL.map(facelink::Blendshape::name);
    let schema = fmv3::Schema::new(1, fmv3::Terms::default(), "iFacialMocap", fmv3::Encoding::I16, names)?;
    let (mut body, mut bytes) = (Vec::new(), Vec::new());
    schema.encode(&frame, &fmv3::PROFILE, &mut body)?;
    fmv3::Message::new(fmv3::Kind::Frame, 7).with_schema(1).with_sequence(1).with_body(&body).write(&mut bytes);
    group.bench_function("ifacialmocap_v3", |b| {
        b.iter(|| {
            let part = fmv3::Part::read(std::hint::black_box(&bytes)).ok()?;
            let face = schema.decode(&part.header, part.chunk).ok()?;
            Some(fmv3::PROFILE.apply(face).present)
        });
    });

    let mut packets = Vec::new();
    VrchatWriter::new("", None)?.write(&frame, Duration::ZERO, |bytes| packets.push(bytes.to_vec()));
    let mut decoder = trackers::Decoder::new();
    let program = ([127, 0, 0, 1], 9).into();
    group.bench_function("trackers", |b| {
        b.iter(|| {
            let now = Instant::now();
            for packet in &packets {
                let _ = osc::read(std::hint::black_box(packet), |message| {
                    let _ = decoder.take(message, program, now);
                });
            }
            decoder.deadline().and_then(|due| decoder.on_timeout(due)).map(|face| trackers::PROFILE.apply(face).present)
        });
    });

    packets.clear();
    osc::write_bundles(face_cap::messages(&frame, &face_cap::PROFILE), 1400, |bytes| packets.push(bytes.to_vec()));
    let mut decoder = face_cap::Decoder::new();
    group.bench_function("face_cap", |b| {
        b.iter(|| {
            let mut shapes = 0;
            for packet in &packets {
                let _ = osc::read(std::hint::black_box(packet), |message| {
                    if let Ok(Some(face)) = decoder.take(message) {
                        shapes = face_cap::PROFILE.apply(face).present;
                    }
                });
            }
            shapes
        });
    });

    packets.clear();
    vmc::encode(&frame, 1.0, &vmc::PROFILE, vmc::BlendshapeNames::PerfectSync, |bytes| packets.push(bytes.to_vec()));
    let mut decoder = vmc::Decoder::new();
    let now = Instant::now();
    group.bench_function("vmc", |b| {
        b.iter(|| {
            let mut shapes = 0;
            for packet in &packets {
                let _ = osc::read(std::hint::black_box(packet), |message| {
                    if let Ok(Some(face)) = decoder.take(message, now) {
                        shapes = vmc::PROFILE.apply(face).present;
                    }
                });
            }
            shapes
        });
    });

    let mut bytes = Vec::new();
    vtube_studio::encode(&frame, 1.7e12, &vtube_studio::PROFILE, &mut bytes)?;
    let mut decoder = vtube_studio::Decoder::default();
    group.bench_function("vtube_studio", |b| {
        b.iter(|| {
            decoder.decode(std::hint::black_box(&bytes)).map(|read| vtube_studio::PROFILE.apply(read.face)).is_ok()
        });
    });
    let text = String::from_utf8(bytes)?;
    group.bench_function("vtube_studio_by_serde_value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(std::hint::black_box(&text)).is_ok());
    });
    let mut json = String::new();
    write_arkit_data(&mut json, &frame, Some("Ann"), Some(1_700_000_000_000.0));
    let mut decoder = Decoder::default();
    group.bench_function("udp_json", |b| b.iter(|| decoder.client(std::hint::black_box(&json)).is_ok()));
    group.bench_function("udp_json_by_serde_value", |b| {
        b.iter(|| serde_json::from_str::<serde_json::Value>(std::hint::black_box(&json)).is_ok());
    });
    group.finish();
    Ok(())
}

fn encode(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(Duration::from_secs(3));
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
    targets = decode, phones, encode
}
criterion_main!(benches);
