//! Face Cap: bundles to the address that was typed in, and silence while the face is lost.

use std::net::SocketAddr;

use super::phone::{Outbox, Phone};
use crate::{
    FaceFrame,
    time::Instant,
    wire::{
        face_cap::{PROFILE, messages},
        osc::write_bundles,
    },
};

/// The app's own bundles are not larger.
const MOST: usize = 1400;

pub(super) struct FaceCap {
    pub to: SocketAddr,
}

impl Phone for FaceCap {
    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        write_bundles(messages(frame, &PROFILE), MOST, |bytes| out.datagram(self.to).extend_from_slice(bytes));
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}
