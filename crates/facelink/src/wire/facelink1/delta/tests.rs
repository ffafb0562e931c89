use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{Blendshape, performer::Performance, wire::facelink1::Decoder};

fn face(i: u64) -> FaceFrame {
    let mut frame = Performance::new(9).frame_at(Duration::from_micros(16_667 * i));
    frame.weights.iter_mut().for_each(|weight| *weight = weight.clamp(0.0, 1.0));
    FaceFrame { sequence: Some(i), ..frame }
}

/// The result of a receiver for a packet, plain or not.
fn receive(plain: &mut Decoder, deltas: &mut DeltaDecoder, packet: &[u8]) -> Result<FaceFrame, Facelink1Error> {
    if DeltaDecoder::is_delta(packet) {
        return deltas.decode(packet).map(|face| face.frame);
    }
    let mut frame = None;
    plain.decode(packet, |face| {
        deltas.note(&face);
        frame = Some(face.frame);
    })?;
    Ok(frame.expect("a packet holds a face"))
}

/// As close as the wire defines: shapes exactly as in a plain packet.
fn assert_same(received: &FaceFrame, sent: &FaceFrame) {
    let steps = |frame: &FaceFrame| frame.weights.map(|weight| (f64::from(weight) * 255.0 + 0.5) as u8);
    assert_eq!(steps(received), steps(sent));
    assert_eq!((received.sequence, received.tracked), (sent.sequence, sent.tracked));
    assert_eq!(received.capture_time, sent.capture_time);
    let (a, b) = (received.head.expect("a head").rotation, sent.head.expect("a head").rotation);
    let dot: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
    assert!(dot.abs() > 1.0 - 3e-6, "{a:?} {b:?}");
}

#[test]
fn delta_acknowledged_stream_is_small_and_round_trips() {
    let (mut encoder, mut plain, mut deltas) = (DeltaEncoder::new(), Decoder::new(), DeltaDecoder::new());
    let (mut bytes, mut written) = (0, 0);
    for i in 0..600 {
        let sent = face(i);
        let mut packet = Vec::new();
        let delta = encoder.encode("", &sent, Clock::Own, &mut packet).expect("fits");
        assert_eq!(delta, i >= 4, "{i}");
        assert_same(&receive(&mut plain, &mut deltas, &packet).expect("is read"), &sent);
        if i >= 4 {
            bytes += packet.len();
            written += 1;
        }
        if i >= 3 {
            encoder.acknowledge("", i as u32 - 3);
        }
    }
    let mean = bytes as f32 / written as f32;
    assert!(mean < 40.0, "{mean} bytes a face with head and gaze; a plain one has 82");
}

#[test]
fn delta_unsupported_face_is_sent_plain() {
    let mut encoder = DeltaEncoder::new();
    let mut encode = |frame: &FaceFrame| {
        let mut packet = Vec::new();
        let delta = encoder.encode("Ann", frame, Clock::Own, &mut packet).expect("fits");
        encoder.acknowledge("Ann", frame.sequence.unwrap_or_default() as u32);
        (delta, packet[0])
    };
    assert_eq!(encode(&face(0)), (false, super::super::MAGIC));
    assert_eq!(encode(&face(1)), (true, MAGIC));
    let mut wide = face(2);
    wide.set(Blendshape::JawOpen, 1.2);
    assert!(!encode(&wide).0, "outside 0..1");
    assert!(!encode(&FaceFrame { present: 1, ..face(3) }).0, "partial");
    let mut channels = face(4);
    channels.channels.push(crate::Channel { name: "tail".into(), value: 0.5 });
    assert!(!encode(&channels).0, "with a channel");
    assert!(!encode(&FaceFrame { gaze: None, head: None, ..face(5) }).0, "without the head that the others had");
    assert!(encode(&FaceFrame { gaze: None, head: None, ..face(6) }).0);
    encoder.restart();
    let mut packet = Vec::new();
    assert!(!encoder.encode("Ann", &face(7), Clock::Own, &mut packet).expect("fits"));
}

#[test]
fn delta_missing_reference_is_named_and_nothing_kept() {
    let (mut encoder, mut plain, mut deltas) = (DeltaEncoder::new(), Decoder::new(), DeltaDecoder::new());
    let mut packets = Vec::new();
    for i in 0..3 {
        let mut packet = Vec::new();
        encoder.encode("", &face(i), Clock::Own, &mut packet).expect("fits");
        encoder.acknowledge("", i as u32);
        packets.push(packet);
    }
    let unknown = Facelink1Error::Reference(place("distance"));
    assert_eq!(receive(&mut plain, &mut deltas, &packets[1]).unwrap_err(), unknown);
    receive(&mut plain, &mut deltas, &packets[0]).expect("stands alone");
    assert_eq!(receive(&mut plain, &mut deltas, &packets[2]).unwrap_err(), unknown);
    receive(&mut plain, &mut deltas, &packets[1]).expect("builds upon the first");
    receive(&mut plain, &mut deltas, &packets[2]).expect("builds upon the second");
    for cut in 0..packets[2].len() {
        // A cut packet may be another face, but never a panic; too long a one is refused.
        let _ = deltas.decode(&packets[2][..cut]);
    }
    let mut long = packets[2].clone();
    long.extend([1, 2, 3, 4, 5]);
    assert_eq!(deltas.decode(&long).unwrap_err(), Facelink1Error::Trailing);
}

#[test]
fn delta_bytes_of_unchanged_face() {
    let mut encoder = DeltaEncoder::new();
    let frame = FaceFrame { sequence: Some(41), ..FaceFrame::neutral() };
    let mut packet = Vec::new();
    encoder.encode("", &frame, Clock::Own, &mut packet).expect("fits");
    encoder.acknowledge("", 41);
    packet.clear();
    assert!(encoder.encode("", &FaceFrame { sequence: Some(42), ..frame }, Clock::Own, &mut packet).expect("fits"));
    // Magic, tracked, number, distance, and a decision that is so likely that it takes no byte.
    assert_eq!(packet, [0xf2, 0x01, 42, 0, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn delta_lost_or_late_packets_leave_rest_readable(seed in any::<u64>(), loss in 0.0..0.4_f64, lag in 1..30_usize) {
        let mut chance = seed | 1;
        let mut random = move || {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            (chance >> 11) as f64 / (1_u64 << 53) as f64
        };
        let (mut encoder, mut plain, mut deltas) = (DeltaEncoder::new(), Decoder::new(), DeltaDecoder::new());
        let mut acknowledgements = std::collections::VecDeque::new();
        let mut waiting: Option<(Vec<u8>, FaceFrame)> = None;
        for i in 0..150_u64 {
            let sent = face(i * 3 + seed % 1000);
            let sent = FaceFrame { sequence: Some(65_500 + i), ..sent };
            let mut packet = Vec::new();
            encoder.encode("Ann", &sent, Clock::Own, &mut packet).expect("fits");
            let mut arriving = Vec::new();
            if random() >= loss {
                arriving.push((packet, sent));
            }
            // One in ten is overtaken by the next.
            if random() < 0.1 && waiting.is_none() {
                waiting = arriving.pop();
            } else {
                arriving.extend(waiting.take());
            }
            for (packet, sent) in arriving {
                let received = receive(&mut plain, &mut deltas, &packet).expect("builds upon what was acknowledged");
                assert_same(&received, &sent);
                acknowledgements.push_back((i as usize + lag, sent.sequence.unwrap_or_default() as u32));
            }
            while acknowledgements.front().is_some_and(|(due, _)| *due <= i as usize) {
                if let Some((_, sequence)) = acknowledgements.pop_front()
                    && random() >= loss
                {
                    encoder.acknowledge("Ann", sequence);
                }
            }
        }
    }

    #[test]
    fn delta_any_bytes_are_a_face_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0..60_usize) {
        let (mut encoder, mut plain, mut deltas) = (DeltaEncoder::new(), Decoder::new(), DeltaDecoder::new());
        let mut packet = Vec::new();
        for i in 0..2 {
            packet.clear();
            encoder.encode("", &face(i), Clock::Own, &mut packet).expect("fits");
            encoder.acknowledge("", i as u32);
            receive(&mut plain, &mut deltas, &packet).expect("is read");
        }
        packet.truncate(cut.max(5));
        packet.extend(&bytes);
        packet[0] = MAGIC;
        if let Ok(face) = deltas.decode(&packet) {
            prop_assert!(face.frame.weights.iter().all(|weight| (0.0..=1.0).contains(weight)));
        }
    }
}

#[test]
fn delta_steady_stream_allocates_nothing() {
    let (mut encoder, mut plain, mut deltas) = (DeltaEncoder::new(), Decoder::new(), DeltaDecoder::new());
    let mut packet = Vec::with_capacity(256);
    let frames: Vec<_> = (0..200).map(face).collect();
    let mut total = 0;
    for (i, frame) in frames.iter().enumerate() {
        let counted = allocation_counter::measure(|| {
            packet.clear();
            encoder.encode("", frame, Clock::Own, &mut packet).expect("fits");
            encoder.acknowledge("", (i as u32).saturating_sub(3));
            receive(&mut plain, &mut deltas, &packet).expect("is read");
        });
        if i > 20 {
            total += counted.count_total;
        }
    }
    assert_eq!(total, 0);
}
