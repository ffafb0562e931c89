use std::{net::SocketAddr, sync::Arc, time::Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    super::hub::Hub,
    PhonePort, PortFigures,
    serve::{Io, Protocol},
};

pub(super) struct Text;

impl Text {
    pub fn new(_port: PhonePort) -> Self {
        Self
    }
}

impl Protocol for Text {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, _datagram: &[u8], now: Instant) {
        io.refuse(None, from, &"not decoded", now);
    }
}

/// Phones that connect to us: iFacialMocap over TCP.
pub(in crate::link) async fn serve_streams(
    _hub: Arc<Hub>,
    _listener: TcpListener,
    _figures: Arc<PortFigures>,
    cancel: CancellationToken,
) {
    cancel.cancelled().await;
}
