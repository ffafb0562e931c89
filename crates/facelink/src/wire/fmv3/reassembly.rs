//! Parts of messages put together.

use std::{borrow::Cow, time::Duration};

use crate::time::Instant;

use super::message::{Fmv3Error, Header, Kind, Part};

/// Most incomplete messages that are kept.
pub const MAX_SETS: usize = 8;
/// Most bytes of incomplete messages that are kept.
pub const MAX_HELD: usize = 512 * 1024;
/// Parts of a frame are dropped after this time if the rest has not arrived.
pub const FRAME_EXPIRES: Duration = Duration::from_millis(250);
/// Parts of a schema are dropped after this time if the rest has not arrived.
pub const SCHEMA_EXPIRES: Duration = Duration::from_secs(3);

/// Puts the parts of messages together.
#[derive(Debug, Default)]
pub struct Reassembler {
    sets: Vec<Set>,
}

#[derive(Debug)]
struct Set {
    /// As of its first part.
    header: Header,
    pieces: Vec<(u16, Box<[u8]>)>,
    bytes: usize,
    since: Instant,
}

impl Set {
    fn is_of(&self, header: &Header) -> bool {
        let key = |header: &Header| (header.kind, header.session, header.schema, header.sequence);
        key(&self.header) == key(header)
    }

    /// The field in which a part differs from the others.
    fn differs(&self, part: &Part<'_>) -> Option<&'static str> {
        let (a, b) = (&self.header, &part.header);
        if a.flags != b.flags {
            return Some("flags");
        }
        if a.source_token != b.source_token {
            return Some("source token");
        }
        if (a.total, a.parts) != (b.total, b.parts) {
            return Some("length");
        }
        let known = self.pieces.iter().find(|(place, _)| *place == part.header.part);
        match known {
            Some((_, piece)) if **piece != *part.chunk => Some("bytes"),
            None if self.bytes + part.chunk.len() > a.total as usize => Some("length"),
            _ => None,
        }
    }
}

impl Reassembler {
    /// Nothing kept yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Incomplete messages that are kept.
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Whether no incomplete message is kept.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Takes a part; gives back the message once it is whole, with its header. A message of one part is handed through.
    ///
    /// # Errors
    /// [`Fmv3Error::Contradiction`] when it does not fit what came before; the message is then given up.
    pub fn take<'a>(&mut self, part: Part<'a>, now: Instant) -> Result<Option<(Header, Cow<'a, [u8]>)>, Fmv3Error> {
        let header = part.header;
        if header.parts == 1 {
            return Ok(Some((header, Cow::Borrowed(part.chunk))));
        }
        self.expire(now);
        let place = match self.sets.iter().position(|set| set.is_of(&header)) {
            Some(place) => place,
            None => {
                self.make_room(part.chunk.len());
                self.sets.push(Set { header, pieces: Vec::new(), bytes: 0, since: now });
                self.sets.len() - 1
            }
        };
        let Some(set) = self.sets.get_mut(place) else { return Ok(None) };
        if let Some(field) = set.differs(&part) {
            self.sets.remove(place);
            return Err(Fmv3Error::Contradiction { kind: header.kind.name(), field });
        }
        let Err(slot) = set.pieces.binary_search_by_key(&header.part, |(place, _)| *place) else {
            return Ok(None);
        };
        set.pieces.insert(slot, (header.part, part.chunk.into()));
        set.bytes += part.chunk.len();
        if set.pieces.len() < usize::from(header.parts) {
            self.make_room(0);
            return Ok(None);
        }
        let set = self.sets.remove(place);
        if set.bytes != header.total as usize {
            return Err(Fmv3Error::Contradiction { kind: header.kind.name(), field: "length" });
        }
        let mut body = Vec::with_capacity(set.bytes);
        for (_, piece) in &set.pieces {
            body.extend_from_slice(piece);
        }
        Ok(Some((Header { part: 0, ..set.header }, Cow::Owned(body))))
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        self.sets.iter().map(|set| set.bytes).sum()
    }

    fn expire(&mut self, now: Instant) {
        self.sets.retain(|set| {
            let expires = if set.header.kind == Kind::Frame { FRAME_EXPIRES } else { SCHEMA_EXPIRES };
            now.saturating_duration_since(set.since) < expires
        });
    }

    /// The oldest go, so that so many bytes, and one message more, have room.
    fn make_room(&mut self, bytes: usize) {
        let most = if bytes > 0 { MAX_SETS - 1 } else { MAX_SETS };
        while self.sets.len() > most || self.held() + bytes > MAX_HELD {
            if self.sets.is_empty() {
                return;
            }
            self.sets.remove(0);
        }
    }
}
