//! What an endpoint of this process holds.

use facelink_net::Endpoint;
use serde_json::{Value, json};

use super::proc::status_of;

#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub tasks: usize,
    pub descriptors: usize,
    pub sockets: usize,
    pub threads: u64,
    pub subjects: usize,
    pub connections: usize,
    pub rss_kib: u64,
}

impl Usage {
    pub const COLUMNS: [&str; 7] = ["tasks", "descriptors", "sockets", "threads", "subjects", "connections", "RSS KiB"];

    pub fn of(endpoint: &Endpoint) -> Self {
        let stats = endpoint.stats();
        let links = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let names: Vec<_> = links.filter_map(|link| std::fs::read_link(link.path()).ok()).collect();
        Self {
            tasks: endpoint.runtime().map_or(0, |runtime| runtime.metrics().num_alive_tasks()),
            // Without the directory that is being read.
            descriptors: names.iter().filter(|name| !name.starts_with("/proc")).count(),
            sockets: names.iter().filter(|name| name.to_string_lossy().starts_with("socket:")).count(),
            threads: status_of("self", "Threads:").unwrap_or(0),
            subjects: stats.subjects.len(),
            connections: stats.connections,
            rss_kib: status_of("self", "VmRSS:").unwrap_or(0),
        }
    }

    /// What must come back to where it was.
    pub fn held(self) -> [usize; 5] {
        [self.tasks, self.descriptors, self.sockets, self.subjects, self.connections]
    }

    fn figures(self) -> [u64; 7] {
        let Self { tasks, descriptors, sockets, threads, subjects, connections, rss_kib } = self;
        let [tasks, descriptors, sockets, subjects, connections] =
            [tasks, descriptors, sockets, subjects, connections].map(|count| count as u64);
        [tasks, descriptors, sockets, threads, subjects, connections, rss_kib]
    }

    /// A name, and the columns.
    pub fn row(self, name: String) -> Vec<String> {
        [name].into_iter().chain(self.figures().map(|figure| figure.to_string())).collect()
    }

    pub fn to_json(self) -> Value {
        json!(self.figures())
    }

    pub fn from_json(value: &Value) -> Option<Self> {
        let mut figures = value.as_array()?.iter().map(Value::as_u64);
        let mut next = || figures.next()?;
        let mut count = || next().and_then(|figure| usize::try_from(figure).ok());
        let (tasks, descriptors, sockets) = (count()?, count()?, count()?);
        let threads = count()? as u64;
        Some(Self { tasks, descriptors, sockets, threads, subjects: count()?, connections: count()?, rss_kib: next()? })
    }
}
