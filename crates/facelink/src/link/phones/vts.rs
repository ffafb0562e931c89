use std::{net::SocketAddr, time::Instant};

use super::{
    PhonePort,
    serve::{Io, Protocol},
};

pub(super) struct VTubeStudio;

impl VTubeStudio {
    pub fn new(_port: PhonePort) -> Self {
        Self
    }
}

impl Protocol for VTubeStudio {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, _datagram: &[u8], now: Instant) {
        io.refuse(None, from, &"not decoded", now);
    }
}
