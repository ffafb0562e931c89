//! OSC 1.0 packets ([specification](https://opensoundcontrol.stanford.edu/spec-1_0.html)).
//!
//! The frame of a datagram, its bundles and their elements, is walked here to a bounded depth. `rosc` reads single messages:
//! it would follow bundles and arrays to any depth and aligns every part by the start of the datagram, whatever the sizes of
//! the elements before it. A message is a slice that begins with its address, so that `rosc` and the check here find its
//! type tags at the same place. Arrays never reach `rosc`.
//!
//! Each message is read on its own: one that cannot be read is counted and skipped. Where the frame of a datagram is
//! broken (a size beyond its end, bundles nested too deep, too many elements), what was read before that place counts,
//! the rest of the datagram is one more refusal.

use rosc::{OscMessage, OscPacket, OscType};

/// Deepest nesting of bundles; the apps nest none.
const MAX_DEPTH: usize = 4;
/// Most elements of all bundles in a datagram.
const MAX_ELEMENTS: usize = 2048;
/// Most arguments of a message.
const MAX_ARGS: usize = 64;
/// Longest address or text, bytes.
const MAX_TEXT: usize = 512;
/// First bytes of a bundle.
const BUNDLE: &[u8] = b"#bundle\0";

/// Why a message, or the rest of a datagram, was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OscError {
    /// Bundles within bundles within bundles.
    #[error("bundles are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More elements than any app sends.
    #[error("more than {MAX_ELEMENTS} elements in one datagram")]
    TooMany,
    /// A part ends too early, or gives a length beyond the datagram.
    #[error("{0}: the datagram ends before it")]
    Truncated(&'static str),
    /// A part is longer, or has more of something, than any app sends.
    #[error("{0}: longer than any app sends")]
    TooLong(&'static str),
    /// A message begins with `/`.
    #[error("address: it does not begin with '/'")]
    Address,
    /// Type tags begin with a comma.
    #[error("type tags: they do not begin with a comma")]
    TypeTags,
    /// Something that none of the apps sends.
    #[error("type tags: arrays are not understood")]
    Array,
    /// What `rosc` reports of a message.
    #[error("{0}")]
    Malformed(String),
}

/// What [`read`] found in a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Reading {
    /// Messages that were passed to the caller.
    pub messages: usize,
    /// Messages that could not be read, and one more where the frame of the datagram is broken.
    pub refused: usize,
    /// Why the first of those was refused.
    pub error: Option<OscError>,
}

impl Reading {
    fn refuse(&mut self, error: OscError) {
        self.refused += 1;
        self.error.get_or_insert(error);
    }
}

/// Reads a datagram and passes its messages to the caller, in order. One that cannot be read is counted and skipped.
pub fn read(datagram: &[u8], mut each: impl FnMut(&OscMessage)) -> Reading {
    let mut reading = Reading::default();
    let mut elements = 0;
    if let Err(broken) = walk(datagram, 0, &mut elements, &mut reading, &mut each) {
        reading.refuse(broken);
    }
    reading
}

/// Reads a message or the elements of a bundle; calls itself for at most [`MAX_DEPTH`] bundles in one another. Fails where
/// the frame is broken, so that nothing behind that place can be trusted.
fn walk(
    packet: &[u8],
    depth: usize,
    elements: &mut usize,
    reading: &mut Reading,
    each: &mut impl FnMut(&OscMessage),
) -> Result<(), OscError> {
    let Some(rest) = packet.strip_prefix(BUNDLE) else {
        match read_message(packet) {
            Ok(message) => {
                reading.messages += 1;
                each(&message);
            }
            Err(error) => reading.refuse(error),
        }
        return Ok(());
    };
    if depth >= MAX_DEPTH {
        return Err(OscError::TooDeep);
    }
    let mut rest = rest.get(8..).ok_or(OscError::Truncated("time tag"))?;
    // Some senders send their whole buffer, with zeros behind the last element.
    let zeros = packet.iter().rev().take_while(|byte| **byte == 0).count();
    while rest.len() > zeros {
        *elements += 1;
        if *elements > MAX_ELEMENTS {
            return Err(OscError::TooMany);
        }
        let (size, after) = rest.split_first_chunk::<4>().ok_or(OscError::Truncated("size of an element"))?;
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
        let (element, after) = after.split_at_checked(size).ok_or(OscError::Truncated("element of a bundle"))?;
        walk(element, depth + 1, elements, reading, each)?;
        rest = after;
    }
    Ok(())
}

/// Reads one message. Without type tags it has no arguments.
fn read_message(message: &[u8]) -> Result<OscMessage, OscError> {
    if message.first() != Some(&b'/') {
        return Err(OscError::Address);
    }
    let end = message.iter().position(|byte| *byte == 0).ok_or(OscError::Truncated("end of the address"))?;
    let address = &message[..end];
    if address.len() > MAX_TEXT {
        return Err(OscError::TooLong("address"));
    }
    // Texts fill up to a multiple of four bytes, with at least one 0.
    let tags = message.get((end / 4 + 1) * 4..).unwrap_or_default();
    let tags = tags.split(|byte| *byte == 0).next().unwrap_or_default();
    if tags.is_empty() {
        let address = String::from_utf8(address.to_vec()).map_err(|error| OscError::Malformed(error.to_string()))?;
        return Ok(OscMessage { addr: address, args: Vec::new() });
    }
    let tags = tags.strip_prefix(b",").ok_or(OscError::TypeTags)?;
    if tags.len() > MAX_ARGS {
        return Err(OscError::TooLong("type tags"));
    }
    if tags.iter().any(|tag| matches!(tag, b'[' | b']')) {
        return Err(OscError::Array);
    }
    match rosc::decoder::decode_udp(message) {
        Ok((_, OscPacket::Message(message))) => Ok(message),
        Ok((_, OscPacket::Bundle(_))) => Err(OscError::Address),
        Err(error) => Err(OscError::Malformed(error.to_string())),
    }
}

/// An argument as a number; the apps mix integers and floats.
pub fn number(arg: Option<&OscType>) -> Option<f32> {
    let number = match arg? {
        OscType::Float(number) => *number,
        OscType::Double(number) => *number as f32,
        OscType::Int(number) => *number as f32,
        OscType::Long(number) => *number as f32,
        OscType::Bool(on) => f32::from(u8::from(*on)),
        _ => return None,
    };
    number.is_finite().then_some(number)
}

/// The arguments from `first` on as so many numbers.
pub fn numbers<const N: usize>(args: &[OscType], first: usize) -> Option<[f32; N]> {
    let mut numbers = [0.0; N];
    for (place, slot) in numbers.iter_mut().enumerate() {
        *slot = number(args.get(first + place))?;
    }
    Some(numbers)
}

/// An argument as text.
pub fn text(arg: Option<&OscType>) -> Option<&str> {
    match arg? {
        OscType::String(text) if text.len() <= MAX_TEXT => Some(text),
        _ => None,
    }
}

/// A message to write.
pub fn message(address: &str, args: Vec<OscType>) -> OscPacket {
    OscPacket::Message(OscMessage { addr: address.to_owned(), args })
}

/// The bytes of a packet.
pub fn encode(packet: &OscPacket) -> Vec<u8> {
    // Fails only for what is too large for a 32-bit length.
    rosc::encoder::encode(packet).unwrap_or_default()
}

/// Appends packets as bundles of at most `most` bytes, each to a datagram that `next` gives. Goes at once: the time tag
/// is "immediately".
pub fn write_bundles(packets: impl IntoIterator<Item = OscPacket>, most: usize, mut next: impl FnMut(&[u8])) {
    const HEAD: [u8; 16] = *b"#bundle\0\0\0\0\0\0\0\0\x01";
    let mut datagram = HEAD.to_vec();
    for packet in packets {
        let bytes = encode(&packet);
        let Ok(size) = u32::try_from(bytes.len()) else { continue };
        if datagram.len() > HEAD.len() && datagram.len() + 4 + bytes.len() > most {
            next(&datagram);
            datagram.truncate(HEAD.len());
        }
        datagram.extend_from_slice(&size.to_be_bytes());
        datagram.extend_from_slice(&bytes);
    }
    if datagram.len() > HEAD.len() {
        next(&datagram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(datagram: &[u8]) -> (Vec<OscMessage>, Reading) {
        let mut messages = Vec::new();
        let reading = read(datagram, |message| messages.push(message.clone()));
        assert_eq!(messages.len(), reading.messages);
        assert_eq!(reading.refused > 0, reading.error.is_some());
        (messages, reading)
    }

    fn refused(datagram: &[u8]) -> Option<OscError> {
        let (messages, reading) = read_all(datagram);
        assert!(messages.is_empty(), "{messages:?}");
        assert_eq!(reading.refused, 1);
        reading.error
    }

    fn bundle<'a>(elements: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut bundle = b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec();
        for element in elements {
            bundle.extend_from_slice(&(element.len() as u32).to_be_bytes());
            bundle.extend_from_slice(element);
        }
        bundle
    }

    /// A message, filled up to a multiple of four bytes.
    fn filled(parts: &[&[u8]]) -> Vec<u8> {
        let mut message = Vec::new();
        for part in parts {
            message.extend_from_slice(part);
            message.resize((message.len() / 4 + 1) * 4, 0);
        }
        message
    }

    fn nested(depth: usize) -> Vec<u8> {
        (0..depth).fold(b"/W\0\0,\0\0\0".to_vec(), |inner, _| bundle([&inner[..]]))
    }

    /// Unbounded recursion ends the process here.
    fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(test).unwrap();
        thread.join().unwrap();
    }

    const WEIGHT: &[u8] = b"/W\0\0,if\0\0\0\0\x18\x3f\0\0\0";

    #[test]
    fn osc_messages_of_bundles_are_read_in_order() {
        let (seen, reading) = read_all(WEIGHT);
        assert_eq!(reading, Reading { messages: 1, ..Reading::default() });
        assert_eq!(seen[0], OscMessage { addr: "/W".to_owned(), args: vec![OscType::Int(24), OscType::Float(0.5)] });

        let packets = (0..100).map(|index| message("/W", vec![OscType::Int(index), OscType::Float(0.5)]));
        let (mut datagrams, mut order) = (Vec::new(), Vec::new());
        write_bundles(packets, 512, |datagram| datagrams.push(datagram.to_vec()));
        assert!(datagrams.len() > 3 && datagrams.iter().all(|datagram| datagram.len() <= 512));
        for datagram in datagrams {
            let (messages, reading) = read_all(&datagram);
            assert_eq!(reading.refused, 0);
            order.extend(messages.iter().map(|message| number(message.args.first()).unwrap() as i32));
        }
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn osc_message_limits_are_checked_before_rosc() {
        let tags = |tags: &str| filled(&[b"/W", format!(",{tags}").as_bytes()]);
        assert_eq!(read_all(&tags(&"N".repeat(MAX_ARGS))).0[0].args.len(), MAX_ARGS);
        assert_eq!(refused(&tags(&"N".repeat(MAX_ARGS + 1))), Some(OscError::TooLong("type tags")));
        assert_eq!(refused(&tags(&"N".repeat(60_000))), Some(OscError::TooLong("type tags")));
        assert_eq!(refused(&tags("[[[[")), Some(OscError::Array));
        assert_eq!(refused(&tags("N]")), Some(OscError::Array));
        assert_eq!(refused(b"/no end"), Some(OscError::Truncated("end of the address")));
        assert_eq!(refused(&filled(&[&[b'/'; MAX_TEXT + 1]])), Some(OscError::TooLong("address")));
        assert_eq!(refused(b""), Some(OscError::Address));
        assert_eq!(refused(&filled(&[b"W", b",if"])), Some(OscError::Address));
        assert_eq!(refused(b"/W\0\0if\0\0\0\0\0\x18\x3f\0\0\0"), Some(OscError::TypeTags));
        assert!(matches!(refused(b"/W\0\0,if\0\0\0\0\x18"), Some(OscError::Malformed(_))));
        assert!(matches!(refused(b"/W\0\0,b\0\0\xff\xff\xff\xff"), Some(OscError::Malformed(_))));
    }

    #[test]
    fn osc_bundle_with_unreadable_message_is_counted_and_rest_read() {
        let no_tags = filled(&[b"/VMC/Ext/Blend/Apply"]);
        let unknown = filled(&[b"/a", b",x"]);
        let latin_1 = filled(&[b"/VMC/Ext/Blend/Val", b",sf", b"Fr\xf6hlich", b"\x3f\0\0"]);
        let address = filled(&[b"/\xf6", b","]);
        let (messages, reading) = read_all(&bundle([&unknown, &no_tags, WEIGHT, &latin_1, b"", &address, WEIGHT]));
        let addresses: Vec<_> = messages.iter().map(|message| message.addr.as_str()).collect();
        assert_eq!(addresses, ["/VMC/Ext/Blend/Apply", "/W", "/W"]);
        assert!(messages[0].args.is_empty());
        assert_eq!(reading.refused, 4);
        assert!(reading.error.unwrap().to_string().contains("Type tag \"x\""));

        // A message without type tags as a datagram of its own, with the filling and without.
        assert_eq!(read_all(&no_tags).0[0].addr, "/VMC/Ext/Blend/Apply");
        assert_eq!(read_all(b"/VMC/Ext/Blend/Apply\0").0[0].addr, "/VMC/Ext/Blend/Apply");
    }

    #[test]
    fn osc_bundle_broken_frame_keeps_messages_before_it() {
        let mut broken = bundle([WEIGHT, WEIGHT]);
        broken.extend_from_slice(b"\xff\xff\xff\xff");
        broken.extend_from_slice(WEIGHT);
        let (messages, reading) = read_all(&broken);
        assert_eq!((messages.len(), reading.refused), (2, 1));
        assert_eq!(reading.error, Some(OscError::Truncated("element of a bundle")));
        broken.truncate(16 + 2 * 20 + 2);
        assert_eq!(read_all(&broken).1.error, Some(OscError::Truncated("size of an element")));
        assert_eq!(refused(b"#bundle\0\0\0\0"), Some(OscError::Truncated("time tag")));

        let mut buffer = bundle([WEIGHT]);
        buffer.resize(1024, 0);
        assert_eq!(read_all(&buffer).1, Reading { messages: 1, ..Reading::default() });

        let many = bundle(std::iter::repeat_n(WEIGHT, MAX_ELEMENTS + 5));
        let (messages, reading) = read_all(&many);
        assert_eq!((messages.len(), reading.refused, reading.error), (MAX_ELEMENTS, 1, Some(OscError::TooMany)));
    }

    #[test]
    fn osc_bundle_unaligned_size_does_not_hide_arrays() {
        on_a_small_stack(|| {
            for arrays in ["[".repeat(50_000), "[".repeat(20_000) + &"]".repeat(20_000)] {
                let tags = format!(",{arrays}");
                for pad in 0..=8_usize {
                    // As the parser's own alignment, that of the whole datagram, would find the tags behind an element whose
                    // size is no multiple of 4, and as that of the message does.
                    for lead in [&b"/"[..], b"/a\0", b"/ab\0,", b"/abcd\0\0\0,\0"] {
                        for zeros in 0..4 {
                            let mut first = lead.to_vec();
                            first.resize(lead.len() + pad, 0);
                            let mut second = b"/W".to_vec();
                            second.resize(3 + zeros, 0);
                            second.extend_from_slice(tags.as_bytes());
                            second.resize(second.len() + 8, 0);
                            let reading = read(&bundle([&first[..], &second]), |message| {
                                assert!(message.args.is_empty(), "{message:?}");
                            });
                            assert_eq!(reading.messages + reading.refused, 2, "{pad} {lead:?} {zeros}");
                        }
                    }
                }
                // Tags without a comma: rosc skips whatever is first.
                for first in ["x", "[", "\u{e9}"] {
                    let message = filled(&[b"/W", format!("{first}{arrays}").as_bytes()]);
                    assert_eq!(refused(&message), Some(OscError::TypeTags));
                    assert_eq!(read_all(&bundle([&message[..], WEIGHT])).0.len(), 1);
                }
            }
        });
    }

    #[test]
    fn osc_bundle_nesting_is_bounded() {
        on_a_small_stack(|| {
            assert_eq!(read_all(&nested(MAX_DEPTH)).1, Reading { messages: 1, ..Reading::default() });
            assert_eq!(refused(&nested(MAX_DEPTH + 1)), Some(OscError::TooDeep));
            assert_eq!(refused(&nested(3000)), Some(OscError::TooDeep));
            // Nested, behind an element of a size that is no multiple of 4.
            let deep = nested(3000);
            let (messages, reading) = read_all(&bundle([WEIGHT, b"/", &deep]));
            assert_eq!((messages.len(), reading.refused), (1, 2));
        });
    }
}
