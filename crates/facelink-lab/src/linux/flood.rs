//! A flood on one port during a face on another.

use std::{
    collections::HashMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use facelink::{
    FaceFrame,
    performer::Performance,
    wire::{
        json::write_arkit_data,
        llf::{self, LlfPacket},
    },
};
use serde_json::Value;

use super::{
    common::{Res, load, now_us},
    proc::Proc,
    table::{Table, figure, quantile},
};

const LIMIT: Duration = Duration::from_secs(20);
const FRAME: Duration = Duration::from_micros(16_667);
const SUBJECT: &str = "Ann";

#[derive(clap::Args)]
pub struct Args {
    /// Seconds of each row.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Datagrams a second of the flood.
    #[arg(long, default_value_t = 100_000)]
    rate: u64,
}

/// What comes in masses.
#[derive(Clone, Copy, PartialEq)]
enum Flood {
    Nothing,
    Garbage,
    /// Good JSON faces of one sender.
    Faces,
    /// Live Link Face of ever new devices.
    Devices,
}

impl Flood {
    const ALL: [(Self, &str); 4] = [
        (Self::Nothing, "none"),
        (Self::Garbage, "400 bytes that are nothing"),
        (Self::Faces, "good JSON faces of one sender"),
        (Self::Devices, "Live Link Face of ever new devices"),
    ];
}

pub fn run(args: &Args) -> Res<()> {
    println!(
        "A face at 60 Hz on one port, {} datagrams a second on another, {} s each; {}\n",
        args.rate,
        args.seconds,
        load()
    );
    let mut table = Table::new([
        "flood",
        "datagrams a second",
        "taken in",
        "frames of the face lost",
        "age ms median",
        "p99",
        "worst",
        "longest gap ms",
        "endpoint's CPU %",
    ]);
    for (flood, name) in Flood::ALL {
        table.row(row(args, flood, name)?);
    }
    table.print();
    Ok(())
}

fn address(listening: &Value, port: &str) -> Res<SocketAddr> {
    Ok(listening[port].as_str().ok_or("no such port")?.parse()?)
}

fn row(args: &Args, flood: Flood, name: &str) -> Res<[String; 9]> {
    let mut endpoint = Proc::start(None, &["endpoint", "--phones", "--bulk"])?;
    let ports = endpoint.wait("ports", LIMIT)?;
    let (face, other) = (address(&ports, "live_link_face")?, address(&ports, "udp_json")?);
    let stop = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let flooding = (flood != Flood::Nothing).then(|| {
        let (stop, sent, rate) = (stop.clone(), sent.clone(), args.rate);
        thread::spawn(move || pour(flood, other, rate, &stop, &sent))
    });

    let cpu = endpoint.cpu_us();
    let (begin, performance) = (Instant::now(), Performance::new(1));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let (mut sends, mut bytes, mut due) = (HashMap::new(), Vec::new(), begin);
    for number in 0..(args.seconds * 60) as i32 {
        let packet = LlfPacket::new("lab", SUBJECT, number, performance.frame_at(begin.elapsed()));
        bytes.clear();
        llf::encode(&packet, &llf::PROFILE, &mut bytes)?;
        sends.insert(u64::try_from(number)?, now_us());
        socket.send_to(&bytes, face)?;
        due += FRAME;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let took = begin.elapsed().as_secs_f64();
    let cpu = (endpoint.cpu_us() - cpu) / (took * 1e4);
    stop.store(true, Ordering::Relaxed);
    if let Some(flooding) = flooding {
        flooding.join().map_err(|_| "the flood failed")??;
    }
    let poured = sent.load(Ordering::Relaxed) as f64 / took;
    endpoint.command("ports")?;
    let arrived = endpoint.wait("arrivals", LIMIT)?;
    let of_flood = arrived.as_array().into_iter().flatten().find(|port| port["port"] == "udp_json");
    let count = |field: &str| of_flood.and_then(|port| port[field].as_u64()).unwrap_or(0);
    let taken = count("datagrams").saturating_sub(count("flooded") + count("refused"));
    endpoint.command("dump")?;
    let frames = endpoint.wait("frames", LIMIT)?;

    let (mut ages, mut gap, mut last) = (Vec::new(), 0, None);
    let mut seen = std::collections::HashSet::new();
    for frame in frames.as_array().into_iter().flatten().filter(|frame| frame[3] == SUBJECT) {
        let (Some(number), Some(at)) = (frame[0].as_u64(), frame[1].as_i64()) else { continue };
        let Some(sent) = sends.get(&number) else { continue };
        if seen.insert(number) {
            ages.push((at - sent) as f64 / 1000.0);
        }
        gap = last.map_or(0, |last| at - last).max(gap);
        last = Some(at);
    }
    let age = |share: f64| figure(quantile(&ages, share), 2);
    Ok([
        name.to_owned(),
        figure(Some(poured), 0),
        figure(Some(taken as f64 / took), 0),
        (sends.len() - seen.len()).to_string(),
        age(0.5),
        age(0.99),
        age(1.0),
        figure(Some(gap as f64 / 1000.0), 1),
        figure(Some(cpu), 0),
    ])
}

/// Sends datagrams at `rate` until told to stop.
fn pour(flood: Flood, to: SocketAddr, rate: u64, stop: &AtomicBool, sent: &AtomicU64) -> Res<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let frame = Performance::new(2).frame_at(Duration::from_secs(1));
    let mut datagram = match flood {
        Flood::Nothing => Vec::new(),
        Flood::Garbage => vec![0x9b; 400],
        Flood::Faces => {
            let mut text = String::new();
            write_arkit_data(&mut text, &frame, Some("flood"), None);
            text.into_bytes()
        }
        Flood::Devices => device(&frame, 0)?,
    };
    let (begin, mut count) = (Instant::now(), 0_u64);
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        while count < due {
            if flood == Flood::Devices {
                datagram = device(&frame, count)?;
            }
            // A full queue loses it, as on any network.
            if socket.send_to(&datagram, to).is_ok() {
                sent.fetch_add(1, Ordering::Relaxed);
            }
            count += 1;
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

fn device(frame: &FaceFrame, number: u64) -> Res<Vec<u8>> {
    let (id, mut bytes) = (format!("device {number}"), Vec::new());
    llf::encode(&LlfPacket::new(&id, "flood", number as i32, frame.clone()), &llf::PROFILE, &mut bytes)?;
    Ok(bytes)
}
