//! What goes out by OSC: faces by VMC protocol and to VRChat, and what happens here to controllers.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use facelink::{
    event::{LinkEvent, SubjectFrame},
    source::SourceKind,
    vrchat::VrchatWriter,
    wire::{
        osc::{encode, message},
        vmc,
    },
};
use parking_lot::Mutex;
use rosc::OscType;
use tokio::{
    net::UdpSocket,
    sync::broadcast::{Receiver, error::RecvError},
};
use tokio_util::sync::CancellationToken;

use crate::{
    hub::{Hub, Published},
    phone_config::{VmcOut, VrchatOut},
};

/// Controllers that asked to be sent what happens, at most; the newest win.
const MAX_SUBSCRIBERS: usize = 16;
/// Two frames this share of their usual distance apart are sent both: arrivals are uneven.
const EARLY: f32 = 0.75;

/// Controllers that are sent what happens.
#[derive(Debug, Default)]
pub(crate) struct Subscribers(Mutex<Vec<SocketAddr>>);

impl Subscribers {
    pub fn new(fixed: &[SocketAddr]) -> Self {
        Self(Mutex::new(fixed.to_vec()))
    }

    /// Adds a controller, in place of another port of its own machine that asked before it.
    pub fn add(&self, to: SocketAddr, fixed: &[SocketAddr]) {
        let mut subscribers = self.0.lock();
        subscribers.retain(|known| *known != to);
        if subscribers.len() >= MAX_SUBSCRIBERS + fixed.len() {
            subscribers.remove(fixed.len());
        }
        subscribers.push(to);
    }

    pub fn remove(&self, to: SocketAddr) {
        self.0.lock().retain(|known| *known != to);
    }

    fn all(&self) -> Vec<SocketAddr> {
        self.0.lock().clone()
    }
}

async fn socket_to(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).await
}

/// What is published next; `None` at the end. What was missed does not count: the newest does.
async fn next(published: &mut Receiver<Published>, cancel: &CancellationToken) -> Option<Published> {
    loop {
        let next = tokio::select! {
            () = cancel.cancelled() => return None,
            next = published.recv() => next,
        };
        match next {
            Ok(published) => return Some(published),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

/// Where the faces of one subject go.
struct Target {
    to: SocketAddr,
    subject: Option<String>,
    /// What the receiver itself sends does not go back to it.
    own: SourceKind,
    what: &'static str,
}

/// Gives the faces of a subject to `write` until cancelled, and sends what it writes.
async fn send_faces(
    hub: Arc<Hub>,
    target: Target,
    cancel: CancellationToken,
    mut write: impl FnMut(&SubjectFrame, &mut dyn FnMut(&[u8])),
) {
    let to = target.to;
    let socket = match socket_to(to).await {
        Ok(socket) => socket,
        Err(error) => return tracing::warn!("no {} to {to}: {error}", target.what),
    };
    let mut published = hub.queues.subscribe();
    let mut chosen: Option<Arc<str>> = None;
    while let Some(next) = next(&mut published, &cancel).await {
        let frame = match next {
            Published::Frame(frame, from) => {
                let wanted = target.subject.as_deref().or(chosen.as_deref());
                let own = frame.source == target.own && hub.connections().address_of(from.key) == Some(to);
                if own || wanted.is_some_and(|wanted| *wanted != *frame.name) {
                    continue;
                }
                if chosen.is_none() {
                    chosen = Some(frame.name.clone());
                }
                frame
            }
            Published::Lost(name) => {
                if chosen.as_ref() == Some(&name) {
                    chosen = None;
                }
                continue;
            }
            Published::Event(LinkEvent::Cut { name, .. }) => {
                chosen = Some(name);
                continue;
            }
            Published::Event(_) => continue,
        };
        write(&frame, &mut |datagram| {
            if let Err(error) = socket.try_send_to(datagram, to) {
                tracing::debug!(%to, %error, "not sent");
            }
        });
    }
}

/// Sends a face out by VMC protocol until cancelled.
pub(super) async fn send_vmc(hub: Arc<Hub>, out: VmcOut, cancel: CancellationToken) {
    let VmcOut { to, subject, names } = out;
    let started = hub.started;
    let target = Target { to, subject, own: SourceKind::Vmc, what: "VMC protocol" };
    send_faces(hub, target, cancel, |frame, send| {
        let time = started.elapsed().as_secs_f32();
        vmc::encode(&frame.frame, time, &vmc::PROFILE, names, send);
    })
    .await;
}

/// Sends a face to VRChat until cancelled, by a writer that was made by its settings.
pub(super) async fn send_vrchat(hub: Arc<Hub>, out: VrchatOut, mut writer: VrchatWriter, cancel: CancellationToken) {
    let VrchatOut { to, subject, max_fps, .. } = out;
    let started = hub.started;
    let target = Target { to, subject, own: SourceKind::Trackers, what: "parameters" };
    let least = Duration::try_from_secs_f32(EARLY / max_fps).unwrap_or_default();
    let mut last: Option<Instant> = None;
    send_faces(hub, target, cancel, |frame, send| {
        let now = Instant::now();
        if last.is_some_and(|last| now.saturating_duration_since(last) < least) {
            return;
        }
        last = Some(now);
        writer.write(&frame.frame, now.saturating_duration_since(started), send);
    })
    .await;
}

/// What a controller is sent of an event; nothing of most.
fn of_event(event: LinkEvent) -> Option<(String, Vec<OscType>)> {
    let text = |name: Arc<str>| OscType::String(name.to_string());
    let on = |on: bool| OscType::Int(on.into());
    Some(match event {
        LinkEvent::Gesture { name, gesture, active, .. } => {
            (format!("/facelink/gesture/{gesture}"), vec![on(active), text(name)])
        }
        LinkEvent::Cut { name, .. } => ("/facelink/cut".to_owned(), vec![text(name)]),
        LinkEvent::SubjectAppeared { name, .. } => ("/facelink/subject".to_owned(), vec![on(true), text(name)]),
        LinkEvent::SubjectLost { name, .. } => ("/facelink/subject".to_owned(), vec![on(false), text(name)]),
        _ => return None,
    })
}

/// Sends what happens to controllers until cancelled.
pub(super) async fn send_events(hub: Arc<Hub>, subscribers: Arc<Subscribers>, cancel: CancellationToken) {
    let mut sockets: [Option<UdpSocket>; 2] = [None, None];
    let mut published = hub.queues.subscribe();
    while let Some(next) = next(&mut published, &cancel).await {
        let Published::Event(event) = next else { continue };
        let Some((address, args)) = of_event(event) else { continue };
        let datagram = encode(&message(&address, args));
        for to in subscribers.all() {
            let socket = &mut sockets[usize::from(to.is_ipv6())];
            if socket.is_none() {
                *socket = socket_to(to).await.ok();
            }
            // Awaited: each happens once, and a socket that was just opened may not be ready.
            if let Some(socket) = socket
                && let Err(error) = socket.send_to(&datagram, to).await
            {
                tracing::debug!(%to, %error, "not sent");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn osc_subscribers_are_bounded_and_the_fixed_ones_stay() {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let fixed = [at(1), at(2)];
        let subscribers = Subscribers::new(&fixed);
        for port in 100..200 {
            subscribers.add(at(port), &fixed);
            subscribers.add(at(port), &fixed);
        }
        let all = subscribers.all();
        assert_eq!(all.len(), 2 + MAX_SUBSCRIBERS);
        assert_eq!((&all[..2], all.last()), (&fixed[..], Some(&at(199))));
        subscribers.remove(at(199));
        assert_eq!(subscribers.all().len(), 1 + MAX_SUBSCRIBERS);
    }
}
