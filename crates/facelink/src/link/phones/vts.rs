//! VTube Studio on a phone: sends for as long as it was asked to, so it is asked again and again.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    super::session::unix_ms,
    PhonePort,
    intake::{Arrived, Sender},
    serve::{Io, Protocol},
};
use crate::{
    link::SourceKind,
    wire::vtube_studio::{Decoder, REQUEST_PORT, Request},
};

/// Between two requests.
const EVERY: Duration = Duration::from_secs(1);
/// How long each asks for: a few lost requests do no harm, and a game that is gone gets nothing for long.
const LEASE: f32 = 5.0;
/// Senders whose names are kept.
const MOST_SENDERS: usize = 32;

pub(super) struct VTubeStudio {
    home: bool,
    asked: Option<Instant>,
    decoders: Vec<(SocketAddr, Decoder)>,
}

impl VTubeStudio {
    pub fn new(port: PhonePort) -> Self {
        Self { home: port == PhonePort::VTubeStudio, asked: None, decoders: Vec::new() }
    }
}

impl Protocol for VTubeStudio {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        let place = self.decoders.iter().position(|(address, _)| *address == from).unwrap_or_else(|| {
            if self.decoders.len() >= MOST_SENDERS {
                self.decoders.remove(0);
            }
            self.decoders.push((from, Decoder::new()));
            self.decoders.len() - 1
        });
        let Some((_, decoder)) = self.decoders.get_mut(place) else { return };
        match decoder.decode(datagram) {
            Ok(frame) => {
                let latency_ms = frame.unix_ms.map(|sent| unix_ms() - sent).filter(|ms| (0.0..5000.0).contains(ms));
                // The app's port may change between two requests.
                let sender = Sender {
                    kind: SourceKind::VTubeStudio,
                    from: SocketAddr::new(from.ip(), 0),
                    identity: "",
                    lasting: false,
                    wish: Some("VTube Studio"),
                };
                let arrived = Arrived {
                    face: Some(frame.face),
                    unix_ms: frame.unix_ms,
                    latency_ms: latency_ms.map(|ms| ms as f32),
                    bytes: datagram.len(),
                    ..Arrived::default()
                };
                io.take(&sender, from, arrived, now);
            }
            Err(error) => {
                // A sender of ever new names has filled its table; what it sends next starts anew.
                self.decoders.swap_remove(place);
                io.refuse(Some(SourceKind::VTubeStudio), from, &error, now);
            }
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        if !self.home || self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < EVERY) {
            return;
        }
        self.asked = Some(now);
        let calls = io.hub().roster.calls(SourceKind::VTubeStudio, now);
        if calls.is_empty() {
            return;
        }
        let Ok(own) = io.socket.local_addr() else { return };
        let request = Request::new(own.port(), LEASE).encode();
        for (call, heard) in calls {
            // A phone that runs another app is not asked any more.
            if heard.is_none_or(|app| app == SourceKind::VTubeStudio) {
                io.send(call.to(REQUEST_PORT), &request);
            }
        }
    }
}
