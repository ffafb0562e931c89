//! The container of binary glTF files.
//!
//! Source: glTF 2.0 specification, "GLB File Format Specification": 12 bytes of header (`glTF`, version, length), then chunks
//! of a length, a type and padded content; the first one is the JSON. Integers are little-endian.

use super::ModelError;

const HEADER: usize = 12;
const CHUNK: usize = 8;
const JSON: &[u8] = b"JSON";
const BINARY: &[u8] = b"BIN\0";

/// A file as its JSON and the chunks behind it.
pub(crate) struct Parts<'a> {
    pub json: &'a [u8],
    /// With their headers; `None` for a file that is JSON alone.
    pub chunks: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// The binary data of the file itself, which is that of `buffers[0]`.
    pub fn binary(&self) -> Result<Option<&'a [u8]>, ModelError> {
        let Some(chunks) = self.chunks else { return Ok(None) };
        let (Some(length), Some(kind)) = (word(chunks, 0), chunks.get(4..CHUNK)) else { return Ok(None) };
        if kind != BINARY {
            return Ok(None);
        }
        let (wanted, body) = (length as usize, &chunks[CHUNK..]);
        body.get(..wanted).map(Some).ok_or(ModelError::CutOff { part: "its binary data", wanted, there: body.len() })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

pub(crate) fn split(bytes: &[u8]) -> Result<Parts<'_>, ModelError> {
    if !bytes.starts_with(b"glTF") {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        return if first == Some(&b'{') { Ok(Parts { json: text, chunks: None }) } else { Err(ModelError::NotGltf) };
    }
    let cut_off = |part, wanted, there| ModelError::CutOff { part, wanted, there };
    let (Some(version), Some(length)) = (word(bytes, 4), word(bytes, HEADER)) else {
        return Err(cut_off("its header", HEADER + CHUNK, bytes.len()));
    };
    if version != 2 {
        return Err(ModelError::Version(version));
    }
    if bytes.get(HEADER + 4..HEADER + CHUNK) != Some(JSON) {
        return Err(ModelError::NotGltf);
    }
    let body = &bytes[HEADER + CHUNK..];
    let length = length as usize;
    let (Some(json), Some(chunks)) = (body.get(..length), body.get(length..)) else {
        return Err(cut_off("its JSON", length, body.len()));
    };
    Ok(Parts { json, chunks: Some(chunks) })
}

/// A file of other JSON and the same chunks.
pub(crate) fn join(mut json: Vec<u8>, chunks: Option<&[u8]>) -> Vec<u8> {
    let Some(chunks) = chunks else { return json };
    json.resize(json.len().next_multiple_of(4), b' ');
    let mut bytes = Vec::with_capacity(HEADER + CHUNK + json.len() + chunks.len());
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend_from_slice(b"glTF");
    bytes.extend_from_slice(&2_u32.to_le_bytes());
    bytes.extend_from_slice(&length(HEADER + CHUNK + json.len() + chunks.len()));
    bytes.extend_from_slice(&length(json.len()));
    bytes.extend_from_slice(JSON);
    bytes.append(&mut json);
    bytes.extend_from_slice(chunks);
    bytes
}

/// A chunk of binary data with its header.
pub(crate) fn binary_chunk(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut chunk = Vec::with_capacity(CHUNK + bytes.len());
    chunk.extend_from_slice(&length);
    chunk.extend_from_slice(BINARY);
    chunk.append(&mut bytes);
    chunk
}

/// The JSON of a file.
pub(crate) fn document(parts: &Parts<'_>) -> Result<serde_json::Value, ModelError> {
    serde_json::from_slice(parts.json).map_err(|error| ModelError::Json(error.to_string()))
}
