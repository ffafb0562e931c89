//! A mapping bound to the targets of one rig.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use serde::Serialize;

use crate::names::{BLENDSHAPE_COUNT, Blendshape};

use super::{
    Combine, Resolved, Rule, Tuning,
    inputs::{Face, Inputs, Operand},
    key::{Affix, Pattern, Spelled, keys, shape_of_channel, stripped},
};

/// What of a face a rig can show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchReport {
    /// Shapes that move at least one target.
    pub shown: Vec<Blendshape>,
    /// Shapes that move nothing.
    pub missing: Vec<Blendshape>,
    /// Targets that no rule writes and the mapping does not list, once each.
    pub unused: Vec<String>,
    /// Targets that the mapping lists as left alone.
    pub aside: Vec<String>,
    /// Targets that the mapping writes and the rig does not have.
    pub absent: Vec<String>,
    /// Targets that are written.
    pub written: usize,
}

/// Room for the values of one frame; kept from frame to frame, it costs no allocation.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    inputs: Vec<f32>,
    values: Vec<f32>,
}

#[derive(Clone, Debug, Serialize)]
struct CompiledRule {
    operands: Range<usize>,
    combine: Combine,
    /// `None` where nothing is done to the value.
    tuning: Option<Tuning>,
}

#[derive(Clone, Debug, Serialize)]
struct Target {
    target: usize,
    terms: Range<usize>,
}

/// A mapping bound to a rig's meshes.
///
/// Serialized, it is what `mapping.js` of the web client evaluates; `docs/viewer.md` describes it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Compiled {
    mirror: bool,
    #[serde(rename = "channels")]
    inputs: Inputs,
    tunings: Vec<(usize, Tuning)>,
    rules: Vec<CompiledRule>,
    operands: Vec<Operand>,
    meshes: Vec<Vec<Target>>,
    /// Rule and gain.
    terms: Vec<(usize, f32)>,
    limits: Option<(f32, f32)>,
}

/// Every target of a rig under each key that it may answer to.
pub(super) struct Rig {
    by_key: HashMap<String, Vec<Hit>>,
    affixes: Vec<Affix>,
    /// Of each affix: how many different names have it.
    carriers: Vec<usize>,
    /// Of each target of each mesh: its name's index.
    names: Vec<Vec<usize>>,
    /// Of each name.
    spelled: Vec<Spelled>,
    /// Of each name: what is left without which affix, as places in the name.
    rests: Vec<Vec<(usize, Range<usize>)>>,
}

#[derive(Clone, Copy)]
struct Hit {
    spelling: Spelling,
    mesh: usize,
    target: usize,
    /// The same for targets of the same name.
    name: usize,
}

/// How a key was made of a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Place among the keys of the whole name.
    Whole(usize),
    /// Index of the affix that was taken off.
    Stripped(usize),
}

/// So many different names must be known without an affix for it to be one.
const MIN_SUPPORT: usize = 3;

/// And of so many that have it, one must be known: correctives outnumber shapes.
const MAX_UNKNOWN: usize = 20;

/// A key of this length says enough that it counts alone, where the affix is that of a whole mesh.
const SURE_KEY: usize = 6;

impl Rig {
    pub fn new<S: AsRef<str>>(meshes: &[Vec<S>]) -> Self {
        let mut rig = Self {
            by_key: HashMap::new(),
            affixes: Vec::new(),
            carriers: Vec::new(),
            names: Vec::new(),
            spelled: Vec::new(),
            rests: Vec::new(),
        };
        let mut affixes: HashMap<Affix, usize> = HashMap::new();
        let mut known: HashMap<&str, usize> = HashMap::new();
        let mut keys_of: Vec<Vec<(Spelling, String)>> = Vec::new();
        for (mesh, targets) in meshes.iter().enumerate() {
            let mut names = Vec::with_capacity(targets.len());
            for (target, text) in targets.iter().map(AsRef::as_ref).enumerate() {
                let name = *known.entry(text).or_insert_with(|| {
                    let (keys, rests) = rig.look_into(text, &mut affixes);
                    keys_of.push(keys);
                    rig.rests.push(rests);
                    rig.spelled.push(Spelled::new(text));
                    keys_of.len() - 1
                });
                names.push(name);
                for (spelling, key) in &keys_of[name] {
                    let hit = Hit { spelling: *spelling, mesh, target, name };
                    rig.by_key.entry(key.clone()).or_default().push(hit);
                }
            }
            rig.names.push(names);
        }
        rig
    }

    /// The keys of a name, and what is left of it without its affixes.
    fn look_into(
        &mut self,
        name: &str,
        known: &mut HashMap<Affix, usize>,
    ) -> (Vec<(Spelling, String)>, Vec<(usize, Range<usize>)>) {
        let mut all: Vec<_> = keys(name).into_iter().enumerate().map(|(at, key)| (Spelling::Whole(at), key)).collect();
        let mut rests = Vec::new();
        for (affix, rest, key) in stripped(name) {
            let place = *known.entry(affix.clone()).or_insert_with(|| {
                self.affixes.push(affix);
                self.carriers.push(0);
                self.affixes.len() - 1
            });
            self.carriers[place] += 1;
            all.push((Spelling::Stripped(place), key));
            rests.extend(rest.map(|rest| (place, rest)));
        }
        (all, rests)
    }

    fn hits(&self, key: &str) -> &[Hit] {
        self.by_key.get(key).map_or(&[], Vec::as_slice)
    }

    /// The rank of each affix that the names of this rig have as far as a mapping goes, the most frequent first; `None` for
    /// those that are not taken off. What most names begin or end with is no part of their dialect when the dialect knows
    /// them without.
    fn ranks(&self, rules: &[Rule]) -> Vec<Option<usize>> {
        let mut wanted: Vec<String> =
            rules.iter().flat_map(|rule| &rule.to).flat_map(|output| keys(&output.target)).collect();
        wanted.sort();
        wanted.dedup();
        let whole = |hit: &&Hit| matches!(hit.spelling, Spelling::Whole(_));
        let known: HashSet<usize> =
            wanted.iter().flat_map(|key| self.hits(key)).filter(whole).map(|hit| hit.name).collect();
        let mut support: Vec<HashSet<usize>> = vec![HashSet::new(); self.affixes.len()];
        let mut short = vec![false; self.affixes.len()];
        let mut in_mesh: HashMap<(usize, usize), usize> = HashMap::new();
        for key in &wanted {
            for hit in self.hits(key).iter().filter(|hit| !known.contains(&hit.name)) {
                let Spelling::Stripped(affix) = hit.spelling else { continue };
                support[affix].insert(hit.name);
                short[affix] |= key.len() < SURE_KEY;
                *in_mesh.entry((affix, hit.mesh)).or_default() += 1;
            }
        }
        let whole_mesh = |affix: usize| {
            let mut meshes = in_mesh.iter().filter(|((of, _), _)| *of == affix);
            !short[affix] && meshes.all(|((_, mesh), hits)| *hits >= self.names[*mesh].len())
        };
        let is_one = |affix: &usize| {
            let count = support[*affix].len();
            count > 0 && count * MAX_UNKNOWN >= self.carriers[*affix] && (count >= MIN_SUPPORT || whole_mesh(*affix))
        };
        let mut found: Vec<usize> = (0..self.affixes.len()).filter(is_one).collect();
        found.sort_by_key(|affix| std::cmp::Reverse(support[*affix].len()));
        let mut ranks = vec![None; self.affixes.len()];
        for (rank, affix) in found.into_iter().enumerate() {
            ranks[affix] = Some(rank);
        }
        ranks
    }

    /// The targets of this name: in every mesh the best spelling, and the same shape of every part of the head.
    fn find(&self, name: &str, ranks: &[Option<usize>]) -> Vec<(usize, usize)> {
        const STRIPPED: usize = 8;
        let mut found: Vec<(usize, Hit)> = Vec::new();
        for (at, key) in keys(name).iter().enumerate() {
            for hit in self.hits(key) {
                let rank = match hit.spelling {
                    Spelling::Whole(place) => place,
                    Spelling::Stripped(affix) => match ranks[affix] {
                        Some(rank) => STRIPPED + rank,
                        None => continue,
                    },
                };
                // Where a rig has one name in several spellings, one set of them is meant.
                let distance = match hit.spelling {
                    Spelling::Whole(_) => self.spelled[hit.name].distance(name),
                    Spelling::Stripped(_) => 0,
                };
                found.push(((rank * 2 + at) * 3 + distance, *hit));
            }
        }
        let part = |hit: &Hit| match hit.spelling {
            Spelling::Stripped(affix) => self.affixes[affix].without_part(),
            Spelling::Whole(_) => None,
        };
        let best = |mesh: usize| found.iter().filter(|(_, hit)| hit.mesh == mesh).min_by_key(|(rank, _)| *rank);
        let mut targets: Vec<(usize, usize)> = Vec::new();
        for (rank, hit) in &found {
            let Some((least, best)) = best(hit.mesh) else { continue };
            if rank == least || part(hit).is_some_and(|this| part(best) == Some(this)) {
                let place = (hit.mesh, hit.target);
                if !targets.contains(&place) {
                    targets.push(place);
                }
            }
        }
        targets
    }

    /// Whether a target's name fits one of these patterns, as it is or without an affix of the rig.
    fn fits(&self, patterns: &[Pattern], name: &str, (mesh, target): (usize, usize), ranks: &[Option<usize>]) -> bool {
        let any = |name: &Spelled| patterns.iter().any(|pattern| pattern.fits(name));
        let Some(&index) = self.names.get(mesh).and_then(|names| names.get(target)) else { return false };
        let mut rests = self.rests[index].iter().filter(|(affix, _)| ranks[*affix].is_some());
        any(&self.spelled[index])
            || rests.any(|(_, rest)| name.get(rest.clone()).is_some_and(|rest| any(&Spelled::new(rest))))
    }
}

impl Resolved {
    /// Binds it to the target names of a rig's meshes.
    pub fn compile<S: AsRef<str>>(&self, meshes: &[Vec<S>]) -> (Compiled, MatchReport) {
        self.compile_for(&Rig::new(meshes), meshes)
    }

    pub(super) fn compile_for<S: AsRef<str>>(&self, rig: &Rig, meshes: &[Vec<S>]) -> (Compiled, MatchReport) {
        let ranks = rig.ranks(&self.rules);
        let mut building = Building {
            compiled: Compiled { mirror: self.mirror, limits: self.limits, ..Compiled::default() },
            sums: meshes.iter().map(|names| vec![Vec::new(); names.len()]).collect(),
            shown: [false; BLENDSHAPE_COUNT],
            absent: Vec::new(),
        };
        for rule in self.rules.iter().filter(|rule| !rule.fallback) {
            building.add(rule, rig, &ranks);
        }
        for rule in self.rules.iter().filter(|rule| rule.fallback) {
            let mut shapes = rule.from.iter().filter_map(|input| shape_of_channel(&input.channel));
            if shapes.any(|shape| !building.shown[shape.index()]) {
                building.add(rule, rig, &ranks);
            }
        }
        let Building { mut compiled, sums, shown, absent } = building;
        for (name, tuning) in &self.channels {
            if !tuning.is_default() {
                let input = compiled.inputs.place(name);
                compiled.tunings.push((input, tuning.clone()));
            }
        }
        let aside: Vec<Pattern> = self.aside.iter().map(|pattern| Pattern::new(pattern)).collect();
        let mut report = MatchReport { absent, ..MatchReport::default() };
        for (mesh, (names, sums)) in meshes.iter().zip(sums).enumerate() {
            let mut targets = Vec::new();
            for (target, (name, terms)) in names.iter().zip(sums).enumerate() {
                let name = name.as_ref();
                if terms.is_empty() {
                    let known = rig.fits(&aside, name, (mesh, target), &ranks);
                    let list = if known { &mut report.aside } else { &mut report.unused };
                    if !list.iter().any(|other| other == name) {
                        list.push(name.to_owned());
                    }
                    continue;
                }
                report.written += 1;
                let start = compiled.terms.len();
                compiled.terms.extend(terms);
                targets.push(Target { target, terms: start..compiled.terms.len() });
            }
            compiled.meshes.push(targets);
        }
        for shape in Blendshape::ALL {
            let list = if shown[shape.index()] { &mut report.shown } else { &mut report.missing };
            list.push(shape);
        }
        (compiled, report)
    }
}

struct Building {
    compiled: Compiled,
    /// Of every target of every mesh: rule and gain.
    sums: Vec<Vec<Vec<(usize, f32)>>>,
    shown: [bool; BLENDSHAPE_COUNT],
    absent: Vec<String>,
}

impl Building {
    fn add(&mut self, rule: &Rule, rig: &Rig, ranks: &[Option<usize>]) {
        let index = self.compiled.rules.len();
        let mut any = false;
        for output in &rule.to {
            let mut found = false;
            for (mesh, target) in rig.find(&output.target, ranks) {
                found = true;
                let terms = &mut self.sums[mesh][target];
                // A second spelling of one target in one rule is no second term.
                if !terms.iter().any(|(of, _)| *of == index) {
                    terms.push((index, output.gain));
                }
            }
            if !found && !self.absent.contains(&output.target) {
                self.absent.push(output.target.clone());
            }
            any |= found;
        }
        if !any {
            return;
        }
        let start = self.compiled.operands.len();
        for input in &rule.from {
            if let Some(shape) = shape_of_channel(&input.channel) {
                self.shown[shape.index()] = true;
            }
            let operand = self.compiled.inputs.operand(input);
            self.compiled.operands.push(operand);
        }
        let tuning = rule.tuning();
        self.compiled.rules.push(CompiledRule {
            operands: start..self.compiled.operands.len(),
            combine: rule.combine,
            tuning: (!tuning.is_default()).then_some(tuning),
        });
    }
}

impl Compiled {
    /// Works out the values of a frame.
    pub fn evaluate(&self, face: &Face<'_>, scratch: &mut Scratch) {
        let Scratch { inputs, values } = scratch;
        self.inputs.read(face, self.mirror, inputs);
        for (input, tuning) in &self.tunings {
            inputs[*input] = tuning.at(inputs[*input]);
        }
        values.clear();
        values.extend(self.rules.iter().map(|rule| {
            let value = rule.combine.of(&self.operands[rule.operands.clone()], inputs);
            rule.tuning.as_ref().map_or(value, |tuning| tuning.at(value))
        }));
    }

    /// The value of a shape after its own tuning, from the last [`evaluate`](Self::evaluate).
    pub fn shape(&self, shape: Blendshape, scratch: &Scratch) -> f32 {
        scratch.inputs.get(shape.index()).copied().unwrap_or(0.0)
    }

    /// The targets of a mesh that are written, with the weights of the last [`evaluate`](Self::evaluate).
    pub fn mesh<'a>(&'a self, mesh: usize, scratch: &'a Scratch) -> impl Iterator<Item = (usize, f32)> + 'a {
        self.meshes.get(mesh).into_iter().flatten().map(|target| {
            let terms = &self.terms[target.terms.clone()];
            let sum: f32 =
                terms.iter().map(|(rule, gain)| scratch.values.get(*rule).copied().unwrap_or(0.0) * gain).sum();
            (target.target, self.limits.map_or(sum, |(low, high)| sum.max(low).min(high)))
        })
    }

    /// The targets of a mesh that are written.
    pub fn targets(&self, mesh: usize) -> impl Iterator<Item = usize> + '_ {
        self.meshes.get(mesh).into_iter().flatten().map(|target| target.target)
    }

    /// The targets of a mesh that a shape of these moves, alone or with others.
    pub fn targets_of(&self, mesh: usize, is_wanted: fn(Blendshape) -> bool) -> impl Iterator<Item = usize> + '_ {
        let wanted = move |operand: &Operand| Blendshape::from_index(operand.input).is_some_and(is_wanted);
        self.meshes.get(mesh).into_iter().flatten().filter_map(move |target| {
            let rules = self.terms[target.terms.clone()].iter().map(|(rule, _)| &self.rules[*rule]);
            let mut operands = rules.flat_map(|rule| &self.operands[rule.operands.clone()]);
            operands.any(wanted).then_some(target.target)
        })
    }

    /// Targets of a mesh that one shape moves in a straight line: target, shape, and the target's weight at full shape.
    /// By them a shape can be read off a rig that other code moves.
    pub fn direct(&self, mesh: usize) -> impl Iterator<Item = (usize, Blendshape, f32)> + '_ {
        self.meshes.get(mesh).into_iter().flatten().filter_map(|target| {
            let [(rule, gain)] = self.terms[target.terms.clone()] else { return None };
            let rule = &self.rules[rule];
            let [operand] = &self.operands[rule.operands.clone()] else { return None };
            let tuning = match &rule.tuning {
                None => 1.0,
                Some(Tuning { curve, gain, offset, .. }) if curve.is_linear() && *offset == 0.0 => *gain,
                Some(_) => return None,
            };
            let full = operand.gain * tuning * gain;
            let shape = Blendshape::from_index(operand.input)?;
            let shape = if self.mirror { shape.mirrored() } else { shape };
            (operand.offset == 0.0 && full.abs() > 1e-3).then_some((target.target, shape, full))
        })
    }

    /// Whether left and right are exchanged.
    pub fn mirror(&self) -> bool {
        self.mirror
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Channel, mapping::Mapping};

    fn resolved(text: &str) -> Resolved {
        text.parse::<Mapping>().unwrap().resolve(|_| Err("no includes here".into())).unwrap()
    }

    fn weights(shapes: &[(Blendshape, f32)]) -> [f32; BLENDSHAPE_COUNT] {
        let mut weights = [0.0; BLENDSHAPE_COUNT];
        for (shape, weight) in shapes {
            weights[shape.index()] = *weight;
        }
        weights
    }

    fn show(compiled: &Compiled, face: &Face<'_>) -> Vec<(usize, f32)> {
        let mut scratch = Scratch::default();
        compiled.evaluate(face, &mut scratch);
        compiled.mesh(0, &scratch).collect()
    }

    #[test]
    fn mapping_rules_combine_curve_and_limit() {
        use Blendshape::{JawOpen, MouthClose};
        let text = r#"(limits: (0, 1), channels: {"jawOpen": (gain: 2.0, max: 0.8)}, rules: [
            (from: "jawOpen", to: "a"),
            (from: ["jawOpen", "mouthClose"], combine: Multiply, to: ("b", 0.5)),
            (from: [("jawOpen", -1.0), (channel: "mouthClose", offset: 0.1)], to: "c"),
            (from: "mouthClose", gain: 3.0, to: ["d", "b"]),
            (from: "ear", curve: Power(2.0), to: "e"),
            (from: "headYaw", to: "f"),
            (from: [], offset: 0.25, to: "g"),
        ])"#;
        let (compiled, report) = resolved(text).compile(&[vec!["a", "b", "c", "d", "e", "f", "g", "h"]]);
        assert_eq!(report.shown, [JawOpen, MouthClose]);
        assert_eq!((report.unused, report.written), (vec!["h".to_owned()], 7));
        let weights = weights(&[(JawOpen, 0.5), (MouthClose, 0.2)]);
        let channels = [Channel { name: "ear".into(), value: 0.5 }];
        let face = Face { weights: &weights, channels: &channels, head: [0.3, 0.0, 0.0] };
        let shown: Vec<f32> = show(&compiled, &face).into_iter().map(|(_, weight)| weight).collect();
        for (shown, wanted) in shown.iter().zip([0.8, 0.5 * 0.8 * 0.2 + 0.6, 0.0, 0.6, 0.25, 0.3, 0.25]) {
            assert!((shown - wanted).abs() < 1e-6, "{shown} {wanted}");
        }
    }

    #[test]
    fn mapping_mirror_exchanges_sides_and_turns() {
        use Blendshape::{EyeBlinkLeft, JawRight};
        let text = r#"(mirror: true, rules: [(from: "eyeBlink{Left}", to: "blink_{L}"), (from: "jaw{Left}", to: "jaw{Left}"), (from: "headYaw", to: "yaw")])"#;
        let (compiled, _) = resolved(text).compile(&[vec!["blink_L", "blink_R", "jawLeft", "jawRight", "yaw"]]);
        let weights = weights(&[(EyeBlinkLeft, 1.0), (JawRight, 0.5)]);
        let face = Face { weights: &weights, head: [0.2, 0.0, 0.0], ..Face::default() };
        assert_eq!(show(&compiled, &face), [(0, 0.0), (1, 1.0), (2, 0.5), (3, 0.0), (4, -0.2)]);
    }

    #[test]
    fn mapping_fallbacks_replace_missing_targets_alone() {
        let text = r#"(rules: [
            (from: "mouthSmile{Left}", to: "mouthSmile{Left}"),
            (from: [("mouthSmileLeft", 0.5), ("mouthSmileRight", 0.5)], to: "mouthSmile", fallback: true),
        ])"#;
        let (_, report) = resolved(text).compile(&[vec!["mouthSmileLeft", "mouthSmileRight", "mouthSmile"]]);
        assert_eq!((report.written, report.unused), (2, vec!["mouthSmile".to_owned()]));
        let (compiled, report) = resolved(text).compile(&[vec!["mouthSmile"]]);
        assert_eq!((report.shown.len(), report.written), (2, 1));
        let weights = weights(&[(Blendshape::MouthSmileLeft, 1.0)]);
        assert_eq!(show(&compiled, &Face { weights: &weights, ..Face::default() }), [(0, 0.5)]);
    }

    #[test]
    fn mapping_targets_of_one_shape_can_be_read_back() {
        let text = r#"(rules: [(from: "jawOpen", gain: 0.5, to: ["a", "b"]), (from: "mouthClose", to: "b")])"#;
        let (compiled, _) = resolved(text).compile(&[vec!["a", "b"]]);
        assert_eq!(compiled.direct(0).collect::<Vec<_>>(), [(0, Blendshape::JawOpen, 0.5)]);
    }

    #[test]
    fn mapping_frame_allocates_nothing() {
        let rules: Vec<Rule> = Blendshape::ALL.iter().map(|shape| Rule::one(shape.name(), shape.name())).collect();
        let mapping = Mapping { rules, ..Mapping::default() };
        let names = Blendshape::ALL.map(|shape| shape.name().to_owned()).to_vec();
        let (compiled, report) = mapping.resolve(|_| Err(String::new())).unwrap().compile(&[names]);
        assert_eq!(report.shown.len(), BLENDSHAPE_COUNT);
        let mut scratch = Scratch::default();
        let weights = std::array::from_fn(|i| i as f32 / 52.0);
        let face = Face { weights: &weights, ..Face::default() };
        compiled.evaluate(&face, &mut scratch);
        let counted = allocation_counter::measure(|| {
            compiled.evaluate(&face, &mut scratch);
            for (target, weight) in compiled.mesh(0, &scratch) {
                assert_eq!(weight, weights[target]);
            }
        });
        assert_eq!(counted.count_total, 0);
    }
}
