//! What each app's numbers mean, to be changed while faces run.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use facelink::{
    source::SourceKind,
    wire::{llf::Author, profile::SourceProfile},
};

use crate::phone_config::SourceProfiles;

/// The profiles in use.
#[derive(Debug, Default)]
pub(crate) struct LiveProfiles {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_kind: SourceProfiles,
    by_subject: BTreeMap<Arc<str>, SourceProfile>,
    /// Subjects that are not, or perhaps not, sent by the app whose protocol they come by.
    authors: BTreeMap<Arc<str>, Author>,
}

/// Subjects with a profile of their own; more than any user tunes.
const MAX_SUBJECTS: usize = 1024;

impl LiveProfiles {
    pub fn new(by_kind: SourceProfiles) -> Self {
        Self { inner: RwLock::new(Inner { by_kind, ..Inner::default() }) }
    }

    /// The profile for a frame. Programs that imitate an app do not share its fault of exchanging two shapes.
    pub fn of(&self, kind: SourceKind, subject: &str, author: Author) -> SourceProfile {
        let inner = self.inner.read();
        let usual = || {
            let profile = inner.by_kind.get(kind);
            SourceProfile {
                swap_mouth_left_right: profile.swap_mouth_left_right && author != Author::Imitation,
                ..profile
            }
        };
        inner.by_subject.get(subject).copied().unwrap_or_else(usual)
    }

    pub fn set_author(&self, subject: &str, author: Author) {
        let authors = &mut self.inner.write().authors;
        if author == Author::App {
            authors.remove(subject);
        } else if authors.len() < MAX_SUBJECTS || authors.contains_key(subject) {
            authors.insert(subject.into(), author);
        }
    }

    /// Who sends a subject that goes by its app's profile.
    pub fn author(&self, subject: &str) -> Author {
        let inner = self.inner.read();
        let own = inner.by_subject.contains_key(subject);
        inner.authors.get(subject).copied().filter(|_| !own).unwrap_or_default()
    }

    pub fn kind(&self, kind: SourceKind) -> SourceProfile {
        self.inner.read().by_kind.get(kind)
    }

    /// The profiles of all apps, as a take keeps them: name, media type, bytes.
    pub fn attachment(&self) -> Option<(String, String, Vec<u8>)> {
        let inner = self.inner.read();
        let kinds: BTreeMap<_, _> =
            SourceKind::PHONES.iter().map(|kind| (kind.as_str(), inner.by_kind.get(*kind))).collect();
        let json = serde_json::json!({"apps": kinds, "subjects": inner.by_subject});
        Some(("profiles.json".to_owned(), "application/json".to_owned(), serde_json::to_vec(&json).ok()?))
    }

    pub fn set_kind(&self, kind: SourceKind, profile: SourceProfile) {
        self.inner.write().by_kind.set(kind, profile);
    }

    pub fn subject(&self, subject: &str) -> Option<SourceProfile> {
        self.inner.read().by_subject.get(subject).copied()
    }

    pub fn set_subject(&self, subject: &str, profile: Option<SourceProfile>) {
        let mut inner = self.inner.write();
        match profile {
            Some(profile) if inner.by_subject.len() < MAX_SUBJECTS || inner.by_subject.contains_key(subject) => {
                inner.by_subject.insert(subject.into(), profile);
            }
            Some(_) => {}
            None => drop(inner.by_subject.remove(subject)),
        }
    }
}
