//! Faces that go out by VMC protocol.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use facelink::{source::SourceKind, wire::vmc};
use tokio::{net::UdpSocket, sync::broadcast::error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, Published},
    phone_config::VmcOut,
};

/// Sends a face out by VMC protocol until cancelled.
pub(crate) async fn send_vmc(hub: Arc<Hub>, out: VmcOut, cancel: CancellationToken) {
    let any: IpAddr = match out.to {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind((any, 0)).await {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!("no VMC protocol to {}: {error}", out.to),
    };
    let mut published = hub.queues.subscribe();
    let mut chosen: Option<Arc<str>> = None;
    loop {
        let next = tokio::select! {
            () = cancel.cancelled() => return,
            next = published.recv() => next,
        };
        let frame = match next {
            Ok(Published::Frame(frame, from)) => {
                let wanted = out.subject.as_deref().or(chosen.as_deref());
                // What the receiver itself sends does not go back to it.
                let own = frame.source == SourceKind::Vmc && hub.connections().address_of(from.key) == Some(out.to);
                if own || wanted.is_some_and(|wanted| *wanted != *frame.name) {
                    continue;
                }
                if chosen.is_none() {
                    chosen = Some(frame.name.clone());
                }
                frame
            }
            Ok(Published::Lost(name)) => {
                if chosen.as_ref() == Some(&name) {
                    chosen = None;
                }
                continue;
            }
            // The newest counts.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let time = hub.started.elapsed().as_secs_f32();
        vmc::encode(&frame.frame, time, &vmc::PROFILE, out.names, |datagram| {
            if let Err(error) = socket.try_send_to(datagram, out.to) {
                tracing::debug!(to = %out.to, %error, "not sent");
            }
        });
    }
}
