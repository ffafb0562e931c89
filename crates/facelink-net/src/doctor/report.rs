//! What a diagnosis consists of.

use std::{net::SocketAddr, sync::Arc};

use facelink::{
    source::{PhonePort, SourceKind},
    timing::Disbelieved,
    wire::llf::Author,
};
use serde::{Deserialize, Serialize};

use super::{addresses::OwnAddress, clock::Clock, port_owner::PortOwner};

/// How bad a piece of advice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// All is well.
    Ok,
    /// Good to know.
    Hint,
    /// Something works only by half.
    Warning,
    /// Something does not work.
    Error,
}

/// A piece of advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// How bad it is.
    pub severity: Severity,
    /// In words.
    pub text: String,
}

/// A port, open or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listening {
    /// What it is for.
    pub purpose: String,
    /// `UDP` or `TCP`.
    pub protocol: String,
    /// Where.
    pub address: SocketAddr,
    /// Why it is not open, and what to do; `None` when it is.
    pub problem: Option<String>,
    /// Which of the ports for phones; `None` for the one of HTTP.
    pub port: Option<PhonePort>,
    /// The process that owns it, when it is not open and the system reports that.
    #[serde(rename = "holder")]
    pub owner: Option<PortOwner>,
}

/// What to type into an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The app.
    pub app: String,
    /// What to do there.
    pub what: String,
}

/// A sender, on one port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Arriving {
    /// What it sends; `unknown` for bytes that no app sends.
    pub what: String,
    /// The app; `None` for bytes that no app sends.
    pub app: Option<SourceKind>,
    /// Where from.
    pub from: SocketAddr,
    /// The port's purpose and number.
    pub port: String,
    /// Where it arrives.
    pub at: SocketAddr,
    /// Datagrams a second.
    pub rate: f32,
    /// Since the last one, milliseconds.
    pub age_ms: f32,
    /// Why the last one was refused; `None` when it was taken.
    pub error: Option<String>,
    /// How the last one begins, when it is of no app.
    pub first_bytes: Option<String>,
}

/// A face that is there, by any transport.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Face {
    /// Its name.
    pub name: Arc<str>,
    /// What sends it.
    pub app: SourceKind,
    /// Where from.
    pub address: Option<SocketAddr>,
    /// Whether it is shown; see [`EndpointControl::enable_subject`](crate::EndpointControl::enable_subject).
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// Whether the sender sees a face.
    pub tracked: bool,
    /// Whether it reports the head's rotation.
    pub head: bool,
    /// Frames a second that arrive.
    pub fps: f32,
    /// Frames a second that the sender was asked for, where it can be.
    pub target_fps: f32,
    /// Frames so far.
    pub frames: u64,
    /// Age of the newest, milliseconds.
    pub age_ms: f32,
    /// Capture (or send) to arrival, milliseconds, where it can be known.
    pub latency_ms: Option<f32>,
    /// Share of frames lost, `0..=1`, where they are numbered and the numbers follow the frames.
    pub loss: Option<f32>,
    /// What of the sender's own frame numbers and clock does not follow its frames; `None` when both do.
    #[serde(default)]
    pub disbelieved: Option<Disbelieved>,
    /// Whether the app sends it, or a program that imitates the app.
    #[serde(default)]
    pub author: Author,
}

/// As reports of earlier versions mean it.
const fn enabled() -> bool {
    true
}

/// The whole report. Every list has a stable order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Of FaceLink.
    pub version: String,
    /// The page's address, with the token if one is needed; empty without an HTTP port.
    pub page: String,
    /// Every port, HTTP first.
    pub listening: Vec<Listening>,
    /// Addresses that a phone may be given, the likeliest first. While it listens on this machine alone: those that there
    /// would be.
    pub addresses: Vec<OwnAddress>,
    /// What to type into each app; nothing while no phone can reach it.
    pub settings: Vec<Setting>,
    /// Who sends right now, by port.
    pub arriving: Vec<Arriving>,
    /// Every face that is there, by name.
    pub faces: Vec<Face>,
    /// Phones that are called, a line each.
    pub phones: Vec<String>,
    /// What may have to be changed in the firewall; commands are indented.
    pub firewall: Vec<String>,
    /// The clock.
    pub clock: Clock,
    /// What to do, the worst first.
    pub advice: Vec<Advice>,
}
