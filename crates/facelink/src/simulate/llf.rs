//! Live Link Face: sends to the address that was typed in.

use std::{
    net::SocketAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{Outbox, Phone, SimulatorConfig};
use crate::{
    FaceFrame,
    wire::llf::{self, LlfPacket},
};

/// As the app's: what an iPhone would call itself.
const DEVICE_ID: &str = "FACE1111-0000-4000-8000-5EEDFACE0001";
const DAY: f64 = 86_400.0;

pub(super) struct LiveLinkFace {
    to: SocketAddr,
    subject: String,
    rate: i32,
    first: i64,
    count: i64,
}

impl LiveLinkFace {
    pub fn new(config: &SimulatorConfig, to: SocketAddr) -> Self {
        let rate = (config.fps.round() as i32).max(1);
        let since_midnight = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() % DAY;
        let first = (since_midnight * f64::from(rate)) as i64;
        Self { to, subject: config.subject.clone(), rate, first, count: 0 }
    }
}

impl Phone for LiveLinkFace {
    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        // A frame that the sender left out has its number.
        let count = frame.sequence.and_then(|number| i64::try_from(number).ok()).unwrap_or(self.count);
        self.count = count.saturating_add(1);
        let number = self.first.saturating_add(count) % (i64::from(self.rate) * DAY as i64);
        let packet = LlfPacket {
            rate: (self.rate, 1),
            ..LlfPacket::new(DEVICE_ID, &self.subject, number as i32, frame.clone())
        };
        llf::encode(&packet, &llf::PROFILE, out.datagram(self.to)).map_err(|error| error.to_string())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}
