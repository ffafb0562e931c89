//! Authentication: which peers have to show the pairing token, and what follows a wrong one.
//!
//! Every entry asks here: HTTP requests, WebSockets by their address or their `hello`, and offers by HTTP.

use std::{net::IpAddr, time::Instant};

use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use crate::{
    config::EndpointConfig,
    error::TokenError,
    rate_limit::{RateLimit, Wait},
};

/// Whether clients can show this token.
pub(crate) fn check_token(token: &str) -> Result<(), TokenError> {
    if token.is_empty() {
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

/// The policy of one endpoint.
#[derive(Debug)]
pub(crate) struct Authentication {
    /// Held for a comparison at a time.
    token: RwLock<Option<String>>,
    /// Held for a moment at a time, never together with another lock.
    rate_limit: Mutex<RateLimit>,
}

impl Authentication {
    pub fn new(config: &EndpointConfig) -> Self {
        Self {
            token: RwLock::new(config.token.clone()),
            rate_limit: Mutex::new(RateLimit::new(config.max_requests_per_second)),
        }
    }

    /// Whether a peer at this address has to show the token. This is the whole policy.
    pub fn is_required(&self, peer: IpAddr) -> bool {
        !peer.is_loopback() && self.token.read().is_some()
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

    /// Whether a peer at this address, with this token, is authenticated. A wrong token counts against the address; a
    /// missing one does not.
    pub fn check(&self, peer: IpAddr, token: Option<&str>, now: Instant) -> Result<(), Denied> {
        if !self.is_required(peer) {
            return Ok(());
        }
        let Some(token) = token else { return Err(Denied::Token) };
        let mut rate_limit = self.rate_limit.lock();
        rate_limit.may_try(peer, now).map_err(Denied::Wait)?;
        if self.accepts(token) {
            rate_limit.right(peer, now);
            return Ok(());
        }
        rate_limit.wrong(peer, now);
        Err(Denied::Token)
    }

    /// Compared in constant time.
    fn accepts(&self, token: &str) -> bool {
        let wanted = self.token.read();
        let Some(wanted) = wanted.as_deref() else { return true };
        wanted.as_bytes().ct_eq(token.as_bytes()).into()
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
        assert_eq!(auth.check(REMOTE, None, now), Ok(()));
        assert_eq!(auth.check(REMOTE, Some("any"), now), Ok(()));
    }

    #[test]
    fn auth_requires_the_token_of_remote_peers() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config);
        let now = Instant::now();
        assert_eq!(auth.check(REMOTE, Some("secret"), now), Ok(()));
        for token in [None, Some(""), Some("secre"), Some("secret2")] {
            let auth = Authentication::new(&config);
            assert_eq!(auth.check(REMOTE, token, now), Err(Denied::Token), "{token:?}");
            assert_eq!(auth.check(LOOPBACK, token, now), Ok(()), "{token:?}");
        }
    }

    #[test]
    fn auth_token_can_be_changed() {
        let auth = Authentication::new(&EndpointConfig::default());
        let now = Instant::now();
        auth.set_token(Some("first".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Ok(()));
        auth.set_token(Some("second".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Err(Denied::Token));
        assert_eq!(auth.check(REMOTE, Some("second"), now), Ok(()));
        assert_eq!(check_token(""), Err(TokenError::Empty));
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
        assert_eq!(auth.check(REMOTE, Some("secret"), now + Duration::from_secs(2)), Ok(()));
    }
}
