//! Opens the ports for phones, and starts what serves them.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use facelink::source::{PhonePort, SourceKind};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    context::Phones,
    port_stats::PortCounters,
    serve::{bind, serve},
    text::serve_streams,
    vmc_out::send_vmc,
};
use crate::{address::other_loopback, config::EndpointConfig};

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
    udp: Vec<(UdpSocket, Arc<PortCounters>)>,
    tcp: Vec<(TcpListener, Arc<PortCounters>)>,
    /// The same ports at the other loopback address, as far as they are to be had there.
    other_udp: Vec<(UdpSocket, Arc<PortCounters>)>,
    other_tcp: Vec<(TcpListener, Arc<PortCounters>)>,
    pub unavailable: Vec<Unavailable>,
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Listening {
    /// Opens every port that is configured.
    pub fn open(config: &EndpointConfig) -> Self {
        let mut listening = Self::default();
        for port in PhonePort::ALL {
            let Some(number) = config.phone_port(port) else { continue };
            let address = SocketAddr::new(config.bind, number);
            if let Err(error) = listening.open_port(port, address) {
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

    fn open_port(&mut self, port: PhonePort, address: SocketAddr) -> io::Result<()> {
        if port.is_tcp() {
            let listener = bind_tcp(address)?;
            let counters = Arc::new(PortCounters::new(port, listener.local_addr()?));
            let other = other_loopback(counters.address).and_then(|address| bind_tcp(address).ok());
            self.other_tcp.extend(other.map(|listener| (listener, counters.clone())));
            self.tcp.push((listener, counters));
        } else {
            let socket = bind(address)?;
            let counters = Arc::new(PortCounters::new(port, socket.local_addr()?));
            let other = other_loopback(counters.address).and_then(|address| bind(address).ok());
            self.other_udp.extend(other.map(|socket| (socket, counters.clone())));
            self.udp.push((socket, counters));
        }
        Ok(())
    }

    /// Counters of every open port.
    pub fn counters(&self) -> Vec<Arc<PortCounters>> {
        let udp = self.udp.iter().map(|(_, counters)| counters);
        udp.chain(self.tcp.iter().map(|(_, counters)| counters)).cloned().collect()
    }

    /// Serves every open port, and sends what goes out, until cancelled. Returns the tasks that say goodbye to phones.
    /// Called on a runtime.
    pub fn serve(self, phones: &Arc<Phones>, cancel: &CancellationToken) -> io::Result<Vec<JoinHandle<()>>> {
        let mut tasks = Vec::new();
        for (socket, counters) in self.udp.into_iter().chain(self.other_udp) {
            let socket = tokio::net::UdpSocket::from_std(socket)?;
            tasks.push(tokio::spawn(serve(phones.clone(), socket, counters, cancel.clone())));
        }
        for (listener, counters) in self.tcp.into_iter().chain(self.other_tcp) {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tasks.push(tokio::spawn(serve_streams(phones.clone(), listener, counters, cancel.clone())));
        }
        for out in &phones.hub.config.vmc_out {
            tokio::spawn(send_vmc(phones.hub.clone(), out.clone(), cancel.clone()));
        }
        Ok(tasks)
    }
}
