//! A process of the lab: a face that Chromium sends with `facelink.js`. Chromium is led by the WebDriver protocol
//! (<https://www.w3.org/TR/webdriver2/>).

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    common::{Res, now_us},
    role::{commands, try_say},
};

const LIMIT: Duration = Duration::from_secs(90);
/// Opens the connection and sends from now on; counts repeating packets as they leave the page.
const START: &str = include_str!("../../js/sender.js");
const STATS: &str = "return window.lab.stats();";

#[derive(clap::Args)]
pub struct Args {
    /// The endpoint, such as `10.77.0.1:8765`.
    #[arg(long)]
    to: String,
    #[arg(long)]
    token: Option<String>,
    #[arg(long, default_value = "Ann")]
    subject: String,
    /// How frames are written: `facelink1`, `float32` or `json`.
    #[arg(long, default_value = "facelink1")]
    format: String,
    #[arg(long)]
    websocket: bool,
}

/// Whether there is a Chromium.
pub fn exists() -> bool {
    ["chromium", "chromedriver"].into_iter().all(|program| {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

struct Browser {
    driver: Child,
    profile: PathBuf,
    session: Option<String>,
}

impl Browser {
    fn open(url: &str) -> Res<Self> {
        let driver =
            Command::new("chromedriver").arg("--port=0").stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let profile = std::env::temp_dir().join(format!("facelink-lab-{}", std::process::id()));
        // From here on, dropping it ends Chromium and removes what it wrote.
        let mut browser = Self { driver, profile, session: None };
        let mut lines = BufReader::new(browser.driver.stdout.take().ok_or("no output")?).lines();
        let port = loop {
            let line = lines.next().ok_or("chromedriver has ended")??;
            if let Some(port) = line.split("successfully on port ").nth(1) {
                break port.trim_end_matches('.').parse::<u16>()?;
            }
        };
        thread::spawn(move || lines.for_each(drop));
        let base = format!("http://127.0.0.1:{port}/session");
        let capabilities = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", format!("--user-data-dir={}", browser.profile.display()),
        ]}}}});
        let session = post(&base, &capabilities)?;
        let id = session["sessionId"].as_str().ok_or("no session")?;
        browser.session = Some(format!("{base}/{id}"));
        browser.post("/timeouts", &json!({"script": LIMIT.as_millis() as u64}))?;
        browser.post("/url", &json!({"url": url}))?;
        Ok(browser)
    }

    fn post(&self, path: &str, body: &Value) -> Res<Value> {
        let session = self.session.as_deref().ok_or("no session")?;
        post(&format!("{session}{path}"), body)
    }

    /// Runs the body of an async function in the page, with `settings` at hand, and gives what it returns.
    fn run(&self, settings: &Value, body: &str) -> Res<Value> {
        let script = format!(
            "const [settings, done] = arguments;
             (async () => {{ {body} }})().then(value => done({{value}}), error => done({{failure: String(error)}}));"
        );
        let mut outcome = self.post("/execute/async", &json!({"script": script, "args": [settings]}))?;
        match outcome.get("failure") {
            Some(failure) => Err(format!("in the page: {failure}").into()),
            None => Ok(outcome["value"].take()),
        }
    }
}

fn post(url: &str, body: &Value) -> Res<Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(LIMIT + LIMIT / 2))
        .build()
        .into();
    let mut answer: Value = agent.post(url).send_json(body)?.body_mut().read_json()?;
    match answer["value"].get("error") {
        Some(error) => Err(format!("Chromium: {error}: {}", answer["value"]["message"]).into()),
        None => Ok(answer["value"].take()),
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends Chromium, which chromedriver alone would leave behind.
        if let Some(session) = &self.session {
            let _ = ureq::delete(session).call();
        }
        let _ = (self.driver.kill(), self.driver.wait());
        let end = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir_all(&self.profile).is_err() && self.profile.exists() && Instant::now() < end {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Says `ready` once the page is loaded, connects at the command `go`, and then behaves as the client does.
pub fn run(args: &Args) -> Res<()> {
    let commands = commands();
    // Of the endpoint's own origin, but without the connection that its page would open.
    let browser = Browser::open(&format!("http://{}/facelink.js", args.to))?;
    // It ends with the lab, but never without Chromium.
    try_say(&json!({"ready": true, "t": now_us()}))?;
    let token = args.token.as_ref().map(|token| format!("/?token={token}"));
    let settings = json!({
        "url": format!("ws://{}{}", args.to, token.unwrap_or_default()),
        "options": {"subject": args.subject, "binary": args.format, "webrtc": !args.websocket},
    });
    for command in commands {
        match command.as_str() {
            "go" => {
                let transport = browser.run(&settings, START)?;
                try_say(&json!({"state": transport, "t": now_us()}))?;
            }
            "stats" => try_say(&json!({"stats": browser.run(&Value::Null, STATS)?}))?,
            _ => {}
        }
    }
    Ok(())
}
