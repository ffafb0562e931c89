//! The old system's JSON datagrams.

use std::{net::SocketAddr, time::Instant};

use super::{
    intake::{Arrived, Sender},
    protocol::{Io, Protocol},
};
use crate::{clock::unix_ms, hub::Counters};
use facelink::{
    source::SourceKind,
    wire::{json::Decoder, message::ClientMessage, profile::SourceFace, sniff::trim_text},
};

#[derive(Default)]
pub(super) struct Json {
    decoder: Decoder,
}

impl Protocol for Json {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        let ignored = self.decoder.ignored();
        let Ok(text) = std::str::from_utf8(trim_text(datagram)) else {
            return io.refuse(Some(SourceKind::UdpJson), from, &"not UTF-8", now);
        };
        match self.decoder.client(text) {
            Ok(Some(message)) => {
                let program = io.intake.program_of(from, now);
                on_message(io, &mut self.decoder, (from, program), message, datagram.len(), now);
                Counters::add(&io.hub().ignored, self.decoder.ignored() - ignored);
            }
            Ok(None) => {
                Counters::add(&io.hub().ignored, 1);
                // Something arrives, and the diagnosis says what.
                let error = "JSON, but no face: a `type` that is not known";
                io.counters.record(from, Some(SourceKind::UdpJson), Some(&error), now);
            }
            Err(error) => io.refuse(Some(SourceKind::UdpJson), from, &error, now),
        }
        // Any host may send here under new names: the table must stay bounded.
        if self.decoder.is_full() {
            self.decoder = Decoder::default();
        }
    }
}

fn on_message(
    io: &mut Io<'_>,
    decoder: &mut Decoder,
    (from, program): (SocketAddr, Option<SocketAddr>),
    message: ClientMessage<'_>,
    bytes: usize,
    now: Instant,
) {
    match message {
        ClientMessage::Face(face) => {
            let latency_ms = face.unix_ms.map(|sent| unix_ms() - sent).filter(|ms| (0.0..5000.0).contains(ms));
            let named = face.subject.as_deref();
            // What says whose face it is, is taken in any case.
            let program = program.or_else(|| named.and_then(|_| io.intake.newest_program_of(from.ip())));
            let Some(from) = program else { return };
            let sender = Sender::of_port(SourceKind::UdpJson, from, named);
            let source = SourceFace::from(face.frame);
            let arrived = Arrived {
                face: face.has_face.then_some(source),
                named,
                unix_ms: face.unix_ms,
                latency_ms: latency_ms.map(|ms| ms as f32),
                viseme: face.viseme,
                bytes,
            };
            io.take(&sender, from, arrived, now);
        }
        ClientMessage::BatchUpdate(batch) => {
            for update in &batch.updates {
                match decoder.face(update.get()) {
                    Ok(Some(face)) => on_message(io, decoder, (from, program), ClientMessage::Face(face), 0, now),
                    Ok(None) => io.refuse(Some(SourceKind::UdpJson), from, &"field `updates`: not a frame", now),
                    Err(error) => io.refuse(Some(SourceKind::UdpJson), from, &error, now),
                }
            }
        }
        _ => Counters::add(&io.hub().ignored, 1),
    }
}
