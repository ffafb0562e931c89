//! `facelink relay`: faces from publishers to viewers.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use crossbeam_channel::{select_biased, tick};
use facelink::relay::{RelaySettings, RelayStats};
use facelink_net::{
    CertificateAuthority, Endpoint, EndpointConfig, LinkError, LinkEvent, MeshStats, Roles, TokenOptions, TokenRole,
    TokenStatus,
};
#[cfg(feature = "zenoh")]
use facelink_net::{MeshAddress, MeshConfig};
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
    /// How long a frame waits for those of other faces, to share their packet, milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0.5, value_parser = milliseconds)]
    gather: f64,
    /// Packets a second that leave at most, all viewers together, as long as each has 60: fewer cost less, in bytes too; with
    /// more, frames of many faces wait less for each other.
    #[arg(long, value_name = "NUMBER", default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(60..))]
    max_packets: u32,
    /// Most connections at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..))]
    max_connections: u32,
    /// Most faces at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_faces: u32,
    /// Be one relay of several, over Zenoh, and connect to this one of them: HOST, HOST:PORT or PROTOCOL/HOST:PORT; protocols
    /// are tcp (the default), tls, quic and udp, the port is 7447 by default. May be repeated.
    #[arg(long, value_name = "PEER", value_parser = mesh_address)]
    zenoh: Vec<MeshAddress>,
    /// Listen for other relays here, such as tcp/0.0.0.0:7447; may be repeated. There is no token: see --zenoh-config.
    #[arg(long, value_name = "ADDR", value_parser = mesh_address)]
    zenoh_listen: Vec<MeshAddress>,
    /// Configuration of Zenoh, JSON5: TLS with certificates of both sides, access control, transports.
    #[arg(long, value_name = "FILE")]
    zenoh_config: Option<PathBuf>,
    /// Find relays on this network by multicast, and be found.
    #[arg(long)]
    zenoh_scouting: bool,
    /// Threads for sockets; more than one for hundreds of viewers over WebRTC.
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// Write one JSON object a line, for other programs.
    #[arg(long)]
    json: bool,
}

#[cfg(feature = "zenoh")]
fn mesh_address(text: &str) -> Result<MeshAddress, facelink_net::MeshAddressError> {
    text.parse()
}

/// Without the feature nothing can be reached.
#[cfg(not(feature = "zenoh"))]
type MeshAddress = std::convert::Infallible;

#[cfg(not(feature = "zenoh"))]
fn mesh_address(_: &str) -> Result<MeshAddress, &'static str> {
    Err(NO_ZENOH)
}

#[cfg(not(feature = "zenoh"))]
const NO_ZENOH: &str =
    "this build cannot be one relay of several: build it by `cargo install facelink-cli --features zenoh`";

/// The mesh that was asked for.
#[cfg(feature = "zenoh")]
fn mesh(args: &Args) -> Option<MeshConfig> {
    let is_asked =
        !args.zenoh.is_empty() || !args.zenoh_listen.is_empty() || args.zenoh_config.is_some() || args.zenoh_scouting;
    let mut mesh = MeshConfig::default();
    (mesh.connect, mesh.listen) = (args.zenoh.clone(), args.zenoh_listen.clone());
    (mesh.config, mesh.scouting) = (args.zenoh_config.clone(), args.zenoh_scouting);
    is_asked.then_some(mesh)
}

#[cfg(not(feature = "zenoh"))]
fn refuse_mesh(args: &Args) -> Result<(), Error> {
    let flags = [
        (!args.zenoh.is_empty(), "--zenoh"),
        (!args.zenoh_listen.is_empty(), "--zenoh-listen"),
        (args.zenoh_config.is_some(), "--zenoh-config"),
        (args.zenoh_scouting, "--zenoh-scouting"),
    ];
    match flags.into_iter().find(|(is_given, _)| *is_given) {
        Some((_, flag)) => Err(Error::Plain(format!("{flag}: {NO_ZENOH}"))),
        None => Ok(()),
    }
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
    /// Once a second, where it is one relay of several.
    Mesh(&'a MeshStats),
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
    #[cfg(feature = "zenoh")]
    let mesh = mesh(&args);
    #[cfg(not(feature = "zenoh"))]
    refuse_mesh(&args)?;
    let tokens: Vec<_> = with_role(TokenRole::Publish, args.publish)
        .chain(with_role(TokenRole::View, args.view))
        .chain(with_role(TokenRole::Direct, args.direct))
        .collect();
    let endpoint = args.endpoint.apply(EndpointConfig::default())?;
    Ok(EndpointConfig {
        token_on_loopback: endpoint.token_on_loopback || !tokens.is_empty(),
        tokens,
        relay,
        #[cfg(feature = "zenoh")]
        mesh,
        max_connections: args.max_connections as usize,
        max_connections_per_address: args.max_connections as usize,
        max_subjects: args.max_faces as usize,
        max_subjects_per_connection: args.max_faces as usize,
        threads: args.threads.into(),
        ..endpoint
    })
}

/// The error by the flag, where there is one.
fn with_flag(error: LinkError) -> Error {
    #[cfg(feature = "zenoh")]
    if let LinkError::Mesh { field, reason } = &error {
        let flag = match field.as_str() {
            "connect" => "--zenoh",
            "listen" => "--zenoh-listen",
            "scouting" => "--zenoh-scouting",
            _ => "--zenoh-config",
        };
        return Error::Plain(format!("{flag}: {reason}"));
    }
    error.into()
}

pub fn run(args: Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    let json = args.json;
    let endpoint = Endpoint::start(config(args)?).map_err(with_flag)?;
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
    let (mut last, mut last_mesh) = (RelayStats::default(), None);
    loop {
        select_biased! {
            recv(stop) -> _ => return Ok(()),
            recv(ticks) -> _ => {
                let stats = endpoint.stats();
                let (stats, mesh) = (stats.relay, stats.mesh);
                if json {
                    write_line(&mut out, &Line::Relay(&stats))?;
                    mesh.as_ref().map_or(Ok(()), |mesh| write_line(&mut out, &Line::Mesh(mesh)))?;
                } else {
                    if stats != last {
                        print(&mut out, &stats, &last).map_err(Error::Output)?;
                    }
                    if let Some(mesh) = mesh.as_ref().filter(|mesh| last_mesh.as_ref() != Some(*mesh)) {
                        print_mesh(&mut out, mesh, last_mesh.as_ref()).map_err(Error::Output)?;
                    }
                }
                (last, last_mesh) = (stats, mesh);
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

/// The same, of other relays.
fn print_mesh(out: &mut Output, stats: &MeshStats, last: Option<&MeshStats>) -> io::Result<()> {
    let MeshStats { links, relays, faces, faces_in, faces_out, .. } = stats;
    let since = |figure: fn(&MeshStats) -> u64| figure(stats).saturating_sub(last.map_or(0, figure));
    let (sent, received) =
        (since(|stats| stats.bytes_out) as f64 / 1000.0, since(|stats| stats.bytes_in) as f64 / 1000.0);
    writeln!(
        out,
        "mesh: {relays} other relays by {links} links, {faces} faces there, {faces_in} of them watched, {faces_out} published: \
         {sent:.1} kB/s out, {received:.1} kB/s in"
    )
}
