//! The old system's sender: JSON datagrams to the address that it was given.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{Outbox, Phone, SimulatorConfig};
use crate::{FaceFrame, wire::json::write_arkit_data};

pub(super) struct UdpJson {
    to: SocketAddr,
    subject: String,
    text: String,
}

impl UdpJson {
    pub fn new(config: &SimulatorConfig, to: SocketAddr) -> Self {
        Self { to, subject: config.subject.clone(), text: String::new() }
    }
}

impl Phone for UdpJson {
    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0;
        write_arkit_data(&mut self.text, frame, Some(&self.subject), Some(unix_ms));
        out.datagram(self.to).extend_from_slice(self.text.as_bytes());
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}
