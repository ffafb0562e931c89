//! Outbound frames: to the endpoint by the lanes of the connection, to room peers directly.

use std::sync::{Arc, atomic::Ordering};

use facelink::time::Instant;

use facelink::connection::{Connection, Lane};

use super::{
    encode::{FrameWriter, face_key},
    room::Room,
    shared::{Shared, Waiting},
    transports::Transports,
};
use crate::{outbox::Outgoing, seal::Sealing};

/// Sends what waits in [`Shared`].
pub(super) struct FrameSender {
    pub writer: FrameWriter,
    /// Name of the connection's own face, for peers that do not know it.
    subject: String,
}

impl FrameSender {
    pub fn new(subject: String, sealing: Arc<Sealing>, simulcast: bool) -> Self {
        Self { writer: FrameWriter::new(sealing, simulcast), subject }
    }

    /// Name of the connection's own face; empty where the endpoint chooses it.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Sends everything that waits, once.
    pub async fn flush(
        &mut self,
        shared: &Shared,
        connection: &mut Connection,
        transports: &mut Transports,
        room: &Room,
        now: Instant,
    ) {
        // They come one at a time and must not be lost.
        let lane = connection.control_lane().unwrap_or(Lane::DataChannel);
        for (name, text) in shared.take_messages() {
            if !self.writer.seals() {
                transports.send(lane, text).await;
            } else if let Some(data) = self.writer.seal_message(name.as_deref().unwrap_or(&self.subject), &text) {
                // Each is a packet of its own that no other replaces.
                let key = face_key(&text);
                transports.frame(connection.route(false, now), key, data, None, now).await;
            }
        }
        let faces = shared.take_faces();
        self.writer.set_redundancy(room.asked_redundancy().max(connection.redundancy()));
        for faces in faces.chunks(self.writer.max_bundled()) {
            let mut sent = self.send_to_room(faces, room);
            // What does not reach its receivers directly reaches them by the endpoint.
            if !room.is_complete() {
                for (name, data) in self.encode(faces) {
                    let route = connection.route(self.writer.is_numbered(), now);
                    let rtt_ms = connection.rtt_ms(Lane::DataChannel);
                    let (left, both) = transports.frame(route, face_key(name), data, rtt_ms, now).await;
                    shared.hedged.fetch_add(u64::from(both), Ordering::Relaxed);
                    sent |= left;
                }
            }
            if sent { &shared.sent } else { &shared.dropped }.fetch_add(faces.len() as u64, Ordering::Relaxed);
        }
    }

    fn send_to_room(&mut self, faces: &[Waiting], room: &Room) -> bool {
        let mut sent = false;
        if room.has_peers() {
            for (name, frame) in faces {
                let name = name.as_deref().unwrap_or(&self.subject);
                if let Some(bytes) = self.writer.encode_for_peers(name, frame) {
                    sent |= room.send(name, &bytes);
                }
            }
        }
        if let Some(session) = room.endpoint() {
            for (name, frame) in faces {
                // In the endpoint's own format: it may be of another make.
                if let Some(data) = self.writer.encode(name.as_deref(), &self.subject, frame) {
                    session.send_frame(face_key(name.as_deref().unwrap_or_default()), data);
                    sent = true;
                }
            }
        }
        sent
    }

    /// Packets for the endpoint: one for all where it takes that, else one each.
    fn encode<'a>(&mut self, faces: &'a [Waiting]) -> smallvec::SmallVec<[(&'a str, Outgoing); 1]> {
        let name = |face: &'a Waiting| face.0.as_deref().unwrap_or_default();
        if let (Some(first), Some(data)) = (faces.first(), self.writer.bundle(faces)) {
            return smallvec::smallvec![(name(first), data)];
        }
        let Self { writer, subject } = self;
        let packets = faces.iter().map(|face| Some((name(face), writer.encode(face.0.as_deref(), subject, &face.1)?)));
        packets.flatten().collect()
    }
}
