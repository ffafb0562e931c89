//! A trial from its options to its table.

use std::{
    net::SocketAddr,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use bevy::prelude::*;
use clap::Parser;
use facelink::simulate::network::NetworkSettings;

use crate::{
    face::{Performer, ShownFace},
    measure::{Outcome, SETTLED},
    path::Path,
};

const FRAME: Duration = Duration::from_micros(16_667);
/// The path besides its loss.
const DELAY_US: i64 = 40_000;
const JITTER_US: i64 = 8_000;
/// A shown face is the wrong one with more than this share of the error that a still face has. That of another performer is
/// larger than the still one's; much loss makes the right one's as large as this.
const RIGHT: f32 = 0.7;

#[derive(Parser)]
#[command(
    about = "A server with a face and two clients, one of which joins late, over loopback sockets and a path with loss"
)]
struct Options {
    /// Updates a second, 10 to 30.
    #[arg(long, default_value_t = 20.0, value_parser = rate)]
    rate: f32,
    /// Share of all packets that is lost in each direction, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    loss: f64,
    /// How long it takes, 5 or more.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(5..))]
    seconds: u32,
    /// Which packets are lost.
    #[arg(long, default_value_t = 5)]
    seed: u64,
}

fn rate(text: &str) -> Result<f32, String> {
    let rate = text.parse().map_err(|error| format!("{error}"))?;
    if (10.0..=30.0).contains(&rate) { Ok(rate) } else { Err("10 to 30".to_owned()) }
}

/// How a trial sends its face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sends {
    /// As payloads of `facelink::netcode`.
    Payloads,
    /// As 52 floats, for comparison.
    Floats,
}

/// On a client, once it is connected.
#[derive(Resource)]
pub struct Joined(Instant);

impl Joined {
    /// This moment.
    pub fn now() -> Self {
        Self(Instant::now())
    }
}

struct Client {
    app: App,
    path: Path,
    began: Duration,
    /// When it was settled, and what the server had sent to it.
    counted: Option<(Duration, u64)>,
}

struct Trial<C> {
    sends: Sends,
    server: App,
    address: SocketAddr,
    clients: Vec<Client>,
    client: C,
}

/// Runs the example: `server` makes one with its address, and `client` one that connects to such an address, by a number that no
/// other client has.
///
/// Ends with an error where a client shows another face than the server has.
pub fn run<S, C>(name: &str, server: S, client: C) -> Result<ExitCode>
where
    S: Fn(Sends) -> Result<(App, SocketAddr)>,
    C: Fn(Sends, SocketAddr, u64) -> Result<App> + Copy,
{
    let options = Options::parse();
    let start = Instant::now();
    let mut trials = Vec::new();
    for sends in [Sends::Payloads, Sends::Floats] {
        let (mut app, address) = server(sends)?;
        app.insert_resource(Performer::new(start, options.rate));
        trials.push(Trial { sends, server: ready(app), address, clients: Vec::new(), client });
    }
    let end = Duration::from_secs(options.seconds.into());
    let mut next = start;
    while start.elapsed() < end {
        for trial in &mut trials {
            // The second comes when the first has long been there.
            let joining = end.mul_f32(0.4) * trial.clients.len() as u32;
            if trial.clients.len() < 2 && start.elapsed() >= joining {
                trial.join(&options, start)?;
            }
            trial.server.update();
            for client in &mut trial.clients {
                client.app.update();
                client.show(start);
            }
        }
        next += FRAME;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(report(name, &options, trials, start))
}

fn ready(mut app: App) -> App {
    app.finish();
    app.cleanup();
    app
}

impl<C: Fn(Sends, SocketAddr, u64) -> Result<App>> Trial<C> {
    fn join(&mut self, options: &Options, start: Instant) -> Result {
        let settings = NetworkSettings {
            delay_us: DELAY_US,
            jitter_us: JITTER_US,
            loss: options.loss,
            ..NetworkSettings::default()
        };
        let number = self.clients.len() as u64 + 1;
        let path = Path::new(self.address, settings, options.seed + 10 * number)?;
        let app = ready((self.client)(self.sends, path.address, number)?);
        self.clients.push(Client { app, path, began: start.elapsed(), counted: None });
        Ok(())
    }
}

impl Client {
    fn show(&mut self, start: Instant) {
        let world = self.app.world_mut();
        for mut face in world.query::<&mut ShownFace>().iter_mut(world) {
            face.show(start);
            let settled = face.samples.first().is_some_and(|first| start.elapsed() >= first + SETTLED);
            if settled && self.counted.is_none() {
                self.counted = Some((start.elapsed(), self.path.bytes_to_client()));
            }
        }
    }
}

fn report<C>(name: &str, options: &Options, trials: Vec<Trial<C>>, start: Instant) -> ExitCode {
    let Options { rate, loss, seconds, .. } = options;
    println!("{name}: {rate} updates a second, {:.0} % loss, {seconds} s", loss * 100.0);
    println!(
        "{:<23} {:>10} {:>8} {:>14} {:>10} {:>11} {:>11} {:>7} {:>13}  and first face",
        "", "bytes each", "bytes/s", "on the wire/s", "error RMS", "99 % below", "pops/minute", "age", "connected in"
    );
    let mut wrong = Vec::new();
    let mut each = Vec::new();
    for trial in trials {
        for (place, mut client) in trial.clients.into_iter().enumerate() {
            let what = match trial.sends {
                Sends::Payloads => "facelink::netcode",
                Sends::Floats => "52 floats",
            };
            let who = ["", ", late"][place];
            let world = client.app.world_mut();
            let Ok(face) = world.query::<&ShownFace>().single(world) else {
                wrong.push(format!("{what}{who}: no face"));
                continue;
            };
            let (Some(outcome), Some(first)) = (face.samples.judge(), face.samples.first()) else {
                wrong.push(format!("{what}{who}: nothing was shown"));
                continue;
            };
            let refused = face.samples.refused;
            let joined = world.get_resource::<Joined>().map_or(first, |joined| joined.0 - start);
            let Outcome { bytes_each, rms, worst, pops, age, rms_of_still } = outcome;
            let on_wire = client.counted.map_or(f64::NAN, |(since, bytes)| {
                (client.path.bytes_to_client() - bytes) as f64 / (start.elapsed() - since).as_secs_f64()
            });
            println!(
                "{:<23} {bytes_each:>10.0} {:>8.0} {on_wire:>14.0} {rms:>10.4} {worst:>11.2} {pops:>11.0} {:>4} ms {:>10} ms  {:.1} updates later",
                format!("{what}{who}"),
                bytes_each * rate,
                age.as_millis(),
                joined.saturating_sub(client.began).as_millis(),
                first.saturating_sub(joined).as_secs_f32() * rate,
            );
            if trial.sends == Sends::Payloads && (rms > RIGHT * rms_of_still || refused > 0) {
                wrong.push(format!(
                    "{what}{who}: error {rms:.3} where a still face has {rms_of_still:.3}, {refused} refused"
                ));
            }
            each.push((trial.sends, bytes_each));
        }
    }
    let most = |sends| each.iter().filter(|(of, _)| *of == sends).map(|(_, bytes)| *bytes).fold(0.0, f32::max);
    if most(Sends::Payloads) > most(Sends::Floats) / 3.0 {
        wrong.push(format!("payloads of {:.0} bytes", most(Sends::Payloads)));
    }
    for wrong in &wrong {
        eprintln!("WRONG: {wrong}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
