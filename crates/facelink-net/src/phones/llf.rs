//! Live Link Face: the phone sends of its own accord.

use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use super::{
    intake::{Arrived, Sender},
    protocol::{Io, Protocol},
};
use facelink::{
    source::SourceKind,
    wire::{
        llf::{self, Author, AuthorDetector, LlfPacket},
        profile::SourceFace,
    },
};

/// Senders whose packets are compared; more than any user has phones.
const MAX_SENDERS: usize = 64;

#[derive(Default)]
pub(super) struct LiveLinkFace {
    /// The one that was silent longest first.
    senders: Vec<(IpAddr, Identity, AuthorDetector)>,
}

impl LiveLinkFace {
    /// Whether a packet is the app's or another program's.
    fn author(&mut self, from: IpAddr, identity: &Identity, packet: &LlfPacket<'_, SourceFace>) -> Author {
        let known = self.senders.iter().rposition(|(address, other, _)| *address == from && other == identity);
        let mut sender = match known {
            Some(place) => self.senders.remove(place),
            None => {
                if self.senders.len() >= MAX_SENDERS {
                    self.senders.remove(0);
                }
                (from, identity.clone(), AuthorDetector::default())
            }
        };
        let author = sender.2.observe(packet);
        self.senders.push(sender);
        author
    }
}

impl Protocol for LiveLinkFace {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        match llf::decode_source(datagram) {
            Ok(packet) => {
                let identity = Identity::new(packet.device_id, packet.subject);
                let author = self.author(from.ip(), &identity, &packet);
                // The phone's port may change between two packets of one stream; its device id does not.
                let sender = Sender {
                    kind: SourceKind::LiveLinkFace,
                    from: SocketAddr::new(from.ip(), 0),
                    identity: identity.as_str(),
                    lasting: true,
                    preferred_name: (!packet.subject.is_empty()).then_some(packet.subject),
                    author,
                };
                let arrived = Arrived { face: Some(packet.frame), bytes: datagram.len(), ..Arrived::default() };
                io.take(&sender, from, arrived, now);
            }
            Err(error) => io.refuse(Some(SourceKind::LiveLinkFace), from, &error, now),
        }
    }
}

/// Device id and subject as one key, without allocating for the usual lengths.
#[derive(Clone, PartialEq)]
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
