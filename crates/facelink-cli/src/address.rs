//! Addresses on the command line.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use crate::error::Error;

/// `HOST:PORT`, or `HOST` and the usual port.
pub fn resolve(to: Option<&str>, port: u16) -> Result<SocketAddr, Error> {
    let Some(to) = to else {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    };
    let bad = |reason: &dyn std::fmt::Display| Error::Plain(format!("`{to}` is no HOST:PORT to send to: {reason}"));
    let bare = to.strip_prefix("udp://").unwrap_or(to);
    if bare.contains("://") {
        return Err(bad(&"this wire has no such addresses"));
    }
    let unbracketed = bare.trim_start_matches('[').trim_end_matches(']');
    let found = if let Ok(ip) = unbracketed.parse() {
        return Ok(SocketAddr::new(ip, port));
    } else if bare.contains(':') {
        bare.to_socket_addrs()
    } else {
        (bare, port).to_socket_addrs()
    };
    let mut found: Vec<SocketAddr> = found.map_err(|error| bad(&error))?.collect();
    // Receivers listen on IPv4 by default.
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| bad(&"no such host"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_with_or_without_port_is_resolved() {
        let resolved =
            |to| resolve(Some(to), 5005).map(|address| address.to_string()).map_err(|error| error.to_string());
        assert_eq!(resolve(None, 11111).unwrap().to_string(), "127.0.0.1:11111");
        assert_eq!(resolved("192.0.2.7").unwrap(), "192.0.2.7:5005");
        assert_eq!(resolved("192.0.2.7:9").unwrap(), "192.0.2.7:9");
        assert_eq!(resolved("[::1]:9").unwrap(), "[::1]:9");
        assert_eq!(resolved("::1").unwrap(), "[::1]:5005");
        assert_eq!(resolved("udp://192.0.2.7").unwrap(), "192.0.2.7:5005");
        assert!(resolved("ws://192.0.2.7").is_err());
        assert!(resolved("192.0.2.7:x").is_err());
    }
}
