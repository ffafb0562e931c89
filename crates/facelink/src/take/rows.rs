//! What a file of Live Link Face says besides the faces: needed to write the same file again.

use std::sync::Arc;

/// `HH:MM:SS:FF.mmm`
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timecode {
    /// Of the day.
    pub second: u32,
    /// Within the second, with its fraction.
    pub frame: f64,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LlfRow {
    pub timecode: Timecode,
    /// The nine angles as they were written: a quaternion does not give them back to the last digit, and the rolls of the
    /// eyes are no part of a frame.
    pub angles: [f32; 9],
    /// What follows the timecode in a row without a face.
    pub lost: Option<Arc<str>>,
}

/// The rows of a file of the app's own making, one for each frame of the take.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LlfRows {
    /// The name of the second column: `BlendShapeCount`, or `BlendshapeCount` since 2024.
    pub count_name: Arc<str>,
    pub rows: Vec<LlfRow>,
}

impl LlfRows {
    pub fn len(&self) -> usize {
        self.rows.len()
    }
}
