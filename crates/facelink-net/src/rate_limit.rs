//! Rate limits by address: requests a second, and the wait after wrong tokens.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use facelink::time::Instant;

use crate::address::ipv6_network;

/// Wrong tokens without a wait: typing errors.
const FREE_TRIES: u32 = 3;
/// The same of all machines together of an IPv6 network that this machine is on.
const FREE_TRIES_ON_LINK: u32 = 64;
/// Without a wrong token for this long, an address starts afresh.
const FORGET: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(60);
/// An address that has shown the right token is remembered for this long.
const KNOWN_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// Addresses that are remembered; the one that was quiet for longest goes first.
const MAX_ADDRESSES: usize = 1024;

/// Wrong tokens of an address or a network.
#[derive(Debug, Default)]
struct Guesses {
    seen: Option<Instant>,
    wrong: u32,
    last_wrong: Option<Instant>,
    waits_until: Option<Instant>,
    /// When the right one came last.
    right: Option<Instant>,
}

impl Guesses {
    /// Among those that are remembered, the one with the smallest rank goes first.
    fn rank(&self) -> (bool, Option<Instant>) {
        (self.right.is_some(), self.seen)
    }

    fn refresh(&mut self, now: Instant) {
        self.seen = Some(now);
        if self.last_wrong.is_some_and(|last| now.saturating_duration_since(last) > FORGET.max(MAX_WAIT)) {
            (self.wrong, self.last_wrong, self.waits_until) = (0, None, None);
        }
        self.right = self.right.filter(|at| now.saturating_duration_since(*at) < KNOWN_FOR);
    }

    fn wait(&self, now: Instant) -> Result<(), Wait> {
        match self.waits_until {
            Some(until) if until > now => Err(Wait(until - now)),
            _ => Ok(()),
        }
    }

    fn wrong(&mut self, free: u32, now: Instant) {
        self.wrong = self.wrong.saturating_add(1);
        self.last_wrong = Some(now);
        if self.wrong >= free {
            let wait = FIRST_WAIT * 2_u32.saturating_pow((self.wrong - free).min(10));
            // Another machine behind the same address may be the one that guesses.
            let most = if self.right.is_some() { FIRST_WAIT } else { MAX_WAIT };
            self.waits_until = Some(now + wait.min(most));
        }
    }

    fn forgive(&mut self) {
        (self.wrong, self.last_wrong, self.waits_until) = (0, None, None);
    }
}

fn guesses(table: &mut HashMap<IpAddr, Guesses>, key: IpAddr, now: Instant) -> &mut Guesses {
    if table.len() >= MAX_ADDRESSES
        && !table.contains_key(&key)
        && let Some(first) = table.iter().min_by_key(|(_, guesses)| guesses.rank()).map(|(key, _)| *key)
    {
        table.remove(&first);
    }
    let guesses = table.entry(key).or_default();
    guesses.refresh(now);
    guesses
}

#[derive(Debug)]
struct Requests {
    seen: Instant,
    left: f32,
}

/// Recent requests and wrong tokens of every address but loopback. No clock is read here.
#[derive(Debug)]
pub(crate) struct RateLimit {
    requests_per_second: f32,
    /// By the keys of the limits.
    requests: HashMap<IpAddr, Requests>,
    addresses: HashMap<IpAddr, Guesses>,
    /// Of IPv6, by /64.
    networks: HashMap<IpAddr, Guesses>,
    is_on_link: fn(IpAddr) -> bool,
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
    /// At most so many requests a second from one address, twice as many in a burst. `is_on_link` says whether an IPv6
    /// address is on a network of this machine.
    pub fn new(requests_per_second: f32, is_on_link: fn(IpAddr) -> bool) -> Self {
        Self {
            requests_per_second,
            requests: HashMap::new(),
            addresses: HashMap::new(),
            networks: HashMap::new(),
            is_on_link,
        }
    }

    /// Counts a request of an address, or of the network that stands for it.
    pub fn request(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        let address = address.to_canonical();
        let key = ipv6_network(address).filter(|_| !(self.is_on_link)(address)).unwrap_or(address);
        if self.requests.len() >= MAX_ADDRESSES
            && !self.requests.contains_key(&key)
            && let Some(quietest) = self.requests.iter().min_by_key(|(_, v)| v.seen).map(|(key, _)| *key)
        {
            self.requests.remove(&quietest);
        }
        let burst = self.requests_per_second * 2.0;
        let requests = self.requests.entry(key).or_insert(Requests { seen: now, left: burst });
        let passed = now.saturating_duration_since(requests.seen).as_secs_f32();
        requests.left = (requests.left + passed * self.requests_per_second).min(burst);
        requests.seen = now;
        if requests.left < 1.0 {
            return Err(Wait(Duration::from_secs_f32((1.0 - requests.left) / self.requests_per_second.max(0.01))));
        }
        requests.left -= 1.0;
        Ok(())
    }

    /// Whether a token of this address is checked now. Wrong ones of its neighbours do not delay an address that has shown
    /// the right one before.
    pub fn may_try(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        let address = address.to_canonical();
        let mut known = false;
        if let Some(own) = self.addresses.get_mut(&address) {
            own.refresh(now);
            own.wait(now)?;
            known = own.right.is_some();
        }
        match ipv6_network(address).filter(|_| !known).and_then(|network| self.networks.get_mut(&network)) {
            Some(network) => {
                network.refresh(now);
                network.wait(now)
            }
            None => Ok(()),
        }
    }

    /// A wrong token came.
    pub fn wrong(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() {
            return;
        }
        let address = address.to_canonical();
        guesses(&mut self.addresses, address, now).wrong(FREE_TRIES, now);
        if let Some(network) = ipv6_network(address) {
            let free = if (self.is_on_link)(address) { FREE_TRIES_ON_LINK } else { FREE_TRIES };
            guesses(&mut self.networks, network, now).wrong(free, now);
        }
    }

    /// The right one came.
    pub fn right(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() {
            return;
        }
        let address = address.to_canonical();
        let own = guesses(&mut self.addresses, address, now);
        own.forgive();
        own.right = Some(now);
        // Beyond the own networks, a /64 is one machine.
        if !(self.is_on_link)(address)
            && let Some(network) = ipv6_network(address).and_then(|network| self.networks.get_mut(&network))
        {
            network.forgive();
        }
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
        let mut limit = RateLimit::new(100.0, |_| false);
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
        let mut limit = RateLimit::new(100.0, |_| false);
        let of = |text: &str| -> IpAddr { text.parse().expect("an address") };
        for i in 0..3 {
            limit.wrong(of(&format!("2001:db8:1:2::{i}")), start);
        }
        assert_eq!(limit.may_try(of("2001:db8:1:2:ffff::1"), start), Err(Wait(SECOND)));
        assert_eq!(limit.may_try(of("2001:db8:1:3::1"), start), Ok(()));
        limit.right(of("2001:db8:1:2::9"), start + SECOND);
        assert_eq!(limit.may_try(of("2001:db8:1:2::1"), start), Ok(()));
        for _ in 0..3 {
            limit.wrong(of("::ffff:192.0.2.7"), start);
        }
        assert_eq!(limit.may_try(FAR, start), Err(Wait(SECOND)), "a mapped address is the address");
    }

    #[test]
    fn rate_limit_on_link_addresses_count_one_by_one() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1.0, |_| true);
        let of = |text: &str| -> IpAddr { text.parse().expect("an address") };
        for _ in 0..8 {
            limit.wrong(of("2001:db8:1:2::bad"), start);
        }
        assert!(limit.may_try(of("2001:db8:1:2::bad"), start).is_err());
        assert_eq!(limit.may_try(of("2001:db8:1:2::1"), start), Ok(()), "a local network is one /64");
        assert_eq!((0..5).filter(|_| limit.request(of("2001:db8:1:2::1"), start).is_ok()).count(), 2);
        assert_eq!(limit.request(of("2001:db8:1:2::2"), start), Ok(()));
        // A machine may give itself any number of addresses.
        limit.right(of("2001:db8:1:2::1"), start);
        for i in 0..100 {
            limit.wrong(of(&format!("2001:db8:1:2:1::{i}")), start);
        }
        assert!(limit.may_try(of("2001:db8:1:2::2"), start).is_err(), "an address that was never right waits");
        assert_eq!(limit.may_try(of("2001:db8:1:2::1"), start), Ok(()), "one that was right does not");
    }

    #[test]
    fn rate_limit_right_address_waits_a_second_at_most() {
        let start = Instant::now();
        let mut limit = RateLimit::new(100.0, |_| false);
        limit.right(FAR, start);
        for _ in 0..100 {
            limit.wrong(FAR, start);
        }
        assert_eq!(limit.may_try(FAR, start), Err(Wait(SECOND)), "behind one address there may be several machines");
        let known: Vec<IpAddr> = (0..10).map(|i| [192, 0, 3, i].into()).collect();
        known.iter().for_each(|address| limit.right(*address, start));
        for i in 0..10_000_u32 {
            limit.wrong(IpAddr::V4(std::net::Ipv4Addr::from(0xc600_0000 + i)), start + SECOND);
        }
        assert_eq!(limit.addresses.len(), MAX_ADDRESSES);
        for address in known {
            limit.wrong(address, start + SECOND);
            assert!(limit.addresses[&address].right.is_some(), "a flood of addresses does not push it out");
        }
    }

    #[test]
    fn rate_limit_requests_by_address() {
        let start = Instant::now();
        let mut limit = RateLimit::new(10.0, |_| false);
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
        let mut limit = RateLimit::new(10.0, |_| false);
        for i in 0..10_000_u32 {
            limit.wrong(IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0000 + i)), start + Duration::from_millis(i.into()));
        }
        assert_eq!(limit.addresses.len(), MAX_ADDRESSES);
        for i in 0..10_000_u32 {
            let address =
                IpAddr::V6(std::net::Ipv6Addr::from_bits(u128::from(0x2001_0db8_u32) << 96 | u128::from(i) << 64));
            limit.wrong(address, start);
            let _ = limit.request(address, start);
        }
        assert_eq!((limit.networks.len(), limit.requests.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    }
}
