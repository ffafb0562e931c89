//! VTube Studio: listens, and sends to those who ask, for as long as they asked for.

use std::net::SocketAddr;

use super::phone::{Outbox, Phone, SimulatorConfig, Start};
use crate::{
    FaceFrame,
    time::Instant,
    wire::vtube_studio::{PORT, PROFILE, Request, encode},
};

/// Receivers served at a time.
const MAX_RECEIVERS: usize = 64;

pub(super) struct VTubeStudio {
    to: Option<SocketAddr>,
    /// Receivers, and until when each is sent to.
    leases: Vec<(SocketAddr, Instant)>,
    datagram: Vec<u8>,
    start: Start,
}

impl VTubeStudio {
    pub fn new(config: &SimulatorConfig, start: Start) -> Self {
        Self { to: config.to, start, leases: Vec::new(), datagram: Vec::new() }
    }

    fn forget(&mut self, now: Instant) {
        self.leases.retain(|(_, until)| now < *until);
    }
}

impl Phone for VTubeStudio {
    fn port(&self) -> Option<u16> {
        Some(PORT)
    }

    fn on_datagram(&mut self, from: SocketAddr, datagram: &[u8], now: Instant, _out: &mut Outbox) {
        let request = match Request::decode(datagram) {
            Ok(request) => request,
            Err(error) => return tracing::debug!(%from, %error, "a request was refused"),
        };
        self.forget(now);
        for port in request.ports {
            let to = SocketAddr::new(from.ip(), port);
            let until = now + request.lease;
            match self.leases.iter().position(|(known, _)| *known == to) {
                Some(place) => self.leases[place].1 = until,
                None if self.leases.len() < MAX_RECEIVERS => self.leases.push((to, until)),
                None => {}
            }
        }
    }

    fn on_tick(&mut self, now: Instant, _out: &mut Outbox) {
        self.forget(now);
    }

    fn on_frame(&mut self, frame: &FaceFrame, now: Instant, out: &mut Outbox) -> Result<(), String> {
        self.forget(now);
        let unix_ms = self.start.unix(now).as_secs_f64() * 1000.0;
        self.datagram.clear();
        encode(frame, unix_ms, &PROFILE, &mut self.datagram).map_err(|error| error.to_string())?;
        for to in self.to.into_iter().chain(self.leases.iter().map(|(to, _)| *to)) {
            out.datagram(to).extend_from_slice(&self.datagram);
        }
        Ok(())
    }

    fn is_streaming(&self, now: Instant) -> bool {
        self.to.is_some() || self.leases.iter().any(|(_, until)| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::source::SourceKind;

    fn sent_to(phone: &mut VTubeStudio, now: Instant) -> Vec<u16> {
        let mut out = Outbox::default();
        phone.on_frame(&FaceFrame::neutral(), now, &mut out).unwrap();
        out.take_datagrams().map(|(to, _)| to.port()).collect()
    }

    fn ask(phone: &mut VTubeStudio, seconds: f64, ports: &[u16], now: Instant) {
        let request =
            Request { lease: Duration::from_secs_f64(seconds), sent_by: "test".to_owned(), ports: ports.to_vec() };
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        phone.on_datagram(([192, 0, 2, 1], 5).into(), &bytes, now, &mut Outbox::default());
    }

    #[test]
    fn vtube_studio_phone_sends_to_requested_ports_until_expiry() {
        let mut phone = VTubeStudio::new(
            &SimulatorConfig::new(SourceKind::VTubeStudio, None),
            Start { now: Instant::now(), unix: Duration::ZERO, seed: 0 },
        );
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!phone.is_streaming(start) && sent_to(&mut phone, start).is_empty());
        phone.on_datagram(([192, 0, 2, 1], 5).into(), b"rubbish", start, &mut Outbox::default());
        ask(&mut phone, 20.0, &[1], start);
        assert!(!phone.is_streaming(start), "no such request is taken");
        ask(&mut phone, 1.0, &[1, 2], start);
        ask(&mut phone, 0.5, &[3], start);
        assert_eq!(sent_to(&mut phone, at(0)), [1, 2, 3]);
        assert_eq!(sent_to(&mut phone, at(500)), [1, 2]);
        ask(&mut phone, 1.0, &[2], at(900));
        assert_eq!(sent_to(&mut phone, at(1000)), [2]);
        assert!(phone.is_streaming(at(1899)) && !phone.is_streaming(at(1900)));
        assert!(sent_to(&mut phone, at(1900)).is_empty());
    }
}
