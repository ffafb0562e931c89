//! What a [`Client`](super::Client) and its task share.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use facelink::time::Instant;

use facelink::{frame::FaceFrame, timing::Decimator};
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::config::ClientState;
use crate::clock::unix_ms;

/// Visemes and emotions that wait for a connection; older ones are dropped.
const MAX_MESSAGES: usize = 32;
/// Faces of which a frame may wait for a transport.
const MAX_FACES: usize = 64;

/// A face that is sent; without a name, the connection's own.
pub(super) type Waiting = (Option<Arc<str>>, FaceFrame);

/// What is said with a face; without a name, the connection's own.
pub(super) type Message = (Option<Arc<str>>, String);

/// The newest frame of each face, what must not be replaced, and the stats.
#[derive(Debug)]
pub(super) struct Shared {
    slot: Mutex<Slot>,
    /// Visemes and emotions, oldest first.
    messages: Mutex<VecDeque<Message>>,
    pub wake: Notify,
    state: Mutex<ClientState>,
    pub changed: Notify,
    target_fps: Mutex<f32>,
    /// The endpoint has asked for a rate.
    asked: AtomicBool,
    pub stats: Mutex<LinkStats>,
    pub thinned: AtomicU64,
    pub sent: AtomicU64,
    pub dropped: AtomicU64,
    pub hedged: AtomicU64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LinkStats {
    pub connection_id: Option<Arc<str>>,
    pub link_id: Option<Arc<str>>,
    pub rtt_ms: Option<f32>,
    pub reconnects: u64,
    pub moves: u64,
    pub room_peers: usize,
    pub direct: usize,
}

#[derive(Debug, Default)]
struct Slot {
    waiting: SmallVec<[Waiting; 1]>,
    thinning: SmallVec<[(Option<Arc<str>>, Decimator); 1]>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            slot: Mutex::default(),
            messages: Mutex::default(),
            wake: Notify::new(),
            state: Mutex::new(ClientState::Connecting),
            changed: Notify::new(),
            target_fps: Mutex::new(60.0),
            asked: AtomicBool::new(false),
            stats: Mutex::default(),
            thinned: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            hedged: AtomicU64::new(0),
        }
    }
}

impl Shared {
    /// Puts a frame in, in place of one of the same face that was not sent yet.
    pub fn put(&self, name: Option<&str>, mut frame: FaceFrame) {
        let fps = self.asked.load(Ordering::Relaxed).then(|| self.target_fps());
        let mut slot = self.slot.lock();
        let Slot { waiting, thinning } = &mut *slot;
        if let Some(fps) = fps {
            let place = thinning.iter().position(|(known, _)| known.as_deref() == name).unwrap_or_else(|| {
                if thinning.len() >= MAX_FACES {
                    thinning.remove(0);
                }
                thinning.push((name.map(Into::into), Decimator::default()));
                thinning.len() - 1
            });
            if !thinning[place].1.offer(&mut frame, fps, Instant::now()) {
                self.thinned.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        // However long it waits, this is when it was.
        frame.capture_time = Duration::try_from_secs_f64(unix_ms() / 1000.0).ok();
        let full = waiting.len() >= MAX_FACES;
        match waiting.iter_mut().find(|(waiting, _)| waiting.as_deref() == name) {
            Some((_, old)) => {
                *old = frame;
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            None if full => drop(self.dropped.fetch_add(1, Ordering::Relaxed)),
            None => waiting.push((name.map(Into::into), frame)),
        }
        self.wake.notify_one();
    }

    /// The newest frames that were not sent yet.
    pub fn take_faces(&self) -> SmallVec<[Waiting; 1]> {
        std::mem::take(&mut self.slot.lock().waiting)
    }

    /// Queues a message that must not be replaced.
    pub fn queue_message(&self, name: Option<&str>, text: String) {
        let mut messages = self.messages.lock();
        if messages.len() >= MAX_MESSAGES {
            messages.pop_front();
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        messages.push_back((name.map(Into::into), text));
        drop(messages);
        self.wake.notify_one();
    }

    pub fn take_messages(&self) -> VecDeque<Message> {
        std::mem::take(&mut *self.messages.lock())
    }

    pub fn target_fps(&self) -> f32 {
        *self.target_fps.lock()
    }

    /// The endpoint asks for a rate.
    pub fn set_endpoint_rate(&self, fps: f32) {
        *self.target_fps.lock() = fps;
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Room peers ask for a rate.
    pub fn set_peer_rate(&self, fps: f32) {
        *self.target_fps.lock() = fps;
    }

    pub fn state(&self) -> ClientState {
        self.state.lock().clone()
    }

    pub fn set_state(&self, state: ClientState) {
        let mut now = self.state.lock();
        if *now != state {
            tracing::debug!(?state, "client");
            *now = state;
            drop(now);
            self.changed.notify_waiters();
        }
    }
}
