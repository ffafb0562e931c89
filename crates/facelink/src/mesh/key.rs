//! Names on the mesh: who is there, what is published where, and where its frames are found.

use std::{fmt, str::FromStr, sync::Arc};

use crate::wire::json::check_name;

/// What all keys begin with; its number changes with what is sent.
pub const PREFIX: &str = "facelink/1";
/// In place of the room of a face that is in none.
const NO_ROOM: &str = "~";
/// In place of the time of a face.
const LEAVING: &str = "leaving";

/// One relay, from its start to its end: another one after it was started again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayId(pub u128);

impl fmt::Display for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for RelayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is no id of a relay: 1 to 32 hexadecimal digits in lower case, without a zero in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a relay")]
pub struct RelayIdError;

impl FromStr for RelayId {
    type Err = RelayIdError;

    fn from_str(text: &str) -> Result<Self, RelayIdError> {
        let id = u128::from_str_radix(text, 16).map(Self).map_err(|_| RelayIdError)?;
        // One spelling for each.
        (id.to_string() == text).then_some(id).ok_or(RelayIdError)
    }
}

/// A face that a relay publishes, as its announcement has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The relay.
    pub relay: RelayId,
    /// The room of the connection that it comes by.
    pub room: Option<Arc<str>>,
    /// The subject's name, or what stands for it where it is sealed.
    pub subject: Arc<str>,
    /// When it was announced, by the relay's clock, milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// What a token of presence says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The relay is there.
    Relay(RelayId),
    /// It is about to leave: what goes now does not come back.
    Leaving(RelayId),
    /// It publishes this face.
    Face(Announced),
}

/// Why a key is none of ours. Names the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mesh key: {0}")]
pub struct KeyError(pub &'static str);

/// The keys of all tokens of presence.
pub fn presence_keys() -> String {
    format!("{PREFIX}/presence/**")
}

/// The key of a relay's frames of one subject, and of the query for the newest.
pub fn frames_key(relay: RelayId, subject: &str) -> String {
    format!("{PREFIX}/frames/{relay}/{}", Escaped(subject))
}

/// The keys of all frames of a relay.
pub fn frames_keys(relay: RelayId) -> String {
    format!("{PREFIX}/frames/{relay}/*")
}

impl fmt::Display for Presence {
    /// The key of its token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relay(relay) => write!(f, "{PREFIX}/presence/{relay}"),
            Self::Leaving(relay) => write!(f, "{PREFIX}/presence/{relay}/{LEAVING}"),
            Self::Face(Announced { relay, room, subject, since_ms }) => {
                write!(f, "{PREFIX}/presence/{relay}/{since_ms}/")?;
                match room {
                    Some(room) => write!(f, "{}", Escaped(room))?,
                    None => f.write_str(NO_ROOM)?,
                }
                write!(f, "/{}", Escaped(subject))
            }
        }
    }
}

impl FromStr for Presence {
    type Err = KeyError;

    fn from_str(key: &str) -> Result<Self, KeyError> {
        let rest = key.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix("/presence/"));
        let mut parts = rest.ok_or(KeyError("prefix"))?.split('/');
        let relay = parts.next().and_then(|part| part.parse().ok()).ok_or(KeyError("relay"))?;
        let since = match parts.next() {
            None => return Ok(Self::Relay(relay)),
            Some(LEAVING) => return parts.next().map_or(Ok(Self::Leaving(relay)), |_| Err(KeyError("length"))),
            Some(since) => since,
        };
        let since_ms = since.parse().map_err(|_| KeyError("since"))?;
        let room = match parts.next().ok_or(KeyError("room"))? {
            NO_ROOM => None,
            room => Some(name(room).ok_or(KeyError("room"))?.into()),
        };
        let subject = parts.next().and_then(name).ok_or(KeyError("subject"))?.into();
        match parts.next() {
            Some(_) => Err(KeyError("length")),
            None => Ok(Self::Face(Announced { relay, room, subject, since_ms })),
        }
    }
}

/// One part of a key: letters, digits, `-`, `.` and `_` as they are, other bytes as `%` and two hexadecimal digits.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' => write!(f, "{}", char::from(byte))?,
                other => write!(f, "%{other:02X}")?,
            }
        }
        Ok(())
    }
}

/// The name that a part of a key stands for.
fn name(part: &str) -> Option<String> {
    // No name is longer than this.
    if part.len() > 3 * crate::wire::json::MAX_NAME {
        return None;
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8);
        bytes.push(match byte {
            b'%' => hex(rest.next())? << 4 | hex(rest.next())?,
            other => other,
        });
    }
    let name = String::from_utf8(bytes).ok()?;
    // One spelling for each, so that what was announced and what is watched are the same key.
    (check_name(&name).is_ok() && Escaped(&name).to_string() == part).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mesh_keys_round_trip() {
        for (subject, room) in [
            ("Ann", None),
            ("stage/Ann Bee", Some("stage")),
            ("~", Some("~")),
            ("a*b$?#@%/", Some("**")),
            ("Zoë 😀", Some("Bühne")),
            (&*"x".repeat(128), Some("-._")),
        ] {
            let face = Presence::Face(Announced {
                relay: RelayId(0xA0),
                room: room.map(Into::into),
                subject: subject.into(),
                since_ms: 1_700_000_000_123,
            });
            let key = face.to_string();
            assert_eq!(key.parse(), Ok(face), "{key}");
            let parts: Vec<_> = key.split('/').collect();
            assert_eq!(parts.len(), 7, "{key}");
            let plain = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._%~".contains(&b));
            assert!(parts.iter().all(plain), "{key}: nothing that means more in a key expression");
            assert_eq!(frames_key(RelayId(7), subject).rsplit('/').next(), parts.last().copied());
        }
        let relay = Presence::Relay(RelayId(u128::MAX));
        assert_eq!(relay.to_string(), "facelink/1/presence/ffffffffffffffffffffffffffffffff");
        assert_eq!(relay.to_string().parse(), Ok(relay));
        let leaving = Presence::Leaving(RelayId(0xA0));
        assert_eq!(leaving.to_string().parse(), Ok(leaving));
    }

    #[test]
    fn mesh_keys_of_others_are_refused() {
        let long = format!("facelink/1/presence/a/1/~/{}", "x".repeat(129));
        for (key, part) in [
            ("", "prefix"),
            ("facelink/2/presence/a", "prefix"),
            ("facelink/1/presence", "prefix"),
            ("facelink/1/presence/", "relay"),
            ("facelink/1/presence/0a", "relay"),
            ("facelink/1/presence/A", "relay"),
            ("facelink/1/presence/+a", "relay"),
            ("facelink/1/presence/a/x/~/Ann", "since"),
            ("facelink/1/presence/a/leaving/~/Ann", "length"),
            ("facelink/1/presence/a/1", "room"),
            ("facelink/1/presence/a/1/%/Ann", "room"),
            ("facelink/1/presence/a/1/~", "subject"),
            ("facelink/1/presence/a/1/~/", "subject"),
            ("facelink/1/presence/a/1/~/A%6e", "subject"),
            ("facelink/1/presence/a/1/~/%4", "subject"),
            ("facelink/1/presence/a/1/~/%FF", "subject"),
            ("facelink/1/presence/a/1/~/%0A", "subject"),
            ("facelink/1/presence/a/1/~/é", "subject"),
            ("facelink/1/presence/a/1/~/Ann/x", "length"),
            (&*long, "subject"),
        ] {
            assert_eq!(key.parse::<Presence>(), Err(KeyError(part)), "{key}");
        }
    }
}
