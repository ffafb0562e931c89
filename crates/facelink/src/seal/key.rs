//! The key that a room shares.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Characters of a key as text.
const TEXT_LEN: usize = 43;
/// Before what is derived from a room's key; a later version has another.
const LABEL: &[u8] = b"facelink seal 1 ";

/// 32 random bytes that the members of a room share. As text, as in the fragment of an invitation (`#k=`), it is base64url
/// without padding, 43 characters. Anyone who has it reads every face of the room, and can send as any member.
///
/// It is erased from memory when it is dropped, and `Debug` shows its [fingerprint](Self::fingerprint) alone.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct RoomKey([u8; 32]);

/// A text that is no key. It does not contain the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// It has another length.
    #[error("a key has {TEXT_LEN} characters, this has {0}")]
    Length(usize),
    /// It has other characters, or bits beyond the 256.
    #[error("a key is base64url: letters, digits, - and _")]
    Base64,
}

impl RoomKey {
    /// From 32 bytes of the operating system's random source.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As text: the value of `k` in an invitation's fragment. Anyone who sees it has the key.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0))
    }

    /// What names the key without giving it away, the same on every member's screen: eight hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        let mut bytes = [0; 4];
        self.derive(b"id", &[], &mut bytes);
        format!("{:08x}", u32::from_be_bytes(bytes))
    }

    /// The first byte of the fingerprint, which packets have in the clear.
    pub fn hint(&self) -> u8 {
        let mut bytes = [0];
        self.derive(b"id", &[], &mut bytes);
        bytes[0]
    }

    /// SFrame's base key.
    pub(super) fn base_key(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.derive(b"base", &[], &mut *bytes);
        bytes
    }

    /// The key one step ahead, from which this one cannot be computed.
    pub fn next(&self) -> Self {
        let mut bytes = [0; 32];
        self.derive(b"next", &[], &mut bytes);
        Self(bytes)
    }

    /// What stands for a subject's name towards a relay: `~` and 16 characters, the same for every member with this key.
    /// A name that no other has cannot be found out from it without the key.
    pub fn opaque_name(&self, name: &str) -> String {
        let mut bytes = [0; 12];
        self.derive(b"name ", name.as_bytes(), &mut bytes);
        format!("~{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// HKDF-SHA256 without salt. It gives any of these lengths.
    fn derive(&self, label: &[u8], more: &[u8], out: &mut [u8]) {
        let derived = Hkdf::<Sha256>::new(None, &self.0).expand_multi_info(&[LABEL, label, more], out);
        debug_assert!(derived.is_ok(), "at most 255 blocks");
    }
}

impl FromStr for RoomKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() != TEXT_LEN {
            return Err(KeyError::Length(text.chars().count()));
        }
        let mut bytes = Zeroizing::new([0; 32]);
        match URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut *bytes) {
            Ok(32) => Ok(Self(*bytes)),
            _ => Err(KeyError::Base64),
        }
    }
}

impl fmt::Debug for RoomKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomKey({})", self.fingerprint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn room_key_text_reads_back() {
        let key: RoomKey = TEXT.parse().expect("a key");
        assert_eq!(*key.reveal(), TEXT);
        assert_eq!(key.0, std::array::from_fn(|i| i as u8));
        assert!(!format!("{key:?}").contains("AAEC") && format!("{key:?}").contains(&key.fingerprint()));
        let error = |text: &str| text.parse::<RoomKey>().expect_err("no key");
        assert_eq!(error(""), KeyError::Length(0));
        assert_eq!(error(&TEXT[1..]), KeyError::Length(42));
        assert_eq!(error(&format!("{TEXT}=")), KeyError::Length(44));
        assert_eq!(error(&TEXT.replace('A', "+")), KeyError::Base64);
        assert_eq!(error(&format!("{}9", &TEXT[1..])), KeyError::Base64, "bits beyond the 256");
        assert_eq!(error(&"\u{e9}".repeat(21)), KeyError::Length(21));
    }

    /// What the JavaScript side comes to as well (`tests/web/seal.mjs` has the same numbers), and Python's hmac by hand.
    #[test]
    fn room_key_derivation_is_pinned() {
        let key: RoomKey = TEXT.parse().expect("a key");
        assert_eq!((key.fingerprint().as_str(), key.hint()), ("6cdd5dd2", 0x6c));
        assert_eq!(key.opaque_name("Ann"), "~SafJ0DK2SdB2DneP");
        assert_eq!(*key.next().reveal(), "hAwy7lYxQOENqmQm1oGPMskApo7NRJTrvfyNqE1TOxk");
        assert_eq!(URL_SAFE_NO_PAD.encode(*key.base_key()), "3R4kapwbUc6mhwFG8wjrByQapsoEiuX5vJ6f4SAWpog");
        assert_ne!(key.opaque_name("Ann"), key.next().opaque_name("Ann"));
    }
}
