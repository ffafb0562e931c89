//! What 300 connections leave behind.
//!
//! The endpoint runs in this process, whose resources are counted; everything that connects to it is a process of its own.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use facelink_net::{Client, ClientConfig, ClientState, Endpoint, EndpointConfig, SourceKind};
use rustix::process::Signal;

use super::{
    common::{Res, load},
    proc::Proc,
    table::Table,
    usage::Usage,
};

const LIMIT: Duration = Duration::from_secs(20);
/// Beyond every time-out of the endpoint: 20 s for a peer that opened no channel, 10 s for a face to come back.
const QUIET_LIMIT: Duration = Duration::from_secs(60);
/// Processes that stand still at a time.
const MAX_STILL: usize = 24;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long, default_value_t = 300)]
    cycles: usize,
    /// Cycles before the first count: memory that an allocator keeps is no leak.
    #[arg(long, default_value_t = 30)]
    warm_up: usize,
    /// Counts after every so many cycles too.
    #[arg(long, default_value_t = 100)]
    every: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    WebSocket,
    WebRtc,
    Offer,
    Udp,
    Room,
    Outward,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Says goodbye.
    Clean,
    /// Falls silent; its sockets stay until the endpoint has given it up.
    Silent,
    /// SIGKILL.
    Killed,
}

const MODES: [Mode; 6] = [Mode::WebSocket, Mode::WebRtc, Mode::Offer, Mode::Udp, Mode::Room, Mode::Outward];
const ENDS: [End; 3] = [End::Clean, End::Silent, End::Killed];

struct Ring {
    endpoint: Endpoint,
    url: String,
    http: String,
    udp: String,
    /// Stand still until the end.
    still: Vec<(Instant, Proc)>,
    failed: usize,
}

pub fn run(args: &Args) -> Res<()> {
    println!("{} cycles after {} to warm up; {}\n", args.cycles, args.warm_up, load());
    let endpoint = Endpoint::start(EndpointConfig { port: 0, udp_json: Some(0), ..EndpointConfig::default() })?;
    let address = endpoint.addresses().http;
    let udp = endpoint.addresses().udp_json.ok_or("no UDP port")?;
    let mut ring = Ring {
        endpoint,
        url: format!("ws://{address}"),
        http: address.to_string(),
        udp: udp.to_string(),
        still: Vec::new(),
        failed: 0,
    };
    let started = Usage::of(&ring.endpoint);
    for cycle in 0..args.warm_up {
        ring.cycle(cycle)?;
    }
    let before = ring.quiet(started);
    let mut table = Table::headed(["when"].into_iter().chain(Usage::COLUMNS));
    table.push(started.row("endpoint just started".to_owned()));
    table.push(before.row(format!("after {} to warm up", args.warm_up)));
    let mut after = before;
    for cycle in 0..args.cycles {
        ring.cycle(cycle)?;
        if (cycle + 1) % args.every.max(1) == 0 || cycle + 1 == args.cycles {
            after = ring.quiet(started);
            table.push(after.row(format!("after {} cycles", cycle + 1)));
        }
    }
    table.print();
    println!("\nCycles that never came to stand: {}", ring.failed);
    if after.held() == started.held() { Ok(()) } else { Err("something stays behind".into()) }
}

impl Ring {
    fn cycle(&mut self, cycle: usize) -> Res<()> {
        let mode = MODES[cycle % MODES.len()];
        let end = ENDS[(cycle / MODES.len()) % ENDS.len()];
        let subject = format!("{mode:?} {cycle}");
        if mode == Mode::Outward {
            return self.outward(end);
        }
        let mut procs = match mode {
            Mode::WebSocket => vec![self.client(&subject, true)?],
            Mode::WebRtc => vec![self.client(&subject, false)?],
            Mode::Offer => vec![Proc::start(None, &["raw", "--to", &self.http, "--subject", &subject])?],
            Mode::Udp => vec![Proc::start(None, &["udp", "--to", &self.udp, "--subject", &subject])?],
            Mode::Room | Mode::Outward => {
                vec![self.room_peer(&format!("{subject} a"))?, self.room_peer(&format!("{subject} b"))?]
            }
        };
        if !self.stands(mode, &subject, &mut procs) {
            println!("cycle {cycle}: {mode:?} did not come to stand");
            self.failed += 1;
        }
        for mut proc in procs {
            match end {
                End::Clean => proc.quit(LIMIT)?,
                End::Killed => proc.kill(),
                End::Silent => {
                    proc.signal(Signal::STOP)?;
                    self.still.push((Instant::now(), proc));
                }
            }
        }
        while self.still.len() > MAX_STILL {
            let (since, proc) = self.still.remove(0);
            thread::sleep(QUIET_LIMIT.saturating_sub(Duration::from_secs(30)).saturating_sub(since.elapsed()));
            drop(proc);
        }
        Ok(())
    }

    fn client(&self, subject: &str, websocket: bool) -> Res<Proc> {
        let mut args = vec!["client", "--url", &self.url, "--subject", subject];
        if websocket {
            args.push("--websocket");
        }
        Proc::start(None, &args)
    }

    fn room_peer(&self, subject: &str) -> Res<Proc> {
        Proc::start(None, &["endpoint", "--connect", &self.url, "--room", "lab", "--subject", subject, "--bulk"])
    }

    /// Whether it delivers as it should: by its own transport, and room peers to each other.
    fn stands(&self, mode: Mode, subject: &str, procs: &mut [Proc]) -> bool {
        let end = Instant::now() + LIMIT;
        loop {
            let stands = match mode {
                Mode::Room => procs.iter_mut().all(|room_peer| {
                    let told = room_peer.command("stats").and_then(|()| room_peer.wait("stats", LIMIT));
                    told.is_ok_and(|stats| stats["direct"].as_u64() >= Some(1))
                }),
                _ => self.endpoint.stats().subjects.iter().any(|face| {
                    let wanted = match mode {
                        Mode::WebSocket => SourceKind::WebSocket,
                        Mode::Udp => SourceKind::UdpJson,
                        _ => SourceKind::WebRtc,
                    };
                    (&*face.name == subject || mode == Mode::Offer) && face.source == wanted && face.frames > 3
                }),
            };
            if stands || Instant::now() > end {
                return stands;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// We dial another endpoint and hear its faces.
    fn outward(&mut self, end: End) -> Res<()> {
        let mut theirs = Proc::start(None, &["endpoint", "--bulk"])?;
        let address: SocketAddr = theirs.wait("listening", LIMIT)?.as_str().ok_or("no address")?.parse()?;
        let config = ClientConfig { receive: true, ..ClientConfig::new(format!("ws://{address}")) }.subject("Outward");
        let client: Client = self.endpoint.connect(config).ok_or("no runtime")?;
        let runtime = self.endpoint.runtime().ok_or("no runtime")?;
        let open = |state: &ClientState| *state == ClientState::Connected(SourceKind::WebRtc);
        let opened = runtime.block_on(async { tokio::time::timeout(LIMIT, client.wait_for(open)).await.is_ok() });
        self.failed += usize::from(!opened);
        match end {
            End::Clean => {
                drop(client);
                theirs.quit(LIMIT)?;
            }
            End::Silent => {
                theirs.signal(Signal::STOP)?;
                // It is given up first, and then dialled in vain.
                let gone = |state: &ClientState| !matches!(state, ClientState::Connected(_));
                runtime.block_on(async { tokio::time::timeout(LIMIT, client.wait_for(gone)).await })?;
                drop(client);
                self.still.push((Instant::now(), theirs));
            }
            End::Killed => {
                theirs.kill();
                drop(client);
            }
        }
        Ok(())
    }

    /// Waits for the counts to return, for as long as anything may take, and returns them.
    fn quiet(&mut self, wanted: Usage) -> Usage {
        let end = Instant::now() + QUIET_LIMIT;
        loop {
            for _ in self.endpoint.frames().try_iter() {}
            for _ in self.endpoint.events().try_iter() {}
            let now = Usage::of(&self.endpoint);
            // Those that stand still hold descriptors of ours: their pipes.
            let given_up = now.connections == 0 && now.subjects == 0;
            if given_up || Instant::now() > end {
                self.still.clear();
            }
            if now.held() == wanted.held() || Instant::now() > end {
                return now;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
