//! What subjects are called here, and which are disabled, whatever their sources say.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Serialize;

use crate::wire::json::check_name;

/// Rules of one endpoint at most: sources with another name, and disabled subjects, together.
pub const MAX_SUBJECT_RULES: usize = 1024;

/// Why a subject cannot be enabled, disabled or renamed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// None is called so, and no rule is about one that is.
    #[error("there is no subject `{}`", .0.escape_debug())]
    Unknown(String),
    /// Another subject is called so; as an alias the name is shared.
    #[error("field `name`: there is another subject `{}`; an alias shares its name", .0.escape_debug())]
    Taken(String),
    /// No subject may be called so: it is empty, longer than 128 bytes, or holds control characters.
    #[error("field `name`: {0}")]
    Name(String),
    /// There are [`MAX_SUBJECT_RULES`].
    #[error("there are {MAX_SUBJECT_RULES} rules for subjects, and no more are kept")]
    TooMany,
}

/// What subjects are called, by the names that their sources send, and which of them are disabled. A source without a rule has its
/// own name and is enabled.
///
/// Several sources may be called the same: then the rule for two sources of one name holds, by which one of them shows at a time.
/// A name is looked up once: that a source is called `b`, and the source `b` something else, does not carry the first further.
///
/// ```
/// use facelink::subject::SubjectRules;
///
/// let mut rules = SubjectRules::default();
/// rules.call("iPhone", "Hero")?;
/// rules.call("iPhone (2)", "Hero")?;
/// rules.set_enabled("Bob", false)?;
/// assert_eq!((rules.name_of("iPhone (2)"), rules.name_of("Bob")), ("Hero", "Bob"));
/// assert!(rules.is_enabled("Hero") && !rules.is_enabled("Bob"));
///
/// // Both phones follow when their subject is renamed.
/// rules.rename("Hero", "Villain", None)?;
/// assert_eq!(rules.name_of("iPhone (2)"), "Villain");
/// # Ok::<(), facelink::subject::SubjectError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SubjectRules {
    names: BTreeMap<Arc<str>, Arc<str>>,
    disabled: BTreeSet<Arc<str>>,
}

impl SubjectRules {
    /// What the subject of a source is called.
    pub fn name_of<'a>(&'a self, source: &'a str) -> &'a str {
        self.names.get(source).map_or(source, |name| name)
    }

    /// Whether a source is called something else than what it sends.
    pub fn is_renamed(&self, source: &str) -> bool {
        self.names.contains_key(source)
    }

    /// Whether the subject of this name is shown.
    pub fn is_enabled(&self, name: &str) -> bool {
        !self.disabled.contains(name)
    }

    /// The sources that are called something else, each with that.
    pub fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().map(|(source, name)| (&**source, &**name))
    }

    /// The sources that are called so and send another name.
    pub fn sources_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.names().filter(move |(_, called)| *called == name).map(|(source, _)| source)
    }

    /// Names of the subjects that are disabled.
    pub fn disabled(&self) -> impl Iterator<Item = &str> {
        self.disabled.iter().map(|name| &**name)
    }

    /// Calls the subject of a source so; by its own name, there is no rule for it any more.
    ///
    /// # Errors
    /// [`SubjectError::Name`] where no subject may be called so, [`SubjectError::TooMany`]; nothing changes then.
    pub fn call(&mut self, source: &str, name: &str) -> Result<(), SubjectError> {
        check(name)?;
        if source == name {
            self.names.remove(source);
        } else {
            self.check_room(self.names.contains_key(source))?;
            self.names.insert(source.into(), name.into());
        }
        Ok(())
    }

    /// Enables or disables the subject of this name, whatever sends it.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn set_enabled(&mut self, name: &str, enabled: bool) -> Result<(), SubjectError> {
        check(name)?;
        if enabled {
            self.disabled.remove(name);
        } else {
            self.check_room(self.disabled.contains(name))?;
            self.disabled.insert(name.into());
        }
        Ok(())
    }

    /// Calls the subject `from` by another name: every source that is called so, and `sends`, by which one sends it now. It stays
    /// enabled or disabled, unless [`alias`](Self::alias) joins it to another.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn rename(&mut self, from: &str, to: &str, sends: Option<&str>) -> Result<(), SubjectError> {
        let enabled = self.is_enabled(from);
        self.alias(from, to, sends)?;
        self.set_enabled(to, enabled)
    }

    /// As [`rename`](Self::rename), for a name that another subject may have: what `to` is, enabled or disabled, this one is then.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn alias(&mut self, from: &str, to: &str, sends: Option<&str>) -> Result<(), SubjectError> {
        check(to)?;
        for source in self.sources(from, sends) {
            self.call(&source, to)?;
        }
        if from != to {
            self.disabled.remove(from);
        }
        Ok(())
    }

    /// Calls every source of the subject `from` by its own name again; those stay enabled or disabled as it is.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    pub fn restore(&mut self, from: &str, sends: Option<&str>) -> Result<(), SubjectError> {
        let enabled = self.is_enabled(from);
        let sources = self.sources(from, sends);
        if !sources.iter().any(|source| **source == *from) {
            self.disabled.remove(from);
        }
        for source in sources {
            self.names.remove(&source);
            self.set_enabled(&source, enabled)?;
        }
        Ok(())
    }

    /// The sources that are called so. Without a rule and `sends`, that is the one that sends this name.
    fn sources(&self, name: &str, sends: Option<&str>) -> Vec<Arc<str>> {
        let mut sources: Vec<Arc<str>> = self.sources_of(name).map(Into::into).collect();
        let more = sends.or(sources.is_empty().then_some(name));
        if let Some(more) =
            more.filter(|more| self.name_of(more) == name && sources.iter().all(|known| **known != **more))
        {
            // The one that may find no room goes first.
            sources.insert(0, more.into());
        }
        sources
    }

    fn check_room(&self, is_known: bool) -> Result<(), SubjectError> {
        let room = is_known || self.names.len() + self.disabled.len() < MAX_SUBJECT_RULES;
        if room { Ok(()) } else { Err(SubjectError::TooMany) }
    }
}

fn check(name: &str) -> Result<(), SubjectError> {
    let name = if name.trim().is_empty() { "" } else { name };
    check_name(name).map_err(SubjectError::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rules: &SubjectRules) -> Vec<(&str, &str)> {
        rules.names().collect()
    }

    #[test]
    fn subject_rules_rename_every_source_of_a_name() {
        let mut rules = SubjectRules::default();
        rules.rename("a", "A", Some("a")).unwrap();
        assert_eq!(names(&rules), [("a", "A")]);
        rules.alias("b", "A", Some("b")).unwrap();
        rules.rename("A", "C", Some("b")).unwrap();
        assert_eq!(names(&rules), [("a", "C"), ("b", "C")]);
        // A source that really is called so is one of them only while it sends.
        rules.rename("C", "D", Some("C")).unwrap();
        assert_eq!(names(&rules), [("C", "D"), ("a", "D"), ("b", "D")]);
        rules.restore("D", Some("b")).unwrap();
        assert_eq!(rules, SubjectRules::default());
    }

    #[test]
    fn subject_rules_names_are_exchanged() {
        let mut rules = SubjectRules::default();
        rules.rename("a", "x", Some("a")).unwrap();
        rules.rename("b", "a", Some("b")).unwrap();
        rules.rename("x", "b", Some("a")).unwrap();
        assert_eq!(names(&rules), [("a", "b"), ("b", "a")]);
        assert_eq!((rules.name_of("a"), rules.name_of("b"), rules.name_of("c")), ("b", "a", "c"));
    }

    #[test]
    fn subject_rules_disabled_follows_the_name() {
        let mut rules = SubjectRules::default();
        rules.set_enabled("a", false).unwrap();
        rules.rename("a", "A", None).unwrap();
        assert_eq!(rules.disabled().collect::<Vec<_>>(), ["A"]);
        rules.restore("A", None).unwrap();
        assert_eq!(rules.disabled().collect::<Vec<_>>(), ["a"]);
        // An alias is what its name is.
        rules.alias("a", "b", None).unwrap();
        assert!(rules.is_enabled("b") && rules.is_enabled("a"));
        rules.set_enabled("b", false).unwrap();
        rules.alias("c", "b", None).unwrap();
        assert!(!rules.is_enabled("b"));
        rules.set_enabled("b", true).unwrap();
        rules.restore("b", None).unwrap();
        assert_eq!(rules, SubjectRules::default());
    }

    #[test]
    fn subject_rules_refuse_names_and_are_bounded() {
        let mut rules = SubjectRules::default();
        for name in ["", " ", "a\n", &"a".repeat(1000)] {
            assert!(matches!(rules.rename("a", name, None), Err(SubjectError::Name(_))), "{name:?}");
            assert!(matches!(rules.set_enabled(name, false), Err(SubjectError::Name(_))), "{name:?}");
        }
        assert_eq!(rules, SubjectRules::default());
        for number in 0..MAX_SUBJECT_RULES {
            rules.set_enabled(&number.to_string(), false).unwrap();
        }
        assert_eq!(rules.set_enabled("more", false), Err(SubjectError::TooMany));
        assert_eq!(rules.call("more", "still"), Err(SubjectError::TooMany));
        assert_eq!((rules.set_enabled("7", false), rules.set_enabled("7", true)), (Ok(()), Ok(())));
        assert_eq!(rules.call("more", "still"), Ok(()));
    }
}
