//! One frame of a subject in a take: the message `facelink.Face`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::proto::{self, Fields, ProtoError, Value};
use crate::{
    event::{Speech, SubjectFrame, SubjectId},
    frame::{Channel, EyeGaze, FaceFrame, FrameError, Gaze, HeadPose, MAX_CHANNELS},
    names::BLENDSHAPE_COUNT,
    source::SourceKind,
    time::Instant,
    timing::Stamp,
    wire::{
        facelink1::{GAZE_STEPS, POSITION_STEPS, is_rotation, pack_rotation, unpack_rotation},
        viseme::Viseme,
    },
};

/// Steps of a unit that a weight is written in where every weight of the face is a whole number of them.
const STEPS: f32 = 255.0;
/// Longest name of a channel, bytes.
const MAX_NAME: usize = 255;
const ALL: u64 = (1 << BLENDSHAPE_COUNT) - 1;
/// Different names of channels that a reader shares between frames.
const MAX_SHARED: usize = 4096;

/// A frame of a subject as it was recorded: what [`SubjectFrame`] has, with times since the start of the take.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedFrame {
    /// The subject's id while it was recorded: another one after it was lost and came back.
    pub id: SubjectId,
    /// The subject.
    pub name: Arc<str>,
    /// What carried the frame.
    pub source: SourceKind,
    /// The face, bit for bit.
    pub frame: FaceFrame,
    /// The viseme that held, and the face below it.
    pub speech: Option<Speech>,
    /// How long before it was written it had arrived; nearly always 0.
    pub age: Duration,
    /// Its time stamp.
    pub stamp: Option<Stamp>,
    /// A newer frame was there before.
    pub late: bool,
    /// It came again in a later packet.
    pub repeated: bool,
}

impl RecordedFrame {
    /// The frame for an engine, if the recording had been written at `written`.
    pub fn at(self, written: Instant) -> SubjectFrame {
        SubjectFrame {
            id: self.id,
            name: self.name,
            source: self.source,
            frame: self.frame,
            speech: self.speech,
            received: written.checked_sub(self.age).unwrap_or(written),
            stamp: self.stamp,
            late: self.late,
            repeated: self.repeated,
        }
    }
}

/// Why a message is no frame.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FaceError {
    /// It is no protobuf.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// A field has another type or length than the schema has.
    #[error("field `{0}`: not of the type or length that the schema has")]
    Field(&'static str),
    /// A value that is none.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// More channels than a face may have.
    #[error("field `channels`: more than {MAX_CHANNELS}")]
    Channels,
}

/// Writes a frame that arrived `age` before. Its source is left out where it is the usual one of its channel.
pub(super) fn encode(out: &mut Vec<u8>, face: &SubjectFrame, age: Duration, usual: SourceKind) {
    let frame = &face.frame;
    weights(out, [1, 2], &frame.weights);
    proto::uint(out, 3, !frame.present & ALL);
    if let Some(head) = &frame.head {
        proto::message(out, 4, |out| {
            match rotation_steps(head.rotation) {
                Some((left_out, parts)) => proto::message(out, 3, |out| {
                    for (place, part) in parts_of(left_out).into_iter().zip(parts) {
                        proto::fixed_int(out, place + 1, part.into());
                    }
                    // 0 is the usual one.
                    proto::uint(out, 5, 3 - u64::from(left_out));
                }),
                None => proto::message(out, 1, |out| axes(out, &head.rotation)),
            }
            if let Some(position) = &head.position {
                stepped(out, [4, 2], position, POSITION_STEPS);
            }
        });
    }
    if let Some(Gaze { left, right }) = &frame.gaze {
        stepped(out, [17, 5], &[left.yaw, left.pitch, right.yaw, right.pitch], GAZE_STEPS);
    }
    proto::uint(out, 6, u64::from(!frame.tracked));
    if let Some(sequence) = frame.sequence {
        proto::required_uint(out, 7, sequence);
    }
    if let Some(capture) = frame.capture_time {
        let stamped = face.stamp.and_then(|stamp| u64::try_from(stamp.capture_us).ok()).map(Duration::from_micros);
        proto::message(out, 8, |out| {
            // What most sources are stamped by is not written twice.
            if stamped == Some(capture) {
                proto::uint(out, 3, 1);
            } else {
                proto::uint(out, 1, capture.as_secs());
                proto::uint(out, 2, u64::from(capture.subsec_nanos()));
            }
        });
    }
    if let Some(stamp) = &face.stamp {
        proto::message(out, 9, |out| {
            proto::sint(out, 1, stamp.capture_us);
            proto::sint(out, 2, stamp.base_us);
            proto::sint(out, 3, stamp.queue_us);
            proto::uint(out, 4, u64::from(stamp.epoch));
            proto::sint(out, 5, stamp.interval_us);
        });
    }
    proto::uint(out, 10, u64::from(face.late));
    proto::uint(out, 11, u64::from(face.repeated));
    if let Some(speech) = &face.speech {
        proto::message(out, 12, |out| {
            proto::text(out, 1, speech.viseme.name());
            proto::float(out, 2, speech.weight);
            weights(out, [3, 4], &speech.weights);
        });
    }
    for channel in &frame.channels {
        proto::message(out, 13, |out| {
            proto::text(out, 1, &channel.name);
            proto::float(out, 2, channel.value);
        });
    }
    proto::uint(out, 14, u64::try_from(age.as_nanos()).unwrap_or(u64::MAX));
    proto::uint(out, 15, face.id.0);
    if face.source != usual {
        proto::text(out, 16, face.source.as_str());
    }
}

/// As steps of 1/255 where that is exact, which is what the compact frames of the wire carry; otherwise as floats.
fn weights(out: &mut Vec<u8>, [steps_field, weights_field]: [u32; 2], weights: &[f32; BLENDSHAPE_COUNT]) {
    let mut steps = [0_u8; BLENDSHAPE_COUNT];
    for (step, weight) in steps.iter_mut().zip(weights) {
        // Saturates, and turns NaN into 0: neither is exact then.
        *step = (weight * STEPS).round() as u8;
        if (f32::from(*step) / STEPS).to_bits() != weight.to_bits() {
            proto::floats(out, weights_field, weights);
            return;
        }
    }
    proto::bytes(out, steps_field, &steps);
}

/// The places of the three parts that are written of a quaternion x, y, z, w.
fn parts_of(left_out: u16) -> [u32; 3] {
    let mut places = [0, 1, 2];
    for place in &mut places[usize::from(left_out.min(3))..] {
        *place += 1;
    }
    places
}

/// A rotation as the compact wire has it, where that is exact.
fn rotation_steps(rotation: [f32; 4]) -> Option<(u16, [i16; 3])> {
    let packed = pack_rotation(rotation)?;
    let (left_out, parts) = packed;
    (unpack_rotation(left_out, parts).map(f32::to_bits) == rotation.map(f32::to_bits)).then_some(packed)
}

/// Numbers as steps where that is exact, in the first field; otherwise as floats, in the second.
fn stepped<const N: usize>(out: &mut Vec<u8>, [steps_field, floats_field]: [u32; 2], values: &[f32; N], scale: f32) {
    // Saturates, and turns NaN into 0: neither is exact then.
    let steps = values.map(|value| (value * scale).round() as i16);
    if steps.map(|steps| (f32::from(steps) / scale).to_bits()) != values.map(f32::to_bits) {
        return proto::message(out, floats_field, |out| axes(out, values));
    }
    proto::message(out, steps_field, |out| {
        for (field, steps) in (1..).zip(steps) {
            proto::fixed_int(out, field, steps.into());
        }
    });
}

fn axes(out: &mut Vec<u8>, values: &[f32]) {
    for (field, value) in (1..).zip(values) {
        proto::float(out, field, *value);
    }
}

/// Names of channels, shared between frames.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<Box<str>, Arc<str>>);

impl Names {
    fn share(&mut self, name: &str) -> Arc<str> {
        if let Some(shared) = self.0.get(name) {
            return shared.clone();
        }
        let shared: Arc<str> = name.into();
        if self.0.len() < MAX_SHARED {
            self.0.insert(name.into(), shared.clone());
        }
        shared
    }
}

/// Reads a frame of a channel.
pub(super) fn decode(
    data: &[u8],
    name: &Arc<str>,
    usual: SourceKind,
    names: &mut Names,
) -> Result<RecordedFrame, FaceError> {
    let mut face = RecordedFrame {
        id: SubjectId(0),
        name: name.clone(),
        source: usual,
        frame: FaceFrame { present: ALL, ..FaceFrame::default() },
        speech: None,
        age: Duration::ZERO,
        stamp: None,
        late: false,
        repeated: false,
    };
    let mut as_stamped = false;
    let frame = &mut face.frame;
    for field in Fields(data) {
        let (field, value) = field?;
        match field {
            1 => read_steps(value, &mut frame.weights).ok_or(FaceError::Field("steps"))?,
            2 => read_floats(value, &mut frame.weights).ok_or(FaceError::Field("weights"))?,
            3 => frame.present = !value.uint().ok_or(FaceError::Field("missing"))? & ALL,
            4 => frame.head = Some(head(value)?),
            5 => frame.gaze = Some(gaze(read_axes(value, "gaze")?)),
            17 => frame.gaze = Some(gaze(read_stepped(value, GAZE_STEPS, "gaze_steps")?)),
            6 => frame.tracked = !value.flag().ok_or(FaceError::Field("untracked"))?,
            7 => frame.sequence = Some(value.uint().ok_or(FaceError::Field("sequence"))?),
            8 => (frame.capture_time, as_stamped) = capture(value)?,
            9 => face.stamp = Some(stamp(value)?),
            10 => face.late = value.flag().ok_or(FaceError::Field("late"))?,
            11 => face.repeated = value.flag().ok_or(FaceError::Field("repeated"))?,
            12 => face.speech = Some(speech(value)?),
            13 => {
                if frame.channels.len() >= MAX_CHANNELS {
                    return Err(FaceError::Channels);
                }
                frame.channels.push(channel(value, names)?);
            }
            14 => face.age = Duration::from_nanos(value.uint().ok_or(FaceError::Field("age_ns"))?),
            15 => face.id = SubjectId(value.uint().ok_or(FaceError::Field("subject_id"))?),
            16 => {
                let name = value.text().ok_or(FaceError::Field("source"))?;
                face.source = SourceKind::from_name(name).unwrap_or(SourceKind::Custom);
            }
            _ => {}
        }
    }
    if as_stamped {
        let stamped = face.stamp.and_then(|stamp| u64::try_from(stamp.capture_us).ok());
        face.frame.capture_time = Some(stamped.map(Duration::from_micros).ok_or(FaceError::Field("capture"))?);
    }
    // What was recorded had passed the same check: it changes nothing of it.
    face.frame.check()?;
    Ok(face)
}

fn read_steps(value: Value<'_>, weights: &mut [f32; BLENDSHAPE_COUNT]) -> Option<()> {
    let steps: &[u8; BLENDSHAPE_COUNT] = value.bytes()?.try_into().ok()?;
    *weights = steps.map(|step| f32::from(step) / STEPS);
    Some(())
}

fn read_floats(value: Value<'_>, weights: &mut [f32; BLENDSHAPE_COUNT]) -> Option<()> {
    let bytes: &[u8; BLENDSHAPE_COUNT * 4] = value.bytes()?.try_into().ok()?;
    for (weight, bytes) in weights.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *weight = f32::from_le_bytes(*bytes);
    }
    Some(())
}

/// Numbers in the fields from 1 on.
fn read_axes<const N: usize>(value: Value<'_>, name: &'static str) -> Result<[f32; N], FaceError> {
    let mut axes = [0.0; N];
    for field in Fields(value.bytes().ok_or(FaceError::Field(name))?) {
        let (field, value) = field?;
        if let Some(axis) = (field as usize).checked_sub(1).and_then(|place| axes.get_mut(place)) {
            *axis = value.float().ok_or(FaceError::Field(name))?;
        }
    }
    Ok(axes)
}

fn gaze([left_yaw, left_pitch, right_yaw, right_pitch]: [f32; 4]) -> Gaze {
    Gaze { left: EyeGaze { yaw: left_yaw, pitch: left_pitch }, right: EyeGaze { yaw: right_yaw, pitch: right_pitch } }
}

fn step(value: Value<'_>) -> Option<i16> {
    value.fixed_int()?.try_into().ok()
}

/// Steps in the fields from 1 on.
fn read_stepped<const N: usize>(value: Value<'_>, scale: f32, name: &'static str) -> Result<[f32; N], FaceError> {
    let mut values = [0.0; N];
    for field in Fields(value.bytes().ok_or(FaceError::Field(name))?) {
        let (field, value) = field?;
        if let Some(slot) = (field as usize).checked_sub(1).and_then(|place| values.get_mut(place)) {
            *slot = f32::from(step(value).ok_or(FaceError::Field(name))?) / scale;
        }
    }
    Ok(values)
}

fn read_rotation(value: Value<'_>) -> Result<[f32; 4], FaceError> {
    let wrong = || FaceError::Field("head.rotation_steps");
    let (mut steps, mut left_out) = ([0; 4], 3);
    for field in Fields(value.bytes().ok_or_else(wrong)?) {
        let (field, value) = field?;
        match field {
            1..=4 => steps[field as usize - 1] = step(value).ok_or_else(wrong)?,
            5 => left_out = value.uint().and_then(|number| 3_u64.checked_sub(number)).ok_or_else(wrong)? as u16,
            _ => {}
        }
    }
    let parts = parts_of(left_out).map(|place| steps[place as usize]);
    if is_rotation(parts) { Ok(unpack_rotation(left_out, parts)) } else { Err(wrong()) }
}

fn head(value: Value<'_>) -> Result<HeadPose, FaceError> {
    let mut head = HeadPose { rotation: [0.0, 0.0, 0.0, 1.0], position: None };
    for field in Fields(value.bytes().ok_or(FaceError::Field("head"))?) {
        match field? {
            (1, value) => head.rotation = read_axes(value, "head.rotation")?,
            (2, value) => head.position = Some(read_axes(value, "head.position")?),
            (3, value) => head.rotation = read_rotation(value)?,
            (4, value) => head.position = Some(read_stepped(value, POSITION_STEPS, "head.position_mm")?),
            _ => {}
        }
    }
    Ok(head)
}

/// The time, or that it is the one of the stamp.
fn capture(value: Value<'_>) -> Result<(Option<Duration>, bool), FaceError> {
    let wrong = FaceError::Field("capture");
    let (mut seconds, mut nanos, mut as_stamped) = (0, 0, false);
    for field in Fields(value.bytes().ok_or(wrong.clone())?) {
        match field? {
            (1, value) => seconds = value.uint().ok_or(wrong.clone())?,
            (2, value) => nanos = value.uint().filter(|nanos| *nanos < 1_000_000_000).ok_or(wrong.clone())?,
            (3, value) => as_stamped = value.flag().ok_or(wrong.clone())?,
            _ => {}
        }
    }
    Ok((Some(Duration::new(seconds, nanos as u32)), as_stamped))
}

fn stamp(value: Value<'_>) -> Result<Stamp, FaceError> {
    let wrong = || FaceError::Field("stamp");
    let mut stamp = Stamp::default();
    for field in Fields(value.bytes().ok_or_else(wrong)?) {
        let (field, value) = field?;
        match field {
            1 => stamp.capture_us = micros(value).ok_or_else(wrong)?,
            2 => stamp.base_us = micros(value).ok_or_else(wrong)?,
            3 => stamp.queue_us = micros(value).ok_or_else(wrong)?,
            4 => stamp.epoch = value.uint().and_then(|epoch| epoch.try_into().ok()).ok_or_else(wrong)?,
            5 => stamp.interval_us = micros(value).ok_or_else(wrong)?,
            _ => {}
        }
    }
    Ok(stamp)
}

/// Microseconds of which several can be added up.
fn micros(value: Value<'_>) -> Option<i64> {
    value.sint().filter(|us| us.unsigned_abs() <= i64::MAX as u64 / 8)
}

fn speech(value: Value<'_>) -> Result<Speech, FaceError> {
    let wrong = || FaceError::Field("speech");
    let mut speech = Speech { viseme: Viseme::Sil, weight: 0.0, weights: [0.0; BLENDSHAPE_COUNT] };
    for field in Fields(value.bytes().ok_or_else(wrong)?) {
        let (field, value) = field?;
        match field {
            1 => speech.viseme = value.text().and_then(Viseme::from_name).ok_or_else(wrong)?,
            2 => speech.weight = value.float().filter(|weight| weight.is_finite()).ok_or_else(wrong)?,
            3 => read_steps(value, &mut speech.weights).ok_or_else(wrong)?,
            4 => read_floats(value, &mut speech.weights)
                .filter(|()| speech.weights.iter().all(|weight| weight.is_finite()))
                .ok_or_else(wrong)?,
            _ => {}
        }
    }
    Ok(speech)
}

fn channel(value: Value<'_>, names: &mut Names) -> Result<Channel, FaceError> {
    let wrong = || FaceError::Field("channels");
    let (mut name, mut number) = ("", 0.0);
    for field in Fields(value.bytes().ok_or_else(wrong)?) {
        match field? {
            (1, value) => name = value.text().ok_or_else(wrong)?,
            (2, value) => number = value.float().ok_or_else(wrong)?,
            _ => {}
        }
    }
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(wrong());
    }
    Ok(Channel { name: names.share(name), value: number })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Blendshape;

    fn subject(frame: FaceFrame) -> SubjectFrame {
        SubjectFrame {
            id: SubjectId(1),
            name: "Ann".into(),
            source: SourceKind::WebRtc,
            frame,
            speech: None,
            received: Instant::now(),
            stamp: None,
            late: false,
            repeated: false,
        }
    }

    fn read(data: &[u8]) -> Result<RecordedFrame, FaceError> {
        decode(data, &"Ann".into(), SourceKind::WebRtc, &mut Names::default())
    }

    /// Numbers of the fields of a message within a frame.
    fn within(data: &[u8], outer: u32) -> Vec<u32> {
        let value = Fields(data).map(Result::unwrap).find(|(field, _)| *field == outer).unwrap().1;
        Fields(value.bytes().unwrap()).map(|field| field.unwrap().0).collect()
    }

    #[test]
    fn take_frame_writes_steps_only_where_they_are_exact() {
        for left_out in 0..4 {
            for parts in [[-5, 4000, 0], [0, 0, 0], [20_000, -20_000, 1]] {
                let rotation = unpack_rotation(left_out, parts);
                let head = HeadPose { rotation, position: Some([-0.001, 1.234, -0.0]) };
                let gaze = Gaze { left: EyeGaze { yaw: 0.125, pitch: 0.0 }, right: EyeGaze { yaw: -0.5, pitch: 0.1 } };
                let mut given = subject(FaceFrame { head: Some(head), gaze: Some(gaze), ..FaceFrame::neutral() });
                let mut data = Vec::new();
                encode(&mut data, &given, Duration::ZERO, SourceKind::WebRtc);
                assert_eq!(within(&data, 4), [3, 2], "-0 is no step");
                assert_eq!(
                    read(&data).unwrap().frame.head.unwrap().rotation.map(f32::to_bits),
                    rotation.map(f32::to_bits)
                );
                assert_eq!(within(&data, 5).len(), 3, "0.1 is no step, and 0 is left out");

                // One bit off, and it is written as it is.
                let mut off = rotation;
                off[2] = f32::from_bits(off[2].to_bits() ^ 1);
                given.frame.head = Some(HeadPose { rotation: off, position: Some([-0.001, 1.234, 0.0]) });
                data.clear();
                encode(&mut data, &given, Duration::ZERO, SourceKind::WebRtc);
                assert_eq!(within(&data, 4), [1, 4]);
            }
        }
    }

    #[test]
    fn take_frame_with_steps_that_are_none_is_refused() {
        let head = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut data = Vec::new();
            proto::message(&mut data, 4, |out| proto::message(out, 3, |out| write(out)));
            read(&data).map(|face| face.frame.head.unwrap().rotation)
        };
        assert_eq!(head(&|_| {}), Ok([0.0, 0.0, 0.0, 1.0]));
        assert_eq!(head(&|out| proto::uint(out, 5, 3)), Ok([1.0, 0.0, 0.0, 0.0]));
        let refused = Err(FaceError::Field("head.rotation_steps"));
        assert_eq!(head(&|out| proto::uint(out, 5, 4)), refused);
        assert_eq!(head(&|out| proto::fixed_int(out, 1, 32_768)), refused);
        assert_eq!(head(&|out| (1..4).for_each(|field| proto::fixed_int(out, field, 30_000))), refused);
        let mut data = Vec::new();
        proto::message(&mut data, 17, |out| proto::fixed_int(out, 4, i32::MIN));
        assert_eq!(read(&data).err(), Some(FaceError::Field("gaze_steps")));
        assert_eq!(read(&[]).unwrap().frame.get(Blendshape::JawOpen), Some(0.0));
    }
}
