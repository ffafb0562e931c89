//! How WebRTC connects: STUN and TURN servers, and which addresses and ports are used.

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
use base64::{Engine as _, engine::general_purpose::STANDARD};
#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
use ring::hmac;

use facelink::wire::json::IceServer;

/// Google's public STUN server, to opt into: no server is asked unless it is configured.
pub const GOOGLE_STUN: &str = "stun:stun.l.google.com:19302";

/// Label of our data channels, and their protocol.
pub(crate) const CHANNEL_LABEL: &str = "animation";
pub(crate) const CHANNEL_PROTOCOL: &str = "animation-data";

/// Which routes WebRTC may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IcePolicy {
    /// Directly where possible, else through a relay.
    #[default]
    All,
    /// Through a TURN relay alone: addresses stay hidden.
    Relay,
}

/// Gives the STUN and TURN servers of the next connection, such as ones with time-limited credentials. Called once a
/// connection for our own side, and once for each client that receives the servers; it must not block.
#[derive(Clone)]
pub struct IceServerProvider(pub Arc<dyn Fn() -> Vec<IceServer> + Send + Sync>);

impl IceServerProvider {
    /// Asks `servers` for each connection.
    pub fn new(servers: impl Fn() -> Vec<IceServer> + Send + Sync + 'static) -> Self {
        Self(Arc::new(servers))
    }
}

impl fmt::Debug for IceServerProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IceServerProvider")
    }
}

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
/// Time-limited TURN credentials from a secret shared with the TURN server (`use-auth-secret` and
/// `static-auth-secret` of coturn; draft-uberti-behave-turn-rest): the user name is the time at which it expires, the
/// password its HMAC-SHA1.
#[derive(Clone)]
pub struct TurnSecret {
    /// Addresses of the TURN server, such as `turn:turn.example:3478`.
    pub urls: Vec<String>,
    /// The secret, as the TURN server has it.
    pub secret: String,
    /// How long a pair of credentials can open relays. An open relay is refreshed with the credentials that opened it,
    /// so this bounds a connection through the relay too: take hours.
    pub ttl: Duration,
    /// Name that the TURN server logs; none by default.
    pub user: Option<String>,
}

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
impl TurnSecret {
    /// Credentials for one TURN server that last 12 hours.
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], secret: secret.into(), ttl: Duration::from_secs(12 * 3600), user: None }
    }

    /// The server with credentials of this moment.
    pub fn server(&self, now: SystemTime) -> IceServer {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expiry = (now + self.ttl).as_secs();
        let username = match &self.user {
            Some(user) => format!("{expiry}:{user}"),
            None => expiry.to_string(),
        };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.secret.as_bytes());
        let credential = STANDARD.encode(hmac::sign(&key, username.as_bytes()));
        IceServer { urls: self.urls.clone(), username: Some(username), credential: Some(credential) }
    }

    /// Fresh credentials for each connection.
    pub fn provider(self) -> IceServerProvider {
        IceServerProvider::new(move || vec![self.server(SystemTime::now())])
    }
}

#[cfg(all(feature = "webrtc", not(target_arch = "wasm32")))]
impl fmt::Debug for TurnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnSecret")
            .field("urls", &self.urls)
            .field("ttl", &self.ttl)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// Where a peer's sockets are bound, and how its connection is made.
#[derive(Clone, Debug)]
pub(crate) struct PeerConfig {
    pub bind: IpAddr,
    pub ice: IceConfig,
}

/// How WebRTC connections are made.
#[derive(Clone, Debug)]
pub struct IceConfig {
    /// STUN and TURN servers, for us and for the clients that ask; none by default. STUN entries may leave out the
    /// scheme (`stun.example:3478`). Our own side speaks STUN and TURN over UDP alone; the clients get `turns:` and TCP
    /// entries all the same. See [`check`](Self::check).
    pub servers: Vec<IceServer>,
    /// Asked for more servers whenever a connection is made; see [`IceServerProvider`] and [`TurnSecret`].
    pub provider: Option<IceServerProvider>,
    /// Whether anything but a relay may be used.
    pub policy: IcePolicy,
    /// Ports to use, for UDP and for TCP; any by default. Each connection takes one UDP port on each interface.
    pub udp_ports: Option<RangeInclusive<u16>>,
    /// Addresses by which others reach this machine, one for each family, where a NAT with port forwarding stands before
    /// it: our candidates carry them instead of private ones. The ports stay as they are, so set
    /// [`udp_ports`](Self::udp_ports) to what is forwarded.
    pub advertised: Vec<IpAddr>,
    /// Names (`wlan0`) or addresses of the network interfaces to use; all by default. Link-local addresses are never
    /// used. Counts where the endpoint is bound to `0.0.0.0` or `::`, and loopback is always used then.
    pub interfaces: Vec<String>,
    /// Whether IPv6 addresses are used in addition to IPv4 where the endpoint is bound to `0.0.0.0` or `::`.
    pub ipv6: bool,
    /// Whether TCP is tried where UDP is blocked (RFC 6544). It is the second choice: candidates over UDP get 1.5 s first.
    pub tcp: bool,
    /// Whether TCP is tried on loopback addresses too, where only a browser's policy blocks UDP; off by
    /// default.
    pub tcp_loopback: bool,
}

impl Default for IceConfig {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            provider: None,
            policy: IcePolicy::All,
            udp_ports: None,
            advertised: Vec::new(),
            interfaces: Vec::new(),
            ipv6: true,
            tcp: true,
            tcp_loopback: false,
        }
    }
}

/// What cannot work for any peer in an [`IceConfig`], so that it is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceError {
    /// An address that no peer could use.
    #[error("field `{field}`: \"{url}\" is no STUN or TURN address: {reason}")]
    BadUrl {
        /// Which field, such as `ice_servers[0].urls[1]`.
        field: String,
        /// The address.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// A TURN server without a user name or a password.
    #[error("field `{field}`: missing or empty, and {url} needs it")]
    NoCredentials {
        /// Which field.
        field: String,
        /// The address.
        url: String,
    },
    /// An entry without any address.
    #[error("field `{field}`: names no server")]
    NoUrls {
        /// Which field.
        field: String,
    },
    /// Relays alone are allowed, and there is none that this side could use.
    #[error("field `policy`: relays alone are allowed, and no TURN server over UDP is configured")]
    NoRelay,
    /// A port range without a port.
    #[error("field `udp_ports`: {start}-{end} is no range of ports")]
    NoPorts {
        /// First port.
        start: u16,
        /// Last port.
        end: u16,
    },
}

/// What part of an [`IceConfig`] this side does not use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IceWarning {
    /// Our side speaks STUN and TURN over UDP alone. Browsers get this server in `welcome` and can use it.
    #[error("field `{field}`: {url} is for the clients alone: this side speaks STUN and TURN over UDP only")]
    ClientsOnly {
        /// Which field, such as `ice_servers[0].urls[1]`.
        field: String,
        /// The address.
        url: String,
    },
    /// More advertised addresses of one family than the one that counts.
    #[error("field `advertised`: only the first address of each family counts, not {address}")]
    Advertised {
        /// The one that does not count.
        address: IpAddr,
    },
}

/// What [`IceConfig::check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IceCheck {
    /// The servers that our own side uses.
    pub own: Vec<IceServer>,
    /// The servers that clients receive: what browsers accept, `turns:` and TCP among it.
    pub clients: Vec<IceServer>,
    /// What cannot work.
    pub errors: Vec<IceError>,
    /// What this side does not use.
    pub warnings: Vec<IceWarning>,
}

impl IceConfig {
    /// Takes the configuration apart: what our side uses, what clients receive, and what is wrong with it. An
    /// endpoint calls it when it starts; servers of a [`provider`](Self::provider) are checked as they come.
    pub fn check(&self) -> IceCheck {
        let mut check = check_servers(&self.servers);
        if let Some(ports) = &self.udp_ports
            && (ports.is_empty() || *ports.start() == 0)
        {
            check.errors.push(IceError::NoPorts { start: *ports.start(), end: *ports.end() });
        }
        for (place, address) in self.advertised.iter().enumerate() {
            if self.advertised.iter().take(place).any(|earlier| earlier.is_ipv4() == address.is_ipv4()) {
                check.warnings.push(IceWarning::Advertised { address: *address });
            }
        }
        if self.policy == IcePolicy::Relay && self.provider.is_none() && !has_relay(&check.own) {
            check.errors.push(IceError::NoRelay);
        }
        check
    }

    /// The servers of the next connection, the [`provider`](Self::provider)'s among them. What is wrong with them is
    /// left out, and logged on level `debug`: [`check`](Self::check) has said it aloud.
    pub(crate) fn current(&self) -> IceCheck {
        let mut servers = self.servers.clone();
        if let Some(provider) = &self.provider {
            servers.extend((provider.0)());
        }
        let check = check_servers(&servers);
        for error in &check.errors {
            tracing::debug!(%error, "ICE server");
        }
        for warning in &check.warnings {
            tracing::debug!(%warning, "ICE server");
        }
        check
    }

    /// The servers that a client receives now, in `welcome`.
    pub fn for_clients(&self) -> Vec<IceServer> {
        self.current().clients
    }
}

/// Whether a server among these is a relay.
pub(crate) fn has_relay(servers: &[IceServer]) -> bool {
    servers.iter().flat_map(|server| &server.urls).any(|url| url.starts_with("turn:"))
}

fn check_servers(servers: &[IceServer]) -> IceCheck {
    let mut check = IceCheck::default();
    for (i, server) in servers.iter().enumerate() {
        let field = |name: &str| format!("ice_servers[{i}].{name}");
        if server.urls.is_empty() {
            check.errors.push(IceError::NoUrls { field: field("urls") });
        }
        let given = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let (mut own, mut clients) = (Vec::new(), Vec::new());
        let mut asked_for_credentials = false;
        for (j, raw) in server.urls.iter().enumerate() {
            let url = match Url::parse(raw, given(&server.username)) {
                Ok(url) => url,
                Err(reason) => {
                    let field = field(&format!("urls[{j}]"));
                    check.errors.push(IceError::BadUrl { field, url: raw.clone(), reason });
                    continue;
                }
            };
            if url.relay {
                let missing = [("username", &server.username), ("credential", &server.credential)];
                let missing: Vec<_> = missing.into_iter().filter(|(_, value)| !given(value)).collect();
                // One line for each field, however many addresses need it.
                if !std::mem::replace(&mut asked_for_credentials, !missing.is_empty()) {
                    check.errors.extend(
                        missing
                            .iter()
                            .map(|(name, _)| IceError::NoCredentials { field: field(name), url: raw.clone() }),
                    );
                }
                if !missing.is_empty() {
                    continue;
                }
            }
            if url.own {
                own.push(url.text.clone());
            } else {
                let field = field(&format!("urls[{j}]"));
                check.warnings.push(IceWarning::ClientsOnly { field, url: raw.clone() });
            }
            clients.push(url.text);
        }
        for (urls, list) in [(own, &mut check.own), (clients, &mut check.clients)] {
            if !urls.is_empty() {
                list.push(IceServer { urls, username: server.username.clone(), credential: server.credential.clone() });
            }
        }
    }
    check
}

/// A STUN or TURN address in the form that every browser takes (RFC 7064 and 7065).
struct Url {
    text: String,
    /// Whether it is a relay's.
    relay: bool,
    /// Whether our side speaks it.
    own: bool,
}

impl Url {
    fn parse(raw: &str, with_credentials: bool) -> Result<Self, &'static str> {
        const SCHEMES: [&str; 4] = ["stun", "stuns", "turn", "turns"];
        let raw = raw.trim();
        let scheme = raw.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
        let (scheme, rest) = match &scheme {
            Some((scheme, rest)) if SCHEMES.contains(&scheme.as_str()) => (scheme.as_str(), *rest),
            _ if with_credentials => return Err("write `turn:` or `stun:` before it"),
            _ => ("stun", raw),
        };
        if rest.starts_with("//") {
            return Err("`//` has no place after the scheme");
        }
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        check_place(place)?;
        let relay = scheme.starts_with("turn");
        let tcp = match query {
            None => false,
            Some("transport=udp") => false,
            Some("transport=tcp") => true,
            Some(_) => return Err("only `?transport=udp` or `?transport=tcp` may follow"),
        };
        // A transport after a STUN address is tolerated, but it is not in the grammar and browsers refuse it.
        let query = query.filter(|_| relay).map(|query| format!("?{query}")).unwrap_or_default();
        let own = !(scheme.ends_with('s') || relay && tcp);
        Ok(Self { text: format!("{scheme}:{place}{query}"), relay, own })
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn check_place(place: &str) -> Result<(), &'static str> {
    let port = if let Some(rest) = place.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or("`]` is missing")?;
        address.parse::<std::net::Ipv6Addr>().map_err(|_| "the address in `[]` is not IPv6")?;
        match port {
            "" => None,
            port => Some(port.strip_prefix(':').ok_or("only a port may follow `]`")?),
        }
    } else {
        let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
        if host.is_empty() {
            return Err("the host is missing");
        }
        if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return Err("that is no host name");
        }
        if port.is_some_and(|port| port.contains(':')) {
            return Err("an IPv6 address goes in `[]`");
        }
        port
    };
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(port)) if port != 0 => Ok(()),
        Some(_) => Err("the port is not a number from 1 to 65535"),
    }
}

#[cfg(all(test, feature = "webrtc"))]
mod tests {
    use super::*;

    fn server(urls: &[&str], credentials: Option<(&str, &str)>) -> IceServer {
        IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: credentials.map(|(username, _)| username.to_owned()),
            credential: credentials.map(|(_, credential)| credential.to_owned()),
        }
    }

    fn check(servers: Vec<IceServer>) -> IceCheck {
        IceConfig { servers, ..IceConfig::default() }.check()
    }

    #[test]
    fn ice_server_entries_of_the_migration_guide() {
        let turn = server(&["turn:turn.yourdomain.com:3478"], Some(("username", "password")));
        let stun = ["stun.yourdomain.com:3478", GOOGLE_STUN, "STUN:10.0.0.1", "stun:[2001:db8::1]:3479"];
        let check = check(vec![server(&stun, None), turn.clone()]);
        assert!(check.errors.is_empty() && check.warnings.is_empty());
        let stun = ["stun:stun.yourdomain.com:3478", GOOGLE_STUN, "stun:10.0.0.1", "stun:[2001:db8::1]:3479"];
        assert_eq!(check.own, [server(&stun, None), turn]);
        assert_eq!(check.own, check.clients);
        // What we let through, the crate takes.
        for url in check.own.iter().flat_map(|server| &server.urls) {
            rtc::ice::url::Url::parse_url(url).unwrap();
        }
    }

    #[test]
    fn ice_unsupported_server_is_named_and_sent_to_clients() {
        let urls = ["turn:a.example?transport=tcp", "turns:a.example:5349", "turn:a.example?transport=udp"];
        let check = check(vec![server(&urls, Some(("u", "p"))), server(&["stuns:b.example"], None)]);
        let lines: Vec<_> = check.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "field `ice_servers[0].urls[0]`: turn:a.example?transport=tcp is for the clients alone: this side speaks \
                 STUN and TURN over UDP only",
                "field `ice_servers[0].urls[1]`: turns:a.example:5349 is for the clients alone: this side speaks STUN and \
                 TURN over UDP only",
                "field `ice_servers[1].urls[0]`: stuns:b.example is for the clients alone: this side speaks STUN and TURN \
                 over UDP only",
            ]
        );
        assert_eq!(check.errors, []);
        assert_eq!(check.own, [server(&["turn:a.example?transport=udp"], Some(("u", "p")))]);
        assert_eq!(check.clients, [server(&urls, Some(("u", "p"))), server(&["stuns:b.example"], None)]);
    }

    #[test]
    fn ice_relay_without_credentials_names_the_field() {
        let check =
            check(vec![server(&["turn:a.example", "turns:a.example"], None), server(&["turn:b"], Some(("u", "")))]);
        let lines: Vec<_> = check.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "field `ice_servers[0].username`: missing or empty, and turn:a.example needs it",
                "field `ice_servers[0].credential`: missing or empty, and turn:a.example needs it",
                "field `ice_servers[1].credential`: missing or empty, and turn:b needs it",
            ]
        );
        assert_eq!(check.warnings, []);
        assert_eq!((check.own, check.clients), (vec![], vec![]));
    }

    #[test]
    fn ice_bad_addresses_are_named_and_left_out() {
        for (url, reason) in [
            ("turn://a.example", "`//` has no place after the scheme"),
            ("stun:", "the host is missing"),
            ("stun:a.example:0", "the port is not a number from 1 to 65535"),
            ("stun:a.example:70000", "the port is not a number from 1 to 65535"),
            ("http://a.example", "the port is not a number from 1 to 65535"),
            ("stun:2001:db8::1", "an IPv6 address goes in `[]`"),
            ("stun:[::g]", "the address in `[]` is not IPv6"),
            ("stun:[::1", "`]` is missing"),
            ("stun:a b", "that is no host name"),
            ("turn:a.example?transport=sctp", "only `?transport=udp` or `?transport=tcp` may follow"),
        ] {
            let check = check(vec![server(&[url, "stun:good.example"], None)]);
            assert_eq!(
                check.errors,
                [IceError::BadUrl { field: "ice_servers[0].urls[0]".to_owned(), url: url.to_owned(), reason }]
            );
            assert_eq!(check.clients, [server(&["stun:good.example"], None)]);
        }
        let unclear = check(vec![server(&["turn.example:3478"], Some(("u", "p")))]);
        assert!(matches!(&unclear.errors[..], [IceError::BadUrl { .. }]));
        assert!(matches!(&check(vec![server(&[], None)]).errors[..], [IceError::NoUrls { .. }]));
        // Browsers refuse a transport after a STUN address; it is dropped.
        assert_eq!(check(vec![server(&["stun:a?transport=udp"], None)]).clients, [server(&["stun:a"], None)]);
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "the mistake that is looked for")]
    fn ice_invalid_settings_are_named() {
        let relay = IceConfig { policy: IcePolicy::Relay, ..IceConfig::default() };
        assert_eq!(relay.check().errors, [IceError::NoRelay]);
        let provided = IceConfig { provider: Some(TurnSecret::new("turn:a", "s").provider()), ..relay };
        assert_eq!(provided.check().errors, []);
        let ports = IceConfig { udp_ports: Some(9..=8), ..IceConfig::default() };
        assert_eq!(ports.check().errors, [IceError::NoPorts { start: 9, end: 8 }]);
        let advertised = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|address| address.parse().unwrap()).to_vec();
        let advertised = IceConfig { advertised, ..IceConfig::default() };
        assert_eq!(advertised.check().warnings, [IceWarning::Advertised { address: [192, 0, 2, 2].into() }]);
    }

    /// The expected values are Python's:
    /// `base64.b64encode(hmac.new(b"north", b"1700003600:alice", hashlib.sha1).digest())`.
    #[test]
    fn turn_credentials_match_reference_values() {
        let mut secret = TurnSecret { ttl: Duration::from_secs(3600), ..TurnSecret::new("turn:t.example", "north") };
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        assert_eq!(
            secret.server(now),
            server(&["turn:t.example"], Some(("1700003600", "xF4I6gruVt/PjGbjajGu2UlidPk=")))
        );
        secret.user = Some("alice".to_owned());
        assert_eq!(
            secret.server(now),
            server(&["turn:t.example"], Some(("1700003600:alice", "wjwSXO2ch1B6VaLTLMy2Avn5O9o=")))
        );
        assert!(!format!("{secret:?}").contains("north"));
    }

    #[test]
    fn ice_provider_is_called_per_connection() {
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = count.clone();
        let provider = IceServerProvider::new(move || {
            let n = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            vec![server(&["turn:a.example"], Some((&n.to_string(), "p"))), server(&["turn:broken"], None)]
        });
        let config =
            IceConfig { servers: vec![server(&["b.example"], None)], provider: Some(provider), ..IceConfig::default() };
        let users = |servers: &[IceServer]| servers.iter().map(|s| s.username.clone()).collect::<Vec<_>>();
        assert_eq!(users(&config.for_clients()), [None, Some("0".to_owned())]);
        assert_eq!(users(&config.current().own), [None, Some("1".to_owned())]);
    }
}
