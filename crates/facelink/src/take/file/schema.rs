//! What the messages of a take are, as other programs read it: a `FileDescriptorSet` of protobuf, and JSON schemas.

use super::proto::{bytes, message, required_uint, text};

/// Name of the message of a subject's frame.
pub(super) const FACE: &str = "facelink.Face";
/// Name of the message of a received datagram.
pub(super) const PACKET: &str = "facelink.Packet";

/// Name of the message of a frame of a picture, which is Foxglove's.
pub(super) const PICTURE: &str = "foxglove.CompressedVideo";
/// Name of the message of a packet of sound, which is Foxglove's too.
pub(super) const SOUND: &str = "foxglove.CompressedAudio";

/// A type of protobuf, by its number in `FieldDescriptorProto.Type`.
#[derive(Clone, Copy)]
enum Kind {
    Float,
    Uint64,
    Int64,
    Int32,
    Uint32,
    Sint64,
    Sfixed32,
    Bool,
    Text,
    Bytes,
    Message(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    /// 0 or empty where it is left out.
    Plain,
    /// It may be absent.
    Optional,
    Repeated,
}

type Field = (&'static str, u32, Kind, Label);

use Kind::{Bool, Bytes, Float, Int32, Int64, Message, Sfixed32, Sint64, Text, Uint32, Uint64};
use Label::{Optional, Plain, Repeated};

/// Every message: name, and fields by name and number.
const MESSAGES: &[(&str, &[Field])] = &[
    (
        "Face",
        &[
            ("steps", 1, Bytes, Plain),
            ("weights", 2, Float, Repeated),
            ("missing", 3, Uint64, Plain),
            ("head", 4, Message(".facelink.Head"), Plain),
            ("gaze", 5, Message(".facelink.Gaze"), Plain),
            ("untracked", 6, Bool, Plain),
            ("sequence", 7, Uint64, Optional),
            ("capture", 8, Message(".facelink.Time"), Plain),
            ("stamp", 9, Message(".facelink.Stamp"), Plain),
            ("late", 10, Bool, Plain),
            ("repeated", 11, Bool, Plain),
            ("speech", 12, Message(".facelink.Speech"), Plain),
            ("channels", 13, Message(".facelink.Channel"), Repeated),
            ("age_ns", 14, Uint64, Plain),
            ("subject_id", 15, Uint64, Plain),
            ("source", 16, Text, Plain),
            ("gaze_steps", 17, Message(".facelink.GazeSteps"), Plain),
        ],
    ),
    (
        "Head",
        &[
            ("rotation", 1, Message(".facelink.Quaternion"), Plain),
            ("position", 2, Message(".facelink.Vector3"), Plain),
            ("rotation_steps", 3, Message(".facelink.RotationSteps"), Plain),
            ("position_mm", 4, Message(".facelink.PositionSteps"), Plain),
        ],
    ),
    (
        "RotationSteps",
        &[
            ("x", 1, Sfixed32, Plain),
            ("y", 2, Sfixed32, Plain),
            ("z", 3, Sfixed32, Plain),
            ("w", 4, Sfixed32, Plain),
            ("left_out", 5, Uint32, Plain),
        ],
    ),
    ("PositionSteps", &[("x", 1, Sfixed32, Plain), ("y", 2, Sfixed32, Plain), ("z", 3, Sfixed32, Plain)]),
    ("Quaternion", &[("x", 1, Float, Plain), ("y", 2, Float, Plain), ("z", 3, Float, Plain), ("w", 4, Float, Plain)]),
    ("Vector3", &[("x", 1, Float, Plain), ("y", 2, Float, Plain), ("z", 3, Float, Plain)]),
    (
        "Gaze",
        &[
            ("left_yaw", 1, Float, Plain),
            ("left_pitch", 2, Float, Plain),
            ("right_yaw", 3, Float, Plain),
            ("right_pitch", 4, Float, Plain),
        ],
    ),
    (
        "GazeSteps",
        &[
            ("left_yaw", 1, Sfixed32, Plain),
            ("left_pitch", 2, Sfixed32, Plain),
            ("right_yaw", 3, Sfixed32, Plain),
            ("right_pitch", 4, Sfixed32, Plain),
        ],
    ),
    ("Time", &[("seconds", 1, Uint64, Plain), ("nanos", 2, Uint32, Plain), ("as_stamped", 3, Bool, Plain)]),
    (
        "Stamp",
        &[
            ("capture_us", 1, Sint64, Plain),
            ("base_us", 2, Sint64, Plain),
            ("queue_us", 3, Sint64, Plain),
            ("epoch", 4, Uint32, Plain),
            ("interval_us", 5, Sint64, Plain),
        ],
    ),
    (
        "Speech",
        &[
            ("viseme", 1, Text, Plain),
            ("weight", 2, Float, Plain),
            ("steps", 3, Bytes, Plain),
            ("weights", 4, Float, Repeated),
        ],
    ),
    ("Channel", &[("name", 1, Text, Plain), ("value", 2, Float, Plain)]),
    (
        "Packet",
        &[("data", 1, Bytes, Plain), ("port", 2, Text, Plain), ("peer", 3, Text, Plain), ("tcp", 4, Bool, Plain)],
    ),
];

/// The `FileDescriptorSet` of every message, which a schema of encoding `protobuf` is.
pub(super) fn descriptor_set() -> Vec<u8> {
    let mut out = Vec::new();
    file(&mut out, ("facelink.proto", "facelink"), &[], MESSAGES);
    out
}

const TIMESTAMP_FILE: &str = "google/protobuf/timestamp.proto";
const TIMESTAMP: &[(&str, &[Field])] = &[("Timestamp", &[("seconds", 1, Int64, Plain), ("nanos", 2, Int32, Plain)])];
const AT: Field = ("timestamp", 1, Message(".google.protobuf.Timestamp"), Plain);

/// The same of the messages of pictures and sounds.
pub(super) fn media_descriptor_set() -> Vec<u8> {
    let mut out = Vec::new();
    file(&mut out, (TIMESTAMP_FILE, "google.protobuf"), &[], TIMESTAMP);
    let picture: &[Field] = &[AT, ("frame_id", 2, Text, Plain), ("data", 3, Bytes, Plain), ("format", 4, Text, Plain)];
    file(&mut out, ("foxglove/CompressedVideo.proto", "foxglove"), &[TIMESTAMP_FILE], &[("CompressedVideo", picture)]);
    let sound: &[Field] = &[AT, ("data", 2, Bytes, Plain), ("format", 3, Text, Plain)];
    file(&mut out, ("foxglove/CompressedAudio.proto", "foxglove"), &[TIMESTAMP_FILE], &[("CompressedAudio", sound)]);
    out
}

/// A `FileDescriptorProto` of a set.
fn file(out: &mut Vec<u8>, (name, package): (&str, &str), imports: &[&str], messages: &[(&str, &[Field])]) {
    message(out, 1, |file| {
        text(file, 1, name);
        text(file, 2, package);
        for import in imports {
            text(file, 3, import);
        }
        for (name, fields) in messages {
            message(file, 4, |out| descriptor(out, name, fields));
        }
        text(file, 12, "proto3");
    });
}

/// A `DescriptorProto`.
fn descriptor(out: &mut Vec<u8>, name: &str, fields: &[Field]) {
    text(out, 1, name);
    let mut optional = 0;
    for (name, number, kind, label) in fields {
        message(out, 2, |out| {
            text(out, 1, name);
            required_uint(out, 3, u64::from(*number));
            required_uint(out, 4, if *label == Repeated { 3 } else { 1 });
            let (kind, of) = match kind {
                Float => (2, ""),
                Int64 => (3, ""),
                Uint64 => (4, ""),
                Int32 => (5, ""),
                Bool => (8, ""),
                Text => (9, ""),
                Message(of) => (11, *of),
                Bytes => (12, ""),
                Uint32 => (13, ""),
                Sfixed32 => (15, ""),
                Sint64 => (18, ""),
            };
            required_uint(out, 5, kind);
            text(out, 6, of);
            // Protobuf has absent numbers as a choice of one.
            if *label == Optional {
                required_uint(out, 9, optional);
                required_uint(out, 17, 1);
                optional += 1;
            }
        });
    }
    for (name, ..) in fields.iter().filter(|field| field.3 == Optional) {
        message(out, 8, |out| bytes(out, 1, format!("_{name}").as_bytes()));
    }
}

/// JSON schema of the channel of events.
pub(super) const EVENT: (&str, &str) = (
    "facelink.Event",
    r#"{"type":"object","title":"facelink.Event","required":["event"],"properties":{
"event":{"type":"string","enum":["subject_appeared","subject_lost","emotion","gesture","cut","connected","disconnected","phone_recording","obs_recording","stopped"]},
"id":{"type":"integer"},"name":{"type":"string"},"source":{"type":"string"},"address":{"type":"string"},
"reason":{"type":"string"},"connection_id":{"type":"string"},"emotion":{"type":"string"},"intensity":{"type":"number"},
"fade_ns":{"type":"integer"},"duration_ns":{"type":"integer"},"recording":{"type":"boolean"},
"timecode":{"type":"string"},"files":{"type":"array","items":{"type":"string"}},"gesture":{"type":"string"},
"active":{"type":"boolean"},"lasted_ns":{"type":"integer"},"offset_ns":{"type":"integer"},"within_ns":{"type":"integer"},
"problem":{"type":"string"}}}"#,
);

/// JSON schema of the channel of marks.
pub(super) const MARK: (&str, &str) = (
    "facelink.Mark",
    r#"{"type":"object","title":"facelink.Mark","required":["text"],"properties":{"text":{"type":"string"}}}"#,
);

/// JSON schema of the channel of statistics.
pub(super) const STATS: (&str, &str) = (
    "facelink.Stats",
    r#"{"type":"object","title":"facelink.Stats","properties":{
"connections":{"type":"integer"},"refused":{"type":"integer"},"overrun":{"type":"integer"},"dropped":{"type":"integer"},
"subjects":{"type":"array","items":{"type":"object","properties":{
"name":{"type":"string"},"tracked":{"type":"boolean"},"fps":{"type":"number"},"latency_ms":{"type":"number"},
"jitter_ms":{"type":"number"},"loss":{"type":"number"},"queue_ms":{"type":"number"},"delay_ms":{"type":"number"},
"age_ms":{"type":"number"}}}}}}"#,
);
