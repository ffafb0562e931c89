use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    super::hub::Hub,
    PhonePort, VmcOut,
    serve::{Io, Protocol},
};

pub(super) struct Osc;

impl Osc {
    pub fn new(_port: PhonePort) -> Self {
        Self
    }
}

impl Protocol for Osc {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, _datagram: &[u8], now: Instant) {
        io.refuse(None, from, &"not decoded", now);
    }
}

/// Sends a face out by VMC protocol until cancelled.
pub(in crate::link) async fn send_vmc(_hub: Arc<Hub>, _out: VmcOut, cancel: CancellationToken) {
    cancel.cancelled().await;
}
