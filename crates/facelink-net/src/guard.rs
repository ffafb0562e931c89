//! How often one address may knock, and how long it waits after wrong tokens.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Wrong tokens that are nobody's business: a typing error.
const FREE_TRIES: u32 = 3;
/// Without a wrong token for this long, an address starts afresh.
const FORGET: Duration = Duration::from_secs(60);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the one that was quiet for longest goes first.
const MAX_ADDRESSES: usize = 1024;

#[derive(Debug)]
struct Visitor {
    seen: Instant,
    requests: f32,
    wrong: u32,
    last_wrong: Option<Instant>,
    waits_until: Option<Instant>,
}

/// Whom an address counts for: itself, or with IPv6 its network, for one machine has any number of addresses there.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// What every address beyond this machine has done lately. No clock is read here.
#[derive(Debug)]
pub(super) struct Guard {
    requests_per_second: f32,
    visitors: HashMap<IpAddr, Visitor>,
}

/// An address has to wait for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait(pub Duration);

impl Wait {
    /// For a `Retry-After` header: whole seconds, at least one.
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1000).max(1) as u64
    }
}

impl Guard {
    /// At most so many requests a second from one address, twice as many in a burst.
    pub fn new(requests_per_second: f32) -> Self {
        Self { requests_per_second, visitors: HashMap::new() }
    }

    fn visitor(&mut self, address: IpAddr, now: Instant) -> &mut Visitor {
        let address = household(address);
        if self.visitors.len() >= MAX_ADDRESSES
            && !self.visitors.contains_key(&address)
            && let Some(quietest) = self.visitors.iter().min_by_key(|(_, v)| v.seen).map(|(address, _)| *address)
        {
            self.visitors.remove(&quietest);
        }
        let burst = self.requests_per_second * 2.0;
        let visitor = self.visitors.entry(address).or_insert(Visitor {
            seen: now,
            requests: burst,
            wrong: 0,
            last_wrong: None,
            waits_until: None,
        });
        let passed = now.saturating_duration_since(visitor.seen).as_secs_f32();
        visitor.requests = (visitor.requests + passed * self.requests_per_second).min(burst);
        visitor.seen = now;
        if visitor.last_wrong.is_some_and(|last| now.saturating_duration_since(last) > FORGET.max(LONGEST_WAIT)) {
            (visitor.wrong, visitor.last_wrong, visitor.waits_until) = (0, None, None);
        }
        visitor
    }

    /// Counts a request.
    pub fn request(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        let per_second = self.requests_per_second;
        let visitor = self.visitor(address, now);
        if visitor.requests < 1.0 {
            return Err(Wait(Duration::from_secs_f32((1.0 - visitor.requests) / per_second.max(0.01))));
        }
        visitor.requests -= 1.0;
        Ok(())
    }

    /// Whether a token of this address is looked at now.
    pub fn may_try(&mut self, address: IpAddr, now: Instant) -> Result<(), Wait> {
        if address.is_loopback() {
            return Ok(());
        }
        match self.visitor(address, now).waits_until {
            Some(until) if until > now => Err(Wait(until - now)),
            _ => Ok(()),
        }
    }

    /// A wrong token came.
    pub fn wrong(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() {
            return;
        }
        let visitor = self.visitor(address, now);
        visitor.wrong += 1;
        visitor.last_wrong = Some(now);
        if visitor.wrong >= FREE_TRIES {
            let wait = FIRST_WAIT * 2_u32.saturating_pow((visitor.wrong - FREE_TRIES).min(10));
            visitor.waits_until = Some(now + wait.min(LONGEST_WAIT));
        }
    }

    /// The right one came.
    pub fn right(&mut self, address: IpAddr, now: Instant) {
        if address.is_loopback() || !self.visitors.contains_key(&household(address)) {
            return;
        }
        let visitor = self.visitor(address, now);
        (visitor.wrong, visitor.last_wrong, visitor.waits_until) = (0, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn three_wrong_tokens_slow_an_address_down_more_and_more() {
        let start = Instant::now();
        let mut guard = Guard::new(100.0);
        for _ in 0..2 {
            guard.wrong(FAR, start);
            assert_eq!(guard.may_try(FAR, start), Ok(()), "a typing error");
        }
        let mut now = start;
        for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
            guard.wrong(FAR, now);
            assert_eq!(guard.may_try(FAR, now), Err(Wait(SECOND * wait)));
            assert_eq!(Wait(SECOND * wait).seconds(), u64::from(wait));
            now += SECOND * wait;
            assert_eq!(guard.may_try(FAR, now), Ok(()));
        }
        // Another address is not concerned, and nor is this machine.
        assert_eq!(guard.may_try([192, 0, 2, 8].into(), now), Ok(()));
        for _ in 0..10 {
            guard.wrong([127, 0, 0, 1].into(), now);
        }
        assert_eq!(guard.may_try([127, 0, 0, 1].into(), now), Ok(()));
        guard.right(FAR, now);
        guard.wrong(FAR, now);
        assert_eq!(guard.may_try(FAR, now), Ok(()), "the right one forgives");
        for _ in 0..5 {
            guard.wrong(FAR, now);
        }
        assert_eq!(guard.may_try(FAR, now + SECOND * 61), Ok(()));
        guard.wrong(FAR, now + SECOND * 61);
        assert_eq!(guard.may_try(FAR, now + SECOND * 61), Ok(()), "and so does a quiet minute");
    }

    #[test]
    fn another_address_of_the_same_network_does_not_help() {
        let start = Instant::now();
        let mut guard = Guard::new(100.0);
        let of = |text: &str| -> IpAddr { text.parse().expect("an address") };
        for i in 0..3 {
            guard.wrong(of(&format!("2001:db8:1:2::{i}")), start);
        }
        assert_eq!(guard.may_try(of("2001:db8:1:2:ffff::1"), start), Err(Wait(SECOND)));
        assert_eq!(guard.may_try(of("2001:db8:1:3::1"), start), Ok(()));
        guard.right(of("2001:db8:1:2::9"), start + SECOND);
        assert_eq!(guard.may_try(of("2001:db8:1:2::1"), start), Ok(()));
        assert_eq!(household(of("::ffff:192.0.2.7")), FAR);
        assert_eq!(household(FAR), FAR);
    }

    #[test]
    fn requests_are_limited_by_address() {
        let start = Instant::now();
        let mut guard = Guard::new(10.0);
        let taken = (0..100).filter(|_| guard.request(FAR, start).is_ok()).count();
        assert_eq!(taken, 20, "a burst of twice the rate");
        assert_eq!(guard.request(FAR, start).map_err(Wait::seconds), Err(1));
        let taken = (0..100).filter(|_| guard.request(FAR, start + SECOND).is_ok()).count();
        assert_eq!(taken, 10);
        assert!((0..1000).all(|_| guard.request([127, 0, 0, 1].into(), start).is_ok()), "this machine is not limited");
    }

    #[test]
    fn a_flood_of_addresses_is_forgotten_again() {
        let start = Instant::now();
        let mut guard = Guard::new(10.0);
        for i in 0..10_000_u32 {
            guard.wrong(IpAddr::V4(std::net::Ipv4Addr::from(0xc000_0000 + i)), start + Duration::from_millis(i.into()));
        }
        assert_eq!(guard.visitors.len(), MAX_ADDRESSES);
    }
}
