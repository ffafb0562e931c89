//! The old system's senders: JSON datagrams with shapes, with a viseme, or with both.

use std::net::SocketAddr;

use super::phone::{Outbox, Phone, SimulatorConfig, Start};
use crate::{
    FaceFrame,
    time::Instant,
    wire::{json::write_untyped, viseme::Viseme},
};

/// What a frame is written as depends on what it holds: a channel such as `viseme_aa` becomes `viseme` and `weight`, the
/// rest `blendshapes` and `head`, and a frame that holds but a viseme is a viseme alone.
pub(super) struct UdpJson {
    to: SocketAddr,
    subject: String,
    text: String,
    start: Start,
    /// A viseme holds until the next one: the last must be silence.
    speaking: bool,
}

impl UdpJson {
    pub fn new(config: &SimulatorConfig, to: SocketAddr, start: Start) -> Self {
        Self { to, start, subject: config.subject.clone(), text: String::new(), speaking: false }
    }

    fn viseme(&mut self, frame: &FaceFrame) -> Option<(Viseme, f32)> {
        let spoken = frame.channels.iter().filter(|channel| channel.value > 0.0).filter_map(|channel| {
            let viseme = Viseme::ALL.into_iter().find(|viseme| viseme.channel() == &*channel.name)?;
            Some((viseme, channel.value))
        });
        let loudest = spoken.max_by(|(_, a), (_, b)| a.total_cmp(b)).filter(|_| frame.tracked);
        let silence = self.speaking.then_some((Viseme::Sil, 0.0));
        self.speaking = loudest.is_some();
        loudest.or(silence)
    }
}

fn is_viseme(name: &str) -> bool {
    Viseme::ALL.into_iter().any(|viseme| viseme.channel() == name)
}

impl Phone for UdpJson {
    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String> {
        let unix_ms = self.start.unix(now).as_secs_f64() * 1000.0;
        let viseme = self.viseme(frame);
        let mut face = frame.clone();
        face.channels.retain(|channel| !is_viseme(&channel.name));
        if !face.tracked {
            // The last face would be taken for the present one.
            face = FaceFrame { tracked: false, sequence: face.sequence, ..FaceFrame::default() };
        }
        let face = (viseme.is_none() || !face.is_empty() || !face.tracked).then_some(&face);
        write_untyped(&mut self.text, face, viseme, Some(&self.subject), Some(unix_ms));
        out.datagram(self.to).extend_from_slice(self.text.as_bytes());
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Blendshape, Channel,
        source::SourceKind,
        wire::{json::Decoder, message::ClientMessage},
    };

    #[test]
    fn udp_json_phone_sends_shapes_visemes_both_and_lost_face() {
        let to = ([127, 0, 0, 1], 5005).into();
        let mut config = SimulatorConfig::new(SourceKind::UdpJson, Some(to));
        config.subject = "Ann".to_owned();
        let mut phone =
            UdpJson::new(&config, to, Start { now: Instant::now(), unix: std::time::Duration::ZERO, seed: 0 });
        let mut sent = |frame: &FaceFrame| {
            let mut out = Outbox::default();
            phone.on_frame(frame, Instant::now(), &mut out).unwrap();
            let (_, bytes) = out.take_datagrams().next().unwrap();
            let text = std::str::from_utf8(bytes).unwrap();
            let read = match Decoder::default().client(text) {
                Ok(Some(ClientMessage::Face(face))) => {
                    assert_eq!(face.subject.as_deref(), Some("Ann"));
                    let viseme = face.viseme.map(|viseme| (viseme.viseme, viseme.weight));
                    (face.has_face, viseme, face.frame.get(Blendshape::JawOpen), face.frame.tracked)
                }
                other => panic!("{text}: {other:?}"),
            };
            assert!(!text.contains("viseme_") && !text.contains(r#""type""#), "{text}");
            read
        };
        let mut shapes = FaceFrame::default();
        shapes.set(Blendshape::JawOpen, 0.5);
        let spoken = Channel { name: Viseme::Aa.channel().into(), value: 0.75 };
        let mut viseme = FaceFrame::default();
        viseme.channels.push(spoken.clone());
        let mut both = shapes.clone();
        both.channels.push(spoken);
        let lost = FaceFrame { tracked: false, ..both.clone() };
        assert_eq!(sent(&shapes), (true, None, Some(0.5), true));
        assert_eq!(sent(&both), (true, Some((Viseme::Aa, 0.75)), Some(0.5), true));
        assert_eq!(sent(&viseme), (false, Some((Viseme::Aa, 0.75)), None, true));
        assert_eq!(sent(&shapes), (true, Some((Viseme::Sil, 0.0)), Some(0.5), true), "the last viseme is silence");
        assert_eq!(sent(&shapes), (true, None, Some(0.5), true));
        assert_eq!(sent(&both).1, Some((Viseme::Aa, 0.75)));
        assert_eq!(sent(&lost), (true, Some((Viseme::Sil, 0.0)), None, false), "no face, no mouth");
    }
}
