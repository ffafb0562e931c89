//! The table of subjects: names, owners, limits, and calibrations that outlast a subject.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use facelink::{
    calibration::{CalibrateError, Calibration, CalibrationStep, RangeCapture},
    event::{LostReason, SubjectId},
    frame::FaceFrame,
    gesture::GestureRecognizer,
    subject::{SubjectError, SubjectRules},
    time::Instant,
    timing::RateSettings,
};

use super::{
    connections::{Connection, ConnectionKey, Connections},
    subject::{Subject, Update},
};
use crate::{auth::AuthLevel, stats::SubjectStats};

/// A newer connection takes a subject over at once; an older one only when the newer has been silent for this long.
const TAKE_BACK: Duration = Duration::from_secs(1);
/// Counts over all endpoints of the process: an engine that replaces its endpoint distinguishes a subject by its id from an
/// earlier one of the same name.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);
/// Calibrations kept for subjects that come back; more than any user makes.
const MAX_CALIBRATIONS: usize = 1024;

/// Why a frame was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("field `subject`: there are already as many subjects as this endpoint takes")]
    TooManySubjects,
    #[error("field `subject`: another source sends a subject of this name")]
    Contested,
    /// Both are called so by the operator.
    #[error("another source of this subject is live")]
    Standby,
    #[error("a newer frame was there before")]
    Stale,
    #[error("this connection is no longer known")]
    Disconnected,
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubjectLimits {
    pub max_subjects: usize,
    /// Of sources of the level [`AuthLevel::Open`].
    pub max_open_subjects: usize,
    pub max_subjects_per_connection: usize,
}

/// What a claim of a subject is decided by, besides its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// The connection by which our own faces come in.
    pub local: Option<ConnectionKey>,
    /// A source of a lower level does not take over a subject of a higher one.
    pub by_level: bool,
    /// Sources of the level [`AuthLevel::Open`] make no more subjects for now.
    pub crowded: bool,
}

#[derive(Debug)]
pub(crate) struct Subjects {
    limits: SubjectLimits,
    /// Sources' clocks are measured from here.
    origin: Instant,
    by_id: HashMap<SubjectId, Subject>,
    by_name: HashMap<Arc<str>, SubjectId>,
    /// What each is called, and whether it is shown.
    rules: SubjectRules,
    /// Which connection sent a source last that is called otherwise, by the name that it sends.
    renamed: HashMap<Arc<str>, ConnectionKey>,
    adaptive: RateSettings,
    /// By name, for subjects that come back.
    calibrations: HashMap<Arc<str>, Calibration>,
    /// Copied for each subject.
    gestures: Option<GestureRecognizer>,
}

impl Subjects {
    pub fn new(limits: SubjectLimits, rules: SubjectRules, adaptive: RateSettings, origin: Instant) -> Self {
        Self {
            limits,
            origin,
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            rules,
            renamed: HashMap::new(),
            adaptive,
            calibrations: HashMap::new(),
            gestures: None,
        }
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.by_id.values()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Subject> {
        self.by_id.values_mut()
    }

    /// What each subject is followed by from now on.
    pub fn set_gestures(&mut self, recognizer: Option<GestureRecognizer>) {
        self.gestures = recognizer;
        for subject in self.by_id.values_mut() {
            subject.set_gestures(self.gestures.as_ref());
        }
    }

    pub fn get_mut(&mut self, id: SubjectId) -> Option<&mut Subject> {
        self.by_id.get_mut(&id)
    }

    pub fn take_all(&mut self) -> impl Iterator<Item = Subject> + use<> {
        self.by_name.clear();
        std::mem::take(&mut self.by_id).into_values()
    }

    pub fn named(&self, name: &str) -> Option<&Subject> {
        self.by_id.get(self.by_name.get(name)?)
    }

    fn named_mut(&mut self, name: &str) -> Option<&mut Subject> {
        self.by_id.get_mut(self.by_name.get(name)?)
    }

    /// Those that a connection sends.
    pub fn of(&self, owner: ConnectionKey) -> impl Iterator<Item = &Subject> {
        self.by_id.values().filter(move |subject| subject.owner == owner)
    }

    pub fn of_mut(&mut self, owner: ConnectionKey) -> impl Iterator<Item = &mut Subject> {
        self.by_id.values_mut().filter(move |subject| subject.owner == owner)
    }

    /// Statistics of the subject that a connection sent last.
    pub fn newest_stats_of(&self, owner: ConnectionKey, now: Instant) -> Option<SubjectStats> {
        self.of(owner).max_by_key(|subject| subject.last).map(|subject| subject.stats(now))
    }

    pub fn rules(&self) -> &SubjectRules {
        &self.rules
    }

    /// Changes the rules, and takes out the subjects that leave by them, each with the reason: [`put_back`](Self::put_back) has
    /// them go on under their new names.
    pub fn set_rules(&mut self, rules: SubjectRules) -> Vec<(Subject, LostReason)> {
        self.rules = rules;
        self.renamed.retain(|source, _| self.rules.is_renamed(source));
        let mut leaving = Vec::new();
        for subject in self.by_id.values_mut() {
            let enabled = self.rules.is_enabled(self.rules.name_of(&subject.source_name));
            if *self.rules.name_of(&subject.source_name) != *subject.name {
                // It goes with the subject.
                self.calibrations.remove(&subject.name);
                leaving.push((subject.id, LostReason::Renamed));
            } else if subject.enabled && !enabled {
                leaving.push((subject.id, LostReason::Disabled));
            } else {
                subject.enabled = enabled;
            }
        }
        leaving.into_iter().filter_map(|(id, reason)| Some((self.remove(id)?, reason))).collect()
    }

    /// Puts a subject back as a new one, with what was measured of it. Where another one is called so, its source is one of that
    /// one's from its next frame on.
    pub fn put_back(&mut self, mut subject: Subject) {
        let name: Arc<str> = self.rules.name_of(&subject.source_name).into();
        let joins = self.by_name.contains_key(&name);
        if !subject.calibration.is_none() && self.calibrations.len() < MAX_CALIBRATIONS {
            let of = if joins { &subject.name } else { &name };
            self.calibrations.insert(of.clone(), subject.calibration);
        }
        if joins {
            return;
        }
        let id = SubjectId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        (subject.id, subject.name, subject.announced) = (id, name.clone(), false);
        subject.enabled = self.rules.is_enabled(&name);
        self.by_name.insert(name, id);
        self.by_id.insert(id, subject);
    }

    /// The name by which the subject that is called so is sent now; `None` where there is no such subject, and no rule is about
    /// one.
    pub fn source_of(&self, name: &str) -> Result<Option<Arc<str>>, SubjectError> {
        let live = self.named(name).filter(|subject| !subject.sealed).map(|subject| subject.source_name.clone());
        let known = live.is_some() || !self.rules.is_enabled(name) || self.rules.sources_of(name).next().is_some();
        if known { Ok(live) } else { Err(SubjectError::Unknown(name.to_owned())) }
    }

    /// The subject of an update, which is made if it is new, and which its connection takes over if it may.
    pub fn claim(
        &mut self,
        update: &Update<'_>,
        connections: &Connections,
        claim: Claim,
        now: Instant,
    ) -> Result<&mut Subject, Refused> {
        let connection = connections.get(update.key).ok_or(Refused::Disconnected)?;
        let level = connection.level.ok_or(Refused::Disconnected)?;
        let is_local = claim.local == Some(update.key);
        let name = self.rules.name_of(update.subject);
        let id = match self.by_name.get(name) {
            Some(id) => *id,
            None if level == AuthLevel::Open && claim.crowded => return Err(Refused::TooManySubjects),
            // Named in a `hello`, and not sent yet.
            None if claim.by_level && connections.is_reserved(level, |own| self.rules.name_of(own) == name) => {
                return Err(Refused::Contested);
            }
            None => self.add(update.subject, (update.key, connection), is_local, now)?,
        };
        if self.rules.is_renamed(update.subject) {
            match self.renamed.get_mut(update.subject) {
                Some(key) => *key = update.key,
                None => drop(self.renamed.insert(update.subject.into(), update.key)),
            }
        }
        let subject = self.by_id.get_mut(&id).ok_or(Refused::Disconnected)?;
        let same_source = *subject.source_name == *update.subject;
        if subject.owner != update.key || !same_source {
            // Our own faces and those of others do not take each other's names.
            let outranked = claim.by_level && level < subject.level && !connections.is_mesh(subject.owner);
            if subject.local != is_local
                || outranked
                || !may_take_over(subject, update.key, connection, claim, connections, now)
            {
                return Err(if same_source { Refused::Contested } else { Refused::Standby });
            }
            subject.change_owner(update.key, connection, now);
            if !same_source {
                subject.source_name = update.subject.into();
            }
        }
        Ok(subject)
    }

    fn add(
        &mut self,
        source_name: &str,
        (owner, connection): (ConnectionKey, &Connection),
        is_local: bool,
        now: Instant,
    ) -> Result<SubjectId, Refused> {
        let own = self.of(owner).count();
        let is_open = |level: AuthLevel| level == AuthLevel::Open;
        let open = connection.level.is_none_or(is_open);
        let most = if open { self.limits.max_open_subjects } else { self.limits.max_subjects };
        if self.by_id.values().filter(|subject| is_open(subject.level) == open).count() >= most
            || own >= self.limits.max_subjects_per_connection
        {
            return Err(Refused::TooManySubjects);
        }
        let id = SubjectId(NEXT_ID.fetch_add(1, Ordering::Relaxed));
        let source_name: Arc<str> = source_name.into();
        let name = if self.rules.is_renamed(&source_name) {
            self.rules.name_of(&source_name).into()
        } else {
            source_name.clone()
        };
        let calibration = self.calibrations.get(&name).copied().unwrap_or_default();
        let times = (self.origin, now);
        let mut subject = Subject::new(
            id,
            (name.clone(), source_name),
            (owner, connection),
            is_local,
            calibration,
            self.adaptive,
            times,
        );
        subject.enabled = self.rules.is_enabled(&name);
        subject.set_gestures(self.gestures.as_ref());
        self.by_name.insert(name, id);
        self.by_id.insert(id, subject);
        Ok(id)
    }

    pub fn remove(&mut self, id: SubjectId) -> Option<Subject> {
        let subject = self.by_id.remove(&id)?;
        self.by_name.remove(&subject.name);
        Some(subject)
    }

    #[cfg(feature = "phones")]
    /// `name`, or `name (2)` and so on while another live source bears it: two phones may be called the same.
    pub fn unique_name(&self, name: &str, key: ConnectionKey, by_level: bool, connections: &Connections) -> Arc<str> {
        let takes = |subject: &Subject| {
            subject.owner == key
                || connections.is_mesh(subject.owner)
                || (subject.owner_gone.is_some() && !(by_level && subject.level > AuthLevel::Open) && !subject.local)
        };
        let is_other = |sender: &ConnectionKey| *sender != key && connections.get(*sender).is_some();
        let free = |name: &str| {
            let is_free = if self.rules.is_renamed(name) {
                !self.renamed.get(name).is_some_and(is_other)
            } else {
                self.named(name).is_none_or(takes)
            };
            is_free && !(by_level && connections.is_reserved(AuthLevel::Open, |own| own == name))
        };
        if free(name) {
            return name.into();
        }
        let mut names = (2_u32..).map(|n| format!("{name} ({n})"));
        names.find(|name| free(name)).map_or_else(|| name.into(), Into::into)
    }

    /// The settings of subjects without their own.
    pub fn adaptive(&self) -> RateSettings {
        self.adaptive
    }

    /// Changes the adaptive rate's settings; every sender starts again at the highest rate.
    pub fn set_adaptive(&mut self, adaptive: RateSettings) {
        self.adaptive = adaptive;
        for subject in self.by_id.values_mut() {
            subject.pacing.set_endpoint(adaptive);
        }
    }

    /// The same for one subject; `None` returns it to the endpoint's.
    pub fn set_adaptive_of(&mut self, id: SubjectId, own: Option<RateSettings>) {
        if let Some(subject) = self.by_id.get_mut(&id) {
            subject.pacing.set_own(own, self.adaptive);
        }
    }

    /// Frames a second of a subject that the engine can use at most.
    pub fn set_demand(&mut self, id: SubjectId, fps: Option<f32>) {
        if let Some(subject) = self.by_id.get_mut(&id) {
            subject.pacing.set_demand(fps);
        }
    }

    /// A rate set by hand, in place of all others.
    pub fn set_rate(&mut self, id: SubjectId, fps: Option<f32>) {
        if let Some(subject) = self.by_id.get_mut(&id) {
            subject.pacing.set_manual(fps);
        }
    }

    /// Begins a range of motion. `false` without such a subject.
    pub fn begin_range(&mut self, name: &str) -> bool {
        self.named_mut(name).map(|subject| subject.range = Some(Box::default())).is_some()
    }

    /// What a range of motion that has begun has captured so far.
    pub fn range(&mut self, name: &str) -> Option<RangeCapture> {
        self.named_mut(name)?.range.as_deref().cloned()
    }

    /// Ends a range of motion. With `keep`, what each shape reached counts as 1 from now on. `None` without such a
    /// subject, `Some(None)` when none had begun.
    pub fn end_range(&mut self, name: &str, keep: bool) -> Option<Option<Box<RangeCapture>>> {
        let capture = self.named_mut(name)?.range.take();
        if let Some(capture) = capture.as_ref().filter(|_| keep) {
            let range = capture.range();
            self.calibrate(name, |calibration, _| calibration.range = Some(range));
        }
        Some(capture)
    }

    /// Does one step of a calibration, by the newest frame.
    pub fn calibrate_by(&mut self, name: &str, step: CalibrationStep) -> Result<(), CalibrateError> {
        let done = match step {
            CalibrationStep::Neutral => self.calibrate(name, |all, frame| {
                all.set_neutral(frame);
                Ok(())
            }),
            CalibrationStep::Head => self.calibrate(name, |all, frame| {
                all.recentre(frame).then_some(()).ok_or_else(|| CalibrateError::NoHead(name.to_owned()))
            }),
            CalibrationStep::Reset => self.calibrate(name, |all, _| {
                *all = Calibration::default();
                Ok(())
            }),
            CalibrationStep::RangeBegin => self.begin_range(name).then_some(Ok(())),
            CalibrationStep::RangeEnd | CalibrationStep::RangeCancel => {
                let ended = self.end_range(name, step == CalibrationStep::RangeEnd);
                ended.map(|capture| capture.map(drop).ok_or_else(|| CalibrateError::NoRange(name.to_owned())))
            }
        };
        done.unwrap_or_else(|| Err(CalibrateError::UnknownSubject(name.to_owned())))
    }

    /// Changes what is taken off the frames of a subject, given the newest frame as it came. `None` without such a
    /// subject.
    pub fn calibrate<T>(&mut self, name: &str, change: impl FnOnce(&mut Calibration, &FaceFrame) -> T) -> Option<T> {
        let subject = self.by_id.get_mut(self.by_name.get(name)?)?;
        let changed = change(&mut subject.calibration, subject.state.merged());
        if subject.calibration.is_none() {
            self.calibrations.remove(name);
        } else if self.calibrations.len() < MAX_CALIBRATIONS || self.calibrations.contains_key(name) {
            self.calibrations.insert(subject.name.clone(), subject.calibration);
        }
        Some(changed)
    }
}

/// Whether another connection may send a subject from now on.
fn may_take_over(
    subject: &Subject,
    key: ConnectionKey,
    connection: &Connection,
    claim: Claim,
    connections: &Connections,
    now: Instant,
) -> bool {
    let free = subject.owner_gone.is_some() || now.saturating_duration_since(subject.last) > TAKE_BACK;
    let owner_relays = connections.get(subject.owner).is_some_and(Connection::passes_on);
    // The newer connection is the one to believe, but what comes from the source itself precedes what an endpoint passes
    // on: that may be our own echo.
    let newer = match (connection.passes_on(), owner_relays) {
        (false, true) => true,
        (true, false) => false,
        _ if claim.by_level && connection.level > Some(subject.level) => true,
        // Holders of different tokens are different people.
        _ if connection.token.is_some() && connection.token != subject.token => false,
        _ => key > subject.owner,
    };
    newer || free
}
