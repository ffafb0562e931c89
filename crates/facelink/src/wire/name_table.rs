//! Names on the wire, and what they denote.

use std::{collections::HashMap, sync::Arc};

use crate::names::Blendshape;

/// Longest subject, client or channel name, bytes.
pub const MAX_NAME: usize = 128;
/// Most different channel names that one connection may use.
pub const MAX_NAMES: usize = 512;

/// Whether a subject or channel may be called so; why not, in words.
///
/// # Errors
/// A name that is empty, longer than [`MAX_NAME`], or holds control characters.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err("a name must not be empty".to_owned())
    } else if name.len() > MAX_NAME {
        Err(format!("a name of {} bytes is longer than {MAX_NAME}", name.len()))
    } else if name.chars().any(char::is_control) {
        Err("a name must not hold control characters".to_owned())
    } else {
        Ok(())
    }
}

/// What a name denotes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved {
    Shape(Blendshape),
    Channel(Arc<str>),
}

impl Resolved {
    pub(crate) fn of(name: &str) -> Self {
        match Blendshape::from_sender_name(name) {
            Some(shape) => Self::Shape(shape),
            None => Self::Channel(name.into()),
        }
    }
}

/// As [`check_name`], without a word on why not.
pub(super) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control)
}

/// Names that one connection used, resolved once.
#[derive(Debug, Default)]
pub(super) struct NameTable {
    names: Vec<(Arc<str>, Resolved)>,
    places: HashMap<Arc<str>, usize>,
    /// Senders write their names in the same order every time: the next one is most likely this.
    expected: usize,
}

impl NameTable {
    /// What a name denotes; an error message when it is no name or one too many.
    pub fn resolve(&mut self, name: &str) -> Result<&Resolved, String> {
        let place = match self.names.get(self.expected) {
            Some((expected, _)) if **expected == *name => self.expected,
            _ => match self.places.get(name) {
                Some(place) => *place,
                None => self.add(name)?,
            },
        };
        self.expected = if place + 1 < self.names.len() { place + 1 } else { 0 };
        self.names.get(place).map(|(_, resolved)| resolved).ok_or_else(String::new)
    }

    /// What a name denotes; one that was not used before, and is a name, is learnt when `learn`, and there is room.
    /// Costs nothing when it is not.
    pub fn find(&mut self, name: &str, learn: bool) -> Option<&Resolved> {
        let is_known = self.names.get(self.expected).is_some_and(|(expected, _)| **expected == *name)
            || self.places.contains_key(name);
        if !is_known && (!learn || self.is_full() || !is_name(name)) {
            return None;
        }
        self.resolve(name).ok()
    }

    fn add(&mut self, name: &str) -> Result<usize, String> {
        check_name(name)?;
        if self.is_full() {
            return Err(format!("more than {MAX_NAMES} different names on one connection"));
        }
        let resolved = Resolved::of(name);
        let name = match &resolved {
            Resolved::Channel(name) => name.clone(),
            Resolved::Shape(_) => name.into(),
        };
        let place = self.names.len();
        self.places.insert(name.clone(), place);
        self.names.push((name, resolved));
        Ok(place)
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    pub fn is_full(&self) -> bool {
        self.names.len() >= MAX_NAMES
    }

    /// Forgets the names learnt since there were `len` names.
    pub fn truncate(&mut self, len: usize) {
        for (name, _) in self.names.drain(len.min(self.names.len())..) {
            self.places.remove(&name);
        }
        self.expected = 0;
    }
}
