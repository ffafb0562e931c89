use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::{frame::MAX_CHANNELS, names::Blendshape, performer::Performance, wire::profile::SourceRotation};

const SESSION: u64 = 0x0102_0304_0506_0708;
const NONCE: u64 = 0x8877_6655_4433_2211;

fn hex(text: &str) -> Vec<u8> {
    text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn written(message: Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.write(&mut out);
    out
}

fn three() -> Schema {
    let names = ["eyeBlinkLeft", "eyeBlinkRight", "jawOpen"];
    let terms = Terms { nonce: NONCE, ..Terms::default() };
    Schema::new(1, terms, "iFacialMocap", Encoding::I16, names).unwrap()
}

fn fifty_two() -> Schema {
    let names = Blendshape::ALL.map(Blendshape::name);
    Schema::new(1, Terms::default(), "iFacialMocap", Encoding::I16, names).unwrap()
}

/// Values 25, -25 and 150 percent, then 1, 2, 3, 0.1, 0.2, -0.5, 4, 5, 6, 7, 8, 9.
const FRAME: &str = "464d5633040128000807060504030201010000002a000000000000003600000000000100360000001900e7ff9600000080\
                     3f0000004000004040cdcccc3dcdcc4c3e000000bf000080400000a0400000c0400000e0400000004100001041";

#[test]
fn fmv3_messages_match_document() {
    let body = Hello::default().body();
    let hello = "464d56330100280011223344556677880000000000000000000000000800000000000100080000003c00b00405000000";
    assert_eq!(written(Message::new(Kind::Hello, NONCE).with_body(&body)), hex(hello));
    assert_eq!(Hello::read(&body), Ok(Hello { fps: 60, max_datagram: 1200, revision: 5 }));
    for (message, bytes) in [
        (
            Message::new(Kind::SchemaAck, SESSION).with_schema(1),
            "464d5633030028000807060504030201010000000000000000000000000000000000010000000000",
        ),
        (
            Message::new(Kind::GetSchema, SESSION),
            "464d5633050028000807060504030201000000000000000000000000000000000000010000000000",
        ),
        (
            Message::new(Kind::Ping, SESSION).with_sequence(7),
            "464d5633060028000807060504030201000000000700000000000000000000000000010000000000",
        ),
        (
            Message::new(Kind::Pong, SESSION).with_sequence(7),
            "464d5633070028000807060504030201000000000700000000000000000000000000010000000000",
        ),
        (
            Message::new(Kind::Stop, SESSION),
            "464d5633080028000807060504030201000000000000000000000000000000000000010000000000",
        ),
        (
            Message::new(Kind::Error, NONCE).with_body(b"BUSY"),
            "464d563309002800112233445566778800000000000000000000000004000000000001000400000042555359",
        ),
    ] {
        assert_eq!(written(message), hex(bytes), "{:?}", message.kind);
        let part = hex(bytes);
        let part = Part::read(&part).unwrap();
        assert_eq!((part.header.kind, part.header.session), (message.kind, message.session));
        assert_eq!(part.header.sequence, message.sequence);
        assert_eq!(part.chunk, message.body);
    }
    assert_eq!(error_text(b"BUSY"), Ok("BUSY"));
}

#[test]
fn fmv3_schema_matches_document() {
    let json = r#"{"schema_version":1,"app":"iFacialMocap","profile":"ifacialmocap-stream","blend_names":["eyeBlinkLeft","eyeBlinkRight","jawOpen"],"blend_encoding":"i16","blend_unit":"percent","pose_layout":"head_rxyz_pxyz_rightEye_rxyz_leftEye_rxyz","rotation_unit":"degree","position_unit":"meter"}"#;
    let mut body = hex("11223344556677883c00b0041027000005000000");
    body.extend_from_slice(json.as_bytes());
    let schema = three();
    assert_eq!(schema.body().unwrap(), body);
    assert_eq!(Schema::read(1, &body), Ok(schema));
}

#[test]
fn fmv3_frame_is_read_and_written() {
    let bytes = hex(FRAME);
    let part = Part::read(&bytes).unwrap();
    assert_eq!((part.header.schema, part.header.sequence, part.header.flags), (1, 42, FLAG_TRACKED));
    let face = three().decode(&part.header, part.chunk).unwrap();
    assert_eq!(face.frame.get(Blendshape::EyeBlinkLeft), Some(0.25));
    assert_eq!(face.frame.get(Blendshape::EyeBlinkRight), Some(-0.25));
    assert_eq!(face.frame.get(Blendshape::JawOpen), Some(1.5));
    assert_eq!(face.frame.get(Blendshape::TongueOut), None);
    assert!(face.frame.tracked);
    assert_eq!(face.frame.sequence, Some(42));
    assert_eq!(face.head, Some(SourceRotation::Angles([1.0, 2.0, 3.0])));
    assert_eq!(face.position, Some([0.1, 0.2, -0.5]));
    let eyes = [[7.0, 8.0, 9.0], [4.0, 5.0, 6.0]].map(SourceRotation::Angles);
    assert_eq!(face.eyes, Some(eyes), "the right eye comes first on the wire");

    let mut body = Vec::new();
    three().encode(&PROFILE.apply(face), &PROFILE, &mut body).unwrap();
    // The eyes' roll is not kept, and the head's angles go through a quaternion.
    assert_eq!(body[..6], part.chunk[..6]);
    assert_eq!(body[18..38], part.chunk[18..38]);
    assert_eq!(body.len(), part.chunk.len());

    let lost = Header { flags: 0, ..part.header };
    assert!(!three().decode(&lost, part.chunk).unwrap().frame.tracked);
}

#[test]
fn fmv3_four_byte_values_and_custom_names() {
    let names = ["jawOpen", "独自の笑顔", "myCustomSmile", "eyeBlink_L", "eyeBlinkLeft"];
    let schema = Schema::new(2, Terms::default(), "Facemotion3d", Encoding::I32, names).unwrap();
    assert_eq!((schema.len(), schema.frame_len()), (5, 5 * 4 + 48));
    let three = Schema::new(2, Terms::default(), "Facemotion3d", Encoding::I32, names[..3].iter().copied()).unwrap();
    assert_eq!(Schema::read(2, &three.body().unwrap()), Ok(three));
    let mut body = Vec::new();
    for value in [40_000_i32, -7, 12, 30, 90] {
        body.extend_from_slice(&value.to_le_bytes());
    }
    body.extend_from_slice(&[0; 48]);
    let bytes = written(Message::new(Kind::Frame, SESSION).with_schema(2).with_body(&body));
    let part = Part::read(&bytes).unwrap();
    let frame = schema.decode(&part.header, part.chunk).unwrap().frame;
    assert_eq!(frame.get(Blendshape::JawOpen), Some(2.0), "clamped");
    assert_eq!(frame.get(Blendshape::EyeBlinkLeft), Some(0.3));
    let channels: Vec<_> = frame.channels.iter().map(|channel| (&*channel.name, channel.value)).collect();
    // The second spelling of a shape is a channel.
    assert_eq!(channels, [("独自の笑顔", -0.07), ("myCustomSmile", 0.12), ("eyeBlinkLeft", 0.9)]);
}

#[test]
fn fmv3_frame_allocates_nothing() {
    let schema = fifty_two();
    let mut body = Vec::new();
    schema.encode(&Performance::new(1).frame_at(Duration::from_secs(1)), &PROFILE, &mut body).unwrap();
    let bytes = written(Message::new(Kind::Frame, SESSION).with_schema(1).with_body(&body));
    assert_eq!(bytes.len(), 192);
    let mut parts = Reassembler::new();
    let now = Instant::now();
    let allocations = allocation_counter::measure(|| {
        let (header, body) = parts.take(Part::read(&bytes).unwrap(), now).unwrap().unwrap();
        assert!(schema.decode(&header, &body).unwrap().frame.is_complete());
    });
    assert_eq!(allocations.count_total, 0);
}

#[test]
fn fmv3_error_names_field() {
    let header = hex("464d5633030028000807060504030201010000000000000000000000000000000000010000000000");
    let refused = |at: usize, bytes: &[u8]| {
        let mut header = header.clone();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        Part::read(&header).unwrap_err().to_string()
    };
    assert_eq!(refused(0, b"FMV4"), "the message does not begin with FMV3");
    let beta = "message type is 10, only 1 to 9 are known; beta apps of revision 4 have other numbers";
    assert_eq!(refused(4, &[10]), beta);
    assert_eq!(refused(6, &[41]), "header size is 41, expected 40");
    assert_eq!(refused(8, &[0; 8]), "session is 0, which is none");
    assert_eq!(refused(16, &[0]), "schema is 0, which is none");
    assert_eq!(refused(28, &[1]), "the body of SCHEMA_ACK is 1 bytes long, expected 0 to 0");
    assert_eq!(refused(34, &[0]), "parts is 0, expected 1, or up to 512 for SCHEMA and FRAME");
    assert_eq!(refused(34, &[2]), "parts is 2, expected 1, or up to 512 for SCHEMA and FRAME");
    assert_eq!(refused(32, &[1]), "part is 1, which is beyond the last");
    assert_eq!(refused(36, &[1]), "length of the part is 1, which does not fit the whole");
    let short = Part::read(&header[..39]).unwrap_err().to_string();
    assert_eq!(short, "header: the message ends after 39 of 40 bytes");
    let long = [header.as_slice(), b"!"].concat();
    let long = Part::read(&long).unwrap_err().to_string();
    assert_eq!(long, "length of the part is 0, but the datagram is longer");
    assert_eq!(error_text(&[0xc3]).unwrap_err().to_string(), "the text of ERROR is no UTF-8");

    let mut frame = hex(FRAME);
    frame.truncate(90);
    assert_eq!(Part::read(&frame).unwrap_err().to_string(), "body: the message ends after 50 of 54 bytes");
    let mut frame = hex(FRAME);
    frame[46..50].copy_from_slice(&f32::NAN.to_le_bytes());
    let part = Part::read(&frame).unwrap();
    let error = three().decode(&part.header, part.chunk).unwrap_err().to_string();
    assert_eq!(error, "head rotation x is NaN, which is out of range");
    let error = fifty_two().decode(&part.header, part.chunk).unwrap_err().to_string();
    assert_eq!(error, "the body of FRAME is 54 bytes long, expected 152 to 152");
    let other = Header { schema: 9, ..part.header };
    let error = three().decode(&other, part.chunk).unwrap_err().to_string();
    assert_eq!(error, "the frame is of schema 9, not 1");
}

#[test]
fn fmv3_schema_error_names_key() {
    let body = three().body().unwrap();
    let text = String::from_utf8(body[START_LEN..].to_vec()).unwrap();
    let refused = |json: String| {
        let body = [&body[..START_LEN], json.as_bytes()].concat();
        Schema::read(1, &body).unwrap_err().to_string()
    };
    let unit = refused(text.replace("percent", "permille"));
    assert_eq!(unit, "schema `blend_unit` must be \"percent\"");
    assert_eq!(refused(text.replace("i16", "f32")), "schema `blend_encoding` must be \"i16\" or \"i32\"");
    assert_eq!(refused("{}".to_owned()), "schema `schema_version` must be 1");
    assert_eq!(refused(text.replace("jawOpen", "")), "schema `blend_names[2]` is not 1 to 255 bytes long");
    assert_eq!(refused(text.replace("jawOpen", "jaw\\u0007")), "schema `blend_names[2]` holds a control character");
    assert_eq!(refused(text.replace("jawOpen", "eyeBlinkLeft")), "schema `blend_names[2]` came before");
    for (twice, key) in [
        (text.replace("\"app\"", "\"profile\":\"\",\"app\""), "profile"),
        (text.replace("\"app\"", "\"new\":1,\"new\":2,\"app\""), "new"),
        (text.replace("\"app\"", "\"new\":{\"a\":[{\"b\":1,\"b\":2}]},\"app\""), "b"),
    ] {
        let error = refused(twice);
        assert!(error.contains(&format!("key `{key}` comes twice")), "{error}");
    }
    assert!(refused(text.replace("1,\"app", "NaN,\"app")).starts_with("schema JSON: "));
    let nested = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    assert!(refused(text.replace("\"app\"", &format!("\"new\":{nested},\"app\""))).contains("recursion limit"));
    let known = text.replace("\"app\"", "\"new\":{\"a\":[1.5,null,true,-1,\"x\"]},\"app\"");
    assert!(Schema::read(1, &[&body[..START_LEN], known.as_bytes()].concat()).is_ok(), "later revisions may add keys");

    let with = |at: usize, bytes: &[u8]| {
        let mut body = body.clone();
        body[at..at + bytes.len()].copy_from_slice(bytes);
        Schema::read(1, &body).unwrap_err().to_string()
    };
    assert_eq!(with(16, &[4]), "contract revision is 4, only 5 is understood");
    assert_eq!(with(8, &[61]), "frame rate is 61, expected 1 to 60");
    assert_eq!(with(10, &[0, 2]), "largest datagram is 512, expected 576 to 1200");
    assert_eq!(with(12, &[0; 4]), "lease is 0, expected 5000 to 60000 milliseconds");
    assert!(Schema::new(1, Terms::default(), "", Encoding::I16, ["a"; 2]).is_err());
    let names: Vec<_> = (0..=MAX_NAMES).map(|name| format!("custom_{name:04}")).collect();
    let schema = |count: usize| {
        let names = names[..count].iter().map(String::as_str);
        Schema::new(1, Terms::default(), "app", Encoding::I16, names)
    };
    assert_eq!(schema(MAX_NAMES + 1), Err(Fmv3Error::Name { index: MAX_NAMES, reason: "is one too many" }));
    // More than a subject may have are read past.
    let many = schema(MAX_NAMES).unwrap();
    assert_eq!(many.frame_len(), 2 * MAX_NAMES + 48);
    let body = vec![0; many.frame_len()];
    let message = written(Message::new(Kind::Frame, SESSION).with_schema(1).with_body(&body));
    let part = Part::read(&message).unwrap();
    assert_eq!(many.decode(&part.header, part.chunk).unwrap().frame.channels.len(), MAX_CHANNELS);
}

fn parts_of(schema: &Schema) -> Vec<Vec<u8>> {
    let body = schema.body().unwrap();
    let message = Message::new(Kind::Schema, SESSION).with_schema(schema.id).with_body(&body);
    (0..message.parts(SCHEMA_DATAGRAM))
        .map(|part| {
            let mut out = Vec::new();
            message.write_part(SCHEMA_DATAGRAM, part, &mut out);
            assert!(out.len() <= SCHEMA_DATAGRAM);
            out
        })
        .collect()
}

#[test]
fn fmv3_schema_parts_are_joined_in_any_order() {
    let schema = fifty_two();
    let datagrams = parts_of(&schema);
    assert_eq!(datagrams.len(), 3);
    let now = Instant::now();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut parts = Reassembler::new();
        for (count, index) in order.into_iter().enumerate() {
            for _ in 0..2 {
                if count == 2 {
                    break;
                }
                assert_eq!(parts.take(Part::read(&datagrams[index]).unwrap(), now), Ok(None), "twice is fine");
            }
        }
        let (header, body) = parts.take(Part::read(&datagrams[order[2]]).unwrap(), now).unwrap().unwrap();
        assert_eq!(Schema::read(header.schema, &body), Ok(schema.clone()));
        assert!(parts.is_empty());
    }
}

#[test]
fn fmv3_contradicting_or_late_parts_are_dropped() {
    let datagrams = parts_of(&fifty_two());
    let now = Instant::now();
    let mut parts = Reassembler::new();
    parts.take(Part::read(&datagrams[0]).unwrap(), now).unwrap();
    let mut other = datagrams[0].clone();
    other[50] ^= 1;
    let error = parts.take(Part::read(&other).unwrap(), now).unwrap_err().to_string();
    assert_eq!(error, "parts of one SCHEMA contradict each other: bytes");
    assert!(parts.is_empty());
    parts.take(Part::read(&datagrams[0]).unwrap(), now).unwrap();
    let mut longer = datagrams[1].clone();
    longer[28] ^= 1;
    let error = parts.take(Part::read(&longer).unwrap(), now).unwrap_err().to_string();
    assert_eq!(error, "parts of one SCHEMA contradict each other: length");

    for (at, datagram) in [(0, &datagrams[0]), (1, &datagrams[1])] {
        parts.take(Part::read(datagram).unwrap(), now + Duration::from_millis(at)).unwrap();
    }
    let late = now + SCHEMA_EXPIRES;
    assert_eq!(parts.take(Part::read(&datagrams[2]).unwrap(), late), Ok(None), "the first two have expired");
    assert_eq!(parts.len(), 1);
}

#[test]
fn fmv3_kept_parts_are_bounded() {
    let now = Instant::now();
    let mut parts = Reassembler::new();
    let piece = vec![0; 60_000];
    for session in 1..100_u64 {
        for part in 0..4 {
            let header = Header {
                kind: Kind::Schema,
                flags: 0,
                session,
                schema: 1,
                sequence: 0,
                source_token: 0,
                total: 250_000,
                part,
                parts: 5,
                chunk: 60_000,
            };
            assert_eq!(parts.take(Part { header, chunk: &piece }, now), Ok(None));
            assert!(parts.len() <= MAX_SETS);
            assert!(parts.held() <= MAX_HELD);
        }
    }
}

#[test]
fn fmv3_frame_count_wraps() {
    let mut count = Count::default();
    let (first, newer) = count.take(u32::MAX - 1);
    assert!(newer);
    assert_eq!(count.take(u32::MAX), (first + 1, true));
    assert_eq!(count.take(u32::MAX), (first + 1, false), "twice");
    assert_eq!(count.take(0), (first + 2, true));
    assert_eq!(count.take(u32::MAX), (first + 1, false), "late");
    assert_eq!(count.take(0x7fff_ffff), (first + 2 + 0x7fff_ffff, true), "half the range ahead is newer");
    assert!(!count.take(0xffff_ffff).1, "more is older");
    let (newest, _) = count.take(0x8000_0000);
    count.restart();
    assert_eq!(count.take(3), (newest + 1, true), "a new session goes on");
    assert_eq!(count.take(4), (newest + 2, true));
    assert!(!count.take(2).1);
    let mut count = Count::default();
    assert_eq!(count.take(42), (42, true));
}

proptest! {
    #[test]
    fn fmv3_random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = inspect(&bytes);
        let _ = Schema::read(1, &bytes);
        let _ = Hello::read(&bytes);
    }

    #[test]
    fn fmv3_broken_message_never_panics(kind in 1_u8..10, at in 0_usize..700, value in any::<u8>()) {
        let schema = three();
        let mut bytes = match kind {
            2 => written(Message::new(Kind::Schema, SESSION).with_schema(1).with_body(&schema.body().unwrap())),
            _ => hex(FRAME),
        };
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = inspect(&bytes);
        if let Ok(part) = Part::read(&bytes) {
            let _ = Reassembler::new().take(part, Instant::now());
            if let Ok(face) = schema.decode(&part.header, part.chunk) {
                let frame = PROFILE.apply(face);
                prop_assert!(frame.weights.iter().all(|weight| (-1.0..=2.0).contains(weight)));
                let length: f32 = frame.head.unwrap().rotation.iter().map(|part| part * part).sum();
                prop_assert!((length - 1.0).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn fmv3_round_trips(
        seed in any::<u64>(),
        second in 0.0_f32..60.0,
        wide in any::<bool>(),
        size in 41_usize..1200,
        sequence in any::<u32>(),
    ) {
        let frame = Performance::new(seed).frame_at(Duration::from_secs_f32(second));
        let mut schema = fifty_two();
        schema.encoding = if wide { Encoding::I32 } else { Encoding::I16 };
        let mut body = Vec::new();
        schema.encode(&frame, &PROFILE, &mut body).unwrap();
        let message = Message {
            flags: FLAG_TRACKED,
            ..Message::new(Kind::Frame, SESSION).with_schema(1).with_sequence(sequence).with_body(&body)
        };
        let mut parts = Reassembler::new();
        let now = Instant::now();
        let mut whole = None;
        for part in 0..message.parts(size) {
            prop_assert!(whole.is_none());
            let mut bytes = Vec::new();
            message.write_part(size, part, &mut bytes);
            prop_assert!(bytes.len() <= size);
            whole = parts
                .take(Part::read(&bytes).unwrap(), now)
                .unwrap()
                .map(|(header, body)| (header, body.into_owned()));
        }
        let (header, read) = whole.unwrap();
        prop_assert_eq!(&read, &body);
        let back = schema.decode(&header, &read).unwrap();
        prop_assert_eq!(back.frame.sequence, Some(sequence.into()));
        let back = PROFILE.apply(back);
        prop_assert!(back.tracked && back.is_complete());
        for (was, is) in frame.weights.iter().zip(back.weights) {
            prop_assert!((was - is).abs() < 0.0051);
        }
        let (was, is) = (frame.head.unwrap().rotation, back.head.unwrap().rotation);
        prop_assert!(was.iter().zip(is).map(|(a, b)| a * b).sum::<f32>().abs() > 1.0 - 1e-4);
        prop_assert!((frame.gaze.unwrap().left.yaw - back.gaze.unwrap().left.yaw).abs() < 1e-4);
    }
}
