//! `facelink relay`: faces from publishers to viewers.

use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use crossbeam_channel::{select_biased, tick};
use facelink::relay::{RelaySettings, RelayStats};
use facelink_net::{
    CertificateAuthority, Endpoint, EndpointConfig, LinkEvent, Roles, TokenOptions, TokenRole, TokenStatus,
};
use serde::Serialize;

use crate::{
    endpoint::{EndpointArgs, introduce_http, token},
    error::Error,
    event_line::{EventLine, write_line},
    output::Output,
    stop::stop_signal,
    table::printable,
};

/// Pass faces on: performers publish, and many watch, each with what fits its path.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Token whose holders may send faces; may be repeated, as those below. With one of these, tokens are asked of this
    /// machine's own peers too.
    #[arg(long = "publish-token", value_name = "TOKEN", value_parser = token)]
    publish: Vec<String>,
    /// Token whose holders may receive faces.
    #[arg(long = "view-token", value_name = "TOKEN", value_parser = token)]
    view: Vec<String>,
    /// Token whose holders may see statistics, and make and withdraw tokens, by HTTP.
    #[arg(long = "direct-token", value_name = "TOKEN", value_parser = token)]
    direct: Vec<String>,
    /// Longest time that a frame waits for those of other faces, to share their packet, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 1.0, value_parser = milliseconds)]
    gather: f64,
    /// Packets a second that leave at most, all viewers together, as long as each has 60.
    #[arg(long, value_name = "NUMBER", default_value_t = 6000, value_parser = clap::value_parser!(u32).range(60..))]
    max_packets: u32,
    /// Most connections at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Most faces at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_faces: u32,
    /// Threads for sockets; more than one for hundreds of viewers over WebRTC.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Write one JSON object a line, for other programs.
    #[arg(long)]
    json: bool,
}

fn milliseconds(text: &str) -> Result<f64, &'static str> {
    let wrong = "expected milliseconds from 0 to 16";
    text.parse().ok().filter(|ms| (0.0..=16.0).contains(ms)).ok_or(wrong)
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Listening {
        http: SocketAddr,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        /// The page's address for others, with the token.
        invitation: &'a str,
        /// Tokens with roles, without themselves.
        tokens: &'a [TokenStatus],
        /// SHA-256 of the certificate, where HTTPS is spoken.
        #[serde(skip_serializing_if = "Option::is_none")]
        fingerprint: Option<&'a str>,
        /// Name of the authority that vouches for it, where that is this machine's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        authority: Option<&'a str>,
    },
    /// Once a second.
    Relay(&'a RelayStats),
}

fn config(args: Args) -> Result<EndpointConfig, Error> {
    let mut relay = RelaySettings::default();
    relay.gather = Duration::from_secs_f64(args.gather / 1000.0);
    relay.max_packets_per_second = args.max_packets as f32;
    (relay.max_faces, relay.max_viewers) = (args.max_faces as usize, args.max_connections as usize);
    let with_role = |role: TokenRole, tokens: Vec<String>| {
        let options = move |token| TokenOptions { token: Some(token), ..TokenOptions::new(Roles::from(role)) };
        tokens.into_iter().map(options)
    };
    let tokens: Vec<_> = with_role(TokenRole::Publish, args.publish)
        .chain(with_role(TokenRole::View, args.view))
        .chain(with_role(TokenRole::Direct, args.direct))
        .collect();
    let endpoint = args.endpoint.apply(EndpointConfig::default())?;
    Ok(EndpointConfig {
        token_on_loopback: endpoint.token_on_loopback || !tokens.is_empty(),
        tokens,
        relay,
        max_connections: args.max_connections as usize,
        max_connections_per_address: args.max_connections as usize,
        max_subjects: args.max_faces as usize,
        max_subjects_per_connection: args.max_faces as usize,
        threads: args.threads.into(),
        ..endpoint
    })
}

pub fn run(args: Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let json = args.json;
    let endpoint = Endpoint::start(config(args)?)?;
    let mut out = Output::new(stop.clone()).map_err(Error::Output)?;
    if json {
        let token = endpoint.token();
        let listening = Line::Listening {
            http: endpoint.addresses().http,
            token: token.as_deref(),
            invitation: &endpoint.invitation(),
            tokens: &endpoint.tokens(),
            fingerprint: endpoint.certificate_fingerprint(),
            authority: endpoint.certificate_authority().map(CertificateAuthority::name),
        };
        write_line(&mut out, &listening)?;
    } else {
        introduce_http(&endpoint, &mut out).and_then(|_| writeln!(out, "Ctrl-C ends.\n")).map_err(Error::Output)?;
    }
    let ticks = tick(Duration::from_secs(1));
    let mut last = RelayStats::default();
    loop {
        select_biased! {
            recv(stop) -> _ => return Ok(()),
            recv(ticks) -> _ => {
                let stats = endpoint.stats().relay;
                if json {
                    write_line(&mut out, &Line::Relay(&stats))?;
                } else if stats != last {
                    print(&mut out, &stats, &last).map_err(Error::Output)?;
                }
                last = stats;
            }
            recv(endpoint.events()) -> event => match event {
                Ok(event) if json => EventLine::new(&event).map_or(Ok(()), |line| write_line(&mut out, &line))?,
                Ok(event @ (LinkEvent::SubjectAppeared { .. } | LinkEvent::SubjectLost { .. })) => {
                    writeln!(out, "{}", printable(&event.to_string())).map_err(Error::Output)?;
                }
                Ok(_) => {}
                Err(_) => return Ok(()),
            },
            // It shows none of them.
            recv(endpoint.frames()) -> frame => if frame.is_err() { return Ok(()) },
        }
    }
}

/// What one second was.
fn print(out: &mut Output, stats: &RelayStats, last: &RelayStats) -> io::Result<()> {
    let RelayStats { viewers, faces, subscriptions, sent, .. } = stats;
    let packets = sent.packets.saturating_sub(last.sent.packets);
    let kilobytes = sent.bytes.saturating_sub(last.sent.bytes) as f64 / 1000.0;
    let path = sent.thinned.path.saturating_sub(last.sent.thinned.path);
    writeln!(
        out,
        "{faces} faces, {viewers} viewers, {subscriptions} subscriptions: {packets} packets/s, {kilobytes:.1} kB/s, \
         {path} frames/s left out for thin paths"
    )
}
