//! Sockets at the door: those that have not asked for anything yet, and how many each address holds.

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

use super::guard::household;

/// A socket that has come in; no longer counted when it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    from: IpAddr,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Set when its first request is there.
    pub asked: Arc<AtomicBool>,
    /// Cancelled when it has to leave.
    pub leave: CancellationToken,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut open = self.open.lock();
        if let Some(count) = open.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.from);
            }
        }
        drop(open);
        self.leave.cancel();
    }
}

#[derive(Debug)]
struct Waiting {
    from: IpAddr,
    asked: Arc<AtomicBool>,
    leave: CancellationToken,
}

/// Keeps count of sockets until they have become WebSockets, or end.
#[derive(Debug)]
pub(super) struct Door {
    most_waiting: usize,
    most_of_one: usize,
    waiting: VecDeque<Waiting>,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// What became of a socket.
#[derive(Debug)]
pub(super) enum Entry {
    /// Let in.
    In(Visit),
    /// Let in, and another one that had waited for longer was sent away.
    InFor(Visit),
    /// Its address has as many as it may have.
    Refused,
}

impl Door {
    /// At most so many that have not asked yet, and so many of one address beyond this machine.
    pub fn new(most_waiting: usize, most_of_one: usize) -> Self {
        Self { most_waiting, most_of_one, waiting: VecDeque::new(), open: Arc::default() }
    }

    /// A socket of this address has come.
    pub fn enter(&mut self, address: IpAddr, leave: CancellationToken) -> Entry {
        let from = household(address);
        {
            let mut open = self.open.lock();
            let count = open.entry(from).or_insert(0);
            if !from.is_loopback() && *count >= self.most_of_one {
                if *count == 0 {
                    open.remove(&from);
                }
                return Entry::Refused;
            }
            *count += 1;
        }
        self.waiting.retain(|one| !one.asked.load(Ordering::Relaxed) && !one.leave.is_cancelled());
        let crowded = self.waiting.len() >= self.most_waiting.max(1);
        if crowded {
            self.send_away();
        }
        let asked = Arc::new(AtomicBool::new(false));
        self.waiting.push_back(Waiting { from, asked: asked.clone(), leave: leave.clone() });
        let visit = Visit { from, open: self.open.clone(), asked, leave };
        if crowded { Entry::InFor(visit) } else { Entry::In(visit) }
    }

    /// The oldest of the address that has most: who comes in crowds pushes their own out.
    fn send_away(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for one in &self.waiting {
            *counts.entry(one.from).or_insert(0) += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let oldest = self.waiting.iter().position(|one| counts.get(&one.from) == Some(&most));
        if let Some(one) = oldest.and_then(|place| self.waiting.remove(place)) {
            one.leave.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn come(door: &mut Door, last: u8) -> Option<Visit> {
        match door.enter([192, 0, 2, last].into(), CancellationToken::new()) {
            Entry::In(visit) | Entry::InFor(visit) => Some(visit),
            Entry::Refused => None,
        }
    }

    #[test]
    fn a_crowd_pushes_its_own_out() {
        let mut door = Door::new(10, 1000);
        let quiet: Vec<Visit> = (1..=3).filter_map(|i| come(&mut door, i)).collect();
        let crowd: Vec<Visit> = (0..200).filter_map(|_| come(&mut door, 9)).collect();
        assert_eq!((quiet.len(), crowd.len()), (3, 200));
        assert!(quiet.iter().all(|visit| !visit.leave.is_cancelled()));
        assert_eq!(crowd.iter().filter(|visit| !visit.leave.is_cancelled()).count(), 7);
        assert!(!crowd[199].leave.is_cancelled(), "the newest stays");
        assert_eq!(door.waiting.len(), 10);
    }

    #[test]
    fn who_has_asked_waits_no_longer() {
        let mut door = Door::new(2, 1000);
        let asked: Vec<Visit> = (0..50)
            .filter_map(|_| come(&mut door, 9))
            .inspect(|visit| visit.asked.store(true, Ordering::Relaxed))
            .collect();
        assert!(asked.len() == 50 && asked.iter().all(|visit| !visit.leave.is_cancelled()));
    }

    #[test]
    fn one_address_holds_so_many_and_no_more() {
        let mut door = Door::new(100, 3);
        let mut held: Vec<Visit> = (0..5).filter_map(|_| come(&mut door, 9)).collect();
        assert_eq!(held.len(), 3);
        assert!(come(&mut door, 8).is_some(), "another address is not concerned");
        held.pop();
        held.extend(come(&mut door, 9));
        assert_eq!(held.len(), 3);
        assert!(come(&mut door, 9).is_none());
        let near: Vec<Entry> = (0..50).map(|_| door.enter([127, 0, 0, 1].into(), CancellationToken::new())).collect();
        assert!(near.iter().all(|entry| !matches!(entry, Entry::Refused)), "this machine is not limited");
        drop((held, near));
        assert!(door.open.lock().is_empty(), "nothing is remembered of those who left");
        let mut shut = Door::new(100, 0);
        assert!(come(&mut shut, 9).is_none() && shut.open.lock().is_empty());
    }
}
