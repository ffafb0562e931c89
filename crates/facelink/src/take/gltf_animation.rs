//! Faces out of glTF 2.0 animations: morph targets (`weights`), VRM expressions, head and eyes.
//!
//! The first animation that moves a face is read. In a file with `VRMC_vrm_animation`, expressions are the x of their nodes'
//! translations, the head is the humanoid's, and the gaze is the rotation of the `lookAt` node. In others, targets are those of
//! all meshes, by name, and head and eyes are bones with the usual names; their turns are relative to the rest of the
//! file. Names may be those of any face that a preset knows; others become channels.
//!
//! A take has a frame at every key, and at least 60 a second in between, so that nothing is held where the file has a straight
//! line. Accessors are read with their component types; sparse ones, compressed data and other files are refused.
//!
//! Sources: the glTF 2.0 specification, sections 3.6 and 3.11 and appendix C (interpolation); the VRM specification,
//! `VRMC_vrm_animation-1.0`.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use base64::Engine;
use serde_json::Value;

use super::{
    dialect::Names,
    frames::{Take, TakeError, TakeFrame},
    gltf::Nodes,
};
use crate::{
    frame::{EyeGaze, FaceFrame, Gaze, HeadPose},
    mapping::BoneMap,
    model::{ModelError, Vrm, glb},
    wire::profile::{EulerOrder, IDENTITY, inverse, normalized, product, to_angles},
};

/// Most frames of a take that is read, without those at keys and for each key.
const MAX_FRAMES: usize = 4096;
const MAX_FRAMES_EACH: usize = 64;
/// Longest animation, seconds.
const MAX_SECONDS: f32 = 86_400.0;
/// Frames are no further apart than this, seconds.
const MAX_STEP: f64 = 1.0 / 60.0;
/// And than this where that would make too many of few keys: a take holds a face over what is longer.
const LONG_STEP: f64 = 0.24;
/// Most bytes of text that hold a buffer.
const MAX_DATA: usize = 1 << 30;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GltfAnimationError {
    /// It is no glTF file, or a field is not as glTF defines it.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// No animation moves a face.
    #[error("field `animations`: none moves morph targets or expressions under known names, a head, or eyes")]
    NoFace,
    /// There are no frames.
    #[error(transparent)]
    Take(#[from] TakeError),
}

fn bad(field: impl Into<String>, message: impl Into<String>) -> ModelError {
    ModelError::Field { field: field.into(), message: message.into() }
}

/// A field of a document by its path, such as `accessors`, 3.
struct Document<'a> {
    json: &'a Value,
    buffers: Vec<std::borrow::Cow<'a, [u8]>>,
}

fn array<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn index(value: &Value, name: &str) -> Option<usize> {
    value.get(name)?.as_u64().and_then(|index| usize::try_from(index).ok())
}

impl<'a> Document<'a> {
    fn new(json: &'a Value, binary: Option<&'a [u8]>) -> Self {
        let buffers = array(json, "buffers").iter().enumerate().map(|(at, buffer)| match buffer.get("uri") {
            None if at == 0 => binary.unwrap_or_default().into(),
            Some(Value::String(uri)) => {
                let text = uri.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
                let text = text.map(|(_, text)| text).filter(|text| text.len() <= MAX_DATA);
                let data = text.and_then(|text| base64::engine::general_purpose::STANDARD.decode(text).ok());
                data.unwrap_or_default().into()
            }
            _ => (&[][..]).into(),
        });
        let buffers = buffers.collect();
        Self { json, buffers }
    }

    /// The numbers of an accessor, and how many make an element.
    fn floats(&self, accessor: usize) -> Result<(Vec<f32>, usize), ModelError> {
        let within = |field: &str| format!("accessors[{accessor}]{field}");
        let fields = array(self.json, "accessors").get(accessor).ok_or_else(|| bad(within(""), "there is none"))?;
        if fields.get("sparse").is_some() {
            return Err(bad(within(".sparse"), "cannot be read here"));
        }
        let size = match fields.get("type").and_then(Value::as_str) {
            Some("SCALAR") => 1,
            Some("VEC3") => 3,
            Some("VEC4") => 4,
            _ => return Err(bad(within(".type"), "must be SCALAR, VEC3 or VEC4")),
        };
        let count = index(fields, "count").ok_or_else(|| bad(within(".count"), "must be a number"))?;
        let is_normalized = fields.get("normalized").and_then(Value::as_bool).unwrap_or(false);
        let (bytes_each, read): (usize, fn(&[u8]) -> f32) =
            match (fields.get("componentType").and_then(Value::as_u64), is_normalized) {
                (Some(5126), _) => (4, |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                (Some(5120), true) => (1, |b| (f32::from(b[0] as i8) / 127.0).max(-1.0)),
                (Some(5121), true) => (1, |b| f32::from(b[0]) / 255.0),
                (Some(5122), true) => (2, |b| (f32::from(i16::from_le_bytes([b[0], b[1]])) / 32767.0).max(-1.0)),
                (Some(5123), true) => (2, |b| f32::from(u16::from_le_bytes([b[0], b[1]])) / 65535.0),
                _ => return Err(bad(within(".componentType"), "must be a float or a normalized integer")),
            };
        let view = index(fields, "bufferView").ok_or_else(|| bad(within(".bufferView"), "must be a number"))?;
        let view_at = |field: &str| format!("bufferViews[{view}]{field}");
        let view = array(self.json, "bufferViews").get(view).ok_or_else(|| bad(view_at(""), "there is none"))?;
        let buffer = index(view, "buffer").unwrap_or(usize::MAX);
        let data = self.buffers.get(buffer).ok_or_else(|| bad(view_at(".buffer"), "there is none"))?;
        let start = index(view, "byteOffset").unwrap_or(0).checked_add(index(fields, "byteOffset").unwrap_or(0));
        let stride = index(view, "byteStride").filter(|stride| *stride > 0).unwrap_or(size * bytes_each);
        let mut values = Vec::new();
        for element in 0..count {
            for part in 0..size {
                let at = element
                    .checked_mul(stride)
                    .zip(start)
                    .and_then(|(at, start)| at.checked_add(start)?.checked_add(part * bytes_each));
                let bytes = at.and_then(|at| data.get(at..at.checked_add(bytes_each)?));
                let value = bytes
                    .map(read)
                    .ok_or_else(|| bad(within(""), "its data is not in this file, or ends too early"))?;
                if !value.is_finite() {
                    return Err(bad(within(""), format!("element {element} is not a finite number")));
                }
                values.push(value);
            }
        }
        Ok((values, size))
    }
}

/// A sampler: rows of values at times.
struct Sampler {
    times: Vec<f32>,
    values: Vec<f32>,
    width: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Step,
    Linear,
    /// Each key has a tangent before it and one behind it.
    Cubic,
}

impl Sampler {
    fn read(document: &Document<'_>, sampler: &Value, field: &str) -> Result<Self, ModelError> {
        let accessor =
            |name: &str| index(sampler, name).ok_or_else(|| bad(format!("{field}.{name}"), "must be a number"));
        let (times, _) = document.floats(accessor("input")?)?;
        let (values, _) = document.floats(accessor("output")?)?;
        let kind = match sampler.get("interpolation").and_then(Value::as_str) {
            Some("STEP") => Kind::Step,
            Some("CUBICSPLINE") => Kind::Cubic,
            None | Some("LINEAR") => Kind::Linear,
            Some(_) => return Err(bad(format!("{field}.interpolation"), "must be LINEAR, STEP or CUBICSPLINE")),
        };
        let each = if kind == Kind::Cubic { 3 } else { 1 };
        let width = values.len() / (times.len() * each).max(1);
        if times.is_empty() || width == 0 || width * each * times.len() != values.len() {
            return Err(bad(format!("{field}.output"), "must have as many values for every key"));
        }
        if times.windows(2).any(|pair| pair[1] <= pair[0]) || times[0] < 0.0 || times[times.len() - 1] > MAX_SECONDS {
            return Err(bad(format!("{field}.input"), "times must go up, from 0 to a day"));
        }
        Ok(Self { times, values, width, kind })
    }

    fn row(&self, key: usize, part: usize) -> &[f32] {
        let each = if self.kind == Kind::Cubic { 3 } else { 1 };
        let start = (key * each + part) * self.width;
        self.values.get(start..start + self.width).unwrap_or_default()
    }

    /// The values at a time; quaternions are to be normalised.
    fn at(&self, time: f64, out: &mut Vec<f32>) {
        out.clear();
        let value = usize::from(self.kind == Kind::Cubic);
        let after = self.times.partition_point(|key| f64::from(*key) <= time);
        let before = after.saturating_sub(1);
        let a = self.row(before, value);
        if after == 0 || after == self.times.len() || self.kind == Kind::Step {
            out.extend_from_slice(a);
            return;
        }
        let step = self.times[after] - self.times[before];
        let t = ((time - f64::from(self.times[before])) / f64::from(step)) as f32;
        let b = self.row(after, value);
        if self.kind == Kind::Cubic {
            let (t2, t3) = (t * t, t * t * t);
            let (leave, arrive) = (self.row(before, 2), self.row(after, 0));
            out.extend((0..self.width).map(|i| {
                (2.0 * t3 - 3.0 * t2 + 1.0) * a[i]
                    + step * (t3 - 2.0 * t2 + t) * leave[i]
                    + (3.0 * t2 - 2.0 * t3) * b[i]
                    + step * (t3 - t2) * arrive[i]
            }));
            return;
        }
        // The shorter way between two quaternions; of other values the plain one.
        let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
        let sign = if self.width == 4 && dot < 0.0 { -1.0 } else { 1.0 };
        out.extend(a.iter().zip(b).map(|(a, b)| a + (sign * b - a) * t));
    }
}

/// What a channel moves.
enum Part {
    /// Places of the targets among the names.
    Weights(Vec<usize>),
    /// The place of an expression.
    Expression(usize),
    Head,
    Eye(usize),
    Gaze,
}

struct Track {
    sampler: usize,
    part: Part,
    /// Rest of the node and of its parent.
    rest: ([f32; 4], [f32; 4]),
}

/// Reads a file: binary glTF, or JSON with its data inside.
///
/// # Errors
/// [`GltfAnimationError`] names the field.
pub fn decode(bytes: &[u8]) -> Result<Take, GltfAnimationError> {
    let parts = glb::split(bytes)?;
    let json = glb::document(&parts)?;
    let document = Document::new(&json, parts.binary()?);
    let face = Face::of(&json)?;
    for (at, animation) in array(&json, "animations").iter().enumerate() {
        if let Some(take) = face.take(&document, animation, &format!("animations[{at}]"))? {
            return Ok(take);
        }
    }
    Err(GltfAnimationError::NoFace)
}

/// The parts of a document that show a face.
struct Face {
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// Of a node with a mesh: the places of its targets among the names.
    targets: HashMap<usize, Vec<usize>>,
    expressions: HashMap<usize, usize>,
    head: Vec<usize>,
    eyes: [Vec<usize>; 2],
    look_at: Option<usize>,
    nodes: Nodes,
}

impl Face {
    fn of(json: &Value) -> Result<Self, ModelError> {
        let nodes = Nodes::of(json)?;
        let mut face = Self {
            names: Vec::new(),
            places: HashMap::new(),
            targets: HashMap::new(),
            expressions: HashMap::new(),
            head: Vec::new(),
            eyes: [Vec::new(), Vec::new()],
            look_at: None,
            nodes,
        };
        let extension = json.get("extensions").and_then(|extensions| extensions.get("VRMC_vrm_animation"));
        if let Some(extension) = extension {
            let part = |name: &str| extension.get("expressions").and_then(|all| all.get(name)?.as_object());
            for (name, expression) in ["custom", "preset"].into_iter().filter_map(part).flatten() {
                if let Some(node) = index(expression, "node") {
                    let place = face.place(name);
                    face.expressions.insert(node, place);
                }
            }
            let bones = extension.get("humanoid").and_then(|humanoid| humanoid.get("humanBones"));
            face.head.extend(bones.and_then(|bones| index(bones.get("head")?, "node")));
            face.look_at = extension.get("lookAt").and_then(|look| index(look, "node"));
            return Ok(face);
        }
        let of_meshes = super::gltf::names_of_targets(json)?;
        for (at, node) in array(json, "nodes").iter().enumerate() {
            let Some(names) =
                index(node, "mesh").and_then(|mesh| of_meshes.get(mesh)).filter(|names| !names.is_empty())
            else {
                continue;
            };
            let places = names.iter().map(|name| face.place(name)).collect();
            face.targets.insert(at, places);
        }
        let vrm = json.get("extensions").and_then(Value::as_object).map(Vrm::from_extensions).transpose()?.flatten();
        for skeleton in face.nodes.skeletons(json, &BoneMap::default(), vrm.as_ref()) {
            let node = |place: Option<usize>| place.map(|place| face.nodes.order[place].0);
            face.head.extend(node(skeleton.head));
            for (eye, place) in face.eyes.iter_mut().zip(skeleton.eyes) {
                eye.extend(node(place));
            }
        }
        Ok(face)
    }

    /// The place of a name, which is added where it is new.
    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.names.push(name.to_owned());
        self.places.insert(name.to_owned(), self.names.len() - 1);
        self.names.len() - 1
    }

    fn part(&self, node: usize, path: &str) -> Option<Part> {
        match path {
            "weights" => self.targets.get(&node).cloned().map(Part::Weights),
            "translation" => self.expressions.get(&node).copied().map(Part::Expression),
            "rotation" if self.look_at == Some(node) => Some(Part::Gaze),
            "rotation" if self.head.contains(&node) => Some(Part::Head),
            "rotation" => self.eyes.iter().position(|eye| eye.contains(&node)).map(Part::Eye),
            _ => None,
        }
    }

    /// The take of an animation; `None` when it moves no face.
    fn take(
        &self,
        document: &Document<'_>,
        animation: &Value,
        field: &str,
    ) -> Result<Option<Take>, GltfAnimationError> {
        let (mut tracks, mut samplers): (Vec<Track>, Vec<Sampler>) = (Vec::new(), Vec::new());
        let mut known: HashMap<usize, usize> = HashMap::new();
        for (at, channel) in array(animation, "channels").iter().enumerate() {
            let target = channel.get("target").unwrap_or(&Value::Null);
            let (Some(node), Some(path)) = (index(target, "node"), target.get("path").and_then(Value::as_str)) else {
                continue;
            };
            let Some(part) = self.part(node, path) else { continue };
            let number = index(channel, "sampler").unwrap_or(usize::MAX);
            let within = format!("{field}.samplers[{number}]");
            let sampler = match known.get(&number) {
                Some(sampler) => *sampler,
                None => {
                    let fields = array(animation, "samplers").get(number);
                    let fields =
                        fields.ok_or_else(|| bad(format!("{field}.channels[{at}].sampler"), "there is none"))?;
                    samplers.push(Sampler::read(document, fields, &within)?);
                    known.insert(number, samplers.len() - 1);
                    samplers.len() - 1
                }
            };
            let wanted = match &part {
                Part::Weights(targets) => targets.len(),
                Part::Expression(_) => 3,
                Part::Head | Part::Eye(_) | Part::Gaze => 4,
            };
            if samplers[sampler].width != wanted {
                return Err(bad(format!("{within}.output"), format!("must have {wanted} values for every key")).into());
            }
            let rest = self.nodes.place(node).map_or((IDENTITY, IDENTITY), |place| self.nodes.rest[place]);
            tracks.push(Track { sampler, part, rest });
        }
        let moved: HashSet<usize> = tracks
            .iter()
            .flat_map(|track| match &track.part {
                Part::Weights(targets) => targets.clone(),
                Part::Expression(place) => vec![*place],
                _ => Vec::new(),
            })
            .collect();
        let places: Vec<usize> = (0..self.names.len()).filter(|place| moved.contains(place)).collect();
        let names: Vec<&str> = places.iter().map(|place| self.names[*place].as_str()).collect();
        let names = Names::of(&names).map_err(|(at, message)| bad(format!("the name of target {at}"), message))?;
        let has_pose = tracks.iter().any(|track| matches!(track.part, Part::Head | Part::Eye(_) | Part::Gaze));
        if !names.has_shapes() && !has_pose {
            return Ok(None);
        }
        let mut weights = vec![0.0; self.names.len()];
        let mut values = Vec::new();
        let frames = times(&samplers, field)?.into_iter().map(|time| {
            let mut frame = FaceFrame::default();
            let mut eyes: [Option<EyeGaze>; 2] = [None; 2];
            for track in &tracks {
                samplers[track.sampler].at(time, &mut values);
                let turn = || {
                    let (rest, parent) = track.rest;
                    let now = normalized([values[0], values[1], values[2], values[3]])?;
                    // Of the model's axes.
                    normalized(product(product(product(parent, now), inverse(rest)), inverse(parent)))
                };
                match &track.part {
                    Part::Weights(targets) => {
                        targets.iter().zip(&values).for_each(|(target, value)| weights[*target] = *value)
                    }
                    Part::Expression(place) => weights[*place] = values[0],
                    Part::Head => {
                        frame.head = turn().map(|rotation| HeadPose { rotation, position: None }).or(frame.head);
                    }
                    Part::Eye(eye) => eyes[*eye] = turn().map(looks),
                    Part::Gaze => {
                        let gaze = normalized([values[0], values[1], values[2], values[3]]).map(looks);
                        eyes = [gaze, gaze];
                    }
                }
            }
            let row: Vec<f32> = places.iter().map(|place| weights[*place]).collect();
            names.read(&row, &mut frame);
            let [left, right] = eyes;
            frame.gaze = left.or(right).zip(right.or(left)).map(|(left, right)| Gaze { left, right });
            TakeFrame { time: Duration::try_from_secs_f64(time).unwrap_or_default(), frame }
        });
        let mut frames: Vec<TakeFrame> = frames.collect();
        // A take starts at 0.
        let start = frames.first().map_or(Duration::ZERO, |frame| frame.time);
        for frame in &mut frames {
            frame.time -= start;
        }
        Ok(Some(Take::new(frames)?))
    }
}

/// Where an eye looks that is turned like this.
fn looks(rotation: [f32; 4]) -> EyeGaze {
    let [down, yaw, _] = to_angles(rotation, EulerOrder::Yxz);
    EyeGaze { yaw, pitch: -down }
}

/// The times of all keys, and some between keys that are far apart.
fn times(samplers: &[Sampler], field: &str) -> Result<Vec<f64>, ModelError> {
    let mut keys: Vec<f64> = samplers.iter().flat_map(|sampler| &sampler.times).map(|time| f64::from(*time)).collect();
    keys.sort_unstable_by(f64::total_cmp);
    keys.dedup_by(|a, b| *a - *b < 1e-6);
    let most = (MAX_FRAMES + MAX_FRAMES_EACH * keys.len()) as f64;
    let steps = |pair: &[f64], step: f64| ((pair[1] - pair[0]) / step - 1e-3).ceil().max(1.0);
    let count = |step: f64| keys.windows(2).map(|pair| steps(pair, step)).sum::<f64>();
    let curved = samplers.iter().any(|sampler| sampler.kind == Kind::Cubic);
    let step = if count(MAX_STEP) > most && !curved { LONG_STEP } else { MAX_STEP };
    if count(step) > most {
        return Err(bad(format!("{field}.samplers"), "keys are so far apart that more frames than keys would be read"));
    }
    let mut all = Vec::with_capacity(count(step) as usize + 1);
    all.extend(keys.first());
    for pair in keys.windows(2) {
        let steps = steps(pair, step) as usize;
        all.extend((1..=steps).map(|step| pair[0] + (pair[1] - pair[0]) * step as f64 / steps as f64));
    }
    Ok(all)
}
