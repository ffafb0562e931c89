//! Resolves the includes of a mapping.

use std::collections::{BTreeMap, HashSet};

use super::{
    AUTO, BoneMap, Mapping, Rule, Tuning,
    key::keys,
    rule::{Input, Output, has_side, on_side},
};

/// Includes within includes.
const DEEPEST: usize = 16;

/// A mapping cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// An include is not there, or is broken itself.
    #[error("mapping \"{by}\", field `include`: \"{include}\": {reason}")]
    Include {
        /// The mapping that includes it.
        by: String,
        /// What it includes.
        include: String,
        /// Why it cannot.
        reason: String,
    },
    /// A mapping includes itself through others.
    #[error("mapping \"{by}\", field `include` is circular: {}", circle.join(" > "))]
    Circle {
        /// The mapping that closes the circle.
        by: String,
        /// The names of the circle, in order.
        circle: Vec<String>,
    },
}

/// A mapping with all that it includes, one rule a side.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resolved {
    /// What people call it.
    pub name: String,
    /// Exchanges left and right.
    pub mirror: bool,
    /// Changes to channels before the rules.
    pub channels: BTreeMap<String, Tuning>,
    /// The rules, without sides in braces.
    pub rules: Vec<Rule>,
    /// Patterns of targets that are left alone.
    pub aside: Vec<String>,
    /// Least and most of a target.
    pub limits: Option<(f32, f32)>,
    /// The bones.
    pub bones: BoneMap,
}

impl Mapping {
    /// Resolves its includes; `lookup` finds a mapping by id or path.
    ///
    /// # Errors
    /// When `lookup` has no such mapping, or when they include each other.
    pub fn resolve(&self, mut lookup: impl FnMut(&str) -> Result<Mapping, String>) -> Result<Resolved, ResolveError> {
        self.resolve_within(&mut lookup, &mut Vec::new())
    }

    fn resolve_within(
        &self,
        lookup: &mut dyn FnMut(&str) -> Result<Mapping, String>,
        path: &mut Vec<String>,
    ) -> Result<Resolved, ResolveError> {
        let mut resolved = Resolved::default();
        let auto = [AUTO.to_owned()];
        let includes = if self.rules.is_empty() && self.include.is_empty() { &auto[..] } else { &self.include };
        for include in includes {
            // A preset has nothing below it.
            if self.rules.is_empty() && self.include.is_empty() && !path.is_empty() {
                break;
            }
            if path.contains(include) || path.len() >= DEEPEST {
                path.push(include.clone());
                return Err(ResolveError::Circle { by: self.name.clone(), circle: std::mem::take(path) });
            }
            let mapping = lookup(include).map_err(|reason| ResolveError::Include {
                by: self.name.clone(),
                include: include.clone(),
                reason,
            })?;
            path.push(include.clone());
            let included = mapping.resolve_within(lookup, path)?;
            path.pop();
            resolved.take_in(included);
        }
        let own = Resolved {
            name: self.name.clone(),
            mirror: self.mirror,
            channels: self.channels.clone(),
            rules: self.rules.iter().flat_map(both_sides).collect(),
            aside: self.aside.clone(),
            limits: self.limits,
            bones: self.bones.clone(),
        };
        resolved.take_in(own);
        Ok(resolved)
    }
}

impl Resolved {
    fn take_in(&mut self, over: Self) {
        let written: HashSet<String> =
            over.rules.iter().flat_map(|rule| &rule.to).flat_map(|output| keys(&output.target)).collect();
        for rule in &mut self.rules {
            rule.to.retain(|output| !keys(&output.target).iter().any(|key| written.contains(key)));
        }
        self.rules.retain(|rule| !rule.to.is_empty());
        if !over.name.is_empty() {
            self.name = over.name;
        }
        self.mirror |= over.mirror;
        self.channels.extend(over.channels);
        self.rules.extend(over.rules);
        self.aside.extend(over.aside);
        self.limits = over.limits.or(self.limits);
        self.bones = over.bones.over(std::mem::take(&mut self.bones));
    }
}

/// A rule with sides in braces, once a side.
fn both_sides(rule: &Rule) -> Vec<Rule> {
    let mut names = rule.from.iter().map(|input| &input.channel).chain(rule.to.iter().map(|output| &output.target));
    if !names.any(|name| has_side(name)) {
        return vec![rule.clone()];
    }
    [false, true]
        .map(|second| Rule {
            from: rule
                .from
                .iter()
                .map(|input| Input { channel: on_side(&input.channel, second), ..input.clone() })
                .collect(),
            to: rule.to.iter().map(|output| Output { target: on_side(&output.target, second), ..*output }).collect(),
            ..rule.clone()
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Mapping {
        text.parse().unwrap()
    }

    #[test]
    fn mapping_sides_are_expanded_and_crossed() {
        let mapping = parse(r#"(rules: [(from: "eyeLookIn{Left}", to: "look{Right}{L}_{l}{r}")])"#);
        let resolved = mapping.resolve(|_| Err(String::new())).unwrap();
        let sides: Vec<_> = resolved.rules.iter().map(|rule| (&*rule.from[0].channel, &*rule.to[0].target)).collect();
        assert_eq!(sides, [("eyeLookInLeft", "lookRightL_lr"), ("eyeLookInRight", "lookLeftR_rl")]);
    }

    #[test]
    fn mapping_rule_replaces_included_rule_of_its_target() {
        let base = parse(
            r#"(name: "base", limits: (0, 1), rules: [(from: "jawOpen", to: ["A", "B"]), (from: "cheekPuff", to: "C")])"#,
        );
        let own =
            parse(r#"(name: "own", include: ["base"], rules: [(from: "mouthClose", to: "b"), (from: [], to: "C")])"#);
        let resolved = own.resolve(|name| if name == "base" { Ok(base.clone()) } else { Err("no".into()) }).unwrap();
        let rules: Vec<_> = resolved
            .rules
            .iter()
            .map(|rule| (rule.from.first().map(|input| &*input.channel), &*rule.to[0].target, rule.to.len()))
            .collect();
        assert_eq!(rules, [(Some("jawOpen"), "A", 1), (Some("mouthClose"), "b", 1), (None, "C", 1)]);
        assert_eq!((resolved.name.as_str(), resolved.limits), ("own", Some((0.0, 1.0))));
    }

    #[test]
    fn mapping_tuning_starts_from_detected_preset() {
        let tune = parse(r#"(channels: {"jawOpen": (gain: 2.0)})"#);
        assert!(tune.wants_auto());
        let resolved = tune
            .resolve(|name| {
                assert_eq!(name, AUTO);
                Ok(parse(r#"(rules: [(from: "jawOpen", to: "A")])"#))
            })
            .unwrap();
        assert_eq!((resolved.rules.len(), resolved.channels["jawOpen"].gain), (1, 2.0));
    }

    #[test]
    fn mapping_include_missing_or_circular_is_an_error() {
        let mapping = parse(r#"(name: "mine", include: ["gone"])"#);
        let error = mapping.resolve(|_| Err("no such preset".into())).unwrap_err();
        assert_eq!(error.to_string(), "mapping \"mine\", field `include`: \"gone\": no such preset");
        let round = |name: &str| Ok(parse(if name == "a" { r#"(include: ["b"])"# } else { r#"(include: ["a"])"# }));
        let error = parse(r#"(include: ["a"])"#).resolve(round).unwrap_err();
        assert!(error.to_string().contains("a > b > a"), "{error}");
    }
}
