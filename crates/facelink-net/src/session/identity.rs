//! Who the other side of a session is.

use std::sync::Arc;

use facelink::wire::message::Hello;
use parking_lot::Mutex;

use crate::roles::{Roles, TokenRole};

/// How a connection writes its binary frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Binary {
    #[default]
    Float32,
    Facelink1,
    /// End to end encrypted, and nothing else.
    Sealed,
}

impl Binary {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Facelink1 => "facelink1",
            Self::Sealed => "sealed",
        }
    }
}

#[derive(Debug, Default)]
struct State {
    /// `None` while it still has to show the token.
    roles: Option<Roles>,
    subject: Option<Arc<str>>,
    client: Option<Arc<str>>,
    binary: Binary,
    reports: bool,
    webcam: bool,
}

/// Its name, the name of its face, what it sends, and whether it may.
#[derive(Debug)]
pub(super) struct Identity(Mutex<State>);

/// What a `hello` has changed.
#[derive(Debug)]
pub(super) struct Greeted {
    /// The name that the face had before.
    pub renamed: Option<Arc<str>>,
    pub subject: Option<Arc<str>>,
    /// The format that binary frames are read as.
    pub binary: Binary,
    /// The format that was asked for is known.
    pub known: bool,
}

impl Identity {
    pub fn new(roles: Option<Roles>) -> Self {
        Self(Mutex::new(State { roles, ..State::default() }))
    }

    /// One that knows this version of the wire.
    pub fn of_this_version() -> Self {
        let (client, binary) = (Some("facelink".into()), Binary::Facelink1);
        Self(Mutex::new(State { roles: Some(Roles::ALL), client, binary, ..State::default() }))
    }

    pub fn is_authorised(&self) -> bool {
        self.0.lock().roles.is_some()
    }

    pub fn roles(&self) -> Roles {
        self.0.lock().roles.unwrap_or_default()
    }

    pub fn authorise(&self, roles: Roles) {
        self.0.lock().roles = Some(roles);
    }

    pub fn subject(&self) -> Option<Arc<str>> {
        self.0.lock().subject.clone()
    }

    /// The name of its face, which is this one if it has none.
    pub fn subject_or(&self, name: Arc<str>) -> Arc<str> {
        self.0.lock().subject.get_or_insert(name).clone()
    }

    pub fn client(&self) -> Option<Arc<str>> {
        self.0.lock().client.clone()
    }

    pub fn binary(&self) -> Binary {
        self.0.lock().binary
    }

    pub fn wants_reports(&self) -> bool {
        self.0.lock().reports
    }

    pub fn is_webcam(&self) -> bool {
        self.0.lock().webcam
    }

    /// Takes what a `hello` states; `subject` is the name of the face of a connection that it continues.
    pub fn greet(&self, hello: &Hello<'_>, subject: Option<Arc<str>>) -> Greeted {
        let mut state = self.0.lock();
        if state.subject.is_none() {
            state.subject = subject;
        }
        // Who does not publish keeps no name from others.
        let publishes = state.roles.is_some_and(|roles| roles.has(TokenRole::Publish));
        let renamed = hello.subject.as_deref().filter(|_| publishes).and_then(|name| {
            let old = state.subject.replace(name.into());
            old.filter(|old| **old != *name)
        });
        let client = hello.client.as_deref().unwrap_or("unnamed");
        let lower = client.to_ascii_lowercase();
        state.webcam = lower.contains("webcam") || lower.contains("mediapipe");
        state.client = Some(client.into());
        let known = match hello.binary.as_deref() {
            None | Some("float32") => Some(Binary::Float32),
            Some("facelink1") => Some(Binary::Facelink1),
            Some("sealed") => Some(Binary::Sealed),
            Some(_) => None,
        };
        state.binary = known.unwrap_or_default();
        state.reports = hello.reports;
        Greeted { renamed, subject: state.subject.clone(), binary: state.binary, known: known.is_some() }
    }
}
