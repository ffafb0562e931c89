//! What a viewer wants to see.

use std::{collections::HashMap, sync::Arc};

/// Subscriptions of one viewer.
pub const MAX_SUBSCRIPTIONS: usize = 64;
/// Of those, patterns.
pub const MAX_PATTERNS: usize = 16;

/// How frames are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A `blendshape_update` for each frame.
    #[default]
    Json,
    /// `facelink1` packets, with several faces in each.
    Facelink1,
    /// [Compact bundles](crate::wire::facelink1::delta::compact): the viewer [acknowledges](super::Relay::acknowledge) what it
    /// has read, and is sent what changed since.
    Compact,
    /// As [`Facelink1`](Self::Facelink1), and sealed faces in bundles of their own: the viewer has the key. Others are not sent those.
    Sealed,
}

/// The faces of which room are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RoomFilter {
    /// Of every room and of none.
    #[default]
    Any,
    /// Of the room that the viewer is in.
    Own,
    /// Of the room of this name.
    Named(Arc<str>),
}

/// How one subject, those of a pattern, or all of them are sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    /// Highest rate, frames a second; as many as there are without one.
    pub max_fps: Option<f32>,
    /// How frames are written.
    pub format: Format,
    /// Whether the viewer receives the faces that it publishes itself. On by default.
    pub own: bool,
    /// Of which rooms.
    pub room: RoomFilter,
    /// Which faces go first where not all of them fit: higher ones, such as those that are near. A face that speaks counts as 1
    /// more. -10 to 10, 0 by default.
    pub priority: f32,
}

impl Default for Subscription {
    fn default() -> Self {
        Self { max_fps: None, format: Format::Json, own: true, room: RoomFilter::Any, priority: 0.0 }
    }
}

/// Why a subscription is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// [`MAX_SUBSCRIPTIONS`].
    #[error("field `subject`: more than {MAX_SUBSCRIPTIONS} subscriptions")]
    TooMany,
    /// [`MAX_PATTERNS`].
    #[error("field `subject`: more than {MAX_PATTERNS} patterns")]
    TooManyPatterns,
    /// [`RelaySettings::max_viewers`](super::RelaySettings::max_viewers).
    #[error("more viewers than this relay serves")]
    TooManyViewers,
}

/// Names with any text in place of each `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Box<str>);

impl Pattern {
    /// Takes time in proportion to both lengths.
    fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        let Some(mut rest) = rest.strip_suffix(last) else { return false };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }

    /// The more of it is given, the more particular it is.
    fn given(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }
}

/// What one viewer has subscribed to.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscriptions {
    all: Option<Subscription>,
    named: HashMap<Box<str>, Subscription>,
    /// The most particular first.
    patterns: Vec<(Pattern, Subscription)>,
}

impl Subscriptions {
    /// Asks for a subject, for those of a pattern with `*`, or for all of them.
    pub fn add(&mut self, subject: Option<&str>, subscription: Subscription) -> Result<(), SubscribeError> {
        let subject = subject.filter(|subject| subject.bytes().any(|byte| byte != b'*'));
        let known = match subject {
            None => {
                self.all = Some(subscription);
                return Ok(());
            }
            Some(name) if name.contains('*') => {
                self.patterns.iter_mut().find(|(pattern, _)| *pattern.0 == *name).map(|(_, known)| known)
            }
            Some(name) => self.named.get_mut(name),
        };
        if let Some(known) = known {
            *known = subscription;
            return Ok(());
        }
        if self.len() >= MAX_SUBSCRIPTIONS {
            return Err(SubscribeError::TooMany);
        }
        match subject {
            Some(name) if name.contains('*') => {
                if self.patterns.len() >= MAX_PATTERNS {
                    return Err(SubscribeError::TooManyPatterns);
                }
                self.patterns.push((Pattern(name.into()), subscription));
                self.patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.given()));
            }
            Some(name) => drop(self.named.insert(name.into(), subscription)),
            None => {}
        }
        Ok(())
    }

    /// Ends one subscription, or all.
    pub fn remove(&mut self, subject: Option<&str>) {
        match subject {
            None => *self = Self::default(),
            Some(subject) if subject.bytes().all(|byte| byte == b'*') => self.all = None,
            Some(subject) => {
                self.named.remove(subject);
                self.patterns.retain(|(pattern, _)| *pattern.0 != *subject);
            }
        }
    }

    /// How a subject is wanted: by its name, else by the most particular pattern, else with all.
    pub fn of(&self, name: &str) -> Option<&Subscription> {
        let by_pattern = || self.patterns.iter().find(|(pattern, _)| pattern.matches(name)).map(|(_, wanted)| wanted);
        self.named.get(name).or_else(by_pattern).or(self.all.as_ref())
    }

    pub fn len(&self) -> usize {
        self.named.len() + self.patterns.len() + usize::from(self.all.is_some())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscription_patterns() {
        for (pattern, yes, no) in [
            ("Ann*", &["Ann", "Anna", "Ann*"][..], &["ann", "An", "xAnn"][..]),
            ("*/face", &["a/face", "/face"], &["a/faces", "face"]),
            ("a*b*c", &["abc", "a1b2c", "abbcc", "abcbc"], &["ab", "acb", "abcd"]),
            ("a**b", &["ab", "axb"], &["a", "b"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            for name in yes {
                assert!(Pattern(pattern.into()).matches(name), "{pattern} {name}");
            }
            for name in no {
                assert!(!Pattern(pattern.into()).matches(name), "{pattern} {name}");
            }
        }
    }

    #[test]
    fn subscription_most_particular_decides() {
        let mut subscriptions = Subscriptions::default();
        let at = |fps: f32| Subscription { max_fps: Some(fps), ..Subscription::default() };
        for (subject, fps) in
            [(None, 1.0), (Some("A*"), 2.0), (Some("Ann*"), 3.0), (Some("Ann"), 4.0), (Some("A*"), 5.0)]
        {
            subscriptions.add(subject, at(fps)).expect("room");
        }
        let fps = |subscriptions: &Subscriptions, name: &str| subscriptions.of(name).and_then(|wanted| wanted.max_fps);
        for (name, wanted) in [("Ann", 4.0), ("Anna", 3.0), ("Al", 5.0), ("Bob", 1.0)] {
            assert_eq!(fps(&subscriptions, name), Some(wanted), "{name}");
        }
        assert_eq!(subscriptions.len(), 4, "one was replaced");
        subscriptions.remove(Some("*"));
        subscriptions.remove(Some("Ann"));
        assert_eq!((fps(&subscriptions, "Bob"), fps(&subscriptions, "Ann")), (None, Some(3.0)));
        subscriptions.remove(None);
        assert!(subscriptions.is_empty());
    }

    #[test]
    fn subscriptions_are_bounded() {
        let mut subscriptions = Subscriptions::default();
        let mut add = |subject: String| subscriptions.add(Some(&subject), Subscription::default());
        for i in 0..MAX_PATTERNS {
            assert_eq!(add(format!("a{i}*")), Ok(()));
        }
        assert_eq!(add("b*".to_owned()), Err(SubscribeError::TooManyPatterns));
        for i in MAX_PATTERNS..MAX_SUBSCRIPTIONS {
            assert_eq!(add(format!("a{i}")), Ok(()));
        }
        assert_eq!(add("b".to_owned()), Err(SubscribeError::TooMany));
        assert_eq!(add("a3*".to_owned()), Ok(()), "one that is there changes");
    }
}
