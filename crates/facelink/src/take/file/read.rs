//! Reading a take: MCAP by its index, or from the start where it was cut.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
    time::Duration,
};

use mcap::{MAGIC, records::op};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{
    super::{Take, TakeError, TakeFrame},
    face::{self, Names, RecordedFrame},
    log::{self, Logged, ObsRecording, PhoneRecording},
    media::{self, RecordedPicture, RecordedSound},
    packet,
    packet::RecordedPacket,
    records,
    records::{Channel, ChunkIndex},
    schema,
    subject_stats::{Counting, RecordedSubject},
    write::{ABOUT, END, EVENTS, FACES, MARKS, OBS, PACKETS, PICTURES, PROFILE, SOUNDS, STATS, SUBJECTS, TakeAbout},
};
use crate::{event::LinkEvent, source::SourceKind};

/// Largest record besides chunks and attachments.
const MAX_RECORD: u64 = 16 << 20;
/// Largest chunk, compressed and not.
const MAX_CHUNK: u64 = 64 << 20;
/// Largest attachment that is read.
const MAX_ATTACHMENT: u64 = 64 << 20;
/// Longest take; a message that is later has a wrong time.
const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 3600);
/// Largest window of a compressed chunk: what zstd asks every decoder to support.
const MAX_WINDOW: u64 = 8 << 20;
/// Chunks that stay decoded.
const CACHED: usize = 4;
/// Chunks in which the face of a moment is looked for.
const LOOK_BACK: usize = 3;
/// Footer and magic at the end of a file.
const END_LEN: u64 = 9 + 20 + 8;

/// Why a file cannot be read as a take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeReadError {
    /// The input failed.
    #[error("cannot read the take: {0}")]
    Io(#[from] io::Error),
    /// It does not begin as MCAP does.
    #[error("this is no take: an MCAP file begins with other bytes")]
    NotMcap,
    /// An MCAP file of something else.
    #[error("this MCAP file has no faces")]
    NoFaces,
    /// A record that breaks the format.
    #[error("the take is damaged at byte {offset}: {reason}")]
    Damaged {
        /// Where the record begins.
        offset: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such subject.
    #[error("the take has no subject `{0}`")]
    NoSubject(String),
    /// There is no such attachment.
    #[error("the take has no attachment `{0}`")]
    NoAttachment(String),
    /// The frames of a subject are no [`Take`].
    #[error(transparent)]
    Take(#[from] TakeError),
}

/// One thing that a take has, and its time since the start.
#[derive(Clone, Debug)]
pub struct TakeEntry {
    /// Since the start of the take.
    pub time: Duration,
    /// What.
    pub content: TakeContent,
}

/// What an entry is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TakeContent {
    /// A frame of a subject.
    Frame(Box<RecordedFrame>),
    /// An event of the link.
    Event(LinkEvent),
    /// What a phone reported that records in step.
    Phone(PhoneRecording),
    /// What OBS reported that records in step.
    Obs(ObsRecording),
    /// A mark, in words.
    Mark(String),
    /// Statistics, as JSON.
    Stats(String),
    /// A datagram as it was received.
    Packet(RecordedPacket),
    /// A frame of a performer's picture.
    Picture(RecordedPicture),
    /// A packet of a performer's sound.
    Sound(RecordedSound),
    /// The recording was ended here.
    Stopped,
}

/// A file within a take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeAttachment {
    /// Its name.
    pub name: String,
    /// Its type, such as `application/json`.
    pub media_type: String,
    /// Its length, bytes.
    pub len: u64,
    offset: u64,
    record_len: u64,
}

/// What a take is and has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TakeInfo {
    /// Slate, number, start and the rest of what was known when it began.
    pub about: TakeAbout,
    /// Whether it was ended. Otherwise it was cut: its end, at most a second, is missing.
    pub complete: bool,
    /// From the start to the newest entry.
    pub duration: Duration,
    /// Every subject, by name.
    pub subjects: Vec<RecordedSubject>,
    /// Those with a performer's picture, by name.
    pub pictures: Vec<Arc<str>>,
    /// Those with a performer's sound, by name.
    pub sounds: Vec<Arc<str>>,
    /// What OBS recorded in step, if it did; known when the take was ended.
    pub obs: Option<ObsRecording>,
    /// Frames and events that were not recorded, because writing was too slow; known when it was ended.
    pub dropped: Option<u64>,
    /// Entries that cannot be read.
    pub damaged: u64,
}

#[derive(Clone, Debug)]
enum ChannelKind {
    Face { name: Arc<str>, usual: SourceKind },
    Events,
    Marks,
    Stats,
    Packets,
    Pictures(Arc<str>),
    Sounds(Arc<str>),
}

/// A message within a decoded chunk.
#[derive(Clone, Copy, Debug)]
struct MessageRef {
    time_ns: u64,
    channel: u16,
    start: u32,
    end: u32,
}

#[derive(Debug)]
struct Chunk {
    raw: Vec<u8>,
    messages: Vec<MessageRef>,
}

/// Reads a take from anything that can be read at any place.
///
/// Nothing is allocated by a length that the file states beyond what it is long. A file that was cut opens up to its last
/// whole chunk.
#[derive(Debug)]
pub struct TakeReader<R> {
    input: R,
    len: u64,
    about: TakeAbout,
    started_ns: u64,
    complete: bool,
    chunks: Vec<ChunkIndex>,
    schemas: HashMap<u16, String>,
    channels: HashMap<u16, ChannelKind>,
    metadata: BTreeMap<String, BTreeMap<String, String>>,
    attachments: Vec<TakeAttachment>,
    cache: Vec<(usize, Arc<Chunk>)>,
    decoder: Decoder,
    names: Names,
    /// The next message: place of its chunk, and its place within.
    next: (usize, usize),
    chunks_read: u64,
    damaged: u64,
}

/// The decoder of chunks, which keeps its buffers.
#[derive(Default)]
struct Decoder(FrameDecoder);

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl<R: Read + Seek> TakeReader<R> {
    /// Opens a take: by its index, or by reading it once from the start where it was cut.
    ///
    /// # Errors
    /// [`TakeReadError`], when the input fails, or it is no take.
    pub fn open(mut input: R) -> Result<Self, TakeReadError> {
        let len = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        let mut magic = [0; MAGIC.len()];
        let is_mcap = match input.read_exact(&mut magic) {
            Ok(()) => magic == *MAGIC,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => false,
            Err(error) => return Err(error.into()),
        };
        if !is_mcap {
            return Err(TakeReadError::NotMcap);
        }
        let mut reader = Self {
            input,
            len,
            about: TakeAbout::default(),
            started_ns: 0,
            complete: false,
            chunks: Vec::new(),
            schemas: HashMap::new(),
            channels: HashMap::new(),
            metadata: BTreeMap::new(),
            attachments: Vec::new(),
            cache: Vec::new(),
            decoder: Decoder::default(),
            names: Names::default(),
            next: (0, 0),
            chunks_read: 0,
            damaged: 0,
        };
        let profile = reader.profile()?;
        match reader.read_summary() {
            Ok(()) => reader.complete = true,
            Err(TakeReadError::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Err(_) => reader.scan()?,
        }
        let has_faces = reader.channels.values().any(|channel| matches!(channel, ChannelKind::Face { .. }));
        if profile.as_deref() != Some(PROFILE) && !has_faces {
            return Err(TakeReadError::NoFaces);
        }
        reader.chunks.sort_by_key(|chunk| (chunk.start_time, chunk.offset));
        match reader.metadata.get(ABOUT) {
            Some(about) => reader.about = TakeAbout::from_map(about.clone()),
            None => {
                let first = reader.chunks.first().map_or(0, |chunk| chunk.start_time);
                reader.about.started = Duration::from_nanos(first);
            }
        }
        reader.started_ns = u64::try_from(reader.about.started.as_nanos()).unwrap_or(0);
        Ok(reader)
    }

    /// What was known of the take when it began.
    pub fn about(&self) -> &TakeAbout {
        &self.about
    }

    /// Whether it was ended: otherwise it was cut.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Files within it, in the order in which they were put in. A name may be there several times, as what it holds changed.
    pub fn attachments(&self) -> &[TakeAttachment] {
        &self.attachments
    }

    /// The names of the files within it, each once.
    pub fn attachment_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for attachment in &self.attachments {
            if !names.contains(&attachment.name.as_str()) {
                names.push(&attachment.name);
            }
        }
        names
    }

    /// From the start to the newest entry.
    pub fn duration(&self) -> Duration {
        let end = self.chunks.iter().map(|chunk| chunk.end_time).max().unwrap_or(0);
        Duration::from_nanos(end.saturating_sub(self.started_ns)).min(MAX_TIME)
    }

    /// Chunks that were read and decoded so far.
    pub fn chunks_read(&self) -> u64 {
        self.chunks_read
    }

    /// What the take is and has. Reads all of it where it was cut; [`next_entry`](Self::next_entry) goes on where it was.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn info(&mut self) -> Result<TakeInfo, TakeReadError> {
        let subjects = match self.metadata.get(SUBJECTS) {
            Some(map) => map.values().filter_map(|text| serde_json::from_str(text).ok()).collect(),
            None => self.count()?,
        };
        let named = |name: fn(&ChannelKind) -> Option<&Arc<str>>| {
            let names: BTreeSet<_> = self.channels.values().filter_map(name).cloned().collect();
            names.into_iter().collect()
        };
        let dropped = self.metadata.get(END).and_then(|end| end.get("dropped")).and_then(|text| text.parse().ok());
        Ok(TakeInfo {
            about: self.about.clone(),
            complete: self.complete,
            duration: self.duration(),
            subjects,
            pictures: named(|kind| if let ChannelKind::Pictures(name) = kind { Some(name) } else { None }),
            sounds: named(|kind| if let ChannelKind::Sounds(name) = kind { Some(name) } else { None }),
            obs: self.metadata.get(OBS).and_then(|map| serde_json::from_str(map.get("recording")?).ok()),
            dropped,
            damaged: self.damaged,
        })
    }

    fn count(&mut self) -> Result<Vec<RecordedSubject>, TakeReadError> {
        let (next, damaged) = (self.next, self.damaged);
        self.next = (0, 0);
        let mut subjects: BTreeMap<Arc<str>, (SourceKind, Counting)> = BTreeMap::new();
        while let Some(entry) = self.next_entry()? {
            if let TakeContent::Frame(frame) = entry.content {
                let (_, counting) =
                    subjects.entry(frame.name.clone()).or_insert_with(|| (frame.source, Counting::default()));
                counting.record(entry.time, frame.frame.sequence, frame.late);
            }
        }
        // What is damaged is counted once, where it is read.
        self.damaged = self.damaged.max(damaged);
        self.next = next;
        Ok(subjects.into_iter().map(|(name, (source, counting))| counting.summary(name, source)).collect())
    }

    /// Goes to the first entry at or after a time. Reads one chunk at most.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn seek(&mut self, time: Duration) -> Result<(), TakeReadError> {
        let target = self.started_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let place = self.chunks.partition_point(|chunk| chunk.end_time < target);
        self.next = (place, 0);
        if place < self.chunks.len()
            && let Some(chunk) = self.chunk(place)?
        {
            self.next.1 = chunk.messages.partition_point(|message| message.time_ns < target);
        }
        Ok(())
    }

    /// The next entry in time; `None` at the end. Entries that cannot be read are left out and counted.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn next_entry(&mut self) -> Result<Option<TakeEntry>, TakeReadError> {
        while self.next.0 < self.chunks.len() {
            let (place, index) = self.next;
            let chunk = self.chunk(place)?;
            let Some((chunk, message)) = chunk.and_then(|chunk| Some((chunk.clone(), *chunk.messages.get(index)?)))
            else {
                self.next = (place + 1, 0);
                continue;
            };
            self.next.1 += 1;
            if let Some(entry) = self.entry(&chunk, message) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// The newest face of each subject at a time, for looking at a moment. A face is looked for in the second or two
    /// before it.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn faces_at(&mut self, time: Duration) -> Result<Vec<RecordedFrame>, TakeReadError> {
        let target = self.started_ns.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        let after = self.chunks.partition_point(|chunk| chunk.start_time <= target);
        let mut faces: BTreeMap<Arc<str>, RecordedFrame> = BTreeMap::new();
        for place in (after.saturating_sub(LOOK_BACK)..after).rev() {
            let Some(chunk) = self.chunk(place)? else { continue };
            let before = chunk.messages.partition_point(|message| message.time_ns <= target);
            for message in chunk.messages[..before].iter().rev() {
                // Decoded only where a newer one of the subject was not found yet.
                let Some(ChannelKind::Face { name, .. }) = self.channels.get(&message.channel) else { continue };
                if faces.contains_key(name) {
                    continue;
                }
                if let Some(TakeEntry { content: TakeContent::Frame(frame), .. }) = self.entry(&chunk, *message)
                    && !frame.late
                {
                    faces.insert(frame.name.clone(), *frame);
                }
            }
        }
        Ok(faces.into_values().collect())
    }

    /// The frames of one subject as a [`Take`], from its first frame on, and the time of that since the start of the recording.
    ///
    /// A frame's place in time is when it was captured, where its stamp says so, and otherwise when it arrived; late
    /// frames are in their places.
    ///
    /// # Errors
    /// [`TakeReadError`], when there is no such subject.
    pub fn take(&mut self, subject: &str) -> Result<(Take, Duration), TakeReadError> {
        let next = self.next;
        self.next = (0, 0);
        let mut frames: Vec<(Duration, RecordedFrame)> = Vec::new();
        while let Some(entry) = self.next_entry()? {
            if let TakeContent::Frame(frame) = entry.content
                && *frame.name == *subject
            {
                frames.push((entry.time, *frame));
            }
        }
        self.next = next;
        if frames.is_empty() {
            return Err(TakeReadError::NoSubject(subject.to_owned()));
        }
        let mut placed = placed(frames);
        placed.sort_by_key(|(time, _)| *time);
        let first = placed.first().map_or(0, |(time, _)| *time);
        let frames = placed.into_iter().map(|(time, frame)| {
            let since = u64::try_from(time.saturating_sub(first)).unwrap_or(0);
            TakeFrame { time: Duration::from_micros(since), frame }
        });
        Ok((Take::new(frames.collect())?, Duration::from_micros(u64::try_from(first).unwrap_or(0))))
    }

    /// The bytes of an attachment; of several of one name those of the newest.
    ///
    /// # Errors
    /// [`TakeReadError`], when there is none of this name, or it is too large.
    pub fn attachment(&mut self, name: &str) -> Result<Vec<u8>, TakeReadError> {
        let found = self.attachments.iter().rev().find(|attachment| attachment.name == name);
        let found = found.ok_or_else(|| TakeReadError::NoAttachment(name.to_owned()))?;
        let (offset, len) = (found.offset, found.record_len);
        let (opcode, body) = self.record(offset, len, MAX_ATTACHMENT)?;
        match records::attachment(&body).filter(|_| opcode == op::ATTACHMENT) {
            Some((.., data)) => Ok(data.to_vec()),
            None => Err(TakeReadError::Damaged { offset, reason: "no attachment is there".to_owned() }),
        }
    }

    /// The profile of the header.
    fn profile(&mut self) -> Result<Option<String>, TakeReadError> {
        let offset = MAGIC.len() as u64;
        let Some((opcode, len)) = self.record_header(offset)? else { return Ok(None) };
        if opcode != op::HEADER || len > MAX_RECORD.min(self.len - offset - 9) {
            return Ok(None);
        }
        let (_, body) = self.record(offset, 9 + len, MAX_RECORD)?;
        Ok(records::profile(&body).map(str::to_owned))
    }

    /// Opcode and length of the record at an offset; `None` where the file ends before.
    fn record_header(&mut self, offset: u64) -> Result<Option<(u8, u64)>, TakeReadError> {
        if offset.checked_add(9).is_none_or(|end| end > self.len) {
            return Ok(None);
        }
        self.input.seek(SeekFrom::Start(offset))?;
        let mut header = [0; 9];
        self.input.read_exact(&mut header)?;
        let [opcode, len @ ..] = header;
        Ok(Some((opcode, u64::from_le_bytes(len))))
    }

    /// A record, with its whole length as an index has it.
    fn record(&mut self, offset: u64, whole_len: u64, max: u64) -> Result<(u8, Vec<u8>), TakeReadError> {
        let wrong = |reason: &str| TakeReadError::Damaged { offset, reason: reason.to_owned() };
        let (opcode, len) = self.record_header(offset)?.ok_or_else(|| wrong("it is behind the end"))?;
        if len.checked_add(9) != Some(whole_len) {
            return Err(wrong("its length is not the one of the index"));
        }
        if len > max {
            return Err(wrong("it is too large"));
        }
        if offset + whole_len > self.len {
            return Err(wrong("it ends behind the file"));
        }
        let mut body = vec![0; len as usize];
        self.input.read_exact(&mut body)?;
        Ok((opcode, body))
    }

    /// Reads what the end of a file says of the rest.
    fn read_summary(&mut self) -> Result<(), TakeReadError> {
        let footer_at = self.len.saturating_sub(END_LEN);
        let wrong = |reason: &str| TakeReadError::Damaged { offset: footer_at, reason: reason.to_owned() };
        let (opcode, footer) = self.record(footer_at, 9 + 20, 20)?;
        let mut magic = [0; MAGIC.len()];
        self.input.read_exact(&mut magic)?;
        let start = records::summary_start(&footer).filter(|_| opcode == op::FOOTER && magic == *MAGIC);
        let start = start.filter(|start| *start > 0).ok_or_else(|| wrong("no end"))?;
        let mut offset = start;
        let (mut metadata, mut chunks) = (Vec::new(), Vec::new());
        while offset < footer_at {
            let Some((_, len)) = self.record_header(offset)? else { break };
            let whole = len.checked_add(9).filter(|whole| *whole <= footer_at - offset);
            let whole = whole.ok_or_else(|| wrong("a record of the summary ends behind it"))?;
            let (opcode, body) = self.record(offset, whole, MAX_RECORD)?;
            let known = match opcode {
                op::SCHEMA | op::CHANNEL => self.define(opcode, &body),
                op::CHUNK_INDEX => records::chunk_index(&body).map(|index| {
                    // A chunk that has channels alone has no times.
                    if index.end_time > 0 {
                        chunks.push(index);
                    }
                }),
                op::METADATA_INDEX => records::metadata_index(&body).map(|index| metadata.push(index)),
                op::ATTACHMENT_INDEX => {
                    records::attachment_index(&body).map(|(offset, record_len, len, name, kind)| {
                        self.attachments.push(TakeAttachment {
                            name: name.to_owned(),
                            media_type: kind.to_owned(),
                            len,
                            offset,
                            record_len,
                        });
                    })
                }
                _ => Some(()),
            };
            known.ok_or_else(|| wrong("a record of the summary is too short"))?;
            offset += whole;
        }
        for (offset, len) in metadata {
            let (opcode, body) = self.record(offset, len, MAX_RECORD)?;
            self.define(opcode, &body);
        }
        if chunks.iter().any(|chunk| chunk.offset.checked_add(chunk.len).is_none_or(|end| end > start)) {
            return Err(wrong("a chunk is said to be behind the data"));
        }
        self.chunks = chunks;
        Ok(())
    }

    /// Reads a file that was cut from its start to its last whole record.
    fn scan(&mut self) -> Result<(), TakeReadError> {
        self.chunks.clear();
        self.schemas.clear();
        self.channels.clear();
        self.attachments.clear();
        self.metadata.clear();
        let mut offset = MAGIC.len() as u64;
        while let Some((opcode, len)) = self.record_header(offset)? {
            let Some(whole) = len.checked_add(9).filter(|whole| *whole <= self.len - offset) else { break };
            match opcode {
                op::DATA_END => break,
                op::CHUNK => self.scan_chunk(offset, whole)?,
                op::SCHEMA | op::CHANNEL | op::METADATA | op::ATTACHMENT if len <= MAX_RECORD => {
                    let (opcode, body) = self.record(offset, whole, MAX_RECORD)?;
                    let known = match opcode {
                        op::ATTACHMENT => records::attachment(&body).map(|(name, kind, data)| {
                            self.attachments.push(TakeAttachment {
                                name: name.to_owned(),
                                media_type: kind.to_owned(),
                                len: data.len() as u64,
                                offset,
                                record_len: whole,
                            });
                        }),
                        _ => self.define(opcode, &body),
                    };
                    self.damaged += u64::from(known.is_none());
                }
                _ => {}
            }
            offset += whole;
        }
        Ok(())
    }

    fn scan_chunk(&mut self, offset: u64, len: u64) -> Result<(), TakeReadError> {
        let chunk = match self.decode_chunk(offset, len) {
            Ok(chunk) => chunk,
            Err(TakeReadError::Io(error)) => return Err(error.into()),
            Err(_) => {
                self.damaged += 1;
                return Ok(());
            }
        };
        if let (Some(first), Some(last)) = (chunk.messages.first(), chunk.messages.last()) {
            self.chunks.push(ChunkIndex { offset, len, start_time: first.time_ns, end_time: last.time_ns });
        }
        Ok(())
    }

    /// Takes in a record that other records refer to; `None` for one that is too short.
    fn define(&mut self, opcode: u8, body: &[u8]) -> Option<()> {
        match opcode {
            op::SCHEMA => {
                let (id, name) = records::schema(body)?;
                self.schemas.insert(id, name.to_owned());
            }
            op::CHANNEL => self.add_channel(&records::channel(body)?),
            op::METADATA => {
                let (name, metadata) = records::metadata(body)?;
                self.metadata.insert(name.to_owned(), metadata);
            }
            _ => {}
        }
        Some(())
    }

    fn add_channel(&mut self, channel: &Channel<'_>) {
        let schema = self.schemas.get(&channel.schema).map_or("", String::as_str);
        let subject = |topic: &str, prefix| {
            let name = channel.metadata.get("subject").map(String::as_str);
            name.unwrap_or_else(|| topic.strip_prefix(prefix).unwrap_or(topic)).into()
        };
        let kind = match (channel.topic, channel.encoding) {
            (topic, "protobuf") if schema == schema::FACE => {
                let name = subject(topic, FACES);
                let usual = channel.metadata.get("source").and_then(|name| SourceKind::from_name(name));
                ChannelKind::Face { name, usual: usual.unwrap_or(SourceKind::Custom) }
            }
            (topic, "protobuf") if schema == schema::PICTURE => ChannelKind::Pictures(subject(topic, PICTURES)),
            (topic, "protobuf") if schema == schema::SOUND => ChannelKind::Sounds(subject(topic, SOUNDS)),
            (PACKETS, "protobuf") => ChannelKind::Packets,
            (EVENTS, "json") => ChannelKind::Events,
            (MARKS, "json") => ChannelKind::Marks,
            (STATS, "json") => ChannelKind::Stats,
            _ => return,
        };
        self.channels.insert(channel.id, kind);
    }

    /// A decoded chunk; `None` for one that is damaged.
    fn chunk(&mut self, place: usize) -> Result<Option<Arc<Chunk>>, TakeReadError> {
        if let Some(found) = self.cache.iter().position(|(cached, _)| *cached == place) {
            let cached = self.cache.remove(found);
            let chunk = cached.1.clone();
            self.cache.push(cached);
            return Ok(Some(chunk));
        }
        let Some(ChunkIndex { offset, len, .. }) = self.chunks.get(place).copied() else { return Ok(None) };
        match self.decode_chunk(offset, len) {
            Ok(chunk) => {
                let chunk = Arc::new(chunk);
                if self.cache.len() >= CACHED {
                    self.cache.remove(0);
                }
                self.cache.push((place, chunk.clone()));
                Ok(Some(chunk))
            }
            Err(TakeReadError::Io(error)) => Err(error.into()),
            Err(_) => {
                self.damaged += 1;
                Ok(None)
            }
        }
    }

    fn decode_chunk(&mut self, offset: u64, len: u64) -> Result<Chunk, TakeReadError> {
        let wrong = |reason: &str| TakeReadError::Damaged { offset, reason: reason.to_owned() };
        let (opcode, body) = self.record(offset, len, MAX_CHUNK)?;
        self.chunks_read += 1;
        let chunk = records::chunk(&body).filter(|_| opcode == op::CHUNK);
        let chunk = chunk.ok_or_else(|| wrong("no chunk is there"))?;
        let raw = self.decoder.decompress(&chunk).map_err(wrong)?;
        if chunk.uncompressed_crc != 0 && crc32fast::hash(&raw) != chunk.uncompressed_crc {
            return Err(wrong("its checksum is not that of its content"));
        }
        let mut messages = Vec::new();
        let mut at = 0;
        while let Some((head, rest)) = raw[at..].split_first_chunk::<9>() {
            let [opcode, record_len @ ..] = *head;
            let record_len = usize::try_from(u64::from_le_bytes(record_len)).unwrap_or(usize::MAX);
            let body = rest.get(..record_len).ok_or_else(|| wrong("a record ends behind it"))?;
            match opcode {
                op::MESSAGE => {
                    if let Some((channel, time_ns)) = records::message(body) {
                        messages.push(MessageRef {
                            time_ns,
                            channel,
                            start: (at + 9 + records::MESSAGE_HEADER) as u32,
                            end: (at + 9 + record_len) as u32,
                        });
                    }
                }
                op::SCHEMA | op::CHANNEL => {
                    self.define(opcode, body);
                }
                _ => {}
            }
            at += 9 + record_len;
        }
        messages.sort_by_key(|message| message.time_ns);
        Ok(Chunk { raw, messages })
    }

    /// The entry of a message; `None` for a channel that is not ours, and for what cannot be read.
    fn entry(&mut self, chunk: &Chunk, message: MessageRef) -> Option<TakeEntry> {
        let kind = self.channels.get(&message.channel)?.clone();
        let time = Duration::from_nanos(message.time_ns.saturating_sub(self.started_ns));
        let data = chunk.raw.get(message.start as usize..message.end as usize)?;
        let content = match kind {
            ChannelKind::Face { name, usual } => {
                face::decode(data, &name, usual, &mut self.names).ok().map(|frame| TakeContent::Frame(Box::new(frame)))
            }
            ChannelKind::Events => log::read_event(data).ok().map(|event| match event {
                Logged::Link(event) => TakeContent::Event(event),
                Logged::Phone(recording) => TakeContent::Phone(recording),
                Logged::Obs(recording) => TakeContent::Obs(recording),
                Logged::Stopped => TakeContent::Stopped,
            }),
            ChannelKind::Marks => log::read_mark(data).ok().map(TakeContent::Mark),
            ChannelKind::Stats => std::str::from_utf8(data).ok().map(|text| TakeContent::Stats(text.to_owned())),
            ChannelKind::Packets => packet::decode(data).ok().map(TakeContent::Packet),
            ChannelKind::Pictures(subject) => media::read_picture(data, subject).ok().map(TakeContent::Picture),
            ChannelKind::Sounds(subject) => media::read_sound(data, subject).ok().map(TakeContent::Sound),
        };
        let entry = content.filter(|_| time <= MAX_TIME).map(|content| TakeEntry { time, content });
        self.damaged += u64::from(entry.is_none());
        entry
    }
}

impl Decoder {
    /// The content of a chunk. Grows with what comes out, up to what the chunk states.
    fn decompress(&mut self, chunk: &records::Chunk<'_>) -> Result<Vec<u8>, &'static str> {
        let (limit, data) = (chunk.uncompressed_size, chunk.data);
        if limit > MAX_CHUNK {
            return Err("it is too large");
        }
        match chunk.compression {
            "" => Ok(data.to_vec()),
            "zstd" => self.decompress_zstd(data, limit as usize),
            _ => Err("its compression is not supported"),
        }
    }

    fn decompress_zstd(&mut self, mut data: &[u8], limit: usize) -> Result<Vec<u8>, &'static str> {
        const BROKEN: &str = "its compression is broken";
        if window(data).is_none_or(|window| window > MAX_WINDOW) {
            return Err("its compression needs too much memory");
        }
        self.0.reset(&mut data).map_err(|_| BROKEN)?;
        let mut out = Vec::new();
        while !self.0.is_finished() {
            let step = BlockDecodingStrategy::UptoBytes(256 << 10);
            self.0.decode_blocks(&mut data, step).map_err(|_| BROKEN)?;
            self.0.collect_to_writer(&mut out).map_err(|_| BROKEN)?;
            if out.len() > limit {
                return Err("it is longer than it says");
            }
        }
        self.0.collect_to_writer(&mut out).map_err(|_| BROKEN)?;
        if out.len() == limit { Ok(out) } else { Err("it is not as long as it says") }
    }
}

/// Memory that a zstd frame needs (RFC 8878, 3.1.1.1).
fn window(frame: &[u8]) -> Option<u64> {
    let (magic, rest) = frame.split_first_chunk::<4>()?;
    if *magic != [0x28, 0xb5, 0x2f, 0xfd] {
        return None;
    }
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & 0x20 == 0 {
        let byte = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (byte >> 3));
        return Some(base + base / 8 * (byte & 7));
    }
    // A single segment: as much as its content, whose size follows the id of a dictionary.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = rest.get(dictionary..)?;
    Some(match descriptor >> 6 {
        0 => u64::from(*size.first()?),
        1 => u64::from(u16::from_le_bytes(*size.first_chunk()?)) + 256,
        2 => u64::from(u32::from_le_bytes(*size.first_chunk()?)),
        _ => u64::from_le_bytes(*size.first_chunk()?),
    })
}

/// Frames with their places in time, microseconds: by their stamps within an epoch of the source's clock, and by arrival
/// where an epoch begins.
fn placed(frames: Vec<(Duration, RecordedFrame)>) -> Vec<(i64, FaceAt)> {
    let mut epoch: Option<(crate::event::SubjectId, u32, i64)> = None;
    let mut last = 0;
    frames
        .into_iter()
        .filter_map(|(time, frame)| {
            let arrival = i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 8);
            let Some(stamp) = frame.stamp else {
                // A viseme alone changes the face as it arrives.
                last = last.max(arrival);
                return Some((last, frame.frame));
            };
            let shift = match epoch {
                Some((id, number, shift)) if (id, number) == (frame.id, stamp.epoch) => shift,
                _ => {
                    let shift = arrival - stamp.capture_us - stamp.queue_us.max(0);
                    // Never before what the epoch before had shown.
                    let shift = shift.max(last - stamp.capture_us);
                    epoch = Some((frame.id, stamp.epoch, shift));
                    shift
                }
            };
            let at = stamp.capture_us + shift;
            if !frame.late {
                last = last.max(at);
            }
            (at >= 0).then_some((at, frame.frame))
        })
        .collect()
}

type FaceAt = crate::frame::FaceFrame;
