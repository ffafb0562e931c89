//! `facelink doctor`: why does my phone not arrive?

use std::{
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use facelink::link::{
    DEFAULT_PORT, Endpoint, EndpointConfig, LIVE_LINK_FACE_PORT, PhonePorts, TlsConfig, UDP_JSON_PORT,
    doctor::{Report, Severity},
    remembered_phones,
};

use crate::{Error, stop::stop_signal, table::printable};

/// Tell what listens, what arrives, what to type into a phone, and what stands in the way.
///
/// Asks the game or `facelink listen` that runs on this machine; where none does, it listens itself.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask the endpoint at this address (http:// or https://) instead of looking for one on this machine.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Pairing token of that endpoint.
    #[arg(long, requires = "url")]
    token: Option<String>,
    /// When listening itself: the address to listen on.
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    bind: IpAddr,
    /// When listening itself: every port a free one, for a look without the usual ports.
    #[arg(long)]
    free_ports: bool,
    /// Watch for this long; 5 seconds by default, until Ctrl-C in a terminal.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number of seconds".to_owned()),
    }
}

/// Where the report comes from.
enum Source {
    /// An endpoint that runs already.
    Running {
        url: String,
        token: Option<String>,
        agent: ureq::Agent,
    },
    Own(Box<Endpoint>),
}

impl Source {
    fn find(args: &Args) -> Result<Self, Error> {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(3))).build().into();
        if let Some(url) = &args.url {
            let url = url.trim_end_matches('/').to_owned();
            let source = Self::Running { url, token: args.token.clone(), agent };
            source.report()?;
            return Ok(source);
        }
        if !args.free_ports {
            let url = format!("http://127.0.0.1:{DEFAULT_PORT}");
            let running = Self::Running { url, token: None, agent };
            if running.report().is_ok() {
                return Ok(running);
            }
        }
        let port = |usual: u16| if args.free_ports { 0 } else { usual };
        let phones = if args.free_ports { PhonePorts::free() } else { PhonePorts::usual() };
        let endpoint = Endpoint::start(EndpointConfig {
            bind: args.bind,
            port: port(DEFAULT_PORT),
            live_link_face: Some(port(LIVE_LINK_FACE_PORT)),
            udp_json: Some(port(UDP_JSON_PORT)),
            phones,
            find_phones: true,
            remember_phones: if args.free_ports { None } else { remembered_phones() },
            tls: if args.bind.is_loopback() { TlsConfig::Off } else { TlsConfig::self_signed() },
            ..EndpointConfig::default()
        })?;
        Ok(Self::Own(Box::new(endpoint)))
    }

    fn report(&self) -> Result<Report, Error> {
        match self {
            Self::Own(endpoint) => {
                // Nobody else takes what arrives.
                while endpoint.frames().try_recv().is_ok() || endpoint.events().try_recv().is_ok() {}
                endpoint.diagnose().ok_or_else(|| Error::Plain("the endpoint is not ready".to_owned()))
            }
            Self::Running { url, token, agent } => {
                let failed = |error: &dyn std::fmt::Display| Error::Plain(format!("cannot ask {url}: {error}"));
                let mut request = agent.get(format!("{url}/api/v1/doctor"));
                if let Some(token) = token {
                    request = request.header("Authorization", format!("Bearer {token}"));
                }
                let mut answer = request.call().map_err(|error| failed(&error))?;
                answer.body_mut().read_json().map_err(|error| failed(&error))
            }
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Own(_) => "Nothing of FaceLink runs on this machine; I listen in its place.".to_owned(),
            Self::Running { url, .. } => format!("This is how the endpoint at {url} sees it."),
        }
    }
}

pub fn run(args: &Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let source = Source::find(args)?;
    let live = io::stdout().is_terminal() && !args.json && args.seconds.is_none();
    if live {
        loop {
            let text = render(&source.title(), &source.report()?, true);
            // Over what was there before.
            write!(io::stdout(), "\x1b[2J\x1b[H{text}\nCtrl-C ends.\n").map_err(Error::Output)?;
            io::stdout().flush().map_err(Error::Output)?;
            if !matches!(stop.recv_timeout(Duration::from_secs(1)), Err(error) if error.is_timeout()) {
                return Ok(());
            }
        }
    }
    let end = Instant::now() + Duration::from_secs_f64(args.seconds.unwrap_or(5.0));
    let stopped = !matches!(stop.recv_deadline(end), Err(error) if error.is_timeout());
    let report = source.report()?;
    let text = if args.json {
        serde_json::to_string(&report).map_err(|error| Error::Output(error.into()))?
    } else {
        render(&source.title(), &report, io::stdout().is_terminal())
    };
    writeln!(io::stdout(), "{}", text.trim_end()).map_err(Error::Output)?;
    // Asked to end early is no failure.
    let _ = stopped;
    Ok(())
}

struct Ink(bool);

impl Ink {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Rows of cells, each column as wide as its widest cell; the last one is left as it is.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from("  ");
        for (place, cell) in row.iter().enumerate() {
            if place + 1 == row.len() {
                line.push_str(cell);
            } else {
                let width = widths[place];
                line.push_str(&format!("{cell:width$}  "));
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn render(title: &str, report: &Report, colour: bool) -> String {
    let ink = Ink(colour);
    let mut text = format!("{title}\n");
    let mut section = |name: &str, body: String| {
        if !body.is_empty() {
            text.push_str(&format!("\n{}\n{body}", ink.paint("1;36", name)));
        }
    };
    let listening: Vec<_> = report
        .listening
        .iter()
        .map(|port| {
            let state = port.problem.as_ref().map_or("open".to_owned(), |problem| format!("NOT OPEN: {problem}"));
            vec![port.purpose.clone(), port.protocol.clone(), port.address.to_string(), state]
        })
        .collect();
    section("Listening", aligned(&listening));

    let mut give: Vec<_> = report
        .addresses
        .iter()
        .map(|own| {
            let note =
                own.note.clone().unwrap_or_else(|| if own.likely { "this one".to_owned() } else { String::new() });
            vec![own.address.to_string(), own.interface.clone(), note]
        })
        .collect();
    give.extend(report.settings.iter().map(|setting| vec![setting.app.clone(), setting.what.clone()]));
    let addresses = aligned(&give[..report.addresses.len()]);
    let settings = aligned(&give[report.addresses.len()..]);
    section("Addresses of this machine", addresses);
    section("Type into the phone", settings);
    section("Or open in its browser", format!("  {}\n", report.page));

    let arriving: Vec<_> = report
        .arriving
        .iter()
        .map(|sender| {
            let state =
                sender.error.as_ref().map_or("good".to_owned(), |error| format!("refused: {}", printable(error)));
            let rate = format!("{:.0}/s", sender.rate);
            vec![sender.what.clone(), format!("from {}", sender.from), format!("at {}", sender.port), rate, state]
        })
        .collect();
    let nothing = "  nothing\n".to_owned();
    section("Arriving now", if arriving.is_empty() { nothing } else { aligned(&arriving) });
    let phones: Vec<_> = report.phones.iter().map(|line| vec![printable(line)]).collect();
    section("Phones that are called", aligned(&phones));
    let firewall: Vec<_> = report.firewall.iter().map(|line| vec![line.clone()]).collect();
    section("Firewall", aligned(&firewall));
    section("Clock", format!("  {}\n", report.clock.note));
    let advice: Vec<_> = report
        .advice
        .iter()
        .map(|advice| {
            let (sign, code) = match advice.severity {
                Severity::Error => ("✗", "31"),
                Severity::Warning => ("!", "33"),
                Severity::Hint => ("·", "2"),
                Severity::Ok => ("✓", "32"),
            };
            format!("  {} {}\n", ink.paint(code, sign), printable(&advice.text))
        })
        .collect();
    section("Advice", advice.concat());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            vec!["a".to_owned(), "bb".to_owned(), "c".to_owned()],
            vec!["aaa".to_owned(), "b".to_owned(), "d".to_owned()],
        ];
        assert_eq!(aligned(&rows), "  a    bb  c\n  aaa  b   d\n");
        assert_eq!(aligned(&[]), "");
    }
}
