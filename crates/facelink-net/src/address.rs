//! Addresses that are given to others.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Percent-encoded as a value of a query.
fn in_query(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// The page's address, with the token in it.
pub(crate) fn page_url(address: SocketAddr, https: bool, token: Option<&str>) -> String {
    let scheme = if https { "https" } else { "http" };
    let token = token.map(|token| format!("?token={}", in_query(token))).unwrap_or_default();
    format!("{scheme}://{address}/{token}")
}

/// This machine's address as others on its network see it. Nothing is sent: the system is asked for the route.
pub fn outward_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_url_escapes_the_token() {
        assert_eq!(in_query("abc-23"), "abc-23");
        assert_eq!(in_query("open sesame & ü"), "open%20sesame%20%26%20%C3%BC");
    }
}
