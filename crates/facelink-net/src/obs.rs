//! OBS, controlled by the WebSocket protocol that it comes with: it records while takes are recorded. See `docs/obs.md`.

mod machine;

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use self::machine::{Action, Machine, Settings};
use crate::{
    client::{
        ClientConfig, ClientError,
        socket::{Dial, Ws, dial, parse_url},
        websocket::WsEvent,
    },
    clock::sleep_until,
    hub::Hub,
    obs_config::ObsConfig,
    stats::ObsStatus,
    takes::{Companion, TakeOptions, TakeRecordError, Takes},
    tap::Tapped,
};

/// OBS, for the takes of an endpoint.
#[derive(Debug)]
pub(crate) struct Obs {
    machine: Mutex<Machine>,
    changed: Notify,
}

impl Companion for Obs {
    fn recorders(&self) -> usize {
        1
    }

    fn record(&self, slate: &str, take: u32) {
        self.machine.lock().record(slate, take, Instant::now());
        self.changed.notify_one();
    }

    fn stop(&self) {
        self.machine.lock().stop(Instant::now());
        self.changed.notify_one();
    }

    fn is_ending(&self) -> bool {
        self.machine.lock().is_ending()
    }
}

/// What is open of a connection.
#[derive(Default)]
struct Socket {
    dialling: Option<mpsc::Receiver<Result<Ws, ClientError>>>,
    open: Option<Ws>,
}

enum Input {
    Dialled(Option<Result<Ws, ClientError>>),
    Event(Option<WsEvent>),
    Time,
}

impl Socket {
    /// What comes next of the connection.
    async fn next(&mut self) -> Input {
        match (&mut self.dialling, &mut self.open) {
            (Some(dialling), _) => Input::Dialled(dialling.recv().await),
            (None, Some(open)) => Input::Event(open.events.recv().await),
            (None, None) => std::future::pending().await,
        }
    }
}

/// Where OBS is.
///
/// # Errors
/// [`ClientError::Url`] for an address that is none.
pub(crate) fn address(config: &ObsConfig) -> Result<(ClientConfig, Dial), ClientError> {
    let client = ClientConfig::new(config.full_url());
    if !matches!(client.url.split_once("://"), Some(("ws" | "wss", _))) {
        let reason = "OBS is at ws://HOST:PORT, or at wss://".to_owned();
        return Err(ClientError::Url { url: client.url, reason });
    }
    parse_url(&client).map(|dial| (client, dial))
}

impl Obs {
    pub fn new(config: &ObsConfig) -> Arc<Self> {
        let settings = Settings {
            password: config.password.clone(),
            starts_takes: config.starts_takes,
            names_files: config.names_files,
        };
        let machine = Machine::new(settings, uuid::Uuid::new_v4().as_u64_pair().0, Instant::now());
        Arc::new(Self { machine: Mutex::new(machine), changed: Notify::new() })
    }

    /// Keeps the connection until cancelled.
    pub async fn run(
        self: Arc<Self>,
        config: ObsConfig,
        address: (ClientConfig, Dial),
        hub: Arc<Hub>,
        takes: Weak<Takes>,
        cancel: CancellationToken,
    ) {
        let mut socket = Socket::default();
        loop {
            let deadline = {
                // What is reported is in the take before its end sees that it has been: under one lock.
                let mut machine = self.machine.lock();
                machine.on_time(Instant::now());
                while let Some(action) = machine.next_action() {
                    self.perform(action, &mut socket, &address, &hub, &takes);
                }
                *hub.obs.lock() = Some(status(&config, &machine));
                machine.deadline()
            };
            let input = tokio::select! {
                () = cancel.cancelled() => break,
                input = socket.next() => input,
                () = self.changed.notified() => Input::Time,
                () = sleep_until(deadline) => Input::Time,
            };
            let now = Instant::now();
            let mut machine = self.machine.lock();
            match input {
                Input::Time => {}
                Input::Dialled(outcome) => {
                    socket.dialling = None;
                    match outcome {
                        Some(Ok(ws)) => {
                            socket.open = Some(ws);
                            machine.on_open(now);
                        }
                        Some(Err(ClientError::Connect { reason, .. })) => machine.on_failed(&reason, now),
                        Some(Err(error)) => machine.on_failed(&error.to_string(), now),
                        None => machine.on_failed("the connection was not opened", now),
                    }
                }
                Input::Event(Some(WsEvent::Text(text))) => machine.on_text(&text, now),
                Input::Event(Some(WsEvent::Binary(_) | WsEvent::Pong(_))) => {}
                Input::Event(Some(WsEvent::Closed { code, reason })) => machine.on_closed(code, &reason, now),
                Input::Event(None) => machine.on_closed(None, "the connection ended", now),
            }
        }
        *hub.obs.lock() = None;
    }

    /// Nothing here waits.
    fn perform(
        self: &Arc<Self>,
        action: Action,
        socket: &mut Socket,
        (config, to): &(ClientConfig, Dial),
        hub: &Arc<Hub>,
        takes: &Weak<Takes>,
    ) {
        match action {
            Action::Dial => *socket = Socket { dialling: Some(dial(config, to)), open: None },
            Action::Hangup => *socket = Socket::default(),
            Action::Send(text) => {
                // What finds no room gets no answer, which ends the connection.
                if let Some(open) = &socket.open {
                    open.out.text(text);
                }
            }
            Action::Report(recording, started) => {
                if let Some(problem) = &recording.problem {
                    tracing::warn!("{problem}");
                }
                hub.queues.tap(|tap| tap.push(|| Tapped::Obs { recording, started, at: Instant::now() }));
            }
            Action::Mark(words) => hub.queues.tap(|tap| tap.push(|| Tapped::Mark(words, Instant::now()))),
            Action::StartTake => {
                let Some(takes) = takes.upgrade() else { return };
                let obs = self.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = takes.start(TakeOptions::default()) {
                        obs.machine.lock().take_failed(&error.to_string());
                        obs.changed.notify_one();
                    }
                });
            }
            Action::StopTake => {
                let Some(takes) = takes.upgrade() else { return };
                tokio::task::spawn_blocking(move || match takes.stop() {
                    Ok(_) | Err(TakeRecordError::NotRecording) => {}
                    Err(error) => tracing::warn!("{error}"),
                });
            }
        }
    }
}

fn status(config: &ObsConfig, machine: &Machine) -> ObsStatus {
    let seen = &machine.seen;
    ObsStatus {
        url: config.url.clone(),
        state: seen.state,
        version: seen.version.clone(),
        recording: machine.is_recording(),
        scene: machine.scene().map(str::to_owned),
        rtt_ms: seen.rtt.map(|rtt| rtt.as_secs_f32() * 1000.0),
        file: seen.file.clone(),
        connects: seen.connects,
        failures: seen.failures,
        ignored: seen.ignored,
        error: seen.error.clone(),
    }
}
