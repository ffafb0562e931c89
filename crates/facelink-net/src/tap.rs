//! What leaves for the engine, for a recorder: a bounded queue that never holds up the faces.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use crossbeam_channel::{Receiver, Sender};
use facelink::{
    event::{LinkEvent, SubjectFrame},
    take::{ObsRecording, PhoneRecording, RecordedPacket, RecordedPicture, RecordedSound},
    time::Instant,
};

/// What waits to be written: half a second of 256 faces of 60 Hz.
const QUEUE: usize = 8192;
/// Bytes of pictures and sounds that wait to be written: ten seconds of ten performers.
const MAX_MEDIA: usize = 32 << 20;

/// One thing to record, and when it was there.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly everything is a frame, and none is to cost an allocation")]
pub(crate) enum Tapped {
    Frame(SubjectFrame),
    Event(LinkEvent, Instant),
    Packet(RecordedPacket, Instant),
    #[cfg_attr(not(all(feature = "http", feature = "webrtc")), allow(dead_code))]
    Picture(RecordedPicture, Instant),
    #[cfg_attr(not(all(feature = "http", feature = "webrtc")), allow(dead_code))]
    Sound(RecordedSound, Instant),
    Mark(String, Instant),
    Phone(PhoneRecording, Instant),
    #[cfg_attr(not(feature = "obs"), allow(dead_code))]
    Obs {
        recording: ObsRecording,
        /// When its video began.
        started: Option<Instant>,
        at: Instant,
    },
}

/// What both ends know.
#[derive(Debug, Default)]
pub(crate) struct TapState {
    /// What found no room.
    dropped: AtomicU64,
    /// The recorder has given up.
    closed: AtomicBool,
    /// Bytes of pictures and sounds that wait.
    media: AtomicUsize,
}

impl TapState {
    /// What was dropped since it was asked last.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// So many bytes of pictures and sounds have been written.
    pub fn media_written(&self, bytes: usize) {
        self.media.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// The end of the queue at the hub. Dropping it ends the recording.
#[derive(Debug)]
pub(crate) struct Tap {
    queue: Sender<Tapped>,
    state: Arc<TapState>,
    packets: bool,
}

impl Tap {
    pub fn new(packets: bool) -> (Self, Receiver<Tapped>, Arc<TapState>) {
        let (queue, receiver) = crossbeam_channel::bounded(QUEUE);
        let state = Arc::new(TapState::default());
        (Self { queue, state: state.clone(), packets }, receiver, state)
    }

    /// Whether datagrams are recorded too.
    pub fn wants_packets(&self) -> bool {
        self.packets
    }

    /// The same for so many bytes of a picture or a sound, of which [`MAX_MEDIA`] wait at most.
    #[cfg_attr(not(all(feature = "http", feature = "webrtc")), allow(dead_code))]
    pub fn push_media(&self, bytes: usize, tapped: impl FnOnce() -> Tapped) {
        let waiting = self.state.media.fetch_add(bytes, Ordering::Relaxed);
        if waiting.saturating_add(bytes) > MAX_MEDIA {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        } else if self.try_push(tapped) {
            return;
        }
        self.state.media_written(bytes);
    }

    /// Never blocks: what finds no room is counted. Made only where it can be used.
    pub fn push(&self, tapped: impl FnOnce() -> Tapped) {
        self.try_push(tapped);
    }

    fn try_push(&self, tapped: impl FnOnce() -> Tapped) -> bool {
        if self.state.closed.load(Ordering::Relaxed) {
            return false;
        }
        let pushed = !self.queue.is_full() && self.queue.try_send(tapped()).is_ok();
        if !pushed {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tap_full_or_closed_never_blocks_and_counts() {
        let (tap, receiver, state) = Tap::new(false);
        let mark = || Tapped::Mark(String::new(), Instant::now());
        for _ in 0..QUEUE + 5 {
            tap.push(mark);
        }
        assert_eq!((receiver.len(), state.take_dropped(), state.take_dropped()), (QUEUE, 5, 0));
        state.close();
        tap.push(|| unreachable!("nothing is made for a recorder that is gone"));
        assert_eq!(state.take_dropped(), 0);
    }
}
