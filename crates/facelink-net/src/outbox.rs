//! Send queue of one transport: control messages in order, and the newest frame of each face.

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use smallvec::SmallVec;
use tokio::sync::{Notify, mpsc};

/// Control messages that wait for a slow peer; beyond this they are dropped.
const CONTROL_QUEUE: usize = 64;
/// Faces of which a frame may wait; frames of further faces are dropped.
const MAX_FACES: usize = 256;

/// One message outwards.
#[derive(Clone, Debug)]
pub(crate) enum Outgoing {
    Text(String),
    Binary(Bytes),
    /// A WebSocket ping with the sender's clock.
    Ping(u64),
    /// Close with this WebSocket code.
    Close(u16, &'static str),
}

impl Outgoing {
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Ping(_) | Self::Close(..) => 0,
        }
    }
}

#[derive(Debug, Default)]
struct Frames {
    waiting: Mutex<SmallVec<[(u64, Outgoing); 4]>>,
    added: Notify,
}

/// Where messages for one transport are put. Nothing here waits.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    control: mpsc::Sender<Outgoing>,
    frames: Arc<Frames>,
}

/// Where the transport's writer takes them from.
#[derive(Debug)]
pub(crate) struct OutQueue {
    control: mpsc::Receiver<Outgoing>,
    frames: Arc<Frames>,
}

pub(crate) fn outbox() -> (Outbox, OutQueue) {
    let (sender, control) = mpsc::channel(CONTROL_QUEUE);
    let frames = Arc::new(Frames::default());
    (Outbox { control: sender, frames: frames.clone() }, OutQueue { control, frames })
}

impl Outbox {
    /// Queues a control message; `false` when the queue is full or the writer has ended.
    pub fn control(&self, message: Outgoing) -> bool {
        self.control.try_send(message).is_ok()
    }

    pub fn text(&self, text: String) -> bool {
        self.control(Outgoing::Text(text))
    }

    /// Queues a control message when there is room; `false` when the writer has ended.
    pub async fn control_when_room(&self, message: Outgoing) -> bool {
        self.control.send(message).await.is_ok()
    }

    /// Whether no frame waits.
    pub fn is_clear(&self) -> bool {
        self.frames.waiting.lock().is_empty()
    }

    /// Puts a frame of face `face` in; `false` when it replaced one that had not left.
    pub fn frame(&self, face: u64, message: Outgoing) -> bool {
        let mut waiting = self.frames.waiting.lock();
        let full = waiting.len() >= MAX_FACES;
        let kept = match waiting.iter_mut().find(|(other, _)| *other == face) {
            Some((_, old)) => {
                *old = message;
                false
            }
            None if full => false,
            None => {
                waiting.push((face, message));
                true
            }
        };
        drop(waiting);
        self.frames.added.notify_one();
        kept
    }
}

/// What comes out of a queue.
#[derive(Debug)]
pub(crate) enum Next {
    Control(Outgoing),
    Frame(Outgoing),
    /// Every outbox is gone.
    End,
}

impl OutQueue {
    /// The next message: control first, then the frame that has waited longest. Cancel-safe.
    pub async fn next(&mut self) -> Next {
        loop {
            let added = self.frames.added.notified();
            let mut added = pin!(added);
            added.as_mut().enable();
            if let Ok(message) = self.control.try_recv() {
                return Next::Control(message);
            }
            if let Some(frame) = self.frame() {
                return Next::Frame(frame);
            }
            tokio::select! {
                biased;
                message = self.control.recv() => return message.map_or(Next::End, Next::Control),
                () = added => {}
            }
        }
    }

    fn frame(&self) -> Option<Outgoing> {
        let mut waiting = self.frames.waiting.lock();
        if waiting.is_empty() { None } else { Some(waiting.remove(0).1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(next: Next) -> String {
        match next {
            Next::Control(Outgoing::Text(text)) => format!("control {text}"),
            Next::Frame(Outgoing::Text(text)) => format!("frame {text}"),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn outbox_control_precedes_newest_frames() {
        let (out, mut queue) = outbox();
        assert!(out.frame(1, Outgoing::Text("a1".into())));
        assert!(out.frame(2, Outgoing::Text("b1".into())));
        assert!(!out.frame(1, Outgoing::Text("a2".into())));
        assert!(out.text("hello".into()));
        assert_eq!(text(queue.next().await), "control hello");
        assert_eq!(text(queue.next().await), "frame a2");
        assert_eq!(text(queue.next().await), "frame b1");
        let late = out.clone();
        let task = tokio::spawn(async move { text(queue.next().await) });
        tokio::task::yield_now().await;
        late.frame(1, Outgoing::Text("a3".into()));
        assert_eq!(task.await.unwrap(), "frame a3");
    }

    #[tokio::test]
    async fn outbox_memory_is_bounded_when_the_peer_does_not_read() {
        let (out, mut queue) = outbox();
        for face in 0..10_000 {
            out.frame(face, Outgoing::Text(String::new()));
            out.text(String::new());
        }
        drop(out);
        let mut count = 0;
        while !matches!(queue.next().await, Next::End) {
            count += 1;
        }
        assert!(count <= CONTROL_QUEUE + MAX_FACES);
    }
}
