//! The cost of applying a face to a rig: mappings of several dialects, and the layers over a face.

use std::{fs, hint::black_box, path::Path, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use facelink::{
    Blendshape,
    layers::{Expression, ExpressionMix, IdleLife, IdleSettings, LiveSpeech, VisemeTrack},
    mapping::{Compiled, Face, Mapping, Scratch},
    performer::Performance,
    wire::viseme::Viseme,
};

type Failure = Box<dyn std::error::Error>;

/// A preset on a rig that has every target it writes, and how many those are.
fn compiled(id: &str) -> Result<(Compiled, usize), Failure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("presets");
    let read = |id: &str| -> Result<Mapping, String> {
        let text = fs::read_to_string(folder.join(format!("{id}.face.ron"))).map_err(|error| error.to_string())?;
        text.parse().map_err(|error: facelink::mapping::MappingError| error.to_string())
    };
    let resolved = read(id)?.resolve(read)?;
    let mut targets: Vec<String> = Vec::new();
    for output in resolved.rules.iter().filter(|rule| !rule.fallback).flat_map(|rule| &rule.to) {
        if !targets.contains(&output.target) {
            targets.push(output.target.clone());
        }
    }
    let (compiled, report) = resolved.compile(&[targets]);
    Ok((compiled, report.written))
}

fn mapping(c: &mut Criterion) {
    let frame = Performance::new(7).frame_at(Duration::from_secs(3));
    let mut group = c.benchmark_group("mapping");
    // The least that any mapping does: 52 values to 52 places.
    let mut targets = [0.0_f32; 52];
    group.bench_function("copy of 52 weights", |b| {
        b.iter(|| {
            for (target, weight) in targets.iter_mut().zip(black_box(&frame.weights)) {
                *target = *weight;
            }
            black_box(&targets);
        });
    });
    for id in ["arkit", "unified_expressions", "cc_standard", "metahuman", "vroid"] {
        let (compiled, written) = match compiled(id) {
            Ok(compiled) => compiled,
            Err(error) => {
                eprintln!("{id} is not measured: {error}");
                continue;
            }
        };
        let mut scratch = Scratch::default();
        let mut weights = vec![0.0; written];
        group.bench_function(format!("{id}, {written} targets"), |b| {
            b.iter(|| {
                compiled.evaluate(&Face { weights: black_box(&frame.weights), ..Face::default() }, &mut scratch);
                for (slot, (_, weight)) in weights.iter_mut().zip(compiled.mesh(0, &scratch)) {
                    *slot = weight;
                }
                black_box(&weights);
            });
        });
    }
    group.finish();
}

fn layers(c: &mut Criterion) {
    let mut group = c.benchmark_group("layers");
    let mut weights = [0.0; 52];
    let dt = 1.0 / 60.0;
    let mut mix = ExpressionMix::default();
    for expression in Expression::built_in().into_iter().skip(1).take(3) {
        if let Err(error) = mix.set(&Arc::new(expression), 0.5, Duration::from_secs(1)) {
            eprintln!("an expression is left out: {error}");
        }
    }
    group.bench_function("three expressions", |b| {
        b.iter(|| {
            mix.step(dt);
            mix.apply(black_box(&mut weights));
        });
    });
    let mut life = IdleLife::new(IdleSettings::default());
    group.bench_function("idle life", |b| b.iter(|| black_box(life.step(dt).weights[Blendshape::JawOpen.index()])));
    let mut speech = LiveSpeech::default();
    let mut i = 0;
    group.bench_function("live speech", |b| {
        b.iter(|| {
            i += 1;
            speech.say(Viseme::ALL[i / 6 % 15], 1.0);
            speech.step(dt);
            black_box(speech.shapes());
        });
    });
    let line: String = (0..40).map(|i| format!("{} {} {}\n", i, i + 1, ["AA", "P", "S", "UW"][i % 4])).collect();
    if let Ok(track) = VisemeTrack::from_phonemes(&line) {
        let mut t = 0.0;
        group.bench_function("a line of dialogue", |b| {
            b.iter(|| {
                t = (t + 0.016) % 40.0;
                track.sample(black_box(t), &mut weights);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(60).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = mapping, layers
}
criterion_main!(benches);
