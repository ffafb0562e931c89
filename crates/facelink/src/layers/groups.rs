//! Groups of channels that belong together, and how a layer meets a face in each.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::names::{BLENDSHAPE_COUNT, Blendshape};

/// Channels that act together, and may come from different sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[repr(u8)]
pub enum ChannelGroup {
    /// `brow*`.
    Brows,
    /// `eyeBlink*`, `eyeSquint*`, `eyeWide*`.
    Eyelids,
    /// `eyeLook*`, and the direction of the eyes.
    Gaze,
    /// `cheek*` and `noseSneer*`.
    Cheeks,
    /// `jaw*`.
    Jaw,
    /// `mouth*`.
    Mouth,
    /// `tongueOut`.
    Tongue,
    /// The head's rotation and position.
    Head,
}

impl ChannelGroup {
    /// Every group.
    pub const ALL: [Self; 8] =
        [Self::Brows, Self::Eyelids, Self::Gaze, Self::Cheeks, Self::Jaw, Self::Mouth, Self::Tongue, Self::Head];

    /// The group of a shape.
    pub const fn of(shape: Blendshape) -> Self {
        GROUP_OF[shape.index()]
    }

    /// `brows`, `eyelids`, `gaze`, `cheeks`, `jaw`, `mouth`, `tongue` or `head`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brows => "brows",
            Self::Eyelids => "eyelids",
            Self::Gaze => "gaze",
            Self::Cheeks => "cheeks",
            Self::Jaw => "jaw",
            Self::Mouth => "mouth",
            Self::Tongue => "tongue",
            Self::Head => "head",
        }
    }

    /// The group of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }
}

impl fmt::Display for ChannelGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const GROUP_OF: [ChannelGroup; BLENDSHAPE_COUNT] = {
    use Blendshape as B;
    use ChannelGroup::{Brows, Cheeks, Eyelids, Gaze, Jaw, Mouth, Tongue};
    // The canonical order keeps groups together, so ranges of it say all.
    let mut groups = [Mouth; BLENDSHAPE_COUNT];
    let mut i = 0;
    while i < BLENDSHAPE_COUNT {
        let shape = B::ALL[i];
        groups[i] = match shape {
            B::EyeBlinkLeft
            | B::EyeBlinkRight
            | B::EyeSquintLeft
            | B::EyeSquintRight
            | B::EyeWideLeft
            | B::EyeWideRight => Eyelids,
            B::EyeLookDownLeft
            | B::EyeLookInLeft
            | B::EyeLookOutLeft
            | B::EyeLookUpLeft
            | B::EyeLookDownRight
            | B::EyeLookInRight
            | B::EyeLookOutRight
            | B::EyeLookUpRight => Gaze,
            B::JawForward | B::JawLeft | B::JawRight | B::JawOpen => Jaw,
            B::BrowDownLeft | B::BrowDownRight | B::BrowInnerUp | B::BrowOuterUpLeft | B::BrowOuterUpRight => Brows,
            B::CheekPuff | B::CheekSquintLeft | B::CheekSquintRight | B::NoseSneerLeft | B::NoseSneerRight => Cheeks,
            B::TongueOut => Tongue,
            _ => Mouth,
        };
        i += 1;
    }
    groups
};

/// Some of the groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct GroupSet(u8);

impl GroupSet {
    /// No group.
    pub const NONE: Self = Self(0);
    /// Every group.
    pub const ALL: Self = Self(u8::MAX);

    /// With this group too.
    #[must_use]
    pub const fn with(self, group: ChannelGroup) -> Self {
        Self(self.0 | 1 << group as u8)
    }

    /// Without this group.
    #[must_use]
    pub const fn without(self, group: ChannelGroup) -> Self {
        Self(self.0 & !(1 << group as u8))
    }

    /// Whether the group is in it.
    pub const fn contains(self, group: ChannelGroup) -> bool {
        self.0 & (1 << group as u8) != 0
    }

    /// The groups in it.
    pub fn iter(self) -> impl Iterator<Item = ChannelGroup> {
        ChannelGroup::ALL.into_iter().filter(move |group| self.contains(*group))
    }
}

impl FromIterator<ChannelGroup> for GroupSet {
    fn from_iter<I: IntoIterator<Item = ChannelGroup>>(groups: I) -> Self {
        groups.into_iter().fold(Self::NONE, Self::with)
    }
}

impl<const N: usize> From<[ChannelGroup; N]> for GroupSet {
    fn from(groups: [ChannelGroup; N]) -> Self {
        groups.into_iter().collect()
    }
}

impl Serialize for GroupSet {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(ChannelGroup::name))
    }
}

impl<'de> Deserialize<'de> for GroupSet {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        names
            .iter()
            .map(|name| {
                ChannelGroup::from_name(name).ok_or_else(|| {
                    let all = ChannelGroup::ALL.map(ChannelGroup::name).join(", ");
                    D::Error::custom(format_args!("no group `{name}`; there are {all}"))
                })
            })
            .collect()
    }
}

/// How a layer meets what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlendRule {
    /// On top, into the room that is left up to 1: the live movement stays visible and nothing passes 1.
    #[default]
    Add,
    /// The larger of the two.
    Max,
    /// The layer takes the place of what is there.
    Replace,
    /// The layer does nothing here.
    Off,
}

impl BlendRule {
    /// `base` with a layer of this weight on it, at this intensity, `0..=1`.
    pub fn blend(self, base: f32, layer: f32, intensity: f32) -> f32 {
        match self {
            Self::Add => {
                let layer = layer * intensity;
                // What is beyond 1 already is the sender's own doing, and stays.
                base + layer * (1.0 - base).clamp(0.0, 1.0)
            }
            Self::Max => base.max(layer * intensity),
            Self::Replace => base + (layer - base) * intensity,
            Self::Off => base,
        }
    }
}

/// A rule for every group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct BlendRules {
    /// Brows.
    pub brows: BlendRule,
    /// Eyelids.
    pub eyelids: BlendRule,
    /// Gaze.
    pub gaze: BlendRule,
    /// Cheeks and nose.
    pub cheeks: BlendRule,
    /// Jaw.
    pub jaw: BlendRule,
    /// Mouth.
    pub mouth: BlendRule,
    /// Tongue.
    pub tongue: BlendRule,
    /// Head.
    pub head: BlendRule,
}

impl Default for BlendRules {
    /// [`EXPRESSION`](Self::EXPRESSION).
    fn default() -> Self {
        Self::EXPRESSION
    }
}

impl BlendRules {
    /// Over a live face: everything on top of it, but the jaw opens as far as the wider of the two.
    pub const EXPRESSION: Self = Self {
        brows: BlendRule::Add,
        eyelids: BlendRule::Add,
        gaze: BlendRule::Add,
        cheeks: BlendRule::Add,
        jaw: BlendRule::Max,
        mouth: BlendRule::Add,
        tongue: BlendRule::Max,
        head: BlendRule::Off,
    };

    /// The mouth of speech, on a live or a still face: the wider of the two, and nothing but the mouth.
    pub const SPEECH: Self = Self {
        brows: BlendRule::Off,
        eyelids: BlendRule::Off,
        gaze: BlendRule::Off,
        cheeks: BlendRule::Max,
        jaw: BlendRule::Max,
        mouth: BlendRule::Max,
        tongue: BlendRule::Max,
        head: BlendRule::Off,
    };

    /// The same with another rule for a group.
    #[must_use]
    pub const fn with(mut self, group: ChannelGroup, rule: BlendRule) -> Self {
        match group {
            ChannelGroup::Brows => self.brows = rule,
            ChannelGroup::Eyelids => self.eyelids = rule,
            ChannelGroup::Gaze => self.gaze = rule,
            ChannelGroup::Cheeks => self.cheeks = rule,
            ChannelGroup::Jaw => self.jaw = rule,
            ChannelGroup::Mouth => self.mouth = rule,
            ChannelGroup::Tongue => self.tongue = rule,
            ChannelGroup::Head => self.head = rule,
        }
        self
    }

    /// The rule of a group.
    pub const fn of(&self, group: ChannelGroup) -> BlendRule {
        match group {
            ChannelGroup::Brows => self.brows,
            ChannelGroup::Eyelids => self.eyelids,
            ChannelGroup::Gaze => self.gaze,
            ChannelGroup::Cheeks => self.cheeks,
            ChannelGroup::Jaw => self.jaw,
            ChannelGroup::Mouth => self.mouth,
            ChannelGroup::Tongue => self.tongue,
            ChannelGroup::Head => self.head,
        }
    }

    /// Puts a layer on a face.
    pub fn apply(&self, face: &mut [f32; BLENDSHAPE_COUNT], layer: &[f32; BLENDSHAPE_COUNT], intensity: f32) {
        for ((weight, layer), group) in face.iter_mut().zip(layer).zip(GROUP_OF) {
            *weight = self.of(group).blend(*weight, *layer, intensity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_where_its_name_says() {
        for shape in Blendshape::ALL {
            let name = shape.name();
            let group = match ChannelGroup::of(shape) {
                ChannelGroup::Brows => name.starts_with("brow"),
                ChannelGroup::Eyelids => ["eyeBlink", "eyeSquint", "eyeWide"].iter().any(|stem| name.starts_with(stem)),
                ChannelGroup::Gaze => name.starts_with("eyeLook"),
                ChannelGroup::Cheeks => name.starts_with("cheek") || name.starts_with("nose"),
                ChannelGroup::Jaw => name.starts_with("jaw"),
                ChannelGroup::Mouth => name.starts_with("mouth"),
                ChannelGroup::Tongue => name.starts_with("tongue"),
                ChannelGroup::Head => false,
            };
            assert!(group, "{name}");
        }
    }

    #[test]
    fn rules_meet_a_face() {
        for (rule, base, layer, intensity, wanted) in [
            (BlendRule::Add, 0.5, 0.5, 1.0, 0.75),
            (BlendRule::Add, 1.0, 1.0, 1.0, 1.0),
            (BlendRule::Add, 1.4, 0.5, 1.0, 1.4),
            (BlendRule::Add, 0.0, 0.8, 0.5, 0.4),
            (BlendRule::Max, 0.5, 0.8, 0.5, 0.5),
            (BlendRule::Replace, 0.5, 0.0, 1.0, 0.0),
            (BlendRule::Replace, 0.5, 1.0, 0.5, 0.75),
            (BlendRule::Off, 0.5, 1.0, 1.0, 0.5),
        ] {
            assert!((rule.blend(base, layer, intensity) - wanted).abs() < 1e-6, "{rule:?} {base} {layer}");
        }
    }

    #[test]
    fn sets_and_rules_are_kept_as_names() {
        let set = GroupSet::from([ChannelGroup::Mouth, ChannelGroup::Jaw]);
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["jaw","mouth"]"#);
        assert_eq!(serde_json::from_str::<GroupSet>(r#"["mouth","jaw"]"#).unwrap(), set);
        let error = serde_json::from_str::<GroupSet>(r#"["lips"]"#).unwrap_err().to_string();
        assert!(error.contains("lips") && error.contains("eyelids"), "{error}");
        let rules = BlendRules::SPEECH.with(ChannelGroup::Jaw, BlendRule::Add);
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<BlendRules>(&text).unwrap(), rules);
    }
}
