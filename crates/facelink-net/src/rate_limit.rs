//! Rate limits by address: requests a second, and the wait after wrong tokens.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Wrong tokens without a wait: typing errors.
const FREE_TRIES: u32 = 3;
/// Without a wrong token for this long, an address starts afresh.
const FORGET: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the one that was quiet for longest goes first.
const MAX_ADDRESSES: usize = 1024;

#[derive(Debug)]
struct Peer {
    seen: Instant,
    requests: f32,
    wrong: u32,
    last_wrong: Option<Instant>,
    waits_until: Option<Instant>,
}

/// The address that limits are counted by: itself, or with IPv6 its /64, because one machine has any number of addresses there.
pub(crate) fn rate_limit_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// Recent requests and wrong tokens of every address but loopback. No clock is read here.
#[derive(Debug)]
pub(crate) struct RateLimit {
    requests_per_second: f32,
    peers: HashMap<IpAddr, Peer>,
}

/// How long an address has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait(pub Duration);

impl Wait {
    /// For a `Retry-After` header: whole seconds, at least one.
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1000).max(1) as u64
    }
}

impl RateLimit {
    /// At most so many requests a second from one address, twice as many in a burst.
    pub fn new(requests_per_second: f32) -> Self {
        Self { requests_per_second, peers: HashMap::new() }
    }

    fn peer(&mut self, address: IpAddr, now: Instant) -> &mut Peer {
        let address = rate_limit_key(address);
        if self.peers.len() >= MAX_ADDRESSES
            && !self.peers.contains_key(&address)
            && let Some(quietest) = self.peers.iter().min_by_key(|(_, v)| v.seen).map(|(address, _)| *address)
        {
            self.peers.remove(&quietest);
        }
        let burst = self.requests_per_second * 2.0;
        let peer = self.peers.entry(address).or_insert(Peer {
            seen: now,
            requests: burst,
            wrong: 0,
            last_wrong: None,
            waits_until: None,
        });
        let passed = now.saturating_duration_since(peer.seen).as_secs_f32();
        peer.requests = (peer.requests + passed * self.requests_per_second).min(burst);
        peer.seen = now;
        if peer.last_wrong.is_some_and(|last| now.saturating_duration_since(last) > FORGET.max(MAX_WAIT)) {
            (peer.wrong, peer.last_wrong, peer.waits_until) = (0, None, None);
        }
        peer
    }

    /// Counts a request.
    pub fn request(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        let per_second = self.requests_per_second;
        let peer = self.peer(address, now);
        if peer.requests < 1.0 {
            return Err(Wait(Duration::from_secs_f32((1.0 - peer.requests) / per_second.max(0.01))));
        }
        peer.requests -= 1.0;
        Ok(())
    }

    /// Whether a token of this address is checked now.
    pub fn may_try(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        match self.peer(address, now).waits_until {
            Some(until) if until > now => Err(Wait(until - now)),
            _ => Ok(()),
        }
    }

    /// A wrong token came.
    pub fn wrong(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() {
            return;
        }
        let peer = self.peer(address, now);
        peer.wrong += 1;
        peer.last_wrong = Some(now);
        if peer.wrong >= FREE_TRIES {
            let wait = FIRST_WAIT * 2_u32.saturating_pow((peer.wrong - FREE_TRIES).min(10));
            peer.waits_until = Some(now + wait.min(MAX_WAIT));
        }
    }

    /// The right one came.
    pub fn right(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() || !self.peers.contains_key(&rate_limit_key(address)) {
            return;
        }
        let peer = self.peer(address, now);
        (peer.wrong, peer.last_wrong, peer.waits_until) = (0, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rate_limit_wrong_tokens_double_the_wait() {
        let start = Instant::now();
        let mut limit = RateLimit::new(100.0);
        for _ in 0..2 {
            limit.wrong(FAR, start);
            assert_eq!(limit.may_try(FAR, start), Ok(()), "a typing error");
        }
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            limit.wrong(FAR, now);
            assert_eq!(limit.may_try(FAR, now), Err(Wait(SECOND * wait)));
            assert_eq!(Wait(SECOND * wait).seconds(), u64::from(wait));
            now += SECOND * wait;
            assert_eq!(limit.may_try(FAR, now), Ok(()));
        }
        // Another address is not concerned, and nor is this machine.
        assert_eq!(limit.may_try([192, 0, 2, 8].into(), now), Ok(()));
        for _ in 0..10 {
            limit.wrong([127, 0, 0, 1].into(), now);
        }
        assert_eq!(limit.may_try([127, 0, 0, 1].into(), now), Ok(()));
        limit.right(FAR, now);
        limit.wrong(FAR, now);
        assert_eq!(limit.may_try(FAR, now), Ok(()), "the right one forgives");
        for _ in 0..5 {
            limit.wrong(FAR, now);
        }
        assert_eq!(limit.may_try(FAR, now + SECOND * 61), Ok(()));
        limit.wrong(FAR, now + SECOND * 61);
        assert_eq!(limit.may_try(FAR, now + SECOND * 61), Ok(()), "and so does a quiet minute");
    }

    #[test]
    fn rate_limit_ipv6_prefix() {
        let start = Instant::now();
        let mut limit = RateLimit::new(100.0);
        let of = |text: &str| -> IpAddr { text.parse().expect("an address") };
        for i in 0..3 {
            limit.wrong(of(&format!("2001:db8:1:2::{i}")), start);
        }
        assert_eq!(limit.may_try(of("2001:db8:1:2:ffff::1"), start), Err(Wait(SECOND)));
        assert_eq!(limit.may_try(of("2001:db8:1:3::1"), start), Ok(()));
        limit.right(of("2001:db8:1:2::9"), start + SECOND);
        assert_eq!(limit.may_try(of("2001:db8:1:2::1"), start), Ok(()));
        assert_eq!(rate_limit_key(of("::ffff:192.0.2.7")), FAR);
        assert_eq!(rate_limit_key(FAR), FAR);
    }

    #[test]
    fn rate_limit_requests_by_address() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10.0);
        let taken = (0..100).filter(|_| limit.request(FAR, start).is_ok()).count();
        assert_eq!(taken, 20, "a burst of twice the rate");
        assert_eq!(limit.request(FAR, start).map_err(Wait::seconds), Err(1));
        let taken = (0..100).filter(|_| limit.request(FAR, start + SECOND).is_ok()).count();
        assert_eq!(taken, 10);
        assert!((0..1000).all(|_| limit.request([127, 0, 0, 1].into(), start).is_ok()), "this machine is not limited");
    }

    #[test]
    fn rate_limit_addresses_are_bounded() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10.0);
        for i in 0..10_000_u32 {
            limit.wrong(IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0000 + i)), start + Duration::from_millis(i.into()));
        }
        assert_eq!(limit.peers.len(), MAX_ADDRESSES);
    }
}
