//! VTube Studio on a phone, and MeowFace: the phone is asked to send, for a few seconds at a time.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    intake::{Arrived, Sender},
    protocol::{Io, Protocol},
};
use crate::{clock::unix_ms, phone_config::PhoneCall};
use facelink::source::{PhoneTransport, SourceKind};
use facelink::wire::vtube_studio::{Decoder, PORT, Request};

/// For how long a phone is asked to send: it stops soon after this endpoint has ended, and lost requests do no harm.
const LEASE: Duration = Duration::from_secs(5);
/// Between two requests.
const EVERY: Duration = Duration::from_secs(1);

pub(super) struct VTubeStudio {
    decoder: Decoder,
    asked: Option<Instant>,
    request: Vec<u8>,
}

impl VTubeStudio {
    pub fn new() -> Self {
        Self { decoder: Decoder::default(), asked: None, request: Vec::new() }
    }
}

impl VTubeStudio {
    /// Whether it is time to ask again.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= EVERY);
        if due {
            self.asked = Some(now);
        }
        due
    }
}

impl Protocol for VTubeStudio {
    fn on_datagram(&mut self, io: &mut Io<'_>, from: SocketAddr, datagram: &[u8], now: Instant) {
        match self.decoder.decode(datagram) {
            Ok(frame) => {
                let latency_ms = frame.unix_ms.map(|sent| unix_ms() - sent).filter(|ms| (0.0..5000.0).contains(ms));
                let Some(program) = io.program_of(SourceKind::VTubeStudio, from, now) else { return };
                let kind = SourceKind::VTubeStudio;
                let sender = Sender::of_port(kind, program, Some(kind.title()));
                let arrived = Arrived {
                    face: Some(frame.face),
                    unix_ms: frame.unix_ms,
                    latency_ms: latency_ms.map(|ms| ms as f32),
                    bytes: datagram.len(),
                    ..Arrived::default()
                };
                io.take(&sender, program, arrived, now);
            }
            Err(error) => io.refuse(Some(SourceKind::VTubeStudio), from, &error, now),
        }
    }

    fn on_tick(&mut self, io: &mut Io<'_>, now: Instant) {
        if !self.is_due(now) {
            return;
        }
        let calls = io.phones().roster.calls(SourceKind::VTubeStudio, now);
        if calls.is_empty() {
            return;
        }
        if self.request.is_empty() {
            let Ok(own) = io.sockets.own() else { return };
            let request = Request { lease: LEASE, sent_by: "FaceLink".to_owned(), ports: vec![own.port()] };
            request.encode(&mut self.request);
        }
        for to in calls.iter().filter_map(request_target) {
            io.send(to, &self.request);
        }
    }
}

/// Where a request goes, if one does: one that sends is asked again before its time is over, and one that runs another app
/// is not asked.
fn request_target((call, heard): &(PhoneCall, Option<SourceKind>)) -> Option<SocketAddr> {
    let other_app = heard.is_some_and(|app| app != SourceKind::VTubeStudio);
    (!other_app && call.transport == PhoneTransport::Udp).then(|| call.to(PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vts_request_every_second_survives_loss() {
        let mut vts = VTubeStudio::new();
        let start = Instant::now();
        let asked = (0..100).filter(|tick| vts.is_due(start + Duration::from_millis(100) * *tick)).count();
        assert_eq!(asked, 10, "in ten seconds");
        assert!(LEASE >= 4 * EVERY, "three in a row may be lost");
    }

    #[test]
    fn vts_phones_of_other_apps_are_ignored() {
        let any = PhoneCall::any([192, 0, 2, 1].into());
        let at = |port| Some(SocketAddr::from(([192, 0, 2, 1], port)));
        assert_eq!(request_target(&(any, None)), at(PORT));
        assert_eq!(request_target(&(any, Some(SourceKind::VTubeStudio))), at(PORT));
        assert_eq!(request_target(&(any, Some(SourceKind::IFacialMocap))), None);
        assert_eq!(request_target(&(PhoneCall { port: Some(7), ..any }, None)), at(7));
        assert_eq!(request_target(&(PhoneCall { transport: PhoneTransport::Tcp, ..any }, None)), None);
    }
}
