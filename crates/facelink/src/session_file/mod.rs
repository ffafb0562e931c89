//! A session's set-up as one file, `*.facelink.ron`: what listens and to whom faces go, simulated phones, virtual subjects,
//! avatars with their mappings, takes that are played, playout and budget.
//!
//! A field that is not written has its default. Fields of other versions are read over and reported
//! ([`Read::unknown`]), so that a file of a later minor version is usable; a file of a later [`VERSION`] is refused.
//! Tokens, keys and passwords are not in the file: it says where they are ([`Secret`]).
//!
//! ```
//! use facelink::session_file::SessionFile;
//!
//! let text = r#"(
//!     network: (lan: true, token: Env("SHOW_TOKEN"), phones: Usual),
//!     virtual_subjects: [(name: "Hero", parts: [(subject: "Ann"), (subject: "Bob", groups: ["jaw", "mouth"], priority: 1)])],
//!     avatars: [(name: "left", model: "avatars/aria.glb", subject: "Hero", position: (-0.2, 0.0, 0.0))],
//! )"#;
//! let read = SessionFile::read(text)?;
//! assert!(read.unknown.is_empty());
//! assert_eq!(read.file.avatars[0].subject.as_deref(), Some("Hero"));
//!
//! let error = SessionFile::read("(avatars: [(name: \"left\", gain: \"high\")])").unwrap_err();
//! assert_eq!(error.field, "avatars[0].gain");
//! # Ok::<(), facelink::mapping::MappingError>(())
//! ```

mod changes;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub use changes::changes;

use crate::{
    gesture::{GestureError, GestureRecognizer, GestureSet},
    groups::GroupSet,
    mapping::{
        Format, Mapping, MappingError,
        read::{read_reporting_unknown, write},
    },
    source::{PhoneCall, PhonePort, SourceKind},
    subject::SubjectRules,
    take::FrameRate,
    timing::{PlayoutMode, PlayoutSettings},
    vrchat::{VrchatError, VrchatWriter},
    wire::{profile::SourceProfile, vmc::VmcOut},
};

/// The version that is written.
pub const VERSION: u32 = 1;

/// Entries of any list at most.
const MAX_ENTRIES: usize = 1000;

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A session's set-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFile {
    /// Version of the format; [`VERSION`].
    pub version: u32,
    /// What it is called, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What listens, who may connect, and where faces go. `None` leaves the network as the program has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<SessionNetwork>,
    /// Phones that are simulated, to set up without a performer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub simulated_phones: Vec<SimulatedPhone>,
    /// Subjects that are put together from others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub virtual_subjects: Vec<VirtualSubject>,
    /// Avatars, each with a name of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub avatars: Vec<Avatar>,
    /// Takes that are played.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub takes: Vec<PlayedTake>,
    /// How frames become a face, for every subject without its own in `subjects`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playout: Option<Playout>,
    /// Settings of single subjects, by the names that their sources send.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, Subject>,
    /// Gestures that are recognised; none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gestures: Option<Gestures>,
    /// Whose timecode faces and takes have; that of each source by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timecode: Option<Timecode>,
    /// What faces may cost a rendered frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
}

impl Default for SessionFile {
    fn default() -> Self {
        Self {
            version: VERSION,
            name: None,
            network: None,
            simulated_phones: Vec::new(),
            virtual_subjects: Vec::new(),
            avatars: Vec::new(),
            takes: Vec::new(),
            playout: None,
            subjects: BTreeMap::new(),
            gestures: None,
            timecode: None,
            budget: None,
        }
    }
}

/// Where a token, key or password is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Secret {
    /// In this environment variable.
    Env(String),
    /// In this file, alone, with or without an end of line. A relative path counts from the session's file.
    File(String),
}

/// What listens, who may connect, and where faces go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionNetwork {
    /// Whether it listens at every address of this machine, with a token and HTTPS; off by default.
    #[serde(skip_serializing_if = "is_default")]
    pub lan: bool,
    /// Address to listen on without `lan`; `127.0.0.1` by default.
    #[serde(skip_serializing_if = "is_loopback")]
    pub bind: IpAddr,
    /// Port of HTTP, WebSocket and signalling, 8765 by default; 0 picks a free one, as for the ports below.
    pub port: u16,
    /// The pairing token; with `lan` and without one here, one is made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// The key of the room, for end-to-end encrypted faces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
    /// HTTPS next to HTTP.
    #[serde(skip_serializing_if = "is_default")]
    pub tls: Tls,
    /// Origins of pages that may connect too, such as `https://show.example`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_origins: Vec<String>,
    /// STUN and TURN servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ice_servers: Vec<IceServer>,
    /// Port of Live Link Face, 11111 by default; `None` does not listen.
    pub live_link_face: Option<u16>,
    /// Port of JSON datagrams, 5005 by default; `None` does not listen.
    pub udp_json: Option<u16>,
    /// Ports of the other phone apps; `Off` by default.
    #[serde(skip_serializing_if = "is_default")]
    pub phones: Phones,
    /// Phones to call: apps that send when they are asked to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub call: Vec<PhoneCall>,
    /// What an app's numbers mean, where that differs from what the app is known to send.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, SourceProfile>,
    /// Endpoints and relays that are dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Dial>,
    /// Faces that go out by VMC protocol.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vmc_out: Vec<VmcOut>,
    /// Faces that go out to VRChat.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vrchat_out: Vec<VrchatOut>,
    /// Whether other machines may control takes by OSC; off by default.
    #[serde(skip_serializing_if = "is_default")]
    pub osc_control: bool,
    /// OBS that records while takes are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obs: Option<Obs>,
    /// Folder of takes that are recorded, `takes` by default, relative to where the program runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<String>,
    /// Whether phones record in step; off by default.
    #[serde(skip_serializing_if = "is_default")]
    pub takes_with_phones: bool,
    /// Whether performers may send their picture and sound; on by default.
    #[serde(skip_serializing_if = "is_on")]
    pub pictures: bool,
}

fn is_loopback(address: &IpAddr) -> bool {
    *address == IpAddr::V4(Ipv4Addr::LOCALHOST)
}

impl Default for SessionNetwork {
    fn default() -> Self {
        Self {
            lan: false,
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 8765,
            token: None,
            key: None,
            tls: Tls::Auto,
            allowed_origins: Vec::new(),
            ice_servers: Vec::new(),
            live_link_face: Some(PhonePort::LiveLinkFace.usual()),
            udp_json: Some(PhonePort::UdpJson.usual()),
            phones: Phones::Off,
            call: Vec::new(),
            profiles: BTreeMap::new(),
            connect: Vec::new(),
            vmc_out: Vec::new(),
            vrchat_out: Vec::new(),
            osc_control: false,
            obs: None,
            takes: None,
            takes_with_phones: false,
            pictures: true,
        }
    }
}

/// HTTPS next to HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tls {
    /// With `lan`, by a certificate that is made and kept.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// By a certificate of yours; relative paths count from the session's file.
    Files {
        /// Certificate chain, PEM.
        certificate: String,
        /// Its private key, PEM.
        key: String,
    },
}

/// A STUN or TURN server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Addresses such as `stun:host:port` or `turn:host:port?transport=udp`.
    pub urls: Vec<String>,
    /// TURN user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// TURN password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
}

/// Ports of the phone apps other than Live Link Face and UDP JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phones {
    /// None.
    #[default]
    Off,
    /// Those that the apps send to by default; phones that have to be called are found and remembered.
    Usual,
    /// These.
    Ports(BTreeMap<PhonePort, u16>),
}

/// An endpoint or a relay that is dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dial {
    /// Such as `ws://192.0.2.7:8765`.
    pub url: String,
    /// Its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

/// A face that goes out to VRChat, as parameters of its avatar: see [`crate::vrchat`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VrchatOut {
    /// Where to: port 9000 of the machine that runs VRChat.
    pub to: SocketAddr,
    /// Name of the subject that goes out; by default the one that appeared first, or to which a controller cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What stands before `v2/` in the names, such as `FT/`; nothing by default.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Frames a second at most, 1 to 240; 60 by default.
    #[serde(default = "usual_fps", skip_serializing_if = "is_usual_fps")]
    pub max_fps: f32,
    /// Which shapes make up which parameter; Unified Expressions by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<OutMapping>,
}

/// A mapping whose targets are names of parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OutMapping {
    /// In this file: RON, or JSON where its name ends in `json`. A relative path counts from the session's file.
    File(String),
    /// This one.
    Rules(Box<Mapping>),
}

impl OutMapping {
    /// The mapping; `read` gives the text of a file.
    ///
    /// # Errors
    /// In words: what `read` says, or line, column and field of a file that is none.
    pub fn rules(&self, read: impl FnOnce(&str) -> Result<String, String>) -> Result<Mapping, String> {
        match self {
            Self::File(path) => {
                Mapping::read(&read(path)?, Format::of_path(path)).map_err(|error| error.in_file(path).to_string())
            }
            Self::Rules(mapping) => Ok((**mapping).clone()),
        }
    }
}

/// Gestures that are recognised on every subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Gestures {
    /// Winks, a kiss, the tongue out, surprise, a smile, nods and shakes of the head.
    BuiltIn,
    /// Those of this file: RON, or JSON where its name ends in `json`. A relative path counts from the session's file.
    File(String),
    /// These.
    Rules(GestureSet),
}

impl Gestures {
    /// The rules; `read` gives the text of a file.
    ///
    /// # Errors
    /// In words: what `read` says, or what of the rules cannot be used.
    pub fn rules(&self, read: impl FnOnce(&str) -> Result<String, String>) -> Result<GestureSet, String> {
        match self {
            Self::BuiltIn => Ok(GestureSet::default()),
            Self::File(path) => {
                let set = GestureSet::read(&read(path)?, Format::of_path(path));
                set.map_err(|error| format!("{path}: {error}"))
            }
            Self::Rules(set) => Ok(set.clone()),
        }
    }
}

/// Whose timecode faces and takes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timecode {
    /// Which clock.
    pub from: TimecodeFrom,
    /// Its frames a second, such as `"29.97"`. Of LTC it is measured where it is not given; of the system's clock it is 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<FrameRate>,
    /// Whether subjects with a clock of their own are on it too; off by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub all: bool,
}

/// A clock that gives timecode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimecodeFrom {
    /// That of each source.
    #[default]
    Own,
    /// The time of day of this machine, UTC, which NTP keeps.
    System,
    /// Linear timecode in a sound: a WAV file, or an input of this machine by its name; empty for the usual one.
    Ltc(String),
}

/// OBS that records while takes are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obs {
    /// Such as `ws://127.0.0.1:4455`.
    pub url: String,
    /// Its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Whether a recording that is begun in OBS begins a take; off by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub starts_takes: bool,
    /// Whether OBS names its file by slate and take; on by default.
    #[serde(default = "on", skip_serializing_if = "is_on")]
    pub names_files: bool,
}

impl Obs {
    /// OBS at an address.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), password: None, starts_takes: false, names_files: true }
    }
}

const fn on() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_on(value: &bool) -> bool {
    *value
}

/// A phone that is simulated: the synthetic performer over the app's own protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SimulatedPhone {
    /// The app.
    pub app: SourceKind,
    /// Name of the subject, where the app sends one.
    pub subject: String,
    /// Which performance: one of its own for each number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub seed: u64,
    /// Frames a second, 1 to 240; 60 by default.
    #[serde(default = "usual_fps")]
    pub fps: f32,
}

const fn usual_fps() -> f32 {
    60.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_usual_fps(fps: &f32) -> bool {
    *fps == usual_fps()
}

/// A subject that is put together from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualSubject {
    /// Its name, by which avatars ask for it.
    pub name: String,
    /// What it takes from whom.
    pub parts: Vec<Part>,
}

/// A part of a [`VirtualSubject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Whose face.
    pub subject: String,
    /// Which of its channels; all by default.
    #[serde(default = "all_groups")]
    pub groups: GroupSet,
    /// Where several parts have a group, the higher one has it while it is live; 0 by default.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
}

const fn all_groups() -> GroupSet {
    GroupSet::ALL
}

/// An avatar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Avatar {
    /// Its name: an avatar of this name that the game has spawned is set up, another one is spawned from `model`.
    pub name: String,
    /// glTF or VRM file, below the assets. Without one the game spawns the avatar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Whose face; the first that is live by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Mapping file, below the assets; found by itself by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Where a spawned avatar stands, metres, +Y up.
    pub position: (f32, f32, f32),
    /// Where it faces, degrees about the vertical axis: 0 towards +Z, positive to its left.
    #[serde(skip_serializing_if = "is_default")]
    pub yaw: f32,
    /// Size of a spawned avatar, 1 by default.
    pub scale: f32,
    /// Whether it blinks and glances while there is no face; off by default.
    #[serde(skip_serializing_if = "is_default")]
    pub idle: bool,
    /// Factor on every weight, 1 by default.
    pub gain: f32,
    /// Whether the head follows; on by default.
    pub head: bool,
    /// Whether the eyes follow; on by default.
    pub eyes: bool,
}

impl Default for Avatar {
    fn default() -> Self {
        Self {
            name: String::new(),
            model: None,
            subject: None,
            mapping: None,
            position: (0.0, 0.0, 0.0),
            yaw: 0.0,
            scale: 1.0,
            idle: false,
            gain: 1.0,
            head: true,
            eyes: true,
        }
    }
}

/// A take that is played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlayedTake {
    /// The take, below the assets: `.mcap`, or the `.csv` of Live Link Face.
    pub file: String,
    /// Whether it begins again at its end; off by default.
    #[serde(skip_serializing_if = "is_default")]
    pub looped: bool,
    /// Whether it runs at once; on by default.
    pub playing: bool,
    /// Speed, 0.1 to 4; 1 by default.
    pub speed: f64,
    /// Where it begins, seconds.
    #[serde(skip_serializing_if = "is_default")]
    pub from: f64,
    /// Where it ends, seconds; at its end by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
    /// Which subjects are played and what each is called here; all under their own names by default.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subjects: BTreeMap<String, String>,
}

impl Default for PlayedTake {
    fn default() -> Self {
        Self {
            file: String::new(),
            looped: false,
            playing: true,
            speed: 1.0,
            from: 0.0,
            until: None,
            subjects: BTreeMap::new(),
        }
    }
}

/// How frames become a face. What is not written is as by default: [`PlayoutSettings`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Playout {
    /// Which delay.
    #[serde(skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// Least delay, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_ms: Option<f32>,
    /// Most delay, milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_ms: Option<f32>,
    /// Whether the source's noise is filtered; for faces out of a webcam alone by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<bool>,
}

/// Which delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Mode {
    /// The newest frame, at once.
    Latest,
    /// As little behind as the network allows.
    #[default]
    Smooth,
    /// Always behind by this many milliseconds.
    Fixed(f32),
    /// In step with other subjects, and with sound.
    Timecode,
}

impl Playout {
    /// As the jitter buffer takes it.
    pub fn settings(&self) -> PlayoutSettings {
        let ms = |ms: f32| Duration::try_from_secs_f64(f64::from(ms) / 1000.0).unwrap_or_default();
        let usual = PlayoutSettings::default();
        PlayoutSettings {
            mode: match self.mode {
                Mode::Latest => PlayoutMode::Latest,
                Mode::Smooth => PlayoutMode::Smooth,
                Mode::Fixed(delay) => PlayoutMode::Fixed(ms(delay)),
                Mode::Timecode => PlayoutMode::Timecode,
            },
            least: self.least_ms.map_or(usual.least, ms),
            most: self.most_ms.map_or(usual.most, ms),
            ..usual
        }
    }

    /// Of settings, as far as a file has them.
    pub fn of(settings: &PlayoutSettings, filter: Option<bool>) -> Self {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1000.0) as f32;
        let usual = PlayoutSettings::default();
        Self {
            mode: match settings.mode {
                PlayoutMode::Latest => Mode::Latest,
                PlayoutMode::Smooth => Mode::Smooth,
                PlayoutMode::Fixed(delay) => Mode::Fixed(ms(delay)),
                PlayoutMode::Timecode => Mode::Timecode,
            },
            least_ms: (settings.least != usual.least).then(|| ms(settings.least)),
            most_ms: (settings.most != usual.most).then(|| ms(settings.most)),
            filter,
        }
    }
}

/// Settings of one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// What it is called here; as its source calls it by default. Several that are called the same are one, which one of them
    /// shows at a time.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is shown; on by default. Of several that are called the same, one that is off switches all of them off.
    #[serde(skip_serializing_if = "is_on")]
    pub enabled: bool,
    /// How its frames become a face.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub playout: Option<Playout>,
}

impl Default for Subject {
    fn default() -> Self {
        Self { name: None, enabled: true, playout: None }
    }
}

impl Subject {
    /// What it is called here, by the name that its source sends.
    pub fn called<'a>(&'a self, source: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(source)
    }
}

/// What faces may cost a rendered frame.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Budget {
    /// Milliseconds per frame; 1 by default.
    pub ms: f32,
    /// So many of the nearest avatars are evaluated in every frame; 4 by default.
    pub nearest: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { ms: 1.0, nearest: 4 }
    }
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// What it says.
    pub file: SessionFile,
    /// Fields that this version does not know, such as `avatars[0].hat`; they are lost when the file is written.
    pub unknown: Vec<String>,
}

impl SessionFile {
    /// Reads a file.
    ///
    /// # Errors
    /// Names line, column and field: when it is no RON, a field has a value that it cannot have, two avatars have one name, or it is
    /// of a later [`VERSION`].
    pub fn read(text: &str) -> Result<Read, MappingError> {
        let (file, unknown) = read_reporting_unknown::<Self>(text)?;
        match file.problem() {
            None => Ok(Read { file, unknown }),
            // Where in the text is not known any more.
            Some((field, message)) => Err(MappingError { file: None, line: 1, column: 1, field, message }),
        }
    }

    /// Writes it as [`read`](Self::read) takes it, without fields at their defaults.
    pub fn write(&self) -> String {
        write(self, Format::Ron)
    }

    /// What subjects are called and which are disabled, as an endpoint takes it.
    pub fn subject_rules(&self) -> SubjectRules {
        let mut rules = SubjectRules::default();
        for (source, subject) in &self.subjects {
            let name = subject.called(source);
            // Names and their number were checked where the file was read.
            let _ = rules.call(source, name);
            if !subject.enabled {
                let _ = rules.set_enabled(name, false);
            }
        }
        rules
    }

    /// Says in `subjects` what these rules do, and nothing else of names and of what is disabled.
    pub fn set_subject_rules(&mut self, rules: &SubjectRules) {
        for subject in self.subjects.values_mut() {
            (subject.name, subject.enabled) = (None, true);
        }
        for (source, name) in rules.names() {
            self.subjects.entry(source.to_owned()).or_default().name = Some(name.to_owned());
        }
        for name in rules.disabled() {
            let source = rules.sources_of(name).next().unwrap_or(name);
            self.subjects.entry(source.to_owned()).or_default().enabled = false;
        }
        self.subjects.retain(|_, subject| *subject != Subject::default());
    }

    /// How the frames of the subject that is called so become a face, where that is said of it.
    pub fn playout_of(&self, name: &str) -> Option<&Playout> {
        let mut own = self.subjects.iter().filter(|(source, subject)| subject.called(source) == name);
        own.find_map(|(_, subject)| subject.playout.as_ref())
    }

    /// The first field whose value it cannot have, and why.
    fn problem(&self) -> Option<(String, String)> {
        let bad = |field: String, message: &str| Some((field, message.to_owned()));
        if self.version > VERSION {
            let message =
                format!("is {}, written by a later version of FaceLink; this one reads {VERSION}", self.version);
            return Some(("version".to_owned(), message));
        }
        let lists = [
            ("simulated_phones", self.simulated_phones.len()),
            ("virtual_subjects", self.virtual_subjects.len()),
            ("avatars", self.avatars.len()),
            ("takes", self.takes.len()),
            ("subjects", self.subjects.len()),
        ];
        if let Some((field, _)) = lists.into_iter().find(|(_, len)| *len > MAX_ENTRIES) {
            return Some((field.to_owned(), format!("has more than {MAX_ENTRIES} entries")));
        }
        for (index, avatar) in self.avatars.iter().enumerate() {
            let field = |name: &str| format!("avatars[{index}].{name}");
            if avatar.name.trim().is_empty() {
                return bad(field("name"), "is missing: each avatar needs a name");
            }
            if self.avatars.iter().take(index).any(|other| other.name == avatar.name) {
                return Some((field("name"), format!("another avatar is called \"{}\" too", avatar.name)));
            }
            let (x, y, z) = avatar.position;
            if ![x, y, z, avatar.yaw, avatar.gain].iter().all(|value| value.is_finite()) {
                return bad(field("position, yaw or gain"), "must be finite numbers");
            }
            if !(avatar.scale.is_finite() && avatar.scale > 0.0) {
                return bad(field("scale"), "must be above 0");
            }
        }
        for (index, subject) in self.virtual_subjects.iter().enumerate() {
            let field = |name: &str| format!("virtual_subjects[{index}].{name}");
            if subject.name.trim().is_empty() {
                return bad(field("name"), "is missing");
            }
            if self.virtual_subjects.iter().take(index).any(|other| other.name == subject.name) {
                return Some((field("name"), format!("another virtual subject is called \"{}\" too", subject.name)));
            }
            if subject.parts.iter().any(|part| part.subject == subject.name) {
                return bad(field("parts"), "it cannot be a part of itself");
            }
        }
        for (index, phone) in self.simulated_phones.iter().enumerate() {
            let field = |name: &str| format!("simulated_phones[{index}].{name}");
            if phone.app.app().is_none() {
                return Some((field("app"), format!("{} is no phone app", phone.app.title())));
            }
            if !(1.0..=240.0).contains(&phone.fps) {
                return bad(field("fps"), "must be from 1 to 240");
            }
        }
        for (index, take) in self.takes.iter().enumerate() {
            let field = |name: &str| format!("takes[{index}].{name}");
            if take.file.trim().is_empty() {
                return bad(field("file"), "is missing");
            }
            if !(0.1..=4.0).contains(&take.speed) {
                return bad(field("speed"), "must be from 0.1 to 4");
            }
            let is_time = |seconds: f64| Duration::try_from_secs_f64(seconds).is_ok();
            if !is_time(take.from) {
                return bad(field("from"), "must be seconds from 0");
            }
            if take.until.is_some_and(|until| !is_time(until) || until <= take.from) {
                return bad(field("until"), "must be seconds after `from`");
            }
        }
        for (source, subject) in &self.subjects {
            let mut rules = SubjectRules::default();
            if let Err(error) = rules.set_enabled(source, false) {
                return Some((format!("subjects[\"{}\"]", source.escape_debug()), error.to_string()));
            }
            if let Some(Err(error)) = subject.name.as_ref().map(|name| rules.call(source, name)) {
                return Some((format!("subjects[\"{source}\"].as"), error.to_string()));
            }
        }
        let playouts = self.playout.iter().map(|playout| ("playout".to_owned(), playout));
        let of_subjects = self.subjects.iter();
        let of_subjects = of_subjects
            .filter_map(|(name, subject)| Some((format!("subjects[\"{name}\"].playout"), subject.playout.as_ref()?)));
        for (field, playout) in playouts.chain(of_subjects) {
            let fixed = match playout.mode {
                Mode::Fixed(ms) => Some(ms),
                Mode::Latest | Mode::Smooth | Mode::Timecode => None,
            };
            let mut times = [fixed, playout.least_ms, playout.most_ms].into_iter().flatten();
            if times.any(|ms| !(0.0..=10_000.0).contains(&ms)) {
                return bad(field, "times must be from 0 to 10000 milliseconds");
            }
        }
        if let Some(Gestures::Rules(set)) = &self.gestures
            && let Err(error) = GestureRecognizer::new(set)
        {
            return Some(match error {
                GestureError::Rule { field, message } => (format!("gestures.Rules.{field}"), message),
                error => ("gestures".to_owned(), error.to_string()),
            });
        }
        if let Some(budget) = self.budget
            && !(budget.ms.is_finite() && budget.ms > 0.0)
        {
            return bad("budget.ms".to_owned(), "must be above 0");
        }
        let network = self.network.as_ref()?;
        let ports = match &network.phones {
            Phones::Ports(ports) => {
                ports.keys().find(|port| matches!(port, PhonePort::LiveLinkFace | PhonePort::UdpJson))
            }
            Phones::Off | Phones::Usual => None,
        };
        if let Some(port) = ports {
            return Some(("network.phones".to_owned(), format!("{port} has a field of its own in `network`")));
        }
        for (index, out) in network.vrchat_out.iter().enumerate() {
            let field = |name: &str| format!("network.vrchat_out[{index}].{name}");
            if !(1.0..=240.0).contains(&out.max_fps) {
                return bad(field("max_fps"), "must be from 1 to 240");
            }
            let mapping = match &out.mapping {
                Some(OutMapping::Rules(mapping)) => Some(mapping),
                Some(OutMapping::File(_)) | None => None,
            };
            match VrchatWriter::new(&out.prefix, mapping.map(AsRef::as_ref)) {
                Ok(_) => {}
                Err(error @ VrchatError::Prefix(_)) => return Some((field("prefix"), error.to_string())),
                Err(error) => return Some((field("mapping"), error.to_string())),
            }
        }
        let unknown =
            network.profiles.keys().find(|app| SourceKind::from_name(app).and_then(SourceKind::app).is_none());
        if let Some(app) = unknown {
            return Some((format!("network.profiles[\"{app}\"]"), "there is no app of this name".to_owned()));
        }
        None
    }
}

#[cfg(test)]
mod tests;
