//! Remote control by OSC: the words of this project, and those by which Live Link Face records, so that what controls the app
//! can control an endpoint.

use std::{
    collections::VecDeque,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::mpsc::{Receiver, TryRecvError, channel},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rosc::{OscMessage, OscType};
use smallvec::SmallVec;

use super::protocol::Io;
use crate::{
    hub::Counters,
    takes::{TakeOptions, Takes},
};
use facelink::{
    calibration::{CalibrationStep, CalibrationStepError},
    event::{Emotion, LinkEvent},
    ltc::Timecode,
    wire::{
        json::check_name,
        osc::{encode, message, number, text},
    },
};

/// Between two looks at whether what was asked for is done.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Commands that wait; more are left out.
const MAX_WAITING: usize = 16;
/// Controllers that said where to answer.
const MAX_TARGETS: usize = 16;
/// Frames a second of the timecodes in answers.
const TIMECODE_RATE: u32 = 60;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
enum Word {
    Start { slate: Option<String>, take: Option<u32> },
    Stop,
    Toggle,
    Mark(String),
}

/// One command, and the answers that its sender reads.
#[derive(Debug)]
struct Asked {
    word: Word,
    /// By the words of Live Link Face.
    as_app: bool,
    from: SocketAddr,
}

/// The OSC messages that begin and end takes.
#[derive(Debug, Default)]
pub(super) struct Control {
    waiting: VecDeque<Asked>,
    /// What is being done, apart from the port's task: files may be slow.
    running: Option<(SocketAddr, Receiver<Vec<Vec<u8>>>)>,
    look: Option<Instant>,
    /// Where controllers want their answers, other than where they send from.
    targets: Vec<SocketAddr>,
}

/// A command of a machine that may not.
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "OSC that controls this endpoint, which other machines may not do here: `osc_control`, or --osc-control",
        )
    }
}

/// Words of this project that are done at once; behind them may stand a name.
const DIRECT: [&str; 8] = ["calibrate", "emotion", "cut", "enable", "rename", "alias", "subscribe", "unsubscribe"];

/// Whether it controls this endpoint.
pub(super) fn is_word(address: &str) -> bool {
    match address.strip_prefix("/facelink/") {
        Some(own) => {
            let word = own.split('/').next().unwrap_or_default();
            matches!(own, "record" | "record/start" | "record/stop" | "slate" | "take" | "mark")
                || DIRECT.contains(&word)
        }
        None => matches!(address, "/RecordStart" | "/RecordStop" | "/Slate" | "/Take" | "/OSCSetSendTarget"),
    }
}

/// Whether a machine may begin and end takes.
fn may_control(from: IpAddr, open: bool) -> bool {
    open || from.is_loopback()
}

/// A whole number from 1 on; some controllers send floats alone.
fn count(arg: Option<&OscType>) -> Option<u32> {
    number(arg).filter(|number| (1.0..=1e6).contains(number)).map(|number| number as u32)
}

/// UTC.
fn timecode(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let frames = since.as_nanos() * u128::from(TIMECODE_RATE) / 1_000_000_000;
    Timecode::of_count(u64::try_from(frames).unwrap_or(0), TIMECODE_RATE, false).to_string()
}

impl Control {
    /// Takes a message that [`is_word`].
    pub fn on_message(&mut self, io: &Io<'_>, from: SocketAddr, message: &OscMessage, now: Instant) {
        let args = &message.args;
        let string = |place: usize| text(args.get(place)).filter(|text| !text.is_empty()).map(str::to_owned);
        let address = message.addr.as_str();
        let own = address.strip_prefix("/facelink/");
        if !may_control(from.ip(), io.hub().config.osc_control) {
            io.counters.record(from, None, Some(&Closed), now);
            Counters::add(&io.hub().refused, 1);
            return;
        }
        if let Some((word, rest)) = own.map(|own| own.split_once('/').unwrap_or((own, "")))
            && DIRECT.contains(&word)
        {
            let answers = direct(io, from, word, rest, args, now).unwrap_or_else(|error| {
                Counters::add(&io.hub().refused, 1);
                vec![("/facelink/error", vec![OscType::String(error)])]
            });
            let to = self.answers_to(from);
            answers.into_iter().map(encoded).for_each(|answer| io.send(to, &answer));
            return;
        }
        let word = match own.unwrap_or(address) {
            "/Slate" | "slate" => {
                io.phones().takes.set_slate(string(0));
                return;
            }
            "/Take" | "take" => {
                io.phones().takes.set_take(count(args.first()));
                return;
            }
            "/OSCSetSendTarget" => {
                self.set_target(io, from, args);
                return;
            }
            "/RecordStart" | "record/start" => Word::Start { slate: string(0), take: count(args.get(1)) },
            "/RecordStop" | "record/stop" => Word::Stop,
            "record" => match number(args.first()) {
                Some(0.0) => Word::Stop,
                Some(_) => Word::Start { slate: string(1), take: count(args.get(2)) },
                None => Word::Toggle,
            },
            _ => Word::Mark(string(0).unwrap_or_default()),
        };
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back(Asked { word, as_app: own.is_none(), from });
        }
        self.next(io, now);
    }

    /// A controller wants its answers at another port of its own.
    fn set_target(&mut self, io: &Io<'_>, from: SocketAddr, args: &[OscType]) {
        let Some(port) = number(args.get(1)).filter(|port| (1.0..65536.0).contains(port)) else { return };
        self.targets.retain(|target| target.ip() != from.ip());
        if self.targets.len() >= MAX_TARGETS {
            self.targets.remove(0);
        }
        // At its own address, whatever it says: nothing is sent to others on its behalf.
        let target = SocketAddr::new(from.ip(), port as u16);
        self.targets.push(target);
        io.send(target, &encode(&message("/OSCSetSendTargetConfirm", Vec::new())));
    }

    /// Where a controller reads its answers.
    fn answers_to(&self, from: SocketAddr) -> SocketAddr {
        self.targets.iter().find(|target| target.ip() == from.ip()).copied().unwrap_or(from)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.look
    }

    /// Sends the answers that are there, and does what is next.
    pub fn on_timeout(&mut self, io: &Io<'_>, now: Instant) {
        if self.look.is_none_or(|look| look > now) {
            return;
        }
        if let Some((to, answers)) = &self.running {
            match answers.try_recv() {
                Ok(answers) => {
                    for answer in &answers {
                        io.send(*to, answer);
                    }
                    self.running = None;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => self.running = None,
            }
        }
        self.next(io, now);
    }

    /// Begins with the oldest command that waits, one at a time and in their order.
    fn next(&mut self, io: &Io<'_>, now: Instant) {
        if self.running.is_none()
            && let Some(Asked { word, as_app, from }) = self.waiting.pop_front()
        {
            let word = match word {
                Word::Toggle => match io.phones().takes.status().is_some_and(|take| take.recording) {
                    true => Word::Stop,
                    false => Word::Start { slate: None, take: None },
                },
                word => word,
            };
            let takes = io.phones().takes.clone();
            let (sender, receiver) = channel();
            let work = move || {
                let answers = act(&takes, word, as_app);
                let _ = sender.send(answers.into_iter().map(encoded).collect());
            };
            // Files are not the business of the task that receives faces.
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn_blocking(work)),
                Err(_) => work(),
            }
            self.running = Some((self.answers_to(from), receiver));
        }
        self.look = self.running.is_some().then(|| now + LOOK_EVERY);
    }
}

type Answer = (&'static str, Vec<OscType>);

fn encoded((address, args): Answer) -> Vec<u8> {
    encode(&message(address, args))
}

/// Does what needs no file: a word, what stands behind it in the address, and its arguments. A button that is let go (0) does
/// nothing, but for an emotion, which it ends, and a subject, which it disables.
fn direct(
    io: &Io<'_>,
    from: SocketAddr,
    word: &str,
    rest: &str,
    args: &[OscType],
    now: Instant,
) -> Result<Vec<Answer>, String> {
    let hub = io.hub();
    let string = |text: &str| OscType::String(text.to_owned());
    let value = args.iter().find_map(|arg| number(Some(arg)));
    let mut words: SmallVec<[&str; 4]> =
        args.iter().filter_map(|arg| text(Some(arg))).filter(|t| !t.is_empty()).collect();
    if let "emotion" | "cut" | "enable" | "rename" | "alias" = word
        && !rest.is_empty()
    {
        words.insert(0, rest);
    }
    let live = |name: Option<&str>| {
        let live = hub.live(name);
        match (live.is_empty(), name) {
            (false, _) => Ok(live),
            (true, Some(name)) => Err(format!("there is no subject `{}`", name.escape_debug())),
            (true, None) => Err("there is no subject".to_owned()),
        }
    };
    match word {
        "calibrate" | "cut" if value == Some(0.0) => Ok(Vec::new()),
        "calibrate" => {
            let step = if rest.is_empty() { Ok(CalibrationStep::Neutral) } else { rest.parse() };
            let step = step.map_err(|error: CalibrationStepError| format!("calibrate: {error}"))?;
            let mut answers = Vec::new();
            for (_, name) in live(words.first().copied())? {
                hub.subjects().calibrate_by(&name, step).map_err(|error| error.to_string())?;
                answers.push(("/facelink/calibrated", vec![string(&name)]));
            }
            Ok(answers)
        }
        "emotion" => {
            let name = *words.first().ok_or("emotion: its name is missing")?;
            check_name(name).map_err(|error| format!("emotion: {error}"))?;
            let intensity = value.unwrap_or(1.0).clamp(0.0, 1.0);
            let emotion = Emotion { name: name.into(), intensity, fade: None, duration: None };
            let mut answers = Vec::new();
            for (id, subject) in live(words.get(1).copied())? {
                answers.push(("/facelink/emotion", vec![string(name), OscType::Float(intensity), string(&subject)]));
                hub.queues.event(LinkEvent::Emotion { id, name: subject, emotion: emotion.clone() });
            }
            Ok(answers)
        }
        "cut" => {
            let name = *words.first().ok_or("cut: the name of a subject is missing")?;
            live(Some(name))?;
            hub.cut_to(name);
            Ok(vec![("/facelink/cut", vec![string(name)])])
        }
        "enable" => {
            let subject = *words.first().ok_or("enable: the name of a subject is missing")?;
            let enabled = value != Some(0.0);
            hub.enable_subject(subject, enabled, now).map_err(|error| error.to_string())?;
            Ok(vec![("/facelink/enabled", vec![string(subject), OscType::Int(enabled.into())])])
        }
        "rename" | "alias" => {
            let subject = *words.first().ok_or_else(|| format!("{word}: the name of a subject is missing"))?;
            let name = words.get(1).copied();
            let done = match name {
                Some(name) if word == "alias" => hub.alias_subject(subject, name, now),
                None if word == "alias" => return Err("alias: the other name is missing".to_owned()),
                name => hub.rename_subject(subject, name, now),
            };
            done.map_err(|error| error.to_string())?;
            Ok(vec![("/facelink/renamed", vec![string(subject), string(name.unwrap_or_default())])])
        }
        _ => {
            let port = match value {
                None => from.port(),
                Some(port) if (1.0..65536.0).contains(&port) => port as u16,
                Some(_) => return Err(format!("{word}: a port is 1 to 65535")),
            };
            // At its own address, whatever it says: nothing is sent to others on its behalf.
            let to = SocketAddr::new(from.ip(), port);
            let subscribers = &io.phones().subscribers;
            if word == "subscribe" {
                subscribers.add(to, &hub.config.osc_out);
                Ok(vec![("/facelink/subscribed", vec![OscType::Int(port.into())])])
            } else {
                subscribers.remove(to);
                Ok(vec![("/facelink/unsubscribed", vec![OscType::Int(port.into())])])
            }
        }
    }
}

/// Does it, and says what became of it.
fn act(takes: &Takes, word: Word, as_app: bool) -> Vec<Answer> {
    let string = OscType::String;
    let done = match word {
        Word::Start { slate, take } => takes.start(TakeOptions { slate, take, ..TakeOptions::default() }).map(Some),
        Word::Stop | Word::Toggle => takes.stop().map(Some),
        Word::Mark(words) => takes.mark(words).map(|()| None),
    };
    match done {
        Ok(None) => Vec::new(),
        Ok(Some(take)) if as_app && take.recording => {
            vec![("/RecordStartConfirm", vec![string(timecode(SystemTime::now()))])]
        }
        // Timecode, and the files of faces and of a video; there is none of the latter.
        Ok(Some(take)) if as_app => vec![(
            "/RecordStopConfirm",
            vec![string(timecode(SystemTime::now())), string(take.file), string(String::new())],
        )],
        Ok(Some(take)) => vec![(
            "/facelink/recording",
            vec![
                OscType::Int(take.recording.into()),
                string(take.slate),
                OscType::Int(i32::try_from(take.take).unwrap_or(i32::MAX)),
                string(take.file),
            ],
        )],
        Err(error) => vec![("/facelink/error", vec![string(error.to_string())])],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn osc_control_of_other_machines_needs_the_setting() {
        let far = [192, 0, 2, 7].into();
        assert!(!may_control(far, false) && may_control(far, true) && may_control([127, 0, 0, 1].into(), false));
    }

    #[test]
    fn osc_control_timecode_and_count() {
        assert_eq!(timecode(UNIX_EPOCH + Duration::new(86_400 + 3723, 999_999_999)), "01:02:03:59");
        assert_eq!(count(Some(&OscType::Float(7.0))), Some(7));
        for none in [OscType::Int(0), OscType::Int(-3), OscType::Float(f32::NAN), OscType::Nil] {
            assert_eq!(count(Some(&none)), None);
        }
    }
}
