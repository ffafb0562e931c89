use std::{net::SocketAddr, time::Instant};

use super::{
    PhonePort,
    serve::{Io, Protocol},
};

pub(super) struct Fmv3;

impl Fmv3 {
    pub fn new(_port: PhonePort) -> Self {
        Self
    }
}

impl Protocol for Fmv3 {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, _datagram: &[u8], now: Instant) {
        io.refuse(None, from, &"not decoded", now);
    }
}
