//! What each app's numbers mean, to be changed while faces run.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use facelink::{source::SourceKind, wire::profile::SourceProfile};

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
}

/// Subjects with a profile of their own; more than any user tunes.
const MAX_SUBJECTS: usize = 1024;

impl LiveProfiles {
    pub fn new(by_kind: SourceProfiles) -> Self {
        Self { inner: RwLock::new(Inner { by_kind, by_subject: BTreeMap::new() }) }
    }

    /// The profile for a frame.
    pub fn of(&self, kind: SourceKind, subject: &str) -> SourceProfile {
        let inner = self.inner.read();
        inner.by_subject.get(subject).copied().unwrap_or_else(|| inner.by_kind.get(kind))
    }

    pub fn kind(&self, kind: SourceKind) -> SourceProfile {
        self.inner.read().by_kind.get(kind)
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
