//! Accessors and samplers of an animation, and their data.

use base64::Engine;
use serde_json::{Map, Value, json};

use super::super::keys::Keys;
use crate::model::ModelError;

const FLOAT: u32 = 5126;

/// An animation that is added to a document.
pub(in super::super) struct Animation {
    bytes: Vec<u8>,
    views: Vec<Value>,
    accessors: Vec<Value>,
    samplers: Vec<Value>,
    channels: Vec<Value>,
    /// Views and accessors that there are before.
    first_view: usize,
    first_accessor: usize,
    /// The buffer, and where in it our data starts.
    buffer: usize,
    start: usize,
    /// The data is written as text into the JSON: the file's own binary data belongs to no buffer of this document.
    as_text: bool,
    /// Accessors of times, by the times.
    times: Vec<(Vec<u32>, usize)>,
}

fn field(field: &str, message: &str) -> ModelError {
    ModelError::Field { field: field.to_owned(), message: message.to_owned() }
}

/// An array of the document's root, which may be missing.
fn array<'a>(document: &'a Value, name: &str) -> Result<&'a [Value], ModelError> {
    match document.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(array)) => Ok(array),
        Some(_) => Err(field(name, "must be an array")),
    }
}

impl Animation {
    /// Behind what a document has, whose file holds `length` bytes of binary data.
    pub fn behind(document: &Value, length: usize, has_binary: bool) -> Result<Self, ModelError> {
        let buffers = array(document, "buffers")?;
        let inside = buffers.first().is_some_and(|first| first.get("uri").is_none_or(Value::is_null));
        let (buffer, start, as_text) = match (buffers.len(), inside && has_binary) {
            (0, _) => (0, 0, false),
            (_, true) => (0, length.next_multiple_of(4), false),
            (count, false) => (count, 0, true),
        };
        Ok(Self {
            bytes: Vec::new(),
            views: Vec::new(),
            accessors: Vec::new(),
            samplers: Vec::new(),
            channels: Vec::new(),
            first_view: array(document, "bufferViews")?.len(),
            first_accessor: array(document, "accessors")?.len(),
            buffer,
            start,
            as_text,
            times: Vec::new(),
        })
    }

    /// Index of a new accessor.
    fn floats(&mut self, values: &[f32], kind: &str, size: usize, bounds: Option<(f32, f32)>) -> usize {
        let offset = self.start + self.bytes.len();
        self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self.views.push(json!({ "buffer": self.buffer, "byteOffset": offset, "byteLength": values.len() * 4 }));
        let mut accessor = json!({
            "bufferView": self.first_view + self.views.len() - 1,
            "componentType": FLOAT,
            "count": values.len() / size.max(1),
            "type": kind,
        });
        if let Some((low, high)) = bounds {
            (accessor["min"], accessor["max"]) = (json!([low]), json!([high]));
        }
        self.accessors.push(accessor);
        self.first_accessor + self.accessors.len() - 1
    }

    /// Index of a sampler for these keys; `kind` and `size` are those of one accessor element.
    pub fn sampler(&mut self, keys: &Keys, kind: &str, size: usize) -> usize {
        // Where 32 bits do not distinguish two times, the later key is left out.
        let mut times: Vec<f32> = Vec::with_capacity(keys.times.len());
        let mut values: Vec<f32> = Vec::with_capacity(keys.values.len());
        for (time, row) in keys.seconds().zip(keys.rows()) {
            if times.last().is_none_or(|last| time > *last) {
                times.push(time);
                values.extend_from_slice(row);
            }
        }
        let bits: Vec<u32> = times.iter().map(|time| time.to_bits()).collect();
        let known = self.times.iter().find(|(known, _)| *known == bits).map(|(_, accessor)| *accessor);
        let input = known.unwrap_or_else(|| {
            let bounds = times.first().copied().zip(times.last().copied());
            let accessor = self.floats(&times, "SCALAR", 1, bounds);
            self.times.push((bits, accessor));
            accessor
        });
        let output = self.floats(&values, kind, size, None);
        self.samplers.push(json!({ "input": input, "output": output, "interpolation": "LINEAR" }));
        self.samplers.len() - 1
    }

    /// Moves `path` of a node by a sampler.
    pub fn channel(&mut self, sampler: usize, node: usize, path: &str) {
        self.channels.push(json!({ "sampler": sampler, "target": { "node": node, "path": path } }));
    }

    /// Adds itself to the document; returns the data for the file's own binary part.
    pub fn write_into(self, document: &mut Value, name: &str) -> Result<Option<Vec<u8>>, ModelError> {
        let root = document.as_object_mut().ok_or_else(|| field("the root", "must be an object"))?;
        append(root, "bufferViews", self.views)?;
        append(root, "accessors", self.accessors)?;
        let animation = json!({ "name": name, "samplers": self.samplers, "channels": self.channels });
        append(root, "animations", vec![animation])?;
        let end = self.start + self.bytes.len();
        if self.as_text {
            let text = base64::engine::general_purpose::STANDARD.encode(&self.bytes);
            let uri = format!("data:application/octet-stream;base64,{text}");
            append(root, "buffers", vec![json!({ "byteLength": end, "uri": uri })])?;
            return Ok(None);
        }
        if self.start == 0
            && self.buffer == 0
            && root.get("buffers").and_then(Value::as_array).is_none_or(Vec::is_empty)
        {
            append(root, "buffers", vec![json!({ "byteLength": end })])?;
        } else if let Some(buffer) = root.get_mut("buffers").and_then(|buffers| buffers.get_mut(0)) {
            buffer["byteLength"] = json!(end);
        }
        Ok(Some(self.bytes))
    }
}

fn append(root: &mut Map<String, Value>, name: &str, values: Vec<Value>) -> Result<(), ModelError> {
    match root.entry(name).or_insert_with(|| json!([])) {
        Value::Array(array) => array.extend(values),
        null @ Value::Null => *null = Value::Array(values),
        _ => return Err(field(name, "must be an array")),
    }
    Ok(())
}
