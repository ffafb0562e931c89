//! What leaves for a viewer.

/// What leaves for a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output<'a> {
    /// A binary packet with one face or several.
    Packet(&'a [u8]),
    /// A face as a JSON message.
    Text(&'a str),
    /// The subject of this name has gone.
    Lost(&'a str),
}

impl Output<'_> {
    /// Bytes of a packet or message.
    pub const fn len(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.len(),
            Self::Text(text) => text.len(),
            Self::Lost(_) => 0,
        }
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
