//! Settings for phone apps: phones to call, what their numbers mean, and where faces go out.

use std::{net::SocketAddr, path::PathBuf};

use facelink::{mapping::Mapping, source::SourceKind, wire::profile::SourceProfile};
pub use facelink::{source::PhoneCall, wire::vmc::VmcOut};

/// A [`SourceProfile`] for each kind of source; those that are not set are as the app is known to be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceProfiles {
    set: Vec<(SourceKind, SourceProfile)>,
}

impl SourceProfiles {
    /// As an app is known to be.
    pub const fn usual(kind: SourceKind) -> SourceProfile {
        match kind.app() {
            Some(app) => app.profile,
            None => SourceProfile::PLAIN,
        }
    }

    /// The profile of a kind.
    pub fn get(&self, kind: SourceKind) -> SourceProfile {
        let set = self.set.iter().find(|(other, _)| *other == kind);
        set.map_or(Self::usual(kind), |(_, profile)| *profile)
    }

    /// Sets the profile of a kind.
    pub fn set(&mut self, kind: SourceKind, profile: SourceProfile) {
        self.set.retain(|(other, _)| *other != kind);
        self.set.push((kind, profile));
    }

    /// The same with the profile of a kind.
    #[must_use]
    pub fn with(mut self, kind: SourceKind, profile: SourceProfile) -> Self {
        self.set(kind, profile);
        self
    }
}

/// A face that goes out to VRChat, as parameters of its avatar by OSC: see [`facelink::vrchat`].
#[derive(Clone, Debug, PartialEq)]
pub struct VrchatOut {
    /// Where to: port 9000 of the machine that runs VRChat.
    pub to: SocketAddr,
    /// Name of the subject that goes out; without one, the subject that appeared first, or to which a controller cut.
    pub subject: Option<String>,
    /// What stands before `v2/` in the names, such as `FT/`; nothing by default.
    pub prefix: String,
    /// Frames a second at most; 60 by default. Values that do not change are not sent in any case.
    pub max_fps: f32,
    /// Which shapes make up which parameter; by default Unified Expressions.
    pub mapping: Option<Mapping>,
}

impl VrchatOut {
    /// The subject that appears first, by the names of Unified Expressions.
    pub fn new(to: SocketAddr) -> Self {
        Self { to, subject: None, prefix: String::new(), max_fps: 60.0, mapping: None }
    }

    /// One subject alone.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// With a prefix before `v2/`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }
}

/// Where phones that were found or typed in once are kept, by default: `phones.json` in the user's data folder.
pub fn remembered_phones() -> Option<PathBuf> {
    use etcetera::BaseStrategy;
    etcetera::choose_base_strategy().ok().map(|folders| folders.data_dir().join("facelink").join("phones.json"))
}
