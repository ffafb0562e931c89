//! Takes, read back by the MCAP packages of Foxglove from PyPI: every schema, and every number bit for bit.

#![expect(clippy::expect_used, reason = "helpers of tests")]

use std::{
    fs::File,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use facelink::{
    Channel, FaceFrame,
    event::{LinkEvent, Speech, SubjectFrame, SubjectId},
    media::PictureCodec,
    performer::Performance,
    source::{PhonePort, SourceKind},
    take::{
        PhoneRecording, RecordedFrame, RecordedPacket, RecordedPicture, RecordedSound, TakeAbout, TakeContent,
        TakeReader, TakeWriter,
    },
    timing::SourceClock,
    wire::{facelink1, viseme::Viseme},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{file, take_readers};

const NAMES: [&str; 2] = ["Ann", "Zoë 顔/1"];

/// A frame as it comes out of the compact wire.
fn over_the_wire(frame: &FaceFrame) -> FaceFrame {
    let (mut packet, mut received) = (Vec::new(), None);
    facelink1::Encoder::new().encode("", frame, facelink1::Clock::Unix, &mut packet).expect("encoded");
    facelink1::Decoder::new().decode(&packet, |face| received = Some(face.frame)).expect("decoded");
    received.expect("a face")
}

/// Two seconds of two faces, one of steps and one of floats, and one thing of everything else.
fn record(path: &Path) {
    let start = Instant::now();
    let about = TakeAbout::new("scene 7", 3, Duration::new(1_790_000_000, 5));
    let mut writer = TakeWriter::new(File::create(path).expect("a file"), &about, start).expect("begun");
    writer.attach("calibration.json", "application/json", b"{}").expect("attached");
    let appeared = LinkEvent::SubjectAppeared {
        id: SubjectId(1),
        name: NAMES[0].into(),
        source: SourceKind::WebRtc,
        address: None,
    };
    writer.event(&appeared, start).expect("written");
    let mut clocks = [SourceClock::new(start), SourceClock::new(start)];
    for number in 0..120_u32 {
        let captured = Duration::from_micros(16_667) * number;
        for (place, clock) in clocks.iter_mut().enumerate() {
            let received = start + captured + Duration::from_micros(u64::from(number) * 7919 % 4000);
            let mut frame = Performance::new(place as u64).frame_at(captured);
            (frame.sequence, frame.capture_time) = (Some(number.into()), Some(captured));
            if place == 0 {
                frame = over_the_wire(&frame);
            } else {
                frame.channels.push(Channel { name: "tongueUp".into(), value: 0.01 * number as f32 });
                frame.present &= !0b101;
            }
            let speech =
                (number % 10 == 3).then_some(Speech { viseme: Viseme::Aa, weight: 0.5, weights: frame.weights });
            writer
                .frame(&SubjectFrame {
                    id: SubjectId(1 + place as u64),
                    name: NAMES[place].into(),
                    source: if place == 0 { SourceKind::WebRtc } else { SourceKind::LiveLinkFace },
                    stamp: (number > 5).then(|| clock.record(Some(captured), received)),
                    frame,
                    speech,
                    received,
                    late: number % 17 == 4,
                    repeated: false,
                })
                .expect("written");
        }
    }
    let end = start + Duration::from_secs(2);
    writer.mark("the good one", end).expect("written");
    writer.stats(&json!({"connections": 2}), end).expect("written");
    let packet = RecordedPacket {
        data: vec![1, 255],
        port: PhonePort::LiveLinkFace,
        peer: "192.0.2.1:11111".parse().expect("an address"),
        tcp: false,
    };
    writer.packet(&packet, end).expect("written");
    writer.phone(&PhoneRecording::new([192, 0, 2, 1].into(), true, "10:00:00:12"), end).expect("written");
    let time = Some(Duration::new(1_790_000_001, 250_000_000));
    let subject: std::sync::Arc<str> = NAMES[1].into();
    let picture = RecordedPicture { subject: subject.clone(), codec: PictureCodec::H264, data: vec![0, 0, 0, 1], time };
    writer.picture(&picture, end).expect("written");
    writer.sound(&RecordedSound { subject, data: vec![0xfc, 1, 2, 3], time }, end).expect("written");
    writer.finish(end).expect("ended");
}

fn bits(values: &[f32]) -> Value {
    values.iter().flat_map(|value| value.to_le_bytes()).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// A frame as the script writes it.
fn expected(face: &RecordedFrame) -> Value {
    let frame = &face.frame;
    let all = (1_u64 << frame.weights.len()) - 1;
    json!({
        "weights": bits(&frame.weights),
        "missing": !frame.present & all,
        "rotation": frame.head.map(|head| bits(&head.rotation)),
        "position": frame.head.and_then(|head| head.position).map(|position| bits(&position)),
        "gaze": frame.gaze.map(|gaze| bits(&[gaze.left.yaw, gaze.left.pitch, gaze.right.yaw, gaze.right.pitch])),
        "tracked": frame.tracked,
        "sequence": frame.sequence,
        "stamp": face.stamp.map(|stamp| {
            json!([stamp.capture_us, stamp.base_us, stamp.queue_us, stamp.epoch, stamp.interval_us])
        }),
        "late": face.late,
        "viseme": face.speech.map(|speech| speech.viseme.name()),
        "below": face.speech.map(|speech| bits(&speech.weights)),
        "channels": frame.channels.iter().map(|c| json!([&*c.name, bits(&[c.value])])).collect::<Vec<_>>(),
    })
}

#[test]
fn take_is_read_by_the_mcap_packages() {
    let Some(command) = take_readers("mcap.reader, mcap_protobuf.decoder") else { return };
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.mcap");
    record(&path);
    // Cut by our own command, it is as good a file.
    let cut = folder.path().join("cut.mcap");
    let done = Command::new(env!("CARGO_BIN_EXE_facelink"))
        .args(["take", "cut", "--from", "0.5"])
        .arg(&path)
        .arg("--out")
        .arg(&cut)
        .output()
        .expect("facelink runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    for path in [path, cut] {
        let done = command().arg(file("tests/peers/read_mcap.py")).arg(&path).output().expect("Python runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let read: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        let mut reader = TakeReader::open(File::open(&path).expect("a file")).expect("a take");
        let started = reader.about().started;
        let topics = &read["topics"];
        let mut counts = [0; 2];
        while let Some(entry) = reader.next_entry().expect("readable") {
            let TakeContent::Frame(face) = entry.content else { continue };
            let place = NAMES.iter().position(|name| **name == *face.name).expect("one of them");
            let found = &topics[format!("/face/{}", face.name)]["messages"][counts[place]];
            let time = u64::try_from((started + entry.time).as_nanos()).expect("before 2500");
            assert_eq!((&found[0], &found[1]), (&json!(time), &expected(&face)), "{} {}", face.name, counts[place]);
            counts[place] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 88), "{counts:?}");
        for (place, source) in ["webrtc", "live_link_face"].into_iter().enumerate() {
            let topic = &topics[format!("/face/{}", NAMES[place])];
            assert_eq!(topic["messages"].as_array().map(Vec::len), Some(counts[place]));
            assert_eq!(topic["metadata"], json!({"subject": NAMES[place], "source": source}));
        }
        let last =
            |topic: &str| topics[topic]["messages"].as_array().and_then(|all| all.last()).map(|pair| pair[1].clone());
        assert_eq!(last("/marks"), Some(json!({"text": "the good one"})));
        assert_eq!(last("/stats"), Some(json!({"connections": 2})));
        let packet = json!({"data": "Af8=", "port": "live_link_face", "peer": "192.0.2.1:11111"});
        assert_eq!(last("/packets"), Some(packet));
        let time = "2026-09-21T14:13:21.250Z";
        let picture = json!({"timestamp": time, "frameId": NAMES[1], "data": "AAAAAQ==", "format": "h264"});
        assert_eq!(last(&format!("/picture/{}", NAMES[1])), Some(picture));
        let sound = json!({"timestamp": time, "data": "/AECAw==", "format": "opus"});
        assert_eq!(last(&format!("/sound/{}", NAMES[1])), Some(sound));
        assert_eq!(last("/events"), Some(json!({"event": "stopped"})));
        let events = topics["/events"]["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let phone =
            json!({"event": "phone_recording", "address": "192.0.2.1", "recording": true, "timecode": "10:00:00:12"});
        assert!(events.iter().any(|event| event[1] == phone), "{events:?}");
        assert_eq!(read["metadata"]["facelink.take"]["slate"], "scene 7");
        assert_eq!(read["attachments"], json!({"calibration.json": "{}"}));
    }
}
