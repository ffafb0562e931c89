//! Channels of a face by name, as rules read them.

use serde::Serialize;

use crate::{
    frame::Channel,
    names::{BLENDSHAPE_COUNT, Blendshape},
};

use super::{
    key::shape_of_channel,
    rule::{Combine, Input},
};

/// Names of the channels of the head's rotation.
const HEAD: [&str; 3] = ["headYaw", "headPitch", "headRoll"];

/// The face of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Face<'a> {
    /// Weights by [`Blendshape::index`].
    pub weights: &'a [f32; BLENDSHAPE_COUNT],
    /// Channels besides the shapes.
    pub channels: &'a [Channel],
    /// The head's yaw (positive to its own left), pitch (positive up) and roll (positive to its own left shoulder),
    /// radians.
    pub head: [f32; 3],
}

impl Default for Face<'_> {
    fn default() -> Self {
        Self { weights: &[0.0; BLENDSHAPE_COUNT], channels: &[], head: [0.0; 3] }
    }
}

/// One channel of a compiled rule.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Operand {
    /// Place among the inputs: the 52 shapes first, by [`Blendshape::index`].
    pub input: usize,
    pub gain: f32,
    pub offset: f32,
}

/// The channels that rules read: the 52 shapes, the three of the head, and others by their names.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Inputs {
    others: Vec<String>,
}

impl Inputs {
    /// The place of a channel's value, which is added if no rule has read it so far.
    pub fn place(&mut self, name: &str) -> usize {
        if let Some(shape) = shape_of_channel(name) {
            return shape.index();
        }
        if let Some(axis) = HEAD.iter().position(|head| *head == name) {
            return BLENDSHAPE_COUNT + axis;
        }
        let known = self.others.iter().position(|other| other == name);
        let place = known.unwrap_or_else(|| {
            self.others.push(name.to_owned());
            self.others.len() - 1
        });
        BLENDSHAPE_COUNT + HEAD.len() + place
    }

    pub fn operand(&mut self, input: &Input) -> Operand {
        Operand { input: self.place(&input.channel), gain: input.gain, offset: input.offset }
    }

    /// The values of a face, into room that is kept from frame to frame. `mirror` exchanges left and right.
    pub fn read(&self, face: &Face<'_>, mirror: bool, values: &mut Vec<f32>) {
        values.clear();
        if mirror {
            values.extend(MIRRORED.iter().map(|other| face.weights[*other]));
        } else {
            values.extend_from_slice(face.weights);
        }
        let side = if mirror { -1.0 } else { 1.0 };
        values.extend([face.head[0] * side, face.head[1], face.head[2] * side]);
        values.extend(self.others.iter().map(|name| {
            face.channels.iter().find(|channel| *channel.name == **name).map_or(0.0, |channel| channel.value)
        }));
    }
}

impl Combine {
    /// One value of these channels; 0 of none.
    pub(crate) fn of(self, operands: &[Operand], inputs: &[f32]) -> f32 {
        let count = operands.len();
        let mut operands = operands.iter().map(|of| inputs[of.input] * of.gain + of.offset);
        let first = operands.next().unwrap_or(0.0);
        match self {
            Self::Sum => operands.fold(first, |sum, value| sum + value),
            Self::Average => operands.fold(first, |sum, value| sum + value) / count.max(1) as f32,
            Self::Multiply => operands.fold(first, |product, value| product * value),
            Self::Min => operands.fold(first, f32::min),
            Self::Max => operands.fold(first, f32::max),
        }
    }
}

/// The shape on the other side, by index.
static MIRRORED: std::sync::LazyLock<[usize; BLENDSHAPE_COUNT]> =
    std::sync::LazyLock::new(|| Blendshape::ALL.map(|shape| shape.mirrored().index()));
