//! Authentication: which peers have to show the pairing token, and what follows a wrong one.
//!
//! Every entry asks here: HTTP requests, WebSockets by their address or their `hello`, and offers by HTTP.

use std::{net::IpAddr, time::Instant};

use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use crate::{
    address::is_on_link,
    config::EndpointConfig,
    error::TokenError,
    rate_limit::{RateLimit, Wait},
};

/// Whether clients can show this token.
pub(crate) fn check_token(token: &str) -> Result<(), TokenError> {
    if token.trim().is_empty() {
        Err(TokenError::Empty)
    } else if token.chars().any(char::is_control) {
        Err(TokenError::Control)
    } else {
        Ok(())
    }
}

/// Why a peer is not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Too many wrong tokens.
    Wait(Wait),
    /// The token is missing or wrong.
    Token,
}

/// By what a source was let in. Those that come later here outrank those before: one that ranks lower does not take over a
/// face of theirs, and has limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AuthLevel {
    /// By nothing: datagrams and streams of phones cannot show a token.
    Open,
    /// By its address, which no token is asked of, or because this side opened the connection.
    Exempt,
    /// By the token.
    Token,
}

/// The policy of one endpoint.
#[derive(Debug)]
pub(crate) struct Authentication {
    /// Loopback shows the token too.
    on_loopback: bool,
    /// Held for a comparison at a time.
    token: RwLock<Option<String>>,
    /// Held for a moment at a time, never together with another lock.
    rate_limit: Mutex<RateLimit>,
}

impl Authentication {
    pub fn new(config: &EndpointConfig) -> Self {
        Self {
            on_loopback: config.token_on_loopback,
            token: RwLock::new(config.token.clone()),
            rate_limit: Mutex::new(RateLimit::new(config.max_requests_per_second, is_on_link)),
        }
    }

    /// Whether a peer at this address has to show the token. This is the whole policy.
    pub fn is_required(&self, peer: IpAddr) -> bool {
        (self.on_loopback || !peer.is_loopback()) && self.has_token()
    }

    /// Whether there is a token to show.
    pub fn has_token(&self) -> bool {
        self.token.read().is_some()
    }

    /// The token that is asked for now.
    pub fn token(&self) -> Option<String> {
        self.token.read().clone()
    }

    /// Changes the token for peers to come.
    pub fn set_token(&self, token: Option<String>) {
        *self.token.write() = token;
    }

    /// Counts a request.
    pub fn count_request(&self, peer: IpAddr, now: Instant) -> Result<(), Wait> {
        self.rate_limit.lock().request(peer, now)
    }

    /// By what a peer at this address, with this token, is let in. A wrong token counts against the address; a missing one
    /// does not.
    pub fn check(&self, peer: IpAddr, token: Option<&str>, now: Instant) -> Result<AuthLevel, Denied> {
        if self.is_required(peer) {
            return self.check_token(peer, token, now);
        }
        Ok(if token.is_some_and(|token| self.accepts(token)) { AuthLevel::Token } else { AuthLevel::Exempt })
    }

    /// The same for a peer that has to show the token wherever it is.
    pub fn check_token(&self, peer: IpAddr, token: Option<&str>, now: Instant) -> Result<AuthLevel, Denied> {
        let Some(token) = token else { return Err(Denied::Token) };
        let mut rate_limit = self.rate_limit.lock();
        rate_limit.may_try(peer, now).map_err(Denied::Wait)?;
        if self.accepts(token) {
            rate_limit.right(peer, now);
            return Ok(AuthLevel::Token);
        }
        rate_limit.wrong(peer, now);
        Err(Denied::Token)
    }

    /// Compared in constant time. Without a token there is none that would be right.
    fn accepts(&self, token: &str) -> bool {
        let wanted = self.token.read();
        wanted.as_deref().is_some_and(|wanted| wanted.as_bytes().ct_eq(token.as_bytes()).into())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const REMOTE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    #[test]
    fn auth_without_token_accepts_every_peer() {
        let auth = Authentication::new(&EndpointConfig::default());
        let now = Instant::now();
        assert!(!auth.is_required(REMOTE));
        assert_eq!(auth.check(REMOTE, None, now), Ok(AuthLevel::Exempt));
        assert_eq!(auth.check(REMOTE, Some("any"), now), Ok(AuthLevel::Exempt));
        assert_eq!(auth.check_token(REMOTE, Some("any"), now), Err(Denied::Token), "there is none to show");
    }

    #[test]
    fn auth_requires_the_token_of_remote_peers() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config);
        let now = Instant::now();
        assert_eq!(auth.check(REMOTE, Some("secret"), now), Ok(AuthLevel::Token));
        assert_eq!(auth.check(LOOPBACK, Some("secret"), now), Ok(AuthLevel::Token), "shown, though not asked for");
        for token in [None, Some(""), Some("secre"), Some("secret2")] {
            let auth = Authentication::new(&config);
            assert_eq!(auth.check(REMOTE, token, now), Err(Denied::Token), "{token:?}");
            assert_eq!(auth.check(LOOPBACK, token, now), Ok(AuthLevel::Exempt), "{token:?}");
        }
    }

    #[test]
    fn auth_token_of_loopback_is_an_option() {
        let config =
            EndpointConfig { token: Some("secret".to_owned()), token_on_loopback: true, ..EndpointConfig::default() };
        let auth = Authentication::new(&config);
        let now = Instant::now();
        for _ in 0..20 {
            for token in [None, Some("wrong")] {
                assert_eq!(auth.check(LOOPBACK, token, now), Err(Denied::Token), "{token:?}");
            }
        }
        let right = auth.check(LOOPBACK, Some("secret"), now);
        assert_eq!(right, Ok(AuthLevel::Token), "behind a proxy all are loopback: no wait for one of them");
    }

    #[test]
    fn auth_token_can_be_changed() {
        let auth = Authentication::new(&EndpointConfig::default());
        let now = Instant::now();
        auth.set_token(Some("first".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Ok(AuthLevel::Token));
        auth.set_token(Some("second".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Err(Denied::Token));
        assert_eq!(auth.check(REMOTE, Some("second"), now), Ok(AuthLevel::Token));
        for empty in ["", " ", "\t"] {
            assert_eq!(check_token(empty), Err(TokenError::Empty), "{empty:?}");
        }
        assert_eq!(check_token("a\nb"), Err(TokenError::Control));
        assert_eq!(check_token("open sesame ü"), Ok(()));
    }

    #[test]
    fn auth_wrong_tokens_delay_the_right_one() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config);
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(auth.check(REMOTE, None, now), Err(Denied::Token), "a missing token is no guess");
        }
        for _ in 0..3 {
            assert_eq!(auth.check(REMOTE, Some("wrong"), now), Err(Denied::Token));
        }
        assert!(matches!(auth.check(REMOTE, Some("secret"), now), Err(Denied::Wait(_))));
        assert_eq!(auth.check(REMOTE, Some("secret"), now + Duration::from_secs(2)), Ok(AuthLevel::Token));
    }
}
