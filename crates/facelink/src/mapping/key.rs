//! Names of targets, free of what differs from one exporter to the next.

use crate::names::Blendshape;

/// A side's suffix is taken for one only behind these and other stems that are not a direction: `jaw_L` may be either.
const DIRECTIONS: [&str; 2] = ["jaw", "mouth"];

/// The key by which names are compared: without the mesh or deformer before the last dot, without separators and case,
/// and with the side spelled out.
pub(super) fn key(name: &str) -> String {
    plain(without_owner(name))
}

/// Every key that a target of a rig answers to, the best first. `shared` is what all targets of its mesh begin with.
pub(super) fn keys(name: &str, shared: &str) -> Vec<String> {
    let mut keys = vec![key(name)];
    let mut also = |name: &str| {
        let key = plain(name);
        if !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
    };
    if let Some(rest) = name.strip_prefix(shared) {
        also(without_owner(rest));
    }
    let own = without_owner(name);
    if let Some(rest) = without_number(own) {
        also(rest);
    }
    keys
}

/// What all of these names begin with, up to a separator.
pub(super) fn shared_prefix<S: AsRef<str>>(names: &[S]) -> &str {
    let [first, rest @ ..] = names else { return "" };
    // Two names may share a word by chance.
    if rest.len() < 3 {
        return "";
    }
    let first = first.as_ref();
    let common = rest.iter().fold(first.len(), |common, name| {
        let same = first.bytes().zip(name.as_ref().bytes()).take_while(|(a, b)| a == b).count();
        common.min(same)
    });
    let end = first.as_bytes()[..common].iter().rposition(|byte| matches!(byte, b'_' | b'-' | b' ' | b'.' | b':'));
    end.and_then(|end| first.get(..=end)).unwrap_or("")
}

/// `blendShape1.eyeBlink_L` without `blendShape1.`; `eyeBlink.L` and `Face.001` as they are.
fn without_owner(name: &str) -> &str {
    let mut rest = name;
    while let Some((_, last)) = rest.split_once([':', '|']) {
        rest = last;
    }
    match rest.rsplit_once('.') {
        Some((_, last)) if last.len() > 2 && !last.bytes().all(|byte| byte.is_ascii_digit()) && !is_side(last) => last,
        _ => rest,
    }
}

fn is_side(name: &str) -> bool {
    ["left", "right"].iter().any(|side| name.eq_ignore_ascii_case(side))
}

/// `AK_09_EyeBlinkLeft`, `A14_Eye_Blink_Left`, `12_jawOpen` without the prefix.
fn without_number(name: &str) -> Option<&str> {
    let letters = name.bytes().take_while(u8::is_ascii_alphabetic).count();
    let rest = name.get(letters..)?.trim_start_matches('_');
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (numbered, after) = (letters <= 3 && (1..=3).contains(&digits), rest.get(digits..)?);
    let after = after.strip_prefix(['_', '-', ' '])?;
    // A side alone is no name.
    (numbered && after.len() > 2).then_some(after)
}

fn plain(name: &str) -> String {
    let bytes = name.as_bytes();
    let side = match bytes {
        [.., before, last @ (b'L' | b'R' | b'l' | b'r')] => {
            let apart = matches!(before, b'_' | b'-' | b' ' | b'.');
            let hump = before.is_ascii_lowercase() && last.is_ascii_uppercase();
            (apart || hump).then_some(if last.eq_ignore_ascii_case(&b'l') { "left" } else { "right" })
        }
        _ => None,
    };
    let letters =
        |name: &str| -> String { name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    match side {
        Some(side) => {
            let stem = letters(&name[..name.len() - 1]);
            if DIRECTIONS.contains(&stem.as_str()) { letters(name) } else { stem + side }
        }
        None => letters(name),
    }
}

/// Whether a name fits a pattern in which `*` stands for anything; case and separators count for nothing.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return key(pattern) == key(name);
    }
    let letters =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let name = letters(without_owner(name));
    let mut rest = name.as_str();
    let parts: Vec<String> = pattern.split('*').map(letters).collect();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        let found = match (index, last) {
            (0, _) => rest.strip_prefix(part.as_str()),
            (_, true) => rest.strip_suffix(part.as_str()).map(|_| ""),
            _ => rest.find(part.as_str()).and_then(|at| rest.get(at + part.len()..)),
        };
        match found {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}

/// The ARKit shape that a channel's name denotes.
pub(super) fn shape_of_channel(name: &str) -> Option<Blendshape> {
    Blendshape::from_any_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_equal_for_spellings_of_one_name() {
        for (wanted, spellings) in [
            (
                "eyeblinkleft",
                &[
                    "eyeBlinkLeft",
                    "EyeBlinkLeft",
                    "eyeBlink_L",
                    "Eye_Blink_L",
                    "eye blink left",
                    "eyeBlinkL",
                    "eyeBlink.L",
                ][..],
            ),
            ("eyeblinkleft", &["blendShape1.eyeBlink_L", "head_geo.eyeBlinkLeft", "ns:blendShape1.EyeBlinkLeft"]),
            ("jawl", &["jaw_L", "Jaw_L"]),
            ("jawleft", &["jawLeft", "Jaw_Left"]),
            ("mouthclose", &["mouthClose", "Mouth_Close"]),
            ("visemenn", &["viseme_nn"]),
            ("fclmthsmall", &["Fcl_MTH_Small"]),
            ("mouth001", &["Mouth.001"]),
        ] {
            for spelling in spellings {
                assert_eq!(key(spelling), wanted, "{spelling}");
            }
        }
    }

    #[test]
    fn key_prefix_is_stripped() {
        assert!(keys("AK_09_EyeBlinkLeft", "").contains(&"eyeblinkleft".to_owned()));
        assert!(keys("A14_Eye_Blink_Left", "").contains(&"eyeblinkleft".to_owned()));
        assert_eq!(keys("AU12_L", ""), ["au12left"]);
        let names = ["Face_BS_jawOpen", "Face_BS_jawLeft", "Face_BS_eyeBlinkLeft", "Face_BS_tongueOut"];
        assert_eq!(shared_prefix(&names), "Face_BS_");
        assert!(keys(names[2], "Face_BS_").contains(&"eyeblinkleft".to_owned()));
        assert_eq!(shared_prefix(&["jawOpen", "jawLeft", "jawRight", "jawForward"]), "");
        assert_eq!(shared_prefix(&["a_b", "a_c"]), "");
    }

    #[test]
    fn key_patterns_match() {
        for (pattern, name, fit) in [
            ("viseme_*", "viseme_aa", true),
            ("viseme_*", "jawOpen", false),
            ("*_L", "Eye_L", true),
            ("Fcl_*_Joy", "Fcl_ALL_Joy", true),
            ("Fcl_*_Joy", "Fcl_ALL_Joyful", false),
            ("Joy", "joy", true),
            ("Joy", "Joyful", false),
            ("*", "anything", true),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
