//! Takes as USD text (`.usda`): a `SkelAnimation`.
//!
//! The file holds a `SkelRoot` with a skeleton of a head and two eyes, and its animation: `blendShapes` names the 52 shapes
//! and channels, `blendShapeWeights` has their weights, and `rotations` those of the joints `Head`, `Head/EyeLeft` and
//! `Head/EyeRight`, in metres and +Y up, looking along +Z. A mesh that binds to it (`skel:animationSource`) by blend shapes of
//! the same names moves. One time code is one frame of `timeCodesPerSecond`, which is the given rate, or the standard one that is
//! nearest to the take's; frames between two codes have codes with a fraction.
//!
//! Sources: *UsdSkel* in the documentation of OpenUSD, "Schemas: SkelAnimation", and its text format.

use std::{
    io::{self, Write},
    time::Duration,
};

use super::{
    frames::Take,
    keys::{Keys, gaze},
    rate::FrameRate,
};
use crate::{
    frame::{EyeGaze, FaceFrame},
    names::Blendshape,
    wire::profile::{EulerOrder, IDENTITY, from_angles},
};

/// Place of the eyes on the head, metres.
const EYES: [(&str, f64); 2] = [("Head/EyeLeft", 0.032), ("Head/EyeRight", -0.032)];

/// How a take is written.
#[derive(Clone, Copy, Debug)]
pub struct UsdaSettings {
    /// What time codes count; without it, the standard rate that is nearest to the take's.
    pub rate: Option<FrameRate>,
    /// Keys are left out while no value is off by more than this.
    pub max_error: f32,
}

impl Default for UsdaSettings {
    fn default() -> Self {
        Self { rate: None, max_error: super::keys::MAX_KEY_ERROR }
    }
}

/// Writes a take.
///
/// # Errors
/// When `out` fails.
pub fn encode(take: &Take, settings: &UsdaSettings, out: &mut impl Write) -> io::Result<()> {
    let rate = settings.rate.unwrap_or_else(|| FrameRate::nearest(take.fps()));
    let curves = take.curves(settings.max_error);
    let code = |time: Duration| code(time, rate);
    let shapes: Vec<Blendshape> = curves.shapes().collect();
    let channels: Vec<&str> = curves.channels().collect();
    let names: Vec<String> =
        shapes.iter().map(|shape| shape.name()).chain(channels.iter().copied()).map(quoted).collect();
    writeln!(
        out,
        "#usda 1.0\n(\n    defaultPrim = \"Face\"\n    doc = \"FaceLink {}\"\n    metersPerUnit = 1\n    upAxis = \"Y\"\n    startTimeCode = 0\n    endTimeCode = {}\n    timeCodesPerSecond = {}\n    framesPerSecond = {}\n)\n",
        env!("CARGO_PKG_VERSION"),
        code(curves.end()),
        rate.as_f64(),
        rate.as_f64(),
    )?;
    let joints = "[\"Head\", \"Head/EyeLeft\", \"Head/EyeRight\"]";
    let matrix = |x: f64, y: f64, z: f64| format!("( (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), ({x}, {y}, {z}, 1) )");
    let local: Vec<String> = EYES.iter().map(|(_, x)| matrix(*x, 0.08, 0.07)).collect();
    let rest = format!("[{}, {}]", matrix(0.0, 0.0, 0.0), local.join(", "));
    writeln!(
        out,
        "def SkelRoot \"Face\"\n{{\n    def Skeleton \"Skeleton\" (\n        prepend apiSchemas = [\"SkelBindingAPI\"]\n    )\n    {{\n        uniform token[] joints = {joints}\n        uniform matrix4d[] bindTransforms = {rest}\n        uniform matrix4d[] restTransforms = {rest}\n        rel skel:animationSource = </Face/Animation>\n    }}\n\n    def SkelAnimation \"Animation\"\n    {{"
    )?;
    if !names.is_empty() {
        writeln!(out, "        uniform token[] blendShapes = [{}]", names.join(", "))?;
        let keys = curves.keys(|frame, row| {
            row.extend(shapes.iter().map(|shape| frame.weights[shape.index()]));
            row.extend(channels.iter().map(|name| {
                frame.channels.iter().find(|channel| *channel.name == **name).map_or(0.0, |channel| channel.value)
            }));
        });
        samples(out, "float[] blendShapeWeights", &keys, code, |row, text| {
            let numbers: Vec<String> = row.iter().map(f32::to_string).collect();
            text.push_str(&numbers.join(", "));
        })?;
    }
    writeln!(out, "        uniform token[] joints = {joints}")?;
    // One row of three quaternions, the real part first; neighbours by the shorter way.
    let mut before: Option<[[f32; 4]; 3]> = None;
    let keys = curves.turn_rows(|frame, row| {
        let mut turns = [head(frame), eye(gaze(frame).left), eye(gaze(frame).right)];
        for (place, turn) in turns.iter_mut().enumerate() {
            let dot: f32 = before.map_or(1.0, |before| before[place].iter().zip(*turn).map(|(a, b)| a * b).sum());
            if dot < 0.0 {
                *turn = turn.map(|part| -part);
            }
        }
        before = Some(turns);
        row.extend(turns.into_iter().flat_map(|[x, y, z, w]| [w, x, y, z]));
    });
    samples(out, "quatf[] rotations", &keys, code, |row, text| {
        let turns: Vec<String> =
            row.chunks_exact(4).map(|q| format!("({}, {}, {}, {})", q[0], q[1], q[2], q[3])).collect();
        text.push_str(&turns.join(", "));
    })?;
    let places: Vec<String> = EYES.iter().map(|(_, x)| format!("({x}, 0.08, 0.07)")).collect();
    writeln!(out, "        float3[] translations = [(0, 0, 0), {}]", places.join(", "))?;
    writeln!(out, "        half3[] scales = [(1, 1, 1), (1, 1, 1), (1, 1, 1)]\n    }}\n}}")
}

fn samples(
    out: &mut impl Write,
    name: &str,
    keys: &Keys,
    code: impl Fn(Duration) -> f64,
    write: impl Fn(&[f32], &mut String),
) -> io::Result<()> {
    writeln!(out, "        {name}.timeSamples = {{")?;
    let mut text = String::new();
    for (time, row) in keys.times.iter().zip(keys.rows()) {
        text.clear();
        write(row, &mut text);
        writeln!(out, "            {}: [{text}],", code(*time))?;
    }
    writeln!(out, "        }}")
}

/// The time code of a time: a whole number where it is a frame's, to the microsecond.
fn code(time: Duration, rate: FrameRate) -> f64 {
    let code = time.as_secs_f64() * rate.as_f64();
    let whole = code.round();
    if rate.time_of(whole as u64).abs_diff(time) < Duration::from_micros(1) { whole } else { code }
}

fn head(frame: &FaceFrame) -> [f32; 4] {
    frame.head.map_or(IDENTITY, |head| head.rotation)
}

fn eye(EyeGaze { yaw, pitch }: EyeGaze) -> [f32; 4] {
    from_angles([-pitch, yaw, 0.0], EulerOrder::Yxz)
}

/// A text in quotes: USD escapes as C does.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
