//! Which datagrams of one address come from the same program.
//!
//! Most programs send everything from one port, and two programs from two. Some open a socket for each datagram, and a program
//! that is started again gets another port. What tells them apart is whether a port is used again while others are: ports
//! that are used once, one after the other, are one program's.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// Ports of one address that are remembered, programs, and addresses.
const MAX_PORTS: usize = 256;
const MAX_PROGRAMS: usize = 64;
const MAX_ADDRESSES: usize = 64;
/// Ports in a row, each used once, that are one program's.
const SINGLE_PORTS: usize = 4;
/// And within so much time.
const SINGLE_WITHIN: Duration = Duration::from_secs(1);
/// Datagrams within [`KEPT_WITHIN`] after which a port is its program's own.
const KEPT: u32 = 3;
/// The same next to a program that opens a port for each datagram, and may by chance get one again.
const KEPT_FOR_SURE: u32 = 8;
const KEPT_WITHIN: Duration = Duration::from_secs(5);
/// A port that is silent for this long, or for so many of its usual intervals, while another one appears has been given up:
/// its program goes on from there.
const GIVEN_UP: Duration = Duration::from_millis(250);
const GIVEN_UP_INTERVALS: u32 = 4;
/// A program that is silent for this long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// A port of one address.
#[derive(Debug)]
struct Port {
    number: u16,
    /// Datagrams since it appeared.
    count: u32,
    since: Instant,
    last: Instant,
}

/// A program at one address.
#[derive(Debug)]
struct Program {
    /// The port that it is known by: the first one that it used.
    name: u16,
    /// The port that it uses now; `None` for one that uses each port once.
    port: Option<u16>,
    last: Instant,
    /// Between two datagrams.
    interval: Duration,
}

impl Program {
    fn hear(&mut self, now: Instant) {
        let waited = now.saturating_duration_since(self.last);
        self.interval = if self.interval.is_zero() { waited } else { (self.interval * 7 + waited) / 8 };
        self.last = now;
    }

    /// Whether it has given up its port.
    fn is_silent(&self, now: Instant) -> bool {
        self.port.is_some()
            && now.saturating_duration_since(self.last) >= GIVEN_UP.max(self.interval * GIVEN_UP_INTERVALS)
    }
}

#[derive(Debug)]
struct Address {
    ip: IpAddr,
    ports: Vec<Port>,
    programs: Vec<Program>,
}

/// The programs that send to one port of ours.
#[derive(Debug, Default)]
pub(super) struct SenderPorts {
    addresses: Vec<Address>,
}

impl SenderPorts {
    /// A stable address for the program that a datagram comes from; `None` while it is not clear whether it is a new one.
    pub fn program_of(&mut self, from: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let place = self.addresses.iter().position(|address| address.ip == from.ip()).unwrap_or_else(|| {
            if self.addresses.len() >= MAX_ADDRESSES {
                let last = |address: &Address| address.ports.iter().map(|port| port.last).max();
                let oldest = self.addresses.iter().enumerate().min_by_key(|(_, address)| last(address));
                let oldest = oldest.map_or(0, |(place, _)| place);
                self.addresses.swap_remove(oldest);
            }
            self.addresses.push(Address { ip: from.ip(), ports: Vec::new(), programs: Vec::new() });
            self.addresses.len() - 1
        });
        let address = self.addresses.get_mut(place)?;
        address.program_of(from.port(), now).map(|name| SocketAddr::new(from.ip(), name))
    }

    /// The program of this address that was heard last.
    pub fn newest_program_of(&self, ip: IpAddr) -> Option<SocketAddr> {
        let address = self.addresses.iter().find(|address| address.ip == ip)?;
        let newest = address.programs.iter().max_by_key(|program| program.last)?;
        Some(SocketAddr::new(ip, newest.name))
    }
}

impl Address {
    fn program_of(&mut self, number: u16, now: Instant) -> Option<u16> {
        self.ports.retain(|port| now.saturating_duration_since(port.last) < KEPT_WITHIN);
        self.programs.retain(|program| now.saturating_duration_since(program.last) < FORGOTTEN);
        let count = self.note(number, now);
        // Its own port.
        if let Some(program) = self.programs.iter_mut().find(|program| program.port == Some(number)) {
            program.hear(now);
            return Some(program.name);
        }
        // The first of all.
        if self.programs.is_empty() {
            return Some(self.add(number, Some(number), now));
        }
        if let Some(name) = self.successor(number, now) {
            return Some(name);
        }
        if let Some(program) = self.programs.iter_mut().find(|program| program.port.is_none()) {
            if count < KEPT_FOR_SURE {
                program.hear(now);
                return Some(program.name);
            }
        } else if count == 1 && self.singles(now) >= SINGLE_PORTS {
            return Some(self.on_single(number, now));
        }
        (count >= KEPT && self.is_next_to_others(number)).then(|| self.add(number, Some(number), now))
    }

    fn note(&mut self, number: u16, now: Instant) -> u32 {
        if let Some(place) = self.ports.iter().position(|port| port.number == number) {
            let mut port = self.ports.remove(place);
            if now.saturating_duration_since(port.since) > KEPT_WITHIN && port.count < KEPT_FOR_SURE {
                // Used again after so long, perhaps by chance.
                (port.count, port.since) = (0, now);
            }
            (port.count, port.last) = (port.count.saturating_add(1), now);
            let count = port.count;
            self.ports.push(port);
            return count;
        }
        if self.ports.len() >= MAX_PORTS {
            self.ports.remove(0);
        }
        self.ports.push(Port { number, count: 1, since: now, last: now });
        1
    }

    /// Ports that were used once, a moment ago.
    fn singles(&self, now: Instant) -> usize {
        let once = |port: &&Port| port.count == 1 && now.saturating_duration_since(port.last) < SINGLE_WITHIN;
        self.ports.iter().filter(once).count()
    }

    fn add(&mut self, name: u16, port: Option<u16>, now: Instant) -> u16 {
        if self.programs.len() >= MAX_PROGRAMS {
            self.programs.remove(0);
        }
        // A name that an earlier program bears would join the two.
        let is_free = |name: u16| self.programs.iter().all(|program| program.name != name);
        let name = (0..=u16::MAX).map(|step| name.wrapping_add(step)).find(|name| is_free(*name)).unwrap_or(name);
        self.programs.push(Program { name, port, last: now, interval: Duration::ZERO });
        name
    }

    /// A program that opens a port for each datagram: the one that was seen with a port that was used once, or a new one.
    fn on_single(&mut self, number: u16, now: Instant) -> u16 {
        let ports = &self.ports;
        let once = |program: &&mut Program| {
            let own = ports.iter().find(|port| Some(port.number) == program.port);
            own.is_none_or(|port| port.count == 1)
        };
        match self.programs.iter_mut().find(once) {
            Some(program) => {
                program.port = None;
                program.hear(now);
                program.name
            }
            None => self.add(number, None, now),
        }
    }

    /// Whether another port has been used since this one appeared: otherwise its program may have followed another.
    fn is_next_to_others(&self, number: u16) -> bool {
        let since = self.ports.iter().find(|port| port.number == number).map(|port| port.since);
        since.is_some_and(|since| self.ports.iter().any(|port| port.number != number && port.last > since))
    }

    /// The program that continues from this port, having given up its own before this one appeared.
    fn successor(&mut self, number: u16, now: Instant) -> Option<u16> {
        let since = self.ports.iter().find(|port| port.number == number)?.since;
        let mut silent = self.programs.iter_mut().filter(|program| program.is_silent(now) && program.last <= since);
        let program = silent.next()?;
        // Of several it might be any.
        if silent.next().is_some() {
            return None;
        }
        (program.port, program.last) = (Some(number), now);
        Some(program.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        ports: SenderPorts,
        start: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { ports: SenderPorts::default(), start: Instant::now() }
        }

        fn at(&mut self, ms: u64, port: u16) -> Option<u16> {
            let from = SocketAddr::from(([127, 0, 0, 1], port));
            self.ports.program_of(from, self.start + Duration::from_millis(ms)).map(|program| program.port())
        }
    }

    #[test]
    fn sender_ports_used_once_each_are_one_program() {
        let mut world = World::new();
        let names: Vec<_> = (0..2000).map(|i| world.at(u64::from(i), 40_000 + i * 7 % 900)).collect();
        assert_eq!(names.iter().flatten().count(), 1998, "two before it is clear");
        assert!(names.iter().flatten().all(|name| *name == 40_000));
    }

    #[test]
    fn sender_ports_kept_are_two_programs() {
        for step in [16, 500] {
            let mut world = World::new();
            let pairs: Vec<_> = (0..100).map(|i| (world.at(step * i, 1), world.at(step * i + 3, 2))).collect();
            assert!(pairs.iter().all(|(first, _)| *first == Some(1)));
            assert!(pairs[3..].iter().all(|(_, second)| *second == Some(2)), "every {step} ms: {:?}", &pairs[..6]);
        }
        // One that keeps its port next to one that does not.
        let mut world = World::new();
        let pairs: Vec<_> =
            (0..200_u16).map(|i| (world.at(10 * u64::from(i), 1), world.at(10 * u64::from(i) + 3, 1000 + i))).collect();
        assert!(pairs.iter().all(|(first, _)| *first == Some(1)));
        let second = pairs[10].1;
        assert!(second.is_some() && second != Some(1));
        assert!(pairs[10..].iter().all(|(_, name)| *name == second));
    }

    #[test]
    fn sender_ports_program_that_begins_as_another_ends_continues_it() {
        // 0: read in one batch, at one time.
        for pause in [0, 1, 16, 100] {
            let mut world = World::new();
            (0..60).for_each(|i| assert_eq!(world.at(16 * i, 1), Some(1)));
            (0..60).for_each(|i| assert_eq!(world.at(6000 + 16 * i, 2), Some(1), "{i}"));
            let names: Vec<_> = (0..60).map(|i| world.at(6944 + pause + 16 * i, 3)).collect();
            assert!(names.iter().flatten().all(|name| *name == 1), "{names:?}");
            assert!(names[20..].iter().all(Option::is_some), "{pause}: {names:?}");
        }
    }

    #[test]
    fn sender_ports_restarted_program_is_the_same() {
        for pause in [20, 2000] {
            let mut world = World::new();
            (0..60).for_each(|i| assert_eq!(world.at(16 * i, 1), Some(1)));
            let names: Vec<_> = (0..60).map(|i| world.at(16 * 60 + pause + 16 * i, 2)).collect();
            assert!(names.iter().flatten().all(|name| *name == 1), "{names:?}");
            assert!(names[20..].iter().all(Option::is_some), "{names:?}");
        }
    }
}
