//! Frames for other relays: what waits for the task of the mesh, the newest of each face.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use facelink::{
    event::{SubjectFrame, SubjectId},
    time::Instant,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::connections::Origin;

/// Faces that wait at most.
const MAX_WAITING: usize = 4096;
/// Sealed packets of one face that wait at most: they cannot be told apart, so that newer ones do not replace them at once.
const MAX_SEALED: usize = 8;

/// What became of a face.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// Its newest frame, and when it was captured.
    Face(Box<SubjectFrame>, Origin, Instant),
    /// Sealed packets, and what stands for its name.
    Sealed(Arc<str>, Origin, VecDeque<Bytes>),
    /// It has gone.
    Lost,
}

/// What waits.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub faces: BTreeMap<SubjectId, Waiting>,
    /// Every face went before what is in `faces` came.
    pub all_lost: bool,
    /// What viewers want may have changed.
    pub viewers: bool,
    /// Frames that newer ones replaced.
    pub dropped: u64,
}

impl Out {
    fn is_full(&self, id: SubjectId) -> bool {
        self.faces.len() >= MAX_WAITING && !self.faces.contains_key(&id)
    }
}

/// Its lock is held for one swap.
#[derive(Debug, Default)]
pub(crate) struct Outlet {
    on: AtomicBool,
    out: Mutex<Out>,
    wake: Notify,
}

impl Outlet {
    /// There are other relays.
    pub fn set_on(&self, on: bool) {
        self.on.store(on, Ordering::Relaxed);
    }

    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    fn with(&self, act: impl FnOnce(&mut Out)) {
        if self.is_on() {
            act(&mut self.out.lock());
            self.wake.notify_one();
        }
    }

    /// A frame of a face, captured then. One that another relay publishes does not go out again.
    pub fn publish(&self, frame: &SubjectFrame, from: &Origin, captured: Instant) {
        if from.mesh {
            return;
        }
        self.with(|out| {
            if out.is_full(frame.id) {
                return;
            }
            let waiting = Waiting::Face(Box::new(frame.clone()), from.clone(), captured);
            if let Some(Waiting::Face(..)) = out.faces.insert(frame.id, waiting) {
                out.dropped += 1;
            }
        });
    }

    /// A sealed packet of a face.
    pub fn publish_sealed(&self, (id, name): (SubjectId, &Arc<str>), from: &Origin, packet: &[u8]) {
        if from.mesh {
            return;
        }
        self.with(|out| {
            if out.is_full(id) {
                return;
            }
            let packet = Bytes::copy_from_slice(packet);
            if let Some(Waiting::Sealed(_, _, packets)) = out.faces.get_mut(&id) {
                packets.push_back(packet);
                if packets.len() > MAX_SEALED {
                    packets.pop_front();
                    out.dropped += 1;
                }
            } else {
                out.faces.insert(id, Waiting::Sealed(name.clone(), from.clone(), VecDeque::from([packet])));
            }
        });
    }

    /// A face has gone, or is disabled.
    pub fn lose(&self, id: SubjectId) {
        self.with(|out| match out.faces.len() {
            MAX_WAITING.. => {
                out.faces.clear();
                out.all_lost = true;
            }
            _ => drop(out.faces.insert(id, Waiting::Lost)),
        });
    }

    /// Every face has gone.
    pub fn lose_all(&self) {
        self.with(|out| {
            out.faces.clear();
            out.all_lost = true;
        });
    }

    /// Viewers have subscribed or left.
    pub fn note_viewers(&self) {
        self.with(|out| out.viewers = true);
    }

    /// Waits until there is something.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }

    /// What waits.
    pub fn take(&self) -> Out {
        std::mem::take(&mut self.out.lock())
    }
}
