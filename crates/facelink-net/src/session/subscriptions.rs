//! What a session has subscribed to.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::identity::Binary;

/// Subscriptions of one connection.
const MAX_SUBSCRIPTIONS: usize = 64;

/// How one subject, or all of them, should be sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Subscription {
    pub max_fps: Option<f32>,
    pub binary: Binary,
    pub not_own: bool,
    /// Faces of room peers alone.
    pub room_only: bool,
}

#[derive(Debug, Default)]
struct State {
    /// `None` as a key stands for all subjects.
    by_subject: HashMap<Option<String>, Subscription>,
    publishing: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<State>);

impl Subscriptions {
    /// Asks for a subject, or for all of them.
    pub fn add(&self, subject: Option<String>, subscription: Subscription) {
        let mut state = self.0.lock();
        if state.by_subject.len() < MAX_SUBSCRIPTIONS {
            state.by_subject.insert(subject, subscription);
        }
    }

    /// Ends one subscription, or all.
    pub fn remove(&self, subject: Option<String>) {
        let mut state = self.0.lock();
        match subject {
            Some(subject) => drop(state.by_subject.remove(&Some(subject))),
            None => state.by_subject.clear(),
        }
    }

    /// How a frame of `name` is wanted, if it is.
    pub fn of(&self, name: &str) -> Option<Subscription> {
        let state = self.0.lock();
        let named = state.by_subject.iter().find(|(subject, _)| subject.as_deref() == Some(name));
        named.or_else(|| state.by_subject.iter().find(|(subject, _)| subject.is_none())).map(|(_, wanted)| *wanted)
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().by_subject.is_empty()
    }

    /// `true` for the first caller, until [`end_publishing`](Self::end_publishing).
    pub fn begin_publishing(&self) -> bool {
        !std::mem::replace(&mut self.0.lock().publishing, true)
    }

    pub fn end_publishing(&self) {
        self.0.lock().publishing = false;
    }
}
