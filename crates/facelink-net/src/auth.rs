//! Authentication: which peers have to show a token, what they may do, and what follows a wrong one.
//!
//! Every entry asks here: HTTP requests, WebSockets by their address or their `hello`, and offers by HTTP.

use std::{collections::BTreeMap, net::IpAddr};

use facelink::time::Instant;

use parking_lot::{Mutex, RwLock};
use subtle::ConstantTimeEq;

use crate::{
    address::is_on_link,
    config::EndpointConfig,
    error::TokenError,
    rate_limit::{RateLimit, Wait},
    roles::{IssuedToken, Roles, TokenId, TokenOptions, TokenRole, TokenStatus},
    token::new_token,
};

/// Tokens with roles at a time.
const MAX_TOKENS: usize = 1024;

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
    /// By a token with roles.
    Issued,
    /// By its address, which no token is asked of, or because this side opened the connection.
    Exempt,
    /// By the pairing token.
    Token,
}

/// What a peer was let in by, and what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub level: AuthLevel,
    pub roles: Roles,
    /// The token with roles that it has shown: when that is withdrawn, it has to go.
    pub token: Option<TokenId>,
}

impl Grant {
    pub fn may(self, role: TokenRole) -> bool {
        self.roles.has(role)
    }
}

/// By the pairing token, by its address or by nothing, a peer may do everything.
impl From<AuthLevel> for Grant {
    fn from(level: AuthLevel) -> Self {
        Self { level, roles: Roles::ALL, token: None }
    }
}

/// A token with roles.
#[derive(Debug)]
struct Issued {
    token: String,
    roles: Roles,
    name: Option<String>,
    expires: Option<Instant>,
}

#[derive(Debug, Default)]
struct Tokens {
    /// With every role.
    pairing: Option<String>,
    issued: BTreeMap<TokenId, Issued>,
    last: u64,
}

impl Tokens {
    fn add(&mut self, options: TokenOptions, now: Instant) -> Result<IssuedToken, TokenError> {
        let token = options.token.unwrap_or_else(new_token);
        check_token(&token)?;
        if options.roles.is_empty() {
            return Err(TokenError::NoRole);
        }
        if self.issued.len() >= MAX_TOKENS {
            return Err(TokenError::TooMany);
        }
        if self.grant(&token, now).is_some() {
            return Err(TokenError::Taken);
        }
        self.last += 1;
        let id = TokenId(self.last);
        let expires = options.expires_in.and_then(|time| now.checked_add(time));
        let issued = Issued { token: token.clone(), roles: options.roles, name: options.name, expires };
        self.issued.insert(id, issued);
        Ok(IssuedToken { id, token })
    }

    /// What a token lets in to. Each is compared, in constant time.
    fn grant(&self, shown: &str, now: Instant) -> Option<Grant> {
        let is_it = |token: &str| bool::from(token.as_bytes().ct_eq(shown.as_bytes()));
        let mut found = self.pairing.as_deref().is_some_and(is_it).then(|| AuthLevel::Token.into());
        for (id, issued) in &self.issued {
            if is_it(&issued.token) && issued.expires.is_none_or(|expires| now < expires) {
                found = found.or(Some(Grant { level: AuthLevel::Issued, roles: issued.roles, token: Some(*id) }));
            }
        }
        found
    }
}

/// The policy of one endpoint.
#[derive(Debug)]
pub(crate) struct Authentication {
    /// Loopback shows the token too.
    on_loopback: bool,
    /// Held for a comparison at a time.
    tokens: RwLock<Tokens>,
    /// Held for a moment at a time, never together with another lock.
    rate_limit: Mutex<RateLimit>,
}

impl Authentication {
    pub fn new(config: &EndpointConfig, now: Instant) -> Self {
        let mut tokens = Tokens { pairing: config.token.clone(), ..Tokens::default() };
        for options in &config.tokens {
            if let Err(error) = tokens.add(options.clone(), now) {
                // `Endpoint::start` has refused it.
                tracing::warn!(%error, "a token of the settings is not used");
            }
        }
        Self {
            on_loopback: config.token_on_loopback,
            tokens: RwLock::new(tokens),
            rate_limit: Mutex::new(RateLimit::new(config.max_requests_per_second, is_on_link)),
        }
    }

    /// Whether the tokens of the settings will do.
    pub fn check_tokens(config: &EndpointConfig) -> Result<(), TokenError> {
        let mut tokens = Tokens { pairing: config.token.clone(), ..Tokens::default() };
        config.tokens.iter().try_for_each(|options| tokens.add(options.clone(), Instant::now()).map(drop))
    }

    /// Whether a peer at this address has to show the token. This is the whole policy.
    pub fn is_required(&self, peer: IpAddr) -> bool {
        (self.on_loopback || !peer.is_loopback()) && self.has_token()
    }

    /// Whether there is a token to show.
    pub fn has_token(&self) -> bool {
        let tokens = self.tokens.read();
        tokens.pairing.is_some() || !tokens.issued.is_empty()
    }

    /// The pairing token that is asked for now.
    pub fn token(&self) -> Option<String> {
        self.tokens.read().pairing.clone()
    }

    /// Changes the pairing token for peers to come.
    pub fn set_token(&self, token: Option<String>) {
        self.tokens.write().pairing = token;
    }

    /// Makes a token with roles.
    pub fn add_token(&self, options: TokenOptions, now: Instant) -> Result<IssuedToken, TokenError> {
        self.tokens.write().add(options, now)
    }

    /// Takes a token with roles back. `false` when there is none of this id.
    pub fn withdraw(&self, id: TokenId) -> bool {
        self.tokens.write().issued.remove(&id).is_some()
    }

    /// Whether a token with roles still holds.
    #[cfg(all(feature = "http", feature = "webrtc", not(target_arch = "wasm32")))]
    pub fn holds(&self, id: TokenId) -> bool {
        self.tokens.read().issued.contains_key(&id)
    }

    /// Takes back the tokens that have expired.
    pub fn expire(&self, now: Instant) -> Vec<TokenId> {
        let is_over = |issued: &Issued| issued.expires.is_some_and(|expires| expires <= now);
        if !self.tokens.read().issued.values().any(is_over) {
            return Vec::new();
        }
        self.tokens.write().issued.extract_if(.., |_, issued| is_over(issued)).map(|(id, _)| id).collect()
    }

    /// The tokens with roles, with the connections of each as `connections` counts them.
    pub fn tokens(&self, connections: impl Fn(TokenId) -> usize, now: Instant) -> Vec<TokenStatus> {
        let left = |expires: Instant| expires.saturating_duration_since(now).as_secs_f64();
        let tokens = self.tokens.read();
        let status = tokens.issued.iter().map(|(id, issued)| TokenStatus {
            id: *id,
            roles: issued.roles,
            name: issued.name.clone(),
            expires_in_seconds: issued.expires.map(left),
            connections: connections(*id),
        });
        status.collect()
    }

    /// Counts a request.
    pub fn count_request(&self, peer: IpAddr, now: Instant) -> Result<(), Wait> {
        self.rate_limit.lock().request(peer, now)
    }

    /// By what a peer at this address, with this token, is let in. A wrong token counts against the address; a missing one
    /// does not. A peer that need not show one, and shows one with roles, has those.
    pub fn check(&self, peer: IpAddr, token: Option<&str>, now: Instant) -> Result<Grant, Denied> {
        if self.is_required(peer) {
            return self.check_token(peer, token, now);
        }
        let shown = token.and_then(|token| self.tokens.read().grant(token, now));
        Ok(shown.unwrap_or(AuthLevel::Exempt.into()))
    }

    /// The same for a peer that has to show the token wherever it is.
    pub fn check_token(&self, peer: IpAddr, token: Option<&str>, now: Instant) -> Result<Grant, Denied> {
        let Some(token) = token else { return Err(Denied::Token) };
        let mut rate_limit = self.rate_limit.lock();
        rate_limit.may_try(peer, now).map_err(Denied::Wait)?;
        if let Some(grant) = self.tokens.read().grant(token, now) {
            rate_limit.right(peer, now);
            return Ok(grant);
        }
        rate_limit.wrong(peer, now);
        Err(Denied::Token)
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
        let auth = Authentication::new(&EndpointConfig::default(), Instant::now());
        let now = Instant::now();
        assert!(!auth.is_required(REMOTE));
        assert_eq!(auth.check(REMOTE, None, now), Ok(AuthLevel::Exempt.into()));
        assert_eq!(auth.check(REMOTE, Some("any"), now), Ok(AuthLevel::Exempt.into()));
        assert_eq!(auth.check_token(REMOTE, Some("any"), now), Err(Denied::Token), "there is none to show");
    }

    #[test]
    fn auth_requires_the_token_of_remote_peers() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config, Instant::now());
        let now = Instant::now();
        assert_eq!(auth.check(REMOTE, Some("secret"), now), Ok(AuthLevel::Token.into()));
        assert_eq!(
            auth.check(LOOPBACK, Some("secret"), now),
            Ok(AuthLevel::Token.into()),
            "shown, though not asked for"
        );
        for token in [None, Some(""), Some("secre"), Some("secret2")] {
            let auth = Authentication::new(&config, Instant::now());
            assert_eq!(auth.check(REMOTE, token, now), Err(Denied::Token), "{token:?}");
            assert_eq!(auth.check(LOOPBACK, token, now), Ok(AuthLevel::Exempt.into()), "{token:?}");
        }
    }

    #[test]
    fn auth_token_of_loopback_is_an_option() {
        let config =
            EndpointConfig { token: Some("secret".to_owned()), token_on_loopback: true, ..EndpointConfig::default() };
        let auth = Authentication::new(&config, Instant::now());
        let now = Instant::now();
        for _ in 0..20 {
            for token in [None, Some("wrong")] {
                assert_eq!(auth.check(LOOPBACK, token, now), Err(Denied::Token), "{token:?}");
            }
        }
        let right = auth.check(LOOPBACK, Some("secret"), now);
        assert_eq!(right, Ok(AuthLevel::Token.into()), "behind a proxy all are loopback: no wait for one of them");
    }

    #[test]
    fn auth_token_can_be_changed() {
        let auth = Authentication::new(&EndpointConfig::default(), Instant::now());
        let now = Instant::now();
        auth.set_token(Some("first".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Ok(AuthLevel::Token.into()));
        auth.set_token(Some("second".to_owned()));
        assert_eq!(auth.check(REMOTE, Some("first"), now), Err(Denied::Token));
        assert_eq!(auth.check(REMOTE, Some("second"), now), Ok(AuthLevel::Token.into()));
        for empty in ["", " ", "\t"] {
            assert_eq!(check_token(empty), Err(TokenError::Empty), "{empty:?}");
        }
        assert_eq!(check_token("a\nb"), Err(TokenError::Control));
        assert_eq!(check_token("open sesame ü"), Ok(()));
    }

    #[test]
    fn auth_wrong_tokens_delay_the_right_one() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config, Instant::now());
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(auth.check(REMOTE, None, now), Err(Denied::Token), "a missing token is no guess");
        }
        for _ in 0..3 {
            assert_eq!(auth.check(REMOTE, Some("wrong"), now), Err(Denied::Token));
        }
        assert!(matches!(auth.check(REMOTE, Some("secret"), now), Err(Denied::Wait(_))));
        assert_eq!(auth.check(REMOTE, Some("secret"), now + Duration::from_secs(2)), Ok(AuthLevel::Token.into()));
    }

    #[test]
    fn auth_token_with_roles_expires_and_is_withdrawn() {
        let auth = Authentication::new(&EndpointConfig::default(), Instant::now());
        let now = Instant::now();
        let view = TokenOptions {
            expires_in: Some(Duration::from_secs(60)),
            name: Some("wall".to_owned()),
            ..TokenOptions::new(TokenRole::View)
        };
        let view = auth.add_token(view, now).expect("made");
        assert!(auth.is_required(REMOTE), "there is one to show");
        let both = [TokenRole::Publish, TokenRole::Direct].into_iter().collect::<Roles>();
        let other = TokenOptions { token: Some("mine".to_owned()), ..TokenOptions::new(both) };
        let other = auth.add_token(other.clone(), now).expect("made");
        for (token, id, roles) in [(&*view.token, view.id, TokenRole::View.into()), ("mine", other.id, both)] {
            let wanted = Grant { level: AuthLevel::Issued, roles, token: Some(id) };
            assert_eq!(auth.check(REMOTE, Some(token), now), Ok(wanted));
            assert_eq!(auth.check(LOOPBACK, Some(token), now), Ok(wanted), "shown, though not asked for");
        }
        let status = auth.tokens(|id| usize::from(id == view.id), now);
        assert_eq!((status[0].connections, status[0].expires_in_seconds), (1, Some(60.0)));
        assert_eq!((status[1].connections, status[1].expires_in_seconds), (0, None));

        let later = now + Duration::from_secs(60);
        assert_eq!(auth.check(REMOTE, Some(&view.token), later), Err(Denied::Token), "also before it is cleared away");
        assert_eq!((auth.expire(now), auth.expire(later)), (vec![], vec![view.id]));
        assert_eq!((auth.withdraw(other.id), auth.withdraw(other.id)), (true, false));
        assert_eq!(auth.check(REMOTE, Some("mine"), later), Ok(AuthLevel::Exempt.into()), "there is none any more");
    }

    #[test]
    fn auth_tokens_with_roles_are_checked_and_bounded() {
        let config = EndpointConfig { token: Some("secret".to_owned()), ..EndpointConfig::default() };
        let auth = Authentication::new(&config, Instant::now());
        let now = Instant::now();
        let named = |token: &str| TokenOptions { token: Some(token.to_owned()), ..TokenOptions::new(TokenRole::View) };
        assert_eq!(auth.add_token(named("secret"), now), Err(TokenError::Taken));
        assert_eq!(auth.add_token(named(" "), now), Err(TokenError::Empty));
        assert_eq!(auth.add_token(TokenOptions::new(Roles::NONE), now), Err(TokenError::NoRole));
        for _ in 0..MAX_TOKENS {
            auth.add_token(TokenOptions::new(TokenRole::View), now).expect("made");
        }
        assert_eq!(auth.add_token(TokenOptions::new(TokenRole::View), now), Err(TokenError::TooMany));
    }
}
