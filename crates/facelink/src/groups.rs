//! Channels that act together, and sets of such groups.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::names::{BLENDSHAPE_COUNT, Blendshape};

/// Channels that act together; each group may have its own source.
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
    // The canonical order keeps groups together, so ranges of it are enough.
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
#[cfg_attr(feature = "bevy_reflect", derive(bevy_reflect::Reflect))]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_of_shape_matches_its_name() {
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
    fn group_set_round_trips_as_names() {
        let set = GroupSet::from([ChannelGroup::Mouth, ChannelGroup::Jaw]);
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["jaw","mouth"]"#);
        assert_eq!(serde_json::from_str::<GroupSet>(r#"["mouth","jaw"]"#).unwrap(), set);
        let error = serde_json::from_str::<GroupSet>(r#"["lips"]"#).unwrap_err().to_string();
        assert!(error.contains("lips") && error.contains("eyelids"), "{error}");
    }
}
