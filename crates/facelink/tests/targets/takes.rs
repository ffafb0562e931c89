//! Recorded takes: MCAP files.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    io::Cursor,
    time::{Duration, Instant},
};

use facelink::{
    FaceFrame,
    event::{SubjectFrame, SubjectId},
    media::PictureCodec,
    source::SourceKind,
    take::{RecordedPicture, RecordedSound, TakeAbout, TakeContent, TakePlayer, TakeReader, TakeWriter},
};

use super::{Source, Target, check_face, name};

pub struct TakeFiles;

fn frame(source: &mut Source<'_>, subject: &str, received: Instant) -> SubjectFrame {
    let mut face = FaceFrame::neutral();
    for weight in &mut face.weights {
        *weight = if source.one_in(3) { source.weight() } else { f32::from(source.byte()) / 255.0 };
    }
    face.sequence = source.one_in(2).then(|| u64::from(source.byte()));
    face.tracked = !source.one_in(8);
    // As where frames enter.
    if face.check().is_err() {
        face = FaceFrame::neutral();
    }
    SubjectFrame {
        id: SubjectId(1),
        name: subject.into(),
        source: SourceKind::WebRtc,
        frame: face,
        speech: None,
        received,
        stamp: None,
        late: source.one_in(8),
        repeated: source.one_in(8),
    }
}

impl Target for TakeFiles {
    const NAME: &'static str = "take_files";
    // The window of a compressed chunk, twice, and what it is decoded to.
    const KEPT: u64 = 24 << 20;
    const ONE_OF: u64 = 20;

    fn fresh() -> Self {
        Self
    }

    fn generate(&mut self, source: &mut Source<'_>, out: &mut Vec<u8>) {
        let start = Instant::now();
        let about = TakeAbout::new(name(source), u32::from(source.byte()), Duration::from_secs(1_790_000_000));
        let Ok(mut writer) = TakeWriter::new(&mut *out, &about, start) else { return };
        let subjects = [name(source), "Ann".to_owned()];
        for _ in 0..source.count(2, 12, 6) {
            let at = start + Duration::from_millis(source.below(4000) as u64);
            let subject = &subjects[source.below(2)];
            let _ = match source.below(8) {
                0 => writer.mark(&name(source), at),
                1 => writer.stats(&serde_json::json!({"connections": source.byte()}), at),
                3 => {
                    let (codec, data) = (source.pick(&PictureCodec::ALL), vec![source.byte(); source.below(64)]);
                    let time = Some(Duration::from_millis(source.below(1 << 40) as u64));
                    writer.picture(&RecordedPicture { subject: subject.as_str().into(), codec, data, time }, at)
                }
                4 => {
                    let (subject, data) = (subject.as_str().into(), vec![source.byte()]);
                    writer.sound(&RecordedSound { subject, data, time: None }, at)
                }
                2 => writer.attach(&name(source), "text/plain", b"some text"),
                _ => {
                    let frame = frame(source, subject, at);
                    writer.frame(&frame)
                }
            };
        }
        let _ = writer.finish(start + Duration::from_secs(4));
        if source.one_in(4) {
            out.truncate(source.below(out.len() + 1));
        }
    }

    fn decode(&mut self, input: &[u8]) -> bool {
        let Ok(mut reader) = TakeReader::open(Cursor::new(input)) else { return false };
        let info = reader.info().expect("memory is read without errors");
        assert!(info.subjects.iter().all(|subject| subject.fps.is_finite()));
        let mut frames = 0;
        while let Some(entry) = reader.next_entry().expect("memory") {
            if let TakeContent::Frame(frame) = entry.content {
                check_face(&frame.frame);
                frames += 1;
            }
        }
        let _ = reader.faces_at(info.duration / 2).expect("memory");
        if let Some(subject) = info.subjects.first() {
            let _ = reader.take(&subject.name);
        }
        let (start, mut played) = (Instant::now(), 0);
        reader.seek(Duration::ZERO).expect("memory");
        let mut player = TakePlayer::new(reader, start);
        let mut now = start;
        for _ in 0..10 {
            while player.poll(now).expect("memory").is_some() {
                played += 1;
            }
            now += Duration::from_millis(500);
        }
        assert!(played <= frames * 3 + 400, "{played} of {frames}");
        true
    }
}
