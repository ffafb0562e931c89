//! Recording takes: a thread that writes what leaves for the engine.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, BufWriter},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, Weak},
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use facelink::{
    calibration::Calibration,
    take::{TakeAbout, TakeWriteError, TakeWriter},
    time::Instant,
};
use parking_lot::Mutex;
use serde::Serialize;

use crate::{
    hub::Hub,
    stats::{SubjectStats, TakeStatus},
    tap::{Tap, TapState, Tapped},
};

/// Between two looks at whether a chunk is due.
const TICK: Duration = Duration::from_millis(50);
/// Between two statistics in a take.
const STATS_EVERY: Duration = Duration::from_millis(400);
/// Least time between two versions of the calibration in a take: it changes with every frame while a range is captured.
const CALIBRATION_EVERY: Duration = Duration::from_secs(5);
/// Longest slate, bytes.
const MAX_SLATE: usize = 128;
/// Longest mark, bytes.
const MAX_MARK: usize = 1024;
/// The slate where none is given.
const SLATE: &str = "take";
/// Bytes that are written at once.
const BUFFER: usize = 256 << 10;
/// Takes of a folder that are listed.
const MAX_LISTED: usize = 1000;

/// How long the end of a take waits for phones that record in step to report their files, and for OBS.
const PHONES_LIMIT: Duration = Duration::from_secs(2);
const OBS_LIMIT: Duration = Duration::from_secs(6);
/// Between two looks at whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What records in step with a take: phones, and OBS.
pub(crate) trait Companion: Send + Sync {
    /// Files that say what the numbers of a take mean: name, media type, bytes.
    fn attachments(&self) -> Vec<TakeFileContent> {
        Vec::new()
    }
    /// Devices that can record at a command.
    fn recorders(&self) -> usize;
    /// Asks them to begin.
    fn record(&self, slate: &str, take: u32);
    /// Asks them to end.
    fn stop(&self);
    /// Whether any of them has yet to report that it ended.
    fn is_ending(&self) -> bool;
}

/// What to record.
#[derive(Clone, Debug, Default)]
pub struct TakeOptions {
    /// The name of the scene or line; `take` without one.
    pub slate: Option<String>,
    /// Number of the take; without one, the next that the folder has no file of.
    pub take: Option<u32>,
    /// The file, which is overwritten; without one, a new file `SLATE_TAKE.mcap` in
    /// [`EndpointConfig::takes`](crate::EndpointConfig::takes).
    pub file: Option<PathBuf>,
    /// Record the datagrams of phones too, as they arrived.
    pub packets: bool,
    /// Have the phones record too that can: Live Link Face begins and ends its own recording, under the same slate and
    /// number, and what it reports of its files is in the take. Needs one that is called
    /// ([`EndpointConfig::call`](crate::EndpointConfig::call)). `None` is
    /// [`EndpointConfig::takes_with_phones`](crate::EndpointConfig::takes_with_phones).
    pub phones: Option<bool>,
    /// Whether OBS records too, where one is controlled ([`EndpointConfig::obs`](crate::EndpointConfig)); it does by
    /// default.
    pub obs: Option<bool>,
    /// Timecode at the start, and its frames a second; that of the endpoint's clock without it, where it has one
    /// ([`TimecodeInput`](crate::TimecodeInput)).
    pub timecode: Option<(String, String)>,
    /// Files to put in, besides those of every take
    /// ([`EndpointControl::set_take_attachments`](crate::EndpointControl::set_take_attachments)).
    pub attachments: Vec<TakeFileContent>,
}

/// A file inside a take: name, media type, bytes.
pub type TakeFileContent = (String, String, Vec<u8>);

/// Why a take does not begin, or end, as it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeRecordError {
    /// One is being recorded.
    #[error("{} is being recorded already", .0.display())]
    AlreadyRecording(PathBuf),
    /// None is being recorded.
    #[error("no take is being recorded")]
    NotRecording,
    /// A field that will not do.
    #[error("field `{field}`: {reason}")]
    Field {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// The file cannot be made.
    #[error("cannot record to {}: {source}", .file.display())]
    Create {
        /// Which file.
        file: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file could not be written to its end.
    #[error("{}: {source}", .file.display())]
    Write {
        /// Which file. What was written before is a take that was cut.
        file: PathBuf,
        /// The reason.
        source: TakeWriteError,
    },
    /// The system gives no thread.
    #[error("cannot start the recorder: {0}")]
    Thread(#[source] io::Error),
}

/// A file in the folder of takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TakeFile {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
}

struct Running {
    /// What records in step, and how long the end waits for it.
    companions: Vec<(Weak<dyn Companion>, Duration)>,
    status: Arc<Mutex<TakeStatus>>,
    file: PathBuf,
    thread: JoinHandle<Option<TakeWriteError>>,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    last: Option<TakeStatus>,
    /// Slate of takes that are begun without one, and number of the next such take.
    slate: Option<String>,
    take: Option<u32>,
    /// The last number of each slate.
    numbers: HashMap<String, u32>,
    /// Files of every take.
    attachments: Vec<TakeFileContent>,
}

/// The recorder of an endpoint.
pub(crate) struct Takes {
    hub: Arc<Hub>,
    state: Mutex<State>,
    stopping: Mutex<()>,
    phones: OnceLock<Weak<dyn Companion>>,
    obs: OnceLock<Weak<dyn Companion>>,
}

impl Takes {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self { hub, state: Mutex::default(), stopping: Mutex::default(), phones: OnceLock::new(), obs: OnceLock::new() }
    }

    /// Records with these phones, from the next take on. Once.
    #[cfg(feature = "phones")]
    pub fn set_phones(&self, phones: Weak<dyn Companion>) {
        let _ = self.phones.set(phones);
    }

    /// Records with this OBS, from the next take on. Once.
    #[cfg(feature = "obs")]
    pub fn set_obs(&self, obs: Weak<dyn Companion>) {
        let _ = self.obs.set(obs);
    }

    fn phones(&self) -> Option<Arc<dyn Companion>> {
        self.phones.get().and_then(Weak::upgrade)
    }

    /// Files of every take from the next one on.
    pub fn set_attachments(&self, attachments: Vec<TakeFileContent>) {
        self.state.lock().attachments = attachments;
    }

    /// Begins a take.
    pub fn start(&self, options: TakeOptions) -> Result<TakeStatus, TakeRecordError> {
        let mut state = self.state.lock();
        if let Some(running) = &state.running {
            return Err(TakeRecordError::AlreadyRecording(running.file.clone()));
        }
        let slate = options.slate.or_else(|| state.slate.clone()).unwrap_or_else(|| SLATE.to_owned());
        let wanted = options.take.or(state.take);
        check_text("slate", &slate, MAX_SLATE)?;
        if wanted == Some(0) {
            return Err(TakeRecordError::Field { field: "take", reason: "takes count from 1".to_owned() });
        }
        let phones = self.phones();
        let recorders = phones.as_ref().map_or(0, |phones| phones.recorders());
        if options.phones == Some(true) && recorders == 0 {
            let reason = "no phone is called whose app records at a command (`call` one with Live Link Face, or --call ADDRESS=live-link-face), \
                          or the port for its remote control is not open".to_owned();
            return Err(TakeRecordError::Field { field: "phones", reason });
        }
        let with_phones = options.phones.unwrap_or(self.hub.config.takes_with_phones) && recorders > 0;
        let known = state.numbers.get(&slate).copied().unwrap_or(0);
        let (path, take, file) = match options.file {
            Some(path) => {
                let file = File::create(&path).map_err(create_error(&path))?;
                (path, wanted.unwrap_or(known + 1), file)
            }
            None => create(&self.hub.config.takes, &slate, wanted, known)?,
        };
        let start = Instant::now();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut about = TakeAbout::new(slate.clone(), take, since_epoch);
        let timecode = options.timecode.or_else(|| {
            let base = self.hub.queues.timecode()?.base;
            Some((base.timecode(start).to_string(), base.rate.to_string()))
        });
        if let Some((timecode, rate)) = timecode {
            (about.timecode, about.timecode_rate) = (Some(timecode), Some(rate));
        }
        let written = |source| TakeRecordError::Write { file: path.clone(), source };
        let mut writer = TakeWriter::new(BufWriter::with_capacity(BUFFER, file), &about, start).map_err(written)?;
        let attachments = phones.as_ref().map(|phones| phones.attachments()).unwrap_or_default();
        for (name, kind, data) in options.attachments.iter().chain(&state.attachments).chain(&attachments) {
            writer.attach(name, kind, data).map_err(written)?;
        }
        let status = TakeStatus {
            recording: true,
            file: path.display().to_string(),
            slate: slate.clone(),
            take,
            seconds: 0.0,
            frames: 0,
            bytes: writer.bytes(),
            dropped: 0,
            phones: if with_phones { recorders } else { 0 },
            error: None,
        };
        let shared = Arc::new(Mutex::new(status.clone()));
        let (tap, queue, tap_state) = Tap::new(options.packets);
        let recorder = Recorder {
            writer,
            queue,
            tap: tap_state,
            hub: self.hub.clone(),
            status: shared.clone(),
            calibrations: BTreeMap::new(),
            attached: BTreeMap::new(),
            attached_at: None,
        };
        let thread = thread::Builder::new()
            .name("facelink-take".to_owned())
            .spawn(move || recorder.run())
            .map_err(TakeRecordError::Thread)?;
        self.hub.queues.set_tap(Some(tap));
        // Behind the tap: what they report is in the take. All at once, so that they begin together.
        let phones = self.phones.get().filter(|_| with_phones).map(|phones| (phones.clone(), PHONES_LIMIT));
        let obs = self.obs.get().filter(|_| options.obs != Some(false)).map(|obs| (obs.clone(), OBS_LIMIT));
        let companions: Vec<_> = phones.into_iter().chain(obs).collect();
        for companion in companions.iter().filter_map(|(companion, _)| companion.upgrade()) {
            companion.record(&slate, take);
        }
        state.take = None;
        if state.numbers.len() < MAX_LISTED {
            state.numbers.insert(slate, take);
        }
        tracing::info!(file = status.file, "recording");
        state.running = Some(Running { companions, status: shared, file: path, thread });
        Ok(status)
    }

    /// Ends the take, and waits until its file is whole.
    pub fn stop(&self) -> Result<TakeStatus, TakeRecordError> {
        // One at a time: what ends with the endpoint waits for what is being ended already.
        let _stopping = self.stopping.lock();
        self.stop_companions();
        let Running { status, file, thread, .. } = {
            let mut state = self.state.lock();
            let running = state.running.take().ok_or(TakeRecordError::NotRecording)?;
            self.hub.queues.set_tap(None);
            state.last = Some(running.status.lock().clone());
            running
        };
        // Without the lock: who asks for the status need not wait for the disk.
        let error = thread
            .join()
            .unwrap_or_else(|_| Some(TakeWriteError::Io(io::Error::other("the recorder's thread ended in a panic"))));
        let mut status = status.lock().clone();
        status.recording = false;
        if let Some(error) = &error {
            status.error.get_or_insert_with(|| error.to_string());
        }
        self.state.lock().last = Some(status.clone());
        match error {
            Some(source) => Err(TakeRecordError::Write { file, source }),
            None => Ok(status),
        }
    }

    /// Ends what phones and OBS record, and waits for their answers, which belong to the take.
    fn stop_companions(&self) {
        let companions: Vec<_> = match &self.state.lock().running {
            Some(running) => running
                .companions
                .iter()
                .filter_map(|(companion, limit)| Some((companion.upgrade()?, *limit)))
                .collect(),
            None => return,
        };
        for (companion, _) in &companions {
            companion.stop();
        }
        let start = Instant::now();
        while companions.iter().any(|(companion, limit)| companion.is_ending() && start.elapsed() < *limit) {
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Puts a mark into the take.
    pub fn mark(&self, text: String) -> Result<(), TakeRecordError> {
        check_text("text", &text, MAX_MARK)?;
        if self.state.lock().running.is_none() {
            return Err(TakeRecordError::NotRecording);
        }
        let now = Instant::now();
        self.hub.queues.tap(|tap| tap.push(|| Tapped::Mark(text, now)));
        Ok(())
    }

    /// The take that is being recorded, or the last one.
    pub fn status(&self) -> Option<TakeStatus> {
        let state = self.state.lock();
        match &state.running {
            Some(running) => Some(running.status.lock().clone()),
            None => state.last.clone(),
        }
    }

    /// Slate of the takes that are begun without one.
    #[cfg(feature = "phones")]
    pub fn set_slate(&self, slate: Option<String>) {
        self.state.lock().slate = slate;
    }

    /// Number of the next take that is begun without one.
    #[cfg(feature = "phones")]
    pub fn set_take(&self, take: Option<u32>) {
        self.state.lock().take = take;
    }

    /// The number that the next take of a slate has, without one of its own.
    #[cfg(feature = "http")]
    pub fn next_number(&self, slate: Option<&str>) -> u32 {
        let (slate, known) = {
            let state = self.state.lock();
            if let Some(take) = state.take {
                return take;
            }
            let slate = slate.or(state.slate.as_deref()).unwrap_or(SLATE).to_owned();
            let known = state.numbers.get(&slate).copied().unwrap_or(0);
            (slate, known)
        };
        last_number(&self.hub.config.takes, &file_part(&slate)).max(known).saturating_add(1)
    }

    /// Phones that can record too.
    #[cfg(feature = "http")]
    pub fn recorders(&self) -> usize {
        self.phones().map_or(0, |phones| phones.recorders())
    }

    /// The files in the folder of takes, by name.
    pub fn files(&self) -> Vec<TakeFile> {
        let entries = fs::read_dir(&self.hub.config.takes).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let file = entry.file_name().into_string().ok().filter(|name| name.ends_with(".mcap"))?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some(TakeFile { file, bytes: metadata.len() })
            })
            .take(MAX_LISTED)
            .collect();
        files.sort_by(|a, b| a.file.cmp(&b.file));
        files
    }
}

impl std::fmt::Debug for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Takes").field("status", &self.status()).finish_non_exhaustive()
    }
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), TakeRecordError> {
    let wrong = |reason: String| TakeRecordError::Field { field, reason };
    match text.len() {
        0 => Err(wrong("it is empty".to_owned())),
        len if len > max => Err(wrong(format!("longer than {max} bytes"))),
        _ if text.chars().any(char::is_control) => Err(wrong("it holds a control character".to_owned())),
        _ => Ok(()),
    }
}

fn create_error(file: &Path) -> impl FnOnce(io::Error) -> TakeRecordError {
    let file = file.to_owned();
    move |source| TakeRecordError::Create { file, source }
}

/// The characters of a slate as a part of a file's name: nothing that leaves the folder, or that some system does not take.
pub(crate) fn plain(slate: &str) -> impl Iterator<Item = char> {
    let plain = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_' | ' ') { c } else { '_' };
    slate.trim().chars().map(plain)
}

/// The slate as a part of a file's name.
fn file_part(slate: &str) -> String {
    let part: String = plain(slate).take(64).collect();
    if part.is_empty() { SLATE.to_owned() } else { part }
}

/// The highest number of the files of a slate; 0 without any.
fn last_number(folder: &Path, part: &str) -> u32 {
    let number_of =
        |name: &str| -> Option<u32> { name.strip_prefix(part)?.strip_prefix('_')?.strip_suffix(".mcap")?.parse().ok() };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| number_of(entry.file_name().to_str()?)).max().unwrap_or(0)
}

/// A new file in the folder: of the number that is wanted, or of the next one.
fn create(
    folder: &Path,
    slate: &str,
    wanted: Option<u32>,
    known: u32,
) -> Result<(PathBuf, u32, File), TakeRecordError> {
    fs::create_dir_all(folder).map_err(create_error(folder))?;
    let part = file_part(slate);
    let last = last_number(folder, &part);
    let mut take = wanted.unwrap_or(last.max(known).saturating_add(1));
    loop {
        let path = folder.join(format!("{part}_{take:03}.mcap"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, take, file)),
            // Another process took the number just now.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    && wanted.is_none()
                    && take < last.saturating_add(100) =>
            {
                take += 1
            }
            Err(error) => return Err(create_error(&path)(error)),
        }
    }
}

/// From one time to another; negative when the other was before.
fn nanos_between(from: Instant, to: Instant) -> i64 {
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(after) => nanos(after),
        None => -nanos(from.saturating_duration_since(to)),
    }
}

/// The thread's side.
struct Recorder {
    writer: TakeWriter<BufWriter<File>>,
    queue: Receiver<Tapped>,
    tap: Arc<TapState>,
    hub: Arc<Hub>,
    status: Arc<Mutex<TakeStatus>>,
    /// The newest calibration of every subject that was there.
    calibrations: BTreeMap<Arc<str>, Calibration>,
    /// The same as it is in the take, and when it was written: a take that is cut has it too.
    attached: BTreeMap<Arc<str>, Calibration>,
    attached_at: Option<Instant>,
}

/// What changes of the statistics, rounded: in full they would be a fifth of a take.
#[derive(Serialize)]
struct Stats<'a> {
    connections: usize,
    refused: u64,
    overrun: u64,
    /// Frames and events that this take does not have.
    dropped: u64,
    subjects: Vec<SubjectLine<'a>>,
}

#[derive(Serialize)]
struct SubjectLine<'a> {
    name: &'a str,
    tracked: bool,
    fps: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
    jitter_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    loss: Option<f64>,
    queue_ms: f64,
    delay_ms: f64,
    age_ms: f64,
}

impl<'a> SubjectLine<'a> {
    fn of(subject: &'a SubjectStats) -> Self {
        let tenth = |value: f32| (f64::from(value) * 10.0).round() / 10.0;
        Self {
            name: &subject.name,
            tracked: subject.tracked,
            fps: tenth(subject.fps),
            latency_ms: subject.latency_ms.map(tenth),
            jitter_ms: tenth(subject.jitter_ms),
            loss: subject.loss.map(|loss| (f64::from(loss) * 1000.0).round() / 1000.0),
            queue_ms: tenth(subject.queue_ms),
            delay_ms: tenth(subject.delay_ms),
            age_ms: tenth(subject.age_ms),
        }
    }
}

impl Recorder {
    /// Writes until the other end is gone, or an error.
    fn run(mut self) -> Option<TakeWriteError> {
        match self.record().and_then(|()| self.finish()) {
            Ok(()) => None,
            Err(error) => {
                self.tap.close();
                self.report();
                self.status.lock().recording = false;
                self.status.lock().error = Some(error.to_string());
                tracing::error!(%error, file = self.status.lock().file, "the take was cut");
                // The rest of a chunk that found no room is of no use; without it the file ends with a whole one.
                let whole = self.writer.whole_bytes();
                let (file, _) = self.writer.into_inner().into_parts();
                if let Err(error) = file.set_len(whole) {
                    tracing::warn!(%error, "cannot shorten the take to its last whole chunk");
                }
                Some(error)
            }
        }
    }

    fn record(&mut self) -> Result<(), TakeWriteError> {
        let mut next = Instant::now();
        loop {
            match self.queue.recv_timeout(TICK) {
                Ok(tapped) => self.write(tapped)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            let now = Instant::now();
            self.writer.tick(now)?;
            if now >= next {
                next = now + STATS_EVERY;
                self.write_stats(now)?;
            }
        }
    }

    fn write(&mut self, tapped: Tapped) -> Result<(), TakeWriteError> {
        match tapped {
            Tapped::Frame(frame) => self.writer.frame(&frame),
            Tapped::Event(event, at) => self.writer.event(&event, at),
            Tapped::Packet(packet, at) => self.writer.packet(&packet, at),
            Tapped::Picture(picture, at) => {
                self.tap.media_written(picture.data.len());
                self.writer.picture(&picture, at)
            }
            Tapped::Sound(sound, at) => {
                self.tap.media_written(sound.data.len());
                self.writer.sound(&sound, at)
            }
            Tapped::Mark(text, at) => self.writer.mark(&text, at),
            Tapped::Phone(recording, at) => self.writer.phone(&recording, at),
            Tapped::Obs { mut recording, started, at } => {
                recording.offset_ns = started.map(|started| nanos_between(self.writer.start(), started));
                self.writer.obs(&recording, at)
            }
        }
    }

    fn write_stats(&mut self, now: Instant) -> Result<(), TakeWriteError> {
        self.writer.count_dropped(self.tap.take_dropped());
        let endpoint = self.hub.stats(now);
        for subject in endpoint.subjects.iter().filter(|subject| subject.enabled) {
            let calibration = self.hub.subjects().calibrate(&subject.name, |calibration, _| *calibration);
            if let Some(calibration) = calibration {
                self.calibrations.insert(subject.name.clone(), calibration);
            }
        }
        let is_due = self.attached_at.is_none_or(|at| now.saturating_duration_since(at) >= CALIBRATION_EVERY);
        if is_due && self.calibrations != self.attached {
            self.attach_calibration(now)?;
        }
        self.report();
        let stats = Stats {
            connections: endpoint.connections,
            refused: endpoint.refused,
            overrun: endpoint.overrun,
            dropped: self.writer.dropped(),
            subjects: endpoint.subjects.iter().filter(|subject| subject.enabled).map(SubjectLine::of).collect(),
        };
        self.writer.stats(&stats, now)
    }

    fn report(&self) {
        let mut status = self.status.lock();
        status.seconds = self.writer.duration().as_secs_f64();
        status.frames = self.writer.frames();
        status.bytes = self.writer.bytes();
        status.dropped = self.writer.dropped();
    }

    fn finish(&mut self) -> Result<(), TakeWriteError> {
        let now = Instant::now();
        self.writer.count_dropped(self.tap.take_dropped());
        if self.attached_at.is_none() || self.calibrations != self.attached {
            self.attach_calibration(now)?;
        }
        self.writer.end(now)?;
        self.report();
        Ok(())
    }

    fn attach_calibration(&mut self, now: Instant) -> Result<(), TakeWriteError> {
        if let Ok(json) = serde_json::to_vec(&self.calibrations) {
            self.writer.attach("calibration.json", "application/json", &json)?;
            self.attached.clone_from(&self.calibrations);
        }
        self.attached_at = Some(now);
        Ok(())
    }
}
