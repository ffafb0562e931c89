//! Visemes: the mouth shapes of speech, by the names of three families, and their ARKit shapes.

use crate::names::Blendshape;

/// One of the 15 visemes of the Oculus lip-sync set
/// ([reference](https://developers.meta.com/horizon/documentation/unity/audio-ovrlipsync-viseme-reference/)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Viseme {
    /// Silence.
    Sil,
    /// p, b, m.
    Pp,
    /// f, v.
    Ff,
    /// th.
    Th,
    /// t, d.
    Dd,
    /// k, g.
    Kk,
    /// ch, j, sh.
    Ch,
    /// s, z.
    Ss,
    /// n, l.
    Nn,
    /// r.
    Rr,
    /// A: c**a**r.
    Aa,
    /// E: b**e**d.
    E,
    /// I: t**i**p.
    Ih,
    /// O: t**o**e.
    Oh,
    /// U: b**oo**k.
    Ou,
}

impl Viseme {
    /// Every viseme, in the order of the Oculus set.
    pub const ALL: [Self; 15] = [
        Self::Sil,
        Self::Pp,
        Self::Ff,
        Self::Th,
        Self::Dd,
        Self::Kk,
        Self::Ch,
        Self::Ss,
        Self::Nn,
        Self::Rr,
        Self::Aa,
        Self::E,
        Self::Ih,
        Self::Oh,
        Self::Ou,
    ];

    /// The Oculus name, such as `PP` or `aa`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sil => "sil",
            Self::Pp => "PP",
            Self::Ff => "FF",
            Self::Th => "TH",
            Self::Dd => "DD",
            Self::Kk => "kk",
            Self::Ch => "CH",
            Self::Ss => "SS",
            Self::Nn => "nn",
            Self::Rr => "RR",
            Self::Aa => "aa",
            Self::E => "E",
            Self::Ih => "ih",
            Self::Oh => "oh",
            Self::Ou => "ou",
        }
    }

    /// The viseme under an Oculus name (`PP`), a Rhubarb letter (`A`..`H`, `X`) or an ARPAbet phoneme (`AA`, `HH`,
    /// `SIL`, with or without a stress digit).
    ///
    /// The families overlap in spelling. An exact Oculus name wins (`E` is the vowel, `aa` is the vowel), then a single
    /// capital letter is Rhubarb's, then ARPAbet in any case. Rhubarb's own `E` therefore reads as the Oculus `E`.
    pub fn from_name(name: &str) -> Option<Self> {
        if let Some(exact) = Self::ALL.into_iter().find(|viseme| viseme.name() == name) {
            return Some(exact);
        }
        if let Some(rhubarb) = Self::from_rhubarb(name) {
            return Some(rhubarb);
        }
        Self::from_phoneme(name)
    }

    /// The viseme of a mouth that is known to be one of Rhubarb's, `A`..`H` and `X`; its `E` is the rounded one.
    pub fn from_rhubarb_letter(letter: &str) -> Option<Self> {
        if letter == "E" { Some(Self::Oh) } else { Self::from_rhubarb(letter) }
    }

    /// The viseme of an ARPAbet phoneme, in any case, with or without a stress digit.
    pub fn from_phoneme(phoneme: &str) -> Option<Self> {
        let mut upper = [0_u8; 3];
        let mut len = 0;
        for byte in phoneme.trim_end_matches(|digit: char| digit.is_ascii_digit()).bytes() {
            *upper.get_mut(len)? = byte.to_ascii_uppercase();
            len += 1;
        }
        Self::from_arpabet(&upper[..len])
    }

    /// Rhubarb's mouth shapes ([Rhubarb Lip Sync](https://github.com/DanielSWolf/rhubarb-lip-sync#mouth-shapes)).
    fn from_rhubarb(letter: &str) -> Option<Self> {
        Some(match letter {
            "A" => Self::Pp,
            "B" => Self::Kk,
            "C" => Self::E,
            "D" => Self::Aa,
            "F" => Self::Ou,
            "G" => Self::Ff,
            "H" => Self::Nn,
            "X" => Self::Sil,
            _ => return None,
        })
    }

    fn from_arpabet(phoneme: &[u8]) -> Option<Self> {
        Some(match phoneme {
            b"SIL" | b"SP" | b"SPN" => Self::Sil,
            b"P" | b"B" | b"M" | b"PP" => Self::Pp,
            b"F" | b"V" | b"FF" => Self::Ff,
            b"TH" | b"DH" => Self::Th,
            b"T" | b"D" | b"DD" => Self::Dd,
            b"K" | b"G" | b"HH" | b"NG" | b"KK" => Self::Kk,
            b"CH" | b"JH" | b"SH" | b"ZH" => Self::Ch,
            b"S" | b"Z" | b"SS" => Self::Ss,
            b"N" | b"L" | b"NN" => Self::Nn,
            b"R" | b"ER" | b"RR" => Self::Rr,
            b"AA" | b"AE" | b"AH" | b"AY" | b"AW" => Self::Aa,
            b"EH" | b"EY" => Self::E,
            b"IH" | b"IY" | b"Y" => Self::Ih,
            b"AO" | b"OW" | b"OY" | b"OH" => Self::Oh,
            b"UH" | b"UW" | b"W" | b"OU" => Self::Ou,
            _ => return None,
        })
    }

    /// The channel that carries this viseme's weight, by the morph-target name of the Oculus set: `viseme_aa`.
    pub const fn channel(self) -> &'static str {
        match self {
            Self::Sil => "viseme_sil",
            Self::Pp => "viseme_PP",
            Self::Ff => "viseme_FF",
            Self::Th => "viseme_TH",
            Self::Dd => "viseme_DD",
            Self::Kk => "viseme_kk",
            Self::Ch => "viseme_CH",
            Self::Ss => "viseme_SS",
            Self::Nn => "viseme_nn",
            Self::Rr => "viseme_RR",
            Self::Aa => "viseme_aa",
            Self::E => "viseme_E",
            Self::Ih => "viseme_I",
            Self::Oh => "viseme_O",
            Self::Ou => "viseme_U",
        }
    }

    /// The shapes that visemes move, as bits by [`Blendshape::index`].
    pub(crate) const fn moved_shapes() -> u64 {
        let (mut bits, mut viseme) = (0, 0);
        while viseme < Self::ALL.len() {
            let shapes = Self::ALL[viseme].shapes();
            let mut at = 0;
            while at < shapes.len() {
                bits |= 1 << shapes[at].0.index();
                at += 1;
            }
            viseme += 1;
        }
        bits
    }

    /// The ARKit shapes that make this mouth at weight 1.
    ///
    /// The share of each shape is our own choice for a natural mouth at conversational loudness.
    pub const fn shapes(self) -> &'static [(Blendshape, f32)] {
        use Blendshape::*;
        match self {
            Self::Sil => &[],
            Self::Pp => &[
                (MouthClose, 0.05),
                (MouthPressLeft, 0.45),
                (MouthPressRight, 0.45),
                (MouthRollLower, 0.35),
                (MouthRollUpper, 0.3),
            ],
            Self::Ff => &[
                (JawOpen, 0.06),
                (MouthRollLower, 0.55),
                (MouthUpperUpLeft, 0.25),
                (MouthUpperUpRight, 0.25),
                (MouthShrugLower, 0.2),
            ],
            Self::Th => &[(JawOpen, 0.18), (TongueOut, 0.35), (MouthLowerDownLeft, 0.2), (MouthLowerDownRight, 0.2)],
            Self::Dd => &[
                (JawOpen, 0.14),
                (MouthLowerDownLeft, 0.25),
                (MouthLowerDownRight, 0.25),
                (MouthUpperUpLeft, 0.12),
                (MouthUpperUpRight, 0.12),
            ],
            Self::Kk => &[
                (JawOpen, 0.2),
                (MouthStretchLeft, 0.15),
                (MouthStretchRight, 0.15),
                (MouthLowerDownLeft, 0.15),
                (MouthLowerDownRight, 0.15),
            ],
            Self::Ch => &[(JawOpen, 0.12), (MouthFunnel, 0.5), (MouthPucker, 0.25), (MouthShrugUpper, 0.15)],
            Self::Ss => &[
                (JawOpen, 0.06),
                (MouthStretchLeft, 0.35),
                (MouthStretchRight, 0.35),
                (MouthLowerDownLeft, 0.2),
                (MouthLowerDownRight, 0.2),
                (MouthDimpleLeft, 0.2),
                (MouthDimpleRight, 0.2),
            ],
            Self::Nn => &[(JawOpen, 0.14), (MouthLowerDownLeft, 0.2), (MouthLowerDownRight, 0.2), (TongueOut, 0.08)],
            Self::Rr => &[(JawOpen, 0.14), (MouthFunnel, 0.3), (MouthPucker, 0.3)],
            Self::Aa => &[
                (JawOpen, 0.6),
                (MouthLowerDownLeft, 0.2),
                (MouthLowerDownRight, 0.2),
                (MouthUpperUpLeft, 0.1),
                (MouthUpperUpRight, 0.1),
            ],
            Self::E => &[
                (JawOpen, 0.3),
                (MouthStretchLeft, 0.3),
                (MouthStretchRight, 0.3),
                (MouthSmileLeft, 0.15),
                (MouthSmileRight, 0.15),
                (MouthLowerDownLeft, 0.2),
                (MouthLowerDownRight, 0.2),
            ],
            Self::Ih => &[
                (JawOpen, 0.18),
                (MouthStretchLeft, 0.25),
                (MouthStretchRight, 0.25),
                (MouthSmileLeft, 0.25),
                (MouthSmileRight, 0.25),
            ],
            Self::Oh => &[(JawOpen, 0.4), (MouthFunnel, 0.55), (MouthPucker, 0.2)],
            Self::Ou => &[(JawOpen, 0.15), (MouthPucker, 0.7), (MouthFunnel, 0.25)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viseme_names_of_three_families_are_accepted() {
        for (name, viseme) in [
            ("sil", Some(Viseme::Sil)),
            ("PP", Some(Viseme::Pp)),
            ("aa", Some(Viseme::Aa)),
            ("E", Some(Viseme::E)),
            ("A", Some(Viseme::Pp)),
            ("D", Some(Viseme::Aa)),
            ("X", Some(Viseme::Sil)),
            ("G", Some(Viseme::Ff)),
            ("AA", Some(Viseme::Aa)),
            ("AA1", Some(Viseme::Aa)),
            ("HH", Some(Viseme::Kk)),
            ("SIL", Some(Viseme::Sil)),
            ("uw", Some(Viseme::Ou)),
            ("quux", None),
            ("", None),
            ("Q", None),
        ] {
            assert_eq!(Viseme::from_name(name), viseme, "{name}");
        }
    }

    #[test]
    fn viseme_shapes_stay_in_range() {
        for viseme in Viseme::ALL {
            assert!(viseme.shapes().iter().all(|(_, share)| (0.0..=1.0).contains(share)));
            assert_eq!(viseme == Viseme::Sil, viseme.shapes().is_empty());
        }
    }
}
