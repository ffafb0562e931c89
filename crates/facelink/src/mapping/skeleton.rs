//! Bones by their names: which nodes of a model are heads, necks, eyes and jaws, however its rig spells them.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::BoneMap;

/// What a bone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BoneKind {
    /// The head.
    Head,
    /// The neck, directly or further below the head.
    Neck,
    /// The character's left eye.
    EyeLeft,
    /// The character's right eye.
    EyeRight,
    /// The lower jaw.
    Jaw,
}

impl BoneKind {
    const ALL: [Self; 5] = [Self::Head, Self::Neck, Self::EyeLeft, Self::EyeRight, Self::Jaw];
}

/// A node of a model.
#[derive(Clone, Copy, Debug)]
pub struct RigNode<'a> {
    /// Its name.
    pub name: &'a str,
    /// Index of its parent, which comes before it; `None` at the top.
    pub parent: Option<usize>,
    /// It carries a mesh that a skin or morph targets move: turning the node is not turning a bone.
    pub is_skin: bool,
}

/// The bones of one skeleton, as indices of nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SkeletonNodes {
    /// The head.
    pub head: Option<usize>,
    /// The neck.
    pub neck: Option<usize>,
    /// Left and right eye.
    pub eyes: [Option<usize>; 2],
    /// The jaw.
    pub jaw: Option<usize>,
}

/// How sure a name is: a deforming bone of Rigify, a plain name, a name with a word that weakens it, a name with unknown
/// words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    Unknown,
    Weak,
    Plain,
    Deforming,
    Named,
}

/// What a node's name says it is: `Head`, `mixamorig1:Head`, `Head_13`, `head_JNT`, `head.x`, `DEF-spine.006`,
/// `J_Bip_C_Head`, `FACIAL_L_Eye`, `頭`. Ends and controls of bones (`HeadTop_End`, `Eye_target_L`) are none.
pub fn bone_kind(name: &str) -> Option<BoneKind> {
    classify(name).map(|(kind, _)| kind)
}

/// Words that come with bones and say nothing about what they are.
const PLAIN: &[&str] = &[
    "mixamorig",
    "bip",
    "biped",
    "valve",
    "j",
    "b",
    "m",
    "x",
    "c",
    "cn",
    "mid",
    "center",
    "centre",
    "jt",
    "jnt",
    "joint",
    "joints",
    "bn",
    "bone",
    "bones",
    "def",
    "deform",
    "skin",
    "sk",
    "skel",
    "skeleton",
    "rig",
    "armature",
    "cc",
    "rl",
    "base",
    "adj",
    "bind",
    "bnd",
    "face",
    "facial",
    "character",
    "node",
    "human",
    "geom",
    "o",
    "d",
    "g",
];

/// Words that make a bone less likely to be the one that turns the mesh.
const WEAK: &[&str] = &["root", "org", "mch", "main", "master", "offset", "fk", "lower", "twist", "alt", "parallel"];

/// Words of what lies at, on or around such a bone.
const OTHER: &[&str] = &[
    "end",
    "nub",
    "top",
    "tip",
    "target",
    "ik",
    "pole",
    "ctrl",
    "ctl",
    "control",
    "controller",
    "con",
    "lid",
    "eyelid",
    "lids",
    "lash",
    "lashes",
    "eyelash",
    "eyelashes",
    "brow",
    "eyebrow",
    "brows",
    "socket",
    "hair",
    "band",
    "phone",
    "phones",
    "light",
    "corner",
    "helper",
    "aim",
    "look",
    "lookat",
    "scale",
    "gizmo",
    "attach",
    "slot",
    "prop",
    "mount",
    "camera",
    "cam",
    "collider",
    "col",
    "phys",
    "physics",
    "cloth",
    "mask",
    "hat",
    "cap",
    "ear",
    "inner",
    "outer",
    "iris",
    "pupil",
    "highlight",
    "back",
    "front",
    "grp",
    "group",
    "null",
    "locator",
    "loc",
    "muscle",
    "upper",
    "bag",
    "patch",
    "shadow",
    "shape",
    "lock",
    "gear",
    "piece",
    "dress",
    "ornament",
    "lace",
    "tie",
    "fat",
    "pad",
    "view",
    "tear",
    "line",
    "先",
];

/// The part that a word is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Head,
    Neck,
    Eye,
    Jaw,
}

fn part(word: &str) -> Option<Part> {
    Some(match word {
        "head" | "cranium" | "atama" | "頭" | "头" | "頭部" | "头部" | "あたま" | "머리" => Part::Head,
        // German, French, Spanish, Italian and Portuguese, without their accents.
        "kopf" | "tete" | "cabeza" | "testa" | "cabeca" => Part::Head,
        "neck" | "kubi" | "首" | "颈" | "頸" | "脖子" | "くび" | "목" => Part::Neck,
        "hals" | "nacken" | "cou" | "nuque" | "cuello" | "collo" | "pescoco" => Part::Neck,
        "eye" | "eyeball" | "目" | "眼" | "眼球" | "め" => Part::Eye,
        "auge" | "augapfel" | "oeil" | "ojo" | "occhio" | "olho" => Part::Eye,
        "kiefer" | "unterkiefer" | "machoire" | "mandibula" | "mandibola" | "mascella" => Part::Jaw,
        "jaw" | "jawbone" | "mandible" | "ago" | "顎" | "下顎" | "あご" | "アゴ" | "下あご" | "下アゴ" | "下巴" => {
            Part::Jaw
        }
        _ => return None,
    })
}

fn side(word: &str) -> Option<bool> {
    match word {
        "l" | "left" | "lt" | "lf" | "左" => Some(true),
        "r" | "right" | "rt" | "rg" | "右" => Some(false),
        "links" | "linkes" | "gauche" | "izquierdo" | "izquierda" | "izq" | "sinistro" | "sinistra" | "sx" => {
            Some(true)
        }
        "rechts" | "rechtes" | "droit" | "droite" | "derecho" | "derecha" | "destro" | "destra" | "dx" => Some(false),
        "esquerdo" | "esquerda" => Some(true),
        "direito" | "direita" => Some(false),
        _ => None,
    }
}

fn classify(name: &str) -> Option<(BoneKind, Match)> {
    let name = name.rsplit([':', '|']).next().unwrap_or(name);
    let words = words(name);
    if let Some(found) = rigify_spine(&words) {
        return Some(found);
    }
    let (mut parts, mut sides, mut rank) = (Vec::new(), Vec::new(), Match::Plain);
    let mut upper = false;
    for word in &words {
        let word = word.as_str();
        if let Some(part) = part(word) {
            parts.push(part);
        } else if let Some(left) = side(word) {
            sides.push(left);
        } else if word == "upper" && !upper {
            upper = true;
        } else if OTHER.contains(&word) {
            return None;
        } else if word == "def" {
            rank = rank.max(Match::Deforming);
        }
    }
    let known = |word: &str| {
        part(word).is_some()
            || side(word).is_some()
            || PLAIN.contains(&word)
            || word.bytes().all(|b| b.is_ascii_digit())
    };
    for word in words.iter().map(String::as_str).filter(|word| !known(word) && *word != "upper") {
        rank = if WEAK.contains(&word) { rank.min(Match::Weak) } else { Match::Unknown };
        if rank == Match::Unknown {
            break;
        }
    }
    let lower = words.iter().any(|word| word == "lower");
    let (kind, rank) = match (parts.as_slice(), sides.as_slice()) {
        ([Part::Head], []) if !upper && !lower => (BoneKind::Head, rank),
        // Daz has `neckLower` and `neckUpper`: the lower one turns both.
        ([Part::Neck], []) => (BoneKind::Neck, if upper { rank.min(Match::Weak) } else { rank }),
        // XNALara: `head neck lower` is the neck and `head neck upper` the head.
        ([Part::Head, Part::Neck], []) if lower => (BoneKind::Neck, Match::Plain),
        ([Part::Head, Part::Neck], []) if upper => (BoneKind::Head, Match::Plain),
        ([Part::Eye] | [Part::Head, Part::Eye], [left]) if !upper && !lower => {
            (if *left { BoneKind::EyeLeft } else { BoneKind::EyeRight }, rank)
        }
        ([Part::Jaw] | [Part::Head, Part::Jaw], []) if !upper => {
            (BoneKind::Jaw, if lower { Match::Plain.max(rank) } else { rank })
        }
        _ => return None,
    };
    Some((kind, rank))
}

/// Rigify's bones of the upper spine: `spine.004` and `spine.005` are its neck, `spine.006` its head.
fn rigify_spine(words: &[String]) -> Option<(BoneKind, Match)> {
    let (rank, rest) = match words {
        [first, rest @ ..] if first == "def" => (Match::Deforming, rest),
        [first, rest @ ..] if first == "org" || first == "mch" => (Match::Weak, rest),
        rest => (Match::Weak, rest),
    };
    match rest {
        [spine, number] | [spine, number, _] if spine == "spine" => match number.as_str() {
            "004" | "005" => Some((BoneKind::Neck, rank)),
            "006" => Some((BoneKind::Head, rank)),
            _ => None,
        },
        _ => None,
    }
}

/// A Latin letter without its accent, and nothing for a mark of the letter before it; `None` for all others.
fn without_accent(letter: char) -> Option<&'static str> {
    Some(match letter {
        '\u{300}'..='\u{36f}' => "",
        'à'..='å' => "a",
        'À'..='Å' => "A",
        'æ' => "ae",
        'Æ' => "Ae",
        'ç' => "c",
        'Ç' => "C",
        'è'..='ë' => "e",
        'È'..='Ë' => "E",
        'ì'..='ï' => "i",
        'Ì'..='Ï' => "I",
        'ñ' => "n",
        'Ñ' => "N",
        'ò'..='ö' | 'ø' => "o",
        'Ò'..='Ö' | 'Ø' => "O",
        'œ' => "oe",
        'Œ' => "Oe",
        'ù'..='ü' => "u",
        'Ù'..='Ü' => "U",
        'ß' => "ss",
        _ => return None,
    })
}

/// The words of a name, lower case and without accents: parted by separators, by humps, by digits, and where known words are joined.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut letters = Vec::with_capacity(name.len());
    for letter in name.chars() {
        match without_accent(letter) {
            Some(plain) => letters.extend(plain.chars()),
            None => letters.push(letter),
        }
    }
    let class = |letter: char| match letter {
        '0'..='9' => 0,
        'a'..='z' => 1,
        'A'..='Z' => 2,
        _ if letter.is_alphanumeric() => 3,
        _ => 4,
    };
    for (at, &letter) in letters.iter().enumerate() {
        let now = class(letter);
        let before = at.checked_sub(1).map_or(4, |before| class(letters[before]));
        let after = letters.get(at + 1).map_or(4, |&after| class(after));
        let apart = match (before, now) {
            (1, 2) => true,
            // `LEye` is `L` and `Eye`.
            (2, 2) => after == 1,
            (2, 1) => false,
            (before, now) => before != now,
        };
        if apart && !word.is_empty() {
            join(&std::mem::take(&mut word), &mut words);
        }
        if now != 4 {
            word.extend(letter.to_lowercase());
        }
    }
    if !word.is_empty() {
        join(&word, &mut words);
    }
    words
}

/// Adds a word, or the known words that it is joined of: `lefteye`, `headjoint`, `左目`.
fn join(word: &str, words: &mut Vec<String>) {
    const FIRST: [&str; 21] = [
        "mixamorig",
        "bip",
        "bone",
        "joint",
        "jnt",
        "def",
        "left",
        "right",
        "l",
        "r",
        "左",
        "右",
        "face",
        "lower",
        "upper",
        "head",
        "neck",
        "eyeball",
        "eye",
        "jaw",
        "m",
    ];
    const LAST: [&str; 14] =
        ["jnt", "joint", "bone", "left", "right", "l", "r", "head", "neck", "eyeball", "eye", "jaw", "lower", "upper"];
    let whole = |word: &str| {
        part(word).is_some() || side(word).is_some() || PLAIN.contains(&word) || WEAK.contains(&word) || word == "upper"
    };
    if whole(word) || OTHER.contains(&word) {
        words.push(word.to_owned());
        return;
    }
    for first in FIRST {
        let Some(rest) = word.strip_prefix(first) else { continue };
        if whole(rest) || OTHER.contains(&rest) {
            words.extend([first.to_owned(), rest.to_owned()]);
            return;
        }
        // `lefteyebone`, `mixamorigheadjoint`.
        for last in LAST {
            if let Some(middle) = rest.strip_suffix(last).filter(|middle| part(middle).is_some()) {
                words.extend([first.to_owned(), middle.to_owned(), last.to_owned()]);
                return;
            }
        }
    }
    words.push(word.to_owned());
}

/// What a mapping says a node is: by its own names for a bone, where it has some, else by the usual ones.
fn kind_by(map: &BoneMap, name: &str, short: &str) -> Option<(BoneKind, Match)> {
    let none = &[][..];
    let named = [
        (BoneKind::Head, map.head.as_ref().map_or(none, |head| &head.bones)),
        (BoneKind::Neck, map.neck.as_ref().map_or(none, |neck| &neck.bones)),
        (BoneKind::EyeLeft, map.eyes.as_ref().map_or(none, |eyes| &eyes.left)),
        (BoneKind::EyeRight, map.eyes.as_ref().map_or(none, |eyes| &eyes.right)),
        (BoneKind::Jaw, map.jaw.as_ref().map_or(none, |jaw| &jaw.bones)),
    ];
    if let Some((kind, _)) = named.iter().find(|(_, bones)| bones.iter().any(|bone| bone == name)) {
        return Some((*kind, Match::Named));
    }
    let whole = classify(name);
    let found = match (whole, classify(short)) {
        (Some((kind, rank)), Some((other, better))) if other == kind => Some((kind, rank.max(better))),
        (None, shorter) => shorter,
        (whole, _) => whole,
    };
    let (kind, rank) = found?;
    if kind == BoneKind::Jaw && map.jaw.is_none() {
        return None;
    }
    named.iter().any(|(other, bones)| *other == kind && bones.is_empty()).then_some((kind, rank))
}

/// Finds the bones of every skeleton of a model.
///
/// `nodes` are those of the model, parents first; `skins` are the joints of each skin. Joints come before other nodes, and
/// names that are surer before others. Of bones of one kind in a chain the topmost is taken; bones of one kind that do
/// not lie in a chain are those of several skeletons. A jaw is looked for only where `map` has one.
pub fn find_bones(nodes: &[RigNode<'_>], skins: &[Vec<usize>], map: &BoneMap) -> Vec<SkeletonNodes> {
    let joints: HashSet<usize> = skins.iter().flatten().copied().filter(|joint| *joint < nodes.len()).collect();
    let shared = shared_by_joints(nodes, &joints);
    let mut found: HashMap<BoneKind, Vec<(usize, bool, Match)>> = HashMap::new();
    for (index, node) in nodes.iter().enumerate().filter(|(_, node)| !node.is_skin) {
        let short = node.name.strip_prefix(shared).unwrap_or(node.name);
        let Some((kind, rank)) = kind_by(map, node.name, short) else { continue };
        let joint = joints.contains(&index);
        // An unknown word may be anything, except on a bone.
        if rank == Match::Unknown && !joint {
            continue;
        }
        found.entry(kind).or_default().push((index, joint, rank));
    }
    let above = |node: usize, other: usize| ancestors(nodes, node).any(|ancestor| ancestor == other);
    let group = Groups::new(nodes, skins);
    let chosen = |kind: BoneKind| -> Vec<usize> {
        let all = found.get(&kind).map_or(&[][..], Vec::as_slice);
        let named = |entry: &&(usize, bool, Match)| entry.2 == Match::Named;
        let any_named = all.iter().any(|entry| named(&entry));
        let any_joint = all.iter().any(|entry| entry.1);
        let usable: Vec<_> =
            all.iter().filter(|entry| if any_named { named(entry) } else { entry.1 == any_joint }).collect();
        // The surest of each skeleton, then the topmost of a chain.
        let mut surest: HashMap<usize, Match> = HashMap::new();
        for entry in &usable {
            let best = surest.entry(group.root(entry.0)).or_insert(entry.2);
            *best = (*best).max(entry.2);
        }
        let best: Vec<usize> = usable
            .iter()
            .filter(|entry| surest.get(&group.root(entry.0)) == Some(&entry.2))
            .map(|entry| entry.0)
            .collect();
        let all: HashSet<usize> = best.iter().copied().collect();
        best.into_iter().filter(|&node| !ancestors(nodes, node).any(|above| all.contains(&above))).collect()
    };
    let [heads, mut necks, mut left, mut right, mut jaws] = BoneKind::ALL.map(chosen);
    let mut skeletons: Vec<SkeletonNodes> =
        heads.iter().map(|&head| SkeletonNodes { head: Some(head), ..SkeletonNodes::default() }).collect();
    if skeletons.is_empty() {
        skeletons.push(SkeletonNodes::default());
    }
    let only = skeletons.len() == 1;
    // The bones that belong to a head: above or below it, of its skeleton, or all where there is but one head.
    let take = |list: &mut Vec<usize>, head: Option<usize>, near: &dyn Fn(usize, usize) -> bool| {
        let at = head.and_then(|head| list.iter().position(|&bone| near(bone, head)));
        let at = at.or_else(|| head.and_then(|head| list.iter().position(|&bone| group.same(bone, head))));
        at.or((only && !list.is_empty()).then_some(0)).map(|at| list.remove(at))
    };
    for skeleton in &mut skeletons {
        let head = skeleton.head;
        skeleton.neck = take(&mut necks, head, &|neck, head| above(head, neck));
        skeleton.eyes = [&mut left, &mut right].map(|eyes| take(eyes, head, &|eye, head| above(eye, head)));
        skeleton.jaw = take(&mut jaws, head, &|jaw, head| above(jaw, head));
    }
    // What is left belongs to skeletons without a head of their own.
    let mut rest = [necks, left, right, jaws].map(Vec::into_iter);
    loop {
        let [neck, left, right, jaw] = [rest[0].next(), rest[1].next(), rest[2].next(), rest[3].next()];
        if [neck, left, right, jaw].iter().all(Option::is_none) {
            break;
        }
        skeletons.push(SkeletonNodes { head: None, neck, eyes: [left, right], jaw });
    }
    skeletons.retain(|skeleton| *skeleton != SkeletonNodes::default());
    skeletons
}

impl SkeletonNodes {
    /// The bones of `found` with those that the model's file declares, whatever their names are: the declared head is the
    /// only one, and other bones take the place of those that were found by name. `jaw`: whether a jaw is moved.
    pub fn with_declared(mut found: Vec<Self>, declared: Self, jaw: bool) -> Vec<Self> {
        if declared.head.is_some() {
            // Other heads are parts of what it wears.
            let same = found.iter().position(|skeleton| skeleton.head == declared.head);
            found = vec![same.map_or_else(Self::default, |same| found[same])];
        } else if found.is_empty() {
            found.push(Self::default());
        }
        if let Some(first) = found.first_mut() {
            first.head = declared.head.or(first.head);
            first.neck = declared.neck.or(first.neck);
            first.jaw = declared.jaw.filter(|_| jaw).or(first.jaw);
            first.eyes = [declared.eyes[0].or(first.eyes[0]), declared.eyes[1].or(first.eyes[1])];
        }
        found
    }
}

fn ancestors<'a>(nodes: &'a [RigNode<'_>], node: usize) -> impl Iterator<Item = usize> + 'a {
    let mut at = node;
    std::iter::from_fn(move || {
        // A parent comes before its child, so that no list of nodes can go round in circles.
        let parent = nodes.get(at)?.parent.filter(|parent| *parent < at)?;
        at = parent;
        Some(parent)
    })
}

/// What most joints begin with, up to a separator: `Character1_`, `Armature_Bob_`.
fn shared_by_joints<'a>(nodes: &[RigNode<'a>], joints: &HashSet<usize>) -> &'a str {
    let mut counts: HashMap<&'a str, usize> = HashMap::new();
    for name in joints.iter().filter_map(|joint| nodes.get(*joint)).map(|node| node.name) {
        for (at, separator) in name.char_indices().filter(|(_, letter)| matches!(letter, '_' | '-' | ' ' | '.' | ':')) {
            *counts.entry(&name[..at + separator.len_utf8()]).or_default() += 1;
        }
    }
    let most = joints.len() / 2;
    counts
        .into_iter()
        .filter(|(_, count)| *count > most.max(2))
        .map(|(prefix, _)| prefix)
        .max_by_key(|it| it.len())
        .unwrap_or("")
}

/// Which skeleton a node belongs to: joints of one skin are of one, and so are joints below a joint.
struct Groups(Vec<usize>);

impl Groups {
    fn new(nodes: &[RigNode<'_>], skins: &[Vec<usize>]) -> Self {
        let mut groups = Self((0..nodes.len()).collect());
        let joints: HashSet<usize> = skins.iter().flatten().copied().filter(|joint| *joint < nodes.len()).collect();
        for skin in skins {
            let mut of = skin.iter().copied().filter(|joint| *joint < nodes.len());
            if let Some(first) = of.next() {
                of.for_each(|joint| groups.unite(first, joint));
            }
        }
        for &joint in &joints {
            if let Some(above) = ancestors(nodes, joint).find(|above| joints.contains(above)) {
                groups.unite(joint, above);
            }
        }
        // Nodes that are no joints are of the skeleton that they hang on, and all others are one.
        let mut free = None;
        for node in (0..nodes.len()).filter(|node| !joints.contains(node)) {
            match ancestors(nodes, node).find(|above| joints.contains(above)) {
                Some(above) => groups.unite(above, node),
                None => groups.unite(*free.get_or_insert(node), node),
            }
        }
        groups
    }

    fn root(&self, mut node: usize) -> usize {
        while self.0[node] != node {
            node = self.0[node];
        }
        node
    }

    fn unite(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }

    fn same(&self, a: usize, b: usize) -> bool {
        self.root(a) == self.root(b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{EyeBones, HeadBone, JawBone};

    #[test]
    fn bone_names_of_other_languages() {
        use BoneKind::{EyeLeft, EyeRight, Head, Jaw, Neck};
        for (kind, names) in [
            (
                Head,
                &["Kopf", "Tête", "Te\u{302}te", "TÊTE", "cabeza", "Testa_01", "Cabeça", "Armature_Kopf", "def_kopf"][..],
            ),
            (Neck, &["Hals", "Cou", "Cuello", "Collo.001", "Pescoço"]),
            (
                EyeLeft,
                &[
                    "Auge_links",
                    "AugeL",
                    "Linkes_Auge",
                    "Œil_gauche",
                    "ojo_izquierdo",
                    "Ojo.L",
                    "occhio_sx",
                    "Olho_E_esquerdo",
                ],
            ),
            (EyeRight, &["Auge_rechts", "OeilDroit", "ojo_derecho", "occhio_destro", "Olho.R"]),
            (Jaw, &["Kiefer", "Unterkiefer", "Mâchoire", "Mandíbula", "mandibola", "Mascella"]),
        ] {
            for name in names {
                assert_eq!(bone_kind(name), Some(kind), "{name}");
            }
        }
        for name in ["Kopf_ik", "Oberkiefer", "Kopfkissen", "Auge", "Tetra", "Halsband", "Augenlid_L", "Testament"] {
            assert_eq!(bone_kind(name), None, "{name}");
        }
    }

    #[test]
    fn bone_names_of_known_rigs() {
        use BoneKind::{EyeLeft, EyeRight, Head, Jaw, Neck};
        for (kind, names) in [
            (
                Head,
                &[
                    "Head",
                    "head",
                    "HEAD",
                    "Head.001",
                    "Head_13",
                    "Head_06_59",
                    "mixamorig:Head",
                    "mixamorigHead",
                    "mixamorig1Head",
                    "mixamorig1:Head",
                    "mixamorig_Head",
                    "mixamorig:Head_06",
                    "mixamorighead",
                    "head_JNT",
                    "jnt_head",
                    "Head_jnt_05",
                    "head.x",
                    "Head_M",
                    "M_head_jnt",
                    "C_head_JNT",
                    "cn_head",
                    "DEF-spine.006",
                    "DEF-head",
                    "ORG-spine.006",
                    "spine.006",
                    "Character1_Head",
                    "head_Armature",
                    "Armature_Head",
                    "J_Bip_C_Head",
                    "CC_Base_Head",
                    "Bip001 Head",
                    "Bip01_Head",
                    "Bip001 Head_010",
                    "ValveBiped.Bip01_Head1",
                    "mHead",
                    "bone_head",
                    "headBone",
                    "HeadJoint",
                    "joint_Head",
                    "b_Head",
                    "BN_Head",
                    "head_bind",
                    "Bob_Head",
                    "rig|head",
                    "ns:rig:Head",
                    "head neck upper",
                    "頭",
                    "頭部",
                    "atama",
                ][..],
            ),
            (
                Neck,
                &[
                    "Neck",
                    "neck",
                    "Neck1",
                    "neck_01",
                    "neck.x",
                    "Neck_M",
                    "J_Bip_C_Neck",
                    "CC_Base_NeckTwist01",
                    "DEF-spine.004",
                    "DEF-spine.005",
                    "DEF-neck",
                    "neckLower",
                    "neckUpper",
                    "mixamorig:Neck",
                    "Bip01 Neck",
                    "Character1_Neck",
                    "Neck_JNT",
                    "mNeck",
                    "首",
                    "head neck lower",
                    "Neck.001",
                ],
            ),
            (
                EyeLeft,
                &[
                    "EyeLeft",
                    "LeftEye",
                    "eye_L",
                    "eye.L",
                    "eye.l",
                    "L_Eye",
                    "lEye",
                    "l_eye",
                    "eyeL",
                    "lefteye",
                    "Eye_Left",
                    "left_eye_jnt",
                    "J_Adj_L_FaceEye",
                    "FACIAL_L_Eye",
                    "CC_Base_L_Eye",
                    "DEF-eye.L",
                    "c_eye.l",
                    "mixamorig:LeftEye",
                    "Eye_L_JNT",
                    "eyeball_l",
                    "LeftEyeBall",
                    "head eyeball left",
                    "mEyeLeft",
                    "eye.L.001",
                    "Bip001 LEye",
                    "左目",
                    "左眼",
                    "目.L",
                    "lefteyebone",
                    "EyeLeft_07",
                    "leye",
                ],
            ),
            (
                EyeRight,
                &["EyeRight", "RightEye", "eye_R", "R_Eye", "rEye", "FACIAL_R_Eye", "右目", "eyeR", "mEyeRight"],
            ),
            (
                Jaw,
                &[
                    "Jaw",
                    "jaw",
                    "jaw_JNT",
                    "lowerJaw",
                    "lowerjaw",
                    "CC_Base_JawRoot",
                    "FACIAL_C_Jaw",
                    "DEF-jaw",
                    "Jaw_M",
                    "jawbone.x",
                    "c_jawbone.x",
                    "head jaw",
                    "mandible",
                    "あご",
                    "jawRoot",
                    "mFaceJaw",
                ],
            ),
        ] {
            for name in names {
                assert_eq!(bone_kind(name), Some(kind), "{name}");
            }
        }
        for name in [
            "HeadTop_End",
            "HeadEnd_M",
            "head_end",
            "Bip001 HeadNub",
            "headband",
            "Headphones",
            "Forehead",
            "Eyelid_L",
            "eyebrow_L",
            "eye_target_L",
            "LeftEyeLid",
            "UpperJaw",
            "CC_Base_UpperJaw",
            "Necklace",
            "両目",
            "eyes",
            "FACIAL_L_EyelidUpperA",
            "shoulder_head_L",
            "JawEnd_M",
            "頭先",
            "head_ctrl",
            "Spine",
            "spine.003",
            "Arrowhead",
            "EyeLash_L",
            "HairHead",
            "",
            "_",
            "L",
            "head_ik",
        ] {
            assert_eq!(bone_kind(name), None, "{name}");
        }
    }

    /// Nodes by `name > child`, each a list from the top.
    fn tree<'a>(paths: &[&[&'a str]]) -> Vec<RigNode<'a>> {
        let mut nodes: Vec<RigNode<'a>> = Vec::new();
        for path in paths {
            let mut parent = None;
            for &name in *path {
                let known = nodes.iter().position(|node| node.name == name && node.parent == parent);
                parent = Some(known.unwrap_or_else(|| {
                    nodes.push(RigNode { name, parent, is_skin: false });
                    nodes.len() - 1
                }));
            }
        }
        nodes
    }

    fn named(nodes: &[RigNode<'_>], names: &[&str]) -> Vec<usize> {
        names.iter().filter_map(|name| nodes.iter().position(|node| node.name == *name)).collect()
    }

    fn heads<'a>(nodes: &[RigNode<'a>], skins: &[Vec<usize>]) -> Vec<&'a str> {
        let found = find_bones(nodes, skins, &BoneMap::default());
        found.iter().filter_map(|skeleton| skeleton.head).map(|head| nodes[head].name).collect()
    }

    #[test]
    fn bones_of_a_skin_come_before_nodes_of_the_same_name() {
        let nodes = tree(&[
            &["Head"],
            &["Armature", "Hips", "Neck", "Head_1", "EyeL"],
            &["Armature", "Hips", "Neck", "Head_1", "EyeR"],
        ]);
        let skin = named(&nodes, &["Hips", "Neck", "Head_1", "EyeL", "EyeR"]);
        assert_eq!(heads(&nodes, &[skin]), ["Head_1"]);
        assert_eq!(heads(&nodes, &[]), ["Head", "Head_1"], "without a skin both may be parts of the model");
    }

    #[test]
    fn bones_of_several_skeletons_are_found_each_with_its_own() {
        let nodes = tree(&[
            &["A", "Hips", "Neck", "Head", "LeftEye"],
            &["B", "Hips.001", "Neck.001", "Head.001", "LeftEye.001"],
        ]);
        let skins = [
            named(&nodes, &["Hips", "Neck", "Head", "LeftEye"]),
            named(&nodes, &["Hips.001", "Neck.001", "Head.001", "LeftEye.001"]),
        ];
        let found = find_bones(&nodes, &skins, &BoneMap::default());
        let names: Vec<_> = found
            .iter()
            .map(|it| [it.head, it.neck, it.eyes[0]].map(|bone| bone.map_or("", |bone| nodes[bone].name)))
            .collect();
        assert_eq!(names, [["Head", "Neck", "LeftEye"], ["Head.001", "Neck.001", "LeftEye.001"]]);
        // A head on a head would turn twice.
        let nodes = tree(&[&["Hips", "Head", "Hat", "Head.001"]]);
        assert_eq!(heads(&nodes, &[named(&nodes, &["Hips", "Head"]), named(&nodes, &["Hat", "Head.001"])]), ["Head"]);
    }

    #[test]
    fn deforming_bones_come_before_controls_and_surer_names_before_others() {
        let nodes = tree(&[
            &["rig", "head"],
            &["rig", "DEF-spine", "DEF-spine.005", "DEF-spine.006"],
            &["rig", "ORG-spine.006"],
        ]);
        let joints = (1..nodes.len()).collect();
        assert_eq!(heads(&nodes, &[joints]), ["DEF-spine.006"]);
        let nodes = tree(&[&["root", "Hammer_Head"], &["root", "Spine", "Head_09"]]);
        assert_eq!(heads(&nodes, &[(0..nodes.len()).collect()]), ["Head_09"]);
        let nodes = tree(&[&["root", "neck1", "neck2", "Head_09"]]);
        let found = find_bones(&nodes, &[(0..nodes.len()).collect()], &BoneMap::default());
        assert_eq!(found[0].neck, Some(1), "the lower of two bones of a neck turns both");
    }

    #[test]
    fn bones_of_whole_skeletons_of_known_rigs() {
        // Head, neck, eyes and jaw, after the paths from the top.
        for (paths, wanted) in [
            (
                "センター>上半身>首>頭>左目;センター>上半身>首>頭>右目;センター>上半身>首>頭>両目;センター>上半身>首>頭>あご",
                ["頭", "首", "左目", "右目", "あご"],
            ),
            (
                "hip>chestUpper>neckLower>neckUpper>head>lEye;hip>chestUpper>neckLower>neckUpper>head>rEye;\
                 hip>chestUpper>neckLower>neckUpper>head>lowerJaw;hip>chestUpper>neckLower>neckUpper>head>upperTeeth",
                ["head", "neckLower", "lEye", "rEye", "lowerJaw"],
            ),
            (
                "spine_05>neck_01>neck_02>head>FACIAL_L_Eye>FACIAL_L_EyeParallel;spine_05>neck_01>neck_02>head>FACIAL_R_Eye;\
                 spine_05>neck_01>neck_02>FACIAL_C_Neck1Root;spine_05>neck_01>neck_02>head>FACIAL_C_Jaw",
                ["head", "neck_01", "FACIAL_L_Eye", "FACIAL_R_Eye", "FACIAL_C_Jaw"],
            ),
            (
                "rig>neck>head>eyes>eye.L;rig>DEF-spine.003>DEF-spine.004>DEF-spine.005>DEF-spine.006;rig>ORG-eye.L;\
                 rig>MCH-eye.L;rig>DEF-eye.L;rig>DEF-eye.R;rig>DEF-jaw;rig>master_eye.L",
                ["DEF-spine.006", "DEF-spine.004", "DEF-eye.L", "DEF-eye.R", "DEF-jaw"],
            ),
            (
                "root.x>neck.x>head.x>c_eye_offset.l>c_eye.l;root.x>neck.x>head.x>c_eye_offset.r>c_eye.r;\
                 root.x>neck.x>head.x>c_jawbone.x;root.x>neck.x>head.x>c_eyelid_top.l",
                ["head.x", "neck.x", "c_eye.l", "c_eye.r", "c_jawbone.x"],
            ),
        ] {
            let paths: Vec<Vec<&str>> = paths.split(';').map(|path| path.split('>').collect()).collect();
            let paths: Vec<&[&str]> = paths.iter().map(Vec::as_slice).collect();
            let nodes = tree(&paths);
            let map = BoneMap { jaw: Some(JawBone::default()), ..BoneMap::default() };
            let found = find_bones(&nodes, &[(0..nodes.len()).collect()], &map);
            assert_eq!(found.len(), 1, "{found:?}");
            let SkeletonNodes { head, neck, eyes, jaw } = found[0];
            let names = [head, neck, eyes[0], eyes[1], jaw].map(|bone| bone.map_or("", |bone| nodes[bone].name));
            assert_eq!(names, wanted);
        }
    }

    #[test]
    fn bones_behind_a_prefix_of_the_rig_are_found() {
        let nodes = tree(&[&["HatGirl_Hips", "HatGirl_Neck", "HatGirl_Head", "HatGirl_Hair"]]);
        assert_eq!(heads(&nodes, &[(0..4).collect()]), ["HatGirl_Head"]);
        assert_eq!(heads(&tree(&[&["HatGirl_Head"]]), &[]), [] as [&str; 0]);
    }

    #[test]
    fn bones_named_by_a_mapping_come_first_and_a_jaw_is_found_where_it_is_asked_for() {
        let nodes = tree(&[&["Hips", "Head", "Kopf", "Jaw"]]);
        let map = BoneMap {
            head: Some(HeadBone { bones: vec!["Kopf".to_owned()], ..HeadBone::default() }),
            eyes: Some(EyeBones::default()),
            ..BoneMap::default()
        };
        let found = find_bones(&nodes, &[], &map);
        assert_eq!((found[0].head, found[0].jaw), (Some(2), None));
        let map = BoneMap { jaw: Some(JawBone::default()), ..map };
        assert_eq!(find_bones(&nodes, &[], &map)[0].jaw, Some(3));
        assert!(find_bones(&[], &[vec![7]], &map).is_empty());
    }

    #[test]
    fn meshes_named_like_bones_are_not_turned() {
        let mut nodes = tree(&[&["Armature", "Head"], &["Head_geo"]]);
        nodes[1].is_skin = true;
        assert!(heads(&nodes, &[]).iter().all(|head| *head != "Head"));
    }
}
