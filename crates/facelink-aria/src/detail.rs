//! How finely a part is built: the avatar itself, and the lower level of detail that stands in for it where it is small.

/// A level of detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Level 0.
    Full,
    /// Level 1, about a quarter of the vertices.
    Low,
}

impl Detail {
    /// The value for this level.
    pub fn of<T>(self, full: T, low: T) -> T {
        match self {
            Self::Full => full,
            Self::Low => low,
        }
    }

    /// The lines of a lattice that are built: all `count`, or every second one and the last.
    pub fn lines(self, count: usize) -> Vec<usize> {
        (0..count).filter(|line| line.is_multiple_of(self.of(1, 2)) || *line + 1 == count).collect()
    }
}
