//! Live Link Face: sends to the address that was typed in, or to those that its OSC remote control was given.

use std::net::SocketAddr;

use rosc::{OscMessage, OscType};

use super::phone::{Outbox, Phone, SimulatorConfig, Start};
use crate::{
    FaceFrame,
    source::LIVE_LINK_FACE_OSC_PORT,
    time::Instant,
    wire::{
        llf::{self, LlfPacket},
        osc::{self, encode, message, number, text},
    },
};

/// As the app's: what an iPhone would call itself.
const DEVICE_ID: &str = "FACE1111-0000-4000-8000-5EEDFACE0001";
const DAY: f64 = 86_400.0;
/// Most addresses that it sends to.
const MOST: usize = 8;

pub(super) struct LiveLinkFace {
    targets: Vec<SocketAddr>,
    streaming: bool,
    answers: Option<SocketAddr>,
    /// Only an app that waits to be aimed has to be found at its usual port.
    waits: bool,
    subject: String,
    slate: String,
    take: i32,
    recording: bool,
    rate: i32,
    first: i64,
    count: i64,
}

impl LiveLinkFace {
    pub fn new(config: &SimulatorConfig, start: Start) -> Self {
        let rate = (config.fps.round() as i32).max(1);
        let since_midnight = start.unix.as_secs_f64() % DAY;
        let first = (since_midnight * f64::from(rate)) as i64;
        Self {
            targets: config.to.into_iter().collect(),
            streaming: config.to.is_some(),
            answers: None,
            waits: config.to.is_none(),
            subject: config.subject.clone(),
            slate: "MySlate".to_owned(),
            take: 1,
            recording: false,
            rate,
            first,
            count: 0,
        }
    }

    fn timecode(&self) -> String {
        let frames = self.first + self.count;
        let (rate, seconds) = (i64::from(self.rate), frames / i64::from(self.rate));
        format!("{:02}:{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60, frames % rate)
    }

    fn on_message(&mut self, message: &OscMessage) -> Option<(&'static str, Vec<OscType>)> {
        let args = &message.args;
        let address = || {
            let (ip, port) = (text(args.first())?, number(args.get(1))?);
            Some(SocketAddr::new(ip.parse().ok()?, port as u16))
        };
        let string = |text: String| OscType::String(text);
        match message.addr.as_str() {
            "/OSCSetSendTarget" => {
                self.answers = address();
                return Some(("/OSCSetSendTargetConfirm", Vec::new()));
            }
            "/AddLiveLinkAddress" => {
                let new = address().filter(|new| !self.targets.contains(new) && self.targets.len() < MOST);
                self.targets.extend(new);
            }
            "/ClearAllLiveLinkAddresses" => self.targets.clear(),
            "/LiveLinkStreamStart" => self.streaming = true,
            "/LiveLinkStreamStop" => self.streaming = false,
            "/LiveLinkSubject" => self.subject = text(args.first())?.to_owned(),
            "/BatteryQuery" => return Some(("/Battery", vec![OscType::Float(0.75)])),
            "/ThermalsQuery" => return Some(("/Thermals", vec![OscType::Int(1)])),
            "/Slate" => self.slate = text(args.first())?.to_owned(),
            "/Take" => self.take = number(args.first())? as i32,
            "/RecordStart" => {
                (self.slate, self.take) = (text(args.first())?.to_owned(), number(args.get(1))? as i32);
                self.recording = true;
                return Some(("/RecordStartConfirm", vec![string(self.timecode())]));
            }
            "/RecordStop" => {
                self.recording = false;
                let stem = format!("{}_{}_iPhone", self.slate, self.take);
                let files = [format!("{stem}.csv"), format!("{stem}.mov")].map(string);
                let mut args = vec![string(self.timecode())];
                args.extend(files);
                return Some(("/RecordStopConfirm", args));
            }
            "/ARSessionStart" => return Some(("/ARSessionStartConfirm", Vec::new())),
            "/ARSessionStop" => return Some(("/ARSessionStopConfirm", Vec::new())),
            _ => {}
        }
        None
    }
}

impl Phone for LiveLinkFace {
    fn port(&self) -> Option<u16> {
        self.waits.then_some(LIVE_LINK_FACE_OSC_PORT)
    }

    fn on_datagram(&mut self, _from: SocketAddr, datagram: &[u8], _now: Instant, out: &mut Outbox) {
        let mut answers = Vec::new();
        let reading = osc::read(datagram, |message| answers.extend(self.on_message(message)));
        if let Some(error) = reading.error {
            tracing::debug!(refused = reading.refused, %error, "remote control");
        }
        for (address, args) in answers {
            if let Some(to) = self.answers {
                out.datagram(to).extend_from_slice(&encode(&message(address, args)));
            }
        }
    }

    fn on_frame(&mut self, frame: &FaceFrame, _now: Instant, out: &mut Outbox) -> Result<(), String> {
        // A frame that the sender left out has its number.
        let count = frame.sequence.and_then(|number| i64::try_from(number).ok()).unwrap_or(self.count);
        self.count = count.saturating_add(1);
        let number = self.first.saturating_add(count) % (i64::from(self.rate) * DAY as i64);
        if !self.streaming {
            return Ok(());
        }
        let packet = LlfPacket {
            rate: (self.rate, 1),
            // Measured, and therefore uneven.
            sub_frame: (self.count as f32 * 0.0016 + (self.count % 3) as f32 * 2e-5).fract(),
            ..LlfPacket::new(DEVICE_ID, &self.subject, number as i32, frame.clone())
        };
        for to in &self.targets {
            llf::encode(&packet, &llf::PROFILE, out.datagram(*to)).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn is_streaming(&self, _now: Instant) -> bool {
        self.streaming && !self.targets.is_empty()
    }
}
