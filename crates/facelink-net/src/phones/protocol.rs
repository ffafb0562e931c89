//! What a protocol is, and what it may do with its port.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Instant};

use facelink::source::SourceKind;
use tokio::net::UdpSocket;

use super::{
    context::Phones,
    intake::{Arrived, Intake, NotTaken, Sender},
    port_stats::PortCounters,
};
use crate::{address::canonical, hub::Hub};

/// The socket of a port, and its IPv6 counterpart where it has one.
#[derive(Debug)]
pub(super) struct Sockets {
    first: UdpSocket,
    second: Option<UdpSocket>,
}

impl Sockets {
    pub fn new(first: UdpSocket, second: Option<UdpSocket>) -> Self {
        Self { first, second }
    }

    /// What the first one is bound to; the second one has the same port.
    pub fn own(&self) -> io::Result<SocketAddr> {
        self.first.local_addr()
    }

    /// The socket that can send to an address.
    fn to(&self, to: SocketAddr) -> &UdpSocket {
        self.second.as_ref().filter(|_| to.is_ipv6()).unwrap_or(&self.first)
    }

    /// The next datagram and its sender.
    pub async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        loop {
            tokio::select! {
                ready = self.first.readable() => ready?,
                ready = readable(self.second.as_ref()) => ready?,
            }
            if let Some(received) = self.try_receive(buffer) {
                return received;
            }
        }
    }

    /// A datagram that waits already, if there is one.
    pub fn try_receive(&self, buffer: &mut [u8]) -> Option<io::Result<(usize, SocketAddr)>> {
        let sockets = [Some(&self.first), self.second.as_ref()];
        sockets.into_iter().flatten().find_map(|socket| match socket.try_recv_from(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // A socket of the user's choice may hear both families, and shows IPv4 addresses as mapped ones.
            received => Some(received.map(|(len, from)| (len, canonical(from)))),
        })
    }
}

async fn readable(socket: Option<&UdpSocket>) -> io::Result<()> {
    match socket {
        Some(socket) => socket.readable().await,
        None => std::future::pending().await,
    }
}

/// What a protocol may do.
pub(super) struct Io<'a> {
    pub sockets: &'a Sockets,
    pub intake: &'a mut Intake,
    pub counters: &'a PortCounters,
}

impl Io<'_> {
    pub fn hub(&self) -> &Hub {
        &self.intake.phones.hub
    }

    pub fn phones(&self) -> &Arc<Phones> {
        &self.intake.phones
    }

    /// Sends a datagram from this port. One that cannot go at once is lost, as on any network.
    pub fn send(&self, to: SocketAddr, datagram: &[u8]) {
        match self.sockets.to(to).try_send_to(datagram, to) {
            Ok(_) => {}
            Err(error) => tracing::debug!(%to, %error, "not sent"),
        }
    }

    /// The stable address of the program that sent a datagram of this kind. `None` while it is not clear whether it is a new
    /// one: the datagram is left out, and its phone counts as heard.
    pub fn program_of(&mut self, kind: SourceKind, from: SocketAddr, now: Instant) -> Option<SocketAddr> {
        let program = self.intake.program_of(from, now);
        if program.is_none() {
            heard(self.phones(), kind, from, now);
        }
        program
    }

    /// Takes a face, and counts it.
    pub fn take(&mut self, sender: &Sender<'_>, at: SocketAddr, arrived: Arrived<'_>, now: Instant) {
        take(self.intake, self.counters, sender, at, arrived, now);
    }

    /// Counts a datagram that was good, and held a part of a face.
    pub fn taken(&self, kind: SourceKind, at: SocketAddr, now: Instant) {
        taken(self.phones(), self.counters, kind, at, now);
    }

    /// Counts a datagram that was good, and no face: an answer.
    pub fn noted(&self, kind: SourceKind, at: SocketAddr, now: Instant) {
        self.counters.record(at, Some(kind), None, now);
    }

    /// Counts a datagram that was refused.
    pub fn refuse(&mut self, kind: Option<SourceKind>, at: SocketAddr, error: &dyn fmt::Display, now: Instant) {
        refuse(self.intake, self.counters, kind, at, error, now);
    }
}

/// Takes a face that came to a port, and counts it.
pub(super) fn take(
    intake: &mut Intake,
    counters: &PortCounters,
    sender: &Sender<'_>,
    at: SocketAddr,
    arrived: Arrived<'_>,
    now: Instant,
) {
    match intake.take(sender, arrived, now) {
        Ok(()) | Err(NotTaken::Unclear) => taken(&intake.phones, counters, sender.kind, at, now),
        Err(error) => refuse(intake, counters, Some(sender.kind), at, &error, now),
    }
}

fn taken(phones: &Phones, counters: &PortCounters, kind: SourceKind, at: SocketAddr, now: Instant) {
    counters.record(at, Some(kind), None, now);
    heard(phones, kind, at, now);
}

fn heard(phones: &Phones, kind: SourceKind, at: SocketAddr, now: Instant) {
    // What sends of its own accord to a port that is open to a network is called again when it falls silent.
    let may_be_found = phones.hub.config.find_phones && waits_for_call(kind) && !at.ip().is_loopback();
    phones.roster.heard(at.ip(), kind, may_be_found, now);
}

/// Counts what came to a port and was refused.
pub(super) fn refuse(
    intake: &Intake,
    counters: &PortCounters,
    kind: Option<SourceKind>,
    at: SocketAddr,
    error: &dyn fmt::Display,
    now: Instant,
) {
    counters.record(at, kind, Some(error), now);
    intake.refuse(kind, at, error);
}

/// Whether the app sends when it is called.
fn waits_for_call(kind: SourceKind) -> bool {
    kind.app().is_some_and(|app| app.waits_for_call)
}

/// One format on one port. State is kept here by sender, and bounded.
pub(super) trait Protocol: Send {
    /// A datagram of this format came.
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant);

    /// When [`on_timeout`](Self::on_timeout) is to be called, if nothing comes before.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// The deadline is there.
    fn on_timeout(&mut self, _io: &mut Io<'_>, _now: Instant) {}

    /// About ten times a second, on a port from which this protocol calls phones: calls, leases, what has gone silent.
    fn on_tick(&mut self, _io: &mut Io<'_>, _now: Instant) {}

    /// The port closes: sends a goodbye to phones that would keep sending.
    fn on_stop(&mut self, _io: &mut Io<'_>, _now: Instant) {}
}
