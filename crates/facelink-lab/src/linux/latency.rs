//! One-way latency and cost on loopback, compared with aiortc and aiohttp.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;

use super::{
    common::{Res, load},
    proc::Proc,
    table::{Table, figure, quantile},
};

const LIMIT: Duration = Duration::from_secs(90);
const SENDER: &str = include_str!("../../py/sender.py");

#[derive(clap::Args)]
pub struct Args {
    /// A Python with aiortc and aiohttp; without one only our own client is measured.
    #[arg(long)]
    python: Option<PathBuf>,
    /// A program to compare with, an aiortc and aiohttp server with its own client, run by `--python`.
    #[arg(long, requires = "python")]
    theirs: Option<PathBuf>,
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Runs of each, of which the one with the lowest median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Senders at a time.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10])]
    senders: Vec<usize>,
}

/// One measurement.
#[derive(Clone, Debug, Default)]
struct Row {
    median_ms: f64,
    p99_ms: f64,
    /// Processor time of the receiving side.
    cpu_us: f64,
    received: usize,
    sent: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Theirs,
    Ours,
    OursInRust,
}

impl Who {
    fn title(self) -> &'static str {
        match self {
            Self::Theirs => "Python client to Python server",
            Self::Ours => "Python client to our endpoint",
            Self::OursInRust => "our client to our endpoint",
        }
    }
}

pub fn run(args: &Args) -> Res<()> {
    println!("One-way latency at 60 Hz on loopback, {} s, best of {}; {}\n", args.seconds, args.runs, load());
    let mut table = Table::new([
        "transport",
        "senders",
        "who",
        "received / sent",
        "median ms",
        "p99 ms",
        "CPU µs per message",
        "ratio to theirs: median, p99, CPU",
    ]);
    for transport in ["rtc", "ws"] {
        for senders in &args.senders {
            let mut reference: Option<Row> = None;
            for who in [Who::Theirs, Who::Ours, Who::OursInRust] {
                let mut best: Option<Row> = None;
                for _ in 0..args.runs.max(1) {
                    let row = match (who, &args.python, &args.theirs) {
                        (Who::Theirs, Some(python), Some(theirs)) => {
                            their_server(args, python, theirs, transport, *senders)?
                        }
                        (Who::Ours, Some(python), _) => python_to_us(args, python, transport, *senders)?,
                        (Who::OursInRust, ..) => rust_to_us(args, transport, *senders)?,
                        (Who::Theirs | Who::Ours, ..) => break,
                    };
                    if best.as_ref().is_none_or(|best| row.median_ms < best.median_ms) {
                        best = Some(row);
                    }
                }
                let Some(best) = best else { continue };
                let ratio = reference.as_ref().map(|theirs| {
                    format!(
                        "{:.2}, {:.2}, {:.2}",
                        best.median_ms / theirs.median_ms,
                        best.p99_ms / theirs.p99_ms,
                        best.cpu_us / theirs.cpu_us
                    )
                });
                table.row([
                    if transport == "rtc" { "WebRTC" } else { "WebSocket" }.to_owned(),
                    senders.to_string(),
                    who.title().to_owned(),
                    format!("{} / {}", best.received, best.sent),
                    figure(Some(best.median_ms), 3),
                    figure(Some(best.p99_ms), 3),
                    figure(Some(best.cpu_us), 0),
                    ratio.unwrap_or_else(|| "-".to_owned()),
                ]);
                if who == Who::Theirs {
                    reference = Some(best);
                }
            }
        }
    }
    table.print();
    println!("\nAfter it: {}", load());
    Ok(())
}

fn row(latencies: &[f64], cpu_us: f64, sent: usize) -> Res<Row> {
    let received = latencies.len();
    Ok(Row {
        median_ms: quantile(latencies, 0.5).ok_or("nothing arrived")?,
        p99_ms: quantile(latencies, 0.99).ok_or("nothing arrived")?,
        cpu_us: cpu_us / received as f64,
        received,
        sent,
    })
}

fn free_port() -> Res<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The other program against itself; it measures by itself too.
fn their_server(args: &Args, python: &Path, theirs: &Path, transport: &str, senders: usize) -> Res<Row> {
    let port = free_port()?;
    let script = theirs.to_string_lossy().into_owned();
    let port_text = port.to_string();
    let _server = Proc::start_program(None, python.to_owned(), &[&script, "server", "--port", &port_text])?;
    let end = std::time::Instant::now() + LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if std::time::Instant::now() > end {
            return Err("the Python server does not start".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let (seconds, n) = (args.seconds.to_string(), senders.to_string());
    let client = Proc::start_program(
        None,
        python.to_owned(),
        &[
            &script,
            "latency",
            "--transport",
            transport,
            "--fps",
            "60",
            "--secs",
            &seconds,
            "--n",
            &n,
            "--port",
            &port_text,
        ],
    )?;
    let told = client.lines().recv_timeout(LIMIT).map_err(|_| "the Python client reports nothing")?;
    let number = |value: &Value| value.as_f64().ok_or("a figure is missing");
    let received = number(&told["recv"])?;
    // It counts from the first frame to a second after the last one.
    let cpu_us = number(&told["server_cpu_pct"])? / 100.0 * (args.seconds as f64 + 1.0) * 1e6;
    Ok(Row {
        median_ms: number(&told["one_way_ms"]["p50"])?,
        p99_ms: number(&told["one_way_ms"]["p99"])?,
        cpu_us: cpu_us / received,
        received: received as usize,
        sent: told["sent"].as_u64().unwrap_or(0) as usize,
    })
}

fn start_endpoint() -> Res<(Proc, String)> {
    let server = Proc::start(None, &["endpoint", "--bulk"])?;
    let address = server.wait("listening", LIMIT)?.as_str().ok_or("no address")?.to_owned();
    Ok((server, address))
}

fn python_to_us(args: &Args, python: &Path, transport: &str, senders: usize) -> Res<Row> {
    let (mut server, address) = start_endpoint()?;
    let script = std::env::temp_dir().join(format!("facelink-lab-{}.py", std::process::id()));
    std::fs::write(&script, SENDER)?;
    let measured = python_run(args, python, &script, transport, senders, &mut server, &address);
    let _ = std::fs::remove_file(&script);
    let (cpu_us, sent) = measured?;
    server.command("dump")?;
    let frames = server.wait("frames", LIMIT)?;
    let mut latencies = Vec::new();
    for frame in frames.as_array().into_iter().flatten() {
        let (Some(at), Some(fraction)) = (frame[1].as_i64(), frame[5].as_f64()) else { continue };
        latencies.push((at - (fraction * 1e6) as i64).rem_euclid(1_000_000) as f64 / 1000.0);
    }
    row(&latencies, cpu_us, sent)
}

/// Processor time that the endpoint needed, and frames sent.
fn python_run(
    args: &Args,
    python: &Path,
    script: &Path,
    transport: &str,
    senders: usize,
    server: &mut Proc,
    address: &str,
) -> Res<(f64, usize)> {
    let (script, seconds, n) = (script.to_string_lossy(), args.seconds.to_string(), senders.to_string());
    let arguments = [&*script, "--to", address, "--transport", transport, "--fps", "60", "--secs", &seconds, "--n", &n];
    let mut client = Proc::start_program(None, python.to_owned(), &arguments)?;
    client.wait("state", LIMIT)?;
    let before = server.cpu_us();
    let sent = client.wait("done", LIMIT)?.as_u64().unwrap_or(0) as usize;
    let cpu_us = server.cpu_us() - before;
    client.quit(LIMIT)?;
    Ok((cpu_us, sent))
}

fn rust_to_us(args: &Args, transport: &str, senders: usize) -> Res<Row> {
    let (mut server, address) = start_endpoint()?;
    let url = format!("ws://{address}");
    let wanted = if transport == "rtc" { "webrtc" } else { "websocket" };
    let mut clients = Vec::new();
    for index in 0..senders {
        let name = index.to_string();
        let mut arguments = vec!["client", "--url", &url, "--subject", &name, "--bulk"];
        if transport == "ws" {
            arguments.push("--websocket");
        }
        clients.push(Proc::start(None, &arguments)?);
    }
    for client in &clients {
        while client.wait("state", LIMIT)? != wanted {}
    }
    std::thread::sleep(Duration::from_millis(500));
    for client in &mut clients {
        client.command("dump")?;
        client.wait("sends", LIMIT)?;
    }
    server.command("dump")?;
    server.wait("frames", LIMIT)?;
    let before = server.cpu_us();
    std::thread::sleep(Duration::from_secs(args.seconds));
    let cpu_us = server.cpu_us() - before;
    let mut sends = HashMap::new();
    for (index, client) in clients.iter_mut().enumerate() {
        client.command("dump")?;
        for send in client.wait("sends", LIMIT)?.as_array().into_iter().flatten() {
            sends.insert((index.to_string(), send[0].as_u64()), send[1].as_i64().unwrap_or_default());
        }
    }
    std::thread::sleep(Duration::from_millis(300));
    server.command("dump")?;
    let frames = server.wait("frames", LIMIT)?;
    let mut latencies = Vec::new();
    for frame in frames.as_array().into_iter().flatten() {
        let key = (frame[3].as_str().unwrap_or_default().to_owned(), frame[0].as_u64());
        if let (Some(at), Some(sent)) = (frame[1].as_i64(), sends.get(&key)) {
            latencies.push((at - sent) as f64 / 1000.0);
        }
    }
    row(&latencies, cpu_us, sends.len())
}
