//! The diagnosis of one endpoint.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use facelink::source::{PhonePort, SourceKind};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{
    addresses::{self, OwnAddress},
    advise, clock,
    clock::{Clock, SenderClock},
    firewall,
    port_owner::{PortOwner, port_owner},
    report::{Arriving, Face, Listening, Report},
};
use crate::{
    address::page_url,
    phones::{PhoneState, PhoneStatus, Phones, PortStats, Unavailable},
};

/// How long the slow parts of a report are kept.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// The slow parts: what the system is asked for.
#[derive(Clone, Debug, Default)]
struct Survey {
    addresses: Vec<OwnAddress>,
    /// One for each port that is not open.
    owners: Vec<Option<PortOwner>>,
    firewall: Vec<String>,
    keeper: clock::Keeper,
}

/// What does not change while an endpoint runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub http: Option<SocketAddr>,
    pub https: bool,
    pub unavailable: Vec<Unavailable>,
}

/// Looks at one endpoint, and keeps the newest survey of the system.
#[derive(Debug)]
pub(crate) struct Doctor {
    pub facts: Facts,
    phones: Arc<Phones>,
    survey: Mutex<Option<(Instant, Arc<Survey>)>>,
    busy: AtomicBool,
    start: clock::Start,
}

impl Doctor {
    pub fn new(phones: Arc<Phones>, facts: Facts) -> Arc<Self> {
        let (survey, busy, start) = (Mutex::default(), AtomicBool::new(false), clock::Start::default());
        Arc::new(Self { facts, phones, survey, busy, start })
    }

    fn take_survey(&self) -> Survey {
        let (facts, config) = (&self.facts, &self.phones.hub.config);
        let addresses = addresses::read(config.bind, config.dual_stack);
        let owners = facts.unavailable.iter().map(|port| port_owner(port.port.is_tcp(), port.address)).collect();
        let mut ports = firewall::Ports { tcp: facts.http.iter().map(SocketAddr::port).collect(), udp: Vec::new() };
        for open in self.phones.ports() {
            let list = if open.port.is_tcp() { &mut ports.tcp } else { &mut ports.udp };
            list.push(open.address.port());
        }
        let network = addresses.first().filter(|own| own.likely).map(|own| own.network.as_str());
        let firewall = firewall::lines(&ports, network);
        Survey { firewall, owners, addresses, keeper: clock::Keeper::look() }
    }

    /// The survey of the last few seconds. Only the first one is waited for: later ones are taken on the runtime.
    fn survey(self: &Arc<Self>, runtime: Option<&Handle>, now: Instant) -> Arc<Survey> {
        let kept = self.survey.lock().clone();
        match (kept, runtime) {
            (Some((at, survey)), _) if now.saturating_duration_since(at) < KEPT_FOR => survey,
            (Some((_, old)), Some(runtime)) => {
                if !self.busy.swap(true, Ordering::AcqRel) {
                    let doctor = self.clone();
                    runtime.spawn_blocking(move || {
                        let survey = Arc::new(doctor.take_survey());
                        *doctor.survey.lock() = Some((Instant::now(), survey));
                        doctor.busy.store(false, Ordering::Release);
                    });
                }
                old
            }
            _ => {
                let survey = Arc::new(self.take_survey());
                *self.survey.lock() = Some((now, survey.clone()));
                survey
            }
        }
    }

    /// Makes the report.
    pub fn diagnose(self: &Arc<Self>, runtime: Option<&Handle>, now: Instant) -> Report {
        let (facts, hub) = (&self.facts, &self.phones.hub);
        let survey = self.survey(runtime, now);
        let mut ports: Vec<PortStats> = self.phones.ports().iter().map(|port| port.stats(now)).collect();
        ports.sort_by_key(|port| port.port);
        for port in &mut ports {
            port.senders.sort_by_key(|sender| (sender.address, sender.app.map(SourceKind::as_str)));
        }
        let listening = listening(facts, &ports, &survey.owners);
        let mut subjects = hub.faces(now);
        subjects.retain(|(_, stats)| stats.source != SourceKind::Game);
        // Of those that stamp their frames with the time of day: clients that are pinged have their clock reckoned with.
        let stamped = subjects.iter().filter(|(_, stats)| SourceKind::PHONES.contains(&stats.source));
        let senders = stamped
            .filter_map(|(_, stats)| Some(SenderClock::new(stats.name.clone(), stats.source, stats.clock_ms?)))
            .collect();
        let faces: Vec<Face> = subjects
            .into_iter()
            .map(|(frame, stats)| Face {
                name: stats.name,
                app: stats.source,
                address: stats.address,
                enabled: stats.enabled,
                tracked: stats.tracked,
                head: frame.frame.head.is_some(),
                fps: stats.fps,
                target_fps: stats.target_fps,
                frames: stats.frames,
                age_ms: stats.age_ms,
                latency_ms: stats.latency_ms,
                loss: stats.loss,
                disbelieved: stats.disbelieved,
                author: self.phones.profiles.author(&stats.source_name),
            })
            .collect();
        let clock = Clock::read(&survey.keeper, self.start, senders, now);
        let phones = self.phones.roster.status(now);
        let advice = advise::advise(&advise::Inputs {
            bind: hub.config.bind,
            https: facts.https,
            token: hub.auth.token().is_some() && !hub.config.bind.is_loopback(),
            listening: &listening,
            ports: &ports,
            faces: &faces,
            phones: &phones,
            addresses: &survey.addresses,
            clock: &clock,
            sealed: &hub.sealing.stats(),
            obs: hub.obs.lock().clone().as_ref(),
        });
        let reachable = !hub.config.bind.is_loopback();
        let shown = survey.addresses.first().filter(|_| reachable);
        let host = match hub.config.bind {
            ip if ip.is_unspecified() => shown.map_or(Ipv4Addr::LOCALHOST.into(), |own| own.address),
            ip => ip,
        };
        Report {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            page: facts.http.map_or_else(String::new, |http| {
                page_url(SocketAddr::new(host, http.port()), facts.https, hub.auth.token().as_deref())
            }),
            listening,
            addresses: survey.addresses.clone(),
            settings: shown
                .map(|own| advise::settings(own.address, &ports, hub.config.find_phones))
                .unwrap_or_default(),
            arriving: ports.iter().flat_map(arriving).collect(),
            faces,
            phones: phones.iter().map(in_words).collect(),
            firewall: if reachable { survey.firewall.clone() } else { Vec::new() },
            clock,
            advice,
        }
    }
}

fn listening(facts: &Facts, ports: &[PortStats], owners: &[Option<PortOwner>]) -> Vec<Listening> {
    let protocol = |port: PhonePort| if port.is_tcp() { "TCP" } else { "UDP" }.to_owned();
    let http = if facts.https { "page, WebSocket, WebRTC (HTTP and HTTPS)" } else { "page, WebSocket, WebRTC (HTTP)" };
    let mut listening: Vec<Listening> = ports
        .iter()
        .map(|port| Listening {
            purpose: port.port.title().to_owned(),
            protocol: protocol(port.port),
            address: port.address,
            problem: None,
            port: Some(port.port),
            owner: None,
        })
        .collect();
    listening.extend(facts.unavailable.iter().zip(owners).map(|(port, owner)| {
        let setting = port.port.setting();
        let problem = match owner {
            Some(owner) => format!("held by {owner}: close it, or set `{setting}` to another port"),
            None => format!("not to be had ({}): set `{setting}` to another port", port.reason),
        };
        Listening {
            purpose: port.port.title().to_owned(),
            protocol: protocol(port.port),
            address: port.address,
            problem: Some(problem),
            port: Some(port.port),
            owner: owner.clone(),
        }
    }));
    listening.sort_by_key(|listening| listening.port);
    if let Some(address) = facts.http {
        let (purpose, protocol) = (http.to_owned(), "TCP".to_owned());
        listening.insert(0, Listening { purpose, protocol, address, problem: None, port: None, owner: None });
    }
    listening
}

fn arriving(port: &PortStats) -> impl Iterator<Item = Arriving> {
    port.senders.iter().map(|sender| Arriving {
        what: sender.app.map_or("unknown", SourceKind::title).to_owned(),
        app: sender.app,
        from: sender.address,
        port: format!("{} ({})", port.port.title(), port.address.port()),
        at: port.address,
        rate: sender.rate,
        age_ms: sender.age_ms,
        error: sender.error.clone(),
        first_bytes: sender.first_bytes.clone(),
    })
}

/// A phone that is called, in a line.
fn in_words(phone: &PhoneStatus) -> String {
    let mut line = format!("{} ({})", phone.call.address, phone.call.app.map_or("any app", SourceKind::title));
    match &phone.state {
        PhoneState::Calling if phone.heard_ms.is_some() => line.push_str(": silent, called again"),
        PhoneState::Calling => line.push_str(": called, no answer"),
        PhoneState::Answered => line.push_str(": answers"),
        PhoneState::Streaming => line.push_str(": sends"),
        PhoneState::Refused(reason) => {
            // Writing to a String cannot fail.
            let _ = write!(line, ": refuses, {reason}");
        }
    }
    if let Some(battery) = phone.battery {
        let _ = write!(line, ", battery {:.0} %", 100.0 * battery);
    }
    match phone.thermal {
        Some(2) => line.push_str(", hot"),
        Some(3..) => line.push_str(", far too hot"),
        _ => {}
    }
    if phone.recording == Some(true) {
        line.push_str(", records");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use facelink::source::PhonePorts;

    use crate::{config::EndpointConfig, doctor::Severity, endpoint::Endpoint};

    #[cfg(target_os = "linux")]
    #[test]
    fn port_taken_is_named_with_its_owner() {
        let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let phones = PhonePorts { vmc: Some(port), osc: Some(0), ..PhonePorts::NONE };
        let endpoint = Endpoint::start(EndpointConfig { port: 0, phones, ..EndpointConfig::default() }).unwrap();
        let report = endpoint.diagnose().unwrap();
        let line = report.listening.iter().find(|line| line.address.port() == port).unwrap();
        let problem = line.problem.as_deref().unwrap();
        assert_eq!(line.owner.as_ref().and_then(|owner| owner.pid), Some(std::process::id()));
        assert!(problem.contains("this very program") && problem.contains("`phones.vmc`"), "{problem}");
        assert_eq!(report.advice[0].severity, Severity::Error);
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn port_list_order_is_stable() {
        let phones = PhonePorts::free();
        let config =
            EndpointConfig { port: 0, phones, live_link_face: Some(0), udp_json: Some(0), ..EndpointConfig::default() };
        let endpoint = Endpoint::start(config).unwrap();
        let report = endpoint.diagnose().unwrap();
        assert_eq!(report.listening[0].address, endpoint.addresses().http);
        let ports: Vec<_> = report.listening[1..].iter().filter_map(|line| line.port).collect();
        assert_eq!(ports, PhonePort::ALL);
        assert!(report.settings.is_empty() && report.firewall.is_empty(), "bound to this machine alone");
        assert!(report.addresses.iter().all(|own| !own.address.is_loopback()));
    }

    #[test]
    fn doctor_survey_is_kept_and_renewed_on_the_runtime() {
        let endpoint = Endpoint::start(EndpointConfig { port: 0, ..EndpointConfig::default() }).unwrap();
        let (doctor, runtime) = (endpoint.doctor(), endpoint.runtime());
        let now = Instant::now();
        let first = doctor.survey(runtime, now);
        assert!(Arc::ptr_eq(&first, &doctor.survey(runtime, now + KEPT_FOR - Duration::from_millis(1))));
        let later = now + KEPT_FOR;
        assert!(Arc::ptr_eq(&first, &doctor.survey(runtime, later)), "the new one is not waited for");
        let end = Instant::now() + Duration::from_secs(20);
        while Arc::ptr_eq(&first, &doctor.survey(runtime, later)) {
            assert!(Instant::now() < end, "never renewed");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
