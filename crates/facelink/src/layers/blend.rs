//! How a layer meets a face, in each group of channels.

use serde::{Deserialize, Serialize};

use crate::{
    groups::ChannelGroup,
    names::{BLENDSHAPE_COUNT, Blendshape},
};

/// How a layer is combined with the face below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BlendRule {
    /// Added, into the range that is left up to 1: the live movement stays visible and nothing passes 1.
    #[default]
    Add,
    /// The larger of the two.
    Max,
    /// The layer replaces the face below it.
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
                // Values beyond 1 are the sender's own, and stay.
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
        for ((weight, layer), shape) in face.iter_mut().zip(layer).zip(Blendshape::ALL) {
            *weight = self.of(ChannelGroup::of(shape)).blend(*weight, *layer, intensity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blend_rules_apply_to_face() {
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
    fn blend_rules_round_trip_as_names() {
        let rules = BlendRules::SPEECH.with(ChannelGroup::Jaw, BlendRule::Add);
        let text = serde_json::to_string(&rules).unwrap();
        assert_eq!(serde_json::from_str::<BlendRules>(&text).unwrap(), rules);
    }
}
