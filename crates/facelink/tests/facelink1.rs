//! `facelink1`: round trips, sizes, the example of the documentation, hostile bytes, and the JavaScript side.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    f32::consts::FRAC_1_SQRT_2,
    io::Write,
    ops::Not,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, Channel, EyeGaze, FaceFrame, Gaze, HeadPose,
    event::SubjectId,
    performer::Performance,
    relay::{Format, Output, Relay, RelaySettings, Source, Subscription},
    timing::LinkReport,
    wire::facelink1::{
        self, Clock, Decoder, EncodeError, Encoder, Face, Facelink1Error, MAX_CHANNELS, MAX_NAMES,
        delta::compact::{Acks, CompactDecoder, Received},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

const SCHEMA: [&str; 4] = ["jawOpen", "tailWag", "ohr_links_ä", "grin"];

fn decoded<'a>(decoder: &mut Decoder, bytes: &'a [u8]) -> Result<Vec<Face<'a>>, Facelink1Error> {
    let mut faces = Vec::new();
    decoder.decode(bytes, |face| faces.push(face))?;
    Ok(faces)
}

fn decode(bytes: &[u8]) -> Vec<Face<'_>> {
    decoded(&mut Decoder::new(), bytes).expect("a good packet")
}

fn refused(bytes: &[u8]) -> String {
    decoded(&mut Decoder::new(), bytes).expect_err("a bad packet").to_string()
}

fn encode(subject: &str, frame: &FaceFrame) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().encode(subject, frame, Clock::Unix, &mut out).expect("a good frame");
    out
}

fn channel(name: &str, value: f32) -> Channel {
    Channel { name: name.into(), value }
}

/// A frame of the synthetic performer, with a sequence number and a capture time in Unix time.
fn ordinary(number: u64) -> FaceFrame {
    let at = Duration::from_micros(number * 16_667);
    FaceFrame {
        sequence: Some(number),
        capture_time: Some(Duration::from_micros(1_700_000_000_000_000) + at),
        ..Performance::new(3).frame_at(at)
    }
}

/// Something in every field, each value a different one.
fn everything() -> FaceFrame {
    let mut frame = ordinary(70_000);
    frame.weights[3] = -0.75;
    frame.weights[4] = 1.5;
    frame.present &= !(1 << 7 | 1 << 50);
    frame.head =
        Some(HeadPose { rotation: [0.1, -0.7, 0.7, 0.1].map(|part: f32| part), position: Some([0.25, -31.5, 40.0]) });
    frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.3, pitch: -0.2 }, right: EyeGaze { yaw: -0.1, pitch: 0.05 } });
    frame.channels.extend([channel("tailWag", 0.5), channel("Ω unknown", -1.0), channel("grin", 2.0)]);
    frame
}

/// Angle between two rotations, radians; `f64`, since `acos` near 1 has no digits to lose.
fn angle(a: [f32; 4], b: [f32; 4]) -> f64 {
    let [a, b] = [a, b].map(|q| {
        let q = q.map(f64::from);
        let length = q.iter().map(|part| part * part).sum::<f64>().sqrt();
        q.map(|part| part / length)
    });
    let dot: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    let apart: f64 = a.iter().zip(b).map(|(a, b)| (a - b * dot.signum()).powi(2)).sum::<f64>().sqrt();
    4.0 * (apart / 2.0).asin()
}

/// The same frame but for quantisation.
fn assert_close(sent: &FaceFrame, got: &FaceFrame) {
    assert_eq!(sent.present, got.present);
    assert_eq!(sent.tracked, got.tracked);
    assert_eq!(sent.capture_time.map(|time| time.as_micros()), got.capture_time.map(|time| time.as_micros()));
    let given = |shape: &Blendshape| sent.has(*shape);
    let wide = Blendshape::ALL.iter().filter(|s| given(s)).any(|s| !(0.0..=1.0).contains(&sent.weights[s.index()]));
    let step = if wide { 1.0 / 21845.0 } else { 1.0 / 255.0 };
    for shape in Blendshape::ALL {
        let (sent, got) = (if given(&shape) { sent.weights[shape.index()] } else { 0.0 }, got.weights[shape.index()]);
        assert!((sent - got).abs() <= step / 2.0 + 1e-6, "{}: {sent} became {got}", shape.name());
        if [0.0, 1.0].contains(&sent) {
            assert_eq!(sent, got, "{}", shape.name());
        }
    }
    assert_eq!(sent.channels.len(), got.channels.len());
    for (sent, got) in sent.channels.iter().zip(&got.channels) {
        assert_eq!(sent.name, got.name);
        assert!((sent.value - got.value).abs() <= 0.5 / 21845.0 + 1e-6, "{}", sent.name);
    }
    assert_eq!(sent.head.is_some(), got.head.is_some());
    if let (Some(sent), Some(got)) = (sent.head, got.head) {
        assert!(angle(sent.rotation, got.rotation) < 0.0002, "{:?} became {:?}", sent.rotation, got.rotation);
        let length: f32 = got.rotation.iter().map(|part| part * part).sum::<f32>().sqrt();
        assert!((length - 1.0).abs() < 1e-6);
        assert_eq!(sent.position.is_some(), got.position.is_some());
        for (sent, got) in sent.position.iter().flatten().zip(got.position.iter().flatten()) {
            assert!((sent.clamp(-32.0, 32.0) - got).abs() <= 0.000_501, "{sent} m became {got} m");
        }
    }
    assert_eq!(sent.gaze.is_some(), got.gaze.is_some());
    let angles = |gaze: Gaze| [gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch];
    for (sent, got) in sent.gaze.map(angles).iter().flatten().zip(got.gaze.map(angles).iter().flatten()) {
        assert!((sent - got).abs() <= 0.5 / 8192.0 + 1e-6, "{sent} rad became {got} rad");
    }
}

fn assert_sane(face: &Face<'_>) {
    let frame = &face.frame;
    assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
    assert!(frame.channels.iter().all(|channel| (-1.0..=2.0).contains(&channel.value)));
    assert!(frame.channels.len() <= MAX_CHANNELS);
    assert!(frame.present < 1 << 52);
    if let Some(head) = &frame.head {
        let length: f32 = head.rotation.iter().map(|part| part * part).sum();
        assert!((length - 1.0).abs() < 1e-4, "{:?}", head.rotation);
        assert!(head.position.iter().flatten().all(|metres| metres.abs() < 33.0));
    }
    for eye in frame.gaze.iter().flat_map(|gaze| [gaze.left, gaze.right]) {
        assert!(eye.yaw.abs() <= 4.0 && eye.pitch.abs() <= 4.0);
    }
    assert_eq!(frame.capture_time.is_some(), face.clock.is_some());
    assert!(frame.sequence.is_some_and(|sequence| sequence <= u32::MAX.into()));
}

// ---- sizes -------------------------------------------------------------------

#[test]
fn facelink1_typical_face_has_documented_size() {
    let frame = ordinary(1000);
    assert!(frame.is_complete() && frame.head.is_some() && frame.gaze.is_some());
    assert_eq!(encode("", &frame).len(), 82);
    let mut at = frame.clone();
    at.head = at.head.map(|head| HeadPose { position: Some([0.0, 0.1, -0.4]), ..head });
    assert_eq!(encode("", &at).len(), 88);
    assert_eq!(encode("Ann", &frame).len(), 82 + 4);

    for (repeated, with_head, with_position) in [(0, 82, 88), (1, 155, 167), (2, 228, 246), (3, 301, 325)] {
        for (position, expected) in [(None, with_head), (Some([0.0, 0.1, -0.4]), with_position)] {
            let mut encoder = Encoder::new();
            encoder.set_redundancy(repeated);
            let mut out = Vec::new();
            for number in 0..6 {
                let mut frame = ordinary(number);
                frame.head = frame.head.map(|head| HeadPose { position, ..head });
                out.clear();
                encoder.encode("", &frame, Clock::Unix, &mut out).unwrap();
            }
            assert_eq!(out.len(), expected, "{repeated} repeated, position {position:?}");
        }
    }
}

#[test]
fn facelink1_absent_fields_cost_nothing() {
    let bare = FaceFrame { tracked: false, ..FaceFrame::default() };
    let bytes = encode("", &bare);
    assert_eq!(bytes.len(), 1 + 1 + 2 + 4 + 7, "magic, count, flags, sequence, an empty mask");
    let [face] = &decode(&bytes)[..] else { panic!("one face") };
    assert_eq!(face.frame, FaceFrame { sequence: Some(0), ..bare });
    assert_eq!((face.subject, face.clock, face.repeated), ("", None, false));

    let mut jaw = FaceFrame::default();
    jaw.set(Blendshape::JawOpen, 1.0);
    assert_eq!(encode("", &jaw).len(), 16);
    let mut wide = ordinary(1);
    wide.weights[0] = -0.001;
    assert_eq!(encode("", &wide).len(), 82 + 52);
}

// ---- the example of the documentation -----------------------------------------

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hexadecimal digits"))
        .collect()
}

/// The two frames of the example.
fn example() -> [FaceFrame; 2] {
    let mut before = FaceFrame::default();
    before.set(Blendshape::EyeBlinkLeft, 1.0);
    before.set(Blendshape::JawOpen, 0.25);
    before.sequence = Some(41);
    before.capture_time = Some(Duration::from_micros(1_700_000_000_000_000));
    let mut now = before.clone();
    now.set(Blendshape::JawOpen, 0.5);
    now.sequence = Some(42);
    now.capture_time = Some(Duration::from_micros(1_700_000_000_016_667));
    now.head = Some(HeadPose { rotation: [0.0, 0.6, 0.0, 0.8], position: Some([0.0, 0.05, -0.4]) });
    now.gaze = Some(Gaze { left: EyeGaze { yaw: 0.25, pitch: -0.125 }, right: EyeGaze { yaw: 0.125, pitch: 0.0 } });
    now.channels.push(channel("grin", 1.0));
    [before, now]
}

fn example_bytes() -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.set_redundancy(1);
    let mut out = Vec::new();
    for frame in example() {
        out.clear();
        encoder.encode("Ann", &frame, Clock::Unix, &mut out).expect("the example");
    }
    out
}

#[test]
fn facelink1_documented_example_is_written() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/wire-facelink1.md"));
    let page = page.unwrap();
    let block = page.split("```hex\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    // Each line: bytes, then two spaces or more, then what they are.
    let hex: String = block.lines().map(|line| line.split("  ").next().unwrap_or_default()).collect();
    let bytes = unhex(&hex);
    let shown = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    assert_eq!(shown(&bytes), shown(&example_bytes()));
    assert!(page.contains(&format!("{} bytes", bytes.len())), "the page gives the example's size");

    let faces = decode(&bytes);
    let [before, now] = &faces[..] else { panic!("{faces:?}") };
    assert!(before.repeated && !now.repeated);
    for (sent, face) in example().iter().zip([before, now]) {
        assert_eq!((face.subject, face.clock), ("Ann", Some(Clock::Unix)));
        assert_eq!(face.frame.sequence, sent.sequence);
        assert_close(sent, &face.frame);
    }
}

// ---- sequence, time, redundancy -------------------------------------------------

#[test]
fn facelink1_frames_without_sequence_are_counted_by_subject() {
    let mut encoder = Encoder::new();
    let frame = |sequence| FaceFrame { sequence, ..FaceFrame::neutral() };
    let mut sent = |subject: &str, sequence| {
        let mut out = Vec::new();
        encoder.encode(subject, &frame(sequence), Clock::Own, &mut out).unwrap();
        decode(&out)[0].frame.sequence
    };
    assert_eq!([sent("a", None), sent("b", None), sent("a", None)], [Some(0), Some(0), Some(1)]);
    assert_eq!([sent("a", Some(u64::from(u32::MAX))), sent("a", None)], [Some(u64::from(u32::MAX)), Some(0)], "wraps");
    assert_eq!([sent("b", Some((7 << 32) + 9)), sent("b", None)], [Some(9), Some(10)], "the low 32 bits");
    encoder.forget("b");
    let mut out = Vec::new();
    encoder.encode("b", &frame(None), Clock::Own, &mut out).unwrap();
    assert_eq!(decode(&out)[0].frame.sequence, Some(0));
}

#[test]
fn facelink1_encoder_subjects_are_bounded() {
    let mut encoder = Encoder::new();
    encoder.set_redundancy(3);
    let frame = FaceFrame::neutral();
    let mut out = Vec::new();
    for number in 0..2000 {
        for subject in ["always here", &format!("guest {number}")] {
            out.clear();
            encoder.encode(subject, &frame, Clock::Unix, &mut out).unwrap();
        }
    }
    out.clear();
    encoder.encode("always here", &frame, Clock::Unix, &mut out).unwrap();
    assert_eq!(decode(&out).last().unwrap().frame.sequence, Some(2000));
    out.clear();
    encoder.encode("guest 0", &frame, Clock::Unix, &mut out).unwrap();
    assert_eq!(decode(&out).last().unwrap().frame.sequence, Some(0), "forgotten, and begins anew");
}

#[test]
fn facelink1_lost_packet_is_recovered_from_the_next() {
    for lost in 1..=3_u8 {
        let mut encoder = Encoder::new();
        encoder.set_redundancy(lost);
        let sent: Vec<FaceFrame> = (0..240).map(|number| ordinary(u64::from(u32::MAX) - 100 + number)).collect();
        let mut got = Vec::new();
        let mut decoder = Decoder::new();
        for (number, frame) in sent.iter().enumerate() {
            let mut out = Vec::new();
            encoder.encode("Ann", frame, Clock::Unix, &mut out).unwrap();
            // Every gap as long as the redundancy covers.
            if number % (usize::from(lost) + 1) != usize::from(lost) {
                continue;
            }
            let faces = decoded(&mut decoder, &out).unwrap();
            assert_eq!(faces.iter().map(|face| face.repeated).filter(|repeated| *repeated).count(), usize::from(lost));
            got.extend(faces.into_iter().map(|face| face.frame));
        }
        assert_eq!(got.len(), sent.len());
        for (sent, got) in sent.iter().zip(&got) {
            assert_eq!(got.sequence, sent.sequence.map(|sequence| sequence & 0xffff_ffff));
            assert_close(sent, got);
        }
    }
}

#[test]
fn facelink1_redundancy_too_far_back_is_left_out() {
    let mut encoder = Encoder::new();
    encoder.set_redundancy(3);
    let mut sent = |sequence, micros: Option<u64>, clock| {
        let frame = FaceFrame {
            sequence: Some(sequence),
            capture_time: micros.map(Duration::from_micros),
            ..FaceFrame::neutral()
        };
        let mut out = Vec::new();
        encoder.encode("", &frame, clock, &mut out).unwrap();
        let faces = decode(&out);
        let last = faces.last().unwrap();
        assert!(!last.repeated && last.frame.sequence == Some(sequence));
        faces.iter().map(|face| (face.frame.sequence.unwrap(), face.clock.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(sent(10, Some(1_000_000), Clock::Own), [(10, true)]);
    assert_eq!(sent(265, Some(2_000_000), Clock::Own), [(10, true), (265, true)]);
    assert_eq!(sent(266, Some(3_000_000), Clock::Own), [(265, true), (266, true)], "256 frames back");
    assert_eq!(sent(266, Some(3_000_000), Clock::Own), [(265, true), (266, true)], "the same once more");
    assert_eq!(sent(260, Some(4_000_000), Clock::Own), [(260, true)], "the sender has begun anew");
    assert_eq!(sent(261, Some(3_900_000), Clock::Own), [(261, true)], "its clock went back");
    assert_eq!(sent(262, Some(4_000_000), Clock::Unix), [(262, true)], "another clock");
    assert_eq!(sent(263, None, Clock::Unix), [(263, false)], "no time any more");
    assert_eq!(sent(264, Some(1 << 40), Clock::Unix), [(263, false), (264, true)], "262 was too long ago");
    assert_eq!(sent(270, Some(1 << 40), Clock::Unix), [(263, false), (264, true), (270, true)]);
    assert_eq!(sent(268, Some(1 << 40), Clock::Unix), [(263, false), (264, true), (268, true)], "out of order");
    assert_eq!(sent(271, Some(1 << 40), Clock::Unix), [(264, true), (268, true), (271, true)], "270 would be");
}

#[test]
fn facelink1_capture_times_keep_clock_and_microseconds() {
    for (time, clock) in [
        (Duration::ZERO, Clock::Own),
        (Duration::from_micros(u64::MAX), Clock::Unix),
        (Duration::from_nanos(1_700_000_000_123_456_789), Clock::Unix),
    ] {
        let frame = FaceFrame { capture_time: Some(time), ..FaceFrame::neutral() };
        let mut out = Vec::new();
        Encoder::new().encode("", &frame, clock, &mut out).unwrap();
        let faces = decode(&out);
        assert_eq!(faces[0].clock, Some(clock));
        assert_eq!(faces[0].frame.capture_time.unwrap().as_micros(), time.as_micros());
    }
}

// ---- several faces, channels, schema --------------------------------------------

#[test]
fn facelink1_subjects_share_a_packet() {
    let names: Vec<String> = (0..32).map(|number| format!("face {number}")).collect();
    let frames: Vec<FaceFrame> = (0..32).map(|number| ordinary(number * 100)).collect();
    let mut encoder = Encoder::new();
    encoder.set_redundancy(1);
    let mut out = b"before".to_vec();
    let faces: Vec<(&str, &FaceFrame)> = names.iter().map(String::as_str).zip(&frames).collect();
    encoder.encode_many(&faces, Clock::Unix, &mut out).unwrap();
    assert_eq!(&out[..6], b"before", "appends");
    out.clear();
    let next: Vec<FaceFrame> = (0..32).map(|number| ordinary(number * 100 + 1)).collect();
    let faces: Vec<(&str, &FaceFrame)> = names.iter().map(String::as_str).zip(&next).collect();
    encoder.encode_many(&faces, Clock::Unix, &mut out).unwrap();
    let got = decode(&out);
    assert_eq!(got.len(), 64);
    for (number, pair) in got.chunks(2).enumerate() {
        assert!(pair[0].repeated && !pair[1].repeated);
        assert!(pair.iter().all(|face| face.subject == names[number]));
        assert_close(&frames[number], &pair[0].frame);
        assert_close(&next[number], &pair[1].frame);
    }
    let too_many = vec![("", &frames[0]); 33];
    assert_eq!(encoder.encode_many(&too_many, Clock::Unix, &mut out), Err(EncodeError::Count(33)));
    assert_eq!(encoder.encode_many(&[], Clock::Unix, &mut out), Err(EncodeError::Count(0)));
}

#[test]
fn facelink1_channels_by_name_or_schema_index() {
    let frame = everything();
    let by_name = encode("", &frame);
    let names =
        |face: &Face<'_>| face.frame.channels.iter().map(|channel| channel.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&decode(&by_name)[0]), ["tailWag", "Ω unknown", "grin"], "stands alone");

    let mut encoder = Encoder::new();
    encoder.set_schema(&SCHEMA).unwrap();
    let mut by_place = Vec::new();
    encoder.encode("", &frame, Clock::Unix, &mut by_place).unwrap();
    assert_eq!(by_place.len(), by_name.len() - ("tailWag".len() + 1) - ("grin".len() + 1) + 2);
    let mut decoder = Decoder::new();
    let refusal = "faces[0].channels.schema is of another schema than this connection has sent";
    assert_eq!(decoded(&mut decoder, &by_place).unwrap_err().to_string(), refusal);
    decoder.set_schema(&["jawOpen", "grin", "ohr_links_ä", "tailWag"]).unwrap();
    assert_eq!(decoded(&mut decoder, &by_place).unwrap_err().to_string(), refusal, "same names, other order");
    decoder.set_schema(&SCHEMA).unwrap();
    assert!(decoder.set_schema(&["a", "a"]).is_err(), "and keeps the one before");
    let faces = decoded(&mut decoder, &by_place).unwrap();
    assert_eq!(names(&faces[0]), ["tailWag", "Ω unknown", "grin"]);
    assert_close(&frame, &faces[0].frame);

    // A name that is in the schema twice over, as a shape and as a spelling of it, is taken for the shape.
    let shape = FaceFrame {
        channels: [channel("jawOpen", 1.0), channel("grin", 0.0)].into_iter().collect(),
        ..FaceFrame::default()
    };
    by_place.clear();
    encoder.encode("", &shape, Clock::Unix, &mut by_place).unwrap();
    for bytes in [by_place, encode("", &shape)] {
        let faces = decoded(&mut decoder, &bytes).unwrap();
        assert_eq!(faces[0].frame.get(Blendshape::JawOpen), Some(1.0));
        assert_eq!(names(&faces[0]), ["grin"]);
    }
}

#[test]
fn facelink1_names_of_a_connection_are_bounded() {
    let mut decoder = Decoder::new();
    let packet = |names: std::ops::Range<usize>| {
        let channels = names.map(|number| channel(&format!("c{number}"), 0.5)).collect();
        encode("", &FaceFrame { channels, ..FaceFrame::default() })
    };
    for from in (0..MAX_NAMES - 2).step_by(10) {
        decoded(&mut decoder, &packet(from..(from + 10).min(MAX_NAMES - 2))).unwrap();
    }
    assert!(!decoder.is_full());
    let refused = decoded(&mut decoder, &packet(MAX_NAMES - 2..MAX_NAMES + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "faces[0].channels.name: more than 512 different names on one connection");
    assert!(!decoder.is_full(), "a bad packet changes nothing");
    decoded(&mut decoder, &packet(MAX_NAMES - 2..MAX_NAMES)).unwrap();
    assert!(decoder.is_full());
    decoded(&mut decoder, &packet(0..20)).unwrap();
    assert!(decoded(&mut decoder, &packet(600..601)).is_err());
}

// ---- refused packets ---------------------------------------------------------------

#[test]
fn facelink1_failed_encode_changes_nothing() {
    let good = FaceFrame::neutral();
    let bad = |change: &dyn Fn(&mut FaceFrame)| {
        let mut frame = everything();
        change(&mut frame);
        frame
    };
    let long = "x".repeat(129);
    let cases: Vec<(&str, FaceFrame, &str)> = vec![
        (&long, good.clone(), "subject is a name longer than 128 bytes"),
        ("a\nb", good.clone(), "subject is a name with control characters"),
        ("", bad(&|f| f.weights[17] = f32::NAN), "jawOpen is not a finite number"),
        ("", bad(&|f| f.weights[17] = f32::INFINITY), "jawOpen is not a finite number"),
        ("", bad(&|f| f.head.as_mut().unwrap().rotation[1] = f32::NAN), "head.rotation is not a finite number"),
        (
            "",
            bad(&|f| f.head.as_mut().unwrap().rotation = [0.0; 4]),
            "head.rotation must be a quaternion [x, y, z, w] of length 1",
        ),
        (
            "",
            bad(&|f| f.head.as_mut().unwrap().position = Some([0.0, f32::NAN, 0.0])),
            "head.position is not a finite number",
        ),
        ("", bad(&|f| f.gaze.as_mut().unwrap().right.pitch = f32::NEG_INFINITY), "gaze is not a finite number"),
        ("", bad(&|f| f.channels[1].value = f32::NAN), "Ω unknown is not a finite number"),
        ("", bad(&|f| f.channels[1].name = "".into()), "channel is an empty name"),
        ("", bad(&|f| f.capture_time = Some(Duration::MAX)), "capture_time is beyond 2^64 microseconds"),
        (
            "",
            bad(&|f| f.channels = (0..257).map(|n| channel(&n.to_string(), 0.0)).collect()),
            "257 channels, at most 256 go into a frame",
        ),
    ];
    let mut encoder = Encoder::new();
    let mut out = vec![1, 2, 3];
    for (subject, frame, expected) in &cases {
        let error = encoder.encode_many(&[("ok", &good), (subject, frame)], Clock::Unix, &mut out).unwrap_err();
        assert_eq!(&error.to_string(), expected);
        assert_eq!(out, [1, 2, 3]);
    }
    let named = "n".repeat(120);
    let huge = bad(&|f| f.channels = (0..256).map(|n| channel(&format!("{named}{n}"), 0.0)).collect());
    assert!(matches!(encoder.encode_many(&[("", &huge); 3], Clock::Unix, &mut out), Err(EncodeError::TooLarge(_))));
    encoder.encode("ok", &good, Clock::Unix, &mut out).unwrap();
    assert_eq!(decode(&out[3..])[0].frame.sequence, Some(0), "no refused frame was counted");

    let ungiven = FaceFrame { weights: [f32::NAN; 52], present: 0, ..FaceFrame::default() };
    assert_eq!(decode(&encode("", &ungiven))[0].frame.weights, [0.0; 52], "what is not given is not looked at");
}

#[test]
fn facelink1_refused_packet_names_field() {
    assert_eq!(refused(b""), "the packet ends within magic");
    assert_eq!(refused(b"{}"), "magic is 0x7b, expected 0xf1");
    assert_eq!(refused(&[0xf1]), "the packet ends within count");
    assert_eq!(refused(&[0xf1, 0]), "count is 0, expected 1 to 32 faces");
    assert_eq!(refused(&[0xf1, 33]), "count is 33, expected 1 to 32 faces");
    assert_eq!(refused(&vec![0xf1; 65537]), "packet of 65537 bytes is larger than the 65536 that are read");

    let good = example_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        refused(&bytes)
    };
    let end = good.len();
    assert_eq!(refused(&[&good[..], &[0]].concat()), "the packet goes on after the last face");
    assert_eq!(refused(&good[..end - 1]), "the packet ends within faces[0].repeated[0].weights");
    assert_eq!(refused(&good[..12]), "the packet ends within faces[0].time");
    assert_eq!(with(3, 0xff), "faces[0].flags hold a bit that this version does not know");
    assert_eq!(with(4, 0), "faces[0].subject is an empty name");
    assert_eq!(with(4, 129), "the packet ends within faces[0].subject");
    assert_eq!(with(5, 0xff), "faces[0].subject is not UTF-8");
    assert_eq!(with(5, 7), "faces[0].subject is a name with control characters");
    assert_eq!(with(26, 0x10), "faces[0].mask names a shape beyond the 52");
    let mut spun = good.clone();
    spun[29..35].copy_from_slice(&[0xff, 0x7f, 0xff, 0x7f, 0xff, 0x7f]);
    assert_eq!(refused(&spun), "faces[0].head.rotation is no unit quaternion");
    assert_eq!(with(49, 0), "faces[0].channels.count is not 1 to 256");
    assert_eq!(with(50, 1), "faces[0].channels.key is beyond the schema's names");
    assert_eq!(with(59, 0x80), "faces[0].repeated[0].flags hold a bit that a repeated frame does not have");
    assert_eq!(with(58, 0x64), "faces[0].repeated[0].flags speak of a head that is not there");
    assert_eq!(
        with(60, 0),
        "faces[0].repeated[0].distance must fall from one repeated frame to the next, and is never 0"
    );
    let mut early = good.clone();
    early[12..20].fill(0);
    assert_eq!(
        refused(&early),
        "faces[0].repeated[0].delta reaches back beyond the zero of the clock, or the face has no time"
    );
    let mut varint = good[..49].to_vec();
    varint.extend([0x80, 0x00]);
    assert_eq!(refused(&varint), "faces[0].channels.count is not written in the shortest way, in at most two bytes");
}

/// Packets that hold every field between them.
fn packets() -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new();
    encoder.set_redundancy(3);
    encoder.set_schema(&SCHEMA).expect("a good schema");
    let (mut plain, everything) = (FaceFrame::neutral(), everything());
    plain.channels.push(channel("grin", 0.5));
    let mut packets = vec![encode("", &ordinary(5)), example_bytes()];
    for number in 0..4 {
        let mut out = Vec::new();
        let mut frame = everything.clone();
        frame.sequence = Some(number);
        encoder.encode_many(&[("Ann", &frame), ("", &plain)], Clock::Own, &mut out).expect("good frames");
        if number == 3 {
            packets.push(out);
        }
    }
    packets
}

#[test]
fn facelink1_truncated_or_corrupted_packet_never_panics() {
    let try_one = |bytes: &[u8]| {
        let mut decoder = Decoder::new();
        decoder.set_schema(&SCHEMA).unwrap();
        let mut called = 0;
        let mut result = Ok(());
        let used = allocation_counter::measure(|| {
            result = decoder.decode(bytes, |face| {
                called += 1;
                assert_sane(&face);
            });
        });
        assert!(used.count_total <= 64 && used.bytes_max <= 16 * 1024, "{used:?} for {bytes:02x?}");
        assert!(result.is_ok() || called == 0, "{result:?} after {called} faces");
        result
    };
    for packet in packets() {
        try_one(&packet).unwrap();
        for end in 0..packet.len() {
            assert!(try_one(&packet[..end]).is_err(), "{end} of {} bytes", packet.len());
        }
        for at in 0..packet.len() {
            for flip in 1..=255 {
                let mut bytes = packet.clone();
                bytes[at] ^= flip;
                let _ = try_one(&bytes);
            }
        }
    }
}

/// SplitMix64: random enough, the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

#[test]
fn facelink1_million_random_inputs_never_panic() {
    let mut random = Random(20_261_123);
    let seeds = packets();
    let mut decoder = Decoder::new();
    decoder.set_schema(&SCHEMA).unwrap();
    let (mut good, mut bytes) = (0_u32, Vec::new());
    for round in 0..1_000_000 {
        bytes.clear();
        if round % 2 == 0 {
            bytes.extend((0..random.below(96)).map(|_| random.next() as u8));
            // Mostly past the first two bytes; the flags are often few.
            if round % 20 != 0 && bytes.len() > 3 {
                bytes[0] = 0xf1;
                bytes[1] = 1 + bytes[1] % 2;
                bytes[3] &= 0x3f;
            }
        } else {
            bytes.extend(&seeds[random.below(seeds.len())]);
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len().min(40));
                bytes[at] ^= 1 << random.below(8);
            }
            if random.below(4) == 0 {
                bytes.truncate(random.below(bytes.len() + 1));
            }
        }
        let mut called = false;
        let result = decoder.decode(&bytes, |face| {
            called = true;
            assert_sane(&face);
        });
        assert_eq!(result.is_ok(), called, "{bytes:02x?}");
        good += u32::from(called);
    }
    assert!((50_000..950_000).contains(&good), "{good} were good: both outcomes were tried");
}

// ---- no allocation -------------------------------------------------------------------

#[test]
fn facelink1_frame_allocates_nothing() {
    let frames: Vec<FaceFrame> = (0..200)
        .map(|number| {
            let mut frame = ordinary(number);
            frame.channels.extend([channel("tailWag", 0.5), channel("not in the schema", 0.25)]);
            frame
        })
        .collect();
    let mut encoder = Encoder::new();
    encoder.set_redundancy(3);
    encoder.set_schema(&SCHEMA).unwrap();
    let mut decoder = Decoder::new();
    decoder.set_schema(&SCHEMA).unwrap();
    let mut out = Vec::new();
    let mut seen = 0;
    let mut run = |frames: &[FaceFrame]| {
        for frame in frames {
            out.clear();
            encoder.encode_many(&[("", frame), ("Ann", frame)], Clock::Unix, &mut out).unwrap();
            decoder.decode(&out, |face| seen += usize::from(face.frame.is_complete())).unwrap();
        }
    };
    run(&frames[..10]);
    assert_eq!(allocation_counter::measure(|| run(&frames[10..])).count_total, 0);
    assert_eq!(seen, 2 * (200 * 4 - 1 - 2 - 3));
}

// ---- round trips ------------------------------------------------------------------------

fn any_frame() -> impl Strategy<Value = FaceFrame> {
    let weights = prop_oneof![
        proptest::collection::vec(0.0_f32..=1.0, 52),
        proptest::collection::vec(-1.0_f32..=2.0, 52),
        proptest::collection::vec(prop_oneof![Just(0.0_f32), Just(1.0), Just(2.0), Just(-1.0), Just(0.5)], 52),
    ];
    let mask = prop_oneof![Just((1_u64 << 52) - 1), 0..1_u64 << 52];
    let part = || prop_oneof![-1.0_f32..=1.0, Just(0.0), Just(FRAC_1_SQRT_2), Just(0.5)];
    let rotation = [part(), part(), part(), part()].prop_filter_map("a turn", |q| {
        let length = q.iter().map(|part| part * part).sum::<f32>().sqrt();
        (length > 0.1).then(|| q.map(|part| part / length))
    });
    let position = proptest::option::of([-40.0_f32..40.0, -1.0_f32..1.0, -33.0_f32..33.0]);
    let head =
        proptest::option::of((rotation, position).prop_map(|(rotation, position)| HeadPose { rotation, position }));
    let eye = || (-3.9_f32..3.9, -3.9_f32..3.9).prop_map(|(yaw, pitch)| EyeGaze { yaw, pitch });
    let gaze = proptest::option::of((eye(), eye()).prop_map(|(left, right)| Gaze { left, right }));
    let name = prop_oneof![Just("tailWag".to_owned()), Just("grin".to_owned()), "[a-zäΩ]{1,20}"];
    let channels = proptest::collection::btree_map(name, -1.0_f32..=2.0, 0..12).prop_map(|channels| {
        let channels = channels.into_iter().filter(|(name, _)| Blendshape::from_any_name(name).is_none());
        channels.map(|(name, value)| channel(&name, value)).collect()
    });
    let time = proptest::option::of(any::<u64>().prop_map(Duration::from_micros));
    let sequence = proptest::option::of(any::<u64>());
    (weights, mask, channels, head, gaze, any::<bool>(), time, sequence).prop_map(
        |(weights, present, channels, head, gaze, tracked, capture_time, sequence)| {
            let mut frame =
                FaceFrame { present, channels, head, gaze, tracked, capture_time, sequence, ..FaceFrame::default() };
            frame.weights.copy_from_slice(&weights);
            frame
        },
    )
}

proptest! {
    #[test]
    fn facelink1_round_trips(
        frames in proptest::collection::vec((any_frame(), "[a-z ]{0,9}"), 1..6),
        redundancy in 0_u8..=3,
        with_schema in any::<bool>(),
        own in any::<bool>(),
    ) {
        let clock = if own { Clock::Own } else { Clock::Unix };
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        encoder.set_redundancy(redundancy);
        if with_schema {
            encoder.set_schema(&SCHEMA).unwrap();
            decoder.set_schema(&SCHEMA).unwrap();
        }
        for _ in 0..2 {
            let faces: Vec<(&str, &FaceFrame)> = frames.iter().map(|(frame, name)| (name.as_str(), frame)).collect();
            let mut out = Vec::new();
            encoder.encode_many(&faces, clock, &mut out).unwrap();
            let got = decoded(&mut decoder, &out).unwrap();
            got.iter().for_each(assert_sane);
            let fresh: Vec<&Face<'_>> = got.iter().filter(|face| !face.repeated).collect();
            prop_assert_eq!(fresh.len(), frames.len());
            for ((sent, name), face) in frames.iter().zip(fresh) {
                prop_assert_eq!(face.subject, name);
                prop_assert_eq!(face.clock, sent.capture_time.map(|_| clock));
                if let Some(sequence) = sent.sequence {
                    prop_assert_eq!(face.frame.sequence, Some(sequence & 0xffff_ffff));
                }
                assert_close(sent, &face.frame);
                // What was decoded is on the grid: another round trip is exact, but for the turn's last bit.
                let again = encode("", &face.frame);
                let again = decode(&again);
                prop_assert_eq!(&again[0].frame.weights, &face.frame.weights);
                prop_assert_eq!(&again[0].frame.gaze, &face.frame.gaze);
                prop_assert_eq!(&again[0].frame.channels, &face.frame.channels);
            }
        }
    }
}

// ---- JavaScript ---------------------------------------------------------------------------

fn wide(value: f32) -> Value {
    json!(f64::from(value))
}

/// A frame as the JavaScript side has it. Numbers are written as `f64`, which `f32` fits into exactly.
fn to_js(frame: &FaceFrame, sequence: u64) -> Value {
    let given = Blendshape::ALL.into_iter().filter(|shape| frame.has(*shape));
    let mut shapes: serde_json::Map<String, Value> =
        given.map(|shape| (shape.name().to_owned(), wide(frame.weights[shape.index()]))).collect();
    shapes.extend(frame.channels.iter().map(|channel| (channel.name.to_string(), wide(channel.value))));
    let mut js = json!({ "sequence": sequence, "tracked": frame.tracked, "blendshapes": shapes });
    if let Some(time) = frame.capture_time {
        js["captureTime"] = json!(u64::try_from(time.as_micros()).expect("a time of the tests"));
    }
    if let Some(head) = &frame.head {
        js["head"] = json!({ "rotation": head.rotation.map(wide) });
        if let Some(position) = head.position {
            js["head"]["position"] = json!(position.map(wide));
        }
    }
    if let Some(gaze) = &frame.gaze {
        let eye = |eye: EyeGaze| json!({ "yaw": wide(eye.yaw), "pitch": wide(eye.pitch) });
        js["gaze"] = json!({ "left": eye(gaze.left), "right": eye(gaze.right) });
    }
    js
}

fn face_to_js(face: &Face<'_>) -> Value {
    let mut js = to_js(&face.frame, face.frame.sequence.expect("always there"));
    js["subject"] = json!(face.subject);
    js["repeated"] = json!(face.repeated);
    if let Some(clock) = face.clock {
        js["clock"] = json!(if clock == Clock::Own { "own" } else { "unix" });
    }
    js
}

/// JSON numbers as floats, -0 as 0: `1` and `1.0` are the same to JavaScript. What is not whole was an `f32`, and becomes
/// that again, since `serde_json` reads an `f64` only to its last bit but one.
fn plain(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(whole) if whole.fract() == 0.0 => json!(whole + 0.0),
            other => json!(other.map(|value| f64::from(value as f32))),
        },
        Value::Array(values) => values.into_iter().map(plain).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, plain(value))).collect(),
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Gives each line of `input` to `each` in `node` with the module; `None` where there is no node.
fn node(each: &str, input: &[Value]) -> Option<Vec<Value>> {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../facelink-net/web");
    let (module, delta) = (web.join("facelink.js"), web.join("delta.js"));
    // By a data URL: an older node takes a `.js` file outside a package for no ES module.
    let script = format!(
        "import {{ readFileSync }} from 'node:fs';
        const load = (file) => import('data:text/javascript,' + encodeURIComponent(readFileSync(file, 'utf8')));
        const {{ encodeFacelink1, decodeFacelink1 }} = await load({module:?});
        const {{ CompactDecoder }} = await load({delta:?});
        const hex = (bytes) => Buffer.from(bytes).toString('hex');
        const each = {each};
        const lines = readFileSync(0, 'utf8').split('\\n').filter(Boolean);
        console.log(lines.map((line) => JSON.stringify(each(JSON.parse(line)))).join('\\n'));"
    );
    let child = Command::new("node")
        .args(["--input-type=module", "-e", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var("CI").is_ok_and(|ci| ci == "true").not(), "CI needs node: {error}");
            eprintln!("skipped: no node here ({error})");
            return None;
        }
    };
    let lines: String = input.iter().map(|value| format!("{value}\n")).collect();
    let mut stdin = child.stdin.take().expect("piped");
    // On a thread of its own: it might fill one pipe while the other is full.
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().expect("node ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "node failed: {errors}");
    writer.join().expect("the writer ends").expect("node reads all");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("node answers in JSON")).collect())
}

#[test]
fn facelink1_javascript_writes_and_reads_same_bytes() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut cases = Vec::new();
    let mut packets = Vec::new();
    for number in 0..300_u64 {
        let redundancy = (number % 4) as u8;
        let clock = if number % 3 == 0 { Clock::Own } else { Clock::Unix };
        let schema: &[&str] = if number % 5 < 2 { &SCHEMA } else { &[] };
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        encoder.set_redundancy(redundancy);
        encoder.set_schema(schema).unwrap();
        decoder.set_schema(schema).unwrap();
        let names: &[&str] = [&[""][..], &["Ann"], &["", "Zoë", "名前"]][(number % 3) as usize];
        let mut history: Vec<Vec<Value>> = vec![Vec::new(); names.len()];
        let mut micros = 1_700_000_000_000_000 + number * 777_777;
        for step in 0..4_u64 {
            let frames: Vec<FaceFrame> = names
                .iter()
                .map(|_| {
                    let mut frame = any_frame().new_tree(&mut runner).unwrap().current();
                    if number % 7 == 0 {
                        frame = ordinary(step);
                    }
                    // JavaScript has no order of its own for names that are numbers, and counts exactly to 2^53.
                    frame.sequence = Some(u64::from(u32::MAX) - 1 + step * (1 + number % 100));
                    frame.capture_time = frame.capture_time.map(|_| Duration::from_micros(micros));
                    frame
                })
                .collect();
            micros += 16_667;
            let faces: Vec<(&str, &FaceFrame)> = names.iter().copied().zip(&frames).collect();
            let mut bytes = Vec::new();
            encoder.encode_many(&faces, clock, &mut bytes).unwrap();
            let mut js_faces = Vec::new();
            for ((name, frame), history) in faces.iter().zip(&mut history) {
                let mut js = to_js(frame, frame.sequence.unwrap());
                let repeated = history.len().saturating_sub(redundancy.into());
                history.push(js.clone());
                js["previous"] = json!(history[repeated..history.len() - 1]);
                js["subject"] = json!(name);
                js_faces.push(js);
            }
            let options = json!({ "clock": if clock == Clock::Own { "own" } else { "unix" }, "schema": schema });
            cases.push(json!({ "faces": js_faces, "options": options, "packet": hex(&bytes) }));
            let expected: Vec<Value> = decoded(&mut decoder, &bytes).unwrap().iter().map(face_to_js).collect();
            packets.push((hex(&bytes), plain(Value::Array(expected))));
        }
    }
    let each = "({ faces, options, packet }) => ({
        encoded: hex(encodeFacelink1(faces, options)),
        decoded: decodeFacelink1(Buffer.from(packet, 'hex'), options),
    })";
    let Some(answers) = node(each, &cases) else { return };
    assert_eq!(answers.len(), 1200);
    for (((rust, expected), answer), case) in packets.iter().zip(answers).zip(&cases) {
        assert_eq!(answer["encoded"], json!(rust), "{case}");
        // Rust bytes, read by JavaScript; and with equal bytes, JavaScript's, read by Rust.
        let read = plain(answer["decoded"].clone());
        assert_eq!(&read, expected);
        let bytes = unhex(answer["encoded"].as_str().unwrap());
        let mut decoder = Decoder::new();
        let schema: Vec<String> = serde_json::from_value(case["options"]["schema"].clone()).unwrap();
        decoder.set_schema(&schema).unwrap();
        let faces: Vec<Value> = decoded(&mut decoder, &bytes).unwrap().iter().map(face_to_js).collect();
        assert_eq!(plain(Value::Array(faces)), read);
    }
}

#[test]
fn facelink1_javascript_refuses_what_rust_refuses() {
    let mut random = Random(7);
    let seeds = packets();
    let mut cases = Vec::new();
    let mut expected = Vec::new();
    for _ in 0..20_000 {
        let mut bytes = seeds[random.below(seeds.len())].clone();
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        if random.below(4) == 0 {
            bytes.truncate(random.below(bytes.len() + 1));
        }
        let mut decoder = Decoder::new();
        decoder.set_schema(&SCHEMA).unwrap();
        let faces = decoded(&mut decoder, &bytes);
        expected.push(match faces {
            Ok(faces) => json!({ "faces": faces.len() }),
            Err(error) => json!({ "refused": error.to_string() }),
        });
        cases.push(json!(hex(&bytes)));
    }
    let each = format!(
        "(packet) => {{
            try {{
                return {{ faces: decodeFacelink1(Buffer.from(packet, 'hex'), {{ schema: {} }}).length }};
            }} catch (error) {{
                if (!error.message.startsWith('facelink1: ')) throw error;
                return {{ refused: error.message }};
            }}
        }}",
        json!(SCHEMA)
    );
    let Some(answers) = node(&each, &cases) else { return };
    assert_eq!(answers.len(), cases.len());
    let refusals = expected.iter().filter(|case| case["refused"].is_string()).count();
    assert!((2_000..18_000).contains(&refusals), "{refusals} refused");
    for ((answer, expected), case) in answers.iter().zip(&expected).zip(&cases) {
        assert_eq!(answer["faces"], expected["faces"], "{case}: {answer} and {expected}");
    }
}

#[test]
fn facelink1_javascript_names_field_it_cannot_write() {
    let face = |change: Value| {
        let mut face = json!({ "sequence": 1, "blendshapes": { "jawOpen": 0.5 } });
        face.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
        json!([face])
    };
    let cases = [
        (json!([]), "facelink1: faces are 0, 1 to 32 go into a packet"),
        (face(json!({ "sequence": null })), "facelink1: sequence is not a finite number"),
        (face(json!({ "blendshapes": { "jawOpen": null } })), "facelink1: jawOpen is not a finite number"),
        (face(json!({ "blendshapes": { "grin": "1" } })), "facelink1: grin is not a finite number"),
        (face(json!({ "subject": "x".repeat(129) })), "facelink1: subject is a name longer than 128 bytes"),
        (face(json!({ "subject": "a\nb" })), "facelink1: subject is a name with control characters"),
        (
            face(json!({ "head": { "rotation": [0, 0, 0, 0] } })),
            "facelink1: head.rotation must be a quaternion [x, y, z, w] of length 1",
        ),
        (face(json!({ "head": { "rotation": [0, 0, 1] } })), "facelink1: head.rotation is not a finite number"),
        (face(json!({ "captureTime": -1 })), "facelink1: captureTime is no 64-bit number of microseconds"),
    ];
    let each = "(faces) => { try { return hex(encodeFacelink1(faces)); } catch (error) { return error.message; } }";
    let Some(answers) = node(each, &cases.clone().map(|(faces, _)| faces)) else { return };
    for ((_, expected), answer) in cases.iter().zip(answers) {
        assert_eq!(answer, json!(expected));
    }
}

/// What Rust reads of a compact bundle, as the JavaScript side has it.
fn read_compact(decoder: &mut CompactDecoder, packet: &[u8]) -> (Value, Option<Received>) {
    let mut faces = Vec::new();
    match decoder.decode(packet, &mut Decoder::new(), |face| faces.push(face_to_js(&face))) {
        Ok(read) => (json!({ "packet": read.packet, "missing": read.missing, "faces": faces }), Some(read)),
        Err(error) => (json!({ "refused": error.to_string() }), None),
    }
}

/// The packets of a relay for a viewer on a path that loses, repeats and overtakes, and broken copies of them, as they arrive.
fn compact_packets(random: &mut Random) -> Vec<(Vec<u8>, Value)> {
    let start = Instant::now();
    let names: [Arc<str>; 6] = ["Ann", "名前", "lost", "wide", "part", "still"].map(Arc::from);
    let mut relay = Relay::new(RelaySettings::default());
    let subscription = Subscription { format: Format::Compact, ..Subscription::default() };
    relay.subscribe(1, None, subscription, start).expect("subscribes");
    let (mut decoder, mut acks) = (CompactDecoder::new(), Acks::default());
    let (mut stream, mut held) = (Vec::new(), None::<Vec<u8>>);
    for round in 0..1200_u64 {
        let now = start + Duration::from_micros(16_667 * round);
        let mut report = LinkReport::default();
        report.delay.loss = Some(if round / 300 % 2 == 0 { 0.0 } else { 0.1 });
        relay.report(1, report, now);
        for (id, name) in (0..).zip(&names) {
            let mut frame = FaceFrame { sequence: Some(round), ..ordinary(round + 100 * id) };
            match id {
                2 => frame.tracked = round % 50 > 5,
                3 => frame.channels.push(channel("tailWag", 0.5)),
                4 if round % 3 == 0 => frame.present &= !0b101,
                5 => frame = FaceFrame { sequence: Some(round), ..FaceFrame::neutral() },
                _ => {}
            }
            let source = Source { id: SubjectId(id), name, publisher: 100 + id, room: None };
            relay.publish(&source, &frame, now, now);
        }
        let mut sent = Vec::new();
        let unix = Duration::from_secs(1_700_000_000) + Duration::from_micros(16_667 * round);
        relay.poll(
            now + Duration::from_millis(2),
            unix,
            |_| true,
            |_, output| {
                if let Output::Packet(packet) = output {
                    sent.push(packet.to_vec());
                }
            },
        );
        for packet in sent {
            let mut arrive = |packet: Vec<u8>| {
                let (answer, read) = read_compact(&mut decoder, &packet);
                stream.push((packet, answer));
                read.and_then(|read| acks.note(read, now))
            };
            let mut read = Vec::new();
            match random.below(16) {
                0 => continue,
                1 => held = Some(packet),
                2 => read.extend([packet.clone(), packet].map(&mut arrive)),
                _ => read.push(arrive(packet)),
            }
            if random.below(3) == 0 {
                read.extend(held.take().map(&mut arrive));
            }
            for packets in read.into_iter().flatten().filter(|_| random.below(10) > 0) {
                relay.acknowledge(1, &packets);
            }
            // What no sender writes: a reader of either side must refuse it, or take it for the same.
            if random.below(3) == 0 && !stream.is_empty() {
                let mut broken = stream[stream.len() - 1].0.clone();
                let at = random.below(broken.len());
                broken[at] ^= 1 << random.below(8);
                if random.below(4) == 0 {
                    broken.truncate(random.below(broken.len() + 1));
                }
                let (answer, _) = read_compact(&mut decoder, &broken);
                stream.push((broken, answer));
            }
        }
    }
    stream
}

/// `delta.js` has the tables of Rust, which are private: their source is compared.
#[test]
fn facelink1_javascript_has_the_tables_of_deltas() {
    use base64::Engine;
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| std::fs::read_to_string(crates.join(file)).expect("the file is there");
    let source = read("facelink/src/wire/facelink1/delta/tables.rs");
    let values = source.split("pub(super) const").skip(1).flat_map(|table| {
        let values = table.split_once(" = ").and_then(|(_, values)| values.split_once(';')).expect("a table").0;
        values.split(|c: char| !c.is_ascii_digit()).filter_map(|value| value.parse::<u16>().ok()).collect::<Vec<_>>()
    });
    let bytes: Vec<u8> = values.flat_map(u16::to_le_bytes).collect();
    assert_eq!(bytes.len(), 2 * 2691);
    let line = format!("const TABLES = '{}';", base64::engine::general_purpose::STANDARD.encode(bytes));
    assert!(read("facelink-net/web/delta.js").lines().any(|there| there == line), "delta.js needs this line:\n{line}");
}

#[test]
fn facelink1_javascript_reads_compact_bundles_as_rust_does() {
    let stream = compact_packets(&mut Random(11));
    let cases: Vec<Value> = stream.iter().map(|(packet, _)| json!(hex(packet))).collect();
    let each = "((decoder) => (packet) => {
        try {
            return decoder.decode(Uint8Array.from(Buffer.from(packet, 'hex')));
        } catch (error) {
            if (!error.message.startsWith('facelink1: ')) throw error;
            return { refused: error.message };
        }
    })(new CompactDecoder(decodeFacelink1))";
    let count = |field: &str| stream.iter().filter(|(_, answer)| answer[field].as_u64().unwrap_or(0) > 0).count();
    let refused = stream.iter().filter(|(_, answer)| answer["refused"].is_string()).count();
    let has = |field: &str| {
        let faces = stream.iter().filter_map(|(_, answer)| answer["faces"].as_array()).flatten();
        faces.filter(|face| face["repeated"] == true || face["blendshapes"].get(field).is_some()).count()
    };
    let bytes: usize = stream.iter().map(|(packet, _)| packet.len()).sum();
    println!("{} packets of {} bytes, {refused} refused", stream.len(), bytes / stream.len());
    assert!(has("tailWag") > 500 && has("") > 500, "plain and repeated faces");
    assert!(refused > 50 && count("missing") > 20 && stream.len() > 1200, "{refused}, {}", count("missing"));
    let Some(answers) = node(each, &cases) else { return };
    assert_eq!(answers.len(), stream.len());
    for (answer, (packet, expected)) in answers.into_iter().zip(&stream) {
        if expected["refused"].is_string() {
            assert!(answer["refused"].is_string(), "{}: {answer} and {expected}", hex(packet));
        } else {
            assert_eq!(plain(answer), plain(expected.clone()), "{}", hex(packet));
        }
    }
}

#[test]
fn facelink1_largest_channel_lists_fit() {
    let channels = (0..MAX_CHANNELS).map(|number| channel(&format!("channel {number}"), 0.25)).collect();
    let frame = FaceFrame { channels, ..FaceFrame::neutral() };
    let faces = encode("", &frame);
    assert_eq!(decode(&faces)[0].frame.channels.len(), MAX_CHANNELS);
    assert_eq!(faces[0], facelink1::MAGIC);
}
