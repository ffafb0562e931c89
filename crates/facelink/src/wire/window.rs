//! Which packets of a stream have been read.

/// Packets behind the newest one that may still come: two seconds of a stream of 60 a second.
pub const WINDOW: u64 = 128;

/// Why a packet is not read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It was read before.
    Replayed,
    /// It is too far behind the newest to know.
    Old,
}

/// The numbers of the packets of one stream that have been read: every one is taken once, in any order within [`WINDOW`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    newest: u64,
    /// Bit *n*: `newest - n` has been read.
    seen: u128,
}

impl Window {
    /// Of a stream whose first packet has been authenticated.
    pub const fn starting_with(counter: u64) -> Self {
        Self { newest: counter, seen: 1 }
    }

    /// Whether a packet may be read; nothing is noted yet, for it may be forged.
    pub fn check(&self, counter: u64) -> Result<(), Refused> {
        match self.newest.checked_sub(counter) {
            None => Ok(()),
            Some(behind) if behind >= WINDOW => Err(Refused::Old),
            Some(behind) if self.seen >> behind & 1 == 1 => Err(Refused::Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Notes a packet that was authenticated.
    pub fn record(&mut self, counter: u64) {
        match self.newest.checked_sub(counter) {
            None => {
                let step = counter - self.newest;
                self.seen = if step >= WINDOW { 0 } else { self.seen << step } | 1;
                self.newest = counter;
            }
            Some(behind) if behind < WINDOW => self.seen |= 1 << behind,
            Some(_) => {}
        }
    }

    /// The highest number so far.
    pub const fn newest(&self) -> u64 {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn window_takes_each_number_once_within_its_reach() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut window = Window::starting_with(500);
        let (mut seen, mut newest) = (HashSet::from([500]), 500);
        for _ in 0..200_000 {
            let counter = newest + random.u64(0..20) - random.u64(0..190).min(newest);
            let expected = match newest.checked_sub(counter) {
                Some(behind) if behind >= WINDOW => Err(Refused::Old),
                _ if seen.contains(&counter) => Err(Refused::Replayed),
                _ => Ok(()),
            };
            assert_eq!(window.check(counter), expected, "{counter} after {newest}");
            if expected.is_ok() {
                window.record(counter);
                seen.insert(counter);
                newest = newest.max(counter);
            }
        }
        assert!(seen.len() > 10_000);
    }

    #[test]
    fn window_jumps_and_ends_without_overflow() {
        let mut window = Window::starting_with(0);
        for counter in [1, 127, 128, 255, 1 << 40, (1 << 40) + 128, u64::MAX - 1, u64::MAX] {
            assert_eq!(window.check(counter), Ok(()));
            window.record(counter);
            assert_eq!(window.check(counter), Err(Refused::Replayed));
        }
        assert_eq!(window.check(0), Err(Refused::Old));
        assert_eq!(window.newest(), u64::MAX);
    }
}
