//! A session's file on the command line: the network, names of subjects, gestures and simulated phones are used, the rest is for
//! games.

use std::{
    fs,
    path::{Path, PathBuf},
};

use facelink::session_file::{SessionFile, SessionNetwork, Timecode};
use facelink_net::{Client, ClientConfig, Endpoint, EndpointConfig, PerformingPhone, SessionFileError};

use crate::error::Error;

/// A file that was read.
pub struct Session {
    path: PathBuf,
    file: SessionFile,
}

/// What runs as long as it is kept.
pub struct Started {
    _phones: Vec<PerformingPhone>,
    _dials: Vec<Client>,
}

impl Session {
    /// Reads it, and says what of it is not used here.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |reason: &dyn std::fmt::Display| Error::Plain(format!("{}: {reason}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| bad(&error))?;
        let read = SessionFile::read(&text).map_err(|error| bad(&error))?;
        for field in &read.unknown {
            eprintln!("facelink: {}: the field `{field}` is unknown and does nothing", path.display());
        }
        let file = read.file;
        let for_games = [
            ("virtual subjects", file.virtual_subjects.len()),
            ("avatars", file.avatars.len()),
            ("takes that are played", file.takes.len()),
        ];
        let for_games: Vec<_> = for_games.into_iter().filter(|(_, count)| *count > 0).map(|(name, _)| name).collect();
        if !for_games.is_empty() {
            eprintln!("facelink: {}: {} are for games, and not used here", path.display(), for_games.join(", "));
        }
        Ok(Self { path: path.to_owned(), file })
    }

    /// Whose timecode faces have.
    pub fn timecode(&self) -> Option<&Timecode> {
        self.file.timecode.as_ref()
    }

    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    fn network(&self) -> SessionNetwork {
        self.file.network.clone().unwrap_or_default()
    }

    fn error(&self, error: &SessionFileError) -> Error {
        Error::Plain(format!("{}: {error}", self.path.display()))
    }

    /// These settings with what the file says.
    pub fn apply(&self, settings: EndpointConfig) -> Result<EndpointConfig, Error> {
        settings.with_session_file(&self.file, self.folder()).map_err(|error| self.error(&error))
    }

    /// Dials, and starts the simulated phones.
    pub fn start(self, endpoint: &Endpoint) -> Result<Started, Error> {
        let dial = |dial| {
            let config = ClientConfig::for_session(dial, self.folder()).map_err(|error| self.error(&error))?;
            Ok(endpoint.connect(ClientConfig { ice: endpoint.config().ice.clone(), ..config }))
        };
        let dials = self.network().connect.iter().map(dial).collect::<Result<Vec<_>, Error>>()?;
        let phones = self.file.simulated_phones.iter().enumerate().map(|(index, phone)| {
            endpoint
                .simulate(phone)
                .map_err(|error| Error::Plain(format!("{}: simulated_phones[{index}]: {error}", self.path.display())))
        });
        Ok(Started { _phones: phones.collect::<Result<_, _>>()?, _dials: dials.into_iter().flatten().collect() })
    }
}
