//! Face trackers of VR headsets: parameters of a VRChat avatar, to the address that was typed in.

use std::net::SocketAddr;

use crate::time::Instant;

use super::phone::{Outbox, Phone};
use crate::{FaceFrame, vrchat::VrchatWriter};

pub(super) struct Trackers {
    pub to: SocketAddr,
    pub writer: VrchatWriter,
    pub start: Instant,
}

impl Phone for Trackers {
    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String> {
        let at = now.saturating_duration_since(self.start);
        self.writer.write(frame, at, |bytes| out.datagram(self.to).extend_from_slice(bytes));
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}
