//! A sender in Rust: frames to a FaceLink endpoint, over the WebSocket at once and over WebRTC as soon as it answers.
//!
//! One task drives a [`Connection`](facelink::connection::Connection), which decides which transport carries frames and
//! what is opened, closed and tried again.

mod channel;
mod config;
mod driver;
mod encode;
mod network;
mod room;
mod send;
mod shared;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod socket;
#[cfg(target_arch = "wasm32")]
#[path = "client/browser_socket.rs"]
mod socket;
mod transports;
pub(crate) mod websocket;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub use self::config::{ClientConfig, ClientError, ClientState};
use self::{driver::Driver, shared::Shared};
use crate::{
    hub::Hub,
    seal::{SealStats, Sealing},
    token::new_secret,
};
#[cfg(feature = "seal")]
use facelink::seal::RoomKey;
use facelink::{
    event::Emotion,
    frame::FaceFrame,
    source::SourceKind,
    wire::{
        json::{FaceKind, FaceMessage, VisemeMessage},
        message::{ClientMessage, SetEmotion},
        viseme::Viseme,
    },
};

/// Stats of a client.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ClientStats {
    /// The endpoint's id of this connection; the same after a reconnection that resumed it.
    pub connection_id: Option<Arc<str>>,
    /// Id of this connection in the stats of our own endpoint, for a client that
    /// [`Endpoint::connect`](crate::EndpointControl::connect) made.
    pub link_id: Option<Arc<str>>,
    /// What carries frames now; `None` while nothing does.
    pub transport: Option<SourceKind>,
    /// Average round trip of that transport, milliseconds.
    pub rtt_ms: Option<f32>,
    /// Frames a second that the other side asks for.
    pub target_fps: f32,
    /// Frames sent.
    pub sent: u64,
    /// Frames replaced or left out because nothing could take them.
    pub dropped: u64,
    /// Frames left out because fewer were asked for; their peaks went out with the next.
    pub thinned: u64,
    /// Frames that went by both transports, while one of them was in doubt.
    pub hedged: u64,
    /// How often the WebSocket came back.
    pub reconnects: u64,
    /// How often frames moved to another transport.
    pub moves: u64,
    /// Others in the room.
    pub room_peers: usize,
    /// Those of them with a direct connection.
    pub direct: usize,
}

/// A connection to an endpoint that keeps itself alive. Dropping it closes it.
#[derive(Debug)]
pub struct Client {
    shared: Arc<Shared>,
    sealing: Arc<Sealing>,
    /// Name of the connection's own face, where that is sealed and the endpoint could choose none.
    own: Option<Arc<str>>,
    cancel: CancellationToken,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Client {
    /// Starts connecting on a tokio runtime and returns at once. Lost connections are made again.
    ///
    /// Frames go out alone: to receive the endpoint's faces too, or to meet others in a room, use
    /// [`Endpoint::connect`](crate::EndpointControl::connect).
    #[cfg(not(target_arch = "wasm32"))]
    pub fn start(config: ClientConfig, runtime: &tokio::runtime::Handle) -> Self {
        let (client, task) = Self::new(config, None, CancellationToken::new());
        if let Some(task) = task {
            runtime.spawn(task);
        }
        client
    }

    /// Starts connecting on the page's own thread and returns at once. Lost connections are made again.
    ///
    /// Frames go out alone: to receive the endpoint's faces too, use
    /// [`Endpoint::connect`](crate::EndpointControl::connect).
    #[cfg(target_arch = "wasm32")]
    pub fn start(config: ClientConfig) -> Self {
        let (client, task) = Self::new(config, None, CancellationToken::new());
        if let Some(task) = task {
            crate::clock::spawn(task);
        }
        client
    }

    /// One that receives into a hub, until `cancel` at the latest; with the task to run, which ends when the goodbye has been
    /// said. Without a task it is refused.
    pub(crate) fn new(
        mut config: ClientConfig,
        hub: Option<Arc<Hub>>,
        cancel: CancellationToken,
    ) -> (Self, Option<impl Future<Output = ()> + use<>>) {
        let shared = Arc::<Shared>::default();
        let invited = config.take_fragment();
        #[cfg(feature = "seal")]
        let own = config.key.clone().map(|key| Arc::new(Sealing::new(Some(key))));
        #[cfg(not(feature = "seal"))]
        let own = None;
        let sealing = own.or_else(|| hub.as_ref().map(|hub| hub.sealing.clone())).unwrap_or_default();
        if sealing.has_key() {
            config.subject.get_or_insert_with(|| format!("face-{}", &new_secret()[..4]));
        }
        let own = config.subject.as_deref().map(Into::into);
        let task = match invited.and_then(|()| socket::parse_url(&config)) {
            Ok(dial) => Some(Driver::new(config, dial, shared.clone(), (hub, sealing.clone()), cancel.clone()).run()),
            Err(error) => {
                shared.set_state(ClientState::Refused(error));
                None
            }
        };
        (Self { shared, sealing, own, cancel }, task)
    }

    /// Hands over a frame of the connection's own face. Never blocks: a frame that was not sent yet is replaced.
    pub fn send(&self, frame: FaceFrame) {
        self.shared.put(None, frame);
    }

    /// Hands over a frame of the face `name`, for a connection that sends several.
    pub fn send_as(&self, name: &str, frame: FaceFrame) {
        self.shared.put(Some(name), frame);
    }

    /// Says a viseme of this weight, `0..=1`, with the connection's own face or the face `subject`: until the next one, or
    /// for a time. Never blocks.
    pub fn say(&self, subject: Option<&str>, viseme: Viseme, weight: f32, duration: Option<Duration>) {
        let subject = subject.or(self.sealed_name());
        let message = ClientMessage::Face(FaceMessage {
            kind: FaceKind::VisemeData,
            subject: subject.map(Into::into),
            viseme: Some(VisemeMessage { viseme, weight, duration }),
            ..FaceMessage::default()
        });
        self.shared.queue_message(subject, message.to_json());
    }

    /// Has the connection's own face, or the face `subject`, show an emotion. Never blocks.
    pub fn set_emotion(&self, subject: Option<&str>, emotion: &Emotion) {
        let subject = subject.or(self.sealed_name());
        let message = ClientMessage::SetEmotion(SetEmotion {
            subject: subject.map(Into::into),
            emotion: (&*emotion.name).into(),
            intensity: emotion.intensity,
            fade: emotion.fade,
            duration: emotion.duration,
        });
        self.shared.queue_message(subject, message.to_json());
    }

    /// The endpoint may not know the name of the connection's own face.
    fn sealed_name(&self) -> Option<&str> {
        self.own.as_deref().filter(|_| self.sealing.has_key())
    }

    /// The key that seals what is sent; `None` while nothing is sealed. A client without a key of its own has the
    /// endpoint's.
    #[cfg(feature = "seal")]
    pub fn key(&self) -> Option<RoomKey> {
        self.sealing.key()
    }

    /// Another key from now on; `None` sends in the clear again. It is that of the endpoint, where the client has none of
    /// its own.
    #[cfg(feature = "seal")]
    pub fn set_key(&self, key: Option<RoomKey>) {
        self.sealing.set_key(key);
        self.shared.wake.notify_one();
    }

    /// Moves the key one step of its ratchet on; the other members follow by themselves. Who is invited with the new key
    /// cannot read what was sealed before.
    #[cfg(feature = "seal")]
    pub fn ratchet_key(&self) {
        self.sealing.ratchet();
        self.shared.wake.notify_one();
    }

    /// How sealed faces fare that come in by this client's key.
    pub fn seal_stats(&self) -> SealStats {
        self.sealing.stats()
    }

    /// What the client is doing.
    pub fn state(&self) -> ClientState {
        self.shared.state()
    }

    /// Waits until the state is one that `wanted` accepts, and gives it.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&ClientState) -> bool) -> ClientState {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let state = self.state();
            if wanted(&state) {
                return state;
            }
            changed.await;
        }
    }

    /// Frames a second that the endpoint asked for last; 60 until it asks.
    pub fn target_fps(&self) -> f32 {
        self.shared.target_fps()
    }

    /// Frames sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Frames replaced or left out because the connection was not ready for them.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Current stats.
    pub fn stats(&self) -> ClientStats {
        let stats = self.shared.stats.lock().clone();
        ClientStats {
            connection_id: stats.connection_id,
            link_id: stats.link_id,
            transport: match self.state() {
                ClientState::Connected(kind) => Some(kind),
                _ => None,
            },
            rtt_ms: stats.rtt_ms,
            target_fps: self.target_fps(),
            sent: self.sent(),
            dropped: self.dropped(),
            thinned: self.shared.thinned.load(Ordering::Relaxed),
            hedged: self.shared.hedged.load(Ordering::Relaxed),
            reconnects: stats.reconnects,
            moves: stats.moves,
            room_peers: stats.room_peers,
            direct: stats.direct,
        }
    }
}
