//! Format detection: every port for phones accepts every format, and reports which it was.

/// A format, detected by the first bytes of a datagram; the datagram may still fail to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Live Link Face, packet version 6.
    LiveLinkFace,
    /// `FMV3`.
    Fmv3,
    /// Text of iFacialMocap or Facemotion3d.
    Mocap,
    /// An OSC message or bundle.
    Osc,
    /// VTube Studio's JSON.
    VTubeStudio,
    /// Any other JSON object.
    Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 6] = [Self::LiveLinkFace, Self::Fmv3, Self::Mocap, Self::Osc, Self::VTubeStudio, Self::Json];
}

/// How much of a datagram is searched for the names of JSON fields.
const SEARCHED: usize = 512;

/// Text without what some senders put around it: a byte order mark, white space, zeros of a buffer's end.
pub fn trim_text(mut text: &[u8]) -> &[u8] {
    loop {
        let trimmed = text.trim_ascii();
        let trimmed = trimmed.strip_prefix(BYTE_ORDER_MARK).unwrap_or(trimmed);
        let end = trimmed.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let trimmed = trimmed.get(..end).unwrap_or_default();
        if trimmed.len() == text.len() {
            return text;
        }
        text = trimmed;
    }
}

/// What [`trim_text`] cuts off, as a character.
pub(super) fn is_padding(character: char) -> bool {
    matches!(character, '\u{feff}' | '\0') || character.is_ascii_whitespace()
}

/// UTF-8's.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The format of a datagram; `None` for an unknown one.
pub fn sniff(datagram: &[u8]) -> Option<Format> {
    if datagram.starts_with(b"FMV3") {
        return Some(Format::Fmv3);
    }
    if datagram.starts_with(b"#bundle\0") || datagram.starts_with(b"/") {
        return Some(Format::Osc);
    }
    if let [6, 0, 0, ..] = datagram {
        return Some(Format::LiveLinkFace);
    }
    let text = trim_text(datagram);
    let head = &text[..text.len().min(SEARCHED)];
    if head.first() == Some(&b'{') {
        let has = |name: &[u8]| head.windows(name.len()).any(|part| part == name);
        let vtube = has(b"\"FaceFound\"") || has(b"\"BlendShapes\"") || has(b"\"Hotkey\"");
        return Some(if vtube { Format::VTubeStudio } else { Format::Json });
    }
    // Names and numbers between bars: `eyeBlink_L&12|...`.
    let letter = head.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'=' || *byte == b'_');
    (letter && head.contains(&b'|')).then_some(Format::Mocap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sniff_text_is_trimmed() {
        for text in ["{}", "\u{feff}{}", " \u{feff}{}\r\n", "{}\0", "{}\0\n\0\0", "\u{feff}{}\0 "] {
            assert_eq!(trim_text(text.as_bytes()), b"{}", "{text:?}");
        }
        for empty in ["", "\0", "\u{feff}", " \u{feff}\0 \0"] {
            assert!(trim_text(empty.as_bytes()).is_empty(), "{empty:?}");
        }
        assert_eq!(trim_text(b"a\0b\xff"), b"a\0b\xff");
    }

    #[test]
    fn sniff_formats_are_distinguished() {
        for (datagram, format) in [
            (&b"\x06\x00\x00\x00\x24ABC"[..], Some(Format::LiveLinkFace)),
            (b"FMV3\x04", Some(Format::Fmv3)),
            (b"/W\0\0,if\0\0\0\0\x18\x3f\0\0\0", Some(Format::Osc)),
            (b"#bundle\0\0\0\0\0\0\0\0\x01", Some(Format::Osc)),
            (b"trackingStatus-1|mouthSmile_R-0|", Some(Format::Mocap)),
            (b"eyeBlink_L&12|=head#1,2,3,4,5,6|", Some(Format::Mocap)),
            (b"{\"Timestamp\":1,\"Hotkey\":-1,\"FaceFound\":true}", Some(Format::VTubeStudio)),
            (b"\xef\xbb\xbf{\"blendshapes\":{}}\0", Some(Format::Json)),
            (b"\xef\xbb\xbfeyeBlink_L&12|\0\0", Some(Format::Mocap)),
            (b" {\"blendshapes\":{\"jawOpen\":0.5}}", Some(Format::Json)),
            (b"hello", None),
            (b"", None),
        ] {
            assert_eq!(sniff(datagram), format, "{}", String::from_utf8_lossy(datagram));
        }
    }
}
