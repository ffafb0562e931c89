//! Frames outwards: what a connection has subscribed to.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{
    SubjectFrame,
    session::{Session, update_json},
};

/// Starts sending, if it is not running yet and something is subscribed to. Ends with the connection or the last
/// subscription.
pub(super) fn start(session: &Arc<Session>, cancel: &CancellationToken) {
    if !session.is_subscribed() || !session.begin_publishing() {
        return;
    }
    let (session, cancel) = (session.clone(), cancel.clone());
    let mut frames = session.hub.subscribe();
    // What is there already comes at once: a face that holds still is not waited for.
    for (frame, _) in session.hub.subjects(Instant::now()) {
        if session.wants(&frame.name).is_some() {
            session.send_frame(update_json(&frame));
        }
    }
    tokio::spawn(async move {
        let mut last: HashMap<u64, Instant> = HashMap::new();
        while session.is_subscribed() {
            let frame = tokio::select! {
                () = cancel.cancelled() => break,
                frame = frames.recv() => frame,
            };
            match frame {
                Ok(frame) => publish(&session, &frame, &mut last),
                // A slow connection sees fewer frames, never older ones.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
        session.end_publishing();
    });
}

fn publish(session: &Session, frame: &SubjectFrame, last: &mut HashMap<u64, Instant>) {
    let Some(max_fps) = session.wants(&frame.name) else { return };
    if let Some(max_fps) = max_fps {
        // A tenth of slack, so that a 60 fps stream at max_fps 60 is not halved by its own jitter.
        let interval = Duration::from_secs_f32(0.9 / max_fps.clamp(0.1, 1000.0));
        if last.get(&frame.id.0).is_some_and(|last| frame.received.saturating_duration_since(*last) < interval) {
            return;
        }
        if last.len() > 1024 {
            last.clear();
        }
        last.insert(frame.id.0, frame.received);
    }
    session.send_frame(update_json(frame));
}
