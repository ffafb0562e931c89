//! The timecode that faces are put on.

use std::sync::Arc;

use facelink::ltc::Timebase;

use crate::hub::{FaceTimecode, Hub};

/// Puts the faces of an endpoint on a timecode, as LTC or the time of day: what leaves for the engine and for takes is stamped by it
/// then, and takes begin with it. Made by [`Endpoint::timecode_input`](crate::EndpointControl::timecode_input).
///
/// The capture times of faces, as far as they can be known, stay: a face that was captured 20 ms before it arrived has the timecode of
/// then. Where no clock of the source says when, the quickest arrivals do.
#[derive(Debug)]
pub struct TimecodeInput {
    hub: Arc<Hub>,
    all: bool,
}

impl TimecodeInput {
    pub(crate) fn new(hub: Arc<Hub>, all: bool) -> Self {
        Self { hub, all }
    }

    /// The clock from now on; `None` where there is none: faces are on their own then. A clock that runs is given again as
    /// it is corrected, some times a second; [`Timebase::epoch`] says when it was set.
    pub fn set(&self, base: Option<Timebase>) {
        self.hub.queues.set_timecode(base.map(|base| FaceTimecode { base, all: self.all }));
    }
}

impl Drop for TimecodeInput {
    fn drop(&mut self) {
        self.set(None);
    }
}
