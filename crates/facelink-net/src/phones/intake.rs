//! Senders of datagrams, and how their faces enter the hub.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use facelink::{
    frame::FaceFrame,
    source::SourceKind,
    wire::{
        json::{VisemeMessage, check_name},
        llf::Author,
        profile::SourceFace,
    },
};

use super::{context::Phones, sender_ports::SenderPorts};
use crate::auth::AuthLevel;
use crate::hub::{ConnectionKey, Counters, Refused, Update};

/// Senders remembered per port, at least; more than any user has phones.
const MIN_SENDERS: usize = 256;
/// A phone that changes its address is silent for at least this long at the old one.
const MOVED_AFTER: Duration = Duration::from_millis(250);
/// Two that both send for this long are two.
const BOTH_FOR: Duration = Duration::from_millis(100);

/// Whose face it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    /// The app.
    pub kind: SourceKind,
    /// Where from: a stable address of the program, see [`Intake::program_of`]. Port 0 for apps that identify
    /// themselves.
    pub from: SocketAddr,
    /// Distinguishes two senders of one app on one address.
    pub identity: &'a str,
    /// The identity is the same wherever the device is.
    pub lasting: bool,
    /// The preferred name; without one, a free one is given.
    pub preferred_name: Option<&'a str>,
    /// The app, or a program that imitates it.
    pub author: Author,
}

impl<'a> Sender<'a> {
    /// One that its address alone identifies.
    pub fn of_port(kind: SourceKind, from: SocketAddr, preferred_name: Option<&'a str>) -> Self {
        Self { kind, from, identity: "", lasting: false, preferred_name, author: Author::App }
    }
}

/// What a message of it holds.
#[derive(Debug, Default)]
pub(super) struct Arrived<'a> {
    /// Numbers as they were sent; its profile is applied here.
    pub face: Option<SourceFace>,
    /// The subject that this message names, if the format can.
    pub named: Option<&'a str>,
    pub unix_ms: Option<f64>,
    pub latency_ms: Option<f32>,
    pub viseme: Option<VisemeMessage>,
    pub bytes: usize,
}

#[derive(Debug)]
struct Known {
    kind: SourceKind,
    address: SocketAddr,
    identity: Box<str>,
    lasting: bool,
    key: ConnectionKey,
    counters: Arc<Counters>,
    subject: Arc<str>,
    author: Author,
    last: Instant,
    /// Frames that it may still send now; refilled by the second.
    allowance: f32,
}

/// What an unknown address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newcomer {
    New,
    /// The sender at this place continues from there.
    Moved(usize),
    Unclear,
}

/// Longest name of a face, bytes: as on the wire.
const MAX_NAME: usize = 128;
/// Tells apart the connections of senders that come from one address.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// A name as it may be shown in lists and logs: without control characters, and cut off where it is too long. `None` when
/// nothing is left of it.
fn shown_name(name: &str) -> Option<Cow<'_, str>> {
    if check_name(name).is_ok() {
        return (!name.trim().is_empty()).then_some(Cow::Borrowed(name));
    }
    let mut shown = String::new();
    for letter in name.chars().filter(|letter| !letter.is_control()) {
        if shown.len() + letter.len_utf8() > MAX_NAME {
            break;
        }
        shown.push(letter);
    }
    let shown = shown.trim();
    (!shown.is_empty()).then(|| Cow::Owned(shown.to_owned()))
}

/// Senders of one port or one stream.
#[derive(Debug)]
pub(super) struct Intake {
    pub phones: Arc<Phones>,
    senders: Vec<Known>,
    /// Where a sender was found last, by the hash of what it is known by: a look there spares the others.
    places: HashMap<u64, usize>,
    hasher: RandomState,
    ports: SenderPorts,
    /// Addresses of which it is not clear yet whose they are, and since when they are heard.
    unclear: Vec<(SourceKind, SocketAddr, Box<str>, Instant)>,
}

/// Why a face was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    #[error("too many connections")]
    TooManyConnections,
    #[error("this may be a phone that has moved; not decided yet")]
    Unclear,
    #[error("too many frames a second; see `max_messages_per_second`")]
    TooFast,
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Intake {
    pub fn new(phones: Arc<Phones>) -> Self {
        Self {
            phones,
            senders: Vec::new(),
            places: HashMap::new(),
            hasher: RandomState::new(),
            ports: SenderPorts::default(),
            unclear: Vec::new(),
        }
    }

    /// The stable address of the program that a datagram comes from; `None` while it is not clear whether it is a new one.
    pub fn program_of(&mut self, from: SocketAddr, now: Instant) -> Option<SocketAddr> {
        self.ports.program_of(from, now)
    }

    /// The program of this address that was heard last.
    pub fn newest_program_of(&self, ip: IpAddr) -> Option<SocketAddr> {
        self.ports.newest_program_of(ip)
    }

    /// Senders that are remembered at most.
    fn most(&self) -> usize {
        self.phones.hub.config.max_open_sources.max(MIN_SENDERS)
    }

    /// The place of a sender, which is made when its first good message comes.
    fn place(&mut self, sender: &Sender<'_>, now: Instant) -> Result<usize, NotTaken> {
        let is_it = |known: &Known| {
            known.kind == sender.kind && known.address == sender.from && *known.identity == *sender.identity
        };
        let hash = self.hasher.hash_one((sender.kind, sender.from, sender.identity));
        if let Some(place) = self.places.get(&hash)
            && self.senders.get(*place).is_some_and(is_it)
        {
            return Ok(*place);
        }
        if let Some(place) = self.senders.iter().position(is_it) {
            if self.places.len() >= 2 * self.most() {
                self.places.clear();
            }
            self.places.insert(hash, place);
            return Ok(place);
        }
        match self.newcomer(sender, now) {
            Newcomer::Moved(place) => {
                let known = self.senders.get_mut(place).ok_or(NotTaken::Unclear)?;
                tracing::info!(from = %known.address, to = %sender.from, subject = %known.subject, "a phone has moved");
                known.address = sender.from;
                self.phones.hub.set_address(known.key, Some(sender.from));
                return Ok(place);
            }
            Newcomer::Unclear => return Err(NotTaken::Unclear),
            Newcomer::New => {}
        }
        if self.senders.len() >= self.most() {
            self.senders.remove(0);
        }
        let counters = Arc::new(Counters::default());
        let id: Arc<str> = format!("{}-{}-{}", sender.kind, sender.from, NUMBER.fetch_add(1, Ordering::Relaxed)).into();
        let level = AuthLevel::Open;
        let key = self.phones.hub.connect(sender.kind, id, Some(sender.from), counters.clone(), level, now);
        let key = key.ok_or(NotTaken::TooManyConnections)?;
        let subject = self.name(sender, key);
        self.senders.push(Known {
            kind: sender.kind,
            address: sender.from,
            identity: sender.identity.into(),
            lasting: sender.lasting,
            key,
            counters,
            subject,
            author: Author::App,
            last: now,
            allowance: 2.0 * self.phones.hub.config.max_messages_per_second,
        });
        Ok(self.senders.len() - 1)
    }

    /// The name of a sender's face: the preferred one as far as it can be shown, or a free one.
    fn name(&self, sender: &Sender<'_>, key: ConnectionKey) -> Arc<str> {
        let hub = &self.phones.hub;
        match sender.preferred_name.and_then(shown_name) {
            Some(name) => hub.unique_name(&name, key),
            None => hub.free_name(),
        }
    }

    /// Whether an unknown address is that of a phone which has changed the network, or of another one. The decision takes a
    /// quarter of a second; faces that arrive before it are dropped.
    fn newcomer(&mut self, sender: &Sender<'_>, now: Instant) -> Newcomer {
        let timeout = self.phones.hub.config.subject_timeout;
        let place = self.unclear.iter().position(|(kind, address, identity, _)| {
            *kind == sender.kind && *address == sender.from && **identity == *sender.identity
        });
        let since = place.and_then(|place| self.unclear.get(place)).map_or(now, |(.., since)| *since);
        let (mut silent, mut undecided) = (Vec::new(), false);
        for (place, known) in self.senders.iter().enumerate() {
            let silence = now.saturating_duration_since(known.last);
            if known.kind != sender.kind
                || known.lasting != sender.lasting
                || *known.identity != *sender.identity
                || known.address.ip() == sender.from.ip()
                || silence >= timeout
            {
                continue;
            }
            if silence >= MOVED_AFTER {
                silent.push(place);
            } else {
                // It keeps sending next to the newcomer: then there are two.
                undecided |= known.last.saturating_duration_since(since) < BOTH_FOR;
            }
        }
        let decided = match silent[..] {
            [place] => Newcomer::Moved(place),
            // Without an identity of its own it might be any of them.
            [place, ..] if sender.lasting => Newcomer::Moved(place),
            [] if undecided => Newcomer::Unclear,
            _ => Newcomer::New,
        };
        match (decided, place) {
            (Newcomer::Unclear, None) => {
                if self.unclear.len() >= MIN_SENDERS {
                    self.unclear.remove(0);
                }
                self.unclear.push((sender.kind, sender.from, sender.identity.into(), now));
            }
            (Newcomer::Unclear, Some(_)) | (_, None) => {}
            (_, Some(place)) => drop(self.unclear.swap_remove(place)),
        }
        decided
    }

    /// Takes a face, a viseme or both.
    pub fn take(&mut self, sender: &Sender<'_>, arrived: Arrived<'_>, now: Instant) -> Result<(), NotTaken> {
        let mut face = arrived.face;
        let mut frame: Option<FaceFrame> = None;
        // A second time for a sender that was silent for so long that the hub forgot it, or whose name another one took.
        for attempt in 0..2 {
            let place = self.place(sender, now)?;
            let rate = self.phones.hub.config.max_messages_per_second;
            let known = &mut self.senders[place];
            let since = now.saturating_duration_since(known.last).as_secs_f32();
            known.last = now;
            known.allowance = (known.allowance + since * rate).min(2.0 * rate);
            if known.allowance < 1.0 {
                return Err(NotTaken::TooFast);
            }
            known.allowance -= 1.0;
            let subject = arrived.named.unwrap_or(&known.subject);
            if known.author != sender.author {
                known.author = sender.author;
                self.phones.profiles.set_author(subject, sender.author);
                if sender.author == Author::Imitation {
                    tracing::info!(%subject, from = %sender.from, "a program that imitates {}", sender.kind.title());
                }
            }
            if let Some(source) = face.take() {
                frame = Some(self.phones.profiles.of(sender.kind, subject, sender.author).apply(source));
            }
            let update = Update {
                frame: frame.as_ref(),
                unix_ms: arrived.unix_ms,
                latency_ms: arrived.latency_ms,
                viseme: arrived.viseme,
                ..Update::new(known.key, sender.kind, subject)
            };
            match self.phones.hub.ingest(&update, now) {
                Ok(_) | Err(Refused::Stale | Refused::Standby) => {
                    Counters::add(&known.counters.messages, 1);
                    Counters::add(&known.counters.bytes_in, arrived.bytes as u64);
                    return Ok(());
                }
                Err(Refused::Disconnected) => drop(self.senders.remove(place)),
                // A source that has shown the token bears this name from now on.
                Err(Refused::Contested) if attempt == 0 && arrived.named.is_none() => {
                    let key = known.key;
                    let subject = self.name(sender, key);
                    self.senders[place].subject = subject;
                }
                Err(error) => {
                    Counters::add(&known.counters.refused, 1);
                    return Err(error.into());
                }
            }
        }
        Err(NotTaken::TooManyConnections)
    }

    /// A sender said goodbye, or its stream ended; `goodbye` if it will not reconnect.
    pub fn leave(&mut self, kind: SourceKind, from: SocketAddr, reason: &str, goodbye: bool, now: Instant) {
        let hub = &self.phones.hub;
        self.senders.retain(|known| {
            let gone = known.kind == kind && known.address == from;
            if gone {
                hub.disconnect(known.key, reason, goodbye, now);
            }
            !gone
        });
    }

    /// Counts a message that was refused.
    pub fn refuse(&self, kind: Option<SourceKind>, from: SocketAddr, error: &dyn fmt::Display) {
        Counters::add(&self.phones.hub.refused, 1);
        let source = kind.map_or("datagram", SourceKind::as_str);
        tracing::debug!(%from, source, %error, "refused");
    }
}

/// Datagrams that one address, and all together, may send to a port.
#[derive(Debug)]
pub(super) struct FloodGate {
    each: f32,
    all: Allowance,
    addresses: Vec<(IpAddr, Allowance)>,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    left: f32,
    last: Instant,
}

impl Allowance {
    fn take(&mut self, rate: f32, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.last).as_secs_f32();
        self.last = now;
        // A tenth of a second's worth in one burst.
        self.left = (self.left + since * rate).min(rate / 10.0);
        let open = self.left >= 1.0;
        if open {
            self.left -= 1.0;
        }
        open
    }
}

/// Addresses that a gate distinguishes.
const MAX_ADDRESSES: usize = 64;

impl FloodGate {
    /// `each` datagrams a second from one address, twice as many from all.
    pub fn new(each: f32, now: Instant) -> Self {
        Self { each, all: Allowance { left: each / 5.0, last: now }, addresses: Vec::new() }
    }

    /// Whether a datagram is admitted.
    pub fn admits(&mut self, from: IpAddr, now: Instant) -> bool {
        let place = self.addresses.iter().position(|(address, _)| *address == from).unwrap_or_else(|| {
            if self.addresses.len() >= MAX_ADDRESSES {
                let oldest = self.addresses.iter().enumerate().min_by_key(|(_, (_, allowance))| allowance.last);
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.addresses.swap_remove(oldest);
            }
            self.addresses.push((from, Allowance { left: self.each / 10.0, last: now }));
            self.addresses.len() - 1
        });
        // One that is in debt costs the others nothing.
        let own = self.addresses.get_mut(place).is_none_or(|(_, allowance)| allowance.take(self.each, now));
        own && self.all.take(2.0 * self.each, now)
    }

    /// Takes more off what an address may send.
    pub fn charge(&mut self, from: IpAddr, more: f32) {
        if let Some((_, allowance)) = self.addresses.iter_mut().find(|(address, _)| *address == from) {
            allowance.left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::EndpointConfig, hub::Hub};
    use facelink::names::Blendshape;

    fn intake() -> Intake {
        let hub = Arc::new(Hub::new(EndpointConfig::default(), Instant::now()));
        let takes = Arc::new(crate::takes::Takes::new(hub.clone()));
        Intake::new(Arc::new(Phones::new(hub, takes, Vec::new())))
    }

    fn face() -> Arrived<'static> {
        let mut face = SourceFace::default();
        face.frame.set(Blendshape::JawOpen, 0.5);
        Arrived { face: Some(face), ..Arrived::default() }
    }

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 0))
    }

    fn sender(last: u8, identity: &str, lasting: bool) -> Sender<'_> {
        let kind = SourceKind::IFacialMocap;
        Sender { kind, from: from(last), identity, lasting, preferred_name: Some("phone"), author: Author::App }
    }

    fn names(intake: &Intake, now: Instant) -> Vec<String> {
        intake.phones.hub.faces(now).iter().map(|(frame, _)| frame.name.to_string()).collect()
    }

    #[test]
    fn intake_phones_on_one_port_are_separate_subjects() {
        for lasting in [false, true] {
            let mut intake = intake();
            let start = Instant::now();
            let mut taken = 0;
            for frame in 0..30_u64 {
                let now = start + Duration::from_millis(16 * frame);
                intake.take(&sender(1, "x", lasting), face(), now).unwrap();
                taken += usize::from(intake.take(&sender(2, "x", lasting), face(), now).is_ok());
            }
            assert!((20..30).contains(&taken), "the second is left out until it is clear: {taken}");
            assert_eq!(names(&intake, start), ["phone", "phone (2)"]);
        }
    }

    #[test]
    fn intake_address_change_keeps_subject() {
        // At once, and after a pause.
        for (lasting, pause) in [(false, 16), (true, 16), (false, 400), (true, 400)] {
            let mut intake = intake();
            let start = Instant::now();
            intake.take(&sender(1, "x", lasting), face(), start).unwrap();
            let mut results = Vec::new();
            for frame in 0..30_u64 {
                let now = start + Duration::from_millis(pause + 16 * frame);
                results.push(intake.take(&sender(7, "x", lasting), face(), now));
            }
            assert!(results.iter().rev().take(10).all(Result::is_ok), "{results:?}");
            assert_eq!(names(&intake, start), ["phone"]);
            assert_eq!(intake.phones.hub.faces(start)[0].1.address, Some(from(7)));
        }
        // Two that might have moved: neither is taken for the other.
        let mut intake = intake();
        let now = Instant::now();
        for frame in 0..30_u64 {
            let now = now + Duration::from_millis(16 * frame);
            for last in [1, 2] {
                let _ = intake.take(&sender(last, "", false), face(), now);
            }
        }
        intake.take(&sender(3, "", false), face(), now + Duration::from_secs(1)).unwrap();
        assert_eq!(intake.phones.hub.faces(now).len(), 3);
    }

    #[test]
    fn intake_rate_limit_per_sender() {
        let mut intake = intake();
        let now = Instant::now();
        let results: Vec<_> = (0..3000).map(|_| intake.take(&sender(1, "", false), face(), now)).collect();
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2000);
        assert_eq!(results.last(), Some(&Err(NotTaken::TooFast)));
        assert!(intake.take(&sender(1, "", false), face(), now + Duration::from_millis(10)).is_ok());
    }

    #[test]
    fn intake_flood_from_one_address_leaves_others() {
        let now = Instant::now();
        let mut gate = FloodGate::new(10_000.0, now);
        let (flood, phone) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let mut taken = (0, 0);
        for tick in 0..1000_u32 {
            let at = now + Duration::from_millis(tick.into());
            taken.0 += (0..100).filter(|_| gate.admits(flood, at)).count();
            taken.1 += usize::from(tick % 16 == 0 && gate.admits(phone, at));
        }
        assert!((10_000..=11_001).contains(&taken.0), "{}", taken.0);
        assert_eq!(taken.1, 63);
    }

    #[test]
    fn intake_renamed_phones_keep_their_rules() {
        let mut intake = intake();
        let start = Instant::now();
        let both = |intake: &mut Intake, range: std::ops::Range<u64>| {
            for frame in range {
                let now = start + Duration::from_millis(16 * frame);
                let _ = intake.take(&sender(1, "x", true), face(), now);
                let _ = intake.take(&sender(2, "y", true), face(), now);
            }
        };
        both(&mut intake, 0..30);
        assert_eq!(names(&intake, start), ["phone", "phone (2)"]);
        intake.phones.hub.rename_subject("phone", Some("Hero"), start).unwrap();
        both(&mut intake, 30..60);
        assert_eq!(names(&intake, start), ["Hero", "phone (2)"], "the free name is not given to the other");
        // Two phones, one character: each still has a name of its own.
        intake.phones.hub.alias_subject("phone (2)", "Hero", start).unwrap();
        both(&mut intake, 60..90);
        assert_eq!(names(&intake, start), ["Hero"]);
        let third = start + Duration::from_millis(16 * 90);
        for frame in 0..30 {
            let _ = intake.take(&sender(3, "z", true), face(), third + Duration::from_millis(16 * frame));
        }
        assert_eq!(names(&intake, start), ["Hero", "phone (3)"]);
        // Gone, and here again.
        let later = start + Duration::from_secs(60);
        intake.phones.hub.tick(later);
        for frame in 0..30 {
            let now = later + Duration::from_millis(16 * frame);
            let _ = intake.take(&sender(1, "x", true), face(), now);
        }
        assert_eq!(names(&intake, later), ["Hero"]);
    }
}
