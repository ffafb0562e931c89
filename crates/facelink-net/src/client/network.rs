//! Whether this machine has changed networks.

use std::{net::IpAddr, time::Duration};

use facelink::time::Instant;

#[cfg(not(target_arch = "wasm32"))]
use crate::address::outward_address;

/// Time between two looks at this machine's address.
pub(super) const ADDRESS_INTERVAL: Duration = Duration::from_millis(100);

/// A browser does not tell; whether there is a network has to do.
#[cfg(target_arch = "wasm32")]
fn outward_address() -> Option<IpAddr> {
    crate::page::is_online().then_some(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// What the address has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is another one.
    Changed,
    /// It is there again, the same as before.
    Returned,
}

/// The address by which this machine reaches others.
#[derive(Debug)]
pub(super) struct AddressWatch {
    now: Option<IpAddr>,
    /// The last one that there was.
    before: Option<IpAddr>,
    looked: Instant,
}

impl AddressWatch {
    pub fn new(now: Instant) -> Self {
        let address = outward_address();
        Self { now: address, before: address, looked: now }
    }

    /// Looks again, unless the last look was a moment ago.
    pub fn look(&mut self, now: Instant) -> Option<Change> {
        if now.saturating_duration_since(self.looked) < ADDRESS_INTERVAL {
            return None;
        }
        self.looked = now;
        self.note(outward_address())
    }

    fn note(&mut self, address: Option<IpAddr>) -> Option<Change> {
        let last = std::mem::replace(&mut self.now, address);
        if address.is_none() || address == last {
            return None;
        }
        let before = std::mem::replace(&mut self.before, address);
        match before.filter(|before| Some(*before) != address) {
            Some(before) => {
                tracing::info!(%before, "this machine has changed networks");
                Some(Change::Changed)
            }
            None => Some(Change::Returned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_change_is_distinguished_from_a_pause() {
        let mut watch = AddressWatch { now: None, before: None, looked: Instant::now() };
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        assert_eq!(watch.note(address(1)), Some(Change::Returned), "the first one there is");
        assert_eq!(watch.note(address(1)), None);
        assert_eq!(watch.note(None), None);
        assert_eq!(watch.note(address(1)), Some(Change::Returned));
        assert_eq!(watch.note(None), None);
        assert_eq!(watch.note(address(2)), Some(Change::Changed));
        assert_eq!(watch.note(address(1)), Some(Change::Changed));
    }
}
