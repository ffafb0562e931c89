//! What a network does to packets: delay, jitter, loss and a bottleneck with a queue.
//!
//! [`Path`] decides in any time that it is given; [`Link`] carries its decisions out in real time.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tun_rs::SyncDevice;

/// A network in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shape {
    pub delay: Duration,
    /// Standard deviation of what chance adds to the delay; it never takes from it.
    pub jitter: Duration,
    /// Share of the packets that are lost, `0..1`.
    pub loss: f64,
    /// They are lost this many in a row; 0 counts as 1.
    pub burst: u32,
    pub bottleneck: Option<Bottleneck>,
}

/// A slow link, and the queue before it from whose end packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bottleneck {
    pub bits_per_second: f64,
    pub queue_bytes: usize,
}

impl Bottleneck {
    /// With a queue that takes `time` to run empty.
    pub fn new(bits_per_second: f64, time: Duration) -> Self {
        Self { bits_per_second, queue_bytes: (time.as_secs_f64() * bits_per_second / 8.0) as usize }
    }

    fn time_of(&self, bytes: usize) -> Duration {
        Duration::from_secs_f64(bytes as f64 * 8.0 / self.bits_per_second)
    }
}

/// A [`Shape`] over time.
#[derive(Debug)]
pub struct Path {
    shape: Shape,
    chance: fastrand::Rng,
    /// Packets of a burst that are still to be lost.
    losing: u32,
    /// When the bottleneck has sent all that it has taken.
    free: Duration,
}

impl Path {
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, chance: fastrand::Rng::with_seed(seed), losing: 0, free: Duration::ZERO }
    }

    /// When a packet that comes at `now` arrives; `None` if it never does. `now` does not go back.
    pub fn pass(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        if self.loses() {
            return None;
        }
        let mut left = now;
        if let Some(bottleneck) = self.shape.bottleneck {
            let waits = self.free.saturating_sub(now);
            if waits + bottleneck.time_of(bytes) > bottleneck.time_of(bottleneck.queue_bytes) {
                return None;
            }
            self.free = now + waits + bottleneck.time_of(bytes);
            left = self.free;
        }
        Some(left + self.shape.delay + self.shape.jitter.mul_f64(self.normal().abs()))
    }

    fn loses(&mut self) -> bool {
        if self.losing > 0 {
            self.losing -= 1;
            return true;
        }
        let (loss, burst) = (self.shape.loss, f64::from(self.shape.burst.max(1)));
        // So that bursts and what lies between them make up the share.
        let begins = self.chance.f64() < loss / (burst - loss * (burst - 1.0));
        if begins {
            self.losing = self.shape.burst.saturating_sub(1);
        }
        begins
    }

    /// Box and Muller (1958).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.chance.f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.chance.f64()).cos()
    }
}

/// What was handed over on one side, before anything of it was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    /// With their IP headers.
    pub bytes: u64,
    /// Of these packets, those that the network lost.
    pub lost: u64,
}

impl std::ops::Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { packets: self.packets - other.packets, bytes: self.bytes - other.bytes, lost: self.lost - other.lost }
    }
}

struct Waiting {
    due: Duration,
    /// Packets of one time leave in the order in which they came.
    number: u64,
    packet: Vec<u8>,
    to: Arc<SyncDevice>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.number).cmp(&(other.due, other.number))
    }
}

#[derive(Default)]
struct State {
    path: Option<Path>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
    ended: bool,
}

/// One direction of a network. Without a [`Shape`], everything passes at once.
pub struct Link {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
    packets: AtomicU64,
    bytes: AtomicU64,
    lost: AtomicU64,
}

impl Link {
    /// It needs a thread in [`Self::deliver`].
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|failed| failed.into_inner())
    }

    pub fn shape(&self, shape: Shape, seed: u64) {
        self.state().path = Some(Path::new(shape, seed));
    }

    pub fn counts(&self) -> Counts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { packets: of(&self.packets), bytes: of(&self.bytes), lost: of(&self.lost) }
    }

    /// Takes a packet; `counted` if it is between the two ends and not of what a system broadcasts.
    pub fn take(&self, packet: &[u8], to: &Arc<SyncDevice>, counted: bool) {
        let add = |count: &AtomicU64, number: u64| {
            if counted {
                count.fetch_add(number, Ordering::Relaxed);
            }
        };
        add(&self.packets, 1);
        add(&self.bytes, packet.len() as u64);
        let mut state = self.state();
        let Some(path) = &mut state.path else {
            drop(state);
            // A device that is down takes nothing, like any cut cable.
            let _ = to.send(packet);
            return;
        };
        let Some(due) = path.pass(self.start.elapsed(), packet.len()) else {
            add(&self.lost, 1);
            return;
        };
        state.number += 1;
        let next = Waiting { due, number: state.number, packet: packet.to_vec(), to: to.clone() };
        let sooner = state.waiting.peek().is_none_or(|Reverse(first)| next < *first);
        state.waiting.push(Reverse(next));
        if sooner {
            self.changed.notify_one();
        }
    }

    /// Delivers what waits, until [`Self::end`].
    pub fn deliver(&self) {
        let mut state = self.state();
        while !state.ended {
            let now = self.start.elapsed();
            let due = state.waiting.peek().map(|Reverse(first)| first.due);
            state = match due {
                Some(due) if due <= now => {
                    let first = state.waiting.pop();
                    drop(state);
                    if let Some(Reverse(first)) = first {
                        let _ = first.to.send(&first.packet);
                    }
                    self.state()
                }
                Some(due) => {
                    let waited = self.changed.wait_timeout(state, due - now);
                    waited.unwrap_or_else(|failed| failed.into_inner()).0
                }
                None => self.changed.wait(state).unwrap_or_else(|failed| failed.into_inner()),
            };
        }
        state.waiting.clear();
    }

    pub fn end(&self) {
        self.state().ended = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lost(shape: Shape, packets: u32) -> Vec<bool> {
        let mut path = Path::new(shape, 1);
        (0..packets).map(|packet| path.pass(MS * packet, 100).is_none()).collect()
    }

    #[test]
    fn a_clean_path_delays_every_packet_alike() {
        let mut path = Path::new(Shape { delay: 20 * MS, ..Shape::default() }, 1);
        for packet in 0..1000 {
            assert_eq!(path.pass(packet * MS, 1400), Some((packet + 20) * MS));
        }
    }

    #[test]
    fn jitter_only_adds() {
        let mut path = Path::new(Shape { delay: 20 * MS, jitter: 2 * MS, ..Shape::default() }, 1);
        let mut late: Vec<Duration> =
            (0..10_000).filter_map(|packet| Some(path.pass(packet * MS, 100)? - (packet + 20) * MS)).collect();
        late.sort_unstable();
        // Half of the normal distribution: its median is at 0.674 of the deviation, 99 % of it below 2.576.
        assert!((1.2..1.5).contains(&(late[5000].as_secs_f64() * 1e3)), "{:?}", late[5000]);
        assert!((4.8..5.5).contains(&(late[9900].as_secs_f64() * 1e3)), "{:?}", late[9900]);
    }

    #[test]
    fn the_share_is_lost_one_by_one_or_in_bursts() {
        for burst in [1, 3] {
            let lost = lost(Shape { loss: 0.05, burst, ..Shape::default() }, 200_000);
            let share = lost.iter().filter(|lost| **lost).count() as f64 / lost.len() as f64;
            assert!((0.045..0.055).contains(&share), "{share} in bursts of {burst}");
            let runs: Vec<usize> = lost.split(|lost| !lost).map(<[bool]>::len).filter(|run| *run > 0).collect();
            let whole = runs.iter().rev().skip(1).all(|run| run % burst as usize == 0);
            assert!(whole && runs.len() > 1000);
        }
        assert!(!lost(Shape::default(), 10_000).contains(&true));
    }

    #[test]
    fn a_bottleneck_queues_and_then_drops_from_the_end() {
        // 8000 bytes a second: a packet of 160 takes 20 ms, and ten of them fill the queue.
        let bottleneck = Bottleneck::new(64_000.0, 200 * MS);
        assert_eq!(bottleneck.queue_bytes, 1600);
        let mut path = Path::new(Shape { delay: 5 * MS, bottleneck: Some(bottleneck), ..Shape::default() }, 1);
        for packet in 1..=10 {
            assert_eq!(path.pass(Duration::ZERO, 160), Some((20 * packet + 5) * MS));
        }
        assert_eq!(path.pass(Duration::ZERO, 160), None);
        // A smaller one fits no better until there is room for it, and then waits behind the others.
        assert_eq!(path.pass(5 * MS, 80), None);
        assert_eq!(path.pass(10 * MS, 80), Some(215 * MS));
        // Empty again, it delays a packet by no more than itself.
        assert_eq!(path.pass(1000 * MS, 160), Some(1025 * MS));
    }

    #[test]
    fn a_sender_above_the_rate_gets_the_rate_and_a_full_queue() {
        let bottleneck = Bottleneck::new(64_000.0, 200 * MS);
        let mut path = Path::new(Shape { bottleneck: Some(bottleneck), ..Shape::default() }, 1);
        // 160 bytes at 100 Hz: twice what passes.
        let arrivals: Vec<(Duration, Duration)> =
            (0..1000).filter_map(|packet| Some((10 * packet * MS, path.pass(10 * packet * MS, 160)?))).collect();
        assert!((500..=511).contains(&arrivals.len()), "{}", arrivals.len());
        assert!(arrivals.windows(2).all(|pair| pair[1].1 - pair[0].1 == 20 * MS));
        let (sent, arrived) = arrivals[arrivals.len() - 1];
        assert!((180 * MS..=200 * MS).contains(&(arrived - sent)), "{:?}", arrived - sent);
    }
}
