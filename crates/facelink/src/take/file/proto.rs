//! The part of protobuf that a take's messages use.
//!
//! Written by hand because a frame is read into types that are there already: numbers by their bits, names shared, and no
//! message of its own in between. The schema that other tools read is in [`schema`](super::schema).

/// A message that is no protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// It ends within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// A number of more than 64 bits.
    #[error("a variable-length number has more than 64 bits")]
    TooLong,
    /// A wire type that is not defined.
    #[error("field {field}: wire type {wire} is not defined")]
    WireType {
        /// Number of the field.
        field: u32,
        /// Its wire type.
        wire: u8,
    },
}

pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u32, wire: u8) {
    varint(out, u64::from(field) << 3 | u64::from(wire));
}

/// A number that is left out when it is 0, as proto3 has it.
pub(super) fn uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        required_uint(out, field, value);
    }
}

/// A number that is written when it is 0 too: one that may be absent.
pub(super) fn required_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

pub(super) fn sint(out: &mut Vec<u8>, field: u32, value: i64) {
    uint(out, field, (value << 1 ^ value >> 63) as u64);
}

/// A number that is left out when its bits are 0: -0 is written.
pub(super) fn float(out: &mut Vec<u8>, field: u32, value: f32) {
    if value.to_bits() != 0 {
        key(out, field, 5);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A number of fixed width, written when it is 0 too: messages that are as long as the one before compress better.
pub(super) fn fixed_int(out: &mut Vec<u8>, field: u32, value: i32) {
    key(out, field, 5);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// A text that is left out when it is empty.
pub(super) fn text(out: &mut Vec<u8>, field: u32, value: &str) {
    if !value.is_empty() {
        bytes(out, field, value.as_bytes());
    }
}

pub(super) fn floats(out: &mut Vec<u8>, field: u32, values: &[f32]) {
    key(out, field, 2);
    varint(out, values.len() as u64 * 4);
    for value in values {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// A message within a message.
pub(super) fn message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, field, 2);
    let start = out.len();
    write(out);
    let len = out.len() - start;
    let mut prefix = [0; 10];
    let mut used = 0;
    let mut rest = len;
    loop {
        let more = rest > 0x7f;
        prefix[used] = rest as u8 & 0x7f | if more { 0x80 } else { 0 };
        used += 1;
        rest >>= 7;
        if !more {
            break;
        }
    }
    // Behind the message first, and then turned to its front.
    out.extend_from_slice(&prefix[..used]);
    out[start..].rotate_right(used);
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Value<'a> {
    pub fn uint(self) -> Option<u64> {
        if let Self::Varint(value) = self { Some(value) } else { None }
    }

    pub fn sint(self) -> Option<i64> {
        self.uint().map(|value| (value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub fn flag(self) -> Option<bool> {
        self.uint().map(|value| value != 0)
    }

    pub fn float(self) -> Option<f32> {
        if let Self::Fixed32(bits) = self { Some(f32::from_bits(bits)) } else { None }
    }

    pub fn fixed_int(self) -> Option<i32> {
        if let Self::Fixed32(bits) = self { Some(bits.cast_signed()) } else { None }
    }

    pub fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    pub fn text(self) -> Option<&'a str> {
        self.bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}

/// The fields of a message, in the order in which they were written.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0_u64;
        for place in 0..10 {
            let (byte, rest) = self.0.split_first().ok_or(ProtoError::Truncated)?;
            self.0 = rest;
            if place == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtoError::TooLong)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], ProtoError> {
        let len = usize::try_from(len).map_err(|_| ProtoError::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ProtoError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u32, Value<'a>), ProtoError> {
        let key = self.varint()?;
        let field = u32::try_from(key >> 3).map_err(|_| ProtoError::TooLong)?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                self.take(8)?;
                Value::Fixed64
            }
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32(bytes.try_into().map_or(0, u32::from_le_bytes))
            }
            wire => return Err(ProtoError::WireType { field, wire: wire as u8 }),
        };
        Ok((field, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), ProtoError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proto_fields_read_back() {
        let mut out = Vec::new();
        uint(&mut out, 1, u64::MAX);
        uint(&mut out, 2, 0);
        required_uint(&mut out, 3, 0);
        sint(&mut out, 4, i64::MIN);
        float(&mut out, 5, -0.0);
        message(&mut out, 600, |out| bytes(out, 1, &[7; 300]));
        fixed_int(&mut out, 7, -3);
        let fields: Vec<_> = Fields(&out).map(Result::unwrap).collect();
        assert_eq!(fields.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [1, 3, 4, 5, 600, 7]);
        assert_eq!(fields[0].1.uint(), Some(u64::MAX));
        assert_eq!(fields[2].1.sint(), Some(i64::MIN));
        assert_eq!(fields[3].1.float().map(f32::to_bits), Some((-0.0_f32).to_bits()));
        let inner: Vec<_> = Fields(fields[4].1.bytes().unwrap()).map(Result::unwrap).collect();
        assert_eq!(inner, [(1, Value::Bytes(&[7; 300]))]);
        assert_eq!(fields[5].1.fixed_int(), Some(-3));
        for len in 0..out.len() {
            // Nothing of a message that is cut can be read beyond its end.
            let _ = Fields(&out[..len]).count();
        }
    }

    #[test]
    fn proto_invalid_messages_are_refused() {
        fn first(bytes: &[u8]) -> Result<(u32, Value<'_>), ProtoError> {
            Fields(bytes).next().unwrap()
        }
        assert_eq!(first(&[0x08]), Err(ProtoError::Truncated));
        assert_eq!(first(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), Err(ProtoError::Truncated));
        assert_eq!(first(&[0xff; 12]), Err(ProtoError::TooLong));
        assert_eq!(first(&[0x0b]), Err(ProtoError::WireType { field: 1, wire: 3 }));
    }
}
