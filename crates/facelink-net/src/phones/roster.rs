//! Phones that have to be called before they send, and what is known of them.

use std::{
    collections::VecDeque,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use facelink::source::SourceKind;

use crate::{clock::unix_ms, phone_config::PhoneCall};

/// Most phones that are called because the user said so.
const MAX_PHONES: usize = 64;
/// Most phones that are called because they were heard.
const MAX_FOUND: usize = 16;
/// Most addresses that may turn out to be phones.
const MAX_CANDIDATES: usize = 512;
/// An address that sends for this long, without a gap, is a phone: one datagram, or a few, may bear a forged address.
const STRETCH: Duration = Duration::from_secs(3);
const STRETCH_FRAMES: u32 = 30;
const MAX_GAP: Duration = Duration::from_millis(750);
/// A phone that was found is called all the time until it has been silent for this long, and now and then after that.
const FOUND_ACTIVE: Duration = Duration::from_secs(600);
const FOUND_EVERY: u64 = 60;
/// Long enough for each of the protocols that an app may speak.
const FOUND_FOR: u64 = 8;
/// A phone that was found is forgotten when it has not been heard for this many seconds.
const FOUND_KEPT: u64 = 7 * 24 * 3600;
/// Interval at which the file notes that it was heard, seconds.
const FOUND_NOTED: u64 = 24 * 3600;
/// Most commands that wait for one phone.
const MAX_COMMANDS: usize = 64;
/// A phone that said nothing for this long is called again.
const SILENT: Duration = Duration::from_millis(1500);

/// What a phone does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "reason")]
#[non_exhaustive]
pub enum PhoneState {
    /// It was called and did not answer yet, or no longer.
    #[default]
    Calling,
    /// It answers, and sends nothing (yet).
    Answered,
    /// It sends.
    Streaming,
    /// It said no; in its own words.
    Refused(String),
}

/// What is known of a phone.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PhoneStatus {
    /// Whom it is called by.
    #[serde(flatten)]
    pub call: PhoneCall,
    /// What it does.
    #[serde(flatten)]
    pub state: PhoneState,
    /// Time since its last packet, milliseconds.
    pub heard_ms: Option<f32>,
    /// Charge of its battery, `0..=1`, where the app reports it.
    pub battery: Option<f32>,
    /// Heat: 0 nominal, 1 fair, 2 serious, 3 critical, where the app reports it.
    pub thermal: Option<i32>,
    /// Name of the next take, where it was set in the app.
    pub slate: Option<String>,
    /// Number of the next take.
    pub take: Option<i32>,
    /// Whether the app records.
    pub recording: Option<bool>,
    /// Timecode and files of the last recording, as the app reported them.
    pub last_recording: Option<String>,
}

impl PhoneStatus {
    fn new(call: PhoneCall) -> Self {
        Self {
            call,
            state: PhoneState::Calling,
            heard_ms: None,
            battery: None,
            thermal: None,
            slate: None,
            take: None,
            recording: None,
            last_recording: None,
        }
    }
}

/// Commands of Live Link Face's remote control.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhoneCommand {
    /// Send to us, and start.
    Start,
    /// Stop sending.
    Stop,
    /// Name of the subject.
    Subject(String),
    /// Name of the takes to come.
    Slate(String),
    /// Number of the take to come.
    Take(i32),
    /// Record on the phone.
    RecordStart {
        /// Name of the take.
        slate: String,
        /// Its number.
        take: i32,
    },
    /// End the recording.
    RecordStop,
    /// Show the camera image on the phone, or not.
    VideoDisplay(bool),
    /// Run the phone's tracking session, or not.
    Session(bool),
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhoneCommandError {
    /// No phone at this address is called.
    #[error("no phone at {0} is called")]
    Unknown(IpAddr),
    /// Its app has no remote control.
    #[error("the app at {0} has no remote control; Live Link Face has")]
    NoRemote(IpAddr),
    /// Too many commands wait: the phone does not answer.
    #[error("{MAX_COMMANDS} commands wait for {0}, which does not answer")]
    Full(IpAddr),
}

/// A phone in the file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Remembered {
    #[serde(flatten)]
    call: PhoneCall,
    /// When it was heard last, Unix seconds, of one that was found; without it, the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    status: PhoneStatus,
    heard: Option<(Instant, SourceKind)>,
    /// As in the file.
    found: Option<u64>,
    /// When it was heard last, or else came into the list.
    active: Instant,
    commands: VecDeque<PhoneCommand>,
    /// It was asked to end its recording.
    ends: bool,
}

impl Entry {
    fn new(Remembered { call, found }: Remembered, now: Instant) -> Self {
        Self { status: PhoneStatus::new(call), heard: None, found, active: now, commands: VecDeque::new(), ends: false }
    }

    fn has_remote(&self) -> bool {
        self.status.call.app == Some(SourceKind::LiveLinkFace)
    }

    fn is_called(&self, now: Instant) -> bool {
        let silence = now.saturating_duration_since(self.active);
        self.found.is_none() || silence < FOUND_ACTIVE || silence.as_secs() % FOUND_EVERY < FOUND_FOR
    }
}

/// An address that sends what a phone would.
#[derive(Debug)]
struct Candidate {
    address: IpAddr,
    app: SourceKind,
    since: Instant,
    last: Instant,
    frames: u32,
}

#[derive(Debug, Default)]
struct State {
    entries: Vec<Entry>,
    candidates: Vec<Candidate>,
}

/// Phones that are called.
#[derive(Debug)]
pub(crate) struct Roster {
    state: Mutex<State>,
    commanded: Notify,
    file: Option<PathBuf>,
    /// Whether an address is on a network near this machine: others are not called because they were heard.
    is_near: fn(IpAddr) -> bool,
}

impl Roster {
    /// Those that are named, and those that are remembered.
    pub fn new(named: &[PhoneCall], file: Option<PathBuf>, is_near: fn(IpAddr) -> bool) -> Self {
        let (now, today) = (Instant::now(), unix_seconds());
        let named = named.iter().map(|call| Remembered { call: *call, found: None });
        let mut entries: Vec<Entry> = Vec::new();
        for one in named.chain(file.as_deref().map(read).unwrap_or_default()) {
            let address = one.call.address;
            let is_known = entries.iter().any(|entry| entry.status.call.address == address);
            let same = entries.iter().filter(|entry| entry.found.is_some() == one.found.is_some()).count();
            let fits = match one.found {
                None => same < MAX_PHONES,
                Some(heard) => same < MAX_FOUND && is_near(address) && today.saturating_sub(heard) < FOUND_KEPT,
            };
            if !is_known && fits {
                entries.push(Entry::new(one, now));
            }
        }
        Self { state: Mutex::new(State { entries, candidates: Vec::new() }), commanded: Notify::new(), file, is_near }
    }

    /// Calls a phone from now on; replaces the call of the same address. `false` when there are too many of the user's own.
    pub fn add(&self, call: PhoneCall) -> bool {
        let State { entries, .. } = &mut *self.state.lock();
        let others = entries.iter().filter(|entry| entry.status.call.address != call.address);
        if others.filter(|entry| entry.found.is_none()).count() >= MAX_PHONES {
            return false;
        }
        entries.retain(|entry| entry.status.call.address != call.address);
        entries.push(Entry::new(Remembered { call, found: None }, Instant::now()));
        self.keep(entries);
        true
    }

    /// Calls a phone no longer. `false` when it was not called.
    pub fn forget(&self, address: IpAddr) -> bool {
        let State { entries, .. } = &mut *self.state.lock();
        let before = entries.len();
        entries.retain(|entry| entry.status.call.address != address);
        let forgotten = entries.len() < before;
        if forgotten {
            self.keep(entries);
        }
        forgotten
    }

    /// Phones to call for an app, and the app that each was heard by just now, which may be another one.
    pub fn calls(&self, app: SourceKind, now: Instant) -> Vec<(PhoneCall, Option<SourceKind>)> {
        let state = self.state.lock();
        let calls = state.entries.iter().filter(|entry| entry.status.call.is_for(app) && entry.is_called(now));
        calls
            .map(|entry| {
                let fresh = |heard: Instant| now.saturating_duration_since(heard) < SILENT;
                // A phone runs one app at a time; on this machine several may run.
                let here = entry.status.call.address.is_loopback();
                let heard = entry.heard.filter(|(at, other)| fresh(*at) && (!here || is_same_app(app, *other)));
                (entry.status.call, heard.map(|(_, app)| app))
            })
            .collect()
    }

    /// A face came from there by this app. A phone that is not called is called from now on if it `may_be_found`, and has
    /// sent for a while.
    pub fn heard(&self, address: IpAddr, app: SourceKind, may_be_found: bool, now: Instant) {
        let State { entries, candidates } = &mut *self.state.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.status.call.address == address) {
            (entry.heard, entry.active) = (Some((now, app)), now);
            entry.status.state = PhoneState::Streaming;
            if let Some(noted) = &mut entry.found
                && unix_seconds().saturating_sub(*noted) >= FOUND_NOTED
            {
                *noted = unix_seconds();
                self.keep(entries);
            }
            return;
        }
        if !may_be_found || !has_sent_for_a_while(candidates, address, app, now) || !(self.is_near)(address) {
            return;
        }
        candidates.retain(|one| one.address != address);
        if entries.iter().filter(|entry| entry.found.is_some()).count() >= MAX_FOUND {
            let silent = entries.iter().enumerate().filter(|(_, entry)| entry.found.is_some());
            let silent = silent.filter(|(_, entry)| now.saturating_duration_since(entry.active) >= SILENT);
            let Some((oldest, _)) = silent.min_by_key(|(_, entry)| entry.active) else { return };
            entries.remove(oldest);
        }
        tracing::info!(%address, %app, "found a phone");
        let mut entry = Entry::new(Remembered { call: PhoneCall::app(address, app), found: Some(unix_seconds()) }, now);
        (entry.status.state, entry.heard) = (PhoneState::Streaming, Some((now, app)));
        entries.push(entry);
        self.keep(entries);
    }

    /// Records what a phone reported apart from faces.
    pub fn note(&self, address: IpAddr, note: impl FnOnce(&mut PhoneStatus)) {
        if let Some(entry) = self.state.lock().entries.iter_mut().find(|entry| entry.status.call.address == address) {
            note(&mut entry.status);
        }
    }

    /// What a phone does, as far as is known.
    pub fn state(&self, address: IpAddr) -> Option<PhoneState> {
        let state = self.state.lock();
        state.entries.iter().find(|entry| entry.status.call.address == address).map(|entry| entry.status.state.clone())
    }

    /// Whether a packet of any phone arrived just now.
    pub fn hears(&self, now: Instant) -> bool {
        let just_now = |heard: Instant| now.saturating_duration_since(heard) < SILENT;
        self.state.lock().entries.iter().any(|entry| entry.heard.is_some_and(|(heard, _)| just_now(heard)))
    }

    /// Takes a command for a phone.
    pub fn command(&self, address: IpAddr, command: PhoneCommand) -> Result<(), PhoneCommandError> {
        let State { entries, .. } = &mut *self.state.lock();
        let entry = entries.iter_mut().find(|entry| entry.status.call.address == address);
        let entry = entry.ok_or(PhoneCommandError::Unknown(address))?;
        if !entry.has_remote() {
            return Err(PhoneCommandError::NoRemote(address));
        }
        if entry.commands.len() >= MAX_COMMANDS {
            return Err(PhoneCommandError::Full(address));
        }
        entry.commands.push_back(command);
        self.commanded.notify_one();
        Ok(())
    }

    /// Phones whose app has a remote control.
    pub fn remotes(&self) -> usize {
        self.state.lock().entries.iter().filter(|entry| entry.has_remote()).count()
    }

    /// Takes a command for each of them. One for which too many wait is left out: it does not answer.
    pub fn command_all(&self, command: &PhoneCommand) {
        for entry in self.state.lock().entries.iter_mut().filter(|entry| entry.has_remote()) {
            if entry.commands.len() < MAX_COMMANDS {
                entry.commands.push_back(command.clone());
            }
            let answers = matches!(entry.status.state, PhoneState::Answered | PhoneState::Streaming);
            entry.ends = answers && *command == PhoneCommand::RecordStop;
        }
        self.commanded.notify_one();
    }

    /// Waits until there is a command for a phone.
    pub async fn commanded(&self) {
        self.commanded.notified().await;
    }

    /// A phone reported that its recording has ended.
    pub fn ended(&self, address: IpAddr) {
        let State { entries, .. } = &mut *self.state.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.status.call.address == address) {
            entry.ends = false;
        }
    }

    /// Whether any phone that answers was asked to end its recording, and has not reported that.
    pub fn is_any_ending(&self) -> bool {
        self.state.lock().entries.iter().any(|entry| entry.ends)
    }

    /// The commands that wait for a phone, oldest first.
    pub fn take_commands(&self, address: IpAddr) -> Vec<PhoneCommand> {
        let State { entries, .. } = &mut *self.state.lock();
        let entry = entries.iter_mut().find(|entry| entry.status.call.address == address);
        entry.map(|entry| entry.commands.drain(..).collect()).unwrap_or_default()
    }

    /// What is known of every phone.
    pub fn status(&self, now: Instant) -> Vec<PhoneStatus> {
        let State { entries, .. } = &mut *self.state.lock();
        let status = entries.iter_mut().map(|entry| {
            let silence = entry.heard.map(|(heard, _)| now.saturating_duration_since(heard));
            if entry.status.state == PhoneState::Streaming && silence.is_none_or(|silence| silence >= SILENT) {
                entry.status.state = PhoneState::Calling;
            }
            PhoneStatus { heard_ms: silence.map(|silence| silence.as_secs_f32() * 1000.0), ..entry.status.clone() }
        });
        status.collect()
    }

    fn keep(&self, entries: &[Entry]) {
        let Some(file) = &self.file else { return };
        let kept = entries.iter().map(|entry| Remembered { call: entry.status.call, found: entry.found });
        let kept: Vec<_> = kept.filter(|one| !one.call.address.is_loopback()).collect();
        if let Err(error) = write(file, &kept) {
            tracing::warn!("phones are not remembered: {}: {error}", file.display());
        }
    }
}

/// Whether two apps are called from one port, and so are one app with several protocols.
fn is_same_app(app: SourceKind, other: SourceKind) -> bool {
    let called_from = |app: SourceKind| app.app().and_then(|row| row.called_from);
    app == other || (called_from(app).is_some() && called_from(app) == called_from(other))
}

/// Counts a frame of an address that is not called, and says whether it has sent for long enough.
fn has_sent_for_a_while(candidates: &mut Vec<Candidate>, address: IpAddr, app: SourceKind, now: Instant) -> bool {
    candidates.retain(|one| now.saturating_duration_since(one.last) < MAX_GAP);
    let place = candidates.iter().position(|one| one.address == address && one.app == app).unwrap_or_else(|| {
        if candidates.len() >= MAX_CANDIDATES {
            // One that keeps sending is not pushed out by addresses that are seen once.
            let least = candidates.iter().enumerate().min_by_key(|(_, one)| (one.frames, one.last));
            let least = least.map_or(0, |(place, _)| place);
            candidates.swap_remove(least);
        }
        candidates.push(Candidate { address, app, since: now, last: now, frames: 0 });
        candidates.len() - 1
    });
    candidates.get_mut(place).is_some_and(|one| {
        one.last = now;
        one.frames = one.frames.saturating_add(1);
        now.saturating_duration_since(one.since) >= STRETCH && one.frames >= STRETCH_FRAMES
    })
}

fn unix_seconds() -> u64 {
    (unix_ms() / 1000.0) as u64
}

fn read(file: &Path) -> Vec<Remembered> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("no remembered phones: {}: {error}", file.display());
            }
            return Vec::new();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!("no remembered phones: {}: {error}", file.display());
        Vec::new()
    })
}

fn write(file: &Path, calls: &[Remembered]) -> io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    // Atomic: the file is replaced as a whole.
    let partial = file.with_extension("json.new");
    fs::write(&partial, serde_json::to_vec_pretty(calls)?)?;
    fs::rename(&partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn near(address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 192)
    }

    /// Sends 30 frames a second for some seconds; the time after that.
    fn stream(roster: &Roster, address: IpAddr, app: SourceKind, seconds: u32, from: Instant) -> Instant {
        for frame in 0..seconds * 30 {
            roster.heard(address, app, true, from + Duration::from_secs(1) * frame / 30);
        }
        from + Duration::from_secs(seconds.into())
    }

    #[test]
    fn roster_finds_what_sends_for_a_while() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("phones.json");
        let roster = Roster::new(&[], Some(file.clone()), near);
        let app = SourceKind::IFacialMocap;
        let now = Instant::now();
        let found = |now| roster.status(now).into_iter().map(|status| status.call.address).collect::<Vec<_>>();
        // One datagram of each of many addresses, and short stretches with gaps between them.
        for i in 0..5000_u32 {
            let forged = IpAddr::from((0xc000_0300 + i).to_be_bytes());
            roster.heard(forged, app, true, now + Duration::from_millis(u64::from(i) * 4));
        }
        let mut at = now;
        for _ in 0..10 {
            at = stream(&roster, ip(1), app, 2, at) + Duration::from_secs(1);
        }
        assert_eq!(found(at), [] as [IpAddr; 0]);
        // An address of the Internet, however long it sends.
        at = stream(&roster, [203, 0, 113, 5].into(), app, 60, at);
        assert_eq!((found(at), file.exists()), (vec![], false));
        // A phone, in a flood of forged addresses.
        for frame in 0..100_u32 {
            for forged in 0..40 {
                let forged = IpAddr::from((0xc001_0000 + frame * 40 + forged).to_be_bytes());
                roster.heard(forged, app, true, at + Duration::from_millis(u64::from(frame) * 33));
            }
            roster.heard(ip(2), app, true, at + Duration::from_millis(u64::from(frame) * 33));
        }
        assert_eq!(found(at), [ip(2)]);
    }

    #[test]
    fn roster_found_phones_are_bounded_and_expire() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("phones.json");
        let roster = Roster::new(&[], Some(file.clone()), near);
        let app = SourceKind::VTubeStudio;
        let own: Vec<IpAddr> = (0..MAX_PHONES as u8).map(|i| [192, 0, 9, i].into()).collect();
        assert!(own.iter().all(|address| roster.add(PhoneCall::app(*address, app))));
        assert!(!roster.add(PhoneCall::any(ip(200))), "none of the user's own gives room");
        assert!(roster.add(PhoneCall::any(own[3])), "but one is replaced");
        let mut now = Instant::now();
        for last in 0..100 {
            now = stream(&roster, ip(last), app, 4, now);
        }
        let called = |now| roster.calls(app, now).into_iter().map(|(call, _)| call.address).collect::<Vec<_>>();
        let is_own = |addresses: &[IpAddr]| own.iter().all(|address| addresses.contains(address));
        assert!(is_own(&called(now)) && called(now).len() == MAX_PHONES + MAX_FOUND);

        // What was found and is silent is called in a few seconds of every minute.
        let later = now + Duration::from_secs(3600);
        let seconds: Vec<_> = (0..600).map(|second| called(later + Duration::from_secs(second))).collect();
        assert!(seconds.iter().all(|addresses| is_own(addresses)));
        let calls = seconds.iter().filter(|addresses| addresses.contains(&ip(99))).count();
        assert!((1..=90).contains(&calls), "{calls} of 600 seconds");

        // Kept for a week after it was heard; the user's own for ever.
        let kept: Vec<Remembered> = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let old = kept.into_iter().map(|one| Remembered { found: one.found.map(|at| at - FOUND_KEPT), ..one });
        write(&file, &old.collect::<Vec<_>>()).unwrap();
        let again = Roster::new(&[], Some(file), near);
        assert_eq!(again.status(now).len(), MAX_PHONES);
    }

    #[test]
    fn roster_remembers_phones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new").join("phones.json");
        let roster = Roster::new(&[], Some(file.clone()), near);
        roster.add(PhoneCall::app(ip(1), SourceKind::VTubeStudio));
        roster.add(PhoneCall::any(ip(2)));
        let now = Instant::now();
        stream(&roster, ip(3), SourceKind::IFacialMocap, 4, now);
        for frame in 0..200 {
            let now = now + Duration::from_millis(33) * frame;
            roster.heard(ip(4), SourceKind::IFacialMocap, false, now);
        }
        assert!(roster.forget(ip(2)) && !roster.forget(ip(2)));

        let again = Roster::new(&[PhoneCall::app(ip(1), SourceKind::IFacialMocap)], Some(file.clone()), near);
        let calls: Vec<_> =
            again.status(now).into_iter().map(|status| (status.call.address, status.call.app)).collect();
        let wanted = [(ip(1), Some(SourceKind::IFacialMocap)), (ip(3), Some(SourceKind::IFacialMocap))];
        assert_eq!(calls, wanted, "what is named now comes before what is remembered");

        fs::write(&file, "{").unwrap();
        assert!(Roster::new(&[], Some(file), near).status(now).is_empty(), "a broken file is said and left alone");
    }

    #[test]
    fn roster_phone_streams_until_silent() {
        let roster = Roster::new(&[PhoneCall::any(ip(1))], None, near);
        let now = Instant::now();
        let state = |at| roster.status(at).remove(0).state;
        assert_eq!(state(now), PhoneState::Calling);
        roster.heard(ip(1), SourceKind::VTubeStudio, false, now);
        assert_eq!(state(now), PhoneState::Streaming);
        assert_eq!(roster.calls(SourceKind::IFacialMocap, now)[0].1, Some(SourceKind::VTubeStudio));
        let later = now + SILENT;
        assert_eq!(roster.calls(SourceKind::VTubeStudio, later)[0].1, None);
        assert_eq!(state(later), PhoneState::Calling);
    }

    #[test]
    fn roster_several_apps_on_this_machine() {
        let here = IpAddr::from([127, 0, 0, 1]);
        let roster = Roster::new(&[PhoneCall::any(here)], None, near);
        let now = Instant::now();
        let heard = |app| roster.calls(app, now)[0].1;
        roster.heard(here, SourceKind::LiveLinkFace, false, now);
        assert_eq!(heard(SourceKind::VTubeStudio), None);
        roster.heard(here, SourceKind::IFacialMocapV3, false, now);
        assert_eq!(heard(SourceKind::IFacialMocap), Some(SourceKind::IFacialMocapV3));
        assert_eq!(heard(SourceKind::VTubeStudio), None);
    }

    #[test]
    fn roster_commands_go_to_apps_that_support_them() {
        let calls = [PhoneCall::app(ip(1), SourceKind::LiveLinkFace), PhoneCall::any(ip(2))];
        let roster = Roster::new(&calls, None, near);
        assert_eq!(roster.command(ip(9), PhoneCommand::Start), Err(PhoneCommandError::Unknown(ip(9))));
        assert_eq!(roster.command(ip(2), PhoneCommand::Start), Err(PhoneCommandError::NoRemote(ip(2))));
        for _ in 0..MAX_COMMANDS {
            roster.command(ip(1), PhoneCommand::Start).unwrap();
        }
        assert_eq!(roster.command(ip(1), PhoneCommand::Stop), Err(PhoneCommandError::Full(ip(1))));
        assert_eq!(roster.take_commands(ip(1)).len(), MAX_COMMANDS);
        assert!(roster.take_commands(ip(1)).is_empty());
    }
}
