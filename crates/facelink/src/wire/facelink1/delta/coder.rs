//! A binary range coder with 32-bit arithmetic and given probabilities.
//!
//! After G. N. N. Martin, "Range encoding" (1979), with the binary split of LZMA; carries are corrected in the bytes
//! already written, for packets are short. A number that ends in zero bytes is written without them.

/// Below this the range is made wider by a byte.
const NARROW: u32 = 1 << 24;

/// Writes decisions.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeEncoder {
    low: u32,
    range: u32,
    bytes: Vec<u8>,
}

impl RangeEncoder {
    pub fn begin(&mut self) {
        self.low = 0;
        self.range = u32::MAX;
        self.bytes.clear();
        // More than any face takes.
        self.bytes.reserve(256);
    }

    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    /// A decision whose `false` has the probability `zero` / 65536, 1 to 65535.
    pub fn bit(&mut self, bit: bool, zero: u16) {
        let bound = (self.range >> 16) * u32::from(zero);
        if bit {
            let (low, carry) = self.low.overflowing_add(bound);
            self.low = low;
            self.range -= bound;
            if carry {
                self.carry();
            }
        } else {
            self.range = bound;
        }
        while self.range < NARROW {
            self.bytes.push((self.low >> 24) as u8);
            self.low <<= 8;
            self.range <<= 8;
        }
    }

    /// Appends as few bytes as identify the range.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        for kept in 0..=4_u32 {
            let rest = u64::from(u32::MAX) >> (8 * kept);
            let value = (u64::from(self.low) + rest) & !rest;
            if value - u64::from(self.low) < u64::from(self.range) {
                if value > u64::from(u32::MAX) {
                    self.carry();
                }
                let value = (value as u32).to_be_bytes();
                self.bytes.extend_from_slice(&value[..kept as usize]);
                break;
            }
        }
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        out.extend_from_slice(&self.bytes);
    }
}

/// Reads them.
#[derive(Debug)]
pub(super) struct RangeDecoder<'a> {
    bytes: &'a [u8],
    at: usize,
    code: u32,
    range: u32,
}

impl<'a> RangeDecoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, at: 0, code: 0, range: u32::MAX };
        for _ in 0..4 {
            decoder.code = decoder.code << 8 | u32::from(decoder.next());
        }
        decoder
    }

    fn next(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    pub fn bit(&mut self, zero: u16) -> bool {
        let bound = (self.range >> 16) * u32::from(zero);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        while self.range < NARROW {
            self.code = self.code << 8 | u32::from(self.next());
            self.range <<= 8;
        }
        bit
    }

    /// Whether nothing follows what was read, and the last byte is not one that would not have been written.
    pub fn is_at_end(&self) -> bool {
        self.bytes.len() <= self.at && self.bytes.last() != Some(&0)
    }
}
