//! OSC 1.0 packets ([specification](https://opensoundcontrol.stanford.edu/spec-1_0.html)), read by the crate `rosc`.
//!
//! What comes from a network is looked over before `rosc` sees it: it would follow bundles and arrays to any depth, and
//! make an argument of each of 60,000 type tags that have no bytes.

use rosc::{OscMessage, OscPacket, OscType};

/// Deepest nesting of bundles; the apps nest none.
const MOST_DEPTH: usize = 4;
/// Most messages in a datagram.
const MOST_MESSAGES: usize = 2048;
/// Most arguments of a message.
const MOST_ARGS: usize = 64;
/// Longest address or text, bytes.
const MOST_TEXT: usize = 512;
/// First bytes of a bundle.
const BUNDLE: &[u8] = b"#bundle\0";

/// Why a packet was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OscError {
    /// Bundles within bundles within bundles.
    #[error("bundles are nested more than {MOST_DEPTH} deep")]
    TooDeep,
    /// More messages than any app sends.
    #[error("more than {MOST_MESSAGES} messages in one datagram")]
    TooMany,
    /// A part ends too early, or says that it is longer than the datagram.
    #[error("{0}: the datagram ends before it")]
    Truncated(&'static str),
    /// A part is longer, or has more of something, than any app sends.
    #[error("{0}: longer than any app sends")]
    TooLong(&'static str),
    /// Something that none of the apps sends.
    #[error("type tags: arrays are not understood")]
    Array,
    /// What `rosc` says.
    #[error("{0}")]
    Malformed(String),
}

/// Reads a datagram and hands its messages on, in order. Gives their number.
///
/// # Errors
/// [`OscError`]; then none is handed on.
pub fn read(datagram: &[u8], mut each: impl FnMut(&OscMessage)) -> Result<usize, OscError> {
    let mut messages = 0;
    look_over(datagram, 0, &mut messages)?;
    let (_, packet) = rosc::decoder::decode_udp(datagram).map_err(|error| OscError::Malformed(error.to_string()))?;
    visit(&packet, &mut each);
    Ok(messages)
}

fn visit(packet: &OscPacket, each: &mut impl FnMut(&OscMessage)) {
    match packet {
        OscPacket::Message(message) => each(message),
        OscPacket::Bundle(bundle) => bundle.content.iter().for_each(|packet| visit(packet, each)),
    }
}

fn look_over(packet: &[u8], depth: usize, messages: &mut usize) -> Result<(), OscError> {
    if depth > MOST_DEPTH {
        return Err(OscError::TooDeep);
    }
    let Some(mut rest) = packet.strip_prefix(BUNDLE) else {
        *messages += 1;
        if *messages > MOST_MESSAGES {
            return Err(OscError::TooMany);
        }
        return look_over_message(packet);
    };
    rest = rest.get(8..).ok_or(OscError::Truncated("time tag"))?;
    while !rest.is_empty() {
        let (size, after) = rest.split_first_chunk::<4>().ok_or(OscError::Truncated("size of an element"))?;
        let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
        let (element, after) = after.split_at_checked(size).ok_or(OscError::Truncated("element of a bundle"))?;
        look_over(element, depth + 1, messages)?;
        rest = after;
    }
    Ok(())
}

fn look_over_message(message: &[u8]) -> Result<(), OscError> {
    let end = message.iter().position(|byte| *byte == 0).ok_or(OscError::Truncated("end of the address"))?;
    if end > MOST_TEXT {
        return Err(OscError::TooLong("address"));
    }
    // Texts fill up to a multiple of four bytes, with at least one 0.
    let Some(rest) = message.get((end / 4 + 1) * 4..) else { return Ok(()) };
    let Some(tags) = rest.strip_prefix(b",") else { return Ok(()) };
    let tags = tags.split(|byte| *byte == 0).next().unwrap_or_default();
    if tags.len() > MOST_ARGS {
        return Err(OscError::TooLong("type tags"));
    }
    if tags.contains(&b'[') || tags.contains(&b']') {
        return Err(OscError::Array);
    }
    Ok(())
}

/// An argument as a number; the apps mix integers and floats.
pub(crate) fn number(arg: Option<&OscType>) -> Option<f32> {
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
pub(crate) fn numbers<const N: usize>(args: &[OscType], first: usize) -> Option<[f32; N]> {
    let mut numbers = [0.0; N];
    for (place, slot) in numbers.iter_mut().enumerate() {
        *slot = number(args.get(first + place))?;
    }
    Some(numbers)
}

/// An argument as text.
pub(crate) fn text(arg: Option<&OscType>) -> Option<&str> {
    match arg? {
        OscType::String(text) if text.len() <= MOST_TEXT => Some(text),
        _ => None,
    }
}

/// A message to write.
pub(crate) fn message(address: &str, args: Vec<OscType>) -> OscPacket {
    OscPacket::Message(OscMessage { addr: address.to_owned(), args })
}

/// The bytes of a packet.
pub(crate) fn encode(packet: &OscPacket) -> Vec<u8> {
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

    #[test]
    fn messages_and_bundles() {
        let mut seen = Vec::new();
        let message = b"/W\0\0,if\0\0\0\0\x18\x3f\0\0\0";
        let count = read(message, |message| seen.push((message.addr.clone(), message.args.clone())));
        assert_eq!(count, Ok(1));
        assert_eq!(seen, [("/W".to_owned(), vec![OscType::Int(24), OscType::Float(0.5)])]);

        let packets = (0..100).map(|index| super::message("/W", vec![OscType::Int(index), OscType::Float(0.5)]));
        let (mut datagrams, mut order) = (Vec::new(), Vec::new());
        write_bundles(packets, 512, |datagram| datagrams.push(datagram.to_vec()));
        assert!(datagrams.len() > 3 && datagrams.iter().all(|datagram| datagram.len() <= 512));
        for datagram in datagrams {
            read(&datagram, |message| order.push(number(message.args.first()).unwrap() as i32)).unwrap();
        }
        assert_eq!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_would_hurt_is_refused_before_it_is_read() {
        let nest = |depth: usize| {
            (0..depth).fold(b"/W\0\0,\0\0\0".to_vec(), |inner, _| {
                let mut outer = b"#bundle\0\0\0\0\0\0\0\0\x01".to_vec();
                outer.extend_from_slice(&(inner.len() as u32).to_be_bytes());
                outer.extend_from_slice(&inner);
                outer
            })
        };
        assert_eq!(read(&nest(MOST_DEPTH), |_| {}), Ok(1));
        assert_eq!(read(&nest(3000), |_| {}), Err(OscError::TooDeep));

        let tags = |tags: &str| {
            let mut message = format!("/W\0\0,{tags}\0").into_bytes();
            message.resize(message.len().next_multiple_of(4), 0);
            message
        };
        assert_eq!(read(&tags(&"N".repeat(MOST_ARGS)), |_| {}), Ok(1));
        assert_eq!(read(&tags(&"N".repeat(60_000)), |_| {}), Err(OscError::TooLong("type tags")));
        assert_eq!(read(&tags("[[[["), |_| {}), Err(OscError::Array));
        assert_eq!(read(b"/no end", |_| {}), Err(OscError::Truncated("end of the address")));
        assert_eq!(
            read(b"#bundle\0\0\0\0\0\0\0\0\x01\xff\xff\xff\xff", |_| {}),
            Err(OscError::Truncated("element of a bundle"))
        );
        assert!(matches!(read(b"/W\0\0,if\0\0\0\0\x18", |_| {}), Err(OscError::Malformed(_))));
    }
}
