//! The network's endpoint in the engine: starting, stopping and changing it while the game runs.

use std::{fmt, ops::Deref, sync::Arc, thread::JoinHandle};

use bevy::prelude::*;
#[cfg(all(feature = "aria", sockets))]
use facelink_net::AvatarFile;
use facelink_net::{Addresses, Endpoint, EndpointConfig, EndpointControl, LinkError};

use crate::{
    input::{FaceInbox, LinkInbox},
    sets::{FaceLinkSystems, Step},
};

/// Starts the endpoint, if there is to be one.
pub(crate) struct EndpointPlugin {
    pub config: Option<EndpointConfig>,
    /// A session's file starts it.
    pub wait: bool,
}

impl Plugin for EndpointPlugin {
    fn build(&self, app: &mut App) {
        app.init_resource::<EndpointState>()
            .init_resource::<EndpointSettings>()
            .init_resource::<Work>()
            .add_systems(PreUpdate, (watch.before(Step::Frames), settle.after(FaceLinkSystems::Receive)))
            .add_systems(Last, stop_on_exit);
        if let Some(config) = &self.config {
            app.insert_resource(EndpointSettings(config.clone()));
            if self.wait {
                return;
            }
            // No frame waits yet, and what is added after this plugin finds the endpoint.
            let started = Endpoint::start(with_avatar(config.clone()));
            take_up(app.world_mut(), started);
        }
    }
}

/// Aria for the viewer, where the game has no avatar for it.
#[cfg(all(feature = "aria", sockets))]
fn with_avatar(config: EndpointConfig) -> EndpointConfig {
    let avatar = config.avatar.clone().unwrap_or_else(|| AvatarFile::from(crate::aria::FILE));
    EndpointConfig { avatar: Some(avatar), ..config }
}

#[cfg(not(all(feature = "aria", sockets)))]
fn with_avatar(config: EndpointConfig) -> EndpointConfig {
    config
}

/// The running endpoint, without its frames and events: those are the plugin's. It is there while [`EndpointState`] is `Running`.
///
/// [`stop_endpoint`](EndpointCommandsExt::stop_endpoint), removing it, an [`AppExit`], or dropping the `App` says goodbye
/// to every connection and frees every port.
#[derive(Resource, Debug)]
pub struct FaceLinkEndpoint(Arc<Endpoint>);

impl Deref for FaceLinkEndpoint {
    type Target = EndpointControl;

    fn deref(&self) -> &EndpointControl {
        &self.0
    }
}

/// How the endpoint was started last, or was to be started: what a menu shows and hands to
/// [`start_endpoint`](EndpointCommandsExt::start_endpoint) with its changes. Changing it changes nothing by itself.
#[derive(Resource, Clone, Debug, Default)]
pub struct EndpointSettings(pub EndpointConfig);

/// What the endpoint is doing. Changes when that changes, so `resource_changed::<EndpointState>` notices.
#[derive(Resource, Clone, Debug, Default)]
#[non_exhaustive]
pub enum EndpointState {
    /// There is none: none was started, or it was stopped and its ports are free.
    #[default]
    Stopped,
    /// It is being started, on a thread of its own.
    Starting,
    /// It runs, as [`FaceLinkEndpoint`].
    Running(Addresses),
    /// It is being stopped, on a thread of its own: its connections get up to 0.8 s to hear a goodbye.
    Stopping,
    /// It did not start, such as because its port is taken; nothing listens.
    Failed(Arc<LinkError>),
}

impl EndpointState {
    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    /// Why it did not start, if so.
    pub fn error(&self) -> Option<&LinkError> {
        match self {
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Starting => f.write_str("starting"),
            Self::Running(addresses) if addresses.http.port() == 0 => f.write_str("running, without an HTTP port"),
            Self::Running(addresses) => write!(f, "listening on http://{}", addresses.http),
            Self::Stopping => f.write_str("stopping"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

/// Starts and stops the endpoint from a system.
pub trait EndpointCommandsExt {
    /// Starts an endpoint, in place of the one that runs, if any: that one says goodbye first, and its ports are free for
    /// the new one. No frame waits for it; [`EndpointState`] says how it goes, and keeps the error if it fails.
    ///
    /// Of several calls before one has finished, the last counts.
    fn start_endpoint(&mut self, config: EndpointConfig);

    /// Stops the endpoint. No frame waits for it.
    fn stop_endpoint(&mut self);
}

impl EndpointCommandsExt for Commands<'_, '_> {
    fn start_endpoint(&mut self, config: EndpointConfig) {
        self.queue(move |world: &mut World| {
            world.insert_resource(EndpointSettings(config.clone()));
            ask(world, Wanted::Start(Box::new(config)));
        });
    }

    fn stop_endpoint(&mut self) {
        self.queue(|world: &mut World| ask(world, Wanted::Stop));
    }
}

/// What is to follow.
#[derive(Debug)]
enum Wanted {
    Start(Box<EndpointConfig>),
    Stop,
}

/// What the thread brings: the endpoint that was started, if one was wanted.
type Outcome = Option<Result<Endpoint, LinkError>>;

/// The thread that starts and stops endpoints; binding ports, making certificates and saying goodbye take longer than a
/// frame.
#[derive(Resource, Debug, Default)]
struct Work {
    thread: Option<JoinHandle<Outcome>>,
    /// What it brought, until the last events of the endpoint before have been taken.
    outcome: Option<Outcome>,
    /// Asked for while it works.
    next: Option<Wanted>,
}

impl Drop for Work {
    fn drop(&mut self) {
        // Ports are free when the App is gone. A start takes milliseconds, and a goodbye is bounded.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn ask(world: &mut World, wanted: Wanted) {
    let state = match wanted {
        Wanted::Start(_) => EndpointState::Starting,
        Wanted::Stop => EndpointState::Stopping,
    };
    world.init_resource::<Work>();
    world.insert_resource(state);
    let before = world.remove_resource::<FaceLinkEndpoint>();
    let mut work = world.resource_mut::<Work>();
    if work.thread.is_some() || work.outcome.is_some() {
        work.next = Some(wanted);
    } else {
        work.begin(before.map(|before| before.0), wanted);
    }
}

impl Work {
    fn begin(&mut self, before: Option<Arc<Endpoint>>, wanted: Wanted) {
        let work = move || {
            drop(before);
            match wanted {
                Wanted::Start(config) => Some(Endpoint::start(with_avatar(*config))),
                Wanted::Stop => None,
            }
        };
        // A page has no threads, and there nothing is bound and nothing waited for.
        #[cfg(not(sockets))]
        {
            self.outcome = Some(work());
        }
        #[cfg(sockets)]
        match std::thread::Builder::new().name("facelink endpoint".to_owned()).spawn(work) {
            Ok(thread) => self.thread = Some(thread),
            Err(error) => self.outcome = Some(Some(Err(LinkError::Runtime(error)))),
        }
    }
}

/// Looks whether the thread is done. Before the last events of the endpoint that it stopped are taken: none comes after.
fn watch(mut work: ResMut<Work>) {
    let work = work.bypass_change_detection();
    if let Some(thread) = work.thread.take_if(|thread| thread.is_finished()) {
        let failed = || Some(Err(LinkError::Runtime(std::io::Error::other("starting the endpoint failed"))));
        work.outcome = Some(thread.join().unwrap_or_else(|_| failed()));
    }
}

/// Takes up what the thread brought.
fn settle(world: &mut World) {
    let running = world.contains_resource::<FaceLinkEndpoint>();
    let mut work = world.resource_mut::<Work>();
    let work = work.bypass_change_detection();
    let Some(outcome) = work.outcome.take() else {
        let idle = work.thread.is_none();
        if idle && !running && world.resource::<EndpointState>().is_running() {
            // The game has removed it.
            world.insert_resource(EndpointState::Stopped);
        }
        return;
    };
    if let Some(wanted) = work.next.take() {
        work.begin(outcome.and_then(Result::ok).map(Arc::new), wanted);
        return;
    }
    match outcome {
        Some(started) => take_up(world, started),
        None => {
            world.insert_resource(EndpointState::Stopped);
            info!("FaceLink is stopped");
        }
    }
}

fn take_up(world: &mut World, started: Result<Endpoint, LinkError>) {
    match started {
        Ok(endpoint) => {
            let addresses = endpoint.addresses();
            match endpoint.http() {
                Some(http) => info!("FaceLink listens on http://{http} (open it in a browser to send a face)"),
                None => info!("FaceLink dials out and does not listen for HTTP"),
            }
            #[cfg(sockets)]
            log_phone_ports(&endpoint);
            let (frames, events) = (endpoint.frames().clone(), endpoint.events().clone());
            let endpoint = Arc::new(endpoint);
            let weak = Arc::downgrade(&endpoint);
            world.insert_resource(LinkInbox { inbox: FaceInbox { frames, events }, endpoint: weak });
            world.insert_resource(FaceLinkEndpoint(endpoint));
            world.insert_resource(EndpointState::Running(addresses));
        }
        Err(error) => {
            error!("FaceLink receives nothing: {error}");
            world.insert_resource(EndpointState::Failed(Arc::new(error)));
        }
    }
}

#[cfg(sockets)]
fn log_phone_ports(endpoint: &EndpointControl) {
    let ports: Vec<_> =
        endpoint.phone_ports().iter().map(|(port, address)| format!("{port} {}", address.port())).collect();
    if !ports.is_empty() {
        info!("FaceLink listens for phones: {}", ports.join(", "));
    }
}

/// Not every runner drops its `App` when the game ends.
fn stop_on_exit(mut commands: Commands, mut exits: MessageReader<AppExit>) {
    if exits.read().count() > 0 {
        commands.queue(|world: &mut World| {
            world.remove_resource::<FaceLinkEndpoint>();
            world.insert_resource(Work::default());
            world.insert_resource(EndpointState::Stopped);
        });
    }
}
