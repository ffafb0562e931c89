//! The probability model: how a face changes from one frame to another.

use super::{
    coder::{RangeDecoder, RangeEncoder},
    quantised::{Quantised, can_follow},
    sizes::{ACTIVITIES, GROUPS, KINDS, LAGS, NEAR, OTHER_SIZES, SIZES},
    tables::{ACTIVITY, MAGNITUDE, MOVED, OTHER_MAGNITUDE, OTHER_MOVED, SIGN},
};
use crate::{
    FaceFrame,
    groups::ChannelGroup,
    names::{BLENDSHAPE_COUNT, Blendshape},
    wire::facelink1::Clock,
};

const EVEN: u16 = 1 << 15;

/// How far back the other frame lies, by the difference of their numbers.
pub(super) const fn lag(distance: u8) -> usize {
    match distance {
        0..=1 => 0,
        2 => 1,
        3..=4 => 2,
        5..=8 => 3,
        9..=16 => 4,
        _ => 5,
    }
}

const fn activity(moved: usize) -> usize {
    match moved {
        0 => 0,
        1..=4 => 1,
        5..=12 => 2,
        13..=24 => 3,
        _ => 4,
    }
}

/// The shape on the other side of the face, where it comes first.
const PARTNERS: [Option<u8>; BLENDSHAPE_COUNT] = {
    let mut partners = [None; BLENDSHAPE_COUNT];
    let mut i = 0;
    while i < BLENDSHAPE_COUNT {
        let name = Blendshape::ALL[i].name().as_bytes();
        let mut k = 0;
        while k < i {
            if are_sides(Blendshape::ALL[k].name().as_bytes(), name) {
                partners[i] = Some(k as u8);
            }
            k += 1;
        }
        i += 1;
    }
    partners
};

/// `...Left` and `...Right`.
const fn are_sides(a: &[u8], b: &[u8]) -> bool {
    let (left, right) = if a.len() < b.len() { (a, b) } else { (b, a) };
    if right.len() != left.len() + 1 || left.len() < 5 {
        return false;
    }
    let stem = left.len() - 4;
    let mut i = 0;
    while i < stem {
        if left[i] != right[i] {
            return false;
        }
        i += 1;
    }
    left[stem] == b'L' && left[stem + 1] == b'e' && right[stem] == b'R' && right[stem + 1] == b'i'
}

/// Which entry of which table decides.
#[derive(Clone, Copy, Debug)]
enum Entry {
    Activity(usize, usize),
    Moved(usize, usize, usize, usize, usize),
    Sign(usize, usize),
    Magnitude(usize, usize, usize, usize),
    OtherMoved(usize, usize),
    OtherMagnitude(usize, usize, usize),
    Even,
}

/// Probabilities that a decision is `false`, in 1/65536.
fn zero(entry: Entry) -> u16 {
    match entry {
        Entry::Activity(lag, step) => ACTIVITY[lag][step],
        Entry::Moved(lag, activity, group, near, rest) => MOVED[lag][activity - 1][group][near][rest],
        Entry::Sign(partner, before) => SIGN[partner][before],
        Entry::Magnitude(lag, activity, group, size) => MAGNITUDE[lag][activity - 1][group][size],
        Entry::OtherMoved(lag, kind) => OTHER_MOVED[lag][kind],
        Entry::OtherMagnitude(lag, kind, size) => OTHER_MAGNITUDE[lag][kind][size],
        Entry::Even => EVEN,
    }
}

/// An encoder or a decoder of decisions.
trait Coder {
    /// Codes one: when writing, `bit` is it.
    fn code(&mut self, bit: bool, entry: Entry) -> bool;
}

impl Coder for RangeEncoder {
    fn code(&mut self, bit: bool, entry: Entry) -> bool {
        self.bit(bit, zero(entry));
        bit
    }
}

impl Coder for RangeDecoder<'_> {
    fn code(&mut self, _: bool, entry: Entry) -> bool {
        self.bit(zero(entry))
    }
}

/// A size of at least 1: how many bits it has, then those below the highest.
fn size<C: Coder>(coder: &mut C, value: u32, most: usize, mut entry: impl FnMut(usize) -> Entry) -> u32 {
    let wanted = (u32::BITS - 1 - value.max(1).leading_zeros()) as usize;
    let mut bits = 0;
    while bits < most - 1 && coder.code(bits < wanted, entry(bits)) {
        bits += 1;
    }
    let mut read = 1_u32;
    for place in (0..bits).rev() {
        read = read << 1 | u32::from(coder.code(value >> place & 1 == 1, Entry::Even));
    }
    read
}

/// Writes the changes; both have the same fields.
pub(super) fn write(reference: &Quantised, new: &Quantised, lag: usize, coder: &mut RangeEncoder) {
    walk(reference, &mut new.clone(), lag, coder);
}

/// Reads the changes.
pub(super) fn read(reference: &Quantised, new: &mut Quantised, lag: usize, coder: &mut RangeDecoder<'_>) {
    walk(reference, new, lag, coder);
}

/// The same walk for writing and for reading.
fn walk<C: Coder>(reference: &Quantised, new: &mut Quantised, lag: usize, coder: &mut C) {
    let moved = reference.weights.iter().zip(&new.weights).filter(|(a, b)| a != b).count();
    let wanted = activity(moved);
    let mut active = 0;
    while active < ACTIVITIES - 1 && coder.code(active < wanted, Entry::Activity(lag, active)) {
        active += 1;
    }
    if active > 0 {
        shapes(reference, new, lag, active, coder);
    } else {
        new.weights = reference.weights;
    }
    for place in new.places() {
        let kind = match place {
            0..3 => 0,
            3..6 => 1,
            _ => 2,
        };
        let from = reference.others[place];
        let by = new.others[place].wrapping_sub(from);
        if !coder.code(by != 0, Entry::OtherMoved(lag, kind)) {
            new.others[place] = from;
            continue;
        }
        let down = coder.code(by < 0, Entry::Even);
        let by = size(coder, by.unsigned_abs(), OTHER_SIZES, |bits| Entry::OtherMagnitude(lag, kind, bits));
        let by = i32::try_from(by).unwrap_or(0);
        new.others[place] = if down { from - by } else { from + by };
    }
}

fn shapes<C: Coder>(reference: &Quantised, new: &mut Quantised, lag: usize, active: usize, coder: &mut C) {
    // 0 still, 1 up, 2 down.
    let mut directions = [0_usize; BLENDSHAPE_COUNT];
    let mut before = 0;
    for i in 0..BLENDSHAPE_COUNT {
        let group = ChannelGroup::of(Blendshape::ALL[i]) as usize;
        let partner = PARTNERS[i].map_or(before, |partner| directions[usize::from(partner)]);
        let near = usize::from(before != 0) + usize::from(partner != 0);
        let from = reference.weights[i];
        let rest = usize::from(from == 0);
        let by = i32::from(new.weights[i]) - i32::from(from);
        if !coder.code(by != 0, Entry::Moved(lag, active, group, near, rest)) {
            new.weights[i] = from;
            before = 0;
            continue;
        }
        let down = match from {
            0 => false,
            255 => true,
            _ => coder.code(by < 0, Entry::Sign(partner, before)),
        };
        let by = size(coder, by.unsigned_abs(), SIZES, |bits| Entry::Magnitude(lag, active, group, bits));
        // A malicious packet may exceed the range.
        let by = by.min(255) as u8;
        new.weights[i] = if down { from.saturating_sub(by) } else { from.saturating_add(by) };
        directions[i] = if down { 2 } else { 1 };
        before = directions[i];
    }
}

/// Counts decisions, to make the tables from recordings.
#[derive(Clone, Debug, Default)]
pub struct Trainer {
    counts: std::collections::HashMap<(u8, [u8; 5]), [u64; 2]>,
}

fn key(entry: Entry) -> (u8, [u8; 5]) {
    let of = |places: &[usize]| {
        let mut key = [0; 5];
        for (key, place) in key.iter_mut().zip(places) {
            *key = *place as u8;
        }
        key
    };
    match entry {
        Entry::Activity(a, b) => (0, of(&[a, b])),
        Entry::Moved(a, b, c, d, e) => (1, of(&[a, b - 1, c, d, e])),
        Entry::Sign(a, b) => (2, of(&[a, b])),
        Entry::Magnitude(a, b, c, d) => (3, of(&[a, b - 1, c, d])),
        Entry::OtherMoved(a, b) => (4, of(&[a, b])),
        Entry::OtherMagnitude(a, b, c) => (5, of(&[a, b, c])),
        Entry::Even => (6, [0; 5]),
    }
}

impl Coder for Trainer {
    fn code(&mut self, bit: bool, entry: Entry) -> bool {
        self.counts.entry(key(entry)).or_default()[usize::from(bit)] += 1;
        bit
    }
}

/// The cost of a decision by the tables that a trainer would make.
struct Cost<'a>(&'a Trainer, f32);

impl Coder for Cost<'_> {
    fn code(&mut self, bit: bool, entry: Entry) -> bool {
        let zero = f32::from(self.0.probability(entry)) / 65536.0;
        self.1 -= if bit { 1.0 - zero } else { zero }.log2();
        bit
    }
}

fn quantised(frames: &[FaceFrame]) -> Vec<Quantised> {
    frames.iter().zip(0_u32..).filter_map(|(frame, i)| Quantised::of(frame, Clock::Own, i)).collect()
}

fn pairs(steps: &[Quantised], distance: u8) -> impl Iterator<Item = (&Quantised, &Quantised)> {
    let pairs = steps.windows(usize::from(distance) + 1).map(move |pair| (&pair[0], &pair[usize::from(distance)]));
    pairs.filter(|(reference, new)| can_follow(reference, new))
}

impl Trainer {
    /// Counts what it takes to get from one frame of a recording to each of those behind it, at the lags of the table.
    pub fn learn(&mut self, frames: &[FaceFrame]) {
        let steps = quantised(frames);
        for distance in [1, 2, 3, 4, 6, 8, 12, 16, 20, 24] {
            for (reference, new) in pairs(&steps, distance) {
                walk(reference, &mut new.clone(), lag(distance), self);
            }
        }
    }

    /// Bits that each frame of a recording would take by the tables that were learnt from others.
    pub fn bits(&self, frames: &[FaceFrame], distance: u8) -> Vec<f32> {
        let steps = quantised(frames);
        let bits = pairs(&steps, distance).map(|(reference, new)| {
            let mut cost = Cost(self, 0.0);
            walk(reference, &mut new.clone(), lag(distance), &mut cost);
            cost.1
        });
        bits.collect()
    }

    fn probability(&self, entry: Entry) -> u16 {
        if matches!(entry, Entry::Even) {
            return EVEN;
        }
        let [zeros, ones] = self.counts.get(&key(entry)).copied().unwrap_or_default();
        // A small prior, so that nothing is impossible.
        let share = (zeros as f64 + 0.4) / ((zeros + ones) as f64 + 0.8);
        (share * 65536.0).clamp(64.0, 65472.0) as u16
    }

    fn list(&self, sizes: &[usize], entry: &dyn Fn(&[usize]) -> Entry, places: &mut Vec<usize>, out: &mut String) {
        let Some((count, inner)) = sizes.split_first() else {
            out.push_str(&self.probability(entry(places)).to_string());
            return;
        };
        out.push('[');
        for i in 0..*count {
            if i > 0 {
                out.push_str(", ");
            }
            places.push(i);
            self.list(inner, entry, places, out);
            places.pop();
        }
        out.push(']');
    }

    /// The tables as Rust source.
    pub fn source(&self) -> String {
        const MOVES: usize = ACTIVITIES - 1;
        type Table<'a> = (&'a str, &'a str, &'a str, &'a [usize], &'a dyn Fn(&[usize]) -> Entry);
        let tables: [Table<'_>; 6] = [
            ("More shapes move than this.", "ACTIVITY", "[[u16; ACTIVITIES - 1]; LAGS]", &[LAGS, MOVES], &|p| {
                Entry::Activity(p[0], p[1])
            }),
            (
                "A shape moves, by its group, its neighbours, and whether it was at rest.",
                "MOVED",
                "[[[[[u16; 2]; NEAR]; GROUPS]; ACTIVITIES - 1]; LAGS]",
                &[LAGS, MOVES, GROUPS, NEAR, 2],
                &|p| Entry::Moved(p[0], p[1] + 1, p[2], p[3], p[4]),
            ),
            ("It goes down, by how its partner and the one before it went.", "SIGN", "[[u16; 3]; 3]", &[3, 3], &|p| {
                Entry::Sign(p[0], p[1])
            }),
            (
                "Its step has more bits.",
                "MAGNITUDE",
                "[[[[u16; SIZES]; GROUPS]; ACTIVITIES - 1]; LAGS]",
                &[LAGS, MOVES, GROUPS, SIZES],
                &|p| Entry::Magnitude(p[0], p[1] + 1, p[2], p[3]),
            ),
            (
                "A part of rotation, position or gaze changes.",
                "OTHER_MOVED",
                "[[u16; KINDS]; LAGS]",
                &[LAGS, KINDS],
                &|p| Entry::OtherMoved(p[0], p[1]),
            ),
            (
                "Its step has more bits.",
                "OTHER_MAGNITUDE",
                "[[[u16; OTHER_SIZES]; KINDS]; LAGS]",
                &[LAGS, KINDS, OTHER_SIZES],
                &|p| Entry::OtherMagnitude(p[0], p[1], p[2]),
            ),
        ];
        let mut out = String::from(
            "//! Probabilities, in 1/65536, that a decision is `false`. Made by `cargo run -p facelink --example \
             train_delta`.\n\nuse super::sizes::{ACTIVITIES, GROUPS, KINDS, LAGS, NEAR, OTHER_SIZES, SIZES};\n",
        );
        for (about, name, kind, sizes, entry) in tables {
            out.push_str(&format!("\n/// {about}\n#[rustfmt::skip]\npub(super) const {name}: {kind} = "));
            let mut values = String::new();
            self.list(sizes, entry, &mut Vec::new(), &mut values);
            let mut width = 0;
            for word in values.split_inclusive(", ") {
                if width + word.len() > 112 {
                    out.truncate(out.trim_end().len());
                    out.push_str("\n    ");
                    width = 0;
                }
                width += word.len();
                out.push_str(word);
            }
            out.push_str(";\n");
        }
        out
    }
}
