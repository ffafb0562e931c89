//! A datagram as it was received: the message `facelink.Packet`.

use std::net::SocketAddr;

use super::{
    face::FaceError,
    proto::{self, Fields},
};
use crate::source::PhonePort;

/// A datagram, or what was read from a stream at once, as it arrived at a port for phones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedPacket {
    /// Its bytes.
    pub data: Vec<u8>,
    /// The port that it arrived at.
    pub port: PhonePort,
    /// Where it came from.
    pub peer: SocketAddr,
    /// It is part of a stream.
    pub tcp: bool,
}

pub(super) fn encode(out: &mut Vec<u8>, packet: &RecordedPacket) {
    proto::bytes(out, 1, &packet.data);
    proto::text(out, 2, packet.port.setting());
    proto::text(out, 3, &packet.peer.to_string());
    proto::uint(out, 4, u64::from(packet.tcp));
}

pub(super) fn decode(data: &[u8]) -> Result<RecordedPacket, FaceError> {
    let (mut bytes, mut port, mut peer, mut tcp) = (Vec::new(), None, None, false);
    for field in Fields(data) {
        match field? {
            (1, value) => bytes = value.bytes().ok_or(FaceError::Field("data"))?.to_vec(),
            (2, value) => port = value.text().and_then(|name| PhonePort::ALL.into_iter().find(|p| p.setting() == name)),
            (3, value) => peer = value.text().and_then(|text| text.parse().ok()),
            (4, value) => tcp = value.flag().ok_or(FaceError::Field("tcp"))?,
            _ => {}
        }
    }
    let port = port.ok_or(FaceError::Field("port"))?;
    let peer = peer.ok_or(FaceError::Field("peer"))?;
    Ok(RecordedPacket { data: bytes, port, peer, tcp })
}
