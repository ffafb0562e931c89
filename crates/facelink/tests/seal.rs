//! End-to-end encrypted faces as members, former members and relays meet them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use facelink::{
    Blendshape, Channel, EyeGaze, FaceFrame, Gaze, HeadPose,
    performer::Performance,
    seal::{
        AHEAD, GRACE, KeySource, MAX_MESSAGE, MAX_STREAMS, OpenError, Opened, Opener, RoomKey, RoomKeys, SealError,
        Sealer, WINDOW,
    },
    wire::{
        facelink1::{Clock, Decoder, Encoder, Face},
        sealed::{Kind, Layer, Packet, packets, put_item},
    },
};

const fn key(seed: u8) -> RoomKey {
    RoomKey::from_bytes([seed; 32])
}

/// A member of a room, which sends and receives.
struct Member {
    keys: RoomKeys,
    sealer: Sealer,
    opener: Opener,
}

impl Member {
    fn new(key: RoomKey) -> Self {
        Self { keys: RoomKeys::new(key), sealer: Sealer::new(|| fastrand::u64(..)), opener: Opener::new() }
    }

    fn seal(&mut self, name: &str, frame: &FaceFrame, now: Instant) -> Vec<u8> {
        let mut packet = Vec::new();
        self.sealer.seal(&self.keys, name, frame, Clock::Unix, now, &mut packet).unwrap();
        packet
    }

    fn open(&mut self, packet: &[u8], now: Instant) -> Result<Vec<(String, FaceFrame, bool)>, OpenError> {
        let mut faces = Vec::new();
        self.opener.open(packet, &mut self.keys, now, |opened| {
            if let Opened::Face { face, .. } = opened {
                faces.push((face.subject.to_owned(), face.frame.clone(), face.repeated));
            }
        })?;
        Ok(faces)
    }
}

fn frames(count: u64) -> Vec<FaceFrame> {
    let performance = Performance::new(3);
    (0..count).map(|i| performance.frame_at(Duration::from_micros(16_667 * i))).collect()
}

fn at(start: Instant, i: usize) -> Instant {
    start + Duration::from_micros(16_667 * i as u64)
}

/// A face with everything that one can have.
fn full() -> FaceFrame {
    let mut frame = frames(1).remove(0);
    frame.set(Blendshape::JawOpen, 0.625);
    frame.head = Some(HeadPose { rotation: [0.0, 0.6, 0.0, 0.8], position: Some([0.0, 0.05, -0.4]) });
    frame.gaze = Some(Gaze { left: EyeGaze { yaw: 0.25, pitch: -0.125 }, right: EyeGaze { yaw: 0.125, pitch: 0.0 } });
    frame.capture_time = Some(Duration::from_micros(1_700_000_000_016_667));
    frame
}

#[test]
fn seal_costs_at_most_22_bytes_more_than_the_same_face() {
    let start = Instant::now();
    for with_channels in [false, true] {
        let (mut ann, mut encoder) = (Member::new(key(1)), Encoder::new());
        let mut frame = full();
        if with_channels {
            frame.channels.push(Channel { name: "tail".into(), value: 0.5 });
        }
        // Up to three bytes of number: 77 hours of 60 a second.
        for sequence in [0, 7, 8, 255, 256, 1000, 2000] {
            frame.sequence = Some(sequence);
            let mut plain = Vec::new();
            encoder.encode("Ann", &frame, Clock::Unix, &mut plain).unwrap();
            let sealed = ann.seal("Ann", &frame, at(start, sequence as usize));
            let more = sealed.len() - plain.len();
            assert!(more <= 22, "{} bytes instead of {}", sealed.len(), plain.len());
        }
    }
    let (mut ann, mut frame) = (Member::new(key(1)), FaceFrame::neutral());
    let (mut last, mut encoder) = (0, Encoder::new());
    for sequence in (0..17_000_000).step_by(1000) {
        frame.sequence = Some(sequence);
        last = ann.seal("Ann", &frame, at(start, sequence as usize)).len();
    }
    let mut plain = Vec::new();
    encoder.encode("Ann", &frame, Clock::Unix, &mut plain).unwrap();
    assert_eq!(last - plain.len(), 23, "the fourth byte of the number begins after 16,777,215 frames");
}

#[test]
fn seal_and_open_gives_the_face_of_the_plain_packet() {
    let start = Instant::now();
    for redundancy in 0..=3 {
        let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        encoder.set_redundancy(redundancy);
        ann.sealer.set_redundancy(redundancy);
        for i in 0..120 {
            let mut frame = full();
            frame.sequence = Some(i as u64 + 5);
            frame.capture_time = Some(Duration::from_micros(1_700_000_000_016_667 + 16_667 * i as u64));
            frame.set(Blendshape::MouthPucker, i as f32 / 60.0);
            if i % 3 == 0 {
                frame.channels.push(Channel { name: "tail".into(), value: 0.5 });
            }
            if i % 5 == 0 {
                frame.present &= 0xFFFF_FF0F_F0FF;
            }
            let mut plain = Vec::new();
            encoder.encode("Ann", &frame, Clock::Unix, &mut plain).unwrap();
            let mut expected = Vec::new();
            let mut note = |face: Face<'_>| {
                let frame = FaceFrame { sequence: face.frame.sequence.map(|number| number - 5), ..face.frame };
                expected.push((face.subject.to_owned(), frame, face.repeated));
            };
            decoder.decode(&plain, &mut note).unwrap();
            let packet = ann.seal("Ann", &frame, at(start, i));
            let opened = bob.open(&packet, start).unwrap();
            assert_eq!(opened, expected, "frame {i}, redundancy {redundancy}");
        }
    }
}

#[test]
fn seal_packet_stands_alone() {
    let start = Instant::now();
    let mut ann = Member::new(key(1));
    for (i, frame) in frames(20).iter().enumerate() {
        let packet = ann.seal("Ann", frame, at(start, i));
        let faces = Member::new(key(1)).open(&packet, start).unwrap();
        let (name, opened, repeated) = faces.last().unwrap();
        assert_eq!((name.as_str(), opened.sequence, *repeated), ("Ann", Some(i as u64), false));
    }
}

/// What a relay is handed, searched for the name and the weights. The same search finds both in plain packets.
#[test]
fn seal_shows_neither_names_nor_values() {
    let start = Instant::now();
    let (mut ann, mut encoder) = (Member::new(key(1)), Encoder::new());
    let (mut sealed, mut plain, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (i, frame) in frames(600).iter().enumerate() {
        sealed.extend(ann.seal("Annabel Lee", frame, at(start, i)));
        encoder.encode("Annabel Lee", frame, Clock::Unix, &mut plain).unwrap();
        let steps = frame.weights.map(|weight| (weight.clamp(0.0, 1.0) * 255.0).round() as u8);
        bodies.push(steps);
    }
    let contains = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(contains(&plain, b"Annabel Lee") && !contains(&sealed, b"Annabel Lee"));
    let runs = |bytes: &[u8]| {
        let all: HashSet<&[u8]> = bytes.windows(6).collect();
        // Of mouths and brows: six values in a row that are not all at rest.
        let parts = bodies.iter().flat_map(|steps| steps.windows(6)).filter(|part| part.iter().any(|step| *step > 8));
        parts.filter(|part| all.contains(part)).count()
    };
    assert!(runs(&plain) > 10_000);
    assert_eq!(runs(&sealed), 0);
    // And no byte of the ciphertext follows a weight: with a shape at 0 and at 1 they are as random.
    let mut differing = 0;
    for i in 0..200 {
        let mut frame = FaceFrame::neutral();
        frame.set(Blendshape::JawOpen, (i % 2) as f32);
        let packet = ann.seal("Annabel Lee", &frame, at(start, 600 + i));
        let body = Packet::parse(&packet).unwrap().ciphertext();
        differing += usize::from(body[30] > 127) * (if i % 2 == 0 { 1 } else { 1000 });
    }
    let (even, odd) = (differing % 1000, differing / 1000);
    assert!((25..=75).contains(&even) && (25..=75).contains(&odd), "{even} {odd} of 100");
}

#[test]
fn open_refuses_replayed_old_flipped_and_truncated_packets_and_counts_them() {
    let start = Instant::now();
    let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
    let packets: Vec<_> =
        frames(400).iter().enumerate().map(|(i, frame)| ann.seal("Ann", frame, at(start, i))).collect();
    bob.open(&packets[0], start).unwrap();
    for len in 0..packets[1].len() {
        let error = bob.open(&packets[1][..len], start).unwrap_err();
        assert!(matches!(error, OpenError::Packet(_) | OpenError::Forged), "{len}: {error}");
    }
    let refused = bob.opener.stats();
    assert_eq!(refused.forged + refused.malformed, packets[1].len() as u64);
    for bit in 0..packets[1].len() * 8 {
        let mut flipped = packets[1].clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(bob.open(&flipped, start).is_err(), "bit {bit}");
    }
    let refused = bob.opener.stats();
    assert_eq!(refused.forged + refused.malformed + refused.other_key + refused.replayed, packets[1].len() as u64 * 9);
    bob.open(&packets[1], start).expect("nothing of that was noted");

    // Out of order within the window each is taken once; beyond it none.
    let mut order: Vec<usize> = (2..100).collect();
    fastrand::Rng::with_seed(5).shuffle(&mut order);
    for i in &order {
        bob.open(&packets[*i], start).unwrap();
    }
    let before = bob.opener.stats();
    for (i, packet) in packets.iter().enumerate().take(100) {
        assert_eq!(bob.open(packet, start).unwrap_err(), OpenError::Replayed(i as u64));
    }
    assert_eq!(bob.opener.stats().replayed - before.replayed, 100);
    bob.open(&packets[350], start).unwrap();
    for (i, packet) in packets.iter().enumerate().take(350).skip(100) {
        let result = bob.open(packet, start);
        match 350 - i as u64 {
            WINDOW.. => assert_eq!(result.unwrap_err(), OpenError::Old(i as u64)),
            _ => drop(result.unwrap()),
        }
    }
    assert_eq!(bob.opener.stats().old, 350 - 100 - (WINDOW - 1));
    // A packet of one kind is none of another: a relay cannot move it to a lower layer.
    let mut other = packets[399].clone();
    other[0] = if other[0] == 0xF4 { 0xF5 } else { 0xF4 };
    assert_eq!(bob.open(&other, start).unwrap_err(), OpenError::Forged);
    bob.open(&packets[399], start).unwrap();
}

#[test]
fn new_key_shuts_out_a_member_who_left() {
    let start = Instant::now();
    let mut members = [0; 3].map(|_| Member::new(key(1)));
    let frame = FaceFrame::neutral();
    let packet = members[0].seal("Ann", &frame, start);
    assert!(members.iter_mut().skip(1).all(|member| member.open(&packet, start).is_ok()));

    let [ann, bob, eve] = &mut members;
    ann.keys.replace(key(2), start);
    bob.keys.replace(key(2), start);
    let before = eve.opener.stats().opened;
    for i in 0..300 {
        let now = at(start, i);
        let packet = ann.seal("Ann", &frame, now);
        bob.open(&packet, now).expect("who has the new key reads on");
        assert!(eve.open(&packet, now).is_err(), "who left does not");
        // What was under way is still read for a moment, and then nothing of the old key.
        let old = eve.seal("Eve", &frame, now);
        let read = bob.open(&old, now);
        assert_eq!(read.is_ok(), now < start + GRACE, "{i}: {read:?}");
    }
    assert_eq!(eve.opener.stats().opened, before);
    assert!(bob.opener.stats().other_key > 100);
}

#[test]
fn ratchet_is_followed_and_hides_the_past() {
    let mut now = Instant::now();
    let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
    let frame = FaceFrame::neutral();
    let mut past = Vec::new();
    for step in 0..40 {
        now += Duration::from_secs(5);
        let packet = ann.seal("Ann", &frame, now);
        bob.open(&packet, now).unwrap_or_else(|error| panic!("step {step}: {error}"));
        past.push(packet);
        assert_eq!(*ann.keys.key().reveal(), *bob.keys.key().reveal());
        // Some steps are never seen on the wire.
        (0..=step % AHEAD.min(3)).for_each(|_| ann.keys.ratchet(now));
    }
    // Bob sends without having heard of it, as does Ann to Bob.
    let packet = bob.seal("Bob", &frame, now);
    ann.open(&packet, now).expect("within the moment after a step");
    now += Duration::from_secs(5);
    let mut carol = Member::new(ann.keys.key().clone());
    for packet in &past {
        assert!(matches!(carol.open(packet, now), Err(OpenError::OtherKey(_) | OpenError::Forged)));
    }
    let packet = ann.seal("Ann", &frame, now);
    assert!(carol.open(&packet, now).is_ok() && bob.open(&packet, now).is_ok());
    // Who missed too many steps needs a new invitation.
    (0..=AHEAD).for_each(|_| ann.keys.ratchet(now));
    let packet = ann.seal("Ann", &frame, now);
    assert!(bob.open(&packet, now).is_err());
}

#[test]
fn restart_and_new_key_never_use_a_nonce_twice() {
    let start = Instant::now();
    let mut used = HashSet::new();
    let mut keys = RoomKeys::new(key(1));
    for run in 0..20 {
        let mut sealer = Sealer::new(|| fastrand::u64(..));
        for i in 0..50 {
            for name in ["Ann", "Bob"] {
                let mut packet = Vec::new();
                // The source's own numbers begin anew, repeat and step back.
                let frame = FaceFrame { sequence: Some([i, 7, 50 - i][i as usize % 3]), ..FaceFrame::neutral() };
                sealer.seal(&keys, name, &frame, Clock::Own, at(start, i as usize), &mut packet).unwrap();
                let packet = Packet::parse(&packet).unwrap();
                assert!(used.insert((keys.current().id, packet.key_id, packet.counter)), "run {run}, frame {i}");
            }
            if i % 20 == 0 {
                keys.ratchet(start);
            }
        }
    }
}

#[test]
fn relay_that_thins_by_layer_loses_no_blink() {
    let start = Instant::now();
    for phase in 0..8 {
        let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
        let (mut highest, mut kept, mut passed) = (0.0_f32, 0.0_f32, 0);
        for i in 0..120 {
            let mut frame = FaceFrame::neutral();
            frame.set(Blendshape::EyeBlinkLeft, (1.0 - (i as f32 - 60.0 - phase as f32 * 0.6).abs() / 2.0).max(0.0));
            highest = highest.max(frame.get(Blendshape::EyeBlinkLeft).unwrap());
            let packet = ann.seal("Ann", &frame, at(start, i));
            if Packet::parse(&packet).unwrap().kind == Kind::Face(Layer::Base) {
                passed += 1;
                for (_, frame, _) in bob.open(&packet, start).unwrap() {
                    kept = kept.max(frame.get(Blendshape::EyeBlinkLeft).unwrap());
                }
            }
        }
        assert!((29..=32).contains(&passed), "{passed} of 120");
        assert!(kept > highest - 0.11, "{phase}: {kept} of {highest}");
    }
}

#[test]
fn bundle_of_several_senders_opens_and_counts_what_was_left_out() {
    let start = Instant::now();
    let (mut ann, mut eve, mut bob) = (Member::new(key(1)), Member::new(key(9)), Member::new(key(1)));
    let mut last = 0;
    for i in 0..70_000_u64 {
        let now = at(start, i as usize);
        let mut packet = ann.seal("Ann", &FaceFrame::neutral(), now);
        if i % 4 != 0 {
            continue;
        }
        let mut bundle = Vec::new();
        let theirs = eve.seal("Eve", &FaceFrame::neutral(), now);
        put_item(&mut bundle, &theirs, 3);
        put_item(&mut bundle, &packet, (i - i / 4) as u16);
        let mut seen = Vec::new();
        let error = bob.opener.open(&bundle, &mut bob.keys, now, |opened| {
            if let Opened::Face { face, left_out, .. } = opened {
                seen.push(face.frame.sequence.unwrap() - left_out);
            }
        });
        assert!(matches!(error, Err(OpenError::OtherKey(_) | OpenError::Forged)), "Eve's packet is refused");
        assert_eq!(seen.last(), Some(&(i / 4)), "Ann's is read, and nothing is missing");
        last = seen.len();
        packet.clear();
    }
    assert_eq!((last, bob.opener.stats().opened), (1, 17_500));
    assert_eq!(packets(&[0xF8]).filter(|packet| packet.is_ok()).count(), 0);
}

#[test]
fn message_is_sealed_opened_and_bounded() {
    let now = Instant::now();
    let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
    let text = r#"{"type":"viseme_data","viseme":"aa","weight":1}"#;
    let mut packet = Vec::new();
    ann.sealer.seal_message(&ann.keys, "Ann", text, &mut packet).unwrap();
    assert_eq!(Packet::parse(&packet).unwrap().kind, Kind::Message);
    let mut read = None;
    let note = |opened: Opened<'_>| {
        if let Opened::Message { text, .. } = opened {
            read = Some(text.to_owned());
        }
    };
    bob.opener.open(&packet, &mut bob.keys, now, note).unwrap();
    assert_eq!(read.as_deref(), Some(text));
    let mut out = vec![7];
    for message in [String::new(), "x".repeat(MAX_MESSAGE + 1)] {
        let error = ann.sealer.seal_message(&ann.keys, "Ann", &message, &mut out).unwrap_err();
        assert_eq!((error, out.len()), (SealError::Message(message.len()), 1));
    }
    ann.sealer.seal_message(&ann.keys, "Ann", &"x".repeat(MAX_MESSAGE), &mut out).unwrap();
    bob.opener.open(&out[1..], &mut bob.keys, now, |_| ()).unwrap();
    let frame = FaceFrame { weights: [f32::NAN; 52], ..FaceFrame::neutral() };
    out.truncate(1);
    assert!(ann.sealer.seal(&ann.keys, "Ann", &frame, Clock::Own, now, &mut out).is_err() && out.len() == 1);
}

#[test]
fn opener_memory_is_bounded_by_streams() {
    let now = Instant::now();
    let mut bob = Member::new(key(1));
    let frame = FaceFrame::neutral();
    let mut ann = Member::new(key(1));
    let first = ann.seal("Ann", &frame, now);
    bob.open(&first, now).unwrap();
    for _ in 0..MAX_STREAMS + 20 {
        let packet = Member::new(key(1)).seal("Other", &frame, now);
        bob.open(&packet, now).unwrap();
        let packet = ann.seal("Ann", &frame, now);
        bob.open(&packet, now).unwrap();
    }
    assert_eq!(bob.open(&first, now).unwrap_err(), OpenError::Old(0), "a stream that is in use is never forgotten");
}

#[test]
fn seal_and_open_allocate_nothing_per_frame() {
    let start = Instant::now();
    let (mut ann, mut bob) = (Member::new(key(1)), Member::new(key(1)));
    ann.sealer.set_redundancy(1);
    let frames = frames(400);
    let mut packet = Vec::new();
    let mut run = |range: std::ops::Range<usize>| {
        for i in range {
            packet.clear();
            ann.sealer.seal(&ann.keys, "Ann", &frames[i % 400], Clock::Unix, at(start, i), &mut packet).unwrap();
            bob.opener.open(&packet, &mut bob.keys, start, |_| ()).unwrap();
        }
    };
    run(0..400);
    assert_eq!(allocation_counter::measure(|| run(400..800)).count_total, 0);
}
