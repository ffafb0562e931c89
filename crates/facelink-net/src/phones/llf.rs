//! Live Link Face: the phone sends of its own accord.

use std::{net::SocketAddr, time::Instant};

use super::{
    intake::{Arrived, Sender},
    protocol::{Io, Protocol},
};
use facelink::{source::SourceKind, wire::llf};

pub(super) struct LiveLinkFace;

impl Protocol for LiveLinkFace {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        match llf::decode_source(datagram) {
            Ok(packet) => {
                let identity = Identity::new(packet.device_id, packet.subject);
                // The phone's port may change between two packets of one stream; its device id does not.
                let sender = Sender {
                    kind: SourceKind::LiveLinkFace,
                    from: SocketAddr::new(from.ip(), 0),
                    identity: identity.as_str(),
                    lasting: true,
                    preferred_name: (!packet.subject.is_empty()).then_some(packet.subject),
                };
                let arrived = Arrived { face: Some(packet.frame), bytes: datagram.len(), ..Arrived::default() };
                io.take(&sender, from, arrived, now);
            }
            Err(error) => io.refuse(Some(SourceKind::LiveLinkFace), from, &error, now),
        }
    }
}

/// Device id and subject as one key, without allocating for the usual lengths.
struct Identity(smallvec::SmallVec<[u8; 128]>);

impl Identity {
    fn new(device: &str, subject: &str) -> Self {
        let mut bytes = smallvec::SmallVec::new();
        bytes.extend_from_slice(device.as_bytes());
        bytes.push(0);
        bytes.extend_from_slice(subject.as_bytes());
        Self(bytes)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
