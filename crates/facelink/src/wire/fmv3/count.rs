//! The count of frames.

/// The count of a phone's frames, which wraps at 32 bits on the wire and begins anew with every session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    newest: Option<u64>,
    /// The newest as it was sent; `None` before the first of a session.
    sent: Option<u32>,
}

impl Count {
    /// The number of a frame, and whether it is newer than all before it: by less than half the range of 32 bits.
    pub fn take(&mut self, sequence: u32) -> (u64, bool) {
        let (number, is_newer) = match (self.newest, self.sent) {
            (Some(newest), Some(sent)) => {
                let step = sequence.wrapping_sub(sent) as i32;
                (newest.saturating_add_signed(step.into()), step > 0)
            }
            (Some(newest), None) => (newest.saturating_add(1), true),
            (None, _) => (sequence.into(), true),
        };
        if is_newer {
            (self.newest, self.sent) = (Some(number), Some(sequence));
        }
        (number, is_newer)
    }

    /// A new session begins: whatever the number of its first frame, it follows those of the last one.
    pub fn restart(&mut self) {
        self.sent = None;
    }
}
