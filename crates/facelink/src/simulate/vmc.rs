//! A performer of VMC protocol: bundles to the address that it was given.

use std::net::SocketAddr;

use super::phone::{Outbox, Phone, Start};
use crate::{
    FaceFrame,
    time::Instant,
    wire::vmc::{BlendshapeNames, PROFILE, encode},
};

pub(super) struct Vmc {
    to: SocketAddr,
    start: Instant,
}

impl Vmc {
    pub fn new(to: SocketAddr, start: Start) -> Self {
        Self { to, start: start.now }
    }
}

impl Phone for Vmc {
    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String> {
        let time = now.saturating_duration_since(self.start).as_secs_f32();
        encode(frame, time, &PROFILE, BlendshapeNames::PerfectSync, |bytes| {
            out.datagram(self.to).extend_from_slice(bytes)
        });
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}
