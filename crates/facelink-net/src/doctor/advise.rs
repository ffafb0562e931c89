//! From stats to advice. Nothing is looked up here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    addresses::{Medium, OwnAddress, is_public},
    clock::Clock,
    report::{Advice, Face, Listening, Setting, Severity},
};
use crate::{
    phones::{PhoneState, PhoneStatus, PortStats},
    seal::SealStats,
    stats::{ObsState, ObsStatus},
};
use facelink::{
    source::{PhonePort, SourceKind},
    timing::Disbelieved,
    wire::llf::Author,
};

/// A face below this rate jerks, frames a second.
const SLOW_RATE: f32 = 20.0;
/// Frames before a rate is believed.
const SETTLED: u64 = 60;
/// More than this share lost is seen.
const LOSSY: f32 = 0.05;
/// Charge below which a phone is about to switch itself off.
const LOW_BATTERY: f32 = 0.15;
/// Thermal state from which phones slow down: "serious".
const HOT: i32 = 2;
/// A clock that was set by more than this, milliseconds, spoils latencies for a while.
const MOVED_MS: f64 = 1000.0;

/// All inputs of the advice.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    pub bind: IpAddr,
    pub https: bool,
    pub token: bool,
    pub listening: &'a [Listening],
    pub ports: &'a [PortStats],
    pub faces: &'a [Face],
    pub phones: &'a [PhoneStatus],
    pub addresses: &'a [OwnAddress],
    pub clock: &'a Clock,
    pub sealed: &'a SealStats,
    pub obs: Option<&'a ObsStatus>,
}

/// Advice, the worst first; what is equally bad, in the order of the report.
pub(super) fn advise(inputs: &Inputs<'_>) -> Vec<Advice> {
    let mut advice = Advices::default();
    advice.on_ports(inputs);
    advice.on_addresses(inputs);
    advice.on_arrivals(inputs);
    advice.on_faces(inputs);
    advice.on_phones(inputs);
    advice.on_clock(inputs);
    advice.on_sealed(inputs.sealed);
    advice.on_obs(inputs.obs);
    if inputs.faces.is_empty() {
        advice.on_silence(inputs);
    }
    let mut advice = advice.0;
    advice.sort_by_key(|advice| std::cmp::Reverse(advice.severity));
    advice
}

#[derive(Default)]
struct Advices(Vec<Advice>);

impl Advices {
    fn say(&mut self, severity: Severity, text: String) {
        self.0.push(Advice { severity, text });
    }

    fn on_ports(&mut self, inputs: &Inputs<'_>) {
        for port in inputs.listening {
            if let Some(problem) = &port.problem {
                let (purpose, address) = (&port.purpose, port.address);
                self.say(Severity::Error, format!("{purpose} cannot arrive: port {} is {problem}", address.port()));
            }
        }
        let open = |listening: &&Listening| listening.port.is_some() && listening.problem.is_none();
        if !inputs.listening.iter().any(|port| open(&port)) {
            let text = "no port for a phone app is open: only pages and programs that connect can send a face \
                        (in a game: .with_phones())";
            self.say(Severity::Hint, text.to_owned());
        }
    }

    fn on_addresses(&mut self, inputs: &Inputs<'_>) {
        if inputs.bind.is_loopback() {
            let text = "it listens on this machine alone: a phone cannot reach it. Start it with --lan (in a game: \
                        .lan(token))";
            return self.say(Severity::Warning, text.to_owned());
        }
        let Some(first) = inputs.addresses.first() else {
            let text = format!("{} is no address of this machine any more: start anew", inputs.bind);
            let text = if inputs.bind.is_unspecified() { "this machine is on no network".to_owned() } else { text };
            return self.say(Severity::Error, text);
        };
        if first.address.is_ipv6() {
            let text = format!(
                "this network has no IPv4: pages and apps that take an IPv6 address reach {}, others do not",
                first.address
            );
            self.say(Severity::Hint, text);
        } else if !first.likely {
            let (address, note) = (first.address, first.note.as_deref().unwrap_or_default());
            let text = format!(
                "this machine has no address on a local network, only {address} ({note}): connect it to the phone's Wi-Fi"
            );
            self.say(Severity::Error, text);
        }
        if let Some(vpn) = inputs.addresses.iter().find(|own| own.default_route && own.medium == Some(Medium::Vpn)) {
            let text = format!(
                "a VPN ({}) takes this machine's traffic; some keep the local network out: allow local access in it, or \
                 switch it off",
                vpn.interface
            );
            self.say(Severity::Hint, text);
        }
        if let Some(public) = inputs.addresses.iter().find(|own| own.likely && is_public(own.address)) {
            let text = format!(
                "{} is a public address, and the phone apps' ports know no token: any host on the Internet can send a face, \
                 unless a firewall keeps them out",
                public.address
            );
            self.say(Severity::Warning, text);
        }
        if !inputs.https {
            let text = "no HTTPS: browsers on phones let no page use their camera";
            self.say(Severity::Hint, text.to_owned());
        }
        if inputs.token {
            let text = "pages and programs of other machines need the pairing token; phone apps do not";
            self.say(Severity::Ok, text.to_owned());
        }
    }

    fn on_arrivals(&mut self, inputs: &Inputs<'_>) {
        // Apps by the phone that they come from.
        let mut apps: BTreeMap<IpAddr, Vec<SourceKind>> = BTreeMap::new();
        // Senders of one app at one address, which are told apart by their ports.
        let mut same: BTreeMap<(IpAddr, &str), usize> = BTreeMap::new();
        for port in inputs.ports {
            let number = port.address.port();
            for sender in &port.senders {
                let from = sender.address.ip();
                match (sender.app, &sender.error) {
                    (None, Some(error)) if sender.first_bytes.is_none() => {
                        let title = port.port.title();
                        self.say(Severity::Warning, format!("what {from} sends to port {number} ({title}) is {error}"));
                    }
                    (None, _) => {
                        let bytes = sender.first_bytes.as_deref().unwrap_or("none");
                        let text = format!(
                            "what {from} sends to port {number} ({}) is of no app that is known; it begins {bytes}",
                            port.port.title()
                        );
                        self.say(Severity::Warning, text);
                    }
                    (Some(app), Some(error)) => {
                        let (app, place) = (app.title(), place_of(app, port.port, number, inputs.ports));
                        self.say(Severity::Warning, format!("{app} from {from} is refused at {place}: {error}"));
                    }
                    (Some(app), None) => {
                        if !port.port.expects(app) {
                            let (title, place) = (app.title(), place_of(app, port.port, number, inputs.ports));
                            self.say(Severity::Hint, format!("{title} arrives from {from} at {place}; that works"));
                        }
                        if !from.is_loopback() && sender.address.port() != 0 {
                            *same.entry((from, app.title())).or_default() += 1;
                        }
                        let known = apps.entry(from).or_default();
                        if !known.contains(&app) {
                            known.push(app);
                        }
                    }
                }
            }
            if port.flooded > 0 {
                let text = format!(
                    "{} datagrams to port {number} were dropped unread: a sender exceeds the rate limit",
                    port.flooded
                );
                self.say(Severity::Warning, text);
            }
        }
        for ((from, app), senders) in same.into_iter().filter(|(_, senders)| *senders > 1) {
            let text = format!(
                "{senders} senders of {app} at {from}: a hotspot or a router in between lends them its address. They are told \
                 apart by their ports, and which is which may change when they start again"
            );
            self.say(Severity::Hint, text);
        }
        for (from, apps) in apps {
            // The same machine may well play several.
            if apps.len() > 1 && !from.is_loopback() {
                let apps = apps.iter().map(|app| app.title()).collect::<Vec<_>>().join(" and ");
                self.say(Severity::Hint, format!("{from} sends by {apps}: each is a face of its own"));
            }
        }
    }

    fn on_faces(&mut self, inputs: &Inputs<'_>) {
        for face in inputs.faces {
            let (name, app) = (&face.name, face.app.title());
            if !face.enabled {
                let text = format!(
                    "\"{name}\" arrives by {app} and is disabled: nothing of it is shown. Enable it in the panel, or by OSC: \
                     /facelink/enable \"{name}\" 1"
                );
                self.say(Severity::Warning, text);
                continue;
            }
            if !face.tracked && face.age_ms > 1000.0 {
                self.say(Severity::Warning, format!("\"{name}\" ({app}) has fallen silent"));
            } else if !face.tracked {
                let text = format!("\"{name}\" ({app}) arrives, and sees no face: look at the phone, mind the light");
                self.say(Severity::Warning, text);
            } else if face.fps > 0.0
                && face.fps < SLOW_RATE
                && face.fps < face.target_fps - 1.0
                && face.frames > SETTLED
            {
                let text = format!(
                    "\"{name}\" ({app}) arrives at {:.0} frames a second alone: a weak Wi-Fi, or a phone that is hot",
                    face.fps
                );
                self.say(Severity::Warning, text);
            } else {
                self.say(Severity::Ok, format!("\"{name}\" arrives by {app}, {:.0} frames a second", face.fps));
            }
            if let Some(loss) = face.loss.filter(|loss| *loss > LOSSY) {
                let text = format!(
                    "{:.0} % of the frames of \"{name}\" are lost in the network: come closer to the access point, or use 5 GHz",
                    100.0 * loss
                );
                self.say(Severity::Warning, text);
            }
            match face.disbelieved {
                Some(Disbelieved::Numbers) => {
                    let text = format!(
                        "the frame numbers of \"{name}\" do not follow its frames: they repeat, wander or step back. It is \
                         shown as it arrives; its loss cannot be counted"
                    );
                    self.say(Severity::Hint, text);
                }
                Some(Disbelieved::Pace) => {
                    let text = format!(
                        "the clock of \"{name}\" does not run with time: its program counts frames at another rate than it \
                         states. It is shown as it arrives"
                    );
                    self.say(Severity::Hint, text);
                }
                None => {}
            }
            match face.author {
                Author::Imitation => {
                    let text = format!(
                        "\"{name}\" is sent by a program that imitates {app}: its mouthLeft and mouthRight are taken as they \
                         are named, not exchanged as the app's are. If they are the wrong way round, switch \"swap mouth\" on \
                         for this face alone in the panel (in a game: set_subject_profile)"
                    );
                    self.say(Severity::Hint, text);
                }
                Author::Unclear => {
                    let text = format!(
                        "\"{name}\" may be sent by a program that imitates {app}: its sub-frame never changes. If its \
                         mouthLeft and mouthRight are the wrong way round, switch \"swap mouth\" off for this face alone in \
                         the panel (facelink listen --no-mouth-swap; in a game: set_subject_profile)"
                    );
                    self.say(Severity::Hint, text);
                }
                _ => {}
            }
            if face.app == SourceKind::LiveLinkFace && face.author != Author::Imitation && face.tracked && !face.head {
                let text = format!(
                    "\"{name}\" has no head: switch Settings > Streaming > Stream Head Rotation on in Live Link Face"
                );
                self.say(Severity::Hint, text);
            }
        }
        let phones = inputs.faces.iter().filter(|face| SourceKind::PHONES.contains(&face.app)).count();
        if phones > 1 {
            self.say(Severity::Ok, format!("{phones} phones send, each is a face of its own"));
        }
    }

    fn on_phones(&mut self, inputs: &Inputs<'_>) {
        let open = |wanted: PhonePort| inputs.ports.iter().any(|port| port.port == wanted);
        for phone in inputs.phones {
            let address = phone.call.address;
            let app = phone.call.app.map_or("the phone", SourceKind::title);
            match &phone.state {
                PhoneState::Refused(reason) => {
                    self.say(Severity::Error, format!("{app} at {address} refuses: {reason}"));
                }
                PhoneState::Calling if phone.heard_ms.is_none() => {
                    let needed = phone.call.app.and_then(|app| app.app()?.called_from).filter(|port| !open(*port));
                    let text = match needed {
                        Some(port) => format!(
                            "{app} at {address} is called in vain: its port is not open here, set `{}`",
                            port.setting()
                        ),
                        None => format!(
                            "{app} at {address} does not answer: is the app open, in the foreground, and on this network? \
                             iOS: Settings > Privacy & Security > Local Network has to be on for it"
                        ),
                    };
                    self.say(Severity::Warning, text);
                }
                PhoneState::Calling => {
                    self.say(Severity::Warning, format!("{app} at {address} answers no longer; it is called again"));
                }
                _ => {}
            }
            if let Some(battery) = phone.battery.filter(|battery| (0.0..LOW_BATTERY).contains(battery)) {
                self.say(Severity::Warning, format!("the battery of {address} is at {:.0} %", 100.0 * battery));
            }
            if phone.thermal.is_some_and(|thermal| thermal >= HOT) {
                self.say(
                    Severity::Warning,
                    format!("{address} is hot and will send less: let it cool, out of its case"),
                );
            }
        }
    }

    fn on_clock(&mut self, inputs: &Inputs<'_>) {
        let clock = inputs.clock;
        if clock.wrong {
            let text = format!("this machine's clock shows {}: certificates do not hold, nor do latencies", clock.time);
            self.say(Severity::Error, text);
        }
        if clock.moved_ms.abs() > MOVED_MS {
            let seconds = clock.moved_ms / 1000.0;
            let text = format!("this machine's clock was moved by {seconds:+.0} s since the start, or it slept");
            self.say(Severity::Hint, text);
        }
        if clock.synchronised == Some(false) {
            self.say(Severity::Hint, format!("this machine's clock is not set: {}", clock.note));
        }
        for sender in clock.senders.iter().filter(|sender| sender.differs) {
            let text =
                format!("\"{}\": {}; its latency is unknown, its face is not affected", sender.face, sender.note);
            self.say(Severity::Hint, text);
        }
    }

    fn on_obs(&mut self, obs: Option<&ObsStatus>) {
        let Some(obs) = obs else { return };
        let what = match (obs.state, &obs.error) {
            (ObsState::Connected, None) => {
                let version = obs.version.as_deref().unwrap_or("?");
                let does = if obs.recording { "records" } else { "records when a take is recorded" };
                return self
                    .say(Severity::Ok, format!("OBS at {} answers (obs-websocket {version}), and {does}", obs.url));
            }
            (ObsState::Connected, Some(error)) => {
                return self.say(Severity::Warning, format!("OBS at {}: {error}", obs.url));
            }
            (ObsState::Refused, error) => format!(
                "{}: see Tools > WebSocket Server Settings > Show Connect Info in OBS",
                error.as_deref().unwrap_or("OBS refuses")
            ),
            (_, error) => format!(
                "not connected ({}): is OBS 28 or later running there, with Tools > WebSocket Server Settings > Enable WebSocket server on?",
                error.as_deref().unwrap_or("no answer yet")
            ),
        };
        self.say(Severity::Warning, format!("OBS at {}: {what}", obs.url));
    }

    fn on_sealed(&mut self, sealed: &SealStats) {
        if sealed.no_key > 0 {
            self.say(
                Severity::Warning,
                format!(
                    "{} packets of end-to-end encrypted faces arrived, and there is no key here: listen with the key of their \
                     senders (--key), or have them send without one",
                    sealed.no_key
                ),
            );
        }
        let own = sealed.key.as_deref().unwrap_or("none");
        if sealed.other_key > 0 {
            self.say(
                Severity::Warning,
                format!(
                    "{} packets were encrypted with another key than {own}: compare the fingerprints, and send the new \
                     invitation to who has an old one",
                    sealed.other_key
                ),
            );
        }
        if sealed.not_sealed > 0 {
            self.say(
                Severity::Warning,
                format!(
                    "{} faces came unencrypted from peers that have to encrypt, and were refused",
                    sealed.not_sealed
                ),
            );
        }
    }

    /// No face is there: why not?
    fn on_silence(&mut self, inputs: &Inputs<'_>) {
        if inputs.bind.is_loopback() {
            return;
        }
        let arrives = |port: &PortStats| !port.senders.is_empty();
        if inputs.ports.iter().any(arrives) {
            return;
        }
        for text in [
            "nothing arrives yet. Live Link Face: its capture mode has to be Live Link (ARKit); in MetaHuman Animator mode \
             it sends nothing",
            "phone and computer have to be on the same network: a guest Wi-Fi, \"client isolation\" (\"AP isolation\") of the \
             access point, a VPN on either side or mobile data keep them apart",
            "iOS: Settings > Privacy & Security > Local Network has to be on for the app",
            "a firewall on this machine may drop what arrives: see there",
        ] {
            self.say(Severity::Hint, text.to_owned());
        }
    }
}

/// A port, and where an app's own one would be if this is not it.
fn place_of(app: SourceKind, port: PhonePort, number: u16, ports: &[PortStats]) -> String {
    if port.expects(app) {
        return format!("port {number}");
    }
    let own = ports.iter().find(|other| other.port.expects(app)).map(|own| own.address.port());
    let usual = PhonePort::ALL.into_iter().find(|own| own.app() == app).map(PhonePort::usual);
    let usually = |usual: Option<u16>| usual.map(|usual| format!(" (usually {usual})")).unwrap_or_default();
    let own = match (own, usual) {
        (Some(own), Some(usual)) if own == usual => format!(", and its own is {own}"),
        (Some(own), _) => format!(", and its own here is {own}{}", usually(usual)),
        (None, _) => format!(", and its own{} is not open", usually(usual)),
    };
    format!("port {number}, which is for {}{own}", port.title())
}

/// What to type into each app.
pub(super) fn settings(address: IpAddr, ports: &[PortStats], finds: bool) -> Vec<Setting> {
    let number = |wanted: PhonePort| ports.iter().find(|port| port.port == wanted).map(|port| port.address.port());
    let socket = |port| SocketAddr::new(address, port);
    let mut settings = Vec::new();
    let mut add = |app: &str, port: PhonePort, what: &dyn Fn(u16) -> String| {
        if let Some(port) = number(port) {
            settings.push(Setting { app: app.to_owned(), what: what(port) });
        }
    };
    // Its own port is built into an app that knows no other.
    let fixed = |port: PhonePort, number: u16| match number == port.usual() {
        true => String::new(),
        false => format!(" (it sends to port {} alone, and this is {number})", port.usual()),
    };
    let open = if finds { "open it, and it is found; or type " } else { "type " };
    add("Live Link Face", PhonePort::LiveLinkFace, &|port| {
        format!(
            "mode Live Link (ARKit); Settings > Live Link > Add Target: {address}, port {port}; Settings > Streaming > \
             Stream Head Rotation on"
        )
    });
    add("iFacialMocap", PhonePort::IFacialMocap, &|port| {
        format!("{open}{address} as the destination{}", fixed(PhonePort::IFacialMocap, port))
    });
    add("Facemotion3d", PhonePort::IFacialMocap, &|port| {
        format!(
            "{open}{address} as the destination; it needs the Other licence{}",
            fixed(PhonePort::IFacialMocap, port)
        )
    });
    add("Face Cap", PhonePort::FaceCap, &|port| format!("Live mode, OSC to {address}, port {port}"));
    add("VRCFaceTracking, EyeTrackVR, Babble", PhonePort::Trackers, &|port| format!("OSC to {address}, port {port}"));
    add("VTube Studio, MeowFace", PhonePort::VTubeStudio, &|_| {
        "3rd Party PC Clients on; then call it from here: --call and the address that it shows".to_owned()
    });
    add("Waidayo and other VMC senders", PhonePort::Vmc, &|port| format!("VMC protocol to {address}, port {port}"));
    add("JSON datagrams", PhonePort::UdpJson, &|port| format!("to {}", socket(port)));
    settings
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::{doctor::SenderClock, phone_config::PhoneCall, phones::SenderStats};

    fn listening(port: PhonePort, problem: Option<&str>) -> Listening {
        Listening {
            purpose: port.title().to_owned(),
            protocol: "UDP".to_owned(),
            address: SocketAddr::from(([0, 0, 0, 0], port.usual())),
            problem: problem.map(str::to_owned),
            port: Some(port),
            owner: None,
        }
    }

    fn sender(last: u8, app: Option<SourceKind>, error: Option<&str>) -> SenderStats {
        SenderStats {
            address: SocketAddr::from(([192, 168, 1, last], 50_000)),
            app,
            rate: 60.0,
            age_ms: 5.0,
            error: error.map(str::to_owned),
            first_bytes: app.is_none().then(|| "68 69 \"hi\"".to_owned()),
        }
    }

    fn stats(port: PhonePort, senders: Vec<SenderStats>) -> PortStats {
        let address = SocketAddr::from(([0, 0, 0, 0], port.usual()));
        PortStats { port, address, datagrams: 1, refused: 0, flooded: 0, senders }
    }

    fn face(name: &str, app: SourceKind) -> Face {
        Face {
            name: name.into(),
            app,
            address: Some(SocketAddr::from(([192, 168, 1, 30], 50_000))),
            enabled: true,
            tracked: true,
            head: true,
            fps: 60.0,
            target_fps: 60.0,
            frames: 1000,
            age_ms: 5.0,
            latency_ms: None,
            loss: Some(0.0),
            disbelieved: None,
            author: Author::App,
        }
    }

    fn wifi() -> OwnAddress {
        OwnAddress {
            address: [192, 168, 1, 20].into(),
            interface: "wlan0".to_owned(),
            medium: Some(Medium::WiFi),
            network: "192.168.1.0/24".to_owned(),
            default_route: true,
            likely: true,
            note: None,
        }
    }

    /// All inputs that a test may change.
    struct Scene {
        bind: IpAddr,
        https: bool,
        token: bool,
        listening: Vec<Listening>,
        ports: Vec<PortStats>,
        faces: Vec<Face>,
        phones: Vec<PhoneStatus>,
        addresses: Vec<OwnAddress>,
        clock: Clock,
        sealed: SealStats,
        obs: Option<ObsStatus>,
    }

    /// Nothing is wrong, and no sender is active.
    fn scene() -> Scene {
        let ports = [PhonePort::LiveLinkFace, PhonePort::IFacialMocap, PhonePort::VTubeStudio];
        Scene {
            bind: [0, 0, 0, 0].into(),
            https: true,
            token: false,
            listening: ports.map(|port| listening(port, None)).to_vec(),
            ports: ports.map(|port| stats(port, vec![])).to_vec(),
            faces: vec![],
            phones: vec![],
            addresses: vec![wifi()],
            clock: Clock::default(),
            sealed: SealStats::default(),
            obs: None,
        }
    }

    fn advice(scene: &Scene) -> Vec<(Severity, String)> {
        let Scene { bind, https, token, listening, ports, faces, phones, addresses, clock, sealed, obs } = scene;
        let obs = obs.as_ref();
        let (bind, https, token) = (*bind, *https, *token);
        let inputs = Inputs { bind, https, token, listening, ports, faces, phones, addresses, clock, sealed, obs };
        advise(&inputs).into_iter().map(|advice| (advice.severity, advice.text)).collect()
    }

    /// The one piece of advice with this in it.
    fn found(scene: &Scene, part: &str) -> (Severity, String) {
        let all = advice(scene);
        let mut matching = all.iter().filter(|(_, text)| text.contains(part));
        match (matching.next(), matching.next()) {
            (Some(one), None) => one.clone(),
            _ => panic!("not once: {part}: {all:#?}"),
        }
    }

    #[test]
    fn advice_app_on_the_wrong_port() {
        let mut scene = scene();
        scene.ports[1].senders = vec![sender(30, Some(SourceKind::LiveLinkFace), None)];
        scene.faces = vec![face("Ann", SourceKind::LiveLinkFace)];
        let (severity, text) = found(&scene, "49983");
        assert_eq!(severity, Severity::Hint);
        assert_eq!(
            text,
            "Live Link Face arrives from 192.168.1.30 at port 49983, which is for iFacialMocap, and its own is 11111; that \
             works"
        );
        scene.ports.remove(0);
        assert!(found(&scene, "49983").1.contains("its own (usually 11111) is not open"));
        // At home, or anywhere that it may be.
        for (app, place) in
            [(SourceKind::Facemotion3d, 0), (SourceKind::IFacialMocapV3, 0), (SourceKind::VTubeStudio, 0)]
        {
            scene.ports[place].senders = vec![sender(30, Some(app), None)];
            assert!(
                advice(&scene).iter().all(|(severity, _)| *severity == Severity::Ok),
                "{app}: {:?}",
                advice(&scene)
            );
        }
    }

    #[test]
    fn advice_refusal_names_sender_and_reason() {
        let mut scene = scene();
        scene.ports[0].senders = vec![sender(30, None, Some("version 104"))];
        let (severity, text) = found(&scene, "192.168.1.30");
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains("port 11111 (Live Link Face) is of no app") && text.ends_with("68 69 \"hi\""), "{text}");
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("nothing arrives")), "something does");

        scene.ports[0].senders = vec![sender(30, Some(SourceKind::LiveLinkFace), Some("field `curves`: 12"))];
        assert_eq!(
            found(&scene, "refused").1,
            "Live Link Face from 192.168.1.30 is refused at port 11111: field `curves`: 12"
        );
        scene.ports[0].flooded = 7;
        assert!(found(&scene, "dropped unread").1.starts_with("7 datagrams"));
    }

    #[test]
    fn advice_silent_port_lists_reasons() {
        let mut scene = scene();
        for part in ["MetaHuman Animator", "client isolation", "Local Network", "firewall"] {
            assert_eq!(found(&scene, part).0, Severity::Hint);
        }
        scene.faces = vec![face("page", SourceKind::WebRtc)];
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("MetaHuman")), "a face is there");
        scene.faces.clear();
        scene.bind = [127, 0, 0, 1].into();
        assert_eq!(found(&scene, "--lan").0, Severity::Warning);
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("MetaHuman")), "first things first");
    }

    #[test]
    fn advice_network_of_this_machine() {
        let mut scene = scene();
        scene.addresses.clear();
        assert_eq!(found(&scene, "on no network").0, Severity::Error);
        let vpn = OwnAddress {
            address: [10, 8, 0, 2].into(),
            interface: "tun0".to_owned(),
            medium: Some(Medium::Vpn),
            likely: false,
            note: Some("VPN".to_owned()),
            ..wifi()
        };
        scene.addresses = vec![vpn.clone()];
        assert_eq!(found(&scene, "no address on a local network").0, Severity::Error);
        scene.addresses = vec![OwnAddress { default_route: false, ..wifi() }, vpn];
        assert!(found(&scene, "a VPN (tun0)").1.contains("allow local access"));
        scene.addresses = vec![OwnAddress { address: [93, 184, 215, 14].into(), ..wifi() }];
        assert_eq!(found(&scene, "93.184.215.14").0, Severity::Warning);
        (scene.https, scene.token) = (false, true);
        assert_eq!(found(&scene, "no HTTPS").0, Severity::Hint);
        assert_eq!(found(&scene, "pairing token").0, Severity::Ok);
    }

    #[test]
    fn advice_closed_port_comes_first() {
        let mut scene = scene();
        scene.listening[1] = listening(PhonePort::IFacialMocap, Some("held by `game` (process 7)"));
        scene.ports.remove(1);
        let all = advice(&scene);
        let wanted = "iFacialMocap cannot arrive: port 49983 is held by `game` (process 7)";
        assert_eq!(all[0], (Severity::Error, wanted.to_owned()));
        assert!(all.is_sorted_by_key(|(severity, _)| std::cmp::Reverse(*severity)));
        scene.listening.clear();
        assert!(found(&scene, "with_phones").1.starts_with("no port for a phone app"));
    }

    #[test]
    fn advice_disabled_face() {
        let mut scene = scene();
        scene.faces = vec![Face { enabled: false, tracked: false, ..face("Ann", SourceKind::LiveLinkFace) }];
        let (severity, text) = found(&scene, "Ann");
        assert!(severity == Severity::Warning && text.contains("is disabled"), "{text}");
    }

    #[test]
    fn advice_lost_or_unsteady_faces() {
        let mut scene = scene();
        scene.faces = vec![face("Ann", SourceKind::LiveLinkFace)];
        assert_eq!(
            advice(&scene),
            [(Severity::Ok, "\"Ann\" arrives by Live Link Face, 60 frames a second".to_owned())]
        );
        let mut with = |change: &dyn Fn(&mut Face), part: &str| {
            let mut ann = face("Ann", SourceKind::LiveLinkFace);
            change(&mut ann);
            scene.faces = vec![ann];
            found(&scene, part).0
        };
        assert_eq!(with(&|face| face.tracked = false, "sees no face"), Severity::Warning);
        assert_eq!(with(&|face| (face.tracked, face.age_ms) = (false, 2000.0), "fallen silent"), Severity::Warning);
        assert_eq!(with(&|face| face.fps = 12.0, "12 frames a second alone"), Severity::Warning);
        assert_eq!(with(&|face| (face.fps, face.target_fps) = (15.0, 15.0), "15 frames a second"), Severity::Ok);
        assert_eq!(with(&|face| face.loss = Some(0.2), "20 %"), Severity::Warning);
        assert_eq!(with(&|face| face.head = false, "Stream Head Rotation"), Severity::Hint);
        scene.faces = vec![face("Ann", SourceKind::LiveLinkFace), face("Bob", SourceKind::Vmc)];
        assert_eq!(found(&scene, "2 phones").0, Severity::Ok);
    }

    #[test]
    fn advice_two_apps_on_one_phone() {
        let mut scene = scene();
        scene.ports[0].senders = vec![sender(30, Some(SourceKind::LiveLinkFace), None)];
        scene.ports[1].senders = vec![sender(30, Some(SourceKind::IFacialMocap), None)];
        assert!(found(&scene, "a face of its own").1.contains("Live Link Face and iFacialMocap"));
        scene.ports[1].senders = vec![sender(31, Some(SourceKind::IFacialMocap), None)];
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("a face of its own")));
    }

    #[test]
    fn advice_called_phones() {
        let calls = [PhoneCall::app([192, 168, 1, 30].into(), SourceKind::VTubeStudio)];
        let roster = crate::phones::Roster::new(&calls, None, |_| true);
        let mut scene = scene();
        let now = Instant::now();
        scene.phones = roster.status(now);
        assert!(found(&scene, "does not answer").1.starts_with("VTube Studio at 192.168.1.30"));
        scene.ports.pop();
        assert!(found(&scene, "in vain").1.contains("`phones.vtube_studio`"));
        roster.note(calls[0].address, |phone| {
            phone.state = PhoneState::Refused("BUSY".to_owned());
            (phone.battery, phone.thermal) = (Some(0.07), Some(3));
        });
        scene.phones = roster.status(now);
        assert_eq!(found(&scene, "refuses: BUSY").0, Severity::Error);
        assert_eq!(found(&scene, "7 %").0, Severity::Warning);
        assert_eq!(found(&scene, "is hot").0, Severity::Warning);
    }

    #[test]
    fn advice_clock_difference() {
        let mut scene = scene();
        scene.clock.senders = vec![
            SenderClock::new("Ann".into(), SourceKind::VTubeStudio, -3200.0),
            SenderClock::new("Bob".into(), SourceKind::VTubeStudio, 20.0),
        ];
        assert!(found(&scene, "3200 ms ahead").1.starts_with("\"Ann\""));
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("Bob")));
        (scene.clock.wrong, scene.clock.moved_ms, scene.clock.synchronised) = (true, -5000.0, Some(false));
        assert_eq!(found(&scene, "certificates").0, Severity::Error);
        assert!(found(&scene, "was moved").1.contains("-5 s"));
        assert_eq!(found(&scene, "is not set").0, Severity::Hint);
    }

    #[test]
    fn advice_sealed_faces_that_are_refused() {
        let mut scene = scene();
        assert!(!advice(&scene).iter().any(|(_, text)| text.contains("encrypt")));
        scene.sealed.no_key = 7;
        assert_eq!(found(&scene, "there is no key here").0, Severity::Warning);
        scene.sealed =
            SealStats { key: Some("1a2b3c4d".to_owned()), other_key: 3, not_sealed: 2, ..SealStats::default() };
        assert!(found(&scene, "another key than 1a2b3c4d").1.starts_with("3 packets"));
        assert!(found(&scene, "came unencrypted").1.starts_with("2 faces"));
    }

    #[test]
    fn advice_every_open_port_names_its_app() {
        let address = [192, 168, 1, 20].into();
        let ports: Vec<_> = PhonePort::ALL.map(|port| stats(port, vec![])).into();
        let all = settings(address, &ports, true);
        assert_eq!(all.len(), 8);
        assert!(all[0].what.contains("192.168.1.20, port 11111") && all[0].app == "Live Link Face");
        assert!(all[1].what.starts_with("open it"), "{}", all[1].what);
        let mut moved = stats(PhonePort::IFacialMocap, vec![]);
        moved.address.set_port(50_000);
        let all = settings(address, &[moved], false);
        assert_eq!(all.len(), 2);
        assert_eq!(
            all[0].what,
            "type 192.168.1.20 as the destination (it sends to port 49983 alone, and this is 50000)"
        );
    }

    #[test]
    fn advice_obs_by_what_it_does() {
        let mut scene = scene();
        let status = ObsStatus { url: "ws://192.0.2.5:4455".to_owned(), ..ObsStatus::default() };
        let cases = [
            (ObsState::Connected, None, Severity::Ok, "records when a take is recorded"),
            (ObsState::Connected, Some("OBS does not record: code 207"), Severity::Warning, "code 207"),
            (ObsState::Refused, Some("OBS refuses the password"), Severity::Warning, "Show Connect Info"),
            (ObsState::Connecting, Some("Connection refused"), Severity::Warning, "Enable WebSocket server"),
        ];
        for (state, error, severity, words) in cases {
            scene.obs = Some(ObsStatus { state, error: error.map(str::to_owned), ..status.clone() });
            let advice = advice(&scene);
            let line = advice.iter().find(|(_, text)| text.starts_with("OBS at ws://192.0.2.5:4455"));
            assert!(line.is_some_and(|(bad, text)| *bad == severity && text.contains(words)), "{advice:?}");
        }
    }
}
