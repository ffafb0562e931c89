//! A face of a client with the token, while others without one do what they can.

use std::{
    collections::{HashSet, VecDeque},
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelink::{
    performer::Performance,
    wire::{
        json::write_arkit_data,
        llf::{self, LlfPacket},
    },
};
use serde_json::Value;

use super::{
    common::{Res, load},
    proc::Proc,
    table::{Table, figure, quantile},
};

const LIMIT: Duration = Duration::from_secs(20);
const TOKEN: &str = "lab";
const SUBJECT: &str = "Ann";

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each row.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Datagrams, requests or sockets a second of an attack that has a rate.
    #[arg(long, default_value_t = 2000)]
    rate: u64,
}

/// What peers without the token do.
#[derive(Clone, Copy, PartialEq)]
enum Attack {
    Nothing,
    /// JSON datagrams, each with a name of its own.
    Names,
    /// JSON datagrams and Live Link Face with the name of the face.
    SameName,
    /// Live Link Face of ever new devices.
    Devices,
    /// WebSockets that never show the token.
    Sockets,
    /// HTTP sockets that ask and do not read.
    NoReaders,
    /// HTTP sockets that send a byte now and then.
    SlowWriters,
    /// WebSockets that show wrong tokens, or ask to resume by guessed ids.
    Guesses,
}

impl Attack {
    const ALL: [(Self, &str); 8] = [
        (Self::Nothing, "none"),
        (Self::Names, "JSON datagrams of ever new names"),
        (Self::SameName, "datagrams with the name of the face"),
        (Self::Devices, "Live Link Face of ever new devices"),
        (Self::Sockets, "WebSockets without a token"),
        (Self::NoReaders, "requests whose answers are not read"),
        (Self::SlowWriters, "requests of a byte at a time"),
        (Self::Guesses, "wrong tokens and ids"),
    ];
}

/// Where to.
#[derive(Clone, Copy)]
struct Target {
    http: SocketAddr,
    json: SocketAddr,
    phone: SocketAddr,
}

pub fn run(args: &Args) -> Res<()> {
    println!(
        "A face at 60 Hz of a client with the token, others without one at {} a second, {} s each; {}\n",
        args.rate,
        args.seconds,
        load()
    );
    let mut table = Table::new([
        "attack",
        "attempts a second",
        "frames lost",
        "age ms median",
        "p99",
        "worst",
        "connections",
        "subjects",
        "memory MB before",
        "after",
    ]);
    for (attack, name) in Attack::ALL {
        table.row(row(args, attack, name)?);
    }
    table.print();
    Ok(())
}

fn address(value: &Value) -> Res<SocketAddr> {
    Ok(value.as_str().ok_or("no such port")?.parse()?)
}

fn row(args: &Args, attack: Attack, name: &str) -> Res<[String; 10]> {
    let options = ["endpoint", "--phones", "--bulk", "--token", TOKEN, "--token-on-loopback"];
    let mut endpoint = Proc::start(None, &options)?;
    let ports = endpoint.wait("ports", LIMIT)?;
    let target = Target {
        json: address(&ports["udp_json"])?,
        phone: address(&ports["live_link_face"])?,
        http: address(&endpoint.wait("listening", LIMIT)?)?,
    };
    let url = format!("ws://{}", target.http);
    let options = ["client", "--url", &url, "--token", TOKEN, "--subject", SUBJECT, "--websocket", "--bulk"];
    let mut client = Proc::start(None, &options)?;
    while client.wait("state", LIMIT)? != "websocket" {}
    thread::sleep(Duration::from_secs(1));
    let before = memory_mb(&endpoint)?;

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let attacking = {
        let (stop, done, rate) = (stop.clone(), done.clone(), args.rate);
        thread::spawn(move || strike(attack, target, rate, &stop, &done))
    };
    let begin = Instant::now();
    thread::sleep(Duration::from_secs(args.seconds));
    let took = begin.elapsed().as_secs_f64();
    // While it is at its height.
    endpoint.command("stats")?;
    let stats = endpoint.wait("stats", LIMIT)?;
    let after = memory_mb(&endpoint)?;
    client.command("dump")?;
    let sends = client.wait("sends", LIMIT)?;
    stop.store(true, Ordering::Relaxed);
    attacking.join().map_err(|_| "the attack failed")??;
    thread::sleep(Duration::from_millis(300));
    endpoint.command("dump")?;
    let frames = endpoint.wait("frames", LIMIT)?;

    let (mut ages, mut seen) = (Vec::new(), HashSet::new());
    for frame in frames.as_array().into_iter().flatten().filter(|frame| frame[3] == SUBJECT) {
        let (Some(number), Some(at), Some(captured)) = (frame[0].as_u64(), frame[1].as_i64(), frame[4].as_i64()) else {
            continue;
        };
        if seen.insert(number) {
            ages.push((at - captured) as f64 / 1000.0);
        }
    }
    let sent: Vec<u64> = sends.as_array().into_iter().flatten().filter_map(|send| send[0].as_u64()).collect();
    // The first ones were sent before there was a connection.
    let first = seen.iter().min().copied().unwrap_or(0);
    let lost = sent.iter().filter(|number| **number >= first && !seen.contains(number)).count();
    let age = |share: f64| figure(quantile(&ages, share), 2);
    let count = |value: &Value| value.as_array().map_or_else(|| value.to_string(), |list| list.len().to_string());
    Ok([
        name.to_owned(),
        figure(Some(done.load(Ordering::Relaxed) as f64 / took), 0),
        lost.to_string(),
        age(0.5),
        age(0.99),
        age(1.0),
        count(&stats["all"]["connections"]),
        count(&stats["all"]["subjects"]),
        figure(Some(before), 1),
        figure(Some(after), 1),
    ])
}

/// Resident memory of a process.
fn memory_mb(process: &Proc) -> Res<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

fn strike(attack: Attack, to: Target, rate: u64, stop: &AtomicBool, done: &AtomicU64) -> Res<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let frame = Performance::new(2).frame_at(Duration::from_secs(1));
    let phone = |name: &str, number: u64| -> Res<Vec<u8>> {
        let (id, mut bytes) = (format!("device {number}"), Vec::new());
        llf::encode(&LlfPacket::new(&id, name, number as i32, frame.clone()), &llf::PROFILE, &mut bytes)?;
        Ok(bytes)
    };
    let mut held: VecDeque<TcpStream> = VecDeque::new();
    let (begin, mut count, mut text) = (Instant::now(), 0_u64, String::new());
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while count < due && !stop.load(Ordering::Relaxed) {
            count += 1;
            match attack {
                Attack::Nothing => {}
                Attack::Names | Attack::SameName => {
                    let name = if attack == Attack::Names { format!("flood {count}") } else { SUBJECT.to_owned() };
                    write_arkit_data(&mut text, &frame, Some(&name), None);
                    let _ = socket.send_to(text.as_bytes(), to.json);
                    if attack == Attack::SameName {
                        let _ = socket.send_to(&phone(SUBJECT, 1)?, to.phone);
                    }
                }
                Attack::Devices => drop(socket.send_to(&phone("flood", count)?, to.phone)),
                Attack::Sockets => held.extend(upgrade(to.http, "/ws")),
                Attack::Guesses => {
                    if let Some(mut socket) = upgrade(to.http, &format!("/ws?token=guess{count}")) {
                        let _ = socket.read(&mut [0; 64]);
                    }
                }
                Attack::NoReaders => {
                    if let Some(mut socket) = connect(to.http) {
                        let request = format!("GET /app.js HTTP/1.1\r\nHost: {}\r\n\r\n", to.http).repeat(50);
                        let _ = socket.write_all(request.as_bytes());
                        held.push_back(socket);
                    }
                }
                Attack::SlowWriters => {
                    held.extend(connect(to.http));
                    let place = (count as usize) % held.len().max(1);
                    if let Some(socket) = held.get_mut(place) {
                        let _ = socket.write(b"G");
                    }
                }
            }
            // What this process may hold open.
            while held.len() > 500 {
                held.pop_front();
            }
            if attack != Attack::Nothing {
                done.fetch_add(1, Ordering::Relaxed);
            }
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn connect(to: SocketAddr) -> Option<TcpStream> {
    let socket = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    socket.set_write_timeout(Some(Duration::from_millis(1))).ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
    Some(socket)
}

fn upgrade(to: SocketAddr, path: &str) -> Option<TcpStream> {
    let mut socket = connect(to)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).ok()?;
    Some(socket)
}
