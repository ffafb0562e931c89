//! Many clients at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    common::{Res, load, now_us},
    log::Log,
    proc::Proc,
    table::{Table, spread},
};

#[derive(clap::Args)]
pub struct Args {
    /// Clients that start together.
    #[arg(long, default_value_t = 20)]
    clients: usize,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Threads that keep the processor busy meanwhile.
    #[arg(long, default_value_t = 2)]
    busy: usize,
    /// Time that each client has, seconds.
    #[arg(long, default_value_t = 20)]
    limit: u64,
}

pub fn run(args: &Args) -> Res<()> {
    println!("{} clients at once, {} rounds, {} busy threads; {}\n", args.clients, args.rounds, args.busy, load());
    let stop = Arc::new(AtomicBool::new(false));
    for _ in 0..args.busy {
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }
    let server = Proc::start(None, &["endpoint"])?;
    let address = server.wait("listening", Duration::from_secs(10))?.as_str().ok_or("no address")?.to_owned();
    let url = format!("ws://{address}");
    let (mut first, mut channel) = (Vec::new(), Vec::new());
    let (mut mute, mut fell_back) = (0, 0);
    for round in 0..args.rounds {
        let started = now_us();
        let names: Vec<String> = (0..args.clients).map(|client| format!("{round}-{client}")).collect();
        let mut clients = Vec::new();
        for name in &names {
            clients.push(Proc::start(None, &["client", "--url", &url, "--subject", name])?);
        }
        let mut seen = vec![(None, None); args.clients];
        let mut logs: Vec<Log> = clients.iter().map(|_| Log::default()).collect();
        let end = Instant::now() + Duration::from_secs(args.limit);
        while Instant::now() < end && seen.iter().any(|(_, channel)| channel.is_none()) {
            for line in server.lines().try_iter() {
                let frame = &line["f"];
                let Some(index) = names.iter().position(|name| frame[3] == **name) else { continue };
                let at = frame[1].as_i64().unwrap_or_default();
                seen[index].0.get_or_insert(at);
                if frame[2] == "webrtc" {
                    seen[index].1.get_or_insert(at);
                }
            }
            thread::sleep(Duration::from_millis(5));
        }
        for (index, (any, webrtc)) in seen.iter().enumerate() {
            first.extend(any.map(|at| (at - started) as f64 / 1000.0));
            channel.extend(webrtc.map(|at| (at - started) as f64 / 1000.0));
            mute += usize::from(any.is_none());
            for line in clients[index].lines().try_iter() {
                logs[index].take(&line);
            }
            let log = &logs[index];
            if webrtc.is_none() {
                println!("{}: no frame over WebRTC; states {:?}", names[index], log.states);
            }
            fell_back += usize::from(log.states.iter().filter(|(_, state)| state == "webrtc").count() > 1);
        }
        for client in &mut clients {
            client.quit(Duration::from_secs(5))?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let mut table = Table::new([
        "clients",
        "first frame ms median / p90 / worst",
        "first frame over WebRTC ms",
        "never over WebRTC",
        "never at all",
        "fell back from WebRTC meanwhile",
    ]);
    let total = args.clients * args.rounds;
    table.row([
        total.to_string(),
        spread(&first, 0),
        spread(&channel, 0),
        (total - channel.len()).to_string(),
        mute.to_string(),
        fell_back.to_string(),
    ]);
    table.print();
    Ok(())
}
