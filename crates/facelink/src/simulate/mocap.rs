//! iFacialMocap (v1 and v2) and Facemotion3d: sends when it is called, or to the address that was typed in.

use std::{net::SocketAddr, time::Duration};

use super::phone::{Outbox, Phone, SimulatorConfig, Start, StreamEvent, StreamId};
use crate::{
    FaceFrame,
    source::{PhoneTransport, SourceKind},
    time::Instant,
    wire::mocap_text::{
        self, Dialect, FACEMOTION3D_PORT, FRAME_END, IFACIALMOCAP_PORT, START_FACEMOTION3D, START_TCP, START_V1,
        START_V2, STOP_FACEMOTION3D, STOP_TCP, TCP_PORT, Writer,
    },
};

/// Between two attempts to connect to an address that was typed in.
const CONNECT_EVERY: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Nowhere,
    Udp(SocketAddr),
    Tcp { id: StreamId, is_open: bool },
}

pub(super) struct Mocap {
    app: SourceKind,
    to: Option<(SocketAddr, PhoneTransport)>,
    data_port: Option<u16>,
    writer: Writer,
    seed: u64,
    target: Target,
    connected: Option<Instant>,
    /// The face that it sends while it tracks none: the last one.
    last: FaceFrame,
}

impl Mocap {
    pub fn new(config: &SimulatorConfig, start: Start) -> Self {
        let seed = start.seed;
        let dialect = if config.app == SourceKind::Facemotion3d { Dialect::Facemotion3d } else { Dialect::V2 };
        Self {
            app: config.app,
            to: config.to.map(|to| (to, config.transport)),
            data_port: config.data_port,
            writer: Writer::new(dialect).shuffled(seed),
            seed,
            target: Target::Nowhere,
            connected: None,
            last: FaceFrame::neutral(),
        }
    }

    fn connect(&mut self, to: SocketAddr, now: Instant, out: &mut Outbox) {
        self.leave(out);
        self.connected = Some(now);
        self.target = Target::Tcp { id: out.connect(to), is_open: false };
    }

    fn leave(&mut self, out: &mut Outbox) {
        if let Target::Tcp { id, .. } = self.target {
            out.hang_up(id);
        }
        self.target = Target::Nowhere;
    }

    /// Where the app sends by default.
    fn start(&mut self, now: Instant, out: &mut Outbox) {
        match self.to {
            Some((to, PhoneTransport::Udp)) => self.target = Target::Udp(to),
            Some((to, PhoneTransport::Tcp)) => self.connect(to, now, out),
            None => {}
        }
    }
}

impl Phone for Mocap {
    fn port(&self) -> Option<u16> {
        Some(if self.app == SourceKind::Facemotion3d { FACEMOTION3D_PORT } else { IFACIALMOCAP_PORT })
    }

    fn on_start(&mut self, now: Instant, out: &mut Outbox) {
        self.start(now, out);
    }

    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, out: &mut Outbox) {
        // The address that was typed in stays valid.
        let (Ok(text), None) = (std::str::from_utf8(datagram), self.to) else { return };
        // Not to where the call came from, but to a port of the app's choice there.
        let at = |usual| SocketAddr::new(from.ip(), self.data_port.unwrap_or(usual));
        let dialect = match (self.app, text) {
            (SourceKind::Facemotion3d, START_FACEMOTION3D) => Dialect::Facemotion3d,
            (SourceKind::IFacialMocap, START_V1) => Dialect::V1,
            (SourceKind::IFacialMocap, START_V2) => Dialect::V2,
            (SourceKind::IFacialMocap, START_TCP) => {
                // A call that is repeated while it connects changes nothing.
                if !matches!(self.target, Target::Tcp { .. }) {
                    let to = at(TCP_PORT);
                    self.connect(to, now, out);
                }
                return;
            }
            (SourceKind::Facemotion3d, STOP_FACEMOTION3D) | (SourceKind::IFacialMocap, STOP_TCP) => {
                return self.leave(out);
            }
            _ => return,
        };
        let to = at(IFACIALMOCAP_PORT);
        self.leave(out);
        self.target = Target::Udp(to);
        self.writer = Writer::new(dialect).shuffled(self.seed);
    }

    fn on_stream(&mut self, stream: StreamId, event: &StreamEvent<'_>, _now: Instant, _out: &mut Outbox) {
        let Target::Tcp { id, is_open } = &mut self.target else { return };
        if *id == stream {
            match event {
                StreamEvent::Opened => *is_open = true,
                StreamEvent::Bytes(_) => {}
                StreamEvent::Closed => self.target = Target::Nowhere,
            }
        }
    }

    fn on_tick(&mut self, now: Instant, out: &mut Outbox) {
        let due = self.connected.is_none_or(|at| now.saturating_duration_since(at) >= CONNECT_EVERY);
        if self.target == Target::Nowhere && due {
            self.start(now, out);
        }
    }

    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        if frame.tracked {
            self.last.clone_from(frame);
        } else {
            // The numbers of the last face are repeated.
            self.last.tracked = false;
        }
        let (to, end) = match self.target {
            Target::Udp(to) => (out.datagram(to), ""),
            Target::Tcp { id, is_open: true } => (out.stream(id), FRAME_END),
            Target::Tcp { .. } | Target::Nowhere => return Ok(()),
        };
        let from = to.len();
        match self.writer.write(&self.last, &mocap_text::PROFILE, to) {
            Ok(()) => {
                to.extend_from_slice(end.as_bytes());
                Ok(())
            }
            Err(error) => {
                to.truncate(from);
                Err(error.to_string())
            }
        }
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        matches!(self.target, Target::Udp(_) | Target::Tcp { is_open: true, .. })
    }

    fn on_stop(&mut self, _now: Instant, out: &mut Outbox) {
        self.leave(out);
    }
}
