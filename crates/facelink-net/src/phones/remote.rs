//! Remote control of Live Link Face, by the app's OSC messages
//! ([Epic's list](https://dev.epicgames.com/documentation/en-us/unreal-engine/live-link-face-osc-remote-control)): the phone is
//! given this endpoint as its target, started, and asked for its battery.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use rosc::{OscMessage, OscType};

use super::{
    protocol::Io,
    roster::{PhoneCommand, PhoneState},
};
use crate::tap::Tapped;
use facelink::{
    source::{LIVE_LINK_FACE_OSC_PORT, PhonePort, SourceKind},
    take::PhoneRecording,
    wire::osc::{encode, message, number, text},
};

/// Between two attempts to aim a phone that sends nothing.
const AIM_EVERY: Duration = Duration::from_secs(2);
/// Between two questions for battery and heat.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// Between two attempts at a command that the app confirms.
const AGAIN: Duration = Duration::from_millis(500);
/// Attempts at such a command.
const MAX_ATTEMPTS: u32 = 10;

/// A command that waits for its confirmation.
#[derive(Debug)]
struct Waiting {
    command: PhoneCommand,
    confirmation: &'static str,
    attempts: u32,
    last: Instant,
}

#[derive(Debug)]
struct Phone {
    to: SocketAddr,
    aimed: Option<Instant>,
    asked: Option<Instant>,
    waiting: Vec<Waiting>,
    /// The user wants it to be silent.
    held: bool,
    /// It answered, or sends.
    answered: bool,
}

#[derive(Debug, Default)]
pub(super) struct Remote {
    phones: Vec<Phone>,
}

/// This machine's address as the phone sees it. Nothing is sent: the system is asked for the route.
fn own_address(towards: SocketAddr, bound: Option<IpAddr>) -> Option<IpAddr> {
    if let Some(bound) = bound.filter(|bound| !bound.is_unspecified()) {
        return Some(bound);
    }
    let any: IpAddr =
        if towards.is_ipv4() { std::net::Ipv4Addr::UNSPECIFIED.into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(towards).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn send(io: &Io<'_>, to: SocketAddr, address: &str, args: Vec<OscType>) {
    io.send(to, &encode(&message(address, args)));
}

/// What a phone reported of its recording, for the take.
fn keep(io: &Io<'_>, recording: PhoneRecording, now: Instant) {
    io.hub().queues.tap(|tap| tap.push(|| Tapped::Phone(recording, now)));
}

fn target(address: IpAddr, port: u16) -> Vec<OscType> {
    vec![OscType::String(address.to_string()), OscType::Int(port.into())]
}

impl Phone {
    /// Where it shall answer, where it shall send, and that it shall start.
    fn aim(&mut self, io: &Io<'_>, now: Instant) {
        self.aimed = Some(now);
        let stream = io.phones().port(PhonePort::LiveLinkFace).map(|open| open.address);
        let (Some(stream), Ok(own)) = (stream, io.sockets.own()) else { return };
        let Some(address) = own_address(self.to, Some(stream.ip())) else { return };
        send(io, self.to, "/OSCSetSendTarget", target(address, own.port()));
        send(io, self.to, "/AddLiveLinkAddress", target(address, stream.port()));
        send(io, self.to, "/LiveLinkStreamStart", Vec::new());
    }

    fn command(&mut self, io: &Io<'_>, command: PhoneCommand, now: Instant) {
        let string = |text: &String| vec![OscType::String(text.clone())];
        let ip = self.to.ip();
        match &command {
            PhoneCommand::Start => {
                self.held = false;
                self.aim(io, now);
            }
            PhoneCommand::Stop => {
                self.held = true;
                send(io, self.to, "/LiveLinkStreamStop", Vec::new());
            }
            PhoneCommand::Subject(name) => send(io, self.to, "/LiveLinkSubject", string(name)),
            PhoneCommand::Slate(slate) => {
                send(io, self.to, "/Slate", string(slate));
                io.phones().roster.note(ip, |phone| phone.slate = Some(slate.clone()));
            }
            PhoneCommand::Take(take) => {
                send(io, self.to, "/Take", vec![OscType::Int(*take)]);
                io.phones().roster.note(ip, |phone| phone.take = Some(*take));
            }
            PhoneCommand::RecordStart { slate, take } => {
                let mut args = string(slate);
                args.push(OscType::Int(*take));
                send(io, self.to, "/RecordStart", args);
                io.phones().roster.note(ip, |phone| (phone.slate, phone.take) = (Some(slate.clone()), Some(*take)));
            }
            PhoneCommand::RecordStop => send(io, self.to, "/RecordStop", Vec::new()),
            PhoneCommand::VideoDisplay(true) => send(io, self.to, "/VideoDisplayOn", Vec::new()),
            PhoneCommand::VideoDisplay(false) => send(io, self.to, "/VideoDisplayOff", Vec::new()),
            PhoneCommand::Session(true) => send(io, self.to, "/ARSessionStart", Vec::new()),
            PhoneCommand::Session(false) => send(io, self.to, "/ARSessionStop", Vec::new()),
        }
        let confirmation = match &command {
            PhoneCommand::RecordStart { .. } => "/RecordStartConfirm",
            PhoneCommand::RecordStop => "/RecordStopConfirm",
            PhoneCommand::Session(true) => "/ARSessionStartConfirm",
            PhoneCommand::Session(false) => "/ARSessionStopConfirm",
            _ => return,
        };
        // The opposite is not asked for again.
        let opposite = match confirmation {
            "/RecordStartConfirm" => "/RecordStopConfirm",
            "/RecordStopConfirm" => "/RecordStartConfirm",
            "/ARSessionStartConfirm" => "/ARSessionStopConfirm",
            _ => "/ARSessionStartConfirm",
        };
        self.waiting.retain(|waiting| waiting.confirmation != opposite);
        match self.waiting.iter_mut().find(|waiting| waiting.confirmation == confirmation) {
            Some(waiting) => (waiting.attempts, waiting.last) = (waiting.attempts + 1, now),
            None => self.waiting.push(Waiting { command, confirmation, attempts: 1, last: now }),
        }
    }
}

impl Remote {
    pub fn on_tick(&mut self, io: &Io<'_>, now: Instant) {
        let calls = io.phones().roster.calls(SourceKind::LiveLinkFace, now);
        let calls: Vec<_> = calls.into_iter().filter(|(call, _)| call.app == Some(SourceKind::LiveLinkFace)).collect();
        self.phones.retain(|phone| calls.iter().any(|(call, _)| call.to(LIVE_LINK_FACE_OSC_PORT) == phone.to));
        for (call, heard) in calls {
            let to = call.to(LIVE_LINK_FACE_OSC_PORT);
            let place = self.phones.iter().position(|phone| phone.to == to).unwrap_or_else(|| {
                let (aimed, asked, waiting) = (None, None, Vec::new());
                self.phones.push(Phone { to, aimed, asked, waiting, held: false, answered: false });
                self.phones.len() - 1
            });
            let Some(phone) = self.phones.get_mut(place) else { continue };
            phone.answered |= heard == Some(SourceKind::LiveLinkFace);
            let due =
                |last: Option<Instant>, every| last.is_none_or(|last| now.saturating_duration_since(last) >= every);
            for command in io.phones().roster.take_commands(call.address) {
                phone.command(io, command, now);
            }
            if heard.is_none() && !phone.held && due(phone.aimed, AIM_EVERY) {
                phone.aim(io, now);
            }
            if phone.answered && due(phone.asked, ASK_EVERY) {
                phone.asked = Some(now);
                // Where to answer, too: an app that was restarted has lost it.
                if let (Some(address), Ok(own)) =
                    (own_address(to, io.sockets.own().ok().map(|a| a.ip())), io.sockets.own())
                {
                    send(io, to, "/OSCSetSendTarget", target(address, own.port()));
                }
                send(io, to, "/BatteryQuery", Vec::new());
                send(io, to, "/ThermalsQuery", Vec::new());
            }
            let again: Vec<_> = phone
                .waiting
                .extract_if(.., |waiting| waiting.attempts >= MAX_ATTEMPTS)
                .map(|given_up| given_up.confirmation)
                .collect();
            for confirmation in again {
                tracing::warn!(phone = %to, confirmation, "the app does not confirm");
            }
            let due: Vec<_> =
                phone.waiting.iter().filter(|w| due(Some(w.last), AGAIN)).map(|w| w.command.clone()).collect();
            for command in due {
                phone.command(io, command, now);
            }
        }
    }

    /// Takes what a phone said; `false` when nothing is known of it.
    pub fn on_message(&mut self, io: &Io<'_>, from: SocketAddr, message: &OscMessage, now: Instant) -> bool {
        let Some(phone) = self.phones.iter_mut().find(|phone| phone.to.ip() == from.ip()) else { return false };
        let roster = &io.phones().roster;
        let args = &message.args;
        if let Some(place) = phone.waiting.iter().position(|waiting| waiting.confirmation == message.addr) {
            phone.waiting.swap_remove(place);
        }
        let known = match message.addr.as_str() {
            "/Battery" => {
                // Percent from some versions.
                let charge = number(args.first()).map(|charge| if charge > 1.0 { charge / 100.0 } else { charge });
                roster.note(from.ip(), |phone| phone.battery = charge.map(|charge| charge.clamp(0.0, 1.0)));
                true
            }
            "/Thermals" => {
                roster.note(from.ip(), |phone| phone.thermal = number(args.first()).map(|heat| heat as i32));
                true
            }
            "/RecordStartConfirm" => {
                // First, so that a take does not end between the two.
                keep(io, PhoneRecording::new(from.ip(), true, text(args.first()).unwrap_or_default()), now);
                roster.note(from.ip(), |phone| phone.recording = Some(true));
                true
            }
            "/RecordStopConfirm" => {
                let parts: Vec<&str> = (0..3).filter_map(|place| text(args.get(place))).collect();
                let mut recording = PhoneRecording::new(from.ip(), false, parts.first().copied().unwrap_or_default());
                recording.files =
                    parts.iter().skip(1).filter(|file| !file.is_empty()).map(|file| (*file).to_owned()).collect();
                keep(io, recording, now);
                roster.note(from.ip(), |phone| {
                    phone.recording = Some(false);
                    phone.last_recording = Some(parts.join(" "));
                });
                roster.ended(from.ip());
                true
            }
            "/SlateConfirm" => {
                let slate = text(args.first()).map(str::to_owned);
                roster.note(from.ip(), |phone| phone.slate = slate.or(phone.slate.take()));
                true
            }
            "/AppActivated" => {
                phone.aimed = None;
                true
            }
            "/AppDeactivated" => {
                let reason = "the app is in the background".to_owned();
                roster.note(from.ip(), |phone| phone.state = PhoneState::Refused(reason));
                true
            }
            "/OSCSetSendTargetConfirm" | "/ARSessionStartConfirm" | "/ARSessionStopConfirm" | "/Alive" => true,
            _ => false,
        };
        if known && message.addr != "/AppDeactivated" {
            phone.answered = true;
            roster.note(from.ip(), |phone| {
                if phone.state == PhoneState::Calling || message.addr == "/AppActivated" {
                    phone.state = PhoneState::Answered;
                }
            });
            io.noted(SourceKind::LiveLinkFace, from, now);
        }
        known
    }

    /// What we started stops with us.
    pub fn on_stop(&mut self, io: &Io<'_>) {
        for phone in self.phones.iter().filter(|phone| phone.aimed.is_some() && phone.answered && !phone.held) {
            send(io, phone.to, "/LiveLinkStreamStop", Vec::new());
        }
    }
}
