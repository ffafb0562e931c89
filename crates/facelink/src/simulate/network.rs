//! A network in virtual time: delay, jitter, loss, reordering and queues, the same for the same seed.
//!
//! Nothing is sent. A packet that leaves at one time is given its time of arrival, if it arrives; what is done with that is the
//! caller's.

use smallvec::SmallVec;

/// The properties of an emulated network. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NetworkSettings {
    /// Time that every packet takes.
    pub delay_us: i64,
    /// Time that it takes on top, evenly from 0 to this.
    pub jitter_us: i64,
    /// Share of packets that are lost, `0..=1`.
    pub loss: f64,
    /// How many are lost in a row.
    pub burst: u32,
    /// Share of packets that are overtaken.
    pub reorder: f64,
    /// By so much.
    pub reorder_us: i64,
    /// Share of packets that are duplicated.
    pub duplicates: f64,
    /// Rate of the bottleneck, bits a second.
    pub rate_bps: Option<f64>,
    /// Capacity of its queue, as time; what arrives when it is full is dropped.
    pub queue_us: i64,
    /// How often the link stalls, a second, as Wi-Fi does while it retries or sleeps.
    pub stalls_per_s: f64,
    /// Shortest and longest of these.
    pub stall_us: (i64, i64),
}

impl Default for NetworkSettings {
    /// 20 ms, and nothing else.
    fn default() -> Self {
        Self {
            delay_us: 20_000,
            jitter_us: 0,
            loss: 0.0,
            burst: 1,
            reorder: 0.0,
            reorder_us: 25_000,
            duplicates: 0.0,
            rate_bps: None,
            queue_us: 200_000,
            stalls_per_s: 0.0,
            stall_us: (30_000, 120_000),
        }
    }
}

/// One direction of a network.
#[derive(Clone, Debug)]
pub struct Network {
    settings: NetworkSettings,
    chance: u64,
    losing: u32,
    /// When the narrow place is free again.
    free_us: i64,
    last_arrival_us: i64,
    stall: (i64, i64),
    dropped: u64,
}

impl Network {
    /// A network; the same seed does the same to the same packets.
    pub fn new(settings: NetworkSettings, seed: u64) -> Self {
        Self {
            settings,
            chance: seed ^ 0x9e37_79b9_7f4a_7c15,
            losing: 0,
            free_us: i64::MIN,
            last_arrival_us: i64::MIN,
            stall: (0, 0),
            dropped: 0,
        }
    }

    /// Changes the network while packets are in flight.
    pub const fn set(&mut self, settings: NetworkSettings) {
        self.settings = settings;
    }

    /// Packets that did not arrive.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// 0 to below 1: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn random(&mut self) -> f64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// When a packet of this size (bytes, with all headers) arrives that leaves at `at_us`: never, once or twice. Packets
    /// have to be given in the order in which they leave.
    pub fn send(&mut self, at_us: i64, bytes: usize) -> SmallVec<[i64; 2]> {
        let settings = self.settings;
        // All of chance is drawn for each packet, so that one setting does not shift another's.
        let [lost, jitter, late, twice, stalls, stall] = [(); 6].map(|()| self.random());
        let mut arrivals = SmallVec::new();

        let mut leaves_us = at_us;
        if let Some(rate) = settings.rate_bps {
            let begins_us = self.free_us.max(at_us);
            if begins_us - at_us > settings.queue_us {
                self.dropped += 1;
                return arrivals;
            }
            leaves_us = begins_us + (bytes as f64 * 8e6 / rate) as i64;
            self.free_us = leaves_us;
        }
        if self.losing > 0 {
            self.losing -= 1;
            self.dropped += 1;
            return arrivals;
        }
        if lost < settings.loss / f64::from(settings.burst.max(1)) {
            self.losing = settings.burst.max(1) - 1;
            self.dropped += 1;
            return arrivals;
        }
        // A stall begins before this packet with a chance that fits packets 1/60 s apart; close enough for all rates.
        if at_us >= self.stall.1 && stalls < settings.stalls_per_s / 60.0 {
            let (least, most) = settings.stall_us;
            self.stall = (at_us, at_us + least + (stall * (most - least) as f64) as i64);
        }
        leaves_us = if at_us < self.stall.1 { leaves_us.max(self.stall.1) } else { leaves_us };
        let mut arrival_us = leaves_us + settings.delay_us + (jitter * settings.jitter_us as f64) as i64;
        if late < settings.reorder {
            arrival_us += settings.reorder_us;
        } else {
            // What queues does not overtake.
            arrival_us = arrival_us.max(self.last_arrival_us + 1);
            self.last_arrival_us = arrival_us;
        }
        arrivals.push(arrival_us);
        if twice < settings.duplicates {
            arrivals.push(arrival_us + 3000);
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(settings: NetworkSettings, seed: u64) -> Vec<Option<i64>> {
        let mut network = Network::new(settings, seed);
        (0..6000).map(|i| network.send(i * 16_667, 150).first().copied()).collect()
    }

    #[test]
    fn network_same_seed_same_loss_at_configured_rate() {
        let settings = NetworkSettings { loss: 0.05, jitter_us: 10_000, ..NetworkSettings::default() };
        let once = arrivals(settings, 3);
        assert_eq!(once, arrivals(settings, 3));
        assert_ne!(once, arrivals(settings, 4));
        let lost = once.iter().filter(|at| at.is_none()).count();
        assert!((240..360).contains(&lost), "{lost}");
        assert!(once.iter().flatten().zip(once.iter().flatten().skip(1)).all(|(a, b)| a < b), "in order");
        let in_threes = arrivals(NetworkSettings { burst: 3, ..settings }, 3);
        let lost = in_threes.iter().filter(|at| at.is_none()).count();
        assert!((200..400).contains(&lost), "{lost}");
        let runs = in_threes.windows(3).filter(|w| w.iter().all(Option::is_none)).count();
        assert!(runs * 3 >= lost * 9 / 10, "{runs} {lost}");
    }

    #[test]
    fn network_bottleneck_queues_then_drops() {
        let settings = NetworkSettings { rate_bps: Some(64_000.0), ..NetworkSettings::default() };
        let all = arrivals(settings, 1);
        // 150 bytes at 64 kbit/s take 18.75 ms: eight of nine get through, and wait for up to 200 ms.
        let share = all.iter().flatten().count() as f64 / all.len() as f64;
        assert!((share - 16.667 / 18.75).abs() < 0.01, "{share}");
        let longest = all.iter().enumerate().filter_map(|(i, at)| Some((*at)? - i as i64 * 16_667)).max();
        assert!(longest.is_some_and(|longest| (220_000..245_000).contains(&longest)), "{longest:?}");
    }

    #[test]
    fn network_stall_delays_packets_together() {
        let settings = NetworkSettings { stalls_per_s: 2.0, ..NetworkSettings::default() };
        let all = arrivals(settings, 5);
        let late: Vec<i64> =
            all.iter().enumerate().map(|(i, at)| at.expect("arrives") - i as i64 * 16_667 - 20_000).collect();
        let share = late.iter().filter(|late| **late > 15_000).count() as f64 / late.len() as f64;
        assert!((0.03..0.3).contains(&share), "{share}");
        assert!(late.iter().all(|late| (0..=121_000).contains(late)));
    }
}
