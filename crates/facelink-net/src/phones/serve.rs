//! One task per UDP port: recognises formats, dispatches them, and renews calls and leases.

use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    fmv3,
    intake::{FloodGate, Intake},
    json, llf, osc,
    port_stats::PortCounters,
    protocol::{Io, Protocol, Sockets},
    text, vts,
};
use crate::{
    clock::{sleep_until, ticks},
    hub::Counters,
    tap::Tapped,
};
use facelink::{
    source::PhonePort,
    take::RecordedPacket,
    wire::sniff::{Format, sniff},
};

/// Largest datagram there is.
const DATAGRAM: usize = 64 * 1024;
/// Datagrams that are taken from a socket before others have their turn.
const MAX_BATCH: usize = 64;
/// A datagram that is refused counts as this many more of its sender's: a well-behaved sender rarely
/// sends invalid data.
const COST_OF_REFUSAL: f32 = 9.0;
/// Between two looks at calls and leases.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The protocol of a format, on one port.
fn protocol(format: Format, port: PhonePort) -> Box<dyn Protocol> {
    match format {
        Format::LiveLinkFace => Box::new(llf::LiveLinkFace::default()),
        Format::Fmv3 => Box::new(fmv3::Fmv3::new(port)),
        Format::Mocap => Box::new(text::Text::new(port)),
        Format::Osc => Box::new(osc::Osc::new(port)),
        Format::VTubeStudio => Box::new(vts::VTubeStudio::new()),
        Format::Json => Box::new(json::Json::default()),
    }
}

/// Everything that one port does with datagrams, apart from its socket.
pub(super) struct Service {
    port: PhonePort,
    protocols: Vec<(Format, Box<dyn Protocol>)>,
    gate: FloodGate,
}

impl Service {
    pub fn new(port: PhonePort, max_datagrams_per_second: f32, now: Instant) -> Self {
        let protocols = Format::ALL.map(|format| (format, protocol(format, port))).into();
        Self { port, protocols, gate: FloodGate::new(max_datagrams_per_second, now) }
    }

    /// The earliest deadline of all protocols.
    pub fn deadline(&self) -> Option<Instant> {
        self.protocols.iter().filter_map(|(_, protocol)| protocol.deadline()).min()
    }

    /// Called when the deadline is there, or before.
    pub fn on_timeout(&mut self, io: &mut Io<'_>, now: Instant) {
        for (_, protocol) in &mut self.protocols {
            if protocol.deadline().is_some_and(|deadline| deadline <= now) {
                protocol.on_timeout(io, now);
            }
        }
    }

    /// Those that call phones from this port.
    fn calling(&mut self) -> impl Iterator<Item = &mut dyn Protocol> {
        let port = self.port;
        let calls =
            move |format| format == port.format() || (format == Format::Fmv3 && port == PhonePort::IFacialMocap);
        let calling = self.protocols.iter_mut().filter(move |(format, _)| calls(*format));
        calling.map(|(_, protocol)| &mut **protocol as &mut dyn Protocol)
    }

    pub fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        let counters = io.counters;
        counters.datagrams.fetch_add(1, Ordering::Relaxed);
        if !self.gate.admits(from.ip(), now) {
            counters.flooded.fetch_add(1, Ordering::Relaxed);
            Counters::add(&io.hub().refused, 1);
            return;
        }
        io.hub().queues.tap(|tap| {
            if tap.wants_packets() {
                let packet = RecordedPacket { data: datagram.to_vec(), port: self.port, peer: from, tcp: false };
                tap.push(|| Tapped::Packet(packet, now));
            }
        });
        let format = sniff(datagram);
        let taken_for = format.unwrap_or(self.port.format());
        let refused = counters.refused.load(Ordering::Relaxed);
        if let Some((_, protocol)) = self.protocols.iter_mut().find(|(format, _)| *format == taken_for) {
            protocol.on_datagram(io, from, datagram, now);
        }
        // The task of this port alone writes it.
        if counters.refused.load(Ordering::Relaxed) != refused {
            if format.is_none() {
                counters.record_unknown(from, datagram);
            }
            self.gate.charge(from.ip(), COST_OF_REFUSAL);
        }
    }

    /// Called every [`TICK`].
    pub fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        for protocol in self.calling() {
            protocol.on_tick(io, now);
        }
    }

    /// The port closes.
    pub fn on_stop(&mut self, io: &mut Io<'_>, now: Instant) {
        for protocol in self.calling() {
            protocol.on_stop(io, now);
        }
    }
}

/// Serves one port until cancelled.
pub(crate) async fn serve(
    phones: Arc<Phones>,
    sockets: Sockets,
    counters: Arc<PortCounters>,
    cancel: CancellationToken,
) {
    let mut service = Service::new(counters.port, phones.hub.config.max_datagrams_per_second, Instant::now());
    // What is asked of all phones at once leaves at once.
    let commands = (counters.port == PhonePort::LiveLinkFaceOsc).then(|| phones.clone());
    let commanded = async || match &commands {
        Some(phones) => phones.roster.commanded().await,
        None => std::future::pending().await,
    };
    let mut intake = Intake::new(phones);
    let mut buffer = vec![0; DATAGRAM];
    let mut cancelled = pin!(cancel.cancelled());
    let mut ticks = ticks(TICK);
    // Phones are called at once.
    service.on_tick(&mut Io { sockets: &sockets, intake: &mut intake, counters: &counters }, Instant::now());
    loop {
        let deadline = service.deadline();
        let (mut received, is_tick) = tokio::select! {
            biased;
            () = &mut cancelled => break,
            _ = ticks.tick() => (None, true),
            () = commanded() => (None, true),
            received = sockets.receive(&mut buffer) => (Some(received), false),
            () = sleep_until(deadline) => (None, false),
        };
        let now = Instant::now();
        let mut io = Io { sockets: &sockets, intake: &mut intake, counters: &counters };
        if is_tick {
            service.on_tick(&mut io, now);
        }
        service.on_timeout(&mut io, now);
        // What waits already is taken in one go, so that a flood costs few wake-ups; then the others have their turn.
        let mut taken = 0;
        while let Some(next) = received.take() {
            match next {
                Ok((len, from)) => {
                    if let Some(datagram) = buffer.get(..len) {
                        service.on_datagram(&mut io, from, datagram, now);
                    }
                }
                // On some systems the answer of an unreachable peer surfaces here. The socket is still good.
                Err(error) => {
                    Counters::add(&io.hub().refused, 1);
                    tracing::debug!(%error, "receive");
                    break;
                }
            }
            taken += 1;
            if taken == MAX_BATCH {
                tokio::task::yield_now().await;
                break;
            }
            received = sockets.try_receive(&mut buffer);
        }
    }
    let mut io = Io { sockets: &sockets, intake: &mut intake, counters: &counters };
    service.on_stop(&mut io, Instant::now());
}
