//! The client of OBS, in virtual time: what goes in, and what comes out.

use super::*;

/// What happens, in the words of the tables below.
#[derive(Clone, Copy, Debug)]
enum In<'a> {
    Open,
    Failed(&'a str),
    Closed(u16),
    /// OBS's greeting, with a challenge or without one.
    Hello(bool),
    Identified,
    /// The answer to the oldest request that has none: status code, and data.
    Answer(u16, &'a str),
    /// The answer to the oldest batch, by the code of its last request.
    Batch(u16),
    /// A state of OBS's recording, and its file.
    State(&'a str, &'a str),
    Event(&'a str, &'a str),
    Text(&'a str),
    Record(&'a str, u32),
    Stop,
    /// Milliseconds pass.
    Wait(u64),
}

use In::*;

/// A machine, its clock, and the requests that wait for answers.
struct Rig {
    machine: Machine,
    now: Instant,
    start: Instant,
    /// Numbers of requests; of a batch with `true`.
    asked: VecDeque<(String, bool)>,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        let now = Instant::now();
        Self { machine: Machine::new(settings, 7, now), now, start: now, asked: VecDeque::new() }
    }

    fn message(&mut self, op: u8, d: &Value) {
        self.machine.on_text(&json!({"op": op, "d": d}).to_string(), self.now);
    }

    fn put(&mut self, input: In<'_>) -> Vec<String> {
        let now = self.now;
        match input {
            Open => self.machine.on_open(now),
            Failed(reason) => self.machine.on_failed(reason, now),
            Closed(code) => self.machine.on_closed(Some(code), "closed", now),
            Hello(asks) => {
                let mut hello = json!({"obsWebSocketVersion": "5.1.0", "rpcVersion": 1});
                if asks {
                    hello["authentication"] = json!({
                        "challenge": "+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=",
                        "salt": "lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI=",
                    });
                }
                self.message(0, &hello);
            }
            Identified => self.message(2, &json!({"negotiatedRpcVersion": 1})),
            Answer(code, data) => {
                let (id, is_batch) = self.asked.pop_front().expect("a request waits");
                assert!(!is_batch);
                let data: Value = serde_json::from_str(data).expect("JSON");
                let status = json!({"result": code == 100, "code": code});
                self.message(7, &json!({"requestId": id, "requestStatus": status, "responseData": data}));
            }
            Batch(code) => {
                let (id, is_batch) = self.asked.pop_front().expect("a request waits");
                assert!(is_batch);
                let good = json!({"result": true, "code": 100});
                let old = json!({"requestStatus": good, "responseData": {"parameterValue": "%CCYY"}});
                let last = json!({"requestStatus": {"result": code == 100, "code": code, "comment": "why"}});
                self.message(9, &json!({"requestId": id, "results": [old, {"requestStatus": good}, last]}));
            }
            State(state, path) => {
                let path = if path.is_empty() { Value::Null } else { path.into() };
                let data = json!({"outputState": format!("OBS_WEBSOCKET_OUTPUT_{state}"), "outputPath": path});
                self.message(5, &json!({"eventType": "RecordStateChanged", "eventIntent": 64, "eventData": data}));
            }
            Event(kind, data) => {
                let data: Value = serde_json::from_str(data).expect("JSON");
                self.message(5, &json!({"eventType": kind, "eventIntent": 4, "eventData": data}));
            }
            Text(text) => self.machine.on_text(text, now),
            Record(slate, take) => self.machine.record(slate, take, now),
            Stop => self.machine.stop(now),
            Wait(ms) => self.now += Duration::from_millis(ms),
        }
        self.machine.on_time(self.now);
        let mut done = Vec::new();
        while let Some(action) = self.machine.next_action() {
            done.push(self.describe(action));
        }
        done
    }

    fn describe(&mut self, action: Action) -> String {
        match action {
            Action::Dial => "dial".to_owned(),
            Action::Hangup => {
                self.asked.clear();
                "hangup".to_owned()
            }
            Action::Mark(words) => format!("mark {words}"),
            Action::StartTake => "start take".to_owned(),
            Action::StopTake => "stop take".to_owned(),
            Action::Report(recording, started) => {
                let at = started.map(|at| format!("at {}", at.saturating_duration_since(self.start).as_millis()));
                let files = recording.files.join("+");
                let problem = recording.problem.map(|problem| format!("({problem})")).unwrap_or_default();
                let does = if recording.recording { "records" } else { "ended" };
                let parts = [does, at.as_deref().unwrap_or_default(), &files, &problem];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
            }
            Action::Send(text) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                let d = &message["d"];
                if let Some(id) = d["requestId"].as_str() {
                    self.asked.push_back((id.to_owned(), message["op"] == 8));
                }
                let named = |request: &Value| match request["requestData"]["parameterValue"].as_str() {
                    Some(value) => format!("{}={value}", request["requestType"].as_str().unwrap_or("?")),
                    None => request["requestType"].as_str().unwrap_or("?").to_owned(),
                };
                match message["op"].as_u64() {
                    Some(1) => format!("identify {}", d["authentication"].as_str().unwrap_or("-")),
                    Some(8) => d["requests"].as_array().into_iter().flatten().map(named).collect::<Vec<_>>().join(", "),
                    _ => named(d),
                }
            }
        }
    }

    /// Puts the inputs in, each with what has to come of it.
    fn run(&mut self, name: &str, rows: &[(In<'_>, &[&str])]) {
        for (index, (input, wanted)) in rows.iter().enumerate() {
            assert_eq!(self.put(*input), *wanted, "{name}, row {index}: {input:?}");
        }
    }

    /// With a connection that is ready, and OBS idle.
    fn ready(settings: Settings) -> Self {
        let mut rig = Self::new(settings);
        rig.run("ready", READY);
        rig
    }
}

const IDLE: &str = r#"{"outputActive": false, "outputDuration": 0}"#;
const ACTIVE: &str = r#"{"outputActive": true, "outputDuration": 2000}"#;
const SCENE: &str = r#"{"currentProgramSceneName": "Desk"}"#;
const READY: &[(In<'_>, &[&str])] = &[
    (Wait(0), &["dial"]),
    (Open, &[]),
    (Hello(false), &["identify -"]),
    (Identified, &["GetRecordStatus", "GetCurrentProgramScene"]),
    (Wait(8), &[]),
    (Answer(100, IDLE), &[]),
    (Answer(100, SCENE), &[]),
];

fn plain() -> Settings {
    Settings { password: None, starts_takes: false, names_files: false }
}

#[test]
fn obs_authentication_is_the_protocols() {
    // The example of the protocol's documentation; its answer by sha256sum and base64.
    let answer = authentication(
        "supersecretpassword",
        "+IxH4CnCiqpX1rM9scsNynZzbOe4KhDeYcTNS3PDaeY=",
        "lM1GncleQOaCu9lT1yeUZhFYnqhsLLP1G5lAGo3ixaI=",
    );
    assert_eq!(answer, "1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4=");
}

#[test]
fn obs_password_is_shown_or_its_lack_is_said() {
    let mut rig = Rig::new(Settings { password: Some("supersecretpassword".to_owned()), ..plain() });
    rig.run(
        "password",
        &[
            (Wait(0), &["dial"]),
            (Open, &[]),
            (Hello(true), &["identify 1Ct943GAT+6YQUUX47Ia/ncufilbe6+oD6lY+5kaCu4="]),
            (Closed(AUTHENTICATION_FAILED), &["hangup"]),
            (Wait(9_999), &[]),
            (Wait(1), &["dial"]),
        ],
    );
    assert_eq!((rig.machine.seen.state, rig.machine.seen.failures), (ObsState::Connecting, 1));
    let mut rig = Rig::new(plain());
    rig.run("none", &[(Wait(0), &["dial"]), (Open, &[]), (Hello(true), &["hangup"])]);
    assert_eq!(rig.machine.seen.state, ObsState::Refused);
    assert!(rig.machine.seen.error.as_deref().is_some_and(|error| error.contains("password")));
}

#[test]
fn obs_records_with_a_take() {
    let row: &[(&str, Settings, &[(In<'_>, &[&str])])] = &[
        (
            "with a name",
            Settings { names_files: true, ..plain() },
            &[
                (Event("CurrentProgramSceneChanged", r#"{"sceneName": "Close"}"#), &["mark scene Close"]),
                (Record("scene 7/%A", 3), &["GetProfileParameter, SetProfileParameter=scene 7__A_003, StartRecord"]),
                (Batch(100), &[]),
                (State("STARTING", ""), &[]),
                (Wait(20), &[]),
                // Half a round trip of 8 ms before.
                (State("STARTED", "/v/a.mkv"), &["SetProfileParameter=%CCYY", "records at 24", "mark scene Close"]),
                (Answer(100, "null"), &[]),
                (Event("RecordFileChanged", r#"{"newOutputPath": "/v/b.mkv"}"#), &[]),
                (Stop, &["StopRecord"]),
                (Answer(100, r#"{"outputPath": "/v/b.mkv"}"#), &[]),
                (State("STOPPING", ""), &[]),
                (State("STOPPED", "/v/b.mkv"), &["ended /v/a.mkv+/v/b.mkv"]),
            ],
        ),
        (
            "the answer after the start",
            Settings { names_files: true, ..plain() },
            &[
                (Record("a", 1), &["GetProfileParameter, SetProfileParameter=a_001, StartRecord"]),
                (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
                (Batch(100), &["SetProfileParameter=%CCYY"]),
            ],
        ),
        (
            "OBS refuses",
            Settings { names_files: true, ..plain() },
            &[
                (Record("a", 1), &["GetProfileParameter, SetProfileParameter=a_001, StartRecord"]),
                (Batch(207), &["ended (OBS does not record: why (code 207))", "SetProfileParameter=%CCYY"]),
                (Stop, &[]),
            ],
        ),
        (
            "OBS does not begin",
            plain(),
            &[
                (Record("a", 1), &["StartRecord"]),
                (Answer(100, "null"), &[]),
                (Wait(5_000), &["GetRecordStatus", "ended (OBS was asked to record, and did not begin)"]),
                (Answer(100, IDLE), &[]),
                (Stop, &[]),
            ],
        ),
        (
            "OBS ends by itself",
            plain(),
            &[
                (Record("a", 1), &["StartRecord"]),
                (Answer(100, "null"), &[]),
                (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
                (State("PAUSED", ""), &["mark OBS paused"]),
                (State("RESUMED", ""), &["mark OBS resumed"]),
                (State("STOPPED", "/v/a.mkv"), &["ended /v/a.mkv (OBS ended its recording before the take)"]),
                (Stop, &[]),
            ],
        ),
        (
            "OBS records already: it is left to it",
            plain(),
            &[
                (State("STARTED", "/v/hand.mkv"), &[]),
                (Record("a", 1), &["records at 4 (OBS was recording already)", "mark scene Desk"]),
                (Stop, &[]),
                (State("STOPPED", "/v/hand.mkv"), &["ended /v/hand.mkv"]),
            ],
        ),
        (
            "the next take while the file of the one before is ended",
            plain(),
            &[
                (Record("a", 1), &["StartRecord"]),
                (Answer(100, "null"), &[]),
                (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
                (Stop, &["StopRecord"]),
                (Record("a", 2), &[]),
                (Answer(100, r#"{"outputPath": "/v/a.mkv"}"#), &[]),
                (State("STOPPING", ""), &[]),
                (State("STOPPED", "/v/a.mkv"), &["StartRecord"]),
                (Answer(100, "null"), &[]),
                (State("STARTED", "/v/b.mkv"), &["records at 4", "mark scene Desk"]),
            ],
        ),
        (
            "a take that ends before OBS has begun",
            plain(),
            &[
                (Record("a", 1), &["StartRecord"]),
                (Stop, &[]),
                (Answer(100, "null"), &[]),
                (State("STARTED", "/v/a.mkv"), &["StopRecord"]),
                (Answer(100, r#"{"outputPath": "/v/a.mkv"}"#), &[]),
                (State("STOPPED", "/v/a.mkv"), &["ended /v/a.mkv"]),
            ],
        ),
        (
            "a file that is not ended",
            plain(),
            &[
                (Record("a", 1), &["StartRecord"]),
                (Answer(100, "null"), &[]),
                (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
                (Stop, &["StopRecord"]),
                (Answer(100, r#"{"outputPath": "/v/a.mkv"}"#), &[]),
                (Wait(5_000), &["GetRecordStatus", "ended /v/a.mkv (OBS was asked to end its recording, and has not)"]),
            ],
        ),
    ];
    for (name, settings, rows) in row {
        let mut rig = Rig::ready(settings.clone());
        rig.run(name, rows);
        assert!(!rig.machine.is_ending(), "{name}");
    }
}

#[test]
fn obs_recording_begun_by_hand_begins_a_take() {
    let mut rig = Rig::ready(Settings { starts_takes: true, ..plain() });
    rig.run(
        "by hand",
        &[
            (State("STARTED", "/v/hand.mkv"), &["start take"]),
            (Record("take", 1), &["records at 4", "mark scene Desk"]),
            (State("STOPPED", "/v/hand.mkv"), &["ended /v/hand.mkv", "stop take"]),
            (Stop, &[]),
            // A take of ours begins OBS, and no other take.
            (Record("take", 2), &["StartRecord"]),
            (Answer(100, "null"), &[]),
            (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
            (Stop, &["StopRecord"]),
            (State("STOPPED", "/v/a.mkv"), &["ended /v/a.mkv"]),
        ],
    );
    // One that runs already when it is connected.
    let mut rig = Rig::new(Settings { starts_takes: true, ..plain() });
    rig.run("connects", &READY[..4]);
    rig.run("runs", &[(Wait(3_000), &[]), (Answer(100, ACTIVE), &["start take"])]);
    rig.run("its start by what it has", &[(Record("take", 1), &["records at 1000"])]);
    rig.machine.take_failed("no room");
    assert!(rig.machine.seen.error.as_deref().is_some_and(|error| error.contains("no room")));
}

#[test]
fn obs_connection_that_breaks_off_is_opened_again() {
    let mut rig = Rig::ready(plain());
    rig.run(
        "gone while it records",
        &[
            (Record("a", 1), &["StartRecord"]),
            (Answer(100, "null"), &[]),
            (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
            (Closed(1006), &["ended (the connection ended: closed)", "hangup"]),
            (Wait(200), &["dial"]),
            (Failed("Connection refused"), &["hangup"]),
        ],
    );
    assert!(rig.machine.seen.error.as_deref().is_some_and(|error| error.contains("Connection refused")));
    rig.run(
        "it still records",
        &[
            (Wait(3_000), &["dial"]),
            (Open, &[]),
            (Hello(false), &["identify -"]),
            (Identified, &["GetRecordStatus", "GetCurrentProgramScene"]),
            (Answer(100, ACTIVE), &[]),
            (Answer(100, SCENE), &[]),
            // Silent: the network is gone without a word.
            (Wait(5_000), &["GetRecordStatus"]),
            (Wait(5_000), &["ended (OBS does not answer)", "hangup"]),
            (Stop, &[]),
            (Wait(3_000), &["dial"]),
            (Open, &[]),
            (Hello(false), &["identify -"]),
            (Identified, &["GetRecordStatus", "GetCurrentProgramScene"]),
            // The take has ended since.
            (Answer(100, ACTIVE), &["StopRecord"]),
            (Answer(100, SCENE), &[]),
            (Answer(100, r#"{"outputPath": "/v/a.mkv"}"#), &[]),
            (State("STOPPED", "/v/a.mkv"), &["ended /v/a.mkv"]),
        ],
    );
    let mut rig = Rig::ready(plain());
    rig.run(
        "OBS was started anew",
        &[
            (Record("a", 1), &["StartRecord"]),
            (Answer(100, "null"), &[]),
            (State("STARTED", "/v/a.mkv"), &["records at 4", "mark scene Desk"]),
            (Closed(1006), &["ended (the connection ended: closed)", "hangup"]),
            (Wait(200), &["dial"]),
            (Open, &[]),
            (Hello(false), &["identify -"]),
            (Identified, &["GetRecordStatus", "GetCurrentProgramScene"]),
            (Answer(100, IDLE), &["ended /v/a.mkv (OBS ended its recording before the take)", "StartRecord"]),
            (Answer(100, SCENE), &[]),
            (Answer(100, "null"), &[]),
            (State("STARTED", "/v/b.mkv"), &["records at 208", "mark scene Desk"]),
        ],
    );
    let mut rig = Rig::new(plain());
    rig.run(
        "a take before OBS is there",
        &[
            (Wait(0), &["dial"]),
            (Record("a", 1), &["ended (OBS is not connected: it is being connected)"]),
            (Wait(5_000), &["hangup"]),
            (Wait(200), &["dial"]),
            (Open, &[]),
            (Hello(false), &["identify -"]),
            (Identified, &["GetRecordStatus", "GetCurrentProgramScene"]),
            (Answer(100, IDLE), &["StartRecord"]),
        ],
    );
    assert_eq!(rig.machine.seen.connects, 1);
}

#[test]
fn obs_messages_that_are_none_change_nothing() {
    let mut rig = Rig::ready(plain());
    let wrong = [
        "",
        "{",
        "[]",
        "7",
        r#"{"op": 5}"#,
        r#"{"op": 5, "d": 3}"#,
        r#"{"op": 99, "d": {}}"#,
        r#"{"op": -1}"#,
        r#"{"op": 7, "d": {"requestId": "1"}}"#,
        r#"{"op": 9, "d": {"requestId": "1", "results": []}}"#,
        r#"{"op": 7, "d": {"requestId": "99", "requestStatus": {"result": true, "code": 100}}}"#,
        r#"{"op": 5, "d": {"eventType": "RecordStateChanged", "eventData": {"outputState": 3}}}"#,
        r#"{"op": 5, "d": {"eventType": "RecordStateChanged", "eventData": [1]}}"#,
        r#"{"op": 5, "d": {"eventType": "CurrentProgramSceneChanged", "eventData": null}}"#,
    ];
    for text in wrong {
        rig.run(text, &[(Text(text), &[])]);
    }
    assert_eq!(rig.machine.seen.ignored, wrong.len() as u64);
    let deep = "[".repeat(100_000);
    rig.run("deep", &[(Text(&deep), &[])]);
    let long = format!(r#"{{"sceneName": "{}"}}"#, "ä".repeat(10_000));
    let marked = rig.put(Event("CurrentProgramSceneChanged", &long));
    assert!(marked[0].len() <= MAX_TEXT + 16);
    // Random messages of the right shape, in any order.
    let mut random = fastrand::Rng::with_seed(5);
    for _ in 0..20_000 {
        let code = [100, 207, 500, 501][random.usize(..4)];
        let state = ["STARTING", "STARTED", "STOPPING", "STOPPED", "PAUSED"][random.usize(..5)];
        let input = match random.u8(..12) {
            0 => Open,
            1 => Failed("no"),
            2 if random.u8(..8) == 0 => Closed([1000, 4009, 4010][random.usize(..3)]),
            3 => Hello(random.bool()),
            4 => Identified,
            5 | 6 => State(state, if random.bool() { "/v/a.mkv" } else { "" }),
            7 => Record("a", random.u32(1..9)),
            8 => Stop,
            9 => Wait(random.u64(..6_000)),
            _ => match rig.asked.front() {
                Some((_, true)) => Batch(code),
                Some((_, false)) => Answer(code, if random.bool() { ACTIVE } else { IDLE }),
                None => Wait(1),
            },
        };
        rig.put(input);
        assert!(rig.machine.pending.len() <= MAX_PENDING && rig.machine.files.len() <= MAX_FILES);
    }
}

#[test]
fn obs_file_names_leave_no_folder() {
    for (slate, name) in
        [("scene 7", "scene 7_003"), ("../../etc", "______etc_003"), ("%CCYY", "_CCYY_003"), ("Straße ", "Straße_003")]
    {
        assert_eq!(file_name(slate, 3), name);
    }
    assert!(file_name(&"ä".repeat(500), 1).len() <= MAX_NAME + 4);
}
