//! What of a face an avatar can show, for the log, the panel and the game.

use std::fmt::Write;

use bevy::prelude::*;
use facelink::BLENDSHAPE_COUNT;

/// What of a face an avatar can show. On every bound avatar.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq, Eq)]
#[reflect(Component, Default)]
pub struct BindReport {
    /// The dialect of the rig, or the mapping that it was given, as people call it.
    pub dialect: String,
    /// Id of the preset that shows most of the rig; empty when none shows anything.
    pub preset: String,
    /// ARKit names of the shapes that at least one target shows.
    pub matched: Vec<String>,
    /// ARKit names of the shapes that nothing shows.
    pub missing: Vec<String>,
    /// Targets that the mapping does not know; a channel of exactly this name drives them.
    pub unused: Vec<String>,
    /// Targets that the mapping knows and leaves alone, such as vowels next to the shapes that make them up; a channel of
    /// exactly this name drives them.
    pub aside: Vec<String>,
    /// Targets that the avatar's own mapping writes and the rig does not have.
    pub absent: Vec<String>,
    /// Targets that the mapping writes and that move no vertex.
    pub empty: Vec<String>,
    /// Why the avatar's own mapping is not used, or its scene cannot be loaded, if so.
    pub problem: Option<String>,
    /// Its scene cannot be loaded; [`problem`](Self::problem) says why.
    pub failed: bool,
    /// Nodes with morph weights that are driven.
    pub meshes: usize,
    /// Names of the bones found: head, neck, left eye, right eye and jaw of each skeleton.
    pub bones: Vec<String>,
    /// The head is to turn and cannot: no bone of it was found.
    pub no_head: bool,
    /// What turns the eyeballs: `"bones"`, `"targets"`, or nothing where there are neither.
    pub eyes: String,
    /// Meshes that were left alone, each with the reason.
    pub refused: Vec<String>,
}

impl BindReport {
    /// One line: `ARKit, 52 of 52 matched`, or `VRoid Studio, 50 of 52 matched, missing: cheekPuff, tongueOut`.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        if !self.dialect.is_empty() {
            let _ = write!(text, "{}, ", self.dialect);
        }
        let _ = write!(text, "{} of {BLENDSHAPE_COUNT} matched", self.matched.len());
        if !self.missing.is_empty() {
            let _ = write!(text, ", missing: {}", self.missing.join(", "));
        }
        text
    }

    /// What the log says, one thing a line, and whether all is well. `own` is whether the avatar has a mapping of its own.
    pub(crate) fn message(&self, own: bool) -> (String, bool) {
        let targets = self.matched.len() + self.unused.len() + self.aside.len() + self.refused.len();
        let mut text = if targets == 0 {
            "it has no morph targets; only bones follow a face".to_owned()
        } else if self.matched.is_empty() && self.refused.is_empty() {
            "no morph target has a name that a preset knows, so nothing of a face is shown; give it a mapping of its own \
             (AvatarMapping)"
                .to_owned()
        } else if self.matched.is_empty() {
            "nothing of a face is shown".to_owned()
        } else {
            self.summary()
        };
        let mut good = !self.matched.is_empty() && self.refused.is_empty();
        let mut line = |what: &str, list: &[String]| {
            if !list.is_empty() {
                let _ = write!(text, "\n  {what}: {}", listed(list));
            }
        };
        line("not used", &self.unused);
        line("empty, so that nothing moves", &self.empty);
        if own && !self.absent.is_empty() {
            line("its mapping writes what it does not have", &self.absent);
            good = false;
        }
        for refusal in &self.refused {
            let _ = write!(text, "\n  not driven: {refusal}");
        }
        if self.no_head {
            let _ = write!(text, "\n  {NO_HEAD}");
            good = false;
        }
        (text, good)
    }
}

/// An avatar was bound, or bound again.
#[derive(EntityEvent, Reflect, Clone, Debug)]
pub struct AvatarBound {
    /// The avatar.
    pub entity: Entity,
    /// What matched.
    pub report: BindReport,
}

/// Said in the log and in the panel.
pub(crate) const NO_HEAD: &str = "no bone has a name of a head or neck, so the head does not turn; name it in a mapping: \
     bones: (head: (bones: [\"...\"]))";

/// The first of many names.
fn listed(names: &[String]) -> String {
    const MOST: usize = 12;
    let mut text = names.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > MOST {
        let _ = write!(text, " and {} more", names.len() - MOST);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bind_message_says_each_thing_once() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let good = BindReport {
            dialect: "ARKit".to_owned(),
            matched: vec![String::new(); 52],
            unused: names(&["tail", "ear"]),
            empty: names(&["tongueOut"]),
            ..BindReport::default()
        };
        let (text, is_good) = good.message(false);
        assert!(is_good);
        assert_eq!(text, "ARKit, 52 of 52 matched\n  not used: tail, ear\n  empty, so that nothing moves: tongueOut");
        // What cannot help is not advised: another mapping does not mend a mesh.
        let refused = BindReport { refused: names(&["mesh \"Head\": it has no normals"]), ..BindReport::default() };
        let (text, is_good) = refused.message(false);
        assert!(!is_good && text.contains("not driven: mesh \"Head\"") && !text.contains("mapping"), "{text}");
        let unknown = BindReport { unused: names(&["a", "b"]), ..BindReport::default() };
        let (text, is_good) = unknown.message(false);
        assert!(!is_good && text.contains("AvatarMapping") && text.ends_with("not used: a, b"), "{text}");
        let (text, _) = BindReport::default().message(false);
        assert_eq!(text, "it has no morph targets; only bones follow a face");
    }

    #[test]
    fn bind_summary_names_missing_shapes() {
        let report = BindReport {
            matched: vec![String::new(); 51],
            missing: vec!["tongueOut".to_owned()],
            ..BindReport::default()
        };
        assert_eq!(report.summary(), "51 of 52 matched, missing: tongueOut");
        let report = BindReport { dialect: "ARKit".to_owned(), missing: Vec::new(), ..report };
        assert_eq!(report.summary(), "ARKit, 51 of 52 matched");
    }
}
