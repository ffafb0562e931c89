//! Opens the ports for phones, and starts what serves them.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use facelink::{
    source::{PhonePort, SourceKind},
    vrchat::VrchatWriter,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    osc_out::{send_events, send_vmc, send_vrchat},
    port_stats::PortCounters,
    protocol::Sockets,
    serve::serve,
    text::serve_streams,
};
use crate::{
    address::{bind_tcp, bind_udp},
    config::EndpointConfig,
};

/// A port that could not be opened, and that an endpoint works without.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// What would have listened there.
    pub source: SourceKind,
    /// What the port is for.
    pub port: PhonePort,
    /// Where.
    pub address: SocketAddr,
    /// The system's reason.
    pub reason: String,
    /// One line: the port, the reason, and the setting that changes it.
    pub message: String,
}

/// Ports that are open, and those that could not be.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    /// Each with its IPv6 counterpart, where there is one.
    udp: Vec<(UdpSocket, Option<UdpSocket>, Arc<PortCounters>)>,
    tcp: Vec<(TcpListener, Option<TcpListener>, Arc<PortCounters>)>,
    pub unavailable: Vec<Unavailable>,
}

impl Listening {
    /// Opens every port that is configured.
    pub fn open(config: &EndpointConfig) -> Self {
        let mut listening = Self::default();
        for port in PhonePort::ALL {
            let Some(number) = config.phone_port(port) else { continue };
            let address = SocketAddr::new(config.bind, number);
            if let Err(error) = listening.open_port(port, address, |bound| config.second(bound)) {
                let message = format!(
                    "cannot listen for {port} on {address}: {error}; close the program that holds the port, or set \
                     `{}` to another one",
                    port.setting()
                );
                tracing::warn!("{message}");
                let reason = error.to_string();
                listening.unavailable.push(Unavailable { source: port.app(), port, address, reason, message });
            }
        }
        listening
    }

    fn open_port(
        &mut self,
        port: PhonePort,
        address: SocketAddr,
        second: impl Fn(SocketAddr) -> Option<SocketAddr>,
    ) -> io::Result<()> {
        if port.is_tcp() {
            let listener = bind_tcp(address, false)?;
            let bound = listener.local_addr()?;
            let second = second(bound).and_then(|second| bind_tcp(second, true).ok());
            self.tcp.push((listener, second, Arc::new(PortCounters::new(port, bound))));
        } else {
            let socket = bind_udp(address, false)?;
            let bound = socket.local_addr()?;
            let second = second(bound).and_then(|second| bind_udp(second, true).ok());
            self.udp.push((socket, second, Arc::new(PortCounters::new(port, bound))));
        }
        Ok(())
    }

    /// Counters of every open port.
    pub fn counters(&self) -> Vec<Arc<PortCounters>> {
        let udp = self.udp.iter().map(|(.., counters)| counters);
        udp.chain(self.tcp.iter().map(|(.., counters)| counters)).cloned().collect()
    }

    /// Serves every open port, and sends what goes out, until cancelled. Returns the tasks that say goodbye to phones.
    /// Called on a runtime.
    pub fn serve(self, phones: &Arc<Phones>, cancel: &CancellationToken) -> io::Result<Vec<JoinHandle<()>>> {
        let mut tasks = Vec::new();
        for (socket, second, counters) in self.udp {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            let second = second.map(tokio::net::UdpSocket::from_std).transpose()?;
            let sockets = Sockets::new(socket, second);
            tasks.push(tokio::spawn(serve(phones.clone(), sockets, counters, cancel.clone())));
        }
        for (listener, second, counters) in self.tcp {
            if let Some(second) = second {
                let second = tokio::net::TcpListener::from_std(second)?;
                tasks.push(tokio::spawn(serve_streams(phones.clone(), second, counters.clone(), cancel.clone())));
            }
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.push(tokio::spawn(serve_streams(phones.clone(), listener, counters, cancel.clone())));
        }
        for out in &phones.hub.config.vmc_out {
            tokio::spawn(send_vmc(phones.hub.clone(), out.clone(), cancel.clone()));
        }
        for out in &phones.hub.config.vrchat_out {
            let writer = VrchatWriter::new(&out.prefix, out.mapping.as_ref()).map_err(io::Error::other)?;
            tokio::spawn(send_vrchat(phones.hub.clone(), out.clone(), writer, cancel.clone()));
        }
        tokio::spawn(send_events(phones.hub.clone(), phones.subscribers.clone(), cancel.clone()));
        Ok(tasks)
    }
}
