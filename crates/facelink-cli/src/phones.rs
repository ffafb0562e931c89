//! Phone apps on the command line: their names, their ports, and the phones to call.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use facelink::{
    mapping::{Format, Mapping},
    vrchat::VRCHAT_PORT,
};
use facelink_net::{
    BlendshapeNames, EndpointConfig, PhoneCall, PhonePort, PhonePorts, PhoneTransport, SourceKind, SourceProfile,
    SourceProfiles, VmcOut, VrchatOut, remembered_phones,
};

use crate::{address::resolve, error::Error};

/// The name of an app on the command line: that of `--json`, with dashes.
pub fn app_name(app: SourceKind) -> &'static str {
    app.app().map_or_else(|| app.as_str(), |row| row.slug)
}

/// The name of a port on the command line: that of `--json`, with dashes.
fn port_name(port: PhonePort) -> String {
    let name = serde_json::to_value(port).unwrap_or_default();
    name.as_str().unwrap_or_default().replace('_', "-")
}

fn app(name: &str) -> Result<SourceKind, String> {
    SourceKind::PHONES.into_iter().find(|app| app_name(*app) == name || app.as_str() == name).ok_or_else(|| {
        let names: Vec<_> = SourceKind::PHONES.into_iter().map(app_name).collect();
        format!("`{name}` is no app; there are {}", names.join(", "))
    })
}

/// For arguments that name an app.
pub fn app_parser() -> impl TypedValueParser<Value = SourceKind> {
    let names = SourceKind::PHONES.map(|app| PossibleValue::new(app_name(app)).alias(app.as_str()).help(what(app)));
    PossibleValuesParser::new(names).try_map(|name| app(&name))
}

/// What an app is, for the help.
fn what(app: SourceKind) -> &'static str {
    app.app().map_or_else(|| app.title(), |row| row.summary)
}

/// Which phones are listened for, and how.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Phone apps")]
pub struct PhoneArgs {
    /// Open the usual ports of all phone apps; --lan and --call do so too.
    #[arg(long, overrides_with = "no_phones")]
    phones: bool,
    /// With --lan or --call: leave the phone apps' ports alone, but for Live Link Face and JSON.
    #[arg(long, overrides_with = "phones")]
    no_phones: bool,
    /// Port of one app, or `off`; may be given several times. `all=0` takes free ones.
    ///
    /// The apps: ifacialmocap, ifacialmocap-tcp, ifacialmocap-v3-tcp, facemotion3d, face-cap, osc, trackers, vmc, vmc-assistant,
    /// vtube-studio, live-link-face-osc.
    #[arg(long = "phone-port", value_name = "APP=PORT", value_parser = port_setting)]
    ports: Vec<PortSetting>,
    /// Call the phone at this address: iFacialMocap, Facemotion3d and VTube Studio send when they are asked to. Without an
    /// app, all of them are tried. May be given several times.
    #[arg(long, value_name = "ADDR[:PORT][=APP]", value_parser = call)]
    call: Vec<PhoneCall>,
    /// Do not remember phones that were found or called, nor call those that are remembered.
    #[arg(long)]
    no_remember: bool,
    /// Forget the phones that are remembered, before anything else.
    #[arg(long)]
    forget_phones: bool,
    /// Send faces out by VMC protocol, to VSeeFace, VMagicMirror, Warudo and others: the first that comes, or the subject
    /// named. May be given several times.
    #[arg(long, value_name = "HOST[:PORT][=SUBJECT]", value_parser = vmc_out)]
    vmc_out: Vec<VmcOut>,
    /// Names by which --vmc-out writes a face: those of Perfect Sync (EyeBlinkLeft), the presets that every VRM model has (A,
    /// Blink, Joy), or both. A model with both closes its eyes twice: choose one for it.
    #[arg(long, value_name = "NAMES", default_value = "both", value_parser = vmc_names())]
    vmc_names: BlendshapeNames,
    /// Send faces out to VRChat, as parameters of its avatar (Unified Expressions): the first that comes, or the subject named. May
    /// be given several times.
    #[arg(long, value_name = "HOST[:PORT][=SUBJECT]", value_parser = vrchat_out)]
    vrchat_out: Vec<VrchatOut>,
    /// What stands before `v2/` in the names of --vrchat-out, where the avatar has it, such as `FT/`.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    vrchat_prefix: String,
    /// Mapping by which --vrchat-out makes parameters of the shapes: RON, or JSON; its targets are their names.
    #[arg(long, value_name = "FILE", value_parser = mapping)]
    vrchat_mapping: Option<Mapping>,
    /// Send what happens by OSC, to a controller: gestures (--gestures), cuts, subjects that come and go. May be given several times.
    #[arg(long, value_name = "HOST:PORT", value_parser = osc_out)]
    osc_out: Vec<SocketAddr>,
    /// Read an app's numbers by this profile, a JSON file as --print-profile writes it. May be given several times.
    #[arg(long = "profile", value_name = "APP=FILE", value_parser = profile)]
    profiles: Vec<(SourceKind, PathBuf)>,
    /// Print the profile by which an app's numbers are read (axis signs, order, units, sides), and end.
    #[arg(long, value_name = "APP", value_parser = app_parser())]
    print_profile: Option<SourceKind>,
}

/// A port for an app, or for all.
#[derive(Clone, Copy, Debug)]
pub struct PortSetting {
    /// All of them without one.
    pub port: Option<PhonePort>,
    /// `None` does not listen.
    pub number: Option<u16>,
}

/// `APP=PORT`, of the apps whose ports have no argument of their own.
fn port_setting(text: &str) -> Result<PortSetting, String> {
    let setting = any_port(text)?;
    match setting.port {
        Some(port) if !PhonePorts::default().set(port, None) => {
            Err(format!("this one has an argument of its own: --{}", port_name(port)))
        }
        _ => Ok(setting),
    }
}

/// `APP=PORT`, of any app.
pub fn any_port(text: &str) -> Result<PortSetting, String> {
    let (name, number) = text.split_once('=').ok_or("expected APP=PORT or APP=off")?;
    let number = match number {
        "off" => None,
        _ => Some(number.parse().map_err(|_| "expected a port from 0 to 65535, or `off`".to_owned())?),
    };
    let port = match name {
        "all" => None,
        _ => Some(PhonePort::ALL.into_iter().find(|port| port_name(*port) == name).ok_or_else(|| {
            format!("`{name}` is no app with a port of its own; there are all, and those that --help lists")
        })?),
    };
    Ok(PortSetting { port, number })
}

/// `192.0.2.7`, `192.0.2.7:21412` or `[::1]:21412`, each with `=APP`.
pub fn call(text: &str) -> Result<PhoneCall, String> {
    let (address, wanted) = match text.split_once('=') {
        Some((address, name)) => (address, Some(name)),
        None => (text, None),
    };
    let (address, port) = match (IpAddr::from_str(address), SocketAddr::from_str(address)) {
        (Ok(address), _) => (address, None),
        (_, Ok(address)) => (address.ip(), Some(address.port())),
        _ => return Err(format!("`{address}` is no IP address; the phone's settings show it, under Wi-Fi")),
    };
    let (app, transport) = match wanted {
        Some("ifacialmocap-tcp") => (Some(SourceKind::IFacialMocap), PhoneTransport::Tcp),
        Some("ifacialmocap-v3-tcp") => (Some(SourceKind::IFacialMocapV3), PhoneTransport::Tcp),
        Some(name) => (Some(app(name)?), PhoneTransport::Udp),
        None => (None, PhoneTransport::Udp),
    };
    Ok(PhoneCall { port, app, transport, ..PhoneCall::any(address) })
}

fn vmc_out(text: &str) -> Result<VmcOut, String> {
    let (to, subject) = match text.split_once('=') {
        Some((to, subject)) => (to, Some(subject.to_owned())),
        None => (text, None),
    };
    let to = resolve(Some(to), PhonePort::Vmc.usual()).map_err(|error| error.to_string())?;
    Ok(VmcOut { subject, ..VmcOut::new(to) })
}

fn vrchat_out(text: &str) -> Result<VrchatOut, String> {
    let (to, subject) = match text.split_once('=') {
        Some((to, subject)) => (to, Some(subject.to_owned())),
        None => (text, None),
    };
    let to = resolve(Some(to), VRCHAT_PORT).map_err(|error| error.to_string())?;
    Ok(VrchatOut { subject, ..VrchatOut::new(to) })
}

fn osc_out(text: &str) -> Result<SocketAddr, String> {
    match resolve(Some(text), 0).map_err(|error| error.to_string())? {
        to if to.port() == 0 => Err("expected HOST:PORT".to_owned()),
        to => Ok(to),
    }
}

fn mapping(path: &str) -> Result<Mapping, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    Mapping::read(&text, Format::of_path(path)).map_err(|error| error.to_string())
}

fn vmc_names() -> impl TypedValueParser<Value = BlendshapeNames> {
    PossibleValuesParser::new(["both", "perfect-sync", "presets"]).map(|name| match name.as_str() {
        "perfect-sync" => BlendshapeNames::PerfectSync,
        "presets" => BlendshapeNames::Presets,
        _ => BlendshapeNames::Both,
    })
}

fn profile(text: &str) -> Result<(SourceKind, PathBuf), String> {
    let (name, file) = text.split_once('=').ok_or("expected APP=FILE")?;
    Ok((app(name)?, file.into()))
}

impl PhoneArgs {
    /// Sets what concerns phones, and gives `None` when a profile was asked for and printed.
    pub fn apply(&self, lan: bool, mut config: EndpointConfig) -> Result<Option<EndpointConfig>, Error> {
        for (app, file) in &self.profiles {
            let bad = |reason: &dyn std::fmt::Display| Error::Plain(format!("{}: {reason}", file.display()));
            let text = fs::read_to_string(file).map_err(|error| bad(&error))?;
            let profile: SourceProfile = serde_json::from_str(&text).map_err(|error| bad(&error))?;
            config.profiles.set(*app, profile);
        }
        if let Some(app) = self.print_profile {
            print_profile(&config.profiles, app)?;
            return Ok(None);
        }
        config.phones = self.ports(lan, config.phones);
        config.call.extend(&self.call);
        config.vmc_out.extend(self.vmc_out.iter().cloned().map(|out| out.names(self.vmc_names)));
        config.vrchat_out.extend(self.vrchat_out.iter().map(|out| VrchatOut {
            prefix: self.vrchat_prefix.clone(),
            mapping: self.vrchat_mapping.clone(),
            ..out.clone()
        }));
        config.osc_out.extend(&self.osc_out);
        config.find_phones = (lan || config.find_phones) && !self.no_phones;
        let far = config.call.iter().find(|call| !call.address.is_loopback());
        if let (Some(call), true) = (far, config.bind.is_loopback()) {
            eprintln!("facelink: {} cannot be reached from {}; give --lan or --bind", call.address, config.bind);
        }
        let file = remembered_phones();
        if self.forget_phones
            && let Some(file) = &file
            && let Err(error) = fs::remove_file(file)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(Error::Plain(format!("phones are not forgotten: {}: {error}", file.display())));
        }
        // On loopback no phone can be reached.
        let remembers = !self.no_remember && !self.no_phones && !config.bind.is_loopback();
        config.remember_phones = file.filter(|_| remembers);
        Ok(Some(config))
    }

    /// Those that are asked for, in place of these.
    fn ports(&self, lan: bool, ports: PhonePorts) -> PhonePorts {
        let mut ports = match () {
            () if self.no_phones => PhonePorts::NONE,
            () if self.phones || lan || !self.call.is_empty() => PhonePorts::usual(),
            () => ports,
        };
        for wanted in &self.ports {
            for port in PhonePort::ALL.into_iter().filter(|port| wanted.port.is_none_or(|one| one == *port)) {
                ports.set(port, wanted.number);
            }
        }
        ports
    }
}

fn print_profile(profiles: &SourceProfiles, app: SourceKind) -> Result<(), Error> {
    use io::Write;
    let text = serde_json::to_string_pretty(&profiles.get(app)).map_err(|error| Error::Output(error.into()))?;
    writeln!(io::stdout(), "{text}").map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        phones: PhoneArgs,
    }

    fn ports(args: &[&str], lan: bool) -> PhonePorts {
        Cli::try_parse_from([&["x"][..], args].concat()).unwrap().phones.ports(lan, PhonePorts::NONE)
    }

    #[test]
    fn phones_ports_by_arguments() {
        assert_eq!(ports(&[], false), PhonePorts::NONE);
        assert_eq!(ports(&["--phones"], false), PhonePorts::usual());
        assert_eq!(ports(&[], true), PhonePorts::usual());
        assert_eq!(ports(&["--call", "192.0.2.7"], false), PhonePorts::usual());
        assert_eq!(ports(&["--no-phones"], true), PhonePorts::NONE);
        assert_eq!(ports(&["--phone-port", "all=0"], false), PhonePorts::free());
        let some = ports(&["--phone-port", "vmc=1", "--phone-port", "osc=off", "--phones"], false);
        assert_eq!(some, PhonePorts { vmc: Some(1), osc: None, ..PhonePorts::usual() });
        let one = ports(&["--no-phones", "--phone-port", "face-cap=9"], true);
        assert_eq!(one, PhonePorts { face_cap: Some(9), ..PhonePorts::NONE });
        for wrong in ["vmc", "vmc=x", "fax=1", "live-link-face=1"] {
            assert!(port_setting(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn phones_called_addresses_by_arguments() {
        let at = |last| IpAddr::from([192, 0, 2, last]);
        assert_eq!(call("192.0.2.7").unwrap(), PhoneCall::any(at(7)));
        let vts = PhoneCall { port: Some(9), ..PhoneCall::app(at(8), SourceKind::VTubeStudio) };
        assert_eq!(call("192.0.2.8:9=vtube-studio").unwrap(), vts);
        assert_eq!(call("192.0.2.8:9=vtube_studio").unwrap(), vts);
        let tcp = call("[2001:db8::1]:5=ifacialmocap-tcp").unwrap();
        assert_eq!((tcp.port, tcp.app, tcp.transport), (Some(5), Some(SourceKind::IFacialMocap), PhoneTransport::Tcp));
        assert!(call("phone").unwrap_err().contains("no IP address"));
        assert!(call("192.0.2.7=fax").unwrap_err().contains("vtube-studio, udp-json"));
    }

    #[test]
    fn phones_vmc_targets_by_arguments() {
        let out = |text| vmc_out(text).unwrap();
        assert_eq!(out("192.0.2.7"), VmcOut::new(([192, 0, 2, 7], 39539).into()));
        let named = VmcOut::new(([192, 0, 2, 7], 9).into()).subject("Ann");
        assert_eq!(out("192.0.2.7:9=Ann"), named);
    }
}
