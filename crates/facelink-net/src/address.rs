//! Addresses that are given to others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All but the unreserved characters of RFC 3986.
const RESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encoded as a value of a query.
fn in_query(text: &str) -> String {
    utf8_percent_encode(text, &RESERVED).to_string()
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

/// The same port at `::1` for one at `127.0.0.1`: which of them `localhost` is depends on program and system, and a sender over
/// UDP does not notice that nothing listens.
pub(crate) fn other_loopback(address: SocketAddr) -> Option<SocketAddr> {
    (address.ip() == Ipv4Addr::LOCALHOST).then(|| SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()))
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
