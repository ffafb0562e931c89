//! A [session's file](facelink::session_file) at the sockets: the settings of an endpoint, what is dialled, and phones that are
//! simulated.

use std::{
    env, fs, io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use facelink::session_file::{Dial, Phones, Secret, SessionFile, SessionNetwork, Tls};
#[cfg(feature = "phones")]
use facelink::{
    session_file::{OutMapping, SimulatedPhone, VrchatOut as WrittenVrchatOut},
    source::{PhonePorts, SourceKind},
};

#[cfg(feature = "obs")]
use crate::obs_config::ObsConfig;
#[cfg(feature = "tls")]
use crate::tls::TlsConfig;
use crate::{client::ClientConfig, config::EndpointConfig};
#[cfg(feature = "phones")]
use crate::{
    endpoint::EndpointControl,
    phone_config::{VrchatOut, remembered_phones},
    simulator::{PerformingPhone, SimulateError, Simulator},
};
#[cfg(feature = "obs")]
use facelink::session_file::Obs;

/// Why a session's file cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionFileError {
    /// An environment variable is not set, or no text.
    #[error("network.{field}: the environment variable {name} is not set")]
    NoVariable {
        /// The field that names it.
        field: &'static str,
        /// The variable.
        name: String,
    },
    /// A file with a secret cannot be read.
    #[error("network.{field}: {}: {source}", .path.display())]
    File {
        /// The field that names it.
        field: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A secret is empty: as a token, it would admit everyone.
    #[error("network.{0}: is empty")]
    Empty(&'static str),
    /// A value that cannot be.
    #[error("network.{field}: {reason}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// Why.
        reason: String,
    },
    /// Gestures that cannot be recognised.
    #[error("gestures: {0}")]
    Gestures(String),
    /// This build lacks a feature of the crate.
    #[error("network.{field}: this build has no `{feature}`")]
    NoFeature {
        /// The field that asks for it.
        field: &'static str,
        /// The cargo feature.
        feature: &'static str,
    },
}

fn reveal(secret: &Secret, field: &'static str, folder: &Path) -> Result<String, SessionFileError> {
    let text = match secret {
        Secret::Env(name) => env::var(name).map_err(|_| SessionFileError::NoVariable { field, name: name.clone() })?,
        Secret::File(path) => {
            let path = folder.join(path);
            fs::read_to_string(&path).map_err(|source| SessionFileError::File { field, path, source })?
        }
    };
    match text.trim() {
        "" => Err(SessionFileError::Empty(field)),
        text => Ok(text.to_owned()),
    }
}

/// The text of a file.
fn read(folder: &Path, file: &str) -> Result<String, String> {
    let path = folder.join(file);
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg_attr(
    all(feature = "obs", feature = "phones", feature = "tls", feature = "seal", feature = "webrtc"),
    allow(dead_code)
)]
fn without(field: &'static str, feature: &'static str, asked: bool) -> Result<(), SessionFileError> {
    if asked { Err(SessionFileError::NoFeature { field, feature }) } else { Ok(()) }
}

impl EndpointConfig {
    /// These settings with all that a session's file says of an endpoint: its network, the names of subjects, and gestures. A
    /// part that it does not have stays. Relative paths count from `folder`, where the file is.
    ///
    /// # Errors
    /// As [`with_session`](Self::with_session), and for gestures that cannot be read.
    pub fn with_session_file(mut self, file: &SessionFile, folder: &Path) -> Result<Self, SessionFileError> {
        if let Some(network) = &file.network {
            self = self.with_session(network, folder)?;
        }
        if !file.subjects.is_empty() {
            self.subjects = file.subject_rules();
        }
        if let Some(gestures) = &file.gestures {
            let rules = gestures.rules(|path| read(folder, path)).map_err(SessionFileError::Gestures)?;
            self.gestures = Some(rules);
        }
        Ok(self)
    }

    /// These settings with what a session's file says of the network; what it does not know stays. Relative paths, and the files of
    /// secrets, count from `folder`, where the file is.
    ///
    /// # Errors
    /// [`SessionFileError`] names the field: a secret or a mapping that is not to be had, or a feature that this build lacks.
    pub fn with_session(mut self, network: &SessionNetwork, folder: &Path) -> Result<Self, SessionFileError> {
        self.bind = if network.lan { Ipv4Addr::UNSPECIFIED.into() } else { network.bind };
        self.dual_stack = network.lan;
        self.port = network.port;
        self.token = network.token.as_ref().map(|token| reveal(token, "token", folder)).transpose()?;
        self.allowed_origins.clone_from(&network.allowed_origins);
        if let Some(takes) = &network.takes {
            self.takes = takes.into();
        }
        self.takes_with_phones = network.takes_with_phones;
        #[cfg(all(feature = "http", feature = "webrtc"))]
        {
            self.pictures = network.pictures;
        }
        self.set_key(network, folder)?;
        self.set_tls(network, folder)?;
        self.set_ice(network, folder)?;
        self.set_phones(network, folder)?;
        self.set_obs(network, folder)?;
        Ok(self)
    }

    #[cfg(feature = "seal")]
    fn set_key(&mut self, network: &SessionNetwork, folder: &Path) -> Result<(), SessionFileError> {
        self.key = match &network.key {
            Some(key) => {
                let invalid = |error: facelink::seal::KeyError| SessionFileError::Invalid {
                    field: "key",
                    reason: error.to_string(),
                };
                Some(reveal(key, "key", folder)?.parse().map_err(invalid)?)
            }
            None => None,
        };
        Ok(())
    }

    #[cfg(not(feature = "seal"))]
    fn set_key(&mut self, network: &SessionNetwork, _: &Path) -> Result<(), SessionFileError> {
        without("key", "seal", network.key.is_some())
    }

    #[cfg(feature = "tls")]
    fn set_tls(&mut self, network: &SessionNetwork, folder: &Path) -> Result<(), SessionFileError> {
        self.tls = match &network.tls {
            Tls::Auto if network.lan => TlsConfig::self_signed(),
            Tls::Auto | Tls::Off => TlsConfig::Off,
            Tls::Files { certificate, key } => {
                TlsConfig::Files { certificate: folder.join(certificate), key: folder.join(key) }
            }
        };
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn set_tls(&mut self, network: &SessionNetwork, _: &Path) -> Result<(), SessionFileError> {
        without("tls", "tls", matches!(network.tls, Tls::Files { .. }))
    }

    #[cfg(feature = "webrtc")]
    fn set_ice(&mut self, network: &SessionNetwork, folder: &Path) -> Result<(), SessionFileError> {
        let server = |server: &facelink::session_file::IceServer| {
            Ok(facelink::wire::message::IceServer {
                urls: server.urls.clone(),
                username: server.username.clone(),
                credential: match &server.credential {
                    Some(credential) => Some(reveal(credential, "ice_servers", folder)?),
                    None => None,
                },
            })
        };
        self.ice.servers = network.ice_servers.iter().map(server).collect::<Result<_, SessionFileError>>()?;
        Ok(())
    }

    #[cfg(not(feature = "webrtc"))]
    fn set_ice(&mut self, network: &SessionNetwork, _: &Path) -> Result<(), SessionFileError> {
        without("ice_servers", "webrtc", !network.ice_servers.is_empty())
    }

    #[cfg(feature = "phones")]
    fn set_phones(&mut self, network: &SessionNetwork, folder: &Path) -> Result<(), SessionFileError> {
        (self.live_link_face, self.udp_json) = (network.live_link_face, network.udp_json);
        let usual = network.phones == Phones::Usual;
        self.phones = match &network.phones {
            Phones::Off => PhonePorts::NONE,
            Phones::Usual => PhonePorts::usual(),
            Phones::Ports(ports) => {
                let mut open = PhonePorts::NONE;
                for (port, number) in ports {
                    open.set(*port, Some(*number));
                }
                open
            }
        };
        self.find_phones = usual && network.lan;
        self.remember_phones = remembered_phones().filter(|_| usual && network.lan);
        self.call.clone_from(&network.call);
        for (app, profile) in &network.profiles {
            if let Some(app) = SourceKind::from_name(app) {
                self.profiles.set(app, *profile);
            }
        }
        self.vmc_out.clone_from(&network.vmc_out);
        let vrchat_out = network.vrchat_out.iter().map(|out| {
            let mapping = out.mapping.as_ref().map(|mapping| mapping.rules(|path| read(folder, path))).transpose();
            let mapping = mapping.map_err(|reason| SessionFileError::Invalid { field: "vrchat_out", reason })?;
            let (subject, prefix) = (out.subject.clone(), out.prefix.clone());
            Ok(VrchatOut { to: out.to, subject, prefix, max_fps: out.max_fps, mapping })
        });
        self.vrchat_out = vrchat_out.collect::<Result<_, _>>()?;
        self.osc_control = network.osc_control;
        Ok(())
    }

    #[cfg(not(feature = "phones"))]
    fn set_phones(&mut self, network: &SessionNetwork, _: &Path) -> Result<(), SessionFileError> {
        without("phones", "phones", network.phones != Phones::Off || !network.call.is_empty())?;
        without("vmc_out", "phones", !network.vmc_out.is_empty())?;
        without("vrchat_out", "phones", !network.vrchat_out.is_empty())
    }

    #[cfg(feature = "obs")]
    fn set_obs(&mut self, network: &SessionNetwork, folder: &Path) -> Result<(), SessionFileError> {
        self.obs = network.obs.as_ref().map(|obs| ObsConfig::for_session(obs, folder)).transpose()?;
        Ok(())
    }

    #[cfg(not(feature = "obs"))]
    fn set_obs(&mut self, network: &SessionNetwork, _: &Path) -> Result<(), SessionFileError> {
        without("obs", "obs", network.obs.is_some())
    }

    /// What a session's file says of these settings. Secrets stay where `before`, the file in use, says that they are; without one,
    /// it names environment variables: `FACELINK_TOKEN` and `FACELINK_KEY`.
    pub fn session_network(&self, before: Option<&SessionNetwork>) -> SessionNetwork {
        let kept = before.cloned().unwrap_or_default();
        let lan = self.bind.is_unspecified() && self.dual_stack;
        let secret = |is_set: bool, known: Option<Secret>, name: &str| {
            is_set.then(|| known.unwrap_or_else(|| Secret::Env(name.to_owned())))
        };
        #[allow(unused_mut, reason = "features write more")]
        let mut written = SessionNetwork {
            lan,
            bind: if lan { Ipv4Addr::LOCALHOST.into() } else { self.bind },
            port: self.port,
            // One that was made up for this run is made up again.
            token: secret(
                self.token.is_some() && (before.is_none() || kept.token.is_some()),
                kept.token,
                "FACELINK_TOKEN",
            ),
            allowed_origins: self.allowed_origins.clone(),
            takes: (self.takes != Path::new(crate::config::TAKES_FOLDER)).then(|| self.takes.display().to_string()),
            takes_with_phones: self.takes_with_phones,
            #[cfg(all(feature = "http", feature = "webrtc"))]
            pictures: self.pictures,
            connect: kept.connect,
            tls: kept.tls,
            ice_servers: kept.ice_servers,
            key: kept.key,
            obs: kept.obs,
            vrchat_out: kept.vrchat_out,
            ..SessionNetwork::default()
        };
        #[cfg(feature = "seal")]
        {
            written.key = secret(self.key.is_some(), written.key, "FACELINK_KEY");
        }
        #[cfg(feature = "obs")]
        {
            let known = written.obs.and_then(|obs| obs.password);
            written.obs = self.obs.as_ref().map(|obs| Obs {
                url: obs.url.clone(),
                password: secret(obs.password.is_some(), known, "FACELINK_OBS_PASSWORD"),
                starts_takes: obs.starts_takes,
                names_files: obs.names_files,
            });
        }
        #[cfg(feature = "tls")]
        {
            written.tls = match &self.tls {
                TlsConfig::Files { certificate, key } => {
                    Tls::Files { certificate: certificate.display().to_string(), key: key.display().to_string() }
                }
                TlsConfig::Off if lan => Tls::Off,
                TlsConfig::Off | TlsConfig::SelfSigned(_) => Tls::Auto,
            };
        }
        #[cfg(feature = "phones")]
        self.write_phones(&mut written);
        written
    }

    #[cfg(feature = "phones")]
    fn write_phones(&self, written: &mut SessionNetwork) {
        use facelink::source::PhonePort;
        (written.live_link_face, written.udp_json) = (self.live_link_face, self.udp_json);
        written.phones = if self.phones == PhonePorts::NONE {
            Phones::Off
        } else if self.phones == PhonePorts::usual() {
            Phones::Usual
        } else {
            let ports = PhonePort::ALL.into_iter().filter_map(|port| Some((port, self.phones.get(port)?)));
            Phones::Ports(ports.collect())
        };
        written.call.clone_from(&self.call);
        let differs = |app: &SourceKind| self.profiles.get(*app) != crate::SourceProfiles::usual(*app);
        let profiles = SourceKind::PHONES.into_iter().filter(differs);
        written.profiles = profiles.map(|app| (app.as_str().to_owned(), self.profiles.get(app))).collect();
        written.vmc_out.clone_from(&self.vmc_out);
        let mut kept = std::mem::take(&mut written.vrchat_out);
        let vrchat_out = self.vrchat_out.iter().map(|out| WrittenVrchatOut {
            to: out.to,
            subject: out.subject.clone(),
            prefix: out.prefix.clone(),
            max_fps: out.max_fps,
            mapping: out.mapping.as_ref().map(|mapping| {
                // The file that it came from, where that is known.
                let known = kept.iter_mut().find(|known| known.to == out.to).and_then(|known| known.mapping.take());
                known.unwrap_or_else(|| OutMapping::Rules(Box::new(mapping.clone())))
            }),
        });
        written.vrchat_out = vrchat_out.collect();
        written.osc_control = self.osc_control;
    }
}

#[cfg(feature = "obs")]
impl ObsConfig {
    /// OBS as a session's file says, with its password.
    ///
    /// # Errors
    /// [`SessionFileError`] when the password is not to be had.
    pub fn for_session(obs: &Obs, folder: &Path) -> Result<Self, SessionFileError> {
        Ok(Self {
            password: obs.password.as_ref().map(|password| reveal(password, "obs", folder)).transpose()?,
            starts_takes: obs.starts_takes,
            names_files: obs.names_files,
            ..Self::new(&obs.url)
        })
    }
}

impl ClientConfig {
    /// To dial as a session's file says, with its token. Faces of the other side are wanted.
    ///
    /// # Errors
    /// [`SessionFileError`] when the token is not to be had.
    pub fn for_session(dial: &Dial, folder: &Path) -> Result<Self, SessionFileError> {
        let token = dial.token.as_ref().map(|token| reveal(token, "connect", folder)).transpose()?;
        Ok(Self { token, receive: true, ..Self::new(&dial.url) })
    }
}

#[cfg(feature = "phones")]
impl EndpointControl {
    /// Starts a phone of a session's file that sends the synthetic performance to this endpoint; dropping it ends it.
    ///
    /// # Errors
    /// [`SimulateError`] when this endpoint has no port for its app, or the phone's own port is taken.
    pub fn simulate(&self, phone: &SimulatedPhone) -> Result<PerformingPhone, SimulateError> {
        use facelink::{performer::Performance, simulate::SimulatorConfig};
        let app = phone.app.app().ok_or(facelink::simulate::PhoneError::NotAnApp(phone.app))?;
        let open = self.phone_port(app.port).ok_or(SimulateError::NoPort(phone.app))?;
        let mut to = open;
        if to.ip().is_unspecified() {
            to.set_ip(if to.is_ipv6() { std::net::Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
        }
        let config = SimulatorConfig {
            subject: phone.subject.clone(),
            bind: Some(to.ip()),
            port: Some(0),
            stream_port: Some(0),
            fps: phone.fps,
            ..SimulatorConfig::new(phone.app, Some(to))
        };
        Ok(Simulator::start(&config)?.perform(Performance::new(phone.seed), phone.fps))
    }
}

#[cfg(test)]
mod tests {
    use facelink::session_file::SessionFile;

    use super::*;

    fn network(text: &str) -> SessionNetwork {
        SessionFile::read(&format!("(network: ({text}))")).expect("a file").file.network.expect("a network")
    }

    #[test]
    fn session_file_secret_comes_from_its_file() {
        let folder = env::temp_dir().join(format!("facelink-session-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("token"), "a token\n").expect("a file");
        fs::write(folder.join("nothing"), " \n").expect("a file");
        let token =
            |text: &str| EndpointConfig::default().with_session(&network(text), &folder).map(|config| config.token);
        assert_eq!(token(r#"token: File("token")"#).expect("a token").as_deref(), Some("a token"));
        let error = |text: &str| token(text).expect_err("no token").to_string();
        assert!(error(r#"token: File("nothing")"#).contains("network.token: is empty"));
        assert!(error(r#"token: File("absent")"#).contains("absent"));
        let wanted = "network.token: the environment variable FACELINK_TEST_UNSET is not set";
        assert_eq!(error(r#"token: Env("FACELINK_TEST_UNSET")"#), wanted);

        // So do mappings and gestures.
        fs::write(folder.join("out.face.ron"), r#"(rules: [(from: ["jawOpen"], to: ["Jaw"])])"#).expect("a file");
        fs::write(folder.join("own.gestures.ron"), "(without: [\"smile\"])").expect("a file");
        fs::write(folder.join("bad.ron"), "(hat: 1)").expect("a file");
        let with = |text: &str| {
            let file = SessionFile::read(text).expect("a session").file;
            EndpointConfig::default().with_session_file(&file, &folder)
        };
        let text = r#"(network: (vrchat_out: [(to: "127.0.0.1:9000", mapping: File("out.face.ron"))]),
            gestures: File("own.gestures.ron"), subjects: { "Ann": (as: "Hero") })"#;
        let config = with(text).expect("settings");
        assert_eq!(config.vrchat_out[0].mapping.as_ref().map(|mapping| mapping.rules.len()), Some(1));
        assert_eq!(config.gestures.as_ref().map(|set| set.without.clone()), Some(vec!["smile".to_owned()]));
        assert_eq!(config.subjects.name_of("Ann"), "Hero");
        let before = SessionFile::read(text).expect("a session").file.network;
        assert_eq!(config.session_network(before.as_ref()).vrchat_out, before.expect("a network").vrchat_out);
        for (text, part) in [
            (r#"(gestures: File("bad.ron"))"#, "gestures: bad.ron: line 1"),
            (r#"(gestures: File("absent"))"#, "absent"),
            (
                r#"(network: (vrchat_out: [(to: "127.0.0.1:9000", mapping: File("bad.ron"))]))"#,
                "network.vrchat_out: bad.ron",
            ),
        ] {
            let error = with(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
        fs::remove_dir_all(folder).expect("removed");
    }

    #[test]
    fn session_file_of_settings_gives_them_again() {
        let written = network(
            r#"lan: true, port: 9000, tls: Off, live_link_face: None, udp_json: 0, takes: "shows", takes_with_phones: true, pictures: false,
            phones: Ports({ vmc: 0 }), call: [(address: "192.0.2.7", app: ifacialmocap)], osc_control: true,
            vmc_out: [(to: "127.0.0.1:39540", subject: "Hero", names: Presets)],
            vrchat_out: [(to: "127.0.0.1:9000"), (to: "192.0.2.8:9000", subject: "Ann", prefix: "FT/", max_fps: 30,
                mapping: Rules((rules: [(from: ["jawOpen"], to: ["Jaw"])])))], connect: [(url: "ws://192.0.2.9:8765")],
            obs: (url: "ws://192.0.2.5", starts_takes: true, names_files: false)"#,
        );
        let config = EndpointConfig::default().with_session(&written, Path::new(".")).expect("settings");
        assert!(config.bind.is_unspecified() && config.dual_stack && config.port == 9000);
        assert_eq!(config.session_network(Some(&written)), written);

        let plain = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let of_plain = plain.session_network(None);
        assert_eq!(of_plain.token, Some(Secret::Env("FACELINK_TOKEN".to_owned())), "no secret is written");
    }
}
