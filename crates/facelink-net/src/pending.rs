//! Pending connections: sockets without a request yet, those that speak HTTP, and how many each address holds.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::address::limit_key;

/// An accepted socket, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    from: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Set when its first request is there, or if that opens a WebSocket, when it has shown the token.
    pub requested: Arc<AtomicBool>,
    /// Cancelled when it has to close.
    pub close: CancellationToken,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.from);
            }
        }
        drop(open);
        self.close.cancel();
    }
}

#[derive(Debug)]
struct Entered {
    from: IpAddr,
    requested: Arc<AtomicBool>,
    close: CancellationToken,
}

/// Keeps count of sockets until they have become WebSockets, or end.
#[derive(Debug)]
pub(crate) struct Pending {
    max_pending: usize,
    max_per_address: usize,
    /// Oldest first.
    entered: VecDeque<Entered>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The decision about a socket.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Accepted.
    Accepted(Socket),
    /// Accepted in place of an older one, which is closed.
    Replacing(Socket),
    /// Its address holds the maximum already.
    Refused,
}

impl Pending {
    /// At most `max_pending` without a request, twice as many in all, and `max_per_address` of one address other than
    /// loopback.
    pub fn new(max_pending: usize, max_per_address: usize) -> Self {
        Self { max_pending: max_pending.max(1), max_per_address, entered: VecDeque::new(), open: Arc::default() }
    }

    /// Counts a socket of this address.
    pub fn enter(&mut self, address: IpAddr, close: CancellationToken) -> Entry {
        let from = limit_key(address);
        {
            let mut open = self.open.lock();
            let count = open.entry(from).or_insert(0);
            if !from.is_loopback() && *count >= self.max_per_address {
                if *count == 0 {
                    open.remove(&from);
                }
                return Entry::Refused;
            }
            *count += 1;
        }
        self.entered.retain(|one| !one.close.is_cancelled());
        let is_waiting = |one: &Entered| !one.requested.load(Ordering::Relaxed);
        let full = if self.entered.iter().filter(|one| is_waiting(one)).count() >= self.max_pending {
            self.close_oldest(is_waiting);
            true
        } else if self.entered.len() >= 2 * self.max_pending {
            // Some of them read no answer, or are kept open for more requests.
            self.close_oldest(|_| true);
            true
        } else {
            false
        };
        let requested = Arc::new(AtomicBool::new(false));
        self.entered.push_back(Entered { from, requested: requested.clone(), close: close.clone() });
        let socket = Socket { from, open: self.open.clone(), requested, close };
        if full { Entry::Replacing(socket) } else { Entry::Accepted(socket) }
    }

    /// Of some sockets, closes the oldest one of the address that has most.
    fn close_oldest(&mut self, is_one: impl Fn(&Entered) -> bool) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for one in self.entered.iter().filter(|one| is_one(one)) {
            *counts.entry(one.from).or_insert(0) += 1;
        }
        let most = counts.values().copied().max();
        let oldest = self.entered.iter().position(|one| is_one(one) && counts.get(&one.from).copied() == most);
        if let Some(one) = oldest.and_then(|place| self.entered.remove(place)) {
            one.close.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(pending: &mut Pending, last: u8) -> Option<Socket> {
        match pending.enter([192, 0, 2, last].into(), CancellationToken::new()) {
            Entry::Accepted(socket) | Entry::Replacing(socket) => Some(socket),
            Entry::Refused => None,
        }
    }

    #[test]
    fn pending_oldest_of_the_busiest_address_is_closed() {
        let mut pending = Pending::new(10, 1000);
        let quiet: Vec<Socket> = (1..=3).filter_map(|i| accept(&mut pending, i)).collect();
        let crowd: Vec<Socket> = (0..200).filter_map(|_| accept(&mut pending, 9)).collect();
        assert_eq!((quiet.len(), crowd.len()), (3, 200));
        assert!(quiet.iter().all(|socket| !socket.close.is_cancelled()));
        assert_eq!(crowd.iter().filter(|socket| !socket.close.is_cancelled()).count(), 7);
        assert!(!crowd[199].close.is_cancelled(), "the newest stays");
        assert_eq!(pending.entered.len(), 10);
    }

    #[test]
    fn pending_sockets_with_a_request_are_bounded_too() {
        let mut pending = Pending::new(10, 1000);
        let quiet = accept(&mut pending, 1).expect("accepted");
        quiet.requested.store(true, Ordering::Relaxed);
        let requested: Vec<Socket> = (0..50)
            .filter_map(|_| accept(&mut pending, 9))
            .inspect(|socket| socket.requested.store(true, Ordering::Relaxed))
            .collect();
        assert!(!quiet.close.is_cancelled(), "the address that has most gives room");
        let open = requested.iter().filter(|socket| !socket.close.is_cancelled()).count();
        assert_eq!((requested.len(), open, pending.entered.len()), (50, 19, 20));
        assert!(!requested[49].close.is_cancelled(), "the newest stays");
        drop(requested);
        assert!(matches!(pending.enter([192, 0, 2, 2].into(), CancellationToken::new()), Entry::Accepted(_)));
    }

    #[test]
    fn pending_sockets_per_address_are_bounded() {
        let mut pending = Pending::new(100, 3);
        let mut held: Vec<Socket> = (0..5).filter_map(|_| accept(&mut pending, 9)).collect();
        assert_eq!(held.len(), 3);
        assert!(accept(&mut pending, 8).is_some(), "another address is not concerned");
        held.pop();
        held.extend(accept(&mut pending, 9));
        assert_eq!(held.len(), 3);
        assert!(accept(&mut pending, 9).is_none());
        let near: Vec<Entry> =
            (0..50).map(|_| pending.enter([127, 0, 0, 1].into(), CancellationToken::new())).collect();
        assert!(near.iter().all(|entry| !matches!(entry, Entry::Refused)), "this machine is not limited");
        drop((held, near));
        assert!(pending.open.lock().is_empty(), "nothing is remembered of those who left");
        let mut shut = Pending::new(100, 0);
        assert!(accept(&mut shut, 9).is_none() && shut.open.lock().is_empty());
    }
}
