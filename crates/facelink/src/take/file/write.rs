//! Writing a take: MCAP with a channel for each subject, a chunk at a time.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcap::{
    Attachment, Compression, McapError, WriteOptions, Writer,
    records::{MessageHeader, Metadata},
    write::NoSeek,
};
use serde::Serialize;

use super::{
    face,
    log::{self, ObsRecording, PhoneRecording},
    media::{self, RecordedPicture, RecordedSound},
    packet,
    packet::RecordedPacket,
    schema,
    subject_stats::{Counting, RecordedSubject},
};
use crate::{
    event::{LinkEvent, SubjectFrame},
    source::SourceKind,
    time::Instant,
};

/// A chunk is written when its first message is this old: what a killed process loses at most.
pub const FLUSH_AFTER: Duration = Duration::from_millis(900);
/// Of zstd: two thirds of the time of the next one, and half of that of the first that saves more, by a hundredth.
#[cfg(feature = "zstd")]
const COMPRESSION_LEVEL: u32 = 5;
/// A chunk is written when it has this many bytes, before compression: twice a second of 256 faces. Each chunk costs memory
/// until the end, for its place in the index.
const MAX_CHUNK: usize = 4 << 20;
/// Different subjects of one take; frames of others are left out and counted.
pub const MAX_SUBJECTS: usize = 4096;
/// The profile in the header of the file, by which a take is recognised.
pub(super) const PROFILE: &str = "facelink";
/// Name of the metadata record with what the take is.
pub(super) const ABOUT: &str = "facelink.take";
/// Name of the metadata record with the subjects' counts, at the end.
pub(super) const SUBJECTS: &str = "facelink.subjects";
/// Name of the metadata record with what OBS recorded in step, at the end.
pub(super) const OBS: &str = "facelink.obs";
/// Name of the metadata record with what was left out, at the end.
pub(super) const END: &str = "facelink.end";

pub(super) const EVENTS: &str = "/events";
pub(super) const MARKS: &str = "/marks";
pub(super) const STATS: &str = "/stats";
pub(super) const PACKETS: &str = "/packets";
pub(super) const FACES: &str = "/face/";
pub(super) const PICTURES: &str = "/picture/";
pub(super) const SOUNDS: &str = "/sound/";

/// What a take is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakeAbout {
    /// Slate: the name of the scene or line.
    pub slate: String,
    /// Number of the take, from 1.
    pub take: u32,
    /// Time of day at the start, since the Unix epoch. Times within the take do not depend on it: they count from the
    /// start on a clock that is never set.
    pub started: Duration,
    /// Timecode at the start, such as `10:00:00:12`, if there is one.
    pub timecode: Option<String>,
    /// Frames a second of the timecode, such as `29.97`.
    pub timecode_rate: Option<String>,
    /// The program that recorded it, such as `facelink 0.1.0`.
    pub recorder: String,
    /// Further notes, by name.
    pub notes: BTreeMap<String, String>,
}

impl TakeAbout {
    /// The first take of a slate, started at a time since the Unix epoch.
    pub fn new(slate: impl Into<String>, take: u32, started: Duration) -> Self {
        Self {
            slate: slate.into(),
            take,
            started,
            recorder: concat!("facelink ", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Self::default()
        }
    }

    fn to_map(&self) -> BTreeMap<String, String> {
        let mut map = self.notes.clone();
        map.insert("slate".to_owned(), self.slate.clone());
        map.insert("take".to_owned(), self.take.to_string());
        map.insert("started_ns".to_owned(), self.started.as_nanos().to_string());
        map.insert("recorder".to_owned(), self.recorder.clone());
        map.extend(self.timecode.clone().map(|timecode| ("timecode".to_owned(), timecode)));
        map.extend(self.timecode_rate.clone().map(|rate| ("timecode_rate".to_owned(), rate)));
        map
    }

    pub(super) fn from_map(mut map: BTreeMap<String, String>) -> Self {
        let nanos: u64 = map.remove("started_ns").and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            slate: map.remove("slate").unwrap_or_default(),
            take: map.remove("take").and_then(|text| text.parse().ok()).unwrap_or(0),
            started: Duration::from_nanos(nanos),
            timecode: map.remove("timecode"),
            timecode_rate: map.remove("timecode_rate"),
            recorder: map.remove("recorder").unwrap_or_default(),
            notes: map,
        }
    }
}

/// Why a take cannot be written on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeWriteError {
    /// There is no room left. What was written before is a take that was cut.
    #[error("no space is left for the take; what was recorded before is kept")]
    Full(#[source] io::Error),
    /// The output failed.
    #[error("cannot write the take: {0}")]
    Io(#[source] io::Error),
    /// More different subjects, or a name that is too long.
    #[error("cannot write the take: {0}")]
    Format(String),
}

impl From<io::Error> for TakeWriteError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::Full(error)
            }
            _ => Self::Io(error),
        }
    }
}

impl From<McapError> for TakeWriteError {
    fn from(error: McapError) -> Self {
        match error {
            McapError::Io(error) => error.into(),
            McapError::AttemptedWriteAfterFailure => Self::Io(io::Error::other("an earlier write failed")),
            other => Self::Format(other.to_string()),
        }
    }
}

/// Counts what reaches the output.
#[derive(Debug)]
struct Counted<W> {
    inner: W,
    written: Arc<AtomicU64>,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.written.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A subject's channel.
struct SubjectChannel {
    id: u16,
    /// The source that is not written with each frame.
    usual: SourceKind,
    counting: Counting,
}

/// Writes a take to an output that only grows.
///
/// Everything is a message of a channel, in the order in which it is given. Messages are collected and written as a chunk
/// at least every [`FLUSH_AFTER`], if [`tick`](Self::tick) is called that often; a file that ends anywhere is a take up to
/// its last whole chunk.
pub struct TakeWriter<W: Write> {
    writer: Writer<NoSeek<Counted<W>>>,
    written: Arc<AtomicU64>,
    /// Length of the file up to its last whole chunk.
    whole: u64,
    start: Instant,
    started_ns: u64,
    /// Time of the newest message, nanoseconds since the start.
    last_ns: u64,
    /// Bytes in the chunk, and when it began.
    pending: usize,
    chunk_ns: Option<u64>,
    face_schema: u16,
    packet_schema: u16,
    subjects: HashMap<Arc<str>, SubjectChannel>,
    events: u16,
    marks: u16,
    stats: u16,
    packets: Option<u16>,
    /// Channels of pictures and sounds, by topic.
    media: HashMap<String, u16>,
    /// What OBS reported so far, put together.
    obs: Option<ObsRecording>,
    dropped: u64,
    ended: bool,
    scratch: Vec<u8>,
}

impl<W: Write> TakeWriter<W> {
    /// Begins a take. Times of what is recorded count from `start`.
    ///
    /// # Errors
    /// [`TakeWriteError`], when the output fails.
    pub fn new(out: W, about: &TakeAbout, start: Instant) -> Result<Self, TakeWriteError> {
        let written = Arc::new(AtomicU64::new(0));
        let options = WriteOptions::new()
            .compression(compression())
            .profile(PROFILE)
            .library(about.recorder.clone())
            // By time and size, here.
            .chunk_size(None)
            .disable_seeking(true);
        #[cfg(feature = "zstd")]
        let options = options.compression_threads(0).compression_level(COMPRESSION_LEVEL);
        let mut writer = options.create(NoSeek::new(Counted { inner: out, written: written.clone() }))?;
        writer.write_metadata(&Metadata { name: ABOUT.to_owned(), metadata: about.to_map() })?;
        let descriptors = schema::descriptor_set();
        let face_schema = writer.add_schema(schema::FACE, "protobuf", &descriptors)?;
        let packet_schema = writer.add_schema(schema::PACKET, "protobuf", &descriptors)?;
        let mut json = |topic, (name, text): (&str, &str)| {
            let schema = writer.add_schema(name, "jsonschema", text.as_bytes())?;
            writer.add_channel(schema, topic, "json", &BTreeMap::new())
        };
        let (events, marks, stats) =
            (json(EVENTS, schema::EVENT)?, json(MARKS, schema::MARK)?, json(STATS, schema::STATS)?);
        writer.flush()?;
        Ok(Self {
            writer,
            whole: written.load(Ordering::Relaxed),
            written,
            start,
            started_ns: u64::try_from(about.started.as_nanos()).unwrap_or(0),
            last_ns: 0,
            pending: 0,
            chunk_ns: None,
            face_schema,
            packet_schema,
            subjects: HashMap::new(),
            events,
            marks,
            stats,
            packets: None,
            media: HashMap::new(),
            obs: None,
            dropped: 0,
            ended: false,
            scratch: Vec::new(),
        })
    }

    /// When the take began.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// Time from the start to the newest message.
    pub fn duration(&self) -> Duration {
        Duration::from_nanos(self.last_ns)
    }

    /// Bytes that are in the output.
    pub fn bytes(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Length of the output up to its last whole chunk: where to cut it off after an error.
    pub fn whole_bytes(&self) -> u64 {
        self.whole
    }

    /// Frames and events that were not recorded.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.subjects.values().map(|subject| subject.counting.frames()).sum()
    }

    /// What was recorded of every subject so far, by name.
    pub fn subjects(&self) -> Vec<RecordedSubject> {
        let mut subjects: Vec<_> =
            self.subjects.iter().map(|(name, subject)| subject.counting.summary(name.clone(), subject.usual)).collect();
        subjects.sort_by(|a, b| a.name.cmp(&b.name));
        subjects
    }

    /// Counts what did not come to be recorded, such as what the queue before this had no room for.
    pub fn count_dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// Records a frame, at its arrival. One that arrived before the newest message is recorded behind it, with its age.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn frame(&mut self, frame: &SubjectFrame) -> Result<(), TakeWriteError> {
        let (channel, usual) = match self.subjects.get(&frame.name) {
            Some(subject) => (subject.id, subject.usual),
            None if self.subjects.len() >= MAX_SUBJECTS => {
                self.dropped += 1;
                return Ok(());
            }
            None => self.add_subject(frame)?,
        };
        let time_ns = self.nanos(frame.received);
        let written = self.start + Duration::from_nanos(time_ns);
        let age = written.saturating_duration_since(frame.received);
        let mut data = mem::take(&mut self.scratch);
        data.clear();
        face::encode(&mut data, frame, age, usual);
        let done = self.message(channel, time_ns, &data);
        self.scratch = data;
        done?;
        if let Some(subject) = self.subjects.get_mut(&frame.name) {
            let time = Duration::from_nanos(time_ns);
            subject.counting.record(time, frame.frame.sequence, frame.late);
        }
        Ok(())
    }

    fn add_subject(&mut self, frame: &SubjectFrame) -> Result<(u16, SourceKind), TakeWriteError> {
        self.check_open()?;
        let metadata = BTreeMap::from([
            ("subject".to_owned(), frame.name.to_string()),
            ("source".to_owned(), frame.source.as_str().to_owned()),
        ]);
        let topic = format!("{FACES}{}", frame.name);
        let id = self.writer.add_channel(self.face_schema, &topic, "protobuf", &metadata)?;
        let usual = frame.source;
        let channel = SubjectChannel { id, usual, counting: Counting::default() };
        self.subjects.insert(frame.name.clone(), channel);
        Ok((id, usual))
    }

    /// Records an event of the link.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn event(&mut self, event: &LinkEvent, now: Instant) -> Result<(), TakeWriteError> {
        let time = self.nanos(now);
        self.message(self.events, time, &log::event(event))
    }

    /// Records what a phone reported that records in step.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn phone(&mut self, recording: &PhoneRecording, now: Instant) -> Result<(), TakeWriteError> {
        let time = self.nanos(now);
        self.message(self.events, time, &log::phone(recording))
    }

    /// Records what OBS reported that records in step. Its offset counts from [`start`](Self::start). What it reported last is a
    /// metadata record of the take, too.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn obs(&mut self, recording: &ObsRecording, now: Instant) -> Result<(), TakeWriteError> {
        let time = self.nanos(now);
        let before = self.obs.take().unwrap_or_default();
        self.obs = Some(ObsRecording {
            offset_ns: before.offset_ns.or(recording.offset_ns),
            within_ns: before.within_ns.or(recording.within_ns),
            files: [before.files, recording.files.clone()].concat(),
            problem: recording.problem.clone().or(before.problem),
            recording: recording.recording,
        });
        self.message(self.events, time, &log::obs(recording))
    }

    /// Records a mark: something of note at this time, in words.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn mark(&mut self, text: &str, now: Instant) -> Result<(), TakeWriteError> {
        let time = self.nanos(now);
        self.message(self.marks, time, &log::mark(text))
    }

    /// Records statistics, as JSON.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn stats(&mut self, stats: &impl Serialize, now: Instant) -> Result<(), TakeWriteError> {
        let data = serde_json::to_vec(stats).map_err(|error| TakeWriteError::Format(error.to_string()))?;
        let time = self.nanos(now);
        self.message(self.stats, time, &data)
    }

    /// Records a datagram as it was received.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn packet(&mut self, packet: &RecordedPacket, received: Instant) -> Result<(), TakeWriteError> {
        self.check_open()?;
        let channel = match self.packets {
            Some(channel) => channel,
            None => {
                let channel = self.writer.add_channel(self.packet_schema, PACKETS, "protobuf", &BTreeMap::new())?;
                *self.packets.insert(channel)
            }
        };
        let time = self.nanos(received);
        let mut data = mem::take(&mut self.scratch);
        data.clear();
        packet::encode(&mut data, packet);
        let done = self.message(channel, time, &data);
        self.scratch = data;
        done
    }

    /// Records a frame of a performer's picture, at its arrival: a message `foxglove.CompressedVideo` of the topic
    /// `/picture/SUBJECT`.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn picture(&mut self, picture: &RecordedPicture, received: Instant) -> Result<(), TakeWriteError> {
        self.media(PICTURES, &picture.subject, received, |out, arrived| media::picture(out, picture, arrived))
    }

    /// Records a packet of a performer's sound, at its arrival: a message `foxglove.CompressedAudio` of the topic `/sound/SUBJECT`.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn sound(&mut self, sound: &RecordedSound, received: Instant) -> Result<(), TakeWriteError> {
        self.media(SOUNDS, &sound.subject, received, |out, arrived| media::sound(out, sound, arrived))
    }

    /// `encode` gets the Unix time of the arrival, by this machine's clock.
    fn media(
        &mut self,
        prefix: &str,
        subject: &Arc<str>,
        received: Instant,
        encode: impl FnOnce(&mut Vec<u8>, Duration),
    ) -> Result<(), TakeWriteError> {
        self.check_open()?;
        let topic = format!("{prefix}{subject}");
        let channel = match self.media.get(&topic) {
            Some(channel) => *channel,
            None if self.media.len() >= MAX_SUBJECTS => {
                self.dropped += 1;
                return Ok(());
            }
            None => {
                let name = if prefix == PICTURES { schema::PICTURE } else { schema::SOUND };
                let schema = self.writer.add_schema(name, "protobuf", &schema::media_descriptor_set())?;
                let metadata = BTreeMap::from([("subject".to_owned(), subject.to_string())]);
                let channel = self.writer.add_channel(schema, &topic, "protobuf", &metadata)?;
                self.media.insert(topic, channel);
                channel
            }
        };
        let time = self.nanos(received);
        let mut data = mem::take(&mut self.scratch);
        data.clear();
        encode(&mut data, Duration::from_nanos(self.started_ns.saturating_add(time)));
        let done = self.message(channel, time, &data);
        self.scratch = data;
        done
    }

    /// Attaches a file, such as the performers' calibration. Ends the chunk.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn attach(&mut self, name: &str, media_type: &str, data: &[u8]) -> Result<(), TakeWriteError> {
        self.check_open()?;
        let time = self.started_ns.saturating_add(self.last_ns);
        self.writer.attach(&Attachment {
            log_time: time,
            create_time: time,
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            data: data.into(),
        })?;
        self.flush()
    }

    /// Writes the chunk if it is time to.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn tick(&mut self, now: Instant) -> Result<(), TakeWriteError> {
        let now_ns = nanos(now.saturating_duration_since(self.start));
        let due = self.chunk_ns.is_some_and(|began| now_ns.saturating_sub(began) >= FLUSH_AFTER.as_nanos() as u64);
        if due { self.flush() } else { Ok(()) }
    }

    /// Writes the chunk.
    ///
    /// # Errors
    /// [`TakeWriteError`]; nothing more can be written then.
    pub fn flush(&mut self) -> Result<(), TakeWriteError> {
        self.check_open()?;
        self.writer.flush()?;
        self.whole = self.bytes();
        self.pending = 0;
        self.chunk_ns = None;
        Ok(())
    }

    /// Ends the take, and returns the output.
    ///
    /// # Errors
    /// [`TakeWriteError`], when the end cannot be written: the output is a take that was cut.
    pub fn finish(mut self, now: Instant) -> Result<W, TakeWriteError> {
        self.end(now)?;
        Ok(self.into_inner())
    }

    /// The same, where the output is needed after an error too. Nothing can be written after it.
    ///
    /// # Errors
    /// [`TakeWriteError`], as of [`finish`](Self::finish).
    pub fn end(&mut self, now: Instant) -> Result<(), TakeWriteError> {
        let time = self.nanos(now);
        self.message(self.events, time, &log::stopped())?;
        self.flush()?;
        let subjects: BTreeMap<_, _> = self
            .subjects()
            .iter()
            .filter_map(|subject| Some((subject.name.to_string(), serde_json::to_string(subject).ok()?)))
            .collect();
        self.writer.write_metadata(&Metadata { name: SUBJECTS.to_owned(), metadata: subjects })?;
        if let Some(text) = self.obs.as_ref().and_then(|obs| serde_json::to_string(obs).ok()) {
            let metadata = BTreeMap::from([("recording".to_owned(), text)]);
            self.writer.write_metadata(&Metadata { name: OBS.to_owned(), metadata })?;
        }
        let end = BTreeMap::from([("dropped".to_owned(), self.dropped.to_string())]);
        self.writer.write_metadata(&Metadata { name: END.to_owned(), metadata: end })?;
        self.ended = true;
        self.writer.finish()?;
        Ok(())
    }

    /// The output as it is, after an error.
    pub fn into_inner(self) -> W {
        self.writer.into_inner().into_inner().inner
    }

    /// What was ended takes nothing more.
    fn check_open(&self) -> Result<(), TakeWriteError> {
        if self.ended { Err(TakeWriteError::Io(io::Error::other("the take has ended"))) } else { Ok(()) }
    }

    /// Time of a message since the start, never before the newest one.
    fn nanos(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.start)).max(self.last_ns)
    }

    fn message(&mut self, channel_id: u16, time_ns: u64, data: &[u8]) -> Result<(), TakeWriteError> {
        self.check_open()?;
        let began = *self.chunk_ns.get_or_insert(time_ns);
        if self.pending >= MAX_CHUNK || time_ns.saturating_sub(began) >= FLUSH_AFTER.as_nanos() as u64 {
            self.flush()?;
            self.chunk_ns = Some(time_ns);
        }
        self.last_ns = time_ns;
        let time = self.started_ns.saturating_add(time_ns);
        let header = MessageHeader { channel_id, sequence: 0, log_time: time, publish_time: time };
        self.writer.write_to_known_channel(&header, data)?;
        self.pending += data.len() + 31;
        Ok(())
    }
}

impl<W: Write> std::fmt::Debug for TakeWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TakeWriter").field("duration", &self.duration()).finish_non_exhaustive()
    }
}

/// Without the feature `zstd`, takes are written as they are; both are read.
const fn compression() -> Option<Compression> {
    #[cfg(feature = "zstd")]
    return Some(Compression::Zstd);
    #[cfg(not(feature = "zstd"))]
    None
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
