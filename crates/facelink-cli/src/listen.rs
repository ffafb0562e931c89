//! `facelink listen`: the receivers of the plugin, without Bevy.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, after, never, select_biased, tick};
use facelink::{frame::WeightsByName, gesture::GestureSet, mapping::Format};
use facelink_net::{
    CertificateAuthority, Endpoint, EndpointConfig, EndpointStats, KeyError, LIVE_LINK_FACE_PORT, LinkEvent, ObsState,
    ObsStatus, PhonePort, RoomKey, SourceKind, SourceProfile, SubjectFrame, SubjectId, TakeOptions, TakeRecordError,
    TakeStatus, UDP_JSON_PORT, new_room_key,
};
use serde::Serialize;

use crate::{
    endpoint::{EndpointArgs, here, introduce_http},
    error::Error,
    event_line::{EventLine, write_line},
    output::Output,
    phones::PhoneArgs,
    session::Session,
    stop::stop_signal,
    table::{Table, printable, take_name},
    timecode::TimecodeArgs,
};

/// How long a take that is recorded at once waits for OBS, and for timecode.
const BEGIN_LIMIT: Duration = Duration::from_secs(3);

/// Receive faces and show them: a live table in a terminal, or one JSON object a line.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    endpoint: EndpointArgs,
    /// Begin with the set-up of this file, a session's `*.facelink.ron`: its network and its simulated phones. What is given here
    /// goes before it.
    #[arg(long, value_name = "FILE")]
    session: Option<PathBuf>,
    /// Key for faces that are encrypted end to end, or `new` for a fresh one: what is sealed with it is shown, and nothing leaves
    /// in the clear. It is part of the address for others.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<RoomKey>,
    /// Port of the Live Link Face app, 11111 by default, or `off`.
    #[arg(long, value_name = "PORT")]
    live_link_face: Option<UdpPort>,
    /// Port of JSON datagrams, 5005 by default, or `off`.
    #[arg(long, value_name = "PORT")]
    udp_json: Option<UdpPort>,
    /// Take mouthLeft and mouthRight from Live Link Face as they arrive, instead of exchanging them.
    #[arg(long)]
    no_mouth_swap: bool,
    /// Have Live Link Face on phones that are called (--call) record too while a take is recorded, under the same slate and number.
    #[arg(long)]
    pub with_phone: bool,
    /// Let other machines control this by OSC, which has no token: takes, calibration, emotions, cuts. This machine always may.
    #[arg(long)]
    osc_control: bool,
    /// Recognise gestures: winks, a kiss, the tongue out, surprise, a smile, nods, shakes of the head; with a file (RON, or JSON), those of
    /// its rules too.
    #[arg(long, value_name = "FILE", num_args = 0..=1, value_parser = gestures)]
    gestures: Option<Option<GestureSet>>,
    /// Write one JSON object a line, for other programs.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    timecode: TimecodeArgs,
    #[command(flatten)]
    phones: PhoneArgs,
}

/// A port that can be done without.
#[derive(Clone, Copy, Debug)]
struct UdpPort(Option<u16>);

impl FromStr for UdpPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self(None)),
            _ => text.parse().map(|port| Self(Some(port))).map_err(|_| "expected a port from 0 to 65535, or `off`"),
        }
    }
}

impl fmt::Display for UdpPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => port.fmt(f),
            None => f.write_str("off"),
        }
    }
}

/// A room's key, or a fresh one.
fn key(text: &str) -> Result<RoomKey, String> {
    match text {
        "new" => new_room_key().map_err(|error| error.to_string()),
        _ => text.parse().map_err(|error: KeyError| format!("{error}; `new` makes one")),
    }
}

/// A file of rules.
fn gestures(path: &str) -> Result<GestureSet, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    GestureSet::read(&text, Format::of_path(path)).map_err(|error| error.to_string())
}

/// One line of `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Listening {
        http: SocketAddr,
        live_link_face: Option<SocketAddr>,
        udp_json: Option<SocketAddr>,
        /// Every port for phones that could be had.
        phones: BTreeMap<PhonePort, SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<&'a str>,
        /// The page's address for others, with the token.
        invitation: &'a str,
        /// SHA-256 of the certificate, where HTTPS is spoken.
        #[serde(skip_serializing_if = "Option::is_none")]
        fingerprint: Option<&'a str>,
        /// Name of the authority that vouches for it, where that is this machine's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        authority: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unavailable: Vec<&'a str>,
        /// Fingerprint of the key for sealed faces.
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Recording {
        file: &'a str,
        slate: &'a str,
        take: u32,
    },
    Recorded {
        file: &'a str,
        seconds: f64,
        frames: u64,
        dropped: u64,
        bytes: u64,
    },
    /// When something of it has changed.
    Obs(&'a ObsStatus),
    Frame {
        subject: &'a str,
        source: SourceKind,
        tracked: bool,
        frame: u64,
        /// Seconds, on the source's clock or by the timecode.
        #[serde(rename = "captureTime", skip_serializing_if = "Option::is_none")]
        capture_time: Option<f64>,
        blendshapes: WeightsByName<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        head: Option<Head>,
        #[serde(skip_serializing_if = "Option::is_none")]
        gaze: Option<Gaze>,
    },
}

#[derive(Serialize)]
struct Head {
    rotation: [f32; 4],
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<[f32; 3]>,
}

/// Yaw and pitch of each eye, radians.
#[derive(Serialize)]
struct Gaze {
    left: [f32; 2],
    right: [f32; 2],
}

/// Where events and frames are shown.
trait Show {
    fn event(&mut self, event: &LinkEvent) -> Result<(), Error>;
    fn frame(&mut self, frame: &SubjectFrame) -> Result<(), Error>;
    fn tick(&mut self, stats: &EndpointStats) -> Result<(), Error>;
    /// What OBS does has changed.
    fn obs(&mut self, obs: &ObsStatus) -> Result<(), Error>;
    /// A take is in its file.
    fn recorded(&mut self, take: &TakeStatus) -> Result<(), Error> {
        println!("{}", take_in_words(take));
        Ok(())
    }
}

fn take_in_words(take: &TakeStatus) -> String {
    let dropped = if take.dropped > 0 { format!(", {} not recorded", take.dropped) } else { String::new() };
    format!("Recorded {:.1} s with {} frames{dropped} to {}", take.seconds, take.frames, take.file)
}

fn obs_in_words(obs: &ObsStatus) -> String {
    let does = match (obs.state, obs.recording, &obs.error) {
        (_, _, Some(error)) => error.clone(),
        (ObsState::Connected, true, None) => match &obs.file {
            Some(file) => format!("records to {file}"),
            None => "records".to_owned(),
        },
        (ObsState::Connected, false, None) => match &obs.file {
            Some(file) => format!("recorded {file}"),
            None => "is connected".to_owned(),
        },
        _ => "is being connected".to_owned(),
    };
    format!("OBS at {}: {}", printable(&obs.url), printable(&does))
}

/// Waits until OBS answers, so that it begins with a take, but not for one that does not.
fn wait_for_obs(endpoint: &Endpoint) {
    let is_asked = endpoint.config().obs.is_some();
    wait_until(|| match endpoint.stats().obs {
        Some(obs) => obs.state != ObsState::Connecting || obs.failures > 0,
        None => !is_asked,
    });
}

/// Waits for what a take that is recorded at once begins with, but not for ever.
fn wait_until(is_there: impl Fn() -> bool) {
    let end = Instant::now() + BEGIN_LIMIT;
    while !is_there() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A take that is recorded while faces are shown.
pub struct Recording {
    pub options: TakeOptions,
    /// Until it is this long.
    pub seconds: Option<Duration>,
}

pub fn run(args: Args) -> Result<(), Error> {
    receive(args, None)
}

/// Receives faces and shows them, and records them if that is wanted.
pub fn receive(args: Args, recording: Option<Recording>) -> Result<(), Error> {
    let stop = stop_signal()?;
    let session = args.session.as_deref().map(Session::read).transpose()?;
    let mut settings = EndpointConfig {
        live_link_face: Some(LIVE_LINK_FACE_PORT),
        udp_json: Some(UDP_JSON_PORT),
        ..EndpointConfig::default()
    };
    if let Some(session) = &session {
        settings = session.apply(settings)?;
    }
    let mut profiles = settings.profiles.clone();
    if args.no_mouth_swap {
        let profile = SourceProfile { swap_mouth_left_right: false, ..profiles.get(SourceKind::LiveLinkFace) };
        profiles.set(SourceKind::LiveLinkFace, profile);
    }
    let lan = args.endpoint.lan;
    let settings = args.endpoint.apply(settings)?;
    let config = EndpointConfig {
        live_link_face: args.live_link_face.map_or(settings.live_link_face, |port| port.0),
        udp_json: args.udp_json.map_or(settings.udp_json, |port| port.0),
        profiles,
        key: args.key.or_else(|| settings.key.clone()),
        takes_with_phones: args.with_phone || settings.takes_with_phones,
        osc_control: args.osc_control || settings.osc_control,
        gestures: args.gestures.map(Option::unwrap_or_default).or(settings.gestures),
        ..settings
    };
    let Some(config) = args.phones.apply(lan, config)? else { return Ok(()) };
    let endpoint = Endpoint::start(config)?;
    // Until this ends.
    let timecode = {
        let session = session.as_ref();
        let folder = session.map_or(Path::new(""), Session::folder);
        args.timecode.start(session.and_then(Session::timecode), folder, &endpoint)?
    };
    let _started = session.map(|session| session.start(&endpoint)).transpose()?;
    for port in endpoint.unavailable() {
        eprintln!("facelink: {}", port.message);
    }
    let mut out = Output::new(stop.clone()).map_err(Error::Output)?;
    let seconds = recording.as_ref().and_then(|recording| recording.seconds);
    let mut take = None;
    let begin = || -> Result<Option<TakeStatus>, Error> {
        if recording.is_some() {
            wait_for_obs(&endpoint);
            if timecode.is_some() {
                wait_until(|| endpoint.stats().timecode.is_some());
            }
        }
        let options = recording.map(|recording| recording.options);
        take = options.map(|options| endpoint.start_take(options)).transpose().map_err(plain)?;
        Ok(take.clone())
    };
    let mut show: Box<dyn Show> = if args.json {
        let mut json = Json { out, counts: HashMap::new() };
        json.listening(&endpoint, endpoint.token().as_deref())?;
        if let Some(take) = begin()? {
            json.line(&Line::Recording { file: &take.file, slate: &take.slate, take: take.take })?;
        }
        Box::new(json)
    } else {
        introduce(&endpoint, &mut out).map_err(Error::Output)?;
        if let Some(take) = begin()? {
            writeln!(out, "Recording {} to {}\n", take_name(&take.slate, take.take), take.file)
                .map_err(Error::Output)?;
        }
        if out.is_terminal() { Box::new(Live { table: Table::new() }) } else { Box::new(Plain { out }) }
    };
    let period = if !args.json && io::stdout().is_terminal() { 150 } else { 1000 };
    let end = seconds.map_or_else(never, after);
    let watched = watch(&endpoint, &stop, &end, Duration::from_millis(period), &mut *show);
    if take.is_some() {
        // The file is whole whatever became of the output.
        let take = endpoint.stop_take().map_err(plain)?;
        watched.and_then(|()| show.recorded(&take))
    } else {
        watched
    }
}

fn plain(error: TakeRecordError) -> Error {
    Error::Plain(error.to_string())
}

/// Shows what comes, until it is asked to stop, `end` has a message, or a recording has ended by itself.
fn watch(
    endpoint: &Endpoint,
    stop: &Receiver<()>,
    end: &Receiver<Instant>,
    period: Duration,
    show: &mut dyn Show,
) -> Result<(), Error> {
    let ticks = tick(period);
    let mut known = None;
    loop {
        // In this order: a subject appears before its first frame.
        select_biased! {
            recv(stop) -> _ => return Ok(()),
            recv(end) -> _ => return Ok(()),
            recv(ticks) -> _ => {
                let stats = endpoint.stats();
                show.tick(&stats)?;
                let mut obs = stats.obs;
                // It changes all the time.
                if let Some(obs) = &mut obs {
                    obs.rtt_ms = None;
                }
                if obs != known {
                    if let Some(obs) = &obs {
                        show.obs(obs)?;
                    }
                    known = obs;
                }
                if endpoint.take_status().is_some_and(|take| take.error.is_some()) {
                    return Ok(());
                }
            }
            recv(endpoint.events()) -> event => match event {
                Ok(event) => show.event(&event)?,
                Err(_) => return Ok(()),
            },
            recv(endpoint.frames()) -> frame => match frame {
                Ok(frame) => {
                    for event in endpoint.events().try_iter() {
                        show.event(&event)?;
                    }
                    // The list shows the newest face, not a late frame that fills a gap.
                    if !frame.late {
                        show.frame(&frame)?;
                    }
                }
                Err(_) => return Ok(()),
            },
        }
    }
}

/// `--json`.
struct Json<W> {
    out: W,
    /// Frames so far of the subjects whose senders do not number them.
    counts: HashMap<SubjectId, u64>,
}

impl<W: Write> Json<W> {
    fn line(&mut self, line: &Line<'_>) -> Result<(), Error> {
        write_line(&mut self.out, line)
    }

    fn listening(&mut self, endpoint: &Endpoint, token: Option<&str>) -> Result<(), Error> {
        let addresses = endpoint.addresses();
        self.line(&Line::Listening {
            http: addresses.http,
            live_link_face: addresses.live_link_face,
            udp_json: addresses.udp_json,
            phones: endpoint.phone_ports().into_iter().collect(),
            token,
            invitation: &endpoint.invitation(),
            fingerprint: endpoint.certificate_fingerprint(),
            authority: endpoint.certificate_authority().map(CertificateAuthority::name),
            unavailable: endpoint.unavailable().iter().map(|port| port.message.as_str()).collect(),
            key: endpoint.key().map(|key| key.fingerprint()),
        })
    }
}

impl<W: Write> Show for Json<W> {
    fn event(&mut self, event: &LinkEvent) -> Result<(), Error> {
        if let LinkEvent::SubjectLost { id, .. } = event {
            self.counts.remove(id);
        }
        EventLine::new(event).map_or(Ok(()), |line| write_line(&mut self.out, &line))
    }

    fn frame(&mut self, subject: &SubjectFrame) -> Result<(), Error> {
        let count = self.counts.entry(subject.id).or_insert(0);
        let number = subject.frame.sequence.unwrap_or(*count);
        *count += 1;
        self.line(&Line::Frame {
            subject: &subject.name,
            source: subject.source,
            tracked: subject.frame.tracked,
            frame: number,
            capture_time: subject.frame.capture_time.map(|time| time.as_secs_f64()),
            blendshapes: WeightsByName(&subject.frame),
            head: subject.frame.head.map(|head| Head { rotation: head.rotation, position: head.position }),
            gaze: subject
                .frame
                .gaze
                .map(|gaze| Gaze { left: [gaze.left.yaw, gaze.left.pitch], right: [gaze.right.yaw, gaze.right.pitch] }),
        })
    }

    fn tick(&mut self, _: &EndpointStats) -> Result<(), Error> {
        Ok(())
    }

    fn obs(&mut self, obs: &ObsStatus) -> Result<(), Error> {
        self.line(&Line::Obs(obs))
    }

    fn recorded(&mut self, take: &TakeStatus) -> Result<(), Error> {
        self.line(&Line::Recorded {
            file: &take.file,
            seconds: take.seconds,
            frames: take.frames,
            dropped: take.dropped,
            bytes: take.bytes,
        })
    }
}

/// The live table.
struct Live {
    table: Table,
}

impl Show for Live {
    fn event(&mut self, event: &LinkEvent) -> Result<(), Error> {
        if let Some(line) = in_words(event) {
            self.table.say(&line).map_err(Error::Output)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &SubjectFrame) -> Result<(), Error> {
        self.table.take(frame);
        Ok(())
    }

    fn tick(&mut self, stats: &EndpointStats) -> Result<(), Error> {
        self.table.draw(stats);
        Ok(())
    }

    fn obs(&mut self, obs: &ObsStatus) -> Result<(), Error> {
        self.table.say(&obs_in_words(obs)).map_err(Error::Output)
    }
}

/// The output to a pipe or a file without `--json`: events, and a line a second for each subject.
struct Plain<W> {
    out: W,
}

impl<W: Write> Show for Plain<W> {
    fn event(&mut self, event: &LinkEvent) -> Result<(), Error> {
        match in_words(event) {
            Some(line) => writeln!(self.out, "{line}").and_then(|()| self.out.flush()).map_err(Error::Output),
            None => Ok(()),
        }
    }

    fn recorded(&mut self, take: &TakeStatus) -> Result<(), Error> {
        writeln!(self.out, "{}", take_in_words(take)).and_then(|()| self.out.flush()).map_err(Error::Output)
    }

    fn frame(&mut self, _: &SubjectFrame) -> Result<(), Error> {
        Ok(())
    }

    fn obs(&mut self, obs: &ObsStatus) -> Result<(), Error> {
        writeln!(self.out, "{}", obs_in_words(obs)).and_then(|()| self.out.flush()).map_err(Error::Output)
    }

    fn tick(&mut self, stats: &EndpointStats) -> Result<(), Error> {
        for subject in &stats.subjects {
            let face = match (subject.enabled, subject.tracked) {
                (false, _) => "disabled",
                (true, true) => "tracked",
                (true, false) => "no face",
            };
            let name = printable(&subject.name);
            writeln!(self.out, "{name}: {}, {face}, {:.0} fps, {} frames", subject.source, subject.fps, subject.frames)
                .and_then(|()| self.out.flush())
                .map_err(Error::Output)?;
        }
        Ok(())
    }
}

/// `None` for events that only `--json` reports.
fn in_words(event: &LinkEvent) -> Option<String> {
    use LinkEvent::{Gesture, SubjectAppeared, SubjectLost};
    let told = matches!(event, SubjectAppeared { .. } | SubjectLost { .. } | Gesture { active: true, .. });
    told.then(|| printable(&event.to_string()))
}

/// Says where to connect to.
fn introduce(endpoint: &Endpoint, out: &mut Output) -> io::Result<()> {
    let outward = introduce_http(endpoint, out)?;
    if let Some(key) = endpoint.key() {
        writeln!(out, "  sealed, with the key       {}", key.fingerprint())?;
        if outward.is_none() || endpoint.token().is_none() {
            writeln!(out, "  for others                 {}", endpoint.invitation())?;
        }
    }
    for (port, address) in endpoint.phone_ports() {
        let what = match port {
            PhonePort::LiveLinkFace => "Live Link Face (iPhone)",
            PhonePort::UdpJson => "JSON over UDP",
            other => other.title(),
        };
        let ip = outward.unwrap_or(here(address).ip());
        writeln!(out, "{what:<28} {}", SocketAddr::new(ip, address.port()))?;
    }
    for phone in endpoint.phones() {
        let app = phone.call.app.map_or("any app", SourceKind::title);
        writeln!(out, "Calling                      {} ({app})", phone.call.address)?;
    }
    writeln!(out, "Ctrl-C ends.\n")?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use facelink::{Blendshape, FaceFrame};

    use super::*;

    fn frame(sequence: Option<u64>) -> SubjectFrame {
        let mut face = FaceFrame { sequence, ..FaceFrame::default() };
        face.set(Blendshape::JawOpen, 0.5);
        face.channels.push(facelink::Channel { name: "viseme_aa".into(), value: 0.25 });
        SubjectFrame {
            id: SubjectId(1),
            name: "Ann \"A\"\n".into(),
            source: SourceKind::LiveLinkFace,
            frame: face,
            speech: None,
            received: Instant::now(),
            stamp: None,
            late: false,
            repeated: false,
        }
    }

    fn lines(frames: &[SubjectFrame]) -> Vec<String> {
        let mut json = Json { out: Vec::new(), counts: HashMap::new() };
        for frame in frames {
            json.frame(frame).unwrap();
        }
        String::from_utf8(json.out).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn listen_json_frame_is_one_line() {
        let written = lines(&[frame(Some(7))]);
        assert_eq!(
            written,
            [concat!(
                r#"{"event":"frame","subject":"Ann \"A\"\n","source":"live_link_face","tracked":true,"frame":7,"#,
                r#""blendshapes":{"jawOpen":0.5,"viseme_aa":0.25}}"#
            )]
        );
    }

    #[test]
    fn listen_json_frame_without_number_is_counted() {
        let written = lines(&[frame(None), frame(None)]);
        assert!(written[0].contains(r#""frame":0"#) && written[1].contains(r#""frame":1"#));
    }
}
