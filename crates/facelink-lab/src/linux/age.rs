//! How old the newest face is that could be shown.

use super::table::quantile;

/// A frame that arrived; times in Unix microseconds on one clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: i64,
    pub captured: i64,
}

/// What a renderer had that always shows the newest frame.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ages {
    /// Of the newest frame, at every millisecond.
    pub ages_ms: Vec<f64>,
    /// Longest time with one and the same newest frame.
    pub freeze_ms: f64,
}

impl Ages {
    /// Within `from..to`; what arrived before counts as what is shown at its begin. `arrivals` in any order.
    pub fn of(arrivals: &[Arrival], from: i64, to: i64) -> Self {
        let mut arrivals: Vec<Arrival> = arrivals.iter().filter(|arrival| arrival.at < to).copied().collect();
        arrivals.sort_unstable_by_key(|arrival| arrival.at);
        let mut coming = arrivals.into_iter().peekable();
        let (mut newest, mut changed) = (None, from);
        let mut ages = Self::default();
        for now in (from..to).step_by(1000) {
            while let Some(arrival) = coming.next_if(|arrival| arrival.at <= now) {
                if newest < Some(arrival.captured) {
                    newest = Some(arrival.captured);
                    ages.freeze_ms = ages.freeze_ms.max((arrival.at - changed) as f64 / 1000.0);
                    changed = changed.max(arrival.at);
                }
            }
            if let Some(captured) = newest {
                ages.ages_ms.push((now - captured) as f64 / 1000.0);
            }
        }
        ages.freeze_ms = ages.freeze_ms.max((to - changed) as f64 / 1000.0);
        ages
    }

    pub fn quantile(&self, share: f64) -> Option<f64> {
        quantile(&self.ages_ms, share)
    }

    /// Share of the time in which it was older than this, `0..=1`.
    pub fn above(&self, limit_ms: f64) -> f64 {
        let above = self.ages_ms.iter().filter(|age| **age > limit_ms).count();
        above as f64 / (self.ages_ms.len() as f64).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured every 10 ms, and there after 20 ms.
    fn stream(numbers: impl Iterator<Item = i64>) -> Vec<Arrival> {
        numbers.map(|number| Arrival { at: number * 10_000 + 20_000, captured: number * 10_000 }).collect()
    }

    #[test]
    fn a_steady_stream_is_as_old_as_its_way_and_up_to_a_frame_more() {
        let ages = Ages::of(&stream(0..100), 500_000, 900_000);
        assert_eq!(ages.ages_ms.len(), 400);
        assert_eq!((ages.quantile(0.0), ages.quantile(1.0)), (Some(20.0), Some(29.0)));
        assert_eq!((ages.quantile(0.5), ages.freeze_ms), (Some(25.0), 10.0));
        assert_eq!((ages.above(24.0), ages.above(29.0)), (0.5, 0.0));
    }

    #[test]
    fn lost_frames_freeze_it_and_older_ones_do_not_move_it() {
        let mut arrivals = stream((0..100).filter(|number| !(50..53).contains(number)));
        // Repeated by the one after it: it fills the past, but shows nothing newer.
        arrivals.push(Arrival { at: 551_000, captured: 520_000 });
        let ages = Ages::of(&arrivals, 200_000, 900_000);
        assert_eq!((ages.freeze_ms, ages.quantile(1.0)), (40.0, Some(59.0)));
        // Some milliseconds earlier, it does.
        arrivals.push(Arrival { at: 540_000, captured: 520_000 });
        let ages = Ages::of(&arrivals, 200_000, 900_000);
        assert_eq!((ages.freeze_ms, ages.quantile(1.0)), (30.0, Some(49.0)));
    }

    #[test]
    fn a_stream_that_ends_grows_old() {
        let ages = Ages::of(&stream(0..50), 400_000, 1_000_000);
        assert_eq!((ages.freeze_ms, ages.quantile(1.0)), (490.0, Some(509.0)));
        assert_eq!(Ages::of(&[], 0, 5000), Ages { ages_ms: Vec::new(), freeze_ms: 5.0 });
    }
}
