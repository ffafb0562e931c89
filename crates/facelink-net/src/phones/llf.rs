//! Live Link Face: the phone sends of its own accord.

use std::{
    collections::HashMap,
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

/// Senders whose packets are compared, at least; more than any user has phones.
const MIN_SENDERS: usize = 64;

#[derive(Default)]
pub(super) struct LiveLinkFace {
    senders: HashMap<(IpAddr, Identity), (AuthorDetector, Instant)>,
}

impl LiveLinkFace {
    /// Whether a packet is the app's or another program's. Beyond `most` senders, the one that was silent longest is
    /// forgotten.
    fn author(
        &mut self,
        key: (IpAddr, Identity),
        packet: &LlfPacket<'_, SourceFace>,
        most: usize,
        now: Instant,
    ) -> Author {
        if self.senders.len() >= most.max(MIN_SENDERS)
            && !self.senders.contains_key(&key)
            && let Some(oldest) = self.senders.iter().min_by_key(|(_, (_, heard))| *heard).map(|(key, _)| key.clone())
        {
            self.senders.remove(&oldest);
        }
        let (detector, heard) = self.senders.entry(key).or_insert_with(|| (AuthorDetector::default(), now));
        *heard = now;
        detector.observe(packet)
    }
}

impl Protocol for LiveLinkFace {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        match llf::decode_source(datagram) {
            Ok(packet) => {
                let identity = Identity::new(packet.device_id, packet.subject);
                let most = io.hub().config.max_open_sources;
                let author = self.author((from.ip(), identity.clone()), &packet, most, now);
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
#[derive(Clone, PartialEq, Eq, Hash)]
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
