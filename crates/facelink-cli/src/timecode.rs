//! `--timecode`: the clock that faces and takes are on.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, Sender, bounded};
use facelink::{
    ltc::{LtcChase, LtcState, Timebase},
    session_file::{Timecode, TimecodeFrom},
    take::FrameRate,
};
use facelink_net::{Endpoint, TimecodeInput};

use crate::{audio::Sound, error::Error};

/// Between two looks at the system's clock.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The system's clock was set when it is off by more than this: NTP corrects it by less.
const SET: i64 = 100_000;

/// Whose timecode faces and takes have.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Timecode")]
pub struct TimecodeArgs {
    /// Put faces and takes on this clock: `own`, that of each source (default); `system`, the time of day of this machine in UTC, which
    /// NTP keeps; `ltc:FILE.wav`, linear timecode in a sound, played at its own speed; `ltc` or `ltc:NAME`, linear timecode at an
    /// audio input (feature `microphone`).
    #[arg(long, value_name = "CLOCK", value_parser = from)]
    timecode: Option<TimecodeFrom>,
    /// Frames a second of --timecode, such as 25 or 29.97; LTC is measured without it, and the system's clock has 60.
    #[arg(long, value_name = "FPS", requires = "timecode")]
    timecode_rate: Option<FrameRate>,
    /// Put subjects on it too that have a clock of their own.
    #[arg(long, requires = "timecode")]
    timecode_all: bool,
    /// Which channel of the sound has the timecode, from 1.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), requires = "timecode")]
    timecode_channel: u16,
}

fn from(text: &str) -> Result<TimecodeFrom, String> {
    match text.split_once(':').unwrap_or((text, "")) {
        ("own", "") => Ok(TimecodeFrom::Own),
        ("system", "") => Ok(TimecodeFrom::System),
        ("ltc", input) => Ok(TimecodeFrom::Ltc(input.to_owned())),
        _ => Err("expected own, system, ltc, ltc:FILE.wav or ltc:NAME".to_owned()),
    }
}

/// A clock that is followed until this is dropped.
#[derive(Debug)]
pub struct Following {
    _stop: Sender<()>,
}

impl TimecodeArgs {
    /// Follows the clock that is asked for, or else the session's.
    pub fn start(
        &self,
        session: Option<&Timecode>,
        folder: &Path,
        endpoint: &Endpoint,
    ) -> Result<Option<Following>, Error> {
        let asked = self.timecode.clone().map(|from| {
            // A path that is given here counts from here.
            (Timecode { from, rate: self.timecode_rate, all: self.timecode_all }, Path::new(""))
        });
        let Some((timecode, folder)) = asked.or_else(|| session.map(|session| (session.clone(), folder))) else {
            return Ok(None);
        };
        let input = endpoint.timecode_input(timecode.all);
        let (stop, stopped) = bounded(0);
        let run: Box<dyn FnOnce() + Send> = match timecode.from {
            TimecodeFrom::Own => return Ok(None),
            TimecodeFrom::System => {
                let rate = timecode.rate.unwrap_or(FrameRate::SIXTY);
                Box::new(move || follow_system(rate, &input, &stopped))
            }
            TimecodeFrom::Ltc(name) => {
                let file = folder.join(&name);
                let is_file = Path::new(&name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case("wav"));
                if !is_file && cfg!(not(feature = "microphone")) {
                    let reason = "this build has no audio inputs (feature `microphone`); `ltc:FILE.wav` reads a file";
                    return Err(Error::Plain(format!("--timecode ltc: {reason}")));
                }
                // Said at once, and not by a thread.
                let sound = is_file.then(|| Sound::file(&file, false)).transpose()?;
                let channel = usize::from(self.timecode_channel) - 1;
                Box::new(move || {
                    if let Err(error) = follow_ltc(sound, &name, timecode.rate, channel, &input, &stopped) {
                        eprintln!("facelink: timecode: {error}");
                    }
                })
            }
        };
        let thread = thread::Builder::new().name("facelink timecode".to_owned()).spawn(run);
        thread.map_err(|error| Error::Plain(format!("no thread for the timecode: {error}")))?;
        Ok(Some(Following { _stop: stop }))
    }
}

/// The time of day, as it is corrected.
fn follow_system(rate: FrameRate, input: &TimecodeInput, stop: &Receiver<()>) {
    let of_day = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Counted from one midnight on, so that it does not go back at the next.
    let midnight = Duration::from_secs(of_day().as_secs() / 86_400 * 86_400);
    let mut base: Option<Timebase> = None;
    loop {
        let now = Instant::now();
        let time = of_day().saturating_sub(midnight);
        let mut next = Timebase::new(now, time, rate);
        if let Some(base) = base {
            let was_set = (base.time_us(now) - next.time_us(now)).abs() > SET;
            next.epoch = base.epoch + u32::from(was_set);
        }
        base = Some(next);
        input.set(base);
        if stop.recv_timeout(LOOK_EVERY) != Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn open(sound: Option<Sound>, name: &str) -> Result<Sound, Error> {
    match sound {
        Some(sound) => Ok(sound),
        #[cfg(feature = "microphone")]
        None => {
            let name = (!name.is_empty()).then_some(name);
            Ok(Sound::Microphone(crate::microphone::Microphone::open(name)?))
        }
        #[cfg(not(feature = "microphone"))]
        None => Err(Error::Plain(format!("no audio input `{name}`"))),
    }
}

/// Timecode in a sound, until its end.
fn follow_ltc(
    sound: Option<Sound>,
    name: &str,
    rate: Option<FrameRate>,
    channel: usize,
    input: &TimecodeInput,
    stop: &Receiver<()>,
) -> Result<(), Error> {
    let mut sound = open(sound, name)?;
    let channels = usize::from(sound.channels()).max(1);
    if channel >= channels {
        return Err(Error::Plain(format!("{} has {channels} channels", sound.describe())));
    }
    let mut chase = LtcChase::new(f64::from(sound.rate()), rate, Instant::now());
    let mut state = LtcState::Unlocked;
    let mut mono = Vec::new();
    sound.start();
    while let Some(samples) = sound.next(stop)? {
        mono.clear();
        mono.extend(samples.iter().skip(channel).step_by(channels));
        let now = Instant::now();
        chase.push(&mono, now);
        input.set(chase.timebase());
        if chase.state() != state {
            state = chase.state();
            let at = chase.timecode(now).map(|timecode| format!(" at {timecode}")).unwrap_or_default();
            let rate = chase.rate().map(|rate| format!(", {rate} frames a second")).unwrap_or_default();
            match state {
                LtcState::Locked => eprintln!("facelink: timecode is locked{at}{rate}"),
                LtcState::Flywheel => eprintln!("facelink: timecode is missing, and continued{at}"),
                _ => eprintln!("facelink: no timecode any more; faces are on their own clocks"),
            }
        }
    }
    Ok(())
}
