//! Live Link Face, whole takes: one that is made here, and a real one where it is at hand.

#![cfg(all(feature = "http", feature = "phones", feature = "tls", feature = "webrtc"))]
#![allow(clippy::unwrap_used)]

use std::{io::Read, path::Path, time::Duration};

use facelink::{
    Blendshape, FaceFrame,
    performer::Performance,
    wire::{
        float32,
        llf::{self, LlfPacket},
    },
};

/// Frame number of the first packet of the tape: a quarter past five in the morning.
const FIRST: i32 = 1_134_000;

/// What the tape's sender did for each of its frames.
#[derive(Clone, Copy, PartialEq)]
enum Sent {
    Face,
    /// The app saw no face.
    NoFace,
    /// The app dropped the frame.
    Nothing,
}

fn sent(frame: i32) -> Sent {
    match frame {
        97 | 211..=213 => Sent::Nothing,
        300..=330 => Sent::NoFace,
        _ => Sent::Face,
    }
}

fn face(frame: i32) -> FaceFrame {
    Performance::new(11).frame_at(Duration::from_secs(1) * frame as u32 / 60)
}

/// Ten seconds of the synthetic performance, as the app would send it.
fn tape() -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    for frame in (0..600).filter(|frame| sent(*frame) != Sent::Nothing) {
        let mut face = face(frame);
        face.tracked = sent(frame) == Sent::Face;
        let packet = LlfPacket {
            sub_frame: (frame as f32 * 0.0016).fract(),
            ..LlfPacket::new("4C5B2F0E-0D5C-4F4E-9B0A-1D0E6A7C8B9D", "Ann_Bérénice", FIRST + frame, face)
        };
        let mut datagram = Vec::new();
        llf::encode(&packet, &llf::PROFILE, &mut datagram).unwrap();
        datagrams.push(datagram);
    }
    datagrams
}

#[test]
fn live_link_face_take_is_read_exactly() {
    let tape = tape();
    assert_eq!(tape.len(), 596);
    let mut datagrams = tape.iter();
    let mut last_time = Duration::ZERO;
    for frame in (0..600).filter(|frame| sent(*frame) != Sent::Nothing) {
        let datagram = datagrams.next().unwrap();
        let packet = llf::decode(datagram, &llf::PROFILE).unwrap();
        assert_eq!(packet.device_id, "4C5B2F0E-0D5C-4F4E-9B0A-1D0E6A7C8B9D");
        assert_eq!(packet.subject, "Ann_Bérénice");
        assert_eq!(packet.frame_number, FIRST + frame);
        assert_eq!(packet.frame.sequence, Some((FIRST + frame) as u64));
        let time = packet.frame.capture_time.unwrap();
        assert!(time > last_time, "time goes on");
        last_time = time;
        if sent(frame) == Sent::NoFace {
            assert_eq!(datagram.len(), 61 + packet.subject.len());
            assert!(!packet.frame.tracked && packet.frame.is_empty());
            continue;
        }
        assert_eq!(datagram.len(), 306 + packet.subject.len());
        let was = face(frame);
        assert!(packet.frame.tracked);
        assert_eq!(packet.frame.weights, was.weights);
        assert_eq!(packet.frame.present, was.present);
        assert_eq!(packet.frame.gaze, was.gaze);
        let (a, b) = (was.head.unwrap().rotation, packet.frame.head.unwrap().rotation);
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }
    assert_eq!(last_time.as_secs(), (FIRST as u64 + 599) / 60);
}

/// The mouth pair, and nothing else, is exchanged on the wire.
#[test]
fn live_link_face_profile_swaps_the_mouth_pair() {
    let mut frame = FaceFrame::neutral();
    frame.set(Blendshape::MouthLeft, 0.75);
    frame.set(Blendshape::JawLeft, 0.5);
    let mut datagram = Vec::new();
    llf::encode(&LlfPacket::new("id", "Ann", 1, frame.clone()), &llf::PROFILE, &mut datagram).unwrap();
    let raw = llf::decode(&datagram, &llf::PLAIN_PROFILE).unwrap().frame;
    assert_eq!(raw.get(Blendshape::MouthRight), Some(0.75));
    assert_eq!(raw.get(Blendshape::MouthLeft), Some(0.0));
    assert_eq!(raw.get(Blendshape::JawLeft), Some(0.5));
    let right = llf::decode(&datagram, &llf::PROFILE).unwrap().frame;
    assert_eq!(right.weights, frame.weights);
}

/// The same face over both wires is the same face.
#[test]
fn live_link_face_agrees_with_float32() {
    for frame in 0..60 {
        let face = face(frame);
        let mut datagram = Vec::new();
        llf::encode(&LlfPacket::new("id", "Ann", 1, face.clone()), &llf::PROFILE, &mut datagram).unwrap();
        let a = llf::decode(&datagram, &llf::PROFILE).unwrap().frame;
        let mut floats = Vec::new();
        float32::encode_61(&face, &mut floats);
        let b = float32::decode(&floats, None).unwrap();
        assert_eq!((a.weights, a.head, a.gaze), (b.weights, b.head, b.gaze));
    }
}

/// Reads a recording that is not part of the repository, where `FACELINK_CAPTURES` names the folder that holds it.
#[test]
fn live_link_face_recorded_datagrams() {
    let Some(captures) = std::env::var_os("FACELINK_CAPTURES") else {
        eprintln!("skipped: FACELINK_CAPTURES names no folder of recordings");
        return;
    };
    let file = std::fs::File::open(Path::new(&captures).join("live-link-face-udp.gesichter")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    let (count, mut rest) = bytes[1..].split_first_chunk::<4>().unwrap();
    let count = u32::from_be_bytes(*count) as usize;
    let mut frames = Vec::new();
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (datagram, tail) = tail.split_at(u32::from_be_bytes(*len) as usize);
        rest = tail;
        let packet = llf::decode(datagram, &llf::PROFILE).unwrap();
        assert_eq!(packet.device_id, "DEADC0DE-1337-1337-1337-CAFEBABE", "an id of 32 bytes, not 36");
        assert_eq!(packet.subject, "LLV Default Device");
        assert_eq!(packet.rate, (60, 1));
        assert!(packet.frame.tracked && packet.frame.is_complete());
        assert!(packet.frame.head.is_some() && packet.frame.gaze.is_some(), "recorded with head rotation on");

        // What is read is written back byte for byte, up to the angles, which have more than one spelling.
        let mut written = Vec::new();
        llf::encode(&packet, &llf::PROFILE, &mut written).unwrap();
        let angles = datagram.len() - 9 * 4;
        assert_eq!(written[..angles], datagram[..angles]);
        assert_eq!(written.len(), datagram.len());
        for (a, b) in written[angles..].as_chunks::<4>().0.iter().zip(datagram[angles..].as_chunks::<4>().0).take(3) {
            assert!((f32::from_be_bytes(*a) - f32::from_be_bytes(*b)).abs() < 1e-5);
        }
        frames.push(packet.frame);
    }
    assert_eq!((count, frames.len()), (180, 180));

    let sequence: Vec<_> = frames.iter().map(|frame| frame.sequence.unwrap()).collect();
    let gaps: Vec<_> = sequence.windows(2).map(|pair| pair[1] - pair[0]).filter(|step| *step != 1).collect();
    assert_eq!(gaps, [8], "the phone dropped seven frames once");

    // Signs, by what the shapes say: the eyes' angles against the eyeLook shapes, the mouth against the jaw.
    let weight = |shape: Blendshape| move |frame: &FaceFrame| frame.weights[shape.index()];
    let less = |a: Blendshape, b: Blendshape| move |frame: &FaceFrame| weight(a)(frame) - weight(b)(frame);
    let yaw = correlation(
        &frames,
        |frame| frame.gaze.map_or(0.0, |gaze| gaze.left.yaw),
        less(Blendshape::EyeLookOutLeft, Blendshape::EyeLookInLeft),
    );
    assert!(yaw > 0.99, "yaw is positive to the performer's left: {yaw}");
    let yaw = correlation(
        &frames,
        |frame| frame.gaze.map_or(0.0, |gaze| gaze.right.yaw),
        less(Blendshape::EyeLookInRight, Blendshape::EyeLookOutRight),
    );
    assert!(yaw > 0.99, "yaw is positive to the performer's left: {yaw}");
    let pitch = correlation(
        &frames,
        |frame| frame.gaze.map_or(0.0, |gaze| gaze.left.pitch),
        less(Blendshape::EyeLookUpLeft, Blendshape::EyeLookDownLeft),
    );
    assert!(pitch > 0.99, "pitch is positive up: {pitch}");
    let mouth = correlation(
        &frames,
        less(Blendshape::MouthLeft, Blendshape::MouthRight),
        less(Blendshape::JawLeft, Blendshape::JawRight),
    );
    assert!(mouth > 0.8, "the mouth goes with the jaw once the pair is put right: {mouth}");
}

/// Pearson's correlation of two values over the frames of a take.
fn correlation(frames: &[FaceFrame], a: impl Fn(&FaceFrame) -> f32, b: impl Fn(&FaceFrame) -> f32) -> f32 {
    let mean = |value: &dyn Fn(&FaceFrame) -> f32| frames.iter().map(value).sum::<f32>() / frames.len() as f32;
    let (mean_a, mean_b) = (mean(&a), mean(&b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for frame in frames {
        let (a, b) = (a(frame) - mean_a, b(frame) - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    ab / (aa * bb).sqrt()
}
