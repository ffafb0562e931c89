//! Where keys come from.

use std::{collections::VecDeque, fmt, time::Duration};

use crate::time::Instant;

use smallvec::SmallVec;
use zeroize::Zeroizing;

use super::key::RoomKey;

/// Packets of the key before are read for this long after a change: those that were under way.
pub const GRACE: Duration = Duration::from_secs(2);
/// How many steps of the ratchet a member may have missed.
pub const AHEAD: usize = 8;
/// Keys of the past that are still read.
const MAX_PAST: usize = 4;

/// One key of a group, valid from one change of it to the next. Each stream has an SFrame key of its own, derived from it
/// and from the stream's key id.
#[derive(Clone)]
pub struct Epoch {
    /// Distinguishes the epochs of one source; never used twice.
    pub id: u64,
    /// What packets have in the clear: the lowest byte of their key id. Several epochs may have the same.
    pub hint: u8,
    /// SFrame's base key.
    pub base_key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({}, {:02x})", self.id, self.hint)
    }
}

/// Gives the keys to seal with and to open with. [`RoomKeys`] does so for a key that all members share; a source for MLS
/// (RFC 9420) would give the exporter's secret of each of the group's epochs.
pub trait KeySource: fmt::Debug + Send {
    /// The epoch to seal with.
    fn current(&self) -> &Epoch;

    /// Calls `attempt` with every epoch that is accepted now and has this hint, the likeliest first, until it answers `true`.
    fn find(&self, hint: u8, now: Instant, attempt: &mut dyn FnMut(&Epoch) -> bool);

    /// Whether packets of an epoch that was accepted before still are.
    fn accepts(&self, epoch: u64, now: Instant) -> bool;

    /// The first packet of a stream has been authenticated with this epoch's key.
    fn authenticated(&mut self, epoch: u64, now: Instant);

    /// What stands for a subject's name towards a relay.
    fn opaque_name(&self, name: &str) -> String;
}

#[derive(Debug)]
struct Held {
    key: RoomKey,
    epoch: Epoch,
}

impl Held {
    fn new(key: RoomKey, id: u64) -> Self {
        let epoch = Epoch { id, hint: key.hint(), base_key: key.base_key() };
        Self { key, epoch }
    }
}

/// The keys of a room whose members share one: the present one, the next ones of its ratchet, and for [`GRACE`] those
/// before.
#[derive(Debug)]
pub struct RoomKeys {
    current: Held,
    ahead: VecDeque<Held>,
    past: SmallVec<[(Epoch, Instant); MAX_PAST]>,
    next_id: u64,
}

impl RoomKeys {
    /// Of a room with this key.
    pub fn new(key: RoomKey) -> Self {
        let mut keys = Self { current: Held::new(key, 0), ahead: VecDeque::new(), past: SmallVec::new(), next_id: 1 };
        keys.look_ahead();
        keys
    }

    /// The present key, for an invitation.
    pub fn key(&self) -> &RoomKey {
        &self.current.key
    }

    /// Another key from now on. Who has not been given it reads nothing that is sealed from now on, and after [`GRACE`]
    /// nothing that they seal is read.
    pub fn replace(&mut self, key: RoomKey, now: Instant) {
        let next = self.held(key);
        self.advance(next, now);
        self.ahead.clear();
        self.look_ahead();
    }

    /// The next key of the ratchet from now on. Members follow by themselves; who is invited from now on cannot read what
    /// was sealed before.
    pub fn ratchet(&mut self, now: Instant) {
        if let Some(next) = self.ahead.pop_front() {
            self.advance(next, now);
        }
        self.look_ahead();
    }

    fn held(&mut self, key: RoomKey) -> Held {
        self.next_id += 1;
        Held::new(key, self.next_id - 1)
    }

    fn advance(&mut self, next: Held, now: Instant) {
        let old = std::mem::replace(&mut self.current, next);
        self.past.retain(|(_, until)| *until > now);
        if self.past.len() == MAX_PAST {
            self.past.remove(0);
        }
        self.past.push((old.epoch, now + GRACE));
    }

    fn look_ahead(&mut self) {
        while self.ahead.len() < AHEAD {
            let next = self.ahead.back().map_or(&self.current.key, |last| &last.key).next();
            let held = self.held(next);
            self.ahead.push_back(held);
        }
    }
}

impl KeySource for RoomKeys {
    fn current(&self) -> &Epoch {
        &self.current.epoch
    }

    fn find(&self, hint: u8, now: Instant, attempt: &mut dyn FnMut(&Epoch) -> bool) {
        let past = self.past.iter().rev().filter(|(_, until)| *until > now).map(|(epoch, _)| epoch);
        let all = [&self.current.epoch].into_iter().chain(past).chain(self.ahead.iter().map(|held| &held.epoch));
        for epoch in all.filter(|epoch| epoch.hint == hint) {
            if attempt(epoch) {
                return;
            }
        }
    }

    fn accepts(&self, epoch: u64, now: Instant) -> bool {
        self.current.epoch.id == epoch || self.past.iter().any(|(past, until)| past.id == epoch && *until > now)
    }

    fn authenticated(&mut self, epoch: u64, now: Instant) {
        while self.ahead.iter().any(|held| held.epoch.id == epoch) {
            self.ratchet(now);
        }
    }

    fn opaque_name(&self, name: &str) -> String {
        self.current.key.opaque_name(name)
    }
}
