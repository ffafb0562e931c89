//! Takes as files: what is recorded is played bit for bit, and what is cut or damaged opens.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io::{self, Cursor, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    BLENDSHAPE_COUNT, Blendshape, Channel, EyeGaze, FaceFrame, Gaze, HeadPose,
    event::{Emotion, LinkEvent, LostReason, Speech, SubjectFrame, SubjectId},
    media::PictureCodec,
    performer::Performance,
    source::{PhonePort, SourceKind},
    take::{
        Played, RecordedFrame, RecordedPacket, RecordedPicture, RecordedSound, TakeAbout, TakeContent, TakeLane,
        TakePart, TakePlayer, TakeReadError, TakeReader, TakeWriteError, TakeWriter,
    },
    timing::{SourceClock, Stamp},
    wire::{facelink1, viseme::Viseme},
};
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn about() -> TakeAbout {
    TakeAbout::new("scene 7", 3, Duration::new(1_790_000_000, 123_456_789))
}

fn subject_frame(id: u64, name: &str, frame: FaceFrame, received: Instant) -> SubjectFrame {
    SubjectFrame {
        id: SubjectId(id),
        name: name.into(),
        source: SourceKind::WebRtc,
        frame,
        speech: None,
        received,
        stamp: None,
        late: false,
        repeated: false,
    }
}

/// A frame as it comes out of the compact wire.
fn over_the_wire(frame: &FaceFrame) -> FaceFrame {
    let (mut packet, mut received) = (Vec::new(), None);
    facelink1::Encoder::new().encode("", frame, facelink1::Clock::Unix, &mut packet).unwrap();
    facelink1::Decoder::new().decode(&packet, |face| received = Some(face.frame)).unwrap();
    received.unwrap()
}

/// A session of some seconds with two faces of 60 Hz, one of which numbers its frames and loses some.
fn session(start: Instant, seconds: u64) -> Vec<SubjectFrame> {
    let names: [Arc<str>; 2] = ["Ann".into(), "Bob \"the\" face/1".into()];
    let performances = [Performance::new(1), Performance::new(2)];
    let mut clocks = [SourceClock::new(start), SourceClock::new(start)];
    let mut frames = Vec::new();
    for number in 0..seconds * 60 {
        for place in 0..2 {
            if place == 0 && number % 50 == 7 {
                continue;
            }
            let captured = Duration::from_micros(16_667) * number as u32;
            let received = start + captured + Duration::from_micros(number * 7919 % 4000);
            let mut frame = performances[place].frame_at(captured);
            if place == 0 {
                (frame.sequence, frame.capture_time) = (Some(number), Some(captured));
                frame = over_the_wire(&frame);
            }
            frame.capture_time = Some(captured);
            let stamp = clocks[place].record(Some(captured), received);
            let mut frame = subject_frame(place as u64 + 1, &names[place], frame, received);
            frame.name = names[place].clone();
            frame.stamp = Some(stamp);
            frames.push(frame);
        }
    }
    frames
}

fn record(start: Instant, frames: &[SubjectFrame]) -> Vec<u8> {
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    for frame in frames {
        writer.frame(frame).unwrap();
    }
    let end = frames.last().map_or(start, |frame| frame.received);
    writer.finish(end).unwrap()
}

fn open(bytes: &[u8]) -> TakeReader<Cursor<&[u8]>> {
    TakeReader::open(Cursor::new(bytes)).unwrap()
}

#[test]
fn timeline_shows_movement_loss_and_marks() {
    let start = Instant::now();
    let recorded = session(start, 10);
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    for (number, frame) in recorded.iter().enumerate() {
        let mut frame = frame.clone();
        if &*frame.name != "Ann" {
            // It looks away for the last two seconds, and is as it was a second before.
            frame.late = number == 500;
            frame.frame.tracked = frame.received < start + ms(8000);
            if !frame.frame.tracked {
                frame.frame.weights = [0.0; BLENDSHAPE_COUNT];
            }
        }
        writer.frame(&frame).unwrap();
        if number == 600 {
            writer.mark("line 3", frame.received).unwrap();
        }
    }
    let bytes = writer.finish(start + ms(10_000)).unwrap();
    let mut reader = open(&bytes);
    let timeline = reader.timeline(10).unwrap();
    assert!(timeline.duration.abs_diff(ms(10_000)) < ms(5), "{:?}", timeline.duration);
    assert_eq!(timeline.marks.len(), 1);
    assert_eq!(timeline.marks[0].1, "line 3");
    let [ann, bob] = &timeline.lanes[..] else { panic!("{:?}", timeline.lanes) };
    assert_eq!((&*ann.name, ann.source, ann.parts.len()), ("Ann", SourceKind::WebRtc, 10));
    let sum = |of: fn(&TakePart) -> u32, lane: &TakeLane| lane.parts.iter().map(of).sum::<u32>();
    assert_eq!((sum(|part| part.frames, ann), sum(|part| part.lost, ann)), (588, 12));
    assert_eq!((sum(|part| part.frames, bob), sum(|part| part.late, bob)), (600, 1));
    assert!(bob.parts[..7].iter().all(|part| part.untracked == 0 && part.movement > 0.0), "{bob:?}");
    assert!(bob.parts[9].untracked > 55 && bob.parts[9].movement == 0.0, "{bob:?}");
    assert!(ann.parts.iter().all(|part| (57..=61).contains(&part.frames)), "{ann:?}");

    assert_eq!(open(&bytes).timeline(0).unwrap().lanes[0].parts.len(), 1);
    let first = reader.next_entry().unwrap().unwrap();
    assert!(first.time < ms(10), "it begins again at the start");
}

fn frames(bytes: &[u8]) -> Vec<(Duration, RecordedFrame)> {
    let mut reader = open(bytes);
    std::iter::from_fn(|| reader.next_entry().unwrap())
        .filter_map(|entry| match entry.content {
            TakeContent::Frame(frame) => Some((entry.time, *frame)),
            _ => None,
        })
        .collect()
}

/// Every bit of a frame: what `==` takes for equal is not always.
fn bits(frame: &FaceFrame) -> Vec<u64> {
    let float = |value: f32| u64::from(value.to_bits());
    let mut bits: Vec<u64> = frame.weights.iter().map(|weight| float(*weight)).collect();
    bits.extend([frame.present, u64::from(frame.tracked), frame.sequence.map_or(0, |number| number.wrapping_add(1))]);
    bits.extend(frame.capture_time.iter().flat_map(|time| [time.as_secs(), u64::from(time.subsec_nanos())]));
    bits.extend(frame.channels.iter().map(|channel| float(channel.value)));
    if let Some(head) = &frame.head {
        bits.extend(head.rotation.iter().chain(head.position.iter().flatten()).map(|value| float(*value)));
    }
    if let Some(Gaze { left, right }) = frame.gaze {
        bits.extend([left.yaw, left.pitch, right.yaw, right.pitch].map(float));
    }
    bits
}

fn assert_same(start: Instant, time: Duration, read: RecordedFrame, given: &SubjectFrame) {
    let read = read.at(start + time);
    assert_eq!(bits(&read.frame), bits(&given.frame));
    assert_eq!(read.frame, given.frame);
    assert_eq!((read.id, &read.name, read.source), (given.id, &given.name, given.source));
    assert_eq!((read.stamp, read.late, read.repeated), (given.stamp, given.late, given.repeated));
    assert_eq!(read.received, given.received);
    match (read.speech, given.speech) {
        (None, None) => {}
        (Some(a), Some(b)) => {
            assert_eq!((a.viseme, a.weight.to_bits()), (b.viseme, b.weight.to_bits()));
            assert_eq!(a.weights.map(f32::to_bits), b.weights.map(f32::to_bits));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn take_file_keeps_every_frame_exactly() {
    let start = Instant::now();
    let session = session(start, 5);
    let bytes = record(start, &session);
    let read = frames(&bytes);
    assert_eq!(read.len(), session.len());
    for ((time, read), given) in read.into_iter().zip(&session) {
        assert_same(start, time, read, given);
    }
    let info = open(&bytes).info().unwrap();
    assert!(info.complete);
    assert_eq!((info.about, info.dropped, info.damaged), (about(), Some(0), 0));
    assert_eq!(info.duration, session.last().unwrap().received - start);
    let [ann, bob] = &info.subjects[..] else { panic!("{:?}", info.subjects) };
    assert_eq!((&*ann.name, ann.source, ann.frames, ann.lost, ann.late), ("Ann", SourceKind::WebRtc, 294, 6, 0));
    assert_eq!((&*bob.name, bob.frames, bob.lost), ("Bob \"the\" face/1", 300, 0));
    assert!((bob.fps - 60.0).abs() < 0.1, "{}", bob.fps);
}

#[test]
fn take_file_keeps_events_marks_packets_and_attachments() {
    let start = Instant::now();
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    let events = [
        LinkEvent::Connected {
            connection_id: "c-1".into(),
            source: SourceKind::WebSocket,
            address: Some("[::1]:5".parse().unwrap()),
        },
        LinkEvent::SubjectAppeared { id: SubjectId(4), name: "Ann".into(), source: SourceKind::Vmc, address: None },
        LinkEvent::Emotion {
            id: SubjectId(4),
            name: "Ann".into(),
            emotion: Emotion {
                name: "happy".into(),
                intensity: 0.1,
                fade: Some(Duration::from_nanos(250_000_001)),
                duration: None,
            },
        },
        LinkEvent::Gesture {
            id: SubjectId(4),
            name: "Ann".into(),
            gesture: "wink_left".into(),
            active: false,
            lasted: Duration::from_nanos(350_000_001),
        },
        LinkEvent::Cut { id: SubjectId(4), name: "Ann".into() },
        LinkEvent::SubjectLost { id: SubjectId(4), name: "Ann".into(), reason: LostReason::Silent },
        LinkEvent::Disconnected { connection_id: "c-1".into(), reason: "bye".to_owned() },
    ];
    writer.attach("performers.ron", "text/plain", b"[]").unwrap();
    for (place, event) in events.iter().enumerate() {
        writer.event(event, start + ms(place as u64)).unwrap();
    }
    writer.mark("the good one", start + ms(10)).unwrap();
    writer.stats(&serde_json::json!({"connections": 1}), start + ms(11)).unwrap();
    let packet = RecordedPacket {
        data: vec![0, 255, 7],
        port: PhonePort::LiveLinkFace,
        peer: "192.0.2.1:11111".parse().unwrap(),
        tcp: false,
    };
    writer.packet(&packet, start + ms(12)).unwrap();
    writer.count_dropped(3);
    let bytes = writer.finish(start + ms(20)).unwrap();

    let mut reader = open(&bytes);
    let (mut read, mut rest) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry.content {
            TakeContent::Event(event) => read.push(format!("{event:?}")),
            other => rest.push((entry.time, format!("{other:?}"))),
        }
    }
    assert_eq!(read, events.map(|event| format!("{event:?}")));
    assert_eq!(
        rest,
        [
            (ms(10), "Mark(\"the good one\")".to_owned()),
            (ms(11), "Stats(\"{\\\"connections\\\":1}\")".to_owned()),
            (ms(12), format!("Packet({packet:?})")),
            (ms(20), "Stopped".to_owned()),
        ]
    );
    assert_eq!(reader.attachment("performers.ron").unwrap(), b"[]");
    assert!(matches!(reader.attachment("x"), Err(TakeReadError::NoAttachment(_))));
    let info = reader.info().unwrap();
    assert_eq!((info.duration, info.dropped), (ms(20), Some(3)));
}

#[test]
fn take_file_cut_at_every_byte_opens_and_loses_the_last_chunk_alone() {
    let start = Instant::now();
    // The rate is low so that the file is short: every length of it is opened.
    let session: Vec<_> = session(start, 4).into_iter().step_by(20).collect();
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    writer.attach("a", "text/plain", b"first").unwrap();
    // Frames that are in the file for sure once it has this length.
    let mut whole = vec![(0, 0)];
    for (count, frame) in session.iter().enumerate() {
        writer.frame(frame).unwrap();
        if writer.whole_bytes() > whole.last().unwrap().0 {
            whole.push((writer.whole_bytes(), count));
        }
    }
    assert!(whole.len() > 4, "several chunks: {whole:?}");
    let bytes = writer.finish(session.last().unwrap().received).unwrap();
    let header = whole[1].0 as usize;
    for len in 0..bytes.len() {
        let cut = &bytes[..len];
        let mut reader = match TakeReader::open(Cursor::new(cut)) {
            Ok(reader) => reader,
            Err(error) => {
                assert!(len < header, "{len} of {}: {error}", bytes.len());
                continue;
            }
        };
        assert!(!reader.is_complete(), "{len}");
        let sure = whole.iter().rev().find(|(at, _)| *at <= len as u64).unwrap().1;
        let mut read = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            if let TakeContent::Frame(frame) = entry.content {
                read.push((entry.time, *frame));
            }
        }
        assert!(read.len() >= sure, "{len}: {} of {sure}", read.len());
        let info = reader.info().unwrap();
        assert_eq!(info.subjects.iter().map(|subject| subject.frames).sum::<u64>(), read.len() as u64);
        for ((time, read), given) in read.into_iter().zip(&session) {
            assert_same(start, time, read, given);
        }
    }
    let mut reader = open(&bytes);
    assert!(reader.is_complete());
    // What is counted in a file that was cut is what the end of a whole one says.
    let counted = TakeReader::open(Cursor::new(&bytes[..bytes.len() - 1])).unwrap().info().unwrap().subjects;
    assert_eq!(counted, reader.info().unwrap().subjects);
}

#[test]
fn take_file_damaged_anywhere_is_read_without_harm() {
    let start = Instant::now();
    let session: Vec<_> = session(start, 2).into_iter().step_by(4).collect();
    let bytes = record(start, &session);
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..1000 {
        let mut damaged = bytes.clone();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(0..damaged.len());
            match random.u8(0..4) {
                0 => damaged[at] = random.u8(..),
                1 => damaged[at] ^= 1 << random.u8(0..8),
                2 => damaged[at..].iter_mut().take(8).for_each(|byte| *byte = 0xff),
                _ => {
                    let end = (at + random.usize(0..64)).min(damaged.len());
                    damaged.drain(at..end);
                }
            }
            if damaged.is_empty() {
                break;
            }
        }
        let peak = allocation_counter::measure(|| {
            let Ok(mut reader) = TakeReader::open(Cursor::new(&damaged)) else { return };
            let _ = reader.info().unwrap();
            reader.seek(ms(700)).unwrap();
            while let Some(entry) = reader.next_entry().unwrap() {
                if let TakeContent::Frame(frame) = entry.content {
                    assert!(frame.frame.clone().check().is_ok());
                }
            }
            let _ = reader.faces_at(ms(900)).unwrap();
            let _ = reader.take("Ann");
            let mut player = TakePlayer::new(reader, start);
            let mut now = start;
            for _ in 0..50 {
                while player.poll(now).unwrap().is_some() {}
                now += ms(100);
            }
        });
        assert!(peak.bytes_max < 40 << 20, "round {round}: {peak:?}");
    }
}

#[test]
fn take_file_of_something_else_is_refused() {
    let refused = |bytes: &[u8]| TakeReader::open(Cursor::new(bytes)).err().map(|error| error.to_string());
    assert_eq!(refused(b"").as_deref(), Some("this is no take: an MCAP file begins with other bytes"));
    assert_eq!(refused(b"Timecode,BlendShapeCount,").as_deref(), refused(b"").as_deref());
    let mut other = mcap::WriteOptions::new().compression(None).create(Cursor::new(Vec::new())).unwrap();
    other.add_channel(0, "/points", "cdr", &Default::default()).unwrap();
    other.finish().unwrap();
    let other = other.into_inner().into_inner();
    assert_eq!(refused(&other).as_deref(), Some("this MCAP file has no faces"));
}

#[test]
fn take_file_order_holds_when_arrivals_go_back() {
    let start = Instant::now();
    let mut writer = TakeWriter::new(Vec::new(), &about(), start).unwrap();
    let frame = |at: Duration, number: u64| {
        let frame = FaceFrame { sequence: Some(number), ..FaceFrame::neutral() };
        subject_frame(1, "Ann", frame, start + at)
    };
    // A viseme that ends is a face of the last arrival; and one that came before the take began.
    let given = [frame(ms(100), 1), frame(ms(40), 2), frame(ms(100), 3), frame(ms(2000), 4), frame(ms(1), 5)];
    for frame in &given {
        writer.frame(frame).unwrap();
    }
    let bytes = writer.finish(start).unwrap();
    let read = frames(&bytes);
    assert_eq!(read.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [100, 100, 100, 2000, 2000].map(ms));
    for ((time, read), given) in read.into_iter().zip(&given) {
        assert_same(start, time, read, given);
    }
    // The time of day is no part of the order: one that cannot be is written, and read.
    for started in [Duration::ZERO, Duration::MAX] {
        let mut writer = TakeWriter::new(Vec::new(), &TakeAbout::new("", 1, started), start).unwrap();
        writer.frame(&given[0]).unwrap();
        let bytes = writer.finish(start + ms(500)).unwrap();
        assert_eq!(frames(&bytes)[0].0, ms(100));
        assert_eq!(open(&bytes).duration(), ms(500));
    }
}

#[test]
fn take_seek_reads_one_chunk() {
    let start = Instant::now();
    let frame = |at: u64| {
        let frame = FaceFrame { sequence: Some(at), ..FaceFrame::neutral() };
        subject_frame(1, "Ann", frame, start + ms(at))
    };
    // An hour of a slow face.
    let session: Vec<_> = (0..36_000).map(|number| frame(number * 100)).collect();
    let bytes = record(start, &session);
    let mut reader = open(&bytes);
    assert_eq!((reader.chunks_read(), reader.duration()), (0, ms(3_599_900)), "opened by its index");
    for (time, found) in [(1_800_050, 1_800_100), (0, 0), (3_599_900, 3_599_900), (1_234_500, 1_234_500)] {
        let before = reader.chunks_read();
        reader.seek(ms(time)).unwrap();
        assert_eq!(reader.next_entry().unwrap().unwrap().time, ms(found));
        assert!(reader.chunks_read() <= before + 2, "at most the chunk, and the next where it is the end of one");
        let faces = reader.faces_at(ms(time)).unwrap();
        assert_eq!(faces[0].frame.sequence, Some(time / 100 * 100));
        assert!(reader.chunks_read() <= before + 5);
    }
    reader.seek(ms(4_000_000)).unwrap();
    assert!(reader.next_entry().unwrap().is_none());
}

/// Everything that is played in virtual time, as a hash and a count.
fn played(
    bytes: &[u8],
    start: Instant,
    setup: impl Fn(&mut TakePlayer<Cursor<&[u8]>>),
) -> (u64, Vec<(Duration, Played)>) {
    let mut player = TakePlayer::new(open(bytes), start);
    setup(&mut player);
    let mut hasher = DefaultHasher::new();
    let mut all = Vec::new();
    for step in 0..3000 {
        let now = start + ms(step * 5);
        while let Some(played) = player.poll(now).unwrap() {
            if let Played::Frame(frame) = &played {
                (&frame.name, bits(&frame.frame), frame.received - start, frame.late, frame.repeated).hash(&mut hasher);
                if let Some(Stamp { capture_us, base_us, queue_us, epoch, interval_us }) = frame.stamp {
                    (capture_us, base_us, queue_us, epoch, interval_us).hash(&mut hasher);
                }
            }
            all.push((now - start, played));
        }
        if player.is_finished() {
            break;
        }
    }
    (hasher.finish(), all)
}

#[test]
fn take_played_twice_is_the_same_and_is_what_was_recorded() {
    let start = Instant::now();
    let session = session(start, 3);
    let bytes = record(start, &session);
    let (first, all) = played(&bytes, start, |_| {});
    let (second, _) = played(&bytes, start + ms(77), |_| {});
    assert_eq!(first, second);
    let only: Vec<_> = all
        .iter()
        .filter_map(|(_, played)| if let Played::Frame(frame) = played { Some(frame.clone()) } else { None })
        .collect();
    assert_eq!(only.len(), session.len());
    for (played, given) in only.iter().zip(&session) {
        assert_eq!(bits(&played.frame), bits(&given.frame));
        assert_eq!((played.stamp, played.received), (given.stamp, given.received));
    }
    // Played and recorded again, it is the same take.
    assert_eq!(frames(&record(start, &only)), frames(&bytes));
    let appeared = all.iter().filter(|(_, played)| matches!(played, Played::Event(LinkEvent::SubjectAppeared { .. })));
    let lost = all.iter().filter(|(_, played)| matches!(played, Played::Event(LinkEvent::SubjectLost { .. })));
    assert_eq!((appeared.count(), lost.count()), (2, 2));
}

#[test]
fn take_player_speed_range_loop_and_subjects() {
    let start = Instant::now();
    let bytes = record(start, &session(start, 3));
    let times = |all: &[(Duration, Played)]| -> Vec<Duration> {
        all.iter().filter_map(|(at, played)| matches!(played, Played::Frame(_)).then_some(*at)).collect()
    };
    let (_, double) = played(&bytes, start, |player| player.set_speed(2.0, start));
    let double = times(&double);
    assert!(*double.last().unwrap() <= ms(1505) && *double.last().unwrap() >= ms(1480), "{:?}", double.last());

    let (_, part) = played(&bytes, start, |player| player.set_range(ms(1000), Some(ms(1500)), start).unwrap());
    assert_eq!(times(&part).len(), 60, "half a second of two faces");
    assert!(*times(&part).last().unwrap() <= ms(500));

    let (_, alias) = played(&bytes, start, |player| {
        player.set_subjects(Some(vec![("Ann".into(), "Carol".into())]));
    });
    let names = |played: &Played| match played {
        Played::Frame(frame) => frame.name.clone(),
        Played::Event(LinkEvent::SubjectAppeared { name, .. } | LinkEvent::SubjectLost { name, .. }) => name.clone(),
        other => panic!("{other:?}"),
    };
    assert!(alias.iter().all(|(_, played)| *names(played) == *"Carol"));
    assert_eq!(times(&alias).len(), 3 * 60 - 4);

    let mut player = TakePlayer::new(open(&bytes), start);
    player.set_range(ms(500), Some(ms(1500)), start).unwrap();
    player.set_looped(true);
    let mut stamps: Vec<(i64, Stamp)> = Vec::new();
    for step in 0..500 {
        let now = start + ms(step * 10);
        while let Some(played) = player.poll(now).unwrap() {
            if let Played::Frame(frame) = played
                && *frame.name == *"Ann"
            {
                stamps.push(((frame.received - start).as_micros() as i64, frame.stamp.unwrap()));
            }
        }
    }
    assert!((280..=300).contains(&stamps.len()), "five rounds of a second: {}", stamps.len());
    let arrivals: Vec<_> = stamps.iter().map(|(_, stamp)| stamp.arrival_us()).collect();
    assert!(arrivals.windows(2).skip(60).all(|pair| pair[1] >= pair[0]), "time goes on over the turn");
    let epochs: std::collections::BTreeSet<_> = stamps.iter().map(|(_, stamp)| stamp.epoch).collect();
    assert_eq!(epochs.len(), 5, "each round is an epoch");

    player.pause(start + ms(5000));
    let position = player.position(start + ms(5000));
    assert!(player.poll(start + ms(9000)).unwrap().is_none() && player.is_paused());
    assert_eq!(player.position(start + ms(9000)), position);
    player.resume(start + ms(9000));
    assert!(player.poll(start + ms(9200)).unwrap().is_some());
    player.seek(ms(600), start + ms(9300)).unwrap();
    assert_eq!(player.position(start + ms(9300)), ms(600));
}

#[test]
fn take_player_keeps_the_origin_of_stamps_over_jumps() {
    let start = Instant::now();
    let frames: Vec<_> = (0..120_i64)
        .map(|i| {
            let received = start + ms(u64::try_from(i).unwrap() * 16);
            // The endpoint ran for an hour before.
            let stamp =
                Stamp { capture_us: i * 16_000, base_us: 3_600_000_000, queue_us: 0, epoch: 2, interval_us: 16_000 };
            SubjectFrame { stamp: Some(stamp), ..subject_frame(1, "Ann", FaceFrame::neutral(), received) }
        })
        .collect();
    let bytes = record(start, &frames);
    let mut player = TakePlayer::new(open(&bytes), start);
    let mut taken: Vec<SubjectFrame> = Vec::new();
    let mut take = |player: &mut TakePlayer<_>, now: Instant| {
        while let Some(played) = player.poll(now).unwrap() {
            if let Played::Frame(frame) = played {
                taken.push(frame);
            }
        }
    };
    take(&mut player, start + ms(500));
    player.seek(ms(1000), start + ms(500)).unwrap();
    take(&mut player, start + ms(900));
    player.pause(start + ms(900));
    assert_eq!(player.next_at().unwrap(), None);
    let still = player.still(start + ms(2000)).unwrap();
    let [Played::Frame(still)] = still.as_slice() else { panic!("one face, and nothing else: {still:?}") };
    assert_eq!(still.received, start + ms(2000));
    taken.push(still.clone());
    let origins: Vec<i64> = taken
        .iter()
        .map(|frame| {
            let received = i64::try_from(frame.received.duration_since(start).as_micros()).unwrap();
            frame.stamp.unwrap().arrival_us() - received
        })
        .collect();
    let (first, last) = (origins[0], origins.len() - 1);
    assert!(origins[..last].iter().all(|origin| (origin - first).abs() <= 1), "{origins:?}");
    let epochs: Vec<u32> = taken.iter().map(|frame| frame.stamp.unwrap().epoch).collect();
    assert_eq!((epochs[0], epochs[last]), (2, 3), "a jump begins a new epoch");
}

#[test]
fn take_of_a_source_whose_clock_is_set_back_goes_on() {
    let start = Instant::now();
    let mut clock = SourceClock::new(start);
    let hour = Duration::from_secs(3600);
    let given: Vec<_> = (0..240_u32)
        .map(|number| {
            let at = Duration::from_micros(16_667) * number;
            let captured = if number < 120 { at + hour * 2 } else { at + hour };
            let frame =
                FaceFrame { sequence: Some(number.into()), capture_time: Some(captured), ..FaceFrame::neutral() };
            let stamp = clock.record(Some(captured), start + at);
            SubjectFrame { stamp: Some(stamp), ..subject_frame(1, "Ann", frame, start + at) }
        })
        .collect();
    assert_eq!(given[239].stamp.unwrap().epoch, given[0].stamp.unwrap().epoch + 1, "it was noticed");
    let bytes = record(start, &given);
    for ((time, read), given) in frames(&bytes).into_iter().zip(&given) {
        assert_same(start, time, read, given);
    }
    let (take, _) = open(&bytes).take("Ann").unwrap();
    let times: Vec<_> = take.frames().iter().map(|frame| frame.time).collect();
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0]));
    let length = Duration::from_micros(16_667) * 239;
    assert!(times[times.len() - 1].abs_diff(length) < ms(5), "{:?}", times.last());
}

#[test]
fn take_of_one_subject_has_late_frames_in_their_places() {
    let start = Instant::now();
    let mut session: Vec<_> = session(start, 2).into_iter().filter(|frame| frame.id == SubjectId(2)).collect();
    // Number 50 arrives behind number 53.
    let late = session.remove(50);
    let received = session[52].received;
    session.insert(53, SubjectFrame { late: true, received, ..late });
    let (take, first) = open(&record(start, &session)).take("Bob \"the\" face/1").unwrap();
    assert_eq!(take.frames().len(), 120);
    assert!(first < ms(5), "{first:?}");
    for (number, frame) in take.frames().iter().enumerate() {
        let captured = Duration::from_micros(16_667) * number as u32;
        assert_eq!(frame.frame.capture_time, Some(captured));
        assert!(frame.time.abs_diff(captured) < ms(1), "{number}: {:?}", frame.time);
    }
    assert!(matches!(open(&record(start, &session)).take("x"), Err(TakeReadError::NoSubject(_))));
}

/// An output that is full after some bytes.
struct Small(Vec<u8>, usize);

impl Write for Small {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.1 - self.0.len();
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let len = bytes.len().min(room);
        self.0.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn take_writer_output_full_keeps_what_was_written() {
    let start = Instant::now();
    let session = session(start, 3);
    let mut writer = TakeWriter::new(Small(Vec::new(), 24_000), &about(), start).unwrap();
    let error = session.iter().find_map(|frame| writer.frame(frame).err()).unwrap();
    assert!(matches!(error, TakeWriteError::Full(_)), "{error:?}");
    assert_eq!(error.to_string(), "no space is left for the take; what was recorded before is kept");
    assert!(writer.frame(&session[0]).is_err(), "and nothing more is written");
    let whole = writer.whole_bytes() as usize;
    let Small(mut bytes, _) = writer.into_inner();
    for len in [bytes.len(), whole] {
        bytes.truncate(len);
        let mut reader = open(&bytes);
        let info = reader.info().unwrap();
        assert!(!info.complete && info.subjects.len() == 2 && info.subjects[0].frames > 20, "{info:?}");
    }
}

fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        (0_u8..=255).prop_map(|step| f32::from(step) / 255.0),
        -1.0_f32..=2.0,
        Just(-0.0),
        Just(f32::MIN_POSITIVE)
    ]
}

fn weights() -> impl Strategy<Value = [f32; BLENDSHAPE_COUNT]> {
    let steps = prop::array::uniform32(0_u8..=255)
        .prop_map(|steps| std::array::from_fn(|place| f32::from(steps[place % 32]) / 255.0));
    let any = prop::collection::vec(weight(), BLENDSHAPE_COUNT).prop_map(|weights| weights.try_into().unwrap());
    prop_oneof![steps, any]
}

prop_compose! {
    fn any_frame()(
        weights in weights(),
        present in 0_u64..1 << 52,
        channels in prop::collection::vec(("[a-zé_]{1,9}", weight()), 0..12),
        rotation in prop::option::of([-1.0_f32..1.0, -1.0..1.0, -1.0..1.0, 0.1..1.0]),
        position in prop::option::of([-1e6_f32..1e6, -1.0..1.0, -1.0..1.0]),
        gaze in prop::option::of([-1.5_f32..1.5, -1.5..1.5, -1.5..1.5, -1.5..1.5]),
        (tracked, sequence) in (any::<bool>(), prop::option::of(any::<u64>())),
        capture in prop::option::of((any::<u64>(), 0_u32..1_000_000_000)),
        stepped in any::<bool>(),
    ) -> FaceFrame {
        let mut frame = FaceFrame {
            weights,
            present,
            channels: channels.iter().map(|(name, value)| Channel { name: name.as_str().into(), value: *value }).collect(),
            head: rotation.map(|rotation| HeadPose { rotation, position }),
            gaze: gaze.map(|[a, b, c, d]| Gaze {
                left: EyeGaze { yaw: a, pitch: b },
                right: EyeGaze { yaw: c, pitch: d },
            }),
            tracked,
            capture_time: capture.map(|(seconds, nanos)| Duration::new(seconds, nanos)),
            sequence,
        };
        // As where frames enter.
        frame.check().unwrap();
        if stepped {
            let received =
                over_the_wire(&FaceFrame { head: frame.head, gaze: frame.gaze, ..FaceFrame::neutral() });
            (frame.head, frame.gaze) = (received.head, received.gaze);
        }
        frame
    }
}

prop_compose! {
    fn any_subject_frame()(
        frame in any_frame(),
        id in any::<u64>(),
        name in "[A-Za-zé /]{1,12}",
        source in prop::sample::select(vec![SourceKind::WebRtc, SourceKind::Vmc, SourceKind::Custom]),
        speech in prop::option::of((0_usize..15, 0.0_f32..=1.0, weights())),
        stamp in prop::option::of((any::<i32>(), any::<i32>(), any::<i32>(), any::<u32>(), 0_i64..1_000_000)),
        (late, repeated) in any::<(bool, bool)>(),
        at in 0_u64..3_000_000_000,
    ) -> (u64, SubjectFrame) {
        let speech = speech.map(|(viseme, weight, weights)| Speech { viseme: Viseme::ALL[viseme], weight, weights });
        let stamp = stamp.map(|(capture, base, queue, epoch, interval_us)| Stamp {
            capture_us: i64::from(capture) << 20,
            base_us: i64::from(base) << 20,
            queue_us: queue.into(),
            epoch,
            interval_us,
        });
        let name: Arc<str> = name.into();
        let received = Instant::now();
        (at, SubjectFrame { id: SubjectId(id), name, source, frame, speech, received, stamp, late, repeated })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn take_file_round_trip_is_exact(given in prop::collection::vec(any_subject_frame(), 1..40)) {
        let start = Instant::now();
        let given: Vec<_> = given
            .into_iter()
            .map(|(at, frame)| SubjectFrame { received: start + Duration::from_nanos(at), ..frame })
            .collect();
        let read = frames(&record(start, &given));
        prop_assert_eq!(read.len(), given.len());
        for ((time, read), given) in read.into_iter().zip(&given) {
            assert_same(start, time, read, given);
        }
    }
}

#[test]
fn take_size_of_an_hour() {
    // Of a performance as the compact wire carries it: weights of 8 bits, head and gaze of 16.
    let start = Instant::now();
    let frames: Vec<_> = session(start, 20).into_iter().filter(|frame| frame.id == SubjectId(1)).collect();
    let bytes = record(start, &frames);
    let hour = bytes.len() as f64 * 216_000.0 / frames.len() as f64 / 1e6;
    eprintln!("{hour:.1} MB an hour and face of 60 Hz ({})", if cfg!(feature = "zstd") { "zstd" } else { "raw" });
    // The container's index of a message alone is 16 bytes, 3.5 MB an hour; without compression its header is 31 more.
    let limit = if cfg!(feature = "zstd") { 18.0 } else { 42.0 };
    assert!(hour < limit, "{hour}");
    assert!(frames[0].frame.get(Blendshape::JawOpen).is_some());
}

/// An output that counts what it is given.
#[derive(Default)]
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn take_of_eight_hours_needs_little_memory() {
    let start = Instant::now();
    let performance = Performance::new(1);
    // As many chunks as of any face; fewer frames, so that it takes seconds.
    let given: Vec<_> =
        (0..50).map(|number| subject_frame(1, "Ann", performance.frame_at(ms(number * 20)), start)).collect();
    let mut lengths = Vec::new();
    let peak = allocation_counter::measure(|| {
        let mut writer = TakeWriter::new(Length::default(), &about(), start).unwrap();
        for number in 0..8 * 3600 * 2_u64 {
            let received = start + ms(number * 500);
            writer.frame(&SubjectFrame { received, ..given[number as usize % 50].clone() }).unwrap();
            if number % 7200 == 7199 {
                lengths.push(writer.bytes());
            }
        }
        lengths.push(writer.finish(start + Duration::from_secs(8 * 3600)).unwrap().0);
    });
    let hours: Vec<_> = lengths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(hours[..7].iter().all(|hour| hour.abs_diff(hours[0]) < hours[0] / 50), "each hour is as long: {hours:?}");
    // The index of the chunks: some 400 bytes each, and the buffers of the compression.
    assert!(peak.bytes_max < 20 << 20, "{peak:?}");
}

#[test]
fn picture_and_sound_are_read_as_written_next_to_the_face() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut writer = TakeWriter::new(Vec::new(), &TakeAbout::new("a", 1, Duration::from_secs(100)), start).unwrap();
    let picture = RecordedPicture {
        subject: "Ann".into(),
        codec: PictureCodec::H264,
        data: vec![0, 0, 0, 1, 0x65, 7],
        time: Some(Duration::from_millis(1_800_000_000_123)),
    };
    let sound = RecordedSound { subject: "Ann".into(), data: vec![9; 40], time: None };
    writer.picture(&picture, at(10)).unwrap();
    writer.sound(&sound, at(20)).unwrap();
    writer.picture(&picture, at(30)).unwrap();
    let file = writer.finish(at(40)).unwrap();
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("/picture/Ann") && text.contains("/sound/Ann"));
    let mut reader = TakeReader::open(Cursor::new(file)).unwrap();
    let entries: Vec<_> = std::iter::from_fn(|| reader.next_entry().unwrap()).collect();
    let times: Vec<_> = entries.iter().map(|entry| entry.time.as_millis()).collect();
    assert_eq!(times, [10, 20, 30, 40]);
    assert!(matches!(&entries[0].content, TakeContent::Picture(read) if *read == picture));
    // Before the source's clock is known, the time is that of the arrival here.
    let arrived = RecordedSound { time: Some(Duration::from_millis(100_020)), ..sound };
    assert!(matches!(&entries[1].content, TakeContent::Sound(read) if *read == arrived));
    let info = reader.info().unwrap();
    assert_eq!((info.pictures, info.sounds, info.damaged), (vec!["Ann".into()], vec!["Ann".into()], 0));
}
