//! The real parts that the tests are made of, each started for one test and ended with it.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Read},
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// More than anything takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Whether a program is there; where it is not, the reason to skip is printed, and CI fails.
pub fn have(program: &str, arguments: &[&str], package: &str) -> bool {
    let out = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let found = out.is_ok_and(|out| out.status.success());
    if !found {
        missing(&format!("{program} {} fails (apt-get install {package})", arguments.join(" ")));
    }
    found
}

/// Prints why a test is skipped. In CI that is a failure.
pub fn missing(reason: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Runs Python with the packages that read takes and what they are exported to; `None` where these modules are missing.
pub fn take_readers(modules: &str) -> Option<impl Fn() -> Command> {
    let home = || std::env::home_dir().map(|home| home.join(".cache/facelink/take-readers"));
    let packages = std::env::var_os("FACELINK_TAKE_READERS").map(PathBuf::from).or_else(home).unwrap_or_default();
    let python = std::env::var("FACELINK_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let command = move || {
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", &packages);
        command
    };
    let imports = format!("import {modules}");
    if !command().args(["-c", &imports]).output().is_ok_and(|out| out.status.success()) {
        missing(&format!("`{:?} -c '{imports}'` fails (.ci/take-readers fetches them)", command().get_program()));
        return None;
    }
    Some(command)
}

static MEASURING: RwLock<()> = RwLock::new(());

/// Held by a test that measures times: no other test runs at the same time.
pub fn quiet() -> RwLockWriteGuard<'static, ()> {
    MEASURING.write().unwrap_or_else(|failed| failed.into_inner())
}

/// Held by every other test.
pub fn noisy() -> RwLockReadGuard<'static, ()> {
    MEASURING.read().unwrap_or_else(|failed| failed.into_inner())
}

/// A file of the repository.
pub fn file(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A program that ends with the test. Its output is kept, for the message of a failure.
pub struct Process {
    child: Child,
    name: String,
    said: Arc<Mutex<String>>,
    lines: Receiver<(Instant, String)>,
}

impl Process {
    pub fn start(mut command: Command, name: &str) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env_remove("RUST_LOG")
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("piped");
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                // Keeps reading without a receiver, so that the program never waits on a full pipe.
                let _ = sender.send((Instant::now(), line));
            }
        });
        let mut err = child.stderr.take().expect("piped");
        let heard = said.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = err.read(&mut chunk) {
                heard.lock().expect("no panic").push_str(&String::from_utf8_lossy(&chunk[..length]));
            }
        });
        Self { child, name: name.to_owned(), said, lines }
    }

    /// What it wrote to its standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    /// The next line of its output, and when it came.
    pub fn line(&self, end: Instant) -> (Instant, String) {
        match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} says nothing within the time limit; it said: {}", self.name, self.said())
            }
            Err(RecvTimeoutError::Disconnected) => panic!("{} has ended: {}", self.name, self.said()),
        }
    }

    /// The next line that `wanted` can read.
    pub fn find<T>(&self, mut wanted: impl FnMut(&str) -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = wanted(&self.line(end).1) {
                return found;
            }
        }
    }

    /// Whether it prints such a line in this time, and does not end before.
    pub fn says_within(&self, limit: Duration, wanted: impl Fn(&str) -> bool) -> bool {
        let end = Instant::now() + limit;
        while let Ok((_, line)) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if wanted(&line) {
                return true;
            }
        }
        false
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for its exit.
    pub fn end(mut self) {
        let end = Instant::now() + LIMIT;
        loop {
            match self.child.try_wait().expect("a child of ours") {
                Some(status) => return assert!(status.success(), "{}: {status}: {}", self.name, self.said()),
                None if Instant::now() > end => panic!("{} does not end: {}", self.name, self.said()),
                None => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A frame as `facelink listen --json` printed it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub at: Instant,
    pub subject: String,
    pub source: String,
    pub frame: u64,
    pub blendshapes: Value,
}

impl Frame {
    fn read(at: Instant, event: &Value) -> Self {
        let text = |of: &str| event[of].as_str().expect("text").to_owned();
        Self {
            at,
            subject: text("subject"),
            source: text("source"),
            frame: event["frame"].as_u64().expect("a number"),
            blendshapes: event["blendshapes"].clone(),
        }
    }

    pub fn jaw(&self) -> f64 {
        self.blendshapes["jawOpen"].as_f64().unwrap_or(f64::NAN)
    }
}

/// A running `facelink listen --json`.
pub struct Listener {
    process: Process,
    pub http: SocketAddr,
    pub udp_json: Option<SocketAddr>,
    pub live_link_face: Option<SocketAddr>,
    pub invitation: String,
    phones: Value,
    seen: Mutex<HashSet<String>>,
}

impl Listener {
    pub fn start(extra: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_facelink"));
        command.args(["listen", "--json", "--port", "0", "--live-link-face", "off", "--udp-json", "off"]).args(extra);
        Self::of(Process::start(command, "facelink listen"))
    }

    /// The same of a process that was started another way, such as in another network.
    pub fn of(process: Process) -> Self {
        let listening: Value = process.find(|line| serde_json::from_str(line).ok());
        assert_eq!(listening["event"], "listening");
        let address = |of: &str| listening[of].as_str().map(|text| text.parse().expect("an address"));
        Self {
            http: address("http").expect("always there"),
            udp_json: address("udp_json"),
            live_link_face: address("live_link_face"),
            invitation: listening["invitation"].as_str().expect("always there").to_owned(),
            phones: listening["phones"].clone(),
            process,
            seen: Mutex::default(),
        }
    }

    /// Where it listens for a phone app.
    pub fn phone(&self, app: &str) -> SocketAddr {
        self.phones[app].as_str().and_then(|address| address.parse().ok()).expect("it was asked for")
    }

    /// What it wrote to its standard error so far.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// The next event of any kind.
    fn event(&self, end: Instant) -> (Instant, Value) {
        let (at, line) = self.process.line(end);
        let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if event["event"] == "subject_appeared" {
            let name = event["subject"].as_str().expect("text").to_owned();
            self.seen.lock().expect("no panic").insert(name);
        }
        (at, event)
    }

    /// The next frame; every event before it must be one of an undisturbed connection.
    pub fn frame(&self) -> Frame {
        let end = Instant::now() + LIMIT;
        loop {
            let (at, event) = self.event(end);
            match event["event"].as_str() {
                Some("frame") => return Frame::read(at, &event),
                Some("subject_lost") => panic!("{event}"),
                _ => {}
            }
        }
    }

    /// The next frame that came by this transport.
    pub fn frame_by(&self, source: &str) -> Frame {
        let end = Instant::now() + LIMIT;
        loop {
            let frame = self.frame();
            if frame.source == source {
                return frame;
            }
            assert!(Instant::now() < end, "frames come by {} and never by {source}: {}", frame.source, self.said());
        }
    }

    /// The next frame of this face, whatever else happens.
    pub fn frame_of(&self, subject: &str) -> Frame {
        let end = Instant::now() + LIMIT;
        loop {
            let (at, event) = self.event(end);
            if event["event"] == "frame" && event["subject"] == subject {
                return Frame::read(at, &event);
            }
            assert!(Instant::now() < end, "{subject} is never there");
        }
    }

    /// Why the next connection that ends has ended.
    pub fn disconnected(&self) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            let (_, event) = self.event(end);
            if event["event"] == "disconnected" {
                return event["reason"].as_str().expect("text").to_owned();
            }
        }
    }

    /// Whether a face of this name has been there.
    pub fn has_seen(&self, subject: &str) -> bool {
        self.seen.lock().expect("no panic").contains(subject)
    }

    pub fn get(&self, path: &str) -> Value {
        let mut response = ureq::get(format!("http://{}{path}", self.http)).call().expect("it answers");
        response.body_mut().read_json().expect("JSON")
    }

    /// The only connection with a face, as soon as its route is known.
    pub fn connection(&self, subject: &str) -> Value {
        let end = Instant::now() + LIMIT;
        loop {
            let stats = self.get("/api/v1/stats");
            assert_eq!(stats["subjects"], 1, "{stats}");
            let connections = stats["connections"].as_array().expect("a list");
            let mut ours = connections.iter().filter(|connection| connection["subject"] == subject);
            if let (Some(only), None) = (ours.next(), ours.next())
                && only["route"].is_string()
            {
                return only.clone();
            }
            assert!(Instant::now() < end, "no route is reported: {stats}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A TURN server of the Debian package.
pub struct Coturn {
    process: Process,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

pub const USER: &str = "ann";
pub const PASSWORD: &str = "secret";

impl Coturn {
    /// `None` where there is none.
    pub fn start() -> Option<Self> {
        // Its own version option ends with a failure, so its being there has to do.
        if !have("sh", &["-c", "command -v turnserver"], "coturn") {
            return None;
        }
        // Between our giving the port back and its taking it, another process may: then another one.
        for _ in 0..10 {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
            let address = udp.local_addr().expect("an address");
            let Ok(tcp) = TcpListener::bind(address) else { continue };
            drop((udp, tcp));
            let directory = tempfile::tempdir().expect("a directory");
            let mut command = Command::new("turnserver");
            command
                .args(["-n", "--no-cli", "--no-tls", "--no-dtls", "--allow-loopback-peers", "--lt-cred-mech"])
                .args(["--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--realm", "facelink"])
                .args(["--user", &format!("{USER}:{PASSWORD}"), "--log-file", "stdout"])
                .args(["--listening-port", &address.port().to_string()])
                .arg("--pidfile")
                .arg(directory.path().join("pid"))
                .arg("--userdb")
                .arg(directory.path().join("db"))
                .current_dir(directory.path());
            let process = Process::start(command, "turnserver");
            let mut coturn = Self { process, address, _directory: directory };
            if coturn.answers() {
                return Some(coturn);
            }
        }
        panic!("coturn does not start")
    }

    /// Whether it answers a STUN binding request before it ends.
    fn answers(&mut self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("settable");
        let mut request = [0; 20];
        request[1] = 1;
        request[4..8].copy_from_slice(&0x2112_a442_u32.to_be_bytes());
        request[8..].copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..12]);
        let end = Instant::now() + LIMIT;
        while !self.process.has_ended() && Instant::now() < end {
            let _ = socket.send_to(&request, self.address);
            let mut answer = [0; 256];
            if let Ok((length @ 20.., from)) = socket.recv_from(&mut answer)
                && from == self.address
                && answer[..2] == [1, 1]
                && answer[8..20] == request[8..20]
                && length <= answer.len()
            {
                return true;
            }
        }
        false
    }

    pub fn url(&self, transport: &str) -> String {
        format!("turn:{}?transport={transport}", self.address)
    }

    pub fn stun(&self) -> String {
        format!("stun:{}", self.address)
    }

    /// As `--ice-server` takes it.
    pub fn flag(&self, transport: &str) -> String {
        format!("{},{USER},{PASSWORD}", self.url(transport))
    }
}

/// A Chromium, led by the WebDriver protocol (<https://www.w3.org/TR/webdriver2/>).
pub struct Browser {
    _driver: Process,
    base: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Whether there is a Chromium.
    pub fn exists() -> bool {
        have("chromium", &["--version"], "chromium") && have("chromedriver", &["--version"], "chromium-driver")
    }

    /// A page of the listener's; `None` where there is no Chromium.
    pub fn open(listener: &Listener) -> Option<Self> {
        Self::exists().then(|| Self::start(Command::new("chromedriver"), "127.0.0.1", listener))
    }

    /// By this command, which makes chromedriver listen at `host`.
    pub fn start(mut command: Command, host: &str, listener: &Listener) -> Self {
        command.arg("--port=0");
        let driver = Process::start(command, "chromedriver");
        let port: u16 =
            driver.find(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok());
        let profile = tempfile::tempdir().expect("a folder");
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", format!("--user-data-dir={}", profile.path().display()),
        ]}}}});
        let base = format!("http://{host}:{port}/session");
        let mut browser = Self { _driver: driver, base, _profile: profile };
        let session = browser.post("", &capabilities);
        let id = session["sessionId"].as_str().expect("a session");
        browser.base = format!("{}/{id}", browser.base);
        browser.post("/timeouts", &json!({"script": LIMIT.as_millis() as u64}));
        // Of the listener's own origin, but without the connection that its page would open.
        browser.post("/url", &json!({"url": format!("http://{}/facelink.js", listener.http)}));
        browser
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(LIMIT + LIMIT / 2))
            .build()
            .into();
        let mut response = agent.post(format!("{}{path}", self.base)).send_json(body).expect("chromedriver answers");
        let answer: Value = response.body_mut().read_json().expect("JSON");
        assert!(answer["value"].get("error").is_none(), "{path}: {answer}");
        answer["value"].clone()
    }

    /// Runs the body of an async function in the page, with `settings` at hand, and gives what it returns.
    pub fn run(&self, settings: &Value, body: &str) -> Value {
        let script = format!(
            "const [settings, done] = arguments;
             (async () => {{ {body} }})().then(value => done({{value}}), error => done({{failure: String(error)}}));"
        );
        let outcome = self.post("/execute/async", &json!({"script": script, "args": [settings]}));
        assert!(outcome.get("failure").is_none(), "in the page: {outcome}");
        outcome["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = ureq::delete(&self.base).call();
    }
}

/// The Python that has aiortc and websockets; `None` where none has. `FACELINK_PYTHON` names another one.
pub fn python() -> Option<String> {
    let program = std::env::var("FACELINK_PYTHON").unwrap_or_else(|_| "/usr/bin/python3".to_owned());
    have(&program, &["-c", "import aiortc, aiohttp, websockets"], "python3-aiortc python3-aiohttp python3-websockets")
        .then_some(program)
}
