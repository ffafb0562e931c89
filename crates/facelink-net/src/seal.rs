//! End-to-end encryption at the sockets: the key of an endpoint or a client, what was opened with it, and what could not be.

#[cfg(all(feature = "seal", target_arch = "wasm32"))]
use crate::page::fill_random;
#[cfg(feature = "seal")]
#[cfg(feature = "seal")]
use bytes::Bytes;
#[cfg(feature = "seal")]
use facelink::{
    frame::FaceFrame,
    seal::{KeySource, OpenError, OpenStats, Opened, Opener, RoomKey, RoomKeys, Sealer},
    time::Instant,
    wire::{facelink1::Clock, json::Decoder},
};
#[cfg(feature = "seal")]
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How an endpoint fares with end-to-end encrypted faces. Packets since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealStats {
    /// Fingerprint of the key: the same on every member's screen. `None` without a key.
    pub key: Option<String>,
    /// Opened.
    pub opened: u64,
    /// Refused: there is no key here.
    pub no_key: u64,
    /// Refused: sealed by another key.
    pub other_key: u64,
    /// Refused: changed in transit, or by no member.
    pub forged: u64,
    /// Refused: read before; also the second copy of what came by two transports.
    pub replayed: u64,
    /// Refused: too far behind.
    pub old: u64,
    /// Refused: not in the form of a sealed packet, or no face in it.
    pub malformed: u64,
    /// Refused: not sealed, from a peer that has to seal.
    pub not_sealed: u64,
}

/// The operating system gives no random numbers.
#[cfg(feature = "seal")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random numbers for a key")]
pub struct RandomError;

/// A key for a room, of 256 random bits.
///
/// # Errors
/// [`RandomError`] when the system has no random source.
#[cfg(feature = "seal")]
pub fn new_room_key() -> Result<RoomKey, RandomError> {
    let mut bytes = [0; 32];
    if fill_random(&mut bytes) { Ok(RoomKey::from_bytes(bytes)) } else { Err(RandomError) }
}

#[cfg(all(feature = "seal", not(target_arch = "wasm32")))]
fn fill_random(bytes: &mut [u8]) -> bool {
    use ring::rand::SecureRandom as _;
    ring::rand::SystemRandom::new().fill(bytes).is_ok()
}

#[cfg(feature = "seal")]
#[derive(Debug, Default)]
struct State {
    keys: Option<RoomKeys>,
    opener: Opener,
    decoder: Decoder,
}

/// The key of an endpoint or of one client.
#[derive(Debug, Default)]
pub(crate) struct Sealing {
    /// Locked before the hub's table.
    #[cfg(feature = "seal")]
    state: Mutex<State>,
    /// The present key once more, for what holds the hub's table.
    #[cfg(feature = "seal")]
    present: Mutex<Option<RoomKey>>,
    /// Grows when the key changes.
    changes: AtomicU64,
    no_key: AtomicU64,
    not_sealed: AtomicU64,
    complained: AtomicBool,
}

impl Sealing {
    /// Counts a packet that cannot be opened for want of a key, and says so once.
    fn without_key(&self) -> String {
        self.no_key.fetch_add(1, Ordering::Relaxed);
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "faces arrive that are sealed end to end, and there is no key here: open the invitation with `#k=`"
            );
        }
        "sealed, and there is no key here".to_owned()
    }

    /// Counts a face in the clear from a peer that has to seal.
    pub fn count_not_sealed(&self) {
        self.not_sealed.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes of the key so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }
}

#[cfg(feature = "seal")]
impl Sealing {
    pub fn new(key: Option<RoomKey>) -> Self {
        let sealing = Self::default();
        sealing.state.lock().keys = key.clone().map(RoomKeys::new);
        *sealing.present.lock() = key;
        sealing
    }

    pub fn key(&self) -> Option<RoomKey> {
        self.present.lock().clone()
    }

    pub fn has_key(&self) -> bool {
        self.present.lock().is_some()
    }

    /// Another key from now on, or none.
    pub fn set_key(&self, key: Option<RoomKey>) {
        let mut state = self.state.lock();
        match (&mut state.keys, key) {
            (Some(keys), Some(key)) => keys.replace(key, Instant::now()),
            (keys, key) => *keys = key.map(RoomKeys::new),
        }
        self.note(&state);
    }

    /// One step of the ratchet.
    pub fn ratchet(&self) {
        let mut state = self.state.lock();
        if let Some(keys) = &mut state.keys {
            keys.ratchet(Instant::now());
        }
        self.note(&state);
    }

    fn note(&self, state: &State) {
        *self.present.lock() = state.keys.as_ref().map(|keys| keys.key().clone());
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// What stands for a subject towards others, where it is sealed.
    pub fn opaque_name(&self, name: &str) -> Option<String> {
        self.present.lock().as_ref().map(|key| key.opaque_name(name))
    }

    /// Opens a packet or a bundle of them; the error is for the stats and the sender.
    pub fn open(
        &self,
        bytes: &[u8],
        now: Instant,
        mut each: impl FnMut(Opened<'_>, &mut Decoder),
    ) -> Result<(), String> {
        let mut state = self.state.lock();
        let State { keys, opener, decoder } = &mut *state;
        let Some(keys) = keys else { return Err(self.without_key()) };
        let before = keys.current().id;
        let opened = opener.open(bytes, keys, now, |opened| each(opened, decoder));
        if keys.current().id != before {
            tracing::info!(key = keys.key().fingerprint(), "a member has moved the key one step on");
            self.note(&state);
        }
        match opened {
            // The second copy of what came by two transports is no fault.
            Ok(()) | Err(OpenError::Replayed(_) | OpenError::Old(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    pub fn stats(&self) -> SealStats {
        let OpenStats { opened, other_key, forged, replayed, old, malformed, .. } = self.state.lock().opener.stats();
        SealStats {
            key: self.present.lock().as_ref().map(RoomKey::fingerprint),
            opened,
            no_key: self.no_key.load(Ordering::Relaxed),
            other_key,
            forged,
            replayed,
            old,
            malformed,
            not_sealed: self.not_sealed.load(Ordering::Relaxed),
        }
    }
}

#[cfg(not(feature = "seal"))]
impl Sealing {
    pub fn has_key(&self) -> bool {
        false
    }

    pub fn opaque_name(&self, _: &str) -> Option<String> {
        None
    }

    pub fn refuse(&self) -> Result<(), String> {
        Err(self.without_key())
    }

    pub fn stats(&self) -> SealStats {
        SealStats {
            no_key: self.no_key.load(Ordering::Relaxed),
            not_sealed: self.not_sealed.load(Ordering::Relaxed),
            ..SealStats::default()
        }
    }
}

/// Seals what one connection sends.
#[cfg(feature = "seal")]
#[derive(Debug)]
pub(crate) struct FrameSealer {
    sealer: Sealer,
    bytes: Vec<u8>,
}

#[cfg(feature = "seal")]
impl Default for FrameSealer {
    fn default() -> Self {
        // The low 62 bits are all random.
        Self { sealer: Sealer::new(|| uuid::Uuid::new_v4().as_u64_pair().1), bytes: Vec::new() }
    }
}

#[cfg(feature = "seal")]
impl FrameSealer {
    pub fn set_redundancy(&mut self, frames: u8) {
        self.sealer.set_redundancy(frames);
    }

    /// One face as a packet; `None` without a key, or for what cannot be written.
    pub fn face(&mut self, sealing: &Sealing, name: &str, frame: &FaceFrame) -> Option<Bytes> {
        let state = sealing.state.lock();
        let keys = state.keys.as_ref()?;
        self.bytes.clear();
        match self.sealer.seal(keys, name, frame, Clock::Unix, Instant::now(), &mut self.bytes) {
            Ok(()) => Some(Bytes::copy_from_slice(&self.bytes)),
            Err(error) => {
                tracing::debug!(%error, name, "not sealed, and not sent");
                None
            }
        }
    }

    /// A message about a face as a packet.
    pub fn message(&mut self, sealing: &Sealing, name: &str, text: &str) -> Option<Bytes> {
        let state = sealing.state.lock();
        self.bytes.clear();
        let sealed = self.sealer.seal_message(state.keys.as_ref()?, name, text, &mut self.bytes);
        sealed.is_ok().then(|| Bytes::copy_from_slice(&self.bytes))
    }
}

/// Seals nothing: there is no key in this build.
#[cfg(not(feature = "seal"))]
#[derive(Debug, Default)]
pub(crate) struct FrameSealer;

#[cfg(not(feature = "seal"))]
impl FrameSealer {
    pub fn set_redundancy(&mut self, _: u8) {}

    pub fn face(&mut self, _: &Sealing, _: &str, _: &facelink::frame::FaceFrame) -> Option<bytes::Bytes> {
        None
    }

    pub fn message(&mut self, _: &Sealing, _: &str, _: &str) -> Option<bytes::Bytes> {
        None
    }
}
