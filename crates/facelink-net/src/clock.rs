//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// Time of day, Unix milliseconds.
pub(crate) fn unix_ms() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0
}
