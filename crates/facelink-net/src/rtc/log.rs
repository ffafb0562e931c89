//! The log of the WebRTC crates.
//!
//! At level `info` they report every step of every connection, and at `warn` and `error` what a peer sends or fails to
//! send. What matters of it is in our own events and stats, so their log is left out unless the process logs one of them at
//! level `debug` or finer.

use std::sync::LazyLock;

use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber, enabled, instrument::WithSubscriber, level_filters::LevelFilter,
    span, subscriber::Interest,
};

/// Takes no log. [`Dispatch::none`] would do it too, but what is logged first under that one is never logged again: tracing
/// remembers that nothing wanted it.
struct Silent;

impl Subscriber for Silent {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::never()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::OFF)
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

static SILENT: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Silent));

/// Whether the crates' log is wanted. The subscriber is asked, for [`LevelFilter::current`] is `TRACE` in every Bevy app.
fn is_wanted() -> bool {
    enabled!(target: "rtc", Level::DEBUG)
        || enabled!(target: "rtc_ice", Level::DEBUG)
        || enabled!(target: "webrtc", Level::DEBUG)
}

/// Runs a future of the WebRTC crates without their log.
pub(super) async fn quiet<F: Future>(future: F) -> F::Output {
    if is_wanted() { future.await } else { future.with_subscriber(SILENT.clone()).await }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    /// Counts events at this level or above, of a process whose most verbose level is not known, as in Bevy.
    struct Count(LevelFilter, Arc<AtomicUsize>);

    impl Subscriber for Count {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= self.0
        }

        fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
            Interest::sometimes()
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &Event<'_>) {
            self.1.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    async fn log_events() {
        tracing::info!("connection state changed");
        tokio::task::yield_now().await;
        tracing::info!("connection state changed again");
    }

    /// One test for both levels: the finest level of all subscribers counts, and tests run next to each other.
    #[tokio::test]
    async fn webrtc_log_needs_debug_level() {
        for (level, quieted) in [(LevelFilter::INFO, 0), (LevelFilter::DEBUG, 2)] {
            let count = Arc::new(AtomicUsize::new(0));
            let subscriber = Count(level, count.clone());
            async {
                quiet(log_events()).await;
                assert_eq!(count.load(Ordering::Relaxed), quieted, "{level}");
                log_events().await;
                assert_eq!(count.load(Ordering::Relaxed), quieted + 2, "other logs are not touched at {level}");
            }
            .with_subscriber(subscriber)
            .await;
        }
    }
}
