//! Takes as JSON lines: one frame a line, every number exact.
//!
//! ```json
//! {"time":0.016666667,"frame":1,"captureTime":36000.516,"tracked":true,"blendshapes":{"jawOpen":0.25},
//!  "head":{"rotation":[0.0,0.0,0.0,1.0]},"gaze":{"left":[0.0,0.0],"right":[0.0,0.0]}}
//! ```
//!
//! `time` and `captureTime` are seconds with as many decimals as nanoseconds need; `frame` is the source's number;
//! `blendshapes` holds the shapes and channels that the frame gives. Shapes, head and gaze are those of the lines of
//! `facelink listen --json`. A 32-bit number is written with as many digits as bring it back. A reader may leave out
//! everything but `time`.

use std::{
    io::{self, BufRead, Write},
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::frames::{Take, TakeError, TakeFrame};
use crate::{
    frame::{Channel, EyeGaze, FaceFrame, FrameError, Gaze, HeadPose, MAX_CHANNELS, WeightsByName},
    names::Blendshape,
    wire::json::check_name,
};

/// Longest line that is read, bytes.
const MAX_LINE: u64 = 64 * 1024;
/// Most frames that are read: five hours at 240 frames a second.
const MAX_FRAMES: usize = 1 << 22;
/// Latest time that is read, seconds.
const MAX_SECONDS: f64 = 1e10;

/// Why JSON lines are no take.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JsonLinesError {
    /// A line cannot be read.
    #[error("line {line}: {message}")]
    Line {
        /// The line, from 1.
        line: usize,
        /// The reason, with the field.
        message: String,
    },
    /// The frames are none.
    #[error(transparent)]
    Take(#[from] TakeError),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    time: Seconds,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    capture_time: Option<Seconds>,
    #[serde(default = "yes")]
    tracked: bool,
    #[serde(default)]
    blendshapes: Weights,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    head: Option<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gaze: Option<Looks>,
}

fn yes() -> bool {
    true
}

/// A duration as seconds: an `f64` distinguishes nanoseconds for three months.
struct Seconds(Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.0.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(from)?;
        let bad = || de::Error::custom(format_args!("{seconds} is no time in seconds"));
        let time = (0.0..=MAX_SECONDS).contains(&seconds).then(|| Duration::try_from_secs_f64(seconds).ok());
        time.flatten().map(Self).ok_or_else(bad)
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    rotation: [f32; 4],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<[f32; 3]>,
}

#[derive(Serialize, Deserialize)]
struct Looks {
    left: [f32; 2],
    right: [f32; 2],
}

/// The shapes and channels of a frame.
#[derive(Default)]
struct Weights(FaceFrame);

impl Serialize for Weights {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        WeightsByName(&self.0).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Weights {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Weights;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("weights by name")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Weights, A::Error> {
                let mut frame = FaceFrame::default();
                while let Some((name, value)) = map.next_entry::<String, f32>()? {
                    if let Some(shape) = Blendshape::from_sender_name(&name) {
                        // Clamped by the check of the whole frame, which refuses what is not finite.
                        frame.weights[shape.index()] = value;
                        frame.present |= 1 << shape.index();
                        continue;
                    }
                    check_name(&name).map_err(de::Error::custom)?;
                    if frame.channels.len() >= MAX_CHANNELS {
                        return Err(de::Error::custom(format_args!("more than {MAX_CHANNELS} channels")));
                    }
                    if frame.channels.iter().any(|channel| *channel.name == *name) {
                        return Err(de::Error::custom(format_args!("there is more than one `{name}`")));
                    }
                    frame.channels.push(Channel { name: name.into(), value });
                }
                Ok(Weights(frame))
            }
        }
        from.deserialize_map(Visitor)
    }
}

/// Writes a take, one frame a line.
///
/// # Errors
/// When `out` fails.
pub fn encode(take: &Take, out: &mut impl Write) -> io::Result<()> {
    for TakeFrame { time, frame } in take.frames() {
        let line = Line {
            time: Seconds(*time),
            frame: frame.sequence,
            capture_time: frame.capture_time.map(Seconds),
            tracked: frame.tracked,
            blendshapes: Weights(frame.clone()),
            head: frame.head.map(|HeadPose { rotation, position }| Head { rotation, position }),
            gaze: frame
                .gaze
                .map(|Gaze { left, right }| Looks { left: [left.yaw, left.pitch], right: [right.yaw, right.pitch] }),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads a take of [`encode`]. Empty lines and unknown fields are left out, and times count from the first line's.
///
/// # Errors
/// [`JsonLinesError`] names the line and the field.
pub fn decode(mut lines: impl BufRead) -> Result<Take, JsonLinesError> {
    let mut frames: Vec<TakeFrame> = Vec::new();
    let mut text = Vec::new();
    let mut start = None;
    for line in 1.. {
        let bad = |message: String| JsonLinesError::Line { line, message };
        text.clear();
        let read = io::Read::take(&mut lines, MAX_LINE).read_until(b'\n', &mut text);
        if read.map_err(|error| bad(error.to_string()))? == 0 {
            break;
        }
        if text.len() as u64 >= MAX_LINE && !text.ends_with(b"\n") {
            return Err(bad(format!("longer than the {MAX_LINE} bytes that are read")));
        }
        let trimmed = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text).trim_ascii();
        if trimmed.is_empty() {
            continue;
        }
        if frames.len() >= MAX_FRAMES {
            return Err(bad(format!("more than the {MAX_FRAMES} frames that are read")));
        }
        let json = &mut serde_json::Deserializer::from_slice(trimmed);
        let Line { time, frame: sequence, capture_time, tracked, blendshapes, head, gaze } =
            serde_path_to_error::deserialize(json)
                .map_err(|error| bad(format!("field `{}`: {}", error.path(), error.inner())))?;
        let eye = |[yaw, pitch]: [f32; 2]| EyeGaze { yaw, pitch };
        let mut frame = FaceFrame {
            sequence,
            capture_time: capture_time.map(|time| time.0),
            tracked,
            head: head.map(|Head { rotation, position }| HeadPose { rotation, position }),
            gaze: gaze.map(|Looks { left, right }| Gaze { left: eye(left), right: eye(right) }),
            ..blendshapes.0
        };
        frame.check().map_err(|error: FrameError| bad(error.to_string()))?;
        let start = *start.get_or_insert(time.0);
        let time =
            time.0.checked_sub(start).ok_or_else(|| bad("field `time`: earlier than the first line".to_owned()))?;
        frames.push(TakeFrame { time, frame });
    }
    Ok(Take::new(frames)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::performer::Performance;

    #[test]
    fn jsonl_take_is_read_again_bit_for_bit() {
        let performance = Performance::new(5);
        let frames = (0..300_u64).map(|i| {
            let time = Duration::from_nanos(16_683_350 * i);
            let mut frame = performance.frame_at(time);
            frame.sequence = (i % 3 != 0).then_some(i);
            frame.capture_time = Some(Duration::from_secs(40_000) + time);
            frame.tracked = i % 50 != 49;
            frame.channels.push(Channel { name: "tail \"x\"".into(), value: 0.1 + i as f32 / 7.0 / 300.0 });
            if i % 7 == 0 {
                (frame.head, frame.gaze, frame.present) = (None, None, 3);
                frame.weights[2..].fill(0.0);
            }
            TakeFrame { time, frame }
        });
        let take = Take::new(frames.collect()).unwrap();
        let mut text = Vec::new();
        encode(&take, &mut text).unwrap();
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 300);
        assert_eq!(decode(&text[..]).unwrap().frames(), take.frames());
    }

    #[test]
    fn jsonl_error_names_line_and_field() {
        let refused = |text: &str| decode(text.as_bytes()).unwrap_err().to_string();
        for (text, wanted) in [
            ("", "a take has at least one frame"),
            ("{\"time\":0}\n\n[]", "line 3: field `.`: "),
            ("{}", "line 1: field `.`: missing field `time`"),
            ("{\"time\":-1}", "line 1: field `time`: -1 is no time in seconds"),
            ("{\"time\":0,\"blendshapes\":{\"jawOpen\":\"x\"}}", "line 1: field `blendshapes.jawOpen`: "),
            (
                "{\"time\":0,\"blendshapes\":{\"a\":1,\"a\":2}}",
                "line 1: field `blendshapes`: there is more than one `a`",
            ),
            (
                "{\"time\":0,\"head\":{\"rotation\":[0,0,0,0]}}",
                "line 1: field `head.rotation`: a quaternion of length 0",
            ),
            ("{\"time\":1}\n{\"time\":0.5}", "line 2: field `time`: earlier than the first line"),
        ] {
            assert!(refused(text).starts_with(wanted), "{text}: {}", refused(text));
        }
        assert!(refused(&format!("{{\"time\":0,\"x\":\"{}\"}}", "a".repeat(70_000))).contains("longer than"));
    }
}
