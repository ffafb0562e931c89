//! Takes in the engine: [`FaceTake`] is a recording as an asset, [`TakePlayer`] plays it as a source.

use std::{
    collections::HashSet,
    io::{self, Cursor},
    sync::Arc,
    time::Duration,
};

use bevy::{
    asset::{AssetLoader, LoadContext, io::Reader},
    ecs::{lifecycle::HookContext, world::DeferredWorld},
    prelude::*,
    reflect::TypePath,
};
use facelink::{
    event::{LinkEvent, SubjectFrame, SubjectId},
    source::SourceKind,
    take::{
        Played, SPEEDS, Take, TakeAbout, TakeContent, TakeInfo, TakePlayer as Player, TakeReadError, TakeReader,
        TakeTimeline, TakeWriteError, TakeWriter, llf_csv,
    },
    time::Instant,
    timing::{Stamp, micros},
};

use crate::{
    files::add_asset,
    input::{FaceInput, is_own},
    playout::{PresentationTime, engine_time},
    sets::Step,
    subjects::{FaceSubject, FaceSubjects, Incoming},
};

/// Longest distance at which a step back looks for a frame.
const STEP_BACK: Duration = Duration::from_secs(2);

pub(crate) struct TakesPlugin;

impl Plugin for TakesPlugin {
    fn build(&self, app: &mut App) {
        add_asset::<FaceTake, TakeLoader>(app);
        app.register_type::<TakePlayer>()
            .register_type::<TakePlayback>()
            .add_systems(PreUpdate, play.before(Step::Frames).run_if(resource_exists::<Assets<FaceTake>>));
    }

    fn finish(&self, app: &mut App) {
        add_asset::<FaceTake, TakeLoader>(app);
    }
}

/// A recording: a `.mcap` file of `facelink record` or of an endpoint, with every subject that was there; or a `.csv` file
/// of Live Link Face, whose subject has the name of the file.
#[derive(Asset, TypePath, Clone, Debug)]
pub struct FaceTake {
    bytes: Arc<[u8]>,
    info: TakeInfo,
}

/// Why a take cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeLoadError {
    /// The file itself.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is no recording.
    #[error("{path}: {error}")]
    Take {
        /// Which file.
        path: String,
        /// What is wrong with it.
        error: TakeReadError,
    },
    /// It is no CSV file of Live Link Face.
    #[error("{path}: {error}")]
    Csv {
        /// Which file.
        path: String,
        /// What is wrong with it.
        error: llf_csv::LlfCsvError,
    },
    /// Its frames cannot be put together.
    #[error("{path}: {error}")]
    Write {
        /// Which file.
        path: String,
        /// Why.
        error: TakeWriteError,
    },
}

impl FaceTake {
    /// A recording from the bytes of its file.
    ///
    /// # Errors
    /// [`TakeReadError`], when they are no take.
    pub fn from_mcap(bytes: impl Into<Arc<[u8]>>) -> Result<Self, TakeReadError> {
        let bytes = bytes.into();
        let info = TakeReader::open(Cursor::new(bytes.clone()))?.info()?;
        Ok(Self { bytes, info })
    }

    /// The frames of one face, as a recording with one subject of this name.
    ///
    /// # Errors
    /// [`TakeWriteError`], when the name is not one of a subject.
    pub fn from_frames(name: &str, take: &Take) -> Result<Self, TakeWriteError> {
        let start = Instant::now();
        let mut writer = TakeWriter::new(Vec::new(), &TakeAbout::new(name, 1, Duration::ZERO), start)?;
        let us = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        let interval_us = us(Duration::from_secs_f64(1.0 / take.fps()));
        for frame in take.frames() {
            writer.frame(&SubjectFrame {
                id: SubjectId(1),
                name: name.into(),
                source: SourceKind::Custom,
                frame: frame.frame.clone(),
                speech: None,
                received: start + frame.time,
                stamp: Some(Stamp { capture_us: us(frame.time), base_us: 0, queue_us: 0, epoch: 0, interval_us }),
                late: false,
                repeated: false,
            })?;
        }
        let bytes = writer.finish(start + take.duration())?;
        Self::from_mcap(bytes).map_err(|error| TakeWriteError::Io(io::Error::other(error)))
    }

    /// Slate, number, duration, subjects and the rest.
    pub fn info(&self) -> &TakeInfo {
        &self.info
    }

    /// What each subject does over its time, in so many parts, 1 to 1024, and its marks. Reads all of it, which takes about
    /// a second for an hour of one face: best done in a task.
    ///
    /// # Errors
    /// [`TakeReadError`].
    pub fn timeline(&self, parts: usize) -> Result<TakeTimeline, TakeReadError> {
        self.reader()?.timeline(parts)
    }

    /// The frames of one subject, and the time of the first of them since the start of the recording.
    ///
    /// # Errors
    /// [`TakeReadError`], when there is no such subject.
    pub fn frames(&self, subject: &str) -> Result<(Take, Duration), TakeReadError> {
        self.reader()?.take(subject)
    }

    /// Whether both are one recording, not only equal.
    #[cfg(feature = "panel")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes)
    }

    /// Its frames and events, to be read in the game.
    ///
    /// # Errors
    /// [`TakeReadError`].
    pub fn reader(&self) -> Result<TakeReader<Cursor<Arc<[u8]>>>, TakeReadError> {
        TakeReader::open(Cursor::new(self.bytes.clone()))
    }
}

/// Reads [`FaceTake`]s.
#[derive(Default, TypePath)]
struct TakeLoader;

impl AssetLoader for TakeLoader {
    type Asset = FaceTake;
    type Settings = ();
    type Error = TakeLoadError;

    async fn load(
        &self,
        reader: &mut dyn Reader,
        _settings: &(),
        load_context: &mut LoadContext<'_>,
    ) -> Result<FaceTake, TakeLoadError> {
        let path = load_context.path().to_string();
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await.map_err(|error| TakeLoadError::File { path: path.clone(), error })?;
        if !path.to_ascii_lowercase().ends_with(".csv") {
            return FaceTake::from_mcap(bytes).map_err(|error| TakeLoadError::Take { path, error });
        }
        let file = load_context.path().path().file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let take =
            llf_csv::decode(Cursor::new(bytes)).map_err(|error| TakeLoadError::Csv { path: path.clone(), error })?;
        for remark in take.remarks() {
            warn!("{path}: {remark}");
        }
        FaceTake::from_frames(&file.unwrap_or_default(), &take).map_err(|error| TakeLoadError::Write { path, error })
    }

    fn extensions(&self) -> &[&str] {
        &["mcap", "csv"]
    }
}

/// Which time a take is played by.
#[derive(Reflect, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TakeClock {
    /// `Time<Real>`, the default: the take goes on while the game is paused, as a phone does.
    #[default]
    Real,
    /// `Time<Virtual>`: it pauses with the game, and is as fast.
    Game,
}

/// Plays a [`FaceTake`]: its subjects are there as if phones sent them, with avatars, layers, mapping, playout and
/// [`SendFace`](crate::SendFace). A face of a take goes before one of the network of the same name.
///
/// While it is paused its faces stay as they are; at its end they leave as a phone that stops. Marks are
/// [`TakeMark`] events. [`TakePlayback`] has its state, and seeks.
///
/// ```
/// # use bevy::prelude::*;
/// use bevy_facelink::{FaceAvatar, TakePlayer};
/// fn set_up(mut commands: Commands, assets: Res<AssetServer>) {
///     commands.spawn(TakePlayer { looped: true, ..TakePlayer::new(assets.load("takes/line_042.mcap")) });
///     commands.spawn(FaceAvatar::of("Ann"));
/// }
/// ```
#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[component(on_remove = before_removal)]
#[reflect(Component)]
#[require(TakePlayback)]
pub struct TakePlayer {
    /// What is played.
    pub take: Handle<FaceTake>,
    /// Whether it runs; it does by default.
    pub playing: bool,
    /// Speed, 0.1 to 4; 1 by default.
    pub speed: f64,
    /// Whether it begins again at its end; off by default.
    pub looped: bool,
    /// In point: where it begins. The start by default.
    pub from: Duration,
    /// Out point: where it ends, itself not included. The end of the take by default.
    pub until: Option<Duration>,
    /// Subjects that are played, and the name each of them has here; all under their own names where it is empty.
    pub subjects: Vec<(String, String)>,
    /// Which time it is played by.
    pub clock: TakeClock,
}

impl TakePlayer {
    /// Plays a take from its start, once.
    pub fn new(take: Handle<FaceTake>) -> Self {
        Self {
            take,
            playing: true,
            speed: 1.0,
            looped: false,
            from: Duration::ZERO,
            until: None,
            subjects: Vec::new(),
            clock: TakeClock::Real,
        }
    }
}

/// What a [`TakePlayer`] does.
#[derive(Reflect, Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum TakeState {
    /// The asset is not loaded yet.
    #[default]
    Loading,
    /// It runs.
    Playing,
    /// It is paused.
    Paused,
    /// It has reached its end.
    Finished,
    /// It cannot be read, and why.
    Failed(String),
}

/// Where a [`TakePlayer`] is. Put on it by itself.
#[derive(Component, Reflect, Default)]
#[reflect(Component, Default)]
pub struct TakePlayback {
    state: TakeState,
    position: Duration,
    duration: Duration,
    sought: Option<Duration>,
    steps: i32,
    #[reflect(ignore)]
    run: Option<Box<Run>>,
}

impl TakePlayback {
    /// What it does.
    pub fn state(&self) -> &TakeState {
        &self.state
    }

    /// Since the start of the take.
    pub fn position(&self) -> Duration {
        self.position
    }

    /// From the start of the take to its end.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Goes to a time of the take. While it is paused, its faces follow, as one scrubs.
    pub fn seek(&mut self, time: Duration) {
        self.sought = Some(time);
        self.steps = 0;
    }

    /// Goes so many frames on, or back: to the next frame of any subject.
    pub fn step(&mut self, frames: i32) {
        self.steps = self.steps.saturating_add(frames);
    }
}

/// A mark of a take that is played, at its entity.
#[derive(EntityEvent, Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TakeMark {
    /// The [`TakePlayer`].
    pub entity: Entity,
    /// Since the start of the take.
    pub time: Duration,
    /// In words.
    pub text: String,
}

/// A take that is open.
struct Run {
    player: Player<Cursor<Arc<[u8]>>>,
    settings: TakePlayer,
    /// The clock that the take is played by shows this at its zero.
    zero: Instant,
    elapsed: Duration,
    /// From that clock to the system's, at the first frame.
    apart_us: Option<i64>,
    /// Subjects that are there, by the names that they have here.
    present: HashSet<Arc<str>>,
    /// It stands still, and its faces are those of this moment.
    held: bool,
}

impl Run {
    fn open(take: &FaceTake, settings: &TakePlayer, zero: Instant, elapsed: Duration) -> Result<Self, TakeReadError> {
        let mut run = Self {
            player: Player::new(take.reader()?, zero + elapsed),
            settings: TakePlayer::new(settings.take.clone()),
            zero,
            elapsed,
            apart_us: None,
            present: HashSet::new(),
            held: false,
        };
        run.apply(settings)?;
        run.set_running(settings.playing);
        Ok(run)
    }

    /// The moment by the clock of the take.
    fn now(&self) -> Instant {
        self.zero + self.elapsed
    }

    /// Takes settings that differ.
    fn apply(&mut self, settings: &TakePlayer) -> Result<(), TakeReadError> {
        let now = self.now();
        self.player.set_looped(settings.looped);
        self.player.set_speed(settings.speed, now);
        if self.settings.subjects != settings.subjects {
            let names = settings.subjects.iter().map(|(name, alias)| (name.as_str().into(), alias.as_str().into()));
            self.player.set_subjects((!settings.subjects.is_empty()).then(|| names.collect()));
            self.held = false;
        }
        if (self.settings.from, self.settings.until) != (settings.from, settings.until) {
            self.player.set_range(settings.from, settings.until, now)?;
        }
        self.settings.clone_from(settings);
        Ok(())
    }

    fn set_running(&mut self, runs: bool) {
        let now = self.now();
        match (self.player.is_paused(), runs) {
            (false, false) => self.player.pause(now),
            (true, true) => {
                self.player.resume(now);
                self.held = false;
            }
            _ => {}
        }
    }

    fn seek(&mut self, time: Duration) -> Result<(), TakeReadError> {
        self.player.seek(time, self.now())?;
        self.held = false;
        Ok(())
    }

    /// The time of the next frame, or of the one before.
    fn neighbour(&mut self, forward: bool) -> Result<Option<Duration>, TakeReadError> {
        let at = self.player.position(self.now());
        let reader = self.player.reader_mut();
        reader.seek(if forward { at } else { at.saturating_sub(STEP_BACK) })?;
        let mut found = None;
        while let Some(entry) = reader.next_entry()? {
            match entry.content {
                _ if !forward && entry.time >= at => break,
                TakeContent::Frame(_) if forward && entry.time > at => {
                    found = Some(entry.time);
                    break;
                }
                TakeContent::Frame(_) if !forward => found = Some(entry.time),
                _ => {}
            }
        }
        Ok(found)
    }

    /// Puts in what is due, or the faces of a take that stands still. `real` is the moment by the system's clock.
    fn advance(
        &mut self,
        input: &FaceInput,
        real: Instant,
        mut mark: impl FnMut(Duration, String),
    ) -> Result<(), TakeReadError> {
        let now = self.now();
        while let Some(played) = self.player.poll(now)? {
            self.put(played, input, real, &mut mark);
        }
        if self.player.is_paused() && !self.held {
            self.held = true;
            for played in self.player.still(now)? {
                self.put(played, input, real, &mut mark);
            }
        }
        Ok(())
    }

    fn put(&mut self, played: Played, input: &FaceInput, real: Instant, mark: &mut impl FnMut(Duration, String)) {
        match played {
            Played::Frame(mut frame) => {
                // As old now as it is by the clock of the take, which may have stood still or run at another speed.
                let now = self.now();
                let age = now.saturating_duration_since(frame.received);
                frame.received = real.checked_sub(age).unwrap_or(real);
                let apart_us = micros(real, now);
                let moved_us = apart_us - *self.apart_us.get_or_insert(apart_us);
                frame.stamp = frame.stamp.map(|stamp| Stamp { base_us: stamp.base_us + moved_us, ..stamp });
                self.present.insert(frame.name.clone());
                input.replay(frame);
            }
            Played::Event(LinkEvent::SubjectLost { name, .. }) => {
                self.present.remove(&name);
                input.lose(&name);
            }
            Played::Event(LinkEvent::Emotion { name, emotion, .. }) => input.emotion(&name, emotion),
            Played::Mark { time, text } => mark(time, text),
            _ => {}
        }
    }
}

/// Plays every take up to now.
fn play(
    mut commands: Commands,
    (real, game): (Res<Time<Real>>, Res<Time<Virtual>>),
    input: Res<FaceInput>,
    takes: Res<Assets<FaceTake>>,
    mut changed: MessageReader<AssetEvent<FaceTake>>,
    mut players: Query<(Entity, Ref<TakePlayer>, &mut TakePlayback)>,
    (subjects, mut faces): (Res<FaceSubjects>, Query<(&FaceSubject, &mut Incoming)>),
    mut presentation: ResMut<PresentationTime>,
) {
    let reloaded: HashSet<AssetId<FaceTake>> = changed
        .read()
        .filter_map(|event| match event {
            AssetEvent::Modified { id } => Some(*id),
            _ => None,
        })
        .collect();
    let now = engine_time(&real);
    let by_engine = &mut presentation.bypass_change_detection().by_engine;
    // A face that leaves is one of the take until it is gone, or the network has it.
    by_engine.retain(|name| {
        let subject = subjects.get(name).and_then(|entity| faces.get(entity).ok());
        subject.is_some_and(|(subject, _)| subject.id().is_some_and(is_own))
    });
    for (entity, settings, mut playback) in &mut players {
        let playback = &mut *playback;
        let elapsed = match settings.clock {
            TakeClock::Real => real.elapsed(),
            TakeClock::Game => game.elapsed(),
        };
        let other = |run: &Run| {
            run.settings.take != settings.take
                || run.settings.clock != settings.clock
                || reloaded.contains(&settings.take.id())
        };
        if let Some(run) = playback.run.take_if(|run| other(run)) {
            lose(&run, &input);
        }
        let is_opened = playback.run.is_none();
        if is_opened {
            let is_new = settings.is_changed() || reloaded.contains(&settings.take.id());
            if matches!(playback.state, TakeState::Failed(_)) && !is_new {
                continue;
            }
            let Some(take) = takes.get(&settings.take) else {
                playback.state = TakeState::Loading;
                continue;
            };
            let zero = now.checked_sub(elapsed).unwrap_or(now);
            match Run::open(take, &settings, zero, elapsed) {
                Ok(run) => playback.run = Some(Box::new(run)),
                Err(error) => {
                    fail(playback, &error);
                    continue;
                }
            }
        }
        let Some(run) = &mut playback.run else { continue };
        let stands = !is_opened && run.elapsed == elapsed;
        run.elapsed = elapsed;
        let mut go = || -> Result<(), TakeReadError> {
            if run.settings != *settings {
                run.apply(&settings)?;
            }
            run.set_running(settings.playing && !stands);
            if let Some(time) = playback.sought.take() {
                run.seek(time)?;
            }
            while playback.steps != 0 {
                let forward = playback.steps > 0;
                playback.steps -= playback.steps.signum();
                let before = run.player.position(run.now());
                let time = run.neighbour(forward)?.unwrap_or(before);
                run.seek(time)?;
            }
            run.advance(&input, now, |time, text| commands.trigger(TakeMark { entity, time, text }))
        };
        if let Err(error) = go() {
            if let Some(run) = playback.run.take() {
                lose(&run, &input);
            }
            fail(playback, &error);
            continue;
        }
        by_engine.extend(run.present.iter().cloned());
        if run.held {
            for face in run.present.iter().filter_map(|name| subjects.get(name)) {
                if let Ok((_, mut face)) = faces.get_mut(face) {
                    face.hold();
                }
            }
        }
        playback.position = run.player.position(run.now());
        playback.duration = run.player.reader().duration();
        playback.state = if run.player.is_paused() {
            TakeState::Paused
        } else if run.player.is_finished() {
            TakeState::Finished
        } else {
            TakeState::Playing
        };
    }
}

fn fail(playback: &mut TakePlayback, error: &TakeReadError) {
    error!("{error}");
    playback.state = TakeState::Failed(error.to_string());
}

/// The faces of a take that is not played any more leave.
fn lose(run: &Run, input: &FaceInput) {
    for name in &run.present {
        input.lose(name);
    }
}

/// The faces of a player leave with it.
fn before_removal(mut world: DeferredWorld, context: HookContext) {
    let Some(mut playback) = world.get_mut::<TakePlayback>(context.entity) else { return };
    let run = std::mem::take(&mut *playback).run;
    if let (Some(run), Some(input)) = (run, world.get_resource::<FaceInput>()) {
        lose(&run, input);
    }
}

const _: () = assert!(*SPEEDS.start() == 0.1 && *SPEEDS.end() == 4.0, "as the docs of TakePlayer say");
