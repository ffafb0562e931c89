//! Settings for OBS.

use std::fmt;

/// Port of OBS's WebSocket.
pub const OBS_PORT: u16 = 4455;

/// How OBS is reached, and what it does for takes. See `docs/obs.md`.
#[derive(Clone, PartialEq, Eq)]
pub struct ObsConfig {
    /// Its address, such as `ws://127.0.0.1:4455`; without a port, 4455.
    pub url: String,
    /// Its password, where OBS asks for one: *Tools > WebSocket Server Settings > Show Connect Info*.
    pub password: Option<String>,
    /// Whether a recording that is begun in OBS begins a take, which ends with it. Off by default.
    pub starts_takes: bool,
    /// Whether OBS names its file by slate and take; its own pattern of names is put back as soon as it records. On by
    /// default.
    pub names_files: bool,
}

impl ObsConfig {
    /// OBS at an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password: None, starts_takes: false, names_files: true }
    }

    /// The address with its scheme and its port.
    pub(crate) fn full_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("ws", &self.url));
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        // The last colon of an address in brackets may be within them.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = if has_port { String::new() } else { format!(":{OBS_PORT}") };
        format!("{scheme}://{authority}{port}{path}")
    }
}

impl fmt::Debug for ObsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url, password, starts_takes, names_files } = self;
        f.debug_struct("ObsConfig")
            .field("url", url)
            .field("password", &password.as_ref().map(|_| "..."))
            .field("starts_takes", starts_takes)
            .field("names_files", names_files)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obs_address_has_scheme_and_port() {
        for (given, full) in [
            ("192.0.2.7", "ws://192.0.2.7:4455"),
            ("ws://studio", "ws://studio:4455"),
            ("ws://studio:4456/", "ws://studio:4456/"),
            ("wss://studio/obs", "wss://studio:4455/obs"),
            ("ws://[2001:db8::1]", "ws://[2001:db8::1]:4455"),
            ("ws://[2001:db8::1]:9", "ws://[2001:db8::1]:9"),
        ] {
            assert_eq!(ObsConfig::new(given).full_url(), full);
        }
        let config = ObsConfig { password: Some("secret".to_owned()), ..ObsConfig::new("studio") };
        assert!(!format!("{config:?}").contains("secret"));
    }
}
