//! VTube Studio: sends to whoever asked, for as long as they asked.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{Outbox, Phone, SimulatorConfig};
use crate::{
    FaceFrame,
    wire::vtube_studio::{PROFILE, REQUEST_PORT, Request, encode, lease},
};

/// Most receivers at a time.
const MOST: usize = 32;

pub(super) struct VTubeStudio {
    /// As if asked for ever.
    to: Option<SocketAddr>,
    leases: Vec<(SocketAddr, Instant)>,
    text: String,
}

impl VTubeStudio {
    pub fn new(config: &SimulatorConfig) -> Self {
        Self { to: config.to, leases: Vec::new(), text: String::new() }
    }
}

impl Phone for VTubeStudio {
    fn port(&self) -> Option<u16> {
        Some(REQUEST_PORT)
    }

    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, _out: &mut Outbox) {
        // The app says nothing to a request that it does not understand.
        let Ok(request) = Request::decode(datagram) else { return };
        let until = now + lease(&request);
        for port in request.ports {
            let to = SocketAddr::new(from.ip(), port);
            if let Some((_, end)) = self.leases.iter_mut().find(|(address, _)| *address == to) {
                *end = until;
            } else if self.leases.len() < MOST {
                self.leases.push((to, until));
            }
        }
    }

    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String> {
        self.leases.retain(|(_, end)| *end > now);
        let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        encode(frame, u64::try_from(unix_ms).unwrap_or(u64::MAX), &PROFILE, &mut self.text);
        for to in self.to.into_iter().chain(self.leases.iter().map(|(to, _)| *to)) {
            out.datagram(to).extend_from_slice(self.text.as_bytes());
        }
        Ok(())
    }

    fn is_streaming(&self, now: Instant) -> bool {
        self.to.is_some() || self.leases.iter().any(|(_, end)| *end > now)
    }
}
