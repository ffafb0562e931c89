//! One task per UDP port: recognises formats, dispatches them, and renews calls and leases.

use std::{
    net::{SocketAddr, UdpSocket as StdUdpSocket},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    fmv3,
    intake::{FloodGate, Intake},
    json, llf, osc,
    port_stats::PortCounters,
    protocol::{Io, Protocol},
    text, vts,
};
use crate::hub::Counters;
use facelink::{
    source::PhonePort,
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
const TICK: Duration = Duration::from_millis(100);

/// Opens a socket with a receive buffer that survives a stalled moment.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<StdUdpSocket> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::DGRAM,
        Some(socket2::Protocol::UDP),
    )?;
    // As much as the system allows; a small buffer still works.
    let _ = socket.set_recv_buffer_size(1 << 20);
    // For calls to phones whose address is not known.
    let _ = socket.set_broadcast(true);
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// The protocol of a format, on one port.
fn protocol(format: Format, port: PhonePort) -> Box<dyn Protocol> {
    match format {
        Format::LiveLinkFace => Box::new(llf::LiveLinkFace),
        Format::Fmv3 => Box::new(fmv3::Fmv3::new(port)),
        Format::Mocap => Box::new(text::Text::new(port)),
        Format::Osc => Box::new(osc::Osc::new(port)),
        Format::VTubeStudio => Box::new(vts::VTubeStudio::new()),
        Format::Json => Box::new(json::Json::default()),
    }
}

/// Every protocol of one port.
struct Protocols(Vec<(Format, Box<dyn Protocol>)>);

impl Protocols {
    fn new(port: PhonePort) -> Self {
        Self(Format::ALL.map(|format| (format, protocol(format, port))).into())
    }

    fn of(&mut self, format: Format) -> Option<&mut dyn Protocol> {
        self.0.iter_mut().find(|(other, _)| *other == format).map(|(_, protocol)| &mut **protocol as &mut dyn Protocol)
    }

    /// Those that call phones from a port.
    fn calling_from(&mut self, port: PhonePort) -> impl Iterator<Item = &mut dyn Protocol> {
        let calls =
            move |format| format == port.format() || (format == Format::Fmv3 && port == PhonePort::IFacialMocap);
        let calling = self.0.iter_mut().filter(move |(format, _)| calls(*format));
        calling.map(|(_, protocol)| &mut **protocol as &mut dyn Protocol)
    }
}

/// Serves one port until cancelled.
pub(crate) async fn serve(
    phones: Arc<Phones>,
    socket: UdpSocket,
    counters: Arc<PortCounters>,
    cancel: CancellationToken,
) {
    let port = counters.port;
    let mut protocols = Protocols::new(port);
    let mut gate = FloodGate::new(phones.hub.config.max_datagrams_per_second, Instant::now());
    let mut intake = Intake::new(phones);
    let mut buffer = vec![0; DATAGRAM];
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut received = tokio::select! {
            () = cancel.cancelled() => break,
            _ = ticks.tick() => None,
            received = socket.recv_from(&mut buffer) => Some(received),
        };
        let now = Instant::now();
        let mut io = Io { socket: &socket, intake: &mut intake, counters: &counters };
        if received.is_none() {
            for protocol in protocols.calling_from(port) {
                protocol.on_tick(&mut io, now);
            }
        }
        // What waits already is taken in one go, so that a flood costs few wake-ups; then the others have their turn.
        for _ in 0..MAX_BATCH {
            match received.take() {
                None => break,
                Some(Ok((len, from))) => {
                    counters.datagrams.fetch_add(1, Ordering::Relaxed);
                    if !gate.admits(from.ip(), now) {
                        counters.flooded.fetch_add(1, Ordering::Relaxed);
                        Counters::add(&io.hub().refused, 1);
                    } else if let Some(datagram) = buffer.get(..len) {
                        let format = sniff(datagram);
                        let taken_for = format.unwrap_or(port.format());
                        let refused = counters.refused.load(Ordering::Relaxed);
                        if let Some(protocol) = protocols.of(taken_for) {
                            protocol.on_datagram(&mut io, from, datagram, now);
                        }
                        // This task alone writes it.
                        if counters.refused.load(Ordering::Relaxed) != refused {
                            if format.is_none() {
                                counters.record_unknown(from, datagram);
                            }
                            gate.charge(from.ip(), COST_OF_REFUSAL);
                        }
                    }
                }
                // On some systems the answer of an unreachable peer surfaces here. The socket is still good.
                Some(Err(error)) => {
                    Counters::add(&io.hub().refused, 1);
                    tracing::debug!(%error, "receive");
                    break;
                }
            }
            received = match socket.try_recv_from(&mut buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
                other => Some(other),
            };
        }
        tokio::task::coop::consume_budget().await;
    }
    let mut io = Io { socket: &socket, intake: &mut intake, counters: &counters };
    for protocol in protocols.calling_from(port) {
        protocol.on_stop(&mut io, Instant::now());
    }
}
