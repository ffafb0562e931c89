//! What of the frames is worth a message.

use std::time::Duration;

use super::analyzer::SpeechFrame;
use crate::wire::viseme::Viseme;

/// A weight that differs less is the same to the eye.
const STEP: f32 = 0.1;
/// A viseme that holds is repeated this often, so that a lost message is made up for.
const REPEAT: Duration = Duration::from_millis(250);

/// Thins frames out to the visemes to send: what changed, and what holds four times a second, silence too: who is silent is
/// still there.
#[derive(Clone, Copy, Debug, Default)]
pub struct VisemeChanges {
    last: Option<(Viseme, f32, Duration)>,
}

impl VisemeChanges {
    /// How long a viseme holds at the receiver if no other follows: twice the time between repetitions. To be sent as its
    /// duration, so that a mouth does not stay open when its sender is gone.
    pub const HOLD: Duration = Duration::from_millis(2 * REPEAT.as_millis() as u64);

    /// The viseme and weight to send for this frame, if any.
    pub fn next(&mut self, frame: &SpeechFrame) -> Option<(Viseme, f32)> {
        let same = self.last.is_some_and(|(viseme, weight, sent)| {
            viseme == frame.viseme && (weight - frame.weight).abs() < STEP && frame.known.saturating_sub(sent) < REPEAT
        });
        if same {
            return None;
        }
        self.last = Some((frame.viseme, frame.weight, frame.known));
        Some((frame.viseme, frame.weight))
    }
}
