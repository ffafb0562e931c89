//! Playing a take as if it were live.

use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Seek},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use super::{
    face::RecordedFrame,
    read::{TakeContent, TakeEntry, TakeReadError, TakeReader},
};
use crate::{
    event::{LinkEvent, LostReason, SubjectFrame, SubjectId},
    time::Instant,
    timing::{Stamp, micros},
};

/// Speeds that a take can be played at.
pub const SPEEDS: RangeInclusive<f64> = 0.1..=4.0;
/// A loop that is shorter is played once.
const MIN_LOOP: Duration = Duration::from_millis(10);

/// What a take gives while it is played.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "nearly everything is a frame, and none is to cost an allocation")]
pub enum Played {
    /// A frame of a subject, as it was when it was recorded, with the times of now.
    Frame(SubjectFrame),
    /// A subject appeared, was lost, or is to show an emotion.
    Event(LinkEvent),
    /// A mark, at its time in the take.
    Mark {
        /// Since the start of the take.
        time: Duration,
        /// In words.
        text: String,
    },
}

/// How the stamps of a subject go on after a jump or at another speed.
#[derive(Clone, Copy, Debug)]
struct Retime {
    /// From the origin of stamps that were changed to that of the recording's, for a subject that began with the latter.
    offset_us: i64,
    segment: u32,
    epoch: u32,
    capture_us: i64,
    shown_us: i64,
}

/// A take as a source: what [`poll`](Self::poll) returns is what an endpoint would return at that moment.
///
/// At normal speed and until the first jump, frames are those of the recording bit for bit, with their stamps; `received` is
/// as far from the start of playing as it was from the start of the recording. At other speeds and after a jump, stamps
/// begin a new epoch, as those of a source whose clock was set.
#[derive(Debug)]
pub struct TakePlayer<R> {
    reader: TakeReader<R>,
    speed: f64,
    looped: bool,
    from: Duration,
    until: Option<Duration>,
    /// Subjects that are played, and under which names; all without it.
    subjects: Option<HashMap<Arc<str>, Arc<str>>>,
    /// When which time of the take is due; `None` while it is paused.
    anchor: Option<(Instant, Duration)>,
    /// The time of the take where it is paused.
    position: Duration,
    /// Origin of stamps that were changed.
    origin: Instant,
    segment: u32,
    pending: Option<TakeEntry>,
    queue: VecDeque<Played>,
    present: HashMap<Arc<str>, SubjectId>,
    next_id: u64,
    retimes: HashMap<Arc<str>, Retime>,
    finished: bool,
}

impl<R: Read + Seek> TakePlayer<R> {
    /// Plays a take from its start, at `now`.
    pub fn new(reader: TakeReader<R>, now: Instant) -> Self {
        Self {
            reader,
            speed: 1.0,
            looped: false,
            from: Duration::ZERO,
            until: None,
            subjects: None,
            anchor: Some((now, Duration::ZERO)),
            position: Duration::ZERO,
            origin: now,
            segment: 0,
            pending: None,
            queue: VecDeque::new(),
            present: HashMap::new(),
            next_id: 1,
            retimes: HashMap::new(),
            finished: false,
        }
    }

    /// Plays from one time to another, the first included; to the end without `until`. Goes to the first.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn set_range(&mut self, from: Duration, until: Option<Duration>, now: Instant) -> Result<(), TakeReadError> {
        (self.from, self.until) = (from, until);
        self.go(from, now, false)
    }

    /// Plays again from the start of the range when its end is reached.
    pub fn set_looped(&mut self, looped: bool) {
        self.looped = looped;
    }

    /// Plays these subjects alone, each under another name or its own; all of them for `None`.
    pub fn set_subjects(&mut self, subjects: Option<Vec<(Arc<str>, Arc<str>)>>) {
        self.subjects = subjects.map(|subjects| subjects.into_iter().collect());
    }

    /// Changes the speed, within [`SPEEDS`]; 1 is that of the recording.
    pub fn set_speed(&mut self, speed: f64, now: Instant) {
        let speed = if speed.is_finite() { speed.clamp(*SPEEDS.start(), *SPEEDS.end()) } else { 1.0 };
        if speed.to_bits() == self.speed.to_bits() {
            return;
        }
        let position = self.position(now);
        let untouched = self.segment == 0 && position == self.from && self.retimes.is_empty();
        self.speed = speed;
        self.segment += u32::from(!untouched);
        if let Some(anchor) = &mut self.anchor {
            *anchor = (now, position);
        }
    }

    /// Goes to a time of the take.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn seek(&mut self, time: Duration, now: Instant) -> Result<(), TakeReadError> {
        self.go(time, now, true)
    }

    fn go(&mut self, time: Duration, now: Instant, jump: bool) -> Result<(), TakeReadError> {
        self.reader.seek(time)?;
        self.pending = None;
        self.finished = false;
        self.position = time;
        if let Some(anchor) = &mut self.anchor {
            *anchor = (now, time);
        }
        self.segment += u32::from(jump || !self.retimes.is_empty());
        Ok(())
    }

    /// Stops where it is.
    pub fn pause(&mut self, now: Instant) {
        self.position = self.position(now);
        self.anchor = None;
    }

    /// Goes on.
    pub fn resume(&mut self, now: Instant) {
        if self.anchor.is_none() {
            self.anchor = Some((now, self.position));
            self.segment += 1;
        }
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.anchor.is_none()
    }

    /// Whether everything was played.
    pub fn is_finished(&self) -> bool {
        self.finished && self.queue.is_empty()
    }

    /// The time of the take that is played at `now`.
    pub fn position(&self, now: Instant) -> Duration {
        match self.anchor {
            Some((at, time)) => {
                let since = now.saturating_duration_since(at);
                let played = if self.speed == 1.0 { since } else { since.mul_f64(self.speed) };
                time.saturating_add(played).min(self.end())
            }
            None => self.position,
        }
    }

    /// The take that is played.
    pub fn reader(&self) -> &TakeReader<R> {
        &self.reader
    }

    /// The same, to look into it; playing goes on where it was.
    pub fn reader_mut(&mut self) -> &mut TakeReader<R> {
        &mut self.reader
    }

    fn end(&self) -> Duration {
        let duration = self.reader.duration();
        self.until.map_or(duration, |until| until.min(duration))
    }

    /// When a time of the take is due; `None` while it is paused.
    fn due(&self, time: Duration) -> Option<Instant> {
        let (at, from) = self.anchor?;
        let since = time.saturating_sub(from);
        at.checked_add(if self.speed == 1.0 { since } else { since.div_f64(self.speed) })
    }

    /// When [`poll`](Self::poll) has something next; `None` while it is paused, and at the end.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn next_at(&mut self) -> Result<Option<Instant>, TakeReadError> {
        if !self.queue.is_empty() {
            return Ok(self.anchor.map(|(at, _)| at));
        }
        if self.finished || self.anchor.is_none() {
            return Ok(None);
        }
        let next = self.peek()?.unwrap_or_else(|| self.end());
        Ok(self.due(next))
    }

    /// The next thing that is due at or before `now`, in the order of the recording; call it until there is none.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn poll(&mut self, now: Instant) -> Result<Option<Played>, TakeReadError> {
        loop {
            if let Some(played) = self.queue.pop_front() {
                return Ok(Some(played));
            }
            if self.finished || self.anchor.is_none() {
                return Ok(None);
            }
            let next = self.peek()?;
            let Some(due) = self.due(next.unwrap_or_else(|| self.end())).filter(|due| *due <= now) else {
                return Ok(None);
            };
            match (next, self.pending.take()) {
                (Some(_), Some(entry)) => self.play(entry, due),
                _ => self.turn(due, now)?,
            }
        }
    }

    /// The time of the next entry within the range.
    fn peek(&mut self) -> Result<Option<Duration>, TakeReadError> {
        if self.pending.is_none() {
            self.pending = self.reader.next_entry()?;
        }
        let end = self.until.unwrap_or(Duration::MAX);
        Ok(self.pending.as_ref().map(|entry| entry.time).filter(|time| *time < end))
    }

    /// At the end of the range: back to its start, or the end.
    fn turn(&mut self, due: Instant, now: Instant) -> Result<(), TakeReadError> {
        let length = self.end().saturating_sub(self.from);
        if self.looped && length >= MIN_LOOP {
            self.go(self.from, due, true)?;
            // After a long stall, from now on instead of catching up.
            let late = now.saturating_duration_since(due);
            if late > length.div_f64(self.speed) {
                self.anchor = Some((now, self.from));
            }
            return Ok(());
        }
        self.finished = true;
        self.position = self.end();
        for (name, id) in self.present.drain() {
            self.queue.push_back(Played::Event(LinkEvent::SubjectLost { id, name, reason: LostReason::Stopped }));
        }
        Ok(())
    }

    /// The name that a subject is played under.
    fn alias(&self, name: &Arc<str>) -> Option<Arc<str>> {
        match &self.subjects {
            Some(subjects) => subjects.get(name).cloned(),
            None => Some(name.clone()),
        }
    }

    /// The id of a subject that is there, which appears if it is not.
    fn appear(&mut self, name: &Arc<str>, event: impl FnOnce(SubjectId, Arc<str>) -> LinkEvent) -> SubjectId {
        if let Some(id) = self.present.get(name) {
            return *id;
        }
        let id = SubjectId(self.next_id);
        self.next_id += 1;
        self.present.insert(name.clone(), id);
        self.queue.push_back(Played::Event(event(id, name.clone())));
        id
    }

    fn play(&mut self, entry: TakeEntry, due: Instant) {
        match entry.content {
            TakeContent::Frame(frame) => self.play_frame(*frame, due),
            TakeContent::Event(LinkEvent::SubjectAppeared { name, source, address, .. }) => {
                if let Some(alias) = self.alias(&name) {
                    self.appear(&alias, |id, name| LinkEvent::SubjectAppeared { id, name, source, address });
                }
            }
            TakeContent::Event(LinkEvent::SubjectLost { name, reason, .. }) => {
                if let Some(alias) = self.alias(&name)
                    && let Some(id) = self.present.remove(&alias)
                {
                    self.queue.push_back(Played::Event(LinkEvent::SubjectLost { id, name: alias, reason }));
                }
            }
            TakeContent::Event(LinkEvent::Emotion { name, emotion, .. }) => {
                if let Some(alias) = self.alias(&name)
                    && let Some(id) = self.present.get(&alias)
                {
                    self.queue.push_back(Played::Event(LinkEvent::Emotion { id: *id, name: alias, emotion }));
                }
            }
            TakeContent::Mark(text) => self.queue.push_back(Played::Mark { time: entry.time, text }),
            // Connections and datagrams of then are no connections and datagrams of now, and gestures are recognised anew.
            TakeContent::Event(_)
            | TakeContent::Phone(_)
            | TakeContent::Obs(_)
            | TakeContent::Packet(_)
            | TakeContent::Picture(_)
            | TakeContent::Sound(_)
            | TakeContent::Stats(_)
            | TakeContent::Stopped => {}
        }
    }

    fn play_frame(&mut self, mut frame: RecordedFrame, due: Instant) {
        let Some(alias) = self.alias(&frame.name) else { return };
        let source = frame.source;
        let appeared = |id, name| LinkEvent::SubjectAppeared { id, name, source, address: None };
        frame.id = self.appear(&alias, appeared);
        frame.name = alias;
        if self.speed != 1.0 {
            frame.age = frame.age.div_f64(self.speed);
        }
        let mut frame = frame.at(due);
        frame.stamp = frame.stamp.map(|stamp| self.retime(&frame.name, stamp, frame.received));
        self.queue.push_back(Played::Frame(frame));
    }

    /// The faces at the time of the take where it is, for one that is paused: what [`poll`](Self::poll) would have returned
    /// last, as frames of `now`. Subjects that are not there at that time leave.
    ///
    /// # Errors
    /// [`TakeReadError::Io`].
    pub fn still(&mut self, now: Instant) -> Result<Vec<Played>, TakeReadError> {
        let position = self.position(now);
        let faces = self.reader.faces_at(position)?;
        let shown: Vec<_> = faces.iter().filter_map(|face| self.alias(&face.name)).collect();
        let absent = self.present.extract_if(|name, _| !shown.contains(name));
        let lost = |(name, id)| Played::Event(LinkEvent::SubjectLost { id, name, reason: LostReason::Stopped });
        self.queue.extend(absent.map(lost));
        for mut face in faces {
            (face.age, face.late, face.repeated) = (Duration::ZERO, false, false);
            self.play_frame(face, now);
        }
        Ok(self.queue.drain(..).collect())
    }

    /// The stamp of a frame that is shown at another pace, or after a jump.
    fn retime(&mut self, name: &Arc<str>, stamp: Stamp, received: Instant) -> Stamp {
        if self.segment == 0 && self.speed == 1.0 {
            self.retimes.entry(name.clone()).or_insert(Retime {
                offset_us: stamp.arrival_us() - micros(received, self.origin),
                segment: 0,
                epoch: stamp.epoch,
                capture_us: stamp.capture_us,
                shown_us: stamp.capture_us,
            });
            return stamp;
        }
        let offset_us = self.retimes.get(name).map_or(0, |retime| retime.offset_us);
        let shown_us = micros(received, self.origin) + offset_us;
        let speed = self.speed;
        let scaled = |us: i64| (us as f64 / speed).round() as i64;
        let begun =
            Retime { offset_us, segment: self.segment, epoch: stamp.epoch, capture_us: stamp.capture_us, shown_us };
        let retime = self.retimes.entry(name.clone()).or_insert(begun);
        if (retime.segment, retime.epoch) != (self.segment, stamp.epoch) {
            *retime = begun;
        }
        let capture_us = retime.shown_us + scaled(stamp.capture_us - retime.capture_us);
        let queue_us = scaled(stamp.queue_us);
        Stamp {
            capture_us,
            base_us: shown_us - capture_us - queue_us,
            queue_us,
            epoch: stamp.epoch.wrapping_add(self.segment),
            interval_us: scaled(stamp.interval_us),
        }
    }
}
