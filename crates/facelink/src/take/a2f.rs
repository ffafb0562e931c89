//! Blend shapes that NVIDIA's Audio2Face exports as JSON.
//!
//! ```json
//! {"exportFps": 30.0, "numPoses": 52, "numFrames": 2, "facsNames": ["jawOpen"], "weightMat": [[0.1], [0.2]]}
//! ```
//!
//! `facsNames` names the shapes, `weightMat` has a row of weights for each frame, and `exportFps` is the rate (60 where it is
//! missing). Names are those of senders, or of any face that a preset knows; others become channels. Joints and
//! their rotations are not read.
//!
//! Source: files of Audio2Face 2022 and 2023 ("Export blendshape solve as JSON") and tools that read them, such as Blender's
//! *A2F Import Weights*.

use serde::Deserialize;

use super::{
    dialect::Names,
    frames::{Take, TakeError, TakeFrame},
    rate::FrameRate,
};
use crate::frame::FaceFrame;

/// Most shapes.
const MAX_NAMES: usize = 1024;
/// Most frames.
const MAX_FRAMES: usize = 1 << 22;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum A2fError {
    /// It is not the JSON that it should be.
    #[error("field `{field}`: {message}")]
    Field {
        /// The field.
        field: String,
        /// The reason.
        message: String,
    },
    /// There are no frames.
    #[error(transparent)]
    Take(#[from] TakeError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    export_fps: Option<f64>,
    facs_names: Vec<String>,
    weight_mat: Vec<Vec<f32>>,
}

fn bad(field: impl Into<String>, message: impl Into<String>) -> A2fError {
    A2fError::Field { field: field.into(), message: message.into() }
}

/// Reads a file.
///
/// # Errors
/// [`A2fError`] names the field.
pub fn decode(bytes: &[u8]) -> Result<Take, A2fError> {
    let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let json = &mut serde_json::Deserializer::from_slice(text);
    let file: File = serde_path_to_error::deserialize(json)
        .map_err(|error| bad(error.path().to_string(), error.inner().to_string()))?;
    let fps = file.export_fps.unwrap_or(60.0);
    let rate = (1.0..=1000.0).contains(&fps).then(|| fps.to_string().parse::<FrameRate>().ok()).flatten();
    let rate = rate.ok_or_else(|| bad("exportFps", format!("{fps} is no rate from 1 to 1000")))?;
    if file.facs_names.len() > MAX_NAMES || file.weight_mat.len() > MAX_FRAMES {
        return Err(bad("facsNames", format!("more than {MAX_NAMES} names or {MAX_FRAMES} frames")));
    }
    let names: Vec<&str> = file.facs_names.iter().map(String::as_str).collect();
    let names = Names::of(&names).map_err(|(at, message)| bad(format!("facsNames[{at}]"), message))?;
    let mut frames = Vec::with_capacity(file.weight_mat.len());
    for (at, row) in file.weight_mat.iter().enumerate() {
        if row.len() != file.facs_names.len() {
            let message = format!("{} weights under {} names", row.len(), file.facs_names.len());
            return Err(bad(format!("weightMat[{at}]"), message));
        }
        if let Some(place) = row.iter().position(|weight| !weight.is_finite()) {
            return Err(bad(format!("weightMat[{at}][{place}]"), "is not a finite number"));
        }
        let mut frame = FaceFrame { sequence: Some(at as u64), ..FaceFrame::default() };
        names.read(row, &mut frame);
        frames.push(TakeFrame { time: rate.time_of(at as u64), frame });
    }
    Ok(Take::new(frames)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Blendshape;

    #[test]
    fn a2f_weights_are_read_at_their_rate() {
        let rows: Vec<String> = (0..61).map(|i| format!("[0.1, {}, 0.5]", f64::from(i) / 60.0)).collect();
        let text = format!(
            r#"{{"exportFps": 29.97, "trackPath": "a.wav", "numPoses": 3, "numFrames": 61, "facsNames": ["EyeBlinkLeft", "jaw_L", "tail"], "weightMat": [{}], "joints": ["jaw"], "rotations": [[[0, 0, 0, 1]]]}}"#,
            rows.join(",")
        );
        let take = decode(text.as_bytes()).unwrap();
        assert_eq!(take.frames().len(), 61);
        let last = &take.frames()[60];
        assert!((last.time.as_secs_f64() - 60.0 * 1001.0 / 30_000.0).abs() < 1e-6);
        assert_eq!(
            (last.frame.get(Blendshape::EyeBlinkLeft), last.frame.get(Blendshape::JawLeft)),
            (Some(0.1), Some(1.0))
        );
        assert_eq!((&*last.frame.channels[0].name, last.frame.channels[0].value), ("tail", 0.5));
    }

    #[test]
    fn a2f_error_names_the_field() {
        for (text, wanted) in [
            ("[]", "field `.`: "),
            (r#"{"facsNames": [], "weightMat": [["a"]]}"#, "field `weightMat[0][0]`: "),
            (r#"{"facsNames": ["a"], "weightMat": [[1, 2]]}"#, "field `weightMat[0]`: 2 weights under 1 names"),
            (r#"{"facsNames": ["a", "a"], "weightMat": []}"#, "field `facsNames[1]`: there is more than one `a`"),
            (r#"{"facsNames": ["a"], "weightMat": [[1]], "exportFps": 0}"#, "field `exportFps`: 0 is no rate"),
            (r#"{"facsNames": ["a"], "weightMat": []}"#, "a take has at least one frame"),
        ] {
            let error = decode(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }
}
