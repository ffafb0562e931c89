//! Sealed faces as a peer without the key sees them: what is in the clear of an end-to-end encrypted packet, and bundles of
//! them. Keys and encryption are in the module `seal` (feature `seal`); a relay needs this module alone.
//!
//! A packet is one byte that names its [`Kind`], an SFrame header (RFC 9605, section 4.3) and the ciphertext with its tag.
//! All of it is authenticated, so that nothing in it can be rewritten; a relay passes it on byte for byte or not at all.
//! `docs/sealing.md` describes the bytes.

use std::fmt;

/// First byte of a face of the lowest temporal layer; those of the others follow.
const FACE: u8 = 0xF4;
const MESSAGE: u8 = 0xF7;
const BUNDLE: u8 = 0xF8;
/// Bytes of the authentication tag at the end of a packet.
pub const TAG_LEN: usize = 16;
/// Longest packet, bytes: what the length in a bundle can hold.
pub const MAX_SEALED: usize = (1 << 14) - 1;
/// Longest clear part: kind, configuration byte, key id, counter.
pub const MAX_CLEAR: usize = 2 + 8 + 8;
/// Bits of a key id below the stream: which key it is.
const HINT_BITS: u32 = 8;

/// Temporal layer of a face. They are nested: with all layers up to one, the stream has at most [`Layer::max_fps`] frames a
/// second. Packets of every layer can be read without any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// T0, 15 frames a second: the last one to leave out.
    #[default]
    Base,
    /// T1, 30 frames a second together with the one below.
    Middle,
    /// T2, every frame.
    Top,
}

impl Layer {
    /// Every layer, the lowest first.
    pub const ALL: [Self; 3] = [Self::Base, Self::Middle, Self::Top];

    /// Frames a second of the stream up to this layer, where its source has 60.
    pub const fn max_fps(self) -> f32 {
        match self {
            Self::Base => 15.0,
            Self::Middle => 30.0,
            Self::Top => 60.0,
        }
    }

    /// The highest layer with which a stream keeps to a rate, frames a second; the lowest where none does.
    pub fn for_fps(fps: f32) -> Self {
        Self::ALL.into_iter().rev().find(|layer| layer.max_fps() <= fps + 1.0).unwrap_or_default()
    }
}

/// What is in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A face.
    Face(Layer),
    /// A message, such as a viseme: never to be thinned.
    Message,
}

impl Kind {
    /// The first byte of its packets.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Face(Layer::Base) => FACE,
            Self::Face(Layer::Middle) => FACE + 1,
            Self::Face(Layer::Top) => FACE + 2,
            Self::Message => MESSAGE,
        }
    }

    const fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0xF4 => Self::Face(Layer::Base),
            0xF5 => Self::Face(Layer::Middle),
            0xF6 => Self::Face(Layer::Top),
            MESSAGE => Self::Message,
            _ => return None,
        })
    }
}

/// Whether a binary message with this first byte is a sealed packet or a bundle of them.
pub const fn is_sealed(first: u8) -> bool {
    matches!(first, FACE..=BUNDLE)
}

/// One subject's stream of one sender, at random: what stands for the subject where its name is sealed. 48 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(u64);

impl StreamId {
    /// From 64 random bits. The highest bit is set, so that each takes as many bytes.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & 0xFFFF_FFFF_FFFF | 1 << 47)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key id of a packet: a stream, and eight bits of its key's fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(u64);

impl KeyId {
    /// Of a stream, sealed by a key with this fingerprint.
    pub const fn new(stream: StreamId, hint: u8) -> Self {
        Self(stream.0 << HINT_BITS | hint as u64)
    }

    /// The number, as SFrame has it (KID).
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The stream.
    pub const fn stream(self) -> StreamId {
        StreamId(self.0 >> HINT_BITS)
    }

    /// The lowest eight bits: which of several keys to try.
    pub const fn hint(self) -> u8 {
        self.0 as u8
    }
}

/// Why bytes are no sealed packet or bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The first byte is that of no sealed packet.
    #[error("kind is {0:#04x}, that of no sealed packet")]
    Kind(u8),
    /// It ends within a field.
    #[error("the packet ends within {0}")]
    Truncated(&'static str),
    /// More than [`MAX_SEALED`] bytes.
    #[error("packet of {0} bytes is larger than the {MAX_SEALED} that are read")]
    TooLarge(usize),
    /// A number that is not in its shortest form.
    #[error("{0} is not written in the shortest form")]
    Form(&'static str),
}

/// What is in the clear of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it is.
    pub kind: Kind,
    /// Whose it is, and by which key it is sealed.
    pub key_id: KeyId,
    /// Its number in the stream. It grows from packet to packet, and may skip.
    pub counter: u64,
    /// Frames of the stream that a relay has left out so far, modulo 65536; 0 in a packet that came by itself.
    pub left_out: u16,
    /// All of it.
    pub bytes: &'a [u8],
    clear: usize,
}

impl<'a> Packet<'a> {
    /// Reads the clear part of one packet.
    ///
    /// # Errors
    /// [`SealedError`] names the field.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SealedError> {
        if bytes.len() > MAX_SEALED {
            return Err(SealedError::TooLarge(bytes.len()));
        }
        let (&first, rest) = bytes.split_first().ok_or(SealedError::Truncated("kind"))?;
        let kind = Kind::of(first).ok_or(SealedError::Kind(first))?;
        let (&config, rest) = rest.split_first().ok_or(SealedError::Truncated("config"))?;
        let (key_id, rest) = number(config >> 4, rest, "key id")?;
        let (counter, rest) = number(config & 0x0F, rest, "counter")?;
        // An empty plaintext is nothing that is sent.
        if rest.len() <= TAG_LEN {
            return Err(SealedError::Truncated("ciphertext"));
        }
        let clear = bytes.len() - rest.len();
        Ok(Self { kind, key_id: KeyId(key_id), counter, left_out: 0, bytes, clear })
    }

    /// The stream that it is of.
    pub const fn stream(&self) -> StreamId {
        self.key_id.stream()
    }

    /// Kind and SFrame header.
    pub fn clear(&self) -> &'a [u8] {
        &self.bytes[..self.clear]
    }

    /// The ciphertext with its tag.
    pub fn ciphertext(&self) -> &'a [u8] {
        &self.bytes[self.clear..]
    }
}

/// A number of an SFrame header: 0 to 7 in the four bits, or so many bytes less one behind a set bit.
fn number<'a>(nibble: u8, rest: &'a [u8], field: &'static str) -> Result<(u64, &'a [u8]), SealedError> {
    if nibble & 8 == 0 {
        return Ok((nibble.into(), rest));
    }
    let len = usize::from(nibble & 7) + 1;
    let (bytes, rest) = rest.split_at_checked(len).ok_or(SealedError::Truncated(field))?;
    let value = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    if bytes[0] == 0 || value < 8 {
        return Err(SealedError::Form(field));
    }
    Ok((value, rest))
}

/// Appends kind and SFrame header of a packet.
pub fn put_clear(kind: Kind, key_id: KeyId, counter: u64, out: &mut Vec<u8>) {
    let nibble = |value: u64| if value < 8 { value as u8 } else { 8 | (len_of(value) - 1) as u8 };
    out.extend([kind.byte(), nibble(key_id.0) << 4 | nibble(counter)]);
    for value in [key_id.0, counter].into_iter().filter(|value| *value >= 8) {
        out.extend_from_slice(&value.to_be_bytes()[8 - len_of(value)..]);
    }
}

const fn len_of(value: u64) -> usize {
    8 - value.leading_zeros() as usize / 8
}

/// The packets of a message: of a bundle, or itself.
///
/// ```
/// use facelink::wire::sealed::{SealedError, packets};
///
/// assert_eq!(packets(&[0xF1, 1]).next(), Some(Err(SealedError::Kind(0xF1))));
/// ```
pub fn packets(bytes: &[u8]) -> Packets<'_> {
    match bytes.split_first() {
        Some((&BUNDLE, items)) => Packets { bundle: true, rest: Some(items) },
        _ => Packets { bundle: false, rest: Some(bytes) },
    }
}

/// Iterator over the packets of a message; it ends with the first error.
#[derive(Clone, Debug)]
pub struct Packets<'a> {
    bundle: bool,
    rest: Option<&'a [u8]>,
}

impl<'a> Packets<'a> {
    fn item(&mut self, rest: &'a [u8]) -> Result<Packet<'a>, SealedError> {
        let (len, rest) = match *rest {
            [low @ 0..0x80, ref rest @ ..] => (usize::from(low), rest),
            [low, high @ 1..0x80, ref rest @ ..] => (usize::from(low & 0x7F) | usize::from(high) << 7, rest),
            [_, _, ..] => return Err(SealedError::Form("item.length")),
            _ => return Err(SealedError::Truncated("item.length")),
        };
        let (left_out, rest) = rest.split_first_chunk().ok_or(SealedError::Truncated("item.left_out"))?;
        let (bytes, rest) = rest.split_at_checked(len).ok_or(SealedError::Truncated("item"))?;
        let packet = Packet { left_out: u16::from_le_bytes(*left_out), ..Packet::parse(bytes)? };
        self.rest = Some(rest).filter(|rest| !rest.is_empty());
        Ok(packet)
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Packet<'a>, SealedError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.rest.take()?;
        Some(if self.bundle { self.item(rest) } else { Packet::parse(rest) })
    }
}

/// Bytes that a packet of this length takes in a bundle.
pub const fn item_len(packet: usize) -> usize {
    packet + 2 + if packet < 0x80 { 1 } else { 2 }
}

/// Appends a packet to a bundle; an empty `bundle` is begun. `left_out`: frames of its stream that this receiver has not been
/// given so far, modulo 65536. `false` when the packet is longer than [`MAX_SEALED`]: nothing was appended.
pub fn put_item(bundle: &mut Vec<u8>, packet: &[u8], left_out: u16) -> bool {
    if packet.len() > MAX_SEALED {
        return false;
    }
    if bundle.is_empty() {
        bundle.push(BUNDLE);
    }
    let [low, high] = [(packet.len() & 0x7F) as u8, (packet.len() >> 7) as u8];
    match high {
        0 => bundle.push(low),
        _ => bundle.extend([low | 0x80, high]),
    }
    bundle.extend_from_slice(&left_out.to_le_bytes());
    bundle.extend_from_slice(packet);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: Kind, stream: u64, counter: u64, len: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_clear(kind, KeyId::new(StreamId::from_random(stream), 0xA7), counter, &mut bytes);
        bytes.extend(std::iter::repeat_n(0x5C, len));
        bytes
    }

    #[test]
    fn sealed_clear_part_reads_back() {
        for counter in [0, 1, 7, 8, 255, 256, 65_535, 65_536, 1 << 24, u64::from(u32::MAX) + 1, u64::MAX] {
            for kind in [Kind::Face(Layer::Base), Kind::Face(Layer::Middle), Kind::Face(Layer::Top), Kind::Message] {
                let bytes = packet(kind, counter ^ 0x1234_5678, counter, 40);
                let read = Packet::parse(&bytes).expect("a packet");
                assert_eq!((read.kind, read.counter, read.key_id.hint()), (kind, counter, 0xA7));
                assert_eq!(read.stream(), StreamId::from_random(counter ^ 0x1234_5678));
                assert_eq!((read.ciphertext().len(), read.clear().len() + 40), (40, bytes.len()));
                assert!(read.clear().len() <= MAX_CLEAR && is_sealed(bytes[0]));
            }
        }
        assert_eq!(packet(Kind::Face(Layer::Base), 0, 65_536, 0).len(), 12, "kind, config, key id 7, counter 3");
    }

    /// The headers of RFC 9605, appendix C.1, that this format may write.
    #[test]
    fn sealed_header_is_that_of_rfc9605() {
        for (key_id, counter, bytes) in [
            (0, 0, &[0x00][..]),
            (0, 1, &[0x01]),
            (0, 0xff, &[0x08, 0xff]),
            (0, 0x0100, &[0x09, 0x01, 0x00]),
            (0, 0xffff_ffff_ffff_ffff, &[0x0f, 255, 255, 255, 255, 255, 255, 255, 255]),
            (1, 0xff, &[0x18, 0xff]),
            (0xff, 0, &[0x80, 0xff]),
            (0xff, 0x0100, &[0x89, 0xff, 0x01, 0x00]),
            (0x0100, 0xffff, &[0x99, 0x01, 0x00, 0xff, 0xff]),
            (0x01_0000, 1, &[0xa1, 0x01, 0x00, 0x00]),
            (0x00ff_ffff_ffff_ffff, 0, &[0xe0, 255, 255, 255, 255, 255, 255, 255]),
        ] {
            let mut out = Vec::new();
            put_clear(Kind::Message, KeyId(key_id), counter, &mut out);
            assert_eq!(&out[1..], bytes, "{key_id:#x} {counter:#x}");
            out.extend([0; TAG_LEN + 1]);
            let read = Packet::parse(&out).expect("a packet");
            assert_eq!((read.key_id.0, read.counter), (key_id, counter));
        }
    }

    #[test]
    fn sealed_packet_truncated_is_refused_with_its_field() {
        let bytes = packet(Kind::Face(Layer::Top), 5, 70_000, TAG_LEN + 1);
        let error = |len: usize| Packet::parse(&bytes[..len]).expect_err("truncated");
        assert_eq!(error(0), SealedError::Truncated("kind"));
        assert_eq!(error(1), SealedError::Truncated("config"));
        assert_eq!(error(8), SealedError::Truncated("key id"));
        assert_eq!(error(11), SealedError::Truncated("counter"));
        for len in 12..bytes.len() {
            assert_eq!(error(len), SealedError::Truncated("ciphertext"));
        }
        assert_eq!(Packet::parse(&[0xF4, 0x80, 7, 1]), Err(SealedError::Form("key id")));
        assert_eq!(Packet::parse(&[0xF4, 0x09, 0, 9]), Err(SealedError::Form("counter")));
        assert_eq!(Packet::parse(&[BUNDLE, 0]), Err(SealedError::Kind(BUNDLE)), "bundles are not nested");
        assert_eq!(Packet::parse(&vec![0xF4; MAX_SEALED + 1]), Err(SealedError::TooLarge(MAX_SEALED + 1)));
    }

    #[test]
    fn sealed_bundle_reads_back() {
        let packets_in = [
            packet(Kind::Face(Layer::Base), 1, 4, 80),
            packet(Kind::Message, 2, 1000, 300),
            packet(Kind::Face(Layer::Top), 3, 70_000, 5000),
        ];
        let mut bundle = Vec::new();
        for (packet, left_out) in packets_in.iter().zip([0, 3, 65_535]) {
            assert!(put_item(&mut bundle, packet, left_out));
        }
        assert_eq!(bundle.len(), 1 + packets_in.iter().map(|packet| item_len(packet.len())).sum::<usize>());
        let read: Vec<_> = packets(&bundle).map(|packet| packet.expect("a packet")).collect();
        assert_eq!(read.iter().map(|packet| packet.left_out).collect::<Vec<_>>(), [0, 3, 65_535]);
        assert!(read.iter().zip(&packets_in).all(|(read, packet)| read.bytes == packet));
        assert_eq!(packets(&packets_in[1]).count(), 1);
        assert!(!put_item(&mut bundle, &vec![0; MAX_SEALED + 1], 0));
        for len in 0..bundle.len() {
            assert!(packets(&bundle[..len]).count() <= 3);
            let whole = packets(&bundle[..len]).filter(Result::is_ok).count();
            assert!(whole < 3, "{len}");
        }
        assert_eq!(packets(&[BUNDLE, 0x80, 0]).next(), Some(Err(SealedError::Form("item.length"))));
    }

    #[test]
    fn layer_for_a_rate_keeps_to_it() {
        let layers = [10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 120.0].map(Layer::for_fps);
        assert_eq!(
            layers,
            [Layer::Base, Layer::Base, Layer::Base, Layer::Middle, Layer::Middle, Layer::Top, Layer::Top]
        );
    }
}
