//! `facelink doctor`: why does my phone not arrive?

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use console::{Term, measure_text_width, style};
use crossbeam_channel::RecvTimeoutError;
use facelink_net::{
    DEFAULT_PORT, Endpoint, EndpointConfig, LIVE_LINK_FACE_PORT, LinkError, PhoneCall, PhonePort, PhonePorts,
    TlsConfig, UDP_JSON_PORT,
    doctor::{Advice, Report, Severity, port_owner},
    remembered_phones,
};

use crate::{
    error::Error,
    phones::{PortSetting, any_port, call},
    stop::stop_signal,
    table::printable,
};

/// Report what listens, what to type into a phone, what arrives, and which ports, firewalls or clocks prevent it.
///
/// Asks the game or `facelink listen` that runs on this machine; where none does, it listens itself, on the usual ports of
/// all phone apps. Live until Ctrl-C in a terminal; one report elsewhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask the endpoint at this address (http:// or https://) instead of looking for one on this machine.
    #[arg(long, value_name = "URL", value_parser = url)]
    url: Option<String>,
    /// Pairing token of that endpoint.
    #[arg(long, requires = "url")]
    token: Option<String>,
    /// Listen itself, without asking an endpoint that runs on this machine.
    #[arg(long, conflicts_with = "url")]
    own: bool,
    /// When listening itself: on every address of this machine, as without it.
    #[arg(long, conflicts_with_all = ["bind", "url"])]
    lan: bool,
    /// When listening itself: the address to listen on.
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), conflicts_with = "url")]
    bind: IpAddr,
    /// Port of HTTP, where an endpoint of this machine is asked, or else to listen on; 0 picks a free one.
    #[arg(long, default_value_t = DEFAULT_PORT, conflicts_with = "url")]
    port: u16,
    /// When listening itself: port of one app, or `off`; may be given several times. `all=off` leaves all alone.
    #[arg(long = "phone-port", value_name = "APP=PORT", value_parser = any_port, conflicts_with = "url")]
    ports: Vec<PortSetting>,
    /// When listening itself: every port a free one, for a look without the usual ports.
    #[arg(long, conflicts_with_all = ["url", "port"])]
    free_ports: bool,
    /// When listening itself: call the phone at this address, as `facelink listen --call` does.
    #[arg(long, value_name = "ADDR[:PORT][=APP]", value_parser = call, conflicts_with = "url")]
    call: Vec<PhoneCall>,
    /// Report after so many seconds, and end; 5 where the output is no terminal, none where an endpoint is asked.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected seconds, up to a day".to_owned()),
    }
}

fn url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    match url.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() => Ok(url.to_owned()),
        _ => Err("expected http://HOST:PORT or https://HOST:PORT".to_owned()),
    }
}

/// An endpoint that runs already, asked by HTTP.
struct Running {
    url: String,
    token: Option<String>,
    agent: ureq::Agent,
}

impl Running {
    fn new(url: String, token: Option<String>) -> Self {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(3)));
        Self { url, token, agent: config.http_status_as_error(false).build().into() }
    }

    fn report(&self) -> Result<Report, Error> {
        let url = &self.url;
        let failed = |error: &dyn fmt::Display| Error::Plain(format!("cannot ask {url}: {error}"));
        let mut request = self.agent.get(format!("{url}/api/v1/doctor"));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call().map_err(|error| match error {
            ureq::Error::Rustls(_) | ureq::Error::Tls(_) => {
                failed(&format!("{error}; one with a certificate of its own speaks http:// on the same port"))
            }
            ureq::Error::Io(error) => failed(&error),
            error => failed(&error),
        })?;
        match answer.status().as_u16() {
            200 => answer.body_mut().read_json().map_err(|_| failed(&"that is no FaceLink, or of another version")),
            401 => Err(failed(&"the pairing token is missing or wrong: give --token")),
            429 => Err(failed(&"too many wrong tokens, or too many requests: try again in a while")),
            404 => Err(failed(&"that is no FaceLink, or an older one")),
            status => Err(failed(&format!("HTTP status {status}"))),
        }
    }
}

/// The source of the report.
enum Source {
    Running(Running),
    Own {
        endpoint: Box<Endpoint>,
        /// Another program has the port of HTTP, and a free one was taken.
        taken: Option<(SocketAddr, String)>,
    },
}

impl Source {
    fn find(args: &Args) -> Result<Self, Error> {
        if let Some(url) = &args.url {
            return Ok(Self::Running(Running::new(url.clone(), args.token.clone())));
        }
        if !args.own && !args.free_ports && args.port != 0 {
            let running = Running::new(format!("http://127.0.0.1:{}", args.port), None);
            if running.report().is_ok() {
                return Ok(Self::Running(running));
            }
        }
        let config = own(args);
        match Endpoint::start(config.clone()) {
            Ok(endpoint) => Ok(Self::Own { endpoint: Box::new(endpoint), taken: None }),
            // The doctor can do without.
            Err(LinkError::Bind { address, source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
                let owner = port_owner(true, address).map_or("another program".to_owned(), |it| it.to_string());
                let endpoint = Endpoint::start(EndpointConfig { port: 0, ..config })?;
                Ok(Self::Own { endpoint: Box::new(endpoint), taken: Some((address, owner)) })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn report(&self) -> Result<Report, Error> {
        match self {
            Self::Running(running) => running.report(),
            Self::Own { endpoint, taken } => {
                let report = endpoint.diagnose();
                let mut report = report.ok_or_else(|| Error::Plain("the endpoint has stopped".to_owned()))?;
                if let (Some((address, owner)), Some(http)) = (taken, report.listening.first()) {
                    let mut wanted = http.clone();
                    wanted.address = *address;
                    wanted.problem = Some(format!("held by {owner}: a game cannot listen there; set its `port`"));
                    let text = format!("port {} of HTTP is held by {owner}: a game cannot have it", address.port());
                    report.listening.insert(0, wanted);
                    report.advice.insert(0, Advice { severity: Severity::Error, text });
                }
                Ok(report)
            }
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Running(running) => format!("The view of the endpoint at {}.", running.url),
            Self::Own { .. } => "No endpoint of FaceLink runs here: these are the doctor's own ports.".to_owned(),
        }
    }
}

/// How to listen where nothing else does.
fn own(args: &Args) -> EndpointConfig {
    let usual = |port: u16| if args.free_ports { 0 } else { port };
    let mut config = EndpointConfig {
        bind: args.bind,
        port: usual(args.port),
        live_link_face: Some(usual(LIVE_LINK_FACE_PORT)),
        udp_json: Some(usual(UDP_JSON_PORT)),
        phones: if args.free_ports { PhonePorts::free() } else { PhonePorts::usual() },
        call: args.call.clone(),
        find_phones: true,
        remember_phones: if args.free_ports || args.bind.is_loopback() { None } else { remembered_phones() },
        tls: if args.bind.is_loopback() { TlsConfig::Off } else { TlsConfig::self_signed() },
        ..EndpointConfig::default()
    };
    for wanted in &args.ports {
        for port in PhonePort::ALL.into_iter().filter(|port| wanted.port.is_none_or(|one| one == *port)) {
            match port {
                PhonePort::LiveLinkFace => config.live_link_face = wanted.number,
                PhonePort::UdpJson => config.udp_json = wanted.number,
                other => drop(config.phones.set(other, wanted.number)),
            }
        }
    }
    config
}

pub fn run(args: &Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let source = Source::find(args)?;
    let term = Term::stdout();
    if io::stdout().is_terminal() && !args.json && args.seconds.is_none() {
        term.clear_screen().map_err(Error::Output)?;
        loop {
            let (rows, columns) = term.size();
            let sections = sections(&source.report()?, usize::from(columns));
            let lines = fit(&source.title(), &sections, usize::from(rows));
            redraw(&term, &lines).map_err(Error::Output)?;
            match stop.recv_timeout(Duration::from_secs(1)) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return Ok(()),
            }
        }
    }
    let wait = args.seconds.unwrap_or(if matches!(source, Source::Own { .. }) { 5.0 } else { 0.0 });
    // Ended early, the report is printed all the same.
    let _ = stop.recv_timeout(Duration::from_secs_f64(wait));
    let report = source.report()?;
    let text = if args.json {
        serde_json::to_string(&report).map_err(|error| Error::Output(error.into()))?
    } else {
        let width = if io::stdout().is_terminal() { usize::from(term.size().1) } else { usize::MAX };
        let sections = sections(&report, width);
        let body = sections.iter().map(|section| format!("\n\n{}", section.lines().join("\n")));
        format!("{}{}", source.title(), body.collect::<String>())
    };
    writeln!(io::stdout(), "{text}").map_err(Error::Output)
}

/// Draws over the last report, without flicker.
fn redraw(term: &Term, lines: &[String]) -> io::Result<()> {
    const TO_END_OF_LINE: &str = "\u{1b}[K";
    term.move_cursor_to(0, 0)?;
    let text: String = lines.iter().map(|line| format!("{line}{TO_END_OF_LINE}\n")).collect();
    (&*term).write_all(text.as_bytes())?;
    term.clear_to_end_of_screen()?;
    term.flush()
}

/// A part of the report.
struct Section {
    title: &'static str,
    /// Rank: where there is no room for all sections, those of the highest are left out first.
    dispensable: u8,
    body: Vec<String>,
}

impl Section {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![style(self.title).bold().cyan().to_string()];
        lines.extend_from_slice(&self.body);
        lines
    }
}

/// As many sections as the screen has rows for, the most important ones first, and a line for what was left out.
fn fit(title: &str, sections: &[Section], rows: usize) -> Vec<String> {
    let height = |section: &Section| section.body.len() + 2;
    // The title, and the row in which the cursor stands after the last.
    let mut room = rows.saturating_sub(2);
    if sections.iter().map(height).sum::<usize>() > room {
        room = room.saturating_sub(2);
    }
    let mut by_importance: Vec<&Section> = sections.iter().collect();
    by_importance.sort_by_key(|section| section.dispensable);
    let mut left_out: Vec<&str> = Vec::new();
    for section in by_importance {
        // The first of all is shown as far as it fits.
        if height(section) <= room || section.dispensable == 0 {
            room = room.saturating_sub(height(section));
        } else {
            left_out.push(section.title);
        }
    }
    let mut lines = vec![format!("{title} Ctrl-C ends.")];
    for section in sections.iter().filter(|section| !left_out.contains(&section.title)) {
        lines.push(String::new());
        lines.extend(section.lines());
    }
    if !left_out.is_empty() {
        lines.push(String::new());
        lines.push(format!("... {}: in a higher window, or with --seconds 5", left_out.join(", ")));
    }
    lines.truncate(rows.saturating_sub(1).max(1));
    lines
}

/// Words on lines of at most this width, as far as words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Narrower than this, nothing is wrapped any more.
const NARROWEST: usize = 24;

/// Rows of cells, each column as wide as its widest cell. The last cell of a row takes what is left of the width, and goes
/// on below itself.
fn aligned(rows: &[Vec<String>], width: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row.iter().take(row.len().saturating_sub(1))) {
            *widest = measure_text_width(cell).max(*widest);
        }
    }
    let mut lines = Vec::new();
    for row in rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(&widths).take(row.len().saturating_sub(1)) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - measure_text_width(cell) + 2));
        }
        let indent = measure_text_width(&line);
        let room = width.saturating_sub(indent).max(NARROWEST);
        let last = row.last().map_or("", String::as_str);
        for (place, part) in wrapped(last, room).into_iter().enumerate() {
            let line = if place == 0 { format!("{line}{part}") } else { format!("{}{part}", " ".repeat(indent)) };
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// The report as it is printed. Text from the network cannot move the cursor.
fn sections(report: &Report, width: usize) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut add = |title, dispensable, body: Vec<String>| {
        if !body.is_empty() {
            sections.push(Section { title, dispensable, body });
        }
    };
    let clean = |text: &str| printable(text);

    let listening = report.listening.iter().map(|port| {
        let state = match &port.problem {
            None => style("open".to_owned()).green(),
            Some(problem) => style(format!("NOT OPEN: {}", clean(problem))).red(),
        };
        vec![clean(&port.purpose), clean(&port.protocol), port.address.to_string(), state.to_string()]
    });
    add("Listening", 6, aligned(&listening.collect::<Vec<_>>(), width));

    let addresses = report.addresses.iter().enumerate().map(|(place, own)| {
        let medium = own.medium.map_or("", |medium| medium.title());
        let first =
            (place == 0 && own.likely && !report.settings.is_empty()).then(|| style("this one").green().to_string());
        let note = own.note.as_deref().map(|note| style(clean(note)).dim().to_string());
        let notes: Vec<String> = first.into_iter().chain(note).collect();
        vec![own.address.to_string(), clean(&own.interface), medium.to_owned(), notes.join(", ")]
    });
    add("Addresses of this machine", 4, aligned(&addresses.collect::<Vec<_>>(), width));

    let mut give: Vec<_> =
        report.settings.iter().map(|setting| vec![clean(&setting.app), clean(&setting.what)]).collect();
    if !report.settings.is_empty() {
        give.push(vec!["its browser".to_owned(), clean(&report.page)]);
    }
    add("Give your phone", 3, aligned(&give, width));

    let arriving = report.arriving.iter().map(|sender| {
        let state = match (&sender.first_bytes, &sender.error) {
            (Some(bytes), _) => style(format!("begins {}", clean(bytes))).yellow(),
            (None, Some(error)) => style(format!("refused: {}", clean(error))).yellow(),
            (None, None) => style("good".to_owned()).green(),
        };
        let age =
            if sender.age_ms < 1500.0 { "now".to_owned() } else { format!("{:.0} s ago", sender.age_ms / 1000.0) };
        let rate = format!("{:.0}/s", sender.rate);
        vec![
            clean(&sender.what),
            format!("from {}", sender.from),
            format!("at {}", clean(&sender.port)),
            rate,
            age,
            state.to_string(),
        ]
    });
    let arriving = aligned(&arriving.collect::<Vec<_>>(), width);
    add("Arriving now", 1, if arriving.is_empty() { vec!["  nothing".to_owned()] } else { arriving });

    let faces = report.faces.iter().map(|face| {
        let from = face.address.map_or_else(|| "-".to_owned(), |address| address.ip().to_string());
        let latency = face.latency_ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"));
        let tracked = if face.tracked { style("tracked").green() } else { style("no face").yellow() };
        let fps = format!("{:.0} frames/s", face.fps);
        vec![clean(&face.name), face.app.title().to_owned(), from, fps, latency, tracked.to_string()]
    });
    add("Faces", 2, aligned(&faces.collect::<Vec<_>>(), width));
    let phones = report.phones.iter().map(|line| vec![clean(line)]);
    add("Phones that are called", 5, aligned(&phones.collect::<Vec<_>>(), width));

    // Commands are for copying: they stay on one line.
    let firewall = report.firewall.iter().flat_map(|line| match line.strip_prefix("    ") {
        Some(command) => vec![format!("      {}", clean(command))],
        None => aligned(&[vec![clean(line)]], width),
    });
    add("Firewall", 8, firewall.collect());

    let clock = &report.clock;
    let mut rows = vec![vec!["this machine".to_owned(), format!("{}, {}", clean(&clock.time), clean(&clock.note))]];
    rows.extend(clock.senders.iter().map(|sender| vec![clean(&sender.face), clean(&sender.note)]));
    add("Clock", 7, aligned(&rows, width));

    let advice = report.advice.iter().map(|advice| {
        let sign = match advice.severity {
            Severity::Error => style("✗").red(),
            Severity::Warning => style("!").yellow(),
            Severity::Hint => style("·").cyan(),
            Severity::Ok => style("✓").green(),
        };
        vec![sign.to_string(), clean(&advice.text)]
    });
    add("Advice", 0, aligned(&advice.collect::<Vec<_>>(), width));
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[&str]]) -> Vec<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    }

    #[test]
    fn doctor_table_columns_are_aligned() {
        let table = rows(&[&["a", "bb", "c d e"], &["aaa", "b", ""], &["ä", "b", "x"]]);
        assert_eq!(aligned(&table, usize::MAX), ["  a    bb  c d e", "  aaa  b", "  ä    b   x"]);
        assert!(aligned(&[], 80).is_empty());
        let long = rows(&[&["a", "one two three four five six seven"]]);
        assert_eq!(aligned(&long, 30), ["  a  one two three four five", "     six seven"]);
        assert_eq!(
            aligned(&long, 3),
            ["  a  one two three four five", "     six seven"],
            "a window too narrow for anything"
        );
        let coloured = vec![vec![style("ab").red().force_styling(true).to_string(), "x".to_owned()]];
        assert_eq!(measure_text_width(&aligned(&coloured, 80)[0]), 7);
    }

    #[test]
    fn doctor_low_window_shows_most_important_rows() {
        let section = |title, dispensable, rows| Section { title, dispensable, body: vec!["x".to_owned(); rows] };
        let all =
            [section("Listening", 6, 9), section("Clock", 7, 1), section("Firewall", 8, 5), section("Advice", 0, 5)];
        let text = |rows| fit("Title.", &all, rows).join("\n");
        // 1 for the title, 11 + 3 + 7 + 7 for the rest, 1 for the cursor.
        assert!(text(30).contains("Firewall") && !text(30).contains("..."), "{}", text(30));
        let low = text(29);
        assert!(low.contains("Listening") && low.contains("\n... Firewall: in a higher window"), "{low}");
        let lower = text(20);
        assert!(
            lower.contains("Advice") && lower.contains("Clock") && lower.contains("... Listening, Firewall"),
            "{lower}"
        );
        for rows in 0..40 {
            assert!(fit("Title.", &all, rows).len() < rows.max(2), "{rows}");
        }
    }

    #[test]
    fn doctor_wrong_arguments_are_refused() {
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("NaN").is_err());
        assert_eq!(url("https://stage.local:8765/").as_deref(), Ok("https://stage.local:8765"));
        assert!(url("stage.local:8765").is_err() && url("http://").is_err() && url("ws://x").is_err());
    }
}
