use super::*;
use crate::{
    frame::Channel,
    names::{BLENDSHAPE_COUNT, Blendshape},
    performer::Performance,
};

const UNIX: Duration = Duration::from_secs(1_700_000_000);

fn frame(number: u64) -> FaceFrame {
    Performance::new(3).frame_at(Duration::from_micros(16_667 * number))
}

fn face(number: u64) -> CompactFace {
    CompactFace::new(&frame(number), UNIX + Duration::from_micros(16_667 * number)).expect("a face")
}

fn item<'a>(number: u64, face: &'a CompactFace, body: &'a Body, reference: Option<Reference>) -> Item<'a> {
    Item { id: 300, name: Some("Ann"), number, face, body, reference, repeated: false }
}

/// The faces of a packet: names, numbers, frames.
fn read(decoder: &mut CompactDecoder, packet: &[u8]) -> (Received, Vec<(String, u64, FaceFrame, bool)>) {
    let mut faces = Vec::new();
    let each = |face: Face<'_>| {
        faces.push((face.subject.to_owned(), face.frame.sequence.unwrap_or_default(), face.frame, face.repeated));
    };
    let received = decoder.decode(packet, &mut Decoder::new(), each).expect("decodes");
    (received, faces)
}

fn packet(bundle: &mut CompactBundle, number: u16, items: &[Item<'_>]) -> Vec<u8> {
    let mut packet = Vec::new();
    bundle.begin(number, UNIX + Duration::from_secs(1000));
    for item in items {
        bundle.push(item, |_| panic!("it fits")).expect("is written");
    }
    bundle.finish(|bytes| packet = bytes.to_vec());
    packet
}

/// The largest difference of a weight.
fn worst(a: &FaceFrame, b: &FaceFrame) -> f32 {
    a.weights.iter().zip(&b.weights).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs()))
}

#[test]
fn compact_faces_read_back_within_a_step() {
    let (mut bundle, mut decoder) = (CompactBundle::default(), CompactDecoder::new());
    let (mut whole, mut deltas) = (0, 0);
    for number in 1..400_u64 {
        let (before, now) = (face(number - 1), face(number));
        let bodies = [
            (bundle.whole(&now), None),
            (
                bundle.changes(&now, &before).expect("a delta"),
                Some(Reference { packet: 2 * (number as u16 - 1), number: number - 1 }),
            ),
        ];
        for (place, (body, reference)) in (0..).zip(bodies) {
            if number == 1 && reference.is_some() {
                continue;
            }
            let bytes = packet(&mut bundle, 2 * number as u16 + place, &[item(number, &now, &body, reference)]);
            *if reference.is_some() { &mut deltas } else { &mut whole } += bytes.len();
            let (received, faces) = read(&mut decoder, &bytes);
            assert_eq!(received, Received { packet: 2 * number as u16 + place, missing: 0 });
            let (name, read_number, read, repeated) = &faces[0];
            assert_eq!((&**name, *read_number, *repeated), ("Ann", number, false));
            let wanted = frame(number);
            assert!(worst(read, &wanted) <= 0.5 / 255.0 + 1e-6, "{number}");
            let (head, wanted_head) = (read.head.expect("a head"), wanted.head.expect("a head"));
            assert!(head.rotation.iter().zip(wanted_head.rotation).all(|(a, b)| (a - b).abs() < 0.001));
            let late =
                (UNIX + Duration::from_micros(16_667 * number)).saturating_sub(read.capture_time.expect("a time"));
            assert!(late < Duration::from_micros(TIME_STEP), "{late:?}");
        }
        // What the next one builds upon came last by the first of the two packets, if it was read as it should be.
        let again = bundle.whole(&now);
        let bytes = packet(&mut bundle, 2 * number as u16, &[item(number, &now, &again, None)]);
        read(&mut decoder, &bytes);
    }
    println!("{} bytes whole, {} as a delta to the frame before", whole / 399, deltas / 398);
    assert!(whole / 399 < 75 && deltas / 398 < 35);
}

#[test]
fn compact_face_beyond_the_steps_is_plain() {
    let mut wide = frame(5);
    wide.set(Blendshape::JawOpen, 1.5);
    wide.channels.push(Channel { name: "grin".into(), value: 1.0 });
    let mut partial = FaceFrame { present: 0b101, tracked: false, ..FaceFrame::default() };
    partial.weights[2] = 0.75;
    let (mut bundle, mut decoder) = (CompactBundle::default(), CompactDecoder::new());
    for (number, frame) in [(5, wide), (6, partial)] {
        let (plain, before) = (CompactFace::new(&frame, UNIX).expect("a face"), face(4));
        assert!(bundle.changes(&plain, &before).is_none());
        let body = bundle.whole(&plain);
        let bytes = packet(&mut bundle, 9, &[item(number, &plain, &body, None)]);
        let (_, faces) = read(&mut decoder, &bytes);
        assert_eq!((faces[0].2.present, faces[0].2.tracked), (frame.present, frame.tracked));
        assert_eq!(faces[0].2.channels, frame.channels);
        assert!(worst(&faces[0].2, &frame) < 0.003);
    }
    let nan = FaceFrame { weights: [f32::NAN; BLENDSHAPE_COUNT], ..frame(1) };
    assert!(CompactFace::new(&nan, UNIX).is_err());
}

#[test]
fn compact_delta_without_its_frame_is_left_out_and_counted() {
    let (mut bundle, mut decoder) = (CompactBundle::default(), CompactDecoder::new());
    let [one, two, three] = [1, 2, 3].map(face);
    let (first, changes) = (bundle.whole(&one), bundle.changes(&two, &one).expect("a delta"));
    let on_first = Some(Reference { packet: 1, number: 1 });
    let delta = packet(&mut bundle, 2, &[item(2, &two, &changes, on_first)]);
    assert_eq!(read(&mut decoder, &delta), (Received { packet: 2, missing: 1 }, vec![]));
    let key = packet(&mut bundle, 1, &[item(1, &one, &first, None)]);
    assert_eq!(read(&mut decoder, &key).1.len(), 1);
    let whole = bundle.whole(&three);
    let both = packet(
        &mut bundle,
        3,
        &[
            Item { repeated: true, ..item(2, &two, &changes, on_first) },
            Item { name: None, ..item(3, &three, &whole, None) },
        ],
    );
    let (received, faces) = read(&mut decoder, &both);
    assert_eq!(received.missing, 0);
    let numbers: Vec<_> = faces.iter().map(|(name, number, _, repeated)| (&**name, *number, *repeated)).collect();
    assert_eq!(numbers, [("Ann", 2, true), ("Ann", 3, false)]);
    // Of that packet, the frame that was new is the one to build upon.
    let four = face(4);
    let changes = bundle.changes(&four, &three).expect("a delta");
    let next = packet(&mut bundle, 4, &[item(4, &four, &changes, Some(Reference { packet: 3, number: 3 }))]);
    assert!(worst(&read(&mut decoder, &next).1[0].2, &frame(4)) <= 0.5 / 255.0 + 1e-6);
    // Too far back, or not back at all.
    for (packet_number, number) in [(3, 4), (2000, 4), (5, 3), (5, 200)] {
        bundle.begin(packet_number, UNIX);
        let pushed = bundle.push(&item(number, &four, &changes, Some(Reference { packet: 3, number: 3 })), |_| {});
        assert_eq!(pushed, None, "{packet_number} {number}");
    }
}

#[test]
fn compact_id_of_another_name_is_another_subject() {
    let (mut bundle, mut decoder) = (CompactBundle::default(), CompactDecoder::new());
    let [one, two] = [1, 2].map(face);
    let (whole, changes) = (bundle.whole(&one), bundle.changes(&two, &one).expect("a delta"));
    let ann = packet(&mut bundle, 1, &[item(1, &one, &whole, None)]);
    let bob = packet(&mut bundle, 2, &[Item { name: Some("Bob"), ..item(7, &one, &whole, None) }]);
    assert_eq!(read(&mut decoder, &ann).1[0].0, "Ann");
    assert_eq!(read(&mut decoder, &bob).1[0].0, "Bob");
    let delta = packet(&mut bundle, 3, &[item(2, &two, &changes, Some(Reference { packet: 1, number: 1 }))]);
    assert_eq!(read(&mut decoder, &delta).0.missing, 1, "Ann's frames are gone");
}

#[test]
fn compact_decoder_is_bounded() {
    let (mut bundle, mut decoder) = (CompactBundle::default(), CompactDecoder::new());
    let whole = bundle.whole(&face(1));
    let one = face(1);
    for round in 0..2_u16 {
        for id in 0..4000_u16 {
            let name = format!("face {round} {id}");
            let named = Item { id, name: Some(&name), ..item(u64::from(id), &one, &whole, None) };
            let bytes = packet(&mut bundle, id, &[named]);
            assert_eq!(read(&mut decoder, &bytes).1.len(), 1);
        }
    }
    assert_eq!(decoder.subjects.len(), MAX_SUBJECTS);
    for number in 0..1000_u64 {
        let bytes = packet(&mut bundle, number as u16, &[item(number, &one, &whole, None)]);
        read(&mut decoder, &bytes);
    }
    assert_eq!(decoder.subjects[&300].kept.len(), KEPT);
}

#[test]
fn compact_packet_truncated_or_changed_is_refused_or_read() {
    let (mut bundle, one, two) = (CompactBundle::default(), face(1), face(2));
    let (whole, changes) = (bundle.whole(&one), bundle.changes(&two, &one).expect("a delta"));
    let mut first = CompactDecoder::new();
    let key = packet(&mut bundle, 1, &[item(1, &one, &whole, None)]);
    read(&mut first, &key);
    let delta = packet(&mut bundle, 2, &[item(2, &two, &changes, Some(Reference { packet: 1, number: 1 }))]);
    for bytes in [&key, &delta] {
        for len in 0..bytes.len() {
            let mut decoder = CompactDecoder::new();
            let read = decoder.decode(&bytes[..len], &mut Decoder::new(), |_| panic!("{len}"));
            assert!(read.is_err(), "{len}: {read:?}");
            assert!(decoder.subjects.is_empty());
        }
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let mut decoder = CompactDecoder::new();
            read(&mut decoder, &key);
            // Whatever it says, it says without a panic.
            let _ = decoder.decode(&changed, &mut Decoder::new(), |face| {
                assert!(face.frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
            });
        }
    }
    assert_eq!(CompactDecoder::new().decode(&[MAGIC; 9], &mut Decoder::new(), |_| {}), Err(Facelink1Error::Count(0)));
}

#[test]
fn compact_acknowledgements_are_bunched_and_bounded() {
    let (start, mut acks) = (Instant::now(), Acks::default());
    let note = |acks: &mut Acks, packet: u16, missing, ms| {
        acks.note(Received { packet, missing }, start + Duration::from_millis(ms))
    };
    assert_eq!(note(&mut acks, 1, 0, 0), Some(vec![1]), "the first at once");
    for packet in 2..50 {
        assert_eq!(note(&mut acks, packet, 0, 20), None);
    }
    assert_eq!(note(&mut acks, 50, 1, 49), None);
    let sent = note(&mut acks, 51, 1, 50).expect("it is time");
    assert_eq!(sent, (18..50).collect::<Vec<_>>(), "the newest that were read whole");
    assert_eq!(note(&mut acks, 52, 1, 200), None, "nothing to acknowledge");
}
