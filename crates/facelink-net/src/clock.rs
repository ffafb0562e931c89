//! The time of day, deadlines, ticks and tasks.

use std::{
    future::pending,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub(crate) use tokio::{spawn, task::yield_now};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// What is left to the exact timer, whose thread is woken for each.
const COARSE: Duration = Duration::from_millis(3);

/// Time of day, Unix milliseconds.
pub(crate) fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}

/// Waits until a deadline; for ever without one.
pub(crate) async fn sleep_until(deadline: Option<impl Into<Instant>>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// The same, as exactly as the system can: timers of the runtime have steps of 1 ms, and end up to 1 ms late.
pub(crate) async fn sleep_exactly_until(deadline: Option<std::time::Instant>) {
    let Some(deadline) = deadline else { return pending().await };
    let left = || deadline.saturating_duration_since(std::time::Instant::now());
    if let Some(most) = left().checked_sub(COARSE) {
        tokio::time::sleep(most).await;
    }
    let left = left();
    if !left.is_zero() {
        futures_timer::Delay::new(left).await;
    }
}

/// Ticks that coincide with those of every other task whose period is a multiple or a part of this one: a machine that
/// sleeps between them is woken once for all.
pub(crate) fn ticks(period: Duration) -> Interval {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let origin = *ORIGIN.get_or_init(|| now);
    let mut ticks = interval_at(now + until_tick(now.saturating_duration_since(origin), period), period);
    // Any other behaviour would leave the common grid after a tick that came late.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}

/// Time until the next tick of a clock that began `since` ago.
fn until_tick(since: Duration, period: Duration) -> Duration {
    let into = since.as_nanos() % period.as_nanos().max(1);
    period - Duration::from_nanos(u64::try_from(into).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_of_tasks_that_began_apart_coincide() {
        for (short, long) in [(50, 100), (100, 100), (100, 1000)] {
            let (short, long) = (Duration::from_millis(short), Duration::from_millis(long));
            for began in [0, 1, 49, 50, 99, 100, 12_345_678] {
                let began = Duration::from_millis(began);
                let first = began + until_tick(began, long);
                assert!(first > began && first <= began + long, "{began:?}");
                assert_eq!(until_tick(first, short), short, "{began:?}: a tick of the shorter period too");
            }
        }
    }
}
