//! A face in the steps of the wire.

use std::time::Duration;

use crate::{
    frame::{EyeGaze, FaceFrame, Gaze, HeadPose},
    names::BLENDSHAPE_COUNT,
    wire::facelink1::{ALL_PRESENT, Clock, GAZE_STEPS, NARROW, is_rotation, pack_rotation, round, unpack_rotation},
};

/// Steps of a head's rotation and of the gaze that are one here: 0.001 and 0.002 rad.
pub(super) const TURN_STEP: i32 = 32;
pub(super) const GAZE_STEP: i32 = 16;

pub(super) const TRACKED: u8 = 1 << 0;
pub(super) const WITH_HEAD: u8 = 1 << 1;
pub(super) const WITH_POSITION: u8 = 1 << 2;
pub(super) const WITH_GAZE: u8 = 1 << 3;
pub(super) const TIME: u8 = 1 << 4;
pub(super) const OWN_CLOCK: u8 = 1 << 5;
pub(super) const SUBJECT: u8 = 1 << 6;
pub(super) const RESERVED: u8 = 1 << 7;
/// The fields that have to be the same in both frames.
pub(super) const SHAPE: u8 = WITH_HEAD | WITH_POSITION | WITH_GAZE;

/// A frame in the steps of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quantised {
    pub sequence: u32,
    pub flags: u8,
    /// Which part of the rotation is left out.
    pub largest: u8,
    pub time: Option<u64>,
    pub weights: [u8; BLENDSHAPE_COUNT],
    /// Rotation, position in millimetres, gaze; 0 where there is none.
    pub others: [i32; 10],
}

impl Quantised {
    pub const NONE: Self =
        Self { sequence: 0, flags: 0, largest: 0, time: None, weights: [0; BLENDSHAPE_COUNT], others: [0; 10] };

    /// `None` for a face that this form does not hold.
    pub fn of(frame: &FaceFrame, clock: Clock, sequence: u32) -> Option<Self> {
        let whole = frame.present & ALL_PRESENT == ALL_PRESENT && frame.channels.is_empty();
        if !whole || frame.weights.iter().any(|weight| !(0.0..=1.0).contains(weight)) {
            return None;
        }
        let mut new = Self { sequence, ..Self::NONE };
        new.flags |= if frame.tracked { TRACKED } else { 0 };
        if let Some(time) = frame.capture_time {
            new.time = Some(u64::try_from(time.as_micros()).ok()?);
            new.flags |= TIME | if clock == Clock::Own { OWN_CLOCK } else { 0 };
        }
        new.weights = frame.weights.map(|weight| (f64::from(weight) * f64::from(NARROW) + 0.5) as u8);
        let step = |value: i16, step: i32| (i32::from(value) + step / 2).div_euclid(step);
        if let Some(head) = &frame.head {
            let (largest, parts) = pack_rotation(head.rotation)?;
            new.flags |= WITH_HEAD;
            new.largest = largest as u8;
            for (other, part) in new.others.iter_mut().zip(parts) {
                *other = step(part, TURN_STEP);
            }
            if let Some(position) = head.position {
                new.flags |= WITH_POSITION;
                for (other, metres) in new.others[3..].iter_mut().zip(position) {
                    *other = i32::from(round((f64::from(metres) * 1000.0).clamp(-32_000.0, 32_000.0)));
                }
            }
        }
        if let Some(Gaze { left, right }) = &frame.gaze {
            new.flags |= WITH_GAZE;
            for (other, angle) in new.others[6..].iter_mut().zip([left.yaw, left.pitch, right.yaw, right.pitch]) {
                *other = step(round(f64::from(angle) * f64::from(GAZE_STEPS)), GAZE_STEP);
            }
        }
        Some(new)
    }

    pub fn frame(&self) -> Option<FaceFrame> {
        let mut frame = FaceFrame {
            weights: self.weights.map(|steps| f32::from(steps) / NARROW),
            present: ALL_PRESENT,
            tracked: self.flags & TRACKED != 0,
            capture_time: self.time.map(Duration::from_micros),
            sequence: Some(self.sequence.into()),
            ..FaceFrame::default()
        };
        let part = |place: usize, step: i32| i16::try_from(self.others[place] * step).ok();
        if self.flags & WITH_HEAD != 0 {
            let parts = [part(0, TURN_STEP)?, part(1, TURN_STEP)?, part(2, TURN_STEP)?];
            if !is_rotation(parts) {
                return None;
            }
            let position = (self.flags & WITH_POSITION != 0)
                .then(|| [3, 4, 5].map(|place| self.others[place].clamp(-32_767, 32_767) as f32 / 1000.0));
            frame.head = Some(HeadPose { rotation: unpack_rotation(self.largest.into(), parts), position });
        }
        if self.flags & WITH_GAZE != 0 {
            let angle = |place: usize| Some(f32::from(part(place, GAZE_STEP)?) / GAZE_STEPS);
            frame.gaze = Some(Gaze {
                left: EyeGaze { yaw: angle(6)?, pitch: angle(7)? },
                right: EyeGaze { yaw: angle(8)?, pitch: angle(9)? },
            });
        }
        Some(frame)
    }

    /// Those of the other values that there are.
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        let flags = self.flags;
        (0..10).filter(move |place| {
            let needs = match place {
                0..3 => WITH_HEAD,
                3..6 => WITH_POSITION,
                _ => WITH_GAZE,
            };
            flags & needs != 0
        })
    }
}

/// Whether `new` can be encoded as a delta to `reference`.
pub(super) fn can_follow(reference: &Quantised, new: &Quantised) -> bool {
    let same = (reference.flags ^ new.flags) & SHAPE == 0 && reference.largest == new.largest;
    let times = match (reference.time, new.time) {
        (Some(then), Some(now)) => {
            (reference.flags ^ new.flags) & OWN_CLOCK == 0 && now.checked_sub(then).is_some_and(|gone| gone < 1 << 35)
        }
        (_, None) => true,
        (None, Some(_)) => false,
    };
    same && times
}
