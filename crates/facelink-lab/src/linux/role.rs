//! The processes at both ends: an endpoint that reports every frame, and a client that reports every frame that it sends.
//!
//! Commands come on the standard input; its end is the command to leave politely.

use std::{
    io::{BufRead, Write},
    net::IpAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded, never, select, tick};
use facelink::{FaceFrame, performer::Performance, timing::RateSettings};
use facelink_net::{Client, ClientConfig, ClientState, Endpoint, EndpointConfig, PhonePorts, SubjectFrame};
use serde_json::{Value, json};

use super::common::{Res, now_us};

#[derive(clap::Args)]
pub struct EndpointArgs {
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    #[arg(long, default_value_t = 0)]
    port: u16,
    #[arg(long)]
    token: Option<String>,
    /// Asks this machine's own peers for the token too.
    #[arg(long)]
    token_on_loopback: bool,
    /// Keeps the frames until it is asked for them, so that telling them costs nothing meanwhile.
    #[arg(long)]
    bulk: bool,
    /// Asks its senders for fewer frames where the network needs it.
    #[arg(long)]
    adaptive: bool,
    /// Listens for every phone app.
    #[arg(long)]
    phones: bool,
    /// Dials out, for the faces there.
    #[arg(long)]
    connect: Option<String>,
    /// Without WebRTC outwards.
    #[arg(long)]
    websocket: bool,
    /// Room to meet others in, at the endpoint that it dials.
    #[arg(long)]
    room: Option<String>,
    /// Name of a face to send there.
    #[arg(long)]
    subject: Option<String>,
}

#[derive(clap::Args)]
pub struct ClientArgs {
    #[arg(long)]
    url: String,
    #[arg(long)]
    token: Option<String>,
    #[arg(long, default_value = "Ann")]
    subject: String,
    #[arg(long, default_value_t = 60.0)]
    fps: f64,
    /// Faces of this connection.
    #[arg(long, default_value_t = 1)]
    faces: usize,
    #[arg(long)]
    websocket: bool,
    /// What changed in place of whole faces.
    #[arg(long)]
    delta: bool,
    #[arg(long)]
    bulk: bool,
}

/// Fails when the reader is gone: the lab has ended.
pub fn try_say(line: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush())
}

pub fn say(line: &Value) {
    if try_say(line).is_err() {
        std::process::exit(0);
    }
}

/// Commands from the lab; ends with it.
pub fn commands() -> Receiver<String> {
    let (sender, receiver) = bounded(16);
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Number, arrival, transport, name, and the time of day that the frame carries.
fn told(frame: &SubjectFrame) -> Value {
    let arrival = now_us() - frame.received.elapsed().as_micros() as i64;
    let stamp = frame.frame.capture_time.map(|time| time.as_micros() as i64);
    // Senders that cannot stamp a frame put the fraction of the second into a channel.
    let fraction = frame.frame.channels.iter().find(|channel| &*channel.name == "labClock").map(|c| c.value);
    json!([frame.frame.sequence, arrival, frame.source.as_str(), &*frame.name, stamp, fraction])
}

pub fn endpoint(args: &EndpointArgs) -> Res<()> {
    let commands = commands();
    let endpoint = Endpoint::start(EndpointConfig {
        bind: args.bind,
        port: args.port,
        token: args.token.clone(),
        token_on_loopback: args.token_on_loopback,
        udp_json: Some(0),
        live_link_face: args.phones.then_some(0),
        phones: if args.phones { PhonePorts::free() } else { PhonePorts::NONE },
        adaptive_fps: RateSettings { enabled: args.adaptive, ..RateSettings::default() },
        ..EndpointConfig::default()
    })?;
    let addresses = endpoint.addresses();
    if args.phones {
        let ports: serde_json::Map<String, Value> = endpoint
            .phone_ports()
            .into_iter()
            .map(|(port, address)| (port.setting().trim_start_matches("phones.").to_owned(), json!(address)))
            .collect();
        say(&json!({"ports": ports}));
    }
    say(&json!({"listening": addresses.http, "udp": addresses.udp_json, "t": now_us()}));
    let client = args.connect.as_ref().and_then(|url| {
        endpoint.connect(ClientConfig {
            receive: args.room.is_none(),
            room: args.room.clone(),
            subject: args.subject.clone(),
            webrtc: !args.websocket,
            ..ClientConfig::new(url)
        })
    });
    let mut kept = Vec::new();
    // Woken for nothing, it would look costlier than it is.
    let ticks = if args.subject.is_some() { tick(Duration::from_micros(16_667)) } else { never() };
    let performance = Performance::new(1);
    let start = Instant::now();
    loop {
        select! {
            recv(endpoint.frames()) -> frame => {
                let frame = frame?;
                if frame.late {
                    continue;
                }
                let told = told(&frame);
                if args.bulk { kept.push(told) } else { say(&json!({"f": told})) }
            }
            recv(endpoint.events()) -> event => {
                event?;
            }
            recv(ticks) -> _ => {
                if let (Some(client), true) = (&client, args.subject.is_some()) {
                    client.send(performance.frame_at(start.elapsed()));
                }
            }
            recv(commands) -> command => match command.as_deref() {
                Ok("dump") => say(&json!({"frames": std::mem::take(&mut kept)})),
                Ok("ports") => say(&json!({"arrivals": endpoint.arrivals()})),
                Ok("stats") => {
                    let connections = endpoint.connections();
                    let direct = client.as_ref().map(|client| client.stats().direct);
                    say(&json!({"stats": {"all": endpoint.stats(), "connections": connections, "direct": direct}}));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }
    drop(client);
    // The client says goodbye on the endpoint's runtime.
    thread::sleep(Duration::from_millis(50));
    drop(endpoint);
    Ok(())
}

fn state_name(state: &ClientState) -> String {
    match state {
        ClientState::Connected(kind) => kind.as_str().to_owned(),
        ClientState::Connecting => "connecting".to_owned(),
        ClientState::Waiting(_) => "waiting".to_owned(),
        ClientState::Refused(error) => format!("refused: {error}"),
        _ => "other".to_owned(),
    }
}

pub fn client(args: &ClientArgs) -> Res<()> {
    let commands = commands();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let config = ClientConfig {
        token: args.token.clone(),
        webrtc: !args.websocket,
        delta: args.delta,
        ..ClientConfig::new(&args.url)
    };
    let client = Arc::new(Client::start(config.subject(&args.subject), runtime.handle()));

    let watched = Arc::downgrade(&client);
    thread::spawn(move || {
        let (mut state, mut reconnects) = (String::new(), 0);
        while let Some(client) = watched.upgrade() {
            let now = state_name(&client.state());
            if now != state {
                say(&json!({"state": now, "t": now_us()}));
                state = now;
            }
            let stats = client.stats();
            if stats.reconnects != reconnects {
                reconnects = stats.reconnects;
                say(&json!({"reconnects": reconnects, "t": now_us()}));
            }
            drop(client);
            thread::sleep(Duration::from_millis(3));
        }
    });

    let names: Vec<String> = (1..args.faces).map(|face| format!("{} {face}", args.subject)).collect();
    let performance = Performance::new(7);
    let (mut kept, mut number) = (Vec::new(), 0_u64);
    let start = Instant::now();
    let mut due = start;
    loop {
        match commands.recv_deadline(due) {
            Ok(command) => {
                match command.as_str() {
                    "dump" => say(&json!({"sends": std::mem::take(&mut kept)})),
                    "stats" => {
                        let stats = client.stats();
                        say(&json!({"stats": {
                            "t": now_us(), "target": stats.target_fps,
                            "sent": stats.sent, "dropped": stats.dropped, "hedged": stats.hedged, "moves": stats.moves,
                            "reconnects": stats.reconnects, "rtt_ms": stats.rtt_ms,
                        }}));
                    }
                    _ => {}
                }
                continue;
            }
            Err(error) if error.is_disconnected() => break,
            Err(_) => {}
        }
        number += 1;
        let mut frame: FaceFrame = performance.frame_at(start.elapsed());
        frame.sequence = Some(number);
        let sent = now_us();
        frame.capture_time = u64::try_from(sent).ok().map(Duration::from_micros);
        for name in &names {
            client.send_as(name, frame.clone());
        }
        client.send(frame);
        if args.bulk {
            kept.push([number as i64, sent]);
        } else {
            say(&json!({"s": [number, sent]}));
        }
        // As an application does that heeds what it is asked for.
        due += Duration::from_secs_f64(1.0 / args.fps.min(f64::from(client.target_fps())).max(1.0));
        let now = Instant::now();
        if now > due + Duration::from_millis(250) {
            due = now;
        }
    }
    drop(client);
    // It says goodbye on its runtime.
    thread::sleep(Duration::from_millis(100));
    runtime.shutdown_timeout(Duration::from_millis(200));
    Ok(())
}
