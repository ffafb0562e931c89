//! Names of targets, free of what differs from one exporter to the next.

use std::ops::Range;

use crate::names::Blendshape;

/// A side's suffix is taken for one only behind these and other stems that are not a direction: `jaw_L` may be either.
const DIRECTIONS: [&str; 2] = ["jaw", "mouth"];

/// The keys by which a name is compared, the best first: without separators and case and with the side spelled out; and
/// the same without the mesh or deformer before its last dot.
pub(super) fn keys(name: &str) -> Vec<String> {
    let mut keys = vec![plain(without_namespace(name))];
    let own = plain(without_owner(name));
    if !own.is_empty() && own != keys[0] {
        keys.push(own);
    }
    keys
}

/// `blendShape1.eyeBlink_L` without `blendShape1.`; `eyeBlink.L` and `Face.001` as they are.
fn without_owner(name: &str) -> &str {
    let rest = without_namespace(name);
    match rest.rsplit_once('.') {
        Some((_, last))
            if last.len() > 2 && !last.bytes().all(|byte| byte.is_ascii_digit()) && side(last).is_none() =>
        {
            last
        }
        _ => rest,
    }
}

fn without_namespace(name: &str) -> &str {
    name.rsplit([':', '|']).next().unwrap_or(name)
}

/// The side that a word is, if it is nothing else.
fn side(word: &str) -> Option<&'static str> {
    let is = |other: &str| word.eq_ignore_ascii_case(other);
    match () {
        () if is("l") || is("left") || is("lft") => Some("left"),
        () if is("r") || is("right") || is("rgt") => Some("right"),
        () => None,
    }
}

/// Whether a byte parts words; those of letters beyond ASCII do not.
const fn is_separator(byte: u8) -> bool {
    byte.is_ascii() && !byte.is_ascii_alphanumeric()
}

fn letters(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

pub(super) fn plain(name: &str) -> String {
    // `eyeBlink (L)` ends in its side too.
    let end = name.trim_end_matches(|c: char| !c.is_alphanumeric());
    let last = end.rfind(|c: char| !c.is_alphanumeric()).and_then(|at| end.get(at + 1..));
    let of_word = last.and_then(|word| Some((side(word)?, word.len())));
    let of_hump = match end.as_bytes() {
        [.., b'a'..=b'z', b'L'] => Some(("left", 1)),
        [.., b'a'..=b'z', b'R'] => Some(("right", 1)),
        _ => None,
    };
    let key = match of_word.or(of_hump) {
        Some((side, len)) => {
            let stem = letters(&end[..end.len() - len]);
            if len == 1 && DIRECTIONS.contains(&stem.as_str()) { letters(end) } else { stem + side }
        }
        None => letters(end),
    };
    // A name of signs alone, such as `∧`.
    if key.is_empty() { name.trim().to_owned() } else { key }
}

/// What stands before and behind a name, with `#` for digits: `AK_#_` of `AK_09_EyeBlinkLeft`, `_h` of `jawOpen_h`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Affix {
    pub prefix: String,
    pub suffix: String,
    /// The side stands before or within the name: `L_eyeBlink`.
    pub side_moved: bool,
}

/// Words of the parts of a head: targets of the same name with several of these are the same shape of several parts.
const PARTS: [&str; 24] = [
    "head",
    "face",
    "teeth",
    "tooth",
    "tongue",
    "eye",
    "eyes",
    "eyeball",
    "eyelash",
    "eyelashes",
    "lashes",
    "lash",
    "brow",
    "brows",
    "eyebrow",
    "eyebrows",
    "body",
    "beard",
    "gums",
    "gum",
    "hair",
    "mesh",
    "cartilage",
    "saliva",
];

impl Affix {
    /// It without the word for a part of the head: affixes that are the same then name the same shape of several parts.
    /// `None` where there is no such word.
    pub fn without_part(&self) -> Option<String> {
        let mut words = self.prefix.split(|c: char| !c.is_alphanumeric());
        let part = words.find(|word| PARTS.contains(word))?;
        Some(format!("{}*{}", self.prefix.replacen(part, "", 1), self.suffix))
    }
}

/// Prefixes and suffixes that are tried, from the outside.
const MAX_PREFIXES: usize = 10;
const MAX_SUFFIXES: usize = 3;

/// Everything that a name may be without a part of it at the start and at the end: that part, where in the name the rest
/// is, and the rest's key. A side is never taken off; one that stands before or within the rest is moved to its end, and
/// the rest is then no part of the name.
pub(super) fn stripped(name: &str) -> Vec<(Affix, Option<Range<usize>>, String)> {
    let starts = starts(name);
    let mut found = Vec::new();
    for end in ends(name) {
        let suffix = numbered(&name[end..]);
        for &start in starts.iter().filter(|start| **start < end) {
            let rest = &name[start..end];
            let affix = |side_moved| Affix { prefix: numbered(&name[..start]), suffix: suffix.clone(), side_moved };
            if let Some(moved) = side_at_end(rest) {
                found.push((affix(true), None, plain(&moved)));
            }
            let key = plain(rest);
            if rest.len() < name.len() && !key.is_empty() && side(&key).is_none() {
                found.push((affix(false), Some(start..end), key));
            }
        }
    }
    found
}

/// Where a name may begin: at its start, behind each separator, and at a hump behind two letters or more.
fn starts(name: &str) -> Vec<usize> {
    let bytes = name.as_bytes();
    let mut starts = vec![0];
    let mut word = 0;
    for at in 1..bytes.len() {
        let hump = bytes[at - 1].is_ascii_lowercase() && bytes[at].is_ascii_uppercase() && at - word >= 2;
        let behind = is_separator(bytes[at - 1]) && !is_separator(bytes[at]);
        if !hump && !behind {
            continue;
        }
        // A side belongs to what follows.
        let before = name
            .get(word..at)
            .map_or("", |word| word.trim_end_matches(|c: char| c.is_ascii() && is_separator(c as u8)));
        if side(before).is_some() || starts.len() > MAX_PREFIXES {
            break;
        }
        word = at;
        starts.push(at);
    }
    starts
}

/// Where it may end: at its end, before each separator, and before capitals behind small letters (`jawOpenBS`).
fn ends(name: &str) -> Vec<usize> {
    let bytes = name.as_bytes();
    let mut ends = vec![name.len()];
    let capitals = bytes.iter().rev().take_while(|byte| byte.is_ascii_uppercase()).count();
    if capitals > 1 && bytes.get(bytes.len().wrapping_sub(capitals + 1)).is_some_and(u8::is_ascii_lowercase) {
        ends.push(bytes.len() - capitals);
    }
    let mut last = name.len();
    for at in (1..bytes.len()).rev().filter(|at| is_separator(bytes[*at])) {
        let word = name.get(at + 1..last).unwrap_or("");
        if side(word).is_some() || ends.len() > MAX_SUFFIXES {
            break;
        }
        last = at;
        ends.push(at);
    }
    ends
}

/// Digits as `#`, so that numbered prefixes are one.
fn numbered(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            _ => plain.extend(letter.to_lowercase()),
        }
    }
    plain
}

/// `L_eyeBlink`, `leftEyeBlink` and `eye_L_blink` as `eyeBlink_L` and `eye_blink_L`; `None` where the side is at the end,
/// or not one.
fn side_at_end(name: &str) -> Option<String> {
    let words = words(name);
    let (last, before) = words.split_last()?;
    let mut sides = before.iter().filter_map(|word| side(word));
    let (one, more) = (sides.next()?, sides.next());
    if more.is_some() || side(last).is_some() {
        return None;
    }
    let rest: Vec<&str> = words.iter().copied().filter(|word| side(word).is_none()).collect();
    Some(format!("{}_{}", rest.join("_"), &one[..1].to_ascii_uppercase()))
}

/// The words of a name, parted by separators and by humps; `LEye` is `L` and `Eye`.
fn words(name: &str) -> Vec<&str> {
    let bytes = name.as_bytes();
    let mut words = Vec::new();
    let mut start = 0;
    for at in 1..=bytes.len() {
        let hump = at < bytes.len()
            && bytes[at].is_ascii_uppercase()
            && (bytes[at - 1].is_ascii_lowercase()
                || bytes[at - 1].is_ascii_uppercase() && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase));
        if at == bytes.len() || hump || is_separator(bytes[at]) || is_separator(bytes[at - 1]) {
            let word = name.get(start..at).unwrap_or("");
            if word.chars().any(char::is_alphanumeric) {
                words.push(word);
            }
            start = at;
        }
    }
    words
}

/// A pattern of names in which `*` stands for anything; case and separators count for nothing.
pub(super) enum Pattern {
    Exact(Vec<String>),
    /// What stands between the `*`.
    Parts(Vec<String>),
}

/// A name as patterns are compared with it.
pub(super) struct Spelled {
    keys: Vec<String>,
    letters: [String; 2],
    own: String,
}

impl Spelled {
    pub fn new(name: &str) -> Self {
        let (whole, own) = (without_namespace(name), without_owner(name));
        Self { keys: keys(name), letters: [letters(whole), letters(own)], own: own.to_owned() }
    }

    /// How far it is from how a mapping spells it: 0 the same, 1 but for case, 2 otherwise.
    pub fn distance(&self, wanted: &str) -> usize {
        match () {
            () if self.own == wanted => 0,
            () if self.own.eq_ignore_ascii_case(wanted) => 1,
            () => 2,
        }
    }
}

impl Pattern {
    pub fn new(pattern: &str) -> Self {
        if pattern.contains('*') {
            Self::Parts(pattern.split('*').map(letters).collect())
        } else {
            Self::Exact(keys(pattern))
        }
    }

    pub fn fits(&self, name: &Spelled) -> bool {
        match self {
            Self::Exact(keys) => keys.iter().any(|key| name.keys.contains(key)),
            Self::Parts(parts) => name.letters.iter().any(|name| fits_parts(parts, name)),
        }
    }
}

fn fits_parts(parts: &[String], name: &str) -> bool {
    let mut rest = name;
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
                    "eyeBlink(L)",
                    "eyeBlink_Lft",
                    "blendShape1.eyeBlink_L",
                    "head_geo.eyeBlinkLeft",
                    "ns:blendShape1.EyeBlinkLeft",
                ][..],
            ),
            ("jawl", &["jaw_L", "Jaw_L"]),
            ("jawleft", &["jawLeft", "Jaw_Left"]),
            ("mouthclose", &["mouthClose", "Mouth_Close"]),
            ("visemenn", &["viseme_nn"]),
            ("vrcvaa", &["vrc.v_aa", "vrc_v_aa"]),
            ("fclmthsmall", &["Fcl_MTH_Small"]),
            ("mouth001", &["Mouth.001"]),
        ] {
            for spelling in spellings {
                assert!(keys(spelling).iter().any(|key| key == wanted), "{spelling}: {:?}", keys(spelling));
            }
        }
    }

    #[test]
    fn key_without_an_affix_keeps_its_side() {
        let affix = |prefix: &str, suffix: &str, side_moved| Affix {
            prefix: prefix.to_owned(),
            suffix: suffix.to_owned(),
            side_moved,
        };
        for (name, affix, key) in [
            ("AK_09_EyeBlinkLeft", affix("ak_#_", "", false), "eyeblinkleft"),
            ("A14_Eye_Blink_Left", affix("a#_", "", false), "eyeblinkleft"),
            ("Face_BS_jawOpen", affix("face_bs_", "", false), "jawopen"),
            ("Face.M_F00_000_00_Fcl_MTH_A", affix("face.m_f#_#_#_", "", false), "fclmtha"),
            ("jawOpen_h", affix("", "_h", false), "jawopen"),
            ("eyeBlink_L.001", affix("", ".#", false), "eyeblinkleft"),
            ("x_eyeBlink_L_geo", affix("x_", "_geo", false), "eyeblinkleft"),
            ("L_eyeBlink", affix("", "", true), "eyeblinkleft"),
            ("head_Left_mouthSmile", affix("head_", "", true), "mouthsmileleft"),
            ("bsJawOpen", affix("bs", "", false), "jawopen"),
            ("jawOpenBS", affix("", "bs", false), "jawopen"),
            ("Face/eyeBlink_L", affix("face/", "", false), "eyeblinkleft"),
            ("LeftEyeBlink", affix("", "", true), "eyeblinkleft"),
            ("lEyeBlink", affix("", "", true), "eyeblinkleft"),
        ] {
            let found = stripped(name);
            let fits = |(other, _, rest): &(Affix, Option<Range<usize>>, String)| *other == affix && rest == key;
            assert!(found.iter().any(fits), "{name}: {found:?}");
        }
        for (name, never) in [("eyeBlink_L", "eyeblink"), ("L_eyeBlink", "eyeblink"), ("mouthSmileLeft", "left")] {
            assert!(stripped(name).iter().all(|(_, _, key)| key != never), "{name}");
        }
        assert!(
            ["", "_", "é_", "__L__", "頭_L", "."].iter().all(|odd| stripped(odd).iter().all(|it| !it.2.is_empty()))
        );
        let (head, teeth) = (affix("head_lod#_mesh__", "", false), affix("teeth_lod#_mesh__", "", false));
        assert_eq!(head.without_part(), teeth.without_part());
        assert_eq!(affix("ak_#_", "", false).without_part(), None);
    }

    #[test]
    fn key_patterns_match() {
        for (pattern, name, fit) in [
            ("viseme_*", "viseme_aa", true),
            ("viseme_*", "jawOpen", false),
            ("*_L", "Eye_L", true),
            ("Fcl_*_Joy", "Fcl_ALL_Joy", true),
            ("Fcl_*_Joy", "Fcl_ALL_Joyful", false),
            ("vrc.*", "vrc.v_aa", true),
            ("v_*", "vrc.v_aa", true),
            ("Joy", "joy", true),
            ("Joy", "Joyful", false),
            ("*", "anything", true),
        ] {
            assert_eq!(Pattern::new(pattern).fits(&Spelled::new(name)), fit, "{pattern} {name}");
        }
    }
}
