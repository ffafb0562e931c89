//! Arguments of commands that run an endpoint, and where it says that it listens.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use facelink::session_file::{Obs, Secret};
use facelink_net::{
    AvatarFile, Endpoint, EndpointConfig, ObsConfig, SubjectError, SubjectRules, TlsConfig, outward_address,
};

use crate::{error::Error, ice::IceArgs, output::Output};

/// Where it listens, and who may connect.
#[derive(Debug, clap::Args)]
pub struct EndpointArgs {
    /// Address to listen on; 127.0.0.1 by default.
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Listen on every address of this machine, IPv4 and IPv6; peers need the token.
    #[arg(long, conflicts_with = "bind")]
    pub lan: bool,
    /// Ask this machine's own peers for the token too: behind a proxy or a tunnel, all peers come from it.
    #[arg(long)]
    pub token_on_loopback: bool,
    /// With --lan: plain HTTP alone, without HTTPS on the same port.
    #[arg(long, requires = "lan", conflicts_with = "certificate")]
    no_tls: bool,
    /// Certificate chain for HTTPS, PEM; with --lan one is made and kept if none is given.
    #[arg(long, visible_alias = "tls-cert", value_name = "PEM", requires = "tls_key")]
    certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[arg(long, value_name = "PEM", requires = "certificate")]
    tls_key: Option<PathBuf>,
    /// Port of HTTP, WebSocket and WebRTC signalling, 8765 by default; 0 picks a free one, as for the ports below.
    #[arg(long)]
    port: Option<u16>,
    /// Pairing token for peers beyond this machine; made up if none is given. The UDP ports have none.
    #[arg(long, value_parser = token)]
    token: Option<String>,
    /// Let pages of this origin connect too, such as https://show.example; may be repeated. Our own pages always may.
    #[arg(long = "allow-origin", value_name = "ORIGIN", value_parser = origin)]
    allowed_origins: Vec<String>,
    /// Call the subject of a source by another name, such as iPhone=Hero; two of one name are one character. May be repeated.
    #[arg(long = "alias", value_name = "NAME=ALIAS", value_parser = alias)]
    aliases: Vec<(String, String)>,
    /// Begin with this subject disabled: its frames are counted, and go nowhere. May be repeated.
    #[arg(long = "disable", value_name = "NAME")]
    disabled: Vec<String>,
    /// Folder with what the pages load: avatars and three.js for the viewer, the face tracker for "Use this camera".
    #[arg(long, value_name = "DIR", value_parser = folder)]
    models: Option<PathBuf>,
    /// Take no pictures and no sound of performers; they are taken where faces are not sealed, and kept in takes alone.
    #[arg(long)]
    no_pictures: bool,
    /// Have the OBS at this address record while a take is recorded, such as ws://127.0.0.1:4455; its files are in the take.
    #[arg(long, value_name = "URL")]
    obs: Option<String>,
    /// Environment variable with the password of OBS.
    #[arg(long, value_name = "NAME", requires = "obs")]
    obs_password_env: Option<String>,
    /// File with the password of OBS, and nothing else.
    #[arg(long, value_name = "FILE", requires = "obs", conflicts_with = "obs_password_env")]
    obs_password_file: Option<String>,
    /// Begin a take when a recording is begun in OBS, and end it with that.
    #[arg(long, requires = "obs")]
    obs_starts_takes: bool,
    /// Leave OBS's names of files as they are, instead of slate and take.
    #[arg(long, requires = "obs")]
    obs_own_names: bool,
    #[command(flatten)]
    ice: IceArgs,
}

/// The avatar of the viewer's page.
static ARIA: &[u8] = include_bytes!("../assets/aria.glb");

impl EndpointArgs {
    /// These settings, with what was asked for in their place.
    pub fn apply(self, settings: EndpointConfig) -> Result<EndpointConfig, Error> {
        let mut ice = self.ice.config()?;
        if ice.servers.is_empty() {
            ice.servers.clone_from(&settings.ice.servers);
        }
        let obs = match self.obs {
            Some(url) => {
                let password = self.obs_password_env.map(Secret::Env).or(self.obs_password_file.map(Secret::File));
                let obs = Obs {
                    password,
                    starts_takes: self.obs_starts_takes,
                    names_files: !self.obs_own_names,
                    ..Obs::new(url)
                };
                let obs = ObsConfig::for_session(&obs, Path::new(""));
                Some(obs.map_err(|error| Error::Plain(error.to_string()))?)
            }
            None => settings.obs,
        };
        let mut subjects = settings.subjects;
        let bad = |error: SubjectError| Error::Plain(format!("--alias, --disable: {error}"));
        for (source, name) in &self.aliases {
            subjects.call(source, name).map_err(bad)?;
        }
        for name in &self.disabled {
            subjects.set_enabled(name, false).map_err(bad)?;
        }
        let lan = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        Ok(EndpointConfig {
            bind: if self.lan { lan } else { self.bind.unwrap_or(settings.bind) },
            dual_stack: self.lan || (settings.dual_stack && self.bind.is_none()),
            port: self.port.unwrap_or(settings.port),
            token: self.token.or(settings.token),
            pictures: !self.no_pictures && settings.pictures,
            allowed_origins: [settings.allowed_origins, self.allowed_origins].concat(),
            token_on_loopback: self.token_on_loopback || settings.token_on_loopback,
            tls: match (self.certificate, self.tls_key) {
                (Some(certificate), Some(key)) => TlsConfig::Files { certificate, key },
                _ if self.no_tls => TlsConfig::Off,
                _ if self.lan => TlsConfig::self_signed(),
                _ => settings.tls,
            },
            ice,
            obs,
            subjects,
            models: self.models.or(settings.models),
            avatar: Some(AvatarFile::from(ARIA)),
            ..settings
        })
    }
}

/// A source's name, and what it is called here.
fn alias(text: &str) -> Result<(String, String), String> {
    let (source, name) = text.split_once('=').ok_or("expected NAME=ALIAS, such as iPhone=Hero")?;
    SubjectRules::default().call(source, name).map_err(|error| error.to_string())?;
    Ok((source.to_owned(), name.to_owned()))
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such folder".to_owned()) }
}

pub fn token(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("an empty token would admit every client".to_owned());
    }
    Ok(text.to_owned())
}

/// An origin as browsers write it.
fn origin(text: &str) -> Result<String, String> {
    let wrong = || format!("an origin is a scheme, a host and a port, such as https://show.example: got `{text}`");
    if text == "null" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.trim_end_matches('/').split_once("://").ok_or_else(wrong)?;
    let named = |part: &str, more: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte))
    };
    if !named(scheme, "+-.") || !named(authority, "-.:[]_") {
        return Err(wrong());
    }
    // Browsers leave out the usual port.
    let usual = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    Ok(format!("{scheme}://{}", authority.strip_suffix(usual).unwrap_or(authority)))
}

/// An address of this machine by which it reaches itself.
pub fn here(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        false => address,
    }
}

/// Says where pages and clients connect to; returns this machine's address on the network, where that is listened at.
pub fn introduce_http(endpoint: &Endpoint, out: &mut Output) -> io::Result<Option<IpAddr>> {
    let (addresses, token) = (endpoint.addresses(), endpoint.token());
    let token = token.as_deref();
    writeln!(out, "Browser, WebSocket, WebRTC   http://{}", here(addresses.http))?;
    let outward = outward_address().filter(|_| addresses.http.ip().is_unspecified());
    if outward.is_some() && token.is_some() {
        writeln!(out, "  from other machines        {}", endpoint.invitation())?;
        if let Some(fingerprint) = endpoint.certificate_fingerprint() {
            writeln!(out, "  its certificate, SHA-256   {fingerprint}")?;
        }
        if let (Some(authority), Some(ip)) = (endpoint.certificate_authority(), outward) {
            let address = SocketAddr::new(ip, addresses.http.port());
            writeln!(out, "  to trust it on a phone     http://{address}/certificate ({})", authority.name())?;
        }
        if out.is_terminal()
            && let Ok(code) = qrcode::QrCode::new(endpoint.invitation())
        {
            use qrcode::render::unicode::Dense1x2;
            writeln!(
                out,
                "{}",
                code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build()
            )?;
        }
    } else if let (Some(token), false) = (token, addresses.http.ip().is_loopback()) {
        writeln!(out, "  from other machines        with the token {token}")?;
    } else if token.is_some() && endpoint.config().token_on_loopback {
        writeln!(out, "  with the token             {}", endpoint.invitation())?;
    }
    Ok(outward)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_origin_is_written_as_browsers_do() {
        for (given, read) in [
            ("https://show.example", Some("https://show.example")),
            ("HTTPS://Show.Example:443/", Some("https://show.example")),
            ("http://192.0.2.7:3000", Some("http://192.0.2.7:3000")),
            ("http://[::1]:80", Some("http://[::1]")),
            ("null", Some("null")),
            ("show.example", None),
            ("https://", None),
            ("*", None),
            ("https://*.example", None),
            ("https://show.example/page", None),
        ] {
            assert_eq!(origin(given).ok().as_deref(), read, "{given}");
        }
    }
}
