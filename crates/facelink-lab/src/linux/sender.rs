//! An endpoint and one sender of a face at 60 Hz, each in its namespace.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::Value;

use super::{
    age::Arrival,
    common::Res,
    net::{Net, SERVER},
    path::Shape,
    proc::Proc,
};

/// Chromium alone may take a minute to connect over a bad network.
const LIMIT: Duration = Duration::from_secs(120);
const TOKEN: &str = "lab";
const SUBJECT: &str = "Ann";

/// A process of the lab that sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `facelink.js` in Chromium.
    Chromium,
    /// Our client in Rust.
    Rust,
    /// A peer without our client.
    Raw,
    Udp,
}

/// What a sender says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Stats {
    /// Unix microseconds.
    pub t: i64,
    pub sent: u64,
    /// Packets that repeat earlier frames, where the sender knows.
    pub repeats: Option<u64>,
}

/// A frame that the endpoint took.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub arrival: Arrival,
    pub webrtc: bool,
}

pub struct Pair {
    // The processes end before their namespaces go.
    sender: Proc,
    endpoint: Proc,
    pub net: Net,
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Politely: Chromium outlives a sender that is killed.
        let _ = self.sender.quit(LIMIT);
    }
}

impl Pair {
    /// Starts both and waits until frames go by `transport`. The network is good until the sender begins to connect.
    pub fn start(role: Role, arguments: &[&str], transport: &str, up: Shape, down: Shape) -> Res<Self> {
        let net = Net::new()?;
        let bind = SERVER.to_string();
        let mut options = vec!["endpoint", "--bind", &bind, "--token", TOKEN, "--bulk", "--adaptive"];
        if role == Role::Udp {
            options.push("--phones");
        }
        let endpoint = Proc::start(Some(&net.server), &options)?;
        let mut to = String::new();
        if role == Role::Udp {
            let ports = endpoint.wait("ports", LIMIT)?;
            ports["live_link_face"].as_str().ok_or("no port for Live Link Face")?.clone_into(&mut to);
        }
        let address = endpoint.wait("listening", LIMIT)?;
        let address: SocketAddr = address.as_str().ok_or("no address")?.parse()?;
        if to.is_empty() {
            to = address.to_string();
        }
        let (url, here) = (format!("ws://{to}"), Net::client_address().to_string());
        let mut options = match role {
            Role::Chromium => vec!["browser", "--to", &to, "--token", TOKEN],
            Role::Rust => vec!["client", "--url", &url, "--token", TOKEN, "--bulk"],
            Role::Raw => vec!["raw", "--to", &to, "--token", TOKEN, "--bind", &here],
            Role::Udp => vec!["udp", "--to", &to, "--bind", &here],
        };
        options.extend(["--subject", SUBJECT]);
        options.extend(arguments);
        if role != Role::Chromium {
            net.shape(up, down);
        }
        let exe: PathBuf = std::env::current_exe()?;
        let mut pair = Self { sender: Proc::start_program(Some(&net.client), exe, &options)?, endpoint, net };
        if role == Role::Chromium {
            pair.sender.wait("ready", LIMIT)?;
            pair.net.shape(up, down);
            pair.sender.command("go")?;
        }
        while pair.sender.wait("state", LIMIT)? != transport {}
        Ok(pair)
    }

    pub fn stats(&mut self) -> Res<Stats> {
        self.sender.command("stats")?;
        let stats = self.sender.wait("stats", LIMIT)?;
        Ok(Stats {
            t: stats["t"].as_i64().ok_or("no time")?,
            sent: stats["sent"].as_u64().ok_or("no number of frames")?,
            repeats: stats["repeats"].as_u64(),
        })
    }

    fn told(&mut self) -> Res<Value> {
        self.endpoint.command("dump")?;
        self.endpoint.wait("frames", LIMIT)
    }

    /// How many frames the endpoint took since it was last asked.
    pub fn taken(&mut self) -> Res<usize> {
        Ok(self.told()?.as_array().map_or(0, Vec::len))
    }

    /// The frames that the endpoint took since it was last asked, as far as they say when they were captured.
    pub fn frames(&mut self) -> Res<Vec<Frame>> {
        let told = self.told()?;
        let frame = |told: &Value| {
            let arrival = Arrival { at: told[1].as_i64()?, captured: told[4].as_i64()? };
            Some(Frame { arrival, webrtc: told[2] == "webrtc" })
        };
        Ok(told.as_array().into_iter().flatten().filter_map(frame).collect())
    }
}
