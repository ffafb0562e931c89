//! STUN and TURN servers on the command line.

use facelink_net::{IceConfig, IceError, IcePolicy, IceServer};

use crate::error::Error;

/// STUN and TURN servers, ports and interfaces of WebRTC.
#[derive(Debug, clap::Args)]
pub struct IceArgs {
    /// STUN or TURN server, as `stun:HOST:PORT` or `turn:HOST:PORT,USER,PASSWORD`; may be given several times.
    #[arg(long = "ice-server", value_name = "URL[,USER,PASSWORD]", value_parser = server)]
    ice_servers: Vec<IceServer>,
    /// Go through a TURN relay alone.
    #[arg(long)]
    ice_relay_only: bool,
}

impl IceArgs {
    /// The configuration, unless it cannot work. What this side cannot use of it is printed as a warning.
    pub fn config(&self) -> Result<IceConfig, Error> {
        let config = IceConfig {
            servers: self.ice_servers.clone(),
            policy: if self.ice_relay_only { IcePolicy::Relay } else { IcePolicy::All },
            ..IceConfig::default()
        };
        let check = config.check();
        for error in check.errors {
            match error {
                // The WebSocket remains, and the endpoint may announce a relay to its clients.
                IceError::NoRelay => eprintln!("facelink: {error}: without one, WebRTC will not open"),
                _ => return Err(Error::Plain(error.to_string())),
            }
        }
        for warning in check.warnings {
            eprintln!("facelink: {warning}");
        }
        Ok(config)
    }
}

/// The password comes last, since it may have commas in it.
fn server(text: &str) -> Result<IceServer, &'static str> {
    let mut parts = text.splitn(3, ',');
    let url = parts.next().filter(|url| !url.is_empty()).ok_or("expected an address")?;
    let (username, credential) = match (parts.next(), parts.next()) {
        (None, _) => (None, None),
        (Some(user), Some(password)) => (Some(user.to_owned()), Some(password.to_owned())),
        (Some(_), None) => return Err("expected a password after the user name"),
    };
    Ok(IceServer { urls: vec![url.to_owned()], username, credential })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ice_server_flags_are_parsed() {
        let plain = server("stun:192.0.2.1:3478").unwrap();
        assert_eq!(
            (plain.urls, plain.username, plain.credential),
            (vec!["stun:192.0.2.1:3478".to_owned()], None, None)
        );
        let relay = server("turn:192.0.2.1?transport=tcp,ann,a,b").unwrap();
        assert_eq!(relay.urls, ["turn:192.0.2.1?transport=tcp"]);
        assert_eq!((relay.username.as_deref(), relay.credential.as_deref()), (Some("ann"), Some("a,b")));
        assert!(server("").is_err());
        assert!(server("turn:192.0.2.1,ann").is_err());
    }
}
