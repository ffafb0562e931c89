//! The client of OBS as a state machine: what comes from the socket and what takes ask for go in with `now`, what is to be done
//! comes out. The protocol is [obs-websocket 5](https://github.com/obsproject/obs-websocket/blob/master/docs/generated/protocol.md),
//! as JSON.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use facelink::{take::ObsRecording, timing::Backoff};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{stats::ObsState, takes::plain};

/// Of general events, scenes and outputs.
const SUBSCRIPTIONS: u32 = 1 | 1 << 2 | 1 << 6;
/// A connection that is no further in its opening by then is given up, and so is one on which a request has no answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Between two requests that only ask whether OBS is there.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// OBS that was asked to begin, or to end, and does not by then.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);
/// After a refusal, which only a change of settings in OBS ends.
const REFUSED_FOR: Duration = Duration::from_secs(10);
/// Delays between attempts to connect.
const FIRST_DELAY: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// OBS that was to end its recording when the connection broke off is ended by a new one until then.
const ABANDONED_FOR: Duration = Duration::from_secs(60);
/// Longest name of a file that is asked for, bytes.
const MAX_NAME: usize = 96;
/// Longest text of OBS's that is kept, bytes.
const MAX_TEXT: usize = 4096;
/// Files of one recording: OBS may split it.
const MAX_FILES: usize = 64;
/// Requests that wait for their answer.
const MAX_PENDING: usize = 64;

/// Status codes of requests.
const OUTPUT_RUNNING: u16 = 500;
const OUTPUT_NOT_RUNNING: u16 = 501;
/// Codes with which OBS closes the connection.
const AUTHENTICATION_FAILED: u16 = 4009;
const UNSUPPORTED_RPC_VERSION: u16 = 4010;
const SESSION_INVALIDATED: u16 = 4011;
/// Where OBS keeps the pattern of its files' names.
const CATEGORY: &str = "Output";
const PATTERN: &str = "FilenameFormatting";

/// How OBS is dealt with.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub password: Option<String>,
    /// Whether a recording that was begun in OBS begins a take.
    pub starts_takes: bool,
    /// Whether its files are named by slate and take.
    pub names_files: bool,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Open a new connection.
    Dial,
    /// Close the connection that there is, or is being opened.
    Hangup,
    Send(String),
    /// For the take, if there is one: what OBS reported, and when its video began.
    Report(ObsRecording, Option<Instant>),
    /// For the take: a mark.
    Mark(String),
    StartTake,
    StopTake,
}

/// How far the connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// None: the backoff says when.
    Waiting,
    /// It is being opened.
    Dialling,
    /// OBS speaks first.
    Greeting,
    /// It was told who we are.
    Identifying,
    Ready,
}

/// What OBS's recording does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Stopped,
    Starting,
    Started,
    Stopping,
}

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Status,
    Scene,
    Start,
    Stop,
    Restore,
}

#[derive(Debug)]
struct Pending {
    id: u64,
    purpose: Purpose,
    sent: Instant,
}

/// A take that OBS is to record.
#[derive(Debug)]
struct Wanted {
    name: String,
    /// OBS was asked to begin.
    asked: Option<Instant>,
    /// OBS recorded before it was asked: what did not begin for the take does not end with it.
    joined: bool,
    /// OBS's start is in the take.
    reported: bool,
}

/// The state of the client.
#[derive(Debug)]
pub(super) struct Machine {
    settings: Settings,
    phase: Phase,
    since: Instant,
    backoff: Backoff,
    next_id: u64,
    pending: Vec<Pending>,
    asked_status: Instant,
    output: Output,
    /// When its video began, and by how much that may be off.
    started: Option<(Instant, Duration)>,
    files: Vec<String>,
    wanted: Option<Wanted>,
    /// OBS was asked to end at this time.
    ending: Option<Instant>,
    /// OBS was to end its recording while there was no connection, since this time.
    abandoned: Option<Instant>,
    /// The take was begun because OBS recorded.
    took: bool,
    /// The pattern of names that OBS had before ours.
    pattern: Option<String>,
    scene: Option<String>,
    actions: VecDeque<Action>,
    pub seen: Seen,
}

/// What is shown of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub state: ObsState,
    pub version: Option<String>,
    pub rtt: Option<Duration>,
    pub file: Option<String>,
    /// The newest error, until what failed goes well.
    pub error: Option<String>,
    pub connects: u64,
    pub failures: u64,
    pub ignored: u64,
}

/// A message: what it is, and the rest.
#[derive(Deserialize)]
struct Message {
    op: u8,
    #[serde(default)]
    d: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hello {
    #[serde(default)]
    obs_web_socket_version: String,
    authentication: Option<Challenge>,
}

#[derive(Deserialize)]
struct Challenge {
    challenge: String,
    salt: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    event_type: String,
    #[serde(default)]
    event_data: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    request_status: RequestStatus,
    #[serde(default)]
    response_data: Value,
}

#[derive(Deserialize)]
struct RequestStatus {
    result: bool,
    code: u16,
    #[serde(default)]
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    request_id: String,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    request_id: String,
    results: Vec<Outcome>,
}

impl RequestStatus {
    fn in_words(&self) -> String {
        match &self.comment {
            Some(comment) => format!("{} (code {})", clipped(comment), self.code),
            None => format!("code {}", self.code),
        }
    }
}

/// The answer to a challenge of the protocol's authentication.
fn authentication(password: &str, challenge: &str, salt: &str) -> String {
    let hash = |text: &str, more: &str| BASE64_STANDARD.encode(digest(&SHA256, [text, more].concat().as_bytes()));
    hash(&hash(password, salt), challenge)
}

/// The name of a file by slate and take, without the signs that OBS replaces by the date.
fn file_name(slate: &str, take: u32) -> String {
    let mut name: String = plain(slate).collect();
    name.truncate(name.floor_char_boundary(MAX_NAME));
    format!("{name}_{take:03}")
}

fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT)].chars().filter(|c| !c.is_control()).collect()
}

impl Machine {
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        let mut backoff = Backoff::new(FIRST_DELAY, LONGEST_DELAY, seed);
        backoff.reset(now);
        Self {
            settings,
            phase: Phase::Waiting,
            since: now,
            backoff,
            next_id: 0,
            pending: Vec::new(),
            asked_status: now,
            output: Output::Stopped,
            started: None,
            files: Vec::new(),
            wanted: None,
            ending: None,
            abandoned: None,
            took: false,
            pattern: None,
            scene: None,
            actions: VecDeque::new(),
            seen: Seen::default(),
        }
    }

    /// What is to be done next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether OBS records.
    pub fn is_recording(&self) -> bool {
        self.phase == Phase::Ready && matches!(self.output, Output::Started | Output::Stopping)
    }

    /// The scene that is on air.
    pub fn scene(&self) -> Option<&str> {
        self.scene.as_deref()
    }

    /// Whether OBS was asked to end its recording and has not, or something is yet to be done that belongs to the take.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some() || !self.actions.is_empty()
    }

    /// When [`on_time`](Self::on_time) has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let opening = match self.phase {
            Phase::Waiting => self.backoff.at(),
            Phase::Ready => Some(self.asked_status + ASK_EVERY),
            _ => Some(self.since + ANSWER_LIMIT),
        };
        let answers = self.pending.first().map(|pending| pending.sent + ANSWER_LIMIT);
        let begins = self.beginning().map(|asked| asked + CHANGE_LIMIT);
        let ends = self.ending.map(|asked| asked + CHANGE_LIMIT);
        [opening, answers, begins, ends].into_iter().flatten().min()
    }

    /// When OBS was asked to begin, if it has not.
    fn beginning(&self) -> Option<Instant> {
        self.wanted.as_ref().filter(|wanted| !wanted.reported).and_then(|wanted| wanted.asked)
    }

    pub fn on_time(&mut self, now: Instant) {
        match self.phase {
            Phase::Waiting if self.backoff.take_due(now) => {
                self.enter(Phase::Dialling, now);
                self.seen.state = ObsState::Connecting;
                self.actions.push_back(Action::Dial);
            }
            Phase::Waiting => {}
            Phase::Ready => {
                if self.pending.first().is_some_and(|pending| now >= pending.sent + ANSWER_LIMIT) {
                    return self.lose("OBS does not answer".to_owned(), now);
                }
                if now >= self.asked_status + ASK_EVERY {
                    self.ask(Purpose::Status, now);
                }
            }
            _ if now >= self.since + ANSWER_LIMIT => {
                return self.lose("OBS does not answer".to_owned(), now);
            }
            _ => {}
        }
        if self.beginning().is_some_and(|asked| now >= asked + CHANGE_LIMIT) {
            self.complain("OBS was asked to record, and did not begin".to_owned());
            if let Some(wanted) = &mut self.wanted {
                wanted.asked = None;
                wanted.reported = true;
            }
            self.restore_pattern(now);
        }
        if self.ending.is_some_and(|asked| now >= asked + CHANGE_LIMIT) {
            self.ended(Some("OBS was asked to end its recording, and has not".to_owned()));
            self.follow_take(now);
        }
    }

    /// The socket is open.
    pub fn on_open(&mut self, now: Instant) {
        self.enter(Phase::Greeting, now);
    }

    /// The socket could not be opened.
    pub fn on_failed(&mut self, reason: &str, now: Instant) {
        self.lose(clipped(reason), now);
    }

    /// The socket was closed.
    pub fn on_closed(&mut self, code: Option<u16>, reason: &str, now: Instant) {
        match code {
            Some(AUTHENTICATION_FAILED) => self.refuse("OBS refuses the password".to_owned(), now),
            Some(UNSUPPORTED_RPC_VERSION) => {
                self.refuse("this OBS speaks another version of the protocol".to_owned(), now);
            }
            Some(SESSION_INVALIDATED) => self.refuse("OBS has ended this connection".to_owned(), now),
            _ => self.lose(format!("the connection ended: {}", clipped(reason)), now),
        }
    }

    /// A take begins, and OBS is to record it.
    pub fn record(&mut self, slate: &str, take: u32, now: Instant) {
        let name = file_name(slate, take);
        self.wanted = Some(Wanted { name, asked: None, joined: false, reported: false });
        if self.phase == Phase::Ready {
            self.follow_take(now);
        } else {
            let why = self.seen.error.clone().unwrap_or_else(|| "it is being connected".to_owned());
            self.report_problem(format!("OBS is not connected: {why}"));
        }
    }

    /// The take ends. OBS does too, if it began for it.
    pub fn stop(&mut self, now: Instant) {
        self.took = false;
        let Some(wanted) = self.wanted.take() else { return };
        let begins = wanted.asked.is_some() && !wanted.reported;
        if wanted.joined || (self.output == Output::Stopped && !begins) {
            return;
        }
        if self.phase != Phase::Ready {
            self.abandoned = Some(now);
            return;
        }
        self.ending = Some(now);
        // One that only begins is ended when it has.
        if self.output == Output::Started {
            self.ask(Purpose::Stop, now);
        }
    }

    /// The take that OBS's recording was to begin does not.
    pub fn take_failed(&mut self, reason: &str) {
        self.took = false;
        self.complain(format!("no take is begun with OBS: {reason}"));
    }

    /// A text came.
    pub fn on_text(&mut self, text: &str, now: Instant) {
        let known = match serde_json::from_str::<Message>(text) {
            Ok(message) => self.on_message(message, now).is_some(),
            Err(_) => false,
        };
        self.seen.ignored += u64::from(!known);
    }

    /// `None` for what is not understood.
    fn on_message(&mut self, message: Message, now: Instant) -> Option<()> {
        match (message.op, self.phase) {
            (0, Phase::Greeting) => {
                let hello: Hello = serde_json::from_value(message.d).ok()?;
                self.seen.version = Some(clipped(&hello.obs_web_socket_version));
                let mut identify = json!({"rpcVersion": 1, "eventSubscriptions": SUBSCRIPTIONS});
                match (hello.authentication, &self.settings.password) {
                    (Some(asked), Some(password)) => {
                        identify["authentication"] = authentication(password, &asked.challenge, &asked.salt).into();
                    }
                    (Some(_), None) => {
                        self.refuse("OBS wants a password, and none is set".to_owned(), now);
                        return Some(());
                    }
                    (None, _) => {}
                }
                self.enter(Phase::Identifying, now);
                self.send(1, &identify);
            }
            (2, Phase::Identifying) => {
                self.enter(Phase::Ready, now);
                self.backoff.stable();
                self.restore_pattern(now);
                (self.seen.state, self.seen.error) = (ObsState::Connected, None);
                self.seen.connects += 1;
                self.ask(Purpose::Status, now);
                self.ask(Purpose::Scene, now);
            }
            (5, Phase::Ready) => self.on_event(serde_json::from_value(message.d).ok()?, now)?,
            (7, Phase::Ready) => {
                let Response { request_id, outcome } = serde_json::from_value(message.d).ok()?;
                let pending = self.answered(&request_id, now)?;
                self.on_answer(&pending, outcome, now);
            }
            (9, Phase::Ready) => {
                let BatchResponse { request_id, mut results } = serde_json::from_value(message.d).ok()?;
                let pending = self.answered(&request_id, now)?;
                // The pattern as it was, ours in its place, and the beginning.
                let before = results.first().and_then(|old| text(&old.response_data, "parameterValue"));
                let is_set = results.get(1).is_some_and(|set| set.request_status.result);
                if pending.purpose == Purpose::Start && is_set && self.pattern.is_none() {
                    self.pattern = Some(before.unwrap_or_default());
                }
                self.on_answer(&pending, results.pop()?, now);
                if self.output == Output::Started {
                    self.restore_pattern(now);
                }
            }
            _ => return None,
        }
        Some(())
    }

    fn answered(&mut self, id: &str, now: Instant) -> Option<Pending> {
        let id: u64 = id.parse().ok()?;
        let pending = self.pending.remove(self.pending.iter().position(|pending| pending.id == id)?);
        if pending.purpose == Purpose::Status {
            let rtt = now.saturating_duration_since(pending.sent);
            // The shortest one holds: longer ones waited for something.
            self.seen.rtt = Some(self.seen.rtt.map_or(rtt, |before| before.min(rtt)));
        }
        Some(pending)
    }

    fn on_answer(&mut self, pending: &Pending, outcome: Outcome, now: Instant) {
        let Outcome { request_status: status, response_data: data } = outcome;
        match pending.purpose {
            Purpose::Status if status.result => {
                let is_active = data["outputActive"].as_bool().unwrap_or(false);
                let abandoned = self.abandoned.take().is_some_and(|at| now < at + ABANDONED_FOR);
                if is_active && abandoned {
                    (self.output, self.ending) = (Output::Started, Some(now));
                    self.ask(Purpose::Stop, now);
                    return;
                }
                let is_first = self.output == Output::Stopped && self.wanted.as_ref().is_none_or(|w| w.asked.is_none());
                if is_active && is_first {
                    // It recorded before we came. The time counts what is encoded, which is a little behind.
                    let recorded = data["outputDuration"].as_f64().unwrap_or(0.0).clamp(0.0, 1e9);
                    let began = now.checked_sub(Duration::from_secs_f64(recorded / 1000.0)).unwrap_or(now);
                    self.started = Some((began, Duration::from_secs(1)));
                    self.output = Output::Started;
                    self.follow_obs();
                } else if !is_active && self.output == Output::Started {
                    // It ended while we were not connected. A take that goes on is recorded from now on.
                    self.output = Output::Stopped;
                    self.ended(None);
                    if let Some(wanted) = self.wanted.as_mut().filter(|wanted| !wanted.joined) {
                        (wanted.asked, wanted.reported) = (None, false);
                    }
                }
                self.follow_take(now);
            }
            Purpose::Scene if status.result => {
                self.scene = text(&data, "currentProgramSceneName").or(self.scene.take());
            }
            Purpose::Start if status.result => {}
            Purpose::Start if status.code == OUTPUT_RUNNING && self.output != Output::Started => {
                // It still ends the one before: its event says when it has.
                if let Some(wanted) = &mut self.wanted {
                    wanted.asked = None;
                }
                self.restore_pattern(now);
                self.ask(Purpose::Status, now);
            }
            Purpose::Start => {
                self.complain(format!("OBS does not record: {}", status.in_words()));
                if let Some(wanted) = &mut self.wanted {
                    (wanted.asked, wanted.reported) = (None, true);
                }
                self.restore_pattern(now);
            }
            Purpose::Stop if status.result => {
                if let Some(path) = text(&data, "outputPath") {
                    self.add_file(path);
                }
            }
            Purpose::Stop if status.code == OUTPUT_NOT_RUNNING => {
                self.output = Output::Stopped;
                self.ended(None);
                self.follow_take(now);
            }
            Purpose::Stop => self.ended(Some(format!("OBS does not end its recording: {}", status.in_words()))),
            Purpose::Restore if status.result => {}
            Purpose::Restore => {
                self.seen.error = Some(format!("the names of OBS's files stay as set: {}", status.in_words()));
            }
            Purpose::Status | Purpose::Scene => {}
        }
    }

    /// `None` for an event of no interest.
    fn on_event(&mut self, event: Event, now: Instant) -> Option<()> {
        let data = &event.event_data;
        match event.event_type.as_str() {
            "RecordStateChanged" => {
                let path = text(data, "outputPath");
                match data["outputState"].as_str()? {
                    "OBS_WEBSOCKET_OUTPUT_STARTING" => self.output = Output::Starting,
                    "OBS_WEBSOCKET_OUTPUT_STARTED" => {
                        self.output = Output::Started;
                        self.files.clear();
                        self.seen.file.clone_from(&path);
                        if let Some(path) = path {
                            self.add_file(path);
                        }
                        let half = self.seen.rtt.unwrap_or_default() / 2;
                        self.started = Some((now.checked_sub(half).unwrap_or(now), half));
                        self.restore_pattern(now);
                        if self.ending.is_some() {
                            self.ask(Purpose::Stop, now);
                        } else {
                            self.follow_obs();
                            self.follow_take(now);
                        }
                    }
                    "OBS_WEBSOCKET_OUTPUT_STOPPING" => self.output = Output::Stopping,
                    "OBS_WEBSOCKET_OUTPUT_STOPPED" => {
                        self.output = Output::Stopped;
                        if let Some(path) = path {
                            self.add_file(path);
                        }
                        self.ended(None);
                        self.follow_take(now);
                    }
                    "OBS_WEBSOCKET_OUTPUT_PAUSED" => self.mark("OBS paused".to_owned()),
                    "OBS_WEBSOCKET_OUTPUT_RESUMED" => self.mark("OBS resumed".to_owned()),
                    _ => return None,
                }
            }
            // Where OBS splits its recording.
            "RecordFileChanged" => {
                let path = text(data, "newOutputPath")?;
                self.add_file(path);
            }
            "CurrentProgramSceneChanged" => {
                let scene = text(data, "sceneName")?;
                self.mark(format!("scene {scene}"));
                self.scene = Some(scene);
            }
            // Others of the same kinds.
            _ => {}
        }
        Some(())
    }

    /// Begins OBS's recording for a take that wants it, or joins the one that there is.
    fn follow_take(&mut self, now: Instant) {
        let Some(wanted) = &mut self.wanted else { return };
        // What still ends is not this take's.
        if wanted.reported || self.ending.is_some() {
            return;
        }
        match self.output {
            Output::Started => {
                wanted.reported = true;
                wanted.joined = wanted.asked.is_none();
                let problem = (wanted.joined && !self.took).then(|| "OBS was recording already".to_owned());
                let (began, within) = self.started.unwrap_or((now, Duration::ZERO));
                let within_ns = u64::try_from(within.as_nanos()).ok();
                let mut recording = ObsRecording::new(true);
                (recording.within_ns, recording.problem) = (within_ns, problem);
                self.actions.push_back(Action::Report(recording, Some(began)));
                if let Some(scene) = self.scene.clone() {
                    self.mark(format!("scene {scene}"));
                }
                self.seen.error = None;
            }
            Output::Stopped if wanted.asked.is_none() => {
                wanted.asked = Some(now);
                let name = wanted.name.clone();
                self.begin(&name, now);
            }
            // It begins already, or still ends what was before.
            _ => {}
        }
    }

    /// A recording that was begun in OBS begins a take.
    fn follow_obs(&mut self) {
        if self.settings.starts_takes && self.wanted.is_none() && !self.took {
            self.took = true;
            self.actions.push_back(Action::StartTake);
        }
    }

    fn begin(&mut self, name: &str, now: Instant) {
        if !self.settings.names_files {
            self.ask(Purpose::Start, now);
            return;
        }
        let id = self.pend(Purpose::Start, now);
        let named = json!({"parameterCategory": CATEGORY, "parameterName": PATTERN});
        let set = json!({"parameterCategory": CATEGORY, "parameterName": PATTERN, "parameterValue": name});
        // One message: what comes in several may be done in another order.
        self.send(
            8,
            &json!({"requestId": id.to_string(), "haltOnFailure": false, "executionType": 0, "requests": [
                {"requestType": "GetProfileParameter", "requestData": named},
                {"requestType": "SetProfileParameter", "requestData": set},
                {"requestType": "StartRecord"},
            ]}),
        );
    }

    /// Gives OBS the pattern back that it had. Once it records, the name of its file is settled.
    fn restore_pattern(&mut self, now: Instant) {
        if self.phase == Phase::Ready && self.pattern.is_some() {
            self.ask(Purpose::Restore, now);
        }
    }

    /// OBS's recording has ended, or is given up.
    fn ended(&mut self, problem: Option<String>) {
        self.ending = None;
        self.seen.file = self.files.last().cloned().or(self.seen.file.take());
        let was_reported = self.wanted.as_ref().is_none_or(|wanted| wanted.reported);
        if was_reported && (self.started.is_some() || problem.is_some()) {
            let early = self.wanted.as_ref().is_some_and(|wanted| !wanted.joined) && problem.is_none();
            let mut recording = ObsRecording::new(false);
            recording.files = std::mem::take(&mut self.files);
            recording.problem = problem.or_else(|| early.then(|| "OBS ended its recording before the take".to_owned()));
            self.seen.error.clone_from(&recording.problem);
            self.actions.push_back(Action::Report(recording, None));
        }
        self.started = None;
        if self.took {
            self.took = false;
            self.actions.push_back(Action::StopTake);
        }
    }

    fn add_file(&mut self, path: String) {
        if self.files.last() != Some(&path) && self.files.len() < MAX_FILES {
            self.files.push(path);
        }
    }

    fn mark(&mut self, words: String) {
        self.actions.push_back(Action::Mark(words));
    }

    /// What failed is shown, and in the take.
    fn complain(&mut self, problem: String) {
        self.seen.failures += 1;
        self.seen.error = Some(problem.clone());
        self.report_problem(problem);
    }

    fn report_problem(&mut self, problem: String) {
        let mut recording = ObsRecording::new(false);
        recording.problem = Some(problem);
        self.actions.push_back(Action::Report(recording, None));
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since) = (phase, now);
    }

    /// The connection is gone; it is opened again.
    fn lose(&mut self, reason: String, now: Instant) {
        self.backoff.failed(now);
        self.drop_connection(reason, ObsState::Connecting, now);
    }

    /// OBS does not want us as we are.
    fn refuse(&mut self, reason: String, now: Instant) {
        self.backoff.reset(now + REFUSED_FOR);
        self.drop_connection(reason, ObsState::Refused, now);
    }

    fn drop_connection(&mut self, reason: String, state: ObsState, now: Instant) {
        let was_ready = self.phase == Phase::Ready;
        self.enter(Phase::Waiting, now);
        self.pending.clear();
        self.seen.rtt = None;
        self.seen.state = state;
        self.seen.failures += 1;
        if was_ready && (self.wanted.is_some() || self.ending.is_some()) {
            self.report_problem(reason.clone());
        }
        self.seen.error = Some(reason);
        // Whether it still records is seen when it is back; then a take that goes on asks anew.
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| !wanted.reported) {
            wanted.asked = None;
        }
        if self.output != Output::Started {
            self.output = Output::Stopped;
        }
        if self.ending.take().is_some() {
            self.abandoned = Some(now);
        }
        self.actions.push_back(Action::Hangup);
    }

    /// A number for a request, which waits for its answer.
    fn pend(&mut self, purpose: Purpose, now: Instant) -> u64 {
        self.next_id += 1;
        if self.pending.len() >= MAX_PENDING {
            self.pending.remove(0);
        }
        self.pending.push(Pending { id: self.next_id, purpose, sent: now });
        self.next_id
    }

    fn ask(&mut self, purpose: Purpose, now: Instant) {
        let (kind, data) = match purpose {
            Purpose::Status => ("GetRecordStatus", None),
            Purpose::Scene => ("GetCurrentProgramScene", None),
            Purpose::Start => ("StartRecord", None),
            Purpose::Stop => ("StopRecord", None),
            Purpose::Restore => {
                let Some(pattern) = self.pattern.take() else { return };
                // `null` is OBS's own.
                let value = if pattern.is_empty() { Value::Null } else { pattern.into() };
                let set = json!({"parameterCategory": CATEGORY, "parameterName": PATTERN, "parameterValue": value});
                ("SetProfileParameter", Some(set))
            }
        };
        if purpose == Purpose::Status {
            self.asked_status = now;
        }
        let id = self.pend(purpose, now);
        let mut request = json!({"requestType": kind, "requestId": id.to_string()});
        if let Some(data) = data {
            request["requestData"] = data;
        }
        self.send(6, &request);
    }

    fn send(&mut self, op: u8, data: &Value) {
        self.actions.push_back(Action::Send(json!({"op": op, "d": data}).to_string()));
    }
}

/// A text of OBS's that is not empty.
fn text(data: &Value, field: &str) -> Option<String> {
    data[field].as_str().map(clipped).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
