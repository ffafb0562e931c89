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

use facelink::source::SourceKind;

use crate::phone_config::PhoneCall;

/// Most phones that are called or remembered.
const MAX_PHONES: usize = 64;
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

#[derive(Debug)]
struct Entry {
    status: PhoneStatus,
    heard: Option<(Instant, SourceKind)>,
    commands: VecDeque<PhoneCommand>,
}

/// Phones that are called.
#[derive(Debug, Default)]
pub(crate) struct Roster {
    entries: Mutex<Vec<Entry>>,
    file: Option<PathBuf>,
}

impl Roster {
    /// Those that are named, and those that are remembered.
    pub fn new(named: &[PhoneCall], file: Option<PathBuf>) -> Self {
        let remembered = file.as_deref().map(read).unwrap_or_default();
        let mut entries: Vec<Entry> = Vec::new();
        for call in named.iter().copied().chain(remembered).take(MAX_PHONES) {
            if !entries.iter().any(|entry| entry.status.call.address == call.address) {
                let commands = VecDeque::new();
                entries.push(Entry { status: PhoneStatus::new(call), heard: None, commands });
            }
        }
        Self { entries: Mutex::new(entries), file }
    }

    /// Calls a phone from now on; replaces the call of the same address.
    pub fn add(&self, call: PhoneCall) {
        let mut entries = self.entries.lock();
        entries.retain(|entry| entry.status.call.address != call.address);
        if entries.len() >= MAX_PHONES {
            entries.remove(0);
        }
        entries.push(Entry { status: PhoneStatus::new(call), heard: None, commands: VecDeque::new() });
        self.keep(&entries);
    }

    /// Calls a phone no longer. `false` when it was not called.
    pub fn forget(&self, address: IpAddr) -> bool {
        let mut entries = self.entries.lock();
        let before = entries.len();
        entries.retain(|entry| entry.status.call.address != address);
        let forgotten = entries.len() < before;
        if forgotten {
            self.keep(&entries);
        }
        forgotten
    }

    /// Phones to call for an app, and the app that each was heard by just now, which may be another one.
    pub fn calls(&self, app: SourceKind, now: Instant) -> Vec<(PhoneCall, Option<SourceKind>)> {
        let entries = self.entries.lock();
        let calls = entries.iter().filter(|entry| entry.status.call.is_for(app));
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

    /// A face came from there by this app. A phone that answered a call to all is remembered as one of its own when
    /// `found`.
    pub fn heard(&self, address: IpAddr, app: SourceKind, found: bool, now: Instant) {
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.status.call.address == address) {
            entry.heard = Some((now, app));
            entry.status.state = PhoneState::Streaming;
            return;
        }
        if found && entries.len() < MAX_PHONES {
            let status = PhoneStatus { state: PhoneState::Streaming, ..PhoneStatus::new(PhoneCall::app(address, app)) };
            tracing::info!(%address, %app, "found a phone");
            entries.push(Entry { status, heard: Some((now, app)), commands: VecDeque::new() });
            self.keep(&entries);
        }
    }

    /// Records what a phone reported apart from faces.
    pub fn note(&self, address: IpAddr, note: impl FnOnce(&mut PhoneStatus)) {
        if let Some(entry) = self.entries.lock().iter_mut().find(|entry| entry.status.call.address == address) {
            note(&mut entry.status);
        }
    }

    /// What a phone does, as far as is known.
    pub fn state(&self, address: IpAddr) -> Option<PhoneState> {
        let entries = self.entries.lock();
        entries.iter().find(|entry| entry.status.call.address == address).map(|entry| entry.status.state.clone())
    }

    /// Whether a packet of any phone arrived just now.
    pub fn hears(&self, now: Instant) -> bool {
        let just_now = |heard: Instant| now.saturating_duration_since(heard) < SILENT;
        self.entries.lock().iter().any(|entry| entry.heard.is_some_and(|(heard, _)| just_now(heard)))
    }

    /// Takes a command for a phone.
    pub fn command(&self, address: IpAddr, command: PhoneCommand) -> Result<(), PhoneCommandError> {
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| entry.status.call.address == address);
        let entry = entry.ok_or(PhoneCommandError::Unknown(address))?;
        if entry.status.call.app != Some(SourceKind::LiveLinkFace) {
            return Err(PhoneCommandError::NoRemote(address));
        }
        if entry.commands.len() >= MAX_COMMANDS {
            return Err(PhoneCommandError::Full(address));
        }
        entry.commands.push_back(command);
        Ok(())
    }

    /// The commands that wait for a phone, oldest first.
    pub fn take_commands(&self, address: IpAddr) -> Vec<PhoneCommand> {
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| entry.status.call.address == address);
        entry.map(|entry| entry.commands.drain(..).collect()).unwrap_or_default()
    }

    /// What is known of every phone.
    pub fn status(&self, now: Instant) -> Vec<PhoneStatus> {
        let mut entries = self.entries.lock();
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
        let calls: Vec<_> =
            entries.iter().map(|entry| entry.status.call).filter(|c| !c.address.is_loopback()).collect();
        if let Err(error) = write(file, &calls) {
            tracing::warn!("phones are not remembered: {}: {error}", file.display());
        }
    }
}

/// Whether two apps are called from one port, and so are one app with several protocols.
fn is_same_app(app: SourceKind, other: SourceKind) -> bool {
    let called_from = |app: SourceKind| app.app().and_then(|row| row.called_from);
    app == other || (called_from(app).is_some() && called_from(app) == called_from(other))
}

fn read(file: &Path) -> Vec<PhoneCall> {
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

fn write(file: &Path, calls: &[PhoneCall]) -> io::Result<()> {
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

    #[test]
    fn roster_remembers_phones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new").join("phones.json");
        let roster = Roster::new(&[], Some(file.clone()));
        roster.add(PhoneCall::app(ip(1), SourceKind::VTubeStudio));
        roster.add(PhoneCall::any(ip(2)));
        let now = Instant::now();
        roster.heard(ip(3), SourceKind::IFacialMocap, true, now);
        roster.heard(ip(4), SourceKind::IFacialMocap, false, now);
        assert!(roster.forget(ip(2)) && !roster.forget(ip(2)));

        let again = Roster::new(&[PhoneCall::app(ip(1), SourceKind::IFacialMocap)], Some(file.clone()));
        let calls: Vec<_> =
            again.status(now).into_iter().map(|status| (status.call.address, status.call.app)).collect();
        let wanted = [(ip(1), Some(SourceKind::IFacialMocap)), (ip(3), Some(SourceKind::IFacialMocap))];
        assert_eq!(calls, wanted, "what is named now comes before what is remembered");

        fs::write(&file, "{").unwrap();
        assert!(Roster::new(&[], Some(file)).status(now).is_empty(), "a broken file is said and left alone");
    }

    #[test]
    fn roster_phone_streams_until_silent() {
        let roster = Roster::new(&[PhoneCall::any(ip(1))], None);
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
        let roster = Roster::new(&[PhoneCall::any(here)], None);
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
        let roster = Roster::new(&calls, None);
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
