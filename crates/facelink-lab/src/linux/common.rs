//! What every measurement uses.

use std::{
    error::Error,
    time::{SystemTime, UNIX_EPOCH},
};

/// The lab's result: an error is for the person who ran it.
pub type Res<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Time of day, Unix microseconds: the clock that all processes of the lab share.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64
}

/// How busy the machine is, for the heading of a table.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("load {} on {cores} cores", load.split(' ').take(3).collect::<Vec<_>>().join(" "))
}
