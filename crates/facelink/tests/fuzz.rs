//! Hostile bytes for every decoder: none may panic, and none may allocate beyond a small bound.
//!
//! Seeded, so that a failure comes again. `FACELINK_FUZZ_INPUTS` sets the number of inputs for each decoder and
//! `FACELINK_FUZZ_SEED` the seed:
//!
//! ```text
//! FACELINK_FUZZ_INPUTS=10000000 cargo test --release -p facelink --test fuzz -- --nocapture
//! ```

#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, FaceFrame,
    performer::Performance,
    take::llf_csv,
    wire::{
        face_cap,
        facelink1::{
            self,
            delta::{DeltaDecoder, DeltaEncoder},
        },
        float32, fmv3, json, llf, mocap_text, osc, sniff, vmc, vtube_studio,
    },
};

/// What one input may allocate at a time, beside four times its own length.
const BOUND: u64 = 128 * 1024;
/// A decoder's state is thrown away after this many inputs, so that some of them meet it fresh.
const FRESH: u64 = 4096;

/// Marsaglia's xorshift with a multiplier: small, fast, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        if end == 0 { 0 } else { (self.next() >> 33) as usize % end }
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

/// An input made from the seeds, into `input`.
fn mutate(random: &mut Random, seeds: &[Vec<u8>], input: &mut Vec<u8>) {
    input.clear();
    if random.below(32) == 0 {
        let len = random.below(600);
        input.extend((0..len).map(|_| random.next() as u8));
        return;
    }
    input.extend_from_slice(&seeds[random.below(seeds.len())]);
    for _ in 0..random.below(5) {
        let at = random.below(input.len());
        match random.below(9) {
            0 if !input.is_empty() => input[at] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[at] = random.next() as u8,
            2 => input.truncate(at),
            3 => {
                let end = (at + random.below(16)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let word = WORDS[random.below(WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            5 if input.len() >= at + 4 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let bytes = if random.below(2) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
                input[at..at + 4].copy_from_slice(&bytes);
            }
            6 => {
                // A part again, somewhere else.
                let end = (at + random.below(64)).min(input.len());
                let part = input[at..end].to_vec();
                let to = random.below(input.len());
                input.splice(to..to, part);
            }
            7 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let digits: Vec<usize> = (0..input.len()).filter(|place| input[*place].is_ascii_digit()).collect();
                if let Some(place) = digits.get(random.below(digits.len())) {
                    input[*place] = b'0' + random.below(10) as u8;
                }
            }
        }
    }
    input.truncate(65_507);
}

fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// Runs a decoder over its inputs. `make` gives one in its first state; it says whether an input was good.
fn fuzz<D: FnMut(&[u8]) -> bool>(name: &str, seeds: &[Vec<u8>], mut make: impl FnMut() -> D) {
    let inputs = setting("FACELINK_FUZZ_INPUTS", 20_000);
    let seed = setting("FACELINK_FUZZ_SEED", 1);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut decode = make();
    for seed in seeds {
        assert!(decode(seed), "{name}: a seed is refused: {}", String::from_utf8_lossy(seed));
    }
    let mut input = Vec::new();
    let (mut good, mut most, mut spent) = (0, 0, Duration::ZERO);
    for number in 0..inputs {
        if number % FRESH == 0 {
            decode = make();
        }
        mutate(&mut random, seeds, &mut input);
        let start = Instant::now();
        let mut taken = Ok(false);
        let counted = allocation_counter::measure(|| taken = catch_unwind(AssertUnwindSafe(|| decode(&input))));
        spent += start.elapsed();
        let Ok(taken) = taken else {
            panic!("{name}: input {number} of seed {seed} panicked: {input:02x?}");
        };
        good += u64::from(taken);
        most = most.max(counted.bytes_max);
        let bound = BOUND + 4 * input.len() as u64;
        assert!(counted.bytes_max <= bound, "{name}: input {number} of seed {seed} took {} bytes", counted.bytes_max);
    }
    let each = spent.as_nanos() as f64 / inputs.max(1) as f64;
    println!("{name:24} {inputs:>10} inputs, {good:>9} taken, at most {most:>7} bytes at a time, {each:>7.0} ns each");
}

fn frames() -> Vec<FaceFrame> {
    let performance = Performance::new(5);
    (0..4).map(|i| performance.frame_at(Duration::from_millis(700 * i))).collect()
}

#[test]
fn live_link_face() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, mut frame) in frames().into_iter().enumerate() {
        frame.tracked = number != 3;
        let mut out = Vec::new();
        let packet = llf::LlfPacket::new("FACE1111-0000-4000-8000-5EEDFACE0001", "iPhone", number as i32, frame);
        llf::encode(&packet, &llf::PROFILE, &mut out).expect("encodes");
        seeds.push(out);
    }
    fuzz("live_link_face", &seeds, || |bytes: &[u8]| llf::decode(bytes, &llf::PROFILE).is_ok());
}

#[test]
fn json_text() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for frame in frames() {
        let mut text = String::new();
        json::write_arkit_data(&mut text, &frame, Some("Ann"), Some(1.7e12));
        seeds.push(text.into_bytes());
    }
    seeds.push(br#"{"type":"viseme_data","viseme":"aa","weight":0.5,"duration":100}"#.to_vec());
    seeds.push(br#"{"blendshapes":{"jawOpen":0.5},"viseme":"PP","weight":1}"#.to_vec());
    fuzz("json", &seeds, || {
        let mut decoder = json::Decoder::default();
        move |bytes: &[u8]| {
            std::str::from_utf8(bytes).is_ok_and(|text| decoder.client(text).is_ok_and(|message| message.is_some()))
        }
    });
}

#[test]
fn vtube() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, mut frame) in frames().into_iter().enumerate() {
        frame.tracked = number != 3;
        let mut out = Vec::new();
        vtube_studio::encode(&frame, 1.7e12, &vtube_studio::PROFILE, &mut out).expect("encodes");
        seeds.push(out);
    }
    fuzz("vtube_studio", &seeds, || {
        let mut decoder = vtube_studio::Decoder::default();
        move |bytes: &[u8]| decoder.decode(bytes).is_ok()
    });
}

#[test]
fn open_sound_control() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for frame in frames() {
        vmc::encode(&frame, 1.5, &vmc::PROFILE, |datagram| seeds.push(datagram.to_vec()));
        for packet in face_cap::messages(&frame, &face_cap::PROFILE) {
            seeds.push(rosc::encoder::encode(&packet).expect("encodes"));
        }
    }
    fuzz("osc, vmc and face_cap", &seeds, || {
        let (mut vmc, mut face_cap) = (vmc::Decoder::new(), face_cap::Decoder::new());
        move |bytes: &[u8]| {
            let mut good = true;
            let read = osc::read(bytes, |message| {
                good &= vmc.take(message).is_ok() && face_cap.take(message).is_ok();
            });
            read.refused == 0 && good
        }
    });
}

#[test]
fn mocap() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    for (number, frame) in frames().into_iter().enumerate() {
        for dialect in [mocap_text::Dialect::V1, mocap_text::Dialect::V2, mocap_text::Dialect::Facemotion3d] {
            let mut out = Vec::new();
            let writer = mocap_text::Writer::new(dialect).shuffled(number as u64);
            writer.write(&frame, &mocap_text::PROFILE, &mut out).expect("writes");
            seeds.push(out);
        }
    }
    fuzz("mocap_text", &seeds, || {
        let mut decoder = mocap_text::Decoder::new();
        move |bytes: &[u8]| decoder.decode(bytes).is_ok()
    });
}

#[test]
fn mocap_binary() {
    use fmv3::{Encoding, Kind, Message, Part, Reassembler, Schema, Terms};
    let names = Blendshape::ALL.map(Blendshape::name);
    let schema = Schema::new(1, Terms::default(), "iFacialMocap", Encoding::I16, names).expect("a schema");
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let body = schema.body().expect("a body");
    let message = Message::new(Kind::Schema, 7).with_schema(1).with_body(&body);
    for part in 0..message.parts(fmv3::SCHEMA_DATAGRAM) {
        let mut out = Vec::new();
        message.write_part(fmv3::SCHEMA_DATAGRAM, part, &mut out);
        seeds.push(out);
    }
    for (number, frame) in (0..).zip(frames()) {
        let (mut body, mut out) = (Vec::new(), Vec::new());
        schema.encode(&frame, &fmv3::PROFILE, &mut body).expect("encodes");
        Message::new(Kind::Frame, 7).with_schema(1).with_sequence(number).with_body(&body).write(&mut out);
        seeds.push(out);
    }
    let start = Instant::now();
    fuzz("fmv3", &seeds, || {
        let (mut parts, mut schema, mut count) = (Reassembler::new(), None, 0);
        move |bytes: &[u8]| {
            count += 1;
            let now = start + Duration::from_millis(count);
            let Ok(part) = Part::read(bytes) else { return false };
            match parts.take(part, now) {
                Ok(Some((header, body))) if header.kind == Kind::Schema => match Schema::read(header.schema, &body) {
                    Ok(read) => {
                        schema = Some(read);
                        true
                    }
                    Err(_) => false,
                },
                Ok(Some((header, body))) if header.kind == Kind::Frame => {
                    schema.as_ref().is_none_or(|schema: &Schema| schema.decode(&header, &body).is_ok())
                }
                Ok(Some(_)) => fmv3::inspect(bytes).is_ok(),
                Ok(None) => true,
                Err(_) => false,
            }
        }
    });
}

#[test]
fn takes() {
    let head: String = Blendshape::ALL.iter().map(|shape| format!(",{}", shape.name())).collect();
    let row: String = Blendshape::ALL.iter().map(|_| ",0.25").collect();
    let take = format!("Timecode,BlendshapeCount{head}\n10:20:30:01.5,61{row}\n10:20:30:02.5,61{row}\n");
    fuzz("live_link_face csv", &[take.into_bytes()], || |bytes: &[u8]| llf_csv::decode(bytes).is_ok());
}

#[test]
fn floats() {
    let mut seeds = vec![Vec::new()];
    float32::encode_61(&frames()[1], &mut seeds[0]);
    seeds.push(seeds[0][..4 * 52].to_vec());
    fuzz("float32", &seeds, || |bytes: &[u8]| float32::decode(bytes, None).is_ok());
}

#[test]
fn compact() {
    let mut seeds: Vec<Vec<u8>> = Vec::new();
    let mut encoder = facelink1::Encoder::new();
    encoder.set_redundancy(2);
    for frame in frames() {
        let mut out = Vec::new();
        encoder.encode("Ann", &frame, facelink1::Clock::Unix, &mut out).expect("encodes");
        seeds.push(out);
    }
    fuzz("facelink1", &seeds, || {
        let mut decoder = facelink1::Decoder::new();
        move |bytes: &[u8]| decoder.decode(bytes, |_| {}).is_ok()
    });
}

#[test]
fn deltas() {
    let mut encoder = DeltaEncoder::new();
    let (mut plain, mut seeds) = (Vec::new(), Vec::new());
    for (i, frame) in (0_u32..).zip(frames()) {
        let mut frame = FaceFrame { sequence: Some(i.into()), ..frame };
        frame.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
        frame.channels.clear();
        frame.present = (1 << facelink::BLENDSHAPE_COUNT) - 1;
        let mut out = Vec::new();
        let delta = encoder.encode("Ann", &frame, facelink1::Clock::Own, &mut out).expect("encodes");
        encoder.acknowledge("Ann", i);
        if delta { &mut seeds } else { &mut plain }.push(out);
    }
    assert!(!seeds.is_empty());
    fuzz("deltas", &seeds, || {
        let (mut plain_decoder, mut decoder) = (facelink1::Decoder::new(), DeltaDecoder::new());
        for packet in &plain {
            plain_decoder.decode(packet, |face| decoder.note(&face)).expect("is good");
        }
        move |bytes: &[u8]| decoder.decode(bytes).is_ok()
    });
}

#[test]
fn what_it_looks_like() {
    let seeds = vec![b"#bundle\0".to_vec(), b"FMV3".to_vec(), b"{\"Timestamp\":1,\"Hotkey\":-1}".to_vec()];
    fuzz("sniff", &seeds, || |bytes: &[u8]| sniff::sniff(bytes).is_some());
}
