//! Which faces there are on the mesh, whose of a name is watched, and which frames are taken.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use smallvec::SmallVec;

use super::{
    key::{Announced, Presence, RelayId, frames_key},
    stats::{MeshStats, Refusal},
};
use crate::{
    event::SubjectId,
    frame::FaceFrame,
    relay::Source,
    subject::RECONNECT_GRACE,
    time::Instant,
    wire::{
        facelink1::{Clock, Decoder, Encoder, MAX_PACKET},
        sealed::{self, MAX_SEALED, StreamId},
        window::Window,
    },
};

/// A face that has been silent for this long yields its name to one of another relay.
const SILENT: Duration = Duration::from_secs(1);
/// After so long a silence the last frame is sent once more: it may have been lost.
const REPEAT: Duration = Duration::from_millis(500);
/// A face whose announcement has gone is kept for so long: its relay's may have gone too.
const SETTLE: Duration = Duration::from_millis(200);
/// A relay that does not answer is asked for its newest frame again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// What was received of a face that has gone is remembered for so long, so that nothing of it is taken twice.
const REMEMBER: Duration = Duration::from_secs(60);
/// Sealed streams of one face whose packets are told apart: one of each transport, and those of the key before.
const MAX_STREAMS: usize = 4;

/// Limits of what is taken from a mesh.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeshSettings {
    /// Most faces that this relay publishes; 1024 by default.
    pub max_faces_out: usize,
    /// Most other relays; 1024 by default.
    pub max_relays: usize,
    /// Most faces of one other relay; 1024 by default.
    pub max_faces_per_relay: usize,
    /// Most faces of others that are watched at a time; 1024 by default.
    pub max_faces_in: usize,
    /// Most frames a second of one face; 250 by default, a quarter of that at once.
    pub max_fps: f32,
    /// How long a face is kept whose relay is not reached any more, for another way to it; 5 s by default.
    pub keep: Duration,
}

impl Default for MeshSettings {
    fn default() -> Self {
        Self {
            max_faces_out: 1024,
            max_relays: 1024,
            max_faces_per_relay: 1024,
            max_faces_in: 1024,
            max_fps: 250.0,
            keep: RECONNECT_GRACE,
        }
    }
}

/// What is to be done on the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Declare this face's token of presence.
    Announce(Announced),
    /// Undeclare it.
    Withdraw(Announced),
    /// Publish the newest frame under this key once more.
    Repeat {
        /// [`frames_key`](super::frames_key) of it.
        key: Arc<str>,
        /// The frame.
        packet: Arc<[u8]>,
    },
    /// Subscribe to the frames of this face.
    Watch(Announced),
    /// Ask its relay for the newest frame.
    Ask(Announced),
    /// Let it go.
    Unwatch {
        /// The face, as it was watched.
        face: Announced,
        /// Why.
        cause: Cause,
    },
}

/// Why a face is watched no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its relay publishes it no longer.
    Withdrawn,
    /// Its relay has not been reached for [`MeshSettings::keep`].
    Unreachable,
    /// That of another relay, of another room, or one of this relay is shown in its place.
    Replaced,
    /// No viewer of this relay watches it.
    Unwanted,
}

/// What a packet of the mesh has in it.
#[derive(Clone, Debug)]
pub enum Received<'a> {
    /// A face, numbered by its relay, captured at that time since the Unix epoch where it is known.
    Face(Box<FaceFrame>),
    /// A sealed packet.
    Sealed(sealed::Packet<'a>),
}

/// A face that this relay publishes.
#[derive(Debug)]
struct Own {
    announced: Announced,
    key: Arc<str>,
    /// It has yielded its name.
    silent: bool,
    number: u32,
    last: Instant,
    newest: Arc<[u8]>,
    repeated: bool,
}

/// Which frames of a face have come.
#[derive(Debug, Default)]
struct Seen {
    /// By the numbers of its relay.
    clear: Option<Window>,
    sealed: SmallVec<[(StreamId, Window); 1]>,
}

impl Seen {
    /// Takes a number once. The second value is how many are missing before it, less those that were and have come.
    fn take(window: &mut Option<Window>, number: u64) -> Result<i64, Refusal> {
        let Some(window) = window else {
            *window = Some(Window::starting_with(number));
            return Ok(0);
        };
        window.check(number).map_err(|_| Refusal::Duplicate)?;
        let newest = window.newest();
        window.record(number);
        Ok(i64::try_from(number.saturating_sub(newest)).unwrap_or(i64::MAX) - 1)
    }

    fn take_clear(&mut self, number: u32) -> Result<i64, Refusal> {
        let newest = self.clear.as_ref().map_or(u64::from(number), Window::newest);
        // The number that is nearest to the newest, of those with these low 32 bits.
        let ahead = number.wrapping_sub(newest as u32).cast_signed();
        Self::take(&mut self.clear, newest.saturating_add_signed(ahead.into()))
    }

    fn take_sealed(&mut self, stream: StreamId, counter: u64) -> Result<i64, Refusal> {
        if let Some(place) = self.sealed.iter().position(|(known, _)| *known == stream) {
            let mut window = Some(self.sealed[place].1);
            let taken = Self::take(&mut window, counter)?;
            let entry = self.sealed.remove(place);
            self.sealed.push((entry.0, window.unwrap_or(entry.1)));
            return Ok(taken);
        }
        if self.sealed.len() >= MAX_STREAMS {
            self.sealed.remove(0);
        }
        self.sealed.push((stream, Window::starting_with(counter)));
        Ok(0)
    }
}

/// A face of another relay.
#[derive(Debug)]
struct Offer {
    announced: Announced,
    /// When its announcement went.
    gone: Option<Instant>,
    seen: Seen,
    /// Nothing has come since it was watched, or since its relay is reached again: what is before is not missing.
    fresh: bool,
    /// When its relay was asked for the newest frame, since then.
    asked: Option<Instant>,
    /// Frames that may come now, and since when.
    allowance: (f32, Instant),
}

/// Another relay.
#[derive(Debug, Default)]
struct Remote {
    here: bool,
    /// It has said goodbye.
    leaving: bool,
    offers: BTreeMap<Arc<str>, Offer>,
    decoder: Decoder,
}

/// A relay's part of a mesh. See the [module](super).
#[derive(Debug)]
pub struct Mesh {
    id: RelayId,
    settings: MeshSettings,
    own: HashMap<SubjectId, Own>,
    relays: BTreeMap<RelayId, Remote>,
    watched: HashMap<Arc<str>, Announced>,
    actions: VecDeque<Action>,
    encoder: Encoder,
    bytes: Vec<u8>,
    /// The last [`Announced::since_ms`] of a face of this relay.
    since_ms: u64,
    /// The highest number of a frame of faces that have gone: those that come count on from there, for others remember it.
    number: u32,
    /// Something has changed since faces were chosen.
    changed: bool,
    /// When faces change by time alone.
    due: Option<Instant>,
    stats: MeshStats,
}

impl Mesh {
    /// The part of a relay with this id.
    pub fn new(id: RelayId, settings: MeshSettings) -> Self {
        Self {
            id,
            settings,
            own: HashMap::new(),
            relays: BTreeMap::new(),
            watched: HashMap::new(),
            actions: VecDeque::new(),
            encoder: Encoder::new(),
            bytes: Vec::new(),
            since_ms: 0,
            number: 0,
            changed: false,
            due: None,
            stats: MeshStats { id: id.to_string(), ..MeshStats::default() },
        }
    }

    /// Its id.
    pub fn id(&self) -> RelayId {
        self.id
    }

    /// What it gave and took. The links are the caller's to count.
    pub fn stats(&self) -> MeshStats {
        let announced = |relay: &Remote| relay.offers.values().filter(|offer| offer.gone.is_none()).count();
        let names: HashSet<_> = self
            .relays
            .values()
            .flat_map(|relay| relay.offers.iter().filter(|(_, offer)| offer.gone.is_none()).map(|(name, _)| name))
            .collect();
        MeshStats {
            relays: self.relays.values().filter(|relay| relay.here || announced(relay) > 0).count(),
            faces_out: self.own.values().filter(|own| !own.silent).count(),
            faces_in: self.watched.len(),
            faces: names.len(),
            ..self.stats.clone()
        }
    }

    /// Counts what the caller did not take of what [`receive`](Self::receive) gave.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.stats.refuse(refusal);
    }

    /// Counts frames that a newer one replaced before they could be published.
    pub fn dropped(&mut self, frames: u64) {
        self.stats.dropped += frames;
    }

    /// Takes a frame of a face of this relay, captured at that time since the Unix epoch; gives its key and the packet to
    /// publish. `None` for what cannot be written, and when there are too many faces. `unix` is the time of day now.
    pub fn publish(
        &mut self,
        source: &Source<'_>,
        frame: &FaceFrame,
        captured: Duration,
        (unix, now): (Duration, Instant),
    ) -> Option<(Arc<str>, Arc<[u8]>)> {
        let number = self.own(source, unix, now)?.number.wrapping_add(1);
        let frame = FaceFrame { sequence: Some(number.into()), capture_time: Some(captured), ..frame.clone() };
        self.bytes.clear();
        self.encoder.encode(source.name, &frame, Clock::Unix, &mut self.bytes).ok()?;
        let packet = self.bytes.as_slice().into();
        self.published(source.id, number, packet)
    }

    /// The same with a sealed packet, which is published as it is.
    pub fn publish_sealed(
        &mut self,
        source: &Source<'_>,
        packet: &[u8],
        (unix, now): (Duration, Instant),
    ) -> Option<(Arc<str>, Arc<[u8]>)> {
        let number = self.own(source, unix, now)?.number;
        self.published(source.id, number, packet.into())
    }

    /// The face of a frame, which is announced if it is new.
    fn own(&mut self, source: &Source<'_>, unix: Duration, now: Instant) -> Option<&mut Own> {
        let Self { id, settings, own, actions, since_ms, number, changed, stats, .. } = self;
        let as_before = |own: &Own| own.announced.subject == *source.name && own.announced.room.as_ref() == source.room;
        let known = own.get(&source.id);
        if known.is_none() && own.len() >= settings.max_faces_out {
            stats.refuse(Refusal::TooMany);
            return None;
        }
        if !known.is_some_and(|known| as_before(known) && !known.silent) {
            *since_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX).max(*since_ms + 1);
            let (room, subject) = (source.room.cloned(), source.name.clone());
            let announced = Announced { relay: *id, room, subject, since_ms: *since_ms };
            actions.push_back(Action::Announce(announced.clone()));
            let key = frames_key(*id, source.name).into();
            let newest = known.map(|known| known.newest.clone()).unwrap_or_default();
            let number = known.map_or(*number, |known| known.number.max(*number));
            let fresh = Own { announced, key, silent: false, number, last: now, newest, repeated: false };
            if let Some(before) = own.insert(source.id, fresh).filter(|before| !before.silent) {
                actions.push_back(Action::Withdraw(before.announced));
            }
            *changed = true;
        }
        let own = own.get_mut(&source.id)?;
        (own.last, own.repeated) = (now, false);
        let due = now + REPEAT;
        self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        Some(own)
    }

    fn published(&mut self, id: SubjectId, number: u32, packet: Arc<[u8]>) -> Option<(Arc<str>, Arc<[u8]>)> {
        let own = self.own.get_mut(&id)?;
        own.number = number;
        own.newest = packet.clone();
        self.stats.frames_out += 1;
        self.stats.bytes_out += packet.len() as u64;
        Some((own.key.clone(), packet))
    }

    /// A face of this relay has gone.
    pub fn lose(&mut self, id: SubjectId) {
        if let Some(own) = self.own.remove(&id) {
            self.encoder.forget(&own.announced.subject);
            self.number = self.number.max(own.number);
            if !own.silent {
                self.actions.push_back(Action::Withdraw(own.announced));
            }
            self.changed = true;
        }
    }

    /// Every face of this relay has gone.
    pub fn lose_all(&mut self) {
        let ids: Vec<SubjectId> = self.own.keys().copied().collect();
        for id in ids {
            self.lose(id);
        }
    }

    /// The newest frame under a key, for a relay that asks for it.
    pub fn newest(&self, key: &str) -> Option<Arc<[u8]>> {
        let own = self.own.values().find(|own| *own.key == *key && !own.silent)?;
        (!own.newest.is_empty()).then(|| own.newest.clone())
    }

    /// A token of presence is there. The mesh's own are passed over.
    ///
    /// # Errors
    /// [`Refusal`], which is counted.
    pub fn appeared(&mut self, key: &str, now: Instant) -> Result<(), Refusal> {
        let done = key.parse().map_err(|_| Refusal::Malformed).and_then(|presence| self.appear(presence, now));
        done.inspect_err(|refusal| self.stats.refuse(*refusal))
    }

    fn appear(&mut self, presence: Presence, now: Instant) -> Result<(), Refusal> {
        let (Presence::Relay(relay) | Presence::Leaving(relay) | Presence::Face(Announced { relay, .. })) = presence;
        if relay == self.id {
            return Ok(());
        }
        if !self.relays.contains_key(&relay) && self.relays.len() >= self.settings.max_relays {
            self.forget(now, true);
            if self.relays.len() >= self.settings.max_relays {
                return Err(Refusal::TooMany);
            }
        }
        let remote = self.relays.entry(relay).or_default();
        let announced = match presence {
            Presence::Face(announced) => announced,
            Presence::Relay(_) => {
                remote.here = true;
                return Ok(());
            }
            Presence::Leaving(_) => {
                remote.leaving = true;
                return Ok(());
            }
        };
        self.changed = true;
        match remote.offers.get_mut(&announced.subject) {
            // Of two announcements of one face the later one counts.
            Some(offer) if offer.gone.is_none() && offer.announced.since_ms > announced.since_ms => {}
            Some(offer) => {
                if offer.gone.is_some() || offer.announced != announced {
                    (offer.fresh, offer.asked) = (true, None);
                }
                (offer.announced, offer.gone) = (announced, None);
            }
            None => {
                if remote.offers.len() >= self.settings.max_faces_per_relay {
                    // What has gone makes room.
                    remote.offers.retain(|_, offer| offer.gone.is_none());
                }
                if remote.offers.len() >= self.settings.max_faces_per_relay {
                    return Err(Refusal::TooMany);
                }
                let allowance = (self.settings.max_fps / 4.0, now);
                let offer = Offer { announced, gone: None, seen: Seen::default(), fresh: true, asked: None, allowance };
                remote.offers.insert(offer.announced.subject.clone(), offer);
            }
        }
        Ok(())
    }

    /// A token of presence has gone.
    pub fn vanished(&mut self, key: &str, now: Instant) {
        match key.parse() {
            Ok(Presence::Relay(relay)) => {
                if let Some(remote) = self.relays.get_mut(&relay) {
                    remote.here = false;
                    self.changed = true;
                }
            }
            Ok(Presence::Face(announced)) => {
                let remote = self.relays.get_mut(&announced.relay);
                if let Some(offer) = remote.and_then(|remote| remote.offers.get_mut(&announced.subject))
                    && offer.announced == announced
                {
                    offer.gone.get_or_insert(now);
                    self.changed = true;
                }
            }
            Ok(Presence::Leaving(_)) => {}
            Err(_) => self.stats.refuse(Refusal::Malformed),
        }
    }

    /// Viewers have subscribed or left: what is wanted is to be asked again.
    pub fn reconsider(&mut self) {
        self.changed = true;
    }

    /// Takes a packet that came for a face of another relay. Each is taken once.
    ///
    /// # Errors
    /// [`Refusal`], which is counted.
    pub fn receive<'a>(
        &mut self,
        relay: RelayId,
        subject: &str,
        bytes: &'a [u8],
        now: Instant,
    ) -> Result<Received<'a>, Refusal> {
        let received = self.read(relay, subject, bytes, now);
        match &received {
            Ok(_) => {
                self.stats.frames_in += 1;
                self.stats.bytes_in += bytes.len() as u64;
            }
            Err(refusal) => self.stats.refuse(*refusal),
        }
        received
    }

    fn read<'a>(
        &mut self,
        relay: RelayId,
        subject: &str,
        bytes: &'a [u8],
        now: Instant,
    ) -> Result<Received<'a>, Refusal> {
        if self.watched.get(subject).is_none_or(|watched| watched.relay != relay) {
            return Err(Refusal::Unwatched);
        }
        let remote = self.relays.get_mut(&relay).ok_or(Refusal::Unwatched)?;
        let Remote { offers, decoder, .. } = remote;
        let offer = offers.get_mut(subject).ok_or(Refusal::Unwatched)?;
        let is_sealed = bytes.first().is_some_and(|first| sealed::is_sealed(*first));
        if bytes.len() > if is_sealed { MAX_SEALED } else { MAX_PACKET } {
            return Err(Refusal::TooLarge);
        }
        let (allowance, since) = &mut offer.allowance;
        let max_fps = self.settings.max_fps;
        *allowance = (*allowance + now.saturating_duration_since(*since).as_secs_f32() * max_fps).min(max_fps / 4.0);
        *since = now;
        if *allowance < 1.0 {
            return Err(Refusal::TooFast);
        }
        *allowance -= 1.0;
        let (received, taken) = if is_sealed {
            let packet = sealed::Packet::parse(bytes).map_err(|_| Refusal::Malformed)?;
            let taken = offer.seen.take_sealed(packet.stream(), packet.counter);
            (Received::Sealed(packet), taken)
        } else {
            if decoder.is_full() {
                *decoder = Decoder::new();
            }
            // One face, of this subject, and no other: what a relay publishes.
            let (mut face, mut others) = (None, false);
            let read = decoder.decode(bytes, |read| {
                others |= face.is_some() || read.repeated || read.subject != subject;
                face = Some(Box::new(read.frame));
            });
            let face = face.filter(|_| read.is_ok() && !others).ok_or(Refusal::Malformed)?;
            let number = face.sequence.and_then(|number| u32::try_from(number).ok()).ok_or(Refusal::Malformed)?;
            let taken = offer.seen.take_clear(number);
            (Received::Face(face), taken)
        };
        let fresh = std::mem::take(&mut offer.fresh);
        let missing = taken?;
        if !fresh {
            self.stats.missing = self.stats.missing.saturating_add_signed(missing);
        }
        Ok(received)
    }

    /// When [`poll`](Self::poll) has something to do by itself.
    pub fn timeout(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be done now, one after the other until there is nothing more. `wants` says whether a face of this name and
    /// room is watched here.
    pub fn poll(&mut self, now: Instant, wants: impl Fn(&str, Option<&Arc<str>>) -> bool) -> Option<Action> {
        if self.actions.is_empty() && (self.changed || self.due.is_some_and(|due| due <= now)) {
            self.changed = false;
            self.attend(now);
            self.choose(now, wants);
            self.due = self.next(now);
        }
        self.actions.pop_front()
    }

    /// Repeats the last frames of faces that have fallen silent, and lets those yield whose name another relay has.
    fn attend(&mut self, now: Instant) {
        for own in self.own.values_mut() {
            let silence = now.saturating_duration_since(own.last);
            if silence >= REPEAT && !own.repeated && !own.silent && !own.newest.is_empty() {
                own.repeated = true;
                self.actions.push_back(Action::Repeat { key: own.key.clone(), packet: own.newest.clone() });
            }
            let is_offered = || {
                let offers = self.relays.values().filter_map(|relay| relay.offers.get(&own.announced.subject));
                offers.into_iter().any(|offer| offer.gone.is_none())
            };
            if silence >= SILENT && !own.silent && is_offered() {
                own.silent = true;
                self.actions.push_back(Action::Withdraw(own.announced.clone()));
            }
        }
    }

    /// Decides whose face of each name is watched.
    fn choose(&mut self, now: Instant, wants: impl Fn(&str, Option<&Arc<str>>) -> bool) {
        self.forget(now, false);
        let own: HashSet<&Arc<str>> =
            self.own.values().filter(|own| !own.silent).map(|own| &own.announced.subject).collect();
        let mut best: BTreeMap<&Arc<str>, ((bool, u64, RelayId), &Announced)> = BTreeMap::new();
        for (name, offer) in self.relays.values().flat_map(|relay| &relay.offers) {
            let announced = &offer.announced;
            // One whose announcement has gone may be kept, but is not taken up.
            let is_kept =
                || self.watched.get(name) == Some(announced) && self.kept_until(offer).is_some_and(|end| now < end);
            if own.contains(name) || (offer.gone.is_some() && !is_kept()) {
                continue;
            }
            // The one that was there first; by the id where that is the same.
            let place = (offer.gone.is_some(), announced.since_ms, announced.relay);
            let first = best.entry(name).or_insert((place, announced));
            if place < first.0 {
                *first = (place, announced);
            }
        }
        let wanted = best.into_values().map(|(_, face)| face).filter(|face| wants(&face.subject, face.room.as_ref()));
        let chosen: HashMap<Arc<str>, Announced> =
            wanted.take(self.settings.max_faces_in).map(|face| (face.subject.clone(), face.clone())).collect();
        let mut ended: Vec<_> =
            self.watched.values().filter(|face| chosen.get(&face.subject) != Some(face)).cloned().collect();
        ended.sort_by(|a, b| a.subject.cmp(&b.subject));
        for face in ended {
            let remote = self.relays.get(&face.relay);
            let offer = remote.and_then(|remote| remote.offers.get(&face.subject));
            let is_there = offer.is_some_and(|offer| offer.gone.is_none());
            let cause = match (is_there, remote.is_some_and(|remote| remote.here || remote.leaving)) {
                _ if chosen.contains_key(&face.subject) || own.contains(&face.subject) => Cause::Replaced,
                (true, _) => Cause::Unwanted,
                (false, true) => Cause::Withdrawn,
                (false, false) => Cause::Unreachable,
            };
            self.actions.push_back(Action::Unwatch { face, cause });
        }
        let mut begun: Vec<_> =
            chosen.values().filter(|face| self.watched.get(&face.subject) != Some(face)).cloned().collect();
        begun.sort_by(|a, b| a.subject.cmp(&b.subject));
        for face in begun {
            let remote = self.relays.get_mut(&face.relay);
            if let Some(offer) = remote.and_then(|remote| remote.offers.get_mut(&face.subject)) {
                (offer.fresh, offer.asked) = (true, None);
            }
            self.actions.push_back(Action::Watch(face));
        }
        self.watched = chosen;
        for face in self.watched.values() {
            let remote = self.relays.get_mut(&face.relay);
            let Some(offer) = remote.and_then(|remote| remote.offers.get_mut(&face.subject)) else { continue };
            let waited = offer.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= ASK_AGAIN);
            if offer.fresh && offer.gone.is_none() && waited {
                offer.asked = Some(now);
                self.actions.push_back(Action::Ask(face.clone()));
            }
        }
    }

    /// How long a face is kept whose announcement has gone: longer where its relay is not reached at all.
    fn kept_until(&self, offer: &Offer) -> Option<Instant> {
        let kept = match self.relays.get(&offer.announced.relay) {
            Some(Remote { leaving: true, .. }) => Duration::ZERO,
            Some(Remote { here: true, .. }) => SETTLE,
            _ => SETTLE.max(self.settings.keep),
        };
        Some(offer.gone? + kept)
    }

    /// Forgets faces that have gone long ago, and relays without any; `all`: all that have gone and are not watched.
    fn forget(&mut self, now: Instant, all: bool) {
        let Self { relays, watched, .. } = self;
        relays.retain(|_, relay| {
            relay.offers.retain(|_, offer| {
                let gone = offer.gone.map(|gone| now.saturating_duration_since(gone));
                gone.is_none_or(|gone| {
                    !all && gone < REMEMBER || watched.get(&offer.announced.subject) == Some(&offer.announced)
                })
            });
            relay.here || !relay.offers.is_empty()
        });
    }

    /// When something changes by time alone.
    fn next(&self, now: Instant) -> Option<Instant> {
        let own = self.own.values().filter(|own| !own.silent);
        let silences = own.map(|own| own.last + if own.repeated { SILENT } else { REPEAT });
        let watched = self.watched.values().filter_map(|face| self.relays.get(&face.relay)?.offers.get(&face.subject));
        let changes = watched.filter_map(|offer| match offer.asked {
            Some(asked) if offer.fresh && offer.gone.is_none() => Some(asked + ASK_AGAIN),
            _ => self.kept_until(offer),
        });
        silences.chain(changes).filter(|due| *due > now).min()
    }
}
