//! This machine's clock, and those of the senders.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::port_owner;
use facelink::source::SourceKind;

/// This machine's clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Clock {
    /// The time of day that it shows, UTC.
    pub time: String,
    /// Whether a time service has set it; `None` where that is unknown.
    pub synchronised: Option<bool>,
    /// In words: who keeps it, and what is wrong with it.
    pub note: String,
    /// The year makes no sense.
    pub wrong: bool,
    /// How far it was moved since the start, milliseconds, apart from the time that passed; time asleep counts as well.
    pub moved_ms: f64,
    /// Senders that stamp their frames with the time of day.
    pub senders: Vec<SenderClock>,
}

/// A sender's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SenderClock {
    /// Name of the face.
    pub face: Arc<str>,
    /// What sends it.
    pub app: SourceKind,
    /// Our clock at arrival less the sender's at sending, milliseconds: the network latency if both are right.
    pub difference_ms: f32,
    /// In words.
    pub note: String,
    /// The clocks differ by more than network latency explains.
    pub differs: bool,
}

/// A latency above this, or a negative one beyond the accuracy of synchronised clocks, shows that the clocks differ.
const MAX_LATENCY_MS: f32 = 1000.0;
const KEPT_CLOCKS_MS: f32 = 30.0;

impl SenderClock {
    pub(super) fn new(face: Arc<str>, app: SourceKind, difference_ms: f32) -> Self {
        let (differs, note) = if difference_ms < -KEPT_CLOCKS_MS {
            (true, format!("its clock is {} ahead of ours", span(-difference_ms)))
        } else if difference_ms > MAX_LATENCY_MS {
            (true, format!("its clock is {} behind ours", span(difference_ms)))
        } else {
            (false, format!("its clock agrees with ours; {difference_ms:.0} ms latency"))
        };
        Self { face, app, difference_ms, note, differs }
    }
}

/// So many milliseconds, for people.
fn span(ms: f32) -> String {
    match ms {
        ms if ms < 10_000.0 => format!("{ms:.0} ms"),
        ms if ms < 600_000.0 => format!("{:.0} s", ms / 1000.0),
        ms if ms < 36_000_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms if ms < 172_800_000.0 => format!("{:.0} h", ms / 3_600_000.0),
        ms => format!("{:.0} days", ms / 86_400_000.0),
    }
}

/// When the watch over the clock began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    time_of_day: SystemTime,
    at: Instant,
}

impl Default for Start {
    fn default() -> Self {
        Self { time_of_day: SystemTime::now(), at: Instant::now() }
    }
}

/// Which service keeps the clock, as far as local files show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keeper {
    synchronised: Option<bool>,
    note: &'static str,
}

impl Keeper {
    pub fn look() -> Self {
        if !cfg!(target_os = "linux") {
            return Self { synchronised: None, note: "whether a time service keeps it is not known here" };
        }
        Self::of(Path::new("/run/systemd/timesync/synchronized").exists(), &port_owner::running())
    }

    fn of(timesync_is_set: bool, running: &[String]) -> Self {
        let runs = |name: &str| running.iter().any(|program| program == name);
        // Names are cut after 15 characters.
        let (synchronised, note) = if timesync_is_set {
            (Some(true), "set by systemd-timesyncd")
        } else if runs("systemd-timesyn") {
            (Some(false), "systemd-timesyncd runs, and has not reached its server yet")
        } else if runs("chronyd") {
            (None, "kept by chrony; `chronyc tracking` says how well")
        } else if runs("ntpd") || runs("ntpsec") || runs("ntpd-rs") || runs("ntp-daemon") {
            (None, "kept by an NTP service")
        } else {
            (None, "no time service is seen here; a virtual machine has its host's time")
        };
        Self { synchronised, note }
    }
}

impl Clock {
    pub(super) fn read(keeper: &Keeper, start: Start, senders: Vec<SenderClock>, now: Instant) -> Self {
        Self::at(SystemTime::now(), keeper, start, senders, now)
    }

    fn at(time: SystemTime, keeper: &Keeper, start: Start, senders: Vec<SenderClock>, now: Instant) -> Self {
        let since_1970 = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = |time: SystemTime| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64() * 1000.0,
            Err(before) => before.duration().as_secs_f64() * -1000.0,
        };
        let went_by = now.saturating_duration_since(start.at).as_secs_f64() * 1000.0;
        let seconds = Duration::from_secs(since_1970.as_secs());
        let shown = jiff::Timestamp::try_from(UNIX_EPOCH + seconds).map(|time| time.to_string()).unwrap_or_default();
        // Nothing of FaceLink was there before 2025.
        let year = shown.get(..4).and_then(|year| year.parse().ok()).unwrap_or(0);
        Self {
            wrong: !(2025..2100).contains(&year),
            time: shown,
            synchronised: keeper.synchronised,
            note: keeper.note.to_owned(),
            moved_ms: ms(time) - ms(start.time_of_day) - went_by,
            senders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_jump_or_nonsense_is_noticed() {
        let at = Instant::now();
        let day = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let start = Start { time_of_day: day(1_800_000_000), at };
        let read = |seconds, after| {
            Clock::at(day(seconds), &Keeper::default(), start, vec![], at + Duration::from_secs(after))
        };
        let clock = read(1_800_000_010, 10);
        assert_eq!((clock.time.as_str(), clock.wrong, clock.moved_ms), ("2027-01-15T08:00:10Z", false, 0.0));
        assert_eq!(read(1_800_003_610, 10).moved_ms, 3_600_000.0);
        let back = read(86_400, 10);
        assert!(back.wrong && back.moved_ms < -1e12 && back.time.starts_with("1970"), "{back:?}");
        assert!(read(9_999_999_999, 10).wrong, "2286");
    }

    #[test]
    fn clock_of_a_sender_in_words() {
        let clock = |ms| SenderClock::new("Ann".into(), SourceKind::VTubeStudio, ms);
        assert!(!clock(12.0).differs && clock(12.0).note.contains("12 ms latency"));
        assert!(!clock(-5.0).differs, "clocks that are kept differ by a little");
        assert_eq!(
            (clock(-3200.0).differs, clock(-3200.0).note),
            (true, "its clock is 3200 ms ahead of ours".to_owned())
        );
        assert_eq!(clock(7_200_000.0).note, "its clock is 120 min behind ours");
        assert_eq!(clock(1.8e12).note, "its clock is 20833 days behind ours");
    }

    #[test]
    fn clock_synchronisation_service() {
        let of =
            |set, running: &[&str]| Keeper::of(set, &running.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(true, &["systemd-timesyn"]).synchronised, Some(true));
        assert_eq!(of(false, &["bash", "systemd-timesyn"]).synchronised, Some(false));
        assert!(of(false, &["chronyd"]).note.contains("chronyc"));
        assert_eq!(of(false, &["bash"]).synchronised, None);
    }
}
