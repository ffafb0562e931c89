//! The frames of a session, from bytes to the hub.

use std::sync::Arc;

use super::{
    identity::Binary,
    lanes::kind_of,
    reader::FrameReader,
    state::{Actions, Session},
};
use crate::{
    hub::{Counters, Refused, Role, Update},
    roles::TokenRole,
};
#[cfg(feature = "seal")]
use facelink::seal::Opened;
use facelink::{
    connection::Lane,
    event::Emotion,
    frame::FaceFrame,
    time::Instant,
    wire::{
        facelink1,
        json::{Decoder, FaceMessage, VisemeMessage},
        message::{Ack, Batch, ClientMessage, SetEmotion},
        sealed::{self, is_sealed},
    },
};

/// How the number of a frame is to be read.
#[derive(Clone, Copy, Default)]
struct Numbered {
    /// The frame came before.
    repeated: bool,
    /// The format is our own.
    exact: bool,
    /// Numbers before it that a relay has left out.
    left_out: u64,
}

impl Session {
    /// A binary message.
    pub fn on_binary(self: &Arc<Self>, lane: Lane, bytes: &[u8], now: Instant) -> Actions {
        let mut actions = Actions::new();
        self.count(bytes.len());
        self.lanes.heard(lane, now);
        if !self.spend(1, now, &mut actions) {
            return actions;
        }
        if !self.is_authorised() {
            self.refuse_unauthorised(now, &mut actions);
            return actions;
        }
        if !self.may(TokenRole::Publish, now, &mut actions) {
            return actions;
        }
        if bytes.first().is_some_and(|first| is_sealed(*first)) && self.reads_sealed(bytes.len()) {
            let opened = self.on_sealed(lane, bytes, now, &mut actions);
            // Without the key it is for viewers who have it.
            let passed = if self.role == Role::Inbound && !self.sealing().has_key() {
                self.pass_sealed(lane, bytes, now)
            } else {
                opened
            };
            if let Err(error) = passed {
                self.refuse("sealed", &error, now, &mut actions);
            }
            return actions;
        }
        if !self.takes_clear() {
            self.refuse_clear(now, &mut actions);
            return actions;
        }
        let floats = |read: Result<FaceFrame, String>, actions: &mut Actions| {
            read.map(|frame| self.ingest(lane, None, Some(&frame), None, None, Numbered::default(), now, actions))
        };
        let read = match self.identity.binary() {
            Binary::Facelink1 | Binary::Sealed => {
                let packet = self.frames.facelink1(bytes, now, |face| {
                    let subject = (!face.subject.is_empty()).then_some(face.subject);
                    let unix_ms = match (face.clock, face.frame.capture_time) {
                        (Some(facelink1::Clock::Unix), Some(time)) => Some(time.as_secs_f64() * 1000.0),
                        _ => None,
                    };
                    let from = Numbered { repeated: face.repeated, exact: true, left_out: 0 };
                    self.ingest(lane, subject, Some(&face.frame), unix_ms, None, from, now, &mut actions);
                });
                if let Ok(Some(packets)) = &packet {
                    let text = ClientMessage::Ack(Ack { packets: packets.clone() }).to_json();
                    self.count_sent(text.len(), self.lanes.send_report(text));
                }
                let packet = packet.map(drop);
                // The migration guide's `sendBinaryBlendshapes` sends floats whatever `hello` said.
                packet.or_else(|error| floats(FrameReader::arkit_floats(bytes).unwrap_or(Err(error)), &mut actions))
            }
            Binary::Float32 => floats(self.frames.float32(bytes), &mut actions),
        };
        if let Err(error) = read {
            self.refuse("bad_frame", &error, now, &mut actions);
        }
        actions
    }

    /// Whether a message that begins like a sealed packet is one: of a client that announced none it may be floats.
    fn reads_sealed(&self, len: usize) -> bool {
        match self.identity.binary() {
            Binary::Sealed => true,
            Binary::Facelink1 => len != 52 * 4 && len != 61 * 4 || self.role != Role::Inbound,
            Binary::Float32 => false,
        }
    }

    #[cfg(feature = "seal")]
    fn on_sealed(
        self: &Arc<Self>,
        lane: Lane,
        bytes: &[u8],
        now: Instant,
        actions: &mut Actions,
    ) -> Result<(), String> {
        let mut wrong = None;
        let opened = self.sealing().open(bytes, now, |opened, decoder| match opened {
            Opened::Face { face, stream, left_out, .. } => {
                let subject = (!face.subject.is_empty()).then_some(face.subject);
                if let Some(subject) = subject.filter(|_| self.role == Role::Outbound) {
                    self.streams.heard(stream, subject);
                }
                let unix_ms = match (face.clock, face.frame.capture_time) {
                    (Some(facelink1::Clock::Unix), Some(time)) => Some(time.as_secs_f64() * 1000.0),
                    _ => None,
                };
                let from = Numbered { repeated: face.repeated, exact: true, left_out };
                self.ingest(lane, subject, Some(&face.frame), unix_ms, None, from, now, actions);
            }
            Opened::Message { text, .. } => match decoder.client(text) {
                Ok(Some(ClientMessage::Face(face))) => self.on_face(lane, &face, now, actions),
                Ok(Some(ClientMessage::SetEmotion(message))) => {
                    self.on_emotion(lane, message.subject.as_deref(), &message, now, actions);
                }
                Ok(_) => wrong = Some("sealed message: not about a face".to_owned()),
                Err(error) => wrong = Some(format!("sealed message: {error}")),
            },
            _ => {}
        });
        wrong.map_or(opened, Err)
    }

    #[cfg(not(feature = "seal"))]
    fn on_sealed(self: &Arc<Self>, _: Lane, _: &[u8], _: Instant, _: &mut Actions) -> Result<(), String> {
        self.sealing().refuse()
    }

    /// Sealed packets of this connection's subjects, for viewers with the key.
    fn pass_sealed(self: &Arc<Self>, lane: Lane, bytes: &[u8], now: Instant) -> Result<(), String> {
        self.lanes.frame(lane, now);
        let own = self.default_subject();
        for packet in sealed::packets(bytes) {
            let packet = packet.map_err(|error| error.to_string())?;
            let subject = self.streams.name(&own, packet.stream(), packet.kind);
            let update = Update { exact: true, ..Update::new(self.key, kind_of(lane), &subject) };
            self.hub.publish_sealed(&update, &packet, now).map_err(|refused| refused.to_string())?;
        }
        Ok(())
    }

    pub(super) fn count(&self, bytes: usize) {
        Counters::add(&self.counters.messages, 1);
        Counters::add(&self.counters.bytes_in, bytes as u64);
    }

    pub(super) fn on_batch(
        self: &Arc<Self>,
        decoder: &mut Decoder,
        lane: Lane,
        batch: &Batch<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let more = u32::try_from(batch.updates.len()).unwrap_or(u32::MAX).saturating_sub(1);
        if more > 0 && !self.spend(more, now, actions) {
            return;
        }
        for (i, update) in batch.updates.iter().enumerate() {
            match decoder.face(update.get()) {
                Ok(Some(face)) => self.on_face(lane, &face, now, actions),
                Ok(None) => self.refuse("bad_field", &format!("field `updates[{i}]`: not a frame"), now, actions),
                Err(error) => self.refuse(error.code(), &format!("field `updates[{i}]`: {error}"), now, actions),
            }
        }
    }

    pub(super) fn on_face(self: &Arc<Self>, lane: Lane, face: &FaceMessage<'_>, now: Instant, actions: &mut Actions) {
        let frame = face.has_face.then_some(&face.frame);
        let from = Numbered::default();
        self.ingest(lane, face.subject.as_deref(), frame, face.unix_ms, face.viseme, from, now, actions);
    }

    fn ingest(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        frame: Option<&FaceFrame>,
        sent_unix_ms: Option<f64>,
        viseme: Option<VisemeMessage>,
        Numbered { repeated, exact, left_out }: Numbered,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        // A repeated frame does not measure the path.
        let latency_ms = if repeated { None } else { self.latency_ms(lane, sent_unix_ms, now) };
        let update = Update {
            key: self.key,
            kind: kind_of(lane),
            subject,
            frame,
            unix_ms: sent_unix_ms,
            latency_ms,
            viseme,
            repeated,
            exact,
            left_out,
        };
        match self.hub.ingest(&update, now) {
            Ok(_) | Err(Refused::Stale | Refused::Standby) => {}
            // An endpoint that passes on what we have from the source itself is not to blame.
            Err(Refused::Contested) if self.role == Role::Outbound => {}
            Err(refused) => self.refuse("refused", &refused.to_string(), now, actions),
        }
    }

    /// Latency of a frame. Samples of another transport do not apply to this one.
    fn latency_ms(&self, lane: Lane, sent_unix_ms: Option<f64>, now: Instant) -> Option<f32> {
        if self.lanes.frame(lane, now) {
            self.latency.reset();
            self.hub.connections().set_kind(self.key, kind_of(lane));
        }
        self.latency.of(sent_unix_ms, self.lanes.half_trip_ms(lane))
    }

    pub(super) fn on_emotion(
        self: &Arc<Self>,
        lane: Lane,
        subject: Option<&str>,
        message: &SetEmotion<'_>,
        now: Instant,
        actions: &mut Actions,
    ) {
        let default = if subject.is_none() { Some(self.default_subject()) } else { None };
        let Some(subject) = subject.or(default.as_deref()) else { return };
        let update = Update::new(self.key, kind_of(lane), subject);
        let emotion = Emotion {
            name: message.emotion.as_ref().into(),
            intensity: message.intensity,
            fade: message.fade,
            duration: message.duration,
        };
        match self.hub.ingest_emotion(&update, emotion, now) {
            Ok(()) | Err(Refused::Standby) => {}
            Err(refused) => self.refuse("refused", &refused.to_string(), now, actions),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::{config::EndpointConfig, hub::Hub};
    use facelink::{
        frame::FaceFrame,
        performer::Performance,
        source::SourceKind,
        wire::{
            float32,
            json::{Decoder, write_arkit_data},
            llf,
        },
    };

    /// Feeds 400 frames, then measures another 400: allocations of the whole path from bytes to the engine's channel.
    fn allocations(mut feed: impl FnMut(u64), hub: &Hub) -> u64 {
        let mut run = |frames: std::ops::Range<u64>| {
            for i in frames {
                feed(i);
                assert!(hub.queues.frames().try_recv().is_ok(), "frame {i} did not come through");
            }
        };
        run(0..400);
        allocation_counter::measure(|| run(400..800)).count_total
    }

    fn session(hub: &Arc<Hub>, start: Instant) -> Arc<Session> {
        let counters = Arc::new(Counters::default());
        let level = crate::auth::AuthLevel::Exempt;
        let key = hub.connect(SourceKind::WebSocket, "id".into(), None, counters.clone(), level, start).expect("room");
        Session::new(hub, key, "id".into(), None, counters, Role::Inbound, Some(level.into()))
    }

    /// A session that said `hello` with facelink1.
    fn facelink1_session(start: Instant) -> (Arc<Hub>, Arc<Session>) {
        let hub = Arc::new(Hub::new(EndpointConfig::default(), start));
        let session = session(&hub, start);
        let hello = r#"{"type":"hello","subject":"Ann","binary":"facelink1"}"#;
        session.on_text(&mut Decoder::default(), Lane::WebSocket, hello, start);
        (hub, session)
    }

    #[test]
    fn receive_floats_on_a_facelink1_connection() {
        let start = Instant::now();
        let (hub, session) = facelink1_session(start);
        let mut frame = FaceFrame::default();
        // As a float it begins with the packets' first byte.
        frame.set(facelink::Blendshape::EyeBlinkLeft, f32::from_le_bytes([0xF1, 1, 0, 0x3F]));
        frame.set(facelink::Blendshape::JawOpen, 0.25);
        let (mut few, mut all) = (Vec::new(), Vec::new());
        float32::encode_52(&frame, &mut few);
        float32::encode_61(&frame, &mut all);
        let mut packet = Vec::new();
        facelink1::Encoder::new().encode("", &frame, facelink1::Clock::Unix, &mut packet).expect("encodes");
        for (i, bytes) in [&few, &packet, &all].into_iter().enumerate() {
            let at = start + Duration::from_millis(16 * (i as u64 + 1));
            let actions = session.on_binary(Lane::WebSocket, bytes, at);
            assert!(actions.is_empty(), "{i}: {actions:?}");
            let taken = hub.queues.frames().try_recv().expect("a frame");
            assert!((taken.frame.get(facelink::Blendshape::JawOpen).unwrap() - 0.25).abs() < 0.003, "{i}");
            assert_eq!(&*taken.name, "Ann");
        }
        few[3] = 0x7F;
        few[2] = 0xC0;
        for (bytes, why) in [(&few[..], "eyeBlinkLeft"), (&few[..204], "magic"), (&packet[..15], "cut off")] {
            let at = start + Duration::from_secs(bytes.len() as u64);
            let actions = session.on_binary(Lane::WebSocket, bytes, at);
            assert!(format!("{actions:?}").contains("bad_frame"), "{why}: {actions:?}");
            assert!(hub.queues.frames().try_recv().is_err(), "{why}");
        }
    }

    #[test]
    fn receive_frame_allocates_nothing() {
        let performance = Performance::new(7);
        let start = Instant::now();
        let at = |i: u64| start + Duration::from_micros(16_667 * i);
        let hub =
            Arc::new(Hub::new(EndpointConfig { max_messages_per_second: 1e6, ..EndpointConfig::default() }, start));
        let session = session(&hub, start);

        let frames: Vec<FaceFrame> = (0..800).map(|i| performance.frame_at(Duration::from_millis(16 * i))).collect();
        let mut decoder = Decoder::default();
        let json: Vec<String> = frames
            .iter()
            .map(|frame| {
                let mut frame = frame.clone();
                frame.channels.push(facelink::Channel { name: "tail".into(), value: 0.5 });
                let mut text = String::new();
                write_arkit_data(&mut text, &frame, Some("Ann"), None);
                text
            })
            .collect();
        let by_json = allocations(
            |i| {
                let actions = session.on_text(&mut decoder, Lane::WebSocket, &json[i as usize], at(i));
                assert!(actions.is_empty(), "{actions:?}");
            },
            &hub,
        );
        let binary: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| {
                let mut bytes = Vec::new();
                float32::encode_61(frame, &mut bytes);
                bytes
            })
            .collect();
        let by_floats =
            allocations(|i| assert!(session.on_binary(Lane::DataChannel, &binary[i as usize], at(i)).is_empty()), &hub);
        let profile = llf::PROFILE;
        let packets: Vec<Vec<u8>> = frames
            .iter()
            .enumerate()
            .map(|(i, frame)| {
                let mut bytes = Vec::new();
                let packet = llf::LlfPacket::new("device", "iPhone", i as i32, frame.clone());
                llf::encode(&packet, &profile, &mut bytes).expect("encodes");
                bytes
            })
            .collect();
        let by_phone = allocations(
            |i| {
                let packet = llf::decode(&packets[i as usize], &profile).expect("decodes");
                let update = Update {
                    frame: Some(&packet.frame),
                    ..Update::new(session.key, SourceKind::LiveLinkFace, packet.subject)
                };
                hub.ingest(&update, at(i)).expect("taken");
            },
            &hub,
        );
        assert_eq!((by_json, by_floats, by_phone), (0, 0, 0));
    }
}
