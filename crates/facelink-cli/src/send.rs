//! `facelink send`: the synthetic performance, a take or the visemes of sound, over any of the wires, as any of the apps.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use facelink::{
    FaceFrame,
    event::Emotion,
    layers::{BlendRules, LiveSpeech},
    performer::Performance,
    simulate::SimulatorConfig,
    speech::{SpeechAnalyzer, SpeechFrame, VisemeChanges},
    take::{Take, llf_csv},
    wire::viseme::Viseme,
};
use facelink_net::{
    Client, ClientConfig, ClientState, DEFAULT_PORT, PhonePort, PhoneTransport, RoomKey, ServerTrust, SourceKind,
};
use facelink_net::{SimulateError, Simulator};
use tokio::runtime::{Builder, Runtime};

#[cfg(feature = "microphone")]
use crate::microphone::Microphone;
use crate::{
    address::resolve,
    audio::Sound,
    error::Error,
    ice::IceArgs,
    phones::{app_name, app_parser},
    speech::profile,
    stop::stop_signal,
};

/// Time within which a connection has to be established.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Time for the last frame to leave.
const LINGER: Duration = Duration::from_millis(100);
/// Between two checks for a caller.
const LOOK: Duration = Duration::from_millis(20);
const USUAL_FPS: f64 = 60.0;

/// Send a face: a synthetic one that talks, blinks and looks about, a take, or a mouth that moves by sound, over any wire and as
/// any app.
///
/// Without --as, it goes to a FaceLink endpoint by WebRTC and WebSocket. With --as, this machine plays the phone: the
/// app's own bytes, handshake and lost face.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Play this take, a CSV file of Live Link Face, at its own timing; resampled if --fps is given.
    #[arg(long, value_name = "FILE.csv", group = "played")]
    take: Option<PathBuf>,
    /// Send the visemes of this sound at its own speed: over WebRTC and WebSocket as `viseme_data`, with --as as a face.
    #[arg(long, value_name = "FILE.wav", groups = ["played", "sound"])]
    audio: Option<PathBuf>,
    /// Send the visemes of what this microphone hears, or of the system's usual one.
    #[cfg(feature = "microphone")]
    #[arg(long, value_name = "NAME", num_args = 0..=1, group = "sound", conflicts_with_all = ["played", "looped"])]
    microphone: Option<Option<String>>,
    /// The voice, as `facelink speech calibrate` wrote it [default: no voice in particular].
    #[arg(long, value_name = "FILE.json", requires = "sound")]
    voice: Option<PathBuf>,
    /// Send the mouth of the sound as a face everywhere, such as for a virtual subject that has its eyes from a phone.
    #[arg(long, requires = "sound")]
    shapes: bool,
    /// Play the take or the sound again and again.
    #[arg(long = "loop", requires = "played")]
    looped: bool,
    /// Frames a second; fewer when the receiver asks for fewer [default: 60].
    #[arg(long, value_parser = fps)]
    fps: Option<f64>,
    /// How long to send, once a receiver listens; until Ctrl-C or the end of the take if not given.
    #[arg(long, value_parser = seconds)]
    seconds: Option<f64>,
    /// Lose the face after every so many seconds, and report it as the app does.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "sound")]
    lose_face_every: Option<f64>,
    /// For how long the face is lost each time [default: 1].
    #[arg(long, value_name = "SECONDS", value_parser = seconds, requires = "lose_face_every")]
    lose_face_for: Option<f64>,
    /// Drop this many of a hundred frames, as a bad network does.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent, conflicts_with = "sound")]
    drop: f64,
    /// Name of the face, where the wire or the app has one.
    #[arg(long, value_name = "NAME", default_value = "facelink", value_parser = subject)]
    subject: String,
    /// Another seed is another performance, and drops other frames.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Where frames go, and how.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// What carries the frames to a FaceLink endpoint.
    #[arg(long, value_enum, default_value_t = Via::Webrtc)]
    via: Via,
    /// Send what changed since a frame that has arrived, instead of whole faces: for thin uplinks.
    #[arg(long, conflicts_with = "app")]
    delta: bool,
    /// Play this app, as if it ran on a phone.
    #[arg(long = "as", value_name = "APP", conflicts_with = "via", value_parser = app_parser())]
    app: Option<SourceKind>,
    /// Where to: HOST:PORT, HOST at the usual port, or a ws:// address [default: this machine, or with --as an app that
    /// can be called: --wait].
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    /// Wait for a caller and send to it, as the app does with its handshake; in place of --to.
    #[arg(long, requires = "app", conflicts_with = "to")]
    wait: bool,
    /// Port that the app listens on when it waits to be called; 0 picks a free one [default: the app's].
    #[arg(long, requires = "app")]
    port: Option<u16>,
    /// Send over TCP (iFacialMocap, with --to); when it is called, the caller says how.
    #[arg(long, requires = "app")]
    tcp: bool,
    /// Port of the caller that iFacialMocap and Facemotion3d send to, whichever they are called from [default: 49983].
    #[arg(long, value_name = "PORT", requires = "app")]
    data_port: Option<u16>,
    /// Pairing token of the receiver (webrtc and websocket).
    #[arg(long)]
    token: Option<String>,
    /// Key of the room: the face leaves encrypted end to end, and nothing in the clear. An invitation as --to has it in its
    /// `#k=` (webrtc and websocket).
    #[arg(long, value_name = "KEY", conflicts_with = "app")]
    key: Option<RoomKey>,
    /// Take the receiver's certificate with this SHA-256 fingerprint and no other (wss://).
    #[arg(long, value_name = "SHA256")]
    fingerprint: Option<String>,
    #[command(flatten)]
    ice: IceArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Via {
    /// A WebSocket at once, and a WebRTC data channel as soon as it opens
    Webrtc,
    /// A WebSocket
    Websocket,
    /// The same as --as udp-json
    UdpJson,
    /// The same as --as live-link-face
    LiveLinkFace,
}

impl Target {
    /// Opens the way to the receiver for these faces, at about this rate; `None` when asked to stop before.
    pub fn open(&self, subjects: &[String], fps: f64, stop: &Receiver<()>) -> Result<Option<Box<dyn Sender>>, Error> {
        let Some(app) = self.app() else {
            let own = subjects.first().map_or("facelink", String::as_str);
            return Ok(Link::connect(self, own, stop)?.map(|link| Box::new(link) as Box<dyn Sender>));
        };
        let mut apps = Vec::new();
        for subject in subjects {
            match App::open(self, app, subject, fps, stop)? {
                Some(app) => apps.push((subject.clone(), app)),
                None => return Ok(None),
            }
        }
        Ok(Some(Box::new(Apps(apps))))
    }

    /// Where to, as it was given.
    pub fn address(&self) -> Option<&str> {
        self.to.as_deref()
    }

    /// The app to play, if any.
    fn app(&self) -> Option<SourceKind> {
        self.app.or(match self.via {
            Via::Webrtc | Via::Websocket => None,
            Via::UdpJson => Some(SourceKind::UdpJson),
            Via::LiveLinkFace => Some(SourceKind::LiveLinkFace),
        })
    }
}

fn fps(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fps) if (1.0..=240.0).contains(&fps) => Ok(fps),
        _ => Err("expected a number from 1 to 240".to_owned()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("expected a number from 0 to 100".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 1e9 => Ok(seconds),
        _ => Err("expected a number of seconds above 0".to_owned()),
    }
}

pub fn subject(text: &str) -> Result<String, String> {
    match text.len() {
        1..=128 => Ok(text.to_owned()),
        _ => Err("expected a name of 1 to 128 bytes".to_owned()),
    }
}

pub fn run(args: Args) -> Result<(), Error> {
    let stop = stop_signal()?;
    if let Some(sound) = args.sound()? {
        return run_sound(&args, sound, &stop);
    }
    let mut play = Play::new(&args)?;
    let subjects = [args.subject.clone()];
    let Some(mut sender) = args.target.open(&subjects, play.fps(), &stop)? else { return Ok(()) };
    eprintln!("Sending {} to {}. Ctrl-C ends.", args.subject, sender.describe());

    let mut random = fastrand::Rng::with_seed(args.seed);
    let mut start = Instant::now();
    let end = args.seconds.map(Duration::from_secs_f64);
    let (mut number, mut count) = (0_u64, 0_u64);
    let began = start;
    while let Some((time, mut frame)) = play.next(sender.wanted_fps()) {
        // Waits for the frame's time, or for the signal to end.
        if end.is_some_and(|end| time >= end)
            || !matches!(stop.recv_deadline(start + time), Err(RecvTimeoutError::Timeout))
        {
            break;
        }
        frame.sequence = Some(number);
        number += 1;
        // A frame that is dropped has its number, as one that the network lost.
        if random.f64() * 100.0 >= args.drop {
            sender.send(&args.subject, frame)?;
            count += 1;
        }
        // After a stall (a laptop's lid), continues from now instead of catching up.
        let late = start.elapsed().saturating_sub(time);
        if late > Duration::from_millis(250) {
            start += late;
        }
    }
    let took = began.elapsed().as_secs_f64();
    sender.finish();
    writeln!(io::stdout(), "Sent {count} frames in {took:.1} s.").map_err(Error::Output)
}

impl Args {
    /// The sound to send visemes of, if any.
    fn sound(&self) -> Result<Option<Sound>, Error> {
        #[cfg(feature = "microphone")]
        if let Some(name) = &self.microphone {
            return Ok(Some(Sound::Microphone(Microphone::open(name.as_deref())?)));
        }
        self.audio.as_deref().map(|path| Sound::file(path, self.looped)).transpose()
    }
}

/// A mouth that moves by sound, as a face.
struct Mouth {
    speech: LiveSpeech,
    fps: f64,
    number: u64,
}

impl Mouth {
    /// Goes on to this hop; gives the face when one is due.
    fn hear(&mut self, frame: &SpeechFrame) -> Option<FaceFrame> {
        self.speech.say(frame.viseme, frame.weight);
        self.speech.step(facelink::speech::HOP.as_secs_f32());
        if frame.known.as_secs_f64() * self.fps < self.number as f64 {
            return None;
        }
        let mut face = FaceFrame::neutral();
        self.speech.apply(&mut face.weights, &BlendRules::SPEECH, 1.0);
        face.sequence = Some(self.number);
        self.number += 1;
        Some(face)
    }
}

fn run_sound(args: &Args, mut sound: Sound, stop: &Receiver<()>) -> Result<(), Error> {
    let name = sound.describe();
    let refused = |error| Error::Plain(format!("{name}: {error}"));
    let voice = profile(args.voice.as_deref(), sound.rate())?;
    let mut analyzer = SpeechAnalyzer::new(sound.rate(), sound.channels(), &voice).map_err(refused)?;
    let fps = args.fps.unwrap_or(USUAL_FPS);
    let Some(mut sender) = args.target.open(std::slice::from_ref(&args.subject), fps, stop)? else { return Ok(()) };
    eprintln!("Sending the mouth of {} by {name} to {}. Ctrl-C ends.", args.subject, sender.describe());
    let (mut changes, mut count) = (VisemeChanges::default(), 0_u64);
    let mut mouth = Mouth { speech: LiveSpeech::default(), fps, number: 0 };
    let says = args.target.app().is_none() && !args.shapes;
    let (began, end) = (Instant::now(), args.seconds.map(Duration::from_secs_f64));
    sound.start();
    while let Some(samples) = sound.next(stop)? {
        let mut sent = Ok(());
        let each = |frame: &SpeechFrame| {
            if says {
                if let Some((viseme, weight)) = changes.next(frame) {
                    sent = sender.say(&args.subject, viseme, weight);
                    count += 1;
                }
            } else if let Some(face) = mouth.hear(frame) {
                sent = sender.send(&args.subject, face);
                count += 1;
            }
        };
        analyzer.push(&samples, each).map_err(refused)?;
        sent?;
        if end.is_some_and(|end| began.elapsed() >= end) {
            break;
        }
    }
    if says {
        sender.say(&args.subject, Viseme::Sil, 0.0)?;
    }
    let took = began.elapsed().as_secs_f64();
    sender.finish();
    #[cfg(feature = "microphone")]
    if let Sound::Microphone(microphone) = &sound
        && microphone.dropped() > 0
    {
        eprintln!("facelink: {} pieces of sound were not read in time", microphone.dropped());
    }
    let what = if says { "visemes" } else { "frames" };
    writeln!(io::stdout(), "Sent {count} {what} in {took:.1} s.").map_err(Error::Output)
}

/// The frames to send, and their times.
struct Play {
    source: Source,
    fps: Option<f64>,
    looped: bool,
    lost: Option<Lost>,
    next: Next,
}

enum Source {
    Performance(Performance),
    Take(Take),
}

/// The position in it.
#[derive(Clone, Copy, Default)]
struct Next {
    /// When the next frame is due.
    time: Duration,
    /// Its place in a take that is played at its own timing, and when this round of it began.
    place: usize,
    round: Duration,
    /// When the last one was due.
    last: Option<Duration>,
}

/// When the face is lost.
#[derive(Clone, Copy)]
struct Lost {
    every: f64,
    long: f64,
}

impl Lost {
    fn at(self, time: Duration) -> bool {
        let time = time.as_secs_f64();
        time >= self.every && time % self.every < self.long
    }
}

impl Play {
    fn new(args: &Args) -> Result<Self, Error> {
        let source = match &args.take {
            None => Source::Performance(Performance::new(args.seed)),
            Some(file) => {
                let take = llf_csv::read(file).map_err(|error| match error {
                    error @ llf_csv::LlfCsvError::Read { .. } => Error::Plain(error.to_string()),
                    error => Error::Plain(format!("{}: {error}", file.display())),
                })?;
                for remark in take.remarks() {
                    eprintln!("facelink: {}: {remark}", file.display());
                }
                Source::Take(take)
            }
        };
        let lost = args.lose_face_every.map(|every| Lost { every, long: args.lose_face_for.unwrap_or(1.0) });
        if lost.is_some_and(|lost| lost.long >= lost.every) {
            let message = "--lose-face-for must be shorter than --lose-face-every\n";
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, message).exit();
        }
        Ok(Self { source, fps: args.fps, looped: args.looped, lost, next: Next::default() })
    }

    /// Frames a second, about.
    fn fps(&self) -> f64 {
        match (&self.source, self.fps) {
            (_, Some(fps)) => fps,
            (Source::Performance(_), None) => USUAL_FPS,
            (Source::Take(take), None) => take.fps(),
        }
    }

    /// The next frame and its time since the start, at most this many a second; `None` at the end.
    fn next(&mut self, most: Option<f64>) -> Option<(Duration, FaceFrame)> {
        let (time, mut frame) = match (&self.source, self.fps) {
            (Source::Take(take), None) => {
                let shortest = most.map(|most| Duration::from_secs_f64(0.9 / most.max(1.0)));
                loop {
                    let Some(found) = take.frames().get(self.next.place) else {
                        if !self.looped {
                            return None;
                        }
                        self.next.place = 0;
                        self.next.round += take.duration();
                        continue;
                    };
                    self.next.place += 1;
                    let time = self.next.round + found.time;
                    let since = self.next.last.map(|last| time.saturating_sub(last));
                    if since.zip(shortest).is_none_or(|(since, shortest)| since >= shortest) {
                        self.next.last = Some(time);
                        break (time, found.frame.clone());
                    }
                }
            }
            (source, fps) => {
                let time = self.next.time;
                let frame = match source {
                    Source::Performance(performance) => performance.frame_at(time),
                    Source::Take(take) if self.looped => take.frame_at(take.looped(time)),
                    Source::Take(take) if time < take.duration() => take.frame_at(time),
                    Source::Take(_) => return None,
                };
                let fps = fps.unwrap_or(USUAL_FPS);
                let rate = most.map_or(fps, |most| fps.min(most.max(1.0)));
                self.next.time += Duration::from_secs_f64(1.0 / rate);
                (time, frame)
            }
        };
        if self.lost.is_some_and(|lost| lost.at(time)) {
            frame.tracked = false;
        }
        Some((time, frame))
    }
}

/// Takes frames to where they go.
pub trait Sender {
    fn describe(&self) -> String;
    /// Sends a frame of one of the faces that it was opened for.
    fn send(&mut self, subject: &str, frame: FaceFrame) -> Result<(), Error>;
    /// Says a viseme, where the wire has them.
    fn say(&mut self, _subject: &str, _viseme: Viseme, _weight: f32) -> Result<(), Error> {
        Ok(())
    }
    /// Sends an emotion, where the wire has them.
    fn emotion(&mut self, _subject: &str, _emotion: &Emotion) {}
    /// The rate that the receiver asked for.
    fn wanted_fps(&self) -> Option<f64> {
        None
    }
    fn finish(&mut self) {}
}

/// A WebSocket or a data channel.
struct Link {
    client: Client,
    /// Keeps the client going.
    _runtime: Runtime,
    url: String,
    /// The face that the connection is for; others are sent by their names.
    own: String,
    state: ClientState,
}

impl Link {
    /// Connects, or gives `None` when asked to stop before that.
    fn connect(args: &Target, subject: &str, stop: &Receiver<()>) -> Result<Option<Self>, Error> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(Error::Runtime)?;
        let url = args.to.clone().unwrap_or_else(|| format!("ws://127.0.0.1:{DEFAULT_PORT}"));
        let config = ClientConfig {
            token: args.token.clone(),
            key: args.key.clone(),
            webrtc: args.via == Via::Webrtc,
            delta: args.delta,
            trust: args.fingerprint.clone().map_or(ServerTrust::Public, ServerTrust::Fingerprint),
            ice: args.ice.config()?,
            ..ClientConfig::new(&url).subject(subject)
        };
        let client = Client::start(config, runtime.handle());
        let own = subject.to_owned();
        let mut link = Self { client, _runtime: runtime, url, own, state: ClientState::Connecting };
        let connected = link.wait(stop, CONNECT_LIMIT, |state| matches!(state, ClientState::Connected(_)));
        match connected {
            Waited::Stopped => return Ok(None),
            Waited::Reached => {}
            Waited::TimedOut => {
                return Err(Error::Plain(match link.client.state() {
                    ClientState::Waiting(error) | ClientState::Refused(error) => error.to_string(),
                    _ => format!("cannot connect to {}: no answer within the time limit", link.url),
                }));
            }
        }
        link.state = link.client.state();
        Ok(Some(link))
    }

    /// Waits for a state; being refused counts as out of time.
    fn wait(&self, stop: &Receiver<()>, limit: Duration, wanted: impl Fn(&ClientState) -> bool) -> Waited {
        let end = Instant::now() + limit;
        loop {
            let state = self.client.state();
            if wanted(&state) {
                return Waited::Reached;
            }
            if matches!(state, ClientState::Refused(_)) || Instant::now() >= end {
                return Waited::TimedOut;
            }
            match stop.recv_timeout(Duration::from_millis(20)) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return Waited::Stopped,
            }
        }
    }
}

enum Waited {
    Reached,
    TimedOut,
    Stopped,
}

impl Sender for Link {
    fn describe(&self) -> String {
        match &self.state {
            ClientState::Connected(kind) => format!("{} over {kind}", self.url),
            _ => self.url.clone(),
        }
    }

    fn emotion(&mut self, subject: &str, emotion: &Emotion) {
        self.client.set_emotion((subject != self.own).then_some(subject), emotion);
    }

    fn send(&mut self, subject: &str, frame: FaceFrame) -> Result<(), Error> {
        if subject == self.own {
            self.client.send(frame);
        } else {
            self.client.send_as(subject, frame);
        }
        self.report()
    }

    fn say(&mut self, subject: &str, viseme: Viseme, weight: f32) -> Result<(), Error> {
        let other = (subject != self.own).then_some(subject);
        self.client.say(other, viseme, weight, Some(VisemeChanges::HOLD));
        self.report()
    }

    fn wanted_fps(&self) -> Option<f64> {
        Some(f64::from(self.client.target_fps()))
    }

    fn finish(&mut self) {
        std::thread::sleep(LINGER);
    }
}

impl Link {
    /// Reports a change of the connection; fails when it is refused.
    fn report(&mut self) -> Result<(), Error> {
        let state = self.client.state();
        if state != self.state {
            match &state {
                ClientState::Connected(kind) => eprintln!("facelink: connected over {kind}"),
                ClientState::Waiting(error) => eprintln!("facelink: {error}; trying again"),
                ClientState::Refused(error) => return Err(Error::Plain(error.to_string())),
                _ => {}
            }
            self.state = state;
        }
        Ok(())
    }
}

/// An app on a phone, played.
struct App {
    simulator: Simulator,
    app: SourceKind,
    to: Option<SocketAddr>,
    streams: bool,
}

/// Apps that send when they are called.
fn can_be_called(app: SourceKind) -> bool {
    app.app().is_some_and(|row| row.waits_for_call)
}

/// The port that is typed into an app.
fn usual_port(app: SourceKind) -> u16 {
    app.app().map_or(DEFAULT_PORT, |row| row.port.usual())
}

impl App {
    /// Opens the app and, if it is to be called, waits for that; `None` when asked to stop before.
    fn open(
        args: &Target,
        app: SourceKind,
        subject: &str,
        fps: f64,
        stop: &Receiver<()>,
    ) -> Result<Option<Self>, Error> {
        let waits = args.wait || (args.to.is_none() && can_be_called(app));
        let usual = match app {
            SourceKind::IFacialMocap if args.tcp => PhonePort::IFacialMocapTcp.usual(),
            SourceKind::IFacialMocapV3 if args.tcp => PhonePort::IFacialMocapV3Tcp.usual(),
            _ if args.tcp => return Err(Error::Plain(format!("{} does not send over TCP", app.title()))),
            _ => usual_port(app),
        };
        let to = if waits { None } else { Some(resolve(args.to.as_deref(), usual)?) };
        let mut config = SimulatorConfig::new(app, to);
        subject.clone_into(&mut config.subject);
        config.port = args.port;
        config.data_port = args.data_port;
        // One that is free, for UDP, is no better for TCP than another.
        config.stream_port = args.port.filter(|port| *port == 0);
        config.transport = if args.tcp { PhoneTransport::Tcp } else { PhoneTransport::Udp };
        config.fps = fps as f32;
        let simulator = Simulator::start(&config).map_err(|error| match error {
            error @ SimulateError::Phone(facelink::simulate::PhoneError::NeedsAddress(_)) => {
                Error::Plain(format!("{error}; give --to instead of --wait"))
            }
            error @ SimulateError::Bind { .. } if app != SourceKind::UdpJson => {
                Error::Plain(format!("{error}; --port takes another one"))
            }
            error => Error::Plain(error.to_string()),
        })?;
        let mut opened = Self { simulator, app, to, streams: true };
        if waits {
            if let Some(address) = opened.simulator.address() {
                eprintln!("Waiting to be called as {} on {address}. Ctrl-C ends.", app.title());
            }
            while !opened.simulator.is_streaming() {
                if !matches!(stop.recv_timeout(LOOK), Err(RecvTimeoutError::Timeout)) {
                    return Ok(None);
                }
            }
        }
        opened.streams = opened.simulator.is_streaming();
        Ok(Some(opened))
    }
}

impl App {
    fn describe(&self) -> String {
        let to = self.to.map_or("the caller".to_owned(), |to| to.to_string());
        format!("{to} as {} ({})", self.app.title(), app_name(self.app))
    }

    fn send(&mut self, frame: FaceFrame) -> Result<(), Error> {
        self.simulator.send(&frame).map_err(|error| Error::Plain(error.to_string()))?;
        let streams = self.simulator.is_streaming();
        if streams != self.streams {
            eprintln!("facelink: {}", if streams { "called again" } else { "no receiver asks for the face any more" });
            self.streams = streams;
        }
        Ok(())
    }
}

/// An app for each face.
struct Apps(Vec<(String, App)>);

impl Sender for Apps {
    fn describe(&self) -> String {
        self.0.first().map(|(_, app)| app.describe()).unwrap_or_default()
    }

    fn send(&mut self, subject: &str, frame: FaceFrame) -> Result<(), Error> {
        match self.0.iter_mut().find(|(name, _)| name == subject) {
            Some((_, app)) => app.send(frame),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn play(args: &[&str]) -> Play {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            args: Args,
        }
        let cli: Cli = clap::Parser::try_parse_from([&["x"][..], args].concat()).unwrap();
        Play::new(&cli.args).unwrap()
    }

    fn times(play: &mut Play, most: Option<f64>, count: usize) -> Vec<u128> {
        std::iter::from_fn(|| play.next(most)).take(count).map(|(time, _)| time.as_millis()).collect()
    }

    fn take(folder: &std::path::Path) -> String {
        let file = folder.join("take.csv");
        let names: Vec<_> = facelink::Blendshape::ALL.iter().map(|shape| shape.name()).collect();
        let row = |frame: u32| format!("00:00:00:{frame:02}.000{}\n", format!(",0.{frame}").repeat(52));
        let text = format!("Timecode,{}\n{}", names.join(","), [0, 6, 12, 24].map(row).concat());
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    #[test]
    fn send_performance_keeps_rate() {
        assert_eq!(times(&mut play(&[]), None, 4), [0, 16, 33, 50]);
        assert_eq!(times(&mut play(&["--fps", "20"]), None, 3), [0, 50, 100]);
        assert_eq!(times(&mut play(&[]), Some(10.0), 3), [0, 100, 200]);
    }

    #[test]
    fn send_take_keeps_own_or_given_rate() {
        let folder = tempfile::tempdir().unwrap();
        let file = take(folder.path());
        assert_eq!(times(&mut play(&["--take", &file]), None, 9), [0, 100, 200, 400]);
        // The last frame lasts as long as most do.
        assert_eq!(times(&mut play(&["--take", &file, "--loop"]), None, 7), [0, 100, 200, 400, 500, 600, 700]);
        assert_eq!(times(&mut play(&["--take", &file]), Some(5.0), 9), [0, 200, 400]);
        assert_eq!(times(&mut play(&["--take", &file, "--fps", "8"]), None, 9), [0, 125, 250, 375]);
        let mut resampled = play(&["--take", &file, "--fps", "20"]);
        let (_, frame) = std::iter::from_fn(|| resampled.next(None)).nth(1).unwrap();
        assert!((frame.weights[0] - 0.3).abs() < 1e-5, "halfway from 0 to 0.6: {}", frame.weights[0]);
    }

    #[test]
    fn send_face_lost_at_intervals() {
        let mut play = play(&["--fps", "10", "--lose-face-every", "0.5", "--lose-face-for", "0.15"]);
        let tracked: Vec<_> = std::iter::from_fn(|| play.next(None)).take(12).map(|(_, f)| f.tracked).collect();
        let lost: Vec<_> = (0..12).filter(|place| !tracked[*place]).collect();
        assert_eq!(lost, [5, 6, 10, 11], "not at the start");
    }

    #[test]
    fn send_app_address_by_arguments() {
        let ports = SourceKind::PHONES.map(usual_port);
        assert_eq!(ports, [11111, 49983, 49983, 49983, 8080, 39539, 8888, 11125, 5005]);
    }
}
