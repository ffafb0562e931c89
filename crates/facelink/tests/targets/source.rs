//! Where the generators' choices come from.

/// Random numbers, or the bytes of a fuzzer; those end in zeros.
#[derive(Debug)]
pub struct Source<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    Random(u64),
    Bytes(&'a [u8]),
}

#[allow(dead_code, reason = "each runner makes one of the two")]
impl<'a> Source<'a> {
    /// Marsaglia's xorshift with a multiplier: small, fast, and the same everywhere.
    pub fn random(seed: u64) -> Self {
        Self(Kind::Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    /// The choices of a fuzzer.
    pub fn bytes(bytes: &'a [u8]) -> Self {
        Self(Kind::Bytes(bytes))
    }

    /// Whether the fuzzer's bytes are used up.
    pub fn is_empty(&self) -> bool {
        matches!(self.0, Kind::Bytes([]))
    }
}

impl Source<'_> {
    /// Any 32-bit number; small ones are as likely as large ones.
    pub fn number(&mut self) -> u32 {
        let any = self.word();
        any >> (self.byte() % 32)
    }

    fn word(&mut self) -> u32 {
        match &mut self.0 {
            Kind::Random(state) => {
                *state ^= *state >> 12;
                *state ^= *state << 25;
                *state ^= *state >> 27;
                (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
            }
            Kind::Bytes(_) => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        match &mut self.0 {
            Kind::Random(_) => (self.word() >> 24) as u8,
            Kind::Bytes(bytes) => {
                let Some((first, rest)) = bytes.split_first() else { return 0 };
                *bytes = rest;
                *first
            }
        }
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let any = if end <= 256 { self.byte().into() } else { self.word() as usize };
        if end == 0 { 0 } else { any % end }
    }

    /// A number below `usual`, and once in so many times one below `many`.
    pub fn count(&mut self, usual: usize, times: usize, many: usize) -> usize {
        let end = if self.one_in(times) { many } else { usual };
        self.below(end)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) + 1 == times
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A weight, mostly between 0 and 1.
    pub fn weight(&mut self) -> f32 {
        match self.byte() {
            byte @ 0..=31 => f32::from(byte) / 10.0 - 1.0,
            32..=63 => 0.0,
            byte => f32::from(byte) / 255.0,
        }
    }

    /// A number as a float, not always one that is good.
    pub fn float(&mut self) -> f32 {
        const FLOATS: [f32; 12] = [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
            -0.0,
            1e6,
            1e9,
            -3601.0,
            90.0,
            -45.0,
        ];
        match self.below(8) {
            0 => self.pick(&FLOATS),
            1 => f32::from_bits(self.word()),
            _ => self.weight(),
        }
    }

    /// A number as text, nearly always one that is good: for inputs with many of them.
    pub fn good_digits(&mut self) -> String {
        if self.one_in(256) { self.digits() } else { format!("{}", self.weight()) }
    }

    /// A number as text, not always one that is good.
    pub fn digits(&mut self) -> String {
        const TEXTS: [&str; 16] = [
            "1e999",
            "-1e999",
            "NaN",
            "Infinity",
            "1e-400",
            "123456789012345678901234567890",
            "-0",
            "0,5",
            "1_000",
            "+1",
            ".5",
            "5.",
            "0x10",
            "1e308",
            "",
            "99999999999",
        ];
        match self.below(8) {
            0 => self.pick(&TEXTS).to_owned(),
            1 => self.number().to_string(),
            2 => format!("{}", self.float()),
            _ => format!("{}", self.weight()),
        }
    }
}
